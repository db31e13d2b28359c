//! Tries to get out of the sandbox, or to keep something for the next call, and says honestly what came of it.
//!
//! Nothing here is specific to a sandbox: each attempt is what any program would write, so that a row that succeeds is a
//! hole and not a misunderstanding.

mod attempts;

use attempts::ATTEMPTS;
use palisade_sdk::{Content, Result, arguments, output, serde_json, tool};

/// No arguments.
#[arguments]
pub struct Nothing {}

/// One attempt.
#[output]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was tried.
    pub attempt: String,
    /// Whether it got anywhere.
    pub succeeded: bool,
    /// What it reached, or what stopped it.
    pub detail: String,
}

/// Tries everything it can think of to reach files, programs, the environment and the network, and to keep state between
/// calls. Returns a row for each attempt: in a sound sandbox none succeeds.
#[tool(title = "Try to get out", destructive, open_world)]
pub fn probe(_: Nothing) -> Result<Vec<Content>> {
    let rows: Vec<Row> = ATTEMPTS.iter().map(|(attempt, run)| row(attempt, run())).collect();
    Ok(vec![Content::Text(summary(&rows)), Content::Json(serde_json::to_string(&rows)?)])
}

/// Loops without end, and does not ask whether the caller gave up: only the host can stop it.
#[tool(title = "Loop without end", read_only)]
pub fn spin(_: Nothing) -> Result<String> {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn row(attempt: &str, outcome: attempts::Outcome) -> Row {
    let succeeded = outcome.is_ok();
    Row { attempt: attempt.to_owned(), succeeded, detail: outcome.unwrap_or_else(|stopped| stopped) }
}

fn summary(rows: &[Row]) -> String {
    format!("{} tried, {} succeeded", rows.len(), rows.iter().filter(|row| row.succeeded).count())
}

palisade_sdk::export!(probe, spin);

// The attempts themselves run in a component only: on a host most of them would succeed.
#[cfg(test)]
mod tests {
    use super::*;
    use palisade_sdk::serde_json::{Value, from_str, json};
    use std::collections::BTreeSet;

    #[test]
    fn the_summary_counts_what_was_tried_and_what_succeeded() {
        assert_eq!(summary(&[]), "0 tried, 0 succeeded");
        let rows = [row("a", Err("refused".to_owned())), row("b", Ok("3 bytes".to_owned())), row("c", Err("refused".to_owned()))];
        assert_eq!(summary(&rows), "3 tried, 1 succeeded");
    }

    #[test]
    fn a_row_says_what_was_reached_or_what_stopped_it() {
        let stopped = row("read a file", Err("not permitted".to_owned()));
        assert_eq!((stopped.succeeded, stopped.detail.as_str()), (false, "not permitted"));
        let reached = row("read a file", Ok("12 bytes".to_owned()));
        assert_eq!(serde_json::to_value(&reached).unwrap(), json!({"attempt": "read a file", "succeeded": true, "detail": "12 bytes"}));
    }

    #[test]
    fn there_are_many_attempts_and_each_has_its_own_name() {
        let names: BTreeSet<_> = ATTEMPTS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), ATTEMPTS.len());
        assert!(names.len() >= 25, "{}", names.len());
    }

    #[test]
    fn both_tools_take_no_arguments_and_their_schemas_are_closed() {
        for definition in palisade_sdk::definitions(&__palisade_tools()) {
            let schema: Value = from_str(&definition.input_schema).unwrap();
            assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)), "{}", definition.name);
            assert!(schema.get("properties").is_none_or(|p| p.as_object().unwrap().is_empty()), "{schema}");
        }
    }
}
