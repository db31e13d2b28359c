#!/usr/bin/env bash
# Builds plugins in JavaScript and Python: plugins_foreign.sh OUT FOLDER... to OUT/NAME/{plugin.toml,NAME.wasm}. What a missing
# Node or Python cannot build is skipped and counted; what can be built must be.
set -uo pipefail
out=$(realpath -m "$1")
shift
root=$(cd "$(dirname "$0")/.." && pwd)
js=$root/plugin-sdk/js py=$root/plugin-sdk/python venv=$root/target/python-sdk
built=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The compilers, once: why there are none is in $no_node and $no_python.
no_node='' no_python=''
ready_node() {
  command -v node >/dev/null && command -v npm >/dev/null || { no_node="node and npm are not installed"; return; }
  node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || { no_node="Node 20 or newer is needed"; return; }
  if [ ! -e "$js/node_modules/.package-lock.json" ] || [ "$js/package-lock.json" -nt "$js/node_modules/.package-lock.json" ]; then
    npm ci --silent --no-audit --no-fund --prefix "$js" >"$log" 2>&1 || no_node="npm cannot install the compilers: $(tail -n 1 "$log")"
  fi
}
ready_python() {
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { no_python="Python 3.10 or newer with venv and pip is needed"; return; }
  if ! cmp -s "$py/requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv" >"$log" 2>&1 \
      && "$venv/bin/pip" -q --disable-pip-version-check install -r "$py/requirements.txt" >"$log" 2>&1 \
      && cp "$py/requirements.txt" "$venv/" || no_python="pip cannot install the compiler: $(tail -n 1 "$log")"
  fi
}

# Whether FILE is older than any source under the folders.
stale() { # FILE FOLDER...
  [ ! -e "$1" ] || [ -n "$(find "${@:2}" -name node_modules -prune -o -name __pycache__ -prune -o -type f ! -name '*.wasm' -newer "$1" -print -quit)" ]
}

build_js() { # FOLDER NAME FILE
  npm ci --silent --no-audit --no-fund --prefix "$1" && npm run --silent --prefix "$1" build && mv "$1/$2.wasm" "$3"
}

build_python() { # FOLDER NAME FILE
  PYTHONPATH=$py "$venv/bin/python" -m palisade_sdk "$1/${2//-/_}.py" -o "$3"
}

for folder in "$@"; do
  name=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$folder/plugin.toml" | head -n 1)
  if [ -e "$folder/package.json" ]; then
    language=js sdk=$js
    [ -n "${asked_node:-}" ] || { ready_node; asked_node=yes; }
    why=$no_node
  else
    language=python sdk=$py
    [ -n "${asked_python:-}" ] || { ready_python; asked_python=yes; }
    why=$no_python
  fi
  if [ -n "$why" ]; then
    skipped=$((skipped + 1))
    echo "skipped: $name: $why"
    continue
  fi
  mkdir -p "$out/$name"
  cp "$folder/plugin.toml" "$out/$name/"
  if ! stale "$out/$name/$name.wasm" "$folder" "$sdk" "$root/wit"; then
    built=$((built + 1))
  elif "build_$language" "$folder" "$name" "$out/$name/$name.wasm" >"$log" 2>&1; then
    built=$((built + 1))
    echo "built: $name"
  else
    failed=$((failed + 1))
    rm -f "$out/$name/$name.wasm"
    echo "FAILED: $name: $(tail -n 20 "$log")"
  fi
done
echo "$built plugins built, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
