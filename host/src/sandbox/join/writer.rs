//! Writes the component with the joined module in the place of the last library.

use super::shape::{Def, Shape};
use super::{FUNCTION, Joined, KINDS, Left, Outside, library};
use std::collections::{BTreeMap, HashMap};
use wasm_encoder::reencode::RoundtripReencoder;
use wasm_encoder::reencode::component_utils::component_alias;
use wasm_encoder::{Alias, Component, ComponentAliasSection, ComponentSectionId, InstanceSection, ModuleArg, ModuleSection, RawSection};

/// # Errors
/// The libraries cannot be in one place.
pub(super) fn write(shape: &Shape<'_>, joined: &Joined<'_>) -> anyhow::Result<Vec<u8>> {
    let theirs = theirs(shape, joined);
    let (needed, exports) = needed(shape, joined)?;
    let (first, last) = (joined.libraries.first(), joined.libraries.last());
    let (first, last) = (first.map(|library| library.instance), last.map(|library| library.instance));
    let starts = joined.libraries.iter().any(|library| library.start.is_some());
    let mut writer = Writer {
        shape,
        joined,
        exports,
        component: Component::new(),
        numbers: vec![None; shape.defs.len()],
        modules: HashMap::new(),
        instances: 0,
        items: [0; KINDS.len()],
        all_modules: 0,
        one: None,
    };
    let (functions, mut later) = (functions(shape, &theirs), Vec::new());
    for (at, def) in shape.defs.iter().enumerate() {
        let between = first.is_some_and(|first| first < at) && Some(at) < last;
        if Some(at) == last {
            if starts && later.iter().any(|def| matches!(shape.defs[*def], Def::Made { .. })) {
                return Err(Left("the last library runs, and what it may call comes after it").into());
            }
            writer.join()?;
            for def in std::mem::take(&mut later) {
                writer.add(def)?;
            }
        } else if joined.of.contains_key(&at) || !needed[at] {
            // A library, or what was between them alone.
        } else if between && !may_move(shape, &functions, theirs[at], def)? {
            return Err(Left("between the libraries something runs, or writes where others write").into());
        } else if !theirs[at] || !between {
            writer.add(at)?;
        } else {
            later.push(at);
        }
    }
    Ok(writer.component.finish())
}

/// Whether nobody sees that libraries before it come after it; or if it is theirs, that it comes after the last one.
fn may_move(shape: &Shape<'_>, functions: &[bool], theirs: bool, def: &Def<'_>) -> Result<bool, Left> {
    Ok(match def {
        Def::Section(_, _, made) => !made,
        Def::Lift(_) => !theirs,
        Def::Made { module, args } => {
            let module = shape.modules.get(*module).ok_or(Left("a module that is not there"))?;
            !module.runs && if theirs { args.iter().all(|(_, arg)| functions[*arg]) } else { module.tables == 0 }
        }
        Def::Other(_) | Def::Canon(_) | Def::Alias { .. } | Def::Bundle(_) => true,
    })
}

/// Which definitions give functions alone of what is the libraries'.
fn functions(shape: &Shape<'_>, theirs: &[bool]) -> Vec<bool> {
    let only = |def: &Def<'_>| match def {
        Def::Bundle(items) => items.iter().all(|((_, kind), item)| *kind == FUNCTION || !theirs[*item]),
        _ => false,
    };
    shape.defs.iter().zip(theirs).map(|(def, theirs)| !theirs || only(def)).collect()
}

/// Which definitions are of the libraries, or made of what is.
fn theirs(shape: &Shape<'_>, joined: &Joined<'_>) -> Vec<bool> {
    let mut theirs: Vec<bool> = Vec::with_capacity(shape.defs.len());
    for (at, def) in shape.defs.iter().enumerate() {
        let of = match def {
            Def::Section(..) | Def::Other(_) => false,
            Def::Lift(function) | Def::Canon(function) => function.uses.iter().any(|(_, _, def)| theirs[*def]),
            Def::Alias { instance, .. } => theirs[*instance],
            Def::Bundle(items) => items.values().any(|def| theirs[*def]),
            Def::Made { args, .. } => joined.of.contains_key(&at) || args.iter().any(|(_, def)| theirs[*def]),
        };
        theirs.push(of);
    }
    theirs
}

/// Exports of the joined module, which a number names: library, kind and name.
type Exports<'a> = BTreeMap<(usize, usize, &'a str), u32>;

/// Which definitions are written, and what is asked of the libraries: the rest was between them.
fn needed<'a>(shape: &Shape<'a>, joined: &Joined<'_>) -> anyhow::Result<(Vec<bool>, Exports<'a>)> {
    let mut needed = vec![false; shape.defs.len()];
    let mut exports = Exports::new();
    for outside in joined.outside.iter().flatten() {
        match outside {
            Outside::Item(def) | Outside::Export(def, _) => needed[*def] = true,
        }
    }
    // Whoever uses a definition comes after it.
    for (at, def) in shape.defs.iter().enumerate().rev() {
        match def {
            _ if joined.of.contains_key(&at) => {}
            Def::Section(..) | Def::Other(_) => needed[at] = true,
            Def::Lift(function) => {
                needed[at] = true;
                function.uses.iter().for_each(|(_, _, def)| needed[*def] = true);
            }
            Def::Made { args, .. } => {
                needed[at] = true;
                for (_, def) in args {
                    if joined.of.contains_key(def) {
                        return Err(Left("a library goes outside as a whole").into());
                    }
                    needed[*def] = true;
                }
            }
            _ if !needed[at] => {}
            Def::Canon(function) => function.uses.iter().for_each(|(_, _, def)| needed[*def] = true),
            Def::Bundle(items) => items.values().for_each(|def| needed[*def] = true),
            Def::Alias { kind, instance, name } => match joined.of.get(instance) {
                Some(&library) => {
                    let number = u32::try_from(exports.len())?;
                    exports.entry((library, *kind, *name)).or_insert(number);
                }
                None => needed[*instance] = true,
            },
        }
    }
    Ok((needed, exports))
}

struct Writer<'s, 'a> {
    shape: &'s Shape<'a>,
    joined: &'s Joined<'a>,
    exports: Exports<'a>,
    component: Component,
    /// The new number of each definition that was written, among those of its kind.
    numbers: Vec<Option<u32>>,
    modules: HashMap<usize, u32>,
    instances: u32,
    items: [u32; KINDS.len()],
    all_modules: u32,
    /// The instance of the joined module.
    one: Option<u32>,
}

impl Writer<'_, '_> {
    fn number(&self, def: usize) -> Result<u32, Left> {
        self.numbers[def].ok_or(Left("a definition before what it is made of"))
    }

    fn add(&mut self, at: usize) -> anyhow::Result<()> {
        let shape = self.shape;
        match &shape.defs[at] {
            Def::Section(id, data, _) => {
                self.component.section(&RawSection { id: *id, data });
            }
            Def::Other(alias) => {
                let alias = component_alias(&mut RoundtripReencoder, alias.clone())?;
                self.component.section(ComponentAliasSection::new().alias(alias));
            }
            Def::Lift(function) => {
                self.component.section(&function.encode(|def| self.numbers[def])?);
            }
            Def::Canon(function) => {
                self.component.section(&function.encode(|def| self.numbers[def])?);
                self.numbers[at] = Some(self.item(FUNCTION));
            }
            Def::Alias { kind, instance, name } => {
                let number = match self.joined.of.get(instance) {
                    Some(&library) => {
                        let name = self.exports.get(&(library, *kind, *name)).ok_or(Left("an export that nobody asked for"))?.to_string();
                        let one = self.one.ok_or(Left("an item before its library"))?;
                        self.alias(*kind, one, &name)
                    }
                    None => self.alias(*kind, self.number(*instance)?, name),
                };
                self.numbers[at] = Some(number);
            }
            Def::Bundle(items) => {
                let items = items.iter().map(|((name, kind), def)| Ok((*name, KINDS[*kind], self.number(*def)?)));
                let items = items.collect::<Result<Vec<_>, Left>>()?;
                self.numbers[at] = Some(self.instance(InstanceSection::new().export_items(items)));
            }
            Def::Made { module, args } => {
                let args = args.iter().map(|(name, def)| Ok((*name, ModuleArg::Instance(self.number(*def)?))));
                let args = args.collect::<Result<Vec<_>, Left>>()?;
                let module = match self.modules.get(module) {
                    Some(module) => *module,
                    None => {
                        let data = shape.modules.get(*module).ok_or(Left("a module that is not there"))?.bytes;
                        self.component.section(&RawSection { id: ComponentSectionId::CoreModule as u8, data });
                        self.modules.insert(*module, self.all_modules);
                        self.all_modules += 1;
                        self.all_modules - 1
                    }
                };
                self.numbers[at] = Some(self.instance(InstanceSection::new().instantiate(module, args)));
            }
        }
        Ok(())
    }

    /// The joined module, what it imports in one instance, and its own.
    fn join(&mut self) -> anyhow::Result<()> {
        let joined = self.joined;
        let module = library::module(joined, &self.exports)?;
        self.component.section(&ModuleSection(&module));
        let mut items = Vec::new();
        for (kind, outside) in joined.outside.iter().enumerate() {
            for item in outside {
                let number = match item {
                    Outside::Item(def) => self.number(*def)?,
                    Outside::Export(instance, name) => self.alias(kind, self.number(*instance)?, name),
                };
                items.push((items.len().to_string(), KINDS[kind], number));
            }
        }
        let items = items.iter().map(|(name, kind, number)| (name.as_str(), *kind, *number)).collect::<Vec<_>>();
        let given = self.instance(InstanceSection::new().export_items(items));
        let (section, module) = (&mut InstanceSection::new(), self.all_modules);
        self.all_modules += 1;
        self.one = Some(self.instance(section.instantiate(module, [("", ModuleArg::Instance(given))])));
        Ok(())
    }

    /// An alias of a core item, and its number.
    fn alias(&mut self, kind: usize, instance: u32, name: &str) -> u32 {
        let alias = Alias::CoreInstanceExport { instance, kind: KINDS[kind], name };
        self.component.section(ComponentAliasSection::new().alias(alias));
        self.item(kind)
    }

    /// The number of one more core item.
    fn item(&mut self, kind: usize) -> u32 {
        self.items[kind] += 1;
        self.items[kind] - 1
    }

    /// Writes one more core instance; its number.
    fn instance(&mut self, section: &InstanceSection) -> u32 {
        self.component.section(section);
        self.instances += 1;
        self.instances - 1
    }
}
