//! What an active skill leaves of the tools.
//!
//! The rule it keeps: it only ever denies. A tool inside it still has every other rule before it, so no narrowing admits
//! what would be denied without.

use crate::gate::{Refusal, Rule};
use crate::{Candidate, Origin, Policy};
use std::collections::HashSet;
use std::sync::Arc;

/// The tools that are left, and who left them.
#[derive(Debug, Clone)]
pub(crate) struct Narrowing {
    allowed: Arc<HashSet<String>>,
    origin: Origin,
    reason: String,
}

impl Narrowing {
    /// Why a tool is outside.
    pub(crate) fn refusal(&self, tool: &Candidate) -> Option<Refusal> {
        let refusal = || Refusal { rule: Rule::DenyName, source: self.origin.clone(), reason: self.reason.clone(), remedy: None };
        (!self.allowed.contains(tool.id())).then(refusal)
    }

    /// What the step says of a tool inside.
    pub(crate) fn passed(&self) -> (Origin, String) {
        (self.origin.clone(), "no name of the deny list matches, and the active skill leaves it".to_owned())
    }
}

impl Policy {
    /// The same policy for these ids alone: every other is denied as by a name of the deny list, for this reason, and nothing
    /// lifts it. A second narrowing leaves what both leave.
    ///
    /// ```
    /// use palisade_policy::{Candidate, DenyList, Origin, Policy, Profile, Subsystem, ToolId};
    /// let tool = |id| Candidate::new(ToolId::parse(id).unwrap(), Subsystem::PluginInit);
    /// let policy = Policy::for_profile(&Profile::trusted(Origin::Code), DenyList::default());
    /// let narrowed = policy.with_narrowing(["a/b".to_owned()], Origin::Code, "the skill leaves one tool".to_owned());
    /// assert!(narrowed.admit(&tool("a/b")).is_ok() && narrowed.admit(&tool("a/c")).is_err());
    /// ```
    #[must_use]
    pub fn with_narrowing(mut self, allowed: impl IntoIterator<Item = String>, origin: Origin, reason: String) -> Self {
        let mut allowed: HashSet<String> = allowed.into_iter().collect();
        if let Some(before) = &self.narrowing {
            allowed.retain(|id| before.allowed.contains(id));
        }
        self.narrowing = Some(Narrowing { allowed: Arc::new(allowed), origin, reason });
        self
    }
}
