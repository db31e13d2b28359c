//! Plugins that were added: copied, pinned, updated after a yes, gone back to, removed.

use palisade_tests::{Answer, World, guest};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

const READS: &str = "fs = [{ path = \"@workspace\", access = \"read\", why = \"reads\" }]\n";
const HOME: &str = "env = [{ name = \"HOME\", why = \"says where you live\" }]\n";

/// A plugin folder of this version, with these capabilities.
fn version(world: &World, version: &str, capabilities: &str) -> String {
    let folder = world.plugin_at(version, "guest", &guest("guest"), &format!("[capabilities]\n{capabilities}"));
    let manifest = std::fs::read_to_string(folder.join("plugin.toml")).unwrap().replace("0.1.0", version);
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    folder.display().to_string()
}

fn world() -> World {
    let world = World::new();
    world.write("workspace/inside.txt", "inside");
    world
}

fn json(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--profile", "trusted", "--format", "json"], args].concat())
}

fn read(world: &World) -> Answer {
    json(world, &["call", "guest/read", r#"{"path":"inside.txt"}"#])
}

fn rule(answer: Answer) -> Value {
    answer.expect(3).json()["denial"]["rule"].clone()
}

#[test]
fn an_added_plugin_is_a_copy_to_which_nothing_is_granted_without_a_yes() {
    let world = world();
    let folder = version(&world, "0.1.0", READS);
    let added = json(&world, &["plugin", "add", &folder]).expect(0);
    assert_eq!((&added.json()["added"], &added.json()["granted"]), (&json!("guest"), &json!([])));
    assert!(added.stderr.contains("  asks for fs:read:@workspace\n") && added.stderr.contains("  imports wasi:"), "{}", added.stderr);
    let denied = read(&world).expect(3).json();
    assert_eq!((&denied["denial"]["rule"], &denied["denial"]["remedy"]), (&json!("grant"), &json!("--grant guest:fs:read:@workspace")));
    let typed = ["--grant", "guest:fs:read:@workspace", "call", "guest/read", r#"{"path":"inside.txt"}"#];
    assert_eq!(json(&world, &typed).expect(0).json()["content"][0]["text"], "inside");
    assert_eq!(json(&world, &["plugin", "add", &folder]).expect(2).error()["message"], "guest was added before");
    // The copy is what runs.
    std::fs::remove_dir_all(&folder).unwrap();
    json(&world, &["plugin", "grant", "guest", "fs:read:@workspace", "--yes"]).expect(0);
    assert_eq!(read(&world).expect(0).json()["content"][0]["text"], "inside");
    // Without a trusted profile it does not run.
    assert_eq!(rule(world.palisade(&["--format", "json", "call", "guest/counter"])), "trust");
    json(&world, &["plugin", "remove", "guest"]).expect(0);
    assert_eq!(read(&world).expect(6).error()["kind"], "not-found");
    let left = world.files().into_iter().filter(|f| f.starts_with("data/palisade/plugins/guest"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    assert!(!std::fs::read_to_string(world.path("state/palisade/grants.json")).unwrap().contains("guest@"));
}

#[test]
fn an_added_plugin_whose_bytes_changed_in_the_store_is_denied_by_its_pin() {
    let world = world();
    let folder = version(&world, "0.1.0", READS);
    json(&world, &["plugin", "add", &folder, "--yes"]).expect(0);
    read(&world).expect(0);
    let stored = world.files().into_iter().find(|f| f.starts_with("data/") && f.ends_with("plugin.toml")).unwrap();
    let stored = world.path(&stored);
    let before = std::fs::read_to_string(&stored).unwrap();
    std::fs::write(&stored, format!("{before}# one more line\n")).unwrap();
    let denied = read(&world).expect(3).json();
    assert_eq!(denied["denial"]["rule"], "pin");
    assert!(denied["denial"]["source"].as_str().unwrap().ends_with("plugins/installed.json:2"), "{denied}");
    // Also for a grant of this command line.
    let typed = ["--grant", "guest:fs:read:@workspace", "call", "guest/read", r#"{"path":"inside.txt"}"#];
    assert_eq!(rule(json(&world, &typed)), "pin");
    std::fs::write(&stored, before).unwrap();
    read(&world).expect(0);
}

#[test]
fn an_update_that_asks_for_more_waits_for_a_yes_and_can_be_taken_back() {
    let world = world();
    let (old, new) = (version(&world, "0.1.0", READS), version(&world, "0.2.0", &format!("{READS}{HOME}")));
    json(&world, &["plugin", "add", &old, "--yes"]).expect(0);
    let answer = json(&world, &["plugin", "update", "guest", &new]).expect(2);
    assert_eq!(answer.stdout, "");
    let last = answer.stderr.lines().last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["message"], "there is no terminal to ask on; nothing was recorded; guest 0.1.0 keeps running");
    assert!(answer.stderr.contains("  + asks for env:HOME\n"), "{}", answer.stderr);
    let running = || json(&world, &["plugin", "list"]).expect(0).json()["plugins"][0]["version"].clone();
    assert_eq!(running(), "0.1.0");
    read(&world).expect(0);
    let updated = json(&world, &["plugin", "update", "guest", &new, "--yes"]).expect(0).json();
    assert_eq!((&updated["updated"], &updated["differences"]), (&json!(true), &json!(["+ asks for env:HOME"])));
    assert_eq!(running(), "0.2.0");
    read(&world).expect(0);
    let home = json(&world, &["call", "guest/environment"]).expect(0).json()["content"][0]["text"].clone();
    assert_eq!(home, format!("HOME={}", world.path("home").display()));
    json(&world, &["plugin", "rollback", "guest", "--yes"]).expect(0);
    assert_eq!(running(), "0.1.0");
    read(&world).expect(0);
    assert_eq!(json(&world, &["call", "guest/environment"]).expect(0).json()["content"][0]["text"], "");
}

#[test]
fn only_regular_files_inside_its_folder_are_added() {
    let world = world();
    let folder = version(&world, "0.1.0", "");
    let component = world.path("0.1.0/guest/guest.wasm");
    std::fs::rename(&component, world.path("elsewhere.wasm")).unwrap();
    symlink(world.path("elsewhere.wasm"), &component).unwrap();
    let error = json(&world, &["plugin", "add", &folder, "--yes"]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("symbolic link"), "{error}");
    let manifest = world.path("0.1.0/guest/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("\"guest.wasm\"", "\"../../elsewhere.wasm\"");
    std::fs::write(&manifest, text).unwrap();
    json(&world, &["plugin", "add", &folder, "--yes"]).expect(7);
    assert!(!world.path("data/palisade/plugins/installed.json").exists());
}

#[test]
fn a_typed_grant_is_recorded_with_the_plugin_it_names_and_is_the_only_one() {
    let world = world();
    let folder = version(&world, "0.1.0", &format!("{READS}{HOME}"));
    let added = json(&world, &["--grant", "guest:fs:read:@workspace", "plugin", "add", &folder]).expect(0).json();
    assert_eq!(added["granted"].as_array().unwrap().len(), 1, "{added}");
    let kept = std::fs::read_to_string(world.path("state/palisade/grants.json")).unwrap();
    assert!(kept.contains(":fs:read:@workspace") && !kept.contains("env:HOME"), "{kept}");
}

#[test]
fn what_can_send_what_it_reads_is_marked_where_a_person_decides() {
    let world = world();
    let net = "net = [{ url = \"https://example.com\", why = \"sends\" }]\n";
    for (version_number, capabilities, marked) in
        [("0.1.0", format!("{READS}{net}"), true), ("0.2.0", READS.to_owned(), false), ("0.3.0", net.to_owned(), false)]
    {
        let folder = version(&world, version_number, &capabilities);
        let answer = json(&world, &["plugin", "add", &folder]).expect(0);
        assert_eq!(answer.stderr.contains("CAN SEND WHAT IT READS"), marked, "{}", answer.stderr);
        json(&world, &["plugin", "remove", "guest"]).expect(0);
    }
}

#[test]
fn there_is_nothing_before_the_first_version_and_nothing_of_what_was_never_added() {
    let world = world();
    let folder = version(&world, "0.1.0", "");
    json(&world, &["plugin", "add", &folder]).expect(0);
    for args in [["plugin", "rollback", "guest", "--yes"], ["plugin", "rollback", "other", "--yes"], ["plugin", "remove", "other", "--yes"]]
    {
        assert_eq!(json(&world, &args).expect(6).error()["kind"], "not-found", "{args:?}");
    }
}
