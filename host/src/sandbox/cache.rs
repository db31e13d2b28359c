//! Compiled code on disk.
//!
//! Loading compiled code is running it. So a file is loaded only from a folder, and as a file, that belongs to the user and
//! that nobody else can write, and only with a MAC over its name and content under a key that lies elsewhere. The name holds
//! the component's digest, the engine's version and its settings; whatever does not fit is compiled again.
//!
//! Two hosts may use one folder: a file is written beside its place and renamed, replaced and never changed.

#![allow(unsafe_code, reason = "the one module that loads precompiled components; each block says why it is sound")]

use crate::files::Stamp;
use crate::sandbox::code::Facts;
use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::{Mode, OFlags};
use sha2::Sha256;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use wasmtime::component::Component;
use wasmtime::{Engine, EngineWeak};

/// The folder in the cache for what is being written: it is looked through at each start, and the cache itself is too large.
const NEW: &str = "new";

/// SHA-256 of a component.
pub type WasmDigest = [u8; 32];
/// The key under which code is kept.
pub type CacheKey = [u8; 32];
/// What a file holds, as its name ends.
const CODE: &str = "cwasm";
const FACTS: &str = "json";
const STAMP: &str = "stamp";
/// Read at once of what is checked, in bytes: code has megabytes, and less is a system call for each page or two.
const READ: usize = 256 * 1024;
/// Length of a digest in a file's name.
const DIGEST: usize = 64;
/// Length of the MAC at the end of a file.
const MAC: u64 = 32;
/// Most code that is kept, in bytes: a hundred language runtimes, or tens of thousands of small plugins.
const MOST: u64 = 4 * 1024 * 1024 * 1024;
/// Raised with each change of what a definition is checked for, of what is kept of a component, of how a program of WASI 0.1 is made
/// a component, or of how libraries are joined: what was kept before is then made again.
const CHECKS: u32 = 5;
/// A file's time of use is written at most this often.
const TOUCH: Duration = Duration::from_secs(3600);

/// What is known of a component's file.
pub(crate) struct Known {
    /// Of the component.
    pub(crate) digest: WasmDigest,
    /// The stamp of its code, when that was checked.
    code: Vec<u8>,
}

/// A folder of compiled components.
#[derive(Clone)]
pub struct CodeCache {
    folder: PathBuf,
    key: CacheKey,
    most: u64,
    /// What [`settings`] says of the engines that asked.
    settings: Arc<Mutex<Vec<(EngineWeak, u64)>>>,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CodeCache {
    /// A cache in `folder`, which is made with mode 0700 where it is missing. `None` where it is not the user's alone:
    /// then nothing is cached.
    #[must_use]
    pub fn open(folder: &Path, key: CacheKey) -> Option<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let make = |folder: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).ok();
        make(folder)?;
        let meta = std::fs::symlink_metadata(folder).ok()?;
        if !meta.is_dir() || !is_ours(&meta) {
            return None;
        }
        let new = folder.join(NEW);
        make(&new)?;
        crate::files::sweep(&new);
        Some(Self { folder: folder.to_owned(), key, most: MOST, settings: Arc::default() })
    }

    pub(crate) fn load(&self, engine: &Engine, wasm: &WasmDigest) -> Option<Component> {
        self.load_code(engine, wasm, None).map(|(component, _)| component)
    }

    /// Code whose file has the stamp `known` was checked before; all else is checked now.
    fn load_code(&self, engine: &Engine, wasm: &WasmDigest, known: Option<&[u8]>) -> Option<(Component, Stamp)> {
        let path = self.path(engine, wasm, CODE);
        let (mut file, meta) = open_own(&path)?;
        let stamp = Stamp::from(&meta);
        let is_known = known.is_some_and(|known| known == stamp.bytes());
        if !is_known {
            let code = meta.len().checked_sub(MAC)?;
            let mut mac = self.mac(&path)?;
            std::io::copy(&mut BufReader::with_capacity(READ, (&mut file).take(code)), &mut Feed(&mut mac)).ok()?;
            let mut written = Vec::new();
            file.read_to_end(&mut written).ok()?;
            // A file cut short, damaged, renamed or of somebody else is compiled again.
            mac.verify_slice(&written).ok()?;
        }
        // Not where it was checked just now: the time of its last change would be this moment, and it could not be remembered.
        if is_known || known.is_none() {
            note_use(&file, &meta);
        }
        // SAFETY: the file was written by this user and by nobody else, in a folder that nobody else can write, it is what
        // our compiler gave, and the MAC says that it still is, now or before its last change; the engine checks version and
        // settings itself. A file of the cache is replaced and never changed, so the mapping stays what it is.
        let component = unsafe { Component::deserialize_file(engine, &path) }.ok()?;
        Some((component, stamp))
    }

    /// What is known of a component's file that has not changed since. Where it might be a core module, that was allowed then
    /// too.
    pub(crate) fn known(&self, engine: &Engine, file: &Stamp, modules: bool) -> Option<Known> {
        let kept = self.read(&self.stamp_path(engine, file, modules))?;
        let kept = kept.strip_prefix(file.bytes().as_slice())?;
        let (digest, code) = kept.split_first_chunk::<32>()?;
        Some(Known { digest: *digest, code: code.to_vec() })
    }

    /// Whether the code lies there as it was checked.
    pub(crate) fn is_there(&self, engine: &Engine, known: &Known) -> bool {
        let meta = std::fs::symlink_metadata(self.path(engine, &known.digest, CODE));
        meta.is_ok_and(|meta| meta.is_file() && is_ours(&meta) && Stamp::from(&meta).bytes() == known.code)
    }

    /// The code of what is known. Where it is not as it was checked, it is checked again.
    pub(crate) fn load_known(&self, engine: &Engine, known: &Known) -> Option<Component> {
        self.load_code(engine, &known.digest, Some(&known.code)).map(|(component, _)| component)
    }

    /// The same for a component's file, of which the code is remembered as checked where it was checked again.
    pub(crate) fn load_of(&self, engine: &Engine, file: &Stamp, modules: bool, known: &Known) -> Option<Component> {
        let (component, stamp) = self.load_code(engine, &known.digest, Some(&known.code))?;
        if stamp.bytes() != known.code {
            // Its time of use was written since, and so it was checked anew: at this start, and not at each from then on.
            self.know(engine, file, modules, &known.digest);
        }
        Some(component)
    }

    /// Remembers the digest of a component's file and that its code was checked. Files that changed a moment ago are not
    /// remembered: their next change might not show.
    pub(crate) fn know(&self, engine: &Engine, file: &Stamp, modules: bool, wasm: &WasmDigest) {
        let code = open_own(&self.path(engine, wasm, CODE)).map(|(_, meta)| Stamp::from(&meta));
        if let Some(code) = code.filter(|code| code.is_settled() && file.is_settled()) {
            self.write(&self.stamp_path(engine, file, modules), &[file.bytes().as_slice(), wasm, &code.bytes()].concat());
        }
    }

    fn stamp_path(&self, engine: &Engine, file: &Stamp, modules: bool) -> PathBuf {
        let [device, inode] = file.file();
        let may = if modules { "m" } else { "" };
        self.folder.join(format!("{device:016x}{inode:016x}{may}-{:016x}.{STAMP}", self.settings(engine)))
    }

    /// Keeps compiled code. A cache that cannot be written is no error: the code is compiled again next time.
    pub(crate) fn store(&self, engine: &Engine, wasm: &WasmDigest, code: &[u8]) {
        self.write(&self.path(engine, wasm, CODE), code);
        self.evict();
    }

    /// What is kept of a component beside its code. All of it passed every check, and is the same each time: nothing that the
    /// component can ask differs. `room` is of the engine in which that was so, see [`crate::sandbox::shards::Shard`].
    pub(crate) fn load_facts(&self, engine: &Engine, room: u64, wasm: &WasmDigest) -> Option<Facts> {
        serde_json::from_slice(&self.read(&self.facts(engine, room, wasm))?).ok()
    }

    fn facts(&self, engine: &Engine, room: u64, wasm: &WasmDigest) -> PathBuf {
        self.path(engine, wasm, &format!("{room:016x}.{FACTS}"))
    }

    /// Forgets them, so that the next start looks at everything again.
    pub(crate) fn forget_facts(&self, engine: &Engine, room: u64, wasm: &WasmDigest) {
        let _ = std::fs::remove_file(self.facts(engine, room, wasm));
    }

    /// A small file, checked. Whoever reads what is kept of a component uses its code too, which need not be opened then.
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let (file, meta) = open_own(path)?;
        // One that has grown does not pass.
        let mut kept = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
        (&file).take(meta.len()).read_to_end(&mut kept).ok()?;
        let written = kept.split_off(kept.len().checked_sub(MAC as usize)?);
        let mut mac = self.mac(path)?;
        mac.update(&kept);
        mac.verify_slice(&written).ok()?;
        note_use(&file, &meta);
        Some(kept)
    }

    pub(crate) fn store_facts(&self, engine: &Engine, room: u64, wasm: &WasmDigest, facts: &Facts) {
        if let Ok(facts) = serde_json::to_vec(facts) {
            self.write(&self.facts(engine, room, wasm), &facts);
        }
    }

    /// The MAC stands at the end: code is mapped from the start of the file.
    fn write(&self, path: &Path, content: &[u8]) {
        let Some(mut mac) = self.mac(path) else { return };
        mac.update(content);
        let _ = crate::files::write_whole_in(&self.folder.join(NEW), path, &[content, &mac.finalize().into_bytes()]);
    }

    /// Removes what was used least recently, until the rest is small enough. Code was used when its facts were.
    fn evict(&self) {
        // What an earlier version left unfinished here.
        crate::files::sweep(&self.folder);
        let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten().filter_map(|entry| {
            let (meta, path) = (entry.metadata().ok()?, entry.path());
            let ours = path.extension().is_some_and(|e| e == CODE || e == FACTS || e == STAMP);
            let name = path.file_name()?.to_str()?;
            let of = name.get(..DIGEST).unwrap_or(name).to_owned();
            ours.then_some((of, meta.accessed().ok()?.max(meta.modified().ok()?), meta.len(), path))
        });
        let files: Vec<_> = files.collect();
        let mut used: HashMap<&str, SystemTime> = HashMap::new();
        for (of, time, ..) in &files {
            used.entry(of).and_modify(|last| *last = (*last).max(*time)).or_insert(*time);
        }
        let mut size: u64 = files.iter().map(|(_, _, len, _)| len).sum();
        let mut oldest: Vec<_> = files.iter().map(|(of, _, len, path)| (used[of.as_str()], path, len)).collect();
        oldest.sort();
        for (_, path, len) in oldest {
            if size <= self.most {
                break;
            }
            // A process that has mapped it keeps what it has.
            if std::fs::remove_file(path).is_ok() {
                size -= len;
            }
        }
    }

    /// Over the name, so that no file stands in for another.
    fn mac(&self, path: &Path) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(path.file_name()?.as_encoded_bytes());
        Some(mac)
    }

    fn path(&self, engine: &Engine, wasm: &WasmDigest, kind: &str) -> PathBuf {
        let digest: String = wasm.iter().map(|b| format!("{b:02x}")).collect();
        self.folder.join(format!("{digest}-{:016x}.{kind}", self.settings(engine)))
    }

    /// [`settings`], asked once for an engine: it puts together and hashes a hundred texts.
    fn settings(&self, engine: &Engine) -> u64 {
        // A list is whole after a panic of whoever held it.
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |of: &EngineWeak| of.upgrade().is_some_and(|of| Engine::same(&of, engine));
        if let Some((_, settings)) = known.iter().find(|(of, _)| is(of)) {
            return *settings;
        }
        let settings = settings(engine);
        known.retain(|(of, _)| of.upgrade().is_some());
        known.push((engine.weak(), settings));
        settings
    }
}

/// What code and facts depend on beside the component: the engine, and what we check.
fn settings(engine: &Engine) -> u64 {
    let mut settings = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    (env!("CARGO_PKG_VERSION"), CHECKS).hash(&mut settings);
    settings.finish()
}

/// Writes down that a file is used, where that was not done lately.
fn note_use(file: &std::fs::File, meta: &std::fs::Metadata) {
    if meta.accessed().is_ok_and(|used| used.elapsed().is_ok_and(|age| age > TOUCH)) {
        // Not the time of the last change: that tells whether it is still what was checked.
        let _ = file.set_times(std::fs::FileTimes::new().set_accessed(SystemTime::now()));
    }
}

fn is_ours(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

/// Opens a file of the cache; one that others could have written is none.
fn open_own(path: &Path) -> Option<(std::fs::File, std::fs::Metadata)> {
    let handle = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let file = std::fs::File::from(handle);
    let meta = file.metadata().ok()?;
    (meta.is_file() && is_ours(&meta)).then_some((file, meta))
}

/// Feeds what is copied into it to a MAC.
struct Feed<'m>(&'m mut Hmac<Sha256>);

impl std::io::Write for Feed<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        Engine::new(&crate::sandbox::engine_config(crate::sandbox::Allocator::OnDemand, &palisade_policy::Limits::default())).unwrap()
    }

    /// What a start gets that needs the code.
    fn known(cache: &CodeCache, engine: &Engine, file: &Stamp, modules: bool) -> Option<(WasmDigest, Component)> {
        let known = cache.known(engine, file, modules)?;
        Some((known.digest, cache.load_of(engine, file, modules, &known)?))
    }

    /// Of a component of nothing.
    fn code(engine: &Engine) -> Vec<u8> {
        engine.precompile_component(&[0, b'a', b's', b'm', 0x0d, 0, 1, 0]).unwrap()
    }

    #[test]
    fn code_is_loaded_only_under_its_own_name_and_the_key_it_was_kept_with() {
        let (temp, engine) = (tempfile::tempdir().unwrap(), engine());
        let cache = CodeCache::open(temp.path(), [1; 32]).unwrap();
        cache.store(&engine, &[7; 32], &code(&engine));
        assert!(cache.load(&engine, &[7; 32]).is_some());
        assert!(CodeCache::open(temp.path(), [2; 32]).unwrap().load(&engine, &[7; 32]).is_none(), "another key");
        std::fs::copy(cache.path(&engine, &[7; 32], CODE), cache.path(&engine, &[8; 32], CODE)).unwrap();
        assert!(cache.load(&engine, &[8; 32]).is_none(), "another name");
        cache.store_facts(&engine, 1, &[7; 32], &Facts { imports: vec!["one".to_owned()], definitions: Vec::new() });
        assert_eq!(cache.load_facts(&engine, 1, &[7; 32]).unwrap().imports, ["one"]);
        assert!(cache.load_facts(&engine, 2, &[7; 32]).is_none(), "another room");
        let path = cache.facts(&engine, 1, &[7; 32]);
        std::fs::write(&path, [b"{ ".as_slice(), &std::fs::read(&path).unwrap()[1..]].concat()).unwrap();
        assert!(cache.load_facts(&engine, 1, &[7; 32]).is_none(), "another content");
    }

    #[test]
    fn a_file_is_known_until_anything_of_it_changes_even_with_its_size_and_time_kept() {
        let (temp, engine, code) = (tempfile::tempdir().unwrap(), engine(), [3; 32]);
        let cache = CodeCache::open(&temp.path().join("cache"), [1; 32]).unwrap();
        cache.store(&engine, &code, &self::code(&engine));
        let path = temp.path().join("component");
        std::fs::write(&path, "first").unwrap();
        let stamp = || Stamp::of(&std::fs::File::open(&path).unwrap()).unwrap();
        cache.know(&engine, &stamp(), false, &code);
        assert!(known(&cache, &engine, &stamp(), false).is_none(), "it changed a moment ago");
        // The system alone sets the time of a change, so there is nothing but to wait.
        while !stamp().is_settled() {
            std::thread::sleep(Duration::from_millis(100));
        }
        cache.know(&engine, &stamp(), false, &code);
        assert_eq!(known(&cache, &engine, &stamp(), false).unwrap().0, code);
        assert!(known(&cache, &engine, &stamp(), true).is_none(), "nobody asked whether it may be a core module");
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "other").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(known(&cache, &engine, &stamp(), false).is_none(), "only the time of its change tells");
    }

    #[test]
    fn code_whose_time_of_use_was_written_is_checked_once_and_known_again() {
        let (temp, engine, code) = (tempfile::tempdir().unwrap(), engine(), [3; 32]);
        let cache = CodeCache::open(&temp.path().join("cache"), [1; 32]).unwrap();
        cache.store(&engine, &code, &self::code(&engine));
        let (path, kept) = (temp.path().join("component"), cache.path(&engine, &code, CODE));
        std::fs::write(&path, "it").unwrap();
        let stamp = |path: &Path| Stamp::of(&std::fs::File::open(path).unwrap()).unwrap();
        let settle = || {
            while !(stamp(&path).is_settled() && stamp(&kept).is_settled()) {
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        let is_known = || {
            let known = cache.read(&cache.stamp_path(&engine, &stamp(&path), false)).unwrap();
            known.ends_with(&stamp(&kept).bytes())
        };
        settle();
        cache.know(&engine, &stamp(&path), false, &code);
        assert!(is_known());
        // Used for the last time long ago, however often that comes: what writes that down changes the file's stamp.
        for _ in 0..2 {
            let long_ago = std::fs::FileTimes::new().set_accessed(SystemTime::now() - TOUCH * 2);
            std::fs::File::open(&kept).unwrap().set_times(long_ago).unwrap();
            settle();
            assert!(!is_known());
            assert_eq!(known(&cache, &engine, &stamp(&path), false).unwrap().0, code);
            assert!(is_known(), "what was checked anew is known again");
        }
    }

    #[test]
    fn what_was_used_least_recently_makes_room() {
        let (temp, engine) = (tempfile::tempdir().unwrap(), engine());
        let code = code(&engine);
        let cache = CodeCache { most: 2 * (code.len() as u64 + MAC), ..CodeCache::open(temp.path(), [1; 32]).unwrap() };
        for (name, age) in [(1, 30), (2, 90), (3, 60)] {
            cache.store(&engine, &[name; 32], &code);
            if let Ok(file) = std::fs::File::options().write(true).open(cache.path(&engine, &[name; 32], CODE)) {
                let then = SystemTime::now() - Duration::from_secs(age);
                file.set_times(std::fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
            }
        }
        let kept = [1, 2, 3].map(|name| cache.load(&engine, &[name; 32]).is_some());
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn code_is_used_when_what_is_kept_beside_it_is_read() {
        let (temp, engine) = (tempfile::tempdir().unwrap(), engine());
        let code = code(&engine);
        let cache = CodeCache::open(temp.path(), [1; 32]).unwrap();
        let age = |path: PathBuf, age: u64| {
            let then = SystemTime::now() - Duration::from_secs(age);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_times(std::fs::FileTimes::new().set_accessed(then).set_modified(then)).unwrap();
        };
        for name in [1, 2] {
            cache.store(&engine, &[name; 32], &code);
            cache.store_facts(&engine, 1, &[name; 32], &Facts { imports: Vec::new(), definitions: Vec::new() });
            age(cache.path(&engine, &[name; 32], CODE), 30_000 - u64::from(name) * 5000);
            age(cache.facts(&engine, 1, &[name; 32]), 30_000);
        }
        // The one whose own code is the older of the two.
        assert!(cache.load_facts(&engine, 1, &[1; 32]).is_some());
        let cache = CodeCache { most: 2 * (code.len() as u64 + MAC) + 200, ..cache };
        cache.store(&engine, &[3; 32], &code);
        let kept = [1, 2, 3].map(|name| cache.path(&engine, &[name; 32], CODE).exists());
        assert_eq!(kept, [true, false, true]);
    }
}
