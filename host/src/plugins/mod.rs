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
pub use manifest::{FILE, Manifest};
pub(crate) use manifest::{MAX as MANIFEST_MAX, of_bare as bare_manifest};

use crate::config::installed::Package;
use crate::config::{Scope, Settings, SourceDir};
use crate::error::{Error, Kind};
use crate::sandbox::{AT_ONCE, Prepared, Reach, Sandbox, Secret, WasmDigest, World};
use crate::sources::{self, Facts, Place, Sort, as_trusted};
use crate::{clean, config, many};
use palisade_policy::{AuthGrant, Capability, Effective, Grant, Identity, Limit, Limits, Origin, Subsystem, ToolId, effective};
use sha2::{Digest, Sha256};
use std::path::Path;
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
    /// What initialises it: the plugins, or the skill that brings it.
    pub subsystem: Subsystem,
    /// Its folder, as an operator reads it.
    pub folder: String,
    /// Requested ∩ granted.
    pub effective: Effective,
    /// The grants that count for it.
    pub grants: Vec<Grant>,
    /// Its compiled component.
    pub component: Arc<Prepared>,
    /// The opened folders, the variables and the origins of its grants.
    pub reach: Arc<Reach>,
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
    place: Place,
    subsystem: Subsystem,
    manifest: Manifest,
    bytes: Vec<u8>,
}

/// A component that a skill brings.
pub(crate) struct Bundled {
    pub(crate) place: Place,
    /// The skill's name.
    pub(crate) skill: String,
}

const PLUGIN: Sort = Sort { file: manifest::FILE, noun: "plugin", bare: true };
const HOOK: Sort = Sort { file: manifest::FILE, noun: "hook", bare: false };

/// Told what is being compiled, by the plugin's name.
pub trait Watcher: Sync + std::fmt::Debug {
    /// A compiler starts.
    fn compiling(&self, name: &str);
    /// It ended.
    fn compiled(&self, name: &str);
}

/// Loads all plugins the settings allow and what skills bring, or only the one named `only`; as many at once as may be compiled at once.
pub(crate) async fn load(
    settings: &Settings,
    sandbox: &Sandbox,
    bundled: Vec<Bundled>,
    only: Option<&str>,
    watcher: Option<&dyn Watcher>,
) -> Loaded {
    let mut loaded = Loaded::default();
    let mut found = find(settings, bundled, &mut loaded.quarantined);
    loaded.unused_grants = unused_grants(settings, &found);
    let all = found.len();
    found.retain(|plugin| only.is_none_or(|name| name == plugin.manifest.name.as_str()));
    loaded.skipped = all - found.len();
    if found.len() >= many::MANY {
        let most = settings.limits.get(Limit::Component);
        sandbox.load_ahead(&found, |plugin| {
            if plugin.place.scope == Scope::Workspace {
                as_trusted(settings, plugin.place.folder.path(), manifest::FILE, &Sha256::digest(&plugin.bytes).into()).ok()?;
            }
            let file = plugin.place.folder.open_file(&plugin.manifest.component, most).ok()?;
            Some((file, plugin.manifest.world))
        });
    }
    let waiting = Mutex::new(found.into_iter().enumerate());
    let worker = async || {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
            let Some((place, plugin)) = next else { return done };
            let name = plugin.manifest.name.to_string();
            let mut tools = Vec::new();
            let ended = load_one(settings, sandbox, plugin, &mut tools, watcher).await;
            done.push((place, name, ended, tools));
        }
    };
    const { assert!(AT_ONCE == 2, "as many workers as compilers") };
    let (mut done, more) = tokio::join!(worker(), worker());
    done.extend(more);
    sandbox.forget_ahead();
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
    let found = read_manifest(settings, sources::place(settings, &dir, PLUGIN)?, Subsystem::PluginInit)?;
    let mut quarantined = Vec::new();
    let plugin = load_one(settings, sandbox, found, &mut quarantined, watcher).await?;
    Ok((plugin, quarantined))
}

/// Loads the hook of one folder: a component with a manifest as a plugin has, and without tools.
pub(crate) async fn load_hook(
    settings: &Settings,
    sandbox: &Sandbox,
    dir: &SourceDir,
    watcher: Option<&dyn Watcher>,
) -> Result<Plugin, Error> {
    let found = read_manifest(settings, sources::place(settings, dir, HOOK)?, Subsystem::SessionHooks)?;
    load_one(settings, sandbox, found, &mut Vec::new(), watcher).await
}

/// The bytes of a plugin in a folder a person named, as they are now.
///
/// # Errors
/// What is wrong with it.
pub fn package(settings: &Settings, folder: &Path) -> Result<Package, Error> {
    let dir = SourceDir { folder: folder.to_owned(), single: true, scope: Scope::Flag, origin: Origin::Flag("the command line") };
    let found = read_manifest(settings, sources::place(settings, &dir, PLUGIN)?, Subsystem::PluginInit)?;
    let name = found.manifest.component;
    let component = found.place.folder.read(&name, settings.limits.get(Limit::Component));
    let component = component.map_err(|e| Error::new(Kind::Component, format!("{}: {e}", clean::line(&name, clean::NAME))))?;
    let identity = identity(&found.bytes, &Sha256::digest(&component).into());
    Ok(Package { manifest: found.bytes, name, component, identity })
}

fn find(settings: &Settings, bundled: Vec<Bundled>, quarantined: &mut Vec<Quarantined>) -> Vec<Found> {
    let mut places = Vec::new();
    sources::places(settings, &settings.plugin_dirs, PLUGIN, quarantined, |place, _| places.push(place));
    let read = many::each(places, |place| {
        let (shown, key) = (place.shown.clone(), place.key());
        read_manifest(settings, place, Subsystem::PluginInit).map_err(|error| Quarantined { source: shown, key, error })
    });
    let mut found = Vec::new();
    for one in read {
        match one {
            Ok(one) => found.push(one),
            Err(broken) => quarantined.push(broken),
        }
    }
    let facts = |f: &Found| Facts { name: f.manifest.name.to_string(), shown: f.place.shown.clone(), scope: f.place.scope };
    let mut found = sources::one_of_each_name(found, PLUGIN, facts, quarantined);
    for Bundled { place, skill } in bundled {
        match bundled_manifest(settings, place, &skill, &found) {
            Ok(one) => found.push(one),
            Err(error) => {
                quarantined.push(Quarantined {
                    source: clean::line(&format!("the tools of the skill {skill}"), clean::NAME),
                    key: skill,
                    error,
                });
            }
        }
    }
    found
}

/// What a skill brings has its name, which no plugin and no server has.
fn bundled_manifest(settings: &Settings, place: Place, skill: &str, plugins: &[Found]) -> Result<Found, Error> {
    let found = read_manifest(settings, place, Subsystem::SkillInit)?;
    let name = &found.manifest.name;
    let refuse = |why: String| Err(Error::new(Kind::Manifest, format!("{}/{}: {why}", found.place.shown, manifest::FILE)));
    if name.as_str() != skill {
        return refuse(format!("`plugin.name` is {name}, and not the skill's name {}", clean::line(skill, clean::NAME)));
    }
    let taken = plugins.iter().find(|plugin| plugin.manifest.name == *name).map(|plugin| format!("the plugin in {}", plugin.place.shown));
    let server =
        || settings.servers.iter().find(|server| server.name == *name).map(|server| format!("the MCP server of {}", server.origin));
    match taken.or_else(server) {
        Some(other) => refuse(format!("{other} has the name `{name}` too, so the skill is there without its tools; rename one")),
        None => Ok(found),
    }
}

fn read_manifest(settings: &Settings, place: Place, subsystem: Subsystem) -> Result<Found, Error> {
    let name = format!("{}/{}", place.shown, manifest::FILE);
    let bytes = match &place.component {
        Some(component) => manifest::of_bare(component)?.into_bytes(),
        None => place.folder.read(manifest::FILE, manifest::MAX).map_err(|e| Error::new(Kind::Manifest, format!("{name}: {e}")))?,
    };
    let mut manifest = Manifest::parse(&name, &bytes)?;
    for request in &mut manifest.requests {
        if let Capability::Fs(_, path) = &request.capability {
            request.resolved = settings.workspace.resolve(path).ok();
        }
    }
    Ok(Found { place, subsystem, manifest, bytes })
}

async fn load_one(
    settings: &Settings,
    sandbox: &Sandbox,
    found: Found,
    quarantined: &mut Vec<Quarantined>,
    watcher: Option<&dyn Watcher>,
) -> Result<Plugin, Error> {
    let Found { place: Place { folder, shown, scope, component: _ }, subsystem, manifest, bytes } = found;
    let path = format!("{shown}/{}", clean::line(&manifest.component, clean::NAME));
    let about = |mut error: Error| {
        error.message = format!("{path}: {}", error.message);
        error
    };
    let mut limits = manifest.limits(&settings.limits);
    if subsystem == Subsystem::SessionHooks {
        // What it says of its time is said of each run.
        limits.lower(Limit::HookTime, limits.get(Limit::Time));
    }
    let file = folder.open_file(&manifest.component, settings.limits.get(Limit::Component));
    let file = file.map_err(|e| about(Error::new(Kind::Component, e.to_string())))?;
    let name = manifest.name.as_str();
    let compiling = |starts: bool| match watcher {
        Some(watcher) if starts => watcher.compiling(name),
        Some(watcher) => watcher.compiled(name),
        None => {}
    };
    if scope == Scope::Workspace {
        as_trusted(settings, folder.path(), manifest::FILE, &Sha256::digest(&bytes).into())?;
    }
    let world = match (subsystem, manifest.world) {
        (Subsystem::SessionHooks, World::Plugin) => World::Hook,
        (Subsystem::SessionHooks, _) => {
            return Err(Error::new(Kind::Manifest, format!("{shown}/{}: `plugin.kind` is of plugins, and not of hooks", manifest::FILE)));
        }
        (_, world) => world,
    };
    let (digest, component) = sandbox.prepare(file, world, &limits, &compiling).await.map_err(about)?;
    if scope == Scope::Workspace {
        as_trusted(settings, folder.path(), &manifest.component, &digest)?;
    }
    let tools = match world {
        World::Hook => Vec::new(),
        _ => tools(&manifest, &component, &limits, quarantined).await.map_err(about)?,
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
    if component.is_program() {
        reach = reach.of_program(name, settings.home.cache.join("programs"));
    }
    if effective.store {
        reach = reach.with_store(config::store_file(&settings.home, scope, folder.path(), name));
    }
    Ok(Plugin {
        manifest,
        identity,
        scope,
        subsystem,
        folder: shown,
        effective,
        grants,
        component: Arc::new(component),
        reach: Arc::new(reach),
        limits,
        tools,
    })
}

/// The tools a component defines. When all of them passed every check, neither it nor the checks are asked again.
async fn tools(
    manifest: &Manifest,
    component: &Prepared,
    limits: &Limits,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Vec<ToolSpec>, Error> {
    // The definitions of a plugin are kept under its bytes, of which others are none of the kind.
    if manifest.world == World::Plugin
        && let Some(kept) = component.kept_definitions()
    {
        return definitions::checked_before(&manifest.name, kept);
    }
    let (mut given, refused) = component
        .definitions(limits)
        .await
        .map_err(|f| Error::new(Kind::Component, format!("its definitions cannot be read ({}): {}", f.kind.name(), f.message)))?;
    if component.is_program() {
        // All programs say the same of themselves.
        let about = manifest.description.trim();
        given.iter_mut().filter(|_| !about.is_empty()).for_each(|tool| tool.description = format!("{about} {}", tool.description));
    }
    definitions::refuse(&manifest.name, refused, quarantined);
    let tools = definitions::check(&manifest.name, given.clone(), ToolId::parse, quarantined)?;
    if manifest.world == World::Plugin && tools.len() == given.len() {
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
        let mut plugins = found.iter().filter(|f| takes_flags(f.place.scope) && f.manifest.name == grant.source);
        plugins.any(|f| !effective(&f.manifest.requests, std::slice::from_ref(grant)).used.is_empty())
    };
    let flags = settings.grants.iter().filter(|grant| grant.identity.is_none() && !used(grant));
    flags.map(|grant| (grant.to_string(), grant.origin.clone())).collect()
}
