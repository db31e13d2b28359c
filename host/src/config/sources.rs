//! The folders of plugins and skills that flags and files name, and by whom each was named.

use super::file::{DirsTable, Placed};
use super::{ConfigFile, Merge, absolute, installed, shown};
use crate::error::Error;
use palisade_policy::{Identity, Origin};
use std::path::PathBuf;

/// Who named a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A flag: unpinned, with the grants of flags alone.
    Flag,
    /// The user's config.
    User,
    /// `plugin add`: pinned to the bytes that were added.
    Added,
    /// The workspace's file.
    Workspace,
}

/// A folder of plugins or skills that may be read.
#[derive(Debug, Clone)]
pub struct SourceDir {
    /// The folder; of a workspace source, relative to the workspace.
    pub folder: PathBuf,
    /// Whether it must itself be one.
    pub single: bool,
    /// Who named it.
    pub scope: Scope,
    /// Where it was named.
    pub origin: Origin,
}

impl Merge<'_> {
    /// The user's own sources: flags, then config.
    pub(super) fn own_sources(&self, user: &ConfigFile) -> Result<Vec<SourceDir>, Error> {
        let flag =
            |folder: &PathBuf, single, flag| SourceDir { folder: folder.clone(), single, scope: Scope::Flag, origin: Origin::Flag(flag) };
        let mut sources: Vec<SourceDir> = self.options.plugins.iter().map(|f| flag(f, true, "--plugin")).collect();
        sources.extend(self.options.plugin_dirs.iter().map(|f| flag(f, false, "--plugin-dir")));
        sources.extend(self.own_dirs(&user.plugins, "plugins.dirs")?);
        Ok(sources)
    }

    pub(super) fn own_dirs(&self, table: &DirsTable, key: &str) -> Result<Vec<SourceDir>, Error> {
        let one = |dir: &Placed| {
            let at = dir.span().start;
            let refuse = || self.user.error(at, &format!("`{key}`: write an absolute path, or one from ~/"));
            let folder = absolute(dir.get_ref()).ok_or_else(refuse)?;
            Ok(SourceDir { folder, single: false, scope: Scope::User, origin: self.user.origin(at) })
        };
        table.dirs.iter().map(one).collect()
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

    pub(super) fn workspace_sources(&self, table: &DirsTable) -> Vec<SourceDir> {
        let one = |dir: &Placed| SourceDir {
            folder: below(dir.get_ref()),
            single: false,
            scope: Scope::Workspace,
            origin: self.file.origin(dir.span().start),
        };
        table.dirs.iter().map(one).collect()
    }
}

/// A folder as a workspace file names it: below the workspace.
pub(super) fn below(written: &str) -> PathBuf {
    PathBuf::from(written.trim_start_matches("./").trim_end_matches('/'))
}
