//! The file of our signing keys, beside the key of secrets: made once, never changed. Other servers keep our public keys, and would refuse others.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::remote::Keys;
use crate::service::Refusal;
use crate::service::refusal::Result;

/// Reads the keys, or makes them where there are none. RSA takes a second.
pub(super) async fn open(file: PathBuf) -> Result<Keys> {
    let opened = tokio::task::spawn_blocking(move || read_or_make(&file)).await;
    opened.map_err(|gone| Refusal::failed(gone.to_string()))?
}

fn read_or_make(file: &Path) -> Result<Keys> {
    let failed = |error: &dyn std::fmt::Display| Refusal::failed(format!("the signing keys in {} cannot be used: {error}", file.display()));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = Keys::make().map_err(|error| failed(&error))?;
            write(file, &text).map_err(|error| failed(&error))?;
            tracing::info!("signing keys were made; a backup holds them");
            text
        }
        Err(error) => return Err(failed(&error)),
    };
    Keys::read(&text).map_err(|error| failed(&error))
}

/// Whole or not at all: half a file would stop every later start.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    let mut created = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    created.write_all(text.as_bytes())?;
    created.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    // Durable before anybody learns the public halves.
    file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn keys_are_made_once_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signing.keys");
        let first = open(file.clone()).await.unwrap().public();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(open(file.clone()).await.unwrap().public() == first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(&file, "{}").unwrap();
        let refusal = open(file.clone()).await.unwrap_err();
        assert!(refusal.text.contains("signing.keys"), "keys that cannot be read are not replaced: {}", refusal.text);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
    }
}
