//! `[mcp.NAME]`: external MCP servers, as the user's config names them.
//!
//! The rule it keeps: what a server is started with and what its fence leaves open stands in its entry, and its digest is
//! over all of that. No variable is read here.

use super::file::{Placed, Source};
use super::grants::Grants;
use super::{FILE_MAX, Home, Scope, Workspace, hex};
use crate::error::{Error, Kind};
use crate::files::ReadError;
use palisade_policy::{Access, FolderPath, Identity, NetHost, NetOrigin, Origin, SourceName, is_framing};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;

/// `[mcp.NAME]`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct McpTable {
    command: Option<Placed>,
    url: Option<Placed>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEntry {
    /// The source part of its tools' ids.
    pub name: SourceName,
    /// Who named it: the user's config, or the workspace's `.mcp.json`.
    pub scope: Scope,
    /// Where it was named.
    pub origin: Origin,
    /// The URL it is spoken to by; then there is no process.
    pub remote: Option<Remote>,
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
    /// Which variables `${VAR}` may read; `None` for any, which the user's own entries may.
    pub variables: Option<Vec<String>>,
    /// The workspace it was named in; of the user's config, any.
    workspace: Option<PathBuf>,
}

/// A server by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it is.
    pub origin: NetOrigin,
    /// Path and query.
    pub path: String,
    /// Headers of each request, with `${VAR}` as written.
    pub headers: Vec<(String, String)>,
}

impl Remote {
    /// Of a URL as it is written: https, or of this machine.
    ///
    /// # Errors
    /// One sentence.
    fn parse(url: &str, headers: Vec<(String, String)>) -> Result<Self, String> {
        let shown = crate::clean::line(url, 200);
        let rest = url.find("://").map_or(0, |at| at + 3);
        let (origin, path) = url.split_at(url[rest..].find(['/', '?', '#']).map_or(url.len(), |at| rest + at));
        let origin: NetOrigin = origin.parse().map_err(|e| format!("`{shown}` is no URL of a server: {e}"))?;
        let plain = path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains('#');
        if !plain || matches!(origin.host, NetHost::Below(_)) {
            return Err(format!("`{shown}` is no URL of a server"));
        }
        if !origin.keeps_secrets() {
            return Err(format!("`{shown}` goes over the network in the clear; a server is spoken to over https, or on this machine"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let ours = |name: &str| {
            let name = http::HeaderName::from_bytes(name.as_bytes());
            name.map_or(true, |name| is_framing(name.as_str()) || name.as_str().starts_with("mcp-"))
        };
        match headers.iter().find(|(name, _)| ours(name)) {
            Some((name, _)) => Err(format!("`headers`: `{}` is not one that an entry sets", crate::clean::line(name, 64))),
            None => Ok(Self { origin, path, headers }),
        }
    }
}

/// What a person left open to a server that a workspace named, when it was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allowed {
    /// Folders, as `read:PATH` or `write:PATH`.
    pub fs: Vec<String>,
    /// The internet.
    pub net: bool,
    /// No fence.
    pub unfenced: bool,
    /// Variables that its `${VAR}` may read.
    pub env: Vec<String>,
}

impl Allowed {
    /// The folders, parsed.
    ///
    /// # Errors
    /// One sentence, for a text that is neither `read:PATH` nor `write:PATH`.
    pub fn folders(&self) -> Result<Vec<(String, FolderPath, Access)>, String> {
        let one = |text: &String| {
            let (access, path) = match text.split_once(':') {
                Some(("read", path)) => (Access::Read, path),
                Some(("write", path)) => (Access::Write, path),
                _ => return Err(format!("`{}` is neither read:PATH nor write:PATH", crate::clean::line(text, 200))),
            };
            Ok((path.to_owned(), FolderPath::from_str(path).map_err(|e| e.to_string())?, access))
        };
        self.fs.iter().map(one).collect()
    }
}

impl ServerEntry {
    /// SHA-256 over all that it is started with. What is accepted is accepted for this.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let folders: Vec<String> = match &self.folders {
            Ok(folders) => folders.iter().map(|(_, path, access)| format!("{access}:{}", path.display())).collect(),
            Err(_) => Vec::new(),
        };
        let all = match (&self.remote, self.scope) {
            (Some(remote), _) => serde_json::json!([remote.origin.to_string(), remote.path, remote.headers, self.workspace]),
            (None, scope) => self.process(scope, &folders),
        };
        Identity(Sha256::digest(all.to_string()).into())
    }

    fn process(&self, scope: Scope, folders: &[String]) -> serde_json::Value {
        match scope {
            // What is left open to it stands in what was accepted, and not in the workspace.
            Scope::Workspace => serde_json::json!([self.command, self.args, self.env, self.workspace]),
            _ => serde_json::json!([self.command, self.args, self.env, folders, self.net, self.unfenced]),
        }
    }

    /// The name of what is kept of it: a digest, so that no name is in a file name.
    #[must_use]
    pub fn key(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let whose = match &self.workspace {
            Some(workspace) => [b"workspace\0", workspace.as_os_str().as_bytes()].concat(),
            None => b"user".to_vec(),
        };
        hex(&Sha256::digest([whose.as_slice(), self.name.as_str().as_bytes()].join(&0)))
    }

    /// Where it stands what a person accepted of it.
    #[must_use]
    pub fn accepted_file(&self, home: &Home) -> PathBuf {
        home.state.join("mcp").join(format!("{}.json", self.key()))
    }

    /// Program and arguments, or the URL, as written.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        if let Some(remote) = &self.remote {
            return vec![format!("{}{}", remote.origin, remote.path)];
        }
        std::iter::once(&self.command).chain(&self.args).cloned().collect()
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
        let remote = match (&table.command, &table.url) {
            (Some(command), None) if command.get_ref().is_empty() => return Err(refuse(command.span().start, "`command` is empty")),
            (Some(_), None) if !table.headers.is_empty() => return Err(refuse(at, "`headers` are those of a `url`")),
            (Some(_), None) => None,
            (None, Some(url)) => {
                if !(table.args.is_empty() && table.env.is_empty() && table.fs.is_empty()) || table.net || table.unfenced {
                    return Err(refuse(at, "`args`, `env`, `fs`, `net` and `unfenced` are those of a `command`"));
                }
                Some(
                    Remote::parse(url.get_ref(), table.headers.clone().into_iter().collect())
                        .map_err(|why| refuse(url.span().start, &why))?,
                )
            }
            _ => return Err(refuse(at, "it has either a `command` or a `url`")),
        };
        let command = table.command.as_ref().map(|command| command.get_ref().clone()).unwrap_or_default();
        let mut env = Vec::new();
        for (name, value) in &table.env {
            if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
                return Err(refuse(name.span().start, "`env`: that is not the name of a variable"));
            }
            env.push((name.get_ref().clone(), value.clone()));
        }
        let all = table.args.iter().chain(env.iter().map(|(_, value)| value)).chain([&command]);
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
        let args = table.args.clone();
        entries.push(ServerEntry {
            name,
            scope: Scope::User,
            origin,
            remote,
            command,
            args,
            env,
            folders,
            net: table.net,
            unfenced: table.unfenced,
            variables: None,
            workspace: None,
        });
    }
    Ok(entries)
}

/// The workspace's file of servers, in the format that agents read.
pub const SERVERS_FILE: &str = ".mcp.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    command: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Servers, and what in a file is none, by its name.
pub type Listed = (Vec<ServerEntry>, Vec<(String, Error)>);

/// The user's servers, and those of the workspace that have none of their names.
pub(super) fn with_workspace(mut servers: Vec<ServerEntry>, workspace: &Workspace) -> Listed {
    let broken = |error: Error| (SERVERS_FILE.to_owned(), error);
    let read = workspace.folder.read(SERVERS_FILE, FILE_MAX).map_err(|e| match e {
        ReadError::Missing => None,
        e => Some(broken(Error::new(Kind::Config, format!("{SERVERS_FILE}: {e}")))),
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => return (servers, error.into_iter().collect()),
    };
    match workspace_entries(&bytes, workspace.folder.path()) {
        Err(error) => (servers, vec![broken(error)]),
        Ok((entries, mut refused)) => {
            for entry in entries {
                if servers.iter().any(|own| own.name == entry.name) {
                    let error =
                        Error::new(Kind::Config, format!("{}: your own server has the name `{}` too, and stays", entry.origin, entry.name));
                    refused.push((String::new(), error));
                } else {
                    servers.push(entry);
                }
            }
            (servers, refused)
        }
    }
}

/// The servers of a workspace's `.mcp.json`, and why others in it are none: each by its name.
///
/// # Errors
/// [`crate::error::Kind::Config`] where the file is no such document.
pub fn workspace_entries(bytes: &[u8], workspace: &Path) -> Result<Listed, Error> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default, rename = "mcpServers")]
        servers: serde_json::Map<String, serde_json::Value>,
    }
    let source = Source::new(SERVERS_FILE, bytes, Kind::Config)?;
    let file: File = serde_json::from_slice(bytes).map_err(|e| {
        let at = source.text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
        source.error(at, &format!("it is not a JSON object with `mcpServers`: {}", crate::clean::line(&e.to_string(), 200)))
    })?;
    if file.servers.len() > MOST {
        return Err(source.error(0, &format!("`mcpServers`: more than {MOST} entries")));
    }
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for (name, value) in file.servers {
        let quoted = serde_json::to_string(&name).unwrap_or_default();
        let at = source.text.find(&quoted).unwrap_or(0);
        let shown = crate::clean::line(&name, 64);
        let refuse = |why: String| (name.clone(), source.error(at, &format!("`mcpServers.{shown}`: {why}")));
        let written: Written = match serde_json::from_value(value) {
            Ok(written) => written,
            Err(e) => {
                refused.push(refuse(e.to_string()));
                continue;
            }
        };
        let texts = written.args.iter().chain(written.env.keys()).chain(written.env.values());
        let remote = match &written.url {
            Some(url) => match Remote::parse(url, written.headers.clone().into_iter().collect()) {
                Ok(remote) if written.command.is_empty() => Some(remote),
                Ok(_) => {
                    refused.push(refuse("it has either a `command` or a `url`".to_owned()));
                    continue;
                }
                Err(why) => {
                    refused.push(refuse(why));
                    continue;
                }
            },
            None => None,
        };
        // What does not belong to its kind would count for nothing.
        let stray = match &remote {
            Some(_) => !(written.args.is_empty() && written.env.is_empty()),
            None => !written.headers.is_empty(),
        };
        let nul = texts.chain([&written.command]).any(|text| text.contains('\0'));
        let odd = stray
            || written.env.keys().any(|name| name.is_empty() || name.contains('='))
            || (remote.is_none() && written.command.is_empty());
        let kinds: &[&str] = if remote.is_some() { &["http", "streamable-http"] } else { &["stdio"] };
        let name = match SourceName::parse(&name) {
            Ok(name) if !nul && !odd && written.kind.as_deref().is_none_or(|kind| kinds.contains(&kind)) => name,
            Ok(_) => {
                refused.push(refuse("its type, or a text in it, is not one that a process can be started with".to_owned()));
                continue;
            }
            Err(_) => {
                refused.push(refuse("a name is `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes".to_owned()));
                continue;
            }
        };
        entries.push(ServerEntry {
            name,
            scope: Scope::Workspace,
            origin: source.origin(at),
            remote,
            command: written.command,
            args: written.args,
            env: written.env.into_iter().collect(),
            folders: Ok(Vec::new()),
            net: false,
            unfenced: false,
            variables: Some(Vec::new()),
            workspace: Some(workspace.to_owned()),
        });
    }
    // One that leads to this very program is no server behind it.
    entries.retain(|entry| entry.remote.is_some() || !is_self(&entry.command));
    Ok((entries, refused))
}

/// Most entries of a `.mcp.json`.
const MOST: usize = 256;

fn is_self(command: &str) -> bool {
    let path = Path::new(command);
    let same = std::env::current_exe().and_then(std::fs::canonicalize).ok().zip(std::fs::canonicalize(path).ok());
    same.map_or_else(|| path.file_name().is_some_and(|name| name == "palisade"), |(this, that)| this == that)
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
