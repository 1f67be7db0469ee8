//! Public links: made by owners, opened by whoever knows the token.
//!
//! A link binds to a node, not to a path: it follows the node when that is moved and dies with it. Who received a node with the right to share may
//! make a link of it, too: that grants what its maker still may at each visit, ends with what its maker received, and stands in the owner's list.
//! **Invariant**: unknown, expired and wrongly guessed look alike, and every way in asks [`Sharing::open_link`].

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::accounts::{Gate, usable_password};
use super::link_details::Details;
use super::passwords::Verdict;
use super::policy::{Policies, Wanted};
use super::refusal::Result;
use super::secrets::digest;
use super::shares::UserShares;
use super::{Reason, Refusal, random};
use crate::domain::{
    Clock, Link, LinkId, LinkOrigin, NodeId, Permissions, ReceivedShare, Secret, ShareToken, SharedLink, SpaceId, Timestamp, TreePath, User,
};
use crate::space::Spaces;
use crate::store::{Batch, Record as _, Store};
use crate::tree::Forest;
use crate::wire::Via;

/// The links of a server, in memory as far as requests need them.
pub struct Sharing {
    store: Store,
    spaces: Spaces,
    forest: Forest,
    clock: Clock,
    gate: Gate,
    shares: Arc<UserShares>,
    policies: Arc<Policies>,
    links: Arc<RwLock<Links>>,
    details: Details,
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Links {
    by_id: HashMap<LinkId, Arc<Link>>,
    /// By SHA-256 of the token: comparing hashes tells nothing about the token (attack F5).
    by_token: HashMap<[u8; 32], LinkId>,
    /// Whose makers no longer have what they made them from: they open nothing any more, and their records are to be removed.
    ended: HashSet<LinkId>,
}

/// Somebody at the door of a link.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The token of the URL, or what stands in its place.
    pub token: &'a str,
    /// The password, where one was sent.
    pub password: Option<&'a Secret>,
    /// From where.
    pub address: IpAddr,
}

/// Why a link does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// There is no such link, or it has expired, or who made it may not share that any more.
    Unknown,
    /// It is there, and its owner or maker is disabled: it may come back.
    Disabled,
    /// It was downloaded as often as it may be.
    UsedUp,
    /// It wants a password.
    NeedsPassword,
    /// The password is wrong.
    WrongPassword,
    /// Too many failures: wait that long.
    Throttled(Duration),
    /// Too many verifications at once, or a home that cannot be read now: try again.
    Busy,
}

/// What a new link is to be.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// The node, in the owner's tree.
    pub path: TreePath,
    /// 1, 15 or 4.
    pub permissions: Permissions,
    /// Its password, where it has one.
    pub password: Option<Secret>,
    /// The first second at which it no longer works.
    pub expires: Option<Timestamp>,
    /// The owner's note.
    pub label: String,
}

/// What is to change about a link; none keeps what is.
#[derive(Debug, Clone, Default)]
pub struct LinkChange {
    /// Rights.
    pub permissions: Option<Permissions>,
    /// A password; an inner none removes it.
    pub password: Option<Option<Secret>>,
    /// An expiry; an inner none removes it.
    pub expires: Option<Option<Timestamp>>,
    /// The note.
    pub label: Option<String>,
}

impl Sharing {
    /// Reads the links.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, forest: Forest, clock: Clock, judges: (Gate, Arc<Policies>), shares: Arc<UserShares>) -> Result<Sharing> {
        let (gate, policies) = judges;
        let mut links = Links::default();
        for link in store.list::<Link>()? {
            links.insert(Arc::new(link));
        }
        for SharedLink { link, origin } in store.list::<SharedLink>()? {
            let there = forest.shares().received(origin.parent, &origin.shared_by).is_some();
            let id = link.id;
            links.insert(Arc::new(Link { origin: Some(origin), ..link }));
            if !there {
                links.end(id);
            }
        }
        let links = Arc::new(RwLock::new(links));
        let ending = Arc::clone(&links);
        forest.shares().set_mourner(move |ends| ending.write().unwrap_or_else(PoisonError::into_inner).end_with(ends));
        let (spaces, details) = (forest.spaces().clone(), Details::open(store.clone())?);
        let sharing = Sharing { store, spaces, forest, clock, gate, shares, policies, links, details, changing: Default::default() };
        let used: HashSet<SpaceId> = sharing.all().iter().map(|link| link.space).collect();
        used.into_iter().for_each(|space| sharing.tell_forest(space));
        Ok(sharing)
    }

    /// Opens a link for a visitor.
    ///
    /// # Errors
    /// [`Closed`]; a token that is not known counts as a guess.
    pub async fn open_link(&self, visit: Visit<'_>) -> Result<Arc<Link>, Closed> {
        let link = self.knock(visit).await?;
        let Some(stored) = &link.password_hash else { return self.admit(link).await };
        let Some(password) = visit.password.filter(|password| !password.is_empty()) else { return Err(Closed::NeedsPassword) };
        let subject = format!("link:{}", link.id.0);
        let waits = self.gate.throttle.address_waits(visit.address).or_else(|| self.gate.throttle.subject_waits(&subject));
        if let Some(wait) = waits
            && !self.gate.passwords.remembered(&subject, stored, password)
        {
            return Err(Closed::Throttled(wait));
        }
        match self.gate.passwords.verify(&subject, Some(stored), password).await {
            Verdict::Right => self.admit(link).await,
            Verdict::StillWrong => Err(Closed::WrongPassword),
            Verdict::Wrong => {
                self.gate.throttle.failed(visit.address, &subject);
                tracing::info!(client.address = %visit.address, share.id = link.id.0, "a wrong password for a link");
                Err(Closed::WrongPassword)
            }
            Verdict::Busy => Err(Closed::Busy),
        }
    }

    /// What somebody gets who may come in: the link with what it grants now. Of a disabled owner or maker nothing now, which is not to say that it
    /// is gone: servers that mounted the link would let go of it.
    ///
    /// # Errors
    /// [`Closed::UsedUp`], [`Closed::Disabled`], [`Closed::Unknown`], [`Closed::Busy`].
    pub async fn admit(&self, link: Arc<Link>) -> Result<Arc<Link>, Closed> {
        if self.details.is_used_up(link.id) {
            return Err(Closed::UsedUp);
        }
        if !self.policies.current().links || self.gate.disabled.holds(&link.owner) || self.gate.disabled.holds(link.shared_by()) {
            return Err(Closed::Disabled);
        }
        match self.as_granted(&link).await {
            Ok(granted) => self.as_allowed(granted.ok_or(Closed::Unknown)?),
            Err(error) => {
                tracing::warn!(%error, share.id = link.id.0, "it cannot be found out what a link grants");
                Err(Closed::Busy)
            }
        }
    }

    /// A link with what it grants now; none where its maker may not share that any more.
    async fn as_granted(&self, link: &Arc<Link>) -> Result<Option<Arc<Link>>> {
        let Some(origin) = &link.origin else { return Ok(Some(Arc::clone(link))) };
        let permissions = link.permissions & self.shares.passed_on(link.space, link.node, origin).await?;
        let granted = permissions != Permissions::NONE;
        Ok(granted.then(|| Arc::new(Link { permissions, ..Link::clone(link) })))
    }

    /// A link with what the administrator lets links grant. What takes files and shows nothing is closed until uploads are allowed again; the
    /// others show only.
    fn as_allowed(&self, link: Arc<Link>) -> Result<Arc<Link>, Closed> {
        if link.permissions == Permissions::READ || self.policies.current().public_upload {
            return Ok(link);
        }
        let permissions = link.permissions & Permissions::READ;
        if permissions == Permissions::NONE { Err(Closed::Disabled) } else { Ok(Arc::new(Link { permissions, ..Link::clone(&link) })) }
    }

    /// [`Sharing::open_link`] at the doors by which other servers mount links. While the administrator does not allow that, nothing is said to
    /// be gone: they would let go of their mounts for good (`protocol/nextcloud.md` 1.7).
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn open_for_servers(&self, visit: Visit<'_>) -> Result<Arc<Link>, Closed> {
        let link = match self.open_link(visit).await {
            Err(Closed::UsedUp) => return Err(Closed::Disabled),
            opened => opened?,
        };
        // A server fetches for many, and again and again: downloads by it cannot be counted.
        if self.may_leave(&link) { Ok(link) } else { Err(Closed::Disabled) }
    }

    /// Whether other servers may mount a link.
    pub fn may_leave(&self, link: &Link) -> bool {
        self.policies.may_send(&link.owner) && self.policies.may_send(link.shared_by()) && !self.details.is_limited(link.id)
    }

    /// The link of a visitor's token, before its password is asked for: for pages, which have other ways to know a visitor, and then ask
    /// [`Sharing::admit`]. Who has guessed wrongly waits with unknown tokens alone: nobody guesses 131 bits, and a server with many mounts of
    /// dead links keeps those that live.
    ///
    /// # Errors
    /// [`Closed`]; a token that is not known counts as a guess.
    pub async fn knock(&self, visit: Visit<'_>) -> Result<Arc<Link>, Closed> {
        if let Some(link) = self.find(visit.token).filter(|link| !is_expired(link, self.clock.now()))
            // Where a home cannot be read now, that is told to who may come in.
            && !matches!(self.as_granted(&link).await, Ok(None))
        {
            return Ok(link);
        }
        match self.gate.throttle.address_waits(visit.address) {
            Some(wait) => Err(Closed::Throttled(wait)),
            None => Err(self.unknown(visit).await),
        }
    }

    /// An unknown token takes the work of a wrong password where one was sent, and counts against the address once per token.
    async fn unknown(&self, visit: Visit<'_>) -> Closed {
        let subject = format!("token:{}", super::passwords::hex(&digest(visit.token)));
        let verdict = match visit.password {
            Some(password) => self.gate.passwords.verify(&subject, None, password).await,
            None => self.gate.passwords.absent(&subject),
        };
        match verdict {
            Verdict::Wrong => self.gate.throttle.failed(visit.address, "token"),
            Verdict::Right | Verdict::StillWrong => {}
            Verdict::Busy => return Closed::Busy,
        }
        Closed::Unknown
    }

    /// The link of a token, expired or not.
    fn find(&self, token: &str) -> Option<Arc<Link>> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.by_id.get(links.by_token.get(&digest(token))?).cloned()
    }

    /// Notes and downloads of links.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// The link of a number.
    pub fn get(&self, id: LinkId) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    fn all(&self) -> Vec<Arc<Link>> {
        let mut all: Vec<_> = self.links.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect();
        all.sort_by_key(|link| link.id);
        all
    }

    /// The links to a user's nodes, whoever made them, and those that the user made, oldest first: all of them, by construction (attack L2).
    pub fn list(&self, user: &User) -> Vec<Arc<Link>> {
        self.all().into_iter().filter(|link| self.may_manage(user, link)).collect()
    }

    /// Whether a user may see, change and end a link: the owner of its node, and who made it.
    pub fn may_manage(&self, user: &User, link: &Link) -> bool {
        link.space == user.space || *link.shared_by() == user.name
    }

    /// Where a link's node stands now, in a user's tree; none where it is gone, or the user does not see it any more.
    ///
    /// # Errors
    /// Where the home cannot be read.
    pub async fn path_for(&self, user: &User, link: &Link) -> Result<Option<TreePath>> {
        self.shares.path_of_node(user, link.space, link.node).await
    }

    /// Makes a link.
    ///
    /// # Errors
    /// Where the path leads nowhere or into a mount, the rights do not fit the node, or its maker may not share it, or not that.
    pub async fn create(&self, maker: &User, new: NewLink) -> Result<Arc<Link>> {
        let found = self.forest.user_view(maker, Via::default())?.stat(&new.path).await;
        if let Err(crate::domain::Error::NotFound) = found {
            return Err(Refusal::not_found(format!("`{}` has nothing at {}", maker.name, new.path)));
        }
        let entry = found?;
        usable_kind(new.permissions, entry.node.is_collection())?;
        let permissions = fitting(new.permissions, entry.node.is_collection());
        let wanted = Wanted { permissions, password: new.password.is_some(), expires: new.expires };
        let expires = self.policies.judge(wanted, true, self.clock.now())?;
        let password_hash = self.hashed(new.password).await?;
        let _changing = self.changing.lock().await;
        // A share that it is made from does not end meanwhile.
        let _sharing = self.forest.shares().change().await;
        let (owner, space, origin) = match entry.access.mount {
            None => (maker.name.clone(), maker.space, None),
            Some(mount) if !self.forest.shares().is_mounted(mount) => {
                return Err(Refusal::refused(format!("{} lies in a mount; links are made where the files are", new.path)));
            }
            Some(mount) => {
                let parent = self.shares.parent(maker, mount, &entry).await?;
                let origin = LinkOrigin { parent: parent.id, shared_by: maker.name.clone() };
                self.within_rights(permissions, (parent.space, entry.node.id), &origin).await?;
                (parent.owner.clone(), parent.space, Some(origin))
            }
        };
        let token = ShareToken::from_random(random::<64>()?).ok_or_else(|| Refusal::failed("no randomness for a token"))?;
        let link = Link {
            id: LinkId(self.store.next_id()?),
            token,
            owner,
            space,
            node: entry.node.id,
            kind: entry.node.kind,
            name: new.path.name().map_or_else(|| maker.display_name.clone(), String::from),
            permissions,
            password_hash,
            expires,
            label: new.label,
            created: self.clock.now(),
            origin,
        };
        // The token is handed out only once it is durable.
        self.store.commit(kept(&link)).await?;
        tracing::info!(share.id = link.id.0, user.id = %maker.name, "a link was created");
        Ok(self.publish(link))
    }

    /// Nobody gives on by a link what they may not do themselves.
    async fn within_rights(&self, wanted: Permissions, (space, node): (SpaceId, NodeId), origin: &LinkOrigin) -> Result<()> {
        let may = self.shares.passed_on(space, node, origin).await?;
        if may.contains(wanted) { Ok(()) } else { Err(Refusal::refused("nobody can share more than they may do themselves")) }
    }

    /// Changes a link.
    ///
    /// # Errors
    /// Where it is gone, or the rights do not fit.
    pub async fn update(&self, id: LinkId, change: LinkChange) -> Result<Arc<Link>> {
        let password = match change.password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        let _changing = self.changing.lock().await;
        let link = self.get(id).ok_or_else(|| Refusal::not_found(format!("there is no link {}", id.0)))?;
        let mut changed = Link::clone(&link);
        if let Some(permissions) = change.permissions {
            let collection = link.kind == crate::domain::Kind::Collection;
            usable_kind(permissions, collection)?;
            changed.permissions = fitting(permissions, collection);
            if let Some(origin) = &link.origin {
                self.within_rights(changed.permissions, (link.space, link.node), origin).await?;
            }
        }
        changed.password_hash = password.unwrap_or(changed.password_hash);
        changed.expires = change.expires.unwrap_or(changed.expires);
        changed.label = change.label.unwrap_or(changed.label);
        // A label can be changed whatever has been forbidden since.
        if (changed.permissions, &changed.password_hash, changed.expires) != (link.permissions, &link.password_hash, link.expires) {
            let (permissions, password) = (changed.permissions, changed.password_hash.is_some());
            changed.expires = self.policies.judge(Wanted { permissions, password, expires: changed.expires }, false, self.clock.now())?;
        }
        self.store.commit(kept(&changed)).await?;
        tracing::info!(share.id = id.0, "a link was changed");
        // What it gave to users of other servers follows it.
        self.forest.shares().ring();
        Ok(self.publish(changed))
    }

    /// Removes a link; its token stops at once.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn remove(&self, id: LinkId) -> Result<()> {
        let _changing = self.changing.lock().await;
        let Some(link) = self.get(id) else { return Err(Refusal::not_found(format!("there is no link {}", id.0))) };
        let gone = Batch::new();
        let gone = if link.origin.is_some() { gone.delete::<SharedLink>(&link.key()) } else { gone.delete::<Link>(&link.key()) };
        self.details.end(id, gone).await?;
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(&link);
        self.tell_forest(link.space);
        self.forest.shares().ring();
        tracing::info!(share.id = id.0, "a link was removed");
        Ok(())
    }

    /// Removes the links whose nodes, or what they were made from, are gone. They open nothing already: this keeps the list true.
    ///
    /// # Errors
    /// Where a home cannot be read.
    pub async fn sweep(&self) -> Result<()> {
        self.sweep_links(self.all()).await
    }

    /// Removes the links of one home whose nodes are gone. Done before something comes back from the trash: a link dies with its node, and is
    /// not revived with it.
    ///
    /// # Errors
    /// Where the home cannot be read.
    pub async fn sweep_home(&self, space: SpaceId) -> Result<()> {
        self.sweep_links(self.all().into_iter().filter(|link| link.space == space).collect()).await
    }

    /// [`Sharing::sweep`] for what concerns one user, before it is listed.
    ///
    /// # Errors
    /// Where a home cannot be read.
    pub async fn sweep_for(&self, user: &User) -> Result<()> {
        self.sweep_links(self.list(user)).await
    }

    async fn sweep_links(&self, links: Vec<Arc<Link>>) -> Result<()> {
        for link in links {
            if self.links.read().unwrap_or_else(PoisonError::into_inner).ended.contains(&link.id) {
                self.remove_if_there(link.id).await?;
                continue;
            }
            let Some(space) = self.spaces.get(link.space) else { continue };
            if space.node(link.node).await?.is_none() {
                self.remove_if_there(link.id).await?;
            }
        }
        Ok(())
    }

    /// Removes a link that somebody else may be removing, too.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn remove_if_there(&self, id: LinkId) -> Result<()> {
        match self.remove(id).await {
            Err(refusal) if refusal.reason == Reason::NotFound => Ok(()),
            removed => removed,
        }
    }

    async fn hashed(&self, password: Option<Secret>) -> Result<Option<Secret>> {
        let Some(password) = password else { return Ok(None) };
        usable_password(&password)?;
        Ok(Some(self.gate.passwords.hash(password).await?))
    }

    fn publish(&self, link: Link) -> Arc<Link> {
        let link = Arc::new(link);
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&link));
        self.tell_forest(link.space);
        link
    }

    fn tell_forest(&self, space: SpaceId) {
        let nodes = self.all().iter().filter(|link| link.space == space).map(|link| link.node).collect();
        self.forest.set_linked(space, nodes);
    }
}

impl Links {
    fn insert(&mut self, link: Arc<Link>) {
        if !self.ended.contains(&link.id) {
            self.by_token.insert(digest(link.token.expose()), link.id);
        }
        self.by_id.insert(link.id, link);
    }

    fn remove(&mut self, link: &Link) {
        self.by_token.remove(&digest(link.token.expose()));
        self.by_id.remove(&link.id);
        self.ended.remove(&link.id);
    }

    /// Closes a link for ever.
    fn end(&mut self, id: LinkId) {
        if let Some(link) = self.by_id.get(&id) {
            self.by_token.remove(&digest(link.token.expose()));
            self.ended.insert(id);
        }
    }

    /// Closes the links that were made from these: who gets the same again has made no link of it.
    fn end_with(&mut self, ends: &[Arc<ReceivedShare>]) {
        let over = |origin: &LinkOrigin| ends.iter().any(|end| end.share == origin.parent && end.user == origin.shared_by);
        let links: Vec<LinkId> = self.by_id.values().filter(|link| link.origin.as_ref().is_some_and(over)).map(|link| link.id).collect();
        links.into_iter().for_each(|id| self.end(id));
    }
}

/// A link as it is kept.
fn kept(link: &Link) -> Batch {
    match &link.origin {
        None => Batch::new().put(link),
        Some(origin) => Batch::new().put(&SharedLink { link: link.clone(), origin: origin.clone() }),
    }
}

/// Whether a link no longer works.
fn is_expired(link: &Link, now: Timestamp) -> bool {
    link.expires.is_some_and(|at| at <= now)
}

fn usable_kind(permissions: Permissions, collection: bool) -> Result<()> {
    if !collection && permissions == Permissions::CREATE {
        return Err(Refusal::refused("a file cannot take uploads; only a folder can be a file drop"));
    }
    Ok(())
}

/// Nothing is made or deleted below a link to a file: it is its own root.
fn fitting(permissions: Permissions, collection: bool) -> Permissions {
    if collection { permissions } else { permissions & (Permissions::READ | Permissions::UPDATE) }
}

/// The rights of a link by the word that commands use.
///
/// # Errors
/// A refusal that names the words.
pub fn permissions_named(word: &str) -> Result<Permissions> {
    match word {
        "read" => Ok(Permissions::READ),
        "edit" => Ok(Permissions::EDIT),
        "drop" => Ok(Permissions::CREATE),
        _ => Err(Refusal::new(Reason::Usage, format!("permissions are read, edit or drop, not `{word}`"))),
    }
}

/// The word for the rights of a link.
pub fn permissions_word(permissions: Permissions) -> &'static str {
    if !permissions.contains(Permissions::READ) {
        "drop"
    } else if permissions.contains(Permissions::UPDATE) {
        "edit"
    } else if permissions.contains(Permissions::CREATE) {
        "upload"
    } else {
        "read"
    }
}
