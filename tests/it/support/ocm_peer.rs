//! Another server as far as Open Cloud Mesh is concerned: it says what it is, takes shares and notifications, and keeps them for the test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::federation::{PATIENCE, until};

/// Whose habits it has (`protocol/ocm.md` 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Takes shape A alone, lists `shareTypes`, answers `[]`.
    OwnCloud,
    /// Takes shape A alone.
    Nextcloud,
    /// Takes shape B alone, and says so.
    Reva,
}

/// A server that takes shares.
pub(crate) struct OcmPeer {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    habit: Habit,
    address: SocketAddr,
    offers: Mutex<Vec<Value>>,
    refused: Mutex<Vec<Value>>,
    told: Mutex<Vec<Value>>,
    /// What every share is answered with, where it is not taken.
    status: Mutex<Option<u16>>,
    /// What its discovery document says in the place of the truth.
    said: Mutex<Option<Value>>,
    /// Shares are taken, and not answered until this is rung.
    held: Mutex<Option<Arc<Notify>>>,
}

impl OcmPeer {
    /// Serves on a free port of loopback.
    pub(crate) async fn start(habit: Habit) -> OcmPeer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            habit,
            address,
            offers: Mutex::default(),
            refused: Mutex::default(),
            told: Mutex::default(),
            status: Mutex::default(),
            held: Mutex::default(),
            said: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let peer = OcmPeer { address, shared, tasks: Mutex::default() };
        peer.accept(listener);
        peer
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.tasks.lock().unwrap().spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, std::convert::Infallible>(shared.answer(request).await) }
                    });
                    // A client that speaks TLS, or hangs up, is no concern of a test's server.
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The address of a user there.
    pub(crate) fn address_of(&self, user: &str) -> String {
        format!("{user}@{}", self.host())
    }

    /// The shares that were taken, as they came.
    pub(crate) fn offers(&self) -> Vec<Value> {
        self.shared.offers.lock().unwrap().clone()
    }

    /// The last share that was taken.
    pub(crate) fn offer(&self) -> Value {
        self.offers().pop().unwrap()
    }

    /// Bodies of shares that were not taken.
    pub(crate) fn refused(&self) -> Vec<Value> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// The notifications that came.
    pub(crate) fn told(&self) -> Vec<Value> {
        self.shared.told.lock().unwrap().clone()
    }

    /// Waits for the first notification of a kind about a share.
    pub(crate) async fn wait_told(&self, kind: &str, provider_id: &str) -> Value {
        let about = |told: &Value| told["notificationType"] == kind && told["providerId"] == provider_id;
        until(&format!("{kind} of {provider_id}"), PATIENCE, async || self.told().iter().any(about)).await;
        self.told().into_iter().find(about).unwrap()
    }

    /// Answers every share with this status, and takes none; none takes them again.
    pub(crate) fn refuse(&self, status: Option<u16>) {
        *self.shared.status.lock().unwrap() = status;
    }

    /// Says this in its discovery document from now on; none: the truth.
    pub(crate) fn say(&self, document: Option<Value>) {
        *self.shared.said.lock().unwrap() = document;
    }

    /// Takes shares and does not answer before [`OcmPeer::let_go`].
    pub(crate) fn hold(&self) {
        *self.shared.held.lock().unwrap() = Some(Arc::default());
    }

    /// Answers what was held.
    pub(crate) fn let_go(&self) {
        if let Some(held) = self.shared.held.lock().unwrap().take() {
            held.notify_waiters();
        }
    }

    /// Waits until a share has come.
    pub(crate) async fn wait_offer(&self, count: usize) {
        until("an offer", PATIENCE, async || self.offers().len() >= count).await;
    }

    /// Closes the port.
    pub(crate) async fn leave(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        tasks.shutdown().await;
    }

    /// Opens the port again.
    pub(crate) async fn come_back(&self) {
        self.accept(TcpListener::bind(self.address).await.unwrap());
    }
}

fn answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/ocm-provider/") => answer(200, &self.discovery()),
            (&Method::GET, "/.well-known/ocm") if self.habit == Habit::Reva => answer(200, &self.discovery()),
            (&Method::POST, "/ocm/shares") => self.take(serde_json::from_slice(&body).unwrap_or_default()).await,
            (&Method::POST, "/ocm/notifications") => {
                self.told.lock().unwrap().push(serde_json::from_slice(&body).unwrap_or_default());
                answer(201, &json!([]))
            }
            _ => answer(StatusCode::NOT_FOUND.as_u16(), &json!({})),
        }
    }

    fn discovery(&self) -> Value {
        if let Some(said) = self.said.lock().unwrap().clone() {
            return said;
        }
        let end_point = format!("http://{}/ocm", self.address);
        let files = json!([{"name": "file", "shareTypes": ["user"], "protocols": {"webdav": "/public.php/webdav/"}}]);
        match self.habit {
            Habit::OwnCloud => json!({"enabled": true, "apiVersion": "1.0-proposal1", "endPoint": end_point, "shareTypes": files}),
            Habit::Nextcloud => {
                json!({"enabled": true, "apiVersion": "1.0-proposal1", "version": "1.1.0", "endPoint": end_point, "resourceTypes": files,
                    "capabilities": ["/invite-accepted", "/notifications", "/shares"]})
            }
            Habit::Reva => json!({"enabled": true, "apiVersion": "1.3.0", "endPoint": end_point, "resourceTypes": files,
                "capabilities": ["invites", "protocol-object"]}),
        }
    }

    async fn take(&self, share: Value) -> Response<Full<Bytes>> {
        let options = share["protocol"]["options"].as_object().cloned().unwrap_or_default();
        let fits = match self.habit {
            Habit::OwnCloud | Habit::Nextcloud => options.contains_key("sharedSecret") && share["resourceType"] == "file",
            Habit::Reva => options.is_empty() && share["protocol"]["webdav"]["uri"].is_string(),
        };
        let status = *self.status.lock().unwrap();
        if status.is_some() || !fits {
            self.refused.lock().unwrap().push(share);
            return answer(status.unwrap_or(400), &json!({"message": "not taken"}));
        }
        self.offers.lock().unwrap().push(share);
        let held = self.held.lock().unwrap().clone();
        if let Some(held) = held {
            held.notified().await;
        }
        match self.habit {
            Habit::OwnCloud => answer(201, &json!([])),
            Habit::Nextcloud => answer(201, &json!({"recipientDisplayName": "Bob"})),
            Habit::Reva => answer(200, &json!({})),
        }
    }
}
