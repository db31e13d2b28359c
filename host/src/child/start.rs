//! What a process is started with: program, arguments, variables, folders, fence. External servers and native hooks alike.
//!
//! Never here: what an entry says, or how its variables are read.

use super::{Fence, enforced};
use crate::clean;
use crate::config::Home;
use crate::own::make_folder;
use crate::scratch::Scratch;
use palisade_policy::{Access, Limit, Limits};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Tells a program below that it was started by Palisade, so that no second level is started.
const NESTED: &str = "PALISADE_NESTED";

/// What somebody wants to run.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// A path, or a name that `PATH` leads to.
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    /// Besides `PATH`, `LANG`, `HOME` and `TMPDIR`.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) folders: Vec<(PathBuf, Access)>,
    pub(crate) net: bool,
    pub(crate) unfenced: bool,
    /// The workspace, where it named this: what it names is named from there.
    pub(crate) base: Option<PathBuf>,
    /// The name of its private folder below Palisade's own.
    pub(crate) own: PathBuf,
}

/// A process to be.
#[derive(Debug)]
pub(crate) struct Start {
    pub(super) fence: Fence,
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(String, String)>,
    /// Where it starts.
    pub(super) folder: PathBuf,
    /// What it reads besides what it was given.
    pub(crate) reads: Vec<PathBuf>,
    /// Keeps its folder for what is temporary, as long as it is open.
    pub(super) held: std::fs::File,
}

impl Start {
    /// All that a process is started with.
    ///
    /// # Errors
    /// One sentence: what is not there, or why it may not be started.
    pub(crate) fn prepare(wanted: Wanted, home: &Home, workspace: &Path, limits: &Limits) -> Result<Self, String> {
        let Wanted { command, args, env: given, folders, net, unfenced, base, own } = wanted;
        if std::env::var_os(NESTED).is_some() {
            return Err("this Palisade was itself started by one as an MCP server, which starts no second level".to_owned());
        }
        if let (false, Some(why)) = (unfenced, enforced()) {
            return Err(format!("it cannot be fenced: {why}; the entry of an MCP server may say `unfenced = true`"));
        }
        let program = find(&command)?;
        if std::env::current_exe().and_then(std::fs::canonicalize).is_ok_and(|this| this == program.resolved) {
            return Err("its program is Palisade itself".to_owned());
        }
        let own = home.data.join(own);
        let private = own.join("home");
        for folder in [&home.data, &own, &private] {
            make_folder(folder).map_err(|e| e.message)?;
        }
        let Scratch { folder: temporary, held } = Scratch::make(&own)?;
        let base = base.as_deref();
        let by = |wanted: Access| folders.iter().filter(move |(_, access)| *access == wanted).map(|(path, _)| path.clone());
        let palisade: Vec<PathBuf> = home.folders().into_iter().map(crate::config::resolve_existing).collect();
        let mut reads = installation(&program, &args, base, &palisade);
        reads.push(program.resolved);
        reads.sort();
        reads.dedup();
        let read: Vec<PathBuf> = by(Access::Read).chain(reads.iter().cloned()).collect();
        let write = by(Access::Write).chain([private.clone(), temporary.clone()]).collect();
        let inherited = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let mut env: Vec<(String, String)> = ["PATH", "LANG"].into_iter().filter_map(inherited).collect();
        for (name, path) in [("HOME", &private), ("TMPDIR", &temporary)] {
            env.push((name.to_owned(), path.display().to_string()));
        }
        env.extend(given);
        env.push((NESTED.to_owned(), "1".to_owned()));
        let fence = Fence {
            read,
            write,
            temporary,
            net,
            unfenced,
            memory: limits.get(Limit::ChildMemory),
            cpu: limits.time(Limit::ChildCpu).as_secs().max(1),
            grace: limits.get(Limit::ChildGrace),
        };
        let argv = std::iter::once(program.found.into_os_string()).chain(args.into_iter().map(OsString::from)).collect();
        // Where the workspace is open to it, it starts there.
        let folder =
            if base.is_some() || folders.iter().any(|(path, _)| workspace.starts_with(path)) { workspace.to_owned() } else { private };
        Ok(Self { fence, argv, env, folder, reads, held })
    }
}

/// A program: where it was found, by which it is started, since some look at that to find what belongs to them; and with its
/// links resolved.
#[derive(Debug)]
pub(crate) struct Program {
    found: PathBuf,
    pub(crate) resolved: PathBuf,
}

/// The program of a command: a path, or a name that `PATH` leads to.
///
/// # Errors
/// One sentence: there is none.
pub(crate) fn find(command: &str) -> Result<Program, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = clean::line(command, clean::NAME);
    let runs = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let found = if command.contains('/') {
        let path = PathBuf::from(command);
        if !path.is_absolute() {
            return Err(format!("its program {shown} is neither an absolute path nor a name in PATH"));
        }
        Some(path).filter(runs)
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(command)).find(runs)
    };
    let found = found.ok_or_else(|| format!("there is no program {shown}"))?;
    let resolved = std::fs::canonicalize(&found).map_err(|e| format!("its program {shown}: {e}"))?;
    Ok(Program { found, resolved })
}

/// What must be read besides the system's own folders, so that servers start that are installed below a home: the prefix of
/// the program and of the interpreter its first line names, and the package that a script belongs to. Never one of
/// Palisade's own folders, nor what holds one.
fn installation(program: &Program, args: &[String], base: Option<&Path>, palisade: &[PathBuf]) -> Vec<PathBuf> {
    let of_workspace = |path: &Path| base.is_some_and(|base| path.starts_with(base));
    // What opens a folder outside a workspace is no line of a file in it; nor is what lies in it installed.
    let script = Some(&program.resolved).filter(|script| !of_workspace(script));
    let interpreter = script.and_then(|script| interpreter(script));
    let mut folders = Vec::new();
    for program in [Some(program), interpreter.as_ref()].into_iter().flatten() {
        let folder = program.found.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
        // Where it was found by a link, as in a virtual environment, that folder is one of an installation too.
        for bin in [program.resolved.parent(), folder.as_deref()].into_iter().flatten().filter(|bin| !of_workspace(bin)) {
            folders.extend(prefix(bin, palisade));
        }
        folders.push(program.resolved.clone());
    }
    if interpreter.is_some() {
        folders.extend(package(&program.resolved));
    }
    let named = |arg: &String| base.map_or_else(|| PathBuf::from(arg), |base| base.join(arg));
    let files = args.iter().map(named).filter(|arg| arg.is_absolute()).filter_map(|arg| std::fs::canonicalize(arg).ok());
    // A workspace opens its own files alone, and those are part of what was trusted.
    let files = files.filter(|path| path.is_file() && (base.is_none() || of_workspace(path)));
    for (place, script) in files.enumerate() {
        let package = package(&script).filter(|_| base.is_none() && place == 0);
        folders.push(package.unwrap_or(script));
    }
    folders.retain(|folder| !palisade.iter().any(|own| own.starts_with(folder) || folder.starts_with(own)));
    folders
}

/// A whole home, or the root, belongs to no program.
fn is_home(folder: &Path) -> bool {
    folder == Path::new("/") || crate::config::user_home().is_some_and(|home| home.starts_with(folder))
}

/// Where the libraries and data of a folder's programs are: around it where it is a `bin`, or beside them.
fn prefix(bin: &Path, palisade: &[PathBuf]) -> Vec<PathBuf> {
    let around = bin.parent().filter(|around| bin.ends_with("bin") && !is_home(around));
    // What many programs share holds more than theirs: of that, where programs and libraries are.
    let shared = |around: &Path| {
        let local = crate::config::user_home().is_some_and(|home| around == home.join(".local"));
        local || palisade.iter().any(|own| own.starts_with(around))
    };
    match around {
        Some(around) if shared(around) => ["bin", "lib", "lib64", "libexec"].map(|name| around.join(name)).to_vec(),
        Some(around) => vec![around.to_owned()],
        None if is_home(bin) => Vec::new(),
        None => vec![bin.to_owned()],
    }
}

/// The package that a script belongs to, with those around it that it needs.
fn package(script: &Path) -> Option<PathBuf> {
    let marked = |folder: &&Path| ["package.json", "pyproject.toml"].iter().any(|name| folder.join(name).is_file());
    let found = script.ancestors().skip(1).take_while(|folder| !is_home(folder)).find(marked)?;
    // A package of npm lies among those it needs.
    let around = found.ancestors().filter(|a| a.file_name().is_some_and(|name| name == "node_modules")).last();
    Some(around.unwrap_or(found).to_owned())
}

/// The interpreter that a script's first line names, also by way of `env`.
fn interpreter(script: &Path) -> Option<Program> {
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(script).ok()?.take(512).read_to_end(&mut head).ok()?;
    let line = String::from_utf8_lossy(head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?).into_owned();
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let name = if Path::new(first).ends_with("env") { words.find(|word| !word.starts_with('-') && !word.contains('='))? } else { first };
    find(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(path: &Path, text: &str) {
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn reads(command: &Path, palisade: &[PathBuf]) -> Vec<PathBuf> {
        installation(&find(command.to_str().unwrap()).unwrap(), &[], None, palisade)
    }

    #[test]
    fn a_script_brings_its_package_and_its_interpreter_and_is_started_by_the_name_it_was_found_by() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().canonicalize().unwrap().join(name);
        program(&at("nvm/bin/node"), "");
        program(&at("packages/node_modules/a/dist/index.js"), &format!("#!{}\n", at("nvm/bin/node").display()));
        write(at("packages/node_modules/a/package.json"), "{}").unwrap();
        create_dir_all(at("packages/node_modules/.bin")).unwrap();
        symlink("../a/dist/index.js", at("packages/node_modules/.bin/a")).unwrap();
        let read = reads(&at("packages/node_modules/.bin/a"), &[]);
        assert!(read.contains(&at("packages/node_modules")) && read.contains(&at("nvm")), "{read:?}");
        assert_eq!(find(at("packages/node_modules/.bin/a").to_str().unwrap()).unwrap().found, at("packages/node_modules/.bin/a"));
        // A virtual environment: the interpreter is a link to one elsewhere, and both are needed.
        program(&at("versions/3/bin/python3"), "");
        create_dir_all(at("venv/bin")).unwrap();
        symlink(at("versions/3/bin/python3"), at("venv/bin/python")).unwrap();
        program(&at("venv/bin/server"), &format!("#!{}\n", at("venv/bin/python").display()));
        let read = reads(&at("venv/bin/server"), &[]);
        assert!(read.contains(&at("venv")) && read.contains(&at("versions/3")), "{read:?}");
        program(&at("by-env"), "#!/usr/bin/env -S A=b sh -e\n");
        assert_eq!(interpreter(&at("by-env")).unwrap().resolved, find("sh").unwrap().resolved);
        program(&at("binary"), "\u{7f}ELF");
        assert!(interpreter(&at("binary")).is_none());
    }

    #[test]
    fn no_installation_brings_palisades_own_folders() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().canonicalize().unwrap().join(name);
        program(&at("local/bin/server"), "");
        program(&at("local/share/palisade/mcp/server"), "");
        let own = [at("local/share/palisade"), at("local/state/palisade")];
        for command in ["local/bin/server", "local/share/palisade/mcp/server"] {
            let read = reads(&at(command), &own);
            assert!(read.iter().all(|path| own.iter().all(|own| !own.starts_with(path) && !path.starts_with(own))), "{read:?}");
        }
        assert!(reads(&at("local/bin/server"), &[]).contains(&at("local")));
        assert!(reads(&at("local/bin/server"), &own).contains(&at("local/lib")));
        // Nor by a link to what holds them.
        symlink(at("local"), at("link")).unwrap();
        assert!(!reads(&at("link/bin/server"), &own).iter().any(|path| path.ends_with("link") || path.ends_with("local")));
    }
}
