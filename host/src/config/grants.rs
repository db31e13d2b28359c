//! Grants as written, with their folders resolved, and refused where they would reach what decides.

use super::home::resolve_existing;
use super::{Home, Placed, Scope, Source, SourceDir, WORKSPACE_FILE, Workspace, user_home};
use crate::error::{Error, Kind};
use palisade_policy::{Access, Capability, FolderPath, Grant, Origin, covers, write_refusal};
use std::path::{Path, PathBuf};

/// Where no grant may reach, and no grant to write.
#[derive(Debug)]
pub(crate) struct Bounds {
    own: Vec<PathBuf>,
    protected: Vec<(String, PathBuf)>,
}

pub(super) struct Grants<'a> {
    bounds: Bounds,
    workspace: &'a Workspace,
    grants: Vec<Grant>,
    unresolved: Vec<String>,
}

impl<'a> Grants<'a> {
    /// `sessions` is where sessions are kept; `sources` are all that were named, also those that do not count.
    pub(super) fn new<'s>(
        home: &Home,
        sessions: &Path,
        workspace: &'a Workspace,
        user_path: &Path,
        sources: impl Iterator<Item = &'s SourceDir>,
    ) -> Self {
        let root = workspace.folder.path();
        let mut protected: Vec<(String, PathBuf)> = [WORKSPACE_FILE, ".mcp.json", super::LOCK_FILE]
            .into_iter()
            .map(|name| (format!("the workspace's {name}"), root.join(name)))
            .collect();
        protected.push(("the user's config".to_owned(), user_path.to_owned()));
        let sources = sources.map(|s| if s.scope == Scope::Workspace { root.join(&s.folder) } else { s.folder.clone() });
        // One that is not there yet is protected too: a guest could make it.
        protected.extend(sources.map(|f| ("a source folder".to_owned(), resolve_existing(&f))));
        let binary = std::env::current_exe().and_then(std::fs::canonicalize).ok();
        protected.extend(binary.and_then(|b| Some(("the folder of this program".to_owned(), b.parent()?.to_owned()))));
        let own = home.folders().into_iter().chain([sessions]).map(resolve_existing).collect();
        Self { bounds: Bounds { own, protected }, workspace, grants: Vec::new(), unresolved: Vec::new() }
    }

    pub(super) fn flag(&mut self, text: &str) -> Result<(), Error> {
        let refuse = |why: String| Error::new(Kind::Usage, format!("--grant {}: {why}", crate::clean::line(text, crate::clean::NAME)));
        let grant = Grant::parse_short(text, Origin::Flag("--grant")).map_err(|e| refuse(e.to_string()))?;
        self.add(grant).map_err(refuse)
    }

    pub(super) fn stored(&mut self, source: &Source<'_>, text: &Placed) -> Result<(), Error> {
        let refuse = |why: String| source.error(text.span().start, &format!("`grants`: {why}"));
        let grant = Grant::parse_stored(text.get_ref(), source.origin(text.span().start)).map_err(|e| refuse(e.to_string()))?;
        self.add(grant).map_err(refuse)
    }

    /// One that a person said yes to. What it reaches may be gone by now: then it gives nothing, and nothing else suffers.
    pub(super) fn consented(&mut self, grant: Result<Grant, String>) {
        let added = grant.and_then(|grant| {
            let shown = format!("the grant {} ({}) gives nothing", crate::clean::line(&grant.to_string(), 300), grant.origin);
            self.add(grant).map_err(|why| format!("{shown}: {why}"))
        });
        self.unresolved.extend(added.err());
    }

    /// The folder of a path, for somebody who may reach it like this; the inner `Err` where it is not there.
    ///
    /// # Errors
    /// Why nobody may.
    pub(super) fn folder(&self, path: &FolderPath, access: Access) -> Result<Result<PathBuf, String>, String> {
        let resolved = self.workspace.resolve(path);
        resolved.as_ref().map_or(Ok(()), |folder| self.bounds.check(self.workspace, folder, access))?;
        Ok(resolved)
    }

    pub(super) fn finish(self) -> (Vec<Grant>, Vec<String>, Bounds) {
        (self.grants, self.unresolved, self.bounds)
    }

    fn add(&mut self, mut grant: Grant) -> Result<(), String> {
        match &grant.capability {
            Capability::Fs(access, path) => match self.workspace.resolve(path) {
                Ok(folder) => {
                    self.bounds.check(self.workspace, &folder, *access)?;
                    grant.resolved = Some(folder);
                }
                Err(why) => self.unresolved.push(format!(
                    "the grant {} ({}) gives nothing: {why}",
                    crate::clean::line(&grant.to_string(), 300),
                    grant.origin
                )),
            },
            Capability::Env(_) | Capability::Net(_) | Capability::Auth(..) | Capability::Store => {}
        }
        self.grants.push(grant);
        Ok(())
    }
}

impl Bounds {
    /// Whether a grant of it would give anything.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn grantable(&self, workspace: &Workspace, capability: &Capability) -> Result<(), String> {
        match capability {
            Capability::Fs(access, path) => self.check(workspace, &workspace.resolve(path)?, *access),
            Capability::Env(_) | Capability::Net(_) | Capability::Auth(..) | Capability::Store => Ok(()),
        }
    }

    pub(crate) fn check(&self, workspace: &Workspace, folder: &Path, access: Access) -> Result<(), String> {
        if let Some(own) = self.own.iter().find(|own| covers(folder, own) || covers(own, folder)) {
            return Err(format!("it is, contains or lies inside Palisade's own folder {}", own.display()));
        }
        // Environment, memory and open files of this very process are files there.
        if covers(Path::new("/proc"), folder) {
            return Err("it lies inside /proc, where processes show their memory and environment".to_owned());
        }
        if access == Access::Read {
            return Ok(());
        }
        let mut roots = vec![("the workspace", workspace.folder.path().to_owned())];
        roots.extend(user_home().map(|home| ("your home folder", home.to_owned())));
        no_git(folder)?;
        write_refusal(folder, &roots, &self.protected).map_err(|e| format!("it may not be written: {e}"))
    }
}

/// Most entries of a folder that are looked at before it is granted for writing.
const ENTRIES: usize = 50_000;

/// Whether a folder holds a `.git` anywhere below it: whoever writes there runs code at the next commit.
fn no_git(folder: &Path) -> Result<(), String> {
    let mut seen = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let shown = crate::clean::line(&folder.display().to_string(), crate::clean::NAME);
        for entry in std::fs::read_dir(&folder).map_err(|e| format!("{shown}: {e}"))? {
            let entry = entry.map_err(|e| format!("{shown}: {e}"))?;
            seen += 1;
            if seen > ENTRIES {
                return Err(format!("it holds more than {ENTRIES} entries, too many to look through for a `.git`; grant a smaller folder"));
            }
            if entry.file_name() == ".git" {
                return Err(format!("{shown} holds a `.git`; it may not be written"));
            }
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
