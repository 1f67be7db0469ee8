//! The redo log in front of sled: what a batch writes is on disk here before it is answered, one write and one fdatasync, and sled gets it
//! without a flush of its own. sled's flush wakes eight threads and syncs twice; it is left to the checkpoints, which come when the log is full
//! and at a clean stop.
//!
//! Records lie one behind the other from the beginning of the file. Each carries the generation of its checkpoint, which sled knows too, so that
//! what an older generation left behind it is never taken for its own. To replay is to write the same final values again, in the same order:
//! it does no harm where sled already has them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::store::keys::Tree;
use crate::store::overlay::Writes;
use crate::store::{Error, Result};

/// A full log is this long; one batch alone may be longer.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;
/// The file grows by so much, filled with zeros: fdatasync then has no new length or block to write beside the record.
const GROWTH_BYTES: usize = 1 << 20;
/// Generation, length and check sum.
const HEAD_BYTES: usize = 16;
/// In the place of a value's length: the key is removed.
const REMOVED: u32 = u32::MAX;

/// The open log of the committer.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    generation: u64,
    /// Where the next record goes.
    end: u64,
    /// How far the file is filled.
    length: u64,
    /// Records survive a power cut.
    sync: bool,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the log for a new generation. What it holds must have been replayed and checkpointed.
    pub(super) fn open(path: &Path, generation: u64, sync: bool) -> Result<Journal> {
        // Rows hold hashes of passwords: for the owner's eyes alone.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Journal { file, generation, end: 0, length, sync, buffer: Vec::new() })
    }

    /// Makes a batch durable; false if there is no room, and nothing was written.
    pub(super) fn append(&mut self, writes: &Writes) -> Result<bool> {
        self.buffer.clear();
        encode(self.generation, writes, &mut self.buffer)?;
        let end = self.end.saturating_add(self.buffer.len() as u64);
        if end > JOURNAL_BYTES_MAX && self.end > 0 {
            return Ok(false);
        }
        if end > self.length {
            self.grow(end)?;
        }
        self.file.write_all_at(&self.buffer, self.end)?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.end = end;
        Ok(true)
    }

    /// Begins again, after a checkpoint of that generation.
    pub(super) fn restart(&mut self, generation: u64) -> Result<()> {
        self.generation = generation;
        self.end = 0;
        if self.length > JOURNAL_BYTES_MAX {
            self.file.set_len(JOURNAL_BYTES_MAX)?;
            self.length = JOURNAL_BYTES_MAX;
        }
        Ok(())
    }

    /// Bytes of this generation.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    fn grow(&mut self, end: u64) -> Result<()> {
        let zeros = vec![0; GROWTH_BYTES];
        while self.length < end {
            self.file.write_all_at(&zeros, self.length)?;
            self.length += zeros.len() as u64;
        }
        if self.sync {
            self.file.sync_all()?;
        }
        Ok(())
    }
}

/// A generation that no log ever had.
pub(super) fn new_generation() -> Result<u64> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_be_bytes(random))
}

/// Gives the batches of a generation to `apply`, in their order, up to the first that is not whole. Returns how many.
pub(super) fn replay(path: &Path, generation: u64, mut apply: impl FnMut(&Writes) -> Result<()>) -> Result<usize> {
    let log = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        read => read?,
    };
    let mut rest = log.as_slice();
    let mut count = 0;
    while let Some((payload, behind)) = record(generation, rest) {
        let writes = decode(payload).ok_or_else(|| Error::Corrupt("a record of the journal makes no sense".to_owned()))?;
        apply(&writes)?;
        rest = behind;
        count += 1;
    }
    Ok(count)
}

fn encode(generation: u64, writes: &Writes, buffer: &mut Vec<u8>) -> Result<()> {
    let number = |length: usize| u32::try_from(length).map_err(|_error| std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    buffer.extend([0; HEAD_BYTES]);
    for ((tree, key), value) in writes {
        buffer.push(*tree as u8);
        buffer.extend(number(key.len())?.to_be_bytes());
        buffer.extend(value.as_ref().map_or(Ok(REMOVED), |value| number(value.len()))?.to_be_bytes());
        buffer.extend(key);
        buffer.extend(value.iter().flatten());
    }
    let length = number(buffer.len() - HEAD_BYTES)?.to_be_bytes();
    let generation = generation.to_be_bytes();
    let sum = check_sum(&generation, &length, buffer.get(HEAD_BYTES..).unwrap_or_default());
    let head = generation.into_iter().chain(length).chain(sum);
    buffer.iter_mut().zip(head).for_each(|(byte, head)| *byte = head);
    Ok(())
}

/// The payload of a whole record at the beginning of `log`, and what follows it.
fn record(generation: u64, log: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = log.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, behind) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let whole = *head == generation.to_be_bytes() && *sum == check_sum(head, length, payload);
    whole.then_some((payload, behind))
}

fn check_sum(generation: &[u8; 8], length: &[u8; 4], payload: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    for part in [generation.as_slice(), length, payload] {
        sum.update(part);
    }
    sum.finalize().to_be_bytes()
}

fn decode(mut payload: &[u8]) -> Option<Writes> {
    let mut writes = Writes::new();
    while let Some((tree, rest)) = payload.split_first() {
        let (key_length, rest) = rest.split_first_chunk::<4>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*key_length)).ok()?)?;
        let (value, rest) = match u32::from_be_bytes(*value_length) {
            REMOVED => (None, rest),
            length => rest.split_at_checked(usize::try_from(length).ok()?).map(|(value, rest)| (Some(value.to_vec()), rest))?,
        };
        writes.insert((Tree::numbered(*tree)?, key.to_vec()), value);
        payload = rest;
    }
    Some(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u8) -> Writes {
        let put = ((Tree::Nodes, vec![number]), Some(vec![number; 300]));
        let empty = ((Tree::Records, Vec::new()), Some(Vec::new()));
        Writes::from([put, empty, ((Tree::Placements, vec![9]), None)])
    }

    fn replayed(path: &Path, generation: u64) -> Vec<Writes> {
        let mut found = Vec::new();
        let count = replay(path, generation, |writes| {
            found.push(writes.clone());
            Ok(())
        });
        assert_eq!(count.unwrap(), found.len());
        found
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert_eq!(replayed(&path, 1), [] as [Writes; 0]);
        let mut journal = Journal::open(&path, 1, true).unwrap();
        for number in 0..3 {
            assert!(journal.append(&batch(number)).unwrap());
        }
        assert_eq!(replayed(&path, 1), [batch(0), batch(1), batch(2)]);
        assert_eq!(replayed(&path, 2), [] as [Writes; 0], "another generation");
    }

    #[test]
    fn records_of_an_older_generation_are_not_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, 1, false).unwrap();
        for number in 0..5 {
            assert!(journal.append(&batch(number)).unwrap());
        }
        journal.restart(2).unwrap();
        assert!(journal.append(&batch(7)).unwrap());
        assert_eq!(replayed(&path, 2), [batch(7)], "old records of the same length follow it");
        assert_eq!(replayed(&path, 1), [] as [Writes; 0]);
    }

    #[test]
    fn a_record_that_is_not_whole_ends_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, 1, false).unwrap();
        let mut ends = Vec::new();
        for number in 0..3 {
            assert!(journal.append(&batch(number)).unwrap());
            ends.push(usize::try_from(journal.end).unwrap());
        }
        let whole = std::fs::read(&path).unwrap();
        for at in [ends[1] + 3, ends[1] + HEAD_BYTES + 5, ends[2] - 1] {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(replayed(&path, 1), [batch(0), batch(1)]);
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(replayed(&path, 1), [batch(0), batch(1)]);
        }
    }

    #[test]
    fn a_full_log_takes_no_more_until_it_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("journal"), 1, false).unwrap();
        let large = |bytes| Writes::from([((Tree::Nodes, Vec::new()), Some(vec![1; bytes]))]);
        assert!(journal.append(&large(7 << 20)).unwrap());
        assert!(!journal.append(&large(2 << 20)).unwrap());
        journal.restart(2).unwrap();
        assert!(journal.append(&large(9 << 20)).unwrap(), "larger than the log, but all of it");
        assert!(!journal.append(&large(1)).unwrap());
        journal.restart(3).unwrap();
        assert!(journal.append(&large(2 << 20)).unwrap());
        assert_eq!(journal.length, JOURNAL_BYTES_MAX);
        assert_eq!(std::fs::metadata(folder.path().join("journal")).unwrap().len(), JOURNAL_BYTES_MAX);
    }
}
