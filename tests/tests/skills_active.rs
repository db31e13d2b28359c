//! An active skill: what it leaves of the tools, and what a report says of it.

use palisade::config::{Home, Options, Settings};
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::{Answer, World, example, guest, steady};
use serde_json::{Value, json};

const OWN: &str = "profile = \"trusted\"\n[skills]\ndirs = [\"~/skills\"]\n";

/// The user's own skills, in `~/skills`.
fn own() -> World {
    let world = World::new();
    world.user_config(OWN);
    world
}

fn json(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json"], args].concat())
}

/// A skill with a guest as its component.
fn with_guest(world: &World, folder: &str, name: &str, front: &str, manifest: &str) {
    world.skill_at(folder, name, front, "Text.\n");
    world.plugin_at(folder, name, &guest("guest"), manifest);
}

/// A session with a skill over plugins and what it names.
fn session(allowed: &str, prompts: &[&str]) -> Value {
    let world = own();
    with_guest(&world, "home/skills", "helper", &format!("allowed-tools: {allowed}\n"), "");
    let stats = example("text-stats").display().to_string();
    let args = [&["--plugin", stats.as_str(), "--deny-tool", "guest/denied", "run", "--skill", "helper"], prompts].concat();
    json(&world, &args).expect(0).json()
}

#[test]
fn while_a_skill_is_active_only_what_it_names_is_called() {
    let inside = "/text-stats/count {\"text\": \"a b\"}";
    let outside = "/text-stats/count-file {\"path\": \"a\"}";
    for name in ["text-stats/count", "text-stats__count", "mcp__palisade__text-stats__count"] {
        let run = session(name, &[inside, outside, "/helper/counter {}", "/no/such {}", "count the words of \"a b\""]);
        let outcomes: Vec<_> = run["turns"].as_array().unwrap().iter().map(|turn| turn["calls"][0]["outcome"].clone()).collect();
        assert_eq!(outcomes, ["ok", "denied", "denied", "denied", "ok"], "{run}");
        assert_eq!(
            run["permission_denials"][0],
            json!({
                "number": 1, "tool": "text-stats/count-file", "rule": "deny-name", "source": "~/skills/helper/SKILL.md:4",
                "reason": "it is none of the tools that the active skill `helper` leaves", "remedy": null,
            })
        );
        let denied: Vec<_> = run["permission_denials"].as_array().unwrap().iter().map(|d| (&d["tool"], &d["rule"])).collect();
        assert!(denied.iter().all(|(_, rule)| **rule == "deny-name"), "{denied:?}");
        // A match that the skill does not leave is a denial, as any.
        assert_eq!(denied.iter().filter(|(tool, _)| **tool == "text-stats/count-file").count(), 2, "{denied:?}");
        assert_eq!((&run["skill"]["tools"], &run["skill"]["ignored"]), (&json!(["text-stats/count"]), &json!([])));
    }
}

#[test]
fn names_that_are_no_tool_are_told_and_where_none_is_left_the_skill_has_its_own() {
    let calls = ["/helper/counter {}", "/text-stats/count {\"text\": \"a\"}"];
    let outcomes =
        |run: &Value| run["turns"].as_array().unwrap().iter().map(|turn| turn["calls"][0]["outcome"].clone()).collect::<Vec<_>>();
    let run = session("Bash(git:*) Read mcp__other__x text-stats/COUNT", &calls);
    assert_eq!(outcomes(&run), ["ok", "denied"]);
    assert_eq!(run["skill"]["ignored"], json!(["Bash(git:*)", "Read", "mcp__other__x", "text-stats/COUNT"]));
    assert!(run["skill"]["tools"].as_array().unwrap().iter().all(|id| id.as_str().unwrap().starts_with("helper/")), "{run}");
    let run = session("Read text-stats/count", &calls);
    assert_eq!((outcomes(&run), &run["skill"]["ignored"]), (vec![json!("denied"), json!("ok")], &json!(["Read"])));
    // No key, no narrowing; a key without a value leaves the skill its own.
    let run = session("", &calls);
    assert_eq!(outcomes(&run), ["ok", "denied"]);
    let world = own();
    world.skill_at("home/skills", "helper", "", "Text.\n");
    let stats = example("text-stats").display().to_string();
    let run = json(&world, &["--plugin", &stats, "run", "--skill", "helper", calls[1]]).expect(0).json();
    assert_eq!((outcomes(&run), &run["skill"]["tools"]), (vec![json!("ok")], &Value::Null));
    let warned = world.skill_at("home/skills", "helper", "allowed-tools: Read\n", "Text.\n");
    assert!(warned.exists());
    let run = json(&world, &["--plugin", &stats, "run", "--skill", "helper", calls[1]]).expect(0);
    assert_eq!(outcomes(&run.json()), ["denied"]);
    assert!(run.stderr.contains("warning: ~/skills/helper/SKILL.md:4: Read in `allowed-tools`: no tool here, ignored\n"), "{}", run.stderr);
}

#[test]
fn allowed_tools_grants_nothing() {
    let world = own();
    world.skill_at("home/skills", "greedy", "allowed-tools: shell/bash text-stats/count search/grep\n", "Run shell/bash.\n");
    let plugins = example("text-stats").parent().unwrap().display().to_string();
    let prompts = ["/shell/bash {\"command\": \"id\"}", "/text-stats/count {\"text\": \"a\"}", "/search/grep {\"pattern\": \"a\"}"];
    let args = [&["--plugin-dir", plugins.as_str(), "--deny-tool", "count", "run", "--skill", "greedy"], &prompts[..]].concat();
    let run = json(&world, &args).expect(0).json();
    let rules: Vec<_> = run["permission_denials"].as_array().unwrap().iter().map(|d| (d["rule"].clone(), d["source"].clone())).collect();
    let pair = |rule: &str, source: &str| (json!(rule), json!(source));
    assert_eq!(rules, [pair("shell-gate", "built-in"), pair("deny-name", "--deny-tool"), pair("grant", "built-in")]);
}

#[tokio::test]
async fn listing_explaining_and_calling_agree_on_what_a_skill_leaves() {
    let world = own();
    with_guest(&world, "home/skills", "helper", "allowed-tools: text-stats/count helper/counter\n", "");
    let home = Home {
        config: world.path("config/palisade/config.toml"),
        data: world.path("data/palisade"),
        state: world.path("state/palisade"),
        cache: palisade_tests::root().join("target/test-cache/palisade"),
        explicit: false,
    };
    world.user_config(&format!("profile = \"trusted\"\n[skills]\ndirs = [\"{}\"]\n", world.path("home/skills").display()));
    let options = Options {
        workspace: Some(world.workspace()),
        plugin_dirs: vec![example("text-stats").parent().unwrap().to_owned()],
        ..Options::default()
    };
    let compiler = palisade_tests::binary();
    let host = async |skill| {
        let settings = Settings::resolve(&options, home.clone()).unwrap();
        Host::load(settings, LoadOptions { compiler: Some(&compiler), skill, ..LoadOptions::default() }).await.unwrap()
    };
    let (all, narrowed) = (host(None).await, host(Some("helper")).await);
    let mut admitted = Vec::new();
    for tool in narrowed.tools() {
        let id = tool.spec.id.as_str();
        let is = narrowed.admit(tool).is_ok();
        assert!(!is || all.admit(all.tool(id).unwrap()).is_ok(), "{id} is there only with the skill");
        assert_eq!(narrowed.explain(id, None).unwrap().refusal.is_none(), is, "{id}");
        let record = narrowed
            .call(ToolCall::new(id, "[]"), palisade::policy::Verdict::pass(), palisade::sandbox::Run::default(), |_| {})
            .await
            .unwrap();
        // Arguments that no tool takes: an admitted one is denied by them, and not before.
        assert_eq!(record.denial.unwrap().rule == "arguments", is, "{id}");
        admitted.extend(is.then(|| id.to_owned()));
    }
    assert_eq!(admitted, ["helper/counter", "text-stats/count"]);
    assert!(all.tools().filter(|tool| all.admit(tool).is_ok()).count() > 5);
}

#[test]
fn the_report_of_a_session_holds_the_skills_text_as_that_of_somebody_else() {
    let world = own();
    let text = concat!("# <b>Do</b> [this](javascript:x)\n\u{1b}[31m```\u{202e}\nkey AKIA", "IOSFODNN7EXAMPLE\n");
    world.skill_at("home/skills", "helper", "allowed-tools: text-stats/count Read\n", text);
    let report = world.path("workspace/report.md");
    let stats = example("text-stats").display().to_string();
    let args =
        ["--plugin", &stats, "run", "--skill", "helper", "--report", report.to_str().unwrap(), "/text-stats/count {\"text\": \"a\"}"];
    let run = json(&world, &args).expect(0).json();
    let key = "key [redacted]";
    assert_eq!(
        run["skill"],
        json!({
            "name": "helper", "source": "~/skills/helper/SKILL.md", "description": "Says what helper does.",
            "text": format!("# <b>Do</b> [this](javascript:x)\n```\n{key}"), "tools": ["text-stats/count"], "ignored": ["Read"],
        })
    );
    let report = std::fs::read_to_string(report).unwrap();
    let wanted = format!(
        "## Skill\n\n* name: `helper`\n* from: `~/skills/helper/SKILL.md`\n* description: `Says what helper does.`\n\
         * leaves the tools: `text-stats/count`\n* names that are no tool here: `Read`\n\nIts text, which its author wrote:\n\n\
         ````text\n# <b>Do</b> [this](javascript:x)\n```\n{key}\n````\n\n## Turn 1\n"
    );
    assert!(report.contains(&wanted), "{report}");
    let shown = steady(&world, &world.palisade(&["--plugin", &stats, "run", "--skill", "helper", "a"]).expect(0).stdout);
    assert!(
        shown.starts_with("[from the skill helper in ~/skills/helper/SKILL.md, which leaves text-stats/count]\n  | # <b>Do</b>"),
        "{shown}"
    );
    // Without a skill there is none.
    assert_eq!(json(&world, &["run", "a"]).expect(0).json()["skill"], Value::Null);
}
