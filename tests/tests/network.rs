//! The network: a request goes to a granted origin or nowhere, and what comes back is bounded.

use palisade_tests::web::Server;
use palisade_tests::{Answer, World, guest};
use serde_json::{Value, json};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A world with two plugins that ask for these origins: the example, and a guest that sends what it is told.
fn world(origins: &[&str]) -> World {
    let world = World::new();
    let nets: Vec<String> = origins.iter().map(|url| format!("{{ url = \"{url}\", optional = true, why = \"tests\" }}")).collect();
    let manifest = format!("[capabilities]\nnet = [{}]\n[limits]\ntime = \"5s\"\n", nets.join(", "));
    let fetch = std::fs::read(palisade_tests::example("fetch").join("fetch.wasm")).expect("the example is readable");
    world.plugin("fetch", &fetch, &manifest);
    world.plugin("guest", &guest("guest"), &manifest);
    world
}

fn get(world: &World, grants: &[&str], url: &str) -> Answer {
    call(world, grants, "fetch/get", &json!({"url": url}))
}

fn send(world: &World, grants: &[&str], arguments: &Value) -> Answer {
    call(world, grants, "guest/send", arguments)
}

fn call(world: &World, grants: &[&str], tool: &str, arguments: &Value) -> Answer {
    let grants: Vec<String> = grants.iter().map(|url| format!("{}:net:{url}", tool.split('/').next().unwrap())).collect();
    let arguments = arguments.to_string();
    let mut args: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant.as_str()]).collect();
    args.extend(["call", tool, &arguments]);
    world.trusted(&args)
}

fn text(answer: &Answer) -> String {
    answer.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Fails unless the call failed, and the operator reads this.
fn refused(answer: Answer, line: &str) -> String {
    let answer = answer.expect(4);
    assert!(answer.stderr.contains(line), "{line}\n{}", answer.stderr);
    answer.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_granted_origin_answers_and_sees_our_headers() {
    let server = Server::text("hello from here");
    let url = server.url();
    let world = world(&[&url]);
    let answer = get(&world, &[&url], &format!("{url}/a?b=c")).expect(0);
    assert_eq!(text(&answer), "hello from here");
    let heads = server.heads.lock().unwrap();
    assert!(heads[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains(&format!("\r\nhost: localhost:{}\r\n", server.port)), "{}", heads[0]);
}

#[test]
fn another_host_port_or_scheme_is_refused_with_the_line_that_would_allow_it() {
    let server = Server::text("secret");
    let (url, tls) = (server.url(), format!("https://localhost:{}", server.port));
    let world = world(&[&url, &tls, "http://127.0.0.1:80", "https://example.com"]);
    let message = refused(
        get(&world, &[], &format!("{url}/path?token=1")),
        &format!("a request to {url} was refused; to allow it: --grant fetch:net:{url}\n"),
    );
    assert!(message.contains("not granted"), "{message}");
    for other in ["http://127.0.0.1", "https://example.com", &tls] {
        let answer = get(&world, &[&url], &format!("{other}/path?token=1"));
        assert!(!answer.stderr.contains("token=1 was") && !answer.stderr.contains("path?token=1 "), "{}", answer.stderr);
        refused(answer, &format!("a request to {other} was refused; to allow it: --grant fetch:net:{other}\n"));
    }
    // Nobody asked for these, so there is nothing to grant.
    for other in [format!("http://127.0.0.1:{}", server.port), "http://localhost".to_owned()] {
        refused(
            get(&world, &[&url], &other),
            &format!("a request to {other} was refused; no grant allows it, because its plugin.toml does not ask"),
        );
    }
    assert_eq!(server.seen(), 0);
}

#[test]
fn a_needed_origin_is_denied_by_the_gate_with_its_remedy_and_a_stored_grant_gives_it() {
    let server = Server::text("stored");
    let url = server.url();
    let world = World::new();
    let manifest = format!("[capabilities]\nnet = [{{ url = \"{url}\", why = \"tests\" }}]\n");
    let folder = world.plugin("guest", &guest("guest"), &manifest);
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", server.port)});
    let denied = send(&world, &[], &arguments).expect(3).json();
    assert_eq!(denied["denial"]["rule"], "grant");
    assert_eq!(denied["denial"]["remedy"], format!("--grant guest:net:{url}"));
    assert!(text(&send(&world, &[&url], &arguments).expect(0)).ends_with("stored"));
    // The same from the user's config, for exactly these bytes.
    let inspected = world.trusted(&["plugin", "inspect", folder.to_str().unwrap()]).expect(0).json();
    let identity = inspected["identity"].as_str().unwrap();
    world.user_config(&format!(
        "profile = \"trusted\"\ngrants = [\"guest@{identity}:net:{url}\"]\n[plugins]\ndirs = [\"{}\"]\n",
        world.path("plugins").display()
    ));
    let stored = world.palisade(&["--format", "json", "call", "guest/send", &arguments.to_string()]).expect(0);
    assert!(text(&stored).ends_with("stored"), "{}", stored.stdout);
}

#[test]
fn one_host_has_one_spelling_and_other_spellings_of_addresses_are_none() {
    let server = Server::text("here");
    let (url, port) = (server.url(), server.port);
    let world = world(&[&url, "https://*.example.com"]);
    for host in ["LOCALHOST", "localhost.", "LocalHost."] {
        let answer = get(&world, &[&url], &format!("http://{host}:{port}/")).expect(0);
        assert_eq!(text(&answer), "here", "{host}");
    }
    assert!(server.heads.lock().unwrap().iter().all(|head| head.contains(&format!("host: localhost:{port}\r\n"))));
    for host in
        ["2130706433", "0177.0.0.1", "127.1", "0x7f.0.0.1", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "b%C3%BCcher.example", "localhost.."]
    {
        let answer = send(&world, &[&url], &json!({"scheme": "http", "authority": format!("{host}:{port}")})).expect(0);
        let said = text(&answer);
        assert!(said.contains("HttpRequestUriInvalid") || said.contains("bad authority"), "{host}: {said}");
        assert!(said.contains("bad") || answer.stderr.contains("that is not an origin"), "{host}: {}", answer.stderr);
    }
    // A name in another script goes as it goes over the wire, and is another name.
    let answer = send(&world, &[&url], &json!({"scheme": "http", "authority": format!("xn--lcalhost-55a:{port}")})).expect(0);
    assert!(text(&answer).contains("HttpRequestDenied"));
    // A user before the host decides nothing, and is not shown.
    let answer = send(&world, &[&url], &json!({"scheme": "http", "authority": format!("localhost:{port}@evil.example")})).expect(0);
    assert!(text(&answer).contains("HttpRequestUriInvalid") && !answer.stderr.contains("localhost"), "{}", answer.stderr);
    for scheme in ["file", "ftp", "gopher"] {
        let answer = send(&world, &[&url], &json!({"scheme": scheme, "authority": format!("localhost:{port}")})).expect(0);
        assert!(text(&answer).contains("HttpRequestUriInvalid") && answer.stderr.contains(scheme), "{}", answer.stderr);
    }
    assert_eq!(server.seen(), 3);
}

#[test]
fn each_hop_of_a_redirect_is_decided_like_the_first() {
    let target = Server::text("the end");
    let hop = Server::redirect(format!("http://localhost:{}/", target.port));
    let both = [hop.url(), target.url()];
    let ports = [both[0].as_str(), both[1].as_str()];
    let world = world(&[ports[0], ports[1], "http://10.0.0.1"]);
    assert_eq!(text(&get(&world, &ports, ports[0]).expect(0)), "the end");
    let line = format!("a request to {} was refused; to allow it: --grant fetch:net:{}\n", ports[1], ports[1]);
    refused(get(&world, &ports[..1], ports[0]), &line);
    for (location, line) in [
        ("http://10.0.0.1/", "a request to http://10.0.0.1 was refused"),
        ("http://169.254.169.254/latest/meta-data", "a request to http://169.254.169.254 was refused"),
        ("http://127.0.0.1:1/", "a request to http://127.0.0.1:1 was refused"),
        ("http://2130706433/", "that is not an origin"),
        ("file:///etc/passwd", ""),
    ] {
        let hop = Server::redirect(location.to_owned());
        let url = hop.url();
        let world = self::world(&[&url, "http://10.0.0.1"]);
        let message = refused(get(&world, &[&url], &url), line);
        assert!(message.contains(location.split('/').nth(2).unwrap()), "{location}: {message}");
        assert_eq!(hop.seen(), 1);
    }
    assert_eq!(target.seen(), 1);
}

#[test]
fn headers_that_carry_a_message_and_methods_that_tunnel_are_not_the_guests() {
    let server = Server::text("x");
    let url = server.url();
    let world = world(&[&url]);
    let authority = format!("localhost:{}", server.port);
    let ours =
        ["Host", "Connection", "Upgrade", "Proxy-Authorization", "Proxy-Anything", "Transfer-Encoding", "Keep-Alive", "TE", "Trailer"];
    let mut headers = ours.to_vec();
    headers.push("X-Mine");
    let answer = send(&world, &[&url], &json!({"scheme": "http", "authority": authority, "headers": headers})).expect(0);
    for name in ours {
        assert!(text(&answer).lines().next().unwrap().contains(&format!("{name:?}")), "{name}: {}", text(&answer));
    }
    let head = server.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.contains("\r\nx-mine: x\r\n") && head.matches("\r\nhost:").count() == 1 && !head.contains("proxy"), "{head}");
    for method in ["CONNECT", "TRACE"] {
        let answer = send(&world, &[&url], &json!({"scheme": "http", "authority": authority, "method": method})).expect(0);
        assert!(text(&answer).contains("HttpRequestMethodInvalid") && answer.stderr.contains(method), "{}", answer.stderr);
    }
    assert_eq!(server.seen(), 1);
}

#[test]
fn a_slow_drip_ends_at_the_deadline_of_the_call() {
    let server = Server::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
        for _ in 0..300 {
            out.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    });
    let url = server.url();
    let world = world(&[&url]);
    let started = Instant::now();
    let record = get(&world, &[&url], &url).expect(5).json();
    assert_eq!(record["error"], json!({"kind": "limit-time", "message": "it was stopped after 5s"}));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_silent_server_and_a_paused_body_end_at_the_time_for_a_piece() {
    let silent = Server::start(|_, _| {
        std::thread::sleep(Duration::from_secs(4));
        Ok(())
    });
    let paused = Server::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")?;
        std::thread::sleep(Duration::from_secs(4));
        Ok(())
    });
    for (server, line) in [(silent, "no answer after 300ms (`net_idle`)"), (paused, "paused for more than 300ms (`net_idle`)")] {
        let url = server.url();
        let world = world(&[&url]);
        world.user_config("[limits]\nnet_idle = \"300ms\"\n");
        refused(get(&world, &[&url], &url), line);
    }
}

#[test]
fn an_endless_body_ends_at_the_bound_and_so_does_one_that_is_sent() {
    let server = Server::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            out.write_all(&[b'x'; 65536])?;
        }
    });
    let url = server.url();
    let world = world(&[&url]);
    world.user_config("[limits]\nnet_body = \"1MiB\"\n");
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", server.port)});
    let answer = send(&world, &[&url], &arguments).expect(0);
    assert!(answer.stderr.contains(&format!("the response of {url} was cut off at 1.0 MiB (`net_body`)")), "{}", answer.stderr);
    let length: usize = text(&answer).split(' ').nth(5).unwrap().parse().unwrap();
    assert!((900_000..=1 << 20).contains(&length), "{}", text(&answer));
    let sink = Server::start(|_, _| {
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    });
    let url = sink.url();
    let world = self::world(&[&url]);
    world.user_config("[limits]\nnet_body = \"16KiB\"\n");
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", sink.port), "method": "POST", "body": 100_000});
    let answer = send(&world, &[&url], &arguments).expect(0);
    assert!(answer.stderr.contains(&format!("the body of a request to {url} was cut off at 16.0 KiB")), "{}", answer.stderr);
}

#[test]
fn a_million_headers_or_one_endless_header_is_an_error() {
    let many = Server::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\n")?;
        (0..1_000_000).try_for_each(|i| write!(out, "h{i}: x\r\n"))?;
        write!(out, "\r\n")
    });
    let hundred = Server::start(|_, out| {
        let headers: String = (0..101).map(|i| format!("h{i}: x\r\n")).collect();
        write!(out, "HTTP/1.1 200 OK\r\n{headers}\r\n")
    });
    let long = Server::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\nlong: ")?;
        loop {
            out.write_all(&[b'x'; 4096])?;
        }
    });
    for server in [many, hundred, long] {
        let url = server.url();
        let world = world(&[&url]);
        refused(get(&world, &[&url], &url), "the head of its response has more than 100 headers or 65536 bytes (`net_headers`)");
    }
}

#[test]
fn a_bound_on_headers_that_a_user_lowered_holds_to_the_byte() {
    let server = Server::start(|_, out| write!(out, "HTTP/1.1 200 OK\r\nlong: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(2000)));
    let url = server.url();
    let world = world(&[&url]);
    get(&world, &[&url], &url).expect(0);
    world.user_config("[limits]\nnet_headers = \"2KiB\"\n");
    get(&world, &[&url], &url).expect(0);
    world.user_config("[limits]\nnet_headers = \"1KiB\"\n");
    refused(get(&world, &[&url], &url), "has more than 100 headers or 1024 bytes (`net_headers`)");
}

#[test]
fn a_call_makes_no_more_requests_than_it_may_and_the_operator_reads_of_a_few() {
    let server = Server::text("x");
    let url = server.url();
    let world = world(&[&url]);
    world.user_config("[limits]\nnet_requests = 3\n");
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", server.port), "times": 10});
    let answer = send(&world, &[&url], &arguments).expect(0);
    assert_eq!((text(&answer).matches("status 200").count(), text(&answer).matches("ConnectionLimitReached").count()), (3, 7));
    assert_eq!(server.seen(), 3);
    assert_eq!(answer.stderr.matches("`net_requests`").count(), 1, "{}", answer.stderr);
}

#[test]
fn no_proxy_of_the_environment_is_asked() {
    let (server, proxy) = (Server::text("direct"), Server::text("from the proxy"));
    let url = server.url();
    let world = world(&[&url]);
    let grant = format!("fetch:net:{url}");
    let arguments = json!({"url": url}).to_string();
    let plugins = world.path("plugins");
    let args = [
        "--profile",
        "trusted",
        "--format",
        "json",
        "--plugin-dir",
        plugins.to_str().unwrap(),
        "--grant",
        &grant,
        "call",
        "fetch/get",
        &arguments,
    ];
    let mut command = world.command(&args);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, proxy.url());
    }
    assert_eq!(text(&palisade_tests::answer(command).expect(0)), "direct");
    assert_eq!(proxy.seen(), 0);
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_and_named() {
    use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (stream, _): (TcpStream, SocketAddr) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut sent = Vec::new();
        // Nothing of the request is sent to whoever it is.
        let _ = tls.read_to_end(&mut sent);
        sent.len()
    });
    let url = format!("https://localhost:{port}");
    let world = world(&[&url]);
    let line = format!("a request to {url} failed: its certificate was refused: nobody we trust signed it");
    let message = refused(get(&world, &[&url], &url), &line);
    assert!(message.contains("certificate"), "{message}");
    assert_eq!(server.join().unwrap(), 0);
}

#[test]
fn a_grant_that_is_no_origin_is_a_usage_error_with_the_reason() {
    let world = world(&["https://example.com"]);
    for (url, why) in [
        ("https://example.com/path", "no user, path"),
        ("ftp://example.com", "http://"),
        ("https://*", "`*` stands once"),
        ("http://127.1", "four decimal numbers"),
        ("https://user@example.com", "no user, path"),
    ] {
        let answer = get(&world, &[url], "https://example.com").expect(2);
        assert!(answer.stderr.contains(why), "{url}: {}", answer.stderr);
    }
}

#[test]
fn a_wildcard_is_neither_its_own_suffix_nor_everywhere() {
    let world = world(&["https://*.example.com"]);
    let answer = get(&world, &["https://*.example.com"], "https://example.com");
    refused(answer, "a request to https://example.com was refused");
    let answer = get(&world, &["https://*.example.com"], "https://example.com.evil.example");
    refused(answer, "a request to https://example.com.evil.example was refused");
}
