//! The grammar of capabilities.
//!
//! | form | reaches |
//! |---|---|
//! | `fs:read:PATH` | the folder PATH, to read |
//! | `fs:write:PATH` | the folder PATH, to read and write |
//! | `net:URL` | one scheme, host and port, see [`NetOrigin`] |
//! | `env:NAME` | one variable |
//! | `auth:NAME@URL` | a secret that the host adds to requests to that origin, and the plugin never sees |
//! | `store` | the plugin's own key-value store |
//!
//! A PATH is absolute or starts with `@workspace`, the only variable. It has no `.` or `..` part: a path is compared
//! part by part after the host has resolved it. What is not listed is denied.

use crate::{NetError, NetOrigin};
use std::fmt;
use std::str::FromStr;

/// What a folder may be used for. Writing implies reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// List and read.
    Read,
    /// List, read, create, change and remove.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// A folder as it is written in a request or grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FolderPath {
    /// `@workspace`, or a folder below it; the rest has no leading slash and is empty for the workspace itself.
    Workspace(String),
    /// An absolute path of the host.
    Absolute(String),
}

impl FromStr for FolderPath {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        if text.is_empty() {
            return Err(CapabilityError::EmptyPath);
        }
        let (rest, workspace) = match text.strip_prefix("@workspace") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => (rest, true),
            Some(_) => return Err(CapabilityError::Path(text.to_owned())),
            None if text.starts_with('/') => (text, false),
            None => return Err(CapabilityError::Path(text.to_owned())),
        };
        let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
        if text.contains('\0') || parts.iter().any(|p| *p == "." || *p == "..") {
            return Err(CapabilityError::Path(text.to_owned()));
        }
        let joined = parts.join("/");
        Ok(if workspace { Self::Workspace(joined) } else { Self::Absolute(format!("/{joined}")) })
    }
}

impl fmt::Display for FolderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(rest) if rest.is_empty() => f.write_str("@workspace"),
            Self::Workspace(rest) => write!(f, "@workspace/{rest}"),
            Self::Absolute(path) => f.write_str(path),
        }
    }
}

/// One thing a component may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// A folder.
    Fs(Access, FolderPath),
    /// An origin: `scheme://host[:port]`.
    Net(NetOrigin),
    /// A variable of the user's environment.
    Env(String),
    /// A secret of that name, added by the host to requests to that origin.
    Auth(String, NetOrigin),
    /// The plugin's own key-value store.
    Store,
}

/// Why a text is not a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Not one of the forms.
    #[error("`{0}` is not a capability; write fs:read:PATH, fs:write:PATH, net:URL, env:NAME, auth:NAME@URL or store")]
    Form(String),
    /// No path.
    #[error("the path of an fs capability is empty; write an absolute path or @workspace")]
    EmptyPath,
    /// A path that is relative or holds `.`, `..` or NUL.
    #[error("`{0}` is not a folder of a capability; write an absolute path, or @workspace and a path below it, without `.` and `..`")]
    Path(String),
    /// Not the name of a variable.
    #[error("`{0}` is not the name of a variable; write letters, digits and `_`, not starting with a digit")]
    Env(String),
    /// Not a name and an origin that may be sent a secret.
    #[error("`{0}` is not a secret and where it goes, like API_TOKEN@https://api.example.com; it goes over https, or to this machine")]
    Auth(String),
    /// Not an origin.
    #[error("`{0}` is not an origin like https://example.com or http://localhost:8080: {1}")]
    Net(String, NetError),
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        if text == "store" {
            return Ok(Self::Store);
        }
        if let Some(path) = text.strip_prefix("fs:read:") {
            return Ok(Self::Fs(Access::Read, path.parse()?));
        }
        if let Some(path) = text.strip_prefix("fs:write:") {
            return Ok(Self::Fs(Access::Write, path.parse()?));
        }
        if let Some(name) = text.strip_prefix("env:") {
            return if is_variable(name) { Ok(Self::Env(name.to_owned())) } else { Err(CapabilityError::Env(name.to_owned())) };
        }
        if let Some(both) = text.strip_prefix("auth:") {
            let refuse = || CapabilityError::Auth(both.to_owned());
            let (name, url) = both.split_once('@').filter(|(name, _)| is_variable(name)).ok_or_else(refuse)?;
            let origin: NetOrigin = url.parse().map_err(|e| CapabilityError::Net(url.to_owned(), e))?;
            return if origin.keeps_secrets() { Ok(Self::Auth(name.to_owned(), origin)) } else { Err(refuse()) };
        }
        if let Some(url) = text.strip_prefix("net:") {
            return url.parse().map(Self::Net).map_err(|e| CapabilityError::Net(url.to_owned(), e));
        }
        Err(CapabilityError::Form(text.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fs(access, path) => write!(f, "fs:{access}:{path}"),
            Self::Net(url) => write!(f, "net:{url}"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Auth(name, origin) => write!(f, "auth:{name}@{origin}"),
            Self::Store => f.write_str("store"),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_outside_the_table_are_refused() {
        for bad in [
            "",
            "fs",
            "fs:read:",
            "fs:read:relative",
            "fs:read:/a/../b",
            "fs:read:@workspacex",
            "fs:exec:/a",
            "env:",
            "env:A=B",
            "env:1A",
            "net:ftp://a",
            "net:https://a/path",
            "net:https://",
            "net:https://*",
            "net:https://a:+80",
            "auth:",
            "auth:A",
            "auth:@https://a.example",
            "auth:A B@https://a.example",
            "auth:A@http://a.example",
            "auth:A@http://*.a.example",
            "auth:A@https://a.example/path",
            "stores",
        ] {
            assert!(bad.parse::<Capability>().is_err(), "{bad:?}");
        }
        assert_eq!("fs:read:".parse::<Capability>(), Err(CapabilityError::EmptyPath));
    }

    proptest! {
        #[test]
        fn parsing_then_printing_a_capability_gives_the_same_capability(
            text in prop_oneof![
                "fs:(read|write):(@workspace)?(/[a-z0-9._ -]{1,8}){1,4}",
                Just("fs:read:@workspace".to_owned()), Just("fs:write:/".to_owned()), Just("store".to_owned()),
                "env:[A-Z_][A-Z0-9_]{0,12}",
                "auth:[A-Z_]{1,6}@https://(\\*\\.)?[a-z]{1,6}\\.[a-z]{1,6}",
                "net:https?://(\\*\\.)?[a-z]{1,6}(\\.[a-z]{1,6}){0,2}(:8[0-9]{3})?",
            ]
        ) {
            if let Ok(capability) = text.parse::<Capability>() {
                let printed = capability.to_string();
                prop_assert_eq!(&printed, &text);
                prop_assert_eq!(printed.parse::<Capability>().unwrap(), capability);
            }
        }
    }
}
