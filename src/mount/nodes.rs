//! What a remote says of a node, as a node of ours: derived ids, exposed etags.

use sha2::{Digest as _, Sha256};

use crate::domain::{Checksum, Etag, FileStamp, Kind, MountId, Node, NodeId, Quota, TreePath};
use crate::remote::Traits;
use crate::wire::multistatus::reader::Properties;

/// Ids of remote nodes are 53-bit numbers (JavaScript clients keep no more) with the highest bit set, so that they are not taken for ids of
/// homes.
const ID_BITS: u64 = (1 << 52) - 1;
const ID_MARK: u64 = 1 << 52;

/// The node, and the remote's etag where the exposed one does not say it; empty where the remote has none. With a `salt` collections have other
/// etags than the remote says.
pub(super) fn node(mount: MountId, path: &TreePath, remote: &Properties, traits: Traits, salt: u64) -> (Node, Option<String>) {
    let (etag, raw) = match &remote.etag {
        Some(said) if salt != 0 && remote.collection == Some(true) => (salted(mount, said, salt), Some(said.clone())),
        Some(_) | None => etag(mount, path, remote),
    };
    let modified = remote.modified.unwrap_or_default();
    let node = Node {
        id: id(mount, path, remote),
        kind: if remote.collection == Some(true) { Kind::Collection } else { Kind::File },
        etag,
        size: remote.length.or(remote.size).unwrap_or_default(),
        modified,
        created: remote.created.unwrap_or(modified),
        permissions: traits.permissions(remote),
        checksum: remote.checksums.as_deref().and_then(|sums| sums.split_whitespace().find_map(|sum| Checksum::parse(sum).ok())),
        media_type: remote.media_type.clone().map(String::into_boxed_str),
        has_properties: traits.dead_properties,
        stamp: FileStamp::default(),
    };
    (node, raw)
}

/// Space as the remote's root says it; negative numbers mean that it does not know or does not limit.
pub(super) fn quota(remote: &Properties) -> Option<Quota> {
    let used = remote.quota_used.and_then(|used| u64::try_from(used).ok());
    let available = remote.quota_available.and_then(|left| u64::try_from(left).ok());
    (used.is_some() || available.is_some()).then(|| Quota { used: used.or(remote.size).unwrap_or_default(), available })
}

/// The remote's etag where clients can use it as it is, else a hash (DESIGN 5). Beside it what the remote calls it where that is something
/// else; empty where it has none (nginx names none in listings).
fn etag(mount: MountId, path: &TreePath, remote: &Properties) -> (Etag, Option<String>) {
    let Some(raw) = &remote.etag else {
        let text = format!("{path}\n{:?}\n{:?}", remote.length, remote.modified);
        return (hashed(mount, text.as_bytes()), Some(String::new()));
    };
    match Etag::strong(raw) {
        Some(etag) if etag.quoted() == *raw => (etag, None),
        Some(etag) => (etag, Some(raw.clone())),
        None => (hashed(mount, raw.as_bytes()), Some(raw.clone())),
    }
}

/// The etag of a collection that clients are to look at again.
pub(super) fn salted(mount: MountId, raw: &str, salt: u64) -> Etag {
    hashed(mount, format!("{raw}\n{salt:x}").as_bytes())
}

/// A strong etag of 32 digits.
pub(super) fn hashed(mount: MountId, text: &[u8]) -> Etag {
    let digest = Sha256::new_with_prefix(mount.0.to_be_bytes()).chain_update(text).finalize();
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Etag::Opaque(digits.into_boxed_str())
}

fn id(mount: MountId, path: &TreePath, remote: &Properties) -> NodeId {
    let hash = Sha256::new_with_prefix(mount.0.to_be_bytes());
    let hash = match &remote.id {
        Some(id) => hash.chain_update(b"i").chain_update(id),
        None => hash.chain_update(b"p").chain_update(path.as_str()),
    };
    let number = hash.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    NodeId(number & ID_BITS | ID_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Vendor;

    fn remote(etag: Option<&str>, id: Option<&str>) -> Properties {
        let (etag, id) = (etag.map(str::to_owned), id.map(str::to_owned));
        Properties { etag, id, length: Some(3), modified: Some(7), ..Properties::default() }
    }

    fn node(mount: MountId, path: &TreePath, remote: &Properties) -> (Node, Option<String>) {
        super::node(mount, path, remote, Traits::of(Vendor::Other), 0)
    }

    #[track_caller]
    fn check(raw: Option<&str>, kept: bool, sent: Option<&str>) {
        let (node, needed) = node(MountId(1), &TreePath::parse("a").unwrap(), &remote(raw, None));
        let exposed = node.etag.quoted();
        assert_eq!(raw == Some(exposed.as_str()), kept, "{raw:?} became {exposed}");
        assert!(Etag::strong(&exposed).is_some());
        assert_eq!(needed.as_deref(), sent);
    }

    #[test]
    fn etags_stay_as_they_are_where_clients_can_use_them() {
        let long = format!("\"{}\"", "x".repeat(64));
        check(Some("\"abc\""), true, None);
        check(Some("W/\"abc\""), false, Some("W/\"abc\""));
        check(Some("abc"), false, Some("abc"));
        check(Some(&long), false, Some(&long));
        check(None, false, Some(""));
    }

    #[test]
    fn ids_follow_the_remotes_id_and_differ_between_mounts() {
        let at = |mount, path: &str, id| node(MountId(mount), &TreePath::parse(path).unwrap(), &remote(None, id)).0.id;
        assert_eq!(at(1, "a", Some("7")), at(1, "b", Some("7")), "a rename keeps the id");
        assert_ne!(at(1, "a", Some("7")), at(2, "a", Some("7")));
        assert_ne!(at(1, "a", None), at(1, "b", None));
        assert!(at(1, "a", None).0 < 1 << 53);
    }
}
