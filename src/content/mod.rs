//! Bytes: plain files below davroot, opened without ever following a link out of it.
//!
//! Every name is looked up from a descriptor of davroot with `openat2` (`RESOLVE_BENEATH`, no symbolic links), or, on kernels without it,
//! name by name with `O_NOFOLLOW`. All functions here block; `space` calls them from blocking jobs, or in place where the answer is in
//! the kernel's caches.
//!
//! Invariants: no path leaves davroot; nothing is written in place: bytes go to `.causeway/staging` and are renamed; what is removed is
//! renamed to `.causeway/trash-purge` first.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::domain::{FileStamp, Name, Timestamp};
use crate::limits::DISK_RESERVE_BYTES;

mod copy;
mod listing;
mod path;
mod read;
mod stage;
mod watch;

pub use listing::Listing;
pub use path::DiskPath;
pub use read::{FilePart, OpenFile, WINDOW_BYTES, Window};
pub use stage::Staged;
pub use watch::{Event, Happened, WatchId, Watches};

/// What lies under a name on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A link, device, FIFO or socket: not shown to anybody.
    Other,
}

/// What the file system says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub entry: Entry,
    /// Bytes.
    pub size: u64,
    /// Inode and times.
    pub stamp: FileStamp,
    /// The file system it lies on.
    pub device: (u32, u32),
}

impl Stat {
    /// Modification time in whole seconds.
    pub fn modified(&self) -> Timestamp {
        self.stamp.mtime_ns.div_euclid(NS_PER_S)
    }
}

const NS_PER_S: i64 = 1_000_000_000;

/// Modes of what is made, before the process's umask.
#[derive(Debug, Clone, Copy)]
pub struct Modes {
    /// Of files.
    pub file: u32,
    /// Of folders.
    pub folder: u32,
}

impl Default for Modes {
    fn default() -> Modes {
        Modes { file: 0o640, folder: 0o750 }
    }
}

/// The files below one davroot. Clones share descriptors.
#[derive(Debug, Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    davroot: PathBuf,
    root: OwnedFd,
    staging: Arc<File>,
    device: (u32, u32),
    modes: Modes,
    /// fsync what must survive a power cut.
    sync: bool,
    openat2: bool,
    /// The file system writes the name of a new file when the file is fsynced.
    names_follow: bool,
    /// Numbers staged and purged names; unique with the process's start time before it.
    sequence: AtomicU64,
    start: i64,
}

impl Files {
    /// Opens davroot and makes the folders of `.causeway`. What earlier runs left in staging stays until [`Files::empty_staging`].
    pub fn open(davroot: &Path, modes: Modes, sync: bool) -> io::Result<Files> {
        let own = davroot.join(path::OWN);
        // What is in there is nobody's business but the server's.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
        for folder in [path::STAGING, path::PURGE, path::REMOVED, path::UPLOADS, path::TRASH, path::VERSIONS] {
            std::fs::create_dir_all(own.join(folder))?;
        }
        let root = rustix::fs::open(davroot, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let staging = Arc::new(File::open(own.join(path::STAGING))?);
        let device = stat_of(&rustix::fs::statx(&staging, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?).device;
        let probe = rustix::fs::openat2(&root, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH);
        let openat2 = match probe {
            Ok(_) => true,
            Err(Errno::NOSYS | Errno::PERM) => {
                tracing::warn!("this kernel has no openat2 (Linux 5.6); names are looked up one by one");
                false
            }
            Err(error) => return Err(error.into()),
        };
        // ext4, XFS, Btrfs, F2FS, tmpfs (magic numbers of statfs(2)).
        let kind = u64::try_from(rustix::fs::fstatfs(&staging)?.f_type).unwrap_or_default();
        let names_follow = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994].contains(&kind);
        let start = now_ns();
        let sequence = AtomicU64::new(0);
        let davroot = davroot.to_owned();
        Ok(Files { inner: Arc::new(Inner { davroot, root, staging, device, modes, sync, openat2, names_follow, sequence, start }) })
    }

    /// Whether an entry lies on the file system of the staging folder, so that it can be renamed there and back.
    pub fn is_ours(&self, stat: &Stat) -> bool {
        stat.device == self.inner.device
    }

    /// The folder of staged files, if it has to be fsynced before their placement is committed. The journalling file systems of Linux write
    /// the name of a new file together with it.
    pub fn staging_folder(&self) -> Option<Arc<File>> {
        (!self.inner.names_follow).then(|| Arc::clone(&self.inner.staging))
    }

    /// An absolute path, for messages and for `.causeway` alone.
    pub fn absolute(&self, path: &DiskPath) -> PathBuf {
        self.inner.davroot.join(path.as_str())
    }

    /// What lies there; none if nothing does.
    pub fn stat(&self, path: &DiskPath) -> io::Result<Option<Stat>> {
        let Some((parent, name)) = path.split() else {
            return stat_at(&self.inner.root, ".");
        };
        match absent(self.folder(parent))? {
            Some(folder) => stat_at(&folder, name),
            None => Ok(None),
        }
    }

    /// Opens a plain file for reading; none if there is nothing, or something else.
    pub fn open_file(&self, path: &DiskPath) -> io::Result<Option<(File, Stat)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Some(file) = absent(self.open_at(path.as_str(), flags))?.map(File::from) else {
            return Ok(None);
        };
        let stat = stat_of(&rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?);
        Ok((stat.entry == Entry::File).then_some((file, stat)))
    }

    /// Makes a folder, and says whether it is new.
    pub fn make_folder(&self, path: &DiskPath) -> io::Result<bool> {
        let (folder, name) = self.parent(path)?;
        match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(self.inner.modes.folder)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames, over a file that is there.
    pub fn rename(&self, from: &DiskPath, to: &DiskPath) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        Ok(rustix::fs::renameat(&from_folder, from_name, &to_folder, to_name)?)
    }

    /// Exchanges two names at once. Where the file system cannot, the error is of the kind `Unsupported`, and nothing happens.
    pub fn exchange(&self, from: &DiskPath, to: &DiskPath) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        match rustix::fs::renameat_with(&from_folder, from_name, &to_folder, to_name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            // Others took away what stood there.
            Err(Errno::NOENT) if stat_at(&to_folder, to_name)?.is_none() => self.rename(from, to),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the modification time of a file or folder, and says what it is then.
    pub fn set_modified(&self, path: &DiskPath, modified: Timestamp) -> io::Result<Option<Stat>> {
        let (folder, name) = self.parent(path)?;
        rustix::fs::utimensat(&folder, name, &stage::times(modified), AtFlags::SYMLINK_NOFOLLOW)?;
        stat_at(&folder, name)
    }

    /// Writes the names of a folder to the disk.
    pub fn sync_folder(&self, path: &DiskPath) -> io::Result<()> {
        if self.inner.sync {
            let folder = self.open_at(path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
            rustix::fs::fsync(folder)?;
        }
        Ok(())
    }

    /// Bytes that uploads may still take.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.inner.root)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(DISK_RESERVE_BYTES))
    }

    /// A new name in the purge folder: what is renamed there is removed by [`Files::purge`].
    pub fn purge_path(&self) -> DiskPath {
        DiskPath::own(path::PURGE, &self.unique())
    }

    /// A new name in the staging folder.
    pub fn staging_path(&self) -> DiskPath {
        DiskPath::own(path::STAGING, &self.unique())
    }

    /// A name in the folder of removed homes.
    pub fn removed_path(&self, name: &str) -> DiskPath {
        DiskPath::own(path::REMOVED, name)
    }

    /// Removes everything in the purge folder, however much that is.
    pub fn purge(&self) -> io::Result<()> {
        empty(&self.inner.davroot.join(path::OWN).join(path::PURGE))
    }

    /// Removes staged files of earlier runs. Only at start, after the placements were replayed.
    pub fn empty_staging(&self) -> io::Result<()> {
        empty(&self.inner.davroot.join(path::OWN).join(path::STAGING))
    }

    /// Removes one staged or purged thing.
    pub(crate) fn remove(&self, path: &DiskPath) -> io::Result<()> {
        remove_any(&self.absolute(path))
    }

    /// A name that nothing had before, in any run.
    pub fn unique(&self) -> String {
        format!("{:x}-{:x}", self.inner.start, self.inner.sequence.fetch_add(1, Ordering::Relaxed))
    }

    fn parent<'p>(&self, path: &'p DiskPath) -> io::Result<(OwnedFd, &'p str)> {
        let (parent, name) = path.split().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok((self.folder(parent)?, name))
    }

    fn folder(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC)
    }

    /// Opens below davroot. Paths beyond what one system call takes are walked in pieces.
    fn open_at(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        const PIECE_BYTES_MAX: usize = 3000;
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut rest = if path.is_empty() { "." } else { path };
        let mut at: Option<OwnedFd> = None;
        loop {
            let (piece, after) = match self.inner.openat2 {
                true if rest.len() <= PIECE_BYTES_MAX => (rest, None),
                // Names have at most 255 bytes, so that a slash is near.
                true => rest
                    .char_indices()
                    .skip_while(|(at, _)| *at < PIECE_BYTES_MAX - 300)
                    .find(|(_, character)| *character == '/')
                    .and_then(|(at, _)| rest.split_at_checked(at))
                    .map_or((rest, None), |(piece, after)| (piece, after.strip_prefix('/'))),
                false => rest.split_once('/').map_or((rest, None), |(piece, after)| (piece, Some(after))),
            };
            let folder = at.as_ref().unwrap_or(&self.inner.root);
            let flags = if after.is_some() { walk } else { flags };
            let opened = if self.inner.openat2 {
                rustix::fs::openat2(folder, piece, flags, Mode::empty(), beneath)?
            } else {
                rustix::fs::openat(folder, piece, flags, Mode::empty())?
            };
            match after {
                None => return Ok(opened),
                Some(after) => rest = after,
            }
            at = Some(opened);
        }
    }
}

/// The kernel's own idea of now, from the clock that stamps files; nanoseconds since 1970.
pub fn now_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(NS_PER_S).saturating_add(now.tv_nsec)
}

/// Nothing there is no fault; everything else is, and never absence (DESIGN 1.2).
fn absent<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // LOOP: a link stands there, which nobody is shown. NXIO: a FIFO or socket. ISDIR, NOTDIR: something of another kind.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn stat_at(folder: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    Ok(absent(rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, flags))?.map(|stat| stat_of(&stat)))
}

fn stat_of(stat: &Statx) -> Stat {
    let ns = |time: StatxTimestamp| time.tv_sec.saturating_mul(NS_PER_S).saturating_add(i64::from(time.tv_nsec));
    let entry = match rustix::fs::FileType::from_raw_mode(u32::from(stat.stx_mode)) {
        rustix::fs::FileType::RegularFile => Entry::File,
        rustix::fs::FileType::Directory => Entry::Directory,
        rustix::fs::FileType::Symlink
        | rustix::fs::FileType::Fifo
        | rustix::fs::FileType::Socket
        | rustix::fs::FileType::CharacterDevice
        | rustix::fs::FileType::BlockDevice
        | rustix::fs::FileType::Unknown => Entry::Other,
    };
    let born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let stamp = FileStamp {
        inode: stat.stx_ino,
        mtime_ns: ns(stat.stx_mtime),
        ctime_ns: ns(stat.stx_ctime),
        btime_ns: if born { ns(stat.stx_btime) } else { 0 },
    };
    Stat { entry, size: stat.stx_size, stamp, device: (stat.stx_dev_major, stat.stx_dev_minor) }
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        remove_any(&entry?.path())?;
    }
    Ok(())
}

/// The standard library removes folders without following links.
fn remove_any(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied) => {
            std::fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a text from the disk is a name that can be shown.
fn name_of(bytes: &[u8]) -> Option<Name> {
    std::str::from_utf8(bytes).ok().and_then(|text| Name::parse(text).ok())
}

#[cfg(test)]
mod tests;
