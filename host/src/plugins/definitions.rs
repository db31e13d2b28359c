//! The tools of a component, checked one by one: a tool that is outside the rules is not registered, the others are.

use super::Quarantined;
use crate::clean;
use crate::error::{Error, Kind};
use crate::sandbox::{Definition, Hints};
use crate::schema::Schema;
use palisade_policy::{IdError, SourceName, ToolId};
use std::collections::HashMap;

/// Most tools of one source.
const TOOLS: usize = 256;
/// Most patterns in all schemas of a source: each takes some 30 kB where its validator is in use.
const PATTERNS: usize = 512;
/// Largest definition, in bytes.
const SIZE: usize = 64 * 1024;

/// A tool that can be registered. Texts are cleaned for a model.
#[derive(Debug)]
pub struct ToolSpec {
    /// Its id.
    pub id: ToolId,
    /// A short name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// The schema of its arguments.
    pub input: Schema,
    /// The schema of its result.
    pub output: Option<Schema>,
    /// What it says of itself.
    pub hints: Option<Hints>,
}

/// The grammar of an id, which for the tools of an MCP server is wider.
pub(crate) type Grammar = fn(&str) -> Result<ToolId, IdError>;

pub(crate) fn check(
    source: &SourceName,
    given: Vec<Definition>,
    grammar: Grammar,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Vec<ToolSpec>, Error> {
    if given.len() > TOOLS {
        return Err(Error::new(Kind::Schema, format!("it defines {} tools; a source has at most {TOOLS}", given.len())));
    }
    let mut count: HashMap<String, usize> = HashMap::new();
    given.iter().for_each(|definition| *count.entry(definition.name.clone()).or_default() += 1);
    let mut tools = Vec::new();
    let mut patterns = 0;
    for definition in given {
        let id = format!("{source}/{}", definition.name);
        let checked = match count[&definition.name] {
            1 => one(&id, definition, grammar, &mut patterns),
            n => Err(Error::new(Kind::Schema, format!("{source} defines {n} tools with the id {}", clean::line(&id, clean::NAME)))),
        };
        match checked {
            Ok(tool) => tools.push(tool),
            Err(error) => {
                let known = quarantined.iter().any(|q| q.key == id);
                if !known {
                    quarantined.push(Quarantined { source: clean::line(&id, clean::NAME), key: id, error });
                }
            }
        }
    }
    Ok(tools)
}

/// Most functions of a component that are named for being no tool.
const REFUSED: usize = 20;

/// What a component of another world exports that is no tool, by name and reason.
pub(super) fn refuse(source: &SourceName, refused: Vec<(String, String)>, quarantined: &mut Vec<Quarantined>) {
    let more = refused.len().saturating_sub(REFUSED);
    for (name, why) in refused.into_iter().take(REFUSED) {
        let id = format!("{source}/{name}");
        let error = Error::new(Kind::Schema, format!("the function {} is no tool: {why}", clean::line(&id, clean::NAME)));
        quarantined.push(Quarantined { source: clean::line(&id, clean::NAME), key: id, error });
    }
    if more > 0 {
        let error = Error::new(Kind::Schema, format!("{more} more functions of {source} are no tools"));
        quarantined.push(Quarantined { source: source.to_string(), key: String::new(), error });
    }
}

/// Definitions that [`check`] passed whole, of this very component.
pub(super) fn checked_before(source: &SourceName, kept: Vec<Definition>) -> Result<Vec<ToolSpec>, Error> {
    let one = |given: Definition| {
        let id = ToolId::parse(&format!("{source}/{}", given.name)).map_err(|e| Error::new(Kind::Schema, e.to_string()))?;
        let (input, output) = (Schema::checked_before(given.input_schema), given.output_schema.map(Schema::checked_before));
        Ok(ToolSpec { id, title: title(given.title), description: clean::model(&given.description), input, output, hints: given.hints })
    };
    kept.into_iter().map(one).collect()
}

fn title(given: Option<String>) -> Option<String> {
    given.map(|title| clean::line(&title, clean::NAME))
}

fn one(id: &str, given: Definition, grammar: Grammar, patterns: &mut usize) -> Result<ToolSpec, Error> {
    let Definition { name, title, description, input_schema, output_schema, hints } = given;
    let shown = clean::line(id, clean::NAME);
    let about = |error: Error| Error { message: format!("{shown}: {}", error.message), ..error };
    let id = grammar(id).map_err(|e| Error::new(Kind::Schema, format!("the tool {shown} is not registered: {e}")))?;
    let size = [&name, &description, &input_schema].into_iter().chain(&title).chain(&output_schema).map(String::len).sum::<usize>();
    if size > SIZE {
        return Err(about(Error::new(Kind::Schema, format!("its definition has {size} bytes; at most {SIZE} are read"))));
    }
    let input = Schema::parse_arguments(&input_schema).and_then(|schema| schema.build().map(|()| schema)).map_err(about)?;
    let output = output_schema.as_deref().map(Schema::parse).transpose().map_err(about)?;
    let more = input.patterns() + output.as_ref().map_or(0, Schema::patterns);
    if *patterns + more > PATTERNS {
        return Err(about(Error::new(Kind::Schema, format!("the schemas of its source have more than {PATTERNS} patterns"))));
    }
    *patterns += more;
    // What was built to check it is built again when the first call needs it.
    let (input, output) = (Schema::checked_before(input_schema), output_schema.map(Schema::checked_before));
    Ok(ToolSpec { id, title: self::title(title), description: clean::model(&description), input, output, hints })
}
