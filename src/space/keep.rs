//! What becomes of what is deleted or overwritten: it is moved to the trash or to the versions, in the batch of the change that
//! replaces it, as far as the administrator's bounds allow; the oldest goes first.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::content::DiskPath;
use crate::domain::{Error, Inode, Keep, Kind, MountId, Name, Node, NodeId, Principal, Result};
use crate::limits::FILE_VERSIONS_MAX;
use crate::space::put::Target;
use crate::space::thin::thinned;
use crate::space::{Space, lock, place, unavailable};
use crate::store::{Change, Check, Place, Step, TrashRow, VersionRow};

/// What becomes of a node in whose place another one comes.
pub(super) struct Replaced {
    /// To be done before the change that replaces it.
    pub(super) changes: Vec<Change>,
    /// Where its file or folder goes.
    pub(super) to: DiskPath,
    /// Which that is.
    pub(super) inode: Inode,
    /// Nothing of it is kept, and a file is replaced by a file: a rename does that by itself.
    pub(super) overwritten: bool,
}

/// What stays when the oldest has to go: the newest entry, if it is no larger than this. It was found to fit when it came.
#[derive(Default)]
struct Spared {
    /// Of which node something was kept just now; others may have been kept in the same second.
    newest: Option<NodeId>,
    bytes_max: u64,
}

/// What a change keeps.
#[derive(Clone, Copy, Default)]
pub(super) struct KeptNow {
    /// The node in the trash, or the file of the version.
    newest: Option<NodeId>,
    /// The file that has more versions than before.
    versions_of: Option<NodeId>,
}

impl KeptNow {
    pub(super) fn by(changes: &[Change]) -> KeptNow {
        let mut kept = KeptNow::default();
        for change in changes {
            if let Change::Discard { row, .. } = change {
                kept.newest = Some(row.node);
            } else if let Change::PutVersion(row) = change {
                kept = KeptNow { newest: Some(row.node), versions_of: Some(row.node) };
            } else if let Change::HandVersions { from, to } = change {
                kept.newest = kept.newest.map(|newest| if newest == *from { *to } else { newest });
                kept.versions_of = Some(*to);
            }
        }
        kept
    }
}

/// Above its bound, what is kept is brought down to this share of it, so that not each write has to look for the oldest.
const SHRINK_TO_PERCENT: u64 = 90;
/// How long bytes without a row are left alone at least, in seconds: they may be on their way out or back.
const STRANGERS_KEPT_S: i64 = 24 * 3600;
/// Most entries that are purged in one batch.
const PURGED_MAX: usize = 100;

impl Space {
    /// What becomes of the node at a target when `new` comes there; none if nothing is there. A file that a file replaces becomes a version of
    /// it, because the name is the same document to its user; all else goes to the trash.
    pub(super) fn replaced(&self, target: &Target, new: (NodeId, Kind)) -> Result<Option<Replaced>> {
        let Some(old) = target.row.as_ref().filter(|row| row.kind != Kind::Mount) else {
            return Ok(None);
        };
        let inode = old.stamp.file();
        if (old.kind, new.1) == (Kind::File, Kind::File) {
            let handed = Change::HandVersions { from: old.id, to: new.0 };
            return Ok(Some(match self.keep_version(old, &target.by)? {
                Some((row, to)) => Replaced { changes: vec![Change::PutVersion(row), handed], to, inode, overwritten: false },
                None => Replaced { changes: vec![handed], to: self.files.purge_path(), inode, overwritten: true },
            }));
        }
        Ok(Some(match self.discard(target)? {
            Some((change, to)) => Replaced { changes: vec![change], to, inode, overwritten: false },
            None => Replaced { changes: Vec::new(), to: self.files.purge_path(), inode, overwritten: false },
        }))
    }

    /// How a node goes to the trash; none if it is not kept.
    pub(super) fn discard(&self, target: &Target) -> Result<Option<(Change, DiskPath)>> {
        let Some(row) = target.row.as_ref().filter(|row| row.kind != Kind::Mount) else {
            return Ok(None);
        };
        let kept = self.state().trash.size;
        if !self.keeps(self.options.trash, kept, row.size)? {
            return Ok(None);
        }
        let trashed = TrashRow {
            node: row.id,
            path: target.path.clone(),
            parent: target.place.parent,
            deleted: self.clock.now(),
            by: target.by.clone(),
        };
        let to = self.trash_path(row.id)?;
        Ok(Some((Change::Discard { place: target.place.clone(), row: trashed }, to)))
    }

    /// How the content of a file becomes an old version; none if it is not kept. An empty file has nothing to keep.
    pub(super) fn keep_version(&self, old: &Node, by: &Principal) -> Result<Option<(VersionRow, DiskPath)>> {
        let kept = self.state().versions.size;
        if old.kind != Kind::File || old.size == 0 || !self.keeps(self.options.versions, kept, old.size)? {
            return Ok(None);
        }
        let last = self.store.last_version(self.id, old.id)?.unwrap_or(0);
        let file: Box<str> = self.files.unique().into();
        let to = self.version_path(&file)?;
        let row = VersionRow {
            node: old.id,
            number: u64::try_from(old.modified).unwrap_or_default().max(last + 1),
            file,
            inode: old.stamp.inode,
            size: old.size,
            modified: old.modified,
            checksum: old.checksum.clone(),
            created: self.clock.now(),
            by: by.clone(),
        };
        Ok(Some((row, to)))
    }

    /// Whether something of that size is kept at all: not if everything else had to go for it and it would still be too much.
    fn keeps(&self, keep: Keep, kept: u64, size: u64) -> Result<bool> {
        Ok(keep.is_on() && size <= self.keep_bound(keep, kept)?)
    }

    fn keep_bound(&self, keep: Keep, kept: u64) -> Result<u64> {
        let room = self.files.free_bytes()?.saturating_add(kept);
        Ok(keep.share(self.quota.load(Ordering::Relaxed).min(room)))
    }

    pub(super) fn trash_path(&self, id: NodeId) -> Result<DiskPath> {
        Ok(DiskPath::trash(self.id).join(&own_name(&id.0.to_string())?))
    }

    pub(super) fn version_path(&self, file: &str) -> Result<DiskPath> {
        Ok(DiskPath::versions(self.id).join(&own_name(file)?))
    }

    /// After a change, with what it keeps: old versions of one file that are too many go, and whatever is too much. On a blocking thread.
    pub(super) fn keep_after(&self, kept: KeptNow) -> Result<()> {
        if let Some(id) = kept.versions_of {
            let surplus = self.store.surplus_versions(self.id, id, FILE_VERSIONS_MAX)?;
            if !surplus.is_empty() {
                self.purge_versions(surplus)?;
            }
        }
        if kept.newest.is_some() { self.keep_within(kept.newest) } else { Ok(()) }
    }

    /// Brings trash and versions back below their bounds, if they are above; `newest` says of which node something was kept just now. On a
    /// blocking thread.
    pub(super) fn keep_within(&self, newest: Option<NodeId>) -> Result<()> {
        let (trash, versions) = {
            let state = self.state();
            (state.trash.size, state.versions.size)
        };
        let bound = self.keep_bound(self.options.trash, trash)?;
        if trash > bound {
            self.purge_oldest_trash(trash.saturating_sub(bound / 100 * SHRINK_TO_PERCENT), &Spared { newest, bytes_max: bound })?;
        }
        let bound = self.keep_bound(self.options.versions, versions)?;
        if versions > bound {
            self.purge_oldest_versions(versions.saturating_sub(bound / 100 * SHRINK_TO_PERCENT), &Spared { newest, bytes_max: bound })?;
        }
        Ok(())
    }

    /// Removes bytes of trash and versions that no row tells of, once they are too old to be kept. On a blocking thread.
    ///
    /// A row is durable before its bytes come, and bytes on their way out have a placement, so that nothing gets here in the way of a write. What has
    /// neither was deleted or overwritten after the backup from which the rows came, or is left by a disk that refused a purge: as much as was kept
    /// once, and no change adds more than one. They stay as long as what was kept on that day would, so that there are never more of them than
    /// there would be entries.
    pub(super) fn purge_strangers(&self) -> Result<()> {
        let kept = [(DiskPath::trash(self.id), self.options.trash), (DiskPath::versions(self.id), self.options.versions)];
        let listed = kept.map(|(folder, keep)| (self.files.list(&folder), folder, keep));
        // After the folders: what came since has its row already. The placements last: what left the rows has one until it has left the disk.
        let trash = self.store.trash(self.id)?.into_iter().map(|(row, _)| row.node.0.to_string());
        let versions = self.store.all_versions(self.id)?.into_iter().map(|row| row.file.into_string());
        let mut known: HashSet<String> = trash.chain(versions).collect();
        for (_, placement) in self.store.placements(self.id)? {
            let paths = placement.steps.iter().flat_map(Step::paths).filter_map(DiskPath::stored).filter(DiskPath::is_in_kept_folder);
            known.extend(paths.filter_map(|path| path.as_str().rsplit('/').next().map(str::to_owned)));
        }
        let mut strangers = Vec::new();
        for (listing, folder, keep) in listed {
            for (name, stat) in listing?.unwrap_or_default().entries {
                // Since when it lies there: a rename sets the change time.
                let since = stat.stamp.ctime_ns / 1_000_000_000;
                let old = self.clock.now().saturating_sub(since) >= keep.max_age.max(STRANGERS_KEPT_S);
                if old && !known.contains(name.as_str()) {
                    strangers.push((name.as_str().to_owned(), folder.join(&name), stat.stamp));
                }
            }
        }
        if strangers.is_empty() {
            return Ok(());
        }
        // The rows above are not from one moment: a version that was given to another node meanwhile may be missing there.
        let known = self.store.version_files(self.id)?;
        for (_, path, stamp) in strangers.into_iter().filter(|(name, ..)| !known.contains(name.as_str())) {
            // Not what came back meanwhile under the same number.
            if self.files.stat(&path)?.is_none_or(|now| now.stamp != stamp) {
                continue;
            }
            tracing::info!(user.id = %self.user, "bytes in trash or versions of which nothing is known are removed");
            self.files.rename(&path, &self.files.purge_path())?;
        }
        self.settler.purge();
        Ok(())
    }

    /// Purges what is too old, and what of one file is too many, or too near to its neighbours. On a blocking thread.
    pub(super) fn keep_by_age(&self) -> Result<()> {
        let now = self.clock.now();
        let too_old = |since: i64, keep: Keep| now.saturating_sub(since) >= keep.max_age || !keep.is_on();
        let trash = self.store.trash(self.id)?.into_iter().filter(|(row, _)| too_old(row.deleted, self.options.trash));
        self.purge_entries(trash.collect())?;
        let mut versions = self.store.all_versions(self.id)?;
        // In the order in which they were overwritten; numbers follow the modification times, which clients say.
        versions.sort_by_key(|row| (row.node, row.created, row.number));
        let mut gone = Vec::new();
        for of_file in versions.chunk_by(|one, other| one.node == other.node) {
            let surplus = of_file.len().saturating_sub(FILE_VERSIONS_MAX);
            let (first, rest) = of_file.split_at_checked(surplus).unwrap_or_default();
            gone.extend_from_slice(first);
            let (old, young): (Vec<_>, Vec<_>) = rest.iter().cloned().partition(|row| too_old(row.created, self.options.versions));
            gone.extend(old);
            gone.extend(thinned(&young, now).cloned());
        }
        self.purge_versions(gone)
    }

    /// Bytes of trash and versions.
    pub(super) fn kept_bytes(&self) -> u64 {
        let state = self.state();
        state.trash.size.saturating_add(state.versions.size)
    }

    /// Frees so many bytes of disk for something that is wanted now, as far as trash and versions have them. On a blocking thread.
    pub(super) fn make_room(&self, bytes: u64) -> Result<()> {
        let (trash, versions) = {
            let state = self.state();
            (state.trash.size, state.versions.size)
        };
        if trash.saturating_add(versions) < bytes {
            return Err(Error::InsufficientStorage);
        }
        tracing::info!(user.id = %self.user, bytes, "the oldest in trash and versions makes room on the disk");
        self.purge_oldest_trash(bytes.min(trash), &Spared::default())?;
        if bytes > trash {
            self.purge_oldest_versions(bytes - trash, &Spared::default())?;
        }
        Ok(self.files.purge()?)
    }

    fn purge_oldest_trash(&self, bytes: u64, spared: &Spared) -> Result<()> {
        let mut trash = self.store.trash(self.id)?;
        trash.sort_by_key(|(row, _)| (row.deleted, spared.newest == Some(row.node), row.node));
        trash.pop_if(|(_, node)| node.size <= spared.bytes_max);
        let mut freed: u64 = 0;
        let oldest = trash.into_iter().take_while(|(_, node)| {
            let wanted = freed < bytes;
            freed = freed.saturating_add(node.size);
            wanted
        });
        self.purge_entries(oldest.collect())
    }

    fn purge_oldest_versions(&self, bytes: u64, spared: &Spared) -> Result<()> {
        let mut versions = self.store.all_versions(self.id)?;
        versions.sort_by_key(|row| (row.created, spared.newest == Some(row.node), row.node, row.number));
        versions.pop_if(|row| row.size <= spared.bytes_max);
        let mut freed: u64 = 0;
        let oldest = versions.into_iter().take_while(|row| {
            let wanted = freed < bytes;
            freed = freed.saturating_add(row.size);
            wanted
        });
        self.purge_versions(oldest.collect())
    }

    /// Purges entries of the trash, but for those that somebody is restoring just now. On a blocking thread.
    pub(super) fn purge_entries(&self, entries: Vec<(TrashRow, Node)>) -> Result<()> {
        for entries in entries.chunks(PURGED_MAX) {
            let mut guards = Vec::with_capacity(entries.len());
            let mut write = place::Write::default();
            let mut mounts = Vec::new();
            for (row, seen) in entries {
                let place = Place::in_trash(row.node);
                let Some(guard) = self.names.try_name(place.parent, &place.name) else { continue };
                guards.push(guard);
                // It may have been restored, and deleted again, since the list was made.
                let same = self.store.trashed(self.id, row.node)?.as_ref() == Some(row);
                let Some(node) = self.store.node(self.id, &place)?.filter(|node| same && node.etag == seen.etag) else { continue };
                write.steps.extend(self.step_to_purge(&self.trash_path(node.id)?)?);
                write.checks.push(Check { place: place.clone(), seen: Some((node.id, node.etag.clone())) });
                write.changes.push(Change::Remove { place, keep_until: 0 });
                mounts.extend(self.mounts_in_trash(&node)?);
            }
            if !write.changes.is_empty() {
                self.carry_out(write)?;
                lock(&self.orphans).extend(mounts);
            }
            drop(guards);
        }
        self.settler.purge();
        Ok(())
    }

    /// Forgets versions and removes their bytes. On a blocking thread.
    pub(super) fn purge_versions(&self, versions: Vec<VersionRow>) -> Result<()> {
        for rows in versions.chunks(PURGED_MAX) {
            let mut write = place::Write::default();
            for row in rows {
                write.steps.extend(self.step_to_purge(&self.version_path(&row.file)?)?);
                write.changes.push(Change::DropVersion { node: row.node, number: row.number, file: row.file.clone() });
            }
            match self.carry_out(write) {
                // One of them was given to another node just now: the next sweep looks again.
                Ok(_) | Err(Error::PreconditionFailed) => {}
                Err(error) => return Err(error),
            }
        }
        self.settler.purge();
        Ok(())
    }

    /// None if the bytes are gone already. The name is ours alone, and never used again: whatever lies there is meant, also where a backup gave it
    /// another inode.
    fn step_to_purge(&self, from: &DiskPath) -> Result<Option<Step>> {
        let there = self.files.stat(from)?;
        let to = self.files.purge_path().as_str().to_owned();
        Ok(there.map(|stat| Step::Move { from: from.as_str().to_owned(), to, inode: stat.stamp.file() }))
    }

    fn mounts_in_trash(&self, node: &Node) -> Result<Vec<MountId>> {
        if !node.is_collection() {
            return Ok(Vec::new());
        }
        let all: Vec<MountId> = self.state().mount_places.keys().copied().collect();
        let mut mounts = Vec::new();
        for mount in all {
            if self.is_below(NodeId(mount.0), node.id)? {
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }

    /// Mounts whose mountpoints were purged with the folder that they hung in: their records are to be removed. Each is told once.
    pub fn take_orphans(&self) -> Vec<MountId> {
        std::mem::take(&mut lock(&self.orphans))
    }
}

fn own_name(text: &str) -> Result<Name> {
    // Made from numbers and hexadecimal digits, or read from a row that is damaged.
    Name::parse(text).map_err(|_invalid| unavailable())
}
