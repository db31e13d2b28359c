//! What a person said yes to: grants for exact bytes, kept in the user's state.
//!
//! The rule it keeps: nothing but a command the user typed and confirmed adds to it. A grant that came with trust in a
//! workspace holds in that workspace alone.

use super::home::read_private;
use super::{Home, shown};
use crate::error::{Error, Kind};
use crate::own::{locked, make_folder};
use palisade_policy::{Grant, Origin};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const FILE: &str = "grants.json";
const LOCK: &str = "grants.lock";
const VERSION: u32 = 1;
/// Largest file that is read, in bytes.
const MAX: u64 = 4 * 1024 * 1024;
/// Most grants; each is compared when a source is loaded.
const MOST: usize = 10_000;

/// One yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// `NAME@sha256:IDENTITY:CAPABILITY`.
    pub grant: String,
    /// Digest of the workspace it holds in; everywhere where there is none.
    pub workspace: Option<String>,
    /// When, RFC 3339.
    pub since: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    grants: Vec<Consent>,
}

/// Everything consented to.
#[derive(Debug, Clone)]
pub struct Consents {
    path: PathBuf,
    given: Vec<Consent>,
}

impl Consents {
    /// Reads what is kept; nothing where there is no file.
    ///
    /// # Errors
    /// [`Kind::Config`] where the file is damaged or not the user's alone.
    pub fn read(home: &Home) -> Result<Self, Error> {
        let path = home.state.join(FILE);
        let Some(bytes) = read_private(&path, MAX)? else { return Ok(Self { path, given: Vec::new() }) };
        let damaged = |why: String| {
            Error::new(Kind::Config, format!("the grants in {} cannot be read: {why}", path.display()))
                .hint("remove the file, and grant again what you mean")
        };
        let file: File = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if file.version != VERSION || file.grants.len() > MOST {
            return Err(damaged(format!("version {} with {} grants", file.version, file.grants.len())));
        }
        Ok(Self { path, given: file.grants })
    }

    /// All of it.
    #[must_use]
    pub fn given(&self) -> &[Consent] {
        &self.given
    }

    /// The grants that hold in a workspace, each with its line.
    pub(super) fn grants(&self, workspace: &str, root: &Path) -> Vec<Result<Grant, String>> {
        let name = shown(&self.path, root);
        let holds = |(_, consent): &(usize, &Consent)| consent.workspace.as_deref().is_none_or(|only| only == workspace);
        let parse = |(place, consent): (usize, &Consent)| {
            // One a line, below a first one.
            let origin = Origin::File { name: name.clone(), line: place + 2 };
            Grant::parse_stored(&consent.grant, origin.clone()).map_err(|e| format!("{origin}: {e}"))
        };
        self.given.iter().enumerate().filter(holds).map(parse).collect()
    }

    /// Changes what is kept; two processes that do so wait for each other.
    ///
    /// # Errors
    /// [`Kind::Io`] where it cannot be written, and as [`Consents::read`].
    pub fn change(home: &Home, change: impl FnOnce(&mut Vec<Consent>)) -> Result<(), Error> {
        make_folder(&home.state)?;
        let io = |e: std::io::Error| Error::io(format!("the grants in {}", home.state.display()), &e);
        let _held = locked(&home.state.join(LOCK))?;
        let mut kept = Self::read(home)?;
        change(&mut kept.given);
        if kept.given.len() > MOST {
            return Err(Error::new(Kind::Usage, format!("more than {MOST} grants are kept; revoke some")));
        }
        let lines: Result<Vec<String>, _> = kept.given.iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(|e| Error::internal("the grants as JSON", &e))?;
        let text = format!("{{\"version\":{VERSION},\"grants\":[\n{}\n]}}\n", lines.join(",\n"));
        crate::files::write_whole(&kept.path, &[text.as_bytes()]).map_err(io)
    }
}

/// Now, as files have it.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_consented_to_is_read_back_with_its_line_and_only_where_it_holds() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let home = Home::at(&root).unwrap();
        assert_eq!(Consents::read(&home).unwrap().given(), []);
        let consent = |name: &str, workspace: Option<&str>| Consent {
            grant: format!("{name}@sha256:{}:env:LANG", "ab".repeat(32)),
            workspace: workspace.map(str::to_owned),
            since: now(),
        };
        let all = [consent("first", None), consent("second", Some("here")), consent("third", Some("there"))];
        Consents::change(&home, |kept| kept.extend(all.clone())).unwrap();
        let read = Consents::read(&home).unwrap();
        assert_eq!(read.given(), all);
        let text = std::fs::read_to_string(home.state.join(FILE)).unwrap();
        for (grant, name) in read.grants("here", &root).into_iter().zip(["first", "second"]) {
            let grant = grant.unwrap();
            let Origin::File { line, .. } = grant.origin else { panic!("{grant:?}") };
            assert!(text.lines().nth(line - 1).unwrap().contains(name), "{line}");
        }
        assert_eq!(read.grants("elsewhere", &root).len(), 1);
        std::fs::write(home.state.join(FILE), "{").unwrap();
        assert_eq!(Consents::read(&home).unwrap_err().kind, Kind::Config);
        std::fs::set_permissions(home.state.join(FILE), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(Consents::read(&home).unwrap_err().message.contains("alone"));
    }
}
