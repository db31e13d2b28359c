//! The types of WIT whose values can be written as JSON, and the JSON Schema of each.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool`, `string`, `enum` | boolean, string, one of the names |
//! | integers | integer within their bounds |
//! | `f32`, `f64` | number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `char` | string of one character |
//! | `list<u8>`, other lists, `tuple` | string in base64, array, array of that length |
//! | `map<string, t>`, other maps | object, array of pairs |
//! | `record` | object; an `option` may be left out |
//! | `variant` | `"case"`, or `{"case": value}` where it has one |
//! | `option<t>` | `null` or the value; `null` or `{"some": value}` where the value may be `null` itself |
//! | `result` | `{"ok": value}` or `{"error": value}`, `null` where there is none |
//! | `flags` | array of the names that are set |
//!
//! Never here: values, calls.

use serde_json::{Map, Value, json};
use wasmtime::component::types as engine;

/// Deepest nesting of a type.
const DEPTH: usize = 24;
/// Most types in one signature, and in all of a component, each counted where it is used: a type of doubled types grows with
/// every level.
const MOST: usize = 1000;
const ALL: usize = 20_000;
/// Most bytes of names in one signature, and in all of a component, counted alike: an `enum` may have thousands of long ones.
const NAMES: usize = 32 * 1024;
const ALL_NAMES: usize = 1024 * 1024;
/// Longest description of a type, in bytes.
const NAME: usize = 160;
/// Base64 as it is read: padded, and with nothing left over.
pub(crate) const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// What stands for a number that JSON has no digits for.
pub(crate) const NOT_FINITE: [(&str, f64); 3] = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// An integer.
    Int(Int),
    /// `f32`
    Float32,
    /// `f64`
    Float64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<u8>`
    Bytes,
    /// Any other list.
    List(Box<Type>),
    /// `map<key, value>`
    Map(Box<Type>, Box<Type>),
    /// Fields, in order.
    Record(Vec<(String, Type)>),
    /// Values by place.
    Tuple(Vec<Type>),
    /// Cases, each with or without a value.
    Variant(Vec<(String, Option<Type>)>),
    /// Names, of which one.
    Enum(Vec<String>),
    /// A value or none.
    Option(Box<Type>),
    /// One of two values, each of which may be nothing.
    Result(Option<Box<Type>>, Option<Box<Type>>),
    /// Names, of which any.
    Flags(Vec<String>),
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of WIT")]
pub enum Int {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

impl Int {
    /// The least and the greatest value.
    #[must_use]
    pub fn bounds(self) -> (i64, u64) {
        match self {
            Self::S8 => (i8::MIN.into(), i8::MAX as u64),
            Self::U8 => (0, u8::MAX.into()),
            Self::S16 => (i16::MIN.into(), i16::MAX as u64),
            Self::U16 => (0, u16::MAX.into()),
            Self::S32 => (i32::MIN.into(), i32::MAX as u64),
            Self::U32 => (0, u32::MAX.into()),
            Self::S64 => (i64::MIN, i64::MAX as u64),
            Self::U64 => (0, u64::MAX),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::U16 => "u16",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::S64 => "s64",
            Self::U64 => "u64",
        }
    }
}

/// How much may still be read, of a signature and of a component.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    types: usize,
    names: usize,
}

impl Room {
    pub(super) fn of_a_component() -> Self {
        Self { types: ALL, names: ALL_NAMES }
    }

    /// For one signature, of what is left.
    pub(super) fn of_a_signature(self) -> Self {
        Self { types: self.types.min(MOST), names: self.names.min(NAMES) }
    }

    /// Without what a signature took of its room.
    pub(super) fn without(&mut self, given: Self, left: Self) {
        self.types -= given.types - left.types;
        self.names -= given.names - left.names;
    }

    fn take(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH {
            return Err(format!("its types are nested deeper than {DEPTH}"));
        }
        self.types =
            self.types.checked_sub(1).ok_or_else(|| format!("its types have more than {MOST} parts, or those of all functions {ALL}"))?;
        Ok(())
    }

    /// A name, which takes a little also where it is short.
    pub(super) fn name(&mut self, name: &str) -> Result<String, String> {
        let left = self.names.checked_sub(name.len() + 8);
        self.names =
            left.ok_or_else(|| format!("the names in its types have more than {NAMES} bytes, or those of all functions {ALL_NAMES}"))?;
        Ok(name.to_owned())
    }
}

impl Type {
    /// A type of the engine.
    ///
    /// # Errors
    /// What cannot be written as JSON, or is too large.
    pub(super) fn read(given: &engine::Type, room: &mut Room) -> Result<Self, String> {
        Self::at(given, room, 0)
    }

    fn at(given: &engine::Type, room: &mut Room, depth: usize) -> Result<Self, String> {
        use engine::Type as Given;
        room.take(depth)?;
        fn names<'n>(names: impl Iterator<Item = &'n str>, room: &mut Room) -> Result<Vec<String>, String> {
            names.map(|name| room.name(name)).collect()
        }
        let mut below = |ty: &Given| Self::at(ty, room, depth + 1);
        Ok(match given {
            Given::Bool => Self::Bool,
            Given::S8 => Self::Int(Int::S8),
            Given::U8 => Self::Int(Int::U8),
            Given::S16 => Self::Int(Int::S16),
            Given::U16 => Self::Int(Int::U16),
            Given::S32 => Self::Int(Int::S32),
            Given::U32 => Self::Int(Int::U32),
            Given::S64 => Self::Int(Int::S64),
            Given::U64 => Self::Int(Int::U64),
            Given::Float32 => Self::Float32,
            Given::Float64 => Self::Float64,
            Given::Char => Self::Char,
            Given::String => Self::String,
            Given::List(list) => match below(&list.ty())? {
                Self::Int(Int::U8) => Self::Bytes,
                ty => Self::List(Box::new(ty)),
            },
            Given::Map(map) => Self::Map(Box::new(below(&map.key())?), Box::new(below(&map.value())?)),
            Given::Record(record) => {
                let fields = record.fields().map(|field| Ok((room.name(field.name)?, Self::at(&field.ty, room, depth + 1)?)));
                Self::Record(fields.collect::<Result<_, String>>()?)
            }
            Given::Tuple(tuple) => Self::Tuple(tuple.types().map(|ty| below(&ty)).collect::<Result<_, _>>()?),
            Given::Variant(variant) => {
                let ty = |ty: &Given, room: &mut Room| Self::at(ty, room, depth + 1);
                let cases =
                    variant.cases().map(|case| Ok((room.name(case.name)?, case.ty.as_ref().map(|given| ty(given, room)).transpose()?)));
                Self::Variant(cases.collect::<Result<_, String>>()?)
            }
            Given::Enum(one) => Self::Enum(names(one.names(), room)?),
            Given::Option(option) => Self::Option(Box::new(below(&option.ty())?)),
            Given::Result(result) => {
                let mut side = |ty: Option<Given>| Ok::<_, String>(ty.as_ref().map(&mut below).transpose()?.map(Box::new));
                Self::Result(side(result.ok())?, side(result.err())?)
            }
            Given::Flags(flags) => Self::Flags(names(flags.names(), room)?),
            Given::Own(_) | Given::Borrow(_) => return Err("it passes a resource, which lives in one instance and has no JSON".to_owned()),
            Given::Future(_) | Given::Stream(_) | Given::ErrorContext => return Err("it passes a type of WASI 0.3".to_owned()),
            Given::FixedLengthList(_) => return Err("it passes a list of fixed length, which is not part of WASI 0.2".to_owned()),
        })
    }

    /// Whether a value of it may hold flags, of which the engine counts the names alone while it reads them.
    pub(super) fn has_flags(&self) -> bool {
        match self {
            Self::Flags(_) => true,
            Self::List(ty) | Self::Option(ty) => ty.has_flags(),
            Self::Map(key, ty) => key.has_flags() || ty.has_flags(),
            Self::Record(fields) => fields.iter().any(|(_, ty)| ty.has_flags()),
            Self::Tuple(types) => types.iter().any(Self::has_flags),
            Self::Variant(cases) => cases.iter().any(|(_, ty)| ty.as_ref().is_some_and(Self::has_flags)),
            Self::Result(ok, error) => [ok, error].into_iter().flatten().any(|ty| ty.has_flags()),
            _ => false,
        }
    }

    /// Whether `null` is one of its values.
    pub(super) fn takes_null(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// The schema that accepts just what converts to a value of this type.
    #[must_use]
    pub fn schema(&self) -> Value {
        match self {
            Self::Bool => json!({"type": "boolean"}),
            Self::Int(int) => {
                let (least, greatest) = int.bounds();
                json!({"type": "integer", "minimum": least, "maximum": greatest})
            }
            Self::Float32 => number(json!({"type": "number", "minimum": f64::from(f32::MIN), "maximum": f64::from(f32::MAX)})),
            Self::Float64 => number(json!({"type": "number"})),
            Self::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Self::String => json!({"type": "string"}),
            Self::Bytes => json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64}),
            Self::List(item) => json!({"type": "array", "items": item.schema()}),
            Self::Map(key, value) if **key == Self::String => json!({"type": "object", "additionalProperties": value.schema()}),
            Self::Map(key, value) => json!({"type": "array", "items": places(&[key.schema(), value.schema()])}),
            Self::Record(fields) => object(fields, Self::schema),
            Self::Tuple(types) => places(&types.iter().map(Self::schema).collect::<Vec<_>>()),
            Self::Variant(cases) => {
                let plain: Vec<&String> = cases.iter().filter(|(_, ty)| ty.is_none()).map(|(name, _)| name).collect();
                let plain = (!plain.is_empty()).then(|| json!({"enum": plain}));
                let valued = cases.iter().filter_map(|(name, ty)| Some(single(name, ty.as_ref()?.schema())));
                any_of(plain.into_iter().chain(valued).collect())
            }
            Self::Enum(names) => json!({"enum": names}),
            Self::Option(ty) if ty.takes_null() => any_of(vec![json!({"type": "null"}), single("some", ty.schema())]),
            Self::Option(ty) => any_of(vec![json!({"type": "null"}), ty.schema()]),
            Self::Result(ok, error) => {
                let side = |ty: &Option<Box<Self>>| ty.as_ref().map_or_else(|| json!({"type": "null"}), |ty| ty.schema());
                any_of(vec![single("ok", side(ok)), single("error", side(error))])
            }
            Self::Flags(names) => json!({"type": "array", "items": {"enum": names}, "uniqueItems": true}),
        }
    }

    /// The type as WIT writes it; a record, variant, enum or flags by what it holds, as far as there is room.
    #[must_use]
    pub fn name(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        if out.len() > NAME {
            out.truncate(out.floor_char_boundary(NAME));
            out.push('…');
        }
        out
    }

    fn write(&self, out: &mut String) {
        // What is above is cut off, so it need not be written.
        if out.len() > NAME {
            return;
        }
        let side = |ty: Option<&Self>, out: &mut String| match ty {
            Some(ty) => ty.write(out),
            None => out.push('_'),
        };
        match self {
            Self::Bool => out.push_str("bool"),
            Self::Int(int) => out.push_str(int.name()),
            Self::Float32 => out.push_str("f32"),
            Self::Float64 => out.push_str("f64"),
            Self::Char => out.push_str("char"),
            Self::String => out.push_str("string"),
            Self::Bytes => out.push_str("list<u8>"),
            Self::List(ty) => around("list<", [&**ty].into_iter(), Self::write, ">", out),
            Self::Map(key, value) => around("map<", [&**key, &**value].into_iter(), Self::write, ">", out),
            Self::Tuple(types) => around("tuple<", types.iter(), Self::write, ">", out),
            Self::Option(ty) => around("option<", [&**ty].into_iter(), Self::write, ">", out),
            Self::Result(ok, error) => around("result<", [ok.as_deref(), error.as_deref()].into_iter(), side, ">", out),
            Self::Record(fields) => around("record {", fields.iter(), named, "}", out),
            Self::Variant(cases) => {
                let case = |(name, ty): &(String, Option<Self>), out: &mut String| {
                    out.push_str(name);
                    if let Some(ty) = ty {
                        around("(", [ty].into_iter(), Self::write, ")", out);
                    }
                };
                around("variant {", cases.iter(), case, "}", out);
            }
            Self::Enum(names) => around("enum {", names.iter(), |name, out| out.push_str(name), "}", out),
            Self::Flags(names) => around("flags {", names.iter(), |name, out| out.push_str(name), "}", out),
        }
    }
}

fn named((name, ty): &(String, Type), out: &mut String) {
    out.push_str(name);
    out.push_str(": ");
    ty.write(out);
}

fn around<T>(open: &str, parts: impl Iterator<Item = T>, write: impl Fn(T, &mut String), close: &str, out: &mut String) {
    out.push_str(open);
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(part, out);
    }
    out.push_str(close);
}

/// The schema of named values, closed, each with its type as its description; one that is an `option` may be left out.
pub(super) fn object(fields: &[(String, Type)], schema: impl Fn(&Type) -> Value) -> Value {
    let described = |ty: &Type| {
        let mut schema = schema(ty);
        schema["description"] = json!(format!("A value of the WIT type `{}`.", ty.name()));
        schema
    };
    let properties: Map<String, Value> = fields.iter().map(|(name, ty)| (name.clone(), described(ty))).collect();
    let required: Vec<&String> = fields.iter().filter(|(_, ty)| !ty.takes_null()).map(|(name, _)| name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn single(name: &str, schema: Value) -> Value {
    json!({"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": false})
}

fn places(schemas: &[Value]) -> Value {
    json!({"type": "array", "prefixItems": schemas, "items": false, "minItems": schemas.len()})
}

fn number(schema: Value) -> Value {
    any_of(vec![schema, json!({"enum": NOT_FINITE.map(|(name, _)| name)})])
}

fn any_of(mut schemas: Vec<Value>) -> Value {
    if schemas.len() == 1 { schemas.remove(0) } else { json!({"anyOf": schemas}) }
}
