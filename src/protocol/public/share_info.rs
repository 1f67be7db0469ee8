//! `shareinfo`: what a link holds, as JSON. Servers that mount a link ask it when something fails, and take the mount away on 403 and 404
//! (`protocol/nextcloud.md` 1.7): both are said only where they are true, and whatever may pass is 503.
//!
//! The tree is written in pieces as the connection takes them. Folders below the bounds, and what lies in mounts, come without `children`, as
//! folders below the asked depth do: a listing is whole or not there, never empty for what merely is not told.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use crate::domain::{Error, Etag, Name, Node, NodeId, Permissions, TreePath};
use crate::limits::{MULTISTATUS_PIECE_BYTES, SHAREINFO_DEPTH_MAX, SHAREINFO_NODES_MAX};
use crate::tree::{Access, Listing, View};
use crate::wire::Body;

/// What is asked of a link.
#[derive(Debug)]
pub struct Question {
    /// Where below the link's root.
    pub path: TreePath,
    /// How deep; the bound if not said.
    pub depth: usize,
    /// What the link's root is called.
    pub name: String,
}

impl Question {
    /// Reads `dir` and `depth`; none where they cannot be read. A negative depth has no bound of its own.
    pub fn parse(dir: Option<&str>, depth: Option<&str>, name: String) -> Option<Question> {
        let depth = match depth {
            None | Some("") => SHAREINFO_DEPTH_MAX,
            Some(text) => usize::try_from(text.parse::<i64>().ok()?).unwrap_or(SHAREINFO_DEPTH_MAX).min(SHAREINFO_DEPTH_MAX),
        };
        Some(Question { path: TreePath::parse(dir.unwrap_or_default()).ok()?, depth, name })
    }
}

/// Answers for an open link.
pub async fn share_info(view: View, question: Question) -> Response<Body> {
    match Walk::begin(view, question).await {
        Ok(walk) => {
            let body = StreamBody::new(pieces(walk).map(|piece| piece.map(Frame::data)));
            answer(StatusCode::OK, body.boxed_unsync())
        }
        Err(error) => refuse(status_of(&error)),
    }
}

/// An answer without a tree.
pub fn refuse(status: StatusCode) -> Response<Body> {
    let body = Full::new(Bytes::from_static(br#"{"data":[],"status":"error"}"#));
    answer(status, body.map_err(|never| match never {}).boxed_unsync())
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::NotFound | Error::ParentMissing | Error::NotCollection | Error::InvalidName(_) => StatusCode::NOT_FOUND,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::Exists
        | Error::IsCollection
        | Error::PreconditionFailed
        | Error::Locked(_)
        | Error::NoSuchLock
        | Error::LimitReached(_)
        | Error::InsufficientStorage
        | Error::BodyMismatch(_)
        | Error::BodyBroken
        | Error::Unavailable { .. }
        | Error::Loop
        | Error::Unsupported(_)
        | Error::Changed
        | Error::Internal(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn pieces(walk: Walk) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        if walk.ended {
            return None;
        }
        match walk.piece().await {
            Ok(piece) => Some((Ok(piece), Some(walk))),
            // The answer breaks off: an end that looks whole would tell less than there is.
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
}

/// A folder whose members are being written.
struct Level {
    listing: Listing,
    path: TreePath,
    last: Option<Name>,
}

struct Walk {
    view: View,
    depth: usize,
    nodes: usize,
    levels: Vec<Level>,
    out: Vec<u8>,
    ended: bool,
}

impl Walk {
    async fn begin(view: View, question: Question) -> Result<Walk, Error> {
        let Question { path, depth, name } = question;
        let entry = view.stat(&path).await?;
        let name = path.name().map_or(name, |name| name.to_string());
        let mut walk = Walk { view, depth, nodes: 1, levels: Vec::new(), out: br#"{"data":"#.to_vec(), ended: false };
        walk.write(&Shown { name: &name, node: &entry.node, etag: &entry.node.etag, access: &entry.access, parent: None });
        if entry.node.is_collection() && depth > 0 {
            let listing = walk.view.list(&path).await?;
            walk.enter(listing, path);
        } else {
            walk.close();
        }
        Ok(walk)
    }

    /// The next piece of the answer.
    async fn piece(&mut self) -> Result<Bytes, Error> {
        while self.out.len() < MULTISTATUS_PIECE_BYTES && !self.levels.is_empty() {
            self.step().await?;
        }
        self.ended = self.levels.is_empty();
        if self.ended {
            self.out.extend_from_slice(br#","status":"success"}"#);
        }
        Ok(Bytes::from(std::mem::take(&mut self.out)))
    }

    /// Writes one member, or the end of a folder.
    async fn step(&mut self) -> Result<(), Error> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        let Some(member) = level.listing.members_after(level.last.as_ref()).next() else {
            self.out.extend_from_slice(b"]");
            self.close();
            return Ok(());
        };
        if level.last.is_some() {
            self.out.push(b',');
        }
        let parent = Some(level.listing.own.node.id);
        self.write(&Shown { name: member.name.as_str(), node: member.node, etag: member.etag, access: &member.access, parent });
        let (name, folder, mounted) = (member.name.clone(), member.node.is_collection(), member.access.mount.is_some());
        let path = level.path.join(&name);
        level.last = Some(name);
        self.levels.push(level);
        if !folder || mounted || self.levels.len() >= self.depth {
            self.close();
            return Ok(());
        }
        match self.view.list(&path).await {
            Ok(listing) if self.nodes.saturating_add(listing.len()) <= SHAREINFO_NODES_MAX => self.enter(listing, path),
            // Gone since its parent was read, or one too many.
            Ok(_) | Err(Error::NotFound | Error::NotCollection) => self.close(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn enter(&mut self, listing: Listing, path: TreePath) {
        self.nodes = self.nodes.saturating_add(listing.len());
        self.out.extend_from_slice(br#","children":["#);
        self.levels.push(Level { listing, path, last: None });
    }

    /// Writes a node without the brace that ends it.
    fn write(&mut self, shown: &Shown<'_>) {
        let node = shown.node;
        let folder = node.is_collection();
        // Nothing is made inside a file.
        let permissions = if folder { shown.access.granted } else { shown.access.granted & Permissions(!Permissions::CREATE.0) };
        let media = match (&node.media_type, folder) {
            (_, true) => "httpd/unix-directory".to_owned(),
            (Some(media), false) => media.to_string(),
            (None, false) => mime_guess::from_path(shown.name).first_or_octet_stream().to_string(),
        };
        let fields = json!({
            "id": node.id.0,
            // What lies above the link is nobody's business.
            "parentId": shown.parent.map_or(-1, |NodeId(parent)| i64::try_from(parent).unwrap_or(i64::MAX)),
            "mtime": node.modified,
            "name": shown.name,
            "permissions": permissions.0,
            "mimetype": media,
            "size": node.size,
            "type": if folder { "dir" } else { "file" },
            "etag": shown.etag.quoted().trim_matches('"'),
        });
        let text = fields.to_string();
        self.out.extend_from_slice(text.strip_suffix('}').unwrap_or(&text).as_bytes());
    }

    fn close(&mut self) {
        self.out.push(b'}');
    }
}

struct Shown<'a> {
    name: &'a str,
    node: &'a Node,
    etag: &'a Etag,
    access: &'a Access,
    parent: Option<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(dir: Option<&str>, depth: Option<&str>) -> Option<(String, usize)> {
        Question::parse(dir, depth, String::new()).map(|question| (question.path.to_string(), question.depth))
    }

    #[test]
    fn questions_are_bounded() {
        assert_eq!(parse(None, None), Some(("/".to_owned(), SHAREINFO_DEPTH_MAX)));
        assert_eq!(parse(Some("/a/b"), Some("0")), Some(("/a/b".to_owned(), 0)));
        assert_eq!(parse(Some(""), Some("-1")), Some(("/".to_owned(), SHAREINFO_DEPTH_MAX)));
        assert_eq!(parse(None, Some("99999999")), Some(("/".to_owned(), SHAREINFO_DEPTH_MAX)));
        assert_eq!(parse(None, Some("deep")), None);
        assert_eq!(parse(Some("/../secret"), None), None);
    }
}
