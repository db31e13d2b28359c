//! Strict JSON: one document, one meaning.
//!
//! Two readers of the same bytes must see the same value, or what was validated is not what runs. So these are refused:
//! a key twice in one object, a lone surrogate, NUL in a string or key, and a number that is no `i64`, no `u64` and no
//! finite `f64`. A whole number that no integer holds is refused too, because readers disagree on what it becomes.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Deepest nesting of arrays and objects.
const DEPTH: usize = 128;

/// Parses strict JSON.
///
/// # Errors
/// One sentence, which names the place but no value.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut wide = false;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: DEPTH, wide: &mut wide }.deserialize(&mut reader).map_err(|e| explain(&e))?;
    reader.end().map_err(|e| explain(&e))?;
    if wide && wide_integer(bytes) {
        return Err("a whole number is too large for any integer; write it as a string".to_owned());
    }
    Ok(value)
}

fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.contains("hex escape") {
        let (line, column) = (error.line(), error.column());
        return format!("it is not strict JSON: a string holds a lone surrogate or a broken \\u escape, at line {line} column {column}");
    }
    let at = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&at) {
        Some(what) => format!("it is not strict JSON: {what}, at line {} column {}", error.line(), error.column()),
        None => format!("it is not strict JSON: {text}"),
    }
}

struct Strict<'w> {
    depth: usize,
    wide: &'w mut bool,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // `9223372036854775808000` arrives here as well as `9.2e21`; which it was is looked up only then.
        *self.wide |= value.abs() >= 9.2e18;
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        no_nul(value)?;
        Ok(value.into())
    }
    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        no_nul(&value)?;
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Strict { depth, wide: self.wide })? {
            out.push(item);
        }
        Ok(out.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut out = Map::new();
        while let Some(Key(key)) = entries.next_key()? {
            let value = entries.next_value_seed(Strict { depth, wide: self.wide })?;
            if out.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice in one object"));
            }
        }
        Ok(out.into())
    }
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth.checked_sub(1).ok_or_else(|| E::custom("it is nested too deeply"))
    }
}

struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let key = String::deserialize(reader)?;
        no_nul(&key)?;
        Ok(Self(key))
    }
}

fn no_nul<E: serde::de::Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("a string holds NUL")) } else { Ok(()) }
}

/// Whether valid JSON holds a number without fraction and exponent that neither `i64` nor `u64` holds.
fn wide_integer(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9')) {
        rest = &rest[at..];
        let end = if rest[0] == b'"' { string_end(rest) } else { number_end(rest) };
        let token = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let whole = rest[0] != b'"' && token.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        if whole && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

fn string_end(json: &[u8]) -> usize {
    let mut at = 1;
    while at < json.len() && json[at] != b'"' {
        at += if json[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(json.len())
}

fn number_end(json: &[u8]) -> usize {
    json.iter().position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).unwrap_or(json.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_two_readings_is_refused() {
        for (bad, why) in [
            (r#"{"a":1,"a":2}"#, "twice"),
            (r#"{"a":{"b":1,"b":1}}"#, "twice"),
            (r#"{"a":"\ud800"}"#, "surrogate"),
            (r#"{"a":"x\u0000"}"#, "NUL"),
            (r#"{"a\u0000":1}"#, "NUL"),
            (r#"{"a":18446744073709551616}"#, "too large"),
            (r#"{"a":-9223372036854775809}"#, "too large"),
            (r#"{"a":1e999}"#, "number out of range"),
            (r#"{"a":1} x"#, "trailing"),
            ("", "EOF"),
        ] {
            let got = parse(bad.as_bytes()).unwrap_err();
            assert!(got.contains(why), "{bad}: {got}");
        }
        assert!(parse("[".repeat(200).as_bytes()).is_err());
        assert!(parse(b"{\"a\":\"\xff\"}").is_err());
        for good in [r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":1e30,"d":"18446744073709551616"}"#, "[]", "1.5"] {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
    }

    /// Any value of JSON that is taken as an argument.
    pub(crate) fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Value::Number)),
            "[^\0]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[^\0]{0,4}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_every_reader_reads(value in values()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }

        #[test]
        fn any_bytes_at_all_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
