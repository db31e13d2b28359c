//! Palisade runs tools that other people wrote for AI agents, behind a fence.

mod error;
pub mod sandbox;

pub use error::{Error, Kind};
pub use palisade_policy as policy;
