//! Reading what somebody else may have written: folders held by handle, files opened once below them.
//!
//! The rule it keeps: a file is regular, within a size, reached from a held folder without following a symlink in any
//! part and without blocking, and read once. What is digested, parsed and run are those bytes.
//!
//! Where the rule ends: which folder is opened in the first place is decided by the caller, who followed its links.
//!
//! Never here: what a file means.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It, or a folder on the way to it, is a symbolic link.
    #[error("it is a symbolic link, or reached through one; put the file itself there")]
    Link,
    /// A folder, FIFO, socket or device.
    #[error("it is not a regular file")]
    Special,
    /// Larger than it may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// Not a path below the folder.
    #[error("the path is absolute, empty or holds `.` or `..`; name a file inside the folder")]
    Outside,
    /// The system refused.
    #[error("{0}")]
    Io(std::io::Error),
}

impl From<rustix::io::Errno> for ReadError {
    fn from(error: rustix::io::Errno) -> Self {
        match error {
            rustix::io::Errno::NOENT => Self::Missing,
            rustix::io::Errno::LOOP => Self::Link,
            other => Self::Io(other.into()),
        }
    }
}

/// A folder, held open.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

/// How a folder is opened: what is found below it is then found in that very folder.
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Folder {
    /// Opens the folder a person named, after resolving the links on the way to it.
    ///
    /// # Errors
    /// Where it is missing, no folder, or not readable.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let path = std::fs::canonicalize(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing,
            _ => ReadError::Io(e),
        })?;
        Ok(Self { handle: rustix::fs::open(&path, FOLDER, Mode::empty())?, path })
    }

    /// The same folder, held once more.
    ///
    /// # Errors
    /// Where too many files are open.
    pub fn again(&self) -> Result<Self, ReadError> {
        Ok(Self { handle: self.handle.try_clone().map_err(ReadError::Io)?, path: self.path.clone() })
    }

    /// Its path, resolved when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder below this one.
    ///
    /// # Errors
    /// [`ReadError::Link`] where any part is a link.
    pub fn folder(&self, below: &str) -> Result<Self, ReadError> {
        let parts = parts(below)?;
        let (first, rest) = parts.split_first().ok_or(ReadError::Outside)?;
        let mut handle = open_part(&self.handle, first, FOLDER)?;
        for part in rest {
            handle = open_part(&handle, part, FOLDER)?;
        }
        Ok(Self { handle, path: self.path.join(below) })
    }

    /// Reads a file below this folder.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, below: &str, max: u64) -> Result<Vec<u8>, ReadError> {
        self.open_file(below, max)?.read()
    }

    /// Opens a file below this folder, of at most `max` bytes.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open_file(&self, below: &str, max: u64) -> Result<Opened, ReadError> {
        let (folders, name) = match below.rsplit_once('/') {
            Some((folders, name)) => (Some(self.folder(folders)?), name),
            None => (None, below),
        };
        let at = folders.as_ref().map_or(self.handle.as_fd(), |f| f.handle.as_fd());
        parts(name)?;
        // Asked before opening, because opening a device or FIFO can already do something; asked again of the handle.
        regular(&statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(at, name, flags, Mode::empty())?);
        Opened::new(file, max)
    }

    /// Its owner and mode.
    ///
    /// # Errors
    /// Of the system.
    pub fn metadata(&self) -> std::io::Result<std::fs::Metadata> {
        File::from(self.handle.try_clone()?).metadata()
    }

    /// Whether there is anything of that name in it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The names in it that are text, sorted.
    ///
    /// # Errors
    /// Where it cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, ReadError> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A regular file, open, of a size that may be read.
#[derive(Debug)]
pub struct Opened {
    file: File,
    stamp: Stamp,
    max: u64,
}

/// What tells a file that has not changed: it is another when any of these is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that changed less than this ago may change again within one reading of the system's clock.
const SETTLED: i64 = 3;

impl Stamp {
    /// Of an open file.
    ///
    /// # Errors
    /// Of the system.
    pub fn of(file: &File) -> std::io::Result<Self> {
        file.metadata().map(|meta| Self::from(&meta))
    }

    /// Whether a later change is sure to show in it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let before = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(SETTLED);
        self.changed.0 < before && self.modified.0 < before
    }

    /// The file, whatever is in it: device and inode.
    #[must_use]
    pub fn file(&self) -> [u64; 2] {
        [self.device, self.inode]
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let times = [self.modified.0, self.modified.1, self.changed.0, self.changed.1].map(i64::to_le_bytes);
        [[self.device, self.inode, self.size].map(u64::to_le_bytes).as_slice(), &times].concat().concat()
    }
}

impl From<&std::fs::Metadata> for Stamp {
    fn from(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Opened {
    fn new(file: File, max: u64) -> Result<Self, ReadError> {
        let meta = file.metadata().map_err(ReadError::Io)?;
        if !meta.is_file() {
            return Err(ReadError::Special);
        }
        let stamp = Stamp::from(&meta);
        if stamp.size > max { Err(ReadError::TooLarge(max)) } else { Ok(Self { file, stamp, max }) }
    }

    /// What it is, as it was opened.
    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Its size in bytes, as it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Reads it, once.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] where it has grown.
    pub fn read(self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.stamp.size).unwrap_or(0));
        // It may grow while it is read.
        self.file.take(self.max + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
        if bytes.len() as u64 > self.max { Err(ReadError::TooLarge(self.max)) } else { Ok(bytes) }
    }
}

/// Opens a file of ours to read and write; `None` where there is none.
///
/// # Errors
/// Of the system, and where it is no regular file or others could have read or written it.
pub(crate) fn open_private(path: &Path) -> std::io::Result<Option<File>> {
    use std::os::unix::fs::MetadataExt;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let meta = file.metadata()?;
    let own = meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o077 == 0;
    if own && meta.is_file() { Ok(Some(file)) } else { Err(std::io::Error::other("it is not a file of this user alone")) }
}

/// Reads a file that is open already.
pub(crate) fn read_open(file: File, max: u64) -> Result<Vec<u8>, ReadError> {
    Opened::new(file, max)?.read()
}

/// Prefix of a file that is still being written.
const UNFINISHED: &str = ".palisade-new-";

/// How often a file is written whose place a sweep took away: many processes may start at once.
pub(crate) const TRIES: usize = 16;

/// Writes a file whole or not at all: beside its place, for this user alone, flushed, renamed.
///
/// # Errors
/// Of the system. What was there stays, and nothing half written does.
pub fn write_whole(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    write_whole_in(beside(path), path, parts)
}

/// The same with the folder, of the same file system, in which it is unfinished: for a folder of so many files that to sweep it
/// takes time.
///
/// # Errors
/// Of the system. What was there stays, and nothing half written does.
pub(crate) fn write_whole_in(folder: &Path, path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    // A sweep of another process can take the new file away in the moment before it is locked.
    let lost = |e: &std::io::Error| matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::WouldBlock);
    for _ in 1..TRIES {
        match write_once(folder, path, parts) {
            Err(error) if lost(&error) => {}
            done => return done,
        }
    }
    write_once(folder, path, parts)
}

/// A new file beside a path, for this user alone, which is gone if it is dropped before it was put there. A sweep takes it
/// away unless it is locked.
///
/// # Errors
/// Of the system.
pub fn unfinished(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    unfinished_in(beside(path))
}

fn unfinished_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
}

fn beside(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_once(folder: &Path, path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = unfinished_in(folder)?;
    // Says to a sweep that somebody is still writing it.
    rustix::fs::flock(file.as_file(), rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Takes away what killed processes left half written in a folder of ours; a living one holds its lock.
pub fn sweep(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        let abandoned = File::open(entry.path())
            .is_ok_and(|file| rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok());
        if abandoned {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn regular(stat: &rustix::fs::Stat) -> Result<(), ReadError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Symlink => Err(ReadError::Link),
        _ => Err(ReadError::Special),
    }
}

fn open_part(at: &OwnedFd, part: &str, flags: OFlags) -> Result<OwnedFd, ReadError> {
    openat(at, part, flags, Mode::empty()).map_err(|error| match statat(at, part, AtFlags::SYMLINK_NOFOLLOW) {
        // With O_DIRECTORY a link is reported as "not a directory".
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => ReadError::Link,
        _ => error.into(),
    })
}

fn parts(below: &str) -> Result<Vec<&str>, ReadError> {
    let parts: Vec<&str> = below.split('/').collect();
    if parts.iter().any(|p| p.is_empty() || matches!(*p, "." | "..") || p.contains('\0')) { Err(ReadError::Outside) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_sweep_takes_what_nobody_writes_and_leaves_what_somebody_does() {
        let temp = tempfile::tempdir().unwrap();
        let (dead, living) = (temp.path().join(".palisade-new-dead"), temp.path().join(".palisade-new-living"));
        std::fs::write(&dead, "half").unwrap();
        let held = File::create(&living).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        write_whole(&temp.path().join("whole"), &[b"a", b"b"]).unwrap();
        sweep(temp.path());
        let mut left: Vec<String> = Folder::open(temp.path()).unwrap().names().unwrap();
        left.sort();
        assert_eq!(left, [".palisade-new-living", "whole"]);
        assert_eq!(std::fs::read(temp.path().join("whole")).unwrap(), b"ab");
    }

    #[test]
    fn only_a_regular_file_inside_the_folder_is_read() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("sub")).unwrap();
        std::fs::write(temp.path().join("sub/a"), "12345").unwrap();
        symlink("sub/a", temp.path().join("link")).unwrap();
        symlink("sub", temp.path().join("linked")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, temp.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        assert_eq!(folder.read("sub/a", 5).unwrap(), b"12345");
        assert!(matches!(folder.read("sub/a", 4), Err(ReadError::TooLarge(4))));
        assert!(matches!(folder.read("link", 9), Err(ReadError::Link)));
        assert!(matches!(folder.read("linked/a", 9), Err(ReadError::Link)));
        assert!(matches!(folder.read("fifo", 9), Err(ReadError::Special)));
        assert!(matches!(folder.read("sub", 9), Err(ReadError::Special)));
        assert!(matches!(folder.read("none", 9), Err(ReadError::Missing)));
        for outside in ["", "/etc/passwd", "../x", "sub/../x", "sub//a", "./a"] {
            assert!(matches!(folder.read(outside, 9), Err(ReadError::Outside)), "{outside}");
        }
    }
}
