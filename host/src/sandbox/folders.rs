//! `wasi:filesystem` for granted folders: the engine's own, with what it leaves open.
//!
//! The rule it keeps: a guest opens regular files and folders alone, what it writes is counted before it is written, and an
//! operation that is still running when its call ends is counted against its source.
//!
//! Where the rule ends: paths and permissions are the engine's business; it resolves each below the granted handle.

use crate::sandbox::state::State;
use crate::sandbox::written::{Counted, Written};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use wasmtime::component::{HasData, Linker, Resource};
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

type Fd = Resource<Descriptor>;

impl HostDescriptor for Folders<'_> {
    pass_on! {
        advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> FsResult<()>;
        sync_data(fd: Fd) -> FsResult<()>;
        get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        get_type(fd: Fd) -> FsResult<DescriptorType>;
        set_times(fd: Fd, atim: NewTimestamp, mtim: NewTimestamp) -> FsResult<()>;
        read(fd: Fd, len: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
        read_directory(fd: Fd) -> FsResult<Resource<DirectoryEntryStream>>;
        sync(fd: Fd) -> FsResult<()>;
        stat(fd: Fd) -> FsResult<DescriptorStat>;
        stat_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat>;
        set_times_at(fd: Fd, flags: PathFlags, path: String, atim: NewTimestamp, mtim: NewTimestamp) -> FsResult<()>;
        readlink_at(fd: Fd, path: String) -> FsResult<String>;
        remove_directory_at(fd: Fd, path: String) -> FsResult<()>;
        rename_at(fd: Fd, old: String, to: Fd, new: String) -> FsResult<()>;
        unlink_file_at(fd: Fd, path: String) -> FsResult<()>;
        is_same_object(a: Fd, b: Fd) -> wasmtime::Result<bool>;
        metadata_hash(fd: Fd) -> FsResult<MetadataHashValue>;
        metadata_hash_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue>;
    }

    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        let now = self.stat(Resource::new_borrow(fd.rep())).await?.size;
        self.take_bytes(size.saturating_sub(now))?;
        self.stuck.watch(self.inner.set_size(fd, size)).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        self.take_bytes(bytes.len() as u64)?;
        self.stuck.watch(self.inner.write(fd, bytes, offset)).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.take_file()?;
        self.stuck.watch(self.inner.create_directory_at(fd, path)).await
    }

    async fn link_at(&mut self, fd: Fd, flags: PathFlags, old: String, to: Fd, new: String) -> FsResult<()> {
        self.take_file()?;
        self.stuck.watch(self.inner.link_at(fd, flags, old, to, new)).await
    }

    async fn symlink_at(&mut self, fd: Fd, old: String, new: String) -> FsResult<()> {
        self.take_file()?;
        self.stuck.watch(self.inner.symlink_at(fd, old, new)).await
    }

    async fn open_at(&mut self, fd: Fd, flags: PathFlags, path: String, open: OpenFlags, mode: DescriptorFlags) -> FsResult<Fd> {
        // Opening a FIFO waits for its other end, and opening a device can do something; so it is asked before. Where it
        // changes in between, the wait is counted.
        match self.stat_at(Resource::new_borrow(fd.rep()), flags, path.clone()).await {
            // A link that is not followed is refused by the operation itself.
            Ok(found) if matches!(found.type_, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink) => {}
            Ok(_) => return Err(ErrorCode::NotPermitted.into()),
            // Not there, or not to be seen; the operation says which.
            Err(_) if open.contains(OpenFlags::CREATE) => self.take_file()?,
            Err(_) => {}
        }
        self.stuck.watch(self.inner.open_at(fd, flags, path, open, mode)).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        self.inner.read_via_stream(fd, offset)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let stream = self.inner.write_via_stream(fd, offset)?;
        self.counted(stream)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
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
        let reach = Reach::open(&[granted], Vec::new()).unwrap();
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
