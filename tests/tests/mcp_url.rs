//! External MCP servers by URL: reached like any origin, with headers that nobody sees.

use palisade_tests::web::Server as Web;
use palisade_tests::{Answer, World, example};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

const TOKEN: &str = "a-token-that-is-long-enough-for-anybody";

/// Another Palisade, which serves an example plugin over HTTP behind a token.
struct Remote {
    child: Child,
    url: String,
    world: World,
}

impl Remote {
    fn start() -> Self {
        let world = World::new();
        let token = world.write("state/palisade/serve.token", TOKEN);
        std::fs::set_permissions(token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let code = std::fs::read(example("text-stats").join("text-stats.wasm")).unwrap();
        let stats = world.plugin("text-stats", &code, "").display().to_string();
        let mut command = world.command(&["--profile", "trusted", "--plugin", &stats, "serve", "--http", "127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned)).expect("it listens");
        // Its record goes on; nobody reads it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: listening.split(' ').next().unwrap().to_owned(), world }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn world(url: &str, headers: &str) -> World {
    let world = World::new();
    let limits = "[limits]\ntime = \"5s\"\nmcp_start = \"5s\"\n";
    world.user_config(&format!("profile = \"trusted\"\n{limits}[mcp.far]\nurl = \"{url}\"\n{headers}\n"));
    let file = world.write("data/palisade/secrets/FAR_TOKEN", TOKEN);
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    world
}

const BEARER: &str = "headers = { Authorization = \"Bearer ${FAR_TOKEN}\" }";

fn run(world: &World, args: &[&str]) -> Answer {
    world.palisade(&[&["--format", "json"], args].concat())
}

/// Why a server cannot be accepted.
fn refused(world: &World) -> String {
    let answer = run(world, &["mcp", "accept", "far", "--yes"]).expect(1);
    assert!(!answer.stderr.contains(TOKEN), "{}", answer.stderr);
    answer.error()["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_by_url_is_accepted_called_and_gated_and_its_headers_are_seen_by_nobody() {
    let remote = Remote::start();
    let world = world(&remote.url, BEARER);
    let shown = run(&world, &["mcp", "accept", "far", "--yes"]).expect(0);
    assert!(shown.stderr.contains(&format!("is asked at {}", remote.url)), "{}", shown.stderr);
    assert!(shown.stderr.contains("with the header Authorization\n") && !shown.stderr.contains(TOKEN), "{}", shown.stderr);
    let record = run(&world, &["call", "far/text-stats__count", r#"{"text":"a b c"}"#]).expect(0).json();
    assert_eq!((record["lane"].as_str(), record["content"][0]["value"]["words"].as_u64()), (Some("mcp"), Some(3)));
    let denied = run(&world, &["--deny-prefix", "far/", "call", "far/text-stats__count", r#"{"text":"a"}"#]).expect(3).json();
    assert_eq!(denied["denial"]["rule"], "deny-prefix");
    let denied = run(&world, &["call", "far/text-stats__count", r#"{"text":7}"#]).expect(3).json();
    assert_eq!(denied["denial"]["rule"], "arguments");
    let list = run(&world, &["mcp", "list"]).expect(0).json();
    assert_eq!((list["servers"][0]["state"].as_str(), list["servers"][0]["fence"].as_str()), (Some("running"), Some("it runs elsewhere")));
    for file in world.files() {
        let text = String::from_utf8_lossy(&std::fs::read(world.path(&file)).unwrap()).into_owned();
        assert!(!text.contains(TOKEN) || file.ends_with("secrets/FAR_TOKEN"), "{file}");
    }
}

#[test]
fn a_server_of_the_newer_era_tells_that_its_tools_changed_and_what_is_gone_is_held() {
    let remote = Remote::start();
    let world = world(&remote.url, BEARER);
    run(&world, &["mcp", "accept", "far", "--yes"]).expect(0);
    assert_eq!(run(&world, &["mcp", "list"]).expect(0).json()["servers"][0]["protocol"], "2026-07-28");
    let mut server = palisade_tests::stdio::Server::start(&world, &["serve"]);
    let call = |server: &mut palisade_tests::stdio::Server| server.call("far__text-stats__count", &json!({"text": "a b"}));
    assert!(call(&mut server).contains("\"words\":2"));
    remote.world.write("plugins/text-stats/plugin.toml", "nonsense");
    let started = std::time::Instant::now();
    let mut said = call(&mut server);
    while !said.contains("denied by the rule pin") && started.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        said = call(&mut server);
    }
    assert!(said.starts_with("far/text-stats__count was denied by the rule pin (denial "), "{said}");
    server.close();
}

#[test]
fn what_stands_between_is_named_and_no_header_goes_elsewhere() {
    let remote = Remote::start();
    assert!(refused(&world(&remote.url, "")).ends_with("it wants to know who asks (401): its `headers` name nobody it knows"));
    let other = "headers = { Authorization = \"Bearer another\" }";
    assert!(refused(&world(&remote.url, other)).contains("(401)"));
    let elsewhere = Web::text("never");
    let redirect = Web::redirect(format!("{}/mcp", elsewhere.url()));
    let why = refused(&world(&format!("{}/mcp", redirect.url()), BEARER));
    assert!(why.contains("it redirects (302 Found), which is not followed"), "{why}");
    assert_eq!(elsewhere.seen(), 0);
    assert!(redirect.heads.lock().unwrap()[0].contains(&format!("authorization: Bearer {TOKEN}\r\n")));
    let forbids = Web::start(|_, out| write!(out, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"));
    assert!(refused(&world(&forbids.url(), BEARER)).contains("it refuses whoever its `headers` name (403)"));
    let nothing = Web::text("hello");
    assert!(refused(&world(&nothing.url(), BEARER)).contains("something else than JSON-RPC"));
    let endless = Web::start(|_, out| {
        write!(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n")?;
        (0..100_000).try_for_each(|_| out.write_all(&[b' '; 4096]))
    });
    assert!(refused(&world(&endless.url(), BEARER)).contains("its answer cannot be read"));
    assert!(refused(&world("http://localhost:9/mcp", BEARER)).contains("it cannot be connected to"));
    let missing = "headers = { Authorization = \"Bearer ${NOT_THERE}\" }";
    assert!(refused(&world(&remote.url, missing)).contains("the variable NOT_THERE is not set"));
}

/// The bearer of a request, for a server that gives it back.
fn bearer(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("authorization: "));
    line.unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_gives_a_header_back_in_its_refusal_makes_nobody_show_it() {
    type Answered = fn(&str) -> String;
    let answers: [(&str, Answered); 4] = [
        ("(401)", |bearer| format!("HTTP/1.1 401 {bearer}\r\nwww-authenticate: {bearer}\r\ncontent-length: 0\r\n\r\n")),
        ("(403)", |bearer| format!("HTTP/1.1 403 {bearer}\r\ncontent-length: {}\r\n\r\n{bearer}", bearer.len())),
        ("redirects", |bearer| format!("HTTP/1.1 302 Found\r\nlocation: /{bearer}\r\ncontent-length: 0\r\n\r\n")),
        ("", |bearer| {
            let error = json!({"code": -32000, "message": format!("I do not know {bearer}")});
            let body = json!({"jsonrpc": "2.0", "id": 0, "error": error}).to_string();
            format!("HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }),
    ];
    for (named, answer) in answers {
        let server = Web::start(move |head, out| out.write_all(answer(&bearer(head)).as_bytes()));
        let world = world(&format!("{}/mcp", server.url()), BEARER);
        // Fails where the token is in it.
        assert!(refused(&world).contains(named), "{named}");
        assert!(bearer(&server.heads.lock().unwrap()[0]).contains(TOKEN), "it was sent");
        for args in [&["mcp", "list"][..], &["status"], &["audit", "show"]] {
            let shown = run(&world, args);
            assert!(!shown.stdout.contains(TOKEN) && !shown.stderr.contains(TOKEN), "{named}: {args:?}");
        }
        for file in world.files() {
            let text = String::from_utf8_lossy(&std::fs::read(world.path(&file)).unwrap()).into_owned();
            assert!(!text.contains(TOKEN) || file.ends_with("secrets/FAR_TOKEN"), "{named}: {file}");
        }
    }
}

#[test]
fn a_url_in_the_clear_or_beside_what_a_process_has_is_refused() {
    for (entry, why) in [
        ("url = \"http://mcp.example.com/mcp\"", "a server is spoken to over https, or on this machine"),
        ("url = \"https://*.example.com/mcp\"", "is no URL of a server"),
        ("url = \"https://user:pass@example.com/\"", "is no URL of a server"),
        ("url = \"ftp://example.com/\"", "is no URL of a server"),
        ("url = \"https://example.com\"\ncommand = \"a\"", "it has either a `command` or a `url`"),
        ("url = \"https://example.com\"\nnet = true", "are those of a `command`"),
        ("command = \"a\"\nheaders = { A = \"b\" }", "`headers` are those of a `url`"),
        ("url = \"https://example.com\"\nheaders = { Host = \"b\" }", "`Host` is not one that an entry sets"),
    ] {
        let world = World::new();
        world.user_config(&format!("profile = \"trusted\"\n[mcp.far]\n{entry}\n"));
        let error = run(&world, &["status"]).expect(7).error();
        assert!(error["message"].as_str().unwrap().contains(why), "{entry}: {error}");
    }
    // A name that leads into a private network is not reached, whoever wrote the entry.
    let world = World::new();
    world.write("workspace/.mcp.json", json!({"mcpServers": {"far": {"type": "http", "url": "http://mcp.example.com/"}}}).to_string());
    world.user_config("profile = \"trusted\"\n");
    world.palisade(&["trust", "--yes"]).expect(0);
    let status = run(&world, &["status"]).expect(0).json();
    assert!(status["quarantined"][0]["reason"].as_str().unwrap().contains("over https"), "{status}");
}
