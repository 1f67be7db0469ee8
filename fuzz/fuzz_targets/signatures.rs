//! Signatures of other servers' calls, and their keys (attack F14): what is accepted covers the whole call.
#![no_main]

use causeway::wire::signature::{
    Announced, KEY_ID_BYTES_MAX, SERVER_KEYS_MAX, Signed, cavage, check_content_digest, check_digest, jwks, message,
};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // `Signature`, `Signature-Input`, and a document with keys, a line each.
    let mut lines = text.splitn(3, '\n');
    let [signature, input, body] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let body = body.as_bytes();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("date", "Sat, 22 Nov 2025 01:36:00 GMT"),
        ("content-length", "2"),
        ("digest", "SHA-256=RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="),
        ("content-digest", "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [("signature", signature), ("signature-input", input)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    let call = Signed { method: "POST", scheme: "https", host: "us.example", path: "/ocm/shares", headers: &headers };
    if let Ok(read) = cavage::Signature::parse(signature) {
        assert!(!read.key_id.is_empty() && read.key_id.len() <= KEY_ID_BYTES_MAX);
        if let Ok(text) = read.text(&call) {
            let lines: Vec<&str> = text.split('\n').collect();
            assert_eq!(lines.first(), Some(&"(request-target): post /ocm/shares"));
            for line in ["host: us.example", "content-length: 2", "date: Sat, 22 Nov 2025 01:36:00 GMT"] {
                assert!(lines.contains(&line), "{line} is not covered: {text}");
            }
            assert!(lines.iter().any(|line| line.starts_with("digest: ")), "{text}");
        }
    }
    if let Ok(read) = message::Signature::parse(&headers) {
        assert!(!read.key_id.is_empty() && read.key_id.len() <= KEY_ID_BYTES_MAX);
        if let Ok(text) = read.text(&call) {
            for covered in ["\"@method\": POST\n", "\"content-digest\": sha-256=", "\"@signature-params\": ("] {
                assert!(text.contains(covered), "{covered} is not covered: {text}");
            }
        }
    }
    assert!(jwks(body).is_none_or(|keys| keys.len() <= SERVER_KEYS_MAX));
    let _announced = Announced::of_document(body);
    // No text is a digest of what it was not made from.
    if body != b"{}" {
        assert!(check_digest("SHA-256=RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=", body).is_err());
        assert!(check_content_digest("sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:", body).is_err());
    }
});
