//! Tools that the protocol's conformance suite calls, as far as something in a sandbox can offer them.

#![allow(unsafe_code, missing_docs, dead_code)]

use palisade_sdk::bindings::exports::palisade::plugin::tools::Guest;
use palisade_sdk::bindings::palisade::plugin::types::{Blob, Content, ToolDefinition, ToolError};
use palisade_sdk::{Level, log, progress};
use std::time::Duration;

const NOTHING: &str = r#"{"type":"object","additionalProperties":false}"#;
/// A parameter that a client repeats in a header, so that what stands between can route by it.
const ROUTED: &str = r#"{
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
    "additionalProperties": false
}"#;
/// Word for word what the suite looks for.
const SCHEMA: &str = r##"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"}
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": false
}"##;

/// One red pixel.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cc\xf8\xcf\xc0\0\0\x03\x01\x01\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82";
/// One sample of silence.
const WAV: &[u8] = b"RIFF&\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\x02\0\0\0\0\0";

/// Longer than the host waits between two reports, or it would drop one.
const STEP: Duration = Duration::from_millis(150);

struct Plugin;

fn tool(name: &str, description: &str, schema: &str) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        title: None,
        description: description.to_owned(),
        input_schema: schema.to_owned(),
        output_schema: None,
        annotations: None,
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn blob(mime: &str, data: &[u8]) -> Content {
    Content::Blob(Blob { mime: mime.to_owned(), data: data.to_vec() })
}

impl Guest for Plugin {
    fn definitions() -> Vec<ToolDefinition> {
        vec![
            tool("test_simple_text", "Gives back a text.", NOTHING),
            tool("test_image_content", "Gives back an image.", NOTHING),
            tool("test_audio_content", "Gives back a sound.", NOTHING),
            tool("test_embedded_resource", "Gives back a resource.", NOTHING),
            tool("test_multiple_content_types", "Gives back a text, an image and a resource.", NOTHING),
            tool("test_error_handling", "Fails.", NOTHING),
            tool("test_tool_with_progress", "Reports that it goes on.", NOTHING),
            tool("test_logging_tool", "Writes to the operator's log.", NOTHING),
            tool("test_streaming_elicitation", "Answers on a stream, and asks nothing.", NOTHING),
            tool("test_region_header", "Gives back its one argument.", ROUTED),
            tool("json_schema_2020_12_tool", "Has a schema with much of the vocabulary.", SCHEMA),
        ]
    }

    fn call(name: String, arguments: String) -> Result<Vec<Content>, ToolError> {
        Ok(match name.as_str() {
            "test_simple_text" => vec![text("This is a simple text response for testing.")],
            "test_image_content" => vec![blob("image/png", PNG)],
            "test_audio_content" => vec![blob("audio/wav", WAV)],
            "test_embedded_resource" => vec![blob("text/plain", b"This is an embedded resource content.")],
            "test_multiple_content_types" => {
                let json = br#"{"test":"data","value":123}"#;
                vec![text("Multiple content types test:"), blob("image/png", PNG), blob("application/json", json)]
            }
            "test_error_handling" => {
                return Err(ToolError { message: "This tool intentionally returns an error for testing".to_owned() });
            }
            "test_tool_with_progress" | "test_streaming_elicitation" => {
                for done in [0.0, 50.0, 100.0] {
                    progress(done, Some(100.0), "working");
                    std::thread::sleep(STEP);
                }
                vec![text("done")]
            }
            "test_logging_tool" => {
                log(Level::Info, "for the operator");
                vec![text("logged")]
            }
            _ => vec![Content::Text(arguments)],
        })
    }
}

#[cfg(target_arch = "wasm32")]
palisade_sdk::bindings::export!(Plugin with_types_in palisade_sdk::bindings);
