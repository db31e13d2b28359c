//! The registry, and the one path a call takes.
//!
//! The rule it keeps: [`Host::call`] is the only way to run a tool. It gathers the facts, lets the gate decide, has the
//! decision recorded, and only then hands the authorized call to the lane. Listing asks the same gate.
//!
//! Where the rule ends: what a call may reach was fixed when its source was loaded; how it runs is the sandbox's business.
//!
//! Never here: prompts, budgets of a session, a terminal, MCP.

use crate::audit::{self, Audit};
use crate::clean;
use crate::config::{ServerEntry, Settings};
use crate::error::{Error, Kind};
use crate::lane::{dispatch, stats};
use crate::mcp::Server;
use crate::plugins::{self, Plugin, Quarantined, Watcher};
use crate::record::{CallRecord, Decision, Denial};
use crate::registry::{Left, Provider, Registered, Tool, register, servers};
use crate::remedy::{absent_line, accepting, refused_line, stuck};
use crate::sandbox::{Allocator, CodeCache, Compiler, Refused, Run, Sandbox};
use crate::skills::{self, Skill};
use crate::{config, json, redact};
use palisade_policy::{Authorized, Candidate, Identity, Limit, Limits, Origin, Policy, Refusal, Rule, Verdict};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A request to run a tool.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The tool's id; any text.
    pub id: String,
    /// The arguments: the bytes as they came.
    pub arguments: Arc<[u8]>,
}

impl ToolCall {
    /// A call with arguments given as text.
    ///
    /// ```
    /// let call = palisade::ToolCall::new("text-stats/count", r#"{"text": "a b"}"#);
    /// assert_eq!(call.id, "text-stats/count");
    /// ```
    #[must_use]
    pub fn new(id: &str, arguments: &str) -> Self {
        Self { id: id.to_owned(), arguments: arguments.as_bytes().into() }
    }
}

/// How a host is loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions<'a> {
    /// How memory for instances is found.
    pub allocator: Allocator,
    /// Load only this source: all that a single call needs.
    pub only: Option<&'a str>,
    /// The skill that is active: its `allowed-tools` narrow what is offered.
    pub skill: Option<&'a str>,
    /// The program that compiles components in a fenced child, see [`Compiler`]; without it only what was compiled before
    /// runs.
    pub compiler: Option<&'a Path>,
    /// Told what is being compiled, which can take a while.
    pub watcher: Option<&'a dyn Watcher>,
    /// How large the audit log of calls may grow; without it none is kept. The command line always keeps one.
    pub audit: Option<audit::Sizes>,
    /// A host that this one takes the place of while it serves: its engines, external servers, audit log and numbers go on,
    /// and of the user's own folders only what was there at first runs, or what was granted since.
    pub before: Option<&'a Host>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self { allocator: Allocator::Pool(POOL), only: None, skill: None, compiler: None, watcher: None, audit: None, before: None }
    }
}

/// Slots of the pool: calls that run at the same time.
pub const POOL: u32 = 64;

/// Everything that was loaded, behind the gate.
#[derive(Debug)]
pub struct Host {
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    tools: BTreeMap<String, Arc<Tool>>,
    // Looked up on the way of each call; the ordered map is for listing.
    pub(crate) by_id: HashMap<String, Arc<Tool>>,
    by_mcp_name: HashMap<String, String>,
    plugins: Vec<Arc<Plugin>>,
    pub(crate) servers: Vec<Arc<Server>>,
    /// Servers that nobody accepted yet.
    held: Vec<ServerEntry>,
    skills: skills::Found,
    /// The skill that narrows the tools.
    active: Option<Arc<Skill>>,
    quarantined: Vec<Quarantined>,
    warnings: Vec<String>,
    sandbox: Option<Arc<Sandbox>>,
    denials: Arc<AtomicU64>,
    audit: Option<Arc<Audit>>,
    /// Plugins of the user's folders that were there when serving began.
    first: Arc<HashSet<Identity>>,
    /// Why what the workspace names does not count any more.
    withdrawn: OnceLock<String>,
}

/// Why a call does not reach a lane.
enum Stop {
    Refused(Refusal),
    Absent(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Host {
    /// Loads what the settings allow.
    ///
    /// # Errors
    /// Where the sandbox itself cannot be made. A broken source is set aside, see [`Host::quarantined`].
    pub async fn load(settings: Settings, options: LoadOptions<'_>) -> Result<Self, Error> {
        let mut warnings = settings.warnings.clone();
        let mut loaded = plugins::Loaded::default();
        let mut sandbox = None;
        let mut skills = skills::find(&settings);
        let bundled = skills.bundled();
        let active = options.skill.map(|name| skills.named(&settings, name)).transpose()?;
        // Nothing of a withheld subsystem is touched, and without sources there is nothing to compile for.
        if !(settings.plugin_dirs.is_empty() && bundled.is_empty()) {
            let cache = code_cache(&settings.home);
            if cache.is_none() {
                warnings.push(format!("compiled code is not kept: {} is not this user's alone", settings.home.cache.display()));
            }
            let before = options.before.filter(|host| host.settings.limits == settings.limits).and_then(|host| host.sandbox.clone());
            let engines = match before {
                Some(before) => before,
                None => Arc::new(Sandbox::new(options.allocator, &settings.limits, cache, options.compiler.map(Compiler::new))?),
            };
            loaded = plugins::load(&settings, &engines, bundled, options.only, options.watcher).await;
            // Asked after loading: the engines for large components are made with the first of them.
            warnings.extend(engines.fallback().map(str::to_owned));
            sandbox = Some(engines);
        }
        loaded.quarantined.extend(skills.quarantined.iter().cloned());
        let same = options.before.filter(|host| host.settings.profile.name == settings.profile.name);
        let audit = same.map_or_else(|| options.audit.map(|sizes| Arc::new(Audit::new(&settings, sizes))), |host| host.audit.clone());
        let denials = options.before.map(|host| host.denials.clone()).unwrap_or_default();
        let servers = servers(&settings, &options, &mut loaded);
        let own = loaded.plugins.iter().filter(|plugin| plugin.scope == config::Scope::User).map(|plugin| plugin.identity);
        let first = options.before.map_or_else(|| Arc::new(own.collect()), |host| host.first.clone());
        let registered = register(&settings, loaded, servers, active.as_deref(), &first);
        let Registered { policy, tools, by_mcp_name, plugins, servers, held, quarantined, warnings: more } = registered;
        warnings.extend(more);
        let by_id = tools.iter().map(|(id, tool)| (id.clone(), tool.clone())).collect();
        let withdrawn = OnceLock::new();
        Ok(Self {
            settings,
            policy,
            tools,
            by_id,
            by_mcp_name,
            plugins,
            servers,
            held,
            skills,
            active,
            quarantined,
            warnings,
            sandbox,
            denials,
            audit,
            first,
            withdrawn,
        })
    }

    /// What was decided before loading.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The limits of a session and of calls, before a manifest lowers them.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// All registered tools, in the order of their ids.
    pub fn tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values()
    }

    /// The registered tool of an id.
    #[must_use]
    pub fn tool(&self, id: &str) -> Option<&Arc<Tool>> {
        self.by_id.get(id)
    }

    /// The loaded plugins.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<Plugin>] {
        &self.plugins
    }

    /// The skills; of a workspace only while what it names counts.
    pub fn skills(&self) -> impl Iterator<Item = &Arc<Skill>> {
        self.skills.skills.iter().filter(|skill| skill.scope != config::Scope::Workspace || self.withdrawn.get().is_none())
    }

    /// What of skills was set aside: the skill itself, or what it brings.
    pub fn broken_skills(&self) -> impl Iterator<Item = &Quarantined> {
        let brought = |q: &&Quarantined| {
            let source = q.key.split('/').next().unwrap_or_default();
            self.skills.skills.iter().any(|skill| skill.brings_tools && skill.name == source)
        };
        self.skills.quarantined.iter().chain(self.quarantined.iter().filter(brought))
    }

    /// The skill that is active.
    #[must_use]
    pub fn active_skill(&self) -> Option<&Arc<Skill>> {
        self.active.as_ref()
    }

    /// What a skill leaves of the tools while it is active.
    #[must_use]
    pub fn left_by(&self, skill: &Skill) -> Left {
        Left::by(skill, &self.tools, &self.by_mcp_name)
    }

    /// The external servers that were accepted.
    #[must_use]
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The external servers that nobody accepted yet.
    #[must_use]
    pub fn unaccepted(&self) -> &[ServerEntry] {
        &self.held
    }

    /// Starts all external servers at once; none waits for another, and `told` hears of each that does not start.
    pub fn prefetch(&self, told: impl Fn(Error) + Clone + Send + 'static) {
        for server in &self.servers {
            let (server, told) = (server.clone(), told.clone());
            tokio::spawn(async move { server.ready().await.map_or_else(told, drop) });
        }
    }

    /// What was set aside, and why.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }

    /// What a person should know.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How memory for instances is found, and why it is not the pool where that was wanted; `None` where there is nothing
    /// to run.
    #[must_use]
    pub fn allocator(&self) -> Option<(Allocator, Option<&str>)> {
        self.sandbox.as_ref().map(|sandbox| (sandbox.allocator(), sandbox.fallback()))
    }

    /// The id of the tool that MCP clients know under a name.
    #[must_use]
    pub fn id_of_mcp_name(&self, name: &str) -> Option<&str> {
        self.by_mcp_name.get(name).map(String::as_str)
    }

    /// Steps 1 to 5 of the gate: a tool is listed exactly when they pass.
    ///
    /// # Errors
    /// The first rule that denies.
    pub fn admit(&self, tool: &Tool) -> Result<(), Refusal> {
        let _ = self.policy.admit(&tool.candidate)?;
        self.held(tool).map_or(Ok(()), Err)
    }

    /// Gives a refusal its number, where nobody asked for a call.
    pub fn denial(&self, id: &str, refusal: Refusal) -> Denial {
        Denial::new(self.denials.fetch_add(1, Ordering::Relaxed) + 1, id, refusal)
    }

    /// The denial of a call, in the audit log too. Where that cannot be written it stands all the same, and the error is for
    /// the operator.
    pub fn denied(&self, id: &str, refusal: Refusal, arguments: Option<&[u8]>) -> (Denial, Option<Error>) {
        let denial = self.denial(id, refusal);
        let identity = self.by_id.get(id).map(|tool| tool.provider.identity());
        let written = self.audit.as_ref().map(|audit| audit.denied(&denial, identity, arguments));
        (denial, written.and_then(Result::err))
    }

    /// Runs one tool: gate, audit log, record, lane. `recorded` gets the decision before anything runs, and after the audit
    /// log holds it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] and [`Kind::Quarantined`]; [`Kind::Io`] where the audit log cannot be written, and so the call did
    /// not run. All else that can happen to a call is in its record.
    pub async fn call(&self, call: ToolCall, budget: Verdict, run: Run, recorded: impl FnOnce(&Decision<'_>)) -> Result<CallRecord, Error> {
        self.ready(&call.id).await?;
        let start = Instant::now();
        match self.decide(&call, budget) {
            Ok(authorized) => {
                let gate = start.elapsed();
                let running = match &self.audit {
                    Some(audit) => {
                        // What was authorized is registered; were it not, it would not run.
                        let tool = self.by_id.get(&call.id).ok_or_else(|| self.absent(&call.id))?;
                        Some(audit.allowed(tool.spec.id.as_str(), tool.provider.identity(), Some(&call.arguments))?)
                    }
                    None => None,
                };
                recorded(&Decision { tool: call.id, denial: None, gate, unrecorded: None });
                let (mut record, refused) = dispatch(authorized, run, start, gate).await;
                self.tell(&mut record, refused);
                record.unrecorded = running.and_then(|running| running.ended(&record).err());
                Ok(record)
            }
            Err(Stop::Absent(error)) => {
                self.audit.as_ref().map_or(Ok(()), |audit| audit.absent(&call.id, error.kind, Some(&call.arguments)))?;
                Err(error)
            }
            Err(Stop::Refused(refusal)) => {
                let gate = start.elapsed();
                let (denial, unrecorded) = self.denied(&call.id, refusal, Some(&call.arguments));
                recorded(&Decision { tool: denial.tool.clone(), denial: Some(&denial), gate, unrecorded: unrecorded.as_ref() });
                let lane = self.by_id.get(&call.id).map_or("wasm", |tool| tool.provider.lane());
                Ok(CallRecord::denied(denial, lane, stats(lane, gate, gate, 0)))
            }
        }
    }

    /// Starts the server of a tool, where it has one and the gate admits the tool; what the server is by then decides too.
    async fn ready(&self, id: &str) -> Result<(), Error> {
        match self.by_id.get(id) {
            Some(tool) => match &tool.provider {
                Provider::Server(server) if self.policy.admit(&tool.candidate).is_ok() => server.ready().await.map(drop),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Why a tool does not run that the policy admits: what became of its source since it was loaded.
    pub(crate) fn held(&self, tool: &Tool) -> Option<Refusal> {
        let theirs = tool.plugin().filter(|plugin| plugin.scope == config::Scope::Workspace);
        match theirs.and_then(|plugin| Some((self.settings.init.of(plugin.subsystem), self.withdrawn.get()?))) {
            Some((init, why)) => {
                Some(Refusal { rule: Rule::Trust, source: init.origin.clone(), reason: why.clone(), remedy: init.remedy.clone() })
            }
            None => tool.changed(&self.settings),
        }
    }

    /// What the workspace names does not count any more: it is not what was trusted, or cannot be read.
    pub(crate) fn withdraw(&self, why: &str) {
        let _ = self.withdrawn.set(format!("what the workspace names was withdrawn: {why}"));
    }

    /// Why no tool of a source is there that nobody accepted.
    pub(crate) fn held_back(&self, id: &str) -> Option<Refusal> {
        let source = id.split('/').next().unwrap_or_default();
        let entry = self.held.iter().find(|entry| entry.name.as_str() == source)?;
        let reason = format!("nobody accepted the MCP server {} as it stands there", entry.name);
        Some(Refusal { rule: Rule::Grant, source: entry.origin.clone(), reason, remedy: accepting(&self.settings, entry) })
    }

    /// What the operator reads of what a call was not granted.
    fn tell(&self, record: &mut CallRecord, refused: Vec<Refused>) {
        let Some(plugin) = self.by_id.get(&record.tool).and_then(|tool| tool.plugin()) else { return };
        record.refused = refused.into_iter().map(|one| refused_line(&self.settings, plugin, one)).collect();
        if record.error.as_ref().is_some_and(|error| error.kind == Kind::ToolFailed) {
            record.absent = plugin.effective.absent.iter().map(|one| absent_line(&self.settings, plugin, one)).collect();
        }
    }

    /// The gate, in order.
    fn decide(&self, call: &ToolCall, budget: Verdict) -> Result<Authorized<'_, Arc<Tool>>, Stop> {
        let Some(tool) = self.by_id.get(&call.id) else {
            return Err(match self.policy.admit(&Candidate::unregistered(&call.id)) {
                Err(refusal) => refusal.into(),
                Ok(_) => self.held_back(&call.id).map_or_else(|| Stop::Absent(self.absent(&call.id)), Stop::Refused),
            });
        };
        let admitted = self.policy.admit(&tool.candidate)?;
        match &tool.provider {
            Provider::Plugin(plugin) if plugin.component.is_stuck() => return Err(Stop::Absent(stuck(tool.spec.id.as_str(), plugin))),
            _ => self.held(tool).map_or(Ok(()), Err)?,
        }
        let checked = admitted.arguments(arguments(tool, &call.arguments))?;
        let budgeted = checked.budget(budget)?;
        // No hook is configured, so no guard denies.
        Ok(budgeted.guards(tool.clone(), call.arguments.clone(), Verdict::pass())?)
    }

    pub(crate) fn absent(&self, id: &str) -> Error {
        let source = id.split('/').next().unwrap_or_default();
        let broken = self
            .quarantined
            .iter()
            .find(|q| q.key == id)
            .or_else(|| self.quarantined.iter().find(|q| q.key == source && !source.is_empty()));
        let shown = redact::line(id, clean::NAME);
        match broken {
            Some(broken) => {
                let reason = format!(
                    "{shown} is not available: {} is quarantined ({}): {}",
                    broken.source,
                    broken.error.kind.name(),
                    broken.error.message
                );
                let error = Error::new(Kind::Quarantined, reason);
                match &broken.error.hint {
                    Some(hint) => error.hint(hint.clone()),
                    None => error,
                }
            }
            None => Error::new(Kind::NotFound, format!("there is no tool {shown}")).hint("palisade tools lists what there is"),
        }
    }
}

/// The user's cache of compiled code; `None` where it could not be this user's alone.
#[must_use]
pub fn code_cache(home: &config::Home) -> Option<CodeCache> {
    config::make_folder(&home.cache).ok()?;
    CodeCache::open(&home.cache.join("code"), home.key().ok()?)
}

/// Step 6: size, strict JSON, schema.
pub(crate) fn arguments(tool: &Tool, given: &[u8]) -> Verdict {
    let limit = tool.provider.limits().get(Limit::Arguments);
    let deny = |reason: String| Verdict::deny(Origin::BuiltIn, reason, None);
    if given.len() as u64 > limit {
        return deny(format!("they have {} bytes; the limit is {}", given.len(), Limit::Arguments.show(limit)));
    }
    let checked = json::parse(given).and_then(|value| tool.spec.input.validate(&value, given.len()));
    match checked {
        Ok(()) => Verdict::pass(),
        Err(reason) => deny(reason),
    }
}
