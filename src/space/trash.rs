//! The trash: a second root, below which deleted nodes keep their rows, ids, properties, versions and mounts. Nothing below it has a path in
//! the home, so that walks, links and locks find nothing there.

use crate::content::{DiskPath, Entry};
use crate::domain::{At, Error, FileStamp, Kind, Name, Node, NodeId, Result, TreePath, Write, Written};
use crate::space::lookup::{Resolved, unreadable};
use crate::space::{OpenFile, Space, place, unavailable};
use crate::store::{Change, Check, Place, TrashRow};

impl Space {
    /// The root of the trash; its size is that of all that is in it.
    pub fn trash_root(&self) -> Node {
        self.state().trash.clone()
    }

    /// The root of the trash and what is in it, in the order of ids.
    pub async fn trash(&self) -> Result<(Node, Vec<(TrashRow, Node)>)> {
        let root = self.state().trash.clone();
        let trash = self.blocking(|space| Ok(space.store.trash(space.id)?)).await?;
        Ok((root, trash))
    }

    /// What is known of an entry; none if there is none.
    pub async fn trashed(&self, id: NodeId) -> Result<Option<TrashRow>> {
        self.blocking(move |space| Ok(space.store.trashed(space.id, id)?)).await
    }

    /// A node in the trash, and its members if it is a collection. Mounts in it are not shown: they are not mounted now.
    pub async fn trash_list(&self, id: NodeId, inner: &TreePath) -> Result<(TrashRow, Node, Vec<(Name, Node)>)> {
        let inner = inner.clone();
        self.blocking(move |space| {
            let (row, node, _) = space.walk_trash(id, &inner)?;
            let mut members = if node.is_collection() { space.store.children(space.id, node.id)? } else { Vec::new() };
            members.retain(|(_, member)| member.kind != Kind::Mount);
            Ok((row, node, members))
        })
        .await
    }

    /// Opens a file in the trash.
    pub async fn trash_open(&self, id: NodeId, inner: &TreePath) -> Result<(TrashRow, Node, OpenFile)> {
        let inner = inner.clone();
        self.blocking(move |space| {
            let (row, node, disk) = space.walk_trash(id, &inner)?;
            if node.is_collection() {
                return Err(Error::IsCollection);
            }
            let (file, stat) = space.files.open_file(&disk).map_err(unreadable)?.ok_or_else(unavailable)?;
            Ok((row, Node { size: stat.size, ..node }, OpenFile::new(file, stat.size)))
        })
        .await
    }

    fn walk_trash(&self, id: NodeId, inner: &TreePath) -> Result<(TrashRow, Node, DiskPath)> {
        let row = self.store.trashed(self.id, id)?.ok_or(Error::NotFound)?;
        let mut node = self.store.node(self.id, &Place::in_trash(id))?.ok_or(Error::NotFound)?;
        let mut disk = self.trash_path(id)?;
        for segment in inner.segments() {
            let name = Name::parse(segment).map_err(|_invalid| Error::NotFound)?;
            if !node.is_collection() {
                return Err(Error::NotFound);
            }
            let member = self.store.node(self.id, &Place::new(node.id, &name))?;
            node = member.filter(|member| member.kind != Kind::Mount).ok_or(Error::NotFound)?;
            disk = disk.join(&name);
        }
        Ok((row, node, disk))
    }

    /// The collection that a node of the trash was deleted from, if it is there, and the name that it had.
    pub async fn trash_origin(&self, id: NodeId) -> Result<(Option<TreePath>, Name)> {
        let row = self.blocking(move |space| space.store.trashed(space.id, id)?.ok_or(Error::NotFound)).await?;
        let name = row.path.name().ok_or_else(|| Error::Internal("an entry of the trash has no name".to_owned()))?;
        let parent = match self.node(row.parent).await? {
            Some(parent) if parent.is_collection() => self.path_of(row.parent).await?,
            Some(_) | None => None,
        };
        Ok((parent, name))
    }

    /// A name for a node that comes back: the wanted one, or `name (2)` where that is taken.
    pub async fn free_name_in(&self, collection: &At, wanted: &Name) -> Result<Name> {
        let (_, children) = self.list(collection).await?;
        crate::space::free_name(wanted, |name| children.contains_key(name))
    }

    /// Brings a node back from the trash, with all that is below it. What stands at the target is replaced as by a MOVE.
    pub async fn restore(&self, id: NodeId, to: &At, write: Write) -> Result<Written> {
        loop {
            let (_, node, _) = self.trash_list(id, &TreePath::root()).await?;
            let exclusive = node.is_collection() || matches!(self.resolve(to).await?, Resolved::Node(node) if node.is_collection());
            let held = self.hold_restored(id, to, exclusive).await?;
            let (to, write) = (to.clone(), write.clone());
            let restored = self.blocking(move |space| {
                let restored = space.restore_now(id, &to, &write, exclusive);
                drop(held);
                restored
            });
            if let Some(written) = restored.await? {
                return Ok(written);
            }
        }
    }

    /// None if a collection stands at the target now and `structure` is only shared.
    fn restore_now(&self, id: NodeId, to: &At, write: &Write, exclusive: bool) -> Result<Option<Written>> {
        let (_, row, disk) = self.walk_trash(id, &TreePath::root())?;
        let target = self.target(to)?;
        if target.row.as_ref().is_some_and(Node::is_collection) && !exclusive {
            return Ok(None);
        }
        self.check_replaced(&target, write)?;
        let replaced_size = target.row.as_ref().map_or(0, |row| row.size);
        // It is on the disk already; but the quota may have been used for something else since (attack D8).
        self.fits_quota(row.size.saturating_sub(replaced_size), 0)?;
        // Without its bytes the row would be a name that cannot be opened. The inode is another one where a backup brought them here: the next look
        // at the target then adopts it.
        let wanted = if row.is_collection() { Entry::Directory } else { Entry::File };
        let there = self.files.stat(&disk).map_err(unreadable)?.filter(|stat| stat.entry == wanted).ok_or_else(unavailable)?;
        let place = Place::in_trash(id);
        let mut changes = match &target.row {
            Some(old) => self.locks_handed_over(old.id, id)?,
            None => Vec::new(),
        };
        let replaced = self.replaced(&target, (id, row.kind))?;
        let steps = self.steps_of_move(disk.as_str().to_owned(), &target, (row.kind, there.stamp.file()), replaced.as_ref());
        changes.extend(replaced.map(|replaced| replaced.changes).unwrap_or_default());
        changes.push(Change::Move { from: place.clone(), to: target.place.clone() });
        changes.push(Change::Stamp { place: target.place.clone(), stamp: FileStamp { ctime_ns: 0, ..row.stamp } });
        let committed = self.carry_out(place::Write {
            checks: vec![Check { place, seen: Some((id, row.etag.clone())) }, target.check()],
            changes,
            steps,
            folders: vec![(target.place.parent, target.folder.clone())],
            moved: vec![(target.place.clone(), target.path.clone())],
            ..place::Write::default()
        })?;
        if target.row.is_some() {
            self.settler.purge();
        }
        let node = committed.nodes.into_iter().next().ok_or_else(|| Error::Internal("a row was not committed".to_owned()))?;
        Ok(Some(Written { created: target.row.is_none(), node }))
    }

    /// Deletes a node of the trash for good; with none, all of them.
    pub async fn purge(&self, id: Option<NodeId>) -> Result<()> {
        self.blocking(move |space| {
            let entries = match id {
                None => space.store.trash(space.id)?,
                Some(id) => {
                    let (row, node, _) = space.walk_trash(id, &TreePath::root())?;
                    vec![(row, node)]
                }
            };
            space.purge_entries(entries)
        })
        .await
    }

    async fn hold_restored(&self, id: NodeId, to: &At, exclusive: bool) -> Result<(place::Held, crate::space::names::NameGuard)> {
        // The entry's own name is taken after those of the home, by everybody who takes both.
        let held = self.hold(to, exclusive).await?;
        let name = Name::parse(&id.0.to_string()).map_err(|_invalid| Error::NotFound)?;
        let entry = self.names.name(NodeId::TRASH, &name).await;
        Ok((held, entry))
    }
}
