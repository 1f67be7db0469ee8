//! Old versions of files: bytes under a name of their own in `.causeway/versions`, a row for each, gone with their file.

use crate::domain::{At, Error, FileStamp, Kind, Node, NodeId, Result, Write, Written};
use crate::space::lookup::{Resolved, unreadable};
use crate::space::{OpenFile, Space, unavailable};
use crate::store::VersionRow;

impl Space {
    /// A file of the home by its number, and its old versions, oldest first.
    pub async fn file_versions(&self, id: NodeId) -> Result<(Node, Vec<VersionRow>)> {
        let node = self.node(id).await?.filter(|node| node.kind == Kind::File).ok_or(Error::NotFound)?;
        let versions = self.blocking(move |space| Ok(space.store.versions(space.id, id)?)).await?;
        Ok((node, versions))
    }

    /// Opens an old version of a file of the home.
    pub async fn open_version(&self, id: NodeId, number: u64) -> Result<(Node, VersionRow, OpenFile)> {
        let node = self.node(id).await?.filter(|node| node.kind == Kind::File).ok_or(Error::NotFound)?;
        self.blocking(move |space| {
            let row = space.store.version(space.id, id, number)?.ok_or(Error::NotFound)?;
            let opened = space.files.open_file(&space.version_path(&row.file)?).map_err(unreadable)?;
            let (file, stat) = opened.ok_or_else(unavailable)?;
            Ok((node, row, OpenFile::new(file, stat.size)))
        })
        .await
    }

    /// Makes the bytes of an old version the content of its file; what was there becomes a version. The old one stays as well.
    pub async fn restore_version(&self, at: &At, number: u64, write: Write) -> Result<Written> {
        let node = match self.resolve(at).await? {
            Resolved::Node(node) if node.kind == Kind::File => node,
            Resolved::Node(_) | Resolved::Mount { .. } | Resolved::Missing { .. } => return Err(Error::NotFound),
        };
        let (_, row, _) = self.open_version(node.id, number).await?;
        self.check_write_early(at, &write)?;
        self.make_fit(&at.by, row.size.saturating_sub(node.size), row.size).await?;
        let copied = self.blocking(move |space| {
            let to = space.files.staging_path();
            let staged = space.files.adopt_staged(to.clone());
            let copied = space.files.copy_file(&space.version_path(&row.file)?, &to)?;
            let (_, stat) = copied.ok_or_else(unavailable)?;
            Ok((staged, stat, row))
        });
        let (staged, stat, row) = copied.await?;
        let held = self.hold(at, false).await?;
        let at = at.clone();
        self.blocking(move |space| {
            let target = space.target(&at)?;
            let old = target.row.as_ref().filter(|old| old.id == node.id && old.kind == Kind::File).ok_or(Error::Changed)?;
            space.check_write(&target, &write)?;
            space.fits_quota(stat.size.saturating_sub(old.size), 0)?;
            let checksum = row.checksum.filter(|_| stat.size == row.size);
            let stamp = FileStamp { ctime_ns: 0, ..stat.stamp };
            let node = Node { size: stat.size, modified: stat.modified(), stamp, checksum, ..old.clone() };
            let change = crate::store::Change::Put { place: target.place.clone(), node };
            let node = space.place_staged(&target, staged, stat, vec![change])?;
            drop(held);
            Ok(Written { created: false, node })
        })
        .await
    }

    /// Deletes an old version for good.
    pub async fn purge_version(&self, id: NodeId, number: u64) -> Result<()> {
        self.file_versions(id).await?;
        self.blocking(move |space| {
            let row = space.store.version(space.id, id, number)?.ok_or(Error::NotFound)?;
            space.purge_versions(vec![row])
        })
        .await
    }
}
