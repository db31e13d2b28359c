//! The four subsystems: in a trusted profile each is on and does something; without one just that no longer happens.

use palisade_tests::{Answer, World, guest, mcp_fixture, root};
use serde_json::{Value, json};

const ALL: [&str; 4] = ["plugin_init", "skill_init", "mcp_prefetch", "session_hooks"];

/// A user with a plugin, a skill, an external server and an observer, and a profile for each subsystem that is left out.
fn world() -> World {
    let world = World::new();
    let hook = world.plugin_at("hooks", "first", &guest("hook_first"), "");
    let plugin = world.path("plugins");
    world.plugin("guest", &guest("guest"), "");
    let skills = root().join("target/skills");
    let profiles = ALL.iter().map(|out| {
        let rest: Vec<String> = ALL.iter().filter(|one| *one != out).map(|one| format!("\"{one}\"")).collect();
        format!("[profiles.no-{out}]\nsubsystems = [{}]\n", rest.join(", "))
    });
    world.user_config(&format!(
        "[plugins]\ndirs = [\"{}\"]\n[skills]\ndirs = [\"{}\"]\n[mcp.files]\ncommand = \"{}\"\nargs = [\"good\"]\n\
         [[hooks]]\ndir = \"{}\"\nkind = \"observer\"\nevents = [\"after-call\"]\n{}",
        plugin.display(),
        skills.display(),
        mcp_fixture().display(),
        hook.display(),
        profiles.collect::<String>()
    ));
    world.palisade(&["--profile", "trusted", "mcp", "accept", "files", "--yes"]).expect(0);
    world
}

/// What happens under a profile: whether the plugin's, the skill's and the server's tools run, and whether the hook hears of one.
fn happens(world: &World, profile: &str) -> [bool; 4] {
    let call = |id: &str, arguments: &Value| world.palisade(&["--profile", profile, "call", id, &arguments.to_string()]);
    let ran = |answer: &Answer| match answer.code {
        0 => true,
        3 => {
            assert!(answer.stderr.contains("✗trust"), "{}", answer.stderr);
            false
        }
        code => panic!("{code}: {}", answer.stderr),
    };
    let answers = [
        call("guest/echo", &json!({"text": "a"})),
        call("release-notes/group", &json!({"log": "feat: a"})),
        call("files/echo", &json!({"text": "a"})),
    ];
    let heard = answers.iter().filter(|answer| answer.code == 0).all(|answer| answer.stderr.contains("hook first: warn: after "));
    let [plugin, skill, server] = answers.each_ref().map(ran);
    [plugin, skill, server, heard]
}

#[test]
fn each_subsystem_is_true_in_a_trusted_profile_and_without_it_just_that_no_longer_happens() {
    let world = world();
    let init = |profile: &str| {
        let status = world.palisade(&["--profile", profile, "--format", "json", "status"]).expect(0).json();
        ALL.map(|name| (status["init"][name]["enabled"] == true, status["init"][name]["reason"].as_str().unwrap().to_owned()))
    };
    assert_eq!(init("trusted").map(|(enabled, _)| enabled), [true; 4]);
    assert_eq!(happens(&world, "trusted"), [true; 4]);
    for (at, out) in ALL.iter().enumerate() {
        let profile = format!("no-{out}");
        let mut expected = [true; 4];
        expected[at] = false;
        let told = init(&profile);
        assert_eq!(told.each_ref().map(|(enabled, _)| *enabled), expected, "{out}");
        assert!(told[at].1.starts_with(&format!("the profile `{profile}` withholds it")), "{:?}", told[at]);
        assert_eq!(happens(&world, &profile), expected, "{out}");
    }
    assert_eq!(init("untrusted").map(|(enabled, _)| enabled), [false; 4]);
    let denied = world.palisade(&["call", "guest/echo", "{\"text\": \"a\"}"]).expect(3);
    assert!(denied.stderr.contains("✗trust"), "{}", denied.stderr);
}

#[test]
fn a_profile_that_withholds_hooks_opens_none_and_takes_no_guard_away() {
    let world = World::new();
    let hook = world.plugin_at("hooks", "first", &guest("hook_first"), "");
    world.user_config(&format!("[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n", hook.display()));
    world.plugin_at("workspace/plugins", "guest", &guest("guest"), "");
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    let echo = ["--format", "json", "--trust-workspace", "call", "guest/echo", "{\"text\": \"a\"}"];
    let record = world.palisade(&echo).expect(3).json();
    assert_eq!(record["denial"]["rule"], "guard");
    assert!(record["denial"]["reason"].as_str().unwrap().ends_with("nothing of it was read, because the profile `untrusted` withholds it"));
    assert_eq!(record["denial"]["remedy"], "--profile trusted");
    world.palisade(&[&["--profile", "trusted"], &echo[..]].concat()).expect(0);
    let status = world.palisade(&["--format", "json", "status"]).expect(0).json();
    assert_eq!(status["init"]["session_hooks"], json!({"enabled": false, "reason": "the profile `untrusted` withholds it"}));
}

#[test]
fn a_hook_is_a_hook_and_its_manifest_says_no_other_kind() {
    let world = World::new();
    let hook = world.plugin_at("hooks", "first", &guest("hook_first"), "kind = \"component\"\n");
    world.user_config(&format!("[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n", hook.display()));
    let status = world.palisade(&["--profile", "trusted", "--format", "json", "status"]).expect(0).json();
    let reason = status["hooks_broken"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.ends_with("hooks/first/plugin.toml: `plugin.kind` is of plugins, and not of hooks"), "{status}");
}
