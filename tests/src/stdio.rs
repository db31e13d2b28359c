//! `palisade serve`, spoken to over its pipes without any library.

use crate::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server that is asked over its pipes; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    asked: u64,
    /// The methods of notifications that came.
    pub heard: Vec<String>,
    /// What was answered while another answer was waited for, by what was asked.
    pub passed: BTreeMap<u64, Value>,
}

impl Server {
    /// Starts one with these arguments, and says hello.
    #[must_use]
    pub fn start(world: &World, args: &[&str]) -> Self {
        let mut command = world.command(args);
        command.stderr(Stdio::null());
        Self::of(command)
    }

    /// Starts what a command says, and says hello.
    #[must_use]
    pub fn of(command: Command) -> Self {
        let mut server = Self::greeted(command);
        server.initialized();
        server
    }

    /// Starts what a command says, and asks who it is; it is told nothing of that it may begin.
    #[must_use]
    pub fn greeted(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Self { input: child.stdin.take(), child, output, asked: 0, heard: Vec::new(), passed: BTreeMap::new() };
        let client = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        server.ask("initialize", &hello).expect("it answers");
        server
    }

    /// Tells it that it may begin.
    pub fn initialized(&mut self) {
        self.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    fn write(&mut self, message: &Value) {
        // One that is gone does not read; the answer that does not come tells.
        let _ = self.input.as_mut().map(|input| writeln!(input, "{message}"));
    }

    /// Asks, and does not wait.
    pub fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let asked = self.asked;
        self.write(&json!({"jsonrpc": "2.0", "id": asked, "method": method, "params": params}));
        asked
    }

    /// Asks and waits for the answer; `None` where the server ended first.
    pub fn ask(&mut self, method: &str, params: &Value) -> Option<Value> {
        let asked = self.send(method, params);
        self.answer(asked)
    }

    /// Waits for the answer to what was sent; `None` where the server ended first.
    pub fn answer(&mut self, asked: u64) -> Option<Value> {
        if let Some(answer) = self.passed.remove(&asked) {
            return Some(answer);
        }
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).ok()? == 0 || !line.ends_with('\n') {
                return None;
            }
            let answer: Value = serde_json::from_str(&line).ok()?;
            if answer["id"] == json!(asked) {
                return Some(answer["result"].clone());
            }
            self.passed.extend(answer["id"].as_u64().map(|other| (other, answer["result"].clone())));
            self.heard.extend(answer["method"].as_str().map(str::to_owned));
        }
    }

    /// Waits until a notification came, and forgets those that did.
    ///
    /// # Panics
    /// Where it does not come within a minute.
    pub fn hears(&mut self, method: &str) {
        let started = std::time::Instant::now();
        while !self.heard.iter().any(|heard| heard == method) {
            assert!(started.elapsed() < std::time::Duration::from_secs(60), "{method} in {:?}", self.heard);
            self.ask("ping", &json!({})).expect("it answers");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.heard.clear();
    }

    /// The names of its tools.
    #[must_use]
    pub fn tools(&mut self) -> Vec<String> {
        let listed = self.ask("tools/list", &json!({})).expect("it answers");
        listed["tools"].as_array().expect("a list").iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect()
    }

    /// The text of a call's answer.
    #[must_use]
    pub fn call(&mut self, name: &str, arguments: &Value) -> String {
        let answer = self.ask("tools/call", &json!({"name": name, "arguments": arguments})).expect("it answers");
        answer["content"][0]["text"].as_str().expect("text").to_owned()
    }

    /// Ends its input, and waits until it has ended.
    pub fn close(mut self) {
        drop(self.input.take());
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
