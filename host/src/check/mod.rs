//! What a careful reviewer does with a plugin's folder: reads it, asks the component what it is, calls its tools with what
//! nobody would send, and writes down what was found, a row for each subject.
//!
//! The rule it keeps: it never reaches anything real. Calls go through [`Host::call`](crate::Host::call) of a host that has a home and a
//! workspace of its own, made for the review and removed after it; what the manifest asks for is granted there. Neither the
//! network nor a variable nor a folder elsewhere is granted unless a person typed the grant.
//!
//! Where the rule ends: it finds what it looks for. That nothing was found says that these readings and these calls went
//! well, and not that the plugin is good. No time of a row ever makes an error, but a call that does not end is one.
//!
//! Never here: a decision on what may run, printing.

mod calls;
mod component;
mod costs;
mod definitions;
pub mod generate;
mod hook;
mod manifest;
mod place;
mod schemas;
pub mod spoil;
mod text;

use crate::clean;
use crate::config::{Home, Settings};
use crate::error::Error;
use crate::plugins::Watcher;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Of the arguments that are made up, where a person names no other.
pub const SEED: u64 = 7;

/// What a reviewer needs.
#[derive(Debug)]
pub struct Review<'a> {
    /// The settings of the person who asks: limits and home are theirs.
    pub settings: &'a Settings,
    /// The folder of the plugin, or a component without a manifest.
    pub path: PathBuf,
    /// The grants that were typed.
    pub grants: &'a [String],
    /// From which arguments are made up.
    pub seed: u64,
    /// The program that compiles.
    pub compiler: &'a Path,
    /// Told what is being compiled.
    pub watcher: Option<&'a dyn Watcher>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Somebody should look at it.
    Warn,
    /// It is wrong.
    Error,
}

/// One thing that was found. All texts are cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Which rule found it.
    pub rule: &'static str,
    /// One sentence.
    pub message: String,
    /// The tool it is about.
    pub tool: Option<String>,
    /// The file it is in, inside the folder.
    pub file: Option<String>,
    /// The line of it, from 1.
    pub line: Option<usize>,
}

impl Finding {
    fn new(severity: Severity, rule: &'static str, message: impl AsRef<str>) -> Self {
        Self { severity, rule, message: clean::line(message.as_ref(), clean::TEXT), tool: None, file: None, line: None }
    }

    fn error(rule: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Error, rule, message)
    }

    fn warn(rule: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Warn, rule, message)
    }

    fn note(rule: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Note, rule, message)
    }

    fn of(mut self, tool: &str) -> Self {
        self.tool = Some(clean::line(tool, clean::NAME));
        self
    }

    fn at(mut self, file: &str, line: Option<usize>) -> Self {
        (self.file, self.line) = (Some(clean::line(file, clean::NAME)), line);
        self
    }

    /// Where it is, as a person reads it: `plugin.toml:6`, the tool, or nothing.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.file, self.line, &self.tool) {
            (Some(file), Some(line), _) => format!("{file}:{line}: "),
            (Some(file), None, _) => format!("{file}: "),
            (None, _, Some(tool)) => format!("{tool}: "),
            (None, _, None) => String::new(),
        }
    }
}

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Somebody should look at it.
    Warn,
    /// Something is wrong.
    Error,
    /// It was not looked at, or not whole; the summary says why.
    Skipped,
}

/// What was found on one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The subject.
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was looked at, in one line.
    pub summary: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was measured.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub figures: serde_json::Map<String, serde_json::Value>,
}

impl Row {
    fn new(name: &'static str, summary: impl AsRef<str>, findings: Vec<Finding>) -> Self {
        let status = match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Error) => Status::Error,
            Some(Severity::Warn) => Status::Warn,
            Some(Severity::Note) | None => Status::Ok,
        };
        Self { name, status, summary: clean::line(summary.as_ref(), clean::TEXT), findings, figures: serde_json::Map::new() }
    }

    fn skipped(name: &'static str, why: impl AsRef<str>) -> Self {
        Self { status: Status::Skipped, ..Self::new(name, why, Vec::new()) }
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Its name, where the manifest could be read.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What the component is: `plugin`, `hook`, `component` (of a world of its own) or `program`, where that was found.
    pub kind: Option<&'static str>,
    /// Where it is, as it was named.
    pub path: String,
    /// From which arguments were made up.
    pub seed: u64,
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// The rows, in a fixed order.
    pub rows: Vec<Row>,
}

/// So many of something, as a person reads it.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Rows that cannot be looked at, for one reason.
fn skip(rows: &mut Vec<Row>, names: &[&'static str], why: &str) {
    rows.extend(names.iter().map(|name| Row::skipped(name, why)));
}

/// All rows that are not there yet, because of the one that stopped the review.
fn rest(rows: &mut Vec<Row>, why: &str) {
    let left: Vec<&'static str> = ROWS.into_iter().filter(|name| !rows.iter().any(|row| row.name == *name)).collect();
    skip(rows, &left, why);
}

/// Every row, in its order.
const ROWS: [&str; 10] = ["manifest", "component", "definitions", "names", "schemas", "imports", "text", "examples", "hostile", "costs"];

/// Reviews a plugin.
///
/// # Errors
/// Where there is nothing to look at, or no place for it. What is wrong with the plugin is in the rows.
pub async fn review(review: &Review<'_>) -> Result<Checked, Error> {
    let place = place::Place::make(review.settings)?;
    let subject = manifest::Subject::open(&review.path, &place)?;
    let mut rows = Vec::new();
    let (mut name, mut version, mut kind) = (None, None, None);
    match subject.manifest(&mut rows) {
        None => rest(&mut rows, "the manifest cannot be used"),
        Some(read) => {
            (name, version) = (Some(read.manifest.name.to_string()), Some(read.manifest.version.to_string()));
            kind = examine(review, &place, &subject, &read, &mut rows).await?;
        }
    }
    rows.sort_by_key(|row| ROWS.iter().position(|name| *name == row.name));
    let count = |severity| rows.iter().flat_map(|row| &row.findings).filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warn));
    let path = clean::line(&review.path.display().to_string(), clean::NAME);
    Ok(Checked { name, version, kind, path, seed: review.seed, errors, warnings, rows })
}

/// All rows after the manifest's; what the component is.
async fn examine(
    review: &Review<'_>,
    place: &place::Place,
    subject: &manifest::Subject,
    read: &manifest::Read,
    rows: &mut Vec<Row>,
) -> Result<Option<&'static str>, Error> {
    let code = crate::code_cache(&review.settings.home);
    let Some(made) = component::prepare(review, subject, read, code.as_ref(), rows).await? else {
        rows.push(text::row(read, &[]));
        rest(rows, "the component cannot be used");
        return Ok(None);
    };
    rows.push(component::imports(&made, read));
    if made.kind == component::What::Hook {
        hook::rows(review, read, &made, rows).await;
        return Ok(Some(made.kind.name()));
    }
    let given = definitions::read(&made, read, rows).await;
    rows.push(text::row(read, &given));
    let mut worst = 0;
    if given.is_empty() {
        let why = "there are no definitions";
        skip(rows, &["names", "schemas", "examples", "hostile"], why);
    } else {
        let registered = schemas::rows(read, &given, rows);
        if registered.is_empty() {
            skip(rows, &["examples", "hostile"], "no tool can be registered");
        } else {
            let host = place.host(review, subject, read, code.as_ref()).await?;
            worst = calls::rows(review, &host, rows).await;
        }
    }
    rows.push(costs::row(&made, worst).await);
    Ok(Some(made.kind.name()))
}

/// A home for the host of a review: nothing of the user's is in it.
fn private_home(folder: &Path) -> Result<Home, Error> {
    crate::own::make_folder(folder)?;
    Home::at(folder)
}
