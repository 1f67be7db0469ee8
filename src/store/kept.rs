//! Rows of what is kept although nobody sees it in the home any more: the trash, and old versions of files.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::domain::{Checksum, NodeId, Principal, SpaceId, Timestamp, TreePath};
use crate::store::codec::decode;
use crate::store::keys::{self, Tree};
use crate::store::{Error, Place, Result, Store};

/// What is known of a node in the trash. Its row in the nodes stays what it was, with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashRow {
    /// Which.
    pub node: NodeId,
    /// Where it was: the last name is its own.
    pub path: TreePath,
    /// The collection that it was in, which may have been moved since.
    pub parent: NodeId,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// Who did it.
    pub by: Principal,
}

/// An old version of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// Of which file.
    pub node: NodeId,
    /// Rises from version to version; the modification time of the bytes, where no older version has that.
    pub number: u64,
    /// Name of the bytes in the folder of versions; it says nothing of the file, so that versions can be given to another node.
    pub file: Box<str>,
    /// The inode behind that name.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time of these bytes.
    pub modified: Timestamp,
    /// Checksum, where known.
    pub checksum: Option<Checksum>,
    /// When these bytes became an old version.
    pub created: Timestamp,
    /// Who wrote over them.
    pub by: Principal,
}

impl Store {
    /// What is known of a node in the trash. Blocks.
    pub fn trashed(&self, space: SpaceId, id: NodeId) -> Result<Option<TrashRow>> {
        self.inner.trees.get(Tree::Trash, &keys::below(space, id))?.map(|value| decode(&value)).transpose()
    }

    /// Everything in the trash of a space, with its node, in the order of ids; where there is much, not all from one moment. Blocks.
    pub fn trash(&self, space: SpaceId) -> Result<Vec<(TrashRow, crate::domain::Node)>> {
        let rows = self.trash_rows(space)?;
        let mut trash = Vec::with_capacity(rows.len());
        for row in rows {
            // Gone since the rows were read: gone from both trees.
            if let Some(node) = self.node(space, &Place::in_trash(row.node))? {
                trash.push((row, node));
            }
        }
        Ok(trash)
    }

    /// What is known of everything in the trash of a space, without the nodes. Blocks.
    pub fn trash_rows(&self, space: SpaceId) -> Result<Vec<TrashRow>> {
        self.values(Tree::Trash, &keys::space(space))
    }

    /// The old versions of a file, oldest first. Blocks.
    pub fn versions(&self, space: SpaceId, id: NodeId) -> Result<Vec<VersionRow>> {
        self.values(Tree::Versions, &keys::below(space, id))
    }

    /// All old versions of a space. Blocks for long where there are many: meant for the background. They are not all from one moment: what was given
    /// to another node meanwhile may be missing, or there under both.
    pub fn all_versions(&self, space: SpaceId) -> Result<Vec<VersionRow>> {
        self.values(Tree::Versions, &keys::space(space))
    }

    /// The names of the bytes of all old versions of a space, at one moment. Blocks, and commits wait meanwhile: meant for what is asked rarely.
    pub fn version_files(&self, space: SpaceId) -> Result<HashSet<Box<str>>> {
        let _reading = self.inner.trees.reading();
        let rows = self.inner.trees.tree(Tree::Versions)?.scan_prefix(keys::space(space)).values();
        rows.map(|value| decode::<VersionRow>(&value?).map(|row| row.file)).collect()
    }

    /// Old versions of a file beyond the newest `count`. Blocks.
    pub fn surplus_versions(&self, space: SpaceId, id: NodeId, count: usize) -> Result<Vec<VersionRow>> {
        let _reading = self.inner.trees.reading();
        let rows = self.inner.trees.tree(Tree::Versions)?.scan_prefix(keys::below(space, id)).values().rev();
        rows.skip(count).map(|value| decode(&value?)).collect()
    }

    /// One old version. Blocks.
    pub fn version(&self, space: SpaceId, id: NodeId, number: u64) -> Result<Option<VersionRow>> {
        self.inner.trees.get(Tree::Versions, &keys::file_version(space, id, number))?.map(|value| decode(&value)).transpose()
    }

    /// The number of the newest old version of a file. Blocks.
    pub fn last_version(&self, space: SpaceId, id: NodeId) -> Result<Option<u64>> {
        let _reading = self.inner.trees.reading();
        let last = self.inner.trees.tree(Tree::Versions)?.scan_prefix(keys::below(space, id)).keys().next_back();
        Ok(last.transpose().map_err(Error::from)?.map(|key| keys::last_number(&key)))
    }
}
