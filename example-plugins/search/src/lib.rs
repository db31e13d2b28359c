//! Searches files for a regular expression, with the crates ripgrep is made of.

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};
use ignore::WalkBuilder;
use palisade_sdk::{Json, Result, WORKSPACE, arguments, cancelled, guest_path, output, progress, tool};
use std::io;
use std::path::Path;

/// Matches returned where `max` is not given.
const MAX_DEFAULT: u32 = 100;
/// Most matches of a call: with their texts, well below the largest result.
const MAX: u32 = 1000;
/// Characters of a line that are returned. Minified files have lines of megabytes.
const TEXT: usize = 300;
/// Largest compiled pattern, and largest line held: small beside the memory a call has.
const HEAP: usize = 16 * 1024 * 1024;
/// Files between two reports of progress.
const REPORT: u64 = 256;

/// What is searched for, and where.
#[arguments]
pub struct Grep {
    /// A regular expression in Rust's syntax. It is matched line by line.
    pub pattern: String,
    /// The file or folder to search: relative to the workspace, or an absolute guest path. Default: the workspace.
    pub path: Option<String>,
    /// Whether upper and lower case are the same. Default: no.
    pub ignore_case: Option<bool>,
    /// The most matches to return. Default: 100.
    #[schemars(range(min = 1, max = MAX))]
    pub max: Option<u32>,
}

/// What was found.
#[output]
#[derive(Debug, Default)]
pub struct Matches {
    /// The matching lines, in the order of their paths.
    pub matches: Vec<Match>,
    /// Files that were searched.
    pub files_searched: u64,
    /// Files that were not: they are binary, or could not be read.
    pub files_skipped: u64,
    /// Whether there are more matches than were asked for.
    pub truncated: bool,
}

/// A matching line.
#[output]
#[derive(Debug, PartialEq, Eq)]
pub struct Match {
    /// The file, relative to the workspace where it is in it.
    pub path: String,
    /// The number of the line, from 1.
    pub line: u64,
    /// The line without white space around it, cut at 300 characters.
    pub text: String,
}

/// Searches the files of the workspace for a regular expression. Hidden files and files that .gitignore and .ignore
/// name are left out.
#[tool(title = "Search files", read_only, idempotent)]
pub fn grep(args: Grep) -> Result<Json<Matches>> {
    let matcher = matcher(&args.pattern, args.ignore_case.unwrap_or(false))?;
    let root = guest_path(args.path.as_deref().unwrap_or("."));
    std::fs::metadata(&root).map_err(|e| format!("{}: {e}", root.display()))?;
    let max = args.max.unwrap_or(MAX_DEFAULT).clamp(1, MAX);
    search(&matcher, &root, max as usize).map(Json)
}

fn matcher(pattern: &str, ignore_case: bool) -> Result<RegexMatcher> {
    RegexMatcherBuilder::new()
        .case_insensitive(ignore_case)
        .line_terminator(Some(b'\n'))
        .size_limit(HEAP)
        .dfa_size_limit(HEAP)
        .build(pattern)
        .map_err(|e| {
            // What comes before is a drawing of the pattern over several lines.
            let error = e.to_string();
            let why = error.rsplit("error: ").next().unwrap_or_default();
            format!("`pattern` is not a regular expression that can be searched for: {why}").into()
        })
}

fn search(matcher: &RegexMatcher, root: &Path, max: usize) -> Result<Matches> {
    let mut searcher = SearcherBuilder::new().binary_detection(BinaryDetection::quit(0)).line_number(true).heap_limit(Some(HEAP)).build();
    // Ignore files count without a repository, and nothing outside the tree is asked: the same tree always gives the same answer.
    let walk = WalkBuilder::new(root).require_git(false).git_global(false).follow_links(false).sort_by_file_path(Path::cmp).build();
    let mut out = Matches::default();
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
            progress(seen as f64, None, "files searched");
        }
        if cancelled() {
            return Err("the search was cancelled".into());
        }
        let mut lines = Lines { room: max - out.matches.len(), ..Lines::default() };
        let searched = searcher.search_path(matcher, entry.path(), &mut lines);
        if searched.is_err() || lines.binary {
            out.files_skipped += 1;
            continue;
        }
        out.files_searched += 1;
        let path = entry.path().strip_prefix(WORKSPACE).unwrap_or(entry.path()).to_string_lossy();
        out.matches.extend(lines.found.into_iter().map(|(line, text)| Match { path: path.to_string(), line, text }));
        if lines.more {
            out.truncated = true;
            break;
        }
    }
    Ok(out)
}

/// Collects the matching lines of one file, as many as there is room for.
#[derive(Default)]
struct Lines {
    room: usize,
    found: Vec<(u64, String)>,
    more: bool,
    binary: bool,
}

impl Sink for Lines {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, matched: &SinkMatch<'_>) -> io::Result<bool> {
        if self.found.len() == self.room {
            self.more = true;
            return Ok(false);
        }
        self.found.push((matched.line_number().unwrap_or(0), shown(matched.bytes())));
        Ok(true)
    }

    // The mark of a binary file may come after its first matches.
    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> io::Result<()> {
        self.binary = finish.binary_byte_offset().is_some();
        Ok(())
    }
}

fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.trim().chars().take(TEXT).collect()
}

palisade_sdk::export!(grep);

#[cfg(test)]
mod tests;
