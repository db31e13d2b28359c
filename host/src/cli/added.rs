//! `palisade plugin add`, `update`, `rollback` and `remove`: versions of plugins in a store of our own.

use super::Context;
use super::consent::{can_send, confirm, grantable};
use palisade::config::installed::{self, Package, version_folder};
use palisade::config::{Consent, Consents, Home, Settings, now, remove_store};
use palisade::plugins::{self, Plugin};
use palisade::policy::{Capability, Grant, Identity, Origin, effective, quoted};
use palisade::sandbox::{Allocator, Compiler, Sandbox};
use palisade::{Error, Kind, clean};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct AddArgs {
    /// Its folder, or a component without a manifest: FILE.wasm
    dir: PathBuf,
    /// Grant all it asks for
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct UpdateArgs {
    /// The plugin's name
    name: String,
    /// The folder of the new version, or its component where it has no manifest
    dir: PathBuf,
    /// Use it, and grant what more it asks for
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct NameArgs {
    /// The plugin's name
    name: String,
    /// Answer yes
    #[arg(long)]
    yes: bool,
}

/// Loads a folder, and its bytes; both are of one moment, or it is an error.
async fn look(context: &Context, settings: &Settings, dir: &Path) -> Result<(Plugin, Package), Error> {
    let cache = palisade::code_cache(&settings.home);
    let sandbox = Sandbox::new(Allocator::OnDemand, &settings.limits, cache, Some(Compiler::new(&super::compiler())));
    let progress = super::progress::Compiling::new(&context.out);
    let package = plugins::package(settings, dir)?;
    let (plugin, broken) = plugins::load_folder(settings, &sandbox, dir, progress.as_ref().map(|p| p as _)).await?;
    if plugin.identity != package.identity {
        return Err(Error::new(Kind::Manifest, "its files changed while they were read; nothing was recorded"));
    }
    for one in broken {
        context.out.say(&format!("not registered: {}: {}", one.source, clean::line(&one.error.message, clean::TEXT)));
    }
    Ok((plugin, package))
}

/// What a plugin is to a person who decides, as lines that can be compared.
fn facts(plugin: &Plugin) -> BTreeSet<String> {
    let line = |text: &str| clean::line(text, clean::NAME);
    let asks = plugin.manifest.requests.iter().map(|r| {
        let optional = if r.optional { " (optional)" } else { "" };
        format!("asks for {}{optional}", line(&r.capability.to_string()))
    });
    let imports = plugin.component.imports().into_iter().map(|import| format!("imports {}", line(&import)));
    asks.chain(plugin.tools.iter().map(|tool| format!("tool {}", tool.id))).chain(imports).collect()
}

fn title(plugin: &Plugin) -> String {
    format!("{} {} (sha256:{})", plugin.manifest.name, plugin.manifest.version, plugin.identity)
}

/// What `--grant` names for this plugin.
fn typed_grants(context: &Context, name: &str) -> Result<Vec<Capability>, Error> {
    let parse = |text: &String| Grant::parse_short(text, Origin::Flag("--grant")).map_err(|e| Error::new(Kind::Usage, e.to_string()));
    let all: Vec<Grant> = context.options.grants.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(all.into_iter().filter(|grant| grant.source.as_str() == name).map(|grant| grant.capability).collect())
}

/// Grants what can be granted of these requests to these bytes; what cannot is told.
fn grants(context: &Context, home: &Home, plugin: &Plugin, wanted: &[Capability]) -> Vec<String> {
    let mut given = Vec::new();
    for capability in wanted {
        match grantable(context, home, plugin, capability) {
            Ok(()) => given.push(format!("{}@sha256:{}:{capability}", plugin.manifest.name, plugin.identity)),
            Err(error) => {
                let shown = clean::line(&capability.to_string(), clean::NAME);
                context.out.say(&format!("{shown} cannot be granted: {}", clean::line(&error.message, clean::TEXT)));
            }
        }
    }
    given
}

fn record(home: &Home, grants: &[String]) -> Result<(), Error> {
    if grants.is_empty() {
        return Ok(());
    }
    Consents::change(home, |kept| {
        kept.retain(|consent| consent.workspace.is_some() || !grants.contains(&consent.grant));
        kept.extend(grants.iter().map(|grant| Consent { grant: grant.clone(), workspace: None, since: now() }));
    })
}

pub async fn add(context: &Context, args: AddArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    let settings = context.settings()?;
    let (plugin, package) = look(context, &settings, &args.dir).await?;
    let name = plugin.manifest.name.as_str();
    if installed::installed(&home)?.iter().any(|one| one.name == name) {
        let hint = format!("palisade plugin update {name} {}", quoted(&args.dir.display().to_string()));
        return Err(Error::new(Kind::Usage, format!("{name} was added before")).hint(hint));
    }
    context.out.say(&title(&plugin));
    facts(&plugin).iter().for_each(|fact| context.out.say(&format!("  {fact}")));
    if can_send(&plugin) {
        context.out.say("  CAN SEND WHAT IT READS: it asks for files or variables, and for the network");
    }
    let asked: Vec<Capability> = plugin.manifest.requests.iter().map(|request| request.capability.clone()).collect();
    // Adding is what was typed; granting is a question of its own, unless that was typed too.
    let typed = typed_grants(context, name)?;
    let granted = if typed.is_empty() {
        let grantable = grants(context, &home, &plugin, &asked);
        let yes = !grantable.is_empty() && confirm(context, "grant what it asks for?", args.yes).is_ok();
        if yes { grantable } else { Vec::new() }
    } else {
        grants(context, &home, &plugin, &typed)
    };
    installed::store(&home, name, &package)?;
    record(&home, &granted)?;
    installed::use_version(&home, name, &plugin.identity)?;
    let document = json!({"added": name, "identity": format!("sha256:{}", plugin.identity), "granted": granted});
    context.out.payload(&document, || match (granted.is_empty(), asked.is_empty()) {
        (true, false) => format!("added {name}; nothing was granted: palisade plugin grant {name} CAPABILITY"),
        (true, true) => format!("added {name}"),
        (false, _) => format!("added {name}, granted {}", granted.len()),
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn update(context: &Context, args: UpdateArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    let settings = context.settings()?;
    let name = args.name.as_str();
    let missing =
        || Error::new(Kind::NotFound, format!("no plugin {} was added", clean::line(name, clean::NAME))).hint("palisade plugin add DIR");
    let before = installed::installed(&home)?.into_iter().find(|one| one.name == name).ok_or_else(missing)?;
    let (old, _) = look(context, &settings, &version_folder(&home, name, &before.identity)).await?;
    let (new, package) = look(context, &settings, &args.dir).await?;
    if new.manifest.name != old.manifest.name {
        return Err(Error::new(Kind::Usage, format!("the new version calls itself {}, and not {name}", new.manifest.name)));
    }
    if new.identity == old.identity {
        context.out.payload(&json!({"updated": false, "identity": format!("sha256:{}", old.identity)}), || {
            "it is the version in use".to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let (was, is) = (facts(&old), facts(&new));
    let differences: Vec<String> =
        was.difference(&is).map(|fact| format!("- {fact}")).chain(is.difference(&was).map(|fact| format!("+ {fact}"))).collect();
    context.out.say(&format!("{} → {}", title(&old), title(&new)));
    differences.iter().for_each(|line| context.out.say(&format!("  {line}")));
    if can_send(&new) {
        context.out.say("  CAN SEND WHAT IT READS: it asks for files or variables, and for the network");
    }
    // What it had and still asks for stays; what it did not ask for before is what the question is about.
    let had = granted_to(&home, &old)?;
    let keeps = |capability: &Capability| had.contains(capability) || !old.manifest.requests.iter().any(|r| r.capability == *capability);
    let wanted: Vec<Capability> = new.manifest.requests.iter().map(|r| r.capability.clone()).filter(keeps).collect();
    let given = grants(context, &home, &new, &wanted);
    confirm(context, &format!("use the new version, with {} grants?", given.len()), args.yes).map_err(|error| {
        let message = format!("{}; {name} {} keeps running", error.message, old.manifest.version);
        Error { message, ..error }
    })?;
    installed::store(&home, name, &package)?;
    record(&home, &given)?;
    installed::use_version(&home, name, &new.identity)?;
    let document = json!({
        "updated": true, "from": format!("sha256:{}", old.identity), "to": format!("sha256:{}", new.identity),
        "differences": differences, "granted": given,
    });
    context.out.payload(&document, || format!("{name} {} is in use; palisade plugin rollback {name} goes back", new.manifest.version))?;
    Ok(ExitCode::SUCCESS)
}

/// What is granted to the exact bytes of a plugin, of what it asks for.
fn granted_to(home: &Home, plugin: &Plugin) -> Result<Vec<Capability>, Error> {
    let parse = |consent: &Consent| Grant::parse_stored(&consent.grant, Origin::Code).ok();
    let grants = Consents::read(home)?.given().iter().filter_map(parse).collect::<Vec<_>>();
    let mine = grants.into_iter().filter(|g| g.source == plugin.manifest.name && g.identity == Some(plugin.identity));
    let asked = mine.filter(|grant| {
        let mut grant = grant.clone();
        let request = plugin.manifest.requests.iter().find(|r| r.capability == grant.capability);
        grant.resolved = request.and_then(|r| r.resolved.clone());
        !effective(&plugin.manifest.requests, &[grant]).used.is_empty()
    });
    Ok(asked.map(|grant| grant.capability).collect())
}

pub fn rollback(context: &Context, args: &NameArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    confirm(context, "go back to the version before, with what was granted to it?", args.yes)?;
    let identity = installed::roll_back(&home, &args.name)?;
    let document = json!({"rolled_back": args.name, "identity": format!("sha256:{identity}")});
    context.out.payload(&document, || format!("{} is sha256:{identity} again", args.name))?;
    Ok(ExitCode::SUCCESS)
}

/// Taking away needs nobody's yes.
pub fn remove(context: &Context, args: &NameArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    let versions = installed::installed(&home)?.into_iter().find(|one| one.name == args.name);
    installed::remove(&home, &args.name)?;
    let mine: Vec<Identity> =
        versions.iter().flat_map(|one| one.previous.iter().chain([&one.identity])).filter_map(|text| Identity::parse(text)).collect();
    let fits = |consent: &Consent| {
        Grant::parse_stored(&consent.grant, Origin::Code)
            .is_ok_and(|grant| grant.source.as_str() == args.name && grant.identity.is_some_and(|identity| mine.contains(&identity)))
    };
    if Consents::read(&home)?.given().iter().any(fits) {
        Consents::change(&home, |kept| kept.retain(|consent| !fits(consent)))?;
    }
    let kept = remove_store(&home, &args.name)?;
    let document: Value = json!({"removed": args.name, "store_removed": kept});
    context.out.payload(&document, || match kept {
        true => format!("removed {}, what was granted to it, and what it kept in its store", args.name),
        false => format!("removed {}, and what was granted to it", args.name),
    })?;
    Ok(ExitCode::SUCCESS)
}
