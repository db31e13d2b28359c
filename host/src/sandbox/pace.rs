//! Where the calls of a source run: on the thread of the caller as long as they are quick, among the slow otherwise, and
//! there no more than a few at a time.
//!
//! A quick call waits behind whatever shares its thread. So a call that used up a tick leaves it, and a source whose calls
//! take long on a processor does not start there again until it has shown itself quick. What is told of a call is the time
//! it kept a thread busy; how long it waited for a file or a clock is no burden to others.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// A call that keeps a thread busy for longer is a long one: a third of a tick, and more than a quick call takes whose data
/// others have pushed out of the processor (measured: 60 µs, and 150 on a machine that is less than half as fast. There, with
/// 100 µs here, the good calls of one source were taken for long ones and waited 10 ms behind hostile ones).
const LONG: Duration = Duration::from_micros(300);
/// What a long call adds to the burden of its source, and a quick one takes away: with one in nine it stays heavy.
const ADDED: u32 = 16;
const TAKEN: u32 = 2;
/// From here on calls start among the slow: after two long ones in a row, as one may be long by accident.
const HEAVY: u32 = 32;
/// The most, so that a source that has become quick is known to be after some calls.
const MOST: u32 = 64;

thread_local! {
    /// Whether the guest that ran on this thread just now used up a tick.
    static TICKED: Cell<bool> = const { Cell::new(false) };
}

/// Says that the guest on this thread used up a tick.
pub(crate) fn note_tick() {
    TICKED.set(true);
}

/// How the calls of one source went.
#[derive(Debug)]
pub(crate) struct Pace {
    /// 0 where nothing is known against it; above, its calls are measured exactly.
    burden: AtomicU32,
    turns: Semaphore,
}

/// Adds up how long a thread was busy: by a clock that costs no system call, or exactly.
enum Busy {
    About(Duration),
    Exactly(Duration),
}

impl Busy {
    fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::About(sum) => {
                let start = Instant::now();
                let result = work();
                *sum += start.elapsed();
                result
            }
            Self::Exactly(sum) => {
                let start = processor_time();
                let result = work();
                *sum += processor_time().saturating_sub(start);
                result
            }
        }
    }
}

/// What this thread had of a processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl Pace {
    /// So many calls of the source run among the slow at the same moment, each for a tick: as many as there are threads. A
    /// call of another source then waits a tick for each source before it, not for all their calls.
    pub(crate) fn new(turns: usize) -> Self {
        Self { burden: AtomicU32::new(0), turns: Semaphore::new(turns) }
    }

    /// Whether the next call starts among the slow.
    pub(crate) fn is_long(&self) -> bool {
        self.burden.load(Ordering::Relaxed) >= HEAVY
    }

    /// Runs a call until it ended, or until it used up a tick: then `None`, and it can go on elsewhere.
    pub(crate) async fn until_busy<T>(&self, mut job: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let suspect = self.burden.load(Ordering::Relaxed) > 0;
        let mut busy = if suspect { Busy::Exactly(Duration::ZERO) } else { Busy::About(Duration::ZERO) };
        let ended = std::future::poll_fn(|context| {
            TICKED.set(false);
            match busy.during(|| job.as_mut().poll(context)) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if TICKED.get() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        self.note(&busy);
        ended
    }

    /// Runs a call to its end among the slow, in turn with the others of its source.
    pub(crate) async fn in_turn<T>(&self, mut job: Pin<Box<impl Future<Output = T>>>) -> T {
        let mut busy = Busy::Exactly(Duration::ZERO);
        loop {
            // Nobody closes it. While a call waits for a file it has no turn.
            let turn = self.turns.acquire().await;
            let polled = std::future::poll_fn(|context| Poll::Ready(busy.during(|| job.as_mut().poll(context)))).await;
            drop(turn);
            if let Poll::Ready(ended) = polled {
                self.note(&busy);
                return ended;
            }
            // Whatever the call waits for wakes this task.
            let mut once = true;
            std::future::poll_fn(|_| if std::mem::take(&mut once) { Poll::Pending } else { Poll::Ready(()) }).await;
        }
    }

    fn note(&self, busy: &Busy) {
        let before = self.burden.load(Ordering::Relaxed);
        let now = match *busy {
            // It may only have been interrupted by another thread.
            Busy::About(time) if time > LONG => before.max(1),
            Busy::About(_) => before,
            Busy::Exactly(time) if time > LONG => (before + ADDED).min(MOST),
            Busy::Exactly(_) => before.saturating_sub(TAKEN),
        };
        // Two that end at once may lose one step of a count, and no more.
        if now != before {
            self.burden.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    fn spin(time: Duration) {
        let start = processor_time();
        while processor_time() - start < time {}
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
    }

    #[test]
    fn a_source_with_a_long_call_starts_among_the_slow_until_it_has_been_quick_for_a_while() {
        runtime().block_on(async {
            let pace = Pace::new(2);
            assert_eq!(pace.until_busy(std::pin::pin!(std::future::ready(7))).await, Some(7));
            assert!(!pace.is_long());
            // Once is an accident: the thread may have been interrupted.
            assert_eq!(pace.until_busy(std::pin::pin!(async { spin(LONG * 2) })).await, Some(()));
            assert!(!pace.is_long());
            assert_eq!(pace.until_busy(std::pin::pin!(std::future::ready(7))).await, Some(7));
            for _ in 0..3 {
                assert!(!pace.is_long());
                assert_eq!(pace.until_busy(std::pin::pin!(async { spin(LONG * 2) })).await, Some(()));
            }
            for _ in 0..8 {
                assert!(pace.is_long());
                pace.in_turn(Box::pin(async { spin(LONG * 2) })).await;
            }
            for _ in 0..(MOST - HEAVY) / TAKEN + 1 {
                assert!(pace.is_long());
                pace.in_turn(Box::pin(async {})).await;
            }
            assert!(!pace.is_long());
        });
    }

    #[test]
    fn a_call_that_used_up_a_tick_leaves_the_thread_and_one_that_waits_does_not() {
        runtime().block_on(async {
            let pace = Pace::new(2);
            let waits = tokio::time::sleep(Duration::from_millis(1));
            assert_eq!(pace.until_busy(std::pin::pin!(waits)).await, Some(()));
            let ticks = async {
                note_tick();
                tokio::task::yield_now().await;
            };
            assert_eq!(pace.until_busy(std::pin::pin!(ticks)).await, None);
        });
    }

    #[test]
    fn calls_of_one_source_take_turns_and_those_that_wait_hold_up_none() {
        runtime().block_on(async {
            let (pace, running, most) = (Arc::new(Pace::new(2)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let waiting = Arc::new(tokio::sync::Barrier::new(8));
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    let (pace, running, most, waiting) = (pace.clone(), running.clone(), most.clone(), waiting.clone());
                    tokio::spawn(async move {
                        let work = async move {
                            for _ in 0..20 {
                                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                                spin(Duration::from_micros(50));
                                running.fetch_sub(1, Ordering::SeqCst);
                                tokio::task::yield_now().await;
                            }
                            // Over only when all of them wait here at once.
                            waiting.wait().await;
                        };
                        pace.in_turn(Box::pin(work)).await;
                    })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
            assert_eq!(most.load(Ordering::SeqCst), 2);
        });
    }
}
