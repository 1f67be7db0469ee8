//! Recorded peers: other servers as their wire shows them, replayed from what was written down of them (`protocol/*.md`).
//!
//! [`Peer`] is the socket and HTTP. What it answers is a closure over whatever state a peer has, so that hosts of links, servers that take
//! shares and scripted single answers are all made from it. A peer is strict: a request for which the closure has no answer is a surprise, and
//! surprises fail the test, at [`Peer::check`] or when the peer is dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) mod dav;
pub(crate) mod host;
pub(crate) mod nextcloud;
pub(crate) mod ocis;
pub(crate) mod owncloud;
pub(crate) mod reva;
pub(crate) mod tree;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method.
    pub(crate) method: String,
    /// Path as sent, without the query.
    pub(crate) path: String,
    /// Query as sent; empty where there is none.
    pub(crate) query: String,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Seen {
    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Name and password of Basic.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        let (name, password) = text.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field of the query, or of a form in the body.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let body = self.text();
        let mut pairs = url::form_urlencoded::parse(self.query.as_bytes()).chain(url::form_urlencoded::parse(body.as_bytes()));
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(formatter, "?{}", self.query) }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Status.
    pub(crate) status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// An answer, or why the request is none that this peer would ever get.
pub(crate) type Verdict = Result<Reply, String>;

impl Reply {
    /// A status and nothing.
    pub(crate) fn new(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, type_: &str, body: impl Into<Bytes>) -> Reply {
        self.body = body.into();
        self.header("content-type", type_)
    }

    /// A page.
    pub(crate) fn html(status: u16, text: &str) -> Reply {
        Reply::new(status).body("text/html; charset=UTF-8", format!("<!DOCTYPE html>\n<html><head></head><body>{text}</body></html>"))
    }

    /// JSON as PHP writes it.
    pub(crate) fn json(status: u16, text: &str) -> Reply {
        Reply::new(status).body("application/json; charset=utf-8", text.to_owned())
    }

    /// A multistatus.
    pub(crate) fn multistatus(responses: &str) -> Reply {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<d:multistatus xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\" xmlns:oc=\"http://owncloud.org/ns\" \
             xmlns:x1=\"http://open-collaboration-services.org/ns\">{responses}</d:multistatus>"
        );
        Reply::new(207).body("application/xml; charset=utf-8", text)
    }
}

/// What a peer answers.
type Answering = dyn FnMut(&Seen) -> Verdict + Send;

struct Shared {
    seen: Mutex<Vec<Seen>>,
    surprises: Mutex<Vec<String>>,
    answer: Mutex<Box<Answering>>,
}

/// A recorded peer.
pub(crate) struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// Serves plain HTTP/1.1 on a free port of loopback.
    pub(crate) async fn start(answer: impl FnMut(&Seen) -> Verdict + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { seen: Mutex::default(), surprises: Mutex::default(), answer: Mutex::new(Box::new(answer)) });
        let mut tasks = JoinSet::new();
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { shared.serve(request).await }
                });
                connections.spawn(async move {
                    // What a client that hangs up leaves behind is judged by what it had sent.
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Peer { address, shared, _tasks: tasks }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What arrived since the last question.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }

    /// Fails on everything that this peer did not expect.
    #[track_caller]
    pub(crate) fn check(&self) {
        let surprises = std::mem::take(&mut *self.shared.surprises.lock().unwrap());
        assert!(surprises.is_empty(), "the peer did not expect this:\n{}", surprises.join("\n"));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

impl Shared {
    async fn serve(&self, request: http::Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
        let seen = Seen { method: parts.method.to_string(), path, query, headers: parts.headers, body };
        self.seen.lock().unwrap().push(seen.clone());
        let answered = (self.answer.lock().unwrap())(&seen);
        let reply = answered.unwrap_or_else(|why| {
            self.surprises.lock().unwrap().push(format!("{seen}: {why}"));
            Reply::new(500)
        });
        let head = seen.method == "HEAD";
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(if head { Bytes::new() } else { reply.body })).unwrap())
    }
}
