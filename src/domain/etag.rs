//! Etags: opaque, strong, without quotes inside the program and with quotes on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::ETAG_BYTES_MAX;

/// The version of a node's representation.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Etag {
    /// A node of a space: the epoch of the store and the version of the space (DESIGN 3).
    Version {
        /// Rises at every unclean start and every restore.
        epoch: u32,
        /// The space's version when the node was last changed.
        version: u64,
    },
    /// Text from elsewhere, or a hash: at most [`ETAG_BYTES_MAX`] bytes, no quotes.
    Opaque(Box<str>),
}

impl Etag {
    /// An etag as another server sent it, with or without its quotes; none where it is weak, too long or not usable as it is.
    pub fn strong(text: &str) -> Option<Etag> {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let usable = !inner.is_empty()
            && inner.len() <= ETAG_BYTES_MAX
            && !inner.starts_with("W/")
            && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        usable.then(|| Etag::Opaque(inner.into()))
    }

    /// The etag in quotes, as headers and PROPFIND carry it.
    pub fn quoted(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Etag::Version { epoch, version } => write!(formatter, "{epoch:x}.{version:x}"),
            Etag::Opaque(text) => formatter.write_str(text),
        }
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}
