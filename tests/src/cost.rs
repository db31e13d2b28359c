//! What an attack costs the host: how it is measured, and a table of it.

use crate::bench::memory;
use std::time::{Duration, Instant};

/// What a piece of work cost this process, or may cost it.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Wall time.
    pub took: Duration,
    /// Bytes of memory at the peak, above those before.
    pub grown: u64,
}

impl Cost {
    /// So much memory, and no hang; the deadlines themselves are told by the error kinds.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self { took: Duration::from_secs(300), grown: mib << 20 }
    }
}

/// Does the work, and says what it cost this process; its children are not counted.
///
/// # Panics
/// Where the kernel does not tell.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let before = memory("self", "VmRSS");
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak starts again");
    let start = Instant::now();
    let done = work();
    (done, Cost { took: start.elapsed(), grown: memory("self", "VmHWM").saturating_sub(before) })
}

/// A table that is printed as it grows. What is wrong is told at its end, so that one row hides no other.
#[derive(Debug)]
#[must_use]
pub struct Table(Vec<String>);

impl Table {
    /// With these words at its head.
    pub fn new(head: &str) -> Self {
        println!("{head:<52} {:<13} {:>9} {:>10}", "ends as", "time", "memory");
        Self(Vec::new())
    }

    /// How an attack ended and how it should, with what it cost and what it might have cost.
    pub fn row(&mut self, what: &str, ended: &str, expected: &str, cost: Cost, most: Cost) {
        let Cost { took, grown } = cost;
        println!("{what:<52} {ended:<13} {:>6} ms {:>6} KiB", took.as_millis(), grown >> 10);
        self.check(ended == expected, || format!("{what} ended as {ended} and not as {expected}"));
        self.check(grown < most.grown, || format!("{what} cost {grown} bytes"));
        self.check(took < most.took, || format!("{what} took {took:?}"));
    }

    /// Notes something wrong, unless it holds.
    pub fn check(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.0.push(wrong());
        }
    }

    /// The end.
    ///
    /// # Panics
    /// When something was wrong.
    pub fn end(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}
