//! The trees and the keys in them. Numbers are big-endian, so that a prefix is a range.

use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sha2::{Digest, Sha256};

use crate::domain::{LockToken, NodeId, PropertyName, SpaceId};
use crate::store::nodes::Place;
use crate::store::overlay::Writes;
use crate::store::{Error, Result};

/// The trees that batches change, by their number in [`Trees`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tree {
    /// Instance id, epoch, marks, versions of spaces, garbage.
    Meta,
    /// (space, parent, name) → node.
    Nodes,
    /// (space, id) → place; (space, inode) → id.
    Ids,
    /// (space, id, property) → dead property.
    Props,
    /// (space, id, token) → lock.
    Locks,
    /// (space, version) → what is still to be done on disk.
    Placements,
    /// Users, links and the like.
    Records,
    /// (space, id) → what is known of a node in the trash.
    Trash,
    /// (space, id, number) → old version of a file.
    Versions,
    /// (space, version, count) → what went, and what came from elsewhere.
    Log,
}

impl Tree {
    const ALL: [Tree; 10] = [
        Tree::Meta,
        Tree::Nodes,
        Tree::Ids,
        Tree::Props,
        Tree::Locks,
        Tree::Placements,
        Tree::Records,
        Tree::Trash,
        Tree::Versions,
        Tree::Log,
    ];

    /// The tree of a number in the journal.
    pub(super) fn numbered(number: u8) -> Option<Tree> {
        Tree::ALL.get(usize::from(number)).copied()
    }
}

/// Names of the trees in sled, in the order of [`Tree`].
pub(super) const TREE_NAMES: [&str; 10] = ["meta", "nodes", "ids", "props", "locks", "placements", "records", "trash", "versions", "log"];

/// The open trees.
#[derive(Clone)]
pub(super) struct Trees {
    pub(super) db: sled::Db,
    pub(super) all: Vec<sled::Tree>,
    pub(super) cache: sled::Tree,
    /// Held while a batch is applied: nobody reads half of it.
    turn: Arc<RwLock<()>>,
}

impl Trees {
    pub(super) fn open(db: sled::Db) -> Result<Trees> {
        let all = TREE_NAMES.iter().map(|name| db.open_tree(name)).collect::<sled::Result<Vec<_>>>()?;
        let cache = db.open_tree("cache")?;
        Ok(Trees { db, all, cache, turn: Arc::default() })
    }

    pub(super) fn tree(&self, tree: Tree) -> Result<&sled::Tree> {
        self.all.get(tree as usize).ok_or_else(|| Error::Corrupt("a tree is missing".to_owned()))
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<sled::IVec>> {
        let _reading = self.reading();
        Ok(self.tree(tree)?.get(key)?)
    }

    /// While held, all rows are from one moment.
    pub(super) fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes rows, without a flush. Not as a transaction of sled, which begins a new buffer each time: what a crash cuts in two the journal
    /// makes whole again.
    pub(super) fn apply(&self, writes: &Writes) -> Result<()> {
        let _writing = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        for ((tree, key), value) in writes {
            let tree = self.tree(*tree)?;
            match value {
                Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                None => tree.remove(key.as_slice())?,
            };
        }
        Ok(())
    }

    /// Brings everything into sled's file, and then the name of the journal's generation that follows: where sled has the name after a crash, it
    /// has all that came before.
    pub(super) fn checkpoint(&self, generation: u64, database: Option<&File>) -> Result<()> {
        let sync = || database.map_or(Ok(()), File::sync_data);
        self.db.flush()?;
        sync()?;
        self.tree(Tree::Meta)?.insert(META_JOURNAL, &generation.to_be_bytes())?;
        self.db.flush()?;
        Ok(sync()?)
    }
}

pub(super) const META_FORMAT: &[u8] = b"format";
pub(super) const META_INSTANCE: &[u8] = b"instance";
pub(super) const META_EPOCH: &[u8] = b"epoch";
pub(super) const META_IDS: &[u8] = b"ids";
/// Random; another after each restore.
pub(super) const META_FINGERPRINT: &[u8] = b"fingerprint";
pub(super) const META_CLEAN: &[u8] = b"clean";
/// The generation of the journal that sled has not yet flushed.
pub(super) const META_JOURNAL: &[u8] = b"journal";

fn space_key(tag: &[u8], space: SpaceId) -> Vec<u8> {
    [tag, &space.0.to_be_bytes()].concat()
}

/// The version of a space, in `meta`.
pub(super) fn version(space: SpaceId) -> Vec<u8> {
    space_key(b"v", space)
}

/// All garbage of a space, in `meta`.
pub(super) fn garbage_prefix(space: SpaceId) -> Vec<u8> {
    space_key(b"g", space)
}

/// A removed collection whose rows are still to be dropped, in `meta`.
pub(super) fn garbage(space: SpaceId, id: NodeId) -> Vec<u8> {
    [garbage_prefix(space), id.0.to_be_bytes().to_vec()].concat()
}

/// The version after which the log of a space is whole, in `meta`.
pub(super) fn log_begin(space: SpaceId) -> Vec<u8> {
    space_key(b"l", space)
}

/// An entry of the log, in `log`.
pub(super) fn log_entry(space: SpaceId, version: u64, count: u32) -> Vec<u8> {
    [space_key(b"", space), version.to_be_bytes().to_vec(), count.to_be_bytes().to_vec()].concat()
}

/// The version of an entry of the log.
pub(super) fn log_version(key: &[u8]) -> Option<u64> {
    key.get(4..12)?.try_into().ok().map(u64::from_be_bytes)
}

/// All rows of a space, in every tree but `meta` and `records`.
pub(super) fn space(space: SpaceId) -> Vec<u8> {
    space_key(b"", space)
}

/// The members of a collection, in `nodes`; what belongs to a node, in `props`, `locks` and `versions`; its row in `trash`.
pub(super) fn below(space: SpaceId, id: NodeId) -> Vec<u8> {
    [space_key(b"", space), id.0.to_be_bytes().to_vec()].concat()
}

/// A row, in `nodes`.
pub(super) fn node(space: SpaceId, place: &Place) -> Vec<u8> {
    [space_key(b"", space), place.parent.0.to_be_bytes().to_vec(), place.name.as_bytes().to_vec()].concat()
}

/// Where a node is, in `ids`.
pub(super) fn place(space: SpaceId, id: NodeId) -> Vec<u8> {
    [space_key(b"", space), b"n".to_vec(), id.0.to_be_bytes().to_vec()].concat()
}

/// Which node had an inode last, in `ids`.
pub(super) fn inode(space: SpaceId, inode: u64) -> Vec<u8> {
    [space_key(b"", space), b"i".to_vec(), inode.to_be_bytes().to_vec()].concat()
}

/// A dead property, in `props`. The name is hashed, so that keys stay short.
pub(super) fn property(space: SpaceId, id: NodeId, name: &PropertyName) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(name.namespace.as_bytes());
    hash.update([0]);
    hash.update(name.local.as_bytes());
    let digest = hash.finalize();
    [below(space, id), digest.iter().take(16).copied().collect()].concat()
}

/// A lock, in `locks`.
pub(super) fn lock(space: SpaceId, id: NodeId, token: &LockToken) -> Vec<u8> {
    [below(space, id), token.0.as_bytes().to_vec()].concat()
}

/// An old version of a file, in `versions`.
pub(super) fn file_version(space: SpaceId, id: NodeId, number: u64) -> Vec<u8> {
    [below(space, id), number.to_be_bytes().to_vec()].concat()
}

/// A placement, in `placements`.
pub(super) fn placement(space: SpaceId, version: u64) -> Vec<u8> {
    [space_key(b"", space), version.to_be_bytes().to_vec()].concat()
}

/// The last eight bytes of a key as a number.
pub(super) fn last_number(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The space that a key begins with.
pub(super) fn space_of(key: &[u8]) -> SpaceId {
    SpaceId(key.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes)))
}
