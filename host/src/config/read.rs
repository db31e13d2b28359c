//! The bytes of the two config files, read only where nobody else decides what they are.

use super::{FILE_MAX, Home, WORKSPACE_FILE, Workspace, user_home};
use crate::error::{Error, Kind};
use crate::files::{ReadError, read_open};
use crate::own::check_owner;
use std::path::{Path, PathBuf};

/// Why no file of the workspace is read, where that is so.
pub(super) fn unusable(root: &Path, home: &Home) -> Result<Option<String>, Error> {
    let holds = home.folders().into_iter().find(|folder| folder.starts_with(root));
    if let (true, Some(folder)) = (home.explicit, holds) {
        let what = format!("PALISADE_HOME puts {} inside the workspace {}", folder.display(), root.display());
        return Err(Error::new(Kind::Config, what).hint("whoever can write the workspace could then change what it decides; move it out"));
    }
    let why = if root == Path::new("/") {
        "it is the root of the file system"
    } else if user_home().is_some_and(|h| h == root) {
        "it is your home folder"
    } else if holds.is_some() {
        "it holds Palisade's own folders"
    } else {
        return Ok(None);
    };
    Ok(Some(format!("no file of the workspace is read and @workspace does not resolve: {why}")))
}

/// The bytes of the user's config, and where it really is.
pub(super) fn read_user(path: &Path, explicit: bool, workspace: &Workspace) -> Result<(Vec<u8>, PathBuf), Error> {
    use rustix::fs::{Mode, OFlags};
    let what = format!("the config file {}", path.display());
    let refuse = |why: &str| Error::new(Kind::Config, format!("{what}: {why}"));
    // The folder may be reached through links of the system; the file itself is no link.
    let resolved = path.parent().and_then(|p| std::fs::canonicalize(if p.as_os_str().is_empty() { Path::new(".") } else { p }).ok());
    let resolved = resolved.zip(path.file_name()).map(|(parent, name)| parent.join(name));
    let opened = resolved
        .as_ref()
        .map(|resolved| rustix::fs::open(resolved, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()));
    let (resolved, handle) = match (resolved, opened) {
        (None, _) | (_, None | Some(Err(rustix::io::Errno::NOENT))) if !explicit => return Ok((Vec::new(), path.to_owned())),
        (Some(resolved), Some(Ok(handle))) => (resolved, handle),
        (_, Some(Err(error))) => return Err(refuse(&ReadError::from(error).to_string())),
        _ => return Err(refuse("there is no such file")),
    };
    if explicit && workspace.unusable.is_none() && resolved.starts_with(workspace.folder.path()) {
        return Err(refuse("it lies inside the workspace, where others may write; move it out"));
    }
    let file = std::fs::File::from(handle);
    check_owner(&what, &file.metadata().map_err(|e| Error::io(&what, &e))?)?;
    let bytes = read_open(file, FILE_MAX).map_err(|e| refuse(&e.to_string()))?;
    Ok((bytes, resolved))
}

pub(super) fn read_workspace(workspace: &Workspace) -> Result<Vec<u8>, Error> {
    if workspace.unusable.is_some() {
        return Ok(Vec::new());
    }
    match workspace.folder.read(WORKSPACE_FILE, FILE_MAX) {
        Ok(bytes) => Ok(bytes),
        Err(ReadError::Missing) => Ok(Vec::new()),
        Err(e) => Err(Error::new(Kind::Config, format!("{WORKSPACE_FILE}: {e}"))),
    }
}
