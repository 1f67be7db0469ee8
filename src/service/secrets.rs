//! Passwords of remotes at rest: encrypted with a key that lies in the data folder, readable by the server alone.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};

use crate::domain::{MountId, Secret, ShareId};
use crate::service::random;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Why a secret cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be made or read.
    #[error("the key file cannot be used")]
    File(#[from] std::io::Error),
    /// The key file has the wrong length, or the machine has no randomness.
    #[error("the key is not usable")]
    Key,
    /// The text was written with another key, or for another row, or is damaged.
    #[error("the stored password cannot be decrypted with the key of this data folder")]
    Damaged,
}

/// What a secret is known by where it must not be stored, and where looking it up must not tell how much of it was right (attack F5): SHA-256.
pub(super) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// What a sealed text belongs to: it is bound to it, so that rows cannot be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealedIn {
    /// The password of a mount.
    Mount(MountId),
    /// The secret of a share that another server offered.
    Offer(ShareId),
    /// The secret in what another server is still to be told, by its number.
    Outbox(u64),
    /// What a token says that was given out for a share.
    Token(ShareId),
    /// The secret of a share that another server made because a user of ours asked for it.
    Asked(ShareId),
}

impl SealedIn {
    /// What the text is bound to. Mounts came first and have their number alone; no other is as short.
    fn aad(self) -> Aad<Vec<u8>> {
        let (kind, number): (&[u8], u64) = match self {
            SealedIn::Mount(MountId(number)) => (b"", number),
            SealedIn::Offer(ShareId(number)) => (b"offer", number),
            SealedIn::Outbox(number) => (b"outbox", number),
            SealedIn::Token(ShareId(number)) => (b"token", number),
            SealedIn::Asked(ShareId(number)) => (b"asked", number),
        };
        Aad::from([kind, &number.to_be_bytes()].concat())
    }
}

/// Encrypts and decrypts with the key of one data folder.
#[derive(Debug)]
pub(super) struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// Reads the key, or makes it where there is none.
    pub(super) fn open(file: &Path) -> Result<Vault, Error> {
        let mut bytes = [0; KEY_BYTES];
        match std::fs::File::open(file) {
            Ok(mut file) => file.read_exact(&mut bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bytes = random::<KEY_BYTES>().map_err(|_error| Error::Key)?;
                let mut created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
                created.write_all(&bytes)?;
                created.sync_all()?;
                // The name must survive a power cut before anything is encrypted with the key.
                if let Some(folder) = file.parent() {
                    std::fs::File::open(folder)?.sync_all()?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_error| Error::Key)?;
        Ok(Vault { key: LessSafeKey::new(key) })
    }

    /// Nonce and ciphertext of a secret; nothing for no secret.
    pub(super) fn seal(&self, place: SealedIn, secret: &Secret) -> Result<Vec<u8>, Error> {
        if secret.is_empty() {
            return Ok(Vec::new());
        }
        let nonce = random::<NONCE_BYTES>().map_err(|_error| Error::Key)?;
        let mut text = secret.expose().as_bytes().to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place.aad(), &mut text).map_err(|_error| Error::Key)?;
        Ok([&nonce[..], &text].concat())
    }

    /// The secret that [`Vault::seal`] took.
    pub(super) fn open_sealed(&self, place: SealedIn, sealed: &[u8]) -> Result<Secret, Error> {
        if sealed.is_empty() {
            return Ok(Secret::default());
        }
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Damaged)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, place.aad(), &mut text).map_err(|_error| Error::Damaged)?;
        String::from_utf8(plain.to_vec()).map(Secret::new).map_err(|_error| Error::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_with_its_key_and_its_row_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret.key");
        let secret = Secret::new("hunter2");
        let sealed = Vault::open(&file).unwrap().seal(SealedIn::Mount(MountId(1)), &secret).unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        let again = Vault::open(&file).unwrap();
        assert_eq!(again.open_sealed(SealedIn::Mount(MountId(1)), &sealed).unwrap(), secret);
        assert!(matches!(again.open_sealed(SealedIn::Mount(MountId(2)), &sealed), Err(Error::Damaged)));
        assert!(matches!(again.open_sealed(SealedIn::Mount(MountId(1)), sealed.get(1..).unwrap()), Err(Error::Damaged)));
        let other = Vault::open(&folder.path().join("other.key")).unwrap();
        assert!(matches!(other.open_sealed(SealedIn::Mount(MountId(1)), &sealed), Err(Error::Damaged)));
        for other in [SealedIn::Offer(ShareId(1)), SealedIn::Outbox(1), SealedIn::Token(ShareId(1)), SealedIn::Asked(ShareId(1))] {
            assert!(matches!(again.open_sealed(other, &sealed), Err(Error::Damaged)), "{other:?}");
            let theirs = again.seal(other, &secret).unwrap();
            assert_eq!(again.open_sealed(other, &theirs).unwrap(), secret);
            assert!(matches!(again.open_sealed(SealedIn::Mount(MountId(1)), &theirs), Err(Error::Damaged)), "{other:?}");
        }
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
