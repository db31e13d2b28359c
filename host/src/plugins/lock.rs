//! What a plugin is, as a lock file holds it: written, and compared.

use super::{Plugin, ToolSpec};
use crate::config::{Locked, hex};
use palisade_policy::Origin;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// How a plugin differs from what the lock says of its name, and where that stands.
pub(crate) fn difference(lock: &[Locked], plugin: &Plugin, tools: &[ToolSpec]) -> Option<(Origin, String)> {
    let name = plugin.manifest.name.as_str();
    let locked = lock.iter().find(|one| one.name == name)?;
    let facts = Facts::of(plugin, tools);
    let differs = |what: &str| Some((locked.origin.clone(), format!("{what} of {name} is not what palisade.lock says")));
    match locked {
        one if one.identity != plugin.identity => {
            let what = format!("{name} is sha256:{}, and palisade.lock says sha256:{}", plugin.identity, one.identity);
            Some((one.origin.clone(), what))
        }
        one if one.version != plugin.manifest.version.to_string() => differs("the version"),
        one if one.imports != facts.imports => differs("an import"),
        one if one.tools != facts.tools => differs("a tool"),
        one if one.schemas != facts.schemas => differs("a schema"),
        _ => None,
    }
}

/// The lock file for these plugins, each with its tools.
#[must_use]
pub fn write_lock<'p>(plugins: impl Iterator<Item = (&'p Plugin, Vec<&'p ToolSpec>)>) -> String {
    let mut text = "# What these plugins are. It can only deny: a plugin of one of these names that differs is not called.\n".to_owned();
    // A text in JSON is one in TOML too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |texts: &[String]| format!("[{}]", texts.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "));
    for (plugin, tools) in plugins {
        let facts = Facts::of(plugin, tools);
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "\n[[plugin]]\nname = {}\nversion = {}\nidentity = \"sha256:{}\"\nimports = {}\ntools = {}\nschemas = {}\n",
            quoted(plugin.manifest.name.as_str()),
            quoted(&plugin.manifest.version.to_string()),
            plugin.identity,
            list(&facts.imports),
            list(&facts.tools),
            quoted(&facts.schemas)
        );
    }
    text
}

struct Facts {
    imports: Vec<String>,
    tools: Vec<String>,
    schemas: String,
}

impl Facts {
    fn of<'t>(plugin: &Plugin, tools: impl IntoIterator<Item = &'t ToolSpec>) -> Self {
        let mut tools: Vec<&ToolSpec> = tools.into_iter().collect();
        tools.sort_by(|a, b| a.id.cmp(&b.id));
        let mut schemas = Sha256::new();
        for tool in &tools {
            for text in [Some(tool.input.text()), tool.output.as_ref().map(crate::Schema::text)] {
                // With its length, so that no byte can move from one to the next.
                schemas.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
                schemas.update(text.unwrap_or_default());
            }
        }
        let mut imports = plugin.component.imports();
        imports.sort();
        let tools = tools.into_iter().map(|tool| tool.id.tool().to_owned()).collect();
        Self { imports, tools, schemas: format!("sha256:{}", hex(&schemas.finalize())) }
    }
}
