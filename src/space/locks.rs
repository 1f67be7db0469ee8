//! WebDAV locks (RFC 4918 6 and 7): rows by node, so that one lock is seen through every URL of it. Whoever submits a token may write; who
//! took the lock may refresh it and take it back.

use std::time::Duration;

use crate::domain::{
    At, Error, FileStamp, Kind, Lock, LockDepth, LockRequest, LockScope, LockToken, Name, NodeId, Principal, Result, TreePath, Write,
};
use crate::limits::{LOCK_OWNER_BYTES_MAX, LOCK_TIMEOUT_MAX, NODE_LOCKS_MAX, SPACE_LOCKS_MAX};
use crate::space::Space;
use crate::space::put::{Target, expect};
use crate::space::state::Walk;
use crate::store::{Change, LockRow, NodeJob};

/// The node of a lock, and the collections above it.
struct Covered {
    node: Option<NodeId>,
    /// From the root down to the parent.
    chain: Vec<NodeId>,
}

impl Space {
    /// Locks a node. An unmapped URL becomes an empty file (RFC 4918 9.10.4), which counts as absent for the first PUT with the token.
    pub async fn lock(&self, at: &At, request: LockRequest, write: Write) -> Result<(Lock, bool)> {
        if request.owner.len() > LOCK_OWNER_BYTES_MAX {
            return Err(Error::LimitReached("the owner element of a lock is too long"));
        }
        let is_root = matches!(self.walk_fresh(at).await?, Walk::Found { path, .. } if path.is_root());
        let held = if is_root { None } else { Some(self.hold(at, false).await?) };
        // One at a time in a space: two locks that exclude each other may be asked for at different nodes.
        let one = Name::parse("lock").map_err(|_invalid| Error::InvalidName("a name of ours"))?;
        let turn = self.names.name(NodeId(0), &one).await;
        let at = at.clone();
        self.blocking(move |space| {
            let locked = space.lock_now(&at, is_root, &request, &write);
            drop((held, turn));
            locked
        })
        .await
    }

    fn lock_now(&self, at: &At, is_root: bool, request: &LockRequest, write: &Write) -> Result<(Lock, bool)> {
        let target = if is_root { None } else { Some(self.target(at)?) };
        let row = match &target {
            Some(target) => target.row.clone(),
            None => Some(self.state().root.clone()),
        };
        let chain = target.as_ref().map(|target| target.chain.clone()).unwrap_or_default();
        expect(&write.expect, row.as_ref())?;
        let covered = Covered { node: row.as_ref().map(|node| node.id), chain };
        let base = self.path_now(at.base)?.ok_or(Error::NotFound)?;
        self.check_free(&covered, request, &base)?;
        let placeholder = row.is_none();
        let mut lock = LockRow {
            node: NodeId(0),
            token: new_token()?,
            principal: request.principal.clone(),
            owner: request.owner.clone(),
            scope: request.scope,
            depth: request.depth,
            expires: self.expires(request.timeout),
            placeholder,
        };
        match (row, target) {
            (Some(node), _) => {
                lock.node = node.id;
                self.store.commit_nodes(NodeJob::new(self.id, vec![Change::PutLock(lock.clone())]))?;
            }
            (None, Some(target)) => {
                self.check_locks(&target, &write.tokens)?;
                let (staged, stat) = self.files.stage_bytes(&[], None)?;
                let node = self.new_node(Kind::File, 0, FileStamp { ctime_ns: 0, ..stat.stamp })?;
                lock.node = node.id;
                let changes = vec![Change::Put { place: target.place.clone(), node }, Change::PutLock(lock.clone())];
                self.place_staged(&target, staged, stat, changes)?;
            }
            (None, None) => return Err(Error::NotFound),
        }
        Ok((self.told(&lock, &base)?, placeholder))
    }

    /// Whether a new lock may stand beside those that are there (RFC 4918 6.2, 7.4), and within the bounds.
    fn check_free(&self, covered: &Covered, request: &LockRequest, base: &TreePath) -> Result<()> {
        let mut others = self.covering(covered);
        if others.iter().filter(|row| Some(row.node) == covered.node).count() >= NODE_LOCKS_MAX {
            return Err(Error::LimitReached("too many locks on one resource"));
        }
        if self.state().locks.values().map(Vec::len).sum::<usize>() >= SPACE_LOCKS_MAX {
            return Err(Error::LimitReached("too many locks"));
        }
        if let (LockDepth::Infinity, Some(node)) = (request.depth, covered.node) {
            others.extend(self.locks_below(node)?);
        }
        let in_the_way = others.iter().find(|row| match (request.scope, row.scope) {
            (LockScope::Shared, LockScope::Shared) => false,
            (LockScope::Shared | LockScope::Exclusive, LockScope::Exclusive | LockScope::Shared) => true,
        });
        match in_the_way {
            Some(row) => Err(Error::Locked(self.told(row, base)?.root)),
            None => Ok(()),
        }
    }

    /// Gives a lock more time.
    pub async fn refresh(&self, at: &At, token: &LockToken, principal: &Principal, timeout: Duration) -> Result<Lock> {
        let row = self.own_lock(at, token, principal).await?;
        let row = LockRow { expires: self.expires(timeout), ..row };
        let base = at.base;
        self.blocking(move |space| {
            space.store.commit_nodes(NodeJob::new(space.id, vec![Change::PutLock(row.clone())]))?;
            let base = space.path_now(base)?.ok_or(Error::NotFound)?;
            space.told(&row, &base)
        })
        .await
    }

    /// Takes a lock back: through any URL in its reach, and by whoever took it alone.
    pub async fn unlock(&self, at: &At, token: &LockToken, principal: &Principal) -> Result<()> {
        let row = self.own_lock(at, token, principal).await?;
        self.blocking(move |space| {
            space.store.commit_nodes(NodeJob::new(space.id, vec![Change::DropLock(row.node, row.token)]))?;
            Ok(())
        })
        .await
    }

    async fn own_lock(&self, at: &At, token: &LockToken, principal: &Principal) -> Result<LockRow> {
        let covered = self.covered(self.walk_fresh(at).await?);
        let rows = covered.map(|covered| self.covering(&covered)).unwrap_or_default();
        rows.into_iter().find(|row| row.token == *token && row.principal == *principal).ok_or(Error::NoSuchLock)
    }

    /// The locks that reach a path: its own, and deep ones above it. For a path where nothing is, the deep ones.
    pub async fn locks(&self, at: &At) -> Result<Vec<Lock>> {
        if self.state().locks.is_empty() {
            return Ok(Vec::new());
        }
        let covered = self.covered(self.walk_fresh(at).await?);
        let rows = covered.map(|covered| self.covering(&covered)).unwrap_or_default();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let base = at.base;
        self.blocking(move |space| {
            let base = space.path_now(base)?.ok_or(Error::NotFound)?;
            rows.iter().map(|row| space.told(row, &base)).collect()
        })
        .await
    }

    fn covered(&self, walk: Walk) -> Option<Covered> {
        match walk {
            Walk::Found { node, chain, .. } => Some(Covered { node: Some(node.id), chain }),
            Walk::Mount { node, chain, inner, .. } if inner.is_root() => Some(Covered { node: Some(node.id), chain }),
            Walk::Mount { node, mut chain, .. } => {
                chain.push(node.id);
                Some(Covered { node: None, chain })
            }
            Walk::Missing { parent: Some(parent), .. } => Some(Covered { node: None, chain: parent.chain }),
            Walk::Missing { parent: None, .. } | Walk::Load(_) | Walk::Unplaced(_) => None,
        }
    }

    fn expires(&self, timeout: Duration) -> i64 {
        let seconds = i64::try_from(timeout.min(LOCK_TIMEOUT_MAX).as_secs()).unwrap_or_default();
        self.clock.now().saturating_add(seconds.max(1))
    }

    /// Live locks on the node itself, and deep ones above it.
    fn covering(&self, covered: &Covered) -> Vec<LockRow> {
        let now = self.clock.now();
        let state = self.state();
        let own = covered.node.iter().flat_map(|node| state.locks.get(node)).flatten();
        let above = covered.chain.iter().flat_map(|id| state.locks.get(id)).flatten().filter(|row| row.depth == LockDepth::Infinity);
        own.chain(above).filter(|row| row.expires > now).cloned().collect()
    }

    /// Live locks on what is below a node. Blocks.
    fn locks_below(&self, id: NodeId) -> Result<Vec<LockRow>> {
        let now = self.clock.now();
        let all: Vec<LockRow> = self.state().locks.values().flatten().filter(|row| row.expires > now && row.node != id).cloned().collect();
        let mut below = Vec::new();
        for row in all {
            if self.is_below(row.node, id)? {
                below.push(row);
            }
        }
        Ok(below)
    }

    pub(super) fn is_below(&self, node: NodeId, ancestor: NodeId) -> Result<bool> {
        let mut at = node;
        while at != NodeId::ROOT {
            let Some(place) = self.place_now(at)? else {
                return Ok(false);
            };
            if place.parent == ancestor {
                return Ok(true);
            }
            at = place.parent;
        }
        Ok(false)
    }

    /// A lock as it is told to whoever asks from `base`.
    fn told(&self, row: &LockRow, base: &TreePath) -> Result<Lock> {
        let path = self.path_now(row.node)?.unwrap_or_default();
        Ok(Lock {
            token: row.token.clone(),
            principal: row.principal.clone(),
            owner: row.owner.clone(),
            scope: row.scope,
            depth: row.depth,
            expires: row.expires,
            root: path.strip_prefix(base).unwrap_or_default(),
        })
    }

    /// Whether the tokens open what covers this target; for a free name, what covers its collection (RFC 4918 7.4).
    pub(super) fn check_locks(&self, target: &Target, tokens: &[LockToken]) -> Result<()> {
        match &target.row {
            Some(row) => {
                let covered = Covered { node: Some(row.id), chain: target.chain.clone() };
                self.check_covered(&covered, tokens, &target.base)
            }
            None => self.check_parent(target, tokens),
        }
    }

    /// Whether members may be added to and removed from the target's collection.
    pub(super) fn check_parent(&self, target: &Target, tokens: &[LockToken]) -> Result<()> {
        let mut chain = target.chain.clone();
        let covered = Covered { node: chain.pop(), chain };
        self.check_covered(&covered, tokens, &target.base)
    }

    fn check_covered(&self, covered: &Covered, tokens: &[LockToken], base: &TreePath) -> Result<()> {
        if self.state().locks.is_empty() {
            return Ok(());
        }
        let rows = self.covering(covered);
        match rows.first() {
            // Of several shared locks one token is enough (RFC 4918 7.5).
            Some(first) if !rows.iter().any(|row| tokens.contains(&row.token)) => Err(Error::Locked(self.told(first, base)?.root)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the tokens open every lock below a node that goes or moves.
    pub(super) fn check_below(&self, id: NodeId, tokens: &[LockToken]) -> Result<()> {
        if self.state().locks.is_empty() {
            return Ok(());
        }
        match self.locks_below(id)?.iter().find(|row| !tokens.contains(&row.token)) {
            Some(row) => Err(Error::Locked(self.told(row, &TreePath::root())?.root)),
            None => Ok(()),
        }
    }

    /// [`Space::check_locks`] from memory alone, before a body is read.
    pub(super) fn check_write_early(&self, at: &At, write: &Write) -> Result<()> {
        if self.state().locks.is_empty() {
            return Ok(());
        }
        let (walk, base) = {
            let mut state = self.state();
            (state.walk(at.base, &at.path), state.path_of(at.base).unwrap_or_default())
        };
        let missing = matches!(walk, Walk::Missing { .. });
        match self.covered(walk) {
            Some(mut covered) => {
                if missing {
                    covered.node = covered.chain.pop();
                }
                self.check_covered(&covered, &write.tokens, &base)
            }
            None => Ok(()),
        }
    }

    /// Locks whose LOCK made this empty file, if their token was submitted: to be marked as filled.
    pub(super) fn placeholders(&self, id: NodeId, tokens: &[LockToken]) -> Vec<LockRow> {
        let now = self.clock.now();
        let state = self.state();
        let rows = state.locks.get(&id).into_iter().flatten();
        let unborn = rows.filter(|row| row.placeholder && row.expires > now && tokens.contains(&row.token));
        unborn.map(|row| LockRow { placeholder: false, ..row.clone() }).collect()
    }

    /// A deleted or moved node loses its locks, and so does all that is below it (RFC 4918 7.6, 9.6).
    pub(super) fn locks_gone(&self, id: NodeId) -> Result<Vec<Change>> {
        let own: Vec<LockRow> = self.state().locks.get(&id).cloned().unwrap_or_default();
        let below = if self.state().locks.is_empty() { Vec::new() } else { self.locks_below(id)? };
        Ok(own.into_iter().chain(below).map(|row| Change::DropLock(row.node, row.token)).collect())
    }

    /// What replaces a locked node is locked by its lock: the URL stays locked.
    pub(super) fn locks_handed_over(&self, old: NodeId, new: NodeId) -> Result<Vec<Change>> {
        let own: Vec<LockRow> = self.state().locks.get(&old).cloned().unwrap_or_default();
        let mut changes = self.locks_gone(old)?;
        changes.extend(own.into_iter().map(|row| Change::PutLock(LockRow { node: new, ..row })));
        Ok(changes)
    }
}

/// A random UUID as RFC 4122 4.4 makes it, in the form of RFC 4918 6.5.
fn new_token() -> Result<LockToken> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    let number = u128::from_be_bytes(random) & !(0xf000 << 64 | 0b11 << 62) | (0x4000 << 64 | 0b10 << 62);
    let [a, b, c, d, e] = [number >> 96, number >> 80 & 0xffff, number >> 64 & 0xffff, number >> 48 & 0xffff, number & 0xffff_ffff_ffff];
    Ok(LockToken(format!("urn:uuid:{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")))
}
