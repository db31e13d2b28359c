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

/// The value that a piece of JSON is of a type.
///
/// # Errors
/// One sentence: what it is not.
pub fn value(ty: &Type, given: &Value) -> Result<Val, String> {
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
        (Type::String, Value::String(text)) => Val::String(text.clone()),
        (Type::Bytes, Value::String(text)) => Val::List(STANDARD.decode(text).map_err(|_| not())?.into_iter().map(Val::U8).collect()),
        (Type::List(ty), Value::Array(items)) => Val::List(items.iter().map(|item| value(ty, item)).collect::<Result<_, _>>()?),
        (Type::Map(key, ty), Value::Object(entries)) if **key == Type::String => {
            let entries = entries.iter().map(|(key, item)| Ok((Val::String(key.clone()), value(ty, item)?)));
            Val::Map(entries.collect::<Result<_, String>>()?)
        }
        (Type::Map(key, ty), Value::Array(pairs)) if **key != Type::String => {
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([first, second]) => Ok((value(key, first)?, value(ty, second)?)),
                _ => Err(not()),
            };
            Val::Map(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        (Type::Record(fields), Value::Object(given)) => Val::Record(self::fields(fields, given)?),
        (Type::Tuple(types), Value::Array(items)) if types.len() == items.len() => {
            Val::Tuple(types.iter().zip(items).map(|(ty, item)| value(ty, item)).collect::<Result<_, _>>()?)
        }
        (Type::Variant(cases), Value::String(name)) => match cases.iter().find(|(case, _)| case == name) {
            Some((_, None)) => Val::Variant(name.clone(), None),
            _ => return Err(not()),
        },
        (Type::Variant(cases), Value::Object(object)) => {
            let (name, item) = only(object).ok_or_else(not)?;
            match cases.iter().find(|(case, _)| case == name) {
                Some((_, Some(ty))) => Val::Variant(name.clone(), Some(Box::new(value(ty, item)?))),
                _ => return Err(not()),
            }
        }
        (Type::Enum(names), Value::String(name)) if names.contains(name) => Val::Enum(name.clone()),
        (Type::Option(_), Value::Null) => Val::Option(None),
        (Type::Option(ty), given) if !ty.takes_null() => Val::Option(Some(Box::new(value(ty, given)?))),
        (Type::Option(ty), Value::Object(object)) => match only(object) {
            Some((name, item)) if name == "some" => Val::Option(Some(Box::new(value(ty, item)?))),
            _ => return Err(not()),
        },
        (Type::Result(ok, error), Value::Object(object)) => {
            let side = |ty: &Option<Box<Type>>, item: &Value| match (ty, item) {
                (None, Value::Null) => Ok(None),
                (None, _) => Err(not()),
                (Some(ty), item) => Ok(Some(Box::new(value(ty, item)?))),
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
                        set.push(name.to_owned());
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
pub fn fields(types: &[(String, Type)], given: &Map<String, Value>) -> Result<Vec<(String, Val)>, String> {
    if let Some(other) = given.keys().find(|key| !types.iter().any(|(name, _)| name == *key)) {
        return Err(format!("there is no `{other}`"));
    }
    let one = |(name, ty): &(String, Type)| match given.get(name) {
        Some(item) => Ok((name.clone(), value(ty, item)?)),
        None if ty.takes_null() => Ok((name.clone(), Val::Option(None))),
        None => Err(format!("`{name}` is missing")),
    };
    types.iter().map(one).collect()
}

/// A value of a type as JSON; `None` where it is not of that type, which the engine never gives.
#[must_use]
pub fn json(ty: &Type, given: &Val) -> Option<Value> {
    Some(match (ty, given) {
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
        (Type::String, Val::String(text)) => Value::String(text.clone()),
        (Type::Bytes, Val::List(items)) => {
            let bytes = items.iter().map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None });
            Value::String(STANDARD.encode(bytes.collect::<Option<Vec<u8>>>()?))
        }
        (Type::List(ty), Val::List(items)) => Value::Array(items.iter().map(|item| json(ty, item)).collect::<Option<_>>()?),
        (Type::Map(key, ty), Val::Map(entries)) if **key == Type::String => {
            let entry = |(key, item): &(Val, Val)| match key {
                Val::String(key) => Some((key.clone(), json(ty, item)?)),
                _ => None,
            };
            Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        (Type::Map(key, ty), Val::Map(entries)) => {
            let pair = |(first, second): &(Val, Val)| Some(Value::Array(vec![json(key, first)?, json(ty, second)?]));
            Value::Array(entries.iter().map(pair).collect::<Option<_>>()?)
        }
        (Type::Record(types), Val::Record(fields)) => {
            let pairs = types.iter().zip(fields).filter(|(_, (_, item))| !matches!(item, Val::Option(None)));
            Value::Object(pairs.map(|((name, ty), (_, item))| Some((name.clone(), json(ty, item)?))).collect::<Option<_>>()?)
        }
        (Type::Tuple(types), Val::Tuple(items)) => {
            Value::Array(types.iter().zip(items).map(|(ty, item)| json(ty, item)).collect::<Option<_>>()?)
        }
        (Type::Variant(cases), Val::Variant(name, item)) => match (cases.iter().find(|(case, _)| case == name)?, item) {
            ((_, Some(ty)), Some(item)) => single(name, json(ty, item)?),
            ((_, None), None) => Value::String(name.clone()),
            _ => return None,
        },
        (Type::Enum(_), Val::Enum(name)) => Value::String(name.clone()),
        (Type::Option(_), Val::Option(None)) => Value::Null,
        (Type::Option(ty), Val::Option(Some(item))) if ty.takes_null() => single("some", json(ty, item)?),
        (Type::Option(ty), Val::Option(Some(item))) => json(ty, item)?,
        (Type::Result(ok, error), Val::Result(result)) => {
            let side = |ty: &Option<Box<Type>>, item: &Option<Box<Val>>| match (ty, item) {
                (Some(ty), Some(item)) => json(ty, item),
                (None, None) => Some(Value::Null),
                _ => None,
            };
            match result {
                Ok(item) => single("ok", side(ok, item)?),
                Err(item) => single("error", side(error, item)?),
            }
        }
        (Type::Flags(_), Val::Flags(names)) => json!(names),
        _ => return None,
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
