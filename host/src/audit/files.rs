//! The files of the log: which one a process appends to, how it follows the others, when it is closed.

use super::{Hex, Sizes, digest, plain};
use crate::error::{Error, Kind};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Version of the lines.
pub(super) const VERSION: u64 = 1;
/// A line is shorter than this: its longest parts, a reason and the heads it follows, are bounded.
const TAIL: u64 = 64 * 1024;
/// Newest files whose heads a start names, and which it may continue.
const FOLLOWED: usize = 64;
/// What the first line of a chain follows.
pub(super) const ROOT: Hex = [b'0'; 64];

/// The folder of the log.
pub(super) struct Folder {
    path: PathBuf,
}

/// Where a file ended when it was looked at.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) file: String,
    pub(super) seq: u64,
    pub(super) hash: Hex,
}

/// The end of a file.
struct Tail {
    /// Its last whole line; `None` where there is none.
    head: Option<Head>,
    /// A line was begun and not ended, or the last one is no record.
    torn: bool,
    /// Another file follows it.
    ended: bool,
    len: u64,
}

/// The file that this process appends to.
#[derive(Debug)]
pub(super) struct Segment {
    // Locked for as long as it is open.
    file: File,
    path: PathBuf,
    len: u64,
    seq: u64,
    head: Hex,
    closed: bool,
    line: Vec<u8>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Names of its files, oldest first.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| Error::io(format!("the folder {}", self.path.display()), &e))?,
        };
        let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| is_name(n)).collect();
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(self.path.join(name), flags, Mode::empty()).ok()?);
        file.metadata().is_ok_and(|m| m.is_file()).then_some(file)
    }

    /// The file to append to: the newest that nobody holds and that can be continued, or a new one. `after` is the file
    /// this process has filled, or could not mend.
    pub(super) fn next(&self, after: Option<&Segment>, sizes: Sizes) -> Result<Segment, Error> {
        let names = self.names()?;
        let mut follows = Vec::new();
        let mut own = None;
        for name in names.iter().rev().take(FOLLOWED) {
            // A file that cannot be read is named by `verify`; here it is only not followed.
            let Some(mut file) = self.open(name) else { continue };
            if own.is_none() && after.is_none() && lock(&file) {
                let Ok(tail) = tail(&mut file, name) else { continue };
                if !tail.torn && !tail.ended && tail.len < sizes.file {
                    own = Some((file, name, tail));
                    continue;
                }
                follows.extend(tail.head);
            } else {
                follows.extend(tail(&mut file, name).ok().and_then(|tail| tail.head));
            }
        }
        if let Some((file, name, tail)) = own {
            let (seq, hash) = tail.head.map_or((0, ROOT), |head| (head.seq, head.hash));
            let mut segment = Segment::new(file, self.path.join(name), tail.len, seq, hash);
            segment.start(&follows, &[]).map_err(|e| Error::io(segment.path.display(), &e))?;
            return Ok(segment);
        }
        self.create(&names, after, &follows, sizes)
    }

    fn create(&self, names: &[String], after: Option<&Segment>, follows: &[Head], sizes: Sizes) -> Result<Segment, Error> {
        // Later than every other, also where the clock was set back.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let last = names.last().and_then(|name| name.split('-').next()?.parse::<u64>().ok()).unwrap_or(0);
        let stamp = now.max(last.saturating_add(1));
        let (file, path) = self.made(stamp)?;
        let refuse = |e: std::io::Error| Error::io(path.display(), &e);
        let (seq, hash) = after.map_or((0, ROOT), |after| (after.seq, after.head));
        let mut segment = Segment::new(file, path.clone(), 0, seq, hash);
        let removed = self.surplus(names, sizes);
        let heads: Vec<Head> = removed.iter().map(|(head, _)| head.clone()).collect();
        // First said, then done: a file that is gone is one that a record names.
        segment.start(follows, &heads).map_err(refuse)?;
        for (head, _held) in removed {
            let _ = std::fs::remove_file(self.path.join(head.file));
        }
        Ok(segment)
    }

    /// A new file, held. Another process may take it in the moment before that, and may have written it and be gone by now;
    /// then another is made.
    fn made(&self, stamp: u64) -> Result<(File, PathBuf), Error> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..FOLLOWED {
            let path = self.path.join(format!("{stamp:013}-{}.jsonl", uuid::Uuid::new_v4()));
            let made = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| Error::io(path.display(), &e.into()))?;
            let file = File::from(made);
            if lock(&file) && file.metadata().is_ok_and(|meta| meta.len() == 0) {
                return Ok((file, path));
            }
        }
        Err(Error::new(Kind::Io, format!("{}: other processes took every new file", self.path.display())))
    }

    /// The oldest files beyond the size of all, each held, up to the first that somebody writes.
    fn surplus(&self, names: &[String], sizes: Sizes) -> Vec<(Head, File)> {
        let size = |name: &String| std::fs::symlink_metadata(self.path.join(name)).map_or(0, |m| m.len());
        let mut total: u64 = names.iter().map(size).sum();
        let mut removed = Vec::new();
        // No more than fit into one record; the next file goes on.
        for name in names.iter().take(FOLLOWED) {
            if total <= sizes.total {
                break;
            }
            let Some(mut file) = self.open(name).filter(lock) else { break };
            let Ok(tail) = tail(&mut file, name) else { break };
            total -= tail.len.min(total);
            let head = tail.head.unwrap_or(Head { file: name.clone(), seq: 0, hash: ROOT });
            removed.push((head, file));
        }
        removed
    }
}

impl Segment {
    fn new(file: File, path: PathBuf, len: u64, seq: u64, head: Hex) -> Self {
        Self { file, path, len, seq, head, closed: false, line: Vec::with_capacity(1024) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends one record with one `write`, and gives back its number.
    pub(super) fn append(&mut self, body: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<u64> {
        let line = &mut self.line;
        line.clear();
        write!(line, "{{\"seq\":{},\"time\":\"{}\"", self.seq + 1, humantime::format_rfc3339_millis(SystemTime::now()))?;
        body(line);
        plain(line, "prev", &self.head);
        let hash = digest(line);
        plain(line, "hash", &hash);
        line.extend_from_slice(b"}\n");
        if let Err(error) = self.file.write_all(line) {
            // What is there of the line is taken back; where that fails too, the file is left as torn and another follows.
            self.closed = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += line.len() as u64;
        self.seq += 1;
        self.head = hash;
        Ok(self.seq)
    }

    fn start(&mut self, follows: &[Head], removed: &[Head]) -> std::io::Result<()> {
        let list = |line: &mut Vec<u8>, key: &str, heads: &[Head]| {
            let one = |h: &Head| format!("{{\"file\":\"{}\",\"seq\":{},\"hash\":\"{}\"}}", h.file, h.seq, String::from_utf8_lossy(&h.hash));
            let _ = write!(line, ",\"{key}\":[{}]", heads.iter().map(one).collect::<Vec<_>>().join(","));
        };
        let done = self.append(|line| {
            let _ = write!(line, ",\"event\":\"start\",\"version\":{VERSION},\"process\":{}", std::process::id());
            list(line, "follows", follows);
            if !removed.is_empty() {
                list(line, "removed", removed);
            }
        });
        done.map(drop)
    }

    /// Closes the file: what comes next follows its last record in another.
    pub(super) fn end(&mut self) -> std::io::Result<()> {
        if !self.closed {
            self.append(|line| line.extend_from_slice(b",\"event\":\"end\""))?;
            // A whole file is worth the wait for the disk.
            let _ = self.file.sync_data();
            self.closed = true;
        }
        Ok(())
    }
}

/// Milliseconds, then a UUID, so that the order of names is that of files, and nothing else is taken for one.
pub(super) fn is_name(name: &str) -> bool {
    let parts = name.strip_suffix(".jsonl").and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(when, id)| when.len() >= 13 && when.bytes().all(|b| b.is_ascii_digit()) && uuid::Uuid::try_parse(id).is_ok())
}

/// Whether the file is now ours alone, and still in its folder.
fn lock(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() && fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}

/// The last whole line of an open file.
fn tail(file: &mut File, name: &str) -> std::io::Result<Tail> {
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    // Most lines are short, and each start looks at the end of many files.
    for take in [TAIL / 16, TAIL] {
        file.seek(SeekFrom::Start(len.saturating_sub(take)))?;
        bytes.clear();
        file.take(len.min(take)).read_to_end(&mut bytes)?;
        if bytes.iter().filter(|b| **b == b'\n').nth(1).is_some() || take >= len {
            break;
        }
    }
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut torn = whole < bytes.len();
    let last = bytes[..whole].split(|b| *b == b'\n').rev().nth(1);
    let parsed = last.and_then(parse);
    torn |= whole > 0 && parsed.is_none();
    let ended = parsed.as_ref().is_some_and(|line| line.event == "end");
    let head = parsed.map(|line| Head { file: name.to_owned(), seq: line.seq, hash: line.hash });
    Ok(Tail { head, torn, ended, len })
}

/// What a line says of itself, once its own hash is right.
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) event: String,
    pub(super) prev: Hex,
    pub(super) hash: Hex,
    pub(super) value: serde_json::Value,
}

/// `,"hash":"…"}`.
const END: usize = 9 + 64 + 2;

/// Reads a line without its newline; `None` where it is not what was written.
pub(super) fn parse(line: &[u8]) -> Option<Line> {
    let (covered, end) = line.split_at_checked(line.len().checked_sub(END)?)?;
    let hash: Hex = end.strip_prefix(b",\"hash\":\"")?.strip_suffix(b"\"}")?.try_into().ok()?;
    if digest(covered) != hash {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let prev = value["prev"].as_str()?.as_bytes().try_into().ok()?;
    Some(Line { seq: value["seq"].as_u64()?, event: value["event"].as_str()?.to_owned(), prev, hash, value })
}

/// A head as a record or an anchor names it.
pub(super) fn head(value: &serde_json::Value) -> Option<Head> {
    let file = value["file"].as_str().filter(|name| is_name(name))?.to_owned();
    Some(Head { file, seq: value["seq"].as_u64()?, hash: value["hash"].as_str()?.as_bytes().try_into().ok()? })
}
