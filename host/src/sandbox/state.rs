//! What a store holds during one call, and the `host` interface.

use crate::sandbox::bindings::palisade::plugin::{host, types};
use crate::sandbox::call::{LogLine, Progress, Run};
use crate::sandbox::folders::{Folders, Stuck};
use crate::sandbox::http::Http;
use crate::sandbox::limiter::Limiter;
use crate::sandbox::store::OwnStore;
use crate::sandbox::wasi::Reach;
use crate::sandbox::written::Written;
use palisade_policy::{Limit, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtxView;

/// Progress reports are at least this far apart.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Longest message of a progress report, in bytes.
const PROGRESS_MESSAGE: usize = 256;

pub(crate) struct State {
    reach: Arc<Reach>,
    /// Made of it when it is first asked for: most calls never do.
    wasi: Option<WasiCtx>,
    table: ResourceTable,
    pub(crate) limiter: Limiter,
    run: Run,
    pub(crate) log: Vec<LogLine>,
    log_room: usize,
    pub(crate) log_dropped: u64,
    last_progress: Option<Instant>,
    host_calls: u64,
    host_calls_max: u64,
    pub(crate) written: Option<Written>,
    stuck: Stuck,
    pub(crate) http: Http,
    /// Its own, where it was granted one.
    pub(crate) store: Option<OwnStore>,
}

/// The guest called the host too often.
#[derive(Debug, thiserror::Error)]
#[error("too many calls into the host")]
pub(crate) struct HostCalls;

impl State {
    /// Of a call that reaches what was granted.
    pub(crate) fn new(reach: &Arc<Reach>, limits: &Limits, run: Run, stuck: Stuck) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.size(Limit::Handles));
        Self {
            reach: reach.clone(),
            wasi: None,
            table,
            limiter: Limiter::new(limits),
            run,
            log: Vec::new(),
            log_room: limits.size(Limit::Log),
            log_dropped: 0,
            last_progress: None,
            host_calls: 0,
            host_calls_max: limits.get(Limit::HostCalls),
            written: reach.writes().then(|| Written::new(limits)),
            stuck,
            http: Http::new(reach.network(), limits),
            store: reach.store().map(|store| OwnStore::new(store, limits)),
        }
    }

    /// Of a call of a program, whose working folder is there to be written; see [`State::start`].
    pub(super) fn program(reach: &Arc<Reach>, limits: &Limits, run: Run, stuck: Stuck) -> Self {
        Self { written: Some(Written::new(limits)), ..Self::new(reach, limits, run, stuck) }
    }

    /// The guest has ended: what it held open is closed.
    pub(super) fn end(&mut self) {
        self.table = ResourceTable::new();
        (self.wasi, self.store) = (None, None);
    }

    /// Gives a program its words, its streams and its working folder.
    pub(super) fn start(&mut self, wasi: WasiCtx) {
        self.wasi = Some(wasi);
    }

    /// Of the reading of definitions, which reaches nothing.
    pub(crate) fn sealed(limits: &Limits, stuck: Stuck, seed: u8) -> Self {
        Self { wasi: Some(Reach::sealed(seed)), ..Self::new(&Arc::default(), limits, Run::default(), stuck) }
    }

    /// Counts a call into the host. The engine counts none, but asks for the state at each.
    fn count(&mut self) {
        self.host_calls += 1;
    }

    /// The same for our own functions, which can stop the guest themselves.
    pub(crate) fn counted(&mut self) -> Result<(), HostCalls> {
        self.count();
        self.check_calls()
    }

    /// # Errors
    /// [`HostCalls`] above the limit.
    pub(crate) fn check_calls(&self) -> Result<(), HostCalls> {
        if self.host_calls > self.host_calls_max { Err(HostCalls) } else { Ok(()) }
    }

    pub(crate) fn folders(&mut self) -> Folders<'_> {
        self.count();
        let wasi = self.wasi.get_or_insert_with(|| self.reach.context());
        let inner = WasiFilesystemCtxView { ctx: wasi.filesystem(), table: &mut self.table };
        Folders { inner, written: self.written.as_ref(), stuck: &self.stuck, granted: self.reach.granted(), notes: self.http.notes() }
    }

    pub(crate) fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.count();
        self.http.view(&mut self.table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.count();
        WasiCtxView { ctx: self.wasi.get_or_insert_with(|| self.reach.context()), table: &mut self.table }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        self.counted()?;
        // A line costs at least its record, or a million empty lines would be free.
        let cost = message.len().max(16);
        if cost > self.log_room {
            self.log_dropped += 1;
            return Ok(());
        }
        self.log_room -= cost;
        let level = match level {
            host::Level::Debug => "debug",
            host::Level::Info => "info",
            host::Level::Warn => "warn",
            host::Level::Error => "error",
        };
        self.log.push(LogLine { level, message });
        Ok(())
    }

    fn progress(&mut self, done: f64, total: Option<f64>, message: Option<String>) -> wasmtime::Result<()> {
        self.counted()?;
        let Some(sink) = &self.run.progress else { return Ok(()) };
        let now = Instant::now();
        if self.last_progress.is_some_and(|last| now.duration_since(last) < PROGRESS_EVERY) {
            return Ok(());
        }
        self.last_progress = Some(now);
        let message = message.map(|mut text| {
            text.truncate(text.floor_char_boundary(PROGRESS_MESSAGE));
            text
        });
        // A full channel means that nobody reads; the report is lost, the guest goes on.
        let _ = sink.try_send(Progress { done, total, message });
        Ok(())
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        self.counted()?;
        Ok(self.run.cancelled.as_ref().is_some_and(|c| *c.borrow()))
    }
}
