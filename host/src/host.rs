//! The registry, and the one path a call takes.
//!
//! The rule it keeps: [`Host::answer`] is the only way to run a tool, and [`Host::call`] is that and [`Host::end`]. It gathers the
//! facts, lets the gate decide, has the decision recorded, and only then hands the authorized call to the lane. Listing asks
//! the same gate.
//!
//! Where the rule ends: what a call may reach was fixed when its source was loaded; how it runs is the sandbox's business.
//!
//! Never here: prompts, budgets of a session, a terminal, MCP.

use crate::answered::{Answered, Rest};
use crate::audit::{self, Audit};
use crate::config;
use crate::config::{HookEvent, ServerEntry, Settings};
use crate::decide::Stop;
use crate::error::{Error, Kind};
use crate::hooks::{self, Around, Hook, Hooks};
use crate::lane::{dispatch, stats};
use crate::mcp::Server;
use crate::plugins::{self, Plugin, Quarantined, Watcher};
use crate::record::{CallRecord, Decision, Denial};
use crate::registry::{Left, Provider, Registered, Tool, register, servers};
use crate::remedy::{absent_line, refused_line};
use crate::sandbox::{Allocator, CodeCache, Compiler, Refused, Run, Sandbox};
use crate::skills::{self, Skill};
use palisade_policy::{Identity, Limits, Policy, Refusal, Rule, Verdict};
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
    /// Where compiled code is kept, in the place of the folder in the home of the settings.
    pub code: Option<&'a CodeCache>,
    /// A host that this one takes the place of while it serves: its engines, external servers, audit log and numbers go on,
    /// and of the user's own folders only what was there at first runs, or what was granted since.
    pub before: Option<&'a Host>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            allocator: Allocator::Pool(POOL),
            only: None,
            skill: None,
            compiler: None,
            watcher: None,
            audit: None,
            code: None,
            before: None,
        }
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
    pub(crate) held: Vec<ServerEntry>,
    skills: skills::Found,
    /// The skill that narrows the tools.
    active: Option<Arc<Skill>>,
    pub(crate) quarantined: Vec<Quarantined>,
    warnings: Vec<String>,
    pub(crate) hooks: Hooks,
    sandbox: Option<Arc<Sandbox>>,
    denials: Arc<AtomicU64>,
    audit: Option<Arc<Audit>>,
    /// Plugins of the user's folders that were there when serving began.
    first: Arc<HashSet<Identity>>,
    /// Why what the workspace names does not count any more.
    pub(crate) withdrawn: OnceLock<String>,
}

impl Host {
    /// Loads what the settings allow.
    ///
    /// # Errors
    /// Where the skill that is to be active is not there. A broken source is set aside, see [`Host::quarantined`].
    pub async fn load(settings: Settings, options: LoadOptions<'_>) -> Result<Self, Error> {
        let mut warnings = settings.warnings.clone();
        let mut loaded = plugins::Loaded::default();
        let mut sandbox = None;
        let mut skills = skills::find(&settings);
        let bundled = skills.bundled();
        let active = options.skill.map(|name| skills.named(&settings, name)).transpose()?;
        // Nothing of a withheld subsystem is touched, and without sources there is nothing to compile for.
        let hooked = settings.hooks.iter().any(|hook| hook.withheld.is_none() && hook.commands.is_none());
        if !(settings.plugin_dirs.is_empty() && bundled.is_empty()) || hooked {
            let cache = options.code.cloned().or_else(|| code_cache(&settings.home));
            if cache.is_none() {
                warnings.push(format!("compiled code is not kept: {} is not this user's alone", settings.home.cache.display()));
            }
            let before = options.before.filter(|host| host.settings.limits == settings.limits).and_then(|host| host.sandbox.clone());
            let engines = match before {
                Some(before) => before,
                None => Arc::new(Sandbox::new(options.allocator, &settings.limits, cache, options.compiler.map(Compiler::new))),
            };
            loaded = plugins::load(&settings, &engines, bundled, options.only, options.watcher).await;
            // Asked after loading: engines are made with the first component that needs them.
            warnings.extend(engines.fallback().map(str::to_owned));
            sandbox = Some(engines);
        }
        loaded.quarantined.extend(skills.quarantined.iter().cloned());
        let this = std::env::current_exe().unwrap_or_default();
        let with = hooks::With {
            sandbox: sandbox.as_deref(),
            watcher: options.watcher,
            before: options.before.map(|host| &host.hooks),
            program: options.compiler.unwrap_or(&this),
        };
        let hooks = hooks::load(&settings, &with).await;
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
            hooks,
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
        self.refused(id, refusal, arguments, None)
    }

    fn refused(&self, id: &str, refusal: Refusal, arguments: Option<&[u8]>, replaced: Option<&[u8]>) -> (Denial, Option<Error>) {
        let denial = self.denial(id, refusal);
        let identity = self.by_id.get(id).map(|tool| tool.provider.identity());
        let written = self.audit.as_ref().map(|audit| audit.denied(&denial, identity, arguments, replaced));
        (denial, written.and_then(Result::err))
    }

    /// Runs one tool: gate, audit log, record, lane. `recorded` gets the decision before anything runs, and after the audit
    /// log holds it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] and [`Kind::Quarantined`]; [`Kind::Io`] where the audit log cannot be written, and so the call did
    /// not run. All else that can happen to a call is in its record.
    pub async fn call(&self, call: ToolCall, budget: Verdict, run: Run, recorded: impl FnOnce(&Decision<'_>)) -> Result<CallRecord, Error> {
        let answered = self.answer(call, budget, run, recorded).await?;
        Ok(self.end(answered).await)
    }

    /// The same up to the answer: whoever waits for it has it before the rest of the call is done, see [`Host::end`].
    ///
    /// # Errors
    /// Those of [`Host::call`].
    pub async fn answer(&self, call: ToolCall, budget: Verdict, run: Run, recorded: impl FnOnce(&Decision<'_>)) -> Result<Answered, Error> {
        self.ready(&call.id).await?;
        let start = Instant::now();
        let mut told = Vec::new();
        // What is left of a call reports no progress, and whoever waits for the last report does not wait for it.
        let watched = Run { progress: None, cancelled: run.cancelled.clone() };
        let mut around = Around { audit: self.audit.as_deref(), run: &watched, told: &mut told, replaced: None };
        match self.decide(&call, budget, &mut around).await {
            Ok((authorized, arguments)) => {
                let gate = start.elapsed();
                let replaced = !Arc::ptr_eq(&arguments, &call.arguments);
                let mut running = match &self.audit {
                    Some(audit) => {
                        // What was authorized is registered; were it not, it would not run.
                        let tool = self.by_id.get(&call.id).ok_or_else(|| self.absent(&call.id))?;
                        let given = replaced.then_some(&*call.arguments);
                        Some(audit.allowed(tool.spec.id.as_str(), tool.provider.identity(), Some(&arguments), given)?)
                    }
                    None => None,
                };
                if replaced {
                    around.told.push("a guard put others in the place of its arguments".to_owned());
                }
                recorded(&Decision { tool: call.id.clone(), denial: None, gate, unrecorded: None });
                let heard = Instant::now();
                self.hooks.starts(&call.id, &arguments, &mut around).await;
                // What observers took is nobody's time.
                let (mut record, refused, spent) = dispatch(authorized, run, start + heard.elapsed(), gate).await;
                self.tell(&mut record, refused);
                if let Some(running) = &mut running {
                    running.ends(&record);
                }
                Ok(Answered { record, rest: Some(Rest { spent, running }), run: watched, told })
            }
            Err(Stop::Unrecorded(error)) => Err(error),
            Err(Stop::Absent(error)) => {
                self.audit.as_ref().map_or(Ok(()), |audit| audit.absent(&call.id, error.kind, Some(&call.arguments)))?;
                Err(error)
            }
            Err(Stop::Refused(refusal)) => {
                let gate = start.elapsed();
                let (denial, unrecorded) = self.refused(&call.id, refusal, Some(&call.arguments), around.replaced.as_deref());
                recorded(&Decision { tool: denial.tool.clone(), denial: Some(&denial), gate, unrecorded: unrecorded.as_ref() });
                self.hooks.denied(&denial, &mut around).await;
                let lane = self.by_id.get(&call.id).map_or("wasm", |tool| tool.provider.lane());
                let record = CallRecord::denied(denial, lane, stats(lane, gate, gate, 0));
                Ok(Answered { record, rest: None, run: watched, told })
            }
        }
    }

    /// Does what is left of a call that was answered: its instance is wiped, its outcome written, and observers are told. Where
    /// nobody comes to that, the first two are done when it is dropped.
    pub async fn end(&self, answered: Answered) -> CallRecord {
        let Answered { mut record, rest, run, mut told } = answered;
        if let Some(Rest { spent, mut running }) = rest {
            // First, for others wait for its places.
            drop(spent);
            record.unrecorded = running.as_mut().and_then(|running| running.write().err());
            let mut around = Around { audit: self.audit.as_deref(), run: &run, told: &mut told, replaced: None };
            self.hooks.ended(&record, &mut around).await;
        }
        record.told = told;
        record
    }

    /// Whether the end of a call is heard by somebody, who is then waited for.
    #[must_use]
    pub fn is_heard(&self, answered: &Answered) -> bool {
        answered.rest.is_some() && self.hooks.is_observed(HookEvent::AfterCall, &answered.record.tool)
    }

    /// The hooks, in the order in which they are asked.
    #[must_use]
    pub fn hooks(&self) -> &[Arc<Hook>] {
        &self.hooks.all
    }

    /// Asks the guards about a prompt, and tells the observers where none denies. Beside the denial it gives what the operator
    /// should read.
    ///
    /// # Errors
    /// [`Kind::Io`] where the run of a guard cannot be recorded.
    pub async fn prompt(&self, prompt: &str, run: &Run) -> Result<(Option<Denial>, Vec<String>), Error> {
        let mut told = Vec::new();
        let mut around = Around { audit: self.audit.as_deref(), run, told: &mut told, replaced: None };
        let refusal = match self.hooks.prompt(prompt, &mut around).await? {
            Ok(()) => return Ok((None, told)),
            Err(verdict) => verdict.refusal(Rule::Guard),
        };
        let Some(refusal) = refusal else { return Ok((None, told)) };
        let (denial, unrecorded) = self.denied("prompt", refusal, None);
        told.extend(unrecorded.map(|error| error.message));
        told.push(format!("the prompt was denied, #{} by {} ({}): {}", denial.number, denial.rule, denial.source, denial.reason));
        Ok((Some(denial), told))
    }

    /// Tells the observers of a denial that no call came to.
    pub async fn observe_denied(&self, denial: &Denial, run: &Run) -> Vec<String> {
        let mut told = Vec::new();
        self.hooks.denied(denial, &mut Around { audit: self.audit.as_deref(), run, told: &mut told, replaced: None }).await;
        told
    }

    /// Tells the observers that a session begins or ends.
    pub async fn observe_session(&self, event: HookEvent, id: &str) -> Vec<String> {
        let mut told = Vec::new();
        let mut around = Around { audit: self.audit.as_deref(), run: &Run::default(), told: &mut told, replaced: None };
        self.hooks.session(event, id, &self.settings.profile.name, &mut around).await;
        told
    }

    /// Keeps the guards of a host before this one that the workspace took away.
    pub(crate) fn keep_guards(&mut self, before: &Self) {
        let facts = |hook: &Hook| (hook.entry.guard, hook.entry.dir.folder.clone(), hook.entry.tools.clone(), hook.events.clone());
        let same = |a: &Hook, b: &Hook| facts(a) == facts(b);
        let lost = before.hooks.all.iter().filter(|hook| hook.entry.guard && hook.entry.dir.scope == config::Scope::Workspace);
        let lost: Vec<_> = lost.filter(|hook| !self.hooks.all.iter().any(|now| same(now, hook))).cloned().collect();
        self.hooks.all.extend(lost);
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

    /// What the workspace names does not count any more: it is not what was trusted, or cannot be read.
    pub(crate) fn withdraw(&self, why: &str) {
        let _ = self.withdrawn.set(format!("what the workspace names was withdrawn: {why}"));
    }

    /// What the operator reads of what a call was not granted.
    fn tell(&self, record: &mut CallRecord, refused: Vec<Refused>) {
        let Some(plugin) = self.by_id.get(&record.tool).and_then(|tool| tool.plugin()) else { return };
        record.refused = refused.into_iter().map(|one| refused_line(&self.settings, plugin, one)).collect();
        if record.error.as_ref().is_some_and(|error| error.kind == Kind::ToolFailed) {
            record.absent = plugin.effective.absent.iter().map(|one| absent_line(&self.settings, plugin, one)).collect();
        }
    }
}

/// The user's cache of compiled code; `None` where it could not be this user's alone.
#[must_use]
pub fn code_cache(home: &config::Home) -> Option<CodeCache> {
    crate::own::make_folder(&home.cache).ok()?;
    CodeCache::open(&home.cache.join("code"), home.key().ok()?)
}
