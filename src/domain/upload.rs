//! Uploads that come in chunks: what is remembered of one, and the names of its parts.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Principal, SpaceId, Timestamp};
use crate::limits::{CHUNK_NAME_BYTES_MAX, UPLOAD_NAME_BYTES_MAX};

/// The number of an upload; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UploadId(pub u64);

/// An upload that was begun. Its chunks are files of the space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Number.
    pub id: UploadId,
    /// Who began it; nobody else finds it.
    pub principal: Principal,
    /// Whose disk and quota its chunks use.
    pub space: SpaceId,
    /// What the client calls it.
    pub name: UploadName,
    /// Bytes of the whole, where the client said it.
    pub total: Option<u64>,
    /// How many chunks there will be, where the client said it (the first kind of chunking).
    pub count: Option<u32>,
    /// When it was begun.
    pub begun: Timestamp,
}

/// What a client calls its upload: a path segment of the second kind of chunking, or what identifies one of the first kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UploadName {
    /// `/uploads/USER/ID`.
    Session(Box<str>),
    /// `PATH-chunking-TRANSFER-COUNT-INDEX`.
    Transfer {
        /// SHA-256 of the path.
        path: [u8; 32],
        /// The client's number.
        transfer: u64,
    },
}

impl UploadName {
    /// A segment as clients make them: letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
    pub fn session(text: &str) -> Option<UploadName> {
        is_plain(text, UPLOAD_NAME_BYTES_MAX).then(|| UploadName::Session(text.into()))
    }
}

/// The name of a chunk. Names are ordered as people count: runs of digits by their value, so that padded and unpadded indexes and offsets
/// come in the order of the bytes (`protocol/clients.md` 2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChunkName(Box<str>);

impl ChunkName {
    /// Checks a name: letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
    pub fn parse(text: &str) -> Option<ChunkName> {
        is_plain(text, CHUNK_NAME_BYTES_MAX).then(|| ChunkName(text.into()))
    }

    /// The name of a numbered chunk.
    pub fn numbered(index: u32) -> ChunkName {
        ChunkName(index.to_string().into_boxed_str())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(text: &str, most: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= most && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && text.bytes().all(plain)
}

impl fmt::Debug for ChunkName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl Ord for ChunkName {
    fn cmp(&self, other: &ChunkName) -> Ordering {
        // Names that count the same, such as `1` and `01`, are still two.
        natural(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ChunkName {
    fn partial_cmp(&self, other: &ChunkName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let ((left, left_rest), (right, right_rest)) = match (run(one), run(other)) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return left.is_some().cmp(&right.is_some()),
        };
        let order = if is_number(left) && is_number(right) {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        } else {
            left.cmp(right)
        };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (left_rest, right_rest);
    }
}

fn is_number(run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first run of digits or of other signs, and the rest.
fn run(text: &str) -> Option<(&str, &str)> {
    let digits = text.bytes().next()?.is_ascii_digit();
    let end = text.bytes().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str]) {
        let mut sorted: Vec<ChunkName> = names.iter().map(|name| ChunkName::parse(name).unwrap()).collect();
        sorted.reverse();
        sorted.sort();
        let sorted: Vec<&str> = sorted.iter().map(ChunkName::as_str).collect();
        assert_eq!(sorted, names);
    }

    #[test]
    fn chunks_come_in_the_order_of_their_numbers() {
        check(&["1", "2", "9", "10", "11", "100"]);
        check(&["0000000000000000", "0000000010000000", "0000000100000000"]);
        check(&["0", "5", "0010", "11", "000000100"]);
        check(&["000000000000000-000000005242879", "000000005242880-000000010485759", "5242881-6"]);
        check(&["01", "1", "a1", "a2", "a10", "b"]);
        check(&["9999999999999999999998", "9999999999999999999999", "10000000000000000000000"]);
    }

    #[test]
    fn d9_no_path_is_a_chunk_name() {
        for bad in
            ["", ".", "..", ".file", "a/b", "../x", "a\\b", "a b", "a\0", "~1", "-1", "ä", "1~2", &"1".repeat(CHUNK_NAME_BYTES_MAX + 1)]
        {
            assert!(ChunkName::parse(bad).is_none(), "{bad:?}");
            assert!(bad.len() > CHUNK_NAME_BYTES_MAX || UploadName::session(bad).is_none(), "{bad:?}");
        }
        assert!(UploadName::session(&"x".repeat(UPLOAD_NAME_BYTES_MAX + 1)).is_none());
        assert!(UploadName::session("web-file-upload-0cc175b9c0f1b6a831c399e269772661-1795313270.5").is_some());
    }
}
