//! Folders for what is temporary: one for each run of a server, and for each call of a program.
//!
//! The rule it keeps: what a run left there is removed when it has ended, of a server by its supervisor, and what could not be
//! removed at the next start. A folder of a run that goes on is let be, whichever process started it.
//!
//! Where the rule ends: what cannot be removed, such as in a folder that the server made unreadable, stays for the start
//! after; how much a run writes while it lasts is not bounded here.

use crate::own::{locked, make_folder};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, flock, open, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The folder of a run that is to be.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) folder: PathBuf,
    /// Says to others that the run goes on, as long as it is open.
    pub(crate) held: File,
}

impl Scratch {
    /// Makes one below `own`, the folder of its server or of all programs, and begins to remove those of runs that are over.
    ///
    /// # Errors
    /// One sentence: it cannot be made.
    pub(crate) fn make(own: &Path) -> Result<Self, String> {
        let all = own.join("tmp");
        make_folder(&all).map_err(|e| e.message)?;
        // Or another start would take a folder for left over that nobody holds yet.
        let _one = locked(&own.join("tmp.lock")).map_err(|e| e.message)?;
        let over = left_over(&all);
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|e| format!("random bytes: {e}"))?;
        let folder = all.join(format!("{:016x}", u64::from_le_bytes(name)));
        make_folder(&folder).map_err(|e| e.message)?;
        let held = hold(&folder).ok_or_else(|| format!("{} cannot be held", folder.display()))?;
        if !over.is_empty() {
            // Nobody waits for it: there may be much.
            std::thread::spawn(move || over.into_iter().for_each(|(path, _held)| remove(&path)));
        }
        Ok(Self { folder, held })
    }
}

/// The folder of one call, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct OfACall(Scratch);

impl OfACall {
    /// See [`Scratch::make`].
    ///
    /// # Errors
    /// One sentence: it cannot be made.
    pub(crate) fn make(own: &Path) -> Result<Self, String> {
        make_folder(own).map_err(|e| e.message)?;
        Scratch::make(own).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.folder
    }
}

impl Drop for OfACall {
    fn drop(&mut self) {
        remove(&self.0.folder);
    }
}

/// Removes a folder with all that is in it; of a link, and of links in it, the link alone.
pub(crate) fn remove(path: &Path) {
    let folder = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    // What is left is tried again at the next start.
    let _ = if folder { flattened(path).and_then(|()| rustix::fs::rmdir(path)) } else { rustix::fs::unlink(path) };
}

/// Empties a folder, however deep it is, with two of them open at once: what is in a folder of it is moved up before that is
/// removed.
fn flattened(path: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = open(path, flags, Mode::empty())?;
    let mut moved = 0_u64;
    loop {
        let mut folders = Vec::new();
        for name in names(&top)? {
            if unlinkat(&top, &name, AtFlags::empty()).is_err() {
                folders.push(name);
            }
        }
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let folder = openat(&top, &name, flags, Mode::empty())?;
            for inner in names(&folder)? {
                if unlinkat(&folder, &inner, AtFlags::empty()).is_err() && unlinkat(&folder, &inner, AtFlags::REMOVEDIR).is_err() {
                    // A name that is there already is passed over.
                    loop {
                        moved += 1;
                        match renameat_with(&folder, &inner, &top, format!(".moved-{moved}"), RenameFlags::NOREPLACE) {
                            Err(Errno::EXIST) => {}
                            done => break done?,
                        }
                    }
                }
            }
            unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

fn names(folder: &impl std::os::fd::AsFd) -> rustix::io::Result<Vec<CString>> {
    let entries = Dir::read_from(folder)?.filter_map(|entry| match entry {
        Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => None,
        entry => Some(entry.map(|entry| entry.file_name().to_owned())),
    });
    entries.collect()
}

/// A folder with its lock, where nobody else has that.
fn hold(folder: &Path) -> Option<File> {
    let opened = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    flock(&opened, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(File::from(opened))
}

/// What nobody holds, with its lock where it has one.
fn left_over(all: &Path) -> Vec<(PathBuf, Option<File>)> {
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let held = if folder { hold(&entry.path()) } else { None };
            (held.is_some() || !folder).then(|| (entry.path(), held))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_however_deep_and_nothing_that_a_link_in_it_leads_to() {
        let temp = tempfile::tempdir().unwrap();
        let (outside, folder) = (temp.path().join("outside"), temp.path().join("folder"));
        std::fs::create_dir_all(outside.join("kept")).unwrap();
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        for name in [".moved-1", "a", "b"] {
            let mut at = open(&folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            // Deeper than a path may be long, and than a process may open folders.
            for depth in 0..3000 {
                let name = if depth == 0 { name } else { "d" };
                rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
                rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
                at = openat(&at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            }
        }
        remove(&folder);
        assert!(!folder.exists() && outside.join("kept").exists());
    }
}
