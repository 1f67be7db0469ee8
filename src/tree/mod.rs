//! The virtual file system of one principal: a home or what a link opens, with the mounts that hang in it.
//!
//! A [`View`] resolves a path to a backend (the home, a mount, or what another user shared) and checks there, and only there, what the principal may do. Rights
//! intersect at each hop. **Invariants:** no operation whose root lies outside a mount ever sends DELETE or MOVE to the remote; a mount
//! that cannot be reached stays in its parent's listing; no outbound call is made for a listing of its parent.

mod etags;
mod kept;
mod listing;
mod locks;
mod read;
mod resolve;
mod shared;
mod shares;
mod source;
mod sync;
mod transfer;
mod uploads;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

pub use listing::{Listing, Member};
pub use shared::SharedWith;
pub use shares::{Changing, Shares};
pub use source::Source;
pub use sync::{After, Changed, Moment, NotTold, SyncLevel, SyncToken};

pub use crate::space::{TrashRow, VersionRow};

use crate::domain::{Error, Link, MountId, Node, NodeId, Permissions, Principal, Result, SpaceId, User};
use crate::mount::{MountHandle, Mounts};
use crate::space::{Space, Spaces};
use crate::wire::{CONTAINS_MAX, Via};

/// Every tree of a server: what views are made from. Cheap to clone.
#[derive(Clone)]
pub struct Forest {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Forest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Forest").field("mounts", &self.inner.mounts).finish_non_exhaustive()
    }
}

struct Inner {
    spaces: Spaces,
    mounts: Mounts,
    shares: Shares,
    instance_id: String,
    fingerprint: String,
    linked: RwLock<HashMap<SpaceId, Arc<HashSet<NodeId>>>>,
    sealing: sync::Sealing,
    mount_judge: OnceLock<MountJudge>,
}

/// Whether a mount may be looked into now.
type MountJudge = Box<dyn Fn(&MountHandle) -> bool + Send + Sync>;

impl Forest {
    /// A forest of these homes, mounts and shares; `instance_id` ends every `oc:id`, `fingerprint` is `oc:data-fingerprint`.
    pub fn new(spaces: Spaces, mounts: Mounts, shares: Shares, instance_id: String, fingerprint: String) -> Forest {
        let (linked, sealing) = (RwLock::default(), sync::Sealing::default());
        Forest {
            inner: Arc::new(Inner { spaces, mounts, shares, instance_id, fingerprint, linked, sealing, mount_judge: OnceLock::new() }),
        }
    }

    /// The tree of an account.
    ///
    /// # Errors
    /// [`Error::Internal`] where the home is not registered.
    pub fn user_view(&self, user: &User, via: Via) -> Result<View> {
        let owner = Owner { id: user.name.to_string(), display_name: user.display_name.clone() };
        self.view(Principal::User(user.name.clone()), user.space, NodeId::ROOT, Permissions::ALL, owner, via)
    }

    /// What a public link opens. Password, expiry and policy were judged before.
    ///
    /// # Errors
    /// [`Error::Internal`] where the owner's home is not registered.
    pub fn link_view(&self, link: &Link, owner_name: &str, via: Via) -> Result<View> {
        let owner = Owner { id: link.owner.to_string(), display_name: owner_name.to_owned() };
        self.view(Principal::Link(link.id), link.space, link.node, link.permissions, owner, via)
    }

    fn view(&self, principal: Principal, space: SpaceId, base: NodeId, granted: Permissions, owner: Owner, via: Via) -> Result<View> {
        let home = self.inner.spaces.get(space).ok_or_else(|| Error::Internal("the home is not registered".to_owned()))?;
        let linked = self.inner.linked.read().unwrap_or_else(PoisonError::into_inner).get(&space).cloned().unwrap_or_default();
        let forest = self.clone();
        Ok(View { forest, principal, space: home, base, granted, owner, via, linked, within: None, visits: Arc::default() })
    }

    /// The homes.
    pub fn spaces(&self) -> &Spaces {
        &self.inner.spaces
    }

    /// The mounts.
    pub fn mounts(&self) -> &Mounts {
        &self.inner.mounts
    }

    /// The shares between users.
    pub fn shares(&self) -> &Shares {
        &self.inner.shares
    }

    /// The id of this server, which ends every `oc:id` and marks the requests that it sends on.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// The mounts of other servers that hang at a mountpoint: the mount itself, or those in what is shared there.
    fn remotes_at(&self, mount: MountId) -> Vec<Arc<MountHandle>> {
        let Some(share) = self.shares().mounted(mount).into_iter().next() else {
            return self.mounts().get(mount).into_iter().collect();
        };
        let points = self.spaces().get(share.space).map(|space| space.mountpoints()).unwrap_or_default();
        let below = points.iter().filter(|point| point.ancestors.contains(&share.node));
        below.filter_map(|point| self.mounts().get(point.mount)).collect()
    }

    /// Tells which mounts may be looked into; once. The others stay where they are, and answer 503 below their roots.
    pub fn judge_mounts(&self, judge: impl Fn(&MountHandle) -> bool + Send + Sync + 'static) {
        let _known = self.inner.mount_judge.set(Box::new(judge));
    }

    fn may_enter(&self, mount: &MountHandle) -> bool {
        self.inner.mount_judge.get().is_none_or(|judge| judge(mount))
    }

    /// Tells which nodes of a space have public links, for `oc:share-types`.
    pub fn set_linked(&self, space: SpaceId, nodes: HashSet<NodeId>) {
        self.inner.linked.write().unwrap_or_else(PoisonError::into_inner).insert(space, Arc::new(nodes));
    }
}

/// Whose nodes a view shows.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Name of the account.
    pub id: String,
    /// Shown to people.
    pub display_name: String,
}

/// What a principal may do with a node, and where the node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Rights, intersected over every hop.
    pub granted: Permissions,
    /// The node lies in a mount.
    pub shared: bool,
    /// The node is the root of a mount.
    pub mount_root: bool,
    /// The mount or share in which it lies.
    pub mount: Option<MountId>,
}

/// One node as a principal sees it; its kind is file or collection, never a mountpoint.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The node; the etag of a collection above mounts is composed.
    pub node: Node,
    /// What may be done with it.
    pub access: Access,
}

/// One principal's sight of a tree.
#[derive(Debug, Clone)]
pub struct View {
    forest: Forest,
    principal: Principal,
    space: Arc<Space>,
    base: NodeId,
    granted: Permissions,
    owner: Owner,
    via: Via,
    linked: Arc<HashSet<NodeId>>,
    /// Set where it shows what another user shared.
    within: Option<shared::Within>,
    /// How many shares were entered inside the one that this view shows.
    visits: Arc<AtomicUsize>,
}

impl View {
    /// Who looks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The id of this server, which ends every `oc:id`.
    pub fn instance_id(&self) -> &str {
        self.forest.instance_id()
    }

    /// `oc:data-fingerprint`: changes when a backup was restored.
    pub fn fingerprint(&self) -> &str {
        &self.forest.inner.fingerprint
    }

    /// Rights on the whole view.
    pub fn granted(&self) -> Permissions {
        self.granted
    }

    /// Whose nodes these are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether a node of the owner's home has a public link (`oc:share-types` 3). Links show to the owner alone.
    pub fn has_link(&self, node: &Node, access: &Access) -> bool {
        let own = match self.principal {
            Principal::User(_) => access.mount.is_none(),
            Principal::Link(_) | Principal::Anonymous | Principal::Remote(_) => false,
        };
        own && self.linked.contains(&node.id)
    }

    /// For another server of this kind that asks: the instances that this view is made from, this one first, so that a server finds itself
    /// in what it mounts. Nothing for other clients.
    pub fn contains(&self) -> Vec<String> {
        if self.via.is_empty() {
            return Vec::new();
        }
        let mut ids = vec![self.instance_id().to_owned()];
        for (mount, _) in self.mounts_under(self.base) {
            let below = self.forest.remotes_at(mount).into_iter();
            for id in below.flat_map(|handle| handle.contains()) {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        ids.truncate(CONTAINS_MAX);
        ids
    }

    /// A link that takes files and shows nothing.
    fn is_drop(&self) -> bool {
        self.granted.contains(Permissions::CREATE) && !self.granted.contains(Permissions::READ)
    }
}
