//! What an entry wants to run, with its variables read.

use crate::child::Wanted;
use crate::config::{Home, Scope, ServerEntry, expand, secret};
use std::path::{Path, PathBuf};

/// How the variables of an entry are read: any of the user's own, those that were left open of a workspace's.
pub(super) fn lookup<'a>(entry: &'a ServerEntry, home: &'a Home) -> impl Fn(&str) -> Result<Option<String>, String> + 'a {
    move |name| match &entry.variables {
        Some(allowed) if !allowed.iter().any(|one| one == name) => {
            Err(format!("nobody left the variable {name} open to it: palisade mcp accept {} --env {name}", entry.name))
        }
        _ => secret(home, name).map_err(|e| e.message),
    }
}

/// The process of an entry. The first place where a variable is read.
///
/// # Errors
/// One sentence: which variable or folder is not there.
pub(super) fn wanted(entry: &ServerEntry, home: &Home, workspace: &Path) -> Result<Wanted, String> {
    let lookup = lookup(entry, home);
    let put_in = |text: &String| expand(text, &lookup);
    let command = put_in(&entry.command)?;
    let ours = entry.scope == Scope::Workspace;
    Ok(Wanted {
        command: if ours && command.contains('/') { workspace.join(&command).display().to_string() } else { command },
        args: entry.args.iter().map(put_in).collect::<Result<_, _>>()?,
        env: entry.env.iter().map(|(name, value)| Ok((name.clone(), put_in(value)?))).collect::<Result<_, String>>()?,
        folders: entry.folders.clone()?.into_iter().map(|(_, path, access)| (path, access)).collect(),
        net: entry.net,
        unfenced: entry.unfenced,
        base: ours.then(|| workspace.to_owned()),
        own: PathBuf::from("mcp").join(entry.key()),
    })
}
