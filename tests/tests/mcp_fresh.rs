//! `palisade serve` while files change: what is new comes through the user's state, and the workspace only takes away.

use palisade_tests::stdio::Server;
use palisade_tests::{World, example, guest, mcp_fixture, until};
use serde_json::json;

const CHANGED: &str = "notifications/tools/list_changed";

fn serve(world: &World, flags: &[&str]) -> Server {
    Server::start(world, &[&["--profile", "trusted"], flags, &["serve"]].concat())
}

#[test]
fn a_plugin_that_is_added_granted_or_removed_appears_and_goes_while_it_is_served() {
    let world = World::new();
    let mut server = serve(&world, &[]);
    assert_eq!(server.tools(), [] as [String; 0]);
    let stats = example("text-stats").display().to_string();
    world.palisade(&["plugin", "add", &stats]).expect(0);
    server.hears(CHANGED);
    assert_eq!(server.tools(), ["text-stats__count", "text-stats__count-file"]);
    assert!(server.call("text-stats__count", &json!({"text": "a b"})).contains("\"words\":2"));
    // One that needs a grant is there with it, and keeps what it kept.
    let notes = example("notes").display().to_string();
    world.palisade(&["plugin", "add", &notes, "--yes"]).expect(0);
    server.hears(CHANGED);
    assert_eq!(server.call("notes__add", &json!({"title": "a", "text": "kept"})), "kept `a`");
    world.palisade(&["plugin", "revoke", "notes"]).expect(0);
    server.hears(CHANGED);
    assert_eq!(server.call("notes__read", &json!({"title": "a"})), "notes/read was denied by the rule grant (denial 1)");
    world.palisade(&["plugin", "remove", "text-stats"]).expect(0);
    server.hears(CHANGED);
    assert_eq!(server.tools(), [] as [String; 0]);
    // Numbers and log go on.
    assert_eq!(server.call("notes__read", &json!({"title": "a"})), "notes/read was denied by the rule grant (denial 2)");
    server.close();
    world.palisade(&["audit", "verify"]).expect(0);
}

#[test]
fn an_external_server_that_is_accepted_or_removed_appears_and_goes_while_others_run_on() {
    let world = World::new();
    let entry = |name: &str| format!("[mcp.{name}]\ncommand = \"{}\"\nargs = [\"good\"]\n", mcp_fixture().display());
    world.user_config(&format!("profile = \"trusted\"\n{}{}", entry("first"), entry("second")));
    world.palisade(&["mcp", "accept", "first", "--yes"]).expect(0);
    let mut server = serve(&world, &[]);
    let process = server.call("first__environment", &json!({}));
    assert!(server.tools().iter().all(|name| name.starts_with("first__")));
    world.palisade(&["mcp", "accept", "second", "--yes"]).expect(0);
    server.hears(CHANGED);
    assert!(server.tools().iter().any(|name| name.starts_with("second__")));
    assert_eq!(server.call("second__echo", &json!({"text": "a"})), "a");
    assert_eq!(server.call("first__environment", &json!({})), process);
    world.palisade(&["mcp", "remove", "first"]).expect(0);
    server.hears(CHANGED);
    assert_eq!(server.call("first__echo", &json!({"text": "a"})), "first/echo was denied by the rule grant (denial 1)");
    assert_eq!(server.call("second__echo", &json!({"text": "a"})), "a");
    server.close();
}

#[test]
fn what_a_workspace_changes_while_it_is_served_only_takes_away() {
    let world = World::new();
    world.plugin_at("workspace/plugins", "guest", &guest("guest"), "");
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n[deny]\nnames = [\"guest/echo\"]\n[limits]\narguments = 60\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    let stats = example("text-stats").display().to_string();
    let mut server = serve(&world, &["--plugin", &stats]);
    let tools = server.tools();
    assert!(tools.contains(&"guest__counter".to_owned()) && !tools.contains(&"guest__echo".to_owned()), "{tools:?}");
    // A changed file ends the trust; the deny that it took away stays, and the user's own goes on.
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    server.hears(CHANGED);
    assert_eq!(server.tools(), ["text-stats__count", "text-stats__count-file"]);
    assert_eq!(server.call("guest__counter", &json!({})), "guest/counter was denied by the rule trust (denial 1)");
    assert_eq!(server.call("guest__echo", &json!({"text": "a"})), "guest/echo was denied by the rule deny-name (denial 2)");
    let long = json!({"text": "a".repeat(60)});
    let denied = server.call("text-stats__count", &long);
    assert!(denied.contains("denied by the rule arguments") && denied.contains("the limit is"), "{denied}");
    // A file that cannot be read takes away as well, and one that denies does so at once.
    world.write("workspace/palisade.toml", "[deny]\nnames = [\"count\"]\n");
    server.hears(CHANGED);
    assert_eq!(server.tools(), ["text-stats__count-file"]);
    world.write("workspace/palisade.toml", "");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(server.tools(), ["text-stats__count-file"]);
    // What is new comes through the user's state: trust that is recorded now.
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    server.hears(CHANGED);
    let tools = server.tools();
    assert!(tools.contains(&"guest__echo".to_owned()) && tools.contains(&"text-stats__count".to_owned()), "{tools:?}");
    // Broken, it takes its sources with it and leaves the user's.
    world.write("workspace/palisade.toml", "grants = [\"a\"]\n");
    server.hears(CHANGED);
    assert_eq!(server.tools(), ["text-stats__count", "text-stats__count-file"]);
    assert_eq!(server.call("guest__counter", &json!({})), "guest/counter was denied by the rule trust (denial 4)");
}

#[test]
fn a_plugin_of_a_flag_is_loaded_again_when_it_changes_and_one_in_a_users_folder_waits_for_a_yes() {
    let world = World::new();
    let flagged = world.plugin_at("flagged", "flagged", &guest("guest"), "");
    world.plugin_at("own", "owned", &guest("guest"), "");
    world.user_config(&format!("[plugins]\ndirs = [\"{}\"]\n", world.path("own").display()));
    let mut server = serve(&world, &["--plugin", flagged.to_str().unwrap()]);
    assert_eq!(server.call("flagged__counter", &json!({})), "1");
    assert_eq!(server.call("owned__counter", &json!({})), "1");
    world.plugin_at("flagged", "flagged", &std::fs::read(example("text-stats").join("text-stats.wasm")).unwrap(), "");
    server.hears(CHANGED);
    assert!(server.call("flagged__count", &json!({"text": "a b"})).contains("\"words\":2"));
    // Other bytes under the name of one that was there, and one that was not.
    world.plugin_at("own", "owned", &guest("guest"), "[limits]\ntime = \"9s\"\n");
    world.plugin_at("own", "other", &guest("guest"), "");
    server.hears(CHANGED);
    let pinned = server.call("owned__counter", &json!({}));
    assert_eq!(pinned, "owned/counter was denied by the rule pin (denial 1)");
    assert_eq!(server.call("other__counter", &json!({})), "other/counter was denied by the rule pin (denial 2)");
    // Broken, it is set aside alone.
    world.write("flagged/flagged/plugin.toml", "nonsense");
    server.hears(CHANGED);
    assert_eq!(server.tools(), [] as [String; 0]);
}

#[test]
fn a_workspace_that_cannot_be_read_any_more_holds_up_nothing_of_the_users() {
    let world = World::new();
    world.write("workspace/palisade.toml", "[deny]\nnames = [\"count-file\"]\n");
    world.write("workspace/palisade.lock", "");
    let stats = example("text-stats").display().to_string();
    let mut server = serve(&world, &["--plugin", &stats]);
    assert_eq!(server.tools(), ["text-stats__count"]);
    for broken in ["workspace/palisade.toml", "workspace/palisade.lock"] {
        world.write("workspace/palisade.toml", "");
        world.write(broken, "nonsense");
        // What the user takes away now is taken away, and what the workspace took away stays so.
        world.user_config("[deny]\nnames = [\"count\"]\n");
        server.hears(CHANGED);
        assert_eq!(server.tools(), [] as [String; 0], "{broken}");
        assert_eq!(
            server.call("text-stats__count", &json!({"text": "a"})).split(" (").next(),
            Some("text-stats/count was denied by the rule deny-name")
        );
        world.user_config("");
        server.hears(CHANGED);
        assert_eq!(server.tools(), ["text-stats__count"], "{broken}");
    }
}

#[test]
fn a_tool_that_is_withdrawn_while_a_guard_thinks_does_not_run() {
    let world = World::new();
    let guard = world.plugin_at("hooks", "second", &guest("hook_second"), "");
    let slow = "[limits]\nhook_time = \"50s\"\ntime = \"60s\"\n";
    world.user_config(&format!("{slow}[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n", guard.display()));
    let stats = example("text-stats");
    let component = std::fs::read(stats.join("text-stats.wasm")).unwrap();
    world.plugin_at("workspace/plugins", "stats", &component, "");
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"plugins\"]\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["--profile", "trusted", "serve"]);
    assert!(server.call("stats__count", &json!({"text": "a"})).contains("\"words\""));
    let asked = server.send("tools/call", &json!({"name": "stats__count", "arguments": {"text": "second:wait"}}));
    world.plugin_at("workspace/plugins", "stats", &component, "description = \"another\"\n");
    server.hears("notifications/tools/list_changed");
    let answer = server.answer(asked).unwrap();
    let text = answer["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("stats/count was denied by the rule trust"), "{answer}");
    server.close();
}

/// Whether a process runs that was started with this word.
fn runs(word: &str) -> bool {
    let commands = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.into_iter().any(|command| command.split(|byte| *byte == 0).any(|one| one == word.as_bytes()))
}

#[test]
fn what_changes_while_a_server_starts_is_noticed_and_loaded_once() {
    let world = World::new();
    // It starts as long as this waits: for a file that is too deep for anybody to look at it.
    world.write("package/a/b/c/none", "");
    let script = world.write("package/wait.sh", "until [ -e \"${0%/*}/a/b/c/go\" ]; do sleep 0.05; done\n");
    let hook = json!([{"type": "command", "command": "/bin/sh \"${CLAUDE_PLUGIN_ROOT}/wait.sh\""}]);
    world.write("package/hooks/hooks.json", json!({"hooks": {"SessionStart": [{"hooks": hook}]}}).to_string());
    let package = world.path("package").display().to_string();
    let listed = world.palisade(&["--format", "json", "hook", "list", "--from", &package]).expect(0).json();
    let (argv, digest) = (&listed["entries"][0]["argv"], &listed["entries"][0]["digest"]);
    world.user_config(&format!(
        "[limits]\nhook_time = \"50s\"\ntime = \"60s\"\n[[hooks]]\nfrom = \"{package}\"\nallow = [{{ argv = {argv}, digest = {digest} }}]\n"
    ));
    let errors = world.path("errors");
    let mut command = world.command(&["--profile", "trusted", "serve"]);
    command.stderr(std::fs::File::create(&errors).unwrap());
    let mut server = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("the hook runs", || runs(script.to_str().unwrap()));
            world.palisade(&["plugin", "add", &example("text-stats").display().to_string()]).expect(0);
            world.write("package/a/b/c/go", "");
        });
        Server::of(command)
    });
    server.hears(CHANGED);
    assert_eq!(server.tools(), ["text-stats__count", "text-stats__count-file"]);
    // Three more looks.
    std::thread::sleep(std::time::Duration::from_secs(3));
    server.close();
    let told = std::fs::read_to_string(errors).unwrap();
    assert_eq!(told.matches("files changed").count(), 1, "{told}");
}

#[test]
fn a_client_that_began_with_what_was_there_before_is_told() {
    let world = World::new();
    let errors = world.path("errors");
    let mut command = world.command(&["--profile", "trusted", "serve"]);
    command.stderr(std::fs::File::create(&errors).unwrap());
    let mut server = Server::greeted(command);
    world.palisade(&["plugin", "add", &example("text-stats").display().to_string()]).expect(0);
    until("it is loaded", || std::fs::read_to_string(&errors).unwrap().contains("files changed"));
    server.initialized();
    server.hears(CHANGED);
    server.close();
}
