//! An input that is looked at for a moment after each answer, before its reader is put to sleep: to wake a sleeping thread costs
//! more than most calls, and a client in a conversation has its next message ready by then. Where the next one did not come in
//! time a few times over, it is looked for seldom, so that a client that takes its time costs nothing.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long is looked: twice what a client takes that asks at once (measured: 35 to 50 µs between two virtual processors).
const WINDOW: Duration = Duration::from_micros(100);
/// So many windows in vain in a row, and only one in [`SELDOM`] is opened, until one pays again.
const IN_VAIN: u32 = 3;
const SELDOM: u32 = 16;

/// When something was last written, in nanoseconds since the server began; 0 before that.
#[derive(Clone)]
pub struct Answered {
    began: Instant,
    at: Arc<AtomicU64>,
}

impl Default for Answered {
    fn default() -> Self {
        Self { began: Instant::now(), at: Arc::default() }
    }
}

impl Answered {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Which answers a next message is looked for after, and how long.
#[derive(Default)]
struct Windows {
    /// The answer whose window is over, or that opened none.
    over: u64,
    /// The answer whose window is open.
    open: Option<u64>,
    in_vain: u32,
    skipped: u32,
}

impl Windows {
    /// Whether to look once more, `answered` being the last answer.
    fn look(&mut self, answered: u64, now: u64, window: Duration) -> bool {
        if answered == self.over {
            return false;
        }
        if self.open != Some(answered) {
            if self.in_vain >= IN_VAIN && self.skipped + 1 < SELDOM {
                self.skipped += 1;
                self.over = answered;
                return false;
            }
            self.open = Some(answered);
        }
        if u128::from(now.saturating_sub(answered)) < window.as_nanos() {
            return true;
        }
        (self.open, self.over, self.skipped) = (None, answered, 0);
        self.in_vain = self.in_vain.saturating_add(1);
        false
    }

    /// Something came.
    fn came(&mut self, answered: u64) {
        if self.open.take().is_some() {
            (self.in_vain, self.skipped) = (0, 0);
        }
        self.over = answered;
    }
}

/// The input.
pub struct Eager<T> {
    inner: T,
    answered: Answered,
    windows: Windows,
    window: Duration,
}

impl<T> Eager<T> {
    pub fn new(inner: T, answered: Answered) -> Self {
        Self { inner, answered, windows: Windows::default(), window: WINDOW }
    }
}

impl<T: AsyncRead + AsFd + Unpin> AsyncRead for Eager<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let answered = this.answered.at.load(Ordering::Relaxed);
        // Whatever is looked for below, the system wakes this task when it comes.
        if let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buffer) {
            this.windows.came(answered);
            return Poll::Ready(read);
        }
        if !this.windows.look(answered, this.answered.now(), this.window) {
            return Poll::Pending;
        }
        match rustix::io::read(&this.inner, buffer.initialize_unfilled()) {
            Ok(read) => {
                buffer.advance(read);
                this.windows.came(answered);
                Poll::Ready(Ok(()))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                // Other tasks of this thread come first, and a client on the same processor.
                std::thread::yield_now();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// An output that says when it was written to.
pub struct Noted<T> {
    inner: T,
    answered: Answered,
}

impl<T> Noted<T> {
    pub fn new(inner: T, answered: Answered) -> Self {
        Self { inner, answered }
    }

    fn note(&self) {
        self.answered.at.store(self.answered.now(), Ordering::Relaxed);
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        self.note();
        Poll::Ready(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bytes));
        self.note();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};
    use tokio::io::AsyncWriteExt;
    use tokio::net::unix::pipe;

    const MICRO: u64 = 1000;

    /// Whether it looks right after this answer; the window then ends in vain.
    fn in_vain(windows: &mut Windows, answered: u64) -> bool {
        let looked = windows.look(answered, answered, WINDOW);
        assert!(!windows.look(answered, answered + 101 * MICRO, WINDOW), "the window is over");
        assert!(!windows.look(answered, answered + 102 * MICRO, WINDOW), "and stays so");
        looked
    }

    #[test]
    fn nobody_looks_before_the_first_answer_and_after_each_for_the_window_alone() {
        let mut windows = Windows::default();
        assert!(!windows.look(0, 5 * MICRO, WINDOW));
        assert!(windows.look(7 * MICRO, 7 * MICRO, WINDOW));
        assert!(windows.look(7 * MICRO, 106 * MICRO, WINDOW));
        assert!(!windows.look(7 * MICRO, 107 * MICRO, WINDOW));
        assert!(!windows.look(7 * MICRO, 50 * MICRO, WINDOW), "a window that was over opens no more");
    }

    #[test]
    fn after_three_windows_in_vain_one_in_sixteen_is_opened_until_one_pays() {
        let mut windows = Windows::default();
        let looked: Vec<u64> = (1..=3 + 3 * 16).filter(|at| in_vain(&mut windows, at * 1000 * MICRO)).collect();
        assert_eq!(looked, [1, 2, 3, 19, 35, 51]);
        let mut at = 1_000_000 * MICRO;
        while !windows.look(at, at, WINDOW) {
            at += 1000 * MICRO;
        }
        windows.came(at);
        assert!((1..=3).all(|more| in_vain(&mut windows, at + more * 1000 * MICRO)));
        assert!(!in_vain(&mut windows, at + 4000 * MICRO));
    }

    #[test]
    fn what_comes_while_nobody_looks_opens_no_window_by_itself() {
        let mut windows = Windows::default();
        assert!((1..=3).all(|at| in_vain(&mut windows, at * 1000 * MICRO)));
        windows.came(3000 * MICRO);
        assert!(!in_vain(&mut windows, 4000 * MICRO), "a slow client that writes at last is still slow");
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_reader_wakes_itself_in_the_window_and_else_sleeps_until_something_comes() {
        let (mut client, server) = pipe::pipe().unwrap();
        let answered = Answered::default();
        let mut eager = Eager { window: Duration::MAX, ..Eager::new(server, answered.clone()) };
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let read = |eager: &mut Eager<pipe::Receiver>| {
            let mut bytes = [0; 8];
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = Pin::new(eager).poll_read(&mut Context::from_waker(&waker), &mut buffer);
            polled.map(|read| read.map(|()| buffer.filled().to_vec()).unwrap())
        };
        let mut woken = 0;
        let mut wakes_since = || {
            let before = std::mem::replace(&mut woken, wakes.0.load(Ordering::Relaxed));
            woken - before
        };
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Pending, 0), "nothing was answered");
        let mut output = Noted::new(tokio::io::sink(), answered.clone());
        output.write_all(b"an answer").await.unwrap();
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Pending, 1));
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Pending, 1));
        // The runtime has not looked at the pipe since: what is there is read all the same.
        rustix::io::write(&client, b"next").unwrap();
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Ready(b"next".to_vec()), 0));
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Pending, 0), "one message for an answer");
        output.write_all(b"an answer").await.unwrap();
        eager.window = Duration::ZERO;
        assert_eq!((read(&mut eager), wakes_since()), (Poll::Pending, 0));
        client.write_all(b"late").await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), async {
            while wakes.0.load(Ordering::Relaxed) == woken {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the system wakes it");
        assert_eq!(read(&mut eager), Poll::Ready(b"late".to_vec()));
        drop(client);
        tokio::task::yield_now().await;
        output.write_all(b"an answer").await.unwrap();
        eager.window = Duration::MAX;
        assert_eq!(read(&mut eager), Poll::Ready(Vec::new()), "the client is gone");
    }
}
