//! A component, taken apart as far as joining needs it: its definitions in their order, each naming those before it that it uses.

use super::{FUNCTION, KINDS, Left, MEMORY, TABLE, kind, kind_of};
use std::collections::BTreeMap;
use wasm_encoder::CanonicalFunctionSection;
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent};
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    Encoding, Instance, Parser, Payload,
};

/// A definition. Others are named by their place among all.
pub(super) enum Def<'a> {
    /// A section in which no core item is named, and whether components are instantiated there.
    Section(u8, &'a [u8], bool),
    /// An alias of what is no core item.
    Other(ComponentAlias<'a>),
    /// A function for the outside.
    Lift(Canonical),
    /// A core function of the canonical ABI.
    Canon(Canonical),
    /// A core item that an instance exports.
    Alias { kind: usize, instance: usize, name: &'a str },
    /// An instance made of core items, by name and kind.
    Bundle(BTreeMap<(&'a str, usize), usize>),
    /// An instance of a module.
    Made { module: usize, args: Vec<(&'a str, usize)> },
}

/// A function of the canonical ABI, and the core items it names.
pub(super) struct Canonical {
    function: CanonicalFunction,
    /// Kind, number and definition.
    pub uses: Vec<(usize, u32, usize)>,
}

impl Canonical {
    /// The same with other numbers; `anew` gives that of a definition.
    pub fn encode(&self, anew: impl Fn(usize) -> Option<u32>) -> anyhow::Result<CanonicalFunctionSection> {
        let numbers = self.uses.iter().map(|(kind, number, def)| Some(((*kind, *number), anew(*def)?)));
        let numbers = numbers.collect::<Option<BTreeMap<_, _>>>().ok_or(Left("a function before what it names"))?;
        let mut section = CanonicalFunctionSection::new();
        Renumber { used: Vec::new(), numbers: Some(numbers) }.parse_component_canonical(&mut section, self.function.clone())?;
        Ok(section)
    }
}

/// A core module, as far as it tells what it does to others.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub bytes: &'a [u8],
    /// How many memories it has, and how many memories and tables it imports.
    pub memories: u32,
    pub shared: u32,
    pub tables: u32,
    /// Whether it has a function that runs when it is instantiated.
    pub runs: bool,
}

#[derive(Default)]
pub(super) struct Shape<'a> {
    pub defs: Vec<Def<'a>>,
    pub modules: Vec<Module<'a>>,
    /// The definition of each instance, and of each core item by kind.
    instances: Vec<usize>,
    items: [Vec<usize>; KINDS.len()],
}

impl<'a> Shape<'a> {
    pub fn parse(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let mut shape = Self::default();
        // How many modules and components this is in.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match (depth, &payload) {
                (0, _) => shape.add(bytes, &payload)?,
                (_, Payload::ComponentAliasSection(aliases)) => {
                    for alias in aliases.clone() {
                        no_module(matches!(alias?, ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. }))?;
                    }
                }
                // Of a module of this component: those of a component inside are one deeper.
                (1, _) => shape.modules.last_mut().map_or(Ok(()), |module| module.note(&payload))?,
                _ => {}
            }
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(shape)
    }

    fn add(&mut self, bytes: &'a [u8], payload: &Payload<'a>) -> anyhow::Result<()> {
        let mut made = false;
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } | Payload::End(_) => return Ok(()),
            Payload::ModuleSection { unchecked_range, .. } => {
                self.modules.push(Module { bytes: part(bytes, unchecked_range)?, ..Module::default() });
                return Ok(());
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    let def = self.instance(instance?)?;
                    self.instances.push(self.defs.len());
                    self.defs.push(def);
                }
                return Ok(());
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(alias?)?;
                }
                return Ok(());
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions.clone() {
                    self.canonical(function?)?;
                }
                return Ok(());
            }
            // It names items by numbers that are others then.
            Payload::CustomSection(custom) if custom.name() == "component-name" => return Ok(()),
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    no_module(matches!(import?.ty, ComponentTypeRef::Module(_)))?;
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    no_module(export?.kind == ComponentExternalKind::Module)?;
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    no_module(match instance? {
                        ComponentInstance::Instantiate { args, .. } => {
                            made = true;
                            args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
                        }
                        ComponentInstance::FromExports(exports) => {
                            exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
                        }
                    })?;
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types.clone() {
                    if let ComponentType::Resource { dtor: Some(_), .. } = ty? {
                        return Err(Left("a type names a function").into());
                    }
                }
            }
            Payload::ComponentSection { .. } | Payload::CoreTypeSection(_) | Payload::CustomSection(_) => {}
            _ => return Err(Left("a section that is not known").into()),
        }
        let (id, range) = payload.as_section().ok_or(Left("a section that is none"))?;
        self.defs.push(Def::Section(id, part(bytes, &range)?, made));
        Ok(())
    }

    fn instance(&self, instance: Instance<'a>) -> anyhow::Result<Def<'a>> {
        Ok(match instance {
            Instance::Instantiate { module_index, args } => {
                let args = args.iter().map(|arg| Ok((arg.name, there(&self.instances, arg.index)?))).collect::<Result<_, Left>>()?;
                Def::Made { module: module_index as usize, args }
            }
            Instance::FromExports(exports) => {
                let items = exports.iter().map(|export| {
                    let kind = kind(export.kind);
                    Ok(((export.name, kind), there(&self.items[kind], export.index)?))
                });
                Def::Bundle(items.collect::<Result<_, Left>>()?)
            }
        })
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> anyhow::Result<()> {
        let def = match alias {
            ComponentAlias::CoreInstanceExport { kind: of, instance_index, name } => {
                let (kind, instance) = (kind(of), there(&self.instances, instance_index)?);
                self.items[kind].push(self.defs.len());
                Def::Alias { kind, instance, name }
            }
            ComponentAlias::InstanceExport { kind, .. } => {
                no_module(kind == ComponentExternalKind::Module)?;
                Def::Other(alias)
            }
            ComponentAlias::Outer { kind, .. } => {
                no_module(kind == ComponentOuterAliasKind::CoreModule)?;
                Def::Other(alias)
            }
        };
        self.defs.push(def);
        Ok(())
    }

    fn canonical(&mut self, function: CanonicalFunction) -> anyhow::Result<()> {
        let mut names = Renumber::default();
        names.parse_component_canonical(&mut CanonicalFunctionSection::new(), function.clone())?;
        let uses = names.used.into_iter().map(|(kind, number)| Ok((kind, number, there(&self.items[kind], number)?)));
        let uses = uses.collect::<Result<_, Left>>()?;
        let is_lift = matches!(function, CanonicalFunction::Lift { .. });
        let canonical = Canonical { function, uses };
        if !is_lift {
            self.items[FUNCTION].push(self.defs.len());
        }
        self.defs.push(if is_lift { Def::Lift(canonical) } else { Def::Canon(canonical) });
        Ok(())
    }
}

impl Module<'_> {
    fn note(&mut self, payload: &Payload<'_>) -> anyhow::Result<()> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let kind = kind_of(import?.ty);
                    self.shared = self.shared.saturating_add(u32::from(kind == MEMORY));
                    self.tables = self.tables.saturating_add(u32::from(kind == TABLE));
                }
            }
            Payload::MemorySection(memories) => self.memories = self.memories.saturating_add(memories.count()),
            Payload::StartSection { .. } => self.runs = true,
            _ => {}
        }
        Ok(())
    }
}

fn part<'a>(bytes: &'a [u8], range: &std::ops::Range<u64>) -> anyhow::Result<&'a [u8]> {
    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
    Ok(bytes.get(range).ok_or(Left("a section that is not there"))?)
}

fn there(all: &[usize], index: u32) -> Result<usize, Left> {
    all.get(index as usize).copied().ok_or(Left("what it names is not there"))
}

/// Modules have other numbers then, so none may be named but by an instance of it.
fn no_module(named: bool) -> Result<(), Left> {
    if named { Err(Left("a module goes in or out")) } else { Ok(()) }
}

/// Notes which core items a function of the canonical ABI names, or gives them other numbers.
#[derive(Default)]
struct Renumber {
    used: Vec<(usize, u32)>,
    numbers: Option<BTreeMap<(usize, u32), u32>>,
}

impl Renumber {
    fn at(&mut self, kind: usize, number: u32) -> Result<u32, Error<Left>> {
        let Some(numbers) = &self.numbers else {
            self.used.push((kind, number));
            return Ok(number);
        };
        numbers.get(&(kind, number)).copied().ok_or(Error::UserError(Left("what it names is not there")))
    }
}

impl Reencode for Renumber {
    type Error = Left;

    fn function_index(&mut self, number: u32) -> Result<u32, Error<Left>> {
        self.at(FUNCTION, number)
    }

    fn table_index(&mut self, number: u32) -> Result<u32, Error<Left>> {
        self.at(TABLE, number)
    }

    fn memory_index(&mut self, number: u32) -> Result<u32, Error<Left>> {
        self.at(MEMORY, number)
    }
}

impl ReencodeComponent for Renumber {}
