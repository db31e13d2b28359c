//! Threads for calls that take long, so that those that do not never wait behind them.
//!
//! A guest that is busy hands back control at each tick of the engine's clock. A call that has used up a whole tick goes on
//! here, on threads of lower priority: a quick call then waits for no more than one tick of a guest it shares a thread with,
//! and the system lets it run before all of these.

use crate::many::processors;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Steps below normal priority: a tenth of a core where others want all of it, and a whole one where nobody does.
#[cfg(target_os = "linux")]
const BELOW: i32 = 10;

/// The threads; made when the first call needs them.
#[derive(Debug, Default)]
pub(crate) struct Slow(std::sync::OnceLock<Option<Runtime>>);

impl Slow {
    /// Runs a call to its end here, or as long as somebody waits for it. Where no thread can be had it goes on where it is.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + Unpin + 'static) -> Option<T> {
        match self.handle() {
            Some(handle) => EndWithWait(handle.spawn(work)).wait().await,
            None => Some(work.await),
        }
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.get_or_init(start).as_ref().map(Runtime::handle)
    }
}

/// Threads of one runtime that wait for files, at most: operations that never end hold some, a few for each source.
const FILES: usize = 128;
/// How long such a thread waits for more to do. The library starts one whenever none is idle, so many come up under load.
const IDLE: Duration = Duration::from_secs(2);

/// Bounds how many threads of a runtime wait for files, and for how long they stay.
pub fn bound_file_threads(builder: &mut Builder) {
    builder.max_blocking_threads(FILES).thread_keep_alive(IDLE);
}

fn start() -> Option<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(processors()).thread_name("palisade-slow").enable_time();
    bound_file_threads(&mut builder);
    // On Linux a priority is a thread's own; elsewhere it would be the whole program's.
    #[cfg(target_os = "linux")]
    builder.on_thread_start(|| {
        // Refused, it is as quick as the others, and that is all.
        let _ = rustix::process::nice(BELOW);
    });
    builder.build().ok()
}

impl Drop for Slow {
    fn drop(&mut self) {
        // Waits for nothing: a thread may be stuck in the system.
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Ends the task when nobody waits for it any more.
struct EndWithWait<T>(JoinHandle<T>);

impl<T> EndWithWait<T> {
    async fn wait(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for EndWithWait<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
