//! The server: registered tools for MCP clients, both protocol eras, over any byte stream.

use super::at_once::AtOnce;
use super::front::Front;
use crate::error::{Error, Kind};
use crate::mcp::{changes, skills};
use crate::record::{CallRecord, Outcome};
use crate::sandbox::{Content, Progress, Run};
use crate::session::{Event, init};
use crate::{Answered, Host, Tool, ToolCall};
use base64::Engine;
use palisade_policy::{Limit, Rule, Verdict};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ConstString, ContentBlock, GetPromptRequestMethod, GetPromptRequestParams,
    GetPromptResponse, GetSkillRequestParams, GetSkillResult, Implementation, JsonObject, ListPromptsRequestMethod, ListPromptsResult,
    ListResourcesRequestMethod, ListResourcesResult, ListSkillsResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ProgressToken, ReadResourceRequestMethod, ReadResourceRequestParams, ReadResourceResponse, ResourceContents, ServerCapabilities,
    ServerConfig, SubscriptionFilter, ToolAnnotations,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::Value;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

/// Longest message read from a client, in bytes: the largest arguments, escaped, and their frame.
const MESSAGE: usize = 8 * 1024 * 1024;
/// Progress reports that wait for a slow client; more are dropped.
const PROGRESS: usize = 16;

/// How long a result waits for the reports before it.
const LAST_REPORT: Duration = Duration::from_millis(100);
/// How long a server that ends waits for calls after their grace, and for what they answered to go out.
pub(super) const LAST: Duration = Duration::from_secs(2);

/// What a server tells its operator.
pub type Events = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// Who is asked: the host of the moment.
pub type Hosts = watch::Receiver<Arc<Host>>;

/// Serves the tools of a host until the client closes the stream or `stop` turns true. When `hosts` gets another host, that
/// one is asked from then on, and clients are told where its tools are others.
///
/// # Errors
/// [`Kind::Mcp`] where the client does not speak the protocol.
pub async fn serve<R, W>(hosts: Hosts, read: R, write: W, mut stop: watch::Receiver<bool>, events: Events) -> Result<(), Error>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let refuse = |what: &str, error: &dyn std::fmt::Display| Error::new(Kind::Mcp, format!("{what}: {error}"));
    let server = Server::new(hosts, events, stop.clone());
    let busy = server.clone();
    let transport = AtOnce(Front::new(read, write, MESSAGE));
    let running = tokio::select! {
        // Stopped before a client said anything.
        () = stopped(&mut stop) => return Ok(()),
        // Dynamic, so that all that answers a request is on the heap before the library moves it about.
        started = server.into_dyn().serve(transport) => started.map_err(|e| refuse("the client did not start the protocol", &e))?,
    };
    let end = running.cancellation_token();
    let waiting = running.waiting();
    tokio::pin!(waiting);
    tokio::select! {
        ended = &mut waiting => {
            busy.idle().await;
            ended.map(drop).map_err(|e| refuse("the server", &e))
        }
        () = stopped(&mut stop) => {
            busy.idle().await;
            end.cancel();
            let _ = tokio::time::timeout(LAST, waiting).await;
            Ok(())
        }
    }
}

/// What a client is told of this server, and why it has no tools where it has none.
#[must_use]
pub fn instructions(host: &Host) -> String {
    let listed = host.tools().filter(|tool| host.admit(tool).is_ok()).count();
    if listed > 0 {
        return "Tools that run in a sandbox, each with what its user granted. A call that is denied names its rule; do not try to get around it.".to_owned();
    }
    let reason = &init(host)["plugin_init"].reason;
    format!("There are no tools. Plugins: {reason}. Broken: {}. The user of this server can change that.", host.quarantined().len())
}

/// A call that is not over, until this is dropped.
struct InFlight(Arc<watch::Sender<usize>>);

impl InFlight {
    fn new(calls: &Arc<watch::Sender<usize>>) -> Self {
        calls.send_modify(|calls| *calls += 1);
        Self(calls.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

#[derive(Clone)]
pub(super) struct Server {
    hosts: Hosts,
    instructions: String,
    /// Whether there were skills when serving began: what is not announced is not spoken of later.
    skills: bool,
    events: Arc<Events>,
    stop: watch::Receiver<bool>,
    /// Calls that are not over, of all clients.
    busy: Arc<watch::Sender<usize>>,
    /// Gone when its client is.
    life: Arc<watch::Sender<()>>,
}

impl Server {
    pub(super) fn new(hosts: Hosts, events: Events, stop: watch::Receiver<bool>) -> Self {
        let instructions = instructions(&hosts.borrow());
        let skills = hosts.borrow().skills().next().is_some();
        Self { instructions, skills, hosts, events: Arc::new(events), stop, busy: Arc::default(), life: Arc::default() }
    }

    /// The same for one more client.
    pub(super) fn for_one(&self) -> Self {
        let mut one = Self { life: Arc::default(), ..self.clone() };
        one.hosts.mark_unchanged();
        one
    }

    fn host(&self) -> Arc<Host> {
        self.hosts.borrow().clone()
    }

    /// What comes with skills alone; without them it is not there, as this server said.
    fn offers<M: ConstString>(&self) -> Result<(), ErrorData> {
        if self.skills { Ok(()) } else { Err(ErrorData::method_not_found::<M>()) }
    }

    /// Waits until no call is in flight, as long as calls that were told to end may take.
    pub(super) async fn idle(&self) {
        let most = self.host().limits().time(Limit::Grace) + LAST;
        let _ = tokio::time::timeout(most, self.busy.subscribe().wait_for(|calls| *calls == 0)).await;
    }
}

/// Calls `tell` each time tools or skills are others than before, until that fails or nobody could change them. Whoever was
/// told of no skills at the start hears of none. A host that `hosts` has not seen yet came while this began: what was listed
/// by then may be of the one before, and is told of as if all of it had changed.
async fn on_change<F: Future<Output = bool>>(mut hosts: Hosts, skilled: bool, tell: impl Fn(Changed) -> F) {
    let mut servers = changes();
    let listed = |hosts: &Hosts| {
        let host = hosts.borrow().clone();
        (listing(&host), skills::Seen::of(&host))
    };
    let missed = hosts.has_changed().unwrap_or(false);
    hosts.mark_unchanged();
    let mut before = listed(&hosts);
    if missed && !tell(Changed { tools: true, prompts: skilled, resources: skilled }).await {
        return;
    }
    loop {
        tokio::select! {
            changed = hosts.changed() => if changed.is_err() { return },
            changed = servers.changed() => if changed.is_err() { return },
        }
        let now = listed(&hosts);
        let changed = Changed {
            tools: now.0 != before.0,
            prompts: skilled && now.1.prompts != before.1.prompts,
            resources: skilled && now.1.files != before.1.files,
        };
        before = now;
        if (changed.tools || changed.prompts || changed.resources) && !tell(changed).await {
            return;
        }
    }
}

/// What a client has to list again.
#[derive(Clone, Copy)]
struct Changed {
    tools: bool,
    prompts: bool,
    resources: bool,
}

/// The tools an agent sees, as it sees them.
fn listing(host: &Host) -> Vec<rmcp::model::Tool> {
    host.tools().filter(|tool| host.admit(tool).is_ok()).map(|tool| described(tool)).collect()
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let tools = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        ServerConfig::new(if self.skills { skills::capabilities(tools) } else { tools })
            .with_server_info(Implementation::new("palisade", env!("CARGO_PKG_VERSION")))
            .with_instructions(self.instructions.clone())
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(listing(&self.host())))
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        self.offers::<ListPromptsRequestMethod>()?;
        Ok(ListPromptsResult::with_all_items(skills::prompts(&self.host())))
    }

    async fn get_prompt(&self, params: GetPromptRequestParams, _: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        self.offers::<GetPromptRequestMethod>()?;
        skills::prompt(&self.host(), &params.name).map(Into::into)
    }

    async fn list_resources(
        &self,
        params: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.offers::<ListResourcesRequestMethod>()?;
        skills::resources(&self.host(), params.and_then(|params| params.cursor).as_deref())
    }

    async fn read_resource(
        &self,
        params: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.offers::<ReadResourceRequestMethod>()?;
        let host = self.host();
        // A file system that does not answer holds up no other client.
        let read = tokio::task::spawn_blocking(move || skills::read(&host, &params.uri)).await;
        read.map_err(|e| ErrorData::internal_error(e.to_string(), None))?.map(Into::into)
    }

    async fn list_skills(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListSkillsResult, ErrorData> {
        Ok(ListSkillsResult::with_all_items(skills::entries(&self.host())))
    }

    async fn get_skill(&self, params: GetSkillRequestParams, _: RequestContext<RoleServer>) -> Result<GetSkillResult, ErrorData> {
        skills::entry_of(&self.host(), &params.uri).map(GetSkillResult::new)
    }

    /// Clients of the older era are told on their session.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let (hosts, skilled, mut life, peer) = (self.hosts.clone(), self.skills, self.life.subscribe(), context.peer);
        tokio::spawn(async move {
            let peer_of = &peer;
            let tell = |changed: Changed| async move {
                (!changed.tools || peer_of.notify_tool_list_changed().await.is_ok())
                    && (!changed.prompts || peer_of.notify_prompt_list_changed().await.is_ok())
                    && (!changed.resources || peer_of.notify_resource_list_changed().await.is_ok())
            };
            tokio::select! {
                () = on_change(hosts, skilled, tell) => {}
                // Nothing is ever sent there.
                _ = life.changed() => {}
            }
        });
    }

    /// Clients of the newer era ask to be told.
    fn accepted_subscription_filter(&self, wanted: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(wanted.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let (sink, wanted) = (subscription.sink(), subscription.accepted());
        let tell = |changed: Changed| async move {
            let wants = |wanted: Option<bool>, changed: bool| changed && wanted == Some(true);
            (!wants(wanted.tools_list_changed, changed.tools) || sink.notify_tool_list_changed().await.is_ok())
                && (!wants(wanted.prompts_list_changed, changed.prompts) || sink.notify_prompt_list_changed().await.is_ok())
                && (!wants(wanted.resources_list_changed, changed.resources) || sink.notify_resource_list_changed().await.is_ok())
        };
        let mut stop = self.stop.clone();
        tokio::select! {
            () = on_change(self.for_one().hosts, self.skills, tell) => {}
            _ = subscription.cancelled() => {}
            () = stopped(&mut stop) => {}
        }
        Ok(())
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        let host = self.host();
        let tool = host.tool(host.id_of_mcp_name(name)?)?;
        host.admit(tool).is_ok().then(|| described(tool))
    }

    async fn call_tool(&self, params: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let busy = InFlight::new(&self.busy);
        let host = self.host();
        // A name that nothing is registered under still gets its answer from the gate.
        let id = host.id_of_mcp_name(&params.name).map_or_else(|| params.name.replacen("__", "/", 1), str::to_owned);
        let arguments =
            serde_json::to_vec(&params.arguments.unwrap_or_default()).map_err(|e| ErrorData::internal_error(e.to_string(), None))?;
        let (cancel, cancelled) = watch::channel(false);
        let (progress, notifier) = context
            .meta
            .get_progress_token()
            .map(|token| {
                let (progress, mut reports) = mpsc::channel(PROGRESS);
                let peer = context.peer.clone();
                // On its own: a client that does not read holds up neither deadline nor cancellation.
                let notifier = tokio::spawn(async move {
                    while let Some(report) = reports.recv().await {
                        notify(&peer, &token, report).await;
                    }
                });
                (progress, notifier)
            })
            .unzip();
        let run = Run { progress, cancelled: Some(cancelled) };
        let events = &self.events;
        // On the heap at once: the library moves what it runs several times before it begins.
        let mut call = Box::pin(
            host.answer(ToolCall { id, arguments: arguments.into() }, Verdict::pass(), run, |decision| events(Event::Decided(decision))),
        );
        let mut stop = self.stop.clone();
        let mut asked = false;
        let mut ended = loop {
            tokio::select! {
                biased;
                ended = &mut call => break ended,
                () = context.ct.cancelled(), if !asked => { asked = true; let _ = cancel.send(true); }
                () = stopped(&mut stop), if !asked => { asked = true; let _ = cancel.send(true); }
            }
        };
        // The call has dropped its end, so this is over when the last report is out.
        if let Some(notifier) = notifier {
            ended.iter_mut().for_each(Answered::wipe);
            let abort = notifier.abort_handle();
            if tokio::time::timeout(LAST_REPORT, notifier).await.is_err() {
                abort.abort();
            }
        }
        drop(call);
        match ended {
            Ok(answered) => {
                let result = result(answered.record());
                // Observers are told in the order of the calls. Where others are in flight, they need this thread and its warm memory.
                if host.is_heard(&answered) || *self.busy.borrow() > 1 {
                    events(Event::Ended(&host.end(answered).await));
                    return Ok(result.into());
                }
                let events = events.clone();
                tokio::spawn(async move {
                    after_the_others().await;
                    events(Event::Ended(&host.end(answered).await));
                    drop(busy);
                });
                Ok(result.into())
            }
            Err(error) if error.kind == Kind::Io => {
                events(Event::Unrecorded(&error));
                Ok(CallToolResult::error(vec![ContentBlock::text("it was not run (io): its record cannot be written")]).into())
            }
            Err(error) if error.kind == Kind::NotFound => Err(ErrorData::invalid_params(error.message, None)),
            Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(format!("{} is not available", error.kind.name()))]).into()),
        }
    }
}

/// Waits until somebody wants the server to end; where nobody can, for ever.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until each task of this thread that is ready now had its turn: over pipes one of them sends the answer. The runtime's own
/// way to yield asks the system for news first, which takes longer than what is left of a call.
async fn after_the_others() {
    let mut first = true;
    std::future::poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

async fn notify(peer: &rmcp::Peer<RoleServer>, token: &ProgressToken, report: Progress) {
    let mut param = ProgressNotificationParam::new(token.clone(), report.done);
    if let Some(total) = report.total {
        param = param.with_total(total);
    }
    if let Some(message) = report.message {
        param = param.with_message(crate::clean::line(&message, crate::clean::NAME));
    }
    // A client that does not listen loses its report, not its call.
    let _ = peer.notify_progress(param).await;
}

fn object(value: &Value) -> Arc<JsonObject> {
    Arc::new(value.as_object().cloned().unwrap_or_default())
}

fn described(tool: &Tool) -> rmcp::model::Tool {
    let spec = &tool.spec;
    let mut described = rmcp::model::Tool::new(tool.mcp_name.clone(), spec.description.clone(), object(spec.input.value()));
    if let Some(title) = &spec.title {
        described = described.with_title(title.clone());
    }
    // Clients of the older era take objects alone.
    if let Some(output) = spec.output.as_ref().filter(|o| o.value().get("type").and_then(Value::as_str) == Some("object")) {
        described = described.with_raw_output_schema(object(output.value()));
    }
    if let Some(h) = spec.hints {
        let hints =
            ToolAnnotations::new().read_only(h.read_only).destructive(h.destructive).idempotent(h.idempotent).open_world(h.open_world);
        described = described.with_annotations(hints);
    }
    described
}

fn result(record: &CallRecord) -> CallToolResult {
    let error = |text: String| CallToolResult::error(vec![ContentBlock::text(text)]);
    if let Some(denial) = &record.denial {
        // What is wrong with its own arguments is all an agent needs to mend them; of every other rule it learns the name.
        let why = if denial.rule == Rule::Arguments.name() { format!(": {}", denial.reason) } else { String::new() };
        return error(format!("{} was denied by the rule {} (denial {}){why}", denial.tool, denial.rule, denial.number));
    }
    if let Some(failed) = &record.error {
        let what = if record.outcome == Outcome::Limit { "was stopped" } else { "failed" };
        return error(format!("{} {what} ({}): {}", record.tool, failed.kind.name(), failed.message));
    }
    let structured = match record.content.as_slice() {
        [Content::Json(json)] => serde_json::from_str::<Value>(json.get()).ok().filter(Value::is_object),
        _ => None,
    };
    let mut result = CallToolResult::success(record.content.iter().map(block).collect());
    result.structured_content = structured;
    result
}

fn block(content: &Content) -> ContentBlock {
    match content {
        Content::Text(text) => ContentBlock::text(text.as_str()),
        Content::Json(json) => ContentBlock::text(json.get()),
        Content::Blob { mime, data } => {
            let base64 = base64::engine::general_purpose::STANDARD.encode(data);
            match mime.split('/').next() {
                Some("image") => ContentBlock::image(base64, mime.as_str()),
                Some("audio") => ContentBlock::audio(base64, mime.as_str()),
                _ => ContentBlock::resource(ResourceContents::blob(base64, "palisade:result").with_mime_type(mime.as_str())),
            }
        }
    }
}
