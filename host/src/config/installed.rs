//! Plugins that were added: their bytes in a store of our own, and which version of each is in use.
//!
//! The rule it keeps: what lies in the store is what was looked at when it was added, under the digest of its bytes; a
//! version is there whole or not at all.

use super::home::read_private;
use super::{Home, hex, now};
use crate::error::{Error, Kind};
use crate::own::{locked, make_folder, sweep};
use palisade_policy::Identity;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const FILE: &str = "installed.json";
const LOCK: &str = "installed.lock";
const VERSION: u32 = 1;
/// Largest registry that is read, in bytes.
const MAX: u64 = 4 * 1024 * 1024;
/// Versions that are kept to go back to.
const KEPT: usize = 3;
/// Prefix of a version that is still being copied.
const UNFINISHED: &str = ".new-";

/// A plugin that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// SHA-256 over manifest and component of the version in use, in hex.
    pub identity: String,
    /// Earlier versions that are still there, the last one last.
    pub previous: Vec<String>,
    /// When this version was added, RFC 3339.
    pub since: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    version: u32,
    plugins: Vec<Installed>,
}

/// The bytes of one version.
#[derive(Debug)]
pub struct Package {
    /// `plugin.toml`.
    pub manifest: Vec<u8>,
    /// The component's path inside the folder.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// Over both.
    pub identity: Identity,
}

fn folder(home: &Home) -> PathBuf {
    home.data.join("plugins")
}

/// The registry's own file.
#[must_use]
pub fn registry(home: &Home) -> PathBuf {
    folder(home).join(FILE)
}

/// The folder of one version.
#[must_use]
pub fn version_folder(home: &Home, name: &str, identity: &str) -> PathBuf {
    folder(home).join(name).join(format!("sha256-{identity}"))
}

/// All plugins that were added, in the order of the registry's lines; the first stands in line 2.
///
/// # Errors
/// [`Kind::Config`] where the registry is damaged or not the user's alone.
pub fn installed(home: &Home) -> Result<Vec<Installed>, Error> {
    let path = registry(home);
    let Some(bytes) = read_private(&path, MAX)? else { return Ok(Vec::new()) };
    let damaged = |why: String| {
        Error::new(Kind::Config, format!("the list of added plugins {} is damaged: {why}", path.display()))
            .hint("remove the file, and add the plugins again")
    };
    let registry: Registry = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let is_digest = |text: &String| Identity::parse(text).is_some();
    let sound = |one: &Installed| {
        palisade_policy::SourceName::parse(&one.name).is_ok() && is_digest(&one.identity) && one.previous.iter().all(is_digest)
    };
    if registry.version != VERSION || !registry.plugins.iter().all(sound) {
        return Err(damaged("a line is none of ours".to_owned()));
    }
    Ok(registry.plugins)
}

/// Changes the list; two processes that do so wait for each other.
///
/// # Errors
/// Of `change`, [`Kind::Io`] where it cannot be written, and as [`installed`].
pub fn change_installed<T>(home: &Home, change: impl FnOnce(&mut Vec<Installed>) -> Result<T, Error>) -> Result<T, Error> {
    make_folder(&folder(home))?;
    let _held = locked(&folder(home).join(LOCK))?;
    let mut plugins = installed(home)?;
    let done = change(&mut plugins)?;
    let lines: Result<Vec<String>, _> = plugins.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|e| Error::internal("the list of plugins as JSON", &e))?;
    let text = format!("{{\"version\":{VERSION},\"plugins\":[\n{}\n]}}\n", lines.join(",\n"));
    let path = registry(home);
    crate::files::write_whole(&path, &[text.as_bytes()]).map_err(|e| Error::io(format!("the list {}", path.display()), &e))?;
    Ok(done)
}

/// Puts a version into the store; one that is there already is written again, as its files may not be what they were.
///
/// # Errors
/// [`Kind::Io`].
pub fn store(home: &Home, plugin: &str, package: &Package) -> Result<(), Error> {
    let io = |e: std::io::Error| Error::io(format!("the plugin {plugin} in {}", folder(home).display()), &e);
    let above = folder(home).join(plugin);
    make_folder(&above)?;
    sweep(&above, UNFINISHED);
    let new = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&above).map_err(io)?;
    let component = new.path().join(&package.name);
    make_folder(component.parent().unwrap_or(new.path()))?;
    crate::files::write_whole(&new.path().join("plugin.toml"), &[&package.manifest]).map_err(io)?;
    crate::files::write_whole(&component, &[&package.component]).map_err(io)?;
    let place = version_folder(home, plugin, &package.identity.to_string());
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(io)?;
    }
    std::fs::rename(new.path(), &place).map_err(io)?;
    // It has another name now, so there is nothing to take away.
    let _ = new.keep();
    Ok(())
}

/// Makes a version the one in use, and keeps a few before it.
///
/// # Errors
/// As [`change_installed`].
pub fn use_version(home: &Home, name: &str, identity: &Identity) -> Result<(), Error> {
    let identity = hex(&identity.0);
    let dropped = change_installed(home, |plugins| {
        let Some(one) = plugins.iter_mut().find(|one| one.name == name) else {
            plugins.push(Installed { name: name.to_owned(), identity, previous: Vec::new(), since: now() });
            return Ok(Vec::new());
        };
        let before = std::mem::replace(&mut one.identity, identity);
        one.previous.retain(|kept| *kept != one.identity && *kept != before);
        if before != one.identity {
            one.previous.push(before);
        }
        one.since = now();
        let over = one.previous.len().saturating_sub(KEPT);
        Ok(one.previous.drain(..over).collect())
    })?;
    for identity in dropped {
        let _ = std::fs::remove_dir_all(version_folder(home, name, &identity));
    }
    Ok(())
}

/// Goes back to the version before, and gives back its identity.
///
/// # Errors
/// [`Kind::NotFound`] where there is none, and as [`change_installed`].
pub fn roll_back(home: &Home, name: &str) -> Result<String, Error> {
    change_installed(home, |plugins| {
        let one = plugins.iter_mut().find(|one| one.name == name).ok_or_else(|| absent(name))?;
        let last =
            one.previous.pop().ok_or_else(|| Error::new(Kind::NotFound, format!("there is no version of {name} before this one")))?;
        let now_left = std::mem::replace(&mut one.identity, last.clone());
        one.previous.insert(0, now_left);
        one.since = now();
        Ok(last)
    })
}

/// Takes a plugin out, with all its versions.
///
/// # Errors
/// [`Kind::NotFound`] where it was never added, and as [`change_installed`].
pub fn remove(home: &Home, name: &str) -> Result<(), Error> {
    change_installed(home, |plugins| {
        let before = plugins.len();
        plugins.retain(|one| one.name != name);
        if plugins.len() == before { Err(absent(name)) } else { Ok(()) }
    })?;
    let place = folder(home).join(name);
    std::fs::remove_dir_all(&place).map_err(|e| Error::io(format!("the plugin's folder {}", place.display()), &e))
}

fn absent(name: &str) -> Error {
    let name = crate::clean::line(name, crate::clean::NAME);
    Error::new(Kind::NotFound, format!("no plugin {name} was added")).hint("palisade plugin add DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_used_kept_gone_back_to_and_forgotten_after_a_few() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let home = Home::at(&root).unwrap();
        let package = |i: u8| Package { manifest: vec![i], name: "a/b.wasm".to_owned(), component: vec![i], identity: Identity([i; 32]) };
        for i in 1..=6 {
            store(&home, "notes", &package(i)).unwrap();
            use_version(&home, "notes", &Identity([i; 32])).unwrap();
        }
        let id = |i: u8| hex(&[i; 32]);
        let kept = || installed(&home).unwrap().remove(0);
        assert_eq!((kept().identity, kept().previous), (id(6), vec![id(3), id(4), id(5)]));
        assert!(!version_folder(&home, "notes", &id(2)).exists());
        assert_eq!(std::fs::read(version_folder(&home, "notes", &id(3)).join("a/b.wasm")).unwrap(), [3]);
        assert_eq!(roll_back(&home, "notes").unwrap(), id(5));
        assert_eq!((kept().identity, kept().previous), (id(5), vec![id(6), id(3), id(4)]));
        remove(&home, "notes").unwrap();
        assert_eq!(installed(&home).unwrap(), []);
        assert_eq!(remove(&home, "notes").unwrap_err().kind, Kind::NotFound);
        assert!(!folder(&home).join("notes").exists());
    }
}
