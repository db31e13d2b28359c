//! The schema of a tool: checked within bounds, and a validator built only when the first call needs it.
//!
//! A schema comes from outside. Before anything walks it, it is bounded in size, depth and nodes *after* expanding its
//! references, so that it can neither loop nor double. References stay inside the document, and patterns run on an engine
//! that is linear in its input.

use crate::error::{Error, Kind};
use serde_json::Value;
use std::sync::OnceLock;

/// Largest schema, in bytes.
const SIZE: usize = 64 * 1024;
/// Deepest nesting after expanding references. An 1.8 kB schema of doubling references kept a validator busy for 3 s.
const DEPTH: usize = 32;
/// Most nodes after expanding references.
const NODES: usize = 2000;
/// Largest compiled pattern, in bytes: above any pattern for an argument, and all of a schema's stay below 4 MiB.
const PATTERN: usize = 64 * 1024;
/// Most patterns of a schema.
const PATTERNS: usize = 64;
/// Deepest nesting of `unevaluatedProperties` and `unevaluatedItems`: each level evaluates all below it once more.
const UNEVALUATED: usize = 2;
/// Most steps of a validation: bytes of arguments times the weight of the schema. Some half a second.
const STEPS: u64 = 1 << 28;
/// Steps of one state of a pattern at one byte, where a step is that of a node of the schema (measured: 11 ns against 1.5).
const STATE: u64 = 8;
/// Most of such a product for which every error is gathered to name the place: each takes some 350 bytes.
const PLACES: u64 = 1 << 18;
/// Longest value that is quoted in an error, in bytes.
const QUOTED: usize = 200;

/// A schema within bounds.
#[derive(Debug)]
pub struct Schema {
    text: String,
    value: OnceLock<Value>,
    validator: OnceLock<Result<Built, String>>,
}

/// A validator, and what it costs.
#[derive(Debug)]
struct Built {
    validator: jsonschema::Validator,
    nodes: u64,
    /// Steps for each byte of arguments.
    weight: u64,
}

impl Schema {
    /// Checks a schema of a tool's arguments or result.
    ///
    /// # Errors
    /// [`Kind::Schema`]: it is not JSON, too large, recursive, not a schema, or refers outside itself.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |message: String| Error::new(Kind::Schema, message);
        if text.len() > SIZE {
            return Err(refuse(format!("the schema has {} bytes; at most {SIZE} are read", text.len())));
        }
        let value = crate::json::parse(text.as_bytes()).map_err(|e| refuse(format!("the schema is refused: {e}")))?;
        if !value.is_object() {
            return Err(refuse("the schema is not a JSON object".to_owned()));
        }
        Seen::of(&value).map_err(refuse)?;
        if !jsonschema::draft202012::meta::is_valid(&value) {
            return Err(refuse("it is not a JSON Schema of draft 2020-12".to_owned()));
        }
        Ok(Self { text: text.to_owned(), value: value.into(), validator: OnceLock::new() })
    }

    /// A schema that [`Schema::parse_arguments`] and [`Schema::build`] passed before: it is read when it is first needed.
    pub(crate) fn checked_before(text: String) -> Self {
        Self { text, value: OnceLock::new(), validator: OnceLock::new() }
    }

    /// Like [`Schema::parse`], for arguments: an object.
    ///
    /// # Errors
    /// Also where its `type` is not `object`.
    pub fn parse_arguments(text: &str) -> Result<Self, Error> {
        let schema = Self::parse(text)?;
        if schema.value().get("type").and_then(Value::as_str) != Some("object") {
            return Err(Error::new(Kind::Schema, "the schema of the arguments does not have the type `object`"));
        }
        Ok(schema)
    }

    /// The schema as it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schema as JSON.
    #[must_use]
    pub fn value(&self) -> &Value {
        // It was parsed before, so the default is never seen.
        self.value.get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default())
    }

    /// Builds the validator, so that a pattern that does not compile is found when the tool is loaded.
    ///
    /// # Errors
    /// [`Kind::Schema`].
    pub fn build(&self) -> Result<(), Error> {
        self.validator().map(drop).map_err(|e| Error::new(Kind::Schema, e.to_owned()))
    }

    /// How many patterns it has; each keeps some memory once its validator is built.
    pub(crate) fn patterns(&self) -> usize {
        Seen::of(self.value()).map_or(0, |seen| seen.patterns)
    }

    /// Whether a value that was written in so many bytes is valid.
    ///
    /// # Errors
    /// One sentence: where, and which keyword refused it; or that finding out would take too long.
    pub fn validate(&self, value: &Value, bytes: usize) -> Result<(), String> {
        let Built { validator, nodes, weight } = self.validator().map_err(str::to_owned)?;
        let bytes = bytes as u64;
        if weight.saturating_mul(bytes) > STEPS {
            return Err(format!(
                "they have {bytes} bytes, and with the schema and the patterns of this tool at most {} are checked",
                STEPS / weight
            ));
        }
        // The plain answer gathers no errors.
        if validator.is_valid(value) {
            return Ok(());
        }
        if nodes.saturating_mul(bytes) > PLACES {
            return Err("they are not valid against the tool's schema, and too large to say where".to_owned());
        }
        validator.validate(value).map_err(|error| {
            let at = error.instance_path().to_string();
            let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
            if error.instance().to_string().len() > QUOTED { format!("{}{place}", error.masked()) } else { format!("{error}{place}") }
        })
    }

    fn validator(&self) -> Result<&Built, &str> {
        let build = || {
            let seen = Seen::of(self.value())?;
            let nodes = seen.nodes as u64;
            let weight = nodes.saturating_add(seen.states.saturating_mul(STATE)).max(1);
            jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(PATTERN).dfa_size_limit(PATTERN))
                .offline()
                .build(self.value())
                .map(|validator| Built { validator, nodes, weight })
                .map_err(|error| format!("the schema is refused: {error}"))
        };
        self.validator.get_or_init(build).as_ref().map_err(String::as_str)
    }
}

/// What was counted on the way.
#[derive(Default)]
struct Seen {
    nodes: usize,
    patterns: usize,
    /// Of all patterns together.
    states: u64,
}

impl Seen {
    fn of(schema: &Value) -> Result<Self, String> {
        let mut seen = Self::default();
        walk(schema, schema, Room { depth: DEPTH, unevaluated: UNEVALUATED }, &mut seen)?;
        Ok(seen)
    }

    fn pattern(&mut self, text: &str) -> Result<(), String> {
        self.patterns += 1;
        if self.patterns > PATTERNS {
            return Err(format!("the schema has more than {PATTERNS} patterns"));
        }
        let rust = jsonschema_regex::to_rust_regex(text).ok();
        let pattern = rust
            .and_then(|rust| regex_syntax::parse(&rust).ok())
            .ok_or("a pattern of the schema is refused: it is malformed, or looks around or back")?;
        self.states = self.states.saturating_add(states(&pattern));
        Ok(())
    }
}

/// About how many states a machine for the pattern has: each may be looked at for each byte.
fn states(pattern: &regex_syntax::hir::Hir) -> u64 {
    use regex_syntax::hir::HirKind;
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(text) => text.0.len() as u64,
        // What is beyond ASCII is told by several bytes.
        HirKind::Class(_) if pattern.properties().maximum_len() == Some(1) => 1,
        HirKind::Class(_) => 8,
        HirKind::Repetition(again) => {
            let times = again.max.unwrap_or(again.min.saturating_add(1)).max(1);
            states(&again.sub).saturating_mul(times.into())
        }
        HirKind::Capture(group) => states(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(states).fold(0, u64::saturating_add),
    }
}

/// How much deeper it may go on the way to a node.
#[derive(Clone, Copy)]
struct Room {
    depth: usize,
    unevaluated: usize,
}

/// Counts what is below `node`, following references, and refuses what would not be read as it stands there.
fn walk(root: &Value, node: &Value, room: Room, seen: &mut Seen) -> Result<(), String> {
    seen.nodes += 1;
    if seen.nodes > NODES {
        return Err(format!("the schema has more than {NODES} nodes after expanding its references"));
    }
    let Some(depth) = room.depth.checked_sub(1) else {
        return Err(format!("the schema is recursive, or deeper than {DEPTH} after expanding its references"));
    };
    let mut room = Room { depth, ..room };
    match node {
        Value::Object(map) => {
            if map.contains_key("unevaluatedProperties") || map.contains_key("unevaluatedItems") {
                room.unevaluated = room.unevaluated.checked_sub(1).ok_or_else(|| {
                    format!("`unevaluatedProperties` or `unevaluatedItems` of the schema are more than {UNEVALUATED} deep in each other")
                })?;
            }
            for (key, value) in map {
                clean(key)?;
                match (key.as_str(), value) {
                    ("pattern", Value::String(pattern)) => seen.pattern(pattern)?,
                    ("patternProperties", Value::Object(map)) => map.keys().try_for_each(|pattern| seen.pattern(pattern))?,
                    _ => {}
                }
                match (key.as_str(), value) {
                    // `$ref` as a property's name is followed by an object and not by a text.
                    ("$ref", Value::String(target)) => {
                        // An encoded pointer is one thing here and another to the validator.
                        let pointer = target.strip_prefix('#').filter(|p| (p.is_empty() || p.starts_with('/')) && !p.contains('%'));
                        let found = pointer.and_then(|p| root.pointer(p));
                        walk(root, found.ok_or("a `$ref` of the schema does not point inside it (write #/$defs/NAME)")?, room, seen)?;
                    }
                    // An `$anchor` only gives a name, and nothing above refers by one.
                    ("$dynamicRef" | "$recursiveRef" | "$id" | "$dynamicAnchor", Value::String(_)) => {
                        return Err(format!("the schema uses `{key}`; only `$ref` inside the document is read"));
                    }
                    _ => walk(root, value, room, seen)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| walk(root, item, room, seen)),
        Value::String(text) => clean(text),
        _ => Ok(()),
    }
}

/// Agents read a schema as it stands; cleaning it would change what it means, so a dirty one is refused.
fn clean(text: &str) -> Result<(), String> {
    if crate::clean::model(text) == text {
        Ok(())
    } else {
        Err("a text of the schema holds control, bidi or invisible characters".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_that_cost_or_reach_out_are_refused() {
        let doubling: String =
            (0..24).map(|i| format!(r##""d{i}":{{"allOf":[{{"$ref":"#/$defs/d{n}"}},{{"$ref":"#/$defs/d{n}"}}]}},"##, n = i + 1)).collect();
        let doubling = format!(r##"{{"type":"object","$ref":"#/$defs/d0","$defs":{{{doubling}"d24":true}}}}"##);
        for (bad, why) in [
            (doubling.as_str(), "nodes"),
            (r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##, "nodes"),
            (r#"{"type":"object","$ref":"https://example.com/x"}"#, "inside"),
            (r##"{"type":"object","not":{"$ref":"#/no%74"},"no%74":0}"##, "inside"),
            (r#"{"type":"object","description":"a\u202eb"}"#, "bidi"),
            (r#"{"type":"object","properties":{"a\udb40\udc41":{}}}"#, "invisible"),
            (r#"{"type":"object","properties":{"a":{"$ref":"other.json"}}}"#, "inside"),
            (r#"{"type":"object","$dynamicRef":"x"}"#, "$dynamicRef"),
            (r#"{"type":"object","$dynamicAnchor":"x"}"#, "$dynamicAnchor"),
            (r##"{"type":"object","$ref":"#x","$defs":{"a":{"$anchor":"x"}}}"##, "inside"),
            (r#"{"type":"object","$defs":{"a":{"$anchor":"/$defs/b"},"b":true}}"#, "2020-12"),
            (r#"{"type":7}"#, "2020-12"),
            (r#"{"type":"string"}"#, "object"),
            ("[]", "object"),
            ("{", "JSON"),
        ] {
            let got = Schema::parse_arguments(bad).and_then(|s| s.build()).unwrap_err();
            assert_eq!(got.kind, Kind::Schema);
            let recursive = got.message.contains("recursive");
            assert!(got.message.contains(why) || (why == "nodes" && recursive), "{bad}: {}", got.message);
        }
        let many: String = (0..80).map(|i| format!(r#""p{i}":{{"pattern":"a{i}"}},"#)).collect();
        let many = format!(r#"{{"type":"object","properties":{{{many}"z":true}}}}"#);
        assert!(Schema::parse(&many).unwrap_err().message.contains("patterns"));
        let huge = r#"{"type":"object","properties":{"a":{"pattern":"^(([a-z]{1,100}){1,100}){1,100}$"}}}"#;
        assert!(Schema::parse_arguments(huge).unwrap().build().is_err());
        let lookbehind = r#"{"type":"object","properties":{"a":{"pattern":"(?<=x)y"}}}"#;
        assert!(Schema::parse_arguments(lookbehind).unwrap_err().message.contains("looks around"));
    }

    #[test]
    fn an_anchor_is_a_name_that_changes_nothing() {
        let with = r##"{"type":"object","$defs":{"a":{"$anchor":"x","type":"integer"}},"properties":{"n":{"$ref":"#/$defs/a"}}}"##;
        let schema = Schema::parse_arguments(with).unwrap();
        schema.build().unwrap();
        assert_eq!(schema.text(), with);
        assert!(schema.validate(&serde_json::json!({"n": 1}), 8).is_ok());
        assert!(schema.validate(&serde_json::json!({"n": "x"}), 10).unwrap_err().contains("/n"));
    }

    #[test]
    fn what_would_take_too_long_to_check_or_to_explain_is_refused_in_one_sentence() {
        let parse = |text: &str| Schema::parse_arguments(text).unwrap();
        let nested = |levels: usize| {
            let open = r#"{"type":"object","unevaluatedProperties":{"type":"integer"},"if":"#.repeat(levels);
            format!("{open}true{}", "}".repeat(levels))
        };
        parse(&nested(UNEVALUATED));
        assert!(Schema::parse_arguments(&nested(UNEVALUATED + 1)).unwrap_err().message.contains("unevaluatedProperties"));
        let slow = parse(r#"{"type":"object","properties":{"a":{"pattern":"[ab]*a[ab]{700}[de]"}}}"#);
        let letters = |n: usize| serde_json::json!({"a": "ab".repeat(n)});
        assert!(slow.validate(&letters(1000), 2008).unwrap_err().contains("does not match"));
        assert!(slow.validate(&letters(50_000), 100_008).unwrap_err().contains("100008 bytes"));
        let plain = parse(r#"{"type":"object","properties":{"a":{"pattern":"^[0-9a-f]{8}$"}},"additionalProperties":false}"#);
        let hit = plain.validate(&letters(250_000), 500_008).unwrap_err();
        assert_eq!(hit, "they are not valid against the tool's schema, and too large to say where");
        let quoted = plain.validate(&letters(500), 1008).unwrap_err();
        assert!(quoted.len() < 100 && quoted.ends_with(" at /a"), "{quoted}");
    }

    #[test]
    fn a_refusal_names_the_place() {
        let schema =
            Schema::parse_arguments(r#"{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}"#).unwrap();
        assert!(schema.validate(&serde_json::json!({"n": 1}), 8).is_ok());
        assert!(schema.validate(&serde_json::json!({"n": "x"}), 10).unwrap_err().contains("/n"));
        assert!(schema.validate(&serde_json::json!({"m": 1}), 8).unwrap_err().contains("'m'"));
    }
}
