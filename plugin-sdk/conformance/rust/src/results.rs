//! Contents of all kinds, and errors.

use crate::numbers::{I64, None};
use crate::strings::Text;
use palisade_sdk::{Content, Json, Result, arguments, output, serde_json, tool};
use std::collections::BTreeMap;

#[arguments]
pub struct Count {
    /// How many.
    #[schemars(range(min = 0, max = 1_000_000))]
    count: u32,
}

#[arguments]
pub struct Bytes {
    /// Their media type.
    mime: String,
    /// The bytes.
    bytes: Vec<u8>,
}

#[arguments]
pub struct Size {
    /// How many bytes.
    #[schemars(range(min = 0, max = 1_000_000))]
    size: usize,
}

#[output]
pub struct Nulls {
    a: Option<String>,
    b: Vec<Option<i64>>,
    c: BTreeMap<String, String>,
}

#[arguments]
pub struct Message {
    /// What it says.
    message: String,
}

/// Takes nothing.
#[tool]
pub fn no_arguments(_: None) -> Result<String> {
    Ok("done".to_owned())
}

/// Returns nothing.
#[tool]
pub fn empty_result(_: None) -> Result<Vec<Content>> {
    Ok(vec![])
}

/// Returns a text without characters.
#[tool]
pub fn empty_text(_: None) -> Result<String> {
    Ok(String::new())
}

/// Returns the text in two ways.
#[tool]
pub fn text_and_json(Text { text }: Text) -> Result<Vec<Content>> {
    let json = serde_json::json!({ "text": text }).to_string();
    Ok(vec![Content::Text(text), Content::Json(json)])
}

/// Returns many texts.
#[tool]
pub fn many_texts(args: Count) -> Result<Vec<Content>> {
    Ok((0..args.count).map(|i| Content::Text(i.to_string())).collect())
}

/// Returns the bytes.
#[tool]
pub fn blob(args: Bytes) -> Result<Vec<Content>> {
    Ok(vec![Content::Blob { mime: args.mime, data: args.bytes }])
}

/// Returns contents of all kinds.
#[tool]
pub fn mixed(_: None) -> Result<Vec<Content>> {
    Ok(vec![
        Content::Text("first".to_owned()),
        Content::Blob { mime: "a/b".to_owned(), data: vec![1, 2] },
        Content::Json("[1,2.5,null]".to_owned()),
        Content::Text("last".to_owned()),
    ])
}

/// Counts up.
#[tool]
pub fn big_list(args: Count) -> Result<Json<Vec<u32>>> {
    Ok(Json((0..args.count).collect()))
}

/// Returns many bytes.
#[tool]
pub fn big_blob(args: Size) -> Result<Vec<Content>> {
    let data = (0..args.size).map(|i| (i % 251) as u8).collect();
    Ok(vec![Content::Blob { mime: "application/octet-stream".to_owned(), data }])
}

/// Returns what JSON has to escape, and what it need not.
#[tool]
pub fn escapes(_: None) -> Result<Json<String>> {
    Ok(Json("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\u{2028}</script>".to_owned()))
}

/// Returns nulls.
#[tool]
pub fn nulls(_: None) -> Result<Json<Nulls>> {
    Ok(Json(Nulls { a: Option::None, b: vec![Option::None, Some(1), Option::None], c: BTreeMap::new() }))
}

/// Fails.
#[tool]
pub fn fail(args: Message) -> Result<String> {
    Err(args.message.into())
}

/// Fails where the value is negative.
#[tool]
pub fn fail_if_negative(args: I64) -> Result<String> {
    if args.value < 0 {
        return Err(format!("`value` is {}; it is 0 or more", args.value).into());
    }
    Ok("fine".to_owned())
}
