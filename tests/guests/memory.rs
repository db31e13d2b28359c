//! Guests that want too much memory.

use crate::Nothing;
use palisade_sdk::{Result, arguments, tool};

/// How much.
#[arguments]
pub struct Grow {
    /// Mebibytes.
    pub mib: usize,
}

/// Allocates and touches memory.
#[tool]
pub fn grow(args: Grow) -> Result<String> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..args.mib {
        held.push(std::hint::black_box(vec![1; 1024 * 1024]));
    }
    Ok(held.len().to_string())
}

/// Calls itself until the stack ends.
#[tool]
pub fn recurse(_: Nothing) -> Result<String> {
    fn down(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { down(depth + 1) + frame[3] }
    }
    Ok(down(0).to_string())
}
