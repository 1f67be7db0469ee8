//! `status.php`, the first thing that clients ask, and `config`, which tells old ones where they are.

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};

use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::Value;
use crate::service::Services;
use crate::wire::Body;

/// The state of the server, for `status.php` and the capabilities.
pub(super) fn fields(services: &Services) -> Value {
    let version = services.options().client_version;
    Value::map([
        ("installed", true.into()),
        ("maintenance", services.maintenance().is_on().into()),
        ("needsDbUpgrade", false.into()),
        ("version", version.to_string().into()),
        ("versionstring", version.short().into()),
        ("edition", "".into()),
        ("productname", "Causeway".into()),
        ("product", "Causeway".into()),
        ("extendedSupport", false.into()),
    ])
}

/// `GET /status.php`: any page may read it, as with the servers that clients know (`protocol/nextcloud.md` 3.3).
pub fn status(services: &Services) -> Response<Body> {
    let body = serde_json::to_vec(&fields(services)).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `config`: needs no login (`protocol/owncloud.md` 4).
pub(super) fn config(call: &Call) -> Value {
    let (scheme, rest) = call.services.options().public_url.split_once("://").unwrap_or(("http", ""));
    let host = rest.split('/').next().unwrap_or_default().to_owned();
    let ssl = if scheme == "https" { "true" } else { "false" };
    Value::map([
        ("version", "1.7".into()),
        ("website", "Causeway".into()),
        ("host", host.into()),
        ("contact", "".into()),
        ("ssl", ssl.into()),
    ])
}
