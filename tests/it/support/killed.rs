//! The program itself as a server that is killed in the middle of whatever it does, and started again on the same data folder and port.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use causeway::domain::Secret;
use causeway::server::control;
use causeway::service::admin::{Command, Outcome, ReceivedRow, ShareCommand, ShareRow};
use futures_util::future::{Either, select};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::federation::PATIENCE;
use super::server::password;

/// A server in a process of its own.
pub(crate) struct Program {
    folder: TempDir,
    address: SocketAddr,
    child: Mutex<Option<Child>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &std::path::Path, listen: &str) -> (Child, Option<SocketAddr>) {
    let mut child = Process::new(env!("CARGO_BIN_EXE_causeway"))
        .args(["serve", "--listen", listen])
        .env_clear()
        .env("CAUSEWAY_DATA", folder.join("davroot"))
        .env("CAUSEWAY_DURABILITY", "process")
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let bound = first.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
    (child, bound)
}

impl Program {
    /// A server with these users.
    pub(crate) async fn start(users: &[&str]) -> Program {
        let folder = TempDir::new().unwrap();
        let (child, address) = spawn(folder.path(), "127.0.0.1:0");
        let program = Program { folder, address: address.unwrap(), child: Mutex::new(Some(child)) };
        for user in users {
            let password = Secret::new(password(user));
            let add = Command::UserAdd { name: (*user).to_owned(), admin: false, display_name: None, quota: None, password };
            program.execute(add).await.unwrap();
        }
        program
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it where it was. Its port may be taken for a moment, by somebody who connects.
    pub(crate) async fn wake(&self) {
        for _ in 0..100 {
            let (folder, listen) = (self.folder.path().to_owned(), self.address.to_string());
            let (mut child, bound) = Handle::current().spawn_blocking(move || spawn(&folder, &listen)).await.unwrap();
            if bound.is_some() {
                *self.child.lock().unwrap() = Some(child);
                return;
            }
            child.wait().unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it does not start again: {}", self.log());
    }

    /// What it has logged last.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The federated address of a user.
    pub(crate) fn address_of(&self, user: &str) -> String {
        format!("{user}@{}", self.address)
    }

    /// Does a command; what is wrong in words, where it is not there or refuses.
    pub(crate) async fn execute(&self, command: Command) -> Result<Outcome, String> {
        let done = control::send(&self.folder.path().join("davroot"), &command).await;
        done.ok_or("the server does not run")?.map_err(|refusal| refusal.text)
    }

    /// What is shared of a user's nodes.
    pub(crate) async fn shared(&self, user: &str) -> Result<Vec<ShareRow>, String> {
        let told = self.execute(Command::Share(ShareCommand::List { user: user.to_owned() })).await?;
        if let Outcome::Shares(rows) = told { Ok(rows) } else { Err(format!("{told:?}")) }
    }

    /// What a user receives.
    pub(crate) async fn received(&self, user: &str) -> Result<Vec<ReceivedRow>, String> {
        let told = self.execute(Command::Share(ShareCommand::Received { user: user.to_owned() })).await?;
        if let Outcome::ReceivedShares(rows) = told { Ok(rows) } else { Err(format!("{told:?}")) }
    }

    /// A request to any path; status and body.
    pub(crate) async fn request(&self, request: http::request::Builder, body: &str) -> Result<(u16, String), String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect(self.address).await.map_err(|error| said(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        let request = request.header("host", self.host()).body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| said(&error))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| said(&error))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let whole = async {
            match select(Box::pin(exchange), Box::pin(connection)).await {
                Either::Left((answer, _)) => answer,
                Either::Right((_ended, exchange)) => exchange.await,
            }
        };
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_late| Err("no answer".to_owned()))
    }

    /// A request in a user's tree; status and body.
    pub(crate) async fn ask(&self, user: &str, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password(user))));
        let request = Request::builder().method(method).uri(format!("/remote.php/webdav{path}")).header("authorization", basic);
        // A deletion has no depth, or all of it.
        let request = if method == "PROPFIND" { request.header("depth", "0") } else { request };
        self.request(request, body).await
    }

    /// The text of a file, which must be that.
    pub(crate) async fn reads(&self, user: &str, path: &str, text: &str) -> Result<(), String> {
        match self.ask(user, "GET", path, "").await? {
            (200, body) if body == text => Ok(()),
            other => Err(format!("GET {path} of {user}: {other:?}, not {text}")),
        }
    }

    /// A request that must be answered by one of these.
    pub(crate) async fn does(&self, user: &str, (method, path): (&str, &str), body: &str, statuses: &[u16]) -> Result<(), String> {
        match self.ask(user, method, path, body).await? {
            (status, _) if statuses.contains(&status) => Ok(()),
            other => Err(format!("{method} {path} of {user}: {other:?}")),
        }
    }

    /// Moves something in a user's tree to a URL; fine if it was.
    pub(crate) async fn moves(&self, user: &str, from: &str, destination: &str) -> Result<(), String> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password(user))));
        let request = Request::builder().method("MOVE").uri(format!("/remote.php/webdav{from}"));
        match self.request(request.header("authorization", basic).header("destination", destination), "").await? {
            (201 | 204, _) => Ok(()),
            other => Err(format!("MOVE {from} of {user}: {other:?}")),
        }
    }

    /// The etag of a node.
    pub(crate) async fn etag(&self, user: &str, path: &str) -> Result<String, String> {
        let (status, body) = self.ask(user, "PROPFIND", path, "").await?;
        let etag = body.split_once("getetag>").and_then(|(_, rest)| rest.split_once('<')).map(|(etag, _)| etag.to_owned());
        etag.ok_or(format!("PROPFIND {path} of {user}: {status} {body}"))
    }
}
