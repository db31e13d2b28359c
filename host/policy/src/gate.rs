//! The ordered decision.
//!
//! Seven rules are decided from the tool and the policy alone ([`Policy::admit`]); a tool is listed exactly when they
//! pass. Three more need a verdict of the host: arguments, budget, guards. The types keep the order: each step takes the
//! one before by value, and only the last gives an [`Authorized`].
//!
//! ```
//! use palisade_policy::{Candidate, DenyList, Policy, Profile, Origin, Subsystem, ToolId, Verdict};
//! let policy = Policy::for_profile(&Profile::trusted(Origin::Code), DenyList::default());
//! let tool = Candidate::new(ToolId::parse("text-stats/count").unwrap(), Subsystem::PluginInit);
//! let call = policy.admit(&tool).unwrap()
//!     .arguments(Verdict::pass()).unwrap()
//!     .budget(Verdict::pass()).unwrap()
//!     .guards("the registered tool", b"{}".as_slice().into(), Verdict::pass()).unwrap();
//! let (tool, arguments) = call.consume();
//! assert_eq!((tool, &arguments[..]), ("the registered tool", b"{}".as_slice()));
//! ```
//!
//! An authorized call cannot be made without the gate:
//! ```compile_fail
//! let call: palisade_policy::Authorized<'static, ()> = palisade_policy::Authorized { tool: (), arguments: [].into(), policy: loop {} };
//! ```
//! nor cloned:
//! ```compile_fail
//! fn twice(call: palisade_policy::Authorized<'_, ()>) { let again = call.clone(); drop((again, call)); }
//! ```
//! nor used twice:
//! ```compile_fail
//! fn twice(call: palisade_policy::Authorized<'_, ()>) { call.consume(); call.consume(); }
//! ```
//! nor kept past the policy it was decided on:
//! ```compile_fail
//! fn keep(call: palisade_policy::Authorized<'_, ()>) -> palisade_policy::Authorized<'static, ()> { call }
//! ```
//! nor can a step be left out:
//! ```compile_fail
//! use palisade_policy::{Admitted, Verdict};
//! fn skip(admitted: Admitted<'_>) { admitted.guards((), [].into(), Verdict::pass()).unwrap(); }
//! ```

use crate::deny::Forms;
use crate::narrow::Narrowing;
use crate::remedy;
use crate::{Capability, DenyList, IdError, Init, InitReport, Origin, Profile, Subsystem, ToolId, shell_like};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The rules of the gate, in order. The first that denies is the one recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The id is outside the grammar.
    Name,
    /// The id looks like a shell.
    ShellGate,
    /// A name of the deny list.
    DenyName,
    /// A prefix of the deny list.
    DenyPrefix,
    /// The source's subsystem is withheld.
    Trust,
    /// The identity is not the pinned one.
    Pin,
    /// A needed grant is missing.
    Grant,
    /// The arguments are not what the tool takes.
    Arguments,
    /// The session's budget is spent.
    Budget,
    /// A guard said no.
    Guard,
}

impl Rule {
    /// All rules, in the order of the gate.
    pub const ALL: [Self; 10] = [
        Self::Name,
        Self::ShellGate,
        Self::DenyName,
        Self::DenyPrefix,
        Self::Trust,
        Self::Pin,
        Self::Grant,
        Self::Arguments,
        Self::Budget,
        Self::Guard,
    ];

    /// The name that is recorded.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::ShellGate => "shell-gate",
            Self::DenyName => "deny-name",
            Self::DenyPrefix => "deny-prefix",
            Self::Trust => "trust",
            Self::Pin => "pin",
            Self::Grant => "grant",
            Self::Arguments => "arguments",
            Self::Budget => "budget",
            Self::Guard => "guard",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a call does not run. The host adds the tool and a number, and has a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// Where the rule came from.
    pub source: Origin,
    /// One sentence for the operator.
    pub reason: String,
    /// What would allow it, as one line to paste; `None` where nothing would.
    pub remedy: Option<String>,
}

/// What the host found for a step that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(Result<(), (Origin, String, Option<String>)>);

impl Verdict {
    /// The step passes.
    #[must_use]
    pub fn pass() -> Self {
        Self(Ok(()))
    }

    /// The same verdict, where `say` puts its reason in other words.
    #[must_use]
    pub fn told(self, say: impl FnOnce(String) -> String) -> Self {
        Self(self.0.map_err(|(source, reason, remedy)| (source, say(reason), remedy)))
    }

    /// The step denies.
    #[must_use]
    pub fn deny(source: Origin, reason: String, remedy: Option<String>) -> Self {
        Self(Err((source, reason, remedy)))
    }

    /// The refusal it makes by a rule; `None` where it passes.
    #[must_use]
    pub fn refusal(self, rule: Rule) -> Option<Refusal> {
        self.into_result(rule).err()
    }

    fn into_result(self, rule: Rule) -> Result<(), Refusal> {
        self.0.map_err(|(source, reason, remedy)| Refusal { rule, source, reason, remedy })
    }
}

/// A tool as the gate sees it: facts, gathered once when it is registered.
#[derive(Debug, Clone)]
pub struct Candidate {
    name: Result<(), IdError>,
    shown: String,
    pub(crate) forms: Forms,
    shell: Option<&'static str>,
    pub(crate) subsystem: Option<Subsystem>,
    pin: Option<(Origin, String)>,
    missing: Vec<(Capability, Option<String>)>,
    grant: Option<String>,
    pub(crate) trusted: Option<(Origin, String)>,
    pub(crate) pinned: Option<(Origin, String)>,
    pub(crate) granted: Vec<(Capability, Origin)>,
}

impl Candidate {
    /// A registered tool of a source that needs nothing.
    #[must_use]
    pub fn new(id: ToolId, subsystem: Subsystem) -> Self {
        Self {
            name: Ok(()),
            forms: Forms::of(id.source(), id.tool()),
            shell: shell_like(id.as_str()),
            shown: id.as_str().to_owned(),
            subsystem: Some(subsystem),
            pin: None,
            missing: Vec::new(),
            grant: None,
            trusted: None,
            pinned: None,
            granted: Vec::new(),
        }
    }

    /// An id that nothing registered: any text.
    #[must_use]
    pub fn unregistered(id: &str) -> Self {
        let (source, tool) = id.split_once('/').unwrap_or((id, ""));
        let name = ToolId::parse(id).or_else(|error| ToolId::parse_mcp(id).map_err(|_| error)).map(drop);
        Self {
            name,
            forms: Forms::of(source, tool),
            shell: shell_like(id),
            shown: id.to_owned(),
            subsystem: None,
            pin: None,
            missing: Vec::new(),
            grant: None,
            trusted: None,
            pinned: None,
            granted: Vec::new(),
        }
    }

    /// As it was given; any text.
    pub(crate) fn id(&self) -> &str {
        &self.shown
    }

    fn source(&self) -> &str {
        self.shown.split('/').next().unwrap_or_default()
    }

    /// The needed capabilities that were not granted, each with why it cannot be, where that is so; and what would grant
    /// all of them.
    #[must_use]
    pub fn with_missing(mut self, missing: Vec<(Capability, Option<String>)>, remedy: Option<String>) -> Self {
        self.missing = missing;
        self.grant = remedy;
        self
    }

    /// What was granted, and where.
    #[must_use]
    pub fn with_granted(mut self, granted: Vec<(Capability, Origin)>) -> Self {
        self.granted = granted;
        self
    }

    /// What lets its source count, where that is said better than of its whole subsystem.
    #[must_use]
    pub fn with_trust(mut self, trust: Option<(Origin, String)>) -> Self {
        self.trusted = trust;
        self
    }

    /// What pins its identity, where it is the pinned one.
    #[must_use]
    pub fn with_pin(mut self, pin: Origin, what: String) -> Self {
        self.pinned = Some((pin, what));
        self
    }

    /// An identity that is not the pinned one: who pinned it, and how they differ.
    #[must_use]
    pub fn with_pin_mismatch(mut self, pin: Origin, difference: String) -> Self {
        self.pin = Some((pin, difference));
        self
    }
}

/// What decides: the deny list and the state of the subsystems. It never changes; a change is a new policy.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) deny: DenyList,
    pub(crate) init: InitReport,
    /// Sources that were left unread although their subsystem runs.
    withheld: Option<Init>,
    /// The names of all sources of the user's own, and what withholds every other.
    others: Option<(HashSet<String>, Init)>,
    /// What the active skill leaves of the tools.
    pub(crate) narrowing: Option<Narrowing>,
}

pub(crate) type StaticStep = (Rule, fn(&Policy, &Candidate) -> Result<(), Refusal>);

/// Steps 1 to 5 of the gate, in order. `admit` and `explain` both walk this list.
pub(crate) const STATIC: [StaticStep; 7] = [
    (Rule::Name, Policy::name),
    (Rule::ShellGate, Policy::shell_gate),
    (Rule::DenyName, Policy::deny_name),
    (Rule::DenyPrefix, Policy::deny_prefix),
    (Rule::Trust, Policy::trust),
    (Rule::Pin, Policy::pin),
    (Rule::Grant, Policy::grant),
];

impl Policy {
    /// A policy from what was decided at start.
    #[must_use]
    pub fn new(deny: DenyList, init: InitReport, withheld: Option<Init>) -> Self {
        Self { deny, init, withheld, others: None, narrowing: None }
    }

    /// Where the names of all the user's own sources are known unread: what withholds a source of another name.
    #[must_use]
    pub fn with_others(mut self, own: HashSet<String>, others: Init) -> Self {
        self.others = Some((own, others));
        self
    }

    /// A policy from a profile alone: what it has is initialised, the rest withheld.
    #[must_use]
    pub fn for_profile(profile: &Profile, mut deny: DenyList) -> Self {
        deny.unite(profile.deny.clone());
        let init = Subsystem::ALL.map(|s| {
            let enabled = profile.subsystems.contains(&s);
            let verb = if enabled { "initialises" } else { "withholds" };
            Init {
                enabled,
                reason: format!("the profile {} {verb} it", profile.name),
                withheld: !enabled,
                origin: profile.origin.clone(),
                remedy: None,
            }
        });
        Self::new(deny, InitReport(init), None)
    }

    /// The deny list, all layers united.
    #[must_use]
    pub fn deny(&self) -> &DenyList {
        &self.deny
    }

    /// The subsystems.
    #[must_use]
    pub fn init(&self) -> &InitReport {
        &self.init
    }

    /// Steps 1 to 5.
    ///
    /// # Errors
    /// The first rule that denies.
    pub fn admit(&self, tool: &Candidate) -> Result<Admitted<'_>, Refusal> {
        for (_, step) in STATIC {
            step(self, tool).map_err(|refusal| remedy::whole(self, tool, refusal))?;
        }
        Ok(Admitted { policy: self })
    }

    fn name(&self, tool: &Candidate) -> Result<(), Refusal> {
        tool.name.as_ref().map_err(|error| refuse(Rule::Name, Origin::BuiltIn, error.to_string())).copied()
    }

    fn shell_gate(&self, tool: &Candidate) -> Result<(), Refusal> {
        match tool.shell {
            None => Ok(()),
            Some("bash") => {
                Err(refuse(Rule::ShellGate, Origin::BuiltIn, "its id contains `bash`; no flag, file or profile allows it".to_owned()))
            }
            Some(part) => {
                Err(refuse(Rule::ShellGate, Origin::BuiltIn, format!("its id has the part `{part}`; no flag, file or profile allows it")))
            }
        }
    }

    fn deny_name(&self, tool: &Candidate) -> Result<(), Refusal> {
        match self.deny.matching_name(&tool.forms) {
            Some(found) => Err(remedy::denied_by(found)),
            None => self.narrowing.as_ref().and_then(|narrowing| narrowing.refusal(tool)).map_or(Ok(()), Err),
        }
    }

    fn deny_prefix(&self, tool: &Candidate) -> Result<(), Refusal> {
        self.deny.matching_prefix(&tool.forms).map_or(Ok(()), |found| Err(remedy::denied_by(found)))
    }

    fn trust(&self, tool: &Candidate) -> Result<(), Refusal> {
        let withheld = match tool.subsystem {
            Some(subsystem) => Some(self.init.of(subsystem)).filter(|init| !init.enabled),
            // Nothing of a withheld subsystem was read, so an unknown id may well be one of its tools.
            None => match &self.others {
                Some((own, init)) if !own.contains(tool.source()) => Some(init),
                _ => self.withheld.as_ref().or_else(|| self.init.0.iter().find(|init| init.withheld)),
            },
        };
        let Some(init) = withheld else { return Ok(()) };
        Err(Refusal { rule: Rule::Trust, source: init.origin.clone(), reason: init.reason.clone(), remedy: init.remedy.clone() })
    }

    fn pin(&self, tool: &Candidate) -> Result<(), Refusal> {
        match &tool.pin {
            None => Ok(()),
            Some((origin, difference)) => Err(refuse(Rule::Pin, origin.clone(), difference.clone())),
        }
    }

    fn grant(&self, tool: &Candidate) -> Result<(), Refusal> {
        let Some((first, _)) = tool.missing.first() else { return Ok(()) };
        let source = tool.source();
        let reason = match tool.missing.iter().find_map(|(capability, why)| Some((capability, why.as_ref()?))) {
            Some((capability, why)) => format!("{source} needs {capability}, which {why}"),
            None => {
                let more = tool.missing.iter().skip(1).map(|(capability, _)| format!(" and {capability}"));
                format!("{source} needs {first}{}, which nobody granted", more.collect::<String>())
            }
        };
        Err(Refusal { rule: Rule::Grant, source: Origin::BuiltIn, reason, remedy: tool.grant.clone() })
    }
}

fn refuse(rule: Rule, source: Origin, reason: String) -> Refusal {
    Refusal { rule, source, reason, remedy: None }
}

/// A tool that passed steps 1 to 5: it is listed, and a call of it goes on to its arguments.
#[derive(Debug)]
#[must_use]
pub struct Admitted<'p> {
    policy: &'p Policy,
}

impl<'p> Admitted<'p> {
    /// Step 6.
    ///
    /// # Errors
    /// A refusal with the rule `arguments` when the verdict denies.
    pub fn arguments(self, verdict: Verdict) -> Result<Checked<'p>, Refusal> {
        verdict.into_result(Rule::Arguments)?;
        Ok(Checked { policy: self.policy })
    }
}

/// A call whose arguments are valid.
#[derive(Debug)]
#[must_use]
pub struct Checked<'p> {
    policy: &'p Policy,
}

impl<'p> Checked<'p> {
    /// Step 7.
    ///
    /// # Errors
    /// A refusal with the rule `budget` when the verdict denies.
    pub fn budget(self, verdict: Verdict) -> Result<Budgeted<'p>, Refusal> {
        verdict.into_result(Rule::Budget)?;
        Ok(Budgeted { policy: self.policy })
    }
}

/// A call within the session's budget.
#[derive(Debug)]
#[must_use]
pub struct Budgeted<'p> {
    policy: &'p Policy,
}

impl<'p> Budgeted<'p> {
    /// Step 8. The authorized call owns the registered tool and the very bytes that were checked.
    ///
    /// # Errors
    /// A refusal with the rule `guard` when the verdict denies.
    pub fn guards<T>(self, tool: T, arguments: Arc<[u8]>, verdict: Verdict) -> Result<Authorized<'p, T>, Refusal> {
        verdict.into_result(Rule::Guard)?;
        Ok(Authorized { tool, arguments, policy: self.policy })
    }

    /// Back to step 6, for arguments that a guard put in the place of those that were checked.
    pub fn replaced(self) -> Admitted<'p> {
        Admitted { policy: self.policy }
    }
}

/// A call that may run, once. It borrows the policy it was decided on, so it cannot outlive that policy, and it can
/// neither be cloned nor made anywhere but at the end of the gate.
#[derive(Debug)]
#[must_use]
pub struct Authorized<'p, T> {
    tool: T,
    arguments: Arc<[u8]>,
    #[expect(dead_code, reason = "held for its lifetime: a call cannot outlive the policy that allowed it")]
    policy: &'p Policy,
}

impl<T> Authorized<'_, T> {
    /// What the lane runs: the registered tool and the checked argument bytes.
    pub fn consume(self) -> (T, Arc<[u8]>) {
        (self.tool, self.arguments)
    }
}
