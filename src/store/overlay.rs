//! What a batch will write, worked out before anything is written. The committer is the only writer, so that plain reads are good.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::{Etag, FileStamp, Kind, Node, NodeId, SpaceId, Timestamp};
use crate::store::codec::{decode, encode};
use crate::store::kept::VersionRow;
use crate::store::keys::{self, Tree, Trees};
use crate::store::log::LogEntry;
use crate::store::nodes::{Change, Committed, Garbage, LockChange, NodeJob, Place, RowChange, SpaceChanges};
use crate::store::records::Batch;
use crate::store::{Error, Result};

mod kept;
mod log;

/// Rows to write: tree and key, and the value or none to remove.
pub(super) type Writes = BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>;

/// A batch in the making.
pub(super) struct Overlay<'a> {
    trees: &'a Trees,
    epoch: u32,
    raw: Writes,
    nodes: HashMap<(SpaceId, Place), Row>,
    places: HashMap<(SpaceId, NodeId), Option<Place>>,
    spaces: HashMap<SpaceId, Work>,
    /// Collections in which the job at hand added or removed names.
    renamed_in: HashSet<NodeId>,
}

struct Row {
    node: Option<Node>,
    changed: bool,
}

#[derive(Default)]
struct Work {
    version: u64,
    /// Collections that get a new version, with the change of their size.
    raised: BTreeMap<NodeId, (i64, u64)>,
    locks: Vec<LockChange>,
}

/// What a job of the batch will be answered, but for rows that later jobs change.
pub(super) struct Planned {
    pub(super) space: SpaceId,
    pub(super) version: u64,
    pub(super) places: Vec<Place>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(trees: &'a Trees, epoch: u32) -> Overlay<'a> {
        Overlay {
            trees,
            epoch,
            raw: BTreeMap::new(),
            nodes: HashMap::new(),
            places: HashMap::new(),
            spaces: HashMap::new(),
            renamed_in: HashSet::new(),
        }
    }

    /// Takes in a batch of records, or refuses it and changes nothing.
    pub(super) fn records(&mut self, batch: Batch) -> Result<()> {
        if let Some(fault) = batch.fault {
            return Err(fault);
        }
        for key in &batch.absent {
            if self.raw(Tree::Records, key)?.is_some() {
                return Err(Error::Conflict);
            }
        }
        for key in &batch.present {
            if self.raw(Tree::Records, key)?.is_none() {
                return Err(Error::Conflict);
            }
        }
        self.raw.extend(batch.writes.into_iter().map(|(key, value)| ((Tree::Records, key), value)));
        Ok(())
    }

    pub(super) fn write_meta(&mut self, key: &[u8], value: Vec<u8>) {
        self.raw.insert((Tree::Meta, key.to_vec()), Some(value));
    }

    /// Takes in a job, or refuses it with [`Error::Conflict`] and changes nothing.
    pub(super) fn job(&mut self, job: NodeJob) -> Result<Planned> {
        let NodeJob { space, checks, changes, placement, done, now, sync: _ } = job;
        for check in &checks {
            let now = self.node(space, &check.place)?.map(|node| (node.id, node.etag.clone()));
            if now != check.seen {
                return Err(Error::Conflict);
            }
        }
        self.check_sources(space, &changes)?;
        let version = self.next_version(space)?;
        let mut places = Vec::new();
        let written: HashSet<NodeId> = changes.iter().filter_map(Change::written).collect();
        self.renamed_in.clear();
        for change in changes {
            places.extend(self.change(space, version, change)?);
        }
        self.touch(space, now, &written)?;
        if let Some(placement) = placement {
            self.raw.insert((Tree::Placements, keys::placement(space, version)), Some(encode(&placement)?));
        }
        for number in done {
            self.raw.insert((Tree::Placements, keys::placement(space, number)), None);
        }
        Ok(Planned { space, version, places })
    }

    /// The names in a collection are its content: it was modified now, unless the job itself wrote it with a time.
    fn touch(&mut self, space: SpaceId, now: Timestamp, written: &HashSet<NodeId>) -> Result<()> {
        for id in std::mem::take(&mut self.renamed_in) {
            if now == 0 || written.contains(&id) {
                continue;
            }
            let Some(place) = self.place(space, id)? else {
                continue;
            };
            if let Some(mut node) = self.node(space, &place)?.filter(|node| node.id == id).cloned() {
                node.modified = now;
                self.set(space, place, Some(node));
            }
        }
        Ok(())
    }

    /// Rows that a job changes must be there, or be made by it before: found out first, so that a refused job leaves nothing.
    fn check_sources(&mut self, space: SpaceId, changes: &[Change]) -> Result<()> {
        let mut made = HashSet::new();
        for change in changes {
            match change {
                Change::Put { place, .. } => drop(made.insert(place)),
                Change::Move { from: place, .. }
                | Change::Discard { place, .. }
                | Change::Modified { place, .. }
                | Change::Properties { place, .. } => {
                    if !made.contains(place) && self.node(space, place)?.is_none() {
                        return Err(Error::Conflict);
                    }
                }
                Change::DropVersion { node, number, file } => {
                    let row = self.raw(Tree::Versions, &keys::file_version(space, *node, *number))?;
                    let row: Option<VersionRow> = row.map(|row| decode(&row)).transpose()?;
                    if row.is_none_or(|row| row.file != *file) {
                        return Err(Error::Conflict);
                    }
                }
                Change::Remove { .. }
                | Change::PutVersion(_)
                | Change::HandVersions { .. }
                | Change::Stamp { .. }
                | Change::PutLock(_)
                | Change::DropLock(..)
                | Change::Collect { .. }
                | Change::PruneLog { .. }
                | Change::Revive(_) => {}
            }
        }
        Ok(())
    }

    fn next_version(&mut self, space: SpaceId) -> Result<u64> {
        if !self.spaces.contains_key(&space) {
            let version = self.trees.get(Tree::Meta, &keys::version(space))?.map_or(0, |value| keys::last_number(&value));
            self.spaces.insert(space, Work { version, ..Work::default() });
        }
        let work = self.spaces.entry(space).or_default();
        work.version += 1;
        Ok(work.version)
    }

    fn change(&mut self, space: SpaceId, version: u64, change: Change) -> Result<Option<Place>> {
        match change {
            Change::Put { place, node } => self.put(space, version, place, node).map(Some),
            Change::Remove { place, keep_until } => self.remove(space, version, &place, keep_until).map(|()| None),
            Change::Move { from, to } => self.relocate(space, version, &from, to).map(Some),
            Change::Discard { place, row } => self.discard(space, version, &place, &row).map(|()| None),
            Change::PutVersion(row) => self.put_version(space, version, &row).map(|()| None),
            Change::DropVersion { node, number, .. } => self.drop_version(space, version, node, number).map(|_row| None),
            Change::HandVersions { from, to } => self.hand_versions(space, version, from, to).map(|()| None),
            Change::Stamp { place, stamp } => {
                // A change time that comes late must not undo what was adopted meanwhile.
                let fits = |row: &FileStamp| {
                    row.inode == stamp.inode && row.mtime_ns == stamp.mtime_ns && (row.ctime_ns == 0 || stamp.ctime_ns == 0)
                };
                if let Some(mut node) = self.node(space, &place)?.filter(|node| fits(&node.stamp)).cloned() {
                    node.stamp = stamp;
                    self.set(space, place, Some(node));
                }
                Ok(None)
            }
            Change::Modified { place, modified, stamp } => {
                let mut node = self.node(space, &place)?.cloned().ok_or(Error::Conflict)?;
                node.modified = modified;
                node.stamp = stamp;
                node.etag = Etag::Version { epoch: self.epoch, version };
                self.raise(space, place.parent, 0, version);
                self.set(space, place.clone(), Some(node));
                Ok(Some(place))
            }
            Change::Properties { place, changes, any } => {
                let mut node = self.node(space, &place)?.cloned().ok_or(Error::Conflict)?;
                for (name, value) in changes {
                    let key = keys::property(space, node.id, &name);
                    let value = value.map(|value| encode(&(name, value))).transpose()?;
                    self.raw.insert((Tree::Props, key), value);
                }
                node.has_properties = any;
                self.set(space, place, Some(node));
                Ok(None)
            }
            Change::PutLock(row) => {
                self.raw.insert((Tree::Locks, keys::lock(space, row.node, &row.token)), Some(encode(&row)?));
                self.locks(space, LockChange::Put(row));
                Ok(None)
            }
            Change::DropLock(node, token) => {
                self.raw.insert((Tree::Locks, keys::lock(space, node, &token)), None);
                self.locks(space, LockChange::Drop(node, token));
                Ok(None)
            }
            Change::PruneLog { up_to, rows_max } => self.prune_log(space, up_to, rows_max).map(|()| None),
            Change::Collect { id, rows_max } => self.collect(space, id, rows_max).map(|()| None),
            Change::Revive(id) => {
                self.raw.insert((Tree::Meta, keys::garbage(space, id)), None);
                self.log(space, version, &LogEntry::MovedIn(id))?;
                Ok(None)
            }
        }
    }

    fn put(&mut self, space: SpaceId, version: u64, place: Place, mut node: Node) -> Result<Place> {
        let mut size_before = 0;
        match self.node(space, &place)?.cloned() {
            Some(old) if old.id == node.id => {
                size_before = old.size;
                if old.kind == Kind::Collection {
                    node.size = old.size;
                }
                if old.stamp.inode != 0 && old.stamp.inode != node.stamp.inode {
                    self.raw.insert((Tree::Ids, keys::inode(space, old.stamp.inode)), None);
                }
            }
            Some(_) => self.remove(space, version, &place, 0)?,
            None => drop(self.renamed_in.insert(place.parent)),
        }
        node.etag = Etag::Version { epoch: self.epoch, version };
        if node.stamp.inode != 0 {
            self.raw.insert((Tree::Ids, keys::inode(space, node.stamp.inode)), Some(node.id.0.to_be_bytes().to_vec()));
        }
        self.raise(space, place.parent, difference(size_before, node.size), version);
        self.set_place(space, node.id, Some(place.clone()))?;
        self.set(space, place.clone(), Some(node));
        Ok(place)
    }

    fn remove(&mut self, space: SpaceId, version: u64, place: &Place, keep_until: Timestamp) -> Result<()> {
        let Some(node) = self.node(space, place)?.cloned() else {
            return Ok(());
        };
        if self.place(space, node.id)?.as_ref() == Some(place) {
            self.set_place(space, node.id, None)?;
        }
        self.raise(space, place.parent, difference(node.size, 0), version);
        self.renamed_in.insert(place.parent);
        self.set(space, place.clone(), None);
        self.leave_trash(space, place, node.id);
        self.log_removed(space, version, place, &node)?;
        if node.kind == Kind::Collection || node.has_properties || keep_until != 0 || self.has_versions(space, node.id)? {
            let id = node.id;
            self.raw.insert((Tree::Meta, keys::garbage(space, id)), Some(encode(&Garbage { node, keep_until })?));
        } else {
            self.forget_inode(space, &node)?;
        }
        Ok(())
    }

    fn relocate(&mut self, space: SpaceId, version: u64, from: &Place, to: Place) -> Result<Place> {
        let mut node = self.node(space, from)?.cloned().ok_or(Error::Conflict)?;
        if *from != to {
            self.remove(space, version, &to, 0)?;
            self.set(space, from.clone(), None);
            self.leave_trash(space, from, node.id);
            self.log_removed(space, version, from, &node)?;
            self.log_moved_in(space, version, &to, &node)?;
        }
        // A file that moves is the file that it was. By another etag, a client that moved it would take it for changed by somebody else, and bring
        // it back when its user deletes it.
        if node.kind != Kind::File || *from == to {
            node.etag = Etag::Version { epoch: self.epoch, version };
        }
        self.renamed_in.extend([from.parent, to.parent]);
        self.raise(space, from.parent, difference(node.size, 0), version);
        self.raise(space, to.parent, difference(0, node.size), version);
        self.set_place(space, node.id, Some(to.clone()))?;
        self.set(space, to.clone(), Some(node));
        Ok(to)
    }

    /// Drops rows below a removed node, and the garbage record with the last of them.
    fn collect(&mut self, space: SpaceId, id: NodeId, rows_max: usize) -> Result<()> {
        let trees = self.trees;
        let garbage_key = keys::garbage(space, id);
        let Some(garbage) = self.raw(Tree::Meta, &garbage_key)? else {
            return Ok(());
        };
        let garbage: Garbage = decode(&garbage)?;
        for (rows, row) in trees.tree(Tree::Nodes)?.scan_prefix(keys::below(space, id)).enumerate() {
            if rows == rows_max {
                return Ok(());
            }
            let (key, value) = row?;
            let node: Node = decode(&value)?;
            self.raw.insert((Tree::Nodes, key.to_vec()), None);
            // Whoever has versions is collected by itself, once they are gone from the disk.
            if node.kind == Kind::Collection || self.has_versions(space, node.id)? {
                let inner = Garbage { node, keep_until: 0 };
                self.raw.insert((Tree::Meta, keys::garbage(space, inner.node.id)), Some(encode(&inner)?));
            } else {
                self.forget(space, &node)?;
            }
        }
        self.forget(space, &garbage.node)?;
        self.raw.insert((Tree::Meta, garbage_key), None);
        Ok(())
    }

    /// Drops what hangs on a node's id.
    fn forget(&mut self, space: SpaceId, node: &Node) -> Result<()> {
        let trees = self.trees;
        self.raw.insert((Tree::Ids, keys::place(space, node.id)), None);
        self.forget_inode(space, node)?;
        for tree in [Tree::Props, Tree::Locks] {
            for key in trees.tree(tree)?.scan_prefix(keys::below(space, node.id)).keys() {
                self.raw.insert((tree, key?.to_vec()), None);
            }
        }
        Ok(())
    }

    /// The inode of a removed node, unless another node has it by now.
    fn forget_inode(&mut self, space: SpaceId, node: &Node) -> Result<()> {
        let inode = keys::inode(space, node.stamp.inode);
        if node.stamp.inode != 0 && self.raw(Tree::Ids, &inode)?.is_some_and(|id| keys::last_number(&id) == node.id.0) {
            self.raw.insert((Tree::Ids, inode), None);
        }
        Ok(())
    }

    /// Notes that a collection changed; all its ancestors follow in [`Overlay::finish`].
    fn raise(&mut self, space: SpaceId, id: NodeId, size: i64, version: u64) {
        let raised = &mut self.spaces.entry(space).or_default().raised;
        let (size_total, newest) = raised.entry(id).or_default();
        *size_total += size;
        *newest = version.max(*newest);
    }

    fn locks(&mut self, space: SpaceId, change: LockChange) {
        self.spaces.entry(space).or_default().locks.push(change);
    }

    fn raw(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.raw.get(&(tree, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.trees.get(tree, key)?.map(|value| value.to_vec())),
        }
    }

    fn node(&mut self, space: SpaceId, place: &Place) -> Result<Option<&Node>> {
        let key = (space, place.clone());
        if !self.nodes.contains_key(&key) {
            let node = self.trees.get(Tree::Nodes, &keys::node(space, place))?.map(|value| decode(&value)).transpose()?;
            self.nodes.insert(key.clone(), Row { node, changed: false });
        }
        Ok(self.nodes.get(&key).and_then(|row| row.node.as_ref()))
    }

    fn set(&mut self, space: SpaceId, place: Place, node: Option<Node>) {
        self.nodes.insert((space, place), Row { node, changed: true });
    }

    fn place(&mut self, space: SpaceId, id: NodeId) -> Result<Option<Place>> {
        if let Some(place) = self.places.get(&(space, id)) {
            return Ok(place.clone());
        }
        let place: Option<Place> = self.trees.get(Tree::Ids, &keys::place(space, id))?.map(|value| decode(&value)).transpose()?;
        self.places.insert((space, id), place.clone());
        Ok(place)
    }

    fn set_place(&mut self, space: SpaceId, id: NodeId, place: Option<Place>) -> Result<()> {
        if self.place(space, id)? != place {
            let value = place.as_ref().map(encode).transpose()?;
            self.raw.insert((Tree::Ids, keys::place(space, id)), value);
            self.places.insert((space, id), place);
        }
        Ok(())
    }

    /// Carries sizes and versions up to the roots, each ancestor once a batch where the order of ids allows it.
    fn raise_ancestors(&mut self, space: SpaceId) -> Result<()> {
        loop {
            let work = self.spaces.entry(space).or_default();
            // Ids of members are mostly larger than those of their collections, so that the largest goes first.
            let Some((id, (size, version))) = work.raised.pop_last() else {
                return Ok(());
            };
            let Some(place) = self.place(space, id)? else {
                continue;
            };
            let Some(mut node) = self.node(space, &place)?.filter(|node| node.id == id).cloned() else {
                continue;
            };
            node.size = node.size.saturating_add_signed(size);
            node.etag = Etag::Version { epoch: self.epoch, version: version.max(own_version(&node.etag, self.epoch)) };
            self.raise(space, place.parent, size, version);
            self.set(space, place, Some(node));
        }
    }

    /// The finished writes, and what each space is told.
    pub(super) fn finish(&mut self) -> Result<(Writes, HashMap<SpaceId, SpaceChanges>)> {
        let spaces: Vec<SpaceId> = self.spaces.keys().copied().collect();
        let mut told: HashMap<SpaceId, SpaceChanges> = HashMap::new();
        for space in spaces {
            self.raise_ancestors(space)?;
            let work = self.spaces.entry(space).or_default();
            self.raw.insert((Tree::Meta, keys::version(space)), Some(work.version.to_be_bytes().to_vec()));
            told.entry(space).or_default().locks = std::mem::take(&mut work.locks);
        }
        for ((space, place), row) in &self.nodes {
            if row.changed {
                let value = row.node.as_ref().map(encode).transpose()?;
                self.raw.insert((Tree::Nodes, keys::node(*space, place)), value);
                told.entry(*space).or_default().rows.push(RowChange { place: place.clone(), node: row.node.clone() });
            }
        }
        Ok((std::mem::take(&mut self.raw), told))
    }

    /// The answer to a job, after [`Overlay::finish`].
    pub(super) fn committed(&mut self, planned: Planned) -> Committed {
        let rows = planned.places.into_iter().filter_map(|place| self.nodes.get(&(planned.space, place)).and_then(|row| row.node.clone()));
        Committed { version: planned.version, nodes: rows.collect() }
    }
}

fn own_version(etag: &Etag, current: u32) -> u64 {
    match etag {
        Etag::Version { epoch, version } if *epoch == current => *version,
        Etag::Version { .. } | Etag::Opaque(_) => 0,
    }
}

fn difference(before: u64, after: u64) -> i64 {
    i64::try_from(i128::from(after) - i128::from(before)).unwrap_or_default()
}
