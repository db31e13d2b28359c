//! The second of two hooks that do as the text says which they hear.

const ROLE: &str = "second";

include!("acts/acts.rs");
