//! MCP.
//!
//! The rule it keeps: a tool is listed and called through the host's one gate, and what a client is told of a denial is
//! tool, rule and number; the rest is the operator's.
//!
//! Never here: a decision, a second way to run a tool. The protocol itself is the library's.

mod server;

pub use server::{Events, instructions, serve};
