//! Reading: stat, list, open, properties, quota.

use std::collections::{HashMap, HashSet};

use crate::domain::{Error, Kind, MountId, Node, Permissions, PropertyName, Quota, Result, TreePath};
use crate::tree::etags::Roots;
use crate::tree::resolve::{MountTarget, Target};
use crate::tree::{Access, Entry, Listing, Source, View};

impl View {
    /// What stands at a path.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`] below a mount whose remote is away.
    pub async fn stat(&self, path: &TreePath) -> Result<Entry> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::Home { node, .. } => Ok(self.home_entry(node).await),
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Mount(target) => self.stat_mounted(&target).await,
            Target::Shared(target) => {
                let entry = Box::pin(target.view?.stat(&target.inner)).await?;
                Ok(self.through(&target.inner, entry))
            }
        }
    }

    pub(super) async fn stat_mounted(&self, target: &MountTarget) -> Result<Entry> {
        let node = self.handle(target.mount)?.stat(&self.via, &target.inner).await?;
        let access = self.mount_access(target.mount, &node, target.inner.is_root());
        Ok(Entry { node, access })
    }

    pub(super) async fn home_entry(&self, node: Node) -> Entry {
        let node = self.with_composed_etag(node).await;
        let access = self.home_access();
        Entry { access: Access { granted: access.granted & node.permissions, ..access }, node }
    }

    fn home_entry_with(&self, roots: &Roots, node: Node) -> Entry {
        let access = self.home_access();
        Entry { access: Access { granted: access.granted & node.permissions, ..access }, node: roots.above(node) }
    }

    pub(super) fn home_access(&self) -> Access {
        let mount = self.within.as_ref().map(|within| within.mount);
        Access { granted: self.granted, shared: mount.is_some(), mount_root: false, mount }
    }

    /// A collection and its members. For a file, [`Error::NotCollection`]. Listing a home makes no outbound call.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub async fn list(&self, path: &TreePath) -> Result<Listing> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Home { at, node } => {
                let roots = self.roots(node.id).await;
                let (node, children) = self.space.list(&at).await?;
                let own = self.home_entry_with(&roots, node);
                let (mut mounted, mut hidden) = (HashMap::new(), HashSet::new());
                for row in children.values().filter(|child| child.kind == Kind::Mount) {
                    let mount = MountId(row.id.0);
                    match self.mounted_entry(mount, row).await {
                        Some(entry) => drop(mounted.insert(mount, entry)),
                        None => drop(hidden.insert(mount)),
                    }
                }
                let composed = roots.composed(children.values());
                Ok(Listing { own, children, access: self.home_access(), mounted, composed, hidden })
            }
            Target::Mount(target) => {
                let (node, children) = self.handle(target.mount)?.list(&self.via, &target.inner).await?;
                let access = self.mount_access(target.mount, &node, target.inner.is_root());
                let below = Access { granted: self.granted, shared: true, mount_root: false, mount: Some(target.mount) };
                let own = Entry { node, access };
                let (mounted, composed) = (HashMap::new(), HashMap::new());
                Ok(Listing { own, children, access: below, mounted, composed, hidden: HashSet::new() })
            }
            Target::Shared(target) => {
                let mut listing = Box::pin(target.view?.list(&target.inner)).await?;
                listing.own = self.through(&target.inner, listing.own);
                Ok(listing)
            }
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`View::stat`]; [`Error::IsCollection`] for a folder.
    pub async fn open(&self, path: &TreePath) -> Result<(Entry, Source)> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Home { at, node } => {
                if node.is_collection() {
                    return Err(Error::IsCollection);
                }
                let (node, file) = self.space.open(&at).await?;
                Ok((self.home_entry(node).await, Source::Home(file)))
            }
            Target::Shared(target) => {
                let (entry, source) = Box::pin(target.view?.open(&target.inner)).await?;
                Ok((self.through(&target.inner, entry), source))
            }
            Target::Mount(target) => {
                let (node, file) = self.handle(target.mount)?.open(&self.via, &target.inner).await?;
                let access = self.mount_access(target.mount, &node, target.inner.is_root());
                Ok((Entry { node, access }, Source::Remote(file, self.via.clone())))
            }
        }
    }

    /// The dead properties of a node, as whole XML elements.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub async fn properties(&self, path: &TreePath) -> Result<Vec<(PropertyName, Box<str>)>> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::HomeFree { .. } => Err(Error::NotFound),
            Target::Home { node, .. } => self.space.properties(node.id).await,
            Target::Mount(target) => self.handle(target.mount)?.properties(&self.via, &target.inner).await,
            Target::Shared(target) => Box::pin(target.view?.properties(&target.inner)).await,
        }
    }

    /// Space used and left at a path (RFC 4331).
    ///
    /// # Errors
    /// As [`View::stat`].
    pub async fn quota(&self, path: &TreePath) -> Result<Quota> {
        self.demand(self.granted, Permissions::READ)?;
        match self.resolve(path).await? {
            Target::Home { .. } | Target::HomeFree { .. } => self.space.quota().await,
            Target::Mount(target) => self.handle(target.mount)?.quota(&self.via).await,
            Target::Shared(target) => Box::pin(target.view?.quota(&target.inner)).await,
        }
    }

    /// Whether a walk without end from here would leave this server: a mount is there or below, in what others shared included.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub async fn mounts_below(&self, path: &TreePath) -> Result<bool> {
        match self.resolve(path).await? {
            Target::Home { node, .. } => Ok(self.leaves_server(node.id).await),
            Target::HomeFree { .. } => Ok(false),
            Target::Mount(_) => Ok(true),
            Target::Shared(target) => Box::pin(target.view?.mounts_below(&target.inner)).await,
        }
    }
}
