//! What watches tell becomes rows: events are gathered for a moment, told apart from what our own writes do, and adopted.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::content::{Event, Happened};
use crate::domain::{Error, Name, NodeId, Result, SpaceId};
use crate::space::reconcile::{ADOPT_NAMES_MAX, Fresh, ScanReport};
use crate::space::watch::{Folder, Wanted};
use crate::space::{Space, Spaces, lock};

/// How long events are gathered before anybody looks.
const GATHER: Duration = Duration::from_millis(200);
/// A file that nobody has closed is adopted after this time without a change.
const QUIET: Duration = Duration::from_secs(2);
/// The kernel's queue is read at most this often: equal events in it become one.
const READ_EVERY: Duration = Duration::from_millis(100);
/// How often what was gathered is asked whether it is due.
const TICK: Duration = Duration::from_millis(100);
/// Spaces that are looked at at the same time.
const LOOKS_MAX: usize = 4;
/// Names of one collection that are gathered; more are one look at all of it.
const NAMES_MAX: usize = 1000;
/// Names of all collections that are gathered; above it each further one is a look at all of its collection.
const GATHERED_MAX: usize = 50_000;
/// Events that are read at once.
const EVENTS_MAX: usize = 16_384;
/// New folders that are looked into before other news of the same space.
const NEW_FOLDERS_MAX: usize = 200;

/// What was told and not yet looked at.
#[derive(Debug, Default)]
struct News {
    folders: HashMap<Folder, Told>,
    /// Names that were gathered since the last look at what is due, and those that were left then.
    gathered: usize,
}

/// What was told of one collection.
#[derive(Debug, Default)]
struct Told {
    names: HashMap<Name, Change>,
    /// Set where there are too many names, or where some were lost.
    all: Option<Change>,
}

/// When something may be looked at.
#[derive(Debug, Clone, Copy)]
struct Change {
    due: Instant,
    /// The directory's time tells of it as well: no news if that is known.
    shown: bool,
}

impl Spaces {
    /// Adopts what others do in watched directories, until `shutdown` is done. Run by `server::tasks`.
    pub async fn watch_loop(&self, shutdown: impl Future<Output = ()> + Send) {
        let watcher = &self.inner.watcher;
        let events = match watcher.begin() {
            Ok(Some(watches)) => readable(watches.as_fd()),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let events = match events {
            Ok(events) => events,
            Err(error) => return watcher.complain(&error),
        };
        let mut shutdown = std::pin::pin!(shutdown);
        let mut news = News::default();
        let mut looks = FuturesUnordered::new();
        let mut busy = HashSet::new();
        let mut read_next = Instant::now();
        loop {
            for (space, told) in news.due(Instant::now(), &busy, LOOKS_MAX.saturating_sub(looks.len())) {
                busy.insert(space);
                looks.push(self.look_at(space, told));
            }
            tokio::select! {
                () = &mut shutdown => return,
                Some((space, again)) = looks.next(), if !looks.is_empty() => {
                    busy.remove(&space);
                    news.take_back(space, again);
                }
                () = tokio::time::sleep(TICK), if !news.folders.is_empty() => {}
                ready = async { tokio::time::sleep_until(read_next).await; events.readable().await } => {
                    let heard_all = self.hear(&mut news);
                    if heard_all && let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                    read_next = Instant::now() + READ_EVERY;
                }
            }
        }
    }

    /// Gathers events; false if there may be more.
    fn hear(&self, news: &mut News) -> bool {
        let watcher = &self.inner.watcher;
        let now = Instant::now();
        watcher.read(EVENTS_MAX, |event| match event {
            Event::Name(watch, name, happened) => {
                if let Some(folder) = watcher.folder(watch) {
                    news.hear(folder, name, happened, now);
                }
            }
            Event::Over(watch) => watcher.folder(watch).into_iter().for_each(|folder| watcher.forget(folder)),
            // Where it still is a collection, it is watched again.
            Event::Moved(watch) => {
                if let Some(folder) = watcher.folder(watch) {
                    watcher.forget(folder);
                    news.folder(folder).all.get_or_insert(Change { due: now + GATHER, shown: true });
                }
            }
            Event::Overflow => {
                tracing::warn!("more happened in watched folders than could be told; all of them are looked at");
                for (space, id) in watcher.all() {
                    if let Some(space) = self.get(space) {
                        space.state().distrust(id);
                    }
                    // Later: a look at everything is not for each of many overflows.
                    news.folder((space, id)).all.get_or_insert(Change { due: now + QUIET, shown: false }).shown = false;
                }
            }
        })
    }

    /// Looks at what is due in one space; returns what has to be looked at again.
    async fn look_at(&self, id: SpaceId, due: Vec<(NodeId, Told)>) -> (SpaceId, Vec<(NodeId, Told)>) {
        let mut again = Vec::new();
        let Some(space) = self.get(id) else {
            due.into_iter().for_each(|(node, _)| self.inner.watcher.forget((id, node)));
            return (id, again);
        };
        for (node, told) in due {
            match space.look_at_told(node, told).await {
                Ok(None) => {}
                Ok(Some(told)) => again.push((node, told)),
                Err(Error::NotFound) => self.inner.watcher.forget((id, node)),
                Err(error) => tracing::debug!(%error, user.id = %space.user, "what a watch told could not be looked at; the sweep does it"),
            }
        }
        if !space.look_into_new().await {
            let more = Change { due: Instant::now(), shown: true };
            again.push((NodeId::ROOT, Told { all: Some(more), ..Told::default() }));
        }
        (id, again)
    }
}

impl Space {
    async fn look_at_told(&self, id: NodeId, told: Told) -> Result<Option<Told>> {
        let structure = Arc::clone(&self.structure).read_owned().await;
        self.blocking(move |space| {
            let again = space.adopt_told(id, told);
            drop(structure);
            again
        })
        .await
    }

    /// Adopts what a watch told of; returns what somebody of ours is writing just now. `structure` must be held; on a blocking thread.
    fn adopt_told(&self, id: NodeId, told: Told) -> Result<Option<Told>> {
        let path = self.path_now(id)?.ok_or(Error::NotFound)?;
        // Our own writes keep the time of the directory known, under this lock.
        let directories = self.lock_directories(&[(id, path.clone())]);
        let current = self.is_fresh(id)?;
        drop(directories);
        let is_news = |change: &Change| !(change.shown && current);
        if let Some(all) = told.all {
            self.watcher.watch(&self.files, (self.id, id), &self.disk(&path), Wanted::Seen);
            if is_news(&all) && self.freshen(id, !all.shown, &mut ScanReport::default())? == Fresh::Vanished {
                self.refresh_or_parent(id)?;
                // Others moved it, and its new place was not known yet: it is watched there, and then looked at.
                if let Some(path) = self.path_now(id)? {
                    self.watcher.watch(&self.files, (self.id, id), &self.disk(&path), Wanted::Seen);
                    self.freshen(id, false, &mut ScanReport::default())?;
                }
            }
            return Ok(None);
        }
        let names: Vec<Name> = told.names.iter().filter(|(_, change)| is_news(change)).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        if !self.is_there(id, &path)? {
            self.refresh_or_parent(id)?;
            return Ok(None);
        }
        let mut complete = true;
        for names in names.chunks(ADOPT_NAMES_MAX) {
            complete &= self.adopt_free(id, &path, names, &mut ScanReport::default())?;
        }
        Ok((!complete).then_some(told))
    }

    /// Looks into folders that others made, and into those that are found there; false if there are more than for one turn.
    async fn look_into_new(&self) -> bool {
        for _ in 0..NEW_FOLDERS_MAX {
            let Some(id) = lock(&self.sweep).next_new() else { return true };
            if let Err(error) = self.look_into(id).await {
                tracing::debug!(%error, user.id = %self.user, "a new folder could not be looked into; the sweep does it");
            }
        }
        false
    }
}

#[expect(deprecated, reason = "its successor is unsafe, because of types that are not a descriptor of their own; a borrowed one is")]
fn readable(events: BorrowedFd<'_>) -> std::io::Result<AsyncFd<BorrowedFd<'_>>> {
    AsyncFd::with_interest(events, Interest::READABLE)
}

impl News {
    fn folder(&mut self, folder: Folder) -> &mut Told {
        self.folders.entry(folder).or_default()
    }

    fn hear(&mut self, folder: Folder, name: Name, happened: Happened, now: Instant) {
        self.gathered += 1;
        let names_max = if self.gathered > GATHERED_MAX { 0 } else { NAMES_MAX };
        self.folder(folder).hear(name, happened, now, names_max);
    }

    /// What may be looked at now, of at most so many spaces that nobody looks at yet.
    fn due(&mut self, now: Instant, busy: &HashSet<SpaceId>, spaces_max: usize) -> HashMap<SpaceId, Vec<(NodeId, Told)>> {
        let mut due: HashMap<SpaceId, Vec<(NodeId, Told)>> = HashMap::new();
        if spaces_max == 0 {
            return due;
        }
        self.folders.retain(|(space, id), told| {
            if busy.contains(space) || (due.len() == spaces_max && !due.contains_key(space)) {
                return true;
            }
            if let Some(told) = told.due(now) {
                due.entry(*space).or_default().push((*id, told));
            }
            !told.is_empty()
        });
        self.gathered = self.folders.values().map(|told| told.names.len()).sum();
        due
    }

    /// What was being written by us is looked at once more; what was told meanwhile is newer.
    fn take_back(&mut self, space: SpaceId, again: Vec<(NodeId, Told)>) {
        let due = Instant::now() + GATHER;
        for (id, told) in again {
            let known = self.folder((space, id));
            if let Some(all) = told.all {
                known.all.get_or_insert(Change { due, ..all }).shown &= all.shown;
            }
            for (name, change) in told.names {
                known.names.entry(name).or_insert(Change { due, ..change });
            }
        }
    }
}

impl Told {
    fn hear(&mut self, name: Name, happened: Happened, now: Instant, names_max: usize) {
        let (soon, shown) = match happened {
            Happened::Named => (true, true),
            Happened::Touched | Happened::Written => (true, false),
            Happened::Writing => (false, false),
        };
        let change = Change { due: now + if soon { GATHER } else { QUIET }, shown };
        if let Some(all) = &mut self.all {
            all.shown &= shown;
            return;
        }
        match self.names.entry(name) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.shown &= shown;
                // Who sets times may still be writing.
                if happened != Happened::Touched {
                    known.due = change.due;
                }
            }
            Entry::Vacant(free) => drop(free.insert(change)),
        }
        if self.names.len() > names_max {
            let shown = self.names.values().all(|change| change.shown);
            self.all = Some(Change { due: now + GATHER, shown });
            self.names.clear();
        }
    }

    /// Takes out what is due.
    fn due(&mut self, now: Instant) -> Option<Told> {
        let all = self.all.take_if(|all| all.due <= now);
        let names: HashMap<Name, Change> = self.names.extract_if(|_, change| change.due <= now).collect();
        (all.is_some() || !names.is_empty()).then_some(Told { names, all })
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.all.is_none()
    }
}
