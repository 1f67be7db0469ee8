//! Signatures that were taken, until they are too old: none is taken twice (attack F14). In memory: after a start a signature of the last five
//! minutes could be sent again, and what these calls do is the same done twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Unproven;
use crate::domain::Timestamp;
use crate::limits::{SIGNATURES_SEEN_HOST_MAX, SIGNATURES_SEEN_MAX};
use crate::service::Refusal;

/// By server, and by SHA-256 of the signature: until when it is remembered.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hosts: Mutex<HashMap<String, HashMap<[u8; 32], Timestamp>>>,
}

impl Seen {
    /// Remembers a signature, if it is the first time.
    ///
    /// # Errors
    /// [`Unproven::Replayed`]; [`Unproven::Failed`] where too many are remembered.
    pub(super) fn first(&self, host: &str, signature: &[u8], until: Timestamp, now: Timestamp) -> Result<(), Unproven> {
        let digest: [u8; 32] = Sha256::digest(signature).into();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.get(host);
        if known.is_some_and(|known| known.contains_key(&digest)) {
            return Err(Unproven::Replayed);
        }
        let full = |hosts: &HashMap<String, HashMap<[u8; 32], Timestamp>>| {
            let of_host = hosts.get(host).map_or(0, HashMap::len);
            of_host >= SIGNATURES_SEEN_HOST_MAX || hosts.values().map(HashMap::len).sum::<usize>() >= SIGNATURES_SEEN_MAX
        };
        if full(&hosts) {
            hosts.values_mut().for_each(|known| known.retain(|_, until| *until >= now));
            hosts.retain(|_, known| !known.is_empty());
        }
        if full(&hosts) {
            return Err(Unproven::Failed(Refusal::failed("too many signed calls came in the last minutes")));
        }
        hosts.entry(host.to_owned()).or_default().insert(digest, until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_a_signature_is_taken_once_and_memory_is_bounded() {
        let seen = Seen::default();
        assert!(seen.first("a", b"x", 300, 0).is_ok());
        assert!(matches!(seen.first("a", b"x", 300, 10), Err(Unproven::Replayed)));
        assert!(seen.first("b", b"x", 300, 0).is_ok(), "another server's");
        for number in 1..SIGNATURES_SEEN_HOST_MAX {
            assert!(seen.first("a", &number.to_be_bytes(), 300, 0).is_ok());
        }
        assert!(matches!(seen.first("a", b"one more", 300, 300), Err(Unproven::Failed(_))));
        assert!(seen.first("b", b"one more", 300, 300).is_ok(), "one server keeps no other out");
        assert!(seen.first("a", b"one more", 700, 301).is_ok(), "they are forgotten when they are too old");
        assert_eq!(seen.hosts.lock().unwrap().values().map(HashMap::len).sum::<usize>(), 1);
    }
}
