//! Typed, transactional records: what the server knows beside the plain files. The only module that knows sled.
//!
//! sled 0.34.7 keeps its promises under the rules of [`committer`] alone: one thread writes, each batch is durable in the [`journal`] before
//! the trees get it, and `flush` is followed by fdatasync of the database file. Reads go straight to the trees and block; callers on the
//! network threads keep what they need in memory.
//!
//! Invariants: an answered write survives kill -9, and a power cut with [`Durability::PowerCut`]; ids and etags are never used twice,
//! because the epoch and the mark of the ids rise at each start that follows an unclean stop and at each restore.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::SpaceId;

mod cache;
mod codec;
mod committer;
mod export;
mod journal;
mod kept;
mod keys;
mod log;
mod nodes;
mod open;
mod overlay;
mod records;

pub use committer::Observer;
pub use kept::{TrashRow, VersionRow};
pub use log::LogEntry;
pub use nodes::{Change, Check, Committed, Garbage, LockChange, LockRow, NodeJob, Place, Placement, RowChange, SpaceChanges, Step};
pub use open::{Durability, Options, Recovery};
pub use records::{Batch, Record, Table, received_prefix, user_key};

use committer::Committer;
use keys::Trees;

/// Why the store refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the store.
    #[error("the store is in use by another process")]
    InUse,
    /// Written by a newer program.
    #[error("the store was written by a newer version of the program (format {0})")]
    Newer(u32),
    /// What lies there cannot be read.
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
    /// A precondition of the write does not hold any more: look again.
    #[error("a precondition of the write does not hold")]
    Conflict,
    /// Writing is over: the store was closed, or a write failed and nothing later may be believed.
    #[error("the store takes no more writes")]
    Closed,
    /// The disk.
    #[error("the disk fails: {0}")]
    Io(#[from] std::io::Error),
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Error {
        match error {
            sled::Error::Io(error) => Error::Io(error),
            sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. } => Error::Corrupt(error.to_string()),
        }
    }
}

impl From<Error> for crate::domain::Error {
    fn from(error: Error) -> crate::domain::Error {
        match error {
            Error::Io(error) => crate::domain::Error::from(error),
            Error::Conflict => crate::domain::Error::PreconditionFailed,
            Error::InUse | Error::Newer(_) | Error::Corrupt(_) | Error::Closed => crate::domain::Error::Internal(error.to_string()),
        }
    }
}

/// Shorthand for results of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The records of one server. Clones share one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    trees: Trees,
    committer: Committer,
    instance_id: String,
    fingerprint: u64,
    epoch: u32,
    next_id: AtomicU64,
    ids_reserved: Mutex<u64>,
    recovery: Option<Recovery>,
    directory: PathBuf,
    /// Held for its flock.
    lock: File,
}

/// How many ids are reserved durably at once.
const ID_BLOCK: u64 = 1 << 14;

impl Store {
    /// `oc` and ten letters or digits, made once: what other servers and `oc:id` know this server by.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// Changes when rows were restored from a backup or rebuilt, and then alone: clients that see another one keep their own files, and bring back
    /// what others deleted.
    pub fn fingerprint(&self) -> u64 {
        self.inner.fingerprint
    }

    /// The first half of every etag; rises at each unclean start and each restore.
    pub fn epoch(&self) -> u32 {
        self.inner.epoch
    }

    /// Set when the store could not be read at this start and was rebuilt from its export.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.inner.recovery.as_ref()
    }

    /// The folder that [`Store::open`] was given.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// A number that was never given out before and never will be again. Blocks for a flush once in 16,384 calls.
    pub fn next_id(&self) -> Result<u64> {
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        let mut reserved = lock(&self.inner.ids_reserved);
        if id >= *reserved {
            let limit = id.saturating_add(ID_BLOCK);
            self.inner.committer.reserve_ids(limit)?;
            *reserved = limit;
        }
        Ok(id)
    }

    /// Calls `observer` after each commit that changed rows of `space`, in the order of the commits and before they are answered.
    pub fn observe(&self, space: SpaceId, observer: Observer) {
        self.inner.committer.observe(space, observer);
    }

    /// Ends the calls of [`Store::observe`].
    pub fn forget_observer(&self, space: SpaceId) {
        self.inner.committer.forget_observer(space);
    }

    /// Writes what is left, marks the stop as clean and refuses further writes. Blocks.
    pub fn close(&self) {
        self.inner.committer.close(self.inner.next_id.load(Ordering::Relaxed));
        // Whoever still holds a clone can only read. Another instance waits until sled's own lock is free too.
        if let Err(error) = rustix::fs::flock(&self.inner.lock, rustix::fs::FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of the store could not be given back");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.committer.close(self.next_id.load(Ordering::Relaxed));
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("instance_id", &self.inner.instance_id).finish_non_exhaustive()
    }
}

/// A guard even after a panic elsewhere: what the mutexes of this floor protect is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
