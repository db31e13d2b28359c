//! A source's own key-value store: one file, which every process of this user shares.
//!
//! The rule it keeps: each operation is one transaction, so it is whole or not there at all, also beside other processes
//! and a sudden end; what was acknowledged is on disk; room is counted in the transaction that takes it. A file that cannot
//! be trusted or read is left as it is, and every operation fails.
//!
//! Where the rule ends: whose store a file is was decided when the source was loaded.
//!
//! Never here: who may have a store.

use crate::files::open_private;
use crate::sandbox::bindings::palisade::plugin::store::{self, StoreError};
use crate::sandbox::refused::Refused;
use crate::sandbox::state::State;
use palisade_policy::{Limit, Limits};
use redb::backends::FileBackend;
use redb::{
    ConcurrencyMode, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError, TransactionError,
    WriteTransaction,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// One row: the bytes of all keys and values.
const SUMS: TableDefinition<'_, &str, u64> = TableDefinition::new("sums");
const BYTES: &str = "bytes";
/// What the library may keep of one file in memory, in bytes.
const CACHE: usize = 4 * 1024 * 1024;
/// Most keys of one answer: with the longest keys half a megabyte.
const KEYS: u32 = 1000;
/// How often a transaction is asked for that somebody else has. Theirs takes as long as a disk takes to flush.
const AGAIN: Duration = Duration::from_millis(1);

/// The store of one source, opened with the first operation that needs it.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    opening: Mutex<()>,
    open: OnceLock<Opened>,
}

struct Opened(Database);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// The bounds of one source.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    key: usize,
    value: usize,
    bytes: u64,
    keys: u64,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        Self {
            key: limits.size(Limit::StoreKey),
            value: limits.size(Limit::StoreValue),
            bytes: limits.get(Limit::StoreBytes),
            keys: limits.get(Limit::StoreKeys),
        }
    }

    fn key(self, key: &str) -> Result<(), Fault> {
        if key.is_empty() || key.len() > self.key { Err(Fault::Guest(StoreError::Key)) } else { Ok(()) }
    }

    fn value(self, value: &[u8]) -> Result<(), Fault> {
        if value.len() > self.value { Err(Fault::Guest(StoreError::Value)) } else { Ok(()) }
    }
}

/// The store of a call's source, and its bounds.
#[derive(Debug, Clone)]
pub(crate) struct OwnStore {
    file: Arc<Store>,
    bounds: Bounds,
}

impl OwnStore {
    pub(crate) fn new(file: Arc<Store>, limits: &Limits) -> Self {
        Self { file, bounds: Bounds::new(limits) }
    }
}

/// Why an operation did nothing.
enum Fault {
    /// The guest asked for something that cannot be.
    Guest(StoreError),
    /// The store cannot be used; for the operator.
    Store(String),
    /// Somebody else is writing.
    Busy,
}

macro_rules! from_library {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Store(error.to_string())
            }
        })*
    };
}

from_library!(redb::DatabaseError, redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// A change of one key.
enum Change {
    Set(Vec<u8>),
    Delete,
    Swap { expected: Option<Vec<u8>>, value: Option<Vec<u8>> },
}

impl Store {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, opening: Mutex::new(()), open: OnceLock::new() }
    }

    /// The open file; `None` where it is not there and is not to be made.
    fn database(&self, make: bool) -> Result<Option<&Database>, Fault> {
        if let Some(open) = self.open.get() {
            return Ok(Some(&open.0));
        }
        // One that panicked left nothing half done: what counts is whether it is open.
        let _one = self.opening.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(open) = self.open.get() {
            return Ok(Some(&open.0));
        }
        let shown = |error: io::Error| Fault::Store(error.to_string());
        // What a process left that was killed while it made a store.
        self.path.parent().map(crate::files::sweep);
        let file = match open_private(&self.path).map_err(shown)? {
            None if make => {
                create(&self.path)?;
                open_private(&self.path).map_err(shown)?
            }
            found => found,
        };
        let Some(file) = file else { return Ok(None) };
        let database = open(file)?;
        Ok(Some(&self.open.get_or_init(|| Opened(database)).0))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(database) = self.database(false)? else { return Ok(None) };
        let read = database.begin_read()?;
        match read.open_table(ENTRIES) {
            Ok(entries) => Ok(entries.get(key)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn keys(&self, prefix: &str, after: Option<&str>, most: u32) -> Result<Vec<String>, Fault> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let Some(database) = self.database(false)? else { return Ok(Vec::new()) };
        let read = database.begin_read()?;
        let entries = match read.open_table(ENTRIES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            opened => opened?,
        };
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let mut keys = Vec::new();
        for entry in entries.range::<&str>((from, Unbounded))?.take(most.min(KEYS) as usize) {
            let (key, _) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            keys.push(key.value().to_owned());
        }
        Ok(keys)
    }

    /// Makes a change and waits until it is on disk; whether it was made. [`Fault::Busy`] where another transaction runs.
    fn change(&self, key: &str, change: &Change, bounds: Bounds) -> Result<bool, Fault> {
        let make = matches!(change, Change::Set(_) | Change::Swap { value: Some(_), .. });
        let Some(database) = self.database(make)? else {
            // There is no such key: to expect just that and to remove it is no change.
            return Ok(matches!(change, Change::Swap { expected: None, .. }));
        };
        let write = match database.try_begin_write() {
            Err(TransactionError::WouldBlock) => return Err(Fault::Busy),
            begun => begun?,
        };
        match apply(&write, key, change, bounds) {
            Ok(true) => write.commit()?,
            Ok(false) => {
                write.abort()?;
                return Ok(false);
            }
            Err(fault) => {
                write.abort()?;
                return Err(fault);
            }
        }
        Ok(true)
    }
}

fn apply(write: &WriteTransaction, key: &str, change: &Change, bounds: Bounds) -> Result<bool, Fault> {
    let mut entries = write.open_table(ENTRIES)?;
    let before = entries.get(key)?.map(|value| value.value().to_vec());
    let value = match change {
        Change::Set(value) => Some(value),
        Change::Delete => None,
        Change::Swap { expected, .. } if *expected != before => return Ok(false),
        Change::Swap { value, .. } => value.as_ref(),
    };
    let size = |value: &Vec<u8>| (key.len() + value.len()) as u64;
    let mut sums = write.open_table(SUMS)?;
    let bytes = sums.get(BYTES)?.map_or(0, |bytes| bytes.value());
    let bytes = bytes.saturating_sub(before.as_ref().map_or(0, size)).saturating_add(value.map_or(0, size));
    match value {
        // What makes it smaller is never refused.
        Some(value) if bytes > bounds.bytes && before.as_ref().is_none_or(|before| size(before) < size(value)) => {
            return Err(Fault::Guest(StoreError::Full));
        }
        Some(_) if before.is_none() && entries.len()? >= bounds.keys => return Err(Fault::Guest(StoreError::Full)),
        Some(value) => drop(entries.insert(key, value.as_slice())?),
        None => drop(entries.remove(key)?),
    }
    sums.insert(BYTES, bytes)?;
    // To remove what is not there is done, and changes nothing.
    Ok(value.is_some() || before.is_some() || matches!(change, Change::Swap { .. }))
}

/// Opens a store. Any number of processes may; the library locks what must not be done at once.
fn open(file: std::fs::File) -> Result<Database, Fault> {
    let mut builder = Database::builder();
    builder.set_concurrency_mode(ConcurrencyMode::MultiWriter).set_cache_size(CACHE);
    Ok(builder.create_with_backend(FileBackend::new(file)?)?)
}

/// Makes an empty store, whole or not at all; if another process was quicker, theirs stays.
fn create(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    let shown = |error: io::Error| Fault::Store(error.to_string());
    let folder = path.parent().unwrap_or(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(shown)?;
    for _ in 0..crate::files::TRIES {
        let fresh = crate::files::unfinished(path).map_err(shown)?;
        open(fresh.reopen().map_err(shown)?)?.close()?;
        match fresh.persist_noclobber(path) {
            // A sweep of another process took it away while nobody had it locked.
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(shown(error.error)),
            _ => return Ok(()),
        }
    }
    Err(Fault::Store("a new file was taken away each time it was made".to_owned()))
}

impl State {
    /// What went wrong: for the operator in words, for the guest as its kind.
    fn store_fault(&mut self, fault: Fault) -> StoreError {
        match fault {
            Fault::Guest(error) => error,
            Fault::Busy => StoreError::Unavailable,
            Fault::Store(why) => {
                let path = self.store.as_ref().map(|store| store.file.path.display().to_string()).unwrap_or_default();
                let line = format!("its store {path} cannot be used: {why}");
                self.http.note(Refused::Because(crate::clean::line(&line, crate::clean::TEXT)));
                StoreError::Unavailable
            }
        }
    }

    /// The store and its bounds. A source that imports it without a grant is denied before it runs, and while definitions
    /// are read there is none.
    fn store(&mut self) -> wasmtime::Result<OwnStore> {
        self.counted()?;
        self.store.clone().ok_or_else(|| wasmtime::Error::msg("it has no store"))
    }

    async fn change(&mut self, key: String, change: Change) -> wasmtime::Result<Result<bool, StoreError>> {
        let OwnStore { file, bounds } = self.store()?;
        let value = match &change {
            Change::Set(value) | Change::Swap { value: Some(value), .. } => bounds.value(value),
            _ => Ok(()),
        };
        if let Err(fault) = bounds.key(&key).and(value) {
            return Ok(Err(self.store_fault(fault)));
        }
        let both = Arc::new((key, change));
        loop {
            let (file, both) = (file.clone(), both.clone());
            // It waits for the disk.
            let work = move || file.change(&both.0, &both.1, bounds);
            match tokio::task::spawn_blocking(work).await? {
                Err(Fault::Busy) => tokio::time::sleep(AGAIN).await,
                Ok(done) => return Ok(Ok(done)),
                Err(fault) => return Ok(Err(self.store_fault(fault))),
            }
        }
    }
}

impl store::Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, StoreError>> {
        let OwnStore { file, bounds } = self.store()?;
        let got = bounds.key(&key).and_then(|()| file.get(&key));
        Ok(got.map_err(|fault| self.store_fault(fault)))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), StoreError>> {
        Ok(self.change(key, Change::Set(value)).await?.map(drop))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<bool, StoreError>> {
        self.change(key, Change::Delete).await
    }

    async fn swap(&mut self, key: String, expected: Option<Vec<u8>>, value: Option<Vec<u8>>) -> wasmtime::Result<Result<bool, StoreError>> {
        self.change(key, Change::Swap { expected, value }).await
    }

    async fn keys(&mut self, prefix: String, after: Option<String>, most: u32) -> wasmtime::Result<Result<Vec<String>, StoreError>> {
        let OwnStore { file, .. } = self.store()?;
        Ok(file.keys(&prefix, after.as_deref(), most).map_err(|fault| self.store_fault(fault)))
    }
}
