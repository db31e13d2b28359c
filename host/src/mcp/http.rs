//! The server over Streamable HTTP, on a loopback address.
//!
//! The rule it keeps: a request is for this very host, comes from no web page, and carries the token of a file that only
//! this user reads; else nothing of it is looked at.
//!
//! Never here: the protocol, which is the library's; TLS, which loopback does not need.

use super::Events;
use super::server::{Hosts, LAST, Server, stopped};
use super::sessions::Sessions;
use crate::config::{Home, read_private};
use crate::error::{Error, Kind};
use crate::own::{locked, make_folder};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use sha2::Sha256;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use wasmtime_wasi_http::io::TokioIo;

/// Where clients speak to it.
pub const PATH: &str = "/mcp";
/// Most connections at once.
const CONNECTIONS: usize = 256;
/// How long a connection stays that has not shown the token.
const STRANGER: Duration = Duration::from_secs(2);
/// Largest request body, in bytes: the largest arguments, escaped, and their frame.
const BODY: usize = 8 * 1024 * 1024;
/// How long the last answers have to go out.
const ANSWERS: Duration = Duration::from_millis(500);
/// Length of the token, in bytes before it is written in hex.
const TOKEN: usize = 32;

/// Who may speak to the server.
#[derive(Debug, Clone)]
pub enum Guard {
    /// Whoever shows this token.
    Token(String),
    /// Everybody on this machine.
    Nobody,
}

impl Guard {
    /// The token of this user, made when it is first asked for, and where it stands.
    ///
    /// # Errors
    /// [`Kind::Io`] where it can be neither read nor made, [`Kind::Config`] where others could have read it.
    pub fn token(home: &Home) -> Result<(Self, PathBuf), Error> {
        let path = home.state.join("serve.token");
        make_folder(&home.state)?;
        if let Some(token) = kept(&path)? {
            return Ok((Self::Token(token), path));
        }
        // Two that start at once get one token, or a client of one of them reads the other's.
        let _held = locked(&home.state.join("serve.token.lock"))?;
        if let Some(token) = kept(&path)? {
            return Ok((Self::Token(token), path));
        }
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes).map_err(|e| Error::new(Kind::Io, format!("random bytes: {e}")))?;
        let text = crate::config::hex(&bytes);
        crate::files::write_whole(&path, &[text.as_bytes(), b"\n"]).map_err(|e| Error::io(path.display(), &e))?;
        crate::redact::learn(&text);
        Ok((Self::Token(text), path))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Self::Token(token) = self else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(given) = given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return false;
        };
        // Codes under either as a key differ at once or not at all, so comparing them takes as long for each.
        let code = |key: &str| Hmac::<Sha256>::new_from_slice(key.as_bytes()).map(|mac| mac.chain_update(b"palisade serve"));
        match (code(token), code(given.1.trim())) {
            (Ok(expected), Ok(given)) => expected.verify_slice(&given.finalize().into_bytes()).is_ok(),
            _ => false,
        }
    }
}

/// The token in a file, where there is one.
fn kept(path: &Path) -> Result<Option<String>, Error> {
    let Some(bytes) = read_private(path, 1024)? else { return Ok(None) };
    let text = String::from_utf8(bytes).unwrap_or_default().trim().to_owned();
    if text.len() < TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("{} holds no token of at least {TOKEN} printable bytes", path.display());
        return Err(Error::new(Kind::Config, what).hint("remove it, and it is made again"));
    }
    crate::redact::learn(&text);
    Ok(Some(text))
}

/// Listens on a loopback address; with port 0 on a free port.
///
/// # Errors
/// [`Kind::Usage`] for an address that is not of this machine alone, [`Kind::Io`] where it is taken.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        let what = format!("{address} is not a loopback address, and the server listens on no other");
        return Err(Error::new(Kind::Usage, what).hint("--http 127.0.0.1:8000"));
    }
    TcpListener::bind(address).await.map_err(|e| Error::io(format!("listening on {address}"), &e))
}

/// Serves the tools of a host until `stop` turns true.
///
/// # Errors
/// [`Kind::Io`] where the listener fails.
pub async fn serve_http(
    hosts: Hosts,
    listener: TcpListener,
    guard: Guard,
    mut stop: watch::Receiver<bool>,
    events: Events,
) -> Result<(), Error> {
    let server = Server::new(hosts, events, stop.clone());
    let busy = server.clone();
    // The names of loopback are the library's default; of origins none is meant but its own.
    let config = StreamableHttpServerConfig::default().enforce_origin_validation().with_max_request_body_bytes(BODY);
    let ending = config.cancellation_token.clone();
    let service = StreamableHttpService::new(move || Ok(server.for_one()), Arc::new(Sessions::default()), config);
    let (guard, places) = (Arc::new(guard), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            // Too many files are open: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // One more than there is room for is closed at once.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let known = Arc::new(AtomicBool::new(false));
        let (guard, service, seen) = (guard.clone(), service.clone(), known.clone());
        let answer = service_fn(move |request| answer(guard.clone(), service.clone(), seen.clone(), request));
        connections.spawn(connected(place, http1::Builder::new().serve_connection(TokioIo::new(stream), answer), known, stop.clone()));
    }
    // One more client finds nobody; calls were told by the same signal, and have their grace.
    drop(listener);
    busy.idle().await;
    let mut over = async || while connections.join_next().await.is_some() {};
    if tokio::time::timeout(ANSWERS, over()).await.is_err() {
        // What is left only listens.
        ending.cancel();
        let _ = tokio::time::timeout(LAST, over()).await;
    }
    Ok(())
}

/// A connection, until it ends, was a stranger's for too long, or has answered what it was asked before the end.
async fn connected<S>(
    _place: OwnedSemaphorePermit,
    connection: http1::Connection<TokioIo<TcpStream>, S>,
    known: Arc<AtomicBool>,
    mut stop: watch::Receiver<bool>,
) where
    S: HttpService<Incoming, ResBody = BoxBody<Bytes, Infallible>, Error = Infallible>,
{
    tokio::pin!(connection);
    let stranger = tokio::time::sleep(STRANGER);
    tokio::pin!(stranger);
    let (mut looked, mut told) = (false, false);
    loop {
        tokio::select! {
            _ = &mut connection => return,
            () = &mut stranger, if !looked => {
                if !known.load(Ordering::Relaxed) {
                    return;
                }
                looked = true;
            }
            () = stopped(&mut stop), if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    guard: Arc<Guard>,
    service: StreamableHttpService<Server, Sessions>,
    known: Arc<AtomicBool>,
    mut request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    if !guard.admits(request.headers()) {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        // Its place is for somebody who knows it.
        refused.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        return Ok(refused);
    }
    known.store(true, Ordering::Relaxed);
    if request.uri().path() != PATH {
        return Ok(plain(StatusCode::NOT_FOUND, "it is at /mcp\n"));
    }
    without_own_origin(request.headers_mut());
    Ok(service.handle(request).await)
}

/// Only this server could serve a page whose origin is the very host and port that are asked, and it serves none. The library
/// refuses every other origin, and every host that is not loopback.
fn without_own_origin(headers: &mut header::HeaderMap) {
    // Without a port it would be a page of another one.
    let ported = |host: &[u8]| host.rsplit(|b| *b == b':').next().is_some_and(|p| p.len() < host.len() && p.iter().all(u8::is_ascii_digit));
    let own = match (headers.get(header::HOST).map(|host| host.as_bytes()), headers.get(header::ORIGIN)) {
        (Some(host), Some(origin)) if ported(host) => {
            origin.as_bytes().strip_prefix(b"http://").is_some_and(|at| at.eq_ignore_ascii_case(host))
        }
        _ => false,
    };
    if own && headers.get_all(header::ORIGIN).iter().count() == 1 {
        headers.remove(header::ORIGIN);
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    response
}
