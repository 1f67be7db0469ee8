//! Open Cloud Mesh, the face that other servers speak to: discovery, offers, notifications, invitations (`protocol/ocm.md`).
//!
//! **Invariants:** nothing here asks another server anything, so that an answer takes no longer however slow the other side is, but for a share
//! that is to be shared on, whose new receiver's server is asked, for the key of a server that signs for the first time, and for where an offered
//! secret is to be exchanged; the discovery documents say only what is built, and are answered while everything else is closed, since ownCloud 11 drops mounts at a 5xx there
//! (`protocol/owncloud.md` 1.3).

mod discovery;
mod invites;
mod published;
mod signed;
mod token;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::{Value, json};

use self::signed::Came;
use crate::limits::OCM_BODY_BYTES_MAX;
use crate::service::Services;
use crate::service::federation::{Caller, Heard, NotTaken, Unheard};
use crate::wire::Body;
use crate::wire::ocm::{IncomingShare, Notification};

/// What other servers wait before they try again, where nothing better is known.
const LATER: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The discovery document where ownCloud and Nextcloud look for it.
    Provider,
    /// The discovery document where OCM 1.2 and later look for it.
    WellKnown,
    /// `POST /ocm/shares`: a share is offered.
    Shares,
    /// `POST /ocm/notifications`: something is told of a share.
    Notifications,
    /// `POST /ocm/invite-accepted`: somebody takes an invitation up.
    InviteAccepted,
    /// `POST /ocm/token`: the secret of a share is exchanged for a token.
    Token,
    /// The keys by which our calls are signed, as a JWKS.
    Jwks,
}

impl Call {
    /// Reads a path below the root of the server; all of them also stand below `/index.php`.
    pub fn parse(path: &str) -> Option<Call> {
        match path {
            "/ocm-provider" | "/ocm-provider/" | "/ocm-provider/index.php" => Some(Call::Provider),
            "/.well-known/ocm" => Some(Call::WellKnown),
            "/.well-known/jwks.json" => Some(Call::Jwks),
            "/ocm/token" => Some(Call::Token),
            "/ocm/shares" => Some(Call::Shares),
            "/ocm/notifications" => Some(Call::Notifications),
            "/ocm/invite-accepted" => Some(Call::InviteAccepted),
            _ => None,
        }
    }

    /// Whether it is answered while the server is closed.
    pub fn is_discovery(self) -> bool {
        matches!(self, Call::Provider | Call::WellKnown | Call::Jwks)
    }
}

/// Answers a call of another server, which came from an address.
pub async fn handle(request: Request<Body>, call: Call, services: &Services, from: IpAddr) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match call {
        Call::Provider if reads => {
            answer(StatusCode::OK, &published::provider(discovery::document(&services.options().public_url), services))
        }
        Call::WellKnown if reads => {
            answer(StatusCode::OK, &published::well_known(discovery::well_known(&services.options().public_url), services))
        }
        Call::Jwks if reads => match published::jwks(services) {
            Some(keys) => answer(StatusCode::OK, keys),
            None => refuse(StatusCode::NOT_FOUND, "calls between servers are not signed here"),
        },
        Call::Provider | Call::WellKnown | Call::Jwks => not_allowed("GET, HEAD"),
        Call::Shares | Call::Notifications | Call::InviteAccepted | Call::Token if request.method() != Method::POST => not_allowed("POST"),
        Call::Shares => match came(request, from).await {
            Ok(call) => shares(&call, services).await,
            Err(refusal) => *refusal,
        },
        Call::Notifications => match came(request, from).await {
            Ok(call) => notifications(&call, services).await,
            Err(refusal) => *refusal,
        },
        Call::Token => match came(request, from).await {
            Ok(call) => token::exchange(&call, services).await,
            Err(refusal) => *refusal,
        },
        Call::InviteAccepted => match came(request, from).await {
            Ok(call) => invites::accepted(&call, services).await,
            Err(refusal) => *refusal,
        },
    }
}

/// The answer of a server that is closed for now.
pub fn later() -> Response<Body> {
    wait(refuse(StatusCode::SERVICE_UNAVAILABLE, "not now; try again later"), LATER)
}

/// The call with its whole body, whatever its type says it is.
async fn came(request: Request<Body>, from: IpAddr) -> Result<Came, Box<Response<Body>>> {
    let (head, body) = request.into_parts();
    match Limited::new(body, OCM_BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(Came { head, body: body.to_bytes(), from }),
        Err(_error) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, "the body is longer than 50000 bytes or broke off"))),
    }
}

async fn shares(call: &Came, services: &Services) -> Response<Body> {
    let Some(share) = IncomingShare::parse(&call.body) else { return refuse(StatusCode::BAD_REQUEST, "the body is no JSON object") };
    let believed = match call.believe(services, &services.federation().claims_of_offer(&share)).await {
        Ok(believed) => believed,
        Err(refused) => return *refused,
    };
    let caller = Caller { address: call.from, signed: believed.is_signed() };
    match services.federation().offered(&share, caller).await {
        Ok(to) => {
            services.federation().keep_keys(believed).await;
            let recipient = json!({"recipientDisplayName": to.name, "recipientUserId": to.id});
            answer(StatusCode::CREATED, &recipient)
        }
        Err(problem) => {
            let text = problem.to_string();
            match problem {
                NotTaken::Invalid(wrong) => {
                    let errors = json!([{"name": wrong.field, "message": wrong.why}]);
                    answer(StatusCode::BAD_REQUEST, &json!({"message": text, "validationErrors": errors}))
                }
                NotTaken::NotAllowed => refuse(StatusCode::FORBIDDEN, &text),
                NotTaken::NoSuchUser => refuse(StatusCode::BAD_REQUEST, &text),
                NotTaken::Unsupported(_) => refuse(StatusCode::NOT_IMPLEMENTED, &text),
                NotTaken::Full => wait(refuse(StatusCode::SERVICE_UNAVAILABLE, &text), LATER),
                NotTaken::Throttled(time) => wait(refuse(StatusCode::TOO_MANY_REQUESTS, &text), time),
                NotTaken::Failed(refusal) => failed(&refusal.text),
            }
        }
    }
}

async fn notifications(call: &Came, services: &Services) -> Response<Body> {
    let Some(told) = Notification::parse(&call.body) else { return refuse(StatusCode::BAD_REQUEST, "the body is no JSON object") };
    let believed = match call.believe(services, &services.federation().claims_of_notification(&told)).await {
        Ok(believed) => believed,
        Err(refused) => return *refused,
    };
    let heard = services.federation().notified(&told, call.from).await;
    if heard.is_ok() {
        services.federation().keep_keys(believed).await;
    }
    match heard {
        Ok(Heard::Done) => answer(StatusCode::CREATED, &json!({})),
        // Nextcloud reads `token`, ownCloud `sharedSecret` (`protocol/ocm.md` 1.6).
        Ok(Heard::Reshared { id, secret }) => {
            let secret = secret.expose();
            answer(StatusCode::CREATED, &json!({"token": secret, "sharedSecret": secret, "providerId": id}))
        }
        Err(problem) => {
            let text = problem.to_string();
            match problem {
                Unheard::Invalid(_) => refuse(StatusCode::BAD_REQUEST, &text),
                Unheard::NoSuchShare | Unheard::Refused(_) => refuse(StatusCode::FORBIDDEN, &text),
                Unheard::Unsupported => refuse(StatusCode::NOT_IMPLEMENTED, &text),
                Unheard::Throttled(time) => wait(refuse(StatusCode::TOO_MANY_REQUESTS, &text), time),
                Unheard::Failed(refusal) => failed(&refusal.text),
            }
        }
    }
}

/// A fault of ours: never one that lets the other side take the share for refused.
fn failed(why: &str) -> Response<Body> {
    tracing::error!(error = why, "a call of another server could not be met");
    later()
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    answer(status, &json!({"message": message, "validationErrors": []}))
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "this address does not know the method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn wait(mut response: Response<Body>, time: Duration) -> Response<Body> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(time.as_secs().max(1)));
    response
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
