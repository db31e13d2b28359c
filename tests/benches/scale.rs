//! What many cost: threads, plugins, calls in flight, hostile neighbours, and an idle server. Each measurement of memory
//! is a process of its own.

use palisade::config::Options;
use palisade::sandbox::Allocator;
use palisade_tests::bench::{call, figure, host, load, median, memory, percentile, runtime, settle};
use palisade_tests::{World, answer, example, guest, raw};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const POOL: Allocator = Allocator::Pool(palisade::POOL);
const ROUNDS: usize = 9;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let parts: [(&str, fn()); 5] =
        [("threads", threads), ("plugins", plugins), ("flight", flight), ("idle", idle), ("neighbours", neighbours)];
    match args.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        // Asked for by a test runner that lists tests: this is none.
        [.., "--list"] => {}
        ["calls-in-flight", count] => in_flight(count.parse().expect("a count")),
        // `cargo bench --bench scale -- threads` is one part.
        [part, ..] if parts.iter().any(|(name, _)| *name == part) => {
            parts.iter().filter(|(name, _)| *name == part).for_each(|(_, run)| run());
        }
        _ => parts.iter().for_each(|(_, run)| run()),
    }
}

fn threads() {
    two_threads("tiny/go", "{}");
    two_threads("text-stats/count", r#"{"text":"one two three"}"#);
}

/// Each in a process of its own.
fn flight() {
    let program = std::env::current_exe().expect("a bench knows its own path");
    for count in ["1", "1000"] {
        assert!(Command::new(&program).args(["calls-in-flight", count]).status().expect("it runs").success());
    }
}

/// Calls a second of one thread, and of two.
fn two_threads(id: &str, arguments: &str) {
    let world = World::new();
    let tiny = world.plugin("tiny", &raw::component("", "(i32.const 1024)"), "");
    let host = host(&world, vec![example("text-stats"), tiny], 100, POOL);
    let rate = |threads: usize| {
        let (start, over) = (Barrier::new(threads), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let work = || {
                let runtime = runtime();
                runtime.block_on(async {
                    call(&host, id, arguments).await;
                    start.wait();
                    let (begin, mut calls) = (Instant::now(), 0u32);
                    while !over.load(Ordering::Relaxed) {
                        assert!(call(&host, id, arguments).await.error.is_none());
                        calls += 1;
                        if calls.is_multiple_of(64) && begin.elapsed().as_millis() > 200 {
                            over.store(true, Ordering::Relaxed);
                        }
                    }
                    f64::from(calls) / begin.elapsed().as_secs_f64()
                })
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running.into_iter().map(|thread| thread.join().expect("a thread")).sum::<f64>()
        })
    };
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (rate(1), rate(2))).collect();
    let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    let value = format!("{:.2} × ({:.0} k calls a second against {:.0} k)", of(|r| r.1 / r.0), of(|r| r.1) / 1e3, of(|r| r.0) / 1e3);
    figure(&format!("two threads beside one, `{id}`"), &value, "at least 1.6 ×");
    figure(&format!("calls a second on two threads, `{id}`"), &format!("{:.0}", of(|r| r.1)), "at least 100000");
}

/// A start of the binary with so many plugins, each of its own bytes, from the code cache.
fn plugins() {
    for count in [1, 10, 100, 1000] {
        let world = World::new();
        let dir = world.path("plugins");
        for i in 0..count {
            let code = raw::component(&format!("(data (i32.const 3000) \"{i}\")"), "(i32.const 1024)");
            world.plugin(&format!("p{i}"), &code, "");
        }
        let start = || {
            let mut command =
                world.command(&["--profile", "trusted", "--format", "json", "--plugin-dir", dir.to_str().expect("text"), "tools"]);
            command.env("XDG_CACHE_HOME", world.path("home/cache"));
            let begin = Instant::now();
            let output = answer(command).expect(0);
            let took = begin.elapsed().as_secs_f64() * 1e3;
            assert_eq!(output.json()["tools"].as_array().expect("tools").len(), count);
            took
        };
        start();
        settle();
        start();
        let times = (0..ROUNDS).map(|_| start()).collect();
        let mut command = world.command(&["--profile", "trusted", "--plugin-dir", dir.to_str().expect("text"), "serve"]);
        command.env("XDG_CACHE_HOME", world.path("home/cache"));
        let memory = served(command, &[]);
        let goal = if count == 1000 { "at most 150 ms, 100 MB" } else { "" };
        let value = format!("{:.1} ms, {:.1} MB", median(times), memory as f64 / 1e6);
        figure(&format!("{count} plugins from the code cache: `tools` as a process, and what a server of them holds"), &value, goal);
    }
}

/// The memory of a server that answered these calls and is idle.
fn served(mut command: Command, calls: &[(&str, &str)]) -> u64 {
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut input = server.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
    writeln!(input, "{hello}").expect("it reads");
    lines.next().expect("an answer").expect("text");
    writeln!(input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).expect("it reads");
    for (id, (name, arguments)) in calls.iter().enumerate() {
        let params = format!(r#"{{"name":"{name}","arguments":{arguments}}}"#);
        writeln!(input, r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#, id + 1).expect("it reads");
        let answer = lines.next().expect("an answer").expect("text");
        assert!(answer.contains("\"isError\":false"), "{answer}");
    }
    std::thread::sleep(Duration::from_millis(500));
    let held = memory(&server.id().to_string(), "VmRSS");
    drop(input);
    assert!(server.wait().expect("it ends").success());
    held
}

/// A server of all examples that made some calls.
fn idle() {
    let world = World::new();
    let plugins = palisade_tests::root().join("target/plugins").display().to_string();
    let flags = ["--profile", "trusted", "--plugin-dir", &plugins, "serve"];
    let calls = [("text-stats__count", r#"{"text":"one two three"}"#), ("json-query__query", r#"{"filter":"length","json":"[1,2]"}"#)];
    let value = |calls| format!("{:.1} MB", served(world.command(&flags), calls) as f64 / 1e6);
    value(&calls[..1]);
    figure("an idle server of all example plugins", &value(&[]), "at most 25 MB");
    figure("the same after calls of two of them", &value(&calls), "at most 25 MB");
}

/// What a call that waits in the host holds of memory.
fn in_flight(count: usize) {
    let world = World::new();
    let limits = format!("[limits]\nin_flight = {count}\nin_flight_source = {count}\n");
    world.write("home/config.toml", limits);
    let sleeper = world.plugin("sleeper", &raw::sleeper(1000), "");
    let pool = Allocator::Pool(u32::try_from(count).expect("a count").max(palisade::POOL));
    let host = Arc::new(host(&world, vec![sleeper], 100, pool));
    let runtime = runtime();
    // Everything that is made once.
    runtime.block_on(call(&host, "sleeper/go", "{}"));
    let before = memory("self", "VmRSS");
    let begin = Instant::now();
    let during = runtime.block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..count {
            let host = host.clone();
            calls.spawn(async move { call(&host, "sleeper/go", "{}").await.error });
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let during = memory("self", "VmRSS");
        for error in calls.join_all().await {
            assert!(error.is_none(), "{error:?}");
        }
        during
    });
    let took = begin.elapsed().as_secs_f64();
    let each = |memory: u64| memory.saturating_sub(before) as f64 / 1024.0 / count as f64;
    let goal = if count == 1 { "" } else { "at most 32 KiB each" };
    let value = format!("{:.1} KiB each; kept for the next {:.1}; all over in {took:.2} s", each(during), each(memory("self", "VmRSS")));
    figure(&format!("{count} calls in flight, each waiting a second"), &value, goal);
}

/// A stream of good calls alone, and beside 64 hostile ones.
fn neighbours() {
    let world = World::new();
    world.write("home/config.toml", "[limits]\ntime = \"1s\"\nin_flight = 128\n");
    let hostile: Vec<PathBuf> = (0..4).map(|i| world.plugin(&format!("hostile-{i}"), &guest("guest"), "")).collect();
    let plugins = hostile.into_iter().chain([example("text-stats")]).collect();
    let options = Options { profile: Some("trusted".to_owned()), workspace: Some(world.workspace()), plugins, ..Options::default() };
    let host = Arc::new(load(&world, &options, Allocator::Pool(128)));
    // As the server runs: calls of all clients on the same threads.
    let shared = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("a runtime");
    let stream = |time: Duration| {
        let host = host.clone();
        let work = async move {
            let (begin, mut times) = (Instant::now(), Vec::new());
            while begin.elapsed() < time {
                let start = Instant::now();
                let record = call(&host, "text-stats/count", r#"{"text":"one two three"}"#).await;
                times.push(start.elapsed().as_secs_f64() * 1e6);
                assert!(record.error.is_none(), "{:?}", record.error);
                tokio::task::yield_now().await;
            }
            times
        };
        shared.block_on(shared.spawn(work)).expect("a stream")
    };
    stream(Duration::from_millis(300));
    let idle = stream(Duration::from_secs(3));
    let over = Arc::new(AtomicBool::new(false));
    let calls: Vec<_> = (0..64)
        .map(|i| {
            let (host, over, kinds) = (host.clone(), over.clone(), ["spin", "recurse", "chatter", "grow"]);
            let arguments = ["{}", "{}", r#"{"lines":999000}"#, r#"{"mib":4000}"#];
            shared.spawn(async move {
                let mut count = 0u32;
                while !over.load(Ordering::Relaxed) {
                    call(&host, &format!("hostile-{}/{}", i % 4, kinds[i / 4 % 4]), arguments[i / 4 % 4]).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let beside = stream(Duration::from_secs(5));
    over.store(true, Ordering::Relaxed);
    let hostile: u32 = calls.into_iter().map(|call| shared.block_on(call).expect("a call")).sum();
    let of = |times: &Vec<f64>| (percentile(times.clone(), 50), percentile(times.clone(), 99), times.len());
    let (idle, beside) = (of(&idle), of(&beside));
    let value = format!(
        "p99 {:.0} µs, p50 {:.0} µs, {} calls; alone p99 {:.0} µs, p50 {:.0} µs: {:.1} × ({hostile} hostile calls ended)",
        beside.1,
        beside.0,
        beside.2,
        idle.1,
        idle.0,
        beside.1 / idle.1
    );
    figure("good calls beside 64 hostile ones of 4 sources", &value, "p99 at most 10 ×");
}
