//! Any WASI command as a tool: what goes in and comes out, and that it has a folder of its own and nothing else.

use palisade_tests::stdio::Server;
use palisade_tests::{Answer, World, guest};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A world with the program in `program.wasm`, beside the workspace.
fn world() -> (World, String) {
    let world = World::new();
    let path = world.write("programs/program.wasm", guest("program")).display().to_string();
    (world, path)
}

fn call(world: &World, path: &str, arguments: &Value) -> Answer {
    let flags = ["--profile", "trusted", "--format", "json", "--plugin", path];
    world.palisade(&[&flags[..], &["call", "program/run", &arguments.to_string()]].concat())
}

fn answered(world: &World, path: &str, arguments: Value) -> Value {
    let record = call(world, path, &arguments).expect(0).json();
    assert_eq!((&record["outcome"], &record["error"]), (&json!("ok"), &Value::Null));
    record["content"][0]["value"].clone()
}

/// The same in a world whose cache is its own: what is compiled here was made by this very build.
fn compiled_and_answered(world: &World, path: &str) -> Value {
    let flags = ["--profile", "trusted", "--format", "json", "--plugin", path, "call", "program/run"];
    palisade_tests::answer(with_own_cache(world, &flags)).expect(0).json()["content"][0]["value"].clone()
}

fn failed(world: &World, path: &str, arguments: Value, code: i32) -> (String, String) {
    let record = call(world, path, &arguments).expect(code).json();
    assert_eq!(record["content"], json!([]));
    let text = |key: &str| record["error"][key].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("message"))
}

#[test]
fn words_input_and_files_go_in_and_code_output_and_changed_files_come_out() {
    let (world, path) = world();
    let of = |arguments: Value| answered(&world, &path, arguments);
    let said = |stdout: &str| json!({"exit_code": 0, "stdout": stdout, "stderr": "", "files": {}});
    assert_eq!(of(json!({"args": ["words", "a b", "", "ü"]})), said("program: a b||ü\n"));
    assert_eq!(of(json!({"args": ["upper"], "stdin": "abc"})), said("ABC"));
    assert_eq!(of(json!({"args": ["upper"], "stdin": {"base64": "/2E="}}))["stdout"], json!({"base64": "/0E="}));
    // What Rust makes for WASI 0.2 says no more than 0 or 1.
    assert_eq!(of(json!({})), json!({"exit_code": 1, "stdout": "", "stderr": "what is [\"program\"]?\n", "files": {}}));
    assert_eq!(of(json!({"args": ["list", "/"], "files": {"a/b": "1", "c": "2"}})), said("/a /c\n"));
    let copied = of(json!({"args": ["copy", "in/a.bin", "/out/deep/b.bin"], "files": {"in/a.bin": {"base64": "/wA="}}}));
    assert_eq!(copied["files"], json!({"out/deep/b.bin": {"base64": "/wA="}}), "what was given and not changed stays away");
    assert_eq!(of(json!({"args": ["append", "a"], "files": {"a": "x", "b": "y"}}))["files"], json!({"a": "x!"}));
    assert_eq!(
        of(json!({"args": ["bytes"]})),
        json!({"exit_code": 0, "stdout": {"base64": "/wA="}, "stderr": "", "files": {"raw": {"base64": "/g=="}}})
    );
    // A second call finds nothing of the first.
    assert_eq!(of(json!({"args": ["list", "/"]})), said("\n"));
}

#[test]
fn over_mcp_a_program_and_a_function_are_tools_like_any_other() {
    let (world, path) = world();
    let foreign = world.write("programs/foreign.wasm", guest("foreign")).display().to_string();
    let mut server = Server::start(&world, &["--profile", "trusted", "--plugin", &path, "--plugin", &foreign, "serve"]);
    let tools = server.tools();
    assert!(
        ["program__run", "foreign__greet", "foreign__shapes-divide"].iter().all(|name| tools.iter().any(|tool| tool == name)),
        "{tools:?}"
    );
    let mut call =
        |name: &str, arguments: Value| server.ask("tools/call", &json!({"name": name, "arguments": arguments})).expect("an answer");
    let answer = call("program__run", json!({"args": ["upper"], "stdin": "abc"}));
    assert_eq!(answer["structuredContent"], json!({"exit_code": 0, "stdout": "ABC", "stderr": "", "files": {}}));
    assert_eq!(call("foreign__shapes-divide", json!({"a": 9, "b": 3}))["structuredContent"], json!({"result": 3}));
    let failed = call("foreign__shapes-divide", json!({"a": 9, "b": 0}));
    assert_eq!(
        (&failed["isError"], &failed["content"][0]["text"]),
        (&json!(true), &json!("foreign/shapes-divide failed (tool-failed): nothing is divided by that"))
    );
    let denied = call("foreign__shapes-divide", json!({"a": 9}));
    assert!(
        denied["content"][0]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("foreign/shapes-divide was denied by the rule arguments")),
        "{denied}"
    );
    server.close();
}

#[test]
fn a_core_module_of_wasi_0_1_is_a_program_too_and_keeps_its_exit_code() {
    let module = |code: u32| {
        wat::parse_str(format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (data (i32.const 8) "\10\00\00\00\03\00\00\00hi\n")
                (func (export "_start")
                    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))
                    (call $exit (i32.const {code}))))"#
        ))
        .expect("a module")
    };
    let world = World::new();
    for code in [0, 1, 42, 255] {
        let path = world.write("programs/program.wasm", module(code)).display().to_string();
        let answer = compiled_and_answered(&world, &path);
        assert_eq!(answer, json!({"exit_code": code, "stdout": "hi\n", "stderr": "", "files": {}}));
    }
}

#[test]
fn a_core_module_finds_its_memory_as_large_as_it_was_made() {
    let world = World::new();
    // The adapter has memory of its own behind it. A C library that takes all it finds would write there.
    let exits_with = |code: &str, globals: &str| {
        let module = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
                (memory (export "memory") 3 64)
                {globals}
                (func (export "_start") (drop (call $args (i32.const 0) (i32.const 4))) (call $exit {code})))"#
        );
        let path = world.write("programs/program.wasm", wat::parse_str(module).expect("a module")).display().to_string();
        compiled_and_answered(&world, &path)["exit_code"].clone()
    };
    let global = "(global $g (mut i32) (i32.const 0))";
    for globals in ["", global] {
        assert_eq!(exits_with("(memory.size)", globals), 3);
        // What it adds to its memory is where it is told, after all that is there.
        let grown = exits_with("(i32.add (i32.mul (memory.grow (i32.const 2)) (i32.const 16)) (memory.size))", globals);
        let (old, size) = (grown.as_i64().expect("a code") / 16, grown.as_i64().expect("a code") % 16);
        assert!(old > 3 && size == old + 2, "{old}, {size}");
        assert_eq!(exits_with("(i32.add (memory.grow (i32.const 100)) (i32.const 1))", globals), 0, "it cannot have that much");
        assert_eq!(exits_with("(i32.add (i32.and (memory.grow (i32.const 100)) (i32.const 0)) (memory.size))", globals), 3);
    }
}

#[test]
fn what_is_no_program_is_refused_with_what_it_lacks() {
    let world = World::new();
    let reason = |module: &str| {
        let path = world.write("programs/x.wasm", wat::parse_str(module).expect("a module")).display().to_string();
        let status = world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &path, "status"]).expect(0).json();
        assert_eq!(status["quarantined"][0]["source"], "x");
        status["quarantined"][0]["reason"].as_str().unwrap_or_default().split_once("x.wasm: ").expect("the file is named").1.to_owned()
    };
    let compile = "the component does not compile: it is no program of WASI 0.1";
    assert_eq!(reason(r#"(module (memory (export "memory") 1))"#), format!("{compile}: it exports no `_start`"));
    let other = reason(r#"(module (import "env" "f" (func)) (memory (export "memory") 1) (func (export "_start")))"#);
    assert!(other.starts_with(&format!("{compile}, which imports `wasi_snapshot_preview1` alone")) && other.contains("`env`"), "{other}");
    // What is said of it may be long, and is cut before it holds up its reader.
    let long = "n".repeat(90_000);
    let cut = reason(&format!(r#"(module (import "{long}" "f" (func)) (memory (export "memory") 1) (func (export "_start")))"#));
    assert!(cut.starts_with(&format!("{compile}, which imports `wasi_snapshot_preview1` alone")) && cut.len() < 8192, "{}", cut.len());
    // Only who says so is taken for a program.
    world.plugin("said", &wat::parse_str("(module)").expect("a module"), "");
    let status = world.trusted(&["status"]).expect(0).json();
    let reason = status["quarantined"][0]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.ends_with(
            "this is a core module, not a component; build it for wasm32-wasip2, or, if it is a WASI program, say `kind = \"command\"`"
        ),
        "{reason}"
    );
}

#[test]
fn a_program_reaches_its_own_folder_alone() {
    let (world, path) = world();
    world.write("workspace/secret", "of the user");
    let answer = answered(&world, &path, json!({"args": ["reach"]}));
    let no: String = ["/etc/passwd", "../etc/passwd", "/../etc/passwd", "/proc/self/environ", "/workspace", "out", "socket"]
        .map(|what| format!("{what}: false\n"))
        .concat();
    assert_eq!(answer["stdout"], format!("variables: 0\n{no}"));
    // It may make links, and neither it nor what collects its files follows them.
    let links = answered(&world, &path, json!({"args": ["link"]}));
    assert_eq!(links, json!({"exit_code": 0, "stdout": "out: false\nabove: true\nup: true\n", "stderr": "", "files": {}}));
    for name in ["/a", "../a", "a/../../b", "a//b", "", "."] {
        let (kind, message) = failed(&world, &path, json!({"args": ["reach"], "files": {name: "x"}}), 4);
        assert_eq!(kind, "tool-failed");
        assert_eq!(message, format!("`{name}` is not a path below the working folder: no leading `/`, no `.` and no `..`"));
    }
    let (_, message) = failed(&world, &path, json!({"files": {"a": "x", "a/b": "y"}}), 4);
    assert!(message.starts_with("the file `a/b` cannot be made: "), "{message}");
}

#[test]
fn a_program_gets_what_its_manifest_asks_for_and_a_person_granted() {
    let world = World::new();
    world.write("workspace/notes.txt", "of the user");
    let asks = "kind = \"command\"\ndescription = \"Shows a file.\"\n[capabilities]\n\
        fs = [{ path = \"@workspace\", access = \"read\", why = \"shows it\" }]\nenv = [{ name = \"LANG\", why = \"speaks it\" }]\n";
    world.plugin("shows", &guest("program"), asks);
    let call = |args: &[&str], grants: &[&str]| {
        let arguments = json!({"args": args}).to_string();
        let mut all: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
        all.extend(["call", "shows/run", &arguments]);
        world.trusted(&all)
    };
    let denial = call(&["read", "/workspace/notes.txt"], &[]).expect(3).json();
    assert_eq!(denial["denial"]["rule"], "grant");
    let both = ["shows:fs:read:@workspace", "shows:env:LANG"];
    let stdout = |args: &[&str]| call(args, &both).expect(0).json()["content"][0]["value"]["stdout"].clone();
    assert_eq!(stdout(&["read", "/workspace/notes.txt"]), "of the user");
    assert_eq!(stdout(&["list", "/workspace"]), "/workspace/notes.txt\n");
    let refused = call(&["append", "/workspace/notes.txt"], &both).expect(0).json()["content"][0]["value"].clone();
    assert_eq!((&refused["exit_code"], &refused["files"]), (&json!(1), &json!({})));
    assert_eq!(std::fs::read_to_string(world.path("workspace/notes.txt")).expect("it is there"), "of the user");
    let tools = world.trusted(&["tools", "--all"]).expect(0).json();
    assert!(tools["tools"][0]["description"].as_str().is_some_and(|text| text.starts_with("Shows a file. Runs the program once")));
}

#[test]
fn every_flood_of_a_program_ends_at_its_limit_and_its_last_words_are_kept() {
    let (world, path) = world();
    let of = |word: &str, code: i32| failed(&world, &path, json!({"args": [word]}), code);
    let output = |message: &str| ("limit-output".to_owned(), message.to_owned());
    assert_eq!(of("flood", 5), output("it wrote more than 4.0 MiB to its output"));
    assert_eq!(of("fill", 5), output("it would have written more than 256.0 MiB or made more than 10000 files"));
    assert_eq!(of("crumbs", 5), output("it would have written more than 256.0 MiB or made more than 10000 files"));
    assert_eq!(of("large", 5), output("the files it left are more than the limit `result` has room for"));
    // Deeper than is looked for; no error, and it is gone with the rest.
    assert_eq!(answered(&world, &path, json!({"args": ["deep"]}))["files"], json!({}));
    let (kind, message) = of("trap", 4);
    assert_eq!(kind, "trap");
    assert!(
        message.starts_with("the component trapped: ")
            && message.contains("it said: thread 'main'")
            && message.contains("it went wrong here"),
        "{message}"
    );
    let before = Instant::now();
    world.user_config("[limits]\ntime = \"300ms\"\n");
    assert_eq!(of("spin", 5), ("limit-time".to_owned(), "it was stopped after 300ms".to_owned()));
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_a_program_is_given_counts_as_what_it_writes() {
    let (world, path) = world();
    world.user_config("[limits]\nwritten_files = 10\n");
    let files = |count: usize| (0..count).map(|i| (format!("a/b/f{i}"), json!("x"))).collect::<serde_json::Map<_, _>>();
    // Seven files in three folders, of which one is its own.
    assert_eq!(answered(&world, &path, json!({"args": ["list", "/a"], "files": files(7)}))["stdout"], "/a/b\n");
    let (kind, message) = failed(&world, &path, json!({"args": ["list", "/a"], "files": files(8)}), 4);
    assert_eq!((kind.as_str(), message.as_str()), ("tool-failed", "it is given 11 files and folders; the limit `written_files` is 10"));
}

/// A world whose cache is its own, so that what it leaves is its own.
fn with_own_cache(world: &World, args: &[&str]) -> std::process::Command {
    let mut command = world.command(args);
    command.env("XDG_CACHE_HOME", world.path("home"));
    command
}

fn folders(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.path("home/palisade/programs/tmp")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_killed_host_leaves_a_folder_that_the_next_call_takes_away() {
    let (world, path) = world();
    let flags = ["--profile", "trusted", "--plugin", &path, "call", "program/run"];
    let arguments = json!({"args": ["spin"], "files": {"a/b": "x"}}).to_string();
    let mut child = with_own_cache(&world, &[&flags[..], &[&arguments]].concat()).stderr(Stdio::null()).spawn().expect("it starts");
    let until = |done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing came");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(&|| folders(&world).len() == 1);
    let arguments = json!({"args": ["words"]}).to_string();
    // Beside one that runs, another lets its folder be.
    let other = palisade_tests::answer(with_own_cache(&world, &[&flags[..], &[&arguments]].concat()));
    other.expect(0);
    assert_eq!(folders(&world).len(), 1);
    child.kill().expect("it is killed");
    child.wait().expect("it ends");
    assert_eq!(folders(&world).len(), 1);
    // Taking it away holds up no call, so it may need the one after.
    until(&|| {
        palisade_tests::answer(with_own_cache(&world, &[&flags[..], &[&arguments]].concat())).expect(0);
        folders(&world).is_empty()
    });
}

#[test]
fn a_call_that_ends_while_its_folder_is_made_leaves_none() {
    let (world, path) = world();
    let files: serde_json::Map<_, _> = (0..6000).map(|i| (format!("f{i}"), json!("x"))).collect();
    let arguments = world.write("arguments", json!({"args": ["words"], "files": files}).to_string());
    let run = |time: &str| {
        world.user_config(&format!("[limits]\ntime = \"{time}\"\n"));
        let mut command = with_own_cache(&world, &["--profile", "trusted", "--plugin", &path, "call", "program/run", "-"]);
        command.stdin(std::fs::File::open(&arguments).expect("they are there"));
        palisade_tests::answer(command)
    };
    run("30s").expect(0);
    assert_eq!(folders(&world), [""; 0]);
    // Before it is begun, while it is made, or after all, as quick as the machine is: each time is twice the one before, and to
    // make the folder takes longer than all that comes before it.
    for time in ["10ms", "20ms", "40ms", "80ms", "160ms", "320ms", "640ms"] {
        let answer = run(time);
        assert!([0, 5].contains(&answer.code), "{time}: {}", answer.stderr);
        assert_eq!(folders(&world), [""; 0], "{time}");
    }
}

#[test]
fn one_component_that_is_named_twice_is_found_once() {
    let (world, path) = world();
    let other = format!("{}/../programs/./program.wasm", world.workspace().display());
    let answer =
        world.palisade(&["--profile", "trusted", "--format", "json", "--plugin", &path, "--plugin", &other, "status"]).expect(0).json();
    assert_eq!((&answer["tools"], &answer["quarantined"]), (&json!(1), &json!([])));
}

#[test]
fn an_added_program_is_compiled_when_it_is_added_and_runs_by_its_name() {
    let (world, path) = world();
    let run = |args: &[&str]| palisade_tests::answer(with_own_cache(&world, args));
    let added = run(&["--format", "json", "plugin", "add", &path]).expect(0).json();
    assert_eq!((&added["added"], &added["granted"]), (&json!("program"), &json!([])), "{added}");
    let code = || {
        let entries = std::fs::read_dir(world.path("home/palisade/code")).into_iter().flatten().flatten();
        let code = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "cwasm"));
        let mut found: Vec<_> = code.map(|path| (path.clone(), modified(&path))).collect();
        found.sort();
        found
    };
    let compiled = code();
    assert_eq!(compiled.len(), 1);
    let record = run(&["--profile", "trusted", "--format", "json", "call", "program/run", r#"{"args": ["words", "x"]}"#]).expect(0).json();
    assert_eq!(record["content"][0]["value"]["stdout"], "program: x\n");
    assert_eq!(code(), compiled, "no call waits for a compiler");
    let listed = run(&["--profile", "trusted", "--format", "json", "plugin", "list"]).expect(0).json();
    assert_eq!(listed["plugins"][0]["version"], "0.0.0");
}

fn modified(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).and_then(|meta| meta.modified()).expect("a file has a time")
}

#[test]
fn however_a_call_ends_its_folder_is_gone() {
    let (world, path) = world();
    let flags = ["--profile", "trusted", "--plugin", &path, "call", "program/run"];
    for (word, code) in [("words", 0), ("bytes", 0), ("what", 0), ("trap", 4), ("spin", 5), ("large", 5), ("deep", 0), ("link", 0)] {
        let arguments = json!({"args": [word], "files": {"a/b/c": "x"}}).to_string();
        world.user_config(if word == "spin" { "[limits]\ntime = \"500ms\"\n" } else { "" });
        palisade_tests::answer(with_own_cache(&world, &[&flags[..], &[&arguments]].concat())).expect(code);
        assert_eq!(folders(&world), [""; 0], "{word}");
    }
}
