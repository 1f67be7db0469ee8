//! A small HTTP/1.1 client that costs little: the driver shares its machine with the server that it measures.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use bytes::{Buf, BytesMut};
use rustix::net::RecvFlags;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::content::{BLOCK_BYTES, Pattern};
use crate::tls;

/// Longest answer head in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes asked for in one read.
const READ_BYTES: usize = 256 * 1024;
/// Longest body that is kept, in bytes: a listing of 20,000 entries is below 20 MB everywhere.
const KEPT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The server, and how to sign in.
pub(crate) struct Target {
    address: SocketAddr,
    host: String,
    base: String,
    authorization: Option<String>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// The server at `url`, which must be on this machine; `user` is `name:password`.
    pub(crate) fn new(url: &str, user: Option<&str>, certificate: Option<&Path>) -> Result<Self> {
        let url = Url::parse(url).context("not a URL")?;
        let host = url.host_str().context("the URL has no host")?;
        let ip: IpAddr = match host {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            literal => literal.trim_matches(['[', ']']).parse().context("not an address of this machine")?,
        };
        // The driver is a load generator: nothing but this machine is ever its target.
        ensure!(ip.is_loopback(), "{ip} is not on this machine");
        let port = url.port_or_known_default().context("the URL has no port")?;
        let tls = match url.scheme() {
            "http" => None,
            "https" => {
                let file = certificate.context("an https URL needs --ca")?;
                Some((tls::connector(file)?, ServerName::IpAddress(ip.into())))
            }
            other => bail!("cannot speak {other}"),
        };
        let authorization = user.map(|user| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user)));
        let base = format!("{}/", url.path().trim_end_matches('/'));
        Ok(Self { address: SocketAddr::new(ip, port), host: format!("{host}:{port}"), base, authorization, tls })
    }

    /// The head of a request for `path` below the base; `extra` are whole header lines.
    pub(crate) fn head(&self, method: &str, path: &str, extra: &str, length: Option<u64>) -> Vec<u8> {
        let Self { base, host, .. } = self;
        let mut head = format!("{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: causeway-load\r\n{extra}");
        if let Some(authorization) = &self.authorization {
            head = format!("{head}Authorization: {authorization}\r\n");
        }
        if let Some(length) = length {
            head = format!("{head}Content-Length: {length}\r\n");
        }
        format!("{head}\r\n").into_bytes()
    }
}

/// What to send after the head.
#[derive(Clone, Copy)]
pub(crate) enum Upload<'a> {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes of the pattern.
    Pattern(u64),
}

/// What to do with the body of the answer.
pub(crate) enum Sink<'a> {
    /// Count it.
    Count,
    /// Put it here, instead of what was there.
    Keep(&'a mut Vec<u8>),
}

/// An answer whose body was read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

struct Head {
    status: u16,
    framing: Framing,
    close: bool,
}

/// One keep-alive connection.
pub(crate) struct Connection<'t> {
    target: &'t Target,
    stream: Option<Stream>,
    buffer: BytesMut,
    scratch: Vec<u8>,
    /// Connections opened after the first one: a server that closes after each answer shows here.
    pub(crate) reconnects: u64,
}

impl<'t> Connection<'t> {
    /// Connects.
    pub(crate) async fn open(target: &'t Target) -> Result<Self> {
        let stream = Some(connect(target).await?);
        Ok(Self { target, stream, buffer: BytesMut::new(), scratch: vec![0; READ_BYTES], reconnects: 0 })
    }

    /// Sends a request and reads the whole answer. Our requests may all be repeated, so a kept connection that the
    /// server closed between two requests is opened anew, once.
    pub(crate) async fn exchange(&mut self, head: &[u8], upload: Upload<'_>, sink: Sink<'_>) -> Result<Answer> {
        let kept = self.stream.is_some();
        if !kept {
            self.reopen().await?;
        }
        let sent = self.send(head, upload).await;
        let mut first = self.read_head().await;
        if first.is_err() && kept && self.buffer.is_empty() {
            self.reopen().await?;
            self.send(head, upload).await?;
            first = self.read_head().await;
        } else if let (Err(error), Err(_)) = (sent, &first) {
            return Err(error.context("cannot send"));
        }
        let first = first?;
        let bytes = self.read_body(first.framing, sink).await?;
        if first.close {
            self.stream = None;
        }
        Ok(Answer { status: first.status, bytes })
    }

    async fn reopen(&mut self) -> Result<()> {
        self.reconnects += 1;
        self.buffer.clear();
        self.stream = Some(connect(self.target).await?);
        Ok(())
    }

    async fn send(&mut self, head: &[u8], upload: Upload<'_>) -> Result<()> {
        match upload {
            Upload::None => self.write(head).await,
            Upload::Bytes(body) => self.write(&[head, body].concat()).await,
            Upload::Pattern(length) => {
                self.write(head).await?;
                let mut pattern = Pattern::new();
                let size = BLOCK_BYTES as u64;
                for number in 0..length.div_ceil(size) {
                    let part = size.min(length - number * size) as usize;
                    self.write(pattern.block(number).get(..part).unwrap_or_default()).await?;
                }
                Ok(())
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.stream.as_mut().context("not connected")? {
            Stream::Plain(stream) => stream.write_all(bytes).await?,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
        }
        Ok(())
    }

    /// Reads more into the buffer; an end of the stream is an error.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(READ_BYTES / 4);
        let got = match self.stream.as_mut().context("not connected")? {
            Stream::Plain(stream) => stream.read_buf(&mut self.buffer).await?,
            Stream::Tls(stream) => stream.read_buf(&mut self.buffer).await?,
        };
        ensure!(got > 0, "the server closed the connection");
        Ok(())
    }

    async fn read_head(&mut self) -> Result<Head> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse_head(self.buffer.get(..end).unwrap_or_default())?;
                self.buffer.advance(end + 4);
                if head.status >= 200 {
                    return Ok(head);
                }
            } else {
                ensure!(self.buffer.len() < HEAD_BYTES_MAX, "the head of the answer is too long");
                self.fill().await?;
            }
        }
    }

    async fn read_body(&mut self, framing: Framing, mut sink: Sink<'_>) -> Result<u64> {
        if let Sink::Keep(kept) = &mut sink {
            kept.clear();
        }
        match framing {
            Framing::Length(length) => {
                self.take(length, &mut sink).await?;
                Ok(length)
            }
            Framing::Chunked => {
                let mut total = 0;
                loop {
                    let line = self.line().await?;
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(digits, 16).context("not the size of a chunk")?;
                    if size == 0 {
                        while !self.line().await?.is_empty() {}
                        return Ok(total);
                    }
                    self.take(size, &mut sink).await?;
                    ensure!(self.line().await?.is_empty(), "a chunk is longer than it said");
                    total += size;
                }
            }
            Framing::UntilClose => {
                let mut total = self.buffer.len() as u64;
                self.take(total, &mut sink).await?;
                while self.fill().await.is_ok() {
                    let length = self.buffer.len() as u64;
                    self.take(length, &mut sink).await?;
                    total += length;
                }
                Ok(total)
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
                self.buffer.advance(end + 2);
                return Ok(line);
            }
            ensure!(self.buffer.len() < HEAD_BYTES_MAX, "a line of the answer is too long");
            self.fill().await?;
        }
    }

    /// Takes exactly `left` bytes of the body.
    async fn take(&mut self, mut left: u64, sink: &mut Sink<'_>) -> Result<()> {
        loop {
            let now = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Sink::Keep(kept) = sink {
                ensure!(kept.len() + now <= KEPT_BYTES_MAX, "the answer is too long to keep");
                kept.extend_from_slice(self.buffer.get(..now).unwrap_or_default());
            }
            self.buffer.advance(now);
            left -= now as u64;
            if left == 0 {
                return Ok(());
            }
            if let (Sink::Count, Some(Stream::Plain(stream))) = (&*sink, &self.stream) {
                return discard(stream, &mut self.scratch, left).await;
            }
            self.fill().await?;
        }
    }
}

/// Drops `left` bytes inside the kernel (`MSG_TRUNC`): the driver then costs less than any server that it measures.
async fn discard(stream: &TcpStream, scratch: &mut [u8], mut left: u64) -> Result<()> {
    while left > 0 {
        let most = scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = scratch.get_mut(..most).unwrap_or_default();
        let got = stream
            .async_io(Interest::READABLE, || {
                let (_, got) = rustix::net::recv(stream, &mut *part, RecvFlags::TRUNC).map_err(io::Error::from)?;
                Ok(got)
            })
            .await?;
        ensure!(got > 0, "the server closed the connection {left} bytes before the end of the body");
        left = left.checked_sub(got as u64).ok_or_else(|| anyhow!("the kernel dropped more than asked for"))?;
    }
    Ok(())
}

async fn connect(target: &Target) -> Result<Stream> {
    let stream = TcpStream::connect(target.address).await.with_context(|| format!("no server at {}", target.address))?;
    stream.set_nodelay(true)?;
    match &target.tls {
        None => Ok(Stream::Plain(stream)),
        Some((connector, name)) => {
            let stream = connector.connect(name.clone(), stream).await.context("TLS failed")?;
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

fn parse_head(head: &[u8]) -> Result<Head> {
    let head = std::str::from_utf8(head).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.with_context(|| format!("not a status line: {first}"))?;
    let (mut framing, mut close) = (Framing::UntilClose, first.starts_with("HTTP/1.0"));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
            framing = Framing::Length(value.parse().context("Content-Length is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.eq_ignore_ascii_case("close");
        }
    }
    if status < 200 || matches!(status, 204 | 304) {
        framing = Framing::Length(0);
    }
    close |= matches!(framing, Framing::UntilClose);
    Ok(Head { status, framing, close })
}
