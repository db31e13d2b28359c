//! What several guards together say to one call.
//!
//! The rule it keeps: any deny wins, and so does any failure. A guard of the user's own may put other arguments in the place
//! of those it was asked about; then everything is asked again about the new ones, every guard included, and whoever would
//! replace them a second time denies. So the bytes that run are bytes that every guard allowed.
//!
//! ```
//! use palisade_policy::{Asked, Origin, Round, Said};
//! let mut round = Round::first();
//! round.hear(&Asked { name: "redact", origin: &Origin::Code, may_replace: true }, b"{\"a\":1}", Said::Replace(b"{}".as_slice().into())).unwrap();
//! let (again, arguments) = round.ended().unwrap();
//! assert_eq!(&arguments[..], b"{}");
//! # let mut round = again;
//! round.hear(&Asked { name: "redact", origin: &Origin::Code, may_replace: true }, b"{}", Said::Allow).unwrap();
//! assert!(round.ended().is_none());
//! ```

use crate::{Origin, ToolId, Verdict, check_source_part};
use std::fmt;
use std::sync::Arc;

/// The ids a hook hears of: one tool, all of one source, or every tool. Letter case does not count, as in a deny list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdPattern {
    /// `*`.
    All,
    /// `source/*`, in small letters.
    Source(String),
    /// `source/tool`, in small letters.
    Tool(String),
}

impl IdPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it can match no tool.
    pub fn parse(written: &str) -> Result<Self, String> {
        if written == "*" {
            return Ok(Self::All);
        }
        let refuse = || format!("`{written}` is none of `*`, `source/*` and `source/tool`");
        match written.split_once('/') {
            Some((source, "*")) => {
                let source = source.to_ascii_lowercase();
                check_source_part(&source).map_err(|_| refuse())?;
                Ok(Self::Source(source))
            }
            // The tool of an external server keeps its spelling, so only its source has to be a name.
            Some((source, tool)) => {
                let id = format!("{}/{tool}", source.to_ascii_lowercase());
                ToolId::parse_mcp(&id).map_err(|_| refuse())?;
                Ok(Self::Tool(id.to_ascii_lowercase()))
            }
            None => Err(refuse()),
        }
    }

    /// Whether it matches an id, of a tool or of what somebody took for one.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Source(source) => id.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(source)),
            Self::Tool(tool) => id.eq_ignore_ascii_case(tool),
        }
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Source(source) => write!(f, "{source}/*"),
            Self::Tool(tool) => f.write_str(tool),
        }
    }
}

/// A guard that was asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is configured.
    pub origin: &'a Origin,
    /// Whether its replacement may count: it is the user's own.
    pub may_replace: bool,
}

/// What a guard said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing against it.
    Allow,
    /// It denies, and why; text from outside.
    Deny(String),
    /// Other arguments.
    Replace(Arc<[u8]>),
    /// It gave no answer that counts, and why; with what would mend it, where something would.
    Failed(String, Option<String>),
}

/// One round of questions about the same arguments.
#[derive(Debug)]
pub struct Round {
    again: bool,
    replacement: Option<Arc<[u8]>>,
}

impl Round {
    /// The round about the arguments as they came.
    #[must_use]
    pub fn first() -> Self {
        Self { again: false, replacement: None }
    }

    /// Hears what a guard said to `given`, the arguments of this round.
    ///
    /// # Errors
    /// The verdict that denies the call; nothing else of the round counts then.
    pub fn hear(&mut self, guard: &Asked<'_>, given: &[u8], said: Said) -> Result<(), Verdict> {
        let deny = |reason: String, remedy| Err(Verdict::deny(guard.origin.clone(), reason, remedy));
        let name = guard.name;
        match said {
            Said::Allow => Ok(()),
            Said::Deny(reason) => deny(format!("the guard {name} says: {reason}"), None),
            Said::Failed(why, remedy) => deny(format!("the guard {name} gave no answer: {why}"), remedy),
            // The very same bytes are no replacement.
            Said::Replace(arguments) if *arguments == *given => Ok(()),
            Said::Replace(_) if !guard.may_replace => {
                deny(format!("the guard {name} would replace the arguments, which only one of your own config may"), None)
            }
            Said::Replace(_) if self.again => deny(format!("the guard {name} would replace arguments that were replaced already"), None),
            Said::Replace(arguments) if self.replacement.as_ref().is_none_or(|other| *other == arguments) => {
                self.replacement = Some(arguments);
                Ok(())
            }
            Said::Replace(_) => deny(format!("the guard {name} and one before it would each replace the arguments by others"), None),
        }
    }

    /// The next round and what it is about, where the arguments were replaced; `None` where they stand.
    #[must_use]
    pub fn ended(self) -> Option<(Self, Arc<[u8]>)> {
        self.replacement.map(|arguments| (Self { again: true, replacement: None }, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a guard says to arguments of one byte.
    #[derive(Debug, Clone)]
    struct Fake {
        says: Vec<Said>,
        own: bool,
    }

    impl Fake {
        fn says(&self, given: &[u8]) -> Said {
            self.says[usize::from(given[0]) % self.says.len()].clone()
        }
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            4 => Just(Said::Allow),
            1 => Just(Said::Deny("no".to_owned())),
            1 => Just(Said::Failed("it trapped".to_owned(), None)),
            2 => (0u8..4).prop_map(|byte| Said::Replace([byte].as_slice().into())),
        ]
    }

    fn guards() -> impl Strategy<Value = Vec<Fake>> {
        let one = (proptest::collection::vec(said(), 1..4), any::<bool>()).prop_map(|(says, own)| Fake { says, own });
        proptest::collection::vec(one, 0..6)
    }

    /// The bytes that run, with how many rounds it took.
    fn decide(guards: &[Fake], given: u8) -> Result<(u8, usize), Verdict> {
        let (mut round, mut arguments, mut rounds): (Round, Arc<[u8]>, usize) = (Round::first(), [given].as_slice().into(), 1);
        loop {
            for guard in guards {
                round.hear(&Asked { name: "one", origin: &Origin::Code, may_replace: guard.own }, &arguments, guard.says(&arguments))?;
            }
            match round.ended() {
                None => return Ok((arguments[0], rounds)),
                Some((next, replaced)) => (round, arguments, rounds) = (next, replaced, rounds + 1),
            }
        }
    }

    #[test]
    fn a_pattern_is_one_tool_one_source_or_all_and_case_does_not_count() {
        for (pattern, yes, no) in [
            ("*", vec!["a/b", "Nothing at all"], vec![]),
            ("a/*", vec!["a/b", "A/c"], vec!["ab/c", "a"]),
            ("A/b", vec!["a/B", "a/b"], vec!["a/bc", "a/b/c"]),
        ] {
            let parsed = IdPattern::parse(pattern).unwrap();
            assert!(yes.iter().all(|id| parsed.matches(id)), "{pattern}");
            assert!(!no.iter().any(|id| parsed.matches(id)), "{pattern}");
        }
        for bad in ["", "a", "a*", "*/b", "/", "a/", "/*", "a b/c"] {
            assert!(IdPattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_runs_every_guard_allowed_and_no_guard_denied_what_came(guards in guards(), given in 0u8..4) {
            let decided = decide(&guards, given);
            let refuses = |said: &Said| matches!(said, Said::Deny(_) | Said::Failed(..));
            if let Ok((ran, rounds)) = decided {
                for guard in &guards {
                    let said = guard.says(&[ran]);
                    let same = matches!(&said, Said::Replace(bytes) if bytes[..] == [ran]);
                    prop_assert!(said == Said::Allow || same);
                    prop_assert!(!refuses(&guard.says(&[given])));
                }
                prop_assert!(rounds <= 2);
                if ran != given {
                    prop_assert!(guards.iter().any(|g| g.own && g.says(&[given]) == Said::Replace([ran].as_slice().into())));
                }
            }
        }

        #[test]
        fn the_order_of_guards_never_changes_whether_a_call_runs(guards in guards(), given in 0u8..4) {
            let mut turned = guards.clone();
            turned.reverse();
            prop_assert_eq!(decide(&guards, given).ok(), decide(&turned, given).ok());
        }

        #[test]
        fn one_more_guard_never_lets_a_call_through_unless_it_replaces(guards in guards(), more in guards(), given in 0u8..4) {
            let all: Vec<Fake> = guards.iter().chain(&more).cloned().collect();
            let replaces = more.iter().any(|g| g.says.iter().any(|s| matches!(s, Said::Replace(_))));
            if decide(&all, given).is_ok() && !replaces {
                prop_assert!(decide(&guards, given).is_ok());
            }
        }
    }
}
