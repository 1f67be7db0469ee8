//! Shares between users of this server, in memory: who shared what with whom, what receivers made of it, and where it hangs.
//!
//! **Invariants:** memory follows the rows; a share whose parent is gone or no longer grants sharing grants nothing; the list of the shares of
//! a node is complete, whoever made them (attack L2).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Notify, OwnedMutexGuard};

use crate::domain::{Clock, MountId, Node, NodeId, ReceivedShare, ReceivedState, Result, SentShare, Share, ShareId, SpaceId, UserName};
use crate::store::{Batch, Record as _, Store};

/// The name of an account that is shown to people.
type Namer = Box<dyn Fn(&UserName) -> Option<String> + Send + Sync>;

/// Who is told of what receivers had and no longer have.
type Mourner = Box<dyn Fn(&[Arc<ReceivedShare>]) + Send + Sync>;

/// Every share of a server. Cheap to clone.
#[derive(Clone)]
pub struct Shares {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    index: RwLock<Index>,
    namer: OnceLock<Namer>,
    mourner: OnceLock<Mourner>,
    /// One change at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Rung when shares end.
    ended: Notify,
}

#[derive(Default)]
struct Index {
    shares: BTreeMap<ShareId, Arc<Share>>,
    spaces: HashMap<SpaceId, BTreeSet<ShareId>>,
    received: BTreeMap<ShareId, BTreeMap<UserName, Arc<ReceivedShare>>>,
    users: HashMap<UserName, BTreeSet<ShareId>>,
    /// What hangs at a mountpoint: accepted shares of one node.
    mounts: HashMap<MountId, Vec<ShareId>>,
    nodes: HashMap<NodeId, Vec<ShareId>>,
    /// The node at a mountpoint as it was last seen, for when it cannot be asked.
    last: HashMap<MountId, Node>,
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Shares({})", self.read().shares.len())
    }
}

/// The right to change shares; held by one at a time.
#[derive(Debug)]
pub struct Changing {
    shares: Shares,
    _turn: OwnedMutexGuard<()>,
}

impl Shares {
    /// Reads the shares.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, clock: Clock) -> Result<Shares> {
        let mut index = Index::default();
        for share in store.list::<Share>()? {
            index.insert(share);
        }
        for received in store.list::<ReceivedShare>()? {
            index.receive(received);
        }
        let inner = Inner {
            store,
            clock,
            index: RwLock::new(index),
            namer: OnceLock::new(),
            mourner: OnceLock::new(),
            changing: Arc::default(),
            ended: Notify::new(),
        };
        Ok(Shares { inner: Arc::new(inner) })
    }

    /// Tells how names are shown to people; once.
    pub fn set_namer(&self, namer: impl Fn(&UserName) -> Option<String> + Send + Sync + 'static) {
        let _known = self.inner.namer.set(Box::new(namer));
    }

    /// Tells who is to know of the ends of shares that are gone, before anybody can have them again; once.
    pub fn set_mourner(&self, mourner: impl Fn(&[Arc<ReceivedShare>]) + Send + Sync + 'static) {
        let _known = self.inner.mourner.set(Box::new(mourner));
    }

    /// How a user is shown to people.
    pub fn display_name(&self, user: &UserName) -> String {
        self.inner.namer.get().and_then(|namer| namer(user)).unwrap_or_else(|| user.to_string())
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Waits until a share has ended since the last wait: other servers may have to be told.
    pub async fn ended(&self) {
        self.inner.ended.notified().await;
    }

    /// Wakes who waits for shares to end.
    pub fn ring(&self) {
        self.inner.ended.notify_one();
    }

    /// Waits for the turn to change something.
    pub async fn change(&self) -> Changing {
        let turn = Arc::clone(&self.inner.changing).lock_owned().await;
        Changing { shares: self.clone(), _turn: turn }
    }

    /// The share of a number.
    pub fn get(&self, id: ShareId) -> Option<Arc<Share>> {
        self.read().shares.get(&id).cloned()
    }

    /// Every share, oldest first.
    pub fn all(&self) -> Vec<Arc<Share>> {
        self.read().shares.values().cloned().collect()
    }

    /// The shares of a node, whoever made them, oldest first.
    pub fn of_node(&self, node: NodeId) -> Vec<Arc<Share>> {
        let index = self.read();
        let ids = index.nodes.get(&node).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| index.shares.get(id)).cloned().collect()
    }

    /// Whether no node of a home, or none at all, is shared.
    pub(super) fn is_empty(&self, space: Option<SpaceId>) -> bool {
        let index = self.read();
        space.map_or(index.nodes.is_empty(), |space| index.spaces.get(&space).is_none_or(BTreeSet::is_empty))
    }

    /// The shares of the nodes of a home, oldest first.
    pub fn in_space(&self, space: SpaceId) -> Vec<Arc<Share>> {
        let index = self.read();
        let ids = index.spaces.get(&space).into_iter().flatten();
        ids.filter_map(|id| index.shares.get(id)).cloned().collect()
    }

    /// What one receiver made of a share.
    pub fn received(&self, share: ShareId, user: &UserName) -> Option<Arc<ReceivedShare>> {
        self.read().received.get(&share)?.get(user).cloned()
    }

    /// The receivers of a share.
    pub fn receivers(&self, share: ShareId) -> Vec<Arc<ReceivedShare>> {
        self.read().received.get(&share).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// What a user receives, oldest first.
    pub fn received_by(&self, user: &UserName) -> Vec<Arc<ReceivedShare>> {
        let index = self.read();
        let ids = index.users.get(user).into_iter().flatten();
        ids.filter_map(|id| index.received.get(id)?.get(user)).cloned().collect()
    }

    /// Everything that anybody receives.
    pub fn all_received(&self) -> Vec<Arc<ReceivedShare>> {
        self.read().received.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The shares that hang at a mountpoint, all of one node; none if it is no share's.
    pub fn mounted(&self, mount: MountId) -> Vec<Arc<Share>> {
        let index = self.read();
        let ids = index.mounts.get(&mount).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| index.shares.get(id)).cloned().collect()
    }

    /// Whether a share hangs at a mountpoint.
    pub fn is_mounted(&self, mount: MountId) -> bool {
        self.read().mounts.contains_key(&mount)
    }

    /// Shares and what was made from them by sharing on, whoever did.
    pub fn with_descendants(&self, ids: &[ShareId]) -> Vec<ShareId> {
        let index = self.read();
        let mut found: Vec<ShareId> = ids.to_vec();
        let mut seen: HashSet<ShareId> = ids.iter().copied().collect();
        let mut at = 0;
        while let Some(id) = found.get(at).copied() {
            at += 1;
            let children = index.shares.values().filter(|share| share.parent == Some(id)).map(|share| share.id);
            found.extend(children.filter(|child| seen.insert(*child)));
        }
        found
    }

    pub(super) fn last_seen(&self, mount: MountId) -> Option<Node> {
        self.read().last.get(&mount).cloned()
    }

    pub(super) fn set_last_seen(&self, mount: MountId, node: &Node) {
        if self.read().last.get(&mount).is_none_or(|last| last.etag != node.etag || last.id != node.id) {
            self.write().last.insert(mount, node.clone());
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.inner.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.inner.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changing {
    /// Writes a share and what its receivers make of it, all at once.
    ///
    /// # Errors
    /// Where the store refuses; then everything is as before.
    pub async fn put(&self, share: Option<Share>, received: Vec<ReceivedShare>) -> Result<()> {
        let batch = share.iter().fold(Batch::new(), Batch::put);
        self.commit(received.iter().fold(batch, Batch::put)).await?;
        let mut index = self.shares.write();
        share.into_iter().for_each(|share| index.insert(share));
        received.into_iter().for_each(|received| index.receive(received));
        Ok(())
    }

    /// Writes a new share with a user of another server and what that server needs of it, both at once.
    ///
    /// # Errors
    /// Where the store refuses; then everything is as before.
    pub async fn put_sent(&self, share: &Share, sent: &SentShare) -> Result<()> {
        self.commit(Batch::new().put(share).put(sent)).await?;
        self.shares.write().insert(share.clone());
        Ok(())
    }

    /// Writes shares whose receivers have other addresses now, and what else moves with them, all at once.
    ///
    /// # Errors
    /// Where the store refuses; then everything is as before.
    pub async fn readdress(&self, shares: Vec<Share>, batch: Batch) -> Result<()> {
        self.commit(shares.iter().fold(batch, Batch::put)).await?;
        let mut index = self.shares.write();
        shares.into_iter().for_each(|share| index.insert(share));
        Ok(())
    }

    /// Removes shares, and these ends of others, all at once.
    ///
    /// # Errors
    /// Where the store refuses; then everything is as before.
    pub async fn delete(&self, shares: &[ShareId], received: &[Arc<ReceivedShare>]) -> Result<()> {
        let gone: Vec<Arc<Share>> = shares.iter().filter_map(|id| self.shares.get(*id)).collect();
        let mut ends: Vec<Arc<ReceivedShare>> = received.to_vec();
        shares.iter().for_each(|id| ends.extend(self.shares.receivers(*id)));
        let batch = gone.iter().fold(Batch::new(), |batch, share| batch.delete::<Share>(&share.key()));
        self.commit(ends.iter().fold(batch, |batch, end| batch.delete::<ReceivedShare>(&end.key()))).await?;
        let mut index = self.shares.write();
        ends.iter().for_each(|end| index.leave(end));
        gone.iter().for_each(|share| index.remove(share));
        drop(index);
        if let Some(mourner) = self.shares.inner.mourner.get() {
            mourner(&ends);
        }
        if !gone.is_empty() {
            self.shares.ring();
        }
        Ok(())
    }

    /// What hangs at a mountpoint gets another answer from its receiver.
    ///
    /// # Errors
    /// Where the store refuses.
    pub async fn answer(&self, mount: MountId, state: ReceivedState) -> Result<()> {
        let ends: Vec<ReceivedShare> = {
            let index = self.shares.read();
            let there = index
                .received
                .values()
                .flat_map(BTreeMap::values)
                .filter(|received| received.mount == mount && received.state == ReceivedState::Accepted);
            there.map(|received| ReceivedShare { state, ..ReceivedShare::clone(received) }).collect()
        };
        self.put(None, ends).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        Ok(self.shares.inner.store.commit(batch).await?)
    }
}

impl Index {
    fn insert(&mut self, share: Share) {
        let ids = self.nodes.entry(share.node).or_default();
        if !ids.contains(&share.id) {
            ids.push(share.id);
        }
        self.spaces.entry(share.space).or_default().insert(share.id);
        self.shares.insert(share.id, Arc::new(share));
    }

    fn remove(&mut self, share: &Share) {
        self.shares.remove(&share.id);
        if let Some(ids) = self.spaces.get_mut(&share.space) {
            ids.remove(&share.id);
        }
        if let Some(ids) = self.nodes.get_mut(&share.node) {
            ids.retain(|id| *id != share.id);
            if ids.is_empty() {
                self.nodes.remove(&share.node);
            }
        }
    }

    fn receive(&mut self, received: ReceivedShare) {
        let old = self.received.get(&received.share).and_then(|ends| ends.get(&received.user)).cloned();
        if let Some(old) = old {
            self.leave(&old);
        }
        if received.state == ReceivedState::Accepted {
            self.mounts.entry(received.mount).or_default().push(received.share);
        }
        self.users.entry(received.user.clone()).or_default().insert(received.share);
        self.received.entry(received.share).or_default().insert(received.user.clone(), Arc::new(received));
    }

    fn leave(&mut self, received: &ReceivedShare) {
        if let Some(ends) = self.received.get_mut(&received.share) {
            ends.remove(&received.user);
            if ends.is_empty() {
                self.received.remove(&received.share);
            }
        }
        if let Some(ids) = self.users.get_mut(&received.user) {
            ids.remove(&received.share);
        }
        if let Some(ids) = self.mounts.get_mut(&received.mount) {
            ids.retain(|id| *id != received.share);
            if ids.is_empty() {
                self.mounts.remove(&received.mount);
                self.last.remove(&received.mount);
            }
        }
    }
}
