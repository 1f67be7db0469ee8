//! What becomes of rows whose change the disk refused. Mostly they follow what lies there, by adoption; but adoption knows nothing of the trash: there
//! a row would stay that cannot be opened, and the file in the home would come back as another one, without its links and versions. So what was
//! moved into the trash or out of it, or deleted, is taken back.

use crate::content::DiskPath;
use crate::domain::{Error, NodeId, Result};
use crate::space::Space;
use crate::space::steps::{is_there, is_untouched};
use crate::store::{Change, Check, NodeJob, Place, Step};

/// How a change is taken back, worked out before it is committed.
#[derive(Default)]
pub(super) struct Undo {
    /// In this order; none where the rows follow the disk.
    changes: Vec<Change>,
    /// What must be free for it.
    free: Vec<Place>,
    /// What the change moves into the trash.
    discarded: Vec<NodeId>,
    /// How the old versions that it keeps are forgotten.
    versions: Vec<Change>,
}

impl Space {
    /// How a change will be taken back if its steps fail.
    pub(super) fn undo_of(&self, changes: &[Change]) -> Result<Undo> {
        let mut undo = Undo { versions: versions_of(changes), ..Undo::default() };
        undo.discarded
            .extend(changes.iter().filter_map(|change| if let Change::Discard { row, .. } = change { Some(row.node) } else { None }));
        if !changes.iter().any(is_taken_back) {
            return Ok(undo);
        }
        let made: Vec<&Place> = changes.iter().filter_map(made_at).collect();
        for change in changes.iter().rev() {
            match change {
                Change::Discard { place, row } => {
                    undo.changes.push(Change::Move { from: Place::in_trash(row.node), to: place.clone() });
                    undo.free.extend((!made.contains(&place)).then(|| place.clone()));
                }
                Change::Move { from, to } if from.parent == NodeId::TRASH => {
                    let row = self.store.node(self.id, from)?.map(|node| self.store.trashed(self.id, node.id)).transpose()?.flatten();
                    undo.changes.extend(row.map(|row| Change::Discard { place: to.clone(), row }));
                }
                Change::Move { from, to } => undo.changes.push(Change::Move { from: to.clone(), to: from.clone() }),
                Change::Put { place, .. } if is_discarded_from(changes, place) => {
                    undo.changes.push(Change::Remove { place: place.clone(), keep_until: 0 });
                }
                Change::Remove { place, .. } if place.parent != NodeId::TRASH => {
                    if let Some(node) = self.store.node(self.id, place)? {
                        undo.changes.push(Change::Revive(node.id));
                        undo.changes.push(Change::Put { place: place.clone(), node });
                        undo.free.push(place.clone());
                    }
                }
                Change::PutLock(row) => undo.changes.push(Change::DropLock(row.node, row.token.clone())),
                Change::DropLock(node, token) => {
                    let row = self.state().locks.get(node).and_then(|rows| rows.iter().find(|row| row.token == *token).cloned());
                    undo.changes.extend(row.map(Change::PutLock));
                }
                // Of something that is taken back as a whole, or found anew by adoption.
                Change::Put { .. }
                | Change::Remove { .. }
                | Change::PutVersion(_)
                | Change::DropVersion { .. }
                | Change::HandVersions { .. }
                | Change::Stamp { .. }
                | Change::Modified { .. }
                | Change::Properties { .. }
                | Change::Collect { .. }
                | Change::PruneLog { .. }
                | Change::Revive(_) => {}
            }
        }
        Ok(undo)
    }

    /// Takes a change back whose steps failed, with the locks of its writer still held.
    pub(super) fn take_back(&self, undo: Undo, steps: &[Step]) {
        let Undo { changes, free, discarded, versions } = undo;
        if !changes.is_empty() {
            let checks = free.into_iter().map(|place| Check { place, seen: None }).collect();
            let job = NodeJob { checks, ..NodeJob::new(self.id, changes) };
            let taken = match self.is_undone_on_disk(&discarded, steps) {
                Ok(true) => self.store.commit_nodes(job).map_err(Error::from).map(drop),
                Ok(false) => Err(Error::Changed),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                tracing::error!(%error, "a change that could not be made on disk could not be taken back; rows follow what is there");
                self.forget_without_bytes(&discarded);
            }
        }
        // Given to another node meanwhile, such a row stays, and is purged like any other.
        if !versions.is_empty()
            && let Err(error) = self.store.commit_nodes(NodeJob::new(self.id, versions))
        {
            tracing::warn!(%error, "an old version without bytes stays");
        }
    }

    fn is_undone_on_disk(&self, discarded: &[NodeId], steps: &[Step]) -> Result<bool> {
        for id in discarded {
            if is_there(&self.files, &self.trash_path(*id)?)? {
                return Ok(false);
            }
        }
        Ok(is_untouched(&self.files, steps)?)
    }

    /// An entry that cannot be opened says nothing to anybody.
    fn forget_without_bytes(&self, discarded: &[NodeId]) {
        for id in discarded {
            let there = self.trash_path(*id).and_then(|path: DiskPath| Ok(is_there(&self.files, &path)?));
            if let Ok(false) = there
                && let Err(error) =
                    self.store.commit_nodes(NodeJob::new(self.id, vec![Change::Remove { place: Place::in_trash(*id), keep_until: 0 }]))
            {
                tracing::warn!(%error, "an entry of the trash without bytes stays");
            }
        }
    }
}

/// Whether a change deletes something, or brings it back from the trash.
fn is_taken_back(change: &Change) -> bool {
    match change {
        Change::Discard { .. } => true,
        Change::Move { from, .. } => from.parent == NodeId::TRASH,
        // Whoever empties the trash wants nothing of it back.
        Change::Remove { place, .. } => place.parent != NodeId::TRASH,
        Change::Put { .. }
        | Change::PutVersion(_)
        | Change::DropVersion { .. }
        | Change::HandVersions { .. }
        | Change::Stamp { .. }
        | Change::Modified { .. }
        | Change::Properties { .. }
        | Change::PutLock(_)
        | Change::DropLock(..)
        | Change::Collect { .. }
        | Change::PruneLog { .. }
        | Change::Revive(_) => false,
    }
}

/// Where a change puts a node.
fn made_at(change: &Change) -> Option<&Place> {
    if let Change::Put { place, .. } | Change::Move { to: place, .. } = change { Some(place) } else { None }
}

fn is_discarded_from(changes: &[Change], from: &Place) -> bool {
    changes.iter().any(|change| matches!(change, Change::Discard { place, .. } if place == from))
}

/// How the versions of a change are forgotten again, if their bytes do not come.
fn versions_of(changes: &[Change]) -> Vec<Change> {
    let mut versions: Vec<(NodeId, u64, Box<str>)> = Vec::new();
    for change in changes {
        if let Change::PutVersion(row) = change {
            versions.push((row.node, row.number, row.file.clone()));
        } else if let Change::HandVersions { from, to } = change {
            versions.iter_mut().filter(|(node, ..)| node == from).for_each(|(node, ..)| *node = *to);
        }
    }
    versions.into_iter().map(|(node, number, file)| Change::DropVersion { node, number, file }).collect()
}
