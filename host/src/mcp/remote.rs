//! What a server sends, bounded and turned into what we know: its tools, its results, its progress.

use crate::clean;
use crate::error::Kind;
use crate::sandbox::{Content, Definition, Failure, Hints, Progress, Report};
use base64::Engine;
use palisade_policy::{Limit, Limits};
use rmcp::handler::client::ClientHandler;
use rmcp::model::{
    CallToolResult, ClientCapabilities, ClientConfig, ContentBlock, Implementation, PaginatedRequestParams, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, ResourceContents, ServerResult, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, Peer};
use rmcp::{RoleClient, model};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Longest message that is read, in bytes: the largest result, escaped, and its frame. A longer one is dropped.
pub(super) const LINE: usize = 8 * 1024 * 1024;
/// Most tools of a server, and most pages in which it may list them.
const TOOLS: usize = 256;
const PAGES: usize = 16;
/// Largest definition, in bytes.
const SIZE: usize = 64 * 1024;
/// Longest message of a progress report, in characters.
const MESSAGE: usize = 256;

type Sinks = Arc<Mutex<HashMap<ProgressToken, mpsc::Sender<Progress>>>>;

/// Our half of a connection. It offers nothing: no sampling, no elicitation, no roots.
#[derive(Clone, Default)]
pub(super) struct Handler {
    stale: Arc<AtomicBool>,
    sinks: Sinks,
}

/// Where a call's progress goes, as long as it lives.
pub(super) struct Watching(Sinks, ProgressToken);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Handler {
    /// Sends the reports of a call where somebody reads them.
    pub(super) fn watch(&self, token: ProgressToken, sink: mpsc::Sender<Progress>) -> Watching {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), sink);
        Watching(self.sinks.clone(), token)
    }

    /// Asks a server of the newer era to tell when its tools are others; one of the older tells by itself.
    pub(super) fn listen(&self, peer: &Peer<RoleClient>) {
        let newer = peer.peer_info().is_some_and(|info| info.protocol_version >= ProtocolVersion::V_2026_07_28);
        let (peer, stale) = (peer.clone(), self.stale.clone());
        if newer {
            tokio::spawn(async move {
                let tools = SubscriptionFilter::builder().tools_list_changed().build();
                // One that does not offer it is asked again at its next start.
                let Ok(mut told) = peer.listen(tools).await else { return };
                while let Ok(Some(_)) = told.next().await {
                    stale.store(true, Ordering::Release);
                }
            });
        }
    }

    /// Whether the server said since the last time that its tools are others.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::AcqRel)
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("palisade", env!("CARGO_PKG_VERSION")))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = sinks.get(&params.progress_token) {
            let message = params.message.map(|text| clean::line(&text, MESSAGE));
            // A full channel means that nobody reads; the report is lost, the server goes on.
            let _ = sink.try_send(Progress { done: params.progress, total: params.total, message });
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.stale.store(true, Ordering::Release);
    }
}

/// All tools of a server.
///
/// # Errors
/// One sentence: it has too many, or does not say.
pub(super) async fn list(peer: &Peer<RoleClient>) -> Result<Vec<Definition>, String> {
    let (mut tools, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor);
        let page = peer.list_tools(Some(params)).await.map_err(|e| format!("it does not list its tools: {e}"))?;
        for tool in page.tools {
            tools.push(definition(tool)?);
            if tools.len() > TOOLS {
                return Err(format!("it has more than {TOOLS} tools"));
            }
        }
        match page.next_cursor {
            None => return Ok(tools),
            next => cursor = next,
        }
    }
    Err(format!("it lists its tools in more than {PAGES} pages"))
}

/// A tool as it defines it; icons and what is only for the protocol are left out.
fn definition(tool: model::Tool) -> Result<Definition, String> {
    let text = |schema: &model::JsonObject| serde_json::to_string(schema).map_err(|e| e.to_string());
    let input_schema = text(&tool.input_schema)?;
    let output_schema = tool.output_schema.as_deref().map(text).transpose()?;
    let description = tool.description.unwrap_or_default().into_owned();
    // Where it says nothing, the protocol takes the worst.
    let hints = tool.annotations.map(|said| Hints {
        read_only: said.read_only_hint.unwrap_or(false),
        destructive: said.destructive_hint.unwrap_or(true),
        idempotent: said.idempotent_hint.unwrap_or(false),
        open_world: said.open_world_hint.unwrap_or(true),
    });
    let size = tool.name.len() + description.len() + input_schema.len() + output_schema.as_ref().map_or(0, String::len);
    if size > SIZE {
        return Err(format!(
            "the definition of its tool {} has {size} bytes; at most {SIZE} are read",
            clean::line(&tool.name, clean::NAME)
        ));
    }
    Ok(Definition { name: tool.name.into_owned(), title: tool.title, description, input_schema, output_schema, hints })
}

/// What came of a call.
pub(super) fn contents(answer: ServerResult, limits: &Limits) -> Report {
    let failed = |kind, message: String| Report::failed(Failure { kind, message });
    let result = match answer {
        ServerResult::CallToolResult(result) => result,
        ServerResult::InputRequiredResult(_) => {
            return failed(Kind::ToolFailed, "the server asks for more input, which is not offered to it".to_owned());
        }
        _ => return failed(Kind::Mcp, "the server answered with something else than a result".to_owned()),
    };
    let is_error = result.is_error.unwrap_or(false);
    match pieces(result, limits.size(Limit::Result)) {
        Err(failure) => Report::failed(failure),
        Ok(content) if is_error => failed(Kind::ToolFailed, text(&content)),
        Ok(content) => Report { result: Ok(content), ..Report::failed(Failure { kind: Kind::Internal, message: String::new() }) },
    }
}

fn text(content: &[Content]) -> String {
    let piece = |content: &Content| match content {
        Content::Text(text) => text.clone(),
        Content::Json(json) => json.get().to_owned(),
        Content::Blob { mime, data } => format!("[{} bytes of {mime}]", data.len()),
    };
    content.iter().map(piece).collect::<Vec<_>>().join("\n")
}

fn pieces(result: CallToolResult, most: usize) -> Result<Vec<Content>, Failure> {
    let json = result.structured_content.as_ref().map(serde_json::to_string).transpose();
    let json = json.map_err(|e| Failure { kind: Kind::Mcp, message: e.to_string() })?;
    // A server sends its structured content as text too, for clients that know no other.
    let same = |text: &str| {
        let parsed = result.structured_content.as_ref().and_then(|_| serde_json::from_str::<serde_json::Value>(text).ok());
        parsed.is_some() && parsed == result.structured_content
    };
    let mut content = Vec::new();
    for block in result.content {
        match block {
            ContentBlock::Text(block) if same(&block.text) => {}
            ContentBlock::Text(block) => content.push(Content::Text(block.text)),
            ContentBlock::Image(image) => content.push(blob(image.mime_type, &image.data)?),
            ContentBlock::Audio(audio) => content.push(blob(audio.mime_type, &audio.data)?),
            ContentBlock::Resource(embedded) => content.push(match embedded.resource {
                ResourceContents::TextResourceContents { text, .. } => Content::Text(text),
                ResourceContents::BlobResourceContents { blob: data, mime_type, .. } => {
                    blob(mime_type.unwrap_or_else(|| "application/octet-stream".to_owned()), &data)?
                }
                _ => return Err(unknown()),
            }),
            // Nothing is fetched: what it leads to is for whoever reads it.
            ContentBlock::ResourceLink(link) => content.push(Content::Text(format!("[{}]({})", link.name, link.uri))),
            _ => return Err(unknown()),
        }
    }
    if let Some(json) = json.map(RawValue::from_string) {
        content.insert(0, Content::Json(json.map_err(|e| Failure { kind: Kind::Mcp, message: e.to_string() })?));
    }
    let size: usize = content
        .iter()
        .map(|piece| match piece {
            Content::Text(text) => text.len(),
            Content::Json(json) => json.get().len(),
            Content::Blob { mime, data } => mime.len() + data.len(),
        })
        .sum();
    if size > most {
        return Err(Failure { kind: Kind::LimitOutput, message: format!("its result has {size} bytes; the limit is {most}") });
    }
    Ok(content)
}

fn unknown() -> Failure {
    Failure { kind: Kind::Mcp, message: "the server sent a kind of content that is not known".to_owned() }
}

fn blob(mime: String, base64: &str) -> Result<Content, Failure> {
    let data = base64::engine::general_purpose::STANDARD.decode(base64);
    let data = data.map_err(|_| Failure { kind: Kind::Mcp, message: "the server sent base64 that is none".to_owned() })?;
    Ok(Content::Blob { mime, data })
}
