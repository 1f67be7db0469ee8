//! The log of what a walk by versions cannot see (RFC 6578): names that went, and nodes that came from elsewhere.

use crate::domain::{Node, NodeId, SpaceId};
use crate::store::codec::encode;
use crate::store::keys::{self, Tree};
use crate::store::log::LogEntry;
use crate::store::nodes::Place;
use crate::store::overlay::Overlay;
use crate::store::{Error, Result};

impl Overlay<'_> {
    /// A name of the home went; what is in the trash has gone before.
    pub(super) fn log_removed(&mut self, space: SpaceId, version: u64, place: &Place, node: &Node) -> Result<()> {
        if place.parent == NodeId::TRASH {
            return Ok(());
        }
        let entry = LogEntry::Removed { parent: place.parent, name: place.name.clone(), id: node.id, collection: node.is_collection() };
        self.log(space, version, &entry)
    }

    /// A node came to a place of the home: a file with the version that it had, a collection with all that is in it.
    pub(super) fn log_moved_in(&mut self, space: SpaceId, version: u64, place: &Place, node: &Node) -> Result<()> {
        if place.parent == NodeId::TRASH {
            return Ok(());
        }
        self.log(space, version, &LogEntry::MovedIn(node.id))
    }

    pub(super) fn log(&mut self, space: SpaceId, version: u64, entry: &LogEntry) -> Result<()> {
        // A job has a version of its own; within it entries are counted.
        let first = (Tree::Log, keys::log_entry(space, version, 0));
        let last = (Tree::Log, keys::log_entry(space, version, u32::MAX));
        let count = u32::try_from(self.raw.range(first..=last).count()).unwrap_or(u32::MAX);
        self.raw.insert((Tree::Log, keys::log_entry(space, version, count)), Some(encode(entry)?));
        Ok(())
    }

    /// Drops the oldest entries, at most so many, of those that are not newer than a version.
    pub(super) fn prune_log(&mut self, space: SpaceId, up_to: u64, rows_max: usize) -> Result<()> {
        let mut keys = Vec::new();
        for key in self.trees.tree(Tree::Log)?.scan_prefix(keys::space(space)).keys().take(rows_max) {
            let key = key?;
            let version = keys::log_version(&key).ok_or_else(|| Error::Corrupt("an entry of the log without version".to_owned()))?;
            if version <= up_to {
                keys.push(key.to_vec());
            }
        }
        // First of all nobody may believe any more that the log is whole from there on.
        self.write_meta(&keys::log_begin(space), up_to.to_be_bytes().to_vec());
        self.raw.extend(keys.into_iter().map(|key| ((Tree::Log, key), None)));
        Ok(())
    }
}
