//! Shares between users and groups: made, answered, changed and ended.
//!
//! Receivers find what was shared in their own trees, like a mount. **Invariants**: a share is durable before anybody sees it; nobody shares on
//! more than they have; who leaves a group, and every share made from one that ends, loses it at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::Refusal;
use super::accounts::Accounts;
use super::groups::Groups;
use super::refusal::Result;
use crate::domain::{
    Clock, Error, Group, GroupName, LinkOrigin, MountId, NodeId, Permissions, ReceivedShare, ReceivedState, Share, ShareId, ShareWith,
    SpaceId, Timestamp, TreePath, User, UserName, shareable,
};
use crate::limits::{SHARE_HOPS_MAX, SHARE_NOTE_BYTES_MAX, USER_RECEIVED_MAX, USER_SHARES_MAX};
use crate::space::MountRow;
use crate::store::Store;
use crate::tree::{Changing, Entry, Forest};
use crate::wire::Via;

/// How many trees a new share is hung into at once.
const HANGING_AT_ONCE: usize = 16;

/// Shares between the users of a server.
pub struct UserShares {
    store: Store,
    forest: Forest,
    clock: Clock,
    accounts: Arc<Accounts>,
    groups: Arc<Groups>,
    /// Whether shares appear in their receivers' trees at once.
    auto_accept: bool,
}

/// What a new share is to be.
#[derive(Debug, Clone)]
pub struct NewShare {
    /// The node, in the sharer's tree.
    pub path: TreePath,
    /// With whom.
    pub with: ShareWith,
    /// What it grants; all that the sharer may if none.
    pub permissions: Option<Permissions>,
    /// The first second at which it no longer works.
    pub expires: Option<Timestamp>,
    /// What the sharer says to the receivers.
    pub note: String,
}

/// What is to change about a share; none keeps what is.
#[derive(Debug, Clone, Default)]
pub struct ShareChange {
    /// Rights.
    pub permissions: Option<Permissions>,
    /// An expiry; an inner none removes it.
    pub expires: Option<Option<Timestamp>>,
    /// The note.
    pub note: Option<String>,
}

/// A share and one receiver's end of it.
pub type Received = (Arc<Share>, Arc<ReceivedShare>);

impl UserShares {
    /// The shares of a forest, which is told how users are shown.
    pub(super) fn new(store: Store, forest: Forest, clock: Clock, users: (Arc<Accounts>, Arc<Groups>), auto_accept: bool) -> UserShares {
        let (accounts, groups) = users;
        let named = Arc::downgrade(&accounts);
        forest.shares().set_namer(move |name| Some(named.upgrade()?.get(name)?.display_name.clone()));
        UserShares { store, forest, clock, accounts, groups, auto_accept }
    }

    /// Follows every later change of a group.
    pub(super) fn follow_groups(self: &Arc<Self>) {
        let shares = Arc::downgrade(self);
        self.groups.observe(Box::new(move |name| {
            let shares = shares.upgrade();
            Box::pin(async move {
                match shares {
                    Some(shares) => shares.follow_group(&name).await,
                    None => Ok(()),
                }
            })
        }));
    }

    /// The share of a number.
    ///
    /// # Errors
    /// Where there is none.
    pub fn require(&self, id: ShareId) -> Result<Arc<Share>> {
        self.forest.shares().get(id).ok_or_else(|| Refusal::not_found(format!("there is no share {}", id.0)))
    }

    /// The shares of a user's nodes, whoever made them, and what the user shares on: all of them, by construction (attack L2).
    pub fn list(&self, user: &User) -> Vec<Arc<Share>> {
        let all = self.forest.shares().all().into_iter();
        all.filter(|share| share.space == user.space || share.shared_by == user.name).collect()
    }

    /// What a user receives, oldest first.
    pub fn received(&self, user: &User) -> Vec<Received> {
        let ends = self.forest.shares().received_by(&user.name).into_iter();
        ends.filter_map(|end| Some((self.forest.shares().get(end.share)?, end))).collect()
    }

    /// Whether a user may change and end a share: its owner, and who made it.
    pub fn may_manage(&self, user: &User, share: &Share) -> bool {
        share.owner == user.name || share.shared_by == user.name
    }

    /// Where a share's node stands in a user's tree; none where the user does not see it.
    ///
    /// # Errors
    /// Where the owner's home cannot be read.
    pub async fn path_for(&self, user: &User, share: &Share) -> Result<Option<TreePath>> {
        self.path_of_node(user, share.space, share.node).await
    }

    /// Where a node of a home stands in a user's tree; none where the user does not see it.
    ///
    /// # Errors
    /// Where the home cannot be read.
    pub async fn path_of_node(&self, user: &User, space: SpaceId, node: NodeId) -> Result<Option<TreePath>> {
        let Some(home) = self.forest.spaces().get(space) else { return Ok(None) };
        let Some(path) = home.path_of(node).await? else { return Ok(None) };
        if space == user.space {
            return Ok(Some(path));
        }
        let Some(own) = self.forest.spaces().get(user.space) else { return Ok(None) };
        for (received, end) in self.received(user) {
            if received.space != space || end.state != ReceivedState::Accepted {
                continue;
            }
            let root = home.path_of(received.node).await?;
            if let (Some(inner), Some(mountpoint)) = (root.and_then(|root| path.strip_prefix(&root)), own.mount_path(end.mount)) {
                return Ok(Some(mountpoint.join_path(&inner)));
            }
        }
        Ok(None)
    }

    /// What a share grants now, over every hop.
    ///
    /// # Errors
    /// Where the owner's home cannot be read.
    pub async fn rights(&self, share: &Share) -> Result<Permissions> {
        match self.forest.spaces().get(share.space) {
            Some(home) => Ok(self.forest.rights(&home, share).await?),
            None => Ok(Permissions::NONE),
        }
    }

    /// What a receiver may give on by a link now: nothing once the receiver took it out of their tree, or put it into the trash.
    ///
    /// # Errors
    /// Where a home cannot be read.
    pub(super) async fn passed_on(&self, space: SpaceId, node: NodeId, origin: &LinkOrigin) -> Result<Permissions> {
        let LinkOrigin { parent, shared_by } = origin;
        let end = self.forest.shares().received(*parent, shared_by).filter(|end| end.state == ReceivedState::Accepted);
        let (Some(end), Some(home)) = (end, self.forest.spaces().get(space)) else { return Ok(Permissions::NONE) };
        let Some(own) = self.forest.spaces().get(end.space) else { return Ok(Permissions::NONE) };
        if own.mount_path(end.mount).is_none() && own.mount_row(end.mount).await? != MountRow::Hangs {
            return Ok(Permissions::NONE);
        }
        Ok(self.forest.passed_on(&home, node, (*parent, shared_by)).await?)
    }

    /// Shares a node with a user or a group of this server.
    ///
    /// # Errors
    /// Where there is nothing, or the sharer may not, or not with them.
    pub async fn create(&self, sharer: &User, new: NewShare) -> Result<Arc<Share>> {
        let (changing, share) = self.draft(sharer, new).await?;
        if matches!(share.with, ShareWith::Remote(_)) {
            return Err(Refusal::failed("a share with a user of another server has to be sent there"));
        }
        let id = share.id;
        let receivers = self.users_of(&share);
        self.give(&changing, Some(share), receivers).await?;
        tracing::info!(share.id = id.0, user.id = %sharer.name, "a share was made");
        self.require(id)
    }

    /// A share that may be made, not written yet, and the turn to write it.
    ///
    /// # Errors
    /// Where there is nothing, or the sharer may not, or not with them.
    pub(super) async fn draft(&self, sharer: &User, new: NewShare) -> Result<(Changing, Share)> {
        self.usable_terms(new.expires, &new.note)?;
        if new.path.is_root() {
            return Err(Refusal::refused("the top folder cannot be shared; share what is in it"));
        }
        let entry = match self.forest.user_view(sharer, Via::default())?.stat(&new.path).await {
            Err(Error::NotFound) => return Err(Refusal::not_found(format!("`{}` has nothing at {}", sharer.name, new.path))),
            found => found?,
        };
        let may = entry.access.granted & shareable(entry.node.kind);
        let permissions = fitting(new.permissions.unwrap_or(may), may, entry.node.kind)?;
        let changing = self.forest.shares().change().await;
        let (owner, space, parent) = match entry.access.mount {
            None => (sharer.name.clone(), sharer.space, None),
            Some(mount) => {
                let parent = self.parent(sharer, mount, &entry).await?;
                (parent.owner.clone(), parent.space, Some(parent.id))
            }
        };
        let with = self.receiver(&new.with, &owner, &sharer.name)?;
        let siblings = self.forest.shares().of_node(entry.node.id);
        if siblings.iter().any(|share| same(&share.with, &with) && share.shared_by == sharer.name) {
            return Err(Refusal::refused(format!("{} is shared with {with} already", new.path)));
        }
        self.room_for_more(&sharer.name)?;
        let share = Share {
            id: ShareId(self.store.next_id()?),
            owner,
            space,
            node: entry.node.id,
            kind: entry.node.kind,
            name: new.path.name().map_or_else(|| sharer.display_name.clone(), String::from),
            permissions,
            with,
            parent,
            shared_by: sharer.name.clone(),
            created: self.clock.now(),
            expires: new.expires,
            note: new.note,
        };
        Ok((changing, share))
    }

    /// Whether a user may make one more share.
    pub(super) fn room_for_more(&self, sharer: &UserName) -> Result<()> {
        if self.forest.shares().all().iter().filter(|share| share.shared_by == *sharer).count() >= USER_SHARES_MAX {
            return Err(Refusal::refused(format!("`{sharer}` shares {USER_SHARES_MAX} things already")));
        }
        Ok(())
    }

    /// The share by which somebody has a node that is to be shared on: of several, the one that grants most.
    pub(super) async fn parent(&self, sharer: &User, mount: MountId, entry: &Entry) -> Result<Arc<Share>> {
        let mut best: Option<(Permissions, Arc<Share>)> = None;
        for share in self.forest.shares().mounted(mount) {
            let rights = self.rights(&share).await?;
            let own = self.forest.shares().received(share.id, &sharer.name).is_some_and(|end| end.mount == mount);
            if own && best.as_ref().is_none_or(|(most, _)| most.0.count_ones() < rights.0.count_ones()) {
                best = Some((rights, share));
            }
        }
        let Some((rights, parent)) = best else {
            return Err(Refusal::refused("this lies in a mount, or in what hangs in a shared folder; share it where the files are"));
        };
        if !(rights & entry.access.granted).contains(Permissions::SHARE) {
            return Err(Refusal::refused("this may not be shared on"));
        }
        self.one_more_hop(&parent)?;
        Ok(parent)
    }

    /// Whether a share may be shared on once more.
    pub(super) fn one_more_hop(&self, share: &Share) -> Result<()> {
        if self.hops(share) + 1 >= SHARE_HOPS_MAX {
            return Err(Refusal::refused(format!("this was shared on {SHARE_HOPS_MAX} times already")));
        }
        Ok(())
    }

    fn hops(&self, share: &Share) -> usize {
        let parent = |share: &Share| share.parent.and_then(|parent| self.forest.shares().get(parent));
        std::iter::successors(parent(share), |share| parent(share)).take(SHARE_HOPS_MAX).count()
    }

    /// With whom, by the names of their accounts. Not with who has it already.
    pub(super) fn receiver(&self, with: &ShareWith, owner: &UserName, sharer: &UserName) -> Result<ShareWith> {
        match with {
            ShareWith::User(name) => {
                let user = self.accounts.require(name.as_str())?;
                if user.name == *owner {
                    return Err(Refusal::refused(format!("`{owner}` is the owner of it")));
                }
                if user.name == *sharer {
                    return Err(Refusal::refused("nobody shares with themselves"));
                }
                Ok(ShareWith::User(user.name.clone()))
            }
            ShareWith::Group(name) => Ok(ShareWith::Group(self.groups.require(name.as_str())?.name.clone())),
            // Whether there is such a user is known to the other server alone.
            ShareWith::Remote(user) => Ok(ShareWith::Remote(user.clone())),
        }
    }

    /// The group of a name, if there is one.
    pub(super) fn group(&self, name: &str) -> Option<Arc<Group>> {
        GroupName::parse(name).ok().and_then(|name| self.groups.get(&name))
    }

    /// Whether a user belongs to a group; nobody belongs to one that is not there.
    pub(super) fn is_member(&self, group: &GroupName, user: &UserName) -> bool {
        self.groups.is_member(group, user)
    }

    /// Waits for the next change of a group; for one who waits.
    pub(super) async fn groups_changed(&self) {
        self.groups.changed().await;
    }

    /// Who receives a share now.
    pub(super) fn users_of(&self, share: &Share) -> Vec<Arc<User>> {
        match &share.with {
            ShareWith::User(name) => self.accounts.get(name).into_iter().collect(),
            ShareWith::Group(name) => {
                let group = self.groups.get(name);
                let members = group.iter().flat_map(|group| &group.members);
                let others = members.filter(|name| **name != share.owner && **name != share.shared_by);
                others.filter_map(|name| self.accounts.get(name)).collect()
            }
            ShareWith::Remote(_) => Vec::new(),
        }
    }

    /// Writes a share, if it is new, and gives it to these users.
    pub(super) async fn give(&self, changing: &Changing, share: Option<Share>, users: Vec<Arc<User>>) -> Result<()> {
        let Some(given) = share.clone() else { return Ok(()) };
        let known = self.forest.shares().get(given.id).is_some();
        let mut ends = Vec::with_capacity(users.len());
        let mut to_hang = Vec::new();
        for user in users {
            let there = self.mountpoint_of(&user.name, &given);
            let accepted = self.auto_accept && (there.is_some() || self.has_room(&user.name));
            let state = if accepted { ReceivedState::Accepted } else { ReceivedState::Pending };
            let mount = match there {
                Some(mount) => mount,
                None => MountId(self.store.next_id()?),
            };
            let end = ReceivedShare { share: given.id, user: user.name.clone(), space: user.space, state, mount };
            if accepted && there.is_none() {
                to_hang.push(end.clone());
            }
            ends.push(end);
        }
        // The records come first: a mountpoint without a record would show a folder that nobody can reach.
        changing.put(share.filter(|_| !known), ends).await?;
        let mut hanging = Vec::with_capacity(to_hang.len());
        for end in to_hang {
            hanging.push(hang(self.forest.clone(), end, given.name.clone()));
        }
        futures_util::stream::iter(hanging).buffer_unordered(HANGING_AT_ONCE).collect::<Vec<()>>().await;
        Ok(())
    }

    /// Where another share of the same node hangs in a user's tree.
    fn mountpoint_of(&self, user: &UserName, share: &Share) -> Option<MountId> {
        let ends = self.forest.shares().received_by(user).into_iter();
        let mut accepted = ends.filter(|end| end.state == ReceivedState::Accepted && end.share != share.id);
        let same = |end: &Arc<ReceivedShare>| self.forest.shares().get(end.share).is_some_and(|other| other.node == share.node);
        accepted.find(|end| same(end) && self.state(end) == ReceivedState::Accepted).map(|end| end.mount)
    }

    /// What a receiver makes of a share. One whose mountpoint went with a deleted folder is as good as declined, until that is restored.
    pub fn state(&self, end: &ReceivedShare) -> ReceivedState {
        let hangs = || self.forest.spaces().get(end.space).is_some_and(|space| space.mount_path(end.mount).is_some());
        match end.state {
            ReceivedState::Accepted if !hangs() => ReceivedState::Declined,
            ReceivedState::Accepted | ReceivedState::Pending | ReceivedState::Declined => end.state,
        }
    }

    fn has_room(&self, user: &UserName) -> bool {
        let ends = self.forest.shares().received_by(user);
        ends.iter().filter(|end| end.state == ReceivedState::Accepted).count() < USER_RECEIVED_MAX
    }

    /// Takes a share into a user's tree; fine if it is there.
    ///
    /// # Errors
    /// Where the user does not receive it, or the tree cannot be written.
    pub async fn accept(&self, user: &User, id: ShareId) -> Result<Received> {
        let changing = self.forest.shares().change().await;
        let (share, end) = self.require_received(user, id)?;
        if end.state != ReceivedState::Accepted && !self.has_room(&user.name) {
            return Err(Refusal::refused(format!("`{}` has {USER_RECEIVED_MAX} shares already", user.name)));
        }
        let mount = self.mountpoint_of(&user.name, &share).unwrap_or(end.mount);
        let accepted = ReceivedShare { state: ReceivedState::Accepted, mount, ..ReceivedShare::clone(&end) };
        changing.put(None, vec![accepted.clone()]).await?;
        let own = self.forest.spaces().get(user.space).ok_or_else(|| Refusal::failed("the user's home is not open"))?;
        if own.mount_path(mount).is_some() {
            return self.require_received(user, id);
        }
        // It may have gone to the trash with a folder.
        own.remove_mount(mount).await?;
        if let Err(error) = self.forest.hang(&accepted, &share.name).await {
            changing.put(None, vec![ReceivedShare::clone(&end)]).await?;
            return Err(error.into());
        }
        self.require_received(user, id)
    }

    /// Takes a share out of a user's tree, or refuses it; the owner keeps everything, and it may be accepted later.
    ///
    /// # Errors
    /// Where the user does not receive it, or the tree cannot be written.
    pub async fn decline(&self, user: &User, id: ShareId) -> Result<Received> {
        let changing = self.forest.shares().change().await;
        let (_, end) = self.require_received(user, id)?;
        let others = self.forest.shares().mounted(end.mount).iter().any(|share| share.id != id);
        if let Some(space) = self.forest.spaces().get(user.space).filter(|_| end.state == ReceivedState::Accepted && !others) {
            space.remove_mount(end.mount).await?;
        }
        let mount = if others { MountId(self.store.next_id()?) } else { end.mount };
        changing.put(None, vec![ReceivedShare { state: ReceivedState::Declined, mount, ..ReceivedShare::clone(&end) }]).await?;
        self.require_received(user, id)
    }

    fn require_received(&self, user: &User, id: ShareId) -> Result<Received> {
        let end = self.forest.shares().received(id, &user.name);
        let found = end.and_then(|end| Some((self.forest.shares().get(id)?, end)));
        found.ok_or_else(|| Refusal::not_found(format!("`{}` receives no share {}", user.name, id.0)))
    }

    /// Changes a share.
    ///
    /// # Errors
    /// Where it is gone, or its sharer may not grant that.
    pub async fn update(&self, id: ShareId, change: ShareChange) -> Result<Arc<Share>> {
        let changing = self.forest.shares().change().await;
        let share = self.require(id)?;
        let mut changed = Share::clone(&share);
        if let Some(permissions) = change.permissions {
            let may = match share.parent.map(|parent| self.require(parent)).transpose()? {
                Some(parent) => self.rights(&parent).await? & shareable(share.kind),
                None => shareable(share.kind),
            };
            changed.permissions = fitting(permissions, may, share.kind)?;
        }
        changed.expires = change.expires.unwrap_or(changed.expires);
        changed.note = change.note.unwrap_or(changed.note);
        self.usable_terms(change.expires.flatten(), &changed.note)?;
        changing.put(Some(changed), Vec::new()).await?;
        tracing::info!(share.id = id.0, "a share was changed");
        self.require(id)
    }

    fn usable_terms(&self, expires: Option<Timestamp>, note: &str) -> Result<()> {
        if expires.is_some_and(|at| at <= self.clock.now()) {
            return Err(Refusal::usage("the last day is over already"));
        }
        if note.len() > SHARE_NOTE_BYTES_MAX {
            return Err(Refusal::usage(format!("a note has {SHARE_NOTE_BYTES_MAX} bytes at most")));
        }
        Ok(())
    }

    /// Ends a share, and what was shared on from it.
    ///
    /// # Errors
    /// Where there is none, or a tree cannot be written.
    pub async fn remove(&self, id: ShareId) -> Result<()> {
        let changing = self.forest.shares().change().await;
        self.require(id)?;
        Ok(self.forest.drop_shares(&changing, &[id]).await?)
    }

    /// Ends everything that a user who goes shared, shared on or received.
    ///
    /// # Errors
    /// Where a tree cannot be written.
    pub async fn forget_user(&self, user: &User) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let theirs =
            |share: &Share| share.space == user.space || share.shared_by == user.name || share.with == ShareWith::User(user.name.clone());
        let ids: Vec<ShareId> = self.forest.shares().all().iter().filter(|share| theirs(share)).map(|share| share.id).collect();
        self.forest.drop_shares(&changing, &ids).await?;
        let ends = self.forest.shares().received_by(&user.name);
        Ok(self.forest.drop_received(&changing, &ends).await?)
    }

    /// Gives what is shared with a group to who came, and takes it from who left; all of it ends with the group.
    ///
    /// # Errors
    /// Where a tree cannot be written; the next start finishes it.
    pub async fn follow_group(&self, name: &GroupName) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let group = self.groups.get(name);
        let (mut over, mut done) = (Vec::new(), Ok(()));
        for share in self.forest.shares().all() {
            match (&share.with, group.as_deref()) {
                (ShareWith::Group(with), Some(group)) if with.folded() == name.folded() => {
                    done = done.and(self.follow_share(&changing, &share, group).await);
                }
                (ShareWith::Group(with), None) if with.folded() == name.folded() => over.push(share.id),
                (ShareWith::Group(_) | ShareWith::User(_) | ShareWith::Remote(_), _) => {}
            }
        }
        let dropped = self.forest.drop_shares(&changing, &over).await;
        done.and(Ok(dropped?))
    }

    async fn follow_share(&self, changing: &Changing, share: &Share, group: &Group) -> Result<()> {
        let ends = self.forest.shares().receivers(share.id);
        let (staying, leaving): (Vec<_>, Vec<_>) = ends.into_iter().partition(|end| group.members.contains(&end.user));
        let mut left = Ok(());
        // One tree that cannot be written keeps nobody else in.
        for end in &leaving {
            left = left.and(self.forest.drop_received(changing, std::slice::from_ref(end)).await.map_err(Refusal::from));
        }
        left?;
        let there: BTreeSet<&UserName> = staying.iter().map(|end| &end.user).collect();
        let coming: Vec<Arc<User>> = self.users_of(share).into_iter().filter(|user| !there.contains(&user.name)).collect();
        if coming.is_empty() { Ok(()) } else { self.give(changing, Some(share.clone()), coming).await }
    }

    /// Removes shares that have expired, or whose nodes are gone. They open nothing already: this keeps lists and trees true.
    ///
    /// # Errors
    /// Where a home cannot be read.
    pub async fn sweep(&self) -> Result<()> {
        self.sweep_shares(self.forest.shares().all()).await?;
        self.hang_missing().await
    }

    /// [`UserShares::sweep`] for what concerns one user, before it is listed.
    ///
    /// # Errors
    /// Where a home cannot be read.
    pub async fn sweep_for(&self, user: &User) -> Result<()> {
        let received = self.received(user).into_iter().map(|(share, _)| share);
        self.sweep_shares(self.list(user).into_iter().chain(received).collect()).await
    }

    async fn sweep_shares(&self, all: Vec<Arc<Share>>) -> Result<()> {
        for space in all.iter().map(|share| share.space).collect::<BTreeSet<_>>() {
            self.forest.bury_shares(space, None).await?;
        }
        let now = self.clock.now();
        let expired: Vec<ShareId> = all.iter().filter(|share| share.is_expired(now)).map(|share| share.id).collect();
        if expired.is_empty() {
            return Ok(());
        }
        let changing = self.forest.shares().change().await;
        Ok(self.forest.drop_shares(&changing, &expired).await?)
    }

    /// Finishes what a crash cut in two: groups that changed, users who are gone, shares that hang nowhere yet.
    pub(super) async fn finish(&self) -> Result<()> {
        let mut groups = BTreeSet::new();
        let mut over = Vec::new();
        for share in self.forest.shares().all() {
            let gone = |name: &UserName| self.accounts.get(name).is_none();
            match &share.with {
                ShareWith::Group(name) => drop(groups.insert(name.clone())),
                ShareWith::User(name) if gone(name) => over.push(share.id),
                ShareWith::User(_) | ShareWith::Remote(_) => {}
            }
            if gone(&share.owner) || gone(&share.shared_by) {
                over.push(share.id);
            }
        }
        for group in groups {
            self.follow_group(&group).await?;
        }
        if !over.is_empty() {
            let changing = self.forest.shares().change().await;
            self.forest.drop_shares(&changing, &over).await?;
        }
        self.sweep().await
    }

    /// What was accepted while the receiver's tree could not be written hangs nowhere yet; what was declined just then may still hang.
    async fn hang_missing(&self) -> Result<()> {
        let _changing = self.forest.shares().change().await;
        for end in self.forest.shares().all_received() {
            let Some(space) = self.forest.spaces().get(end.space) else { continue };
            match (self.forest.shares().is_mounted(end.mount), space.has_mount(end.mount).await?) {
                (true, true) | (false, false) => {}
                (false, true) => space.remove_mount(end.mount).await?,
                (true, false) => {
                    if let Some(share) = self.forest.shares().get(end.share) {
                        hang(self.forest.clone(), ReceivedShare::clone(&end), share.name.clone()).await;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether both mean the same receivers, however an address is written.
pub(super) fn same(one: &ShareWith, other: &ShareWith) -> bool {
    match (one, other) {
        (ShareWith::Remote(one), ShareWith::Remote(other)) => one.is(other),
        (ShareWith::User(_) | ShareWith::Group(_) | ShareWith::Remote(_), _) => one == other,
    }
}

/// A tree that cannot be written now gets the share at the next start.
async fn hang(forest: Forest, end: ReceivedShare, name: String) {
    if let Err(error) = forest.hang(&end, &name).await {
        tracing::warn!(share.id = end.share.0, user.id = %end.user, %error, "a share could not be hung into its receiver's tree");
    }
}

/// The rights of a share as far as the node and the sharer allow them.
fn fitting(wanted: Permissions, may: Permissions, kind: crate::domain::Kind) -> Result<Permissions> {
    let permissions = wanted & shareable(kind);
    if !permissions.contains(Permissions::READ) {
        return Err(Refusal::usage("a share with users lets them read at least; permissions are 1 to 31, odd"));
    }
    if !may.contains(permissions) {
        return Err(Refusal::refused("nobody can share more than they may do themselves"));
    }
    Ok(permissions)
}
