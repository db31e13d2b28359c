//! Grants as written, with their folders resolved, and refused where they would reach what decides.

use super::{Home, Placed, Scope, Source, SourceDir, WORKSPACE_FILE, Workspace, user_home};
use crate::error::{Error, Kind};
use palisade_policy::{Access, Capability, FolderPath, Grant, Origin, covers, write_refusal};
use std::path::{Path, PathBuf};

pub(super) struct Grants<'a> {
    own: Vec<PathBuf>,
    workspace: &'a Workspace,
    protected: Vec<(String, PathBuf)>,
    grants: Vec<Grant>,
    unresolved: Vec<String>,
}

impl<'a> Grants<'a> {
    pub(super) fn new(home: &Home, workspace: &'a Workspace, user_path: &Path, sources: &[SourceDir]) -> Self {
        let root = workspace.folder.path();
        let mut protected: Vec<(String, PathBuf)> = [WORKSPACE_FILE, ".mcp.json", "palisade.lock"]
            .into_iter()
            .map(|name| (format!("the workspace's {name}"), root.join(name)))
            .collect();
        protected.push(("the user's config".to_owned(), user_path.to_owned()));
        let sources = sources.iter().map(|s| if s.scope == Scope::Workspace { root.join(&s.folder) } else { s.folder.clone() });
        protected.extend(sources.filter_map(|f| std::fs::canonicalize(f).ok()).map(|f| ("a source folder".to_owned(), f)));
        let binary = std::env::current_exe().and_then(std::fs::canonicalize).ok();
        protected.extend(binary.and_then(|b| Some(("the folder of this program".to_owned(), b.parent()?.to_owned()))));
        let own = home.folders().into_iter().map(Path::to_owned).collect();
        Self { own, workspace, protected, grants: Vec::new(), unresolved: Vec::new() }
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

    pub(super) fn finish(self) -> (Vec<Grant>, Vec<String>) {
        (self.grants, self.unresolved)
    }

    fn add(&mut self, mut grant: Grant) -> Result<(), String> {
        match &grant.capability {
            Capability::Fs(access, path) => match self.resolve(path) {
                Ok(folder) => {
                    self.check(&folder, *access)?;
                    grant.resolved = Some(folder);
                }
                Err(why) => self.unresolved.push(format!(
                    "the grant {} ({}) gives nothing: {why}",
                    crate::clean::line(&grant.to_string(), 300),
                    grant.origin
                )),
            },
            Capability::Env(_) => {}
            Capability::Net(_) => return Err("this version has no network to grant".to_owned()),
            Capability::Store => return Err("this version has no store to grant".to_owned()),
        }
        self.grants.push(grant);
        Ok(())
    }

    fn resolve(&self, path: &FolderPath) -> Result<PathBuf, String> {
        let path = match path {
            FolderPath::Workspace(_) if self.workspace.unusable.is_some() => return Err("@workspace does not resolve here".to_owned()),
            FolderPath::Workspace(rest) => self.workspace.folder.path().join(rest),
            FolderPath::Absolute(path) => PathBuf::from(path),
        };
        let resolved = std::fs::canonicalize(&path).map_err(|e| e.to_string())?;
        if resolved.is_dir() { Ok(resolved) } else { Err("it is not a folder".to_owned()) }
    }

    fn check(&self, folder: &Path, access: Access) -> Result<(), String> {
        if let Some(own) = self.own.iter().find(|own| covers(folder, own) || covers(own, folder)) {
            return Err(format!("it is, contains or lies inside Palisade's own folder {}", own.display()));
        }
        if access == Access::Read {
            return Ok(());
        }
        let mut roots = vec![("the workspace", self.workspace.folder.path().to_owned())];
        roots.extend(user_home().map(|home| ("your home folder", home)));
        if folder.join(".git").symlink_metadata().is_ok() {
            return Err("a folder that holds a `.git` may not be written".to_owned());
        }
        write_refusal(folder, &roots, &self.protected).map_err(|e| format!("it may not be written: {e}"))
    }
}
