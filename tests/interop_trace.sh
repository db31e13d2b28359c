# shellcheck shell=bash disable=SC2154
# Sourced by interop.sh: what system calls say. Reads: PALISADE, home, ws, flags.

no_sockets() {
  strace -f -qq -e trace=network -o "$home/trace" "$PALISADE" "${flags[@]}" "$@" >/dev/null 2>&1
  # Lines of signals and exits are no calls.
  local calls
  calls=$(grep -vE '(---|\+\+\+|<detached )' "$home/trace" || true)
  if [ -z "$calls" ]; then ok "no socket in: $1"; else bad "sockets in: $1: $calls"; fi
}
no_sockets run 'count the words of "a b"' 'search for "needle"' 'run a shell command'
no_sockets call intruder/probe
no_sockets tools
no_sockets explain search/grep
no_sockets session list

# A hostile workspace: trusted profile, untrusted workspace, and the same prompts with no profile at all.
mkdir -p "$home/hostile/plugins"
cp -r target/plugins/text-stats "$home/hostile/plugins/evil"
printf '[plugins]\ndirs = ["plugins"]\n' >"$home/hostile/palisade.toml"
echo "TOKEN=secret" >"$home/hostile/.env"
for profile in trusted untrusted; do
  if strace -f -qq -e trace=openat,openat2,open -o "$home/trace" "$PALISADE" --workspace "$home/hostile" --profile "$profile" \
    run 'count the words of "a b"' >"$home/out" 2>&1; then
    opened=$(grep -E 'evil|plugin\.toml|\.wasm|\.env|\.mcp\.json' "$home/trace" || true)
    why=$(grep -c -E '^plugin_init: off: ' "$home/out")
    if [ -z "$opened" ] && [ "$why" = 1 ]; then ok "nothing of a hostile workspace is opened ($profile)"; else bad "opened ($profile): $opened"; fi
  else
    bad "a hostile workspace ($profile): exit $?"
  fi
done

# Secrets of this user, a plugin that was granted one, and a server that was accepted: while the profile is untrusted nothing
# of them is opened and nothing is started. The same traces of a trusted run show that they would be seen.
planted=$home/planted
mkdir "$home/asks"
mkdir -m 700 "$planted" "$planted/data" "$planted/data/secrets" "$planted/state" "$planted/state/mcp"
(umask 077 && echo planted-secret-of-this-user >"$planted/data/secrets/API_TOKEN" && echo planted-token-that-is-long-enough-to-be-one >"$planted/state/serve.token")
cp -r target/plugins/text-stats "$home/asks/asks"
cat >"$home/asks/asks/plugin.toml" <<'TOML'
[plugin]
name = "text-stats"
version = "0.1.0"
component = "text-stats.wasm"

[capabilities]
net = [{ url = "https://api.example.com", auth = "API_TOKEN", why = "asks the service" }]
TOML
identity=$(PALISADE_HOME=$planted "$PALISADE" --format json plugin inspect "$home/asks/asks" 2>/dev/null | grep -oE 'sha256:[0-9a-f]{64}' | head -n 1)
traced() { # PROFILE COMMAND...
  local profile=$1
  shift
  PALISADE_HOME=$planted API_TOKEN=planted-variable strace -f -qq -e trace=openat,openat2,open,execve -o "$home/trace" \
    "$PALISADE" --workspace "$ws" --profile "$profile" "$@" >"$home/out" 2>&1
  # The first execve is strace's own.
  grep -E 'secrets|API_TOKEN|serve\.token|state/mcp|data/mcp|asks|\.wasm' "$home/trace"
  grep execve "$home/trace" | tail -n +2
}
grant="text-stats@$identity"
cat >"$planted/config.toml" <<TOML
grants = ["$grant:net:https://api.example.com", "$grant:auth:API_TOKEN@https://api.example.com"]
[plugins]
dirs = ["$home/asks"]
[mcp.served]
command = "/bin/sh"
args = ["-c", "exit 1"]
env = { API_TOKEN = "\${API_TOKEN}" }
TOML
chmod 600 "$planted/config.toml"
seen=$(traced trusted call text-stats/count '{"text": "a b"}' && traced trusted call served/any '{}')
if [ -n "$identity" ] && grep -q 'asks' <<<"$seen" && grep -q 'state/mcp' <<<"$seen" && grep -q 'secrets/API_TOKEN' <<<"$seen"; then
  for command in "run|count the words of \"a b\"" 'call|text-stats/count|{"text": "a b"}' 'call|served/any|{}' status 'explain|text-stats/count'; do
    IFS='|' read -ra words <<<"$command"
    opened=$(traced untrusted "${words[@]}")
    if [ -z "$opened" ]; then ok "untrusted, no secret is opened and nothing started: ${words[*]:0:2}"; else bad "untrusted, ${words[*]}: $opened"; fi
  done
else
  bad "a trusted run opens its plugin and what was accepted (identity $identity): $seen $(tail -n 3 "$home/out")"
fi

# Skills of this user and of a workspace: while the profile is untrusted, or nobody trusts the workspace, no SKILL.md is opened. The
# trace of a trusted run shows that it would be seen.
skilled=$home/skilled
mkdir -m 700 "$skilled" "$home/skills"
mkdir "$home/skills-ws"
cp -r target/skills/release-notes "$home/skills/own-skill"
mkdir "$home/skills-ws/named" && cp -r target/skills/release-notes "$home/skills-ws/named/ws-skill"
printf '[skills]\ndirs = ["named"]\n' >"$home/skills-ws/palisade.toml"
printf '[skills]\ndirs = ["%s"]\n' "$home/skills" >"$skilled/config.toml"
chmod 600 "$skilled/config.toml"
skills_opened() { # PROFILE PATTERN COMMAND...
  PALISADE_HOME=$skilled strace -f -qq -e trace=openat,openat2,open,execve -o "$home/trace" \
    "$PALISADE" --workspace "$home/skills-ws" --profile "$1" "${@:3}" >"$home/out" 2>&1
  grep -E "$2" "$home/trace"
}
seen=$(skills_opened trusted 'SKILL\.md|own-skill' skill list)
if grep -q 'SKILL\.md' <<<"$seen" && ! grep -q 'ws-skill\|named' "$home/trace"; then
  ok "a trusted run opens its own skills, and none that an untrusted workspace names"
else
  bad "a trusted run and its skills: $seen $(tail -n 3 "$home/out")"
fi
for command in 'run|--skill|release-notes|a' 'skill|list' 'call|release-notes/group|{"log": "a"}'; do
  IFS='|' read -ra words <<<"$command"
  opened=$(skills_opened untrusted 'SKILL\.md|own-skill|ws-skill|named|\.wasm' "${words[@]}")
  why=$(grep -c 'the profile `untrusted` withholds it' "$home/out")
  if [ -z "$opened" ] && [ "$why" -ge 1 ]; then ok "untrusted, no skill is opened, and why: ${words[*]:0:2}"; else bad "untrusted, ${words[*]}: $opened $(cat "$home/out")"; fi
done

# Hooks, of this user and of a workspace: the same. The profile that withholds them opens nothing of them.
hooked=$home/hooked
mkdir -m 700 "$hooked"
mkdir "$home/own-hooks" "$home/hooks-ws"
cp -r target/hooks/secret-guard "$home/own-hooks/own-guard"
cp -r target/hooks/call-log "$home/hooks-ws/ws-log"
mkdir "$home/own-hooks/package"
echo '{"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": "/bin/true"}]}]}}' >"$home/own-hooks/package/hooks.json"
printf '[[hooks]]\ndir = "ws-log"\nkind = "observer"\nevents = ["after-call"]\n' >"$home/hooks-ws/palisade.toml"
printf '[[hooks]]\ndir = "%s"\nkind = "guard"\nevents = ["before-call"]\n[[hooks]]\nfrom = "%s"\n' \
  "$home/own-hooks/own-guard" "$home/own-hooks/package" >"$hooked/config.toml"
chmod 600 "$hooked/config.toml"
hooks_opened() { # PROFILE PATTERN COMMAND...
  PALISADE_HOME=$hooked strace -f -qq -e trace=openat,openat2,open,execve -o "$home/trace" \
    "$PALISADE" --workspace "$home/hooks-ws" --profile "$1" --plugin target/plugins/text-stats "${@:3}" >"$home/out" 2>&1
  grep -E "$2" "$home/trace"
}
seen=$(hooks_opened trusted 'own-guard|hooks\.json' hook list)
if grep -q 'own-guard' <<<"$seen" && grep -q 'hooks\.json' <<<"$seen" && ! grep -q 'ws-log' "$home/trace"; then
  ok "a trusted run opens its own hooks, and none that an untrusted workspace names"
else
  bad "a trusted run and its hooks: $seen $(tail -n 3 "$home/out")"
fi
for command in 'run|count the words in "a b"' 'hook|list' 'status' 'call|text-stats/count|{"text": "a"}'; do
  IFS='|' read -ra words <<<"$command"
  opened=$(hooks_opened untrusted 'own-guard|hooks\.json|ws-log|\.wasm' "${words[@]}")
  why=$(grep -c 'the profile `untrusted` withholds it' "$home/out")
  if [ -z "$opened" ] && [ "$why" -ge 1 ]; then ok "untrusted, no hook is opened, and why: ${words[*]:0:2}"; else bad "untrusted, ${words[*]}: $opened $(cat "$home/out")"; fi
done
