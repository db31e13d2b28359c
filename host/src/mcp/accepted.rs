//! What a person accepted of an external server: its entry, and each of its tools as it was looked at.
//!
//! The rule it keeps: it stands in the user's state alone; a tool that is no longer what was accepted is held.

use crate::clean;
use crate::config::{Allowed, Home, Scope, ServerEntry, Settings, now, read_private};
use crate::error::{Error, Kind};
use crate::own::make_folder;
use crate::sandbox::Definition;
use palisade_policy::{Access, FolderPath};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
/// Largest file that is read, in bytes: the most tools of the largest size.
const MAX: u64 = 24 * 1024 * 1024;

/// What was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    version: u32,
    /// The server's name.
    pub name: String,
    /// SHA-256 of its entry, in hex.
    pub entry: String,
    /// When, RFC 3339.
    pub since: String,
    /// What was left open to it, where a workspace named it.
    #[serde(default)]
    pub allowed: Allowed,
    /// Its tools, as they were then.
    pub tools: Vec<Definition>,
}

impl Accepted {
    /// Reads it; `None` where nobody accepted the server, or only another entry of its name.
    ///
    /// # Errors
    /// [`Kind::Config`] where the file is damaged or not the user's alone.
    pub fn read(home: &Home, entry: &ServerEntry) -> Result<Option<Self>, Error> {
        let path = entry.accepted_file(home);
        let Some(bytes) = read_private(&path, MAX)? else { return Ok(None) };
        let damaged = |why: String| {
            Error::new(Kind::Config, format!("what was accepted of the MCP server {} is damaged: {why}", entry.name))
                .hint(format!("palisade mcp remove {}, and accept it again", entry.name))
        };
        let read: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if read.version != VERSION || read.name != entry.name.as_str() {
            return Err(damaged("it is of another version or server".to_owned()));
        }
        Ok((read.entry == entry.identity().to_string()).then_some(read))
    }

    /// Writes that this entry and these tools were accepted now.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write(home: &Home, entry: &ServerEntry, allowed: Allowed, tools: Vec<Definition>) -> Result<(), Error> {
        let path = entry.accepted_file(home);
        make_folder(&home.state)?;
        make_folder(&home.state.join("mcp"))?;
        let name = entry.name.to_string();
        let accepted = Self { version: VERSION, name, entry: entry.identity().to_string(), since: now(), allowed, tools };
        let text = serde_json::to_vec(&accepted).map_err(|e| Error::internal("what was accepted as JSON", &e))?;
        crate::files::write_whole(&path, &[&text, b"\n"]).map_err(|e| Error::io(path.display(), &e))
    }

    /// Takes it back; whether there was anything.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn remove(home: &Home, entry: &ServerEntry) -> Result<bool, Error> {
        let path = entry.accepted_file(home);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(path.display(), &error)),
        }
    }
}

/// How a tool differs from what was accepted, in one sentence; `None` where it does not. What it says of itself in hints is
/// not part of it: nothing is decided on that.
#[must_use]
pub fn difference(accepted: &Definition, now: &Definition) -> Option<String> {
    let parts = [
        ("title", accepted.title != now.title),
        ("description", accepted.description != now.description),
        ("input schema", accepted.input_schema != now.input_schema),
        ("output schema", accepted.output_schema != now.output_schema),
    ];
    let changed: Vec<&str> = parts.into_iter().filter_map(|(part, changed)| changed.then_some(part)).collect();
    (!changed.is_empty()).then(|| format!("its {} is not what was accepted", changed.join(", ")))
}

/// The server of an entry, as far as a person accepted it.
///
/// # Errors
/// [`Kind::Config`] where what was accepted is damaged.
pub(crate) fn accepted(settings: &Settings, entry: &mut ServerEntry) -> Result<Option<Vec<Definition>>, Error> {
    let Some(accepted) = Accepted::read(&settings.home, entry)? else { return Ok(None) };
    if entry.scope == Scope::Workspace {
        open(settings, entry, &accepted.allowed);
    }
    Ok(Some(accepted.tools))
}

/// Leaves open to a server of a workspace what a person allowed it, within the bounds of grants.
pub fn open(settings: &Settings, entry: &mut ServerEntry, allowed: &Allowed) {
    let folder = |(written, path, access): (String, FolderPath, Access)| {
        let resolved = settings.workspace.resolve(&path).and_then(|folder| {
            settings.bounds.check(&settings.workspace, &folder, access)?;
            Ok(folder)
        });
        resolved.map(|folder| (written.clone(), folder, access)).map_err(|why| format!("its folder {}: {why}", clean::line(&written, 200)))
    };
    entry.folders = allowed.folders().and_then(|folders| folders.into_iter().map(folder).collect());
    (entry.net, entry.unfenced) = (allowed.net, allowed.unfenced);
    entry.variables = Some(allowed.env.clone());
}
