//! The virtual file system of one principal: a home or what a link opens, with the mounts that hang in it.
//!
//! A [`View`] resolves a path to a backend (the home, or a mount) and checks there, and only there, what the principal may do. Rights
//! intersect at each hop. **Invariants:** no operation whose root lies outside a mount ever sends DELETE or MOVE to the remote; a mount
//! that cannot be reached stays in its parent's listing; no outbound call is made for a listing of its parent.

mod etags;
mod kept;
mod listing;
mod locks;
mod read;
mod resolve;
mod source;
mod transfer;
mod uploads;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

pub use listing::{Listing, Member};
pub use source::Source;

pub use crate::space::{TrashRow, VersionRow};

use crate::domain::{Error, Link, MountId, Node, NodeId, Permissions, Principal, Result, SpaceId, User};
use crate::mount::Mounts;
use crate::space::{Space, Spaces};
use crate::wire::{CONTAINS_MAX, Via};

/// Every tree of a server: what views are made from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spaces: Spaces,
    mounts: Mounts,
    instance_id: String,
    fingerprint: String,
    linked: RwLock<HashMap<SpaceId, Arc<HashSet<NodeId>>>>,
}

impl Forest {
    /// A forest of these homes and mounts; `instance_id` ends every `oc:id`, `fingerprint` is `oc:data-fingerprint`.
    pub fn new(spaces: Spaces, mounts: Mounts, instance_id: String, fingerprint: String) -> Forest {
        Forest { inner: Arc::new(Inner { spaces, mounts, instance_id, fingerprint, linked: RwLock::default() }) }
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
        Ok(View { forest: self.clone(), principal, space: home, base, granted, owner, via, linked })
    }

    /// The homes.
    pub fn spaces(&self) -> &Spaces {
        &self.inner.spaces
    }

    /// The mounts.
    pub fn mounts(&self) -> &Mounts {
        &self.inner.mounts
    }

    /// The id of this server, which ends every `oc:id` and marks the requests that it sends on.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
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
    /// The mount in which it lies.
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
            Principal::Link(_) | Principal::Anonymous => false,
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
            for id in self.forest.mounts().get(mount).map(|handle| handle.contains()).unwrap_or_default() {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        ids.truncate(CONTAINS_MAX);
        ids
    }

    /// Who shares a mounted node, as `owner@host`; none outside mounts.
    pub fn remote_owner(&self, access: &Access) -> Option<String> {
        let record = self.forest.mounts().get(access.mount?)?.record();
        let host = record.url.split('/').nth(2).unwrap_or_default().to_owned();
        Some(if record.owner.is_empty() { host } else { format!("{}@{host}", record.owner) })
    }

    /// Whether an account looks at its own tree, and not somebody who has a link.
    pub fn is_own(&self) -> bool {
        match self.principal {
            Principal::User(_) => true,
            Principal::Link(_) | Principal::Anonymous => false,
        }
    }

    /// A link that takes files and shows nothing.
    fn is_drop(&self) -> bool {
        self.granted.contains(Permissions::CREATE) && !self.granted.contains(Permissions::READ)
    }
}
