//! One call: a fresh store and instance, within limits, and what came of it.

use crate::error::Kind;
use crate::many::processors;
use crate::sandbox::bindings::palisade::plugin::types;
use crate::sandbox::cache::{CodeCache, Known, WasmDigest};
use crate::sandbox::code::{Code, Facts, Parts};
use crate::sandbox::entry::{Entry, Linked, Tool, World};
use crate::sandbox::folders::Stuck;
use crate::sandbox::pace::{Pace, note_tick};
use crate::sandbox::places::{Places, Spent};
use crate::sandbox::program;
use crate::sandbox::refused::Refused;
use crate::sandbox::shards::Shards;
use crate::sandbox::state::{HostCalls, State};
use crate::sandbox::wasi::Reach;
use crate::sandbox::written::Written;
use palisade_policy::{Limit, Limits};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use wasmtime::{Engine, Store, UpdateDeadline};

/// A component, compiled and linked once, ready for any number of calls.
pub struct Prepared {
    pub(super) shards: Arc<Shards>,
    /// What it is of, and so what is asked of it.
    pub(super) world: World,
    /// In the first engine; not there until something is asked that is not known.
    pub(super) code: OnceLock<Code>,
    /// What is known of it, where it can be loaded by that.
    pub(super) known: Option<Known>,
    /// What is kept of it.
    pub(super) facts: Option<Facts>,
    /// Linked in the other engines, as they were asked to run it.
    pub(super) more: Box<[OnceLock<Linked>]>,
    /// Of this component, then of all; in this order a source waits for itself and holds up no other.
    places: [Places; 2],
    /// Where its code and facts are kept, and under which digest.
    pub(super) kept: Option<(CodeCache, WasmDigest)>,
    stuck: Stuck,
    pace: Pace,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// How a call is watched from outside.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Where progress goes.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Turns true when the caller gave up.
    pub cancelled: Option<watch::Receiver<bool>>,
}

/// A progress report of a guest; text from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How much is done.
    pub done: f64,
    /// Of how much.
    pub total: Option<f64>,
    /// What is being done.
    pub message: Option<String>,
}

/// A line a guest logged; text from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it said.
    pub message: String,
}

/// A piece of a result.
#[derive(Debug, Clone)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A JSON document, checked to be one.
    Json(Box<serde_json::value::RawValue>),
    /// Bytes with their media type.
    Blob {
        /// For instance `image/png`.
        mime: String,
        /// The bytes.
        data: Vec<u8>,
    },
}

/// A tool as its component defines it; text from outside.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Definition {
    /// The tool part of its id.
    pub name: String,
    /// A short name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: String,
    /// JSON Schema of its JSON result.
    pub output_schema: Option<String>,
    /// What it says of itself.
    pub hints: Option<Hints>,
}

/// What a tool says of itself; nothing is decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may remove or overwrite.
    pub destructive: bool,
    /// A second equal call changes nothing more.
    pub idempotent: bool,
    /// It reaches beyond the machine.
    pub open_world: bool,
}

/// Why a call gave no result. The message is for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which of the kinds of a call.
    pub kind: Kind,
    /// One sentence; for `tool-failed` the guest's own.
    pub message: String,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Report<T = Vec<Content>> {
    /// The result.
    pub result: Result<T, Failure>,
    /// What the guest logged.
    pub log: Vec<LogLine>,
    /// Log lines that found no room.
    pub log_dropped: u64,
    /// Bytes in all linear memories at the end, which is their peak.
    pub memory_peak: usize,
    /// What was refused of its requests over the network, and in its folders; a few, each once.
    pub refused: Vec<Refused>,
    /// Where it was quick and small: what is left of its instance.
    pub(crate) spent: Option<Spent>,
}

impl Prepared {
    /// A component of the first engine of `shards`.
    pub(crate) fn new(
        shards: Arc<Shards>,
        world: World,
        places: [Places; 2],
        kept: Option<(CodeCache, WasmDigest)>,
        Parts { code, known, facts }: Parts,
    ) -> Self {
        let pace = Pace::new(if shards.slow.is_some() { processors() } else { 1 });
        let more = (1..shards.len()).map(|_| OnceLock::new()).collect();
        let code = code.map_or_else(OnceLock::new, OnceLock::from);
        Self { shards, world, code, known, facts, more, places, kept, stuck: Stuck::default(), pace }
    }

    /// Whether so many of its operations on files never ended that it may not begin more.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.stuck.count() > STUCK
    }

    /// Runs one tool in a fresh instance, for at most `time`. Not public: whoever holds a component still has to go through
    /// the gate.
    pub(crate) async fn call(
        self: &Arc<Self>,
        tool: &str,
        arguments: Arc<[u8]>,
        reach: &Arc<Reach>,
        limits: &Limits,
        time: Duration,
        run: Run,
    ) -> Report {
        if self.is_program() {
            return Box::pin(self.run_program(arguments, reach, limits, time, run)).await;
        }
        let state = State::new(reach, limits, run.clone(), self.stuck());
        self.enter(Tool { name: tool.to_owned(), arguments }, state, limits, time, run).await
    }

    /// The count of its operations on files that never ended.
    pub(super) fn stuck(&self) -> Stuck {
        self.stuck.clone()
    }

    /// Enters a fresh instance, for at most `time`.
    ///
    /// It starts on the thread of the caller. When it used up a whole tick it goes on among the slow, see [`Pace`].
    pub(super) async fn enter<E: Entry>(
        self: &Arc<Self>,
        entry: E,
        state: State,
        limits: &Limits,
        time: Duration,
        run: Run,
    ) -> Report<E::Output> {
        if time.is_zero() {
            return Report::failed(Failure::new(Kind::LimitTime, stopped_after(limits, E::TIME)));
        }
        let running = self.shards.running();
        let job = Job { prepared: self.clone(), entry, cancelled: run.cancelled, state, limits: limits.clone(), time };
        let mut job = Box::pin(job.run());
        let report = match &self.shards.slow {
            None => job.await,
            Some(slow) => {
                let ended = if self.pace.is_long() { None } else { self.pace.until_busy(job.as_mut()).await };
                match ended {
                    Some(report) => report,
                    None => {
                        let prepared = self.clone();
                        let wiped = async move { Report { spent: None, ..job.await } };
                        let rest = async move { prepared.pace.in_turn(Box::pin(wiped)).await };
                        slow.run(Box::pin(rest)).await.unwrap_or_else(|| Report::failed(gone()))
                    }
                }
            }
        };
        drop(running);
        report
    }

    /// Whether it is a program, which has one tool.
    pub(crate) fn is_program(&self) -> bool {
        self.code.get().is_some_and(|code| matches!(code.linked, Linked::Program(_)))
    }

    /// Whether its tools are what its types or its world say, and not what it says itself.
    pub(crate) fn defines_nothing(&self) -> bool {
        self.code.get().is_some_and(|code| matches!(code.linked, Linked::Foreign(_) | Linked::Program(_)))
    }

    /// The definitions of this component that passed every check before; see [`Prepared::keep_definitions`].
    pub(crate) fn kept_definitions(&self) -> Option<Vec<Definition>> {
        self.facts.as_ref().map(|facts| facts.definitions.clone())
    }

    /// Keeps definitions that passed every check, so that neither they nor the guest are asked again.
    pub(crate) fn keep_definitions(&self, definitions: &[Definition]) {
        if let Some((cache, digest)) = &self.kept {
            let facts = Facts { imports: self.imports(), definitions: definitions.to_vec() };
            cache.store_facts(self.engine(), self.shards.get(0).room, digest, &facts);
        }
    }

    /// The definitions, read in an instance that reaches nothing, or from its types; and what of a component of another world
    /// is no tool, by name and reason.
    ///
    /// # Errors
    /// The failure of the guest: it trapped, took too long or returned too much.
    pub(crate) async fn definitions(&self, limits: &Limits) -> Result<(Vec<Definition>, Vec<(String, String)>), Failure> {
        match &self.code()?.linked {
            Linked::Foreign(functions) => return Ok(functions.definitions()),
            Linked::Program(_) => return Ok((vec![program::definition()], Vec::new())),
            Linked::Plugin(_) | Linked::Hook(_) => {}
        }
        let read = self.read(limits, "tools", async |linked, store| match linked {
            Linked::Plugin(linked) => linked.instantiate_async(&mut *store).await?.palisade_plugin_tools().call_definitions(store).await,
            _ => Ok(Vec::new()),
        });
        Ok((read.await?.into_iter().map(definition).collect(), Vec::new()))
    }

    /// Asks for what is always the same, in an instance that reaches nothing.
    pub(super) async fn read<T>(
        &self,
        limits: &Limits,
        interface: &str,
        ask: impl AsyncFnOnce(&Linked, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        self.read_as(0, limits, interface, ask).await
    }

    /// The same with clocks and random that stand elsewhere.
    pub(super) async fn read_as<T>(
        &self,
        seed: u8,
        limits: &Limits,
        interface: &str,
        ask: impl AsyncFnOnce(&Linked, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let _running = self.shards.running();
        let deadline = limits.time(Limit::DefinitionsTime);
        let linked = &self.code()?.linked;
        let mut store = store(linked.engine(), State::sealed(limits, self.stuck.clone(), seed), limits);
        let ran = tokio::time::timeout(deadline, ask(linked, &mut store)).await;
        let result = ran.map_err(|_| Failure::new(Kind::LimitTime, format!("it was stopped after {}", show(deadline))))?;
        result.map_err(|error| match format!("{error:#}") {
            // The types of exports are compared only when the first instance is made.
            text if text.contains("failed to convert function") => {
                Failure::new(Kind::Component, format!("the component does not export palisade:plugin/{interface} with its types: {text}"))
            }
            _ => engine_failure(store.data(), &error, limits),
        })
    }
}

/// Operations on files that may never end, of one source; past it the source is set aside.
const STUCK: u32 = 8;

fn store(engine: &Engine, state: State, limits: &Limits) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    // The tick that comes next may come at once; the one after it has passed whole.
    store.set_epoch_deadline(2);
    store.epoch_deadline_callback(|mut store| {
        let state = store.data_mut();
        // A flood of calls that the engine answers by itself ends here, at most a tick late.
        state.check_calls()?;
        note_tick();
        Ok(UpdateDeadline::Yield(1))
    });
    // Bounds what the host allocates for one string or list before it does so.
    store.set_hostcall_fuel(limits.size(Limit::Result).max(limits.size(Limit::Arguments)));
    store.set_max_component_handles(limits.size(Limit::Handles));
    store
}

/// All that one call needs, so that it can move from thread to thread.
struct Job<E> {
    prepared: Arc<Prepared>,
    entry: E,
    state: State,
    limits: Limits,
    time: Duration,
    cancelled: Option<watch::Receiver<bool>>,
}

impl<E: Entry> Job<E> {
    async fn run(self) -> Report<E::Output> {
        let Self { prepared, entry, state, limits, time, mut cancelled } = self;
        let linked = match prepared.linked() {
            Ok(linked) => linked,
            Err(failure) => return Report::failed(failure),
        };
        let mut store = store(linked.engine(), state, &limits);
        let mut held = None;
        let ran = {
            let work = async {
                held = Some([prepared.places[0].take().await, prepared.places[1].take().await]);
                entry.enter(linked, &mut store, &limits).await
            };
            let timed = tokio::time::timeout(time, work);
            match &mut cancelled {
                None => timed.await.map_err(|_| Stopped::Time),
                Some(cancelled) => until_cancelled(timed, cancelled, limits.time(Limit::Grace)).await,
            }
        };
        let state = store.data_mut();
        let result = match ran {
            Err(Stopped::Time) => Err(Failure::new(Kind::LimitTime, stopped_after(&limits, E::TIME))),
            Err(Stopped::Cancelled) => Err(Failure::new(Kind::Cancelled, "the caller gave up")),
            // Whatever it made of the error, it wrote as much as it might.
            Ok(_) if state.written.as_ref().is_some_and(Written::hit) => Err(Failure::new(Kind::LimitOutput, wrote_too_much(&limits))),
            Ok(Err(error)) => Err(engine_failure(state, &error, &limits)),
            Ok(Ok(_)) if state.check_calls().is_err() => Err(called_too_often(&limits)),
            Ok(Ok(result)) => result,
        };
        let (log, refused) = (std::mem::take(&mut state.log), state.http.refused());
        let (memory_peak, log_dropped) = (state.limiter.peak(), state.log_dropped);
        state.end();
        let spent = Spent::of(store, held, memory_peak);
        Report { result, memory_peak, log, log_dropped, refused, spent }
    }
}

impl<T> Report<T> {
    /// Of a call that gave no result.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self { result: Err(failure), log: Vec::new(), log_dropped: 0, memory_peak: 0, refused: Vec::new(), spent: None }
    }
}

fn gone() -> Failure {
    Failure::new(Kind::Internal, "the thread it ran on is gone")
}

fn stopped_after(limits: &Limits, limit: Limit) -> String {
    format!("it was stopped after {}", show(limits.time(limit)))
}

fn wrote_too_much(limits: &Limits) -> String {
    format!(
        "it would have written more than {} or made more than {} files",
        Limit::WrittenBytes.show(limits.get(Limit::WrittenBytes)),
        limits.get(Limit::WrittenFiles)
    )
}

fn called_too_often(limits: &Limits) -> Failure {
    Failure::new(Kind::LimitCalls, format!("it called the host more than {} times", limits.get(Limit::HostCalls)))
}

enum Stopped {
    Time,
    Cancelled,
}

/// Runs `work` until it ends, or until the grace after a cancellation is over.
async fn until_cancelled<T>(
    work: impl Future<Output = Result<T, tokio::time::error::Elapsed>>,
    cancelled: &mut watch::Receiver<bool>,
    grace: Duration,
) -> Result<T, Stopped> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        ended = &mut work => return ended.map_err(|_| Stopped::Time),
        // A sender that is gone never cancels.
        Ok(_) = cancelled.wait_for(|c| *c) => {}
    }
    match tokio::time::timeout(grace, work).await {
        Ok(Ok(value)) => Ok(value),
        _ => Err(Stopped::Cancelled),
    }
}

pub(super) fn engine_failure(state: &State, error: &wasmtime::Error, limits: &Limits) -> Failure {
    if error.is::<HostCalls>() || state.check_calls().is_err() {
        return called_too_often(limits);
    }
    if state.limiter.hit {
        return Failure::new(
            Kind::LimitMemory,
            format!("it asked for more than {} of memory", Limit::Memory.show(limits.get(Limit::Memory))),
        );
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::new(Kind::LimitMemory, format!("there was no room for its instance beside the others: {error:#}"));
    }
    // The engine's error for a lift that is too large has a type of its own, which it does not export.
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls") {
        return Failure::new(Kind::LimitOutput, format!("it passed more than {} at once", Limit::Result.show(limits.get(Limit::Result))));
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => Failure::new(Kind::Trap, format!("the component trapped: {trap}")),
        None => Failure::new(Kind::Trap, format!("the component failed: {text}")),
    }
}

pub(super) fn definition(given: types::ToolDefinition) -> Definition {
    let types::ToolDefinition { name, title, description, input_schema, output_schema, annotations } = given;
    let hints = annotations.map(|a| Hints {
        read_only: a.read_only,
        destructive: a.destructive,
        idempotent: a.idempotent,
        open_world: a.open_world,
    });
    Definition { name, title, description, input_schema, output_schema, hints }
}

fn show(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
