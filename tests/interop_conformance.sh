# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: the protocol's conformance suite against `serve --http`, for both eras. Scenarios that fail stand in
# conformance.yml with their reasons. Reads: home, node, packages, server, url.

conforms() { # REVISION BASELINE
  (cd "$home" && "$node" "$packages/node_modules/.bin/conformance" server --url "$url" --requirements "$1" --expected-failures "$2") >"$home/out" 2>&1
}
if start_http --http 127.0.0.1:0 --http-no-token; then
  for revision in 2025-11-25 2026-07-28; do
    if conforms "$revision" "$root/tests/conformance.yml"; then
      ok "the conformance suite, $revision: $(grep -c '^✓' "$home/out") scenarios pass, $(grep -c '^✗' "$home/out") fail as expected"
    else
      bad "the conformance suite, $revision: $(grep -A12 -iE 'unexpected|stale' "$home/out" | head -n 30)"
    fi
  done
  # A baseline that names what passes is noticed.
  sed '$a\  - tools-list' tests/conformance.yml >"$home/stale.yml"
  if conforms 2025-11-25 "$home/stale.yml"; then bad "a stale conformance.yml goes unnoticed"; else ok "a stale conformance.yml is noticed"; fi
  stop_http
else
  bad "the conformance suite has no server"
fi
