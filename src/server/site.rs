//! Which site made a browser send a request. Browsers send cookies, and passwords that they remember, with whatever another site makes them
//! send; what changes something therefore has to come from a page of ours, or from no page at all (attack L7).

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{Request, uri::Authority};

use crate::wire::href;

/// The `host[:port]` that a request is for: of HTTP/2 it stands in the URL, of HTTP/1.1 in a header.
pub(super) fn host<B>(request: &Request<B>) -> Option<Authority> {
    let named = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(named).filter(|authority: &Authority| !authority.as_str().contains('@'))
}

/// Who sent a request, as far as it tells. Programs that are no browsers send none of these headers, and browsers send no `Sec-Fetch-Site` to
/// plain http, and no origin with a plain GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A page of ours.
    Own,
    /// A program, somebody who typed the address, or a browser that does not say.
    Unsaid,
    /// A page whose origin is `null`: one that sends no referrer, as ours, or one in a sandbox, as anybody's.
    Hidden,
    /// A page of another site.
    Foreign,
}

/// Whether a page of another site sent this. Where there is nothing to go by, the cookie (`SameSite`) and the token of the form decide.
pub(super) fn is_foreign<B>(request: &Request<B>, own: &[String]) -> bool {
    sender(request, own) == Sender::Foreign
}

/// What of a request that carries a password which a browser may have remembered speaks against a page of another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A page of ours sent it, or a program: a page of another site would have had to ask before whether it may send such a header.
    Sent,
    /// Nothing does: good enough to look, because such a page sees no answer.
    None,
    /// It comes from such a page, or may.
    Foreign,
}

/// Judges a request without cookie and token. A form cannot send this header or this kind of body, and scripts of other sites are refused
/// both by the browser (Fetch, CORS-safelisted request-header).
pub(super) fn proof<B>(request: &Request<B>, own: &[String]) -> Proof {
    let declared = || {
        let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        request.headers().contains_key("ocs-apirequest") || media.eq_ignore_ascii_case("application/json")
    };
    match sender(request, own) {
        Sender::Own => Proof::Sent,
        Sender::Unsaid if declared() => Proof::Sent,
        Sender::Unsaid => Proof::None,
        Sender::Hidden | Sender::Foreign => Proof::Foreign,
    }
}

fn sender<B>(request: &Request<B>, own: &[String]) -> Sender {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    match text("sec-fetch-site") {
        Some("same-origin") => return Sender::Own,
        Some("none") => return Sender::Unsaid,
        Some(_) => return Sender::Foreign,
        None => {}
    }
    match text(ORIGIN.as_str()) {
        None => Sender::Unsaid,
        Some("null") => Sender::Hidden,
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            let host = host(request);
            let ours = |authority| {
                host.iter().map(Authority::as_str).chain(own.iter().map(String::as_str)).any(|own| href::same_authority(own, authority))
            };
            if authority.is_some_and(ours) { Sender::Own } else { Sender::Foreign }
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

    #[test]
    fn l7_what_a_form_of_another_site_can_send_proves_nothing() {
        let judge = |lines: &[(&'static str, &str)]| {
            let builder = Request::builder().header(HOST, "cloud.example");
            proof(&lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap(), &[])
        };
        let declared = ("ocs-apirequest", "true");
        for (lines, expected) in [
            (&[][..], Proof::None),
            (&[("content-type", "text/plain")], Proof::None),
            (&[("content-type", "application/jsonx")], Proof::None),
            (&[("content-type", "text/plain; application/json")], Proof::None),
            (&[("sec-fetch-site", "none")], Proof::None),
            (&[declared], Proof::Sent),
            (&[("content-type", "Application/JSON; charset=utf-8")], Proof::Sent),
            (&[("origin", "https://cloud.example")], Proof::Sent),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], Proof::Sent),
            (&[("origin", "null")], Proof::Foreign),
            (&[("origin", "null"), declared], Proof::Foreign),
            (&[("origin", "https://evil.example"), declared], Proof::Foreign),
            (&[("sec-fetch-site", "cross-site"), declared], Proof::Foreign),
        ] {
            assert_eq!(judge(lines), expected, "{lines:?}");
        }
    }
}
