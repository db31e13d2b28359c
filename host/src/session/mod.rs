//! A session: prompts in, turns out, one record of all of it.
//!
//! The rule it keeps: a turn is started only within the budget, a denied match becomes a denial and never a call, and the
//! session's file is whole at every moment.
//!
//! Where the rule ends: what a tool may do; every call goes through [`Host::call`].
//!
//! Never here: terminals, a second way to run a tool.

mod report;
pub mod router;
mod store;

pub use report::markdown;
pub use store::{Listed, SessionStore, StoredSession};

use crate::config::HookEvent;
use crate::error::{Error, Kind};
use crate::record::{CallRecord, Decision, Denial};
use crate::sandbox::Run;
use crate::{Host, ToolCall, clean, redact};
use palisade_policy::{Limit, Origin, Subsystem, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// Tools listed for a prompt, where nothing else is said.
pub const LISTED: usize = 5;

/// Tokens are whitespace-separated words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of prompts.
    pub input_tokens: u64,
    /// Of the turns' outputs.
    pub output_tokens: u64,
}

impl Usage {
    fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

fn tokens(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Why a turn or a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It has not ended; what a killed process leaves in its file.
    Running,
    /// All was done.
    Completed,
    /// The next turn would have passed the turn limit.
    MaxTurnsReached,
    /// The next turn would have passed the token limit.
    MaxBudgetReached,
    /// The caller gave up.
    Cancelled,
}

/// A tool that fitted a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// Its id.
    pub tool: String,
    /// The higher the better; 0 for a direct call.
    pub score: u32,
    /// What became of it.
    pub note: String,
}

/// What came of one prompt.
#[derive(Debug, Clone, Serialize)]
pub struct TurnResult {
    /// The prompt, redacted.
    pub prompt: String,
    /// What fitted it.
    pub matched: Vec<Matched>,
    /// What ran, or was stopped at its arguments.
    pub calls: Vec<CallRecord>,
    /// The text of it all.
    pub output: String,
    /// What was denied.
    pub permission_denials: Vec<Denial>,
    /// What it used.
    pub usage: Usage,
    /// How it ended.
    pub stop_reason: StopReason,
}

/// Whether a subsystem was initialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InitState {
    /// Whether.
    pub enabled: bool,
    /// Why.
    pub reason: String,
}

/// The skill that narrowed a session's tools, and its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActiveSkill {
    /// Its name.
    pub name: String,
    /// Its `SKILL.md`, as an operator reads it.
    pub source: String,
    /// What it is for.
    pub description: String,
    /// What it says, redacted.
    pub text: String,
    /// The ids it leaves; `None` where it leaves all.
    pub tools: Option<Vec<String>>,
    /// What it names that is no tool here.
    pub ignored: Vec<String>,
}

/// The skill that is active in a host.
fn active(host: &Host) -> Option<ActiveSkill> {
    let skill = host.active_skill()?;
    let left = host.left_by(skill);
    Some(ActiveSkill {
        name: skill.name.clone(),
        source: format!("{}/{}", skill.shown, crate::skills::FILE),
        description: redact::text(&skill.description).into_owned(),
        text: redact::text(&skill.text).into_owned(),
        tools: left.tools,
        ignored: left.ignored,
    })
}

/// What came of a session: the JSON of `run`, and the source of its report.
#[derive(Debug, Clone, Serialize)]
pub struct RunResult {
    /// Its id.
    pub session_id: Uuid,
    /// When it began, RFC 3339.
    pub created: String,
    /// The profile.
    pub profile: String,
    /// Whether any subsystem was initialised.
    pub trusted: bool,
    /// The four subsystems.
    pub init: BTreeMap<&'static str, InitState>,
    /// The active skill.
    pub skill: Option<ActiveSkill>,
    /// The turns that ran.
    pub turns: Vec<TurnResult>,
    /// All denials of all turns.
    pub permission_denials: Vec<Denial>,
    /// What they used together.
    pub usage: Usage,
    /// How it ended.
    pub stop_reason: StopReason,
    /// Where it is stored.
    pub session_path: Option<PathBuf>,
}

/// The state of the four subsystems, by name.
#[must_use]
pub fn init(host: &Host) -> BTreeMap<&'static str, InitState> {
    let state = |s: Subsystem| {
        let init = host.settings().init.of(s);
        let at = match &init.origin {
            Origin::BuiltIn => String::new(),
            origin => format!(" ({})", clean::line(&origin.to_string(), clean::NAME)),
        };
        (s.name(), InitState { enabled: init.enabled, reason: format!("{}{at}", clean::line(&init.reason, clean::TEXT)) })
    };
    Subsystem::ALL.into_iter().map(state).collect()
}

/// What a session tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A call was decided; if it is allowed, it runs next.
    Decided(&'a Decision<'a>),
    /// A call ended.
    Ended(&'a CallRecord),
    /// A call did not run, because its decision cannot be written down.
    Unrecorded(&'a Error),
    /// What hooks have for the operator.
    Told(&'a [String]),
}

/// A prompt, and what may be done with it.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'t> {
    /// The text.
    pub text: &'t str,
    /// Whether `/source/tool {json}` is a direct call: typed by the person, or `--allow-calls`.
    pub direct_calls: bool,
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    host: Arc<Host>,
    listed: usize,
    store: Option<SessionStore>,
    stored: StoredSession,
    result: RunResult,
}

impl Session {
    /// A session that is stored where the settings say; its file is there from the start, so that a folder that cannot be
    /// written is found before anything runs.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn stored(host: Arc<Host>) -> Result<Self, Error> {
        let mut session = Self::new(host);
        let store = SessionStore::new(&session.host.settings().session_dir);
        store.prepare()?;
        session.result.session_path = Some(store.write(&session.stored)?);
        session.store = Some(store);
        Ok(session)
    }

    /// A session that is kept in memory alone.
    #[must_use]
    pub fn new(host: Arc<Host>) -> Self {
        let settings = host.settings();
        let stored = StoredSession::new(Uuid::new_v4(), SystemTime::now(), settings.workspace.folder.path(), &settings.profile.name);
        let init = init(&host);
        let result = RunResult {
            session_id: stored.session_id,
            created: stored.created.clone(),
            profile: stored.profile.clone(),
            trusted: init.values().any(|s| s.enabled),
            init,
            skill: active(&host),
            turns: Vec::new(),
            permission_denials: Vec::new(),
            usage: Usage::default(),
            stop_reason: StopReason::Running,
            session_path: None,
        };
        Self { host, listed: LISTED, store: None, stored, result }
    }

    /// How many tools are listed for a prompt.
    #[must_use]
    pub fn listing(mut self, listed: usize) -> Self {
        self.listed = listed;
        self
    }

    /// Whether a turn with this prompt would pass a limit.
    fn over(&self, prompt: &str) -> Option<StopReason> {
        let limits = self.host.limits();
        if self.result.turns.len() as u64 >= limits.get(Limit::Turns) {
            return Some(StopReason::MaxTurnsReached);
        }
        let would = self.result.usage.total().saturating_add(tokens(prompt));
        (would > limits.get(Limit::Tokens)).then_some(StopReason::MaxBudgetReached)
    }

    /// Runs one turn, and says whether another may follow.
    ///
    /// # Errors
    /// The session's file cannot be written; the turn ran, and is in [`Session::finish`]'s result. Or the audit log cannot,
    /// and the call of this turn did not run.
    pub async fn turn(&mut self, prompt: Prompt<'_>, run: Run, event: &(dyn Fn(Event<'_>) + Sync)) -> Result<bool, Error> {
        if let Some(reason) = self.over(prompt.text) {
            self.result.stop_reason = reason;
            return Ok(false);
        }
        let cancelled = run.cancelled.clone();
        let (denied, told) = self.host.prompt(prompt.text, &run).await?;
        event(Event::Told(&told));
        // Written before anything runs: the prompt, and then each denial. One that a guard denied was not submitted.
        if denied.is_none() {
            self.stored.prompts.push(cut(&redact::text(prompt.text)));
        }
        self.store(denied.as_slice())?;
        let mut turn = TurnResult {
            prompt: redact::text(prompt.text).into_owned(),
            matched: Vec::new(),
            calls: Vec::new(),
            output: String::new(),
            permission_denials: Vec::new(),
            usage: Usage { input_tokens: tokens(prompt.text), output_tokens: 0 },
            stop_reason: StopReason::Completed,
        };
        let mut failed = None;
        match direct(prompt.text) {
            _ if denied.is_some() => {
                turn.permission_denials.extend(denied);
            }
            Some((id, arguments)) if prompt.direct_calls => {
                let note = "direct call".to_owned();
                turn.matched.push(Matched { tool: clean::line(id, clean::NAME), score: 0, note });
                failed = self.call(&mut turn, 0, ToolCall::new(id, arguments), run, event).await.err();
            }
            Some((id, _)) => {
                let note = "not run: a direct call that does not come from the command line needs --allow-calls".to_owned();
                turn.matched.push(Matched { tool: clean::line(id, clean::NAME), score: 0, note });
            }
            None => failed = self.routed(&mut turn, prompt.text, run, event).await.err(),
        }
        turn.output = output(&turn);
        turn.usage.output_tokens = tokens(&turn.output);
        let stopped = cancelled.is_some_and(|c| *c.borrow());
        if stopped {
            turn.stop_reason = StopReason::Cancelled;
            self.result.stop_reason = StopReason::Cancelled;
        }
        self.keep(turn)?;
        failed.map_or(Ok(!stopped), Err)
    }

    async fn routed(&mut self, turn: &mut TurnResult, prompt: &str, run: Run, event: &(dyn Fn(Event<'_>) + Sync)) -> Result<(), Error> {
        let mut best = None;
        let mut listed = 0;
        // Every denied match is a denial; only of the others are no more listed than was asked for.
        for found in router::route(prompt, self.host.tools()) {
            let id = found.tool.spec.id.as_str();
            let note = match self.host.admit(&found.tool) {
                Err(refusal) => {
                    let start = std::time::Instant::now();
                    let gate = start.elapsed();
                    let (denial, unrecorded) = self.host.denied(id, refusal, None);
                    event(Event::Decided(&Decision { tool: id.to_owned(), denial: Some(&denial), gate, unrecorded: unrecorded.as_ref() }));
                    event(Event::Told(&self.host.observe_denied(&denial, &run).await));
                    let note = format!("denied by {}", denial.rule);
                    turn.permission_denials.push(denial);
                    note
                }
                Ok(()) if listed >= self.listed => continue,
                Ok(()) => {
                    listed += 1;
                    best = best.or_else(|| Some((turn.matched.len(), found.tool.clone())));
                    "not run: there is a better match".to_owned()
                }
            };
            turn.matched.push(Matched { tool: id.to_owned(), score: found.score, note });
        }
        let Some((at, tool)) = best else { return Ok(()) };
        self.store(&turn.permission_denials)?;
        match router::arguments(prompt, tool.spec.input.value()) {
            Ok(arguments) => {
                "called".clone_into(&mut turn.matched[at].note);
                return self.call(turn, at, ToolCall::new(tool.spec.id.as_str(), &arguments), run, event).await;
            }
            Err(why) => turn.matched[at].note = format!("not run: {why}"),
        }
        Ok(())
    }

    async fn call(
        &self,
        turn: &mut TurnResult,
        at: usize,
        call: ToolCall,
        run: Run,
        event: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<(), Error> {
        match self.host.call(call, self.budget(), run, |decision| event(Event::Decided(decision))).await {
            Ok(record) => {
                event(Event::Ended(&record));
                if let Some(denial) = &record.denial {
                    turn.matched[at].note = format!("denied by {}", denial.rule);
                    turn.permission_denials.push(denial.clone());
                }
                turn.calls.push(record);
            }
            Err(error) => {
                turn.matched[at].note = format!("not run: {}", clean::line(&error.message, clean::TEXT));
                // A call that cannot be recorded ends the session; one that is not there is the prompt's business.
                if error.kind == Kind::Io {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Step 7 of the gate: what the session may still spend. A turn over budget is not even started.
    fn budget(&self) -> Verdict {
        match self.over("") {
            None => Verdict::pass(),
            Some(_) => Verdict::deny(Origin::BuiltIn, "the session's budget is spent".to_owned(), None),
        }
    }

    fn keep(&mut self, turn: TurnResult) -> Result<(), Error> {
        self.result.usage.input_tokens += turn.usage.input_tokens;
        self.result.usage.output_tokens += turn.usage.output_tokens;
        self.result.permission_denials.extend(turn.permission_denials.iter().cloned());
        self.result.turns.push(turn);
        self.store(&[])
    }

    /// Writes the session as it is, with the denials of a turn that has not ended.
    fn store(&mut self, running: &[Denial]) -> Result<(), Error> {
        self.stored.usage = self.result.usage;
        self.stored.permission_denials = self.result.permission_denials.iter().chain(running).cloned().collect();
        self.stored.stop_reason = self.result.stop_reason;
        match &self.store {
            Some(store) => store.write(&self.stored).map(drop),
            None => Ok(()),
        }
    }

    /// Tells the hooks that it begins.
    pub async fn begin(&self, event: &(dyn Fn(Event<'_>) + Sync)) {
        event(Event::Told(&self.host.observe_session(HookEvent::SessionStart, &self.stored.session_id.to_string()).await));
    }

    /// Tells the hooks that it ends.
    pub async fn end(&self, event: &(dyn Fn(Event<'_>) + Sync)) {
        event(Event::Told(&self.host.observe_session(HookEvent::SessionEnd, &self.stored.session_id.to_string()).await));
    }

    /// Ends the session and stores how.
    pub fn finish(mut self) -> (RunResult, Result<(), Error>) {
        if self.result.stop_reason == StopReason::Running {
            self.result.stop_reason = StopReason::Completed;
        }
        let stored = self.store(&[]);
        (self.result, stored)
    }
}

/// Longest prompt that is stored, in characters.
const STORED: usize = 64 * 1024;

fn cut(prompt: &str) -> String {
    prompt.chars().take(STORED).collect()
}

/// `/source/tool {json}`: the id and its arguments, `{}` where there are none.
fn direct(prompt: &str) -> Option<(&str, &str)> {
    let call = prompt.trim().strip_prefix('/')?;
    let (id, arguments) = call.split_once(char::is_whitespace).map_or((call, "{}"), |(id, rest)| (id, rest.trim()));
    let is_call = id.contains('/') && (arguments.starts_with('{'));
    is_call.then_some((id, arguments))
}

fn output(turn: &TurnResult) -> String {
    let call = |record: &CallRecord| match (&record.error, &record.denial) {
        (_, Some(denial)) => format!("{}: denied by {} (#{})", denial.tool, denial.rule, denial.number),
        (Some(error), None) => format!("{}: {}: {}", record.tool, error.kind.name(), error.message),
        (None, None) => record.text(),
    };
    if !turn.calls.is_empty() {
        return turn.calls.iter().map(call).collect::<Vec<_>>().join("\n");
    }
    if let (true, Some(denial)) = (turn.matched.is_empty(), turn.permission_denials.first()) {
        return format!("the prompt was denied by {} (#{})", denial.rule, denial.number);
    }
    if turn.matched.is_empty() {
        return "no tool fits this prompt".to_owned();
    }
    turn.matched.iter().map(|m| format!("{}: {}", m.tool, m.note)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_call_is_an_id_and_a_json_object() {
        assert_eq!(direct("/a/b {\"x\":1}"), Some(("a/b", "{\"x\":1}")));
        assert_eq!(direct(" /a/b "), Some(("a/b", "{}")));
        assert_eq!(direct("/a/b text"), None);
        assert_eq!(direct("a/b {}"), None);
        assert_eq!(direct("/path {}"), None);
    }
}
