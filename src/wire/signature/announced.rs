//! What a discovery document says of signatures and tokens (`protocol/ocm.md` 1.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::KEY_ID_BYTES_MAX;
use super::key::{PublicKey, rsa_of_pem};
use crate::limits::OCM_URL_BYTES_MAX;

/// What another server says of its keys, and where it exchanges tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Announced {
    /// `publicKey`: the name of its key for draft-cavage, and the key.
    pub key: Option<(String, PublicKey)>,
    /// `jwksUri`: where its keys for RFC 9421 are.
    pub jwks_uri: Option<String>,
    /// `tokenEndPoint`: where secrets are exchanged for tokens.
    pub token_end_point: Option<String>,
    /// The capability `http-sig`: it reads signatures of RFC 9421.
    pub http_sig: bool,
}

impl Announced {
    /// Reads the fields of a document; what cannot be used is as if it were missing.
    pub fn parse(fields: &Map<String, Value>) -> Announced {
        let url = |name: &str| fields.get(name).and_then(Value::as_str).filter(|url| !url.is_empty() && url.len() <= OCM_URL_BYTES_MAX);
        let capabilities = fields.get("capabilities").and_then(Value::as_array);
        let has = |name: &str| capabilities.is_some_and(|all| all.iter().any(|capability| capability.as_str() == Some(name)));
        let key = || {
            let key = fields.get("publicKey")?;
            let id = key.get("keyId")?.as_str().filter(|id| !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX)?;
            Some((id.to_owned(), rsa_of_pem(key.get("publicKeyPem")?.as_str()?)?))
        };
        Announced {
            key: key(),
            jwks_uri: url("jwksUri").map(str::to_owned),
            token_end_point: url("tokenEndPoint").map(str::to_owned),
            http_sig: has("http-sig"),
        }
    }

    /// Reads a whole document; none where it is no JSON object.
    pub fn of_document(body: &[u8]) -> Option<Announced> {
        let Value::Object(fields) = serde_json::from_slice(body).ok()? else { return None };
        Some(Announced::parse(&fields))
    }

    /// Whether it reads signatures of RFC 9421; else of draft-cavage, if of any.
    pub fn reads_messages(&self) -> bool {
        self.http_sig || self.jwks_uri.is_some()
    }
}
