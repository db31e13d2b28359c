//! What a source lacks, and the line that would mend it.

use crate::config::{Scope, Settings};
use crate::error::{Error, Kind};
use crate::plugins::{self, Plugin, ToolSpec};
use crate::sandbox::{ReadOnly, Refused};
use crate::{Tool, clean};
use palisade_policy::{Access, Capability, FolderGrant, Origin, Request, covers, quoted};
use std::path::Component;

/// How a plugin differs from what was added, or from what the workspace's lock says, and where that stands.
pub(crate) fn unpinned(settings: &Settings, plugin: &Plugin, tools: &[ToolSpec]) -> Option<(Origin, String)> {
    if plugin.scope == Scope::Flag {
        return None;
    }
    let name = plugin.manifest.name.as_str();
    let added = settings.pins.iter().find(|(pinned, ..)| plugin.scope == Scope::Added && pinned == name);
    let added = added
        .filter(|(_, pinned, _)| *pinned != plugin.identity)
        .map(|(_, pinned, origin)| (origin.clone(), format!("{name} is sha256:{}, and sha256:{pinned} was added", plugin.identity)));
    added.or_else(|| plugins::difference(&settings.lock, plugin, tools))
}

/// The needed capabilities of a plugin that nobody granted, each with what would grant it.
pub(crate) fn missing(plugin: &Plugin) -> Vec<(Capability, Option<String>)> {
    let asked = plugin.effective.missing.iter().map(|capability| (capability.clone(), Some(grant_flag(plugin, capability))));
    // It links only with a grant, and nothing is granted that was not asked for.
    let asks = plugin.manifest.requests.iter().any(|request| request.capability == Capability::Store);
    let unasked = !asks && plugin.component.imports_store();
    asked.chain(unasked.then_some((Capability::Store, None))).collect()
}

/// The line that would grant a capability.
pub(crate) fn grant_flag(plugin: &Plugin, capability: &Capability) -> String {
    let name = &plugin.manifest.name;
    let shown = |text: String| quoted(&clean::line(&text, 1000));
    match plugin.scope {
        Scope::Flag | Scope::Added => format!("--grant {}", shown(format!("{name}:{capability}"))),
        // Named by a config, it is there under a profile that initialises plugins.
        Scope::User => format!("palisade --profile trusted plugin grant {name} {}", shown(capability.to_string())),
        Scope::Workspace => "palisade trust".to_owned(),
    }
}

/// What an operator reads of a refused request. Where the manifest asks for the origin, a grant would allow it.
pub(crate) fn refused_line(plugin: &Plugin, refused: Refused) -> String {
    let origin = match refused {
        Refused::Because(why) => return why,
        Refused::ReadOnly(refused) => return read_only_line(plugin, &refused),
        Refused::NotGranted(origin) => origin,
    };
    let asked = |request: &Request| matches!(&request.capability, Capability::Net(asked) if asked.covers(&origin));
    if plugin.manifest.requests.iter().any(asked) {
        let flag = grant_flag(plugin, &Capability::Net(origin.clone()));
        return format!("a request to {origin} was refused; to allow it: {flag}");
    }
    format!("a request to {origin} was refused; no grant allows it, because its plugin.toml does not ask for it under `net`")
}

/// The same of a change in a folder that is granted for reading. Another grant may allow it already, in its own place; else a
/// grant would where the manifest asks to write the folder, or what was to be changed.
fn read_only_line(plugin: &Plugin, refused: &ReadOnly) -> String {
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
        Some(capability) => format!("{what}; to allow it: {}", grant_flag(plugin, &capability)),
        None => format!("{what}; no grant allows more, because its plugin.toml does not ask to `write` there"),
    }
}

pub(crate) fn stuck(tool: &Tool) -> Error {
    let reason = format!(
        "{} is not available: {} is quarantined (limit-time): too many of its operations on files never ended",
        tool.spec.id, tool.plugin.manifest.name
    );
    Error::new(Kind::Quarantined, reason).hint("look for a file system that does not answer, or a FIFO, in a folder granted to it")
}
