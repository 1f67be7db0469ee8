//! Signatures of requests between servers: the strings that are signed, and the headers and keys around them (`protocol/ocm.md` 1.8).
//!
//! Two kinds are spoken: draft-cavage-http-signatures with RSA (Nextcloud 31 to 33) and RFC 9421 with Ed25519 or P-256 (OCM 1.3 and later).
//! Everything here is a function of what is passed in; whom a key belongs to, and whether it is trusted, is decided in `service`. **Invariants:**
//! no reader looks at more than a bounded text; what is not understood is refused, never skipped over.

mod announced;
pub mod cavage;
mod digest;
mod key;
pub mod message;

use http::HeaderMap;

pub use announced::Announced;
pub use digest::{check_content_digest, check_digest, content_digest, digest};
pub use key::{Algorithm, PublicKey, jwks, pem};

/// Longest header of a signature, in bytes.
pub const SIGNATURE_HEADER_BYTES_MAX: usize = 4_096;
/// Longest name of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 512;
/// Most components that one signature covers.
pub const COMPONENTS_MAX: usize = 32;
/// Most keys that are read of one other server.
pub const SERVER_KEYS_MAX: usize = 16;

/// What is wrong with a signature, its headers or a key, in words for the administrator of the server that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Flaw(pub &'static str);

/// A request as a signature covers it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Its method, in capitals.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `host[:port]` as its client knows it.
    pub host: &'a str,
    /// Path and query, as its client wrote them.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl Signed<'_> {
    /// The value of a header, all its lines together (RFC 9421 2.1).
    fn header(&self, name: &str) -> Result<String, Flaw> {
        // HTTP/2 has none.
        if name == "host" {
            return Ok(self.host.to_owned());
        }
        let lines = self.headers.get_all(name).iter().map(|line| line.to_str().map(str::trim));
        let lines: Vec<&str> = lines.collect::<Result<_, _>>().map_err(|_error| Flaw("a header that it covers is no text"))?;
        if lines.is_empty() { Err(Flaw("it covers a header that the request does not have")) } else { Ok(lines.join(", ")) }
    }
}

/// All lines of a header together, where they are text and not too long; none where there is none.
///
/// # Errors
/// [`Flaw`].
pub fn joined(headers: &HeaderMap, name: &str) -> Result<Option<String>, Flaw> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str());
    let lines: Vec<&str> = lines.collect::<Result<_, _>>().map_err(|_error| Flaw("its header is no text"))?;
    let text = lines.join(", ");
    if text.len() > SIGNATURE_HEADER_BYTES_MAX {
        return Err(Flaw("its header is too long"));
    }
    Ok(Some(text).filter(|_| !lines.is_empty()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// What headers of signatures are made of, in any order.
    const PIECES: &str = "(ocm|sig1|=|\\(|\\)|\"|;|,| |:|created|keyid|tag|alg|@method|@target-uri|content-digest|content-length|-?[0-9]{1,20}|AAEC|\\\\|\\*|keyId|headers|signature|rsa-sha512|\\(request-target\\)|date|digest|host|[ -~]){0,60}";

    proptest! {
        #[test]
        fn f11_readers_of_signatures_survive_whatever_comes(one in PIECES, two in PIECES, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut headers = HeaderMap::new();
            for (name, text) in [("signature-input", &one), ("signature", &two)] {
                headers.insert(name, HeaderValue::from_str(text).unwrap());
            }
            let request = Signed { method: "POST", scheme: "https", host: "h", path: "/ocm/shares", headers: &headers };
            for text in [&one, &two] {
                if let Ok(read) = cavage::Signature::parse(text) {
                    prop_assert!(read.text(&request).is_err(), "it covers headers that are not there");
                }
                let (_, _) = (check_digest(text, b""), check_content_digest(text, b""));
                prop_assert!(key::rsa_of_pem(text).is_none());
            }
            if let Ok(read) = message::Signature::parse(&headers) {
                prop_assert!(read.text(&request).is_err(), "it covers headers that are not there");
            }
            headers.insert("signature", HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("x")));
            prop_assert!(message::Signature::parse(&headers).is_err() || joined(&headers, "signature").is_ok());
            prop_assert!(jwks(&bytes).is_none() || !bytes.is_empty());
        }
    }
}
