//! The folders of plugins that flags, files and `plugin add` name.

use super::file::{ConfigFile, Placed};
use super::{Merge, Scope, SourceDir, absolute, installed, shown};
use crate::error::Error;
use palisade_policy::{Identity, Origin};
use std::path::PathBuf;

impl Merge<'_> {
    /// The user's own sources: flags, then config.
    pub(super) fn own_sources(&self, user: &ConfigFile) -> Result<Vec<SourceDir>, Error> {
        let flag =
            |folder: &PathBuf, single, flag| SourceDir { folder: folder.clone(), single, scope: Scope::Flag, origin: Origin::Flag(flag) };
        let mut sources: Vec<SourceDir> = self.options.plugins.iter().map(|f| flag(f, true, "--plugin")).collect();
        sources.extend(self.options.plugin_dirs.iter().map(|f| flag(f, false, "--plugin-dir")));
        for dir in &user.plugins.dirs {
            let at = dir.span().start;
            let folder =
                absolute(dir.get_ref()).ok_or_else(|| self.user.error(at, "`plugins.dirs`: write an absolute path, or one from ~/"))?;
            sources.push(SourceDir { folder, single: false, scope: Scope::User, origin: self.user.origin(at) });
        }
        Ok(sources)
    }

    /// The plugins that were added, as sources, and what each must be.
    pub(super) fn added(&self, own: &mut Vec<SourceDir>) -> Result<Vec<(String, Identity, Origin)>, Error> {
        let file = shown(&installed::registry(&self.home), self.workspace.folder.path());
        let mut pins = Vec::new();
        for (place, one) in installed::installed(&self.home)?.into_iter().enumerate() {
            let origin = Origin::File { name: file.clone(), line: place + 2 };
            let folder = installed::version_folder(&self.home, &one.name, &one.identity);
            own.push(SourceDir { folder, single: true, scope: Scope::Added, origin: origin.clone() });
            pins.extend(Identity::parse(&one.identity).map(|identity| (one.name, identity, origin)));
        }
        Ok(pins)
    }

    pub(super) fn workspace_sources(&self, file: &ConfigFile) -> Vec<SourceDir> {
        let one = |dir: &Placed| SourceDir {
            folder: PathBuf::from(dir.get_ref().trim_start_matches("./").trim_end_matches('/')),
            single: false,
            scope: Scope::Workspace,
            origin: self.file.origin(dir.span().start),
        };
        file.plugins.dirs.iter().map(one).collect()
    }
}
