//! `palisade status`.

use super::Context;
use palisade::config::Scope;
use palisade::policy::Subsystem;
use palisade::sandbox::Allocator;
use palisade::{Error, clean, session};
use serde_json::{Value, json};
use std::process::ExitCode;

pub async fn run(context: &Context) -> Result<ExitCode, Error> {
    // As a server would load it, so that a pool that cannot be reserved is seen here.
    let host = context.server().await?;
    let settings = host.settings();
    let trust = &settings.workspace_trust;
    let init = session::init(&host);
    let quarantined: Vec<Value> = host
        .quarantined()
        .iter()
        .map(|q| json!({"source": q.source, "kind": q.error.kind.name(), "reason": clean::line(&q.error.message, clean::TEXT)}))
        .collect();
    let broken: Vec<(String, String)> =
        host.hooks().iter().filter_map(|hook| Some((hook.name(), clean::line(&hook.broken.as_ref()?.message, clean::TEXT)))).collect();
    let tools = host.tools().filter(|tool| host.admit(tool).is_ok()).count();
    let denied = host.tools().count() - tools;
    let brought = host.plugins().iter().filter(|plugin| plugin.subsystem == Subsystem::SkillInit).count();
    let (plugins, skills) = (host.plugins().len() - brought, host.skills().count());
    let direct = settings.servers.iter().filter(|entry| entry.scope == Scope::Workspace).count();
    let memory = match host.allocator() {
        None => "nothing to run".to_owned(),
        Some((Allocator::Pool(slots) | Allocator::Scanned(slots), _)) => format!("a pool of {slots}"),
        Some((Allocator::OnDemand, why)) => why.unwrap_or("allocated on demand").to_owned(),
    };
    let document = json!({
        "profile": settings.profile.name,
        "workspace_trust": {"trusted": trust.trusted, "source": trust.source, "changed": trust.changed},
        "init": init,
        "tools": tools,
        "tools_denied": denied,
        "plugins": plugins,
        "skills": skills,
        "hooks": host.hooks().len() - broken.len(),
        "hooks_broken": broken.iter().map(|(name, why)| json!({"hook": name, "reason": why})).collect::<Vec<_>>(),
        "servers": host.servers().len(),
        "servers_held": host.unaccepted().len(),
        // What an agent that reads the same file starts itself, past every gate.
        "servers_reached_directly": direct,
        "quarantined": quarantined,
        "instances": memory,
        "warnings": host.warnings().iter().map(|w| clean::line(w, clean::TEXT)).collect::<Vec<_>>(),
    });
    context.out.payload(&document, || {
        let mut lines = vec![
            format!("profile: {} ({})", settings.profile.name, settings.profile.origin),
            format!("workspace: {} ({})", if trust.trusted { "trusted" } else { "not trusted" }, trust.source),
        ];
        lines.extend(init.iter().map(|(name, s)| format!("{name}: {}: {}", if s.enabled { "on" } else { "off" }, s.reason)));
        lines.push(format!("tools: {tools}, and {denied} denied, of {plugins} plugins and {brought} skills"));
        lines.push(format!("skills: {skills}"));
        lines.push(format!("hooks: {}, and {} that do not run", host.hooks().len() - broken.len(), broken.len()));
        lines.push(format!("MCP servers: {}, and {} held", host.servers().len(), host.unaccepted().len()));
        if direct > 0 {
            lines.push(format!(
                "an agent that reads .mcp.json reaches {direct} servers directly; palisade mcp import moves them behind the gate"
            ));
        }
        lines.push(format!("instances: {memory}"));
        lines.push(format!("quarantined: {}", quarantined.len()));
        lines.extend(host.quarantined().iter().map(|q| format!("  {}: {}", q.source, clean::line(&q.error.message, clean::TEXT))));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
