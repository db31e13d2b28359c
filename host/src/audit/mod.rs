//! The audit log: every decision and outcome of a call as a line of JSON, chained by hashes, in the user's state folder.
//!
//! The rule it keeps: the decision is in the file before the lane starts, a call whose record cannot be written does not
//! run, and no level of quiet, flag or config of the command line switches it off.
//!
//! One process appends to one file, which it holds locked, so that two hosts never wait for each other. A file nobody holds
//! is continued by the next process; its first line there, and the first line of each new file, is a `start` that names the
//! heads of all other files at that moment. So the files hang together: a tail that is cut off an older file is found by
//! the starts that came after it.
//!
//! Where the rule ends: this user can rewrite it all, or cut off what nothing follows yet; only an anchor kept elsewhere
//! finds that. Each line is one `write`, so it survives `kill -9`; it is not flushed to the disk one by one: the system
//! does that in batches, and the loss of power may cost the last of them.
//!
//! Never here: arguments, results, or what a guest logged. Arguments are there as an HMAC alone.

mod check;
mod files;
#[cfg(test)]
mod tests;

pub use check::{Anchor, Entry, Finding, Found, Verified, anchor, show, verify};

use crate::config::{Home, Settings};
use crate::error::{Error, Kind};
use crate::record::{CallRecord, Denial, Outcome};
use crate::{clean, redact};
use files::{Folder, Segment};
use hmac::{Hmac, KeyInit, Mac};
use palisade_policy::{Identity, Rule};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How large the log may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// A file of more bytes is closed, and another follows it.
    pub file: u64,
    /// Of all files; beyond it the oldest are removed, and the file that made room says so.
    pub total: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { file: 64 << 20, total: 1 << 30 }
    }
}

/// Where the log of a user is.
#[must_use]
pub fn folder(home: &Home) -> PathBuf {
    home.state.join("audit")
}

/// What the key of the arguments is derived for, so that it is no other key.
const PURPOSE: &[u8] = b"palisade audit log: arguments of calls, version 1";

/// The reason of a denial by the rule `arguments`, for those who are not told arguments.
pub(crate) const ARGUMENTS: &str = "they are too large, not strict JSON, or not valid against the tool's schema";

type Hex = [u8; 64];
type Keyed = Hmac<Sha256>;

fn hex(bytes: &[u8]) -> Hex {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'0'; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

fn digest(bytes: &[u8]) -> Hex {
    hex(&Sha256::digest(bytes))
}

/// The log as a host writes it. Nothing is made or read before its first record.
#[derive(Debug)]
pub(crate) struct Audit {
    home: Home,
    sizes: Sizes,
    /// What is the same in every decision: profile and workspace.
    about: Vec<u8>,
    key: OnceLock<Keyed>,
    segment: Mutex<Option<Segment>>,
}

/// A decision that is written, waiting for its outcome. One that is dropped before it is known says that the call was abandoned;
/// one that is dropped before it is written writes it.
#[derive(Debug)]
pub(crate) struct Running {
    audit: Arc<Audit>,
    tool: String,
    of: u64,
    outcome: Known,
}

/// What is known of the outcome of a call.
#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    Ended { outcome: Outcome, error: Option<Kind>, duration_us: f64, memory_peak_bytes: u64 },
    Written,
}

/// What a hook said to an event.
pub(crate) struct HookRun<'a> {
    pub(crate) name: &'a str,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) event: &'static str,
    /// Registered, or cleaned as that of a denial.
    pub(crate) tool: &'a str,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) duration: Duration,
}

impl Audit {
    pub(crate) fn new(settings: &Settings, sizes: Sizes) -> Self {
        let mut about = Vec::new();
        text(&mut about, "profile", &settings.profile.name);
        text(&mut about, "workspace", &crate::config::digest(settings.workspace.folder.path()));
        Self { home: settings.home.clone(), sizes, about, key: OnceLock::new(), segment: Mutex::new(None) }
    }

    /// Writes that a call may run; `given` are its arguments as they came, where a guard replaced them.
    pub(crate) fn allowed(
        self: &Arc<Self>,
        tool: &str,
        identity: &Identity,
        arguments: Option<&[u8]>,
        given: Option<&[u8]>,
    ) -> Result<Running, Error> {
        let given = given.map(|given| self.mac(given)).transpose()?;
        let more = |line: &mut Vec<u8>| {
            if given.is_some() {
                optional(line, "given", given.as_ref());
            }
        };
        let of = self.decision(tool, "allow", Some(identity), arguments, more)?;
        Ok(Running { audit: self.clone(), tool: tool.to_owned(), of, outcome: Known::Nothing })
    }

    /// Writes that a call was denied; a match that was denied before it had arguments has none.
    /// `replaced` is what a guard put in the place of the arguments.
    pub(crate) fn denied(
        &self,
        denial: &Denial,
        identity: Option<&Identity>,
        arguments: Option<&[u8]>,
        replaced: Option<&[u8]>,
    ) -> Result<(), Error> {
        let replaced = replaced.map(|replaced| self.mac(replaced)).transpose()?;
        let body = |line: &mut Vec<u8>| {
            let _ = write!(line, ",\"denial\":{}", denial.number);
            text(line, "rule", &denial.rule);
            text(line, "source", &denial.source);
            // What is wrong with arguments is told by quoting them, and they are in no record.
            text(line, "reason", if denial.rule == Rule::Arguments.name() { ARGUMENTS } else { &denial.reason });
            if replaced.is_some() {
                optional(line, "replaced", replaced.as_ref());
            }
        };
        self.decision(&denial.tool, "deny", identity, arguments, body).map(drop)
    }

    /// Writes that nothing could be decided, because the tool is not there or set aside.
    pub(crate) fn absent(&self, tool: &str, kind: Kind, arguments: Option<&[u8]>) -> Result<(), Error> {
        let tool = redact::line(tool, clean::NAME);
        self.decision(&tool, "absent", None, arguments, |line| text(line, "error", kind.name())).map(drop)
    }

    /// Writes what a hook said.
    pub(crate) fn hook(&self, run: &HookRun<'_>) -> Result<(), Error> {
        let body = |line: &mut Vec<u8>| {
            line.extend_from_slice(b",\"event\":\"hook\"");
            text(line, "hook", run.name);
            text(line, "on", run.event);
            if !run.tool.is_empty() {
                text(line, "tool", run.tool);
            }
            text(line, "verdict", run.verdict);
            if let Some(reason) = run.reason {
                text(line, "reason", reason);
            }
            optional(line, "identity", run.identity.map(|identity| hex(&identity.0)).as_ref());
            let _ = write!(line, ",\"duration_us\":{}", run.duration.as_micros());
        };
        self.record(body).map(drop)
    }

    fn mac(&self, bytes: &[u8]) -> Result<Hex, Error> {
        Ok(hex(&self.keyed()?.chain_update(bytes).finalize().into_bytes()))
    }

    fn decision(
        &self,
        tool: &str,
        verdict: &str,
        identity: Option<&Identity>,
        arguments: Option<&[u8]>,
        more: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64, Error> {
        // Of a megabyte of arguments this takes a while, so it is done before anybody waits for the file.
        let mac = arguments.map(|arguments| self.mac(arguments)).transpose()?;
        self.record(|line| {
            line.extend_from_slice(b",\"event\":\"decision\"");
            text(line, "tool", tool);
            text(line, "verdict", verdict);
            more(line);
            optional(line, "arguments", mac.as_ref());
            optional(line, "identity", identity.map(|identity| hex(&identity.0)).as_ref());
            line.extend_from_slice(&self.about);
        })
    }

    fn keyed(&self) -> Result<Keyed, Error> {
        if let Some(keyed) = self.key.get() {
            return Ok(keyed.clone());
        }
        let of = |key: &[u8]| Keyed::new_from_slice(key).map_err(|e| Error::internal("the key of the audit log", &e));
        let derived = of(&self.home.key().map_err(unwritable)?)?.chain_update(PURPOSE).finalize().into_bytes();
        let keyed = of(&derived)?;
        Ok(self.key.get_or_init(|| keyed).clone())
    }

    /// Appends one record, in a file that is opened, followed or replaced as it is needed.
    fn record(&self, body: impl FnOnce(&mut Vec<u8>)) -> Result<u64, Error> {
        // A panic while it was held leaves at worst a torn line, which is looked at before each write.
        let mut slot = self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = slot.as_mut()
            && segment.len() >= self.sizes.file
        {
            segment.end().map_err(|e| unwritable(Error::io(segment.path().display(), &e)))?;
        }
        if slot.as_ref().is_none_or(Segment::is_closed) {
            let next = self.open().and_then(|folder| folder.next(slot.as_ref(), self.sizes)).map_err(unwritable)?;
            *slot = Some(next);
        }
        let Some(segment) = slot.as_mut() else { return Err(Error::new(Kind::Internal, "no audit file is open")) };
        segment.append(body).map_err(|e| unwritable(Error::io(segment.path().display(), &e)))
    }

    fn open(&self) -> Result<Folder, Error> {
        crate::own::make_folder(&self.home.state)?;
        let path = folder(&self.home);
        crate::own::make_folder(&path)?;
        Ok(Folder::new(&path))
    }
}

impl Running {
    /// Says how the call ended, to be written now or when this is dropped.
    pub(crate) fn ends(&mut self, record: &CallRecord) {
        let CallRecord { outcome, error, stats, .. } = record;
        let error = error.as_ref().map(|e| e.kind);
        let (duration_us, memory_peak_bytes) = (stats.duration_us, stats.memory_peak_bytes);
        self.outcome = Known::Ended { outcome: *outcome, error, duration_us, memory_peak_bytes };
    }

    /// Writes how the call ended.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        let known = std::mem::replace(&mut self.outcome, Known::Written);
        let body = |line: &mut Vec<u8>| {
            let _ = write!(line, ",\"event\":\"outcome\",\"of\":{}", self.of);
            text(line, "tool", &self.tool);
            let Known::Ended { outcome, error, duration_us, memory_peak_bytes } = known else {
                return text(line, "outcome", "abandoned");
            };
            let outcome = match outcome {
                Outcome::Ok => "ok",
                Outcome::Error => "error",
                Outcome::Denied => "denied",
                Outcome::Limit => "limit",
            };
            text(line, "outcome", outcome);
            if let Some(error) = error {
                text(line, "error", error.name());
            }
            let _ = write!(line, ",\"duration_us\":{duration_us:.1},\"memory_peak_bytes\":{memory_peak_bytes}");
        };
        self.audit.record(body).map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.outcome, Known::Written) {
            // Whoever dropped the call hears of nothing any more.
            let _ = self.write();
        }
    }
}

/// `,"key":"text"`, escaped.
fn text(line: &mut Vec<u8>, key: &str, value: &str) {
    let _ = write!(line, ",\"{key}\":");
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(line, value);
}

/// The same for what needs no escape.
fn plain(line: &mut Vec<u8>, key: &str, value: &[u8]) {
    let _ = write!(line, ",\"{key}\":\"");
    line.extend_from_slice(value);
    line.push(b'"');
}

fn optional(line: &mut Vec<u8>, key: &str, value: Option<&Hex>) {
    match value {
        Some(value) => plain(line, key, value),
        None => drop(write!(line, ",\"{key}\":null")),
    }
}

fn unwritable(error: Error) -> Error {
    let what = format!("the audit log cannot be written: {}", error.message);
    let hint =
        error.hint.unwrap_or_else(|| "make room, and see that the folder `audit` in your state folder is yours with mode 0700".to_owned());
    Error::new(Kind::Io, what).hint(hint)
}
