//! Running a program that is none of ours - an external server, a native hook: a supervisor, which starts a launcher, which
//! fences itself and becomes the program.
//!
//! The rule it keeps: the program, called the server below, starts inside its whole fence or not at all, and nothing of it is left when it ends, when
//! the host ends it, or when the host is gone.
//!
//! Where the rule ends: what the fence leaves open was decided by whoever wrote or accepted the entry. A process that
//! detached itself from its parents is ended by the supervisor; where host and supervisor are killed in one moment, nobody
//! is left to find it.

mod fence;
mod inherited;
mod start;
mod supervise;

use fence::Fence;
pub(crate) use fence::enforced;
pub use fence::{LAUNCHER_ARGUMENT, launcher_main};
pub(crate) use start::{Start, Wanted, find};
pub(crate) use supervise::{Child, spawn};
pub use supervise::{SUPERVISOR_ARGUMENT, supervisor_main};

use std::process::ExitCode;

/// What is said before a program ends that could not do what it was started for.
fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "palisade: {why}");
    ExitCode::from(127)
}
