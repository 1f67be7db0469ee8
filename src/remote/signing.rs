//! Signing what we send to other servers, by keys that are ours (`protocol/ocm.md` 1.8).
//!
//! ring makes every signature. The `rsa` crate makes the RSA key, which ring cannot, and does nothing with it: its private-key operations can be
//! timed (RUSTSEC-2023-0071).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA512, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::Clock;
use crate::remote::{Error, Remotes};
use crate::wire::date::http_date;
use crate::wire::signature::{Announced, Flaw, PublicKey, Signed, cavage, content_digest, digest, message};

/// Bits of the RSA key, as Nextcloud makes them.
const RSA_BITS: usize = 2048;

/// The keys cannot be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing keys cannot be made or read")]
pub struct NoKeys;

/// The keys by which this server signs.
pub struct Keys {
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys(..)")
    }
}

/// The keys as they are kept: base64 of PKCS#1 and PKCS#8.
#[derive(Serialize, Deserialize)]
struct Kept {
    rsa: String,
    ed25519: String,
    p256: String,
}

impl Keys {
    /// Makes new keys, as they are kept. Takes about a second: for a thread that may block.
    ///
    /// # Errors
    /// Where the machine has no randomness.
    pub fn make() -> Result<String, NoKeys> {
        let random = SystemRandom::new();
        let rsa = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS).map_err(|_error| NoKeys)?;
        let rsa = rsa.to_pkcs1_der().map_err(|_error| NoKeys)?;
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_error| NoKeys)?;
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_error| NoKeys)?;
        let text = |der: &[u8]| STANDARD.encode(der);
        let kept = Kept { rsa: text(rsa.as_bytes()), ed25519: text(ed25519.as_ref()), p256: text(p256.as_ref()) };
        serde_json::to_string_pretty(&kept).map_err(|_error| NoKeys)
    }

    /// Reads what [`Keys::make`] made.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn read(text: &str) -> Result<Keys, NoKeys> {
        let kept: Kept = serde_json::from_str(text).map_err(|_error| NoKeys)?;
        let der = |text: &str| STANDARD.decode(text).map_err(|_error| NoKeys);
        Ok(Keys {
            rsa: RsaKeyPair::from_der(&der(&kept.rsa)?).map_err(|_error| NoKeys)?,
            ed25519: Ed25519KeyPair::from_pkcs8(&der(&kept.ed25519)?).map_err(|_error| NoKeys)?,
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der(&kept.p256)?, &SystemRandom::new())
                .map_err(|_error| NoKeys)?,
        })
    }

    /// The public halves: RSA as PKCS#1, and those for RFC 9421.
    pub fn public(&self) -> (Vec<u8>, PublicKey, PublicKey) {
        let ed25519 = PublicKey::Ed25519(self.ed25519.public_key().as_ref().to_vec());
        (self.rsa.public_key().as_ref().to_vec(), ed25519, PublicKey::P256(self.p256.public_key().as_ref().to_vec()))
    }

    fn sign_rsa(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        let signed = self.rsa.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), text, &mut signature);
        signed.map_err(|_error| Error::BadAnswer("the request cannot be signed"))?;
        Ok(signature)
    }
}

/// The names of our keys, below our own URL: other servers find our host in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNames {
    /// Of the RSA key, by the name that Nextcloud uses.
    pub rsa: String,
    /// Of the Ed25519 key.
    pub ed25519: String,
    /// Of the P-256 key.
    pub p256: String,
}

impl KeyNames {
    /// The names of the keys of the server at a URL.
    pub fn at(public_url: &str) -> KeyNames {
        let name = |fragment: &str| [public_url.trim_end_matches('/'), "/ocm#", fragment].concat();
        KeyNames { rsa: name("signature"), ed25519: name("ed25519"), p256: name("ecdsa-p256-sha256") }
    }
}

/// Who we are to other servers.
#[derive(Debug)]
pub struct Identity {
    /// Our own URL.
    pub public_url: String,
    /// By what time requests are dated.
    pub clock: Clock,
    /// What they are signed with; none where nothing is signed.
    pub keys: Option<Keys>,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// By draft-cavage with RSA.
    Cavage,
    /// By RFC 9421, which the exchange of tokens demands.
    Message,
}

impl Style {
    /// What a server reads that says this of itself: RFC 9421 where it says so, else draft-cavage, or nothing.
    pub(super) fn read_by(announced: &Announced) -> Style {
        if announced.reads_messages() { Style::Message } else { Style::Cavage }
    }
}

impl Remotes {
    /// Says who we are; only the first time counts.
    pub fn identify(&self, identity: Identity) {
        drop(self.inner.identity.set(identity));
    }

    /// Our own host without its port, as other servers name us; empty where it is not known.
    pub(super) fn own_host(&self) -> String {
        let url = self.inner.identity.get().and_then(|identity| Url::parse(&identity.public_url).ok());
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The headers that sign a POST of ours; none where nothing is signed.
    pub(super) fn signed(&self, style: Style, url: &Url, body: &[u8]) -> Result<Vec<(&'static str, String)>, Error> {
        let Some(identity) = self.inner.identity.get() else { return Ok(Vec::new()) };
        let Some(keys) = &identity.keys else { return Ok(Vec::new()) };
        let names = KeyNames::at(&identity.public_url);
        let host = host_of(url).ok_or(Error::BadAnswer("its address cannot be used"))?;
        let now = identity.clock.now();
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| [url.path(), "?", query].concat());
        let date = String::from_utf8_lossy(&http_date(now)).into_owned();
        let by_message = style == Style::Message;
        let digest = if by_message { ("content-digest", content_digest(body)) } else { ("digest", digest(body)) };
        let mut headers = vec![("date", date), ("content-length", body.len().to_string()), digest];
        let covered = headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect();
        let request = Signed { method: Method::POST.as_str(), scheme: url.scheme(), host: &host, path: &path, headers: &covered };
        let flawed = |Flaw(why)| Error::BadAnswer(why);
        if by_message {
            let parameters = message::parameters(&names.ed25519, now);
            let text = message::text(message::COVERED.into_iter(), &request, &parameters).map_err(flawed)?;
            let (input, signature) = message::headers(&parameters, keys.ed25519.sign(text.as_bytes()).as_ref());
            headers.extend([("signature-input", input), ("signature", signature)]);
        } else {
            let text = cavage::text(cavage::COVERED.into_iter(), &request).map_err(flawed)?;
            headers.push(("signature", cavage::header(&names.rsa, &keys.sign_rsa(text.as_bytes())?)));
        }
        Ok(headers)
    }
}

/// `host[:port]` as it stands in the `Host` header.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::signature::Algorithm;

    #[test]
    fn keys_come_back_and_sign_what_their_public_halves_know() {
        let text = Keys::make().unwrap();
        let keys = Keys::read(&text).unwrap();
        assert!(!format!("{keys:?}").contains(text.get(20..60).unwrap()));
        let (rsa, ed25519, p256) = keys.public();
        let random = SystemRandom::new();
        assert!(PublicKey::Rsa(rsa).verifies(Algorithm::RsaSha512, b"x", &keys.sign_rsa(b"x").unwrap()));
        assert!(ed25519.verifies(Algorithm::Ed25519, b"x", keys.ed25519.sign(b"x").as_ref()));
        assert!(p256.verifies(Algorithm::EcdsaP256, b"x", keys.p256.sign(&random, b"x").unwrap().as_ref()));
        for bad in ["", "{}", "[]", &text.replace("\"rsa\": \"", "\"rsa\": \"A")] {
            assert!(Keys::read(bad).is_err());
        }
    }

    #[test]
    fn keys_are_named_below_our_own_url() {
        let names = KeyNames::at("https://h.example:8443/cloud/");
        assert_eq!(names.rsa, "https://h.example:8443/cloud/ocm#signature");
        assert_eq!(host_of(&Url::parse("https://h.example:443/x").unwrap()).as_deref(), Some("h.example"));
        assert_eq!(host_of(&Url::parse("http://[::1]:81/x").unwrap()).as_deref(), Some("[::1]:81"));
    }
}
