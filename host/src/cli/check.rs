//! `palisade plugin check`.

use super::Context;
use palisade::check::{Checked, Finding, Review, Row, SEED, Severity, Status, counted, review};
use palisade::{Error, Kind};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct CheckArgs {
    /// Its folder, or a component's file
    #[arg(value_name = "DIR|WASM", default_value = ".")]
    path: PathBuf,
    /// From which hostile arguments are made up
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
}

/// What a person named needs no profile: it runs in a place of its own, and reaches nothing real.
pub async fn run(context: &Context, args: CheckArgs) -> Result<ExitCode, Error> {
    let settings = context.settings()?;
    let progress = super::progress::Compiling::new(&context.out);
    let compiler = super::compiler();
    let mut cancelled = context.cancelled.clone();
    let asked = Review {
        settings: &settings,
        path: args.path,
        grants: &context.options.grants,
        seed: args.seed,
        compiler: &compiler,
        watcher: progress.as_ref().map(|p| p as _),
    };
    // What is dropped takes its place with it.
    let checked = tokio::select! {
        checked = review(&asked) => checked?,
        _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Error::new(Kind::Cancelled, "it was interrupted")),
    };
    drop(progress);
    context.out.payload(&checked, || table(&checked))?;
    Ok(ExitCode::from(if checked.errors == 0 { 0 } else { Kind::Manifest.exit_code() }))
}

/// A line for each row, and below it one for each finding.
fn table(checked: &Checked) -> String {
    let name = checked.name.as_deref().unwrap_or("no plugin");
    let version = checked.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    let kind = checked.kind.map(|kind| format!(", a {kind}")).unwrap_or_default();
    let mut lines = vec![format!("{name}{version}{kind}, in {}", checked.path)];
    for row in &checked.rows {
        lines.push(line(row));
        lines.extend(row.findings.iter().map(finding));
    }
    lines.push(format!("{}, {}", counted(checked.errors, "error"), counted(checked.warnings, "warning")));
    lines.join("\n")
}

fn line(row: &Row) -> String {
    let status = match row.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Error => "error",
        Status::Skipped => "skipped",
    };
    format!("{status:<8} {:<12} {}", row.name, row.summary)
}

fn finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Note => "note",
        Severity::Warn => "warn",
        Severity::Error => "error",
    };
    format!("         {severity}: {}{} [{}]", finding.place(), finding.message, finding.rule)
}
