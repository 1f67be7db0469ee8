//! Bodies with watchdogs: no total time limit, but neither side may stand still.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::wire::Incoming;

/// A body from a remote. The clock runs only while we wait for the remote, not while our own reader is slow.
pub(super) struct Download {
    inner: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
    stall: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Download {
    pub(super) fn new(response: reqwest::Response, stall: Duration, permit: OwnedSemaphorePermit) -> Download {
        let sleep = Box::pin(tokio::time::sleep(stall));
        Download { inner: Box::pin(response.bytes_stream()), sleep, waiting: false, stall, _permit: permit }
    }
}

impl Stream for Download {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Poll::Ready(item) = self.inner.as_mut().poll_next(context) {
            self.waiting = false;
            return Poll::Ready(
                item.map(|item| item.map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error.without_url()))),
            );
        }
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::now() + self.stall;
            self.sleep.as_mut().reset(deadline);
        }
        match self.sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Who has to act next in an upload, and since when.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The remote takes the next piece.
    Remote(Instant),
    /// Our own source gives the next piece.
    Source(Instant),
    /// Everything was handed over; the remote answers.
    Answer(Instant),
    /// Our own source failed.
    Broken,
}

/// How far an upload has come, seen by its watchdog.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<Turn>>);

impl Progress {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the upload failed because our own source did.
    pub(super) fn source_broken(&self) -> bool {
        matches!(*self.turn(), Turn::Broken)
    }

    /// Ends when one side has stood still for too long: true if it was the remote.
    pub(super) async fn stalled(&self, stall: Duration, source: Duration, answer: Duration) -> bool {
        loop {
            let (deadline, remote) = match *self.turn() {
                Turn::Remote(since) => (since + stall, true),
                Turn::Source(since) => (since + source, false),
                Turn::Answer(since) => (since + answer, true),
                // hyper gives up by itself when the body fails.
                Turn::Broken => (Instant::now() + stall, false),
            };
            if Instant::now() >= deadline {
                return remote;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// A body on its way to a remote, of exactly the announced length where there is one.
pub(super) struct Upload {
    /// `Incoming` is not `Sync`, and reqwest wants bodies that are; the lock is never contended.
    inner: Mutex<Incoming>,
    left: Option<u64>,
    progress: Progress,
    done: bool,
}

impl Upload {
    pub(super) fn new(inner: Incoming, length: Option<u64>) -> (Upload, Progress) {
        let progress = Progress(Arc::new(Mutex::new(Turn::Remote(Instant::now()))));
        (Upload { inner: Mutex::new(inner), left: length, progress: progress.clone(), done: length == Some(0) }, progress)
    }

    fn end(&mut self, turn: Turn) {
        self.done = true;
        *self.progress.turn() = turn;
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        let inner = this.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match inner.as_mut().poll_next(context) {
            Poll::Pending => {
                let mut turn = this.progress.turn();
                if !matches!(*turn, Turn::Source(_)) {
                    *turn = Turn::Source(now);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(piece))) => {
                if let Some(left) = &mut this.left {
                    let Some(rest) = left.checked_sub(piece.len() as u64) else {
                        this.end(Turn::Broken);
                        return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, "the body is longer than announced"))));
                    };
                    *left = rest;
                }
                *this.progress.turn() = if this.left == Some(0) { Turn::Answer(now) } else { Turn::Remote(now) };
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(Turn::Broken);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) if this.left.is_some_and(|left| left > 0) => {
                this.end(Turn::Broken);
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body is shorter than announced"))))
            }
            Poll::Ready(None) => {
                this.end(Turn::Answer(now));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
