//! The one cleaner for text from outside: names, descriptions, outputs, errors, paths, keys and prompts.
//!
//! | for | out | kept |
//! |---|---|---|
//! | a terminal or report, one line | control, ANSI, bidi, zero-width and tag characters; line breaks become spaces | up to a cap |
//! | a terminal, a whole output | the same, but newlines and tabs stay | all |
//! | a model | control (but newline and tab), ANSI, bidi and tag characters | all the rest |
//!
//! Where the rule ends: Markdown is escaped by the report, which knows where it puts a text.

use anstream::adapter::strip_str;
use serde_json::Value;
use serde_json::value::RawValue;

/// Longest name, title or path that is shown, in characters.
pub const NAME: usize = 200;
/// Longest description, error or prompt that is shown, in characters.
pub const TEXT: usize = 2000;

/// One clean line of at most `max` characters.
///
/// ```
/// assert_eq!(palisade::clean::line("a\u{1b}[31mb\u{202e}\nc", 9), "ab c");
/// assert_eq!(palisade::clean::line("abcdef", 3), "abc…");
/// ```
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    // Bounded first, so that a megabyte of escapes costs nothing; an escape sequence is never longer than this.
    let head = &text[..text.floor_char_boundary(max.saturating_mul(8))];
    let stripped = strip_str(head).to_string();
    let mut clean = stripped.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' => Some(' '),
        c => visible(c, true).then_some(c),
    });
    let mut out: String = clean.by_ref().take(max).collect();
    if clean.next().is_some() || head.len() < text.len() {
        out.push('…');
    }
    out
}

/// A whole output for a terminal.
#[must_use]
pub fn block(text: &str) -> String {
    filter(text, true)
}

/// A whole output for a model.
#[must_use]
pub fn model(text: &str) -> String {
    filter(text, false)
}

/// A whole output for a model, without a copy where it is clean already.
#[must_use]
pub fn model_owned(text: String) -> String {
    if plain(&text) { text } else { model(&text) }
}

/// A JSON document for a model: its strings and keys are cleaned, also where an escape hides what they hold.
#[must_use]
pub fn json(json: Box<RawValue>) -> Box<RawValue> {
    if plain(json.get()) && !json.get().contains("\\u") {
        return json;
    }
    let cleaned = serde_json::from_str(json.get()).ok().map(strings);
    cleaned.and_then(|value: Value| serde_json::value::to_raw_value(&value).ok()).unwrap_or(json)
}

fn strings(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(model_owned(text)),
        Value::Array(items) => items.into_iter().map(strings).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (model_owned(key), strings(value))).collect(),
        other => other,
    }
}

/// Whether there is nothing in a text that any cleaning would take out.
fn plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t'))
}

fn filter(text: &str, zero_width: bool) -> String {
    strip_str(text).to_string().chars().filter(|c| matches!(c, '\n' | '\t') || visible(*c, zero_width)).collect()
}

/// `zero_width`: whether zero-width characters are taken out too. In running text they can be meant (joiners in Persian or
/// in emoji), so a model keeps them.
fn visible(c: char, zero_width: bool) -> bool {
    let bidi = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Tags, and the variation selectors that hide bytes as well as tags do.
    let tag = matches!(c, '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}' | '\u{206a}'..='\u{206f}');
    let zero = matches!(c, '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}');
    !(c.is_control() || bidi || tag || (zero_width && zero))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_model_keeps_joiners_and_loses_what_hides() {
        assert_eq!(model("a\u{200d}b\u{1b}[0m\n\tc\u{e0041}\u{2066}"), "a\u{200d}b\n\tc");
        assert_eq!(block("a\u{200d}b\n"), "ab\n");
    }

    #[test]
    fn an_escape_in_json_hides_nothing() {
        let dirty = RawValue::from_string(r#"{"a\u202e": ["x\u001b[31my"], "n": 1.50}"#.to_owned()).unwrap();
        assert_eq!(json(dirty).get(), r#"{"a":["xy"],"n":1.5}"#);
        let clean = RawValue::from_string(r#"{"n": 1.50}"#.to_owned()).unwrap();
        assert_eq!(json(clean).get(), r#"{"n": 1.50}"#);
    }

    proptest! {
        #[test]
        fn a_line_is_short_and_clean_whatever_it_was(text in any::<String>(), max in 0usize..50) {
            let got = line(&text, max);
            prop_assert!(got.chars().count() <= max + 1);
            prop_assert!(got.chars().all(|c| visible(c, true)));
        }
    }
}
