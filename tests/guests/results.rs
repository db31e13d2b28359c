//! Guests with results: plain, failing, trapping, far too large, dirty.

use crate::Nothing;
use palisade_sdk::{Content, Result, arguments, tool};

/// What comes back.
#[arguments]
pub struct Echo {
    /// The text.
    pub text: String,
}

/// How much.
#[arguments]
pub struct Huge {
    /// Mebibytes.
    pub mib: usize,
}

/// Gives back a text.
#[tool(read_only)]
pub fn echo(args: Echo) -> Result<String> {
    Ok(args.text)
}

/// Reports an error with a text.
#[tool]
pub fn refuse(args: Echo) -> Result<String> {
    Err(args.text.into())
}

/// Traps.
#[tool]
pub fn trap(_: Nothing) -> Result<String> {
    std::process::abort()
}

/// Panics with a text.
#[tool]
#[allow(clippy::panic)]
pub fn panic(args: Echo) -> Result<String> {
    panic!("{}", args.text)
}

/// Returns a result of some size.
#[tool]
pub fn huge(args: Huge) -> Result<String> {
    Ok("x".repeat(args.mib * 1024 * 1024))
}

/// Returns control, ANSI, bidi, zero-width and tag characters, as text, JSON and a media type.
#[tool]
pub fn ansi(_: Nothing) -> Result<Vec<Content>> {
    let text = "a\u{1b}[31mb\u{7}\u{202e}c\u{200b}d\u{e0041}e";
    Ok(vec![
        Content::Text(text.to_owned()),
        Content::Json("{\"a\":\"x\\u001b[31my\\u202ez\"}".to_owned()),
        Content::Blob { mime: "image/\u{1b}[31mpng".to_owned(), data: vec![1, 2, 3] },
    ])
}
