//! What is recorded of a call: its decision, its outcome, its denial. One shape for terminal, JSON, session and MCP.

use crate::error::{Error, Kind};
use crate::remedy::printable;
use crate::sandbox::{Content, LogLine};
use crate::{clean, redact};
use palisade_policy::{Refusal, Rule};
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

/// The record of a call that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Counts from 1 in a process.
    pub number: u64,
    /// The tool's id, as it was asked for; text from outside, cleaned.
    pub tool: String,
    /// The rule.
    pub rule: String,
    /// File and line, flag, or `built-in`.
    pub source: String,
    /// One sentence.
    pub reason: String,
    /// What would allow it; `None` where nothing would.
    pub remedy: Option<String>,
}

impl Denial {
    pub(crate) fn new(number: u64, tool: &str, refusal: Refusal) -> Self {
        Self {
            number,
            tool: redact::line(tool, clean::NAME),
            rule: refusal.rule.name().to_owned(),
            source: clean::line(&refusal.source.to_string(), clean::NAME),
            // It may quote what an argument held.
            reason: redact::line(&refusal.reason, clean::TEXT),
            remedy: refusal.remedy.and_then(printable),
        }
    }
}

/// A decision, handed to a recorder before anything runs.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The tool's id, cleaned.
    pub tool: String,
    /// The denial, or `None` where the call runs now.
    pub denial: Option<&'a Denial>,
    /// How long the gate took.
    pub gate: Duration,
    /// Why the audit log does not hold this denial; it stands all the same.
    pub unrecorded: Option<&'a Error>,
}

/// The steps of the gate as the one line of a call shows them, each with the rules it stands for.
const LINE: [(&str, &[Rule]); 8] = [
    ("name", &[Rule::Name]),
    ("shell", &[Rule::ShellGate]),
    ("deny", &[Rule::DenyName, Rule::DenyPrefix]),
    ("trust", &[Rule::Trust]),
    ("grant", &[Rule::Pin, Rule::Grant]),
    ("args", &[Rule::Arguments]),
    ("budget", &[Rule::Budget]),
    ("guards", &[Rule::Guard]),
];

impl Decision<'_> {
    /// The way through the gate: `✓name ✓shell ✓deny ✓trust ✓grant ✓args ✓budget ✓guards  0.9 µs`, or up to the `✗`.
    #[must_use]
    pub fn line(&self) -> String {
        let denied = |rules: &[Rule]| self.denial.is_some_and(|d| rules.iter().any(|r| r.name() == d.rule));
        let mut line = String::with_capacity(128);
        for (step, rules) in LINE {
            let denied = denied(rules);
            line.push(if denied { '✗' } else { '✓' });
            line.push_str(step);
            line.push(' ');
            if denied {
                break;
            }
        }
        line.push(' ');
        line.push_str(&duration(self.gate));
        if let Some(denial) = self.denial {
            line.push_str(&format!(" → denied #{} by {} ({}): {}", denial.number, denial.rule, denial.source, denial.reason));
            match &denial.remedy {
                Some(remedy) => line.push_str(&format!("; to allow it: {remedy}")),
                // The caller mends its own arguments.
                None if denial.rule == Rule::Arguments.name() => {}
                None => line.push_str("; nothing allows it"),
            }
        }
        line
    }
}

/// A time as a person reads it.
#[must_use]
pub fn duration(time: Duration) -> String {
    // In whole numbers: there are three of these in a call, and to print a float takes as long as to check its arguments.
    let tenths = |unit: u128| (time.as_nanos() * 10 + unit / 2) / unit;
    let (micros, whole, millis) = (tenths(1_000), (time.as_nanos() + 500) / 1_000, tenths(1_000_000));
    match () {
        () if micros < 100 => format!("{}.{} µs", micros / 10, micros % 10),
        () if whole < 1_000 => format!("{whole} µs"),
        () if millis < 10_000 => format!("{}.{} ms", millis / 10, millis % 10),
        () => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It gave a result.
    Ok,
    /// The tool reported an error, or trapped.
    Error,
    /// The gate denied it.
    Denied,
    /// A limit stopped it, or the caller did.
    Limit,
}

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The kind.
    pub kind: Kind,
    /// One sentence, cleaned for a model.
    pub message: String,
}

impl Serialize for CallError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("CallError", 2)?;
        out.serialize_field("kind", self.kind.name())?;
        out.serialize_field("message", &self.message)?;
        out.end()
    }
}

/// What a call cost.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// From the gate to the end.
    pub duration_us: f64,
    /// In the gate.
    pub gate_us: f64,
    /// All linear memories together.
    pub memory_peak_bytes: u64,
    /// `fresh`: the call had its own; `shared`: an external server runs on.
    pub instance: &'static str,
}

/// The record of a call.
#[derive(Debug, Clone, Serialize)]
pub struct CallRecord {
    /// The tool's id, cleaned.
    pub tool: String,
    /// `wasm` or `mcp`.
    pub lane: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The result, cleaned for a model.
    pub content: Vec<Content>,
    /// Why there is none.
    pub error: Option<CallError>,
    /// Why it did not run.
    pub denial: Option<Denial>,
    /// What it cost.
    pub stats: Stats,
    /// What the guest logged; not part of the record.
    #[serde(skip)]
    pub log: Vec<LogLine>,
    /// Log lines that found no room; not part of the record.
    #[serde(skip)]
    pub log_dropped: u64,
    /// What is said of optional capabilities nobody granted, shown when the tool fails; not part of the record.
    #[serde(skip)]
    pub absent: Vec<String>,
    /// Why the audit log does not hold the outcome; not part of the record.
    #[serde(skip)]
    pub unrecorded: Option<Error>,
    /// What was refused of its requests over the network and in its folders, each with what would allow it; not part of the
    /// record.
    #[serde(skip)]
    pub refused: Vec<String>,
    /// What hooks and their observers have for the operator; not part of the record.
    #[serde(skip)]
    pub told: Vec<String>,
}

impl CallRecord {
    /// Of a call that did not run.
    pub(crate) fn denied(denial: Denial, lane: &'static str, stats: Stats) -> Self {
        Self {
            tool: denial.tool.clone(),
            lane,
            outcome: Outcome::Denied,
            content: Vec::new(),
            error: Some(CallError { kind: Kind::Denied, message: denial.reason.clone() }),
            denial: Some(denial),
            stats,
            log: Vec::new(),
            log_dropped: 0,
            absent: Vec::new(),
            refused: Vec::new(),
            told: Vec::new(),
            unrecorded: None,
        }
    }

    /// The exit code of a command that made this call.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.error.as_ref().map_or(0, |error| error.kind.exit_code())
    }

    /// The result as text, one piece after the other.
    #[must_use]
    pub fn text(&self) -> String {
        let piece = |content: &Content| match content {
            Content::Text(text) => text.clone(),
            Content::Json(json) => json.get().to_owned(),
            Content::Blob { mime, data } => format!("[{} bytes of {mime}]", data.len()),
        };
        self.content.iter().map(piece).collect::<Vec<_>>().join("\n")
    }

    /// How the lane's part of the line ends: ` → sandbox 31 µs → ok`.
    #[must_use]
    pub fn line(&self) -> String {
        let lane = Duration::from_secs_f64((self.stats.duration_us - self.stats.gate_us).max(0.0) / 1e6);
        let end = match &self.error {
            None => "ok".to_owned(),
            Some(error) => format!("{}: {}", error.kind.name(), clean::line(&error.message, clean::TEXT)),
        };
        let name = if self.lane == "mcp" { "server" } else { "sandbox" };
        format!(" → {name} {} → {end}", duration(lane))
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        match self {
            Self::Text(text) => {
                out.serialize_entry("type", "text")?;
                out.serialize_entry("text", text)?;
            }
            Self::Json(value) => {
                out.serialize_entry("type", "json")?;
                out.serialize_entry("value", value)?;
            }
            Self::Blob { mime, data } => {
                use base64::Engine;
                out.serialize_entry("type", "blob")?;
                out.serialize_entry("mime", mime)?;
                out.serialize_entry("base64", &base64::engine::general_purpose::STANDARD.encode(data))?;
            }
        }
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_call_stops_at_the_step_that_denied() {
        let denial = Denial {
            number: 2,
            tool: "a/b".into(),
            rule: "deny-prefix".into(),
            source: "palisade.toml:3".into(),
            reason: "the deny prefix `a/` matches it".into(),
            remedy: None,
        };
        let denied = Decision { tool: "a/b".into(), denial: Some(&denial), gate: Duration::from_nanos(900), unrecorded: None };
        assert_eq!(
            denied.line(),
            "✓name ✓shell ✗deny  0.9 µs → denied #2 by deny-prefix (palisade.toml:3): the deny prefix `a/` matches it; nothing allows it"
        );
        let allowed = Decision { denial: None, ..denied };
        assert_eq!(allowed.line(), "✓name ✓shell ✓deny ✓trust ✓grant ✓args ✓budget ✓guards  0.9 µs");
    }

    #[test]
    fn a_time_is_shown_in_its_unit_and_rounded_into_the_next_one() {
        let shown = |nanos: u64| duration(Duration::from_nanos(nanos));
        assert_eq!([0, 40, 50, 900, 9_949].map(shown), ["0.0 µs", "0.0 µs", "0.1 µs", "0.9 µs", "9.9 µs"]);
        assert_eq!([9_950, 41_499, 999_499].map(shown), ["10 µs", "41 µs", "999 µs"]);
        assert_eq!([999_500, 1_000_000, 999_949_999].map(shown), ["1.0 ms", "1.0 ms", "999.9 ms"]);
        assert_eq!([999_950_000, 61_234_000_000].map(shown), ["1.00 s", "61.23 s"]);
    }

    #[test]
    fn every_rule_has_its_place_in_the_line() {
        for rule in Rule::ALL {
            assert_eq!(LINE.iter().filter(|(_, rules)| rules.contains(&rule)).count(), 1, "{rule}");
        }
    }
}
