//! What a home keeps beside its files, the trash and old versions, as ownCloud and Nextcloud show them. Both name the same nodes; where they
//! differ is where things lie and what the properties are called (`protocol/owncloud.md` 4).

use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};

use crate::domain::{Node, NodeId, Permissions, PropertyName, TreePath, Write};
use crate::limits::{MULTISTATUS_PIECE_BYTES, XML_BODY_BYTES_MAX};
use crate::protocol::dav::problem::{Condition, Problem, Result};
use crate::protocol::dav::properties::Asked;
use crate::protocol::dav::render::{Extras, Renderer, Shown};
use crate::protocol::dav::request::{Call, Depth, Holding, Payload, depth, full, streamed};
use crate::protocol::dav::{Root, conditions, options, transfer, trash, versions};
use crate::service::sharing::Sharing;
use crate::tree::{Access, View};
use crate::wire::multistatus::writer;
use crate::wire::xml::Writer;
use crate::wire::{Body, href};

/// Which of the trees that are not files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// `/remote.php/dav/trash-bin/USER`.
    OwnCloudTrash,
    /// `/remote.php/dav/trashbin/USER`.
    NextcloudTrash,
    /// `/remote.php/dav/meta`: ownCloud's versions, by the number of the file.
    Meta,
    /// `/remote.php/dav/versions/USER`.
    NextcloudVersions,
}

impl Tree {
    /// Where it is served, without the user's name.
    pub fn roots(self) -> [&'static str; 2] {
        match self {
            Tree::OwnCloudTrash => ["/remote.php/dav/trash-bin", "/dav/trash-bin"],
            Tree::NextcloudTrash => ["/remote.php/dav/trashbin", "/dav/trashbin"],
            Tree::Meta => ["/remote.php/dav/meta", "/dav/meta"],
            Tree::NextcloudVersions => ["/remote.php/dav/versions", "/dav/versions"],
        }
    }
}

/// Under which URLs one of these trees is served.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Which.
    pub tree: Tree,
    /// Its own root.
    pub own: Root,
    /// The root of the user's files, to which things come back.
    pub home: Root,
}

/// A request for one of these trees.
pub(super) struct KeptCall<'request> {
    pub(super) call: Call,
    /// The same request as the home sees it: for `Destination`, and for the conditions of what is written there.
    pub(super) home: Call,
    pub(super) payload: Payload,
    pub(super) sharing: &'request Sharing,
    pub(super) tree: Tree,
}

/// Answers one request for trash or versions. It never fails: errors are rendered.
pub async fn handle_kept<B>(request: Request<B>, view: View, sharing: &Sharing, places: Kept) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let multiplexed = parts.version == http::Version::HTTP_2;
    let payload = Payload::new(body, &parts.headers);
    // Where the request itself points is nothing in the home.
    let (home, _elsewhere) = Call::new(parts.clone(), view.clone(), places.home);
    let (call, judged) = Call::new(parts, view, places.own);
    let mut kept = KeptCall { call, home, payload, sharing, tree: places.tree };
    let answer = match judged {
        Ok(()) => dispatch(&mut kept).await,
        Err(problem) => Err(problem),
    };
    if !kept.payload.is_empty() {
        kept.payload.drain().await;
    }
    let response = answer.unwrap_or_else(|problem| problem.into_response(&kept.call));
    if multiplexed { response.map(|body| Holding::wrap(body, &kept.payload)) } else { response }
}

async fn dispatch(kept: &mut KeptCall<'_>) -> Result<Response<Body>> {
    if kept.call.method == http::Method::OPTIONS {
        return Ok(options::options());
    }
    match kept.tree {
        Tree::OwnCloudTrash | Tree::NextcloudTrash => trash::answer(kept).await,
        Tree::Meta | Tree::NextcloudVersions => versions::answer(kept).await,
    }
}

/// One node of a listing.
pub(super) struct Item {
    /// Its path below the root of the tree.
    pub(super) path: TreePath,
    pub(super) display_name: String,
    pub(super) node: Node,
    /// Properties that only these trees have.
    pub(super) own: Vec<(PropertyName, Box<str>)>,
}

/// A property with a text.
pub(super) fn property(namespace: &str, local: &str, text: &str) -> (PropertyName, Box<str>) {
    let name = PropertyName { namespace: namespace.into(), local: local.into() };
    let mut writer = Writer::new();
    writer.open_named(&name, None);
    writer.end_open();
    writer.text(text);
    writer.close_local(local);
    (name, writer.into_string().into())
}

impl KeptCall<'_> {
    /// How deep a PROPFIND looks; these trees are not walked without end.
    pub(super) fn depth(&self) -> Result<Depth> {
        match depth(&self.call)? {
            None => Ok(Depth::One),
            Some(Depth::Infinity) => {
                Err(Problem::forbidden("This tree is listed level by level").condition(Condition::PropfindFiniteDepth))
            }
            Some(depth @ (Depth::Zero | Depth::One)) => Ok(depth),
        }
    }

    /// Answers PROPFIND with these nodes, the one that was asked for first.
    pub(super) async fn listed(&self, items: Vec<Item>) -> Result<Response<Body>> {
        let asked = Asked::parse(&self.payload.bytes(XML_BODY_BYTES_MAX).await?)?;
        let call = &self.call;
        let minimal = call.named("prefer").is_some_and(|value| value.contains("return=minimal"));
        let mut renderer = Renderer::new(asked, call.view.clone(), call.root.clock.now(), minimal, MULTISTATUS_PIECE_BYTES);
        writer::begin(&mut renderer.out);
        let root = call.href(&TreePath::root());
        let pieces = stream::unfold(Some((renderer, items.into_iter(), root)), |state| async move {
            let (mut renderer, mut items, root) = state?;
            while renderer.out.len() < MULTISTATUS_PIECE_BYTES {
                let Some(item) = items.next() else {
                    writer::end(&mut renderer.out);
                    return Some((Ok(renderer.out.take(0)), None));
                };
                item.render(&mut renderer, &root);
            }
            Some((Ok(renderer.out.take(MULTISTATUS_PIECE_BYTES)), Some((renderer, items, root))))
        });
        let mut response = Response::new(streamed(pieces));
        *response.status_mut() = StatusCode::MULTI_STATUS;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(writer::CONTENT_TYPE));
        response.headers_mut().insert("dav", HeaderValue::from_static(options::CLASSES));
        Ok(response)
    }

    /// The header `Destination`, read by `locate`.
    fn destination(&self, call: &Call) -> Result<Option<TreePath>> {
        let header = call.headers.get("destination").ok_or_else(|| Problem::bad_request("The Destination header is missing"))?;
        let text = header.to_str().map_err(|_error| Problem::bad_request("The Destination is not an encoded URL"))?;
        call.locate(text).transpose()
    }

    /// Where a MOVE or COPY goes: in the files, or else in this tree.
    pub(super) fn goal(&self) -> Result<Goal> {
        if let Some(path) = self.destination(&self.home)? {
            return Ok(Goal::Files(path));
        }
        self.destination(&self.call)?.map(Goal::Own).ok_or_else(Problem::bad_gateway)
    }

    /// The conditions of a write to a path of the files, `Overwrite` and the tokens of `If` included.
    pub(super) async fn write_to(&mut self, path: &TreePath) -> Result<Write> {
        self.home.path = path.clone();
        let judged = conditions::judge(&self.home).await?;
        transfer::target(&self.home, &judged, path)
    }
}

/// Where something is brought to.
pub(super) enum Goal {
    /// A path of the user's files.
    Files(TreePath),
    /// A path of the tree itself.
    Own(TreePath),
}

impl Item {
    fn render(self, renderer: &mut Renderer, root: &str) {
        let mut href = root.to_owned();
        for (position, segment) in self.path.segments().enumerate() {
            if position > 0 {
                href.push('/');
            }
            href::push_segment(&mut href, segment);
        }
        if self.node.is_collection() && !href.ends_with('/') {
            href.push('/');
        }
        // What is kept may be read, brought back and deleted; nothing is written here.
        let granted = Permissions::READ | Permissions::DELETE;
        let access = Access { granted, shared: false, mount_root: false, mount: None };
        let shown = Shown { base: &href, name: None, display_name: &self.display_name, node: &self.node, etag: &self.node.etag, access };
        renderer.response(&shown, &Extras { dead: self.own, ..Extras::default() });
    }
}

/// A number in a URL.
pub(super) fn number(text: &str) -> Option<u64> {
    // No signs and no leading zeros: each node has one URL.
    let proper = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| proper)
}

/// A file or collection that stands for something of the tree itself.
pub(super) fn folder(like: &Node, id: NodeId) -> Node {
    Node { id, kind: crate::domain::Kind::Collection, ..like.clone() }
}

/// 204 or 201 without a body.
pub(super) fn done(created: bool) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    response
}
