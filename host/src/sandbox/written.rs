//! What one call writes through its write grants, counted before it is written.
//!
//! The rule it keeps: a write that would pass the limit is an error to the guest, nothing of it reaches the disk, and the
//! call ends as `limit-output`: when the guest ends it, or at its next such write. What a guest overwrites counts as what it adds: both cost the disk.

use palisade_policy::{Limit, Limits};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{DynOutputStream, FsError, OutputStream, Pollable, StreamError, StreamResult};

/// What a call may still write.
#[derive(Debug, Clone)]
pub(crate) struct Written(Arc<Left>);

#[derive(Debug)]
struct Left {
    bytes: AtomicU64,
    files: AtomicU64,
    hit: AtomicBool,
}

impl Written {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Left {
            bytes: limits.get(Limit::WrittenBytes).into(),
            files: limits.get(Limit::WrittenFiles).into(),
            hit: false.into(),
        }))
    }

    /// Whether a write was refused.
    pub(crate) fn hit(&self) -> bool {
        self.0.hit.load(Ordering::Relaxed)
    }

    /// Room for so many bytes, or none at all.
    pub(crate) fn bytes(&self, bytes: u64) -> Result<(), Full> {
        self.take(&self.0.bytes, bytes)
    }

    /// Room for one more file, folder or link.
    pub(crate) fn file(&self) -> Result<(), Full> {
        self.take(&self.0.files, 1)
    }

    fn take(&self, left: &AtomicU64, amount: u64) -> Result<(), Full> {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
        taken.map(drop).map_err(|_| if self.0.hit.swap(true, Ordering::Relaxed) { Full::Again } else { Full::First })
    }
}

/// A write that found no room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Full {
    /// The guest learns it.
    First,
    /// It has learnt it, and ends.
    Again,
}

impl Full {
    /// The error of a full disk, which guests know; the engine has no code for a full quota on streams.
    fn no_space() -> std::io::Error {
        rustix::io::Errno::NOSPC.into()
    }

    fn trap() -> wasmtime::Error {
        wasmtime::Error::msg("it went on writing past its limit")
    }
}

impl From<Full> for FsError {
    fn from(full: Full) -> Self {
        match full {
            Full::First => ErrorCode::from(&Full::no_space()).into(),
            Full::Again => Self::trap(Full::trap()),
        }
    }
}

impl From<Full> for StreamError {
    fn from(full: Full) -> Self {
        match full {
            Full::First => Self::LastOperationFailed(Full::no_space().into()),
            Full::Again => Self::Trap(Full::trap()),
        }
    }
}

/// A stream into a file, counted.
pub(crate) struct Counted {
    pub(crate) stream: DynOutputStream,
    pub(crate) written: Written,
}

impl Counted {
    fn room(&self, bytes: usize) -> StreamResult<()> {
        Ok(self.written.bytes(bytes as u64)?)
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Counted {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.room(bytes.len())?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.room(bytes.len())?;
        self.stream.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}
