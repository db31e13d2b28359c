//! Components of any world: each function they export is a tool, its arguments and its result by their WIT types.
//!
//! The rule it keeps: a function is a tool when each of its types can be written as JSON, whole; the others are named with
//! the reason. An error that a function returns is the tool's error.
//!
//! Where the rule ends: what the component imports is linked, or refused, as for any other.

mod types;
mod values;

#[cfg(test)]
mod tests;

use crate::error::Kind;
use crate::sandbox::bindings::palisade::plugin::types as plugin;
use crate::sandbox::call::{Content, Definition, Failure};
use crate::sandbox::entry::checked;
use crate::sandbox::state::State;
use palisade_policy::{Limit, Limits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::{Room, Type};
use values::Memory;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentExportIndex, InstancePre, Val};
use wasmtime::{Engine, Store};

/// Most functions that are looked at: a source has no more tools.
const MOST: usize = 256;
/// The engine keeps each byte of a result in some forty of its own. This many times the limit of a result is what it may
/// take for one while it is read, so that a list of bytes may have a fifth of the limit.
const ROOM: usize = 8;
/// Of flags it counts the letters, and keeps some sixty bytes for each.
const FLAGS: usize = 8;

/// The functions of a component, linked.
pub(crate) struct Functions {
    pre: InstancePre<State>,
    by_name: BTreeMap<String, Function>,
    refused: Vec<(String, String)>,
}

struct Function {
    /// Its name in the component.
    own: String,
    /// The interface that has it, where it is not the component's own.
    interface: Option<String>,
    params: Vec<(String, Type)>,
    result: Option<Type>,
    index: ComponentExportIndex,
}

impl Functions {
    /// # Errors
    /// One sentence: there is none that can be called.
    pub(super) fn new(pre: InstancePre<State>) -> Result<Self, String> {
        let mut found = Found { by_name: BTreeMap::new(), refused: Vec::new(), seen: 0, room: Room::of_a_component() };
        let component = pre.component().clone();
        let engine = component.engine();
        for (name, export) in component.component_type().exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(ty) => {
                    let index = component.get_export_index(None, name);
                    found.add(name, None, &ty, index)?;
                }
                ComponentItem::ComponentInstance(instance) => {
                    let Some(place) = component.get_export_index(None, name) else { continue };
                    for (own, inner) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(ty) = inner.ty {
                            let index = component.get_export_index(Some(&place), own);
                            found.add(own, Some(name), &ty, index)?;
                        }
                    }
                }
                _ => {}
            }
        }
        let Found { by_name, refused, .. } = found;
        if by_name.is_empty() {
            return Err(match refused.first() {
                Some((name, why)) => format!("none of the functions it exports can be a tool; {name}: {why}"),
                None => "the component exports no function".to_owned(),
            });
        }
        Ok(Self { pre, by_name, refused })
    }

    pub(super) fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// Its functions as tools, and those that are none, each with the reason.
    pub(super) fn definitions(&self) -> (Vec<Definition>, Vec<(String, String)>) {
        (self.by_name.iter().map(|(name, function)| function.definition(name)).collect(), self.refused.clone())
    }

    /// Makes an instance, for what that costs.
    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
        self.pre.instantiate_async(store).await.map(drop)
    }

    /// Calls one in a fresh instance.
    pub(super) async fn call(
        &self,
        store: &mut Store<State>,
        name: &str,
        arguments: &str,
        limits: &Limits,
    ) -> wasmtime::Result<Result<Vec<Content>, Failure>> {
        let Some(function) = self.by_name.get(name) else {
            return Ok(Err(Failure::new(Kind::Internal, "the component has no such function")));
        };
        let given = match serde_json::from_str(arguments) {
            Ok(Value::Object(given)) => values::fields(&function.params, &given, &mut Memory::default()),
            _ => Err("they are not a JSON object".to_owned()),
        };
        let params: Vec<Val> = match given {
            Ok(fields) => fields.into_iter().map(|(_, value)| value).collect(),
            // The schema accepts what converts, so they are too large.
            Err(why) => return Ok(Err(Failure::new(Kind::ToolFailed, format!("the arguments do not fit: {why}")))),
        };
        let most = limits.size(Limit::Result).max(limits.size(Limit::Arguments));
        let flags = function.result.as_ref().is_some_and(Type::has_flags);
        store.set_hostcall_fuel(if flags { most / FLAGS } else { most.saturating_mul(ROOM) });
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let Some(func) = instance.get_func(&mut *store, function.index) else {
            return Ok(Err(Failure::new(Kind::Internal, "the component has lost a function")));
        };
        let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
        func.call_async(&mut *store, &params, &mut results).await?;
        let answered = match (&function.result, results.pop()) {
            (Some(ty), Some(value)) => content(ty, value, limits),
            _ => Ok(None),
        };
        Ok(answered.and_then(|content| checked(content.into_iter().collect(), limits)))
    }
}

/// What a value is as a result of a call.
fn content(ty: &Type, value: Val, limits: &Limits) -> Result<Option<plugin::Content>, Failure> {
    let large = |why: String| Failure::new(Kind::LimitOutput, why);
    let mut memory = Memory::default();
    match (ty, value) {
        (Type::Result(ok, _), Val::Result(Ok(value))) => match (ok, value) {
            (Some(ty), Some(value)) => plain(ty, *value, &mut memory).map_err(large).map(Some),
            _ => Ok(None),
        },
        (Type::Result(_, error), Val::Result(Err(value))) => {
            let message = match (error, value.map(|value| *value)) {
                (_, Some(Val::String(text))) => text,
                (Some(ty), Some(value)) => values::json(ty, &value, &mut memory).map_err(large)?.to_string(),
                _ => "it reports an error, and not which".to_owned(),
            };
            let most = limits.size(Limit::Result);
            if message.len() > most {
                return Err(large(format!("its error has {} bytes; the limit of a result is {most}", message.len())));
            }
            Err(Failure::new(Kind::ToolFailed, message))
        }
        (ty, value) => plain(ty, value, &mut memory).map_err(large).map(Some),
    }
}

/// A text is text, bytes are bytes, a record is JSON, and anything else the one field of such.
fn plain(ty: &Type, value: Val, memory: &mut Memory) -> Result<plugin::Content, String> {
    Ok(match (ty, value) {
        (Type::String, Val::String(text)) => plugin::Content::Text(text),
        (Type::Bytes, Val::List(items)) => {
            let bytes = items.into_iter().filter_map(|item| if let Val::U8(byte) = item { Some(byte) } else { None });
            plugin::Content::Blob(plugin::Blob { mime: "application/octet-stream".to_owned(), data: bytes.collect() })
        }
        (Type::Record(_), value) => plugin::Content::Json(values::json(ty, &value, memory)?.to_string()),
        (ty, value) => plugin::Content::Json(json!({"result": values::json(ty, &value, memory)?}).to_string()),
    })
}

impl Function {
    fn definition(&self, name: &str) -> Definition {
        let schema = types::object(&self.params, Type::schema);
        let answer = match &self.result {
            Some(Type::Result(ok, _)) => ok.as_deref(),
            other => other.as_ref(),
        };
        let output = answer.and_then(|ty| match ty {
            Type::String | Type::Bytes => None,
            Type::Record(_) => Some(ty.schema()),
            ty => Some(types::object(&[("result".to_owned(), ty.clone())], Type::schema)),
        });
        Definition {
            name: name.to_owned(),
            title: None,
            description: self.description(),
            input_schema: schema.to_string(),
            output_schema: output.map(|schema| schema.to_string()),
            hints: None,
        }
    }

    fn description(&self) -> String {
        let params: Vec<String> = self.params.iter().map(|(name, ty)| format!("{name}: {}", ty.name())).collect();
        let result = self.result.as_ref().map_or_else(String::new, |ty| format!(" -> {}", ty.name()));
        let of = self.interface.as_ref().map_or_else(|| "a function of the component".to_owned(), |name| format!("a function of `{name}`"));
        format!("`{}: func({}){result}`, {of}.", self.own, params.join(", "))
    }
}

struct Found {
    by_name: BTreeMap<String, Function>,
    refused: Vec<(String, String)>,
    seen: usize,
    room: Room,
}

impl Found {
    fn add(&mut self, own: &str, interface: Option<&str>, ty: &ComponentFunc, index: Option<ComponentExportIndex>) -> Result<(), String> {
        self.seen += 1;
        if self.seen > MOST {
            return Err(format!("it exports more than {MOST} functions"));
        }
        let name = tool_name(own, interface);
        let given = self.room.of_a_signature();
        let mut room = given;
        let read = |room: &mut Room| {
            if own.starts_with('[') {
                return Err("it belongs to a resource, which lives in one instance".to_owned());
            }
            if ty.async_() {
                return Err("it is an async function of WASI 0.3".to_owned());
            }
            let index = index.ok_or("the engine does not find it")?;
            let interface = interface.map(|name| room.name(name)).transpose()?;
            let own = room.name(own)?;
            let param = |(name, ty): (&str, _)| Ok::<_, String>((room.name(name)?, Type::read(&ty, room)?));
            let params = ty.params().map(param).collect::<Result<Vec<_>, _>>()?;
            let result = ty.results().next().map(|ty| Type::read(&ty, room)).transpose()?;
            Ok(Function { own, interface, params, result, index })
        };
        let read = read(&mut room);
        self.room.without(given, room);
        match read {
            Err(why) => self.refused.push((crate::clean::line(&name, crate::clean::NAME), why)),
            Ok(_) if self.by_name.contains_key(&name) || self.refused.iter().any(|(refused, _)| *refused == name) => {
                self.by_name.remove(&name);
                self.refused.push((name, "two of its functions would be the tool of this name".to_owned()));
            }
            Ok(function) => {
                self.by_name.insert(name, function);
            }
        }
        Ok(())
    }
}

/// `greet` of the component itself is `greet`, and of `docs:hello/api@1.0.0` it is `api-greet`; an id has small letters.
fn tool_name(own: &str, interface: Option<&str>) -> String {
    let own = own.to_ascii_lowercase();
    match interface {
        None => own,
        Some(interface) => {
            let name = interface.rsplit('/').next().unwrap_or(interface);
            let name = name.split('@').next().unwrap_or(name);
            format!("{}-{own}", name.to_ascii_lowercase())
        }
    }
}
