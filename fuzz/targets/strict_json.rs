//! Strict JSON, and the schemas that are read with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::{Kind, Schema, fuzzing};
use palisade_fuzz::{assert_clean, hides};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let value = fuzzing::strict_json(bytes);
    match &value {
        Ok(value) => {
            // Another reader accepts it and sees the same, and no key was dropped on the way.
            assert_eq!(serde_json::from_slice::<Value>(bytes).ok().as_ref(), Some(value));
            assert_eq!(entries(value), colons(bytes), "a key stands twice");
            assert!(!holds_nul(value));
        }
        Err(why) => assert!(!why.chars().any(char::is_control), "a control character in {why:?}"),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Schema::parse(text) {
        Ok(schema) => {
            assert_eq!(Some(schema.value()), value.as_ref().ok());
            assert!(schema.value().is_object() && clean(schema.value()));
            // What was parsed either builds, or says why not; a built one judges any value.
            if schema.build().is_ok() {
                for value in [schema.value(), &Value::Null, &Value::from("aA0 -/"), &Value::from(-1.5)] {
                    let _ = schema.validate(value, value.to_string().len());
                }
            }
        }
        Err(error) => {
            assert_eq!(error.kind, Kind::Schema);
            assert_clean(&error);
        }
    }
});

/// Keys of all objects.
fn entries(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(entries).sum(),
        Value::Object(map) => map.len() + map.values().map(entries).sum::<usize>(),
        _ => 0,
    }
}

/// Colons of valid JSON that stand in no string: one for each key as it is written.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b':' if !string => count += 1,
            _ => {}
        }
    }
    count
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// Whether no text of a schema drives a terminal or hides what it says.
fn clean(value: &Value) -> bool {
    let text = |text: &str| text.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || hides(c)));
    match value {
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().all(clean),
        Value::Object(map) => map.iter().all(|(key, value)| text(key) && clean(value)),
        _ => true,
    }
}
