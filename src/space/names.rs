//! Locks by name: one writer per (collection, name), from the check of the preconditions to the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::domain::{Name, NodeId};

/// What is locked: a name in a collection, or, with an empty name, the loading of the collection itself.
type Key = (NodeId, Box<str>);
type Table = HashMap<Key, Arc<tokio::sync::Mutex<()>>>;

/// Step and number of steps of [`NameLocks::wait_briefly`]: longer than any commit takes.
const WAIT_STEP: Duration = Duration::from_millis(2);
const WAIT_TRIES: usize = 1000;

/// The locks of one space. They exist while somebody holds or awaits them.
#[derive(Debug, Clone, Default)]
pub(super) struct NameLocks {
    table: Arc<Mutex<Table>>,
}

/// A held lock.
#[derive(Debug)]
pub(super) struct NameGuard {
    locks: NameLocks,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl NameLocks {
    /// Waits for a name.
    pub(super) async fn name(&self, parent: NodeId, name: &Name) -> NameGuard {
        let key = (parent, name.as_str().into());
        let guard = self.entry(&key).lock_owned().await;
        NameGuard { locks: self.clone(), key, guard: Some(guard) }
    }

    /// Waits for two names, always in the same order, so that two renames cannot wait for each other. The same name twice is locked once.
    pub(super) async fn pair(&self, first: (NodeId, &Name), second: (NodeId, &Name)) -> Vec<NameGuard> {
        let mut keys = [first, second];
        keys.sort();
        let mut guards = Vec::with_capacity(2);
        for (index, (parent, name)) in keys.into_iter().enumerate() {
            if index == 0 || first != second {
                guards.push(self.name(parent, name).await);
            }
        }
        guards
    }

    /// A name that nobody holds now.
    pub(super) fn try_name(&self, parent: NodeId, name: &str) -> Option<NameGuard> {
        let key = (parent, name.into());
        let guard = self.entry(&key).try_lock_owned().ok()?;
        Some(NameGuard { locks: self.clone(), key, guard: Some(guard) })
    }

    /// Waits, on a blocking thread, for the right to load or reconcile a collection.
    pub(super) fn loading(&self, collection: NodeId) -> NameGuard {
        let key = (collection, "".into());
        let guard = self.entry(&key).blocking_lock_owned();
        NameGuard { locks: self.clone(), key, guard: Some(guard) }
    }

    /// Waits, on a blocking thread, until nobody holds a name, but not for long: its holder may itself be waiting for a blocking thread.
    pub(super) fn wait_briefly(&self, parent: NodeId, name: &str) {
        for _ in 0..WAIT_TRIES {
            if self.try_name(parent, name).is_some() {
                return;
            }
            std::thread::sleep(WAIT_STEP);
        }
    }

    fn entry(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut table = self.table();
        match table.get(key) {
            Some(entry) => Arc::clone(entry),
            None => Arc::clone(table.entry(key.clone()).or_default()),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NameGuard {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut table = self.locks.table();
        // Whoever waits holds a second reference.
        if table.get(&self.key).is_some_and(|entry| Arc::strong_count(entry) == 1) {
            table.remove(&self.key);
        }
    }
}
