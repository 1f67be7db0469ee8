//! The bytes of a file, wherever they lie.

use std::ops::Range;

use bytes::Bytes;

use crate::content::FilePart;
use crate::domain::Result;
use crate::mount::RemoteFile;
use crate::space::OpenFile;
use crate::wire::{Incoming, Via};

/// An open file of a view.
#[derive(Debug)]
pub enum Source {
    /// A plain file of the home.
    Home(OpenFile),
    /// A file of a remote, and the hops to send on.
    Remote(RemoteFile, Via),
}

impl Source {
    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        match self {
            Source::Home(file) => file.size(),
            Source::Remote(file, _) => file.size(),
        }
    }

    /// The whole content of a small file, read in one call or known already; none for anything else.
    ///
    /// # Errors
    /// As [`Source::stream`].
    pub async fn small(&self) -> Result<Option<Bytes>> {
        match self {
            Source::Home(file) => Ok(file.read_small().await),
            Source::Remote(file, via) => file.small(via).await,
        }
    }

    /// A range of a local file, for a connection that may send it without reading it: it belongs into the extensions of an answer whose body
    /// is the [`stream`](Source::stream) of the same range and nothing else.
    pub fn part(&self, range: Range<u64>) -> Option<FilePart> {
        match self {
            Source::Home(file) => Some(file.part(range)),
            Source::Remote(..) => None,
        }
    }

    /// The bytes of a range, as they come. A file that turns out shorter ends in an error, never in invented bytes.
    ///
    /// # Errors
    /// [`Error::Changed`](crate::domain::Error::Changed) where the remote file is no longer what was opened: open it again. Whatever the
    /// remote refuses.
    pub async fn stream(&self, range: Range<u64>) -> Result<Incoming> {
        match self {
            Source::Home(file) => Ok(file.stream(range)),
            Source::Remote(file, via) => file.stream(via, range).await,
        }
    }
}
