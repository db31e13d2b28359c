//! Sessions of clients of the older era over HTTP: so many at once, and no more.
//!
//! The rule it keeps: whoever opens sessions and leaves them finds none more to be had, while those that are there go on.
//! One that nobody uses for five minutes ends, which is the library's.

use futures_core::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::server_side_http::{ServerSseMessage, SessionId};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, LocalSessionManagerError};
use tokio::sync::Mutex;

/// Most sessions at once, as many as connections.
const SESSIONS: usize = 256;

/// The library's sessions, counted.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: LocalSessionManager,
    /// Held from the count to the new one.
    making: Mutex<()>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there are {SESSIONS} sessions already; end one, or wait until one has been idle for five minutes")]
    Many,
    #[error(transparent)]
    Library(#[from] LocalSessionManagerError),
}

impl SessionManager for Sessions {
    type Error = Refused;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Refused> {
        let _one = self.making.lock().await;
        if self.all.sessions.read().await.len() >= SESSIONS {
            return Err(Refused::Many);
        }
        Ok(self.all.create_session().await?)
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage, Refused> {
        Ok(self.all.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Refused> {
        Ok(self.all.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Refused> {
        Ok(self.all.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Refused> {
        Ok(self.all.create_stream(id, message).await?)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Refused> {
        Ok(self.all.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Refused> {
        Ok(self.all.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Refused> {
        Ok(self.all.resume(id, last_event_id).await?)
    }
}
