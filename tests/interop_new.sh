# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: a new plugin in each language that is not Rust, typed as its README has it, from an empty folder to the first
# answer, with its own test, a build that fails, and one by an author who installed nothing. Reads: PALISADE, home, root, node.

ln -s "$PALISADE" "$home/palisade"

# README LANGUAGE SOURCE TEST... - the commands of a README; then the folder's own test, and what a build of it promises.
first() {
  local readme=$1 lang=$2 folder=$home/first-$2 data=$home/own-$2 source=$home/first-$2/hello/$3 answer
  shift 3
  mkdir -m 700 "$folder" "$data"
  awk '/From an empty folder to the first answer:$/ { on = 1; next } on && /^    / { seen = 1; print substr($0, 5); next } on && seen { exit }' "$readme" >"$home/commands"
  if [ "$(wc -l <"$home/commands")" -gt 4 ]; then bad "$readme needs more than four commands"; fi
  # What `new` names works without a network, and a toolchain that is not all there is said with what brings it.
  if (cd "$folder" && PALISADE_HOME=$data "$PALISADE" -q plugin new early --lang "$lang") >/dev/null 2>"$home/err" \
    && ! (cd "$folder/early" && PALISADE_HOME=$data "$PALISADE" plugin build) >/dev/null 2>"$home/err" \
    && [ "$(wc -l <"$home/err")" = 2 ] && grep -q '^hint: .*palisade plugin build --install$' "$home/err"; then
    ok "a $lang plugin without its compiler is not built, in two lines"
  else
    bad "a $lang plugin without its compiler: $(tail -n 3 "$home/err")"
  fi
  answer=$(cd "$folder" && PATH=$home:$PATH PALISADE_HOME=$data bash -e "$home/commands" 2>"$home/err" | tail -n 1)
  if grep -q 'installing it failed' "$home/err"; then skip "the compiler for $lang cannot be fetched (4 checks): $(tail -n 2 "$home/err" | head -n 1)"; return; fi
  if [ "$answer" = "Hello, Ada!" ]; then ok "the first plugin of $readme answers"; else bad "the first plugin of $readme: $answer $(tail -n 5 "$home/err")"; return; fi
  if (cd "$folder/hello" && "$@" >"$home/out" 2>&1); then ok "the first plugin in $lang passes its own test"; else bad "the test of the first plugin in $lang: $(tail -n 20 "$home/out")"; fi
  # What is installed is there for the next one.
  if (cd "$folder/early" && PALISADE_HOME=$data "$PALISADE" -q plugin build --pure) >"$home/out" 2>"$home/err" \
    && PALISADE_HOME=$data "$PALISADE" --format json plugin inspect "$folder/early/dist" 2>"$home/err" \
      | python3 -c 'import json, sys; sys.exit(any("palisade:plugin/" not in one for one in json.load(sys.stdin)["imports"]))'; then
    ok "the next plugin in $lang builds at once, and --pure imports the host alone"
  else
    bad "the next plugin in $lang: $(tail -n 3 "$home/err")"
  fi
  # One that cannot be compiled leaves what was built.
  echo 'this is ( no source' >>"$source"
  (cd "$folder/hello" && PALISADE_HOME=$data "$PALISADE" -q plugin build >"$home/out" 2>"$home/err")
  if [ $? = 7 ] && [ ! -s "$home/out" ] && grep -q 'made no component' "$home/err" \
    && [ "$(cd "$folder/hello" && PALISADE_HOME=$data "$PALISADE" -q --profile trusted --plugin dist call hello/greet '{"name": "Ada"}' 2>"$home/err")" = "Hello, Ada!" ]; then
    ok "a $lang plugin that does not compile ends with 7 and leaves the last build"
  else
    bad "a $lang plugin that does not compile: $(tail -n 3 "$home/err")"
  fi
  rm -rf "$folder" "$data"
}

if command -v npm >/dev/null && command -v node >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; then
  first plugin-sdk/js/README.md js plugin.js node --test
else
  skip "the first plugin in JavaScript needs Node 20 and npm (5 checks)"
fi
if python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  if python3 -c 'import componentize_py' 2>/dev/null; then
    skip "the first plugin in Python needs a Python without componentize-py, to install it (5 checks)"
  else
    first plugin-sdk/python/README.md python plugin.py python3 -m unittest
  fi
else
  skip "the first plugin in Python needs Python 3.10, venv and pip (5 checks)"
fi
