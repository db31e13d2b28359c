//! The folder a build fills: `dist`, with the manifest and the component, which `--plugin` takes.
//!
//! The rule it keeps: both are exchanged in one step, so whoever opens the folder finds the two of one build; a build that fails
//! leaves the last one as it is; nothing but what a build put there is ever replaced.
//!
//! Where the rule ends: a file system without an exchange of two names shows no folder for a moment. Whoever holds the folder
//! of the build before finds it empty, and looks again.

use crate::error::{Error, Kind};
use crate::plugins::{FILE, Manifest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Its name.
pub(super) const DIST: &str = "dist";
/// Prefix of what is still being built; hidden, so that it is no source, and no plugin of a folder of plugins.
const UNFINISHED: &str = ".palisade-build-";
/// Most entries of an earlier build.
const ENTRIES: usize = 64;
/// Largest manifest of an earlier build, in bytes.
const MANIFEST: u64 = 1024 * 1024;

/// A build that is being made.
#[derive(Debug)]
pub(super) struct Stage {
    temp: TempDir,
    place: PathBuf,
    component: PathBuf,
}

impl Stage {
    /// Begins one for the plugin in `folder`, whose manifest names `component`.
    pub(super) fn begin(folder: &Path, manifest: &[u8], component: &str) -> Result<Self, Error> {
        let place = folder.join(DIST);
        is_ours(&place)?;
        crate::own::sweep(folder, UNFINISHED);
        let io = |e: std::io::Error| Error::io(format!("the folder {}", folder.display()), &e);
        let temp = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder).map_err(io)?;
        let below = temp.path().join(DIST);
        let stage = Self { place, component: below.join(component), temp };
        // The temporary folder is for its owner alone; what is in it, for whom the author's files are.
        std::fs::create_dir_all(stage.component.parent().unwrap_or(&below)).map_err(io)?;
        std::fs::write(below.join(FILE), manifest).map_err(io)?;
        Ok(stage)
    }

    /// Where the component goes.
    pub(super) fn component(&self) -> &Path {
        &self.component
    }

    /// Puts it in place, and gives that back with the size of the component.
    pub(super) fn finish(self) -> Result<(PathBuf, u64), Error> {
        let size = std::fs::metadata(&self.component).map_err(|e| Error::io("the built component", &e))?.len();
        // Asked again: the compiler took its time.
        is_ours(&self.place)?;
        let (new, place) = (self.temp.path().join(DIST), &self.place);
        let put = match renameat_with(CWD, &new, CWD, place, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => std::fs::rename(&new, place),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                aside(place, &self.temp.path().join("old")).and_then(|()| std::fs::rename(&new, place))
            }
            done => done.map_err(Into::into),
        };
        put.map_err(|e| Error::io(format!("{}", place.display()), &e))?;
        Ok((self.place, size))
    }
}

fn aside(place: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(place, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Whether there is nothing there, or only what a build left.
fn is_ours(place: &Path) -> Result<(), Error> {
    let refuse = |what: String| {
        Err(Error::new(Kind::Usage, format!("{} {what}, and a build replaces the whole folder", place.display()))
            .hint("move it away, or give it another name"))
    };
    let Ok(meta) = std::fs::symlink_metadata(place) else { return Ok(()) };
    if !meta.is_dir() {
        return refuse("is no folder".to_owned());
    }
    let opened = crate::files::Folder::open(place).map_err(|e| Error::new(Kind::Io, format!("{}: {e}", place.display())))?;
    let manifest = opened.read(FILE, MANIFEST).ok().and_then(|bytes| Manifest::parse(FILE, &bytes).ok());
    let component = manifest.map(|manifest| manifest.component);
    let (mut folders, mut left) = (vec![String::new()], ENTRIES);
    while let Some(folder) = folders.pop() {
        let io = |e: std::io::Error| Error::io(format!("{}", place.join(&folder).display()), &e);
        for entry in std::fs::read_dir(place.join(&folder)).map_err(io)? {
            let entry = entry.map_err(io)?;
            let text = entry.file_name().into_string();
            let named = text.is_ok();
            let name = text.unwrap_or_else(|name| name.to_string_lossy().into_owned());
            let below = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            left = if named { left.saturating_sub(1) } else { 0 };
            let own = named && (below == FILE || component.as_ref() == Some(&below));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && left > 0 => folders.push(below),
                Ok(kind) if kind.is_file() && own && component.is_some() => {}
                _ => return refuse(format!("holds {}, which no build put there", crate::clean::line(&below, crate::clean::NAME))),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(component: &str) -> String {
        format!("[plugin]\nname = \"a\"\nversion = \"0.1.0\"\ncomponent = \"{component}\"\n")
    }

    fn put(folder: &Path, component: &str, bytes: &str) -> Result<(PathBuf, u64), Error> {
        let stage = Stage::begin(folder, manifest(component).as_bytes(), component)?;
        std::fs::write(stage.component(), bytes).unwrap();
        stage.finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names = crate::files::Folder::open(folder).unwrap().names().unwrap();
        names.sort();
        names
    }

    #[test]
    fn whoever_opens_the_folder_finds_manifest_and_component_of_one_build() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path().join(DIST);
        put(temp.path(), "0.wasm", "0.wasm").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = std::collections::BTreeSet::new();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let folder = crate::files::Folder::open(&place).expect("it is always there");
                    let manifest = folder.read(FILE, 999).ok().and_then(|bytes| Manifest::parse(FILE, &bytes).ok());
                    // A folder that was exchanged meanwhile is being taken away.
                    let Some(manifest) = manifest else { continue };
                    let Ok(component) = folder.read(&manifest.component, 999) else { continue };
                    assert_eq!(component, manifest.component.as_bytes());
                    seen.insert(component);
                }
                seen
            });
            for round in 1..500 {
                let name = format!("{round}.wasm");
                assert_eq!(put(temp.path(), &name, &name).unwrap(), (place.clone(), name.len() as u64));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(reader.join().unwrap().len() > 1);
        });
        assert_eq!(names(temp.path()), [DIST]);
        assert_eq!(names(&place), ["499.wasm", FILE]);
    }

    #[test]
    fn a_build_that_is_given_up_leaves_the_last_one() {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), "a.wasm", "good").unwrap();
        let stage = Stage::begin(temp.path(), manifest("b.wasm").as_bytes(), "b.wasm").unwrap();
        std::fs::write(stage.component(), "half").unwrap();
        drop(stage);
        assert_eq!(Stage::begin(temp.path(), b"", "c.wasm").unwrap().finish().unwrap_err().kind, Kind::Io);
        assert_eq!(names(temp.path()), [DIST]);
        assert_eq!(std::fs::read(temp.path().join("dist/a.wasm")).unwrap(), b"good");
    }

    #[test]
    fn a_folder_that_holds_anything_else_is_not_replaced() {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), "below/a.wasm", "good").unwrap();
        put(temp.path(), "a.wasm", "better").unwrap();
        let dist = temp.path().join(DIST);
        for foreign in ["bundle.js", "b.wasm", "below/x"] {
            let path = dist.join(foreign);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "mine").unwrap();
            let error = put(temp.path(), "a.wasm", "worse").unwrap_err();
            assert!(error.kind == Kind::Usage && error.message.contains(foreign), "{error}");
            std::fs::remove_file(path).unwrap();
        }
        let odd = dist.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(put(temp.path(), "a.wasm", "worse").unwrap_err().kind, Kind::Usage, "a name that is no text");
        std::fs::remove_dir(&odd).unwrap();
        std::fs::rename(&dist, temp.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", &dist).unwrap();
        assert_eq!(put(temp.path(), "a.wasm", "worse").unwrap_err().kind, Kind::Usage);
        assert_eq!(std::fs::read(temp.path().join("elsewhere/a.wasm")).unwrap(), b"better");
    }
}
