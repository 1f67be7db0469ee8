//! The public keys of other servers, from where they publish them (`protocol/ocm.md` 1.8).

use tokio::time::timeout;
use url::Url;

use crate::limits::OCM_TIMEOUT;
use crate::remote::{Error, Remotes, same_host};
use crate::wire::signature::{Announced, PublicKey, SERVER_KEYS_MAX, jwks};

/// Where keys for RFC 9421 are, if the discovery document does not say.
const JWKS: &str = "/.well-known/jwks.json";

/// What a server publishes.
#[derive(Debug, Clone)]
pub struct PublishedKeys {
    /// Its keys by their names: the one that was asked for first, if it is among them.
    pub keys: Vec<(String, PublicKey)>,
    /// Whether they came over TLS: nobody between us changed them.
    pub secure: bool,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    keys: Vec<(String, PublicKey)>,
    /// Where the rest is said to be.
    jwks_uri: Option<String>,
    /// Whether there is a document of the kind at all.
    any: bool,
}

impl Remotes {
    /// Asks a server, `host[:port][/folder]`, for the key of a name; what stands beside it comes along. Nothing is kept.
    ///
    /// # Errors
    /// Where it cannot be reached, or publishes nothing.
    pub async fn keys_of(&self, host: &str, wanted: &str) -> Result<PublishedKeys, Error> {
        let asked = async {
            // Whatever scheme the address has: a stranger wrote it, and a key that somebody on the way put in would be kept.
            let url = ["https://", host].concat();
            match self.keys_at(&url, wanted).await {
                // A test server or one in the house without TLS: the administrator said that this host is near.
                Err(error) if error.is_connection() && Url::parse(&url).is_ok_and(|url| self.is_near(&url)) => {
                    self.keys_at(&["http://", host].concat(), wanted).await
                }
                found => found,
            }
        };
        timeout(OCM_TIMEOUT, asked).await.unwrap_or(Err(Error::Unreachable { retry_after: OCM_TIMEOUT }))
    }

    async fn keys_at(&self, url: &str, wanted: &str) -> Result<PublishedKeys, Error> {
        let secure = url.starts_with("https://");
        let (mut found, mut failed) = (Found::default(), None);
        for place in ["/ocm-provider/", "/.well-known/ocm", JWKS] {
            match self.read_keys(url, place, &mut found).await {
                Ok(()) => {}
                // There is nobody to ask for the others either.
                Err(error) if error.is_connection() && !found.any => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
            // Further keys can be asked for later, but not without TLS: then what stands elsewhere comes along, if it can be had.
            if secure && found.keys.iter().any(|(name, _)| name == wanted) {
                break;
            }
        }
        let keys = chosen(found.keys, wanted);
        let has = keys.first().is_some_and(|(name, _)| name == wanted);
        match failed {
            Some(error) if !has => Err(error),
            _ if !found.any => Err(Error::NotFound),
            _ => Ok(PublishedKeys { keys, secure }),
        }
    }

    /// Reads one document.
    async fn read_keys(&self, url: &str, place: &str, found: &mut Found) -> Result<(), Error> {
        if place == JWKS {
            let named = found.jwks_uri.take().unwrap_or_else(|| [url, JWKS].concat());
            same_host(url, &named)?;
            let Some(page) = self.document(&named, "").await? else { return Ok(()) };
            found.any = true;
            found.keys.extend(jwks(&page).unwrap_or_default());
            return Ok(());
        }
        let Some(page) = self.document(url, place).await? else { return Ok(()) };
        let Some(announced) = Announced::of_document(&page) else { return Ok(()) };
        found.any = true;
        found.keys.extend(announced.key);
        found.jwks_uri = found.jwks_uri.take().or(announced.jwks_uri);
        Ok(())
    }
}

/// As many keys as are kept of one server, each once; the one that is wanted is never among those that are left out.
fn chosen(mut keys: Vec<(String, PublicKey)>, wanted: &str) -> Vec<(String, PublicKey)> {
    keys.sort_by(|(one, _), (other, _)| (one != wanted, one).cmp(&(other != wanted, other)));
    keys.dedup_by(|(one, _), (other, _)| one == other);
    keys.truncate(SERVER_KEYS_MAX);
    keys
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::domain::RemoteTrust;
    use crate::remote::{Names, Policy, Timeouts};

    #[test]
    fn of_many_keys_the_wanted_one_stays() {
        let key = |name: &str, byte: u8| (name.to_owned(), PublicKey::Ed25519(vec![byte; 32]));
        let mut many: Vec<_> = (0..100).map(|number| key(&format!("a{number}"), 1)).collect();
        many.extend([key("z", 2), key("z", 3)]);
        let kept = chosen(many, "z");
        assert_eq!((kept.len(), &kept[0]), (SERVER_KEYS_MAX, &key("z", 2)));
        assert_eq!(kept.iter().filter(|(name, _)| name == "z").count(), 1);
    }

    #[tokio::test]
    async fn f14_the_first_key_of_a_server_that_is_not_near_is_asked_for_over_tls_alone() {
        for (near, expected) in [(false, vec!["https"]), (true, vec!["https", "http"])] {
            let (host, fingerprints, authorities) = ("peer.example".to_owned(), Vec::new(), Vec::new());
            let trust = vec![RemoteTrust { host, fingerprints, authorities, allow_private: near }];
            let policy = Policy { instance_id: "oc".to_owned(), trust, names: Names::Fixed(Arc::new(HashMap::new())) };
            let remotes = Remotes::new(policy, Timeouts::default()).examining(Timeouts::default());
            assert!(remotes.keys_of("peer.example", "https://peer.example/ocm#signature").await.is_err());
            let asked: Vec<String> = remotes.heard().iter().map(|heard| heard.url.scheme().to_owned()).collect();
            assert_eq!(asked, expected, "near: {near}");
        }
    }
}
