//! Palisade runs tools that other people wrote for AI agents, behind a fence.

mod answered;
pub mod audit;
pub mod author;
pub mod check;
pub mod child;
pub mod clean;
pub mod config;
mod decide;
mod error;
mod explain;
pub mod files;
mod fresh;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod hooks;
mod host;
mod json;
mod lane;
mod many;
pub mod mcp;
mod own;
pub mod plugins;
pub mod record;
pub mod redact;
mod registry;
mod remedy;
pub mod sandbox;
mod schema;
mod scratch;
pub mod session;
pub mod skills;
mod sources;

pub use answered::Answered;
pub use error::{Error, Kind};
pub use explain::Explanation;
pub use fresh::{Watched, keep_fresh};
pub use host::{Host, LoadOptions, POOL, ToolCall, code_cache};
pub use palisade_policy as policy;
pub use registry::{Left, Provider, Tool};
pub use schema::Schema;
