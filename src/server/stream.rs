//! A connection with a clock: a peer that takes nothing for too long is let go, and the first bytes tell HTTP/1.1 from HTTP/2.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::limits::{FIRST_BYTES_TIMEOUT, WRITE_STALL_TIMEOUT};

/// What an HTTP/2 connection without TLS starts with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose writes may not stall for ever, with the bytes that were read to look at them.
#[derive(Debug)]
pub(super) struct Timed<T> {
    inner: T,
    first: BytesMut,
    stalled: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Timed<T> {
    /// A connection whose protocol is known.
    pub(super) fn new(inner: T) -> Timed<T> {
        Timed { inner, first: BytesMut::new(), stalled: Box::pin(sleep(WRITE_STALL_TIMEOUT)), waiting: false }
    }

    /// Reads until it is clear which protocol the peer speaks. A peer that says nothing within [`FIRST_BYTES_TIMEOUT`] is let go: hyper's
    /// own detection waits for ever (attack D10).
    pub(super) async fn sniff(inner: T) -> io::Result<(Timed<T>, Protocol)> {
        let mut timed = Timed::new(inner);
        let protocol = timeout(FIRST_BYTES_TIMEOUT, timed.look()).await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok((timed, protocol))
    }

    async fn look(&mut self) -> io::Result<Protocol> {
        loop {
            let known = self.first.len().min(PREFACE.len());
            if self.first.get(..known) != PREFACE.get(..known) {
                return Ok(Protocol::Http1);
            }
            if known == PREFACE.len() {
                return Ok(Protocol::Http2);
            }
            if self.inner.read_buf(&mut self.first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The result of a write, or the end of the patience with the peer.
    fn watched<R>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match result {
            Poll::Ready(done) => {
                self.waiting = false;
                Poll::Ready(done)
            }
            Poll::Pending => {
                if !self.waiting {
                    self.waiting = true;
                    self.stalled.as_mut().reset(Instant::now() + WRITE_STALL_TIMEOUT);
                }
                ready!(self.stalled.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

/// The versions of HTTP that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Timed<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(self.first.get(..length).unwrap_or_default());
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(context, result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.watched(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        self.watched(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watched(context, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn check(sent: &[u8], expected: Protocol) {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(sent).await.unwrap();
        let (mut timed, protocol) = Timed::sniff(server).await.unwrap();
        assert_eq!(protocol, expected);
        let mut again = vec![0; sent.len()];
        timed.read_exact(&mut again).await.unwrap();
        assert_eq!(again, sent, "nothing that was looked at is lost");
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_protocol() {
        check(b"GET / HTTP/1.1\r\n", Protocol::Http1).await;
        check(b"PROPFIND / HTTP/1.1\r\n", Protocol::Http1).await;
        check(PREFACE, Protocol::Http2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn d10_a_peer_that_says_nothing_is_let_go() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PRI").await.unwrap();
        assert_eq!(Timed::sniff(server).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn d10_a_peer_that_takes_nothing_is_let_go() {
        let (_client, server) = tokio::io::duplex(4);
        let mut timed = Timed::new(server);
        assert_eq!(timed.write_all(b"more than four").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
