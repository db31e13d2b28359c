//! Calls: of each tool's own examples, and with arguments that nobody sends.
//!
//! The rule it keeps: each goes through the one path, and no more of them are made than there is time for. A tool may answer
//! with an error of its own to whatever it gets; it may neither trap nor loop nor grow.

use super::generate::{Maker, Random, Style};
use super::place::needs;
use super::{Finding, Review, Row, skip, spoil};
use crate::error::{Error, Kind};
use crate::host::{Host, ToolCall};
use crate::record::{CallRecord, Outcome};
use crate::registry::Tool;
use crate::sandbox::{Content, Run};
use crate::{clean, json};
use palisade_policy::{Limit, Rule, Verdict};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time for all calls of a review.
pub(super) const MOST_TIME: Duration = Duration::from_secs(60);
/// Sets of right arguments in each style.
const OF_STYLE: usize = 3;
/// Wrong arguments for each tool.
const WRONG: usize = 12;
/// Most of arguments that are quoted.
const QUOTED: usize = 120;
/// Sizes of what is long or wide, of which the last is as large as a call may be: at most so many bytes.
const SIZES: [usize; OF_STYLE] = [4 << 10, 64 << 10, 1 << 20];

/// A call that is to be made.
struct Case {
    kind: &'static str,
    arguments: Arc<[u8]>,
    right: bool,
}

/// What was counted.
#[derive(Default)]
struct Counts {
    calls: usize,
    answered: usize,
    refused: usize,
    left: usize,
    worst: u64,
}

/// Adds the rows of examples and hostile arguments; the most memory that a call took.
pub(super) async fn rows(review: &Review<'_>, host: &Host, rows: &mut Vec<Row>) -> usize {
    let started = Instant::now();
    let Some(plugin) = host.plugins().first() else {
        let why = host.quarantined().first().map_or_else(String::new, |broken| broken.error.message.clone());
        rows.push(Row::new("examples", "it cannot be loaded", vec![Finding::error("load", why)]));
        rows.push(Row::skipped("hostile", "it cannot be loaded"));
        return 0;
    };
    let missing = &plugin.effective.missing;
    if !missing.is_empty() {
        skip(rows, &["examples", "hostile"], &needs(missing));
        return 0;
    }
    let (tools, held): (Vec<&Arc<Tool>>, Vec<&Arc<Tool>>) = host.tools().partition(|tool| host.admit(tool).is_ok());
    let why = |tool: &Arc<Tool>| host.admit(tool).err().map_or("grant", |refusal| refusal.rule.name());
    let denied: Vec<String> = held.iter().map(|tool| format!("{} is denied by {}", tool.spec.id, why(tool))).collect();
    if tools.is_empty() {
        skip(rows, &["examples", "hostile"], &denied.join(", "));
        return 0;
    }
    let absent: Vec<String> = plugin.effective.absent.iter().map(ToString::to_string).collect();
    let without = if absent.is_empty() { String::new() } else { format!(", without the optional {}", absent.join(", ")) };
    let notes = || denied.iter().map(|one| Finding::note("not-called", one)).collect::<Vec<_>>();

    let (mut counts, mut findings) = (Counts::default(), notes());
    for tool in &tools {
        examples(host, tool, started, &mut counts, &mut findings).await;
    }
    let summary = match counts.calls + counts.left {
        0 => "no tool has `examples` in the schema of its arguments".to_owned(),
        _ => format!("{} of {} answered{}{without}", counts.answered, counts.calls, left_out(counts.left, "examples")),
    };
    let mut row = Row::new("examples", summary, findings);
    row.figures.insert("calls".to_owned(), counts.calls.into());
    rows.push(row);

    let (worst, mut findings) = (counts.worst, notes());
    counts = Counts { worst, ..Counts::default() };
    for tool in &tools {
        hostile(review, host, tool, started, &mut counts, &mut findings).await;
    }
    let summary = format!(
        "{} calls, seed {}: {} answered, {} refused before they ran{}{without}",
        counts.calls,
        review.seed,
        counts.answered,
        counts.refused,
        left_out(counts.left, "calls")
    );
    let mut row = Row::new("hostile", summary, findings);
    for (key, value) in [("calls", counts.calls), ("answered", counts.answered), ("refused", counts.refused), ("left_out", counts.left)] {
        row.figures.insert(key.to_owned(), value.into());
    }
    rows.push(row);
    usize::try_from(counts.worst).unwrap_or(usize::MAX)
}

/// How a summary says what was not done.
pub(super) fn left_out(left: usize, what: &str) -> String {
    if left == 0 { String::new() } else { format!(", {left} {what} left out") }
}

async fn call(host: &Host, tool: &Tool, arguments: Arc<[u8]>, counts: &mut Counts) -> Result<CallRecord, Error> {
    let call = ToolCall { id: tool.spec.id.as_str().to_owned(), arguments };
    let record = host.call(call, Verdict::pass(), Run::default(), |_| {}).await?;
    counts.calls += 1;
    counts.worst = counts.worst.max(record.stats.memory_peak_bytes);
    match record.outcome {
        Outcome::Ok => counts.answered += 1,
        Outcome::Denied => counts.refused += 1,
        Outcome::Error if record.error.as_ref().is_some_and(|error| error.kind == Kind::ToolFailed) => counts.answered += 1,
        Outcome::Error | Outcome::Limit => {}
    }
    Ok(record)
}

/// The tool's own examples, each of which it has to answer.
async fn examples(host: &Host, tool: &Tool, started: Instant, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let name = tool.spec.id.tool();
    let given = tool.spec.input.value().get("examples").and_then(Value::as_array);
    for (index, example) in given.into_iter().flatten().enumerate() {
        if started.elapsed() > MOST_TIME {
            counts.left += 1;
            continue;
        }
        let written = example.to_string();
        let number = index + 1;
        if let Err(why) = tool.spec.input.validate(example, written.len()) {
            let what = format!("its example {number} is not valid against its own schema: {why}");
            findings.push(Finding::error("example-arguments", what).of(name));
            continue;
        }
        match call(host, tool, written.as_bytes().into(), counts).await {
            Err(error) => findings.push(Finding::error("example-fails", format!("its example {number}: {}", error.message)).of(name)),
            Ok(record) if record.outcome == Outcome::Ok => findings.extend(output(tool, &record, &format!("its example {number}"))),
            Ok(record) => {
                let why = record.error.map(|error| format!("{}: {}", error.kind.name(), error.message));
                let why = why.or(record.denial.map(|denial| denial.reason)).unwrap_or_default();
                findings.push(Finding::error("example-fails", format!("its example {number} is not answered: {why}")).of(name));
            }
        }
    }
}

/// What is wrong with a result: it is not what the tool says of it.
fn output(tool: &Tool, record: &CallRecord, of: &str) -> Option<Finding> {
    let schema = tool.spec.output.as_ref()?;
    let name = tool.spec.id.tool();
    let mut documents = record.content.iter().filter_map(|content| match content {
        Content::Json(json) => Some(json.get()),
        _ => None,
    });
    let Some(document) = documents.next() else {
        return Some(Finding::error("output", format!("{of} is answered without the JSON that its output schema speaks of")).of(name));
    };
    let value: Value = serde_json::from_str(document).unwrap_or_default();
    let why = schema.validate(&value, document.len()).err()?;
    Some(Finding::error("output", format!("the answer to {of} is not valid against its output schema: {why}")).of(name))
}

/// Arguments that are made up, right ones and wrong ones.
fn cases(tool: &Tool, seed: u64) -> Vec<Case> {
    let schema = tool.spec.input.value();
    let room = tool.provider.limits().size(Limit::Arguments);
    // Of each tool the same, whatever other tools there are.
    let salt = tool.spec.id.tool().bytes().fold(seed, |salt, byte| salt.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Random::new(salt);
    let valid =
        |bytes: &[u8]| bytes.len() <= room && json::parse(bytes).and_then(|value| tool.spec.input.validate(&value, bytes.len())).is_ok();
    let mut cases: Vec<Case> = Vec::new();
    let mut plain = Value::Null;
    for style in Style::ALL {
        for size in SIZES {
            // Keys, quotes and escapes come on top.
            let size = size.min(room / 2);
            let made = Maker::new(&mut random, style, size).value(schema, schema);
            let [bytes, _, escaped] = spoil::writings(&made);
            let bytes = if random.below(4) == 0 { escaped } else { bytes };
            if !valid(&bytes) || cases.iter().any(|case| *case.arguments == *bytes) {
                continue;
            }
            if plain.is_null() {
                plain = made;
            }
            cases.push(Case { kind: style.name(), arguments: bytes.into(), right: true });
        }
    }
    let values = spoil::values(schema, schema, &plain, &mut random).into_iter().map(|(kind, value)| (kind, value.to_string().into_bytes()));
    let mut wrong: Vec<_> = values.chain(spoil::bytes(&plain, &mut random)).filter(|(_, bytes)| !valid(bytes)).collect();
    for _ in 0..WRONG.min(wrong.len()) {
        let (kind, bytes) = wrong.swap_remove(random.below(wrong.len()));
        cases.push(Case { kind, arguments: bytes.into(), right: false });
    }
    cases
}

async fn hostile(review: &Review<'_>, host: &Host, tool: &Tool, started: Instant, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let name = tool.spec.id.tool();
    if started.elapsed() > MOST_TIME {
        // To make them takes its time too, where a schema is slow to check.
        counts.left += Style::ALL.len() * OF_STYLE + WRONG;
        return;
    }
    let cases = cases(tool, review.seed);
    let all = cases.len();
    for (index, case) in cases.into_iter().enumerate() {
        if started.elapsed() > MOST_TIME {
            counts.left += all - index;
            return;
        }
        let record = match call(host, tool, case.arguments.clone(), counts).await {
            Ok(record) => record,
            // Too many of its operations on files never ended, or the host itself failed.
            Err(error) => {
                findings.push(Finding::error(error.kind.name(), error.message).of(name));
                counts.left += all - index - 1;
                return;
            }
        };
        let denied = record.denial.as_ref().map(|denial| denial.rule.as_str());
        let fault = match (record.outcome, denied, &record.error) {
            (Outcome::Denied, Some(rule), _) if !case.right && rule == Rule::Arguments.name() => None,
            (Outcome::Denied, rule, _) => Some(("arguments", format!("they are denied by {}", rule.unwrap_or("nothing")))),
            (_, _, Some(error)) if error.kind == Kind::ToolFailed => None,
            (_, _, Some(error)) => Some((error.kind.name(), error.message.clone())),
            (_, _, None) if !case.right => Some(("arguments", "wrong arguments reached the component".to_owned())),
            (_, _, None) => output(tool, &record, "this call").map(|finding| (finding.rule, finding.message)),
        };
        let Some((rule, what)) = fault else { continue };
        if !findings.iter().any(|finding| finding.rule == rule && finding.tool.as_deref() == Some(name)) {
            let written = String::from_utf8_lossy(&case.arguments[..case.arguments.len().min(4 * QUOTED)]).into_owned();
            let what = format!("{what}; with {} arguments of {} bytes: {}", case.kind, case.arguments.len(), clean::line(&written, QUOTED));
            findings.push(Finding::error(rule, what).of(name));
        }
        if rule == Kind::LimitTime.name() {
            // The others would take as long.
            counts.left += all - index - 1;
            return;
        }
    }
}
