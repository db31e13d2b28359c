//! What a server sends, before the library sees it: nothing that we did not ask for, and not more than somebody can read.
//!
//! A server that asks and does not read would fill the memory with our answers, so what it asks is not heard, but for a
//! ping now and then. One that floods is cut off.

use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, ServerRequest};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::time::{Duration, Instant};

/// Most messages in a second; the quickest good server sends a tenth of it.
const MESSAGES: u32 = 20_000;
/// Least time between two pings that are answered.
const PING: Duration = Duration::from_secs(1);

pub(super) struct Guarded<T> {
    inner: T,
    second: Instant,
    messages: u32,
    pinged: Option<Instant>,
}

impl<T> Guarded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, second: Instant::now(), messages: 0, pinged: None }
    }

    /// Whether one more message is more than somebody can read.
    fn floods(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) > Duration::from_secs(1) {
            (self.second, self.messages) = (now, 0);
        }
        self.messages += 1;
        self.messages > MESSAGES
    }

    /// Whether the library hears of it.
    fn heard(&mut self, message: &RxJsonRpcMessage<RoleClient>) -> bool {
        match message {
            JsonRpcMessage::Request(asked) => {
                let ping = matches!(asked.request, ServerRequest::PingRequest(_));
                let often = self.pinged.is_some_and(|last| last.elapsed() < PING);
                if ping && !often {
                    self.pinged = Some(Instant::now());
                }
                ping && !often
            }
            _ => true,
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Guarded<T> {
    type Error = T::Error;

    fn send(&mut self, item: TxJsonRpcMessage<RoleClient>) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = self.inner.receive().await?;
            // The end of the stream is the end of the connection.
            if self.floods(Instant::now()) {
                return None;
            }
            if self.heard(&message) {
                return Some(message);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_server_asks_a_ping_now_and_then_is_heard_and_nothing_else() {
        let message = |text: &str| serde_json::from_str::<RxJsonRpcMessage<RoleClient>>(text).unwrap();
        let mut guarded = Guarded::new(());
        let ping = message(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        assert!(guarded.heard(&ping) && !guarded.heard(&ping));
        assert!(!guarded.heard(&message(r#"{"jsonrpc":"2.0","id":2,"method":"roots/list"}"#)));
        assert!(guarded.heard(&message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)));
        assert!(guarded.heard(&message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)));
    }

    #[test]
    fn a_second_has_room_for_so_many_messages_and_the_next_one_has_again() {
        let mut guarded = Guarded::new(());
        let start = guarded.second;
        for second in [0, 2, 4] {
            let now = start + Duration::from_secs(second);
            assert!((0..MESSAGES).all(|_| !guarded.floods(now)) && guarded.floods(now), "{second}");
        }
    }

    /// Says the same for ever, or nearly: a test that waits for its end is to fail, not to hang.
    struct Endless(RxJsonRpcMessage<RoleClient>, u32);

    impl Transport<RoleClient> for Endless {
        type Error = std::io::Error;

        fn send(&mut self, _: TxJsonRpcMessage<RoleClient>) -> impl Future<Output = std::io::Result<()>> + Send + 'static {
            std::future::ready(Ok(()))
        }

        async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
            self.1 += 1;
            assert!(self.1 < 200 * MESSAGES, "it is not cut off");
            Some(self.0.clone())
        }

        async fn close(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_server_that_floods_is_cut_off_whether_or_not_it_is_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for said in [r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#] {
            let mut guarded = Guarded::new(Endless(serde_json::from_str(said).unwrap(), 0));
            runtime.block_on(async { while guarded.receive().await.is_some() {} });
        }
    }
}
