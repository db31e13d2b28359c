//! What a component says its tools are, to what is registered.
//!
//! The input is definitions with a line `===` between, each of up to five fields with a line `---` between: name, description,
//! schema of the arguments, schema of the result, title. So any bytes are definitions, and a seed is text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::fuzzing;
use palisade::policy::{SourceName, ToolId};
use palisade::sandbox::Definition;
use palisade_fuzz::{assert_clean, hides};
use std::collections::HashSet;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let given: Vec<Definition> = text.split("\n===\n").map(definition).collect();
    let source = SourceName::parse("fuzzed").unwrap();
    let (count, names) = (given.len(), given.iter().map(|d| d.name.clone()).collect::<HashSet<_>>());
    let (tools, refused) = match fuzzing::definitions(&source, given) {
        Ok(both) => both,
        Err(error) => {
            assert!(count > 256);
            return assert_clean(&error);
        }
    };
    assert!(count <= 256 && tools.len() + refused.len() == names.len(), "each name is registered once or refused once");
    let mut ids = HashSet::new();
    for tool in &tools {
        assert_eq!(ToolId::parse(tool.id.as_str()).as_ref(), Ok(&tool.id));
        assert_eq!(tool.id.source(), source.as_str());
        assert!(names.contains(tool.id.tool()) && ids.insert(tool.id.as_str()));
        let schemas = [Some(&tool.input), tool.output.as_ref()].into_iter().flatten();
        let texts = schemas.map(|schema| schema.value().to_string()).chain([tool.description.clone()]).chain(tool.title.clone());
        for text in texts {
            assert!(text.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || hides(c))), "{text:?}");
            assert!(text.len() <= 2 * 64 * 1024);
        }
        assert!(tool.title.as_ref().is_none_or(|title| title.chars().count() <= 201 && !title.contains(['\n', '\t'])));
        assert_eq!(tool.input.value()["type"], "object");
        // It was built before it was registered.
        assert_eq!(tool.input.build(), Ok(()));
        let _ = tool.input.validate(&serde_json::json!({}), 2);
    }
    for refused in &refused {
        assert_clean(&refused.error);
        assert!(!refused.source.chars().any(|c| c.is_control() || hides(c)));
        assert!(!ids.contains(refused.key.as_str()));
    }
});

fn definition(text: &str) -> Definition {
    let mut fields = text.split("\n---\n").map(str::to_owned);
    Definition {
        name: fields.next().unwrap_or_default(),
        description: fields.next().unwrap_or_default(),
        input_schema: fields.next().unwrap_or_else(|| r#"{"type":"object"}"#.to_owned()),
        output_schema: fields.next().filter(|schema| !schema.is_empty()),
        title: fields.next(),
        hints: None,
    }
}
