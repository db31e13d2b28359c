//! The bindings of `wit/`, generated.

#![allow(missing_docs, reason = "generated from the WIT, whose comments are the manual")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: { default: trappable },
    exports: { default: async },
});
