//! Compiled code on disk.
//!
//! A file is loaded only from a folder, and as a file, that belongs to the user and that nobody else can write: loading
//! compiled code is running it. The key holds the component's digest, the engine's version and its settings.

#![allow(unsafe_code, reason = "the one module that loads precompiled components; each block says why it is sound")]

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

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

    pub(crate) fn load(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        let handle = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
        let file = std::fs::File::from(handle);
        let meta = file.metadata().ok()?;
        if !meta.is_file() || !is_ours(&meta) {
            return None;
        }
        let (mut file, mut digest) = (file, [0; 32]);
        file.read_exact(&mut digest).ok()?;
        let mut code = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
        file.read_to_end(&mut code).ok()?;
        // A file cut short or damaged is compiled again.
        if Sha256::digest(&code)[..] != digest {
            return None;
        }
        load_own(engine, &code).ok()
    }

    /// Keeps compiled code. A cache that cannot be written is no error: the code is compiled again next time.
    pub(crate) fn store(&self, engine: &Engine, wasm: &[u8], code: &[u8]) {
        let _ = crate::files::write_whole(&self.path(engine, wasm), &[&Sha256::digest(code), code]);
    }

    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        let mut settings = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let digest: String = Sha256::digest(wasm).iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(format!("{digest}-48.0.8-{:016x}.cwasm", settings.finish()))
    }
}

fn is_ours(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

/// Loads code that this process compiled, or that [`CodeCache`] kept.
pub(crate) fn load_own(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from `precompile_component` of this engine, or from a file that only this user could have
    // written, in a folder only this user can write, whose digest matches; the engine checks version and settings itself.
    unsafe { Component::deserialize(engine, code) }
}
