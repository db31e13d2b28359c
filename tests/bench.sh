#!/usr/bin/env bash
# Runs the benches and keeps their figures, with date and machine, in the file that the README quotes:
#   tests/bench.sh FIGURES.md
set -euo pipefail
cd "$(dirname "$0")/.."
kept=$1
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for bench in cost hooks scale serve; do
  cargo bench --locked --workspace --bench "$bench" | tee >(grep '^|' >>"$rows")
done
# The file that tee writes to may still be open.
sleep 1
machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
{
  echo "# What it costs"
  echo
  echo "Written by \`make bench\`. Ratios travel, times do not."
  echo
  echo "$(date -u '+%-d %B %Y'): $(nproc) cores of ${machine:-an unnamed processor}, $(uname -sr), $(rustc --version | cut -d' ' -f1-2)."
  echo
  echo "| what | measured | goal |"
  echo "|---|---|---|"
  cat "$rows"
} >"$kept.new"
mv "$kept.new" "$kept"
