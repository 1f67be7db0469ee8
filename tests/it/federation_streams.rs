//! Large files through a mount: neither server holds them, and whoever hangs up ends the transfer on the other hop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use causeway::service::admin::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::federation::{PATIENCE, head, names, status, until};
use crate::support::server::TestServer;

/// Larger than all buffers of the system on the way.
const LARGE: usize = 80 << 20;
/// What may be on its way: the servers' buffers of sockets at their largest, and a little of ours.
const ON_THE_WAY: u64 = 28 << 20;

/// What our server may hold of an upload.
const HELD: u64 = 1 << 20;

/// What passed between the two servers.
#[derive(Default)]
struct Wire {
    /// Bytes from the remote.
    down: AtomicU64,
    /// Bytes to the remote.
    up: AtomicU64,
    /// Nothing is taken from the mounting server while this is set.
    paused: AtomicBool,
    /// After so many more bytes from the mounting server `paused` is set; 0 for never.
    pause_after: AtomicU64,
    /// Connections that the mounting server has ended.
    ended: AtomicU64,
}

impl Wire {
    /// Waits until no byte has passed for a second.
    async fn rests(&self, counter: &AtomicU64) -> u64 {
        let mut last = counter.load(Ordering::SeqCst);
        until("a pause on the wire", PATIENCE, async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = counter.load(Ordering::SeqCst);
            std::mem::replace(&mut last, now) == now
        })
        .await;
        last
    }
}

/// A wire to `to` that counts, for as long as its tasks are kept. Returns its own address first.
async fn wire(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Wire>, JoinSet<()>) {
    let socket = small();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let wire = Arc::new(Wire::default());
    let counted = Arc::clone(&wire);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let far = small().connect(to).await.unwrap();
            let wire = Arc::clone(&counted);
            connections.spawn(async move {
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                let up = carry(near_read, far_write, &wire.up, Some((&wire.paused, &wire.pause_after)));
                let down = carry(far_read, near_write, &wire.down, None);
                tokio::select! {
                    () = up => {}
                    () = down => {}
                }
                wire.ended.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    (address, wire, tasks)
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    counter: &AtomicU64,
    paused: Option<(&AtomicBool, &AtomicU64)>,
) {
    let mut piece = vec![0; 64 << 10];
    loop {
        while paused.is_some_and(|(paused, _)| paused.load(Ordering::SeqCst)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let Ok(count @ 1..) = from.read(&mut piece).await else { return };
        counter.fetch_add(count as u64, Ordering::SeqCst);
        if let Some((paused, left)) = paused
            && left.load(Ordering::SeqCst) > 0
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(count as u64))).unwrap()
                <= count as u64
        {
            paused.store(true, Ordering::SeqCst);
        }
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

/// Bob's mount of anna's `/Big` over a counted wire.
async fn start() -> (TestServer, TestServer, Arc<Wire>, JoinSet<()>) {
    let (anna, bob) = (TestServer::with_user("anna").await, TestServer::with_user("bob").await);
    let (address, wire, tasks) = wire(anna.address()).await;
    bob.execute(Command::RemoteAllowPrivate { host: address.to_string() }).await;
    anna.mkcol("anna", "/Big").await;
    let link = anna.link("anna", "/Big", "edit").await;
    let mount = bob.mount("bob", &link.url.replace(&anna.host(), &address.to_string())).await;
    assert_eq!(mount.path.as_deref(), Some("/Big"));
    (anna, bob, wire, tasks)
}

/// A connection with small buffers.
async fn narrow(server: &TestServer) -> TcpStream {
    small().connect(server.address()).await.unwrap()
}

fn small() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.set_send_buffer_size(64 << 10).unwrap();
    socket
}

fn content() -> Vec<u8> {
    (0..LARGE / 8).flat_map(|number: usize| (number as u64).to_be_bytes()).collect()
}

async fn put_large(anna: &TestServer, bob: &TestServer) {
    anna.ask_as("anna", "PUT", "/Big/large").body(content()).expect(201).await;
    until("the file", PATIENCE, async || names(bob, "bob", "/Big").await == ["large"]).await;
}

/// Reads the head of an answer and what came with it of the body.
async fn begin(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let end = loop {
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    };
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..end]));
    answer.split_off(end)
}

#[tokio::test]
async fn a_slow_reader_slows_the_remote_down() {
    let (anna, bob, wire, _tasks) = start().await;
    put_large(&anna, &bob).await;
    let mut client = narrow(&bob).await;
    client.write_all(head(&bob, "bob", "GET", "/Big/large", "connection: close\r\n").as_bytes()).await.unwrap();
    let mut body = begin(&mut client).await;
    let taken = wire.rests(&wire.down).await;
    assert!(taken < ON_THE_WAY, "{taken} bytes were fetched for a client that does not read");
    client.read_to_end(&mut body).await.unwrap();
    assert!(body == content(), "{} bytes came, not the {LARGE} that were there", body.len());
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_reader_that_hangs_up_ends_the_download() {
    let (anna, bob, wire, _tasks) = start().await;
    put_large(&anna, &bob).await;
    let mut client = narrow(&bob).await;
    client.write_all(head(&bob, "bob", "GET", "/Big/large", "").as_bytes()).await.unwrap();
    begin(&mut client).await;
    wire.rests(&wire.down).await;
    let ended = wire.ended.load(Ordering::SeqCst);
    drop(client);
    until("the end of the download", PATIENCE, async || wire.ended.load(Ordering::SeqCst) > ended).await;
    let taken = wire.rests(&wire.down).await;
    assert!(taken < LARGE as u64, "{taken} bytes were fetched for nobody");
    assert_eq!(names(&bob, "bob", "/Big").await, ["large"]);
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_slow_remote_slows_the_writer_down_and_a_slow_writer_is_waited_for() {
    let (anna, bob, wire, _tasks) = start().await;
    // The mount knows the folder; from here on, what goes up is the upload.
    assert!(names(&bob, "bob", "/Big").await.is_empty());
    let mut client = narrow(&bob).await;
    let lines = format!("content-length: {LARGE}\r\nconnection: close\r\n");
    client.write_all(head(&bob, "bob", "PUT", "/Big/large", &lines).as_bytes()).await.unwrap();
    let content = content();
    // The first part arrives at the remote while the second is not yet sent: nothing is collected here. The second is more than the system
    // holds on the way: a receiving socket grows to 32 MiB on some machines.
    let (first, second) = content.split_at(LARGE / 4);
    client.write_all(first).await.unwrap();
    until("the first part", PATIENCE, async || wire.up.load(Ordering::SeqCst) >= first.len() as u64 - HELD).await;
    // A remote that takes nothing: our server takes nothing more either.
    wire.paused.store(true, Ordering::SeqCst);
    let sent = AtomicU64::new(0);
    let writing = async {
        for piece in second.chunks(64 << 10) {
            client.write_all(piece).await.unwrap();
            sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    };
    let watching = async {
        let stuck = wire.rests(&sent).await;
        wire.paused.store(false, Ordering::SeqCst);
        stuck
    };
    let ((), stuck) = tokio::join!(writing, watching);
    assert!(stuck < second.len() as u64, "{stuck} bytes were taken for a remote that takes none");
    assert_eq!(status(&mut client).await, 201);
    let arrived = anna.ask_as("anna", "GET", "/Big/large").expect(200).await;
    assert!(arrived.body == content, "{} bytes arrived", arrived.body.len());
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_writer_that_hangs_up_ends_the_upload_and_leaves_the_old_content() {
    let (anna, bob, wire, _tasks) = start().await;
    anna.put("anna", "/Big/old.txt", "old content").await;
    until("the file", PATIENCE, async || names(&bob, "bob", "/Big").await == ["old.txt"]).await;
    for path in ["/Big/old.txt", "/Big/new.txt"] {
        let mut client = narrow(&bob).await;
        let lines = format!("content-length: {LARGE}\r\n");
        let before = wire.up.load(Ordering::SeqCst);
        client.write_all(head(&bob, "bob", "PUT", path, &lines).as_bytes()).await.unwrap();
        client.write_all(&vec![7; 4 << 20]).await.unwrap();
        until("the beginning", PATIENCE, async || wire.up.load(Ordering::SeqCst) >= before + (4 << 20) - HELD).await;
        let ended = wire.ended.load(Ordering::SeqCst);
        drop(client);
        until("the end of the upload", PATIENCE, async || wire.ended.load(Ordering::SeqCst) > ended).await;
    }
    assert_eq!(anna.get("anna", "/Big/old.txt").await, "old content");
    assert_eq!(names(&anna, "anna", "/Big").await, ["old.txt"]);
    until("the listing", PATIENCE, async || names(&bob, "bob", "/Big").await == ["old.txt"]).await;
    assert_eq!(bob.get("bob", "/Big/old.txt").await, "old content");
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_copy_across_the_border_whose_client_hangs_up_leaves_nothing_behind() {
    let (anna, bob, wire, _tasks) = start().await;
    bob.mkcol("bob", "/own").await;
    bob.ask_as("bob", "PUT", "/own/large").body(content()).expect(201).await;
    assert!(names(&bob, "bob", "/Big").await.is_empty());
    wire.pause_after.store(1 << 20, Ordering::SeqCst);
    let mut client = narrow(&bob).await;
    let lines = format!("destination: http://{}/remote.php/webdav/Big/own\r\n", bob.host());
    client.write_all(head(&bob, "bob", "COPY", "/own", &lines).as_bytes()).await.unwrap();
    until("the middle of the copy", PATIENCE, async || wire.paused.load(Ordering::SeqCst)).await;
    let begun = names(&anna, "anna", "/Big").await;
    assert!(begun.len() == 1 && begun[0].contains(".causeway-"), "{begun:?}");
    drop(client);
    wire.paused.store(false, Ordering::SeqCst);
    until("an empty folder", PATIENCE, async || names(&anna, "anna", "/Big").await.is_empty()).await;
    assert_eq!(names(&bob, "bob", "/own").await, ["large"]);
    bob.stop().await;
    anna.stop().await;
}
