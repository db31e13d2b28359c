//! The bindings of `wit/`, generated.

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
