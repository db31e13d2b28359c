//! `palisade hook`.

use super::Context;
use palisade::hooks::{Foreign, Hook, NOT_ALLOWED, Refused, read_foreign};
use palisade::{Error, clean};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub enum HookCommand {
    /// List the hooks, what each hears of, and why one does not run
    List {
        /// List the entries of a hooks.json instead, or of the one in a folder: what each means here, and what would allow it
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
    },
}

pub async fn run(context: &Context, command: HookCommand) -> Result<ExitCode, Error> {
    match command {
        HookCommand::List { from: None } => list(context).await,
        HookCommand::List { from: Some(path) } => foreign(context, &path),
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

fn foreign(context: &Context, path: &Path) -> Result<ExitCode, Error> {
    let entries: Vec<Value> = read_foreign(path)?.iter().map(meaning).collect();
    context.out.payload(&json!({"entries": entries}), || {
        if entries.is_empty() {
            return "it has no entries".to_owned();
        }
        entries.iter().map(entry_line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// An entry of a `hooks.json`, and what it means here. Text from outside, cleaned.
fn meaning(entry: &Foreign) -> Value {
    let shown = |text: &str| clean::line(text, clean::TEXT);
    let (state, reason) = match &entry.meaning {
        Ok(_) => ("mapped", NOT_ALLOWED.to_owned()),
        Err(Refused::Because(why)) => ("refused", shown(why)),
        Err(Refused::Unknown(why)) => ("unknown", shown(why)),
    };
    let meaning = entry.meaning.as_ref().ok();
    json!({
        "event": shown(&entry.event),
        "matcher": entry.matcher.as_deref().map(shown),
        "command": shown(&entry.command),
        "state": state,
        "reason": reason,
        "means": meaning.map(|meaning| json!({
            "kind": if meaning.is_guard() { "guard" } else { "observer" },
            "event": meaning.event.name(),
            "tools": meaning.tools.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
        // As it has to stand in the config, so not cut.
        "argv": meaning.map(|meaning| meaning.argv.iter().map(|word| clean::model(word)).collect::<Vec<_>>()),
        "digest": meaning.and_then(|meaning| meaning.digest.as_ref().ok()).map(|digest| format!("sha256:{digest}")),
    })
}

fn entry_line(entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let line = format!("{} {}: {}: {}", text("event"), text("matcher"), text("command"), text("state"));
    match entry["means"].as_object() {
        None => format!("{line}: {}", text("reason")),
        Some(means) => {
            let argv = clean::line(&entry["argv"].to_string(), clean::TEXT);
            let (kind, event) = (means["kind"].as_str().unwrap_or_default(), means["event"].as_str().unwrap_or_default());
            let digest = entry["digest"].as_str().unwrap_or("a file that it names cannot be read");
            format!("{line} as a {kind} of {event}; refused until your config has allow = [{{ argv = {argv}, digest = \"{digest}\" }}]")
        }
    }
}

fn state(hook: &Hook) -> Value {
    let entry = &hook.entry;
    let (source, broken) = (hook.source.as_ref(), hook.broken.as_ref());
    json!({
        "name": hook.name(),
        "kind": if entry.guard { "guard" } else { "observer" },
        "state": match (broken, &hook.foreign) {
            (None, _) => "runs",
            // Nobody allowed it, so it guards nothing.
            (Some(_), Some(_)) if hook.events.is_empty() => "refused",
            (Some(_), _) => "broken",
        },
        "entry": hook.foreign.as_ref().map(meaning),
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
    if hook["state"] == "refused" {
        return format!("{}, {}", entry_line(&hook["entry"]), text("source"));
    }
    if hook["state"] == "broken" {
        let denies = if hook["kind"] == "guard" { "; what it guards is denied" } else { "" };
        line.push_str(&format!(": does not run: {}{denies}", text("reason")));
    }
    line
}
