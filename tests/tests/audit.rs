//! The audit log, through the real binary: what is in it, when it is written, and what a check of it finds.

use palisade_tests::{Answer, World, answer, binary, guest, raw, steady};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A world with a guest of many tools and a tiny one.
fn world() -> World {
    let world = World::new();
    world.plugin(
        "guest",
        &guest("guest"),
        "[capabilities]\nfs = [{ path = \"@workspace/out\", access = \"write\", optional = true, why = \"w\" }]\n",
    );
    world.plugin("tiny", &raw::component("", "(i32.const 1024)"), "");
    std::fs::create_dir_all(world.path("workspace/out")).unwrap();
    world
}

fn folder(world: &World) -> PathBuf {
    world.path("state/palisade/audit")
}

/// The files of the log, oldest first.
fn files(world: &World) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(world)).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    files
}

fn log(world: &World) -> String {
    files(world).iter().map(|f| std::fs::read_to_string(f).unwrap()).collect()
}

/// The log with what differs from run to run replaced.
fn steady_log(world: &World) -> String {
    let replace = |pattern: &str, text: &str, with: &str| regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned();
    let text = replace(r#""time":"[^"]*""#, &steady(world, &log(world)), "\"time\":\"WHEN\"");
    let text = replace(r#""process":[0-9]+"#, &text, "\"process\":P");
    replace(r#""duration_us":[0-9.]+,"memory_peak_bytes":[0-9]+"#, &text, "COST")
}

fn verify(world: &World, more: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json", "audit", "verify"], more].concat())
}

/// Fails unless the log is whole; gives the notes.
fn whole(world: &World) -> Vec<String> {
    let found = verify(world, &[]).expect(0).json();
    assert_eq!((&found["ok"], &found["findings"]), (&json!(true), &json!([])));
    serde_json::from_value(found["notes"].clone()).unwrap()
}

/// Exactly what a check finds: the line, and how the sentence begins.
fn findings(world: &World, more: &[&str]) -> Vec<(u64, String)> {
    let found = verify(world, more).expect(7).json();
    assert_eq!(found["ok"], false);
    let names: Vec<String> = files(world).iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let one = |f: &Value| {
        assert!(names.iter().any(|n| n == f["file"].as_str().unwrap()) || f["what"].as_str().unwrap().starts_with("it is gone"), "{f}");
        (f["line"].as_u64().unwrap_or(0), f["what"].as_str().unwrap().to_owned())
    };
    found["findings"].as_array().unwrap().iter().map(one).collect()
}

/// A server over its pipes.
struct Server {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(world: &World, stderr: Stdio) -> Self {
        let plugins = world.path("plugins");
        let mut command = world.command(&["--profile", "trusted", "--plugin-dir", plugins.to_str().unwrap(), "serve"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, answers };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        server.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}));
        server.answer();
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{message}").unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"))
    }

    fn call(&mut self, id: u64, tool: &str, arguments: &Value) -> Value {
        self.send(&request(id, tool, arguments));
        self.answer()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

fn request(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

#[test]
fn every_decision_and_outcome_of_call_run_and_serve_is_there_in_order() {
    let world = world();
    world.trusted(&["call", "tiny/go"]).expect(0);
    world.trusted(&["--deny-tool", "GO", "call", "tiny/go"]).expect(3);
    world.trusted(&["call", "guest/refuse", r#"{"text":"no"}"#]).expect(4);
    world.trusted(&["call", "guest/echo", r#"{"text":7}"#]).expect(3);
    world.trusted(&["call", "tiny/none"]).expect(6);
    world.palisade(&["call", "tiny/go"]).expect(3);
    world.trusted(&["run", "/tiny/go", "/guest/shell {}"]).expect(0);
    let mut server = Server::start(&world, Stdio::null());
    server.call(1, "x__bash", &json!({}));
    server.call(2, "tiny__go", &json!({}));
    server.end();
    let start = r#""event":"start","version":1,"process":P,"follows":[]"#;
    let about = r#""profile":"trusted","workspace":"DIGEST""#;
    let allow =
        |tool: &str| format!(r#""event":"decision","tool":"{tool}","verdict":"allow","arguments":"DIGEST","identity":"DIGEST",{about}"#);
    let deny = |tool: &str, number: u64, rule: &str, source: &str, reason: &str, identity: &str, about: &str| {
        let why = format!(r#""denial":{number},"rule":"{rule}","source":"{source}","reason":"{reason}""#);
        format!(r#""event":"decision","tool":"{tool}","verdict":"deny",{why},"arguments":"DIGEST","identity":{identity},{about}"#)
    };
    let ended = |of: u64, tool: &str, how: &str| format!(r#""event":"outcome","of":{of},"tool":"{tool}","outcome":"{how},COST"#);
    let (known, unknown) = ("\"DIGEST\"", "null");
    let shell = |tool: &str, word: &str, number| {
        let reason = match word {
            "bash" => "its id contains `bash`; no flag, file or profile allows it".to_owned(),
            word => format!("its id has the part `{word}`; no flag, file or profile allows it"),
        };
        deny(tool, number, "shell-gate", "built-in", &reason, unknown, about)
    };
    let invalid = "they are too large, not strict JSON, or not valid against the tool's schema";
    let untrusted = about.replace("trusted", "untrusted");
    let expected = [
        start.to_owned(),
        allow("tiny/go"),
        ended(2, "tiny/go", "ok\""),
        start.to_owned(),
        deny("tiny/go", 1, "deny-name", "--deny-tool", "the deny name `GO` matches it", known, about),
        start.to_owned(),
        allow("guest/refuse"),
        ended(7, "guest/refuse", "error\",\"error\":\"tool-failed\""),
        start.to_owned(),
        deny("guest/echo", 1, "arguments", "built-in", invalid, known, about),
        start.to_owned(),
        format!(
            r#""event":"decision","tool":"tiny/none","verdict":"absent","error":"not-found","arguments":"DIGEST","identity":null,{about}"#
        ),
        start.to_owned(),
        deny("tiny/go", 1, "trust", "built-in", "the profile `untrusted` withholds it", unknown, &untrusted),
        start.to_owned(),
        allow("tiny/go"),
        ended(16, "tiny/go", "ok\""),
        shell("guest/shell", "shell", 1),
        start.to_owned(),
        shell("x/bash", "bash", 1),
        allow("tiny/go"),
        ended(21, "tiny/go", "ok\""),
    ];
    let expected: Vec<String> = expected
        .iter()
        .zip(1..)
        .map(|(body, seq)| format!(r#"{{"seq":{seq},"time":"WHEN",{body},"prev":"DIGEST","hash":"DIGEST"}}"#))
        .collect();
    let got = steady_log(&world);
    assert_eq!(got.lines().collect::<Vec<_>>(), expected, "{got}");
    assert_eq!(whole(&world), [] as [String; 0]);
    assert!(log(&world).lines().nth(1).unwrap().len() < 600, "a record stays small");
}

#[test]
fn neither_arguments_nor_secrets_are_in_it() {
    let world = world();
    let key = ["AKIA", "IOSFODNN7EXAMPLE"].concat();
    for arguments in [
        format!(r#"{{"text":"planted {key}"}}"#),
        format!(r#"{{"text":["planted {key}"]}}"#),
        format!(r#"{{"planted":"{key}"}}"#),
        format!("planted {key}"),
    ] {
        let _ = world.trusted(&["call", "guest/echo", &arguments]);
    }
    world.trusted(&["call", "guest/refuse", &format!(r#"{{"text":"planted {key}"}}"#)]).expect(4);
    let _ = world.trusted(&["call", &format!("guest/{key}"), "{}"]);
    let log = log(&world);
    assert_eq!(log.matches("\"decision\"").count(), 6, "{log}");
    assert!(!log.contains("planted") && !log.contains(&key) && !log.contains("EXAMPLE"), "{log}");
    // The same arguments have one code, others another, and it is no plain digest of them.
    let code = |arguments: &str| {
        world.trusted(&["call", "guest/echo", arguments]).expect(0);
        let log = self::log(&world);
        let line: Value = serde_json::from_str(log.lines().rfind(|l| l.contains("\"decision\"")).unwrap()).unwrap();
        line["arguments"].as_str().unwrap().to_owned()
    };
    let (one, again, other) = (code(r#"{"text":"a"}"#), code(r#"{"text":"a"}"#), code(r#"{"text":"b"}"#));
    assert!(one == again && one != other);
}

#[test]
fn the_decision_stands_before_the_lane_starts() {
    let world = world();
    let plugins = world.path("plugins");
    let flags = ["--profile", "trusted", "--plugin-dir", plugins.to_str().unwrap(), "call", "guest/sleep", r#"{"ms":20000}"#];
    let mut child = world.command(&flags).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !log(&world).contains("\"allow\"") && started.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.try_wait().unwrap().is_none(), "the guest still sleeps");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(whole(&world), [] as [String; 0]);
    let shown = world.palisade(&["audit", "show"]).expect(0).stdout;
    assert!(shown.ends_with("Z guest/sleep: allow → no outcome\n"), "{shown}");
}

#[test]
fn a_call_whose_record_cannot_be_written_does_not_run() {
    let world = world();
    let grant = ["--grant", "guest:fs:write:@workspace/out"];
    let write = r#"{"path":"out/made","text":"x"}"#;
    // Root writes anywhere, so a file stands in the folder's place.
    let blocked = world.write("state/palisade/audit", "");
    let call = |more: &[&str]| world.trusted(&[&grant[..], more].concat());
    let error = call(&["call", "guest/write", write]).expect(1).error();
    assert!(error["kind"] == "io" && error["message"].as_str().unwrap().contains("state/palisade/audit"), "{error}");
    let ran = call(&["run", &format!("/guest/write {write}"), "/tiny/go"]).expect(1);
    assert_eq!(ran.json()["turns"][0]["calls"], json!([]));
    assert_eq!(ran.json()["turns"].as_array().unwrap().len(), 1, "the run ends there");
    assert!(ran.stderr.lines().last().unwrap().contains("\"io\""), "{}", ran.stderr);
    let mut server = Server::start(&world, Stdio::null());
    let answer = server.call(1, "guest__write", &serde_json::from_str(write).unwrap());
    let text = "it was not run (io): its record cannot be written";
    assert_eq!((&answer["result"]["isError"], &answer["result"]["content"][0]["text"]), (&json!(true), &json!(text)), "{answer}");
    server.end();
    // A denial stands, and the operator hears of it, however quiet.
    let denied = call(&["-q", "call", "guest/shell"]).expect(3);
    assert!(denied.stderr.contains("error (io): the audit log cannot be written"), "{}", denied.stderr);
    assert!(!world.path("workspace/out/made").exists());
    std::fs::remove_file(blocked).unwrap();
    call(&["call", "guest/write", write]).expect(0);
    assert!(world.path("workspace/out/made").exists());
    std::fs::remove_file(world.path("workspace/out/made")).unwrap();
    // A file that may not grow: what was begun of a record is taken back.
    let before = log(&world);
    let plugins = world.path("plugins").display().to_string();
    let blocks = before.len() / 512 + 1;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), binary().to_str().unwrap()]);
    command.args(["--profile", "trusted", "--format", "json", "--plugin-dir", &plugins]).args(grant).args(["call", "guest/write", write]);
    let given = world.command(&[]);
    command.current_dir(world.workspace()).env_clear().envs(given.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdin(Stdio::null());
    let full = palisade_tests::answer(command).expect(1);
    assert_eq!(full.error()["kind"], "io");
    assert!(!world.path("workspace/out/made").exists());
    assert!(log(&world).starts_with(&before) && log(&world).ends_with('\n'));
    assert_eq!(whole(&world), [] as [String; 0]);
}

#[test]
fn a_changed_removed_inserted_or_moved_record_is_found_with_file_and_line() {
    let world = world();
    world.trusted(&["run", "/tiny/go", "/tiny/go", "/tiny/go"]).expect(0);
    world.trusted(&["call", "tiny/go"]).expect(0);
    let file = files(&world).remove(0);
    let original = std::fs::read(&file).unwrap();
    let lines: Vec<Vec<u8>> = original.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.len(), 10);
    let with = |lines: Vec<Vec<u8>>| {
        std::fs::write(&file, lines.concat()).unwrap();
        findings(&world, &[])
    };
    for at in 0..lines.len() {
        // Any byte: a value, a number, a hash, and the end.
        for place in [7, lines[at].len() / 2, lines[at].len() - 10] {
            let mut changed = lines.clone();
            changed[at][place] ^= 1;
            let found = with(changed);
            assert_eq!(found[0], (at as u64 + 1, "it was changed: its hash is not that of its bytes".to_owned()), "{at} {place}");
        }
        if at + 1 < lines.len() {
            let mut removed = lines.clone();
            removed.remove(at);
            assert_eq!(with(removed)[0].0, at as u64 + 1, "removed {at}");
            let mut moved = lines.clone();
            moved.swap(at, at + 1);
            assert_eq!(with(moved)[0].0, at as u64 + 1, "moved {at}");
        }
        let mut inserted = lines.clone();
        inserted.insert(at + 1, lines[at].clone());
        assert_eq!(with(inserted)[0].0, at as u64 + 2, "inserted {at}");
    }
    let mut foreign = lines.clone();
    foreign.insert(3, b"{}\n".to_vec());
    assert_eq!(with(foreign)[0].0, 4);
    let text = world.palisade(&["audit", "verify"]).expect(7).stdout;
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(text.starts_with(&format!("{name} line 4: it was changed")), "{text}");
    std::fs::write(&file, original).unwrap();
    whole(&world);
}

#[test]
fn a_cut_off_tail_and_a_rewritten_log_are_found_with_an_anchor_alone() {
    let world = world();
    world.trusted(&["call", "tiny/go"]).expect(0);
    let anchor = world.palisade(&["audit", "anchor"]).expect(0).stdout;
    assert_eq!(anchor.lines().count(), 1);
    let kept = world.write("anchor", &anchor);
    let given = ["--anchor", kept.to_str().unwrap()];
    world.trusted(&["call", "tiny/go"]).expect(0);
    assert_eq!(verify(&world, &given).expect(0).json()["anchored"], true);
    verify(&world, &["--anchor", anchor.trim()]).expect(0);
    let file = files(&world).remove(0);
    let text = std::fs::read_to_string(&file).unwrap();
    let cut: String = text.split_inclusive('\n').take(2).collect();
    std::fs::write(&file, cut).unwrap();
    let silent = world.palisade(&["audit", "verify"]).expect(0).stdout;
    assert!(silent.contains("shows only with --anchor"), "what it cannot tell, it says: {silent}");
    assert!(findings(&world, &given)[0].1.starts_with("its end was cut off: record 3 is gone, and the anchor names it"));
    // Written over by later calls: another record stands there now.
    world.trusted(&["call", "tiny/go"]).expect(0);
    whole(&world);
    assert_eq!(findings(&world, &given), [(3, "it is another record than the one that the anchor names".to_owned())]);
    std::fs::remove_dir_all(folder(&world)).unwrap();
    world.trusted(&["call", "tiny/go"]).expect(0);
    whole(&world);
    assert!(findings(&world, &given)[0].1.starts_with("it is gone, the anchor names it"));
    assert_eq!(verify(&world, &["--anchor", "palisade-audit-1"]).expect(2).error()["kind"], "usage");
    assert_eq!(verify(&world, &["--anchor", "no-such-file"]).expect(1).error()["kind"], "io");
}

#[test]
fn a_torn_last_line_is_a_note_and_the_log_goes_on() {
    let world = world();
    world.trusted(&["call", "tiny/go"]).expect(0);
    let file = files(&world).remove(0);
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"seq\":4,\"ti").unwrap();
    world.trusted(&["call", "tiny/go"]).expect(0);
    assert_eq!(files(&world).len(), 2);
    let notes = whole(&world);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(notes.len() == 1 && notes[0].starts_with(&format!("{name} line 4 is torn")), "{notes:?}");
    let shown = world.palisade(&["--format", "json", "audit", "show"]).expect(0).json();
    assert_eq!(shown["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn show_filters_by_tool_verdict_age_and_number() {
    let world = world();
    world.trusted(&["run", "/tiny/go", "/guest/echo {\"text\":\"a\"}", "/guest/shell {}", "/guest/trap {}"]).expect(0);
    let show = |more: &[&str]| {
        let found = world.palisade(&[&["--format", "json", "audit", "show"], more].concat()).expect(0).json();
        let row = |e: &Value| format!("{} {} {}", e["tool"].as_str().unwrap(), e["verdict"].as_str().unwrap(), e["outcome"]["outcome"]);
        (found["entries"].as_array().unwrap().iter().map(row).collect::<Vec<_>>(), found["older"].as_u64().unwrap())
    };
    let all = ["tiny/go allow \"ok\"", "guest/echo allow \"ok\"", "guest/shell deny null", "guest/trap allow \"error\""].map(str::to_owned);
    assert_eq!(show(&[]), (all.to_vec(), 0));
    assert_eq!(show(&["--tool", "guest/"]), (all[1..].to_vec(), 0));
    assert_eq!(show(&["--denied"]), (vec![all[2].clone()], 0));
    assert_eq!(show(&["--limit", "1"]), (vec![all[3].clone()], 3));
    assert_eq!(show(&["--since", "2h"]), (all.to_vec(), 0));
    assert_eq!(show(&["--since", "2999-01-01T00:00:00Z"]), (vec![], 0));
    assert_eq!(world.palisade(&["--format", "json", "audit", "show", "--since", "x"]).expect(2).error()["kind"], "usage");
    let text = world.palisade(&["audit", "show", "--denied"]).expect(0).stdout;
    assert!(text.contains("Z guest/shell: deny #1 by shell-gate (built-in): "), "{text}");
}

#[test]
fn quiet_changes_nothing_and_commands_without_calls_write_nothing() {
    let logged = |flags: &[&str]| {
        let world = world();
        for command in
            [&["tools", "--all"][..], &["explain", "tiny/go"], &["status"], &["run", "x"], &["audit", "show"], &["audit", "verify"]]
        {
            world.trusted(command).expect(0);
        }
        assert!(!folder(&world).exists());
        world.trusted(&[flags, &["call", "tiny/go"]].concat()).expect(0);
        world.trusted(&[flags, &["call", "guest/shell"]].concat()).expect(3);
        steady_log(&world)
    };
    let plain = logged(&[]);
    assert_eq!(plain.lines().count(), 5);
    assert_eq!(logged(&["-q"]), plain);
    assert_eq!(logged(&["-v"]), plain);
}

#[test]
fn its_modes_hold_under_any_umask() {
    let world = World::new();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 0; exec \"$0\" call a/b", binary().to_str().unwrap()]).current_dir(world.workspace()).env_clear();
    command.env("HOME", world.path("home"));
    answer(command).expect(3);
    let folder = world.path("home/.local/state/palisade/audit");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&folder), mode(folder.parent().unwrap())), (0o600, 0o700, 0o700));
}

/// Decisions in the log, by the process that made them.
fn decisions(world: &World) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for file in files(world) {
        let mut process = 0;
        for line in std::fs::read_to_string(file).unwrap().split_inclusive('\n').filter(|l| l.ends_with('\n')) {
            let line: Value = serde_json::from_str(line).unwrap();
            match line["event"].as_str().unwrap() {
                "start" => process = u32::try_from(line["process"].as_u64().unwrap()).unwrap(),
                "decision" => *counts.entry(process).or_default() += 1,
                _ => {}
            }
        }
    }
    counts
}

/// Decisions that a process told of.
fn acknowledged(stderr: &std::path::Path) -> usize {
    std::fs::read_to_string(stderr).unwrap().split_inclusive('\n').filter(|l| l.starts_with("tiny/go: ✓name") && l.ends_with('\n')).count()
}

#[test]
fn many_processes_at_once_write_one_log() {
    let world = world();
    world.trusted(&["call", "tiny/go"]).expect(0);
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(&world, Stdio::null())).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..10).for_each(|_| drop(world.trusted(&["call", "tiny/go"]).expect(0))));
        }
        for server in &mut servers {
            scope.spawn(|| {
                for id in 1..=100 {
                    assert!(server.call(id, "tiny__go", &json!({}))["error"].is_null());
                }
            });
        }
    });
    servers.into_iter().for_each(Server::end);
    assert_eq!(whole(&world), [] as [String; 0]);
    assert_eq!(decisions(&world).values().sum::<usize>(), 1 + 30 + 300);
    assert_eq!(log(&world).matches("\"outcome\":\"ok\"").count(), 331);
    assert!(files(&world).len() <= 6, "{} files: one for each that writes at once", files(&world).len());
}

#[test]
fn of_two_hosts_one_is_killed_a_hundred_times_and_nothing_acknowledged_is_lost() {
    let world = world();
    world.trusted(&["call", "tiny/go"]).expect(0);
    let stderr = |name: &str| Stdio::from(std::fs::File::create(world.path(name)).unwrap());
    let mut steady = Server::start(&world, stderr("steady"));
    let mut told = Vec::new();
    for round in 0..100u64 {
        let name = format!("killed-{round}");
        let mut victim = Server::start(&world, stderr(&name));
        let mut stdin = victim.child.stdin.take().unwrap();
        // As many as it can take, so that the kill finds it writing.
        let feeder =
            std::thread::spawn(move || (1..).try_for_each(|id| writeln!(stdin, "{}", request(id, "tiny__go", &json!({})))).is_err());
        let mut answers = victim.answers;
        let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()).is_ok());
        assert!(steady.call(round + 1, "tiny__go", &json!({}))["error"].is_null());
        std::thread::sleep(Duration::from_micros((round * 7919) % 40_000));
        victim.child.kill().unwrap();
        victim.child.wait().unwrap();
        assert!(feeder.join().unwrap() && reader.join().unwrap());
        told.push((victim.child.id(), acknowledged(&world.path(&name))));
    }
    let process = steady.child.id();
    steady.end();
    let notes = whole(&world);
    assert!(notes.iter().all(|note| note.contains(" is torn: ")), "{notes:?}");
    let decided = decisions(&world);
    assert_eq!((decided[&process], acknowledged(&world.path("steady"))), (100, 100));
    for (process, told) in &told {
        assert!(decided.get(process).copied().unwrap_or(0) >= *told, "{process} told of {told}: {decided:?}");
    }
    let all: usize = told.iter().map(|(_, told)| told).sum();
    println!("{all} acknowledged decisions of 100 killed processes, {} torn lines, {} files", notes.len(), files(&world).len());
    assert!(all > 100, "the kills found them writing: {all}");
}
