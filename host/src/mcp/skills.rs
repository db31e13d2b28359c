//! Skills for MCP clients: each is a prompt, its files are resources, and both are an entry of the skills extension.
//!
//! The rule it keeps: a text says whose it is and is cleaned for a model; a file is one that was there when the skill was loaded.
//! Nothing here runs a tool or narrows one.

use crate::error::Error;
use crate::skills::{FILE, Skill, SkillFile};
use crate::{Host, clean};
use base64::Engine;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rmcp::ErrorData;
use rmcp::model::{
    GetPromptResult, ListResourcesResult, Prompt, PromptMessage, ReadResourceResult, Resource, ResourceContents, Role, ServerCapabilities,
    SkillFrontmatter, SkillResources,
};
use std::sync::Arc;

/// Most resources on one page.
const PAGE: usize = 1000;
const SCHEME: &str = "skill://";
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a server with skills can do besides.
pub(super) fn capabilities(mut with: ServerCapabilities) -> ServerCapabilities {
    let more = ServerCapabilities::builder().enable_prompts().enable_prompts_list_changed();
    let more = more.enable_resources().enable_resources_list_changed().enable_skills().build();
    (with.prompts, with.resources, with.extensions) = (more.prompts, more.resources, more.extensions);
    with
}

/// What a client saw of skills: a prompt is another when its text is, resources are others when the files are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) prompts: Vec<(String, String, String)>,
    pub(super) files: Vec<(String, Vec<SkillFile>)>,
}

impl Seen {
    pub(super) fn of(host: &Host) -> Self {
        let prompt = |skill: &Arc<Skill>| (skill.name.clone(), skill.description.clone(), skill.text.clone());
        let files = |skill: &Arc<Skill>| (skill.name.clone(), skill.files.clone());
        Self { prompts: host.skills().map(prompt).collect(), files: host.skills().map(files).collect() }
    }
}

pub(super) fn prompts(host: &Host) -> Vec<Prompt> {
    host.skills().map(|skill| Prompt::new(skill.name.clone(), Some(skill.description.clone()), None)).collect()
}

/// One message of the user, with the text and whose it is.
pub(super) fn prompt(host: &Host, name: &str) -> Result<GetPromptResult, ErrorData> {
    let missing = || ErrorData::invalid_params(format!("there is no skill {}", clean::line(name, clean::NAME)), None);
    let skill = host.skills().find(|skill| skill.name == name).ok_or_else(missing)?;
    let message = PromptMessage::new_text(Role::User, skill.labelled());
    Ok(GetPromptResult::new(vec![message]).with_description(skill.description.clone()))
}

fn uri(skill: &Skill, path: &str) -> String {
    let parts = path.split('/').map(|part| utf8_percent_encode(part, ESCAPED).to_string()).collect::<Vec<_>>().join("/");
    format!("{SCHEME}{}/{parts}", utf8_percent_encode(&skill.name, ESCAPED))
}

fn resource(skill: &Skill, file: &SkillFile) -> Resource {
    let mut resource = Resource::new(uri(skill, &file.path), format!("{}/{}", skill.name, file.path)).with_size(file.size);
    resource.description = (file.path == FILE).then(|| skill.description.clone());
    resource.mime_type = text_type(&file.path).map(str::to_owned);
    resource
}

/// A page of them; the cursor is how many came before.
pub(super) fn resources(host: &Host, cursor: Option<&str>) -> Result<ListResourcesResult, ErrorData> {
    let start = cursor.map_or(Ok(0), str::parse::<usize>).map_err(|_| ErrorData::invalid_params("no such cursor", None))?;
    let all = host.skills().flat_map(|skill| skill.files.iter().map(move |file| (skill, file)));
    let mut page: Vec<_> = all.skip(start).take(PAGE + 1).map(|(skill, file)| resource(skill, file)).collect();
    let more = page.len() > PAGE;
    page.truncate(PAGE);
    let mut listed = ListResourcesResult::with_all_items(page);
    listed.next_cursor = more.then(|| (start + PAGE).to_string());
    Ok(listed)
}

/// A file of a skill: text where it is text, else bytes.
pub(super) fn read(host: &Host, asked: &str) -> Result<ReadResourceResult, ErrorData> {
    let missing = || ErrorData::resource_not_found(format!("there is no resource {}", clean::line(asked, clean::NAME)), None);
    let decode = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|part| part.into_owned());
    let (name, path) = asked.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(missing)?;
    let (name, path) = decode(name).zip(decode(path)).ok_or_else(missing)?;
    let skill = host.skills().find(|skill| skill.name == name).ok_or_else(missing)?;
    let refuse = |error: Error| ErrorData::resource_not_found(clean::line(&error.message, clean::TEXT), None);
    let bytes = skill.read(host.settings(), &path).map_err(refuse)?;
    let contents = match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            let kind = text_type(&path).unwrap_or("text/plain");
            ResourceContents::text(clean::model_owned(text), asked).with_mime_type(kind)
        }
        Ok(text) => blob(text.as_bytes(), asked),
        Err(error) => blob(error.as_bytes(), asked),
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

fn blob(bytes: &[u8], uri: &str) -> ResourceContents {
    ResourceContents::blob(base64::engine::general_purpose::STANDARD.encode(bytes), uri).with_mime_type("application/octet-stream")
}

fn text_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "md" => Some("text/markdown"),
        "json" => Some("application/json"),
        "txt" | "toml" | "yaml" | "yml" | "py" | "sh" | "js" | "ts" | "rs" => Some("text/plain"),
        _ => None,
    }
}

/// The entries of the extension: of the skills whose names it takes, with files read when they are asked for.
pub(super) fn entries(host: &Host) -> Vec<rmcp::model::Skill> {
    host.skills().map(|skill| entry(skill)).filter(|entry| entry.validate().is_ok()).collect()
}

pub(super) fn entry_of(host: &Host, uri: &str) -> Result<rmcp::model::Skill, ErrorData> {
    let missing = || ErrorData::invalid_params(format!("there is no skill {}", clean::line(uri, clean::NAME)), None);
    entries(host).into_iter().find(|entry| entry.uri == uri).ok_or_else(missing)
}

fn entry(skill: &Skill) -> rmcp::model::Skill {
    let mut front = SkillFrontmatter::new(skill.name.clone(), skill.description.clone());
    for (key, value) in [("license", &skill.license), ("compatibility", &skill.compatibility)] {
        front = value.iter().fold(front, |front, value| front.with_field(key, value.clone()));
    }
    if let Some(allowed) = &skill.allowed {
        front = front.with_field("allowed-tools", clean::model(&allowed.names.join(" ")));
    }
    if !skill.metadata.is_empty() {
        front = front.with_field(
            "metadata",
            serde_json::Value::Object(skill.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()),
        );
    }
    // What is served is cleaned, so no digest of the bytes on the disk would be its own.
    rmcp::model::Skill::new(uri(skill, FILE), front, SkillResources::Dynamic)
}
