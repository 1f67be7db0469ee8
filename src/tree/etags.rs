//! Etags of collections above mountpoints: composed when they are read, so that a change on a remote raises them without a write to the
//! home (DESIGN 3).

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::domain::{Etag, Kind, MountId, MountState, Name, Node, NodeId, Permissions};
use crate::mount::MountHandle;
use crate::space::Mountpoint;
use crate::tree::{Access, Entry, View};

/// The mounts below a collection with their root etags, all read before anything that is answered with them.
pub(super) struct Roots {
    points: Vec<Mountpoint>,
    /// In the order of `points`: the root etag, and of a share what it grants; none where it does not count.
    marks: Vec<Option<String>>,
}

impl Roots {
    /// The composed etag of each of `nodes` that has mounts below; nothing where there are no mounts.
    pub(super) fn composed<'nodes>(&self, nodes: impl Iterator<Item = &'nodes Node>) -> HashMap<NodeId, Etag> {
        if self.points.is_empty() {
            return HashMap::new();
        }
        nodes.filter(|node| node.is_collection()).filter_map(|node| Some((node.id, self.compose(node)?))).collect()
    }

    /// The node with its etag composed, if mounts hang below it.
    pub(super) fn above(&self, mut node: Node) -> Node {
        if let Some(etag) = self.compose(&node).filter(|_| node.is_collection()) {
            node.etag = etag;
        }
        node
    }

    fn compose(&self, node: &Node) -> Option<Etag> {
        let mut hash = None;
        for (point, mark) in self.points.iter().zip(&self.marks).filter(|(point, _)| point.ancestors.contains(&node.id)) {
            let hash = hash.get_or_insert_with(|| Sha256::new_with_prefix(node.etag.to_string()));
            hash.update(point.mount.0.to_be_bytes());
            if let Some(mark) = mark {
                hash.update(mark);
            }
        }
        let digest = hash?.finalize();
        let text: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Some(Etag::Opaque(text.into_boxed_str()))
    }
}

impl View {
    /// What counts in composed etags, as it is now. For a listing it is taken before the members are read: a collection's etag must not be
    /// newer than what is listed in it (DESIGN 1.9).
    pub(super) async fn roots(&self, collection: NodeId) -> Roots {
        let all = self.space.mountpoints();
        let points: Vec<Mountpoint> = all.iter().filter(|point| point.ancestors.contains(&collection)).cloned().collect();
        let mut marks = Vec::with_capacity(points.len());
        for point in points.iter() {
            marks.push(self.mark(point).await);
        }
        Roots { points, marks }
    }

    async fn mark(&self, point: &Mountpoint) -> Option<String> {
        if self.forest.shares().is_mounted(point.mount) {
            // Clients look at the letters of a share only when something above it changes.
            let entry = self.shared_entry(point.mount, &bare_row(point)).await?;
            return Some(format!("{} {}", entry.node.etag, entry.access.granted.0));
        }
        let handle = self.forest.mounts().get(point.mount)?;
        // A mount that contains us would raise its own etag for ever.
        handle.counts_in_etags().then(|| handle.root().etag.to_string())
    }

    /// The node with its etag composed, if mounts hang below it.
    pub(super) async fn with_composed_etag(&self, node: Node) -> Node {
        if node.is_collection() { self.roots(node.id).await.above(node) } else { node }
    }

    /// What stands at a mountpoint: the remote root, or the bare row where the mount's record is not there. None where this principal sees
    /// nothing.
    pub(super) async fn mounted_entry(&self, mount: MountId, row: &Node) -> Option<Entry> {
        if self.forest.shares().is_mounted(mount) {
            return self.shared_entry(mount, row).await;
        }
        let root = self.forest.mounts().get(mount).map_or_else(|| bare_mountpoint(row), |handle| handle.root());
        // Dead properties are asked of the remote, and nobody who lists a parent may wait for that.
        let node = Node { has_properties: false, ..root };
        let access = self.mount_access(mount, &node, true);
        Some(Entry { node, access })
    }

    pub(super) fn mount_access(&self, mount: MountId, node: &Node, mount_root: bool) -> Access {
        let own = mount_root && self.is_own();
        Access { granted: self.granted & node.permissions, shared: true, mount_root: own, mount: Some(mount) }
    }

    /// The mounts at or below a path of the home, with the name under which each hangs.
    pub(super) fn mounts_under(&self, collection: NodeId) -> Vec<(MountId, Name)> {
        let mountpoints = self.space.mountpoints();
        let below = mountpoints.iter().filter(|mountpoint| mountpoint.ancestors.contains(&collection));
        below.map(|mountpoint| (mountpoint.mount, mountpoint.name.clone())).collect()
    }
}

/// Whether requests to the mount's remote can be answered now.
pub(super) fn is_online(handle: &MountHandle) -> bool {
    handle.state() == MountState::Online
}

/// A mountpoint of which nothing is known but where it is.
fn bare_row(point: &Mountpoint) -> Node {
    Node::bare(NodeId(point.mount.0), Kind::Mount)
}

fn bare_mountpoint(row: &Node) -> Node {
    Node { kind: Kind::Collection, permissions: Permissions::READ, ..row.clone() }
}
