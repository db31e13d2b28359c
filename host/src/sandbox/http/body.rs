//! A body that is counted as it passes, and whose pieces come in time.

use super::{Data, Notes, Refused};
use http_body::{Body, Frame, SizeHint};
use palisade_policy::Limit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

/// The body of a request or a response.
pub(super) struct Bounded<B> {
    inner: Pin<Box<B>>,
    left: u64,
    most: u64,
    /// How long a piece may take, and when that is over.
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    notes: Notes,
    about: String,
    too_large: fn(Option<u64>) -> Error,
}

impl<B> Bounded<B> {
    /// `idle` needs the runtime of the network around it.
    pub(super) fn new(
        inner: B,
        most: u64,
        idle: Option<Duration>,
        notes: Notes,
        about: String,
        too_large: fn(Option<u64>) -> Error,
    ) -> Self {
        let idle = idle.map(|idle| (idle, Box::pin(tokio::time::sleep(idle))));
        Self { inner: Box::pin(inner), left: most, most, idle, notes, about, too_large }
    }
}

impl<B: Body<Data = Data, Error = Error>> Body for Bounded<B> {
    type Data = Data;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
            let Some((idle, over)) = &mut this.idle else { return Poll::Pending };
            ready!(over.as_mut().poll(cx));
            let waited = humantime::format_duration(*idle);
            this.notes.add(Refused::Because(format!("{} paused for more than {waited} (`net_idle`)", this.about)));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        if let Some((idle, over)) = &mut this.idle {
            over.as_mut().reset(Instant::now() + *idle);
        }
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        // Trailers are ours, as the header that announces them.
        let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
        match this.left.checked_sub(data.len() as u64) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            None => {
                let most = Limit::NetBody.show(this.most);
                this.notes.add(Refused::Because(format!("{} was cut off at {most} (`net_body`)", this.about)));
                Poll::Ready(Some(Err((this.too_large)(Some(this.most)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
