//! What the discovery documents say of signatures and tokens, where calls are signed (`protocol/ocm.md` 1.2). Where they are not, nothing: who
//! publishes a key must sign, and servers that read `exchange-token` send what can be opened by a signed exchange alone.

use serde_json::{Value, json};

use crate::service::Services;
use crate::service::federation::Published;

/// The document of `/ocm-provider/` with the key for draft-cavage.
pub(super) fn provider(mut document: Value, services: &Services) -> Value {
    if let Some(published) = services.federation().published() {
        with_key(&mut document, published);
    }
    document
}

/// The document of `/.well-known/ocm` with everything.
pub(super) fn well_known(mut document: Value, services: &Services) -> Value {
    let Some(published) = services.federation().published() else { return document };
    with_key(&mut document, published);
    let at = |path: &str| [services.options().public_url.trim_end_matches('/'), path].concat();
    put(&mut document, "jwksUri", json!(at("/.well-known/jwks.json")));
    put(&mut document, "tokenEndPoint", json!(at("/ocm/token")));
    push(&mut document, "capabilities", "http-sig");
    push(&mut document, "capabilities", "exchange-token");
    document
}

/// The JWKS; none where nothing is signed.
pub(super) fn jwks(services: &Services) -> Option<&Value> {
    services.federation().published().map(|published| &published.jwks)
}

fn with_key(document: &mut Value, published: &Published) {
    put(document, "publicKey", published.public_key.clone());
    if published.required {
        push(document, "criteria", "must-use-http-sig");
    }
}

fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(fields) = document.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn push(document: &mut Value, name: &str, text: &str) {
    if let Some(list) = document.as_object_mut().map(|fields| fields.entry(name).or_insert_with(|| json!([])))
        && let Some(list) = list.as_array_mut()
    {
        list.push(json!(text));
    }
}
