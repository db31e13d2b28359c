//! WASI from grants: folders as handles opened once, variables by name, origins for `wasi:http`, and nothing else.

use crate::sandbox::http::{Network, Secret};
use crate::sandbox::store::Store;
use palisade_policy::{Access, FolderGrant, NetOrigin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

/// A folder to open for a component.
pub type Folder = FolderGrant;

/// What one component reaches: made once, used by each call.
#[derive(Default)]
pub struct Reach {
    filesystem: WasiFilesystemCtx,
    granted: Vec<Granted>,
    writes: bool,
    variables: Vec<(String, String)>,
    network: Option<Arc<Network>>,
    store: Option<Arc<Store>>,
    /// The name a program is called by, and where its working folders are made.
    pub(super) program: Option<(String, PathBuf)>,
}

/// What a program gets beside its folders.
pub(super) struct Streams {
    pub(super) args: Vec<String>,
    pub(super) stdin: MemoryInputPipe,
    pub(super) stdout: MemoryOutputPipe,
    pub(super) stderr: MemoryOutputPipe,
}

impl std::fmt::Debug for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reach").finish_non_exhaustive()
    }
}

/// A folder as it was granted, and the handle the guest has of it: what is refused in it is told under its name.
pub(crate) struct Granted {
    pub(crate) folder: Folder,
    pub(crate) handle: Arc<std::fs::File>,
}

/// A granted folder that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the granted folder {path} cannot be opened: {reason}")]
pub struct ReachError {
    path: PathBuf,
    reason: String,
}

impl Reach {
    /// Opens the folders. The path was resolved when it was decided on; it is opened without following a link in its last
    /// part, and refused if it is no longer the folder of that path.
    ///
    /// # Errors
    /// A folder that cannot be opened.
    pub fn open(folders: &[Folder], variables: Vec<(String, String)>) -> Result<Self, ReachError> {
        let mut builder = WasiCtxBuilder::new();
        for folder in folders {
            let refuse = |reason: String| ReachError { path: folder.host.clone(), reason };
            let handle = open_folder(&folder.host).map_err(|e| refuse(e.to_string()))?;
            if std::fs::read_link(handle_path(&folder.host, &handle)).is_ok_and(|now| now != folder.host) {
                return Err(refuse("it is no longer the folder that was decided on".to_owned()));
            }
            builder
                .preopened_dir(handle_path(&folder.host, &handle), &folder.guest, perms(folder.access))
                .map_err(|e| refuse(e.to_string()))?;
        }
        let mut ctx = builder.build();
        let mut filesystem = std::mem::take(ctx.filesystem());
        let granted = handles(&mut filesystem).zip(folders).map(|(handle, folder)| Granted { folder: folder.clone(), handle });
        let granted = granted.collect();
        let writes = folders.iter().any(|folder| folder.access == Access::Write);
        Ok(Self { filesystem, granted, writes, variables, network: None, store: None, program: None })
    }

    /// The same, with origins it may send requests to, and secrets that are added to them.
    #[must_use]
    pub fn with_network(mut self, origins: Vec<NetOrigin>, secrets: Vec<Secret>) -> Self {
        self.network = Network::new(origins, secrets);
        self
    }

    /// The same, with a key-value store of its own in the file of that path, which is made when something is kept in it.
    #[must_use]
    pub fn with_store(mut self, file: PathBuf) -> Self {
        self.store = Some(Arc::new(Store::new(file)));
        self
    }

    /// The same for a program: the name it is called by, and a place below which each call gets a folder of its own.
    #[must_use]
    pub fn of_program(mut self, name: &str, below: PathBuf) -> Self {
        self.program = Some((name.to_owned(), below));
        self
    }

    /// The file of its store, where it was granted one.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    /// Where requests may go; `None` where nowhere.
    pub(crate) fn network(&self) -> Option<Arc<Network>> {
        self.network.clone()
    }

    /// The folders as they were granted.
    pub(crate) fn granted(&self) -> &[Granted] {
        &self.granted
    }

    /// Whether any folder may be written.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// The context of one call: the handles are shared, nothing is opened.
    pub(crate) fn context(&self) -> WasiCtx {
        let mut ctx = self.builder().build();
        *ctx.filesystem() = self.filesystem.clone();
        ctx
    }

    /// The context of one call of a program: also its words, its streams and a working folder, at `/`.
    pub(super) fn program_context(&self, folder: &Path, streams: Streams) -> wasmtime::Result<WasiCtx> {
        let Streams { args, stdin, stdout, stderr } = streams;
        let mut builder = self.builder();
        builder.args(&args).stdin(stdin).stdout(stdout).stderr(stderr);
        // The first, for programs that take it for the only one.
        builder.preopened_dir(folder, "/", FsPerms::ReadWrite)?;
        for Granted { folder, handle } in &self.granted {
            builder.preopened_dir(handle_path(&folder.host, handle.as_ref()), &folder.guest, perms(folder.access))?;
        }
        Ok(builder.build())
    }

    fn builder(&self) -> WasiCtxBuilder {
        let mut builder = WasiCtxBuilder::new();
        // No terminal, no arguments, no name lookup, no socket: refused before the host makes one.
        builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        builder.max_random_size(RANDOM_MAX);
        if !self.variables.is_empty() {
            builder.envs(&self.variables);
        }
        builder
    }

    /// The context in which definitions are read: fixed clocks, seeded random, nothing reachable. They stand at 0 but for a
    /// reviewer, who looks for what depends on them.
    pub(crate) fn sealed(seed: u8) -> WasiCtx {
        let mut builder = Self::default().builder();
        builder.wall_clock(Fixed(seed)).monotonic_clock(Fixed(seed)).insecure_random_seed(seed.into());
        builder
            .secure_random(wasmtime_wasi::random::Deterministic::new(vec![seed]))
            .insecure_random(wasmtime_wasi::random::Deterministic::new(vec![seed]));
        builder.build()
    }
}

/// Random bytes a guest may ask for at once: more than any key, far below what costs memory.
const RANDOM_MAX: u64 = 1024 * 1024;

/// So many days after the start of time.
struct Fixed(u8);

/// A day, in seconds.
const DAY: u64 = 86_400;

impl wasmtime_wasi::HostWallClock for Fixed {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
    fn now(&self) -> std::time::Duration {
        std::time::Duration::from_secs(DAY * u64::from(self.0))
    }
}

impl wasmtime_wasi::HostMonotonicClock for Fixed {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        DAY * 1_000_000_000 * u64::from(self.0)
    }
}

/// The handles that a guest gets, in the order in which they were opened. The engine gives them to guests alone.
fn handles(filesystem: &mut WasiFilesystemCtx) -> impl Iterator<Item = Arc<std::fs::File>> + use<> {
    let mut table = ResourceTable::new();
    let opened = WasiFilesystemCtxView { ctx: filesystem, table: &mut table }.get_directories().unwrap_or_default();
    opened.into_iter().filter_map(move |(fd, _)| match table.delete(fd) {
        Ok(Descriptor::Dir(folder)) => Some(folder.dir),
        _ => None,
    })
}

fn perms(access: Access) -> FsPerms {
    match access {
        Access::Read => FsPerms::ReadOnly,
        Access::Write => FsPerms::ReadWrite,
    }
}

fn open_folder(path: &Path) -> std::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let handle = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
    Ok(handle)
}

/// The name by which the engine's WASI opens the very folder of the handle: through the handle where the system can.
fn handle_path(path: &Path, handle: &impl std::os::fd::AsRawFd) -> PathBuf {
    let through = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    if through.exists() { through } else { path.to_owned() }
}
