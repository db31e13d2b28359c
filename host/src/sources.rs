//! Folders of sources, found alike for plugins and skills.
//!
//! The rule it keeps: only what the settings name is looked at, no link is followed, and what cannot be read or shares its
//! name is set aside alone.
//!
//! Never here: what the files of a source mean.

use crate::clean;
use crate::config::{Scope, Settings, SourceDir, hex, shown};
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::plugins::Quarantined;
use crate::sandbox::WasmDigest;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What is looked for: the file that makes a folder one, and its word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sort {
    pub(crate) file: &'static str,
    pub(crate) noun: &'static str,
    /// Whether a flag may name a component without such a file.
    pub(crate) bare: bool,
}

/// A folder that was found.
pub(crate) struct Place {
    pub(crate) folder: Folder,
    /// The component, where that was named and not its folder; it has no manifest.
    pub(crate) component: Option<String>,
    /// As an operator reads it.
    pub(crate) shown: String,
    pub(crate) scope: Scope,
}

impl Place {
    /// By this a call may ask for it where its files do not name it.
    pub(crate) fn key(&self) -> String {
        self.component.clone().unwrap_or_else(|| last_part(self.folder.path()))
    }
}

/// Hands over all folders of a sort below these, one by one; one that is named twice is found once.
pub(crate) fn places(
    settings: &Settings,
    dirs: &[SourceDir],
    sort: Sort,
    quarantined: &mut Vec<Quarantined>,
    mut found: impl FnMut(Place, &mut Vec<Quarantined>),
) {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for dir in dirs {
        if sort.bare
            && let Some(place) = bare(settings, dir)
        {
            match place {
                Ok(place) if seen.insert(place.folder.path().join(place.component.as_deref().unwrap_or_default())) => {
                    found(place, quarantined)
                }
                Ok(_) => {}
                Err(error) => quarantined.push(Quarantined { source: shown_in(settings, &dir.folder), key: last_part(&dir.folder), error }),
            }
            continue;
        }
        let shown_dir = clean::line(&dir.folder.display().to_string(), clean::NAME);
        let each = |folder: Result<Folder, (PathBuf, Error)>, quarantined: &mut Vec<Quarantined>| match folder {
            Ok(folder) if seen.insert(folder.path().to_owned()) => {
                found(Place { shown: shown_in(settings, folder.path()), folder, component: None, scope: dir.scope }, quarantined);
            }
            Ok(_) => {}
            Err((path, error)) => quarantined.push(Quarantined { source: shown_in(settings, &path), key: last_part(&path), error }),
        };
        let looked = open(settings, dir, sort).and_then(|folder| candidates(folder, dir, sort, quarantined, each));
        if let Err(error) = looked {
            quarantined.push(Quarantined { source: shown_dir, key: last_part(&dir.folder), error });
        }
    }
}

/// What tells sources of one name apart.
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) shown: String,
    pub(crate) scope: Scope,
}

/// One of each name. Between user and workspace, the user's stays; of the same side both are set aside.
pub(crate) fn one_of_each_name<T>(found: Vec<T>, sort: Sort, facts: impl Fn(&T) -> Facts, quarantined: &mut Vec<Quarantined>) -> Vec<T> {
    let noun = sort.noun;
    let mut by_name: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for one in found {
        by_name.entry(facts(&one).name).or_default().push(one);
    }
    let mut left = Vec::new();
    for (name, mut group) in by_name {
        let named = |one: &T| facts(one).scope == Scope::Workspace;
        if group.iter().any(|one| !named(one)) {
            for lost in group.extract_if(.., |one| named(one)) {
                let error = Error::new(Kind::Manifest, format!("the user's own {noun} has the name `{name}` too, and stays"));
                quarantined.push(Quarantined { source: facts(&lost).shown, key: String::new(), error });
            }
        }
        if group.len() > 1 {
            let folders = group.iter().map(|one| facts(one).shown).collect::<Vec<_>>().join(" and ");
            let error = Error::new(Kind::Manifest, format!("the {noun}s in {folders} have one name, `{name}`; remove or rename one"));
            quarantined.push(Quarantined { source: name.clone(), key: name, error });
            continue;
        }
        left.append(&mut group);
    }
    left
}

fn shown_in(settings: &Settings, path: &Path) -> String {
    match clean::line(&shown(path, settings.workspace.folder.path()), clean::NAME) {
        // The workspace itself.
        shown if shown.is_empty() => ".".to_owned(),
        shown => shown,
    }
}

fn last_part(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The folder a person or file named.
///
/// # Errors
/// Where it cannot be opened.
pub(crate) fn open(settings: &Settings, dir: &SourceDir, sort: Sort) -> Result<Folder, Error> {
    let opened = match (dir.scope, dir.folder.to_str()) {
        (Scope::Workspace, Some(".")) => Folder::open(settings.workspace.folder.path()),
        (Scope::Workspace, Some(below)) => settings.workspace.folder.folder(below),
        (Scope::Workspace, None) => Err(ReadError::Outside),
        _ => Folder::open(&dir.folder),
    };
    opened.map_err(|e| Error::new(Kind::Manifest, format!("the {} folder that {} names: {e}", sort.noun, dir.origin)))
}

/// A folder that was named as one of a sort.
///
/// # Errors
/// Where it cannot be opened.
pub(crate) fn place(settings: &Settings, dir: &SourceDir, sort: Sort) -> Result<Place, Error> {
    if sort.bare
        && let Some(place) = bare(settings, dir)
    {
        return place;
    }
    let folder = open(settings, dir, sort)?;
    Ok(Place { shown: shown_in(settings, folder.path()), folder, component: None, scope: dir.scope })
}

/// A component that a person named by its file: a regular one whose name ends in `.wasm`.
fn bare(settings: &Settings, dir: &SourceDir) -> Option<Result<Place, Error>> {
    let path = &dir.folder;
    let named = dir.scope == Scope::Flag && dir.single && path.extension().is_some_and(|ending| ending == "wasm") && path.is_file();
    let (above, name) = named.then(|| Some((path.parent()?, path.file_name()?.to_str()?)))??;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let opened = Folder::open(above).map_err(|e| Error::new(Kind::Component, format!("{}: {e}", clean::line(name, clean::NAME))));
    let place =
        |folder: Folder| Place { shown: shown_in(settings, folder.path()), folder, component: Some(name.to_owned()), scope: dir.scope };
    Some(opened.map(place))
}

/// Hands over the folder itself where it is one, else its subfolders that are; those that are links with an error.
fn candidates(
    folder: Folder,
    dir: &SourceDir,
    sort: Sort,
    quarantined: &mut Vec<Quarantined>,
    mut each: impl FnMut(Result<Folder, (PathBuf, Error)>, &mut Vec<Quarantined>),
) -> Result<(), Error> {
    if dir.single || folder.has(sort.file) {
        each(Ok(folder), quarantined);
        return Ok(());
    }
    let refuse = |e| Error::new(Kind::Manifest, format!("the {} folder that {} names: {e}", sort.noun, dir.origin));
    for name in folder.names().map_err(refuse)? {
        match folder.folder(&name) {
            Ok(below) if below.has(sort.file) => each(Ok(below), quarantined),
            Err(error @ ReadError::Link) => {
                each(Err((folder.path().join(&name), Error::new(Kind::Manifest, error.to_string()))), quarantined);
            }
            // A file, or a folder that is none.
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file of the workspace that was read now is one that was trusted: it may have been exchanged in between.
///
/// # Errors
/// Where it is another.
pub(crate) fn as_trusted(settings: &Settings, folder: &Path, name: &str, digest: &WasmDigest) -> Result<(), Error> {
    let Some(files) = &settings.workspace_trust.files else { return Ok(()) };
    let path = folder.strip_prefix(settings.workspace.folder.path()).unwrap_or(folder).join(name);
    let known = path.to_str().and_then(|path| files.get(path));
    if known.is_some_and(|known| *known == hex(digest)) {
        return Ok(());
    }
    let path = clean::line(&path.display().to_string(), clean::NAME);
    Err(Error::new(Kind::Manifest, format!("{path} is not what was trusted")).hint("palisade trust"))
}
