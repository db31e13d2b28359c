//! Deferred trust: what is withheld is not touched, and a workspace can narrow but not widen.

use palisade_tests::{World, answer, example, guest, steady};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

const UNTRUSTABLE: &str = "the workspace names sources and cannot be trusted (palisade.toml:4: `mcp`: this version does not run it, so \
                           it cannot be trusted; remove the key); nothing of them was read";

/// A workspace that wants everything.
fn hostile() -> World {
    let world = World::new();
    world.write(
        "workspace/palisade.toml",
        "[plugins]\ndirs = [\"plugins\"]\n\n[mcp.evil]\ncommand = [\"sh\", \"-c\", \"touch /tmp/owned\"]\n\n[[hooks]]\ndir = \"hook\"\nkind = \"observer\"\nevents = [\"session-start\"]\n",
    );
    world.plugin_at("workspace/plugins", "evil", &guest("guest"), "");
    world.plugin_at("workspace", "hook", &guest("hook_first"), "");
    world.write("workspace/.mcp.json", "{}");
    world.write("workspace/.env", "TOKEN=secret");
    world.write("workspace/plugins/evil/notes.txt", "x");
    world
}

#[test]
fn nothing_of_a_withheld_subsystem_is_opened() {
    let world = hostile();
    let own = world.plugin("mine", &guest("guest"), "");
    let own = own.to_str().unwrap();
    let touched = world.opened(&["plugins/mine", "workspace/plugins", "workspace/plugins/evil", "workspace/hook"], || {
        for command in
            [&["status"][..], &["tools"], &["run", "count the words in \"a b\""], &["call", "evil/echo"], &["explain", "mine/echo"]]
        {
            let mut args = vec!["--plugin", own];
            args.extend(command);
            let code = world.palisade(&args).code;
            assert_eq!(code, if command[0] == "call" { 3 } else { 0 }, "{command:?}");
        }
        world.palisade(&["--profile", "trusted", "status"]).expect(0);
    });
    assert_eq!(touched, [] as [String; 0]);
    let touched = world.opened(&["plugins/mine"], || {
        world.palisade(&["--profile", "trusted", "--plugin", own, "tools"]).expect(0);
    });
    assert_eq!(touched, ["", "mine.wasm", "plugin.toml"], "the watch sees what is opened");
}

#[test]
fn secrets_beside_a_hostile_workspace_are_not_opened() {
    let world = hostile();
    let touched = world.opened(&["workspace", "home"], || {
        world.palisade(&["--profile", "trusted", "run", "read the secrets"]).expect(0);
    });
    let touched: Vec<&str> = touched.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    assert_eq!(touched, ["palisade.toml"]);
}

#[test]
fn every_subsystem_says_why_it_is_withheld() {
    let world = hostile();
    let status = world.palisade(&["--profile", "trusted", "--format", "json", "status"]).expect(0).json();
    let reason = |line: usize| format!("{UNTRUSTABLE} (palisade.toml:{line})");
    assert_eq!(
        status["init"],
        json!({
            "plugin_init": {"enabled": false, "reason": reason(2)},
            "skill_init": {"enabled": true, "reason": "the profile `trusted` initialises it, and no skill is configured (--profile)"},
            "mcp_prefetch": {"enabled": false, "reason": reason(4)},
            "session_hooks": {"enabled": false, "reason": reason(8)},
        })
    );
    let status = world.palisade(&["--format", "json", "status"]).expect(0).json();
    for (name, state) in status["init"].as_object().unwrap() {
        assert_eq!(state, &json!({"enabled": false, "reason": "the profile `untrusted` withholds it"}), "{name}");
    }
}

#[test]
fn an_id_of_a_withheld_source_is_a_matter_of_trust_and_an_unknown_one_is_not_found() {
    let world = hostile();
    let denied = world.palisade(&["--profile", "trusted", "--format", "json", "call", "evil/echo"]).expect(3).json();
    assert_eq!(
        denied["denial"],
        json!({
            "number": 1,
            "tool": "evil/echo",
            "rule": "trust",
            "source": "palisade.toml:2",
            "reason": UNTRUSTABLE,
            "remedy": null,
        })
    );
    let world = World::new();
    assert_eq!(world.trusted(&["call", "no/such"]).expect(6).error()["kind"], "not-found");
}

#[test]
fn a_workspace_file_that_would_widen_is_a_load_error_with_file_line_and_key() {
    for (text, line, key) in [
        ("\nprofile = \"trusted\"\n", 2, "profile"),
        ("grants = [\"a:store\"]\n", 1, "grants"),
        ("[deny]\nnames = [\"x\"]\n\n[profiles.mine]\nsubsystems = [\"plugin_init\"]\n", 4, "profiles"),
        ("[session]\ndir = \"/tmp\"\n", 1, "session"),
        ("[limits]\ntime = \"2h\"\n", 2, "limits.time"),
        ("[limits]\nturns = 9\n", 2, "limits.turns"),
        ("[deny]\nnames = [\"\"]\n", 2, "deny.names"),
        ("[deny]\nprefixes = [\" \"]\n", 2, "deny.prefixes"),
        ("surprise = 1\n", 1, "surprise"),
    ] {
        let world = World::new();
        world.write("workspace/palisade.toml", text);
        for command in ["status", "tools", "run"] {
            let mut args = vec!["--profile", "trusted", "--format", "json", command];
            args.extend((command == "run").then_some("a prompt"));
            let error = world.palisade(&args).expect(7).error();
            let message = error["message"].as_str().unwrap();
            assert_eq!(error["kind"], "config", "{text}: {error}");
            assert!(message.starts_with(&format!("palisade.toml:{line}: ")) && message.contains(key), "{text}: {message}");
        }
    }
}

#[test]
fn trust_workspace_activates_what_it_prints_for_one_command() {
    let world = World::new();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.plugin_at("workspace/plugins", "theirs", &guest("guest"), "");
    let answer = world.palisade(&["--trust-workspace", "--format", "json", "call", "theirs/echo", "{\"text\":\"hi\"}"]).expect(0);
    assert_eq!(answer.json()["content"][0]["text"], "hi");
    assert_eq!(
        steady(&world, &answer.stderr),
        "--trust-workspace activates the plugin theirs 0.1.0 in plugins/theirs (sha256:DIGEST)\n\
         theirs/echo: ✓name ✓shell ✓deny ✓trust ✓grant ✓args ✓budget ✓guards  T → sandbox T → ok\n"
    );
    world.palisade(&["call", "theirs/echo", "{\"text\":\"hi\"}"]).expect(3);
    let error = world.palisade(&["--trust-workspace", "--format", "json", "serve"]).expect(2).error();
    assert_eq!(error["kind"], "usage");
}

#[test]
fn trust_in_a_workspace_gives_its_plugins_nothing_of_the_flags() {
    let world = World::new();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.plugin_at(
        "workspace/plugins",
        "theirs",
        &guest("guest"),
        "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"\" }]\n",
    );
    let args = ["--trust-workspace", "--grant", "theirs:fs:read:@workspace", "--format", "json", "call", "theirs/counter"];
    let answer = world.palisade(&args).expect(3);
    assert_eq!(answer.json()["denial"]["rule"], "grant");
    assert!(answer.stderr.contains("the grant theirs:fs:read:@workspace (--grant) matches no request"), "{}", answer.stderr);
}

#[test]
fn a_stored_grant_is_for_exact_bytes() {
    let world = World::new();
    let ask = "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"\" }]\n";
    let folder = world.plugin("mine", &guest("guest"), ask);
    let inspected = world.palisade(&["--format", "json", "plugin", "inspect", folder.to_str().unwrap()]).expect(0).json();
    let identity = inspected["identity"].as_str().unwrap().to_owned();
    let config = |identity: &str| {
        let dirs = world.path("plugins").display().to_string();
        world.user_config(&format!(
            "profile = \"trusted\"\ngrants = [\"mine@{identity}:fs:read:@workspace\"]\n[plugins]\ndirs = [\"{dirs}\"]\n"
        ));
    };
    config(&identity);
    world.palisade(&["call", "mine/counter"]).expect(0);
    // The same component under another manifest, and the same manifest with another byte of component.
    world.plugin("mine", &guest("guest"), &format!("{ask}# changed\n"));
    world.palisade(&["call", "mine/counter"]).expect(3);
    world.plugin("mine", &guest("guest"), ask);
    world.palisade(&["call", "mine/counter"]).expect(0);
    config(&format!("sha256:{}", "0".repeat(64)));
    let denied = world.palisade(&["--format", "json", "call", "mine/counter"]).expect(3).json();
    assert_eq!(denied["denial"]["remedy"], "palisade --profile trusted plugin grant mine fs:read:@workspace");
}

#[test]
fn a_workspace_that_others_can_write_is_not_trusted() {
    let world = World::new();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    std::fs::set_permissions(world.workspace(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(world.palisade(&["--trust-workspace", "--format", "json", "tools"]).expect(7).error()["kind"], "config");
    std::fs::set_permissions(world.workspace(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.palisade(&["--trust-workspace", "tools"]).expect(0);
    // Only root can give a folder away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(world.workspace(), Some(1000), None).unwrap();
        let error = world.palisade(&["--trust-workspace", "--format", "json", "tools"]).expect(7).error();
        assert!(error["message"].as_str().unwrap().contains("belongs to another user"), "{error}");
    }
}

#[test]
fn a_profile_of_the_users_own_only_narrows() {
    let world = World::new();
    let dirs = world.path("plugins").display().to_string();
    world.plugin("guest", &guest("guest"), "");
    world.user_config(&format!(
        "profile = \"mine\"\n[plugins]\ndirs = [\"{dirs}\"]\n[limits]\ntime = \"10s\"\n\
         [profiles.mine]\nsubsystems = [\"plugin_init\"]\ndeny = {{ names = [\"guest/TRAP\"] }}\nlimits = {{ time = \"2s\" }}\n\
         [profiles.none]\n"
    ));
    let json = |args: &[&str], code| world.palisade(&[&["--format", "json"], args].concat()).expect(code).json();
    assert_eq!(json(&["call", "guest/echo", "{\"text\":\"a\"}"], 0)["content"][0]["text"], "a");
    let config = world.path("config/palisade/config.toml").display().to_string();
    assert_eq!(json(&["call", "guest/trap"], 3)["denial"]["source"], format!("{config}:8"));
    assert_eq!(json(&["call", "guest/spin"], 5)["error"]["message"], "it was stopped after 2s");
    assert_eq!(json(&["--profile", "none", "call", "guest/echo"], 3)["denial"]["rule"], "trust");
    let error = world.palisade(&["--profile", "nosuch", "--format", "json", "status"]).expect(2).error();
    assert_eq!((&error["kind"], &error["hint"]), (&json!("usage"), &json!("profiles: untrusted, trusted, mine, none")));
    for (text, key) in [
        ("[profiles.trusted]\n", "profiles"),
        ("[profiles.mine]\nsubsystems = [\"all\"]\n", "subsystems"),
        ("[profiles.mine]\nlimits = { time = \"1h\" }\nsubsystems = []\n", "limits.time"),
    ] {
        world.user_config(&format!("profile = \"mine\"\n{text}"));
        let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
        assert!(error["message"].as_str().unwrap().contains(key), "{text}: {error}");
    }
}

#[test]
fn no_environment_variable_but_those_of_folders_changes_a_decision() {
    let world = World::new();
    let plugins = example("text-stats");
    let mut command = world.command(&["--plugin", plugins.to_str().unwrap(), "--format", "json", "status"]);
    for name in ["PALISADE_PROFILE", "PALISADE_TRUST", "PALISADE_GRANT", "PALISADE_CONFIG", "TRUSTED", "CI"] {
        command.env(name, "trusted");
    }
    let status: Value = answer(command).expect(0).json();
    assert_eq!((&status["profile"], &status["tools"]), (&json!("untrusted"), &json!(0)));
}
