//! Secrets: what was granted reaches whom it was granted to, and stands in nothing that is written down.

use palisade_tests::web::Server;
use palisade_tests::{Answer, World, example, guest};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

/// Of no shape that anybody knows.
const VALUE: &str = "mellon-speak-friend";

/// A world with a guest that asks for a variable, and for requests with a secret to these origins.
fn world(origins: &[&str], more: &str) -> World {
    let world = World::new();
    let nets: Vec<String> = origins.iter().map(|url| format!("{{ url = \"{url}\", auth = \"API_TOKEN\", why = \"t\"{more} }}")).collect();
    world.plugin("guest", &guest("guest"), &format!("[capabilities]\nnet = [{}]\n", nets.join(", ")));
    world
}

fn send(world: &World, grants: &[String], server: &Server, headers: &[&str]) -> Answer {
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", server.port), "headers": headers}).to_string();
    let mut args: Vec<&str> = grants.iter().flat_map(|grant| ["--grant", grant.as_str()]).collect();
    args.extend(["call", "guest/send", &arguments]);
    world.trusted(&args)
}

fn keep(world: &World, value: &str, mode: u32) {
    let file = world.write("data/palisade/secrets/API_TOKEN", value);
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn grants(url: &str) -> [String; 2] {
    [format!("guest:net:{url}"), format!("guest:auth:API_TOKEN@{url}")]
}

#[test]
fn the_host_adds_a_granted_secret_for_its_origin_and_the_guest_neither_sees_nor_sets_it() {
    let server = Server::text("welcome");
    let url = server.url();
    let world = world(&[&url], "");
    keep(&world, &format!("{VALUE}\n"), 0o600);
    let answer = send(&world, &grants(&url), &server, &["authorization", "x-other"]).expect(0);
    assert!(!answer.stdout.contains(VALUE) && !answer.stderr.contains(VALUE));
    let head = server.heads.lock().unwrap()[0].clone();
    assert!(head.contains(&format!("\r\nauthorization: Bearer {VALUE}\r\n")) && head.contains("\r\nx-other: x\r\n"), "{head}");
    assert_eq!(head.matches("authorization").count(), 1, "{head}");
    let seen = world.trusted(&["--grant", &grants(&url)[0], "--grant", &grants(&url)[1], "call", "guest/environment", "{}"]).expect(0);
    assert_eq!(seen.json()["content"][0]["text"], "");
}

#[test]
fn a_secret_goes_under_the_header_the_manifest_names_and_never_to_another_origin() {
    let elsewhere = Server::text("elsewhere");
    let server = Server::redirect(format!("{}/x", elsewhere.url()));
    let (url, other) = (server.url(), elsewhere.url());
    let world = World::new();
    let fetch = std::fs::read(example("fetch").join("fetch.wasm")).unwrap();
    let nets = format!(
        "{{ url = \"{url}\", auth = \"API_TOKEN\", auth_header = \"X-Api-Key\", why = \"t\" }}, {{ url = \"{other}\", why = \"t\" }}"
    );
    world.plugin("fetch", &fetch, &format!("[capabilities]\nnet = [{nets}]\n"));
    keep(&world, VALUE, 0o600);
    let all = [format!("fetch:net:{url}"), format!("fetch:auth:API_TOKEN@{url}"), format!("fetch:net:{other}")];
    let mut args: Vec<&str> = all.iter().flat_map(|grant| ["--grant", grant.as_str()]).collect();
    let arguments = json!({"url": format!("{url}/a")}).to_string();
    args.extend(["call", "fetch/get", &arguments]);
    assert_eq!(world.trusted(&args).expect(0).json()["content"][0]["text"], "elsewhere");
    let (first, second) = (server.heads.lock().unwrap()[0].clone(), elsewhere.heads.lock().unwrap()[0].clone());
    assert!(first.contains(&format!("\r\nx-api-key: {VALUE}\r\n")) && !first.contains("authorization"), "{first}");
    assert!(!second.contains(VALUE) && !second.contains("x-api-key"), "{second}");
}

#[test]
fn without_its_own_grant_nothing_is_sent_and_the_remedy_grants_just_that() {
    let server = Server::text("welcome");
    let url = server.url();
    let world = world(&[&url], "");
    keep(&world, VALUE, 0o600);
    let denied = send(&world, &grants(&url)[..1], &server, &[]).expect(3).json()["denial"].clone();
    assert_eq!(denied["rule"], "grant");
    assert_eq!(denied["reason"], format!("guest needs auth:API_TOKEN@{url}, which nobody granted"));
    assert_eq!(denied["remedy"], format!("--grant guest:auth:API_TOKEN@{url}"));
    // To read a variable and to have it sent are two grants.
    let read = [grants(&url)[0].clone(), "guest:env:API_TOKEN".to_owned()];
    assert_eq!(send(&world, &read, &server, &[]).expect(3).json()["denial"]["rule"], "grant");
    assert_eq!(server.seen(), 0);
}

#[test]
fn a_secret_comes_from_the_users_file_or_else_the_environment_and_without_either_no_request_leaves() {
    let server = Server::text("welcome");
    let url = server.url();
    let world = world(&[&url], "");
    let refused = |why: &str| {
        let answer = send(&world, &grants(&url), &server, &[]).expect(0);
        let line = format!("guest/send: a request to {url} was refused: its secret API_TOKEN {why}");
        assert!(answer.stderr.contains(&line) && !answer.stdout.contains("welcome"), "{}\n{}", answer.stdout, answer.stderr);
    };
    refused("is neither a file nor a variable");
    keep(&world, "two\nlines", 0o600);
    refused("is no text that a header can hold");
    assert_eq!(server.seen(), 0);
    let arguments = json!({"scheme": "http", "authority": format!("localhost:{}", server.port)}).to_string();
    let plugins = world.path("plugins").display().to_string();
    let call = |value: &str| {
        let flags = ["--profile", "trusted", "--plugin-dir", &plugins, "--grant", &grants(&url)[0], "--grant", &grants(&url)[1]];
        let mut command = world.command(&flags);
        command.args(["call", "guest/send", &arguments]).env("API_TOKEN", value);
        palisade_tests::answer(command).expect(0);
        server.heads.lock().unwrap().last().unwrap().clone()
    };
    keep(&world, "from-the-file", 0o600);
    assert!(call("from-the-variable").contains("\r\nauthorization: Bearer from-the-file\r\n"));
    std::fs::remove_file(world.path("data/palisade/secrets/API_TOKEN")).unwrap();
    assert!(call("from-the-variable").contains("\r\nauthorization: Bearer from-the-variable\r\n"));
    // One that others could have read is no secret.
    keep(&world, "from-the-file", 0o644);
    let error = send(&world, &grants(&url), &server, &[]).expect(6).error();
    assert!(error["message"].as_str().unwrap().contains("secrets/API_TOKEN is not this user's alone"), "{error}");
}

#[test]
fn a_manifest_that_would_send_a_secret_in_the_clear_or_under_a_header_of_ours_is_refused() {
    for (request, why) in [
        ("url = \"http://api.example.com\", auth = \"API_TOKEN\"", "it goes over https, or to this machine"),
        ("url = \"https://api.example.com\", auth = \"API TOKEN\"", "is not a secret and where it goes"),
        ("url = \"https://api.example.com\", auth = \"A\", auth_header = \"Host\"", "`Host` is not a header that may carry a secret"),
        ("url = \"https://api.example.com\", auth = \"A\", auth_header = \"a b\"", "`a b` is not a header that may carry a secret"),
        ("url = \"https://api.example.com\", auth_header = \"x-key\"", "`auth_header` is the header of `auth`, which is not there"),
    ] {
        let world = World::new();
        world.plugin("guest", &guest("guest"), &format!("[capabilities]\nnet = [{{ {request}, why = \"t\" }}]\n"));
        let error = world.trusted(&["call", "guest/echo", r#"{"text":"a"}"#]).expect(6).error();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("plugin.toml:6: `capabilities.net`") && message.contains(why), "{message}");
    }
}

/// A variable is granted, and the same text comes in by every way an agent, a guest and a server have.
#[test]
fn a_planted_secret_stands_in_no_log_audit_record_session_report_or_error() {
    let server = Server::text(VALUE);
    let url = server.url();
    let shape = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
    let world = World::new();
    let net = format!("net = [{{ url = \"{url}\", optional = true, why = \"t\" }}]");
    let manifest = format!("[capabilities]\nenv = [{{ name = \"PLANTED\", why = \"t\" }}]\n{net}\n");
    world.plugin("guest", &guest("guest"), &manifest);
    let plugins = world.path("plugins").display().to_string();
    let report = world.path("report.md").display().to_string();
    let allowed = format!("guest:net:{url}");
    let run = |args: &[&str]| {
        let flags = ["--profile", "trusted", "-v", "--plugin-dir", &plugins, "--grant", "guest:env:PLANTED", "--grant", &allowed];
        let mut command = world.command(&[&flags[..], args].concat());
        command.env("PLANTED", VALUE);
        palisade_tests::answer(command)
    };
    let mut written = Vec::new();
    for secret in [VALUE, &shape] {
        let text = json!({"text": format!("a {secret} b")}).to_string();
        let authority = json!({"scheme": "https", "authority": format!("{secret}.example.com"), "path": format!("/?{secret}")}).to_string();
        let user = json!({"scheme": "http", "authority": format!("u:{secret}@a.example.com")}).to_string();
        let get = json!({"scheme": "http", "authority": format!("localhost:{}", server.port), "path": format!("/{secret}")}).to_string();
        let invalid = json!({"text": [secret]}).to_string();
        let unknown = json!({secret: 1}).to_string();
        let id = format!("guest/{}", secret.to_lowercase());
        let calls: [(&[&str], bool); 13] = [
            (&["call", "guest/say", &text], true),
            (&["call", "guest/refuse", &text], true),
            (&["call", "guest/panic", &text], true),
            (&["call", "guest/echo", &invalid], true),
            (&["call", "guest/echo", &unknown], true),
            (&["call", "guest/echo", secret], true),
            (&["call", &id, "{}"], true),
            (&["explain", "guest/echo", &invalid], true),
            (&["call", "guest/send", &authority], true),
            (&["call", "guest/send", &user], true),
            // What a tool returns goes to whoever called it, and nowhere else.
            (&["call", "guest/send", &get], false),
            (&["call", "guest/echo", &text], false),
            (&["call", "guest/environment", "{}"], false),
        ];
        for (args, all) in calls {
            for format in ["text", "json"] {
                let answer = run(&[&["--format", format], args].concat());
                written.push((format!("{args:?} {format}: stderr"), answer.stderr));
                if all {
                    written.push((format!("{args:?} {format}: stdout"), answer.stdout));
                } else {
                    assert!(answer.stdout.contains(secret) || args[1] != "guest/echo", "the result is whole: {}", answer.stdout);
                }
            }
        }
        let prompts = [format!("/guest/refuse {text}"), format!("/guest/echo {text}"), format!("please use {secret} for guest echo")];
        let answer = run(&["run", "--report", &report, &prompts[0], &prompts[1], &prompts[2]]);
        written.push(("run: stderr".to_owned(), answer.stderr));
        let answer = run(&["session", "list"]);
        written.push(("session list".to_owned(), answer.stdout));
        for entry in ["audit", "session"] {
            let answer = run(&[&[entry][..], if entry == "audit" { &["show"] } else { &["list", "--format", "json"] }].concat());
            written.push((format!("{entry}: stdout"), answer.stdout));
        }
    }
    // What an agent reads of errors, and what its operator does.
    let log = world.path("stderr");
    let flags = ["--profile", "trusted", "-v", "--plugin-dir", &plugins, "--grant", "guest:env:PLANTED", "serve"];
    let mut command = world.command(&flags);
    command.env("PLANTED", VALUE).stderr(std::fs::File::create(&log).unwrap());
    let mut served = palisade_tests::stdio::Server::of(command);
    for secret in [VALUE, &shape] {
        for tool in ["refuse", "panic", "say"] {
            written.push((format!("{tool} over MCP"), served.call(&format!("guest__{tool}"), &json!({"text": secret}))));
        }
        written.push(("invalid over MCP".to_owned(), served.call("guest__echo", &json!({"text": [secret]}))));
    }
    served.close();
    let files = world.files();
    for kind in ["audit/", "sessions/", "report.md"] {
        assert!(files.iter().any(|file| file.contains(kind)), "{kind} in {files:?}");
    }
    written
        .extend(files.iter().map(|file| (file.clone(), String::from_utf8_lossy(&std::fs::read(world.path(file)).unwrap()).into_owned())));
    let mut found = Vec::new();
    for (place, text) in &written {
        // The ids of tools are lower case, and so is what stands in their place.
        for secret in [VALUE, "mellon", &shape, &shape[4..]] {
            if text.contains(secret) && !place.ends_with(".wasm") {
                found.push(format!("{secret} in {place}:\n{text}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}
