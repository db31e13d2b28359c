//! Names and schemas of the tools: what keeps one from being registered, and what makes it hard to use.
//!
//! What the host refuses is an error here, by the host's own checks. All else is a warning: an open schema lets a misspelt
//! argument pass unseen, and what is not described an agent has to guess.

use super::manifest::Read;
use super::{Finding, Row, counted, text};
use crate::clean;
use crate::plugins::check_definitions;
use crate::sandbox::Definition;
use crate::schema::Schema;
use palisade_policy::{ToolId, mcp_name, shell_like};
use serde_json::{Map, Value};

/// Longest description that leaves room for those of others, in bytes: an agent reads all of them before each prompt.
const LONG: usize = 2_000;
/// Most undescribed or open places that are named of one tool.
const MOST: usize = 8;

/// Adds the rows of names and of schemas; the ids of the tools that can be registered.
pub(super) fn rows(read: &Read, given: &[Definition], rows: &mut Vec<Row>) -> Vec<String> {
    let source = &read.manifest.name;
    let (mut names, mut schemas) = (Vec::new(), Vec::new());
    for (index, tool) in given.iter().enumerate() {
        names.extend(of_name(source.as_str(), tool, given[..index].iter().any(|other| other.name == tool.name)));
        schemas.extend(of_schemas(tool));
    }
    let mut refused = Vec::new();
    let registered = match check_definitions(source, given.to_vec(), ToolId::parse, &mut refused) {
        Ok(tools) => tools.iter().map(|tool| tool.id.as_str().to_owned()).collect(),
        Err(error) => {
            schemas.push(Finding::error("schema", error.message));
            Vec::new()
        }
    };
    // What the host refuses for another reason than those above.
    for broken in refused {
        let tool = broken.key.split_once('/').map_or("", |(_, tool)| tool);
        let known = |finding: &Finding| {
            finding.severity == super::Severity::Error && finding.tool.as_deref() == Some(&clean::line(tool, clean::NAME))
        };
        let dirty = given
            .iter()
            .filter(|one| one.name == tool)
            .any(|one| [Some(&one.input_schema), one.output_schema.as_ref()].into_iter().flatten().any(|schema| text::is_dirty(schema)));
        if !dirty && !names.iter().chain(&schemas).any(known) {
            schemas.push(Finding::error("schema", broken.error.message).of(tool));
        }
    }
    rows.push(Row::new("names", format!("{} of {source}", counted(given.len(), "tool")), names));
    rows.push(Row::new("schemas", format!("{} of {} can be registered", registered.len(), counted(given.len(), "tool")), schemas));
    registered
}

fn of_name(source: &str, tool: &Definition, again: bool) -> Vec<Finding> {
    let id = format!("{source}/{}", tool.name);
    let mut findings = Vec::new();
    let parsed = match ToolId::parse(&id) {
        Ok(parsed) => parsed,
        Err(error) => return vec![Finding::error("name", format!("it cannot be registered: {error}")).of(&tool.name)],
    };
    if again {
        findings.push(Finding::error("twin", "two tools have this name, and none of them is registered").of(&tool.name));
    }
    if let Some(part) = shell_like(&id) {
        let what = format!("`{part}` in {id} is the name of a shell: the shell gate denies it always, and nothing lifts that");
        findings.push(Finding::error("shell-gate", what).of(&tool.name));
    }
    let (plain, shown) = (format!("{source}__{}", tool.name), mcp_name(parsed.source(), parsed.tool()));
    if plain != shown {
        findings.push(Finding::warn("mcp-name", format!("MCP clients take 64 bytes, so they see it as {shown}")).of(&tool.name));
    }
    findings
}

fn of_schemas(tool: &Definition) -> Vec<Finding> {
    let mut findings = Vec::new();
    if tool.description.trim().is_empty() {
        findings.push(Finding::warn("described", "it has no description, and an agent chooses by that").of(&tool.name));
    } else if tool.description.len() > LONG {
        let what = format!("its description has {} bytes; above {LONG} it takes room from other tools", tool.description.len());
        findings.push(Finding::warn("long", what).of(&tool.name));
    }
    let input = Schema::parse_arguments(&tool.input_schema).and_then(|schema| schema.build().map(|()| schema));
    let output = tool.output_schema.as_deref().map(|text| Schema::parse(text).and_then(|schema| schema.build().map(|()| schema)));
    for (which, text, parsed) in [("input", Some(&tool.input_schema), Some(input)), ("output", tool.output_schema.as_ref(), output)] {
        match (text, parsed) {
            // Of a dirty one the row of texts says that, and where.
            (Some(text), Some(Err(error))) if !text::is_dirty(text) => {
                let rule = if error.message.contains("`$ref`") { "reference" } else { "schema" };
                findings.push(Finding::error(rule, format!("{which} schema: {}", error.message)).of(&tool.name));
            }
            (_, Some(Ok(schema))) => {
                let mut found = Vec::new();
                look(schema.value(), "", which == "input", 64, &mut found);
                let more = found.len().saturating_sub(MOST);
                found.truncate(MOST);
                findings
                    .extend(found.into_iter().map(|(rule, what)| Finding::warn(rule, format!("{which} schema: {what}")).of(&tool.name)));
                if more > 0 {
                    findings.push(Finding::note("more", format!("{which} schema: {more} more of this kind")).of(&tool.name));
                }
            }
            _ => {}
        }
    }
    findings
}

/// What is open or not described in a schema, and where. A result may be open: the tool itself says what is in it.
fn look(node: &Value, at: &str, closed: bool, depth: usize, found: &mut Vec<(&'static str, String)>) {
    let (Some(depth), Value::Object(map)) = (depth.checked_sub(1), node) else { return };
    let shown = |at: &str| if at.is_empty() { "the top".to_owned() } else { at.to_owned() };
    let properties = map.get("properties").and_then(Value::as_object);
    // A map says of what its values are; only what says nothing takes anything.
    let open = ["additionalProperties", "unevaluatedProperties"].iter().all(|key| matches!(map.get(*key), None | Some(Value::Bool(true))));
    if closed && is_object(map) && open {
        found.push(("open", format!("{} is open; say \"additionalProperties\": false, or a misspelt argument is ignored", shown(at))));
    }
    for (name, property) in properties.into_iter().flatten() {
        let at = format!("{at}/properties/{}", name.replace('~', "~0").replace('/', "~1"));
        let described = property.get("description").and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
        if !described {
            found.push(("described", format!("{at} has no description")));
        }
        look(property, &at, closed, depth, found);
    }
    for key in ["items", "additionalProperties", "contains", "then", "else"] {
        if let Some(below) = map.get(key) {
            // Parts of a condition speak of an object that is closed elsewhere.
            look(below, &format!("{at}/{key}"), closed && !matches!(key, "then" | "else"), depth, found);
        }
    }
    for key in ["$defs", "definitions"] {
        for (name, below) in map.get(key).and_then(Value::as_object).into_iter().flatten() {
            look(below, &format!("{at}/{key}/{name}"), closed, depth, found);
        }
    }
    for key in ["prefixItems", "anyOf", "oneOf"] {
        for (index, below) in map.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            // A branch that only narrows its parent has no type of its own.
            look(below, &format!("{at}/{key}/{index}"), closed && below.get("type").is_some(), depth, found);
        }
    }
}

fn is_object(map: &Map<String, Value>) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == "object",
        Some(Value::Array(all)) => all.iter().any(|one| one == "object"),
        _ => map.contains_key("properties"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(schema: &Value, closed: bool) -> Vec<String> {
        let mut found = Vec::new();
        look(schema, "", closed, 64, &mut found);
        found.into_iter().map(|(rule, what)| format!("{rule}: {}", what.split(' ').next().unwrap_or_default())).collect()
    }

    #[test]
    fn what_is_open_or_not_described_is_named_where_it_stands() {
        let closed = json!({"type": "object", "properties": {"a": {"type": "string", "description": "A."}}, "additionalProperties": false});
        assert_eq!(rules(&closed, true), [] as [&str; 0]);
        let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
        assert_eq!(rules(&map, true), [] as [&str; 0], "a map is no open object");
        let deep = json!({"type": "object", "additionalProperties": false, "properties": {
            "list": {"description": "L.", "type": "array", "items": {"type": "object", "properties": {"x/y": true}}}}});
        assert_eq!(rules(&deep, true), ["open: /properties/list/items", "described: /properties/list/items/properties/x~1y"]);
        assert_eq!(rules(&deep, false), ["described: /properties/list/items/properties/x~1y"]);
        assert_eq!(rules(&json!({"type": ["null", "object"]}), true), ["open: the"]);
    }

    #[test]
    fn a_branch_that_only_narrows_is_not_called_open() {
        let schema = json!({"type": "object", "additionalProperties": false, "anyOf": [{"required": ["a"]}], "then": {"properties": {}}});
        assert_eq!(rules(&schema, true), [] as [&str; 0]);
    }
}
