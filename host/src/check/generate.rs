//! Arguments made from a schema: right ones, in the styles of somebody who means no good.
//!
//! It knows the keywords that schemas of tools use; what it does not know it does not look at, and whoever asks for right
//! arguments then asks a validator too. For a schema with the keywords in [`KNOWN`] alone, what it makes is right. Sizes are
//! bounded whatever a schema asks for.
//!
//! The same seed makes the same arguments, everywhere.

use serde_json::{Map, Number, Value, json};

/// Keywords of which it keeps what they say; beside them, annotations.
pub const KNOWN: [&str; 14] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "enum",
    "const",
    "items",
    "minItems",
    "maxItems",
    "$ref",
];

/// Names of files that nobody likes.
pub const HOSTILE_NAMES: [&str; 5] = ["-rf", "a b", "ü🦀.txt", "$(id)", ".hidden"];

/// Paths that lead out, or are no path.
const PATHS: [&str; 14] = [
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "/workspace/../etc/shadow",
    "..",
    ".",
    "/",
    "//",
    "~/.ssh/id_rsa",
    "..\\..\\windows\\system32",
    "file:///etc/passwd",
    "a/./../../b",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/dev/zero",
];

/// Texts that are code to somebody.
const CODE: [&str; 16] = [
    "'; DROP TABLE users; --",
    "$(touch /tmp/owned)",
    "`id`",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "<script>alert(1)</script>",
    "(((((((((((((((((((((a*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*)*$",
    "[a-z",
    "(?<n>a)\\k<n>",
    "%s%s%s%n%x",
    "{\"a\": {\"b\": [1, 2}",
    "&a [*a, *a]",
    "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
    "=cmd|' /C calc'!A0",
    "\"unclosed, \"\" quote\n,,\"",
    "[[[[[[[[[[[[[[[[[[[[[[",
    "def f: f; f",
];

/// Characters that do something, or look like something else. No NUL: the gate refuses that.
const UNICODE: [&str; 14] = [
    "\u{1}\u{7}\u{8}\u{1b}[31m",
    "\u{202e}txt.exe",
    "\u{200b}\u{200d}\u{feff}",
    "e\u{301}\u{301}\u{301}\u{301}",
    "\u{e0041}\u{e007f}",
    "🏳️‍🌈👩‍👩‍👧‍👦",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "İıſK",
    "\r\n\r\n",
    "\u{2028}\u{2029}\u{85}",
    "语言العربية",
    "\u{7f}\u{9b}",
    "ﷺ",
    "\u{2066}\u{2069}",
];

/// Splitmix: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of so many, from 0.
    pub fn below(&mut self, many: usize) -> usize {
        usize::try_from(self.next_u64() % (many.max(1) as u64)).unwrap_or_default()
    }

    /// From `low` to `high`, both among them; `low` where there is none.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.wrapping_sub(low).cast_unsigned();
        if high < low {
            return low;
        }
        let step = if span == u64::MAX { self.next_u64() } else { self.next_u64() % (span + 1) };
        low.wrapping_add(step.cast_signed())
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len())).copied()
    }
}

/// How arguments are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As anybody would.
    Plain,
    /// As little as may be.
    Least,
    /// Numbers and lengths at their bounds.
    Edges,
    /// Texts that are paths.
    Paths,
    /// Texts that are code to somebody.
    Code,
    /// Control, bidi and other odd characters.
    Unicode,
    /// Texts as long as they may be.
    Long,
    /// Lists and maps as long as they may be.
    Wide,
    /// Nested as deep as may be.
    Deep,
}

impl Style {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Plain, Self::Least, Self::Edges, Self::Paths, Self::Code, Self::Unicode, Self::Long, Self::Wide, Self::Deep];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Least => "least",
            Self::Edges => "edges",
            Self::Paths => "paths",
            Self::Code => "code",
            Self::Unicode => "unicode",
            Self::Long => "long",
            Self::Wide => "wide",
            Self::Deep => "deep",
        }
    }
}

/// Makes values of one style.
#[derive(Debug)]
pub struct Maker<'r> {
    random: &'r mut Random,
    style: Style,
    /// Bytes that are left, about.
    room: usize,
    /// Nodes of the schema that may still be entered.
    nodes: usize,
}

/// What a schema asks for at least, in letters or items, it gets up to this many also where no room is left.
const LEAST: usize = 64;
/// Most nodes of a schema that are entered for one value, more than a schema within bounds has; lists repeat theirs.
const NODES: usize = 20_000;
/// Levels that are nested where anything may stand; the gate reads 128.
const LEVELS: usize = 100;

impl<'r> Maker<'r> {
    /// Of values of about so many bytes at most.
    #[must_use]
    pub fn new(random: &'r mut Random, style: Style, room: usize) -> Self {
        Self { random, style, room, nodes: NODES }
    }

    /// A text of any length.
    pub fn text(&mut self) -> String {
        self.string(0, None)
    }

    /// A value that a schema takes; `root` is where its references point into.
    pub fn value(&mut self, root: &Value, node: &Value) -> Value {
        let node = resolved(root, node);
        self.nodes = self.nodes.saturating_sub(1);
        let Value::Object(map) = node else { return if node == &Value::Bool(false) { Value::Null } else { self.anything() } };
        if let Some(only) = map.get("const") {
            return only.clone();
        }
        if let Some(values) = map.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty()) {
            return values[self.random.below(values.len())].clone();
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(branches) = map.get(key).and_then(Value::as_array).filter(|branches| !branches.is_empty())
                && !map.contains_key("type")
                && self.nodes > 0
            {
                let branch = self.random.below(branches.len());
                return self.value(root, &branches[branch]);
            }
        }
        // What a pattern or a format wants is known to who wrote it.
        if (map.contains_key("pattern") || map.contains_key("format")) && map.get("type").is_none_or(|kind| kind == "string") {
            let given = map.get("examples").and_then(Value::as_array).into_iter().flatten().chain(map.get("default"));
            let given: Vec<&Value> = given.collect();
            if !given.is_empty() {
                return given[self.random.below(given.len())].clone();
            }
        }
        let types: Vec<&str> = match map.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ if map.contains_key("properties") => vec!["object"],
            _ if map.contains_key("items") => vec!["array"],
            _ => return self.anything(),
        };
        match self.random.of(&types).unwrap_or("null") {
            "boolean" => json!(self.random.next_u64().is_multiple_of(2)),
            "integer" => self.integer(map),
            "number" => self.number(map),
            "string" => {
                let bound = |key: &str| map.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
                self.string(bound("minLength").unwrap_or(0), bound("maxLength")).into()
            }
            "array" => self.array(root, map),
            "object" => self.object(root, map),
            _ => Value::Null,
        }
    }

    fn anything(&mut self) -> Value {
        match self.style {
            Style::Least => Value::Null,
            Style::Edges => self.integer(&Map::new()),
            Style::Wide => (0..self.room / 8).take(10_000).map(|n| json!(n)).collect(),
            Style::Deep => {
                let levels = LEVELS.min(self.room / 8);
                (0..levels).fold(Value::Null, |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
            }
            _ => self.string(0, None).into(),
        }
    }

    fn integer(&mut self, map: &Map<String, Value>) -> Value {
        // A bound that is no whole number, or above what `i64` holds, is as good as none here.
        let bound = |key: &str| map.get(key).and_then(Value::as_i64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        if self.style == Style::Edges {
            let fits = |n: &i64| low.is_none_or(|low| *n >= low) && high.is_none_or(|high| *n <= high);
            let edges = [i64::MIN, i64::MAX, 0, -1, 1, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32, (1 << 53) + 1];
            let mut edges: Vec<i64> = edges.into_iter().chain(low).chain(high).filter(fits).collect();
            edges.dedup();
            let more = high.is_none() && !map.contains_key("maximum");
            return match self.random.below(edges.len() + usize::from(more)) {
                at if at < edges.len() => json!(edges[at]),
                _ => json!(u64::MAX),
            };
        }
        let plain = if self.style == Style::Plain { 1 << 10 } else { 1 << 40 };
        let low = low.unwrap_or_else(|| high.unwrap_or(0).saturating_sub(plain));
        let high = high.unwrap_or_else(|| low.saturating_add(plain));
        json!(self.random.between(low, high))
    }

    fn number(&mut self, map: &Map<String, Value>) -> Value {
        let bound = |key: &str| map.get(key).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        let fits = |n: &f64| low.is_none_or(|low| *n >= low) && high.is_none_or(|high| *n <= high);
        let edges = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, 0.1, 1e308, -1e-300, 9_007_199_254_740_993.0];
        let edges: Vec<f64> = edges.into_iter().chain(low).chain(high).filter(fits).collect();
        let made = match self.random.of(&edges) {
            Some(edge) if self.style == Style::Edges => edge,
            _ => {
                let (low, high) =
                    (low.unwrap_or_else(|| high.unwrap_or(0.0).min(0.0) - 1e3), high.unwrap_or(low.unwrap_or(0.0).max(0.0) + 1e3));
                let share = self.random.below(1001) as f64 / 1000.0;
                (low * (1.0 - share) + high * share).clamp(low.min(high), high.max(low))
            }
        };
        Number::from_f64(made).map_or(json!(0), Value::Number)
    }

    /// Of so many characters.
    fn string(&mut self, low: usize, high: Option<usize>) -> String {
        let high = high.unwrap_or(usize::MAX).max(low);
        let pieces: &[&str] = match self.style {
            Style::Paths => &PATHS,
            Style::Code => &CODE,
            Style::Unicode => &UNICODE,
            _ => &[],
        };
        let mut made = String::new();
        let wanted = match self.style {
            Style::Least => low,
            Style::Edges => {
                let edge = if high == usize::MAX { 256 } else { high };
                if self.random.below(2) == 0 { low } else { edge }
            }
            // Half of what is left, so that another may be long too.
            Style::Long => (self.room / 2).clamp(low, high),
            Style::Wide | Style::Deep => 8,
            _ => 1 + self.random.below(24),
        };
        // Whatever a schema asks for: what is longer would be refused for its size.
        let room = self.room.max(low.min(LEAST));
        let (wanted, low) = (wanted.min(room), low.min(room));
        let mut length = 0;
        if let Some(piece) = self.random.of(pieces) {
            made.push_str(piece);
            if self.style == Style::Unicode {
                (0..self.random.below(6))
                    .filter_map(|_| self.random.of(pieces))
                    .collect::<Vec<_>>()
                    .iter()
                    .for_each(|piece| made.push_str(piece));
            }
            length = made.chars().count();
            if length > high {
                made = made.chars().take(high).collect();
                length = high.min(length);
            }
        }
        let wanted = if made.is_empty() { wanted.clamp(low, high) } else { low };
        // One of each length in UTF-8, what JSON escapes, and what looks like an end of it; a long text has mostly plain ones.
        const LETTERS: [char; 16] = ['a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\t', '\u{7f}', 'ü', '语', '🦀', '}', '{', '.'];
        let long = wanted > 1024;
        while length < wanted {
            let pick = self.random.below(if long { 2048 } else { LETTERS.len() });
            made.push(LETTERS.get(pick).copied().unwrap_or('a'));
            length += 1;
        }
        self.room = self.room.saturating_sub(made.len());
        made
    }

    fn array(&mut self, root: &Value, map: &Map<String, Value>) -> Value {
        let bound = |key: &str| map.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let low = bound("minItems").unwrap_or(0);
        let high = bound("maxItems").unwrap_or(usize::MAX).max(low);
        let wanted = match self.style {
            Style::Least => low,
            Style::Edges if high != usize::MAX && self.random.below(2) == 0 => high,
            Style::Edges => low,
            Style::Wide => (self.room / 16).min(10_000),
            _ => self.random.below(5),
        };
        let wanted = wanted.clamp(low, high).min(self.nodes).min(self.room.max(low.min(LEAST)));
        let any = Value::Bool(true);
        let items = map.get("items").unwrap_or(&any);
        let whole = self.room;
        let each = whole / wanted.max(1);
        let made = (0..wanted).map(|_| {
            self.room = each;
            self.value(root, items)
        });
        let made: Vec<Value> = made.collect();
        self.room = whole.saturating_sub(made.len() * each / 2);
        made.into()
    }

    fn object(&mut self, root: &Value, map: &Map<String, Value>) -> Value {
        let required: Vec<&str> = map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut made = Map::new();
        for (key, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let optional = match self.style {
                Style::Least => false,
                Style::Plain | Style::Edges => self.random.next_u64().is_multiple_of(2),
                // What it asks of a tool, it asks of all its arguments.
                _ => true,
            };
            if required.contains(&key.as_str()) || (optional && self.nodes > 0) {
                made.insert(key.clone(), self.value(root, schema));
            }
        }
        let more = map.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let open = more != &Value::Bool(false) && !map.contains_key("unevaluatedProperties");
        if open && self.style == Style::Wide {
            for n in 0..(self.room / 64).min(1_000).min(self.nodes) {
                let value = if more == &Value::Bool(true) { json!(n) } else { self.value(root, more) };
                made.insert(format!("more-{n}"), value);
            }
        }
        Value::Object(made)
    }
}

/// What a node refers to, in the end. A schema within bounds does not refer in circles.
pub(super) fn resolved<'v>(root: &'v Value, mut node: &'v Value) -> &'v Value {
    for _ in 0..32 {
        let target = node.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(found) => node = found,
            None => break,
        }
    }
    node
}
