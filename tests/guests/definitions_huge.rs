//! Its definitions are far too large.

#![allow(unsafe_code, missing_docs, dead_code)]

use palisade_sdk::bindings::exports::palisade::plugin::tools::Guest;
use palisade_sdk::bindings::palisade::plugin::types::{Content, ToolDefinition, ToolError};

struct Plugin;

impl Guest for Plugin {
    fn definitions() -> Vec<ToolDefinition> {
        vec![ToolDefinition {
            name: "huge".to_owned(),
            title: None,
            description: "x".repeat(50 * 1024 * 1024),
            input_schema: "{\"type\":\"object\"}".to_owned(),
            output_schema: None,
            annotations: None,
        }]
    }
    fn call(_: String, _: String) -> Result<Vec<Content>, ToolError> {
        Ok(Vec::new())
    }
}

#[cfg(target_arch = "wasm32")]
palisade_sdk::bindings::export!(Plugin with_types_in palisade_sdk::bindings);
