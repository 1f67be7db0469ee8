//! Which site made a browser send a request. Browsers send cookies, and passwords that they remember, with whatever another site makes them
//! send; what changes something therefore has to come from a page of ours, or from no page at all (attack L7).

use http::header::{HOST, ORIGIN};
use http::{Request, uri::Authority};

use crate::wire::href;

/// The `host[:port]` that a request is for: of HTTP/2 it stands in the URL, of HTTP/1.1 in a header.
pub(super) fn host<B>(request: &Request<B>) -> Option<Authority> {
    let named = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(named).filter(|authority: &Authority| !authority.as_str().contains('@'))
}

/// Whether a page of another site sent this. Programs that are no browsers send none of these headers.
///
/// `Sec-Fetch-Site` is not sent to plain http, and a page that sends no referrer sends the origin `null`, as ours do: where there is nothing
/// else to go by, the cookie (`SameSite`) and the token of the form decide.
pub(super) fn is_foreign<B>(request: &Request<B>, own: &[String]) -> bool {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match text(ORIGIN.as_str()) {
        None | Some("null") => false,
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let host = host(request);
            let ours = |authority| {
                host.iter().map(Authority::as_str).chain(own.iter().map(String::as_str)).any(|own| href::same_authority(own, authority))
            };
            !authority.is_some_and(ours)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], foreign: bool) {
        // As HTTP/1.1 and as HTTP/2 say it.
        for builder in [Request::builder().header(HOST, "cloud.example:8080"), Request::builder().uri("http://cloud.example:8080/")] {
            let request = lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap();
            assert_eq!(is_foreign(&request, &["files.example".to_owned()]), foreign, "{lines:?}");
        }
    }

    #[test]
    fn l7_only_our_own_pages_and_programs_may_change_something() {
        check(&[], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "null")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("sec-fetch-site", "cross-site"), ("origin", "http://cloud.example:8080")], true);
        check(&[("sec-fetch-site", "same-site")], true);
        check(&[("origin", "http://cloud.example:8080")], false);
        check(&[("origin", "https://files.example")], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "https://evil.example")], true);
        check(&[("origin", "http://cloud.example:8081")], true);
        check(&[("origin", "cloud.example:8080")], true);
    }
}
