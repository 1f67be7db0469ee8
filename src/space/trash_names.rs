//! Which entries of the trash had a name and were deleted at a time: Nextcloud's clients know them by that alone, and ask for one after the other. Rows
//! are found by number; to look through all of them each time would take a client that empties a large trash as long as their number squared.
//!
//! The names are gathered when the first is asked for and forgotten with the next round of the sweep. They may be out of date in one way alone, and say
//! too much: what they tell is compared with the row.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;

use crate::domain::{NodeId, Result, Timestamp};
use crate::space::{Space, lock};
use crate::store::{SpaceChanges, TrashRow};

/// What is known of the names.
#[derive(Debug, Default)]
pub(super) struct TrashNames {
    /// By the hash of name and time; none until somebody asks.
    known: Mutex<Option<HashMap<u64, Vec<NodeId>>>>,
    /// What came into the trash since `known` was looked at; none while there is nothing to be kept current.
    came: Mutex<Option<Vec<NodeId>>>,
    hasher: RandomState,
}

impl TrashNames {
    /// Takes note of what a batch brought into the trash.
    pub(super) fn told(&self, changes: &SpaceChanges) {
        let rows = changes.rows.iter().filter(|change| change.place.parent == NodeId::TRASH);
        let came = rows.filter_map(|change| change.node.as_ref().map(|node| node.id));
        if let Some(list) = lock(&self.came).as_mut() {
            list.extend(came);
        }
    }

    /// Gives the memory back.
    pub(super) fn forget(&self) {
        let mut known = lock(&self.known);
        *known = None;
        *lock(&self.came) = None;
    }

    fn key(&self, name: &str, deleted: Timestamp) -> u64 {
        self.hasher.hash_one((name, deleted))
    }

    fn add(&self, known: &mut HashMap<u64, Vec<NodeId>>, row: &TrashRow) {
        let entries = known.entry(self.key(last_name(row), row.deleted)).or_default();
        if !entries.contains(&row.node) {
            entries.push(row.node);
        }
    }
}

impl Space {
    /// What was deleted under a name at a time, in the order of ids.
    pub async fn trash_named(&self, name: &str, deleted: Timestamp) -> Result<Vec<TrashRow>> {
        let name = name.to_owned();
        self.blocking(move |space| space.trash_named_now(&name, deleted)).await
    }

    fn trash_named_now(&self, name: &str, deleted: Timestamp) -> Result<Vec<TrashRow>> {
        let names = &self.trash_names;
        // Taken out, and put back only when everything was read: after a fault the next one begins anew.
        let mut guard = lock(&names.known);
        // The list is kept from before the rows are read, so that nothing falls in between.
        let came = lock(&names.came).replace(Vec::new());
        let mut known = HashMap::new();
        match guard.take().zip(came) {
            None => self.store.trash_rows(self.id)?.iter().for_each(|row| names.add(&mut known, row)),
            Some((before, came)) => {
                known = before;
                for id in came {
                    self.store.trashed(self.id, id)?.iter().for_each(|row| names.add(&mut known, row));
                }
            }
        }
        let key = names.key(name, deleted);
        let mut found = Vec::new();
        for id in known.remove(&key).unwrap_or_default() {
            found.extend(self.store.trashed(self.id, id)?.filter(|row| last_name(row) == name && row.deleted == deleted));
        }
        found.sort_by_key(|row| row.node);
        if !found.is_empty() {
            known.insert(key, found.iter().map(|row| row.node).collect());
        }
        *guard = Some(known);
        Ok(found)
    }
}

fn last_name(row: &TrashRow) -> &str {
    row.path.segments().next_back().unwrap_or_default()
}
