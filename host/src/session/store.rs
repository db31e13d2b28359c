//! Stored sessions: one file each, for this user alone, written whole or not at all.
//!
//! No tool output, no credential and no environment value is in them; prompts are redacted.

use super::{StopReason, Usage};
use crate::error::{Error, Kind};
use crate::files::{self, Folder, ReadError};
use crate::own::make_folder;
use crate::record::Denial;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Version of the file.
const VERSION: u32 = 1;
/// Largest session file that is read, in bytes.
const MAX: u64 = 16 * 1024 * 1024;

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSession {
    /// Version of the file.
    pub version: u32,
    /// Its id.
    pub session_id: Uuid,
    /// When it began, RFC 3339.
    pub created: String,
    /// Digest of the workspace's path.
    pub workspace: String,
    /// The profile it ran under.
    pub profile: String,
    /// Submitted prompts, redacted.
    pub prompts: Vec<String>,
    /// What was used.
    pub usage: Usage,
    /// What was denied.
    pub permission_denials: Vec<Denial>,
    /// How it ended; `running` until then.
    pub stop_reason: StopReason,
}

impl StoredSession {
    pub(super) fn new(session_id: Uuid, created: SystemTime, workspace: &Path, profile: &str) -> Self {
        Self {
            version: VERSION,
            session_id,
            created: humantime::format_rfc3339_seconds(created).to_string(),
            workspace: crate::config::digest(workspace),
            profile: profile.to_owned(),
            prompts: Vec::new(),
            usage: Usage::default(),
            permission_denials: Vec::new(),
            stop_reason: StopReason::Running,
        }
    }
}

/// The sessions of one workspace.
#[derive(Debug, Clone)]
pub struct SessionStore {
    folder: PathBuf,
}

/// A line of `session list`.
#[derive(Debug)]
pub struct Listed {
    /// Its id.
    pub id: Uuid,
    /// Its content, or what is wrong with the file.
    pub session: Result<StoredSession, Error>,
}

impl SessionStore {
    /// The store in a folder, which is made when it is first written to.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Parses the id of a session.
    ///
    /// # Errors
    /// [`Kind::Usage`]: an id is a UUID and nothing else, so it is never a path.
    pub fn parse_id(text: &str) -> Result<Uuid, Error> {
        let shown = crate::clean::line(text, 100);
        Uuid::try_parse(text)
            .map_err(|_| Error::new(Kind::Usage, format!("`{shown}` is not a session id")).hint("palisade session list shows the ids"))
    }

    /// Where a session is stored.
    #[must_use]
    pub fn path(&self, id: Uuid) -> PathBuf {
        self.folder.join(name(id))
    }

    /// Makes the folder and takes away what a killed process left half written.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::Config`], see [`make_folder`].
    pub fn prepare(&self) -> Result<(), Error> {
        if let Some(parent) = self.folder.parent() {
            make_folder(parent)?;
        }
        make_folder(&self.folder)?;
        files::sweep(&self.folder);
        Ok(())
    }

    /// Writes a session, replacing the file whole.
    ///
    /// # Errors
    /// [`Kind::Io`]; the file that was there stays.
    pub fn write(&self, session: &StoredSession) -> Result<PathBuf, Error> {
        let bytes = serde_json::to_vec_pretty(session).map_err(|e| Error::internal("the session as JSON", &e))?;
        let path = self.path(session.session_id);
        if bytes.len() as u64 >= MAX {
            return Err(Error::new(Kind::Io, format!("the session is larger than {MAX} bytes and is not stored")));
        }
        files::write_whole(&path, &[&bytes, b"\n"]).map_err(|e| Error::io(format!("the session file {}", path.display()), &e))?;
        Ok(path)
    }

    /// Reads a session.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::Session`] where the file is damaged.
    pub fn read(&self, id: Uuid) -> Result<StoredSession, Error> {
        let path = self.path(id);
        let damaged = |why: String| Error::new(Kind::Session, format!("the session file {}: {why}", path.display()));
        let missing = || Error::new(Kind::NotFound, format!("there is no session {id} in this workspace"));
        let folder = Folder::open(&self.folder).map_err(|_| missing())?;
        let bytes = folder.read(&name(id), MAX).map_err(|e| match e {
            ReadError::Missing => missing(),
            other => damaged(other.to_string()),
        })?;
        let session: StoredSession = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("it is damaged: {}", place(&e))))?;
        match session {
            s if s.version != VERSION => Err(damaged(format!("it has version {}; this is for version {VERSION}", s.version))),
            s if s.session_id != id => Err(damaged("it holds another session".to_owned())),
            s => Ok(s),
        }
    }

    /// All sessions, newest first; damaged ones too.
    ///
    /// # Errors
    /// [`Kind::Io`] where the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let names = match Folder::open(&self.folder).and_then(|folder| folder.names()) {
            Ok(names) => names,
            Err(ReadError::Missing) => Vec::new(),
            Err(e) => return Err(Error::new(Kind::Io, format!("the folder {}: {e}", self.folder.display()))),
        };
        let ids = names.iter().filter_map(|n| Uuid::try_parse(n.strip_suffix(".json")?).ok());
        let mut listed: Vec<Listed> = ids.map(|id| Listed { id, session: self.read(id) }).collect();
        let created = |l: &Listed| l.session.as_ref().map(|s| s.created.clone()).unwrap_or_default();
        listed.sort_by(|a, b| created(b).cmp(&created(a)).then(a.id.cmp(&b.id)));
        Ok(listed)
    }

    /// Removes a session.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Io`].
    pub fn delete(&self, id: Uuid) -> Result<(), Error> {
        let path = self.path(id);
        std::fs::remove_file(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("there is no session {id} in this workspace")),
            _ => Error::io(path.display(), &e),
        })
    }

    /// Removes the sessions that began longer ago than `age`; a damaged file counts by the time it was written.
    ///
    /// # Errors
    /// See [`SessionStore::list`] and [`SessionStore::delete`].
    pub fn prune(&self, age: Duration, now: SystemTime) -> Result<Vec<Uuid>, Error> {
        let mut removed = Vec::new();
        for Listed { id, session } in self.list()? {
            let stored = session.ok().and_then(|s| humantime::parse_rfc3339(&s.created).ok());
            let began = stored.or_else(|| std::fs::symlink_metadata(self.path(id)).and_then(|m| m.modified()).ok());
            if began.is_some_and(|began| now.duration_since(began).is_ok_and(|passed| passed > age)) {
                self.delete(id)?;
                removed.push(id);
            }
        }
        Ok(removed)
    }
}

fn name(id: Uuid) -> String {
    format!("{id}.json")
}

/// The place of a JSON error, without what stands there.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a field is missing, unknown or of the wrong type",
        _ => "it is not JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_session_is_read_as_it_was_written_and_only_by_its_user() {
        let temp = tempfile::tempdir().unwrap();
        let store = SessionStore::new(&temp.path().join("sessions/w"));
        store.prepare().unwrap();
        let mut session = StoredSession::new(Uuid::new_v4(), SystemTime::now(), Path::new("/w"), "trusted");
        session.prompts.push("x".to_owned());
        let path = store.write(&session).unwrap();
        assert_eq!(store.read(session.session_id).unwrap(), session);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let later = SystemTime::now() + Duration::from_secs(3600);
        assert!(store.prune(Duration::from_secs(7200), later).unwrap().is_empty());
        assert_eq!(store.prune(Duration::from_secs(60), later).unwrap(), [session.session_id]);
        assert_eq!(store.read(session.session_id).unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn a_damaged_file_is_named_and_hides_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let store = SessionStore::new(&temp.path().join("w"));
        store.prepare().unwrap();
        let session = StoredSession::new(Uuid::new_v4(), SystemTime::now(), Path::new("/w"), "trusted");
        store.write(&session).unwrap();
        let bad = Uuid::new_v4();
        std::fs::write(store.path(bad), "{\"version\": 1, \"session_id\": \"secret").unwrap();
        let error = store.read(bad).unwrap_err();
        assert_eq!(error.kind, Kind::Session);
        assert!(!error.message.contains("secret"), "{}", error.message);
        assert_eq!(store.list().unwrap().len(), 2);
        assert_eq!(SessionStore::parse_id("../../x").unwrap_err().kind, Kind::Usage);
    }
}
