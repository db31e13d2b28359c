//! One call: a fresh store and instance, within limits, and what came of it.

use crate::error::Kind;
use crate::sandbox::bindings::{PluginPre, palisade::plugin::types};
use crate::sandbox::cache::{CodeCache, WasmDigest};
use crate::sandbox::state::State;
use crate::sandbox::wasi::Reach;
use palisade_policy::{Limit, Limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

/// A component, compiled and linked once, ready for any number of calls.
pub struct Prepared {
    engine: Engine,
    component: Component,
    pre: PluginPre<State>,
    /// Of this component, then of all; in this order a source waits for itself and holds up no other.
    places: [Places; 2],
    /// Where its definitions are kept, and under which digest.
    kept: Option<(CodeCache, WasmDigest)>,
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

/// Places for calls in flight. A call waits for one, and its deadline runs meanwhile.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// This many.
    #[must_use]
    pub fn new(places: u64) -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))))
    }

    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.0.acquire().await.ok()
    }
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
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Report {
    /// The result.
    pub result: Result<Vec<Content>, Failure>,
    /// What the guest logged.
    pub log: Vec<LogLine>,
    /// Log lines that found no room.
    pub log_dropped: u64,
    /// Bytes in all linear memories at the end, which is their peak.
    pub memory_peak: usize,
}

/// A call's store, and the result the guest gave or the engine's error.
type Ran<T> = (Store<State>, wasmtime::Result<T>);

impl Prepared {
    pub(crate) fn new(
        engine: Engine,
        component: Component,
        pre: PluginPre<State>,
        places: [Places; 2],
        kept: Option<(CodeCache, WasmDigest)>,
    ) -> Self {
        Self { engine, component, pre, places, kept }
    }

    /// The names of the interfaces the component imports.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        self.component.component_type().imports(&self.engine).map(|(name, _)| name.to_owned()).collect()
    }

    /// Runs one tool in a fresh instance. Not public: whoever holds a component still has to go through the gate.
    pub(crate) async fn call(&self, tool: &str, arguments: &str, reach: &Reach, limits: &Limits, run: Run) -> Report {
        let mut cancelled = run.cancelled.clone();
        let mut store = self.store(State::new(reach.context(), limits, run), limits);
        let deadline = limits.time(Limit::Time);
        let ran = {
            let work = async {
                let _places = (self.places[0].take().await, self.places[1].take().await);
                let plugin = self.pre.instantiate_async(&mut store).await?;
                plugin.palisade_plugin_tools().call_call(&mut store, tool, arguments).await
            };
            let timed = tokio::time::timeout(deadline, work);
            match &mut cancelled {
                None => timed.await.map_err(|_| Stopped::Time),
                Some(cancelled) => until_cancelled(timed, cancelled, limits.time(Limit::Grace)).await,
            }
        };
        let result = match ran {
            Err(Stopped::Time) => Err(Failure::new(Kind::LimitTime, format!("it was stopped after {}", show(deadline)))),
            Err(Stopped::Cancelled) => Err(Failure::new(Kind::Cancelled, "the caller gave up")),
            Ok(Err(error)) => Err(engine_failure(&store, &error, limits)),
            Ok(Ok(Err(types::ToolError { message }))) => Err(Failure::new(Kind::ToolFailed, message)),
            Ok(Ok(Ok(contents))) => checked(contents, limits),
        };
        let state = store.data_mut();
        Report { result, memory_peak: state.limiter.peak(), log: std::mem::take(&mut state.log), log_dropped: state.log_dropped }
    }

    /// The definitions, read in an instance that reaches nothing; once for a component, and then from the cache.
    ///
    /// # Errors
    /// The failure of the guest: it trapped, took too long or returned too much.
    pub(crate) async fn definitions(&self, limits: &Limits) -> Result<Vec<Definition>, Failure> {
        if let Some(kept) = self.kept.as_ref().and_then(|(cache, digest)| cache.load_definitions(&self.engine, digest)) {
            return Ok(kept);
        }
        let deadline = limits.time(Limit::DefinitionsTime);
        let mut store = self.store(State::new(Reach::sealed(), limits, Run::default()), limits);
        let work = async {
            let plugin = self.pre.instantiate_async(&mut store).await?;
            plugin.palisade_plugin_tools().call_definitions(&mut store).await
        };
        let ran = tokio::time::timeout(deadline, work).await;
        let (store, result): Ran<_> = match ran {
            Err(_) => return Err(Failure::new(Kind::LimitTime, format!("it was stopped after {}", show(deadline)))),
            Ok(result) => (store, result),
        };
        let definitions = result.map_err(|error| match format!("{error:#}") {
            // The types of exports are compared only when the first instance is made.
            text if text.contains("failed to convert function") => {
                Failure::new(Kind::Component, format!("the component does not export palisade:plugin/tools with its types: {text}"))
            }
            _ => engine_failure(&store, &error, limits),
        })?;
        let definitions: Vec<Definition> = definitions.into_iter().map(definition).collect();
        if let Some((cache, digest)) = &self.kept {
            cache.store_definitions(&self.engine, digest, &definitions);
        }
        Ok(definitions)
    }

    fn store(&self, state: State, limits: &Limits) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_async_yield_and_update(1);
        // Bounds what the host allocates for one string or list before it does so.
        store.set_hostcall_fuel(limits.size(Limit::Result).max(limits.size(Limit::Arguments)));
        store.set_max_component_handles(limits.size(Limit::Handles));
        store
    }
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

fn engine_failure(store: &Store<State>, error: &wasmtime::Error, limits: &Limits) -> Failure {
    if store.data().limiter.hit {
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

fn checked(contents: Vec<types::Content>, limits: &Limits) -> Result<Vec<Content>, Failure> {
    let size: usize = contents
        .iter()
        .map(|content| match content {
            types::Content::Text(text) | types::Content::Json(text) => text.len(),
            types::Content::Blob(blob) => blob.data.len() + blob.mime.len(),
        })
        .sum();
    if size > limits.size(Limit::Result) {
        return Err(Failure::new(Kind::LimitOutput, format!("its result has {size} bytes; the limit is {}", limits.get(Limit::Result))));
    }
    let one = |content| match content {
        types::Content::Text(text) => Ok(Content::Text(text)),
        types::Content::Json(text) => serde_json::value::RawValue::from_string(text)
            .map(Content::Json)
            .map_err(|_| Failure::new(Kind::ToolFailed, "it returned JSON that is none")),
        types::Content::Blob(types::Blob { mime, data }) => Ok(Content::Blob { mime, data }),
    };
    contents.into_iter().map(one).collect()
}

fn definition(given: types::ToolDefinition) -> Definition {
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
