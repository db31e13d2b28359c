//! What needs a resolver or an authority of its own; the rest is tested through the program, in `tests/tests/network.rs`.

use super::connect::{Task, connect, runtime, trusting};
use super::*;
use crate::sandbox::refused::NOTED;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::Mutex;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::ring};

/// Gives its answers one after the other, and then none.
struct Answers(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Resolve for Answers {
    fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().pop_front().ok_or_else(|| io::Error::other("asked too often"))
    }
}

/// The answers a resolver has left.
type Left = Arc<Mutex<VecDeque<Vec<IpAddr>>>>;

fn network(origin: &str, answers: &[&[&str]], roots: RootCertStore) -> (Arc<Network>, Left) {
    let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
    let answers = Arc::new(Mutex::new(answers));
    (Arc::new(Network::with(vec![origin.parse().unwrap()], Box::new(Answers(answers.clone())), trusting(roots))), answers)
}

fn hooks(network: Option<Arc<Network>>) -> Hooks {
    Http::new(network, &Limits::default()).hooks
}

fn request(uri: &str) -> Request<WasiBody> {
    let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().uri(uri).body(body).unwrap()
}

/// What a guest gets, and what the operator reads.
async fn sent(hooks: &mut Hooks, uri: &str) -> (Result<u16, String>, Vec<Refused>) {
    let answer = Box::into_pin(hooks.send_request(request(uri), None, Box::new(async { Ok(()) }))).await;
    let answer = answer.map(|(response, _)| response.status().as_u16()).map_err(|error| format!("{error:?}"));
    (answer, hooks.notes.as_ref().map(Notes::take).unwrap_or_default())
}

#[tokio::test]
async fn one_private_address_among_public_ones_refuses_the_name() {
    for answer in [["127.0.0.1", "1.1.1.1"], ["1.1.1.1", "10.0.0.1"], ["2606:4700::1111", "::ffff:1.1.1.1"], ["169.254.169.254", "1.1.1.1"]]
    {
        let (network, _) = network("http://a.example:1", &[&answer], RootCertStore::empty());
        let (got, read) = sent(&mut hooks(Some(network)), "http://a.example:1/secret").await;
        assert_eq!(got, Err("DestinationIpProhibited".to_owned()), "{answer:?}");
        let [Refused::Because(why)] = read.as_slice() else { panic!("{read:?}") };
        assert!(why.starts_with("a request to http://a.example:1 failed: its name leads to ") && !why.contains("secret"), "{why}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_for_a_request_and_checked_again_for_the_next() {
    // The second answer is what an attacker would have the connection use after the first was checked.
    let (network, left) = network("http://a.example", &[&["1.1.1.1"], &["127.0.0.1"]], RootCertStore::empty());
    let to: NetOrigin = "http://a.example".parse().unwrap();
    let found = super::connect::addresses(&network, &to).await.map_err(|why| why.sentence);
    assert_eq!((found, left.lock().unwrap().len()), (Ok(vec!["1.1.1.1".parse().unwrap()]), 1));
    let (got, _) = sent(&mut hooks(Some(network)), "http://a.example").await;
    assert_eq!((got, left.lock().unwrap().len()), (Err("DestinationIpProhibited".to_owned()), 0));
}

#[tokio::test]
async fn localhost_is_never_looked_up_and_no_other_name_is_this_machine() {
    let (network, left) = network("http://localhost:1", &[&["1.1.1.1"]], RootCertStore::empty());
    let found = super::connect::addresses(&network, &"http://localhost:1".parse().unwrap()).await.map_err(|why| why.sentence).unwrap();
    assert!(found.iter().all(IpAddr::is_loopback) && left.lock().unwrap().len() == 1);
    let (network, _) = self::network("http://a.localhost:1", &[&["127.0.0.1"]], RootCertStore::empty());
    let (got, _) = sent(&mut hooks(Some(network)), "http://a.localhost:1").await;
    assert_eq!(got, Err("DestinationIpProhibited".to_owned()));
}

#[tokio::test]
async fn without_a_grant_nothing_is_sent_and_nothing_is_kept_until_it_is_tried() {
    // As while definitions are read.
    let mut hooks = hooks(None);
    assert!(hooks.notes.is_none());
    let (got, read) = sent(&mut hooks, "http://localhost:1/").await;
    assert_eq!(got, Err("HttpRequestDenied".to_owned()));
    assert_eq!(read, [Refused::NotGranted("http://localhost:1".parse().unwrap())]);
}

#[tokio::test]
async fn the_operator_reads_of_a_few_refusals_and_how_many_there_were() {
    let mut hooks = hooks(None);
    for port in 1..=10 {
        let answer = hooks.send_request(request(&format!("http://a.example:{port}")), None, Box::new(async { Ok(()) }));
        assert!(Box::into_pin(answer).await.is_err());
    }
    let read = hooks.notes.as_ref().unwrap().take();
    assert_eq!((read.len(), &read[NOTED]), (NOTED + 1, &Refused::Because("6 more were refused".to_owned())));
}

/// A TLS server for one connection that shows this certificate and answers a request.
fn serve(chain: Vec<rcgen::Certificate>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let chain = chain.iter().map(|certificate| certificate.der().clone()).collect();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        // A client that does not trust it goes away.
        let mut head = [0; 4096];
        if tls.read(&mut head).is_ok_and(|read| read > 0) {
            let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_is_for_this_name_and_now_and_signed_by_whom_we_trust() {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Or a certificate that signed itself would bear the name of its issuer.
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of a test");
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, &authority_key);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let leaf = |name: &str, end: (i32, u8, u8)| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        let signed = params.clone().signed_by(&key, &issuer).unwrap();
        (signed, params.self_signed(&key).unwrap(), key)
    };
    let far = (4000, 1, 1);
    for (name, end, own, want) in [
        ("localhost", far, false, None),
        ("localhost", far, true, Some("nobody we trust signed it")),
        ("localhost", (2021, 1, 1), false, Some("it has expired")),
        ("other.example", far, false, Some("it is for another name")),
    ] {
        let (signed, alone, key) = leaf(name, end);
        let port = serve(vec![if own { alone } else { signed }], &key);
        let url = format!("https://localhost:{port}");
        let (network, _) = network(&url, &[], roots.clone());
        let (got, read) = sent(&mut hooks(Some(network)), &url).await;
        match want {
            None => assert_eq!((got, read), (Ok(204), Vec::new())),
            Some(why) => {
                assert_eq!(got, Err("TlsCertificateError".to_owned()), "{why}");
                let line = format!("a request to {url} failed: its certificate was refused: {why}");
                assert!(matches!(read.as_slice(), [Refused::Because(read)] if read.starts_with(&line)), "{read:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_goes_when_nobody_waits_for_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let to: NetOrigin = format!("http://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let (network, _) = network(&to.to_string(), &[], RootCertStore::empty());
    let task = Task::spawn(runtime().unwrap(), async move {
        let stream = connect(&network, &to).await;
        std::future::pending::<()>().await;
        drop(stream);
    });
    let (mut stream, _) = listener.accept().unwrap();
    drop(task);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
