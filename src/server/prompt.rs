//! A TCP connection that acknowledges at once what a peer may be waiting for.
//!
//! Qt, and so each sync client, sends the head of a request and then its body, and holds the body back until the head is acknowledged (Nagle's
//! algorithm, RFC 896). The kernel holds the acknowledgement back for 40 ms, in the hope of an answer to send it with (RFC 1122 4.2.3.2), which
//! cannot come before the body. Without this each PROPFIND of a sync client takes those 40 ms.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::sendfile::Socket;

/// A connection, and whether a request on it still waits for its body.
#[derive(Debug)]
pub(super) struct Prompt {
    stream: TcpStream,
    waiting: Waiting,
}

/// Set when a body is awaited. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<AtomicBool>);

impl Waiting {
    /// The next time that there is nothing to read, what was read is acknowledged.
    pub(super) fn for_a_body(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Prompt {
    /// Watches over a connection.
    pub(super) fn new(stream: TcpStream) -> (Prompt, Waiting) {
        let waiting = Waiting::default();
        (Prompt { stream, waiting: waiting.clone() }, waiting)
    }
}

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() && self.waiting.0.swap(false, Ordering::Relaxed) {
            // Where it does not work, it is only slower.
            let _slow = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsFd for Prompt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Socket for Prompt {
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(context)
    }

    fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.stream.try_io(Interest::WRITABLE, write)
    }
}
