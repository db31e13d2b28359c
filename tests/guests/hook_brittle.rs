//! A hook that takes for granted that a text is short and plain.

use palisade_sdk::hook::{Answer, Event, EventKind};

palisade_sdk::hook!(handle, EventKind::PromptSubmit);

fn handle(event: Event) -> Answer {
    if let Event::PromptSubmit(prompt) = event {
        let mut room = [0; 64];
        // Panics where there is no room.
        room[..prompt.len()].copy_from_slice(prompt.as_bytes());
        std::hint::black_box(room);
    }
    Answer::Allow
}
