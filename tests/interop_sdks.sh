# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: one table of tools through the SDKs of all languages, and the examples that are not in Rust. Reads:
# PALISADE, root, home.

foreign=$root/target/plugins-foreign conformance=$root/target/conformance
tests/plugins_foreign.sh "$foreign" example-plugins/csv-stats example-plugins/markdown >"$home/foreign"
tests/plugins_foreign.sh "$conformance" plugin-sdk/conformance/js plugin-sdk/conformance/python >>"$home/foreign"
while IFS= read -r line; do
  case $line in
    FAILED:*) bad "does not build: ${line#FAILED: }" ;;
    skipped:*) skip "${line#skipped: }" ;;
  esac
done <"$home/foreign"

# What each SDK promises without a host.
if [ -n "$node" ] && [ -e plugin-sdk/js/node_modules ]; then
  for folder in plugin-sdk/js example-plugins/markdown; do
    if (cd "$folder" && "$node" --test >"$home/out" 2>&1); then ok "tests of $folder"; else bad "tests of $folder: $(tail -n 20 "$home/out")"; fi
  done
  if (cd plugin-sdk/js && npm exec --offline -- tsc --noEmit --strict --module nodenext --target es2023 test/types.ts) >"$home/out" 2>&1; then
    ok "the types of plugin-sdk/js"
  else
    bad "the types of plugin-sdk/js: $(head -n 5 "$home/out")"
  fi
else
  skip "tests of plugin-sdk/js and markdown need Node 22 and npm (3 checks)"
fi
if command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  for folder in plugin-sdk/python example-plugins/csv-stats; do
    if (cd "$folder" && python3 -m unittest discover -s tests >"$home/out" 2>&1); then ok "tests of $folder"; else bad "tests of $folder: $(tail -n 20 "$home/out")"; fi
  done
else
  skip "tests of plugin-sdk/python and csv-stats need Python 3.10 (2 checks)"
fi

# What is wrong with a tool is said where it is made, and no component comes out.
refuses() { # SOURCE PART COMMAND...
  local source=$1 part=$2
  shift 2
  rm -f "$home/wrong.wasm"
  if ! "$@" "$source" -o "$home/wrong.wasm" >/dev/null 2>"$home/err" && [ ! -e "$home/wrong.wasm" ] && grep -qF -- "$part" "$home/err"; then
    ok "$(basename "$source"): $part"
  else
    bad "$(basename "$source") is not refused for: $part: $(tail -n 3 "$home/err")"
  fi
}
if [ -n "$node" ] && [ -e plugin-sdk/js/node_modules ]; then
  printf 'import { plugin, string, tool } from "%s";\nexport const tools = plugin(tool({ name: "a", description: "Does.", arguments: { b: string() }, run: () => "" }));\n' \
    "$root/plugin-sdk/js/index.js" >"$home/undescribed.js"
  refuses "$home/undescribed.js" "the tool a: the argument b needs a description" "$node" plugin-sdk/js/build.js
  echo 'export const x = 1;' >"$home/empty.js"
  refuses "$home/empty.js" 'does not export `tools`' "$node" plugin-sdk/js/build.js
else
  skip "two faulty plugins in JavaScript need Node 22 and npm (2 checks)"
fi
if [ -e target/python-sdk/requirements.txt ]; then
  printf 'from palisade_sdk import export, tool\n\n@tool\ndef a(b: str) -> str:\n    "Does."\n    return b\n\nTools = export(a)\n' >"$home/undescribed.py"
  refuses "$home/undescribed.py" "the tool a: the argument b needs a description" env PYTHONPATH=plugin-sdk/python target/python-sdk/bin/python -m palisade_sdk
  echo 'x = 1' >"$home/empty.py"
  refuses "$home/empty.py" 'Tools = palisade_sdk.export(' env PYTHONPATH=plugin-sdk/python target/python-sdk/bin/python -m palisade_sdk
else
  skip "two faulty plugins in Python need Python 3.10, pip and its compiler (2 checks)"
fi

# The same tools in each language that could be built; Rust is always there.
mkdir -p "$conformance/conformance-rust"
if cargo build -q --locked --profile plugin --target wasm32-wasip2 -p conformance-rust 2>"$home/err"; then
  cp plugin-sdk/conformance/rust/plugin.toml "$conformance/conformance-rust/"
  cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/plugin/conformance_rust.wasm" "$conformance/conformance-rust/conformance-rust.wasm"
fi
for language in rust js python; do
  plugin=$conformance/conformance-$language
  if [ ! -e "$plugin/conformance-$language.wasm" ]; then
    if [ "$language" = rust ]; then bad "conformance-rust does not build: $(tail -n 5 "$home/err")"; fi
    continue
  fi
  if python3 tests/interop_sdks.py "$PALISADE" plugin-sdk/conformance/table.json "$plugin" >"$home/out" 2>&1; then
    ok "the conformance table: $(tail -n 1 "$home/out" | sed 's/^ok: //')"
  else
    bad "the conformance table: $(tail -n 12 "$home/out")"
  fi
done

answers() { # PLUGIN TOOL ARGUMENTS PART
  local answer
  [ -e "$foreign/$1/$1.wasm" ] || return 0
  answer=$("$PALISADE" -q --profile trusted --workspace "$ws" --plugin "$foreign/$1" --grant "$1:fs:read:@workspace" call "$1/$2" "$3" 2>"$home/err")
  if grep -qF -- "$4" <<<"$answer"; then ok "$1/$2 answers"; else bad "$1/$2: $answer $(tail -n 2 "$home/err")"; fi
}
printf 'city,height\nBern,542\nChur,593\n' >"$ws/towns.csv"
answers markdown to-html '{"text": "# Hi <script>alert(1)</script>"}' '<h1>Hi &lt;script&gt;alert(1)&lt;/script&gt;</h1>'
answers markdown to-text '{"text": "*one* [two](https://a.example)"}' 'one two (https://a.example)'
answers csv-stats describe-file '{"path": "towns.csv"}' '"mean": 567.5'

# What a careful reviewer finds in them, who imports more than it uses included: nothing that is wrong.
reviewed() { # PLUGIN
  [ -e "$foreign/$1/$1.wasm" ] || return 0
  if "$PALISADE" plugin check "$foreign/$1" >"$home/out" 2>"$home/err"; then
    ok "plugin check $1: $(tail -n 1 "$home/out")"
  else
    bad "plugin check $1: $(grep -h error "$home/out" "$home/err" | head -n 5)"
  fi
}
reviewed markdown
reviewed csv-stats
