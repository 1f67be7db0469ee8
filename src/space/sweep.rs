//! What happens in the background: new folders are looked into, every collection is looked at from time to time, locks run out, rows of what
//! was removed are dropped, the disk is cleared.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::domain::{Error, Kind, NodeId, Result, SpaceId, Timestamp};
use crate::limits::LOG_ENTRIES_MAX;
use crate::space::reconcile::{Fresh, ScanReport};
use crate::space::{Space, Spaces, lock};
use crate::store::{Change, NodeJob};

/// How far the sweep of a space is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// To be looked at next.
    queue: VecDeque<NodeId>,
    queued: HashSet<NodeId>,
    /// New folders: before everything else.
    new: VecDeque<NodeId>,
    /// When the last round through the whole space began.
    round: Timestamp,
}

/// Most collections that one call of [`Spaces::sweep`] looks at in a space.
const FOLDERS_PER_SWEEP: usize = 200;
/// A round through all collections of a space begins at most this often, in seconds.
const ROUND_S: i64 = 600;
/// Entries of the log that are dropped in one job.
const LOG_PRUNED_MAX: usize = 2000;
/// Rows of removed nodes that are dropped in one job.
const COLLECT_ROWS_MAX: usize = 200;
/// Jobs of that kind in one call.
const COLLECT_JOBS_MAX: usize = 20;

impl Progress {
    /// Collections to be looked at soon.
    pub(super) fn visit(&mut self, folders: Vec<NodeId>) {
        for id in folders {
            if self.queued.insert(id) {
                self.queue.push_back(id);
            }
        }
    }

    /// Folders that others made: to be looked at first.
    pub(super) fn visit_new(&mut self, folders: Vec<NodeId>) {
        self.new.extend(folders);
    }

    pub(super) fn next_new(&mut self) -> Option<NodeId> {
        self.new.pop_front()
    }

    fn next(&mut self) -> Option<NodeId> {
        if let Some(id) = self.next_new() {
            return Some(id);
        }
        let id = self.queue.pop_front()?;
        self.queued.remove(&id);
        Some(id)
    }
}

impl Spaces {
    /// Looks at all files of a space now, and adopts what others changed.
    pub async fn scan(&self, space: SpaceId) -> Result<ScanReport> {
        let space = self.get(space).ok_or(Error::NotFound)?;
        let mut report = ScanReport::default();
        lock(&space.sweep).visit(vec![NodeId::ROOT]);
        let mut seen = HashSet::new();
        let mut waiting = vec![NodeId::ROOT];
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                let (members, looked) = match space.look_into(id).await {
                    Ok(found) => found,
                    // One folder that cannot be read does not hide the others; its rows stay as they are.
                    Err(Error::Unavailable { .. }) if id != NodeId::ROOT => {
                        let path = space.path_of(id).await?.unwrap_or_default();
                        report.skipped.push(path.to_string());
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                waiting.extend(members);
                report.added += looked.added;
                report.changed += looked.changed;
                report.removed += looked.removed;
                report.skipped.extend(looked.skipped);
            }
        }
        Ok(report)
    }

    /// A step of the background work, for a task that calls it every few seconds. Never delays requests by more than a short job.
    pub async fn sweep(&self) {
        for space in self.all() {
            if let Err(error) = space.sweep_step().await {
                tracing::warn!(%error, user.id = %space.user, "a sweep of a home did not get through; it goes on later");
            }
        }
        self.inner.settler.purge();
    }
}

impl Space {
    /// Looks at every entry of a collection; returns the collections in it.
    pub(super) async fn look_into(&self, id: NodeId) -> Result<(Vec<NodeId>, ScanReport)> {
        let structure = Arc::clone(&self.structure).read_owned().await;
        self.blocking(move |space| {
            let mut report = ScanReport::default();
            let members = match space.freshen(id, true, &mut report) {
                Ok(Fresh::Current) => space.state().folders.get(&id).map(|folder| Arc::clone(&folder.children)).unwrap_or_default(),
                Ok(Fresh::Vanished) if id == NodeId::ROOT => return Err(crate::space::unavailable()),
                // Its parent is looked at as well, or was.
                Ok(Fresh::Vanished) | Err(Error::NotFound) => Arc::default(),
                Err(error) => return Err(error),
            };
            drop(structure);
            Ok((members.values().filter(|node| node.kind == Kind::Collection).map(|node| node.id).collect(), report))
        })
        .await
    }

    async fn sweep_step(&self) -> Result<()> {
        self.blocking(|space| space.tidy().and_then(|()| space.keep_within(None))).await?;
        let now = self.clock.now();
        let mut begins = false;
        {
            let mut progress = lock(&self.sweep);
            if progress.queue.is_empty() && now.saturating_sub(progress.round) >= ROUND_S {
                progress.round = now;
                progress.visit(vec![NodeId::ROOT]);
                begins = true;
            }
        }
        if begins {
            self.trash_names.forget();
            self.blocking(|space| space.prune_log().and_then(|()| space.keep_by_age()).and_then(|()| space.purge_strangers())).await?;
        }
        for _ in 0..FOLDERS_PER_SWEEP {
            let Some(id) = lock(&self.sweep).next() else {
                break;
            };
            let (members, _) = self.look_into(id).await?;
            lock(&self.sweep).visit(members);
        }
        Ok(())
    }

    /// Drops what is too much in the log of removals and moves.
    fn prune_log(&self) -> Result<()> {
        while let Some(up_to) = self.store.log_surplus(self.id, LOG_ENTRIES_MAX)? {
            self.store.commit_nodes(NodeJob::new(self.id, vec![Change::PruneLog { up_to, rows_max: LOG_PRUNED_MAX }]))?;
        }
        Ok(())
    }

    /// Drops locks that ran out and rows of what was removed.
    fn tidy(&self) -> Result<()> {
        let now = self.clock.now();
        let expired: Vec<Change> = {
            let state = self.state();
            let rows = state.locks.values().flatten().filter(|row| row.expires <= now);
            rows.map(|row| Change::DropLock(row.node, row.token.clone())).collect()
        };
        if !expired.is_empty() {
            self.store.commit_nodes(NodeJob::new(self.id, expired))?;
        }
        let garbage = self.store.garbage_list(self.id, COLLECT_JOBS_MAX)?;
        for removed in garbage.into_iter().filter(|removed| removed.keep_until <= now) {
            self.purge_versions(self.store.versions(self.id, removed.node.id)?)?;
            let collect = Change::Collect { id: removed.node.id, rows_max: COLLECT_ROWS_MAX };
            self.store.commit_nodes(NodeJob::new(self.id, vec![collect]))?;
        }
        Ok(())
    }
}
