//! Rows of spaces: nodes, where they are, their properties and locks, and what is still to be done on disk. Used by `space` alone.

use std::fs::File;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Etag, FileStamp, Inode, LockDepth, LockScope, LockToken, Name, Node, NodeId, Principal, PropertyName, SpaceId, Timestamp,
};
use crate::store::codec::decode;
use crate::store::kept::{TrashRow, VersionRow};
use crate::store::keys::{self, Tree};
use crate::store::{Error, Result, Store};

/// Where a row is: its parent and its name. The root of a space has the parent 0 and no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Id of the collection.
    pub parent: NodeId,
    /// Name in it; empty for the root alone.
    pub name: Box<str>,
}

impl Place {
    /// The place of the root of a space.
    pub fn root() -> Place {
        Place { parent: NodeId(0), name: "".into() }
    }

    /// The place of the root of the trash.
    pub fn trash_root() -> Place {
        Place { parent: NodeId(0), name: "trash".into() }
    }

    /// The place of the root whose size is that of all versions.
    pub fn versions_root() -> Place {
        Place { parent: NodeId(0), name: "versions".into() }
    }

    /// Where a node is in the trash.
    pub fn in_trash(id: NodeId) -> Place {
        Place { parent: NodeId::TRASH, name: id.0.to_string().into() }
    }

    /// Whether this is the place of a root.
    pub fn is_root(&self) -> bool {
        self.parent == NodeId(0)
    }

    /// A name in a collection.
    pub fn new(parent: NodeId, name: &Name) -> Place {
        Place { parent, name: name.as_str().into() }
    }
}

/// A lock as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    /// The locked node.
    pub node: NodeId,
    /// The token.
    pub token: LockToken,
    /// Who took it.
    pub principal: Principal,
    /// What the client says about its owner, as XML.
    pub owner: Box<str>,
    /// Exclusive or shared.
    pub scope: LockScope,
    /// How far it reaches.
    pub depth: LockDepth,
    /// The first second at which it no longer counts.
    pub expires: Timestamp,
    /// The LOCK made an empty file, which counts as absent until it is written.
    pub placeholder: bool,
}

/// One step on disk; paths are below davroot. Safe to repeat: it only happens while the inode is where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStep", into = "StoredStep")]
pub enum Step {
    /// Rename, over whatever file is there.
    Move {
        /// From.
        from: String,
        /// To.
        to: String,
        /// What moves.
        inode: Inode,
    },
    /// Exchange two names at once.
    Swap {
        /// Where the inode is.
        from: String,
        /// Where it will be.
        to: String,
        /// What must end at `to`.
        inode: Inode,
    },
}

impl Step {
    /// From where, and to where.
    pub fn paths(&self) -> [&str; 2] {
        match self {
            Step::Move { from, to, .. } | Step::Swap { from, to, .. } => [from, to],
        }
    }

    /// What must end at its second path.
    pub fn inode(&self) -> Inode {
        match self {
            Step::Move { inode, .. } | Step::Swap { inode, .. } => *inode,
        }
    }
}

/// A [`Step`] as it is kept, by the number of its variant. The first two were written before birth times were kept.
#[derive(Serialize, Deserialize)]
enum StoredStep {
    MoveOfNumber { from: String, to: String, inode: u64 },
    SwapOfNumber { from: String, to: String, inode: u64 },
    Move { from: String, to: String, inode: Inode },
    Swap { from: String, to: String, inode: Inode },
}

impl From<StoredStep> for Step {
    fn from(stored: StoredStep) -> Step {
        let unborn = |number| Inode { number, born_ns: 0 };
        match stored {
            StoredStep::MoveOfNumber { from, to, inode } => Step::Move { from, to, inode: unborn(inode) },
            StoredStep::SwapOfNumber { from, to, inode } => Step::Swap { from, to, inode: unborn(inode) },
            StoredStep::Move { from, to, inode } => Step::Move { from, to, inode },
            StoredStep::Swap { from, to, inode } => Step::Swap { from, to, inode },
        }
    }
}

impl From<Step> for StoredStep {
    fn from(step: Step) -> StoredStep {
        match step {
            Step::Move { from, to, inode } => StoredStep::Move { from, to, inode },
            Step::Swap { from, to, inode } => StoredStep::Swap { from, to, inode },
        }
    }
}

/// What a committed change still has to do on disk, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The steps.
    pub steps: Vec<Step>,
}

/// A removed node whose rows are still there: members of a collection, dead properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// As it was last.
    pub node: Node,
    /// Not to be dropped before: a node that vanished on disk may reappear elsewhere and be the same.
    pub keep_until: Timestamp,
}

/// What must hold of a row for a job to happen.
#[derive(Debug, Clone)]
pub struct Check {
    /// Which row.
    pub place: Place,
    /// The row as its writer saw it; none where there was none.
    pub seen: Option<(NodeId, Etag)>,
}

/// About the size of a row with its entries in other trees.
const ROW_BYTES: u64 = 1024;

/// One change of rows. The committer gives etags and carries sizes to the ancestors.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes a row, new or over the old one. A collection over itself keeps its size; another node that is there is removed.
    Put {
        /// Where.
        place: Place,
        /// What; its etag is replaced.
        node: Node,
    },
    /// Removes a row and all that is below it.
    Remove {
        /// Where.
        place: Place,
        /// As in [`Garbage`].
        keep_until: Timestamp,
    },
    /// Moves a row with all that is below it, to a free place.
    Move {
        /// From.
        from: Place,
        /// To.
        to: Place,
    },
    /// Moves a row with all that is below it into the trash. What is known of it goes with the row, when that leaves the trash again.
    Discard {
        /// From.
        place: Place,
        /// What is known of it.
        row: TrashRow,
    },
    /// Keeps an old version of a file.
    PutVersion(VersionRow),
    /// Forgets a version, which must be there.
    DropVersion {
        /// Of which file.
        node: NodeId,
        /// Its number.
        number: u64,
        /// Its bytes: another version may have come to its number since it was looked at.
        file: Box<str>,
    },
    /// Gives the versions of one node to another, which stands in its place from now on.
    HandVersions {
        /// From.
        from: NodeId,
        /// To.
        to: NodeId,
    },
    /// Fills in a change time that was not known, or forgets one (0); no new version, and nothing if the file is another by now.
    Stamp {
        /// Where.
        place: Place,
        /// What.
        stamp: FileStamp,
    },
    /// Another modification time, which is a new version.
    Modified {
        /// Where.
        place: Place,
        /// Seconds since 1970.
        modified: Timestamp,
        /// What the disk says after it was set there.
        stamp: FileStamp,
    },
    /// Sets or removes dead properties; no new version.
    Properties {
        /// Where.
        place: Place,
        /// Names with values, or none to remove.
        changes: Vec<(PropertyName, Option<Box<str>>)>,
        /// Whether any are left.
        any: bool,
    },
    /// Adds or replaces a lock.
    PutLock(LockRow),
    /// Drops a lock.
    DropLock(NodeId, LockToken),
    /// Drops up to this many rows of garbage.
    Collect {
        /// The removed node.
        id: NodeId,
        /// How many rows.
        rows_max: usize,
    },
    /// Drops up to so many of the oldest entries of the log.
    PruneLog {
        /// Those that are not newer than this version.
        up_to: u64,
        /// How many.
        rows_max: usize,
    },
    /// The removed node is back: its rows are no garbage.
    Revive(NodeId),
}

impl Change {
    /// The node whose whole row this writes.
    pub(super) fn written(&self) -> Option<NodeId> {
        if let Change::Put { node, .. } = self { Some(node.id) } else { None }
    }

    /// About how many bytes this writes.
    fn weight(&self) -> u64 {
        let values = match self {
            Change::Properties { changes, .. } => changes.iter().filter_map(|(_, value)| value.as_deref()).map(str::len).sum(),
            Change::Collect { rows_max, .. } | Change::PruneLog { rows_max, .. } => rows_max.saturating_mul(100),
            Change::Put { .. }
            | Change::Remove { .. }
            | Change::Move { .. }
            | Change::Discard { .. }
            | Change::PutVersion(_)
            | Change::DropVersion { .. }
            | Change::HandVersions { .. }
            | Change::Stamp { .. }
            | Change::Modified { .. }
            | Change::PutLock(_)
            | Change::DropLock(..)
            | Change::Revive(_) => 0,
        };
        values as u64 + ROW_BYTES
    }
}

/// Changes of one space that happen together or not at all.
#[derive(Debug)]
pub struct NodeJob {
    /// Where.
    pub space: SpaceId,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What changes.
    pub changes: Vec<Change>,
    /// What is to be done on disk afterwards.
    pub placement: Option<Placement>,
    /// Placements that are done.
    pub done: Vec<u64>,
    /// The modification time of collections whose names change; 0 leaves it.
    pub now: Timestamp,
    /// A folder to be fsynced before the batch: it holds the staged files of the placement.
    pub sync: Option<Arc<File>>,
}

impl NodeJob {
    /// About how many bytes this writes.
    pub(super) fn weight(&self) -> u64 {
        self.changes.iter().map(Change::weight).sum::<u64>() + ROW_BYTES
    }

    /// Whether this only says that placements are done. Were that forgotten, a restart would do them again, over what was written since.
    pub(super) fn settles(&self) -> bool {
        !self.done.is_empty() && self.placement.is_none() && self.checks.is_empty()
    }

    /// Changes without preconditions and without work on disk.
    pub fn new(space: SpaceId, changes: Vec<Change>) -> NodeJob {
        NodeJob { space, checks: Vec::new(), changes, placement: None, done: Vec::new(), now: 0, sync: None }
    }
}

/// The answer to a job.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The version it was given; also the number of its placement.
    pub version: u64,
    /// The row of each `Put`, `Move` and `Modified`, in their order.
    pub nodes: Vec<Node>,
}

/// A row as it is after a batch.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// Where.
    pub place: Place,
    /// What is there now.
    pub node: Option<Node>,
}

/// A lock as it is after a batch.
#[derive(Debug, Clone)]
pub enum LockChange {
    /// It is there.
    Put(LockRow),
    /// It is gone.
    Drop(NodeId, LockToken),
}

/// Everything that a batch changed in one space.
#[derive(Debug, Default)]
pub struct SpaceChanges {
    /// Rows.
    pub rows: Vec<RowChange>,
    /// Locks, in order.
    pub locks: Vec<LockChange>,
}

/// Rows that are read at once, from one moment: more than the properties or the old versions of one node that are kept.
pub(super) const PAGE_ROWS: usize = 1024;

impl Store {
    /// A row. Blocks.
    pub fn node(&self, space: SpaceId, place: &Place) -> Result<Option<Node>> {
        self.inner.trees.get(Tree::Nodes, &keys::node(space, place))?.map(|value| decode(&value)).transpose()
    }

    /// Where a node is, or was before one of its ancestors was removed. Blocks.
    pub fn place(&self, space: SpaceId, id: NodeId) -> Result<Option<Place>> {
        self.inner.trees.get(Tree::Ids, &keys::place(space, id))?.map(|value| decode(&value)).transpose()
    }

    /// The node that had this inode last. Blocks.
    pub fn node_by_inode(&self, space: SpaceId, inode: u64) -> Result<Option<NodeId>> {
        Ok(self.inner.trees.get(Tree::Ids, &keys::inode(space, inode))?.map(|value| NodeId(keys::last_number(&value))))
    }

    /// The members of a collection. Blocks.
    pub fn children(&self, space: SpaceId, id: NodeId) -> Result<Vec<(Name, Node)>> {
        let prefix = keys::below(space, id);
        let mut children = Vec::new();
        let _reading = self.inner.trees.reading();
        for row in self.inner.trees.tree(Tree::Nodes)?.scan_prefix(&prefix) {
            let (key, value) = row?;
            let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok()).and_then(|name| Name::parse(name).ok());
            let name = name.ok_or_else(|| Error::Corrupt("a row without a proper name".to_owned()))?;
            children.push((name, decode(&value)?));
        }
        Ok(children)
    }

    /// The dead properties of a node. Blocks.
    pub fn properties(&self, space: SpaceId, id: NodeId) -> Result<Vec<(PropertyName, Box<str>)>> {
        self.values(Tree::Props, &keys::below(space, id))
    }

    /// Every lock of a space. Blocks.
    pub fn locks(&self, space: SpaceId) -> Result<Vec<LockRow>> {
        self.values(Tree::Locks, &keys::space(space))
    }

    /// What is still to be done on disk, in the order of versions. Blocks.
    pub fn placements(&self, space: SpaceId) -> Result<Vec<(u64, Placement)>> {
        let _reading = self.inner.trees.reading();
        let scan = self.inner.trees.tree(Tree::Placements)?.scan_prefix(keys::space(space));
        scan.map(|row| row.map_err(Error::from).and_then(|(key, value)| Ok((keys::last_number(&key), decode(&value)?)))).collect()
    }

    /// [`Store::placements`] of all spaces. Blocks.
    pub fn all_placements(&self) -> Result<Vec<(SpaceId, u64, Placement)>> {
        let _reading = self.inner.trees.reading();
        let scan = self.inner.trees.tree(Tree::Placements)?.iter();
        scan.map(|row| {
            row.map_err(Error::from).and_then(|(key, value)| Ok((keys::space_of(&key), keys::last_number(&key), decode(&value)?)))
        })
        .collect()
    }

    /// A removed node, if its rows are still there. Blocks.
    pub fn garbage(&self, space: SpaceId, id: NodeId) -> Result<Option<Garbage>> {
        self.inner.trees.get(Tree::Meta, &keys::garbage(space, id))?.map(|value| decode(&value)).transpose()
    }

    /// Removed nodes whose rows are still there, at most `count`. Blocks.
    pub fn garbage_list(&self, space: SpaceId, count: usize) -> Result<Vec<Garbage>> {
        let _reading = self.inner.trees.reading();
        let scan = self.inner.trees.tree(Tree::Meta)?.scan_prefix(keys::garbage_prefix(space));
        scan.values().take(count).map(|value| decode(&value?)).collect()
    }

    /// Commits a job. Blocks until it is durable, published and answered.
    pub fn commit_nodes(&self, job: NodeJob) -> Result<Committed> {
        self.inner.committer.nodes(job)
    }

    /// Leaves a job for one of the next batches; nobody is told what became of it.
    pub fn commit_nodes_later(&self, job: NodeJob) {
        self.inner.committer.nodes_later(job);
    }

    /// Drops every row of a space. Blocks.
    pub fn drop_space(&self, space: SpaceId) -> Result<()> {
        self.inner.committer.drop_space(space)
    }

    /// The values below a prefix, in the order of keys. Each [`PAGE_ROWS`] of them are from one moment, the whole is not: what gets another key
    /// meanwhile may be missing, or there twice.
    pub(super) fn values<T: serde::de::DeserializeOwned>(&self, tree: Tree, prefix: &[u8]) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.pages(tree, prefix, |page| {
            for value in page {
                values.push(decode(&value)?);
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// Gives the values below a prefix to `each`, page by page: between two of them nothing is held, so that a long read does not keep commits
    /// waiting.
    pub(super) fn pages(&self, tree: Tree, prefix: &[u8], mut each: impl FnMut(Vec<sled::IVec>) -> Result<()>) -> Result<()> {
        let tree = self.inner.trees.tree(tree)?;
        let mut from = Bound::Included(sled::IVec::from(prefix));
        loop {
            let mut page = Vec::new();
            let reading = self.inner.trees.reading();
            let mut last = None;
            for row in tree.range((from, Bound::Unbounded)).take(PAGE_ROWS) {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                page.push(value);
                last = Some(key);
            }
            drop(reading);
            let full = page.len() == PAGE_ROWS;
            each(page)?;
            match last {
                Some(last) if full => from = Bound::Excluded(last),
                Some(_) | None => return Ok(()),
            }
        }
    }
}
