//! What a person reads: payload on stdout, all else on stderr, everything from outside cleaned.

use palisade::config::Scope;
use palisade::policy::Subsystem;
use palisade::record::{CallRecord, Decision};
use palisade::session::Event;
use palisade::{Error, Host, Kind, clean};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

#[derive(Clone)]
pub struct Output {
    pub json: bool,
    quiet: bool,
    verbose: bool,
}

impl Output {
    pub fn new(json: bool, quiet: bool, verbose: bool) -> Self {
        Self { json, quiet, verbose }
    }

    /// Whether somebody watches who wants to see what is going on.
    pub fn is_watched(&self) -> bool {
        use std::io::IsTerminal;
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// The payload: one JSON document, or text.
    pub fn payload(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
        let mut shown =
            if self.json { serde_json::to_string(document).map_err(|e| Error::internal("the output as JSON", &e))? } else { text() };
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
            // Whoever reads has read enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| Error::io("standard output", &e)),
        }
    }

    /// The last line of stderr, and the exit code.
    pub fn fail(&self, error: &Error) -> ExitCode {
        let message = clean::line(&error.message, clean::TEXT);
        let hint = error.hint.as_ref().map(|h| clean::line(h, clean::TEXT));
        if self.json {
            line(&json!({"error": {"kind": error.kind.name(), "message": message, "hint": hint}}).to_string());
        } else {
            line(&format!("error ({}): {message}", error.kind.name()));
            if let Some(hint) = hint {
                line(&format!("hint: {hint}"));
            }
        }
        ExitCode::from(error.kind.exit_code())
    }

    /// Something a person should know.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            line(&format!("warning: {}", clean::line(text, clean::TEXT)));
        }
    }

    /// Whether only what must be said is.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How it goes.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            line(&clean::line(text, clean::TEXT));
        }
    }

    /// What a person is asked about; made of cleaned parts.
    pub fn say(&self, text: &str) {
        line(text);
    }

    /// A question, to which the answer comes on the same line.
    pub fn ask(&self, text: &str) {
        put(text);
    }

    /// Warnings, what is quarantined, and what `--trust-workspace` activated.
    pub fn about(&self, host: &Host) {
        for warning in host.warnings() {
            self.warn(warning);
        }
        for broken in host.quarantined() {
            self.warn(&format!("{} is quarantined ({}): {}", broken.source, broken.error.kind.name(), broken.error.message));
        }
        if host.settings().workspace_trust.typed {
            let activated: Vec<_> = host.plugins().iter().filter(|p| p.scope == Scope::Workspace).collect();
            for plugin in &activated {
                let (name, version) = (&plugin.manifest.name, &plugin.manifest.version);
                let kind = if plugin.subsystem == Subsystem::SkillInit { "tools of the skill" } else { "plugin" };
                line(&format!("--trust-workspace activates the {kind} {name} {version} in {} (sha256:{})", plugin.folder, plugin.identity));
            }
            let skills: Vec<_> = host.skills().filter(|skill| skill.scope == Scope::Workspace).collect();
            for skill in &skills {
                line(&format!("--trust-workspace activates the skill {} in {}", skill.name, skill.shown));
            }
            if activated.is_empty() && skills.is_empty() {
                line("--trust-workspace activates nothing: palisade.toml names no plugin and no skill that loads");
            }
        }
    }

    /// The gate's part of a call's line; an allowed call goes on in [`Output::ended`].
    pub fn decided(&self, decision: &Decision<'_>) {
        // The record of a call: no level of quiet takes it away.
        let end = if decision.denial.is_some() { "\n" } else { "" };
        put(&format!("{}: {}{end}", decision.tool, decision.line()));
        self.unrecorded(decision.unrecorded);
    }

    /// What the audit log does not hold; no level of quiet takes that away either.
    fn unrecorded(&self, error: Option<&Error>) {
        if let Some(error) = error {
            line(&format!("error ({}): {}", error.kind.name(), clean::line(&error.message, clean::TEXT)));
        }
    }

    /// What hooks have for the operator.
    fn told(&self, lines: &[String]) {
        if !self.quiet {
            lines.iter().for_each(|told| line(told));
        }
    }

    /// The sandbox's part of a call's line, and what the guest logged.
    pub fn ended(&self, record: &CallRecord) {
        self.ended_after("", record);
    }

    fn ended_after(&self, head: &str, record: &CallRecord) {
        if record.denial.is_some() {
            self.told(&record.told);
            return;
        }
        line(&format!("{head}{}", record.line()));
        self.unrecorded(record.unrecorded.as_ref());
        if self.quiet {
            return;
        }
        for entry in record.log.iter().filter(|entry| self.verbose || entry.level != "debug") {
            line(&format!("{} {}: {}", record.tool, entry.level, clean::line(&entry.message, clean::TEXT)));
        }
        if record.log_dropped > 0 {
            line(&format!("{}: {} more log lines found no room", record.tool, record.log_dropped));
        }
        self.told(&record.told);
        // Also of a call that went well: the tool may have gone on without.
        for refused in &record.refused {
            line(&format!("{}: {refused}", record.tool));
        }
        if record.error.as_ref().is_some_and(|e| e.kind == Kind::ToolFailed) {
            for absent in &record.absent {
                line(&format!("{}: {absent}", record.tool));
            }
        }
    }

    /// Like [`Output::event`], a line for each half: other calls may come between them.
    pub fn concurrent(&self, event: &Event<'_>) {
        match event {
            Event::Decided(decision) => {
                line(&format!("{}: {}", decision.tool, decision.line()));
                self.unrecorded(decision.unrecorded);
            }
            Event::Ended(record) => {
                // In one write, so that no other call comes between.
                let head = if record.denial.is_none() { format!("{}:", record.tool) } else { String::new() };
                self.ended_after(&head, record);
            }
            Event::Unrecorded(error) => self.unrecorded(Some(error)),
            Event::Told(lines) => self.told(lines),
        }
    }

    pub fn event(&self, event: &Event<'_>) {
        match event {
            Event::Decided(decision) => self.decided(decision),
            Event::Ended(record) => self.ended(record),
            Event::Unrecorded(error) => self.unrecorded(Some(error)),
            Event::Told(lines) => self.told(lines),
        }
    }
}

fn line(text: &str) {
    put(&format!("{text}\n"));
}

/// The one way to stderr.
fn put(text: &str) {
    let text = palisade::redact::text(text);
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
}

/// The text of a call's result.
pub fn result(record: &CallRecord) -> String {
    use palisade::sandbox::Content;
    let piece = |content: &Content| match content {
        Content::Text(text) => clean::block(text),
        Content::Json(json) => {
            let value: serde_json::Value = serde_json::from_str(json.get()).unwrap_or_default();
            clean::block(&serde_json::to_string_pretty(&value).unwrap_or_default())
        }
        Content::Blob { mime, data } => format!("[{} bytes of {mime}; --format json prints them]", data.len()),
    };
    let text = record.content.iter().map(piece).collect::<Vec<_>>().join("\n");
    match record.tool.split_once('/') {
        // Nobody here made it.
        Some((source, _)) if record.lane == "mcp" => format!("[from the MCP server {source}]\n{text}"),
        _ => text,
    }
}
