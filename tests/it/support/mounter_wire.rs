//! The HTTP of servers that mount links: requests as they stand on the wire, header names in their case, `Expect` as libcurl and Guzzle go
//! about it, and one connection for as long as it lasts.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is opened again when it has ended.
pub(crate) struct Wire {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Told {
    /// The status.
    pub(crate) status: u16,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub(crate) body: Vec<u8>,
    /// Whether the server asked for the body by 100.
    pub(crate) continued: bool,
}

impl Told {
    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    /// To a server; the first request connects.
    pub(crate) fn to(address: SocketAddr) -> Wire {
        Wire { address, stream: None, buffer: Vec::new() }
    }

    /// Sends one request and reads its answer. A body that is announced with `Expect` is sent only when it is asked for, and the connection
    /// ends where it is not, as with libcurl.
    pub(crate) async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        head.push_str(&lines.concat());
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head = format!("{head}Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let expects = headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("expect") && value.eq_ignore_ascii_case("100-continue"));
        let first = if expects { head.into_bytes() } else { [head.as_bytes(), body].concat() };
        // A connection that the server has closed meanwhile is no fault.
        let reused = self.stream.is_some();
        let told = match self.exchange(&first, method, expects.then_some(body)).await {
            None if reused => self.exchange(&first, method, expects.then_some(body)).await,
            told => told,
        };
        told.unwrap_or_else(|| panic!("{method} {path}: the connection ended without an answer"))
    }

    async fn exchange(&mut self, first: &[u8], method: &str, waiting: Option<&[u8]>) -> Option<Told> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.buffer.clear();
                TcpStream::connect(self.address).await.unwrap()
            }
        };
        stream.write_all(first).await.ok()?;
        let (mut status, mut headers) = self.head(&mut stream).await?;
        let continued = status == 100;
        if continued {
            stream.write_all(waiting.expect("100 Continue was not asked for")).await.ok()?;
            (status, headers) = self.head(&mut stream).await?;
        }
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let bare = method == "HEAD" || matches!(status, 204 | 304);
        let body = match (bare, header("content-length")) {
            (true, _) => Vec::new(),
            (false, Some(length)) => self.exactly(&mut stream, length.parse().unwrap()).await?,
            (false, None) if header("transfer-encoding") == Some("chunked") => self.chunks(&mut stream).await?,
            (false, None) => panic!("an answer without a length: {headers:?}"),
        };
        let unsent = waiting.is_some() && !continued;
        if header("connection") != Some("close") && !unsent {
            self.stream = Some(stream);
        }
        Some(Told { status, headers, body, continued })
    }

    async fn head(&mut self, stream: &mut TcpStream) -> Option<(u16, Vec<(String, String)>)> {
        let end = loop {
            match self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more(stream).await?,
            }
        };
        let text = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let mut words = lines.next().unwrap().split(' ');
        assert_eq!(words.next(), Some("HTTP/1.1"));
        let status = words.next().unwrap().parse().unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Some((status, lines.map(|line| pair(line).unwrap_or_else(|| panic!("{line}"))).collect()))
    }

    async fn exactly(&mut self, stream: &mut TcpStream, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more(stream).await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn chunks(&mut self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.buffer.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None => self.more(stream).await?,
                }
            };
            let line = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let chunk = self.exactly(stream, length + 2).await?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn more(&mut self, stream: &mut TcpStream) -> Option<()> {
        let count = stream.read_buf(&mut self.buffer).await.ok()?;
        (count > 0).then_some(())
    }
}
