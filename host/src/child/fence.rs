//! The launcher: fences itself, then becomes the server. No code of ours runs between a fork and an exec.

use super::refuse;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The first argument by which a program runs [`launcher_main`].
pub const LAUNCHER_ARGUMENT: &str = "__fence";
/// Before the number of a variable that is carried to the server.
pub(super) const CARRIED: &str = "PALISADE_CARRIED_";
/// Most files a server has open.
const FILES: u64 = 1024;
/// Most processes of this user while a server starts one: it bounds a flood, not a server.
const PROCESSES: u64 = 4096;
/// Largest file a server writes, in bytes.
const FILE: u64 = 1 << 30;

/// What a server is left with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// Files and folders it reads, and runs programs from.
    pub read: Vec<PathBuf>,
    /// Folders it reads and writes.
    pub write: Vec<PathBuf>,
    /// One of those, which is removed when it has ended.
    pub temporary: PathBuf,
    /// Whether it speaks to the internet.
    pub net: bool,
    /// Whether it has no fence but its limits.
    pub unfenced: bool,
    /// Bytes of memory it may write to.
    pub memory: u64,
    /// Seconds of CPU time.
    pub cpu: u64,
    /// Milliseconds between a friendly signal and the other one.
    pub grace: u64,
}

/// What every program needs to start: the system's programs, libraries and settings.
#[cfg(target_os = "linux")]
const SYSTEM: [&str; 8] = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt"];
/// Devices that hold nothing.
#[cfg(target_os = "linux")]
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The launcher. `arguments` are those after [`LAUNCHER_ARGUMENT`]: the fence, the pid of the parent, program, arguments.
#[must_use]
pub fn launcher_main(arguments: &[OsString]) -> ExitCode {
    let [fence, parent, program, rest @ ..] = arguments else { return refuse(&"it is run by palisade itself") };
    let parsed = (fence.to_str().and_then(|text| serde_json::from_str::<Fence>(text).ok()), parent.to_str().and_then(|p| p.parse().ok()));
    let (Some(fence), Some(parent)) = parsed else { return refuse(&"it is run by palisade itself") };
    if let Err(error) = die_with(parent, rustix::process::Signal::KILL) {
        return refuse(&error);
    }
    // A group of its own, so that all of it can be ended at once.
    if let Err(error) = rustix::process::setsid().map(drop).map_err(std::io::Error::from).and_then(|()| limits(&fence)) {
        return refuse(&format!("the server cannot be limited: {error}"));
    }
    if !fence.unfenced
        && let Err(why) = enforce(&fence)
    {
        return refuse(&format!("the server is not started: it cannot be fenced: {why}"));
    }
    let carried = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with(CARRIED)));
    let pair = |(_, pair): (OsString, OsString)| {
        let bytes = pair.into_encoded_bytes();
        let at = bytes.iter().position(|b| *b == b'=')?;
        Some((OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
    };
    let error = Command::new(program).args(rest).env_clear().envs(carried.filter_map(pair)).exec();
    refuse(&format!("{} cannot be started: {error}", OsStr::to_string_lossy(program)))
}

/// Sends this process a signal when its parent is gone.
pub(super) fn die_with(parent: i32, signal: rustix::process::Signal) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(signal)).map_err(|e| e.to_string())?;
        // It may have died before that.
        if rustix::process::getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
            return Err("the program that started it is gone".to_owned());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (parent, signal);
    Ok(())
}

fn limits(fence: &Fence) -> std::io::Result<()> {
    let limit = |resource, value: u64| {
        // What is lower already stays.
        let most = rustix::process::getrlimit(resource).maximum.map_or(value, |most| most.min(value));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, FILES)?;
    limit(Resource::Nproc, PROCESSES)?;
    limit(Resource::Fsize, FILE)?;
    // What can be written to, not what is reserved: runtimes reserve many times what they use.
    limit(Resource::Data, fence.memory)?;
    limit(Resource::Cpu, fence.cpu)?;
    Ok(())
}

/// Why this system cannot fence a server; `None` where it can.
pub(crate) fn enforced() -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        static WHY: std::sync::LazyLock<Option<&'static str>> = std::sync::LazyLock::new(|| {
            use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
            let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            let able = ruleset.handle_access(AccessFs::from_all(ABI::V3)).and_then(Ruleset::create);
            able.err().map(|_| "its kernel has no Landlock of version 3 (Linux 6.2)")
        });
        *WHY
    }
    #[cfg(not(target_os = "linux"))]
    Some("only Linux has the fence")
}

#[cfg(not(target_os = "linux"))]
fn enforce(_: &Fence) -> Result<(), String> {
    Err("only Linux has the fence".to_owned())
}

#[cfg(target_os = "linux")]
fn enforce(fence: &Fence) -> Result<(), String> {
    use landlock::{
        ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
    };
    let rules = || {
        // Truncating a file is of version 3; without any of it the server does not start.
        let all = AccessFs::from_all(ABI::V3);
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all)?;
        // Signals to other processes of this user; a kernel before 6.12 cannot keep them in.
        let ruleset = ruleset.set_compatibility(CompatLevel::BestEffort).scope(Scope::from_all(ABI::V6))?;
        let devices = AccessFs::ReadFile | AccessFs::WriteFile;
        // One that is not there is left out.
        ruleset
            .set_compatibility(CompatLevel::HardRequirement)
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, AccessFs::from_read(ABI::V3)))?
            .add_rules(path_beneath_rules(DEVICES, devices))?
            .add_rules(path_beneath_rules(&fence.read, AccessFs::from_read(ABI::V3)))?
            .add_rules(path_beneath_rules(&fence.write, all))?
            .restrict_self()
    };
    let status = rules().map_err(|e: landlock::RulesetError| e.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err("the kernel did not enforce it".to_owned());
    }
    seccompiler::apply_filter(&filter(fence.net).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

/// System calls that make a socket, and some that reach into other processes or the kernel.
#[cfg(target_os = "linux")]
fn filter(net: bool) -> Result<seccompiler::BpfProgram, seccompiler::BackendError> {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    const REFUSED: [i64; 33] = [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        // It makes sockets and opens files past this filter.
        libc::SYS_io_uring_setup,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        // Memory, queues and locks of other processes that have no path.
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_msgget,
        libc::SYS_msgsnd,
        libc::SYS_msgrcv,
        libc::SYS_msgctl,
        libc::SYS_semget,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_semctl,
        libc::SYS_mq_open,
        libc::SYS_mq_unlink,
    ];
    // With a network there are sockets of the internet, and none to processes of this machine.
    let other = |domain: i32| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(domain.unsigned_abs()));
    let socket = if net { vec![SeccompRule::new(vec![other(libc::AF_INET)?, other(libc::AF_INET6)?])?] } else { Vec::new() };
    // Its own limits it may read and lower; those of others it may not touch.
    let limits = vec![SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?])?];
    let refused = REFUSED.into_iter().map(|call| (call, Vec::new()));
    // A pair of streams speaks to itself; one of datagrams could be sent to anybody's path. The type's upper bits are flags.
    let masked = SeccompCmpOp::MaskedEq(0xf);
    let stream = u64::from(libc::SOCK_STREAM.unsigned_abs());
    let other_kinds = (0..16).filter(|kind| *kind != stream);
    let pairs = other_kinds
        .map(|kind| SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, masked.clone(), kind)?]))
        .collect::<Result<Vec<_>, _>>()?;
    let calls = [(libc::SYS_socket, socket), (libc::SYS_socketpair, pairs), (libc::SYS_prlimit64, limits)];
    let refused = refused.chain(calls);
    // On x86-64 a kernel may know each call under a second number.
    let numbers: &[i64] = if cfg!(target_arch = "x86_64") { &[0, 0x4000_0000] } else { &[0] };
    let rules = refused.flat_map(|(call, rules)| numbers.iter().map(move |number| (call | number, rules.clone()))).collect();
    let denied = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, denied, arch)?.try_into()
}
