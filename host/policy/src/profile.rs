//! Profiles, and what they switch on.
//!
//! A profile decides whether the four subsystems initialise for the user's own sources. Whether sources that a workspace
//! file names count is another question, and no profile answers it.

use crate::{DenyList, Origin};

/// What trust switches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subsystem {
    /// Plugins.
    PluginInit,
    /// Skills.
    SkillInit,
    /// External MCP servers.
    McpPrefetch,
    /// Hooks.
    SessionHooks,
}

impl Subsystem {
    /// All four, in the order they are reported.
    pub const ALL: [Self; 4] = [Self::PluginInit, Self::SkillInit, Self::McpPrefetch, Self::SessionHooks];

    /// The name used in files and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PluginInit => "plugin_init",
            Self::SkillInit => "skill_init",
            Self::McpPrefetch => "mcp_prefetch",
            Self::SessionHooks => "session_hooks",
        }
    }

    /// The subsystem of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// A named level of trust.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it initialises; never more than `trusted`, which has all four.
    pub subsystems: Vec<Subsystem>,
    /// What it denies besides.
    pub deny: DenyList,
    /// Where it was chosen.
    pub origin: Origin,
}

impl Profile {
    /// The default: initialises nothing.
    #[must_use]
    pub fn untrusted(origin: Origin) -> Self {
        Self { name: "untrusted".to_owned(), subsystems: Vec::new(), deny: DenyList::default(), origin }
    }

    /// Initialises all four subsystems for the user's own sources.
    #[must_use]
    pub fn trusted(origin: Origin) -> Self {
        Self { name: "trusted".to_owned(), subsystems: Subsystem::ALL.to_vec(), deny: DenyList::default(), origin }
    }
}

/// Whether a subsystem was initialised, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Whether its tools or hooks are there.
    pub enabled: bool,
    /// One sentence.
    pub reason: String,
    /// Whether sources were left unread for want of trust.
    pub withheld: bool,
    /// Where that was decided.
    pub origin: Origin,
    /// What would initialise it.
    pub remedy: Option<String>,
}

/// The four subsystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitReport(pub [Init; 4]);

impl InitReport {
    /// The state of one subsystem.
    #[must_use]
    pub fn of(&self, subsystem: Subsystem) -> &Init {
        &self.0[subsystem as usize]
    }
}
