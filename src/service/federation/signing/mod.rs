//! Signed calls between servers: our keys, and whether a call comes from the server that it speaks for (`protocol/ocm.md` 1.8, attack F14).
//!
//! A call is judged before anything is done for it. **Invariants:** the server that a call speaks for is known before its key is asked for, and
//! it alone is asked; the key that a server first signed with stays its key until an administrator forgets it; who has signed once is
//! not believed without a signature, nor by another server's where that says whose a share is. What these calls do is the same done twice; a signature is taken once all the same, as long as it is
//! fresh, as far back as this run of the server remembers.

mod claims;
mod file;
mod known;
mod seen;

use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use url::Url;

pub(super) use self::known::Signer;
use self::known::{Origin, name_of};
use self::seen::{Came, Seen};
use super::Federation;
use crate::domain::{Clock, CloudId, Signing, Timestamp};
use crate::limits::SIGNATURE_AGE_MAX_SECONDS;
use crate::remote::{Identity, KeyNames, Keys, Remotes};
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::service::setup::{Options, signing_keys_file};
use crate::store::{self, Store};
use crate::wire::href;
use crate::wire::signature::{Algorithm, Flaw, PublicKey, Signed, cavage, check_content_digest, check_digest, joined, message, pem};

/// A call as it came, for its signature. Its `Debug` leaves headers and body out: secrets of shares stand there.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Path and query.
    pub path: &'a str,
    /// `host[:port]` that it was sent to.
    pub host: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
    /// Where it came from.
    pub from: IpAddr,
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = (self.method, self.host, self.body.len(), self.from);
        formatter.debug_tuple("Presented").field(&shown).finish()
    }
}

/// The servers that a call speaks for.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// One of these must have signed. None where it is about nothing that is known here: then nothing comes of it.
    pub signers: Vec<CloudId>,
    /// If one of these has signed before, the call must be signed.
    pub named: Vec<CloudId>,
    /// Whose share it is said to be, which nobody but the server of this address can say.
    pub owner: Option<CloudId>,
}

/// What is to be kept of a server whose call is believed, once something came of the call: [`Federation::keep_keys`].
#[derive(Debug, Default)]
#[must_use = "the keys of the server are kept by it"]
pub struct Believed {
    signed: bool,
    keep: Option<(Signer, bool)>,
}

impl Believed {
    /// Whether the server that the call speaks for has signed it.
    pub fn is_signed(&self) -> bool {
        self.signed
    }
}

/// Why a call is not believed, in words for the administrator of the server that sent it.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// Calls must be signed here.
    #[error("calls between servers must be signed here, and this one is not: switch signatures on at your server")]
    Demanded,
    /// The server has signed before.
    #[error("{0} has signed its calls before, so one without a signature is refused; `causeway remote forget-key {0}` here ends that")]
    Downgraded(String),
    /// It cannot be read, or covers too little.
    #[error("the signature cannot be used: {0}")]
    Flawed(#[from] Flaw),
    /// Its time.
    #[error("the signature is not of the last 300 seconds: compare the clocks of both servers")]
    Late,
    /// Another host.
    #[error("the call was signed for another server, or a proxy here changes its Host")]
    OtherHost,
    /// Somebody else signed.
    #[error("the call is signed by {0}, and speaks for another server")]
    OtherOrigin(String),
    /// The key does not fit.
    #[error(
        "the signature does not fit the key that is known of {0}; if that server has a new key, `causeway remote forget-key {0}` here lets it be asked for"
    )]
    Wrong(String),
    /// A further key, without TLS.
    #[error("a further key of {0} is taken over https only; `causeway remote forget-key {0}` here lets it be asked for")]
    Insecure(String),
    /// No such key.
    #[error("{0} publishes no key by the name in the signature")]
    NoKey(String),
    /// The same signature again.
    #[error("a call with this signature came before: sign each one anew")]
    Replayed,
    /// Its server cannot be asked.
    #[error("the key of the signature cannot be asked for now; try again later")]
    Unreachable,
    /// Too many calls with keys that had to be asked for.
    #[error("too many signatures by servers that are not known; try again later")]
    Throttled(Duration),
    /// The store, or too much to remember.
    #[error("not now; try again later")]
    Failed(#[source] Refusal),
}

impl From<store::Error> for Unproven {
    fn from(error: store::Error) -> Unproven {
        Unproven::Failed(error.into())
    }
}

/// What other servers find of our keys.
#[derive(Debug, Clone)]
pub struct Published {
    /// `publicKey` of the discovery documents.
    pub public_key: Value,
    /// The JWKS.
    pub jwks: Value,
    /// Whether calls must be signed.
    pub required: bool,
}

/// Our side of signatures.
#[derive(Debug)]
pub(in crate::service) struct Signatures {
    mode: Signing,
    published: Option<Published>,
    seen: Seen,
    /// How many servers' keys are kept.
    kept: AtomicUsize,
}

/// Reads or makes the keys, where calls are signed, and tells the client of other servers who we are.
///
/// # Errors
/// Where the keys cannot be made or read.
pub(in crate::service) async fn open(options: &Options, store: &Store, remotes: &Remotes, clock: &Clock) -> Result<Signatures> {
    let (mode, public_url) = (options.signatures, &options.public_url);
    let keys = if mode == Signing::Off { None } else { Some(file::open(signing_keys_file(&options.data)).await?) };
    let published = keys.as_ref().map(|keys| published(keys, public_url, mode == Signing::Required));
    remotes.identify(Identity { public_url: public_url.clone(), clock: clock.clone(), keys });
    Ok(Signatures { mode, published, seen: Seen::default(), kept: known::count(store)? })
}

fn published(keys: &Keys, public_url: &str, required: bool) -> Published {
    let (names, (rsa, ed25519, p256)) = (KeyNames::at(public_url), keys.public());
    let jwks: Vec<Value> = [ed25519.jwk(&names.ed25519), p256.jwk(&names.p256)].into_iter().flatten().collect();
    Published { public_key: json!({"keyId": names.rsa, "publicKeyPem": pem(&rsa)}), jwks: json!({"keys": jwks}), required }
}

/// A signature that was read, of either kind.
enum Signature {
    Cavage(cavage::Signature),
    Message(message::Signature),
}

impl Signature {
    fn key_id(&self) -> &str {
        match self {
            Signature::Cavage(signature) => &signature.key_id,
            Signature::Message(signature) => &signature.key_id,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Signature::Cavage(signature) => &signature.signature,
            Signature::Message(signature) => &signature.signature,
        }
    }

    fn text(&self, request: &Signed<'_>) -> std::result::Result<String, Flaw> {
        match self {
            Signature::Cavage(signature) => signature.text(request),
            Signature::Message(signature) => signature.text(request),
        }
    }

    /// By what it was made, if it is by this key.
    fn algorithm(&self, key: &PublicKey) -> Option<Algorithm> {
        match self {
            Signature::Cavage(signature) => Some(signature.algorithm),
            Signature::Message(signature) => key.algorithm().filter(|own| signature.algorithm.is_none_or(|said| said == *own)),
        }
    }
}

impl Federation {
    /// What other servers find of our keys; none where nothing is signed.
    pub fn published(&self) -> Option<&Published> {
        self.signatures.published.as_ref()
    }

    /// Whether signatures are looked at.
    pub fn judges_signatures(&self) -> bool {
        self.signatures.mode != Signing::Off
    }

    /// Judges a call that carries no signature, or cannot carry one, such as those of ownCloud 9.
    ///
    /// # Errors
    /// [`Unproven::Demanded`], [`Unproven::Downgraded`].
    pub fn believe_unsigned(&self, claims: &Claims) -> std::result::Result<(), Unproven> {
        match self.signatures.mode {
            Signing::Off => return Ok(()),
            Signing::Required => return Err(Unproven::Demanded),
            Signing::On => {}
        }
        for server in claims.named.iter().chain(&claims.signers) {
            if let Some(name) = self.has_signed(server)? {
                return Err(Unproven::Downgraded(name));
            }
        }
        Ok(())
    }

    /// Judges a call: whether one of the servers that it speaks for has signed it (true), or need not have (false).
    ///
    /// # Errors
    /// [`Unproven`].
    pub async fn believe(&self, call: &Presented<'_>, claims: &Claims) -> std::result::Result<Believed, Unproven> {
        if self.signatures.mode == Signing::Off {
            return Ok(Believed::default());
        }
        let (signature, signed_at) = match self.read(call) {
            Ok(Some(read)) => read,
            Ok(None) => return self.believe_unsigned(claims).map(|()| Believed::default()),
            Err(unproven) => return Err(noted(unproven, call)),
        };
        if claims.signers.is_empty() {
            return Ok(Believed::default());
        }
        self.proven(call, claims, &signature, signed_at).await.map_err(|unproven| noted(unproven, call))
    }

    /// Reads the signature of a call, and judges what needs no key; gives when it was made. None where there is none.
    fn read(&self, call: &Presented<'_>) -> std::result::Result<Option<(Signature, Timestamp)>, Unproven> {
        let (signature, signed_at) = if call.headers.contains_key("signature-input") {
            let signature = message::Signature::parse(call.headers)?;
            let digest = joined(call.headers, "content-digest")?.ok_or(Flaw("Content-Digest is missing"))?;
            check_content_digest(&digest, call.body)?;
            if signature.expires.is_some_and(|expires| expires < self.clock.now()) {
                return Err(Unproven::Late);
            }
            let created = signature.created;
            (Signature::Message(signature), created)
        } else {
            let Some(value) = joined(call.headers, "signature")? else { return Ok(None) };
            let signature = cavage::Signature::parse(&value)?;
            check_digest(&joined(call.headers, "digest")?.ok_or(Flaw("Digest is missing"))?, call.body)?;
            let date = joined(call.headers, "date")?.ok_or(Flaw("Date is missing"))?;
            (Signature::Cavage(signature), date_of(&date).ok_or(Flaw("Date cannot be read"))?)
        };
        if self.clock.now().abs_diff(signed_at) > SIGNATURE_AGE_MAX_SECONDS.unsigned_abs() {
            return Err(Unproven::Late);
        }
        Ok(Some((signature, signed_at)))
    }

    async fn proven(
        &self,
        call: &Presented<'_>,
        claims: &Claims,
        signature: &Signature,
        signed_at: Timestamp,
    ) -> std::result::Result<Believed, Unproven> {
        let origin = Origin::of(signature.key_id());
        let signer = claims.signers.iter().find(|server| origin.is(server.authority()));
        let signer = signer.ok_or_else(|| Unproven::OtherOrigin(origin.to_string()))?;
        // A share that lies at its sender: that server proves itself, and not whose the share is.
        if let Some(owner) = claims.owner.as_ref().filter(|owner| name_of(owner.host()) != name_of(signer.host()))
            && (self.signatures.mode == Signing::Required || self.has_signed(owner)?.is_some())
        {
            return Err(Unproven::OtherOrigin(origin.to_string()));
        }
        let candidate = self.key_of(signer, signature.key_id(), call.from).await?;
        let Some(algorithm) = self.fits(call, signature, &candidate.key)? else {
            return Err(if self.is_own_host(call.host) { Unproven::Wrong(candidate.host) } else { Unproven::OtherHost });
        };
        // Only now: what is not its server's fills no memory of ours.
        let until = signed_at.saturating_add(SIGNATURE_AGE_MAX_SECONDS);
        let bytes = algorithm.unchangeable(signature.bytes());
        let came = Came { host: &candidate.host, known: candidate.known, signature: bytes, until };
        self.signatures.seen.first(came, self.clock.now())?;
        Ok(candidate.believed())
    }

    /// By what a signature is of this call and of this key, if it is. Its client knew us by one of our names, and a proxy may have changed scheme, host and
    /// path: what was signed must be a URL of ours, and it does not matter by which it came.
    fn fits(&self, call: &Presented<'_>, signature: &Signature, key: &PublicKey) -> std::result::Result<Option<Algorithm>, Unproven> {
        let Some(algorithm) = signature.algorithm(key) else { return Ok(None) };
        let public = Url::parse(&self.public_url).ok();
        let authority = public.as_ref().map(|url| url.authority().to_owned()).unwrap_or_default();
        let prefix = public.as_ref().map(|url| url.path().trim_end_matches('/')).unwrap_or_default();
        let mut hosts = vec![authority];
        if self.is_own_host(call.host) && call.host != hosts.concat() {
            hosts.push(call.host.to_owned());
        }
        let mut paths = vec![call.path.to_owned()];
        if !prefix.is_empty() && href::strip_prefix(call.path, prefix).is_none() {
            paths.push([prefix, call.path].concat());
        }
        for scheme in ["https", "http"] {
            for (host, path) in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host, path))) {
                let request = Signed { method: call.method.as_str(), scheme, host, path, headers: call.headers };
                if key.verifies(algorithm, signature.text(&request)?.as_bytes(), signature.bytes()) {
                    return Ok(Some(algorithm));
                }
            }
        }
        Ok(None)
    }

    /// Whether `host[:port]` is a name of ours.
    fn is_own_host(&self, host: &str) -> bool {
        CloudId::parse(&["-@", host].concat()).is_ok_and(|address| self.is_ours(&address))
            || self.own_hosts.iter().any(|own| href::same_authority(own, host))
            || CloudId::at("-", &self.public_url).is_ok_and(|ours| href::same_authority(ours.authority(), host))
    }
}

/// Says that a call was not believed. Who looks for the reason finds it on both sides.
fn noted(unproven: Unproven, call: &Presented<'_>) -> Unproven {
    // Whether its key changed, or somebody pretends: an administrator decides.
    if matches!(unproven, Unproven::Wrong(_) | Unproven::Insecure(_) | Unproven::OtherOrigin(_)) {
        tracing::warn!(client.address = %call.from, error = %unproven, "a signed call of another server was refused");
    } else {
        tracing::info!(client.address = %call.from, error = %unproven, "a signed call of another server was refused");
    }
    unproven
}

fn date_of(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The signatures of a server that does not sign: for tests of what else there is.
#[cfg(test)]
impl Default for Signatures {
    fn default() -> Signatures {
        Signatures { mode: Signing::Off, published: None, seen: Seen::default(), kept: AtomicUsize::default() }
    }
}
