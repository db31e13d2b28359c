//! Engines, and the clock that lets a busy guest be stopped.
//!
//! An engine's pool of memory is locked by each call, so threads that share one slow each other down. Each thread that
//! starts calls has its own engine, up to [`MOST`]; which one ran a call makes no difference to it. Engines are made when
//! they are first needed.

use crate::error::Error;
use crate::many::processors;
use crate::sandbox::engine::{Allocator, engine_config};
use crate::sandbox::slow::Slow;
use crate::sandbox::state::State;
use crate::sandbox::{bindings, folders, http};
use palisade_policy::{Limit, Limits};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

/// How often a running guest hands back control: it bounds how late a deadline is noticed, and how long a quick call waits.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call after which the clock stands still, so that an idle host does nothing.
const REST: u32 = 100;
/// Most engines: each reserves about a tebibyte of the 128 of address space, and none of it is memory.
const MOST: usize = 8;

/// One engine with everything that is linked.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// What tells apart engines that do not find room for the same components: a pool refuses what is larger than its slots.
    pub(crate) room: u64,
}

impl Shard {
    fn new(allocator: Allocator, limits: &Limits) -> Result<Self, Error> {
        let mut config = engine_config(allocator, limits);
        // Nothing is compiled in this process, see the compiler; without one an engine is also made sooner.
        config.enable_compiler(false);
        let engine = Engine::new(&config).map_err(|e| Error::internal("the engine", &e))?;
        let mut linker = Linker::new(&engine);
        let link = |linker: &mut Linker<State>| {
            wasmtime_wasi::p2::add_to_linker_async(linker)?;
            folders::add_to_linker(linker)?;
            http::add_to_linker(linker)?;
            bindings::palisade::plugin::store::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
            bindings::palisade::plugin::host::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
        };
        link(&mut linker).map_err(|e| Error::internal("linking the host's interfaces", &e))?;
        let mut room = DefaultHasher::new();
        let most = [Limit::Memory, Limit::TableElements, Limit::Memories, Limit::Instances].map(|limit| limits.get(limit));
        (most, allocator == Allocator::OnDemand).hash(&mut room);
        Ok(Self { engine, linker, room: room.finish() })
    }
}

/// All engines of a sandbox.
pub(crate) struct Shards {
    first: Shard,
    more: Box<[OnceLock<Option<Shard>>]>,
    allocator: Allocator,
    limits: Limits,
    /// Where long calls go on; `None` where there are no others they could hold up.
    pub(crate) slow: Option<Arc<Slow>>,
    clock: Arc<Clock>,
}

/// Which of [`Shards`]: 0 is the first.
pub(crate) type Index = usize;

impl Shards {
    /// The first engine. Where the pool cannot be reserved, instances are allocated on demand, and the reason is returned.
    pub(crate) fn new(allocator: Allocator, limits: &Limits, slow: Option<Arc<Slow>>) -> Result<(Arc<Self>, Option<String>), Error> {
        let (first, allocator, fallback) = match Shard::new(allocator, limits) {
            Ok(first) => (first, allocator, None),
            Err(error) if allocator != Allocator::OnDemand => {
                let why = format!("the instance pool could not be reserved ({error}); instances are allocated on demand");
                (Shard::new(Allocator::OnDemand, limits)?, Allocator::OnDemand, Some(why))
            }
            Err(error) => return Err(error),
        };
        let more = match allocator {
            Allocator::OnDemand => 0,
            Allocator::Pool(_) | Allocator::Scanned(_) => processors().min(MOST) - 1,
        };
        let more = (0..more).map(|_| OnceLock::new()).collect();
        let shards = Arc::new(Self { first, more, allocator, limits: limits.clone(), slow, clock: Arc::default() });
        Clock::start(&shards)?;
        Ok((shards, fallback))
    }

    pub(crate) fn allocator(&self) -> Allocator {
        self.allocator
    }

    pub(crate) fn len(&self) -> usize {
        self.more.len() + 1
    }

    /// The engine of the thread that asks.
    pub(crate) fn mine(&self) -> Index {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        if self.more.is_empty() { 0 } else { THREAD.with(|thread| thread % self.len()) }
    }

    /// An engine. One that cannot be made any more is the first.
    pub(crate) fn get(&self, index: Index) -> &Shard {
        let more = index.checked_sub(1).and_then(|i| self.more.get(i));
        let made = more.and_then(|slot| slot.get_or_init(|| Shard::new(self.allocator, &self.limits).ok()).as_ref());
        made.unwrap_or(&self.first)
    }

    /// Says that a call runs, for as long as the value lives.
    pub(crate) fn running(&self) -> Running<'_> {
        self.clock.calls.fetch_add(1, Ordering::SeqCst);
        if self.clock.rests.load(Ordering::SeqCst) {
            self.clock.wake();
        }
        Running(&self.clock)
    }

    fn tick(&self) {
        self.first.engine.increment_epoch();
        for shard in self.more.iter().filter_map(|slot| slot.get()?.as_ref()) {
            shard.engine.increment_epoch();
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.clock.wake();
    }
}

/// A call that runs.
pub(crate) struct Running<'c>(&'c Clock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Moves the epoch of all engines while a call runs.
#[derive(Default)]
struct Clock {
    calls: AtomicU64,
    rests: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Clock {
    fn start(shards: &Arc<Shards>) -> Result<(), Error> {
        let (weak, clock) = (Arc::downgrade(shards), shards.clock.clone());
        let run = move || clock.run(&weak);
        let thread = std::thread::Builder::new().name("palisade-epoch".to_owned()).spawn(run);
        let thread = thread.map_err(|e| Error::io("the epoch thread", &e))?;
        let _ = shards.clock.thread.set(thread.thread().clone());
        Ok(())
    }

    fn run(&self, shards: &Weak<Shards>) {
        let mut idle = 0;
        while let Some(shards) = shards.upgrade() {
            shards.tick();
            drop(shards);
            idle = if self.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle < REST {
                std::thread::sleep(TICK);
                continue;
            }
            // Whoever starts a call after this sees it; whoever started one before is seen here.
            self.rests.store(true, Ordering::SeqCst);
            if self.calls.load(Ordering::SeqCst) == 0 {
                std::thread::park();
            }
            self.rests.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_of_the_host_compiles_nothing() {
        let limits = Limits::default();
        let empty_component = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
        let with = Engine::new(&engine_config(Allocator::OnDemand, &limits)).unwrap();
        assert!(wasmtime::component::Component::new(&with, empty_component).is_ok());
        let shard = Shard::new(Allocator::OnDemand, &limits).unwrap();
        assert!(wasmtime::component::Component::new(&shard.engine, empty_component).is_err());
    }
}
