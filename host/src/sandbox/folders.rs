//! `wasi:filesystem` for granted folders: the engine's own, with what it leaves open.
//!
//! The rule it keeps: a guest opens regular files and folders alone, changes nothing in a folder that was granted for reading,
//! what it writes is counted before it is written, and an operation that is still running when its call ends is counted
//! against its source. What a grant refuses, the operator reads; the guest gets an ordinary error.
//!
//! Where the rule ends: paths are the engine's business; it resolves each below the granted handle.

use crate::clean;
use crate::sandbox::refused::{Notes, ReadOnly, Refused};
use crate::sandbox::state::State;
use crate::sandbox::wasi::{Folder, Granted};
use crate::sandbox::written::{Counted, Written};
use palisade_policy::{Access, covers};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode, Filesize,
    Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

/// No operation on a file system that answers takes longer.
const OPERATION: Duration = Duration::from_millis(100);

/// Operations on files that did not end with their call: each may hold a thread for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stuck(Arc<AtomicU32>);

impl Stuck {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for an operation; when the wait is given up after more than an operation takes, counts it.
    async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        struct Unfinished<'s>(&'s Stuck, Instant);
        impl Drop for Unfinished<'_> {
            fn drop(&mut self) {
                if self.1.elapsed() > OPERATION {
                    self.0.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let unfinished = Unfinished(self, Instant::now());
        let done = work.await;
        std::mem::forget(unfinished);
        done
    }
}

/// What the host functions of one call see.
pub(crate) struct Folders<'s> {
    pub(crate) inner: WasiFilesystemCtxView<'s>,
    /// `None` where no folder is granted for writing.
    pub(crate) written: Option<&'s Written>,
    pub(crate) stuck: &'s Stuck,
    /// As they were granted.
    pub(crate) granted: &'s [Granted],
    pub(crate) notes: &'s mut Option<Notes>,
}

struct HasFolders;

impl HasData for HasFolders {
    type Data<'s> = Folders<'s>;
}

/// Puts this in the place of the engine's own.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<State, HasFolders>(linker, State::folders)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl Folders<'_> {
    fn take_bytes(&self, bytes: u64) -> FsResult<()> {
        Ok(self.written.map_or(Ok(()), |written| written.bytes(bytes))?)
    }

    fn take_file(&self) -> FsResult<()> {
        Ok(self.written.map_or(Ok(()), Written::file)?)
    }

    /// The stream, so that what goes through it is counted.
    fn counted(&mut self, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let Some(written) = self.written else { return Ok(stream) };
        let stream = self.inner.table.delete(stream)?;
        let counted: DynOutputStream = Box::new(Counted { stream, written: written.clone() });
        Ok(self.inner.table.push(counted)?)
    }

    /// Refuses a change through a descriptor that came from a folder granted for reading.
    fn may_change(&mut self, doing: Doing, fd: &Fd, path: &str) -> FsResult<()> {
        if !perms(self.inner.table.get(fd)?).write_not_permitted() {
            return Ok(());
        }
        let place = self.place(fd.rep());
        let what = format!("{}: it is granted for reading", what(doing, place.as_ref(), path));
        self.note(match place {
            Some((folder, below)) => {
                Refused::ReadOnly(Box::new(ReadOnly { changed: folder.host.join(joined(&below, path)), folder, what }))
            }
            None => Refused::Because(what),
        });
        Err(ErrorCode::NotPermitted.into())
    }

    /// Looks before an operation that opens what it finds: opening a FIFO waits for its other end, and opening a device can
    /// do something. Where it changes in between, the wait is counted. Whether something is there.
    async fn look(&mut self, doing: Doing, fd: u32, flags: PathFlags, path: &str) -> FsResult<bool> {
        let found = self.stuck.watch(self.inner.stat_at(Fd::new_borrow(fd), followed(flags, path), path.to_owned())).await;
        let why = match &found {
            Ok(found) => match found.type_ {
                // A link that is not followed is refused by the operation itself.
                DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink => return Ok(true),
                DescriptorType::BlockDevice | DescriptorType::CharacterDevice => "it is a device",
                _ => "it is a FIFO or a socket",
            },
            Err(_) if is_refused(&found) => LEAVES,
            // Not there, or not to be seen; the operation says which.
            Err(_) => return Ok(false),
        };
        self.tell(doing, fd, path, why);
        Err(ErrorCode::NotPermitted.into())
    }

    /// What an operation gave; where one of its paths leads out of its folder, the operator reads it.
    async fn leaving<T: Send>(&mut self, done: FsResult<T>, doing: Doing, asked: &[(u32, PathFlags, &str)]) -> FsResult<T> {
        if is_refused(&done) {
            for (fd, flags, path) in asked {
                // The system may have refused it, too, which is no matter of the grant.
                let found = self.inner.stat_at(Fd::new_borrow(*fd), followed(*flags, path), (*path).to_owned());
                if is_refused(&self.stuck.watch(found).await) {
                    self.tell(doing, *fd, path, LEAVES);
                    break;
                }
            }
        }
        done
    }

    fn tell(&mut self, doing: Doing, fd: u32, path: &str, why: &str) {
        let what = what(doing, self.place(fd).as_ref(), path);
        self.note(Refused::Because(format!("{what}: {why}")));
    }

    fn note(&mut self, refused: Refused) {
        self.notes.get_or_insert_default().add(refused);
    }

    /// The granted folder that a descriptor came from, and where below it.
    fn place(&self, fd: u32) -> Option<Place> {
        let descriptor = self.inner.table.get(&Fd::new_borrow(fd)).ok()?;
        let handle = match descriptor {
            Descriptor::Dir(folder) => &folder.dir,
            Descriptor::File(file) => &file.file,
        };
        if let Some(granted) = self.granted.iter().find(|granted| Arc::ptr_eq(&granted.handle, handle)) {
            return Some((granted.folder.clone(), PathBuf::new()));
        }
        // The engine does not keep where it opened something; the system knows, where it has such a folder.
        let now = std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).ok()?;
        let access = if perms(descriptor).write_not_permitted() { Access::Read } else { Access::Write };
        let holds = |folder: &&Folder| folder.access == access && covers(&folder.host, &now);
        let nearest = self.granted.iter().map(|granted| &granted.folder).filter(holds).max_by_key(|f| f.host.as_os_str().len())?;
        Some((nearest.clone(), now.strip_prefix(&nearest.host).ok()?.to_owned()))
    }
}

type Fd = Resource<Descriptor>;
/// What an operation does, as the operator reads it.
type Doing = &'static str;
/// A granted folder, and a path below it.
type Place = (Folder, PathBuf);

const LEAVES: &str = "it leads out of the folder";

fn perms(descriptor: &Descriptor) -> FsPerms {
    match descriptor {
        Descriptor::Dir(folder) => folder.perms,
        Descriptor::File(file) => file.perms,
    }
}

fn is_refused<T>(done: &FsResult<T>) -> bool {
    done.as_ref().is_err_and(|error| matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted)))
}

/// A path that asks for a folder is followed in any case.
fn followed(flags: PathFlags, path: &str) -> PathFlags {
    if path.ends_with('/') || path.ends_with("/.") { flags | PathFlags::SYMLINK_FOLLOW } else { flags }
}

/// The path as the guest asked for it, from where its descriptor is.
fn joined(below: &Path, path: &str) -> PathBuf {
    match (below.as_os_str().is_empty(), path.is_empty()) {
        (true, true) => PathBuf::from("."),
        (false, true) => below.to_owned(),
        (_, false) => below.join(path),
    }
}

fn what(doing: Doing, place: Option<&Place>, path: &str) -> String {
    let shown = |path: &Path| clean::line(&path.display().to_string(), clean::NAME);
    match place {
        Some((folder, below)) => {
            format!("{doing} `{}` in {} was refused", shown(&joined(below, path)), clean::line(&folder.guest, clean::NAME))
        }
        None => format!("{doing} `{}` in a granted folder was refused", shown(Path::new(path))),
    }
}

impl Host for Folders<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.filesystem_error_code(error)
    }
}

/// Operations that are passed on as they are, and watched.
macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(async fn $name(&mut self, $($arg: $type),*) -> $out {
            self.stuck.watch(self.inner.$name($($arg),*)).await
        })*
    };
}

/// Operations on one path below a descriptor; with `may_change`, those that change something.
macro_rules! below {
    ($($name:ident($($flags:ident)?) -> $out:ty, $doing:literal $(, $may_change:ident)?;)*) => {
        $(async fn $name(&mut self, fd: Fd, $($flags: PathFlags,)? path: String) -> FsResult<$out> {
            $(self.$may_change($doing, &fd, &path)?;)?
            let (at, asked) = (fd.rep(), path.clone());
            let done = self.stuck.watch(self.inner.$name(fd, $($flags,)? path)).await;
            self.leaving(done, $doing, &[(at, PathFlags::empty() $(| $flags)?, &asked)]).await
        })*
    };
}

impl HostDescriptor for Folders<'_> {
    pass_on! {
        advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> FsResult<()>;
        sync_data(fd: Fd) -> FsResult<()>;
        get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        get_type(fd: Fd) -> FsResult<DescriptorType>;
        read(fd: Fd, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        read_directory(fd: Fd) -> FsResult<Resource<DirectoryEntryStream>>;
        sync(fd: Fd) -> FsResult<()>;
        stat(fd: Fd) -> FsResult<DescriptorStat>;
        is_same_object(a: Fd, b: Fd) -> wasmtime::Result<bool>;
        metadata_hash(fd: Fd) -> FsResult<MetadataHashValue>;
    }

    below! {
        stat_at(flags) -> DescriptorStat, "looking at";
        metadata_hash_at(flags) -> MetadataHashValue, "looking at";
        remove_directory_at() -> (), "removing", may_change;
        unlink_file_at() -> (), "removing", may_change;
    }

    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        self.may_change("setting the size of", &fd, "")?;
        let now = self.stat(Fd::new_borrow(fd.rep())).await?.size;
        self.take_bytes(size.saturating_sub(now))?;
        self.stuck.watch(self.inner.set_size(fd, size)).await
    }

    async fn set_times(&mut self, fd: Fd, atim: NewTimestamp, mtim: NewTimestamp) -> FsResult<()> {
        self.may_change("setting the times of", &fd, "")?;
        self.stuck.watch(self.inner.set_times(fd, atim, mtim)).await
    }

    async fn set_times_at(&mut self, fd: Fd, flags: PathFlags, path: String, atim: NewTimestamp, mtim: NewTimestamp) -> FsResult<()> {
        const DOING: Doing = "setting the times of";
        self.may_change(DOING, &fd, &path)?;
        let (at, asked) = (fd.rep(), path.clone());
        if flags.contains(PathFlags::SYMLINK_FOLLOW) {
            // The engine opens it for this.
            self.look(DOING, at, flags, &asked).await?;
        }
        let done = self.stuck.watch(self.inner.set_times_at(fd, flags, path, atim, mtim)).await;
        self.leaving(done, DOING, &[(at, flags, &asked)]).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.may_change("writing", &fd, "")?;
        self.take_bytes(bytes.len() as u64)?;
        self.stuck.watch(self.inner.write(fd, bytes, offset)).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        const DOING: Doing = "making the folder";
        self.may_change(DOING, &fd, &path)?;
        self.take_file()?;
        let (at, asked) = (fd.rep(), path.clone());
        let done = self.stuck.watch(self.inner.create_directory_at(fd, path)).await;
        self.leaving(done, DOING, &[(at, PathFlags::empty(), &asked)]).await
    }

    async fn link_at(&mut self, fd: Fd, flags: PathFlags, old: String, to: Fd, new: String) -> FsResult<()> {
        self.may_change("linking", &fd, &old)?;
        self.may_change("making the link", &to, &new)?;
        self.take_file()?;
        let (from, asked) = ((fd.rep(), old.clone()), (to.rep(), new.clone()));
        let done = self.stuck.watch(self.inner.link_at(fd, flags, old, to, new)).await;
        self.leaving(done, "linking", &[(from.0, PathFlags::empty(), &from.1), (asked.0, PathFlags::empty(), &asked.1)]).await
    }

    async fn rename_at(&mut self, fd: Fd, old: String, to: Fd, new: String) -> FsResult<()> {
        self.may_change("renaming", &fd, &old)?;
        self.may_change("renaming to", &to, &new)?;
        let (from, asked) = ((fd.rep(), old.clone()), (to.rep(), new.clone()));
        let done = self.stuck.watch(self.inner.rename_at(fd, old, to, new)).await;
        self.leaving(done, "renaming", &[(from.0, PathFlags::empty(), &from.1), (asked.0, PathFlags::empty(), &asked.1)]).await
    }

    async fn symlink_at(&mut self, fd: Fd, old: String, new: String) -> FsResult<()> {
        const DOING: Doing = "making the link";
        self.may_change(DOING, &fd, &new)?;
        self.take_file()?;
        let (at, asked, absolute) = (fd.rep(), new.clone(), old.starts_with('/'));
        let done = self.stuck.watch(self.inner.symlink_at(fd, old, new)).await;
        if absolute && is_refused(&done) {
            self.tell(DOING, at, &asked, LEAVES);
            return done;
        }
        self.leaving(done, DOING, &[(at, PathFlags::empty(), &asked)]).await
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        let (at, asked) = (fd.rep(), path.clone());
        let done = self.stuck.watch(self.inner.readlink_at(fd, path)).await;
        // Itself, or what it holds: an absolute path would tell of the host.
        if is_refused(&done) {
            self.tell("reading the link", at, &asked, LEAVES);
        }
        done
    }

    async fn open_at(&mut self, fd: Fd, flags: PathFlags, path: String, open: OpenFlags, mode: DescriptorFlags) -> FsResult<Fd> {
        let changes = open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) || mode.contains(DescriptorFlags::WRITE);
        let doing = if changes { "writing" } else { "opening" };
        if changes {
            self.may_change(doing, &fd, &path)?;
        }
        if !self.look(doing, fd.rep(), flags, &path).await? && open.contains(OpenFlags::CREATE) {
            self.take_file()?;
        }
        self.stuck.watch(self.inner.open_at(fd, flags, path, open, mode)).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.inner.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        self.may_change("writing", &fd, "")?;
        let stream = self.inner.write_via_stream(fd, offset)?;
        self.counted(stream)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.may_change("writing", &fd, "")?;
        let stream = self.inner.append_via_stream(fd)?;
        self.counted(stream)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        HostDescriptor::drop(&mut self.inner, fd)
    }
}

impl HostDirectoryEntryStream for Folders<'_> {
    async fn read_directory_entry(&mut self, stream: Resource<DirectoryEntryStream>) -> FsResult<Option<DirectoryEntry>> {
        self.inner.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Folder, Reach, Run};
    use palisade_policy::{Access, Limit, Limits};
    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;

    /// A call that may write ten bytes and make one file, and the folder granted to it, which holds `there`.
    fn call(folder: &std::path::Path) -> (State, u32) {
        std::fs::write(folder.join("there"), "").unwrap();
        let granted = Folder { host: folder.to_owned(), guest: "/granted".to_owned(), access: Access::Write };
        let reach = Arc::new(Reach::open(&[granted], Vec::new()).unwrap());
        let mut limits = Limits::default();
        limits.set(Limit::WrittenBytes, 10);
        limits.set(Limit::WrittenFiles, 1);
        let mut state = State::new(&reach, &limits, Run::default(), Stuck::default());
        let granted = state.folders().inner.get_directories().unwrap().remove(0).0.rep();
        (state, granted)
    }

    /// A way to write: to a name, once.
    type Way = fn(Folders<'_>, u32, String) -> std::pin::Pin<Box<dyn Future<Output = FsResult<()>> + '_>>;

    async fn open(folders: &mut Folders<'_>, granted: u32, name: &str, flags: OpenFlags) -> FsResult<Fd> {
        folders.open_at(Resource::new_borrow(granted), PathFlags::empty(), name.to_owned(), flags, DescriptorFlags::WRITE).await
    }

    #[tokio::test]
    async fn every_way_to_write_or_to_make_a_file_finds_room_once_and_then_a_full_disk() {
        let ways: [(&str, Way); 6] = [
            ("create", |mut f, at, name| Box::pin(async move { open(&mut f, at, &name, OpenFlags::CREATE).await.map(drop) })),
            ("folder", |mut f, at, name| Box::pin(async move { f.create_directory_at(Resource::new_borrow(at), name).await })),
            ("symbolic link", |mut f, at, name| {
                Box::pin(async move { f.symlink_at(Resource::new_borrow(at), "there".to_owned(), name).await })
            }),
            ("hard link", |mut f, at, name| {
                Box::pin(async move {
                    let (from, to) = (Resource::new_borrow(at), Resource::new_borrow(at));
                    f.link_at(from, PathFlags::empty(), "there".to_owned(), to, name).await
                })
            }),
            ("write", |mut f, at, _| {
                Box::pin(async move {
                    let file = open(&mut f, at, "there", OpenFlags::empty()).await?;
                    f.write(file, vec![b'x'; 6], 0).await.map(drop)
                })
            }),
            ("stretch", |mut f, at, name| {
                Box::pin(async move {
                    let file = open(&mut f, at, "there", OpenFlags::empty()).await?;
                    f.set_size(file, if name == "first" { 6 } else { 12 }).await
                })
            }),
        ];
        for (what, way) in ways {
            let temp = tempfile::tempdir().unwrap();
            let (mut state, granted) = call(temp.path());
            let first = way(state.folders(), granted, "first".to_owned()).await;
            assert!(first.is_ok(), "{what}: {:?}", first.map_err(FsError::downcast));
            let refused = way(state.folders(), granted, "second".to_owned()).await.unwrap_err();
            assert!(matches!(refused.downcast().unwrap(), ErrorCode::InsufficientSpace), "{what}");
            assert!(state.written.as_ref().is_some_and(Written::hit), "{what}");
            let ended = way(state.folders(), granted, "third, which would be sixteen bytes".to_owned()).await.unwrap_err();
            assert!(ended.downcast().is_err(), "{what}: the next one is no error for the guest, it ends it");
            assert!(!temp.path().join("second").exists() && std::fs::metadata(temp.path().join("there")).unwrap().len() <= 6, "{what}");
        }
    }

    #[tokio::test]
    async fn only_an_operation_whose_wait_is_given_up_is_stuck() {
        let stuck = Stuck::default();
        stuck.watch(std::future::ready(())).await;
        assert_eq!(stuck.count(), 0);
        let never = || stuck.watch(std::future::pending::<()>());
        // Given up at once it may well have been about to end.
        assert!(tokio::time::timeout(Duration::ZERO, never()).await.is_err());
        assert_eq!(stuck.count(), 0);
        assert!(tokio::time::timeout(OPERATION * 2, never()).await.is_err());
        assert_eq!(stuck.count(), 1);
    }
}
