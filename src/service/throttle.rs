//! Guessing is slow: failures count against the address and against what was guessed at, on every path that takes a secret (attack F4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Clock;
use crate::limits::THROTTLE_ENTRIES_MAX;

/// Whom failures count against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// An IPv4 address, or the /64 of an IPv6 address (GHSA-2967-6mrp-gg3p).
    Address(IpAddr),
    /// An account or a link.
    Subject(String),
}

/// Failures that have not yet leaked away.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at_ms: i64,
}

/// How many failures are free, and how long one takes to be forgotten.
#[derive(Debug, Clone, Copy)]
struct Rate {
    free: f64,
    forgotten_after_ms: f64,
}

/// Twenty wrong passwords from one address, then four in a minute.
const ADDRESS: Rate = Rate { free: 20.0, forgotten_after_ms: 15_000.0 };
/// Forty wrong passwords for one account or link from anywhere, then six in a minute.
const SUBJECT: Rate = Rate { free: 40.0, forgotten_after_ms: 10_000.0 };

/// Counts failures, in bounded memory.
#[derive(Debug)]
pub struct Throttle {
    clock: Clock,
    /// What one address may do.
    address: Rate,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Throttle {
    /// Nothing counted yet.
    pub fn new(clock: Clock) -> Throttle {
        Throttle { clock, address: ADDRESS, buckets: Mutex::default() }
    }

    /// One that counts what addresses do, right or wrong: so often at once, and as often in each hour.
    pub fn hourly(clock: Clock, times: u32) -> Throttle {
        let times = f64::from(times.max(1));
        Throttle { clock, address: Rate { free: times, forgotten_after_ms: 3_600_000.0 / times }, buckets: Mutex::default() }
    }

    /// How long an address must wait before it may try again; none if it may.
    pub fn address_waits(&self, address: IpAddr) -> Option<Duration> {
        self.waits(&Key::Address(network(address)), self.address)
    }

    /// How long everybody must wait before the next guess at an account or link.
    pub fn subject_waits(&self, subject: &str) -> Option<Duration> {
        self.waits(&Key::Subject(subject.to_owned()), SUBJECT)
    }

    /// Counts a failure against both.
    pub fn failed(&self, address: IpAddr, subject: &str) {
        let now = self.clock.now_ms();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= THROTTLE_ENTRIES_MAX {
            make_room(&mut buckets, now, self.address);
        }
        for (key, rate) in [(Key::Address(network(address)), self.address), (Key::Subject(subject.to_owned()), SUBJECT)] {
            let bucket = buckets.entry(key).or_insert(Bucket { level: 0.0, at_ms: now });
            *bucket = Bucket { level: (bucket.left(now, rate) + 1.0).min(rate.free * 2.0), at_ms: now };
        }
    }

    /// Counts a failure against an account or link alone, where nobody's address is known.
    pub fn subject_failed(&self, subject: &str) {
        let now = self.clock.now_ms();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= THROTTLE_ENTRIES_MAX {
            make_room(&mut buckets, now, self.address);
        }
        let bucket = buckets.entry(Key::Subject(subject.to_owned())).or_insert(Bucket { level: 0.0, at_ms: now });
        *bucket = Bucket { level: (bucket.left(now, SUBJECT) + 1.0).min(SUBJECT.free * 2.0), at_ms: now };
    }

    fn waits(&self, key: &Key, rate: Rate) -> Option<Duration> {
        let now = self.clock.now_ms();
        let bucket = *self.buckets.lock().unwrap_or_else(PoisonError::into_inner).get(key)?;
        let over = bucket.left(now, rate) - rate.free + 1.0;
        (over > 0.0).then(|| Duration::from_secs_f64((over * rate.forgotten_after_ms / 1000.0).ceil()))
    }
}

impl Bucket {
    fn left(self, now_ms: i64, rate: Rate) -> f64 {
        let passed = i32::try_from(now_ms.saturating_sub(self.at_ms).max(0)).unwrap_or(i32::MAX);
        (self.level - f64::from(passed) / rate.forgotten_after_ms).max(0.0)
    }
}

/// Forgets what has leaked away, and then the older half if that was not enough.
fn make_room(buckets: &mut HashMap<Key, Bucket>, now: i64, rate: Rate) {
    buckets.retain(|_, bucket| bucket.left(now, rate) > 0.0);
    if buckets.len() >= THROTTLE_ENTRIES_MAX {
        let mut times: Vec<i64> = buckets.values().map(|bucket| bucket.at_ms).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        buckets.retain(|_, bucket| bucket.at_ms > median);
    }
}

/// What one customer of a provider has: an IPv4 address or an IPv6 /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_guesses_from_one_network_are_slowed_and_forgotten() {
        let clock = Clock::fixed(1000);
        let throttle = Throttle::new(clock.clone());
        let guess = |host: &str, subject: &str| throttle.failed(host.parse().unwrap(), subject);
        for number in 0..20 {
            assert_eq!(throttle.address_waits("2001:db8::1".parse().unwrap()), None);
            guess(&format!("2001:db8::{number:x}"), &format!("user{number}"));
        }
        let waits = throttle.address_waits("2001:db8::ffff".parse().unwrap()).unwrap();
        assert!(waits > Duration::ZERO && waits <= Duration::from_secs(15), "{waits:?}");
        assert_eq!(throttle.address_waits("2001:db8:0:1::1".parse().unwrap()), None, "another /64");
        clock.advance(15);
        assert_eq!(throttle.address_waits("2001:db8::1".parse().unwrap()), None);
    }

    #[test]
    fn f4_guesses_at_one_account_are_slowed_from_everywhere() {
        let throttle = Throttle::new(Clock::fixed(1000));
        for number in 0..40u8 {
            assert_eq!(throttle.subject_waits("anna"), None);
            throttle.failed(IpAddr::from([10, 0, 0, number]), "anna");
        }
        assert!(throttle.subject_waits("anna").is_some());
        assert_eq!(throttle.subject_waits("bob"), None);
    }

    #[test]
    fn what_is_counted_by_the_hour_comes_back_within_it() {
        let clock = Clock::fixed(1000);
        let (throttle, address) = (Throttle::hourly(clock.clone(), 60), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..60 {
            assert_eq!(throttle.address_waits(address), None);
            throttle.failed(address, "offer");
        }
        assert_eq!(throttle.address_waits(address), Some(Duration::from_secs(60)));
        assert_eq!(throttle.address_waits(IpAddr::from([10, 0, 0, 2])), None);
        clock.advance(60);
        assert_eq!(throttle.address_waits(address), None);
    }

    #[test]
    fn memory_is_bounded() {
        let clock = Clock::fixed(1000);
        let throttle = Throttle::new(clock.clone());
        for number in 0..THROTTLE_ENTRIES_MAX {
            let bits = u128::try_from(number).unwrap();
            throttle.failed(IpAddr::from((bits << 64).to_be_bytes()), &number.to_string());
            clock.advance(i64::from(number % 100 == 0));
        }
        assert!(throttle.buckets.lock().unwrap().len() <= THROTTLE_ENTRIES_MAX + 2);
    }
}
