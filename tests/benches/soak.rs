//! Ten million calls in one process, of every kind and ending in every way: memory, descriptors, threads and files stay
//! what they were after a warm-up.
//!
//! `PALISADE_SOAK` says how many; with `PALISADE_SOAK_ONLY` all of them are of that one way.

use palisade::config::Options;
use palisade::policy::Verdict;
use palisade::record::CallRecord;
use palisade::sandbox::{Allocator, Run};
use palisade::{Error, Host, Kind, ToolCall};
use palisade_tests::bench::{load, memory, runtime};
use palisade_tests::{World, example, guest, raw};
use std::future::ready;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const CALLS: u64 = 10_000_000;
const THREADS: usize = 2;
/// Lines printed over the run.
const SAMPLES: u64 = 20;
/// What memory may grow by after the warm-up.
const GROWTH: u64 = 4 << 20;
/// After this the threads that had no blocking work for ten seconds are gone: how many there are at a moment is chance.
const REST: Duration = Duration::from_secs(15);

/// How a call is made.
#[derive(Clone, Copy)]
enum Made {
    /// And waited for.
    Whole,
    /// And the caller gives up after a moment, but waits.
    Cancelled,
    /// And dropped as soon as it waits for anything.
    Dropped,
    /// And dropped after a moment.
    DroppedLater,
}

/// How it must end.
#[derive(Clone, Copy)]
enum Ends {
    /// With a text that holds this.
    With(&'static str),
    /// Denied by this rule.
    Denied(&'static str),
    /// With an error of this kind.
    Fails(Kind),
    /// With no record, as there is no such tool.
    Absent,
    /// It does not: it was dropped.
    Never,
}

struct Way {
    name: &'static str,
    made: Made,
    tool: &'static str,
    arguments: &'static str,
    ends: Ends,
}

const fn way(name: &'static str, made: Made, tool: &'static str, arguments: &'static str, ends: Ends) -> Way {
    Way { name, made, tool, arguments, ends }
}

use Ends::{Absent, Denied, Fails, Never, With};
use Made::{Cancelled, Dropped, DroppedLater, Whole};

const TINY: Way = way("tiny", Whole, "tiny/go", "{}", With(""));
const COUNT: Way = way("count", Whole, "text-stats/count", r#"{"text":"one two three"}"#, With(r#""words":3"#));

/// Good calls that cost more.
const SLOW: [Way; 6] = [
    way("query", Whole, "json-query/query", r#"{"filter":".a[1]","json":"{\"a\":[1,2]}"}"#, With(r#""results":[2]"#)),
    way("count-file", Whole, "text-stats/count-file", r#"{"path":"notes.txt"}"#, With(r#""lines":2"#)),
    way("grep", Whole, "search/grep", r#"{"pattern":"needle"}"#, With("beta needle")),
    way("secrets", Whole, "secrets/scan", "{}", With(r#""findings":[]"#)),
    way("intruder", Whole, "intruder/probe", "{}", With(" 0 succeeded")),
    way("guest", Whole, "guest/counter", "{}", With("1")),
];

/// Every hundredth call fails, in these ways in turn.
const FAILS: [Way; 12] = [
    way("denied by name", Whole, "guest/echo", r#"{"text":"a"}"#, Denied("deny-name")),
    way("shell", Whole, "shell/bash", r#"{"command":"ls"}"#, Denied("shell-gate")),
    way("unknown", Whole, "no/such", "{}", Absent),
    way("schema", Whole, "text-stats/count", r#"{"text":["a"]}"#, Denied("arguments")),
    way("not JSON", Whole, "text-stats/count", r#"{"text":"a"#, Denied("arguments")),
    way("trap", Whole, "guest/trap", "{}", Fails(Kind::Trap)),
    way("tool-failed", Whole, "guest/refuse", r#"{"text":"no"}"#, Fails(Kind::ToolFailed)),
    way("limit-output", Whole, "guest/huge", r#"{"mib":1}"#, Fails(Kind::LimitOutput)),
    way("limit-memory", Whole, "guest/grow", r#"{"mib":9}"#, Fails(Kind::LimitMemory)),
    way("limit-memory at once", Whole, "greedy/go", "{}", Fails(Kind::LimitMemory)),
    way("limit-calls", Whole, "guest/chatter", r#"{"lines":1000}"#, Fails(Kind::LimitCalls)),
    way("dropped", Dropped, "long-sleeper/go", "{}", Never),
];

/// Of those that fail, every hundredth takes milliseconds.
const WAITS: [Way; 6] = [
    way("limit-time, busy", Whole, "spinner/go", "{}", Fails(Kind::LimitTime)),
    way("limit-time, waiting", Whole, "sleeper/go", "{}", Fails(Kind::LimitTime)),
    way("cancelled, busy", Cancelled, "long-spinner/go", "{}", Fails(Kind::Cancelled)),
    way("cancelled, waiting", Cancelled, "long-sleeper/go", "{}", Fails(Kind::Cancelled)),
    way("dropped, busy", DroppedLater, "long-spinner/go", "{}", Never),
    way("dropped, waiting", DroppedLater, "long-sleeper/go", "{}", Never),
];

/// The way of the call of that number: most are small and good.
fn of(number: u64) -> &'static Way {
    let turn = |ways: &'static [Way], turn: u64| &ways[(turn % ways.len() as u64) as usize];
    let failure = number / 100;
    match number % 1000 {
        _ if number % 100 == 99 && failure % 100 == 99 => turn(&WAITS, failure / 100),
        _ if number % 100 == 99 => turn(&FAILS, failure),
        slow @ (111 | 222 | 333 | 444 | 555 | 666) => turn(&SLOW, slow / 111 - 1),
        n if n % 10 == 5 => &COUNT,
        _ => &TINY,
    }
}

fn all() -> impl Iterator<Item = &'static Way> {
    [&TINY, &COUNT].into_iter().chain(&SLOW).chain(&FAILS).chain(&WAITS)
}

fn host(world: &World) -> Host {
    world.write("workspace/notes.txt", "alpha\nbeta needle\n");
    let spin = raw::component("", "(loop (br 0)) (i32.const 1024)");
    let own = |name: &str, component: &[u8], limits: &str| world.plugin(name, component, &format!("[limits]\n{limits}\n"));
    let mut plugins = vec![
        own("tiny", &raw::component("", "(i32.const 1024)"), ""),
        own("greedy", &raw::component("", "(drop (memory.grow (i32.const 10000))) (i32.const 1024)"), ""),
        own("spinner", &spin, "time = \"5ms\""),
        own("sleeper", &raw::sleeper(60_000), "time = \"5ms\""),
        own("long-spinner", &spin, "grace = \"1ms\""),
        own("long-sleeper", &raw::sleeper(60_000), "grace = \"1ms\""),
        own("guest", &guest("guest"), "memory = \"8MiB\"\nresult = \"64KiB\"\nhost_calls = 500"),
    ];
    plugins.extend(["text-stats", "search", "json-query", "secrets", "intruder", "shell"].map(example));
    let options = Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugins,
        deny_tools: vec!["guest/echo".to_owned()],
        grants: ["text-stats", "search", "secrets"].map(|name| format!("{name}:fs:read:@workspace")).to_vec(),
        ..Options::default()
    };
    let host = load(world, &options, Allocator::Pool(palisade::POOL));
    assert!(host.quarantined().is_empty() && host.warnings().is_empty(), "{:?} {:?}", host.quarantined(), host.warnings());
    host
}

/// Makes one call and checks how it ended.
async fn make(host: &Host, way: &Way) {
    const MOMENT: Duration = Duration::from_millis(2);
    let call = |run| host.call(ToolCall::new(way.tool, way.arguments), Verdict::pass(), run, |_| {});
    let ended = match way.made {
        Whole => Some(call(Run::default()).await),
        Cancelled => {
            let (cancel, cancelled) = tokio::sync::watch::channel(false);
            let give_up = async {
                tokio::time::sleep(MOMENT).await;
                cancel.send(true).expect("somebody waits");
            };
            Some(tokio::join!(call(Run { cancelled: Some(cancelled), progress: None }), give_up).0)
        }
        Dropped => tokio::select! {
            biased;
            ended = call(Run::default()) => Some(ended),
            () = ready(()) => None,
        },
        DroppedLater => tokio::time::timeout(MOMENT, call(Run::default())).await.ok(),
    };
    assert!(as_expected(way.ends, ended.as_ref()), "{}: {ended:?}", way.name);
}

fn as_expected(ends: Ends, ended: Option<&Result<CallRecord, Error>>) -> bool {
    match (ends, ended) {
        (Never, None) => true,
        (Absent, Some(Err(error))) => error.kind == Kind::NotFound,
        (With(part), Some(Ok(record))) => record.error.is_none() && record.text().contains(part),
        (Fails(kind), Some(Ok(record))) => record.error.as_ref().is_some_and(|e| e.kind == kind),
        (Denied(rule), Some(Ok(record))) => record.denial.as_ref().is_some_and(|d| d.rule == rule),
        _ => false,
    }
}

/// What the process holds.
#[derive(Debug)]
struct Held {
    memory: u64,
    /// Of what, which tells where one was lost.
    descriptors: Vec<String>,
    threads: usize,
    files: usize,
}

impl Held {
    fn now(world: &World) -> Self {
        let entries = |folder: &str| std::fs::read_dir(folder).expect("a folder").flatten();
        let target = |entry: std::fs::DirEntry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string());
        // Without the one that reads this list.
        let descriptors = entries("/proc/self/fd").filter_map(target).filter(|d| !d.ends_with("/fd")).collect();
        let threads = entries("/proc/self/task").count();
        Self { memory: memory("self", "VmRSS"), descriptors, threads, files: world.files().len() }
    }

    fn grew(&self, since: &Self) -> bool {
        self.memory > since.memory + GROWTH
            || self.descriptors.len() > since.descriptors.len()
            || self.threads > since.threads
            || self.files > since.files
    }

    fn print(&self, what: &str, calls: u64, began: Instant) {
        let (time, memory) = (began.elapsed().as_secs_f64(), self.memory as f64 / f64::from(1 << 20));
        let (descriptors, Self { threads, files, .. }) = (self.descriptors.len(), self);
        println!("{what:8} {calls:>9} calls {time:>8.1} s  {memory:>7.2} MiB  {descriptors} descriptors  {threads} threads  {files} files");
    }
}

fn main() -> ExitCode {
    // Asked for by a test runner that lists tests: this is none.
    if std::env::args().any(|a| a == "--list") {
        return ExitCode::SUCCESS;
    }
    let calls = std::env::var("PALISADE_SOAK").map_or(CALLS, |n| n.parse().expect("PALISADE_SOAK is a number"));
    let only = std::env::var("PALISADE_SOAK_ONLY").ok().map(|name| all().find(|w| w.name == name).expect("a way of that name"));
    let world = World::new();
    let host = host(&world);
    let began = Instant::now();
    let runtimes = [(); THREADS].map(|()| runtime());
    let each = calls / THREADS as u64;
    // Threads for blocking work, and what the allocator keeps for each, come in the first hundred thousand calls.
    let warm = (each / 50).max(50_000).min(each / 2);
    // The calls of each thread from one number to another; each is at another place of the round.
    let part = |from: u64, to: u64| {
        std::thread::scope(|scope| {
            for (runtime, thread) in runtimes.iter().zip(0u64..) {
                let (host, first) = (&host, thread * 8_400);
                let make = move |number| runtime.block_on(make(host, only.unwrap_or_else(|| of(number))));
                scope.spawn(move || (first + from..first + to).for_each(make));
            }
        });
        to * THREADS as u64
    };
    // A component is loaded once more for each engine, and which one is a thread's is for it to say: several threads, all
    // ways on each.
    for _ in 0..4 {
        let round =
            || all().filter(|way| only.is_none_or(|only| only.name == way.name)).for_each(|way| runtimes[0].block_on(make(&host, way)));
        std::thread::scope(|scope| drop(scope.spawn(|| (0..8).for_each(|_| round()))));
    }
    let made = part(0, warm);
    std::thread::sleep(REST);
    let start = Held::now(&world);
    start.print("warm", made, began);
    let at = |sample: u64| warm + (each - warm) * sample / SAMPLES;
    for sample in 0..SAMPLES {
        let made = part(at(sample), at(sample + 1));
        Held::now(&world).print("", made, began);
    }
    std::thread::sleep(REST);
    let end = Held::now(&world);
    end.print("at rest", each * THREADS as u64, began);
    if end.grew(&start) {
        println!("it grew: from {start:#?}\nto {end:#?}");
        return ExitCode::FAILURE;
    }
    println!("nothing grew");
    ExitCode::SUCCESS
}
