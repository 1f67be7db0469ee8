//! Files open for reading: what is in the page cache is read in place, or sent from there, the rest on a blocking thread. A file that became
//! shorter is an error, never zeros.

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

/// Some bytes of an open file, for a connection that may let the kernel send them. It goes beside the body that would copy the same bytes.
#[derive(Debug, Clone)]
pub struct FilePart {
    file: Arc<File>,
    range: Range<u64>,
}

/// Bytes of a file that the page cache holds, as far as one can know: `sendfile` takes them without waiting for a disk.
#[derive(Debug)]
pub struct Window {
    /// The file.
    pub file: Arc<File>,
    /// Where they begin in it.
    pub at: u64,
    /// How many they are; at most [`WINDOW_BYTES`].
    pub length: usize,
}

/// Bytes of one `sendfile`: of all sizes the fastest (ENGINE 1.6).
pub const WINDOW_BYTES: usize = 256 * 1024;

/// What stands for a window on its way to the connection; none where the bytes must be copied after all.
type Place = Box<dyn FnMut(Window) -> Option<Bytes> + Send>;

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
        self.part(range).pieces(None)
    }

    /// A range, which must lie in the file, for who may send it without reading it.
    pub fn part(&self, range: Range<u64>) -> FilePart {
        FilePart { file: Arc::clone(&self.file), range }
    }
}

impl FilePart {
    /// Bytes in the part.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// As [`OpenFile::stream`], with `place` asked first what is to stand for a window that lies in the page cache.
    pub fn stream(self, place: impl FnMut(Window) -> Option<Bytes> + Send + 'static) -> Incoming {
        self.pieces(Some(Box::new(place)))
    }

    fn pieces(self, place: Option<Place>) -> Incoming {
        // One buffer for all pieces: it is used again as soon as the connection has let go of the last one, and stays in the processor's cache.
        let buffer = BytesMut::new();
        Box::pin(futures_util::stream::try_unfold((self, place, buffer), |(mut left, mut place, mut buffer)| async move {
            if left.range.is_empty() {
                return Ok(None);
            }
            let placed = place.as_mut().and_then(|place| place(left.cached()?));
            let bytes = match placed {
                Some(bytes) => bytes,
                None => left.read(&mut buffer).await?,
            };
            if bytes.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            left.range.start += bytes.len() as u64;
            Ok(Some((bytes, (left, place, buffer))))
        }))
    }

    /// The first window, if it is worth a system call of its own and both its ends are in the page cache.
    fn cached(&self) -> Option<Window> {
        let length = usize::try_from(self.length()).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let Range { start: at, .. } = self.range;
        let in_memory = |at| rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT) == Ok(1);
        let sent = length > WARM_BYTES && in_memory(at) && in_memory(at + length as u64 - 1);
        sent.then(|| Window { file: Arc::clone(&self.file), at, length })
    }

    /// The first bytes; none if the file ends before them.
    async fn read(&self, buffer: &mut BytesMut) -> io::Result<Bytes> {
        let at = self.range.start;
        let wanted = usize::try_from(self.length()).unwrap_or(usize::MAX);
        if let Ok(bytes) = read_warm(&self.file, at, wanted.min(WARM_BYTES), buffer) {
            return Ok(bytes);
        }
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || read_cold(&file, at, wanted.min(COLD_BYTES))).await.map_err(io::Error::other)?
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
