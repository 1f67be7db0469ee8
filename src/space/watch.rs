//! Which directories are watched for edits from outside: those used last, over all spaces. Without watches, or beyond their number, the sweep
//! finds what was edited in place.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::content::{DiskPath, Event, Files, WatchId, Watches};
use crate::domain::{NodeId, SpaceId};
use crate::limits::WATCHES_MAX;
use crate::space::lock;

/// A collection, of whatever space.
pub(super) type Folder = (SpaceId, NodeId);

/// What a new watch may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Somebody uses the collection: the longest unused watch goes for it.
    Used,
    /// It was only looked at: if there is room.
    Seen,
}

/// The watches of a server. Does nothing until [`Watcher::begin`].
#[derive(Debug, Default)]
pub(super) struct Watcher {
    watches: OnceLock<Watches>,
    table: Mutex<Table>,
    complained: AtomicBool,
}

/// Which watch is for what, and when it was used last.
#[derive(Debug, Default)]
struct Table {
    watches_max: usize,
    by_folder: HashMap<Folder, (WatchId, i64)>,
    by_watch: HashMap<WatchId, Folder>,
    /// Those that were used in the order of their uses, after those that were only seen.
    by_use: BTreeMap<i64, Folder>,
    used: i64,
    seen: i64,
}

impl Watcher {
    /// From now on directories are watched; none where that was begun already. What the events mean is up to the caller.
    pub(super) fn begin(&self) -> io::Result<Option<&Watches>> {
        let watches = Watches::open()?;
        self.table().watches_max = system_watches_max().map_or(WATCHES_MAX, |most| WATCHES_MAX.min(most / 4));
        let begun = self.watches.set(watches).is_ok();
        Ok(self.watches.get().filter(|_| begun))
    }

    /// Watches the directory of a collection, from before its members are read. That it cannot be is no fault: it is only said once.
    pub(super) fn watch(&self, files: &Files, folder: Folder, path: &DiskPath, wanted: Wanted) {
        let Some(watches) = self.watches.get() else { return };
        if wanted == Wanted::Seen && !self.table().has_room_for(folder) {
            return;
        }
        let Ok(Some(directory)) = files.directory(path) else { return };
        let mut table = self.table();
        let mut added = watches.add(&directory);
        if wanted == Wanted::Used
            && matches!(&added, Err(error) if error.kind() == io::ErrorKind::StorageFull)
            && let Some(oldest) = table.oldest()
        {
            table.forget(oldest).into_iter().for_each(|watch| watches.remove(watch));
            added = watches.add(&directory);
        }
        match added {
            Ok(watch) => table.keep(watch, folder, wanted).into_iter().for_each(|watch| watches.remove(watch)),
            Err(error) => self.complain(&error),
        }
    }

    /// Notes that a collection is used; false if it is not watched, but could be.
    pub(super) fn touch(&self, folder: Folder) -> bool {
        self.watches.get().is_none() || self.table().touch(folder)
    }

    /// Ends the watch of a collection.
    pub(super) fn forget(&self, folder: Folder) {
        if let (Some(watch), Some(watches)) = (self.table().forget(folder), self.watches.get()) {
            watches.remove(watch);
        }
    }

    /// What a watch was set for; none if it has been given up since.
    pub(super) fn folder(&self, watch: WatchId) -> Option<Folder> {
        self.table().by_watch.get(&watch).copied()
    }

    /// Every watched collection.
    pub(super) fn all(&self) -> Vec<Folder> {
        self.table().by_folder.keys().copied().collect()
    }

    /// Hands over what has happened in watched directories, at most so many events; false if there may be more.
    pub(super) fn read(&self, most: usize, each: impl FnMut(Event)) -> bool {
        let Some(watches) = self.watches.get() else { return true };
        watches.read(most, each).unwrap_or_else(|error| {
            self.complain(&error);
            true
        })
    }

    /// Whether a directory cannot be watched says little about the next one, so that one line is enough.
    pub(super) fn complain(&self, error: &io::Error) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "not every folder can be watched; the sweep finds files that are edited in place there");
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Table {
    /// Notes a watch; returns the watches that have to go for it.
    fn keep(&mut self, watch: WatchId, folder: Folder, wanted: Wanted) -> Vec<WatchId> {
        if wanted == Wanted::Seen && self.by_folder.get(&folder).is_some_and(|(known, _)| *known == watch) {
            return Vec::new();
        }
        // The directory was known under another number, or this collection had another directory.
        let renamed = self.by_watch.get(&watch).copied().filter(|known| *known != folder);
        renamed.and_then(|known| self.forget(known));
        let replaced = self.forget(folder).filter(|old| *old != watch);
        let mut gone: Vec<WatchId> = replaced.into_iter().collect();
        while self.by_folder.len() >= self.watches_max.max(1)
            && let Some(oldest) = self.oldest()
        {
            gone.extend(self.forget(oldest));
        }
        if self.watches_max == 0 {
            gone.push(watch);
            return gone;
        }
        let order = match wanted {
            Wanted::Used => {
                self.used += 1;
                self.used
            }
            Wanted::Seen => {
                self.seen -= 1;
                self.seen
            }
        };
        self.by_folder.insert(folder, (watch, order));
        self.by_watch.insert(watch, folder);
        self.by_use.insert(order, folder);
        gone
    }

    fn touch(&mut self, folder: Folder) -> bool {
        let Some((_, order)) = self.by_folder.get_mut(&folder) else {
            return self.watches_max == 0;
        };
        self.used += 1;
        self.by_use.remove(order);
        self.by_use.insert(self.used, folder);
        *order = self.used;
        true
    }

    fn forget(&mut self, folder: Folder) -> Option<WatchId> {
        let (watch, order) = self.by_folder.remove(&folder)?;
        self.by_watch.remove(&watch);
        self.by_use.remove(&order);
        Some(watch)
    }

    fn oldest(&self) -> Option<Folder> {
        self.by_use.values().next().copied()
    }

    fn has_room_for(&self, folder: Folder) -> bool {
        self.by_folder.len() < self.watches_max || self.by_folder.contains_key(&folder)
    }
}

/// How many watches the system gives one user.
fn system_watches_max() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;
    use crate::content::Modes;
    use crate::domain::{Name, UserName};

    fn folder(id: u64) -> Folder {
        (SpaceId(1), NodeId(id))
    }

    #[test]
    fn the_longest_unused_watch_goes_first() {
        let mut table = Table { watches_max: 3, ..Table::default() };
        for id in 1..=3 {
            assert!(table.keep(i32::try_from(id).unwrap(), folder(id), Wanted::Used).is_empty());
        }
        assert!(table.touch(folder(1)));
        assert_eq!(table.keep(4, folder(4), Wanted::Used), [2]);
        assert_eq!(table.keep(5, folder(5), Wanted::Used), [3]);
        assert!(!table.touch(folder(2)) && table.touch(folder(1)));
        // Another directory in the place of the old one; the same directory under another number.
        assert_eq!(table.keep(6, folder(5), Wanted::Used), [5]);
        assert!(table.keep(6, folder(7), Wanted::Used).is_empty());
        assert_eq!(table.by_watch.get(&6), Some(&folder(7)));
        assert!(!table.by_folder.contains_key(&folder(5)));
        // A sweep sees everything and uses nothing: 4 stays the oldest.
        assert!(table.keep(4, folder(4), Wanted::Seen).is_empty());
        assert_eq!(table.keep(8, folder(8), Wanted::Used), [4]);
        table.forget(folder(8));
        assert!(table.keep(9, folder(9), Wanted::Seen).is_empty());
        assert_eq!(table.keep(10, folder(10), Wanted::Used), [9]);
        assert!(table.by_folder.len() <= 3 && table.by_use.len() == table.by_folder.len() && table.by_watch.len() == table.by_folder.len());
    }

    #[test]
    fn the_system_holds_no_more_watches_than_the_bound() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path(), Modes::default(), false).unwrap();
        let home = DiskPath::home(&UserName::parse("anna").unwrap());
        files.make_folder(&home).unwrap();
        let watcher = Watcher::default();
        let watches = watcher.begin().unwrap().unwrap();
        watcher.table().watches_max = 4;
        for id in 1..=10_u64 {
            let path = home.join(&Name::parse(&id.to_string()).unwrap());
            files.make_folder(&path).unwrap();
            watcher.watch(&files, folder(id), &path, Wanted::Used);
            watcher.watch(&files, folder(100 + id), &home, Wanted::Seen);
        }
        let held = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", watches.as_fd().as_raw_fd())).unwrap();
        assert_eq!(held.lines().filter(|line| line.starts_with("inotify")).count(), 4, "{held}");
        std::fs::write(directory.path().join("anna/10/x"), "x").unwrap();
        std::fs::write(directory.path().join("anna/1/x"), "x").unwrap();
        let mut heard = Vec::new();
        watcher.read(1000, |event| {
            if let Event::Name(watch, name, _) = event
                && name.as_str() == "x"
            {
                heard.push(watcher.folder(watch));
            }
        });
        assert!(!heard.is_empty() && heard.iter().all(|told| *told == Some(folder(10))), "{heard:?}");
        assert!(watcher.begin().unwrap().is_none());
    }
}
