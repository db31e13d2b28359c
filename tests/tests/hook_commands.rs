//! `hooks.json` and its native commands, and the two example hooks.

use palisade_tests::{Answer, World, example, root};
use serde_json::{Value, json};

/// What the script does, told by the text it hears of.
const SCRIPT: &str = r#"input=$(cat)
case "$input" in
  *blocked*) echo "not this one" >&2; exit 2;;
  *denied-in-json*) echo '{"hookSpecificOutput": {"permissionDecision": "deny", "permissionDecisionReason": "no"}}';;
  *replaced*) echo '{"hookSpecificOutput": {"permissionDecision": "allow", "updatedInput": {"text": "a b c"}}}';;
  *misspelt*) echo '{"hookSpecificOutput": {"permissionDecision": "allow", "updatedInput": {"txt": "a"}}}';;
  *crashes*) kill -9 $$;;
  *hangs*) sleep 600 & sleep 600;;
  *chatters*) echo "fine by me";;
  *floods*) while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done;;
  *fails*) exit 7;;
  *heard*) printf '%s' "$input" >&2; exit 2;;
  *variables*) env | sort | tr '\n' ' ' >&2; exit 2;;
  *leaks*) printf 'it saw AKIA%s\033[31m' ABCDEFGHIJKLMNOP >&2; exit 2;;
  *words*) printf '%s' "$1" >&2; exit 2;;
  *connects*) bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" && echo connected >&2 || echo refused >&2; exit 2;;
  *reaches*) { cat "$0.elsewhere" || echo unread; touch "${0%/*}/made" || echo unwritten; } >&2; exit 2;;
esac
"#;

fn hooks_json(command: &str) -> String {
    let hook = json!([{"type": "command", "command": command}]);
    json!({"hooks": {
        "PreToolUse": [{"matcher": "mcp__palisade__text-stats__.*", "hooks": hook}],
        "Stop": [{"hooks": hook}],
        "PreToolUze": [{"hooks": hook}],
    }})
    .to_string()
}

/// A world with a package of hooks, and the digest of its one command.
fn packaged() -> (World, String) {
    let world = World::new();
    world.write("package/check.sh", SCRIPT);
    world.write("package/hooks/hooks.json", hooks_json("/bin/sh \"${CLAUDE_PLUGIN_ROOT}/check.sh\""));
    let package = world.path("package").display().to_string();
    let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
    let digest = listed["entries"][0]["digest"].as_str().unwrap().to_owned();
    (world, digest)
}

fn allow(world: &World, digest: &str) {
    let package = world.path("package").display().to_string();
    world.user_config(&format!(
        "[[hooks]]\nfrom = \"{package}\"\nallow = [{{ argv = [\"/bin/sh\", \"{package}/check.sh\"], digest = \"{digest}\" }}]\n"
    ));
}

fn count(world: &World, text: &str) -> Answer {
    let plugin = example("text-stats").display().to_string();
    let arguments = json!({"text": text}).to_string();
    world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "call", "text-stats/count", &arguments])
}

fn reason(answer: Answer) -> String {
    let record = answer.expect(3).json();
    assert_eq!(record["denial"]["rule"], "guard", "{record}");
    record["denial"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn every_entry_of_a_hooks_json_is_mapped_refused_or_unknown_and_says_what_would_allow_it() {
    let (world, digest) = packaged();
    let package = world.path("package").display().to_string();
    let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
    let command = "/bin/sh \"${CLAUDE_PLUGIN_ROOT}/check.sh\"";
    let refused = |event: &str, state: &str, reason: &str| json!({"event": event, "matcher": null, "command": command, "state": state, "reason": reason, "means": null, "argv": null, "digest": null});
    assert_eq!(
        listed["entries"],
        json!([
            {
                "event": "PreToolUse", "matcher": "mcp__palisade__text-stats__.*", "command": command, "state": "mapped",
                "reason": "a native command runs only where your config allows its argv and digest",
                "means": {"kind": "guard", "event": "before-call", "tools": ["text-stats/*"]},
                "argv": ["/bin/sh", format!("{package}/check.sh")], "digest": digest,
            },
            refused("Stop", "refused", "no event here means the same as Stop"),
            refused("PreToolUze", "unknown", "there is no event `PreToolUze`"),
        ])
    );
    for (text, what) in [("", "not JSON"), ("[]", "no object of events"), ("{\"hooks\": 7}", "no object of events")] {
        world.write("package/hooks/hooks.json", text);
        let error = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(7).error();
        assert!(error["message"].as_str().unwrap().contains(what), "{error}");
    }
}

#[test]
fn a_native_command_that_nobody_allowed_never_runs_and_guards_nothing() {
    let (world, _) = packaged();
    let package = world.path("package").display().to_string();
    world.write("package/check.sh", "touch \"${0%/*}/ran\"; exit 2");
    world.user_config(&format!("[[hooks]]\nfrom = \"{package}\"\n"));
    count(&world, "a").expect(0);
    assert!(!world.path("package/ran").exists());
    let listed = world.palisade(&["--profile", "trusted", "--format", "json", "hook", "list"]).expect(0).json();
    let states: Vec<&Value> = listed["hooks"].as_array().unwrap().iter().map(|hook| &hook["state"]).collect();
    assert_eq!(states, ["refused", "refused", "refused"]);
    // Nor does a workspace allow one.
    world.user_config("");
    world.write("workspace/palisade.toml", format!("[[hooks]]\nfrom = \"{package}\"\n"));
    let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
    assert_eq!(error["message"], "palisade.toml:2: `hooks.from`: it may not stand in a workspace file");
}

#[test]
fn an_allowed_command_answers_by_its_protocol_and_all_else_denies() {
    let (world, digest) = packaged();
    allow(&world, &digest);
    let name = format!("/bin/sh {}", world.path("package/check.sh").display());
    let says = |what: &str| format!("the guard {name} {what}");
    count(&world, "fine").expect(0);
    assert_eq!(reason(count(&world, "blocked")), says("says: not this one"));
    assert_eq!(reason(count(&world, "denied-in-json")), says("says: no"));
    assert_eq!(count(&world, "replaced").expect(0).json()["content"][0]["value"]["words"], 3);
    assert_eq!(count(&world, "misspelt").expect(3).json()["denial"]["rule"], "arguments");
    assert_eq!(reason(count(&world, "leaks")), says("says: it saw [redacted]"));
    let log = world.files().into_iter().filter(|file| file.contains("palisade/audit/"));
    let log: String = log.map(|file| std::fs::read_to_string(world.path(&file)).unwrap()).collect();
    assert!(log.contains("it saw [redacted]") && !log.contains("ABCDEFGHIJKLMNOP"), "{log}");
    assert_eq!(reason(count(&world, "crashes")), says("gave no answer: it ended with 1"));
    assert_eq!(reason(count(&world, "chatters")), says("gave no answer: what it said is no JSON object"));
    assert_eq!(reason(count(&world, "fails")), says("gave no answer: it ended with 7"));
    assert_eq!(reason(count(&world, "hangs")), says("gave no answer: it was stopped after 1s"));
    assert_eq!(reason(count(&world, "floods")), says("gave no answer: it said too much"));
    let heard: Value = serde_json::from_str(reason(count(&world, "heard")).split_once("says: ").unwrap().1).unwrap();
    assert_eq!(
        heard,
        json!({
            "hook_event_name": "PreToolUse",
            "cwd": world.workspace().display().to_string(),
            "tool_name": "mcp__palisade__text-stats__count",
            "tool_input": {"text": "heard"},
        })
    );
}

#[test]
fn a_command_hook_is_fenced_and_leaves_no_process() {
    let (world, _) = packaged();
    world.write("elsewhere", "hidden");
    let script = SCRIPT.replace("$0.elsewhere", &world.path("elsewhere").display().to_string());
    world.write("package/check.sh", script);
    let package = world.path("package").display().to_string();
    let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
    allow(&world, listed["entries"][0]["digest"].as_str().unwrap());
    let reached = reason(count(&world, "reaches"));
    assert!(reached.contains("unread") && reached.contains("unwritten") && !reached.contains("hidden"), "{reached}");
    assert!(!world.path("package/made").exists());
    let variables = reason(count(&world, "variables"));
    let names: Vec<&str> = variables.split_once("says: ").unwrap().1.split(' ').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    assert_eq!(names, ["HOME", "PALISADE_NESTED", "PATH", "PWD", "TMPDIR"]);
    let mut hanging = world.command(&["--profile", "trusted", "--plugin", &example("text-stats").display().to_string()]);
    hanging.args(["call", "text-stats/count", "{\"text\": \"hangs\"}"]);
    palisade_tests::answer(hanging).expect(3);
    let script = world.path("package/check.sh").display().to_string();
    let left = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|one| std::fs::read(one.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&script)))
            .count()
    };
    let started = std::time::Instant::now();
    while left() > 0 {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "a process is left");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_was_allowed_and_is_another_or_gone_denies_what_it_guarded() {
    let (world, digest) = packaged();
    allow(&world, &digest);
    count(&world, "fine").expect(0);
    world.write("package/check.sh", format!("{SCRIPT}\n"));
    let changed = reason(count(&world, "fine"));
    assert!(changed.ends_with("it is not what was allowed: a file that its command names has changed"), "{changed}");
    // A tool that it never guarded is called.
    let plugin = example("json-query").display().to_string();
    let query = ["--profile", "trusted", "--plugin", &plugin, "call", "json-query/query", "{\"filter\": \".\", \"json\": \"1\"}"];
    world.palisade(&query).expect(0);
    world.write("package/check.sh", SCRIPT);
    count(&world, "fine").expect(0);
    // Also where the hook was loaded before the file changed.
    let stats = example("text-stats").display().to_string();
    let mut server = palisade_tests::stdio::Server::start(&world, &["--profile", "trusted", "--plugin", &stats, "serve"]);
    assert!(server.call("text-stats__count", &json!({"text": "fine"})).contains("\"words\":1"));
    world.write("package/check.sh", "exit 0\n");
    let answer = server.call("text-stats__count", &json!({"text": "fine"}));
    assert!(answer.contains("denied by the rule guard"), "{answer}");
    server.close();
    world.write("package/check.sh", SCRIPT);
    // Taken out of its file it may have guarded anything.
    world.write("package/hooks/hooks.json", hooks_json("/bin/true"));
    assert!(reason(count(&world, "fine")).ends_with("is allowed, and no entry of the hooks.json runs it"));
    world.palisade(&query).expect(3);
}

fn hook(name: &str) -> String {
    let path = root().join("target/hooks").join(name);
    assert!(path.exists(), "{} is not built; run make test", path.display());
    path.display().to_string()
}

#[test]
fn the_secret_guard_denies_a_call_and_a_prompt_that_carry_a_credential() {
    let world = World::new();
    world.user_config(&format!(
        "[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\", \"prompt-submit\"]\n",
        hook("secret-guard")
    ));
    let key = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
    count(&world, "nothing of that kind").expect(0);
    let answer = count(&world, &format!("use {key}"));
    assert!(!answer.stdout.contains(&key) && !answer.stderr.contains(&key));
    assert_eq!(reason(answer), "the guard secret-guard says: `/text` holds what looks like a credential (AWS access key)");
    let plugin = example("text-stats").display().to_string();
    let run = world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "run", &format!("count \"{key}\"")]);
    assert!(!run.stdout.contains(&key) && !run.stderr.contains(&key));
    let run = run.expect(0).json();
    assert_eq!(run["turns"][0]["calls"], json!([]));
    assert_eq!(run["permission_denials"][0]["tool"], "prompt");
}

#[test]
fn the_call_log_keeps_a_line_for_each_call_in_the_one_folder_it_was_granted() {
    let world = World::new();
    world.user_config(&format!(
        "[[hooks]]\ndir = \"{}\"\nkind = \"observer\"\nevents = [\"before-call\", \"after-call\", \"call-denied\"]\n",
        hook("call-log")
    ));
    let told = count(&world, "a").expect(0).stderr;
    assert!(told.contains("nothing is kept, no folder is granted: palisade plugin grant call-log fs:write:FOLDER"), "{told}");
    world.write("logs/before", "");
    let logs = format!("fs:write:{}", world.path("logs").display());
    world.palisade(&["--profile", "trusted", "plugin", "grant", "call-log", &logs, "--yes"]).expect(0);
    count(&world, "a secret text").expect(0);
    let plugin = example("shell").display().to_string();
    world.palisade(&["--profile", "trusted", "--plugin", &plugin, "call", "shell/bash", "{\"command\": \"id\"}"]).expect(3);
    let kept = std::fs::read_to_string(world.path("logs/calls.jsonl")).unwrap();
    let lines: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown: Vec<Value> = lines.iter().map(|line| json!([line["event"], line["tool"], line["outcome"], line["rule"]])).collect();
    assert_eq!(shown, [json!(["call", "text-stats/count", "ok", null]), json!(["denied", "shell/bash", null, "shell-gate"])]);
    assert!(!kept.contains("secret"));
    // What it does not want it does not hear, though its entry names it.
    let listed = world.palisade(&["--profile", "trusted", "--format", "json", "hook", "list"]).expect(0).json();
    assert_eq!(
        (&listed["hooks"][0]["events"], &listed["hooks"][0]["unwanted"]),
        (&json!(["after-call", "call-denied"]), &json!(["before-call"]))
    );
    assert!(!world.palisade(&["audit", "show"]).expect(0).stdout.contains("heard before-call"));
}

#[test]
fn a_command_hook_has_no_network_and_runs_word_for_word() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    // Outside its fence the same command connects.
    let outside = std::process::Command::new("bash").args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]).status();
    assert!(outside.is_ok_and(|status| status.success()), "the Makefile needs bash, too");
    world.write("package/check.sh", SCRIPT);
    let package = world.path("package").display().to_string();
    // What looks like a variable is a word like any other, though there is one of that name.
    for (word, act, said) in [(port.as_str(), "connects", "refused"), ("${PLANTED}", "words", "${PLANTED}")] {
        world.write("package/hooks/hooks.json", hooks_json(&format!("/bin/sh \"${{CLAUDE_PLUGIN_ROOT}}/check.sh\" '{word}'")));
        let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
        let (argv, digest) = (&listed["entries"][0]["argv"], &listed["entries"][0]["digest"]);
        world.user_config(&format!("[[hooks]]\nfrom = \"{package}\"\nallow = [{{ argv = {argv}, digest = {digest} }}]\n"));
        let plugin = example("text-stats").display().to_string();
        let arguments = json!({"text": act}).to_string();
        let mut call =
            world.command(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "call", "text-stats/count", &arguments]);
        call.env("PLANTED", "read-from-the-environment");
        let reason = reason(palisade_tests::answer(call));
        assert!(reason.ends_with(&format!(" says: {said}")) || reason.ends_with(&format!(" {said}")), "{reason}");
        assert!(!reason.contains("read-from-the-environment") && !reason.contains("connected"), "{reason}");
    }
}

#[test]
fn a_client_has_its_answer_when_observers_have_heard_of_the_call() {
    let world = World::new();
    world.write("package/wait.sh", "cat >/dev/null; sleep 0.3\n");
    let hook = json!([{"type": "command", "command": "/bin/sh \"${CLAUDE_PLUGIN_ROOT}/wait.sh\""}]);
    world.write("package/hooks/hooks.json", json!({"hooks": {"PostToolUse": [{"hooks": hook}]}}).to_string());
    let package = world.path("package").display().to_string();
    let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
    let digest = listed["entries"][0]["digest"].as_str().unwrap();
    world.user_config(&format!(
        "[limits]\nhook_time = \"20s\"\n[[hooks]]\nfrom = \"{package}\"\nallow = [{{ argv = [\"/bin/sh\", \"{package}/wait.sh\"], digest = \"{digest}\" }}]\n"
    ));
    let plugin = example("text-stats").display().to_string();
    let mut server = palisade_tests::stdio::Server::start(&world, &["--profile", "trusted", "--plugin", &plugin, "serve"]);
    for calls in 1..=2 {
        let counted: Value = serde_json::from_str(&server.call("text-stats__count", &json!({"text": "a b"}))).unwrap();
        assert_eq!(counted["words"], 2);
        let shown = world.palisade(&["audit", "show"]).expect(0).stdout;
        let count = |what: &str| shown.lines().filter(|line| line.contains(what)).count();
        let heard = (count("heard after-call text-stats/count: heard"), count("text-stats/count: allow → ok"));
        assert_eq!(heard, (calls, calls), "{shown}");
    }
    server.close();
}
