//! WebDAV (RFC 4918, classes 1, 2 and 3) over a [`View`], with what ownCloud and Nextcloud clients add to it.
//!
//! Every request becomes a [`Call`]: where it points and what its headers say. Conditions (`If`, `If-Match`, …) are judged
//! by one evaluator for every method. Ours are OPTIONS, PROPFIND, PROPPATCH, REPORT, GET, HEAD, PUT, COPY, MOVE, DELETE and MKCOL with a
//! body; dav-server's handler serves MKCOL without a body, LOCK and UNLOCK behind the guard in [`library`]. PROPPATCH cannot stand behind
//! it: that handler answers live properties of `DAV:` and `urn:schemas-microsoft-com:` itself, so that setting a modification time never
//! reaches a file system.
//!
//! **Invariants:** a request never fails without a body that says why; what exists but cannot be reached is 503, never 404; nothing is
//! written before every condition was judged; no panic is reachable from what a client sends.

mod conditions;
mod delete;
mod if_header;
mod kept;
mod library;
mod mkcol;
mod options;
mod plan;
mod problem;
mod properties;
mod propfind;
mod proppatch;
mod put;
mod ranges;
mod read;
mod render;
mod report;
mod request;
mod transfer;
mod trash;
mod uploads;
mod versions;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

pub use kept::{Kept, Tree, handle_kept};
pub use request::Root;

use crate::domain::Node;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::request::{Call, Holding, Payload};
use crate::tree::View;
use crate::wire::Body;

/// What of a tree a request is about. It cannot be printed: the root of a link's uploads holds its token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place<'root> {
    /// Its nodes.
    Files,
    /// Its unfinished uploads; with their root as it stands in the URL, without a slash at its end.
    Uploads(&'root str),
    /// Many small files at once.
    Bulk,
}

/// Reads `If` and `Range` as a request would, for the fuzz targets.
#[cfg(fuzzing)]
pub fn fuzzed_headers(text: &str, size: u64) {
    if let Ok(lists) = if_header::parse(text) {
        assert!(lists.len() <= crate::limits::IF_LISTS_MAX && lists.iter().all(|list| !list.conditions.is_empty()));
    }
    if let ranges::Wanted::Parts(parts) = ranges::wanted(text, size) {
        assert!(!parts.is_empty() && parts.len() <= crate::limits::RANGES_MAX);
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= size), "{parts:?} of {size}");
        assert!(parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>() <= u128::from(size), "overlaps are joined");
    }
}

/// Answers one request about the nodes of a tree. It never fails: errors are rendered.
pub async fn handle<B>(request: Request<B>, view: View, root: Root) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    handle_at(Place::Files, request, view, root).await
}

/// Answers one request about a tree. It never fails: errors are rendered.
pub async fn handle_at<B>(place: Place<'_>, request: Request<B>, view: View, root: Root) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let multiplexed = parts.version == http::Version::HTTP_2;
    let payload = Payload::new(body, &parts.headers);
    let (call, answer) = match place {
        Place::Files => {
            let (call, judged) = Call::new(parts, view, root);
            let answer = match judged {
                Ok(()) => dispatch(&call, &payload).await,
                Err(problem) => Err(problem),
            };
            (call, answer)
        }
        Place::Uploads(prefix) => {
            let call = Call::beside(parts, view, root);
            let answer = Box::pin(uploads::dispatch(&call, &payload, prefix)).await;
            (call, answer)
        }
        Place::Bulk => {
            let call = Call::beside(parts, view, root);
            let answer = Box::pin(uploads::bulk(&call, &payload)).await;
            (call, answer)
        }
    };
    if !payload.is_empty() {
        payload.drain().await;
    }
    let response = answer.unwrap_or_else(|problem| problem.into_response(&call));
    if multiplexed { response.map(|body| Holding::wrap(body, &payload)) } else { response }
}

async fn dispatch(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    match call.method.as_str() {
        "OPTIONS" => Ok(options::options()),
        "GET" | "HEAD" => read::read(call).await,
        "PUT" => put::put(call, payload).await,
        "PROPFIND" => propfind::propfind(call, payload).await,
        "PROPPATCH" => proppatch::proppatch(call, payload).await,
        "MKCOL" => mkcol::mkcol(call, payload).await,
        "COPY" => transfer::copy(call).await,
        "MOVE" => transfer::rename(call).await,
        "DELETE" => delete::delete(call).await,
        "LOCK" => library::lock(call, payload).await,
        "UNLOCK" => library::unlock(call).await,
        "REPORT" => report::report(call, payload).await,
        // PATCH writes in place, which would show readers half a change (DESIGN 6).
        "PATCH" | "POST" | "SEARCH" | "ACL" | "BIND" | "UNBIND" | "REBIND" | "MKCALENDAR" | "TRACE" | "CONNECT" => {
            Err(Problem::method_not_allowed("This method is not offered here"))
        }
        _ => Err(Problem::not_implemented("This method is not known here")),
    }
}

/// The version and the number of a node, as sync clients read them from the answers to writes and reads.
fn node_headers(headers: &mut HeaderMap, call: &Call, node: &Node) {
    if let Ok(etag) = HeaderValue::from_str(&node.etag.quoted()) {
        headers.insert(http::header::ETAG, etag.clone());
        headers.insert("oc-etag", etag);
    }
    if let Ok(id) = HeaderValue::from_str(&format!("{:08}{}", node.id.0, call.view.instance_id())) {
        headers.insert("oc-fileid", id);
    }
}

fn last_modified(headers: &mut HeaderMap, node: &Node) {
    if let Ok(date) = HeaderValue::from_bytes(&crate::wire::date::http_date(node.modified)) {
        headers.insert(http::header::LAST_MODIFIED, date);
    }
}
