//! The client of other servers: how they are reached, what they are, and what is asked of them.
//!
//! Everything here works on passed values: trust, time limits, credentials. Pools, breakers and concurrency bounds are per origin (scheme,
//! host, port). **Invariants:** every call has a connect, a first-byte and a stall limit; credentials never leave the origin for which they
//! were given, but from http to https of the same host; private addresses are refused unless the administrator allowed the host; no error
//! carries a URL.

mod address;
mod body;
mod breaker;
mod call;
mod chunks;
mod error;
mod exam;
mod family;
mod hash;
mod heard;
mod invite;
mod keys;
mod link;
mod lock;
mod ocm;
mod origin;
mod probe;
mod refusal;
mod share;
mod signing;
mod tls;
mod tokens;
mod vendor;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

pub use address::Names;
pub use chunks::Whole;
pub use error::{Error, Fingerprint};
pub use exam::{BadCertificate, NoAddress, Page, Shaken, TlsFault};
pub use family::{Receiver, Scheme};
pub use hash::Verified;
pub use heard::{BadBody, Broke, Head, Heard};
pub use keys::PublishedKeys;
pub use lock::RemoteLock;
pub use ocm::{Peer, Taken, same_host};
pub use probe::{LinkState, Opened, Probe, ProbeFault};
pub use share::{Conditions, Content, Credentials, Listing, Received, Share, ShareKey};
pub use signing::{Identity, KeyNames, Keys, NoKeys};
pub use vendor::Traits;

use tokio::time::Instant;

use crate::domain::RemoteTrust;
use origin::{Origin, OriginKey};

/// Reads a pasted text, for the fuzz targets: no credentials stay in the address.
#[cfg(fuzzing)]
pub fn fuzzed_link(text: &str) {
    let Some(pasted) = link::Pasted::parse(text) else { return };
    assert!(matches!(pasted.url.scheme(), "http" | "https"));
    assert!(pasted.url.username().is_empty() && pasted.url.password().is_none() && pasted.url.host_str().is_some());
    if let Some(link) = pasted.link {
        assert_eq!(link.root.origin(), pasted.url.origin(), "a link lies where its address is");
        assert!(link.root.path().ends_with('/') && !link.token.expose().is_empty());
    }
}

/// Time limits of calls to other servers.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From the request, or the end of its body, to the head of the answer.
    pub first_byte: Duration,
    /// How long the remote may stand still in the middle of a body.
    pub stall: Duration,
    /// How long our own client may stand still while we send its body on.
    pub source_stall: Duration,
    /// The whole of an answer that is no file: a listing, a page.
    pub answer: Duration,
    /// The whole of a question for which somebody waits in front of a page. Whatever fails to be reached is said at the end of it (attack F9).
    pub ask: Duration,
    /// First pause of an open breaker; doubles with each failure.
    pub breaker_pause: Duration,
    /// Longest pause of an open breaker.
    pub breaker_pause_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            source_stall: Duration::from_secs(120),
            answer: Duration::from_secs(300),
            ask: Duration::from_secs(8),
            breaker_pause: Duration::from_secs(2),
            breaker_pause_max: Duration::from_secs(60),
        }
    }
}

/// What is fixed about this server as a client.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Our instance id: sent with each request, so that loops end.
    pub instance_id: String,
    /// What the administrator decided about single hosts.
    pub trust: Vec<RemoteTrust>,
    /// Where addresses of names come from.
    pub names: Names,
}

/// Every other server: clients, trust and breakers by origin. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remotes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance_id: String,
    names: Names,
    timeouts: Timeouts,
    platform: Arc<tls::Platform>,
    trust: RwLock<HashMap<String, RemoteTrust>>,
    origins: Mutex<HashMap<OriginKey, Arc<Origin>>>,
    /// Servers as peers, by their URL, and when they were found.
    peers: Mutex<HashMap<String, (Peer, Instant)>>,
    /// Who we are; not known to programs that only look at links.
    identity: OnceLock<Identity>,
    /// What secrets were exchanged for.
    tokens: tokens::Tokens,
    /// What was answered, in an examination alone.
    heard: Option<Mutex<Vec<Heard>>>,
}

/// Most origins whose clients are kept; beyond it those without running calls are dropped.
const ORIGINS_MAX: usize = 1024;

impl Remotes {
    /// A client with these decisions and limits.
    pub fn new(policy: Policy, timeouts: Timeouts) -> Remotes {
        let trust = by_host(policy.trust);
        let inner = Inner {
            instance_id: policy.instance_id,
            names: policy.names,
            timeouts,
            platform: Arc::default(),
            trust: RwLock::new(trust),
            origins: Mutex::default(),
            peers: Mutex::default(),
            identity: OnceLock::new(),
            tokens: tokens::Tokens::default(),
            heard: None,
        };
        Remotes { inner: Arc::new(inner) }
    }

    /// Replaces what the administrator decided; new connections follow it at once.
    pub fn set_trust(&self, trust: Vec<RemoteTrust>) {
        *self.inner.trust.write().unwrap_or_else(PoisonError::into_inner) = by_host(trust);
        self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Our own instance id.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// The time limits.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.inner.timeouts
    }

    /// Lets the next call to an origin through, whatever failed before: somebody asked for it.
    pub fn forget_failures(&self, url: &str) {
        let key = url::Url::parse(url).ok().and_then(|url| OriginKey::of(&url));
        let known = key.and_then(|key| self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned());
        if let Some(origin) = known {
            origin.forget_failures();
        }
    }

    fn origin(&self, key: &OriginKey) -> Result<Arc<Origin>, Error> {
        let mut origins = self.inner.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(origin) = origins.get(key) {
            return Ok(Arc::clone(origin));
        }
        if origins.len() >= ORIGINS_MAX {
            origins.retain(|_, origin| Arc::strong_count(origin) > 1);
        }
        let trust = self.trust_of(key);
        let origin = Arc::new(Origin::new(&self.inner, trust)?);
        origins.insert(key.clone(), Arc::clone(&origin));
        Ok(origin)
    }

    /// The decisions for `host:port` and for `host`, together.
    fn trust_of(&self, key: &OriginKey) -> RemoteTrust {
        let trust = self.inner.trust.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = RemoteTrust { host: key.host.clone(), fingerprints: Vec::new(), authorities: Vec::new(), allow_private: false };
        for host in [&key.host_and_port(), &key.host] {
            if let Some(one) = trust.get(host) {
                found.fingerprints.extend_from_slice(&one.fingerprints);
                found.authorities.extend(one.authorities.iter().cloned());
                found.allow_private |= one.allow_private;
            }
        }
        found
    }
}

fn by_host(trust: Vec<RemoteTrust>) -> HashMap<String, RemoteTrust> {
    trust.into_iter().map(|one| (one.host.to_ascii_lowercase(), one)).collect()
}
