# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: every hooks.json of packages of others, with each of its entries accounted for. Reads: PALISADE, home,
# fetched.

hook_packages=(claude-flow@3.43.0 claude-mem@13.25.3 ecc-universal@2.0.0)
packed hooks-npm "${hook_packages[@]}"
if fetched_for hooks-npm "${hook_packages[@]}"; then
  account=$(PALISADE=$PALISADE FETCHED=$fetched/hooks-npm python3 - <<'PYTHON'
import json, os, pathlib, subprocess, sys
files = sorted(pathlib.Path(os.environ["FETCHED"]).rglob("hooks.json"))
total = dict(mapped=0, refused=0, unknown=0)
for file in files:
    events = json.loads(file.read_text())
    events = events.get("hooks", events)
    # What stands there, counted without Palisade: each hook of each matcher, and each thing that is no such list.
    expected = 0
    for event, groups in events.items():
        if event in ("description", "$schema"):
            continue
        if not isinstance(groups, list):
            expected += 1
            continue
        for group in groups:
            hooks = group.get("hooks") if isinstance(group, dict) else None
            expected += len(hooks) if isinstance(hooks, list) else 1
    run = subprocess.run([os.environ["PALISADE"], "--format", "json", "hook", "list", "--from", str(file)], capture_output=True)
    if run.returncode != 0:
        sys.exit(f"{file}: {run.stderr.decode()[-300:]}")
    entries = json.loads(run.stdout)["entries"]
    if len(entries) != expected:
        sys.exit(f"{file}: {len(entries)} entries are listed of {expected}")
    for entry in entries:
        total[entry["state"]] += 1
        if not entry["reason"] or (entry["state"] == "unknown") and f"`{entry['event']}`" not in entry["reason"]:
            sys.exit(f"{file}: {entry}")
print(len(files), "files,", ", ".join(f"{count} {state}" for state, count in total.items()))
PYTHON
  ) && ok "every entry of others' hooks.json is accounted for: $account" || bad "others' hooks.json: $account $(tail -n 2 "$home/err" 2>/dev/null)"
else
  skip "packages with hooks cannot be fetched (1 checks): $(tail -n 1 "$home/npm" 2>/dev/null)"
fi
