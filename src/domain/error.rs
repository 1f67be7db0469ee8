//! Why an operation on a tree is refused: one vocabulary for homes, mounts and views, with a variant for each reaction of a caller.

use std::time::Duration;

use crate::domain::{OfflineCause, TreePath};

/// Shorthand for results of tree operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a tree is refused. Statuses are chosen in `protocol`, in one match.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing by that name, or it may not be known.
    #[error("there is nothing by that name")]
    NotFound,
    /// The collection that should hold the target is not there (RFC 4918 9.7.1: 409).
    #[error("the parent collection does not exist")]
    ParentMissing,
    /// Something is there already where nothing may be (MKCOL: 405).
    #[error("something by that name exists")]
    Exists,
    /// A file stands where a collection is needed.
    #[error("this is not a collection")]
    NotCollection,
    /// A collection stands where a file is needed.
    #[error("this is a collection")]
    IsCollection,
    /// The principal may not; the text says what is missing.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A condition of the request does not hold (412).
    #[error("a precondition of the request does not hold")]
    PreconditionFailed,
    /// A lock is in the way; its root, below the base of the request.
    #[error("the resource is locked")]
    Locked(TreePath),
    /// There is no such lock, or it is somebody else's.
    #[error("there is no such lock here")]
    NoSuchLock,
    /// Too many locks, properties or the like.
    #[error("{0}")]
    LimitReached(&'static str),
    /// Quota or disk is used up (507).
    #[error("there is not enough space left")]
    InsufficientStorage,
    /// A name that cannot be stored, here or on the remote.
    #[error("the name cannot be used: {0}")]
    InvalidName(&'static str),
    /// The body is not what was announced (length or checksum): 400.
    #[error("{0}")]
    BodyMismatch(&'static str),
    /// The client stopped sending.
    #[error("the request body broke off")]
    BodyBroken,
    /// It exists but cannot be reached now: 503 with Retry-After. Never to be shown as absence.
    #[error("the remote server cannot be reached now")]
    Unavailable {
        /// Why.
        cause: OfflineCause,
        /// When to try again.
        retry_after: Duration,
    },
    /// The mount leads back to where the request came from (508).
    #[error("the mounts form a loop")]
    Loop,
    /// The remote does not offer this operation (405).
    #[error("not supported here: {0}")]
    Unsupported(&'static str),
    /// The content changed while it was being read; ask again.
    #[error("the file changed while it was read")]
    Changed,
    /// Ours: a fault that a caller can only report.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<std::io::Error> for Error {
    /// What the disk says: full is 507, all else is a fault of ours that is never shown as absence.
    fn from(error: std::io::Error) -> Error {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            Error::InsufficientStorage
        } else {
            Error::Internal(error.to_string())
        }
    }
}
