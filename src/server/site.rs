//! Which site made a browser send a request. Browsers send cookies, and passwords that they remember, with whatever another site makes them
//! send; what changes something therefore has to come from a page of ours, or from no page at all (attack L7).

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use crate::wire::href;

/// Whether a page of another site sent this. Programs that are no browsers send none of these headers.
///
/// `Sec-Fetch-Site` is not sent to plain http, and a page that sends no referrer sends the origin `null`, as ours do: where there is nothing
/// else to go by, the cookie (`SameSite`) and the token of the form decide.
pub(super) fn is_foreign(headers: &HeaderMap, own: &[String]) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    match text(ORIGIN.as_str()) {
        None | Some("null") => false,
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let host = headers.get(HOST).and_then(|value| value.to_str().ok());
            !authority.is_some_and(|authority| {
                host.into_iter().chain(own.iter().map(String::as_str)).any(|own| href::same_authority(own, authority))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], foreign: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "cloud.example:8080".parse().unwrap());
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        assert_eq!(is_foreign(&headers, &["files.example".to_owned()]), foreign, "{lines:?}");
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
