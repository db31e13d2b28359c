//! `palisade explain`.

use super::Context;
use palisade::policy::{Rule, StepVerdict};
use palisade::{Error, clean, redact};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct ExplainArgs {
    /// The tool, as source/tool
    id: String,
    /// Arguments to check as well
    json: Option<String>,
}

pub async fn run(context: &Context, args: ExplainArgs) -> Result<ExitCode, Error> {
    let host = context.one_shot(args.id.split_once('/').map(|(source, _)| source)).await?;
    let explained = host.explain(&args.id, args.json.as_deref().map(str::as_bytes))?;
    let allowed = explained.refusal.is_none();
    let remedy = explained.refusal.as_ref().and_then(|r| r.remedy.clone());
    let clean = |text: &str| redact::line(text, clean::TEXT);
    let steps: Vec<Value> = explained
        .steps
        .iter()
        .map(|s| json!({"rule": s.rule.name(), "verdict": s.verdict.name(), "source": clean(&s.source.to_string()), "reason": clean(&s.reason)}))
        .collect();
    let verdict = if allowed { "allow" } else { "deny" };
    context.out.payload(&json!({"tool": explained.tool, "verdict": verdict, "steps": steps, "remedy": remedy}), || {
        let mark = |verdict| match verdict {
            StepVerdict::Pass => "✓",
            StepVerdict::Deny => "✗",
            StepVerdict::Skipped => "-",
        };
        let mut lines = vec![format!("{}: {verdict}", explained.tool)];
        lines.extend(
            explained
                .steps
                .iter()
                .map(|s| format!("{} {} ({}): {}", mark(s.verdict), s.rule, clean(&s.source.to_string()), clean(&s.reason))),
        );
        match (allowed, &remedy) {
            (true, _) => {}
            (false, Some(remedy)) => lines.push(format!("to allow it: {remedy}")),
            // The caller mends its own arguments.
            (false, None) if explained.refusal.as_ref().is_some_and(|r| r.rule == Rule::Arguments) => {}
            (false, None) => lines.push("nothing allows it".to_owned()),
        }
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
