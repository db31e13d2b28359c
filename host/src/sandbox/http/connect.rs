//! One connection: the name is looked up once, all addresses are checked, one of them is connected to.

use super::Network;
use palisade_policy::{NetHost, NetOrigin, NetScheme, address_refusal};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::io::TokioIo;

/// Addresses of one host that are tried.
const TRIED: usize = 8;
/// Threads that wait for a resolver, at most; each source has a few, see [`super::LOOKUPS`].
const WAITING: usize = 64;

/// Finds the addresses of a host; may block.
pub(super) trait Resolve: Send + Sync {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's way.
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Why there is no answer: for the operator, and for the guest.
pub(super) struct Why {
    pub(super) sentence: String,
    pub(super) error: Error,
}

impl Why {
    fn new(sentence: impl Into<String>, error: Error) -> Self {
        Self { sentence: sentence.into(), error }
    }

    pub(super) fn timeout(time: Duration) -> Self {
        Self::new(format!("no connection after {} (`net_connect`)", humantime::format_duration(time)), Error::ConnectionTimeout)
    }

    pub(super) fn silent(time: Duration) -> Self {
        Self::new(format!("no answer after {} (`net_idle`)", humantime::format_duration(time)), Error::HttpResponseTimeout)
    }

    pub(super) fn headers(most: usize) -> Self {
        let sentence = format!("the head of its response has more than {} headers or {most} bytes (`net_headers`)", super::HEADERS);
        Self::new(sentence, Error::HttpResponseHeaderSectionSize(None))
    }

    pub(super) fn hyper(error: hyper::Error, headers: usize) -> Self {
        if error.is_parse_too_large() { Self::headers(headers) } else { Self::new(error.to_string(), error.into()) }
    }
}

/// Runs all sockets; made with the first request. Nothing waits for it at the end.
pub(super) fn runtime() -> Option<&'static Handle> {
    static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(WAITING).thread_name("palisade-net").enable_io().enable_time().build().ok()
    });
    RUNTIME.as_ref().map(Runtime::handle)
}

/// A task that ends when nobody waits for it any more.
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(runtime.spawn(work))
    }

    /// In the runtime that asks.
    pub(super) fn here(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Mozilla's roots, TLS 1.2 and 1.3, no client certificate.
pub(super) fn public_roots() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| trusting(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()));
    CONFIG.clone()
}

pub(super) fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
    let builder = versions.expect("the provider speaks both versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a granted origin.
pub(super) async fn connect(network: &Arc<Network>, to: &NetOrigin) -> Result<TokioIo<Box<dyn Stream>>, Why> {
    let addresses = addresses(network, to).await?;
    let mut last = None;
    for address in addresses.into_iter().take(TRIED) {
        match TcpStream::connect(SocketAddr::new(address, to.port)).await {
            Ok(stream) => {
                // Small requests are not held back.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(match to.scheme {
                    NetScheme::Http => Box::new(stream),
                    NetScheme::Https => Box::new(tls(network, to, stream).await?),
                }));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => Why::new(format!("it cannot be connected to: {error}"), Error::Connect(error)),
        None => Why::new("its name has no address", Error::DestinationNotFound),
    })
}

/// The addresses of a host, each of them one that may be reached. Asked once; nothing looks it up again.
pub(super) async fn addresses(network: &Arc<Network>, to: &NetOrigin) -> Result<Vec<IpAddr>, Why> {
    let name = match &to.host {
        // Granted as it stands.
        NetHost::Address(address) => return Ok(vec![*address]),
        // It means this machine wherever it is asked for, so nobody is asked.
        NetHost::Name(name) if name == "localhost" => return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        NetHost::Name(name) | NetHost::Below(name) => name.clone(),
    };
    let place = network.lookups.clone().acquire_owned().await;
    let (asked, network) = (name.clone(), network.clone());
    let lookup = tokio::task::spawn_blocking(move || {
        let found = network.resolver.resolve(&asked);
        // Held until the resolver answers, whoever still waits.
        drop(place);
        found
    });
    let unknown = |why: String| Why::new(format!("its name has no address: {why}"), Error::DestinationNotFound);
    let found = lookup.await.map_err(|e| unknown(e.to_string()))?.map_err(|e| unknown(e.to_string()))?;
    match found.iter().find_map(|address| Some((address, address_refusal(*address)?))) {
        // One is enough: which of them is connected to would be chance.
        Some((address, why)) => {
            let sentence = format!("its name leads to {address}, which is not of the public internet ({why})");
            Err(Why::new(sentence, Error::DestinationIpProhibited))
        }
        None => Ok(found),
    }
}

/// TLS, with the very name that was granted.
async fn tls(network: &Network, to: &NetOrigin, stream: TcpStream) -> Result<impl Stream + use<>, Why> {
    let name = match &to.host {
        NetHost::Address(address) => ServerName::from(*address),
        NetHost::Name(name) | NetHost::Below(name) => {
            ServerName::try_from(name.clone()).map_err(|e| Why::new(e.to_string(), Error::HttpRequestUriInvalid))?
        }
    };
    TlsConnector::from(network.tls.clone()).connect(name, stream).await.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                Why::new(format!("its certificate was refused: {}", certificate(why)), Error::TlsCertificateError)
            }
            _ => Why::new(format!("no TLS: {error}"), Error::Tls(error)),
        }
    })
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "nobody we trust signed it (a self-signed one is not trusted)".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name".to_owned(),
        why => why.to_string(),
    }
}
