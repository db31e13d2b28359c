//! `palisade audit`.

use super::Context;
use palisade::audit::{self, Anchor, Entry, Verified};
use palisade::config::Home;
use palisade::{Error, Kind, clean};
use serde_json::{Value, json};
use std::io::Read;
use std::process::ExitCode;
use std::time::SystemTime;

/// What an exit code of a log that was changed is.
const CHANGED: u8 = 7;
/// Largest file with an anchor, in bytes.
const ANCHOR: u64 = 1024 * 1024;
/// What no check without an anchor can tell.
const LIMIT: &str = "a cut-off tail of the newest file, or a log that this user rewrote as a whole, shows only with --anchor";

#[derive(clap::Subcommand)]
pub enum AuditCommand {
    /// Show decisions with their outcomes, oldest first
    Show {
        /// Only tools whose id starts so
        #[arg(long, value_name = "PREFIX")]
        tool: Option<String>,
        /// Only denials
        #[arg(long)]
        denied: bool,
        /// Only since then: a time like 2026-01-31T12:00:00Z, or an age like 2h
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The newest so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Find records that were changed, removed or put in another order
    Verify {
        /// What `audit anchor` printed, or a file that holds it: finds a cut-off tail and a rewritten log too
        #[arg(long, value_name = "TEXT|FILE")]
        anchor: Option<String>,
    },
    /// Print one line to keep elsewhere, for `verify --anchor`
    Anchor,
}

pub fn run(context: &Context, command: AuditCommand) -> Result<ExitCode, Error> {
    // No config is read: a broken one is no reason not to look at the log.
    let folder = audit::folder(&Home::from_environment()?);
    match command {
        AuditCommand::Show { tool, denied, since, limit } => {
            let since = since.map(|since| when(&since)).transpose()?;
            let fits = |entry: &Entry| {
                tool.as_ref().is_none_or(|prefix| entry.tool.starts_with(prefix.as_str()))
                    && (!denied || entry.verdict == "deny")
                    && since.as_ref().is_none_or(|since| entry.time >= *since)
            };
            let found = audit::show(&folder, limit, fits)?;
            if found.damaged > 0 {
                context.out.warn(&format!("{} lines are no records; palisade audit verify names them", found.damaged));
            }
            context.out.payload(&json!({"entries": found.entries, "older": found.more}), || {
                let mut lines: Vec<String> = found.entries.iter().map(shown).collect();
                if found.more > 0 {
                    lines.insert(0, format!("{} older ones; --limit shows more", found.more));
                }
                if lines.is_empty() { "no records".to_owned() } else { lines.join("\n") }
            })?;
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify { anchor } => {
            let anchor = anchor.map(|given| read_anchor(&given)).transpose()?;
            let verified = audit::verify(&folder, anchor.as_ref())?;
            let holds = verified.findings.is_empty();
            let document = json!({
                "ok": holds, "anchored": anchor.is_some(), "files": verified.files, "records": verified.records,
                "findings": verified.findings, "notes": verified.notes, "limit": anchor.is_none().then_some(LIMIT),
            });
            context.out.payload(&document, || report(&verified, anchor.as_ref()))?;
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(CHANGED) })
        }
        AuditCommand::Anchor => {
            let anchor = audit::anchor(&folder)?;
            context.out.payload(&json!({"anchor": anchor.to_string(), "files": anchor.files()}), || anchor.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// As the log writes times, so that they compare as text.
fn when(since: &str) -> Result<String, Error> {
    let aged = || humantime::parse_duration(since).ok().and_then(|age| SystemTime::now().checked_sub(age));
    let time = humantime::parse_rfc3339_weak(since).ok().or_else(aged).ok_or_else(|| {
        Error::new(Kind::Usage, format!("--since {} is no time and no age", clean::line(since, 50)))
            .hint("write it like 2026-01-31T12:00:00Z or 2h")
    })?;
    Ok(humantime::format_rfc3339_millis(time).to_string())
}

fn read_anchor(given: &str) -> Result<Anchor, Error> {
    if given.trim_start().starts_with("palisade-audit-") {
        return Anchor::parse(given);
    }
    let what = || format!("the anchor {}", clean::line(given, clean::NAME));
    let mut text = String::new();
    let file = std::fs::File::open(given).map_err(|e| Error::io(what(), &e))?;
    file.take(ANCHOR).read_to_string(&mut text).map_err(|e| Error::io(what(), &e))?;
    Anchor::parse(&text)
}

fn shown(entry: &Entry) -> String {
    let field = |value: &Value, key: &str| clean::line(value[key].as_str().unwrap_or_default(), clean::TEXT);
    let decision = &entry.decision;
    let end = match (entry.verdict.as_str(), &entry.outcome) {
        // What a hook said has no outcome of its own.
        (verdict, _) if decision["event"] == "hook" => match decision["reason"].as_str() {
            Some(_) => format!("{}: {}", clean::line(verdict, clean::NAME), field(decision, "reason")),
            None => clean::line(verdict, clean::NAME),
        },
        ("allow", Some(outcome)) => {
            let error = outcome["error"].as_str().map_or(String::new(), |e| format!(" ({})", clean::line(e, clean::NAME)));
            let took = outcome["duration_us"].as_f64().map_or(String::new(), |us| {
                format!(" {}", palisade::record::duration(std::time::Duration::from_secs_f64(us.max(0.0) / 1e6)))
            });
            format!("allow → {}{error}{took}", field(outcome, "outcome"))
        }
        ("allow", None) => "allow → no outcome".to_owned(),
        ("deny", _) => format!(
            "deny #{} by {} ({}): {}",
            decision["denial"],
            field(decision, "rule"),
            field(decision, "source"),
            field(decision, "reason")
        ),
        _ => format!("{} ({})", clean::line(&entry.verdict, clean::NAME), field(decision, "error")),
    };
    format!("{} {}: {end}", clean::line(&entry.time, 40), clean::line(&entry.tool, clean::NAME))
}

fn report(verified: &Verified, anchor: Option<&Anchor>) -> String {
    let place = |f: &audit::Finding| f.line.map_or(f.file.clone(), |line| format!("{} line {line}", f.file));
    let mut lines: Vec<String> = verified.findings.iter().map(|f| format!("{}: {}", place(f), f.what)).collect();
    lines.extend(verified.notes.iter().map(|note| format!("note: {note}")));
    let (files, records) = (verified.files, verified.records);
    let counts = format!("{records} records in {files} files");
    lines.push(match (verified.findings.len(), anchor) {
        (0, None) => format!("{counts}: whole; {LIMIT}"),
        (0, Some(anchor)) => format!("{counts}: whole, with all {} heads of the anchor", anchor.files()),
        (found, _) => format!("{counts}: {found} findings"),
    });
    lines.join("\n")
}
