//! Arguments that are wrong: right ones, spoilt in every way, each with the name of its kind; and bytes that are no JSON.
//!
//! What comes out is wrong by the way it was made, for a schema with the keywords of [`super::generate::KNOWN`] alone.

use super::generate::{Maker, Random, Style, resolved};
use serde_json::{Map, Value, json};

/// Most ways to spoil one value, so that a schema of thousands of properties costs no more than one of ten.
const MOST: usize = 1_000;
/// Values of more parts are spoilt as a whole alone: each way to spoil a part copies all others.
const PARTS: usize = 300;
/// Levels of nested values, more than a reader takes.
const LEVELS: usize = 100;

/// Every way to spoil a right value.
#[must_use]
pub fn values(root: &Value, node: &Value, right: &Value, random: &mut Random) -> Vec<(&'static str, Value)> {
    below(root, node, right, random, 8)
}

/// The same, so many levels deep.
fn below(root: &Value, node: &Value, right: &Value, random: &mut Random, levels: usize) -> Vec<(&'static str, Value)> {
    let node = resolved(root, node);
    let (Some(map), Some(levels)) = (node.as_object(), levels.checked_sub(1)) else { return Vec::new() };
    let mut wrong = of_type(map);
    let bound = |key: &str| map.get(key).and_then(Value::as_i64);
    if has(map, "integer") {
        let edges = [(bound("minimum"), -1_i64), (bound("maximum"), 1)];
        for (edge, step) in edges.into_iter().filter_map(|(edge, step)| Some((edge?, step))) {
            let past = [step, step * 1000, step << 50].into_iter().filter_map(|by| edge.checked_add(by));
            wrong.extend(past.map(|n| ("out of range", json!(n))));
            wrong.push(("out of range", json!(edge as f64 + step as f64 * 1e30)));
        }
    }
    let length = |key: &str| bound(key).and_then(|bound| usize::try_from(bound).ok());
    if let Some(least) = length("minLength").filter(|least| *least > 0) {
        wrong.extend([("too short", json!("é".repeat(least.min(1 << 16) - 1))), ("too short", json!(""))]);
    }
    if let Some(most) = length("maxLength").filter(|most| *most < 1 << 16) {
        wrong.extend([most + 1, most + 500].map(|long| ("too long", json!("é".repeat(long)))));
    }
    if let Some(values) = map.get("enum").and_then(Value::as_array) {
        let others = ["", "FAST", "fast ", "fas"].map(|text| json!(text)).into_iter().filter(|other| !values.contains(other));
        wrong.extend(others.map(|other| ("not among them", other)));
    }
    match right {
        _ if parts(right) > PARTS => {}
        Value::Array(items) => of_items(root, map, items, random, levels, &mut wrong),
        Value::Object(right) => of_properties(root, map, right, random, levels, &mut wrong),
        _ => {}
    }
    wrong.truncate(MOST);
    wrong
}

/// Values in a value, counted no further than it matters.
fn parts(value: &Value) -> usize {
    let below = |all: &mut dyn Iterator<Item = &Value>| {
        let mut count = 1;
        for one in all {
            count += parts(one);
            if count > PARTS {
                break;
            }
        }
        count
    };
    match value {
        Value::Array(items) => below(&mut items.iter()),
        Value::Object(map) => below(&mut map.values()),
        _ => 1,
    }
}

fn has(map: &Map<String, Value>, kind: &str) -> bool {
    let takes = |one: &str| one == kind || one == "number" && kind == "integer";
    match map.get("type") {
        Some(Value::String(one)) => takes(one),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).any(takes),
        _ => false,
    }
}

fn of_type(map: &Map<String, Value>) -> Vec<(&'static str, Value)> {
    // Without a type it may be anything.
    if !map.contains_key("type") {
        return Vec::new();
    }
    let deep = |open: fn(Value) -> Value| (0..LEVELS).fold(Value::Null, |inner, _| open(inner));
    let others = [
        ("null", Value::Null),
        ("boolean", json!(true)),
        ("integer", json!(7)),
        ("number", json!(-1.5)),
        ("string", json!("\"7\" }")),
        ("array", json!([])),
        ("array", deep(|inner| json!([inner]))),
        ("object", json!({})),
        ("object", deep(|inner| json!({"a": inner}))),
    ];
    let wrong = others.into_iter().filter(|(kind, _)| !has(map, kind));
    wrong.map(|(kind, value)| (if kind == "null" { "null" } else { "wrong type" }, value)).collect()
}

fn of_items(
    root: &Value,
    map: &Map<String, Value>,
    items: &[Value],
    random: &mut Random,
    levels: usize,
    wrong: &mut Vec<(&'static str, Value)>,
) {
    let bound = |key: &str| map.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
    let any = Value::Bool(true);
    let node = map.get("items").unwrap_or(&any);
    if let Some(fewer) = bound("minItems").and_then(|least| least.checked_sub(1)) {
        wrong.push(("too few items", items.iter().take(fewer).cloned().collect()));
    }
    if let Some(most) = bound("maxItems").filter(|most| *most < 1 << 12) {
        let more = (0..=most).map(|_| Maker::new(random, Style::Plain, 64).value(root, node));
        wrong.push(("too many items", more.collect()));
    }
    for (at, item) in items.iter().enumerate() {
        if wrong.len() >= MOST {
            return;
        }
        for (kind, spoilt) in below(root, node, item, random, levels) {
            let mut items = items.to_vec();
            items[at] = spoilt;
            wrong.push((kind, json!(items)));
        }
    }
}

fn of_properties(
    root: &Value,
    map: &Map<String, Value>,
    right: &Map<String, Value>,
    random: &mut Random,
    levels: usize,
    wrong: &mut Vec<(&'static str, Value)>,
) {
    let with = |key: &str, value: Value| {
        let mut made = right.clone();
        made.insert(key.to_owned(), value);
        Value::Object(made)
    };
    let closed = map.get("additionalProperties") == Some(&Value::Bool(false));
    let properties = map.get("properties").and_then(Value::as_object);
    let known = |key: &str| properties.is_some_and(|properties| properties.contains_key(key));
    let required = |key: &str| map.get("required").and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|one| one == key));
    for (key, schema) in properties.into_iter().flatten() {
        if wrong.len() >= MOST {
            return;
        }
        if required(key) {
            let mut made = right.clone();
            made.remove(key);
            wrong.push(("missing", Value::Object(made)));
        }
        let upper = key.to_uppercase();
        if closed && !known(&upper) {
            wrong.push(("extra property", with(&upper, right.get(key).cloned().unwrap_or_default())));
        }
        let child = right.get(key).cloned().unwrap_or_else(|| Maker::new(random, Style::Plain, 1 << 10).value(root, schema));
        wrong.extend(below(root, schema, &child, random, levels).into_iter().map(|(kind, spoilt)| (kind, with(key, spoilt))));
    }
    if closed {
        for key in ["", "__proto__", "$ref", "more\n", "\u{202e}", " "] {
            let like =
                properties.and_then(|all| all.values().next()).map(|schema| Maker::new(random, Style::Plain, 64).value(root, schema));
            if !known(key) {
                wrong.push(("extra property", with(key, like.unwrap_or_else(|| json!(1)))));
            }
        }
    }
}

/// Every way to spoil how right arguments are written: what comes out is no JSON object, or has two readings.
#[must_use]
pub fn bytes(right: &Value, random: &mut Random) -> Vec<(&'static str, Vec<u8>)> {
    let text = if right.is_object() { right.to_string() } else { "{}".to_owned() };
    let (body, end) = (&text[1..text.len() - 1], text.len() - 1);
    let comma = if body.is_empty() { "" } else { "," };
    let entry = right.as_object().and_then(|map| map.iter().next());
    let first = |value: &str| match (entry, right.clone()) {
        (Some((key, _)), Value::Object(mut rest)) => {
            rest.remove(key);
            let rest = Value::Object(rest).to_string();
            let comma = if rest == "{}" { "" } else { "," };
            format!("{{{}:{value}{comma}{}", json!(key), &rest[1..])
        }
        _ => format!("{{\"a\":{value}}}"),
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
    match entry {
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
        // What is cut anywhere before its last bracket is no whole object; a letter may be cut too.
        wrong.push(("truncated", text.as_bytes()[..random.below(end + 1)].to_vec()));
    }
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"] {
        wrong.push(("no UTF-8", [b"{\"a\":\"", bytes, b"\"}"].concat()));
        wrong.push(("no UTF-8", [text.as_bytes(), bytes].concat()));
    }
    wrong
}

/// Ways to write right arguments that mean the same.
#[must_use]
pub fn writings(right: &Value) -> [Vec<u8>; 3] {
    let plain = right.to_string();
    let escaped = plain.chars().map(|c| match c {
        ' '..='~' => c.to_string(),
        _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect(),
    });
    let escaped: String = escaped.collect();
    let pretty = format!("{right:#}").into_bytes();
    [plain.into_bytes(), pretty, format!("\r\n\t {escaped} \n").into_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use proptest::prelude::*;

    /// Schemas of the known keywords.
    fn schemas() -> impl Strategy<Value = Value> {
        let bounds = |low: i64, high: i64| (low..high, 0..high).prop_map(|(low, more)| (low, low + more));
        let leaf = prop_oneof![
            Just(json!({"type": "boolean"})),
            Just(json!({"type": ["string", "null"]})),
            Just(json!({"type": "string"})),
            Just(json!({"enum": ["fast", "slow", 7, null]})),
            Just(json!({"type": "integer"})),
            Just(json!({"type": "number"})),
            Just(json!({"const": {"a": [1]}})),
            bounds(0, 40).prop_map(|(low, high)| json!({"type": "string", "minLength": low, "maxLength": high})),
            (0i64..20).prop_map(|low| json!({"type": "string", "minLength": low})),
            bounds(-1000, 1000).prop_map(|(low, high)| json!({"type": "integer", "minimum": low, "maximum": high})),
            any::<i64>().prop_map(|low| json!({"type": "integer", "minimum": low})),
            any::<i64>().prop_map(|high| json!({"type": ["integer", "null"], "maximum": high})),
            bounds(-9, 9).prop_map(|(low, high)| json!({"type": "number", "minimum": low, "maximum": high})),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            let list = (inner.clone(), 0..4usize, 0..4usize)
                .prop_map(|(items, low, more)| json!({"type": "array", "items": items, "minItems": low, "maxItems": low + more}));
            prop_oneof![list, objects(inner)]
        })
    }

    fn objects(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-z]{1,3}", (inner, any::<bool>()), 0..5).prop_map(|given| {
            let required: Vec<_> = given.iter().filter(|(_, (_, required))| *required).map(|(key, _)| key.clone()).collect();
            let properties: Map<_, _> = given.into_iter().map(|(key, (schema, _))| (key, schema)).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_made_as_right_is_right_and_what_is_spoilt_is_wrong(schema in objects(schemas()), seed in any::<u64>()) {
            let checked = Schema::parse_arguments(&schema.to_string()).unwrap();
            let mut random = Random::new(seed);
            for style in Style::ALL {
                let right = Maker::new(&mut random, style, 512).value(&schema, &schema);
                let written = right.to_string();
                let read = crate::json::parse(written.as_bytes());
                prop_assert!(read.is_ok(), "{style:?} {written}: {read:?}");
                let verdict = checked.validate(&read.unwrap(), written.len());
                prop_assert!(verdict.is_ok(), "{style:?} {written} for {schema}: {verdict:?}");
                for bytes in writings(&right) {
                    let again = crate::json::parse(&bytes);
                    prop_assert_eq!(again.as_ref(), Ok(&right), "{}", String::from_utf8_lossy(&bytes));
                }
                // The others differ in what texts and lists hold, which makes no other way to spoil them.
                if !matches!(style, Style::Plain | Style::Least | Style::Edges) {
                    continue;
                }
                for (kind, wrong) in values(&schema, &schema, &right, &mut random) {
                    let written = wrong.to_string();
                    let passes = crate::json::parse(written.as_bytes()).is_ok_and(|value| checked.validate(&value, written.len()).is_ok());
                    prop_assert!(!passes, "{kind}: {written} for {schema}");
                }
                for (kind, wrong) in bytes(&right, &mut random) {
                    let passes = crate::json::parse(&wrong).is_ok_and(|value| value.is_object());
                    prop_assert!(!passes, "{kind}: {}", String::from_utf8_lossy(&wrong));
                }
            }
        }

        #[test]
        fn the_same_seed_makes_the_same_and_no_schema_makes_more_than_there_is_room_for(
            schema in objects(schemas()), seed in any::<u64>(), room in 64usize..4096,
        ) {
            for style in Style::ALL {
                let make = || Maker::new(&mut Random::new(seed), style, room).value(&schema, &schema).to_string();
                let made = make();
                prop_assert_eq!(&made, &make());
                // Escapes and keys come on top.
                prop_assert!(made.len() < 16 * room + 16_384, "{:?}: {} bytes", style, made.len());
            }
        }
    }

    #[test]
    fn a_schema_that_asks_for_everything_costs_no_more_than_any() {
        let inner = (0..28).fold(
            json!({"type": "string", "minLength": 1_000_000_000}),
            |inner, _| json!({"type": "array", "items": inner, "minItems": 1_000_000}),
        );
        let many: Map<String, Value> = (0..1000).map(|n| (format!("p{n}"), json!({"type": "integer"}))).collect();
        for node in [inner, json!({"type": "object", "properties": many, "additionalProperties": false})] {
            let mut random = Random::new(1);
            for style in Style::ALL {
                let made = Maker::new(&mut random, style, 1 << 20).value(&node, &node);
                assert!(made.to_string().len() < 16 << 20, "{style:?}");
                assert!(values(&node, &node, &made, &mut random).len() <= MOST, "{style:?}");
            }
        }
    }
}
