//! `palisade serve --http`: who is let in, and that what is let in meets the same gate as over standard input.

use palisade_tests::http::{Connection, NEW, OLD, Server, request};
use palisade_tests::{World, example, guest};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Largest body that is read.
const BODY: usize = 8 << 20;

fn plugins() -> String {
    example("text-stats").parent().unwrap().display().to_string()
}

/// A world with the guest, a token file's path, and limits long enough that no clock decides.
fn patient() -> (World, String) {
    let world = World::new();
    world.user_config("[limits]\ntime = \"60s\"\ngrace = \"30s\"\n");
    let plugin = world.plugin("guest", &guest("guest"), "").display().to_string();
    (world, plugin)
}

fn token_file(world: &World) -> PathBuf {
    world.path("state/palisade/serve.token")
}

/// Headers of a call by a client of the newer era, but for its token, host and origin.
fn call_of_count(more: &str) -> Vec<u8> {
    let name = |key| format!("io.modelcontextprotocol/{key}");
    let meta = json!({name("protocolVersion"): NEW, name("clientCapabilities"): {}});
    let params = json!({"name": "text-stats__count", "arguments": {"text": "a"}, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let about = format!("MCP-Protocol-Version: {NEW}\r\nMcp-Method: tools/call\r\nMcp-Name: text-stats__count\r\n");
    let kinds = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n";
    request("POST /mcp", &format!("{more}{about}{kinds}"), &body)
}

fn status(server: &Server, bytes: &[u8]) -> u16 {
    let mut connection = Connection::open(server.port);
    connection.send(bytes);
    connection.reply().expect("an answer").status
}

#[test]
fn it_says_where_it_listens_and_its_token_is_made_for_this_user_alone_and_kept() {
    let world = World::new();
    let mut server = Server::start(&world, &["--profile", "trusted"]);
    let file = token_file(&world);
    assert!(server.said().contains(&format!("/mcp (Authorization: Bearer, and the token in {})\n", file.display())), "{}", server.said());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = server.token.clone().expect("a token");
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    assert_eq!(server.terminate(), 130);
    assert_eq!(Server::start(&world, &[]).token, Some(token.clone()), "it is used again");
    // One that others could have read or that says nothing is not used, and not replaced unasked.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = world.palisade(&["--format", "json", "serve", "--http", "127.0.0.1:0"]).expect(7).stderr;
    assert!(error.contains("serve.token is not this user's alone") && !error.contains(&token), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "short\n").unwrap();
    let error = world.palisade(&["--format", "json", "serve", "--http", "127.0.0.1:0"]).expect(7).stderr;
    assert!(error.contains("holds no token of at least 32 printable bytes"), "{error}");
    // Another world has another.
    assert_ne!(Server::start(&World::new(), &[]).token, Some(token));
}

#[test]
fn servers_that_start_at_once_have_one_token() {
    for _ in 0..4 {
        let world = World::new();
        let start = |_| {
            let mut command = world.command(&["serve", "--http", "127.0.0.1:0"]);
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let mut children: Vec<_> = (0..6).map(start).collect();
        let port = |child: &mut std::process::Child| {
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
            let line = lines.find_map(|line| Some(line.ok()?.split_once("http://127.0.0.1:")?.1.to_owned())).expect("it listens");
            (line.split('/').next().unwrap().parse::<u16>().unwrap(), lines)
        };
        let ports: Vec<_> = children.iter_mut().map(port).collect();
        let token = std::fs::read_to_string(token_file(&world)).unwrap();
        let refused = ports.iter().filter(|(port, _)| {
            let mut connection = Connection::open(*port);
            connection.send(&request("GET /", &format!("Host: localhost\r\nAuthorization: Bearer {token}"), ""));
            connection.reply().expect("an answer").status == 401
        });
        let refused = refused.count();
        children.iter_mut().for_each(|child| child.kill().and_then(|()| child.wait().map(drop)).unwrap());
        assert_eq!(refused, 0, "a server was started with a token that is not in the file");
    }
}

#[test]
fn without_its_token_a_request_is_refused_and_nothing_of_its_body_is_looked_at() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let token = server.token.clone().unwrap();
    let (other, short) = ("0".repeat(64), &token[..63]);
    for authorization in [
        String::new(),
        format!("Authorization: Bearer {other}\r\n"),
        format!("Authorization: Bearer {short}\r\n"),
        format!("Authorization: Bearer {token}0\r\n"),
        "Authorization: Bearer\r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {}\r\n", token.to_ascii_uppercase()),
        format!("X-Authorization: Bearer {token}\r\n"),
        format!("Cookie: token={token}\r\n"),
    ] {
        // The body never comes, so an answer cannot depend on it; nor does it depend on path, host and origin.
        for (line, host) in [("POST /mcp", "localhost"), ("GET /none", "localhost"), ("POST /mcp", "evil.example\r\nOrigin: null")] {
            let mut connection = Connection::open(server.port);
            connection.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Length: 9000000\r\n\r\n").as_bytes());
            let reply = connection.reply().expect("an answer");
            assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{authorization:?}");
            assert_eq!(reply.body, "a bearer token is needed\n");
        }
        assert_eq!(status(&server, &call_of_count(&format!("Host: localhost\r\n{authorization}"))), 401, "{authorization:?}");
    }
    assert!(!server.said().contains("text-stats"), "{}", server.said());
    for authorization in [format!("Bearer {token}"), format!("bearer  {token}")] {
        assert_eq!(status(&server, &call_of_count(&format!("Host: localhost\r\nAuthorization: {authorization}\r\n"))), 200);
    }
    assert!(server.said().contains("text-stats/count: → sandbox"), "{}", server.said());
}

#[test]
fn a_token_is_not_asked_for_where_the_operator_said_so_and_reads_so() {
    let world = World::new();
    let server = Server::start_with(&world, &["--profile", "trusted", "--plugin-dir", &plugins()], &["--http-no-token"]);
    let said = server.said();
    assert!(said.contains("/mcp (without a token: everybody on this machine may call its tools)\n"), "{said}");
    assert!(!token_file(&world).exists() && server.token.is_none());
    for version in [OLD, NEW] {
        let counted = server.client(version).call("text-stats__count", &json!({"text": "a b"}));
        assert_eq!(counted["structuredContent"]["words"], 2);
    }
    assert_eq!(status(&server, &call_of_count("Host: evil.example\r\n")), 403);
    assert_eq!(status(&server, &call_of_count("Host: localhost\r\nOrigin: http://localhost\r\n")), 403);
}

#[test]
fn a_foreign_host_and_every_origin_but_its_own_is_refused() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let who = format!("Authorization: Bearer {}\r\n", server.token.clone().unwrap());
    let port = server.port;
    for (host, expected) in [
        ("evil.example".to_owned(), 403),
        (format!("evil.example:{port}"), 403),
        (format!("127.0.0.1.evil.example:{port}"), 403),
        (format!("localhost.evil.example:{port}"), 403),
        ("10.0.0.1".to_owned(), 403),
        ("0.0.0.0".to_owned(), 403),
        ("a b".to_owned(), 400),
    ] {
        assert_eq!(status(&server, &call_of_count(&format!("{who}Host: {host}\r\n"))), expected, "{host}");
    }
    assert_eq!(status(&server, &call_of_count(&who)), 400, "no host at all");
    for origin in ["https://evil.example", "http://localhost", "http://127.0.0.1", "null", "file://", "", "http://[::1]"] {
        let headers = format!("{who}Host: localhost:{port}\r\nOrigin: {origin}\r\n");
        assert_eq!(status(&server, &call_of_count(&headers)), 403, "{origin}");
        let local = format!("{who}Host: localhost:{port}\r\nOrigin: {origin}:{port}\r\n");
        if origin != "http://localhost" {
            assert_eq!(status(&server, &call_of_count(&local)), 403, "{origin}:{port}");
        }
    }
    let twice = format!("{who}Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nOrigin: https://evil.example\r\n");
    assert_eq!(status(&server, &call_of_count(&twice)), 403);
    let rebound = format!("{who}Host: evil.example:{port}\r\nOrigin: http://evil.example:{port}\r\n");
    assert_eq!(status(&server, &call_of_count(&rebound)), 403);
    assert!(!server.said().contains("text-stats"), "{}", server.said());
    // A page there could come from this very server alone.
    let own = format!("{who}Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n");
    assert_eq!(status(&server, &call_of_count(&own)), 200);
    for host in ["localhost".to_owned(), format!("127.0.0.1:{port}"), "[::1]".to_owned(), format!("LOCALHOST:{port}")] {
        assert_eq!(status(&server, &call_of_count(&format!("{who}Host: {host}\r\n"))), 200, "{host}");
    }
}

#[test]
fn another_path_method_or_session_is_not_served_and_what_is_no_http_ends_one_connection() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let mut client = server.client(OLD);
    let headers = format!("Host: localhost\r\n{}", client.headers());
    for line in ["GET /", "POST /", "POST /mcp/", "POST /mcp/mcp", "POST /MCP", "POST //mcp", "GET /mcp%2f", "POST /sse"] {
        assert_eq!(status(&server, &request(line, &headers, "")), 404, "{line}");
    }
    assert_eq!(status(&server, &request("PUT /mcp", &headers, "")), 405);
    let lost = headers.replace("Mcp-Session-Id: ", "Mcp-Session-Id: 0");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let kind = "Content-Type: application/json\r\n";
    assert_eq!(status(&server, &request("POST /mcp", &format!("{lost}{kind}"), body)), 404);
    let what =
        ["\0\u{1}\u{2}\r\n\r\n".to_owned(), "GET\r\n\r\n".to_owned(), format!("GET /mcp HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(1 << 20))];
    for garbage in what {
        let mut connection = Connection::open(server.port);
        connection.send(garbage.as_bytes());
        // An answer may be lost with the connection; it never is a good one.
        assert!(connection.reply().is_none_or(|reply| (400..500).contains(&reply.status)));
    }
    for broken in ["", "{", "[]", "7", r#"{"jsonrpc":"2.0"}"#, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#] {
        let status = status(&server, &request("POST /mcp", &format!("{headers}{kind}"), broken));
        assert!((400..500).contains(&status), "{broken}: {status}");
    }
    assert_eq!(client.call("text-stats__count", &json!({"text": "a b"}))["structuredContent"]["words"], 2);
    assert_eq!(status(&server, &request("DELETE /mcp", &headers, "")), 202);
    assert_eq!(status(&server, &request("POST /mcp", &format!("{headers}{kind}"), body)), 404, "its session is over");
}

#[test]
fn an_address_of_others_is_a_usage_error_and_a_taken_port_an_io_error() {
    let world = World::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "169.254.169.254:80", "[::ffff:127.0.0.1]:0", "[fe80::1]:0"] {
        let error = world.palisade(&["--format", "json", "serve", "--http", address]).expect(2).error();
        assert!(error["message"].as_str().unwrap().ends_with("is not a loopback address, and the server listens on no other"), "{error}");
    }
    for args in [&["--http", "localhost:0"][..], &["--http", "8000"], &["--http"], &["--http-no-token"]] {
        assert_eq!(world.palisade(&[&["--format", "json", "serve"], args].concat()).expect(2).error()["kind"], "usage", "{args:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = world.palisade(&["--format", "json", "serve", "--http", &address]).expect(1).error();
    assert_eq!(error["kind"], "io");
    assert!(error["message"].as_str().unwrap().starts_with(&format!("listening on {address}: ")), "{error}");
    assert!(!token_file(&world).exists(), "a server that does not start makes no token");
}

#[test]
fn a_list_a_call_and_a_denial_are_over_http_what_they_are_over_stdio() {
    let world = World::new();
    let plugins = plugins();
    let flags = ["--profile", "trusted", "--plugin-dir", &plugins, "--deny-tool", "json-query/QUERY"];
    let calls = [
        ("text-stats__count", json!({"text": "a b c"})),
        ("shell__bash", json!({"command": "ls"})),
        ("json-query__query", json!({})),
        ("search__grep", json!({"pattern": "a"})),
        ("text-stats__count", json!({"text": 7})),
        ("text-stats__count", json!({"text": "a", "more": null})),
        ("text-stats__count-file", json!({"path": "none"})),
        ("none__such", json!({})),
    ];
    let mut stdio = palisade_tests::stdio::Server::start(&world, &[&flags[..], &["serve"]].concat());
    let over_stdio = |stdio: &mut palisade_tests::stdio::Server, method: &str, params: Value| stdio.ask(method, &params).unwrap();
    let listed = over_stdio(&mut stdio, "tools/list", json!({}));
    let called: Vec<Value> =
        calls.iter().map(|(name, arguments)| over_stdio(&mut stdio, "tools/call", json!({"name": name, "arguments": arguments}))).collect();
    let text = |result: &Value| result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!(called[0]["structuredContent"], json!({"lines": 1, "words": 3, "characters": 5, "bytes": 5}));
    assert_eq!(text(&called[1]), "shell/bash was denied by the rule shell-gate (denial 1)");
    assert_eq!(text(&called[4]), "text-stats/count was denied by the rule arguments (denial 4): 7 is not of type \"string\" at /text");
    for version in [OLD, NEW] {
        // Numbers of denials count from one in a process.
        let server = Server::start(&world, &flags);
        let mut client = server.client(version);
        assert_eq!(client.ask("tools/list", &json!({}))["result"]["tools"], listed["tools"], "{version}");
        for ((name, arguments), expected) in calls.iter().zip(&called) {
            let result = client.call(name, arguments);
            for key in ["content", "isError", "structuredContent"] {
                assert_eq!(result[key], expected[key], "{version}: {name} {arguments}");
            }
        }
        let said = server.said();
        assert!(said.contains("denied #1 by shell-gate (built-in)") && said.contains("denied #2 by deny-name (--deny-tool)"), "{said}");
    }
    let log = world.palisade(&["audit", "show"]).expect(0).stdout;
    assert_eq!(log.matches("shell/bash: deny").count(), 3, "{log}");
}

#[test]
fn a_body_larger_than_any_call_is_refused() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let mut client = server.client(NEW);
    let empty = client.asking("tools/call", &json!({"name": "text-stats__count", "arguments": {"text": ""}}));
    let frame = String::from_utf8(empty).unwrap().split_once("\r\n\r\n").unwrap().1.len();
    let mut of =
        |size: usize| client.asking("tools/call", &json!({"name": "text-stats__count", "arguments": {"text": "x".repeat(size - frame)}}));
    let (most, more) = (of(BODY), of(BODY + 1));
    let reply = |bytes: &[u8]| {
        let mut connection = Connection::open(server.port);
        connection.send(bytes);
        connection.reply().expect("an answer")
    };
    // What is read at all is then what the gate refuses.
    let denied = reply(&most).message();
    let text = denied["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("text-stats/count was denied by the rule arguments (denial 1): "), "{text}");
    assert_eq!(reply(&more).status, 413);
    // A length that was not announced is counted all the same.
    let more = String::from_utf8(more).unwrap();
    let (head, body) = more.split_once("\r\n\r\n").unwrap();
    let (head, _) = head.rsplit_once("\r\n").unwrap();
    assert_eq!(
        reply(format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes()).status,
        413
    );
    assert!(!server.said().contains("→ sandbox"), "{}", server.said());
}

#[test]
fn a_connection_that_does_not_show_the_token_is_closed_and_one_that_did_stays() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let mut client = server.client(NEW);
    client.call("text-stats__count", &json!({"text": "a"}));
    let [silent, mut half, mut refused] = [(); 3].map(|()| Connection::open(server.port));
    half.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthor");
    refused.send(&request("GET /mcp", "Host: localhost\r\n", ""));
    assert_eq!(refused.reply().expect("an answer").status, 401);
    for mut connection in [silent, half, refused] {
        // Fails where it is still open after a minute; a half head may get an answer first.
        while connection.head().is_some() {}
    }
    assert_eq!(client.call("text-stats__count", &json!({"text": "a b"}))["structuredContent"]["words"], 2);
}

#[test]
fn after_a_refusal_nothing_more_of_its_connection_is_looked_at() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let good = call_of_count(&format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", server.token.clone().unwrap()));
    let bad = call_of_count("Host: localhost\r\n");
    let mut connection = Connection::open(server.port);
    // In one piece, so that the second one is there before the first is answered.
    connection.send(&[bad, good.clone()].concat());
    let refused = connection.reply().expect("an answer");
    assert_eq!((refused.status, refused.header("connection")), (401, Some("close")));
    assert!(connection.reply().is_none());
    assert!(!server.said().contains("text-stats"), "{}", server.said());
    // The other way round both are answered.
    let mut connection = Connection::open(server.port);
    connection.send(&[good.clone(), good].concat());
    for _ in 0..2 {
        assert_eq!(connection.reply().expect("an answer").status, 200);
    }
}

/// Opens a session over a connection that is there; its id, or why there is none.
fn session(connection: &mut Connection, token: &str) -> Result<String, String> {
    let info = json!({"name": "test", "version": "1"});
    let hello = json!({"protocolVersion": OLD, "capabilities": {}, "clientInfo": info});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).to_string();
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
    let kinds = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n";
    connection.send(&request("POST /mcp", &format!("{headers}{kinds}"), &body));
    let reply = connection.reply().expect("an answer");
    let Some(id) = reply.header("mcp-session-id") else { return Err(format!("{} {}", reply.status, reply.body)) };
    let about = format!("{headers}{kinds}MCP-Protocol-Version: {OLD}\r\nMcp-Session-Id: {id}\r\n");
    connection.send(&request("POST /mcp", &about, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#));
    assert_eq!(connection.reply().expect("an answer").status, 202);
    Ok(id.to_owned())
}

fn end(connection: &mut Connection, token: &str, id: &str) {
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nMcp-Session-Id: {id}\r\n");
    connection.send(&request("DELETE /mcp", &headers, ""));
    assert_eq!(connection.reply().expect("an answer").status, 202);
}

#[test]
fn whoever_opens_sessions_without_end_gets_so_many_and_no_more_and_those_that_are_there_go_on() {
    let world = World::new();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins()]);
    let token = server.token.clone().unwrap();
    let mut first = server.client(OLD);
    let mut connection = Connection::open(server.port);
    let opened: Vec<String> = (1..256).map(|_| session(&mut connection, &token).expect("a session")).collect();
    for _ in 0..3 {
        let why = session(&mut connection, &token).expect_err("there are as many as there may be");
        assert!(why.starts_with("500 ") && why.contains("there are 256 sessions already"), "{why}");
    }
    // Nobody who has one, and nobody who needs none, notices.
    let count = |client: &mut palisade_tests::http::Client| client.call("text-stats__count", &json!({"text": "a b"}));
    assert_eq!(count(&mut first)["structuredContent"]["words"], 2);
    assert_eq!(count(&mut server.client(NEW))["structuredContent"]["words"], 2);
    end(&mut connection, &token, &opened[0]);
    session(&mut connection, &token).expect("there is room for one again");
    session(&mut connection, &token).expect_err("and for one only");
}

/// Memory that a process has, in KiB.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn nothing_of_a_session_that_was_ended_is_left() {
    let (world, plugin) = patient();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins(), "--plugin", &plugin]);
    let token = server.token.clone().unwrap();
    let mut connection = Connection::open(server.port);
    let mut rounds = |times: usize| {
        for _ in 0..times {
            let id = session(&mut connection, &token).expect("a session");
            end(&mut connection, &token, &id);
        }
        resident(&server)
    };
    let before = rounds(300);
    let after = rounds(3000);
    assert!(after < before + 16 * 1024, "{before} KiB and then {after} KiB");
}

#[test]
fn nothing_of_a_client_that_listened_and_went_away_is_left() {
    let (world, plugin) = patient();
    let server = Server::start(&world, &["--profile", "trusted", "--plugin-dir", &plugins(), "--plugin", &plugin]);
    let rounds = |times: usize| {
        for _ in 0..times {
            let mut client = server.client(NEW);
            client.send("subscriptions/listen", &json!({"notifications": {"toolsListChanged": true}}));
            assert!(client.connection.head().expect("a stream").starts_with("HTTP/1.1 200"));
        }
        resident(&server)
    };
    let before = rounds(200);
    let after = rounds(2000);
    assert!(after < before + 16 * 1024, "{before} KiB and then {after} KiB");
}

#[test]
fn a_slow_call_holds_up_no_fast_one() {
    for version in [OLD, NEW] {
        let (world, plugin) = patient();
        let mut server = Server::start(&world, &["--profile", "trusted", "--plugin", &plugin]);
        let mut slow = server.client(version);
        let mut fast = slow.beside(&server, 0);
        slow.send("tools/call", &json!({"name": "guest__sleep", "arguments": {"ms": 50_000}}));
        server.until("guest/sleep");
        for _ in 0..20 {
            assert_eq!(fast.call("guest__counter", &json!({}))["content"][0]["text"], "1");
        }
        assert!(!server.said().contains("guest/sleep: →"), "the slow one has not ended");
    }
}

#[test]
fn a_signal_ends_it_with_130_and_calls_in_flight_have_their_grace_and_answer() {
    for version in [OLD, NEW] {
        let (world, plugin) = patient();
        let mut server = Server::start(&world, &["--profile", "trusted", "--plugin", &plugin]);
        let mut client = server.client(version);
        // What only listens, or is idle, is no reason to stay.
        let _idle = Connection::open(server.port);
        let mut listening = client.beside(&server, 0);
        if version == OLD {
            let headers = format!("Host: localhost\r\n{}", listening.headers());
            listening.connection.send(&request("GET /mcp", &headers, ""));
            assert!(listening.connection.head().expect("a stream").starts_with("HTTP/1.1 200"));
        }
        client.send("tools/call", &json!({"name": "guest__work", "arguments": {"steps": 1000}}));
        server.until("guest/work");
        server.signal();
        let answer = client.connection.reply().expect("the answer of a call that was told to end").message();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert!(text.starts_with("guest/work failed (tool-failed): stopped at step "), "{version}: {answer}");
        assert_eq!(server.ended(), 130, "{}", server.said());
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err(), "nobody listens");
        let log = world.palisade(&["audit", "show"]).expect(0).stdout;
        assert!(log.contains("guest/work: allow → error (tool-failed)"), "its outcome is recorded\n{log}");
    }
}

#[test]
fn the_token_stands_in_no_output_and_in_no_file_but_its_own() {
    let world = World::new();
    let mut server = Server::start(&world, &["-v", "--profile", "trusted", "--plugin-dir", &plugins()]);
    let token = server.token.clone().unwrap();
    let mut client = server.client(OLD);
    // Whatever way it comes in: as a name, in arguments that are refused, in a path that is not there.
    let denied = client.call("text-stats__count", &json!({"text": "a", &token: 1}));
    assert_eq!(denied["isError"], true);
    client.call("shell__bash", &json!({"command": format!("curl -H 'Authorization: Bearer {token}'")}));
    client.call("text-stats__count-file", &json!({"path": token}));
    client.ask("tools/call", &json!({"name": format!("x__{token}"), "arguments": {}}));
    let wrong = request("GET /mcp", &format!("Host: localhost\r\nAuthorization: Token {token}\r\n"), "");
    assert_eq!(status(&server, &wrong), 401);
    assert_eq!(server.terminate(), 130);
    assert!(server.said().contains("denied #1 by arguments"), "{}", server.said());
    let holds = |file: &String| {
        let bytes = std::fs::read(world.path(file)).unwrap_or_default();
        bytes.windows(token.len()).any(|part| part == token.as_bytes())
    };
    let holding: Vec<String> = world.files().into_iter().filter(holds).collect();
    assert_eq!(holding, ["state/palisade/serve.token"]);
}
