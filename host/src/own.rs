//! Folders and locks of Palisade's own.
//!
//! The rule it keeps: what is written lies in a folder that is this user's alone, reached through none that others can change.
//!
//! Never here: where a folder lies, what is in it.

use crate::error::{Error, Kind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder of Palisade's and all above it that are missing, for this user alone.
///
/// # Errors
/// [`Kind::Io`] where it cannot be made, [`Kind::Config`] where it is not the user's alone.
pub fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| Error::io(format!("the folder {}", folder.display()), &e))?;
    check_folder(folder)
}

/// Whether a folder is this user's alone; one that is not there is.
///
/// # Errors
/// [`Kind::Config`].
pub(crate) fn check_folder(folder: &Path) -> Result<(), Error> {
    let what = format!("the folder {}", folder.display());
    let Ok(meta) = std::fs::symlink_metadata(folder) else { return Ok(()) };
    if !meta.is_dir() {
        return Err(refuse(&what, "is a symlink or no folder"));
    }
    check_owner(&what, &meta)?;
    // Whoever can write a folder above it can put another in its place, except where only owners may rename.
    let others = |meta: &std::fs::Metadata| {
        let foreign = meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw();
        foreign || (meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0)
    };
    match folder.ancestors().skip(1).find(|above| std::fs::metadata(above).is_ok_and(|meta| others(&meta))) {
        Some(above) => Err(refuse(&what, &format!("lies in {}, which others can change", above.display()))),
        None => Ok(()),
    }
}

/// Whether something is this user's, and nobody else can write it; `what` is it, for the message.
///
/// # Errors
/// [`Kind::Config`].
pub(crate) fn check_owner(what: &str, meta: &std::fs::Metadata) -> Result<(), Error> {
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(what, "belongs to another user"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refuse(what, "can be written by others").hint("chmod go-w it, after looking at what is in it"));
    }
    Ok(())
}

/// What is not the user's alone, and why.
pub(crate) fn refuse(what: &str, why: &str) -> Error {
    Error::new(Kind::Config, format!("{what} {why}; Palisade reads and writes only what is this user's alone"))
}

/// Waits until no other process changes the same; the lock ends with the value, or with the process.
pub(crate) fn locked(path: &Path) -> Result<std::fs::File, Error> {
    let io = |e: std::io::Error| Error::io(format!("the lock {}", path.display()), &e);
    let held = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).map_err(|e| io(e.into()))?;
    Ok(held)
}

/// Takes away folders that killed processes left unfinished, an hour ago or more: a living one may still be at it.
pub(crate) fn sweep(above: &Path, prefix: &str) {
    for entry in std::fs::read_dir(above).into_iter().flatten().flatten() {
        let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| t.elapsed().is_ok_and(|age| age.as_secs() > 3600));
        if old && entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
