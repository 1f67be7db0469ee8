//! MOVE within a space: one row, whatever it holds.

use crate::domain::{At, Error, Expect, FileStamp, Inode, Kind, Result, Write, Written};
use crate::space::keep::Replaced;
use crate::space::lookup::Resolved;
use crate::space::place::apart;
use crate::space::put::{Target, expect};
use crate::space::{Space, place, source_missing};
use crate::store::{Change, Step};

impl Space {
    /// Moves a file, collection or mountpoint; id and modification time stay. What stands at the target is replaced at once (RFC 4918 9.9.3).
    pub async fn rename(&self, from: &At, to: &At, source: Write, target: Write) -> Result<Written> {
        loop {
            let exclusive = match (self.resolve(from).await?, self.resolve(to).await?) {
                (Resolved::Missing { .. }, _) => return Err(Error::NotFound),
                (Resolved::Node(node), _) | (_, Resolved::Node(node)) if node.is_collection() => true,
                (Resolved::Node(_) | Resolved::Mount { .. }, _) => false,
            };
            let held = self.hold_two(from, to, exclusive).await?;
            let (from, to, source, target) = (from.clone(), to.clone(), source.clone(), target.clone());
            let moved = self.blocking(move |space| {
                let moved = space.rename_now(&from, &to, [&source, &target], exclusive);
                drop(held);
                moved
            });
            if let Some(written) = moved.await? {
                return Ok(written);
            }
        }
    }

    fn rename_now(&self, from: &At, to: &At, writes: [&Write; 2], exclusive: bool) -> Result<Option<Written>> {
        let [source_write, target_write] = writes;
        let source = self.target(from).map_err(source_missing)?;
        let row = source.row.clone().ok_or(Error::NotFound)?;
        let target = self.target(to)?;
        let involves_collection = row.is_collection() || target.row.as_ref().is_some_and(|row| row.is_collection());
        if involves_collection && !exclusive {
            return Ok(None);
        }
        apart(&source.path, &target.path)?;
        expect(&source_write.expect, Some(&row))?;
        self.check_locks(&source, &source_write.tokens)?;
        self.check_parent(&source, &source_write.tokens)?;
        self.check_below(row.id, &source_write.tokens)?;
        self.check_replaced(&target, target_write)?;
        let mut changes = self.locks_gone(row.id)?;
        if let Some(old) = &target.row {
            changes.extend(self.locks_handed_over(old.id, row.id)?);
        }
        let replaced = self.replaced(&target, (row.id, row.kind))?;
        let from = self.disk(&source.path).as_str().to_owned();
        let steps = self.steps_of_move(from, &target, (row.kind, row.stamp.file()), replaced.as_ref());
        changes.extend(replaced.map(|replaced| replaced.changes).unwrap_or_default());
        changes.push(Change::Move { from: source.place.clone(), to: target.place.clone() });
        // The rename changes the change time: unknown until then.
        changes.push(Change::Stamp { place: target.place.clone(), stamp: FileStamp { ctime_ns: 0, ..row.stamp } });
        let moved = if steps.is_empty() { Vec::new() } else { vec![(target.place.clone(), target.path.clone())] };
        let committed = self.carry_out(place::Write {
            checks: vec![source.check(), target.check()],
            changes,
            steps,
            staged: Vec::new(),
            folders: vec![(source.place.parent, source.folder.clone()), (target.place.parent, target.folder.clone())],
            moved,
        })?;
        if target.row.is_some() {
            self.settler.purge();
        }
        let node = committed.nodes.into_iter().next().ok_or_else(|| Error::Internal("a row was not committed".to_owned()))?;
        Ok(Some(Written { created: target.row.is_none(), node }))
    }

    /// Locks and conditions of a target that will be replaced with all that is in it.
    pub(super) fn check_replaced(&self, target: &Target, write: &Write) -> Result<()> {
        self.check_locks(target, &write.tokens)?;
        let Some(row) = &target.row else {
            self.check_parent(target, &write.tokens)?;
            return expect(&write.expect, None);
        };
        if write.expect == Expect::Absent {
            return Err(Error::PreconditionFailed);
        }
        expect(&write.expect, Some(row))?;
        self.check_below(row.id, &write.tokens)?;
        if !self.mounts_in(row).is_empty() {
            return Err(Error::Forbidden("a mount is in the way; remove it first"));
        }
        Ok(())
    }

    /// The steps that bring a node of some kind and inode from a path on disk to a target.
    pub(super) fn steps_of_move(
        &self,
        from: String,
        target: &Target,
        (kind, inode): (Kind, Inode),
        replaced: Option<&Replaced>,
    ) -> Vec<Step> {
        let to = self.disk(&target.path).as_str().to_owned();
        let away = |from: String, old: &Replaced| Step::Move { from, to: old.to.as_str().to_owned(), inode: old.inode };
        match (kind, replaced) {
            (Kind::Mount, None) => Vec::new(),
            (Kind::Mount, Some(old)) => vec![away(to, old)],
            (Kind::File | Kind::Collection, Some(old)) if !old.overwritten => {
                // Exchanged first, so that no moment lacks a target.
                vec![Step::Swap { from: from.clone(), to, inode }, away(from, old)]
            }
            (Kind::File | Kind::Collection, None | Some(_)) => vec![Step::Move { from, to, inode }],
        }
    }
}
