//! Text in and out.

use palisade_sdk::{Json, Result, arguments, output, tool};

#[arguments]
pub struct Text {
    /// A text.
    pub text: String,
}

#[output]
pub struct Lengths {
    bytes: usize,
    characters: usize,
    utf16: usize,
}

#[arguments]
pub struct Repeat {
    /// A text.
    text: String,
    /// How often.
    #[schemars(range(min = 0, max = 100_000))]
    times: usize,
}

#[arguments]
pub struct Join {
    /// The parts.
    parts: Vec<String>,
    /// What stands between.
    #[serde(default = "comma")]
    separator: String,
}

fn comma() -> String {
    ", ".to_owned()
}

#[arguments]
pub struct Values {
    /// The values.
    values: Vec<String>,
}

/// Returns the text.
#[tool]
pub fn echo(args: Text) -> Result<String> {
    Ok(args.text)
}

/// Returns the text as JSON.
#[tool]
pub fn echo_json(args: Text) -> Result<Json<String>> {
    Ok(Json(args.text))
}

/// Counts in three units.
#[tool]
pub fn lengths(Text { text }: Text) -> Result<Json<Lengths>> {
    Ok(Json(Lengths { bytes: text.len(), characters: text.chars().count(), utf16: text.encode_utf16().count() }))
}

/// Reverses the characters.
#[tool]
pub fn reverse(args: Text) -> Result<String> {
    Ok(args.text.chars().rev().collect())
}

/// Repeats the text.
#[tool]
pub fn repeat(args: Repeat) -> Result<String> {
    Ok(args.text.repeat(args.times))
}

/// Joins the parts.
#[tool]
pub fn join(args: Join) -> Result<String> {
    Ok(args.parts.join(&args.separator))
}

/// Splits at line ends.
#[tool]
pub fn lines(args: Text) -> Result<Json<Vec<String>>> {
    Ok(Json(args.text.split('\n').map(str::to_owned).collect()))
}

/// Sorts by the bytes of the values.
#[tool]
pub fn sort(mut args: Values) -> Result<Json<Vec<String>>> {
    args.values.sort();
    Ok(Json(args.values))
}
