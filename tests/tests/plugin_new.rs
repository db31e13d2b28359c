//! `palisade plugin new` and `plugin build` in Rust: from an empty folder to the first answer, and all that can be wrong on the way.
//! JavaScript and Python have the same in `interop_new.sh`.

use palisade_tests::stdio::Server;
use palisade_tests::{Answer, World, answer, binary, root};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHANGED: &str = "notifications/tools/list_changed";
/// Longest wait for what has to come; it decides nothing but how long a broken build takes to fail.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder for plugins below the repository's workspace, always at one path, so that cargo knows what it compiled; removed when it
/// is dropped.
struct Place {
    world: World,
    folder: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = below(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let world = World::new();
        std::fs::create_dir(world.path("bin")).unwrap();
        std::os::unix::fs::symlink(binary(), world.path("bin/palisade")).unwrap();
        Self { world, folder }
    }

    /// In the surroundings of a user who has Rust, fetched the crates once, and has no network.
    fn at_home(&self, mut command: Command) -> Command {
        let variable = |name: &str, below: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(below), PathBuf::from)
        };
        let toolchain = Path::new(env!("CARGO")).parent().unwrap().display();
        command.env("PATH", format!("{}:{toolchain}:/usr/bin:/bin", self.world.path("bin").display()));
        command.env("CARGO_HOME", variable("CARGO_HOME", ".cargo")).env("RUSTUP_HOME", variable("RUSTUP_HOME", ".rustup"));
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", below("target"));
        command.env("XDG_DATA_HOME", below("data")).current_dir(&self.folder);
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        self.at_home(self.world.command(args))
    }

    fn palisade(&self, args: &[&str]) -> Answer {
        answer(self.command(args))
    }

    fn cargo(&self, args: &[&str], folder: &str) -> Answer {
        let mut command = self.at_home(Command::new(env!("CARGO")));
        command.args(args).current_dir(self.folder.join(folder)).stdin(Stdio::null());
        answer(command)
    }

    fn write(&self, below: &str, text: &str) {
        std::fs::write(self.folder.join(below), text).unwrap();
    }

    fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.folder.join(below)).unwrap()
    }

    /// Of the plugin that is watched; its own name, for what cargo makes of two of one name lies at one place.
    fn greet(&self) -> Answer {
        self.palisade(&["-q", "--profile", "trusted", "--plugin", "watched/dist", "call", "watched/greet", r#"{"name": "Ada"}"#])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn below(name: &str) -> PathBuf {
    root().join("target/test-new").join(name)
}

/// The commands of the README's first plugin in Rust, as they stand there.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("## The first plugin\n").nth(1).expect("a section");
    let lines = section.lines().skip_while(|line| !line.starts_with("    "));
    lines.map_while(|line| line.strip_prefix("    ").map(str::to_owned)).collect()
}

#[test]
fn from_an_empty_folder_to_the_first_answer_as_the_readme_has_it() {
    let place = Place::new("readme");
    let commands = commands();
    assert!(commands.len() <= 4, "{commands:?}");
    let mut shell = place.command(&[]);
    shell = {
        let mut typed = Command::new("/bin/bash");
        typed.args(["-e", "-c", &commands.join("\n")]).env_clear().stdin(Stdio::null());
        for (name, value) in shell.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            typed.env(name, value);
        }
        typed.current_dir(&place.folder);
        typed
    };
    let first = answer(shell).expect(0);
    assert_eq!(first.stdout.lines().last(), Some("Hello, Ada!"), "{}", first.stdout);
    // It passes its own test, and what cargo would write is what was written.
    let tested = place.cargo(&["test", "--locked", "--offline"], "hello").expect(0);
    assert!(tested.stdout.contains("2 passed; 0 failed"), "{}", tested.stdout);
    // What is left besides what is ignored is what was made.
    let mut left: Vec<String> =
        std::fs::read_dir(place.folder.join("hello")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "dist", "plugin.toml", "src"]);
    // The folder is the whole of it, and the answer says where it is and how large.
    let built = place.palisade(&["--format", "json", "plugin", "build", "hello"]).expect(0).json();
    let dist = place.folder.join("hello/dist");
    let size = std::fs::metadata(dist.join("hello.wasm")).unwrap().len();
    assert_eq!(built, json!({"built": dist, "component_bytes": size}));
    assert_eq!(std::fs::read_dir(dist).unwrap().count(), 2);
    assert!(size < 400_000, "a component is small: {size}");
    let listed = place.palisade(&["--profile", "trusted", "--plugin", "hello/dist", "--format", "json", "tools"]).expect(0).json();
    assert_eq!(listed["tools"][0]["input_schema"]["required"], json!(["name"]));
}

#[test]
fn what_is_no_name_of_a_plugin_or_no_empty_folder_is_refused_and_nothing_is_made() {
    let place = Place::new("refused");
    place.write("file", "");
    std::fs::create_dir(place.folder.join("full")).unwrap();
    place.write("full/mine", "");
    let long = "a".repeat(65);
    for (args, message, hint) in [
        (&["Text Stats", "--lang", "rust"][..], "no name of a plugin", "palisade plugin new text-stats --lang rust"),
        (&["../up", "--lang", "js"], "no name of a plugin", "palisade plugin new up --lang js"),
        (&["1", "--lang", "js"], "no name of a plugin", "a letter first"),
        (&["", "--lang", "js"], "no name of a plugin", "a letter first"),
        (&[&long, "--lang", "python"], "no name of a plugin", "at most 64 bytes"),
        (&["my-shell", "--lang", "rust"], "the shell gate denies", "without the name of a shell"),
        (&["palisade-sdk", "--lang", "rust"], "a crate of the SDK", "another name"),
        (&["hello", "full", "--lang", "python"], "is not empty", "DIR"),
        (&["hello", "file", "--lang", "python"], "is no folder", "DIR"),
        (&["hello", "--lang", "cobol"], "invalid value 'cobol'", "rust, js, python"),
        (&["hello"], "--lang <LANG>", "Usage"),
    ] {
        let error = place.palisade(&[&["--format", "json", "plugin", "new"], args].concat()).expect(2).error();
        assert_eq!(error["kind"], "usage", "{args:?}");
        let (said, remedy) = (error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or_default());
        assert!(said.contains(message) && format!("{remedy} {said}").contains(hint), "{args:?}: {error}");
    }
    let mut left: Vec<_> = std::fs::read_dir(&place.folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["file", "full"]);
    // An empty folder is filled where it is, also one that is under version control.
    std::fs::create_dir_all(place.folder.join("empty/.git")).unwrap();
    place.palisade(&["plugin", "new", "hello", "empty", "--lang", "js"]).expect(0);
    assert!(place.read("empty/package.json").contains("\"name\": \"hello\""));
}

#[test]
fn a_plugin_may_be_called_like_a_crate_or_a_word_of_the_language() {
    let place = Place::new("named");
    for name in ["serde", "syn", "wit-bindgen", "fn", "core", "test"] {
        place.palisade(&["plugin", "new", name, "--lang", "rust"]).expect(0);
        place.cargo(&["metadata", "--locked", "--offline", "--format-version", "1"], name).expect(0);
    }
}

/// A program of that name that only says something.
fn stand_in(world: &World, name: &str, script: &str) {
    let path = world.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn what_is_missing_of_a_toolchain_is_said_once_with_the_command_that_brings_it() {
    let place = Place::new("missing");
    for lang in ["rust", "js", "python"] {
        place.palisade(&["plugin", "new", "hello", lang, "--lang", lang]).expect(0);
    }
    let refused = |lang: &str, more: &[&str]| {
        let mut command = place.command(&[&["--format", "json", "plugin", "build", lang], more].concat());
        command.env("PATH", place.world.path("bin"));
        let answer = answer(command).expect(6);
        // One line: nothing of a compiler comes before it.
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        let error = answer.error();
        assert_eq!(error["kind"], "not-found");
        format!("{}|{}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap())
    };
    let says = |got: String, parts: &[&str]| assert!(parts.iter().all(|part| got.contains(part)), "{got}");
    says(refused("rust", &[]), &["are not installed", "|curl", "https://sh.rustup.rs", "wasm32-wasip2"]);
    says(refused("js", &[]), &["Node 20 or newer", "is not installed", "|nvm install"]);
    says(refused("python", &[]), &["Python 3.10 or newer", "is not installed", "|"]);
    // Nor can what cannot be installed by a command.
    says(refused("rust", &["--install"]), &["are not installed", "|curl"]);
    // Machines that have half of it.
    stand_in(&place.world, "rustc", "echo /nowhere/at/all");
    says(
        refused("rust", &[]),
        &["target wasm32-wasip2 is not installed", "|rustup target add wasm32-wasip2; or: palisade plugin build --install"],
    );
    stand_in(&place.world, "rustc", "exit 1");
    says(refused("rust", &[]), &["does not know the target", "|rustup update"]);
    stand_in(&place.world, "node", "echo v18.20.1");
    says(refused("js", &[]), &["needed, and node is v18.20.1", "|nvm install"]);
    stand_in(&place.world, "node", "echo v22.1.0");
    says(refused("js", &[]), &["compilers of the JavaScript SDK are not installed", "|npm ci --omit dev", "plugin-sdk/js"]);
    stand_in(&place.world, "python3", "echo 9 0 0");
    says(refused("python", &[]), &["needed, and python3 is 3.9", "|"]);
    stand_in(&place.world, "python3", "echo 12 0 1");
    says(refused("python", &[]), &["componentize-py", "|python3 -m venv ", "-m pip ", "requirements.txt"]);
    // What `--install` runs is what it would have said.
    let ran = place.world.path("ran");
    stand_in(&place.world, "rustc", &format!("test -e {0} && echo / || echo /nowhere/at/all", ran.display()));
    stand_in(&place.world, "rustup", &format!("echo \"$@\" > {}", ran.display()));
    says(refused("rust", &["--install"]), &["cargo and rustc", "|curl"]);
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "target add wasm32-wasip2\n");
    stand_in(&place.world, "npm", "exit 7");
    let mut command = place.command(&["--format", "json", "plugin", "build", "js", "--install"]);
    command.env("PATH", place.world.path("bin"));
    let error = answer(command).expect(6).error();
    says(error["message"].to_string(), &["installing it failed", "exit status: 7"]);
    for lang in ["rust", "js", "python"] {
        assert!(!place.folder.join(lang).join("dist").exists());
    }
}

#[test]
fn a_folder_that_is_no_plugin_or_more_than_one_is_refused_with_what_to_do() {
    let place = Place::new("unclear");
    let refused = |code: i32, parts: [&str; 2]| {
        let error = place.palisade(&["--format", "json", "plugin", "build"]).expect(code).error();
        let got = format!("{} | {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or_default());
        assert!(parts.iter().all(|part| got.contains(part)), "{got}");
    };
    refused(6, ["has no plugin.toml", "palisade plugin new"]);
    place.write("plugin.toml", "[plugin]\nname = \"hello\"\nversion = \"0.1.0\"\ncomponent = \"../hello.wasm\"\n");
    refused(7, ["plugin.toml:4: `plugin.component`", ""]);
    place.write("plugin.toml", "[plugin]\nname = \"hello\"\nversion = \"0.1.0\"\ncomponent = \"hello.wasm\"\n");
    refused(2, ["holds no Cargo.toml, no package.json", "palisade plugin new"]);
    for name in ["a.py", "b.py"] {
        place.write(name, "import palisade_sdk\nTools = 1\n");
    }
    refused(2, ["more than one module: a.py, b.py", "plugin.py"]);
    place.write("Cargo.toml", "");
    refused(2, ["could be a plugin in rust or python", "--lang rust or --lang python"]);
    place.palisade(&["--format", "json", "plugin", "build", "--lang", "rust", "--pure"]).expect(2);
    // The author's own files are nothing that a build replaces.
    std::fs::create_dir(place.folder.join("dist")).unwrap();
    place.write("dist/bundle.js", "mine");
    let error = place.palisade(&["--format", "json", "plugin", "build", "--lang", "rust"]).expect(2).error();
    assert!(error["message"].as_str().unwrap().contains("holds bundle.js, which no build put there"), "{error}");
    assert_eq!(place.read("dist/bundle.js"), "mine");
}

#[test]
fn an_sdk_that_was_changed_is_noticed_and_one_that_is_gone_is_named_with_its_remedy() {
    let place = Place::new("sdk");
    // Its own, for it is damaged.
    let palisade = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("XDG_DATA_HOME", place.world.path("data"));
        answer(command)
    };
    let made = palisade(&["--format", "json", "plugin", "new", "hello", "--lang", "rust"]).expect(0).json();
    let sdk = PathBuf::from(made["sdk"].as_str().unwrap());
    assert!(sdk.starts_with(place.world.path("data/palisade/sdk")) && sdk.join("src/lib.rs").is_file());
    let line = place.read("hello/Cargo.toml").lines().find(|line| line.starts_with("palisade-sdk")).unwrap().to_owned();
    assert_eq!(line, format!("palisade-sdk = {{ path = \"{}\" }}", sdk.display()));
    std::fs::write(sdk.join("src/lib.rs"), "compile_error!(\"damaged\");").unwrap();
    let again = palisade(&["plugin", "new", "other", "--lang", "js"]).expect(0);
    assert!(again.stderr.contains("was not as it came (plugin-sdk/src/lib.rs), and was unpacked again"), "{}", again.stderr);
    assert_eq!(std::fs::read(sdk.join("src/lib.rs")).unwrap(), std::fs::read(root().join("plugin-sdk/src/lib.rs")).unwrap());
    assert_eq!(std::fs::canonicalize(place.folder.join("other/node_modules/palisade-sdk")).unwrap(), sdk.join("js"));
    // A plugin of another machine, or of a version that was removed.
    place.write("hello/Cargo.toml", &place.read("hello/Cargo.toml").replace(sdk.to_str().unwrap(), "/nowhere/plugin-sdk"));
    let error = palisade(&["--format", "json", "plugin", "build", "hello"]).expect(6).error();
    assert!(error["message"].as_str().unwrap().contains("names the SDK in /nowhere/plugin-sdk"), "{error}");
    assert_eq!(error["hint"], format!("write: {line}"));
}

#[test]
fn the_binary_carries_every_tracked_file_of_the_sdks_and_no_other() {
    let listed = Command::new("git").args(["ls-files", "wit", "plugin-sdk", "LICENSE-*"]).current_dir(root()).output().unwrap();
    let tracked = String::from_utf8(listed.stdout).unwrap();
    let mut expected: Vec<&str> =
        tracked.lines().filter(|path| !path.starts_with("plugin-sdk/conformance/")).chain(["Cargo.toml"]).collect();
    expected.sort_unstable();
    let carried = palisade::author::carried();
    assert_eq!(carried.keys().copied().collect::<Vec<_>>(), expected);
    for (path, bytes) in carried.iter().filter(|(path, _)| **path != "Cargo.toml") {
        assert_eq!(std::fs::read(root().join(path)).unwrap(), *bytes, "{path}");
    }
}

/// `plugin build --watch`, killed when it is dropped.
struct Watch {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Watch {
    fn start(place: &Place) -> Self {
        let mut command = place.command(&["plugin", "build", "watched", "--watch"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        for from in [Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>, Box::new(child.stderr.take().unwrap())] {
            let sender = sender.clone();
            std::thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        }
        Self { child, lines }
    }

    /// Waits for a line that holds `part`.
    fn says(&self, part: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("{part} does not come after\n{}", before.join("\n")),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

/// Waits until a server answers so: it has the same tools as before, so it tells nobody that it has others.
fn answers(server: &mut Server, expected: &str) {
    let started = Instant::now();
    loop {
        match server.call("watched__greet", &json!({"name": "Ada"})) {
            got if got == expected => return,
            got => assert!(started.elapsed() < PATIENCE, "{got}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_watch_builds_at_each_change_and_keeps_the_last_good_build_while_servers_take_it_up_or_withdraw_it() {
    let place = Place::new("watch");
    place.palisade(&["plugin", "new", "watched", "--lang", "rust"]).expect(0);
    let mut watch = Watch::start(&place);
    watch.says("built in");
    assert_eq!(place.greet().expect(0).stdout, "Hello, Ada!\n");
    // One server has the folder by a flag; to another it is one of the user's plugins.
    let serve = |args: &[&str]| {
        let mut command = place.command(&[&["--profile", "trusted"], args, &["serve"]].concat());
        command.stderr(Stdio::null());
        Server::of(command)
    };
    let config = place.world.write("own.toml", format!("[plugins]\ndirs = [\"{}\"]\n", place.folder.join("watched/dist").display()));
    let mut flagged = serve(&["--plugin", "watched/dist"]);
    let mut owned = serve(&["--config", config.to_str().unwrap()]);
    let ada = json!({"name": "Ada"});
    assert_eq!(
        (flagged.call("watched__greet", &ada), owned.call("watched__greet", &ada)),
        ("Hello, Ada!".to_owned(), "Hello, Ada!".to_owned())
    );
    let source = place.read("watched/src/lib.rs");
    place.write("watched/src/lib.rs", &source.replace("Hello, {}!", "Good day, {}!"));
    watch.says("built in");
    answers(&mut flagged, "Good day, Ada!");
    owned.hears(CHANGED);
    assert_eq!(owned.call("watched__greet", &ada), "watched/greet was denied by the rule pin (denial 1)");
    // What does not compile leaves the last one, in the folder and in the server.
    place.write("watched/src/lib.rs", "fn broken(");
    let said = watch.says("not built");
    assert!(said.contains("cargo made no component") && said.ends_with("dist is still what was built last"), "{said}");
    assert_eq!(place.greet().expect(0).stdout, "Good day, Ada!\n");
    assert_eq!(flagged.call("watched__greet", &ada), "Good day, Ada!");
    place.write("watched/src/lib.rs", &source);
    watch.says("built in");
    answers(&mut flagged, "Hello, Ada!");
    kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();
    assert_eq!(watch.child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_interrupted_build_leaves_no_process_and_no_file() {
    let place = Place::new("interrupted");
    place.palisade(&["plugin", "new", "hello", "--lang", "rust"]).expect(0);
    let pid = place.world.path("pid");
    let script = format!(
        "fn main() {{\n    let (new, pid) = ({0:?}, {1:?});\n    std::fs::write(new, std::process::id().to_string()).unwrap();\n    \
         std::fs::rename(new, pid).unwrap();\n    std::thread::sleep(std::time::Duration::from_secs(3600));\n}}\n",
        place.world.path("pid.new"),
        pid
    );
    place.write("hello/build.rs", &script);
    let mut child = place.command(&["-q", "plugin", "build", "hello"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !pid.exists() {
        assert!(started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "the build script does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let script = std::fs::read_to_string(&pid).unwrap();
    // Whoever adopted it may not have looked yet.
    let gone = || std::fs::read_to_string(format!("/proc/{script}/stat")).map_or(true, |state| state.contains(") Z "));
    let ended = Instant::now();
    while !gone() {
        assert!(ended.elapsed() < PATIENCE, "{script} goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left: Vec<_> = std::fs::read_dir(place.folder.join("hello")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "dist" || name.to_string_lossy().starts_with(".palisade")), "{left:?}");
}
