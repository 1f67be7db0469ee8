//! What a space keeps in memory: the root's row, the members of collections that were asked for, locks, and where mounts hang. An exact copy
//! of the committed rows: the committer publishes each batch here, whole and in order, before anybody is answered, so that a collection and
//! its members are always read from one moment (DESIGN 1.9).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::{Children, FileStamp, Kind, MountId, Name, Node, NodeId, TreePath};
use crate::space::Mountpoint;
use crate::store::{LockChange, LockRow, Place, RowChange, SpaceChanges};

/// The members of a collection, and the state of its directory when they were known to be right.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) children: Arc<Children>,
    /// Of the directory; inode 0 when it has to be read again.
    pub(super) stamp: FileStamp,
    /// The directory changed so shortly before it was read that a change in the same tick of the clock would not show: it is read once more
    /// after this time, in nanoseconds since 1970. 0 if that is not needed.
    pub(super) again_at_ns: i64,
    used: u64,
}

/// The nodes that have no parent.
pub(super) struct Roots {
    pub(super) home: Node,
    pub(super) trash: Node,
    pub(super) versions: Node,
}

/// The memory of one space.
#[derive(Debug)]
pub(super) struct State {
    pub(super) root: Node,
    pub(super) trash: Node,
    pub(super) versions: Node,
    pub(super) folders: HashMap<NodeId, Folder>,
    /// Changes that arrive while members are read from the store.
    loading: HashMap<NodeId, Vec<RowChange>>,
    /// Where collections in `folders` and the bases of links are.
    pub(super) places: HashMap<NodeId, Place>,
    pub(super) locks: HashMap<NodeId, Vec<LockRow>>,
    pub(super) mount_places: BTreeMap<MountId, Place>,
    /// Paths of the mounts, until something moves.
    pub(super) mountpoints: Option<Arc<Vec<Mountpoint>>>,
    /// Counts what may have moved a mount, so that paths worked out meanwhile are not kept.
    pub(super) moves: u64,
    clock: u64,
}

/// Most places of nodes that are kept beside those of cached collections.
const PLACES_MAX: usize = 100_000;

/// Collections that one of so many latest walks went through stay in memory: a walk needs its whole path there at once.
const RECENT_WALKS: u64 = 64;

/// Where a walk along a path ends.
#[derive(Debug)]
pub(super) enum Walk {
    /// At a node; `path` is its path from the root of the space.
    Found { place: Place, node: Node, path: TreePath, chain: Vec<NodeId> },
    /// At a mountpoint on the way or at the end: where it is below the root of the space, and what is left.
    Mount { place: Place, node: Node, path: TreePath, inner: TreePath, chain: Vec<NodeId> },
    /// Nothing is there. `parent` is set if the last name alone is missing.
    Missing { deepest: NodeId, parent: Option<Parent> },
    /// The members of this collection have to be loaded first.
    Load(NodeId),
    /// It has to be looked up where this node is.
    Unplaced(NodeId),
}

/// A collection in which a name is free.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) id: NodeId,
    pub(super) path: TreePath,
    pub(super) name: Name,
    pub(super) chain: Vec<NodeId>,
}

impl State {
    pub(super) fn new(roots: Roots, locks: Vec<LockRow>, mount_places: BTreeMap<MountId, Place>) -> State {
        let mut state = State {
            root: roots.home,
            trash: roots.trash,
            versions: roots.versions,
            folders: HashMap::new(),
            loading: HashMap::new(),
            places: HashMap::new(),
            locks: HashMap::new(),
            mount_places,
            mountpoints: None,
            moves: 0,
            clock: 0,
        };
        for row in locks {
            state.locks.entry(row.node).or_default().push(row);
        }
        state
    }

    /// Takes in what a batch changed.
    pub(super) fn publish(&mut self, changes: &SpaceChanges) {
        // Removals first: a moved node is removed in one place and put in another.
        let (gone, put): (Vec<_>, Vec<_>) = changes.rows.iter().partition(|change| change.node.is_none());
        let mut removed = Vec::new();
        for change in gone {
            if let Some(node) = self.apply(change) {
                removed.push((change, node));
            }
        }
        for change in put {
            self.apply(change);
            self.follow(change);
        }
        for (change, node) in removed {
            self.forget(&change.place, &node);
        }
        for change in &changes.locks {
            match change {
                LockChange::Put(row) => {
                    let rows = self.locks.entry(row.node).or_default();
                    rows.retain(|old| old.token != row.token);
                    rows.push(row.clone());
                }
                LockChange::Drop(node, token) => {
                    if let Some(rows) = self.locks.get_mut(node) {
                        rows.retain(|row| row.token != *token);
                    }
                    if self.locks.get(node).is_some_and(Vec::is_empty) {
                        self.locks.remove(node);
                    }
                }
            }
        }
    }

    /// Applies one row to the members in memory; returns what was there, as far as known.
    fn apply(&mut self, change: &RowChange) -> Option<Node> {
        if let Some(pending) = self.loading.get_mut(&change.place.parent) {
            pending.push(change.clone());
        }
        if change.place.is_root() {
            if let Some(node) = &change.node {
                match node.id {
                    NodeId::TRASH => self.trash = node.clone(),
                    NodeId::VERSIONS => self.versions = node.clone(),
                    _ => self.root = node.clone(),
                }
            }
            return None;
        }
        let folder = self.folders.get_mut(&change.place.parent)?;
        let children = Arc::make_mut(&mut folder.children);
        match &change.node {
            Some(node) => match children.get_mut(&*change.place.name) {
                Some(row) => Some(std::mem::replace(row, node.clone())),
                None => children.insert(Name::parse(&change.place.name).ok()?, node.clone()),
            },
            None => children.remove(&*change.place.name),
        }
    }

    /// Keeps the places of what was written.
    fn follow(&mut self, change: &RowChange) {
        let Some(node) = change.node.as_ref().filter(|_| !change.place.is_root()) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&node.id)
            && *place != change.place
        {
            *place = change.place.clone();
            self.moved();
        }
        match node.kind {
            Kind::Mount => {
                let mount = MountId(node.id.0);
                if self.mount_places.get(&mount) != Some(&change.place) {
                    self.mount_places.insert(mount, change.place.clone());
                    self.moved();
                }
            }
            // A collection that is not in memory may have been moved with mounts below it.
            Kind::Collection if !self.places.contains_key(&node.id) && !self.mount_places.is_empty() => self.moved(),
            Kind::Collection | Kind::File => {}
        }
    }

    /// Forgets what hung on a row that was removed, unless it turned up elsewhere.
    fn forget(&mut self, place: &Place, node: &Node) {
        if self.places.get(&node.id) == Some(place) {
            self.places.remove(&node.id);
            self.folders.remove(&node.id);
        }
        match node.kind {
            Kind::Mount => {
                if self.mount_places.get(&MountId(node.id.0)) == Some(place) {
                    self.mount_places.remove(&MountId(node.id.0));
                }
                self.moved();
            }
            Kind::Collection => self.moved(),
            Kind::File => {}
        }
    }

    fn moved(&mut self) {
        self.mountpoints = None;
        self.moves += 1;
    }

    /// From now on changes of this collection are kept for [`State::loaded`].
    pub(super) fn begin_loading(&mut self, id: NodeId) {
        self.loading.insert(id, Vec::new());
    }

    /// Gives up a load.
    pub(super) fn abort_loading(&mut self, id: NodeId) {
        self.loading.remove(&id);
    }

    /// Takes in members that were read from the store, with what changed since.
    pub(super) fn loaded(&mut self, id: NodeId, place: Place, mut children: Children) {
        for change in self.loading.remove(&id).unwrap_or_default() {
            match (change.node, Name::parse(&change.place.name)) {
                (Some(node), Ok(name)) => drop(children.insert(name, node)),
                (None, _) => drop(children.remove(&*change.place.name)),
                (Some(_), Err(_)) => {}
            }
        }
        self.clock += 1;
        let folder = Folder { children: Arc::new(children), stamp: FileStamp::default(), again_at_ns: 0, used: self.clock };
        self.folders.insert(id, folder);
        self.places.insert(id, place);
    }

    /// Notes where a node is; the walk finds out if that is no longer so.
    pub(super) fn placed(&mut self, id: NodeId, place: Place) {
        if self.places.len() > PLACES_MAX + self.folders.len() {
            let folders = &self.folders;
            self.places.retain(|id, _| folders.contains_key(id));
        }
        self.places.insert(id, place);
    }

    /// The directory of a collection has to be read again.
    pub(super) fn distrust(&mut self, id: NodeId) {
        if let Some(folder) = self.folders.get_mut(&id) {
            folder.stamp = FileStamp::default();
        }
    }

    /// Nodes in memory.
    pub(super) fn cached_nodes(&self) -> usize {
        self.folders.values().map(|folder| folder.children.len() + 1).sum()
    }

    /// Lets the longest unused collections go until at most `nodes_max` nodes are left. What walks under way need is never taken from them.
    pub(super) fn evict(&mut self, nodes_max: usize) {
        let mut total = self.cached_nodes();
        if total <= nodes_max {
            return;
        }
        let recent = self.clock.saturating_sub(RECENT_WALKS);
        let unused = self.folders.iter().filter(|(_, folder)| folder.used < recent);
        let mut by_use: Vec<(u64, NodeId)> = unused.map(|(id, folder)| (folder.used, *id)).collect();
        by_use.sort();
        for (_, id) in by_use {
            if total <= nodes_max {
                return;
            }
            if let Some(folder) = self.folders.remove(&id) {
                total -= folder.children.len() + 1;
                self.places.remove(&id);
            }
        }
    }

    /// The names from the root to a node; the id whose place is not known otherwise.
    pub(super) fn path_of(&self, id: NodeId) -> Result<TreePath, NodeId> {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            let place = self.places.get(&at).ok_or(at)?;
            names.push(Name::parse(&place.name).map_err(|_invalid| at)?);
            at = place.parent;
        }
        Ok(names.iter().rev().fold(TreePath::root(), |path, name| path.join(name)))
    }

    /// Walks from a node along a path.
    pub(super) fn walk(&mut self, base: NodeId, below: &TreePath) -> Walk {
        self.clock += 1;
        let base_path = match self.path_of(base) {
            Ok(path) => path,
            Err(id) => return Walk::Unplaced(id),
        };
        let whole = base_path.join_path(below);
        let base_depth = base_path.depth();
        let root = (self.root.id, self.root.kind);
        let mut step = Step { place: Place::root(), id: root.0, kind: root.1, path: TreePath::root(), chain: Vec::new() };
        let mut names = whole.segments().enumerate().peekable();
        while let Some((depth, name)) = names.next() {
            match step.kind {
                Kind::File => return Walk::Missing { deepest: step.place.parent, parent: None },
                Kind::Mount => break,
                Kind::Collection => {}
            }
            let id = step.id;
            let Some(folder) = self.folders.get_mut(&id) else {
                return Walk::Load(id);
            };
            folder.used = self.clock;
            step.chain.push(id);
            let found = folder.children.get_key_value(name).map(|(name, node)| (name, node.id, node.kind));
            let in_base = depth < base_depth;
            let stale_base = depth + 1 == base_depth && found.is_some_and(|(_, id, _)| id != base);
            match found {
                Some((name, id, kind)) if !stale_base => {
                    step.path = step.path.join(name);
                    step.place = Place::new(step.id, name);
                    (step.id, step.kind) = (id, kind);
                }
                Some(_) | None if in_base => {
                    // What was known of the base's place is older than the rows: the store is asked again.
                    self.doubt(base);
                    return Walk::Unplaced(base);
                }
                Some(_) | None => {
                    let name = if names.peek().is_none() { Name::parse(name).ok() } else { None };
                    let parent = name.map(|name| Parent { id, path: step.path, name, chain: step.chain });
                    return Walk::Missing { deepest: id, parent };
                }
            }
        }
        let Some(node) = self.row(&step.place).cloned() else {
            return Walk::Load(step.place.parent);
        };
        let Step { place, path, chain, .. } = step;
        match node.kind {
            Kind::Mount => {
                let inner = whole.strip_prefix(&path).unwrap_or_default();
                Walk::Mount { place, node, path, inner, chain }
            }
            Kind::File | Kind::Collection => Walk::Found { place, node, path, chain },
        }
    }

    /// A row, if it is in memory.
    pub(super) fn row(&self, place: &Place) -> Option<&Node> {
        if place.name.is_empty() { Some(&self.root) } else { self.folders.get(&place.parent)?.children.get(&*place.name) }
    }

    /// Forgets the places from a node up, as far as no loaded collection vouches for them.
    fn doubt(&mut self, base: NodeId) {
        let mut at = base;
        while let Some(place) = self.places.get(&at) {
            let parent = place.parent;
            if at == base || !self.folders.contains_key(&at) {
                self.places.remove(&at);
            }
            at = parent;
        }
    }
}

struct Step {
    place: Place,
    id: NodeId,
    kind: Kind,
    path: TreePath,
    /// Ids of the collections from the root to the parent.
    chain: Vec<NodeId>,
}
