//! The first of two hooks that do as the text says which they hear.

const ROLE: &str = "first";

include!("acts/acts.rs");
