//! `plugin.toml`: what a plugin is, what it asks for, what it lowers.
//!
//! It is text from outside: a key we do not know is an error, and nothing in it grants anything.

use crate::config::{LimitsTable, Placed, Source};
use crate::error::{Error, Kind};
use crate::sandbox::World;
use palisade_policy::{Access, Capability, FolderPath, Limit, Limits, Request, SourceName, is_framing};
use serde::Deserialize;
use std::str::FromStr;
use toml::Spanned;

/// Name of the manifest in a plugin's folder.
pub const FILE: &str = "plugin.toml";
/// Largest manifest, in bytes.
pub(crate) const MAX: u64 = 1024 * 1024;
/// Limits that are about one call; the others are the user's and the workspace's.
const LIMITS: [Limit; 23] = [
    Limit::Time,
    Limit::DefinitionsTime,
    Limit::Grace,
    Limit::Memory,
    Limit::TableElements,
    Limit::Instances,
    Limit::Memories,
    Limit::Handles,
    Limit::Arguments,
    Limit::Result,
    Limit::Log,
    Limit::HostCalls,
    Limit::WrittenBytes,
    Limit::WrittenFiles,
    Limit::NetRequests,
    Limit::NetConnect,
    Limit::NetIdle,
    Limit::NetHeaders,
    Limit::NetBody,
    Limit::StoreKey,
    Limit::StoreValue,
    Limit::StoreBytes,
    Limit::StoreKeys,
];

/// What a component may be, as `kind` says it: `tools` where it says nothing, and `any` is the first of the three that it is.
const KINDS: [(&str, World); 4] =
    [("tools", World::Plugin), ("component", World::Foreign), ("command", World::Program), ("any", World::Any)];

/// The manifest of a component that has none: it asks for nothing, and is what it exports.
///
/// # Errors
/// [`Kind::Manifest`] where its name gives none for a source.
pub(crate) fn of_bare(component: &str) -> Result<String, Error> {
    let stem = component.strip_suffix(".wasm").unwrap_or(component).to_ascii_lowercase();
    let parts: Vec<&str> = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let name = parts.join("-");
    if SourceName::parse(&name).is_err() {
        let shown = crate::clean::line(component, 64);
        return Err(Error::new(
            Kind::Manifest,
            format!("{shown}: a component without a manifest is called as its file, and this is no name"),
        )
        .hint("rename it like my-tool.wasm, or put it into a folder with a plugin.toml"));
    }
    let component = toml::Value::String(component.to_owned());
    Ok(format!("[plugin]\nname = \"{name}\"\nversion = \"0.0.0\"\ncomponent = {component}\nkind = \"any\"\n"))
}

/// A manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The source part of its tools' ids.
    pub name: SourceName,
    /// Its version.
    pub version: semver::Version,
    /// What it is for; text from outside.
    pub description: String,
    /// The component's path inside the folder.
    pub component: String,
    /// What the component is: `kind`.
    pub world: World,
    /// What it asks for; folders are not resolved yet.
    pub requests: Vec<Request>,
    limits: Vec<(Limit, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    plugin: PluginTable,
    #[serde(default)]
    capabilities: CapabilitiesTable,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    name: Placed,
    version: Placed,
    #[serde(default)]
    description: String,
    component: Placed,
    kind: Option<Placed>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CapabilitiesTable {
    fs: Vec<Spanned<FsRequest>>,
    net: Vec<Spanned<NetRequest>>,
    env: Vec<Spanned<EnvRequest>>,
    store: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FsRequest {
    path: String,
    access: Access,
    why: String,
    #[serde(default)]
    optional: bool,
    mount: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetRequest {
    url: String,
    why: String,
    #[serde(default)]
    optional: bool,
    auth: Option<String>,
    auth_header: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvRequest {
    name: String,
    why: String,
    #[serde(default)]
    optional: bool,
}

impl Manifest {
    /// Parses a manifest; `shown` is its path as an operator reads it.
    ///
    /// # Errors
    /// [`Kind::Manifest`] with file, line and key.
    pub fn parse(shown: &str, bytes: &[u8]) -> Result<Self, Error> {
        let source = Source::new(shown, bytes, Kind::Manifest)?;
        let written: Written = source.parse()?;
        let plugin = &written.plugin;
        let at = |placed: &Placed, key: &str, why: String| source.error(placed.span().start, &format!("`plugin.{key}`: {why}"));
        let name = SourceName::parse(plugin.name.get_ref())
            .map_err(|_| at(&plugin.name, "name", "it is `[a-z][a-z0-9]*([-_][a-z0-9]+)*`, at most 64 bytes".to_owned()))?;
        let version = semver::Version::parse(plugin.version.get_ref())
            .map_err(|e| at(&plugin.version, "version", format!("it is not a semantic version like 0.1.0: {e}")))?;
        let component = plugin.component.get_ref();
        if component.split('/').any(|part| part.is_empty() || matches!(part, "." | "..")) || component.contains(['\\', '\0']) {
            return Err(at(&plugin.component, "component", "it is a path inside the folder, without `.` and `..`".to_owned()));
        }
        if component == FILE {
            return Err(at(&plugin.component, "component", "it is the manifest itself".to_owned()));
        }
        let world = plugin.kind.as_ref().map(|kind| {
            let known = KINDS.iter().find(|(name, _)| name == kind.get_ref());
            known.map(|(_, world)| *world).ok_or_else(|| {
                let names = KINDS.map(|(name, _)| format!("`{name}`")).join(", ");
                at(kind, "kind", format!("it is none of {names}"))
            })
        });
        let world = world.transpose()?.unwrap_or(World::Plugin);
        let mut limits = Vec::new();
        for (key, value) in &written.limits {
            let (limit, value) = Limit::parse(key.get_ref(), value.get_ref())
                .map_err(|e| e.to_string())
                .and_then(|(limit, value)| match LIMITS.contains(&limit) {
                    true => Ok((limit, value)),
                    false => Err("a manifest does not set this limit".to_owned()),
                })
                .map_err(|e| source.error(key.span().start, &format!("`limits.{}`: {e}", crate::clean::line(key.get_ref(), 64))))?;
            limits.push((limit, value));
        }
        let requests = requests(&source, &written.capabilities)?;
        Ok(Self { name, version, description: plugin.description.clone(), component: component.clone(), world, requests, limits })
    }

    /// The limits of its calls: the host's, lowered.
    #[must_use]
    pub fn limits(&self, host: &Limits) -> Limits {
        let mut limits = host.clone();
        self.limits.iter().for_each(|(limit, value)| limits.lower(*limit, *value));
        limits
    }
}

fn requests(source: &Source<'_>, table: &CapabilitiesTable) -> Result<Vec<Request>, Error> {
    let mut out: Vec<Request> = Vec::new();
    let mut mounts = std::collections::HashSet::new();
    for placed in &table.fs {
        let fs = placed.get_ref();
        let refuse = |why: &str| source.error(placed.span().start, &format!("`capabilities.fs`: {why}"));
        let path = FolderPath::from_str(&fs.path).map_err(|e| refuse(&e.to_string()))?;
        let mount = mount(&path, fs.mount.as_deref()).map_err(refuse)?;
        if !mounts.insert(mount.clone()) {
            return Err(refuse(&format!("two requests have the mount {}", crate::clean::line(&mount, 200))));
        }
        let capability = Capability::Fs(fs.access, path);
        out.push(Request { capability, why: fs.why.clone(), optional: fs.optional, mount: Some(mount), header: None, resolved: None });
    }
    let mut plain = |key: &str, at: usize, text: &str, why: &str, optional: bool, header: Option<String>| {
        let capability = format!("{key}:{text}").parse().map_err(|e| (at, format!("{e}")))?;
        out.push(Request { capability, why: why.to_owned(), optional, mount: None, header, resolved: None });
        Ok(())
    };
    for placed in &table.net {
        let (at, net) = (placed.span().start, placed.get_ref());
        let refuse = |(at, why): (usize, String)| source.error(at, &format!("`capabilities.net`: {why}"));
        plain("net", at, &net.url, &net.why, net.optional, None).map_err(refuse)?;
        match (&net.auth, &net.auth_header) {
            (Some(name), header) => {
                let header = header.as_deref().map(header_name).transpose().map_err(|why| refuse((at, why)))?;
                plain("auth", at, &format!("{name}@{}", net.url), &net.why, net.optional, header).map_err(refuse)?;
            }
            (None, Some(_)) => return Err(refuse((at, "`auth_header` is the header of `auth`, which is not there".to_owned()))),
            (None, None) => {}
        }
    }
    for placed in &table.env {
        let env = placed.get_ref();
        let refuse = |(at, why): (usize, String)| source.error(at, &format!("`capabilities.env`: {why}"));
        plain("env", placed.span().start, &env.name, &env.why, env.optional, None).map_err(refuse)?;
    }
    if table.store.as_ref().is_some_and(|s| *s.get_ref()) {
        let why = "keeps its own key-value store".to_owned();
        out.push(Request { capability: Capability::Store, why, optional: false, mount: None, header: None, resolved: None });
    }
    Ok(out)
}

/// The name of a header that may carry a secret: one that says how a message is carried is the host's.
fn header_name(written: &str) -> Result<String, String> {
    match http::HeaderName::from_bytes(written.as_bytes()) {
        Ok(name) if !is_framing(name.as_str()) => Ok(name.as_str().to_owned()),
        _ => Err(format!("`{}` is not a header that may carry a secret", crate::clean::line(written, 64))),
    }
}

/// Where a folder appears in the guest: the workspace at `/workspace`, a folder elsewhere where the request says.
fn mount(path: &FolderPath, written: Option<&str>) -> Result<String, &'static str> {
    match (path, written) {
        (FolderPath::Workspace(_), Some(_)) => Err("a folder of the workspace keeps its place; leave out `mount`"),
        (FolderPath::Workspace(rest), None) if rest.is_empty() => Ok("/workspace".to_owned()),
        (FolderPath::Workspace(rest), None) => Ok(format!("/workspace/{rest}")),
        (FolderPath::Absolute(_), None) => Err("a folder outside the workspace needs a `mount`, like \"/data\""),
        (FolderPath::Absolute(_), Some(mount)) => {
            let mut parts = mount.split('/');
            let absolute = parts.next() == Some("") && mount.len() > 1;
            if !absolute
                || parts.any(|p| p.is_empty() || matches!(p, "." | ".."))
                || mount == "/workspace"
                || mount.starts_with("/workspace/")
            {
                return Err("`mount` is an absolute guest path without `.` and `..`, and not below /workspace");
            }
            Ok(mount.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\ncomponent = \"a.wasm\"\n";

    fn refused(text: &str) -> String {
        let error = Manifest::parse("a/plugin.toml", text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, Kind::Manifest);
        error.message
    }

    #[test]
    fn a_manifest_is_read_whole_or_refused_with_line_and_key() {
        assert!(Manifest::parse("a/plugin.toml", GOOD.as_bytes()).is_ok());
        for (text, line, key) in [
            (GOOD.replace("0.1.0", "one"), 3, "plugin.version"),
            (GOOD.replace("\"a\"", "\"A\""), 2, "plugin.name"),
            (GOOD.replace("a.wasm", "../a.wasm"), 4, "plugin.component"),
            (GOOD.replace("a.wasm", "/a.wasm"), 4, "plugin.component"),
            (GOOD.replace("a.wasm", "plugin.toml"), 4, "plugin.component"),
            (format!("{GOOD}nme = 1\n"), 5, "nme"),
            (format!("{GOOD}[capabilities]\nfs = [{{ path = \"/a\", access = \"read\", why = \"\" }}]\n"), 6, "capabilities.fs"),
            (format!("{GOOD}[capabilities]\nfs = [{{ path = \"@workspace\", access = \"exec\", why = \"\" }}]\n"), 6, "capabilities.fs"),
            (format!("{GOOD}[capabilities]\nnet = [{{ url = \"ftp://a\", why = \"\" }}]\n"), 6, "capabilities.net"),
            (format!("{GOOD}[limits]\ntime = 5\n"), 6, "limits.time"),
            (format!("{GOOD}[limits]\nturns = 5\n"), 6, "limits.turns"),
        ] {
            let got = refused(&text);
            assert!(got.starts_with(&format!("a/plugin.toml:{line}: ")) && got.contains(key), "{text}\n{got}");
        }
    }

    #[test]
    fn a_component_without_a_manifest_has_the_name_of_its_file_and_asks_for_nothing() {
        for (file, name) in [("resvg.wasm", "resvg"), ("My_Tool.v2.wasm", "my-tool-v2"), ("a b.wasm", "a-b"), ("ä-x.wasm", "x")] {
            let manifest = Manifest::parse("p", of_bare(file).unwrap().as_bytes()).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.component.as_str(), manifest.world), (name, file, World::Any));
            assert!(manifest.requests.is_empty());
        }
        for file in ["2.wasm", "--.wasm", ".wasm", &format!("{}.wasm", "a".repeat(65))] {
            assert_eq!(of_bare(file).unwrap_err().kind, Kind::Manifest, "{file}");
        }
    }

    #[test]
    fn a_kind_is_one_of_four() {
        assert_eq!(Manifest::parse("p", GOOD.as_bytes()).unwrap().world, World::Plugin);
        let with = |kind: &str| format!("{GOOD}kind = \"{kind}\"\n");
        assert_eq!(Manifest::parse("p", with("command").as_bytes()).unwrap().world, World::Program);
        let got = refused(&with("wasi"));
        assert_eq!(got, "a/plugin.toml:5: `plugin.kind`: it is none of `tools`, `component`, `command`, `any`");
    }

    #[test]
    fn two_requests_with_one_mount_are_refused() {
        let fs = |path: &str, mount: &str| format!("{{ path = \"{path}\", access = \"read\", why = \"\"{mount} }}");
        let two = |a: String, b: String| refused(&format!("{GOOD}[capabilities]\nfs = [{a}, {b}]\n"));
        assert!(two(fs("@workspace", ""), fs("@workspace", "")).contains("/workspace"));
        assert!(two(fs("/a", ", mount = \"/data\""), fs("/b", ", mount = \"/data\"")).contains("/data"));
    }

    #[test]
    fn a_manifest_only_lowers_limits() {
        let manifest = Manifest::parse("p", format!("{GOOD}[limits]\ntime = \"1h\"\nmemory = \"1MiB\"\n").as_bytes()).unwrap();
        let limits = manifest.limits(&Limits::default());
        assert_eq!(limits.get(Limit::Time), Limit::Time.default_value());
        assert_eq!(limits.get(Limit::Memory), 1024 * 1024);
    }
}
