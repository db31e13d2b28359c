//! `config.toml` and `palisade.toml`: one grammar, read into one shape.
//!
//! The rule it keeps: a key we do not know is an error with file, line and key; so is a key that this version knows and
//! cannot enforce, as soon as it would count. An error never shows the line's text.
//!
//! Never here: what wins over what.

use crate::clean;
use crate::error::{Error, Kind};
use palisade_policy::{Limit, LimitError, Origin, Written};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A text with its place.
pub type Placed = Spanned<String>;

/// A config file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// The profile to use.
    pub profile: Option<Placed>,
    /// The user's own profiles.
    pub profiles: BTreeMap<Placed, ProfileTable>,
    /// Stored grants.
    pub grants: Option<Spanned<Vec<Placed>>>,
    /// Where sessions are kept.
    pub session: Option<Spanned<SessionTable>>,
    /// What is denied.
    pub deny: DenyTable,
    /// Where plugins are.
    pub plugins: DirsTable,
    /// Where skills are.
    pub skills: DirsTable,
    /// External MCP servers.
    pub mcp: BTreeMap<Placed, toml::Table>,
    /// Hooks.
    pub hooks: Vec<Spanned<HookTable>>,
    /// Limits.
    pub limits: LimitsTable,
}

/// `[limits]`.
pub type LimitsTable = BTreeMap<Placed, Spanned<Written>>;

/// `[profiles.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileTable {
    /// What it initialises.
    pub subsystems: Vec<Placed>,
    /// What it denies.
    pub deny: DenyTable,
    /// What it lowers.
    pub limits: LimitsTable,
}

/// `[session]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionTable {
    /// The folder.
    pub dir: Option<Placed>,
}

/// `[[hooks]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookTable {
    /// The folder of its component and manifest.
    pub dir: Option<Placed>,
    /// `guard` or `observer`.
    pub kind: Option<Placed>,
    /// What it hears of.
    #[serde(default)]
    pub events: Vec<Placed>,
    /// A `hooks.json`, or a folder with one, in place of all that.
    pub from: Option<Placed>,
    /// Which of its commands run.
    #[serde(default)]
    pub allow: Vec<Spanned<CommandTable>>,
    /// Of which tools; of all where it is not there.
    pub tools: Option<Vec<Placed>>,
    /// Whether it counts.
    #[serde(default = "on")]
    pub enabled: bool,
}

/// `allow` of `[[hooks]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandTable {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `sha256:` and 64 hex digits, as `palisade hook list` shows it.
    pub digest: String,
}

fn on() -> bool {
    true
}

/// `[deny]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenyTable {
    /// Names.
    pub names: Vec<Placed>,
    /// Prefixes.
    pub prefixes: Vec<Placed>,
}

/// `[plugins]` and `[skills]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirsTable {
    /// Folders.
    pub dirs: Vec<Placed>,
}

/// A file's name for display, with its text, to turn places into lines.
#[derive(Debug, Clone)]
pub struct Source<'t> {
    /// Relative to the workspace, or from `~/`.
    pub name: &'t str,
    /// The whole text.
    pub text: &'t str,
    /// What kind of failure an error in it is.
    pub kind: Kind,
    /// Where its lines begin.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    /// The bytes of a file as text.
    ///
    /// # Errors
    /// Where they are not UTF-8.
    pub fn new(name: &'t str, bytes: &'t [u8], kind: Kind) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            Error::new(kind, format!("{name}:{line}: it is not UTF-8 text"))
        })?;
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(Self { name, text, kind, lines })
    }

    /// Parses the file.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        let reader = toml::Deserializer::parse(self.text).map_err(|e| self.refuse(&e, None))?;
        serde_path_to_error::deserialize(reader).map_err(|e| {
            let key = e.path().iter().filter_map(|segment| match segment {
                serde_path_to_error::Segment::Map { key } if !key.starts_with("$__") => Some(key.as_str()),
                _ => None,
            });
            let key = key.collect::<Vec<_>>().join(".");
            self.refuse(e.inner(), Some(&key))
        })
    }

    /// An error at a place of the file. What it quotes of the file is cleaned here, for all that make one.
    #[must_use]
    pub fn error(&self, at: usize, what: &str) -> Error {
        Error::new(self.kind, format!("{}: {}", self.origin(at), clean::line(what, clean::TEXT)))
    }

    /// The place as the origin of a rule.
    #[must_use]
    pub fn origin(&self, at: usize) -> Origin {
        Origin::File { name: self.name.to_owned(), line: self.lines.partition_point(|start| *start <= at) }
    }

    fn refuse(&self, error: &toml::de::Error, key: Option<&str>) -> Error {
        let at = error.span().map_or(0, |s| s.start);
        // The parser's own sentence names an unknown key; its long form would quote the line.
        let what = clean::line(error.message(), 400);
        match key.filter(|k| !k.is_empty()) {
            Some(key) => self.error(at, &format!("`{}`: {what}", clean::line(key, clean::NAME))),
            None => self.error(at, &what),
        }
    }

    /// Hands each limit of `[limits]` to `apply`.
    ///
    /// # Errors
    /// An unknown key, a bad value, or one that `apply` refuses.
    pub fn limits(&self, table: &LimitsTable, mut apply: impl FnMut(Limit, u64) -> Result<(), LimitError>) -> Result<(), Error> {
        for (key, value) in table {
            let refuse = |e| self.error(key.span().start, &format!("limits.{}: {e}", clean::line(key.get_ref(), clean::NAME)));
            let (limit, value) = Limit::parse(key.get_ref(), value.get_ref()).map_err(refuse)?;
            apply(limit, value).map_err(refuse)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let source = Source::new("palisade.toml", text.as_bytes(), Kind::Config).unwrap();
        source.parse::<ConfigFile>().unwrap_err().message
    }

    #[test]
    fn an_error_names_file_line_and_key_and_never_the_text_of_the_line() {
        let got = error("[deny]\nnames = [\"a\"]\nnmes = [\"secret-text\"]\n");
        assert!(got.starts_with("palisade.toml:3: ") && got.contains("`nmes`") && !got.contains("secret-text"), "{got}");
        let got = error("\n[plugins]\ndirs = 7 # secret-text\n");
        assert!(got.starts_with("palisade.toml:3: ") && got.contains("plugins.dirs") && !got.contains("secret-text"), "{got}");
        let got = error("a b\n");
        assert!(got.starts_with("palisade.toml:1: "), "{got}");
        let got = error("[deny]\n\"na\\u001b[31mmes\" = 1\n");
        assert!(got.starts_with("palisade.toml:2: ") && !got.contains('\u{1b}'), "{got}");
    }

    #[test]
    fn an_error_is_one_clean_line_whatever_it_quotes() {
        let source = Source::new("palisade.toml", b"a = 1\n", Kind::Config).unwrap();
        let quoted = "net:ftp://\u{1b}[31mx\n\u{202e}y".parse::<palisade_policy::Capability>().unwrap_err();
        let got = source.error(0, &quoted.to_string()).message;
        assert!(got.starts_with("palisade.toml:1: `ftp://x y` is not an origin"), "{got}");
    }
}
