//! `palisade serve --http`, spoken to over its socket without any library.

use crate::World;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// What comes before 2026: a handshake, then a session.
pub const OLD: &str = "2025-11-25";
/// From here on each request stands alone.
pub const NEW: &str = "2026-07-28";

/// A server on a free port of loopback; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub child: Child,
    /// Its port.
    pub port: u16,
    /// What it asks of a client, where it asks for anything.
    pub token: Option<String>,
    log: std::path::PathBuf,
}

impl Server {
    /// Starts one with these flags, and with more after `serve`, and waits until it says where it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start_with(world: &World, flags: &[&str], more: &[&str]) -> Self {
        let mut command = world.command(&[flags, &["serve", "--http", "127.0.0.1:0"], more].concat());
        let number = world.files().iter().filter(|file| file.starts_with("server-")).count();
        let log = world.path(&format!("server-{number}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        command.stdout(file.try_clone().expect("a log")).stderr(file);
        let child = command.stdin(Stdio::null()).spawn().expect("the binary runs");
        let mut server = Self { child, port: 0, token: None, log };
        let said = server.until("listening on http://127.0.0.1:");
        let (_, rest) = said.split_once("listening on http://127.0.0.1:").expect("it says so");
        server.port = rest.split('/').next().expect("a path").parse().expect("a port");
        server.token = std::fs::read_to_string(world.path("state/palisade/serve.token")).ok().map(|token| token.trim().to_owned());
        server
    }

    /// Starts one with these flags.
    #[must_use]
    pub fn start(world: &World, flags: &[&str]) -> Self {
        Self::start_with(world, flags, &[])
    }

    /// All it wrote so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// Waits until it wrote this, and gives back all it wrote.
    ///
    /// # Panics
    /// When it never does.
    pub fn until(&mut self, what: &str) -> String {
        let started = Instant::now();
        loop {
            let said = self.said();
            // Whole lines only.
            if said[..said.rfind('\n').map_or(0, |end| end + 1)].contains(what) {
                return said;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "{what:?} is not in, {ended:?}:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and says how it did.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) -> i32 {
        self.signal();
        self.ended()
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
    }

    /// How it ended.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended(&mut self) -> i32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().unwrap_or(-1);
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A client that speaks this version, past its handshake where it has one.
    ///
    /// # Panics
    /// When the handshake fails.
    #[must_use]
    pub fn client(&self, version: &'static str) -> Client {
        let connection = Connection::open(self.port);
        let mut client = Client { connection, version, token: self.token.clone(), session: None, asked: 0 };
        if version == OLD {
            let info = json!({"name": "test", "version": "1"});
            let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": info});
            client.send("initialize", &hello);
            let reply = client.connection.reply().expect("an answer");
            assert_eq!(reply.message()["result"]["protocolVersion"], version, "{reply:?}");
            client.session = Some(reply.header("mcp-session-id").expect("a session").to_owned());
            let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            client.connection.send(&client.post("", &done.to_string()));
            assert_eq!(client.connection.reply().expect("an answer").status, 202);
        }
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of a server.
#[derive(Debug)]
pub struct Client {
    /// The one connection it speaks over.
    pub connection: Connection,
    version: &'static str,
    token: Option<String>,
    session: Option<String>,
    asked: u64,
}

impl Client {
    /// The same client over a connection of its own.
    #[must_use]
    pub fn beside(&self, server: &Server, number: usize) -> Self {
        let (token, session) = (self.token.clone(), self.session.clone());
        // What one session asks has one numbering.
        let asked = (number as u64 + 1) * 1_000_000;
        Self { connection: Connection::open(server.port), version: self.version, token, session, asked }
    }

    /// The headers that say who it is.
    #[must_use]
    pub fn headers(&self) -> String {
        let mut lines = format!("Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {}\r\n", self.version);
        for (name, value) in [("Authorization: Bearer", &self.token), ("Mcp-Session-Id:", &self.session)] {
            lines.extend(value.iter().map(|value| format!("{name} {value}\r\n")));
        }
        lines
    }

    fn post(&self, more: &str, body: &str) -> Vec<u8> {
        request("POST /mcp", &format!("Host: localhost\r\n{}Content-Type: application/json\r\n{more}", self.headers()), body)
    }

    /// The bytes of a request.
    #[must_use]
    pub fn asking(&mut self, method: &str, params: &Value) -> Vec<u8> {
        self.asked += 1;
        let mut params = params.clone();
        let mut more = String::new();
        if self.version != OLD {
            let name = |key| format!("io.modelcontextprotocol/{key}");
            params["_meta"] = json!({name("protocolVersion"): self.version, name("clientCapabilities"): {}});
            more = format!("Mcp-Method: {method}\r\n");
            more.extend(params["name"].as_str().map(|name| format!("Mcp-Name: {name}\r\n")));
        }
        let body = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.post(&more, &body.to_string())
    }

    /// Asks, and does not wait.
    pub fn send(&mut self, method: &str, params: &Value) {
        let bytes = self.asking(method, params);
        self.connection.send(&bytes);
    }

    /// Asks, and waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.send(method, params);
        self.connection.reply().expect("an answer").message()
    }

    /// Calls a tool; its result.
    pub fn call(&mut self, name: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": name, "arguments": arguments}))["result"].clone()
    }
}

/// The bytes of a request.
#[must_use]
pub fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its status line and headers.
    pub head: String,
    /// Its body, whole.
    pub body: String,
}

impl Reply {
    /// A header; its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    /// The message in it: the last event of a stream, or the body.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn message(&self) -> Value {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).rfind(|data| !data.is_empty());
        serde_json::from_str(data.unwrap_or(&self.body)).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// The socket, to wait on.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends bytes. One that is gone does not read; the reply that does not come tells.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Waits for the head of a reply; `None` where the connection ended first.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came back"),
                Err(_) => return None,
            }
        }
        Some(head)
    }

    /// Waits for a whole reply; `None` where the connection ended first.
    pub fn reply(&mut self) -> Option<Reply> {
        let head = self.head()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut reply = Reply { status, head, body: String::new() };
        let mut body = Vec::new();
        if reply.header("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                self.0.read_line(&mut size).ok().filter(|read| *read > 0)?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                let at = body.len();
                body.resize(at + size, 0);
                self.0.read_exact(&mut body[at..]).ok()?;
                self.0.read_exact(&mut [0; 2]).ok()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(reply.header("content-length").map_or(Some(0), |length| length.parse().ok())?, 0);
            self.0.read_exact(&mut body).ok()?;
        }
        reply.body = String::from_utf8(body).ok()?;
        Some(reply)
    }
}
