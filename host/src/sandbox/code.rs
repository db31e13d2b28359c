//! The compiled code of a component that is ready for calls, in each engine that is asked to run it.
//!
//! The code of a plugin of which all else is known lies in the cache until the plugin is called: a start loads only
//! what it runs.

use crate::error::Kind;
use crate::sandbox::cache::{Known, load_own};
use crate::sandbox::call::{Definition, Failure, Prepared};
use crate::sandbox::entry::{Linked, World};
use crate::sandbox::shards::{Index, Shard};
use wasmtime::Engine;
use wasmtime::component::Component;

/// A component, loaded and linked in one engine.
pub(crate) struct Code {
    pub(super) component: Component,
    pub(super) linked: Linked,
}

impl Code {
    /// Links a component of the engine of `shard`.
    ///
    /// # Errors
    /// Why it cannot be of that world.
    pub(crate) fn new(shard: &Shard, component: Component, world: World) -> Result<Self, String> {
        Linked::new(shard, &component, world).map(|linked| Self { component, linked })
    }
}

/// What there is of a component before anything is asked of it: its code, or what it is loaded by.
pub(crate) struct Parts {
    pub(super) code: Option<Code>,
    pub(super) known: Option<Known>,
    pub(super) facts: Option<Facts>,
}

/// What is kept of a component beside its code.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Facts {
    /// The names of what it imports.
    pub(super) imports: Vec<String>,
    /// Its tools, which passed every check.
    pub(super) definitions: Vec<Definition>,
}

impl Prepared {
    /// The first engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.shards.get(0).engine
    }

    /// The code in the first engine.
    ///
    /// # Errors
    /// [`Kind::Component`] where it lay in the cache and cannot be loaded from there any more.
    pub(super) fn code(&self) -> Result<&Code, Failure> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        let loaded = self.load_kept(0).map(|component| Code::new(self.shards.get(0), component, self.world));
        let code = match loaded {
            Some(Ok(code)) => code,
            lost => {
                // Whatever it is, the next start finds out, and says or mends it.
                if let Some((cache, digest)) = &self.kept {
                    cache.forget_facts(self.engine(), self.shards.get(0).room, digest);
                }
                let gone = "its compiled code cannot be loaded from the cache any more; the next start makes it anew".to_owned();
                return Err(Failure::new(Kind::Component, lost.and_then(Result::err).unwrap_or(gone)));
            }
        };
        Ok(self.code.get_or_init(|| code))
    }

    /// The component in the engine of this thread.
    ///
    /// # Errors
    /// See [`Prepared::code`].
    pub(super) fn linked(&self) -> Result<&Linked, Failure> {
        let mine = self.shards.mine();
        let slot = mine.checked_sub(1).and_then(|i| self.more.get(i));
        if let Some(linked) = slot.and_then(|slot| slot.get()) {
            return Ok(linked);
        }
        // One that cannot be loaded again runs in the first.
        match slot.and_then(|slot| Some((slot, self.link_again(mine)?))) {
            Some((slot, linked)) => Ok(slot.get_or_init(|| linked)),
            None => self.code().map(|code| &code.linked),
        }
    }

    fn link_again(&self, index: Index) -> Option<Linked> {
        let shard = self.shards.get(index);
        let component = self.load_kept(index).or_else(|| load_own(&shard.engine, &self.code.get()?.component.serialize().ok()?).ok())?;
        Linked::new(shard, &component, self.world).ok()
    }

    fn load_kept(&self, index: Index) -> Option<Component> {
        let engine = &self.shards.get(index).engine;
        let (cache, digest) = self.kept.as_ref()?;
        match &self.known {
            Some(known) => cache.load_known(engine, known),
            None => cache.load(engine, digest),
        }
    }
}
