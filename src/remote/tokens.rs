//! Secrets that their server wants to be exchanged for tokens before they open anything (`protocol/ocm.md` 1.5, code flow).
//!
//! **Invariants:** a token is never written down, and is sent nowhere but where the secret would be; the secret goes only to the host of the share;
//! requests of one share wait for one exchange, and none for longer than [`OCM_TIMEOUT`].

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout, timeout_at};
use url::form_urlencoded::Serializer;

use crate::domain::{CloudId, Secret};
use crate::limits::{OCM_TIMEOUT, OCM_TOKEN_BYTES_MAX, OCM_TOKEN_SECONDS_MAX, OCM_TOKENS_MAX};
use crate::remote::signing::Style;
use crate::remote::{Credentials, Error, Remotes, same_host};

/// How long a token holds whose server does not say.
const UNSAID: Duration = Duration::from_secs(300);
/// How long before its end a token is not used any more, at most.
const EARLIER: Duration = Duration::from_secs(30);

/// How long an exchange that failed is not tried again: whoever waited for it would fail as well, one after another.
const FAILED: Duration = Duration::from_secs(3);

/// One token, or why there is none.
type Held = Arc<tokio::sync::Mutex<State>>;

#[derive(Default)]
enum State {
    /// Nobody has asked.
    #[default]
    Nothing,
    /// A token, and until when it is used.
    Token(Secret, Instant),
    /// The last exchange failed, and when it may be tried again.
    Failed(Error, Instant),
}

/// What a token is known by: the URL of its server, and SHA-256 of the secret.
type Known = (Box<str>, [u8; 32]);

/// The tokens that are held.
#[derive(Default)]
pub(super) struct Tokens {
    held: Mutex<HashMap<Known, Held>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tokens(..)")
    }
}

impl Tokens {
    fn of(&self, server: &str, secret: &Secret) -> Held {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Box::from(server), Sha256::digest(secret.expose()).into());
        if let Some(known) = held.get(&key) {
            return Arc::clone(known);
        }
        if held.len() >= OCM_TOKENS_MAX {
            // Those that nobody waits for: a token that is wanted again is asked for again.
            held.retain(|_, known| Arc::strong_count(known) > 1);
        }
        Arc::clone(held.entry(key).or_default())
    }
}

impl Remotes {
    /// The token of a secret, asked for where there is none that still holds.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where the server does not know the secret any more.
    ///
    /// Boxed, and without its type: a call asks for a token, and asking for one is a call.
    pub(super) fn token<'a>(&'a self, credentials: &'a Credentials) -> Pin<Box<dyn Future<Output = Result<Secret, Error>> + Send + 'a>> {
        Box::pin(self.held_token(credentials))
    }

    async fn held_token(&self, credentials: &Credentials) -> Result<Secret, Error> {
        let server = credentials.server.as_deref().ok_or(Error::BadAnswer("the server of the share is not known"))?;
        let held = self.inner.tokens.of(server, &credentials.login);
        // For the turn and the exchange together: somebody waits.
        let until = Instant::now() + OCM_TIMEOUT;
        let silent = || Error::Unreachable { retry_after: OCM_TIMEOUT };
        let mut held = timeout_at(until, held.lock()).await.map_err(|_elapsed| silent())?;
        match &*held {
            State::Token(token, until) if *until > Instant::now() => return Ok(token.clone()),
            State::Failed(error, until) if *until > Instant::now() => return Err(error.clone()),
            State::Nothing | State::Token(..) | State::Failed(..) => {}
        }
        match timeout_at(until, self.exchange(server, &credentials.login)).await.unwrap_or_else(|_elapsed| Err(silent())) {
            Ok((token, holds)) => {
                let used = holds.saturating_sub(EARLIER.min(holds / 4));
                *held = State::Token(token.clone(), Instant::now() + used);
                Ok(token)
            }
            Err(error) => {
                *held = State::Failed(error.clone(), Instant::now() + FAILED);
                Err(error)
            }
        }
    }

    /// Lets go of a token that was refused, if it is still the one that is held.
    pub(super) async fn drop_token(&self, credentials: &Credentials, refused: &Secret) {
        let Some(server) = credentials.server.as_deref() else { return };
        let held = self.inner.tokens.of(server, &credentials.login);
        // Whoever holds it for longer exchanges the secret anew already.
        if let Ok(mut held) = timeout(OCM_TIMEOUT, held.lock()).await
            && matches!(&*held, State::Token(token, _) if token == refused)
        {
            *held = State::Nothing;
        }
    }

    /// Where the server of an address exchanges secrets.
    ///
    /// # Errors
    /// Where it cannot be asked, or does not exchange any.
    pub async fn token_end_point(&self, server: &CloudId) -> Result<String, Error> {
        let peer = self.peer(server).await?;
        let named = peer.ocm.as_ref().and_then(|ocm| ocm.announced.token_end_point.clone());
        let named = named.ok_or(Error::BadAnswer("it does not say where it exchanges tokens"))?;
        same_host(&peer.url, &named)?;
        Ok(named)
    }

    /// Exchanges a secret; gives the token and how long it holds.
    async fn exchange(&self, server: &str, secret: &Secret) -> Result<(Secret, Duration), Error> {
        let address = CloudId::at("-", server).map_err(|_error| Error::BadAnswer("its address cannot be used"))?;
        let place = self.token_end_point(&address).await?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", &self.own_host())
            .append_pair("code", secret.expose())
            .finish();
        let answer = self.post_signed(Style::Message, &place, "application/x-www-form-urlencoded", Bytes::from(form)).await?;
        let status = answer.status();
        if status == StatusCode::OK || status == StatusCode::CREATED {
            return read(&answer.page(self).await?);
        }
        let error = Error::from_status(status, answer.headers());
        if matches!(error, Error::Busy { .. } | Error::Throttled { .. }) {
            return Err(error);
        }
        // Nextcloud says it with 401. Only this means that the share is gone: a signature that is refused does not.
        if refusal(&answer.page(self).await?).as_deref() == Some("invalid_grant") {
            return Err(Error::Unauthorized);
        }
        // The endpoint may have moved.
        self.forget_peer(&address);
        tracing::warn!(remote.host = address.host(), status = status.as_u16(), "another server does not exchange the secret of a share");
        Err(Error::BadAnswer("it does not exchange the secret of the share"))
    }
}

fn refusal(page: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(page).ok()?.get("error")?.as_str().map(str::to_owned)
}

/// Reads an answer of a token endpoint (RFC 6749 5.1).
fn read(page: &[u8]) -> Result<(Secret, Duration), Error> {
    let body: Value = serde_json::from_slice(page).map_err(|_error| Error::BadAnswer("it is not JSON"))?;
    let bearer = body.get("token_type").and_then(Value::as_str).is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let token = body.get("access_token").and_then(Value::as_str).unwrap_or_default();
    let fits = !token.is_empty() && token.len() <= OCM_TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !bearer || !fits {
        return Err(Error::BadAnswer("it gives no token that can be used"));
    }
    let holds = body.get("expires_in").and_then(Value::as_u64).map_or(UNSAID, Duration::from_secs);
    Ok((Secret::new(token), holds.min(Duration::from_secs(OCM_TOKEN_SECONDS_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AuthScheme, RemoteTrust};
    use crate::remote::{Names, Policy, Timeouts};

    fn near(host: &str) -> Remotes {
        let trust = RemoteTrust { host: host.to_owned(), fingerprints: Vec::new(), authorities: Vec::new(), allow_private: true };
        let policy = Policy { instance_id: "oc".to_owned(), trust: vec![trust], names: Names::Fixed(Arc::default()) };
        Remotes::new(policy, Timeouts::default()).examining(Timeouts::default())
    }

    fn exchanged(server: &str) -> Credentials {
        Credentials::of_offer(Secret::new("s"), AuthScheme::Exchanged).at_server(server)
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_token_waits_no_longer_than_one_call() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        // It takes connections, and never answers.
        let (remotes, credentials) = (near(&host), exchanged(&format!("http://{host}")));
        let begun = Instant::now();
        let (one, two, three) = tokio::join!(remotes.token(&credentials), remotes.token(&credentials), remotes.token(&credentials));
        for waited in [one, two, three] {
            assert!(matches!(waited, Err(Error::Unreachable { .. })));
        }
        assert!(begun.elapsed() <= OCM_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn an_exchange_that_failed_is_not_tried_again_at_once() {
        let (remotes, credentials) = (near("peer.example"), exchanged("https://peer.example"));
        assert!(remotes.token(&credentials).await.is_err());
        let asked = remotes.heard().len();
        assert!(asked > 0);
        assert!(remotes.token(&credentials).await.is_err());
        assert_eq!(remotes.heard().len(), asked);
    }

    #[test]
    fn answers_of_token_endpoints_are_bounded() {
        let check = |body: &str, expected: Option<(&str, u64)>| {
            let read = read(body.as_bytes()).ok().map(|(token, holds)| (token.expose().to_owned(), holds.as_secs()));
            assert_eq!(read, expected.map(|(token, holds)| (token.to_owned(), holds)), "{body}");
        };
        check(r#"{"access_token":"abc","token_type":"Bearer","expires_in":300}"#, Some(("abc", 300)));
        check(r#"{"access_token":"abc","token_type":"bearer"}"#, Some(("abc", 300)));
        check(r#"{"access_token":"abc","expires_in":999999999999}"#, Some(("abc", OCM_TOKEN_SECONDS_MAX)));
        check(r#"{"access_token":"abc","expires_in":0}"#, Some(("abc", 0)));
        for bad in [r#"{"access_token":"a b"}"#, r#"{"access_token":""}"#, r#"{"access_token":"a","token_type":"mac"}"#, "{}", "[]", ""] {
            check(bad, None);
        }
        check(&format!(r#"{{"access_token":"{}"}}"#, "x".repeat(OCM_TOKEN_BYTES_MAX + 1)), None);
        assert_eq!(refusal(br#"{"error":"invalid_grant"}"#).as_deref(), Some("invalid_grant"));
    }
}
