//! Reading folders.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{Dir, OFlags};

use crate::content::{DiskPath, Entry, Files, Stat, absent, name_of, stat_at};
use crate::domain::Name;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Plain files and folders.
    pub entries: BTreeMap<Name, Stat>,
    /// What is not shown: links, devices, names that are not UTF-8.
    pub skipped: Vec<String>,
}

impl Files {
    /// Reads a folder with the state of each entry; none if there is no folder. An entry that cannot be looked at is a fault of the whole:
    /// it must not look like absence.
    pub fn list(&self, path: &DiskPath) -> io::Result<Option<Listing>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(folder) = absent(self.open_at(path.as_str(), flags))? else {
            return Ok(None);
        };
        let mut listing = Listing::default();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let Some(name) = name_of(bytes) else {
                listing.skipped.push(String::from_utf8_lossy(bytes).into_owned());
                continue;
            };
            match stat_at(&folder, name.as_str())? {
                Some(stat) if stat.entry != Entry::Other => drop(listing.entries.insert(name, stat)),
                Some(_) => listing.skipped.push(name.into()),
                // Gone since: nothing to show.
                None => {}
            }
        }
        Ok(Some(listing))
    }
}
