//! What is tried. An attempt is `Ok` with what it reached, or `Err` with what stopped it; none may panic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process, thread};

/// What came of an attempt.
pub type Outcome = Result<String, String>;

/// An attempt: its name, and what it does.
pub type Attempt = (&'static str, fn() -> Outcome);

/// Left for a later call.
const MARK: &str = "/tmp/palisade-intruder";

/// Bytes read of what has no end.
const BYTES: usize = 16;

/// Every attempt, in the order they run: what an earlier call left is looked for before it is left again.
pub const ATTEMPTS: &[Attempt] = &[
    ("read /etc/passwd", || read("/etc/passwd")),
    ("read /etc/shadow", || read("/etc/shadow")),
    ("read the host's name in /etc/hostname", || read("/etc/hostname")),
    ("read the host's environment in /proc/self/environ", || read("/proc/self/environ")),
    ("read the host's command line in /proc/self/cmdline", || read("/proc/self/cmdline")),
    ("read /etc/passwd through /proc/1/cwd", || read("/proc/1/cwd/etc/passwd")),
    ("list the host's open files in /proc/self/fd", || list("/proc/self/fd")),
    ("read /workspace/Cargo.toml", || read("/workspace/Cargo.toml")),
    ("read ../../../../etc/passwd", || read("../../../../etc/passwd")),
    ("read /workspace/../etc/passwd", || read("/workspace/../etc/passwd")),
    ("list /", || list("/")),
    ("list the current folder", || list(".")),
    ("list /workspace", || list("/workspace")),
    ("list /home", || list("/home")),
    ("list /root", || list("/root")),
    ("find a file that an earlier call left in /tmp", || read(MARK)),
    ("leave a file in /tmp", || create(MARK, true)),
    ("create a file in /", || create("/palisade-intruder", false)),
    ("create a file in the current folder", || create("palisade-intruder", false)),
    ("create a file in /workspace", || create("/workspace/palisade-intruder", false)),
    ("create a folder in /", create_folder),
    ("link /etc into /", || link("/etc", "/palisade-intruder-link")),
    ("link a folder above /workspace into it", || link("../../../etc", "/workspace/palisade-intruder-link")),
    ("link /etc/passwd into /workspace", hard_link),
    ("open /dev/random", || device("/dev/random")),
    ("open /dev/mem", || device("/dev/mem")),
    ("open /dev/tty", || device("/dev/tty")),
    ("read the environment", environment),
    ("read the user's home folder in HOME", home),
    ("read the arguments", arguments),
    ("find the host's program", program),
    ("read standard input", standard_input),
    ("start a shell", shell),
    ("start a thread", start_thread),
    ("find what an earlier call left in memory", memory),
    ("connect to 127.0.0.1:80", || connect(([127, 0, 0, 1], 80).into())),
    ("connect to [::1]:80", || connect(([0, 0, 0, 0, 0, 0, 0, 1], 80).into())),
    ("connect to 1.1.1.1:443", || connect(([1, 1, 1, 1], 443).into())),
    ("connect to the cloud's metadata at 169.254.169.254:80", || connect(([169, 254, 169, 254], 80).into())),
    ("listen on 127.0.0.1", listen),
    ("bind a UDP socket on 127.0.0.1", bind),
    ("send a datagram to 1.1.1.1:53", send),
    ("resolve localhost", || resolve("localhost")),
    ("resolve example.com", || resolve("example.com")),
];

// The details never hold what was read: they go to an agent.
fn read(path: &str) -> Outcome {
    fs::read(path).map(|bytes| format!("{} bytes", bytes.len())).map_err(stopped)
}

fn list(path: &str) -> Outcome {
    fs::read_dir(path).map(|entries| format!("{} entries", entries.count())).map_err(stopped)
}

fn create(path: &str, keep: bool) -> Outcome {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(stopped)?;
    let written = file.write_all(b"an intruder was here\n").map_err(stopped);
    if !keep {
        tidied(fs::remove_file(path));
    }
    written.map(|()| format!("created {path}"))
}

fn create_folder() -> Outcome {
    fs::create_dir("/palisade-intruder-folder").map_err(stopped)?;
    tidied(fs::remove_dir("/palisade-intruder-folder"));
    Ok("created".to_owned())
}

// The portable call that makes a symbolic link is the deprecated one.
#[allow(deprecated)]
fn link(to: &str, at: &str) -> Outcome {
    fs::soft_link(to, at).map_err(stopped)?;
    let read = read(&format!("{at}/passwd"));
    tidied(fs::remove_file(at));
    Ok(format!("linked; reading through it: {}", read.unwrap_or_else(|stopped| stopped)))
}

fn hard_link() -> Outcome {
    fs::hard_link("/etc/passwd", "/workspace/palisade-intruder-link").map_err(stopped)?;
    tidied(fs::remove_file("/workspace/palisade-intruder-link"));
    Ok("linked".to_owned())
}

fn device(path: &str) -> Outcome {
    let mut bytes = [0; BYTES];
    let mut device = File::open(path).map_err(stopped)?;
    // Opening it is already too much; a terminal would keep a read waiting.
    if Path::new(path) == Path::new("/dev/tty") {
        return Ok("opened".to_owned());
    }
    Ok(match device.read(&mut bytes) {
        Ok(count) => format!("opened, {count} bytes read"),
        Err(error) => format!("opened; reading it: {error}"),
    })
}

fn environment() -> Outcome {
    match env::vars_os().count() {
        0 => Err("there are no variables".to_owned()),
        count => Ok(format!("{count} variables")),
    }
}

fn home() -> Outcome {
    match env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(_) => Ok("it is set".to_owned()),
        None => Err("it is not set".to_owned()),
    }
}

fn arguments() -> Outcome {
    // The first is the program's own name.
    match env::args_os().skip(1).filter(|argument| !argument.is_empty()).count() {
        0 => Err("there are no arguments".to_owned()),
        count => Ok(format!("{count} arguments")),
    }
}

fn program() -> Outcome {
    env::current_exe().map(|path| format!("a path of {} bytes", path.as_os_str().len())).map_err(stopped)
}

fn standard_input() -> Outcome {
    let mut bytes = [0; BYTES];
    match io::stdin().read(&mut bytes).map_err(stopped)? {
        0 => Err("it is empty".to_owned()),
        count => Ok(format!("{count} bytes")),
    }
}

fn shell() -> Outcome {
    let ran = process::Command::new("sh").arg("-c").arg("exit 0").status();
    ran.map(|status| format!("it ran: {status}")).map_err(stopped)
}

fn start_thread() -> Outcome {
    // The plain `spawn` would panic where there are no threads.
    let started = thread::Builder::new().spawn(|| ()).map_err(stopped)?;
    Ok(if started.join().is_ok() { "it ran" } else { "it started" }.to_owned())
}

fn memory() -> Outcome {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 => Err("this is the first call its memory knows of".to_owned()),
        count => Ok(format!("{count} earlier calls")),
    }
}

fn connect(to: SocketAddr) -> Outcome {
    match TcpStream::connect(to) {
        Ok(_) => Ok("connected".to_owned()),
        // Somebody answered, so the network was reached.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Ok("nobody listens there, but the network was reached".to_owned())
        }
        Err(error) => Err(stopped(error)),
    }
}

fn listen() -> Outcome {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map(|_| "listening".to_owned()).map_err(stopped)
}

fn bind() -> Outcome {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map(|_| "bound".to_owned()).map_err(stopped)
}

fn send() -> Outcome {
    let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).map_err(stopped)?;
    socket.send_to(b"x", SocketAddr::from(([1, 1, 1, 1], 53))).map(|count| format!("{count} bytes sent")).map_err(stopped)
}

fn resolve(name: &str) -> Outcome {
    match (name, 80).to_socket_addrs().map_err(stopped)?.count() {
        0 => Err("it has no address".to_owned()),
        count => Ok(format!("{count} addresses")),
    }
}

#[allow(clippy::needless_pass_by_value)]
fn stopped(error: io::Error) -> String {
    error.to_string()
}

/// What was only made to see whether it can be made is taken away again; that it stays is no failure of the attempt.
fn tidied(removed: io::Result<()>) {
    if let Err(error) = removed {
        palisade_sdk::log(palisade_sdk::Level::Warn, &format!("something of the probe stays behind: {error}"));
    }
}
