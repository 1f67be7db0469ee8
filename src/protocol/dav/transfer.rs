//! COPY and MOVE (RFC 4918 9.8, 9.9).

use http::header::HeaderValue;
use http::{Response, StatusCode};

use crate::domain::{Expect, PropertyChange, TreePath, Write};
use crate::protocol::dav::conditions::{self, Judged};
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Depth, depth, empty, overwrite};
use crate::protocol::dav::{node_headers, put};
use crate::tree::Entry;
use crate::wire::Body;

/// COPY.
pub(super) async fn copy(call: &Call) -> Result<Response<Body>> {
    let to = destination(call)?;
    let deep = match depth(call)? {
        None | Some(Depth::Infinity) => true,
        Some(Depth::Zero) => false,
        Some(Depth::One) => return Err(Problem::bad_request("COPY has Depth 0 or infinity")),
    };
    let judged = conditions::judge(call).await?;
    let target = target(call, &judged, &to)?;
    // The conditions were about the source, which COPY does not change.
    let copied = Box::pin(call.view.copy(&call.path, &to, deep, target)).await?;
    finish(call, &to, copied, judged).await
}

/// MOVE.
pub(super) async fn rename(call: &Call) -> Result<Response<Body>> {
    let to = destination(call)?;
    match depth(call)? {
        None | Some(Depth::Infinity) => {}
        Some(Depth::Zero | Depth::One) => {
            if call.view.stat(&call.path).await?.node.is_collection() {
                return Err(Problem::bad_request("A collection is moved with Depth infinity"));
            }
        }
    }
    let judged = conditions::judge(call).await?;
    let target = target(call, &judged, &to)?;
    let source = Write { expect: judged.expect.clone(), tokens: judged.tokens.clone() };
    let moved = Box::pin(call.view.rename(&call.path, &to, source, target)).await?;
    finish(call, &to, moved, judged).await
}

/// Where to: in this tree, and neither in nor above the source (attack D2).
fn destination(call: &Call) -> Result<TreePath> {
    let header = call.headers.get("destination").ok_or_else(|| Problem::bad_request("The Destination header is missing"))?;
    let text = header.to_str().map_err(|_error| Problem::bad_request("The Destination is not an encoded URL"))?;
    let to = call.locate(text).ok_or_else(Problem::bad_gateway)??;
    if to.is_root() || to.starts_with(&call.path) || call.path.starts_with(&to) {
        return Err(Problem::forbidden("Source and destination lie in one another"));
    }
    Ok(to)
}

pub(super) fn target(call: &Call, judged: &Judged, to: &TreePath) -> Result<Write> {
    let write = judged.write_to(to);
    Ok(if overwrite(call)? { write } else { Write { expect: Expect::Absent, ..write } })
}

/// 201 on a free name, 204 on one that was taken: sync clients insist on it.
async fn finish(call: &Call, to: &TreePath, (created, mut entry): (bool, Entry), judged: Judged) -> Result<Response<Body>> {
    let mut response = Response::new(empty());
    *response.status_mut() = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    if let Some(modified) = put::modified(call)? {
        let write = Write { expect: Expect::Anything, tokens: judged.tokens };
        entry = call.view.patch_properties(to, vec![PropertyChange::Modified(modified)], write).await?;
        response.headers_mut().insert("x-oc-mtime", HeaderValue::from_static("accepted"));
    }
    node_headers(response.headers_mut(), call, &entry.node);
    Ok(response)
}
