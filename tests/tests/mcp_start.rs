//! What an external server is started with, and what it is not.

use palisade_tests::stdio::Server;
use palisade_tests::{Answer, World, binary, mcp_fixture};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn json_of(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json"], args].concat())
}

fn text(world: &World, id: &str, arguments: Value) -> String {
    let record = json_of(world, &["call", id, &arguments.to_string()]).expect(0).json();
    record["content"][0]["text"].as_str().expect("text").to_owned()
}

const LIMITS: &str = "profile = \"trusted\"\n[limits]\ntime = \"3s\"\nmcp_start = \"3s\"\nchild_grace = \"200ms\"\n";

/// A trusted workspace whose `.mcp.json` names the fixture with these arguments and variables.
fn listed(args: &[&str], env: Value) -> World {
    let world = World::new();
    world.user_config(LIMITS);
    let entry = json!({"command": mcp_fixture(), "args": args, "env": env});
    world.write("workspace/.mcp.json", json!({"mcpServers": {"site": entry}}).to_string());
    world.palisade(&["trust", "--yes"]).expect(0);
    world
}

/// The variables of every process whose arguments hold this.
fn environments(holds: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let read = |path: std::path::PathBuf| std::fs::read(path).map(|b| String::from_utf8_lossy(&b).replace('\0', " ")).unwrap_or_default();
    let both = entries.map(|entry| (read(entry.path().join("cmdline")), read(entry.path().join("environ"))));
    both.filter(|(line, _)| line.contains(holds)).collect()
}

#[test]
fn the_variables_of_an_entry_are_the_servers_alone_and_none_of_those_that_fence_it() {
    let mark = format!("mark-{}", std::process::id());
    let world = listed(&["good", &mark], json!({"LD_PRELOAD": "", "LD_AUDIT": "", "GIVEN": "a=b"}));
    json_of(&world, &["mcp", "accept", "site", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["serve"]);
    let seen = server.call("site__environment", &json!({}));
    assert!(seen.contains("GIVEN=a=b\n") && seen.contains("LD_PRELOAD=") && !seen.contains("PALISADE_CARRIED"), "{seen}");
    let processes = environments(&mark);
    let ours: Vec<&(String, String)> = processes.iter().filter(|(line, _)| line.contains("__supervise")).collect();
    assert!(!ours.is_empty(), "{processes:?}");
    for (line, environment) in ours {
        let names = environment.split(' ').filter(|pair| pair.contains('=')).filter_map(|pair| pair.split('=').next());
        assert!(names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).count() == 0, "{line}\n{environment}");
    }
    server.close();
}

#[test]
fn what_a_workspace_writes_into_arguments_opens_nothing_and_what_is_read_is_shown() {
    let outside = World::new();
    let secret = outside.write("home/id", "outside").display().to_string();
    let world = listed(&["good", &secret, "script.js"], json!({}));
    // A package at the root does not open the workspace.
    world.write("workspace/package.json", "{}");
    world.write("workspace/script.js", "the script");
    let beside = world.write("workspace/beside.js", "beside it").display().to_string();
    world.palisade(&["trust", "--yes"]).expect(0);
    let shown = world.palisade(&["mcp", "accept", "site", "--yes"]).expect(0).stderr;
    let script = world.path("workspace/script.js").display().to_string();
    assert!(shown.contains(&format!("  reads {script}\n")) && !shown.contains(&format!("reads {secret}")), "{shown}");
    let look = |path: &str| text(&world, "site/look", json!({"path": path}));
    assert_eq!(look(&script), "the script");
    for path in [&secret, &beside] {
        assert!(look(path).starts_with("refused: "), "{path}");
    }
}

#[test]
fn what_palisade_inherited_is_not_handed_on() {
    let world = World::new();
    world.user_config(&format!("{LIMITS}[mcp.good]\ncommand = \"{}\"\nargs = [\"good\"]\n", mcp_fixture().display()));
    json_of(&world, &["mcp", "accept", "good", "--yes"]).expect(0);
    let secret = world.write("home/secret", "handed on\n");
    let line = format!(
        "exec 9<'{}'; read line <&9 && echo $line; exec 9<'{0}'; exec '{}' call good/inherited",
        secret.display(),
        binary().display()
    );
    let mut command = world.command(&[]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", &line])
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(world.workspace());
    command.stdin(Stdio::null());
    let answer = palisade_tests::answer(shell).expect(0);
    assert_eq!(answer.stdout, "handed on\n[from the MCP server good]\n", "{}", answer.stderr);
}

#[test]
fn an_acceptance_that_is_narrowed_while_serving_counts_at_once() {
    let world = listed(&["good", "x"], json!({}));
    json_of(&world, &["mcp", "accept", "site", "--net", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["serve"]);
    let reach = |server: &mut Server| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let said = server.call("site__reach", &json!({"tcp": listener.local_addr().unwrap().port(), "pid": 1}));
        serde_json::from_str::<Value>(&said).unwrap()["tcp"].clone()
    };
    assert_eq!(reach(&mut server), true);
    json_of(&world, &["mcp", "accept", "site", "--yes"]).expect(0);
    let started = std::time::Instant::now();
    while reach(&mut server) == true && started.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(reach(&mut server), false);
    server.close();
}

#[test]
fn a_server_that_asks_without_end_fills_nobodys_memory_and_the_host_ends() {
    let world = World::new();
    world.user_config(&format!("{LIMITS}[mcp.asks]\ncommand = \"{}\"\nargs = [\"asks\"]\n", mcp_fixture().display()));
    json_of(&world, &["mcp", "accept", "asks", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["serve"]);
    let ended = server.call("asks__echo", &json!({"text": "a"}));
    assert!(ended.starts_with("asks/echo "), "{ended}");
    let most = peak(server.child.id());
    assert!(most < 250 * 1024, "{most} KiB");
    server.close();
}

#[test]
fn a_server_that_asks_a_person_for_something_gets_nothing_and_its_call_is_an_error_of_its_tool() {
    let world = World::new();
    let modes = ["asks-back", "asks-back-newer"];
    let entry = |mode: &&str| format!("[mcp.{mode}]\ncommand = \"{}\"\nargs = [\"{mode}\"]\n", mcp_fixture().display());
    world.user_config(&format!("{LIMITS}{}", modes.iter().map(entry).collect::<String>()));
    modes.iter().for_each(|mode| drop(json_of(&world, &["mcp", "accept", mode, "--yes"]).expect(0)));
    let mut server = Server::start(&world, &["serve"]);
    for (mode, protocol) in modes.iter().zip(["2025-11-25", "2026-07-28"]) {
        let list = json_of(&world, &["mcp", "list"]).expect(0).json();
        let listed = list["servers"].as_array().unwrap().iter().find(|server| server["name"] == **mode).unwrap();
        assert_eq!(listed["protocol"], protocol, "{list}");
        let record = json_of(&world, &["call", &format!("{mode}/echo"), r#"{"text":"a"}"#]).expect(4).json();
        let error = json!({"kind": "tool-failed", "message": "the server asks for more input, which is not offered to it"});
        assert_eq!(record["error"], error);
        // Nor is it handed on to the client of ours.
        let answer = server.ask("tools/call", &json!({"name": format!("{mode}__echo"), "arguments": {"text": "a"}})).expect("an answer");
        assert_eq!(answer["isError"], true, "{answer}");
        assert!(!answer.to_string().contains("password") && server.heard.is_empty(), "{answer} {:?}", server.heard);
    }
    server.close();
}

/// Most memory that a process had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of it");
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_server_that_floods_loses_its_call_and_nobody_elses_and_fills_no_memory() {
    let world = World::new();
    let entry = |mode: &str| format!("[mcp.{mode}]\ncommand = \"{}\"\nargs = [\"{mode}\"]\n", mcp_fixture().display());
    let limits = LIMITS.replace("time = \"3s\"", "time = \"10s\"");
    world.user_config(&format!("{limits}{}{}", entry("good"), entry("torrent")));
    ["good", "torrent"].iter().for_each(|mode| drop(json_of(&world, &["mcp", "accept", mode, "--yes"]).expect(0)));
    let mut server = Server::start(&world, &["serve"]);
    assert_eq!(server.call("good__echo", &json!({"text": "a"})), "a");
    let asked = server.send("tools/call", &json!({"name": "torrent__echo", "arguments": {"text": "a"}}));
    (0..20).for_each(|i| assert_eq!(server.call("good__echo", &json!({"text": i.to_string()})), i.to_string()));
    // A machine that reads slower than the bound has no flood; there its deadline ends the call.
    let answer = server.answer(asked).expect("an answer");
    let text = answer["content"][0]["text"].as_str().unwrap_or_default();
    let ends = ["torrent/echo failed (mcp): the server ended before it answered", "torrent/echo was stopped (limit-time): "];
    assert!(answer["isError"] == true && ends.iter().any(|end| text.starts_with(end)), "{answer}");
    assert_eq!(server.call("good__echo", &json!({"text": "b"})), "b");
    let most = peak(server.child.id());
    assert!(most < 250 * 1024, "{most} KiB");
    server.close();
}

/// The folder for what is temporary of a server that runs.
fn temporary(server: &mut Server) -> PathBuf {
    let environment = server.call("site__environment", &json!({}));
    PathBuf::from(environment.lines().find_map(|line| line.strip_prefix("TMPDIR=")).expect("it has one"))
}

/// Waits until there is nothing at a path, not even a link.
fn vanishes(path: &Path) {
    let started = std::time::Instant::now();
    while path.symlink_metadata().is_ok() {
        assert!(started.elapsed().as_secs() < 60, "{} is still there", path.display());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_a_server_leaves_in_its_temporary_folder_goes_with_it_however_the_host_ends_and_nothing_beside_it() {
    let world = listed(&["good", "x"], json!({}));
    json_of(&world, &["mcp", "accept", "site", "--yes"]).expect(0);
    let kept = world.write("home/kept/file", "kept");
    let fill = |server: &mut Server| {
        let folder = temporary(server);
        assert_eq!(server.call("site__write", &json!({"path": folder.join("file")})), "written");
        std::fs::create_dir_all(folder.join("a/b/c")).unwrap();
        symlink(kept.parent().unwrap(), folder.join("a/link")).unwrap();
        folder
    };
    let mut server = Server::start(&world, &["serve"]);
    let first = fill(&mut server);
    // Another run beside it has its own, and takes nothing of the first one away, neither at its start nor at its end.
    let mut beside = Server::start(&world, &["serve"]);
    let second = fill(&mut beside);
    assert!(first != second && first.parent() == second.parent(), "{first:?} {second:?}");
    beside.close();
    vanishes(&second);
    assert!(first.join("a/link/file").exists());
    server.close();
    vanishes(&first);
    // By a signal that nobody can catch.
    let mut server = Server::start(&world, &["serve"]);
    let third = fill(&mut server);
    drop(server);
    vanishes(&third);
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
}

#[test]
fn what_no_supervisor_could_remove_goes_at_the_next_start() {
    let world = listed(&["good", "x"], json!({}));
    json_of(&world, &["mcp", "accept", "site", "--yes"]).expect(0);
    let mut server = Server::start(&world, &["serve"]);
    let all = temporary(&mut server).parent().unwrap().to_owned();
    server.close();
    let kept = world.write("home/kept/file", "kept");
    std::fs::create_dir_all(all.join("0123456789abcdef/deep")).unwrap();
    std::fs::write(all.join("0123456789abcdef/deep/file"), "left").unwrap();
    std::fs::write(all.join("file"), "left").unwrap();
    symlink(kept.parent().unwrap(), all.join("link")).unwrap();
    let mut server = Server::start(&world, &["serve"]);
    let now = temporary(&mut server);
    for left in ["0123456789abcdef", "file", "link"] {
        vanishes(&all.join(left));
    }
    assert!(now.exists() && kept.exists());
    server.close();
}
