//! An observer that keeps a line of JSON for every call and every denial, in the one folder it was granted.

use palisade_sdk::hook::{Answer, Event, EventKind, Outcome};
use palisade_sdk::serde_json::{Value, json};

palisade_sdk::hook!(handle, EventKind::SessionStart, EventKind::AfterCall, EventKind::CallDenied, EventKind::SessionEnd);

/// What is kept of an event; of others nothing.
fn kept(event: &Event) -> Option<Value> {
    Some(match event {
        Event::SessionStart(session) => json!({"event": "session-start", "session": session.id, "profile": session.profile}),
        Event::SessionEnd(session) => json!({"event": "session-end", "session": session.id}),
        Event::AfterCall(ended) => json!({
            "event": "call",
            "tool": ended.id,
            "outcome": match ended.outcome {
                Outcome::Ok => "ok",
                Outcome::Error => "error",
                Outcome::Limit => "limit",
            },
            "error": ended.error.as_ref().map(|(kind, _)| kind),
            "duration_us": ended.duration,
        }),
        Event::CallDenied(denied) => json!({"event": "denied", "tool": denied.id, "rule": denied.rule, "source": denied.source}),
        Event::PromptSubmit(_) | Event::BeforeCall(_) => return None,
    })
}

fn handle(event: Event) -> Answer {
    if let Some(mut line) = kept(&event) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        line["time_ms"] = json!(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        write(&format!("{line}\n"));
    }
    Answer::Allow
}

/// Appends a line in the folder that was granted, wherever it is.
#[cfg(target_arch = "wasm32")]
fn write(line: &str) {
    use palisade_sdk::bindings::palisade::plugin::host::{Level, log};
    use std::io::Write;
    let folders = wasip2::filesystem::preopens::get_directories();
    let Some((_, folder)) = folders.first() else {
        return log(Level::Error, "nothing is kept, no folder is granted: palisade plugin grant call-log fs:write:FOLDER");
    };
    let file = std::path::Path::new(folder).join("calls.jsonl");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&file);
    // One write, so that lines of calls at the same time do not mix.
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        log(Level::Error, &format!("{folder} cannot be written: {error}"));
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn write(_: &str) {}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_sdk::hook::{Call, Denied, Ended};

    #[test]
    fn a_call_is_kept_without_what_it_was_about() {
        let ended = Ended {
            id: "a/b".to_owned(),
            outcome: Outcome::Error,
            error: Some(("trap".to_owned(), "a long story".to_owned())),
            content: Vec::new(),
            duration: 12,
        };
        assert_eq!(
            kept(&Event::AfterCall(ended)).unwrap(),
            json!({"event": "call", "tool": "a/b", "outcome": "error", "error": "trap", "duration_us": 12})
        );
        let denied =
            Denied { id: "a/b".to_owned(), rule: "guard".to_owned(), source: "config.toml:1".to_owned(), reason: "it quotes".to_owned() };
        assert_eq!(
            kept(&Event::CallDenied(denied)).unwrap(),
            json!({"event": "denied", "tool": "a/b", "rule": "guard", "source": "config.toml:1"})
        );
        assert!(kept(&Event::BeforeCall(Call { id: "a/b".to_owned(), arguments: "{}".to_owned() })).is_none());
    }
}
