//! The bindings of `wit/`, generated: one world for plugins, one for hooks, over the same types and host functions.

#![allow(missing_docs, reason = "generated from the WIT, whose comments are the manual")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: {
        "palisade:plugin/store.get": async | trappable,
        "palisade:plugin/store.set": async | trappable,
        "palisade:plugin/store.delete": async | trappable,
        "palisade:plugin/store.swap": async | trappable,
        "palisade:plugin/store.keys": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});

pub(crate) mod hook {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "hook",
        with: {
            "palisade:plugin/types": super::palisade::plugin::types,
            "palisade:plugin/host": super::palisade::plugin::host,
            "palisade:plugin/store": super::palisade::plugin::store,
        },
        exports: { default: async },
    });
}
