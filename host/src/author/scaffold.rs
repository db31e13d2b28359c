//! A new plugin's folder: it builds, and passes its own test, as it is.
//!
//! The rule it keeps: nothing that is there is touched, and a folder that is new is there whole or not at all. What it names of
//! this machine is the unpacked SDK alone.

use super::Language;
use super::sdk::{Sdk, lock_for};
use crate::clean;
use crate::error::{Error, Kind};
use palisade_policy::{SourceName, quoted, shell_like};
use std::path::{Path, PathBuf};

/// Prefix of a folder that is still being filled.
const UNFINISHED: &str = ".palisade-new-";
/// The tool that each of them has.
const TOOL: &str = "greet";
/// Version of a new plugin.
const VERSION: &str = "0.1.0";

macro_rules! template {
    ($($path:literal),*) => { [$(($path, include_str!(concat!("templates/", $path)))),*] };
}
/// What all have.
const COMMON: [(&str, &str); 1] = template!["plugin.toml"];
const RUST: [(&str, &str); 4] = template!["rust/Cargo.toml", "rust/src/lib.rs", "rust/README.md", "rust/gitignore"];
const JAVASCRIPT: [(&str, &str); 5] = template!["js/package.json", "js/plugin.js", "js/plugin.test.js", "js/README.md", "js/gitignore"];
const PYTHON: [(&str, &str); 4] = template!["python/plugin.py", "python/test_plugin.py", "python/README.md", "python/gitignore"];

/// A plugin that was made.
#[derive(Debug)]
pub struct Scaffold {
    /// Its folder.
    pub folder: PathBuf,
    /// What is in it.
    pub files: Vec<String>,
}

/// Makes a plugin's folder.
///
/// # Errors
/// [`Kind::Usage`] where the name is none or the folder is not empty, [`Kind::Io`].
pub fn scaffold(name: &str, language: Language, folder: &Path, sdk: &Sdk) -> Result<Scaffold, Error> {
    let name = checked(name, language)?;
    let files = contents(&name, language, sdk)?;
    let io = |e: std::io::Error| Error::io(format!("the folder {}", folder.display()), &e);
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            if entries.flatten().any(|entry| entry.file_name() != ".git") {
                return Err(Error::new(Kind::Usage, format!("the folder {} is not empty", folder.display()))
                    .hint(format!("name another: palisade plugin new {name} --lang {} DIR", language.name())));
            }
            // Somebody may stand in it, so it is filled where it is.
            fill(folder, &files, language, sdk)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::create_dir_all(above).map_err(io)?;
            let temp = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(above).map_err(io)?;
            // The temporary folder is for its owner alone; what is in it, for whom the author's files are.
            let new = temp.path().join(&name);
            std::fs::create_dir(&new).map_err(io)?;
            fill(&new, &files, language, sdk)?;
            std::fs::rename(&new, folder).map_err(io)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::new(Kind::Usage, format!("{} is no folder", folder.display())).hint("name another as DIR"));
        }
        Err(error) => return Err(io(error)),
    }
    let folder = std::fs::canonicalize(folder).map_err(io)?;
    Ok(Scaffold { folder, files: files.into_iter().map(|(name, _)| name).collect() })
}

/// The name, where a plugin can have it and be called.
fn checked(name: &str, language: Language) -> Result<String, Error> {
    let shown = clean::line(name, clean::NAME);
    if let Err(error) = SourceName::parse(name) {
        let refused = Error::new(Kind::Usage, format!("`{shown}` is no name of a plugin: {error}"));
        let parts = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
        let near = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        return Err(match SourceName::parse(&near) {
            Ok(near) => refused.hint(format!("palisade plugin new {} --lang {}", near.as_str(), language.name())),
            Err(_) => refused.hint("a name is like text-stats: letters, digits and single hyphens, a letter first, at most 64 bytes"),
        });
    }
    if let Some(part) = shell_like(&format!("{name}/{TOOL}")) {
        let what = format!("`{shown}` has the part `{part}`, and the shell gate denies every tool with it");
        return Err(Error::new(Kind::Usage, what).hint("choose a name without the name of a shell"));
    }
    if language == Language::Rust && ["palisade-sdk", "palisade-sdk-macros"].contains(&name) {
        return Err(Error::new(Kind::Usage, format!("`{shown}` is the name of a crate of the SDK")).hint("choose another name"));
    }
    Ok(name.to_owned())
}

/// Every file with its text.
fn contents(name: &str, language: Language, sdk: &Sdk) -> Result<Vec<(String, String)>, Error> {
    let own: &[(&str, &str)] = match language {
        Language::Rust => &RUST,
        Language::JavaScript => &JAVASCRIPT,
        Language::Python => &PYTHON,
    };
    let path = sdk.of(language).display().to_string();
    let json = serde_json::to_string(&format!("file:{path}")).map_err(|e| Error::internal("a path as JSON", &e))?;
    let written = |text: &str| {
        // The name last: no path is searched for it.
        let text = text.replace("{{sdk.toml}}", &toml::Value::from(path.as_str()).to_string()).replace("{{sdk.json}}", &json);
        text.replace("{{name}}", name).replace("{{version}}", VERSION)
    };
    let mut files: Vec<(String, String)> = COMMON
        .iter()
        .chain(own)
        .map(|(below, text)| {
            let below = below.strip_prefix(language.name()).map_or(*below, |below| below.trim_start_matches('/'));
            (if below == "gitignore" { ".gitignore".to_owned() } else { below.to_owned() }, written(text))
        })
        .collect();
    if language == Language::Rust {
        let lock = lock_for(name, VERSION).ok_or_else(|| Error::new(Kind::Internal, "our own lock file names no SDK"))?;
        files.push(("Cargo.lock".to_owned(), lock));
    }
    files.sort();
    Ok(files)
}

fn fill(folder: &Path, files: &[(String, String)], language: Language, sdk: &Sdk) -> Result<(), Error> {
    let write = |below: &str, text: &str| {
        let path = folder.join(below);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, text)
    };
    for (below, text) in files {
        write(below, text).map_err(|e| Error::io(format!("{}", folder.join(below).display()), &e))?;
    }
    // As the package managers of these languages would: a link, so that tests and editors find the SDK before anything is installed.
    match language {
        Language::Rust => Ok(()),
        Language::JavaScript => link(&sdk.of(language), &folder.join("node_modules/palisade-sdk")),
        Language::Python => link(&sdk.of(language).join("palisade_sdk"), &folder.join("palisade_sdk")),
    }
}

/// Makes a link, in the place of one that leads nowhere.
pub(super) fn link(to: &Path, at: &Path) -> Result<(), Error> {
    let io = |e: std::io::Error| Error::io(format!("the link {}", at.display()), &e);
    std::fs::create_dir_all(at.parent().unwrap_or(at)).map_err(io)?;
    if std::fs::symlink_metadata(at).is_ok_and(|meta| meta.is_symlink()) && !at.exists() {
        std::fs::remove_file(at).map_err(io)?;
    }
    std::os::unix::fs::symlink(to, at).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::new(Kind::Usage, format!("{} is not the SDK", at.display())).hint(format!(
            "move it away; what belongs there is: ln -s {} {}",
            quoted(&to.display().to_string()),
            quoted(&at.display().to_string())
        )),
        _ => io(error),
    })
}
