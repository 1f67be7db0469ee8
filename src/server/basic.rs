//! Basic authentication (RFC 7617), and bare secrets as bearer tokens (RFC 6750).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::domain::Secret;

/// Name and password of a request.
#[derive(Debug)]
pub(super) struct Credentials {
    /// The name; of a link, its token.
    pub name: Secret,
    /// The password; may be empty.
    pub password: Secret,
}

/// Reads `Authorization: Basic …`; none where there is none or it cannot be read.
pub(super) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = text.trim();
    let bytes = STANDARD.decode(text).or_else(|_padding| STANDARD_NO_PAD.decode(text)).ok()?;
    // Some clients still send Latin-1 (RFC 7617 B.2).
    let text = String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
    let (name, password) = text.split_once(':')?;
    Some(Credentials { name: Secret::new(name), password: Secret::new(password) })
}

/// Reads `Authorization: Bearer …` (RFC 6750 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(&str, &str)>) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        let found = credentials(&headers).map(|found| (found.name.expose().to_owned(), found.password.expose().to_owned()));
        assert_eq!(found, expected.map(|(name, password)| (name.to_owned(), password.to_owned())), "{header}");
    }

    #[test]
    fn rfc7617_credentials() {
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("basic dGVzdDoxMjPCow==", Some(("test", "123£")));
        check("Basic dGVzdDoxMjOj", Some(("test", "123£")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic YQ==", None);
        check("Basic ???", None);
        check("Bearer YTpi", None);
    }
}
