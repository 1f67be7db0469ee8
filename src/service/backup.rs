//! Backup and restore of what is not plain files: rows and keys, of a running server or of one that rests.

use std::path::{Path, PathBuf};

use super::refusal::Result;
use super::setup::{export_file, prepare_folders, state_folder, store_folder};
use super::{Refusal, Services};
use crate::store::{self, Store};

/// Name of the rows in a backup.
const ROWS: &str = "rows.jsonl";
/// Names of the keys in a backup and in the data folder: that of secrets, and those by which calls are signed, where they are.
const KEYS: [&str; 2] = [SECRET_KEY, "signing.keys"];
const SECRET_KEY: &str = "secret.key";
/// Name of the configuration in a backup and in the data folder.
const CONFIG: &str = "causeway.toml";

impl Services {
    /// Writes rows and keys into an empty or new folder that only its owner can read.
    ///
    /// # Errors
    /// Where the folder holds something already, or the disk fails.
    pub async fn backup(&self, folder: &Path) -> Result<()> {
        let (store, folder, keys) = (self.store().clone(), folder.to_owned(), keys_folder(self.data()));
        let config = self.options().config_file.clone();
        let written = tokio::task::spawn_blocking(move || write(&store, &folder, &keys, config.as_deref())).await;
        written.map_err(|gone| Refusal::failed(gone.to_string()))?
    }
}

fn keys_folder(data: &Path) -> PathBuf {
    state_folder(data).join("keys")
}

fn write(store: &Store, folder: &Path, keys: &Path, config: Option<&Path>) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error: std::io::Error| Refusal::failed(format!("cannot write to {}: {error}", folder.display()));
    if folder.exists() && std::fs::read_dir(folder).map_err(failed)?.next().is_some() {
        return Err(Refusal::refused(format!("{} is not empty; choose a new folder", folder.display())));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    store.export(&folder.join(ROWS))?;
    for name in KEYS {
        // One that cannot be looked at must not be missing in silence.
        if name == SECRET_KEY || keys.join(name).try_exists().map_err(failed)? {
            copy_private(&keys.join(name), &folder.join(name)).map_err(failed)?;
        }
    }
    config.map_or(Ok(()), |config| copy_private(config, &folder.join(CONFIG)).map_err(failed))
}

/// Copies a file so that only its owner can read the copy, at every moment.
fn copy_private(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut source = std::fs::File::open(from)?;
    let mut target = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut source, &mut target)?;
    target.sync_all()
}

/// Puts rows and keys of a backup into a data folder on which no server runs. The old rows are moved aside, not deleted. Blocks.
///
/// # Errors
/// Where a server runs, or the backup is from a newer version, incomplete or unreadable: then the data folder is as it was.
pub fn restore(data: &Path, folder: &Path, options: &store::Options) -> Result<PathBuf> {
    let rows = folder.join(ROWS);
    if !rows.is_file() {
        return Err(Refusal::not_found(format!("{} holds no backup ({ROWS} is missing)", folder.display())));
    }
    let failed = |error: std::io::Error| Refusal::failed(format!("cannot restore into {}: {error}", data.display()));
    // As the server makes them: nobody else may read the rows.
    prepare_folders(data).map_err(|error| Refusal::failed(format!("cannot restore into {}: {error}", data.display())))?;
    // Opening takes the lock, so that no server runs on these rows; a store that cannot be read may be replaced.
    match Store::open(&store_folder(data), options.clone()) {
        Ok(store) => store.close(),
        Err(store::Error::InUse) => return Err(Refusal::refused("a server is using the data folder; stop it first")),
        Err(store::Error::Newer(_) | store::Error::Corrupt(_) | store::Error::Conflict | store::Error::Closed | store::Error::Io(_)) => {}
    }
    // Read in beside the old rows first: a backup that cannot be read changes nothing.
    let fresh = state_folder(data).join("store.restoring");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(failed)?;
    }
    Store::import(&fresh, &rows, options)?;
    let aside = free_name(data, options.clock.now());
    std::fs::rename(store_folder(data), &aside).map_err(failed)?;
    std::fs::rename(&fresh, store_folder(data)).map_err(failed)?;
    for name in KEYS {
        restore_key(&keys_folder(data), &folder.join(name), &aside.join(name)).map_err(failed)?;
    }
    let (config, backed_up) = (state_folder(data).join(CONFIG), folder.join(CONFIG));
    // A configuration that is there already was made for this machine.
    if backed_up.is_file() && !config.exists() {
        copy_private(&backed_up, &config).map_err(failed)?;
    }
    // An export of the rows that were replaced must not come back after a fault.
    if let Err(error) = std::fs::remove_file(export_file(data))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    Ok(aside)
}

/// Puts a key of a backup, if that has one, in the place of the one that there is. At no moment is there none: a start would make another one.
fn restore_key(keys: &Path, backed_up: &Path, aside: &Path) -> std::io::Result<()> {
    let name = backed_up.file_name().unwrap_or_default();
    if !backed_up.try_exists()? {
        return Ok(());
    }
    std::fs::create_dir_all(keys)?;
    let (key, fresh) = (keys.join(name), keys.join(name).with_extension("restoring"));
    if key.try_exists()? {
        copy_private(&key, aside)?;
    }
    // Of a restore that was cut off.
    if fresh.try_exists()? {
        std::fs::remove_file(&fresh)?;
    }
    copy_private(backed_up, &fresh)?;
    std::fs::rename(&fresh, &key)?;
    std::fs::File::open(keys)?.sync_all()
}

fn free_name(data: &Path, now: i64) -> PathBuf {
    let name = |count: u32| state_folder(data).join(format!("store.before-restore-{now}-{count}"));
    (0..1000).map(name).find(|file| !file.exists()).unwrap_or_else(|| name(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_its_place_until_another_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let [keys, backup, aside] = ["keys", "backup", "aside"].map(|name| folder.path().join(name));
        for folder in [&keys, &backup, &aside] {
            std::fs::create_dir(folder).unwrap();
        }
        let (key, backed_up, replaced) = (keys.join("signing.keys"), backup.join("signing.keys"), aside.join("signing.keys"));
        // A backup without it changes nothing.
        std::fs::write(&key, "old").unwrap();
        restore_key(&keys, &backed_up, &replaced).unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), b"old");
        // Where it cannot be put aside, it stays where it is.
        std::fs::write(&backed_up, "new").unwrap();
        restore_key(&keys, &backed_up, &folder.path().join("missing/signing.keys")).unwrap_err();
        assert_eq!(std::fs::read(&key).unwrap(), b"old");
        // What a restore left that was cut off is in nobody's way.
        std::fs::write(keys.join("signing.restoring"), "ne").unwrap();
        restore_key(&keys, &backed_up, &replaced).unwrap();
        assert_eq!((std::fs::read(&key).unwrap(), std::fs::read(&replaced).unwrap()), (b"new".to_vec(), b"old".to_vec()));
        assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 1);
    }
}
