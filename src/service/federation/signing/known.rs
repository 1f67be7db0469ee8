//! The keys of other servers. The first that a server signs with are kept for good (table 21): one that changes is refused until an administrator
//! forgets it, as Nextcloud does; further ones beside them come from that server by https alone.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::Federation;
use super::Unproven;
use crate::domain::{CloudId, Timestamp};
use crate::limits::SIGNING_HOSTS_MAX;
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::store::{self, Batch, Record, Store, Table};
use crate::wire::href;
use crate::wire::signature::{Flaw, PublicKey, SERVER_KEYS_MAX};

/// The keys of one server that has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signer {
    /// `host[:port]`, lower case.
    host: String,
    /// Its keys by their names.
    keys: Vec<(String, PublicKey)>,
    /// When it first signed.
    since: Timestamp,
}

impl Record for Signer {
    const TABLE: Table = Table::Signers;
    fn key(&self) -> Vec<u8> {
        self.host.as_bytes().to_vec()
    }
}

/// A key that a signature is judged by, and what is to be kept if it fits.
pub(super) struct Candidate {
    pub(super) key: PublicKey,
    /// Set where something is new.
    keep: Option<Signer>,
    /// Whether the server is known already.
    known: bool,
}

/// The server in the name of a key: `https://h.example:8443/ocm#signature`, `h.example#key1`.
pub(super) struct Origin(String);

impl Origin {
    pub(super) fn of(key_id: &str) -> Origin {
        let bare = key_id.split('#').next().unwrap_or_default();
        Origin(CloudId::parse(&["-@", bare].concat()).map(|address| address.authority().to_owned()).unwrap_or_default())
    }

    pub(super) fn is(&self, authority: &str) -> bool {
        !self.0.is_empty() && href::same_authority(&self.0, authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "nobody" } else { &self.0 })
    }
}

impl Federation {
    /// The keys that a server has signed with, if it has.
    pub(super) fn known_signer(&self, authority: &str) -> std::result::Result<Option<Signer>, store::Error> {
        self.store.get::<Signer>(authority.as_bytes())
    }

    /// The key of a name, as it is known or as its server publishes it.
    pub(super) async fn key_of(&self, server: &CloudId, name: &str, from: IpAddr) -> std::result::Result<Candidate, Unproven> {
        let host = server.authority();
        let known = self.known_signer(host)?;
        if let Some((_, key)) = known.iter().flat_map(|known| &known.keys).find(|(id, _)| id == name) {
            return Ok(Candidate { key: key.clone(), keep: None, known: true });
        }
        // Who calls makes us knock at a server; not without end (attack F9).
        if let Some(wait) = self.knocks.address_waits(from) {
            return Err(Unproven::Throttled(wait));
        }
        self.knocks.failed(from, "key");
        let published = self.remotes.keys_of(server).await.map_err(|error| {
            tracing::info!(remote.host = host, %error, "the keys of another server cannot be asked for");
            Unproven::Unreachable
        })?;
        let found = published.keys.iter().find(|(id, _)| id == name);
        let key = found.map(|(_, key)| key.clone()).ok_or_else(|| Unproven::NoKey(host.to_owned()))?;
        let was_known = known.is_some();
        if was_known && !published.secure {
            return Err(Unproven::Insecure(host.to_owned()));
        }
        let mut signer = known.unwrap_or_else(|| Signer { host: host.to_owned(), keys: Vec::new(), since: self.clock.now() });
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
        Ok(Candidate { key, keep: Some(signer), known: was_known })
    }

    /// Keeps the keys of a server that has signed.
    pub(super) async fn keep_keys(&self, candidate: Candidate) -> std::result::Result<(), Unproven> {
        let Some(signer) = candidate.keep else { return Ok(()) };
        let batch = Batch::new();
        let batch = if candidate.known { batch } else { make_room(&self.store, batch)?.absent::<Signer>(&signer.key()) };
        match self.store.commit(batch.put(&signer)).await {
            Ok(()) => tracing::info!(remote.host = signer.host, "another server signs its calls from now on; its keys are kept"),
            // It came twice at once.
            Err(store::Error::Conflict) => {
                let there = self.known_signer(&signer.host)?;
                let same = there.is_some_and(|there| there.keys.iter().any(|(_, key)| *key == candidate.key));
                if !same {
                    return Err(Unproven::Wrong(signer.host));
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Forgets the keys of a server, and that it signs: its next signed call brings them anew.
    ///
    /// # Errors
    /// Where none are kept.
    pub async fn forget_keys(&self, host: &str) -> Result<()> {
        let host = crate::service::trust::parse_host(host)?;
        if self.known_signer(&host)?.is_none() {
            return Err(Refusal::not_found(format!("no key of {host} is kept")));
        }
        self.store.commit(Batch::new().delete::<Signer>(host.as_bytes())).await?;
        tracing::info!(remote.host = host, "the keys of another server were forgotten");
        Ok(())
    }
}

/// Lets go of the server that has signed for longest, where there is no room for another one.
fn make_room(store: &Store, batch: Batch) -> std::result::Result<Batch, store::Error> {
    let all = store.list::<Signer>()?;
    if all.len() < SIGNING_HOSTS_MAX {
        return Ok(batch);
    }
    tracing::warn!("keys of too many servers are kept: the oldest is forgotten");
    Ok(all.iter().min_by_key(|signer| signer.since).map_or(batch, |oldest| Batch::new().delete::<Signer>(&oldest.key())))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
