//! Guests that misbehave: each is stopped with its error kind and exit code, and the next call works.

use palisade_tests::{Answer, World, guest, raw};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

/// A world with the guest, whose calls end after half a second.
fn world() -> World {
    let world = World::new();
    world.plugin(
        "guest",
        &guest("guest"),
        "[capabilities]\nfs = [{ path = \"@workspace\", access = \"write\", optional = true, why = \"tests\" }]\n[limits]\ntime = \"500ms\"\n",
    );
    world
}

fn call(world: &World, flags: &[&str], tool: &str, arguments: &Value) -> Answer {
    let (id, arguments) = (format!("guest/{tool}"), arguments.to_string());
    let mut args = flags.to_vec();
    args.extend(["call", &id, &arguments]);
    world.trusted(&args)
}

/// What the record of a stopped call says, after checking that the next call works.
fn stopped(world: &World, tool: &str, arguments: &Value, exit: i32) -> (String, String) {
    let record = call(world, &[], tool, arguments).expect(exit).json();
    assert_eq!((&record["content"], &record["denial"]), (&json!([]), &Value::Null), "{record}");
    let next = call(world, &[], "echo", &json!({"text": "still here"})).expect(0).json();
    assert_eq!(next["content"], json!([{"type": "text", "text": "still here"}]));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let outcome = text(&record["outcome"]);
    let kind = text(&record["error"]["kind"]);
    assert_eq!(outcome, if kind.starts_with("limit") { "limit" } else { "error" });
    (kind, text(&record["error"]["message"]))
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    assert_eq!(stopped(&world(), "spin", &json!({}), 5), ("limit-time".into(), "it was stopped after 500ms".into()));
}

#[test]
fn a_wait_inside_the_host_is_stopped_at_the_deadline() {
    assert_eq!(stopped(&world(), "sleep", &json!({"ms": 60_000}), 5), ("limit-time".into(), "it was stopped after 500ms".into()));
}

#[test]
fn memory_past_the_cap_is_refused() {
    let (kind, message) = stopped(&world(), "grow", &json!({"mib": 200}), 5);
    assert_eq!((kind.as_str(), message.as_str()), ("limit-memory", "it asked for more than 128.0 MiB of memory"));
}

#[test]
fn memory_past_the_cap_is_refused_over_many_memories_too() {
    let world = World::new();
    // Four memories of 48 MiB: each is far below the cap, together they are above it.
    let grow = |name: &str| format!("(drop (memory.grow ${name} (i32.const 768)))");
    let extra = "(memory $a 1) (memory $b 1) (memory $c 1) (memory $d 1)";
    let body = format!("{}{}{}{} (i32.const 1024)", grow("a"), grow("b"), grow("c"), grow("d"));
    world.plugin("many", &raw::component(extra, &body), "");
    world.plugin("two", &raw::component(extra, &format!("{}{} (i32.const 1024)", grow("a"), grow("b"))), "");
    let record = world.trusted(&["call", "many/go"]).expect(5).json();
    assert_eq!(record["error"]["kind"], "limit-memory", "{record}");
    let record = world.trusted(&["call", "two/go"]).expect(0).json();
    assert!(record["stats"]["memory_peak_bytes"].as_u64().unwrap() > 96 << 20, "{record}");
}

#[test]
fn deep_recursion_traps() {
    // A compiled guest runs out of its own stack in memory, one written by hand out of the host's.
    assert_eq!(stopped(&world(), "recurse", &json!({}), 4).0, "trap");
    let world = World::new();
    world.plugin(
        "deep",
        &raw::component(
            "(func $f (param i64) (result i64) (i64.add (call $f (i64.const 1)) (local.get 0)))",
            "(drop (call $f (i64.const 0))) (i32.const 1024)",
        ),
        "",
    );
    let record = world.trusted(&["call", "deep/go"]).expect(4).json();
    assert_eq!(record["error"], json!({"kind": "trap", "message": "the component trapped: wasm trap: call stack exhausted"}));
}

#[test]
fn a_result_of_a_hundred_mebibytes_is_refused_before_it_is_copied() {
    let world = World::new();
    world.plugin("guest", &guest("guest"), "");
    std::fs::create_dir_all(world.path("config/palisade")).unwrap();
    world.user_config("[limits]\nmemory = \"512MiB\"\n");
    // By the bound on what is copied at once; the sum over a result's pieces is checked only after that.
    let stopped = stopped(&world, "huge", &json!({"mib": 100}), 5);
    assert_eq!(stopped, ("limit-output".into(), "it passed more than 4.0 MiB at once".into()));
    let record = call(&world, &[], "huge", &json!({"mib": 1})).expect(0).json();
    assert_eq!(record["content"][0]["text"].as_str().unwrap().len(), 1 << 20);
}

#[test]
fn a_trap_ends_one_call() {
    let (kind, message) = stopped(&world(), "trap", &json!({}), 4);
    assert_eq!((kind.as_str(), message.as_str()), ("trap", "the component trapped: wasm trap: wasm `unreachable` instruction executed"));
}

#[test]
fn an_error_of_the_tool_is_passed_on() {
    let (kind, message) = stopped(&world(), "refuse", &json!({"text": "not \u{1b}[31mtoday\u{202e}"}), 4);
    assert_eq!((kind.as_str(), message.as_str()), ("tool-failed", "not today"));
}

#[test]
fn a_counter_in_a_global_reads_one_on_every_call() {
    let world = world();
    let prompts = ["/guest/counter", "/guest/counter", "/guest/counter"];
    let mut args = vec!["run"];
    args.extend(prompts);
    let run = world.trusted(&args).expect(0).json();
    let outputs: Vec<&Value> = run["turns"].as_array().unwrap().iter().map(|t| &t["output"]).collect();
    assert_eq!(outputs, ["1", "1", "1"]);
    assert_eq!(run["turns"][0]["calls"][0]["stats"]["instance"], "fresh");
}

#[test]
fn environment_and_arguments_are_empty() {
    let world = world();
    for tool in ["environment", "arguments"] {
        let record = call(&world, &[], tool, &json!({})).expect(0).json();
        assert_eq!(record["content"], json!([{"type": "text", "text": ""}]), "{tool}");
    }
}

#[test]
fn a_granted_variable_is_seen_and_no_other() {
    let world = World::new();
    world.plugin(
        "guest",
        &guest("guest"),
        "[capabilities]\nenv = [{ name = \"HOME\", why = \"tests\" }, { name = \"PATH\", optional = true, why = \"tests\" }]\n",
    );
    let denied = call(&world, &[], "environment", &json!({})).expect(3).json();
    assert_eq!((&denied["denial"]["rule"], &denied["denial"]["remedy"]), (&json!("grant"), &json!("--grant guest:env:HOME")));
    let record = call(&world, &["--grant", "guest:env:HOME"], "environment", &json!({})).expect(0).json();
    assert_eq!(record["content"][0]["text"], format!("HOME={}", world.path("home").display()));
}

#[test]
fn paths_do_not_leave_the_grant() {
    let world = world();
    world.write("secret.txt", "secret");
    world.write("workspace/inside.txt", "inside");
    world.write("workspace/sub/deep.txt", "deep");
    symlink("../secret.txt", world.path("workspace/relative")).unwrap();
    symlink(world.path("secret.txt"), world.path("workspace/absolute")).unwrap();
    symlink("..", world.path("workspace/up")).unwrap();
    symlink("inside.txt", world.path("workspace/within")).unwrap();
    let grant = ["--grant", "guest:fs:read:@workspace"];
    let secret = world.path("secret.txt");
    let out = [
        "../secret.txt",
        "sub/../../secret.txt",
        "/workspace/../secret.txt",
        "/secret.txt",
        secret.to_str().unwrap(),
        "/etc/passwd",
        "relative",
        "absolute",
        "up/secret.txt",
        "/proc/self/environ",
    ];
    for path in out {
        let record = call(&world, &grant, "read", &json!({"path": path})).expect(4).json();
        assert_eq!(record["error"]["kind"], "tool-failed", "{path}: {record}");
    }
    for (path, text) in
        [("inside.txt", "inside"), ("sub/../inside.txt", "inside"), ("within", "inside"), ("/workspace/sub/deep.txt", "deep")]
    {
        let record = call(&world, &grant, "read", &json!({"path": path})).expect(0).json();
        assert_eq!(record["content"][0]["text"], text, "{path}");
    }
}

#[test]
fn a_folder_that_was_not_granted_is_not_there_and_the_operator_learns_which() {
    let world = world();
    world.write("workspace/inside.txt", "inside");
    let answer = call(&world, &[], "read", &json!({"path": "inside.txt"})).expect(4);
    assert_eq!(answer.json()["error"]["message"], "No such file or directory (os error 44)");
    assert!(answer.stderr.contains("the optional fs:write:@workspace was not granted, and cannot be: it may not be"), "{}", answer.stderr);
}

#[test]
fn a_read_only_grant_is_not_written() {
    let world = world();
    world.write("workspace/out/a.txt", "as it was");
    let grant = ["--grant", "guest:fs:read:@workspace/out"];
    for path in ["out/a.txt", "out/new.txt", "elsewhere.txt"] {
        let record = call(&world, &grant, "write", &json!({"path": path, "text": "changed"})).expect(4).json();
        assert_eq!(record["error"]["kind"], "tool-failed", "{path}: {record}");
    }
    assert_eq!(std::fs::read_to_string(world.path("workspace/out/a.txt")).unwrap(), "as it was");
    assert_eq!(std::fs::read_dir(world.path("workspace/out")).unwrap().count(), 1);
}

#[test]
fn a_write_grant_is_used_and_reaches_its_folder_alone() {
    let world = world();
    std::fs::create_dir(world.path("workspace/out")).unwrap();
    let grant = ["--grant", "guest:fs:write:@workspace/out"];
    call(&world, &grant, "write", &json!({"path": "out/a.txt", "text": "written by a guest"})).expect(0);
    assert_eq!(std::fs::read_to_string(world.path("workspace/out/a.txt")).unwrap(), "written by a guest");
    call(&world, &grant, "write", &json!({"path": "b.txt", "text": "x"})).expect(4);
    assert!(!world.path("workspace/b.txt").exists());
}

#[test]
fn write_grants_on_what_decides_are_refused() {
    let world = world();
    std::fs::create_dir_all(world.path("workspace/.git/hooks")).unwrap();
    std::fs::create_dir_all(world.path("workspace/repo/.git")).unwrap();
    std::fs::create_dir_all(world.path("workspace/deep/lib/nested/.git")).unwrap();
    std::fs::create_dir_all(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path("workspace/link")).unwrap();
    // Sources that are named and do not count, one of which is not there, and a folder for sessions.
    std::fs::create_dir_all(world.path("workspace/theirs")).unwrap();
    std::fs::create_dir_all(world.path("workspace/parent")).unwrap();
    world.write("workspace/palisade.toml", "[plugins]\ndirs = [\"theirs\", \"parent/later\"]\n");
    std::fs::create_dir_all(world.path("sessions")).unwrap();
    world.user_config(&format!("[session]\ndir = \"{}\"\n", world.path("sessions").display()));
    let sessions = world.path("sessions").display().to_string();
    let plugins = world.path("plugins").display().to_string();
    let home = world.path("home").display().to_string();
    let state = world.path("state/palisade").display().to_string();
    std::fs::create_dir_all(&state).unwrap();
    let refused = [
        "@workspace",
        "@workspace/.git",
        "@workspace/.git/hooks",
        "@workspace/repo",
        "@workspace/deep",
        "@workspace/theirs",
        "@workspace/parent",
        "/",
        &home,
        &plugins,
        &state,
        &sessions,
    ];
    for path in refused {
        let error = call(&world, &["--grant", &format!("guest:fs:write:{path}")], "counter", &json!({})).expect(2).error();
        assert_eq!(error["kind"], "usage", "{path}: {error}");
    }
    // A link in the workspace is not followed: the workspace would choose what is granted.
    let answer =
        call(&world, &["--grant", "guest:fs:write:@workspace/link"], "write", &json!({"path": "link/owned", "text": "x"})).expect(4);
    assert!(
        answer.stderr.contains("the grant guest:fs:write:@workspace/link (--grant) gives nothing: it is a symbolic link"),
        "{}",
        answer.stderr
    );
    assert!(!world.path("elsewhere/owned").exists());
    // The config stays out of reach however it was named.
    let config = world.write("cfg/mine.toml", "");
    let relative = ["--config", "../cfg/mine.toml", "--grant", &format!("guest:fs:write:{}", config.parent().unwrap().display())];
    assert_eq!(call(&world, &relative, "counter", &json!({})).expect(2).error()["kind"], "usage");
    let error = call(&world, &["--grant", &format!("guest:fs:read:{state}")], "counter", &json!({})).expect(2).error();
    assert!(error["message"].as_str().unwrap().contains("Palisade's own folder"), "{error}");
}

#[test]
fn dirty_output_is_cleaned_for_a_model_and_more_for_a_terminal() {
    let world = world();
    let record = call(&world, &[], "ansi", &json!({})).expect(0).json();
    assert_eq!(
        record["content"],
        json!([
            {"type": "text", "text": "abc\u{200b}de"},
            {"type": "json", "value": {"a": "xyz"}},
            {"type": "blob", "mime": "image/png", "base64": "AQID"},
        ])
    );
    let plugins = world.path("plugins").display().to_string();
    let text = world.palisade(&["--profile", "trusted", "--plugin-dir", &plugins, "call", "guest/ansi"]).expect(0);
    assert_eq!(text.stdout, "abcde\n{\n  \"a\": \"xyz\"\n}\n[3 bytes of image/png; --format json prints them]\n");
}

#[test]
fn a_flood_of_log_lines_is_dropped_and_counted() {
    let world = world();
    let answer = call(&world, &[], "chatter", &json!({"lines": 100_000})).expect(0);
    assert!(answer.stderr.contains("guest/chatter info: line 0 red\n"), "{}", &answer.stderr[..400]);
    assert!(answer.stderr.len() < 512 * 1024 && answer.stderr.contains("more log lines found no room"));
}

#[test]
fn definitions_that_loop_or_are_huge_set_their_plugin_aside_and_no_other() {
    let world = World::new();
    world.plugin("loop", &guest("definitions_loop"), "[limits]\ndefinitions_time = \"300ms\"\n");
    world.plugin("huge", &guest("definitions_huge"), "");
    world.plugin(
        "start",
        &raw::component("(func $s (loop (br 0))) (start $s)", "(i32.const 1024)"),
        "[limits]\ndefinitions_time = \"300ms\"\n",
    );
    world.plugin("guest", &guest("guest"), "");
    let status = world.trusted(&["status"]).expect(0).json();
    let reasons: Vec<(String, String)> = status["quarantined"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| (q["source"].as_str().unwrap().to_owned(), q["reason"].as_str().unwrap().to_owned()))
        .collect();
    let of = |source: &str| reasons.iter().find(|(s, _)| s == source).map(|(_, r)| r.as_str()).unwrap_or_default();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(of("loop").contains("its definitions cannot be read (limit-time): it was stopped after 300ms"), "{reasons:?}");
    assert!(of("start").contains("limit-time"), "{reasons:?}");
    assert!(of("huge").contains("limit-output"), "{reasons:?}");
    let error = world.trusted(&["call", "loop/anything"]).expect(6).error();
    assert_eq!(error["kind"], "quarantined");
    assert!(error["message"].as_str().unwrap().contains("(component)"), "{error}");
    call(&world, &[], "counter", &json!({})).expect(0);
}

#[test]
fn a_tool_with_a_bad_definition_is_not_registered_and_its_siblings_are() {
    let world = World::new();
    world.plugin("guest", &guest("definitions_invalid"), "");
    let answer = world.trusted(&["tools", "--all"]).expect(0);
    let tools = answer.json();
    assert_eq!(tools["tools"].as_array().unwrap().len(), 1, "{tools}");
    assert_eq!((&tools["tools"][0]["id"], &tools["tools"][0]["title"]), (&json!("guest/good"), &json!("Title")));
    assert_eq!(tools["tools"][0]["description"], "Good tool\u{200b}.");
    assert!(!answer.stderr.contains('\u{1b}') && !answer.stderr.contains('\u{202e}'), "{}", answer.stderr);
    for (tool, exit, why) in [
        ("bad-schema", 6, "2020-12"),
        ("no-json", 6, "JSON"),
        ("bad-pattern", 6, "the schema is refused"),
        ("remote", 6, "inside it"),
        ("twin", 6, "2 tools with the id guest/twin"),
        ("large", 6, "bytes"),
    ] {
        let error = call(&world, &[], tool, &json!({})).expect(exit).error();
        assert_eq!(error["kind"], "quarantined");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(why) && message.contains("(schema)"), "{tool}: {message}");
    }
    let denied = call(&world, &[], "Bad Name\u{1b}[31m", &json!({})).expect(3).json();
    assert_eq!((&denied["denial"]["rule"], &denied["tool"]), (&json!("name"), &json!("guest/Bad Name")));
    call(&world, &[], "good", &json!({})).expect(0);
}

#[test]
fn reading_definitions_reaches_nothing_and_sees_the_same_every_time() {
    let world = World::new();
    world.write("workspace/file", "x");
    world.plugin(
        "guest",
        &guest("definitions_reach_out"),
        "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"\" }]\nenv = [{ name = \"HOME\", why = \"\" }]\n",
    );
    let plugins = world.path("plugins").display().to_string();
    // A cache of its own each time, or the second would only repeat what the first was told.
    let seen = |cache: &str| {
        let flags = ["--profile", "trusted", "--format", "json", "--plugin-dir", &plugins];
        let grants = ["--grant", "guest:fs:read:@workspace", "--grant", "guest:env:HOME", "tools"];
        let mut command = world.command(&[&flags[..], &grants[..]].concat());
        command.env("XDG_CACHE_HOME", world.path(cache));
        palisade_tests::answer(command).expect(0).json()["tools"][0]["description"].as_str().unwrap().to_owned()
    };
    let (first, second) = (seen("home/one"), seen("home/two"));
    assert_eq!(first, second);
    assert_eq!(seen("home/one"), first, "what is kept is what was given");
    assert!(first.starts_with("files 0 variables 0 seconds 0 random "), "{first}");
}

#[test]
fn a_guest_that_uses_up_tables_or_lies_about_its_result_is_stopped() {
    let world = World::new();
    world.plugin(
        "tables",
        &raw::component("(table $t 1 funcref)", "(drop (table.grow $t (ref.null func) (i32.const 10000000))) (i32.const 1024)"),
        "",
    );
    world.plugin("wild", &raw::component("", "(i32.const 0x7ffffff0)"), "");
    world.plugin(
        "late",
        &raw::component("(func (export \"cabi_post_palisade:plugin/tools@0.1.0#call\") (param i32) (loop (br 0)))", "(i32.const 1024)"),
        "[limits]\ntime = \"300ms\"\n",
    );
    for (id, exit, kind) in [("tables/go", 4, "trap"), ("wild/go", 4, "trap"), ("late/go", 5, "limit-time")] {
        let record = world.trusted(&["call", id]).expect(exit).json();
        assert_eq!(record["error"]["kind"], kind, "{id}: {record}");
    }
}

#[test]
fn a_component_of_the_wrong_types_or_with_foreign_imports_does_not_load() {
    let world = World::new();
    let wrong = raw::component_text(
        r#"(component
            (core module $m (func (export "f") (result i32) i32.const 7))
            (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "f")))
            (instance $tools (export "definitions" (func $f)) (export "call" (func $f)))
            (export "palisade:plugin/tools@0.1.0" (instance $tools)))"#,
    );
    world.plugin("wrong", &wrong, "");
    world.plugin(
        "foreign",
        &raw::component_text(r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)) (import "evil:host/exec" (func)))"#),
        "",
    );
    world.plugin("silent", &raw::component_text("(component)"), "");
    for (name, why) in [
        ("wrong", "does not export palisade:plugin/tools with its types"),
        ("foreign", "imports evil:host/exec: nothing here provides it"),
        ("silent", "does not export"),
    ] {
        let error = world.trusted(&["plugin", "inspect", world.path(&format!("plugins/{name}")).to_str().unwrap()]).expect(7).error();
        assert_eq!(error["kind"], "component");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
        assert_eq!(world.trusted(&["call", &format!("{name}/go")]).expect(6).error()["kind"], "quarantined");
    }
}

#[test]
fn where_the_pool_cannot_be_reserved_instances_are_allocated_on_demand_and_status_says_so() {
    let world = world();
    let plugins = world.path("plugins").display().to_string();
    let limited = |command: &[&str]| {
        let given = world.command(&[]);
        let mut shell = std::process::Command::new("/bin/sh");
        // Room for a few instances of 4 GiB of address space, and not for a pool of them.
        shell.args(["-c", "ulimit -v 60000000; exec \"$0\" \"$@\"", palisade_tests::binary().to_str().unwrap()]);
        shell.args(["--profile", "trusted", "--format", "json", "--plugin-dir", &plugins]).args(command).current_dir(world.workspace());
        shell.env_clear().envs(given.get_envs().filter_map(|(k, v)| Some((k, v?))));
        palisade_tests::answer(shell).expect(0).json()
    };
    let status = limited(&["status"]);
    assert!(status["instances"].as_str().unwrap().starts_with("the instance pool could not be reserved ("), "{status}");
    assert_eq!(limited(&["call", "guest/counter"])["content"][0]["text"], "1");
    let status = world.trusted(&["status"]).expect(0).json();
    assert_eq!(status["instances"], "a pool of 64");
}
