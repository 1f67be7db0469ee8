//! Adoption: what others do to the plain files becomes rows, and is never fought. A name that keeps its place keeps its id; a file that was
//! moved is known again by inode and birth time; what has a pending placement is left alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::content::{Entry, Listing, Stat, now_ns};
use crate::domain::{Children, Error, FileStamp, Kind, Name, Node, NodeId, Result, TreePath};
use crate::space::lookup::{fits, unreadable};
use crate::space::names::NameGuard;
use crate::space::watch::Wanted;
use crate::space::{Space, free_name, lock, unavailable};
use crate::store::{self, Change, Check, NodeJob, Place};

/// What a look at the files found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// New files and folders.
    pub added: u64,
    /// Files with other content.
    pub changed: u64,
    /// Rows whose file is gone.
    pub removed: u64,
    /// What cannot be shown: links, devices, names that are not UTF-8; paths below the home.
    pub skipped: Vec<String>,
}

/// What became of a collection that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    /// Its members are known and right.
    Current,
    /// There is no such directory.
    Vanished,
}

/// Most names that are adopted in one batch.
pub(super) const ADOPT_NAMES_MAX: usize = 500;
/// Changes closer to a look than this may share its tick of the kernel's clock.
const RACY_NS: i64 = 20_000_000;
/// A file from outside that changed so shortly ago is probably still being written.
const WRITING_NS: i64 = 2_000_000_000;
/// How long a node that vanished is remembered, in case it reappears elsewhere, in seconds.
const VANISHED_KEPT_S: i64 = 900;

/// Where a new entry was before.
enum Origin {
    /// At a place where it is no more.
    Moved(Place, Node, Option<NameGuard>),
    /// It vanished a while ago.
    Vanished(Node),
}

/// Changes for one batch.
#[derive(Default)]
struct Adoption {
    checks: Vec<Check>,
    changes: Vec<Change>,
    report: ScanReport,
    /// Names that its caller holds.
    held: HashSet<Place>,
    /// Where nodes were that turned up under other names.
    moved: HashSet<Place>,
    /// Held until the batch is through.
    guards: Vec<NameGuard>,
    /// New folders, whose members are looked at soon.
    folders: Vec<NodeId>,
}

impl Space {
    /// Makes the members of a collection known and right. `structure` must be held; on a blocking thread. With `whole` every entry is
    /// looked at, changed directory or not.
    pub(super) fn freshen(&self, id: NodeId, whole: bool, report: &mut ScanReport) -> Result<Fresh> {
        let _loading = self.names.loading(id);
        if !whole && self.is_fresh(id)? {
            return Ok(Fresh::Current);
        }
        let path = self.path_now(id)?.ok_or(Error::NotFound)?;
        let disk = self.disk(&path);
        let looked_at_ns = now_ns();
        let Some(before) = self.files.stat(&disk).map_err(unreadable)?.filter(|stat| stat.entry == Entry::Directory) else {
            return Ok(Fresh::Vanished);
        };
        // Before the members are read, so that nothing is lost in between.
        self.watcher.watch(&self.files, (self.id, id), &disk, if whole { Wanted::Seen } else { Wanted::Used });
        let children = self.loaded(id)?;
        let Some(listing) = self.files.list(&disk).map_err(unreadable)? else {
            return Ok(Fresh::Vanished);
        };
        self.guard_home(id, &before, &children, &listing)?;
        report.skipped.extend(listing.skipped.iter().map(|name| format!("{path}/{name}")));
        let differing = differing(&children, &listing);
        let mut complete = true;
        for names in differing.chunks(ADOPT_NAMES_MAX) {
            complete &= self.adopt_free(id, &path, names, report)?;
        }
        let mut state = self.state();
        if let Some(folder) = state.folders.get_mut(&id) {
            // A directory whose last change was ours holds no surprise of the same tick of the clock.
            let ours = folder.stamp == before.stamp;
            folder.stamp = if complete { before.stamp } else { FileStamp::default() };
            folder.again_at_ns = look_again(looked_at_ns, &before, ours, differing.iter().filter_map(|name| listing.entries.get(name)));
        }
        Ok(Fresh::Current)
    }

    /// An empty folder in place of the home is most likely the bare mountpoint of a disk that is not there: rows stay, 503.
    fn guard_home(&self, id: NodeId, now: &Stat, children: &Children, listing: &Listing) -> Result<()> {
        let replaced = id == NodeId::ROOT && self.state().root.stamp.inode != now.stamp.inode;
        if replaced && listing.entries.is_empty() && children.values().any(|node| node.kind != Kind::Mount) {
            tracing::error!(user.id = %self.user, "the home is an empty folder now; is its disk mounted?");
            return Err(unavailable());
        }
        if replaced {
            // The committer publishes into `state`, so the guard must be gone before it is waited for.
            let rewritten = rewrite_root(&self.state().root, now.stamp);
            self.store.commit_nodes(NodeJob::new(self.id, vec![rewritten]))?;
        }
        Ok(())
    }

    /// The members as rows, from memory or from the store.
    fn loaded(&self, id: NodeId) -> Result<Arc<Children>> {
        let place = if id == NodeId::ROOT { Place::root() } else { self.place_now(id)?.ok_or(Error::NotFound)? };
        {
            let mut state = self.state();
            if let Some(folder) = state.folders.get(&id) {
                return Ok(Arc::clone(&folder.children));
            }
            state.begin_loading(id);
        }
        let rows = self.store.children(self.id, id);
        let mut state = self.state();
        match rows {
            Ok(rows) => state.loaded(id, place, rows.into_iter().collect()),
            Err(error) => {
                state.abort_loading(id);
                return Err(error.into());
            }
        }
        state.evict(self.options.cached_nodes_max);
        state.folders.get(&id).map(|folder| Arc::clone(&folder.children)).ok_or_else(unavailable)
    }

    /// Adopts those of the names that nobody is writing now; false if some were left out.
    pub(super) fn adopt_free(&self, id: NodeId, path: &TreePath, names: &[Name], report: &mut ScanReport) -> Result<bool> {
        let mut guards = Vec::with_capacity(names.len());
        let mut free = Vec::with_capacity(names.len());
        for name in names {
            if let Some(guard) = self.names.try_name(id, name.as_str()) {
                guards.push(guard);
                free.push(name.clone());
            }
        }
        let adopted = self.adopt(id, path, &free, report)?;
        drop(guards);
        Ok(adopted && free.len() == names.len())
    }

    /// Adopts one name, which must be held. A folder that is gone says nothing about its members: then it is looked at first, so that a
    /// home whose disk is not there is never taken for an empty one.
    pub(super) fn adopt_one(&self, id: NodeId, path: &TreePath, name: Name) -> Result<()> {
        if !self.is_there(id, path)? {
            return self.refresh_or_parent(id);
        }
        self.adopt(id, path, &[name], &mut ScanReport::default()).map(drop)
    }

    /// Whether the directory of a collection is there, and, for the root, still that of the home.
    pub(super) fn is_there(&self, id: NodeId, path: &TreePath) -> Result<bool> {
        let folder = self.files.stat(&self.disk(path)).map_err(unreadable)?.filter(|stat| stat.entry == Entry::Directory);
        let home = self.state().root.stamp.inode;
        Ok(folder.is_some_and(|stat| id != NodeId::ROOT || stat.stamp.inode == home))
    }

    /// Makes the rows of these names what is on disk now. The names must be held. False if a row changed meanwhile, which only a writer of
    /// an ancestor can do: look again later.
    fn adopt(&self, id: NodeId, path: &TreePath, names: &[Name], report: &mut ScanReport) -> Result<bool> {
        let held = names.iter().map(|name| Place::new(id, name)).collect();
        let mut adoption = Adoption { held, ..Adoption::default() };
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let place = Place::new(id, name);
            let row = self.row_now(&place)?;
            let disk = self.disk(&path.join(name));
            let stat = self.files.stat(&disk).map_err(unreadable)?.filter(|stat| stat.entry != Entry::Other);
            found.push((place, row, stat));
        }
        // New names first: what was renamed in this folder has not vanished.
        found.sort_by_key(|(_, row, _)| row.is_some());
        for (place, row, stat) in found {
            if !adoption.moved.contains(&place) {
                self.decide(place, row, stat, &mut adoption)?;
            } else if let Some(stat) = stat {
                // Its row went with what was renamed; the name has been taken since, as by a log that is rotated.
                self.appear(&place, &stat, &mut adoption)?;
            }
        }
        if adoption.changes.is_empty() {
            return Ok(true);
        }
        let mut job = NodeJob::new(self.id, adoption.changes);
        job.now = self.clock.now();
        job.checks = adoption.checks;
        match self.store.commit_nodes(job) {
            Ok(_) => {}
            Err(store::Error::Conflict) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        report.added += adoption.report.added;
        report.changed += adoption.report.changed;
        report.removed += adoption.report.removed;
        lock(&self.sweep).visit_new(adoption.folders);
        Ok(true)
    }

    /// A row, from memory or from the store.
    pub(super) fn row_now(&self, place: &Place) -> Result<Option<Node>> {
        let state = self.state();
        if place.name.is_empty() || state.folders.contains_key(&place.parent) {
            return Ok(state.row(place).cloned());
        }
        drop(state);
        Ok(self.store.node(self.id, place)?)
    }

    fn decide(&self, place: Place, row: Option<Node>, stat: Option<Stat>, adoption: &mut Adoption) -> Result<()> {
        let seen = row.as_ref().map(|node| (node.id, node.etag.clone()));
        let changes_before = adoption.changes.len();
        match (row, stat) {
            (None, None) => {}
            // A mountpoint has no file; one of the same name stays hidden while it is mounted.
            (Some(row), _) if row.kind == Kind::Mount => {}
            (Some(row), None) => self.vanish(&place, &row, adoption)?,
            (None, Some(stat)) => self.appear(&place, &stat, adoption)?,
            (Some(row), Some(stat)) => match (row.kind, stat.entry) {
                (Kind::File, Entry::File) if fits(&row, &stat) => {}
                (Kind::File, Entry::File) => {
                    adoption.report.changed += 1;
                    adoption.changes.push(Change::Put { place: place.clone(), node: refreshed(row, &stat) });
                }
                (Kind::Collection, Entry::Directory) if row.stamp.inode == stat.stamp.inode => {}
                (Kind::Collection, Entry::Directory) => {
                    adoption.folders.push(row.id);
                    adoption.changes.push(Change::Put { place: place.clone(), node: Node { stamp: stat.stamp, ..row } });
                }
                (Kind::File | Kind::Collection | Kind::Mount, Entry::File | Entry::Directory | Entry::Other) => {
                    self.vanish(&place, &row, adoption)?;
                    self.appear(&place, &stat, adoption)?;
                }
            },
        }
        if adoption.changes.len() > changes_before {
            adoption.checks.push(Check { place, seen });
        }
        Ok(())
    }

    /// A row without file goes; mountpoints below it reappear at the root (DESIGN 5).
    fn vanish(&self, place: &Place, row: &Node, adoption: &mut Adoption) -> Result<()> {
        adoption.report.removed += 1;
        if row.kind == Kind::Collection {
            for mountpoint in self.mountpoints().iter().filter(|mountpoint| mountpoint.ancestors.contains(&row.id)) {
                let Some(from) = self.place_now(NodeId(mountpoint.mount.0))? else {
                    continue;
                };
                let moved: BTreeSet<Box<str>> = adoption.changes.iter().filter_map(moved_to_root).collect();
                let root = self.loaded(NodeId::ROOT)?;
                let name = free_name(&mountpoint.name, |name| root.contains_key(name) || moved.contains(name))?;
                adoption.changes.push(Change::Move { from, to: Place::new(NodeId::ROOT, &name) });
            }
        }
        let keep_until = self.clock.now().saturating_add(VANISHED_KEPT_S);
        adoption.changes.push(Change::Remove { place: place.clone(), keep_until });
        Ok(())
    }

    fn appear(&self, place: &Place, stat: &Stat, adoption: &mut Adoption) -> Result<()> {
        let kind = if stat.entry == Entry::Directory { Kind::Collection } else { Kind::File };
        adoption.report.added += 1;
        match self.origin(place, kind, stat, adoption)? {
            Some(Origin::Moved(from, node, guard)) => {
                adoption.guards.extend(guard);
                adoption.moved.insert(from.clone());
                adoption.checks.push(Check { place: from.clone(), seen: Some((node.id, node.etag.clone())) });
                adoption.changes.push(Change::Move { from, to: place.clone() });
                adoption.changes.push(Change::Put { place: place.clone(), node: refreshed(node, stat) });
            }
            Some(Origin::Vanished(node)) => {
                adoption.changes.push(Change::Revive(node.id));
                adoption.folders.extend((kind == Kind::Collection).then_some(node.id));
                adoption.changes.push(Change::Put { place: place.clone(), node: refreshed(node, stat) });
            }
            None => {
                let size = if kind == Kind::File { stat.size } else { 0 };
                let node = self.new_node(kind, size, stat.stamp)?;
                adoption.folders.extend((kind == Kind::Collection).then_some(node.id));
                adoption.changes.push(Change::Put { place: place.clone(), node });
            }
        }
        Ok(())
    }

    /// A row of the same inode and birth time whose old name is gone. Freed inodes are used again at once, so that without a birth time
    /// nothing is known again: a link must never come to open another file.
    fn origin(&self, place: &Place, kind: Kind, stat: &Stat, adoption: &Adoption) -> Result<Option<Origin>> {
        let same = |node: &Node| {
            node.kind == kind
                && node.stamp.inode == stat.stamp.inode
                && node.stamp.btime_ns == stat.stamp.btime_ns
                && stat.stamp.btime_ns != 0
        };
        let Some(id) = self.store.node_by_inode(self.id, stat.stamp.inode)? else {
            return Ok(None);
        };
        if let Some(garbage) = self.store.garbage(self.id, id)? {
            return Ok(same(&garbage.node).then_some(Origin::Vanished(garbage.node)).filter(|_| garbage.keep_until != 0));
        }
        let Some(from) = self.store.place(self.id, id)?.filter(|from| from != place && !adoption.moved.contains(from)) else {
            return Ok(None);
        };
        let Some(node) = self.row_now(&from)?.filter(|node| node.id == id && same(node)) else {
            return Ok(None);
        };
        let (Some(folder), Ok(name)) = (self.path_now(from.parent)?, Name::parse(&from.name)) else {
            return Ok(None);
        };
        let there = self.files.stat(&self.disk(&folder.join(&name))).map_err(unreadable)?;
        if there.is_some_and(|there| there.stamp.inode == stat.stamp.inode) {
            return Ok(None);
        }
        if adoption.held.contains(&from) {
            return Ok(Some(Origin::Moved(from, node, None)));
        }
        Ok(self.names.try_name(from.parent, &from.name).map(|guard| Origin::Moved(from, node, Some(guard))))
    }
}

/// When to look again although the directory will not have changed; 0 for never.
fn look_again<'a>(looked_at_ns: i64, directory: &Stat, ours: bool, mut adopted: impl Iterator<Item = &'a Stat>) -> i64 {
    let age = |time_ns: i64| looked_at_ns.saturating_sub(time_ns);
    if adopted.any(|stat| stat.entry == Entry::File && age(stat.stamp.mtime_ns) < WRITING_NS) {
        looked_at_ns.saturating_add(WRITING_NS)
    } else if !ours && age(directory.stamp.mtime_ns.max(directory.stamp.ctime_ns)) < RACY_NS {
        looked_at_ns.saturating_add(RACY_NS)
    } else {
        0
    }
}

/// A node with what the disk says of it now. A checksum is not kept: whoever can write a file can also set its time back.
fn refreshed(node: Node, stat: &Stat) -> Node {
    match node.kind {
        Kind::File => Node { size: stat.size, modified: stat.modified(), checksum: None, stamp: stat.stamp, ..node },
        Kind::Collection | Kind::Mount => Node { stamp: stat.stamp, ..node },
    }
}

fn rewrite_root(root: &Node, stamp: FileStamp) -> Change {
    Change::Put { place: Place::root(), node: Node { stamp, ..root.clone() } }
}

fn moved_to_root(change: &Change) -> Option<Box<str>> {
    if let Change::Move { to, .. } = change
        && to.parent == NodeId::ROOT
    {
        return Some(to.name.clone());
    }
    None
}

/// Names whose row and entry do not tell the same.
fn differing(children: &BTreeMap<Name, Node>, listing: &Listing) -> Vec<Name> {
    let changed = listing.entries.iter().filter(|(name, stat)| match children.get(*name) {
        None => true,
        Some(row) => match (row.kind, stat.entry) {
            (Kind::Mount, _) => false,
            (Kind::File, Entry::File) => !fits(row, stat),
            (Kind::Collection, Entry::Directory) => row.stamp.inode != stat.stamp.inode,
            (Kind::File | Kind::Collection, Entry::File | Entry::Directory | Entry::Other) => true,
        },
    });
    let gone = children.iter().filter(|(name, row)| row.kind != Kind::Mount && !listing.entries.contains_key(*name));
    changed.map(|(name, _)| name).chain(gone.map(|(name, _)| name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(directory_age_ns: i64, ours: bool, adopted_age_ns: Option<i64>, expected: i64) {
        const NOW_NS: i64 = 1_700_000_000_000_000_000;
        let stat = |entry, age: i64| {
            let stamp = FileStamp { inode: 7, mtime_ns: NOW_NS - age, ctime_ns: NOW_NS - age, btime_ns: 0 };
            Stat { entry, size: 0, stamp, device: (0, 0) }
        };
        let adopted = adopted_age_ns.map(|age| stat(Entry::File, age));
        let again = look_again(NOW_NS, &stat(Entry::Directory, directory_age_ns), ours, adopted.iter());
        assert_eq!(if again == 0 { 0 } else { again - NOW_NS }, expected);
    }

    #[test]
    fn what_may_still_change_unseen_is_looked_at_again() {
        check(5_000_000_000, false, None, 0);
        check(1_000_000, false, None, RACY_NS);
        check(1_000_000, true, None, 0);
        check(5_000_000_000, false, Some(1_000_000_000), WRITING_NS);
        check(1_000_000, true, Some(1_000_000_000), WRITING_NS);
        check(5_000_000_000, false, Some(3_000_000_000), 0);
    }
}
