//! Where a rule came from, so that a denial can name it.

use std::fmt;

/// The place a rule, grant or setting was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Part of Palisade; nothing changes it.
    BuiltIn,
    /// A flag on the command line, e.g. `--deny-tool`.
    Flag(&'static str),
    /// A line of a file. The name is for display: relative to the workspace, or from `~/`.
    File {
        /// The file as shown to the operator.
        name: String,
        /// Counted from 1.
        line: usize,
    },
    /// Code that uses the library.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::Flag(flag) => f.write_str(flag),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Code => f.write_str("code"),
        }
    }
}
