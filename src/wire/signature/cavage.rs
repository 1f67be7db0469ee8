//! draft-cavage-http-signatures as Nextcloud 31 to 33 speak it: RSA, `Digest`, and the headers in an order that the sender names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Algorithm, COMPONENTS_MAX, Flaw, KEY_ID_BYTES_MAX, SIGNATURE_HEADER_BYTES_MAX, Signed};

/// What we cover, in this order. Nextcloud wants `(request-target)` first, and the others.
pub const COVERED: [&str; 5] = ["(request-target)", "content-length", "date", "digest", "host"];

/// A `Signature` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `keyId`.
    pub key_id: String,
    /// `algorithm`.
    pub algorithm: Algorithm,
    /// `headers`: what is covered.
    covered: Vec<String>,
    /// `signature`.
    pub signature: Vec<u8>,
}

impl Signature {
    /// Reads the value of a `Signature` header.
    ///
    /// # Errors
    /// [`Flaw`] where something is missing, twice there or strange, or less is covered than must be.
    pub fn parse(value: &str) -> Result<Signature, Flaw> {
        let strange = Flaw("its header cannot be read");
        if value.len() > SIGNATURE_HEADER_BYTES_MAX {
            return Err(Flaw("its header is too long"));
        }
        let (mut key_id, mut algorithm, mut covered, mut signature) = (None, None, None, None);
        let mut rest = value.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(strange)?;
            let (text, after) = after.strip_prefix('"').and_then(|after| after.split_once('"')).ok_or(strange)?;
            let twice = match name.trim() {
                "keyId" => key_id.replace(text).is_some(),
                "algorithm" => algorithm.replace(text).is_some(),
                "headers" => covered.replace(text).is_some(),
                "signature" => signature.replace(text).is_some(),
                _ => false,
            };
            if twice {
                return Err(Flaw("its header names something twice"));
            }
            rest = match after.trim_start() {
                "" => "",
                more => more.strip_prefix(',').ok_or(strange)?.trim_start(),
            };
        }
        let covered: Vec<String> = covered.ok_or(Flaw("it does not say what it covers"))?.split(' ').map(str::to_ascii_lowercase).collect();
        check_covered(&covered)?;
        Ok(Signature {
            key_id: key_id.filter(|id| !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX).ok_or(Flaw("it names no key"))?.to_owned(),
            algorithm: match algorithm {
                Some("rsa-sha512") => Algorithm::RsaSha512,
                Some("rsa-sha256") => Algorithm::RsaSha256,
                Some(_) | None => return Err(Flaw("its algorithm is neither rsa-sha512 nor rsa-sha256")),
            },
            covered,
            signature: signature.and_then(|text| STANDARD.decode(text).ok()).ok_or(strange)?,
        })
    }

    /// The text that was signed, if it was this request.
    ///
    /// # Errors
    /// [`Flaw`] where it covers a header that the request does not have.
    pub fn text(&self, request: &Signed<'_>) -> Result<String, Flaw> {
        text(self.covered.iter().map(String::as_str), request)
    }
}

fn check_covered(covered: &[String]) -> Result<(), Flaw> {
    if covered.first().is_none_or(|first| first != "(request-target)") || covered.len() > COMPONENTS_MAX {
        return Err(Flaw("it does not begin with (request-target), or covers too much"));
    }
    if COVERED.iter().any(|name| !covered.iter().any(|known| known == name)) {
        return Err(Flaw("it must cover (request-target), content-length, date, digest and host"));
    }
    let twice = covered.iter().enumerate().any(|(at, name)| covered.iter().take(at).any(|before| before == name));
    if twice { Err(Flaw("it covers something twice")) } else { Ok(()) }
}

/// The text that is signed of a request.
///
/// # Errors
/// [`Flaw`] where the request does not have a header.
pub fn text<'name>(covered: impl Iterator<Item = &'name str>, request: &Signed<'_>) -> Result<String, Flaw> {
    let line = |name: &str| {
        let value = match name {
            "(request-target)" => [&request.method.to_ascii_lowercase(), " ", request.path].concat(),
            _ => request.header(name)?,
        };
        Ok([name, ": ", &value].concat())
    };
    Ok(covered.map(line).collect::<Result<Vec<String>, Flaw>>()?.join("\n"))
}

/// The header of a signature over [`COVERED`] by RSA and SHA-512. Nextcloud splits it at its commas: there are no spaces.
pub fn header(key_id: &str, signature: &[u8]) -> String {
    let (covered, signature) = (COVERED.join(" "), STANDARD.encode(signature));
    format!("keyId=\"{key_id}\",algorithm=\"rsa-sha512\",headers=\"{covered}\",signature=\"{signature}\"")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    const GOOD: &str = "keyId=\"https://h/ocm#signature\",algorithm=\"rsa-sha512\",headers=\"(request-target) content-length date digest host\",\
        signature=\"AAEC\"";

    #[test]
    fn what_nextcloud_sends_is_read_and_written() {
        let read = Signature::parse(GOOD).unwrap();
        assert_eq!(
            (read.key_id.as_str(), read.algorithm, read.signature.as_slice()),
            ("https://h/ocm#signature", Algorithm::RsaSha512, &[0, 1, 2][..])
        );
        assert_eq!(header("https://h/ocm#signature", &[0, 1, 2]), GOOD);
        assert_eq!(Signature::parse(&GOOD.replace(',', ", ")).unwrap(), read);
        let pairs = [("content-length", "380"), ("date", "Sat, 22 Nov 2025 01:36:00 GMT"), ("digest", "SHA-512=x"), ("host", "ignored")];
        let headers: HeaderMap = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let request = Signed { method: "POST", scheme: "https", host: "b.example", path: "/ocm/shares", headers: &headers };
        let expected = "(request-target): post /ocm/shares\ncontent-length: 380\ndate: Sat, 22 Nov 2025 01:36:00 GMT\ndigest: SHA-512=x\nhost: b.example";
        assert_eq!(read.text(&request).unwrap(), expected);
        let none = HeaderMap::new();
        assert!(read.text(&Signed { headers: &none, ..request }).is_err());
    }

    #[test]
    fn f14_what_covers_too_little_or_cannot_be_read_is_refused() {
        let without = |name: &str| GOOD.replace(name, "");
        for bad in [
            String::new(),
            "garbage".to_owned(),
            "keyId=".to_owned(),
            "keyId=\"".to_owned(),
            "\"\"\"\"".to_owned(),
            without(" date"),
            without(" digest"),
            without(" host"),
            without(" content-length"),
            without("(request-target) "),
            GOOD.replace("(request-target) content-length", "content-length (request-target)"),
            GOOD.replace(" host", " host host"),
            GOOD.replace("rsa-sha512", "hs2019"),
            GOOD.replace("rsa-sha512", "none"),
            GOOD.replace("algorithm=\"rsa-sha512\",", ""),
            GOOD.replace("AAEC", "%%"),
            GOOD.replace("https://h/ocm#signature", ""),
            GOOD.replace("https://h", &"h".repeat(600)),
            format!("{GOOD},keyId=\"x\""),
            format!("{GOOD}x"),
            GOOD.replace(" host", &" a".repeat(40)),
            GOOD.repeat(100),
        ] {
            assert!(Signature::parse(&bad).is_err(), "{bad}");
        }
    }
}
