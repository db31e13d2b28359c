//! `palisade skill`.

use super::Context;
use palisade::plugins::Quarantined;
use palisade::policy::Subsystem;
use palisade::skills::{self, Found, Remark, Skill};
use palisade::{Error, Host, Kind, clean, session};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub enum SkillCommand {
    /// List the skills, and those that cannot be used
    List,
    /// Show what a skill says, brings and leaves of the tools
    Show {
        /// Its name
        name: String,
    },
    /// Say what the format does not allow; ends with 7 where there is anything
    Check {
        /// A folder that is a skill, or holds some (default: all that are configured)
        dir: Option<PathBuf>,
    },
}

pub async fn run(context: &Context, command: SkillCommand) -> Result<ExitCode, Error> {
    match command {
        SkillCommand::List => list(context).await,
        SkillCommand::Show { name } => show(context, &name).await,
        SkillCommand::Check { dir } => check(context, dir),
    }
}

async fn list(context: &Context) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let broken: Vec<Value> = host.broken_skills().map(quarantined).collect();
    let entry = |skill: &Skill| {
        json!({
            "name": skill.name, "description": skill.description, "folder": skill.shown,
            "tools": tools(host, skill), "findings": skill.findings.len(),
        })
    };
    let document = json!({"skills": host.skills().map(|skill| entry(skill)).collect::<Vec<_>>(), "quarantined": broken});
    context.out.payload(&document, || {
        let line = |skill: &Skill| {
            let tools = tools(host, skill);
            let tools = if tools.is_empty() { String::new() } else { format!(" [{}]", tools.join(" ")) };
            let findings = if skill.findings.is_empty() { String::new() } else { format!(" ({} findings)", skill.findings.len()) };
            format!("{} in {}{tools}{findings}: {}", skill.name, skill.shown, clean::line(&skill.description, clean::NAME))
        };
        let mut lines: Vec<String> = host.skills().map(|skill| line(skill)).collect();
        if lines.is_empty() {
            lines.push(format!("no skills: {}", session::init(host)["skill_init"].reason));
        }
        lines.extend(host.broken_skills().map(broken_line));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The ids of the tools a skill brings.
fn tools(host: &Host, skill: &Skill) -> Vec<String> {
    let brought =
        |plugin: &palisade::plugins::Plugin| plugin.subsystem == Subsystem::SkillInit && plugin.manifest.name.as_str() == skill.name;
    let all = host.tools().filter(|tool| tool.plugin().is_some_and(|plugin| brought(plugin)));
    all.map(|tool| tool.spec.id.as_str().to_owned()).collect()
}

async fn show(context: &Context, name: &str) -> Result<ExitCode, Error> {
    let host = context.one_shot(None).await?;
    let found = Found { skills: host.skills().cloned().collect(), quarantined: host.broken_skills().cloned().collect() };
    let skill = found.named(host.settings(), name)?;
    let left = host.left_by(&skill);
    let allowed = skill.allowed.as_ref().map(|allowed| {
        let names: Vec<String> = allowed.names.iter().map(|name| clean::line(name, clean::NAME)).collect();
        json!({"names": names, "line": allowed.line, "leaves": left.tools, "ignored": left.ignored})
    });
    let tools: Vec<Value> = host
        .tools()
        .filter(|tool| tools(host, &skill).iter().any(|id| id == tool.spec.id.as_str()))
        .map(|tool| {
            let denial = host.admit(tool).err().map(|refusal| host.denial(tool.spec.id.as_str(), refusal));
            json!({"id": tool.spec.id.as_str(), "description": tool.spec.description, "available": denial.is_none(), "denial": denial})
        })
        .collect();
    let document = json!({
        "name": skill.name, "description": skill.description, "license": skill.license, "compatibility": skill.compatibility,
        "metadata": skill.metadata.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "folder": skill.shown, "files": skill.files, "tools": tools, "allowed_tools": allowed,
        "findings": skill.findings, "notes": skill.notes, "text": skill.text,
    });
    context.out.payload(&document, || {
        let line = |text: &str| clean::line(text, clean::TEXT);
        let mut lines = vec![format!("{}: {}", skill.name, line(&skill.description)), format!("folder: {}", skill.shown)];
        let plain = [("license", &skill.license), ("compatibility", &skill.compatibility)];
        lines.extend(plain.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", line(value.as_ref()?)))));
        lines.extend(skill.metadata.iter().map(|(key, value)| format!("metadata {key}: {}", line(value))));
        lines.extend(tools.iter().map(|tool| {
            let rule = tool["denial"]["rule"].as_str().map(|rule| format!(" [denied by {rule}]")).unwrap_or_default();
            format!(
                "tool {}: {}{rule}",
                line(tool["id"].as_str().unwrap_or_default()),
                line(tool["description"].as_str().unwrap_or_default())
            )
        }));
        if let Some(left) = &left.tools {
            lines.push(format!(
                "leaves of the tools, while it is active: {}",
                if left.is_empty() { "none".to_owned() } else { left.join(" ") }
            ));
        }
        lines.extend(left.told(&skill));
        lines.extend(skill.files.iter().map(|file| format!("file {}: {} bytes", line(&file.path), file.size)));
        lines.extend(remarks(&skill));
        lines.push(String::new());
        lines.push(clean::block(&skill.text));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn remarks(skill: &Skill) -> Vec<String> {
    let line = |kind: &str, remark: &Remark| {
        let place = remark.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{kind}: {}/{}{place}: {}", skill.shown, skills::FILE, clean::line(&remark.what, clean::TEXT))
    };
    skill.findings.iter().map(|f| line("finding", f)).chain(skill.notes.iter().map(|n| line("note", n))).collect()
}

fn quarantined(broken: &Quarantined) -> Value {
    json!({"source": broken.source, "reason": clean::line(&broken.error.message, clean::TEXT)})
}

fn broken_line(broken: &Quarantined) -> String {
    format!("{} is quarantined: {}", broken.source, clean::line(&broken.error.message, clean::TEXT))
}

/// What a person named needs no profile: nothing of it runs.
fn check(context: &Context, dir: Option<PathBuf>) -> Result<ExitCode, Error> {
    let settings = context.settings()?;
    let found = match &dir {
        Some(dir) => skills::find_folder(&settings, dir),
        None => {
            let init = settings.init.of(Subsystem::SkillInit);
            if !init.enabled {
                let hint = init.remedy.clone().unwrap_or_else(|| "palisade skill check DIR".to_owned());
                return Err(Error::new(Kind::NotFound, format!("no skill is read: {}", init.reason)).hint(hint));
            }
            skills::find(&settings)
        }
    };
    if let (Some(dir), true) = (&dir, found.skills.is_empty() && found.quarantined.is_empty()) {
        return Err(
            Error::new(Kind::NotFound, format!("there is no skill in {}", dir.display())).hint("a skill is a folder with a SKILL.md")
        );
    }
    let entry = |skill: &Skill| json!({"name": skill.name, "folder": skill.shown, "findings": skill.findings, "notes": skill.notes});
    let clean = found.quarantined.is_empty() && found.skills.iter().all(|skill| skill.findings.is_empty());
    let document = json!({
        "clean": clean,
        "skills": found.skills.iter().map(|skill| entry(skill)).collect::<Vec<_>>(),
        "quarantined": found.quarantined.iter().map(quarantined).collect::<Vec<_>>(),
    });
    context.out.payload(&document, || {
        let mut lines: Vec<String> = found.quarantined.iter().map(broken_line).collect();
        lines.extend(found.skills.iter().flat_map(|skill| remarks(skill)));
        let findings: usize = found.skills.iter().map(|skill| skill.findings.len()).sum();
        lines.push(format!("skills: {}, findings: {findings}, quarantined: {}", found.skills.len(), found.quarantined.len()));
        lines.join("\n")
    })?;
    Ok(ExitCode::from(if clean { 0 } else { Kind::Manifest.exit_code() }))
}
