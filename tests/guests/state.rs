//! A guest that tries to remember.

use crate::Nothing;
use palisade_sdk::{Result, tool};
use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Counts its calls in a global.
#[tool]
pub fn counter(_: Nothing) -> Result<String> {
    Ok((CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string())
}
