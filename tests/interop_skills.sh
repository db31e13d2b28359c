# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: collections of skills of others, each folder compared with the format's own validator. Reads: PALISADE,
# home, fetched, root.

skill_pins=(skills-ref==0.1.1)
collections=(claude-flow@3.43.0 claude-code-plugins@1.0.3)
if ! fetched_for skills-venv "${skill_pins[@]}"; then
  rm -rf "$fetched/skills-venv"
  python3 -m venv "$fetched/skills-venv" 2>"$home/pip" \
    && "$fetched/skills-venv/bin/pip" -q --disable-pip-version-check install "${skill_pins[@]}" 2>"$home/pip" && mark skills-venv "${skill_pins[@]}"
fi
packed skills-npm "${collections[@]}"

if fetched_for skills-venv "${skill_pins[@]}" && fetched_for skills-npm "${collections[@]}"; then
  # Beside what others wrote: folders that are wrong in one way each.
  mkdir -p "$home/wrong"
  wrong() { # NAME FRONT-MATTER
    mkdir -p "$home/wrong/$1"
    printf -- '%b\ntext\n' "$2" >"$home/wrong/$1/SKILL.md"
  }
  long=$(printf 'd%.0s' $(seq 1025)) half=$(printf 'c%.0s' $(seq 501)) name=$(printf 'n%.0s' $(seq 65))
  wrong right '---\nname: right\ndescription: d\n---'
  wrong all-keys '---\nname: all-keys\ndescription: d\nlicense: MIT\ncompatibility: c\nmetadata:\n  a: b\nallowed-tools: x y\n---'
  wrong crlf '---\r\nname: crlf\r\ndescription: d\r\n---\r'
  wrong bare '# text'
  wrong open '---\nname: open\ndescription: d'
  wrong empty '---\n---'
  wrong list '---\n- name: list\n---'
  wrong yaml '---\nname: yaml\ndescription: a: b\n---'
  wrong twice '---\nname: twice\nname: twice\ndescription: d\n---'
  wrong tab '---\nname:\ttab\ndescription: d\n---'
  wrong trailing-tab '---\nname: trailing-tab\ndescription: d\t\n---'
  wrong blank-tab '---\nname: blank-tab\n\t\ndescription: d\n---'
  wrong tab-comment '---\nname: tab-comment # a\tb\ndescription: "a\tb"\n---'
  wrong first-dots '---\n...\nname: first-dots\ndescription: d\n---'
  wrong brackets '---\nname: brackets\ndescription: d\nallowed-tools: [a, b]\n---'
  wrong braces '---\nname: braces\ndescription: d\nmetadata: {a: b}\n---'
  wrong anchor '---\nname: anchor\ndescription: &a d\n---'
  wrong alias '---\nname: alias\ndescription: &a d\nlicense: *a\n---'
  wrong tag '---\nname: tag\ndescription: !!str d\n---'
  wrong merge '---\nname: merge\ndescription: d\n<<: x\n---'
  wrong indents '---\nname: indents\ndescription: d\nmetadata:\n  a:\n    b: c\n  d:\n      e: f\n---'
  wrong number '---\nname: number\ndescription: 5\n---'
  wrong null '---\nname: null\ndescription: ~\n---'
  wrong block '---\nname: block\ndescription: |\n  a\n  b\nallowed-tools:\n  - a\n---'
  wrong folded '---\nname: folded\ndescription: >-\n  a\n  b\n---'
  wrong quoted "---\nname: 'quoted'\ndescription: \"a: b # c\"\n---"
  wrong comment '---\n# c\nname: comment # c\ndescription: d\n---'
  wrong no-name '---\ndescription: d\n---'
  wrong no-description '---\nname: no-description\n---'
  wrong blank '---\nname: blank\ndescription:\n---'
  wrong spaces '---\nname: spaces\ndescription: "  "\n---'
  wrong nested '---\nname:\n  a: b\ndescription: d\n---'
  wrong other-key '---\nname: other-key\ndescription: d\nversion: 1\n---'
  wrong Upper '---\nname: Upper\ndescription: d\n---'
  wrong -first '---\nname: -first\ndescription: d\n---'
  wrong last- '---\nname: last-\ndescription: d\n---'
  wrong two--hyphens '---\nname: two--hyphens\ndescription: d\n---'
  wrong under_score '---\nname: under_score\ndescription: d\n---'
  wrong 3d '---\nname: 3d\ndescription: d\n---'
  wrong größe '---\nname: größe\ndescription: d\n---'
  wrong other-folder '---\nname: another\ndescription: d\n---'
  wrong "$name" "---\nname: $name\ndescription: d\n---"
  wrong long "---\nname: long\ndescription: $long\n---"
  wrong edge "---\nname: edge\ndescription: ${long:1}\ncompatibility: ${half:1}\n---"
  wrong half "---\nname: half\ndescription: d\ncompatibility: $half\n---"
  wrong no-text '---\nname: no-text\ndescription: d\ncompatibility:\n  - a\n---'
  wrong control '---\nname: control\ndescription: a\x01b\n---'
  wrong inside '---\nname: inside\ndescription: a --- b\nallowed-tools: x\n---'
  wrong cut '---\ndescription: a --- b\nname: cut\n---'
  wrong dots '---\nname: dots\ndescription: d\n...\nb: c\n---'
  wrong bom '\xef\xbb\xbf---\nname: bom\ndescription: d\n---'
  wrong latin '---\nname: latin\ndescription: \xe9\n---'
  wrong hidden '---\nname: hidden\ndescription: a\xe2\x80\xaeb\n---'
  wrong dashes '----\nname: dashes\ndescription: d\n---'

  # Every folder with a SKILL.md, in one line each: the validator's answer, ours, and the folder.
  counted=$("$fetched/skills-venv/bin/python" - "$PALISADE" "$root" "$home/skill-home" "$home/wrong" "$fetched"/skills-npm/*/ <<'PY'
import json, os, subprocess, sys
from collections import Counter
from pathlib import Path

from skills_ref.validator import validate

palisade, workspace, own, *roots = sys.argv[1:]
os.makedirs(own, mode=0o700, exist_ok=True)
differ = False
for root in roots:
    count = Counter()
    for file in sorted(Path(root).rglob("SKILL.md")):
        try:
            valid = not validate(file.parent)
        except Exception:  # It ends so on bytes and characters that it does not expect.
            valid = False
        command = [palisade, "--workspace", workspace, "--format", "json", "skill", "check", str(file.parent)]
        answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PALISADE_HOME": own}, timeout=60)
        try:
            found = json.loads(answer.stdout)
            clean, listed, quarantined = found["clean"], len(found["skills"]), found["quarantined"]
            said = answer.returncode == (0 if clean else 7) and listed + len(quarantined) == 1
            said = said and all(q["reason"] for q in quarantined) and all(f["what"] for s in found["skills"] for f in s["findings"])
        except (ValueError, KeyError):
            clean, listed, quarantined, said = None, 0, [], False
        count.update(folders=1, valid=valid, listed=listed, quarantined=len(quarantined), clean=bool(clean))
        if clean is not valid or not said:
            differ = True
            print(f"differs: {file.parent}: valid {valid}, clean {clean}, exit {answer.returncode}: {answer.stdout[:400]} {answer.stderr[:200]}")
    words = ", ".join(f"{count[word]} {word}" for word in ("folders", "valid", "clean", "listed", "quarantined"))
    print(f"{Path(root).name}: {words}")
sys.exit(differ)
PY
  )
  agrees=$?
  echo "$counted"
  if [ "$agrees" = 0 ] && [ "$(grep -cE ': [1-9][0-9]* folders, [1-9]' <<<"$counted")" = 3 ]; then
    ok "every skill folder of two collections is listed or quarantined as the format's validator has it"
  else
    bad "skills differ from the format's validator"
  fi
  # All of a collection at once, as somebody would name it.
  where=$fetched/skills-npm/claude-flow/package/.claude/skills
  checked=$(PALISADE_HOME=$home/own "$PALISADE" --format json skill check "$where" 2>/dev/null | grep -o '"folder":' | wc -l)
  if [ "$checked" = "$(find "$where" -maxdepth 2 -name SKILL.md | wc -l)" ]; then ok "a collection is read in one go: $checked skills"; else bad "a collection at once: $checked"; fi
else
  skip "collections of skills need npm and the format's validator (2 checks): $(tail -n 1 "$home/pip" "$home/npm" 2>/dev/null | tr '\n' ' ')"
fi
