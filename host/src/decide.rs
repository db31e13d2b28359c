//! The facts of a call, gathered for the gate, and the gate in its order.
//!
//! The rule it keeps: every step is asked in the order of the gate, and what a guard put in the place of the arguments goes
//! through steps 6 to 8 again.
//!
//! Never here: what happens after the decision.

use crate::config::{self, HookEvent};
use crate::error::{Error, Kind};
use crate::hooks::Around;
use crate::host::{Host, ToolCall};
use crate::registry::{Provider, Tool};
use crate::remedy::{accepting, stuck};
use crate::{clean, json, redact};
use palisade_policy::{Authorized, Candidate, Limit, Origin, Refusal, Round, Rule, Verdict};
use std::sync::Arc;

/// Why a call does not reach a lane.
pub(crate) enum Stop {
    Refused(Refusal),
    Absent(Error),
    /// The run of a guard cannot be recorded.
    Unrecorded(Error),
}

impl Stop {
    /// Of what kept the guards from being asked.
    fn unasked(error: Error) -> Self {
        if error.kind == Kind::Cancelled { Self::Absent(error) } else { Self::Unrecorded(error) }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Host {
    /// The gate, in order. Beside the call it gives the arguments that it was decided on.
    pub(crate) async fn decide(
        &self,
        call: &ToolCall,
        budget: Verdict,
        around: &mut Around<'_>,
    ) -> Result<(Authorized<'_, &Arc<Tool>>, Arc<[u8]>), Stop> {
        let Some(tool) = self.by_id.get(&call.id) else {
            return Err(match self.policy.admit(&Candidate::unregistered(&call.id)) {
                Err(refusal) => refusal.into(),
                Ok(_) => self.held_back(&call.id).map_or_else(|| Stop::Absent(self.absent(&call.id)), Stop::Refused),
            });
        };
        let admitted = self.policy.admit(&tool.candidate)?;
        match &tool.provider {
            Provider::Plugin(plugin) if plugin.component.is_stuck() => return Err(Stop::Absent(stuck(tool.spec.id.as_str(), plugin))),
            _ => self.held(tool).map_or(Ok(()), Err)?,
        }
        let mut given = call.arguments.clone();
        let mut budgeted = admitted.arguments(arguments(tool, &given))?.budget(budget.clone())?;
        if !self.hooks.is_guarded(HookEvent::BeforeCall, &call.id) {
            return Ok((budgeted.guards(tool, given.clone(), Verdict::pass())?, given));
        }
        let mut round = Round::first();
        loop {
            if let Err(verdict) = self.hooks.ask(&mut round, &call.id, &given, around).await.map_err(Stop::unasked)? {
                return Ok((budgeted.guards(tool, given.clone(), verdict)?, given));
            }
            let Some((next, replaced)) = round.ended() else {
                // They took their time, and what the workspace names may have been withdrawn meanwhile.
                self.held(tool).map_or(Ok(()), Err)?;
                return Ok((budgeted.guards(tool, given.clone(), Verdict::pass())?, given));
            };
            around.replaced = Some(replaced.clone());
            let checked = arguments(tool, &replaced).told(|why| format!("a guard put others in the place of the arguments, and {why}"));
            budgeted = budgeted.replaced().arguments(checked)?.budget(budget.clone())?;
            (round, given) = (next, replaced);
        }
    }

    /// Why a tool does not run that the policy admits: what became of its source since it was loaded.
    pub(crate) fn held(&self, tool: &Tool) -> Option<Refusal> {
        let theirs = tool.plugin().filter(|plugin| plugin.scope == config::Scope::Workspace);
        match theirs.and_then(|plugin| Some((self.settings.init.of(plugin.subsystem), self.withdrawn.get()?))) {
            Some((init, why)) => {
                Some(Refusal { rule: Rule::Trust, source: init.origin.clone(), reason: why.clone(), remedy: init.remedy.clone() })
            }
            None => tool.changed(&self.settings),
        }
    }

    /// Why no tool of a source is there that nobody accepted.
    pub(crate) fn held_back(&self, id: &str) -> Option<Refusal> {
        let source = id.split('/').next().unwrap_or_default();
        let entry = self.held.iter().find(|entry| entry.name.as_str() == source)?;
        let reason = format!("nobody accepted the MCP server {} as it stands there", entry.name);
        Some(Refusal { rule: Rule::Grant, source: entry.origin.clone(), reason, remedy: accepting(&self.settings, entry) })
    }

    pub(crate) fn absent(&self, id: &str) -> Error {
        let source = id.split('/').next().unwrap_or_default();
        let broken = self
            .quarantined
            .iter()
            .find(|q| q.key == id)
            .or_else(|| self.quarantined.iter().find(|q| q.key == source && !source.is_empty()));
        let shown = redact::line(id, clean::NAME);
        match broken {
            Some(broken) => {
                let reason = format!(
                    "{shown} is not available: {} is quarantined ({}): {}",
                    broken.source,
                    broken.error.kind.name(),
                    broken.error.message
                );
                let error = Error::new(Kind::Quarantined, reason);
                match &broken.error.hint {
                    Some(hint) => error.hint(hint.clone()),
                    None => error,
                }
            }
            None => Error::new(Kind::NotFound, format!("there is no tool {shown}")).hint("palisade tools lists what there is"),
        }
    }
}

/// Step 6: size, strict JSON, schema.
pub(crate) fn arguments(tool: &Tool, given: &[u8]) -> Verdict {
    let limit = tool.provider.limits().get(Limit::Arguments);
    let deny = |reason: String| Verdict::deny(Origin::BuiltIn, reason, None);
    if given.len() as u64 > limit {
        return deny(format!("they have {} bytes; the limit is {}", given.len(), Limit::Arguments.show(limit)));
    }
    let checked = json::parse(given).and_then(|value| tool.spec.input.validate(&value, given.len()));
    match checked {
        Ok(()) => Verdict::pass(),
        Err(reason) => deny(reason),
    }
}
