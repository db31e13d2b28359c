//! A server for tests of the network.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server on loopback that stops by itself.
#[derive(Debug)]
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Connections it took.
    seen: Arc<AtomicUsize>,
    /// The head of each request.
    pub heads: Arc<std::sync::Mutex<Vec<String>>>,
}

/// No test takes longer.
const LIFE: Duration = Duration::from_secs(60);

impl Server {
    /// Answers each connection, after the head of its request, with what `answer` writes.
    #[must_use]
    pub fn start(answer: impl Fn(&str, &mut dyn Write) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port on loopback");
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let port = listener.local_addr().expect("it has an address").port();
        let (seen, heads): (Arc<AtomicUsize>, Arc<std::sync::Mutex<Vec<String>>>) = Default::default();
        let (count, kept, answer) = (seen.clone(), heads.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            let started = Instant::now();
            while started.elapsed() < LIFE {
                match listener.accept() {
                    Ok((stream, _)) => {
                        count.fetch_add(1, Ordering::SeqCst);
                        let (answer, kept) = (answer.clone(), kept.clone());
                        std::thread::spawn(move || serve(stream, &kept, &*answer));
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(2)),
                    Err(_) => return,
                }
            }
        });
        Self { port, seen, heads }
    }

    /// Answers everything with one text.
    #[must_use]
    pub fn text(text: &'static str) -> Self {
        Self::start(move |_, out| ok(out, text))
    }

    /// Answers everything with a redirect.
    #[must_use]
    pub fn redirect(location: String) -> Self {
        Self::start(move |_, out| write!(out, "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// How many connections it took.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    kept: &std::sync::Mutex<Vec<String>>,
    answer: &(dyn Fn(&str, &mut dyn Write) -> std::io::Result<()> + Send + Sync),
) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(LIFE));
    let _ = stream.set_write_timeout(Some(LIFE));
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    kept.lock().expect("nobody panicked").push(head.clone());
    // A client that is gone is no failure of the server.
    let _ = answer(&head, &mut stream);
}

/// Answers with a text.
///
/// # Errors
/// Of the connection.
pub fn ok(out: &mut dyn Write, text: &str) -> std::io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}
