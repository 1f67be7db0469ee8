//! Contents of small files of remotes. An etag names a content, so what was read once need not be read again while the listing, which is two
//! seconds old at most, still shows that etag.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::domain::{Etag, MountId, TreePath};
use crate::limits::REMOTE_CONTENTS_BYTES_MAX;

/// About what an entry takes beside its content and its path.
const ENTRY_BYTES: usize = 256;

/// The contents that all mounts of a server keep in memory. Two shelves: what is asked for comes to the young one, and when that is full, the old
/// one is cleared for it.
#[derive(Default)]
pub(super) struct Contents {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    young: HashMap<(MountId, TreePath), Kept>,
    old: HashMap<(MountId, TreePath), Kept>,
    young_bytes: usize,
}

struct Kept {
    etag: Etag,
    content: Bytes,
}

impl Contents {
    /// The content of a file, if it is kept and has this etag.
    pub(super) fn get(&self, mount: MountId, path: &TreePath, etag: &Etag) -> Option<Bytes> {
        let key = (mount, path.clone());
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = shelves.young.get(&key) {
            return (kept.etag == *etag).then(|| kept.content.clone());
        }
        let kept = shelves.old.remove(&key).filter(|kept| kept.etag == *etag)?;
        let content = kept.content.clone();
        shelves.put(key, kept);
        Some(content)
    }

    /// Keeps a content, for as long as there is room.
    pub(super) fn keep(&self, mount: MountId, path: &TreePath, etag: &Etag, content: Bytes) {
        let kept = Kept { etag: etag.clone(), content };
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).put((mount, path.clone()), kept);
    }

    /// Forgets what belongs to a mount.
    pub(super) fn forget(&self, mount: MountId) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.young.retain(|(of, _), _| *of != mount);
        shelves.old.retain(|(of, _), _| *of != mount);
    }
}

impl Shelves {
    fn put(&mut self, key: (MountId, TreePath), kept: Kept) {
        self.young_bytes += kept.content.len() + key.1.as_str().len() + ENTRY_BYTES;
        self.young.insert(key, kept);
        if self.young_bytes > REMOTE_CONTENTS_BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: usize) -> TreePath {
        TreePath::parse(&format!("/{number}")).unwrap()
    }

    fn etag(version: u64) -> Etag {
        Etag::Version { epoch: 1, version }
    }

    #[test]
    fn a_content_is_found_by_its_etag_alone() {
        let contents = Contents::default();
        contents.keep(MountId(1), &path(1), &etag(1), Bytes::from_static(b"old"));
        assert_eq!(contents.get(MountId(1), &path(1), &etag(1)).unwrap(), "old");
        assert!(contents.get(MountId(1), &path(1), &etag(2)).is_none());
        assert!(contents.get(MountId(2), &path(1), &etag(1)).is_none());
        contents.keep(MountId(1), &path(1), &etag(2), Bytes::from_static(b"new"));
        assert!(contents.get(MountId(1), &path(1), &etag(1)).is_none());
        assert_eq!(contents.get(MountId(1), &path(1), &etag(2)).unwrap(), "new");
        contents.forget(MountId(1));
        assert!(contents.get(MountId(1), &path(1), &etag(2)).is_none());
    }

    #[test]
    fn f11_what_is_kept_is_bounded_and_what_is_used_stays() {
        let contents = Contents::default();
        for number in 0..4000 {
            contents.keep(MountId(1), &path(number), &etag(1), Bytes::from(vec![0; 10_000]));
            assert!(contents.get(MountId(1), &path(0), &etag(1)).is_some(), "{number}");
        }
        let shelves = contents.shelves.lock().unwrap();
        let kept: usize = shelves.young.values().chain(shelves.old.values()).map(|kept| kept.content.len()).sum();
        assert!(kept <= REMOTE_CONTENTS_BYTES_MAX, "{kept}");
    }
}
