//! Hooks from their entries: each stands for itself, and one that does not load keeps its place.

use super::{Hook, Hooks};
use crate::config::{HookEntry, HookEvent, Scope, Settings};
use crate::error::{Error, Kind};
use crate::plugins::{self, Plugin, Watcher};
use crate::remedy::{granting, missing};
use crate::sandbox::{Sandbox, World, hooks};
use palisade_policy::Identity;
use std::collections::HashSet;
use std::sync::Arc;

/// Loads all hooks of the settings. `first` are the user's own that were there when serving began; another one of them waits
/// for the next start.
pub(crate) async fn load(
    settings: &Settings,
    sandbox: Option<&Sandbox>,
    watcher: Option<&dyn Watcher>,
    first: Option<&HashSet<Identity>>,
) -> Hooks {
    let mut all = Vec::new();
    for entry in &settings.hooks {
        all.push(Arc::new(one(settings, sandbox, entry.clone(), watcher, first).await));
    }
    Hooks { all }
}

async fn one(
    settings: &Settings,
    sandbox: Option<&Sandbox>,
    entry: HookEntry,
    watcher: Option<&dyn Watcher>,
    first: Option<&HashSet<Identity>>,
) -> Hook {
    let loaded = match (&entry.withheld, sandbox) {
        (None, Some(sandbox)) => ready(settings, sandbox, &entry, watcher, first).await,
        (None, None) => Err(Error::new(Kind::Internal, "there is nothing to run it")),
        (Some(init), _) => {
            let error = Error::new(Kind::Config, format!("nothing of it was read, because {}", init.reason));
            Err(init.remedy.iter().fold(error, |error, remedy| error.hint(remedy.clone())))
        }
    };
    // What one that does not run would have narrowed is not known, so all of its entry is guarded.
    let all = entry.events.clone();
    match loaded {
        Err(error) => Hook { entry, source: None, broken: Some(error), events: all },
        Ok((source, Err(error))) => Hook { entry, source: Some(Arc::new(source)), broken: Some(error), events: all },
        Ok((source, Ok(wanted))) => {
            let events = all.into_iter().filter(|event| wanted.contains(event)).collect();
            Hook { entry, source: Some(Arc::new(source)), broken: None, events }
        }
    }
}

/// The component of a hook, and what it wants to hear of, or why it may not run.
async fn ready(
    settings: &Settings,
    sandbox: &Sandbox,
    entry: &HookEntry,
    watcher: Option<&dyn Watcher>,
    first: Option<&HashSet<Identity>>,
) -> Result<(Plugin, Result<Vec<HookEvent>, Error>), Error> {
    let source = plugins::load_component(settings, sandbox, &entry.dir, World::Hook, watcher).await?;
    let wanted = wanted(settings, &source, entry, first).await;
    Ok((source, wanted))
}

async fn wanted(
    settings: &Settings,
    source: &Plugin,
    entry: &HookEntry,
    first: Option<&HashSet<Identity>>,
) -> Result<Vec<HookEvent>, Error> {
    let name = &source.manifest.name;
    let missing = missing(settings, source);
    if let Some((capability, why)) = missing.first() {
        let why = why.clone().unwrap_or_else(|| "nobody granted".to_owned());
        let error = Error::new(Kind::Config, format!("it needs {capability}, which {why}"));
        return Err(granting(settings, source, &missing).into_iter().fold(error, Error::hint));
    }
    if first.is_some_and(|first| entry.dir.scope == Scope::User && !first.contains(&source.identity) && source.grants.is_empty()) {
        let what = format!("{name} came or changed while it was served; start the server again to let it in");
        return Err(Error::new(Kind::Config, what));
    }
    let wanted = source.component.events(&source.limits).await;
    let wanted = wanted
        .map_err(|f| Error::new(Kind::Component, format!("{name}: its events cannot be read ({}): {}", f.kind.name(), f.message)))?;
    Ok(wanted.into_iter().map(event).collect())
}

fn event(kind: hooks::EventKind) -> HookEvent {
    match kind {
        hooks::EventKind::SessionStart => HookEvent::SessionStart,
        hooks::EventKind::PromptSubmit => HookEvent::PromptSubmit,
        hooks::EventKind::BeforeCall => HookEvent::BeforeCall,
        hooks::EventKind::AfterCall => HookEvent::AfterCall,
        hooks::EventKind::CallDenied => HookEvent::CallDenied,
        hooks::EventKind::SessionEnd => HookEvent::SessionEnd,
    }
}
