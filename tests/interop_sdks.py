"""Runs the conformance table of the SDKs: interop_sdks.py PALISADE TABLE PLUGIN...

Each case is one `palisade call` of one plugin's tool; its content, as it stands in the call record, is compared byte for byte with
what the table says. Schemas are compared by their shape. Prints a line for each plugin, and what differs.
"""

import base64
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PALISADE, TABLE, *PLUGINS = sys.argv[1:]
TOOLS = json.loads(Path(TABLE).read_text())["tools"]


def text_of(text: str) -> str:
    """`@repeat:TEXT:COUNT` stands for a long text."""
    repeated = re.fullmatch(r"@repeat:(.*):(\d+)", text, re.DOTALL)
    return repeated[1] * int(repeated[2]) if repeated else text


def arguments_of(case: dict[str, Any]) -> str:
    """A text is JSON already: it is for what Python would write otherwise."""
    given = case["arguments"]
    if isinstance(given, str):
        return given
    return json.dumps({name: text_of(value) if isinstance(value, str) else value for name, value in given.items()}, ensure_ascii=False)


def content_of(case: dict[str, Any]) -> str:
    """The content that a case expects, as the record has it. Control characters the host takes out of what a guest returns."""
    string = lambda text: json.dumps(text, ensure_ascii=False)  # noqa: E731
    contents = []
    for one in case["content"]:
        if "text" in one:
            contents.append(f'{{"type":"text","text":{string(text_of(one["text"]))}}}')
        elif "json" in one:
            counted = re.fullmatch(r"@range:(\d+)", one["json"])
            value = json.dumps(list(range(int(counted[1]))), separators=(",", ":")) if counted else one["json"]
            contents.append(f'{{"type":"json","value":{value}}}')
        else:
            sized = re.fullmatch(r"@bytes:(\d+)", one["blob"])
            data = base64.b64encode(bytes(i % 251 for i in range(int(sized[1])))).decode() if sized else one["blob"]
            contents.append(f'{{"type":"blob","mime":{string(one["mime"])},"base64":"{data}"}}')
    return f"[{','.join(contents)}]"


def command(plugin: Path, *more: str) -> list[str]:
    return [PALISADE, "--profile", "trusted", "--plugin", str(plugin), "--grant", f"{plugin.name}:store", "--workspace", str(plugin), "--format", "json", "-v", *more]


def run_case(plugin: Path, tool: str, case: dict[str, Any]) -> str | None:
    """What differs."""
    process = subprocess.run(command(plugin, "call", f"{plugin.name}/{tool}", "-"), input=arguments_of(case).encode(), capture_output=True, timeout=120)
    answer = process.stdout.decode()
    try:
        record = json.loads(answer)
    except ValueError:
        return f"no record: {process.stderr.decode()[-300:]}"
    if case.get("denied"):
        rule = (record["denial"] or {}).get("rule")
        return None if rule == "arguments" else f"not denied for its arguments: {record['outcome']}, {rule}"
    if "error" in case:
        error = record["error"] or {}
        same = record["outcome"] == "error" and error.get("kind") == "tool-failed" and error.get("message") == case["error"]
        return None if same else f"outcome {record['outcome']}, {error}"
    if record["outcome"] != "ok":
        return f"outcome {record['outcome']}, {record['error']}"
    # The very bytes: a parser would hide how numbers, keys and escapes are written.
    start = answer.index('"content":') + len('"content":')
    content = answer[start : json.JSONDecoder().raw_decode(answer, start)[1]]
    expected = content_of(case)
    if content != expected:
        return f"{shortened(content)} and not {shortened(expected)}"
    for line in case.get("log", []):
        if f"{plugin.name}/{tool} {line}" not in process.stderr.decode().splitlines():
            return f"no log line `{line}` in {process.stderr.decode()!r}"
    return None


def shortened(text: str) -> str:
    return text if len(text) < 300 else f"{text[:140]} … {text[-140:]} ({len(text)} characters)"


def shape_of(schema: Any, root: dict[str, Any]) -> Any:
    """A schema in the words of the table, without what is only said of it."""
    if schema is True:
        return "any"
    if "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return shape_of(found, root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return one_of([shape_of(one, root) for one in schema[word]])
    if "const" in schema:
        return {"enum": [schema["const"]]}
    if "enum" in schema:
        return {"enum": schema["enum"]}
    kind = schema.get("type")
    if isinstance(kind, list):
        return one_of([shape_of({**schema, "type": one}, root) for one in kind])
    if kind == "array":
        return {"list": shape_of(schema["items"], root)}
    if kind == "object" and "properties" not in schema and schema.get("additionalProperties"):
        return {"map": shape_of(schema["additionalProperties"], root)}
    if kind == "object":
        return {"object": properties_of(schema, root)}
    return kind or "any"


def properties_of(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", [])
    return {name if name in required else f"{name}?": shape_of(one, root) for name, one in schema.get("properties", {}).items()}


def one_of(shapes: list[Any]) -> Any:
    """Alternatives in one order; a union in a union is one."""
    flat = [inner for one in shapes for inner in (one["oneOf"] if isinstance(one, dict) and "oneOf" in one else [one])]
    return {"oneOf": sorted(flat, key=json.dumps)}


def normal(shape: Any) -> Any:
    """A shape of the table, with alternatives in that order too."""
    if isinstance(shape, dict) and "oneOf" in shape:
        return one_of([normal(one) for one in shape["oneOf"]])
    if isinstance(shape, dict) and "enum" not in shape:
        return {word: normal(inner) for word, inner in shape.items()}
    return shape


def closed_everywhere(schema: Any) -> bool:
    """Whether each object of named properties refuses others."""
    if isinstance(schema, list):
        return all(map(closed_everywhere, schema))
    if not isinstance(schema, dict):
        return True
    here = schema.get("additionalProperties") is False or not isinstance(schema.get("properties"), dict)
    return here and all(map(closed_everywhere, schema.values()))


def schemas(plugin: Path) -> list[str]:
    """What differs in what the tools say of themselves."""
    listed = json.loads(subprocess.run(command(plugin, "tools"), capture_output=True, check=True, timeout=300).stdout)["tools"]
    found = {tool["id"].split("/", 1)[1]: tool for tool in listed}
    wrong = [f"{name}: not in the table" for name in found.keys() - {tool["name"] for tool in TOOLS}]
    for tool in TOOLS:
        name, one = tool["name"], found.get(tool["name"])
        if one is None:
            wrong.append(f"{name}: not there")
            continue
        given = one["input_schema"]
        shape, expected = properties_of(given, given), normal(tool["arguments"])
        if shape != expected:
            wrong.append(f"{name}: arguments {json.dumps(shape)} and not {json.dumps(expected)}")
        if not closed_everywhere(given) or given.get("additionalProperties") is not False:
            wrong.append(f"{name}: its schema is open")
        wrong += [f"{name}: {argument} has no description" for argument, one in given.get("properties", {}).items() if not one.get("description")]
        returned = one["output_schema"] and shape_of(one["output_schema"], one["output_schema"])
        if without_optional(returned) != without_optional(normal(tool.get("output"))):
            wrong.append(f"{name}: output {json.dumps(returned)} and not {json.dumps(normal(tool.get('output')))}")
    return wrong


def without_optional(shape: Any) -> Any:
    """An output that is always there may be said to be optional, by a language whose type is one for both ways."""
    if isinstance(shape, dict) and "enum" not in shape:
        return {word.removesuffix("?"): without_optional(inner) for word, inner in shape.items()}
    return [without_optional(one) for one in shape] if isinstance(shape, list) else shape


def progress(plugin: Path, tool: str, case: dict[str, Any]) -> str | None:
    """Progress is for a client that asks for it. Those that come faster than ten a second are dropped, but the first never."""
    serving = subprocess.Popen(command(plugin, "serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert serving.stdin and serving.stdout
    meta = {"progressToken": "p"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "conformance", "version": "1"}}
    call = {"name": f"{plugin.name}__{tool}", "arguments": case["arguments"], "_meta": meta}
    for message in (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": call},
    ):
        serving.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        serving.stdin.flush()
    reports = []
    for line in serving.stdout:
        message = json.loads(line)
        if message.get("method") == "notifications/progress":
            reports.append({key: value for key, value in message["params"].items() if key != "progressToken"})
        if message.get("id") == 2:
            break
    serving.stdin.close()
    serving.wait(30)
    expected = case["progress"]
    return None if reports[: len(expected)] == expected else f"progress {reports} and not {expected}"


def conform(plugin: Path) -> tuple[int, list[str]]:
    wrong = schemas(plugin)
    cases = 0
    # In order: what the store holds, one case leaves to the next.
    for tool in TOOLS:
        for case in tool["cases"]:
            cases += 1
            differs = run_case(plugin, tool["name"], case)
            if differs is None and "progress" in case:
                differs = progress(plugin, tool["name"], case)
            if differs:
                wrong.append(f"{tool['name']} {shortened(json.dumps(case['arguments'], ensure_ascii=False))}: {differs}")
    return cases, wrong


def main() -> int:
    plugins = [Path(plugin) for plugin in PLUGINS]
    failed = False
    with ThreadPoolExecutor(len(plugins)) as pool:
        for plugin, (cases, wrong) in zip(plugins, pool.map(conform, plugins)):
            for line in wrong:
                print(f"  {plugin.name}: {line}")
            print(f"{'FAILED' if wrong else 'ok'}: {plugin.name}: {len(TOOLS)} tools, {cases} cases, {len(wrong)} differences")
            failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
