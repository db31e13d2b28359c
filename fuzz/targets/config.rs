//! The user's config, a workspace's file and a manifest, from bytes to settings.
//!
//! The input is one file, read as each of the three; or a user's config and a workspace's file, with a line `---` between.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::config::{Home, Options, Scope, Settings};
use palisade::plugins::Manifest;
use palisade::policy::{Capability, FolderPath, Limit, Limits};
use palisade::{Error, Kind};
use palisade_fuzz::assert_clean;
use std::path::PathBuf;
use std::sync::LazyLock;

struct Place {
    /// Removes all of it at the end.
    _temp: tempfile::TempDir,
    home: Home,
    workspace: PathBuf,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let (home, workspace) = (root.join("home"), root.join("workspace"));
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir_all(workspace.join("docs")).unwrap();
    Place { _temp: temp, home: Home::at(&home).unwrap(), workspace }
});

fuzz_target!(|bytes: &[u8]| {
    const BETWEEN: &[u8] = b"\n---\n";
    match bytes.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        Some(at) => both(&bytes[..at], &bytes[at + BETWEEN.len()..]),
        None => {
            manifest(bytes);
            both(bytes, b"");
            both(b"", bytes);
        }
    }
});

fn settings(user: &[u8], workspace: &[u8], trust_workspace: bool) -> Result<Settings, Error> {
    std::fs::write(&PLACE.home.config, user).unwrap();
    std::fs::write(PLACE.workspace.join("palisade.toml"), workspace).unwrap();
    let options = Options { workspace: Some(PLACE.workspace.clone()), trust_workspace, ..Options::default() };
    Settings::resolve(&options, PLACE.home.clone()).inspect_err(|error| {
        assert_eq!(error.kind, Kind::Config, "{error}");
        assert_clean(error);
    })
}

/// A workspace's file adds denies, lowers limits and, with trust, names sources; all else is as without it.
fn both(user: &[u8], workspace: &[u8]) {
    for trusted in [false, true] {
        let Ok(with) = settings(user, workspace, trusted) else { continue };
        let without = settings(user, b"", trusted).unwrap();
        assert_eq!((&with.profile.name, &with.profile.subsystems), (&without.profile.name, &without.profile.subsystems));
        assert_eq!(with.grants, without.grants);
        assert_eq!(with.session_dir, without.session_dir);
        assert!(with.deny.len() >= without.deny.len());
        for limit in Limit::ALL {
            assert!(with.limits.get(*limit) <= without.limits.get(*limit), "{} is raised", limit.key());
        }
        let own = |settings: &Settings| {
            let own = settings.plugin_dirs.iter().chain(&settings.skill_dirs).filter(|dir| dir.scope != Scope::Workspace);
            own.map(|dir| (dir.folder.clone(), dir.single)).collect::<Vec<_>>()
        };
        assert_eq!(own(&with), own(&without));
        assert!(trusted || with.plugin_dirs.iter().chain(&with.skill_dirs).all(|dir| dir.scope != Scope::Workspace));
        if user.is_empty() {
            assert!(with.grants.is_empty() && with.profile.name == "untrusted");
        }
        for warning in &with.warnings {
            assert!(!warning.chars().any(char::is_control), "a control character in {warning:?}");
        }
    }
}

fn manifest(bytes: &[u8]) {
    match Manifest::parse("a/plugin.toml", bytes) {
        Ok(manifest) => {
            let relative = |path: &str| !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            assert!(relative(&manifest.component), "{:?}", manifest.component);
            let host = Limits::default();
            let limits = manifest.limits(&host);
            assert!(Limit::ALL.iter().all(|limit| limits.get(*limit) <= host.get(*limit)));
            for request in &manifest.requests {
                if let Capability::Fs(_, FolderPath::Workspace(path)) = &request.capability {
                    assert!(path.is_empty() || relative(path), "{path:?}");
                }
            }
        }
        Err(error) => {
            assert_eq!(error.kind, Kind::Manifest);
            assert_clean(&error);
            assert!(error.message.starts_with("a/plugin.toml:"), "{error}");
        }
    }
}
