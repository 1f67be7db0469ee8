//! Opening: the lock of the folder, format, epoch and marks, and what happens when sled cannot read what it wrote.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rustix::fs::FlockOperation;

use crate::domain::{Clock, Timestamp};
use crate::store::committer::{Committer, Setup};
use crate::store::journal::{self, Journal};
use crate::store::keys::{self, META_CLEAN, META_EPOCH, META_FINGERPRINT, META_FORMAT, META_IDS, META_INSTANCE, META_JOURNAL, Tree, Trees};
use crate::store::{Error, Inner, Result, Store, export};

/// What an answered write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// kill -9 and a power cut.
    #[default]
    PowerCut,
    /// kill -9; data is left to the operating system.
    Process,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for sled's cache.
    pub cache_bytes: u64,
    /// What an answered write survives.
    pub durability: Durability,
    /// The export from which a store that cannot be read is rebuilt.
    pub export: Option<PathBuf>,
    /// Names the folder of a store that was moved aside.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, durability: Durability::PowerCut, export: None, clock: Clock::System }
    }
}

/// How a store that could not be read came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Where the unreadable rows lie now.
    pub moved_to: PathBuf,
    /// Whether an export was read in; otherwise the store began empty, and homes are rebuilt from their files.
    pub from_export: bool,
    /// What was wrong.
    pub cause: String,
}

/// The format of the trees as a whole; a newer one is refused. Format 3 has the trees of trash, versions and log, which begin empty in
/// an older store.
const STORE_FORMAT: u32 = 3;
/// The first id that is given out: below are the roots.
const FIRST_ID: u64 = 1 << 10;
/// How far the ids jump after a restore: further than anybody gets between two exports.
const RESTORE_ID_JUMP: u64 = 1 << 32;

impl Store {
    /// Opens or makes the store in `directory` (`davroot/.causeway/store`). Blocks.
    pub fn open(directory: &Path, options: Options) -> Result<Store> {
        std::fs::create_dir_all(directory)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::InUse),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let (rows, log) = (directory.join("rows"), directory.join("journal"));
        let mut recovery = None;
        let opened = match open_rows(&rows, &log, &options) {
            Err(Error::Corrupt(cause)) => {
                recovery = Some(recover(&rows, &log, &options, cause)?);
                open_rows(&rows, &log, &options)?
            }
            other => other?,
        };
        let Opened { trees, instance_id, fingerprint, epoch, next_id, generation } = opened;
        let sync = options.durability == Durability::PowerCut;
        let database = sync.then(|| File::open(rows.join("db"))).transpose()?;
        let journal = Journal::open(&log, generation, sync)?;
        sync_folders(directory, &rows, options.durability)?;
        let instance = instance_id.clone();
        let setup = Setup { trees: trees.clone(), epoch, journal, database, instance_id: instance, folder: rows };
        let committer = Committer::start(setup)?;
        let inner = Inner {
            trees,
            committer,
            instance_id,
            fingerprint,
            epoch,
            next_id: AtomicU64::new(next_id),
            ids_reserved: Mutex::new(next_id),
            recovery,
            directory: directory.to_owned(),
            lock,
        };
        Ok(Store { inner: Arc::new(inner) })
    }
}

struct Opened {
    trees: Trees,
    instance_id: String,
    fingerprint: u64,
    epoch: u32,
    next_id: u64,
    /// Of the journal from now on.
    generation: u64,
}

/// Corruption shows as panics in sled as well as in errors, so both are caught.
fn open_rows(rows: &Path, log: &Path, options: &Options) -> Result<Opened> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let config = sled::Config::new().path(rows).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let trees = Trees::open(open_sled(&config)?)?;
        let database = (options.durability == Durability::PowerCut).then(|| File::open(rows.join("db"))).transpose()?;
        begin(trees, log, database.as_ref())
    }));
    attempt.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Error::Corrupt(text.unwrap_or_else(|| "sled panicked".to_owned())))
    })
}

/// The folder is ours by its lock; sled's own lock may be held for a moment longer by a thread of an instance that was just closed.
fn open_sled(config: &sled::Config) -> Result<sled::Db> {
    const TRIES_MAX: usize = 500;
    for _ in 0..TRIES_MAX {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            other => return Ok(other?),
        }
    }
    Err(Error::InUse)
}

fn begin(trees: Trees, log: &Path, database: Option<&File>) -> Result<Opened> {
    let number = |key: &[u8]| -> Result<Option<u64>> { Ok(trees.get(Tree::Meta, key)?.map(|value| keys::last_number(&value))) };
    let meta = trees.tree(Tree::Meta)?;
    if let Some(format) = number(META_FORMAT)?
        && format > u64::from(STORE_FORMAT)
    {
        return Err(Error::Newer(u32::try_from(format).unwrap_or(u32::MAX)));
    }
    if let Some(generation) = number(META_JOURNAL)? {
        let batches = journal::replay(log, generation, |writes| trees.apply(writes))?;
        if batches > 0 {
            tracing::info!(batches, "what was written since the last checkpoint was taken from the journal");
        }
    }
    let instance_id = match trees.get(Tree::Meta, META_INSTANCE)? {
        Some(value) => String::from_utf8_lossy(&value).into_owned(),
        None => new_instance_id()?,
    };
    let fingerprint = match number(META_FINGERPRINT)? {
        Some(fingerprint) => fingerprint,
        None => journal::new_generation()?,
    };
    let clean = trees.get(Tree::Meta, META_CLEAN)?.is_some();
    let epoch = number(META_EPOCH)?.unwrap_or(0) + u64::from(!clean);
    let next_id = number(META_IDS)?.unwrap_or(FIRST_ID);
    meta.insert(META_FORMAT, &u64::from(STORE_FORMAT).to_be_bytes())?;
    meta.insert(META_INSTANCE, instance_id.as_bytes())?;
    meta.insert(META_FINGERPRINT, &fingerprint.to_be_bytes())?;
    meta.insert(META_EPOCH, &epoch.to_be_bytes())?;
    meta.insert(META_IDS, &next_id.to_be_bytes())?;
    meta.remove(META_CLEAN)?;
    let generation = journal::new_generation()?;
    trees.checkpoint(generation, database)?;
    let epoch = u32::try_from(epoch).map_err(|_error| Error::Corrupt("the epoch is too large".to_owned()))?;
    Ok(Opened { instance_id, fingerprint, epoch, next_id, generation, trees })
}

fn new_instance_id() -> Result<String> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0u8; 64];
    getrandom::fill(&mut random).map_err(|error| Error::Io(io::Error::other(error.to_string())))?;
    // 252 is the last multiple of 36: bytes from there on would make the first letters likelier.
    let letters = random.iter().filter(|byte| **byte < 252).take(10);
    let letters: String = letters.filter_map(|byte| ALPHABET.get(usize::from(byte % 36)).map(|letter| char::from(*letter))).collect();
    Ok(format!("oc{letters}"))
}

/// After the first opening everything that leads to the database must be on disk, not only its bytes (ENGINE 3.5, rule 4).
fn sync_folders(directory: &Path, rows: &Path, durability: Durability) -> Result<()> {
    if durability == Durability::PowerCut {
        for file in [rows.join("db"), rows.join("conf"), rows.to_owned(), directory.to_owned()] {
            File::open(file)?.sync_all()?;
        }
        if let Some(parent) = directory.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

/// Moves unreadable rows aside and reads the last export in.
fn recover(rows: &Path, log: &Path, options: &Options, cause: String) -> Result<Recovery> {
    let moved_to = free_name(rows, options.clock.now());
    std::fs::rename(rows, &moved_to)?;
    // What was written last may be whole in the journal: it is kept beside the rows that it belongs to.
    if log.exists() {
        std::fs::rename(log, moved_to.join("journal"))?;
    }
    let export = options.export.as_deref().filter(|file| file.exists());
    tracing::error!(%cause, moved_to = %moved_to.display(), from_export = export.is_some(), "the store could not be read and is rebuilt");
    let from_export = match export {
        Some(file) => import(rows, file, options).map(|()| true).or_else(|error| {
            tracing::error!(%error, "the export could not be read either; homes are rebuilt from their files");
            if rows.exists() { std::fs::rename(rows, free_name(rows, options.clock.now())).map(|()| false) } else { Ok(false) }
        })?,
        None => false,
    };
    Ok(Recovery { moved_to, from_export, cause })
}

fn free_name(rows: &Path, now: Timestamp) -> PathBuf {
    let candidates = (0..u64::MAX).map(|count| rows.with_file_name(format!("rows.unreadable-{now}-{count}")));
    candidates.into_iter().find(|candidate| !candidate.exists()).unwrap_or_else(|| rows.with_file_name("rows.unreadable"))
}

/// Fills an empty `rows` from an export; the marks rise, so that nothing given out after the export is given out again.
pub(super) fn import(rows: &Path, file: &Path, options: &Options) -> Result<()> {
    let config = sled::Config::new().path(rows).cache_capacity(options.cache_bytes).flush_every_ms(None);
    let trees = Trees::open(open_sled(&config)?)?;
    export::read(&trees, file)?;
    let meta = trees.tree(Tree::Meta)?;
    let raised = |key: &[u8], by: u64| -> Result<()> {
        let value = trees.get(Tree::Meta, key)?.map_or(0, |value| keys::last_number(&value)) + by;
        meta.insert(key, &value.to_be_bytes())?;
        Ok(())
    };
    raised(META_EPOCH, 1)?;
    raised(META_IDS, RESTORE_ID_JUMP)?;
    meta.remove(META_CLEAN)?;
    // The next opening makes another: by it clients learn that what they have may be newer.
    meta.remove(META_FINGERPRINT)?;
    // A journal that lies there belongs to other rows.
    meta.remove(META_JOURNAL)?;
    trees.db.flush()?;
    Ok(())
}
