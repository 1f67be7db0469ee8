//! Answers that come before any protocol: refused logins, unknown roots, faults. Every text in them is fixed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::wire::Body;

/// The challenge of every root (RFC 7617 2.1).
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Causeway\", charset=\"UTF-8\"");
const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The error body that sync clients read (`protocol/clients.md`), with fixed words.
macro_rules! sabre {
    ($exception:literal, $message:literal) => {
        concat!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">\n  <s:exception>Sabre\\DAV\\Exception\\",
            $exception,
            "</s:exception>\n  <s:message>",
            $message,
            "</s:message>\n</d:error>\n"
        )
    };
}

/// An answer with a fixed body.
pub(super) fn fixed(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A line of text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    fixed(status, PLAIN, body)
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    fixed(status, HeaderValue::from_static("application/json"), value.to_string())
}

/// 401 with the challenge.
pub(super) fn unauthorized() -> Response<Body> {
    let mut response = fixed(StatusCode::UNAUTHORIZED, XML, sabre!("NotAuthenticated", "Name or password are missing or wrong."));
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// 404.
pub(super) fn not_found() -> Response<Body> {
    fixed(StatusCode::NOT_FOUND, XML, sabre!("NotFound", "There is nothing here."))
}

/// 405 with what may be done instead.
pub(super) fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = fixed(StatusCode::METHOD_NOT_ALLOWED, XML, sabre!("MethodNotAllowed", "This is not the root of a tree."));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 429: too many wrong passwords.
pub(super) fn throttled(wait: Duration) -> Response<Body> {
    let response = fixed(StatusCode::TOO_MANY_REQUESTS, XML, sabre!("TooManyRequests", "Too many failed logins. Try again later."));
    retry_after(response, wait)
}

/// 503: not now.
pub(super) fn unavailable(wait: Duration) -> Response<Body> {
    retry_after(fixed(StatusCode::SERVICE_UNAVAILABLE, XML, sabre!("ServiceUnavailable", "Not now. Try again soon.")), wait)
}

/// How long visitors wait before they ask again for a link whose owner is disabled.
pub(super) const DISABLED_WAIT: Duration = Duration::from_secs(120);

/// 508: the request came back to us.
pub(super) fn loop_detected() -> Response<Body> {
    fixed(StatusCode::LOOP_DETECTED, XML, sabre!("LoopDetected", "The mounts of these servers form a loop."))
}

/// 413: the upload is over the bound.
pub(super) fn too_large() -> Response<Body> {
    fixed(StatusCode::PAYLOAD_TOO_LARGE, XML, sabre!("EntityTooLarge", "The file is larger than this server takes."))
}

/// 431: the headers are over the bound.
pub(super) fn headers_too_large() -> Response<Body> {
    text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large.\n")
}

/// 500: a fault of ours.
pub(super) fn fault() -> Response<Body> {
    fixed(StatusCode::INTERNAL_SERVER_ERROR, XML, sabre!("InternalServerError", "A fault of this server. It was logged."))
}

/// With the time after which to try again.
pub(super) fn retry_after(mut response: Response<Body>, wait: Duration) -> Response<Body> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}
