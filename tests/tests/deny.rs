//! Denying: every command agrees, in any letter case, and nothing takes a deny away.

use palisade::config::{Home, Options, Settings};
use palisade::policy::Verdict;
use palisade::sandbox::{Allocator, Run};
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::{World, example, guest, steady};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

fn examples() -> String {
    example("text-stats").parent().unwrap().display().to_string()
}

#[test]
fn a_denied_tool_is_neither_listed_nor_callable_in_any_letter_case() {
    let world = World::new();
    for (flag, entry) in [
        ("--deny-tool", "TEXT-STATS/Count"),
        ("--deny-tool", "cOUNT"),
        ("--deny-tool", "text-stats__COUNT"),
        ("--deny-prefix", "Text-Stats/COU"),
        ("--deny-prefix", "COUN"),
        ("--deny-prefix", "TEXT-STATS__"),
    ] {
        let rule = if flag == "--deny-tool" { "deny-name" } else { "deny-prefix" };
        let run = |command: &[&str], code| {
            let plugins = examples();
            let mut args = vec!["--profile", "trusted", "--plugin-dir", &plugins, "--format", "json", flag, entry];
            args.extend(command);
            world.palisade(&args).expect(code).json()
        };
        let expected = |denial: &serde_json::Value| {
            assert_eq!(
                (&denial["rule"], &denial["source"], &denial["tool"]),
                (&json!(rule), &json!(flag), &json!("text-stats/count")),
                "{entry}"
            );
        };
        expected(&run(&["call", "text-stats/count", "{\"text\":\"a\"}"], 3)["denial"]);
        let listed = run(&["tools"], 0);
        assert!(listed["tools"].as_array().unwrap().iter().all(|t| t["id"] != "text-stats/count"), "{entry}");
        let all = run(&["tools", "--all"], 0);
        expected(&all["tools"].as_array().unwrap().iter().find(|t| t["id"] == "text-stats/count").unwrap()["denial"]);
        let ran = run(&["run", "count the words of \"a b c\""], 0);
        expected(ran["permission_denials"].as_array().unwrap().iter().find(|d| d["tool"] == "text-stats/count").unwrap());
        assert!(ran["turns"][0]["calls"].as_array().unwrap().iter().all(|c| c["tool"] != "text-stats/count"));
        let explained = run(&["explain", "text-stats/count"], 0);
        assert_eq!(explained["verdict"], "deny");
        let step = explained["steps"].as_array().unwrap().iter().find(|s| s["verdict"] == "deny").unwrap().clone();
        assert_eq!((&step["rule"], &step["source"]), (&json!(rule), &json!(flag)));
    }
}

#[test]
fn a_deny_of_a_workspace_names_file_and_line_and_its_remedy() {
    let world = World::new();
    world.write("workspace/palisade.toml", "[deny]\nnames = [\n  \"grep\",\n  \"Text-Stats/count\",\n]\n");
    let denied = world
        .palisade(&["--profile", "trusted", "--plugin-dir", &examples(), "--format", "json", "call", "text-stats/count"])
        .expect(3)
        .json();
    assert_eq!(
        denied["denial"],
        json!({
            "number": 1,
            "tool": "text-stats/count",
            "rule": "deny-name",
            "source": "palisade.toml:4",
            "reason": "the deny name `Text-Stats/count` matches it",
            "remedy": "remove Text-Stats/count from [deny] names at palisade.toml:4",
        })
    );
    assert_eq!(denied["outcome"], "denied");
    let text = world.palisade(&["--profile", "trusted", "--plugin-dir", &examples(), "call", "text-stats/count"]).expect(3);
    assert_eq!(text.stdout, "");
    assert_eq!(
        steady(&world, &text.stderr),
        "text-stats/count: ✓name ✓shell ✗deny  T → denied #1 by deny-name (palisade.toml:4): the deny name `Text-Stats/count` matches it; \
         to allow it: remove Text-Stats/count from [deny] names at palisade.toml:4\n"
    );
}

#[test]
fn a_deny_or_grant_that_matches_nothing_is_a_warning_that_names_it() {
    let world = World::new();
    let plugin = example("text-stats");
    let plugin = plugin.to_str().unwrap();
    let answer = world.palisade(&[
        "--profile",
        "trusted",
        "--plugin",
        plugin,
        "--deny-tool",
        "Typo",
        "--deny-prefix",
        "none/",
        "--grant",
        "text-stats:env:HOME",
        "tools",
    ]);
    for expected in [
        "warning: the deny entry `Typo` (--deny-tool) matches no tool\n",
        "warning: the deny entry `none/` (--deny-prefix) matches no tool\n",
        "warning: the grant text-stats:env:HOME (--grant) matches no request of a plugin that a flag named or that was added\n",
    ] {
        assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    }
    // Where nothing was read, nothing can be said to match.
    let quiet = world.palisade(&["--plugin", plugin, "--deny-tool", "Typo", "tools"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn an_empty_entry_is_an_error_wherever_it_stands() {
    let world = World::new();
    for flag in ["--deny-tool", "--deny-prefix"] {
        let error = world.palisade(&["--format", "json", flag, "", "tools"]).expect(2).error();
        assert!(error["message"].as_str().unwrap().starts_with(flag), "{error}");
    }
}

#[test]
fn a_shell_is_denied_under_a_thousand_random_sets_of_flags_and_config() {
    let world = World::new();
    let shell = example("shell");
    world.plugin("pwsh", &guest("guest"), "");
    let compiler = palisade_tests::binary();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let home = world.path("library");
    std::fs::create_dir(&home).unwrap();
    let word = || prop::sample::select(vec!["shell", "shell/bash", "SHELL", "bash", "text", "a", "", "none/", "x__y"]);
    let set = (
        any::<bool>(),
        prop::sample::select(vec!["", "profile = \"trusted\"\n", "profile = \"mine\"\n"]),
        prop::collection::vec(word(), 0..3),
        prop::collection::vec(word(), 0..3),
        prop::collection::vec(prop::sample::select(vec!["shell:fs:read:@workspace", "shell:env:PATH", "bash:env:PATH"]), 0..3),
        prop::sample::select(vec!["", "[deny]\nnames = [\"other\"]\n", "[plugins]\ndirs = [\"plugins\"]\n", "[limits]\ntime = \"1s\"\n"]),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&set, |(trusted, user, names, prefixes, grants, workspace, trust_workspace)| {
        let keep = |list: Vec<&str>| list.into_iter().filter(|e| !e.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let mine = "[profiles.mine]\nsubsystems = [\"plugin_init\"]\n";
        std::fs::write(home.join("config.toml"), format!("{user}{mine}")).unwrap();
        std::fs::write(world.path("workspace/palisade.toml"), workspace).unwrap();
        let options = Options {
            profile: trusted.then(|| "trusted".to_owned()),
            workspace: Some(world.workspace()),
            trust_workspace,
            deny_tools: keep(names),
            deny_prefixes: keep(prefixes),
            plugins: vec![shell.clone(), world.path("plugins/pwsh")],
            grants: keep(grants),
            ..Options::default()
        };
        let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
        runtime.block_on(async {
            let load = LoadOptions { allocator: Allocator::OnDemand, only: None, compiler: Some(&compiler), ..LoadOptions::default() };
            let host = Host::load(settings, load).await.unwrap();
            for (id, arguments) in [("shell/bash", r#"{"command":"touch owned"}"#), ("pwsh/echo", r#"{"text":"a"}"#), ("any/run-cmd", "{}")]
            {
                let record = host.call(ToolCall::new(id, arguments), Verdict::pass(), Run::default(), |_| {}).await.unwrap();
                assert_eq!(record.denial.unwrap().rule, "shell-gate");
                assert!(host.tools().filter(|t| t.spec.id.as_str() == id).all(|t| host.admit(t).is_err()));
            }
        });
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn an_intruder_gets_nothing() {
    let world = World::new();
    world.write("workspace/Cargo.toml", "secret");
    let plugin = example("intruder");
    let plugin = plugin.to_str().unwrap();
    // Twice, so that it would find what it left behind.
    for _ in 0..2 {
        let record =
            world.palisade(&["--profile", "trusted", "--plugin", plugin, "--format", "json", "call", "intruder/probe"]).expect(0).json();
        let rows = record["content"][1]["value"].as_array().unwrap();
        let succeeded: Vec<_> = rows.iter().filter(|row| row["succeeded"] != json!(false)).collect();
        assert_eq!(succeeded, [] as [&serde_json::Value; 0]);
        assert_eq!(record["content"][0]["text"], format!("{} tried, 0 succeeded", rows.len()));
        assert!(rows.len() >= 40);
    }
    let stopped =
        world.palisade(&["--profile", "trusted", "--plugin", plugin, "--format", "json", "call", "intruder/spin"]).expect(5).json();
    assert_eq!(stopped["error"], json!({"kind": "limit-time", "message": "it was stopped after 2s"}));
}
