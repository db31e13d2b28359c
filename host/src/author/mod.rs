//! What a plugin's author uses: the sources of the SDKs, a new plugin's folder, and building it.
//!
//! The rule it keeps: it works offline and from this binary alone; what it writes is there whole or not at all; what is missing
//! on the machine is said in one sentence, with the command that brings it; and no compiler outlives the command that started it.
//!
//! Where the rule ends: a compiler runs outside of any fence, as the author who started it, on the author's own sources.
//!
//! Never here: loading a plugin, a decision, a grant. What is built is loaded as anybody's plugin is.

mod build;
mod dist;
mod lockfile;
mod process;
mod scaffold;
mod sdk;
mod toolchain;
mod watch;

pub use build::{Built, Order, build};
pub use process::Compilers;
pub use scaffold::{Scaffold, scaffold};
pub use sdk::{Sdk, carried};
pub use watch::{Sources, WATCH};

use crate::error::{Error, Kind};
use std::path::Path;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust.
    Rust,
    /// JavaScript.
    JavaScript,
    /// Python.
    Python,
}

impl Language {
    /// What the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
            Self::Python => "python",
        }
    }

    /// What a folder is written in, by what lies in it.
    ///
    /// # Errors
    /// [`Kind::Usage`] where that is not clear.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let has = |name: &str| folder.join(name).is_file();
        let python = has("pyproject.toml") || !matches!(python_source(folder), Ok(None));
        let found = [(has("Cargo.toml"), Self::Rust), (has("package.json"), Self::JavaScript), (python, Self::Python)];
        let found: Vec<Self> = found.into_iter().filter_map(|(there, language)| there.then_some(language)).collect();
        let shown = folder.display();
        match found[..] {
            [one] => Ok(one),
            [] => Err(Error::new(
                Kind::Usage,
                format!("{shown} holds no Cargo.toml, no package.json, no pyproject.toml and no .py file that imports palisade_sdk"),
            )
            .hint("palisade plugin new NAME --lang rust|js|python makes a folder that builds")),
            _ => {
                let names: Vec<&str> = found.iter().map(|language| language.name()).collect();
                Err(Error::new(Kind::Usage, format!("{shown} could be a plugin in {}", names.join(" or ")))
                    .hint(format!("say which: --lang {}", names.join(" or --lang "))))
            }
        }
    }
}

/// Most files of a folder that are looked through, and the largest of them, in bytes.
const PYTHON_FILES: usize = 256;
const PYTHON_MAX: u64 = 4 * 1024 * 1024;

/// The module that makes the tools: `plugin.py`, or the only one that uses the SDK and exports.
pub(crate) fn python_source(folder: &Path) -> Result<Option<String>, Error> {
    let opened = crate::files::Folder::open(folder).map_err(|e| Error::new(Kind::NotFound, format!("{}: {e}", folder.display())))?;
    let names = opened.names().map_err(|e| Error::new(Kind::Io, format!("{}: {e}", folder.display())))?;
    let exports = |name: &String| {
        opened.read(name, PYTHON_MAX).is_ok_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            text.contains("palisade_sdk") && text.lines().any(|line| line.starts_with("Tools"))
        })
    };
    let mut found: Vec<String> = names.into_iter().filter(|name| name.ends_with(".py")).take(PYTHON_FILES).filter(exports).collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ if found.iter().any(|name| name == "plugin.py") => Ok(Some("plugin.py".to_owned())),
        _ => Err(Error::new(Kind::Usage, format!("{} has `Tools` in more than one module: {}", folder.display(), found.join(", ")))
            .hint("call the one that is the plugin plugin.py")),
    }
}
