//! What a server's process is started with: program, arguments, variables, folders, fence.

use super::child::{self, Fence};
use crate::clean;
use crate::config::{Home, Scope, ServerEntry, expand, make_folder, secret};
use palisade_policy::{Access, Limit, Limits};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Tells a program below that it was started by Palisade, so that no second level is started.
const NESTED: &str = "PALISADE_NESTED";
/// A process to be.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) fence: Fence,
    pub(super) argv: Vec<OsString>,
    pub(super) env: Vec<(String, String)>,
    /// Where it starts.
    pub(super) folder: PathBuf,
    /// What it reads besides what its entry names.
    pub(super) reads: Vec<PathBuf>,
}

impl Start {
    /// All that its process is started with. The first place where a variable is read.
    ///
    /// # Errors
    /// One sentence: what is not there, or why it may not be started.
    /// How the variables of an entry are read: any of the user's own, those that were left open of a workspace's.
    pub(super) fn lookup<'a>(entry: &'a ServerEntry, home: &'a Home) -> impl Fn(&str) -> Result<Option<String>, String> + 'a {
        move |name| match &entry.variables {
            Some(allowed) if !allowed.iter().any(|one| one == name) => {
                Err(format!("nobody left the variable {name} open to it: palisade mcp accept {} --env {name}", entry.name))
            }
            _ => secret(home, name).map_err(|e| e.message),
        }
    }

    pub(super) fn prepare(entry: &ServerEntry, home: &Home, workspace: &Path, limits: &Limits) -> Result<Self, String> {
        if std::env::var_os(NESTED).is_some() {
            return Err("this Palisade was itself started by one as an MCP server, which starts no second level".to_owned());
        }
        if let (false, Some(why)) = (entry.unfenced, child::enforced()) {
            return Err(format!("it cannot be fenced: {why}; its entry may say `unfenced = true`"));
        }
        let lookup = Self::lookup(entry, home);
        let put_in = |text: &String| expand(text, &lookup);
        let command = put_in(&entry.command)?;
        let command = match entry.scope {
            Scope::Workspace if command.contains('/') => workspace.join(&command).display().to_string(),
            _ => command,
        };
        let program = find(&command)?;
        if std::env::current_exe().and_then(std::fs::canonicalize).is_ok_and(|this| this == program) {
            return Err("its program is Palisade itself".to_owned());
        }
        let args = entry.args.iter().map(put_in).collect::<Result<Vec<_>, _>>()?;
        let own = home.data.join("mcp").join(entry.key());
        let (private, temporary) = (own.join("home"), own.join("tmp"));
        for folder in [&home.data, &own, &private, &temporary] {
            make_folder(folder).map_err(|e| e.message)?;
        }
        let folders = entry.folders.clone()?;
        // What a workspace names is named from there.
        let base = (entry.scope == Scope::Workspace).then_some(workspace);
        let reads = match base {
            Some(workspace) => of_workspace(&program, &args, workspace, home),
            None => installation(&program, &args, home),
        };
        let by = |wanted: Access| folders.iter().filter(move |(_, _, access)| *access == wanted).map(|(_, path, _)| path.clone());
        let read: Vec<PathBuf> = by(Access::Read).chain(reads.iter().cloned()).collect();
        let write = by(Access::Write).chain([private.clone(), temporary.clone()]).collect();
        let inherited = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let mut env: Vec<(String, String)> = ["PATH", "LANG"].into_iter().filter_map(inherited).collect();
        for (name, path) in [("HOME", &private), ("TMPDIR", &temporary)] {
            env.push((name.to_owned(), path.display().to_string()));
        }
        for (name, value) in &entry.env {
            env.push((name.clone(), put_in(value)?));
        }
        env.push((NESTED.to_owned(), "1".to_owned()));
        let fence = Fence {
            read,
            write,
            net: entry.net,
            unfenced: entry.unfenced,
            memory: limits.get(Limit::ChildMemory),
            cpu: limits.time(Limit::ChildCpu).as_secs().max(1),
            grace: limits.get(Limit::ChildGrace),
        };
        let argv = std::iter::once(program.into_os_string()).chain(args.into_iter().map(OsString::from)).collect();
        // Where the workspace is open to it, it starts there.
        let folder =
            if base.is_some() || folders.iter().any(|(_, path, _)| workspace.starts_with(path)) { workspace.to_owned() } else { private };
        Ok(Self { fence, argv, env, folder, reads })
    }
}

/// The program of a command: a path, or a name that `PATH` leads to, with its links resolved.
fn find(command: &str) -> Result<PathBuf, String> {
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
    std::fs::canonicalize(&found).map_err(|e| format!("its program {shown}: {e}"))
}

/// What must be read besides the system's own folders, so that servers start that are installed below a home: the program and
/// its prefix, and the package of the script that is the first file among the arguments; of others the file alone.
fn installation(program: &Path, args: &[String], home: &Home) -> Vec<PathBuf> {
    let mut read = vec![program.to_owned()];
    read.extend(prefix(program, home));
    let files = args.iter().filter(|arg| Path::new(arg).is_absolute()).filter_map(|arg| std::fs::canonicalize(arg).ok());
    for (place, script) in files.filter(|path| path.is_file()).enumerate() {
        let package = |folder: &&Path| ["package.json", "pyproject.toml"].iter().any(|name| folder.join(name).is_file());
        let found = script.ancestors().skip(1).take_while(|folder| is_narrow(folder, home)).find(package);
        // A package of npm lies among those it needs.
        let modules = |folder: &&Path| folder.file_name().is_some_and(|name| name == "node_modules") && is_narrow(folder, home);
        let around = found.and_then(|folder| folder.ancestors().filter(modules).last());
        let package = around.or(found).filter(|_| place == 0).map(Path::to_owned);
        read.push(package.unwrap_or(script));
    }
    read
}

/// The same of a server that a workspace names. In the workspace it is those very files, which are part of what was trusted.
fn of_workspace(program: &Path, args: &[String], workspace: &Path, home: &Home) -> Vec<PathBuf> {
    let mut read = vec![program.to_owned()];
    if !program.starts_with(workspace) {
        read.extend(prefix(program, home));
    }
    let files = args.iter().filter_map(|arg| std::fs::canonicalize(workspace.join(arg)).ok());
    read.extend(files.filter(|path| path.is_file() && path.starts_with(workspace)));
    read
}

/// The prefix that a program is installed in: the folder above its `bin`, or its own.
fn prefix(program: &Path, home: &Home) -> Option<PathBuf> {
    let bin = program.parent()?;
    let above = bin.parent().filter(|above| bin.file_name().is_some_and(|name| name == "bin") && is_narrow(above, home));
    above.or_else(|| Some(bin).filter(|bin| is_narrow(bin, home))).map(Path::to_owned)
}

/// Whether a folder holds what belongs together, and not a person's home, all that is installed below it, or what is ours.
fn is_narrow(folder: &Path, home: &Home) -> bool {
    let user = crate::config::user_home();
    let wide = user.is_some_and(|user| user.starts_with(folder) || folder == user.join(".local") || folder == user.join(".config"));
    let ours = home.folders().into_iter().any(|own| own.starts_with(folder) || folder.starts_with(own));
    !wide && !ours && folder != Path::new("/")
}
