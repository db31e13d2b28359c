# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: MCP servers of others, behind the gate and inside their fence. Reads: PALISADE, home, ws, node,
# packages, python.

ext=$home/ext
mkdir -m 700 "$ext"
outside=$home/outside
mkdir "$outside"
echo "outside-of-the-entry" >"$outside/secret.txt"
ln -s "$outside/secret.txt" "$ws/link.txt"
modules=$packages/node_modules
everything=$modules/@modelcontextprotocol/server-everything/dist/index.js
files=$modules/@modelcontextprotocol/server-filesystem/dist/index.js

# What it expects of a command of Palisade: NAME EXIT PATTERN COMMAND...
expect() {
  local name=$1 code=$2 pattern=$3 got
  shift 3
  PLANTED=planted-value PALISADE_HOME=$ext "$PALISADE" --format json --workspace "$ws" "$@" >"$home/out" 2>"$home/err"
  got=$?
  if [ "$got" = "$code" ] && grep -qE -- "$pattern" "$home/out" "$home/err"; then
    ok "$name"
  else
    bad "$name: exit $got: $(cat "$home/out" "$home/err" | tail -c 600)"
  fi
}

# A server that tries to get out. It needs nothing but Node.
cat >"$home/tries.mjs" <<'JS'
import dgram from "node:dgram";
import fs from "node:fs";
import net from "node:net";
import { spawnSync } from "node:child_process";
import { createInterface } from "node:readline";

const said = (error) => error?.code ?? String(error);
const connects = (to) => new Promise((done) => {
  const socket = net.connect(to, () => { socket.destroy(); done("reached"); });
  socket.on("error", (error) => done(said(error)));
});
const sends = (port) => new Promise((done) => {
  try {
    const socket = dgram.createSocket("udp4");
    socket.on("error", (error) => done(said(error)));
    socket.send("x", port, "127.0.0.1", (error) => { done(error ? said(error) : "reached"); socket.close(); });
  } catch (error) { done(said(error)); }
});
const listens = () => new Promise((done) => {
  const server = net.createServer().on("error", (error) => done(said(error)));
  server.listen(0, "127.0.0.1", () => { server.close(); done("reached"); });
});
const reads = (path) => { try { fs.readFileSync(path); return "reached"; } catch (error) { return said(error); } };
// What it starts is inside the same fence.
const child = (port) => {
  const code = `require("net").connect(${port}, "127.0.0.1", () => process.exit(0)).on("error", () => process.exit(9))`;
  return spawnSync(process.execPath, ["-e", code]).status === 0 ? "reached" : "refused";
};
const tools = {
  reach: async ({ port, path }) => ({
    tcp: await connects({ port, host: "127.0.0.1" }), unix: await connects({ path: "/var/run/none.sock" }), udp: await sends(port),
    listen: await listens(), child: child(port), file: reads(path), proc: reads(`/proc/${process.ppid}/environ`),
  }),
  environment: async () => Object.keys(process.env).sort(),
  // Denied by its name.
  "run-shell": async () => "ran",
};
const open = { type: "object", properties: { port: { type: "integer" }, path: { type: "string" } } };
const answers = {
  initialize: () => ({ protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "tries", version: "1" } }),
  "tools/list": () => ({ tools: Object.keys(tools).map((name) => ({ name, inputSchema: open })) }),
  "tools/call": async ({ name, arguments: given }) => ({ content: [{ type: "text", text: JSON.stringify(await tools[name](given ?? {})) }] }),
};
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) return;
  const answer = answers[method] ? { result: await answers[method](params) } : { error: { code: -32601, message: "unknown" } };
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, ...answer }) + "\n");
});
JS

cat >"$ext/config.toml" <<TOML
profile = "trusted"
[mcp.everything]
command = "$node"
args = ["$everything", "stdio"]
[mcp.files]
command = "$node"
args = ["$files", "/"]
fs = [{ path = "@workspace", access = "read" }]
[mcp.installed]
command = "$modules/.bin/mcp-server-filesystem"
args = ["$ws"]
fs = [{ path = "@workspace", access = "read" }]
[mcp.tries]
command = "$node"
args = ["$home/tries.mjs"]
[mcp.tries-with-net]
command = "$node"
args = ["$home/tries.mjs"]
net = true
TOML
chmod 600 "$ext/config.toml"

expect "an external server is denied until somebody accepts it" 3 'nobody accepted' call everything/echo '{"message": "a"}'
expect "server-everything is accepted" 0 '"tools":' mcp accept everything --yes
expect "server-everything: its tools are listed" 0 'everything/get-sum' tools
expect "server-everything: echo" 0 'Echo: hello' call everything/echo '{"message": "hello"}'
expect "server-everything: get-sum" 0 'is 5' call everything/get-sum '{"a": 2, "b": 3}'
expect "server-everything: structured content" 0 '"type":"json"' call everything/get-structured-content '{"location": "Chicago"}'
expect "server-everything: an image" 0 '"type":"blob","mime":"image/png"|"mime":"image/png"' call everything/get-tiny-image '{}'
expect "server-everything: wrong arguments are denied before they reach it" 3 '"rule":"arguments"' call everything/get-sum '{"a": "two", "b": 3}'
expect "server-everything: the deny list holds" 3 '"rule":"deny-name"' --deny-tool everything/echo call everything/echo '{"message": "a"}'
expect "server-everything: a prefix of the deny list holds" 3 '"rule":"deny-prefix"' --deny-prefix everything/get- call everything/get-sum '{"a": 2, "b": 3}'
expect "server-everything: get-env answers" 0 'PALISADE_NESTED' call everything/get-env '{}'
if grep -q planted-value "$home/out"; then bad "a planted variable is in a server's environment"; else ok "a planted variable is not in its environment"; fi

expect "server-filesystem, told that it may read /, is accepted" 0 '"tools":' mcp accept files --yes
expect "server-filesystem: reads a file of the workspace" 0 'a needle lies here' call files/read_text_file "{\"path\": \"$ws/needle.txt\"}"
expect "server-filesystem: lists the workspace" 0 'needle.txt' call files/list_directory "{\"path\": \"$ws\"}"
for path in "$outside/secret.txt" "$ws/link.txt" "$ws/../outside/secret.txt" /proc/1/environ "$ext/config.toml" "$HOME/.bashrc"; do
  if [ ! -e "$path" ]; then
    skip "there is no $path"
    continue
  fi
  expect "server-filesystem: cannot read ${path/#$home/TEMP}" 4 'EACCES|permission denied' call files/read_text_file "{\"path\": \"$path\"}"
  if grep -q 'outside-of-the-entry' "$home/out" "$home/err"; then bad "and yet it was read: $path"; fi
done
expect "server-filesystem: cannot write where its entry says read" 4 'EACCES|permission denied' call files/write_file "{\"path\": \"$ws/new.txt\", \"content\": \"x\"}"
if [ -e "$ws/new.txt" ]; then bad "and yet it was written"; fi

expect "a server by the link that npm makes, with Node by PATH, is accepted" 0 '"tools":' mcp accept installed --yes
expect "a server by the link that npm makes: reads" 0 'a needle lies here' call installed/read_text_file "{\"path\": \"$ws/needle.txt\"}"

expect "a server of a few lines is accepted" 0 '"tools":3' mcp accept tries --yes
expect "the same with net = true is accepted" 0 '"tools":3' mcp accept tries-with-net --yes
expect "the shell gate holds for its tools" 3 '"rule":"shell-gate"' call tries/run-shell '{}'
# A listener of this script's own, so that what gets through is seen.
"$node" -e 'require("net").createServer((s) => s.destroy()).listen(0, "127.0.0.1", function () { console.log(this.address().port) })' >"$home/port" &
listener=$!
for _ in $(seq 100); do
  [ -s "$home/port" ] && break
  sleep 0.1
done
arguments="{\"port\": $(cat "$home/port"), \"path\": \"$outside/secret.txt\"}"
inside='tcp.*EACCES.*unix.*EACCES.*udp.*EACCES.*listen.*EACCES.*child.*refused.*file.*EACCES.*proc.*EACCES'
expect "without net a server reaches no socket of any kind, nor does what it starts" 0 "$inside" call tries/reach "$arguments"
inside='tcp.*reached.*unix.*EACCES.*udp.*reached.*child.*reached.*file.*EACCES.*proc.*EACCES'
expect "with net = true it reaches the internet's sockets, and no more" 0 "$inside" call tries-with-net/reach "$arguments"
kill "$listener"
wait "$listener" 2>/dev/null
expect "its environment is what it is meant to be" 0 '"\[\\"HOME\\",(\\"LANG\\",)?\\"PALISADE_NESTED\\",\\"PATH\\",\\"TMPDIR\\"\]"' call tries/environment '{}'
expect "mcp list: all five run" 0 '("state":"running".*){5}' mcp list

# In one process, behind `serve`: other people's clients call other people's servers through the gate.
if [ -n "$python" ]; then
  for mode in legacy 2026-07-28; do
    if PALISADE_HOME=$ext "$python" tests/interop_through.py "$mode" "$PALISADE" --workspace "$ws" serve >/dev/null 2>"$home/err"; then
      ok "the Python client calls external servers through serve, $mode: lists, calls, gets progress, cancels"
    else
      bad "the Python client calls external servers through serve, $mode: $(tail -n 5 "$home/err")"
    fi
  done
  # A server in Python, by the interpreter of its virtual environment and by a script of it.
  cat >"$home/served.py" <<'PYTHON'
from mcp.server import MCPServer
server = MCPServer("python")
@server.tool()
def double(number: int) -> int:
    """Doubles a number."""
    return 2 * number
server.run()
PYTHON
  printf '#!%s\n' "$python" | cat - "$home/served.py" >"$home/served"
  chmod 755 "$home/served"
  cat >>"$ext/config.toml" <<TOML
[mcp.python]
command = "$python"
args = ["$home/served.py"]
[mcp.script]
command = "$home/served"
TOML
  for name in python script; do
    expect "a Python server in a virtual environment is accepted ($name)" 0 '"tools":1' mcp accept $name --yes
    expect "a Python server in a virtual environment answers ($name)" 0 '42' call $name/double '{"number": 21}'
  done
else
  skip "external servers through the Python client, and Python servers (6 checks)"
fi

# A program among those of a whole home, beside Palisade's own folders: it starts, and those stay closed. The server is
# started with them in their usual places, so that what is around its `bin` holds them.
user=$home/user
mkdir -p "$user/.local/bin" "$user/.local/share/palisade/secrets" "$user/.local/share/keyrings" "$user/.config/palisade"
cp "$home/tries.mjs" "$user/.local/bin/tries"
sed -i '1i #!/usr/bin/env node' "$user/.local/bin/tries"
chmod 755 "$user/.local/bin/tries"
echo planted-secret >"$user/.local/share/palisade/secrets/API_TOKEN"
echo planted-secret >"$user/.local/share/keyrings/one"
printf 'profile = "trusted"\n[mcp.local]\ncommand = "tries"\n' >"$user/.config/palisade/config.toml"
chmod -R go= "$user"
as_user() {
  env -u PALISADE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME -u XDG_CACHE_HOME HOME="$user" PATH="$user/.local/bin:$PATH" \
    "$PALISADE" --format json --workspace "$ws" "$@" >"$home/out" 2>"$home/err"
}
mv "$user/.local/bin/tries" "$user/.local/bin/tries.mjs" && ln -s tries.mjs "$user/.local/bin/tries"
if as_user mcp accept local --yes; then
  for path in share/palisade/secrets/API_TOKEN share/keyrings/one; do
    as_user call local/reach "{\"port\": 1, \"path\": \"$user/.local/$path\"}"
    if grep -q 'file.*EACCES' "$home/out"; then ok "a server of ~/.local/bin does not read ~/.local/$path"; else bad "a server of ~/.local/bin reads ~/.local/$path: $(tail -c 400 "$home/out")"; fi
  done
else
  bad "a server of ~/.local/bin does not start: $(tail -c 400 "$home/err")"
fi

# All that was started is gone with whoever started it.
for _ in $(seq 50); do
  left=$(pgrep -f "$home/tries.mjs|$everything|$files" || true)
  [ -z "$left" ] && break
  sleep 0.1
done
if [ -z "$left" ]; then ok "no server is left running"; else bad "servers are left running: $left"; fi
