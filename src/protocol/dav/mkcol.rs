//! MKCOL: without a body it is the library's, with one it is RFC 5689.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::domain::{Expect, Write};
use crate::limits::XML_BODY_BYTES_MAX;
use crate::protocol::dav::problem::{Condition, Problem, Result};
use crate::protocol::dav::proppatch::{self, Wish};
use crate::protocol::dav::request::{Call, Payload, empty, full};
use crate::protocol::dav::{conditions, library, node_headers};
use crate::wire::Body;
use crate::wire::multistatus::writer;
use crate::wire::xml::{self, DAV, Writer};

/// Makes a collection.
pub(super) async fn mkcol(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    if payload.is_empty() {
        return library::mkcol(call).await;
    }
    let body = payload.bytes(XML_BODY_BYTES_MAX).await?;
    if body.is_empty() {
        return library::mkcol(call).await;
    }
    // RFC 4918 9.3: a body that is not understood is 415.
    let media = call.header(&CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != "application/xml" && media != "text/xml" {
        return Err(Problem::unsupported_media_type());
    }
    let root = xml::parse(&body)?;
    if !root.is_dav("mkcol") {
        return Err(Problem::unsupported_media_type());
    }
    let types = root.elements().filter(|element| element.is_dav("set")).flat_map(|set| set.elements()).flat_map(|prop| prop.elements());
    for wanted in types.filter(|element| element.is_dav("resourcetype")).flat_map(|element| element.elements()) {
        if !wanted.is_dav("collection") {
            return Err(Problem::forbidden("Only plain collections can be made").condition(Condition::ValidResourcetype));
        }
    }
    let mut wishes = proppatch::wishes(&root)?;
    wishes.retain(|wish| !(&*wish.name.namespace == DAV && &*wish.name.local == "resourcetype"));
    if wishes.iter().any(|wish| wish.plan.is_err()) {
        return Ok(refused(&wishes));
    }
    make(call, wishes).await
}

async fn make(call: &Call, wishes: Vec<Wish>) -> Result<Response<Body>> {
    let judged = conditions::judge(call).await?;
    let tokens = judged.tokens.clone();
    let mut entry = call.view.mkcol(&call.path, judged.write()).await?;
    let changes: Vec<_> = wishes.into_iter().filter_map(|wish| wish.plan.ok()).flatten().collect();
    if !changes.is_empty() {
        let write = || Write { expect: Expect::Anything, tokens: tokens.clone() };
        match call.view.patch_properties(&call.path, changes, write()).await {
            Ok(patched) => entry = patched,
            // All or nothing (RFC 5689 3): the new collection goes again.
            Err(error) => {
                call.view.delete(&call.path, write()).await?;
                return Err(error.into());
            }
        }
    }
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::CREATED;
    node_headers(response.headers_mut(), call, &entry.node);
    Ok(response)
}

fn refused(wishes: &[Wish]) -> Response<Body> {
    let mut out = Writer::with_capacity(512);
    out.markup("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:mkcol-response xmlns:d=\"DAV:\">");
    proppatch::propstats(&mut out, wishes);
    out.markup("</d:mkcol-response>\n");
    let mut response = Response::new(full(Bytes::from(out.into_bytes())));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
    response
}
