//! The sandbox: engines for small and large components, what they share, and how a component gets ready.

use crate::error::{Error, Kind};
use crate::files::{Opened, Stamp};
use crate::many;
use crate::sandbox::CodeCache;
use crate::sandbox::cache::{WasmDigest, load_own};
use crate::sandbox::call::Prepared;
use crate::sandbox::code::{Code, Facts, Parts};
use crate::sandbox::compile::Compiler;
use crate::sandbox::entry::World;
use crate::sandbox::module::is_module;
use crate::sandbox::places::Places;
use crate::sandbox::shards::{Shard, Shards};
use crate::sandbox::slow::Slow;
use palisade_policy::{Limit, Limits};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How memory for instances is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// Reserved once, with this many slots. No system call for a small call.
    Pool(u32),
    /// The same for components with more memory: what a call touched is asked of the kernel, where it can say, and only that
    /// is cleared.
    Scanned(u32),
    /// Asked of the kernel at each call: a one-shot command, or a machine that refuses the reservation. A host that asks for it
    /// makes one call at a time: a long one holds up the others.
    OnDemand,
}

/// A component of at least this many bytes was made by a compiler, and has a stack and data that are worth a system call to
/// find what was touched of them (measured: 12 µs a call against 23); below, memory is cleared whole and nothing is asked
/// (4 µs against 5).
const LARGE: u64 = 16 * 1024;

/// Hooks that run at once, beside the calls: each takes microseconds, and at most a second.
const HOOKS: u32 = 8;

/// Engines that are made with the first component that needs them, and why they are not as was wanted.
type Made = OnceLock<(Arc<Shards>, Option<String>)>;

/// The engines with everything that is shared by all calls.
pub struct Sandbox {
    wanted: Allocator,
    small: Made,
    large: Made,
    making: Mutex<()>,
    slow: Option<Arc<Slow>>,
    limits: Limits,
    cache: Option<CodeCache>,
    compiler: Option<Compiler>,
    /// What is known and was looked up ahead, by a component's file, and its world.
    ahead: Mutex<HashMap<(Stamp, World), (WasmDigest, Parts)>>,
    places: Places,
    /// Of hooks, which calls wait for: they are never behind the calls of others.
    hook_places: Places,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("allocator", &self.allocator()).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Engines; without a compiler they run only what the cache holds. Where the pool cannot be reserved, instances are allocated
    /// on demand, and [`Sandbox::fallback`] says so.
    #[must_use]
    pub fn new(allocator: Allocator, limits: &Limits, cache: Option<CodeCache>, compiler: Option<Compiler>) -> Self {
        Self {
            wanted: allocator,
            small: OnceLock::new(),
            large: OnceLock::new(),
            making: Mutex::default(),
            // Who allocates on demand means to make one call at a time.
            slow: (allocator != Allocator::OnDemand).then(Arc::default),
            limits: limits.clone(),
            cache,
            compiler,
            ahead: Mutex::default(),
            places: Places::new(limits.get(Limit::InFlight).min(slots(allocator))),
            hook_places: Places::new(HOOKS.into()),
        }
    }

    /// How memory for instances is found: as was wanted, or on demand where engines could not be made so.
    #[must_use]
    pub fn allocator(&self) -> Allocator {
        let made = [&self.small, &self.large].into_iter().filter_map(OnceLock::get);
        let on_demand = made.map(|(shards, _)| shards.allocator()).find(|allocator| *allocator == Allocator::OnDemand);
        on_demand.unwrap_or(self.wanted)
    }

    /// Why the pool is not used, where it was wanted.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        [&self.small, &self.large].into_iter().find_map(|made| made.get()?.1.as_deref())
    }

    /// Finds what is known of many components' files on all processors at once; [`Sandbox::prepare`] has it then. What is not
    /// known, or cannot be opened, is left to that.
    pub(crate) fn load_ahead<T: Sync>(&self, all: &[T], open: impl Fn(&T) -> Option<(Opened, World)> + Sync) {
        if self.cache.is_none() {
            return;
        }
        // Of a load that was given up.
        self.forget_ahead();
        let load = |one: &T| {
            let (file, world) = open(one)?;
            let shards = self.shards(file.size()).ok()?;
            // What cannot be linked is refused when it is prepared.
            Some(((*file.stamp(), world), self.known(shards.get(0), file.stamp(), world)?.ok()?))
        };
        let loaded = many::each(all.iter().collect(), load);
        self.ahead().extend(loaded.into_iter().flatten());
    }

    /// What is known of a component's file. The code of a plugin of which all else is known is left where it is until it is
    /// called: most tools are listed far more often than they are called.
    fn known(&self, shard: &Shard, file: &Stamp, world: World) -> Option<Result<(WasmDigest, Parts), String>> {
        let (cache, engine, modules) = (self.cache.as_ref()?, &shard.engine, world.takes_modules());
        let known = cache.known(engine, file, modules)?;
        let digest = known.digest;
        let facts = self.facts(shard, world, &digest);
        if facts.is_some() && cache.is_there(engine, &known) {
            return Some(Ok((digest, Parts { code: None, known: Some(known), facts })));
        }
        let component = cache.load_of(engine, file, modules, &known)?;
        Some(Code::new(shard, component, world).map(|code| (digest, Parts { code: Some(code), known: Some(known), facts })))
    }

    /// What is kept of a plugin; of components of other worlds nothing is.
    fn facts(&self, shard: &Shard, world: World, digest: &WasmDigest) -> Option<Facts> {
        self.cache.as_ref().filter(|_| world == World::Plugin)?.load_facts(&shard.engine, shard.room, digest)
    }

    /// Drops what was loaded ahead and not prepared.
    pub(crate) fn forget_ahead(&self) {
        self.ahead().clear();
    }

    fn ahead(&self) -> MutexGuard<'_, HashMap<(Stamp, World), (WasmDigest, Parts)>> {
        // A map is whole after a panic of whoever held it.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles a component, or takes it from the code cache by its digest, and links it once for all its calls. A file that
    /// is known and has not changed is not even read. `compiling` is told before the compiler starts, and after.
    ///
    /// # Errors
    /// [`Kind::Component`] when it cannot be read, is not a component, does not export the interface of its world with the
    /// right types, or imports what is not linked.
    pub async fn prepare(
        &self,
        file: Opened,
        world: World,
        limits: &Limits,
        compiling: &(dyn Fn(bool) + Sync),
    ) -> Result<(WasmDigest, Prepared), Error> {
        let refuse = |message: String| Error::new(Kind::Component, message);
        let (stamp, most) = (*file.stamp(), limits.get(Limit::Component));
        if file.size() > most {
            return Err(refuse(format!("the component has {} bytes; the limit `component` is {most}", file.size())));
        }
        let shards = self.shards(file.size())?;
        let engine = &shards.get(0).engine;
        // Not held while the code is loaded.
        let ahead = self.ahead().remove(&(stamp, world));
        let (digest, parts) = match ahead.map(Ok).or_else(|| self.known(shards.get(0), &stamp, world)) {
            Some(known) => known.map_err(refuse)?,
            None => {
                let wasm = file.read().map_err(|e| refuse(e.to_string()))?;
                check_header(&wasm, world).map_err(refuse)?;
                let digest: WasmDigest = Sha256::digest(&wasm).into();
                let component = match self.cache.as_ref().and_then(|cache| cache.load(engine, &digest)) {
                    Some(component) => component,
                    None => {
                        compiling(true);
                        let compiled = self.compile(engine, wasm, &digest, limits).await;
                        compiling(false);
                        compiled?
                    }
                };
                if let Some(cache) = &self.cache {
                    cache.know(engine, &stamp, world.takes_modules(), &digest);
                }
                let code = Code::new(shards.get(0), component, world).map_err(refuse)?;
                (digest, Parts { code: Some(code), known: None, facts: self.facts(shards.get(0), world, &digest) })
            }
        };
        let all = if world == World::Hook { &self.hook_places } else { &self.places };
        let places = [Places::new(limits.get(Limit::InFlightSource)), all.clone()];
        let kept = self.cache.clone().map(|cache| (cache, digest));
        Ok((digest, Prepared::new(shards, world, places, kept, parts)))
    }

    /// The engines for a component of that size.
    fn shards(&self, size: u64) -> Result<Arc<Shards>, Error> {
        let (made, allocator) = match self.wanted {
            Allocator::Pool(slots) if size >= LARGE => (&self.large, Allocator::Scanned(slots)),
            wanted => (&self.small, wanted),
        };
        // One thread makes them; others that load at the same time wait for it.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((shards, _)) = made.get() {
            return Ok(shards.clone());
        }
        let shards = Shards::new(allocator, &self.limits, self.slow.clone())?;
        Ok(made.get_or_init(|| shards).0.clone())
    }

    async fn compile(&self, engine: &Engine, wasm: Vec<u8>, digest: &WasmDigest, limits: &Limits) -> Result<Component, Error> {
        let compiler = self.compiler.as_ref().ok_or_else(|| {
            Error::new(Kind::Component, "the component is not compiled yet, and there is no compiler").hint("set LoadOptions::compiler")
        })?;
        let code = compiler.compile(wasm, limits).await?;
        if let Some(cache) = &self.cache {
            cache.store(engine, digest, &code);
            // From its file it is mapped, and in memory only as far as it is used.
            if let Some(component) = cache.load(engine, digest) {
                return Ok(component);
            }
        }
        load_own(engine, &code).map_err(|e| Error::internal("loading compiled code", &e))
    }
}

/// Most tables of a core module; compilers give it one.
pub(super) const TABLES: u32 = 4;
/// How many instances there is memory for at once.
fn slots(allocator: Allocator) -> u64 {
    match allocator {
        Allocator::Pool(slots) | Allocator::Scanned(slots) => slots.into(),
        Allocator::OnDemand => u64::MAX,
    }
}

/// What is wrong with the first eight bytes, said better than a parser would.
fn check_header(wasm: &[u8], world: World) -> Result<(), String> {
    match wasm {
        [] => Err("the component is an empty file".to_owned()),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        wasm if is_module(wasm) && world.takes_modules() => Ok(()),
        wasm if is_module(wasm) => {
            Err("this is a core module, not a component; build it for wasm32-wasip2, or, if it is a WASI program, say \
            `kind = \"command\"`"
                .to_owned())
        }
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
    // A type of values like the others; components of any world may use it.
    config.wasm_component_model_map(true);
    config.concurrency_support(false);
    // A busy guest yields at each tick, so the host's timeout can end it.
    config.epoch_interruption(true);
    config.memory_init_cow(true);
    config.wasm_backtrace_max_frames(None);
    // For debuggers and profilers alone, and registering it is slow where many components are loaded.
    config.native_unwind_info(false);
    if let Allocator::Pool(slots) | Allocator::Scanned(slots) = allocator {
        let mut pool = PoolingAllocationConfig::new();
        let slots = slots.saturating_add(HOOKS);
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
        pool.max_tables_per_module(TABLES).table_elements(limits.size(Limit::TableElements));
        pool.max_memories_per_component(u32::try_from(limits.get(Limit::Memories)).unwrap_or(u32::MAX));
        pool.max_core_instances_per_component(u32::try_from(limits.get(Limit::Instances)).unwrap_or(u32::MAX));
        // Below this a slot is cleared by memset, and a small call makes no system call at all (4 µs against 10 µs).
        pool.linear_memory_keep_resident(64 * 1024).table_keep_resident(64 * 1024);
        if matches!(allocator, Allocator::Scanned(_)) {
            // What is kept of each slot: the pages that a language runtime touches in a short call (measured: 0.6 MiB).
            pool.linear_memory_keep_resident(1024 * 1024).pagemap_scan(Enabled::Auto);
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
