//! Trust and grants that last: recorded by a yes, bound to exact bytes, ended by any change.

use palisade::config::{Home, Options, Settings};
use palisade::{Host, LoadOptions};
use palisade_tests::{Answer, World, binary, guest};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};

const READS: &str = "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"reads what you name\" }]\n";

/// A workspace that names a plugin which needs to read it.
fn workspace() -> World {
    let world = World::new();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.write("workspace/inside.txt", "inside");
    world.plugin_at("workspace/plugins", "guest", &guest("guest"), READS);
    world
}

fn json(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json"], args].concat())
}

fn read(world: &World) -> Answer {
    json(world, &["call", "guest/read", r#"{"path":"inside.txt"}"#])
}

fn rule(answer: Answer) -> Value {
    answer.expect(3).json()["denial"]["rule"].clone()
}

#[test]
fn trust_that_was_recorded_activates_and_grants_until_any_file_changes() {
    let world = workspace();
    assert_eq!(rule(read(&world)), "trust");
    let answer = json(&world, &["trust", "--yes"]).expect(0);
    let trusted = answer.json();
    assert_eq!((&trusted["trusted"], &trusted["files"]), (&json!(true), &json!(3)), "{trusted}");
    let grant = trusted["grants"][0].as_str().unwrap();
    assert!(grant.starts_with("guest@sha256:") && grant.ends_with(":fs:read:@workspace"), "{grant}");
    assert!(answer.stderr.contains("  asks for fs:read:@workspace: reads what you name\n"), "{}", answer.stderr);
    // On its own, without a flag and in any profile.
    assert_eq!(read(&world).expect(0).json()["content"][0]["text"], "inside");
    let status = json(&world, &["status"]).expect(0).json();
    assert_eq!((&status["workspace_trust"]["trusted"], &status["workspace_trust"]["changed"]), (&json!(true), &json!([])));
    assert!(status["init"]["plugin_init"]["reason"].as_str().unwrap().starts_with("the trust record activates what palisade.toml:2 names"));
    for (file, content) in [("palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n#\n"), ("plugins/guest/new", ""), (".mcp.json", "{}")] {
        let path = world.path("workspace").join(file);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, content).unwrap();
        assert_eq!(rule(read(&world)), "trust", "{file}");
        let status = json(&world, &["status"]).expect(0).json();
        assert_eq!(status["workspace_trust"]["changed"], json!([file]));
        assert!(status["workspace_trust"]["source"].as_str().unwrap().contains(file), "{status}");
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        read(&world).expect(0);
    }
    let component = world.path("workspace/plugins/guest/guest.wasm");
    std::fs::rename(&component, world.path("elsewhere")).unwrap();
    let status = json(&world, &["status"]).expect(0).json();
    assert_eq!(status["workspace_trust"]["changed"], json!(["plugins/guest/guest.wasm"]), "one that is gone");
    std::fs::rename(world.path("elsewhere"), &component).unwrap();
    let revoked = json(&world, &["trust", "--revoke"]).expect(0).json();
    assert_eq!((&revoked["was_trusted"], &revoked["grants_revoked"]), (&json!(true), &json!(1)));
    assert_eq!(rule(read(&world)), "trust");
}

#[test]
fn without_a_terminal_and_without_yes_the_answer_is_no() {
    let world = workspace();
    let error = json(&world, &["trust"]).expect(2).error();
    assert_eq!(error["message"], "there is no terminal to ask on; nothing was recorded");
    let kept = world.files().into_iter().filter(|f| f.starts_with("state/palisade/trust") || f.contains("grants.json"));
    assert_eq!(kept.collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(rule(read(&world)), "trust");
}

#[test]
fn what_was_granted_with_trust_holds_in_that_workspace_alone() {
    let world = workspace();
    json(&world, &["trust", "--yes"]).expect(0);
    // The same bytes elsewhere, trusted for one command: they ask, and nobody granted.
    let other = world.path("other");
    std::fs::create_dir(&other).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(world.path("workspace/plugins")).arg(&other).status().unwrap();
    assert!(copied.success());
    std::fs::write(other.join("palisade.toml"), "[plugins]\ndirs = [\"plugins\"]\n").unwrap();
    let flags = ["--workspace", other.to_str().unwrap(), "--trust-workspace", "call", "guest/read", r#"{"path":"palisade.toml"}"#];
    let denied = json(&world, &flags).expect(3).json();
    let remedy = format!("palisade --workspace {} trust", other.display());
    assert_eq!((&denied["denial"]["rule"], &denied["denial"]["remedy"]), (&json!("grant"), &json!(remedy)));
    json(&world, &["--workspace", other.to_str().unwrap(), "trust", "--yes"]).expect(0);
    json(&world, &flags).expect(0);
}

#[test]
fn trust_can_be_taken_back_whatever_the_workspace_holds() {
    let world = workspace();
    json(&world, &["trust", "--yes"]).expect(0);
    let before = std::fs::read_to_string(world.path("workspace/palisade.toml")).unwrap();
    std::fs::write(world.path("workspace/palisade.toml"), "no toml").unwrap();
    json(&world, &["trust", "--revoke"]).expect(0);
    std::fs::write(world.path("workspace/palisade.toml"), before).unwrap();
    assert_eq!(rule(read(&world)), "trust");
}

#[test]
fn a_workspace_with_links_in_its_plugins_or_that_others_write_is_not_trusted() {
    let world = workspace();
    symlink("plugin.toml", world.path("workspace/plugins/guest/link")).unwrap();
    let error = json(&world, &["trust", "--yes"]).expect(7).error();
    assert_eq!(error["message"], "the workspace cannot be trusted: plugins/guest/link: it is a symbolic link");
    std::fs::remove_file(world.path("workspace/plugins/guest/link")).unwrap();
    std::fs::set_permissions(world.path("workspace"), PermissionsExt::from_mode(0o777)).unwrap();
    let error = json(&world, &["trust", "--yes"]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("can be written by others"), "{error}");
    assert_eq!(rule(read(&world)), "trust");
}

#[test]
fn a_file_exchanged_after_trust_was_checked_is_not_loaded() {
    let world = workspace();
    json(&world, &["trust", "--yes"]).expect(0);
    let home = Home {
        config: world.path("config/palisade/config.toml"),
        data: world.path("data/palisade"),
        state: world.path("state/palisade"),
        cache: world.path("home/cache"),
        explicit: false,
    };
    let options = Options { workspace: Some(world.workspace()), ..Options::default() };
    let settings = Settings::resolve(&options, home).unwrap();
    assert!(settings.workspace_trust.trusted);
    let manifest = world.path("workspace/plugins/guest/plugin.toml");
    let changed = std::fs::read_to_string(&manifest).unwrap().replace("\"read\"", "\"write\"");
    std::fs::write(&manifest, changed).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let compiler = binary();
    let host = runtime.block_on(Host::load(settings, LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() })).unwrap();
    let reasons: Vec<_> = host.quarantined().iter().map(|q| q.error.message.as_str()).collect();
    assert_eq!(reasons, ["plugins/guest/plugin.toml is not what was trusted"]);
}

#[test]
fn a_plugin_of_the_user_is_granted_what_it_asks_for_and_loses_it_with_its_bytes() {
    let world = World::new();
    world.write("workspace/inside.txt", "inside");
    world.plugin_at("own", "guest", &guest("guest"), READS);
    world.user_config(&format!("profile = \"trusted\"\n[plugins]\ndirs = [\"{}\"]\n", world.path("own").display()));
    assert_eq!(rule(read(&world)), "grant");
    let refused = |capability: &str| json(&world, &["plugin", "grant", "guest", capability, "--yes"]).expect(2).error();
    assert_eq!(refused("env:HOME")["message"], "env:HOME: guest asks for nothing like it");
    assert!(refused("fs:write:@workspace")["message"].as_str().unwrap().contains("may not be written"));
    let error = json(&world, &["plugin", "grant", "guest", "fs:read:@workspace"]).expect(2).error();
    assert_eq!(error["message"], "there is no terminal to ask on; nothing was recorded");
    assert_eq!(rule(read(&world)), "grant");
    // The remedy that the denial names, typed as it stands.
    let remedy = read(&world).expect(3).json()["denial"]["remedy"].clone();
    assert_eq!(remedy, "palisade --profile trusted plugin grant guest fs:read:@workspace");
    let words: Vec<&str> = remedy.as_str().unwrap().split(' ').skip(1).chain(["--yes"]).collect();
    world.palisade(&words).expect(0);
    assert_eq!(read(&world).expect(0).json()["content"][0]["text"], "inside");
    // The same component under another manifest is another plugin.
    let manifest = world.path("own/guest/plugin.toml");
    let before = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{before}\n# one more line\n")).unwrap();
    assert_eq!(rule(read(&world)), "grant");
    std::fs::write(&manifest, &before).unwrap();
    read(&world).expect(0);
    let revoked = json(&world, &["plugin", "revoke", "guest"]).expect(0).json();
    assert_eq!(revoked["revoked"].as_array().unwrap().len(), 1);
    assert_eq!(rule(read(&world)), "grant");
    assert_eq!(json(&world, &["plugin", "revoke", "guest"]).expect(6).error()["kind"], "not-found");
}

#[test]
fn an_undeclared_twin_gets_nothing_even_when_it_is_granted() {
    let world = World::new();
    world.write("workspace/inside.txt", "inside");
    // The same component, whose manifest asks for nothing.
    world.plugin("guest", &guest("guest"), "");
    let answer = world.trusted(&["--grant", "guest:fs:read:@workspace", "call", "guest/read", r#"{"path":"inside.txt"}"#]).expect(4);
    assert_eq!(answer.json()["error"]["kind"], "tool-failed");
    assert!(answer.stderr.contains("matches no request of a plugin that a flag named or that was added"), "{}", answer.stderr);
}

#[test]
fn a_lock_pins_what_plugins_are_and_permits_nothing() {
    let world = workspace();
    json(&world, &["trust", "--yes"]).expect(0);
    let lock = world.palisade(&["plugin", "list", "--lock"]).expect(0).stdout;
    let file = world.path("workspace/palisade.lock");
    std::fs::write(&file, &lock).unwrap();
    read(&world).expect(0);
    // Whatever it says otherwise is a denial that names its line, also where nothing but the lock was changed.
    let lines: Vec<&str> = lock.lines().collect();
    let identity = lines.iter().find(|line| line.starts_with("identity")).unwrap().to_string();
    let cases = [
        (identity.as_str(), format!("identity = \"sha256:{}\"", "0".repeat(64)), "and palisade.lock says sha256:0000"),
        ("version = \"0.1.0\"", "version = \"0.1.1\"".to_owned(), "the version of guest"),
        ("\"read\", ", String::new(), "a tool of guest"),
        ("schemas = \"sha256:", "schemas = \"sha256:0".to_owned(), "a schema of guest"),
        ("imports = [", "imports = [\"evil:host/exec\", ".to_owned(), "an import of guest"),
    ];
    for (from, to, why) in cases {
        assert!(lock.contains(from), "{from}");
        std::fs::write(&file, lock.replacen(from, &to, 1)).unwrap();
        let denied = read(&world).expect(3).json();
        assert_eq!((&denied["denial"]["rule"], &denied["denial"]["source"]), (&json!("pin"), &json!("palisade.lock:3")), "{denied}");
        assert!(denied["denial"]["reason"].as_str().unwrap().contains(why), "{denied}");
    }
    for (text, line) in [
        ("[[plugin]]\nnme = \"x\"\n", 2),
        ("[[plugin]]\nname = \"x\"\nversion = \"1\"\nidentity = \"\"\nimports = []\ntools = []\nschemas = \"\"\n", 4),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = json(&world, &["status"]).expect(7).error();
        assert!(error["message"].as_str().unwrap().starts_with(&format!("palisade.lock:{line}: ")), "{error}");
    }
    // It trusts and grants nothing.
    std::fs::write(&file, &lock).unwrap();
    json(&world, &["trust", "--revoke"]).expect(0);
    assert_eq!(rule(read(&world)), "trust");
}
