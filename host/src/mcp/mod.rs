//! MCP: our own server, and the external ones behind the gate.
//!
//! The rule it keeps: a tool is listed and called through the host's one gate, and what a client is told of a denial is
//! tool, rule and number; the rest is the operator's.
//!
//! Never here: a decision, a second way to run a tool. The protocol itself is the library's.

mod accepted;
mod at_once;
mod client;
mod front;
mod guarded;
mod http;
mod remote;
mod server;
mod sessions;
mod skills;
mod start;
mod web;

pub(crate) use accepted::accepted;
pub use accepted::{Accepted, difference, open};
pub(crate) use client::changes;
pub use client::{Seen, Server, close_all};
pub use http::{Guard, PATH, listen, serve_http};
pub use server::{Events, Hosts, instructions, serve};
