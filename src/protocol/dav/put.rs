//! PUT, with what sync clients say of their uploads.

use http::header::{CONTENT_RANGE, HeaderValue};
use http::{Response, StatusCode};

use crate::domain::{Checksum, Error, Expect, Node, PutRequest, Timestamp, TreePath, Write};
use crate::protocol::dav::conditions;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Payload, empty};
use crate::protocol::dav::{last_modified, node_headers, uploads};
use crate::wire::Body;

/// Writes a file, whole or not at all.
pub(super) async fn put(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    refuse_partial(call)?;
    if call.headers.contains_key("oc-chunked") {
        return Box::pin(uploads::put_numbered(call, payload)).await;
    }
    let modified = modified(call)?;
    let checksum = checksum(call)?;
    let length = length(call, payload)?;
    let judged = conditions::judge(call).await?;
    let request = PutRequest { write: judged.write(), length, modified, checksum };
    if call.named("x-nc-webdav-auto-mkcol") == Some("1") {
        make_parents(call, &request.write).await?;
    }
    let (created, entry) = Box::pin(call.view.put(&call.path, request, payload.stream())).await?;
    Ok(stored(call, created, &entry.node, modified))
}

/// The answer to a file that was written: 201 on a free name, 204 on one that was taken.
pub(super) fn stored(call: &Call, created: bool, node: &Node, modified: Option<Timestamp>) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let headers = response.headers_mut();
    node_headers(headers, call, node);
    last_modified(headers, node);
    if modified.is_some() {
        headers.insert("x-oc-mtime", HeaderValue::from_static("accepted"));
    }
    response
}

fn refuse_partial(call: &Call) -> Result<()> {
    // RFC 9110 14.5: a server that does not write parts must say so, lest the part replace the whole.
    if call.headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::bad_request("PUT writes whole files; Content-Range is not offered"));
    }
    if call.slash && !call.path.is_root() {
        return Err(Problem::method_not_allowed("A URL that ends with a slash is a collection"));
    }
    if call.path.is_root() && !call.root.single_file {
        return Err(Problem::method_not_allowed("This is a collection"));
    }
    Ok(())
}

/// `X-OC-Mtime`: seconds since 1970, with a fraction from some phones.
pub(super) fn modified(call: &Call) -> Result<Option<Timestamp>> {
    let Some(text) = call.named("x-oc-mtime") else { return Ok(None) };
    let whole = text.trim().split('.').next().unwrap_or_default();
    whole.parse().map(Some).map_err(|_error| Problem::bad_request("X-OC-Mtime is not a number of seconds"))
}

/// `OC-Checksum`, where we know the kind; others are the client's own business.
pub(super) fn checksum(call: &Call) -> Result<Option<Checksum>> {
    call.named("oc-checksum").map_or(Ok(None), known_checksum)
}

/// The first checksum in a list whose kind we know.
pub(super) fn known_checksum(text: &str) -> Result<Option<Checksum>> {
    for item in text.split_ascii_whitespace() {
        let kind = item.split(':').next().unwrap_or_default().to_ascii_uppercase();
        if ["SHA1", "MD5", "SHA256", "ADLER32"].contains(&kind.as_str()) {
            return Checksum::parse(item).map(Some).map_err(|error| Problem::bad_request(error.to_string()));
        }
    }
    Ok(None)
}

/// The length of the body: as it is framed, else as Finder or a sync client announces it, so that a body that breaks off is noticed and
/// its space can be reserved.
fn length(call: &Call, payload: &Payload) -> Result<Option<u64>> {
    if payload.length.is_some() {
        return Ok(payload.length);
    }
    for name in ["x-expected-entity-length", "oc-total-length"] {
        if let Some(text) = call.named(name) {
            let length = text.trim().parse().map_err(|_error| Problem::bad_request("The announced length is not a number"))?;
            return Ok(Some(length));
        }
    }
    Ok(None)
}

pub(super) async fn make_parents(call: &Call, write: &Write) -> Result<()> {
    let mut missing: Vec<TreePath> = Vec::new();
    let mut parent = call.path.parent();
    while let Some(path) = parent.filter(|path| !path.is_root()) {
        match call.view.stat(&path).await {
            Ok(_) => break,
            Err(Error::NotFound | Error::ParentMissing) => {}
            Err(error) => return Err(error.into()),
        }
        parent = path.parent();
        missing.push(path);
    }
    for path in missing.into_iter().rev() {
        match call.view.mkcol(&path, Write { expect: Expect::Anything, tokens: write.tokens.clone() }).await {
            // Somebody else was faster.
            Ok(_) | Err(Error::Exists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
