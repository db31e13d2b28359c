//! What a source lacks, and the line that would mend it.

use crate::config::{Scope, ServerEntry, Settings, files_to_trust};
use crate::error::{Error, Kind};
use crate::plugins::{self, Plugin, ToolSpec};
use crate::sandbox::{ReadOnly, Refused};
use crate::{clean, redact};
use palisade_policy::{Access, Capability, FolderGrant, Origin, Request, covers, quoted};
use std::path::Component;

/// Longest remedy, in characters.
const MAX: usize = 4000;
/// Most folders to write that one remedy grants: each is looked through, and a manifest may name thousands.
const FOLDERS: usize = 16;

/// What pins a plugin, where that stands, and whether it is what that says.
pub(crate) fn pinned(settings: &Settings, plugin: &Plugin, tools: &[ToolSpec]) -> Option<(bool, Origin, String)> {
    if plugin.scope == Scope::Flag {
        return None;
    }
    let name = plugin.manifest.name.as_str();
    let added = settings.pins.iter().find(|(added, ..)| plugin.scope == Scope::Added && added == name);
    if let Some((_, pin, origin)) = added.filter(|(_, pin, _)| *pin != plugin.identity) {
        return Some((false, origin.clone(), format!("{name} is sha256:{}, and sha256:{pin} was added", plugin.identity)));
    }
    if let Some((origin, difference)) = plugins::difference(&settings.lock, plugin, tools) {
        return Some((false, origin, difference));
    }
    let locked = settings.lock.iter().find(|one| one.name == name).map(|one| &one.origin);
    match (added, locked) {
        (Some((.., origin)), None) => Some((true, origin.clone(), format!("{name} is what was added"))),
        (Some((.., origin)), Some(lock)) => Some((true, origin.clone(), format!("{name} is what was added, and what {lock} says"))),
        (None, Some(lock)) => Some((true, lock.clone(), format!("{name} is what the lock says"))),
        (None, None) => None,
    }
}

/// What lets a source of the user's own count; of one that the workspace names its subsystem says it.
pub(crate) fn trust(settings: &Settings, plugin: &Plugin) -> Option<(Origin, String)> {
    let profile = &settings.profile;
    (plugin.scope != Scope::Workspace).then(|| (profile.origin.clone(), format!("the profile `{}` initialises it", profile.name)))
}

/// The needed capabilities of a plugin that nobody granted, each with why nothing grants it, where that is so.
pub(crate) fn missing(settings: &Settings, plugin: &Plugin) -> Vec<(Capability, Option<String>)> {
    let cannot = |why: String| format!("cannot be granted: {why}");
    let (mut asked, mut folders): (Vec<(Capability, Option<String>)>, usize) = (Vec::new(), 0);
    if let Some((first, why)) = plugin.effective.missing.first().and_then(|first| Some((first, untrustable(settings, plugin)?))) {
        asked.push((first.clone(), Some(cannot(why))));
    }
    for capability in &plugin.effective.missing {
        // One that cannot be granted is enough.
        let decided = asked.iter().any(|(known, why)| known == capability || why.is_some());
        if !decided {
            folders += usize::from(matches!(capability, Capability::Fs(Access::Write, _)));
            let why = match folders > FOLDERS {
                true => Some(format!("nobody granted; it is one of more than {FOLDERS} folders to write, too many for one remedy")),
                false => settings.bounds.grantable(&settings.workspace, capability).err().map(cannot),
            };
            asked.push((capability.clone(), why));
        }
    }
    // It links only with a grant, and nothing is granted that was not asked for.
    let asks = plugin.manifest.requests.iter().any(|request| request.capability == Capability::Store);
    let unasked = !asks && plugin.component.imports_store();
    asked.extend(unasked.then(|| (Capability::Store, Some("its plugin.toml does not ask for".to_owned()))));
    asked
}

/// What would grant all of them; `None` where one of them cannot be.
pub(crate) fn granting(settings: &Settings, plugin: &Plugin, missing: &[(Capability, Option<String>)]) -> Option<String> {
    let all: Vec<&Capability> = missing.iter().filter(|(_, why)| why.is_none()).map(|(capability, _)| capability).collect();
    if all.is_empty() || all.len() < missing.len() { None } else { grant_line(settings, plugin, &all) }
}

/// Why no record can trust the plugin's workspace, where that is so: a flag trusts more than a record does.
fn untrustable(settings: &Settings, plugin: &Plugin) -> Option<String> {
    if plugin.scope != Scope::Workspace || settings.workspace_trust.files.is_some() {
        return None;
    }
    files_to_trust(&settings.workspace, &settings.workspace_dirs()).err().map(|error| error.message)
}

/// The line that would grant capabilities, where one line can say it.
fn grant_line(settings: &Settings, plugin: &Plugin, capabilities: &[&Capability]) -> Option<String> {
    let name = &plugin.manifest.name;
    let line = match plugin.scope {
        Scope::Flag | Scope::Added => {
            capabilities.iter().map(|one| format!("--grant {}", quoted(&format!("{name}:{one}")))).collect::<Vec<_>>().join(" ")
        }
        // Named by a config, it is there under a profile that initialises plugins.
        Scope::User => {
            let words: String = capabilities.iter().map(|one| format!(" {}", quoted(&one.to_string()))).collect();
            format!("palisade{} --profile trusted plugin grant {name}{words}", places(settings)?)
        }
        Scope::Workspace => format!("palisade{} trust", places(settings)?),
    };
    printable(line)
}

/// The line by which a person looks at an external server and accepts it.
pub(crate) fn accepting(settings: &Settings, entry: &ServerEntry) -> Option<String> {
    printable(format!("palisade{} --profile trusted mcp accept {}", places(settings)?, entry.name))
}

/// The flags that named workspace and config, for a command that is pasted.
fn places(settings: &Settings) -> Option<String> {
    settings.places.iter().map(|(flag, path)| Some(format!(" {flag} {}", quoted(path.to_str()?)))).collect()
}

/// A remedy that cleaning would change is another one than was meant, so it is none.
pub(crate) fn printable(remedy: String) -> Option<String> {
    (redact::line(&remedy, MAX) == remedy).then_some(remedy)
}

/// What an operator reads of an optional capability that was not granted.
pub(crate) fn absent_line(settings: &Settings, plugin: &Plugin, capability: &Capability) -> String {
    let shown = redact::line(&capability.to_string(), clean::NAME);
    let refused = || settings.bounds.grantable(&settings.workspace, capability).err();
    match untrustable(settings, plugin).or_else(refused) {
        Some(why) => format!("the optional {shown} was not granted, and cannot be: {}", clean::line(&why, clean::TEXT)),
        None => match grant_line(settings, plugin, &[capability]) {
            Some(line) => format!("an optional capability was not granted; to allow it: {line}"),
            None => format!("the optional {shown} was not granted"),
        },
    }
}

/// What an operator reads of a refused request. Where the manifest asks for the origin, a grant would allow it.
pub(crate) fn refused_line(settings: &Settings, plugin: &Plugin, refused: Refused) -> String {
    let origin = match refused {
        Refused::Because(why) => return why,
        Refused::ReadOnly(refused) => return read_only_line(settings, plugin, &refused),
        Refused::NotGranted(origin) => origin,
    };
    let asked = |request: &Request| matches!(&request.capability, Capability::Net(asked) if asked.covers(&origin));
    if plugin.manifest.requests.iter().any(asked) {
        let trustable = untrustable(settings, plugin).is_none();
        return match grant_line(settings, plugin, &[&Capability::Net(origin.clone())]) {
            Some(line) if trustable => format!("a request to {origin} was refused; to allow it: {line}"),
            _ => format!("a request to {origin} was refused; nobody granted it"),
        };
    }
    format!("a request to {origin} was refused; no grant allows it, because its plugin.toml does not ask for it under `net`")
}

/// The same of a change in a folder that is granted for reading. Another grant may allow it already, in its own place; else a
/// grant would where the manifest asks to write the folder, or what was to be changed.
fn read_only_line(settings: &Settings, plugin: &Plugin, refused: &ReadOnly) -> String {
    let ReadOnly { folder, changed, what } = refused;
    let plain = !changed.components().any(|part| part == Component::ParentDir);
    let writes = |folder: &&FolderGrant| plain && folder.access == Access::Write && covers(&folder.host, changed);
    if let Some(folder) = plugin.effective.folders.iter().find(writes) {
        return format!("{what}; it may be changed through {}", clean::line(&folder.guest, clean::NAME));
    }
    let asked = |request: &Request| {
        let Capability::Fs(Access::Write, written) = &request.capability else { return None };
        let base = request.resolved.as_deref()?;
        if plain && covers(base, changed) && !covers(base, &folder.host) {
            return Some(request.capability.clone());
        }
        let below = folder.host.strip_prefix(base).ok()?.to_str()?;
        Some(Capability::Fs(Access::Write, format!("{written}/{below}").parse().ok()?))
    };
    match plugin.manifest.requests.iter().find_map(asked) {
        Some(capability) => {
            let can = settings.bounds.grantable(&settings.workspace, &capability).is_ok() && untrustable(settings, plugin).is_none();
            match grant_line(settings, plugin, &[&capability]).filter(|_| can) {
                Some(line) => format!("{what}; to allow it: {line}"),
                None => format!("{what}; nobody granted to write there"),
            }
        }
        None => format!("{what}; no grant allows more, because its plugin.toml does not ask to `write` there"),
    }
}

pub(crate) fn stuck(id: &str, plugin: &Plugin) -> Error {
    let reason = format!(
        "{id} is not available: {} is quarantined (limit-time): too many of its operations on files never ended",
        plugin.manifest.name
    );
    Error::new(Kind::Quarantined, reason).hint("look for a file system that does not answer, or a FIFO, in a folder granted to it")
}
