//! PROPFIND (RFC 4918 9.1), streamed: pieces of 64 KiB are rendered when the connection asks for them, so that a slow client holds one
//! piece, and a long listing gives way to others between pieces.

use std::io;

use async_compression::Level;
use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::domain::{Error, Name, Node, Quota, TreePath};
use crate::limits::{GZIP_BYTES_MIN, MULTISTATUS_PIECE_BYTES, PROPFIND_NODES_MAX, XML_BODY_BYTES_MAX};
use crate::protocol::dav::problem::{Condition, Problem, Result};
use crate::protocol::dav::properties::Asked;
use crate::protocol::dav::render::{Extras, Renderer, Shown};
use crate::protocol::dav::request::{Call, Depth, Payload, depth, full, streamed};
use crate::tree::{Access, After, Changed, Listing, Member, Moment, SyncLevel, SyncToken, View};
use crate::wire::multistatus::writer;
use crate::wire::{Body, CONTAINS_HEADER};

/// Room for a piece and the entry that goes over its end.
const PIECE_CAPACITY: usize = MULTISTATUS_PIECE_BYTES + 4 * 1024;

/// Room for one entry, which most answers to Depth 0 are.
const ENTRY_CAPACITY: usize = 4 * 1024;

/// Answers PROPFIND.
pub(super) async fn propfind(call: &Call, payload: &Payload) -> Result<Response<Body>> {
    let asked = Asked::parse(&payload.bytes(XML_BODY_BYTES_MAX).await?)?;
    // RFC 4918 says infinity where there is no Depth; what clients without it mean is 1 (`protocol/clients.md` 4).
    let depth = depth(call)?.unwrap_or(Depth::One);
    let minimal = call.named("prefer").is_some_and(|value| value.contains("return=minimal"));
    let mut walk = Walk::begin(call, asked, depth, minimal).await?;
    let first = walk.piece().await?;
    let gzip = walk.unfinished() || first.len() >= GZIP_BYTES_MIN;
    let gzip = gzip && call.header(&ACCEPT_ENCODING).is_some_and(accepts_gzip);
    let body = match (gzip, walk.unfinished()) {
        (false, false) => full(first),
        (false, true) => streamed(pieces(first, walk)),
        (true, _) => {
            let reader = StreamReader::new(Box::pin(pieces(first, walk)));
            streamed(ReaderStream::with_capacity(GzipEncoder::with_quality(reader, Level::Fastest), 16 * 1024))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
    headers.insert("dav", HeaderValue::from_static(super::options::CLASSES));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Depth, Prefer"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let contains = call.view.contains();
    if let Ok(ids) = HeaderValue::from_str(&contains.join(","))
        && !contains.is_empty()
    {
        headers.insert(CONTAINS_HEADER, ids);
    }
    if minimal {
        headers.insert("preference-applied", HeaderValue::from_static("return=minimal"));
    }
    Ok(response)
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110 12.5.3).
fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|item| {
        let mut parameters = item.split(';').map(str::trim);
        let coding = parameters.next().unwrap_or_default();
        let refused = parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        coding.eq_ignore_ascii_case("gzip") && !refused
    })
}

pub(super) fn pieces(first: Bytes, walk: Walk) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let rest = stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        if !walk.unfinished() {
            return None;
        }
        match walk.piece().await {
            Ok(piece) => Some((Ok(piece), Some(walk))),
            // The answer breaks off: an end that looks whole would make clients delete what is missing in it.
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    });
    stream::once(async move { Ok(first) }).chain(rest)
}

/// A collection whose members are being written.
struct Frame {
    listing: Listing,
    path: TreePath,
    /// With a slash at its end.
    href: String,
    last: Option<Name>,
    /// Nothing of it is known to a client that asks what changed.
    whole: bool,
}

/// A collection that is still to be listed, for Depth infinity.
struct Pending {
    path: TreePath,
    href: String,
    whole: bool,
}

/// The walk of one request.
pub(super) struct Walk {
    view: View,
    renderer: Renderer,
    /// Prefix of hrefs of lock roots.
    root_href: String,
    /// Of the request.
    own_href: String,
    current: Option<Frame>,
    pending: Vec<Pending>,
    infinite: bool,
    /// Before anything was looked at, where tokens are asked for.
    moment: Option<Moment>,
    /// Only what changed is told.
    changed: Option<Changed>,
    quota: Option<Quota>,
    /// How many were written.
    nodes: usize,
    /// The last one, and how many more the client wants, where it wants a number of changes at most.
    last: Option<After>,
    left: Option<usize>,
    /// There is more than the client wants.
    cut: bool,
    ended: bool,
}

impl Walk {
    async fn begin(call: &Call, asked: Asked, depth: Depth, minimal: bool) -> Result<Walk> {
        let capacity = if depth == Depth::Zero { ENTRY_CAPACITY } else { PIECE_CAPACITY };
        let mut walk = Walk::new(call, asked, minimal, capacity)?;
        walk.infinite = depth == Depth::Infinity;
        // Before the listing: a token must not be newer than what is listed under it.
        let sync_token = match walk.moment {
            Some(moment) => call.view.sync_token(moment, &call.path).await?,
            None => None,
        };
        let listing = match depth {
            Depth::Zero => None,
            Depth::One | Depth::Infinity => match call.view.list(&call.path).await {
                Ok(listing) => Some(listing),
                Err(Error::NotCollection) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let own = match &listing {
            Some(listing) => listing.own.clone(),
            None => call.view.stat(&call.path).await?,
        };
        let collection = own.node.is_collection();
        if walk.infinite && collection && call.view.mounts_below(&call.path).await? {
            let problem = Problem::forbidden("A walk without end would leave this server");
            return Err(problem.condition(Condition::PropfindFiniteDepth));
        }
        if walk.renderer.asked().wants_quota() && collection {
            walk.quota = call.view.quota(&call.path).await.ok();
        }
        let extras = Extras { sync_token, ..walk.extras(&call.path, &own.node, walk.quota).await };
        let href = call.own_href(collection);
        let name = call.path.name();
        let display_name = match (&name, &call.root.name) {
            (Some(name), _) => name.as_str(),
            (None, Some(name)) => name,
            (None, None) => &call.view.owner().display_name,
        };
        writer::begin(&mut walk.renderer.out);
        let shown = Shown { base: &href, name: None, display_name, node: &own.node, etag: &own.node.etag, access: own.access };
        walk.renderer.response(&shown, &extras);
        walk.current = listing.map(|listing| Frame { listing, path: call.path.clone(), href, last: None, whole: true });
        Ok(walk)
    }

    fn new(call: &Call, asked: Asked, minimal: bool, capacity: usize) -> Result<Walk> {
        Ok(Walk {
            moment: if asked.wants_sync_token() { Some(call.view.moment()?) } else { None },
            view: call.view.clone(),
            renderer: Renderer::new(asked, call.view.clone(), call.root.clock.now(), minimal, capacity),
            root_href: call.href(&TreePath::root()),
            own_href: call.own_href(true),
            current: None,
            pending: Vec::new(),
            infinite: false,
            changed: None,
            quota: None,
            nodes: 0,
            last: None,
            left: None,
            cut: false,
            ended: false,
        })
    }

    /// A walk that tells what changed below the collection of the request, and not that collection itself (RFC 6578 3.3).
    pub(super) async fn of_changes(
        call: &Call,
        asked: Asked,
        mut changed: Changed,
        level: SyncLevel,
        limit: Option<usize>,
    ) -> Result<Walk> {
        let mut walk = Walk::new(call, asked, false, PIECE_CAPACITY)?;
        walk.infinite = level == SyncLevel::Infinite;
        let listing = call.view.list(&call.path).await?;
        if walk.renderer.asked().wants_quota() {
            walk.quota = call.view.quota(&call.path).await.ok();
        }
        writer::begin(&mut walk.renderer.out);
        walk.left = limit;
        // Shares of which nothing is seen any more: no name went, so that the log says nothing of them.
        let hidden: Vec<TreePath> = listing.hidden_names().filter(|_| !changed.is_initial()).map(|name| call.path.join(name)).collect();
        for gone in changed.take_gone(hidden) {
            if !walk.takes_one(|| After::Gone(gone.clone())) {
                walk.changed = Some(changed);
                return Ok(walk);
            }
            walk.renderer.gone(&[walk.root_href.as_str(), &gone.to_href()].concat());
        }
        let whole = changed.is_whole(&listing.own.node);
        walk.current = Some(Frame { listing, path: call.path.clone(), href: call.own_href(true), last: None, whole });
        walk.changed = Some(changed);
        Ok(walk)
    }

    /// Whether there is something to tell, and the client wants nothing told.
    pub(super) fn is_stuck(&self) -> bool {
        self.cut && self.last.is_none()
    }

    /// Counts something that is to be told, unless the client has as much as it wants: then the answer ends.
    fn takes_one(&mut self, after: impl FnOnce() -> After) -> bool {
        self.cut = self.left == Some(0);
        if self.cut {
            return false;
        }
        self.nodes += 1;
        if let Some(left) = &mut self.left {
            *left -= 1;
            self.last = Some(after());
        }
        true
    }

    pub(super) fn unfinished(&self) -> bool {
        !self.ended
    }

    /// The next piece; the last one ends the document.
    pub(super) async fn piece(&mut self) -> Result<Bytes, Error> {
        while self.renderer.out.len() < MULTISTATUS_PIECE_BYTES {
            if let Some(mut frame) = self.current.take() {
                if self.members(&mut frame).await? {
                    self.current = Some(frame);
                }
            } else if let Some(Pending { path, href, whole }) = self.pending.pop() {
                match self.view.list(&path).await {
                    Ok(listing) => self.current = Some(Frame { listing, path, href, last: None, whole }),
                    // It went away meanwhile; that it was there has been said.
                    Err(Error::NotFound | Error::ParentMissing | Error::NotCollection) => {}
                    Err(error) => return Err(error),
                }
            } else {
                if let Some(changed) = &self.changed {
                    let last = self.last.as_ref().filter(|_| self.cut);
                    let token = last.map_or_else(|| changed.token.to_string(), |last| changed.token_after(last));
                    if self.cut {
                        writer::too_many(&mut self.renderer.out, &self.own_href);
                    }
                    self.renderer.out.leaf("<d:sync-token>", &token, "</d:sync-token>");
                }
                writer::end(&mut self.renderer.out);
                self.ended = true;
                break;
            }
        }
        let capacity = if self.ended { 0 } else { PIECE_CAPACITY };
        Ok(self.renderer.out.take(capacity))
    }

    /// Writes members until the piece is full. Returns whether there may be more.
    async fn members(&mut self, frame: &mut Frame) -> Result<bool, Error> {
        let mut below = Vec::new();
        let mut full = false;
        let last = frame.last.take();
        for member in frame.listing.members_after(last.as_ref()) {
            let (mut past, mut past_all_in) = (false, false);
            if let Some(changed) = &self.changed {
                if !changed.tells(&member, frame.whole) {
                    continue;
                }
                let path = frame.path.join(member.name);
                (past, past_all_in) = (changed.is_past(&path), changed.is_past_all_in(&path));
                if !past && !self.takes_one(|| After::Member(path)) {
                    self.pending.clear();
                    return Ok(false);
                }
            } else {
                self.nodes += 1;
            }
            if self.nodes > PROPFIND_NODES_MAX {
                return Err(Error::LimitReached("the tree is too large for one answer"));
            }
            if !past {
                self.member(frame, &member).await;
            }
            if self.infinite && member.node.is_collection() && !past_all_in {
                let whole = frame.whole || self.changed.as_ref().is_none_or(|changed| changed.is_whole(member.node));
                below.push((member.name.clone(), whole));
            }
            if self.renderer.out.len() >= MULTISTATUS_PIECE_BYTES {
                frame.last = Some(member.name.clone());
                full = true;
                break;
            }
        }
        for (name, whole) in below {
            let mut href = frame.href.clone();
            crate::wire::href::push_segment(&mut href, name.as_str());
            href.push('/');
            self.pending.push(Pending { path: frame.path.join(&name), href, whole });
        }
        Ok(full)
    }

    async fn member(&mut self, frame: &Frame, member: &Member<'_>) {
        let extras = if self.needs_extras(member.node) {
            let quota = self.quota.filter(|_| same_quota(&frame.listing.own.access, &member.access));
            let extras = self.extras(&frame.path.join(member.name), member.node, quota).await;
            let moment = self.moment.filter(|_| member.access.mount.is_none());
            let sync_token = moment.and_then(|moment| SyncToken::of(moment, member.node));
            Extras { sync_token, ..extras }
        } else {
            Extras::default()
        };
        let name = member.name.as_str();
        let shown =
            Shown { base: &frame.href, name: Some(name), display_name: name, node: member.node, etag: member.etag, access: member.access };
        self.renderer.response(&shown, &extras);
    }

    fn needs_extras(&self, node: &Node) -> bool {
        let asked = self.renderer.asked();
        let of_collection = node.is_collection() && (asked.wants_quota() || asked.wants_sync_token());
        (node.has_properties && asked.wants_dead()) || asked.wants_locks() || of_collection
    }

    /// What is not in the node itself. A fault here leaves the property out: the node is there all the same.
    async fn extras(&self, path: &TreePath, node: &Node, quota: Option<Quota>) -> Extras {
        let asked = self.renderer.asked();
        let mut extras = Extras::default();
        if node.has_properties && asked.wants_dead() {
            extras.dead = self.view.properties(path).await.unwrap_or_default();
        }
        if asked.wants_locks() {
            let locks = self.view.locks(path).await.unwrap_or_default();
            extras.locks = locks
                .into_iter()
                .map(|lock| {
                    let root = [self.root_href.as_str(), &lock.root.to_href()].concat();
                    (lock, root)
                })
                .collect();
        }
        if node.is_collection() {
            extras.quota = quota;
        }
        extras
    }
}

/// The quota of a collection holds for its members, unless a mount begins there: that would have to be asked for.
fn same_quota(collection: &Access, member: &Access) -> bool {
    collection.mount == member.mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_only_for_clients_that_ask() {
        assert!(accepts_gzip("gzip") && accepts_gzip("deflate, GZip;q=0.5") && accepts_gzip("br,gzip"));
        assert!(!accepts_gzip("identity") && !accepts_gzip("gzip;q=0") && !accepts_gzip("gzip; q=0.0") && !accepts_gzip(""));
    }
}
