//! Whole servers in this process: bound to a port of their own before `start` returns, over a data folder of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use causeway::config::{Config, Listen};
use causeway::domain::{Clock, Secret};
use causeway::server::{Running, Server};
use causeway::service::admin::{Command, LinkRow, LinkTerms, MountRow, Outcome};
use causeway::service::{Reason, Refusal};
use futures_util::future::{Either, select};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A server of its own.
pub(crate) struct TestServer {
    running: Running,
    config: Config,
    clock: Clock,
    folder: Arc<TempDir>,
}

/// The password of a test's user.
pub(crate) fn password(user: &str) -> String {
    format!("{user}'s password")
}

impl TestServer {
    /// A server without users, on the machine's clock.
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(Clock::System, |_config| {}).await
    }

    /// A server with another clock or configuration.
    pub(crate) async fn start_with(clock: Clock, change: impl FnOnce(&mut Config)) -> TestServer {
        let folder = Arc::new(TempDir::new().unwrap());
        let mut config = Config::for_data(folder.path().join("davroot"));
        // What is tested is seldom the power cut.
        config.durability = causeway::config::Durability::Process;
        config.remote_timeouts.ask = std::time::Duration::from_secs(3);
        change(&mut config);
        let running = Server::start_with(config.clone(), clock.clone(), None).await.unwrap();
        TestServer { running, config, clock, folder }
    }

    /// A server with one user.
    pub(crate) async fn with_user(name: &str) -> TestServer {
        let server = TestServer::start().await;
        server.add_user(name).await;
        server
    }

    /// Stops, and starts on the same data folder again; the port is another one.
    pub(crate) async fn restart(self) -> TestServer {
        assert!(self.running.stop().await, "every request ends at a stop");
        let running = Server::start_with(self.config.clone(), self.clock.clone(), None).await.unwrap();
        TestServer { running, ..self }
    }

    /// Stops and waits.
    pub(crate) async fn stop(self) {
        assert!(self.running.stop().await, "every request ends at a stop");
    }

    /// Stops; [`Asleep::wake`] starts it on the same data folder and the same port.
    pub(crate) async fn sleep(self) -> Asleep {
        let address = self.address();
        let config = Config { listen: vec![Listen::Tcp(address)], ..self.config };
        assert!(self.running.stop().await, "every request ends at a stop");
        Asleep { config, clock: self.clock, folder: self.folder }
    }

    /// What can be done without HTTP.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// The clock it goes by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The first TCP address.
    pub(crate) fn address(&self) -> SocketAddr {
        let tcp = self.running.addresses.iter().find_map(|address| match address {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        tcp.unwrap()
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address().to_string()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.config.data
    }

    /// Keeps the data folder beyond the server's end.
    pub(crate) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// Does a command that must succeed.
    pub(crate) async fn execute(&self, command: Command) -> Outcome {
        self.running.services.execute(command).await.unwrap()
    }

    /// Does a command that must be refused.
    pub(crate) async fn refuse(&self, command: Command, reason: Reason) -> Refusal {
        let refusal = self.running.services.execute(command).await.unwrap_err();
        assert_eq!(refusal.reason, reason, "{}", refusal.text);
        refusal
    }

    /// Adds a user with [`password`].
    pub(crate) async fn add_user(&self, name: &str) {
        let password = Secret::new(password(name));
        self.execute(Command::UserAdd { name: name.to_owned(), admin: false, display_name: None, quota: None, password }).await;
    }

    /// Makes a link: `read`, `edit` or `drop`.
    pub(crate) async fn link(&self, user: &str, path: &str, permissions: &str) -> LinkRow {
        self.link_with(user, path, LinkTerms { permissions: Some(permissions.to_owned()), ..LinkTerms::default() }).await
    }

    /// Makes a link with any terms.
    pub(crate) async fn link_with(&self, user: &str, path: &str, terms: LinkTerms) -> LinkRow {
        let made = self.execute(Command::LinkCreate { user: user.to_owned(), path: path.to_owned(), terms }).await;
        let Outcome::Link(link) = made else { panic!("{made:?}") };
        link
    }

    /// Mounts a URL.
    pub(crate) async fn mount(&self, user: &str, url: &str) -> MountRow {
        let command = Command::MountAdd { user: user.to_owned(), url: url.to_owned(), name: None, password: None };
        let made = self.execute(command).await;
        let Outcome::Mount(mount) = made else { panic!("{made:?}") };
        mount
    }

    /// A request to a path of this server.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::to(self.address(), method, path)
    }

    /// A request to a path in a user's tree, with the user's password.
    pub(crate) fn ask_as(&self, user: &str, method: &str, path: &str) -> Ask {
        self.ask(method, &format!("/remote.php/webdav{path}")).basic(user, &password(user))
    }

    /// Writes a file of a user.
    pub(crate) async fn put(&self, user: &str, path: &str, body: &str) {
        let status = self.ask_as(user, "PUT", path).body(body).send().await.status;
        assert!(matches!(status, 201 | 204), "PUT {path}: {status}");
    }

    /// Makes a collection of a user.
    pub(crate) async fn mkcol(&self, user: &str, path: &str) {
        self.ask_as(user, "MKCOL", path).expect(201).await;
    }

    /// Reads a file of a user.
    pub(crate) async fn get(&self, user: &str, path: &str) -> String {
        self.ask_as(user, "GET", path).expect(200).await.text()
    }
}

/// A server between two runs.
pub(crate) struct Asleep {
    config: Config,
    clock: Clock,
    folder: Arc<TempDir>,
}

impl Asleep {
    /// Starts it where it was.
    pub(crate) async fn wake(self) -> TestServer {
        self.wake_with(|_config| {}).await
    }

    /// Starts it where it was, with another configuration.
    pub(crate) async fn wake_with(mut self, change: impl FnOnce(&mut Config)) -> TestServer {
        change(&mut self.config);
        let running = Server::start_with(self.config.clone(), self.clock.clone(), None).await.unwrap();
        TestServer { running, config: self.config, clock: self.clock, folder: self.folder }
    }
}

/// Two servers that may mount each other's links.
pub(crate) struct Pair {
    /// Has the user `anna`.
    pub(crate) anna: TestServer,
    /// Has the user `bob`.
    pub(crate) bob: TestServer,
}

impl Pair {
    /// Two servers with a user each.
    pub(crate) async fn start() -> Pair {
        let pair = Pair { anna: TestServer::with_user("anna").await, bob: TestServer::with_user("bob").await };
        pair.anna.execute(Command::RemoteAllowPrivate { host: pair.bob.host() }).await;
        pair.bob.execute(Command::RemoteAllowPrivate { host: pair.anna.host() }).await;
        pair
    }

    /// Stops both.
    pub(crate) async fn stop(self) {
        self.bob.stop().await;
        self.anna.stop().await;
    }
}

/// A request in the making.
pub(crate) struct Ask {
    address: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
}

impl Ask {
    /// A request to any address.
    pub(crate) fn to(address: SocketAddr, method: &str, path: &str) -> Ask {
        let request = Request::builder().method(method).uri(path).header("host", address.to_string());
        Ask { address, request, body: Bytes::new() }
    }

    /// A GET that names another host than the address that it goes to.
    pub(crate) fn with_host(address: SocketAddr, host: &str, path: &str) -> Ask {
        let request = Request::builder().method("GET").uri(path).header("host", host);
        Ask { address, request, body: Bytes::new() }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Ask {
        self.request = self.request.header(name, value);
        self
    }

    /// Adds name and password.
    pub(crate) fn basic(self, name: &str, password: &str) -> Ask {
        let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        self.header("authorization", &value)
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Ask {
        self.body = Bytes::copy_from_slice(body.as_ref());
        self
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        send_on(stream, self.request.body(Full::new(self.body)).unwrap()).await
    }

    /// Sends it and checks the status.
    pub(crate) async fn expect(self, status: u16) -> Answer {
        let what = format!("{:?} {:?}", self.request.method_ref(), self.request.uri_ref());
        let answer = self.send().await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(!answer.broken, "{what}: the body broke off");
        answer
    }
}

/// One request over HTTP/1.1 on any stream.
pub(crate) async fn send_on<T>(stream: T, request: Request<Full<Bytes>>) -> Answer
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        Answer { status: parts.status.as_u16(), headers: parts.headers, broken: body.is_err(), body: body.unwrap_or_default() }
    };
    match select(Box::pin(exchange), Box::pin(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_ended, exchange)) => exchange.await,
    }
}

/// What came back.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
    /// Whether the body broke off.
    pub(crate) broken: bool,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
