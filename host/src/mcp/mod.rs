//! MCP: our own server, and the external ones behind the gate.
//!
//! The rule it keeps: a tool is listed and called through the host's one gate, and what a client is told of a denial is
//! tool, rule and number; the rest is the operator's.
//!
//! Never here: a decision, a second way to run a tool. The protocol itself is the library's.

mod accepted;
mod child;
mod client;
mod guarded;
mod http;
mod remote;
mod scratch;
mod server;
mod sessions;
mod skills;
mod start;
mod web;

pub use accepted::{Accepted, difference};
pub(crate) use child::spawn as spawn_child;
pub use child::{LAUNCHER_ARGUMENT, SUPERVISOR_ARGUMENT, launcher_main, supervisor_main};
pub use client::{Seen, Server, close_all, open};
pub(crate) use client::{accepted, changes};
pub use http::{Guard, PATH, listen, serve_http};
pub use server::{Events, Hosts, instructions, serve};
pub(crate) use start::Start;
