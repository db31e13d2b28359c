//! The engine, and the ticker that lets a busy guest be stopped.

use crate::error::{Error, Kind};
use crate::sandbox::cache::{WasmDigest, load_own};
use crate::sandbox::call::{Places, Prepared};
use crate::sandbox::compile::Compiler;
use crate::sandbox::state::State;
use crate::sandbox::{CodeCache, bindings};
use palisade_policy::{Limit, Limits};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest hands back control: it bounds how late a deadline is noticed.
const TICK: Duration = Duration::from_millis(10);

/// How memory for instances is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// Reserved once, with this many slots. No system call for a small call.
    Pool(u32),
    /// Asked of the kernel at each call: a one-shot command, or a machine that refuses the reservation.
    OnDemand,
}

/// The engine with everything that is shared by all calls.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<State>,
    allocator: Allocator,
    fallback: Option<String>,
    cache: Option<CodeCache>,
    compiler: Option<Compiler>,
    places: Places,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("allocator", &self.allocator).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// An engine; without a compiler it runs only what the cache holds. Where the pool cannot be reserved, instances are allocated on demand, and [`Sandbox::fallback`] says so.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the engine cannot be made at all.
    pub fn new(allocator: Allocator, limits: &Limits, cache: Option<CodeCache>, compiler: Option<Compiler>) -> Result<Self, Error> {
        let mut fallback = None;
        let mut used = allocator;
        let engine = match Engine::new(&engine_config(allocator, limits)) {
            Ok(engine) => engine,
            Err(error) if allocator != Allocator::OnDemand => {
                fallback = Some(format!("the instance pool could not be reserved ({error}); instances are allocated on demand"));
                used = Allocator::OnDemand;
                Engine::new(&engine_config(used, limits)).map_err(|e| Error::internal("the engine", &e))?
            }
            Err(error) => return Err(Error::internal("the engine", &error)),
        };
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(|e| Error::internal("linking WASI", &e))?;
        bindings::palisade::plugin::host::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(|e| Error::internal("linking the host interface", &e))?;
        start_ticker(&engine)?;
        let places = Places::new(limits.get(Limit::InFlight).min(slots(used)));
        Ok(Self { engine, linker, allocator: used, fallback, cache, compiler, places })
    }

    /// How memory for instances is found.
    #[must_use]
    pub fn allocator(&self) -> Allocator {
        self.allocator
    }

    /// Why the pool is not used, where it was wanted.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Compiles a component, or takes it from the code cache by its digest, and links it once for all its calls.
    ///
    /// # Errors
    /// [`Kind::Component`] when it is not a component, does not export the tools interface with the right types, or imports
    /// what is not linked.
    pub async fn prepare(&self, wasm: &[u8], digest: &WasmDigest, limits: &Limits) -> Result<Arc<Prepared>, Error> {
        let refuse = |message: String| Error::new(Kind::Component, message);
        if wasm.len() as u64 > limits.get(Limit::Component) {
            return Err(refuse(format!(
                "the component has {} bytes; the limit `component` is {}",
                wasm.len(),
                limits.get(Limit::Component)
            )));
        }
        check_header(wasm).map_err(refuse)?;
        let component = match self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest)) {
            Some(component) => component,
            None => self.compile(wasm, digest, limits).await?,
        };
        let pre = self.linker.instantiate_pre(&component).map_err(|e| refuse(format!("the component does not link: {e:#}")))?;
        let typed =
            bindings::PluginPre::new(pre).map_err(|e| refuse(format!("the component does not export palisade:plugin/tools: {e:#}")))?;
        let places = [Places::new(limits.get(Limit::InFlightSource)), self.places.clone()];
        let kept = self.cache.clone().map(|cache| (cache, *digest));
        Ok(Arc::new(Prepared::new(self.engine.clone(), component, typed, places, kept)))
    }

    async fn compile(&self, wasm: &[u8], digest: &WasmDigest, limits: &Limits) -> Result<Component, Error> {
        let compiler = self.compiler.as_ref().ok_or_else(|| {
            Error::new(Kind::Component, "the component is not compiled yet, and there is no compiler").hint("set LoadOptions::compiler")
        })?;
        let code = compiler.compile(wasm, limits).await?;
        if let Some(cache) = &self.cache {
            cache.store(&self.engine, digest, &code);
        }
        load_own(&self.engine, &code).map_err(|e| Error::internal("loading compiled code", &e))
    }
}

/// How many instances there is memory for at once.
fn slots(allocator: Allocator) -> u64 {
    match allocator {
        Allocator::Pool(slots) => slots.into(),
        Allocator::OnDemand => u64::MAX,
    }
}

/// What is wrong with the first eight bytes, said better than a parser would.
fn check_header(wasm: &[u8]) -> Result<(), String> {
    match wasm {
        [] => Err("the component is an empty file".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err("this is a core module, not a component; build it for wasm32-wasip2".to_owned()),
        _ => Err("this is not a WebAssembly component".to_owned()),
    }
}

/// The settings of the engine; public so that a floor can be measured with the same.
#[doc(hidden)]
#[must_use]
pub fn engine_config(allocator: Allocator, limits: &Limits) -> Config {
    let mut config = Config::new();
    // Needed: components and what compilers emit for them. GC and threads are not even compiled in.
    config.wasm_component_model(true);
    config.concurrency_support(false);
    // A busy guest yields at each tick, so the host's timeout can end it.
    config.epoch_interruption(true);
    config.memory_init_cow(true);
    config.wasm_backtrace_max_frames(None);
    if let Allocator::Pool(slots) = allocator {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(slots);
        // Language runtimes use up to 40 core instances and 2 tables a component.
        let most = u32::try_from(limits.get(Limit::Memories)).unwrap_or(u32::MAX);
        // Room for two memories a slot, and for a few components that use all they may.
        let memories = slots.saturating_mul(2).saturating_add(most.saturating_mul(4));
        pool.total_core_instances(slots.saturating_mul(40).saturating_add(1000))
            .total_memories(memories)
            .total_tables(slots.saturating_mul(4).saturating_add(most));
        pool.total_stacks(slots);
        pool.max_memory_size(limits.size(Limit::Memory));
        pool.max_tables_per_module(4).table_elements(limits.size(Limit::TableElements));
        pool.max_memories_per_component(u32::try_from(limits.get(Limit::Memories)).unwrap_or(u32::MAX));
        pool.max_core_instances_per_component(u32::try_from(limits.get(Limit::Instances)).unwrap_or(u32::MAX));
        // Below this a slot is cleared by memset, and a small call makes no system call at all (4 µs against 10 µs).
        pool.linear_memory_keep_resident(64 * 1024).table_keep_resident(64 * 1024);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// A thread that moves the epoch, and ends when the engine is gone.
fn start_ticker(engine: &Engine) -> Result<(), Error> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("palisade-epoch".to_owned()).spawn(tick).map(drop).map_err(|e| Error::io("the epoch thread", &e))
}
