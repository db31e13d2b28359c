//! `wasi:http`, outgoing alone: each request is decided when it is made, and goes over a connection of our own.
//!
//! The rule it keeps: a request leaves only for an origin that was granted; the name of its host is looked up once, every
//! address of the answer is checked, and the connection goes to one of those very addresses. Nothing follows a redirect:
//! whoever wants to makes a new request, which is decided like the first. No proxy, no variable, no file of the machine has
//! a say.
//!
//! Where the rule ends: which origins were granted was decided when the source was loaded.
//!
//! Never here: sockets for guests, requests of the host's own, anything incoming.

mod body;
mod connect;
#[cfg(test)]
mod tests;

use crate::clean;
use crate::sandbox::refused::{Notes, Refused};
use crate::sandbox::state::State;
use body::Bounded;
use bytes::Bytes;
use connect::{Resolve, System, Why};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use palisade_policy::{Limit, Limits, NetHost, NetOrigin, is_framing};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ClientConfig;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::bindings::{LinkOptions, http as interfaces};
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

/// Look-ups of one source at once: one that is never answered holds a thread.
const LOOKUPS: usize = 4;
/// Most headers of a response.
const HEADERS: usize = 100;
/// Most bytes of a piece of a request's body, and of the fields a guest makes.
const CHUNK: usize = 64 * 1024;

/// A header with a secret, which the host adds to requests to an origin.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its name, for the operator.
    pub name: String,
    /// The requests it is added to.
    pub origin: NetOrigin,
    /// The header; `None` for `authorization`, with `Bearer` before the value.
    pub header: Option<String>,
    /// The value; `None` where there is none, and then no such request leaves.
    pub value: Option<String>,
}

impl Secret {
    /// The header as it goes out.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = self.value.as_ref()?;
        let (name, text) = match &self.header {
            Some(name) => (HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone()),
            None => (header::AUTHORIZATION, format!("Bearer {value}")),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

/// What one source may reach: made once, used by each call.
pub(crate) struct Network {
    origins: Vec<NetOrigin>,
    secrets: Vec<Secret>,
    resolver: Box<dyn Resolve>,
    tls: Arc<ClientConfig>,
    lookups: Arc<Semaphore>,
}

impl Network {
    /// With the system's resolver; `None` where nothing is granted.
    pub(crate) fn new(origins: Vec<NetOrigin>, secrets: Vec<Secret>) -> Option<Arc<Self>> {
        let network = || Self { secrets, ..Self::with(origins.clone(), Box::new(System), connect::public_roots()) };
        (!origins.is_empty()).then(|| Arc::new(network()))
    }

    fn with(origins: Vec<NetOrigin>, resolver: Box<dyn Resolve>, tls: Arc<ClientConfig>) -> Self {
        Self { origins, secrets: Vec::new(), resolver, tls, lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

/// The bounds of a call's requests.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    requests: u64,
    connect: Duration,
    idle: Duration,
    headers: usize,
    body: u64,
}

/// The network of one call. Without a grant it is a few words that nothing is allocated for.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    network: Option<Arc<Network>>,
    bounds: Bounds,
    made: u64,
    notes: Option<Notes>,
}

impl Http {
    pub(crate) fn new(network: Option<Arc<Network>>, limits: &Limits) -> Self {
        let bounds = Bounds {
            requests: limits.get(Limit::NetRequests),
            connect: limits.time(Limit::NetConnect),
            idle: limits.time(Limit::NetIdle),
            headers: limits.size(Limit::NetHeaders),
            body: limits.get(Limit::NetBody),
        };
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(CHUNK);
        Self { ctx, hooks: Hooks { network, bounds, made: 0, notes: None } }
    }

    pub(crate) fn view<'s>(&'s mut self, table: &'s mut ResourceTable) -> WasiHttpCtxView<'s> {
        WasiHttpCtxView { hooks: &mut self.hooks, table, ctx: &mut self.ctx }
    }

    /// Where what is refused is kept for the operator; nothing is allocated before there is something.
    pub(crate) fn notes(&mut self) -> &mut Option<Notes> {
        &mut self.hooks.notes
    }

    /// Keeps something for the operator.
    pub(crate) fn note(&mut self, refused: Refused) {
        self.notes().get_or_insert_default().add(refused);
    }

    /// What was refused until now.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        self.hooks.notes.as_ref().map(Notes::take).unwrap_or_default()
    }
}

/// A connection of the host's own to an origin, as checked as one of a component.
///
/// # Errors
/// One sentence.
pub(crate) async fn open_connection(
    network: &Arc<Network>,
    to: &NetOrigin,
    time: Duration,
) -> Result<impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + use<>, String> {
    let connecting = tokio::time::timeout(time, connect::connect(network, to)).await;
    connecting.unwrap_or_else(|_| Err(Why::timeout(time))).map_err(|why| why.sentence)
}

/// Outgoing requests and their types; nothing that is incoming.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    interfaces::outgoing_handler::add_to_linker::<State, WasiHttp>(linker, State::http)?;
    interfaces::types::add_to_linker::<State, WasiHttp>(linker, &LinkOptions::default().into(), State::http)
}

type Answer = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl Hooks {
    /// The decision: where a request goes, or why it does not.
    fn decide(&mut self, request: &Request<WasiBody>) -> Result<(Arc<Network>, NetOrigin), (Refused, Error)> {
        let uri = request.uri();
        let written = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        let because = |why: String, error| Err((Refused::Because(why), error));
        let to: NetOrigin = match written.parse() {
            Ok(NetOrigin { host: NetHost::Below(_), .. }) | Err(_) => {
                // A user and a password may stand before the host.
                let shown = clean::line(written.rsplit('@').next().unwrap_or_default(), clean::NAME);
                return because(format!("a request to `{shown}` was refused: that is not an origin"), Error::HttpRequestUriInvalid);
            }
            Ok(to) => to,
        };
        if *request.method() == Method::CONNECT || *request.method() == Method::TRACE {
            return because(format!("a request to {to} was refused: its method is {}", request.method()), Error::HttpRequestMethodInvalid);
        }
        let network = match &self.network {
            Some(network) if network.origins.iter().any(|origin| origin.covers(&to)) => network.clone(),
            _ => return Err((Refused::NotGranted(to), Error::HttpRequestDenied)),
        };
        let mine = network.secrets.iter().filter(|secret| secret.origin.covers(&to));
        if let Some(secret) = mine.into_iter().find(|secret| secret.header().is_none()) {
            let why = if secret.value.is_some() { "is no text that a header can hold" } else { "is neither a file nor a variable" };
            return because(format!("a request to {to} was refused: its secret {} {why}", secret.name), Error::HttpRequestDenied);
        }
        self.made += 1;
        if self.made > self.bounds.requests {
            let most = self.bounds.requests;
            return because(format!("it made more than {most} requests in one call (`net_requests`)"), Error::ConnectionLimitReached);
        }
        Ok((network, to))
    }
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name: &HeaderName| is_framing(name.as_str()))
    }

    /// Every scheme gets as far as the decision, so that the operator sees what was tried.
    fn is_supported_scheme(&mut self, _: &http::uri::Scheme) -> bool {
        true
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        match error {
            e if e.is_parse_too_large() => ErrorCode::HttpResponseHeaderSectionSize(None),
            e if e.is_incomplete_message() => ErrorCode::HttpResponseIncomplete,
            _ => ErrorCode::HttpProtocolError,
        }
    }

    fn p2_error_from_connect(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, _: &std::io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let decided = self.decide(&request);
        let notes = self.notes.get_or_insert_default().clone();
        let (network, to) = match decided {
            Ok(decided) => decided,
            Err((refused, error)) => {
                notes.add(refused);
                return Box::new(std::future::ready(Err(error)));
            }
        };
        let bounds = self.bounds.lowered(options);
        let Some(runtime) = connect::runtime() else {
            notes.add(Refused::Because("no thread could be had for the network".to_owned()));
            return Box::new(std::future::ready(Err(Error::InternalError(None))));
        };
        // Whoever calls may have no way to wait for a socket, and a guest's threads may be slow ones.
        let task = connect::Task::spawn(runtime, send(network, to, request, bounds, notes));
        Box::new(async move { task.await.unwrap_or(Err(Error::InternalError(None))) })
    }
}

impl Bounds {
    /// A guest may ask for shorter times.
    fn lowered(self, options: Option<RequestOptions>) -> Self {
        let Some(options) = options else { return self };
        let least = |most: Duration, asked: Option<Duration>| asked.map_or(most, |asked| asked.min(most));
        Self {
            connect: least(self.connect, options.connect_timeout),
            idle: least(least(self.idle, options.first_byte_timeout), options.between_bytes_timeout),
            ..self
        }
    }
}

/// Connects, sends, and waits for the head of the answer.
async fn send(network: Arc<Network>, to: NetOrigin, request: Request<WasiBody>, bounds: Bounds, notes: Notes) -> Result<Answer, Error> {
    let fail = |Why { sentence, error }: Why| {
        notes.add(Refused::Because(format!("a request to {to} failed: {}", clean::line(&sentence, clean::TEXT))));
        error
    };
    let connecting = tokio::time::timeout(bounds.connect, connect::connect(&network, &to));
    let stream = connecting.await.unwrap_or_else(|_| Err(Why::timeout(bounds.connect))).map_err(fail)?;
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_headers(HEADERS).max_buf_size(bounds.headers.max(8192));
    let (mut sender, connection) = client.handshake(stream).await.map_err(|e| fail(Why::hyper(e, bounds.headers)))?;
    // Ends with the body that holds it.
    let connection = connect::Task::here(async move { connection.await.map_err(Error::from) });
    let request = outgoing(&network, &to, request, bounds, &notes);
    let response = match tokio::time::timeout(bounds.idle, sender.send_request(request)).await {
        Ok(response) => response.map_err(|e| fail(Why::hyper(e, bounds.headers)))?,
        Err(_) => return Err(fail(Why::silent(bounds.idle))),
    };
    let (parts, incoming) = response.into_parts();
    // The library reads eight kilobytes in any case.
    if parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > bounds.headers {
        return Err(fail(Why::headers(bounds.headers)));
    }
    let about = format!("the response of {to}");
    let body = Bounded::new(incoming.map_err(Error::from), bounds.body, Some(bounds.idle), notes, about, Error::HttpResponseBodySize);
    let rest = Box::new(async move { connection.await.unwrap_or(Ok(())) });
    Ok((Response::from_parts(parts, body.boxed_unsync()), rest))
}

/// The request as it goes over the connection: path and query alone, our own headers, and the secrets of that origin.
fn outgoing(network: &Network, to: &NetOrigin, request: Request<WasiBody>, bounds: Bounds, notes: &Notes) -> Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    // The others that are ours a guest cannot set. An origin is ASCII.
    parts.headers.extend(HeaderValue::from_str(&to.authority()).ok().map(|host| (header::HOST, host)));
    // In the place of what a guest wrote under that name.
    for (name, value) in network.secrets.iter().filter(|secret| secret.origin.covers(to)).filter_map(Secret::header) {
        parts.headers.insert(name, value);
    }
    let path = parts.uri.path_and_query().filter(|path| path.as_str().starts_with('/')).cloned();
    parts.uri = path.map_or_else(|| http::Uri::from_static("/"), http::Uri::from);
    let about = format!("the body of a request to {to}");
    let body = Bounded::new(body, bounds.body, None, notes.clone(), about, Error::HttpRequestBodySize);
    Request::from_parts(parts, body.boxed_unsync())
}

/// What both kinds of body carry.
type Data = Bytes;
