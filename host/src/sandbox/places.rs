//! Places for instances, and what is left of an instance that still takes its places.

use crate::sandbox::state::State;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

/// The memory, in bytes, of an instance that may be wiped when its call is over: more takes longer than a quick call, and is part
/// of the time that its source keeps a thread busy.
const WIPED_LATER: usize = 2 << 20;

/// Places for calls in flight. A call waits for one, and its deadline runs meanwhile.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// This many.
    #[must_use]
    pub fn new(places: u64) -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))))
    }

    pub(super) async fn take(&self) -> Option<Place> {
        // Nobody closes it.
        self.0.clone().acquire_owned().await.ok()
    }
}

/// One of them, until it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// What is left of an instance that has ended: its memory is wiped and its places are free when this is dropped. Nobody who waits
/// for the result has to wait for that. What it held open is closed already.
pub(crate) struct Spent {
    // In this order: whoever gets its places finds its memory free.
    _store: Store<State>,
    _places: Option<[Option<Place>; 2]>,
}

impl std::fmt::Debug for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spent").finish_non_exhaustive()
    }
}

impl Spent {
    /// Of an instance that is small; any other is wiped here.
    pub(super) fn of(store: Store<State>, places: Option<[Option<Place>; 2]>, memory_peak: usize) -> Option<Self> {
        let spent = Self { _store: store, _places: places };
        (memory_peak <= WIPED_LATER).then_some(spent)
    }
}
