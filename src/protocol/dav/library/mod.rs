//! dav-server's handler behind our guard: MKCOL without a body, LOCK and UNLOCK.
//!
//! The guard has judged every condition before, reads the XML itself and hands on only what it understood, and turns the handler's empty
//! errors into bodies: what the tree really said is kept beside the call, in its [`Session`]. So no header or body of a client reaches the
//! library as it came.
//!
//! The library is walled in here because it loses data and panics on its own (`tests.rs` pins what matters to us).

mod files;
mod locks;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dav_server::DavHandler;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::domain::{Error, Lock, LockDepth, LockRequest, LockScope, LockToken, Principal, TreePath, Write};
use crate::limits::{LOCK_BODY_BYTES_MAX, LOCK_OWNER_BYTES_MAX};
use crate::protocol::dav::library::files::Tree;
use crate::protocol::dav::library::locks::Locks;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::render::active_lock;
use crate::protocol::dav::request::{Call, Depth, Payload, depth, full, timeout};
use crate::protocol::dav::{conditions, node_headers};
use crate::tree::{Entry, View};
use crate::wire::Body;
use crate::wire::xml::{self, Content, Element, Writer};

/// What the adapters know of the one request that they serve, and what came of it.
#[derive(Debug)]
struct Session {
    view: View,
    /// Href of the root, with a slash at its end.
    root_href: String,
    write: Write,
    request: Option<LockRequest>,
    now: i64,
    came: Mutex<Came>,
}

/// What the tree said.
#[derive(Debug, Default)]
struct Came {
    fault: Option<Error>,
    entry: Option<Entry>,
    lock: Option<Lock>,
}

impl Session {
    fn new(call: &Call, write: Write, request: Option<LockRequest>) -> Session {
        let root_href = call.href(&TreePath::root());
        Session { view: call.view.clone(), root_href, write, request, now: call.root.clock.now(), came: Mutex::default() }
    }

    /// Keeps the reason, which the library's errors cannot carry.
    fn failed(&self, error: Error) {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(error);
    }

    fn locked(&self, lock: Lock) {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).lock = Some(lock);
    }

    fn made(&self, entry: Entry) {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).entry = Some(entry);
    }
}

/// MKCOL without a body.
pub(super) async fn mkcol(call: &Call) -> Result<Response<Body>> {
    let judged = conditions::judge(call).await?;
    let session = Arc::new(Session::new(call, judged.write(), None));
    let mut response = run(call, &session, &[], Bytes::new()).await?;
    response.headers_mut().remove("content-location");
    let entry = session.came.lock().unwrap_or_else(PoisonError::into_inner).entry.take();
    if let Some(entry) = entry {
        node_headers(response.headers_mut(), call, &entry.node);
    }
    Ok(response)
}

/// LOCK: a new lock, or a refresh where there is no body (RFC 4918 9.10).
pub(super) async fn lock(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    let body = payload.bytes(LOCK_BODY_BYTES_MAX).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return refresh(call).await;
    }
    let depth = match depth(call)? {
        None | Some(Depth::Infinity) => LockDepth::Infinity,
        Some(Depth::Zero) => LockDepth::Zero,
        Some(Depth::One) => return Err(Problem::bad_request("LOCK has Depth 0 or infinity")),
    };
    let (info, scope, owner) = read_lockinfo(&xml::parse(&body)?)?;
    let judged = conditions::judge(call).await?;
    let timeout = timeout(call.named("timeout"));
    let principal: Principal = call.view.principal().clone();
    let request = LockRequest { principal, owner: owner.into_boxed_str(), scope, depth, timeout };
    let session = Arc::new(Session::new(call, judged.write(), Some(request)));
    let depth = HeaderValue::from_static(if depth == LockDepth::Zero { "0" } else { "infinity" });
    let headers = [(HeaderName::from_static("depth"), depth)];
    let response = run(call, &session, &headers, Bytes::from(info)).await.map_err(Problem::of_lock)?;
    Ok(described(response, &session))
}

/// The answer with our body: the library's loses the prefixes of attributes in the owner (`xml:lang` becomes `lang`), gives elements of no
/// namespace the one around them, and writes `Infinity`.
fn described(mut response: Response<Body>, session: &Session) -> Response<Body> {
    let lock = session.came.lock().unwrap_or_else(PoisonError::into_inner).lock.take();
    if let Some(lock) = lock {
        let root = [session.root_href.as_str(), &lock.root.to_href()].concat();
        let mut out = Writer::with_capacity(1024);
        out.markup("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:prop xmlns:d=\"DAV:\"><d:lockdiscovery>");
        active_lock(&mut out, &lock, &root, session.now, true);
        out.markup("</d:lockdiscovery></d:prop>\n");
        *response.body_mut() = full(Bytes::from(out.into_bytes()));
    }
    response
}

/// The body with only what is understood in it, the scope and the owner.
fn read_lockinfo(root: &Element) -> Result<(String, LockScope, String)> {
    if !root.is_dav("lockinfo") {
        return Err(Problem::bad_request("The body is not a lockinfo"));
    }
    let child = |name| root.dav_child(name).ok_or_else(|| Problem::bad_request("The lockinfo is incomplete"));
    let (scope, kind) = (child("lockscope")?, child("locktype")?);
    let shared = match (scope.dav_child("exclusive").is_some(), scope.dav_child("shared").is_some()) {
        (true, false) => LockScope::Exclusive,
        (false, true) => LockScope::Shared,
        _ => return Err(Problem::bad_request("The scope is exclusive or shared")),
    };
    if kind.dav_child("write").is_none() {
        return Err(Problem::bad_request("Only write locks are offered"));
    }
    let owner = root.dav_child("owner");
    let text = owner.map(Element::to_xml).unwrap_or_default();
    if text.len() > LOCK_OWNER_BYTES_MAX {
        return Err(Problem::too_large("The owner element is too long"));
    }
    let content = [Some(scope), Some(kind), owner].into_iter().flatten().cloned().map(Content::Element).collect();
    let known = Element { name: root.name.clone(), attributes: Vec::new(), content };
    Ok((known.to_xml(), shared, text))
}

async fn refresh(call: &Call) -> Result<Response<Body>> {
    if !call.headers.contains_key("if") {
        return Err(Problem::bad_request("A lock is taken with a body or refreshed with an If header"));
    }
    let judged = conditions::judge(call).await?;
    let here: Vec<Lock> = call.view.locks(&call.path).await?;
    let token = judged.tokens.iter().find(|token| here.iter().any(|lock| lock.token == **token));
    let failed = || Problem::from(Error::NoSuchLock).status(StatusCode::PRECONDITION_FAILED);
    let token = token.ok_or_else(failed)?.clone();
    let header = HeaderValue::from_str(&format!("(<{}>)", token.0)).map_err(|_error| failed())?;
    let request = LockRequest {
        principal: call.view.principal().clone(),
        owner: "".into(),
        scope: LockScope::Exclusive,
        depth: LockDepth::Zero,
        timeout: timeout(call.named("timeout")),
    };
    let session = Arc::new(Session::new(call, judged.write(), Some(request)));
    let refreshed = run(call, &session, &[(HeaderName::from_static("if"), header)], Bytes::new()).await;
    // RFC 4918 9.10.2 and 16: a token that is no lock on this URL is 412 here, 409 at UNLOCK.
    let response = refreshed.map_err(|problem| if problem.status == StatusCode::CONFLICT { failed() } else { problem })?;
    Ok(described(response, &session))
}

/// UNLOCK (RFC 4918 9.11). Tokens come without their brackets from some clients (`protocol/clients.md` 4).
pub(super) async fn unlock(call: &Call) -> Result<Response<Body>> {
    let text = call.named("lock-token").ok_or_else(|| Problem::bad_request("The Lock-Token header is missing"))?.trim();
    let token = text.strip_prefix('<').map_or(Some(text), |inner| inner.strip_suffix('>')).unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>') {
        return Err(Problem::bad_request("The Lock-Token header is malformed"));
    }
    let judged = conditions::judge(call).await?;
    let mut write = judged.write();
    write.tokens.push(LockToken(token.to_owned()));
    let session = Arc::new(Session::new(call, write, None));
    let header = HeaderValue::from_str(&format!("<{token}>")).map_err(|_error| Problem::bad_request("The Lock-Token is malformed"))?;
    run(call, &session, &[(HeaderName::from_static("lock-token"), header)], Bytes::new()).await
}

/// Runs the handler on a request that the guard has written.
async fn run(call: &Call, session: &Arc<Session>, headers: &[(HeaderName, HeaderValue)], body: Bytes) -> Result<Response<Body>> {
    let uri = ["/", &call.path.to_href()].concat();
    let mut request = Request::builder().method(Method::clone(&call.method)).uri(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body)).map_err(|error| Problem::internal(error.to_string()))?;
    let handler =
        DavHandler::<Arc<Session>>::builder().filesystem(Box::new(Tree)).locksystem(Box::new(Locks(Arc::clone(session)))).build_handler();
    let response = handler.handle_guarded(request, "principal".to_owned(), Arc::clone(session)).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| Problem::internal(error.to_string()))?.to_bytes();
    if !parts.status.is_success() {
        let fault = session.came.lock().unwrap_or_else(PoisonError::into_inner).fault.take();
        return Err(fault.map_or_else(|| unexplained(parts.status), Problem::from));
    }
    let mut response = Response::new(full(body));
    *response.status_mut() = parts.status;
    for name in [CONTENT_TYPE, HeaderName::from_static("lock-token")] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// A refusal of the library's own: the guard should have come first.
fn unexplained(status: StatusCode) -> Problem {
    if status.is_client_error() {
        Problem::bad_request("The request is not understood").status(status)
    } else {
        Problem::internal(format!("the WebDAV library answered {status}"))
    }
}
