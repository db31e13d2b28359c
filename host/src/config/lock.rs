//! `palisade.lock`: what plugins were when a workspace was shared.
//!
//! The rule it keeps: it stands in the workspace, so it can only deny. A plugin of a name it holds must be what it says;
//! one that is permits nothing by that.

use super::file::{Placed, Source};
use super::{FILE_MAX, Workspace};
use crate::error::{Error, Kind};
use crate::files::ReadError;
use palisade_policy::{Identity, Origin};
use serde::Deserialize;
use toml::Spanned;

/// The file.
pub const LOCK_FILE: &str = "palisade.lock";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    plugin: Vec<Spanned<Table>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Placed,
    version: String,
    identity: Placed,
    imports: Vec<String>,
    tools: Vec<String>,
    schemas: String,
}

/// What one plugin must be.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Its version, as its manifest has it.
    pub version: String,
    /// SHA-256 over manifest and component.
    pub identity: Identity,
    /// The interfaces its component imports.
    pub imports: Vec<String>,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// `sha256:` over the schemas of its tools.
    pub schemas: String,
    /// Where it stands.
    pub origin: Origin,
}

/// Reads the lock of a workspace; nothing where there is none.
///
/// # Errors
/// [`Kind::Config`] with file, line and key.
pub(super) fn read(workspace: &Workspace) -> Result<Vec<Locked>, Error> {
    if workspace.unusable.is_some() {
        return Ok(Vec::new());
    }
    let bytes = match workspace.folder.read(LOCK_FILE, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(ReadError::Missing) => return Ok(Vec::new()),
        Err(e) => return Err(Error::new(Kind::Config, format!("{LOCK_FILE}: {e}"))),
    };
    let source = Source::new(LOCK_FILE, &bytes, Kind::Config)?;
    let file: File = source.parse()?;
    let mut locked: Vec<Locked> = Vec::new();
    for table in file.plugin {
        let at = table.span().start;
        let Table { name, version, identity, imports, tools, schemas } = table.into_inner();
        if locked.iter().any(|one| one.name == *name.get_ref()) {
            return Err(source.error(name.span().start, "`plugin.name`: it stands here twice"));
        }
        let parsed = identity.get_ref().strip_prefix("sha256:").and_then(Identity::parse);
        let parsed = parsed.ok_or_else(|| source.error(identity.span().start, "`plugin.identity`: write sha256: and 64 hex digits"))?;
        locked.push(Locked { name: name.into_inner(), version, identity: parsed, imports, tools, schemas, origin: source.origin(at) });
    }
    Ok(locked)
}
