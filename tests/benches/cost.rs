//! What the gate, the host and a cold start cost, each beside a floor measured in the same run. Ratios travel, times do not.

use palisade::Host;
use palisade::config::Options;
use palisade::policy::Verdict;
use palisade::sandbox::{Allocator, Run};
use palisade_tests::bench::{call, figure, host, load_with, median, options, runtime, settle, time};
use palisade_tests::{World, example, guest, raw, root};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

mod bare;

/// Rounds in which the two sides of a ratio take turns; the middle one is quoted.
const ROUNDS: usize = 15;

fn main() {
    // Asked for by a test runner that lists tests: this is none.
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let runtime = runtime();
    let world = World::new();
    let tiny = world.plugin("tiny", &raw::component("", "(i32.const 1024)"), "");
    let host = host(&world, vec![example("text-stats"), tiny.clone()], 100, Allocator::Pool(palisade::POOL));
    gate(&runtime, &host);
    let (small, large) = (Allocator::Pool(palisade::POOL), Allocator::Scanned(palisade::POOL));
    warm(&runtime, &host, "tiny/go", "{}", &tiny.join("tiny.wasm"), small, ("", "at most 1.6 ×"));
    let audit = Some(palisade::audit::Sizes::default());
    let audited = load_with(&world, &options(&world, vec![tiny.clone()], 100), small, audit);
    warm(&runtime, &audited, "tiny/go", "{}", &tiny.join("tiny.wasm"), small, (", with the audit log", "at most 3.0 ×"));
    let count = example("text-stats").join("text-stats.wasm");
    warm(&runtime, &host, "text-stats/count", r#"{"text":"one two three"}"#, &count, large, ("", "at most 1.6 ×"));
    for size in [1 << 10, 100 << 10, 1 << 20] {
        // Prose, and no more in all than arguments may have.
        let text: String = "one two three ".chars().cycle().take(size - r#"{"text":""}"#.len()).collect();
        warm(&runtime, &host, "text-stats/count", &format!(r#"{{"text":"{text}"}}"#), &count, large, ("", ""));
    }
    store_get(&runtime);
    foreign(&runtime, &world);
    cold(&world);
}

/// The examples that bring the runtime of a language, where `make plugins-foreign` built them.
fn foreign(runtime: &tokio::runtime::Runtime, world: &World) {
    let cases = [("markdown/to-html", r##"{"text":"# hi"}"##), ("csv-stats/describe", r#"{"text":"a,b\n1,2\n3,4\n"}"#)];
    for (id, arguments) in cases {
        let name = id.split('/').next().expect("an id has two parts");
        let plugin = root().join("target/plugins-foreign").join(name);
        let component = plugin.join(name).with_extension("wasm");
        if !component.exists() {
            println!("{name}: skipped, it is not built; make plugins-foreign builds it");
            continue;
        }
        let large = Allocator::Scanned(palisade::POOL);
        let host = host(world, vec![plugin], 0, Allocator::Pool(palisade::POOL));
        warm(runtime, &host, id, arguments, &component, large, ("", "at most 2000 µs"));
    }
}

/// What a plugin waits for one value of its store: a call that gets many, less one that gets none.
fn store_get(runtime: &tokio::runtime::Runtime) {
    const TIMES: u32 = 1000;
    let world = World::new();
    let plugin = world.plugin("store", &guest("store"), "[capabilities]\nstore = true\n");
    let options = Options { grants: vec!["store:store".to_owned()], ..options(&world, vec![plugin], 0) };
    let host = load_with(&world, &options, Allocator::Pool(palisade::POOL), None);
    let run = |tool: &str, arguments: &str| {
        let record = runtime.block_on(call(&host, tool, arguments));
        assert!(record.error.is_none() && record.denial.is_none(), "{record:?}");
    };
    run("store/put", r#"{"key":"kept","bytes":100}"#);
    let many = format!(r#"{{"key":"kept","times":{TIMES}}}"#);
    let each = |_| (time(|| run("store/gets", &many)) - time(|| run("store/gets", r#"{"key":"kept","times":0}"#))) / f64::from(TIMES);
    let value = format!("{:.2} µs", median((0..ROUNDS).map(each).collect()) / 1e3);
    figure("`store::get` of 100 bytes inside a granted plugin", &value, "at most 10 µs");
}

/// The whole gate of a denied call costs no sandbox: the arguments are parsed and validated, and then refused.
fn gate(runtime: &tokio::runtime::Runtime, host: &Host) {
    let arguments =
        r#"{"text":"A call of a usual size: a sentence or two that an agent might pass on to a tool, below two hundred bytes."}"#;
    let mut gates = Vec::new();
    for _ in 0..20_000 {
        let call = palisade::ToolCall::new("text-stats/count", arguments);
        let mut gate = 0.0;
        let record = |decision: &palisade::record::Decision<'_>| gate = decision.gate.as_secs_f64() * 1e9;
        runtime.block_on(host.call(call, Verdict::pass(), Run::default(), record)).expect("a call");
        gates.push(gate);
    }
    figure(
        &format!("the gate: 100 rules, {} bytes of arguments, parsed and validated", arguments.len()),
        &format!("{:.2} µs", median(gates) / 1e3),
        "at most 1.5 µs",
    );
}

/// `Host::call` beside the floor: the same component and engine settings, store, instance and call, nothing of ours.
fn warm(
    runtime: &tokio::runtime::Runtime,
    host: &Host,
    id: &str,
    arguments: &str,
    component: &Path,
    allocator: Allocator,
    (with, goal): (&str, &str),
) {
    let bare = bare::Bare::new(component, allocator);
    let tool = id.split('/').nth(1).expect("an id has two parts");
    let floor = || {
        black_box(runtime.block_on(bare.call(tool, arguments)));
    };
    let ours = || {
        let record = runtime.block_on(call(host, id, arguments));
        assert!(record.error.is_none(), "{:?}", record.error);
        black_box(record);
    };
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (time(ours), time(floor))).collect();
    let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    let (ours, floor, ratio) = (of(|r| r.0), of(|r| r.1), of(|r| r.0 / r.1));
    let value = format!("{:.2} µs, floor {:.2} µs: {ratio:.2} ×", ours / 1e3, floor / 1e3);
    figure(&format!("`Host::call` {id}, {} bytes of arguments{with}", arguments.len()), &value, goal);
}

/// `palisade call` as a whole process with a warm cache, beside a static C program that prints one line.
fn cold(world: &World) {
    let source = world.write("line.c", "#include <stdio.h>\nint main(void) { puts(\"one line\"); return 0; }\n");
    let program = world.path("line");
    let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        println!("cold call: skipped, no C compiler here");
        return;
    }
    let plugin = example("text-stats");
    let call = || {
        let mut command = world.command(&[
            "--profile",
            "trusted",
            "--plugin",
            plugin.to_str().expect("text"),
            "-q",
            "call",
            "text-stats/count",
            "{\"text\":\"a\"}",
        ]);
        command.env("XDG_CACHE_HOME", world.path("cache")).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        assert!(command.status().expect("the binary runs").success());
        start.elapsed().as_secs_f64() * 1e3
    };
    let line = || {
        let start = Instant::now();
        assert!(Command::new(&program).stdout(Stdio::null()).status().expect("it runs").success());
        start.elapsed().as_secs_f64() * 1e3
    };
    call();
    settle();
    call();
    let rounds: Vec<(f64, f64)> = (0..60).map(|_| (call(), line())).collect();
    let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(pick).collect());
    let value = format!("{:.2} ms, a static C program {:.2} ms: {:.2} ms more", of(|r| r.0), of(|r| r.1), of(|r| r.0 - r.1));
    figure("`palisade call` as a process, warm cache", &value, "at most 4 ms more");
}
