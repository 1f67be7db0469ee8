//! Public keys of servers: how they are written down (PEM, JWK), and whether a signature is theirs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::KEY_ID_BYTES_MAX;

/// Longest PEM text of a key, in bytes: 8192 bits of RSA have 1500.
const PEM_BYTES_MAX: usize = 4_096;
/// The algorithm of an RSA key in `SubjectPublicKeyInfo`: `rsaEncryption` with NULL (RFC 3279 2.3.1).
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaSha512,
    /// Ed25519.
    Ed25519,
    /// ECDSA over P-256 with SHA-256; the signature is r and s, 32 bytes each.
    EcdsaP256,
}

/// The public key of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicKey {
    /// RSA, as PKCS#1 writes it.
    Rsa(Vec<u8>),
    /// Ed25519: 32 bytes.
    Ed25519(Vec<u8>),
    /// A point of P-256, uncompressed: 65 bytes.
    P256(Vec<u8>),
}

impl Algorithm {
    /// The part of a signature that cannot be written otherwise without the key: of ECDSA, (r, s) and (r, n - s) both fit.
    pub fn unchangeable(self, signature: &[u8]) -> &[u8] {
        match self {
            Algorithm::EcdsaP256 => signature.get(..signature.len() / 2).unwrap_or(signature),
            Algorithm::RsaSha256 | Algorithm::RsaSha512 | Algorithm::Ed25519 => signature,
        }
    }
}

impl PublicKey {
    /// How RFC 9421 signs with it; RSA is not used there by servers of this kind.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            PublicKey::Rsa(_) => None,
            PublicKey::Ed25519(_) => Some(Algorithm::Ed25519),
            PublicKey::P256(_) => Some(Algorithm::EcdsaP256),
        }
    }

    /// Whether a signature is this key's. RSA keys below 2048 bits sign nothing.
    pub fn verifies(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let (how, bytes): (&'static dyn VerificationAlgorithm, &[u8]) = match (self, algorithm) {
            (PublicKey::Rsa(key), Algorithm::RsaSha256) => (&RSA_PKCS1_2048_8192_SHA256, key),
            (PublicKey::Rsa(key), Algorithm::RsaSha512) => (&RSA_PKCS1_2048_8192_SHA512, key),
            (PublicKey::Ed25519(key), Algorithm::Ed25519) => (&ED25519, key),
            (PublicKey::P256(key), Algorithm::EcdsaP256) => (&ECDSA_P256_SHA256_FIXED, key),
            (PublicKey::Rsa(_) | PublicKey::Ed25519(_) | PublicKey::P256(_), _) => return false,
        };
        UnparsedPublicKey::new(how, bytes).verify(text, signature).is_ok()
    }

    /// The key as a JWK (RFC 7517, RFC 8037); none of RSA.
    pub fn jwk(&self, id: &str) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            PublicKey::Rsa(_) => None,
            PublicKey::Ed25519(key) => {
                Some(json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": text(key)}))
            }
            PublicKey::P256(key) => {
                let (x, y) = (key.get(1..33)?, key.get(33..65)?);
                Some(json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": text(x), "y": text(y)}))
            }
        }
    }
}

/// Reads a JWKS: its keys that can sign here, by their names. None where it is none. There are as many as the body has room for.
pub fn jwks(body: &[u8]) -> Option<Vec<(String, PublicKey)>> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let keys = document.get("keys")?.as_array()?;
    Some(keys.iter().filter_map(jwk).collect())
}

fn jwk(key: &Value) -> Option<(String, PublicKey)> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok().filter(|bytes| bytes.len() == 32);
    let id = text("kid").filter(|id| !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX)?;
    let is_for = |algorithms: &[&str]| text("alg").is_none_or(|alg| algorithms.contains(&alg)) && text("use").is_none_or(|it| it == "sig");
    let key = match (text("kty")?, text("crv")?) {
        ("OKP", "Ed25519") if is_for(&["EdDSA", "Ed25519", "ed25519"]) => PublicKey::Ed25519(bytes("x")?),
        ("EC", "P-256") if is_for(&["ES256", "ecdsa-p256-sha256"]) => PublicKey::P256([&[4][..], &bytes("x")?, &bytes("y")?].concat()),
        _ => return None,
    };
    Some((id.to_owned(), key))
}

/// An RSA key (PKCS#1) as `SubjectPublicKeyInfo` in PEM (RFC 7468 13).
pub fn pem(pkcs1: &[u8]) -> String {
    let bits = element(BIT_STRING, &[&[0][..], pkcs1].concat());
    let text = STANDARD.encode(element(SEQUENCE, &[&RSA[..], &bits].concat()));
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    ["-----BEGIN PUBLIC KEY-----\n", &lines.join("\n"), "\n-----END PUBLIC KEY-----\n"].concat()
}

/// The RSA key in a PEM text; none where it holds another one, or none.
pub(super) fn rsa_of_pem(text: &str) -> Option<PublicKey> {
    if text.len() > PEM_BYTES_MAX {
        return None;
    }
    let inner = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let inner: String = inner.chars().filter(|sign| !sign.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(inner).ok()?;
    let whole = unwrap(SEQUENCE, &der)?;
    let pkcs1 = unwrap(BIT_STRING, whole.strip_prefix(&RSA)?)?.strip_prefix(&[0])?;
    unwrap(SEQUENCE, pkcs1)?;
    Some(PublicKey::Rsa(pkcs1.to_vec()))
}

/// An element of DER (X.690 8.1).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let bytes = length.to_be_bytes();
    let short: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let head = match u8::try_from(length) {
        Ok(length) if length < 0x80 => vec![tag, length],
        Ok(_) | Err(_) => [vec![tag, 0x80 | u8::try_from(short.len()).unwrap_or_default()], short].concat(),
    };
    [&head[..], content].concat()
}

/// The content of the one element that the bytes are.
fn unwrap(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first().filter(|(first, _)| **first == tag)?;
    debug_assert_eq!(*first, tag);
    let (length, rest) = rest.split_first()?;
    let (length, content) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 | 0x82 => {
            let (count, content) = rest.split_at_checked(usize::from(length & 3))?;
            (count.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), content)
        }
        _ => return None,
    };
    Some(content).filter(|content| content.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421 B.1.4.
    pub(crate) const ED25519_X: &str = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs";

    #[test]
    fn rfc9421_b_2_4_a_signature_of_p256_is_known() {
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "test-key-ecc-p256",
            "x": "qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA", "y": "Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"});
        let (_, key) = jwk(&key).unwrap();
        let base = "\"@status\": 200\n\"content-type\": application/json\n\"content-digest\": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41Q\
            JgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:\n\"content-length\": 23\n\"@signature-params\": (\"@status\" \"content-type\" \
            \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-ecc-p256\"";
        let signature =
            STANDARD.decode("wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==").unwrap();
        assert!(key.verifies(Algorithm::EcdsaP256, base.as_bytes(), &signature));
        assert!(!key.verifies(Algorithm::EcdsaP256, base.replace("200", "201").as_bytes(), &signature));
        assert!(!key.verifies(Algorithm::Ed25519, base.as_bytes(), &signature));
    }

    #[test]
    fn keys_come_back_as_they_are_written() {
        let ed25519 = PublicKey::Ed25519(URL_SAFE_NO_PAD.decode(ED25519_X).unwrap());
        let p256 = PublicKey::P256([&[4][..], &[7; 32], &[8; 32]].concat());
        let document =
            json!({"keys": [ed25519.jwk("a").unwrap(), {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, p256.jwk("b").unwrap()]});
        let read = jwks(document.to_string().as_bytes()).unwrap();
        assert_eq!(read, [("a".to_owned(), ed25519), ("b".to_owned(), p256)]);
        for length in [100, 126, 127, 128, 255, 256, 270, 1000] {
            let pkcs1 = element(SEQUENCE, &vec![5; length]);
            let text = pem(&pkcs1);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(rsa_of_pem(&text), Some(PublicKey::Rsa(pkcs1)), "{length}");
        }
    }

    #[test]
    fn f11_what_is_no_key_is_none() {
        for text in ["", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----", &"x".repeat(PEM_BYTES_MAX + 1)]
        {
            assert_eq!(rsa_of_pem(text), None);
        }
        let good = pem(&element(SEQUENCE, &[5; 270]));
        for at in (28..good.len() - 28).step_by(7) {
            // Whatever is changed, nothing but a whole key comes out.
            let mut other = good.clone().into_bytes();
            other[at] = b'!';
            assert_eq!(rsa_of_pem(std::str::from_utf8(&other).unwrap()), None, "{at}");
        }
        for body in ["", "[]", "{}", r#"{"keys":7}"#] {
            assert!(jwks(body.as_bytes()).is_none(), "{body}");
        }
        let strange = [
            json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AAAA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "alg": "ES256", "x": ED25519_X}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "enc", "x": ED25519_X}),
            json!({"kty": "EC", "crv": "P-384", "kid": "a", "x": ED25519_X, "y": ED25519_X}),
            json!(7),
        ];
        assert!(jwks(json!({"keys": strange}).to_string().as_bytes()).unwrap().is_empty());
    }
}
