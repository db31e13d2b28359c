//! The one redactor: credentials of well-known shapes are taken out of what is written down.
//!
//! It is a net below the rule that secrets do not come this far, not a promise that every secret is found.

use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

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

/// The text without what looks like a credential.
///
/// ```
/// let key = ["AKIA", "ABCDEFGHIJKLMNOP"].concat();
/// assert_eq!(palisade::redact::text(&format!("use {key} now")), "use [redacted] now");
/// assert_eq!(palisade::redact::text("count the words"), "count the words");
/// ```
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    // Most text holds none of what a credential begins with, and building the shapes costs a cold start a millisecond.
    let lower = text.to_ascii_lowercase();
    if HINTS.iter().any(|hint| lower.contains(hint)) { SHAPES.replace_all(text, MARK) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
