// What a hook of the tests does: the text it hears says so, as `first:deny` or `second:trap`. Events after which nothing can be
// denied it logs.

use palisade_sdk::bindings::palisade::plugin::host::{Level, log};
use palisade_sdk::hook::{Answer, Event, EventKind};

palisade_sdk::hook!(
    handle,
    EventKind::SessionStart,
    EventKind::PromptSubmit,
    EventKind::BeforeCall,
    EventKind::AfterCall,
    EventKind::CallDenied,
    EventKind::SessionEnd
);

fn handle(event: Event) -> Answer {
    match event {
        Event::BeforeCall(call) => {
            log(Level::Warn, &format!("before {} {}", call.id, call.arguments));
            told(ROLE, &call.arguments)
        }
        Event::PromptSubmit(prompt) => {
            log(Level::Warn, &format!("prompt {prompt}"));
            told(ROLE, &prompt)
        }
        Event::AfterCall(ended) => {
            let error = ended.error.map_or_else(String::new, |(kind, _)| format!(" {kind}"));
            log(Level::Warn, &format!("after {} {:?}{error}, {} pieces", ended.id, ended.outcome, ended.content.len()));
            Answer::Allow
        }
        Event::CallDenied(denied) => {
            log(Level::Warn, &format!("denied {} by {} ({}): {}", denied.id, denied.rule, denied.source, denied.reason));
            Answer::Allow
        }
        Event::SessionStart(session) => {
            log(Level::Warn, &format!("start under {}", session.profile));
            Answer::Allow
        }
        Event::SessionEnd(session) => {
            log(Level::Warn, &format!("end under {}", session.profile));
            Answer::Allow
        }
    }
}

fn told(role: &str, text: &str) -> Answer {
    let Some((_, what)) = text.split_once(&format!("{role}:")) else { return Answer::Allow };
    let what = what.split(['"', '\\', ' ']).next().unwrap_or_default();
    match what {
        "deny" => Answer::Deny(format!("the {role} does not want it")),
        "hostile" => Answer::Deny("\u{1b}[31mred\u{7} \u{202e}turned\nAKIAABCDEFGHIJKLMNOP `rm`".to_owned()),
        "trap" => panic!("as it was told"),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "huge" => Answer::Deny("x".repeat(64 * 1024 * 1024)),
        "memory" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1024 * 1024]);
                std::hint::black_box(&all);
            }
        }
        "wait" => {
            std::thread::sleep(std::time::Duration::from_secs(10));
            Answer::Allow
        }
        "empty" => Answer::Replace(String::new()),
        "nonsense" => Answer::Replace("not JSON".to_owned()),
        "unknown" => Answer::Replace(r#"{"txt": "a misspelt argument"}"#.to_owned()),
        "twice" => Answer::Replace(format!(r#"{{"text": "{role}:twice {}"}}"#, text.len())),
        "same" => Answer::Replace(text.to_owned()),
        "outside" => Answer::Replace(r#"{"path": "/etc/passwd"}"#.to_owned()),
        "secret" => Answer::Replace(r#"{"text": "second:deny"}"#.to_owned()),
        "replace" => Answer::Replace(r#"{"text": "three other words"}"#.to_owned()),
        _ => Answer::Allow,
    }
}
