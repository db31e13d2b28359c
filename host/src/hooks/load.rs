//! Hooks from their entries: each stands for itself, and one that does not load keeps its place.

use super::command::CHANGED;
use super::foreign::{self, Refused};
use super::{Command, Hook, Hooks};
use crate::clean;
use crate::config::{AllowedCommand, HookEntry, HookEvent, Scope, Settings};
use crate::error::{Error, Kind};
use crate::plugins::{self, Plugin, Watcher};
use crate::remedy::{granting, missing};
use crate::sandbox::{Sandbox, hooks};
use palisade_policy::{Identity, Init};
use std::path::Path;
use std::sync::Arc;

/// What hooks are loaded with.
pub(crate) struct With<'a> {
    /// Runs components; where there is none, no hook is one.
    pub(crate) sandbox: Option<&'a Sandbox>,
    pub(crate) watcher: Option<&'a dyn Watcher>,
    /// Those of a host that this one takes the place of: one of the user's that is another by now waits for the next start.
    pub(crate) before: Option<&'a Hooks>,
    /// The program that supervises native commands.
    pub(crate) program: &'a Path,
}

/// Loads all hooks of the settings.
pub(crate) async fn load(settings: &Settings, with: &With<'_>) -> Hooks {
    let mut all = Vec::new();
    for entry in &settings.hooks {
        match &entry.commands {
            None => all.push(Arc::new(component(settings, with, entry.clone()).await)),
            Some(allowed) => all.extend(commands(settings, with, entry, allowed).into_iter().map(Arc::new)),
        }
    }
    Hooks { all }
}

fn broken(entry: HookEntry, error: Error) -> Hook {
    // What it would have narrowed is not known, so all of its entry is guarded.
    let events = entry.events.clone();
    Hook { entry, source: None, command: None, foreign: None, broken: Some(error), known: None, events }
}

fn withheld(init: &Init) -> Error {
    let error = Error::new(Kind::Config, format!("nothing of it was read, because {}", init.reason));
    init.remedy.iter().fold(error, |error, remedy| error.hint(remedy.clone()))
}

async fn component(settings: &Settings, with: &With<'_>, entry: HookEntry) -> Hook {
    let loaded = match (&entry.withheld, with.sandbox) {
        (None, Some(sandbox)) => ready(settings, sandbox, &entry, with).await,
        (None, None) => Err(Error::new(Kind::Internal, "there is nothing to run it")),
        (Some(init), _) => Err(withheld(init)),
    };
    match loaded {
        Err(error) => broken(entry, error),
        Ok((source, Err(error))) => {
            let known = known(&entry, with).unwrap_or(source.identity);
            Hook { source: Some(Arc::new(source)), known: Some(known), ..broken(entry, error) }
        }
        Ok((source, Ok(wanted))) => {
            let events = entry.events.iter().copied().filter(|event| wanted.contains(event)).collect();
            let known = Some(source.identity);
            Hook { entry, source: Some(Arc::new(source)), command: None, foreign: None, broken: None, known, events }
        }
    }
}

/// What a hook of that folder was, where it was let in before.
fn known(entry: &HookEntry, with: &With<'_>) -> Option<Identity> {
    let before = with.before.into_iter().flat_map(|hooks| &hooks.all);
    before.filter(|hook| hook.entry.dir.scope == entry.dir.scope && hook.entry.dir.folder == entry.dir.folder).find_map(|hook| hook.known)
}

/// The entries of a `hooks.json`. One that nobody allowed is listed, hears nothing and guards nothing.
fn commands(settings: &Settings, with: &With<'_>, entry: &HookEntry, allowed: &[AllowedCommand]) -> Vec<Hook> {
    let path = &entry.dir.folder;
    let found = match &entry.withheld {
        Some(init) => Err(withheld(init)),
        None => foreign::read(path),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return vec![broken(entry.clone(), error)],
    };
    let root = foreign::place(path).1;
    let mut hooks = Vec::new();
    for one in &found {
        let refuse = |why: String| Error::new(Kind::Config, why);
        let (guard, mut events, tools, command, error) = match &one.meaning {
            Err(Refused::Because(why) | Refused::Unknown(why)) => (false, Vec::new(), Vec::new(), None, Some(refuse(why.clone()))),
            Ok(meaning) => {
                let (command, error) = match allowed.iter().find(|allowed| allowed.argv == meaning.argv) {
                    None => (None, Some(refuse(foreign::NOT_ALLOWED.to_owned()))),
                    Some(allowed) if meaning.digest.as_ref() == Ok(&allowed.digest) => {
                        (Some(Command::new(allowed.clone(), &root, settings, with.program, meaning.timeout)), None)
                    }
                    Some(_) => (None, Some(refuse(CHANGED.to_owned()))),
                };
                (meaning.is_guard(), vec![meaning.event], meaning.tools.clone(), command, error)
            }
        };
        let known = matches!(&one.meaning, Ok(meaning) if allowed.iter().any(|allowed| allowed.argv == meaning.argv));
        if !known {
            events.clear();
        }
        let entry = HookEntry { guard, events: events.clone(), tools, ..entry.clone() };
        hooks.push(Hook { entry, source: None, command, foreign: Some(one.clone()), broken: error, known: None, events });
    }
    let there = |one: &&AllowedCommand| found.iter().any(|f| matches!(&f.meaning, Ok(meaning) if meaning.argv == one.argv));
    // Somebody took out of the file what a person wants to run.
    hooks.extend(allowed.iter().filter(|one| !there(one)).map(|gone| {
        let argv = clean::line(&gone.argv.join(" "), clean::NAME);
        broken(entry.clone(), Error::new(Kind::Config, format!("`{argv}` is allowed, and no entry of the hooks.json runs it")))
    }));
    hooks
}

/// The component of a hook, and what it wants to hear of, or why it may not run.
async fn ready(
    settings: &Settings,
    sandbox: &Sandbox,
    entry: &HookEntry,
    with: &With<'_>,
) -> Result<(Plugin, Result<Vec<HookEvent>, Error>), Error> {
    let source = plugins::load_hook(settings, sandbox, &entry.dir, with.watcher).await?;
    let wanted = wanted(settings, &source, entry, known(entry, with)).await;
    Ok((source, wanted))
}

async fn wanted(settings: &Settings, source: &Plugin, entry: &HookEntry, known: Option<Identity>) -> Result<Vec<HookEvent>, Error> {
    let name = &source.manifest.name;
    let missing = missing(settings, source);
    if let Some((capability, why)) = missing.first() {
        let why = why.clone().unwrap_or_else(|| "nobody granted".to_owned());
        let error = Error::new(Kind::Config, format!("it needs {capability}, which {why}"));
        return Err(granting(settings, source, &missing).into_iter().fold(error, Error::hint));
    }
    if entry.dir.scope == Scope::User && known.is_some_and(|known| known != source.identity) && source.grants.is_empty() {
        let what = format!("{name} changed while it was served; start the server again to let it in");
        return Err(Error::new(Kind::Config, what));
    }
    let wanted = source.component.events(&source.limits).await;
    let wanted =
        wanted.map_err(|f| Error::new(Kind::Component, format!("{name}: its events cannot be read ({}): {}", f.kind.name(), f.message)))?;
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
