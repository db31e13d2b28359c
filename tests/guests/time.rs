//! Guests that do not come back.

use crate::Nothing;
use palisade_sdk::{Result, arguments, tool};
use std::time::Duration;

/// How long.
#[arguments]
pub struct Sleep {
    /// Milliseconds.
    pub ms: u64,
}

/// Computes for ever.
#[tool]
pub fn spin(_: Nothing) -> Result<String> {
    let mut x = 0u64;
    loop {
        x = std::hint::black_box(x.wrapping_add(1));
    }
}

/// Waits inside a call of the host.
#[tool]
pub fn sleep(args: Sleep) -> Result<String> {
    std::thread::sleep(Duration::from_millis(args.ms));
    Ok("awake".to_owned())
}
