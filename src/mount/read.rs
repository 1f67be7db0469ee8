//! Reading through a mount: stat, list, open, properties, quota.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::domain::{Children, Error, Etag, Name, Node, PropertyName, Quota, Result, TreePath};
use crate::limits::REMOTE_CONTENT_BYTES_MAX;
use crate::mount::MountHandle;
use crate::mount::cache::{self, Cached, Stat};
use crate::mount::nodes;
use crate::remote::{Listing, Traits};
use crate::wire::{Incoming, Via};

impl MountHandle {
    /// What stands at a path inside the mount.
    ///
    /// # Errors
    /// [`Error::NotFound`] only where the remote's root answers; [`Error::Unavailable`] below every state but online.
    pub async fn stat(&self, via: &Via, path: &TreePath) -> Result<Node> {
        let (node, _) = self.look(via, path).await?;
        Ok(self.exposed(path, node))
    }

    /// The node with the remote's own version, and the etag to send to the remote, where that does not say it.
    pub(super) async fn look(&self, via: &Via, path: &TreePath) -> Result<(Node, Option<String>)> {
        if let Some(known) = self.known(path) {
            return known.ok_or(Error::NotFound);
        }
        let asked = Instant::now();
        let found = self.ask(via, path, |share| async move { share.stat(via, path).await }).await;
        match found {
            Ok(found) => {
                let (node, raw) = self.adopt(path, &found);
                let mut live = self.live();
                if path.is_root() && live.root_etag_is(found.own.etag.as_deref()) {
                    live.confirmed = Some(asked);
                }
                live.cache.remember(path, Stat { found: Some((node.clone(), raw.clone())), asked });
                Ok((node, raw))
            }
            Err(Error::NotFound) => {
                self.live().cache.remember(path, Stat { found: None, asked });
                Err(Error::NotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// What is known freshly enough: the node, or that there is none.
    #[expect(clippy::option_option, reason = "unknown, known to be absent, known: three answers")]
    fn known(&self, path: &TreePath) -> Option<Option<(Node, Option<String>)>> {
        let live = self.live();
        if live.record.state != crate::domain::MountState::Online {
            return None;
        }
        if let Some(stat) = live.cache.stat(path).filter(|stat| live.is_fresh(stat.asked)) {
            return Some(stat.found.clone());
        }
        drop(live);
        let (parent, name) = path.split_last()?;
        let cached = self.fresh_listing(&parent)?;
        let node = cached.children.get(name.as_str());
        let has_properties = self.traits().dead_properties;
        Some(node.map(|node| (Node { has_properties, ..node.clone() }, cached.raws.get(&Some(name)).cloned())))
    }

    /// A cached listing that may still be used: asked for at most two seconds ago, or its etag stands in a parent's listing that may be
    /// used, up to the root, whose etag the poll confirms.
    fn fresh_listing(&self, path: &TreePath) -> Option<Arc<Cached>> {
        let propagates = self.traits().etags_propagate;
        let live = self.live();
        let wanted = live.cache.listing(path)?;
        let (mut at, mut cached) = (path.clone(), Arc::clone(wanted));
        loop {
            if live.is_fresh(cached.asked) && !live.cache.is_outdated(&at, &cached) {
                return Some(Arc::clone(wanted));
            }
            // A collection that the remote gives no etag has one of ours, which tells nothing of what is in it.
            if !propagates || cached.is_nameless() {
                return None;
            }
            let Some((parent, name)) = at.split_last() else {
                let confirmed = live.confirmed.is_some_and(|asked| live.is_fresh(asked));
                return (confirmed && live.root.etag == cached.own.etag).then(|| Arc::clone(wanted));
            };
            let above = Arc::clone(live.cache.listing(&parent)?);
            if above.children.get(name.as_str()).map(|node| &node.etag) != Some(&cached.own.etag) {
                return None;
            }
            (at, cached) = (parent, above);
        }
    }

    /// A collection and its members.
    ///
    /// # Errors
    /// As [`MountHandle::stat`]; [`Error::NotCollection`] for a file.
    pub async fn list(&self, via: &Via, path: &TreePath) -> Result<(Node, Arc<Children>)> {
        let online = self.state() == crate::domain::MountState::Online;
        let cached = match self.fresh_listing(path).filter(|_| online) {
            Some(cached) => cached,
            None => {
                let fetched = self.fetch(via, path).await;
                self.note_missed(path, online, &fetched);
                fetched?
            }
        };
        Ok(self.exposed_listing(path, &cached))
    }

    /// A listing as clients see it. Etags and members are read in one moment, so that none is newer than the other.
    fn exposed_listing(&self, path: &TreePath, cached: &Arc<Cached>) -> (Node, Arc<Children>) {
        let live = self.live();
        let cached = live.cache.listing(path).unwrap_or(cached);
        let mut own = cached.own.clone();
        if path.is_root() {
            own.etag = live.root.etag.clone();
        }
        if Traits::of(live.record.vendor).etags_propagate {
            return (own, Arc::clone(&cached.children));
        }
        if !path.is_root() {
            own.etag = live.cache.composed(self.id(), path, &own.etag);
        }
        let mut children = cached.children.as_ref().clone();
        for (name, node) in children.iter_mut().filter(|(_, node)| node.is_collection()) {
            node.etag = live.cache.composed(self.id(), &path.join(name), &node.etag);
        }
        (own, Arc::new(children))
    }

    /// Asks for a listing, once for all who wait for it.
    pub(super) async fn fetch(&self, via: &Via, path: &TreePath) -> Result<Arc<Cached>> {
        let wanted = Instant::now();
        let gate = self.flight(path);
        let _turn = gate.lock().await;
        {
            let live = self.live();
            let shared = live.cache.listing(path).filter(|cached| cached.asked >= wanted && live.is_fresh(cached.asked));
            if let Some(cached) = shared {
                return Ok(Arc::clone(cached));
            }
        }
        let asked = Instant::now();
        let found = self.ask(via, path, |share| async move { share.list(via, path).await }).await?;
        if !found.own.collection.unwrap_or_default() {
            return Err(Error::NotCollection);
        }
        if found.dropped > 0 {
            tracing::warn!(mount.id = self.id().0, dropped = found.dropped, "a remote listed names that cannot be used");
        }
        let cached = Arc::new(self.cached(path, &found, asked));
        self.keep(path, &cached, &found);
        Ok(cached)
    }

    fn cached(&self, path: &TreePath, found: &Listing, asked: Instant) -> Cached {
        let (traits, salt) = (self.traits(), self.live().salt);
        let (own, raw) = nodes::node(self.id(), path, &found.own, traits, salt);
        let mut raws: HashMap<Option<Name>, String> = HashMap::new();
        raws.extend(raw.map(|raw| (None, raw)));
        let mut children: Children = BTreeMap::new();
        for (name, remote) in &found.members {
            let (mut node, raw) = nodes::node(self.id(), &path.join(name), remote, traits, salt);
            // Asking for dead properties costs a request per node: whoever asks for one node pays it, a listing does not.
            node.has_properties = false;
            raws.extend(raw.map(|raw| (Some(name.clone()), raw)));
            children.insert(name.clone(), node);
        }
        Cached { own, children: Arc::new(children), raws, asked }
    }

    /// Keeps a listing; of the root's, the root follows, so that its etag never is newer than the listing.
    fn keep(&self, path: &TreePath, cached: &Arc<Cached>, found: &Listing) {
        let known = self.live().cache.knows(path);
        let before = if known { None } else { cache::restore(&self.server.store, self.id(), path) };
        cache::save(&self.server.store, self.id(), path, cached);
        let propagates = self.traits().etags_propagate;
        let named = !cached.is_nameless();
        let mut live = self.live();
        if let Some(before) = before {
            live.cache.recall(path, &before);
        }
        // What the root was before is not known: it may have changed.
        let strange = path.is_root() && !live.cache.knows(path);
        let changed = live.cache.keep(path, Arc::clone(cached)) || strange;
        if path.is_root() {
            let etag = live.root.etag.clone();
            live.root = Node { etag, ..cached.own.clone() };
            live.quota = nodes::quota(&found.own);
            live.seen.clone_from(&found.own.etag);
            live.confirmed = Some(cached.asked);
            live.contains.clone_from(&found.contains);
            if propagates && named && (changed || live.record.root_etag.is_none()) {
                live.raise_root(cached.own.etag.clone());
            }
        }
        if !(propagates && named) && changed {
            // Made from the last one, so that it goes on from there after a restart.
            let etag = nodes::hashed(self.id(), live.root.etag.to_string().as_bytes());
            live.raise_root(etag);
        }
    }

    /// A single answer as a node of ours.
    fn adopt(&self, path: &TreePath, found: &Listing) -> (Node, Option<String>) {
        let (traits, salt) = (self.traits(), self.live().salt);
        let (node, raw) = nodes::node(self.id(), path, &found.own, traits, salt);
        if path.is_root() {
            let mut live = self.live();
            live.quota = nodes::quota(&found.own);
            let etag = live.root.etag.clone();
            live.root = Node { etag, ..node.clone() };
            if !node.is_collection() && live.seen != found.own.etag {
                live.seen.clone_from(&found.own.etag);
                live.raise_root(node.etag.clone());
            }
        }
        (node, raw)
    }

    /// What clients see of a collection: the root with the etag that was stored for it, and on remotes whose etags do not tell of changes
    /// below, one composed of what is known.
    pub(super) fn exposed(&self, path: &TreePath, node: Node) -> Node {
        if !node.is_collection() {
            return node;
        }
        let propagates = self.traits().etags_propagate;
        let live = self.live();
        let etag: Etag = if path.is_root() {
            live.root.etag.clone()
        } else if propagates {
            return node;
        } else {
            live.cache.composed(self.id(), path, &node.etag)
        };
        Node { etag, ..node }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`MountHandle::stat`]; [`Error::IsCollection`].
    pub async fn open(self: &Arc<Self>, via: &Via, path: &TreePath) -> Result<(Node, RemoteFile)> {
        let (node, raw) = self.look(via, path).await?;
        if node.is_collection() {
            return Err(Error::IsCollection);
        }
        let file = RemoteFile { handle: Arc::clone(self), path: path.clone(), size: node.size, etag: node.etag.clone(), raw };
        Ok((node, file))
    }

    /// The dead properties of a node.
    ///
    /// # Errors
    /// As [`MountHandle::stat`].
    pub async fn properties(&self, via: &Via, path: &TreePath) -> Result<Vec<(PropertyName, Box<str>)>> {
        self.ask(via, path, |share| async move { share.dead_properties(via, path).await }).await
    }

    /// Space used and left, as the remote's root said when it was last asked. No outbound call: a listing of the parent shows it too, and
    /// waits for no remote.
    ///
    /// # Errors
    /// None today; the signature is that of every backend.
    #[expect(clippy::unused_async, reason = "the verbs of all backends are alike")]
    pub async fn quota(&self, _via: &Via) -> Result<Quota> {
        let live = self.live();
        Ok(live.quota.unwrap_or(Quota { used: live.root.size, available: None }))
    }
}

/// A file of a remote, opened by what its listing says.
pub struct RemoteFile {
    handle: Arc<MountHandle>,
    path: TreePath,
    size: u64,
    etag: Etag,
    raw: Option<String>,
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RemoteFile({} bytes)", self.size)
    }
}

impl RemoteFile {
    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole content of a small file whose etag names it, from memory if it was read before; none for others.
    ///
    /// # Errors
    /// As [`RemoteFile::stream`].
    pub async fn small(&self, via: &Via) -> Result<Option<Bytes>> {
        // An etag of ours is made from what a plain server says of time and size, which need not change with every content.
        let named = self.raw.is_none() && self.handle.traits().etags_propagate;
        if !named || self.size > REMOTE_CONTENT_BYTES_MAX {
            return Ok(None);
        }
        let (contents, mount) = (&self.handle.server.contents, self.handle.id());
        if let Some(kept) = contents.get(mount, &self.path, &self.etag) {
            return Ok(Some(kept));
        }
        let mut body = self.stream(via, 0..self.size).await?;
        let mut content = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        while let Some(piece) = body.next().await {
            let Ok(piece) = piece else { return Err(Error::Changed) };
            content.extend_from_slice(&piece);
        }
        let content = Bytes::from(content);
        contents.keep(mount, &self.path, &self.etag, content.clone());
        Ok(Some(content))
    }

    /// Sends the GET and hands on what comes.
    ///
    /// # Errors
    /// [`Error::Changed`] where size or etag are no longer those of the listing; [`Error::Unavailable`].
    pub async fn stream(&self, via: &Via, range: Range<u64>) -> Result<Incoming> {
        if range.is_empty() {
            return Ok(Box::pin(stream::empty()));
        }
        let (path, size) = (&self.path, self.size);
        let listed = self.raw.clone().unwrap_or_else(|| self.etag.quoted());
        let listed = Some(listed.as_str()).filter(|listed| !listed.is_empty());
        let received = self.handle.ask(via, path, |share| async move { share.get(via, path, range, size, listed).await }).await;
        if matches!(received, Err(Error::Changed)) {
            self.handle.live().cache.wrote(path);
        }
        Ok(received?.body)
    }
}
