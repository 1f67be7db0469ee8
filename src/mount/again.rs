//! What clients have missed of a mount.
//!
//! A client that is answered 503 for a folder skips it, and remembers the folder above as seen, with the etag that it had. If the folder is there
//! again with what changed meanwhile, nothing would tell that client to look (owncloudcmd loses such changes for good). So when a folder can be
//! listed again of which a client was refused the listing, all collections of its mount get other etags, once: clients look through them, and
//! fetch what they missed. A folder that its server goes on to refuse changes nothing: clients that look would only be refused once more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::{Error, Kind, Mount, MountId, MountState, Result, TreePath};
use crate::mount::cache::Cache;
use crate::mount::handle::Live;
use crate::mount::{MountHandle, nodes};
use crate::remote::{self, Traits};
use crate::store::{Batch, Record, Store, Table};
use crate::wire::Via;

/// Folders of one mount that are asked for again, each on its own.
const MISSED_FOLDERS_MAX: usize = 64;
/// After the first vain try for a folder; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(4);
/// Most between two tries for one folder.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// How long one try waits: the poll of the mount waits with it.
const TRY_PATIENCE: Duration = Duration::from_secs(5);
/// Where more folders fail than are remembered, clients are told to look at the whole mount this seldom.
const PAUSE_OF_MANY: Duration = Duration::from_secs(3600);

/// Folders of which clients were refused a listing, and when to try them.
#[derive(Debug, Default)]
pub(super) struct Missed {
    tries: BTreeMap<TreePath, Try>,
    /// One of them can be listed again.
    back: bool,
    /// There were more than are tried: when to take those for back.
    others: Option<Instant>,
}

#[derive(Debug)]
struct Try {
    next: Instant,
    pause: Duration,
}

impl Missed {
    /// What clients were refused before this start is not known where the mount was away: it counts as refused as a whole.
    pub(super) fn at_start(record: &Mount, now: Instant) -> Missed {
        let mut missed = Missed::default();
        if record.state != MountState::Online && record.kind != Kind::File {
            missed.note(&TreePath::root(), now);
        }
        missed
    }

    /// Whether there is anything that a client would not look at again.
    pub(super) fn is_empty(&self) -> bool {
        self.tries.is_empty() && !self.back && self.others.is_none()
    }

    /// Whether clients were refused this folder.
    pub(super) fn contains(&self, path: &TreePath) -> bool {
        self.tries.contains_key(path)
    }

    fn is_back(&self, now: Instant) -> bool {
        self.back || self.others.is_some_and(|at| at <= now)
    }

    /// A client was refused this folder. What is known as refused keeps its pauses, however often clients ask.
    fn note(&mut self, path: &TreePath, now: Instant) {
        if self.contains(path) {
            return;
        }
        if self.tries.len() < MISSED_FOLDERS_MAX || path.is_root() {
            self.tries.insert(path.clone(), Try { next: now, pause: PAUSE });
        } else {
            self.others.get_or_insert(now + PAUSE_OF_MANY);
        }
    }

    /// The folder was listed; tells whether a client had missed it.
    fn listed(&mut self, path: &TreePath) -> bool {
        let missed = self.tries.remove(path).is_some();
        self.back |= missed;
        missed
    }

    /// The folder is no longer there, or not for us: the etags above it tell of that.
    fn gone(&mut self, path: &TreePath) {
        self.tries.remove(path);
    }

    /// The folder whose turn it is: the one that waits longest.
    fn due(&self, now: Instant) -> Option<TreePath> {
        self.tries.iter().filter(|(_, tried)| tried.next <= now).min_by_key(|(_, tried)| tried.next).map(|(path, _)| path.clone())
    }

    fn failed(&mut self, path: &TreePath, now: Instant) {
        if let Some(tried) = self.tries.get_mut(path) {
            tried.next = now + tried.pause;
            tried.pause = tried.pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }
}

/// What the etags of collections are hashed with; 0 leaves them as the remote says them.
#[derive(Debug, Serialize, Deserialize)]
struct Salt {
    mount: MountId,
    salt: u64,
}

impl Record for Salt {
    const TABLE: Table = Table::MountSalts;
    fn key(&self) -> Vec<u8> {
        self.mount.0.to_be_bytes().to_vec()
    }
}

/// The salt that was stored before this start.
pub(super) fn restore(store: &Store, mount: MountId) -> u64 {
    let kept = store.get::<Salt>(&mount.0.to_be_bytes()).unwrap_or_else(|error| {
        tracing::warn!(%error, mount.id = mount.0, "the salt of a mount cannot be read");
        None
    });
    kept.map_or(0, |kept| kept.salt)
}

/// Forgets the salt of a mount together with it.
pub(super) fn forget(batch: Batch, mount: MountId) -> Batch {
    batch.delete::<Salt>(&mount.0.to_be_bytes())
}

impl MountHandle {
    /// Notes that a client was refused a listing of what may well be there, or that it can be listed again. `online`: whether the mount was when
    /// the client asked; if not, it is not about this folder.
    pub(super) fn note_missed<T>(&self, path: &TreePath, online: bool, listed: &Result<T>) {
        let mut live = self.live();
        match listed {
            Ok(_) => {
                if live.missed.listed(path) {
                    live.next_poll = Instant::now();
                }
            }
            Err(Error::NotFound | Error::NotCollection | Error::Forbidden(_)) => live.missed.gone(path),
            Err(_) if online => live.missed.note(path, Instant::now()),
            Err(_) => live.missed.note(&TreePath::root(), Instant::now()),
        }
    }

    /// Notes that clients were refused all of it for another reason than the remote, which holds no longer.
    pub fn note_reopened(&self) {
        let mut live = self.live();
        live.missed.note(&TreePath::root(), Instant::now());
        live.next_poll = Instant::now();
    }

    /// Asks for one folder that clients have missed, if it is its turn. What the remote says of it says nothing of the mount.
    async fn try_missed(&self) {
        let (path, share) = {
            let live = self.live();
            (live.missed.due(Instant::now()), live.share.clone())
        };
        let (Some(path), Some(share)) = (path, share) else { return };
        let question = tokio::time::timeout(TRY_PATIENCE, async { share.list(&Via::default(), &path).await });
        let found = question.await.unwrap_or(Err(remote::Error::Unreachable { retry_after: TRY_PATIENCE }));
        if let Err(remote::Error::Throttled { retry_after }) = found {
            let _told = self.throttled(retry_after);
        }
        let mut live = self.live();
        match found {
            Ok(found) if found.own.collection == Some(true) => {
                live.missed.listed(&path);
            }
            // Of the root the next poll says what became of it.
            Ok(_) | Err(remote::Error::NotFound | remote::Error::Forbidden) if !path.is_root() => live.missed.gone(&path),
            Ok(_) => live.missed.failed(&path, Instant::now()),
            Err(error) => {
                tracing::debug!(%error, mount.id = self.id().0, "a folder that clients have missed cannot be listed yet");
                live.missed.failed(&path, Instant::now());
            }
        }
    }

    /// Gives the collections other etags if somebody missed one of them that is there again. Called by the poll when the remote has answered.
    pub(super) async fn tell_to_look_again(&self) {
        if !self.live().missed.is_back(Instant::now()) {
            self.try_missed().await;
        }
        let back = {
            let live = self.live();
            live.missed.is_back(Instant::now()) && live.record.state == MountState::Online
        };
        if !back {
            return;
        }
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            return;
        }
        let salt = u64::from_be_bytes(random) | 1;
        // Durable first: etags that were there before must not come back after a restart.
        if let Err(error) = self.server.store.commit(Batch::new().put(&Salt { mount: self.id(), salt })).await {
            tracing::warn!(%error, mount.id = self.id().0, "clients could not be told to look at a mount again");
            return;
        }
        let mut live = self.live();
        // Whoever was refused another folder in the meantime looks through all of them, too.
        live.missed = Missed::default();
        live.salted(self.id(), salt);
        tracing::info!(mount.id = self.id().0, "what clients had missed of a mount is back, and they are told to look again");
    }
}

impl Live {
    /// From now on collections have the etags of this salt. Nothing of the old ones is kept.
    fn salted(&mut self, mount: MountId, salt: u64) {
        self.salt = salt;
        let etag = match &self.seen {
            Some(raw) if Traits::of(self.record.vendor).etags_propagate => nodes::salted(mount, raw, salt),
            Some(_) | None => nodes::hashed(mount, format!("{}\n{salt}", self.root.etag).as_bytes()),
        };
        self.raise_root(etag);
        self.cache = Cache::after(self.record.root_etag.as_ref());
        self.confirmed = None;
        self.next_poll = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> TreePath {
        TreePath::parse(path).unwrap()
    }

    #[test]
    fn a_folder_that_is_refused_again_and_again_is_tried_ever_more_seldom_and_others_have_their_turn() {
        let (start, mut missed) = (Instant::now(), Missed::default());
        missed.note(&at("bad"), start);
        missed.note(&at("other"), start + PAUSE / 2);
        let (mut now, mut pauses) = (start, vec![]);
        for _ in 0..12 {
            assert_eq!(missed.due(now), Some(at("bad")));
            missed.failed(&at("bad"), now);
            let before = now;
            while missed.due(now) != Some(at("bad")) {
                now += Duration::from_secs(1);
                missed.note(&at("bad"), now);
                missed.gone(&at("other"));
            }
            pauses.push(now - before);
        }
        assert!(pauses.is_sorted() && pauses.first() == Some(&PAUSE) && pauses.last() == Some(&PAUSE_MAX), "{pauses:?}");
        assert!(!missed.back && !missed.is_empty());
        let mut missed = Missed::default();
        missed.note(&at("bad"), start);
        missed.note(&at("other"), start);
        let turns: Vec<_> = (0..2)
            .map(|_| {
                let due = missed.due(start).unwrap();
                missed.failed(&due, start);
                due
            })
            .collect();
        assert_eq!(turns, [at("bad"), at("other")]);
        assert!(missed.listed(&at("other")) && missed.back);
    }

    #[test]
    fn of_very_many_refused_folders_a_bounded_number_is_tried_and_the_rest_is_told_seldom() {
        let (start, mut missed) = (Instant::now(), Missed::default());
        (0..500).for_each(|number| missed.note(&at(&format!("folder {number}")), start));
        assert_eq!(missed.tries.len(), MISSED_FOLDERS_MAX);
        assert!(!missed.is_back(start + PAUSE_OF_MANY / 2));
        assert!(missed.is_back(start + PAUSE_OF_MANY));
        // The whole mount is never one too many.
        missed.note(&TreePath::root(), start);
        assert!(missed.listed(&TreePath::root()) && missed.is_back(start));
    }
}
