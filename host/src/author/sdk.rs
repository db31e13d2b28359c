//! The sources of the SDKs and of the contract, carried by this binary and unpacked below `data/sdk`.
//!
//! The rule it keeps: a folder there is named after its content, is there whole or not at all, and is compared with what this
//! binary carries each time it is asked for. One that differs is unpacked again, and that is said.
//!
//! Where the rule ends: what a package manager installs into it is kept and not looked at. The folder of another version is
//! that version's business; plugins may name it, so none is removed.

use super::lockfile;
use crate::config::{Home, hex};
use crate::error::{Error, Kind};
use crate::own::{locked, make_folder};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use toml::{Table, Value};

/// Path below the root of the repository, and content; sorted, no links.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/carried.rs"));
/// Our own workspace, of which the SDK's is a part.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");
const LOCK: &str = include_str!("../../../Cargo.lock");
/// The Rust crates that are carried, by their folders.
const MEMBERS: [&str; 2] = ["plugin-sdk", "plugin-sdk/macros"];
/// Where package managers install into what was unpacked.
const INSTALLED: [&str; 2] = ["plugin-sdk/js/node_modules", "plugin-sdk/python/.venv"];
/// What compilers and interpreters leave beside sources.
const LEFT: [&str; 4] = ["__pycache__", "target", "build", "Cargo.lock"];
/// Prefix of what is still being unpacked.
const UNFINISHED: &str = ".new-";
/// Most entries of an unpacked folder that are looked at.
const ENTRIES: usize = 10_000;

/// All that is carried, by path: the sources, and the manifest of their workspace.
static CARRIED: LazyLock<BTreeMap<&'static str, &'static [u8]>> = LazyLock::new(|| {
    static MANIFEST: LazyLock<String> = LazyLock::new(|| workspace().unwrap_or_default());
    FILES.iter().copied().chain([("Cargo.toml", MANIFEST.as_bytes())]).collect()
});

/// All that this binary carries for authors, by path.
#[must_use]
pub fn carried() -> &'static BTreeMap<&'static str, &'static [u8]> {
    &CARRIED
}

/// The manifest of the SDK's own workspace: of ours, the crates that are carried, and what they inherit.
fn workspace() -> Option<String> {
    let table: Table = WORKSPACE.parse().ok()?;
    let ours = table.get("workspace")?.as_table()?;
    let all = ours.get("dependencies")?.as_table()?;
    let mut dependencies = Table::new();
    for member in MEMBERS {
        let path = format!("{member}/Cargo.toml");
        let (_, bytes) = FILES.iter().find(|(below, _)| *below == path)?;
        let manifest: Table = std::str::from_utf8(bytes).ok()?.parse().ok()?;
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let named = manifest.get(section).and_then(Value::as_table).into_iter().flat_map(Table::keys);
            dependencies.extend(named.filter_map(|name| Some((name.clone(), all.get(name)?.clone()))));
        }
    }
    let members = MEMBERS.iter().map(|member| Value::from(*member)).collect::<Vec<_>>();
    let mut workspace =
        Table::from_iter([("members".to_owned(), Value::from(members)), ("dependencies".to_owned(), Value::from(dependencies))]);
    for key in ["resolver", "package", "lints"] {
        workspace.insert(key.to_owned(), ours.get(key)?.clone());
    }
    toml::to_string(&Table::from_iter([("workspace".to_owned(), Value::from(workspace))])).ok()
}

/// The name of the folder: our version, and what changes with any byte that is carried.
fn version() -> String {
    let mut digest = Sha256::new();
    for (below, bytes) in carried() {
        digest.update(below.as_bytes());
        digest.update([0]);
        digest.update(Sha256::digest(bytes));
    }
    let digest = hex(&digest.finalize());
    format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..12])
}

/// An unpacked SDK.
#[derive(Debug, Clone)]
pub struct Sdk {
    /// Its folder.
    pub root: PathBuf,
    /// What a person should know: it was there, and not as it came.
    pub repaired: Option<String>,
}

impl Sdk {
    /// The SDK of this binary below the user's data folder: unpacked where it is not there, or not as it came.
    ///
    /// # Errors
    /// [`Kind::Io`] where it cannot be written, [`Kind::Config`] where the folder is not the user's alone or no text.
    pub fn unpacked(home: &Home) -> Result<Self, Error> {
        let all = home.data.join("sdk");
        let root = all.join(version());
        if root.to_str().is_none() {
            let what = format!("the folder {} is not text, and a plugin's files have to name it", root.display());
            return Err(Error::new(Kind::Config, what).hint("name one that is with PALISADE_HOME"));
        }
        make_folder(&all)?;
        // One at a time: what others unpack meanwhile is there, whole, when it is our turn.
        let _held = locked(&all.join("lock"))?;
        let differs = match std::fs::symlink_metadata(&root) {
            Ok(_) => match difference(&root) {
                None => return Ok(Self { root, repaired: None }),
                different => different,
            },
            Err(_) => None,
        };
        unpack(&all, &root).map_err(|e| Error::io(format!("unpacking the SDK to {}", root.display()), &e))?;
        let repaired = differs.map(|file| format!("the SDK in {} was not as it came ({file}), and was unpacked again", root.display()));
        Ok(Self { root, repaired })
    }

    /// The folder of the SDK of a language.
    #[must_use]
    pub fn of(&self, language: super::Language) -> PathBuf {
        let below = match language {
            super::Language::Rust => "plugin-sdk",
            super::Language::JavaScript => "plugin-sdk/js",
            super::Language::Python => "plugin-sdk/python",
        };
        self.root.join(below)
    }
}

/// The lock of a new plugin in Rust.
pub(super) fn lock_for(name: &str, version: &str) -> Option<String> {
    lockfile::subset(LOCK, name, version, "palisade-sdk")
}

/// The first file of an unpacked folder that is not as it came, too much or missing.
fn difference(root: &Path) -> Option<String> {
    let mut missing: BTreeMap<&str, &[u8]> = carried().clone();
    let mut folders = vec![String::new()];
    let mut left = ENTRIES;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { return Some(folder) };
        for entry in entries {
            let (Ok(entry), Some(rest)) = (entry, left.checked_sub(1)) else { return Some(folder) };
            left = rest;
            let name = entry.file_name().to_string_lossy().into_owned();
            let below = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if INSTALLED.contains(&below.as_str()) || LEFT.contains(&name.as_str()) || name.ends_with(".egg-info") {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(below),
                Ok(kind) if kind.is_file() && missing.remove(below.as_str()).is_some_and(|bytes| is(&entry.path(), bytes)) => {}
                _ => return Some(below),
            }
        }
    }
    missing.keys().next().map(|below| (*below).to_owned())
}

fn is(path: &Path, bytes: &[u8]) -> bool {
    let same_size = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.len() == bytes.len() as u64);
    same_size && std::fs::read(path).is_ok_and(|found| found == bytes)
}

fn unpack(all: &Path, root: &Path) -> std::io::Result<()> {
    // Whoever holds the lock is the only one: what is unfinished was left by a process that was killed.
    for entry in std::fs::read_dir(all)?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        std::fs::remove_dir_all(entry.path())?;
    }
    let new = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(all)?;
    for (below, bytes) in carried() {
        use std::io::Write;
        let path = new.path().join(below);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(all))?;
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(bytes)?;
    }
    if std::fs::symlink_metadata(root).is_ok() {
        for below in INSTALLED {
            // What was installed is there to be used again; what is not there has nothing to move.
            let _ = std::fs::rename(root.join(below), new.path().join(below));
        }
        let old = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(all)?;
        std::fs::rename(root, old.path().join("old"))?;
    }
    std::fs::rename(new.path(), root)?;
    // It has another name now, so there is nothing to take away.
    let _ = new.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().canonicalize().unwrap()).unwrap();
        (temp, home)
    }

    #[test]
    fn many_that_unpack_at_once_find_one_whole_sdk_and_leave_nothing_beside_it() {
        let (_temp, home) = home();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| Sdk::unpacked(&home).unwrap())).collect();
            for one in all {
                let sdk = one.join().unwrap();
                assert_eq!((difference(&sdk.root), sdk.repaired), (None, None));
            }
        });
        let mut names: Vec<String> =
            std::fs::read_dir(home.data.join("sdk")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [version(), "lock".to_owned()]);
    }

    #[test]
    fn an_sdk_that_is_not_as_it_came_is_unpacked_again_and_keeps_what_was_installed() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 6] = [
            ("wit/palisade.wit", |root| std::fs::remove_file(root.join("wit/palisade.wit")).unwrap()),
            ("plugin-sdk/src/lib.rs", |root| std::fs::write(root.join("plugin-sdk/src/lib.rs"), "").unwrap()),
            ("plugin-sdk/build.rs", |root| std::fs::write(root.join("plugin-sdk/build.rs"), "fn main() {}").unwrap()),
            ("plugin-sdk/js/index.js", |root| {
                std::fs::remove_file(root.join("plugin-sdk/js/index.js")).unwrap();
                std::os::unix::fs::symlink("build.js", root.join("plugin-sdk/js/index.js")).unwrap();
            }),
            ("wit", |root| {
                std::fs::remove_dir_all(root.join("wit")).unwrap();
                std::fs::write(root.join("wit"), "").unwrap();
            }),
            ("", |root| {
                std::fs::remove_dir_all(root).unwrap();
                std::fs::write(root, "").unwrap();
            }),
        ];
        for (file, damage) in damages {
            let (_temp, home) = home();
            let sdk = Sdk::unpacked(&home).unwrap();
            let installed = sdk.root.join("plugin-sdk/js/node_modules/esbuild");
            std::fs::create_dir_all(&installed).unwrap();
            std::fs::create_dir_all(sdk.root.join("plugin-sdk/python/palisade_sdk/__pycache__")).unwrap();
            assert_eq!(Sdk::unpacked(&home).unwrap().repaired, None);
            damage(&sdk.root);
            let again = Sdk::unpacked(&home).unwrap();
            assert!(again.repaired.is_some_and(|said| said.contains(&format!("({file})"))), "{file}");
            assert_eq!((again.root, difference(&sdk.root)), (sdk.root, None));
            assert_eq!(installed.exists(), !file.is_empty());
        }
    }

    #[test]
    fn what_a_killed_process_left_half_unpacked_is_taken_away() {
        let (_temp, home) = home();
        let half = home.data.join("sdk/.new-dead/plugin-sdk");
        make_folder(&half).unwrap();
        Sdk::unpacked(&home).unwrap();
        assert!(!half.exists());
    }

    #[test]
    fn the_carried_workspace_is_ours_with_two_members_and_what_they_inherit() {
        let workspace: Table = workspace().unwrap().parse().unwrap();
        let workspace = workspace["workspace"].as_table().unwrap();
        let dependencies: Vec<&String> = workspace["dependencies"].as_table().unwrap().keys().collect();
        assert!(
            dependencies.iter().any(|name| *name == "wit-bindgen") && !dependencies.iter().any(|name| *name == "wasmtime"),
            "{dependencies:?}"
        );
        assert_eq!(workspace["package"]["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(workspace["dependencies"]["palisade-sdk-macros"]["path"].as_str(), Some("plugin-sdk/macros"));
    }
}
