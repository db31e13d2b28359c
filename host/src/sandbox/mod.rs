//! The sandbox: runs a component, within limits, with what was granted and nothing else.
//!
//! The rule it keeps: every call gets a fresh store and instance, a deadline that also ends a wait inside the host, a memory
//! limit summed over all memories, and WASI made from grants alone.
//!
//! Where the rule ends: whether a call may run is the gate's business; this module runs what it is given.
//!
//! Never here: manifests, tool ids, sessions, the command line.

mod bindings;
mod cache;
mod call;
mod code;
mod compile;
mod engine;
mod entry;
mod folders;
mod foreign;
mod http;
mod join;
mod limiter;
mod module;
mod needs;
mod pace;
mod places;
mod program;
mod refused;
mod review;
mod shards;
mod slow;
mod state;
mod store;
mod wasi;
mod written;

pub(crate) use bindings::hook::exports::palisade::plugin::hooks;
pub(crate) use bindings::palisade::plugin::types;
pub use cache::{CacheKey, CodeCache, WasmDigest};
pub use call::{Content, Definition, Failure, Hints, LogLine, Prepared, Progress, Report, Run};
pub(crate) use compile::AT_ONCE;
pub use compile::{COMPILER_ARGUMENT, Compiler, compiler_main};
pub use engine::{Allocator, Sandbox, engine_config};
pub use entry::World;
pub use http::Secret;
pub(crate) use http::{Network, open_connection};
#[cfg(fuzzing)]
pub(crate) use join::join;
pub use places::Places;
pub(crate) use places::Spent;
pub use refused::{ReadOnly, Refused};
pub use slow::bound_file_threads;
pub use wasi::{Folder, Reach, ReachError};
