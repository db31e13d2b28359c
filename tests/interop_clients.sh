# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: MCP clients of others speak to `palisade serve`, in both eras of the protocol, over standard input
# and output and over HTTP. Reads: PALISADE, home, ws, python, node, packages.

serving=(--workspace "$ws" --profile trusted --plugin-dir "$root/target/plugins" --grant search:fs:read:@workspace
  --grant secrets:fs:read:@workspace --grant text-stats:fs:read:@workspace --grant notes:store)

# One more plugin, which a client withdraws while it is served.
changing=$home/comes-and-goes
mkdir "$changing"
cp target/plugins/text-stats/text-stats.wasm "$changing/"
export COMES_AND_GOES=$changing/plugin.toml
comes() {
  rm -f "$COMES_AND_GOES.away"
  printf '[plugin]\nname = "comes-and-goes"\nversion = "0.1.0"\ncomponent = "text-stats.wasm"\n' >"$COMES_AND_GOES"
}
serving+=(--plugin "$changing")

# Starts a server over HTTP, with more arguments; its address is in $url and its pid in $server.
start_http() {
  comes
  "$PALISADE" "${serving[@]}" serve "$@" >/dev/null 2>"$home/serve" &
  server=$!
  for _ in $(seq 600); do
    url=$(sed -n 's#^listening on \(http://[^ ]*\) .*#\1#p' "$home/serve")
    if [ -n "$url" ]; then return 0; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  bad "serve --http does not start: $(tail -n 3 "$home/serve")"
  stop_http
  return 1
}

stop_http() {
  [ -n "$server" ] || return 0
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  server=
}

# How many calls of intruder/spin the audit log says were cancelled.
cancelled() { "$PALISADE" audit show --tool intruder/spin --limit 1000 2>/dev/null | grep -c 'allow → .*cancelled'; }

with_python() {
  local mode=$1 transport=$2 before
  shift 2
  before=$(cancelled)
  if ! "$python" tests/interop_client.py "$mode" "$transport" "$@" >/dev/null 2>"$home/err"; then
    bad "the Python client, $mode, $transport: $(tail -n 5 "$home/err")"
  elif [ "$(cancelled)" -le "$before" ]; then
    bad "the Python client, $mode, $transport: its cancelled call ran on"
  else
    ok "the Python client, $mode, $transport: lists, calls every plugin, gets progress, cancels, sees the list change"
  fi
}

# The inspector's client, on one connection.
with_inspector_client() {
  local era=$1 transport=$2 before
  shift 2
  before=$(cancelled)
  if ! "$node" tests/interop_inspector.mjs "$packages/node_modules/@modelcontextprotocol/inspector" "$era" "$transport" "$@" >/dev/null 2>"$home/err"; then
    bad "the inspector's client, $era, $transport: $(tail -n 12 "$home/err")"
  elif [ "$(cancelled)" -le "$before" ]; then
    bad "the inspector's client, $era, $transport: its cancelled call ran on"
  else
    ok "the inspector's client, $era, $transport: lists, calls every plugin, gets progress, cancels, sees the list change"
  fi
}

# The inspector: one process for each request.
with_inspector() {
  local era=$1 transport=$2 failed_at='' listed
  shift 2
  ask() { (cd "$packages" && MCP_CATALOG_PATH=$home/catalog.json "$node" node_modules/.bin/mcp-inspector --cli -q --protocol-era "$era" "$@" --format json) 2>"$home/err"; }
  listed=$(ask "$@" --method tools/list)
  grep -q 'text-stats__count' <<<"$listed" && ! grep -q 'shell__bash' <<<"$listed" || failed_at="tools/list"
  tool() { # NAME PATTERN KEY=VALUE...
    local name=$1 pattern=$2 pairs=() pair
    shift 2
    for pair in "$@"; do pairs+=(--tool-arg "$pair"); done
    ask "${to[@]}" --method tools/call --tool-name "$name" "${pairs[@]}" >"$home/out"
    grep -q -- "$pattern" "$home/out" || failed_at="$failed_at $name: $(tail -c 300 "$home/out")"
  }
  local to=("$@")
  tool text-stats__count 'words.*3' "text=one two three"
  tool json-query__query 'results' "filter=.a" 'json="{\"a\": 2}"'
  tool search__grep 'needle.txt' "pattern=a needle lies here"
  tool secrets__scan 'credential.txt'
  tool notes__add 'isError\|content' "title=from-the-inspector-$era-$transport" "text=kept"
  tool notes__read 'kept' "title=from-the-inspector-$era-$transport"
  if [ -z "$failed_at" ]; then
    ok "the inspector, $era, $transport: lists and calls"
  else
    bad "the inspector, $era, $transport: $failed_at $(tail -n 3 "$home/err")"
  fi
}

if [ -n "$python" ]; then
  token=$PALISADE_HOME/state/serve.token
  for mode in legacy 2026-07-28; do
    comes
    with_python "$mode" stdio "$PALISADE" "${serving[@]}" serve
    # A server for each: what one client withdraws, the next one finds at the start.
    if start_http --http 127.0.0.1:0; then
      with_python "$mode" http "$url" "$token"
      stop_http
    else
      bad "the Python client, $mode, over HTTP"
    fi
  done
  if start_http --http 127.0.0.1:0; then
    # No token, a wrong one, one that is nearly right: refused alike, before anything of the request is looked at.
    answers=$("$python" - "$url" "$token" <<'PYTHON'
import sys, urllib.error, urllib.request
url, right = sys.argv[1], open(sys.argv[2]).read().strip()
ask = lambda headers: urllib.request.Request(url, b"{}", {"Content-Type": "application/json", **headers})
def status(headers):
    try:
        return urllib.request.urlopen(ask(headers), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
bearer = lambda token: {"Authorization": f"Bearer {token}"}
print(status({}), status(bearer("wrong")), status(bearer(right[:-1])), status(bearer(right) | {"Origin": "https://a.example"}),
      status(bearer(right) | {"Host": "a.example"}))
PYTHON
    )
    if [ "$answers" = "401 401 401 403 403" ]; then
      ok "no token and a wrong one are 401, a web page and another host name 403"
    else
      bad "no token, two wrong ones, a web page, another host name: $answers"
    fi
    stop_http
  else
    bad "who is let in over HTTP"
  fi
else
  skip "the Python client cannot be installed (5 checks): $(tail -n 1 "$home/pip" 2>/dev/null)"
fi

if [ -n "$node" ]; then
  for era in legacy modern; do
    comes
    with_inspector "$era" stdio -e "PALISADE_HOME=$PALISADE_HOME" "$PALISADE" "${serving[@]}" serve
    with_inspector_client "$era" stdio "$PALISADE" "${serving[@]}" serve
  done
  if start_http --http 127.0.0.1:0; then
    for era in legacy modern; do
      with_inspector "$era" http "$url" --transport http --header "Authorization: Bearer $(cat "$PALISADE_HOME/state/serve.token")"
    done
    stop_http
  fi
  # A server for each: what one client withdraws, the next one finds at the start.
  for era in legacy modern; do
    if start_http --http 127.0.0.1:0; then
      with_inspector_client "$era" http "$url" "$PALISADE_HOME/state/serve.token"
      stop_http
    else
      bad "the inspector's client, $era, over HTTP"
    fi
  done
else
  skip "the inspector needs Node 22 and npm (8 checks)"
fi
