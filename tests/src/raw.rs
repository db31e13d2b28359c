//! Components whose core module is written by hand: what no compiler would emit.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// The parts of a core module of the plugin world, which defines one tool, `go`.
#[derive(Debug, Clone, Copy)]
pub struct Module<'t> {
    /// Imports of functions, which stand first: `(import "wasi:random/random@0.2.0" "get-random-bytes" (func …))`.
    pub imports: &'t str,
    /// More of it: memories, tables, a start function.
    pub extra: &'t str,
    /// Stands at the start of its allocator.
    pub allocate: &'t str,
    /// The schema of the arguments of its tool.
    pub schema: &'t str,
    /// The body of its `definitions`, which leaves the address of a list; 1100 is that of the one definition, at 1216.
    pub definitions: &'t str,
    /// The body of its `call`, which leaves the address of a result; 1024 is that of an empty list.
    pub call: &'t str,
}

impl Default for Module<'_> {
    fn default() -> Self {
        let (schema, definitions) = (r#"{"type":"object"}"#, "(i32.const 1100)");
        Self { imports: "", extra: "", allocate: "", schema, definitions, call: "(i32.const 1024)" }
    }
}

/// What a hand-written module may import beside the world of a plugin.
const WORLD: &str = r"package test:raw;
world raw {
    include palisade:plugin/plugin@0.1.0;
    import wasi:random/random@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:io/poll@0.2.0;
    import wasi:filesystem/preopens@0.2.0;
}
package wasi:filesystem@0.2.0 {
    interface types { resource descriptor; }
    interface preopens {
        use types.{descriptor};
        get-directories: func() -> list<tuple<descriptor, string>>;
    }
}
package wasi:random@0.2.0 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
package wasi:io@0.2.0 {
    interface poll { resource pollable { block: func(); } }
}
package wasi:clocks@0.2.0 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}";

impl Module<'_> {
    /// The component.
    ///
    /// # Panics
    /// When the text is no module of that world.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let Self { imports, extra, allocate, schema, definitions, call } = self;
        // A long one has pages of its own, above what is allocated from.
        let (place, pages) = if schema.len() < 900 { (2056, 1) } else { (1 << 16, 1 + schema.len().div_ceil(1 << 16)) };
        let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let number = |number: usize| bytes(&u32::try_from(number).expect("a number of 32 bits").to_le_bytes());
        let (written, at, length) = (bytes(schema.as_bytes()), number(place), number(schema.len()));
        let module = format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                {extra}
                (global $next (mut i32) (i32.const 4096))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
                    {allocate}
                    (local.set 4 (global.get $next))
                    (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
                    (local.get 4))
                (data (i32.const 2048) "go")
                (data (i32.const {place}) "{written}")
                ;; A list of one definition: name, no title, a description, a schema, neither output schema nor annotations.
                (data (i32.const 1100) "\c0\04\00\00\01\00\00\00")
                (data (i32.const 1216) "\00\08\00\00\02\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\08\00\00\02\00\00\00{at}{length}")
                (func (export "palisade:plugin/tools@0.1.0#definitions") (result i32) {definitions})
                (func (export "palisade:plugin/tools@0.1.0#call") (param i32 i32 i32 i32) (result i32) {call})
            )"#
        );
        encoded(&module)
    }
}

/// The component of a core module of that world.
///
/// # Panics
/// When the text is no module of it.
#[must_use]
pub fn encoded(module: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).expect("a module");
    let wit = UnresolvedPackageGroup::parse_dir(crate::root().join("wit")).expect("the contract");
    let mut resolve = Resolve::default();
    resolve.push_group(wit).expect("the contract resolves");
    let raw = UnresolvedPackageGroup::parse("raw.wit", WORLD).expect("the world");
    let package = resolve.push_group(raw).expect("the world resolves");
    let world = resolve.select_world(&[package], Some("raw")).expect("the world of a plugin");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default().validate(false).module(&module).expect("a module of the world").encode().expect("a component")
}

/// A component with more in its module and this body of its `call`; see [`Module`].
#[must_use]
pub fn component(extra: &str, call: &str) -> Vec<u8> {
    Module { extra, call, ..Module::default() }.component()
}

/// A component whose one function keeps a compiler busy: many locals, all of them permuted in a loop.
#[must_use]
pub fn bomb(locals: usize) -> Vec<u8> {
    // From memory, or they would all be the constant 0.
    let start: String = (0..locals).map(|i| format!("(local.set {i} (i64.load (i32.const {})))", i % 8000)).collect();
    let shift: String = (0..locals).map(|i| format!("(local.get {})", (i * 7919 + 13) % locals)).collect();
    let store: String = (0..locals).rev().map(|i| format!("(local.set {i})")).collect();
    let extra = format!(
        "(func $bomb (local {}) {start} (loop {shift} {store} (br_if 0 (i32.wrap_i64 (local.get 0)))) (i64.store (i32.const 0) (local.get 1)))",
        "i64 ".repeat(locals)
    );
    component(&extra, "(call $bomb) (i32.const 1024)")
}

/// A component that sleeps in the host for so many milliseconds.
#[must_use]
pub fn sleeper(ms: u32) -> Vec<u8> {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#;
    let call = format!("(call $block (call $after (i64.const {ms}000000))) (i32.const 1024)");
    Module { imports, call: &call, ..Module::default() }.component()
}

/// A component from its own text.
///
/// # Panics
/// When the text is no component.
#[must_use]
pub fn component_text(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}
