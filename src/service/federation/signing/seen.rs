//! Signatures that came, until they are too old: none is taken twice (attack F14). In memory: after a start a signature of the last five
//! minutes could be sent again, and what these calls do is the same done twice. **Invariant:** whoever fills this memory fills their own part of
//! it: servers whose keys are not kept share a small one, and lose what is in it where it is full.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::Unproven;
use crate::domain::Timestamp;
use crate::limits::{SIGNATURES_SEEN_HOST_MAX, SIGNATURES_SEEN_MAX, SIGNATURES_SEEN_STRANGERS_MAX};
use crate::service::Refusal;

/// By SHA-256 of server and signature: until when it is remembered.
type Digests = HashMap<[u8; 32], Timestamp>;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Seen {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// Of servers whose keys are kept.
    known: HashMap<String, Digests>,
    /// Of all others.
    strangers: Digests,
    /// How many there are of those that are known.
    count: usize,
    /// The second in which what is too old was last let go of: to look for it takes time.
    cleaned: Option<Timestamp>,
}

/// A signature that fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came<'a> {
    /// The server that made it.
    pub(super) host: &'a str,
    /// Whether its keys are kept.
    pub(super) known: bool,
    /// What cannot be written otherwise by who does not have the key.
    pub(super) signature: &'a [u8],
    /// Until when it is remembered.
    pub(super) until: Timestamp,
}

impl Seen {
    /// Remembers a signature, if it is the first time.
    ///
    /// # Errors
    /// [`Unproven::Replayed`]; [`Unproven::Failed`] where too many of this server are remembered.
    pub(super) fn first(&self, came: Came<'_>, now: Timestamp) -> Result<(), Unproven> {
        let digest: [u8; 32] = Sha256::new_with_prefix(came.host).chain_update([0]).chain_update(came.signature).finalize().into();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let all = &mut *all;
        // Its key may have been kept since.
        if all.strangers.contains_key(&digest) || all.known.get(came.host).is_some_and(|known| known.contains_key(&digest)) {
            return Err(Unproven::Replayed);
        }
        if all.is_full(&came) && all.cleaned != Some(now) {
            all.clean(now);
        }
        if !came.known {
            if all.is_full(&came) {
                all.strangers.clear();
            }
            all.strangers.insert(digest, came.until);
            return Ok(());
        }
        if all.of(came.host) >= SIGNATURES_SEEN_HOST_MAX {
            return Err(Unproven::Failed(Refusal::failed("too many signed calls of one server came in the last minutes")));
        }
        if all.is_full(&came) {
            all.forget_fullest();
        }
        all.known.entry(came.host.to_owned()).or_default().insert(digest, came.until);
        all.count += 1;
        Ok(())
    }
}

impl All {
    fn of(&self, host: &str) -> usize {
        self.known.get(host).map_or(0, HashMap::len)
    }

    fn is_full(&self, came: &Came<'_>) -> bool {
        if came.known {
            self.of(came.host) >= SIGNATURES_SEEN_HOST_MAX || self.count >= SIGNATURES_SEEN_MAX
        } else {
            self.strangers.len() >= SIGNATURES_SEEN_STRANGERS_MAX
        }
    }

    fn clean(&mut self, now: Timestamp) {
        self.strangers.retain(|_, until| *until >= now);
        self.known.values_mut().for_each(|known| known.retain(|_, until| *until >= now));
        self.known.retain(|_, known| !known.is_empty());
        self.count = self.known.values().map(HashMap::len).sum();
        self.cleaned = Some(now);
    }

    /// Makes room at the cost of the server that took most of it: no other one is to be refused for that.
    fn forget_fullest(&mut self) {
        let fullest = self.known.iter().max_by_key(|(_, known)| known.len()).map(|(host, _)| host.clone());
        let gone = fullest.and_then(|host| self.known.remove(&host));
        self.count = self.count.saturating_sub(gone.map_or(0, |gone| gone.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came<'a>(host: &'a str, signature: &'a [u8]) -> Came<'a> {
        Came { host, known: true, signature, until: 300 }
    }

    #[test]
    fn f14_a_signature_is_taken_once_and_memory_is_bounded() {
        let seen = Seen::default();
        assert!(seen.first(came("a", b"x"), 0).is_ok());
        assert!(matches!(seen.first(came("a", b"x"), 10), Err(Unproven::Replayed)));
        assert!(seen.first(came("b", b"x"), 0).is_ok(), "another server's");
        for number in 1..SIGNATURES_SEEN_HOST_MAX {
            assert!(seen.first(came("a", &number.to_be_bytes()), 0).is_ok());
        }
        assert!(matches!(seen.first(came("a", b"one more"), 300), Err(Unproven::Failed(_))));
        assert!(seen.first(came("b", b"one more"), 300).is_ok(), "one server keeps no other out");
        assert!(seen.first(Came { until: 700, ..came("a", b"one more") }, 301).is_ok(), "they are forgotten when they are too old");
        assert_eq!(seen.all.lock().unwrap().count, 1);
    }

    #[test]
    fn f14_strangers_fill_their_own_small_part_and_keep_nobody_out() {
        let seen = Seen::default();
        fn stranger<'a>(host: &'a str, signature: &'a [u8]) -> Came<'a> {
            Came { known: false, ..came(host, signature) }
        }
        assert!(seen.first(came("true.example", b"x"), 0).is_ok());
        for number in 0..SIGNATURES_SEEN_STRANGERS_MAX * 3 {
            let host = format!("s{number}.example");
            assert!(seen.first(stranger(&host, b"s"), 0).is_ok(), "{number}");
            assert!(matches!(seen.first(stranger(&host, b"s"), 0), Err(Unproven::Replayed)));
            assert!(seen.all.lock().unwrap().strangers.len() <= SIGNATURES_SEEN_STRANGERS_MAX);
        }
        assert!(matches!(seen.first(came("true.example", b"x"), 0), Err(Unproven::Replayed)), "what is kept of others stays");
        assert!(seen.first(came("true.example", b"y"), 0).is_ok());
        // The key of one is kept after its first call.
        assert!(seen.first(stranger("new.example", b"n"), 0).is_ok());
        assert!(matches!(seen.first(came("new.example", b"n"), 0), Err(Unproven::Replayed)));
    }

    #[test]
    fn f14_where_all_is_full_the_fullest_makes_room() {
        let seen = Seen::default();
        for number in 0..SIGNATURES_SEEN_MAX {
            let host = format!("s{}", number / SIGNATURES_SEEN_HOST_MAX);
            assert!(number < 2 || seen.first(came(&host, &number.to_be_bytes()), 0).is_ok());
        }
        assert!(seen.first(came("true.example", b"x"), 0).is_ok());
        assert!(seen.first(came("true.example", b"y"), 0).is_ok());
        assert!(seen.first(came("true.example", b"z"), 0).is_ok(), "nobody else is refused");
        assert!(matches!(seen.first(came("true.example", b"x"), 0), Err(Unproven::Replayed)));
        let all = seen.all.lock().unwrap();
        assert_eq!(all.count, all.known.values().map(HashMap::len).sum::<usize>());
        assert!(all.count <= SIGNATURES_SEEN_MAX);
    }
}
