//! The public keys of other servers, from where they publish them (`protocol/ocm.md` 1.8).

use tokio::time::timeout;
use url::Url;

use crate::domain::CloudId;
use crate::limits::OCM_TIMEOUT;
use crate::remote::{Error, Remotes, same_host};
use crate::wire::signature::{Announced, PublicKey, SERVER_KEYS_MAX, jwks};

/// Where keys for RFC 9421 are, if the discovery document does not say.
const JWKS: &str = "/.well-known/jwks.json";

/// What a server publishes.
#[derive(Debug, Clone)]
pub struct PublishedKeys {
    /// Its keys by their names.
    pub keys: Vec<(String, PublicKey)>,
    /// Whether they came over TLS: nobody between us changed them.
    pub secure: bool,
}

impl Remotes {
    /// Asks the server of an address for its keys. Nothing is kept.
    ///
    /// # Errors
    /// Where it cannot be reached, or publishes nothing.
    pub async fn keys_of(&self, server: &CloudId) -> Result<PublishedKeys, Error> {
        let asked = async {
            // Whatever scheme the address has: a stranger wrote it, and a key that somebody on the way put in would be kept.
            let url = ["https://", server.host()].concat();
            match self.keys_at(&url).await {
                // A test server or one in the house without TLS: the administrator said that this host is near.
                Err(error) if error.is_connection() && Url::parse(&url).is_ok_and(|url| self.is_near(&url)) => {
                    self.keys_at(&["http://", server.host()].concat()).await
                }
                found => found,
            }
        };
        timeout(OCM_TIMEOUT, asked).await.unwrap_or(Err(Error::Unreachable { retry_after: OCM_TIMEOUT }))
    }

    async fn keys_at(&self, url: &str) -> Result<PublishedKeys, Error> {
        let (mut keys, mut named, mut found) = (Vec::new(), None, false);
        for path in ["/ocm-provider/", "/.well-known/ocm"] {
            let Some(page) = self.document(url, path).await? else { continue };
            let Some(announced) = Announced::of_document(&page) else { continue };
            found = true;
            keys.extend(announced.key);
            named = named.or(announced.jwks_uri);
        }
        let named = named.unwrap_or_else(|| [url, JWKS].concat());
        same_host(url, &named)?;
        if let Some(page) = self.document(&named, "").await? {
            found = true;
            keys.extend(jwks(&page).unwrap_or_default());
        }
        if !found {
            return Err(Error::NotFound);
        }
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        keys.dedup_by(|(one, _), (other, _)| one == other);
        keys.truncate(SERVER_KEYS_MAX);
        Ok(PublishedKeys { keys, secure: url.starts_with("https://") })
    }
}
