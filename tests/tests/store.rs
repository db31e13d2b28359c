//! The key-value store: a source sees its own, within its bounds, and nothing that was acknowledged is lost.

use palisade_tests::stdio::Server;
use palisade_tests::{Answer, World, example, guest};
use serde_json::{Value, json};

const ASKS: &str = "[capabilities]\nstore = true\n";

fn text(answer: Answer) -> String {
    let record = answer.expect(0).json();
    record["content"][0]["text"].as_str().expect("text").to_owned()
}

/// Calls a tool of the plugin `name`, made of the store guest, with its store.
fn call(world: &World, name: &str, tool: &str, arguments: Value) -> Answer {
    let (grant, id) = (format!("{name}:store"), format!("{name}/{tool}"));
    world.trusted(&["--grant", &grant, "call", &id, &arguments.to_string()])
}

fn hoard(name: &str, manifest: &str) -> World {
    let world = World::new();
    world.plugin(name, &guest("store"), &format!("{ASKS}{manifest}"));
    world
}

#[test]
fn notes_are_kept_from_one_process_to_the_next_and_nothing_else_is_there() {
    let world = World::new();
    let plugin = example("notes").display().to_string();
    let notes = |tool: &str, arguments: Value| {
        let (id, arguments) = (format!("notes/{tool}"), arguments.to_string());
        let flags = ["--profile", "trusted", "--format", "json", "--plugin", &plugin, "--grant", "notes:store"];
        world.palisade(&[&flags[..], &["call", &id, &arguments]].concat())
    };
    let titles = |answer: Answer| answer.expect(0).json()["content"][0]["value"].clone();
    // To look makes nothing.
    assert_eq!(titles(notes("list", json!({}))), json!({"titles": [], "truncated": false}));
    assert!(!world.path("data/palisade/stores").exists());
    assert_eq!(text(notes("add", json!({"title": "b", "text": "second"}))), "kept `b`");
    assert_eq!(text(notes("add", json!({"title": "a", "text": "first"}))), "kept `a`");
    assert_eq!(titles(notes("list", json!({}))), json!({"titles": ["a", "b"], "truncated": false}));
    assert_eq!(text(notes("read", json!({"title": "a"}))), "first");
    let again = notes("add", json!({"title": "a", "text": "other"})).expect(4).json();
    assert_eq!(again["error"]["message"], "there is a note `a` already; choose another title");
    let kept: Vec<String> = world.files().into_iter().filter(|f| f.starts_with("data/palisade/")).collect();
    assert!(kept.len() == 1 && kept[0].starts_with("data/palisade/stores/") && kept[0].ends_with(".redb"), "{kept:?}");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(world.path(&kept[0])).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn without_a_grant_or_without_asking_nothing_of_it_runs() {
    let world = hoard("hoard", "");
    let denied = world.trusted(&["call", "hoard/put", r#"{"key": "a", "bytes": 1}"#]).expect(3).json();
    let denial = &denied["denial"];
    assert_eq!(denial["rule"], "grant");
    assert_eq!(denial["reason"], "hoard needs store, which nobody granted");
    assert_eq!(denial["remedy"], "--grant hoard:store");
    assert_eq!(text(call(&world, "hoard", "put", json!({"key": "a", "bytes": 1}))), "set");
    world.plugin("quiet", &guest("store"), "");
    let denied = call(&world, "quiet", "put", json!({"key": "a", "bytes": 1})).expect(3).json();
    assert_eq!(denied["denial"]["reason"], "quiet needs store, which its plugin.toml does not ask for");
    assert_eq!(denied["denial"]["remedy"], Value::Null);
}

#[test]
fn a_plugin_sees_its_own_store_and_not_that_of_another_even_under_its_name() {
    let world = hoard("hoard", "");
    let put = |key: &str| json!({"key": key, "bytes": 7});
    let plugin = world.path("plugins/hoard").display().to_string();
    let added = ["--grant", "hoard:store", "plugin", "add", &plugin];
    world.palisade(&[&["--profile", "trusted", "--format", "json"][..], &added].concat()).expect(0);
    let own = |tool: &str, key: &str| {
        let arguments = if tool == "put" { put(key) } else { json!({"key": key}) };
        let (id, arguments) = (format!("hoard/{tool}"), arguments.to_string());
        world.palisade(&["--profile", "trusted", "--format", "json", "call", &id, &arguments])
    };
    assert_eq!(text(own("put", "mine")), "set");
    // The same bytes, the same name and a grant, but from a flag; two of one name would set both aside.
    let flagged = |tool: &str, key: &str| {
        let arguments = json!({"key": key}).to_string();
        let mut command = world.command(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "--grant", "hoard:store"]);
        command.args(["call", &format!("hoard/{tool}"), &arguments]).env("XDG_DATA_HOME", world.path("data"));
        palisade_tests::answer(command)
    };
    let registry = world.path("data/palisade/plugins/installed.json");
    let aside = world.path("data/palisade/aside");
    std::fs::rename(&registry, &aside).unwrap();
    assert_eq!(text(flagged("size", "mine")), "none");
    // A workspace that names one of this name, and is trusted.
    world.plugin_at("workspace/plugins", "hoard", &guest("store"), ASKS);
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    assert_eq!(text(own("size", "mine")), "none");
    assert_eq!(text(own("put", "theirs")), "set");
    world.palisade(&["trust", "--revoke"]).expect(0);
    std::fs::remove_file(world.path("workspace/palisade.toml")).unwrap();
    std::fs::rename(&aside, &registry).unwrap();
    assert_eq!((text(own("size", "mine")), text(own("size", "theirs"))), ("7".to_owned(), "none".to_owned()));
    // What it kept goes with it.
    let removed = world.palisade(&["--format", "json", "plugin", "remove", "hoard"]).expect(0).json();
    assert_eq!(removed, json!({"removed": "hoard", "store_removed": true}));
    world.palisade(&[&["--profile", "trusted"][..], &added].concat()).expect(0);
    assert_eq!(text(own("size", "mine")), "none");
}

#[test]
fn keys_values_and_the_whole_are_bounded_and_to_remove_makes_room() {
    let limits = "[limits]\nstore_key = 8\nstore_value = 100\nstore_bytes = 250\nstore_keys = 3\n";
    let world = hoard("hoard", limits);
    let put = |key: &str, bytes: u32| call(&world, "hoard", "put", json!({"key": key, "bytes": bytes}));
    let refused = |answer: Answer| answer.expect(4).json()["error"]["message"].as_str().expect("a message").to_owned();
    assert_eq!(refused(put("", 1)), "the key is empty or too long for the store");
    assert_eq!(refused(put("123456789", 1)), "the key is empty or too long for the store");
    assert_eq!(refused(put("a", 101)), "the value is too large for the store");
    assert_eq!((text(put("12345678", 100)), text(put("b", 100))), ("set".to_owned(), "set".to_owned()));
    assert_eq!(refused(put("c", 41)), "the store is full");
    assert_eq!(text(put("c", 40)), "set");
    assert_eq!(refused(put("d", 0)), "the store is full");
    assert_eq!(refused(put("c", 41)), "the store is full");
    assert_eq!(text(put("b", 50)), "set");
    assert_eq!(text(put("c", 90)), "set");
    assert_eq!(text(call(&world, "hoard", "remove", json!({"key": "b"}))), "true");
    assert_eq!(text(call(&world, "hoard", "remove", json!({"key": "b"}))), "false");
    assert_eq!(text(put("d", 50)), "set");
    // Lowered below what is there, it still gives back and takes away.
    world.write("workspace/palisade.toml", "[limits]\nstore_bytes = 20\n");
    assert_eq!(text(call(&world, "hoard", "size", json!({"key": "c"}))), "90");
    assert_eq!(text(put("c", 60)), "set");
    assert_eq!(refused(put("c", 61)), "the store is full");
}

#[test]
fn a_store_that_is_damaged_or_not_this_users_alone_is_left_as_it_is_and_the_operator_reads_why() {
    use std::os::unix::fs::PermissionsExt;
    let world = hoard("hoard", "");
    assert_eq!(text(call(&world, "hoard", "put", json!({"key": "a", "bytes": 9}))), "set");
    let file = world.files().into_iter().find(|f| f.ends_with(".redb")).unwrap();
    let path = world.path(&file);
    let fails = |why: &str| {
        let answer = call(&world, "hoard", "size", json!({"key": "a"})).expect(4);
        assert_eq!(answer.json()["error"]["message"], "the store cannot be used");
        assert!(answer.stderr.contains(&format!("its store {} cannot be used: {why}", path.display())), "{}", answer.stderr);
        assert!(!answer.stdout.contains(".redb"), "{}", answer.stdout);
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    fails("it is not a file of this user alone");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[..64].fill(0);
    std::fs::write(&path, &damaged).unwrap();
    fails("");
    assert_eq!(std::fs::read(&path).unwrap(), damaged, "it is left as it is");
    std::fs::write(&path, &sound).unwrap();
    assert_eq!(text(call(&world, "hoard", "size", json!({"key": "a"}))), "9");
    let elsewhere = world.path("elsewhere.redb");
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    fails("");
}

fn serve(world: &World) -> Server {
    let plugins = world.path("plugins").display().to_string();
    Server::start(world, &["--profile", "trusted", "--plugin-dir", &plugins, "--grant", "hoard:store", "serve"])
}

/// Adds one to the number; what it then was.
fn count(server: &mut Server) -> Option<u64> {
    let answer = server.ask("tools/call", &json!({"name": "hoard__count", "arguments": {"key": "number"}}))?;
    let text = answer["content"][0]["text"].as_str().expect("an answer is text");
    Some(text.parse().unwrap_or_else(|_| panic!("{answer}")))
}

/// Kills of each run; `make kills` does more.
const KILLS: u32 = 12;

/// Counts in a server until it is killed, at another moment for each `kill`; how often it was answered.
fn count_until_killed(world: &World, kill: u32) -> u64 {
    let mut server = serve(world);
    let id = rustix::process::Pid::from_child(&server.child);
    // In the middle of a transaction, a commit, the opening of the store.
    let wait = std::time::Duration::from_micros(u64::from(kill) * 7919 % 40_000);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(wait);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
    });
    let (mut acknowledged, mut last) = (0, 0);
    while let Some(sum) = count(&mut server) {
        assert!(sum > last, "a number that was {last} is {sum}");
        (acknowledged, last) = (acknowledged + 1, sum);
    }
    killer.join().expect("it kills");
    acknowledged
}

#[test]
fn two_hosts_at_once_and_one_killed_again_and_again_lose_nothing_that_was_acknowledged() {
    let kills = std::env::var("PALISADE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let world = hoard("hoard", "");
    let done = std::sync::atomic::AtomicBool::new(false);
    let (beside, steady) = std::thread::scope(|scope| {
        let steady = scope.spawn(|| {
            let mut server = serve(&world);
            let (mut counted, mut last) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let sum = count(&mut server).expect("nobody kills this one");
                assert!(sum > last, "a number that was {last} is {sum}");
                (counted, last) = (counted + 1, sum);
            }
            counted
        });
        let beside: u64 = (0..kills).map(|kill| count_until_killed(&world, kill)).sum();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        (beside, steady.join().expect("it counted"))
    });
    // With nobody else there, each start finds what a sudden end left.
    let alone: u64 = (0..kills).map(|kill| count_until_killed(&world, kill)).sum();
    let sum = count(&mut serve(&world)).expect("it answers") - 1;
    let (acknowledged, unknown) = (steady + beside + alone, u64::from(2 * kills));
    println!("2 x {kills} kills; {steady}, {beside} and {alone} acknowledged, {unknown} unanswered, the sum is {sum}");
    // What was not answered may be there or not.
    assert!(steady > 0 && sum >= acknowledged && sum <= acknowledged + unknown, "{sum} of {acknowledged} and {unknown}");
    let left: Vec<String> = world.files().into_iter().filter(|f| f.contains("stores/") && !f.ends_with(".redb")).collect();
    assert!(left.is_empty(), "{left:?}");
    world.palisade(&["audit", "verify"]).expect(0);
}
