//! Every step of the gate for one tool, told and not taken.

use crate::decide::arguments;
use crate::error::Error;
use crate::hooks::standing;
use crate::host::Host;
use crate::remedy::printable;
use crate::{clean, redact};
use palisade_policy::{Candidate, Origin, Refusal, Rule, Step, StepVerdict};

/// How `explain` answers.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The id, cleaned.
    pub tool: String,
    /// Every step, in the order of the gate.
    pub steps: Vec<Step>,
    /// What denies, if anything.
    pub refusal: Option<Refusal>,
}

impl Host {
    /// Every step of the gate for a tool, without running anything.
    ///
    /// # Errors
    /// [`Kind::NotFound`] and [`Kind::Quarantined`], where no step denies first.
    pub fn explain(&self, id: &str, given: Option<&[u8]>) -> Result<Explanation, Error> {
        let tool = self.by_id.get(id);
        let unregistered = Candidate::unregistered(id);
        let candidate = tool.map_or(&unregistered, |tool| &tool.candidate);
        let (mut steps, mut refusal) = self.policy.explain(candidate);
        let more = if refusal.is_some() { None } else { tool.map_or_else(|| self.held_back(id), |tool| self.held(tool)) };
        if let Some(more) = more {
            // The steps after it were not reached.
            let at = steps.iter().position(|step| step.rule == more.rule).unwrap_or(steps.len());
            for (place, step) in steps.iter_mut().enumerate().skip(at) {
                let denies = place == at;
                step.verdict = if denies { StepVerdict::Deny } else { StepVerdict::Skipped };
                step.reason = if denies { more.reason.clone() } else { "a step before it denied".to_owned() };
                step.source = if denies { more.source.clone() } else { Origin::BuiltIn };
            }
            refusal = Some(more);
        }
        if tool.is_none() && refusal.is_none() {
            return Err(self.absent(id));
        }
        let verdict = match (tool, given) {
            (Some(tool), Some(given)) => Some(arguments(tool, given)),
            _ => None,
        };
        let step = |rule, verdict, reason: &str| Step { rule, verdict, source: Origin::BuiltIn, reason: reason.to_owned() };
        steps.push(match (&refusal, verdict) {
            (Some(_), _) => step(Rule::Arguments, StepVerdict::Skipped, "a step before it denied"),
            (None, None) => step(Rule::Arguments, StepVerdict::Skipped, "no arguments were given"),
            (None, Some(verdict)) => match self.policy.admit(candidate).and_then(|admitted| admitted.arguments(verdict)) {
                Ok(_) => step(Rule::Arguments, StepVerdict::Pass, "they are valid against the tool's schema"),
                Err(found) => {
                    let denied =
                        Step { rule: found.rule, verdict: StepVerdict::Deny, source: found.source.clone(), reason: found.reason.clone() };
                    refusal = Some(found);
                    denied
                }
            },
        });
        if refusal.is_some() {
            steps.extend([Rule::Budget, Rule::Guard].map(|rule| step(rule, StepVerdict::Skipped, "a step before it denied")));
        } else {
            steps.push(step(Rule::Budget, StepVerdict::Pass, "a call outside a session has no budget to spend"));
            steps.push(match standing(&self.hooks, id) {
                Ok(None) if self.hooks.all.is_empty() => step(Rule::Guard, StepVerdict::Pass, "no hook is configured"),
                Ok(None) => step(Rule::Guard, StepVerdict::Pass, "no guard hears of it"),
                Ok(Some((source, reason))) => Step { rule: Rule::Guard, verdict: StepVerdict::Skipped, source, reason },
                Err(denied) => {
                    let (source, reason) = (denied.source.clone(), denied.reason.clone());
                    refusal = Some(denied);
                    Step { rule: Rule::Guard, verdict: StepVerdict::Deny, source, reason }
                }
            });
        }
        let refusal = refusal.map(|refusal| Refusal { remedy: refusal.remedy.and_then(printable), ..refusal });
        Ok(Explanation { tool: redact::line(id, clean::NAME), steps, refusal })
    }
}
