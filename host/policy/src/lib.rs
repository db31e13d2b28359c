//! The decision of Palisade's gate.
//!
//! This crate decides whether a tool call may run. It is pure: it reads no file, no clock, no environment, and knows no
//! other crate of the project. The host gathers facts (what a manifest asks for, what a person granted, a validator's
//! verdict) and hands them over; the answer is an [`Authorized`] call or a [`Refusal`].
//!
//! The rule it keeps: deciding is [`Policy::admit`] and the three verdicts after it, in that order and no other, and
//! nothing else can make an [`Authorized`].
//!
//! Where the rule ends: what a granted capability reaches is the sandbox's business.
//!
//! Never here: I/O, async, parsing of files, text for a terminal.

#![forbid(unsafe_code)]

mod capability;
mod deny;
mod gate;
mod grant;
mod guard;
mod id;
mod limits;
mod narrow;
mod net;
mod origin;
mod profile;
mod remedy;
mod shell;
mod steps;

pub use capability::{Access, Capability, CapabilityError, FolderPath};
pub use deny::{DenyList, DenyMatch, EmptyRule};
pub use gate::{Admitted, Authorized, Budgeted, Candidate, Checked, Policy, Refusal, Rule, Verdict};
pub use grant::{AuthGrant, Effective, FolderGrant, Grant, GrantError, Identity, Request, WriteRefusal, covers, effective, write_refusal};
pub use guard::{Asked, IdPattern, Round, Said};
pub use id::{IdError, SourceName, ToolId, check_source_part, mcp_name};
pub use limits::{Limit, LimitError, Limits, Written};
pub use net::{NetError, NetHost, NetOrigin, NetScheme, address_refusal, is_framing};
pub use origin::Origin;
pub use profile::{Init, InitReport, Profile, Subsystem};
pub use remedy::quoted;
pub use shell::shell_like;
pub use steps::{Step, StepVerdict};
