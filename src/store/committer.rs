//! The one thread that writes (ENGINE 3.5): it takes what waits, at most 256 jobs, into one record of the journal, gives that to
//! the trees, publishes, and answers everybody. A job whose preconditions fail is refused alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::domain::SpaceId;
use crate::limits::COMMIT_RESERVE_BYTES;
use crate::store::export;
use crate::store::journal::{self, Journal};
use crate::store::keys::{self, META_CLEAN, META_IDS, Tree, Trees};
use crate::store::nodes::{Committed, NodeJob, SpaceChanges};
use crate::store::overlay::{Overlay, Planned, Writes};
use crate::store::records::Batch;
use crate::store::{Error, Result, lock};

/// Told of each batch that changed a space.
pub type Observer = Box<dyn Fn(&SpaceChanges) + Send + Sync>;

/// Most jobs of one batch.
const BATCH_JOBS_MAX: usize = 256;
/// Longest time that a job which nobody waits for is kept back, to share the flush of another.
const LATER_MAX: Duration = Duration::from_millis(200);
/// After so many bytes of the journal sled's file is brought to the disk: less than sled writes before it uses a place again.
const SYNC_BYTES: u64 = 128 << 10;
/// Most rows that are dropped in one batch.
const DROP_ROWS_MAX: usize = 4096;

type Observers = Arc<Mutex<HashMap<SpaceId, Observer>>>;

enum Work {
    Nodes(NodeJob),
    Records(Batch),
    ReserveIds(u64),
    DropSpace(SpaceId),
    Export(PathBuf),
    Close(u64),
}

impl Work {
    /// About how many bytes this writes.
    fn weight(&self) -> u64 {
        match self {
            Work::Nodes(job) => job.weight(),
            Work::Records(batch) => batch.writes.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum(),
            Work::ReserveIds(_) | Work::DropSpace(_) | Work::Export(_) | Work::Close(_) => 1,
        }
    }

    /// Whether this brings something to its end that is on disk already.
    fn finishes(&self) -> bool {
        match self {
            Work::Nodes(job) => job.settles(),
            Work::Close(_) => true,
            Work::Records(_) | Work::ReserveIds(_) | Work::DropSpace(_) | Work::Export(_) => false,
        }
    }
}

struct Job {
    work: Work,
    /// Nobody waits: it may share the flush of another job.
    later: bool,
    answer: Box<dyn FnOnce(Result<Option<Committed>>) + Send>,
}

/// The committer's handle.
pub(super) struct Committer {
    jobs: Sender<Job>,
    observers: Observers,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread needs.
pub(super) struct Setup {
    pub(super) trees: Trees,
    pub(super) epoch: u32,
    pub(super) journal: Journal,
    /// sled's `db` file, to be synced after each flush; none with `Durability::Process`.
    pub(super) database: Option<File>,
    pub(super) instance_id: String,
    /// The folder of the store.
    pub(super) folder: PathBuf,
}

impl Committer {
    pub(super) fn start(setup: Setup) -> Result<Committer> {
        let (jobs, waiting) = mpsc::channel();
        let observers = Observers::default();
        let writer = Writer { setup, observers: Arc::clone(&observers), synced_at: 0, full: false, broken: false };
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Committer { jobs, observers, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn observe(&self, space: SpaceId, observer: Observer) {
        drop(lock(&self.observers).insert(space, observer));
    }

    pub(super) fn forget_observer(&self, space: SpaceId) {
        drop(lock(&self.observers).remove(&space));
    }

    pub(super) fn nodes(&self, job: NodeJob) -> Result<Committed> {
        self.wait(Work::Nodes(job))?.ok_or(Error::Closed)
    }

    pub(super) fn nodes_later(&self, job: NodeJob) {
        // Refused after `close` alone; placements are then replayed at the next start.
        drop(self.jobs.send(Job { work: Work::Nodes(job), later: true, answer: Box::new(|_| ()) }));
    }

    pub(super) async fn records(&self, batch: Batch) -> Result<()> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let answer = Box::new(move |result| drop(answer.send(result)));
        self.jobs.send(Job { work: Work::Records(batch), later: false, answer }).map_err(|_closed| Error::Closed)?;
        answered.await.unwrap_or(Err(Error::Closed)).map(drop)
    }

    pub(super) fn records_blocking(&self, batch: Batch) -> Result<()> {
        self.wait(Work::Records(batch)).map(drop)
    }

    pub(super) fn reserve_ids(&self, limit: u64) -> Result<()> {
        self.wait(Work::ReserveIds(limit)).map(drop)
    }

    pub(super) fn drop_space(&self, space: SpaceId) -> Result<()> {
        self.wait(Work::DropSpace(space)).map(drop)
    }

    pub(super) fn export(&self, file: PathBuf) -> Result<()> {
        self.wait(Work::Export(file)).map(drop)
    }

    /// Ends the thread after everything that waits; the second call finds it gone.
    pub(super) fn close(&self, next_id: u64) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if thread.thread().id() == std::thread::current().id() {
            // The last handle was dropped by an observer: the thread cannot wait for itself.
            drop(self.jobs.send(Job { work: Work::Close(next_id), later: false, answer: Box::new(|_| ()) }));
            return;
        }
        if let Err(error) = self.wait(Work::Close(next_id)) {
            tracing::error!(%error, "the store could not be closed properly");
        }
        if thread.join().is_err() {
            tracing::error!("the committer ended with a panic");
        }
    }

    fn wait(&self, work: Work) -> Result<Option<Committed>> {
        // Not tokio's channel: its blocking receive refuses to run on a runtime's thread, where short-lived tools may call this.
        let (answer, answered) = mpsc::sync_channel(1);
        let answer = Box::new(move |result| drop(answer.send(result)));
        self.jobs.send(Job { work, later: false, answer }).map_err(|_closed| Error::Closed)?;
        answered.recv().unwrap_or(Err(Error::Closed))
    }
}

struct Writer {
    setup: Setup,
    observers: Observers,
    /// Where the journal ended when sled's file was last brought to the disk.
    synced_at: u64,
    /// Something in the last batch was refused for lack of disk.
    full: bool,
    /// A write failed: what sled has in memory may never reach the disk, so nothing more is promised.
    broken: bool,
}

enum Planning {
    Nodes(Planned),
    Other,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Some(mut batch) = gather(waiting) {
            let closing = batch.iter().position(|job| matches!(job.work, Work::Close(_)));
            // Whatever was sent after the close is refused: its sender may still hold files, but it gets no promise.
            let refused = closing.map(|at| batch.split_off(at + 1)).unwrap_or_default();
            self.write(batch);
            for job in refused {
                (job.answer)(Err(Error::Closed));
            }
            if closing.is_some() {
                return;
            }
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        if self.broken {
            batch.into_iter().for_each(|job| (job.answer)(Err(Error::Closed)));
            return;
        }
        let batch = self.with_room(batch);
        let mut answers = Vec::with_capacity(batch.len());
        match self.try_write(batch, &mut answers) {
            Ok(results) => answers.into_iter().zip(results).for_each(|(answer, result)| answer(result)),
            Err(error) => {
                tracing::error!(%error, "a commit failed; no more writes until the next start");
                self.broken = true;
                answers.into_iter().for_each(|answer| answer(Err(Error::Closed)));
            }
        }
    }

    /// The jobs of a batch for which there is disk; the others are refused, and can be tried again. sled would not survive a disk that is full.
    /// What only finishes something is never refused: the reserve is for that.
    fn with_room(&mut self, batch: Vec<Job>) -> Vec<Job> {
        let free = rustix::fs::statvfs(&self.setup.folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let mut room = free.map_or(u64::MAX, |free| free.saturating_sub(COMMIT_RESERVE_BYTES));
        let (taken, refused): (Vec<Job>, Vec<Job>) = batch.into_iter().partition(|job| {
            // In the journal, and in sled with what it writes again.
            let left = room.checked_sub(job.work.weight().saturating_mul(3));
            room = left.unwrap_or(room);
            left.is_some() || job.work.finishes()
        });
        if !refused.is_empty() && !self.full {
            tracing::error!("the disk is full: nothing is written until there is room again");
        }
        self.full = !refused.is_empty();
        refused.into_iter().for_each(|job| (job.answer)(Err(Error::Io(ErrorKind::StorageFull.into()))));
        taken
    }

    #[expect(clippy::type_complexity, reason = "the answer of a job is named once, in `Job`")]
    fn try_write(
        &mut self,
        batch: Vec<Job>,
        answers: &mut Vec<Box<dyn FnOnce(Result<Option<Committed>>) + Send>>,
    ) -> Result<Vec<Result<Option<Committed>>>> {
        let trees = self.setup.trees.clone();
        let mut overlay = Overlay::new(&trees, self.setup.epoch);
        let mut closing = false;
        let mut plans: Vec<Result<Planning>> = Vec::with_capacity(batch.len());
        let mut folders: HashMap<RawFd, Arc<File>> = HashMap::new();
        let mut works = Vec::with_capacity(batch.len());
        for job in batch {
            answers.push(job.answer);
            works.push(job.work);
        }
        for work in works {
            let plan = match work {
                Work::Nodes(job) => {
                    if let Some(folder) = &job.sync {
                        folders.insert(folder.as_raw_fd(), Arc::clone(folder));
                    }
                    overlay.job(job).map(Planning::Nodes)
                }
                Work::Records(records) => overlay.records(records).map(|()| Planning::Other),
                Work::ReserveIds(limit) => {
                    overlay.write_meta(META_IDS, limit.to_be_bytes().to_vec());
                    Ok(Planning::Other)
                }
                Work::DropSpace(space) => self.drop_space(space).map(|()| Planning::Other),
                Work::Export(file) => export::write(&self.setup.trees, &self.setup.instance_id, &file).map(|()| Planning::Other),
                Work::Close(next_id) => {
                    overlay.write_meta(META_IDS, next_id.to_be_bytes().to_vec());
                    overlay.write_meta(META_CLEAN, vec![1]);
                    closing = true;
                    Ok(Planning::Other)
                }
            };
            match plan {
                // A corrupt row or a failing disk under one job says nothing good about the others of its batch.
                Err(error @ (Error::Corrupt(_) | Error::Closed)) => return Err(error),
                plan => plans.push(plan),
            }
        }
        let (writes, told) = overlay.finish()?;
        if self.setup.database.is_some() {
            folders.values().try_for_each(|folder| folder.sync_all())?;
        }
        self.persist(&writes)?;
        if closing {
            self.checkpoint()?;
        }
        let observers = lock(&self.observers);
        for (space, changes) in &told {
            if let Some(observer) = observers.get(space) {
                observer(changes);
            }
        }
        drop(observers);
        let answer = |plan: Result<Planning>| match plan? {
            Planning::Nodes(planned) => Ok(Some(overlay.committed(planned))),
            Planning::Other => Ok(None),
        };
        Ok(plans.into_iter().map(answer).collect())
    }

    /// Makes rows durable by the journal, then gives them to sled.
    fn persist(&mut self, writes: &Writes) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        if !self.setup.journal.append(writes)? {
            self.checkpoint()?;
            self.setup.journal.append(writes)?;
        }
        self.setup.trees.apply(writes)?;
        // sled uses old places of its file again once their successors are written, which is not yet on the disk.
        if let Some(database) = &self.setup.database
            && self.setup.journal.end().saturating_sub(self.synced_at) >= SYNC_BYTES
        {
            database.sync_data()?;
            self.synced_at = self.setup.journal.end();
        }
        Ok(())
    }

    /// Brings everything into sled's file; the journal begins again.
    fn checkpoint(&mut self) -> Result<()> {
        let generation = journal::new_generation()?;
        self.setup.trees.checkpoint(generation, self.setup.database.as_ref())?;
        self.setup.journal.restart(generation)?;
        self.synced_at = 0;
        Ok(())
    }

    fn drop_space(&mut self, space: SpaceId) -> Result<()> {
        let trees = [Tree::Nodes, Tree::Ids, Tree::Props, Tree::Locks, Tree::Placements, Tree::Trash, Tree::Versions, Tree::Log];
        let below = trees.map(|tree| (tree, keys::space(space)));
        for (tree, prefix) in below.into_iter().chain([
            (Tree::Meta, keys::garbage_prefix(space)),
            (Tree::Meta, keys::version(space)),
            (Tree::Meta, keys::log_begin(space)),
        ]) {
            loop {
                let scan = self.setup.trees.tree(tree)?.scan_prefix(&prefix).keys().take(DROP_ROWS_MAX);
                let writes: Writes = scan.map(|key| key.map(|key| ((tree, key.to_vec()), None))).collect::<sled::Result<_>>()?;
                if writes.is_empty() {
                    break;
                }
                self.persist(&writes)?;
            }
        }
        Ok(())
    }
}

/// Waits for a job that somebody waits for, or for the oldest other one to come of age; none when every sender is gone.
fn gather(waiting: &Receiver<Job>) -> Option<Vec<Job>> {
    let first = waiting.recv().ok()?;
    let mut urgent = !first.later;
    let mut batch = vec![first];
    let deadline = Instant::now() + LATER_MAX;
    while batch.len() < BATCH_JOBS_MAX {
        let next = if urgent {
            waiting.try_recv().map_err(|_empty| RecvTimeoutError::Timeout)
        } else {
            waiting.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        };
        match next {
            Ok(job) => {
                urgent |= !job.later;
                batch.push(job);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}
