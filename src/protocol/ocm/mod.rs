//! Open Cloud Mesh, the face that other servers speak to: discovery, offers, notifications (`protocol/ocm.md`).
//!
//! **Invariants:** nothing here asks another server anything, so that an answer takes no longer however slow the other side is, but for a share
//! that is to be shared on, whose new receiver's server is asked; the discovery documents say only what is built, and are answered while everything else is closed, since ownCloud 11 drops mounts at a 5xx there
//! (`protocol/owncloud.md` 1.3).

mod discovery;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::{Value, json};

use crate::limits::OCM_BODY_BYTES_MAX;
use crate::service::Services;
use crate::service::federation::{Heard, NotTaken, Unheard};
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
}

impl Call {
    /// Reads a path below the root of the server; all of them also stand below `/index.php`.
    pub fn parse(path: &str) -> Option<Call> {
        match path {
            "/ocm-provider" | "/ocm-provider/" | "/ocm-provider/index.php" => Some(Call::Provider),
            "/.well-known/ocm" => Some(Call::WellKnown),
            "/ocm/shares" => Some(Call::Shares),
            "/ocm/notifications" => Some(Call::Notifications),
            _ => None,
        }
    }

    /// Whether it is answered while the server is closed.
    pub fn is_discovery(self) -> bool {
        matches!(self, Call::Provider | Call::WellKnown)
    }
}

/// Answers a call of another server, which came from an address.
pub async fn handle(request: Request<Body>, call: Call, services: &Services, from: IpAddr) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match call {
        Call::Provider if reads => answer(StatusCode::OK, &discovery::document(&services.options().public_url)),
        Call::WellKnown if reads => answer(StatusCode::OK, &discovery::well_known(&services.options().public_url)),
        Call::Provider | Call::WellKnown => not_allowed("GET, HEAD"),
        Call::Shares | Call::Notifications if request.method() != Method::POST => not_allowed("POST"),
        Call::Shares => match body(request).await {
            Ok(body) => shares(&body, services, from).await,
            Err(refusal) => *refusal,
        },
        Call::Notifications => match body(request).await {
            Ok(body) => notifications(&body, services, from).await,
            Err(refusal) => *refusal,
        },
    }
}

/// The answer of a server that is closed for now.
pub fn later() -> Response<Body> {
    wait(refuse(StatusCode::SERVICE_UNAVAILABLE, "not now; try again later"), LATER)
}

/// The body, whatever its type says it is.
async fn body(request: Request<Body>) -> Result<Bytes, Box<Response<Body>>> {
    match Limited::new(request.into_body(), OCM_BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_error) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, "the body is longer than 50000 bytes or broke off"))),
    }
}

async fn shares(body: &[u8], services: &Services, from: IpAddr) -> Response<Body> {
    let Some(share) = IncomingShare::parse(body) else { return refuse(StatusCode::BAD_REQUEST, "the body is no JSON object") };
    match services.federation().offered(&share, from).await {
        Ok(user) => {
            let recipient = json!({"recipientDisplayName": user.display_name, "recipientUserId": user.name.as_str()});
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

async fn notifications(body: &[u8], services: &Services, from: IpAddr) -> Response<Body> {
    let Some(told) = Notification::parse(body) else { return refuse(StatusCode::BAD_REQUEST, "the body is no JSON object") };
    match services.federation().notified(&told, from).await {
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
