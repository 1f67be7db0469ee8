//! Tokens in the place of secrets (`protocol/ocm.md` 1.5, code flow): given out for what we share, demanded of what is shared with us.
//!
//! A token is sealed with the key of this data folder, names its share, and holds for five minutes: nothing is stored, so that it outlives a start
//! and there is nothing to fill. **Invariants:** it opens what the secret opens, as long as that does; only a secret is exchanged, never a token;
//! without the key nothing is a token (attack L9).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::Federation;
use super::offers::{NotTaken, Wrong};
use crate::domain::{AuthScheme, CloudId, Offer, Secret, SentShare, ShareId};
use crate::service::Refusal;
use crate::service::passwords::hex;
use crate::service::secrets::{SealedIn, digest};
use crate::service::sharing::Closed;
use crate::wire::ocm::Webdav;

/// How long a token holds, in seconds (`protocol/ocm.md` 1.5).
const TOKEN_SECONDS: i64 = 300;
/// Bytes of what a token is of, at most.
const TOKEN_TEXT_BYTES_MAX: usize = 256;
/// What another server demands by this is that its secret is exchanged before it opens anything.
const MUST_EXCHANGE: &str = "must-exchange-token";

/// A token that was given out.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// What is sent as Bearer.
    pub token: Secret,
    /// How long it holds.
    pub seconds: i64,
}

/// Why none is given out (RFC 6749 5.2).
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    /// Something is missing.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The grant is another one.
    #[error("grant_type is authorization_code")]
    UnsupportedGrant,
    /// The secret opens nothing.
    #[error("the code is the secret of no share")]
    InvalidGrant,
    /// Another server has the share.
    #[error("client_id is not the server that the share was sent to")]
    InvalidClient,
    /// Too many wrong secrets came from there.
    #[error("too many requests that could not be met; try again later")]
    Throttled(Duration),
    /// It is closed for now, or the machine fails.
    #[error("not now; try again later")]
    Later,
}

/// What another server asks for a token with.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `grant_type`.
    pub grant: String,
    /// `client_id`: the host of the asking server.
    pub client: String,
    /// `code`: the secret of the share.
    pub code: Secret,
}

impl Federation {
    /// Exchanges the secret of a share that we sent.
    ///
    /// # Errors
    /// [`NoToken`]. A wrong secret counts as a guess.
    pub fn exchange(&self, asked: &TokenRequest, from: IpAddr) -> Result<IssuedToken, NoToken> {
        if let Some(wait) = self.calls.address_waits(from) {
            return Err(NoToken::Throttled(wait));
        }
        // The second one is what reva called it before the specification did.
        if !matches!(asked.grant.as_str(), "authorization_code" | "ocm_share") {
            return Err(if asked.grant.is_empty() { NoToken::InvalidRequest("grant_type is missing") } else { NoToken::UnsupportedGrant });
        }
        if asked.code.is_empty() {
            return Err(NoToken::InvalidRequest("code is missing"));
        }
        let sent = self.sent.opened_by(asked.code.expose()).ok_or(Closed::Unknown);
        let sent = sent.and_then(|sent| self.opened_sent(&sent).map(|_share| sent)).map_err(|closed| match closed {
            Closed::Unknown => {
                self.guessed(from);
                NoToken::InvalidGrant
            }
            Closed::Disabled | Closed::UsedUp | Closed::NeedsPassword | Closed::WrongPassword | Closed::Throttled(_) | Closed::Busy => {
                NoToken::Later
            }
        })?;
        if !asked.client.is_empty() && !is_host_of(&asked.client, &sent.to) {
            return Err(NoToken::InvalidClient);
        }
        let token = self.seal_token(&sent).map_err(|error| {
            tracing::error!(%error, share.id = sent.share.0, "a token cannot be made");
            NoToken::Later
        })?;
        Ok(IssuedToken { token, seconds: TOKEN_SECONDS })
    }

    fn seal_token(&self, sent: &SentShare) -> Result<Secret, Refusal> {
        let text = Secret::new(format!("{}:{}", self.clock.now().saturating_add(TOKEN_SECONDS), fingerprint(sent)));
        let sealed = self.vault.seal(SealedIn::Token(sent.share), &text)?;
        let ShareId(id) = sent.share;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode([&id.to_be_bytes()[..], &sealed].concat())))
    }

    /// The share that a token is of; an error for one whose time is over. None where it is no token of ours.
    pub(super) fn of_token(&self, text: &str) -> Option<Result<Arc<SentShare>, Closed>> {
        if text.len() > TOKEN_TEXT_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, sealed) = bytes.split_first_chunk::<8>()?;
        let share = ShareId(u64::from_be_bytes(*id));
        let told = self.vault.open_sealed(SealedIn::Token(share), sealed).ok()?;
        let (until, of) = told.expose().split_once(':')?;
        let until: i64 = until.parse().ok()?;
        let sent = self.sent.get(share).filter(|sent| fingerprint(sent) == of && until > self.clock.now());
        Some(sent.ok_or(Closed::Unknown))
    }

    /// Whether a text is a token of ours whose time is over: no guess, and answered like one, so that another one is asked for.
    pub fn is_worn_token(&self, text: &str) -> bool {
        matches!(self.of_token(text), Some(Err(_)))
    }

    /// Judges an offer whose secret must be exchanged: its server must say where. It is asked for that, which happens for no other offer; not
    /// without end (attack F8), and whatever it answers, a stranger is told one thing (attack F9).
    pub(super) async fn can_exchange(&self, offer: &Offer, from: IpAddr) -> Result<(), NotTaken> {
        if offer.scheme != AuthScheme::Exchanged {
            return Ok(());
        }
        // What is known from before makes nobody knock.
        if !self.remotes.knows_peer(offer.server()) {
            if let Some(wait) = self.knocks.address_waits(from) {
                return Err(NotTaken::Throttled(wait));
            }
            self.knocks.failed(from, "token end point");
        }
        self.remotes.token_end_point(offer.server()).await.map(drop).map_err(|error| {
            // It may say so tomorrow.
            self.remotes.forget_peer(offer.server());
            tracing::info!(remote.host = offer.server().host(), %error, "a share whose secret must be exchanged cannot be taken");
            let why = "demands must-exchange-token, and no tokenEndPoint is found on the server that offers it";
            NotTaken::Invalid(Wrong { field: "protocol.webdav.requirements", why })
        })
    }
}

/// How the secret of an offered share is sent, as far as its server demands something; what else it demands is refused. An exchange is signed
/// (`protocol/ocm.md` 1.5): who does not sign could not open such a share.
pub(super) fn scheme_of(webdav: &Webdav, signs: bool) -> Result<AuthScheme, NotTaken> {
    match webdav.requirements.iter().find(|requirement| *requirement != MUST_EXCHANGE).map(String::as_str) {
        Some("must-use-mfa") => {
            Err(NotTaken::Unsupported("a second factor is not known here: offer it without the requirement must-use-mfa"))
        }
        Some(_) => Err(NotTaken::Unsupported("the share has a requirement that is not known here")),
        None if webdav.requirements.is_empty() => Ok(AuthScheme::Basic),
        None if webdav.uri.is_none() => Err(NotTaken::Unsupported("a share with requirements needs protocol.webdav.uri")),
        None if !signs => Err(NotTaken::Unsupported("tokens are not exchanged here: offer it without the requirement must-exchange-token")),
        None => Ok(AuthScheme::Exchanged),
    }
}

/// What ties a token to the secret that it was given for, and tells nothing of it.
fn fingerprint(sent: &SentShare) -> String {
    hex(digest(sent.secret.expose()).get(..8).unwrap_or_default())
}

/// Whether a `client_id` names the server of an address. It is a host, often without its port, and from some with a scheme.
fn is_host_of(client: &str, server: &CloudId) -> bool {
    let host = |url: &str| Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_ascii_lowercase));
    let named = if client.contains("://") { host(client) } else { host(&["https://", client].concat()) };
    named.is_some() && named == host(&server.url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_host() {
        let server = CloudId::parse("bob@http://B.example:8080/cloud").unwrap();
        for client in ["b.example", "b.example:8080", "https://b.example", "B.EXAMPLE:9", "http://b.example/cloud"] {
            assert!(is_host_of(client, &server), "{client}");
        }
        for client in ["", "c.example", "b.example.evil", "://", "a b"] {
            assert!(!is_host_of(client, &server), "{client}");
        }
    }

    #[test]
    fn f11_requirements_are_met_or_refused() {
        let scheme = |requirements: &[&str], uri: Option<&str>| {
            let requirements = requirements.iter().map(ToString::to_string).collect();
            let webdav = Webdav { secret: Secret::new("s"), uri: uri.map(str::to_owned), permissions: None, requirements };
            let unsigned = scheme_of(&webdav, false);
            assert!(webdav.requirements.is_empty() || matches!(unsigned, Err(NotTaken::Unsupported(_))), "an exchange is signed");
            scheme_of(&webdav, true).ok()
        };
        let uri = Some("https://a.example/dav");
        assert_eq!(scheme(&[], None), Some(AuthScheme::Basic));
        assert_eq!(scheme(&[MUST_EXCHANGE], uri), Some(AuthScheme::Exchanged));
        assert_eq!(scheme(&[MUST_EXCHANGE], None), None);
        assert_eq!(scheme(&[MUST_EXCHANGE, "must-use-mfa"], uri), None);
        assert_eq!(scheme(&["must-fly"], uri), None);
    }
}
