//! One good tool among definitions that may not be registered.

#![allow(unsafe_code, missing_docs, dead_code)]

use palisade_sdk::bindings::exports::palisade::plugin::tools::Guest;
use palisade_sdk::bindings::palisade::plugin::types::{Content, ToolDefinition, ToolError};

struct Plugin;

impl Guest for Plugin {
    fn definitions() -> Vec<ToolDefinition> {
        let tool = |name: &str, description: &str, schema: &str| ToolDefinition {
            name: name.to_owned(),
            title: Some("T\u{1b}[31mitle\u{202e}".to_owned()),
            description: description.to_owned(),
            input_schema: schema.to_owned(),
            output_schema: None,
            annotations: None,
        };
        let open = "{\"type\":\"object\"}";
        vec![
            tool("good", "Good \u{1b}[2J\u{202e}tool\u{200b}.", open),
            tool("bad-schema", "", "{\"type\": 7}"),
            tool("no-json", "", "{"),
            tool("bad-pattern", "", "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"(?=x)\"}}"),
            tool("remote", "", "{\"type\":\"object\",\"$ref\":\"https://example.com/schema\"}"),
            tool("Bad Name\u{1b}[31m", "", open),
            tool("twin", "One.", open),
            tool("twin", "Two.", open),
            tool("large", &"x".repeat(70 * 1024), open),
        ]
    }
    fn call(name: String, _: String) -> Result<Vec<Content>, ToolError> {
        Ok(vec![Content::Text(name)])
    }
}

#[cfg(target_arch = "wasm32")]
palisade_sdk::bindings::export!(Plugin with_types_in palisade_sdk::bindings);
