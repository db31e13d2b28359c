//! Reading the log: what `audit verify`, `anchor` and `show` answer.
//!
//! The rule it keeps: what cannot be told is said, not guessed. A line without its end is torn and no tampering; a file that
//! a record says was removed for room is a note; one that nothing says so of is a finding.

use super::files::{Folder, Head, Line, ROOT, VERSION, head, parse};
use crate::error::{Error, Kind};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::SystemTime;

/// Something in the log that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1; `None` where it is the whole file.
    pub line: Option<u64>,
    /// One sentence.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Files that were read.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// What a person should know, and is no sign of a change.
    pub notes: Vec<String>,
}

/// The heads of all files at one moment, to be kept where this user's processes cannot change it.
#[derive(Debug, Clone)]
pub struct Anchor {
    time: String,
    heads: Vec<Head>,
}

/// Begins an anchor's line.
const ANCHOR: &str = "palisade-audit-1";

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ANCHOR} {}", self.time)?;
        self.heads.iter().try_for_each(|h| write!(f, " {}:{}:{}", h.file, h.seq, String::from_utf8_lossy(&h.hash)))
    }
}

impl Anchor {
    /// Reads the line that [`anchor`] gave.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::new(Kind::Usage, "the anchor is not one line of `palisade audit anchor`").hint("give that line, or a file that holds it")
        };
        let mut parts = text.split_whitespace();
        if parts.next() != Some(ANCHOR) {
            return Err(refuse());
        }
        let time = parts.next().ok_or_else(refuse)?.to_owned();
        let one = |part: &str| {
            let mut fields = part.split(':');
            let (file, seq, hash) = (fields.next()?, fields.next()?.parse::<u64>().ok()?, fields.next()?);
            head(&serde_json::json!({"file": file, "seq": seq, "hash": hash}))
        };
        let heads = parts.map(|part| one(part).ok_or_else(refuse)).collect::<Result<_, _>>()?;
        Ok(Self { time, heads })
    }

    /// The files it names.
    #[must_use]
    pub fn files(&self) -> usize {
        self.heads.len()
    }
}

/// The heads of all files of the log in a folder.
///
/// # Errors
/// [`Kind::Io`] where it cannot be read.
pub fn anchor(folder: &Path) -> Result<Anchor, Error> {
    let mut heads = Vec::new();
    for name in Folder::new(folder).names()? {
        let mut last = None;
        each_line(folder, &name, |_, bytes, whole| {
            if whole && let Some(line) = parse(bytes) {
                last = Some(Head { file: name.clone(), seq: line.seq, hash: line.hash });
            }
        })?;
        heads.extend(last);
    }
    Ok(Anchor { time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(), heads })
}

/// Says of every record of the log in a folder whether it is as it was written.
///
/// # Errors
/// [`Kind::Io`] where it cannot be read.
pub fn verify(folder: &Path, anchor: Option<&Anchor>) -> Result<Verified, Error> {
    let names = Folder::new(folder).names()?;
    match check(folder, &names, anchor) {
        Ok(verified) if verified.findings.is_empty() => Ok(verified),
        found => {
            // Another process may have removed the oldest file for room meanwhile.
            let again = Folder::new(folder).names()?;
            if again == names { found } else { check(folder, &again, anchor) }
        }
    }
}

/// Somebody says that a file held this line.
struct Claim {
    hash: [u8; 64],
    by: String,
}

#[derive(Default)]
struct Claims {
    of: HashMap<String, HashMap<u64, Vec<Claim>>>,
    removed: HashSet<String>,
}

impl Claims {
    fn add(&mut self, head: Head, by: &str) {
        let claim = Claim { hash: head.hash, by: by.to_owned() };
        self.of.entry(head.file).or_default().entry(head.seq).or_default().push(claim);
    }

    fn read(folder: &Path, names: &[String], anchor: Option<&Anchor>) -> Result<Self, Error> {
        let mut claims = Self::default();
        for name in names {
            each_line(folder, name, |at, bytes, _| {
                // What a record is stands near its beginning.
                let begin = &bytes[..bytes.len().min(100)];
                let start = begin.windows(16).any(|part| part == b",\"event\":\"start\"").then(|| parse(bytes)).flatten();
                let Some(line) = start.filter(|line| line.event == "start") else { return };
                let by = format!("{name} line {at}");
                heads(&line.value["follows"]).for_each(|head| claims.add(head, &by));
                claims.removed.extend(heads(&line.value["removed"]).map(|head| head.file));
            })?;
        }
        for head in anchor.iter().flat_map(|anchor| &anchor.heads) {
            claims.add(head.clone(), "the anchor");
        }
        Ok(claims)
    }
}

fn heads(value: &Value) -> impl Iterator<Item = Head> {
    value.as_array().into_iter().flatten().filter_map(head)
}

fn check(folder: &Path, names: &[String], anchor: Option<&Anchor>) -> Result<Verified, Error> {
    let mut claims = Claims::read(folder, names, anchor)?;
    let mut out = Verified::default();
    for name in names {
        let mut file =
            Checked { name, claims: claims.of.remove(name).unwrap_or_default(), out: &mut out, last: None, bad: 0, ended: false };
        each_line(folder, name, |at, bytes, whole| file.line(at, bytes, whole))?;
        file.finish();
    }
    let mut gone: Vec<(String, String)> =
        claims.of.into_iter().filter_map(|(file, of)| Some((file, of.into_values().flatten().next()?.by))).collect();
    gone.sort();
    let removed = gone.iter().filter(|(file, _)| claims.removed.contains(file)).count();
    if removed > 0 {
        out.notes.push(format!("the log begins after {removed} files that were removed for room"));
    }
    for (file, by) in gone.into_iter().filter(|(file, _)| !claims.removed.contains(file)) {
        out.findings.push(Finding {
            file,
            line: None,
            what: format!("it is gone, {by} names it, and no record says that it was removed for room"),
        });
    }
    Ok(out)
}

struct Checked<'a> {
    name: &'a str,
    claims: HashMap<u64, Vec<Claim>>,
    out: &'a mut Verified,
    last: Option<(u64, [u8; 64])>,
    /// Lines since the last good one that are none.
    bad: u64,
    ended: bool,
}

impl Checked<'_> {
    fn find(&mut self, line: u64, what: impl Into<String>) {
        self.out.findings.push(Finding { file: self.name.to_owned(), line: Some(line), what: what.into() });
    }

    fn line(&mut self, at: u64, bytes: &[u8], whole: bool) {
        if at == 1 {
            self.out.files += 1;
        }
        if !whole {
            let name = self.name;
            self.out.notes.push(format!(
                "{name} line {at} is torn: its process died while it wrote it, or is writing it now; it counts as not written"
            ));
            return;
        }
        let Some(line) = parse(bytes) else {
            self.bad += 1;
            return self.find(at, "it was changed: its hash is not that of its bytes");
        };
        self.out.records += 1;
        if let Some(why) = self.order(&line) {
            self.find(at, why);
        }
        for claim in self.claims.remove(&line.seq).into_iter().flatten() {
            if claim.hash != line.hash {
                self.find(at, format!("it is another record than the one that {} names", claim.by));
            }
        }
        self.last = Some((line.seq, line.hash));
        self.bad = 0;
        self.ended = line.event == "end";
    }

    /// What is wrong with the place of a record.
    fn order(&self, line: &Line) -> Option<&'static str> {
        let first = self.last.is_none() && self.bad == 0;
        if self.ended {
            return Some("it was put there: the record before it closes the file");
        }
        if line.event == "start" && line.value["version"].as_u64() != Some(VERSION) {
            return Some("it has another version than this program reads");
        }
        match self.last {
            None if first => {
                let continued =
                    line.prev != ROOT && heads(&line.value["follows"]).any(|head| head.hash == line.prev && head.seq + 1 == line.seq);
                let begins = line.event == "start" && (continued || (line.prev == ROOT && line.seq == 1));
                (!begins).then_some("records before it were removed, or put elsewhere: a file begins with its start")
            }
            None => None,
            // Between two good records stands one that was changed; how many there were, the numbers tell.
            Some((seq, _)) if self.bad > 0 => (line.seq != seq + self.bad + 1)
                .then_some("it does not follow the records before it: some were removed, added or put elsewhere"),
            Some((seq, hash)) => (line.seq != seq + 1 || line.prev != hash)
                .then_some("it does not follow the record before it: records were removed, added or put elsewhere"),
        }
    }

    fn finish(self) {
        let Some((seq, claim)) = self.claims.into_iter().min_by_key(|(seq, _)| *seq) else { return };
        let last = self.last.map_or(0, |(last, _)| last);
        let by = claim.into_iter().next().map(|c| c.by).unwrap_or_default();
        // A number that is missing further up is named where it is missing.
        if seq > last {
            let what = format!("its end was cut off: record {seq} is gone, and {by} names it");
            self.out.findings.push(Finding { file: self.name.to_owned(), line: None, what });
        }
    }
}

/// Hands over each line of a file: its number, its bytes without the newline, and whether that stood there.
fn each_line(folder: &Path, name: &str, mut each: impl FnMut(u64, &[u8], bool)) -> Result<(), Error> {
    let path = folder.join(name);
    let refuse = |e: std::io::Error| Error::io(path.display(), &e);
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = File::from(opened.map_err(|e| refuse(e.into()))?);
    if !file.metadata().map_err(refuse)?.is_file() {
        return Err(Error::new(Kind::Io, format!("{}: it is not a regular file", path.display())));
    }
    let (mut reader, mut line, mut at) = (BufReader::with_capacity(1 << 16, file), Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(refuse)? == 0 {
            return Ok(());
        }
        at += 1;
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        each(at, &line, whole);
    }
}

/// A decision with its outcome, as `audit show` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// When it was decided, RFC 3339.
    pub time: String,
    /// The tool's id, cleaned.
    pub tool: String,
    /// `allow`, `deny`, or `absent` where there was no such tool or it was set aside.
    pub verdict: String,
    /// The rest of the decision, as it stands in the log.
    pub decision: Value,
    /// The outcome, as it stands in the log; `None` where the call did not run, still runs, or died with its process.
    pub outcome: Option<Value>,
    /// Where the decision stands.
    pub file: String,
    /// Where the decision stands.
    pub line: u64,
}

/// What [`show`] gives.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The newest that fit, oldest first.
    pub entries: VecDeque<Entry>,
    /// Older ones that fit too.
    pub more: u64,
    /// Lines that are no records.
    pub damaged: u64,
}

/// The newest decisions of the log in a folder that fit, each with its outcome.
///
/// # Errors
/// [`Kind::Io`] where it cannot be read.
pub fn show(folder: &Path, limit: usize, fits: impl Fn(&Entry) -> bool) -> Result<Found, Error> {
    let mut found = Found::default();
    // The chain a file belongs to is named by its first file; within it a number stands for one record.
    let mut chains: HashMap<String, String> = HashMap::new();
    let mut places: HashMap<(String, u64), u64> = HashMap::new();
    for name in Folder::new(folder).names()? {
        let mut chain = name.clone();
        each_line(folder, &name, |at, bytes, whole| {
            let Some(line) = parse(bytes) else {
                found.damaged += u64::from(whole);
                return;
            };
            match line.event.as_str() {
                "start" if at == 1 && line.prev != ROOT => {
                    let before = heads(&line.value["follows"]).find(|head| head.hash == line.prev).map(|head| head.file);
                    chain = before.map_or(name.clone(), |file| chains.get(&file).cloned().unwrap_or(file));
                }
                event @ ("decision" | "hook") => {
                    let text = |key: &str| line.value[key].as_str().unwrap_or_default().to_owned();
                    let (time, mut tool, verdict) = (text("time"), text("tool"), text("verdict"));
                    if event == "hook" {
                        tool = format!("{} heard {} {tool}", text("hook"), text("on")).trim_end().to_owned();
                    }
                    let seq = line.seq;
                    let entry = Entry { time, tool, verdict, decision: line.value, outcome: None, file: name.clone(), line: at };
                    if fits(&entry) {
                        places.insert((chain.clone(), seq), found.more + found.entries.len() as u64);
                        found.entries.push_back(entry);
                    }
                }
                "outcome" => {
                    let place = line.value["of"].as_u64().and_then(|of| places.remove(&(chain.clone(), of)));
                    let entry = place.and_then(|place| found.entries.get_mut(usize::try_from(place.checked_sub(found.more)?).ok()?));
                    if let Some(entry) = entry {
                        entry.outcome = Some(line.value);
                    }
                }
                _ => {}
            }
            if found.entries.len() > limit {
                found.entries.pop_front();
                found.more += 1;
            }
        })?;
        chains.insert(name, chain);
    }
    Ok(found)
}
