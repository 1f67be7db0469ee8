//! The poll loop: asks each remote for its root etag, often while somebody uses the mount and seldom while nobody does, so that a client that
//! watches only its own root learns of changes on other servers.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::domain::{Kind, Mount, MountState, TreePath};
use crate::mount::root::{ANSWER_AGE, Answer};
use crate::mount::{MountHandle, Mounts, nodes};
use crate::remote::Conditions;
use crate::store::{self, Batch, Record as _};
use crate::wire::Via;

/// How often due mounts are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Polls at the same time.
const POLLS_MAX: usize = 64;
/// Collections that one poll asks for at a remote whose etags do not tell of changes below (DESIGN 5).
const WALK_MAX: usize = 50;

impl Mounts {
    /// Polls until `shutdown` is done. Run by `server::tasks`. A remote that hangs holds up its own mounts only.
    pub async fn poll_loop(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut polls = FuturesUnordered::new();
        let mut polled = HashSet::new();
        loop {
            let due = self.all().into_iter().filter(|handle| handle.is_due() && !polled.contains(&handle.id()));
            for handle in due.take(POLLS_MAX.saturating_sub(polls.len())).collect::<Vec<_>>() {
                polled.insert(handle.id());
                polls.push(async move {
                    let now = Instant::now();
                    handle.poll(now.checked_sub(ANSWER_AGE).unwrap_or(now)).await;
                    handle.sweep().await;
                    handle.id()
                });
            }
            tokio::select! {
                () = &mut shutdown => return,
                Some(done) = polls.next(), if !polls.is_empty() => {
                    polled.remove(&done);
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

impl MountHandle {
    fn is_due(&self) -> bool {
        self.live().next_poll <= Instant::now() && self.polling.try_lock().is_ok()
    }

    /// Removes unfinished uploads that broken-off requests left at the remote.
    async fn sweep(&self) {
        let litter = std::mem::take(&mut self.live().litter);
        for path in litter {
            let Some(share) = self.share() else { return };
            if share.delete(&Via::default(), &path, Kind::File, &Conditions::default()).await.is_err() {
                self.live().litter.push(path);
                return;
            }
        }
    }

    /// One poll: the root's etag, and what changed if it did. An answer that another mount of the same share got will do if it was asked
    /// for after `since`.
    pub(super) async fn poll(self: &Arc<Self>, since: Instant) {
        let _turn = self.polling.lock().await;
        let asked = self.look_at_root(since).await;
        let record = {
            let mut live = self.live();
            let interval = interval(&live.record.state, live.used.elapsed(), live.failures);
            // From the question on, so that the polls of mounts that share it fall together; after a pause in any case.
            live.next_poll = (asked + interval).max(Instant::now() + interval / 2).max(live.alone_until.unwrap_or(asked));
            std::mem::take(&mut live.dirty).then(|| live.record.clone())
        };
        if let Some(record) = record
            // Removed meanwhile, it must not come back.
            && let Err(error) = self.server.store.commit(Batch::new().present::<Mount>(&record.key()).put(&record)).await
            && !matches!(error, store::Error::Conflict)
        {
            tracing::warn!(%error, mount.id = self.id().0, "the state of a mount could not be stored");
            self.live().dirty = true;
        }
    }

    /// Asks for the root and follows what changed; returns when the question was sent.
    async fn look_at_root(&self, since: Instant) -> Instant {
        let (via, root) = (Via::default(), TreePath::root());
        let (share, asking, own) = {
            let live = self.live();
            (live.share.clone(), Arc::clone(&live.asking), live.written.max(live.failed))
        };
        let Some(share) = share else { return Instant::now() };
        // What was asked before we wrote says nothing of what we wrote, and before we failed nothing of why.
        let Answer { asked, found } = asking.ask(&share, own.map_or(since, |own| own.max(since))).await;
        let found = match found {
            Ok(found) => found,
            Err(crate::remote::Error::Loop) => {
                let mut live = self.live();
                self.set_state(&mut live, MountState::Loop);
                return asked;
            }
            Err(error) => {
                let error = self.fault(&via, &root, error).await;
                tracing::debug!(%error, mount.id = self.id().0, "a poll failed");
                return asked;
            }
        };
        self.answered();
        self.tell_to_look_again().await;
        if self.is_left_alone() {
            return asked;
        }
        let unchanged = {
            let mut live = self.live();
            live.quota = nodes::quota(&found.own);
            let unchanged = live.root_etag_is(found.own.etag.as_deref()) && live.written.is_none_or(|written| asked > written);
            if unchanged {
                live.confirmed = Some(asked);
            }
            unchanged
        };
        let walked = if found.own.collection != Some(true) {
            self.stat(&via, &root).await.map(|_node| ())
        } else if !self.traits().etags_propagate {
            self.walk(&via).await
        } else if unchanged {
            Ok(())
        } else {
            self.fetch(&via, &root).await.map(|_cached| ())
        };
        if let Err(error) = walked {
            tracing::debug!(%error, mount.id = self.id().0, "a poll broke off");
        }
        asked
    }

    /// Asks again for the listings that were asked for longest ago, the root's always.
    async fn walk(&self, via: &Via) -> crate::domain::Result<()> {
        let root = TreePath::root();
        self.fetch(via, &root).await?;
        let oldest = {
            let live = self.live();
            let mut oldest = live.cache.oldest(WALK_MAX);
            // Folders that are refused to clients have tries of their own.
            oldest.retain(|path| !path.is_root() && !live.missed.contains(path));
            oldest
        };
        for path in &oldest {
            match self.fetch(via, path).await {
                Ok(_) => {}
                Err(crate::domain::Error::NotFound | crate::domain::Error::NotCollection) => self.live().cache.wrote(path),
                // One folder that its server does not list must not hide the changes in all others; who wants to be left alone is.
                Err(error) if self.state() == MountState::Online && !self.is_left_alone() => {
                    tracing::debug!(%error, mount.id = self.id().0, "a poll passes over a folder");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Seconds while in use, minutes while not; longer after each failure, and an hour where the remote said no.
fn interval(state: &MountState, idle: Duration, failures: u32) -> Duration {
    let base = match idle.as_secs() {
        0..60 => Duration::from_secs(2),
        60..600 => Duration::from_secs(15),
        600..3600 => Duration::from_secs(60),
        _ => Duration::from_secs(300),
    };
    match state {
        MountState::Online => base,
        MountState::Offline { .. } => base.max(Duration::from_secs(2_u64.saturating_pow(failures.min(6)))),
        MountState::NeedsPassword | MountState::Withdrawn | MountState::Loop => Duration::from_secs(3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_frequent_in_use_and_rare_otherwise() {
        let online = |idle| interval(&MountState::Online, Duration::from_secs(idle), 0).as_secs();
        assert!(online(1) <= 2 && online(3600) >= 300);
        assert_eq!(interval(&MountState::Withdrawn, Duration::ZERO, 1).as_secs(), 3600);
    }
}
