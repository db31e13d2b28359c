//! What a reviewer asks of a component, beside calls: whether it says the same when clock and random are others, and what an
//! instance costs. All of it in instances that reach nothing.

use crate::sandbox::bindings::hook::exports::palisade::plugin::hooks;
use crate::sandbox::call::{Definition, Failure, Prepared, definition};
use crate::sandbox::entry::Linked;
use palisade_policy::Limits;
use std::time::{Duration, Instant};

/// What a fresh instance cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instance {
    /// How long it took to make.
    pub(crate) took: Duration,
    /// Bytes of its linear memories.
    pub(crate) memory: usize,
}

impl Prepared {
    /// The names of the interfaces the component imports.
    #[must_use]
    pub fn imports(&self) -> Vec<String> {
        match (&self.facts, self.code.get()) {
            (Some(facts), _) => facts.imports.clone(),
            (None, Some(code)) => {
                let component = code.component.component_type();
                component.imports(self.engine()).map(|(name, _)| name.to_owned()).collect()
            }
            // Without facts the code is there from the start.
            (None, None) => Vec::new(),
        }
    }

    /// Whether it imports the key-value store.
    pub(crate) fn imports_store(&self) -> bool {
        self.imports().iter().any(|name| name.starts_with("palisade:plugin/store@"))
    }

    /// The definitions as a plugin gives them when clock and random stand at `seed`.
    ///
    /// # Errors
    /// The failure of the guest.
    pub(crate) async fn definitions_as(&self, seed: u8, limits: &Limits) -> Result<Vec<Definition>, Failure> {
        if self.defines_nothing() {
            return Ok(self.definitions(limits).await?.0);
        }
        let read = self.read_as(seed, limits, "tools", async |linked, store| match linked {
            Linked::Plugin(linked) => linked.instantiate_async(&mut *store).await?.palisade_plugin_tools().call_definitions(store).await,
            _ => Ok(Vec::new()),
        });
        Ok(read.await?.into_iter().map(definition).collect())
    }

    /// The same of the events of a hook.
    ///
    /// # Errors
    /// The failure of the guest.
    pub(crate) async fn events_as(&self, seed: u8, limits: &Limits) -> Result<Vec<hooks::EventKind>, Failure> {
        let read = self.read_as(seed, limits, "hooks", async |linked, store| match linked {
            Linked::Hook(linked) => linked.instantiate_async(&mut *store).await?.palisade_plugin_hooks().call_events(store).await,
            _ => Ok(Vec::new()),
        });
        read.await
    }

    /// Makes an instance and lets it go.
    ///
    /// # Errors
    /// The failure of the guest, which may run code when an instance is made.
    pub(crate) async fn instance(&self, limits: &Limits) -> Result<Instance, Failure> {
        // To load the code is no part of it.
        self.code()?;
        let started = Instant::now();
        let read = self.read(limits, "tools", async |linked, store| {
            match linked {
                Linked::Plugin(linked) => linked.instantiate_async(&mut *store).await.map(drop)?,
                Linked::Hook(linked) => linked.instantiate_async(&mut *store).await.map(drop)?,
                Linked::Foreign(linked) => linked.instantiate(&mut *store).await?,
                Linked::Program(linked) => linked.instantiate_async(&mut *store).await.map(drop)?,
            }
            Ok(Instance { took: started.elapsed(), memory: store.data().limiter.peak() })
        });
        read.await
    }
}
