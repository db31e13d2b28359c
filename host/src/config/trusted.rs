//! The trust record: which workspace a person trusts, and every byte of it that decides.
//!
//! The rule it keeps: trust is in bytes. The record lists each file that names or is a source, with its digest; whatever
//! differs ends the trust, and what is loaded later must be what was listed.

use super::home::read_private;
use super::{Home, SERVERS_FILE, SourceDir, WORKSPACE_FILE, Workspace, digest, now};
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::own::make_folder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
/// Largest record that is read, in bytes.
const MAX: u64 = 16 * 1024 * 1024;
/// Most files in all source folders of a workspace, and the largest of them and all together, in bytes: each is read and
/// digested whenever the workspace is used.
const FILES: usize = 10_000;
const FILE: u64 = 64 * 1024 * 1024;
const TOTAL: u64 = 1024 * 1024 * 1024;
/// Deepest folder below a source folder.
const DEPTH: usize = 32;

/// The files that decide, by their path below the workspace, each with its SHA-256 in hex.
pub type Files = BTreeMap<String, String>;

/// A record of trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRecord {
    version: u32,
    /// The canonical path.
    pub workspace: String,
    /// When, RFC 3339.
    pub since: String,
    /// What is trusted.
    pub files: Files,
}

impl TrustRecord {
    /// Where the record of a workspace stands.
    pub(crate) fn file(home: &Home, root: &Path) -> PathBuf {
        home.state.join("trust").join(format!("{}.json", digest(root)))
    }

    /// The record of a workspace; `None` where there is none.
    ///
    /// # Errors
    /// [`Kind::Config`] where it is damaged, of another path, or not the user's alone.
    pub fn read(home: &Home, root: &Path) -> Result<Option<Self>, Error> {
        let path = Self::file(home, root);
        let Some(bytes) = read_private(&path, MAX)? else { return Ok(None) };
        let record: Option<Self> = serde_json::from_slice(&bytes).ok();
        match record {
            Some(record) if record.version == VERSION && Path::new(&record.workspace) == root => Ok(Some(record)),
            _ => Err(Error::new(Kind::Config, format!("the trust record {} is damaged", path.display())).hint("palisade trust --revoke")),
        }
    }

    /// Records trust in these files.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write(home: &Home, root: &Path, files: Files) -> Result<(), Error> {
        let path = Self::file(home, root);
        make_folder(&home.state.join("trust"))?;
        let workspace = root.to_str().ok_or_else(|| Error::new(Kind::Usage, "the workspace's path is not text"))?.to_owned();
        let record = Self { version: VERSION, workspace, since: now(), files };
        let text = serde_json::to_string_pretty(&record).map_err(|e| Error::internal("the trust record as JSON", &e))?;
        crate::files::write_whole(&path, &[text.as_bytes()]).map_err(|e| Error::io(format!("the trust record {}", path.display()), &e))
    }

    /// Withdraws trust; `false` where there was none.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn remove(home: &Home, root: &Path) -> Result<bool, Error> {
        match std::fs::remove_file(Self::file(home, root)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("the trust record", &e)),
        }
    }

    /// The files that are not as they were trusted: changed, new, or gone.
    #[must_use]
    pub fn changed(&self, now: &Files) -> Vec<String> {
        let gone = self.files.keys().filter(|name| !now.contains_key(*name));
        let other = now.iter().filter(|(name, digest)| self.files.get(*name) != Some(*digest)).map(|(name, _)| name);
        gone.chain(other).cloned().collect()
    }
}

/// Every file of a workspace that names a source or is part of one, as it is now.
///
/// # Errors
/// [`Kind::Config`] where one cannot be trusted: a link, a device, too large, or too many of them.
pub fn files(workspace: &Workspace, named: &[SourceDir]) -> Result<Files, Error> {
    let mut listing = Listing { files: Files::new(), total: 0 };
    for name in [WORKSPACE_FILE, SERVERS_FILE] {
        listing.optional(&workspace.folder, name)?;
    }
    for path in named_by_servers(workspace) {
        listing.optional(&workspace.folder, &path)?;
    }
    for source in named {
        let Some(below) = source.folder.to_str() else { continue };
        let opened = if below == "." { Folder::open(workspace.folder.path()) } else { workspace.folder.folder(below) };
        match opened {
            // It holds nothing yet; what comes into it is a change.
            Err(ReadError::Missing) => {}
            Ok(folder) => listing.folder(&folder, below, DEPTH)?,
            Err(e) => return Err(refuse(below, &e.to_string())),
        }
    }
    Ok(listing.files)
}

/// The files of the workspace that the servers of its `.mcp.json` are started with. What is wrong with that file is told by
/// those who start servers.
fn named_by_servers(workspace: &Workspace) -> Vec<String> {
    let root = workspace.folder.path();
    let bytes = workspace.folder.read(SERVERS_FILE, FILE).unwrap_or_default();
    let entries = super::mcp::workspace_entries(&bytes, root).map(|(entries, _)| entries).unwrap_or_default();
    let words = entries.iter().flat_map(|entry| std::iter::once(&entry.command).chain(&entry.args));
    let below = |word: &String| {
        let path = root.join(word);
        let below = path.strip_prefix(root).ok()?;
        let plain = below.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect::<std::path::PathBuf>();
        let there = !plain.as_os_str().is_empty() && std::fs::symlink_metadata(root.join(&plain)).is_ok_and(|meta| !meta.is_dir());
        plain.to_str().filter(|_| there).map(str::to_owned)
    };
    words.filter_map(below).collect()
}

fn refuse(name: &str, why: &str) -> Error {
    let name = crate::clean::line(name, crate::clean::NAME);
    Error::new(Kind::Config, format!("the workspace cannot be trusted: {name}: {why}"))
}

struct Listing {
    files: Files,
    total: u64,
}

impl Listing {
    fn folder(&mut self, folder: &Folder, shown: &str, depth: usize) -> Result<(), Error> {
        let depth = depth.checked_sub(1).ok_or_else(|| refuse(shown, &format!("it is more than {DEPTH} folders deep")))?;
        for name in folder.names().map_err(|e| refuse(shown, &e.to_string()))? {
            let path = if shown == "." { name.clone() } else { format!("{shown}/{name}") };
            match folder.folder(&name) {
                Ok(below) => self.folder(&below, &path, depth)?,
                Err(ReadError::Link) => return Err(refuse(&path, "it is a symbolic link")),
                Err(_) => self.file(folder, &name, &path)?,
            }
        }
        Ok(())
    }

    fn optional(&mut self, folder: &Folder, path: &str) -> Result<(), Error> {
        match self.file(folder, path, path) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    fn file(&mut self, folder: &Folder, name: &str, path: &str) -> Result<(), Error> {
        let opened = folder.open_file(name, FILE).map_err(|e| match e {
            ReadError::Missing => Error::new(Kind::NotFound, "it is missing"),
            other => refuse(path, &other.to_string()),
        })?;
        self.total += opened.size();
        if self.total > TOTAL || self.files.len() >= FILES {
            return Err(refuse(path, &format!("its source folders hold more than {FILES} files, or more than {TOTAL} bytes")));
        }
        let bytes = opened.read().map_err(|e| refuse(path, &e.to_string()))?;
        self.files.insert(path.to_owned(), hex(&Sha256::digest(&bytes)));
        Ok(())
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
