//! `palisade tools`.

use super::Context;
use palisade::record::Denial;
use palisade::{Error, Tool};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct ToolsArgs {
    /// Only tools with these words in id, title or description
    query: Option<String>,
    /// Also the tools that are denied, each with its rule
    #[arg(long)]
    all: bool,
}

pub async fn run(context: &Context, args: ToolsArgs) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let query = args.query.unwrap_or_default().to_lowercase();
    let fits = |tool: &Tool| {
        let text = format!("{} {} {}", tool.spec.id, tool.spec.title.as_deref().unwrap_or_default(), tool.spec.description).to_lowercase();
        query.split_whitespace().all(|word| text.contains(word))
    };
    let mut listed: Vec<(Arc<Tool>, Option<Denial>)> = Vec::new();
    for tool in host.tools().filter(|tool| fits(tool)) {
        match host.admit(tool) {
            Ok(()) => listed.push((tool.clone(), None)),
            Err(refusal) if args.all => listed.push((tool.clone(), Some(host.denial(tool.spec.id.as_str(), refusal)))),
            Err(_) => {}
        }
    }
    let document = json!({"tools": listed.iter().map(|(tool, denial)| entry(tool, denial.as_ref())).collect::<Vec<Value>>()});
    context.out.payload(&document, || {
        if listed.is_empty() {
            return empty(host);
        }
        listed.iter().map(|(tool, denial)| line(tool, denial.as_ref())).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn entry(tool: &Tool, denial: Option<&Denial>) -> Value {
    let spec = &tool.spec;
    json!({
        "id": spec.id.as_str(),
        "mcp_name": tool.mcp_name,
        "title": spec.title,
        "description": spec.description,
        "input_schema": spec.input.value(),
        "output_schema": spec.output.as_ref().map(|s| s.value()),
        "source_kind": tool.source_kind(),
        "available": denial.is_none(),
        "denial": denial,
    })
}

fn line(tool: &Tool, denial: Option<&Denial>) -> String {
    let what = palisade::clean::line(&tool.spec.description, palisade::clean::NAME);
    match denial {
        None => format!("{}: {what}", tool.spec.id),
        Some(denial) => format!("{}: {what} [denied by {} ({}): {}]", tool.spec.id, denial.rule, denial.source, denial.reason),
    }
}

/// Why there is nothing to list.
fn empty(host: &palisade::Host) -> String {
    let state = &palisade::session::init(host)["plugin_init"];
    format!("no tools; plugins: {}", state.reason)
}
