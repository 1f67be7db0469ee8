//! Staged files: bytes on their way in, under a name that nobody sees. Dropped unplaced, they are removed.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::content::{DiskPath, Files, Stat, stat_of};
use crate::domain::Timestamp;

/// A file or folder in the staging folder.
#[derive(Debug)]
pub struct Staged {
    files: Files,
    path: DiskPath,
    placed: bool,
}

impl Files {
    /// A new staged file. Where the length is known its space is reserved, so that a full disk is known before the body is read.
    pub fn stage(&self, length: Option<u64>) -> io::Result<(Staged, File)> {
        let staged = Staged { files: self.clone(), path: self.staging_path(), placed: false };
        let (folder, name) = self.parent(&staged.path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(self.inner.modes.file);
        let file = File::from(rustix::fs::openat(&folder, name, flags, mode)?);
        if let Some(length) = length.filter(|length| *length > 0) {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length) {
                // Not every file system can; the write itself will tell.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((staged, file))
    }

    /// A staged file that holds `bytes`, finished.
    pub fn stage_bytes(&self, bytes: &[bytes::Bytes], modified: Option<Timestamp>) -> io::Result<(Staged, Stat)> {
        let (staged, mut file) = self.stage(None)?;
        for piece in bytes {
            file.write_all(piece)?;
        }
        let stat = self.finish(&file, modified)?;
        Ok((staged, stat))
    }

    /// Takes charge of a staged name that is about to be made.
    pub fn adopt_staged(&self, path: DiskPath) -> Staged {
        Staged { files: self.clone(), path, placed: false }
    }

    /// A new staged folder.
    pub fn stage_folder(&self) -> io::Result<(Staged, Stat)> {
        let staged = Staged { files: self.clone(), path: self.staging_path(), placed: false };
        self.make_folder(&staged.path)?;
        self.sync_folder(&staged.path)?;
        let stat = self.stat(&staged.path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok((staged, stat))
    }

    /// Sets the time and writes the bytes to the disk.
    pub fn finish(&self, file: &File, modified: Option<Timestamp>) -> io::Result<Stat> {
        if let Some(modified) = modified {
            rustix::fs::futimens(file, &times(modified))?;
        }
        if self.inner.sync {
            file.sync_all()?;
        }
        Ok(stat_of(&rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?))
    }
}

impl Staged {
    /// Where it lies.
    pub fn path(&self) -> &DiskPath {
        &self.path
    }

    /// It was committed: from now on the placement owns it.
    pub fn committed(mut self) {
        self.placed = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = self.files.remove(&self.path)
        {
            tracing::warn!(%error, "a staged file could not be removed; the next start does it");
        }
    }
}

/// Modification time in whole seconds; the access time stays.
pub(super) fn times(modified: Timestamp) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: Timespec { tv_sec: modified, tv_nsec: 0 } }
}
