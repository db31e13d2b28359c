//! What a client waits for `palisade serve`, over its pipes and over HTTP, beside the same tool as Node and Python servers, and
//! beside a program that reads a line of JSON, writes one, and does nothing else or calls the component in the engine alone: less
//! than that no server can take.
//!
//! The peers are those of `make bench-peers`, which installs them; without them they are skipped, and that is said. All are
//! pinned alike: whoever asks to one processor, and each server, with all its threads, to another.
//!
//! Node compiles what it runs often as it goes, and answers sooner for thousands of calls (measured: 190 µs at first, 160 after
//! some hundred, 100 after some thousand). So each is measured twice: warm, as `make bench-peers` has it and as long as a session
//! of an agent is, and after more calls than most servers ever get.

use bare::Bare;
use palisade::sandbox::Allocator;
use palisade_tests::bench::{figure, percentile, runtime};
use palisade_tests::http::{OLD, Server};
use palisade_tests::{World, example, root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

mod bare;

/// Rounds in which all take turns.
const ROUNDS: usize = 9;
/// Calls that make a server warm, and those that are measured then, of one process for each round.
const WARM_UP: usize = 300;
const WARM: usize = 1000;
/// Calls after which nothing gets faster any more.
const MANY: usize = 10_000;
/// Calls of a round after that, for each that is in flight at once.
const CALLS: [(usize, usize); 2] = [(1, 400), (64, 1600)];
/// As long as what an agent passes on.
const TEXT: &str =
    "A call of a usual size: a sentence or two\nthat an agent might pass on to a tool,\nbelow two hundred bytes. Ünïcode too.\n";

/// Makes this program the floor, and what a fresh instance in an engine adds to it.
const FLOOR: &str = "--floor";
const BARE: &str = "--bare";

/// Answers each line that has an id, as the tool would: without one, or with an instance of its component for each.
fn floor(component: Option<PathBuf>) {
    let words = TEXT.split_whitespace().count();
    let bare = component.map(|component| (runtime(), Bare::new(&component, Allocator::Scanned(palisade::POOL))));
    let mut output = std::io::stdout().lock();
    let input = std::io::stdin().as_fd().try_clone_to_owned().expect("an input");
    let mut input = BufReader::new(std::fs::File::from(input));
    loop {
        look(&input);
        let mut line = String::new();
        if input.read_line(&mut line).expect("text") == 0 {
            return;
        }
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if let Some(id) = message["id"].as_u64() {
            let structured = match &bare {
                Some((runtime, bare)) if message["method"] == "tools/call" => {
                    runtime.block_on(bare.call("count", &message["params"]["arguments"].to_string()))
                }
                _ => json!({"words": words}).to_string(),
            };
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"structuredContent":{structured}}}}}"#);
            output.write_all(format!("{answer}\n").as_bytes()).and_then(|()| output.flush()).expect("it reads");
        }
    }
}

/// Looks for the next line for a moment, as the server does: to wake a sleeping reader takes longer than all else here.
fn look(input: &BufReader<std::fs::File>) {
    let began = Instant::now();
    while input.buffer().is_empty() && began.elapsed() < Duration::from_micros(100) {
        if poll(&mut [PollFd::new(input.get_ref(), PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return;
        }
        std::thread::yield_now();
    }
}

fn main() {
    // Asked for by a test runner that lists tests: this is none.
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let plugin = example("text-stats");
    if std::env::args().any(|a| a == FLOOR) {
        return floor(None);
    }
    if std::env::args().any(|a| a == BARE) {
        return floor(Some(plugin.join("text-stats.wasm")));
    }
    let world = World::new();
    let processors = Processors::of_this_process();
    let flags = ["--profile", "trusted", "--plugin", plugin.to_str().expect("text")];
    let node = root().join("target/peers/node/server.mjs");
    let python = root().join("target/peers/python/bin/python");
    let this = std::env::current_exe().expect("this program has a path");
    let server = root().join("tests/peers/server.py");
    let lines = |program: &Path, argument: &Path| {
        let mut command = Command::new(program);
        command.arg(argument);
        Way::Lines(Lines::start(command, "count"))
    };
    let serve = || Lines::start(world.command(&[&flags[..], &["serve"]].concat()), "text-stats__count");
    let mut peers: Vec<(&str, Start<'_>)> = vec![
        (STDIO, Box::new(|| Way::Lines(serve()))),
        ("`palisade serve`, HTTP", Box::new(|| Way::Http(Box::new(Server::start(&world, &flags))))),
        ("a line read and a line written", Box::new(|| lines(&this, Path::new(FLOOR)))),
        ("the same with a fresh instance in the engine alone", Box::new(|| lines(&this, Path::new(BARE)))),
    ];
    match node.exists() {
        true => peers.push((NODE, Box::new(|| lines(Path::new("node"), &node)))),
        false => println!("Node: skipped, it is not installed; make bench-peers installs it"),
    }
    match python.exists() {
        true => peers.push((PYTHON, Box::new(|| lines(&python, &server)))),
        false => println!("Python: skipped, it is not installed; make bench-peers installs it"),
    }
    // A process starts where its parent is, and stays there.
    let start = |make: &dyn Fn() -> Way| {
        processors.move_to(1);
        let way = make();
        processors.move_to(0);
        way
    };
    let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
    let mut all = vec![Vec::new(); peers.len()];
    let mut last = Vec::new();
    for _ in 0..ROUNDS {
        last.clear();
        for ((_, make), all) in peers.iter().zip(&mut all) {
            let mut way = start(make);
            way.times(1, WARM_UP);
            all.extend(way.times(1, WARM));
            last.push(way);
        }
    }
    show(&format!("1 in flight, calls {} to {} of a server", WARM_UP + 1, WARM_UP + WARM), &names, &all, true);
    last.iter_mut().for_each(|way| drop(way.times(1, MANY)));
    for (flight, calls) in CALLS {
        let mut all = vec![Vec::new(); peers.len()];
        for _ in 0..ROUNDS {
            for (way, all) in last.iter_mut().zip(&mut all) {
                all.extend(way.times(flight, calls));
            }
        }
        show(&format!("{flight} in flight, after {MANY} calls and more"), &names, &all, false);
    }
}

/// Prints what each took, beside Node and Python.
fn show(when: &str, names: &[&str], all: &[Vec<f64>], goal: bool) {
    let p50 = |name: &str| names.iter().position(|one| *one == name).map(|at| percentile(all[at].clone(), 50));
    let (node, python) = (p50(NODE), p50(PYTHON));
    for (name, times) in names.iter().zip(all) {
        let (p50, p99) = (percentile(times.clone(), 50), percentile(times.clone(), 99));
        let beside = |what: &str, other: Option<f64>| other.map_or(String::new(), |other| format!(", {:.2} × {what}'s p50", p50 / other));
        let measured = format!("p50 {p50:.0} µs, p99 {p99:.0} µs{}{}", beside("Node", node), beside("Python", python));
        let goal = if goal && *name == STDIO { "p50 at most 0.5 × Node's and 0.15 × Python's" } else { "" };
        figure(&format!("`tools/call`, {when}: {name}"), &measured, goal);
    }
}

const STDIO: &str = "`palisade serve`, stdio";
const NODE: &str = "the tool as a Node server, stdio";
const PYTHON: &str = "the tool as a Python server, stdio";

/// Those this process may use, where the system lets it choose one.
struct Processors(Vec<usize>);

impl Processors {
    #[cfg(target_os = "linux")]
    fn of_this_process() -> Self {
        let all = rustix::thread::sched_getaffinity(None).expect("the system says where this runs");
        Self((0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect())
    }

    #[cfg(not(target_os = "linux"))]
    fn of_this_process() -> Self {
        Self(Vec::new())
    }

    /// Where there are not two, everything stays where it is.
    fn move_to(&self, which: usize) {
        if self.0.len() < 2 {
            return;
        }
        #[cfg(target_os = "linux")]
        {
            let mut one = rustix::thread::CpuSet::new();
            one.set(self.0[which]);
            rustix::thread::sched_setaffinity(None, &one).expect("one of those it may use");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = which;
    }
}

/// Starts a server.
type Start<'a> = Box<dyn Fn() -> Way + 'a>;

/// A server that is asked.
enum Way {
    Lines(Lines),
    Http(Box<Server>),
}

impl Way {
    /// Microseconds of each of so many calls, of which so many are in flight.
    fn times(&mut self, flight: usize, calls: usize) -> Vec<f64> {
        match self {
            Self::Lines(lines) => lines.times(flight, calls),
            Self::Http(server) => over_http(server, flight, calls),
        }
    }
}

/// A server of lines.
struct Lines {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    tool: &'static str,
    asked: usize,
}

impl Lines {
    fn start(mut command: Command, tool: &'static str) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = Self { child, input, output, tool, asked: 0 };
        let client = json!({"name": "bench", "version": "1"});
        lines.send("initialize", &json!({"protocolVersion": OLD, "capabilities": {}, "clientInfo": client}));
        lines.answer();
        writeln!(lines.input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).expect("it reads");
        lines
    }

    fn send(&mut self, method: &str, params: &Value) {
        self.asked += 1;
        // One write for a message, as clients do.
        let message = format!("{}\n", json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params}));
        self.input.write_all(message.as_bytes()).expect("it reads");
    }

    fn answer(&mut self) -> (usize, Value) {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("text") > 0, "it ended");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if let Some(id) = answer["id"].as_u64().filter(|_| answer.get("method").is_none()) {
                return (usize::try_from(id).expect("it is small"), answer);
            }
        }
    }

    fn times(&mut self, flight: usize, calls: usize) -> Vec<f64> {
        let params = json!({"name": self.tool, "arguments": {"text": TEXT}});
        let first = self.asked + 1;
        let mut sent = Vec::with_capacity(calls);
        let mut times = Vec::with_capacity(calls);
        while times.len() < calls {
            while sent.len() < calls && sent.len() - times.len() < flight {
                sent.push(Instant::now());
                self.send("tools/call", &params);
            }
            let (id, answer) = self.answer();
            times.push(sent[id - first].elapsed().as_secs_f64() * 1e6);
            right(&answer);
        }
        times
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn right(answer: &Value) {
    assert_eq!(answer["result"]["structuredContent"]["words"], TEXT.split_whitespace().count(), "{answer}");
}

/// A connection for each that is in flight, in one session.
fn over_http(server: &Server, flight: usize, calls: usize) -> Vec<f64> {
    let params = json!({"name": "text-stats__count", "arguments": {"text": TEXT}});
    let first = server.client(OLD);
    let mut clients: Vec<_> = (0..flight).map(|i| first.beside(server, i)).collect();
    let mut sent: Vec<Option<Instant>> = vec![None; flight];
    let (mut started, mut times) = (0, Vec::with_capacity(calls));
    while times.len() < calls {
        for (client, sent) in clients.iter_mut().zip(&mut sent).filter(|(_, sent)| sent.is_none()) {
            if started < calls {
                let bytes = client.asking("tools/call", &params);
                *sent = Some(Instant::now());
                client.connection.send(&bytes);
                started += 1;
            }
        }
        let waiting: Vec<usize> = (0..flight).filter(|i| sent[*i].is_some()).collect();
        let mut fds: Vec<PollFd<'_>> = waiting.iter().map(|i| PollFd::new(clients[*i].connection.stream(), PollFlags::IN)).collect();
        poll(&mut fds, None).expect("a poll");
        let ready: Vec<usize> = waiting.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(i, _)| *i).collect();
        for i in ready {
            let reply = clients[i].connection.reply().expect("an answer");
            times.push(sent[i].take().expect("it was asked").elapsed().as_secs_f64() * 1e6);
            right(&reply.message());
        }
    }
    times
}
