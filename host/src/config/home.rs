//! Palisade's own folders: config, state, cache.
//!
//! The rule it keeps: each is absolute, the user's, not writable by others, and reached without a symlink below the
//! user's base folder. One that is not is an error, because whoever can write there decides what runs.

use crate::error::{Error, Kind};
use crate::own::{check_folder, locked, make_folder, refuse};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Name of the key in the state folder.
const KEY: &str = "cache.key";
/// Held while it is made.
const KEY_LOCK: &str = "cache.key.lock";

/// Where Palisade keeps its files. A folder is made, with mode 0700, when it is first written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `config.toml`.
    pub config: PathBuf,
    /// What the user installed.
    pub data: PathBuf,
    /// Sessions.
    pub state: PathBuf,
    /// Compiled components.
    pub cache: PathBuf,
    /// Whether `PALISADE_HOME` named it.
    pub explicit: bool,
}

impl Home {
    /// The folders the environment names: `PALISADE_HOME`, or the XDG base folders, or their defaults below `HOME`.
    ///
    /// # Errors
    /// [`Kind::Config`] where one is relative, a symlink, somebody else's, or writable by others.
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(home) = variable("PALISADE_HOME") {
            return Self::at(&home);
        }
        let base = |name: &str, below: &str| -> Result<PathBuf, Error> {
            // The XDG specification: a relative path in one of these variables is ignored.
            let base = match variable(name).filter(|p| p.is_absolute()) {
                Some(base) => base,
                None => user_home().ok_or_else(|| refuse("HOME", "is not set to an absolute path"))?.join(below),
            };
            // A system may reach home folders through a link; below the base there is none.
            Ok(resolve_existing(&base).join("palisade"))
        };
        let home = Self {
            config: base("XDG_CONFIG_HOME", ".config")?.join("config.toml"),
            data: base("XDG_DATA_HOME", ".local/share")?,
            state: base("XDG_STATE_HOME", ".local/state")?,
            cache: base("XDG_CACHE_HOME", ".cache")?,
            explicit: false,
        };
        home.check()
    }

    /// The folders below one.
    ///
    /// # Errors
    /// See [`Home::from_environment`].
    pub fn at(home: &Path) -> Result<Self, Error> {
        let shown = home.display();
        if !home.is_absolute() || resolve_existing(home) != home {
            return Err(refuse(&format!("PALISADE_HOME ({shown})"), "is not an absolute path without symlinks and `..`"));
        }
        check_folder(home)?;
        let below = |name: &str| home.join(name);
        Self { config: below("config.toml"), data: below("data"), state: below("state"), cache: below("cache"), explicit: true }.check()
    }

    /// The user's own key, made when it is first asked for: 32 random bytes in a file of mode 0600. One that others could
    /// have read or written is replaced, and what it protected is made again.
    ///
    /// # Errors
    /// [`Kind::Io`] where it can be neither read nor made, [`Kind::Config`] where the folder is not the user's alone.
    pub fn key(&self) -> Result<[u8; 32], Error> {
        make_folder(&self.state)?;
        let path = self.state.join(KEY);
        // What a killed process left of a key.
        crate::files::sweep(&self.state);
        if let Some(key) = read_key(&path) {
            return Ok(key);
        }
        // Two that start at once get one key, or what one of them protects is nothing to the other.
        let _held = locked(&self.state.join(KEY_LOCK))?;
        if let Some(key) = read_key(&path) {
            return Ok(key);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::new(Kind::Io, format!("random bytes: {e}")))?;
        crate::files::write_whole(&path, &[&key]).map_err(|e| Error::io(format!("the key {}", path.display()), &e))?;
        Ok(key)
    }

    /// The folders themselves.
    #[must_use]
    pub fn folders(&self) -> Vec<&Path> {
        let config = self.config.parent().unwrap_or(&self.config);
        vec![config, &self.data, &self.state, &self.cache]
    }

    fn check(self) -> Result<Self, Error> {
        self.folders().into_iter().try_for_each(check_folder)?;
        Ok(self)
    }
}

fn read_key(path: &Path) -> Option<[u8; 32]> {
    read_private(path, 32).ok()??.try_into().ok()
}

/// Reads a file of ours; `None` where there is none.
///
/// # Errors
/// [`Kind::Config`] where it is no regular file of at most `max` bytes, or others could have read or written it.
pub(crate) fn read_private(path: &Path, max: u64) -> Result<Option<Vec<u8>>, Error> {
    use rustix::fs::{Mode, OFlags};
    let shown = path.display();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        opened => opened.map_err(|e| Error::new(Kind::Config, format!("{shown} cannot be opened: {e}")))?,
    };
    let file = std::fs::File::from(handle);
    let meta = file.metadata().map_err(|e| Error::io(format!("{shown}"), &e))?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(Error::new(Kind::Config, format!("{shown} is not this user's alone")).hint(format!("chmod 600 {shown}")));
    }
    let bytes = crate::files::read_open(file, max).map_err(|e| Error::new(Kind::Config, format!("{shown}: {e}")))?;
    Ok(Some(bytes))
}

/// The user's home folder, resolved once.
#[must_use]
pub fn user_home() -> Option<&'static Path> {
    static HOME: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute())?;
        Some(resolve_existing(&home))
    });
    HOME.as_deref()
}

/// The path with the links in its existing part resolved.
pub(crate) fn resolve_existing(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        if let Ok(resolved) = std::fs::canonicalize(at) {
            return missing.iter().rev().fold(resolved, |p, name| p.join(name));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                at = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn many_that_start_at_once_have_one_key() {
        for _ in 0..40 {
            let temp = tempfile::tempdir().unwrap();
            let home = Home::at(&temp.path().canonicalize().unwrap()).unwrap();
            let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| home.key().unwrap())).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]) && home.key().unwrap() == keys[0]);
        }
    }

    #[test]
    fn a_key_is_kept_until_others_could_have_read_it() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().canonicalize().unwrap()).unwrap();
        let key = home.key().unwrap();
        assert_eq!(home.key().unwrap(), key);
        let path = home.state.join(KEY);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_ne!(home.key().unwrap(), key);
    }
}
