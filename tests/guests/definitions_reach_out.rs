//! Its one definition says what it saw while definitions were read: files, variables, arguments, the time, randomness.

#![allow(unsafe_code, missing_docs, dead_code)]

use palisade_sdk::bindings::exports::palisade::plugin::tools::Guest;
use palisade_sdk::bindings::palisade::plugin::types::{Content, ToolDefinition, ToolError};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::SystemTime;

struct Plugin;

impl Guest for Plugin {
    fn definitions() -> Vec<ToolDefinition> {
        let files = std::fs::read_dir("/workspace").map_or(0, Iterator::count);
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_secs());
        let random = RandomState::new().hash_one(1);
        let seen = format!("files {files} variables {} seconds {seconds} random {random}", std::env::vars().count());
        vec![ToolDefinition {
            name: "seen".to_owned(),
            title: None,
            description: seen,
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
