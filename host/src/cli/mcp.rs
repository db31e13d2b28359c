//! `palisade mcp`: external servers, what is held of them, and what a person accepts.

use super::{Context, consent};
use palisade::config::{Allowed, SERVERS_FILE, Scope, ServerEntry, workspace_entries};
use palisade::mcp::{Accepted, Seen, Server, difference, open};
use palisade::policy::quoted;
use palisade::sandbox::Definition;
use palisade::{Error, Host, Kind, clean};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Subcommand)]
pub enum McpCommand {
    /// Start every server, and show its state, protocol, tools, holds and fence
    List,
    /// Start a server that is held, and show what it is started with and what it offers
    Review(NameArgs),
    /// Accept a server's entry and its tools, as they are now
    Accept(AcceptArgs),
    /// Take back what was accepted of a server
    Remove(NameArgs),
    /// Move the servers of the workspace's .mcp.json into your own config, and print the file to leave in its place
    Import {
        /// Answer yes
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
pub struct NameArgs {
    /// The server's name
    name: String,
}

#[derive(clap::Args)]
pub struct AcceptArgs {
    /// The server's name
    name: String,
    /// Leave a folder open to a server of the workspace: read:PATH or write:PATH
    #[arg(long, value_name = "ACCESS:PATH")]
    fs: Vec<String>,
    /// Leave the network open to a server of the workspace
    #[arg(long)]
    net: bool,
    /// Start a server of the workspace without a fence
    #[arg(long)]
    unfenced: bool,
    /// Let `${NAME}` in the entry of a server of the workspace read a variable
    #[arg(long, value_name = "NAME")]
    env: Vec<String>,
    /// Answer yes
    #[arg(long)]
    yes: bool,
}

impl AcceptArgs {
    fn allowed(&self) -> Allowed {
        Allowed { fs: self.fs.clone(), net: self.net, unfenced: self.unfenced, env: self.env.clone() }
    }
}

pub async fn run(context: &Context, command: McpCommand) -> Result<ExitCode, Error> {
    match command {
        McpCommand::List => list(context).await,
        McpCommand::Review(args) => review(context, &args.name).await,
        McpCommand::Accept(args) => accept(context, args).await,
        McpCommand::Remove(args) => remove(context, &args.name),
        McpCommand::Import { yes } => import(context, yes),
    }
}

async fn list(context: &Context) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let mut starting = tokio::task::JoinSet::new();
    for server in host.servers().iter().cloned() {
        starting.spawn(async move { (server.entry.name.to_string(), server.ready().await) });
    }
    let mut seen = std::collections::BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        let (name, started) = started.map_err(|e| Error::internal("starting an MCP server", &e))?;
        seen.insert(name, started);
    }
    let mut servers: Vec<Value> = host.servers().iter().map(|server| state(host, server, &seen[server.entry.name.as_str()])).collect();
    let held = |entry: &ServerEntry| json!({"name": entry.name.as_str(), "state": "held", "source": entry.origin.to_string()});
    servers.extend(host.unaccepted().iter().map(held));
    context.out.payload(&json!({"servers": servers}), || {
        if servers.is_empty() {
            return format!("no servers: {}", palisade::session::init(host)["mcp_prefetch"].reason);
        }
        servers.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn state(host: &Host, server: &Server, seen: &Result<Seen, Error>) -> Value {
    let name = server.entry.name.as_str();
    let tools: Vec<Value> = host
        .tools()
        .filter(|tool| tool.spec.id.source() == name)
        .map(|tool| json!({"id": tool.spec.id.as_str(), "held": server.changed(tool.spec.id.tool())}))
        .collect();
    let (state, protocol, reason) = match seen {
        Ok(seen) => ("running", Some(clean::line(&seen.protocol, 64)), None),
        Err(error) => ("degraded", None, Some(clean::line(&error.message, clean::TEXT))),
    };
    json!({
        "name": name, "state": state, "source": server.entry.origin.to_string(), "protocol": protocol, "reason": reason,
        "fence": server.fence(), "tools": tools,
    })
}

fn line(server: &Value) -> String {
    let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    match server["state"].as_str() {
        Some("held") => format!("{name}: held ({}): nobody accepted it; palisade mcp review {name}", text("source")),
        Some("degraded") => format!("{name}: degraded: {}", text("reason")),
        _ => {
            let none = Vec::new();
            let tools = server["tools"].as_array().unwrap_or(&none);
            let held: Vec<String> =
                tools.iter().filter_map(|t| Some(format!("\n  held: {}: {}", t["id"].as_str()?, t["held"].as_str()?))).collect();
            format!("{name}: running, protocol {}, {} tools, fence: {}{}", text("protocol"), tools.len(), text("fence"), held.concat())
        }
    }
}

/// Starts a server as it stands in its file, whatever was accepted of it; one of a workspace with what is left open to it.
async fn look(context: &Context, name: &str, allowed: Option<&Allowed>) -> Result<(Arc<Server>, Seen, Option<Accepted>), Error> {
    let settings = context.settings()?;
    let mut entry = entry(&settings, name)?;
    let accepted = Accepted::read(&settings.home, &entry)?;
    let known = accepted.as_ref().map(|accepted| accepted.allowed.clone()).unwrap_or_default();
    let allowed = allowed.cloned().unwrap_or(known);
    if entry.remote.is_some() && (allowed.net || allowed.unfenced || !allowed.fs.is_empty()) {
        let what = format!("{} is spoken to by its URL: --fs, --net and --unfenced are about a process", entry.name);
        return Err(Error::new(Kind::Usage, what).hint("leave them out"));
    }
    if entry.scope == Scope::Workspace {
        open(&settings, &mut entry, &allowed);
    } else if allowed != Allowed::default() {
        let what = format!("{} stands in your own config, which says what is open to it", entry.name);
        return Err(Error::new(Kind::Usage, what).hint(format!("write it at {}", entry.origin)));
    }
    let tools = accepted.as_ref().map(|accepted| accepted.tools.clone()).unwrap_or_default();
    let server = Arc::new(Server::new(entry, tools, &settings.home, settings.workspace.folder.path(), &settings.limits));
    let seen = server.ready().await?;
    Ok((server, seen, accepted))
}

fn entry(settings: &palisade::config::Settings, name: &str) -> Result<ServerEntry, Error> {
    let init = settings.init.of(palisade::policy::Subsystem::McpPrefetch);
    let found = settings.servers.iter().find(|entry| entry.name.as_str() == name).cloned();
    found.ok_or_else(|| {
        let error = Error::new(Kind::NotFound, format!("there is no MCP server {}: {}", clean::line(name, clean::NAME), init.reason));
        match &init.remedy {
            Some(remedy) => error.hint(remedy.clone()),
            None => error.hint("name it under [mcp.NAME] in your config"),
        }
    })
}

/// What a tool says of itself, on which nothing is decided here; clients may.
fn claims(tool: &Definition) -> String {
    let Some(hints) = tool.hints else { return "nothing in particular".to_owned() };
    let said = [
        (hints.read_only, "read-only"),
        (hints.destructive, "destructive"),
        (hints.idempotent, "idempotent"),
        (hints.open_world, "open to the world"),
    ];
    let said: Vec<&str> = said.into_iter().filter_map(|(holds, word)| holds.then_some(word)).collect();
    if said.is_empty() { "neither read-only nor destructive".to_owned() } else { said.join(", ") }
}

/// What a person decides on, as lines.
fn lines(server: &Server, seen: &Seen, accepted: Option<&Accepted>) -> Vec<String> {
    let entry = &server.entry;
    let word = |text: &str| quoted(&clean::line(text, clean::NAME));
    let mut lines = vec![
        format!("{} ({}), protocol {}", entry.name, entry.origin, clean::line(&seen.protocol, 64)),
        format!(
            "  {} {}",
            if entry.remote.is_some() { "is asked at" } else { "runs" },
            entry.argv().iter().map(|one| word(one)).collect::<Vec<_>>().join(" ")
        ),
    ];
    lines.extend(entry.env.iter().map(|(name, value)| format!("  with {}={}", clean::line(name, 64), word(value))));
    for (path, _, access) in entry.folders.iter().flatten() {
        lines.push(format!("  may {access} {}", word(path)));
    }
    if let Some(variables) = entry.variables.as_ref().filter(|variables| !variables.is_empty()) {
        lines.push(format!("  may read the variables {}", variables.iter().map(|one| clean::line(one, 64)).collect::<Vec<_>>().join(", ")));
    }
    if let Some(remote) = &entry.remote {
        // Their values are nobody's to see.
        lines.extend(remote.headers.iter().map(|(name, _)| format!("  with the header {}", clean::line(name, 64))));
        lines.extend(tools(seen, accepted));
        return lines;
    }
    lines.push(format!("  may {} the network", if entry.net { "use" } else { "not use" }));
    lines.extend(seen.reads.iter().map(|path| format!("  reads {}", word(&path.display().to_string()))));
    lines.push(format!("  fence: {}", server.fence()));
    if matches!(entry.command.rsplit('/').next(), Some("npx" | "uvx")) {
        let hint =
            "it installs what it runs at each start, for which its fence leaves no room; install it first, and name what was installed";
        lines.push(format!("  {}: {hint}", clean::line(&entry.command, 64)));
    }
    lines.extend(tools(seen, accepted));
    lines
}

/// Each tool, and whether it is what was accepted.
fn tools(seen: &Seen, accepted: Option<&Accepted>) -> Vec<String> {
    let mut lines = Vec::new();
    let before = |tool: &Definition| accepted.and_then(|accepted| accepted.tools.iter().find(|known| known.name == tool.name));
    for tool in &seen.tools {
        let (name, about) = (clean::line(&tool.name, clean::NAME), clean::line(&tool.description, clean::TEXT));
        let state = match before(tool) {
            None => "new".to_owned(),
            Some(known) => difference(known, tool).unwrap_or_else(|| "as accepted".to_owned()),
        };
        let title = tool.title.as_ref().map(|title| format!(" \"{}\"", clean::line(title, clean::NAME))).unwrap_or_default();
        lines.push(format!("  tool {name}{title} ({state}): {about}"));
        let hidden = tool.description.len().saturating_sub(about.len())
            + tool.input_schema.len()
            + tool.output_schema.as_ref().map_or(0, String::len);
        lines.push(format!("    says it is {}; {hidden} bytes of it and of its schemas are shown by --format json", claims(tool)));
        if let Some(known) = before(tool).filter(|known| known.description != tool.description) {
            lines.push(format!("    it was: {}", clean::line(&known.description, clean::TEXT)));
        }
    }
    let gone =
        accepted.into_iter().flat_map(|accepted| &accepted.tools).filter(|known| seen.tools.iter().all(|now| now.name != known.name));
    lines.extend(gone.map(|tool| format!("  tool {} is gone", clean::line(&tool.name, clean::NAME))));
    lines
}

fn document(server: &Server, seen: &Seen, accepted: Option<&Accepted>) -> Value {
    let tool = |tool: &Definition| {
        let known = accepted.and_then(|accepted| accepted.tools.iter().find(|known| known.name == tool.name));
        let changed = known.map(|known| difference(known, tool));
        let state = match &changed {
            None => "new",
            Some(None) => "accepted",
            Some(Some(_)) => "changed",
        };
        json!({
            "name": clean::line(&tool.name, clean::NAME), "title": tool.title.as_deref().map(|title| clean::line(title, clean::NAME)),
            "description": clean::block(&tool.description), "claims": claims(tool), "state": state,
            "input_schema": clean::block(&tool.input_schema), "output_schema": tool.output_schema.as_deref().map(clean::block),
        })
    };
    let entry = &server.entry;
    json!({
        "name": entry.name.as_str(), "source": entry.origin.to_string(), "identity": format!("sha256:{}", server.identity),
        "argv": entry.argv().iter().map(|word| clean::block(word)).collect::<Vec<_>>(),
        "reads": seen.reads.iter().map(|path| clean::line(&path.display().to_string(), clean::TEXT)).collect::<Vec<_>>(),
        "net": entry.net, "fence": server.fence(), "protocol": clean::line(&seen.protocol, 64),
        "tools": seen.tools.iter().map(tool).collect::<Vec<_>>(),
    })
}

async fn review(context: &Context, name: &str) -> Result<ExitCode, Error> {
    let (server, seen, accepted) = look(context, name, None).await?;
    context.out.payload(&document(&server, &seen, accepted.as_ref()), || lines(&server, &seen, accepted.as_ref()).join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn accept(context: &Context, args: AcceptArgs) -> Result<ExitCode, Error> {
    let (server, seen, accepted) = look(context, &args.name, Some(&args.allowed())).await?;
    lines(&server, &seen, accepted.as_ref()).iter().for_each(|line| context.out.say(line));
    consent::confirm(context, &format!("accept it, with {} tools?", seen.tools.len()), args.yes)?;
    let home = context.settings()?.home;
    let tools = seen.tools.len();
    Accepted::write(&home, &server.entry, args.allowed(), seen.tools)?;
    let document = json!({"accepted": server.entry.name.as_str(), "identity": format!("sha256:{}", server.identity), "tools": tools});
    context.out.payload(&document, || format!("accepted {}: {tools} tools; one that changes is held", server.entry.name))?;
    Ok(ExitCode::SUCCESS)
}

/// Taking away needs nobody's yes, and starts nothing.
fn remove(context: &Context, name: &str) -> Result<ExitCode, Error> {
    let settings = context.settings()?;
    let entry = entry(&settings, name)?;
    if !Accepted::remove(&settings.home, &entry)? {
        return Err(Error::new(Kind::NotFound, format!("nothing of {} was accepted", entry.name)).hint("palisade mcp list"));
    }
    context.out.payload(&json!({"removed": entry.name.as_str()}), || format!("nothing of {} is accepted any more", entry.name))?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever types this reads the file whatever the trust in its workspace is: nothing is started.
fn import(context: &Context, yes: bool) -> Result<ExitCode, Error> {
    let settings = context.settings()?;
    let root = settings.workspace.folder.path();
    let read = settings.workspace.folder.read(SERVERS_FILE, 1024 * 1024);
    let bytes = read.map_err(|e| Error::new(Kind::NotFound, format!("{SERVERS_FILE} of {}: {e}", root.display())))?;
    let (entries, refused) = workspace_entries(&bytes, root)?;
    let (known, new): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| settings.servers.iter().any(|own| own.scope == Scope::User && own.name == entry.name));
    for entry in &known {
        context.out.warn(&format!("{}: your config has a server of this name already; it is left out", entry.name));
    }
    for (_, error) in &refused {
        context.out.warn(&error.message);
    }
    if new.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("{SERVERS_FILE} names no server to move")).hint("palisade mcp list"));
    }
    let mut text = String::new();
    for entry in &new {
        let mut table = toml::Table::new();
        if let Some(remote) = &entry.remote {
            table.insert("url".to_owned(), entry.argv().concat().into());
            let headers = remote.headers.iter().map(|(name, value)| (name.clone(), toml::Value::from(value.clone())));
            table.insert("headers".to_owned(), toml::Value::Table(headers.collect()));
        } else {
            table.insert("command".to_owned(), entry.command.clone().into());
            table.insert("args".to_owned(), entry.args.clone().into());
        }
        if !entry.env.is_empty() {
            let env = entry.env.iter().map(|(name, value)| (name.clone(), toml::Value::from(value.clone())));
            table.insert("env".to_owned(), toml::Value::Table(env.collect()));
        }
        let whole = toml::Table::from_iter([(
            "mcp".to_owned(),
            toml::Value::Table(toml::Table::from_iter([(entry.name.to_string(), toml::Value::Table(table))])),
        )]);
        let shown = toml::to_string(&whole).map_err(|e| Error::internal("the entry as TOML", &e))?;
        // What it reads of its own folder it needs to be given: nothing is open to it yet.
        text.push_str(&format!("\n{shown}"));
        context.out.say(&format!(
            "{} runs {}",
            entry.name,
            entry.argv().iter().map(|word| quoted(&clean::line(word, clean::NAME))).collect::<Vec<_>>().join(" ")
        ));
    }
    let config = settings.config_file().to_owned();
    consent::confirm(context, &format!("write these {} servers into {}?", new.len(), config.display()), yes)?;
    let before = match std::fs::read(&config) {
        Ok(before) => before,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Error::io(config.display(), &e)),
    };
    if let Some(folder) = config.parent() {
        palisade::config::make_folder(folder)?;
    }
    palisade::files::write_whole(&config, &[&before, text.as_bytes()]).map_err(|e| Error::io(config.display(), &e))?;
    let names: Vec<&str> = new.iter().map(|entry| entry.name.as_str()).collect();
    let moved = |name: &String| names.contains(&name.as_str());
    let mut left: Value = serde_json::from_slice(&bytes).map_err(|e| Error::internal("the file that was read", &e))?;
    if let Some(servers) = left.get_mut("mcpServers").and_then(Value::as_object_mut) {
        servers.retain(|name, _| !moved(name));
        servers.entry("palisade").or_insert(json!({"command": "palisade", "args": ["--profile", "trusted", "serve"]}));
    }
    context.out.payload(&json!({"moved": names, "file": left}), || serde_json::to_string_pretty(&left).unwrap_or_default())?;
    context.out.say(&format!("moved {}; leave this in {SERVERS_FILE}, and look at each: palisade mcp review NAME", names.join(", ")));
    Ok(ExitCode::SUCCESS)
}
