//! Listings of a mount, kept in memory and, where they are not too long, in the store, so that changes are seen across restarts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::{Children, Etag, MountId, Name, Node, TreePath};
use crate::mount::nodes::hashed;
use crate::store::Store;

/// How long an answer of the remote counts as present.
pub(super) const FRESH: Duration = Duration::from_secs(2);
/// Most listings of one mount in memory.
const LISTINGS_MAX: usize = 2048;
/// Most nodes in the listings of one mount in memory.
const NODES_MAX: usize = 200_000;
/// Most single answers remembered for one mount.
const STATS_MAX: usize = 2048;
/// Listings of more members are not stored.
const STORED_MEMBERS_MAX: usize = 2000;

/// One collection as the remote listed it.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) own: Node,
    pub(super) children: Arc<Children>,
    /// Etags of the remote where the exposed ones do not say them; the collection's own under no name.
    pub(super) raws: HashMap<Option<Name>, String>,
    /// When the request was sent that said so.
    pub(super) asked: Instant,
}

impl Cached {
    /// Whether the remote gave the collection no etag.
    pub(super) fn is_nameless(&self) -> bool {
        self.raws.get(&None).is_some_and(String::is_empty)
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    own: Node,
    children: BTreeMap<Name, Node>,
}

/// A single answer: the node, or that there is none.
#[derive(Debug, Clone)]
pub(super) struct Stat {
    pub(super) found: Option<(Node, Option<String>)>,
    pub(super) asked: Instant,
}

/// What is known of one mount's tree.
#[derive(Debug, Default)]
pub(super) struct Cache {
    listings: HashMap<TreePath, Arc<Cached>>,
    stats: HashMap<TreePath, Stat>,
    /// Digest of each known listing, for remotes whose etags do not tell of changes below.
    digests: BTreeMap<TreePath, [u8; 16]>,
    /// What the changes that were seen at or below a collection add up to, for the same remotes.
    raised: HashMap<TreePath, [u8; 16]>,
    /// The root's etag when this process began.
    salt: String,
    nodes: usize,
}

impl Cache {
    pub(super) fn listing(&self, path: &TreePath) -> Option<&Arc<Cached>> {
        self.listings.get(path)
    }

    /// Whether a listing above was asked for later and names another etag: a client that came down from there would take this one for what that
    /// etag stands for, and never look again.
    pub(super) fn is_outdated(&self, path: &TreePath, cached: &Cached) -> bool {
        let Some((parent, name)) = path.split_last() else { return false };
        let above = self.listings.get(&parent).filter(|above| above.asked > cached.asked);
        let told = above.and_then(|above| above.children.get(name.as_str()));
        told.is_some_and(|node| node.etag != cached.own.etag)
    }

    pub(super) fn stat(&self, path: &TreePath) -> Option<&Stat> {
        self.stats.get(path)
    }

    /// Takes in a listing; tells whether anything in it differs from the one before. One that was not known before is no change.
    pub(super) fn keep(&mut self, path: &TreePath, cached: Arc<Cached>) -> bool {
        let digest = digest(&cached);
        let changed = self.digests.insert(path.clone(), digest).is_some_and(|before| before != digest);
        if changed {
            self.raise(path, &digest);
        }
        while self.listings.len() >= LISTINGS_MAX || self.nodes + cached.children.len() > NODES_MAX {
            let Some(oldest) = self.listings.iter().min_by_key(|(_, cached)| cached.asked).map(|(path, _)| path.clone()) else { break };
            self.drop_listing(&oldest);
        }
        self.drop_listing(path);
        self.nodes += cached.children.len();
        self.listings.insert(path.clone(), cached);
        changed
    }

    pub(super) fn remember(&mut self, path: &TreePath, stat: Stat) {
        if self.stats.len() >= STATS_MAX {
            self.stats.clear();
        }
        self.stats.insert(path.clone(), stat);
    }

    /// Forgets what a write of ours made untrue: the node, all below it, and its parent's listing.
    pub(super) fn wrote(&mut self, path: &TreePath) {
        self.stats.clear();
        let below: Vec<TreePath> = self.listings.keys().filter(|listed| listed.starts_with(path)).cloned().collect();
        for listed in below {
            self.drop_listing(&listed);
            self.digests.remove(&listed);
        }
        if let Some(parent) = path.parent() {
            self.drop_listing(&parent);
        }
    }

    fn drop_listing(&mut self, path: &TreePath) {
        if let Some(cached) = self.listings.remove(path) {
            self.nodes = self.nodes.saturating_sub(cached.children.len());
        }
    }

    /// The known listings, the ones that were asked for longest ago first.
    pub(super) fn oldest(&self, most: usize) -> Vec<TreePath> {
        let mut paths: Vec<_> = self.listings.iter().map(|(path, cached)| (cached.asked, path.clone())).collect();
        paths.sort();
        paths.into_iter().take(most).map(|(_, path)| path).collect()
    }

    /// A change at `path` shows in it and in all that is above it.
    fn raise(&mut self, path: &TreePath, digest: &[u8; 16]) {
        let mut above = Some(path.clone());
        while let Some(at) = above {
            let before = self.raised.get(&at).copied().unwrap_or_default();
            let hash = Sha256::new_with_prefix(before).chain_update(path.as_str()).chain_update(digest);
            let mut raised = [0; 16];
            raised.iter_mut().zip(hash.finalize()).for_each(|(slot, byte)| *slot = byte);
            above = at.parent();
            self.raised.insert(at, raised);
        }
    }

    /// The etag of a collection on a remote whose etags do not tell of what is below: it changes with every change that was seen there, and
    /// not by looking there for the first time.
    pub(super) fn composed(&self, mount: MountId, path: &TreePath, own: &Etag) -> Etag {
        let raised = self.raised.get(path).copied().unwrap_or_default();
        hashed(mount, &[own.to_string().as_bytes(), &raised, self.salt.as_bytes()].concat())
    }

    /// Nothing known, in a mount whose root had this etag: changes that were seen before a restart are in it, so that no etag comes back.
    pub(super) fn after(root: Option<&Etag>) -> Cache {
        Cache { salt: root.map(Etag::to_string).unwrap_or_default(), ..Cache::default() }
    }

    /// Whether a listing was seen before.
    pub(super) fn knows(&self, path: &TreePath) -> bool {
        self.digests.contains_key(path)
    }

    /// Takes in what a listing was before this start, to compare the next one with.
    pub(super) fn recall(&mut self, path: &TreePath, cached: &Cached) {
        self.digests.entry(path.clone()).or_insert_with(|| digest(cached));
    }
}

/// What a listing shows of names, versions and rights; the time of asking and the collection's own etag do not count.
fn digest(cached: &Cached) -> [u8; 16] {
    let mut hash = Sha256::new();
    for (name, node) in cached.children.iter() {
        hash.update(name.as_str());
        hash.update([0]);
        hash.update(node.etag.to_string());
        hash.update([0, node.permissions.0]);
        hash.update(node.id.0.to_be_bytes());
    }
    hash.update([cached.own.permissions.0]);
    let mut digest = [0; 16];
    digest.iter_mut().zip(hash.finalize()).for_each(|(slot, byte)| *slot = byte);
    digest
}

/// The digest of a listing that was stored before this start, if it is not too old to read.
pub(super) fn restore(store: &Store, mount: MountId, path: &TreePath) -> Option<Cached> {
    let bytes = store.cache_get(&key(mount, path)).ok()??;
    let stored: Stored = postcard::from_bytes(&bytes).ok()?;
    // Not fresh: it only says what was seen last.
    let asked = Instant::now().checked_sub(FRESH * 2)?;
    Some(Cached { own: stored.own, children: Arc::new(stored.children), raws: HashMap::new(), asked })
}

pub(super) fn save(store: &Store, mount: MountId, path: &TreePath, cached: &Cached) {
    if cached.children.len() > STORED_MEMBERS_MAX {
        return;
    }
    let stored = Stored { own: cached.own.clone(), children: cached.children.as_ref().clone() };
    if let Ok(bytes) = postcard::to_stdvec(&stored)
        && let Err(error) = store.cache_put(&key(mount, path), &bytes)
    {
        tracing::debug!(%error, mount.id = mount.0, "a listing could not be kept");
    }
}

pub(super) fn forget(store: &Store, mount: MountId) {
    if let Err(error) = store.cache_remove_prefix(&mount.0.to_be_bytes()) {
        tracing::debug!(%error, mount.id = mount.0, "cached listings could not be dropped");
    }
}

fn key(mount: MountId, path: &TreePath) -> Vec<u8> {
    let mut key = mount.0.to_be_bytes().to_vec();
    key.extend(path.as_str().as_bytes());
    key
}
