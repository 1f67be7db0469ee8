//! From rows to disk: the batch, the steps on disk after it, and what is tidied up later.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use crate::content::{DiskPath, Files, Staged};
use crate::domain::{At, Error, FileStamp, NodeId, Result, SpaceId, TreePath};
use crate::space::keep::KeptNow;
use crate::space::names::NameGuard;
use crate::space::steps::{clear_staged, perform, stored};
use crate::space::undo::Undo;
use crate::space::{DIRECTORY_GROUPS, Space, lock, source_missing};
use crate::store::{Change, Check, Committed, NodeJob, Place, Placement, Step, Store};

/// Where a write ends in tests of crashes, as if the process had died there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The bytes are staged.
    Staged,
    /// The batch is durable, nothing has happened on disk.
    Committed,
    /// Everything is done on disk, the placement record is still there.
    Placed,
}

/// The locks of a writer.
#[derive(Debug)]
pub(super) struct Held {
    _structure: Structure,
    _names: Vec<NameGuard>,
}

/// Source and target must not be the same, nor one in the other: the target is removed, and would take the source with it.
pub(super) fn apart(source: &TreePath, target: &TreePath) -> Result<()> {
    if source == target {
        return Err(Error::Forbidden("source and target are the same"));
    }
    if target.starts_with(source) || source.starts_with(target) {
        return Err(Error::Forbidden("source and target lie in one another"));
    }
    Ok(())
}

#[derive(Debug)]
enum Structure {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Exclusive { _guard: OwnedRwLockWriteGuard<()> },
}

/// A write that is ready to be committed.
#[derive(Default)]
pub(super) struct Write {
    pub(super) checks: Vec<Check>,
    pub(super) changes: Vec<Change>,
    pub(super) steps: Vec<Step>,
    pub(super) staged: Vec<Staged>,
    /// Collections whose directories the steps change, with their paths.
    pub(super) folders: Vec<(NodeId, TreePath)>,
    /// Rows whose change time is known only after the steps.
    pub(super) moved: Vec<(Place, TreePath)>,
}

impl Space {
    /// Takes the locks of a writer: `structure`, exclusively if collections move or go, and the name.
    pub(super) async fn hold(&self, at: &At, exclusive: bool) -> Result<Held> {
        let structure = self.structure(exclusive).await;
        let (parent, path) = self.slot_of(at).await?;
        let name = path.name().ok_or(Error::Forbidden("the root of a home stays where it is"))?;
        let names = vec![self.names.name(parent, &name).await];
        Ok(Held { _structure: structure, _names: names })
    }

    /// [`Space::hold`] for two names.
    pub(super) async fn hold_two(&self, from: &At, to: &At, exclusive: bool) -> Result<Held> {
        let structure = self.structure(exclusive).await;
        let root = Error::Forbidden("the root of a home stays where it is");
        let (from_parent, from_path) = self.slot_of(from).await.map_err(source_missing)?;
        let (to_parent, to_path) = self.slot_of(to).await?;
        let (Some(from_name), Some(to_name)) = (from_path.name(), to_path.name()) else {
            return Err(root);
        };
        // Before the names are taken: a folder and a name in it, held together, could wait for themselves.
        apart(&from_path, &to_path)?;
        let names = self.names.pair((from_parent, &from_name), (to_parent, &to_name)).await;
        Ok(Held { _structure: structure, _names: names })
    }

    async fn structure(&self, exclusive: bool) -> Structure {
        if exclusive {
            Structure::Exclusive { _guard: Arc::clone(&self.structure).write_owned().await }
        } else {
            Structure::Shared { _guard: Arc::clone(&self.structure).read_owned().await }
        }
    }

    /// Collection and name of a path, with `structure` held by the caller.
    async fn slot_of(&self, at: &At) -> Result<(NodeId, TreePath)> {
        use crate::space::state::Walk;
        let walk = self.state().walk(at.base, &at.path);
        match walk {
            Walk::Found { .. } | Walk::Mount { .. } | Walk::Missing { parent: Some(_), .. } => self.slot(walk),
            Walk::Missing { parent: None, .. } | Walk::Load(_) | Walk::Unplaced(_) => {
                let at = at.clone();
                self.blocking(move |space| space.walk_fresh_now(&at).and_then(|walk| space.slot(walk))).await
            }
        }
    }

    /// Commits a write and does its steps. With the locks of the write held, on a blocking thread.
    pub(super) fn carry_out(&self, write: Write) -> Result<Committed> {
        let Write { checks, changes, steps, staged, folders, moved } = write;
        if self.options.stop == Some(Stop::Staged) {
            staged.into_iter().for_each(Staged::committed);
            return Err(stopped());
        }
        let sync = if staged.is_empty() { None } else { self.files.staging_folder() };
        let placement = (!steps.is_empty()).then(|| Placement { steps: steps.clone() });
        let space = self.id;
        let undo = if steps.is_empty() { Undo::default() } else { self.undo_of(&changes)? };
        let kept = KeptNow::by(&changes);
        let committed =
            self.store.commit_nodes(NodeJob { space, checks, changes, placement, done: Vec::new(), now: self.clock.now(), sync })?;
        staged.into_iter().for_each(Staged::committed);
        if self.options.stop == Some(Stop::Committed) {
            return Err(stopped());
        }
        if steps.is_empty() {
            return Ok(committed);
        }
        if let Err(error) = self.do_steps(&steps, &folders) {
            tracing::error!(%error, "a committed change could not be made on disk");
            self.give_up(committed.version, &steps, &folders, undo);
            return Err(error.into());
        }
        if self.options.stop == Some(Stop::Placed) {
            return Err(stopped());
        }
        let mut stamps = Vec::with_capacity(moved.len());
        for (place, path) in moved {
            if let Some(stat) = self.files.stat(&self.disk(&path)).ok().flatten() {
                stamps.push((place, self.disk(&path), stat.stamp));
            }
        }
        let places = steps.iter().flat_map(Step::paths).filter_map(DiskPath::stored).filter(DiskPath::is_kept).map(|path| path.folder());
        let folders = folders.into_iter().map(|(_, path)| self.disk(&path)).chain(places).collect();
        self.settler.settle(Settled { space, version: committed.version, stamps, folders });
        if let Err(error) = self.keep_after(kept) {
            tracing::warn!(%error, user.id = %self.user, "trash and versions could not be brought below their bounds; the sweep does it");
        }
        Ok(committed)
    }

    /// Does steps, and keeps the remembered state of the directories right if nobody else changed them meanwhile.
    fn do_steps(&self, steps: &[Step], folders: &[(NodeId, TreePath)]) -> std::io::Result<()> {
        let _directories = self.lock_directories(folders);
        let look = |path: &TreePath| self.files.stat(&self.disk(path)).ok().flatten().map(|stat| stat.stamp);
        let before: Vec<Option<FileStamp>> = folders.iter().map(|(_, path)| look(path)).collect();
        let outcome = perform(&self.files, steps);
        for ((id, path), before) in folders.iter().zip(before) {
            let after = look(path);
            let mut state = self.state();
            if let (Some(folder), Some(before), Some(after)) = (state.folders.get_mut(id), before, after)
                && folder.stamp == before
            {
                folder.stamp = after;
            }
        }
        outcome
    }

    pub(super) fn lock_directories(&self, folders: &[(NodeId, TreePath)]) -> Vec<MutexGuard<'_, ()>> {
        let group = |id: &NodeId| usize::try_from(id.0 % DIRECTORY_GROUPS as u64).unwrap_or_default();
        // In the order of their numbers, so that two writers cannot wait for each other.
        let groups: BTreeSet<usize> = folders.iter().map(|(id, _)| group(id)).collect();
        groups.into_iter().filter_map(|group| self.directories.get(group)).map(lock).collect()
    }

    fn give_up(&self, version: u64, steps: &[Step], folders: &[(NodeId, TreePath)], undo: Undo) {
        if let Err(error) = clear_staged(&self.files, steps, false) {
            tracing::error!(%error, "what a failed change left could not be cleared; the next start tries the change again");
            return;
        }
        let done = NodeJob { done: vec![version], ..NodeJob::new(self.id, Vec::new()) };
        if let Err(error) = self.store.commit_nodes(done) {
            tracing::error!(%error, "a placement stays; the next start tries it again");
            return;
        }
        self.take_back(undo, steps);
        for (id, _) in folders {
            self.state().distrust(*id);
        }
    }
}

fn stopped() -> Error {
    Error::Internal("stopped here for a test".to_owned())
}

/// Fsyncs a folder. One that was moved, removed or replaced by a file since needs nothing: whoever did it fsyncs its new place.
pub(super) fn sync_if_there(files: &Files, folder: &str) -> std::io::Result<()> {
    match stored(folder).and_then(|folder| files.sync_folder(&folder)) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(()),
        done => done,
    }
}

/// A change that is done on disk.
pub(super) struct Settled {
    space: SpaceId,
    version: u64,
    /// Rows whose change time is known now: what each was, and where.
    stamps: Vec<(Place, DiskPath, FileStamp)>,
    folders: Vec<DiskPath>,
}

enum Task {
    Settle(Settled),
    Purge,
    Close,
}

/// Fsyncs folders and then drops placement records, many at once; and empties the purge folder. Nobody waits for it: until a record is
/// dropped, a restart does the change again.
#[derive(Debug, Clone)]
pub(super) struct Settler {
    settling: Sender<Task>,
    purging: Sender<Task>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Settler {
    pub(super) fn start(store: Store, files: Files) -> Result<Settler> {
        let (settling, to_settle) = mpsc::channel();
        let (purging, to_purge) = mpsc::channel();
        let for_purge = files.clone();
        let settle = std::thread::Builder::new().name("settler".to_owned()).spawn(move || settle_all(&store, &files, &to_settle))?;
        let purge = std::thread::Builder::new().name("purger".to_owned()).spawn(move || purge_all(&for_purge, &to_purge))?;
        Ok(Settler { settling, purging, threads: Arc::new(Mutex::new(vec![settle, purge])) })
    }

    fn settle(&self, settled: Settled) {
        // After `close` nobody listens: the record stays and is replayed.
        drop(self.settling.send(Task::Settle(settled)));
    }

    /// Removes what lies in the purge folder, soon.
    pub(super) fn purge(&self) {
        drop(self.purging.send(Task::Purge));
    }

    pub(super) fn close(&self) {
        drop(self.settling.send(Task::Close));
        drop(self.purging.send(Task::Close));
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread of the spaces ended with a panic");
            }
        }
    }
}

/// How long changes are gathered that share their fsyncs: a restart meanwhile only has more to do again.
const SETTLE_EVERY: Duration = Duration::from_millis(100);

fn settle_all(store: &Store, files: &Files, tasks: &Receiver<Task>) {
    let mut open = true;
    while open && let Ok(first) = tasks.recv() {
        let mut batch = Vec::new();
        let until = Instant::now() + SETTLE_EVERY;
        let mut next = Ok(first);
        while open && let Ok(task) = next {
            match task {
                Task::Settle(settled) => batch.push(settled),
                Task::Purge => {}
                Task::Close => open = false,
            }
            next = tasks.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
        let folders: BTreeSet<&str> = batch.iter().flat_map(|settled| &settled.folders).map(DiskPath::as_str).collect();
        let mut unsure = BTreeSet::new();
        for folder in folders {
            if let Err(error) = sync_if_there(files, folder) {
                tracing::error!(%error, "a folder could not be written to the disk; the next start does the change again");
                unsure.insert(folder.to_owned());
            }
        }
        for settled in batch {
            if settled.folders.iter().any(|folder| unsure.contains(folder.as_str())) {
                continue;
            }
            // What was moved away and back meanwhile has another change time by now.
            let still = |path: &DiskPath, stamp: FileStamp| files.stat(path).ok().flatten().is_some_and(|stat| stat.stamp == stamp);
            let stamps = settled.stamps.into_iter().filter(|(_, path, stamp)| still(path, *stamp));
            let changes = stamps.map(|(place, _, stamp)| Change::Stamp { place, stamp }).collect();
            store.commit_nodes_later(NodeJob { done: vec![settled.version], ..NodeJob::new(settled.space, changes) });
        }
    }
}

fn purge_all(files: &Files, tasks: &Receiver<Task>) {
    while let Ok(Task::Purge | Task::Settle(_)) = tasks.recv() {
        if let Err(error) = files.purge() {
            tracing::warn!(%error, "what was removed could not be deleted from the disk yet");
        }
    }
}
