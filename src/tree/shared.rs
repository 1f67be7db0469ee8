//! What hangs in a tree by a share: a view of the owner's tree, based at the shared node, for the same principal (DESIGN 5).
//!
//! Rights intersect at each hop when something is asked for: of the share, of every share that it was made from, and of the view that it
//! hangs in (attack F7). A share in a folder that is shared itself is seen by others only where it may be shared on, and by links never.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::{
    At, Error, MountId, Name, Node, NodeId, OfflineCause, Permissions, Principal, ReceivedShare, ReceivedState, Result, Share, ShareId,
    ShareWith, SpaceId, TreePath, UserName, shareable,
};
use crate::limits::{SHARE_DEPTH_MAX, SHARE_HOPS_MAX, SHARE_VISITS_MAX};
use crate::space::Space;
use crate::tree::shares::Changing;
use crate::tree::{Access, Entry, Forest, Owner, View};
use crate::wire::Via;

/// How a view came to be that shows a share.
#[derive(Debug, Clone)]
pub(super) struct Within {
    /// The mountpoint in the view outside.
    pub(super) mount: MountId,
    /// The shared nodes that were entered, this one last.
    trail: Vec<NodeId>,
}

/// With what kinds of receivers a node is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedWith {
    /// Users of this server.
    pub users: bool,
    /// Groups.
    pub groups: bool,
    /// Users of other servers.
    pub remotes: bool,
}

/// A path in something that was shared.
pub(super) struct SharedTarget {
    pub(super) mount: MountId,
    /// The mountpoint, below the base of the view.
    pub(super) at: At,
    /// The path inside what is shared.
    pub(super) inner: TreePath,
    /// The mountpoint's row.
    pub(super) row: Node,
    /// What is seen there, or why nothing is: the mountpoint itself can be removed and moved all the same.
    pub(super) view: Result<View>,
}

impl View {
    /// Whether this is a user's own tree, not a link's, and not seen through a share.
    pub fn is_own(&self) -> bool {
        match self.principal {
            Principal::User(_) => self.within.is_none(),
            Principal::Link(_) | Principal::Anonymous | Principal::Remote(_) => false,
        }
    }

    /// The view of what hangs at a share's mountpoint.
    pub(super) async fn enter(&self, mount: MountId) -> Result<View> {
        // Many shares in shared folders that hold many shares: what is not looked into is shown as it was.
        let visits = if self.within.is_some() { Arc::clone(&self.visits) } else { Arc::default() };
        if visits.fetch_add(1, Ordering::Relaxed) >= SHARE_VISITS_MAX {
            return Err(away());
        }
        let shares = self.forest.shares().mounted(mount);
        let first = shares.first().ok_or(Error::NotFound)?;
        let space = self.forest.spaces().get(first.space).ok_or_else(away)?;
        let mut granted = Permissions::NONE;
        for share in &shares {
            granted = granted | self.forest.rights(&space, share).await?;
        }
        if !granted.contains(Permissions::READ) {
            return Err(Error::NotFound);
        }
        if !self.may_pass_on(granted) {
            return Err(Error::Forbidden("this was shared with its receiver alone"));
        }
        let mut trail = self.within.as_ref().map(|within| within.trail.clone()).unwrap_or_default();
        let own = matches!(&self.principal, Principal::User(user) if *user == first.owner);
        if own || trail.len() >= SHARE_DEPTH_MAX || self.base == first.node || trail.contains(&first.node) {
            return Err(Error::Loop);
        }
        trail.push(first.node);
        Ok(View {
            forest: self.forest.clone(),
            principal: self.principal.clone(),
            space,
            base: first.node,
            granted: self.granted & granted,
            owner: self.forest.owner_of(first),
            via: self.via.clone(),
            linked: Arc::default(),
            within: Some(Within { mount, trail }),
            visits,
        })
    }

    /// Whether who looks here may see what was shared with the user of the tree. Users may where the user may share it on. Whoever holds a link
    /// never may: the owner would not know of that link (attack L2).
    fn may_pass_on(&self, granted: Permissions) -> bool {
        match self.principal {
            Principal::User(_) => self.within.is_none() || granted.contains(Permissions::SHARE),
            Principal::Link(_) | Principal::Anonymous | Principal::Remote(_) => false,
        }
    }

    /// What stands at a share's mountpoint, for the listing of its parent; none where this principal sees nothing there. What cannot be asked
    /// now is shown as it was.
    pub(super) async fn shared_entry(&self, mount: MountId, row: &Node) -> Option<Entry> {
        let entered = match self.enter(mount).await {
            Ok(view) => Box::pin(view.base_entry()).await,
            Err(error) => Err(error),
        };
        let entry = match entered {
            Ok(entry) => {
                self.forest.shares().set_last_seen(mount, &entry.node);
                entry
            }
            Err(Error::NotFound | Error::Forbidden(_) | Error::Loop) => return None,
            Err(_) => {
                let share = self.forest.shares().mounted(mount).into_iter().next()?;
                let bare = || Node { id: share.node, kind: share.kind, size: 0, ..row.clone() };
                let node = self.forest.shares().last_seen(mount).unwrap_or_else(bare);
                let granted = self.granted & share.permissions & node.permissions;
                Entry { node, access: Access { granted, shared: true, mount_root: false, mount: Some(mount) } }
            }
        };
        Some(self.at_mountpoint(entry))
    }

    async fn base_entry(&self) -> Result<Entry> {
        let node = self.space.node(self.base).await?.ok_or(Error::NotFound)?;
        Ok(self.home_entry(node).await)
    }

    /// An entry from inside a share as this view shows it.
    pub(super) fn through(&self, inner: &TreePath, entry: Entry) -> Entry {
        if inner.is_root() { self.at_mountpoint(entry) } else { entry }
    }

    /// The root of a share may always be renamed and removed by the user in whose tree it hangs.
    pub(super) fn at_mountpoint(&self, entry: Entry) -> Entry {
        Entry { access: Access { mount_root: self.is_own(), ..entry.access }, ..entry }
    }

    /// Takes what was shared out of this tree; the owner keeps everything.
    pub(super) async fn decline(&self, mount: MountId) -> Result<()> {
        self.forest.decline(&self.space, mount).await
    }

    /// Whether mounts of other servers hang below a collection, shares that hang there included.
    pub(super) async fn leaves_server(&self, collection: NodeId) -> bool {
        for (mount, _) in self.mounts_under(collection) {
            if !self.forest.shares().is_mounted(mount) {
                return true;
            }
            if let Ok(view) = self.enter(mount).await
                && Box::pin(view.leaves_server(view.base)).await
            {
                return true;
            }
        }
        false
    }

    /// Whose a node is that does not lie in the home of the view; none for one that does.
    pub fn owner_of(&self, access: &Access) -> Option<Owner> {
        let mount = access.mount?;
        if let Some(handle) = self.forest.mounts().get(mount) {
            let record = handle.record();
            let host = record.url.split('/').nth(2).unwrap_or_default().to_owned();
            let name = if record.owner.is_empty() { host } else { format!("{}@{host}", record.owner) };
            return Some(Owner { id: name.clone(), display_name: name });
        }
        self.forest.shares().mounted(mount).first().map(|share| self.forest.owner_of(share))
    }

    /// Whether no node of this access is shared with anybody, nor has a link: then a listing need not ask for each.
    pub fn shares_nothing(&self, access: &Access) -> bool {
        let home = access.mount.is_none().then(|| self.space.id());
        self.linked.is_empty() && self.forest.shares().is_empty(home)
    }

    /// With whom a node is shared, as far as the principal may know: owners know all, receivers what they made.
    pub fn shared_with(&self, node: &Node, access: &Access) -> SharedWith {
        let mut found = SharedWith::default();
        let Principal::User(me) = &self.principal else { return found };
        for share in self.forest.shares().of_node(node.id) {
            if access.mount.is_none() || share.shared_by == *me {
                match share.with {
                    ShareWith::User(_) => found.users = true,
                    ShareWith::Group(_) => found.groups = true,
                    ShareWith::Remote(_) => found.remotes = true,
                }
            }
        }
        found
    }
}

impl Forest {
    fn owner_of(&self, share: &Share) -> Owner {
        Owner { id: share.owner.to_string(), display_name: self.shares().display_name(&share.owner) }
    }

    /// What a share grants now: nothing where it has expired, or where it was shared on by somebody who may not, or no longer has it.
    ///
    /// # Errors
    /// Where the owner's home cannot be read.
    pub async fn rights(&self, space: &Space, share: &Share) -> Result<Permissions> {
        if share.is_expired(self.shares().clock().now()) {
            return Ok(Permissions::NONE);
        }
        let granted = share.permissions & shareable(share.kind);
        match share.parent {
            Some(parent) => Ok(granted & self.passed_on(space, share.node, (parent, &share.shared_by)).await?),
            None => Ok(granted),
        }
    }

    /// What somebody may give on of a node that they have by a share: nothing where any share on the way has expired or ended, does not let them
    /// share, or no longer holds the node.
    ///
    /// # Errors
    /// Where the owner's home cannot be read.
    pub async fn passed_on(&self, space: &Space, node: NodeId, (parent, by): (ShareId, &UserName)) -> Result<Permissions> {
        let now = self.shares().clock().now();
        let (mut node, mut parent, mut by) = (node, parent, by.clone());
        let mut granted = Permissions::ALL;
        for _ in 0..SHARE_HOPS_MAX {
            let Some(share) = self.shares().get(parent).filter(|share| !share.is_expired(now)) else { return Ok(Permissions::NONE) };
            let has = match share.with {
                ShareWith::User(_) | ShareWith::Group(_) => self.shares().received(share.id, &by).is_some(),
                // Its receiver asked for what was made from it, and has no end of it here.
                ShareWith::Remote(_) => true,
            };
            if !has || !share.permissions.contains(Permissions::SHARE) || !space.is_within(node, share.node).await? {
                return Ok(Permissions::NONE);
            }
            granted = granted & share.permissions & shareable(share.kind);
            let Some(above) = share.parent else { return Ok(granted) };
            (node, parent, by) = (share.node, above, share.shared_by.clone());
        }
        Ok(Permissions::NONE)
    }

    /// What a share shows to the server of a user elsewhere. Who holds its secret was judged before.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it grants nothing now, but may again; [`Error::Internal`] where the owner's home is not registered.
    pub async fn remote_view(&self, share: &Share, via: Via) -> Result<View> {
        let home = self.spaces().get(share.space).ok_or_else(away)?;
        let granted = self.rights(&home, share).await?;
        if !granted.contains(Permissions::READ) {
            return Err(away());
        }
        self.view(Principal::Remote(share.id), share.space, share.node, granted, self.owner_of(share), via)
    }

    /// Hangs a share into the top folder of its receiver, under its name or a free variant of it.
    ///
    /// # Errors
    /// Where the receiver's home cannot be written.
    pub async fn hang(&self, received: &ReceivedShare, name: &str) -> Result<Name> {
        let space = self.spaces().get(received.space).ok_or_else(away)?;
        let wanted = Name::parse(name).or_else(|_invalid| Name::parse("Shared"));
        let wanted = wanted.map_err(|_invalid| Error::InvalidName("a share has no name"))?;
        space.add_mount(&At::home(TreePath::root()), received.mount, &wanted).await
    }

    /// Takes what hangs at a mountpoint out of a receiver's tree.
    pub(super) async fn decline(&self, space: &Space, mount: MountId) -> Result<()> {
        // Nobody may hang it again in between.
        let changing = self.shares().change().await;
        self.decline_in(&changing, space, mount).await
    }

    pub(super) async fn decline_in(&self, changing: &Changing, space: &Space, mount: MountId) -> Result<()> {
        // The row goes first: a share without a row is invisible, a row without a share would be a folder that never answers.
        space.remove_mount(mount).await?;
        changing.answer(mount, ReceivedState::Declined).await
    }

    /// Removes shares and what was shared on from them, and takes them out of their receivers' trees.
    ///
    /// # Errors
    /// Where a tree or the store cannot be written.
    pub async fn drop_shares(&self, changing: &Changing, ids: &[ShareId]) -> Result<()> {
        let dying = self.shares().with_descendants(ids);
        let ends: Vec<Arc<ReceivedShare>> = dying.iter().flat_map(|id| self.shares().receivers(*id)).collect();
        self.unhang(&ends).await?;
        changing.delete(&dying, &[]).await?;
        for id in dying {
            tracing::info!(share.id = id.0, "a share was removed");
        }
        Ok(())
    }

    /// Ends what these receivers have of shares; what they shared on ends with it.
    ///
    /// # Errors
    /// Where a tree or the store cannot be written.
    pub async fn drop_received(&self, changing: &Changing, ends: &[Arc<ReceivedShare>]) -> Result<()> {
        let ended = |share: &Share| ends.iter().any(|end| share.parent == Some(end.share) && share.shared_by == end.user);
        let resharing: Vec<ShareId> = self.shares().all().iter().filter(|share| ended(share)).map(|share| share.id).collect();
        if !resharing.is_empty() {
            self.drop_shares(changing, &resharing).await?;
        }
        self.unhang(ends).await?;
        changing.delete(&[], ends).await
    }

    /// Takes the rows of mountpoints away at which nothing else hangs.
    async fn unhang(&self, ends: &[Arc<ReceivedShare>]) -> Result<()> {
        let going: HashSet<(MountId, ShareId)> = ends.iter().map(|end| (end.mount, end.share)).collect();
        for end in ends.iter().filter(|end| end.state == ReceivedState::Accepted) {
            let others = self.shares().mounted(end.mount).iter().any(|share| !going.contains(&(end.mount, share.id)));
            if let Some(space) = self.spaces().get(end.space).filter(|_| !others) {
                space.remove_mount(end.mount).await?;
            }
        }
        Ok(())
    }

    /// Removes what hangs at a mountpoint and has expired, so that its name is free. Returns whether there was something.
    pub(super) async fn clear_expired(&self, mount: MountId) -> Result<bool> {
        let now = self.shares().clock().now();
        let expired: Vec<ShareId> =
            self.shares().mounted(mount).iter().filter(|share| share.is_expired(now)).map(|share| share.id).collect();
        if expired.is_empty() {
            return Ok(false);
        }
        let changing = self.shares().change().await;
        self.drop_shares(&changing, &expired).await?;
        Ok(true)
    }

    /// Removes the shares of a home, or of one file in it, whose nodes are gone for good: they open nothing already (attack L3).
    ///
    /// # Errors
    /// Where a home cannot be read, or the store not be written.
    pub async fn bury_shares(&self, space: SpaceId, file: Option<NodeId>) -> Result<()> {
        let shares = match file {
            Some(node) => self.shares().of_node(node),
            None => self.shares().in_space(space),
        };
        let Some(home) = self.spaces().get(space).filter(|_| !shares.is_empty()) else { return Ok(()) };
        let mut gone = Vec::new();
        for share in shares {
            if home.is_gone(share.node).await? {
                gone.push(share.id);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let changing = self.shares().change().await;
        self.drop_shares(&changing, &gone).await
    }
}

/// It exists, but cannot be seen now (DESIGN 1.2).
fn away() -> Error {
    Error::Unavailable { cause: OfflineCause::Unreachable, retry_after: Duration::from_secs(30) }
}
