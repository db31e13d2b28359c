//! What no host goes below: the same component in an engine of the same settings; store, instance and call, nothing of ours.

use bindings::palisade::plugin::types::Content;
use palisade::policy::Limits;
use palisade::sandbox::{Allocator, engine_config};
use std::path::Path;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "plugin", exports: { default: async } });
}

/// A plugin, ready for instances.
pub struct Bare(bindings::PluginPre<State>);

impl Bare {
    pub fn new(component: &Path, allocator: Allocator) -> Self {
        let engine = Engine::new(&engine_config(allocator, &Limits::default())).expect("an engine");
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        bindings::palisade::plugin::host::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).expect("the host interface");
        // Language runtimes import it whether or not a tool uses it, and none does here.
        let mut store = linker.instance("palisade:plugin/store@0.1.0").expect("the store interface");
        for function in ["get", "set", "delete", "swap", "keys"] {
            store.func_new(function, |_, _, _, _| wasmtime::bail!("no tool here keeps anything")).expect("a function");
        }
        let component = Component::new(&engine, std::fs::read(component).expect("a component")).expect("a component");
        Self(bindings::PluginPre::new(linker.instantiate_pre(&component).expect("it links")).expect("a plugin"))
    }

    /// One call, in an instance of its own; the text or document it ends with, where it does.
    pub async fn call(&self, tool: &str, arguments: &str) -> String {
        let mut store = Store::new(self.0.engine(), State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() });
        store.set_epoch_deadline(1 << 40);
        let plugin = self.0.instantiate_async(&mut store).await.expect("an instance");
        let contents = plugin.palisade_plugin_tools().call_call(&mut store, tool, arguments).await.expect("a call");
        match contents.expect("a result").pop() {
            Some(Content::Text(text) | Content::Json(text)) => text,
            Some(Content::Blob(_)) | None => String::new(),
        }
    }
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl bindings::palisade::plugin::types::Host for State {}

impl bindings::palisade::plugin::host::Host for State {
    fn log(&mut self, _: bindings::palisade::plugin::host::Level, _: String) {}
    fn progress(&mut self, _: f64, _: Option<f64>, _: Option<String>) {}
    fn cancelled(&mut self) -> bool {
        false
    }
}
