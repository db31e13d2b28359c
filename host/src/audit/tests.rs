//! What no test from outside can do: small files, and a process that dies in the middle of a line.

use super::*;
use crate::config::Options;
use crate::record::{Outcome, Stats};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

struct World {
    temp: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let world = Self { temp };
        for folder in ["home", "workspace"] {
            crate::own::make_folder(&world.path(folder)).unwrap();
        }
        world
    }

    fn path(&self, below: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(below)
    }

    fn audit(&self, sizes: Sizes) -> Arc<Audit> {
        let options = Options { workspace: Some(self.path("workspace")), ..Options::default() };
        Arc::new(Audit::new(&Settings::resolve(&options, Home::at(&self.path("home")).unwrap()).unwrap(), sizes))
    }

    fn folder(&self) -> PathBuf {
        self.path("home/state/audit")
    }

    fn names(&self) -> Vec<String> {
        Folder::new(&self.folder()).names().unwrap()
    }
}

const ID: Identity = Identity([7; 32]);

fn record(tool: &str) -> CallRecord {
    CallRecord {
        tool: tool.to_owned(),
        lane: "wasm",
        outcome: Outcome::Ok,
        content: Vec::new(),
        error: None,
        denial: None,
        stats: Stats { duration_us: 1.5, gate_us: 0.5, memory_peak_bytes: 9, instance: "fresh" },
        log: Vec::new(),
        log_dropped: 0,
        absent: Vec::new(),
        refused: Vec::new(),
        unrecorded: None,
        told: Vec::new(),
    }
}

fn call(audit: &Arc<Audit>, tool: &str) {
    let mut running = audit.allowed(tool, &ID, Some(b"{}"), None).unwrap();
    running.ends(&record(tool));
    running.write().unwrap();
}

fn append(path: &Path, bytes: &[u8]) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn rotation_keeps_the_chain_and_outcomes_find_their_decisions_across_it() {
    let world = World::new();
    let audit = world.audit(Sizes { file: 2000, total: 1 << 30 });
    // Its outcome comes many files later.
    let long = audit.allowed("a/long", &ID, Some(b"{}"), None).unwrap();
    (0..40).for_each(|_| call(&audit, "a/b"));
    drop(long);
    let names = world.names();
    assert!(names.len() > 10, "{names:?}");
    let verified = verify(&world.folder(), None).unwrap();
    assert_eq!((verified.files, verified.findings, verified.notes), (names.len() as u64, vec![], vec![]));
    let found = show(&world.folder(), 100, |_| true).unwrap();
    assert_eq!((found.entries.len(), found.damaged), (41, 0));
    let outcome = |e: &Entry| e.outcome.as_ref().map(|o| o["outcome"].as_str().unwrap().to_owned());
    assert_eq!(outcome(&found.entries[0]).as_deref(), Some("abandoned"), "a call that was dropped says so");
    assert!(found.entries.iter().skip(1).all(|e| outcome(e).as_deref() == Some("ok")));
    let few = show(&world.folder(), 3, |e| e.tool == "a/b").unwrap();
    assert_eq!((few.entries.len(), few.more), (3, 37));
    assert!(few.entries.iter().all(|e| outcome(e).is_some()));
    // A file from the middle is missed by those after it, and one that was cut too.
    let middle = world.folder().join(&names[5]);
    let whole = std::fs::read(&middle).unwrap();
    std::fs::remove_file(&middle).unwrap();
    let gone = verify(&world.folder(), None).unwrap().findings;
    assert!(gone.iter().any(|f| f.file == names[5] && f.line.is_none() && f.what.starts_with("it is gone")), "{gone:?}");
    let cut = whole.iter().take(whole.len() - 1).rposition(|b| *b == b'\n').unwrap() + 1;
    std::fs::write(&middle, &whole[..cut]).unwrap();
    let cut = verify(&world.folder(), None).unwrap().findings;
    assert!(cut.iter().any(|f| f.file == names[5] && f.what.starts_with("its end was cut off")), "{cut:?}");
}

#[test]
fn a_call_that_ended_and_that_nobody_came_back_to_has_its_outcome_once() {
    let world = World::new();
    let audit = world.audit(Sizes::default());
    let mut left = audit.allowed("a/left", &ID, Some(b"{}"), None).unwrap();
    left.ends(&record("a/left"));
    drop(left);
    call(&audit, "a/b");
    assert_eq!(verify(&world.folder(), None).unwrap().findings, vec![]);
    let found = show(&world.folder(), 100, |_| true).unwrap();
    let outcomes: Vec<_> =
        found.entries.iter().map(|e| (e.tool.as_str(), e.outcome.as_ref().unwrap()["outcome"].as_str().unwrap())).collect();
    assert_eq!(outcomes, [("a/left", "ok"), ("a/b", "ok")]);
    let lines = std::fs::read_to_string(world.folder().join(&world.names()[0])).unwrap();
    assert_eq!(lines.matches("\"event\":\"outcome\"").count(), 2, "{lines}");
}

#[test]
fn the_oldest_files_make_room_and_the_log_says_so() {
    let world = World::new();
    let audit = world.audit(Sizes { file: 2000, total: 8000 });
    let before = {
        call(&audit, "a/first");
        anchor(&world.folder()).unwrap()
    };
    (0..200).for_each(|_| call(&audit, "a/b"));
    let size: u64 = world.names().iter().map(|n| world.folder().join(n).metadata().unwrap().len()).sum();
    assert!(size < 16_000, "{size}");
    let verified = verify(&world.folder(), None).unwrap();
    assert_eq!(verified.findings, []);
    assert!(verified.notes[0].starts_with("the log begins after "), "{:?}", verified.notes);
    // Whoever removes the next one too is found.
    let oldest = world.names()[0].clone();
    std::fs::remove_file(world.folder().join(&oldest)).unwrap();
    assert_eq!(verify(&world.folder(), None).unwrap().findings[0].file, oldest);
    // Nobody can say any more what became of what such an old anchor names.
    assert!(!verify(&world.folder(), Some(&before)).unwrap().findings.is_empty());
}

#[test]
fn a_torn_last_line_is_kept_apart_and_is_no_tampering() {
    let world = World::new();
    let sizes = Sizes::default();
    call(&world.audit(sizes), "a/b");
    let torn = world.names();
    append(&world.folder().join(&torn[0]), b"{\"seq\":4,\"time\":\"2026");
    let audit = world.audit(sizes);
    call(&audit, "a/c");
    assert_eq!(world.names().len(), 2, "a line that was begun is not gone on with");
    let verified = verify(&world.folder(), None).unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.notes.len(), 1);
    assert!(verified.notes[0].starts_with(&format!("{} line 4 is torn", torn[0])), "{:?}", verified.notes);
    assert_eq!(show(&world.folder(), 9, |_| true).unwrap().entries.len(), 2);
    // The whole line before it is followed: without it, it is missed.
    let bytes = std::fs::read(world.folder().join(&torn[0])).unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    std::fs::write(world.folder().join(&torn[0]), lines[..2].concat()).unwrap();
    assert!(verify(&world.folder(), None).unwrap().findings[0].what.starts_with("its end was cut off"));
}

#[test]
fn a_file_is_continued_once_nobody_holds_it_and_never_while_somebody_does() {
    let world = World::new();
    let (one, two) = (world.audit(Sizes::default()), world.audit(Sizes::default()));
    for _ in 0..10 {
        call(&one, "a/one");
        call(&two, "a/two");
    }
    assert_eq!(world.names().len(), 2);
    drop((one, two));
    for _ in 0..10 {
        call(&world.audit(Sizes::default()), "a/later");
    }
    assert_eq!(world.names().len(), 2);
    let verified = verify(&world.folder(), None).unwrap();
    assert_eq!((verified.findings, verified.notes, verified.records), (vec![], vec![], 2 + 40 + 30));
    for name in world.names() {
        assert_eq!(world.folder().join(name).metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn an_anchor_is_read_as_it_was_printed() {
    let world = World::new();
    call(&world.audit(Sizes::default()), "a/b");
    let line = anchor(&world.folder()).unwrap().to_string();
    let again = Anchor::parse(&format!("{line}\n")).unwrap();
    assert_eq!((again.to_string(), again.files()), (line.clone(), 1));
    for bad in ["", "x", "palisade-audit-1", &line.replace(":3:", ":x:"), &line.replace(".jsonl", "/../x.jsonl"), &line[..line.len() - 1]] {
        assert_eq!(Anchor::parse(bad).unwrap_err().kind, Kind::Usage, "{bad}");
    }
}

#[test]
fn text_from_outside_stays_one_line_and_one_field() {
    let world = World::new();
    let audit = world.audit(Sizes::default());
    let tool = "x\"\n{\"event\":\"outcome\"}\\";
    audit.absent(tool, Kind::NotFound, None).unwrap();
    let found = show(&world.folder(), 9, |_| true).unwrap();
    assert_eq!(found.entries[0].tool, "x\" {\"event\":\"outcome\"}\\");
    assert_eq!(verify(&world.folder(), None).unwrap().records, 2);
}

#[test]
fn whoever_takes_a_file_between_its_making_and_its_lock_is_not_written_over() {
    let world = World::new();
    // Many that write a little and go, as processes do: each has its own handles, and so its own locks.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..60).for_each(|_| call(&world.audit(Sizes::default()), "a/b")));
        }
    });
    let verified = verify(&world.folder(), None).unwrap();
    assert_eq!(verified.findings, []);
    let found = show(&world.folder(), 1000, |_| true).unwrap();
    assert_eq!(found.entries.len(), 480);
    // All at once from nothing, again and again: then most files are made.
    for _ in 0..40 {
        let world = World::new();
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| call(&world.audit(Sizes::default()), "a/b"))));
        });
        assert_eq!(verify(&world.folder(), None).unwrap().findings, []);
    }
}
