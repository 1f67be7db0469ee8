//! `POST /ocm/token`: another server exchanges the secret of a share for a token (`protocol/ocm.md` 1.5, RFC 6749 4.1.3 and 5).

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::signed::Came;
use super::{LATER, answer, wait};
use crate::domain::Secret;
use crate::service::Services;
use crate::service::federation::{NoToken, TokenRequest};
use crate::wire::Body;

/// Answers an exchange.
pub(super) async fn exchange(call: &Came, services: &Services) -> Response<Body> {
    let fields = || form_urlencoded::parse(&call.body);
    let field = |name: &str| fields().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap_or_default();
    let asked = TokenRequest { grant: field("grant_type"), client: field("client_id"), code: Secret::new(field("code")) };
    let federation = services.federation();
    let believed = match call.believe(services, &federation.claims_of_code(asked.code.expose())).await {
        Ok(believed) => believed,
        Err(refused) => return *refused,
    };
    let mut response = match federation.exchange(&asked, call.from) {
        Ok(issued) => {
            federation.keep_keys(believed).await;
            answer(StatusCode::OK, &json!({"access_token": issued.token.expose(), "token_type": "Bearer", "expires_in": issued.seconds}))
        }
        Err(problem) => refused(&problem),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(problem: &NoToken) -> Response<Body> {
    let told = |status, error: &str| answer(status, &json!({"error": error, "error_description": problem.to_string()}));
    match problem {
        NoToken::InvalidRequest(_) => told(StatusCode::BAD_REQUEST, "invalid_request"),
        NoToken::UnsupportedGrant => told(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        NoToken::InvalidGrant => told(StatusCode::BAD_REQUEST, "invalid_grant"),
        NoToken::InvalidClient => told(StatusCode::BAD_REQUEST, "invalid_client"),
        NoToken::Throttled(time) => wait(told(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"), *time),
        NoToken::Later => wait(told(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"), LATER),
    }
}
