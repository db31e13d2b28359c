"""Calls programs and components of others, and compares all of what they answer.

interop_programs.py PALISADE FILE.json FOLDER HOME - FOLDER has the components as NAME.wasm, and those that it does not have are
skipped; below HOME is what the calls need. Prints a line for each check: `ok: `, `FAILED: ` or `skipped: `.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PALISADE = sys.argv[1]
TABLE, FOLDER, HOME = (Path(path).resolve() for path in sys.argv[2:])
# What is outside of a program: its folder, with a secret, and the way there from the folder of a native run.
OUTSIDE = HOME / "outside"
SCRATCH = HOME / "own" / "cache" / "programs" / "tmp"
ENVIRONMENT = {**os.environ, "PALISADE_HOME": str(HOME / "own"), "PLANTED": "planted-value"}
# The longest a call with its compiling takes on a slow machine.
LONG = 600


def palisade(component: Path, *command: str, given: Any = None) -> tuple[int, str, str]:
    """Exit code, output, and what else it said."""
    flags = ["--format", "json", "--profile", "trusted", "--workspace", str(HOME / "ws"), "--plugin", str(component)]
    text = None if given is None else json.dumps(given)
    run = subprocess.run([PALISADE, *flags, *command], input=text, capture_output=True, text=True, env=ENVIRONMENT, timeout=LONG, check=False)
    return run.returncode, run.stdout, run.stderr


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the files that stand beside the table and the path of what is outside."""
    made = dict(arguments)
    if "files" in made:
        beside = {name: text["from"] for name, text in made["files"].items() if isinstance(text, dict) and "from" in text}
        made["files"] = {**made["files"], **{name: (TABLE.parent / file).read_text() for name, file in beside.items()}}
    if "args" in made:
        made["args"] = [str(OUTSIDE) if word == "@outside" else word for word in made["args"]]
    return made


def same(expected: Any, got: Any) -> bool:
    """Whether an answer is the one that is written down: whole, bytes however they are written, large ones by their digest, and
    text that is JSON as such."""
    if isinstance(expected, dict) and set(expected) in ({"size", "sha256"}, {"bytes"}):
        data = base64.b64decode(got["base64"]) if isinstance(got, dict) and set(got) == {"base64"} else str(got).encode()
        if "bytes" in expected:
            return data == base64.b64decode(expected["bytes"])
        return (len(data), hashlib.sha256(data).hexdigest()) == (expected["size"], expected["sha256"])
    if isinstance(expected, dict) and set(expected) == {"json"}:
        return isinstance(got, str) and json.loads(got) == expected["json"]
    if isinstance(expected, dict):
        return isinstance(got, dict) and set(expected) == set(got) and all(same(value, got[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(same, expected, got))
    # In JSON 1 and 1.0 are one number, and true is none.
    return expected == got and isinstance(expected, bool) == isinstance(got, bool)


def differs(component: Path, tool: str, call: dict[str, Any]) -> str | None:
    """What is wrong with the answer to a call."""
    code, out, said = palisade(component, "call", f"{component.stem}/{tool}", "-", given=given(call["arguments"]))
    try:
        record = json.loads(out)
    except ValueError:
        return f"exit {code}: {said[-800:]}"
    if "error" in call:
        kind, says = call["error"]["kind"], call["error"]["says"]
        error = record["error"] or {}
        # What a program said stands at the end of what its trap says.
        said_so = says in error.get("message", "") if kind == "trap" else error.get("message") == says
        holds = code == 4 and record["outcome"] == "error" and error.get("kind") == kind and said_so
    elif "denied" in call:
        holds = code == 3 and record["outcome"] == "denied" and record["denial"]["rule"] == call["denied"] and record["content"] == []
    else:
        expected = call.get("content", [{"type": "json", "value": {"result": call["result"]} if "result" in call else call.get("answer")}])
        holds = code == 0 and record["outcome"] == "ok" and same(expected, record["content"])
    if not holds:
        return f"exit {code}: {out[:1600]}"
    if tool != "run":
        return None
    left = sorted(path.name for path in SCRATCH.iterdir()) if SCRATCH.exists() else ["no such folder"]
    return f"it left in {SCRATCH}: {left}" if left else None


def accepts(component: Path, source: str, parts: list[str]) -> str | None:
    """What is wrong with the refusal of a component, or of one of its functions: it is listed with the reason, and a call says it."""
    listed = json.loads(palisade(component, "status")[1])["quarantined"]
    reason = next((one["reason"] for one in listed if one["source"] == source), "")
    if any(part not in reason for part in parts):
        return str(listed)
    if "[" in source:
        return None  # No id of a tool, so nobody can type it.
    code, out, said = palisade(component, "call", source if "/" in source else f"{source}/run", "{}")
    try:
        error = json.loads(said.strip().splitlines()[-1])["error"]
    except ValueError:
        error = {}
    holds = code == 6 and out == "" and error.get("kind") == "quarantined" and all(part in error["message"] for part in parts)
    return None if holds else f"exit {code}: {out} {said[-800:]}"


def outside() -> None:
    """What is outside, as it is before a program runs."""
    shutil.rmtree(OUTSIDE, ignore_errors=True)
    (OUTSIDE / "inner").mkdir(parents=True)
    (OUTSIDE / "secret.txt").write_text("secret")
    (OUTSIDE / "victim.txt").write_text("victim")


def reaches() -> str | None:
    """What the attempts of reach.py come to without a sandbox: each must be able to succeed."""
    outside()
    command = [sys.executable, str(TABLE.parent / "reach.py"), str(OUTSIDE)]
    run = subprocess.run(command, cwd=OUTSIDE / "inner", capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if run.returncode != 0:
        return run.stderr[-400:]
    found = json.loads(run.stdout)
    failed = {name: came for name, came in found["came"].items() if came != "reached"}
    return f"these fail without a sandbox too: {failed}" if failed or "PLANTED" not in found["environment"] else None


def report(what: str, wrong: str | None) -> None:
    print(f"ok: {what}" if wrong is None else f"FAILED: {what}: {wrong}".replace("\n", "\\n"), flush=True)


def main() -> None:
    table = json.loads(TABLE.read_text())
    (HOME / "ws").mkdir(exist_ok=True)
    calls, refused = table["calls"], table["refused"]
    names = dict.fromkeys([call["program"] for call in calls] + [tool.split("/")[0] for tool in refused])
    there = {name: FOLDER / f"{name}.wasm" for name in names if (FOLDER / f"{name}.wasm").exists()}
    # Compiled before, two at a time; whatever is wrong then is said by the calls.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda component: palisade(component, "tools"), there.values()))
    if any(call["arguments"].get("args", [])[-1:] == ["@outside"] for call in calls):
        report("without a sandbox each of the attempts succeeds", reaches())
        outside()
    for name in names:
        of = [call for call in calls if call["program"] == name]
        no_tools = {tool: parts for tool, parts in refused.items() if tool.split("/")[0] == name}
        listed = table.get("tools", {}).get(name)
        if name not in there:
            print(f"skipped: {name} is not there ({len(of) + len(no_tools) + (listed is not None)} checks)")
            continue
        if listed is not None:
            tools = json.loads(palisade(there[name], "tools")[1])["tools"]
            got = sorted(tool["id"].split("/")[1] for tool in tools)
            report(f"{name} has a tool for each function that can be one: {len(listed)}", None if got == listed else str(got))
        for call in of:
            tool = call.get("tool", "run")
            report(f"{name}{'' if tool == 'run' else '/' + tool} {call['what']}", differs(there[name], tool, call))
        for source, parts in no_tools.items():
            report(f"{source} is refused: {parts[0]}", accepts(there[name], source, parts))
    if OUTSIDE.exists():
        after = {path.name: path.read_text() for path in OUTSIDE.iterdir() if path.is_file()}
        report("what is outside is as it was", None if after == {"secret.txt": "secret", "victim.txt": "victim"} else str(after))


main()
