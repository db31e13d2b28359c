//! Sessions: prompts to turns, budgets, the stored file, the report.

use palisade_tests::{Answer, World, answer, example, guest, library_example, root, steady};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A world whose workspace has one file, run with the example plugins.
fn world() -> World {
    let world = World::new();
    world.write("workspace/notes.txt", "alpha\nbeta needle\n");
    world
}

fn flags() -> Vec<String> {
    let plugins = example("search").parent().unwrap().display().to_string();
    ["--profile", "trusted", "--plugin-dir", &plugins, "--grant", "search:fs:read:@workspace"].map(str::to_owned).to_vec()
}

fn run(world: &World, more: &[&str]) -> Answer {
    let flags = flags();
    let args: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    world.palisade(&args)
}

const PROMPTS: [&str; 4] = [
    "count the words of \"one two three\"",
    "search the files for \"needle\"",
    "query the json with '.a[1]' and '{\"a\":[1,2]}'",
    "run a shell command: ls",
];

#[test]
fn prompts_are_routed_gated_run_and_denied_in_one_session() {
    let world = world();
    let result = run(&world, &[&["--format", "json", "run"], &PROMPTS[..]].concat()).expect(0).json();
    let turns = result["turns"].as_array().unwrap();
    let called: Vec<&Value> = turns.iter().map(|t| &t["calls"][0]["tool"]).collect();
    assert_eq!(called[..3], ["text-stats/count", "search/grep", "json-query/query"]);
    assert_eq!(
        turns[0]["calls"][0]["content"],
        json!([{"type": "json", "value": {"lines": 1, "words": 3, "characters": 13, "bytes": 13}}])
    );
    assert_eq!(turns[1]["calls"][0]["content"][0]["value"]["matches"], json!([{"path": "notes.txt", "line": 2, "text": "beta needle"}]));
    assert_eq!(turns[2]["calls"][0]["content"][0]["value"]["results"], json!([2]));
    assert_eq!(
        result["permission_denials"],
        json!([{
            "number": 1,
            "tool": "shell/bash",
            "rule": "shell-gate",
            "source": "built-in",
            "reason": "its id contains `bash`; no flag, file or profile allows it",
            "remedy": null,
        }])
    );
    assert_eq!(turns[3]["calls"], json!([]), "a denied match becomes a denial, never a call");
    assert_eq!(turns[3]["permission_denials"], result["permission_denials"]);
    assert_eq!((&result["profile"], &result["trusted"], &result["stop_reason"]), (&json!("trusted"), &json!(true), &json!("completed")));
    let words = |text: &Value| text.as_str().unwrap().split_whitespace().count();
    let input: usize = PROMPTS.iter().map(|p| p.split_whitespace().count()).sum();
    let output: usize = turns.iter().map(|t| words(&t["output"])).sum();
    assert_eq!(result["usage"], json!({"input_tokens": input, "output_tokens": output}));
}

#[test]
fn the_stored_session_holds_prompts_and_denials_and_no_output() {
    let world = world();
    let key = ["AKIA", "IOSFODNN7EXAMPLE"].concat();
    let secret = format!("count the words of \"{key}\"");
    let wrong = format!("/text-stats/count {{\"text\":[\"{key}\"]}}");
    let answer = run(&world, &["--format", "json", "run", &wrong]).expect(0);
    assert_eq!(answer.json()["permission_denials"][0]["rule"], "arguments");
    let denied = std::fs::read_to_string(answer.json()["session_path"].as_str().unwrap()).unwrap();
    assert!(!denied.contains(&key) && denied.contains("[redacted]") && !answer.stderr.contains(&key), "{denied}\n{}", answer.stderr);
    let result = run(&world, &["--format", "json", "run", &secret, PROMPTS[1], PROMPTS[3]]).expect(0).json();
    let path = std::path::PathBuf::from(result["session_path"].as_str().unwrap());
    let stored: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        stored,
        json!({
            "version": 1,
            "session_id": result["session_id"],
            "created": result["created"],
            "workspace": path.parent().unwrap().file_name().unwrap().to_str().unwrap(),
            "profile": "trusted",
            "prompts": ["count the words of \"[redacted]\"", PROMPTS[1], PROMPTS[3]],
            "usage": result["usage"],
            "permission_denials": result["permission_denials"],
            "stop_reason": "completed",
        })
    );
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("beta needle"));
    let id = result["session_id"].as_str().unwrap();
    let shown = world.palisade(&["--format", "json", "session", "show", id]).expect(0).json();
    assert_eq!(shown, stored);
    let listed = world.palisade(&["--format", "json", "session", "list"]).expect(0).json();
    let row = listed["sessions"].as_array().unwrap().iter().find(|s| s["session_id"] == id).unwrap();
    assert_eq!(row["prompts"], 3);
    world.palisade(&["session", "delete", id]).expect(0);
    assert!(!path.exists());
}

#[test]
fn modes_hold_under_any_umask() {
    let world = world();
    let mut command = Command::new("/bin/sh");
    let binary = palisade_tests::binary();
    command.args(["-c", "umask 0; exec \"$0\" --format json run x", binary.to_str().unwrap()]).current_dir(world.workspace()).env_clear();
    command.env("HOME", world.path("home"));
    let result = answer(command).expect(0).json();
    let path = std::path::PathBuf::from(result["session_path"].as_str().unwrap());
    let modes: Vec<u32> = path.ancestors().take(4).map(|p| std::fs::metadata(p).unwrap().permissions().mode() & 0o777).collect();
    assert_eq!(modes, [0o600, 0o700, 0o700, 0o700]);
}

#[test]
fn a_bad_id_a_missing_and_a_damaged_session_are_told_apart() {
    let world = world();
    run(&world, &["run", "x"]).expect(0);
    let other = world.palisade(&["--format", "json", "session", "list"]).json()["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    for bad in ["../../x", "x", ""] {
        assert_eq!(world.palisade(&["--format", "json", "session", "show", bad]).expect(2).error()["kind"], "usage", "{bad}");
    }
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(world.palisade(&["--format", "json", "session", "show", unknown]).expect(6).error()["kind"], "not-found");
    let file = world.files().into_iter().find(|f| f.ends_with(&format!("{other}.json"))).unwrap();
    let damaged = file.replace(&other, unknown);
    world.write(&damaged, "{\"version\": 1, \"prompts\": [\"top secret\"");
    let error = world.palisade(&["--format", "json", "session", "show", unknown]).expect(7).error();
    assert!(error["kind"] == "session" && !error["message"].as_str().unwrap().contains("secret"), "{error}");
    let listed = world.palisade(&["session", "list"]).expect(0);
    assert!(listed.stdout.contains(&other) && listed.stdout.contains(&format!("{unknown} damaged")), "{}", listed.stdout);
    let pruned = world.palisade(&["--format", "json", "session", "prune", "--older-than", "30d"]).expect(0).json();
    assert_eq!(pruned["deleted"], json!([]));
    world.palisade(&["session", "prune", "--older-than", "soon"]).expect(2);
}

#[test]
fn a_turn_that_would_pass_a_limit_is_not_started() {
    let world = world();
    let json = |more: &[&str], code| run(&world, &[&["--format", "json", "run"], more].concat()).expect(code).json();
    let result = json(&["--max-turns", "2", "count \"a\"", "count \"b\"", "count \"c\""], 5);
    assert_eq!((result["turns"].as_array().unwrap().len(), &result["stop_reason"]), (2, &json!("max_turns_reached")));
    let result = json(&["--max-budget-tokens", "4", "count \"a\"", "count \"b\""], 5);
    assert_eq!((result["turns"].as_array().unwrap().len(), &result["stop_reason"]), (1, &json!("max_budget_reached")));
    let result = json(&["--max-budget-tokens", "1", "count \"a\""], 5);
    assert_eq!((&result["turns"], &result["usage"]["input_tokens"]), (&json!([]), &json!(0)));
    // Nine prompts stop at the default of eight turns, also when there is nothing to compact.
    let nine = json(&["a", "b", "c", "d", "e", "f", "g", "h", "i"], 5);
    assert_eq!(nine["turns"].as_array().unwrap().len(), 8);
    // A flag raises the default, and never what a workspace lowered.
    assert_eq!(json(&["--max-turns", "9", "a", "b", "c", "d", "e", "f", "g", "h", "i"], 0)["stop_reason"], "completed");
    world.write("workspace/palisade.toml", "[limits]\nturns = 1\n");
    assert_eq!(json(&["--max-turns", "9", "a", "b"], 5)["turns"].as_array().unwrap().len(), 1);
    world.write("workspace/palisade.toml", "[limits]\nturns = 8\n");
    assert_eq!(json(&["--max-turns", "9", "a", "b", "c", "d", "e", "f", "g", "h", "i"], 5)["turns"].as_array().unwrap().len(), 8);
}

#[test]
fn arguments_that_a_prompt_does_not_hold_are_asked_for_and_nothing_runs() {
    let world = world();
    let result = run(&world, &["--format", "json", "run", "search the files with grep"]).expect(0).json();
    let turn = &result["turns"][0];
    assert_eq!((&turn["calls"], &turn["matched"][0]["tool"]), (&json!([]), &json!("search/grep")));
    assert_eq!(turn["matched"][0]["note"], "not run: it takes pattern; quote it in that order, or end the prompt with a JSON object");
}

#[test]
fn a_direct_call_is_for_the_person_who_types_it() {
    let world = world();
    let direct = "/text-stats/count {\"text\":\"a b\"}";
    let result = run(&world, &["--format", "json", "run", direct]).expect(0).json();
    assert_eq!(result["turns"][0]["calls"][0]["content"][0]["value"]["words"], 2);
    let denied = run(&world, &["--format", "json", "run", "/shell/bash {\"command\":\"ls\"}", "/no/such {}"]).expect(0).json();
    assert_eq!(denied["turns"][0]["calls"][0]["outcome"], "denied");
    assert_eq!(denied["permission_denials"].as_array().unwrap().len(), 1);
    assert_eq!(denied["turns"][1]["matched"][0]["note"], "not run: there is no tool no/such");
    let file = world.write("prompts.txt", format!("{direct}\n\ncount \"x y z\"\n"));
    let file = file.to_str().unwrap();
    let result = run(&world, &["--format", "json", "run", "--prompts", file]).expect(0).json();
    assert_eq!(result["turns"][0]["calls"], json!([]));
    assert!(result["turns"][0]["matched"][0]["note"].as_str().unwrap().contains("--allow-calls"), "{result}");
    assert_eq!(result["turns"][1]["calls"][0]["content"][0]["value"]["words"], 3);
    let result = run(&world, &["--format", "json", "run", "--allow-calls", "--prompts", file]).expect(0).json();
    assert_eq!(result["turns"][0]["calls"][0]["content"][0]["value"]["words"], 2);
}

#[test]
fn the_text_of_a_run_shows_every_call_on_its_way_through_the_gate() {
    let world = world();
    let answer = run(&world, &["run", PROMPTS[0], PROMPTS[3]]).expect(0);
    assert_eq!(
        steady(&world, &answer.stderr),
        "text-stats/count: ✓name ✓shell ✓deny ✓trust ✓grant ✓args ✓budget ✓guards  T → sandbox T → ok\n\
         shell/bash: ✓name ✗shell  T → denied #1 by shell-gate (built-in): its id contains `bash`; no flag, file or profile allows it; nothing allows it\n"
    );
    assert_eq!(
        steady(&world, &answer.stdout),
        "> count the words of \"one two three\"\n\
         \x20 text-stats/count (score 5): called\n\
         \x20 text-stats/count-file (score 5): not run: there is a better match\n\
         {\"lines\":1,\"words\":3,\"characters\":13,\"bytes\":13}\n\
         > run a shell command: ls\n\
         \x20 shell/bash (score 5): denied by shell-gate\n\
         shell/bash: denied by shell-gate\n\
         denied #1: shell/bash by shell-gate (built-in): its id contains `bash`; no flag, file or profile allows it; nothing allows it\n\
         2 turns, 12 tokens in, 5 out: completed\n\
         session: ~/state/palisade/sessions/DIGEST/ID.json\n"
    );
}

#[test]
fn a_report_escapes_what_comes_from_outside_and_repeats_byte_for_byte() {
    let world = world();
    let evil = "count the words of \"<script>alert(1)</script> [x](javascript:y) ```\n# head\"";
    let report = |name: &str| {
        let path = world.path(name);
        run(&world, &["run", "--report", path.to_str().unwrap(), evil, PROMPTS[3]]).expect(0);
        let text = steady(&world, &std::fs::read_to_string(path).unwrap());
        regex::Regex::new("created: `[^`]*`").unwrap().replace(&text, "created: `WHEN`").into_owned()
    };
    let first = report("a.md");
    assert_eq!(first, report("b.md"));
    assert_eq!(first, include_str!("report.md"), "{first}");
}

#[test]
fn a_prompt_and_its_denials_are_stored_before_anything_runs() {
    let world = world();
    world.plugin("guest", &guest("guest"), "");
    let plugin = world.path("plugins/guest").display().to_string();
    let shell = example("shell").display().to_string();
    let flags = ["--profile", "trusted", "--plugin", &plugin, "--plugin", &shell, "run", "sleep in a bash shell {\"ms\": 20000}"];
    let mut child = world.command(&flags).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let stored = loop {
        let file = world.files().into_iter().find(|f| f.contains("/sessions/") && f.ends_with(".json"));
        let stored: Value = file.and_then(|f| serde_json::from_slice(&std::fs::read(world.path(&f)).ok()?).ok()).unwrap_or_default();
        if stored["permission_denials"].as_array().is_some_and(|d| !d.is_empty()) || started.elapsed() > Duration::from_secs(15) {
            break stored;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(child.try_wait().unwrap().is_none(), "the guest still sleeps");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((&stored["prompts"][0], &stored["stop_reason"]), (&json!("sleep in a bash shell {\"ms\": 20000}"), &json!("running")));
    assert_eq!(stored["permission_denials"][0]["rule"], "shell-gate");
}

#[test]
fn a_report_that_cannot_be_written_loses_no_result() {
    let world = world();
    let answer = run(&world, &["--format", "json", "run", "--report", "/nonexistent/x.md", "count \"a\""]).expect(1);
    assert_eq!(answer.json()["turns"].as_array().unwrap().len(), 1);
    assert!(answer.stderr.lines().last().unwrap().contains("\"io\""), "{}", answer.stderr);
}

#[test]
fn every_denied_match_is_a_denial_however_few_are_listed() {
    let world = world();
    let result = run(&world, &["--format", "json", "run", "--limit", "1", "count text words in a shell command \"a\""]).expect(0).json();
    assert_eq!(result["permission_denials"][0]["tool"], "shell/bash");
    let allowed = result["turns"][0]["matched"].as_array().unwrap().iter().filter(|m| m["tool"] != "shell/bash").count();
    assert_eq!(allowed, 1);
}

#[test]
fn a_session_that_cannot_be_written_is_an_error_and_leaves_nothing_half_written() {
    let world = world();
    run(&world, &["run", "x"]).expect(0);
    let before = world.files();
    // Larger than the file may grow: the write fails as a whole.
    let long = format!("count \"{}\"", "word ".repeat(2000));
    let flags = flags();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -f 4; exec \"$0\" \"$@\"", palisade_tests::binary().to_str().unwrap()]).args(&flags);
    command.args(["--format", "json", "run", &long]);
    let given = world.command(&[]);
    command.current_dir(world.workspace()).env_clear().envs(given.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdin(Stdio::null());
    let full = answer(command);
    let error: Value = serde_json::from_str(full.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((full.code, &error["error"]["kind"]), (1, &json!("io")), "{}", full.stderr);
    assert_eq!(full.json()["turns"].as_array().unwrap().len(), 0, "nothing runs that cannot be recorded");
    let after = world.files();
    assert_eq!(after.iter().filter(|f| f.contains(".palisade-new-")).count(), 0, "{after:?}");
    assert_eq!(after.len(), before.len() + 1, "the session as it was before the turn");
    // A folder that cannot be written is found before anything runs. Root writes anywhere, so a file stands in its place.
    let config = format!("[session]\ndir = \"{}\"\n", world.write("blocked", "").display());
    world.user_config(&config);
    let error = run(&world, &["--format", "json", "run", "count \"a\""]).expect(1).error();
    assert!(error["kind"] == "io" && error["message"].as_str().unwrap().contains("blocked"), "{error}");
    if !rustix::process::geteuid().is_root() {
        let folder = world.path("readonly");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
        world.user_config(&format!("[session]\ndir = \"{}\"\n", folder.display()));
        assert_eq!(run(&world, &["--format", "json", "run", "x"]).expect(1).error()["kind"], "io");
    }
}

#[test]
fn after_a_kill_the_next_start_is_clean() {
    let world = world();
    world.plugin("guest", &guest("guest"), "");
    let plugin = world.path("plugins/guest").display().to_string();
    let (warm, cold) = (world.path("home/cache"), world.path("home/cold"));
    let session = |cache: &std::path::Path, prompts: &[&str]| {
        let mut command = world.command(&[&["--profile", "trusted", "--plugin", &plugin, "--format", "json", "run"], prompts].concat());
        command.env("XDG_CACHE_HOME", cache).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    answer(session(&warm, &["a"])).expect(0);
    for round in 0..30u64 {
        // In turn over the writes of a session, and over a compile and the writes of the cache.
        let (cache, wait) = if round % 2 == 0 { (&warm, 10 + round * 4) } else { (&cold, round * 15) };
        let _ = std::fs::remove_dir_all(&cold);
        let mut child = session(cache, &["a", "b", "c", "d", "e", "f"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let _ = child.kill();
        let _ = child.wait();
    }
    // What a killed process leaves in each folder that is written, also where none of the kills hit that moment.
    let sessions = world.files().into_iter().find(|f| f.contains("/sessions/") && f.ends_with(".json")).unwrap();
    let sessions = sessions.rsplit_once('/').unwrap().0.to_owned();
    for folder in [sessions.as_str(), "state/palisade", "home/cache/palisade/code/new", "home/cold/palisade/code/new"] {
        world.write(&format!("{folder}/.palisade-new-left"), "half");
    }
    for cache in [&warm, &cold] {
        let mut command = session(cache, &["/guest/counter"]);
        command.stdout(Stdio::piped());
        assert_eq!(answer(command).expect(0).json()["turns"][0]["output"], "1");
    }
    let left: Vec<String> = world.files().into_iter().filter(|f| f.contains(".palisade-new-") || f.contains("tmp")).collect();
    assert_eq!(left, [] as [String; 0]);
    let listed = world.palisade(&["--format", "json", "session", "list"]).expect(0).json();
    assert!(listed["sessions"].as_array().unwrap().iter().all(|s| s.get("damaged").is_none()), "{listed}");
}

#[test]
fn an_interrupt_ends_a_call_and_the_session_says_so() {
    let world = world();
    world.plugin("guest", &guest("guest"), "");
    let plugin = world.path("plugins/guest").display().to_string();
    let mut command =
        world.command(&["--profile", "trusted", "--plugin", &plugin, "--format", "json", "run", "/guest/spin", "/guest/counter"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let started = Instant::now();
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &result["stop_reason"]), (Some(130), &json!("cancelled")));
    assert_eq!(result["turns"].as_array().unwrap().len(), 1);
    assert_eq!(result["turns"][0]["calls"][0]["error"], json!({"kind": "cancelled", "message": "the caller gave up"}));
}

#[test]
fn the_example_of_the_library_runs() {
    let plugins = example("text-stats");
    let mut command = Command::new(library_example("library"));
    command.arg(palisade_tests::binary()).arg(plugins.parent().unwrap()).current_dir(root());
    let answer = answer(command).expect(0);
    assert_eq!(
        answer.stdout,
        "untrusted: trust\n\
         trusted: 1\n\
         count the words of \"one two three\": {\"lines\":1,\"words\":3,\"characters\":13,\"bytes\":13}\n\
         search for \"needle\": search/grep: denied by deny-prefix\n\
         denied: search/grep by deny-prefix\n"
    );
}
