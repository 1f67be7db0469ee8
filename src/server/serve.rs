//! From a bound socket to requests: accept, TLS, HTTP/1.1 or HTTP/2, and the end of a connection.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::http::{App, respond};
use super::listen::{Accepted, Listener};
use super::metrics::Counting;
use super::peer::Peer;
use super::prompt::{Prompt, Waiting};
use super::sendfile::{Ghosts, Sending, Socket};
use super::stream::{Protocol, Timed};
use super::tasks::Tasks;
use crate::limits::{FIRST_BYTES_TIMEOUT, HEADERS_BYTES_MAX, HEADERS_TIMEOUT};

/// What a connection comes in through.
#[derive(Clone)]
pub(super) struct Door {
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    tasks: Tasks,
    places: Arc<Semaphore>,
}

/// Who is at the other end.
struct Caller {
    peer: Peer,
    waiting: Waiting,
}

/// Pause after an accept that failed: out of file descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that TLS takes in advance (ENGINE 4).
const TLS_BUFFER: usize = 1 << 20;
const H2_STREAMS_MAX: u32 = 128;
const H2_STREAM_WINDOW: u32 = 4 << 20;
const H2_CONNECTION_WINDOW: u32 = 16 << 20;
const H2_FRAME_MAX: u32 = 64 << 10;
const H2_SEND_BUFFER: usize = 1 << 20;
const H2_PING_EVERY: Duration = Duration::from_secs(60);

impl Door {
    /// A door for at most so many connections at once.
    pub(super) fn new(app: Arc<App>, tls: Option<TlsAcceptor>, tasks: Tasks, connections_max: usize) -> Door {
        Door { app, tls, tasks, places: Arc::new(Semaphore::new(connections_max)) }
    }

    /// Accepts until the server stops.
    pub(super) async fn serve(self, listener: Listener) {
        let stop = self.tasks.stopping();
        while let Some(accepted) = stop.run_until_cancelled(self.next(&listener)).await {
            let Some((accepted, place)) = accepted else { continue };
            let door = self.clone();
            let peer = match &accepted {
                Accepted::Tcp(_, address) => Peer { address: Some(*address), tls: self.tls.is_some() },
                Accepted::Unix(_) => Peer { address: None, tls: false },
            };
            self.tasks.spawn_until_killed(async move {
                let _place = place;
                let _counted = Counting::start(&door.app.metrics.connections);
                match accepted {
                    Accepted::Tcp(stream, _) => {
                        let (stream, waiting) = Prompt::new(stream);
                        match door.tls.clone() {
                            Some(tls) => door.encrypted(tls, stream, Caller { peer, waiting }).await,
                            None => door.plain(stream, Caller { peer, waiting }).await,
                        }
                    }
                    // Who may open the file is on this machine: no TLS there.
                    Accepted::Unix(stream) => door.plain(stream, Caller { peer, waiting: Waiting::default() }).await,
                }
            });
        }
    }

    /// Waits for a place first: connections above the bound wait in the kernel's queue.
    async fn next(&self, listener: &Listener) -> Option<(Accepted, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok(accepted) => Some((accepted, place)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    async fn encrypted(self, tls: TlsAcceptor, stream: Prompt, caller: Caller) {
        let handshake = tls.accept_with(stream, |connection| connection.set_buffer_limit(Some(TLS_BUFFER)));
        match timeout(FIRST_BYTES_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => {
                let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
                self.speak(Timed::new(stream), protocol, caller, None).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn plain(self, socket: impl Socket, caller: Caller) {
        let (stream, ghosts) = Sending::new(socket);
        let stop = self.tasks.stopping();
        // A connection that has said nothing yet has nothing to finish.
        match stop.run_until_cancelled(Timed::sniff(stream)).await {
            Some(Ok((stream, protocol))) => self.speak(stream, protocol, caller, Some(ghosts)).await,
            Some(Err(error)) => tracing::debug!(%error, "a connection said nothing"),
            None => {}
        }
    }

    async fn speak<T>(self, stream: Timed<T>, protocol: Protocol, caller: Caller, ghosts: Option<Ghosts>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let app = Arc::clone(&self.app);
        // HTTP/2 cuts bodies into frames of its own, which it copies.
        let ghosts = ghosts.filter(|_| protocol == Protocol::Http1);
        let service = service_fn(move |request: Request<Incoming>| {
            if !request.body().is_end_stream() {
                caller.waiting.for_a_body();
            }
            respond(Arc::clone(&app), caller.peer, ghosts.clone(), request)
        });
        let io = TokioIo::new(stream);
        let ended = match protocol {
            Protocol::Http1 => {
                // Not `pipeline_flush`: with it hyper buffers a body without bound, as fast as it is read.
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).half_close(false);
                let connection = http.serve_connection(io, service);
                self.until_stop(pin!(connection), |connection| connection.graceful_shutdown()).await
            }
            Protocol::Http2 => {
                let mut http = http2::Builder::new(self.tasks.clone());
                http.timer(TokioTimer::new())
                    .keep_alive_interval(H2_PING_EVERY)
                    .max_concurrent_streams(H2_STREAMS_MAX)
                    .initial_stream_window_size(H2_STREAM_WINDOW)
                    .initial_connection_window_size(H2_CONNECTION_WINDOW)
                    .max_frame_size(H2_FRAME_MAX)
                    .max_send_buf_size(H2_SEND_BUFFER)
                    .max_header_list_size(u32::try_from(HEADERS_BYTES_MAX).unwrap_or(u32::MAX));
                let connection = http.serve_connection(io, service);
                self.until_stop(pin!(connection), |connection| connection.graceful_shutdown()).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    /// Runs a connection; when the server stops, lets it finish what it has begun.
    async fn until_stop<C>(
        &self,
        mut connection: std::pin::Pin<&mut C>,
        finish: impl FnOnce(std::pin::Pin<&mut C>),
    ) -> Result<(), hyper::Error>
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let stop = self.tasks.stopping();
        if let Some(ended) = stop.run_until_cancelled(connection.as_mut()).await {
            return ended;
        }
        finish(connection.as_mut());
        connection.await
    }
}
