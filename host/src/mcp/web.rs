//! Speaking to a server by its URL.
//!
//! The rule it keeps: a request goes to the origin of the entry, by the same way as that of a component: its name is looked
//! up once, every address is checked, and no redirect is followed, so that no header leaves for elsewhere. What comes back
//! is bounded, and no header is ever shown.

use crate::clean;
use crate::config::Remote;
use crate::sandbox::{Network, open_connection};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use palisade_policy::{Limit, Limits};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of one answer, a stream of events too.
const ANSWER: usize = 10 * 1024 * 1024;

/// A way to a server by its URL.
#[derive(Clone)]
pub(super) struct Web {
    network: Arc<Network>,
    remote: Arc<Remote>,
    headers: HeaderMap,
    connect: Duration,
    idle: Duration,
    /// Why the last request got no answer, in a sentence for people.
    why: Arc<Mutex<Option<String>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unanswered(String);

type Failed = StreamableHttpError<Unanswered>;
type Events = Pin<Box<dyn futures_core::Stream<Item = Result<Sse, SseError>> + Send>>;
type Body = Limited<hyper::body::Incoming>;

impl Web {
    /// `headers` are those of the entry, with their variables put in.
    ///
    /// # Errors
    /// One sentence, for a header that is none; its value is in no sentence.
    pub(super) fn new(remote: &Remote, headers: &[(String, String)], limits: &Limits) -> Result<Self, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a name of its `headers` is none".to_owned())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("the value of its header {name} is none"))?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        let network = Network::new(vec![remote.origin.clone()], Vec::new()).ok_or("it has no origin")?;
        Ok(Self {
            network,
            remote: Arc::new(remote.clone()),
            headers: map,
            connect: limits.time(Limit::NetConnect),
            idle: limits.time(Limit::Time),
            why: Arc::default(),
        })
    }

    /// Why the last request got no answer.
    pub(super) fn why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, why: impl Into<String>) -> Failed {
        let why = why.into();
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        StreamableHttpError::Client(Unanswered(why))
    }

    async fn send(
        &self,
        method: Method,
        session: Option<&str>,
        more: HashMap<HeaderName, HeaderValue>,
        body: Vec<u8>,
    ) -> Result<Response<Body>, Failed> {
        let stream = open_connection(&self.network, &self.remote.origin, self.connect).await.map_err(|why| self.fail(why))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|e| self.fail(e.to_string()))?;
        // It ends with the body of the answer.
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = self.remote.path.parse().map_err(|_| self.fail("its URL has no path that can be asked for"))?;
        let headers = request.headers_mut();
        headers.extend(more);
        headers.extend(self.headers.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let host = HeaderValue::from_str(&self.remote.origin.authority()).map_err(|_| self.fail("its URL has no host"))?;
        headers.insert(header::HOST, host);
        if let Some(session) = session {
            let session = HeaderValue::from_str(session).map_err(|_| self.fail("its session is no header"))?;
            headers.insert("mcp-session-id", session);
        }
        let answer = tokio::time::timeout(self.idle, sender.send_request(request)).await;
        let answer = answer.map_err(|_| self.fail("it did not answer in time"))?.map_err(|e| self.fail(e.to_string()))?;
        let status = answer.status();
        match status {
            StatusCode::UNAUTHORIZED => return Err(self.fail("it wants to know who asks (401): its `headers` name nobody it knows")),
            StatusCode::FORBIDDEN => return Err(self.fail("it refuses whoever its `headers` name (403)")),
            status if status.is_redirection() => {
                return Err(self.fail(format!("it redirects ({status}), which is not followed; name the URL it means")));
            }
            _ => {}
        }
        Ok(answer.map(|body| Limited::new(body, ANSWER)))
    }

    async fn whole(&self, body: Body) -> Result<Bytes, Failed> {
        let read = tokio::time::timeout(self.idle, body.collect()).await;
        let read = read.map_err(|_| self.fail("its answer did not come in time"))?;
        Ok(read.map_err(|e| self.fail(format!("its answer cannot be read: {e}")))?.to_bytes())
    }
}

fn is(headers: &HeaderMap, kind: &str) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(kind))
}

impl StreamableHttpClient for Web {
    type Error = Unanswered;

    async fn post_message(
        &self,
        _: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let body = serde_json::to_vec(&message)?;
        let had_session = session.is_some();
        let answer = self.send(Method::POST, session.as_deref(), more, body).await?;
        let (parts, body) = answer.into_parts();
        let session = parts.headers.get("mcp-session-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        if matches!(parts.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if parts.status == StatusCode::NOT_FOUND && had_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        if parts.status.is_success() && is(&parts.headers, "text/event-stream") {
            let body = body.map_err(|error| std::io::Error::other(error.to_string()));
            return Ok(StreamableHttpPostResponse::Sse(Box::pin(SseStream::new(body)), session));
        }
        let text = self.whole(body).await?;
        let parsed = serde_json::from_slice::<ServerJsonRpcMessage>(&text);
        match (parts.status.is_success(), parsed, &message) {
            (true, Ok(message), _) => Ok(StreamableHttpPostResponse::Json(message, session)),
            (false, Ok(message @ JsonRpcMessage::Error(_)), _) => Ok(StreamableHttpPostResponse::Json(message, session)),
            // Nothing is waited for, so nothing that could be said is missed.
            (true, Err(_), ClientJsonRpcMessage::Notification(_)) => Ok(StreamableHttpPostResponse::Accepted),
            // A server of the older era knows nothing of the newer one's first question.
            (false, _, ClientJsonRpcMessage::Request(asked)) if matches!(asked.request, ClientRequest::DiscoverRequest(_)) => {
                let unknown = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "not known here", None);
                Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(unknown, Some(asked.id.clone())), session))
            }
            (true, Err(_), _) => Err(self.fail("it answered with something else than JSON-RPC")),
            (false, ..) => Err(self.fail(format!("it answered with status {}", parts.status))),
        }
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        more: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        self.send(Method::DELETE, Some(&session), more, Vec::new()).await.map(drop)
    }

    /// What a server says by itself is not listened to: it would be a connection that never ends.
    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Failed> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("origin", &clean::line(&self.remote.origin.to_string(), clean::NAME)).finish_non_exhaustive()
    }
}
