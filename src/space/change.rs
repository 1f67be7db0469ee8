//! MKCOL and DELETE.

use crate::domain::{At, Error, Kind, MountId, Node, Result, Write, Written};
use crate::space::lookup::Resolved;
use crate::space::{Space, mount_of, place, source_missing};
use crate::store::{Change, Step};

/// Where a deleted node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Trash,
    Gone,
}

impl Space {
    /// Makes a collection.
    pub async fn mkcol(&self, at: &At, write: Write) -> Result<Written> {
        if at.path.is_root() {
            return Err(Error::Exists);
        }
        let held = self.hold(at, false).await?;
        let at = at.clone();
        self.blocking(move |space| {
            let made = space.mkcol_now(&at, &write);
            drop(held);
            made
        })
        .await
    }

    fn mkcol_now(&self, at: &At, write: &Write) -> Result<Written> {
        let target = self.target(at)?;
        if target.row.is_some() {
            return Err(Error::Exists);
        }
        self.check_write(&target, write)?;
        let (staged, stat) = self.files.stage_folder()?;
        let node = self.new_node(Kind::Collection, 0, stat.stamp)?;
        let node = self.place_staged(&target, staged, stat, vec![Change::Put { place: target.place.clone(), node }])?;
        Ok(Written { created: true, node })
    }

    /// Moves a file or a collection with all that is in it to the trash, or deletes it where the trash does not take it. Mounts that are
    /// detached for good are returned.
    pub async fn delete(&self, at: &At, write: Write) -> Result<Vec<MountId>> {
        self.delete_to(at, write, Fate::Trash).await
    }

    /// [`Space::delete`] for good: for what was never whole, and is nothing that a user would look for.
    pub async fn erase(&self, at: &At, write: Write) -> Result<Vec<MountId>> {
        self.delete_to(at, write, Fate::Gone).await
    }

    async fn delete_to(&self, at: &At, write: Write, fate: Fate) -> Result<Vec<MountId>> {
        loop {
            let exclusive = match self.resolve(at).await? {
                Resolved::Node(node) => node.is_collection(),
                Resolved::Mount { inner, .. } if inner.is_root() => false,
                Resolved::Mount { .. } => return Err(Error::Unsupported("a mount is asked where it is, not in its home")),
                Resolved::Missing { .. } => return Err(Error::NotFound),
            };
            let held = self.hold(at, exclusive).await.map_err(source_missing)?;
            let (at, write) = (at.clone(), write.clone());
            let deleted = self.blocking(move |space| {
                let deleted = space.delete_now(&at, &write, exclusive, fate);
                drop(held);
                deleted
            });
            if let Some(mounts) = deleted.await? {
                return Ok(mounts);
            }
        }
    }

    /// None if a collection stands there now and `structure` is only shared.
    fn delete_now(&self, at: &At, write: &Write, exclusive: bool, fate: Fate) -> Result<Option<Vec<MountId>>> {
        let target = self.target(at)?;
        let row = target.row.as_ref().ok_or(Error::NotFound)?;
        if row.is_collection() && !exclusive {
            return Ok(None);
        }
        self.check_write(&target, write)?;
        self.check_parent(&target, &write.tokens)?;
        self.check_below(row.id, &write.tokens)?;
        let mut changes = self.locks_gone(row.id)?;
        let remove = Change::Remove { place: target.place.clone(), keep_until: 0 };
        let discarded = match fate {
            Fate::Trash => self.discard(&target)?,
            Fate::Gone => None,
        };
        let (change, to, mounts) = match discarded {
            // Mounts that hang there stay with it, and are mounted again when it comes back.
            Some((change, to)) => (change, to, Vec::new()),
            None => (remove, self.files.purge_path(), self.mounts_in(row)),
        };
        changes.push(change);
        let mut steps = Vec::new();
        if row.kind != Kind::Mount {
            let from = self.disk(&target.path).as_str().to_owned();
            steps.push(Step::Move { from, to: to.as_str().to_owned(), inode: row.stamp.file() });
        }
        self.carry_out(place::Write {
            checks: vec![target.check()],
            changes,
            steps,
            folders: vec![(target.place.parent, target.folder.clone())],
            ..place::Write::default()
        })?;
        self.settler.purge();
        Ok(Some(mounts))
    }

    /// Mounts at or below a node.
    pub(super) fn mounts_in(&self, node: &Node) -> Vec<MountId> {
        match node.kind {
            Kind::Mount => vec![mount_of(node)],
            Kind::File => Vec::new(),
            Kind::Collection => {
                let all = self.mountpoints();
                all.iter().filter(|mountpoint| mountpoint.ancestors.contains(&node.id)).map(|mountpoint| mountpoint.mount).collect()
            }
        }
    }
}
