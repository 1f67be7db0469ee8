//! What was committed before the last stop and may not have happened on disk: it is done at a start, in the order of versions.
//!
//! A step happens only while its file is where it was. That alone does not say that the step is still to be done: after it, others may have
//! brought the file back. Done once more, it would then go over what was written there since. So a step is left alone if what lies at its
//! target came there later, and if its file was purged and the number of the inode belongs to another one by now.

use std::collections::{BTreeSet, HashMap};

use crate::content::Files;
use crate::domain::{FileStamp, Result};
use crate::space::place::sync_if_there;
use crate::space::steps::{clear_staged, do_step, rescue_restored, stored};
use crate::store::{NodeJob, Placement, Step, Store};

/// Does what is left of all placements, and drops them. Returns whether nothing of them is left in the staging folder.
pub(super) fn replay(store: &Store, files: &Files) -> Result<bool> {
    let placements = store.all_placements()?;
    let pending = Pending::of(placements.iter().map(|(_, _, placement)| placement));
    let mut folders: BTreeSet<String> = BTreeSet::new();
    let mut left = BTreeSet::new();
    for (turn, (space, version, placement)) in placements.iter().enumerate() {
        for (position, step) in placement.steps.iter().enumerate() {
            let [from, to] = step.paths();
            let (from, to) = (stored(from)?, stored(to)?);
            let is_there = files.stat(&from)?.is_some_and(|stat| step.inode().is(&stat.stamp));
            if is_there
                && !pending.is_done(files, turn, step)?
                && let Err(error) = do_step(files, step, placement.steps.get(position + 1))
            {
                tracing::error!(%error, version, "a committed change could not be made on disk; the files there win");
                rescue_restored(files, step)?;
            }
            folders.extend([from.folder(), to.folder()].map(|folder| folder.as_str().to_owned()));
        }
        if let Err(error) = clear_staged(files, &placement.steps, true) {
            tracing::error!(%error, version, "what a change left could not be put elsewhere; the next start tries it again");
            left.insert((space.0, *version));
        }
        tracing::info!(space.id = space.0, version, "a change was finished after an unclean stop");
    }
    for folder in folders {
        sync_if_there(files, &folder)?;
    }
    for (space, version, _) in placements.into_iter().filter(|(space, version, _)| !left.contains(&(space.0, *version))) {
        store.commit_nodes(NodeJob { done: vec![version], ..NodeJob::new(space, Vec::new()) })?;
    }
    Ok(left.is_empty())
}

/// All steps by the numbers of their inodes, each with the turn of its placement.
struct Pending<'placements> {
    of_inode: HashMap<u64, Vec<(usize, &'placements Step)>>,
}

impl<'placements> Pending<'placements> {
    fn of(placements: impl Iterator<Item = &'placements Placement>) -> Pending<'placements> {
        let mut of_inode: HashMap<u64, Vec<(usize, &Step)>> = HashMap::new();
        for (turn, placement) in placements.enumerate() {
            for step in &placement.steps {
                of_inode.entry(step.inode().number).or_default().push((turn, step));
            }
        }
        Pending { of_inode }
    }

    /// The steps from a turn on that bring an inode somewhere.
    fn steps_since(&self, turn: usize, number: u64) -> impl Iterator<Item = &(usize, &'placements Step)> {
        self.of_inode.get(&number).into_iter().flatten().filter(move |(other, _)| *other >= turn)
    }

    /// Whether a step was done before the stop, although its inode is where it was before.
    fn is_done(&self, files: &Files, turn: usize, step: &Step) -> std::io::Result<bool> {
        let [_, to] = step.paths();
        let to = stored(to)?;
        if to.is_purged() {
            // A number is free for another file only once the first one is gone.
            return Ok(self.steps_since(turn + 1, step.inode().number).next().is_some());
        }
        let Some(there) = files.stat(&to)? else { return Ok(false) };
        Ok(self.came_later(turn, step, &there.stamp))
    }

    /// Whether what lies at the target of a step came there after it.
    fn came_later(&self, turn: usize, step: &Step, there: &FileStamp) -> bool {
        let carried = || self.steps_since(turn, there.inode).filter(|(_, other)| other.inode().is(there));
        // What the same change takes away was there before it.
        if carried().any(|(other, _)| *other == turn) {
            return false;
        }
        let [_, to] = step.paths();
        carried().any(|(_, other)| match step {
            // It would be lost, and is needed later.
            Step::Move { .. } => true,
            Step::Swap { .. } => other.paths().last() == Some(&to),
        })
    }
}
