//! The user's own secrets, by name: from a file of theirs, or from their environment; never from a workspace.
//!
//! The rule it keeps: what was read is known to the redactor before anybody else has it.

use super::Home;
use super::home::read_private;
use crate::error::{Error, Kind};
use crate::redact;
use std::path::PathBuf;

/// Longest secret, in bytes; key blocks have some four thousand.
const MAX: u64 = 16 * 1024;

/// The file of a secret, which need not be there. A name is that of a variable, so it leads nowhere else.
#[must_use]
pub fn secret_file(home: &Home, name: &str) -> PathBuf {
    home.data.join("secrets").join(name)
}

/// The value of a granted name: the file's, without line breaks at its end, or else the variable's; `None` where there is
/// neither.
///
/// # Errors
/// [`Kind::Config`] where the file is not this user's alone, or no text of at most 16 KiB.
pub fn secret(home: &Home, name: &str) -> Result<Option<String>, Error> {
    let path = secret_file(home, name);
    let value = match read_private(&path, MAX)? {
        Some(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| Error::new(Kind::Config, format!("{} is not text", path.display())))?;
            Some(text.trim_end_matches(['\n', '\r']).to_owned())
        }
        None => std::env::var(name).ok(),
    };
    if let Some(value) = &value
        && !is_public(name)
    {
        redact::learn(value);
    }
    Ok(value)
}

/// Variables that say how a machine is set up. Their values stand everywhere, and hide nothing.
fn is_public(name: &str) -> bool {
    const PUBLIC: [&str; 24] = [
        "COLORTERM",
        "COLUMNS",
        "DISPLAY",
        "EDITOR",
        "HOME",
        "HOSTNAME",
        "LANG",
        "LANGUAGE",
        "LINES",
        "LOGNAME",
        "NO_COLOR",
        "PAGER",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "TEMP",
        "TERM",
        "TMP",
        "TMPDIR",
        "TZ",
        "USER",
        "VISUAL",
        "WAYLAND_DISPLAY",
    ];
    PUBLIC.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
}
