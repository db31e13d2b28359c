//! Front matter: YAML as far as the Agent Skills format uses it, into a small tree.
//!
//! The rule it keeps: every scalar is a text, nothing is expanded, and what is read is bounded in size, depth and count. What
//! the format's own validator refuses and can be read all the same is a finding.
//!
//! Never here: what a key means.

use saphyr_parser::{Event, Parser, Span};

/// Deepest nesting.
const DEPTH: usize = 16;
/// Most texts, lists and mappings.
const NODES: usize = 4096;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<Value>),
    Map(Vec<Entry>),
}

/// A key with its value, and the line of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// Something at a line.
pub(super) type At = (usize, String);

/// A list or mapping that has not ended.
struct Open {
    value: Value,
    key: Option<At>,
    line: usize,
    /// Where the first mapping below it is indented.
    indent: Option<usize>,
}

/// The tree of a text, and what the validator does not take.
///
/// # Errors
/// What is wrong, with its line.
pub(super) fn parse(text: &str) -> Result<(Option<Value>, Vec<At>), At> {
    let characters: Vec<char> = text.chars().collect();
    let mut tree = Tree { open: Vec::new(), root: None, nodes: 0, findings: Vec::new(), values: vec![false; characters.len()] };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| (e.marker().line(), e.info().to_owned()))?;
        tree.event(event, span, &characters)?;
    }
    tree.findings.extend(tabs(&characters, &tree.values));
    if let Some(line) = text.lines().position(|line| !line.trim_start().is_empty() && !line.trim_start().starts_with('#'))
        && text.lines().nth(line).is_some_and(|text| text.starts_with("..."))
    {
        tree.findings.push((line + 1, "`...` ends the front matter before its first key".to_owned()));
    }
    Ok((tree.root, tree.findings))
}

/// Tabs that are neither in a value nor in a comment: the first of each line.
fn tabs(characters: &[char], values: &[bool]) -> Vec<At> {
    let (mut found, mut line, mut comment) = (Vec::new(), 1, false);
    for (at, character) in characters.iter().enumerate() {
        let after_space = at == 0 || characters[at - 1].is_whitespace();
        match character {
            '\n' => (line, comment) = (line + 1, false),
            '#' if after_space && !values[at] => comment = true,
            '\t' if !values[at] && !comment && found.last().is_none_or(|(last, _)| *last != line) => {
                found.push((line, "a tab stands between values; write spaces".to_owned()));
            }
            _ => {}
        }
    }
    found
}

struct Tree {
    open: Vec<Open>,
    root: Option<Value>,
    nodes: usize,
    findings: Vec<At>,
    /// Which characters are part of a text.
    values: Vec<bool>,
}

impl Tree {
    fn event(&mut self, event: Event<'_>, span: Span, characters: &[char]) -> Result<(), At> {
        let line = span.start.line();
        let mut marked = |anchor: usize, tagged: bool| {
            if anchor != 0 {
                self.findings.push((line, "an anchor (`&`) is not read; write the value out".to_owned()));
            }
            if tagged {
                self.findings.push((line, "a tag (`!`) is not read; every value is a text".to_owned()));
            }
        };
        match event {
            Event::Alias(_) => return Err((line, "an alias (`*`) is not read; write the value out".to_owned())),
            Event::Scalar(text, _, anchor, tag) => {
                marked(anchor, tag.is_some());
                if let Some(values) = self.values.get_mut(span.start.index()..span.end.index()) {
                    values.fill(true);
                }
                self.put(Value::Text(text.into_owned()), line)?;
            }
            Event::SequenceStart(anchor, tag) => {
                marked(anchor, tag.is_some());
                self.start(Value::List(Vec::new()), span, characters)?;
            }
            Event::MappingStart(anchor, tag) => {
                marked(anchor, tag.is_some());
                self.start(Value::Map(Vec::new()), span, characters)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { value, line, .. }) = self.open.pop() {
                    self.put(value, line)?;
                }
            }
            Event::DocumentStart(_) if self.root.is_some() => return Err((line, "it holds more than one document".to_owned())),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn start(&mut self, value: Value, span: Span, characters: &[char]) -> Result<(), At> {
        let (line, column) = (span.start.line(), span.start.col());
        if self.open.len() >= DEPTH {
            return Err((line, format!("it is more than {DEPTH} levels deep")));
        }
        if matches!(characters.get(span.start.index()), Some('{' | '[')) {
            self.findings.push((line, "a list or mapping in brackets is not read by every client; write one entry a line".to_owned()));
        } else if let (Value::Map(_), Some(Open { value: Value::Map(_), indent, .. })) = (&value, self.open.last_mut())
            && *indent.get_or_insert(column) != column
        {
            self.findings.push((line, "mappings of one level are indented differently".to_owned()));
        }
        self.open.push(Open { value, key: None, line, indent: None });
        Ok(())
    }

    fn put(&mut self, value: Value, line: usize) -> Result<(), At> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err((line, format!("it holds more than {NODES} values")));
        }
        let Some(Open { value: into, key, .. }) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        match (into, key.take(), value) {
            (Value::List(items), _, value) => items.push(value),
            (Value::Map(entries), Some((line, name)), value) => entries.push(Entry { key: name, line, value }),
            (Value::Map(entries), None, Value::Text(name)) => {
                if entries.iter().any(|entry| entry.key == name) {
                    return Err((line, format!("the key `{name}` stands there twice")));
                }
                *key = Some((line, name));
            }
            (Value::Map(_), None, _) => return Err((line, "a key is no text".to_owned())),
            (Value::Text(_), ..) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_large_deep_or_refers_is_refused_in_time() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert_eq!(parse(bomb).unwrap_err(), (2, "an alias (`*`) is not read; write the value out".to_owned()));
        assert!(parse("a: 1\nb: 2\na: 3\n").unwrap_err().1.contains("twice"));
        let nested: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(parse(&nested).unwrap_err().1.contains("levels deep"));
        let repeated = |text: &str| text.repeat(64 * 1024 / text.len());
        for text in [
            "[",
            "{",
            "- ",
            "? ",
            "a: ",
            "[a, ",
            "{a: {",
            "&a ",
            "!t ",
            "\"a\": ",
            "a\n",
            "'",
            "- - -\n",
            "*a ",
            "%TAG ! x\n",
            "#",
            "|\n",
            "? - ",
        ] {
            let start = Instant::now();
            let _ = parse(&repeated(text));
            assert!(start.elapsed() < Duration::from_secs(5), "{text:?} took {:?}", start.elapsed());
        }
    }

    #[test]
    fn every_scalar_is_a_text_and_a_line_is_known() {
        let (value, findings) = parse("\na: 1\nb:\n- yes\n- ~\nc:\n  d: 2026-01-01\n").unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let entry = |key: &str, line, value| Entry { key: key.to_owned(), line, value };
        let wanted = vec![
            entry("a", 2, text("1")),
            entry("b", 3, Value::List(vec![text("yes"), text("~")])),
            entry("c", 6, Value::Map(vec![entry("d", 7, text("2026-01-01"))])),
        ];
        assert_eq!((value, findings), (Some(Value::Map(wanted)), vec![]));
        let (_, findings) = parse("a: &x 1\nb: !!str 2\nc: [d]\ne: {f: g}\n").unwrap();
        assert_eq!(findings.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let (_, findings) = parse("a: b\tc # d\te\n# \tf\ng: \"\t\"\nh: |\n  \ti\nj: \tk\nl: m\t\n\t\n").unwrap();
        assert_eq!(findings.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(parse("# a\n...\nb: c\n").unwrap().1[0].0, 2);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-a:?\\[\\]{}&*!|>'\"%@`#, \\n\\t\\\\~.é]{0,200}") {
            let _ = parse(&text);
        }
    }
}
