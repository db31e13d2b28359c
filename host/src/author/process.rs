//! Running a compiler, an interpreter or a package manager of the author's machine.
//!
//! The rule it keeps: each runs in a process group of its own, which ends when the command is interrupted or fails: no process of
//! it is left. What it says on either stream goes to our standard error, for the payload is ours alone.
//!
//! Where the rule ends: a process that leaves its group, as a compile server does, was meant to outlive its starter.

use crate::error::{Error, Kind};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// From being asked to end until being ended.
const GRACE: Duration = Duration::from_millis(500);
/// Longest line of a program's output that is read, and most of them that are kept.
const LINE: u64 = 1024 * 1024;
const LINES: usize = 1000;

/// Runs programs, until somebody wants this process to end.
#[derive(Debug, Clone)]
pub struct Compilers {
    cancelled: watch::Receiver<bool>,
}

/// What a short question to a program gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is no such program.
    Missing,
    /// It refused.
    Refused,
    /// Its output, trimmed.
    Text(String),
}

impl Compilers {
    /// `cancelled` turns true once somebody wants this process to end.
    #[must_use]
    pub fn new(cancelled: watch::Receiver<bool>) -> Self {
        Self { cancelled }
    }

    /// Waits, or ends because it was interrupted.
    ///
    /// # Errors
    /// [`Kind::Cancelled`].
    pub async fn pause(&mut self, time: Duration) -> Result<(), Error> {
        let _ = tokio::time::timeout(time, self.cancelled.wait_for(|cancelled| *cancelled)).await;
        if *self.cancelled.borrow() { Err(Error::new(Kind::Cancelled, "it was interrupted")) } else { Ok(()) }
    }

    /// Runs a program whose output goes to our standard error.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is no such program, [`Kind::Cancelled`], [`Kind::Io`].
    pub(super) async fn run(&mut self, mut command: Command) -> Result<ExitStatus, Error> {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(|e| Error::io("standard error", &e))?;
        command.stdout(Stdio::from(stderr));
        let mut group = Group::start(command)?;
        self.wait(&mut group).await
    }

    /// Runs a program, and gives back those lines of its output that hold `part`.
    ///
    /// # Errors
    /// As [`Compilers::run`].
    pub(super) async fn lines(&mut self, mut command: Command, part: &'static str) -> Result<(ExitStatus, Vec<String>), Error> {
        command.stdout(Stdio::piped());
        let mut group = Group::start(command)?;
        let stdout = group.child.stdout.take();
        // It ends with the last process that holds the pipe, so nobody waits for it who was interrupted.
        let reader = std::thread::spawn(move || stdout.map(|stdout| read_lines(BufReader::new(stdout), part)).unwrap_or_default());
        let status = self.wait(&mut group).await?;
        while !reader.is_finished() {
            self.pause(LOOK).await?;
        }
        Ok((status, reader.join().unwrap_or_default()))
    }

    /// Asks a program something, and keeps what it complains about to itself.
    ///
    /// # Errors
    /// [`Kind::Cancelled`], [`Kind::Io`].
    pub(super) async fn ask(&mut self, mut command: Command) -> Result<Said, Error> {
        command.stderr(Stdio::null());
        match self.lines(command, "").await {
            Ok((status, lines)) if status.success() => Ok(Said::Text(lines.join("\n").trim().to_owned())),
            Ok(_) => Ok(Said::Refused),
            Err(error) if error.kind == Kind::NotFound => Ok(Said::Missing),
            Err(error) => Err(error),
        }
    }

    async fn wait(&mut self, group: &mut Group) -> Result<ExitStatus, Error> {
        loop {
            if let Some(status) = group.child.try_wait().map_err(|e| Error::io(&group.name, &e))? {
                group.ended = true;
                return Ok(status);
            }
            // What is dropped on the way out ends.
            self.pause(LOOK).await?;
        }
    }
}

/// Lines with `part` in them, each bounded; the rest of a longer one is read and dropped.
fn read_lines(mut from: impl BufRead, part: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return lines,
        }
        let line = String::from_utf8_lossy(&line);
        if lines.len() < LINES && line.contains(part) {
            lines.push(line.trim_end_matches('\n').to_owned());
        }
    }
}

/// A running program with all that it started.
struct Group {
    child: Child,
    name: String,
    ended: bool,
}

impl Group {
    fn start(mut command: Command) -> Result<Self, Error> {
        let name = command.get_program().to_string_lossy().into_owned();
        match command.stdin(Stdio::null()).process_group(0).spawn() {
            Ok(child) => Ok(Self { child, name, ended: false }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::NotFound, format!("{name} is not installed, or not in PATH")))
            }
            Err(error) => Err(Error::io(format!("starting {name}"), &error)),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let leader = Pid::from_child(&self.child);
        for signal in [Signal::TERM, Signal::KILL] {
            let _ = kill_process_group(leader, signal);
            let started = Instant::now();
            // Asked of the group, for the leader may be the first to go. Of what was killed only its name can be left.
            while started.elapsed() < GRACE {
                let ended = self.child.try_wait().is_ok_and(|ended| ended.is_some());
                if ended && test_kill_process_group(leader).is_err() {
                    return;
                }
                std::thread::sleep(LOOK);
            }
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_program_that_is_interrupted_leaves_no_process_even_where_one_does_not_want_to_end() {
        let temp = tempfile::tempdir().unwrap();
        let pid = temp.path().join("pid");
        let (sender, receiver) = watch::channel(false);
        let script = format!("sh -c 'trap \"\" TERM; echo $$ >{0}.new; mv {0}.new {0}; while :; do sleep 0.1; done' & wait", pid.display());
        let ended = block_on(async {
            let mut compilers = Compilers::new(receiver);
            let interrupt = async {
                while !pid.exists() {
                    tokio::time::sleep(LOOK).await;
                }
                sender.send(true).unwrap();
            };
            tokio::join!(compilers.run(sh(&script)), interrupt).0
        });
        assert_eq!(ended.unwrap_err().kind, Kind::Cancelled);
        let inner: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        // Killed; whoever adopted it may not have looked yet, and it may not have come to its end.
        let gone = || std::fs::read_to_string(format!("/proc/{inner}/stat")).map_or(true, |state| state.contains(") Z "));
        let started = Instant::now();
        while !gone() {
            assert!(started.elapsed() < Duration::from_secs(60), "{inner} goes on");
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn lines_are_bounded_and_chosen() {
        let long = "x".repeat(3 * 1024 * 1024);
        let text = format!("a1\nb\n{long}\na2");
        assert_eq!(read_lines(text.as_bytes(), "a"), ["a1", "a2"]);
        assert!(read_lines(text.as_bytes(), "x").iter().all(|line| line.len() as u64 <= LINE));
    }

    #[test]
    fn what_is_asked_answers_refuses_or_is_not_there() {
        let (_sender, receiver) = watch::channel(false);
        let mut compilers = Compilers::new(receiver);
        assert_eq!(block_on(compilers.ask(sh("echo yes; echo no >&2"))).unwrap(), Said::Text("yes".to_owned()));
        assert_eq!(block_on(compilers.ask(sh("exit 3"))).unwrap(), Said::Refused);
        assert_eq!(block_on(compilers.ask(Command::new("no-such-program-here"))).unwrap(), Said::Missing);
    }
}
