//! The view as dav-server's file system, as far as MKCOL and LOCK ask for it.

use std::io::SeekFrom;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavMetaData, FsError, FsFuture, FsResult, FsStream, GuardedFileSystem, OpenOptions, ReadDirMeta,
};

use crate::domain::{Error, Node, TreePath};
use crate::protocol::dav::library::Session;

/// The file system of a request; everything is in the credentials.
#[derive(Debug, Clone)]
pub(super) struct Tree;

/// A path as the library has it. The guard made the URL from a [`TreePath`], so this cannot fail for what a client sent.
pub(super) fn tree_path(path: &DavPath) -> Result<TreePath, Error> {
    let text = std::str::from_utf8(path.as_bytes()).map_err(|_error| Error::InvalidName("it is not UTF-8"))?;
    TreePath::parse(text).map_err(|_error| Error::InvalidName("it is not a path"))
}

/// The nearest of the library's words; the real ones are in the session.
fn fs_error(error: &Error) -> FsError {
    match error {
        Error::NotFound | Error::ParentMissing => FsError::NotFound,
        Error::Exists | Error::IsCollection | Error::NotCollection => FsError::Exists,
        Error::InsufficientStorage => FsError::InsufficientStorage,
        Error::Loop => FsError::LoopDetected,
        Error::Unsupported(_) => FsError::NotImplemented,
        Error::Forbidden(_)
        | Error::PreconditionFailed
        | Error::Locked(_)
        | Error::NoSuchLock
        | Error::LimitReached(_)
        | Error::InvalidName(_)
        | Error::BodyMismatch(_)
        | Error::BodyBroken => FsError::Forbidden,
        Error::Unavailable { .. } | Error::Changed | Error::Internal(_) => FsError::GeneralFailure,
    }
}

impl GuardedFileSystem<Arc<Session>> for Tree {
    /// LOCK opens a free name to make it a file; the lock itself has made it.
    fn open<'a>(&'a self, _path: &'a DavPath, options: OpenOptions, session: &'a Arc<Session>) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            if options.write && session.request.is_some() {
                Ok(Box::new(LockedFile) as Box<dyn DavFile>)
            } else {
                Err(FsError::NotImplemented)
            }
        })
    }

    fn read_dir<'a>(
        &'a self,
        _path: &'a DavPath,
        _meta: ReadDirMeta,
        _session: &'a Arc<Session>,
    ) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn metadata<'a>(&'a self, path: &'a DavPath, session: &'a Arc<Session>) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let looked = match tree_path(path) {
                Ok(path) => session.view.stat(&path).await,
                Err(error) => Err(error),
            };
            match looked {
                Ok(entry) => Ok(Box::new(Meta(entry.node)) as Box<dyn DavMetaData>),
                Err(error) => Err(fs_error(&error)),
            }
        })
    }

    fn create_dir<'a>(&'a self, path: &'a DavPath, session: &'a Arc<Session>) -> FsFuture<'a, ()> {
        Box::pin(async move {
            let made = match tree_path(path) {
                Ok(path) => session.view.mkcol(&path, session.write.clone()).await,
                Err(error) => Err(error),
            };
            match made {
                Ok(entry) => {
                    session.made(entry);
                    Ok(())
                }
                Err(error) => {
                    let answer = fs_error(&error);
                    session.failed(error);
                    Err(answer)
                }
            }
        })
    }
}

#[derive(Debug, Clone)]
struct Meta(Node);

impl DavMetaData for Meta {
    fn len(&self) -> u64 {
        self.0.size
    }

    fn modified(&self) -> FsResult<SystemTime> {
        let seconds = u64::try_from(self.0.modified).unwrap_or_default();
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(FsError::GeneralFailure)
    }

    fn is_dir(&self) -> bool {
        self.0.is_collection()
    }

    fn etag(&self) -> Option<String> {
        Some(self.0.etag.to_string())
    }
}

/// The file that a lock made: there is nothing to do with it.
#[derive(Debug)]
struct LockedFile;

impl DavFile for LockedFile {
    fn metadata(&'_ mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn write_buf(&'_ mut self, _buf: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn write_bytes(&'_ mut self, _buf: Bytes) -> FsFuture<'_, ()> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn read_bytes(&'_ mut self, _count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn seek(&'_ mut self, _pos: SeekFrom) -> FsFuture<'_, u64> {
        Box::pin(async { Err(FsError::NotImplemented) })
    }

    fn flush(&'_ mut self) -> FsFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
