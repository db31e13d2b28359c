#!/usr/bin/env bash
# Runs every fuzz target, SECONDS each, AT_ONCE of them at a time; a finding is shown and fails the run:
#   fuzz/run.sh [SECONDS] [AT_ONCE]
# Inputs that reached something new are kept in fuzz/corpus, a finding in fuzz/artifacts; neither is committed.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
at_once=${2:-1}

if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "cargo fuzz is missing: cargo install cargo-fuzz --locked" >&2
  exit 1
fi

# Longest input in bytes: a text of some lines, or what a generator draws from.
longest() {
  case $1 in
    rules) echo 2048 ;;
    component) echo 8192 ;;
    *) echo 4096 ;;
  esac
}

# Sanitizers need a nightly compiler, and the targets hold no `unsafe`; assertions and overflow checks are on.
# Built once and run from there, so that a tree that changes meanwhile changes nothing.
cargo fuzz build --sanitizer none --target-dir target
built=target/$(rustc -vV | sed -n 's/^host: //p')/release

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
run() {
  local target=$1 result=ok runs
  mkdir -p "corpus/$target" "artifacts/$target"
  "$built/$target" "corpus/$target" "seeds/$target" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" \
    -max_len="$(longest "$target")" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$logs/$target" 2>&1 || result=FOUND
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target" | tail -n 1)
  printf '%-13s %12s executions  %s\n' "$target" "${runs:-no}" "$result"
  if [ "$result" != ok ]; then
    tail -n 60 "$logs/$target"
    echo "to make it smaller: cargo fuzz tmin --sanitizer none $target FILE, in the folder fuzz"
    return 1
  fi
}

failed=0 running=0
for target in rules config skill strict_json session_file component definitions; do
  run "$target" &
  running=$((running + 1))
  if [ "$running" -ge "$at_once" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
