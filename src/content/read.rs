//! Files open for reading: what is in the page cache is read in place, the rest on a blocking thread. A file that became shorter is an error,
//! never zeros.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags};

use crate::wire::Incoming;

/// A plain file, opened: its content stays what it was when its node was given out, because writes replace files.
#[derive(Debug, Clone)]
pub struct OpenFile {
    file: Arc<File>,
    size: u64,
}

/// Largest file that is answered in one piece, in bytes.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of one read from the page cache: small enough to stay in the processor's.
const WARM_BYTES: usize = 64 * 1024;
/// Bytes of one read from the disk.
const COLD_BYTES: usize = 512 * 1024;

impl OpenFile {
    /// A file and its size when it was opened.
    pub fn new(file: File, size: u64) -> OpenFile {
        OpenFile { file: Arc::new(file), size }
    }

    /// Bytes, when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The descriptor, for `sendfile`.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The whole file, if it is small; none if it is not, or could not be read whole.
    pub async fn read_small(&self) -> Option<Bytes> {
        if self.size > SMALL_BYTES_MAX {
            return None;
        }
        let length = usize::try_from(self.size).ok()?;
        if length == 0 {
            return Some(Bytes::new());
        }
        match read_warm(&self.file, 0, length, &mut BytesMut::new()) {
            Ok(bytes) if bytes.len() == length => return Some(bytes),
            Ok(_) | Err(_) => {}
        }
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || read_cold(&file, 0, length)).await;
        read.ok()?.ok().filter(|bytes| bytes.len() == length)
    }

    /// The bytes of a range, which must lie in the file. If the file turns out shorter, the stream ends with an error.
    pub fn stream(&self, range: Range<u64>) -> Incoming {
        let file = Arc::clone(&self.file);
        // One buffer for all pieces: it is used again as soon as the connection has let go of the last one, and stays in the processor's cache.
        let buffer = BytesMut::new();
        Box::pin(futures_util::stream::try_unfold((file, range, buffer), |(file, mut left, mut buffer)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            let wanted = usize::try_from(left.end - left.start).unwrap_or(usize::MAX);
            let bytes = match read_warm(&file, left.start, wanted.min(WARM_BYTES), &mut buffer) {
                Ok(bytes) => bytes,
                Err(_not_in_memory) => {
                    let (cold, at) = (Arc::clone(&file), left.start);
                    let read = tokio::task::spawn_blocking(move || read_cold(&cold, at, wanted.min(COLD_BYTES)));
                    read.await.map_err(io::Error::other)??
                }
            };
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            left.start += bytes.len() as u64;
            Ok(Some((bytes, (file, left, buffer))))
        }))
    }
}

/// What the page cache holds from there on; an error if that is nothing, or the file system cannot tell.
fn read_warm(file: &File, at: u64, length: usize, buffer: &mut BytesMut) -> rustix::io::Result<Bytes> {
    buffer.clear();
    buffer.resize(length, 0);
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT)?;
    if read == 0 && length > 0 {
        // Some file systems say "nothing" for "not in memory": a blocking read knows.
        return Err(Errno::AGAIN);
    }
    Ok(buffer.split_to(read).freeze())
}

fn read_cold(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        let Some(rest) = buffer.get_mut(filled..) else {
            break;
        };
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}
