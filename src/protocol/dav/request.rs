//! A request as every method sees it: where it points, what its headers say, and its body.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{EXPECT, HeaderName};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Empty, Full};

use crate::domain::{Clock, TreePath};
use crate::limits::{DRAIN_BYTES_MAX, DRAIN_HTTP2_BYTES_MAX, DRAIN_PAUSE_MAX, DRAIN_TIME_MAX};
use crate::protocol::dav::problem::{Problem, Result};
use crate::service::uploads::Uploads;
use crate::tree::View;
use crate::wire::{Body, Incoming, href};

/// Under which URL a view is served.
#[derive(Debug, Clone)]
pub struct Root {
    /// The path of the root as it stands in URLs, without a slash at its end: `/remote.php/webdav`.
    pub prefix: String,
    /// Other such paths that lead to the same tree, for `Destination` and `If`.
    pub aliases: Vec<String>,
    /// Further `host[:port]` by which this server is known, beside the one that the request names.
    pub hosts: Vec<String>,
    /// The root is one file (a link to a file).
    pub single_file: bool,
    /// Name of the root's node, where it is not in the URL.
    pub name: Option<String>,
    /// Where `now` comes from.
    pub clock: Clock,
    /// Uploads in chunks, where they are offered.
    pub uploads: Option<Uploads>,
    /// Bytes of the largest file that may be uploaded.
    pub upload_max: Option<u64>,
}

impl Root {
    /// A root at `prefix`, on the machine's clock.
    pub fn new(prefix: impl Into<String>) -> Root {
        Root {
            prefix: prefix.into(),
            aliases: Vec::new(),
            hosts: Vec::new(),
            single_file: false,
            name: None,
            clock: Clock::System,
            uploads: None,
            upload_max: None,
        }
    }

    /// The encoded path below this root or one of its aliases.
    fn below<'path>(&self, path: &'path str) -> Option<&'path str> {
        let prefixes = std::iter::once(&self.prefix).chain(&self.aliases);
        prefixes.filter_map(|prefix| href::strip_prefix(path, prefix)).min_by_key(|rest| rest.len())
    }
}

/// A request without its body.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) view: View,
    pub(super) root: Root,
    /// What is asked for, below the root.
    pub(super) path: TreePath,
    /// The path of the URL as it was spelled, without a slash at its end: hrefs in answers begin with it.
    pub(super) spelled: String,
    /// How the root was spelled.
    spelled_root: String,
    /// The URL ends with a slash.
    pub(super) slash: bool,
    authority: Option<String>,
}

impl Call {
    /// Reads where a request points. The second part is what is wrong with it, if anything: an error body needs the call all the same.
    pub(super) fn new(parts: http::request::Parts, view: View, root: Root) -> (Call, Result<()>) {
        let raw = parts.uri.path();
        let authority = parts.uri.authority().map(ToString::to_string).or_else(|| {
            let host = parts.headers.get(http::header::HOST)?;
            host.to_str().ok().map(str::to_owned)
        });
        let rest = root.below(raw);
        let spelled_root = rest.and_then(|rest| raw.strip_suffix(rest)).unwrap_or(&root.prefix).trim_end_matches('/').to_owned();
        let (path, judged) = match rest.ok_or_else(Problem::not_found).and_then(|rest| locate(rest, &root)) {
            Ok(path) => (path, Ok(())),
            Err(problem) => (TreePath::root(), Err(problem)),
        };
        let call = Call {
            spelled: raw.trim_end_matches('/').to_owned(),
            slash: raw.ends_with('/'),
            method: parts.method,
            headers: parts.headers,
            view,
            root,
            path,
            spelled_root,
            authority,
        };
        (call, judged)
    }

    /// A request to something beside the tree, such as its uploads: `path` is the root until somebody knows better.
    pub(super) fn beside(parts: http::request::Parts, view: View, root: Root) -> Call {
        Call::new(parts, view, root).0
    }

    /// The same headers about a file of the tree that is to be written: conditions are judged as those of a PUT to it.
    pub(super) fn writing(&self, path: TreePath) -> Call {
        Call { path, method: Method::PUT, slash: false, ..self.clone() }
    }

    /// The value of a header, where it is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a header that has no constant in `http`.
    pub(super) fn named(&self, name: &'static str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The path of a node as it stands in an href, without a slash at its end.
    pub(super) fn href(&self, path: &TreePath) -> String {
        if path.is_root() {
            return [&self.spelled_root, "/"].concat();
        }
        [&self.spelled_root, "/", &path.to_href()].concat()
    }

    /// The href of the request itself, with a slash at the end of collections; the root of a link to one file stays as it was asked for.
    pub(super) fn own_href(&self, collection: bool) -> String {
        if collection || self.spelled.is_empty() || (self.slash && self.path.is_root()) {
            [&self.spelled, "/"].concat()
        } else {
            self.spelled.clone()
        }
    }

    /// Where a URL in a header points; none if it is not ours, or in no tree that this view shows.
    pub(super) fn locate(&self, url: &str) -> Option<Result<TreePath>> {
        let reference = href::parse(url)?;
        if let Some(authority) = reference.authority {
            let known = self.authority.iter().chain(&self.root.hosts).any(|own| href::same_authority(own, authority));
            if !known {
                return None;
            }
        }
        let rest = self.root.below(reference.path)?;
        Some(locate(rest, &self.root))
    }
}

fn locate(rest: &str, root: &Root) -> Result<TreePath> {
    let path = TreePath::from_href(rest)?;
    // A link to one file is its root; nothing lies below (DESIGN 6).
    if root.single_file && !path.is_root() {
        return Err(Problem::not_found());
    }
    Ok(path)
}

/// The body of a request. A method may hand it on and still have it drained here when it refuses.
pub(super) struct Payload {
    /// Bytes, where the client said it.
    pub(super) length: Option<u64>,
    shared: Arc<Mutex<Shared>>,
    waits: bool,
}

struct Shared {
    stream: Incoming,
    begun: bool,
    ended: bool,
}

impl Payload {
    pub(super) fn new<B>(body: B, headers: &HeaderMap) -> Payload
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let length = body.size_hint().exact();
        let ended = body.is_end_stream();
        let stream = body.into_data_stream().map(|piece| piece.map_err(io::Error::other));
        let waits = headers.get(EXPECT).is_some();
        Payload { length, shared: Arc::new(Mutex::new(Shared { stream: Box::pin(stream), begun: false, ended })), waits }
    }

    /// The body for somebody who reads all of it.
    pub(super) fn stream(&self) -> Incoming {
        Box::pin(Lent(Arc::clone(&self.shared)))
    }

    /// Whether there is no body at all.
    pub(super) fn is_empty(&self) -> bool {
        self.length == Some(0) || self.shared.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// The whole body, if it is not too long.
    pub(super) async fn bytes(&self, max: usize) -> Result<Vec<u8>> {
        let too_large = || Problem::too_large("The body is too large");
        if self.length.is_some_and(|length| length > u64::try_from(max).unwrap_or(u64::MAX)) {
            return Err(too_large());
        }
        let mut stream = self.stream();
        let mut body = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|_error| Problem::bad_request("The body broke off"))?;
            if max - body.len() < piece.len() {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Reads what a refused request still sends, within bounds: a connection that is closed with unread bytes may lose the answer on its
    /// way (`protocol/clients.md` 4). Who waits for `100 Continue` sends nothing.
    pub(super) async fn drain(&self) {
        if self.waits && !self.shared.lock().unwrap_or_else(PoisonError::into_inner).begun {
            return;
        }
        let mut stream = self.stream();
        let reading = async {
            let mut left = DRAIN_BYTES_MAX;
            // Who sends nothing more is waiting for the answer.
            while let Ok(Some(Ok(piece))) = tokio::time::timeout(DRAIN_PAUSE_MAX, stream.next()).await {
                let Some(less) = left.checked_sub(piece.len()) else { break };
                left = less;
            }
        };
        // Whether it ended or took too long is the same to us.
        drop(tokio::time::timeout(DRAIN_TIME_MAX, reading).await);
    }
}

/// An answer over HTTP/2 to a request that is still being sent. A stream that ends before its request does is reset, and the reset overtakes
/// the answer; so the answer's end waits while the rest is read and thrown away, until the client has seen the answer and stops (RFC 9113 8.1).
pub(super) struct Holding {
    answer: Body,
    rest: Option<Incoming>,
    /// Bytes that are still thrown away.
    left: usize,
}

impl Holding {
    pub(super) fn wrap(answer: Body, payload: &Payload) -> Body {
        if payload.is_empty() {
            return answer;
        }
        Holding { answer, rest: Some(payload.stream()), left: DRAIN_HTTP2_BYTES_MAX }.boxed_unsync()
    }
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        match Pin::new(&mut self.answer).poll_frame(context) {
            Poll::Ready(None) => {}
            frame @ (Poll::Ready(Some(_)) | Poll::Pending) => return frame,
        }
        while let Some(rest) = self.rest.as_mut() {
            match rest.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) if piece.len() <= self.left => self.left -= piece.len(),
                Poll::Ready(_) => self.rest = None,
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.answer.size_hint()
    }
}

struct Lent(Arc<Mutex<Shared>>);

impl Stream for Lent {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.ended {
            return Poll::Ready(None);
        }
        shared.begun = true;
        let polled = shared.stream.as_mut().poll_next(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            shared.ended = true;
        }
        polled
    }
}

/// A body of known bytes.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes in pieces.
pub(super) fn streamed(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    http_body_util::StreamBody::new(stream.map(|piece| piece.map(http_body::Frame::data))).boxed_unsync()
}

/// Seconds of a `Timeout` header (RFC 4918 10.7): the first that is understood; `Infinite` is as long as can be.
pub(super) fn timeout(value: Option<&str>) -> Duration {
    use crate::limits::{LOCK_TIMEOUT_DEFAULT, LOCK_TIMEOUT_MAX};
    let read = |item: &str| {
        let item = item.trim();
        if item.eq_ignore_ascii_case("infinite") {
            return Some(LOCK_TIMEOUT_MAX);
        }
        let (kind, digits) = item.split_once('-')?;
        if !kind.eq_ignore_ascii_case("second") || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)).clamp(Duration::from_secs(1), LOCK_TIMEOUT_MAX))
    };
    value.and_then(|value| value.split(',').find_map(read)).unwrap_or(LOCK_TIMEOUT_DEFAULT)
}

/// How deep a request reaches (RFC 4918 10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Zero,
    One,
    Infinity,
}

/// The `Depth` header; none where there is none.
pub(super) fn depth(call: &Call) -> Result<Option<Depth>> {
    match call.named("depth").map(str::trim) {
        None => Ok(None),
        Some("0") => Ok(Some(Depth::Zero)),
        Some("1") => Ok(Some(Depth::One)),
        Some(text) if text.eq_ignore_ascii_case("infinity") => Ok(Some(Depth::Infinity)),
        Some(_) => Err(Problem::bad_request("Depth is 0, 1 or infinity")),
    }
}

/// Whether `Overwrite` allows to replace what is there (RFC 4918 10.6: yes, unless it is `F`).
pub(super) fn overwrite(call: &Call) -> Result<bool> {
    match call.named("overwrite").map(str::trim) {
        None => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("t") || text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("f") || text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(Problem::bad_request("Overwrite is T or F")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LOCK_TIMEOUT_DEFAULT, LOCK_TIMEOUT_MAX};

    #[test]
    fn d5_timeouts_are_bounded() {
        assert_eq!(timeout(None), LOCK_TIMEOUT_DEFAULT);
        assert_eq!(timeout(Some("Second-60")), Duration::from_secs(60));
        assert_eq!(timeout(Some("Infinite, Second-4100000000")), LOCK_TIMEOUT_MAX);
        assert_eq!(timeout(Some("Second-99999999999999999999999")), LOCK_TIMEOUT_MAX);
        assert_eq!(timeout(Some("Second--5, x, second-7")), Duration::from_secs(7));
        assert_eq!(timeout(Some("Second-0")), Duration::from_secs(1));
    }
}
