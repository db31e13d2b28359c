//! External servers: each started when it is needed, spoken to through the library, compared with what was accepted.
//!
//! The rule it keeps: a server is started inside its fence, with what its entry names; its tools are those a person
//! accepted, and one that changed since is held; what it sends is bounded, and one that hangs, floods or dies takes nobody
//! with it.
//!
//! Where the rule ends: whether a call may run is the gate's business; what a server does with what it was given is not
//! ours to see.

use super::accepted::difference;
use super::guarded::Guarded;
use super::remote::{Handler, LINE, contents, list};
use super::start::{lookup, wanted};
use super::web::Web;
use crate::child::{self, Child, Start};
use crate::clean;
use crate::config::{Home, Remote, ServerEntry, expand};
use crate::error::{Error, Kind};
use crate::sandbox::{Definition, Failure, Report, Run};
use palisade_policy::{Identity, Limit, Limits};
use rmcp::model::{CallToolRequestParams, ClientRequest, ProtocolVersion, Request};
use rmcp::service::{ClientLifecycleMode, Peer, PeerRequestOptions, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientServiceExt, RoleClient};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, watch};

/// The first wait before a server that ended is started again; it doubles each time, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// How long all servers together have to end; what is left then is ended by their supervisors.
const CLOSING: Duration = Duration::from_secs(15);
/// Most of what a server writes to its standard error that is kept, in bytes: the end of it.
const STDERR: usize = 16 * 1024;

/// An external server.
pub struct Server {
    /// What it is started with.
    pub entry: ServerEntry,
    /// SHA-256 over that.
    pub identity: Identity,
    /// Its tools as they were accepted, by name.
    accepted: BTreeMap<String, Definition>,
    home: Home,
    workspace: PathBuf,
    limits: Limits,
    /// The program that supervises it: this very one.
    program: PathBuf,
    link: tokio::sync::Mutex<Link>,
    /// To whom calls go, while it runs.
    peer: RwLock<Option<Peer<RoleClient>>>,
    /// Tools that are not what was accepted, and how.
    changed: RwLock<BTreeMap<String, String>>,
    places: Semaphore,
    handler: Handler,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// How it stands with the process.
enum Link {
    Idle,
    Up(Box<Connection>),
    Down { why: String, since: Instant, failures: u32 },
}

struct Connection {
    service: RunningService<RoleClient, Handler>,
    ending: Ending,
    stderr: Arc<Mutex<Vec<u8>>>,
    started: Instant,
    tools: Vec<Definition>,
    protocol: String,
    reads: Vec<PathBuf>,
}

/// What a running server says of itself.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The version of the protocol it speaks.
    pub protocol: String,
    /// Its tools, as they are now.
    pub tools: Vec<Definition>,
    /// What it reads besides what its entry names: its program, its script, and what they are installed with.
    pub reads: Vec<PathBuf>,
}

/// Where processes are started and pipes are read. Its threads live as long as this process, which matters: a child
/// is told when the thread ends that started it.
fn runtime() -> Option<&'static Handle> {
    static RUNTIME: LazyLock<Option<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("palisade-mcp").enable_io().enable_time().build().ok());
    RUNTIME.as_ref().map(Runtime::handle)
}

impl Server {
    /// A server that is not started yet, with the tools that were accepted of it.
    #[must_use]
    pub fn new(entry: ServerEntry, accepted: Vec<Definition>, home: &Home, workspace: &Path, limits: &Limits) -> Self {
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe().unwrap_or_default() };
        Self {
            identity: entry.identity(),
            accepted: accepted.into_iter().map(|tool| (tool.name.clone(), tool)).collect(),
            home: home.clone(),
            workspace: workspace.to_owned(),
            limits: limits.clone(),
            program,
            link: tokio::sync::Mutex::new(Link::Idle),
            peer: RwLock::new(None),
            changed: RwLock::new(BTreeMap::new()),
            handler: Handler::default(),
            places: Semaphore::new(limits.size(Limit::InFlightSource).min(Semaphore::MAX_PERMITS)),
            entry,
        }
    }

    /// Whether it is still what this entry, with what is left open to it, these tools and limits make it.
    pub(crate) fn goes_on(&self, entry: &ServerEntry, tools: &[Definition], limits: &Limits) -> bool {
        let same = |tool: &Definition| self.accepted.get(&tool.name).is_some_and(|known| difference(known, tool).is_none());
        self.entry == *entry && self.limits == *limits && tools.len() == self.accepted.len() && tools.iter().all(same)
    }

    /// The limits of its calls.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The program that supervises it, in the place of this very one.
    pub(crate) fn supervised_by(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// How a tool differs from what was accepted; known once the server runs.
    #[must_use]
    pub fn changed(&self, tool: &str) -> Option<String> {
        self.changed.read().unwrap_or_else(PoisonError::into_inner).get(tool).cloned()
    }

    /// Whether its fence is whole, as an operator reads it.
    #[must_use]
    pub fn fence(&self) -> String {
        if self.entry.remote.is_some() {
            return "it runs elsewhere".to_owned();
        }
        match (self.entry.unfenced, child::enforced()) {
            (true, _) => "none: its entry says `unfenced`".to_owned(),
            (false, Some(why)) => format!("none, so it does not start: {why}"),
            (false, None) if self.entry.net => "files, signals, sockets but those of the internet".to_owned(),
            (false, None) => "files, signals, sockets".to_owned(),
        }
    }

    /// Starts it if it does not run, and compares its tools with what was accepted.
    ///
    /// # Errors
    /// [`Kind::Mcp`]: why it is not available.
    pub async fn ready(self: &Arc<Self>) -> Result<Seen, Error> {
        let unavailable = |why: String| {
            let what = format!("the MCP server {} is not available: {}", self.entry.name, clean::line(&why, clean::TEXT));
            Error::new(Kind::Mcp, what).hint("palisade mcp list")
        };
        let runtime = runtime().ok_or_else(|| unavailable("no thread could be had for it".to_owned()))?;
        let server = self.clone();
        remember(self);
        // On a thread that lives as long as the process, and to its end whoever waits.
        let ready = runtime.spawn(async move { server.link().await });
        ready.await.map_err(|e| Error::internal("starting an MCP server", &e))?.map_err(unavailable)
    }

    async fn link(&self) -> Result<Seen, String> {
        let mut link = self.link.lock().await;
        let mut failures = 0;
        match &mut *link {
            Link::Up(connection) if !connection.service.peer().is_transport_closed() => {
                if self.handler.take_stale() {
                    let listed = tokio::time::timeout(self.limits.time(Limit::McpStart), list(connection.service.peer())).await;
                    connection.tools = listed.map_err(|_| "it does not list its tools again".to_owned())??;
                    self.compare(&connection.tools);
                }
                return Ok(connection.seen());
            }
            Link::Up(connection) => {
                // One that ran for a while begins anew.
                failures = u32::from(connection.started.elapsed() < LONGEST);
                let why = connection.ended();
                self.forget();
                *link = Link::Down { why, since: Instant::now(), failures };
            }
            Link::Down { why, since, failures: before } => {
                let wait = FIRST.saturating_mul(1 << before.saturating_sub(1).min(6)).min(LONGEST);
                if let Some(left) = wait.checked_sub(since.elapsed()).filter(|_| *before > 0) {
                    return Err(format!("{why}; it is started again in {} s", left.as_secs() + 1));
                }
                failures = *before;
            }
            Link::Idle => {}
        }
        match self.connect().await {
            Ok(connection) => {
                self.compare(&connection.tools);
                *self.peer.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.service.peer().clone());
                let seen = connection.seen();
                *link = Link::Up(Box::new(connection));
                Ok(seen)
            }
            Err(why) => {
                self.forget();
                *link = Link::Down { why: why.clone(), since: Instant::now(), failures: failures + 1 };
                Err(why)
            }
        }
    }

    fn forget(&self) {
        *self.peer.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn compare(&self, now: &[Definition]) {
        let now: BTreeMap<&str, &Definition> = now.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        let differs = |(name, accepted): (&String, &Definition)| {
            let why = match now.get(name.as_str()) {
                Some(now) => difference(accepted, now)?,
                None => "the server has it no more".to_owned(),
            };
            Some((name.clone(), why))
        };
        let changed: BTreeMap<String, String> = self.accepted.iter().filter_map(differs).collect();
        let mut known = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        if *known != changed {
            *known = changed;
            CHANGES.send_modify(|changes| *changes += 1);
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        match &self.entry.remote {
            Some(remote) => self.reach(remote).await,
            None => self.start().await,
        }
    }

    /// Reaches a server by its URL.
    async fn reach(&self, remote: &Remote) -> Result<Connection, String> {
        let lookup = lookup(&self.entry, &self.home);
        let put_in = |(name, value): &(String, String)| Ok((name.clone(), expand(value, &lookup)?));
        let headers = remote.headers.iter().map(put_in).collect::<Result<Vec<_>, String>>()?;
        headers.iter().for_each(|(_, value)| crate::redact::learn(value));
        let web = Web::new(remote, &headers, &self.limits)?;
        let config = StreamableHttpClientTransportConfig::with_uri(format!("{}{}", remote.origin, remote.path));
        let transport = StreamableHttpClientTransport::with_client(web.clone(), config);
        let (service, tools) = self.hello(transport).await.map_err(|why| web.why().unwrap_or(why))?;
        Ok(Connection::new(service, Ending(Mutex::new(None)), Arc::default(), tools))
    }

    /// Says hello, and asks for the tools.
    async fn hello<T, E, A>(&self, transport: T) -> Result<(RunningService<RoleClient, Handler>, Vec<Definition>), String>
    where
        T: rmcp::transport::IntoTransport<RoleClient, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mode = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let hello = async {
            let service = self.handler.clone().serve_with_lifecycle(transport, mode).await.map_err(|e| e.to_string())?;
            let tools = list(service.peer()).await?;
            Ok::<_, String>((service, tools))
        };
        let time = self.limits.time(Limit::McpStart);
        let hello = tokio::time::timeout(time, hello).await;
        let hello = hello.unwrap_or_else(|_| Err(format!("it said nothing for {} (`mcp_start`)", humantime::format_duration(time))))?;
        self.handler.listen(hello.0.peer());
        Ok(hello)
    }

    /// Starts a server's process.
    async fn start(&self) -> Result<Connection, String> {
        let wanted = wanted(&self.entry, &self.home, &self.workspace)?;
        let start = Start::prepare(wanted, &self.home, &self.workspace, &self.limits)?;
        let reads = start.reads.clone();
        let started = child::spawn(&self.program, start);
        let (child, stdin, stdout, stderr) = started.map_err(|e| format!("it cannot be started: {e}"))?;
        let ending = Ending(Mutex::new(Some(child)));
        let kept = Arc::new(Mutex::new(Vec::new()));
        let io = |e: std::io::Error| format!("its pipes: {e}");
        let write = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(io)?;
        let read = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(io)?;
        let errors = pipe::Receiver::from_owned_fd(OwnedFd::from(stderr)).map_err(io)?;
        let keeping = tokio::spawn(keep(errors, kept.clone()));
        let transport = Guarded::new(AsyncRwTransport::new_client(read, write).with_max_line_length(LINE));
        let started = self.hello(transport).await;
        let (service, tools) = match started {
            Ok(started) => started,
            Err(why) => {
                // What it says while it ends is the best reason there is.
                ending.end().await;
                let _ = tokio::time::timeout(Duration::from_millis(200), keeping).await;
                return Err(with_last_line(why, &kept));
            }
        };
        Ok(Connection { reads, ..Connection::new(service, ending, kept, tools) })
    }

    /// Runs one tool of it. Not public: whoever holds a server still has to go through the gate.
    pub(crate) async fn call(&self, tool: &str, arguments: &[u8], time: Duration, run: Run) -> Report {
        let failed = |kind, message: String| Report::failed(Failure { kind, message });
        let stopped =
            || failed(Kind::LimitTime, format!("it was stopped after {}", humantime::format_duration(self.limits.time(Limit::Time))));
        let Some(peer) = self.peer.read().unwrap_or_else(PoisonError::into_inner).clone() else {
            return failed(Kind::Mcp, "the server does not run".to_owned());
        };
        let Ok(arguments) = serde_json::from_slice(arguments) else {
            return failed(Kind::Internal, "the arguments are no object".to_owned());
        };
        let deadline = tokio::time::Instant::now() + time;
        let Ok(_place) = tokio::time::timeout_at(deadline, self.places.acquire()).await else { return stopped() };
        let request = ClientRequest::CallToolRequest(Request::new(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)));
        let sent = tokio::time::timeout_at(deadline, peer.send_cancellable_request(request, PeerRequestOptions::no_options())).await;
        let mut handle = match sent {
            Err(_) => return stopped(),
            Ok(Err(error)) => return failed(Kind::Mcp, format!("the server does not take calls: {error}")),
            Ok(Ok(handle)) => handle,
        };
        let _reports = run.progress.map(|sink| self.handler.watch(handle.progress_token.clone(), sink));
        let mut cancelled = run.cancelled;
        let given_up = async {
            let asked = match &mut cancelled {
                Some(cancelled) => cancelled.wait_for(|cancelled| *cancelled).await.is_ok(),
                None => false,
            };
            // A sender that is gone never cancels.
            if !asked {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            biased;
            answer = &mut handle.rx => Ok(answer),
            () = given_up => Err(failed(Kind::Cancelled, "the caller gave up".to_owned())),
            () = tokio::time::sleep_until(deadline) => Err(stopped()),
        };
        match ended {
            Ok(Ok(Ok(answer))) => contents(answer, &self.limits),
            Ok(Ok(Err(error))) => failed(Kind::ToolFailed, error.to_string()),
            Ok(Err(_)) => failed(Kind::Mcp, "the server ended before it answered".to_owned()),
            Err(report) => {
                // A server that does not read cannot be told.
                let _ =
                    tokio::time::timeout(Duration::from_millis(100), handle.cancel(Some("it is not waited for any more".to_owned()))).await;
                report
            }
        }
    }

    async fn close(&self) {
        let mut link = self.link.lock().await;
        self.forget();
        if let Link::Up(connection) = std::mem::replace(&mut *link, Link::Idle) {
            connection.close().await;
        }
    }
}

/// Counts how often a tool of a server became another, or the accepted one again.
static CHANGES: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::channel(0).0);

/// Tells when a tool of an external server became another.
pub(crate) fn changes() -> watch::Receiver<u64> {
    CHANGES.subscribe()
}

/// Servers that were started by this process.
static STARTED: Mutex<Vec<Weak<Server>>> = Mutex::new(Vec::new());

fn remember(server: &Arc<Server>) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !started.iter().any(|known| Weak::as_ptr(known) == Arc::as_ptr(server)) {
        started.push(Arc::downgrade(server));
    }
}

/// Ends every external server of this process, with all it started, and waits for that. A host that is dropped ends its
/// own, and waits for nothing.
pub async fn close_all() {
    let started = std::mem::take(&mut *STARTED.lock().unwrap_or_else(PoisonError::into_inner));
    let closing: Vec<_> =
        started.iter().filter_map(Weak::upgrade).filter_map(|server| Some(runtime()?.spawn(async move { server.close().await }))).collect();
    let _ = tokio::time::timeout(CLOSING, async {
        for closed in closing {
            let _ = closed.await;
        }
    })
    .await;
}

impl Connection {
    fn new(service: RunningService<RoleClient, Handler>, ending: Ending, stderr: Arc<Mutex<Vec<u8>>>, tools: Vec<Definition>) -> Self {
        let protocol = service.peer().peer_info().map(|info| info.protocol_version.to_string()).unwrap_or_default();
        Self { service, ending, stderr, started: Instant::now(), tools, protocol, reads: Vec::new() }
    }

    fn seen(&self) -> Seen {
        Seen { protocol: self.protocol.clone(), tools: self.tools.clone(), reads: self.reads.clone() }
    }

    /// Why it is gone.
    fn ended(&self) -> String {
        drop(self.ending.take().map(|child| std::thread::spawn(move || child.end())));
        with_last_line("it ended".to_owned(), &self.stderr)
    }

    async fn close(self) {
        let Self { service, ending, .. } = self;
        // Closes its standard input, which is how a server is asked to end.
        let _ = tokio::time::timeout(Duration::from_secs(1), service.cancel()).await;
        ending.end().await;
    }
}

/// A process that is ended when nobody takes it over.
struct Ending(Mutex<Option<Child>>);

impl Ending {
    fn take(&self) -> Option<Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn end(&self) {
        let child = self.take();
        if let Some(child) = child {
            let _ = tokio::task::spawn_blocking(move || child.end()).await;
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = self.take() {
            std::thread::spawn(move || child.end());
        }
    }
}

/// Keeps the end of what a server writes to its standard error.
async fn keep(mut from: pipe::Receiver, kept: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&piece[..read]);
        let over = kept.len().saturating_sub(STDERR);
        kept.drain(..over);
    }
}

fn with_last_line(why: String, kept: &Mutex<Vec<u8>>) -> String {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&kept);
    match text.lines().rev().map(|line| clean::line(line, 300)).find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{why}; the last it wrote: {line}"),
        None => why,
    }
}
