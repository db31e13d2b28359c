//! Tool ids.
//!
//! | form | example | rule |
//! |---|---|---|
//! | part | `text-stats` | `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes |
//! | tool id | `text-stats/count` | a source part, the first `/`, a tool part |
//! | tool part of an MCP server | `Repo.list/all` | `[A-Za-z0-9_./-]{1,128}`, spelling kept |
//! | MCP name | `text-stats__count` | `[A-Za-z0-9_-]{1,64}`; a name that had to be changed ends in `_` and 8 hex digits |

use sha2::{Digest, Sha256};
use std::fmt;

/// Longest part of an id, in bytes.
const PART_MAX: usize = 64;
/// Longest tool part of an MCP server's id, in bytes.
const MCP_PART_MAX: usize = 128;
/// Longest name real MCP clients accept; they drop a whole server for one longer.
const MCP_NAME_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No `/` between source and tool.
    #[error("a tool id is `source/tool`")]
    NoSlash,
    /// A part outside the grammar.
    #[error("the {part} part of a tool id is `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes")]
    Part {
        /// `source` or `tool`.
        part: &'static str,
    },
    /// A tool part of an MCP server outside its wider grammar.
    #[error("the tool part of an MCP server's id is `[A-Za-z0-9_./-]`, 1 to 128 bytes")]
    McpPart,
}

/// The name of a plugin, skill or MCP server: one part of the grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// Parses a source name.
    ///
    /// # Errors
    /// [`IdError::Part`] when the text is outside the grammar.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_source_part(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a tool, `source/tool`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolId {
    text: String,
    slash: usize,
}

impl ToolId {
    /// Parses the id of a plugin's or skill's tool.
    ///
    /// # Errors
    /// Says which part is outside the grammar.
    ///
    /// ```
    /// use palisade_policy::ToolId;
    /// let id = ToolId::parse("text-stats/count").unwrap();
    /// assert_eq!((id.source(), id.tool()), ("text-stats", "count"));
    /// assert!(ToolId::parse("Text/Count").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (source, tool) = text.split_once('/').ok_or(IdError::NoSlash)?;
        check_source_part(source)?;
        if !is_part(tool) {
            return Err(IdError::Part { part: "tool" });
        }
        Ok(Self { text: text.to_owned(), slash: source.len() })
    }

    /// Parses the id of an MCP server's tool, whose tool part keeps the server's spelling.
    ///
    /// # Errors
    /// Says which part is outside the grammar.
    pub fn parse_mcp(text: &str) -> Result<Self, IdError> {
        let (source, tool) = text.split_once('/').ok_or(IdError::NoSlash)?;
        check_source_part(source)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'-');
        if tool.is_empty() || tool.len() > MCP_PART_MAX || !tool.bytes().all(allowed) {
            return Err(IdError::McpPart);
        }
        Ok(Self { text: text.to_owned(), slash: source.len() })
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the first `/`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The part after the first `/`.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.text[self.slash + 1..]
    }
}

impl fmt::Display for ToolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks one part of an id, a source's name.
///
/// # Errors
/// [`IdError::Part`] when it is outside the grammar.
pub fn check_source_part(text: &str) -> Result<(), IdError> {
    if is_part(text) { Ok(()) } else { Err(IdError::Part { part: "source" }) }
}

fn is_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
    let ends = bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    let separated = bytes.windows(2).all(|w| w[0].is_ascii_alphanumeric() || w[1].is_ascii_alphanumeric());
    bytes.len() <= PART_MAX && starts && ends && inner && separated
}

/// The name under which a tool is listed to MCP clients: `source__tool`.
///
/// A part of the grammar never holds `__`, so an unchanged name is unique; a name that had to be changed or cut ends in
/// `_` and eight hex digits of the SHA-256 of the id.
#[must_use]
pub fn mcp_name(source: &str, tool: &str) -> String {
    let plain = format!("{source}__{tool}");
    let safe: String = plain.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect();
    if safe == plain && plain.len() <= MCP_NAME_MAX {
        return plain;
    }
    let digest = Sha256::digest(format!("{source}/{tool}").as_bytes());
    let tail: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let kept: String = safe.chars().take(MCP_NAME_MAX - 9).collect();
    format!("{kept}_{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_grammar_accepts_and_refuses_what_it_says() {
        for good in ["a/b", "text-stats/count_all", "a1/b2-c3"] {
            assert!(ToolId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/b", "a/", "A/b", "a/B", "1a/b", "a--b/c", "a-/b", "a/b/c", "a/b c", "a/ü", "a/b\n"] {
            assert!(ToolId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ToolId::parse(&format!("a/{}", "b".repeat(65))).is_err());
        assert_eq!(ToolId::parse_mcp("srv/a/B.c").unwrap().tool(), "a/B.c");
        assert!(ToolId::parse_mcp("srv/a b").is_err());
    }

    proptest! {
        #[test]
        fn an_mcp_name_is_always_one_that_clients_accept(source in "[a-z][a-z0-9]{0,63}", tool in "[A-Za-z0-9_./-]{1,128}") {
            let name = mcp_name(&source, &tool);
            prop_assert!((1..=64).contains(&name.len()));
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        }

        #[test]
        fn parsing_then_printing_an_id_gives_the_same_id(text in "[a-z][a-z0-9-]{0,9}/[a-z][a-z0-9_]{0,9}") {
            if let Ok(id) = ToolId::parse(&text) {
                prop_assert_eq!(id.as_str(), text.as_str());
            }
        }
    }
}
