//! Whether a call is believed, before anything is done for it: what is said to servers whose calls are not.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{HOST, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{LATER, answer, failed, wait};
use crate::service::Services;
use crate::service::federation::{Believed, Claims, Presented, Unproven};
use crate::wire::Body;

/// The head of a call, its body, and where it came from.
pub(super) struct Came {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) from: IpAddr,
}

impl Came {
    /// Judges the call by the servers that it speaks for. Who is believed has their keys kept once something came of the call.
    pub(super) async fn believe(&self, services: &Services, claims: &Claims) -> Result<Believed, Box<Response<Body>>> {
        let named = || self.head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let presented = Presented {
            method: &self.head.method,
            path: self.head.uri.path_and_query().map_or("/", |path| path.as_str()),
            // Of HTTP/2 it stands in the URL.
            host: self.head.uri.authority().map(|host| host.as_str()).or_else(named).unwrap_or_default(),
            headers: &self.head.headers,
            body: &self.body,
            from: self.from,
        };
        services.federation().believe(&presented, claims).await.map_err(|unproven| Box::new(refused(&unproven)))
    }
}

/// What is answered. `error` is what callers of the token endpoint read (RFC 6749 5.2).
fn refused(unproven: &Unproven) -> Response<Body> {
    let text = unproven.to_string();
    let told = |status| {
        answer(status, &json!({"message": text, "validationErrors": [], "error": "unauthorized_client", "error_description": text}))
    };
    match unproven {
        Unproven::Demanded
        | Unproven::Downgraded(_)
        | Unproven::Flawed(_)
        | Unproven::Late
        | Unproven::Wrong(_)
        | Unproven::NoKey(_)
        | Unproven::Replayed => {
            let mut response = told(StatusCode::UNAUTHORIZED);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature realm=\"ocm\""));
            response
        }
        Unproven::OtherHost | Unproven::OtherOrigin(_) | Unproven::Insecure(_) => told(StatusCode::FORBIDDEN),
        Unproven::Unreachable => wait(told(StatusCode::SERVICE_UNAVAILABLE), LATER),
        Unproven::Throttled(time) => wait(told(StatusCode::TOO_MANY_REQUESTS), *time),
        Unproven::Failed(refusal) => failed(&refusal.text),
    }
}
