//! What credentials look like.

use palisade_sdk::Result;
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::ops::Range;

/// A kind of credential and its shape. Where the shape has a group, that is the secret.
///
/// The last is the least certain: where it assigns one of the others, only that is reported.
const SHAPES: [(&str, &str); 10] = [
    ("aws-access-key-id", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("github-token", r"\bgh[opsur]_[A-Za-z0-9]{36,}"),
    ("github-fine-grained-token", r"\bgithub_pat_[A-Za-z0-9_]{36,}"),
    ("slack-token", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    ("google-api-key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("stripe-live-key", r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    ("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("private-key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("json-web-token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("assignment", r#"(?i)(?:password|passwd|secret|token|api[_-]?key)["']?[ \t]*(?:=>|:=|=|:)[ \t]*["']([^\s"'$<>{}]{12,})["']"#),
];

/// Bits of each character of an assigned value, on average. Below are `xxxxxxxxxxxx`, `123123123123` and most lone words.
const ENTROPY: f64 = 3.0;

/// A credential: its kind and where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit {
    pub kind: &'static str,
    pub at: Range<usize>,
}

/// The compiled shapes. The time they take is linear in the text.
pub struct Patterns {
    any: RegexSet,
    each: Vec<(&'static str, Regex)>,
}

impl Patterns {
    pub fn new() -> Result<Self> {
        let any = RegexSetBuilder::new(SHAPES.map(|(_, shape)| shape)).unicode(false).build()?;
        let one = |(kind, shape)| RegexBuilder::new(shape).unicode(false).build().map(|regex| (kind, regex));
        Ok(Self { any, each: SHAPES.into_iter().map(one).collect::<std::result::Result<_, _>>()? })
    }

    /// The credentials of a text, in their order.
    pub fn find(&self, text: &[u8]) -> Vec<Hit> {
        // Most files have none: one pass finds that out.
        let matches = self.any.matches(text);
        let (assignment, certain) = self.each.split_last().expect("there are shapes");
        let mut hits: Vec<Hit> =
            certain.iter().enumerate().filter(|(i, _)| matches.matched(*i)).flat_map(|(_, shape)| hits(shape, text)).collect();
        hits.sort_by_key(|hit| hit.at.start);
        if matches.matched(certain.len()) {
            let known = |at: &Range<usize>| {
                let next = hits.partition_point(|hit| hit.at.end <= at.start);
                hits.get(next).is_some_and(|hit| hit.at.start < at.end)
            };
            let unsure = |hit: &Hit| entropy(&text[hit.at.clone()]) < ENTROPY || known(&hit.at);
            let assigned: Vec<_> = self::hits(assignment, text).filter(|hit| !unsure(hit)).collect();
            hits.extend(assigned);
            hits.sort_by_key(|hit| hit.at.start);
        }
        hits
    }
}

fn hits<'a>((kind, shape): &'a (&'static str, Regex), text: &'a [u8]) -> impl Iterator<Item = Hit> + 'a {
    let secret = |captures: Captures<'a>| captures.get(1).or_else(|| captures.get(0)).map(|found| found.range());
    shape.captures_iter(text).filter_map(secret).map(|at| Hit { kind, at })
}

/// Shannon's entropy of the bytes, in bits for each.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let share = |count: &u32| f64::from(*count) / bytes.len() as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<&'static str> {
        Patterns::new().unwrap().find(text.as_bytes()).into_iter().map(|hit| hit.kind).collect()
    }

    // Joined at run time: written out, they would look like credentials to every other scanner.
    #[test]
    fn every_well_known_shape_is_found_once() {
        let (letters, word) = ("aB3dE5gH7jK9".repeat(3), "aB3dE5gH7jK9");
        for (kind, parts) in [
            ("aws-access-key-id", ["AKIA", "IOSFODNN7EXAMPLE"]),
            ("github-token", ["ghp_", &letters]),
            ("github-token", ["gho_", &letters]),
            ("github-token", ["ghs_", &letters]),
            ("github-fine-grained-token", ["github_pat_", &letters]),
            ("slack-token", ["xoxb-", "123456789012-abcdef"]),
            ("google-api-key", ["AIza", &letters[..35]]),
            ("stripe-live-key", ["sk_live_", &letters]),
            ("npm-token", ["npm_", &letters]),
            ("private-key", ["-----BEGIN RSA ", "PRIVATE KEY-----"]),
            ("private-key", ["-----BEGIN ", "PRIVATE KEY-----"]),
            ("private-key", ["-----BEGIN PGP ", "PRIVATE KEY BLOCK-----"]),
            ("json-web-token", ["eyJhbGciOiJI.", &format!("eyJ{word}.{word}")]),
        ] {
            let secret = parts.concat();
            assert_eq!(kinds(&format!("a\n  {secret} b")), [kind], "{kind}");
            assert_eq!(kinds(&format!("token = \"{secret}\"")), [kind], "{kind} assigned");
        }
    }

    #[test]
    fn an_assigned_value_counts_when_it_is_long_and_not_a_repetition() {
        let value = ["c0rrect-horse", "-battery"].concat();
        for name in ["password", "DB_PASSWORD", "clientSecret", "access_token", "api_key", "apiKey", "API-KEY"] {
            for text in [format!("{name} = \"{value}\""), format!("{name}: '{value}'"), format!("{{\"{name}\":\"{value}\"}}")] {
                assert_eq!(kinds(&text), ["assignment"], "{name}");
            }
        }
        for text in [
            "password = \"short\"",
            "password = \"xxxxxxxxxxxxxxxx\"",
            "password = \"123123123123123\"",
            "password = \"${DATABASE_PASSWORD}\"",
            "password = \"<your password here>\"",
            "password = read_password_from_prompt()",
            "passwords = [\"correct horse battery\"]",
            "// the token \"is not assigned at all\"",
        ] {
            assert_eq!(kinds(text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn parts_of_longer_words_and_cut_shapes_are_not_found() {
        for parts in [["XAKIA", "IOSFODNN7EXAMPLE"], ["AKIA", "IOSFODNN7"], ["ghp_", "tooshort"], ["-----BEGIN ", "PUBLIC KEY-----"]] {
            assert_eq!(kinds(&parts.concat()), Vec::<&str>::new(), "{parts:?}");
        }
    }

    #[test]
    fn entropy_is_that_of_shannon() {
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abcdabcd"), 2.0);
    }
}
