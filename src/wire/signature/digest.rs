//! Digests of bodies: `Digest` (RFC 3230) and `Content-Digest` (RFC 9530).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use super::Flaw;

/// The value of `Digest`, as Nextcloud 31 to 33 send it.
pub fn digest(body: &[u8]) -> String {
    ["SHA-512=", &STANDARD.encode(Sha512::digest(body))].concat()
}

/// The value of `Content-Digest`.
pub fn content_digest(body: &[u8]) -> String {
    ["sha-256=:", &STANDARD.encode(Sha256::digest(body)), ":"].concat()
}

/// Whether a body fits a `Digest`: each that is known must fit, and one must be known.
///
/// # Errors
/// [`Flaw`].
pub fn check_digest(value: &str, body: &[u8]) -> Result<(), Flaw> {
    check(value, body, |text| Some(text))
}

/// The same of a `Content-Digest`.
///
/// # Errors
/// [`Flaw`].
pub fn check_content_digest(value: &str, body: &[u8]) -> Result<(), Flaw> {
    check(value, body, |text| text.strip_prefix(':')?.strip_suffix(':'))
}

fn check(value: &str, body: &[u8], bare: fn(&str) -> Option<&str>) -> Result<(), Flaw> {
    let mut known = false;
    for member in value.split(',') {
        let (name, text) = member.trim().split_once('=').ok_or(Flaw("the digest of the body cannot be read"))?;
        let expected = match name.to_ascii_lowercase().as_str() {
            "sha-256" => Sha256::digest(body).to_vec(),
            "sha-512" => Sha512::digest(body).to_vec(),
            _ => continue,
        };
        let told = bare(text).and_then(|text| STANDARD.decode(text).ok()).ok_or(Flaw("the digest of the body cannot be read"))?;
        if told != expected {
            return Err(Flaw("the body does not fit its digest"));
        }
        known = true;
    }
    if known { Ok(()) } else { Err(Flaw("the digest of the body is neither SHA-256 nor SHA-512")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9530_digests_fit_their_bodies_alone() {
        // RFC 9421 appendix B.2: the body of its request.
        let body = br#"{"hello": "world"}"#;
        let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert_eq!(content_digest(body), sha256);
        for value in [sha256, sha512, &format!("{sha256}, {sha512}"), &format!("md5=:AAAA:,{sha256}")] {
            assert_eq!(check_content_digest(value, body), Ok(()), "{value}");
            assert!(check_content_digest(value, b"other").is_err(), "{value}");
        }
        assert_eq!(check_digest(&digest(body), body), Ok(()));
        assert_eq!(check_digest("sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", body), Ok(()));
        for value in ["", "sha-256", "sha-256=:%:", "sha-256=X48E", "md5=:AAAA:", ",", "=", &format!("{sha256},sha-512=:AAAA:")] {
            assert!(check_content_digest(value, body).is_err(), "{value}");
        }
    }
}
