"""The tool as an Extism plugin in a Python process: extism_host.py FILE.

Answers the same lines as the MCP servers, by a loop and no SDK, so that the same client times it; and `bench`, which times
calls in this process, with no pipe between. `count` uses one instance for all calls, `count_fresh` one for each.
"""

import json
import sys
from time import perf_counter_ns

import extism
from extism.extism import CompiledPlugin

# Read here: a text goes to Extism as it is, which assembles it.
with open(sys.argv[1], "rb") as file:
    code = file.read()
# The limits that the other fence sets: a deadline and a memory limit.
compiled = CompiledPlugin({"wasm": [{"data": code}], "memory": {"max_pages": 1024}, "timeout_ms": 10_000})
reused = extism.Plugin(compiled)


def count(arguments: str) -> bytes:
    return reused.call("count", arguments)


def count_fresh(arguments: str) -> bytes:
    with extism.Plugin(compiled) as plugin:
        return plugin.call("count", arguments)


tools = {"count": count, "count_fresh": count_fresh}


def bench(name: str, arguments: str, calls: int) -> list[int]:
    tool, times = tools[name], []
    for _ in range(calls):
        start = perf_counter_ns()
        tool(arguments)
        times.append(perf_counter_ns() - start)
    return times


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message["params"]
    if message["method"] == "initialize":
        server = {"name": "count", "version": "0"}
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    elif message["method"] == "bench":
        result = bench(params["name"], json.dumps(params["arguments"]), params["calls"])
    else:
        text = bytes(tools[params["name"]](json.dumps(params["arguments"]))).decode()
        result = {"content": [{"type": "text", "text": text}], "structuredContent": json.loads(text)}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
