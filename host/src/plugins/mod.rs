//! The plugin subsystem: find folders, check manifests, load components, hand over tools to register.
//!
//! The rule it keeps: what is read was allowed by the settings, each plugin stands for itself, and a broken one is set
//! aside with its reason while the others go on.
//!
//! Where the rule ends: whether a tool may be called is the gate's business, how it runs the sandbox's.
//!
//! Never here: sessions, the command line, a decision.

mod definitions;
mod lock;
mod manifest;

pub use definitions::ToolSpec;
pub(crate) use definitions::check as check_definitions;
pub(crate) use lock::difference;
pub use lock::write_lock;
pub use manifest::Manifest;

use crate::config::installed::Package;
use crate::config::{Scope, Settings, SourceDir, shown};
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::sandbox::{AT_ONCE, Prepared, Reach, Sandbox, Secret, WasmDigest, World};
use crate::{clean, config};
use palisade_policy::{AuthGrant, Capability, Effective, Grant, Identity, Limit, Limits, Origin, ToolId, effective};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A loaded plugin.
#[derive(Debug)]
pub struct Plugin {
    /// What its manifest says, with folders resolved.
    pub manifest: Manifest,
    /// SHA-256 over manifest and component.
    pub identity: Identity,
    /// Who named it.
    pub scope: Scope,
    /// Its folder, as an operator reads it.
    pub folder: String,
    /// Requested ∩ granted.
    pub effective: Effective,
    /// The grants that count for it.
    pub grants: Vec<Grant>,
    /// Its compiled component.
    pub component: Arc<Prepared>,
    /// The opened folders, the variables and the origins of its grants.
    pub reach: Reach,
    /// The limits of its calls.
    pub limits: Limits,
    /// Its tools that can be registered.
    pub tools: Vec<ToolSpec>,
}

/// Something that was set aside.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// The plugin's name, its folder where it has none, or one tool's id.
    pub source: String,
    /// The key by which a call would ask for it: a source name or a tool id.
    pub key: String,
    /// What broke it.
    pub error: Error,
}

/// What loading gave.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The plugins.
    pub plugins: Vec<Arc<Plugin>>,
    /// What is broken.
    pub quarantined: Vec<Quarantined>,
    /// Plugins that were found and, not being asked for, left unloaded.
    pub skipped: usize,
    /// Grants that give nothing, as `(grant, where)`.
    pub unused_grants: Vec<(String, Origin)>,
}

/// A plugin whose manifest was read.
struct Found {
    folder: Folder,
    shown: String,
    scope: Scope,
    manifest: Manifest,
    bytes: Vec<u8>,
}

/// Told what is being compiled, by the plugin's name.
pub trait Watcher: Sync + std::fmt::Debug {
    /// A compiler starts.
    fn compiling(&self, name: &str);
    /// It ended.
    fn compiled(&self, name: &str);
}

/// Loads all plugins the settings allow, or only the one named `only`; as many at once as may be compiled at once.
pub async fn load(settings: &Settings, sandbox: &Sandbox, only: Option<&str>, watcher: Option<&dyn Watcher>) -> Loaded {
    let mut loaded = Loaded::default();
    let mut found = find(settings, &mut loaded.quarantined);
    loaded.unused_grants = unused_grants(settings, &found);
    let all = found.len();
    found.retain(|plugin| only.is_none_or(|name| name == plugin.manifest.name.as_str()));
    loaded.skipped = all - found.len();
    let waiting = Mutex::new(found.into_iter().enumerate());
    let worker = async || {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
            let Some((place, plugin)) = next else { return done };
            let name = plugin.manifest.name.to_string();
            let mut tools = Vec::new();
            let ended = load_one(settings, sandbox, plugin, World::Plugin, &mut tools, watcher).await;
            done.push((place, name, ended, tools));
        }
    };
    const { assert!(AT_ONCE == 2, "as many workers as compilers") };
    let (mut done, more) = tokio::join!(worker(), worker());
    done.extend(more);
    done.sort_by_key(|(place, ..)| *place);
    for (_, name, ended, mut tools) in done {
        loaded.quarantined.append(&mut tools);
        match ended {
            Ok(plugin) => loaded.plugins.push(Arc::new(plugin)),
            Err(error) => loaded.quarantined.push(Quarantined { source: name.clone(), key: name, error }),
        }
    }
    loaded
}

/// Loads the one plugin of a folder a person named.
///
/// # Errors
/// What is wrong with it.
pub async fn load_folder(
    settings: &Settings,
    sandbox: &Sandbox,
    folder: &Path,
    watcher: Option<&dyn Watcher>,
) -> Result<(Plugin, Vec<Quarantined>), Error> {
    let dir = SourceDir { folder: folder.to_owned(), single: true, scope: Scope::Flag, origin: Origin::Flag("--plugin") };
    let opened = open(settings, &dir)?;
    let found = read_manifest(settings, opened, Scope::Flag)?;
    let mut quarantined = Vec::new();
    let plugin = load_one(settings, sandbox, found, World::Plugin, &mut quarantined, watcher).await?;
    Ok((plugin, quarantined))
}

/// Loads the component of one folder, for a world in which it is no source of tools.
pub(crate) async fn load_component(
    settings: &Settings,
    sandbox: &Sandbox,
    dir: &SourceDir,
    world: World,
    watcher: Option<&dyn Watcher>,
) -> Result<Plugin, Error> {
    let found = read_manifest(settings, open(settings, dir)?, dir.scope)?;
    load_one(settings, sandbox, found, world, &mut Vec::new(), watcher).await
}

/// The bytes of a plugin in a folder a person named, as they are now.
///
/// # Errors
/// What is wrong with it.
pub fn package(settings: &Settings, folder: &Path) -> Result<Package, Error> {
    let dir = SourceDir { folder: folder.to_owned(), single: true, scope: Scope::Flag, origin: Origin::Flag("the command line") };
    let found = read_manifest(settings, open(settings, &dir)?, Scope::Flag)?;
    let name = found.manifest.component;
    let component = found.folder.read(&name, settings.limits.get(Limit::Component));
    let component = component.map_err(|e| Error::new(Kind::Component, format!("{}: {e}", clean::line(&name, clean::NAME))))?;
    let identity = identity(&found.bytes, &Sha256::digest(&component).into());
    Ok(Package { manifest: found.bytes, name, component, identity })
}

fn find(settings: &Settings, quarantined: &mut Vec<Quarantined>) -> Vec<Found> {
    let mut by_name: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let mut broken = |source: String, key: String, error: Error| quarantined.push(Quarantined { source, key, error });
    for dir in &settings.plugin_dirs {
        let shown_dir = clean::line(&dir.folder.display().to_string(), clean::NAME);
        let linked = |path: PathBuf, error: Error| {
            let key = last_part(&path);
            broken(clean::line(&shown(&path, settings.workspace.folder.path()), clean::NAME), key, error);
        };
        let folders = match open(settings, dir).and_then(|folder| candidates(folder, dir, linked)) {
            Ok(folders) => folders,
            Err(error) => {
                broken(shown_dir, last_part(&dir.folder), error);
                continue;
            }
        };
        for folder in folders {
            // One folder named twice is one plugin.
            if !seen.insert(folder.path().to_owned()) {
                continue;
            }
            let key = last_part(folder.path());
            let shown_folder = clean::line(&shown(folder.path(), settings.workspace.folder.path()), clean::NAME);
            match read_manifest(settings, folder, dir.scope) {
                Ok(found) => by_name.entry(found.manifest.name.to_string()).or_default().push(found),
                Err(error) => broken(shown_folder, key, error),
            }
        }
    }
    let mut found = Vec::new();
    for (name, mut group) in by_name {
        // Between user and workspace, the user's stays.
        if group.iter().any(|f| f.scope != Scope::Workspace) {
            for lost in group.extract_if(.., |f| f.scope == Scope::Workspace) {
                let error = Error::new(Kind::Manifest, format!("the user's own plugin has the name `{name}` too, and stays"));
                broken(lost.shown, String::new(), error);
            }
        }
        if group.len() > 1 {
            let folders = group.iter().map(|f| f.shown.clone()).collect::<Vec<_>>().join(" and ");
            let error = Error::new(Kind::Manifest, format!("the plugins in {folders} have one name, `{name}`; remove or rename one"));
            broken(name.clone(), name, error);
            continue;
        }
        found.append(&mut group);
    }
    found
}

/// By this a call may ask for a plugin whose manifest names it no more.
fn last_part(folder: &Path) -> String {
    folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn open(settings: &Settings, dir: &SourceDir) -> Result<Folder, Error> {
    let opened = match (dir.scope, dir.folder.to_str()) {
        (Scope::Workspace, Some(".")) => Folder::open(settings.workspace.folder.path()),
        (Scope::Workspace, Some(below)) => settings.workspace.folder.folder(below),
        (Scope::Workspace, None) => Err(ReadError::Outside),
        _ => Folder::open(&dir.folder),
    };
    opened.map_err(|e| Error::new(Kind::Manifest, format!("the plugin folder that {} names: {e}", dir.origin)))
}

/// The folder itself where it is a plugin, else its subfolders that are; those that are links go to `linked`.
fn candidates(folder: Folder, dir: &SourceDir, mut linked: impl FnMut(PathBuf, Error)) -> Result<Vec<Folder>, Error> {
    if dir.single || folder.has(manifest::FILE) {
        return Ok(vec![folder]);
    }
    let names = folder.names().map_err(|e| Error::new(Kind::Manifest, format!("the plugin folder that {} names: {e}", dir.origin)))?;
    let mut found = Vec::new();
    for name in names {
        match folder.folder(&name) {
            Ok(below) if below.has(manifest::FILE) => found.push(below),
            Err(error @ ReadError::Link) => linked(folder.path().join(&name), Error::new(Kind::Manifest, error.to_string())),
            // A file, or a folder that is no plugin.
            _ => {}
        }
    }
    Ok(found)
}

fn read_manifest(settings: &Settings, folder: Folder, scope: Scope) -> Result<Found, Error> {
    let shown = clean::line(&shown(folder.path(), settings.workspace.folder.path()), clean::NAME);
    let name = format!("{shown}/{}", manifest::FILE);
    let bytes = folder.read(manifest::FILE, manifest::MAX).map_err(|e| Error::new(Kind::Manifest, format!("{name}: {e}")))?;
    let mut manifest = Manifest::parse(&name, &bytes)?;
    for request in &mut manifest.requests {
        if let Capability::Fs(_, path) = &request.capability {
            request.resolved = settings.workspace.resolve(path).ok();
        }
    }
    Ok(Found { folder, shown, scope, manifest, bytes })
}

async fn load_one(
    settings: &Settings,
    sandbox: &Sandbox,
    found: Found,
    world: World,
    quarantined: &mut Vec<Quarantined>,
    watcher: Option<&dyn Watcher>,
) -> Result<Plugin, Error> {
    let Found { folder, shown, scope, manifest, bytes } = found;
    let path = format!("{shown}/{}", clean::line(&manifest.component, clean::NAME));
    let about = |mut error: Error| {
        error.message = format!("{path}: {}", error.message);
        error
    };
    let limits = manifest.limits(&settings.limits);
    let file = folder.open_file(&manifest.component, settings.limits.get(Limit::Component));
    let file = file.map_err(|e| about(Error::new(Kind::Component, e.to_string())))?;
    let name = manifest.name.as_str();
    let compiling = |starts: bool| match watcher {
        Some(watcher) if starts => watcher.compiling(name),
        Some(watcher) => watcher.compiled(name),
        None => {}
    };
    if scope == Scope::Workspace {
        as_trusted(settings, &folder, manifest::FILE, &Sha256::digest(&bytes).into())?;
    }
    let (digest, component) = sandbox.prepare(file, world, &limits, &compiling).await.map_err(about)?;
    if scope == Scope::Workspace {
        as_trusted(settings, &folder, &manifest.component, &digest)?;
    }
    let tools = match world {
        World::Plugin => tools(&manifest, &component, &limits, quarantined).await.map_err(about)?,
        World::Hook => Vec::new(),
    };
    let identity = identity(&bytes, &digest);
    let mut grants = grants_for(settings, scope, name, identity);
    let effective = effective(&manifest.requests, &grants);
    let mut place = 0..;
    grants.retain(|_| place.next().is_some_and(|place| effective.used.contains(&place)));
    let granted = |name: &String| config::secret(&settings.home, name);
    let variables = effective.variables.iter().map(|name| Ok(granted(name)?.map(|value| (name.clone(), value))));
    let variables = variables.filter_map(Result::transpose).collect::<Result<Vec<_>, Error>>()?;
    let secrets = effective.secrets.iter().map(|AuthGrant { name, origin, header }| {
        Ok(Secret { name: name.clone(), origin: origin.clone(), header: header.clone(), value: granted(name)? })
    });
    let secrets = secrets.collect::<Result<Vec<_>, Error>>()?;
    let reach = Reach::open(&effective.folders, variables).map_err(|e| Error::new(Kind::Io, e.to_string()))?;
    let mut reach = reach.with_network(effective.origins.clone(), secrets);
    if effective.store {
        reach = reach.with_store(config::store_file(&settings.home, scope, folder.path(), name));
    }
    Ok(Plugin { manifest, identity, scope, folder: shown, effective, grants, component: Arc::new(component), reach, limits, tools })
}

/// Whether a file of the workspace that was read now is one that was trusted: it may have been exchanged in between.
fn as_trusted(settings: &Settings, folder: &Folder, name: &str, digest: &WasmDigest) -> Result<(), Error> {
    let Some(files) = &settings.workspace_trust.files else { return Ok(()) };
    let path = folder.path().strip_prefix(settings.workspace.folder.path()).unwrap_or(folder.path()).join(name);
    let known = path.to_str().and_then(|path| files.get(path));
    if known.is_some_and(|known| *known == config::hex(digest)) {
        return Ok(());
    }
    let path = clean::line(&path.display().to_string(), clean::NAME);
    Err(Error::new(Kind::Manifest, format!("{path} is not what was trusted")).hint("palisade trust"))
}

/// The tools a component defines. When all of them passed every check, neither it nor the checks are asked again.
async fn tools(
    manifest: &Manifest,
    component: &Prepared,
    limits: &Limits,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Vec<ToolSpec>, Error> {
    if let Some(kept) = component.kept_definitions() {
        return definitions::checked_before(&manifest.name, kept);
    }
    let given = component
        .definitions(limits)
        .await
        .map_err(|f| Error::new(Kind::Component, format!("its definitions cannot be read ({}): {}", f.kind.name(), f.message)))?;
    let tools = definitions::check(&manifest.name, given.clone(), ToolId::parse, quarantined)?;
    if tools.len() == given.len() {
        component.keep_definitions(&given);
    }
    Ok(tools)
}

/// The grants that name a source: flags bind to what flags or `plugin add` supplied, stored grants to exact bytes.
fn grants_for(settings: &Settings, scope: Scope, name: &str, identity: Identity) -> Vec<Grant> {
    let binds = |grant: &&Grant| {
        let binds = match grant.identity {
            None => takes_flags(scope),
            Some(granted) => scope != Scope::Flag && granted == identity,
        };
        binds && grant.source.as_str() == name
    };
    settings.grants.iter().filter(binds).cloned().collect()
}

fn takes_flags(scope: Scope) -> bool {
    matches!(scope, Scope::Flag | Scope::Added)
}

/// The identity of a plugin: over the digests of manifest and component, so that no byte can move from one to the other.
fn identity(manifest: &[u8], component: &WasmDigest) -> Identity {
    let both = Sha256::new().chain_update(Sha256::digest(manifest)).chain_update(component);
    Identity(both.finalize().into())
}

/// Flag grants that meet no request of a plugin that they could bind to.
fn unused_grants(settings: &Settings, found: &[Found]) -> Vec<(String, Origin)> {
    let used = |grant: &Grant| {
        let mut plugins = found.iter().filter(|f| takes_flags(f.scope) && f.manifest.name == grant.source);
        plugins.any(|f| !effective(&f.manifest.requests, std::slice::from_ref(grant)).used.is_empty())
    };
    let flags = settings.grants.iter().filter(|grant| grant.identity.is_none() && !used(grant));
    flags.map(|grant| (grant.to_string(), grant.origin.clone())).collect()
}
