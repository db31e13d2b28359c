# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: the protocol's conformance suite against `serve --http`, for both eras. What fails stands in
# conformance.yml with its reason, and there it also says what stands between suite and server. Reads: PALISADE, home, root,
# node, packages, server.

fixture=$home/conformance
mkdir -p "$fixture"
cp target/guests/conformance.wasm "$fixture/"
cp tests/guests/conformance.toml "$fixture/plugin.toml"

suite=$packages/node_modules/@modelcontextprotocol/conformance
conforms() { # REVISION BASELINE
  (cd "$home" && "$node" "$suite/dist/index.js" server --url "$bare" --requirements "$1" --expected-failures "$2") >"$home/out" 2>&1
}
# Scenarios that it runs with the others and does not count, such as those on headers and schemas: here each counts.
uncounted() { # REVISION
  awk '/^not_scored/ { on = 1 } on && $2 == "scenario:" { name = $3 } on && $1 == "leg:" && $2 == "server" { print name }' "$suite/requirements/$1.yaml"
}
conforms_in() { # REVISION SCENARIO BASELINE
  (cd "$home" && "$node" "$suite/dist/index.js" server --url "$bare" --scenario "$2" --spec-version "$1" --expected-failures "$3") >"$home/out" 2>&1
}
serving=(--workspace "$ws" --profile trusted --plugin "$fixture")
if start_http --http 127.0.0.1:0 --http-no-token; then
  # It ends with what holds its input open.
  mkfifo "$home/proxying"
  exec 8<>"$home/proxying"
  python3 tests/renaming_proxy.py "$url" conformance__ <"$home/proxying" >"$home/bare" 8>&- &
  proxy=$!
  for _ in $(seq 100); do
    [ -s "$home/bare" ] && break
    sleep 0.1
  done
  bare=$(cat "$home/bare")
  for revision in 2025-11-25 2026-07-28; do
    if conforms "$revision" "$root/tests/conformance.yml"; then
      ok "the conformance suite, $revision: $(sed -n 's/^Total: //p' "$home/out") checks, each failure expected"
    else
      bad "the conformance suite, $revision: $(grep -A12 -iE 'unexpected|stale' "$home/out" | head -n 30)"
    fi
    scenarios=0 differ=''
    for scenario in $(uncounted "$revision"); do
      scenarios=$((scenarios + 1))
      conforms_in "$revision" "$scenario" "$root/tests/conformance.yml" || differ="$differ $scenario: $(tail -n 4 "$home/out")"
    done
    if [ "$scenarios" -gt 0 ] && [ -z "$differ" ]; then
      ok "what the conformance suite does not count, $revision: $scenarios scenarios, each failure expected"
    else
      bad "what the conformance suite does not count, $revision: $scenarios scenarios:$differ"
    fi
  done
  # A baseline that names what passes is noticed, and so is one that leaves out a single check that does not.
  sed '$a\  - tools-call-image\n  - http-header-validation' tests/conformance.yml >"$home/stale.yml"
  if conforms 2025-11-25 "$home/stale.yml" || conforms_in 2026-07-28 http-header-validation "$home/stale.yml"; then bad "a stale conformance.yml goes unnoticed"; else ok "a stale conformance.yml is noticed"; fi
  grep -v '^  - prompts-list$' tests/conformance.yml >"$home/short.yml"
  if conforms 2025-11-25 "$home/short.yml"; then bad "a check that fails goes unnoticed"; else ok "a check that fails is noticed"; fi
  kill "$proxy"
  wait "$proxy" 2>/dev/null
  proxy=
  exec 8>&-
  stop_http
else
  bad "the conformance suite has no server"
fi
