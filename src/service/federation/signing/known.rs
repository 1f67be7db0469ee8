//! The keys of other servers. The first that a server signs with are kept for good (table 21): one that changes is refused until an administrator
//! forgets it, as Nextcloud does; further ones beside them come from that server by https alone. **Invariants:** keys are asked for where they are
//! kept: below one host and folder, in one spelling, so that who has a folder of a host has no key of that host; they are kept once something
//! came of a call, and nobody's are let go of for another server's.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::super::Federation;
use super::{Believed, Unproven};
use crate::domain::{CloudId, Timestamp};
use crate::limits::SIGNING_HOSTS_MAX;
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::store::{self, Batch, Record, Store, Table};
use crate::wire::signature::{Flaw, PublicKey, SERVER_KEYS_MAX};

/// The keys of one server that has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Signer {
    /// As [`name_of`] writes it.
    host: String,
    /// Its keys by their names.
    keys: Vec<(String, PublicKey)>,
    /// When it first signed.
    since: Timestamp,
}

impl Signer {
    /// The same server under another name; its keys are named by it.
    fn moved(&self, moved: impl Fn(&str) -> Option<String>) -> Option<Signer> {
        let host = name_of(CloudId::at("-", &moved(&["https://", &self.host].concat())?).ok()?.host());
        let key = |(name, key): &(String, PublicKey)| (moved(name).unwrap_or_else(|| name.clone()), key.clone());
        Some(Signer { host, keys: self.keys.iter().map(key).collect(), since: self.since })
    }
}

impl Record for Signer {
    const TABLE: Table = Table::Signers;
    fn key(&self) -> Vec<u8> {
        self.host.as_bytes().to_vec()
    }
}

/// How a server is called where its keys are kept: `host[:port][/folder]`, lower case up to the folder, without the ports of http and https
/// and without the dot at the end of a name, which are left out or written at will.
pub(super) fn name_of(host: &str) -> String {
    let (authority, folder) = host.split_once('/').unwrap_or((host, ""));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => (name, port),
        Some(_) | None => (authority, ""),
    };
    let mut written = name.trim_end_matches('.').to_ascii_lowercase();
    if !matches!(port, "" | "80" | "443") {
        written.extend([":", port]);
    }
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        written.extend(["/", part]);
    }
    written
}

/// How many servers' keys are kept.
pub(super) fn count(store: &Store) -> std::result::Result<AtomicUsize, store::Error> {
    Ok(AtomicUsize::new(store.list::<Signer>()?.len()))
}

/// A key that a signature is judged by, and what is to be kept if it fits.
#[derive(Debug)]
pub(super) struct Candidate {
    /// What the server is called.
    pub(super) host: String,
    pub(super) key: PublicKey,
    /// Set where something is new.
    keep: Option<Signer>,
    /// Whether the server is known already.
    pub(super) known: bool,
}

/// The host in the name of a key: `https://h.example:8443/ocm#signature`, `h.example#key1`.
pub(super) struct Origin(String);

impl Origin {
    pub(super) fn of(key_id: &str) -> Origin {
        let bare = key_id.split('#').next().unwrap_or_default();
        Origin(CloudId::parse(&["-@", bare].concat()).map(|address| name_of(address.authority())).unwrap_or_default())
    }

    pub(super) fn is(&self, authority: &str) -> bool {
        !self.0.is_empty() && self.0 == name_of(authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "nobody" } else { &self.0 })
    }
}

impl Federation {
    /// What a server is called that has signed, if it has: itself, or the host whose folder it lives in. Who signs from a folder of a host says
    /// nothing of the host.
    pub(super) fn has_signed(&self, server: &CloudId) -> std::result::Result<Option<String>, store::Error> {
        for name in [name_of(server.authority()), name_of(server.host())] {
            if self.store.get::<Signer>(name.as_bytes())?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The key of a name, as it is known or as its server publishes it.
    pub(super) async fn key_of(&self, server: &CloudId, name: &str, from: IpAddr) -> std::result::Result<Candidate, Unproven> {
        let host = name_of(server.host());
        let known = self.store.get::<Signer>(host.as_bytes())?;
        if let Some((_, key)) = known.iter().flat_map(|known| &known.keys).find(|(id, _)| id == name) {
            return Ok(Candidate { host, key: key.clone(), keep: None, known: true });
        }
        // Who calls makes us knock at a server; not without end (attack F9).
        if let Some(wait) = self.knocks.address_waits(from) {
            return Err(Unproven::Throttled(wait));
        }
        self.knocks.failed(from, "key");
        let published = self.remotes.keys_of(&host, name).await.map_err(|error| {
            tracing::info!(remote.host = host, %error, "the keys of another server cannot be asked for");
            Unproven::Unreachable
        })?;
        let found = published.keys.iter().find(|(id, _)| id == name);
        let key = found.map(|(_, key)| key.clone()).ok_or_else(|| Unproven::NoKey(host.clone()))?;
        let was_known = known.is_some();
        if was_known && !published.secure {
            return Err(Unproven::Insecure(host));
        }
        let mut signer = known.unwrap_or_else(|| Signer { host: host.clone(), keys: Vec::new(), since: self.clock.now() });
        // What is kept stays: a published key never takes the place of one.
        if signer.keys.len() >= SERVER_KEYS_MAX {
            return Err(
                Flaw("its server has more keys than are kept here; `causeway remote forget-key` lets them be asked for anew").into()
            );
        }
        signer.keys.push((name.to_owned(), key.clone()));
        for (id, key) in published.keys {
            if signer.keys.len() < SERVER_KEYS_MAX && !signer.keys.iter().any(|(known, _)| *known == id) {
                signer.keys.push((id, key));
            }
        }
        Ok(Candidate { host, key, keep: Some(signer), known: was_known })
    }

    /// Keeps the keys of a server whose call was believed and taken. What cannot be kept is asked for again at its next call.
    pub async fn keep_keys(&self, believed: Believed) {
        let Some((signer, known)) = believed.keep else { return };
        if let Err(error) = keep(&self.store, &self.signatures.kept, &signer, known).await {
            tracing::warn!(remote.host = signer.host, %error, "the keys of another server cannot be kept");
        }
    }

    /// The rows of servers under other names: of each the old one and, with the same keys, the new one. `moved` gives a URL under its new name.
    pub(in super::super) fn moved_signers(&self, moved: impl Fn(&str) -> Option<String>) -> Result<Vec<(Signer, Signer)>> {
        let known = self.store.list::<Signer>()?.into_iter();
        Ok(known.filter_map(|old| old.moved(&moved).map(|new| (old, new))).collect())
    }

    /// Forgets the keys of a server, and that it signs: its next signed call brings them anew.
    ///
    /// # Errors
    /// Where none are kept.
    pub async fn forget_keys(&self, host: &str) -> Result<()> {
        let wrong = |_error| Refusal::usage("a server is written host, host:port or host/folder");
        let host = name_of(CloudId::at("-", host.trim()).map_err(wrong)?.host());
        let batch = Batch::new().present::<Signer>(host.as_bytes()).delete::<Signer>(host.as_bytes());
        match self.store.commit(batch).await {
            Ok(()) => {}
            Err(store::Error::Conflict) => return Err(Refusal::not_found(format!("no key of {host} is kept"))),
            Err(error) => return Err(error.into()),
        }
        self.signatures.kept.fetch_sub(1, Ordering::Relaxed);
        tracing::info!(remote.host = host, "the keys of another server were forgotten");
        Ok(())
    }
}

impl Candidate {
    /// What is to be kept if something comes of the call.
    pub(super) fn believed(self) -> Believed {
        Believed { signed: true, keep: self.keep.map(|signer| (signer, self.known)) }
    }
}

/// Writes keys down. Where there is no room nothing is: the keys of a server that may be pretended to be are not given up for a new one's.
async fn keep(store: &Store, kept: &AtomicUsize, signer: &Signer, known: bool) -> std::result::Result<(), store::Error> {
    if !known && kept.load(Ordering::Relaxed) >= SIGNING_HOSTS_MAX {
        tracing::warn!(remote.host = signer.host, "keys of {SIGNING_HOSTS_MAX} servers are kept, which is all that there is room for");
        return Ok(());
    }
    let batch = Batch::new().put(signer);
    let batch = if known { batch.present::<Signer>(&signer.key()) } else { batch.absent::<Signer>(&signer.key()) };
    match store.commit(batch).await {
        Ok(()) => {
            kept.fetch_add(usize::from(!known), Ordering::Relaxed);
            tracing::info!(remote.host = signer.host, "another server signs its calls; its keys are kept");
            Ok(())
        }
        // It came twice at once, or was forgotten just now: its next call brings what is missing.
        Err(store::Error::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f14_keys_move_with_the_name_of_their_server() {
        let key = |name: &str, byte: u8| (name.to_owned(), PublicKey::Ed25519(vec![byte; 32]));
        let old =
            Signer { host: "old.example".to_owned(), keys: vec![key("https://old.example/ocm#signature", 1), key("#k", 2)], since: 7 };
        let moved = |url: &str| url.starts_with("https://old.example").then(|| url.replace("old.example", "new.example:8443"));
        let keys = vec![key("https://new.example:8443/ocm#signature", 1), key("#k", 2)];
        assert_eq!(old.moved(moved), Some(Signer { host: "new.example:8443".to_owned(), keys, since: 7 }));
        assert_eq!(Signer { host: "other.example".to_owned(), ..old }.moved(moved), None);
    }

    #[test]
    fn f14_the_server_in_the_name_of_a_key() {
        let check = |key_id: &str, expected: &str| assert_eq!(Origin::of(key_id).to_string(), expected, "{key_id}");
        check("https://h.example/ocm#signature", "h.example");
        check("https://H.example:8443/cloud/ocm#signature", "h.example:8443");
        check("http://127.0.0.1:81/ocm#k", "127.0.0.1:81");
        check("h.example#key1", "h.example");
        check("https://evil.example/https://h.example/ocm#k", "evil.example");
        for strange in
            ["https://h.example@evil.example/ocm#k", "", "#", "signature", "https://", "a b", "https://me:pw@evil.example/ocm#h.example"]
        {
            assert!(!Origin::of(strange).is("h.example") && !Origin::of(strange).is(""), "{strange}");
        }
        assert!(Origin::of("https://h.example:443/x").is("h.example"));
    }

    #[test]
    fn f14_a_server_has_one_name_however_it_is_written() {
        let check = |text: &str, expected: &str| {
            let address = CloudId::at("alice", text).unwrap();
            assert_eq!(name_of(address.host()), expected, "{text}");
            assert_eq!(name_of(expected), expected);
        };
        for text in [
            "h.example",
            "H.example.",
            "https://h.example:443",
            "http://h.example:443/",
            "http://h.example:80",
            "h.example.:80",
            "h.example/index.php",
        ] {
            check(text, "h.example");
        }
        for text in ["h.example:8443", "H.Example.:8443", "http://h.example:8443/"] {
            check(text, "h.example:8443");
        }
        check("https://h.example:443//cloud/", "h.example/cloud");
        check("[::1]:80", "[::1]");
        check("[::1]:8080", "[::1]:8080");
        assert!(Origin::of("https://h.example.:443/ocm#k").is("h.example") && Origin::of("h.example#k").is("h.example.:443"));
        assert!(!Origin::of("https://h.example:8443/ocm#k").is("h.example"));
    }

    #[tokio::test]
    async fn f14_where_there_is_no_room_nobody_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), store::Options::default()).unwrap();
        let signer = |host: &str, byte: u8| {
            let keys = vec![("k".to_owned(), PublicKey::Ed25519(vec![byte; 32]))];
            Signer { host: host.to_owned(), keys, since: 0 }
        };
        let kept = count(&store).unwrap();
        keep(&store, &kept, &signer("true.example", 1), false).await.unwrap();
        assert_eq!((count(&store).unwrap().into_inner(), kept.load(Ordering::Relaxed)), (1, 1));
        let full = AtomicUsize::new(SIGNING_HOSTS_MAX);
        keep(&store, &full, &signer("new.example", 2), false).await.unwrap();
        assert_eq!(store.list::<Signer>().unwrap(), [signer("true.example", 1)]);
        // What is known may change all the same; what came twice at once changes nothing.
        keep(&store, &full, &signer("true.example", 3), true).await.unwrap();
        keep(&store, &kept, &signer("true.example", 4), false).await.unwrap();
        assert_eq!(store.list::<Signer>().unwrap(), [signer("true.example", 3)]);
        store.close();
    }
}
