//! What is registered: tools, and where each comes from.

use crate::clean;
use crate::config::{Scope, ServerEntry, Settings};
use crate::error::{Error, Kind};
use crate::host::LoadOptions;
use crate::mcp::{self, Server};
use crate::plugins::{self, Plugin, Quarantined, ToolSpec};
use crate::remedy::{accepting, granting, missing, pinned, trust};
use crate::skills::Skill;
use palisade_policy::{Candidate, Identity, Limits, Origin, Policy, Refusal, Rule, Subsystem, ToolId, mcp_name};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A registered tool.
#[derive(Debug)]
pub struct Tool {
    /// What its source says of it.
    pub spec: ToolSpec,
    /// The name under which MCP clients see it.
    pub mcp_name: String,
    /// Its source.
    pub provider: Provider,
    pub(crate) candidate: Candidate,
}

/// Where a tool comes from, and so how its calls run.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A component, in the sandbox.
    Plugin(Arc<Plugin>),
    /// An external server, by a request.
    Server(Arc<Server>),
}

impl Provider {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Plugin(plugin) => &plugin.identity,
            Self::Server(server) => &server.identity,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        match self {
            Self::Plugin(plugin) => &plugin.limits,
            Self::Server(server) => server.limits(),
        }
    }

    /// How its calls run.
    #[must_use]
    pub fn lane(&self) -> &'static str {
        match self {
            Self::Plugin(_) => "wasm",
            Self::Server(_) => "mcp",
        }
    }
}

impl Tool {
    /// What its source is: `plugin`, `skill` or `mcp`.
    #[must_use]
    pub fn source_kind(&self) -> &'static str {
        match &self.provider {
            Provider::Plugin(plugin) if plugin.subsystem == Subsystem::SkillInit => "skill",
            Provider::Plugin(_) => "plugin",
            Provider::Server(_) => "mcp",
        }
    }

    /// The plugin it belongs to, where it belongs to one.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.provider {
            Provider::Plugin(plugin) => Some(plugin),
            Provider::Server(_) => None,
        }
    }

    /// Whether its server changed it since it was accepted, which only the running server tells.
    pub(crate) fn changed(&self, settings: &Settings) -> Option<Refusal> {
        let Provider::Server(server) = &self.provider else { return None };
        let why = server.changed(self.spec.id.tool())?;
        let reason = format!("{}: {why}", self.spec.id);
        Some(Refusal { rule: Rule::Pin, source: server.entry.origin.clone(), reason, remedy: accepting(settings, &server.entry) })
    }
}

/// The external servers of the settings: those that were accepted, with their tools, and the others.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) accepted: Vec<(Arc<Server>, Vec<ToolSpec>)>,
    pub(crate) held: Vec<ServerEntry>,
}

/// Nothing is started: the tools are those that were accepted.
pub(crate) fn servers(settings: &Settings, options: &LoadOptions<'_>, loaded: &mut plugins::Loaded) -> Servers {
    let mut servers = Servers::default();
    for (key, error) in &settings.broken_servers {
        loaded.quarantined.push(Quarantined { source: clean::line(key, 64), key: key.clone(), error: error.clone() });
    }
    for entry in &settings.servers {
        let entry = &mut entry.clone();
        let name = entry.name.to_string();
        if options.only.is_some_and(|only| only != name) {
            continue;
        }
        let twin = loaded.plugins.iter().any(|plugin| plugin.manifest.name == entry.name);
        let tools = match mcp::accepted(settings, entry) {
            _ if twin => Err(Error::new(Kind::Config, format!("{}: a plugin has the name `{name}` too; rename one", entry.origin))),
            Ok(None) => {
                servers.held.push(entry.clone());
                continue;
            }
            Ok(Some(tools)) => plugins::check_definitions(&entry.name, tools.clone(), ToolId::parse_mcp, &mut loaded.quarantined)
                .map(|specs| (tools, specs)),
            Err(error) => Err(error),
        };
        match tools {
            Ok((tools, specs)) => {
                let limits = &settings.limits;
                let mut running = options.before.into_iter().flat_map(|host| &host.servers);
                // One that runs already, and is what it was, runs on.
                if let Some(server) = running.find(|server| server.identity == entry.identity() && server.goes_on(entry, &tools, limits)) {
                    servers.accepted.push((server.clone(), specs));
                    continue;
                }
                let server = Server::new(entry.clone(), tools, &settings.home, settings.workspace.folder.path(), &settings.limits);
                let server = match options.compiler {
                    Some(program) => server.supervised_by(program),
                    None => server,
                };
                servers.accepted.push((Arc::new(server), specs));
            }
            Err(error) => loaded.quarantined.push(Quarantined { source: name.clone(), key: name, error }),
        }
    }
    servers
}

/// Most deny entries that are named for matching nothing.
const UNMATCHED: usize = 20;

/// What there is once everything is loaded.
pub(crate) struct Registered {
    pub(crate) policy: Policy,
    pub(crate) tools: BTreeMap<String, Arc<Tool>>,
    pub(crate) by_mcp_name: HashMap<String, String>,
    pub(crate) plugins: Vec<Arc<Plugin>>,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) held: Vec<ServerEntry>,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) warnings: Vec<String>,
}

/// Every tool with what the gate must know of it, and the gate's policy. `first` are the plugins of the user's folders that
/// were there when serving began.
pub(crate) fn register(
    settings: &Settings,
    loaded: plugins::Loaded,
    mut servers: Servers,
    active: Option<&Skill>,
    first: &HashSet<Identity>,
) -> Registered {
    let mut policy = Policy::new(settings.deny.clone(), settings.init.clone(), settings.withheld.clone());
    if let Some(others) = settings.others.clone() {
        policy = policy.with_others(settings.pins.iter().map(|(name, ..)| name.clone()).collect(), others);
    }
    let (mut tools, mut plugins, mut warnings) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut by_mcp_name: HashMap<String, String> = HashMap::new();
    let mut quarantined = loaded.quarantined;
    let mut add = |spec: ToolSpec, provider: Provider, candidate: Candidate| {
        let (id, mcp_name) = (spec.id.as_str().to_owned(), mcp_name(spec.id.source(), spec.id.tool()));
        if let Some(other) = by_mcp_name.get(&mcp_name) {
            let error = Error::new(Kind::Schema, format!("{id} and {other} have one name for MCP clients, {mcp_name}"));
            quarantined.push(Quarantined { source: id.clone(), key: id, error });
            return;
        }
        by_mcp_name.insert(mcp_name.clone(), id.clone());
        tools.insert(id, Arc::new(Tool { spec, mcp_name, provider, candidate }));
    };
    for mut plugin in loaded.plugins {
        let specs = Arc::get_mut(&mut plugin).map(|p| std::mem::take(&mut p.tools)).unwrap_or_default();
        let (pin, missing) = (pinned(settings, &plugin, &specs), missing(settings, &plugin));
        let pin = pin.or_else(|| appeared(&plugin, first));
        let (granting, trust) = (granting(settings, &plugin, &missing), trust(settings, &plugin));
        let granted: Vec<_> = plugin.grants.iter().map(|grant| (grant.capability.clone(), grant.origin.clone())).collect();
        for spec in specs {
            let candidate = Candidate::new(spec.id.clone(), plugin.subsystem);
            let candidate = candidate.with_missing(missing.clone(), granting.clone()).with_granted(granted.clone());
            let candidate = candidate.with_trust(trust.clone());
            let candidate = match pin.clone() {
                None => candidate,
                Some((true, pin, what)) => candidate.with_pin(pin, what),
                Some((false, pin, difference)) => candidate.with_pin_mismatch(pin, difference),
            };
            add(spec, Provider::Plugin(plugin.clone()), candidate);
        }
        plugins.push(plugin);
    }
    for (server, specs) in &mut servers.accepted {
        for spec in specs.drain(..) {
            let candidate = Candidate::new(spec.id.clone(), Subsystem::McpPrefetch);
            add(spec, Provider::Server(server.clone()), candidate);
        }
    }
    for (grant, origin) in &loaded.unused_grants {
        warnings.push(format!(
            "the grant {} ({origin}) matches no request of a plugin that a flag named or that was added",
            clean::line(grant, 300)
        ));
    }
    // Only when everything was read can a deny be said to match nothing.
    let all =
        settings.withheld.is_none() && !settings.init.of(Subsystem::SkillInit).withheld && loaded.skipped == 0 && servers.held.is_empty();
    if settings.init.of(Subsystem::PluginInit).enabled && all {
        let ids = tools.values().map(|tool: &Arc<Tool>| (tool.spec.id.source(), tool.spec.id.tool()));
        let unmatched = settings.deny.unmatched(ids);
        if let Some(more) = unmatched.len().checked_sub(UNMATCHED).filter(|more| *more > 0) {
            warnings.push(format!("{more} more deny entries match no tool"));
        }
        for (entry, origin) in unmatched.into_iter().take(UNMATCHED) {
            warnings.push(format!("the deny entry `{}` ({origin}) matches no tool", clean::line(&entry, clean::NAME)));
        }
    }
    if let Some(skill) = active {
        let left = Left::by(skill, &tools, &by_mcp_name);
        if let Some(ignored) = left.told(skill) {
            warnings.push(ignored);
        }
        if let (Some(allowed), Some(ids)) = (&skill.allowed, left.tools) {
            let reason = format!("it is none of the tools that the active skill `{}` leaves", skill.name);
            policy = policy.with_narrowing(ids, skill.origin(allowed.line), reason);
        }
    }
    let held = servers.held;
    let servers = servers.accepted.into_iter().map(|(server, _)| server).collect();
    Registered { policy, tools, by_mcp_name, plugins, servers, held, quarantined, warnings }
}

/// A plugin of the user's own folders that came while it was served: nobody said yes to it.
fn appeared(plugin: &Plugin, first: &HashSet<Identity>) -> Option<(bool, Origin, String)> {
    let new = plugin.scope == Scope::User && !first.contains(&plugin.identity) && plugin.grants.is_empty();
    let what = format!("{} came or changed while it was served; start the server again to let it in", plugin.manifest.name);
    new.then_some((false, Origin::BuiltIn, what))
}

/// What an active skill leaves of the tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Their ids; `None` where it leaves all.
    pub tools: Option<Vec<String>>,
    /// Names in its `allowed-tools` that are no tool here, cleaned.
    pub ignored: Vec<String>,
}

impl Left {
    /// A name is an id, or what MCP clients call it. What is no tool of ours gives nothing; where nothing is left the skill
    /// has its own tools.
    pub(crate) fn by(skill: &Skill, tools: &BTreeMap<String, Arc<Tool>>, by_mcp_name: &HashMap<String, String>) -> Self {
        let Some(allowed) = &skill.allowed else { return Self { tools: None, ignored: Vec::new() } };
        let (mut left, mut ignored) = (Vec::new(), Vec::new());
        for name in &allowed.names {
            let plain = name.strip_prefix("mcp__palisade__").unwrap_or(name);
            match tools.get_key_value(name).map(|(id, _)| id).or_else(|| by_mcp_name.get(plain)) {
                Some(id) => left.push(id.clone()),
                None => ignored.push(clean::line(name, clean::NAME)),
            }
        }
        if left.is_empty() {
            let own = |tool: &&Arc<Tool>| {
                let brought = tool.plugin().is_some_and(|plugin| plugin.subsystem == Subsystem::SkillInit);
                brought && tool.spec.id.source() == skill.name
            };
            left.extend(tools.values().filter(own).map(|tool| tool.spec.id.as_str().to_owned()));
        }
        Self { tools: Some(left), ignored }
    }

    /// What a person should know of the names that are no tool.
    #[must_use]
    pub fn told(&self, skill: &Skill) -> Option<String> {
        let line = skill.allowed.as_ref()?.line;
        let names = self.ignored.iter().take(UNMATCHED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = self.ignored.len().saturating_sub(UNMATCHED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!self.ignored.is_empty()).then(|| format!("{}: {names}{more} in `allowed-tools`: no tool here, ignored", skill.origin(line)))
    }
}
