//! Write a Palisade tool as a Rust function.
//!
//! ```
//! use palisade_sdk::{arguments, output, tool, Json, Result};
//!
//! #[arguments]
//! struct Greet {
//!     /// Who is greeted.
//!     name: String,
//! }
//!
//! #[output]
//! struct Greeting {
//!     /// What to say.
//!     text: String,
//! }
//!
//! /// Greets somebody by name.
//! #[tool(title = "Greet", read_only)]
//! fn greet(args: Greet) -> Result<Json<Greeting>> {
//!     if args.name.is_empty() {
//!         return Err("`name` is empty; say who is greeted".into());
//!     }
//!     Ok(Json(Greeting { text: format!("Hello, {}!", args.name) }))
//! }
//!
//! palisade_sdk::export!(greet);
//! # fn main() {
//! # let answer = greet(Greet { name: "Ada".into() }).unwrap();
//! # assert_eq!(answer.0.text, "Hello, Ada!");
//! # }
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2`, and put the component beside a `plugin.toml`. The schema an agent sees
//! comes from the struct and its doc comments; unknown arguments are refused before the component runs.
//!
//! Every call gets a fresh instance: a `static` is never seen twice.

pub mod hook;
pub mod store;

pub use palisade_sdk_macros::{arguments, export, output, tool};
pub use schemars;
pub use serde;
pub use serde_json;

use bindings::palisade::plugin::types;
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::path::{Path, PathBuf};

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "palisade_sdk::bindings",
    });
}

/// What a tool function returns.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a tool could not do what it was asked: a sentence for the agent. Anything that can be shown turns into it with `?`.
///
/// ```
/// use palisade_sdk::Failure;
/// let failure: Failure = "nothing found".into();
/// assert_eq!(failure.message(), "nothing found");
/// let failure: Failure = "x".parse::<u8>().unwrap_err().into();
/// assert_eq!(failure.message(), "invalid digit found in string");
/// ```
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl<T: fmt::Display> From<T> for Failure {
    fn from(shown: T) -> Self {
        Self(shown.to_string())
    }
}

/// A piece of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A JSON document.
    Json(String),
    /// Bytes with their media type.
    Blob {
        /// For instance `image/png`.
        mime: String,
        /// The bytes.
        data: Vec<u8>,
    },
}

/// A typed JSON result; its schema is the tool's output schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// What a tool may return: text, typed JSON, or a list of contents.
pub trait Output {
    /// The output schema, where there is one.
    #[must_use]
    fn schema() -> Option<String> {
        None
    }
    /// The contents.
    ///
    /// # Errors
    /// A value that cannot be serialized.
    fn into_content(self) -> Result<Vec<Content>>;
}

impl Output for String {
    fn into_content(self) -> Result<Vec<Content>> {
        Ok(vec![Content::Text(self)])
    }
}

impl Output for Vec<Content> {
    fn into_content(self) -> Result<Vec<Content>> {
        Ok(self)
    }
}

impl<T: Serialize + JsonSchema> Output for Json<T> {
    fn schema() -> Option<String> {
        Some(schema::<T>())
    }
    fn into_content(self) -> Result<Vec<Content>> {
        Ok(vec![Content::Json(serde_json::to_string(&self.0)?)])
    }
}

/// What a tool says of itself. The host shows it and decides nothing on it.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may remove or overwrite.
    pub destructive: bool,
    /// A second equal call changes nothing more.
    pub idempotent: bool,
    /// It reaches beyond the machine.
    pub open_world: bool,
}

type Runner = Box<dyn Fn(&str) -> Result<Vec<Content>>>;

/// A tool, as `#[tool]` makes it.
pub struct Tool {
    name: &'static str,
    title: Option<&'static str>,
    description: &'static str,
    hints: Hints,
    // Schemas are made only when definitions are read, never on the way of a call.
    input: fn() -> String,
    output: fn() -> Option<String>,
    run: Runner,
}

impl Tool {
    #[doc(hidden)]
    pub fn new<A, R>(name: &'static str, title: Option<&'static str>, description: &'static str, hints: Hints, run: fn(A) -> R) -> Self
    where
        A: DeserializeOwned + JsonSchema + 'static,
        R: Returned + 'static,
    {
        let run = move |arguments: &str| {
            let arguments: A = serde_json::from_str(arguments)?;
            run(arguments).into_result()?.into_content()
        };
        Self { name, title, description, hints, input: schema::<A>, output: R::Value::schema, run: Box::new(run) }
    }
}

/// The `Result` of a tool function, taken apart.
#[doc(hidden)]
pub trait Returned {
    type Value: Output;
    fn into_result(self) -> Result<Self::Value>;
}

impl<T: Output> Returned for Result<T> {
    type Value = T;
    fn into_result(self) -> Self {
        self
    }
}

/// Takes out what JSON Schema does not know: the formats of numbers, of which clients warn. Their bounds stay.
fn without_number_formats(schema: &mut Schema) {
    if matches!(schema.get("format").and_then(serde_json::Value::as_str), Some(format) if NUMBER_FORMATS.contains(&format)) {
        schema.remove("format");
    }
}

/// What the generator says of the numbers of Rust.
const NUMBER_FORMATS: [&str; 14] =
    ["int8", "int16", "int32", "int64", "int128", "int", "uint8", "uint16", "uint32", "uint64", "uint128", "uint", "float", "double"];

fn schema<T: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|s| s.meta_schema = None);
    let generator = settings.with_transform(RecursiveTransform(without_number_formats)).into_generator();
    serde_json::to_string(&generator.into_root_schema_for::<T>()).expect("a schema is JSON")
}

#[doc(hidden)]
#[must_use]
pub fn definitions(tools: &[Tool]) -> Vec<types::ToolDefinition> {
    let one = |tool: &Tool| types::ToolDefinition {
        name: tool.name.to_owned(),
        title: tool.title.map(str::to_owned),
        description: tool.description.to_owned(),
        input_schema: (tool.input)(),
        output_schema: (tool.output)(),
        annotations: Some(types::Annotations {
            read_only: tool.hints.read_only,
            destructive: tool.hints.destructive,
            idempotent: tool.hints.idempotent,
            open_world: tool.hints.open_world,
        }),
    };
    tools.iter().map(one).collect()
}

#[doc(hidden)]
pub fn call(tools: &[Tool], name: &str, arguments: &str) -> std::result::Result<Vec<types::Content>, types::ToolError> {
    let failed = |message: String| types::ToolError { message };
    let tool = tools.iter().find(|tool| tool.name == name).ok_or_else(|| failed(format!("there is no tool {name}")))?;
    let contents = (tool.run)(arguments).map_err(|failure| failed(failure.0))?;
    let one = |content| match content {
        Content::Text(text) => types::Content::Text(text),
        Content::Json(text) => types::Content::Json(text),
        Content::Blob { mime, data } => types::Content::Blob(types::Blob { mime, data }),
    };
    Ok(contents.into_iter().map(one).collect())
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something went wrong.
    Error,
}

/// Writes a line to the operator's log. Outside a component, to standard error.
///
/// ```
/// palisade_sdk::log(palisade_sdk::Level::Info, "three files read");
/// ```
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        use bindings::palisade::plugin::host;
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Reports progress: how much of how much is done. Outside a component it does nothing.
///
/// ```
/// palisade_sdk::progress(3.0, Some(10.0), "reading");
/// ```
pub fn progress(done: f64, total: Option<f64>, message: &str) {
    #[cfg(target_arch = "wasm32")]
    bindings::palisade::plugin::host::progress(done, total, Some(message));
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (done, total, message);
}

/// Whether the caller gave up. A tool that works for long asks now and then. Outside a component: no.
///
/// ```
/// assert!(!palisade_sdk::cancelled());
/// ```
#[must_use]
pub fn cancelled() -> bool {
    #[cfg(target_arch = "wasm32")]
    return bindings::palisade::plugin::host::cancelled();
    #[cfg(not(target_arch = "wasm32"))]
    false
}

/// The folder of the guest at which the workspace appears.
pub const WORKSPACE: &str = "/workspace";

/// The guest path of a `path` argument: absolute, or relative to the workspace.
///
/// ```
/// use palisade_sdk::guest_path;
/// assert_eq!(guest_path("src/lib.rs").to_str(), Some("/workspace/src/lib.rs"));
/// assert_eq!(guest_path("/data/a.txt").to_str(), Some("/data/a.txt"));
/// assert_eq!(guest_path(".").to_str(), Some("/workspace"));
/// ```
#[must_use]
pub fn guest_path(path: &str) -> PathBuf {
    // `.` parts would not match a folder's name in the guest.
    Path::new(WORKSPACE).join(path).components().filter(|c| !matches!(c, std::path::Component::CurDir)).collect()
}

#[cfg(test)]
mod tests {
    use super::schema;
    use serde_json::{Value, json};

    #[test]
    fn a_schema_names_no_format_that_json_schema_does_not_know_and_keeps_the_bounds() {
        type Numbers = (u8, Vec<(i8, u16, i16, u32)>, Option<(i32, u64, i64, usize)>, (isize, u128, i128, f32), f64);
        let text = schema::<Numbers>();
        assert!(!text.contains("format"), "{text}");
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["prefixItems"][0], json!({"type": "integer", "minimum": 0, "maximum": 255}));
        assert_eq!(schema["prefixItems"][4], json!({"type": "number"}));
    }
}
