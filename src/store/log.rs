//! The log of removals and moves of a space, for clients that ask what changed since a version.

use serde::{Deserialize, Serialize};

use crate::domain::{NodeId, SpaceId};
use crate::store::codec::decode;
use crate::store::keys::{self, Tree};
use crate::store::{Result, Store};

/// What the rows themselves do not tell: everything else that changed has a newer version than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogEntry {
    /// A name went, because its node was removed, moved or replaced.
    Removed {
        /// Of this collection.
        parent: NodeId,
        /// Which name.
        name: Box<str>,
        /// What was there.
        id: NodeId,
        /// Whether that was a collection.
        collection: bool,
    },
    /// A node came to where it is now: a file, whose version does not tell of it, or a collection, with members that are older than that.
    MovedIn(NodeId),
}

impl Store {
    /// The version after which the log is whole. A short read, mostly from sled's own cache.
    pub fn log_begin(&self, space: SpaceId) -> Result<u64> {
        let begin = self.inner.trees.tree(Tree::Meta)?.get(keys::log_begin(space))?;
        Ok(begin.map_or(0, |value| keys::last_number(&value)))
    }

    /// What was logged after a version, at most `entries_max` entries; none if the log does not go back that far, or has more. Blocks.
    pub fn log_since(&self, space: SpaceId, version: u64, entries_max: usize) -> Result<Option<Vec<LogEntry>>> {
        let trees = &self.inner.trees;
        let _reading = trees.reading();
        if version < self.log_begin(space)? {
            return Ok(None);
        }
        let (first, end) = (keys::log_entry(space, version.saturating_add(1), 0), keys::log_entry(space, u64::MAX, u32::MAX));
        let mut entries = Vec::new();
        for row in trees.tree(Tree::Log)?.range(first..=end).values() {
            if entries.len() == entries_max {
                return Ok(None);
            }
            entries.push(decode(&row?)?);
        }
        Ok(Some(entries))
    }

    /// The version of the oldest entry that has to go so that at most `entries_max` are left; none if there are no more. Blocks.
    pub fn log_surplus(&self, space: SpaceId, entries_max: usize) -> Result<Option<u64>> {
        let _reading = self.inner.trees.reading();
        let surplus = self.inner.trees.tree(Tree::Log)?.scan_prefix(keys::space(space)).keys().rev().nth(entries_max);
        Ok(surplus.transpose()?.and_then(|key| keys::log_version(&key)))
    }
}
