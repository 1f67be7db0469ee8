//! From a path to a backend: the one place where permissions are checked (DESIGN 1.4).

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{At, Error, Expect, MountId, Node, OfflineCause, Permissions, Result, TreePath, Write};
use crate::mount::MountHandle;
use crate::space::Resolved;
use crate::tree::View;
use crate::tree::shared::SharedTarget;

/// What stands behind a path.
pub(super) enum Target {
    /// A node of the home.
    Home { at: At, node: Node },
    /// A free name in the home.
    HomeFree { at: At, parent_exists: bool },
    /// A path in a mount; the mount's own root where `inner` is the root.
    Mount(MountTarget),
    /// A path in what another user shared.
    Shared(Box<SharedTarget>),
}

/// A path in a mount.
pub(super) struct MountTarget {
    pub(super) mount: MountId,
    /// The mountpoint, below the base of the view.
    pub(super) at: At,
    /// The path inside the mount.
    pub(super) inner: TreePath,
    /// The mountpoint's row.
    pub(super) row: Node,
}

impl View {
    /// Finds what stands behind a path, whatever may be done with it.
    pub(super) async fn resolve(&self, path: &TreePath) -> Result<Target> {
        let at = At { base: self.base, path: path.clone(), by: self.principal.clone() };
        Ok(match self.space.resolve(&at).await? {
            Resolved::Node(node) => Target::Home { at, node },
            Resolved::Missing { parent_exists } => {
                // A link whose node is gone opens nothing at all.
                if path.is_root() {
                    return Err(Error::NotFound);
                }
                Target::HomeFree { at, parent_exists }
            }
            Resolved::Mount { mount, at: point, inner, node } => {
                let at = At { base: self.base, path: point, by: self.principal.clone() };
                if self.forest.shares().is_mounted(mount) {
                    let view = self.enter(mount).await;
                    if matches!(view, Err(Error::NotFound)) && self.forest.clear_expired(mount).await? {
                        return Box::pin(self.resolve(path)).await;
                    }
                    Target::Shared(Box::new(SharedTarget { mount, at, inner, row: node, view }))
                } else {
                    Target::Mount(MountTarget { mount, at, inner, row: node })
                }
            }
        })
    }

    /// Whether the view as a whole grants `needed`. What may not even be read is not there (attacks L1: a drop folder tells nothing).
    pub(super) fn demand(&self, granted: Permissions, needed: Permissions) -> Result<()> {
        if granted.contains(needed) {
            Ok(())
        } else if self.granted.contains(Permissions::READ) {
            Err(Error::Forbidden(missing_right(needed)))
        } else {
            Err(Error::NotFound)
        }
    }

    /// The handle of a mount to be asked something, or 503: a mount whose record is not loaded exists all the same. 508 where the request
    /// has come from that very remote.
    pub(super) fn handle(&self, mount: MountId) -> Result<Arc<MountHandle>> {
        let unavailable = |cause| Error::Unavailable { cause, retry_after: Duration::from_secs(30) };
        let handle = self.forest.mounts().get(mount).ok_or_else(|| unavailable(OfflineCause::Unreachable))?;
        if !self.forest.may_enter(&handle) {
            return Err(unavailable(OfflineCause::NotAllowed));
        }
        // The remote would say the same, but what is cached here could be walked round and round without asking it (attack F13).
        if handle.leads_back(&self.via) { Err(Error::Loop) } else { Ok(handle) }
    }

    /// A mountpoint is the user's own row: nobody who comes by a link or a share may move or remove it.
    pub(super) fn demand_own_mount(&self) -> Result<()> {
        if self.is_own() { Ok(()) } else { Err(Error::Forbidden("a mount can only be moved or removed by its user")) }
    }

    /// The conditions of a write as the home can judge them: a composed etag is compared here and replaced by the node's own.
    pub(super) async fn home_write(&self, node: &Node, write: Write) -> Result<Write> {
        let composed = self.with_composed_etag(node.clone()).await;
        match &write.expect {
            Expect::Unchanged(Some(etag)) if composed.etag != node.etag => {
                if *etag == composed.etag {
                    Ok(Write { expect: Expect::Unchanged(Some(node.etag.clone())), tokens: write.tokens })
                } else {
                    Err(Error::PreconditionFailed)
                }
            }
            Expect::Unchanged(_) | Expect::Anything | Expect::Absent => Ok(write),
        }
    }
}

fn missing_right(needed: Permissions) -> &'static str {
    if needed.contains(Permissions::CREATE) {
        "nothing may be added here"
    } else if needed.contains(Permissions::DELETE) {
        "nothing may be deleted here"
    } else if needed.contains(Permissions::UPDATE) {
        "nothing may be changed here"
    } else {
        "this may not be read"
    }
}
