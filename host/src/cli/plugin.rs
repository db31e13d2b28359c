//! `palisade plugin`.

use super::{Context, added, author, check, consent};
use palisade::plugins::{self, Plugin};
use palisade::policy::Capability;
use palisade::sandbox::{Allocator, Compiler, Sandbox};
use palisade::{Error, clean};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Subcommand)]
pub enum PluginCommand {
    /// List the plugins that are loaded
    List {
        /// Print the lock file for them instead: palisade plugin list --lock > palisade.lock
        #[arg(long)]
        lock: bool,
    },
    /// Make a plugin's folder, with one tool, its test and its manifest
    New(author::NewArgs),
    /// Compile a plugin into its folder dist, which --plugin takes
    Build(author::BuildArgs),
    /// Show what a plugin is, asks for, is granted and imports
    Inspect {
        /// Its folder, or a component without a manifest: FILE.wasm
        dir: PathBuf,
    },
    /// Look at a plugin as a careful reviewer does, call its tools in a place of their own, and say what is wrong; ends with 7
    /// where anything is
    Check(check::CheckArgs),
    /// Copy a plugin into the store, so that it is there in every trusted session
    Add(added::AddArgs),
    /// Put another version in the place of an added plugin, after showing what differs
    Update(added::UpdateArgs),
    /// Go back to the version before
    Rollback(added::NameArgs),
    /// Take an added plugin out, with all its versions and grants
    Remove(added::NameArgs),
    /// Grant a plugin, as it is now, what it asks for
    Grant(consent::GrantArgs),
    /// Take back what was granted
    Revoke(consent::RevokeArgs),
}

pub async fn run(context: &Context, command: PluginCommand) -> Result<ExitCode, Error> {
    match command {
        PluginCommand::List { lock } => list(context, lock).await,
        PluginCommand::New(args) => author::new(context, args),
        PluginCommand::Build(args) => author::build(context, args).await,
        PluginCommand::Inspect { dir } => inspect(context, &dir).await,
        PluginCommand::Check(args) => check::run(context, args).await,
        PluginCommand::Add(args) => added::add(context, args).await,
        PluginCommand::Update(args) => added::update(context, args).await,
        PluginCommand::Rollback(args) => added::rollback(context, &args),
        PluginCommand::Remove(args) => added::remove(context, &args),
        PluginCommand::Grant(args) => consent::grant(context, args).await,
        PluginCommand::Revoke(args) => consent::revoke(context, &args),
    }
}

async fn list(context: &Context, lock: bool) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let plugins = host.plugins();
    if lock {
        let tools =
            |plugin: &Arc<Plugin>| host.tools().filter(|t| t.plugin().is_some_and(|of| Arc::ptr_eq(of, plugin))).map(|t| &t.spec).collect();
        let text = plugins::write_lock(plugins.iter().map(|plugin| (&**plugin, tools(plugin))));
        context.out.payload(&json!({"lock": text}), || text.clone())?;
        return Ok(ExitCode::SUCCESS);
    }
    let document = json!({"plugins": plugins.iter().map(|p| summary(p)).collect::<Vec<_>>()});
    context.out.payload(&document, || {
        if plugins.is_empty() {
            return format!("no plugins: {}", palisade::session::init(host)["plugin_init"].reason);
        }
        let line = |p: &Plugin| {
            format!("{} {} in {}: {}", p.manifest.name, p.manifest.version, p.folder, clean::line(&p.manifest.description, clean::NAME))
        };
        plugins.iter().map(|p| line(p)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn inspect(context: &Context, dir: &std::path::Path) -> Result<ExitCode, Error> {
    let settings = context.settings()?;
    let cache = palisade::code_cache(&settings.home);
    let sandbox = Sandbox::new(Allocator::OnDemand, &settings.limits, cache, Some(Compiler::new(&super::compiler())));
    let progress = super::progress::Compiling::new(&context.out);
    let watcher = progress.as_ref().map(|p| p as _);
    let (plugin, broken) = plugins::load_folder(&settings, &sandbox, dir, watcher).await?;
    drop(progress);
    let mut document = summary(&plugin);
    document["imports"] = json!(plugin.component.imports().iter().map(|i| clean::line(i, clean::NAME)).collect::<Vec<_>>());
    document["tools"] = plugin.tools.iter().map(|t| json!({"id": t.id.as_str(), "description": t.description})).collect();
    let reason = |q: &plugins::Quarantined| json!({"source": q.source, "reason": clean::line(&q.error.message, clean::TEXT)});
    document["quarantined"] = broken.iter().map(reason).collect();
    context.out.payload(&document, || {
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let mut lines = vec![
            format!("{} {}: {}", text("name"), text("version"), text("description")),
            format!("identity: sha256:{}", plugin.identity),
            format!("folder: {}", plugin.folder),
        ];
        lines.extend(requests(&plugin).into_iter().map(|(capability, state, why)| format!("asks for {capability} ({state}): {why}")));
        lines.extend(plugin.tools.iter().map(|t| format!("tool {}: {}", t.id, clean::line(&t.description, clean::NAME))));
        lines.extend(broken.iter().map(|q| format!("not registered: {}: {}", q.source, clean::line(&q.error.message, clean::TEXT))));
        lines.extend(plugin.component.imports().iter().map(|i| format!("imports {}", clean::line(i, clean::NAME))));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn summary(plugin: &Plugin) -> Value {
    let requests: Vec<Value> = requests(plugin)
        .into_iter()
        .map(|(capability, state, why)| json!({"capability": capability, "state": state, "why": why}))
        .collect();
    json!({
        "name": plugin.manifest.name.as_str(),
        "version": plugin.manifest.version.to_string(),
        "description": clean::line(&plugin.manifest.description, clean::TEXT),
        "identity": format!("sha256:{}", plugin.identity),
        "folder": plugin.folder,
        "requests": requests,
    })
}

/// What it asks for, whether it has it, and why it asks.
fn requests(plugin: &Plugin) -> Vec<(String, &'static str, String)> {
    let has = |capability: &Capability| match capability {
        c if plugin.effective.missing.contains(c) => "needed, not granted",
        c if plugin.effective.absent.contains(c) => "optional, not granted",
        _ => "granted",
    };
    let requests = plugin.manifest.requests.iter();
    requests.map(|r| (clean::line(&r.capability.to_string(), clean::NAME), has(&r.capability), clean::line(&r.why, clean::TEXT))).collect()
}
