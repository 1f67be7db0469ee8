//! OPTIONS: what is offered. Finder mounts read-only without the `2`, Explorer looks for `MS-Author-Via` (`protocol/clients.md` 5).

use http::header::ALLOW;
use http::{HeaderValue, Response};

use crate::protocol::dav::request::empty;
use crate::wire::Body;

/// The methods, for `Allow`.
pub(super) const ALLOWED: &str = "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH, REPORT, MKCOL, COPY, MOVE, LOCK, UNLOCK";

/// The compliance classes (RFC 4918 18, RFC 5689 3.1).
pub(super) const CLASSES: &str = "1, 2, 3, extended-mkcol";

/// The same answer for every URL: clients ask before they know what is there.
pub(super) fn options() -> Response<Body> {
    let mut response = Response::new(empty());
    let headers = response.headers_mut();
    headers.insert("dav", HeaderValue::from_static(CLASSES));
    headers.insert("ms-author-via", HeaderValue::from_static("DAV"));
    headers.insert(ALLOW, HeaderValue::from_static(ALLOWED));
    headers.insert(http::header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}
