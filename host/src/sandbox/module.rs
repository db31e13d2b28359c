//! Programs of WASI 0.1, which are core modules, made components: with the adapter that turns their calls into those of 0.2.
//!
//! It runs in the compiler's child, for a module is taken apart for it.

use anyhow::Context;
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction,
    MemorySection, Module, RawSection, TypeSection, ValType,
};
use wasmparser::{BinaryReader, CodeSectionReader, Imports, Operator, Parser, Payload, TypeRef};
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
    let module = changed(module)?;
    let mut encoder = ComponentEncoder::default();
    encoder
        .module(&module)?
        .adapter(WASI, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)?
        .encode()
        .context("it is no program of WASI 0.1, which imports `wasi_snapshot_preview1` alone and exports its memory")
}

/// The module with what a component needs of it changed.
///
/// - In the place of `proc_exit` stands the call of WASI 0.2 that takes a code.
/// - The adapter keeps what it needs in memory that it adds to the module's before that has begun. A C library of before 2023
///   takes all of the memory it finds for its heap, and so would write over it. Such a module sees its own memory: as large as
///   it was made, until it adds to it itself. (A runtime that needs its memory in one piece is helped only that far.)
fn changed(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut written, mut change) = (Module::new(), Change::default());
    let mut starts = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                let mut types = TypeSection::new();
                change.parse_type_section(&mut types, section)?;
                change.grow_type = types.len();
                types.ty().function([ValType::I32], [ValType::I32]);
                written.section(&types);
            }
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                change.parse_import_section(&mut imports, section)?;
                written.section(&imports);
            }
            Payload::FunctionSection(section) => {
                let mut functions = FunctionSection::new();
                change.parse_function_section(&mut functions, section)?;
                change.grow = change.imported_functions + functions.len();
                functions.function(change.grow_type);
                written.section(&functions);
            }
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for memory in section.clone() {
                    let memory = memory?;
                    anyhow::ensure!(!memory.memory64, "its memory has addresses of 64 bits, which WASI 0.1 has not");
                    change.pages.get_or_insert(u32::try_from(memory.initial)?);
                }
                change.parse_memory_section(&mut memories, section)?;
                written.section(&memories);
            }
            Payload::GlobalSection(section) => {
                let mut globals = GlobalSection::new();
                change.parse_global_section(&mut globals, section)?;
                change.add_size(&mut globals, &mut written);
            }
            Payload::ExportSection(section) => {
                if change.size.is_none() {
                    change.add_size(&mut GlobalSection::new(), &mut written);
                }
                starts = section.clone().into_iter().any(|export| export.is_ok_and(|export| export.name == "_start"));
                let mut exports = ExportSection::new();
                change.parse_export_section(&mut exports, section)?;
                written.section(&exports);
            }
            Payload::CodeSectionStart { range, .. } => {
                let data = module.get(usize::try_from(range.start)?..usize::try_from(range.end)?).context(CUT)?;
                let mut code = CodeSection::new();
                change.parse_code_section(&mut code, CodeSectionReader::new(BinaryReader::new(data, 0))?)?;
                code.function(&change.grow_body());
                written.section(&code);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = module.get(usize::try_from(range.start)?..usize::try_from(range.end)?).context(CUT)?;
                    written.section(&RawSection { id, data });
                }
            }
        }
    }
    anyhow::ensure!(starts, "it is no program of WASI 0.1: it exports no `_start`");
    let mut written = written.finish();
    if change.exits {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("program.wit", WORLD)?;
        let world = resolve.select_world(&[package], None)?;
        embed_component_metadata(&mut written, &resolve, world, StringEncoding::UTF8)?;
    }
    Ok(written)
}

const CUT: &str = "a section is cut short";

/// What was met of a module, and what takes its place.
#[derive(Default)]
struct Change {
    /// Whether it imports `proc_exit`.
    exits: bool,
    imported_functions: u32,
    imported_globals: u32,
    /// Of its first memory, when it is made.
    pages: Option<u32>,
    /// The global that holds how large the module takes its memory to be.
    size: Option<u32>,
    /// The function that adds to the memory, and its type.
    grow: u32,
    grow_type: u32,
}

impl Change {
    fn add_size(&mut self, globals: &mut GlobalSection, written: &mut Module) {
        self.size = Some(self.imported_globals + globals.len());
        let pages = self.pages.unwrap_or_default().cast_signed();
        globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(pages));
        written.section(globals);
    }

    /// Adds to the memory, and when that went well remembers how large it is now.
    fn grow_body(&self) -> Function {
        let mut body = Function::new([(1, ValType::I32)]);
        let size = self.size.unwrap_or_default();
        body.instructions().local_get(0).memory_grow(0).local_tee(1).i32_const(-1).i32_ne();
        body.instructions().if_(BlockType::Empty).local_get(1).local_get(0).i32_add().global_set(size).end().local_get(1).end();
        body
    }
}

impl Reencode for Change {
    type Error = std::convert::Infallible;

    fn parse_imports(&mut self, section: &mut ImportSection, imports: Imports<'_>) -> Result<(), Error<Self::Error>> {
        let before = section.len();
        match &imports {
            Imports::Single(_, import) if (import.module, import.name) == (WASI, "proc_exit") => {
                self.exits = true;
                section.import(EXIT.0, EXIT.1, self.entity_type(import.ty)?);
            }
            _ => utils::parse_imports(self, section, imports.clone())?,
        }
        match &imports {
            Imports::Single(_, import) => match import.ty {
                TypeRef::Func(_) => self.imported_functions += 1,
                TypeRef::Global(_) => self.imported_globals += 1,
                _ => {}
            },
            // No compiler writes them yet, and what they are of would have to be counted.
            _ => return Err(Error::UnsupportedCoreTypeInComponent),
        }
        debug_assert_eq!(section.len(), before + 1);
        Ok(())
    }

    fn instruction<'a>(&mut self, arg: Operator<'a>) -> Result<Instruction<'a>, Error<Self::Error>> {
        match (arg, self.size) {
            (Operator::MemorySize { mem: 0 }, Some(size)) => Ok(Instruction::GlobalGet(size)),
            (Operator::MemoryGrow { mem: 0 }, Some(_)) => Ok(Instruction::Call(self.grow)),
            (arg, _) => utils::instruction(self, arg),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (memory (export "memory") 0)
    /// (func (export "_start") (call 0 (i32.const 7))))`, by hand.
    fn exits() -> Vec<u8> {
        use wasm_encoder::{EntityType, ExportKind, MemoryType};
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
