//! A decision step by step, for a person who asks why.
//!
//! The rule it keeps: it walks the list that decides, so it says what the gate would do, and where each rule stands.

use crate::gate::STATIC;
use crate::{Candidate, Origin, Policy, Refusal, Rule, remedy};

/// A step of a decision, as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Rule,
    /// Its verdict.
    pub verdict: StepVerdict,
    /// Where the rule came from.
    pub source: Origin,
    /// One sentence.
    pub reason: String,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepVerdict {
    /// It does not deny.
    Pass,
    /// It denies.
    Deny,
    /// It was not asked.
    Skipped,
}

impl StepVerdict {
    /// The name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Deny => "deny",
            Self::Skipped => "skipped",
        }
    }
}

impl Policy {
    /// Steps 1 to 5, one by one. After the first that denies, the others are skipped; so are the steps that need a
    /// verdict of the host, which it fills in itself.
    #[must_use]
    pub fn explain(&self, tool: &Candidate) -> (Vec<Step>, Option<Refusal>) {
        let mut steps = Vec::new();
        let mut denied = None;
        for (rule, step) in STATIC {
            let (verdict, source, reason) = match (&denied, step(self, tool)) {
                (Some(_), _) => (StepVerdict::Skipped, Origin::BuiltIn, "a step before it denied".to_owned()),
                (None, Ok(())) => {
                    let (source, reason) = self.passed(rule, tool);
                    (StepVerdict::Pass, source, reason)
                }
                (None, Err(refusal)) => {
                    let shown = (StepVerdict::Deny, refusal.source.clone(), refusal.reason.clone());
                    denied = Some(remedy::whole(self, tool, refusal));
                    shown
                }
            };
            steps.push(Step { rule, verdict, source, reason });
        }
        (steps, denied)
    }

    /// Why a step passed, and where that is set.
    fn passed(&self, rule: Rule, tool: &Candidate) -> (Origin, String) {
        let built_in = |reason: &str| (Origin::BuiltIn, reason.to_owned());
        match rule {
            Rule::Name => built_in("the id is inside the grammar"),
            Rule::ShellGate => built_in("nothing in the id looks like a shell"),
            Rule::DenyName => match &self.narrowing {
                Some(narrowing) => narrowing.passed(),
                None => built_in("no name of the deny list matches"),
            },
            Rule::DenyPrefix => built_in("no prefix of the deny list matches"),
            Rule::Trust => match (&tool.trusted, tool.subsystem.map(|subsystem| self.init.of(subsystem))) {
                (Some(trusted), _) => trusted.clone(),
                (None, Some(init)) => (init.origin.clone(), init.reason.clone()),
                (None, None) => built_in("nothing is withheld"),
            },
            Rule::Pin => tool.pinned.clone().unwrap_or_else(|| built_in("nothing pins its source")),
            _ => match tool.granted.first() {
                Some((_, origin)) => {
                    let granted = tool.granted.iter().map(|(capability, origin)| format!("{capability} ({origin})"));
                    let granted = granted.collect::<Vec<_>>().join(", ");
                    (origin.clone(), format!("everything it needs is granted: {granted}"))
                }
                None => built_in("it needs no grant"),
            },
        }
    }
}
