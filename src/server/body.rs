//! Bodies on their way: a request's may not stall or outgrow the bound, an answer's is counted and ends in one access line.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::metrics::{Counting, Metrics, RequestLabels};
use crate::limits::BODY_STALL_TIMEOUT;
use crate::wire;

/// The body of a request, with a clock and a bound.
#[derive(Debug)]
pub(super) struct Watched {
    inner: hyper::body::Incoming,
    left: Option<u64>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watches a body; `most` is the bound of its bytes.
    pub(super) fn new(inner: hyper::body::Incoming, most: Option<u64>) -> Watched {
        Watched { inner, left: most, stalled: None }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(Some(Ok(frame))) => {
                self.stalled = None;
                let bytes = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                if let Some(left) = &mut self.left {
                    *left = match left.checked_sub(bytes) {
                        Some(left) => left,
                        None => return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::FileTooLarge, "the body is too large")))),
                    };
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(BODY_STALL_TIMEOUT)));
                ready!(stalled.as_mut().poll(context));
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the body stalled"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is said of a request when its answer is out.
#[derive(Debug)]
pub(super) struct Access {
    /// The span of the request.
    pub span: tracing::Span,
    /// When it began.
    pub began: Instant,
    /// How it is counted.
    pub labels: RequestLabels,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Counts the request as being served until its answer is out.
    pub _in_flight: Counting,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Counted {
    inner: wire::Body,
    announced: Option<u64>,
    bytes: u64,
    whole: bool,
    access: Access,
}

impl Counted {
    /// Counts a body, whose length may be announced.
    pub(super) fn new(inner: wire::Body, announced: Option<u64>, access: Access) -> Counted {
        let whole = inner.is_end_stream();
        Counted { inner, announced, bytes: 0, whole, access }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
                self.bytes = self.bytes.saturating_add(bytes);
                // hyper asks no more once it has the announced length.
                self.whole = self.inner.is_end_stream() || self.announced == Some(self.bytes);
            }
            Some(Err(error)) => self.access.span.in_scope(|| tracing::warn!(%error, "an answer broke off")),
            None => self.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let duration = self.access.began.elapsed();
        self.access.metrics.answered(&self.access.labels, duration, self.bytes);
        let (status, bytes_sent, whole) = (self.access.labels.status, self.bytes, self.whole);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.access.span.in_scope(|| tracing::info!(status, duration_ms, bytes_sent, whole, "answered"));
    }
}
