//! Mountpoints: rows without files, which keep their names unique among the others and move with their parents.

use std::sync::Arc;

use crate::domain::{At, Error, FileStamp, Kind, MountId, Name, Node, NodeId, Result, TreePath};
use crate::space::state::Walk;
use crate::space::{Space, free_name, node_of};
use crate::store::{self, Change, Check, NodeJob, Place};

/// Where a mount hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountpoint {
    /// Which.
    pub mount: MountId,
    /// Its name.
    pub name: Name,
    /// Its path from the root of the space.
    pub path: TreePath,
    /// Ids of the collections above it, from the root down.
    pub ancestors: Vec<NodeId>,
}

/// What became of the row of a mountpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountRow {
    /// It hangs in the home.
    Hangs,
    /// It lies in what was deleted or vanished, and may be restored or found again.
    Waits,
    /// It lies below a folder that was removed for good.
    Buried,
    /// There is none.
    Absent,
}

/// Tries before a free name is given up: somebody takes each one first.
const NAME_TRIES_MAX: usize = 16;

impl Space {
    /// Hangs a mount into a collection under the wanted name, or `Photos (2)` where that is taken. Returns the name.
    pub async fn add_mount(&self, parent: &At, mount: MountId, wanted: &Name) -> Result<Name> {
        for _ in 0..NAME_TRIES_MAX {
            let (node, children) = self.list(parent).await?;
            let name = free_name(wanted, |name| children.contains_key(name))?;
            let at = At { base: node.id, path: TreePath::from(name.clone()), by: parent.by.clone() };
            let held = self.hold(&at, false).await?;
            let added = self.blocking(move |space| {
                let added = space.add_mount_now(&at, mount);
                drop(held);
                added
            });
            match added.await {
                Ok(()) => return Ok(name),
                Err(Error::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::LimitReached("no free name was found"))
    }

    fn add_mount_now(&self, at: &At, mount: MountId) -> Result<()> {
        let target = self.target(at)?;
        if target.row.is_some() {
            return Err(Error::Exists);
        }
        let node = node_of(NodeId(mount.0), Kind::Mount, 0, FileStamp::default(), self.clock.now());
        let mut job = NodeJob::new(self.id, vec![Change::Put { place: target.place.clone(), node }]);
        job.now = self.clock.now();
        job.checks.push(target.check());
        self.store.commit_nodes(job)?;
        Ok(())
    }

    /// Takes a mount's row away, wherever it hangs. Fine if there is none.
    pub async fn remove_mount(&self, mount: MountId) -> Result<()> {
        for _ in 0..NAME_TRIES_MAX {
            let removed = self.blocking(move |space| space.remove_mount_now(mount)).await?;
            if removed {
                return Ok(());
            }
        }
        Err(Error::Changed)
    }

    fn remove_mount_now(&self, mount: MountId) -> Result<bool> {
        let Some(place) = self.store.place(self.id, NodeId(mount.0))? else {
            return Ok(true);
        };
        let Some(row) = self.store.node(self.id, &place)?.filter(|row| row.kind == Kind::Mount) else {
            return Ok(true);
        };
        let mut job = NodeJob::new(self.id, vec![Change::Remove { place: place.clone(), keep_until: 0 }]);
        job.now = self.clock.now();
        job.checks.push(Check { place, seen: Some((row.id, row.etag)) });
        match self.store.commit_nodes(job) {
            Ok(_) => Ok(true),
            Err(store::Error::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the mounts of this space hang. Worked out again only after something moved.
    pub fn mountpoints(&self) -> Arc<Vec<Mountpoint>> {
        let (places, moves) = {
            let state = self.state();
            if let Some(known) = &state.mountpoints {
                return Arc::clone(known);
            }
            (state.mount_places.clone(), state.moves)
        };
        let mut found = Vec::with_capacity(places.len());
        for (mount, place) in places {
            match self.mountpoint(mount, &place) {
                Ok(mountpoint) => found.extend(mountpoint),
                // Without its path a mount cannot be shown; nothing is kept, so that the next call asks again.
                Err(error) => {
                    tracing::error!(%error, mount.id = mount.0, "it cannot be found out where a mount hangs");
                    return Arc::new(found);
                }
            }
        }
        let found = Arc::new(found);
        let mut state = self.state();
        if state.moves == moves {
            state.mountpoints = Some(Arc::clone(&found));
        }
        found
    }

    fn mountpoint(&self, mount: MountId, place: &Place) -> Result<Option<Mountpoint>> {
        let (Some(folder), Ok(name)) = (self.path_now(place.parent)?, Name::parse(&place.name)) else {
            return Ok(None);
        };
        let mut ancestors = vec![place.parent];
        let mut at = place.parent;
        while at != NodeId::ROOT {
            let Some(above) = self.place_now(at)? else {
                return Ok(None);
            };
            at = above.parent;
            ancestors.push(at);
        }
        ancestors.reverse();
        Ok(Some(Mountpoint { mount, path: folder.join(&name), name, ancestors }))
    }

    /// Where a mount hangs; none if it does not.
    pub fn mount_path(&self, mount: MountId) -> Option<TreePath> {
        self.mountpoints().iter().find(|mountpoint| mountpoint.mount == mount).map(|mountpoint| mountpoint.path.clone())
    }

    /// Whether a mount has a row anywhere: in the home, or in a deleted folder.
    pub async fn has_mount(&self, mount: MountId) -> Result<bool> {
        self.blocking(move |space| Ok(space.store.place(space.id, NodeId(mount.0))?.is_some())).await
    }

    /// What became of the row of a mountpoint. Rows alone are asked, so that a disk that is away is no reason to let go of anything.
    pub async fn mount_row(&self, mount: MountId) -> Result<MountRow> {
        let row = self.blocking(move |space| space.mount_row_now(mount)).await?;
        if matches!(row, MountRow::Hangs | MountRow::Waits) {
            return Ok(row);
        }
        // A folder that moves between two reads looks like one that is gone: asked again while none moves.
        let structure = Arc::clone(&self.structure).write_owned().await;
        self.blocking(move |space| {
            let row = space.mount_row_now(mount);
            drop(structure);
            row
        })
        .await
    }

    fn mount_row_now(&self, mount: MountId) -> Result<MountRow> {
        let mut at = NodeId(mount.0);
        while ![NodeId::ROOT, NodeId::TRASH, NodeId::VERSIONS].contains(&at) {
            let Some(place) = self.store.place(self.id, at)? else {
                let garbage = self.store.garbage(self.id, at)?;
                let known_again = garbage.is_some_and(|garbage| garbage.keep_until > self.clock.now());
                return Ok(match (known_again, at == NodeId(mount.0)) {
                    (true, _) => MountRow::Waits,
                    (false, true) => MountRow::Absent,
                    (false, false) => MountRow::Buried,
                });
            };
            at = place.parent;
        }
        Ok(if at == NodeId::ROOT { MountRow::Hangs } else { MountRow::Waits })
    }

    /// The row of a mountpoint that a path ends at.
    pub async fn mount_node(&self, at: &At) -> Result<Option<Node>> {
        match self.walk_fresh(at).await? {
            Walk::Mount { node, inner, .. } if inner.is_root() => Ok(Some(node)),
            Walk::Mount { .. } | Walk::Found { .. } | Walk::Missing { .. } | Walk::Load(_) | Walk::Unplaced(_) => Ok(None),
        }
    }
}
