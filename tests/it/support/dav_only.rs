//! WebDAV without sockets: requests go straight to the protocol, over a real home in a folder of its own.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use causeway::domain::{Clock, Kind, Link, LinkId, NodeId, Permissions, Secret, ShareToken, SpaceId, TreePath, User, UserName};
use causeway::mount::Mounts;
use causeway::protocol::dav::{Root, handle};
use causeway::remote::{Names, Policy, Remotes, Timeouts};
use causeway::space::{SpaceOptions, Spaces};
use causeway::store::{self, Store};
use causeway::tree::{Forest, View};
use causeway::wire::{Via, xml};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;

/// Where the tree is served.
pub(crate) const PREFIX: &str = "/remote.php/webdav";

/// A home and the protocol over it.
pub(crate) struct Dav {
    forest: Forest,
    user: User,
    link: Option<Link>,
    folder: Arc<TempDir>,
}

impl Dav {
    /// An empty home of the user `anna`.
    pub(crate) async fn start() -> Dav {
        let folder = Arc::new(TempDir::new().unwrap());
        let davroot = folder.path().to_owned();
        let (store, spaces) = tokio::task::spawn_blocking(move || open(&davroot)).await.unwrap();
        let policy = Policy { instance_id: "octest".to_owned(), trust: Vec::new(), names: Names::System };
        let remotes = Remotes::new(policy, Timeouts::default());
        let shares = causeway::tree::Shares::open(store.clone(), Clock::System).unwrap();
        let mounts = Mounts::new(store, remotes, Clock::System, folder.path().join(".causeway/spool"));
        let user = User {
            name: UserName::parse("anna").unwrap(),
            space: SpaceId(1),
            display_name: "Anna & Co".to_owned(),
            admin: false,
            quota: None,
            password_hash: Secret::new(""),
            created: 0,
        };
        Dav { forest: Forest::new(spaces, mounts, shares, "octest".to_owned(), "1".to_owned()), user, link: None, folder }
    }

    /// The same home as the holder of a link to its root sees it.
    pub(crate) fn by_link(&self, permissions: Permissions) -> Dav {
        let link = Link {
            id: LinkId(7),
            token: ShareToken::parse("token").unwrap(),
            owner: self.user.name.clone(),
            space: self.user.space,
            node: NodeId::ROOT,
            kind: Kind::Collection,
            name: "Photos".to_owned(),
            permissions,
            password_hash: None,
            expires: None,
            label: String::new(),
            created: 0,
            origin: None,
        };
        Dav { forest: self.forest.clone(), user: self.user.clone(), link: Some(link), folder: Arc::clone(&self.folder) }
    }

    /// One file of the home as the holder of a link to it sees it: its root is the file.
    pub(crate) async fn by_link_to_file(&self, path: &str, permissions: Permissions) -> Dav {
        let entry = self.view().stat(&TreePath::parse(path).unwrap()).await.unwrap();
        let mut dav = self.by_link(permissions);
        let link = dav.link.as_mut().unwrap();
        (link.node, link.kind, link.name) = (entry.node.id, Kind::File, path.trim_start_matches('/').to_owned());
        dav
    }

    pub(crate) fn view(&self) -> View {
        match &self.link {
            Some(link) => self.forest.link_view(link, "Anna", Via::default()).unwrap(),
            None => self.forest.user_view(&self.user, Via::default()).unwrap(),
        }
    }

    /// A request for a path below the root, as it stands in the URL.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let request = Request::builder().method(method).uri([PREFIX, path].concat()).header("host", "cloud.example");
        Ask { dav: self, request, body: Bytes::new() }
    }

    /// Writes a file that must be new.
    pub(crate) async fn put_new(&self, path: &str, body: &str) {
        self.ask("PUT", path).body(body).expect(201).await;
    }

    /// Makes a collection.
    pub(crate) async fn mkcol(&self, path: &str) {
        self.ask("MKCOL", path).expect(201).await;
    }

    /// The content of a file; none where there is no file.
    pub(crate) async fn content(&self, path: &str) -> Option<String> {
        let answer = self.ask("GET", path).send().await;
        match answer.status {
            200 => Some(answer.text()),
            404 => None,
            status => panic!("GET {path}: {status}"),
        }
    }
}

fn open(davroot: &Path) -> (Store, Spaces) {
    let store = Store::open(&davroot.join(".causeway/store"), store::Options::default()).unwrap();
    let spaces = Spaces::open(store.clone(), davroot, Clock::System, SpaceOptions::default()).unwrap();
    spaces.create(SpaceId(1), &UserName::parse("anna").unwrap()).unwrap();
    (store, spaces)
}

/// A request in the making.
pub(crate) struct Ask<'dav> {
    dav: &'dav Dav,
    request: http::request::Builder,
    body: Bytes,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub(crate) fn to(self, destination: &str) -> Self {
        let destination = [PREFIX, destination].concat();
        self.header("destination", destination)
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Bytes::copy_from_slice(body.as_ref());
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let request = self.request.body(Full::new(self.body)).unwrap();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let link = self.dav.link.as_ref();
        let root = Root {
            single_file: link.is_some_and(|link| link.kind == Kind::File),
            name: link.map(|link| link.name.clone()),
            ..Root::new(PREFIX)
        };
        let response = handle(request, self.dav.view(), root).await;
        let (parts, mut body) = response.into_parts();
        let mut pieces = 0;
        let mut bytes = Vec::new();
        let mut broken = false;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                broken = true;
                break;
            };
            bytes.extend_from_slice(frame.data_ref().unwrap());
            pieces += 1;
        }
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes.into(), pieces, broken };
        answer.check(&format!("{method} {uri}"), method == "HEAD");
        answer
    }

    pub(crate) async fn expect(self, status: u16) -> Answer {
        let what = format!("{:?} {:?}", self.request.method_ref(), self.request.uri_ref());
        let answer = self.send().await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        answer
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) pieces: usize,
    pub(crate) broken: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The hrefs of a multistatus in their order.
    pub(crate) fn hrefs(&self) -> Vec<String> {
        let text = self.text();
        text.split("<d:response><d:href>").skip(1).map(|rest| rest.split("</d:href>").next().unwrap().to_owned()).collect()
    }

    /// What must hold of every answer.
    #[track_caller]
    fn check(&self, what: &str, head: bool) {
        if let Some(etag) = self.header("etag") {
            assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "{what}: the etag {etag} is not strong and quoted");
        }
        let type_ = self.header("content-type").unwrap_or_default();
        if self.status >= 400 && !head {
            assert_eq!(type_, "application/xml; charset=utf-8", "{what}");
            let error = xml::parse(&self.body).unwrap();
            assert!(error.is_dav("error") || error.is_dav("mkcol-response"), "{what}: {}", self.text());
        }
        if self.status == 207 {
            assert_eq!(type_, "application/xml; charset=utf-8", "{what}");
            if self.header("content-encoding").is_none() && self.body.len() < 200_000 && !self.broken {
                assert!(xml::parse(&self.body).unwrap().is_dav("multistatus"), "{what}: {}", self.text());
            }
        }
        if self.status == 405 {
            assert!(self.headers.contains_key("allow"), "{what}: 405 says what is allowed");
        }
        assert!(!self.text().contains("panicked"), "{what}");
    }
}
