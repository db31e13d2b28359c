//! A host that serves for long, kept as fresh as its files.
//!
//! The rule it keeps: what changes in the workspace alone can only take away. What is new comes through the user's own
//! config and state, and what cannot be read any more does not count.
//!
//! Where the rule ends: files are looked at once a second, so what was there a moment before still runs.

use crate::config::{Home, Options, Scope, Settings, SourceDir, TrustRecord, WORKSPACE_FILE};
use crate::error::Error;
use crate::host::{Host, LoadOptions};
use crate::plugins::Plugin;
use crate::{audit, clean};
use palisade_policy::{Init, Origin};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after a change until the files have been the same twice: somebody is still writing.
const SETTLE: Duration = Duration::from_millis(200);
/// Most entries of one folder that are looked at.
const ENTRIES: usize = 256;
/// Most files in all of a folder of skills, and its deepest folder.
const SKILL_FILES: usize = 10_000;
const SKILL_DEPTH: usize = 9;

/// What the files looked like: the user's own, and the workspace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    own: u64,
    workspace: u64,
    trust: u64,
}

impl Seen {
    /// A code over who and how old every file is that decides what this host is.
    fn of(settings: &Settings) -> Self {
        let root = settings.workspace.folder.path();
        let (mut own, mut workspace) = (DefaultHasher::new(), DefaultHasher::new());
        settings.own_files().iter().for_each(|path| look(path, &mut own));
        ["palisade.toml", "palisade.lock", ".mcp.json"].iter().for_each(|name| look(&root.join(name), &mut workspace));
        for path in settings.workspace_trust.files.iter().flat_map(|files| files.keys()) {
            look(&root.join(path), &mut workspace);
        }
        for dir in settings.plugin_dirs.iter().chain(settings.hooks.iter().map(|hook| &hook.dir)) {
            let (folder, code) = match dir.scope {
                Scope::Workspace => (root.join(&dir.folder), &mut workspace),
                _ => (dir.folder.clone(), &mut own),
            };
            look(&folder, code);
            look(&folder.join("hooks/hooks.json"), code);
            let inner = if dir.single { vec![folder] } else { entries(&folder, ENTRIES) };
            for plugin in inner {
                look(&plugin, code);
                entries(&plugin, ENTRIES).iter().for_each(|file| look(file, code));
            }
        }
        for dir in &settings.skill_dirs {
            let mut left = SKILL_FILES;
            match dir.scope {
                Scope::Workspace => deep(&root.join(&dir.folder), SKILL_DEPTH, &mut left, &mut workspace),
                _ => deep(&dir.folder, SKILL_DEPTH, &mut left, &mut own),
            }
        }
        let mut trust = DefaultHasher::new();
        look(&TrustRecord::file(&settings.home, root), &mut trust);
        Self { own: own.finish(), workspace: workspace.finish(), trust: trust.finish() }
    }
}

fn entries(folder: &Path, most: usize) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().take(most).map(|entry| entry.path()).collect();
    all.sort();
    all
}

/// A folder with all that is below it: a skill has files in folders of its own.
fn deep(folder: &Path, depth: usize, left: &mut usize, code: &mut DefaultHasher) {
    look(folder, code);
    for entry in entries(folder, *left) {
        *left = left.saturating_sub(1);
        if *left == 0 {
            return;
        }
        match std::fs::symlink_metadata(&entry) {
            Ok(meta) if meta.is_dir() && depth > 0 => deep(&entry, depth - 1, left, code),
            _ => look(&entry, code),
        }
    }
}

fn look(path: &Path, code: &mut DefaultHasher) {
    use std::os::unix::fs::MetadataExt;
    path.hash(code);
    // What is not there is one way to look, too. A folder of the state changes with each file that is written beside it.
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => (meta.dev(), meta.ino()).hash(code),
        Ok(meta) => (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()).hash(code),
        Err(_) => 0.hash(code),
    }
}

/// What the files of a host looked like before any of them was read. What changes from then on is noticed, however long
/// it takes to load the host and to begin to watch.
#[derive(Debug)]
pub struct Watched(Seen);

impl Watched {
    /// The settings of a host that will be kept fresh.
    ///
    /// # Errors
    /// Those of [`Settings::resolve`].
    pub fn settings(options: &Options, home: &Home) -> Result<(Settings, Self), Error> {
        // Which files there are to look at is known when they have been read. So they are looked at and then read once more:
        // a file that is newer than the look is another at the next one, and one that the look missed is there then.
        let named = Settings::resolve(options, home.clone())?;
        let seen = Seen::of(&named);
        Ok((Settings::resolve(options, home.clone())?, Self(seen)))
    }
}

/// Looks at the files of a host, and puts another in its place when they change. Ends when nobody has the host any more.
pub async fn keep_fresh(
    hosts: watch::Sender<Arc<Host>>,
    watched: Watched,
    options: Options,
    home: Home,
    compiler: PathBuf,
    told: impl Fn(&str) + Send + Sync,
) {
    let mut seen = watched.0;
    while !hosts.is_closed() {
        tokio::time::sleep(LOOK).await;
        let host = hosts.borrow().clone();
        let mut now = Seen::of(host.settings());
        if now == seen {
            continue;
        }
        let (changed, looked) = loop {
            tokio::time::sleep(SETTLE).await;
            let again = Seen::of(host.settings());
            if again != now {
                now = again;
                continue;
            }
            let changed = Changed { own: now.own != seen.own, trust: now.trust != seen.trust };
            // Looked at before they are read for good, as [`Watched::settings`] does. Whose files changed is only known of
            // those that were the same until then.
            let looked = resolve(&host, &options, &home, changed).map(|(settings, _)| Seen::of(&settings));
            if Seen::of(host.settings()) == now {
                break (changed, looked.unwrap_or(now));
            }
        };
        match reload(&host, &options, &home, &compiler, changed).await {
            Ok((fresh, broken)) => {
                if let Some(error) = broken {
                    told(&format!(
                        "the workspace cannot be read: {}; nothing that it names counts, and what it took away stays away",
                        clean::line(&error.message, clean::TEXT)
                    ));
                }
                // What is watched may be other files by now.
                seen = looked;
                fresh.quarantined().iter().for_each(|broken| {
                    told(&format!("{} is quarantined ({}): {}", broken.source, broken.error.kind.name(), broken.error.message));
                });
                fresh.prefetch(|_| {});
                let tools = fresh.tools().filter(|tool| fresh.admit(tool).is_ok()).count();
                let goes_on = |plugin: &Plugin| fresh.plugins().iter().any(|other| other.identity == plugin.identity);
                if host.plugins().iter().any(|plugin| plugin.scope == Scope::Workspace && !goes_on(plugin)) {
                    // A call that waits for its guards was decided on what is there no more.
                    host.withdraw("its files changed");
                }
                hosts.send_replace(Arc::new(fresh));
                told(&format!("files changed: {tools} tools are offered now"));
            }
            Err(error) => {
                seen = now;
                let why = clean::line(&error.message, clean::TEXT);
                told(&format!(
                    "files changed, and cannot be loaded: {why}; what was loaded before goes on, but for what the workspace names"
                ));
                host.withdraw(&why);
                hosts.send_modify(|_| {});
            }
        }
    }
}

/// Whose files changed.
#[derive(Clone, Copy)]
struct Changed {
    own: bool,
    trust: bool,
}

/// Another host, and why nothing of the workspace was read, where that is so.
async fn reload(host: &Host, options: &Options, home: &Home, compiler: &Path, changed: Changed) -> Result<(Host, Option<Error>), Error> {
    let (settings, broken) = resolve(host, options, home, changed)?;
    let load = LoadOptions { compiler: Some(compiler), audit: Some(audit::Sizes::default()), before: Some(host), ..LoadOptions::default() };
    let mut fresh = Host::load(settings, load).await?;
    if !changed.trust || broken.is_some() {
        fresh.keep_guards(host);
    }
    Ok((fresh, broken))
}

/// The settings of another host, and why nothing of the workspace was read, where that is so.
fn resolve(host: &Host, options: &Options, home: &Home, changed: Changed) -> Result<(Settings, Option<Error>), Error> {
    let before = host.settings();
    let (mut settings, broken) = match Settings::resolve(options, home.clone()) {
        Ok(settings) => (settings, None),
        // What is wrong may be the workspace's alone, and then it holds up nothing of the user's.
        Err(error) => match Settings::resolve(&Options { workspace_unread: true, ..options.clone() }, home.clone()) {
            Ok(settings) => (withdrawn(settings, before, &error), Some(error)),
            Err(_) => return Err(error),
        },
    };
    // What the workspace took away stays away, whatever the user changes besides, until a person looked at it again.
    if !changed.trust || broken.is_some() {
        settings.deny.unite(before.deny.written_in(WORKSPACE_FILE));
        for &(limit, value) in &before.lowered {
            settings.limits.lower(limit, value);
            settings.lowered.push((limit, value));
        }
    }
    if !(changed.own || changed.trust) {
        let known = |dirs: &[SourceDir], dir: &SourceDir| dirs.iter().any(|one| one.scope == dir.scope && one.folder == dir.folder);
        settings.plugin_dirs.retain(|dir| dir.scope != Scope::Workspace || known(&before.plugin_dirs, dir));
        settings.skill_dirs.retain(|dir| dir.scope != Scope::Workspace || known(&before.skill_dirs, dir));
        let heard = |hook: &crate::config::HookEntry| before.hooks.iter().any(|one| one.dir.folder == hook.dir.folder);
        settings.hooks.retain(|hook| hook.dir.scope != Scope::Workspace || heard(hook));
    }
    Ok((settings, broken))
}

/// The user's half of the settings, where the workspace's cannot be read: its lock goes on denying, and of what it named it is
/// said why none of it is there.
fn withdrawn(mut settings: Settings, before: &Settings, error: &Error) -> Settings {
    settings.lock.clone_from(&before.lock);
    settings.withheld = Some(Init {
        enabled: false,
        reason: format!("what the workspace names was withdrawn: {}", clean::line(&error.message, clean::TEXT)),
        withheld: true,
        origin: Origin::File { name: WORKSPACE_FILE.to_owned(), line: 1 },
        remedy: None,
    });
    settings
}
