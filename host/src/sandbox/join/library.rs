//! A library, taken apart, and the module that all of them become.

use super::shape::{Def, Shape};
use super::{FUNCTION, GLOBAL, Joined, KINDS, Left, MEMORY, TABLE, TAG, kind, kind_of};
use crate::sandbox::engine::TABLES;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, Elements, Encode, EntityType, ExportSection, FunctionSection,
    GlobalSection, GlobalType, ImportSection, Instruction, MemorySection, NameMap, NameSection, StartSection, TableSection, TagSection,
    TypeSection,
};
use wasmparser::{
    ConstExpr, DataSectionReader, ElementSectionReader, FunctionBody, Global, Import, KnownCustom, MemorySectionReader, Name, Operator,
    Parser, Payload, TableSectionReader, TagSectionReader, TypeSectionReader,
};

/// A core module that is instantiated once.
#[derive(Default)]
pub(super) struct Library<'a> {
    /// The definition of its instance.
    pub instance: usize,
    pub imports: Vec<Import<'a>>,
    /// Kind and number by name.
    pub exports: HashMap<&'a str, (usize, u32)>,
    /// How many it defines, by kind.
    pub defined: [u32; KINDS.len()],
    pub start: Option<u32>,
    types: Option<TypeSectionReader<'a>>,
    functions: Vec<u32>,
    tables: Option<TableSectionReader<'a>>,
    memories: Option<MemorySectionReader<'a>>,
    tags: Option<TagSectionReader<'a>>,
    globals: Vec<Global<'a>>,
    elements: Option<ElementSectionReader<'a>>,
    data: Option<DataSectionReader<'a>>,
    code: Vec<FunctionBody<'a>>,
    names: Vec<(u32, &'a str)>,
}

/// Which instances are joined: that which has the one memory, and those that import it; and if `alone` is said, those before it that
/// import nothing, as what a compiler puts between a module and the functions that need its memory.
///
/// # Errors
/// There are none, or they are not linked as libraries are.
pub(super) fn instances(shape: &Shape<'_>, alone: bool) -> Result<Vec<usize>, Left> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut owner = false;
    for (instance, def) in shape.defs.iter().enumerate() {
        let Def::Made { module, args } = def else { continue };
        let one = shape.modules.get(*module).ok_or(Left("a module that is not there"))?;
        match (one.memories, one.shared, owner) {
            (0, 0, false) if alone && args.is_empty() && !one.runs => {}
            (0, 0, _) => continue,
            (1, 0, false) => owner = true,
            (0, 1, true) => {}
            _ => return Err(Left("it has more memories than one")),
        }
        if !seen.insert(*module) {
            return Err(Left("a library is there twice"));
        }
        found.push((instance, one.runs));
    }
    if found.len() < 2 || !owner {
        return Err(Left("it has no libraries"));
    }
    if found.iter().rev().skip(1).any(|(_, runs)| *runs) {
        return Err(Left("a library runs before the last one is there"));
    }
    Ok(found.into_iter().map(|(instance, _)| instance).collect())
}

/// These instances, taken apart.
///
/// # Errors
/// There is no room for them in one module.
pub(super) fn libraries<'a>(shape: &Shape<'a>, instances: &[usize]) -> anyhow::Result<Vec<Library<'a>>> {
    let modules = instances.iter().filter_map(|instance| match &shape.defs[*instance] {
        Def::Made { module, .. } => Some((*instance, shape.modules.get(*module)?.bytes)),
        _ => None,
    });
    let libraries = modules.map(|(instance, bytes)| Library::parse(instance, bytes)).collect::<anyhow::Result<Vec<_>>>()?;
    // The pool has room for no more in one module.
    let tables: u32 = libraries.iter().map(|library| library.defined[TABLE]).sum();
    if tables > TABLES { Err(Left("they have too many tables").into()) } else { Ok(libraries) }
}

impl<'a> Library<'a> {
    fn parse(instance: usize, bytes: &'a [u8]) -> anyhow::Result<Self> {
        let mut library = Self { instance, ..Self::default() };
        for payload in Parser::new(0).parse_all(bytes) {
            library.add(payload?)?;
        }
        Ok(library)
    }

    fn add(&mut self, payload: Payload<'a>) -> anyhow::Result<()> {
        match payload {
            Payload::TypeSection(types) => self.types = Some(types),
            Payload::ImportSection(imports) => self.imports = imports.into_imports().collect::<Result<_, _>>()?,
            Payload::FunctionSection(functions) => {
                self.defined[FUNCTION] = functions.count();
                self.functions = functions.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::TableSection(tables) => {
                self.defined[TABLE] = tables.count();
                self.tables = Some(tables);
            }
            Payload::MemorySection(memories) => {
                self.defined[MEMORY] = memories.count();
                self.memories = Some(memories);
            }
            Payload::TagSection(tags) => {
                self.defined[TAG] = tags.count();
                self.tags = Some(tags);
            }
            Payload::GlobalSection(globals) => {
                self.defined[GLOBAL] = globals.count();
                self.globals = globals.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports.insert(export.name, (kind(export.kind), export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(elements) => self.elements = Some(elements),
            Payload::DataSection(data) => self.data = Some(data),
            Payload::CodeSectionEntry(body) => self.code.push(body),
            Payload::CustomSection(custom) => {
                if let KnownCustom::Name(names) = custom.as_known() {
                    // A name that cannot be read is missed in a backtrace, and nowhere else.
                    for functions in names.into_iter().filter_map(Result::ok) {
                        if let Name::Function(functions) = functions {
                            self.names.extend(functions.into_iter().filter_map(Result::ok).map(|name| (name.index, name.name)));
                        }
                    }
                }
            }
            Payload::Version { .. } | Payload::DataCountSection { .. } | Payload::CodeSectionStart { .. } | Payload::End(_) => {}
            _ => return Err(Left("a section that is not known").into()),
        }
        Ok(())
    }
}

/// The sections of the joined module.
#[derive(Default)]
struct Sections<'a> {
    types: TypeSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: Vec<(u32, GlobalType, wasm_encoder::ConstExpr)>,
    start: Option<u32>,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    names: BTreeMap<u32, &'a str>,
}

/// The module, with an export for each of these items of libraries, which a number names. It imports what comes from outside, kind by
/// kind, which a number names too.
pub(super) fn module(joined: &Joined<'_>, exports: &BTreeMap<(usize, usize, &str), u32>) -> anyhow::Result<wasm_encoder::Module> {
    let (mut shift, mut all) = (Shift::default(), Sections::default());
    let mut imported: [Vec<Option<EntityType>>; KINDS.len()] = std::array::from_fn(|kind| vec![None; joined.outside[kind].len()]);
    let mut types = 0;
    for (at, library) in joined.libraries.iter().enumerate() {
        shift.of = std::array::from_fn(|kind| joined.slots[at][kind].iter().map(|slot| joined.index(kind, *slot)).collect());
        (shift.types, shift.elements, shift.data) = (types, all.elements.len(), all.data.len());
        types = all.add(library, &mut shift, types)?;
        for (import, slot) in library.imports.iter().zip(imports_of(joined, at)) {
            // Whoever imported it first says its type; the others agree, for the component is valid.
            if let (kind, super::Slot::Imported(number)) = slot
                && let Some(ty @ None) = imported[kind].get_mut(number as usize)
            {
                *ty = Some(shift.entity_type(import.ty)?);
            }
        }
    }
    if !shift.referred.is_empty() {
        // An export said that they may be referred to, and is not there now.
        all.elements.declared(Elements::Functions(shift.referred.iter().copied().collect::<Vec<_>>().into()));
    }
    let mut imports = ImportSection::new();
    for (number, ty) in imported.into_iter().flatten().enumerate() {
        imports.import("", &number.to_string(), ty.ok_or(Left("an import without a type"))?);
    }
    let mut exported = ExportSection::new();
    for ((library, kind, name), number) in exports {
        let index = joined.index(*kind, joined.export(*library, *kind, name)?);
        exported.export(&number.to_string(), KINDS[*kind], index);
        if *kind == GLOBAL {
            shift.set.insert(index);
        }
    }
    let mut globals = GlobalSection::new();
    for (index, mut ty, init) in all.globals {
        // What linking filled in once is a constant, and the engine's compiler makes use of that.
        ty.mutable &= shift.set.contains(&index);
        globals.global(ty, &init);
    }
    let (mut functions, mut names) = (NameMap::new(), NameSection::new());
    all.names.iter().for_each(|(index, name)| functions.append(*index, name));
    names.functions(&functions);
    let mut module = wasm_encoder::Module::new();
    module.section(&all.types).section(&imports).section(&all.functions).section(&all.tables).section(&all.memories);
    if !all.tags.is_empty() {
        module.section(&all.tags);
    }
    module.section(&globals).section(&exported);
    if let Some(function_index) = all.start {
        module.section(&StartSection { function_index });
    }
    module
        .section(&all.elements)
        .section(&DataCountSection { count: all.data.len() })
        .section(&all.code)
        .section(&all.data)
        .section(&names);
    Ok(module)
}

/// Kind and slot of each import of a library, in their order.
fn imports_of<'j>(joined: &'j Joined<'_>, library: usize) -> impl Iterator<Item = (usize, super::Slot)> + 'j {
    let mut next = [0; KINDS.len()];
    joined.libraries[library].imports.iter().map(move |import| {
        let kind = kind_of(import.ty);
        next[kind] += 1;
        (kind, joined.slots[library][kind][next[kind] - 1])
    })
}

impl<'a> Sections<'a> {
    /// Adds a library; gives how many types there are then.
    fn add(&mut self, library: &Library<'a>, shift: &mut Shift, mut types: u32) -> anyhow::Result<u32> {
        for group in library.types.clone().into_iter().flatten() {
            let group = group?;
            types += u32::try_from(group.types().len())?;
            shift.parse_recursive_type_group(self.types.ty(), group)?;
        }
        for ty in &library.functions {
            self.functions.function(shift.type_index(*ty)?);
        }
        if let Some(tables) = library.tables.clone() {
            shift.parse_table_section(&mut self.tables, tables)?;
        }
        if let Some(memories) = library.memories.clone() {
            shift.parse_memory_section(&mut self.memories, memories)?;
        }
        if let Some(tags) = library.tags.clone() {
            shift.parse_tag_section(&mut self.tags, tags)?;
        }
        let imported = shift.of[GLOBAL].len() - library.globals.len();
        for (at, global) in library.globals.iter().enumerate() {
            let index = shift.of[GLOBAL][imported + at];
            let init = shift.const_expr(global.init_expr.clone())?;
            if let (false, Some(value)) = (global.ty.mutable, constant(&global.init_expr)) {
                shift.constants.insert(index, value);
            }
            self.globals.push((index, shift.global_type(global.ty)?, init));
        }
        for body in &library.code {
            shift.parse_function_body(&mut self.code, body.clone())?;
        }
        if let Some(elements) = library.elements.clone() {
            shift.parse_element_section(&mut self.elements, elements)?;
        }
        if let Some(data) = library.data.clone() {
            shift.parse_data_section(&mut self.data, data)?;
        }
        self.names.extend(library.names.iter().filter_map(|(index, name)| Some((*shift.of[FUNCTION].get(*index as usize)?, *name))));
        if let Some(start) = library.start {
            self.start = Some(shift.function_index(start)?);
        }
        Ok(types)
    }
}

/// The value of an expression that is a constant and no more.
fn constant(init: &ConstExpr<'_>) -> Option<Instruction<'static>> {
    let mut operators = init.get_operators_reader();
    let value = match operators.read().ok()? {
        Operator::I32Const { value } => Instruction::I32Const(value),
        Operator::I64Const { value } => Instruction::I64Const(value),
        _ => return None,
    };
    matches!(operators.read().ok()?, Operator::End).then_some(value)
}

/// From the numbers of a library to those of the joined module.
#[derive(Default)]
struct Shift {
    of: [Vec<u32>; KINDS.len()],
    types: u32,
    elements: u32,
    data: u32,
    /// Values of globals that never change, of all libraries so far.
    constants: HashMap<u32, Instruction<'static>>,
    /// Globals that a function sets, or that whoever is outside may set.
    set: HashSet<u32>,
    /// Functions that others refer to.
    referred: BTreeSet<u32>,
}

impl Shift {
    fn at(&self, kind: usize, index: u32) -> Result<u32, Error<Left>> {
        self.of[kind].get(index as usize).copied().ok_or(Error::UserError(Left("what it names is not there")))
    }
}

fn plus(index: u32, shift: u32) -> Result<u32, Error<Left>> {
    index.checked_add(shift).ok_or(Error::UserError(Left("what it names is not there")))
}

impl Reencode for Shift {
    type Error = Left;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        self.at(FUNCTION, index)
    }

    fn table_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        self.at(TABLE, index)
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        self.at(MEMORY, index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        self.at(GLOBAL, index)
    }

    fn tag_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        self.at(TAG, index)
    }

    fn type_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        plus(index, self.types)
    }

    fn element_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        plus(index, self.elements)
    }

    fn data_index(&mut self, index: u32) -> Result<u32, Error<Left>> {
        plus(index, self.data)
    }

    fn instruction<'b>(&mut self, operator: Operator<'b>) -> Result<Instruction<'b>, Error<Left>> {
        match operator {
            Operator::GlobalSet { global_index } => drop(self.set.insert(self.at(GLOBAL, global_index)?)),
            Operator::RefFunc { function_index } => drop(self.referred.insert(self.at(FUNCTION, function_index)?)),
            _ => {}
        }
        utils::instruction(self, operator)
    }

    /// The value of another library's global stands in its place: it is one of this module now, for which such an expression may
    /// not ask, and of a table's place the engine wants to know the number.
    fn const_expr(&mut self, expression: ConstExpr<'_>) -> Result<wasm_encoder::ConstExpr, Error<Left>> {
        let mut operators = expression.get_operators_reader();
        let mut bytes = Vec::new();
        while !operators.is_end_then_eof() {
            let instruction = match operators.read()? {
                Operator::GlobalGet { global_index } => {
                    let known = self.constants.get(&self.at(GLOBAL, global_index)?).cloned();
                    known.ok_or(Error::UserError(Left("a value that is known only when it runs")))?
                }
                operator => self.instruction(operator)?,
            };
            instruction.encode(&mut bytes);
        }
        Ok(wasm_encoder::ConstExpr::raw(bytes))
    }
}
