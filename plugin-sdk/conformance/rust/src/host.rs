//! What the host gives.

use crate::numbers::None;
use palisade_sdk::{Json, Level, Result, arguments, store, tool};
use palisade_sdk::{schemars, serde};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "::palisade_sdk::serde", rename_all = "lowercase")]
#[schemars(crate = "::palisade_sdk::schemars")]
pub enum Word {
    Debug,
    Info,
    Warn,
    Error,
}

#[arguments]
pub struct Line {
    /// How much it matters.
    level: Word,
    /// What it says.
    message: String,
}

#[arguments]
pub struct Steps {
    /// How many.
    #[schemars(range(min = 0, max = 100))]
    steps: u32,
}

#[arguments]
pub struct Entry {
    /// The key.
    key: String,
    /// Its value.
    value: String,
}

#[arguments]
pub struct Key {
    /// The key.
    key: String,
}

#[arguments]
pub struct Range {
    /// How they begin.
    #[serde(default)]
    prefix: String,
    /// What they come after.
    after: Option<String>,
    /// At most so many.
    #[serde(default = "most")]
    #[schemars(range(min = 0, max = 1000))]
    most: u32,
}

fn most() -> u32 {
    1000
}

#[arguments]
pub struct Swap {
    /// The key.
    key: String,
    /// What it has.
    expected: Option<String>,
    /// What it shall have.
    value: Option<String>,
}

/// Logs a line.
#[tool]
pub fn log(args: Line) -> Result<String> {
    let level = match args.level {
        Word::Debug => Level::Debug,
        Word::Info => Level::Info,
        Word::Warn => Level::Warn,
        Word::Error => Level::Error,
    };
    palisade_sdk::log(level, &args.message);
    Ok("logged".to_owned())
}

/// Reports its steps.
#[tool]
pub fn progress(args: Steps) -> Result<String> {
    for step in 1..=args.steps {
        palisade_sdk::progress(step.into(), Some(args.steps.into()), &format!("step {step}"));
    }
    Ok(format!("{} steps", args.steps))
}

/// Whether the caller gave up.
#[tool]
pub fn cancelled(_: None) -> Result<Json<bool>> {
    Ok(Json(palisade_sdk::cancelled()))
}

/// Keeps a value.
#[tool]
pub fn store_set(args: Entry) -> Result<String> {
    store::set(&args.key, args.value.as_bytes())?;
    Ok("kept".to_owned())
}

/// Reads a value.
#[tool]
pub fn store_get(args: Key) -> Result<Json<Option<String>>> {
    Ok(Json(store::get(&args.key)?.map(String::from_utf8).transpose()?))
}

/// Lists keys.
#[tool]
pub fn store_keys(args: Range) -> Result<Json<Vec<String>>> {
    Ok(Json(store::keys(&args.prefix, args.after.as_deref(), args.most)?))
}

/// Swaps a value.
#[tool]
pub fn store_swap(args: Swap) -> Result<Json<bool>> {
    let bytes = |text: &'_ Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
    Ok(Json(store::swap(&args.key, bytes(&args.expected).as_deref(), bytes(&args.value).as_deref())?))
}

/// Removes a value.
#[tool]
pub fn store_delete(args: Key) -> Result<Json<bool>> {
    Ok(Json(store::delete(&args.key)?))
}
