//! Many small files in one request (`protocol/nextcloud.md` 3.1): read part by part, each file written as a PUT of its own would be.
//!
//! One file that is refused does not stop the others; the answer tells of each. What was placed before the body breaks off stays.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::demand_size;
use super::multipart::{Head, Parts, boundary};
use crate::domain::{Checksum, Error, Etag, Expect, PropertyChange, PutRequest, Timestamp, TreePath, Write};
use crate::limits::BULK_PARTS_MAX;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Payload, full};
use crate::protocol::dav::{plan, put};
use crate::wire::Body;

/// Answers a POST of several files.
pub(in crate::protocol::dav) async fn bulk(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    if call.method != http::Method::POST {
        return Err(Problem::method_not_allowed("Several files at once are sent by POST"));
    }
    let boundary = call.header(&CONTENT_TYPE).and_then(boundary).ok_or_else(Problem::unsupported_media_type)?;
    let mut parts = Parts::new(payload.stream(), boundary);
    let mut told = Map::new();
    let whole = take_all(call, &mut parts, &mut told).await;
    if let Err(problem) = &whole
        && told.is_empty()
    {
        return Err(problem.clone());
    }
    let text = serde_json::to_vec(&told).map_err(|error| Problem::internal(error.to_string()))?;
    let mut response = Response::new(full(text.into()));
    // What has been written by then is told all the same.
    *response.status_mut() = if whole.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Ok(response)
}

async fn take_all(call: &Call, parts: &mut Parts, told: &mut Map<String, Value>) -> Result<()> {
    let malformed = |broken: super::multipart::Broken| Problem::bad_request(broken.to_string());
    let mut count = 0;
    while let Some(head) = parts.next().await.map_err(malformed)? {
        count += 1;
        if count > BULK_PARTS_MAX {
            return Err(Problem::bad_request("There are too many files in one request"));
        }
        let path = head.get("x-file-path").ok_or_else(|| Problem::bad_request("A part does not say its path"))?.to_owned();
        let outcome = match take(call, parts, &head, &path).await {
            Ok(told) => told,
            Err(problem) => json!({ "error": true, "message": problem.told(call) }),
        };
        told.insert(path, outcome);
    }
    Ok(())
}

async fn take(call: &Call, parts: &Parts, head: &Head, path: &str) -> Result<Value> {
    let path = TreePath::parse(path)?;
    if path.is_root() {
        return Err(Problem::method_not_allowed("This is a collection"));
    }
    demand_size(call, head.length)?;
    let write = Write { expect: expect(call, head, &path).await?, tokens: Vec::new() };
    let modified = modified(head)?;
    let request = PutRequest { write, length: Some(head.length), modified, checksum: checksum(head)? };
    let (_, entry) = Box::pin(call.view.put(&path, request, parts.content())).await?;
    let id = format!("{:08}{}", entry.node.id.0, call.view.instance_id());
    Ok(json!({
        "error": false,
        "etag": entry.node.etag.to_string(),
        "fileid": id,
        // The client looks for what stands in the headers of a PUT.
        "OC-FileID": id,
        "X-OC-MTime": modified.map(|_set| "accepted"),
        "permissions": plan::letters(entry.node.kind, &entry.access).to_string(),
    }))
}

/// A file that the client has seen before comes with the etag that it saw: what others wrote meanwhile is not overwritten. Where the file is gone
/// there is nothing to overwrite, and an edit outlives a deletion, as it does for every sync client.
async fn expect(call: &Call, head: &Head, path: &TreePath) -> Result<Expect> {
    let Some(wanted) = head.get("if-match") else { return Ok(Expect::Anything) };
    let node = match call.view.stat(path).await {
        Ok(entry) => entry.node,
        Err(Error::NotFound | Error::ParentMissing) => return Ok(Expect::Unchanged(None)),
        Err(error) => return Err(error.into()),
    };
    let same = wanted == "*" || Etag::strong(wanted).is_some_and(|wanted| wanted.to_string() == node.etag.to_string());
    if same {
        return Ok(Expect::Unchanged(Some(node.etag)));
    }
    show_again(call, path).await;
    Err(Problem::precondition_failed())
}

/// Gives the folder of a refused file another etag. Nextcloud's client takes a folder for seen before it sends what is in it in bulk: after such
/// a refusal it would send the same file for ever, and never look what others wrote.
async fn show_again(call: &Call, path: &TreePath) {
    let Some(folder) = path.parent() else { return };
    let touched = vec![PropertyChange::Modified(call.root.clock.now())];
    if let Err(error) = call.view.patch_properties(&folder, touched, Write::unconditional()).await {
        tracing::debug!(%error, "a folder could not be given another etag");
    }
}

fn modified(head: &Head) -> Result<Option<Timestamp>> {
    let Some(text) = head.get("x-file-mtime") else { return Ok(None) };
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().map(Some).map_err(|_error| Problem::bad_request("X-File-Mtime is not a number of seconds"))
}

/// The checksum by which the content is verified; of two the stronger one is kept, too.
fn checksum(head: &Head) -> Result<Option<Checksum>> {
    if let Some(checksum) = head.get("oc-checksum").map_or(Ok(None), put::known_checksum)? {
        return Ok(Some(checksum));
    }
    let Some(digits) = head.get("x-file-md5") else { return Ok(None) };
    Checksum::parse(&["MD5:", digits].concat()).map(Some).map_err(|_error| Problem::bad_request("X-File-MD5 is not an MD5"))
}
