//! Calls that are not what a tool's schema asks for: none enters a component, and none that is right is refused.
//!
//! Whether a case is right is known from how it was made, never from asking a validator.

use palisade::config::{Home, Settings};
use palisade::policy::{Rule, StepVerdict, Verdict};
use palisade::record::Outcome;
use palisade::sandbox::Run;
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::{World, bench, example, raw};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Sets of right arguments for each tool; of each come all the ways to spoil it.
const CASES: usize = 8;
/// Every run makes the same cases.
const SEED: u64 = 0x005e_ed0f_ca11;
/// Those of the example plugins that are quick to answer and reach nothing; of the others only the gate is asked.
const CALLED: [&str; 3] = ["text-stats/count", "json-query/query", "bounded/go"];

/// The keywords that no example has.
const BOUNDED: &str = r#"{"type":"object","properties":{
    "word":{"type":"string","minLength":2,"maxLength":5}, "level":{"type":"integer","minimum":-3,"maximum":12},
    "share":{"type":"number","minimum":0,"maximum":1}, "mode":{"type":"string","enum":["fast","slow"]},
    "list":{"type":"array","items":{"type":"integer","minimum":0,"maximum":9},"minItems":1,"maxItems":3},
    "inner":{"type":"object","properties":{"on":{"type":"boolean"},"at":{"type":["string","null"],"maxLength":4}},
        "required":["on"],"additionalProperties":false}
    },"required":["word","level","list","inner"],"additionalProperties":false}"#;

/// Splitmix: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both among them.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).expect("low is below high") + 1;
        low + i64::try_from(self.next() % span).expect("it is small")
    }

    fn text(&mut self, low: i64, high: i64) -> String {
        // One of each length in UTF-8, what JSON escapes, and what looks like an end of it.
        const LETTERS: [char; 16] = ['a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\t', '\u{7f}', 'ü', '语', '🦀', '}', '{', '.'];
        let length = self.between(low, high);
        (0..length).map(|_| LETTERS[usize::try_from(self.next() % 16).expect("it is small")]).collect()
    }
}

/// A schema as far as the generator knows it; a keyword it does not know stops the test, or its cases would not be right.
struct Known<'s> {
    types: Vec<&'s str>,
    schema: &'s Map<String, Value>,
}

impl<'s> Known<'s> {
    fn new(schema: &'s Value) -> Self {
        const ANNOTATIONS: [&str; 4] = ["title", "description", "format", "x-palisade-prompt"];
        const CHECKED: [&str; 12] = [
            "type",
            "properties",
            "required",
            "additionalProperties",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "enum",
            "items",
            "minItems",
            "maxItems",
        ];
        let schema = schema.as_object().expect("a schema is an object");
        let unknown: Vec<_> =
            schema.keys().filter(|key| !ANNOTATIONS.contains(&key.as_str()) && !CHECKED.contains(&key.as_str())).collect();
        assert_eq!(unknown, [] as [&String; 0], "teach the generator these keywords");
        let types = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => vec![one.as_str().expect("a type")],
        };
        assert!(!types.contains(&"object") || schema["additionalProperties"] == json!(false), "every schema is closed");
        Self { types, schema }
    }

    fn bound(&self, key: &str) -> Option<i64> {
        self.schema.get(key).map(|bound| bound.as_i64().expect("a whole bound"))
    }

    fn properties(&self) -> Vec<(&'s String, Known<'s>)> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(key, schema)| (key, Known::new(schema))).collect()
    }

    fn required(&self, key: &str) -> bool {
        self.schema.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|one| one == key))
    }

    fn items(&self) -> Known<'s> {
        Known::new(&self.schema["items"])
    }

    /// A right value.
    fn make(&self, random: &mut Random) -> Value {
        if let Some(values) = self.schema.get("enum").and_then(Value::as_array) {
            return values[usize::try_from(random.next()).expect("64 bits") % values.len()].clone();
        }
        match self.types[usize::try_from(random.next()).expect("64 bits") % self.types.len()] {
            "null" => Value::Null,
            "boolean" => json!(random.next().is_multiple_of(2)),
            "integer" => json!(random.between(self.bound("minimum").unwrap_or(-1 << 40), self.bound("maximum").unwrap_or(1 << 40))),
            "number" => {
                let (low, high) = (self.bound("minimum").expect("bounded"), self.bound("maximum").expect("bounded"));
                json!(random.between(low * 1000, high * 1000) as f64 / 1000.0)
            }
            "string" => json!(random.text(self.bound("minLength").unwrap_or(0), self.bound("maxLength").unwrap_or(24))),
            "array" => {
                let length = random.between(self.bound("minItems").unwrap_or(0), self.bound("maxItems").unwrap_or(4));
                (0..length).map(|_| self.items().make(random)).collect()
            }
            "object" => {
                let mut made = Map::new();
                for (key, schema) in self.properties() {
                    if self.required(key) || random.next().is_multiple_of(2) {
                        made.insert(key.clone(), schema.make(random));
                    }
                }
                Value::Object(made)
            }
            other => panic!("no generator for {other}"),
        }
    }

    /// Every way to spoil a right value, each with its kind.
    fn spoil(&self, right: &Value, random: &mut Random) -> Vec<(&'static str, Value)> {
        let deep = |open: fn(Value) -> Value| (0..100).fold(Value::Null, |inner, _| open(inner));
        let others = [
            ("null", Value::Null),
            ("boolean", json!(true)),
            ("integer", json!(7)),
            ("number", json!(-1.5)),
            ("string", json!(random.text(1, 5))),
            ("array", json!([])),
            ("array", deep(|inner| json!([inner]))),
            ("object", json!({})),
            ("object", deep(|inner| json!({"a": inner}))),
        ];
        let has = |kind: &str| self.types.contains(&kind) || kind == "integer" && self.types.contains(&"number");
        let mut wrong: Vec<(&str, Value)> = others
            .into_iter()
            .filter(|(kind, _)| !has(kind))
            .map(|(kind, v)| (if kind == "null" { "null" } else { "wrong type" }, v))
            .collect();
        if has("integer") {
            let edges = [(self.bound("minimum"), -1), (self.bound("maximum"), 1)];
            for (edge, step) in edges.into_iter().filter_map(|(edge, step)| Some((edge?, step))) {
                wrong.extend([edge + step, edge + step * 1000, edge + step * (1 << 50)].map(|n| ("out of range", json!(n))));
                wrong.push(("out of range", json!(edge as f64 + step as f64 * 1e30)));
            }
        }
        if let Some(length) = self.bound("minLength").filter(|length| *length > 0) {
            wrong.extend([("too short", json!(random.text(length - 1, length - 1))), ("too short", json!(""))]);
        }
        if let Some(length) = self.bound("maxLength") {
            wrong.extend([length + 1, length + 500].map(|length| ("too long", json!(random.text(length, length)))));
        }
        if self.schema.contains_key("enum") {
            wrong.extend(["", "FAST", "fast ", "fas"].map(|text| ("not among them", json!(text))));
        }
        if let Value::Array(items) = right {
            let fewer =
                self.bound("minItems").map(|least| items.iter().take(usize::try_from(least - 1).expect("not 0")).cloned().collect());
            let most = self.bound("maxItems").map(|most| (0..=most).map(|_| self.items().make(random)).collect());
            wrong.extend(fewer.into_iter().map(|items: Vec<Value>| ("too few items", json!(items))));
            wrong.extend(most.into_iter().map(|items: Vec<Value>| ("too many items", json!(items))));
            for (at, item) in items.iter().enumerate() {
                for (kind, spoiled) in self.items().spoil(item, random) {
                    let mut items = items.clone();
                    items[at] = spoiled;
                    wrong.push((kind, json!(items)));
                }
            }
        }
        if let Value::Object(right) = right {
            let with = |key: &str, value: Value| {
                let mut made = right.clone();
                made.insert(key.to_owned(), value);
                Value::Object(made)
            };
            for (key, schema) in self.properties() {
                if self.required(key) {
                    let mut made = right.clone();
                    made.remove(key);
                    wrong.push(("missing", Value::Object(made)));
                }
                wrong.push(("extra property", with(&key.to_uppercase(), right.get(key).cloned().unwrap_or_default())));
                let child = right.get(key).cloned().unwrap_or_else(|| schema.make(random));
                wrong.extend(schema.spoil(&child, random).into_iter().map(|(kind, spoiled)| (kind, with(key, spoiled))));
            }
            for key in ["", "__proto__", "$ref", "more\n", "\u{202e}", " "] {
                wrong.push(("extra property", with(key, self.properties().first().map_or(json!(1), |(_, schema)| schema.make(random)))));
            }
        }
        wrong
    }
}

/// Every way to spoil how right arguments are written.
fn spoil_text(right: &Value, random: &mut Random) -> Vec<(&'static str, Vec<u8>)> {
    let text = right.to_string();
    let (body, end) = (&text[1..text.len() - 1], text.len() - 1);
    let comma = if body.is_empty() { "" } else { "," };
    let first = |value: &str| match right.as_object().and_then(|map| map.keys().next()) {
        Some(key) => {
            let mut rest = right.clone();
            rest.as_object_mut().expect("an object").remove(key);
            let rest = rest.to_string();
            let comma = if rest == "{}" { "" } else { "," };
            format!("{{{}:{value}{comma}{}", json!(key), &rest[1..])
        }
        None => format!("{{\"a\":{value}}}"),
    };
    let mut wrong: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut add = |kind, text: String| wrong.push((kind, text.into_bytes()));
    for value in [r#""\ud800""#, r#""\udc00""#, r#""a\ud83d b""#, r#""\ude00\ud83d""#] {
        add("lone surrogate", first(value));
    }
    for value in ["\"\\u0000\"", "\"a\\u0000b\"", "\"a\0b\"", "\"a\u{1}b\"", "\"a\nb\""] {
        add("NUL or control", first(value));
    }
    for value in ["18446744073709551616", "-9223372036854775809", "1e999", "-1e400", &"9".repeat(400)] {
        add("number too large", first(value));
    }
    for value in
        ["NaN", "Infinity", "0x10", "01", "+1", ".5", "1.", "'a'", "undefined", "True", "", "\"\\x41\"", "\"\\u12\"", "[1,]", "{,}"]
    {
        add("no JSON", first(value));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        add("nested garbage", first(&format!("{}1{}", open.repeat(300), close.repeat(300))));
        add("nested garbage", first(&open.repeat(5000)));
    }
    for key in [r#""\ud800""#, "\"\\u0000\"", "\"a\0\"", "7", "null", "a"] {
        add("broken key", format!("{{{key}:1{comma}{body}}}"));
    }
    match right.as_object().and_then(|map| map.iter().next()) {
        Some((key, value)) => {
            let escaped: String = key.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            add("duplicate key", format!("{{{}:{value},{body}}}", json!(key)));
            add("duplicate key", format!("{{{body},{}:{value}}}", json!(key)));
            add("duplicate key", format!("{{\"{escaped}\":{value},{body}}}"));
        }
        None => add("duplicate key", r#"{"a":1,"a":1}"#.to_owned()),
    }
    for top in ["null", "true", "7", "\"x\"", "[]", "[{}]", "\"{}\"", &format!("[{text}]"), &json!(text).to_string()] {
        add("wrong top level", (*top).to_owned());
    }
    for more in ["x", "}", ",", "{}", "null", "\0", "//", &text] {
        add("more than one value", format!("{text}{more}"));
    }
    for broken in [format!("\u{feff}{text}"), format!("{{{body},}}"), format!("{{,{body}}}"), format!("/**/{text}"), format!("{{{body}")] {
        add("no JSON", broken);
    }
    for _ in 0..4 {
        let at = usize::try_from(random.between(0, i64::try_from(end).expect("small"))).expect("small");
        // What is cut anywhere before its last bracket is no whole object; a letter may be cut too.
        wrong.push(("truncated", text.as_bytes()[..at].to_vec()));
    }
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"] {
        wrong.push(("no UTF-8", [b"{\"a\":\"", bytes, b"\"}"].concat()));
        wrong.push(("no UTF-8", [text.as_bytes(), bytes].concat()));
    }
    wrong
}

/// Ways to write right arguments that mean the same.
fn write(right: &Value) -> [Vec<u8>; 3] {
    let plain = right.to_string();
    let escaped = plain.chars().map(|c| match c {
        ' '..='~' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
    });
    let escaped: String = escaped.collect();
    [plain.into_bytes(), serde_json::to_vec_pretty(right).expect("JSON"), format!("\r\n\t {escaped} \n").into_bytes()]
}

fn host(world: &World) -> Host {
    let module = raw::Module { schema: BOUNDED, ..raw::Module::default() };
    let bounded = world.plugin("bounded", &module.component(), "");
    let folder = palisade_tests::root().join("example-plugins");
    // Those in Rust; the others need more than cargo.
    let folders = std::fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("a folder").path());
    let rust = folders.filter(|folder| folder.join("Cargo.toml").is_file());
    let names = rust.map(|folder| folder.file_name().expect("a name").to_owned());
    let plugins = names.map(|name| example(name.to_str().expect("text"))).chain([bounded]).collect();
    let mut options = bench::options(world, plugins, 0);
    options.grants = ["search:fs:read:@workspace", "secrets:fs:read:@workspace", "notes:store"].map(str::to_owned).to_vec();
    // Compiled code is shared with the tests that run the binary, and stands under the key all worlds have.
    let mut home = Home::at(&world.path("home")).expect("a home");
    (home.state, home.cache) = (world.path("state/palisade"), palisade_tests::root().join("target/test-cache/palisade"));
    let settings = Settings::resolve(&options, home).expect("settings");
    let compiler = palisade_tests::binary();
    let load = LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() };
    bench::runtime().block_on(Host::load(settings, load)).expect("a host")
}

/// What the step for arguments says.
fn step(host: &Host, id: &str, bytes: &[u8]) -> StepVerdict {
    let explanation = host.explain(id, Some(bytes)).expect("a tool");
    explanation.steps.iter().find(|step| step.rule == Rule::Arguments).expect("a step").verdict
}

/// Whether the call entered its component, as far as its record says.
fn entered(runtime: &tokio::runtime::Runtime, host: &Host, id: &str, bytes: &[u8]) -> bool {
    let mut allowed = None;
    let call = ToolCall { id: id.to_owned(), arguments: bytes.into() };
    let decided = |decision: &palisade::record::Decision<'_>| allowed = Some(decision.denial.is_none());
    let record = runtime.block_on(host.call(call, Verdict::pass(), Run::default(), decided)).expect("a tool");
    if let Some(denial) = &record.denial {
        assert_eq!((denial.rule.as_str(), record.outcome), ("arguments", Outcome::Denied), "{denial:?}");
        assert!(record.content.is_empty() && !denial.reason.is_empty(), "{record:?}");
    }
    assert_eq!(allowed, Some(record.outcome != Outcome::Denied), "what is decided is what happens");
    allowed.expect("it was decided")
}

#[test]
fn no_malformed_call_enters_a_component_and_no_right_one_is_refused() {
    let world = World::new();
    let host = host(&world);
    let runtime = bench::runtime();
    let mut random = Random(SEED);
    let (mut rights, mut kinds) = (0u32, BTreeMap::<&str, u32>::new());
    let mut seen = Vec::new();
    for tool in host.tools() {
        let id = tool.spec.id.as_str();
        if host.admit(tool).is_err() {
            assert_eq!(id, "shell/bash", "the gate denies it before it looks at arguments");
            assert!(!entered_at_all(&runtime, &host, id));
            continue;
        }
        seen.push(id);
        let schema = Known::new(tool.spec.input.value());
        let check = |bytes: &[u8], right: bool, kind: &str| {
            let shown = || format!("{id}, {kind}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
            if CALLED.contains(&id) {
                assert_eq!(entered(&runtime, &host, id, bytes), right, "{}", shown());
            } else {
                assert_eq!(step(&host, id, bytes), if right { StepVerdict::Pass } else { StepVerdict::Deny }, "{}", shown());
            }
        };
        for _ in 0..CASES {
            let right = schema.make(&mut random);
            for bytes in write(&right) {
                check(&bytes, true, "right");
                rights += 1;
            }
            let values = schema.spoil(&right, &mut random).into_iter().map(|(kind, value)| (kind, value.to_string().into_bytes()));
            for (kind, bytes) in values.collect::<Vec<_>>().into_iter().chain(spoil_text(&right, &mut random)) {
                check(&bytes, false, kind);
                *kinds.entry(kind).or_default() += 1;
            }
        }
        // Right but for its size.
        let padded = [schema.make(&mut random).to_string().as_bytes(), &vec![b' '; 1 << 20]].concat();
        check(&padded, false, "too large");
    }
    println!("{rights} right, {} malformed: {kinds:?}", kinds.values().sum::<u32>());
    assert_eq!(seen.len(), 12, "{seen:?}");
    assert!(CALLED.iter().all(|id| seen.contains(id)), "{seen:?}");
    let few: Vec<_> = kinds.iter().filter(|(_, count)| **count < 8).collect();
    assert!(kinds.len() >= 20 && few.is_empty(), "each kind is tried often: {few:?} of {kinds:?}");
}

fn entered_at_all(runtime: &tokio::runtime::Runtime, host: &Host, id: &str) -> bool {
    let call = ToolCall::new(id, r#"{"command":"ls"}"#);
    let record = runtime.block_on(host.call(call, Verdict::pass(), Run::default(), |_| {})).expect("a tool");
    record.outcome != Outcome::Denied
}
