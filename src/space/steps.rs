//! The steps of one change on disk, and what becomes of bytes that a failed step leaves behind.
//!
//! Invariant: whatever fails, no bytes are lost that were anybody's content: they lie under their old name, under their new one, or in
//! `.causeway/removed`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use crate::content::{DiskPath, Files};
use crate::store::Step;

/// Does the steps of a change. One that fails does not keep the others from being done, but an exchange whose second half fails is undone: its
/// writer is told that nothing was written.
pub(super) fn perform(files: &Files, steps: &[Step]) -> io::Result<()> {
    let mut outcome = Ok(());
    let mut swapped = None;
    for (position, step) in steps.iter().enumerate() {
        if let Err(error) = do_step(files, step, steps.get(position + 1)) {
            // Others took away what was to be kept, before the exchange; or it is kept already, where nothing can be exchanged.
            if error.kind() == ErrorKind::NotFound && swapped.is_some() && is_gone(files, step)? {
                continue;
            }
            if let Some(swap) = swapped {
                undo(files, swap, step);
            }
            outcome = outcome.and(Err(error));
            if matches!(step, Step::Swap { .. }) {
                return outcome;
            }
        }
        swapped = Some(step).filter(|step| matches!(step, Step::Swap { .. }));
    }
    outcome
}

/// Does one step. What follows an exchange takes away what was exchanged.
pub(super) fn do_step(files: &Files, step: &Step, next: Option<&Step>) -> io::Result<()> {
    let [from, to] = step.paths();
    let (from, to) = (stored(from)?, stored(to)?);
    match step {
        Step::Move { .. } => rename_kept(files, &from, &to),
        Step::Swap { .. } => match files.exchange(&from, &to) {
            Err(error) if error.kind() == ErrorKind::Unsupported => swap_by_renames(files, [&from, &to], next),
            done => done,
        },
    }
}

/// Where the file system cannot exchange: what stands at the target goes to where it is kept, before the other comes. Stopped in between, a
/// start goes on from there.
pub(super) fn swap_by_renames(files: &Files, [from, to]: [&DiskPath; 2], next: Option<&Step>) -> io::Result<()> {
    let kept = match next.map(Step::paths) {
        Some([away, kept]) if away == from.as_str() => stored(kept)?,
        Some(_) | None => return Err(ErrorKind::Unsupported.into()),
    };
    if !is_there(files, to)? {
        return files.rename(from, to);
    }
    rename_kept(files, to, &kept)?;
    files.rename(from, to).inspect_err(|_error| {
        if let Err(error) = files.rename(&kept, to) {
            tracing::error!(%error, kept = %files.absolute(&kept).display(), "a file could not be brought back to its name");
        }
    })
}

/// Renames, and makes the folder of what is kept again if somebody removed it.
fn rename_kept(files: &Files, from: &DiskPath, to: &DiskPath) -> io::Result<()> {
    match files.rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound && to.is_in_kept_folder() && !is_there(files, &to.folder())? => {
            let folder = to.folder();
            for folder in [folder.folder(), folder] {
                files.make_folder(&folder)?;
                files.sync_folder(&folder.folder())?;
            }
            files.rename(from, to)
        }
        done => done,
    }
}

fn undo(files: &Files, swap: &Step, failed: &Step) {
    let [from, to] = swap.paths();
    let undone = stored(from).and_then(|from| {
        let to = stored(to)?;
        // Without the two halves there is nothing to go back to.
        if is_at(files, swap, &to)? && is_at(files, failed, &from)? { files.exchange(&from, &to) } else { Ok(()) }
    });
    if let Err(error) = undone {
        tracing::error!(%error, "an exchange could not be undone");
    }
}

/// After a failed change or a start: of what its steps left in the staging folder, the new content is removed if nobody was promised it, and
/// everything else is put where an administrator finds it.
///
/// # Errors
/// Something could not be put there: the staging folder must not be emptied.
pub(super) fn clear_staged(files: &Files, steps: &[Step], promised: bool) -> io::Result<()> {
    let mut staged: BTreeMap<&str, &Step> = BTreeMap::new();
    for step in steps {
        let [from, _] = step.paths();
        // The first step from there is that of the new content.
        staged.entry(from).or_insert(step);
    }
    for (path, step) in staged {
        let path = stored(path)?;
        let Some(stat) = path.is_staged().then(|| files.stat(&path)).transpose()?.flatten() else { continue };
        if !promised && step.inode().is(&stat.stamp) {
            files.remove(&path)?;
            continue;
        }
        rescue(files, &path, step)?;
    }
    Ok(())
}

/// Puts what a step could not bring to its place where an administrator finds it.
fn rescue(files: &Files, path: &DiskPath, step: &Step) -> io::Result<()> {
    let rescued = files.removed_path(&format!("unplaced-{}", files.unique()));
    files.rename(path, &rescued)?;
    files.sync_folder(&rescued.folder())?;
    let [_, to] = step.paths();
    tracing::error!(rescued = %files.absolute(&rescued).display(), %to, "what could not be put in its place is kept here");
    Ok(())
}

/// At a start, what a failed step leaves in the trash has no row any more: its user brought it back. It is not left there for the next sweep.
pub(super) fn rescue_restored(files: &Files, step: &Step) -> io::Result<()> {
    let [from, to] = step.paths();
    let (from, to) = (stored(from)?, stored(to)?);
    if !from.is_in_kept_folder() || to.is_purged() || !is_at(files, step, &from)? {
        return Ok(());
    }
    rescue(files, &from, step)?;
    files.sync_folder(&from.folder())
}

/// Whether everything still lies, or lies again, where the steps were to take it from.
pub(super) fn is_untouched(files: &Files, steps: &[Step]) -> io::Result<bool> {
    let mut seen = Vec::new();
    for step in steps {
        let [from, _] = step.paths();
        let path = stored(from)?;
        // What is taken from a name for the second time came there by the first step; staged bytes were cleared already.
        if !seen.contains(&from) && !path.is_staged() && !is_at(files, step, &path)? {
            return Ok(false);
        }
        seen.push(from);
    }
    Ok(true)
}

fn is_at(files: &Files, step: &Step, path: &DiskPath) -> io::Result<bool> {
    Ok(files.stat(path)?.is_some_and(|stat| step.inode().is(&stat.stamp)))
}

fn is_gone(files: &Files, step: &Step) -> io::Result<bool> {
    let [from, _] = step.paths();
    Ok(!is_there(files, &stored(from)?)?)
}

pub(super) fn is_there(files: &Files, path: &DiskPath) -> io::Result<bool> {
    Ok(files.stat(path)?.is_some())
}

pub(super) fn stored(path: &str) -> io::Result<DiskPath> {
    DiskPath::stored(path).ok_or_else(|| ErrorKind::InvalidInput.into())
}
