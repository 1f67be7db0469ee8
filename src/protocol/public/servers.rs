//! What other servers, and pages on their behalf, ask beside a link: where things are, and whether an address is a server of theirs.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::remote::Scheme;
use crate::wire::Body;

/// What mounting servers find here, below the address of the server. Only what exists: servers take the usual place of what is not named,
/// and meet 404 there (`protocol/owncloud.md` 3.1).
const PROVIDER: &str = concat!(
    r#"{"version":2,"services":{"FEDERATED_SHARING":{"version":1,"endpoints":"#,
    r#"{"share":"/ocs/v2.php/cloud/shares","webdav":"/public.php/webdav/"}}}}"#
);

/// `/ocs-provider/`: ownCloud 8.2 and later, and Nextcloud, find the WebDAV root of links here, and whether anybody is alive: a `version`
/// beside a link that is not there any more means to them that it is gone for good. It therefore never fails.
pub fn provider() -> Response<Body> {
    fixed("application/json; charset=utf-8", PROVIDER)
}

/// `testremote`: how a server can be reached that a visitor named, as ownCloud 7 says it.
pub fn reachable(scheme: Option<Scheme>) -> Response<Body> {
    fixed(
        "text/plain; charset=utf-8",
        match scheme {
            Some(Scheme::Https) => "https",
            Some(Scheme::Http) => "http",
            None => "false",
        },
    )
}

fn fixed(media: &'static str, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Where a link of ownCloud 7, `/public.php?service=files&t=TOKEN`, stands today, below the address of the server; none where the query is
/// no such link. Its `download` and its `path` come along.
pub fn page_of_old_link(query: &str) -> Option<String> {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let field = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
    let token = field("t").filter(|token| !token.is_empty() && field("service") == Some("files"))?;
    let download = if field("download").is_some() { "/download" } else { "" };
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let path = field("path").map(|path| format!("?path={}", encoded(path))).unwrap_or_default();
    Some(format!("/index.php/s/{}{download}{path}", encoded(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Option<&str>) {
        assert_eq!(page_of_old_link(query).as_deref(), expected, "{query}");
    }

    #[test]
    fn links_of_owncloud_7_lead_to_their_pages() {
        check("service=files&t=a1B2", Some("/index.php/s/a1B2"));
        check("service=files&t=a1B2&download", Some("/index.php/s/a1B2/download"));
        check("t=a1B2&path=%2Fsub%20x&service=files", Some("/index.php/s/a1B2?path=%2Fsub%20x"));
        for query in ["", "service=files", "service=files&t=", "t=a1B2", "service=calendar&t=a1B2"] {
            check(query, None);
        }
        // What is no token leads to no other place.
        check("service=files&t=../../x%0d%0aset-cookie:%20a", Some("/index.php/s/%2E%2E%2F%2E%2E%2Fx%0D%0Aset%2Dcookie%3A%20a"));
    }
}
