//! Where each plugin keeps what it stores.
//!
//! The rule it keeps: a store belongs to who named the plugin, where, and under which name; one from a workspace or a flag
//! never gets that of one the user added, whatever it calls itself. Of an added plugin it outlives updates and ends with it.

use super::{Home, Scope, hex};
use crate::error::Error;
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file of a plugin's store, which need not be there.
#[must_use]
pub fn store_file(home: &Home, scope: Scope, folder: &Path, name: &str) -> PathBuf {
    let folder = folder.as_os_str().as_bytes();
    let (kind, folder): (&str, &[u8]) = match scope {
        Scope::Added => ("added", b""),
        Scope::User => ("user", folder),
        Scope::Flag => ("flag", folder),
        Scope::Workspace => ("workspace", folder),
    };
    // A name and a kind hold no NUL, nor does a path.
    let owner = [kind.as_bytes(), folder, name.as_bytes()].join(&0);
    home.data.join("stores").join(format!("{}.redb", hex(&Sha256::digest(owner))))
}

/// Removes what an added plugin kept; whether there was anything.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn remove_store(home: &Home, name: &str) -> Result<bool, Error> {
    let path = store_file(home, Scope::Added, Path::new(""), name);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("the store {}", path.display()), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_of_one_name_in_one_place_from_one_hand() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().canonicalize().unwrap()).unwrap();
        let scopes = [Scope::Added, Scope::User, Scope::Flag, Scope::Workspace];
        let of = |scope, folder: &str, name| store_file(&home, scope, Path::new(folder), name);
        let mut all: Vec<PathBuf> = scopes.iter().flat_map(|scope| [of(*scope, "/a", "n"), of(*scope, "/a", "m")]).collect();
        all.extend([Scope::User, Scope::Flag, Scope::Workspace].map(|scope| of(scope, "/b", "n")));
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(of(Scope::Added, "/a", "n"), of(Scope::Added, "/b", "n"));
    }
}
