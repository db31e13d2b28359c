//! The one redactor: the values of granted secrets, and credentials of well-known shapes, are taken out of what is written
//! down.
//!
//! A value is found as it is, and as base64 or a URL would hold it. Beyond that this is a net below the rule that secrets do
//! not come this far, not a promise that every secret is found.

use crate::clean;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use regex::Regex;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

/// What stands in place of a credential.
pub const MARK: &str = "[redacted]";

/// A text that matches a shape holds one of these, in any letter case.
const HINTS: [&str; 22] = [
    "-----begin",
    "akia",
    "asia",
    "gh",
    "glpat-",
    "xox",
    "aiza",
    "rk_",
    "sk_",
    "sk-",
    "npm_",
    "eyj",
    "bearer",
    "://",
    "password",
    "passwd",
    "secret",
    "api-key",
    "api_key",
    "apikey",
    "access",
    "auth",
];

static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = [
        // Key blocks; access keys of clouds, forges, chats, payments and package registries; web tokens.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\b(?:gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,}|glpat-[0-9A-Za-z_-]{20,})",
        r"\bxox[abeprs]-[0-9A-Za-z-]{10,}",
        r"\bAIza[0-9A-Za-z_-]{30,}",
        r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,}",
        r"\bsk-[0-9A-Za-z_-]{20,}",
        r"\bnpm_[0-9A-Za-z]{30,}",
        r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*",
        r"(?i:\bbearer\s+)[0-9A-Za-z._~+/-]{16,}=*",
        // A password in a URL, and a value after a telling name.
        r"(?:[a-z][a-z0-9+.-]*://)[^\s/:@]+:[^\s/@]+@",
        r#"(?i:\b(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)\b["']?\s*[:=]\s*)["']?[^\s"',;]{6,}"#,
    ];
    Regex::new(&shapes.join("|")).unwrap_or_else(|error| unreachable!("the shapes are constants: {error}"))
});

/// Shortest value that is looked for, in bytes: a shorter one stands in too many words.
pub const SHORTEST: usize = 8;

/// What was learnt, the longest first.
static LEARNT: RwLock<Vec<String>> = RwLock::new(Vec::new());
static ANY: AtomicBool = AtomicBool::new(false);

/// Takes the value of a secret out of all that is written from now on. One below [`SHORTEST`] is not looked for.
///
/// ```
/// palisade::redact::learn("correct horse battery");
/// assert_eq!(palisade::redact::text("it is `correct horse battery`"), "it is `[redacted]`");
/// assert_eq!(palisade::redact::text("?q=correct%20horse%20battery"), "?q=[redacted]");
/// ```
pub fn learn(value: &str) {
    if value.len() < SHORTEST {
        return;
    }
    let mut learnt = LEARNT.write().unwrap_or_else(PoisonError::into_inner);
    let json = serde_json::to_string(value).unwrap_or_default();
    let plain = [value.to_owned(), in_url(value), json.trim_matches('"').to_owned()];
    for form in plain.into_iter().chain((0..3).flat_map(|before| in_base64(value, before))) {
        if form.len() >= SHORTEST && !learnt.contains(&form) {
            learnt.push(form);
        }
    }
    learnt.sort_by_key(|form| std::cmp::Reverse(form.len()));
    ANY.store(true, Ordering::Release);
}

/// As it stands in base64 of either alphabet behind `before` other bytes, without what depends on those around it.
fn in_base64(value: &str, before: usize) -> [String; 2] {
    let bytes = [&vec![0; before], value.as_bytes()].concat();
    // A letter holds six bits: those that are all of the value.
    let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)].map(|text| text[first..last].to_owned())
}

/// As it stands in a URL: all but what RFC 3986 leaves as it is.
fn in_url(value: &str) -> String {
    const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(value, &ENCODED).to_string()
}

/// The text without what was learnt.
fn without_learnt(text: &str) -> Cow<'_, str> {
    if !ANY.load(Ordering::Acquire) {
        return Cow::Borrowed(text);
    }
    let learnt = LEARNT.read().unwrap_or_else(PoisonError::into_inner);
    let mut out = Cow::Borrowed(text);
    for form in learnt.iter() {
        if out.contains(form.as_str()) {
            out = Cow::Owned(out.replace(form.as_str(), MARK));
        }
    }
    out
}

/// The text without secrets that are known, and without what looks like a credential.
///
/// ```
/// let key = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
/// assert_eq!(palisade::redact::text(&format!("use {key} now")), "use [redacted] now");
/// assert_eq!(palisade::redact::text("count the words"), "count the words");
/// ```
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    match without_learnt(text) {
        Cow::Borrowed(text) => without_shapes(text),
        Cow::Owned(text) => Cow::Owned(without_shapes(&text).into_owned()),
    }
}

/// One clean line of at most `max` characters. Cut last: what is left of a secret at its end nobody would know again.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    clean::line(&self::text(&clean::line(text, max.saturating_mul(2).max(clean::TEXT))), max)
}

fn without_shapes(text: &str) -> Cow<'_, str> {
    // Most text holds none of what a credential begins with, and building the shapes costs a cold start a millisecond.
    let lower = text.to_ascii_lowercase();
    if HINTS.iter().any(|hint| lower.contains(hint)) { SHAPES.replace_all(text, MARK) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learnt_value_is_taken_out_in_each_of_its_forms_and_a_short_one_is_not_looked_for() {
        let secret = "s3same öffne/dich?";
        learn(secret);
        learn("short");
        let forms = [secret.to_owned(), in_url(secret), base64::engine::general_purpose::STANDARD.encode(secret)];
        for user in ["u:", "us:", "use:"] {
            let sent = base64::engine::general_purpose::STANDARD.encode(format!("{user}{secret}"));
            let got = text(&sent).into_owned();
            assert!(got.contains(MARK) && got.len() < MARK.len() + 10, "{user} {sent} {got}");
        }
        for form in forms {
            let got = text(&format!("a {form} b")).into_owned();
            assert!(got.starts_with("a [redacted]") && got.ends_with(" b") && !got.contains(&form[..6]), "{form} → {got}");
        }
        assert_eq!(text("a short one"), "a short one");
        // Also where it would be cut, and where controls stand in it.
        assert_eq!(line(&format!("{}{secret}", "x".repeat(190)), 200), format!("{}[redacted]", "x".repeat(190)));
        assert_eq!(line("s3same \u{1b}[31möff\u{200b}ne/dich?", 200), "[redacted]");
    }

    #[test]
    fn credentials_of_well_known_shapes_are_taken_out() {
        // Put together here, so that this file holds no credential.
        let samples = [
            ["gh", "p_", &"a1B2".repeat(9)].concat(),
            ["xox", "b-", "123456789012-abcdef"].concat(),
            ["sk", "_live_", &"x9".repeat(12)].concat(),
            ["-----BEGIN RSA PRIVATE", " KEY-----\nMIIE\n-----END RSA PRIVATE", " KEY-----"].concat(),
            ["Bearer ", &"abcd".repeat(6)].concat(),
            ["https://user:", "hunter22@example.com"].concat(),
            ["pass", "word = \"correcthorse\""].concat(),
            ["API", "-Key: ", &"q7".repeat(9)].concat(),
            ["auth", "_token=", &"z3".repeat(9)].concat(),
            ["npm", "_", &"k".repeat(36)].concat(),
            ["AI", "za", &"Sy0".repeat(12)].concat(),
            ["AKI", "AIOSFODNN7EXAMPLE"].concat(),
            ["eyJ", "hbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".c2ln"].concat(),
            ["gl", "pat-", &"ab1".repeat(8)].concat(),
            ["sk", "-", &"proj1".repeat(6)].concat(),
        ];
        for sample in samples {
            let got = text(&format!("before {sample} after")).into_owned();
            assert!(got.contains(MARK) && got.starts_with("before ") && !got.contains(&sample[sample.len() / 2..]), "{sample} → {got}");
        }
    }
}
