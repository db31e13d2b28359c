//! Generated modules and components, raw bytes and text, through the engine that loads plugins; and through what joins libraries.
//!
//! The first byte chooses: `(` is a component as text, NUL are the bytes of one; of any other the lowest bit chooses between a
//! generated component, and a generated module in a component around it.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use palisade::fuzzing;
use palisade::policy::Limits;
use palisade::sandbox::{Allocator, engine_config};
use std::sync::LazyLock;
use wasm_smith::{Config, Module};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&engine_config(Allocator::OnDemand, &Limits::default())).unwrap());

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let wasm = match bytes {
        [b'(', ..] => std::str::from_utf8(bytes).ok().and_then(|text| wat::parse_str(text).ok()),
        [0, ..] => Some(bytes.to_vec()),
        [choice, rest @ ..] => generated(choice & 1 == 0, rest),
        [] => None,
    };
    let Some(wasm) = wasm else { return Corpus::Reject };
    let joined = fuzzing::joined(&wasm);
    if let Ok(component) = Component::new(&ENGINE, &wasm) {
        let ty = component.component_type();
        if let Some(joined) = joined {
            // Nothing of it is seen from outside.
            let joined = Component::new(&ENGINE, joined).expect("libraries that could be linked are a module").component_type();
            assert!(joined.imports(&ENGINE).map(|(name, _)| name.to_owned()).eq(ty.imports(&ENGINE).map(|(name, _)| name.to_owned())));
            assert!(joined.exports(&ENGINE).map(|(name, _)| name.to_owned()).eq(ty.exports(&ENGINE).map(|(name, _)| name.to_owned())));
        }
        ty.imports(&ENGINE).chain(ty.exports(&ENGINE)).for_each(|(_, item)| walk(&item.ty, 0));
        // The bytes the compiler's child would send back.
        assert!(component.serialize().is_ok());
    }
    Corpus::Keep
});

/// Valid, of what the engine has; the settings are drawn too.
fn generated(component: bool, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Unstructured::new(bytes);
    let mut config = Config::arbitrary(&mut bytes).ok()?;
    config.gc_enabled = false;
    config.exceptions_enabled = false;
    config.threads_enabled = false;
    config.max_components = 4;
    config.max_modules = 4;
    if component {
        return Some(wasm_smith::Component::new(config, &mut bytes).ok()?.to_bytes());
    }
    let module = Module::new(config, &mut bytes).ok()?.to_bytes();
    // The header of a component, and one section: a core module.
    let mut wasm = b"\0asm\x0d\0\x01\0\x01".to_vec();
    let mut size = module.len();
    while size >= 0x80 {
        wasm.push(u8::try_from(size & 0x7f).ok()? | 0x80);
        size >>= 7;
    }
    wasm.push(u8::try_from(size).ok()?);
    wasm.extend(module);
    Some(wasm)
}

/// All that a type says, as a linker would ask.
fn walk(item: &ComponentItem, depth: usize) {
    if depth > 32 {
        return;
    }
    let each = |item: &ComponentItem| walk(item, depth + 1);
    match item {
        ComponentItem::ComponentFunc(func) => {
            let types = func.params().map(|(_, ty)| ty).chain(func.results());
            types.for_each(|ty| drop(format!("{ty:?}")));
        }
        ComponentItem::CoreFunc(func) => drop(func.to_string()),
        ComponentItem::Module(module) => {
            module.imports(&ENGINE).for_each(|(_, ty)| drop(format!("{ty:?}")));
            module.exports(&ENGINE).for_each(|(_, ty)| drop(format!("{ty:?}")));
        }
        ComponentItem::Component(component) => {
            component.imports(&ENGINE).chain(component.exports(&ENGINE)).for_each(|(_, item)| each(&item.ty));
        }
        ComponentItem::ComponentInstance(instance) => instance.exports(&ENGINE).for_each(|(_, item)| each(&item.ty)),
        ComponentItem::Type(ty) => drop(format!("{ty:?}")),
        ComponentItem::Resource(resource) => drop(format!("{resource:?}")),
    }
}
