//! A wire between two servers that a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Passes bytes on to a server until so many have gone there.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Bytes that may still go to the server; none are passed once it is used up, and nobody is let in.
    left: AtomicI64,
    cut: Notify,
}

impl Relay {
    /// A relay to this server that passes everything.
    pub(crate) async fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { left: AtomicI64::new(i64::MAX), cut: Notify::new() });
        let serving = Arc::clone(&shared);
        drop(tokio::runtime::Handle::current().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if serving.left.load(Ordering::SeqCst) > 0 {
                    let shared = Arc::clone(&serving);
                    drop(tokio::runtime::Handle::current().spawn(async move { shared.pass(client, server).await }));
                }
            }
        }));
        Relay { address, shared }
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Cuts every connection once so many more bytes have gone to the server.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub(crate) fn mend(&self) {
        self.shared.left.store(i64::MAX, Ordering::SeqCst);
    }
}

impl Shared {
    async fn pass(&self, client: TcpStream, server: SocketAddr) {
        let Ok(server) = TcpStream::connect(server).await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let there = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                let size = i64::try_from(count).unwrap();
                if self.left.fetch_sub(size, Ordering::SeqCst) < size {
                    self.left.store(0, Ordering::SeqCst);
                    self.cut.notify_waiters();
                    return;
                }
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            drop(to_server.shutdown().await);
            std::future::pending::<()>().await;
        };
        let back = async { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
        tokio::select! {
            () = there => {}
            () = back => {}
            () = self.cut.notified() => {}
        }
    }
}
