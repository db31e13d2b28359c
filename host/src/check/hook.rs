//! What is looked at of a hook: it has no tools, so it is told of events, some of them with hostile text, and may answer but
//! neither trap nor loop.
//!
//! A hook is no tool and no call of it passes the gate: it is asked by the gate. It is told here in instances that reach
//! nothing at all.

use super::calls::{MOST_TIME, left_out};
use super::component::Made;
use super::definitions::READINGS;
use super::generate::{Maker, Random, Style};
use super::manifest::Read;
use super::place::needs;
use super::{Finding, Review, Row, costs, counted, skip, text};
use crate::json;
use crate::sandbox::{Run, hooks};
use palisade_policy::{Capability, Limit};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Texts for each kind of event.
const TEXTS: usize = 12;

/// All rows that a hook has.
pub(super) async fn rows(review: &Review<'_>, read: &Read, made: &Made, rows: &mut Vec<Row>) {
    rows.push(text::row(read, &[]));
    let events = events(made, rows).await;
    skip(rows, &["names", "schemas", "examples"], "a hook has no tools");
    let needed: Vec<Capability> =
        read.manifest.requests.iter().filter(|request| !request.optional).map(|request| request.capability.clone()).collect();
    let mut worst = 0;
    if !needed.is_empty() {
        rows.push(Row::skipped("hostile", needs(&needed)));
    } else if events.is_empty() {
        rows.push(Row::skipped("hostile", "it hears of nothing"));
    } else {
        worst = tell(review, made, &events, rows).await;
    }
    rows.push(costs::row(made, worst).await);
}

async fn events(made: &Made, rows: &mut Vec<Row>) -> Vec<hooks::EventKind> {
    let mut first: Option<Vec<hooks::EventKind>> = None;
    let mut findings = Vec::new();
    for seed in READINGS {
        match made.prepared.events_as(seed, &made.limits).await {
            Err(failure) => {
                findings.push(Finding::error(
                    "definitions",
                    format!("its events cannot be read ({}): {}", failure.kind.name(), failure.message),
                ));
                break;
            }
            Ok(given) if first.as_ref().is_some_and(|first| *first != given) => {
                findings.push(Finding::error("unsteady", "the events it wants to hear of are not always the same"));
                break;
            }
            Ok(given) => drop(first.get_or_insert(given)),
        }
    }
    let events = first.unwrap_or_default();
    if events.is_empty() && findings.is_empty() {
        findings.push(Finding::error("no-events", "it wants to hear of nothing"));
    }
    rows.push(Row::new("definitions", format!("it hears of {}, read {} times", counted(events.len(), "kind"), READINGS.len()), findings));
    events
}

/// Tells it of events, and adds the row; the most memory that one took.
async fn tell(review: &Review<'_>, made: &Made, events: &[hooks::EventKind], rows: &mut Vec<Row>) -> usize {
    let (started, mut told, mut left, mut worst) = (Instant::now(), 0_usize, 0_usize, 0);
    let mut findings: Vec<Finding> = Vec::new();
    let mut random = Random::new(review.seed);
    for kind in events {
        for style in Style::ALL.into_iter().cycle().take(TEXTS) {
            if started.elapsed() > MOST_TIME {
                left += 1;
                continue;
            }
            let text = Maker::new(&mut random, style, made.limits.size(Limit::Arguments) / 4).text();
            let report = made.prepared.handle(Arc::new(event(*kind, &text)), &Arc::default(), &made.limits, Run::default()).await;
            told += 1;
            worst = worst.max(report.memory_peak);
            let fault = match report.result {
                Err(failure) => Some((failure.kind.name(), failure.message)),
                Ok(hooks::Answer::Replace(with)) if !json::parse(with.as_bytes()).is_ok_and(|value| value.is_object()) => {
                    Some(("answer", "it puts what is no JSON object in the place of the arguments".to_owned()))
                }
                Ok(_) => None,
            };
            if let Some((rule, what)) = fault
                && !findings.iter().any(|finding| finding.rule == rule)
            {
                findings.push(Finding::error(
                    rule,
                    format!("told of {} with {} text of {} bytes: {what}", name(*kind), style.name(), text.len()),
                ));
            }
        }
    }
    let more = left_out(left, "events");
    let mut row = Row::new("hostile", format!("told of {}, seed {}{more}", counted(told, "event"), review.seed), findings);
    row.figures.insert("events".to_owned(), told.into());
    row.figures.insert("left_out".to_owned(), left.into());
    rows.push(row);
    worst
}

fn name(kind: hooks::EventKind) -> &'static str {
    match kind {
        hooks::EventKind::SessionStart => "session-start",
        hooks::EventKind::PromptSubmit => "prompt-submit",
        hooks::EventKind::BeforeCall => "before-call",
        hooks::EventKind::AfterCall => "after-call",
        hooks::EventKind::CallDenied => "call-denied",
        hooks::EventKind::SessionEnd => "session-end",
    }
}

fn event(kind: hooks::EventKind, text: &str) -> hooks::Event {
    let text = || text.to_owned();
    let session = || hooks::Session { id: "00000000-0000-0000-0000-000000000000".to_owned(), profile: text() };
    let arguments = || Value::to_string(&json!({"text": text(), "path": text()}));
    match kind {
        hooks::EventKind::SessionStart => hooks::Event::SessionStart(session()),
        hooks::EventKind::SessionEnd => hooks::Event::SessionEnd(session()),
        hooks::EventKind::PromptSubmit => hooks::Event::PromptSubmit(text()),
        hooks::EventKind::BeforeCall => hooks::Event::BeforeCall(hooks::Call { id: "a/b".to_owned(), arguments: arguments() }),
        hooks::EventKind::AfterCall => hooks::Event::AfterCall(hooks::Ended {
            id: "a/b".to_owned(),
            outcome: hooks::Outcome::Error,
            error: Some(("tool-failed".to_owned(), text())),
            content: vec![hooks::Content::Text(text()), hooks::Content::Json(arguments())],
            duration: u64::MAX,
        }),
        hooks::EventKind::CallDenied => hooks::Event::CallDenied(hooks::Denied {
            // Of a call that was denied the id is whatever was asked for.
            id: text(),
            rule: "arguments".to_owned(),
            source: "built-in".to_owned(),
            reason: text(),
        }),
    }
}
