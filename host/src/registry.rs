//! What is registered: tools, and where each comes from.

use crate::config::{ServerEntry, Settings};
use crate::error::{Error, Kind};
use crate::host::LoadOptions;
use crate::mcp::{self, Server};
use crate::plugins::{self, Plugin, Quarantined, ToolSpec};
use crate::remedy::accepting;
use palisade_policy::{Candidate, Identity, Limits, Refusal, Rule, ToolId};
use std::sync::Arc;

/// A registered tool.
#[derive(Debug)]
pub struct Tool {
    /// What its source says of it.
    pub spec: ToolSpec,
    /// The name under which MCP clients see it.
    pub mcp_name: String,
    /// Its source.
    pub provider: Provider,
    pub(crate) candidate: Candidate,
}

/// Where a tool comes from, and so how its calls run.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A component, in the sandbox.
    Plugin(Arc<Plugin>),
    /// An external server, by a request.
    Server(Arc<Server>),
}

impl Provider {
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Plugin(plugin) => &plugin.identity,
            Self::Server(server) => &server.identity,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        match self {
            Self::Plugin(plugin) => &plugin.limits,
            Self::Server(server) => server.limits(),
        }
    }

    /// How its calls run.
    #[must_use]
    pub fn lane(&self) -> &'static str {
        match self {
            Self::Plugin(_) => "wasm",
            Self::Server(_) => "mcp",
        }
    }
}

impl Tool {
    /// The plugin it belongs to, where it belongs to one.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.provider {
            Provider::Plugin(plugin) => Some(plugin),
            Provider::Server(_) => None,
        }
    }

    /// Whether its server changed it since it was accepted, which only the running server tells.
    pub(crate) fn changed(&self, settings: &Settings) -> Option<Refusal> {
        let Provider::Server(server) = &self.provider else { return None };
        let why = server.changed(self.spec.id.tool())?;
        let reason = format!("{}: {why}", self.spec.id);
        Some(Refusal { rule: Rule::Pin, source: server.entry.origin.clone(), reason, remedy: accepting(settings, &server.entry) })
    }
}

/// The external servers of the settings: those that were accepted, with their tools, and the others.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) accepted: Vec<(Arc<Server>, Vec<ToolSpec>)>,
    pub(crate) held: Vec<ServerEntry>,
}

/// Nothing is started: the tools are those that were accepted.
pub(crate) fn servers(settings: &Settings, options: &LoadOptions<'_>, loaded: &mut plugins::Loaded) -> Servers {
    let mut servers = Servers::default();
    for (key, error) in &settings.broken_servers {
        loaded.quarantined.push(Quarantined { source: crate::clean::line(key, 64), key: key.clone(), error: error.clone() });
    }
    for entry in &settings.servers {
        let entry = &mut entry.clone();
        let name = entry.name.to_string();
        if options.only.is_some_and(|only| only != name) {
            continue;
        }
        let twin = loaded.plugins.iter().any(|plugin| plugin.manifest.name == entry.name);
        let tools = match mcp::accepted(settings, entry) {
            _ if twin => Err(Error::new(Kind::Config, format!("{}: a plugin has the name `{name}` too; rename one", entry.origin))),
            Ok(None) => {
                servers.held.push(entry.clone());
                continue;
            }
            Ok(Some(tools)) => plugins::check_definitions(&entry.name, tools.clone(), ToolId::parse_mcp, &mut loaded.quarantined)
                .map(|specs| (tools, specs)),
            Err(error) => Err(error),
        };
        match tools {
            Ok((tools, specs)) => {
                let limits = &settings.limits;
                let mut running = options.before.into_iter().flat_map(|host| &host.servers);
                // One that runs already, and is what it was, runs on.
                if let Some(server) = running.find(|server| server.identity == entry.identity() && server.goes_on(&tools, limits)) {
                    servers.accepted.push((server.clone(), specs));
                    continue;
                }
                let server = Server::new(entry.clone(), tools, &settings.home, settings.workspace.folder.path(), &settings.limits);
                let server = match options.compiler {
                    Some(program) => server.supervised_by(program),
                    None => server,
                };
                servers.accepted.push((Arc::new(server), specs));
            }
            Err(error) => loaded.quarantined.push(Quarantined { source: name.clone(), key: name, error }),
        }
    }
    servers
}
