//! Passwords: argon2id, verified once and then remembered for some minutes by a keyed hash, so that a request does not pay for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::hmac;
use tokio::sync::Semaphore;

use crate::domain::{Clock, Secret, Timestamp};
use crate::limits::{PASSWORD_BYTES_MAX, REMEMBERED_PASSWORD_SECONDS, REMEMBERED_PASSWORDS_MAX, VERIFICATIONS_WAITING_MAX};
use crate::service::random;

/// Memory of one hash, in KiB; with three passes and one lane this is one of the settings that OWASP calls equally strong for argon2id, and the
/// smallest that needs no more time than the others.
const MEMORY_KIB: u32 = 12 * 1024;
const PASSES: u32 = 3;

/// What became of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Right,
    /// The password is wrong.
    Wrong,
    /// The password is wrong, and was wrong a moment ago: a client that repeats itself, not one that guesses.
    StillWrong,
    /// Too many verifications wait already.
    Busy,
}

/// Verifies passwords, at most one per core at once.
#[derive(Debug)]
pub struct Passwords {
    clock: Clock,
    key: hmac::Key,
    verified: Mutex<HashMap<Mac, Timestamp>>,
    refused: Mutex<HashMap<Mac, Timestamp>>,
    cores: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// What unknown names are verified against, so that they take as long as known ones.
    nobody: Secret,
}

/// A keyed hash of subject, stored hash and password: a new password makes another one, so nothing must be forgotten by hand.
type Mac = [u8; 32];

impl Passwords {
    /// Verifies with the machine's cores; the key of the memory is made here and never leaves the process.
    ///
    /// # Errors
    /// Where the system has no randomness, or argon2 refuses its parameters.
    pub fn new(clock: Clock) -> Result<Passwords, Unusable> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        let nobody = hash(&Secret::new(hex(&random::<16>()?)))?;
        Ok(Passwords {
            clock,
            key,
            verified: Mutex::default(),
            refused: Mutex::default(),
            cores: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            waiting_max: VERIFICATIONS_WAITING_MAX + cores,
            nobody,
        })
    }

    /// Hashes a new password on a blocking thread.
    ///
    /// # Errors
    /// Where argon2 or the machine fails.
    pub async fn hash(&self, password: Secret) -> Result<Secret, Unusable> {
        let _permit = self.cores.acquire().await.map_err(|_closed| Unusable)?;
        tokio::task::spawn_blocking(move || hash(&password)).await.map_err(|_gone| Unusable)?
    }

    /// Whether the password was verified lately. Cheap: for callers that must not start a verification now.
    pub fn remembered(&self, subject: &str, stored: &Secret, password: &Secret) -> bool {
        self.recalls(&self.verified, &self.mac(subject, stored, password))
    }

    /// Verifies a password for an account or link; `stored` is none where there is no such account, which takes as long.
    pub async fn verify(&self, subject: &str, stored: Option<&Secret>, password: &Secret) -> Verdict {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.nobody);
        let mac = self.mac(subject, stored, password);
        if known && self.recalls(&self.verified, &mac) {
            return Verdict::Right;
        }
        if self.recalls(&self.refused, &mac) {
            return Verdict::StillWrong;
        }
        let right = match self.argon2(stored.clone(), password.clone()).await {
            Some(right) => right && known,
            None => return Verdict::Busy,
        };
        self.remember(if right { &self.verified } else { &self.refused }, mac);
        if right { Verdict::Right } else { Verdict::Wrong }
    }

    /// What a visit without a password to something unknown counts as: wrong, and still wrong when it is repeated.
    pub fn absent(&self, subject: &str) -> Verdict {
        let mac = self.mac(subject, &self.nobody, &Secret::default());
        if self.recalls(&self.refused, &mac) {
            return Verdict::StillWrong;
        }
        self.remember(&self.refused, mac);
        Verdict::Wrong
    }

    async fn argon2(&self, stored: Secret, password: Secret) -> Option<bool> {
        let _place = Place::take(&self.waiting, self.waiting_max)?;
        let permit = Arc::clone(&self.cores).acquire_owned().await.ok()?;
        let verification = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the request: a client that hangs up does not free the core.
            let _permit = permit;
            password.expose().len() <= PASSWORD_BYTES_MAX && matches(&stored, &password)
        });
        verification.await.ok()
    }

    fn mac(&self, subject: &str, stored: &Secret, password: &Secret) -> Mac {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [subject, stored.expose(), password.expose()] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    fn recalls(&self, memory: &Mutex<HashMap<Mac, Timestamp>>, mac: &Mac) -> bool {
        let until = memory.lock().unwrap_or_else(PoisonError::into_inner).get(mac).copied();
        until.is_some_and(|until| until > self.clock.now())
    }

    fn remember(&self, memory: &Mutex<HashMap<Mac, Timestamp>>, mac: Mac) {
        let now = self.clock.now();
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= REMEMBERED_PASSWORDS_MAX {
            memory.retain(|_, until| *until > now);
        }
        if memory.len() >= REMEMBERED_PASSWORDS_MAX {
            memory.clear();
        }
        memory.insert(mac, now.saturating_add(REMEMBERED_PASSWORD_SECONDS));
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Place<'a>> {
        let place = Place(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Passwords cannot be hashed on this machine.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("passwords cannot be hashed on this machine")]
pub struct Unusable;

/// Blocks that are asked of the allocator. Freed memory of up to 32 MiB teaches glibc to keep memory of that size for later; more is always given
/// back to the system. Only what the hash needs is ever touched.
const RESERVED_BLOCKS: usize = (33 << 20) / Block::SIZE;

fn argon2id(params: Params, password: &Secret, salt: &[u8]) -> Option<Output> {
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(RESERVED_BLOCKS.max(blocks));
    memory.resize(blocks, Block::new());
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut hash, &mut memory).ok()?;
    Output::new(&hash).ok()
}

fn hash(password: &Secret) -> Result<Secret, Unusable> {
    let random = random::<16>()?;
    let salt = SaltString::encode_b64(&random).map_err(|_error| Unusable)?;
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_error| Unusable)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_error| Unusable)?,
        salt: Some(salt.as_salt()),
        hash: Some(argon2id(params, password, &random).ok_or(Unusable)?),
    };
    Ok(Secret::new(hash.to_string()))
}

fn matches(stored: &Secret, password: &Secret) -> bool {
    let Ok(stored) = PasswordHash::new(stored.expose()) else { return false };
    let (Some(salt), Some(hash), Ok(params)) = (stored.salt, stored.hash, Params::try_from(&stored)) else { return false };
    let mut bytes = [0; Salt::MAX_LENGTH];
    let Ok(salt) = salt.decode_b64(&mut bytes) else { return false };
    // Outputs are compared in constant time.
    stored.algorithm == Algorithm::Argon2id.ident() && argon2id(params, password, salt) == Some(hash)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_once_and_then_remembered() {
        let clock = Clock::fixed(1000);
        let passwords = Passwords::new(clock.clone()).unwrap();
        let right = Secret::new("correct horse");
        let stored = passwords.hash(right.clone()).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=12288,t=3,p=1$"));
        assert!(!passwords.remembered("anna", &stored, &right));
        assert_eq!(passwords.verify("anna", Some(&stored), &right).await, Verdict::Right);
        assert!(passwords.remembered("anna", &stored, &right));
        assert!(!passwords.remembered("bob", &stored, &right), "another subject");
        let changed = passwords.hash(Secret::new("other")).await.unwrap();
        assert!(!passwords.remembered("anna", &changed, &right), "a new password ends the memory");
        clock.advance(REMEMBERED_PASSWORD_SECONDS);
        assert!(!passwords.remembered("anna", &stored, &right));
    }

    #[tokio::test]
    async fn wrong_passwords_and_unknown_names_look_alike() {
        let passwords = Passwords::new(Clock::fixed(1000)).unwrap();
        let stored = passwords.hash(Secret::new("right")).await.unwrap();
        for stored in [Some(&stored), None] {
            assert_eq!(passwords.verify("anna", stored, &Secret::new("wrong")).await, Verdict::Wrong);
            assert_eq!(passwords.verify("anna", stored, &Secret::new("wrong")).await, Verdict::StillWrong);
        }
    }

    #[test]
    fn hashes_are_those_of_other_programs() {
        // Made by the reference program: echo -n "password" | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32 -e
        let stored = Secret::new("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
        assert!(matches(&stored, &Secret::new("password")));
        assert!(!matches(&stored, &Secret::new("Password")));
        assert!(!matches(
            &Secret::new("$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"),
            &Secret::new("password")
        ));
        assert!(!matches(&Secret::new("no hash"), &Secret::new("password")));
    }

    #[tokio::test]
    async fn too_many_at_once_are_sent_away() {
        let passwords = Passwords::new(Clock::fixed(1000)).unwrap();
        let _held: Vec<_> = (0..passwords.waiting_max).map(|_| Place::take(&passwords.waiting, passwords.waiting_max).unwrap()).collect();
        assert_eq!(passwords.verify("anna", None, &Secret::new("x")).await, Verdict::Busy);
    }
}
