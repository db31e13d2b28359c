//! Values of WIT types, from JSON and back, without loss.
//!
//! The rule it keeps: what the schema of a type accepts becomes a value, and nothing else does; a value that became JSON
//! becomes the same value again. Of a map in which a key stands twice the last counts, as in the component model.
//!
//! Never here: whether a call may be made.

use super::types::{Int, NOT_FINITE, Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use wasmtime::component::Val;

/// What values may take of the host's memory while they are on their way, in bytes.
const MEMORY: usize = 48 * 1024 * 1024;
/// What one takes beside its text: of the engine's values and of JSON's the larger, and a name's own part.
const VALUE: usize = size_of::<Value>();
const NAME: usize = 64;

/// What of [`MEMORY`] is left.
#[derive(Debug)]
pub(super) struct Memory(usize);

impl Default for Memory {
    fn default() -> Self {
        Self(MEMORY)
    }
}

impl Memory {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| format!("its values take more than {} MiB of the host", MEMORY >> 20))?;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<String, String> {
        self.take(text.len() + NAME)?;
        Ok(text.to_owned())
    }
}

/// The value that a piece of JSON is of a type.
///
/// # Errors
/// One sentence: what it is not, or that it is too large.
pub fn value(ty: &Type, given: &Value, memory: &mut Memory) -> Result<Val, String> {
    memory.take(VALUE)?;
    let not = || format!("it is not a value of {}", ty.name());
    Ok(match (ty, given) {
        (Type::Bool, Value::Bool(yes)) => Val::Bool(*yes),
        (Type::Int(int), Value::Number(number)) => integer(*int, number).ok_or_else(not)?,
        (Type::Float32, _) => Val::Float32(float32(given).ok_or_else(not)?),
        (Type::Float64, _) => Val::Float64(float64(given).ok_or_else(not)?),
        (Type::Char, Value::String(text)) => {
            let mut chars = text.chars();
            let (Some(one), None) = (chars.next(), chars.next()) else { return Err(not()) };
            Val::Char(one)
        }
        (Type::String, Value::String(text)) => Val::String(memory.text(text)?),
        (Type::Bytes, Value::String(text)) => {
            memory.take(text.len() * VALUE)?;
            Val::List(STANDARD.decode(text).map_err(|_| not())?.into_iter().map(Val::U8).collect())
        }
        (Type::List(ty), Value::Array(items)) => Val::List(items.iter().map(|item| value(ty, item, memory)).collect::<Result<_, _>>()?),
        (Type::Map(key, ty), Value::Object(entries)) if **key == Type::String => {
            let entries = entries.iter().map(|(key, item)| Ok((Val::String(memory.text(key)?), value(ty, item, memory)?)));
            Val::Map(entries.collect::<Result<_, String>>()?)
        }
        (Type::Map(key, ty), Value::Array(pairs)) if **key != Type::String => {
            let mut pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([first, second]) => Ok((value(key, first, memory)?, value(ty, second, memory)?)),
                _ => Err(not()),
            };
            Val::Map(pairs.iter().map(&mut pair).collect::<Result<_, _>>()?)
        }
        (Type::Record(fields), Value::Object(given)) => Val::Record(self::fields(fields, given, memory)?),
        (Type::Tuple(types), Value::Array(items)) if types.len() == items.len() => {
            Val::Tuple(types.iter().zip(items).map(|(ty, item)| value(ty, item, memory)).collect::<Result<_, _>>()?)
        }
        (Type::Variant(cases), Value::String(name)) => match cases.iter().find(|(case, _)| case == name) {
            Some((_, None)) => Val::Variant(memory.text(name)?, None),
            _ => return Err(not()),
        },
        (Type::Variant(cases), Value::Object(object)) => {
            let (name, item) = only(object).ok_or_else(not)?;
            match cases.iter().find(|(case, _)| case == name) {
                Some((_, Some(ty))) => Val::Variant(memory.text(name)?, Some(Box::new(value(ty, item, memory)?))),
                _ => return Err(not()),
            }
        }
        (Type::Enum(names), Value::String(name)) if names.contains(name) => Val::Enum(memory.text(name)?),
        (Type::Option(_), Value::Null) => Val::Option(None),
        (Type::Option(ty), given) if !ty.takes_null() => Val::Option(Some(Box::new(value(ty, given, memory)?))),
        (Type::Option(ty), Value::Object(object)) => match only(object) {
            Some((name, item)) if name == "some" => Val::Option(Some(Box::new(value(ty, item, memory)?))),
            _ => return Err(not()),
        },
        (Type::Result(ok, error), Value::Object(object)) => {
            let mut side = |ty: &Option<Box<Type>>, item: &Value| match (ty, item) {
                (None, Value::Null) => Ok(None),
                (None, _) => Err(not()),
                (Some(ty), item) => Ok(Some(Box::new(value(ty, item, memory)?))),
            };
            match only(object) {
                Some((name, item)) if name == "ok" => Val::Result(Ok(side(ok, item)?)),
                Some((name, item)) if name == "error" => Val::Result(Err(side(error, item)?)),
                _ => return Err(not()),
            }
        }
        (Type::Flags(names), Value::Array(items)) => {
            let mut set: Vec<String> = Vec::new();
            for item in items {
                match item.as_str() {
                    Some(name) if names.iter().any(|known| known == name) && !set.iter().any(|one| one == name) => {
                        set.push(memory.text(name)?);
                    }
                    _ => return Err(not()),
                }
            }
            Val::Flags(set)
        }
        _ => return Err(not()),
    })
}

/// Named values: those of the fields, in their order, and no others.
///
/// # Errors
/// One sentence: which is missing, too much, or not a value of its type.
pub fn fields(types: &[(String, Type)], given: &Map<String, Value>, memory: &mut Memory) -> Result<Vec<(String, Val)>, String> {
    if let Some(other) = given.keys().find(|key| !types.iter().any(|(name, _)| name == *key)) {
        return Err(format!("there is no `{other}`"));
    }
    let one = |(name, ty): &(String, Type)| {
        memory.take(VALUE)?;
        match given.get(name) {
            Some(item) => Ok((memory.text(name)?, value(ty, item, memory)?)),
            None if ty.takes_null() => Ok((memory.text(name)?, Val::Option(None))),
            None => Err(format!("`{name}` is missing")),
        }
    };
    types.iter().map(one).collect()
}

/// A value of a type as JSON.
///
/// # Errors
/// One sentence: it is too large, or not of that type, which the engine never gives.
pub fn json(ty: &Type, given: &Val, memory: &mut Memory) -> Result<Value, String> {
    memory.take(VALUE)?;
    let not = || "it is not of its type".to_owned();
    Ok(match (ty, given) {
        (Type::Bool, Val::Bool(yes)) => Value::Bool(*yes),
        (Type::Int(_), Val::S8(n)) => json!(n),
        (Type::Int(_), Val::U8(n)) => json!(n),
        (Type::Int(_), Val::S16(n)) => json!(n),
        (Type::Int(_), Val::U16(n)) => json!(n),
        (Type::Int(_), Val::S32(n)) => json!(n),
        (Type::Int(_), Val::U32(n)) => json!(n),
        (Type::Int(_), Val::S64(n)) => json!(n),
        (Type::Int(_), Val::U64(n)) => json!(n),
        (Type::Float32, Val::Float32(n)) => number((*n).into()),
        (Type::Float64, Val::Float64(n)) => number(*n),
        (Type::Char, Val::Char(one)) => Value::String(one.to_string()),
        (Type::String, Val::String(text)) => Value::String(memory.text(text)?),
        (Type::Bytes, Val::List(items)) => {
            let bytes = items.iter().map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None });
            memory.take(items.len() * 3)?;
            Value::String(STANDARD.encode(bytes.collect::<Option<Vec<u8>>>().ok_or_else(not)?))
        }
        (Type::List(ty), Val::List(items)) => Value::Array(items.iter().map(|item| json(ty, item, memory)).collect::<Result<_, String>>()?),
        (Type::Map(key, ty), Val::Map(entries)) if **key == Type::String => {
            let entry = |(key, item): &(Val, Val)| match key {
                Val::String(key) => Ok((memory.text(key)?, json(ty, item, memory)?)),
                _ => Err(not()),
            };
            Value::Object(entries.iter().map(entry).collect::<Result<_, String>>()?)
        }
        (Type::Map(key, ty), Val::Map(entries)) => {
            let pair = |(first, second): &(Val, Val)| Ok(Value::Array(vec![json(key, first, memory)?, json(ty, second, memory)?]));
            Value::Array(entries.iter().map(pair).collect::<Result<_, String>>()?)
        }
        (Type::Record(types), Val::Record(fields)) => {
            let pairs = types.iter().zip(fields).filter(|(_, (_, item))| !matches!(item, Val::Option(None)));
            Value::Object(
                pairs.map(|((name, ty), (_, item))| Ok((memory.text(name)?, json(ty, item, memory)?))).collect::<Result<_, String>>()?,
            )
        }
        (Type::Tuple(types), Val::Tuple(items)) => {
            Value::Array(types.iter().zip(items).map(|(ty, item)| json(ty, item, memory)).collect::<Result<_, String>>()?)
        }
        (Type::Variant(cases), Val::Variant(name, item)) => match (cases.iter().find(|(case, _)| case == name).ok_or_else(not)?, item) {
            ((_, Some(ty)), Some(item)) => single(&memory.text(name)?, json(ty, item, memory)?),
            ((_, None), None) => Value::String(memory.text(name)?),
            _ => return Err(not()),
        },
        (Type::Enum(_), Val::Enum(name)) => Value::String(memory.text(name)?),
        (Type::Option(_), Val::Option(None)) => Value::Null,
        (Type::Option(ty), Val::Option(Some(item))) if ty.takes_null() => single("some", json(ty, item, memory)?),
        (Type::Option(ty), Val::Option(Some(item))) => json(ty, item, memory)?,
        (Type::Result(ok, error), Val::Result(result)) => {
            let mut side = |ty: &Option<Box<Type>>, item: &Option<Box<Val>>| match (ty, item) {
                (Some(ty), Some(item)) => json(ty, item, memory),
                (None, None) => Ok(Value::Null),
                _ => Err(not()),
            };
            match result {
                Ok(item) => single("ok", side(ok, item)?),
                Err(item) => single("error", side(error, item)?),
            }
        }
        (Type::Flags(_), Val::Flags(names)) => {
            let names = names.iter().map(|name| {
                memory.take(VALUE)?;
                memory.text(name).map(Value::String)
            });
            Value::Array(names.collect::<Result<_, String>>()?)
        }
        _ => return Err(not()),
    })
}

fn only(object: &Map<String, Value>) -> Option<(&String, &Value)> {
    let mut entries = object.iter();
    entries.next().filter(|_| entries.next().is_none())
}

fn single(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// An integer is written with or without a fraction of zero.
fn integer(int: Int, number: &Number) -> Option<Val> {
    let whole = match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(n), ..) => i128::from(n),
        (_, Some(n), _) => i128::from(n),
        // Above the bounds of any type it is cut to what is above them too.
        (.., Some(n)) if n.fract() == 0.0 => n as i128,
        _ => return None,
    };
    Some(match int {
        Int::S8 => Val::S8(whole.try_into().ok()?),
        Int::U8 => Val::U8(whole.try_into().ok()?),
        Int::S16 => Val::S16(whole.try_into().ok()?),
        Int::U16 => Val::U16(whole.try_into().ok()?),
        Int::S32 => Val::S32(whole.try_into().ok()?),
        Int::U32 => Val::U32(whole.try_into().ok()?),
        Int::S64 => Val::S64(whole.try_into().ok()?),
        Int::U64 => Val::U64(whole.try_into().ok()?),
    })
}

fn float64(given: &Value) -> Option<f64> {
    match given {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => NOT_FINITE.iter().find(|(name, _)| name == text).map(|(_, n)| *n),
        _ => None,
    }
}

/// Rounded to what it holds; what is beyond its greatest value is none.
fn float32(given: &Value) -> Option<f32> {
    let wide = float64(given)?;
    (!wide.is_finite() || wide.abs() <= f64::from(f32::MAX)).then_some(wide as f32)
}

fn number(n: f64) -> Value {
    let name = || NOT_FINITE.iter().find(|(_, known)| known.total_cmp(&n).is_eq()).map_or("NaN", |(name, _)| *name);
    Number::from_f64(n).map_or_else(|| Value::String(name().to_owned()), Value::Number)
}
