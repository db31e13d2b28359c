//! `palisade serve`, through an MCP client, in both protocol eras.

use palisade_tests::{World, example, guest};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, ClientRequest, ProgressNotificationParam, ProtocolVersion, Request,
};
use rmcp::service::{ClientLifecycleMode, NotificationContext, PeerRequestOptions, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ClientHandler, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Default)]
struct Client {
    progress: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::default()
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(format!("{} of {:?}: {:?}", params.progress, params.total, params.message));
    }
}

type Running = RunningService<RoleClient, Client>;

/// Serves with these flags, and gives back the client and the server's stderr.
async fn connect(world: &World, flags: &[&str], modern: bool) -> (Running, Client, std::fs::File) {
    let mut args = flags.to_vec();
    args.push("serve");
    let log = world.path("stderr");
    let command = tokio::process::Command::from(world.command(&args));
    let (transport, _) = TokioChildProcess::builder(command).stderr(Stdio::from(std::fs::File::create(&log).unwrap())).spawn().unwrap();
    let client = Client::default();
    let mode = if modern {
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
    } else {
        ClientLifecycleMode::Initialize
    };
    let running = client.clone().serve_with_lifecycle(transport, mode).await.unwrap();
    (running, client, std::fs::File::open(log).unwrap())
}

fn text(result: &CallToolResult) -> String {
    result.content.iter().filter_map(|c| c.as_text().map(|t| t.text.clone())).collect::<Vec<_>>().join("\n")
}

async fn call(client: &Running, name: &'static str, arguments: Value) -> CallToolResult {
    let params = CallToolRequestParams::new(name).with_arguments(arguments.as_object().unwrap().clone());
    tokio::time::timeout(Duration::from_secs(60), client.call_tool(params)).await.unwrap().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn plugins() -> String {
    example("text-stats").parent().unwrap().display().to_string()
}

#[test]
fn tools_are_listed_called_and_denied_in_both_eras() {
    for modern in [false, true] {
        let world = World::new();
        let plugins = plugins();
        let flags = ["--profile", "trusted", "--plugin-dir", &plugins, "--deny-tool", "json-query/QUERY"];
        runtime().block_on(async {
            let (client, _, mut log) = connect(&world, &flags, modern).await;
            let listed = client.list_all_tools().await.unwrap();
            let names: Vec<&str> = listed.iter().map(|t| t.name.as_ref()).collect();
            assert_eq!(
                names,
                ["fetch__get", "intruder__probe", "intruder__spin", "text-stats__count", "text-stats__count-file"],
                "{modern}"
            );
            let count = &listed[3];
            assert_eq!(count.title.as_deref(), Some("Count text"));
            assert_eq!(count.annotations.as_ref().unwrap().read_only_hint, Some(true));
            assert_eq!(count.input_schema["additionalProperties"], json!(false));
            assert!(count.output_schema.is_some());

            let counted = call(&client, "text-stats__count", json!({"text": "a b c"})).await;
            let expected = json!({"lines": 1, "words": 3, "characters": 5, "bytes": 5});
            assert_eq!((counted.structured_content.as_ref(), counted.is_error.unwrap_or_default()), (Some(&expected), false));
            assert_eq!(serde_json::from_str::<Value>(&text(&counted)).unwrap(), expected);

            for (name, arguments, answer) in [
                ("shell__bash", json!({"command": "ls"}), "shell/bash was denied by the rule shell-gate (denial 1)"),
                ("json-query__query", json!({}), "json-query/query was denied by the rule deny-name (denial 2)"),
                ("search__grep", json!({"pattern": "a"}), "search/grep was denied by the rule grant (denial 3)"),
            ] {
                let denied = call(&client, name, arguments).await;
                assert_eq!((denied.is_error, text(&denied).as_str()), (Some(true), answer));
            }
            let denied = call(&client, "text-stats__count", json!({"text": 7})).await;
            assert_eq!(text(&denied), "text-stats/count was denied by the rule arguments (denial 4): 7 is not of type \"string\" at /text");
            let unknown = client.call_tool(CallToolRequestParams::new("no__such")).await;
            assert!(unknown.unwrap_err().to_string().contains("there is no tool no/such"));
            client.cancel().await.unwrap();
            let mut record = String::new();
            std::io::Read::read_to_string(&mut log, &mut record).unwrap();
            assert!(
                record.contains("denied #1 by shell-gate (built-in)") && record.contains("denied #2 by deny-name (--deny-tool)"),
                "{record}"
            );
            let decided = record.find("text-stats/count: ✓name").unwrap();
            assert!(record[decided..].find("text-stats/count: → sandbox").is_some(), "the decision stands before the outcome\n{record}");
        });
    }
}

#[test]
fn progress_reaches_the_client_and_cancelling_ends_the_call() {
    for modern in [false, true] {
        let world = World::new();
        let plugin = world.plugin("guest", &guest("guest"), "");
        runtime().block_on(async {
            let (client, seen, _) = connect(&world, &["--profile", "trusted", "--plugin", plugin.to_str().unwrap()], modern).await;
            let request = |steps: u32| {
                let params = CallToolRequestParams::new("guest__work").with_arguments(json!({"steps": steps}).as_object().unwrap().clone());
                client.send_cancellable_request(ClientRequest::CallToolRequest(Request::new(params)), PeerRequestOptions::no_options())
            };
            request(6).await.unwrap().await_response().await.unwrap();
            let reports = seen.progress.lock().unwrap().clone();
            assert!(reports.first().is_some_and(|r| r == "0 of Some(6.0): Some(\"working\")"), "{reports:?}");
            assert!(reports.len() >= 2 && reports.len() <= 7, "{reports:?}");

            let started = Instant::now();
            let long = request(10_000).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            long.cancel(Some("enough".to_owned())).await.unwrap();
            // Another call is answered at once, although the long one would take minutes.
            assert_eq!(text(&call(&client, "guest__counter", json!({})).await), "1");
            assert!(started.elapsed() < Duration::from_secs(60));
            client.cancel().await.unwrap();
        });
    }
}

#[test]
fn calls_run_beside_each_other_and_a_stuck_one_holds_up_nobody() {
    let world = World::new();
    let plugin = world.plugin("guest", &guest("guest"), "[limits]\ntime = \"2s\"\n");
    runtime().block_on(async {
        let (client, _, _) = connect(&world, &["--profile", "trusted", "--plugin", plugin.to_str().unwrap()], true).await;
        let started = Instant::now();
        let stuck = async {
            let result = call(&client, "guest__spin", json!({})).await;
            (result, started.elapsed())
        };
        let good = async {
            for _ in 0..20 {
                assert_eq!(text(&call(&client, "guest__counter", json!({})).await), "1");
            }
            started.elapsed()
        };
        let ((stuck, stuck_after), good_after) = tokio::join!(stuck, good);
        assert_eq!(text(&stuck), "guest/spin was stopped (limit-time): it was stopped after 2s");
        assert!(good_after < stuck_after);
        client.cancel().await.unwrap();
    });
}

#[test]
fn a_signal_ends_it_with_130_and_a_call_in_flight_has_its_grace_and_answer() {
    let world = World::new();
    world.user_config("[limits]\ntime = \"60s\"\ngrace = \"30s\"\n");
    let plugin = world.plugin("guest", &guest("guest"), "");
    let flags = ["--profile", "trusted", "--plugin", plugin.to_str().unwrap(), "serve"];
    let mut server = palisade_tests::stdio::Server::start(&world, &flags);
    let asked = server.send("tools/call", &json!({"name": "guest__work", "arguments": {"steps": 1000}}));
    let log = || world.palisade(&["audit", "show"]).stdout;
    let started = Instant::now();
    while !log().contains("guest/work") {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", log());
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&server.child), rustix::process::Signal::TERM).unwrap();
    let answer = server.answer(asked).expect("the answer of a call that was told to end");
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("guest/work failed (tool-failed): stopped at step "), "{answer}");
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
    assert!(log().contains("guest/work: allow → error (tool-failed)"), "its outcome is recorded\n{}", log());
}

#[test]
fn every_call_of_a_client_that_leaves_with_its_answers_has_its_outcome_once() {
    let (world, plugin) = (World::new(), example("text-stats").display().to_string());
    let params = json!({"name": "text-stats__count", "arguments": {"text": "a b"}});
    for flight in [1, 100] {
        let mut server = palisade_tests::stdio::Server::start(&world, &["--profile", "trusted", "--plugin", &plugin, "serve"]);
        for _ in 0..200 / flight {
            let asked: Vec<u64> = (0..flight).map(|_| server.send("tools/call", &params)).collect();
            asked.into_iter().for_each(|asked| assert_eq!(server.answer(asked).unwrap()["structuredContent"]["words"], 2));
        }
        server.close();
    }
    world.palisade(&["audit", "verify"]).expect(0);
    let shown = world.palisade(&["audit", "show", "--limit", "1000"]).expect(0).stdout;
    let ok = shown.lines().filter(|line| line.contains("text-stats/count: allow → ok")).count();
    assert_eq!((ok, shown.lines().count()), (400, 400), "{shown}");
    let home = world.path("state/palisade/audit");
    let log: String = std::fs::read_dir(home).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_eq!(log.matches("\"event\":\"outcome\"").count(), 400);
}

#[test]
fn a_server_without_tools_says_why() {
    let world = World::new();
    let plugins = plugins();
    runtime().block_on(async {
        let (client, _, mut log) = connect(&world, &["--plugin-dir", &plugins], false).await;
        assert_eq!(client.list_all_tools().await.unwrap().len(), 0);
        let instructions = client.peer_info().unwrap().instructions.clone().unwrap();
        let why = "There are no tools. Plugins: the profile `untrusted` withholds it.";
        assert!(instructions.starts_with(why), "{instructions}");
        let denied = call(&client, "text-stats__count", json!({"text": "a"})).await;
        assert_eq!(text(&denied), "text-stats/count was denied by the rule trust (denial 1)");
        client.cancel().await.unwrap();
        let mut record = String::new();
        std::io::Read::read_to_string(&mut log, &mut record).unwrap();
        assert!(record.contains(why), "{record}");
    });
}
