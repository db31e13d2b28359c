//! A guard that denies a prompt, or a call whose arguments carry a credential of a well-known shape.
//!
//! It knows shapes that nothing else has: a telling beginning, and enough of the right characters after it. A password without
//! a shape it does not know.

use palisade_sdk::hook::{Answer, Event, EventKind};
use palisade_sdk::serde_json::{self, Value};

palisade_sdk::hook!(handle, EventKind::PromptSubmit, EventKind::BeforeCall);

/// A kind of credential: how it begins, which characters follow, and how many at least.
struct Shape {
    kind: &'static str,
    begins: &'static [&'static str],
    follows: fn(u8) -> bool,
    least: usize,
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn dashed(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// The shapes are those that their issuers publish, so that leaked keys can be found.
const SHAPES: &[Shape] = &[
    Shape { kind: "AWS access key", begins: &["AKIA", "ASIA"], follows: capital, least: 16 },
    Shape { kind: "GitHub token", begins: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"], follows: word, least: 30 },
    Shape { kind: "GitLab token", begins: &["glpat-"], follows: dashed, least: 20 },
    Shape { kind: "Slack token", begins: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-"], follows: dashed, least: 10 },
    Shape { kind: "Google API key", begins: &["AIza"], follows: dashed, least: 35 },
    Shape { kind: "Stripe live key", begins: &["sk_live_", "rk_live_"], follows: word, least: 16 },
    Shape { kind: "npm token", begins: &["npm_"], follows: word, least: 36 },
    Shape { kind: "API key", begins: &["sk-"], follows: dashed, least: 32 },
];

/// The kind of the first credential in a text. One look at each byte: a guard is asked before every call.
fn credential(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let mut before = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        // In the middle of a word it is something else.
        let begins = if byte == b'-' { before != b'-' } else { !word(before) };
        before = byte;
        if begins && matches!(byte, b'-' | b'A' | b'g' | b'x' | b's' | b'r' | b'n' | b'e') {
            let found = kind(&bytes[at..]);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

/// The kind of the credential that a text begins with.
fn kind(text: &[u8]) -> Option<&'static str> {
    let holds = |shape: &&Shape| {
        let rest = shape.begins.iter().find_map(|begin| text.strip_prefix(begin.as_bytes()));
        rest.is_some_and(|rest| rest.iter().take_while(|byte| (shape.follows)(**byte)).count() >= shape.least)
    };
    if let Some(shape) = SHAPES.iter().find(holds) {
        return Some(shape.kind);
    }
    if text.starts_with(b"eyJ") && web_token(text) {
        return Some("JSON web token");
    }
    let head = &text[..text.len().min(80)];
    let key = head.starts_with(b"-----BEGIN ") && head.windows(11).any(|part| part == b"PRIVATE KEY");
    key.then_some("private key")
}

/// `header.payload.signature`, each in base64 of URLs, the first two of JSON objects.
fn web_token(text: &[u8]) -> bool {
    let token = text.iter().take_while(|byte| dashed(**byte) || **byte == b'.').count();
    let parts: Vec<&[u8]> = text[..token].split(|byte| *byte == b'.').collect();
    parts.len() >= 3 && parts[1].starts_with(b"eyJ") && parts[..3].iter().all(|part| part.len() >= 10)
}

/// The first credential in a JSON value, with where it is.
fn find(value: &Value, at: &mut String) -> Option<&'static str> {
    match value {
        Value::String(text) => credential(text),
        Value::Array(items) => items.iter().enumerate().find_map(|(place, item)| below(item, &place.to_string(), at)),
        Value::Object(members) => members.iter().find_map(|(key, item)| credential(key).or_else(|| below(item, key, at))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn below(value: &Value, key: &str, at: &mut String) -> Option<&'static str> {
    let before = at.len();
    at.push('/');
    at.push_str(key);
    let found = find(value, at);
    if found.is_none() {
        at.truncate(before);
    }
    found
}

fn handle(event: Event) -> Answer {
    match event {
        Event::PromptSubmit(prompt) => match credential(&prompt) {
            Some(kind) => Answer::Deny(format!("the prompt holds what looks like a credential ({kind})")),
            None => Answer::Allow,
        },
        Event::BeforeCall(call) => {
            // Without an escape, what the strings hold stands in the text itself.
            if !call.arguments.contains('\\') && credential(&call.arguments).is_none() {
                return Answer::Allow;
            }
            let mut at = String::new();
            // What cannot be read cannot be cleared.
            let Ok(arguments) = serde_json::from_str(&call.arguments) else {
                return Answer::Deny("the arguments cannot be read".to_owned());
            };
            match find(&arguments, &mut at) {
                Some(kind) => Answer::Deny(format!("`{at}` holds what looks like a credential ({kind})")),
                None => Answer::Allow,
            }
        }
        _ => Answer::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_sdk::hook::Call;

    fn told(arguments: &str) -> Option<String> {
        match handle(Event::BeforeCall(Call { id: "a/b".to_owned(), arguments: arguments.to_owned() })) {
            Answer::Deny(reason) => Some(reason),
            _ => None,
        }
    }

    /// Written in two parts, so that no scanner takes this file for a leak.
    fn key(begin: &str, letter: &str, times: usize) -> String {
        [begin, &letter.repeat(times)].concat()
    }

    #[test]
    fn a_credential_is_named_by_kind_and_place_and_never_shown() {
        let aws = key("AKI", "A", 17);
        for (arguments, kind, place) in [
            (format!(r#"{{"text": "use {aws} now"}}"#), "AWS access key", "`/text`"),
            (format!(r#"{{"deep": [1, {{"x": "{}"}}]}}"#, key("gh", "p_abcdefghij", 4)), "GitHub token", "`/deep/1/x`"),
            (format!(r#"{{"{aws}": 1}}"#), "AWS access key", "``"),
            (format!(r#"{{"t": "\u0041KIA{}"}}"#, "A".repeat(16)), "AWS access key", "`/t`"),
            (format!(r#"{{"t": "{}"}}"#, key("gh", "o_0123456789", 4)), "GitHub token", "`/t`"),
            (format!(r#"{{"t": "{}"}}"#, ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat()), "private key", "`/t`"),
            (format!(r#"{{"t": "{}"}}"#, ["eyJhbGciOiJ", ".eyJzdWIiOiIx.", "abcdefghijk"].concat()), "JSON web token", "`/t`"),
        ] {
            let reason = told(&arguments).unwrap_or_else(|| panic!("{arguments}"));
            assert_eq!(reason, format!("{place} holds what looks like a credential ({kind})"), "{arguments}");
        }
    }

    #[test]
    fn what_only_resembles_one_is_let_through() {
        for arguments in [
            "{}",
            r#"{"text": "AKIA is how some keys begin, and sk- too; ghp_short"}"#,
            r#"{"text": "eyJ.eyJ.x, task-force-with-a-rather-long-name-0123456789"}"#,
            r#"{"n": 12345678901234567890, "b": [true, null]}"#,
        ] {
            assert_eq!(told(arguments), None, "{arguments}");
        }
        assert!(told(r#"{"\""#).is_some());
    }
}
