//! Programs of WASI 0.1, which are core modules, made components: with the adapter that turns their calls into those of 0.2.
//!
//! It runs in the compiler's child, for a module is taken apart for it.

use anyhow::Context;
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{EntityType, ImportSection, Module, RawSection};
use wasmparser::{Imports, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The world of what a module calls beside the adapter: in that, every exit code but 0 becomes 1.
const WORLD: &str = "package palisade:program;
world program { import wasi:cli/exit@0.2.12; }
package wasi:cli@0.2.12 {
    interface exit { exit-with-code: func(status-code: u8); }
}";
const EXIT: (&str, &str) = ("wasi:cli/exit@0.2.12", "exit-with-code");

/// Whether it begins as a core module does.
pub(super) fn is_module(wasm: &[u8]) -> bool {
    wasm.starts_with(&[0, b'a', b's', b'm', 1, 0, 0, 0])
}

/// A program of WASI 0.1 as a component.
///
/// # Errors
/// It is none: it imports something else, or exports no `_start`.
pub(super) fn component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let made = with_exit_codes(module)?;
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(made.as_deref().unwrap_or(module))?
        .adapter(WASI, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)?
        .encode()
        .context("it is no program of WASI 0.1, which imports `wasi_snapshot_preview1` alone and exports its memory")
}

/// The module with its `proc_exit` in the place of which stands the call of 0.2 that takes a code too; none where it has none.
fn with_exit_codes(module: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let (mut written, mut exits, mut starts) = (Module::new(), ProcExit(false), false);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                exits.parse_import_section(&mut imports, section)?;
                written.section(&imports);
            }
            other => {
                if let Payload::ExportSection(exports) = &other {
                    starts = exports.clone().into_iter().any(|export| export.is_ok_and(|export| export.name == "_start"));
                }
                if let Some((id, range)) = other.as_section() {
                    let (from, to) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
                    written.section(&RawSection { id, data: module.get(from..to).context("a section is cut short")? });
                }
            }
        }
    }
    anyhow::ensure!(starts, "it is no program of WASI 0.1: it exports no `_start`");
    if !exits.0 {
        return Ok(None);
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("program.wit", WORLD)?;
    let world = resolve.select_world(&[package], None)?;
    let mut written = written.finish();
    embed_component_metadata(&mut written, &resolve, world, StringEncoding::UTF8)?;
    Ok(Some(written))
}

/// Whether the import was met.
struct ProcExit(bool);

impl Reencode for ProcExit {
    type Error = std::convert::Infallible;

    fn parse_imports(&mut self, section: &mut ImportSection, imports: Imports<'_>) -> Result<(), Error<Self::Error>> {
        if let Imports::Single(_, import) = &imports
            && (import.module, import.name) == (WASI, "proc_exit")
        {
            self.0 = true;
            let ty: EntityType = self.entity_type(import.ty)?;
            section.import(EXIT.0, EXIT.1, ty);
            return Ok(());
        }
        wasm_encoder::reencode::utils::parse_imports(self, section, imports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (memory (export "memory") 0)
    /// (func (export "_start") (call 0 (i32.const 7))))`, by hand.
    fn exits() -> Vec<u8> {
        use wasm_encoder::*;
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], []);
        types.ty().function([], []);
        let mut imports = ImportSection::new();
        imports.import(WASI, "proc_exit", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        functions.function(1);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, 1);
        let mut code = CodeSection::new();
        let mut body = Function::new([]);
        body.instruction(&Instruction::I32Const(7)).instruction(&Instruction::Call(0)).instruction(&Instruction::End);
        code.function(&body);
        module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports).section(&code);
        module.finish()
    }

    fn imports(component: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            match payload.unwrap() {
                Payload::ComponentImportSection(section) => {
                    found.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()))
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => break,
                _ => {}
            }
        }
        found
    }

    #[test]
    fn a_program_that_says_an_exit_code_is_given_the_call_that_takes_one() {
        let component = component(&exits()).unwrap();
        assert!(imports(&component).iter().any(|name| name == EXIT.0), "{:?}", imports(&component));
    }

    #[test]
    fn what_is_no_program_is_refused_with_what_one_is() {
        let error = format!("{:#}", component(&Module::new().finish()).unwrap_err());
        assert!(error.starts_with("it is no program of WASI 0.1") && error.contains("_start"), "{error}");
    }

    proptest! {
        #[test]
        fn a_damaged_module_is_refused_or_made_and_nothing_else(at in 8_usize..200, byte in any::<u8>()) {
            let mut module = exits();
            let at = at % module.len();
            module[at] = byte;
            let _ = component(&module);
        }
    }
}
