//! Limits on what a guest may cost before and beside its own call: compiling it, and the places of calls in flight.

use palisade::config::{Home, Options, Settings};
use palisade::policy::{Origin, Verdict};
use palisade::sandbox::Run;
use palisade::{Host, Kind, LoadOptions, ToolCall};
use palisade_tests::{World, answer, binary, example, guest, raw};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `status` with its own cache, so that everything is compiled.
fn status(world: &World) -> serde_json::Value {
    let plugins = world.path("plugins").display().to_string();
    let mut command = world.command(&["--profile", "trusted", "--format", "json", "--plugin-dir", &plugins, "status"]);
    command.env("XDG_CACHE_HOME", world.path("home/cache"));
    answer(command).expect(0).json()
}

#[test]
fn a_component_that_keeps_a_compiler_busy_is_set_aside_and_its_neighbours_are_served() {
    let world = World::new();
    world.user_config("[limits]\ncompile_time = \"3s\"\n");
    world.plugin("bomb", &raw::bomb(30_000), "");
    world.plugin("good", &guest("guest"), "");
    let started = Instant::now();
    let status = status(&world);
    assert!(started.elapsed() < Duration::from_secs(60), "an hour without the limit");
    assert_eq!(status["plugins"], 1);
    let reason = status["quarantined"][0]["reason"].as_str().unwrap();
    // By CPU time, or by wall time where others keep the machine busy.
    assert!(reason.contains("bomb.wasm: the component does not compile: it took") && reason.contains("(`compile_time`)"), "{reason}");
}

#[test]
fn a_compiler_that_needs_too_much_memory_ends_alone() {
    let world = World::new();
    world.user_config("[limits]\ncompile_memory = \"120MiB\"\n");
    // Held once as it comes in and once more as it goes out.
    let data = format!("(memory $m 800) (data (memory $m) (i32.const 0) \"{}\")", "a".repeat(48 << 20));
    world.plugin("large", &raw::component(&data, "(i32.const 1024)"), "");
    world.plugin("good", &raw::component("", "(i32.const 1024)"), "");
    let status = status(&world);
    assert_eq!(status["plugins"], 1, "{status}");
    let reason = status["quarantined"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("large.wasm: the component does not compile"), "{reason}");
}

/// Starts a call that compiles for long, and gives back the process, its compiler's id and what the compiler's environment is.
#[allow(clippy::zombie_processes, reason = "the caller collects it")]
fn compiling(world: &World) -> (Child, i32, Vec<u8>) {
    world.plugin("bomb", &raw::bomb(30_000), "");
    let plugin = world.path("plugins/bomb").display().to_string();
    let mut command = world.command(&["--profile", "trusted", "--format", "json", "--plugin", &plugin, "call", "bomb/go"]);
    command.env("XDG_CACHE_HOME", world.path("home/cache")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(30), "no compiler was started");
        std::thread::sleep(Duration::from_millis(20));
        let Ok(compiler) = std::fs::read_to_string(&children).unwrap_or_default().trim().parse() else { continue };
        // Before it has become our compiler it still is a copy of its parent.
        if std::fs::read_to_string(format!("/proc/{compiler}/cmdline")).is_ok_and(|line| line.contains("__compile")) {
            let environment = std::fs::read(format!("/proc/{compiler}/environ")).unwrap();
            return (child, compiler, environment);
        }
    }
}

/// Whether a process runs; one that has ended and waits to be collected does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn an_interrupt_ends_a_compiler_and_leaves_no_process() {
    let (child, compiler, environment) = compiling(&World::new());
    assert_eq!(environment, b"");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let error: serde_json::Value = serde_json::from_str(String::from_utf8(output.stderr).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((output.status.code(), &error["error"]["kind"]), (Some(130), &serde_json::json!("cancelled")));
    assert!(!runs(compiler), "the compiler is gone");
}

#[test]
fn a_compiler_does_not_outlive_a_host_that_is_killed() {
    use std::io::BufRead;
    // A shell stands for the host. The compiler waits for a component from a pipe that stays open when the shell is gone.
    let script = "exec 3<&0; \"$0\" __compile 100 4000000000 $$ <&3 & echo $!; wait";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, binary().to_str().unwrap()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let compiler: i32 = line.trim().parse().unwrap();
    let started = Instant::now();
    let fenced = || std::fs::read_to_string(format!("/proc/{compiler}/limits")).unwrap().contains("Max open files            0 ");
    while !fenced() {
        assert!(started.elapsed() < Duration::from_secs(10), "it is not fenced");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(runs(compiler));
    let held = shell.stdin.take();
    shell.kill().unwrap();
    shell.wait().unwrap();
    let started = Instant::now();
    while runs(compiler) {
        assert!(started.elapsed() < Duration::from_secs(10), "it still waits");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(held);
}

#[test]
fn the_compiler_can_neither_open_a_file_nor_be_used_from_outside() {
    let world = World::new();
    let answered = answer(world.command(&["__compile"])).expect(1);
    assert_eq!((answered.stdout.as_str(), answered.stderr.as_str()), ("", "it is run by palisade itself"));
    // A parent that is not the one it was told of.
    let answered = answer(world.command(&["__compile", "1", "1000000000", "1"])).expect(1);
    assert!(answered.stderr.starts_with("the compiler cannot be fenced"), "{}", answered.stderr);
    let mut command = world.command(&["__compile", "100", "4000000000", &std::process::id().to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let started = Instant::now();
    let row = loop {
        let text = std::fs::read_to_string(&limits).unwrap();
        let row = text.lines().find(|l| l.starts_with("Max open files")).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if row[3] == "0" || started.elapsed() > Duration::from_secs(10) {
            break row;
        }
    };
    assert_eq!(row[3..5], ["0", "0"], "neither limit of open files leaves room for one");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1), "nothing is no component");
}

#[test]
fn a_call_over_budget_is_denied_at_its_step_and_does_not_run() {
    let world = World::new();
    let plugin = world.plugin("guest", &guest("guest"), "");
    let home = world.path("library");
    std::fs::create_dir(&home).unwrap();
    let options =
        Options { profile: Some("trusted".to_owned()), workspace: Some(world.workspace()), plugins: vec![plugin], ..Options::default() };
    let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let compiler = binary();
        let host = Host::load(settings, LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() }).await.unwrap();
        let spent = || Verdict::deny(Origin::Code, "it is spent".to_owned(), None);
        let call = |arguments| host.call(ToolCall::new("guest/echo", arguments), spent(), Run::default(), |_| {});
        let rule = |record: palisade::record::CallRecord| record.denial.map(|d| (d.rule, d.source));
        assert_eq!(rule(call("{\"text\":\"a\"}").await.unwrap()), Some(("budget".to_owned(), "code".to_owned())));
        assert_eq!(rule(call("{}").await.unwrap()).map(|(rule, _)| rule), Some("arguments".to_owned()), "an earlier step comes first");
    });
}

#[test]
fn a_source_takes_no_more_than_its_places() {
    let world = World::new();
    let home = world.path("library");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("config.toml"), "[limits]\nin_flight_source = 1\ntime = \"3s\"\n").unwrap();
    let plugin = world.plugin("guest", &guest("guest"), "");
    let options = Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugins: vec![plugin, example("text-stats")],
        ..Options::default()
    };
    let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let compiler = binary();
        let host = Host::load(settings, LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() }).await.unwrap();
        let call = |id, arguments| host.call(ToolCall::new(id, arguments), Verdict::pass(), Run::default(), |_| {});
        let ended = std::cell::RefCell::new(Vec::new());
        let note = async |name, call| {
            let record: Result<palisade::record::CallRecord, palisade::Error> = call.await;
            ended.borrow_mut().push(name);
            let record = record.unwrap();
            (record.error.map(|e| e.kind), record.stats.duration_us)
        };
        let ((first, _), (_, waited), (other, _)) = tokio::join!(
            note("the one that sleeps", call("guest/sleep", "{\"ms\":60000}")),
            note("its sibling", call("guest/counter", "{}")),
            note("another source", call("text-stats/count", "{\"text\":\"a\"}")),
        );
        assert_eq!((first, other), (Some(Kind::LimitTime), None));
        let ended = ended.into_inner();
        assert_eq!(ended[0], "another source");
        // The sibling waits until the place is free, or until its own deadline at nearly the same moment; by itself it takes
        // less than a thousandth of that.
        assert!(waited > 1e6, "{ended:?} {waited}");
        let kind = |record: Result<palisade::record::CallRecord, palisade::Error>| record.unwrap().error.map(|e| e.kind);
        assert_eq!(kind(call("guest/counter", "{}").await), None, "the places are free again");
    });
}

/// A host with the guest, whose calls end after 300 ms.
fn host_of_guest(world: &World, runtime: &tokio::runtime::Runtime) -> Host {
    let plugin = world.plugin("guest", &guest("guest"), "[limits]\ntime = \"300ms\"\n");
    let home = world.path("library");
    std::fs::create_dir(&home).unwrap();
    let options =
        Options { profile: Some("trusted".to_owned()), workspace: Some(world.workspace()), plugins: vec![plugin], ..Options::default() };
    let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
    let compiler = binary();
    let load = LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() };
    runtime.block_on(Host::load(settings, load)).unwrap()
}

/// The folders in `/proc` of this process's threads of a name.
fn threads(name: &str) -> Vec<std::path::PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)).collect()
}

fn kind(host: &Host, runtime: &tokio::runtime::Runtime, tool: &str) -> Option<Kind> {
    let call = host.call(ToolCall::new(tool, "{}"), Verdict::pass(), Run::default(), |_| {});
    runtime.block_on(call).unwrap().error.map(|e| e.kind)
}

#[test]
fn what_a_call_keeps_while_it_waits_is_little_to_move() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = World::new();
    let host = host_of_guest(&world, &runtime);
    let call = host.call(ToolCall::new("guest/echo", r#"{"text":"a"}"#), Verdict::pass(), Run::default(), |_| {});
    let size = size_of_val(&call);
    assert!(size <= 3 << 10, "{size} bytes");
    assert!(runtime.block_on(call).unwrap().error.is_none());
}

#[test]
fn a_call_that_is_busy_goes_on_among_threads_of_lower_priority() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = World::new();
    let host = host_of_guest(&world, &runtime);
    let nice = |task: &std::path::Path| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        // After the name in brackets, which may hold anything: state is the first, the nice value the seventeenth.
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned()
    };
    assert_eq!(kind(&host, &runtime, "guest/spin"), Some(Kind::LimitTime));
    let slow = threads("palisade-slow");
    assert!(!slow.is_empty());
    assert!(slow.iter().all(|task| nice(task) == "10"), "{:?}", slow.iter().map(|t| nice(t)).collect::<Vec<_>>());
    assert_eq!(kind(&host, &runtime, "guest/counter"), None, "a quick call after a slow one of its source");
    drop(host);
}

#[test]
fn the_clock_of_an_idle_host_stands_still_and_a_busy_guest_is_stopped_all_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = World::new();
    let host = host_of_guest(&world, &runtime);
    let wakings = || -> Vec<String> {
        let status = |task: &std::path::PathBuf| std::fs::read_to_string(task.join("status")).unwrap_or_default();
        let line = |status: String| status.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).unwrap_or_default().to_owned();
        threads("palisade-epoch").iter().map(|task| line(status(task))).collect()
    };
    let still = || {
        let first = wakings();
        std::thread::sleep(Duration::from_millis(200));
        !first.is_empty() && first == wakings()
    };
    let started = Instant::now();
    while !still() {
        assert!(started.elapsed() < Duration::from_secs(20), "it never rests");
    }
    assert_eq!(kind(&host, &runtime, "guest/spin"), Some(Kind::LimitTime));
}
