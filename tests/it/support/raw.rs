//! A server that says what a test wants, byte by byte: no HTTP at all, half of an answer, or nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request.
pub(crate) struct Asked {
    /// Its method.
    pub(crate) method: String,
    /// Its path, with the query.
    pub(crate) path: String,
    head: String,
}

impl Asked {
    /// A header as it was sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// What is done with a request.
pub(crate) enum Act {
    /// These bytes, then the connection ends.
    Say(Vec<u8>),
    /// These bytes, then nothing more, and the connection stays.
    Hold(Vec<u8>),
}

/// A running one.
pub(crate) struct Raw {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// An answer of HTTP/1.1.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{lines}\r\n", body.len());
    Act::Say([head.as_bytes(), body].concat())
}

impl Raw {
    /// Answers requests of HTTP.
    pub(crate) async fn http(answer: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Raw {
        Raw::start(Some(Arc::new(answer)), &[], false).await
    }

    /// Answers requests of HTTP, and says this to what is none.
    pub(crate) async fn http_or(answer: impl Fn(&Asked) -> Act + Send + Sync + 'static, bytes: &[u8]) -> Raw {
        Raw::start(Some(Arc::new(answer)), bytes, false).await
    }

    /// Says this to whatever comes, and hangs up.
    pub(crate) async fn saying(bytes: &[u8]) -> Raw {
        Raw::start(None, bytes, false).await
    }

    /// Takes connections and says nothing.
    pub(crate) async fn silent() -> Raw {
        Raw::start(None, &[], true).await
    }

    #[expect(clippy::type_complexity, reason = "named once")]
    async fn start(answer: Option<Arc<dyn Fn(&Asked) -> Act + Send + Sync>>, bytes: &[u8], hold: bool) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, bytes) = (listener.local_addr().unwrap(), bytes.to_vec());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, log) = (JoinSet::new(), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, bytes, log) = (answer.clone(), bytes.clone(), Arc::clone(&log));
                connections.spawn(async move {
                    // A client that hangs up is no concern of this server.
                    match answer {
                        Some(answer) => http(stream, &*answer, &bytes, &log).await.ok(),
                        None => plain(stream, &bytes, hold).await.ok(),
                    };
                });
            }
        });
        Raw { address, asked, _tasks: tasks }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `METHOD path` of every request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn plain(mut stream: TcpStream, bytes: &[u8], hold: bool) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece).await?;
    if hold && count > 0 {
        std::future::pending::<()>().await;
    }
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    // A close over unread bytes would be a reset, and take what was said with it.
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}

async fn http(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Asked) -> Act + Send + Sync),
    otherwise: &[u8],
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (mut bytes, mut piece) = (Vec::<u8>::new(), [0; 4096]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut piece).await?;
        bytes.extend_from_slice(&piece[..count]);
        // What is no HTTP, such as TLS, never has an end of its head.
        if count == 0 || bytes.len() > 64 * 1024 || !bytes[0].is_ascii_uppercase() {
            stream.write_all(otherwise).await?;
            return stream.shutdown().await;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut first = head.split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let asked = Asked { method, path, head };
    let length: usize = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    log.lock().unwrap().push(format!("{} {}", asked.method, asked.path));
    match answer(&asked) {
        Act::Say(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Act::Hold(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
    }
}

/// The answers of a WebDAV server that is well: `/dav/` with the file `a.txt`.
pub(crate) fn healthy(asked: &Asked) -> Act {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("PROPFIND", "/dav/") if asked.header("depth") == Some("0") => multistatus(&folder("")),
        ("PROPFIND", "/dav/") => multistatus(&[folder(""), file("/dav/a.txt", "\"1\"", 5)].concat()),
        ("GET", "/dav/a.txt") => get(asked, b"alpha"),
        ("OPTIONS", _) => reply(200, &[("dav", "1, 2")], ""),
        _ => reply(404, &[], ""),
    }
}

/// A file or the part of it that is asked for.
pub(crate) fn get(asked: &Asked, content: &[u8]) -> Act {
    let Some(range) = asked.header("range") else { return reply(200, &[("etag", "\"1\"")], content) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let range = format!("bytes {first}-{last}/{}", content.len());
    reply(206, &[("etag", "\"1\""), ("content-range", &range)], &content[first..=last])
}

/// A multistatus.
pub(crate) fn multistatus(responses: &str) -> Act {
    let text =
        format!("<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\">{responses}</d:multistatus>");
    reply(207, &[("content-type", "application/xml")], text)
}

/// The folder `/dav/`, with further properties.
pub(crate) fn folder(more: &str) -> String {
    response("/dav/", &["<d:resourcetype><d:collection/></d:resourcetype><d:getetag>\"0\"</d:getetag>", more].concat())
}

/// A file.
pub(crate) fn file(href: &str, etag: &str, size: usize) -> String {
    response(href, &format!("<d:resourcetype/><d:getetag>{etag}</d:getetag><d:getcontentlength>{size}</d:getcontentlength>"))
}

/// One resource.
pub(crate) fn response(href: &str, properties: &str) -> String {
    format!(
        "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )
}
