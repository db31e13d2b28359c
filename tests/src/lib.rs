//! A small world for each test: a home, a workspace, plugins, and the real binary in it.

pub mod bench;
pub mod cost;
pub mod faulty;
pub mod http;
pub mod raw;
pub mod stdio;
pub mod web;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository").to_owned()
}

/// The real binary, built beside the test that asks for it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let binary = test.ancestors().nth(2).expect("a test lies in deps/").join("palisade");
    assert!(binary.exists(), "{} is not built; run make test", binary.display());
    binary
}

/// A built example program of the library.
#[must_use]
pub fn library_example(name: &str) -> PathBuf {
    built(binary().with_file_name("examples").join(name))
}

/// A built example plugin.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    built(root().join("target/plugins").join(name))
}

/// A built example skill.
#[must_use]
pub fn example_skill(name: &str) -> PathBuf {
    built(root().join("target/skills").join(name))
}

/// The built MCP server for tests.
#[must_use]
pub fn mcp_fixture() -> PathBuf {
    built(binary().with_file_name("mcp_fixture"))
}

/// A built guest.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    std::fs::read(built(root().join("target/guests").join(format!("{name}.wasm")))).expect("a guest is readable")
}

fn built(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not built; run make test", path.display());
    path
}

/// A home, a workspace and a folder of plugins, all gone when it is dropped.
#[derive(Debug)]
pub struct World {
    temp: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Its payload.
    pub stdout: String,
    /// All else.
    pub stderr: String,
}

impl Answer {
    /// The payload as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in\n{}\n{}", self.stdout, self.stderr))
    }

    /// The error in the last line of stderr.
    #[must_use]
    pub fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e} in {last:?}\n{}", self.stderr));
        assert_eq!(self.stdout, "", "an error without a payload leaves stdout empty");
        value["error"].clone()
    }

    /// Fails unless the command ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new() -> Self {
        let world = Self { temp: tempfile::Builder::new().prefix("palisade-test-").tempdir().expect("a temporary folder") };
        for folder in ["home", "workspace", "plugins", "config", "data", "state"] {
            make_private(&world.path(folder));
        }
        // All worlds have one key, or none could load what another compiled.
        let key = world.write("state/palisade/cache.key", [7; 32]);
        std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a private key");
        world
    }

    /// A path in this world.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        // Canonical, because what is compared with the product's output is.
        std::fs::canonicalize(self.temp.path()).expect("the world is there").join(below)
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.path("workspace")
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        make_private(path.parent().expect("a file has a folder"));
        std::fs::write(&path, content).expect("a file in the world");
        path
    }

    /// Writes the user's config.
    pub fn user_config(&self, text: &str) -> PathBuf {
        self.write("config/palisade/config.toml", text)
    }

    /// Makes a plugin in `folder` from component bytes, with more lines for its manifest.
    pub fn plugin_at(&self, folder: &str, name: &str, component: &[u8], manifest: &str) -> PathBuf {
        let head = format!("[plugin]\nname = \"{name}\"\nversion = \"0.1.0\"\ncomponent = \"{name}.wasm\"\n");
        self.write(&format!("{folder}/{name}/plugin.toml"), format!("{head}{manifest}"));
        self.write(&format!("{folder}/{name}/{name}.wasm"), component);
        self.path(&format!("{folder}/{name}"))
    }

    /// Makes a skill in `folder`, with more lines for its front matter.
    pub fn skill_at(&self, folder: &str, name: &str, front: &str, text: &str) -> PathBuf {
        let head = format!("---\nname: {name}\ndescription: Says what {name} does.\n");
        self.write(&format!("{folder}/{name}/SKILL.md"), format!("{head}{front}---\n\n{text}"));
        self.path(&format!("{folder}/{name}"))
    }

    /// Makes a plugin of a guest outside the workspace.
    pub fn plugin(&self, name: &str, component: &[u8], manifest: &str) -> PathBuf {
        self.plugin_at("plugins", name, component, manifest)
    }

    /// A command of the real binary in this world: its own home, and a code cache that all tests share.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let cache = root().join("target/test-cache");
        make_private(&cache);
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.workspace()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").env("XDG_CACHE_HOME", cache);
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")] {
            command.env(name, self.path(folder));
        }
        command
    }

    /// Runs the real binary.
    #[must_use]
    pub fn palisade(&self, args: &[&str]) -> Answer {
        answer(self.command(args))
    }

    /// Runs it trusted, with the plugins of this world, and prints JSON.
    #[must_use]
    pub fn trusted(&self, args: &[&str]) -> Answer {
        let plugins = self.path("plugins");
        let mut all = vec!["--profile", "trusted", "--format", "json", "--plugin-dir", plugins.to_str().expect("a path is text")];
        all.extend(args);
        self.palisade(&all)
    }

    /// Runs commands, and gives back the name of every file in `folders` that was opened meanwhile.
    ///
    /// # Panics
    /// Where the system does not watch.
    #[must_use]
    pub fn opened(&self, folders: &[&str], commands: impl FnOnce()) -> Vec<String> {
        use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
        let watcher = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("a watcher");
        for folder in folders {
            inotify::add_watch(&watcher, self.path(folder), WatchFlags::OPEN | WatchFlags::ACCESS).expect("a folder to watch");
        }
        commands();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watcher, &mut buffer);
        let mut found = Vec::new();
        while let Ok(event) = events.next() {
            found.push(event.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
        }
        found.sort();
        found.dedup();
        found
    }

    /// Every file in this world, by its path below it.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.path(""), &mut |path| found.push(path.strip_prefix(self.path("")).expect("it is below").display().to_string()));
        found.sort();
        found
    }
}

/// Runs a command to its end.
#[must_use]
pub fn answer(mut command: Command) -> Answer {
    let output = command.output().expect("the binary runs");
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is text"),
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
    }
}

fn make_private(folder: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).expect("a private folder");
}

fn walk(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() { walk(&path, found) } else { found(&path) }
    }
}

/// The text with what differs from run to run replaced: times by `T`, ids of sessions by `ID`, the world's path by `~`.
#[must_use]
pub fn steady(world: &World, text: &str) -> String {
    let replace =
        |pattern: &str, text: &str, with: &str| regex::Regex::new(pattern).expect("a pattern").replace_all(text, with).into_owned();
    let text = text.replace(world.path("").to_str().expect("a path is text"), "~/");
    let text = replace(r"[0-9]+(\.[0-9]+)? (µs|ms|s)(?-u:\b)", &text, "T");
    let text = replace(r"[0-9a-f]{8}-[0-9a-f-]{27}", &text, "ID");
    replace(r"[0-9a-f]{64}", &text, "DIGEST")
}

/// Waits until it holds.
///
/// # Panics
/// Where it does not within a minute.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
