//! A WebDAV server of a few lines that does one thing wrong, on demand: it hangs, breaks off, lies, redirects. Without a fault it serves a
//! small tree with propagating etags, as an ownCloud would.
#![expect(clippy::large_futures, clippy::string_slice, clippy::wildcard_enum_match_arm, reason = "a server of a few lines, for tests only")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The port is closed.
    Refused,
    /// Connections are taken and never answered.
    BlackHole,
    /// The connection is reset in the middle of the body.
    ResetMidBody,
    /// The body stops in the middle, the connection stays.
    Stall,
    /// The connection ends before the announced length.
    ShortBody,
    /// The announced length is that of half the content.
    WrongLength,
    /// Every answer has this status and no body.
    Status(u16),
    /// Every answer about this folder itself has this status and no body; the rest is well.
    StatusOf(&'static str, u16),
    /// Nothing about this folder itself is ever answered; the rest is well.
    HangOf(&'static str),
    /// Redirects to another host.
    RedirectToOtherHost,
    /// Redirects to plain HTTP (or to another port of it).
    RedirectToHttp,
    /// A login page instead of an answer.
    Html,
    /// A listing that is no XML.
    MalformedXml,
    /// A listing with entities that grow.
    BombXml,
    /// A listing of 10⁶ entries.
    MillionEntries,
    /// A listing that never ends.
    EndlessXml,
    /// A listing with places outside of the collection.
    HrefsOutside,
    /// A listing with names that cannot be used.
    HostileNames,
    /// A part of a file that is not the one that was asked for.
    WrongRange,
    /// An etag of a file that is never the one of the listing.
    EtagFlips,
    /// As `ResetMidBody`, on GET alone.
    ResetGet,
    /// As `Stall`, on GET alone.
    StallGet,
    /// Each GET lets somebody else write `sub/late.txt`.
    ChangesOnGet,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method.
    pub(crate) method: String,
    /// Path as sent.
    pub(crate) path: String,
    /// Header lines, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Entry {
    Folder,
    File(Vec<u8>),
}

#[derive(Debug, Default)]
struct Tree {
    /// By path without slashes at its ends; each with the version of its last change.
    entries: BTreeMap<String, (Entry, u64)>,
    version: u64,
    /// Folders keep their etags whatever changes below, as on plain WebDAV servers.
    frozen: bool,
}

struct Shared {
    fault: Mutex<Fault>,
    tree: Mutex<Tree>,
    seen: Mutex<Vec<Seen>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    /// What a request must bring, where a password is set.
    authorization: Mutex<Option<String>>,
}

/// A server that does one thing wrong.
pub(crate) struct BadRemote {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    tls: bool,
}

impl BadRemote {
    /// Serves plain HTTP on a free port of loopback.
    pub(crate) async fn start() -> BadRemote {
        BadRemote::serve(None).await
    }

    /// Serves HTTPS.
    pub(crate) async fn start_tls(config: Arc<ServerConfig>) -> BadRemote {
        BadRemote::serve(Some(config)).await
    }

    async fn serve(tls: Option<Arc<ServerConfig>>) -> BadRemote {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tree = Tree::default();
        tree.put("", Entry::Folder);
        tree.put("a.txt", Entry::File(b"alpha".to_vec()));
        tree.put("sub", Entry::Folder);
        tree.put("sub/b.txt", Entry::File(b"beta beta beta".to_vec()));
        let secure = tls.is_some();
        let shared = Shared {
            fault: Mutex::new(Fault::None),
            tree: Mutex::new(tree),
            seen: Mutex::default(),
            tls: Mutex::new(tls),
            authorization: Mutex::default(),
        };
        let address = listener.local_addr().unwrap();
        let remote = BadRemote { address, shared: Arc::new(shared), tasks: Mutex::default(), tls: secure };
        remote.accept(listener);
        remote
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        self.tasks.lock().unwrap().spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    // What a client that hangs up leaves behind is no concern of a server that misbehaves.
                    connection(stream, shared).await.ok();
                });
            }
        });
    }

    /// Where the share is.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/dav/", if self.tls { "https" } else { "http" }, self.address)
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Does this wrong from now on.
    pub(crate) async fn set(&self, fault: Fault) {
        let was = std::mem::replace(&mut *self.shared.fault.lock().unwrap(), fault);
        if fault == Fault::Refused {
            let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
            tasks.shutdown().await;
        } else if was == Fault::Refused {
            self.accept(TcpListener::bind(self.address).await.unwrap());
        }
    }

    /// Shows another certificate from now on.
    pub(crate) fn set_tls(&self, config: Arc<ServerConfig>) {
        *self.shared.tls.lock().unwrap() = Some(config);
    }

    /// Demands this password of user `token` from now on.
    pub(crate) fn set_password(&self, password: &str) {
        use base64::Engine;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("token:{password}"));
        *self.shared.authorization.lock().unwrap() = Some(format!("Basic {basic}"));
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn write(&self, path: &str, content: &str) {
        self.shared.tree.lock().unwrap().put(path, Entry::File(content.as_bytes().to_vec()));
    }

    /// From now on the etags of folders stay what they are.
    pub(crate) fn freeze_folders(&self) {
        self.shared.tree.lock().unwrap().frozen = true;
    }

    /// Removes an entry behind everybody's back.
    pub(crate) fn remove(&self, path: &str) {
        self.shared.tree.lock().unwrap().remove(path);
    }

    /// The content of a file; none where there is none.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        match &self.shared.tree.lock().unwrap().entries.get(path)?.0 {
            Entry::File(content) => Some(String::from_utf8(content.clone()).unwrap()),
            Entry::Folder => None,
        }
    }

    /// Every path that there is.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.shared.tree.lock().unwrap().entries.keys().cloned().collect()
    }

    /// What arrived since the last question.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

impl Tree {
    fn put(&mut self, path: &str, entry: Entry) {
        self.version += 1;
        self.entries.insert(path.to_owned(), (entry, self.version));
        self.touch(path);
    }

    /// A change raises everything above.
    fn touch(&mut self, path: &str) {
        let mut at = path;
        while !self.frozen && !at.is_empty() {
            at = at.rsplit_once('/').map_or("", |(parent, _)| parent);
            if let Some((_, version)) = self.entries.get_mut(at) {
                *version = self.version;
            }
        }
    }

    fn below(&self, path: &str) -> Vec<String> {
        let inside = |at: &&String| *at == path || at.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.entries.keys().filter(inside).cloned().collect()
    }

    fn remove(&mut self, path: &str) -> bool {
        let gone = self.below(path);
        for at in &gone {
            self.entries.remove(at);
        }
        self.version += 1;
        self.touch(path);
        !gone.is_empty()
    }

    fn copy(&mut self, from: &str, to: &str) {
        for at in self.below(from) {
            let entry = self.entries[&at].0.clone();
            let target = format!("{to}{}", &at[from.len()..]);
            self.put(&target, entry);
        }
    }
}

fn decode(path: &str) -> String {
    let path = path.strip_prefix("/dav").unwrap_or(path).trim_matches('/');
    percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned()
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let tls = shared.tls.lock().unwrap().clone();
    match tls {
        None => {
            let reset = stream.into_std()?;
            reset.set_nonblocking(true)?;
            let stream = TcpStream::from_std(reset)?;
            exchange(stream, &shared, |stream| stream.set_zero_linger()).await
        }
        Some(config) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            exchange(stream, &shared, |stream| stream.get_ref().0.set_zero_linger()).await
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: &Shared,
    reset: impl Fn(&S) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let fault = *shared.fault.lock().unwrap();
    if fault == Fault::BlackHole {
        tokio::time::sleep(Duration::from_secs(600)).await;
        return Ok(());
    }
    let request = read_request(&mut stream).await?;
    shared.seen.lock().unwrap().push(request.clone());
    if matches!(fault, Fault::HangOf(folder) if decode(&request.path) == folder) {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let wanted = shared.authorization.lock().unwrap().clone();
    if wanted.is_some() && request.headers.get("authorization") != wanted.as_ref() {
        return respond(&mut stream, 401, &[("www-authenticate", "Basic realm=\"bad\"".to_owned())], b"").await;
    }
    let fault = match fault {
        Fault::ResetGet if request.method == "GET" => Fault::ResetMidBody,
        Fault::StallGet if request.method == "GET" => Fault::Stall,
        Fault::ChangesOnGet if request.method == "GET" => {
            let late = Entry::File(b"written while the folder was moved".to_vec());
            shared.tree.lock().unwrap().put("sub/late.txt", late);
            Fault::None
        }
        other => other,
    };
    let (status, headers, body) = answer(shared, &request, fault);
    match fault {
        Fault::ResetMidBody | Fault::Stall | Fault::ShortBody => {
            let length = body.len().max(1000);
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{}\r\n", lines(&headers));
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body[..body.len() / 2]).await?;
            stream.flush().await?;
            if fault == Fault::Stall {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            if fault == Fault::ResetMidBody {
                reset(&stream)?;
            }
            Ok(())
        }
        Fault::WrongLength => respond(&mut stream, status, &headers, &body[..body.len() / 2]).await,
        Fault::MillionEntries | Fault::EndlessXml if request.method == "PROPFIND" => {
            stream.write_all(b"HTTP/1.1 207 X\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            chunk(&mut stream, b"<d:multistatus xmlns:d=\"DAV:\">").await?;
            if fault == Fault::EndlessXml {
                chunk(&mut stream, b"<d:response><d:href>/").await?;
                loop {
                    chunk(&mut stream, &[b'a'; 40_000]).await?;
                }
            }
            for hundred in 0..10_000 {
                let entries: String =
                    (0..100).map(|one| format!("<d:response><d:href>/dav/sub/{hundred}-{one}</d:href></d:response>")).collect();
                chunk(&mut stream, entries.as_bytes()).await?;
            }
            chunk(&mut stream, b"</d:multistatus>").await?;
            chunk(&mut stream, b"").await
        }
        _ => respond(&mut stream, status, &headers, &body).await,
    }
}

async fn chunk<S: AsyncWrite + Unpin>(stream: &mut S, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", text.len()).as_bytes()).await?;
    stream.write_all(text).await?;
    stream.write_all(b"\r\n").await
}

fn lines(headers: &[(&str, String)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

async fn respond<S: AsyncWrite + Unpin>(stream: &mut S, status: u16, headers: &[(&str, String)], body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{}\r\n", body.len(), lines(headers));
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Seen> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut rest = bytes.split_off(end);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let chunked = headers.contains_key("transfer-encoding");
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while if chunked { !rest.ends_with(b"0\r\n\r\n") } else { rest.len() < length } {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        rest.extend_from_slice(&piece[..count]);
    }
    let body = if chunked { unchunk(&rest) } else { rest };
    Ok(Seen { method, path, headers, body })
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 2 + size + 2..];
    }
    body
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn answer(shared: &Shared, request: &Seen, fault: Fault) -> Answer {
    let xml = |text: String| (207, vec![("content-type", "application/xml".to_owned())], text.into_bytes());
    let listing = request.method == "PROPFIND";
    match fault {
        Fault::Status(status) => return (status, vec![], vec![]),
        Fault::StatusOf(folder, status) if decode(&request.path) == folder => return (status, vec![], vec![]),
        Fault::RedirectToOtherHost => return (302, vec![("location", "https://other.example/dav/".to_owned())], vec![]),
        Fault::RedirectToHttp => return (302, vec![("location", "http://127.0.0.1:9/dav/".to_owned())], vec![]),
        Fault::Html => {
            return (
                200,
                vec![("content-type", "text/html".to_owned())],
                b"<!doctype html><html><body>Please log in</body></html>".to_vec(),
            );
        }
        Fault::MalformedXml if listing => return xml("<d:multistatus xmlns:d=\"DAV:\"><d:response></d:multistatus>".to_owned()),
        Fault::BombXml if listing => {
            return xml("<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><d:multistatus xmlns:d=\"DAV:\">&b;</d:multistatus>"
                .to_owned());
        }
        _ => {}
    }
    let mut tree = shared.tree.lock().unwrap();
    let path = decode(&request.path);
    match request.method.as_str() {
        "PROPFIND" => match tree.entries.contains_key(&path) {
            true => xml(multistatus(&tree, &path, request.headers.get("depth").map(String::as_str), fault)),
            false => (404, vec![], vec![]),
        },
        "GET" => get(&tree, &path, request, fault),
        "PUT" => {
            let taken = tree.entries.contains_key(&path);
            if taken && request.headers.contains_key("if-none-match") {
                return (412, vec![], vec![]);
            }
            tree.put(&path, Entry::File(request.body.clone()));
            (if taken { 204 } else { 201 }, vec![], vec![])
        }
        "MKCOL" if tree.entries.contains_key(&path) => (405, vec![], vec![]),
        "MKCOL" => {
            tree.put(&path, Entry::Folder);
            (201, vec![], vec![])
        }
        "DELETE" => (if tree.remove(&path) { 204 } else { 404 }, vec![], vec![]),
        "MOVE" | "COPY" => {
            let destination = request.headers["destination"].split_once("://").unwrap().1;
            let to = decode(&destination[destination.find('/').unwrap()..]);
            if tree.entries.contains_key(&to) && request.headers["overwrite"] == "F" {
                return (412, vec![], vec![]);
            }
            let replaced = tree.entries.contains_key(&to) && tree.remove(&to);
            tree.copy(&path, &to);
            if request.method == "MOVE" {
                tree.remove(&path);
            }
            (if replaced { 204 } else { 201 }, vec![], vec![])
        }
        "PROPPATCH" => xml(format!(
            "<d:multistatus xmlns:d=\"DAV:\"><d:response><d:href>{}</d:href><d:propstat><d:prop/><d:status>HTTP/1.1 200 OK</d:status>\
             </d:propstat></d:response></d:multistatus>",
            request.path
        )),
        _ => (405, vec![], vec![]),
    }
}

fn get(tree: &Tree, path: &str, request: &Seen, fault: Fault) -> Answer {
    let Some((Entry::File(content), version)) = tree.entries.get(path) else { return (404, vec![], vec![]) };
    let etag = if fault == Fault::EtagFlips { "\"flipped\"".to_owned() } else { format!("\"v{version}\"") };
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    match range {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let told = if fault == Fault::WrongRange { first + 1 } else { first };
            let range = format!("bytes {told}-{last}/{}", content.len());
            (206, vec![("etag", etag), ("content-range", range)], content[first..=last].to_vec())
        }
        None if fault == Fault::WrongRange => {
            let range = format!("bytes 1-{}/{}", content.len() - 1, content.len());
            (206, vec![("etag", etag), ("content-range", range)], content[1..].to_vec())
        }
        None => (200, vec![("etag", etag)], content.clone()),
    }
}

fn multistatus(tree: &Tree, path: &str, depth: Option<&str>, fault: Fault) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\">");
    let own = &tree.entries[path];
    let parent = |at: &str| at.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
    let encode = |at: &str| percent_encoding::utf8_percent_encode(at, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2F", "/");
    text.push_str(&response(&format!("/dav/{}", encode(path)), own));
    if depth == Some("1") && matches!(own.0, Entry::Folder) {
        for (at, entry) in tree.entries.iter().filter(|(at, _)| !at.is_empty() && parent(at) == path) {
            text.push_str(&response(&format!("/dav/{}", encode(at)), entry));
        }
        let base = if path.is_empty() { "/dav".to_owned() } else { format!("/dav/{path}") };
        let file = (Entry::File(b"x".to_vec()), 1);
        let more: Vec<String> = match fault {
            Fault::HrefsOutside => {
                ["/etc/passwd", "/dav/../../etc/passwd", "https://other.example/dav/x", "/dav2/x", "/", "//other.example/x"]
                    .map(str::to_owned)
                    .to_vec()
            }
            Fault::HostileNames => {
                ["a%2Fb", "%2e%2e", "..", "a%00b", "%ff", "a/b", &"n".repeat(300)].iter().map(|name| format!("{base}/{name}")).collect()
            }
            _ => vec![],
        };
        for href in more {
            text.push_str(&response(&href, &file));
        }
    }
    text.push_str("</d:multistatus>");
    text
}

fn response(href: &str, (entry, version): &(Entry, u64)) -> String {
    let (kind, length) = match entry {
        Entry::Folder => ("<d:collection/>", String::new()),
        Entry::File(content) => ("", format!("<d:getcontentlength>{}</d:getcontentlength>", content.len())),
    };
    format!(
        "<d:response><d:href>{href}</d:href><d:propstat><d:prop><d:resourcetype>{kind}</d:resourcetype>{length}<d:getetag>\"v{version}\"</d:getetag>\
         <d:getlastmodified>Sun, 22 Nov 2026 01:48:05 GMT</d:getlastmodified><oc:permissions>RDNVCKW</oc:permissions></d:prop>\
         <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )
}
