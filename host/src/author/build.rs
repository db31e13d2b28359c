//! One build: the language of a folder, its compiler, and what comes out into `dist`.
//!
//! The rule it keeps: what to build, and where to, is clear before anything is looked for or runs; `dist` changes last.
//!
//! Where the rule ends: cargo puts the components of two packages of one name at one place where they share a target folder, so two
//! that are built in one moment may be mistaken for each other there.

use super::dist::Stage;
use super::process::Compilers;
use super::sdk::Sdk;
use super::toolchain::{self, TARGET, Toolchain};
use super::{Language, python_source};
use crate::clean;
use crate::config::Home;
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::plugins::{FILE, Manifest};
use palisade_policy::{Capability, quoted};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Largest manifest, of whatever kind, in bytes.
const MAX: u64 = 1024 * 1024;
/// What one line of cargo holds of a component.
const ARTIFACT: &str = ".wasm\"";

/// What to build, and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// The plugin's folder.
    pub folder: PathBuf,
    /// Its language, where a person said it.
    pub language: Option<Language>,
    /// Whether what is missing is installed.
    pub install: bool,
    /// JavaScript and Python: without clock, random numbers and files.
    pub pure: bool,
    /// Whether the compiler says less.
    pub quiet: bool,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The folder that `--plugin` takes.
    pub folder: PathBuf,
    /// Size of the component in it.
    pub bytes: u64,
    /// What its author should know.
    pub notes: Vec<String>,
}

/// Builds a plugin.
///
/// # Errors
/// [`Kind::NotFound`] where folder, manifest or toolchain are missing, [`Kind::Usage`] where it is not clear what to build or the
/// place is taken, [`Kind::Manifest`], [`Kind::Component`] where it does not compile, [`Kind::Cancelled`], [`Kind::Io`].
pub async fn build(order: &Order, home: &Home, compilers: &mut Compilers) -> Result<Built, Error> {
    let opened = Folder::open(&order.folder).map_err(|e| Error::new(Kind::NotFound, format!("{}: {e}", order.folder.display())))?;
    let folder = opened.path();
    let bytes = opened.read(FILE, MAX).map_err(|error| match error {
        ReadError::Missing => Error::new(Kind::NotFound, format!("{} has no {FILE}", folder.display()))
            .hint("palisade plugin new NAME --lang rust|js|python makes a folder that builds"),
        other => Error::new(Kind::Manifest, format!("{}: {other}", folder.join(FILE).display())),
    })?;
    let manifest = Manifest::parse(&folder.join(FILE).display().to_string(), &bytes)?;
    let language = order.language.map_or_else(|| Language::of(folder), Ok)?;
    if order.pure && language == Language::Rust {
        let what = "--pure is for JavaScript and Python: a plugin in Rust imports what it uses";
        return Err(Error::new(Kind::Usage, what).hint("leave it out"));
    }
    let source = match language {
        Language::Rust => String::new(),
        Language::JavaScript => js_source(&opened)?,
        Language::Python => python_source(folder)?.ok_or_else(|| {
            Error::new(Kind::Usage, format!("no .py file in {} has `Tools = palisade_sdk.export(…)`", folder.display()))
                .hint("plugin.py of `palisade plugin new` shows how it is written")
        })?,
    };
    let stage = Stage::begin(folder, &bytes, &manifest.component)?;
    let sdk = Sdk::unpacked(home)?;
    let out = stage.component();
    match toolchain::find(language, folder, &sdk, order.install, compilers).await? {
        Toolchain::Cargo => {
            sdk_is_there(&opened, &sdk)?;
            let built = cargo(folder, order.quiet, compilers).await?;
            std::fs::copy(&built, out).map_err(|e| Error::io(format!("{}", built.display()), &e))?;
        }
        Toolchain::Node(used) => {
            let mut command = Command::new("node");
            command.arg(used.join("build.js")).arg(source).arg("-o").arg(out).current_dir(folder);
            let net = manifest.requests.iter().any(|request| matches!(request.capability, Capability::Net(_)));
            command.args(net.then_some("--http")).args(order.pure.then_some("--pure"));
            succeeded("the compiler of the JavaScript SDK", compilers.run(command).await?)?;
        }
        Toolchain::Python(python) => {
            let mut command = Command::new(python);
            command.args(["-m", "palisade_sdk", &source, "-o"]).arg(out).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
            command.args(order.pure.then_some("--pure"));
            succeeded("the compiler of the Python SDK", compilers.run(command).await?)?;
        }
    }
    let (folder, bytes) = stage.finish()?;
    Ok(Built { folder, bytes, notes: sdk.repaired.into_iter().collect() })
}

fn succeeded(what: &str, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Component, format!("{what} made no component ({status}); what is wrong stands above")))
}

/// One line of what cargo says with `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// The component of the package in a folder. Where cargo puts it is what cargo says, for a config or a variable may move it.
async fn cargo(folder: &Path, quiet: bool, compilers: &mut Compilers) -> Result<PathBuf, Error> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]).current_dir(folder);
    command.args(quiet.then_some("--quiet"));
    let ran = compilers.lines(command, ARTIFACT).await;
    let (status, lines) = ran.map_err(|error| match error.kind {
        Kind::NotFound => {
            let (what, remedy) = toolchain::no_rust();
            Error::new(Kind::NotFound, what).hint(remedy)
        }
        _ => error,
    })?;
    succeeded("cargo", status)?;
    component_of(&folder.join("Cargo.toml"), &lines).ok_or_else(|| {
        Error::new(Kind::Component, format!("the package in {} made no component", folder.display()))
            .hint("its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]")
    })
}

fn component_of(manifest: &Path, lines: &[String]) -> Option<PathBuf> {
    lines.iter().rev().find_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        let library = message.target.is_some_and(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
        let ours = library && message.manifest_path.as_deref() == Some(manifest);
        message.filenames.into_iter().find(|file| ours && file.extension().is_some_and(|end| end == "wasm"))
    })
}

/// A plugin names the SDK that was there when it was made; its folder may be gone, or be another machine's.
fn sdk_is_there(folder: &Folder, sdk: &Sdk) -> Result<(), Error> {
    let named = folder.read("Cargo.toml", MAX).ok().and_then(|bytes| {
        let manifest: toml::Table = String::from_utf8(bytes).ok()?.parse().ok()?;
        Some(folder.path().join(manifest.get("dependencies")?.get("palisade-sdk")?.get("path")?.as_str()?))
    });
    match named {
        Some(path) if !path.join("Cargo.toml").exists() => {
            let what = format!("Cargo.toml names the SDK in {}, and it is not there", path.display());
            let line = toml::Value::from(sdk.of(Language::Rust).display().to_string());
            Err(Error::new(Kind::NotFound, clean::line(&what, clean::TEXT)).hint(format!("write: palisade-sdk = {{ path = {line} }}")))
        }
        _ => Ok(()),
    }
}

/// The module that exports `tools`: `main` of the package, or `plugin.js`.
fn js_source(folder: &Folder) -> Result<String, Error> {
    let named = match folder.read("package.json", MAX) {
        Ok(bytes) => {
            let package: serde_json::Value = serde_json::from_slice(&bytes)
                .map_err(|e| Error::new(Kind::Manifest, format!("{}: {e}", folder.path().join("package.json").display())))?;
            package.get("main").and_then(serde_json::Value::as_str).map(str::to_owned)
        }
        Err(_) => None,
    };
    let there = |name: &String| folder.path().join(name).is_file();
    if let Some(found) = named.clone().into_iter().chain(["plugin.js".to_owned(), "src/plugin.js".to_owned()]).find(there) {
        // One that began with a dash would be an option.
        return Ok(format!("./{found}"));
    }
    let named = named.unwrap_or_else(|| "plugin.js".to_owned());
    Err(Error::new(Kind::NotFound, format!("there is no {} in {}", quoted(&clean::line(&named, clean::NAME)), folder.path().display()))
        .hint("name the module that exports `tools` as \"main\" in package.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_that_of_the_folders_own_library() {
        let line = |manifest: &str, kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","target":{{"crate_types":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        let lines = [
            line("/a/Cargo.toml", "bin", "/t/tool.wasm"),
            line("/a/Cargo.toml", "cdylib", "/t/a.wasm"),
            line("/b/Cargo.toml", "cdylib", "/t/b.wasm"),
            "{\"reason\":\"x.wasm\"".to_owned(),
        ];
        assert_eq!(component_of(Path::new("/a/Cargo.toml"), &lines), Some("/t/a.wasm".into()));
        assert_eq!(component_of(Path::new("/c/Cargo.toml"), &lines), None);
    }
}
