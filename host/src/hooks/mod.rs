//! The hook subsystem: components that are told what happens, and guards among them whose answer counts.
//!
//! The rule it keeps: what a guard guards is denied where the guard gives no answer that counts - it did not load, trapped,
//! took too long, answered nonsense, or its run cannot be recorded. A hook hears what its entry and itself name, and nothing
//! else; its run is no call of a tool and asks no guard.
//!
//! Where the rule ends: what several answers make together is decided in the policy; what a hook reaches are its grants.
//!
//! Never here: the gate, tools, a terminal.

mod command;
mod foreign;
mod load;

pub use command::Command;
pub use foreign::{Foreign, Meaning, NOT_ALLOWED, Refused, read as read_foreign};
pub(crate) use load::{With, load};

use crate::audit::{ARGUMENTS, Audit, HookRun};
use crate::config::{HookEntry, HookEvent};
use crate::error::{Error, Kind};
use crate::plugins::Plugin;
use crate::record::{CallRecord, Denial, Outcome};
use crate::sandbox::{Content, LogLine, Report, Run, hooks, types};
use crate::{clean, redact};
use palisade_policy::{Asked, Identity, Origin, Refusal, Round, Rule, Said, Verdict};
use std::sync::Arc;
use std::time::Instant;

/// A hook that is configured, loaded or not.
#[derive(Debug)]
pub struct Hook {
    /// How it is configured.
    pub entry: HookEntry,
    /// Its manifest, component and grants, where they could be read.
    pub source: Option<Arc<Plugin>>,
    /// The native command it is instead, where a person allowed one.
    pub command: Option<Command>,
    /// The entry of a `hooks.json` that it stands for.
    pub foreign: Option<Foreign>,
    /// Why it does not run, with what would mend it as the hint; `None` where it does.
    pub broken: Option<Error>,
    /// What it is since it was let in: the next start, or its entry, lets another in.
    pub(crate) known: Option<Identity>,
    /// What it hears of: what its entry names, and it wants.
    pub events: Vec<HookEvent>,
}

impl Hook {
    /// Its name, or where it is configured if it has none.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.source {
            Some(source) => source.manifest.name.to_string(),
            None => match (&self.command, &self.foreign) {
                (Some(command), _) => command.name(),
                (None, Some(foreign)) => clean::line(&foreign.command, clean::NAME),
                (None, None) => clean::line(&self.entry.origin().to_string(), clean::NAME),
            },
        }
    }

    /// Why it gives no answer whatever it hears, and what would mend that.
    fn unable(&self) -> Option<(String, Option<String>)> {
        match (&self.broken, &self.source) {
            (Some(error), _) => Some((error.message.clone(), error.hint.clone())),
            (None, Some(source)) if source.component.is_stuck() => {
                Some(("too many of its operations on files never ended".to_owned(), None))
            }
            _ => None,
        }
    }

    fn hears(&self, event: HookEvent, id: &str) -> bool {
        self.events.contains(&event) && self.entry.hears(event, id)
    }
}

/// All hooks, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) all: Vec<Arc<Hook>>,
}

/// What hooks need besides the event.
pub(crate) struct Around<'a> {
    pub(crate) audit: Option<&'a Audit>,
    /// How the call is watched that they hear of.
    pub(crate) run: &'a Run,
    /// What the operator is told.
    pub(crate) told: &'a mut Vec<String>,
    /// What a guard put in the place of the arguments.
    pub(crate) replaced: Option<Arc<[u8]>>,
}

impl Hooks {
    /// Whether any guard hears of an event, about a tool where it has one.
    pub(crate) fn is_guarded(&self, event: HookEvent, id: &str) -> bool {
        self.all.iter().any(|hook| hook.entry.guard && hook.hears(event, id))
    }

    /// Whether any observer hears of an event, about a tool where it has one.
    pub(crate) fn is_observed(&self, event: HookEvent, id: &str) -> bool {
        self.all.iter().any(|hook| !hook.entry.guard && hook.hears(event, id))
    }

    /// The guards of an event, or its observers, in their order.
    fn hearing(&self, guards: bool, event: HookEvent, id: &str) -> Vec<&Arc<Hook>> {
        self.all.iter().filter(|hook| hook.entry.guard == guards && hook.hears(event, id)).collect()
    }

    /// Asks every guard of a call about arguments, until one denies.
    ///
    /// # Errors
    /// [`Kind::Io`] where the run of a guard cannot be recorded, [`Kind::Cancelled`] where the caller gave up.
    pub(crate) async fn ask(
        &self,
        round: &mut Round,
        id: &str,
        given: &[u8],
        around: &mut Around<'_>,
    ) -> Result<Result<(), Verdict>, Error> {
        // The gate parsed these very bytes, so they are UTF-8.
        let arguments = String::from_utf8_lossy(given).into_owned();
        let event = Arc::new(hooks::Event::BeforeCall(hooks::Call { id: id.to_owned(), arguments }));
        for guard in self.hearing(true, HookEvent::BeforeCall, id) {
            let said = said(guard, HookEvent::BeforeCall, id, event.clone(), around).await?;
            // Who gave up is not denied.
            if around.run.cancelled.as_ref().is_some_and(|cancelled| *cancelled.borrow()) {
                return Err(Error::new(Kind::Cancelled, "the caller gave up while a guard was asked"));
            }
            let name = guard.name();
            if let Err(verdict) = round.hear(&asked(guard, &name), given, said) {
                return Ok(Err(verdict));
            }
        }
        Ok(Ok(()))
    }

    /// Asks every guard about a prompt.
    ///
    /// # Errors
    /// As [`Hooks::ask`].
    pub(crate) async fn prompt(&self, prompt: &str, around: &mut Around<'_>) -> Result<Result<(), Verdict>, Error> {
        let event = Arc::new(hooks::Event::PromptSubmit(prompt.to_owned()));
        for guard in self.hearing(true, HookEvent::PromptSubmit, "") {
            let said = match said(guard, HookEvent::PromptSubmit, "", event.clone(), around).await? {
                Said::Replace(text) if *text != *prompt.as_bytes() => {
                    Said::Failed("it would replace a prompt, and only arguments can be replaced".to_owned(), None)
                }
                other => other,
            };
            let name = guard.name();
            if let Err(verdict) = Round::first().hear(&asked(guard, &name), prompt.as_bytes(), said) {
                return Ok(Err(verdict));
            }
        }
        self.observe(HookEvent::PromptSubmit, "", || hooks::Event::PromptSubmit(prompt.to_owned()), around).await;
        Ok(Ok(()))
    }

    /// Tells the observers of an event. One that fails is only reported.
    pub(crate) async fn observe(&self, event: HookEvent, id: &str, what: impl FnOnce() -> hooks::Event, around: &mut Around<'_>) {
        let hearing = self.hearing(false, event, id);
        if hearing.is_empty() {
            return;
        }
        let what = Arc::new(what());
        for observer in hearing {
            let name = observer.name();
            let failed = match said(observer, event, id, what.clone(), around).await {
                Ok(Said::Failed(why, _)) => why,
                Err(error) => error.message,
                Ok(_) => continue,
            };
            around.told.push(format!("the observer {name} did not hear of {}: {}", event.name(), clean::line(&failed, clean::TEXT)));
        }
    }

    /// Tells of a call that is about to run.
    pub(crate) async fn starts(&self, id: &str, arguments: &[u8], around: &mut Around<'_>) {
        let call = || hooks::Call { id: id.to_owned(), arguments: String::from_utf8_lossy(arguments).into_owned() };
        self.observe(HookEvent::BeforeCall, id, || hooks::Event::BeforeCall(call()), around).await;
    }

    /// Tells of a call that ran.
    pub(crate) async fn ended(&self, record: &CallRecord, around: &mut Around<'_>) {
        let ended = || hooks::Ended {
            id: record.tool.clone(),
            outcome: match record.outcome {
                Outcome::Ok => hooks::Outcome::Ok,
                Outcome::Limit => hooks::Outcome::Limit,
                Outcome::Error | Outcome::Denied => hooks::Outcome::Error,
            },
            error: record.error.as_ref().map(|error| (error.kind.name().to_owned(), error.message.clone())),
            content: record.content.iter().map(content).collect(),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a duration, far below 2^64 µs")]
            duration: record.stats.duration_us as u64,
        };
        self.observe(HookEvent::AfterCall, &record.tool, || hooks::Event::AfterCall(ended()), around).await;
    }

    /// Tells of a call that was denied.
    pub(crate) async fn denied(&self, denial: &Denial, around: &mut Around<'_>) {
        let Denial { tool, rule, source, reason, .. } = denial;
        // It quotes arguments, which this event does not tell.
        let reason = if rule == Rule::Arguments.name() { ARGUMENTS } else { reason };
        let denied = || hooks::Denied { id: tool.clone(), rule: rule.clone(), source: source.clone(), reason: reason.to_owned() };
        self.observe(HookEvent::CallDenied, tool, || hooks::Event::CallDenied(denied()), around).await;
    }

    /// Tells that a session begins or ends.
    pub(crate) async fn session(&self, event: HookEvent, id: &str, profile: &str, around: &mut Around<'_>) {
        let session = hooks::Session { id: id.to_owned(), profile: profile.to_owned() };
        let what = || match event {
            HookEvent::SessionEnd => hooks::Event::SessionEnd(session),
            _ => hooks::Event::SessionStart(session),
        };
        self.observe(event, "", what, around).await;
    }
}

fn asked<'a>(guard: &'a Hook, name: &'a str) -> Asked<'a> {
    Asked { name, origin: guard.entry.origin(), may_replace: guard.entry.dir.scope != crate::config::Scope::Workspace }
}

fn content(content: &Content) -> types::Content {
    match content {
        Content::Text(text) => types::Content::Text(text.clone()),
        Content::Json(json) => types::Content::Json(json.get().to_owned()),
        Content::Blob { mime, data } => types::Content::Blob(types::Blob { mime: mime.clone(), data: data.clone() }),
    }
}

/// What a hook says to an event, with its line in the audit log.
async fn said(hook: &Hook, event: HookEvent, id: &str, what: Arc<hooks::Event>, around: &mut Around<'_>) -> Result<Said, Error> {
    let start = Instant::now();
    let name = hook.name();
    if let Some((why, remedy)) = hook.unable() {
        return Ok(Said::Failed(why, remedy));
    }
    let (said, identity) = match (&hook.source, &hook.command) {
        (Some(source), _) => (heard(source, what, around).await, Some(source.identity)),
        (None, Some(command)) => (command.ask(&what).await, command.identity()),
        (None, None) => return Ok(Said::Failed("there is nothing to run".to_owned(), None)),
    };
    // Its own words go to the operator and into the log.
    let said = match said {
        Said::Deny(why) => Said::Deny(redact::line(&why, clean::TEXT)),
        Said::Failed(why, remedy) => Said::Failed(redact::line(&why, clean::TEXT), remedy),
        said => said,
    };
    if let Some(audit) = around.audit {
        let (verdict, reason) = match &said {
            Said::Failed(why, _) => ("failed", Some(why.as_str())),
            _ if !hook.entry.guard => ("heard", None),
            Said::Allow => ("allow", None),
            Said::Deny(why) => ("deny", Some(why.as_str())),
            Said::Replace(_) => ("replace", None),
        };
        let (event, duration) = (event.name(), start.elapsed());
        audit.hook(&HookRun { name: &name, identity: identity.as_ref(), event, tool: id, verdict, reason, duration })?;
    }
    Ok(said)
}

/// What a component says to an event.
async fn heard(source: &Plugin, what: Arc<hooks::Event>, around: &mut Around<'_>) -> Said {
    let run = Run { progress: None, cancelled: around.run.cancelled.clone() };
    let Report { result, log, .. } = source.component.handle(what, &source.reach, &source.limits, run).await;
    let name = source.manifest.name.as_str();
    around.told.extend(log.iter().filter(|line| matches!(line.level, "warn" | "error")).map(|line| logged(name, line)));
    match result {
        Ok(hooks::Answer::Allow) => Said::Allow,
        Ok(hooks::Answer::Deny(reason)) => Said::Deny(reason),
        Ok(hooks::Answer::Replace(arguments)) => Said::Replace(arguments.into_bytes().into()),
        Err(failure) if failure.kind == Kind::Cancelled => Said::Failed("the caller gave up".to_owned(), None),
        Err(failure) => Said::Failed(format!("{}: {}", failure.kind.name(), failure.message), None),
    }
}

fn logged(name: &str, line: &LogLine) -> String {
    format!("hook {name}: {}: {}", line.level, redact::line(&line.message, clean::TEXT))
}

/// Where the guards of a tool stand, for who asks why a call runs: `Err` where one of them denies whatever is said.
pub(crate) fn standing(hooks: &Hooks, id: &str) -> Result<Option<(Origin, String)>, Refusal> {
    let guards = hooks.hearing(true, HookEvent::BeforeCall, id);
    for guard in &guards {
        if let Some((why, remedy)) = guard.unable() {
            let reason = format!("the guard {} gives no answer: {why}", guard.name());
            return Err(Refusal { rule: Rule::Guard, source: guard.entry.origin().clone(), reason, remedy });
        }
    }
    let names = guards.iter().map(|guard| guard.name()).collect::<Vec<_>>().join(", ");
    Ok(guards.first().map(|first| (first.entry.origin().clone(), format!("asked when it is called: {names}"))))
}
