//! What has come of an upload: a client that was cut off goes on from there.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use super::{Place, WHOLE};
use crate::domain::{Etag, Kind, Node, NodeId, Permissions, Timestamp, Upload, UploadName};
use crate::limits::XML_BODY_BYTES_MAX;
use crate::protocol::dav::problem::{Problem, Result};
use crate::protocol::dav::properties::Asked;
use crate::protocol::dav::render::{Extras, Renderer, Shown};
use crate::protocol::dav::request::{Call, Depth, Payload, depth, full};
use crate::service::uploads::Uploads;
use crate::tree::Access;
use crate::wire::Body;
use crate::wire::multistatus::writer;

/// Answers PROPFIND below the root of the uploads.
pub(super) async fn propfind(call: &Call, payload: &Payload, uploads: &Uploads, place: Place) -> Result<Response<Body>> {
    let asked = Asked::parse(&payload.bytes(XML_BODY_BYTES_MAX).await?)?;
    // A session holds no collections: deeper is as deep as 1.
    let members = depth(call)?.unwrap_or(Depth::One) != Depth::Zero;
    let minimal = call.named("prefer").is_some_and(|value| value.contains("return=minimal"));
    let mut out = Listing::begin(call, asked, minimal);
    match place {
        Place::Root => {
            out.own(&collection(call.root.clock.now()));
            // Whoever else has the link need not know what others are sending.
            let sessions = if members && call.view.is_own() { uploads.list(&call.view) } else { Vec::new() };
            for upload in sessions {
                if let UploadName::Session(name) = &upload.name {
                    out.member(name, &collection(upload.begun));
                }
            }
        }
        Place::Session(name) => {
            let upload = uploads.find(&call.view, &name)?;
            let chunks = call.view.chunk_space()?.chunks(upload.id)?;
            let last = chunks.iter().map(|chunk| chunk.modified).max().unwrap_or(upload.begun);
            out.own(&collection(upload.begun));
            if members {
                out.member(WHOLE, &file(chunks.iter().map(|chunk| chunk.size).sum(), last));
                for chunk in &chunks {
                    out.member(chunk.name.as_str(), &file(chunk.size, chunk.modified));
                }
            }
        }
        Place::Whole(name) => {
            let upload: &Upload = &*uploads.find(&call.view, &name)?;
            out.own(&file(call.view.chunk_space()?.upload_bytes(upload.id)?, upload.begun));
        }
        Place::Chunk(session, name) => {
            let upload = uploads.find(&call.view, &session)?;
            let chunks = call.view.chunk_space()?.chunks(upload.id)?;
            let chunk = chunks.iter().find(|chunk| chunk.name == name).ok_or_else(Problem::not_found)?;
            out.own(&file(chunk.size, chunk.modified));
        }
    }
    Ok(out.end())
}

/// A multistatus in the making.
struct Listing {
    renderer: Renderer,
    spelled: String,
}

impl Listing {
    fn begin(call: &Call, asked: Asked, minimal: bool) -> Listing {
        let mut renderer = Renderer::new(asked, call.view.clone(), call.root.clock.now(), minimal, 4096);
        writer::begin(&mut renderer.out);
        Listing { renderer, spelled: call.spelled.clone() }
    }

    /// What was asked for itself.
    fn own(&mut self, node: &Node) {
        let slash = if node.is_collection() { "/" } else { "" };
        let href = [&self.spelled, slash].concat();
        let name = self.spelled.rsplit('/').next().unwrap_or_default().to_owned();
        self.shown(&Shown { base: &href, name: None, display_name: &name, node, etag: &node.etag, access: ACCESS });
    }

    fn member(&mut self, name: &str, node: &Node) {
        let base = [&self.spelled, "/"].concat();
        self.shown(&Shown { base: &base, name: Some(name), display_name: name, node, etag: &node.etag, access: ACCESS });
    }

    fn shown(&mut self, shown: &Shown<'_>) {
        self.renderer.response(shown, &Extras::default());
    }

    fn end(mut self) -> Response<Body> {
        writer::end(&mut self.renderer.out);
        let mut response = Response::new(full(self.renderer.out.take(0)));
        *response.status_mut() = StatusCode::MULTI_STATUS;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
        response
    }
}

const ACCESS: Access = Access { granted: Permissions::ALL, shared: false, mount_root: false, mount: None };

fn collection(modified: Timestamp) -> Node {
    node(Kind::Collection, 0, modified)
}

fn file(size: u64, modified: Timestamp) -> Node {
    node(Kind::File, size, modified)
}

fn node(kind: Kind, size: u64, modified: Timestamp) -> Node {
    let etag = Etag::Opaque(format!("{size:x}-{modified:x}").into_boxed_str());
    Node { etag, size, modified, created: modified, ..Node::bare(NodeId(0), kind) }
}
