//! The folder, its manifest, and where in it everything stands.

use super::place::Place;
use super::{Finding, Row};
use crate::clean;
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::plugins::{FILE, MANIFEST_MAX, Manifest};
use palisade_policy::{Access, Capability, FolderPath};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is reviewed.
pub(super) struct Subject {
    /// Its folder; of a component without a manifest one that was made for it.
    pub(super) folder: Folder,
    /// The component's file, where it has no manifest.
    bare: Option<String>,
}

/// A manifest that can be used.
pub(super) struct Read {
    pub(super) manifest: Manifest,
    /// Every text of it: its key, its line and itself.
    pub(super) texts: Vec<(String, usize, String)>,
    /// The lines of its keys and of the items of its lists, by path: `plugin.component`, `capabilities.net.0`.
    lines: Vec<(String, usize)>,
}

impl Subject {
    /// A folder, or a component, which gets a folder with a manifest that asks for nothing.
    ///
    /// # Errors
    /// Where there is nothing of that name.
    pub(super) fn open(path: &Path, place: &Place) -> Result<Self, Error> {
        let refuse = |e: ReadError| {
            let kind = if matches!(e, ReadError::Missing) { Kind::NotFound } else { Kind::Io };
            Error::new(kind, format!("{}: {e}", path.display())).hint("palisade plugin check DIR, or a component's file")
        };
        if !path.is_file() {
            return Ok(Self { folder: Folder::open(path).map_err(refuse)?, bare: None });
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let component = Folder::open(&parent).and_then(|folder| folder.read(file, place.most())).map_err(refuse)?;
        Ok(Self { folder: place.bare(file, &component)?, bare: Some(file.to_owned()) })
    }

    /// Its manifest, where it can be used, and the row of it.
    pub(super) fn manifest(&self, rows: &mut Vec<Row>) -> Option<Read> {
        let bytes = match self.folder.read(FILE, MANIFEST_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let finding = Finding::error("manifest", format!("it cannot be read: {error}")).at(FILE, None);
                rows.push(Row::new("manifest", "there is none that can be read", vec![finding]));
                return None;
            }
        };
        let manifest = match Manifest::parse(FILE, &bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                let (line, message) = placed(&error.message);
                rows.push(Row::new("manifest", "it cannot be used", vec![Finding::error("manifest", message).at(FILE, line)]));
                return None;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let read = Read::new(manifest, &text);
        let row = match &self.bare {
            Some(file) => Row::skipped("manifest", format!("{file} has none; it is checked as one that asks for nothing")),
            None => read.row(),
        };
        rows.push(row);
        Some(read)
    }
}

/// The line and the rest of what an error of the manifest says.
fn placed(message: &str) -> (Option<usize>, &str) {
    let rest = message.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
    let split = rest.and_then(|rest| rest.split_once(": ")).and_then(|(line, rest)| Some((line.parse().ok()?, rest)));
    split.map_or((None, message), |(line, rest): (usize, &str)| (Some(line), rest))
}

impl Read {
    fn new(manifest: Manifest, text: &str) -> Self {
        let mut read = Self { manifest, texts: Vec::new(), lines: Vec::new() };
        // It was parsed as a whole before.
        if let Ok(table) = DeTable::parse(text) {
            let line = |at: usize| 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
            read.walk("", table.get_ref(), &line);
        }
        read
    }

    fn walk(&mut self, above: &str, table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) {
        for (key, value) in table {
            let path = if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
            self.note(path, key.span().start, value, line);
        }
    }

    fn note(&mut self, path: String, at: usize, value: &Spanned<DeValue<'_>>, line: &dyn Fn(usize) -> usize) {
        self.lines.push((path.clone(), line(at)));
        match value.get_ref() {
            DeValue::String(text) => self.texts.push((path, line(value.span().start), text.to_string())),
            DeValue::Table(table) => self.walk(&path, table, line),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.note(format!("{path}.{index}"), item.span().start, item, line);
                }
            }
            _ => {}
        }
    }

    /// The line of a key.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        self.lines.iter().find(|(known, _)| known == path).map(|(_, line)| *line)
    }

    /// A finding at the line of a key.
    pub(super) fn finding(&self, finding: Finding, path: &str) -> Finding {
        finding.at(FILE, self.line(path))
    }

    /// The key of each request, in the order of the manifest.
    pub(super) fn keys(&self) -> Vec<String> {
        let (mut fs, mut net, mut env) = (0.., 0.., 0..);
        let mut last = String::new();
        let key = |request: &palisade_policy::Request| {
            let next =
                |key: &str, count: &mut std::ops::RangeFrom<usize>| format!("capabilities.{key}.{}", count.next().unwrap_or_default());
            match &request.capability {
                Capability::Fs(..) => next("fs", &mut fs),
                Capability::Net(_) => {
                    last = next("net", &mut net);
                    last.clone()
                }
                // It stands in the entry of its origin.
                Capability::Auth(..) => last.clone(),
                Capability::Env(_) => next("env", &mut env),
                Capability::Store => "capabilities.store".to_owned(),
            }
        };
        self.manifest.requests.iter().map(key).collect()
    }

    fn row(&self) -> Row {
        let mut findings = Vec::new();
        if self.manifest.description.trim().is_empty() {
            let finding = Finding::warn("described", "`plugin.description` is missing: nobody can tell what the plugin is for");
            findings.push(self.finding(finding, "plugin"));
        }
        for (request, key) in self.manifest.requests.iter().zip(self.keys()) {
            let shown = clean::line(&request.capability.to_string(), clean::NAME);
            if request.why.trim().is_empty() {
                let finding = Finding::warn("why", format!("{shown} has no reason: `why` is what a person decides on"));
                findings.push(self.finding(finding, &key));
            }
            if matches!(&request.capability, Capability::Fs(Access::Write, FolderPath::Workspace(rest)) if rest.is_empty()) {
                let what = "no grant lets a plugin write the whole workspace; a person can grant a folder below it";
                findings.push(self.finding(Finding::note("writes", what), &key));
            }
        }
        let one =
            |request: &palisade_policy::Request| format!("{}{}", request.capability, if request.optional { " (optional)" } else { "" });
        let asked = self.manifest.requests.iter().map(one).collect::<Vec<_>>().join(", ");
        let summary = if asked.is_empty() { "asks for nothing".to_owned() } else { format!("asks for {asked}") };
        Row::new("manifest", summary, findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_and_every_text_has_its_line() {
        let text = "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\ncomponent = \"a.wasm\"\n[capabilities]\nfs = [\n  { path = \"@workspace\", access = \"read\", why = \"r\" },\n]\nnet = [{ url = \"https://a.example\", auth = \"T\", why = \"n\" },\n  { url = \"https://b.example\", why = \"m\" }]\nstore = true\n";
        let read = Read::new(Manifest::parse(FILE, text.as_bytes()).unwrap(), text);
        let lines: Vec<_> = read.keys().iter().map(|key| read.line(key).unwrap()).collect();
        assert_eq!(lines, [7, 9, 9, 10, 11]);
        assert!(read.texts.contains(&("capabilities.net.1.why".to_owned(), 10, "m".to_owned())), "{:?}", read.texts);
        assert_eq!(read.line("plugin.component"), Some(4));
    }

    #[test]
    fn an_error_of_a_manifest_is_taken_apart_at_its_line() {
        assert_eq!(placed("plugin.toml:6: `plugin.name`: no: name"), (Some(6), "`plugin.name`: no: name"));
        assert_eq!(placed("plugin.toml is a link"), (None, "plugin.toml is a link"));
    }
}
