//! Trash and versions in a batch. **Invariant**: a node is in the trash exactly as long as [`TrashRow`] tells of it; the size of the root of
//! the versions is the sum of their sizes.

use crate::domain::{NodeId, SpaceId};
use crate::store::codec::{decode, encode};
use crate::store::kept::{TrashRow, VersionRow};
use crate::store::keys::{self, Tree};
use crate::store::nodes::Place;
use crate::store::overlay::{Overlay, difference};
use crate::store::{Error, Result};

impl Overlay<'_> {
    pub(super) fn discard(&mut self, space: SpaceId, version: u64, place: &Place, row: &TrashRow) -> Result<()> {
        self.relocate(space, version, place, Place::in_trash(row.node))?;
        self.raw.insert((Tree::Trash, keys::below(space, row.node)), Some(encode(row)?));
        Ok(())
    }

    /// Called for each row that leaves its place.
    pub(super) fn leave_trash(&mut self, space: SpaceId, place: &Place, id: NodeId) {
        if place.parent == NodeId::TRASH {
            self.raw.insert((Tree::Trash, keys::below(space, id)), None);
        }
    }

    pub(super) fn put_version(&mut self, space: SpaceId, version: u64, row: &VersionRow) -> Result<()> {
        self.raw.insert((Tree::Versions, keys::file_version(space, row.node, row.number)), Some(encode(row)?));
        self.raise(space, NodeId::VERSIONS, difference(0, row.size), version);
        Ok(())
    }

    pub(super) fn drop_version(&mut self, space: SpaceId, version: u64, id: NodeId, number: u64) -> Result<VersionRow> {
        let key = keys::file_version(space, id, number);
        let row: VersionRow = decode(&self.raw(Tree::Versions, &key)?.ok_or(Error::Conflict)?)?;
        self.raw.insert((Tree::Versions, key), None);
        self.raise(space, NodeId::VERSIONS, difference(row.size, 0), version);
        Ok(row)
    }

    pub(super) fn hand_versions(&mut self, space: SpaceId, version: u64, from: NodeId, to: NodeId) -> Result<()> {
        for number in self.version_numbers(space, from)? {
            let row = self.drop_version(space, version, from, number)?;
            let mut number = number;
            while self.raw(Tree::Versions, &keys::file_version(space, to, number))?.is_some() {
                number += 1;
            }
            self.put_version(space, version, &VersionRow { node: to, number, ..row })?;
        }
        Ok(())
    }

    pub(super) fn has_versions(&self, space: SpaceId, id: NodeId) -> Result<bool> {
        Ok(!self.version_numbers(space, id)?.is_empty())
    }

    /// Those of a node that are there when what this batch has so far is written.
    fn version_numbers(&self, space: SpaceId, id: NodeId) -> Result<Vec<u64>> {
        let prefix = keys::below(space, id);
        let mut numbers = Vec::new();
        for key in self.trees.tree(Tree::Versions)?.scan_prefix(&prefix).keys() {
            let key = key?;
            if !matches!(self.raw.get(&(Tree::Versions, key.to_vec())), Some(None)) {
                numbers.push(keys::last_number(&key));
            }
        }
        let begin = (Tree::Versions, prefix.clone());
        let added = self.raw.range(begin..).take_while(|((tree, key), _)| *tree == Tree::Versions && key.starts_with(&prefix));
        numbers.extend(added.filter(|(_, value)| value.is_some()).map(|((_, key), _)| keys::last_number(key)));
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }
}
