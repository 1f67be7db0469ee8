//! WebDAV locks (RFC 4918 6).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Principal, Timestamp, TreePath};

/// A lock token: a URI, `urn:uuid:…` for ours.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockToken(pub String);

impl fmt::Debug for LockToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LockToken(..)")
    }
}

/// Exclusive or shared (RFC 4918 14.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockScope {
    /// Nobody else may lock.
    Exclusive,
    /// Others may hold shared locks too.
    Shared,
}

/// How far a lock on a collection reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockDepth {
    /// The node alone.
    Zero,
    /// Everything below.
    Infinity,
}

/// A lock as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its token.
    pub token: LockToken,
    /// Who took it: only they may unlock it.
    pub principal: Principal,
    /// What the client said about its owner: a well-formed XML fragment, or empty.
    pub owner: Box<str>,
    /// Exclusive or shared.
    pub scope: LockScope,
    /// How far it reaches.
    pub depth: LockDepth,
    /// When it ends.
    pub expires: Timestamp,
    /// Where it was taken, below the base of the request that asks.
    pub root: TreePath,
}

/// What a LOCK asks for.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// Who asks.
    pub principal: Principal,
    /// The `owner` element, as XML text.
    pub owner: Box<str>,
    /// Exclusive or shared.
    pub scope: LockScope,
    /// How far.
    pub depth: LockDepth,
    /// How long; cut to `LOCK_TIMEOUT_MAX`.
    pub timeout: Duration,
}
