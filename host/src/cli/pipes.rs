//! Standard input and output of a server: where they are pipes or sockets, the system tells when they are ready, and no thread
//! of our own stands between them and a call.
//!
//! Where the rule ends: a terminal or a file is read and written by threads, as ever.

use super::eager::{Answered, Eager, Noted};
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub type Input = Box<dyn AsyncRead + Send + Unpin>;
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// What a client writes to, and what it reads from. After an answer the next message is looked for a moment before the input is
/// waited for.
pub fn both() -> (Input, Output) {
    let answered = Answered::default();
    (input(&answered), Box::new(Noted::new(output(), answered)))
}

fn input(answered: &Answered) -> Input {
    let stdin = std::io::stdin();
    let eager = |fd: OwnedFd, kind: Kind| -> Option<Input> {
        Some(match kind {
            Kind::Pipe => Box::new(Eager::new(pipe::Receiver::from_owned_fd(fd).ok()?, answered.clone())),
            Kind::Socket => Box::new(Eager::new(socket(fd)?, answered.clone())),
        })
    };
    ready(&stdin).and_then(|(fd, kind)| eager(fd, kind)).unwrap_or_else(|| Box::new(tokio::io::stdin()))
}

fn output() -> Output {
    let stdout = std::io::stdout();
    // What is written to standard error beside it must not find it unready.
    let shared = same(&stdout, &std::io::stderr());
    let prompt = |fd: OwnedFd, kind: Kind| -> Option<Output> {
        Some(match kind {
            Kind::Pipe => Box::new(pipe::Sender::from_owned_fd(fd).ok()?),
            Kind::Socket => Box::new(socket(fd)?),
        })
    };
    ready(&stdout).filter(|_| !shared).and_then(|(fd, kind)| prompt(fd, kind)).unwrap_or_else(|| Box::new(tokio::io::stdout()))
}

enum Kind {
    Pipe,
    Socket,
}

/// A descriptor of its own for a pipe or socket.
fn ready(stream: &(impl AsFd + IsTerminal)) -> Option<(OwnedFd, Kind)> {
    use rustix::fs::FileType;
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(stream).ok()?.st_mode) {
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        _ => return None,
    };
    Some((stream.as_fd().try_clone_to_owned().ok()?, kind))
}

fn socket(fd: OwnedFd) -> Option<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    // One of another family says so here.
    stream.local_addr().ok()?;
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok()
}

fn same(one: &impl AsFd, other: &impl AsFd) -> bool {
    let key = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    rustix::fs::fstat(one).map(key).ok() == rustix::fs::fstat(other).map(key).ok()
}
