//! What changed below a collection since a version of the space (RFC 6578): rows that are newer tell it themselves; what went, and what came
//! from elsewhere with older members, is in the log.

use std::collections::{HashMap, HashSet};

use crate::domain::{Etag, Name, NodeId, Result, TreePath};
use crate::limits::LOG_ENTRIES_MAX;
use crate::space::Space;
use crate::store::{LogEntry, Place};

/// What the rows do not tell.
#[derive(Debug, Default)]
pub struct Moves {
    /// Nodes that came to where they are now; of a collection all members count as changed.
    pub whole: HashSet<NodeId>,
    /// Names that are free now and were not, with the collection that they were in.
    pub removed: Vec<(NodeId, Name)>,
    /// Collections in whose place another one stands now. Of the old one it is not known what was in it.
    pub replaced: Vec<(NodeId, Name)>,
}

/// A moment in the life of a space. Everything that is looked at afterwards is at least as new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The first half of every version that is given now.
    pub epoch: u32,
    /// The newest version.
    pub version: u64,
    /// The oldest version since which changes can be told.
    pub known_since: u64,
}

impl Space {
    /// Now.
    pub fn moment(&self) -> Result<Moment> {
        // First of all: what is pruned meanwhile only makes a token look older than it is.
        let known_since = self.store.log_begin(self.id)?;
        let version = match self.state().root.etag {
            Etag::Version { version, .. } => version,
            Etag::Opaque(_) => 0,
        };
        Ok(Moment { epoch: self.store.epoch(), version, known_since })
    }

    /// What was logged since a version; none if that is not known any more.
    pub async fn moves_since(&self, version: u64) -> Result<Option<Moves>> {
        self.blocking(move |space| {
            let Some(log) = space.store.log_since(space.id, version, LOG_ENTRIES_MAX)? else {
                return Ok(None);
            };
            let mut moves = Moves::default();
            // Of several nodes that went from one name, a collection counts most.
            let mut gone: HashMap<(NodeId, Box<str>), Vec<NodeId>> = HashMap::new();
            for entry in log {
                match entry {
                    LogEntry::MovedIn(id) => drop(moves.whole.insert(id)),
                    LogEntry::Removed { parent, name, id, collection } => {
                        gone.entry((parent, name)).or_default().extend(collection.then_some(id));
                    }
                }
            }
            for ((parent, name), collections) in gone {
                let Ok(proper) = Name::parse(&name) else { continue };
                match space.row_now(&Place { parent, name })? {
                    None => moves.removed.push((parent, proper)),
                    Some(row) if row.is_collection() && collections.iter().any(|id| *id != row.id) => moves.replaced.push((parent, proper)),
                    Some(_) => {}
                }
            }
            Ok(Some(moves))
        })
        .await
    }

    /// The paths of collections from the root of the space; those that have none are left out.
    pub async fn paths_of(&self, ids: HashSet<NodeId>) -> Result<HashMap<NodeId, TreePath>> {
        self.blocking(move |space| {
            let mut paths = HashMap::with_capacity(ids.len());
            for id in ids {
                if let Some(path) = space.path_now(id)? {
                    paths.insert(id, path);
                }
            }
            Ok(paths)
        })
        .await
    }
}
