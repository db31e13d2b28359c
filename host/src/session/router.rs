//! From a prompt to tools and arguments, without a model: whole words against id, title and description.
//!
//! It is deterministic, and it decides nothing: what it finds still goes through the gate.

use crate::Tool;
use crate::json;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// What a word is worth where it stands. An id is chosen to be asked for, a description only explains.
const ID: u32 = 4;
const TITLE: u32 = 2;
const DESCRIPTION: u32 = 1;
/// One word of a description alone is chance.
const ENOUGH: u32 = 2;
/// Braces at which a JSON object at the end of a prompt is looked for; bounds the work on a prompt of braces.
const BRACES: usize = 64;
/// Words that say nothing about what is wanted.
const STOP: [&str; 60] = [
    "a", "all", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "give", "has", "have", "how", "i",
    "in", "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "one", "or", "our", "out", "over", "please", "show", "so",
    "that", "the", "their", "them", "then", "there", "these", "this", "those", "to", "up", "us", "use", "using", "was", "we", "what",
    "where", "which", "with", "you",
];

/// A tool that fits a prompt.
#[derive(Debug, Clone)]
pub struct Match {
    /// The tool.
    pub tool: Arc<Tool>,
    /// The higher the better; at least 2.
    pub score: u32,
}

/// The tools that fit, best first, equals by id.
pub fn route<'t>(prompt: &str, tools: impl Iterator<Item = &'t Arc<Tool>>) -> Vec<Match> {
    let wanted: HashSet<String> = words(&outside_arguments(prompt)).collect();
    let mut matches: Vec<Match> = tools
        .filter_map(|tool| {
            let spec = &tool.spec;
            let score = score(&wanted, spec.id.as_str(), spec.title.as_deref().unwrap_or_default(), &spec.description);
            (score >= ENOUGH).then(|| Match { tool: tool.clone(), score })
        })
        .collect();
    matches.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.tool.spec.id.cmp(&b.tool.spec.id)));
    matches
}

fn score(wanted: &HashSet<String>, id: &str, title: &str, description: &str) -> u32 {
    let [id, title, description] = [id, title, description].map(|text| words(text).collect::<HashSet<_>>());
    let worth = |word: &String| match word {
        w if id.contains(w) => ID,
        w if title.contains(w) => TITLE,
        w if description.contains(w) => DESCRIPTION,
        _ => 0,
    };
    wanted.iter().map(worth).sum()
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase);
    words.filter(|w| !STOP.contains(&w.as_str()))
}

/// The prompt without its quoted parts and without a JSON object at its end: those are arguments and route nothing.
fn outside_arguments(prompt: &str) -> String {
    let end = object_at_end(prompt).map_or(prompt.len(), str::len);
    let rest = if end == prompt.len() { prompt } else { &prompt[..prompt.trim_end().len() - end] };
    let mut quoted = Quoted::new(rest);
    let mut out: String = quoted.by_ref().map(|(before, _)| format!("{before} ")).collect();
    out.push_str(quoted.rest);
    out
}

/// The arguments a prompt holds for a tool, by the first rule that fits, or why there are none.
pub fn arguments(prompt: &str, schema: &Value) -> Result<String, String> {
    if let Some(object) = object_at_end(prompt) {
        return Ok(object.to_owned());
    }
    let wanted = required_strings(schema);
    let given = quoted(prompt);
    if given.len() == wanted.len() {
        let map: Map<String, Value> = wanted.iter().map(|name| (*name).to_owned()).zip(given.into_iter().map(Value::from)).collect();
        return Ok(Value::Object(map).to_string());
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let takes_prompt = |property: &Value| property.get("x-palisade-prompt") == Some(&Value::Bool(true));
    if let Some((name, _)) = properties.and_then(|p| p.iter().find(|(_, property)| takes_prompt(property))) {
        return Ok(Value::Object(Map::from_iter([(name.clone(), Value::from(prompt))])).to_string());
    }
    Err(match wanted.as_slice() {
        [] => "its arguments are not in the prompt; end the prompt with a JSON object".to_owned(),
        names => format!(
            "it takes {}; quote {} in that order, or end the prompt with a JSON object",
            names.join(", "),
            if names.len() == 1 { "it" } else { "them" }
        ),
    })
}

fn required_strings(schema: &Value) -> Vec<&str> {
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let is_string = |property: &Value| property.get("type").and_then(Value::as_str) == Some("string");
    properties.filter(|(name, property)| required.contains(&name.as_str()) && is_string(property)).map(|(name, _)| name.as_str()).collect()
}

/// The JSON object with which the prompt ends, as it was written.
pub fn object_at_end(prompt: &str) -> Option<&str> {
    let prompt = prompt.trim_end();
    if !prompt.ends_with('}') {
        return None;
    }
    prompt
        .match_indices('{')
        .take(BRACES)
        .map(|(at, _)| &prompt[at..])
        .find(|tail| json::parse(tail.as_bytes()).is_ok_and(|v| v.is_object()))
}

fn quoted(prompt: &str) -> Vec<&str> {
    Quoted::new(prompt).map(|(_, inner)| inner).collect()
}

/// The quoted parts of a text, each with what stands before it. A quote opens at the start of a word and closes at the end
/// of one, so that an apostrophe is no quote.
struct Quoted<'t> {
    rest: &'t str,
    /// Closing quotes that do not come any more: without this a text of opening quotes is searched again for each.
    gone: Vec<char>,
}

impl<'t> Quoted<'t> {
    fn new(rest: &'t str) -> Self {
        Self { rest, gone: Vec::new() }
    }
}

impl<'t> Iterator for Quoted<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest;
        let mut before = None::<char>;
        for (at, c) in text.char_indices() {
            let opens = before.is_none_or(|b| !b.is_alphanumeric());
            before = Some(c);
            let close = match c {
                '"' | '\'' | '`' => c,
                '“' => '”',
                _ => continue,
            };
            if !opens || self.gone.contains(&close) {
                continue;
            }
            let inner = &text[at + c.len_utf8()..];
            let ends = |end: usize| inner[end + close.len_utf8()..].chars().next().is_none_or(|next| !next.is_alphanumeric());
            match inner.match_indices(close).find(|(end, _)| ends(*end)) {
                Some((end, _)) => {
                    self.rest = &inner[end + close.len_utf8()..];
                    return Some((&text[..at], &inner[..end]));
                }
                None => self.gone.push(close),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn arguments_come_by_the_first_rule_that_fits() {
        // The order of `properties`, which is neither that of the alphabet nor that of `required`.
        let two = json!({"properties": {"json": {"type": "string"}, "filter": {"type": "string"}, "n": {"type": "integer"}}, "required": ["filter", "json"]});
        let prompt = json!({"properties": {"text": {"type": "string", "x-palisade-prompt": true}}, "required": ["text"]});
        let none = json!({"properties": {"path": {"type": "string"}}});
        assert_eq!(arguments(r#"do it {"a": 1 }"#, &two).unwrap(), r#"{"a": 1 }"#);
        assert_eq!(arguments(r#"query `{"a": 1}` by '.a'"#, &two).unwrap(), r#"{"json":"{\"a\": 1}","filter":".a"}"#);
        assert!(arguments("query '.a'", &two).unwrap_err().contains("json, filter"));
        assert_eq!(arguments("count this text", &prompt).unwrap(), r#"{"text":"count this text"}"#);
        assert_eq!(arguments("count \"a b\"", &prompt).unwrap(), r#"{"text":"a b"}"#);
        assert_eq!(arguments("scan it", &none).unwrap(), "{}");
        assert!(arguments("scan 'src'", &none).is_err());
    }

    #[test]
    fn an_apostrophe_is_no_quote() {
        assert_eq!(quoted("don't count John's 'real thing' here"), ["real thing"]);
        assert_eq!(quoted("find “two words” and \"it's\""), ["two words", "it's"]);
        assert_eq!(outside_arguments("search 'bash' in src {\"a\":1}"), "search   in src ");
    }

    #[test]
    fn words_of_an_id_outweigh_words_of_a_description() {
        let wanted: HashSet<String> = words("count the shell words").collect();
        assert_eq!(score(&wanted, "text-stats/count", "Count text", "Counts the lines, words and bytes"), ID + DESCRIPTION);
        assert_eq!(score(&wanted, "shell/bash", "Shell", "Runs a command"), ID);
    }

    #[test]
    fn a_prompt_of_quotes_is_read_once() {
        // Half a megabyte: a reader that searches it again for each quote does not come back.
        let hostile = format!("'{}", " \"a\" 'x".repeat(64 * 1024));
        assert_eq!(quoted(&hostile).len(), 64 * 1024);
        assert!(quoted(&" 'a".repeat(128 * 1024)).is_empty());
    }

    proptest! {
        #[test]
        fn any_prompt_at_all_gets_an_answer(prompt in any::<String>()) {
            let schema = json!({"properties": {"a": {"type": "string"}}, "required": ["a"]});
            if let Ok(arguments) = arguments(&prompt, &schema) {
                prop_assert!(serde_json::from_str::<Value>(&arguments).unwrap().is_object());
            }
            let _ = outside_arguments(&prompt);
        }
    }
}
