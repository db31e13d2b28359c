//! The second of two hooks that do as the text says which they hear.

const ROLE: &str = "second";

#[path = "acts/mod.rs"]
mod acts;

palisade_sdk::hook!(
    handle,
    EventKind::SessionStart,
    EventKind::PromptSubmit,
    EventKind::BeforeCall,
    EventKind::AfterCall,
    EventKind::CallDenied,
    EventKind::SessionEnd
);

use palisade_sdk::hook::{Answer, Event, EventKind};

fn handle(event: Event) -> Answer {
    acts::act(ROLE, event)
}
