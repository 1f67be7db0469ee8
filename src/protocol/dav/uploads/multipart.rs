//! Bodies of `multipart/related` whose parts tell their length, read as they come: nothing but the header lines of one part is held.
//!
//! RFC 2046 5.1 finds the end of a part by its boundary. Here the length says it, and the boundary must follow: bytes of a file that look
//! like a boundary are bytes of the file, and a length that lies is noticed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::limits::BULK_HEADERS_BYTES_MAX;
use crate::wire::Incoming;

/// Why a body cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// It ended early.
    #[error("the body broke off")]
    Ended,
    /// It is not what it says it is.
    #[error("the body is malformed: {0}")]
    Malformed(&'static str),
}

/// The parts of a body, one after the other.
pub(super) struct Parts {
    shared: Arc<Mutex<Reader>>,
    delimiter: Vec<u8>,
    begun: bool,
}

/// The header lines of a part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    lines: Vec<(String, String)>,
    /// Bytes of its content.
    pub(super) length: u64,
}

struct Reader {
    stream: Incoming,
    buffer: BytesMut,
    /// Bytes of the current part that nobody has read.
    left: u64,
}

impl Head {
    /// The value of a header line.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The boundary that a `Content-Type` names; none if it is of another kind.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    // RFC 2046 5.1.1 takes 70; nobody should be refused for a few more.
    ((1..=200).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')).then_some(value)
}

impl Parts {
    /// The parts of a body with this boundary.
    pub(super) fn new(stream: Incoming, boundary: &str) -> Parts {
        let reader = Reader { stream, buffer: BytesMut::new(), left: 0 };
        Parts { shared: Arc::new(Mutex::new(reader)), delimiter: ["--", boundary].concat().into_bytes(), begun: false }
    }

    /// The header lines of the next part; none after the last one. What was not read of the part before is skipped.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, Broken> {
        while let Some(piece) = poll_fn(|context| lock(&self.shared).poll_content(context)).await {
            piece.map_err(|_error| Broken::Ended)?;
        }
        let mut room = BULK_HEADERS_BYTES_MAX;
        // The line end before a delimiter belongs to it; before the first one there may be none (RFC 2046 5.1.1).
        let mut line = self.line(&mut room).await?;
        if line.is_empty() {
            line = self.line(&mut room).await?;
        } else if self.begun {
            return Err(Broken::Malformed("a part is not as long as it says"));
        }
        self.begun = true;
        let after = line.strip_prefix(&*self.delimiter).ok_or(Broken::Malformed("a part is not followed by the boundary"))?;
        match after.trim_ascii_end() {
            b"--" => return Ok(None),
            b"" => {}
            _ => return Err(Broken::Malformed("a part is not followed by the boundary")),
        }
        let mut head = Head::default();
        loop {
            let line = self.line(&mut room).await?;
            if line.is_empty() {
                break;
            }
            let text = std::str::from_utf8(&line).map_err(|_error| Broken::Malformed("a header is not UTF-8"))?;
            let (name, value) = text.split_once(':').ok_or(Broken::Malformed("a header has no colon"))?;
            head.lines.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let length = head.get("content-length").and_then(|text| text.parse().ok());
        head.length = length.ok_or(Broken::Malformed("a part does not say its length"))?;
        lock(&self.shared).left = head.length;
        Ok(Some(head))
    }

    /// The content of the part that was begun last.
    pub(super) fn content(&self) -> Incoming {
        Box::pin(Content(Arc::clone(&self.shared)))
    }

    async fn line(&self, room: &mut usize) -> Result<Bytes, Broken> {
        let line = poll_fn(|context| lock(&self.shared).poll_line(context, *room)).await?;
        *room = room.saturating_sub(line.len());
        let end = line.strip_suffix(b"\n").unwrap_or(&line);
        let length = end.strip_suffix(b"\r").unwrap_or(end).len();
        Ok(line.slice(..length))
    }
}

impl Reader {
    /// More bytes in the buffer; false at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match ready!(self.stream.as_mut().poll_next(context)) {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece?);
                Poll::Ready(Ok(true))
            }
            None => Poll::Ready(Ok(false)),
        }
    }

    fn poll_line(&mut self, context: &mut Context<'_>, room: usize) -> Poll<Result<Bytes, Broken>> {
        loop {
            let end = self.buffer.iter().take(room).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                return Poll::Ready(Ok(self.buffer.split_to(end + 1).freeze()));
            }
            if self.buffer.len() >= room {
                return Poll::Ready(Err(Broken::Malformed("the headers of a part are too long")));
            }
            if !ready!(self.poll_fill(context)).map_err(|_error| Broken::Ended)? {
                // The very last line need not end.
                let rest = self.buffer.split().freeze();
                return Poll::Ready(if rest.is_empty() { Err(Broken::Ended) } else { Ok(rest) });
            }
        }
    }

    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.buffer.is_empty() && !ready!(self.poll_fill(context))? {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.left -= take as u64;
        Poll::Ready(Some(Ok(self.buffer.split_to(take).freeze())))
    }
}

struct Content(Arc<Mutex<Reader>>);

impl Stream for Content {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        lock(&self.0).poll_content(context)
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt as _;

    /// What is read of a body, whatever the size of its pieces: name and content of each part, then how it ends.
    async fn read(body: &[u8], piece: usize) -> (Vec<(String, Vec<u8>)>, Option<Broken>) {
        let pieces: Vec<io::Result<Bytes>> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut parts = Parts::new(Box::pin(futures_util::stream::iter(pieces)), "b_1");
        let mut found = Vec::new();
        loop {
            match parts.next().await {
                Ok(Some(head)) => {
                    let content = parts.content().try_collect::<Vec<Bytes>>().await;
                    let Ok(content) = content else { return (found, Some(Broken::Ended)) };
                    found.push((head.get("x-name").unwrap_or_default().to_owned(), content.concat()));
                }
                Ok(None) => return (found, None),
                Err(broken) => return (found, Some(broken)),
            }
        }
    }

    #[track_caller]
    fn check(body: &str, expected: &[(&str, &str)], end: Option<Broken>) {
        let expected: Vec<_> = expected.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect();
        for piece in [1, 2, 7, 4096] {
            let read = futures_util::FutureExt::now_or_never(read(body.as_bytes(), piece)).unwrap();
            assert_eq!(read, (expected.clone(), end), "{body:?} in pieces of {piece}");
        }
    }

    #[test]
    fn parts_end_where_their_length_says() {
        let good = "--b_1\r\nContent-Length: 3\r\nX-Name: /ä\r\n\r\nt1\n\r\n--b_1\r\nx-name: e\r\ncontent-length:0\r\n\r\n\r\n--b_1--\r\n";
        check(good, &[("/ä", "t1\n"), ("e", "")], None);
        check("\r\n--b_1\r\nContent-Length: 9\r\n\r\n\r\n--b_1--\r\n--b_1--", &[("", "\r\n--b_1--")], None);
        check("--b_1--\r\n", &[], None);
    }

    #[test]
    fn what_lies_about_its_length_is_noticed() {
        let long = Broken::Malformed("a part is not as long as it says");
        check("--b_1\r\nContent-Length: 2\r\n\r\nabc\r\n--b_1--", &[("", "ab")], Some(long));
        let short = Broken::Malformed("a part is not followed by the boundary");
        check("--b_1\r\nContent-Length: 5\r\n\r\nabc\r\n--b_1--\r\n", &[("", "abc\r\n")], Some(long));
        check("--b_2\r\nContent-Length: 5\r\n\r\nabc", &[], Some(short));
        check("--b_1\r\nContent-Length: 5\r\n\r\nabc", &[], Some(Broken::Ended));
        check("--b_1\r\nContent-Length: 3\r\n\r\nabc", &[("", "abc")], Some(Broken::Ended));
        check("--b_1\r\n\r\nabc", &[], Some(Broken::Malformed("a part does not say its length")));
        check("--b_1\r\nContent-Length: -1\r\n\r\nabc", &[], Some(Broken::Malformed("a part does not say its length")));
        check("--b_1\r\nnothing\r\n\r\n", &[], Some(Broken::Malformed("a header has no colon")));
        check("", &[], Some(Broken::Ended));
        let endless = ["--b_1\r\nX: ", &"x".repeat(BULK_HEADERS_BYTES_MAX)].concat();
        let read = futures_util::FutureExt::now_or_never(read(endless.as_bytes(), 4096)).unwrap();
        assert_eq!(read.1, Some(Broken::Malformed("the headers of a part are too long")));
    }

    #[test]
    fn boundaries_are_found() {
        assert_eq!(boundary("multipart/related; boundary=\"boundary_.oOo._TFRc=\""), Some("boundary_.oOo._TFRc="));
        assert_eq!(boundary("Multipart/Related;type=x; BOUNDARY=abc"), Some("abc"));
        assert_eq!(boundary("multipart/form-data; boundary=abc"), None);
        assert_eq!(boundary("multipart/related"), None);
        assert_eq!(boundary("multipart/related; boundary="), None);
    }
}
