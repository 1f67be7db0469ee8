//! Finding nodes: from memory where it is there and its directory has not changed, else on a blocking thread.

use std::sync::Arc;

use crate::content::{Entry, OpenFile, Stat};
use crate::domain::{At, Children, Error, FileStamp, Kind, MountId, Node, NodeId, Result, TreePath};
use crate::space::reconcile::Fresh;
use crate::space::state::{Parent, Walk};
use crate::space::watch::Wanted;
use crate::space::{Space, mount_of, unavailable};
use crate::store::Place;

/// What a path leads to.
#[derive(Debug, Clone)]
pub enum Resolved {
    /// A file or collection.
    Node(Node),
    /// A mountpoint, on the way or at the end.
    Mount {
        /// Which.
        mount: MountId,
        /// Where it is below the base, its own name included.
        at: TreePath,
        /// What is left below it.
        inner: TreePath,
        /// The mountpoint's row.
        node: Node,
    },
    /// Nothing.
    Missing {
        /// Whether the collection that could hold it is there.
        parent_exists: bool,
    },
}

/// A path goes through at most this many loads; more means that memory is too small for it.
const ROUNDS_MAX: usize = 2048;

impl Space {
    /// What a path leads to now.
    pub async fn resolve(&self, at: &At) -> Result<Resolved> {
        let walk = self.walk_fresh(at).await?;
        self.resolved(at, walk)
    }

    /// [`Space::resolve`] for a writer that will look at the name itself: a name that is free in memory is not looked up in its directory.
    pub(super) async fn resolve_for_write(&self, at: &At) -> Result<Resolved> {
        let walk = self.state().walk(at.base, &at.path);
        match walk {
            Walk::Missing { parent: Some(_), .. } => self.resolved(at, walk),
            Walk::Missing { .. } | Walk::Found { .. } | Walk::Mount { .. } | Walk::Load(_) | Walk::Unplaced(_) => self.resolve(at).await,
        }
    }

    fn resolved(&self, at: &At, walk: Walk) -> Result<Resolved> {
        match walk {
            Walk::Found { node, .. } => Ok(Resolved::Node(node)),
            Walk::Mount { node, path, inner, .. } => {
                let base = self.state().path_of(at.base).map_err(|_unplaced| Error::NotFound)?;
                let at = path.strip_prefix(&base).unwrap_or_default();
                Ok(Resolved::Mount { mount: mount_of(&node), at, inner, node })
            }
            Walk::Missing { parent, .. } => Ok(Resolved::Missing { parent_exists: parent.is_some() }),
            Walk::Load(_) | Walk::Unplaced(_) => Err(Error::NotFound),
        }
    }

    /// A collection and its members, from one moment. Asks the directory first whether something was added or removed from outside.
    pub async fn list(&self, at: &At) -> Result<(Node, Arc<Children>)> {
        if let Some(listed) = self.list_from_memory(at)? {
            return Ok(listed);
        }
        let structure = Arc::clone(&self.structure).read_owned().await;
        let at = at.clone();
        self.blocking(move |space| {
            let listed = space.list_now(&at);
            drop(structure);
            listed
        })
        .await
    }

    fn list_from_memory(&self, at: &At) -> Result<Option<(Node, Arc<Children>)>> {
        let mut state = self.state();
        let (node, path) = match state.walk(at.base, &at.path) {
            Walk::Found { node, path, .. } => (node, path),
            Walk::Mount { .. } | Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_) => return Ok(None),
        };
        if node.kind != Kind::Collection {
            return Err(Error::NotCollection);
        }
        let Some(folder) = state.folders.get(&node.id) else {
            return Ok(None);
        };
        let (children, stamp, again_at_ns) = (Arc::clone(&folder.children), folder.stamp, folder.again_at_ns);
        drop(state);
        if !self.is_current(&path, stamp, again_at_ns)? {
            return Ok(None);
        }
        if !self.watcher.touch((self.id, node.id)) {
            self.watcher.watch(&self.files, (self.id, node.id), &self.disk(&path), Wanted::Used);
        }
        Ok(Some((node, children)))
    }

    fn list_now(&self, at: &At) -> Result<(Node, Arc<Children>)> {
        for _ in 0..ROUNDS_MAX {
            let node = match self.walk_now(at)? {
                Walk::Found { node, .. } if node.kind == Kind::Collection => node,
                Walk::Found { .. } => return Err(Error::NotCollection),
                Walk::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
                Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_) => return Err(Error::NotFound),
            };
            self.refresh_or_parent(node.id)?;
            let mut state = self.state();
            if let Walk::Found { node: now, .. } = state.walk(at.base, &at.path)
                && now.id == node.id
                && let Some(folder) = state.folders.get(&now.id)
            {
                return Ok((now, Arc::clone(&folder.children)));
            }
        }
        Err(unavailable())
    }

    /// Opens a file for reading. What others did to it in place is adopted first, so that the node always fits the bytes.
    pub async fn open(&self, at: &At) -> Result<(Node, OpenFile)> {
        let walk = self.state().walk(at.base, &at.path);
        if let Walk::Found { node, path, .. } = walk {
            if node.kind == Kind::Collection {
                return Err(Error::IsCollection);
            }
            if let Some((file, stat)) = self.files.open_file(&self.disk(&path)).map_err(unreadable)?
                && fits(&node, &stat)
            {
                return Ok((node, OpenFile::new(file, stat.size)));
            }
        }
        let held = self.hold(at, false).await?;
        let at = at.clone();
        self.blocking(move |space| {
            let opened = space.open_now(&at);
            drop(held);
            opened
        })
        .await
    }

    /// With the name held: the row and the file can only be moved by others than us.
    fn open_now(&self, at: &At) -> Result<(Node, OpenFile)> {
        for _ in 0..4 {
            let (parent, node, path) = match self.walk_now(at)? {
                Walk::Found { node, .. } if node.kind == Kind::Collection => return Err(Error::IsCollection),
                Walk::Found { place, node, path, .. } => (place.parent, node, path),
                Walk::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
                Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_) => return Err(Error::NotFound),
            };
            if let Some((file, stat)) = self.files.open_file(&self.disk(&path)).map_err(unreadable)?
                && fits(&node, &stat)
            {
                return Ok((node, OpenFile::new(file, stat.size)));
            }
            let (folder, name) = path.split_last().ok_or(Error::IsCollection)?;
            self.adopt_one(parent, &folder, name)?;
        }
        Err(Error::Changed)
    }

    /// The path of a node from the root of its space; none if it is gone.
    pub async fn path_of(&self, node: NodeId) -> Result<Option<TreePath>> {
        let known = self.state().path_of(node);
        match known {
            Ok(path) => Ok(Some(path)),
            Err(_) => self.blocking(move |space| space.path_now(node)).await,
        }
    }

    /// A node by its number; none if it is gone.
    pub async fn node(&self, node: NodeId) -> Result<Option<Node>> {
        match self.resolve(&At { base: node, ..At::home(TreePath::root()) }).await {
            Ok(Resolved::Node(node) | Resolved::Mount { node, .. }) => Ok(Some(node)),
            Ok(Resolved::Missing { .. }) | Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a node is at or below another one now.
    pub async fn is_within(&self, node: NodeId, collection: NodeId) -> Result<bool> {
        if node == collection {
            return Ok(true);
        }
        let (Some(path), Some(above)) = (self.path_of(node).await?, self.path_of(collection).await?) else {
            return Ok(false);
        };
        Ok(path.starts_with(&above))
    }

    /// Whether a node is gone for good: deleted, or vanished from the disk so long ago that it will not be known again.
    pub async fn is_gone(&self, node: NodeId) -> Result<bool> {
        if self.path_of(node).await?.is_some() {
            return Ok(false);
        }
        self.blocking(move |space| space.is_gone_now(node)).await
    }

    fn is_gone_now(&self, node: NodeId) -> Result<bool> {
        let mut at = node;
        while at != NodeId::ROOT {
            let Some(place) = self.store.place(self.id, at)? else {
                let garbage = self.store.garbage(self.id, at)?;
                return Ok(garbage.is_none_or(|garbage| garbage.keep_until <= self.clock.now()));
            };
            at = place.parent;
        }
        Ok(false)
    }

    /// Walks, and looks at the directory once more before it says that something is missing. Takes `structure` if it has to.
    pub(super) async fn walk_fresh(&self, at: &At) -> Result<Walk> {
        let walk = self.state().walk(at.base, &at.path);
        match &walk {
            Walk::Found { .. } | Walk::Mount { .. } => return Ok(walk),
            Walk::Missing { deepest, .. } if self.is_fresh(*deepest)? => return Ok(walk),
            // Others write into this directory just now: the one name tells as much as all of them.
            Walk::Missing { parent: Some(parent), .. } if self.is_free_on_disk(parent)? => return Ok(walk),
            Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_) => {}
        }
        let structure = Arc::clone(&self.structure).read_owned().await;
        let at = at.clone();
        self.blocking(move |space| {
            let walk = space.walk_fresh_now(&at);
            drop(structure);
            walk
        })
        .await
    }

    /// [`Space::walk_fresh`] with `structure` held, on a blocking thread.
    pub(super) fn walk_fresh_now(&self, at: &At) -> Result<Walk> {
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let walk = self.walk_now(at)?;
            match &walk {
                Walk::Missing { deepest, .. } if last != Some(*deepest) && !self.is_fresh(*deepest)? => {
                    last = Some(*deepest);
                    self.refresh_or_parent(*deepest)?;
                }
                Walk::Missing { .. } | Walk::Found { .. } | Walk::Mount { .. } | Walk::Load(_) | Walk::Unplaced(_) => return Ok(walk),
            }
        }
        Err(unavailable())
    }

    /// Walks with `structure` held, on a blocking thread, loading what is not in memory.
    pub(super) fn walk_now(&self, at: &At) -> Result<Walk> {
        for _ in 0..ROUNDS_MAX {
            let walk = self.state().walk(at.base, &at.path);
            match walk {
                Walk::Load(id) => self.refresh_or_parent(id)?,
                Walk::Unplaced(id) => {
                    if !self.locate(id)? {
                        return Err(Error::NotFound);
                    }
                }
                Walk::Found { .. } | Walk::Mount { .. } | Walk::Missing { .. } => return Ok(walk),
            }
        }
        Err(unavailable())
    }

    /// Brings a collection up to date; if its directory is gone, its parent, so that the row goes too.
    pub(super) fn refresh_or_parent(&self, id: NodeId) -> Result<()> {
        let mut at = id;
        while self.freshen(at, false, &mut Default::default())? == Fresh::Vanished {
            if at == NodeId::ROOT {
                return Err(unavailable());
            }
            let Some(place) = self.state().places.get(&at).cloned() else {
                return Ok(());
            };
            // A new folder has its row before it has its name on disk: whoever makes it holds the name until then.
            self.names.wait_briefly(place.parent, &place.name);
            at = place.parent;
            self.state().distrust(at);
        }
        Ok(())
    }

    /// Looks up in the store where a node is; false if it is gone.
    fn locate(&self, id: NodeId) -> Result<bool> {
        let Some(place) = self.store.place(self.id, id)? else {
            return Ok(false);
        };
        let here = self.store.node(self.id, &place)?.is_some_and(|node| node.id == id);
        if here {
            self.state().placed(id, place);
        }
        Ok(here)
    }

    /// The path of a node; none if it is gone. Blocks.
    pub(super) fn path_now(&self, id: NodeId) -> Result<Option<TreePath>> {
        loop {
            let known = self.state().path_of(id);
            match known {
                Ok(path) => return Ok(Some(path)),
                Err(unplaced) => {
                    if !self.locate(unplaced)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Where a node is. Blocks.
    pub(super) fn place_now(&self, id: NodeId) -> Result<Option<Place>> {
        let known = self.state().places.get(&id).cloned();
        match known {
            Some(place) => Ok(Some(place)),
            None => Ok(self.store.place(self.id, id)?),
        }
    }

    /// Whether what is known of a collection's members is right, as far as its directory can tell.
    pub(super) fn is_fresh(&self, id: NodeId) -> Result<bool> {
        let state = self.state();
        let (Ok(path), Some(folder)) = (state.path_of(id), state.folders.get(&id)) else {
            return Ok(false);
        };
        let (stamp, again_at_ns) = (folder.stamp, folder.again_at_ns);
        drop(state);
        self.is_current(&path, stamp, again_at_ns)
    }

    /// Whether a name that no row has is free in its directory too, and that is still the directory of the row.
    fn is_free_on_disk(&self, parent: &Parent) -> Result<bool> {
        let inode = self.state().folders.get(&parent.id).map_or(0, |folder| folder.stamp.inode);
        let is_directory = |stat: &Stat| stat.entry == Entry::Directory && stat.stamp.inode == inode;
        let look = |path: &TreePath| self.files.stat(&self.disk(path)).map_err(unreadable);
        Ok(inode != 0 && look(&parent.path)?.as_ref().is_some_and(is_directory) && look(&parent.path.join(&parent.name))?.is_none())
    }

    fn is_current(&self, path: &TreePath, stamp: FileStamp, again_at_ns: i64) -> Result<bool> {
        if stamp.inode == 0 || (again_at_ns != 0 && crate::content::now_ns() >= again_at_ns) {
            return Ok(false);
        }
        let stat = self.files.stat(&self.disk(path)).map_err(unreadable)?;
        Ok(stat.is_some_and(|stat| stat.entry == Entry::Directory && stat.stamp == stamp))
    }

    /// Parent and name of a path for a writer; the node if it is there.
    pub(super) fn slot(&self, walk: Walk) -> Result<(NodeId, TreePath)> {
        match walk {
            Walk::Found { place, path, .. } if !path.is_root() => Ok((place.parent, path)),
            Walk::Found { .. } => Err(Error::Forbidden("the root of a home stays where it is")),
            Walk::Mount { place, path, inner, .. } if inner.is_root() => Ok((place.parent, path)),
            Walk::Mount { .. } => Err(Error::Unsupported("a mount is asked where it is, not in its home")),
            Walk::Missing { parent: Some(Parent { id, path, name, .. }), .. } => Ok((id, path.join(&name))),
            Walk::Missing { parent: None, .. } => Err(Error::ParentMissing),
            Walk::Load(_) | Walk::Unplaced(_) => Err(Error::NotFound),
        }
    }
}

/// Whether a file is the one that its row tells of.
pub(super) fn fits(node: &Node, stat: &Stat) -> bool {
    let (row, disk) = (&node.stamp, &stat.stamp);
    stat.entry == Entry::File
        && node.size == stat.size
        && row.inode == disk.inode
        && row.mtime_ns == disk.mtime_ns
        && (row.ctime_ns == 0 || row.ctime_ns == disk.ctime_ns)
}

/// What the disk refuses to show is never absent: 503 (DESIGN 1.2).
pub(super) fn unreadable(error: std::io::Error) -> Error {
    tracing::warn!(%error, "the disk does not show what is there");
    unavailable()
}
