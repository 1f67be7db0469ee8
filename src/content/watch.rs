//! Watches of directories (inotify): what others do in them is told as it happens.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::content::{DiskPath, Files, absent, name_of};
use crate::domain::Name;

/// The watches of one server.
#[derive(Debug)]
pub struct Watches {
    queue: OwnedFd,
}

/// Number of a watch; the same for the same directory, and never used again.
pub type WatchId = i32;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something happened to a name in a watched directory.
    Name(WatchId, Name, Happened),
    /// The directory itself was moved: paths below it are others now.
    Moved(WatchId),
    /// The watch is over: the directory is gone, or nobody wanted it any more.
    Over(WatchId),
    /// Events were lost.
    Overflow,
}

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It came, complete, or went, or was replaced: the time of the directory tells of it as well.
    Named,
    /// Its times or rights changed.
    Touched,
    /// Somebody is writing its content.
    Writing,
    /// Whoever wrote its content has closed it.
    Written,
}

/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 64 * 1024;

impl Watches {
    /// No watches yet.
    pub fn open() -> io::Result<Watches> {
        Ok(Watches { queue: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)? })
    }

    /// Watches a directory that [`Files::directory`] opened. [`io::ErrorKind::StorageFull`] where the system gives no more watches.
    pub fn add(&self, directory: &OwnedFd) -> io::Result<WatchId> {
        let told = WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE_SELF;
        // By its descriptor: a path could lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(inotify::add_watch(&self.queue, path, told | WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK)?)
    }

    /// Ends a watch; one that is over already is nothing.
    pub fn remove(&self, watch: WatchId) {
        if let Err(error) = inotify::remove_watch(&self.queue, watch) {
            tracing::trace!(%error, "a watch was over before it was removed");
        }
    }

    /// Hands over what has happened since the last call, at most so many events; false if there may be more. Does not block.
    pub fn read(&self, most: usize, mut each: impl FnMut(Event)) -> io::Result<bool> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        // The reader hands over whole buffers: it is left with an empty one, or what it still holds would be lost.
        for count in 0_usize.. {
            if count >= most && reader.is_buffer_empty() {
                return Ok(false);
            }
            match reader.next() {
                Ok(event) => event_of(&event).into_iter().for_each(&mut each),
                Err(Errno::WOULDBLOCK) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl Files {
    /// A directory, opened to be watched; none if there is none.
    pub fn directory(&self, path: &DiskPath) -> io::Result<Option<OwnedFd>> {
        absent(self.open_at(path.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC))
    }
}

/// What the kernel says; nothing for names that are not shown anyway.
fn event_of(event: &inotify::Event<'_>) -> Option<Event> {
    let (watch, flags) = (event.wd(), event.events());
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Event::Overflow);
    }
    if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
        return Some(Event::Over(watch));
    }
    if flags.contains(ReadFlags::MOVE_SELF) {
        return Some(Event::Moved(watch));
    }
    let name = name_of(event.file_name()?.to_bytes())?;
    let folder = flags.contains(ReadFlags::ISDIR);
    let happened = if flags.contains(ReadFlags::CLOSE_WRITE) {
        Happened::Written
    } else if flags.contains(ReadFlags::MODIFY) || (flags.contains(ReadFlags::CREATE) && !folder) {
        Happened::Writing
    } else if flags.contains(ReadFlags::ATTRIB) {
        // The times of folders are nobody's concern.
        (!folder).then_some(Happened::Touched)?
    } else {
        Happened::Named
    };
    Some(Event::Name(watch, name, happened))
}
