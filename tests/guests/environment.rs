//! Guests that look around.

use crate::Nothing;
use palisade_sdk::{Result, tool};

/// Lists every variable it sees.
#[tool]
pub fn environment(_: Nothing) -> Result<String> {
    Ok(std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
}

/// Lists every argument it sees.
#[tool]
pub fn arguments(_: Nothing) -> Result<String> {
    Ok(std::env::args().collect::<Vec<_>>().join(" "))
}
