//! The lanes: how an authorized call runs, and what is recorded of it.

use crate::error::Kind;
use crate::record::{CallError, CallRecord, Outcome, Stats};
use crate::registry::{Provider, Tool};
use crate::sandbox::{Content, Refused, Run, Spent};
use crate::{clean, redact};
use palisade_policy::{Authorized, Limit};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The only function that runs a tool. It reads nothing but what the authorized call holds. What is left of an instance comes with
/// the record: whoever drops it ends it.
pub(crate) async fn dispatch(
    authorized: Authorized<'_, &Arc<Tool>>,
    run: Run,
    start: Instant,
    gate: Duration,
) -> (CallRecord, Vec<Refused>, Option<Spent>) {
    let (tool, arguments) = authorized.consume();
    let limits = tool.provider.limits();
    // What the gate took to validate is part of the call's time.
    let time = limits.time(Limit::Time).saturating_sub(gate);
    let report = match &tool.provider {
        Provider::Plugin(plugin) => plugin.component.call(tool.spec.id.tool(), arguments, &plugin.reach, limits, time, run).await,
        // On its own: what it keeps while it waits is much, and is moved about with every call of a plugin.
        Provider::Server(server) => Box::pin(server.call(tool.spec.id.tool(), &arguments, time, run)).await,
    };
    let (content, error) = match report.result {
        Ok(content) => (content.into_iter().map(cleaned).collect(), None),
        Err(failure) => {
            (Vec::new(), Some(CallError { kind: failure.kind, message: redact::text(&clean::model(&failure.message)).into_owned() }))
        }
    };
    let outcome = match error.as_ref().map(|e| e.kind) {
        None => Outcome::Ok,
        Some(Kind::LimitTime | Kind::LimitMemory | Kind::LimitOutput | Kind::LimitCalls | Kind::Cancelled) => Outcome::Limit,
        Some(_) => Outcome::Error,
    };
    let record = CallRecord {
        tool: tool.spec.id.as_str().to_owned(),
        lane: tool.provider.lane(),
        outcome,
        content,
        error,
        denial: None,
        stats: stats(tool.provider.lane(), start.elapsed(), gate, report.memory_peak),
        log: report.log,
        log_dropped: report.log_dropped,
        absent: Vec::new(),
        unrecorded: None,
        refused: Vec::new(),
        told: Vec::new(),
    };
    (record, report.refused, report.spent)
}

fn cleaned(content: Content) -> Content {
    match content {
        Content::Text(text) => Content::Text(clean::model_owned(text)),
        Content::Json(json) => Content::Json(clean::json(json)),
        Content::Blob { mime, data } => Content::Blob { mime: clean::line(&mime, clean::NAME), data },
    }
}

pub(crate) fn stats(lane: &str, duration: Duration, gate: Duration, memory: usize) -> Stats {
    let micros = |time: Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
    Stats {
        duration_us: micros(duration),
        gate_us: micros(gate),
        memory_peak_bytes: memory as u64,
        instance: if lane == "mcp" { "shared" } else { "fresh" },
    }
}
