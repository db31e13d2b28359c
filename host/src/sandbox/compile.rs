//! Compiling, in a fenced child process. A program of WASI 0.1 is made a component there first, and a component's libraries are
//! joined, for both are taken apart for that.
//!
//! A component of 400 kB can keep a compiler busy for a minute, and no setting of the engine stops it. So the compiler runs
//! in a child that holds nothing: empty environment, no file but its three pipes and no way to open one or a socket, a bound on
//! CPU time, memory and wall time, and it dies with us. Bytes go in, code or a sentence comes out.

use crate::error::{Error, Kind};
use crate::sandbox::engine::{Allocator, engine_config};
use crate::sandbox::join::join;
use crate::sandbox::module::{self, is_module};
use palisade_policy::{Limit, Limits};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// The first argument by which a program runs [`compiler_main`].
pub const COMPILER_ARGUMENT: &str = "__compile";
/// Compilers at once: each may use all cores and all the memory it is allowed.
pub(crate) const AT_ONCE: usize = 2;
/// Compiling in all, per process: a folder of two hundred hostile plugins does not cost a day.
const TOTAL: Duration = Duration::from_secs(600);
/// Wall time for each second of CPU time: a busy machine gives a compiler half a core.
const WALL: u32 = 2;
/// Most code for a byte of component; compilers give three to eight.
const CODE: u64 = 16;
/// Most code in any case, in bytes: a small component may still have tables and data.
const SMALL: u64 = 4 << 20;
/// Longest sentence of a compiler, in bytes.
const SENTENCE: u64 = 4096;

/// The program that compiles, and how long it has.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    left: Mutex<Duration>,
    at_once: Semaphore,
}

/// Ends the child with the call that waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Compiler {
    /// A program that runs [`compiler_main`] when its first argument is [`COMPILER_ARGUMENT`]; `palisade` does.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), left: Mutex::new(TOTAL), at_once: Semaphore::new(AT_ONCE) }
    }

    /// Compiles a component.
    ///
    /// # Errors
    /// [`Kind::Component`]: it is not one, or compiling it costs too much.
    pub(crate) async fn compile(&self, wasm: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Error> {
        let refuse = |why: String| Error::new(Kind::Component, format!("the component does not compile: {why}"));
        let _place = self.at_once.acquire().await;
        let left = *self.left.lock().map_err(|e| Error::internal("the time for compiling", &e))?;
        if left.is_zero() {
            return Err(refuse(format!("this process has compiled for {} already", show(TOTAL))));
        }
        let time = limits.time(Limit::CompileTime);
        let started = Instant::now();
        let ended = self.run(wasm, limits, left.min(time * WALL)).await;
        if let Ok(mut left) = self.left.lock() {
            *left = left.saturating_sub(started.elapsed());
        }
        match ended? {
            Ended::Code(code) => Ok(code),
            Ended::Refused(why) => Err(refuse(why)),
            Ended::Killed(status) => {
                use std::os::unix::process::ExitStatusExt;
                const XCPU: i32 = rustix::process::Signal::XCPU.as_raw();
                Err(refuse(match status.signal() {
                    Some(XCPU) => format!("it took more than {} of CPU time (`compile_time`)", show(time)),
                    _ => format!(
                        "the compiler ended with {status}; it may have needed more than {} of memory (`compile_memory`)",
                        Limit::CompileMemory.show(limits.get(Limit::CompileMemory))
                    ),
                }))
            }
            Ended::TooMuch(most) => Err(refuse(format!("its code has more than {most} bytes: {CODE} for each of its own, or {SMALL}"))),
            Ended::TooSlow => Err(refuse(format!("it took longer than {} (`compile_time`)", show(started.elapsed())))),
        }
    }

    async fn run(&self, wasm: Vec<u8>, limits: &Limits, wall: Duration) -> Result<Ended, Error> {
        let io = |e: std::io::Error| Error::io(format!("the compiler {}", self.program.display()), &e);
        let mut command = Command::new(&self.program);
        let cpu = limits.time(Limit::CompileTime).as_secs_f64().ceil();
        command.args([COMPILER_ARGUMENT, &cpu.to_string(), &limits.get(Limit::CompileMemory).to_string(), &std::process::id().to_string()]);
        command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().map_err(io)?);
        let pipes = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Error::new(Kind::Internal, "the compiler has no pipes"));
        };
        let most = most(wasm.len());
        let (sender, receiver) = oneshot::channel();
        let talk = move || {
            // A compiler that stops reading has something to say.
            let _ = stdin.write_all(&wasm);
            drop((stdin, wasm));
            let (mut code, mut sentence) = (Vec::new(), Vec::new());
            let read = stdout.take(most + 1).read_to_end(&mut code).and_then(|read| {
                // One that has more to write does not end by itself.
                if read as u64 > most { Ok(None) } else { stderr.take(SENTENCE).read_to_end(&mut sentence).map(Some) }
            });
            // Nobody may wait any more.
            let _ = sender.send(read.map(|read| read.map(|_| (code, sentence))));
        };
        std::thread::Builder::new().name("palisade-compile".to_owned()).spawn(talk).map_err(io)?;
        let (code, sentence) = match tokio::time::timeout(wall, receiver).await {
            Err(_) => return Ok(Ended::TooSlow),
            Ok(Err(e)) => return Err(Error::internal("the compiler's thread", &e)),
            Ok(Ok(said)) => match said.map_err(io)? {
                Some(said) => said,
                None => return Ok(Ended::TooMuch(most)),
            },
        };
        let status = child.0.wait().map_err(io)?;
        Ok(match status.code() {
            Some(0) => Ended::Code(code),
            Some(_) => Ended::Refused(String::from_utf8_lossy(&sentence).into_owned()),
            None => Ended::Killed(status),
        })
    }
}

/// Most code of a component of so many bytes.
fn most(component: usize) -> u64 {
    (component as u64).saturating_mul(CODE).max(SMALL)
}

enum Ended {
    Code(Vec<u8>),
    Refused(String),
    Killed(ExitStatus),
    TooMuch(u64),
    TooSlow,
}

/// The child: fences itself, reads a component, writes code. `arguments` are those after [`COMPILER_ARGUMENT`].
#[must_use]
pub fn compiler_main(arguments: &[String]) -> ExitCode {
    let refuse = |why: &dyn std::fmt::Display| {
        // A longer one fills the pipe while its reader waits for the other to end; and it may quote names of the component.
        let why = why.to_string();
        let _ = std::io::stderr().write_all(why.as_bytes().get(..SENTENCE as usize).unwrap_or(why.as_bytes()));
        ExitCode::FAILURE
    };
    let [cpu, memory, parent] = arguments else { return refuse(&"it is run by palisade itself") };
    let numbers = (cpu.parse::<u64>(), memory.parse::<u64>(), parent.parse::<i32>());
    let (Ok(cpu), Ok(memory), Ok(parent)) = numbers else { return refuse(&"it is run by palisade itself") };
    if let Err(error) = fence(cpu, memory, parent) {
        return refuse(&format!("the compiler cannot be fenced: {error}"));
    }
    let mut wasm = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut wasm) {
        return refuse(&error);
    }
    let most = most(wasm.len());
    if is_module(&wasm) {
        wasm = match module::component(&wasm) {
            Ok(component) => component,
            Err(error) => return refuse(&format!("{error:#}")),
        };
    }
    let compiled = |wasm: &[u8]| {
        wasmtime::Engine::new(&engine_config(Allocator::OnDemand, &Limits::default())).and_then(|engine| engine.precompile_component(wasm))
    };
    // A component that cannot be joined, or not be compiled so, is compiled as it is: that also says what is wrong with it. What
    // libraries have far from each other in memory is much code in one module, and may be little in several.
    let joined = join(&wasm).ok().and_then(|wasm| compiled(&wasm).ok()).filter(|code| code.len() as u64 <= most);
    match joined.map_or_else(|| compiled(&wasm), Ok) {
        Ok(code) => match std::io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        },
        Err(error) => refuse(&format!("{error:#}")),
    }
}

fn fence(cpu: u64, memory: u64, parent: i32) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // It may have died before that.
        if rustix::process::getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
            return Err(rustix::io::Errno::SRCH);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    let limit = |resource, value| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    // No descriptor above the three that are open: neither a file nor a socket can be made.
    limit(Resource::Nofile, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Core, 0)?;
    limit(Resource::As, memory)?;
    // The signal at the lower one says why it ended.
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu.saturating_add(1)) })
}

fn show(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs().max(1))).to_string()
}
