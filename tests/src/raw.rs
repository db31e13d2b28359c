//! Components whose core module is written by hand: what no compiler would emit.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// A component of the plugin world. `extra` is more of its core module: memories, tables, a start function. `call` is the
/// body of its `call`, which leaves the address of a result; 1024 is that of an empty list. It defines one tool, `go`.
///
/// # Panics
/// When the text is no module of that world.
#[must_use]
pub fn component(extra: &str, call: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            {extra}
            (global $next (mut i32) (i32.const 4096))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
                (local.set 4 (global.get $next))
                (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
                (local.get 4))
            (data (i32.const 2048) "go")
            (data (i32.const 2056) "{{\"type\":\"object\"}}")
            ;; A list of one definition: name, no title, a description, a schema, neither output schema nor annotations.
            (data (i32.const 1100) "\c0\04\00\00\01\00\00\00")
            (data (i32.const 1216) "\00\08\00\00\02\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\08\00\00\02\00\00\00\08\08\00\00\11\00\00\00")
            (func (export "palisade:plugin/tools@0.1.0#definitions") (result i32) (i32.const 1100))
            (func (export "palisade:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32) {call})
        )"#
    );
    let mut module = wat::parse_str(&module).expect("a module");
    let wit = UnresolvedPackageGroup::parse_dir(crate::root().join("wit")).expect("the contract");
    let mut resolve = Resolve::default();
    let package = resolve.push_group(wit).expect("the contract resolves");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the world of a plugin");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default().validate(false).module(&module).expect("a module of the world").encode().expect("a component")
}

/// A component from its own text.
///
/// # Panics
/// When the text is no component.
#[must_use]
pub fn component_text(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}
