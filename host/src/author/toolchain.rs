//! What has to be on the author's machine, for each language: looked for before anything is compiled.
//!
//! The rule it keeps: what is missing is said in one sentence, with the command that brings it. Nothing is installed without
//! `--install`, and then only what that command says: beside the unpacked SDK, or in the plugin's own environment.

use super::Language;
use super::process::{Compilers, Said};
use super::sdk::Sdk;
use crate::error::{Error, Kind};
use palisade_policy::quoted;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What plugins in Rust are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";
/// The oldest Node that runs the SDK and its compilers.
const NODE: u32 = 20;
/// The oldest Python that does, as `3.10`.
const PYTHON: u32 = 10;

/// Something that is not there.
#[derive(Debug)]
pub(super) struct Missing {
    what: String,
    remedy: String,
    /// What `--install` runs; nothing where it cannot help.
    install: Vec<Vec<String>>,
}

impl Missing {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into(), install: Vec::new() }
    }

    /// With commands that bring it; they are the remedy, as a person would type them.
    fn installed_by(what: impl Into<String>, install: Vec<Vec<String>>) -> Self {
        let typed: Vec<String> = install.iter().map(|argv| argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")).collect();
        Self { what: what.into(), remedy: typed.join(" && "), install }
    }
}

/// What compiles.
#[derive(Debug)]
pub(super) enum Toolchain {
    Cargo,
    /// The SDK as the plugin's folder finds it.
    Node(PathBuf),
    /// The interpreter.
    Python(PathBuf),
}

/// Finds what compiles, or installs it where that was asked for.
pub(super) async fn find(
    language: Language,
    folder: &Path,
    sdk: &Sdk,
    install: bool,
    compilers: &mut Compilers,
) -> Result<Toolchain, Error> {
    let mut tried = 0;
    loop {
        let found = match language {
            Language::Rust => cargo(folder, compilers).await?,
            Language::JavaScript => node(folder, sdk, compilers).await?,
            Language::Python => python(folder, sdk, compilers).await?,
        };
        let missing = match found {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) => missing,
        };
        // Each step may show the next; one that did not help is not tried for ever.
        if !install || missing.install.is_empty() || tried == 2 {
            let more = if missing.install.is_empty() { "" } else { "; or: palisade plugin build --install" };
            return Err(Error::new(Kind::NotFound, missing.what).hint(format!("{}{more}", missing.remedy)));
        }
        tried += 1;
        for argv in &missing.install {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]).current_dir(folder);
            let status = compilers.run(command).await?;
            if !status.success() {
                let typed = argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
                return Err(Error::new(Kind::NotFound, format!("{}, and installing it failed ({status})", missing.what)).hint(typed));
            }
        }
    }
}

type Found = Result<Toolchain, Missing>;

fn asking(program: impl AsRef<std::ffi::OsStr>, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    command
}

/// Said of a machine without Rust.
pub(super) fn no_rust() -> (&'static str, String) {
    let remedy = format!("curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- --target {TARGET}");
    ("cargo and rustc, which build a plugin in Rust, are not installed, or not in PATH", remedy)
}

async fn cargo(folder: &Path, compilers: &mut Compilers) -> Result<Found, Error> {
    let libraries = match compilers.ask(asking("rustc", folder, &["--print", "target-libdir", "--target", TARGET])).await? {
        Said::Missing => {
            let (what, remedy) = no_rust();
            return Ok(Err(Missing::new(what, remedy)));
        }
        Said::Refused => return Ok(Err(Missing::new(format!("rustc here does not know the target {TARGET}"), "rustup update"))),
        Said::Text(libraries) => libraries,
    };
    if Path::new(&libraries).is_dir() {
        return Ok(Ok(Toolchain::Cargo));
    }
    let install = ["rustup", "target", "add", TARGET].map(str::to_owned).to_vec();
    Ok(Err(Missing::installed_by(format!("the Rust target {TARGET} is not installed"), vec![install])))
}

async fn node(folder: &Path, sdk: &Sdk, compilers: &mut Compilers) -> Result<Found, Error> {
    let what = format!("Node {NODE} or newer, which builds a plugin in JavaScript,");
    let remedy = "nvm install --lts, or https://nodejs.org/en/download";
    match compilers.ask(asking("node", folder, &["--version"])).await? {
        Said::Text(version) if major(&version).is_some_and(|major| major >= NODE) => {}
        Said::Text(version) => {
            let version = crate::clean::line(&version, 32);
            return Ok(Err(Missing::new(format!("{what} is needed, and node is {version}"), remedy)));
        }
        Said::Missing | Said::Refused => return Ok(Err(Missing::new(format!("{what} is not installed, or not in PATH"), remedy))),
    }
    let used = linked_js(folder, sdk)?;
    // Where node looks for what that imports.
    let there = |name: &str| used.ancestors().any(|above| above.join("node_modules").join(name).join("package.json").is_file());
    // Written last: what was interrupted is not all there.
    let whole = !used.join("node_modules").exists() || used.join("node_modules/.package-lock.json").exists();
    if whole && there("esbuild") && there("@bytecodealliance/componentize-js") {
        return Ok(Ok(Toolchain::Node(used)));
    }
    let prefix = used.display().to_string();
    let install = ["npm", "ci", "--omit", "dev", "--no-audit", "--no-fund", "--prefix", &prefix].map(str::to_owned).to_vec();
    Ok(Err(Missing::installed_by("the compilers of the JavaScript SDK are not installed", vec![install])))
}

fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// The SDK in a folder's own `node_modules`, which is its author's choice; where there is none, or a link into nothing, a link to
/// ours is made. What lies in a folder above may be anybody's, and does not run.
fn linked_js(folder: &Path, sdk: &Sdk) -> Result<PathBuf, Error> {
    let link = folder.join("node_modules/palisade-sdk");
    if !link.join("build.js").is_file() {
        super::scaffold::link(&sdk.of(Language::JavaScript), &link)?;
    }
    std::fs::canonicalize(&link).map_err(|e| Error::io(format!("{}", link.display()), &e))
}

/// Whether it is new enough, has the compiler, and finds the SDK from the plugin's folder.
const PROBE: &str = "
import importlib.util as u, sys
print(sys.version_info[1] if sys.version_info[0] == 3 else 0, *(int(u.find_spec(name) is not None) for name in ('componentize_py', 'palisade_sdk')))";

async fn python(folder: &Path, sdk: &Sdk, compilers: &mut Compilers) -> Result<Found, Error> {
    let ours = sdk.of(Language::Python);
    let (own, shared) = (folder.join(".venv/bin/python"), ours.join(".venv/bin/python"));
    // An environment in the folder is the author's choice; else whichever has the compiler.
    let candidates = if own.exists() { vec![own.clone()] } else { vec![PathBuf::from("python3"), shared.clone()] };
    let (mut base, mut old) = (None, None);
    for candidate in candidates {
        let Said::Text(answer) = compilers.ask(asking(&candidate, folder, &["-c", PROBE])).await? else { continue };
        let numbers: Vec<u32> = answer.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [minor, compiler, found] if minor >= PYTHON => {
                if found == 0 {
                    super::scaffold::link(&ours.join("palisade_sdk"), &folder.join("palisade_sdk"))?;
                }
                if compiler == 1 {
                    return Ok(Ok(Toolchain::Python(candidate)));
                }
                base = base.or(Some(candidate));
            }
            [minor, ..] => old = Some(format!("3.{minor}")),
            [] => {}
        }
    }
    let Some(base) = base else {
        let what = format!("Python 3.{PYTHON} or newer, which builds a plugin in Python,");
        let what = match old {
            Some(old) => format!("{what} is needed, and python3 is {old}"),
            None => format!("{what} is not installed, or not in PATH"),
        };
        return Ok(Err(Missing::new(what, "uv python install 3.13, or https://www.python.org/downloads")));
    };
    let text = |path: &Path| path.display().to_string();
    let required = text(&ours.join("requirements.txt"));
    let pip =
        |python: &Path| [&text(python), "-m", "pip", "--disable-pip-version-check", "install", "-r", &required].map(str::to_owned).to_vec();
    let install = if base == own {
        vec![pip(&own)]
    } else {
        // Never into the system's own packages.
        let venv = text(&ours.join(".venv"));
        vec![["python3", "-m", "venv", &venv].map(str::to_owned).to_vec(), pip(&shared)]
    };
    Ok(Err(Missing::installed_by("componentize-py, the compiler of the Python SDK, is not installed", install)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;

    #[test]
    fn the_sdk_that_runs_is_ours_or_the_folders_own_and_none_of_a_folder_above() {
        let temp = tempfile::tempdir().unwrap();
        let home = Home::at(&temp.path().canonicalize().unwrap().join("home")).unwrap();
        let sdk = Sdk::unpacked(&home).unwrap();
        let folder = temp.path().join("above/plugin");
        for planted in [temp.path().join("above/node_modules/palisade-sdk"), temp.path().join("own/node_modules/palisade-sdk")] {
            std::fs::create_dir_all(&planted).unwrap();
            std::fs::write(planted.join("build.js"), "").unwrap();
        }
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(linked_js(&folder, &sdk).unwrap(), std::fs::canonicalize(sdk.of(Language::JavaScript)).unwrap());
        let own = temp.path().join("own");
        assert_eq!(linked_js(&own, &sdk).unwrap(), std::fs::canonicalize(own.join("node_modules/palisade-sdk")).unwrap());
    }

    #[test]
    fn a_version_of_node_is_read() {
        assert_eq!((major("v20.20.2\n"), major("v8.1"), major("20.1"), major("")), (Some(20), Some(8), None, None));
    }

    #[test]
    fn a_remedy_is_one_line_for_a_shell() {
        let missing = Missing::installed_by("x", vec![vec!["a".into(), "b c".into()], vec!["d".into()]]);
        assert_eq!(missing.remedy, "a 'b c' && d");
    }
}
