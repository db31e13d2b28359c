//! What the fuzz targets reach and nobody else: doors to code that is private to the crate.
//!
//! The rule it keeps: it is built for fuzzing alone, and holds re-exports and wrappers of one line. What a target checks
//! stands in the target.
//!
//! Never here: logic, anything a target can reach without it.

use crate::Error;
use crate::plugins::{Quarantined, ToolSpec, check_definitions};
use crate::sandbox::Definition;
use palisade_policy::SourceName;

pub use crate::json::parse as strict_json;

/// What of a component's definitions is registered, and what is set aside.
///
/// # Errors
/// Where all of them are refused.
pub fn definitions(source: &SourceName, given: Vec<Definition>) -> Result<(Vec<ToolSpec>, Vec<Quarantined>), Error> {
    let mut quarantined = Vec::new();
    check_definitions(source, given, palisade_policy::ToolId::parse, &mut quarantined).map(|tools| (tools, quarantined))
}

/// A component with its libraries joined, where it has some.
#[must_use]
pub fn joined(component: &[u8]) -> Option<Vec<u8>> {
    crate::sandbox::join(component).ok()
}
