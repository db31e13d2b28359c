#!/usr/bin/env bash
# Checks that are no compiler's: licenses and sources of dependencies, a reason beside each of them, credentials in the
# tree, binaries in the tree, files that grew too long.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

if cargo deny --version >/dev/null 2>&1; then
  cargo deny --locked check licenses bans sources || failed=1
else
  echo "skipped: cargo deny is not installed"
fi

# A direct dependency stands under a comment that says what it is for.
awk '/^\[workspace.dependencies\]/ { on = 1; next } /^\[/ { on = 0 }
     on && /^#/ { reason = 1 } on && /^$/ { reason = 0 }
     on && /^[a-z]/ && !/path = / && !reason { print "Cargo.toml: no reason beside " $1; bad = 1 }
     END { exit bad }' Cargo.toml || failed=1

# The tool that finds credentials, over the tree it is built from.
palisade=${CARGO_TARGET_DIR:-target}/debug/palisade
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
chmod 700 "$home"
tree=$home/tree
mkdir -p "$tree" "$home/own"
chmod 700 "$home/own"
git ls-files -z | xargs -0 cp --parents -t "$tree"
found=$(PALISADE_HOME=$home/own "$palisade" --workspace "$tree" --profile trusted --plugin target/plugins/secrets \
  --grant secrets:fs:read:@workspace --format json -q call secrets/scan)
if ! grep -q '"findings":\[\]' <<<"$found"; then
  echo "credentials in the tree: $found"
  failed=1
fi

binaries=$(git ls-files | grep -E '\.(wasm|cwasm|so|a|o|rlib)$' || true)
[ -z "$binaries" ] || { echo "binaries in the tree: $binaries"; failed=1; }

long=$(git ls-files '*.rs' | xargs wc -l | awk '$2 != "total" && $1 > 510 { print $2 " has " $1 " lines" }')
[ -z "$long" ] || { echo "$long"; failed=1; }

exit "$failed"
