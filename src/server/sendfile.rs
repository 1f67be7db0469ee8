//! Files that the kernel sends: what lies in the page cache goes to a plain socket by `sendfile`, and never through this process.
//!
//! hyper moves bytes and knows no files. So a window of a file passes through it as a *ghost*: [`Bytes`] of the window's length, whose
//! address is a place in a zone of memory that is kept for this, never written, never read and so never backed by real memory. hyper queues
//! them between the other bytes of the connection, and [`Sending`], below it, sends the file instead of them.
//!
//! Invariants: whatever lies in the zone is a ghost and nothing else is, so that no bytes are taken for one; a ghost's address and length
//! alone say which bytes of which file are meant, however hyper cuts or drops what it has queued; and ghosts are made only by [`Ghosts`],
//! which comes with the one socket that knows them.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use super::http::content_length;
use crate::content::{FilePart, WINDOW_BYTES, Window};
use crate::wire::Body;

/// A socket that sends files itself, where it finds their ghosts among the bytes that it is to write.
#[derive(Debug)]
pub(super) struct Sending<S> {
    socket: S,
    ghosts: Ghosts,
}

/// Makes the ghosts of one connection. Clones share their places.
#[derive(Debug, Clone, Default)]
pub(super) struct Ghosts(Arc<Mutex<[Option<Window>; PLACES]>>);

/// The owner of one ghost's bytes: its place is free again when hyper has let go of them.
struct Ghost {
    ghosts: Ghosts,
    place: usize,
    length: usize,
}

/// A socket of the kernel, as tokio has it.
pub(super) trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {
    /// As [`UnixStream::poll_write_ready`].
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// As [`UnixStream::try_io`] for writing.
    fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

/// Windows of one connection that are on their way at once. hyper queues two of the full size; with no place left, bytes are copied.
const PLACES: usize = 4;

/// The memory that ghosts point to. Zeroed memory of this size comes fresh from the kernel, which backs it once it is touched.
static ZONE: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PLACES * WINDOW_BYTES]);

impl Ghosts {
    /// Lets the kernel send the body of an answer, where it is a part of a file and nothing else, and its length is announced.
    pub(super) fn take_over(self, mut response: Response<Body>) -> Response<Body> {
        match response.extensions_mut().remove::<FilePart>() {
            Some(part) if content_length(response.headers()) == Some(part.length()) => {
                let pieces = part.stream(move |window| self.place(window));
                response.map(|_copied| StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync())
            }
            Some(_) | None => response,
        }
    }

    /// A ghost of a window; none if too many are on their way.
    fn place(&self, window: Window) -> Option<Bytes> {
        let length = window.length;
        let mut places = self.places();
        let (place, free) = places.iter_mut().enumerate().find(|(_, place)| place.is_none())?;
        *free = Some(window);
        drop(places);
        Some(Bytes::from_owner(Ghost { ghosts: self.clone(), place, length }))
    }

    fn places(&self) -> MutexGuard<'_, [Option<Window>; PLACES]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what a ghost stands for, from `at` in the zone; less than `length` if the socket takes no more.
    fn send(&self, socket: impl AsFd, at: usize, length: usize) -> io::Result<usize> {
        let skipped = at % WINDOW_BYTES;
        let known = self.places().get(at / WINDOW_BYTES).and_then(Option::as_ref).and_then(|window| {
            let inside = skipped + length <= window.length;
            inside.then(|| (Arc::clone(&window.file), window.at + skipped as u64))
        });
        let Some((file, mut from)) = known else { return Err(io::Error::other("bytes of no window were to be sent")) };
        match rustix::fs::sendfile(socket, &file, Some(&mut from), length)? {
            0 => {
                tracing::warn!("a file became shorter while it was sent");
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            sent => Ok(sent),
        }
    }
}

impl AsRef<[u8]> for Ghost {
    fn as_ref(&self) -> &[u8] {
        let start = self.place * WINDOW_BYTES;
        ZONE.get(start..start + self.length).unwrap_or_default()
    }
}

impl Drop for Ghost {
    fn drop(&mut self) {
        if let Some(place) = self.ghosts.places().get_mut(self.place) {
            *place = None;
        }
    }
}

/// Where in the zone a slice begins; none for all bytes that are no ghost's.
fn haunted(slice: &[u8]) -> Option<usize> {
    let at = slice.as_ptr().addr().checked_sub(ZONE.as_ptr().addr())?;
    (at < ZONE.len() && !slice.is_empty()).then_some(at)
}

impl<S: Socket> Sending<S> {
    /// A socket, and what makes the ghosts for it.
    pub(super) fn new(socket: S) -> (Sending<S>, Ghosts) {
        let ghosts = Ghosts::default();
        (Sending { socket, ghosts: ghosts.clone() }, ghosts)
    }

    fn poll_try(&self, context: &mut Context<'_>, write: impl Fn() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_write(&write) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<S: Socket> AsyncWrite for Sending<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(first) = slices.iter().find(|slice| !slice.is_empty()) else { return Poll::Ready(Ok(0)) };
        if let Some(at) = haunted(first) {
            return self.poll_try(context, || self.ghosts.send(&self.socket, at, first.len()));
        }
        if slices.iter().any(|slice| haunted(slice).is_some()) {
            // The headers: they wait for the bytes of the file, to go into the same packet.
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            return self.poll_try(context, || Ok(rustix::net::send(&self.socket, first, flags)?));
        }
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        // Else hyper would copy all bytes into one buffer, ghosts among them.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S: Socket> AsyncRead for Sending<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl Socket for UnixStream {
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        UnixStream::poll_write_ready(self, context)
    }

    fn try_write(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, write)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::server::prompt::Prompt;
    use crate::server::stream::Timed;

    /// A file without a zero in it, and what it holds.
    fn file(length: usize) -> (Arc<File>, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251 + 1).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        (Arc::new(file), content)
    }

    fn window(file: &Arc<File>, at: u64, length: usize) -> Window {
        Window { file: Arc::clone(file), at, length }
    }

    async fn pair() -> (TcpStream, Sending<Prompt>, Ghosts) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (sending, ghosts) = Sending::new(Prompt::new(listener.accept().await.unwrap().0).0);
        (client, sending, ghosts)
    }

    /// Writes as hyper does: everything that is queued, again and again.
    async fn write_all(sending: &mut (impl AsyncWrite + Unpin), mut queue: Vec<Bytes>) -> io::Result<()> {
        while !queue.is_empty() {
            let slices: Vec<IoSlice<'_>> = queue.iter().map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = sending.write_vectored(&slices).await?;
            while let Some(first) = queue.first_mut().filter(|_| written > 0) {
                let step = first.len().min(written);
                bytes::Buf::advance(first, step);
                written -= step;
                if first.is_empty() {
                    queue.remove(0);
                }
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn files_go_out_between_bytes_however_they_are_cut() {
        let (mut client, mut sending, ghosts) = pair().await;
        let (file, content) = file(700_000);
        let mut first = ghosts.place(window(&file, 0, WINDOW_BYTES)).unwrap();
        let second = ghosts.place(window(&file, 300_000, 200_000)).unwrap();
        // hyper may cut a body that is longer than it announced.
        let head_of_first = first.split_to(1000);
        let third = ghosts.place(window(&file, 699_999, 1)).unwrap();
        let queue = vec!["head".into(), second.clone(), head_of_first, "middle".into(), first, second, third, "tail".into()];
        let sent = async {
            write_all(&mut sending, queue).await.unwrap();
            drop(sending);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(sent, client.read_to_end(&mut received));
        read.unwrap();
        let window = &content[300_000..500_000];
        assert!(
            received
                == [b"head", window, &content[..1000], b"middle", &content[1000..WINDOW_BYTES], window, &content[699_999..], b"tail"]
                    .concat()
        );
    }

    #[tokio::test]
    async fn a_reader_that_is_slow_gets_everything() {
        let (client, mut sending, ghosts) = pair().await;
        let (file, content) = file(WINDOW_BYTES);
        let sent = async {
            for _ in 0..64 {
                let ghost = ghosts.place(window(&file, 0, WINDOW_BYTES)).expect("the place of the last one is free again");
                write_all(&mut sending, vec![ghost]).await.unwrap();
            }
            drop(sending);
        };
        let read = async {
            let (mut client, mut received) = (client, vec![0; WINDOW_BYTES]);
            for _ in 0..64 {
                tokio::task::yield_now().await;
                client.read_exact(&mut received).await.unwrap();
                assert!(received == content);
            }
        };
        tokio::join!(sent, read);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_no_zeros() {
        let (mut client, mut sending, ghosts) = pair().await;
        let (file, content) = file(100_000);
        let ghost = ghosts.place(window(&file, 0, 100_000)).unwrap();
        file.set_len(50_000).unwrap();
        let error = write_all(&mut sending, vec!["head".into(), ghost]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        drop(sending);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert!(received == [b"head", &content[..50_000]].concat());
    }

    #[tokio::test]
    async fn nobody_else_s_ghosts_are_sent() {
        let (mut client, mut sending, ghosts) = pair().await;
        let (file, _) = file(1000);
        let stranger = Ghosts::default().place(window(&file, 0, 1000)).unwrap();
        write_all(&mut sending, vec![stranger]).await.unwrap_err();
        let short = ghosts.place(window(&file, 0, 10)).unwrap();
        let beyond = Bytes::from_static(&ZONE[5..15]);
        write_all(&mut sending, vec![beyond]).await.unwrap_err();
        drop((short, sending));
        assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    /// Sends a file again and again until that fails.
    async fn send_for_ever(mut sending: impl AsyncWrite + Unpin, ghosts: Ghosts) -> io::Error {
        let (file, _) = file(WINDOW_BYTES);
        loop {
            let ghost = ghosts.place(window(&file, 0, WINDOW_BYTES)).unwrap();
            if let Err(error) = write_all(&mut sending, vec![ghost]).await {
                return error;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn d10_a_peer_that_takes_nothing_is_let_go() {
        let (_client, sending, ghosts) = pair().await;
        let error = send_for_ever(Timed::new(sending), ghosts).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_hung_up_ends_it() {
        let (client, sending, ghosts) = pair().await;
        drop(client);
        let error = send_for_ever(sending, ghosts).await;
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
    }

    #[tokio::test]
    async fn only_a_file_of_announced_length_becomes_ghosts() {
        use crate::content::OpenFile;
        let (file, content) = file(1_000_000);
        let probe = rustix::io::preadv2(&file, &mut [io::IoSliceMut::new(&mut [0])], 0, rustix::io::ReadWriteFlags::NOWAIT);
        // Some file systems do not tell what is in memory.
        let told = probe == Ok(1);
        let open = OpenFile::new(Arc::into_inner(file).unwrap(), 1_000_000);
        for announced in [900_000, 900_001] {
            let body = StreamBody::new(open.stream(50_000..950_000).map_ok(Frame::data)).boxed_unsync();
            let mut response = Response::new(body);
            response.headers_mut().insert(http::header::CONTENT_LENGTH, announced.into());
            response.extensions_mut().insert(open.part(50_000..950_000));
            let mut body = Ghosts::default().take_over(response).into_body();
            let (mut at, mut ghosts) = (50_000, 0);
            while let Some(frame) = body.frame().await {
                let bytes = frame.unwrap().into_data().unwrap();
                if haunted(&bytes).is_some() {
                    ghosts += 1
                } else {
                    assert!(bytes == content[at..at + bytes.len()])
                }
                at += bytes.len();
            }
            assert_eq!((at, ghosts), (950_000, if told && announced == 900_000 { 4 } else { 0 }));
        }
    }

    #[test]
    fn places_are_few_and_free_again() {
        let ghosts = Ghosts::default();
        let (file, _) = file(10);
        let placed: Vec<Bytes> = std::iter::from_fn(|| ghosts.place(window(&file, 0, 10))).collect();
        assert_eq!(placed.len(), PLACES);
        drop(placed);
        assert!(ghosts.place(window(&file, 0, 10)).is_some());
        assert_eq!(Arc::strong_count(&file), 1, "nothing keeps a file open that is no longer sent");
    }
}
