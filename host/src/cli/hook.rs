//! `palisade hook`.

use super::Context;
use palisade::hooks::Hook;
use palisade::{Error, clean};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub enum HookCommand {
    /// List the hooks, what each hears of, and why one does not run
    List,
}

pub async fn run(context: &Context, command: HookCommand) -> Result<ExitCode, Error> {
    match command {
        HookCommand::List => list(context).await,
    }
}

async fn list(context: &Context) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let hooks: Vec<Value> = host.hooks().iter().map(|hook| state(hook)).collect();
    context.out.payload(&json!({"hooks": hooks}), || {
        if hooks.is_empty() {
            return format!("no hooks: {}", palisade::session::init(host)["session_hooks"].reason);
        }
        hooks.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn state(hook: &Hook) -> Value {
    let entry = &hook.entry;
    let (source, broken) = (hook.source.as_ref(), hook.broken.as_ref());
    json!({
        "name": hook.name(),
        "kind": if entry.guard { "guard" } else { "observer" },
        "state": if broken.is_none() { "runs" } else { "broken" },
        "reason": broken.map(|error| clean::line(&error.message, clean::TEXT)),
        "remedy": broken.and_then(|error| error.hint.as_ref().map(|hint| clean::line(hint, clean::TEXT))),
        "events": hook.events.iter().map(|event| event.name()).collect::<Vec<_>>(),
        // What its entry names, and it does not want to hear of.
        "unwanted": entry.events.iter().filter(|event| !hook.events.contains(event)).map(|event| event.name()).collect::<Vec<_>>(),
        "tools": entry.tools.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "source": entry.origin().to_string(),
        "identity": source.map(|source| format!("sha256:{}", source.identity)),
        "description": source.map(|source| clean::line(&source.manifest.description, clean::TEXT)),
    })
}

fn line(hook: &Value) -> String {
    let text = |key: &str| hook[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| hook[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let mut line = format!("{}: {} of {} ({}), {}", text("name"), text("kind"), list("events"), list("tools"), text("source"));
    if hook["state"] == "broken" {
        let denies = if hook["kind"] == "guard" { "; what it guards is denied" } else { "" };
        line.push_str(&format!(": does not run: {}{denies}", text("reason")));
    }
    line
}
