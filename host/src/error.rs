//! The error of the library: one kind for each failure a caller would treat differently.

use std::fmt;

/// What went wrong, as far as a caller cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line.
    Usage,
    /// Denied by the gate.
    Denied,
    /// The tool reported an error.
    ToolFailed,
    /// The component trapped.
    Trap,
    /// Out of time.
    LimitTime,
    /// Out of memory.
    LimitMemory,
    /// Too much output.
    LimitOutput,
    /// Too many calls into the host.
    LimitCalls,
    /// The caller gave up.
    Cancelled,
    /// No such thing.
    NotFound,
    /// The source is broken and set aside.
    Quarantined,
    /// A config file.
    Config,
    /// A manifest.
    Manifest,
    /// A component.
    Component,
    /// A schema or a definition.
    Schema,
    /// A stored session.
    Session,
    /// Reading or writing.
    Io,
    /// The MCP connection.
    Mcp,
    /// A fault of ours.
    Internal,
}

impl Kind {
    /// The name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Denied => "denied",
            Self::ToolFailed => "tool-failed",
            Self::Trap => "trap",
            Self::LimitTime => "limit-time",
            Self::LimitMemory => "limit-memory",
            Self::LimitOutput => "limit-output",
            Self::LimitCalls => "limit-calls",
            Self::Cancelled => "cancelled",
            Self::NotFound => "not-found",
            Self::Quarantined => "quarantined",
            Self::Config => "config",
            Self::Manifest => "manifest",
            Self::Component => "component",
            Self::Schema => "schema",
            Self::Session => "session",
            Self::Io => "io",
            Self::Mcp => "mcp",
            Self::Internal => "internal",
        }
    }

    /// The exit code of a command that ends with it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Io | Self::Mcp | Self::Internal => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::ToolFailed | Self::Trap => 4,
            Self::LimitTime | Self::LimitMemory | Self::LimitOutput | Self::LimitCalls => 5,
            Self::NotFound | Self::Quarantined => 6,
            Self::Config | Self::Manifest | Self::Component | Self::Schema | Self::Session => 7,
            Self::Cancelled => 130,
        }
    }
}

/// An error with its kind, a sentence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure.
    pub kind: Kind,
    /// What was refused, by which rule, from where. It may hold text from outside: clean it before it is shown.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Error {
    /// An error without a hint.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Reading or writing `what` failed.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(Kind::Io, format!("{what}: {error}"))
    }

    /// A failure that no input should cause.
    #[must_use]
    pub fn internal(what: impl fmt::Display, error: &dyn fmt::Display) -> Self {
        Self::new(Kind::Internal, format!("{what}: {error}"))
    }
}
