//! A server whose users share with ours: it says where its shares are, serves one folder to whoever brings the secret in the right way, and
//! keeps what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::federation::{PATIENCE, until};

/// The secret that opens the folder of a [`Sender`].
pub(crate) const SECRET: &str = "pZTPIgPKaF0fIQf";

/// Number and secret of what a [`Sender`] shares on.
pub(crate) const RESHARED: (&str, &str) = ("77", "reshared");
/// Stands for every secret.
const ANYTHING: &str = "*";

/// More requests than any test makes.
const ALL: usize = 1_000_000;

/// A server whose users share with ours.
pub(crate) struct Sender {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    address: SocketAddr,
    /// What a request for the folder must bring.
    authorization: Mutex<String>,
    /// What everything is answered with, where something is wrong.
    status: Mutex<Option<u16>>,
    /// What its discovery document holds beside what it says, in bytes.
    padding: Mutex<usize>,
    /// One for each request for the folder that is answered.
    folder: Semaphore,
    told: Mutex<Vec<Value>>,
    /// Where the secret must be exchanged: the forms that came. None where it need not.
    exchanged: Mutex<Option<Vec<String>>>,
    seen: Mutex<Vec<String>>,
    /// Whether it shares on, as [`RESHARED`].
    reshares: Mutex<bool>,
    /// The kind of notification that it hears and does not answer.
    silent: Mutex<String>,
}

impl Sender {
    /// Serves on a free port of loopback; the secret is taken as the name of Basic.
    pub(crate) async fn start() -> Sender {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authorization = Mutex::new(basic(SECRET));
        let folder = Semaphore::new(ALL);
        let shared = Shared {
            address,
            authorization,
            folder,
            status: Mutex::default(),
            told: Mutex::default(),
            exchanged: Mutex::default(),
            seen: Mutex::default(),
            padding: Mutex::default(),
            reshares: Mutex::default(),
            silent: Mutex::default(),
        };
        let sender = Sender { address, shared: Arc::new(shared), tasks: Mutex::default() };
        sender.accept(listener);
        sender
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
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where the folder is.
    pub(crate) fn uri(&self) -> String {
        format!("http://{}/dav/", self.address)
    }

    /// Takes the secret as a Bearer token alone.
    pub(crate) fn take_bearer(&self) {
        *self.shared.authorization.lock().unwrap() = format!("Bearer {SECRET}");
    }

    /// Takes the secret in exchange for tokens alone, and each of these until the next.
    pub(crate) fn take_tokens(&self) {
        *self.shared.exchanged.lock().unwrap() = Some(Vec::new());
        self.wear_token();
    }

    /// Ends the token that is out.
    pub(crate) fn wear_token(&self) {
        "no token is out".clone_into(&mut self.shared.authorization.lock().unwrap());
    }

    /// What was asked in exchange for tokens, as forms.
    pub(crate) fn exchanges(&self) -> Vec<String> {
        self.shared.exchanged.lock().unwrap().clone().unwrap_or_default()
    }

    /// Exchanges nothing any more, as for a share that is gone.
    pub(crate) fn end_share(&self) {
        *self.shared.exchanged.lock().unwrap() = None;
        self.wear_token();
    }

    /// Opens with any secret.
    pub(crate) fn take_anything(&self) {
        ANYTHING.clone_into(&mut self.shared.authorization.lock().unwrap());
    }

    /// Shares on what it is asked for.
    pub(crate) fn share_on(&self) {
        *self.shared.reshares.lock().unwrap() = true;
    }

    /// Hears notifications of a kind and does not answer them.
    pub(crate) fn be_silent(&self, kind: &str) {
        kind.clone_into(&mut self.shared.silent.lock().unwrap());
    }

    /// Takes no secret any more.
    pub(crate) fn withdraw(&self) {
        "nothing".clone_into(&mut self.shared.authorization.lock().unwrap());
    }

    /// Makes its discovery document longer.
    pub(crate) fn pad(&self, bytes: usize) {
        *self.shared.padding.lock().unwrap() = bytes;
    }

    /// Answers so many further requests for the folder, and leaves the others waiting.
    pub(crate) fn stall_after(&self, requests: usize) {
        self.shared.folder.forget_permits(ALL);
        self.shared.folder.add_permits(requests);
    }

    /// Answers everything with this status; none answers as it should be again.
    pub(crate) fn set_status(&self, status: Option<u16>) {
        *self.shared.status.lock().unwrap() = status;
    }

    /// The requests that came, as `METHOD /path`.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often the folder was asked for.
    pub(crate) fn folder_asked(&self) -> usize {
        self.seen().iter().filter(|request| request.contains(" /dav/")).count()
    }

    /// What it was told, as (kind, number, secret).
    pub(crate) fn told(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |told: &Value| (text(&told["notificationType"]), text(&told["providerId"]), text(&told["notification"]["sharedSecret"]));
        self.shared.told.lock().unwrap().iter().map(told).collect()
    }

    /// Waits until it was told something about a share.
    pub(crate) async fn wait_told(&self, kind: &str, provider_id: &str) {
        let expected = (kind.to_owned(), provider_id.to_owned(), SECRET.to_owned());
        until(&format!("{kind} of {provider_id}"), PATIENCE, async || self.told().contains(&expected)).await;
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

fn basic(name: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:")))
}

fn answer(status: u16, media: &str, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("content-type", media).body(Full::new(Bytes::from(body))).unwrap()
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        self.seen.lock().unwrap().push(format!("{method} {path}"));
        if let Some(status) = *self.status.lock().unwrap() {
            return answer(status, "text/plain", String::new());
        }
        let json = |status, body: Value| answer(status, "application/json", body.to_string());
        match (method, path) {
            ("GET", "/ocm-provider/") => {
                let files = json!([{"name": "file", "shareTypes": ["user"], "protocols": {"webdav": "/dav/"}}]);
                let more = "x".repeat(*self.padding.lock().unwrap());
                let end_point = format!("http://{}/ocm", self.address);
                let mut document = json!({"enabled": true, "endPoint": end_point, "resourceTypes": files, "more": more});
                if self.exchanged.lock().unwrap().is_some() {
                    document["tokenEndPoint"] = json!(format!("http://{}/ocm/token", self.address));
                }
                json(200, document)
            }
            ("POST", "/ocm/token") => match self.exchanged.lock().unwrap().as_mut() {
                Some(exchanged) => {
                    exchanged.push(String::from_utf8_lossy(&body).into_owned());
                    let token = format!("token-{}", exchanged.len());
                    *self.authorization.lock().unwrap() = format!("Bearer {token}");
                    json(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 300}))
                }
                None => json(400, json!({"error": "invalid_grant"})),
            },
            ("POST", "/ocm/notifications") => {
                let told: Value = serde_json::from_slice(&body).unwrap_or_default();
                let kind = told["notificationType"].as_str().unwrap_or_default().to_owned();
                self.told.lock().unwrap().push(told);
                if *self.silent.lock().unwrap() == kind {
                    std::future::pending::<()>().await;
                }
                let (id, secret) = RESHARED;
                let reshares = kind == "REQUEST_RESHARE" && *self.reshares.lock().unwrap();
                json(201, if reshares { json!({"token": secret, "providerId": id}) } else { json!([]) })
            }
            (_, path) if path.starts_with("/dav/") => {
                self.folder.acquire().await.unwrap().forget();
                self.folder(&parts)
            }
            _ => json(404, json!({})),
        }
    }

    fn folder(&self, parts: &http::request::Parts) -> Response<Full<Bytes>> {
        let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let taken = self.authorization.lock().unwrap().clone();
        if taken != ANYTHING && given != taken {
            return answer(401, "text/plain", String::new());
        }
        let depth = parts.headers.get("depth").map_or("", |value| value.to_str().unwrap());
        let entry = |href: &str, kind: &str, length: &str| {
            format!(
                "<d:response><d:href>{href}</d:href><d:propstat><d:prop><d:resourcetype>{kind}</d:resourcetype>{length}\
                 <d:getetag>\"v1\"</d:getetag><d:getlastmodified>Sun, 22 Nov 2026 01:48:05 GMT</d:getlastmodified>\
                 <oc:id>1</oc:id><oc:permissions>RDNVCKW</oc:permissions></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
            )
        };
        let file = || entry("/dav/a.txt", "", "<d:getcontentlength>5</d:getcontentlength>");
        match (parts.method.as_str(), parts.uri.path()) {
            ("PROPFIND", path) => {
                let text = match path {
                    "/dav/" => entry("/dav/", "<d:collection/>", "") + &if depth == "1" { file() } else { String::new() },
                    "/dav/a.txt" => file(),
                    _ => return answer(404, "text/plain", String::new()),
                };
                let names = "xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"";
                answer(207, "application/xml", format!("<d:multistatus {names}>{text}</d:multistatus>"))
            }
            ("GET", "/dav/a.txt") => {
                let mut response = answer(200, "text/plain", "alpha".to_owned());
                response.headers_mut().insert("etag", http::HeaderValue::from_static("\"v1\""));
                response
            }
            _ => answer(404, "text/plain", String::new()),
        }
    }
}
