//! A home as nodes: lookup, listing, the commit of writes, ids, etags, checksums, sizes, quota, locks, dead properties, and the adoption of
//! what others do to the plain files.
//!
//! A write goes: staged bytes → the lock of its name → checks → one durable batch of rows with a placement record → published to memory →
//! renamed on disk → answered; the placement record is dropped later, after the folder was fsynced. Between the batch and the rename the
//! rows already tell the new state: whoever opens the file then finds that it does not fit its row, waits for the name, and looks again.
//! After a crash the placements are replayed.
//!
//! Two kinds of locks: a name lock for each (collection, name), and the `structure` lock of the space, which is held shared by everything
//! that goes through paths on disk and exclusively by what moves or removes collections. `structure` is taken first.
//!
//! Invariants: rows in memory equal the committed rows; a collection's row and its members are read under one lock; nothing on disk is
//! ever overwritten in place; what cannot be read is never shown as absent.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::content::{DiskPath, Files, Modes};
use crate::domain::{
    Clock, Error, FileStamp, Keep, Kind, MountId, Name, Node, NodeId, OfflineCause, Quota, Result, SpaceId, TreePath, UserName,
};
use crate::store::{Change, Durability, NodeJob, Place, Store};

mod change;
mod changes;
mod copy;
mod hash;
mod keep;
mod locks;
mod lookup;
mod mounts;
mod names;
mod news;
mod place;
mod properties;
mod put;
mod reconcile;
mod rename;
mod replay;
mod state;
mod steps;
mod sweep;
mod thin;
mod trash;
mod trash_names;
mod undo;
mod uploads;
mod versions;
mod watch;

pub use crate::content::OpenFile;
pub use changes::{Moment, Moves};
pub use lookup::Resolved;
pub use mounts::{MountRow, Mountpoint};
pub use place::Stop;
pub use reconcile::ScanReport;
pub use uploads::{Chunk, HeldUpload};

pub use crate::store::{TrashRow, VersionRow};

use names::NameLocks;
use place::Settler;
use state::{Roots, State};
use watch::Watcher;

/// How spaces work.
#[derive(Debug, Clone)]
pub struct SpaceOptions {
    /// What an answered write survives.
    pub durability: Durability,
    /// Modes of new files and folders, before the process's umask.
    pub modes: Modes,
    /// Most nodes of one space in memory.
    pub cached_nodes_max: usize,
    /// What of the deleted is kept in the trash.
    pub trash: Keep,
    /// What of the overwritten is kept as old versions.
    pub versions: Keep,
    /// For tests of crashes: writes end after this step as if the process had died.
    pub stop: Option<Stop>,
}

impl Default for SpaceOptions {
    fn default() -> SpaceOptions {
        SpaceOptions {
            durability: Durability::PowerCut,
            modes: Modes::default(),
            cached_nodes_max: 500_000,
            trash: Keep::TRASH,
            versions: Keep::VERSIONS,
            stop: None,
        }
    }
}

/// The spaces of a server. Clones share them.
#[derive(Debug, Clone)]
pub struct Spaces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    files: Files,
    clock: Clock,
    options: SpaceOptions,
    spaces: Mutex<HashMap<SpaceId, Arc<Space>>>,
    settler: Settler,
    watcher: Arc<Watcher>,
}

/// One home.
#[derive(Debug)]
pub struct Space {
    id: SpaceId,
    user: UserName,
    home: DiskPath,
    store: Store,
    files: Files,
    clock: Clock,
    options: SpaceOptions,
    /// Bytes; `u64::MAX` is unlimited.
    quota: AtomicU64,
    state: Mutex<State>,
    structure: Arc<tokio::sync::RwLock<()>>,
    names: NameLocks,
    /// One for each of several groups of directories: held while a rename and the looks at its directory before and after are made.
    directories: [Mutex<()>; DIRECTORY_GROUPS],
    settler: Settler,
    watcher: Arc<Watcher>,
    sweep: Mutex<sweep::Progress>,
    trash_names: trash_names::TrashNames,
    uploads: uploads::Uploads,
    /// Mounts whose mountpoints were purged, and whose records are still there.
    orphans: Mutex<Vec<MountId>>,
    me: Weak<Space>,
}

const DIRECTORY_GROUPS: usize = 64;

impl Spaces {
    /// Opens davroot and finishes on disk what was committed before the last stop. Blocks.
    pub fn open(store: Store, davroot: &Path, clock: Clock, options: SpaceOptions) -> Result<Spaces> {
        let files = Files::open(davroot, options.modes, options.durability == Durability::PowerCut)?;
        if replay::replay(&store, &files)? {
            files.empty_staging()?;
        }
        let settler = Settler::start(store.clone(), files.clone())?;
        settler.purge();
        let inner = Inner { store, files, clock, options, spaces: Mutex::new(HashMap::new()), settler, watcher: Arc::default() };
        Ok(Spaces { inner: Arc::new(inner) })
    }

    /// Makes a home, or takes the folder that is there, with what lies in it. Blocks for a commit.
    pub fn create(&self, space: SpaceId, user: &UserName) -> Result<()> {
        let home = DiskPath::home(user);
        self.inner.files.make_folder(&home)?;
        self.inner.files.sync_folder(&home.folder())?;
        self.register(space, user.clone(), None)
    }

    /// Whether a folder lies where the home of a user would be, with anything in it. Blocks.
    pub fn holds_files(&self, user: &UserName) -> Result<bool> {
        let there = self.inner.files.list(&DiskPath::home(user))?;
        Ok(there.is_some_and(|listing| !listing.entries.is_empty() || !listing.skipped.is_empty()))
    }

    /// Makes a space known: of every user at start. Blocks for some reads. A space that is known already only gets the quota.
    pub fn register(&self, space: SpaceId, user: UserName, quota: Option<u64>) -> Result<()> {
        if let Some(known) = self.get(space) {
            known.set_quota(quota);
            return Ok(());
        }
        let registered = Space::begin(&self.inner, space, user, quota)?;
        drop(lock(&self.inner.spaces).insert(space, registered));
        Ok(())
    }

    /// A space by its number.
    pub fn get(&self, space: SpaceId) -> Option<Arc<Space>> {
        lock(&self.inner.spaces).get(&space).cloned()
    }

    /// All registered spaces.
    pub fn all(&self) -> Vec<Arc<Space>> {
        lock(&self.inner.spaces).values().cloned().collect()
    }

    /// Forgets a space and its rows. The home is moved to `.causeway/removed`, and the new place is told; with `purge` it is deleted. Blocks.
    pub fn remove(&self, space: SpaceId, purge: bool) -> Result<Option<PathBuf>> {
        let Some(gone) = lock(&self.inner.spaces).remove(&space) else {
            return Ok(None);
        };
        self.inner.store.forget_observer(space);
        let files = &self.inner.files;
        let target =
            if purge { files.purge_path() } else { files.removed_path(&format!("{}-{}", gone.user, stamp_of_day(self.inner.clock.now()))) };
        let moved = match files.stat(&gone.home)? {
            Some(_) => files.rename(&gone.home, &target).map(|()| (!purge).then(|| files.absolute(&target)))?,
            None => None,
        };
        for kept in [DiskPath::trash(space), DiskPath::versions(space)] {
            if files.stat(&kept)?.is_some() {
                files.rename(&kept, &files.purge_path())?;
            }
        }
        self.inner.store.drop_space(space)?;
        let uploads = DiskPath::uploads(space);
        if files.stat(&uploads)?.is_some() {
            files.rename(&uploads, &files.purge_path())?;
        }
        self.inner.settler.purge();
        Ok(moved)
    }

    /// Finishes what is waiting and stops the background threads. Rows stay readable.
    pub fn close(&self) {
        self.inner.settler.close();
    }
}

/// Date and time for the name of a folder.
fn stamp_of_day(now: crate::domain::Timestamp) -> String {
    chrono::DateTime::from_timestamp(now, 0).map_or_else(|| now.to_string(), |time| time.format("%Y-%m-%d-%H%M%S").to_string())
}

impl Space {
    fn begin(inner: &Inner, id: SpaceId, user: UserName, quota: Option<u64>) -> Result<Arc<Space>> {
        let home = DiskPath::home(&user);
        // A home that is not there now is asked again at each use; one that cannot be written is said at start.
        if inner.files.stat(&home)?.is_some_and(|stat| !inner.files.is_ours(&stat)) {
            return Err(Error::Internal(format!("the home {} lies on another file system than .causeway", home.as_str())));
        }
        let root = match inner.store.node(id, &Place::root())? {
            Some(root) => root,
            None => new_root(inner, id, &home)?,
        };
        let mut mount_places = std::collections::BTreeMap::new();
        for mount in inner.store.list::<crate::domain::Mount>()?.into_iter().filter(|mount| mount.space == id) {
            if let Some(place) = inner.store.place(id, NodeId(mount.id.0))? {
                mount_places.insert(mount.id, place);
            }
        }
        for received in inner.store.list_below::<crate::domain::ReceivedShare>(&crate::store::received_prefix(id))? {
            if let Some(place) = inner.store.place(id, NodeId(received.mount.0))? {
                mount_places.insert(received.mount, place);
            }
        }
        let uploads = uploads::Uploads::load(inner, id)?;
        let (trash, versions) = hidden_roots(inner, id)?;
        let state = State::new(Roots { home: root, trash, versions }, inner.store.locks(id)?, mount_places);
        let space = Arc::new_cyclic(|me: &Weak<Space>| Space {
            id,
            user,
            home,
            store: inner.store.clone(),
            files: inner.files.clone(),
            clock: inner.clock.clone(),
            options: inner.options.clone(),
            quota: AtomicU64::new(quota.unwrap_or(u64::MAX)),
            state: Mutex::new(state),
            structure: Arc::default(),
            names: NameLocks::default(),
            directories: std::array::from_fn(|_| Mutex::new(())),
            settler: inner.settler.clone(),
            watcher: Arc::clone(&inner.watcher),
            sweep: Mutex::default(),
            trash_names: trash_names::TrashNames::default(),
            uploads,
            orphans: Mutex::default(),
            me: Weak::clone(me),
        });
        let observed = Weak::clone(&space.me);
        let publish = move |changes: &crate::store::SpaceChanges| {
            if let Some(space) = observed.upgrade() {
                space.state().publish(changes);
                space.trash_names.told(changes);
            }
        };
        inner.store.observe(id, Box::new(publish));
        // What was committed between the reads above and the first call of the observer cannot be: a space is registered before it is used.
        Ok(space)
    }

    /// Its number.
    pub fn id(&self) -> SpaceId {
        self.id
    }

    /// Whose home it is.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Space used and left: the smaller of the quota left and the free disk (RFC 4331).
    pub async fn quota(&self) -> Result<Quota> {
        self.quota_now()
    }

    fn quota_now(&self) -> Result<Quota> {
        let used = self.state().root.size;
        let left = self.quota.load(Ordering::Relaxed).saturating_sub(self.counted());
        Ok(Quota { used, available: Some(left.min(self.files.free_bytes()?)) })
    }

    /// Bytes that count towards the quota: everything in the home, and the chunks of unfinished uploads.
    fn counted(&self) -> u64 {
        self.state().root.size.saturating_add(self.uploads.bytes.load(Ordering::Relaxed))
    }

    /// Sets the quota in bytes; none is unlimited. What is there already stays.
    pub fn set_quota(&self, quota: Option<u64>) {
        self.quota.store(quota.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Runs a blocking job that goes on when its caller is dropped.
    async fn blocking<T: Send + 'static>(&self, job: impl FnOnce(&Space) -> Result<T> + Send + 'static) -> Result<T> {
        let space = self.me.upgrade().ok_or_else(|| Error::Internal("the space was removed".to_owned()))?;
        let done = tokio::task::spawn_blocking(move || job(&space)).await;
        done.map_err(|error| Error::Internal(format!("a job ended early: {error}")))?
    }

    fn new_node(&self, kind: Kind, size: u64, stamp: FileStamp) -> Result<Node> {
        Ok(node_of(NodeId(self.store.next_id()?), kind, size, stamp, self.clock.now()))
    }

    fn disk(&self, path: &TreePath) -> DiskPath {
        self.home.below(path)
    }
}

fn node_of(id: NodeId, kind: Kind, size: u64, stamp: FileStamp, now: crate::domain::Timestamp) -> Node {
    let seconds = |ns: i64| ns.div_euclid(1_000_000_000);
    Node {
        size,
        modified: if stamp.inode == 0 { now } else { seconds(stamp.mtime_ns) },
        created: if stamp.btime_ns == 0 { now } else { seconds(stamp.btime_ns) },
        stamp,
        ..Node::bare(id, kind)
    }
}

/// The row of a root. The home must be there: rows for a home that is not mounted would be wrong from the start.
fn new_root(inner: &Inner, space: SpaceId, home: &DiskPath) -> Result<Node> {
    let stat = inner.files.stat(home)?.ok_or_else(unavailable)?;
    let node = node_of(NodeId::ROOT, Kind::Collection, 0, stat.stamp, inner.clock.now());
    let put = Change::Put { place: Place::root(), node };
    let committed = inner.store.commit_nodes(NodeJob::new(space, vec![put]))?;
    committed.nodes.into_iter().next().ok_or_else(|| Error::Internal("a root was not committed".to_owned()))
}

/// The rows and folders of trash and versions, made where they are not there yet.
fn hidden_roots(inner: &Inner, space: SpaceId) -> Result<(Node, Node)> {
    let roots = [
        (NodeId::TRASH, Place::trash_root(), DiskPath::trash(space), "trash"),
        (NodeId::VERSIONS, Place::versions_root(), DiskPath::versions(space), "versions"),
    ];
    let mut missing = Vec::new();
    for (id, place, folder, what) in roots {
        if inner.store.node(space, &place)?.is_none() {
            set_aside(&inner.files, &folder, &format!("{what}-{}", space.0))?;
            let node = node_of(id, Kind::Collection, 0, FileStamp::default(), inner.clock.now());
            missing.push(Change::Put { place, node });
        }
        if inner.files.make_folder(&folder)? {
            inner.files.sync_folder(&folder.folder())?;
        }
    }
    if !missing.is_empty() {
        inner.store.commit_nodes(NodeJob::new(space, missing))?;
    }
    let row = |place| inner.store.node(space, place)?.ok_or_else(|| Error::Internal("a root was not committed".to_owned()));
    Ok((row(&Place::trash_root())?, row(&Place::versions_root())?))
}

/// What lies in a kept folder that the rows never heard of is from a store that was lost. Its names are numbers of nodes, which a new store gives out
/// again, and the number of the space may be another user's by now: it goes where an administrator finds it.
fn set_aside(files: &Files, folder: &DiskPath, name: &str) -> Result<()> {
    let listing = files.list(folder)?.unwrap_or_default();
    if listing.entries.is_empty() && listing.skipped.is_empty() {
        return Ok(());
    }
    let aside = files.removed_path(&format!("{name}-{}", files.unique()));
    files.rename(folder, &aside)?;
    for changed in [aside.folder(), folder.folder()] {
        files.sync_folder(&changed)?;
    }
    tracing::error!(aside = %files.absolute(&aside).display(), "what was deleted or overwritten before the rows were lost is kept here");
    Ok(())
}

/// It exists, but the disk does not show it now (DESIGN 1.2).
fn unavailable() -> Error {
    Error::Unavailable { cause: OfflineCause::Unreachable, retry_after: std::time::Duration::from_secs(30) }
}

/// A source whose collection is not there is itself not there.
fn source_missing(error: Error) -> Error {
    if matches!(error, Error::ParentMissing) { Error::NotFound } else { error }
}

/// What stands for a mountpoint's row: the id of the mount is the id of the node.
fn mount_of(node: &Node) -> MountId {
    MountId(node.id.0)
}

/// A free variant of a name: `Photos (2)`, `single (2).txt`.
fn free_name(wanted: &Name, taken: impl Fn(&str) -> bool) -> Result<Name> {
    if !taken(wanted.as_str()) {
        return Ok(wanted.clone());
    }
    let (stem, extension) = match wanted.as_str().rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        Some(_) | None => (wanted.as_str(), String::new()),
    };
    for number in 2..10_000 {
        let suffix = format!(" ({number}){extension}");
        let room = crate::limits::NAME_BYTES_MAX.saturating_sub(suffix.len());
        let cut = (0..=room.min(stem.len())).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
        let candidate = [stem.get(..cut).unwrap_or_default(), &suffix].concat();
        if !taken(&candidate) {
            return Name::parse(&candidate).map_err(|_invalid| Error::InvalidName("no free name can be made of it"));
        }
    }
    Err(Error::LimitReached("too many names of that kind"))
}

/// A guard even after a panic elsewhere: what these mutexes protect is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
