//! What benches share: a host, how a time is taken, and a table of figures.

use crate::{World, binary};
use palisade::audit::Sizes;
use palisade::config::{Home, Options, Settings};
use palisade::policy::Verdict;
use palisade::record::CallRecord;
use palisade::sandbox::{Allocator, Run};
use palisade::{Host, LoadOptions, ToolCall};
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A runtime as small as one can be.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// A trusted host of these plugins, with deny rules that deny nothing of theirs.
#[must_use]
pub fn host(world: &World, plugins: Vec<PathBuf>, rules: usize, allocator: Allocator) -> Host {
    load(world, &options(world, plugins, rules), allocator)
}

/// What [`host`] is loaded with.
#[must_use]
pub fn options(world: &World, plugins: Vec<PathBuf>, rules: usize) -> Options {
    Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugins,
        deny_tools: (0..rules / 2).map(|i| format!("denied-{i}/tool")).collect(),
        deny_prefixes: (0..rules / 2).map(|i| format!("none-{i}/")).collect(),
        ..Options::default()
    }
}

/// A host with these options.
///
/// # Panics
/// When it does not load.
#[must_use]
pub fn load(world: &World, options: &Options, allocator: Allocator) -> Host {
    load_with(world, options, allocator, None)
}

/// The same, with an audit log or without.
///
/// # Panics
/// When it does not load.
#[must_use]
pub fn load_with(world: &World, options: &Options, allocator: Allocator, audit: Option<Sizes>) -> Host {
    let settings = Settings::resolve(options, Home::at(&world.path("home")).expect("a home")).expect("settings");
    let compiler = binary();
    let load = LoadOptions { compiler: Some(&compiler), allocator, audit, ..LoadOptions::default() };
    runtime().block_on(Host::load(settings, load)).expect("a host")
}

/// One call, whatever comes of it.
pub fn call<'h>(host: &'h Host, id: &str, arguments: &str) -> impl Future<Output = CallRecord> + use<'h> {
    let call = host.call(ToolCall::new(id, arguments), Verdict::pass(), Run::default(), |_| {});
    async { call.await.expect("a tool of that name") }
}

/// Nanoseconds of one turn of `work`, over as many as fill a fiftieth of a second.
pub fn time(mut work: impl FnMut()) -> f64 {
    let (start, mut turns) = (Instant::now(), 0u32);
    while turns == 0 || start.elapsed().as_millis() < 20 {
        (0..8).for_each(|_| work());
        turns += 8;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(turns)
}

/// Waits until files written just now have been still for as long as it takes: only then does the host keep what it knows of
/// them, at its next start.
pub fn settle() {
    std::thread::sleep(Duration::from_secs(5));
}

/// The middle one.
#[must_use]
pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 50)
}

/// The value that so many in a hundred do not exceed.
#[must_use]
pub fn percentile(mut values: Vec<f64>, hundredths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * hundredths / 100).min(values.len() - 1)]
}

/// A value of a process, in bytes: `VmRSS` or `VmHWM`.
///
/// # Panics
/// When there is no such process or value.
#[must_use]
pub fn memory(process: &str, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a value");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Prints one row of the table of figures. A goal starts with what it is: `at most` or `at least`.
pub fn figure(what: &str, value: &str, goal: &str) {
    println!("| {what} | {value} | {goal} |");
}
