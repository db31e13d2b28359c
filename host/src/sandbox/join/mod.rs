//! Joins the core modules of a component that share a memory, as a compiler links libraries of a language, into one.
//!
//! An engine fills a table that several modules import entry by entry at each instantiation, and finds each of their imports then;
//! the table of one module it fills where it is asked for an entry. A component made of Python has six thousand entries and two
//! thousand imports, and they take longer than what runs in it.
//!
//! The rule it keeps: what comes in and goes out, and what every function does, is as before. It runs in the compiler's child,
//! takes a time in proportion to the component, and recurses nowhere.
//!
//! Where the rule ends: a component of another shape than such a compiler gives is left as it is.

mod library;
mod shape;
mod writer;

use shape::{Def, Shape};
use std::collections::HashMap;
use wasm_encoder::ExportKind;
use wasmparser::{ExternalKind, TypeRef, Validator, WasmFeatures};

/// The kinds of what a core module defines, as the functions below number them.
const KINDS: [ExportKind; 5] = [ExportKind::Func, ExportKind::Table, ExportKind::Memory, ExportKind::Global, ExportKind::Tag];
const FUNCTION: usize = 0;
const TABLE: usize = 1;
const MEMORY: usize = 2;
const GLOBAL: usize = 3;
const TAG: usize = 4;

fn kind(kind: ExternalKind) -> usize {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => FUNCTION,
        ExternalKind::Table => TABLE,
        ExternalKind::Memory => MEMORY,
        ExternalKind::Global => GLOBAL,
        ExternalKind::Tag => TAG,
    }
}

fn kind_of(import: TypeRef) -> usize {
    match import {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => FUNCTION,
        TypeRef::Table(_) => TABLE,
        TypeRef::Memory(_) => MEMORY,
        TypeRef::Global(_) => GLOBAL,
        TypeRef::Tag(_) => TAG,
    }
}

/// Why a component is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Left(&'static str);

/// The component with its libraries joined.
///
/// # Errors
/// It has none, or another shape.
pub(crate) fn join(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let shape = Shape::parse(component)?;
    let ways = match (library::instances(&shape, true), library::instances(&shape, false)) {
        (Err(_), Err(left)) => return Err(left.into()),
        (all, fewer) => [all, fewer].into_iter().flatten(),
    };
    // What they import of each other fits, for one, and is not asked again. Of what the engine has it says itself.
    Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    let mut last = Err(Left("it has no libraries").into());
    for instances in ways {
        last = joined(&shape, &instances);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn joined(shape: &Shape<'_>, instances: &[usize]) -> anyhow::Result<Vec<u8>> {
    let joined = Joined::new(shape, library::libraries(shape, instances)?)?;
    if !joined.outside[TABLE].is_empty() {
        return Err(Left("a table from outside, in which others may write in their turn").into());
    }
    writer::write(shape, &joined)
}

/// Where an item is in the joined module: the how many-eth of its kind among the imported or the defined ones.
#[derive(Clone, Copy)]
enum Slot {
    Imported(u32),
    Defined(u32),
}

/// What a library imports from outside all of them: a core item of the component, or an export of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Outside<'a> {
    Item(usize),
    Export(usize, &'a str),
}

/// What a core item of the component is.
#[derive(Clone, Copy)]
enum Origin {
    Library(Slot),
    Outside(usize),
}

/// The libraries, and where each of their items is in the joined module.
struct Joined<'a> {
    libraries: Vec<library::Library<'a>>,
    /// Which library a definition of the component is an instance of.
    of: HashMap<usize, usize>,
    /// By library and kind.
    slots: Vec<[Vec<Slot>; 5]>,
    /// By kind, what is imported.
    outside: [Vec<Outside<'a>>; 5],
}

impl<'a> Joined<'a> {
    fn new(shape: &Shape<'a>, libraries: Vec<library::Library<'a>>) -> anyhow::Result<Self> {
        let of: HashMap<usize, usize> = libraries.iter().enumerate().map(|(library, one)| (one.instance, library)).collect();
        let mut joined = Self { libraries, of, slots: Vec::new(), outside: Default::default() };
        let mut origins: Vec<Option<Origin>> = Vec::with_capacity(shape.defs.len());
        let mut seen: [HashMap<Outside<'a>, u32>; 5] = Default::default();
        let mut defined = [0; 5];
        for (at, def) in shape.defs.iter().enumerate() {
            let origin = match def {
                Def::Canon(_) => Some(Origin::Outside(at)),
                Def::Alias { kind, instance, name } => match (joined.of.get(instance), &shape.defs[*instance]) {
                    (Some(&library), _) => Some(Origin::Library(joined.export(library, *kind, name)?)),
                    (None, Def::Bundle(items)) => origins[*items.get(&(*name, *kind)).ok_or(Left("an export that is not there"))?],
                    (None, _) => Some(Origin::Outside(at)),
                },
                _ => None,
            };
            origins.push(origin);
            if let (Some(&library), Def::Made { args, .. }) = (joined.of.get(&at), def) {
                let args: HashMap<&str, usize> = args.iter().copied().collect();
                joined.resolve(shape, &origins, &args, library, &mut seen, &mut defined)?;
            }
        }
        Ok(joined)
    }

    /// Finds where each item of a library is, those before it having been found.
    fn resolve(
        &mut self,
        shape: &Shape<'a>,
        origins: &[Option<Origin>],
        args: &HashMap<&str, usize>,
        library: usize,
        seen: &mut [HashMap<Outside<'a>, u32>; 5],
        defined: &mut [u32; 5],
    ) -> anyhow::Result<()> {
        let mut slots: [Vec<Slot>; 5] = Default::default();
        for import in &self.libraries[library].imports {
            let kind = kind_of(import.ty);
            let instance = *args.get(import.module).ok_or(Left("an import that nobody gives"))?;
            let outside = match (self.of.get(&instance), &shape.defs[instance]) {
                (Some(&library), _) => Err(self.export(library, kind, import.name)?),
                (None, Def::Bundle(items)) => {
                    let item = *items.get(&(import.name, kind)).ok_or(Left("an export that is not there"))?;
                    match origins[item].ok_or(Left("an export that is no item"))? {
                        Origin::Library(slot) => Err(slot),
                        Origin::Outside(item) => Ok(Outside::Item(item)),
                    }
                }
                (None, _) => Ok(Outside::Export(instance, import.name)),
            };
            slots[kind].push(match outside {
                Err(slot) => slot,
                Ok(outside) => {
                    let next = u32::try_from(self.outside[kind].len())?;
                    let slot = *seen[kind].entry(outside).or_insert(next);
                    if slot == next {
                        self.outside[kind].push(outside);
                    }
                    Slot::Imported(slot)
                }
            });
        }
        for (kind, slots) in slots.iter_mut().enumerate() {
            let first = defined[kind];
            defined[kind] = first.checked_add(self.libraries[library].defined[kind]).ok_or(Left("more than there are numbers"))?;
            slots.extend((first..defined[kind]).map(Slot::Defined));
        }
        self.slots.push(slots);
        Ok(())
    }

    fn export(&self, library: usize, kind: usize, name: &str) -> Result<Slot, Left> {
        let found = self.libraries[library].exports.get(name).filter(|(of, _)| *of == kind);
        let slot = found.and_then(|(_, index)| self.slots.get(library)?[kind].get(*index as usize));
        slot.copied().ok_or(Left("an export that is not there"))
    }

    /// The number of an item in the joined module, where what is imported comes first.
    fn index(&self, kind: usize, slot: Slot) -> u32 {
        match slot {
            Slot::Imported(at) => at,
            Slot::Defined(at) => u32::try_from(self.outside[kind].len()).unwrap_or(u32::MAX).saturating_add(at),
        }
    }
}

#[cfg(test)]
mod tests;
