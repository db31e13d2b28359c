//! A native command as a hook: a fenced child process that a person allowed, word for word and byte for byte.
//!
//! The rule it keeps: it gets the event as JSON on its standard input, and only what it says in time counts: an end with 0 and
//! nothing or JSON on its standard output allows or decides, an end with 2 denies with its standard error as the reason. All
//! else - another end, a signal, too long, too much, no JSON - is no answer, and so a denial where it guards.
//!
//! The protocol is that of Claude Code's hooks reference, but that this one fails closed.

use super::foreign::digest;
use crate::child::{Start, Wanted, spawn};
use crate::config::{AllowedCommand, Home, Settings};
use crate::sandbox::hooks;
use crate::{clean, redact};
use palisade_policy::{Access, Identity, Limit, Limits, Said, mcp_name};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::oneshot::Sender;

/// Why one does not run that was allowed.
pub(super) const CHANGED: &str = "it is not what was allowed: a file that its command names has changed";
/// Most bytes of each of its outputs.
const OUTPUT: u64 = 64 * 1024;
/// Commands that run at once; others wait, and their time runs.
static PLACES: Semaphore = Semaphore::const_new(8);

/// A command, ready to run.
#[derive(Debug, Clone)]
pub struct Command {
    allowed: AllowedCommand,
    /// The folder of the package it belongs to, which it may read.
    root: PathBuf,
    home: Home,
    workspace: PathBuf,
    program: PathBuf,
    limits: Limits,
    time: Duration,
}

impl Command {
    /// A command of a package in `root`, which `program` supervises.
    pub(crate) fn new(allowed: AllowedCommand, root: &Path, settings: &Settings, program: &Path, timeout: Option<Duration>) -> Self {
        let most = settings.limits.time(Limit::HookTime);
        Self {
            allowed,
            root: root.to_owned(),
            home: settings.home.clone(),
            workspace: settings.workspace.folder.path().to_owned(),
            program: program.to_owned(),
            limits: settings.limits.clone(),
            time: timeout.map_or(most, |timeout| timeout.min(most)),
        }
    }

    /// What stands for it in the audit log.
    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::parse(&self.allowed.digest)
    }

    /// Program and arguments, as one line.
    pub(crate) fn name(&self) -> String {
        redact::line(&self.allowed.argv.join(" "), clean::NAME)
    }

    /// What it says to an event.
    pub(crate) async fn ask(&self, event: &hooks::Event) -> Said {
        let started = Instant::now();
        let waited = tokio::time::timeout(self.time, PLACES.acquire()).await;
        let Ok(Ok(_place)) = waited else { return failed("it found no place to run in time") };
        let (this, input, left) = (self.clone(), document(event, &self.workspace), self.time.saturating_sub(started.elapsed()));
        let (answer, answered) = tokio::sync::oneshot::channel();
        // A thread of its own, which lives as long as the child: the child ends with the thread that started it.
        let running = std::thread::Builder::new().name("hook".to_owned()).spawn(move || {
            this.run(&input, left, answer);
        });
        match running {
            Ok(_) => answered.await.unwrap_or_else(|_| failed("its thread is gone")),
            Err(error) => failed(&format!("no thread for it: {error}")),
        }
    }

    /// Runs it, and answers as soon as that is clear.
    fn run(&self, input: &str, time: Duration, answer: Sender<Said>) {
        // Who asked may have given up.
        let tell = |said: Said| drop(answer.send(said));
        let deadline = Instant::now() + time;
        match digest(&self.allowed.argv) {
            Ok(now) if now == self.allowed.digest => {}
            Ok(_) => return tell(failed(CHANGED)),
            Err(why) => return tell(failed(&why)),
        }
        let started = self.start().and_then(|start| spawn(&self.program, start).map_err(|e| format!("it cannot be started: {e}")));
        let (mut child, stdin, stdout, stderr) = match started {
            Ok(started) => started,
            Err(why) => return tell(failed(&why)),
        };
        let input = input.to_owned();
        // It need not read what it is told, and may never.
        let writer = std::thread::spawn(move || {
            let mut stdin = stdin;
            let _ = stdin.write_all(input.as_bytes());
        });
        let reader = |mut stream: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.by_ref().take(OUTPUT + 1).read_to_end(&mut bytes);
                bytes
            })
        };
        let (out, err) = (reader(Box::new(stdout)), reader(Box::new(stderr)));
        let code = loop {
            match child.code() {
                Some(code) => break Some(code),
                None if Instant::now() >= deadline => break None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let Some(code) = code else {
            tell(failed(&format!("it was stopped after {}", humantime::format_duration(self.time))));
            return child.end();
        };
        // Ends what it left behind, and so the streams.
        child.end();
        let _ = writer.join();
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        tell(if out.len() as u64 > OUTPUT { failed("it said too much") } else { said(code, &out, &err) });
    }

    fn start(&self) -> Result<Start, String> {
        let (command, args) = self.allowed.argv.split_first().ok_or("it has no program")?;
        // Word for word: nothing of it is a variable to us.
        let wanted = Wanted {
            command: command.clone(),
            args: args.to_vec(),
            env: Vec::new(),
            folders: vec![(self.root.clone(), Access::Read)],
            net: false,
            unfenced: false,
            base: None,
            own: Path::new("hooks").join(&self.allowed.digest),
        };
        Start::prepare(wanted, &self.home, &self.workspace, &self.limits)
    }
}

fn failed(why: &str) -> Said {
    Said::Failed(why.to_owned(), None)
}

/// The event in the words of that protocol.
fn document(event: &hooks::Event, workspace: &Path) -> String {
    let tool = |id: &str| {
        let (source, tool) = id.split_once('/').unwrap_or((id, ""));
        format!("mcp__palisade__{}", mcp_name(source, tool))
    };
    let parsed = |arguments: &str| serde_json::from_str::<Value>(arguments).unwrap_or(Value::Null);
    let (name, mut document) = match event {
        hooks::Event::SessionStart(session) => ("SessionStart", json!({"session_id": session.id, "source": "startup"})),
        hooks::Event::SessionEnd(session) => ("SessionEnd", json!({"session_id": session.id, "reason": "other"})),
        hooks::Event::PromptSubmit(prompt) => ("UserPromptSubmit", json!({"prompt": prompt})),
        hooks::Event::BeforeCall(call) => ("PreToolUse", json!({"tool_name": tool(&call.id), "tool_input": parsed(&call.arguments)})),
        hooks::Event::AfterCall(ended) => {
            let failed = ended.error.as_ref().map(|(kind, message)| json!({"kind": kind, "message": message}));
            ("PostToolUse", json!({"tool_name": tool(&ended.id), "error": failed, "duration_us": ended.duration}))
        }
        hooks::Event::CallDenied(denied) => ("PermissionDenied", json!({"tool_name": tool(&denied.id), "rule": denied.rule})),
    };
    document["hook_event_name"] = json!(name);
    document["cwd"] = json!(workspace.display().to_string());
    document.to_string()
}

/// What its end and its outputs say.
fn said(code: i32, out: &[u8], err: &[u8]) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match code {
        2 => Said::Deny(text(err)),
        0 if text(out).is_empty() => Said::Allow,
        0 => decided(&text(out)),
        code if text(err).is_empty() => failed(&format!("it ended with {code}")),
        code => failed(&format!("it ended with {code}: {}", text(err))),
    }
}

fn decided(out: &str) -> Said {
    let Ok(Value::Object(answer)) = serde_json::from_str::<Value>(out) else { return failed("what it said is no JSON object") };
    let specific = answer.get("hookSpecificOutput").cloned().unwrap_or(Value::Null);
    let reason = |keys: [&str; 3]| {
        let found = keys.iter().find_map(|key| answer.get(*key).or_else(|| specific.get(*key)).and_then(Value::as_str));
        found.unwrap_or("it gave no reason").to_owned()
    };
    if answer.get("continue") == Some(&json!(false)) {
        return Said::Deny(reason(["stopReason", "reason", "systemMessage"]));
    }
    let decision = answer.get("decision").or_else(|| specific.get("permissionDecision"));
    match decision.map(|decision| decision.as_str().unwrap_or("?")) {
        None | Some("approve" | "allow") => match specific.get("updatedInput") {
            Some(input @ Value::Object(_)) => Said::Replace(input.to_string().into_bytes().into()),
            Some(_) => failed("what it put in the place of the arguments is no object"),
            None => Said::Allow,
        },
        // Nobody is there to be asked.
        Some("block" | "deny" | "ask" | "defer") => Said::Deny(reason(["permissionDecisionReason", "reason", "stopReason"])),
        Some(_) => failed("its decision is none of approve, allow, block, deny and ask"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_in_the_protocol_counts() {
        let deny = |reason: &str| Said::Deny(reason.to_owned());
        for (code, out, err, expected) in [
            (0, "", "noise", Said::Allow),
            (0, " \n", "", Said::Allow),
            (0, "{}", "", Said::Allow),
            (0, r#"{"decision": "approve"}"#, "", Said::Allow),
            (2, "", "no such thing\n", deny("no such thing")),
            (2, r#"{"decision": "approve"}"#, "no", deny("no")),
            (0, r#"{"decision": "block", "reason": "not now"}"#, "", deny("not now")),
            (0, r#"{"continue": false, "stopReason": "enough"}"#, "", deny("enough")),
            (0, r#"{"hookSpecificOutput": {"permissionDecision": "deny", "permissionDecisionReason": "mine"}}"#, "", deny("mine")),
            (0, r#"{"hookSpecificOutput": {"permissionDecision": "ask"}}"#, "", deny("it gave no reason")),
            (
                0,
                r#"{"hookSpecificOutput": {"permissionDecision": "allow", "updatedInput": {"a": 1}}}"#,
                "",
                Said::Replace(br#"{"a":1}"#.as_slice().into()),
            ),
        ] {
            assert_eq!(said(code, out.as_bytes(), err.as_bytes()), expected, "{code} {out}");
        }
        for (code, out) in [
            (1, ""),
            (127, "{}"),
            (0, "all is well"),
            (0, "[]"),
            (0, r#"{"decision": 7}"#),
            (0, r#"{"decision": "allowed"}"#),
            (0, r#"{"hookSpecificOutput": {"updatedInput": "x"}}"#),
        ] {
            assert!(matches!(said(code, out.as_bytes(), b""), Said::Failed(..)), "{code} {out}");
        }
    }
}
