//! Locks inside a mount. A row here holds the remote's token; clients see only ours (DESIGN 5). They are kept
//! across restarts, and end with their time.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Error, Kind, Lock, LockDepth, LockRequest, LockScope, LockToken, MountId, Principal, Result, Timestamp, TreePath, Write,
};
use crate::limits::{LOCK_TIMEOUT_MAX, SPACE_LOCKS_MAX};
use crate::mount::MountHandle;
use crate::remote::Conditions;
use crate::store::{Batch, Record, Store, Table};
use crate::wire::Via;

/// The locks of one mount by our token.
pub(super) type Locks = HashMap<LockToken, Held>;

/// Tokens of the remote, each with the root of its lock.
pub(super) type RemoteTokens = Vec<(TreePath, Kind, String)>;

/// A lock here and at the remote.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    lock: Lock,
    kind: Kind,
    remote: String,
}

/// The locks of one mount as they are stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    mount: MountId,
    locks: Vec<Held>,
}

impl Record for Kept {
    const TABLE: Table = Table::MountLocks;
    fn key(&self) -> Vec<u8> {
        self.mount.0.to_be_bytes().to_vec()
    }
}

/// The locks that were stored before this start.
pub(super) fn restore(store: &Store, mount: MountId) -> Locks {
    let kept = store.get::<Kept>(&mount.0.to_be_bytes()).unwrap_or_else(|error| {
        tracing::warn!(%error, mount.id = mount.0, "the locks of a mount cannot be read");
        None
    });
    kept.into_iter().flat_map(|kept| kept.locks).map(|held| (held.lock.token.clone(), held)).collect()
}

/// Forgets the locks of a mount together with it.
pub(super) fn forget(batch: Batch, mount: MountId) -> Batch {
    batch.delete::<Kept>(&mount.0.to_be_bytes())
}

/// How far a write reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The content of one node.
    Node,
    /// A new member of the parent.
    Member,
    /// The node, all below it, and its place in the parent.
    Tree,
}

impl MountHandle {
    fn held(&self) -> MutexGuard<'_, Locks> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.server.clock.now();
        locks.retain(|_, held| held.lock.expires > now);
        locks
    }

    /// The locks that cover a path.
    ///
    /// # Errors
    /// None today; the signature is that of every backend.
    #[expect(clippy::unused_async, reason = "the verbs of all backends are alike")]
    pub async fn locks(&self, _via: &Via, path: &TreePath) -> Result<Vec<Lock>> {
        Ok(self.held().values().filter(|held| covers(&held.lock, path)).map(|held| held.lock.clone()).collect())
    }

    /// Takes a lock at the remote and one here that stands for it.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::Unsupported`] where the remote has no locks.
    pub async fn lock(&self, via: &Via, path: &TreePath, request: LockRequest, write: Write) -> Result<(Lock, bool)> {
        let exclusive = request.scope == LockScope::Exclusive;
        let deep = request.depth == LockDepth::Infinity;
        self.refuse_conflict(path, exclusive, deep)?;
        let (created, kind) = match self.stat(via, path).await {
            Ok(node) => (false, node.kind),
            Err(Error::NotFound) => (true, Kind::File),
            Err(error) => return Err(error),
        };
        let tokens = if created { self.admit_locks(path, Reach::Member, &write.tokens)? } else { Vec::new() };
        let timeout = request.timeout.min(LOCK_TIMEOUT_MAX);
        let conditions = Conditions { tokens, ..Conditions::default() };
        let (asked, conditions) = (&LockRequest { timeout, ..request.clone() }, &conditions);
        let taken = self.ask(via, path, |share| async move { share.lock(via, path, kind, asked, conditions).await }).await?;
        let (remote, granted) = (taken.token, taken.timeout);
        if created {
            let mut live = self.live();
            live.written = Some(std::time::Instant::now());
            live.cache.wrote(path);
        }
        let lock = Lock {
            token: new_token()?,
            principal: request.principal,
            owner: request.owner,
            scope: request.scope,
            depth: request.depth,
            expires: self.ends(timeout.min(granted)),
            root: path.clone(),
        };
        self.held().insert(lock.token.clone(), Held { lock: lock.clone(), kind, remote: remote.clone() });
        if let Err(error) = self.keep_locks().await {
            // Nobody is told the token, so nobody could end it.
            self.held().remove(&lock.token);
            let given_back = self.ask(via, path, |share| async move { share.unlock(via, path, kind, &remote).await }).await;
            if let Err(error) = given_back {
                tracing::warn!(%error, mount.id = self.id().0, "a lock at a remote stays until it runs out");
            }
            return Err(error);
        }
        Ok((lock, created))
    }

    /// Stores the locks as they stand, one after another, so that no older state comes last.
    async fn keep_locks(&self) -> Result<()> {
        let _turn = self.keeping.lock().await;
        let kept = Kept { mount: self.id(), locks: self.held().values().cloned().collect() };
        Ok(self.server.store.commit(Batch::new().put(&kept)).await?)
    }

    fn refuse_conflict(&self, path: &TreePath, exclusive: bool, deep: bool) -> Result<()> {
        let held = self.held();
        if held.len() >= SPACE_LOCKS_MAX {
            return Err(Error::LimitReached("there are too many locks"));
        }
        let touching = |lock: &Lock| covers(lock, path) || (deep && lock.root.starts_with(path));
        let conflict = held.values().find(|held| touching(&held.lock) && (exclusive || held.lock.scope == LockScope::Exclusive));
        conflict.map_or(Ok(()), |held| Err(Error::Locked(held.lock.root.clone())))
    }

    /// Prolongs a lock here and at the remote.
    ///
    /// # Errors
    /// [`Error::NoSuchLock`].
    pub async fn refresh(&self, via: &Via, path: &TreePath, token: &LockToken, principal: &Principal, timeout: Duration) -> Result<Lock> {
        let held = self.own(path, token, principal)?;
        let timeout = timeout.min(LOCK_TIMEOUT_MAX);
        let (root, kind, remote) = (&held.lock.root, held.kind, &held.remote);
        let granted = self.ask(via, root, |share| async move { share.refresh(via, root, kind, remote, timeout).await }).await?;
        let expires = self.ends(timeout.min(granted));
        let lock = {
            let mut locks = self.held();
            let held = locks.get_mut(token).ok_or(Error::NoSuchLock)?;
            held.lock.expires = expires;
            held.lock.clone()
        };
        self.keep_locks().await?;
        Ok(lock)
    }

    /// Gives a lock back, here and at the remote. A remote that is away keeps its lock until the lock's time is over.
    ///
    /// # Errors
    /// [`Error::NoSuchLock`].
    pub async fn unlock(&self, via: &Via, path: &TreePath, token: &LockToken, principal: &Principal) -> Result<()> {
        let held = self.own(path, token, principal)?;
        let (root, kind, remote) = (&held.lock.root, held.kind, &held.remote);
        let given = self.ask(via, root, |share| async move { share.unlock(via, root, kind, remote).await }).await;
        self.held().remove(token);
        self.keep_locks().await?;
        match given {
            // The remote's lock has already ended.
            Err(Error::NotFound | Error::ParentMissing | Error::PreconditionFailed | Error::InvalidName(_)) => Ok(()),
            other => other,
        }
    }

    fn own(&self, path: &TreePath, token: &LockToken, principal: &Principal) -> Result<Held> {
        let held = self.held();
        let found = held.get(token).filter(|held| covers(&held.lock, path) && held.lock.principal == *principal);
        found.cloned().ok_or(Error::NoSuchLock)
    }

    /// Whether any lock is held here.
    pub(super) fn has_locks(&self) -> bool {
        !self.held().is_empty()
    }

    /// Whether a write may pass the locks held here; the remote's tokens of the locks that admit it are sent on.
    pub(super) fn admit_locks(&self, path: &TreePath, reach: Reach, tokens: &[LockToken]) -> Result<RemoteTokens> {
        let parent = path.parent();
        let concerns = |lock: &Lock| {
            covers(lock, path)
                || (reach != Reach::Node && parent.as_ref() == Some(&lock.root))
                || (reach == Reach::Tree && lock.root.starts_with(path))
        };
        let mut admitted = RemoteTokens::new();
        for held in self.held().values().filter(|held| concerns(&held.lock)) {
            if tokens.contains(&held.lock.token) {
                admitted.push((held.lock.root.clone(), held.kind, held.remote.clone()));
            } else if held.lock.scope == LockScope::Exclusive || admitted.is_empty() {
                return Err(Error::Locked(held.lock.root.clone()));
            }
        }
        Ok(admitted)
    }

    /// Locks end with their nodes.
    pub(super) async fn drop_locks(&self, path: &TreePath) -> Result<()> {
        let dropped = {
            let mut held = self.held();
            let before = held.len();
            held.retain(|_, held| !held.lock.root.starts_with(path));
            held.len() != before
        };
        if dropped { self.keep_locks().await } else { Ok(()) }
    }

    fn ends(&self, timeout: Duration) -> Timestamp {
        self.server.clock.now().saturating_add(i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX))
    }
}

fn covers(lock: &Lock, path: &TreePath) -> bool {
    lock.root == *path || (lock.depth == LockDepth::Infinity && path.starts_with(&lock.root))
}

/// A random UUID of version 4 (RFC 9562 5.4).
fn new_token() -> Result<LockToken> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(error.to_string()))?;
    let number = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let parts = [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    Ok(LockToken(format!("urn:uuid:{}", parts.join("-"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_uuids() {
        let token = new_token().unwrap().0;
        let uuid = token.strip_prefix("urn:uuid:").unwrap();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }
}
