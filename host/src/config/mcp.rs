//! `[mcp.NAME]`: external MCP servers, as the user's config names them.
//!
//! The rule it keeps: what a server is started with and what its fence leaves open stands in its entry, and its digest is
//! over all of that. No variable is read here.

use super::file::{Placed, Source};
use super::grants::Grants;
use super::hex;
use crate::error::Error;
use palisade_policy::{Access, FolderPath, Identity, Origin, SourceName};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use toml::Spanned;

/// `[mcp.NAME]`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct McpTable {
    command: Placed,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<Placed, String>,
    #[serde(default)]
    fs: Vec<Spanned<FsTable>>,
    #[serde(default)]
    net: bool,
    #[serde(default)]
    unfenced: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FsTable {
    path: String,
    access: Access,
}

/// A server that may be started.
#[derive(Debug, Clone)]
pub struct ServerEntry {
    /// The source part of its tools' ids.
    pub name: SourceName,
    /// Where it was named.
    pub origin: Origin,
    /// The program: a path, or a name that `PATH` leads to.
    pub command: String,
    /// Its arguments, with `${VAR}` as written.
    pub args: Vec<String>,
    /// Its variables, with `${VAR}` as written.
    pub env: Vec<(String, String)>,
    /// The folders it may reach, as written and resolved; `Err` where one is not there.
    pub folders: Result<Vec<(String, PathBuf, Access)>, String>,
    /// Whether it may speak to the internet.
    pub net: bool,
    /// Whether it runs without a fence.
    pub unfenced: bool,
}

impl ServerEntry {
    /// SHA-256 over all that it is started with. What is accepted is accepted for this.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let folders: Vec<String> = match &self.folders {
            Ok(folders) => folders.iter().map(|(_, path, access)| format!("{access}:{}", path.display())).collect(),
            Err(_) => Vec::new(),
        };
        let all = serde_json::json!([self.command, self.args, self.env, folders, self.net, self.unfenced]);
        Identity(Sha256::digest(all.to_string()).into())
    }

    /// The name of what is kept of it: a digest, so that no name is in a file name.
    #[must_use]
    pub fn key(&self) -> String {
        hex(&Sha256::digest(format!("user\0{}", self.name)))
    }

    /// Program and arguments, as written.
    #[must_use]
    pub fn argv(&self) -> Vec<&str> {
        std::iter::once(self.command.as_str()).chain(self.args.iter().map(String::as_str)).collect()
    }
}

/// The servers of the user's config. Where they are withheld, nobody asks what their entries hold.
pub(super) fn entries(source: &Source<'_>, grants: &Grants<'_>) -> Result<Vec<ServerEntry>, Error> {
    #[derive(Deserialize)]
    struct Only {
        #[serde(default)]
        mcp: BTreeMap<Placed, Spanned<McpTable>>,
    }
    let Only { mcp } = source.parse()?;
    let mut entries = Vec::new();
    for (name, table) in &mcp {
        let at = name.span().start;
        let shown = crate::clean::line(name.get_ref(), 64);
        let refuse = |at: usize, why: &str| source.error(at, &format!("`mcp.{shown}`: {why}"));
        let name =
            SourceName::parse(name.get_ref()).map_err(|_| refuse(at, "a name is `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes"))?;
        let table = table.get_ref();
        if table.command.get_ref().is_empty() {
            return Err(refuse(table.command.span().start, "`command` is empty"));
        }
        let mut env = Vec::new();
        for (name, value) in &table.env {
            if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
                return Err(refuse(name.span().start, "`env`: that is not the name of a variable"));
            }
            env.push((name.get_ref().clone(), value.clone()));
        }
        let all = table.args.iter().chain(env.iter().map(|(_, value)| value)).chain([table.command.get_ref()]);
        if all.into_iter().any(|text| text.contains('\0')) {
            return Err(refuse(at, "no text in it holds NUL"));
        }
        let mut folders = Ok(Vec::new());
        for placed in &table.fs {
            let (at, fs) = (placed.span().start, placed.get_ref());
            let path = FolderPath::from_str(&fs.path).map_err(|e| refuse(at, &format!("`fs`: {e}")))?;
            match grants.folder(&path, fs.access).map_err(|why| refuse(at, &format!("`fs`: {why}")))? {
                Ok(resolved) => drop(folders.as_mut().map(|all: &mut Vec<_>| all.push((fs.path.clone(), resolved, fs.access)))),
                Err(why) => folders = Err(format!("its folder {}: {why}", crate::clean::line(&fs.path, 200))),
            }
        }
        let origin = source.origin(at);
        let (command, args) = (table.command.get_ref().clone(), table.args.clone());
        entries.push(ServerEntry { name, origin, command, args, env, folders, net: table.net, unfenced: table.unfenced });
    }
    Ok(entries)
}

/// A text with `${VAR}` and `${VAR:-default}` replaced by what `lookup` says.
///
/// # Errors
/// One sentence: a variable that is not there, or a `${` without its end.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Result<Option<String>, String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or_else(|| "a `${` has no `}`".to_owned())?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
        if !named {
            return Err(format!("`${{{}}}` is not the name of a variable", crate::clean::line(name, 64)));
        }
        // As in a shell, an empty one is none where there is a default.
        match (lookup(name)?.filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(format!("the variable {name} is not set")),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once_and_what_is_missing_is_named() {
        let lookup = |name: &str| {
            Ok(match name {
                "A" => Some("x".to_owned()),
                "EMPTY" => Some(String::new()),
                "NESTED" => Some("${A}".to_owned()),
                _ => None,
            })
        };
        let expand = |text: &str| expand(text, &lookup);
        assert_eq!(expand("a ${A}b$A ${B:-c d}${EMPTY:-e}${EMPTY}|").as_deref(), Ok("a xb$A c de|"));
        assert_eq!(expand("${NESTED}").as_deref(), Ok("${A}"));
        for (bad, why) in [("${B}", "B is not set"), ("${A", "no `}`"), ("${a-b}", "not the name"), ("${}", "not the name")] {
            assert!(expand(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
