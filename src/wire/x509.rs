//! What is read of a certificate without trusting it (RFC 5280 4.1): when it ends, and whether it was issued by itself.

use crate::domain::Timestamp;

/// The fields of a certificate that are looked at, each the content of its DER element.
struct Fields<'der> {
    issuer: &'der [u8],
    validity: &'der [u8],
    subject: &'der [u8],
}

/// When a certificate ends (RFC 5280 4.1.2.5); none where it cannot be read.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, _, after) = der(fields(certificate)?.validity)?;
    let (tag, digits, _) = der(after)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let text = match tag {
        // UTCTime has two digits of the year: 50 and later are 19xx.
        0x17 => format!("{}{digits}", if digits.get(..2)? < "50" { "20" } else { "19" }),
        0x18 => digits.to_owned(),
        _ => return None,
    };
    chrono::NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok().map(|time| time.and_utc().timestamp())
}

/// Whether a certificate names itself as its issuer: nobody else vouches for it.
pub fn is_self_issued(certificate: &[u8]) -> bool {
    fields(certificate).is_some_and(|fields| fields.issuer == fields.subject)
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let (_, certificate, _) = der(certificate)?;
    let (_, mut rest, _) = der(certificate)?;
    // The version is there or not: [0] EXPLICIT.
    if let (0xa0, _, after) = der(rest)? {
        rest = after;
    }
    // serialNumber, signature
    for _ in 0..2 {
        rest = der(rest)?.2;
    }
    let (_, issuer, rest) = der(rest)?;
    let (_, validity, rest) = der(rest)?;
    let (_, subject, _) = der(rest)?;
    Some(Fields { issuer, validity, subject })
}

/// Tag, content and what follows of one DER element.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits.iter().try_fold(0usize, |length, digit| length.checked_mul(256)?.checked_add(usize::from(*digit)))?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_der_has_no_end() {
        for bytes in [&b""[..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 2, 0x30, 9]] {
            assert_eq!(not_after(bytes), None);
            assert!(!is_self_issued(bytes));
        }
    }

    #[test]
    fn a_certificate_says_who_issued_it() {
        let authority = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        assert!(is_self_issued(authority.cert.der()));
        let mut params = rcgen::CertificateParams::new(vec!["b.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "b");
        let issuer = rcgen::CertifiedIssuer::self_signed(rcgen::CertificateParams::default(), rcgen::KeyPair::generate().unwrap()).unwrap();
        let issued = params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap();
        assert!(!is_self_issued(issued.der()));
        // The default end of what this library makes.
        assert_eq!(not_after(issued.der()), Some(67_090_118_400), "4096-01-01");
    }
}
