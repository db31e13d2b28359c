//! `SKILL.md`: front matter and text.
//!
//! The rule it keeps: read leniently, reported strictly. It is unusable only without a name, a description or front matter
//! that parses. `findings` are what the format's validator refuses as well, and nothing else; `notes` are what a reader
//! should know besides.
//!
//! Where the rule ends: nothing in a text runs or grants; `allowed-tools` is read here and narrows elsewhere.

use super::yaml::{self, At, Entry, Value};
use crate::clean;
use unicode_normalization::UnicodeNormalization;

/// Largest file, in bytes.
pub(super) const FILE: u64 = 1024 * 1024;
/// Largest front matter, in bytes.
const FRONT: usize = 64 * 1024;
/// The keys of the format.
const KEYS: [&str; 6] = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];
/// Longest name, description and compatibility, in characters.
const NAME: usize = 64;
const DESCRIPTION: usize = 1024;
const COMPATIBILITY: usize = 500;
/// Between front matter and text.
const FENCE: &str = "---";

/// A remark on a skill.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Remark {
    /// The line of `SKILL.md` it is about, from 1; `None` where it is about another file, or what is missing.
    pub line: Option<usize>,
    /// One sentence, cleaned.
    pub what: String,
}

impl Remark {
    /// What a sentence says of a line.
    pub(super) fn new(line: Option<usize>, what: &str) -> Self {
        Self { line, what: clean::line(what, clean::TEXT) }
    }
}

/// The tools that a skill is content with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTools {
    /// As they are written.
    pub names: Vec<String>,
    /// The line of the key.
    pub line: usize,
}

/// What a `SKILL.md` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) license: Option<String>,
    pub(super) compatibility: Option<String>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) allowed: Option<AllowedTools>,
    pub(super) text: String,
    pub(super) findings: Vec<Remark>,
    pub(super) notes: Vec<Remark>,
}

/// Why one cannot be used, with its line where there is one.
pub(super) type Unusable = (Option<usize>, String);

impl Document {
    /// Reads one; `folder` is the name of its folder, which must be its own.
    ///
    /// # Errors
    /// Why it cannot be used, with a line where there is one.
    pub(super) fn parse(bytes: &[u8], folder: &str) -> Result<Self, Unusable> {
        let unusable = |why: &str| (None, why.to_owned());
        if bytes.contains(&0) {
            return Err(unusable("it is binary"));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            (Some(line), "it is not UTF-8 text".to_owned())
        })?;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let rest = text.strip_prefix(FENCE).ok_or_else(|| unusable("it does not start with front matter, a line `---`"))?;
        // The validator ends the front matter at the first `---` wherever it stands; readers, at a line of its own.
        let cut = rest.find(FENCE).ok_or_else(|| unusable("its front matter has no end, a line `---`"))?;
        let (end, after) = fence(rest).unwrap_or((cut, cut + FENCE.len()));
        let (entries, strict) = mapping(&rest[..end])?;
        let mut notes = notes(&entries);
        let mut findings: Vec<At> = Vec::new();
        if end == cut {
            findings.extend(strict.into_iter().chain(checks(&entries, folder)));
        } else {
            let early = (line_of(rest, cut), "other readers end the front matter at this `---`".to_owned());
            findings = match mapping(&rest[..cut]) {
                Ok((entries, strict)) => strict.into_iter().chain(checks(&entries, folder)).collect(),
                Err((line, why)) => vec![(line.unwrap_or(0), why)],
            };
            if findings.is_empty() { &mut notes } else { &mut findings }.push(early);
            notes.extend(strict);
        }
        findings.sort_by_key(|(line, _)| *line);
        if hides(&rest[after..]) {
            notes.push((line_of(rest, after), "the text holds control or bidi characters; they are taken out".to_owned()));
        }
        let name = usable(&entries, "name")?;
        if name.chars().count() > clean::NAME || clean::line(&name, clean::NAME) != name {
            return Err((entry(&entries, "name").map(|e| e.line), "its name is too long, or hides characters".to_owned()));
        }
        let plain = |key: &str| match entry(&entries, key).map(|entry| &entry.value) {
            Some(Value::Text(text)) if !text.trim().is_empty() => Some(clean::model(text.trim())),
            _ => None,
        };
        let remark = |(line, what): At| Remark::new((line > 0).then_some(line), &what);
        Ok(Self {
            description: clean::model(&usable(&entries, "description")?),
            name,
            license: plain("license"),
            compatibility: plain("compatibility"),
            metadata: metadata(&entries),
            allowed: allowed(&entries),
            text: clean::model(rest[after..].trim()),
            findings: findings.into_iter().map(remark).collect(),
            notes: notes.into_iter().map(remark).collect(),
        })
    }
}

/// The first line that is `---` alone after the first line: where the front matter ends, and where the text begins.
fn fence(rest: &str) -> Option<(usize, usize)> {
    let mut at = rest.find('\n')? + 1;
    for line in rest[at..].split_inclusive('\n') {
        if line.trim_end() == FENCE {
            return Some((at, at + line.len()));
        }
        at += line.len();
    }
    None
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].bytes().filter(|b| *b == b'\n').count()
}

/// The entries of a front matter, and what the validator does not take of its YAML.
fn mapping(front: &str) -> Result<(Vec<Entry>, Vec<At>), Unusable> {
    if front.len() > FRONT {
        return Err((None, format!("its front matter has more than {FRONT} bytes")));
    }
    let printable = |c: char| matches!(c, '\t' | '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(at) = front.find(|c| !printable(c)) {
        return Err((Some(line_of(front, at)), "its front matter holds a control character".to_owned()));
    }
    match yaml::parse(front) {
        Ok((Some(Value::Map(entries)), findings)) => Ok((entries, findings)),
        Ok(_) => Err((None, "its front matter is no mapping of keys to values".to_owned())),
        Err((line, why)) => Err((Some(line), format!("its front matter is not YAML that is read: {why}"))),
    }
}

fn entry<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// A text that must be there.
fn usable(entries: &[Entry], key: &str) -> Result<String, Unusable> {
    match entry(entries, key) {
        None => Err((None, format!("its front matter has no `{key}`"))),
        Some(Entry { value: Value::Text(text), .. }) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Some(entry) => Err((Some(entry.line), format!("`{key}` is not a text with something in it"))),
    }
}

/// What the format's validator refuses. A line of 0 is about what is not there.
fn checks(entries: &[Entry], folder: &str) -> Vec<At> {
    let mut found: Vec<At> = Vec::new();
    for entry in entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        found.push((entry.line, format!("`{}` is no key of the format; put your own below `metadata`", clean::line(&entry.key, NAME))));
    }
    for key in ["name", "description"] {
        if let Err((line, why)) = usable(entries, key) {
            found.push((line.unwrap_or(0), why));
        }
    }
    if let Some(Entry { line, value: Value::Text(name), .. }) = entry(entries, "name").filter(|_| usable(entries, "name").is_ok()) {
        found.extend(name_checks(name, folder).into_iter().map(|what| (*line, what)));
    }
    let longer = |key: &str, most: usize| match entry(entries, key) {
        Some(Entry { line, value: Value::Text(text), .. }) if text.chars().count() > most => {
            Some((*line, format!("`{key}` has {} characters; at most {most}", text.chars().count())))
        }
        _ => None,
    };
    found.extend(longer("description", DESCRIPTION));
    found.extend(longer("compatibility", COMPATIBILITY));
    if let Some(entry) = entry(entries, "compatibility").filter(|entry| !matches!(entry.value, Value::Text(_))) {
        found.push((entry.line, "`compatibility` is not a text".to_owned()));
    }
    found
}

fn name_checks(name: &str, folder: &str) -> Vec<String> {
    let name: String = name.trim().nfkc().collect();
    let mut found = Vec::new();
    let mut add = |wrong: bool, what: String| found.extend(wrong.then_some(what));
    add(name.chars().count() > NAME, format!("`name` has {} characters; at most {NAME}", name.chars().count()));
    add(name.to_lowercase() != name, "`name` holds upper-case letters".to_owned());
    add(name.starts_with('-') || name.ends_with('-'), "`name` starts or ends with a hyphen".to_owned());
    add(name.contains("--"), "`name` holds two hyphens in a row".to_owned());
    let allowed = |c: char| c.is_alphanumeric() || c == '-';
    add(!name.chars().all(allowed), "`name` holds other characters than letters, digits and hyphens".to_owned());
    let other = !folder.nfkc().eq(name.chars());
    add(other, format!("`name` is not the name of its folder, {}", clean::line(folder, clean::NAME)));
    found
}

/// What the validator takes, and a reader should know.
fn notes(entries: &[Entry]) -> Vec<At> {
    let mut found: Vec<At> = Vec::new();
    for Entry { key, line, value } in entries {
        match (key.as_str(), value) {
            ("allowed-tools", Value::Text(text)) if text.contains(',') => {
                found.push((*line, "`allowed-tools` has commas; the format separates names by spaces".to_owned()));
            }
            ("allowed-tools", Value::List(_) | Value::Map(_)) => {
                found.push((*line, "`allowed-tools` is not a text of names separated by spaces".to_owned()));
            }
            ("license", Value::List(_) | Value::Map(_)) => found.push((*line, "`license` is not a text".to_owned())),
            ("metadata", Value::Text(_) | Value::List(_)) => found.push((*line, "`metadata` is no mapping of texts".to_owned())),
            ("metadata", Value::Map(inner)) if inner.iter().any(|entry| !matches!(entry.value, Value::Text(_))) => {
                found.push((*line, "`metadata` holds values that are no texts".to_owned()));
            }
            _ => {}
        }
        if hidden(value) {
            found.push((*line, format!("`{}` holds control or bidi characters; they are taken out", clean::line(key, NAME))));
        }
    }
    found
}

fn hides(text: &str) -> bool {
    clean::model(text) != text
}

fn hidden(value: &Value) -> bool {
    match value {
        Value::Text(text) => hides(text),
        Value::List(items) => items.iter().any(hidden),
        Value::Map(entries) => entries.iter().any(|entry| hides(&entry.key) || hidden(&entry.value)),
    }
}

fn metadata(entries: &[Entry]) -> Vec<(String, String)> {
    let Some(Entry { value: Value::Map(inner), .. }) = entry(entries, "metadata") else { return Vec::new() };
    let text = |entry: &Entry| match &entry.value {
        Value::Text(text) => Some((clean::line(&entry.key, clean::NAME), clean::model(text))),
        _ => None,
    };
    inner.iter().filter_map(text).collect()
}

/// The key narrows wherever it stands, also where its value is none that the format knows.
fn allowed(entries: &[Entry]) -> Option<AllowedTools> {
    let Entry { line, value, .. } = entry(entries, "allowed-tools")?;
    let split = |text: &str| text.split(|c: char| c.is_whitespace() || c == ',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    let names: Vec<String> = match value {
        Value::Text(text) => split(text),
        Value::List(items) => {
            items.iter().filter_map(|item| if let Value::Text(text) = item { Some(split(text)) } else { None }).flatten().collect()
        }
        Value::Map(_) => Vec::new(),
    };
    Some(AllowedTools { names, line: *line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "---\nname: a-skill\ndescription: Says what it does.\n---\n\n# Text\n";

    fn read(text: &str) -> Document {
        Document::parse(text.as_bytes(), "a-skill").unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    fn findings(text: &str) -> Vec<(usize, String)> {
        read(text).findings.into_iter().map(|remark| (remark.line.unwrap_or(0), remark.what)).collect()
    }

    fn refused(text: &[u8]) -> Unusable {
        Document::parse(text, "a-skill").unwrap_err()
    }

    #[test]
    fn a_skill_inside_the_format_has_no_finding() {
        let all = "---\nname: a-skill\ndescription: |\n  Says what\n  it does.\nlicense: MIT\ncompatibility: any\nmetadata:\n  version: 1.0\n  author: me\nallowed-tools: a/b  mcp__palisade__a__c\n---\nbody";
        let got = read(all);
        assert_eq!((&got.findings, &got.notes), (&vec![], &vec![]));
        assert_eq!((got.description.as_str(), got.text.as_str()), ("Says what\nit does.", "body"));
        assert_eq!(got.metadata, [("version".to_owned(), "1.0".to_owned()), ("author".to_owned(), "me".to_owned())]);
        let allowed = AllowedTools { names: vec!["a/b".to_owned(), "mcp__palisade__a__c".to_owned()], line: 11 };
        assert_eq!(got.allowed, Some(allowed));
        assert_eq!(read(&all.replace('\n', "\r\n")).findings, []);
        assert_eq!(read(GOOD).allowed, None);
    }

    #[test]
    fn what_the_format_does_not_allow_is_found_with_its_line() {
        let with = |from: &str, to: &str| findings(&GOOD.replace(from, to));
        let one = |found: Vec<(usize, String)>, line: usize, what: &str| {
            assert!(found.len() == 1 && found[0].0 == line && found[0].1.contains(what), "{what}: {found:?}");
        };
        for (name, what) in [
            ("A-skill", "upper-case"),
            ("-a-skill", "hyphen"),
            ("a--skill", "two hyphens"),
            ("a_skill", "other characters"),
            ("b", "folder"),
        ] {
            let found = with("a-skill", name);
            assert!(found.iter().any(|(line, found)| *line == 2 && found.contains(what)), "{name}: {found:?}");
        }
        let long = "a".repeat(65);
        assert!(with("a-skill", &long).iter().any(|(_, what)| what.contains("65 characters")));
        one(with("Says what it does.", &"d".repeat(1025)), 3, "1025 characters");
        one(with("Says what it does.", &format!("a\ncompatibility: {}", "c".repeat(501))), 4, "501 characters");
        one(with("Says what it does.", "a\ncompatibility:\n  a: b"), 4, "not a text");
        one(with("Says what it does.", "a\nversion: 1"), 4, "`version` is no key");
        one(with("Says what it does.", "a\nallowed-tools: [a/b]"), 4, "brackets");
        one(with("Says what it does.", "&a b"), 3, "anchor");
        one(with("Says what it does.", "!!str b"), 3, "tag");
    }

    #[test]
    fn what_the_format_leaves_open_is_noted_and_narrows_all_the_same() {
        let with = |line: &str| read(&GOOD.replace("description", &format!("{line}\ndescription")));
        for (line, names) in [
            ("allowed-tools: \"a, b\"", &["a", "b"][..]),
            ("allowed-tools:\n- a\n- b c", &["a", "b", "c"]),
            ("allowed-tools:\n  a: b", &[]),
        ] {
            let got = with(line);
            assert_eq!((got.findings.len(), got.notes.len()), (0, 1), "{line}");
            assert_eq!(got.allowed, Some(AllowedTools { names: names.iter().map(|n| (*n).to_owned()).collect(), line: 3 }), "{line}");
        }
        let got = with("license: a\u{202e}b");
        assert_eq!((got.license.as_deref(), got.findings.len()), (Some("ab"), 0));
        assert_eq!(
            got.notes,
            [Remark { line: Some(3), what: "`license` holds control or bidi characters; they are taken out".to_owned() }]
        );
        assert_eq!(read(&format!("{GOOD}\u{1b}[31mred")).text, "# Text\nred");
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_line() {
        for (text, line, what) in [
            (&b"# no front matter"[..], None, "does not start"),
            (b"\xef\xbb\xbf---\nname: a\n---\n", None, "does not start"),
            (b"---\nname: a-skill\n", None, "no end"),
            (b"---\n---\n", None, "no mapping"),
            (b"---\n- a\n---\n", None, "no mapping"),
            (b"---\nname: a-skill\ndescription: a: b: c\n---\n", Some(3), "not YAML"),
            (b"---\nname: a-skill\nname: a-skill\ndescription: a\n---\n", Some(3), "twice"),
            (b"---\nname: a-skill\n---\n", None, "no `description`"),
            (b"---\ndescription: a\n---\n", None, "no `name`"),
            (b"---\nname: a-skill\ndescription:\n---\n", Some(3), "`description` is not"),
            (b"---\nname:\n- a\ndescription: a\n---\n", Some(2), "`name` is not"),
            (b"---\nname: a-skill\ndescription: \x1b[31m\n---\n", Some(3), "control"),
            (b"---\nname: a-\xe2\x80\xaeskill\ndescription: a\n---\n", Some(2), "hides"),
            (b"---\nname: a\ndescription: a\n---\n\xff", Some(5), "UTF-8"),
            (b"---\nname: a\ndescription: a\n---\na\0b", None, "binary"),
        ] {
            let got = refused(text);
            assert!(got.0 == line && got.1.contains(what), "{:?}: {got:?}", String::from_utf8_lossy(text));
        }
        let large = format!("---\nname: a-skill\ndescription: {}\n---\n", "a".repeat(FRONT));
        assert!(refused(large.as_bytes()).1.contains("more than 65536 bytes"));
    }

    #[test]
    fn a_fence_inside_the_front_matter_hides_no_key() {
        // The validator takes what stands before it, and sees no `allowed-tools`.
        let got = read("---\nname: a-skill\ndescription: a --- b\nallowed-tools: a/b\n---\ntext");
        assert_eq!((got.findings.len(), got.notes.len()), (0, 1), "{got:?}");
        assert_eq!((got.allowed.unwrap().names, got.text.as_str()), (vec!["a/b".to_owned()], "text"));
        // What stands before it is not enough.
        let got = read("---\ndescription: a --- b\nname: a-skill\n---\ntext");
        assert_eq!(
            got.findings.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(),
            ["its front matter has no `name`", "other readers end the front matter at this `---`"]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(front in "[-a:\\[{&*!|>'\"#, \\nname: description]{0,120}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Document::parse(&[b"---\n", front.as_bytes(), b"\n---\n", &bytes].concat(), "a");
            let _ = Document::parse(&bytes, "a");
        }
    }
}
