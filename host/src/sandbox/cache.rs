//! Compiled code on disk.
//!
//! A file is loaded only from a folder, and as a file, that belongs to the user and that nobody else can write: loading
//! compiled code is running it. The key holds the component's digest, the engine's version and its settings.

#![allow(unsafe_code, reason = "the one module that loads precompiled components; each block says why it is sound")]

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher as _};
use std::io::Read;
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// SHA-256 of a component.
pub type WasmDigest = [u8; 32];
/// Length of the digest at the end of a file.
const DIGEST: u64 = 32;

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub struct CodeCache {
    folder: PathBuf,
}

impl CodeCache {
    /// A cache in `folder`, which is made with mode 0700 where it is missing. `None` where it is not the user's alone:
    /// then nothing is cached.
    #[must_use]
    pub fn open(folder: &Path) -> Option<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).ok()?;
        let meta = std::fs::symlink_metadata(folder).ok()?;
        if !meta.is_dir() || !is_ours(&meta) {
            return None;
        }
        crate::files::sweep(folder);
        Some(Self { folder: folder.to_owned() })
    }

    pub(crate) fn load(&self, engine: &Engine, wasm: &WasmDigest) -> Option<Component> {
        let path = self.path(engine, wasm);
        let handle = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
        let mut file = std::fs::File::from(handle);
        let meta = file.metadata().ok()?;
        if !meta.is_file() || !is_ours(&meta) {
            return None;
        }
        let code = meta.len().checked_sub(DIGEST)?;
        let mut digest = Sha256::new();
        std::io::copy(&mut (&mut file).take(code), &mut Hasher(&mut digest)).ok()?;
        let mut written = Vec::new();
        file.read_to_end(&mut written).ok()?;
        // A file cut short or damaged is compiled again.
        if digest.finalize()[..] != written {
            return None;
        }
        // SAFETY: the file was written by this user and by nobody else, in a folder that nobody else can write, it is what
        // the compiler of this engine gave, and its digest matches; the engine checks version and settings itself. A file
        // of the cache is replaced and never changed, so the mapping stays what it is.
        unsafe { Component::deserialize_file(engine, &path) }.ok()
    }

    /// Keeps compiled code. A cache that cannot be written is no error: the code is compiled again next time.
    pub(crate) fn store(&self, engine: &Engine, wasm: &WasmDigest, code: &[u8]) {
        // The digest stands at the end: the code is mapped from the start of the file.
        let _ = crate::files::write_whole(&self.path(engine, wasm), &[code, &Sha256::digest(code)]);
    }

    fn path(&self, engine: &Engine, wasm: &WasmDigest) -> PathBuf {
        let mut settings = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let digest: String = wasm.iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(format!("{digest}-48.0.8-{:016x}.cwasm", settings.finish()))
    }
}

fn is_ours(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

/// Feeds what is copied into it to a digest.
struct Hasher<'d>(&'d mut Sha256);

impl std::io::Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Loads code that this process compiled.
pub(crate) fn load_own(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from our own compiler, through a pipe, a moment ago; the engine checks version and settings.
    unsafe { Component::deserialize(engine, code) }
}
