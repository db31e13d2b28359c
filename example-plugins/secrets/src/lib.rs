//! Finds credentials left in files. It may read a tree, and has no way to send what it finds.

mod patterns;

use ignore::{DirEntry, WalkBuilder};
use palisade_sdk::{Json, Result, WORKSPACE, arguments, cancelled, guest_path, output, progress, tool};
use patterns::Patterns;
use std::path::Path;

/// Most findings of a call.
const FINDINGS: usize = 200;
/// Largest file that is read: what people write is smaller.
const FILE: u64 = 2 * 1024 * 1024;
/// Bytes at the start of a file in which a NUL makes it binary.
const HEAD: usize = 8 * 1024;
/// Bytes of a secret that are shown. Of a well-known shape that is only the prefix all of its kind have.
const SHOWN: usize = 4;
/// Files between two reports of progress.
const REPORT: u64 = 256;

/// Where to look.
#[arguments]
pub struct Scan {
    /// The file or folder to look in: relative to the workspace, or an absolute guest path. Default: the workspace.
    pub path: Option<String>,
}

/// What was found.
#[output]
#[derive(Debug, Default)]
pub struct Findings {
    /// The credentials, in the order of their paths.
    pub findings: Vec<Finding>,
    /// Files that were looked into.
    pub files_searched: u64,
    /// Files that were not: they are binary, above 2 MiB, or could not be read.
    pub files_skipped: u64,
    /// Whether there are more findings than the 200 that are returned.
    pub truncated: bool,
}

/// Something that looks like a credential.
#[output]
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the workspace where it is in it.
    pub path: String,
    /// The number of the line, from 1.
    pub line: u64,
    /// What it looks like, for instance `github-token`.
    pub kind: String,
    /// How it starts: at most four characters, never the whole of it.
    pub excerpt: String,
}

/// Finds credentials left in files: keys and tokens of well-known shapes, private keys, and passwords assigned in quotes.
/// Hidden and ignored files are looked into, since that is where secrets are; only .git is left out. It shows how a
/// secret starts and never the whole of it.
#[tool(title = "Find secrets", read_only, idempotent)]
pub fn scan(args: Scan) -> Result<Json<Findings>> {
    let root = guest_path(args.path.as_deref().unwrap_or("."));
    std::fs::metadata(&root).map_err(|e| format!("{}: {e}", root.display()))?;
    tree(&root).map(Json)
}

fn tree(root: &Path) -> Result<Findings> {
    let patterns = Patterns::new()?;
    let walk = WalkBuilder::new(root)
        .standard_filters(false)
        .follow_links(false)
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git")
        .sort_by_file_path(Path::cmp)
        .build();
    let mut out = Findings::default();
    for entry in walk {
        let Ok(entry) = entry else {
            out.files_skipped += 1;
            continue;
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let seen = out.files_searched + out.files_skipped;
        if seen.is_multiple_of(REPORT) && seen > 0 {
            progress(seen as f64, None, "files looked into");
        }
        if cancelled() {
            return Err("the scan was cancelled".into());
        }
        let Some(text) = text(&entry) else {
            out.files_skipped += 1;
            continue;
        };
        out.files_searched += 1;
        out.findings.extend(findings(&patterns, entry.path(), &text, FINDINGS + 1 - out.findings.len()));
        // One more than is returned, to know that there are more.
        if out.findings.len() > FINDINGS {
            out.findings.truncate(FINDINGS);
            out.truncated = true;
            break;
        }
    }
    Ok(out)
}

/// The bytes of a file, unless it is too large, binary or not readable.
fn text(entry: &DirEntry) -> Option<Vec<u8>> {
    if entry.metadata().ok()?.len() > FILE {
        return None;
    }
    let bytes = std::fs::read(entry.path()).ok()?;
    let head = &bytes[..bytes.len().min(HEAD)];
    (!head.contains(&0)).then_some(bytes)
}

fn findings(patterns: &Patterns, path: &Path, text: &[u8], most: usize) -> Vec<Finding> {
    let path = path.strip_prefix(WORKSPACE).unwrap_or(path).to_string_lossy();
    let (mut line, mut from) = (1, 0);
    let one = |hit: patterns::Hit| {
        line += text[from..hit.at.start].iter().filter(|byte| **byte == b'\n').count() as u64;
        from = hit.at.start;
        Finding { path: path.to_string(), line, kind: hit.kind.to_owned(), excerpt: excerpt(&text[hit.at]) }
    };
    patterns.find(text).into_iter().take(most).map(one).collect()
}

fn excerpt(secret: &[u8]) -> String {
    let start: String = String::from_utf8_lossy(secret).chars().take(SHOWN).collect();
    format!("{start}…")
}

palisade_sdk::export!(scan);

#[cfg(test)]
mod tests;
