//! What is entered of a component: a tool of a plugin, a function of any other, a program, or the handler of a hook.

use crate::error::Kind;
use crate::sandbox::bindings::hook::HookPre;
use crate::sandbox::bindings::hook::exports::palisade::plugin::hooks;
use crate::sandbox::bindings::{PluginPre, palisade::plugin::types};
use crate::sandbox::call::{Content, Failure, Prepared, Report, Run};
use crate::sandbox::foreign::Functions;
use crate::sandbox::needs;
use crate::sandbox::shards::Shard;
use crate::sandbox::state::State;
use crate::sandbox::wasi::Reach;
use palisade_policy::{Limit, Limits};
use std::sync::Arc;
use wasmtime::component::Component;
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

/// What a component is to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// `palisade:plugin/tools`.
    Plugin,
    /// `palisade:plugin/hooks`.
    Hook,
    /// Functions, in a world of its own.
    Foreign,
    /// `wasi:cli/run`: a WASI command. A core module of WASI 0.1 is made one when it is compiled.
    Program,
    /// The first of these, but a hook, that it does export.
    Any,
}

impl World {
    /// What a component is, where anything is welcome.
    fn of(self, component: &Component) -> Self {
        if self != Self::Any {
            return self;
        }
        let exports = component.component_type();
        let has = |interface: &str| exports.exports(component.engine()).any(|(name, _)| name.starts_with(interface));
        match () {
            // A hook is told that it is no plugin.
            () if has("palisade:plugin/") => Self::Plugin,
            () if has("wasi:cli/run@") => Self::Program,
            () => Self::Foreign,
        }
    }

    /// Whether a core module can be one.
    pub(super) fn takes_modules(self) -> bool {
        matches!(self, Self::Program | Self::Any)
    }
}

/// A component, linked in one engine.
pub(super) enum Linked {
    Plugin(PluginPre<State>),
    Hook(HookPre<State>),
    Foreign(Functions),
    Program(CommandPre<State>),
}

impl Linked {
    pub(super) fn new(shard: &Shard, component: &Component, world: World) -> Result<Self, String> {
        let pre = shard.linker.instantiate_pre(component).map_err(|e| needs::unlinked(component, &e))?;
        let exports = |interface: &str, e: wasmtime::Error| format!("the component does not export palisade:plugin/{interface}: {e:#}");
        match world.of(component) {
            World::Foreign | World::Any => Functions::new(pre).map(Self::Foreign),
            World::Program => CommandPre::new(pre).map(Self::Program).map_err(|e| format!("the component is no WASI command: {e:#}")),
            World::Plugin => PluginPre::new(pre).map(Self::Plugin).map_err(|e| exports("tools", e)),
            World::Hook => HookPre::new(pre).map(Self::Hook).map_err(|e| exports("hooks", e)),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Plugin(linked) => linked.engine(),
            Self::Hook(linked) => linked.engine(),
            Self::Foreign(linked) => linked.engine(),
            Self::Program(linked) => linked.engine(),
        }
    }
}

/// What is asked of a fresh instance.
pub(super) trait Entry: Send + Sync + 'static {
    /// What it answers.
    type Output: Send + 'static;
    /// The limit of its time.
    const TIME: Limit;

    /// Makes the instance and asks.
    fn enter(
        &self,
        linked: &Linked,
        store: &mut Store<State>,
        limits: &Limits,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Output, Failure>>> + Send;
}

/// One call of a tool.
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) arguments: Arc<[u8]>,
}

impl Entry for Tool {
    type Output = Vec<Content>;
    const TIME: Limit = Limit::Time;

    async fn enter(&self, linked: &Linked, store: &mut Store<State>, limits: &Limits) -> wasmtime::Result<Result<Vec<Content>, Failure>> {
        // The gate parsed these very bytes, so they are UTF-8.
        let arguments = std::str::from_utf8(&self.arguments).unwrap_or_default();
        let linked = match linked {
            Linked::Plugin(linked) => linked,
            Linked::Foreign(functions) => return functions.call(store, &self.name, arguments, limits).await,
            Linked::Hook(_) | Linked::Program(_) => return Ok(Err(other_world())),
        };
        let plugin = linked.instantiate_async(&mut *store).await?;
        Ok(match plugin.palisade_plugin_tools().call_call(store, &self.name, arguments).await? {
            Ok(contents) => checked(contents, limits),
            Err(types::ToolError { message }) => Err(Failure::new(Kind::ToolFailed, message)),
        })
    }
}

/// One event for a hook.
struct Heard(Arc<hooks::Event>);

impl Entry for Heard {
    type Output = hooks::Answer;
    const TIME: Limit = Limit::HookTime;

    async fn enter(&self, linked: &Linked, store: &mut Store<State>, _limits: &Limits) -> wasmtime::Result<Result<hooks::Answer, Failure>> {
        let Linked::Hook(linked) = linked else { return Ok(Err(other_world())) };
        let hook = linked.instantiate_async(&mut *store).await?;
        hook.palisade_plugin_hooks().call_handle(store, &self.0).await.map(Ok)
    }
}

fn other_world() -> Failure {
    Failure::new(Kind::Internal, "the component is of another world")
}

impl Prepared {
    /// Tells a hook of an event, in a fresh instance, and what it answers.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        event: Arc<hooks::Event>,
        reach: &Arc<Reach>,
        limits: &Limits,
        run: Run,
    ) -> Report<hooks::Answer> {
        let state = State::new(reach, limits, run.clone(), self.stuck());
        self.enter(Heard(event), state, limits, limits.time(Limit::HookTime), run).await
    }

    /// The events a hook wants to hear of, read in an instance that reaches nothing.
    ///
    /// # Errors
    /// The failure of the guest: it trapped, took too long or returned too much.
    pub(crate) async fn events(&self, limits: &Limits) -> Result<Vec<hooks::EventKind>, Failure> {
        let read = self.read(limits, "hooks", async |linked, store| match linked {
            Linked::Hook(linked) => linked.instantiate_async(&mut *store).await?.palisade_plugin_hooks().call_events(store).await,
            _ => Ok(Vec::new()),
        });
        read.await
    }
}

/// A result within the limit, of which each piece is what it says.
pub(super) fn checked(contents: Vec<types::Content>, limits: &Limits) -> Result<Vec<Content>, Failure> {
    let size: usize = contents
        .iter()
        .map(|content| match content {
            types::Content::Text(text) | types::Content::Json(text) => text.len(),
            types::Content::Blob(blob) => blob.data.len() + blob.mime.len(),
        })
        .sum();
    if size > limits.size(Limit::Result) {
        return Err(Failure::new(Kind::LimitOutput, format!("its result has {size} bytes; the limit is {}", limits.get(Limit::Result))));
    }
    let one = |content| match content {
        types::Content::Text(text) => Ok(Content::Text(text)),
        types::Content::Json(text) => serde_json::value::RawValue::from_string(text)
            .map(Content::Json)
            .map_err(|_| Failure::new(Kind::ToolFailed, "it returned JSON that is none")),
        types::Content::Blob(types::Blob { mime, data }) => Ok(Content::Blob { mime, data }),
    };
    contents.into_iter().map(one).collect()
}
