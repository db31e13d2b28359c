//! `kill -9` at random moments of a start: the next one is clean and right.
//!
//! `PALISADE_KILLS` says how many; `make kills` makes a thousand.

use palisade_tests::{Answer, World, answer, example, steady};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Calls by every way, a denial and a prompt that nothing fits: a session of many writes.
const PROMPTS: [&str; 5] = [
    "/text-stats/count {\"text\":\"one two\"}",
    "count the words of \"one two three\"",
    "/shell/bash {}",
    "nothing",
    "/text-stats/count-file {\"path\":\"notes.txt\"}",
];

/// What is there before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    /// Everything.
    Warm,
    /// All but compiled code.
    Cold,
    /// Nothing at all, not even the key of the cache.
    First,
}

/// In this order kills go round: compiling is every other one.
const STARTS: [Start; 4] = [Start::Cold, Start::Warm, Start::First, Start::Warm];

/// How far a run has come, as far as it shows from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Begin,
    Compile,
    Keep,
    Load,
    Session,
    Finish,
}

impl Phase {
    fn of(start: Start) -> &'static [Self] {
        match start {
            Start::Warm => &[Self::Begin, Self::Session, Self::Finish],
            Start::Cold | Start::First => &[Self::Begin, Self::Compile, Self::Keep, Self::Load, Self::Session, Self::Finish],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Begin => "neither a compiler nor a session yet",
            Self::Compile => "the compiler runs",
            Self::Keep => "compiled, and its code not kept yet",
            Self::Load => "code kept, and no session yet",
            Self::Session => "the session is being written",
            Self::Finish => "the session is complete, and the process not gone",
        }
    }
}

/// From 0 to 1, the same numbers in each run: `SplitMix64`.
fn random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn unfinished(name: &str) -> bool {
    name.contains(".palisade-new-")
}

/// Processes of a group that run; one that has ended and waits to be collected does not.
fn running(group: u32) -> Vec<String> {
    let runs = |stat: &String| {
        // After the name in brackets, which may hold anything: state, parent, group.
        let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        fields.get(2) == Some(&group.to_string().as_str()) && fields[0] != "Z"
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok()).filter(runs).collect()
}

/// A world with caches of its own.
struct Place {
    world: World,
    /// The folder of this workspace among the sessions.
    workspace: String,
    /// What every start prints, whatever happened before it.
    right: (String, String),
    /// What every start leaves of code.
    code: Vec<String>,
    /// The name and content of a session from before all kills.
    before: (String, Vec<u8>),
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        world.write("workspace/notes.txt", "alpha\nbeta needle\n");
        let mut place = Self { world, workspace: String::new(), right: Default::default(), code: Vec::new(), before: Default::default() };
        let first = answer(place.command(Start::Warm)).expect(0);
        place.right = place.steady(&first);
        for part in ["\"words\":2", "\"words\":3", "denied #1: shell/bash", "\"lines\":2", "5 turns"] {
            assert!(place.right.0.contains(part), "{part} in {}", place.right.0);
        }
        place.code = place.code(Start::Warm);
        assert_eq!(place.code.len(), 2, "{:?}", place.code);
        place.workspace = names(&place.state(Start::Warm).join("palisade/sessions")).remove(0);
        let name = names(&place.sessions(Start::Warm)).remove(0);
        place.before = (name.clone(), std::fs::read(place.sessions(Start::Warm).join(name)).unwrap());
        place
    }

    fn state(&self, start: Start) -> PathBuf {
        self.world.path(if start == Start::First { "home/first" } else { "state" })
    }

    fn cache(&self, start: Start) -> PathBuf {
        self.world.path(if start == Start::Warm { "home/warm" } else { "home/cold" })
    }

    fn sessions(&self, start: Start) -> PathBuf {
        self.state(start).join("palisade/sessions").join(&self.workspace)
    }

    fn code_folder(&self, start: Start) -> PathBuf {
        self.cache(start).join("palisade/code")
    }

    /// Without what is known of a file: that is kept only when the file has been still for a while.
    fn code(&self, start: Start) -> Vec<String> {
        let folder = self.code_folder(start);
        let whole = names(&folder).into_iter().filter(|n| !n.ends_with(".stamp") && n != "new");
        whole.chain(names(&folder.join("new"))).collect()
    }

    fn palisade(&self, start: Start, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.env("XDG_CACHE_HOME", self.cache(start)).env("XDG_STATE_HOME", self.state(start));
        command
    }

    fn command(&self, start: Start) -> Command {
        let plugin = example("text-stats").display().to_string();
        let flags = ["--profile", "trusted", "--plugin", &plugin, "--grant", "text-stats:fs:read:@workspace", "run"];
        self.palisade(start, &[&flags, &PROMPTS[..]].concat())
    }

    fn steady(&self, answer: &Answer) -> (String, String) {
        let steady = |text: &str| steady(&self.world, text).replace("~/home/first", "~/state");
        (steady(&answer.stdout), steady(&answer.stderr))
    }

    /// Takes away what a start of that kind does not find.
    fn clear(&self, start: Start, kill: u64) {
        if start != Start::Warm {
            let _ = std::fs::remove_dir_all(self.cache(start));
        }
        if start == Start::First {
            let _ = std::fs::remove_dir_all(self.state(start));
        }
        // What is known of a file is written again.
        if start == Start::Warm && kill % 8 == 1 {
            for stamp in names(&self.code_folder(start)).iter().filter(|n| n.ends_with(".stamp")) {
                std::fs::remove_file(self.code_folder(start).join(stamp)).unwrap();
            }
        }
        for session in names(&self.sessions(start)).iter().filter(|n| **n != self.before.0) {
            std::fs::remove_file(self.sessions(start).join(session)).unwrap();
        }
    }

    /// The session of the run that is watched, as its file is now.
    fn session(&self, start: Start) -> Option<(String, Value)> {
        let name = names(&self.sessions(start)).into_iter().find(|n| *n != self.before.0 && !unfinished(n))?;
        let file = std::fs::read(self.sessions(start).join(&name)).ok()?;
        let session = serde_json::from_slice(&file).unwrap_or_else(|e| panic!("half written: {e} in {}", String::from_utf8_lossy(&file)));
        Some((name, session))
    }

    /// The compiler of a process.
    fn compiler(child: &Child) -> bool {
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).is_ok_and(|children| !children.is_empty())
    }

    /// How far a run has come, where a compiler has been seen and runs.
    fn phase(&self, start: Start, (seen, runs): (bool, bool)) -> Phase {
        if let Some((_, session)) = self.session(start) {
            return if session["stop_reason"] == "completed" { Phase::Finish } else { Phase::Session };
        }
        if names(&self.sessions(start)).iter().any(|n| unfinished(n)) {
            return Phase::Session;
        }
        match start {
            Start::Warm => Phase::Begin,
            _ if self.code(start).iter().any(|n| n.ends_with(".cwasm")) => Phase::Load,
            _ if runs => Phase::Compile,
            _ if seen || !self.code(start).is_empty() => Phase::Keep,
            _ => Phase::Begin,
        }
    }

    /// Starts a run and watches it until `over` says so of its phase and of the time since it began; gives back the process,
    /// and whether a compiler has been seen and runs.
    fn watch(&self, start: Start, mut over: impl FnMut(Phase, Duration) -> bool) -> (Child, (bool, bool)) {
        let mut command = self.command(start);
        let mut child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let mut seen = false;
        loop {
            let runs = Self::compiler(&child);
            seen |= runs;
            if over(self.phase(start, (seen, runs)), began.elapsed()) || child.try_wait().unwrap().is_some() {
                return (child, (seen, runs));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// When each phase of an undisturbed run begins, and when the last ends.
    fn measure(&self, start: Start) -> Vec<(Phase, Duration, Duration)> {
        self.clear(start, 0);
        let (mut begins, mut end) = (BTreeMap::new(), Duration::ZERO);
        let (mut child, _) = self.watch(start, |phase, since| {
            begins.entry(phase).or_insert(since);
            end = since;
            false
        });
        assert!(child.wait().unwrap().success());
        // One that is too short to be seen still is aimed at, from the begin of the next.
        let mut next = end;
        let mut phases: Vec<_> = Phase::of(start)
            .iter()
            .rev()
            .map(|phase| {
                let begin = begins.get(phase).copied().unwrap_or(next);
                (*phase, begin, std::mem::replace(&mut next, begin))
            })
            .collect();
        phases.reverse();
        phases
    }

    /// What must hold as soon as the process is gone.
    fn check_left(&self, start: Start, process: u32) {
        let began = Instant::now();
        while !running(process).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(10), "left running: {:?}", running(process));
            std::thread::sleep(Duration::from_millis(1));
        }
        for folder in [self.state(start).join("palisade"), self.sessions(start), self.code_folder(start)] {
            for file in names(&folder).iter().filter_map(|n| std::fs::File::open(folder.join(n)).ok()) {
                rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("nobody holds a lock");
            }
        }
        if let Some((name, session)) = self.session(start) {
            let prompts: Vec<&str> = session["prompts"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            assert_eq!(prompts, PROMPTS[..prompts.len()]);
            let shown = answer(self.palisade(start, &["--format", "json", "session", "show", name.trim_end_matches(".json")]));
            assert_eq!(shown.expect(0).json(), session);
        }
    }

    /// What must hold of the start after it.
    fn check_next(&self, start: Start) {
        let next = answer(self.command(start)).expect(0);
        assert_eq!(self.steady(&next), self.right);
        assert_eq!(self.code(start), self.code);
        for folder in [self.sessions(start), self.code_folder(start)] {
            assert_eq!(names(&folder).into_iter().filter(|n| unfinished(n)).count(), 0, "{:?}", names(&folder));
        }
        let listed = answer(self.palisade(start, &["--format", "json", "session", "list"])).expect(0).json();
        let listed = listed["sessions"].as_array().unwrap();
        assert!(listed.iter().all(|s| s.get("damaged").is_none()), "{listed:?}");
        assert_eq!(listed.len(), names(&self.sessions(start)).len());
        if start != Start::First {
            assert_eq!(std::fs::read(self.sessions(start).join(&self.before.0)).unwrap(), self.before.1);
        }
    }
}

#[test]
fn after_a_kill_at_any_moment_the_next_start_is_clean_and_right() {
    let wanted = std::env::var("PALISADE_KILLS").map_or(60, |n| n.parse().expect("PALISADE_KILLS is a number"));
    let place = Place::new();
    let measured = [Start::Warm, Start::Cold, Start::First].map(|start| (start, place.measure(start)));
    let measured = BTreeMap::from(measured);
    for (start, phases) in &measured {
        let shown = phases.iter().map(|(phase, begin, _)| format!("{phase:?} {:.1}", begin.as_secs_f64() * 1e3));
        println!(
            "{start:?}, undisturbed, ms: {}, end {:.1}",
            shown.collect::<Vec<_>>().join(", "),
            phases.last().unwrap().2.as_secs_f64() * 1e3
        );
    }
    let (mut kills, mut late, mut attempts, mut kept) = (0, 0u64, 0u64, 0u64);
    let mut hit: BTreeMap<(Start, Phase), u64> = BTreeMap::new();
    let mut left: BTreeMap<&str, u64> = BTreeMap::new();
    while kills < wanted {
        let (number, start) = (attempts, STARTS[(attempts % 4) as usize]);
        attempts += 1;
        assert!(attempts < 4 * wanted + 200, "{late} of {attempts} kills came too late");
        place.clear(start, number);
        let phases = &measured[&start];
        // In turn at any moment of the whole, and at any moment from the begin of one phase to a little past its end.
        let aim = (number / 4) as usize % (phases.len() + 1);
        let (from, length) = match aim.checked_sub(1).map(|aim| phases[aim]) {
            None => (Phase::Begin, phases.last().unwrap().2),
            Some((phase, begin, end)) => (phase, end - begin),
        };
        let wait = length.mul_f64(1.1 * random(number)) + Duration::from_micros(200).mul_f64(random(!number));
        let mut begun = None;
        let (mut child, compiler) = place.watch(start, |phase, since| {
            if begun.is_none() && phase >= from {
                begun = Some(since);
            }
            begun.is_some_and(|begun| since >= begun + wait)
        });
        let _ = kill_process(Pid::from_child(&child), Signal::KILL);
        if child.wait().unwrap().signal() != Some(Signal::KILL.as_raw()) {
            late += 1;
            continue;
        }
        kills += 1;
        *hit.entry((start, place.phase(start, compiler))).or_default() += 1;
        place.check_left(start, child.id());
        let folders =
            [("code", place.code_folder(start)), ("sessions", place.sessions(start)), ("key", place.state(start).join("palisade"))];
        for (what, _) in folders.iter().filter(|(_, folder)| names(folder).iter().any(|n| unfinished(n))) {
            *left.entry(what).or_default() += 1;
        }
        place.check_next(start);
        kept += u64::from(names(&place.state(start).join("palisade")).iter().any(|n| unfinished(n)));
    }
    println!("{kills} kills, {late} more came after the end");
    for ((start, phase), count) in &hit {
        println!("{count:5}  {start:?}: {}", phase.name());
    }
    println!("in the middle of writing a file: {left:?}");
    assert_eq!(kept, 0, "what was left beside the key stayed there");
    if wanted >= 200 {
        for (start, phases) in &measured {
            let missed: Vec<_> = phases.iter().filter(|(phase, ..)| !hit.contains_key(&(*start, *phase))).collect();
            assert!(missed.is_empty(), "{start:?}: {missed:?}");
        }
    }
}
