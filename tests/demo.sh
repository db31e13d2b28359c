#!/usr/bin/env bash
# What `make demo` shows: an intruder that gets nothing, and a session over this repository. It keeps its files in a
# folder of its own, and leaves none.
set -euo pipefail
cd "$(dirname "$0")/.."

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
chmod 700 "$home"
export PALISADE_HOME=$home

show() {
  printf '\n$ palisade'
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_@:/.,=-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
  done
  printf '\n'
  "$PALISADE" "$@"
}

echo "== An intruder tries everything it can think of"
show --profile trusted --plugin target/plugins/intruder call intruder/probe | head -n 7
echo "  … (one row for each attempt)"

echo
echo "== A tool that never ends is stopped at its deadline"
show --profile trusted --plugin target/plugins/intruder call intruder/spin || echo "[exit $?: a limit stopped it]"

echo
echo "== Prompts about this repository, routed to plugins, each through the gate and the sandbox"
show --profile trusted --plugin-dir target/plugins --grant search:fs:read:@workspace run --report "$home/report.md" \
  'count the words of "Palisade runs tools that strangers wrote, behind a fence"' \
  'search for "pub struct Authorized"' \
  'query the json with ".tools | length" and `{"tools": ["count", "grep", "query"]}`' \
  'run a shell command: cat /etc/passwd'

echo
echo "== The session file"
cat "$home"/state/sessions/*/*.json

echo
echo "== The report"
cat "$home/report.md"
