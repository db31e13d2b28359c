//! `palisade trust`, `plugin grant` and `plugin revoke`: what a person says yes to.

use super::{Context, plugin};
use palisade::config::{Consent, Consents, Files, Home, Scope, Settings, TrustRecord, digest, files_to_trust, now};
use palisade::plugins::Plugin;
use palisade::policy::{Capability, Grant, Origin, effective, quoted};
use palisade::{Error, Host, Kind, LoadOptions, clean};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct TrustArgs {
    /// Withdraw trust, and what was granted with it
    #[arg(long)]
    revoke: bool,
    /// Answer yes
    #[arg(long, conflicts_with = "revoke")]
    yes: bool,
}

pub async fn trust(context: &Context, args: TrustArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    if args.revoke { revoke_trust(context, &home) } else { record_trust(context, &home, args.yes).await }
}

fn revoke_trust(context: &Context, home: &Home) -> Result<ExitCode, Error> {
    // Nothing of the workspace is read: whatever it holds, trust in it can be taken back.
    let named = context.options.workspace.clone().unwrap_or_else(|| std::path::PathBuf::from("."));
    let folder =
        palisade::files::Folder::open(&named).map_err(|e| Error::new(Kind::NotFound, format!("the workspace {}: {e}", named.display())))?;
    let root = folder.path();
    let trusted = TrustRecord::remove(home, root)?;
    let here = digest(root);
    let mut taken = 0;
    if Consents::read(home)?.given().iter().any(|consent| consent.workspace.as_deref() == Some(here.as_str())) {
        Consents::change(home, |kept| {
            let before = kept.len();
            kept.retain(|consent| consent.workspace.as_deref() != Some(here.as_str()));
            taken = before - kept.len();
        })?;
    }
    let document = json!({"workspace": root.display().to_string(), "trusted": false, "was_trusted": trusted, "grants_revoked": taken});
    context.out.payload(&document, || match trusted {
        true => format!("{} is no longer trusted; {taken} grants were revoked", clean::line(&root.display().to_string(), clean::NAME)),
        false => "it was not trusted".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn record_trust(context: &Context, home: &Home, yes: bool) -> Result<ExitCode, Error> {
    let options = palisade::config::Options { trust_workspace: true, ..context.options.clone() };
    let mut settings = Settings::resolve(&options, home.clone())?;
    let workspace = settings.workspace.clone();
    let named = settings.workspace_dirs();
    let files = files_to_trust(&workspace, &named)?;
    // What is shown below is loaded from these very bytes.
    settings.workspace_trust.files = Some(Arc::new(files.clone()));
    settings.plugin_dirs.retain(|dir| dir.scope == Scope::Workspace);
    settings.hooks.retain(|hook| hook.dir.scope == Scope::Workspace);
    settings.skill_dirs.retain(|dir| dir.scope == Scope::Workspace);
    let compiler = super::compiler();
    let load = LoadOptions { compiler: Some(&compiler), allocator: palisade::sandbox::Allocator::OnDemand, ..LoadOptions::default() };
    let host = Host::load(settings, load).await?;
    let hooks = host.hooks().iter().filter_map(|hook| hook.source.as_ref());
    let plugins: Vec<&Plugin> = host.plugins().iter().map(AsRef::as_ref).chain(hooks.map(AsRef::as_ref)).collect();
    let shown = clean::line(&workspace.folder.path().display().to_string(), clean::NAME);
    context.out.say(&format!("{shown}: {} files decide what runs here", files.len()));
    for broken in host.quarantined() {
        context.out.say(&format!("set aside: {}: {}", broken.source, clean::line(&broken.error.message, clean::TEXT)));
    }
    let skills: Vec<&str> = host.skills().map(|skill| skill.name.as_str()).collect();
    for skill in host.skills() {
        let tools = if skill.brings_tools { ", with tools" } else { "" };
        context.out.say(&format!("the skill {} in {}{tools}: {}", skill.name, skill.shown, clean::line(&skill.description, clean::NAME)));
    }
    for entry in host.unaccepted().iter().filter(|entry| entry.scope == Scope::Workspace) {
        let argv = entry.argv().iter().map(|word| quoted(&clean::line(word, clean::NAME))).collect::<Vec<_>>().join(" ");
        context.out.say(&format!(
            "{} names the MCP server {}, which runs {argv}; it is held until palisade mcp accept {}",
            entry.origin, entry.name, entry.name
        ));
    }
    let mut documents = Vec::new();
    let mut grants = Vec::new();
    for plugin in plugins {
        let (document, given) = ask_of(context, home, plugin);
        documents.push(document);
        grants.extend(given);
    }
    confirm(context, &format!("trust this workspace, and grant the {} capabilities named above?", grants.len()), yes)?;
    if files_to_trust(&workspace, &named)? != files {
        return Err(Error::new(Kind::Config, "the workspace changed while it was looked at; nothing was recorded").hint("palisade trust"));
    }
    keep(home, &workspace.folder, files.clone(), &grants)?;
    let document = json!({
        "workspace": shown, "trusted": true, "files": files.len(), "plugins": documents, "skills": skills, "grants": grants,
    });
    context.out.payload(&document, || format!("trusted: {} files, {} grants; any change of a file ends it", files.len(), grants.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// First the grants, then the trust that makes them count.
fn keep(home: &Home, folder: &palisade::files::Folder, files: Files, grants: &[String]) -> Result<(), Error> {
    let here = digest(folder.path());
    Consents::change(home, |kept| {
        kept.retain(|consent| consent.workspace.as_deref() != Some(here.as_str()));
        let consent = |grant: &String| Consent { grant: grant.clone(), workspace: Some(here.clone()), since: now() };
        kept.extend(grants.iter().map(consent));
    })?;
    TrustRecord::write(home, folder.path(), files)
}

/// Shows what a plugin asks for, and gives back what can be granted of it.
fn ask_of(context: &Context, home: &Home, plugin: &Plugin) -> (Value, Vec<String>) {
    let manifest = &plugin.manifest;
    context.out.say(&format!("{} {} in {} (sha256:{})", manifest.name, manifest.version, plugin.folder, plugin.identity));
    let (mut given, mut refused) = (Vec::new(), Vec::new());
    for request in &manifest.requests {
        let capability = clean::line(&request.capability.to_string(), clean::NAME);
        let optional = if request.optional { ", optional" } else { "" };
        match grantable(context, home, plugin, &request.capability) {
            Ok(()) => {
                context.out.say(&format!("  asks for {capability}{optional}: {}", clean::line(&request.why, clean::TEXT)));
                given.push(format!("{}@sha256:{}:{}", manifest.name, plugin.identity, request.capability));
            }
            Err(error) => {
                let why = clean::line(&error.message, clean::TEXT);
                context.out.say(&format!("  asks for {capability}{optional}, which cannot be granted: {why}"));
                refused.push(json!({"capability": capability, "reason": why}));
            }
        }
    }
    if manifest.requests.is_empty() {
        context.out.say("  asks for nothing");
    }
    let sends = can_send(plugin);
    if sends {
        context.out.say("  CAN SEND WHAT IT READS: it asks for files or variables, and for the network");
    }
    let mut document = plugin::summary(plugin);
    document["can_send_what_it_reads"] = json!(sends);
    document["refused"] = json!(refused);
    (document, given)
}

/// Whether it asks for something to read and for a way out.
pub fn can_send(plugin: &Plugin) -> bool {
    let asks = |wanted: fn(&Capability) -> bool| plugin.manifest.requests.iter().any(|request| wanted(&request.capability));
    asks(|c| matches!(c, Capability::Fs(..) | Capability::Env(_))) && asks(|c| matches!(c, Capability::Net(_)))
}

/// Whether the rules for grants allow it in this workspace.
pub fn grantable(context: &Context, home: &Home, plugin: &Plugin, capability: &Capability) -> Result<(), Error> {
    let grants = vec![format!("{}:{capability}", plugin.manifest.name)];
    let options = palisade::config::Options { grants, trust_workspace: false, ..context.options.clone() };
    Settings::resolve(&options, home.clone()).map(drop)
}

/// Asks on the terminal; without one the answer is no.
pub fn confirm(context: &Context, question: &str, yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    let declined = |why: &str| Err(Error::new(Kind::Usage, format!("{why}; nothing was recorded")).hint("--yes, where you mean it"));
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return declined("there is no terminal to ask on");
    }
    context.out.ask(&format!("{question} [y/N] "));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|e| Error::io("the terminal", &e))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { declined("the answer was no") }
}

#[derive(clap::Args)]
pub struct GrantArgs {
    /// The plugin's name
    name: String,
    /// Capabilities, as fs:read:PATH, fs:write:PATH, net:URL, env:NAME or store
    #[arg(required = true)]
    capabilities: Vec<String>,
    /// Answer yes
    #[arg(long)]
    yes: bool,
}

pub async fn grant(context: &Context, args: GrantArgs) -> Result<ExitCode, Error> {
    let host = context.one_shot(Some(&args.name)).await?;
    let absent =
        || Error::new(Kind::NotFound, format!("no plugin {} is loaded", clean::line(&args.name, clean::NAME))).hint("palisade plugin list");
    let hooks = host.hooks().iter().filter_map(|hook| hook.source.as_ref());
    let plugin = host.plugins().iter().chain(hooks).find(|p| p.manifest.name.as_str() == args.name).ok_or_else(absent)?;
    if plugin.scope == Scope::Flag {
        let what = format!("{} comes from a flag of this command alone", plugin.manifest.name);
        return Err(Error::new(Kind::Usage, what).hint("grant it with --grant on the same command line"));
    }
    let home = Home::from_environment()?;
    let mut grants = Vec::new();
    for text in &args.capabilities {
        let refuse = |why: String| Error::new(Kind::Usage, format!("{}: {why}", clean::line(text, clean::NAME)));
        let stored = format!("{}@sha256:{}:{text}", plugin.manifest.name, plugin.identity);
        let mut parsed = Grant::parse_stored(&stored, Origin::Flag("grant")).map_err(|e| refuse(e.to_string()))?;
        grantable(context, &home, plugin, &parsed.capability)?;
        if let Capability::Fs(_, path) = &parsed.capability {
            parsed.resolved = host.settings().workspace.resolve(path).ok();
        }
        if effective(&plugin.manifest.requests, &[parsed]).used.is_empty() {
            return Err(refuse(format!("{} asks for nothing like it", plugin.manifest.name))
                .hint(format!("palisade plugin inspect {}", plugin.folder)));
        }
        context.out.say(&format!(
            "{} {} (sha256:{}): {}",
            plugin.manifest.name,
            plugin.manifest.version,
            plugin.identity,
            clean::line(text, clean::NAME)
        ));
        grants.push(stored);
    }
    if can_send(plugin) {
        context.out.say("CAN SEND WHAT IT READS: it asks for files or variables, and for the network");
    }
    confirm(context, "grant it?", args.yes)?;
    // What a workspace names holds there alone.
    let here = (plugin.scope == Scope::Workspace).then(|| digest(host.settings().workspace.folder.path()));
    Consents::change(&home, |kept| {
        kept.retain(|consent| consent.workspace != here || !grants.contains(&consent.grant));
        kept.extend(grants.iter().map(|grant| Consent { grant: grant.clone(), workspace: here.clone(), since: now() }));
    })?;
    context.out.payload(&json!({"granted": grants}), || format!("granted: {}", grants.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub struct RevokeArgs {
    /// The plugin's name
    name: String,
    /// Only this capability
    capability: Option<String>,
}

/// Revoking never needs the plugin, nor anybody's yes.
pub fn revoke(context: &Context, args: &RevokeArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    let fits = |consent: &Consent| {
        let grant = Grant::parse_stored(&consent.grant, Origin::Code);
        grant.is_ok_and(|grant| {
            grant.source.as_str() == args.name && args.capability.as_ref().is_none_or(|only| grant.capability.to_string() == *only)
        })
    };
    let mut taken = Vec::new();
    if Consents::read(&home)?.given().iter().any(fits) {
        Consents::change(&home, |kept| {
            taken = kept.iter().filter(|consent| fits(consent)).map(|consent| consent.grant.clone()).collect();
            kept.retain(|consent| !fits(consent));
        })?;
    }
    if taken.is_empty() {
        let what = format!("nothing that fits is granted to {}", clean::line(&args.name, clean::NAME));
        return Err(Error::new(Kind::NotFound, what).hint("palisade plugin list; a grant in your config is taken back there"));
    }
    context.out.payload(&json!({"revoked": taken}), || format!("revoked: {}", taken.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}
