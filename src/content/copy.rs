//! Copies within the file system: shared extents where it can, `copy_file_range` otherwise (which shares extents by itself on XFS and
//! Btrfs where they fit).

use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::content::stage::times;
use crate::content::{DiskPath, Files, Stat};
use crate::domain::{Name, Timestamp};

/// Bytes asked for in one call; the kernel may copy fewer.
const COPY_BYTES_MAX: usize = 1 << 30;

impl Files {
    /// Copies a plain file to a new name, with its modification time, and says what both are. None if there is no plain file.
    pub fn copy_file(&self, from: &DiskPath, to: &DiskPath) -> io::Result<Option<(Stat, Stat)>> {
        let Some((source, before)) = self.open_file(from)? else {
            return Ok(None);
        };
        let (folder, name) = self.parent(to)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = File::from(rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(self.inner.modes.file))?);
        if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
            copy_bytes(&source, &target)?;
        }
        let after = self.finish(&target, Some(before.modified()))?;
        Ok(Some((before, after)))
    }

    /// Appends a plain file to an open one, and returns it, for whoever wants to read it too. None if there is no plain file.
    pub fn append(&self, from: &DiskPath, to: &File) -> io::Result<Option<(File, Stat)>> {
        let Some((source, stat)) = self.open_file(from)? else {
            return Ok(None);
        };
        copy_bytes(&source, to)?;
        Ok(Some((source, stat)))
    }

    /// Sets the time of a copied folder, once everything is in it, and writes its names to the disk.
    pub fn finish_folder(&self, path: &DiskPath, modified: Timestamp) -> io::Result<Option<Stat>> {
        let (folder, name) = self.parent(path)?;
        rustix::fs::utimensat(&folder, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)?;
        self.sync_folder(path)?;
        self.stat(path)
    }

    /// Makes a folder in a staged one.
    pub fn make_inner(&self, folder: &DiskPath, name: &Name) -> io::Result<DiskPath> {
        let path = folder.join(name);
        self.make_folder(&path)?;
        Ok(path)
    }
}

fn copy_bytes(source: &File, target: &File) -> io::Result<()> {
    loop {
        match rustix::fs::copy_file_range(source, None, target, None, COPY_BYTES_MAX) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                // Both descriptors stand where the last call left them.
                let (mut source, mut target) = (source, target);
                return io::copy(&mut source, &mut target).map(drop);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
