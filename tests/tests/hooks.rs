//! Hooks: what a guard denies never runs, whatever the guard is like, and an observer only hears.

use palisade::audit::Sizes;
use palisade::config::{Home, Options, Settings};
use palisade::policy::Verdict;
use palisade::sandbox::{Allocator, Run};
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::stdio::Server;
use palisade_tests::{Answer, World, binary, example, guest, mcp_fixture, steady, until};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

/// A hook of the user's config: `role` is `first` or `second`, and what it does the text says that it hears.
fn entry(world: &World, role: &str, kind: &str, events: &str, more: &str) -> String {
    let folder = world.plugin_at("hooks", role, &guest(&format!("hook_{role}")), "");
    format!("[[hooks]]\ndir = \"{}\"\nkind = \"{kind}\"\nevents = [{events}]\n{more}", folder.display())
}

fn guards(roles: &[&str]) -> World {
    let world = World::new();
    world.user_config(&roles.iter().map(|role| entry(&world, role, "guard", "\"before-call\"", "")).collect::<String>());
    world
}

fn call(world: &World, id: &str, arguments: &Value) -> Answer {
    let plugin = example(id.split('/').next().unwrap()).display().to_string();
    world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "call", id, &arguments.to_string()])
}

fn count(world: &World, text: &str) -> Answer {
    call(world, "text-stats/count", &json!({"text": text}))
}

/// Rule and reason of a denial.
fn denied(answer: Answer) -> (String, String) {
    let record = answer.expect(3).json();
    let text = |key: &str| record["denial"][key].as_str().unwrap().to_owned();
    (text("rule"), text("reason"))
}

/// The decisions of the audit log on a tool: each verdict.
fn decisions(world: &World) -> Vec<String> {
    let log = world.palisade(&["audit", "show"]).expect(0).stdout;
    let lines = log.lines().filter(|line| !line.contains(" heard "));
    lines.map(|line| line.split(": ").nth(1).unwrap().split([' ', ',']).next().unwrap().to_owned()).collect()
}

#[test]
fn what_a_guard_denies_or_gives_no_clear_answer_to_never_runs() {
    let world = guards(&["first"]);
    count(&world, "nothing for it").expect(0);
    let gave = |what: &str| format!("the guard first gave no answer: {what}");
    let replaced = |what: &str| format!("a guard put others in the place of the arguments, and {what}");
    for (act, rule, reason) in [
        ("deny", "guard", "the guard first says: the first does not want it".to_owned()),
        ("trap", "guard", gave("trap: the component trapped: wasm trap: wasm `unreachable` instruction executed")),
        ("loop", "guard", gave("limit-time: it was stopped after 1s")),
        ("huge", "guard", gave("limit-output: it passed more than 4.0 MiB at once")),
        ("memory", "guard", gave("limit-memory: it asked for more than 128.0 MiB of memory")),
        ("hostile", "guard", "the guard first says: red turned [redacted] `rm`".to_owned()),
        ("twice", "guard", "the guard first would replace arguments that were replaced already".to_owned()),
        ("nonsense", "arguments", replaced("it is not strict JSON: expected ident, at line 1 column 2")),
        ("empty", "arguments", replaced("it is not strict JSON: EOF while parsing a value, at line 1 column 0")),
        ("unknown", "arguments", replaced("Additional properties are not allowed ('txt' was unexpected)")),
    ] {
        let answer = count(&world, &format!("first:{act}"));
        for text in [&answer.stdout, &answer.stderr] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']) && !text.contains("AKIA"), "{act}: {text}");
        }
        assert_eq!(denied(answer), (rule.to_owned(), reason), "{act}");
    }
    assert_eq!(decisions(&world), [vec!["allow"], vec!["deny"; 10]].concat());
    count(&world, "nothing for it").expect(0);
    let log = world.palisade(&["--format", "json", "audit", "show"]).expect(0).stdout;
    assert!(!log.contains("AKIA") && !log.contains("\\u001b"), "{log}");
    world.palisade(&["audit", "verify"]).expect(0);
}

/// How long a code in a decision is.
fn code_of(decision: &Value, key: &str) -> usize {
    decision["decision"][key].as_str().unwrap_or_default().len()
}

#[test]
fn arguments_that_a_guard_replaced_pass_the_gate_again_and_the_log_has_both_codes() {
    let world = guards(&["first", "second"]);
    let record = count(&world, "first:replace").expect(0);
    assert!(record.stderr.contains("a guard put others in the place of its arguments"), "{}", record.stderr);
    assert_eq!(record.json()["content"][0]["value"]["words"], 3);
    let shown = world.palisade(&["--format", "json", "audit", "show"]).expect(0).json();
    let decision = shown["entries"].as_array().unwrap().iter().rev().find(|r| r["decision"]["event"] == "decision").unwrap();
    assert_eq!((code_of(decision, "arguments"), code_of(decision, "given")), (64, 64), "{shown}");
    assert_ne!(decision["decision"]["arguments"], decision["decision"]["given"]);
    denied(count(&world, "first:unknown"));
    let shown = world.palisade(&["--format", "json", "audit", "show"]).expect(0).json();
    let decision = shown["entries"].as_array().unwrap().iter().rev().find(|r| r["decision"]["event"] == "decision").unwrap();
    assert_eq!((code_of(decision, "arguments"), code_of(decision, "replaced")), (64, 64), "{decision}");
    // The very same bytes are no replacement, so nothing is asked twice.
    let same = count(&world, "first:same").expect(0);
    assert_eq!(same.stderr.matches("hook first: warn: before").count(), 1);
    // What one puts there the other is asked about.
    let (rule, reason) = denied(count(&world, "first:secret"));
    assert_eq!((rule.as_str(), reason.as_str()), ("guard", "the guard second says: the second does not want it"));
    // A path that its grant does not reach stays out of reach.
    let outside = call(&world, "text-stats/count-file", &json!({"path": "first:outside"}));
    let record = outside.expect(4).json();
    assert_eq!(record["error"]["kind"], "tool-failed", "{record}");
    world.palisade(&["audit", "verify"]).expect(0);
}

#[test]
fn of_guards_that_disagree_any_deny_wins_in_either_order() {
    for roles in [["first", "second"], ["second", "first"]] {
        let world = guards(&roles);
        for (text, who) in
            [("second:deny", "second"), ("first:deny", "first"), ("first:replace second:deny", "second"), ("second:trap", "second")]
        {
            let (rule, reason) = denied(count(&world, text));
            assert_eq!(rule, "guard");
            assert!(reason.starts_with(&format!("the guard {who} ")), "{roles:?} {text}: {reason}");
        }
        let (rule, reason) = denied(count(&world, "first:replace second:unknown"));
        assert_eq!(rule, "guard");
        assert!(reason.ends_with("and one before it would each replace the arguments by others"), "{reason}");
        count(&world, "both are content").expect(0);
    }
}

#[test]
fn a_guard_that_cannot_load_denies_exactly_what_its_entry_names() {
    let world = World::new();
    let broken = |world: &World, more: &str| {
        let call = count(world, "a");
        let (rule, reason) = denied(call);
        assert_eq!(rule, "guard", "{reason}");
        assert!(reason.contains(more), "{reason}");
        // Another source is not its business.
        call_json_query(world).expect(0);
        let listed = world.palisade(&["--profile", "trusted", "--format", "json", "hook", "list"]).expect(0).json();
        assert_eq!(listed["hooks"][0]["state"], "broken");
    };
    let tools = "tools = [\"text-stats/*\"]\n";
    let missing = format!("[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n{tools}", world.path("none").display());
    world.user_config(&missing);
    broken(&world, "there is no such file");
    world.user_config(&entry(&world, "first", "guard", "\"before-call\"", tools));
    count(&world, "a").expect(0);
    world.write("hooks/first/first.wasm", guest("hook_first").split_last().unwrap().1);
    broken(&world, "first.wasm");
    // A component of another world.
    world.write("hooks/first/first.wasm", std::fs::read(example("text-stats").join("text-stats.wasm")).unwrap());
    broken(&world, "the component does not export palisade:plugin/hooks");
    // One that nobody granted what it needs; the remedy is a line that works.
    world.plugin_at("hooks", "first", &guest("hook_first"), "[capabilities]\nstore = true\n");
    broken(&world, "it needs store, which nobody granted");
    let remedy = count(&world, "a").json()["denial"]["remedy"].as_str().unwrap().to_owned();
    assert_eq!(remedy, "palisade --profile trusted plugin grant first store");
    world.palisade(&["--profile", "trusted", "plugin", "grant", "first", "store", "--yes"]).expect(0);
    count(&world, "a").expect(0);
    assert_eq!(denied(count(&world, "first:deny")).0, "guard");
    // What its manifest says of its time is said of each run.
    world.plugin_at("hooks", "first", &guest("hook_first"), "[limits]\ntime = \"20ms\"\n");
    assert_eq!(denied(count(&world, "first:loop")).1, "the guard first gave no answer: limit-time: it was stopped after 20ms");
    // Nor is a hook a plugin, or its run a call.
    let hook = world.path("hooks/first").display().to_string();
    let status = world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &hook, "status"]).expect(0).json();
    assert!(status["quarantined"][0]["reason"].as_str().unwrap().contains("does not export palisade:plugin/tools"), "{status}");
}

fn call_json_query(world: &World) -> Answer {
    call(world, "json-query/query", &json!({"filter": ".", "json": "1"}))
}

#[test]
fn a_trusted_workspace_adds_guards_that_may_not_replace_and_moves_none_of_the_users() {
    let world = World::new();
    world.user_config(&entry(&world, "second", "guard", "\"before-call\"", ""));
    world.plugin_at("workspace/hooks", "first", &guest("hook_first"), "");
    world.write("workspace/palisade.toml", "[[hooks]]\ndir = \"hooks/first\"\nkind = \"guard\"\nevents = [\"before-call\"]\n");
    // Untrusted, it is not even read.
    count(&world, "first:deny").expect(0);
    let trust = world.palisade(&["trust", "--yes"]).expect(0);
    assert!(trust.stderr.contains("first 0.1.0 in hooks/first"), "{}", trust.stderr);
    assert_eq!(denied(count(&world, "first:deny")).1, "the guard first says: the first does not want it");
    let (_, reason) = denied(count(&world, "first:replace"));
    assert_eq!(reason, "the guard first would replace the arguments, which only one of your own config may");
    let listed = world.palisade(&["--profile", "trusted", "--format", "json", "hook", "list"]).expect(0).json();
    let names: Vec<&str> = listed["hooks"].as_array().unwrap().iter().map(|hook| hook["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["second", "first"], "the user's own are asked first");
    assert_eq!(denied(count(&world, "first:deny second:deny")).1, "the guard second says: the second does not want it");
    // A changed byte of it ends the trust, and with it this guard; the user's stays.
    world.write("workspace/hooks/first/plugin.toml", "[plugin]\nname = \"first\"\nversion = \"0.2.0\"\ncomponent = \"first.wasm\"\n");
    count(&world, "first:deny").expect(0);
    denied(count(&world, "second:deny"));
}

#[test]
fn while_it_is_served_the_user_ends_a_hook_at_once_and_the_workspace_keeps_its_guards() {
    let world = World::new();
    let own = entry(&world, "second", "guard", "\"before-call\"", "");
    world.user_config(&own);
    world.plugin_at("workspace/hooks", "first", &guest("hook_first"), "");
    world.write("workspace/palisade.toml", "[[hooks]]\ndir = \"hooks/first\"\nkind = \"guard\"\nevents = [\"before-call\"]\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    let stats = example("text-stats").display().to_string();
    let mut server = Server::start(&world, &["--profile", "trusted", "--plugin", &stats, "serve"]);
    let mut runs = |text: &str| !server.call("text-stats__count", &json!({"text": text})).contains("denied by the rule guard");
    assert!(!runs("first:deny") && !runs("second:deny") && runs("a"));
    world.write("workspace/palisade.toml", "[deny]\nnames = [\"count-file\"]\n");
    std::thread::sleep(Duration::from_secs(3));
    assert!(!runs("first:deny"), "the workspace took its guard away");
    world.user_config(&own.replace("[[hooks]]\n", "[[hooks]]\nenabled = false\n"));
    until("a hook that was switched off still denies", || runs("second:deny"));
    assert!(!runs("first:deny"));
    world.user_config(&own);
    until("a hook that was switched on does not deny", || !runs("second:deny"));
    world.user_config("");
    until("a hook that was removed still denies", || runs("second:deny"));
    // A new one counts at once; one that is another by now is held, and denies what it guards.
    let third = world.plugin_at("hooks", "third", &guest("hook_second"), "");
    world.user_config(&own.replace(&world.path("hooks/second").display().to_string(), &third.display().to_string()));
    until("a hook that was added does not deny", || !runs("second:deny"));
    assert!(runs("a"));
    world.plugin_at("hooks", "third", &guest("hook_second"), "[limits]\ntime = \"9s\"\n");
    until("a hook that changed while it was served still answers", || !runs("a"));
    server.close();
}

#[test]
fn an_observer_hears_what_it_subscribed_to_in_order_and_changes_nothing() {
    let world = World::new();
    let all = "\"session-start\", \"prompt-submit\", \"before-call\", \"after-call\", \"call-denied\", \"session-end\"";
    world.user_config(&(entry(&world, "first", "observer", all, "") + &entry(&world, "second", "observer", "\"call-denied\"", "")));
    let (stats, shell) = (example("text-stats").display().to_string(), example("shell").display().to_string());
    let run = world
        .palisade(&[
            "--profile",
            "trusted",
            "--plugin",
            &stats,
            "--plugin",
            &shell,
            "run",
            "count \"first:deny\"",
            "/shell/bash {\"command\": \"id\"}",
        ])
        .expect(0);
    let told: Vec<&str> = run.stderr.lines().filter_map(|line| line.strip_prefix("hook ")).collect();
    assert_eq!(
        told,
        [
            "first: warn: start under trusted",
            "first: warn: prompt count \"first:deny\"",
            "first: warn: before text-stats/count {\"text\":\"first:deny\"}",
            "first: warn: after text-stats/count Outcome::Ok, 1 pieces",
            "first: warn: prompt /shell/bash {\"command\": \"id\"}",
            "first: warn: denied shell/bash by shell-gate (built-in): its id contains `bash`; no flag, file or profile allows it",
            "second: warn: denied shell/bash by shell-gate (built-in): its id contains `bash`; no flag, file or profile allows it",
            "first: warn: end under trusted",
        ]
    );
    // Why arguments are denied quotes them, and nobody told this one arguments.
    let quoted = call(&world, "text-stats/count", &json!({"text": "a", "hidden": 1})).expect(3);
    let line = "second: warn: denied text-stats/count by arguments (built-in): they are too large, not strict JSON, or not valid";
    assert!(quoted.stderr.contains(line) && quoted.stderr.contains("'hidden' was unexpected"), "{}", quoted.stderr);
    // One that fails is reported, and the call has run.
    for (act, why) in [("trap", "trap: the component trapped"), ("loop", "limit-time: it was stopped after 1s")] {
        let answer = count(&world, &format!("first:{act}")).expect(0);
        assert!(answer.stderr.contains(&format!("the observer first did not hear of before-call: {why}")), "{}", answer.stderr);
    }
    let shown = steady(&world, &world.palisade(&["audit", "show"]).expect(0).stdout);
    assert!(shown.contains("first heard before-call text-stats/count: failed: trap: the component trapped"), "{shown}");
    assert!(shown.contains("first heard before-call text-stats/count: heard\n"), "{shown}");
}

#[test]
fn a_prompt_that_a_guard_denies_is_not_run_and_not_kept() {
    let world = World::new();
    world.user_config(&entry(&world, "first", "guard", "\"prompt-submit\"", ""));
    let stats = example("text-stats").display().to_string();
    let run = world.palisade(&[
        "--profile",
        "trusted",
        "--format",
        "json",
        "--plugin",
        &stats,
        "run",
        "count \"first:deny\"",
        "count \"first:replace\"",
        "count \"a b\"",
    ]);
    let run = run.expect(0).json();
    let turn = |at: usize| (run["turns"][at]["calls"].as_array().unwrap().len(), run["turns"][at]["output"].as_str().unwrap().to_owned());
    assert_eq!(turn(0), (0, "the prompt was denied by guard (#1)".to_owned()));
    assert_eq!(turn(1), (0, "the prompt was denied by guard (#2)".to_owned()));
    assert_eq!(turn(2).0, 1);
    let denials: Vec<&str> = run["permission_denials"].as_array().unwrap().iter().map(|d| d["reason"].as_str().unwrap()).collect();
    assert_eq!(
        denials,
        [
            "the guard first says: the first does not want it",
            "the guard first gave no answer: it would replace a prompt, and only arguments can be replaced"
        ]
    );
    let stored: Value = serde_json::from_slice(&std::fs::read(run["session_path"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(stored["prompts"], json!(["count \"a b\""]));
}

#[test]
fn every_way_to_a_call_meets_the_same_guard() {
    let world = World::new();
    let server = format!("[mcp.files]\ncommand = \"{}\"\nargs = [\"good\"]\n", mcp_fixture().display());
    world.user_config(&(server + &entry(&world, "first", "guard", "\"before-call\"", "")));
    world.palisade(&["--profile", "trusted", "mcp", "accept", "files", "--yes"]).expect(0);
    let (stats, skills) = (example("text-stats").display().to_string(), palisade_tests::root().join("target/skills").display().to_string());
    let config = std::fs::read_to_string(world.path("config/palisade/config.toml")).unwrap();
    world.user_config(&format!("[skills]\ndirs = [\"{skills}\"]\n{config}"));
    let flags = ["--profile", "trusted", "--format", "json", "--plugin", &stats];
    let expected = "the guard first says: the first does not want it";
    for (id, key) in [("text-stats/count", "text"), ("files/echo", "text"), ("release-notes/group", "log")] {
        let arguments = |text: &str| json!({key: text}).to_string();
        let direct = |text: &str| format!("/{id} {}", arguments(text));
        let called = world.palisade(&[&flags[..], &["call", id, &arguments("first:deny")]].concat()).expect(3).json();
        let ran = world.palisade(&[&flags[..], &["run", &direct("first:deny")]].concat()).expect(0).json();
        for denial in [&called["denial"], &ran["turns"][0]["calls"][0]["denial"], &ran["permission_denials"][0]] {
            assert_eq!((&denial["rule"], &denial["reason"]), (&json!("guard"), &json!(expected)), "{id}");
        }
        world.palisade(&[&flags[..], &["call", id, &arguments("feat: a")]].concat()).expect(0);
    }
    let routed = world.palisade(&[&flags[..], &["run", "count \"first:deny\""]].concat()).expect(0).json();
    assert_eq!(routed["turns"][0]["calls"][0]["denial"]["reason"], expected);
    let mut served = Server::start(&world, &["--profile", "trusted", "--plugin", &stats, "serve"]);
    for (name, key) in [("text-stats__count", "text"), ("files__echo", "text"), ("release-notes__group", "log")] {
        let answer = served.call(name, &json!({key: "first:deny"}));
        assert!(answer.contains("was denied by the rule guard (denial ") && !answer.contains("does not want"), "{answer}");
    }
    served.close();
}

#[test]
fn explaining_and_listing_ask_no_hook() {
    let world = guards(&["first"]);
    let stats = example("text-stats").display().to_string();
    let flags = ["--profile", "trusted", "--plugin", &stats];
    let explained = world.palisade(&[&flags[..], &["explain", "text-stats/count", "{\"text\": \"first:deny\"}"]].concat()).expect(0);
    assert!(explained.stdout.ends_with("config.toml:2): asked when it is called: first\n"), "{}", explained.stdout);
    assert!(explained.stdout.starts_with("text-stats/count: allow\n"));
    let tools = world.palisade(&[&flags[..], &["tools", "--all"]].concat()).expect(0);
    assert!(tools.stdout.contains("text-stats/count") && !tools.stdout.contains("first"), "{}", tools.stdout);
    assert!(!explained.stderr.contains("hook first") && !tools.stderr.contains("hook first"));
    world.user_config(&(std::fs::read_to_string(world.path("config/palisade/config.toml")).unwrap() + "[limits]\nhook_time = \"20ms\"\n"));
    assert_eq!(denied(count(&world, "first:loop")).1, "the guard first gave no answer: limit-time: it was stopped after 20ms");
}

const ACTS: [&str; 12] = ["", "deny", "trap", "huge", "hostile", "empty", "nonsense", "unknown", "twice", "same", "replace", "secret"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a call of random acts comes to follows from the acts alone, whatever the order of the guards.
    #[test]
    fn never_does_a_call_run_that_a_guard_denied_or_that_its_replacement_made_wrong(
        sets in proptest::collection::vec((0..2usize, 0..ACTS.len(), 0..ACTS.len()), 1..6),
    ) {
        for (order, first, second) in sets {
            let host = &HOSTS[order];
            let (first, second) = (ACTS[first], ACTS[second]);
            let text = format!("first:{first} second:{second}");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let call = ToolCall::new("text-stats/count", &json!({"text": text}).to_string());
            let record = runtime.block_on(host.call(call, Verdict::pass(), Run::default(), |_| {})).unwrap();
            // Nothing of the kind may run: a denial, a failure, a replacement that is none, or two that differ.
            let refuses = |act: &str| matches!(act, "deny" | "trap" | "huge" | "hostile" | "empty" | "nonsense" | "unknown" | "twice");
            let replaces = |act: &str| matches!(act, "replace" | "secret");
            // `secret` is what the second one denies.
            let wrong = refuses(first) || refuses(second) || first == "secret" || second == "secret";
            prop_assert_eq!(record.denial.is_some(), wrong, "{} {:?}", text, record);
            if record.denial.is_none() {
                let words = serde_json::to_value(&record).unwrap()["content"][0]["value"]["words"].clone();
                prop_assert_eq!(words, json!(if replaces(first) || replaces(second) { 3 } else { 2 }), "{}", text);
            }
        }
    }
}

static HOSTS: std::sync::LazyLock<[Host; 2]> = std::sync::LazyLock::new(|| {
    [["first", "second"], ["second", "first"]].map(|roles| {
        let world = World::new();
        world.write("home/config.toml", roles.iter().map(|role| entry(&world, role, "guard", "\"before-call\"", "")).collect::<String>());
        let options = Options {
            profile: Some("trusted".to_owned()),
            workspace: Some(world.workspace()),
            plugins: vec![example("text-stats")],
            ..Options::default()
        };
        let settings = Settings::resolve(&options, Home::at(&world.path("home")).unwrap()).unwrap();
        let compiler = binary();
        let load =
            LoadOptions { allocator: Allocator::OnDemand, compiler: Some(&compiler), audit: None::<Sizes>, ..LoadOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(Host::load(settings, load)).unwrap()
    })
});

#[test]
fn calls_that_fill_every_place_keep_no_guard_from_answering() {
    let world = World::new();
    let folder = world.plugin_at("hooks", "first", &guest("hook_first"), "");
    let entry = format!("[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n", folder.display());
    world.write("home/config.toml", entry + "[limits]\nin_flight = 2\nin_flight_source = 2\ntime = \"4s\"\n");
    let options = Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugins: vec![world.plugin("guest", &guest("guest"), ""), example("text-stats")],
        ..Options::default()
    };
    let settings = Settings::resolve(&options, Home::at(&world.path("home")).unwrap()).unwrap();
    let compiler = binary();
    let load = LoadOptions { allocator: Allocator::Pool(2), compiler: Some(&compiler), ..LoadOptions::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let host = std::sync::Arc::new(Host::load(settings, load).await.unwrap());
        let call = |id: &'static str, arguments: &'static str| {
            let host = host.clone();
            tokio::spawn(async move { host.call(ToolCall::new(id, arguments), Verdict::pass(), Run::default(), |_| {}).await.unwrap() })
        };
        let waiting = [call("guest/sleep", "{\"ms\": 3000}"), call("guest/sleep", "{\"ms\": 3000}")];
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Every place is taken for longer than a guard may take, and the guard answers all the same.
        let denied = call("text-stats/count", "{\"text\": \"first:deny\"}").await.unwrap();
        assert_eq!(denied.denial.unwrap().reason, "the guard first says: the first does not want it");
        let mut ended = 0;
        for one in waiting {
            ended += u32::from(one.await.unwrap().error.is_none());
        }
        assert_eq!(ended, 2);
    });
}

#[test]
fn a_prompt_whose_guard_cannot_be_recorded_is_not_run() {
    let world = World::new();
    world.user_config(&entry(&world, "first", "guard", "\"prompt-submit\"", ""));
    let run = ["--profile", "trusted", "--format", "json", "run", "nothing fits this"];
    world.palisade(&run).expect(0);
    std::fs::remove_dir_all(world.path("state/palisade/audit")).unwrap();
    // Root writes anywhere, so a file stands in the folder's place.
    world.write("state/palisade/audit", "");
    let failed = world.palisade(&run).expect(1);
    assert_eq!(failed.json()["turns"], json!([]));
    assert!(failed.stderr.lines().last().unwrap().contains("the audit log cannot be written"), "{}", failed.stderr);
}

#[test]
fn the_log_holds_no_arguments_that_a_hook_was_told() {
    let world = guards(&["first"]);
    count(&world, "a marked text").expect(0);
    denied(count(&world, "a marked text first:deny"));
    let log: String = world
        .files()
        .iter()
        .filter(|file| file.contains("palisade/audit/"))
        .map(|file| std::fs::read_to_string(world.path(file)).unwrap())
        .collect();
    assert!(log.contains("\"hook\":\"first\"") && !log.contains("marked"), "{log}");
}

#[test]
fn who_gives_up_while_a_guard_is_asked_is_not_denied() {
    let world = World::new();
    world.user_config(&(entry(&world, "first", "guard", "\"before-call\"", "") + "[limits]\nhook_time = \"60s\"\ntime = \"60s\"\n"));
    // Compiled before, so that it is the guard that is waited for.
    count(&world, "a").expect(0);
    let plugin = example("text-stats").display().to_string();
    let mut command =
        world.command(&["--profile", "trusted", "--plugin", &plugin, "call", "text-stats/count", "{\"text\": \"first:loop\"}"]);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(decisions(&world), ["allow", "absent"]);
}
