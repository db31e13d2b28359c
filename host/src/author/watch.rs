//! Whether a plugin's sources changed.
//!
//! The rule it keeps: what a build or a package manager writes is no source, so a build does not start the next.
//!
//! Where the rule ends: sources outside of the folder, as a crate beside it, are not watched.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often sources are looked at.
pub const WATCH: Duration = Duration::from_secs(1);
/// Most entries that are looked at, and the deepest folder.
const ENTRIES: usize = 10_000;
const DEPTH: usize = 16;
/// What is made, not written; and what is hidden.
const MADE: [&str; 6] = ["target", "node_modules", "dist", "__pycache__", "palisade_sdk", "Cargo.lock"];

/// What the sources of a folder looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources(u64);

impl Sources {
    /// As they are now.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let mut code = DefaultHasher::new();
        look(folder, DEPTH, &mut ENTRIES.clone(), &mut code);
        Self(code.finish())
    }
}

fn look(folder: &Path, depth: usize, left: &mut usize, code: &mut DefaultHasher) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(*left);
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    *left -= names.len();
    names.sort();
    for name in names {
        let text = name.to_string_lossy();
        if text.starts_with('.') || MADE.contains(&text.as_ref()) {
            continue;
        }
        let path = folder.join(&name);
        path.hash(code);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                if depth > 0 {
                    look(&path, depth - 1, left, code);
                }
            }
            Ok(meta) => (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()).hash(code),
            Err(_) => 0.hash(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_changes_comes_or_goes_is_seen_and_what_is_made_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let write = |below: &str, text: &str| {
            let path = temp.path().join(below);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "a");
        write("tests/test_plugin.py", "");
        let mut seen = Sources::of(temp.path());
        for made in ["target/debug/x", "dist/plugin.toml", "node_modules/a/b", ".git/HEAD", "tests/__pycache__/b.pyc", "Cargo.lock"] {
            write(made, "1");
        }
        write("dist/plugin.toml", "22");
        assert_eq!(Sources::of(temp.path()), seen);
        let changes: [&dyn Fn(); 4] = [
            &|| write("src/lib.rs", "ab"),
            &|| write("src/deep/er/mod.rs", ""),
            &|| std::fs::remove_file(temp.path().join("src/deep/er/mod.rs")).unwrap(),
            &|| write("plugin.toml", ""),
        ];
        for change in changes {
            change();
            let now = Sources::of(temp.path());
            assert_ne!(now, seen);
            seen = now;
        }
    }
}
