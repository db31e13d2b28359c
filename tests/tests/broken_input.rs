//! Broken input: a clear error of the right kind, nothing half written, and the other plugins are still served.

use palisade::sandbox::Allocator;
use palisade_tests::stdio::Server;
use palisade_tests::{World, answer, bench, guest, raw};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

const MANIFEST: &str = "[plugin]\nname = \"bad\"\nversion = \"0.1.0\"\ncomponent = \"bad.wasm\"\n";

/// What `plugin inspect` says of the plugin `bad`, after checking that another plugin is still served beside it.
fn inspected(world: &World, kind: &str) -> String {
    world.plugin("good", &guest("guest"), "");
    let served = world.trusted(&["call", "good/echo", "{\"text\":\"served\"}"]).expect(0).json();
    assert_eq!(served["content"][0]["text"], "served");
    let quarantined = world.trusted(&["call", "bad/go"]).expect(6).error();
    assert_eq!(quarantined["kind"], "quarantined", "{quarantined}");
    assert!(quarantined["message"].as_str().unwrap().contains(&format!("({kind})")), "{quarantined}");
    let error = world.palisade(&["--format", "json", "plugin", "inspect", world.path("plugins/bad").to_str().unwrap()]).expect(7).error();
    assert_eq!(error["kind"], kind, "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_component_that_is_none_is_refused_by_what_it_is() {
    let whole = guest("guest");
    let cases: [(&[u8], &str); 5] = [
        (b"not wasm at all", "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "core module, not a component"),
        (b"", "an empty file"),
        (&whole[..whole.len() / 2], "does not compile"),
        (&whole[..6], "not a WebAssembly component"),
    ];
    for (bytes, why) in cases {
        let world = World::new();
        world.plugin("bad", bytes, "");
        let message = inspected(&world, "component");
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_component_that_is_missing_a_link_or_too_large_is_not_read() {
    let world = World::new();
    world.write("plugins/bad/plugin.toml", MANIFEST);
    assert!(inspected(&world, "component").contains("there is no such file"));
    symlink("/etc/passwd", world.path("plugins/bad/bad.wasm")).unwrap();
    assert!(inspected(&world, "component").contains("symbolic link"));
    std::fs::remove_file(world.path("plugins/bad/bad.wasm")).unwrap();
    mknodat(CWD, world.path("plugins/bad/bad.wasm"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(inspected(&world, "component").contains("not a regular file"));
    let world = World::new();
    world.plugin("bad", &[0; 4096], "");
    world.user_config("[limits]\ncomponent = \"1KiB\"\n");
    let error = world.palisade(&["--format", "json", "plugin", "inspect", world.path("plugins/bad").to_str().unwrap()]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("larger than 1024 bytes"), "{error}");
}

#[test]
fn a_manifest_that_is_wrong_is_refused_with_file_line_and_key() {
    for (text, line, key) in [
        (format!("{MANIFEST}surprise = 1\n"), 5, "surprise"),
        (MANIFEST.replace("0.1.0", "first"), 3, "plugin.version"),
        (MANIFEST.replace("bad.wasm", "../bad.wasm"), 4, "plugin.component"),
        (MANIFEST.replace("\"bad\"", "\"Bad\""), 2, "plugin.name"),
        (
            format!(
                "{MANIFEST}[capabilities]\nfs = [\n  {{ path = \"@workspace\", access = \"read\", why = \"\" }},\n  {{ path = \"@workspace\", access = \"write\", why = \"\" }},\n]\n"
            ),
            8,
            "capabilities.fs",
        ),
        (format!("{MANIFEST}[capabilities]\nexec = true\n"), 6, "exec"),
    ] {
        let world = World::new();
        world.write("plugins/bad/plugin.toml", &text);
        world.write("plugins/bad/bad.wasm", guest("guest"));
        let message = inspected(&world, "manifest");
        assert!(message.contains(&format!("bad/plugin.toml:{line}: ")) && message.contains(key), "{message}");
    }
}

#[test]
fn a_linked_component_folder_does_not_lead_out() {
    let world = World::new();
    world.write("outside/bad.wasm", guest("guest"));
    world.write("plugins/bad/plugin.toml", MANIFEST.replace("bad.wasm", "out/bad.wasm"));
    symlink(world.path("outside"), world.path("plugins/bad/out")).unwrap();
    assert!(inspected(&world, "component").contains("symbolic link"));
}

#[test]
fn two_plugins_with_one_name_are_both_set_aside() {
    let world = World::new();
    world.plugin("good", &guest("guest"), "");
    world.plugin_at("more", "same", &guest("guest"), "");
    world.plugin("same", &guest("guest"), "");
    let more = world.path("more").display().to_string();
    let error = world.trusted(&["--plugin-dir", &more, "call", "same/echo"]).expect(6).error();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&world.path("more/same").display().to_string())
            && message.contains(&world.path("plugins/same").display().to_string()),
        "{message}"
    );
    world.trusted(&["--plugin-dir", &more, "call", "good/counter"]).expect(0);
}

#[test]
fn arguments_that_are_not_strict_json_are_denied_as_they_are() {
    let world = World::new();
    world.plugin("guest", &guest("guest"), "");
    for (arguments, why) in [
        (r#"{"text":"a","text":"b"}"#, "twice"),
        (r#"{"text":"a\u0000b"}"#, "NUL"),
        (r#"{"text":"\ud800"}"#, "surrogate"),
        (r#"{"text":18446744073709551616}"#, "too large for any integer"),
        (r#"{"text":7}"#, "/text"),
        (r#"{"text":"a","more":1}"#, "'more'"),
        ("{}", "text"),
        ("[]", "object"),
        ("{\"text\":", "EOF"),
        ("", "EOF"),
    ] {
        let record = world.trusted(&["call", "guest/echo", arguments]).expect(3).json();
        assert_eq!((&record["denial"]["rule"], &record["outcome"]), (&json!("arguments"), &json!("denied")), "{arguments}");
        assert!(record["denial"]["reason"].as_str().unwrap().contains(why), "{arguments}: {record}");
    }
    let mut command = world.command(&[
        "--profile",
        "trusted",
        "--plugin",
        world.path("plugins/guest").to_str().unwrap(),
        "--format",
        "json",
        "call",
        "guest/echo",
        "-",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let _ = stdin.write_all(&vec![b' '; 4 << 20]);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &record["denial"]["reason"]), (Some(3), &json!("they have 1048577 bytes; the limit is 1.0 MiB")));
}

#[test]
fn an_argument_that_is_a_large_whole_number_still_passes_where_an_integer_holds_it() {
    let world = World::new();
    world.plugin("guest", &guest("guest"), "");
    world.trusted(&["call", "guest/sleep", "{\"ms\":0}"]).expect(0);
    world.trusted(&["call", "guest/sleep", "{\"ms\":-1}"]).expect(3);
}

#[test]
fn a_workspace_file_is_a_regular_file_of_moderate_size_or_an_error() {
    let world = World::new();
    let path = world.path("workspace/palisade.toml");
    let refused = |why: &str| {
        let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
        let message = error["message"].as_str().unwrap();
        assert!(error["kind"] == "config" && message.starts_with("palisade.toml: ") && message.contains(why), "{error}");
        let _ = std::fs::remove_file(&path);
    };
    symlink("/etc/passwd", &path).unwrap();
    refused("symbolic link");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    refused("not a regular file");
    std::fs::create_dir(&path).unwrap();
    let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("not a regular file"), "{error}");
    std::fs::remove_dir(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    refused("symbolic link");
    // Only root can make a device.
    if rustix::process::geteuid().is_root()
        && mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), rustix::fs::makedev(1, 5)).is_ok()
    {
        refused("not a regular file");
    }
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    refused("larger than 1048576 bytes");
    std::fs::write(&path, b"a = \"\xff\"\n").unwrap();
    let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
    assert_eq!(error["message"], "palisade.toml:1: it is not UTF-8 text");
    std::fs::write(&path, "[deny]\n\"\\u001b[31mred\\u202e\" = 1\n").unwrap();
    let answer = world.palisade(&["status"]).expect(7);
    assert!(answer.stderr.starts_with("error (config): palisade.toml:2: ") && answer.stderr.contains("`red`"), "{}", answer.stderr);
    assert!(!answer.stderr.contains('\u{1b}') && !answer.stderr.contains('\u{202e}'));
}

#[test]
fn a_large_workspace_file_of_denies_costs_a_moment_and_too_many_are_refused() {
    let world = World::new();
    let entries = |n: usize| (0..n).map(|i| format!("\"p{i}\",\n")).collect::<String>();
    world.plugin("guest", &guest("guest"), "");
    world.write("workspace/palisade.toml", format!("[deny]\nprefixes = [\n{}]\n", entries(10_000)));
    let answer = world.trusted(&["status"]).expect(0);
    assert!(answer.stderr.contains("warning: 9980 more deny entries match no tool"), "{}", answer.stderr);
    world.write("workspace/palisade.toml", format!("[deny]\nprefixes = [\n{}]\n", entries(100_000)));
    let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
    assert_eq!(error["message"], "palisade.toml:10003: `deny`: more than 10000 entries");
}

#[test]
fn a_plugin_that_is_a_link_is_named_and_not_followed() {
    let world = World::new();
    world.plugin("good", &guest("guest"), "");
    symlink(world.path("plugins/good"), world.path("plugins/linked")).unwrap();
    assert_eq!(world.trusted(&["call", "linked/echo"]).expect(6).error()["kind"], "quarantined");
    world.trusted(&["call", "good/counter"]).expect(0);
}

#[test]
fn a_workspace_that_is_root_or_home_is_left_unread_and_the_run_goes_on() {
    let world = World::new();
    world.plugin("guest", &guest("guest"), "[capabilities]\nfs = [{ path = \"@workspace\", access = \"read\", why = \"\" }]\n");
    world.write("home/palisade.toml", "profile = \"trusted\"\n");
    let home = world.path("home").display().to_string();
    let holds = world.path("").display().to_string();
    for (workspace, why) in [
        ("/", "it is the root of the file system"),
        (home.as_str(), "it is your home folder"),
        (holds.as_str(), "it holds Palisade's own folders"),
    ] {
        let status = world.trusted(&["--workspace", workspace, "status"]).expect(0).json();
        let expected = format!("no file of the workspace is read and @workspace does not resolve: {why}");
        assert!(status["warnings"].as_array().unwrap().contains(&json!(expected)), "{workspace}: {status}");
        let denied = world.trusted(&["--workspace", workspace, "--grant", "guest:fs:read:@workspace", "call", "guest/counter"]).expect(3);
        assert_eq!(denied.json()["denial"]["rule"], "grant");
        assert!(denied.stderr.contains("@workspace does not resolve here"), "{}", denied.stderr);
    }
}

#[test]
fn folders_and_files_of_ours_that_others_reach_are_refused() {
    let world = World::new();
    let mut command = world.command(&["--format", "json", "status"]);
    command.env("PALISADE_HOME", world.path("workspace/own"));
    let error = answer(command).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("inside the workspace"), "{error}");
    symlink(world.path("home"), world.path("linked")).unwrap();
    for home in ["relative", world.path("linked").to_str().unwrap(), world.path("home/../home").to_str().unwrap()] {
        let mut command = world.command(&["--format", "json", "status"]);
        command.env("PALISADE_HOME", home);
        assert_eq!(answer(command).expect(7).error()["kind"], "config", "{home}");
    }
    let open = world.path("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o770)).unwrap();
    let mut command = world.command(&["--format", "json", "status"]);
    command.env("PALISADE_HOME", &open);
    assert!(answer(command).expect(7).error()["message"].as_str().unwrap().contains("can be written by others"));

    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::create_dir(open.join("own")).unwrap();
    std::fs::set_permissions(open.join("own"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = world.command(&["--format", "json", "status"]);
    command.env("PALISADE_HOME", open.join("own"));
    assert!(answer(command).expect(7).error()["message"].as_str().unwrap().contains("which others can change"));
    let config = world.user_config("");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o664)).unwrap();
    let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("can be written by others"), "{error}");
    std::fs::remove_file(&config).unwrap();
    symlink(world.write("elsewhere.toml", ""), &config).unwrap();
    assert_eq!(world.palisade(&["--format", "json", "status"]).expect(7).error()["kind"], "config");
    std::fs::remove_file(&config).unwrap();

    let inside = world.write("workspace/mine.toml", "");
    let error = world.palisade(&["--config", inside.to_str().unwrap(), "--format", "json", "status"]).expect(7).error();
    assert!(error["message"].as_str().unwrap().contains("inside the workspace"), "{error}");
    world.palisade(&["--config", world.path("none.toml").to_str().unwrap(), "status"]).expect(7);
}

#[test]
fn config_that_this_version_cannot_enforce_is_refused() {
    let world = World::new();
    for (text, key) in [
        ("[skills]\ndirs = [\"relative\"]\n", "skills.dirs"),
        ("[skills]\ndir = []\n", "skills.dir"),
        ("profile = \"trusted\"\n[mcp.a]\ncommand = []\n", "mcp"),
        ("[[hooks]]\n", "hooks"),
        ("grants = [\"a:store\"]\n", "grants"),
    ] {
        world.user_config(text);
        let error = world.palisade(&["--format", "json", "status"]).expect(7).error();
        assert!(error["message"].as_str().unwrap().contains(key), "{text}: {error}");
    }
    for grant in ["a:net:https://example.com/path", "a:net:https://*.com", "a:stores", "a:fs:read:", "a", "A:store", "a:fs:read:relative"] {
        let error = world.palisade(&["--grant", grant, "--format", "json", "status"]).expect(2).error();
        assert_eq!(error["kind"], "usage", "{grant}: {error}");
    }
}

#[test]
fn a_command_line_that_does_not_parse_is_a_usage_error_in_both_formats() {
    let world = World::new();
    for args in
        [&["--format", "json"][..], &["--format", "json", "nosuch"], &["--format", "json", "call"], &["--format", "json", "--max", "tools"]]
    {
        assert_eq!(world.palisade(args).expect(2).error()["kind"], "usage", "{args:?}");
    }
    let text = world.palisade(&["nosuch"]).expect(2);
    assert!(text.stderr.starts_with("error (usage): ") && text.stdout.is_empty(), "{}", text.stderr);
    world.palisade(&["--help"]).expect(0);
}

#[test]
fn damaged_code_in_the_cache_is_compiled_again() {
    let world = World::new();
    world.plugin("guest", &raw::component("", "(i32.const 1024)"), "");
    let run = || {
        let mut command =
            world.command(&["--profile", "trusted", "--plugin", world.path("plugins/guest").to_str().unwrap(), "call", "guest/go"]);
        command.env("XDG_CACHE_HOME", world.path("home/.cache"));
        answer(command).expect(0)
    };
    run();
    let folder = world.path("home/.cache/palisade/code");
    let kept = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file = kept.into_iter().find(|path| path.extension().is_some_and(|e| e == "cwasm")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", &[&whole[..100], &[0xff; 64], &whole[164..]].concat()] {
        std::fs::write(&file, damaged).unwrap();
        run();
        assert_eq!(std::fs::read(&file).unwrap(), whole, "it is written anew");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    run();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "a file others can write is replaced");
}

#[test]
fn many_plugins_whose_code_is_known_are_loaded_side_by_side_and_one_that_changed_is_seen() {
    let world = World::new();
    let write = |i: usize, says: &str| {
        let schema = format!(r#"{{"type":"object","description":"{says}"}}"#);
        // Every other one is large, and runs in other engines.
        let extra = if i.is_multiple_of(2) { format!("(data (i32.const 8192) \"{}\")", "x".repeat(20_000)) } else { String::new() };
        let component = raw::Module { schema: &schema, extra: &extra, ..raw::Module::default() }.component();
        world.plugin(&format!("p{i}"), &component, "")
    };
    let plugins: Vec<_> = (0..20).map(|i| write(i, &format!("the {i}th"))).collect();
    let said = || {
        let host = bench::host(&world, plugins.clone(), 0, Allocator::Pool(palisade::POOL));
        assert!(host.quarantined().is_empty(), "{:?}", host.quarantined());
        let runtime = bench::runtime();
        let said = |i: usize| {
            let id = format!("p{i}/go");
            assert!(runtime.block_on(bench::call(&host, &id, "{}")).error.is_none(), "{id}");
            host.tool(&id).unwrap().spec.input.value()["description"].as_str().unwrap().to_owned()
        };
        (0..20).map(said).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = (0..20).map(|i| format!("the {i}th")).collect();
    assert_eq!(said(), all);
    bench::settle();
    // Known now, and loaded so the next time.
    assert_eq!([said(), said()], [all.clone(), all.clone()]);
    for i in [6, 7] {
        write(i, "another");
        all[i] = "another".to_owned();
    }
    assert_eq!([said(), said()], [all.clone(), all]);
}

/// Two plugins of which all is known, in a cache of their own; and a command that is given both. The second has `extra`.
fn known<'w>(world: &'w World, extra: &str) -> impl Fn(&[&str]) -> std::process::Command + 'w {
    let [one, two] = [("one", ""), ("two", extra)].map(|(name, extra)| {
        let component = raw::component(&format!("(data (i32.const 3000) \"{name}\") {extra}"), "(i32.const 1024)");
        world.plugin(name, &component, "").display().to_string()
    });
    let command = move |args: &[&str]| {
        let mut command = world.command(&[&["--profile", "trusted", "--plugin", &one, "--plugin", &two], args].concat());
        command.env("XDG_CACHE_HOME", world.path("home/.cache"));
        command
    };
    for _ in 0..2 {
        // What a command and what a server find room for is known apart.
        for one in ["tools", "status"] {
            answer(command(&[one])).expect(0);
        }
        bench::settle();
    }
    command
}

#[test]
fn a_start_opens_the_code_of_what_it_runs_and_of_nothing_else() {
    let world = World::new();
    let command = known(&world, "");
    let codes = |args: &[&str]| {
        let opened = world.opened(&["home/.cache/palisade/code"], || drop(answer(command(args)).expect(0)));
        assert!(opened.iter().any(|name| name.ends_with(".stamp")), "{opened:?}");
        opened.into_iter().filter(|name| name.ends_with(".cwasm")).count()
    };
    assert_eq!((codes(&["tools"]), codes(&["status"]), codes(&["call", "one/go"])), (0, 0, 1));
}

#[test]
fn code_that_is_taken_away_or_damaged_while_it_is_served_fails_its_calls_alone_and_is_compiled_at_the_next_start() {
    let world = World::new();
    let command = known(&world, "");
    let called = |server: &mut Server, tool: &str| server.ask("tools/call", &json!({"name": tool, "arguments": {}})).unwrap();
    // What is mapped stays as it is: a file of the cache is replaced and never changed.
    let damage = |file: &Path| {
        let mut code = std::fs::read(file).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        std::fs::rename(world.write("home/damaged", code), file).unwrap();
    };
    let remove = |file: &Path| std::fs::remove_file(file).unwrap();
    for spoil in [&damage as &dyn Fn(&Path), &remove] {
        let mut server = Server::of(command(&["serve"]));
        let good = called(&mut server, "one__go");
        assert_eq!(good["isError"], false, "{good}");
        for file in std::fs::read_dir(world.path("home/.cache/palisade/code")).unwrap().flatten() {
            if file.path().extension().is_some_and(|e| e == "cwasm") {
                spoil(&file.path());
            }
        }
        let why = "two/go failed (component): its compiled code cannot be loaded from the cache any more; the next start makes it anew";
        let gone = json!({"content": [{"type": "text", "text": why}], "isError": true});
        assert_eq!(["two__go", "one__go", "two__go"].map(|tool| called(&mut server, tool)), [gone.clone(), good.clone(), gone]);
        server.close();
        let mut server = Server::of(command(&["serve"]));
        assert_eq!(["two__go", "one__go"].map(|tool| called(&mut server, tool)), [good.clone(), good]);
        server.close();
        for _ in 0..2 {
            bench::settle();
            answer(command(&["status"])).expect(0);
        }
    }
}

#[test]
fn what_a_command_knows_of_a_plugin_lists_it_in_no_server_that_has_no_room_for_it() {
    let world = World::new();
    // A pool has room for four tables of a module; a command that asks the system at each call has room for more.
    let command = known(&world, &"(table 1 funcref)".repeat(5));
    answer(command(&["call", "two/go"])).expect(0);
    for _ in 0..2 {
        let mut server = Server::of(command(&["serve"]));
        assert_eq!(server.tools(), ["one__go"]);
        server.close();
    }
    answer(command(&["call", "two/go"])).expect(0);
}
