//! The supervisor: one small process for each server, which outlives the host by as long as ending the server takes.

use super::fence::{CARRIED, Fence, LAUNCHER_ARGUMENT, die_with};
use super::inherited;
use super::refuse;
use super::start::Start;
use crate::scratch;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The first argument by which a program runs [`supervisor_main`].
pub const SUPERVISOR_ARGUMENT: &str = "__supervise";
/// How long processes are ended that start others meanwhile.
const ENDING: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// How long a server may take to end by itself once nobody speaks to it.
const QUIET: Duration = Duration::from_millis(300);

/// A server's supervisor, as the host has it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    grace: Duration,
    /// Its folder for what is temporary, let go of when it has ended.
    _held: std::fs::File,
}

/// Starts a process under a supervisor; `program` is ours. Its pipes are given back beside it.
pub(crate) fn spawn(
    program: &Path,
    start: Start,
) -> std::io::Result<(Child, std::process::ChildStdin, std::process::ChildStdout, std::process::ChildStderr)> {
    let Start { fence, argv, env, folder, held, .. } = start;
    let text = serde_json::to_string(&fence).map_err(std::io::Error::other)?;
    let mut command = Command::new(program);
    command.arg(SUPERVISOR_ARGUMENT).arg(text).arg(std::process::id().to_string()).args(argv);
    // As data: what an entry names has no meaning to us, nor to the loader that starts us.
    command
        .env_clear()
        .envs(env.iter().enumerate().map(|(place, (name, value))| (format!("{CARRIED}{place:05}"), format!("{name}={value}"))));
    command.current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    match (process.stdin.take(), process.stdout.take(), process.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => {
            Ok((Child { process, grace: Duration::from_millis(fence.grace), _held: held }, stdin, stdout, stderr))
        }
        _ => Err(std::io::Error::other("the supervisor has no pipes")),
    }
}

impl Child {
    /// How it ended, where it has: its exit code, or 1 after a signal.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.process.try_wait().ok().flatten().map(|status| status.code().unwrap_or(1))
    }

    /// Ends the server and all it started, and waits for that. Whoever asks has closed its standard input.
    pub(crate) fn end(mut self) {
        if self.wait(QUIET) {
            return;
        }
        let pid = Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        if !self.wait(self.grace + ENDING) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    fn wait(&mut self, most: Duration) -> bool {
        let started = Instant::now();
        while self.code().is_none() {
            if started.elapsed() > most {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

/// The supervisor. `arguments` are those after [`SUPERVISOR_ARGUMENT`]: the fence, the pid of the parent, program, arguments.
#[must_use]
pub fn supervisor_main(arguments: &[OsString]) -> ExitCode {
    let [fence, parent, server @ ..] = arguments else { return refuse(&"it is run by palisade itself") };
    let parsed = (fence.to_str().and_then(|text| serde_json::from_str::<Fence>(text).ok()), parent.to_str().and_then(|p| p.parse().ok()));
    let (Some(settings), Some(parent)) = parsed else { return refuse(&"it is run by palisade itself") };
    // Caught before anything can send them.
    let mut signals = match Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => return refuse(&error),
    };
    let alone = || inherited::keep_back().and_then(|()| adopt().map_err(std::io::Error::from)).map_err(|e| e.to_string());
    if let Err(error) = die_with(parent, Signal::TERM).and_then(|()| alone()) {
        return refuse(&error);
    }
    let this = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe().unwrap_or_default() };
    let mut launcher = Command::new(this);
    launcher.arg(LAUNCHER_ARGUMENT).arg(fence).arg(std::process::id().to_string()).args(server);
    let main = match launcher.spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => return refuse(&error),
    };
    // Whoever reads what the server writes learns of its end, and not of ours.
    if let Err(error) = quiet() {
        end_all(main);
        return refuse(&error);
    }
    let mut status = reap(main);
    while status.is_none() {
        match signals.wait().next() {
            Some(SIGCHLD) | None => status = reap(main),
            Some(_) => {
                let _ = rustix::process::kill_process_group(main, Signal::TERM);
                let asked = Instant::now();
                let grace = Duration::from_millis(settings.grace);
                while status.is_none() && asked.elapsed() < grace {
                    std::thread::sleep(LOOK);
                    status = reap(main);
                }
                break;
            }
        }
    }
    end_all(main);
    scratch::remove(&settings.temporary);
    ExitCode::from(status.and_then(|status| status.exit_status()).and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A session of its own, which no terminal interrupts; what loses its parent comes to us.
fn adopt() -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

fn quiet() -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)
}

/// Collects what has ended; how the server did, if it was among it.
fn reap(main: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            found = Some(status);
        }
    }
    found
}

/// Ends whatever is left: the server's group, and then, again and again, all that came to us.
fn end_all(main: Pid) {
    let _ = rustix::process::kill_process_group(main, Signal::KILL);
    let started = Instant::now();
    loop {
        reap(main);
        let left = children();
        if left.is_empty() || started.elapsed() > ENDING {
            return;
        }
        // Stopped first: a child that is ended could have started another in between.
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in &left {
                let _ = rustix::process::kill_process(*pid, signal);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All processes below this one.
fn children() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(i32, i32)> = entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in brackets, and may hold some itself.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            // Its state says nothing: one whose first thread ended looks dead, and lives.
            Some((pid, fields.nth(1)?.parse().ok()?))
        })
        .collect();
    let mut below = vec![rustix::process::getpid().as_raw_nonzero().get()];
    let mut at = 0;
    while let Some(parent) = below.get(at).copied() {
        at += 1;
        below.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
    }
    below.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}
