//! What a home keeps of deleted nodes and old content: for its user alone. Whoever comes by a link is told that nothing is there.

use crate::domain::{
    At, Error, Expect, MountId, Name, Node, NodeId, Permissions, ReceivedState, Result, SpaceId, Timestamp, TreePath, Write,
};
use crate::space::{MountRow, TrashRow, VersionRow};
use crate::tree::resolve::Target;
use crate::tree::{Entry, Forest, Source, View};

/// Tries before a free name at the old place is given up: somebody takes each one first.
const NAME_TRIES_MAX: usize = 16;

impl Forest {
    /// Removes the mounts whose mountpoints were purged with a deleted folder. Called after purges, and from time to time. What a stop forgets
    /// of these, [`Forest::detach_lost`] finds.
    pub async fn detach_orphans(&self) {
        for space in self.spaces().all() {
            for mount in space.take_orphans() {
                if self.shares().is_mounted(mount) {
                    if let Err(error) = self.decline(&space, mount).await {
                        tracing::error!(%error, mount.id = mount.0, "the share in a purged folder could not be declined");
                    }
                } else if let Err(error) = self.mounts().remove(mount).await {
                    tracing::error!(%error, mount.id = mount.0, "the mount of a purged folder could not be removed");
                }
            }
        }
    }

    /// Removes the mounts that hang nowhere and never will: those whose folder was purged just before a stop, and those that a stop kept from
    /// being hung. What is shared and lies in a purged folder is declined; what was shared while its receiver's home could not be written hangs
    /// nowhere either, and is hung by the sweep of shares.
    ///
    /// The caller sees to it that no mount is being added meanwhile: its record comes before its row.
    pub async fn detach_lost(&self) {
        for handle in self.mounts().all() {
            let mount = handle.record();
            if !matches!(self.row_of(mount.space, mount.id).await, MountRow::Buried | MountRow::Absent) {
                continue;
            }
            match self.mounts().remove(mount.id).await {
                Ok(()) => tracing::info!(mount.id = mount.id.0, user.id = %mount.user, "a mount that hung nowhere was removed"),
                Err(error) => tracing::error!(%error, mount.id = mount.id.0, "a mount that hangs nowhere could not be removed"),
            }
        }
        for end in self.shares().all_received() {
            if end.state != ReceivedState::Accepted || self.row_of(end.space, end.mount).await != MountRow::Buried {
                continue;
            }
            if let Err(error) = self.decline_buried(end.space, end.mount).await {
                tracing::error!(%error, share.id = end.share.0, user.id = %end.user, "the share in a purged folder could not be declined");
            }
        }
    }

    async fn decline_buried(&self, space: SpaceId, mount: MountId) -> Result<()> {
        // Its user may be accepting it again just now.
        let changing = self.shares().change().await;
        match self.spaces().get(space) {
            Some(home) if self.row_of(space, mount).await == MountRow::Buried => self.decline_in(&changing, &home, mount).await,
            Some(_) | None => Ok(()),
        }
    }

    /// What became of a mountpoint's row. Of a home that is not open, or whose rows cannot be read, everything may come back.
    async fn row_of(&self, space: SpaceId, mount: MountId) -> MountRow {
        let Some(home) = self.spaces().get(space) else { return MountRow::Waits };
        if home.mount_path(mount).is_some() {
            return MountRow::Hangs;
        }
        home.mount_row(mount).await.unwrap_or_else(|error| {
            tracing::warn!(%error, mount.id = mount.0, "it cannot be found out where a mount hangs");
            MountRow::Waits
        })
    }
}

impl View {
    /// The home, for its user; to all others there is neither a trash nor an old version (attack D11).
    fn demand_user(&self) -> Result<()> {
        // Whoever sees a whole home through a share sees its files alone.
        let own = self.is_own() && self.base == NodeId::ROOT && self.granted == Permissions::ALL;
        if own { Ok(()) } else { Err(Error::NotFound) }
    }

    /// The number of the home.
    pub fn space_id(&self) -> SpaceId {
        self.space.id()
    }

    fn home_at(&self, path: TreePath) -> At {
        At { base: NodeId::ROOT, path, by: self.principal.clone() }
    }

    /// The root of the trash.
    ///
    /// # Errors
    /// [`Error::NotFound`] for all but the home's user.
    pub fn trash_root(&self) -> Result<Node> {
        self.demand_user()?;
        Ok(self.space.trash_root())
    }

    /// The root of the trash, and what was deleted.
    ///
    /// # Errors
    /// [`Error::NotFound`] for all but the home's user.
    pub async fn trash(&self) -> Result<(Node, Vec<(TrashRow, Node)>)> {
        self.demand_user()?;
        self.space.trash().await
    }

    /// What is known of an entry of the trash; none if there is none.
    ///
    /// # Errors
    /// [`Error::NotFound`] for all but the home's user.
    pub async fn trashed(&self, id: NodeId) -> Result<Option<TrashRow>> {
        self.demand_user()?;
        self.space.trashed(id).await
    }

    /// The entries of the trash that were deleted under a name at a time, in seconds since 1970.
    ///
    /// # Errors
    /// [`Error::NotFound`] for all but the home's user.
    pub async fn trash_named(&self, name: &str, deleted: Timestamp) -> Result<Vec<TrashRow>> {
        self.demand_user()?;
        self.space.trash_named(name, deleted).await
    }

    /// A node in the trash, with its members if it is a collection.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn trash_list(&self, id: NodeId, inner: &TreePath) -> Result<(TrashRow, Node, Vec<(Name, Node)>)> {
        self.demand_user()?;
        self.space.trash_list(id, inner).await
    }

    /// Opens a file in the trash.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsCollection`].
    pub async fn trash_open(&self, id: NodeId, inner: &TreePath) -> Result<(TrashRow, Node, Source)> {
        self.demand_user()?;
        let (row, node, file) = self.space.trash_open(id, inner).await?;
        Ok((row, node, Source::Home(file)))
    }

    /// Brings a node back from the trash to a path. Returns whether the name was free, and the node.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; the node stays in the trash on each of them.
    pub async fn restore(&self, id: NodeId, to: &TreePath, write: Write) -> Result<(bool, Entry)> {
        self.demand_user()?;
        let at = match self.resolve(to).await? {
            Target::Home { at, .. } | Target::HomeFree { at, parent_exists: true } => at,
            Target::HomeFree { parent_exists: false, .. } => return Err(Error::ParentMissing),
            Target::Mount(_) | Target::Shared(_) => {
                return Err(Error::Forbidden("what was deleted here comes back here, not into a mount"));
            }
        };
        let written = self.space.restore(id, &at, write).await?;
        Ok((written.created, self.home_entry(written.node).await))
    }

    /// Brings a node back to where it was, under a free name; to the root where its folder is gone. Returns its path.
    ///
    /// # Errors
    /// As [`View::restore`].
    pub async fn restore_to_origin(&self, id: NodeId) -> Result<(TreePath, Entry)> {
        self.demand_user()?;
        let (folder, name) = self.space.trash_origin(id).await?;
        let folder = folder.unwrap_or_default();
        for _ in 0..NAME_TRIES_MAX {
            let name = self.space.free_name_in(&self.home_at(folder.clone()), &name).await?;
            let path = folder.join(&name);
            match self.restore(id, &path, Write { expect: Expect::Absent, ..Write::unconditional() }).await {
                Err(Error::PreconditionFailed) => {}
                other => return other.map(|(_, entry)| (path, entry)),
            }
        }
        Err(Error::LimitReached("no free name was found"))
    }

    /// Deletes a node of the trash for good, or all of them.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the disk says.
    pub async fn purge(&self, id: Option<NodeId>) -> Result<()> {
        self.demand_user()?;
        self.space.purge(id).await?;
        self.forest.detach_orphans().await;
        Ok(())
    }

    /// A file of the home by its number, its path, and its old versions, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such file in this home, or it is in the trash.
    pub async fn versions(&self, id: NodeId) -> Result<(Node, TreePath, Vec<VersionRow>)> {
        self.demand_user()?;
        let path = self.node_path(id).await?;
        let (node, versions) = self.space.file_versions(id).await?;
        Ok((node, path, versions))
    }

    /// Where a node of the home is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn node_path(&self, id: NodeId) -> Result<TreePath> {
        self.demand_user()?;
        // Ids below are those of the hidden roots.
        if [NodeId::TRASH, NodeId::VERSIONS].contains(&id) {
            return Err(Error::NotFound);
        }
        self.space.node(id).await?.ok_or(Error::NotFound)?;
        self.space.path_of(id).await?.ok_or(Error::NotFound)
    }

    /// Opens an old version.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn open_version(&self, id: NodeId, number: u64) -> Result<(Node, VersionRow, Source)> {
        self.demand_user()?;
        let (node, row, file) = self.space.open_version(id, number).await?;
        Ok((node, row, Source::Home(file)))
    }

    /// Makes an old version the content of its file. `to`, where it is given, has to be that file.
    ///
    /// # Errors
    /// What [`Error`] lists for writes; the content stays on each of them.
    pub async fn restore_version(&self, id: NodeId, number: u64, to: Option<&TreePath>, write: Write) -> Result<Entry> {
        let path = self.node_path(id).await?;
        if to.is_some_and(|to| *to != path) {
            return Err(Error::Forbidden("an old version comes back to its own file alone"));
        }
        let written = self.space.restore_version(&self.home_at(path), number, write).await?;
        Ok(self.home_entry(written.node).await)
    }

    /// Deletes an old version for good.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what the disk says.
    pub async fn purge_version(&self, id: NodeId, number: u64) -> Result<()> {
        self.demand_user()?;
        self.space.purge_version(id, number).await
    }
}
