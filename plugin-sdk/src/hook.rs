//! Write a hook: a component that is told what happens around the calls of an agent.
//!
//! ```
//! use palisade_sdk::hook::{Answer, Event, EventKind};
//!
//! fn handle(event: Event) -> Answer {
//!     match event {
//!         Event::BeforeCall(call) if call.arguments.contains("/etc/") => Answer::Deny("it asks for the system's files".into()),
//!         _ => Answer::Allow,
//!     }
//! }
//!
//! palisade_sdk::hook!(handle, EventKind::BeforeCall);
//! # fn main() {
//! # use palisade_sdk::hook::Call;
//! # let call = |arguments: &str| Event::BeforeCall(Call { id: "a/b".into(), arguments: arguments.into() });
//! # assert!(matches!(handle(call(r#"{"path": "/etc/passwd"}"#)), Answer::Deny(_)));
//! # assert!(matches!(handle(call("{}")), Answer::Allow));
//! # }
//! ```
//!
//! The user's config names it under `[[hooks]]`, says whether it is a guard, whose answer counts, or an observer, and of which
//! events and tools it hears. A guard that traps, takes longer than a second, or cannot be loaded denies what it guards.
//!
//! Of what it logs the operator sees warnings and errors, and of what it denies the reason; what either quotes is shown.
//!
//! Every event gets a fresh instance: a `static` is never seen twice.

pub use bindings::exports::palisade::plugin::hooks::{Answer, Call, Denied, Ended, Event, EventKind, Outcome, Session};

#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "hook",
        pub_export_macro: true,
        default_bindings_module: "palisade_sdk::hook::bindings",
        with: {
            "palisade:plugin/types@0.1.0": crate::bindings::palisade::plugin::types,
            "palisade:plugin/host@0.1.0": crate::bindings::palisade::plugin::host,
            "palisade:plugin/store@0.1.0": crate::bindings::palisade::plugin::store,
        },
    });
}

/// Exports a hook: a function from [`Event`](crate::hook::Event) to [`Answer`](crate::hook::Answer), and the kinds of event it
/// wants to hear of. Once in a crate, at its root.
#[macro_export]
macro_rules! hook {
    ($handle:path, $($event:expr),+ $(,)?) => {
        const _: (fn($crate::hook::Event) -> $crate::hook::Answer, &[$crate::hook::EventKind]) = ($handle, &[$($event),+]);

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs)]
        mod __palisade_hook {
            use super::*;
            struct Hook;
            impl $crate::hook::bindings::exports::palisade::plugin::hooks::Guest for Hook {
                fn events() -> ::std::vec::Vec<$crate::hook::EventKind> {
                    ::std::vec![$($event),+]
                }
                fn handle(event: $crate::hook::Event) -> $crate::hook::Answer {
                    $handle(event)
                }
            }
            $crate::hook::bindings::export!(Hook with_types_in $crate::hook::bindings);
        }
    };
}
