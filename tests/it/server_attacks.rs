//! Attacks on the machine below: a disk that fills up halfway (D8), clients that are slow on purpose (D10).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use causeway::domain::Clock;
use causeway::limits::{BODY_STALL_TIMEOUT, FIRST_BYTES_TIMEOUT, HEADERS_TIMEOUT, WRITE_STALL_TIMEOUT};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{advance, pause, resume, timeout};

use crate::support::server::{TestServer, password};

/// A small disk of its own, unmounted at the end.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk of so many megabytes; none where this user may not mount one.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn mount(megabytes: u32) -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Disk { folder });
        }
        println!("skipped: no disk can be mounted here, which takes root");
        None
    }

    /// Fills what is left, as somebody else on this machine would.
    fn fill(&self, name: &str) -> PathBuf {
        let hog = self.folder.path().join(name);
        let mut file = std::fs::File::create(&hog).unwrap();
        let mut piece: &[u8] = &[b'x'; 64 * 1024];
        while !piece.is_empty() {
            if std::io::Write::write_all(&mut file, piece).is_err() {
                piece = &piece[..piece.len() / 2];
            }
        }
        hog
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()), "the disk is still mounted");
    }
}

fn staged(data: &Path) -> usize {
    std::fs::read_dir(data.join(".causeway/staging")).unwrap().count()
}

/// The head of an upload by anna.
fn upload(path: &str, length: &str) -> String {
    use base64::Engine as _;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("anna:{}", password("anna")));
    format!("PUT /remote.php/webdav{path} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {login}\r\n{length}\r\n\r\n")
}

/// What the server says until it closes.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends the connection as well as a close.
    let _ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.expect("the server closes");
    String::from_utf8_lossy(&text).into_owned()
}

/// A connection that says this much, and no more.
async fn slow(server: &TestServer, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    // Answered on another connection: what was said before has been read by then.
    server.ask("GET", "/healthz").expect(200).await;
    stream
}

/// Lets time pass for everybody in this process, at once.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
    // Who was waiting for it gets its turn.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn is_open(stream: &TcpStream) -> bool {
    timeout(Duration::from_millis(200), stream.peek(&mut [0; 1])).await.is_err()
}

/// A client that stops after these words is let go after `limit`, not before, and others are served meanwhile. What it is told.
async fn check_let_go(server: &TestServer, said: &str, limit: Duration) -> String {
    let margin = Duration::from_secs(5);
    let stream = slow(server, said).await;
    pass(limit - margin).await;
    server.ask("GET", "/healthz").expect(200).await;
    assert!(is_open(&stream).await, "{said:?} was cut off early");
    pass(margin).await;
    server.ask("GET", "/healthz").expect(200).await;
    // What was read late has a later limit.
    if is_open(&stream).await {
        pass(limit).await;
    }
    answer(stream).await
}

#[tokio::test]
async fn d10_a_client_that_says_nothing_or_half_a_head_is_let_go() {
    let server = TestServer::with_user("anna").await;
    for said in ["", "PRI * HTTP/2", "P"] {
        check_let_go(&server, said, FIRST_BYTES_TIMEOUT).await;
    }
    for said in ["GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let told = check_let_go(&server, said, HEADERS_TIMEOUT).await;
        assert!(!told.contains("200 OK"), "{told}");
    }
    // One more byte of the head now and then does not help.
    let mut stream = slow(&server, "GET /healthz HTTP/1.1\r\n").await;
    for _ in 0..4 {
        pass(HEADERS_TIMEOUT / 4).await;
        let _let_go = stream.write_all(b"x").await;
    }
    let told = answer(stream).await;
    assert!(!told.contains("200 OK"), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn d10_a_body_that_stalls_ends_and_leaves_the_old_content() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/a.txt", "old content").await;
    for length in ["content-length: 2000000", "transfer-encoding: chunked"] {
        // More than is collected in memory, so that a file is staged.
        let some = if length.starts_with('t') { "f4240\r\n" } else { "" }.to_owned() + &"n".repeat(1_000_000);
        let told = check_let_go(&server, &(upload("/a.txt", length) + &some), BODY_STALL_TIMEOUT).await;
        assert!(told.starts_with("HTTP/1.1 400") || told.starts_with("HTTP/1.1 408"), "{length}: {told}");
        assert_eq!(server.get("anna", "/a.txt").await, "old content");
        assert_eq!(staged(server.data()), 0, "{length}");
    }
    server.stop().await;
}

#[tokio::test]
async fn d10_a_client_that_takes_nothing_is_let_go() {
    const LENGTH: usize = 32 << 20;
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/large", &"x".repeat(LENGTH)).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(upload("/large", "").replacen("PUT", "GET", 1).replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    // It ends some time after the kernel takes no more for this client.
    let begun = std::time::Instant::now();
    while !server.ask("GET", "/metrics").expect(200).await.text().contains("causeway_connections 1\n") {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is still served");
        pass(WRITE_STALL_TIMEOUT).await;
    }
    let rest = answer(stream).await;
    assert!(rest.len() < LENGTH, "all of it came");
    server.stop().await;
}

#[tokio::test]
async fn d10_connections_above_the_bound_wait_until_the_slow_are_gone() {
    let server = TestServer::start_with(Clock::System, |config| config.connections_max = 3).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(TcpStream::connect(server.address()).await.unwrap());
    }
    // One place is left, and is used again and again.
    for _ in 0..5 {
        server.ask("GET", "/healthz").expect(200).await;
    }
    for _ in 0..10 {
        slow.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let mut waiting = std::pin::pin!(server.ask("GET", "/healthz").send());
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "there was a place after all");
    // The slow ones that wait get their places before it, three at a time.
    let mut answered = None;
    for _ in 0..6 {
        pass(FIRST_BYTES_TIMEOUT).await;
        answered = timeout(Duration::from_millis(300), &mut waiting).await.ok();
        if answered.is_some() {
            break;
        }
    }
    assert_eq!(answered.expect("it gets its turn").status, 200);
    drop(slow);
    server.stop().await;
}

/// Begins an upload of unknown length and sends the first pieces of it.
async fn begin_upload(server: &TestServer, path: &str, megabytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(upload(path, "transfer-encoding: chunked").as_bytes()).await.unwrap();
    for _ in 0..megabytes {
        stream.write_all(&piece()).await.unwrap();
    }
    stream
}

/// A megabyte of a body in chunks.
fn piece() -> Vec<u8> {
    [b"100000\r\n".as_slice(), &[b'n'; 1 << 20], b"\r\n"].concat()
}

async fn until_staged(data: &Path, count: usize) {
    let begun = std::time::Instant::now();
    while staged(data) != count {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} files are staged", staged(data));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn d8_a_disk_that_fills_up_halfway_leaves_the_old_content() {
    let Some(disk) = Disk::mount(128) else { return };
    let data = disk.folder.path().join("davroot");
    let server = TestServer::start_with(Clock::System, |config| config.data = data.clone()).await;
    server.add_user("anna").await;
    server.put("anna", "/a.txt", "old content").await;
    // More than half of what is free: what is staged already is not asked for twice.
    let mut stream = begin_upload(&server, "/large", 60).await;
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 201");
    server.ask_as("anna", "DELETE", "/large").expect(204).await;
    // Somebody else fills the disk while the body comes.
    let mut stream = begin_upload(&server, "/a.txt", 4).await;
    until_staged(&data, 1).await;
    let hog = disk.fill("hog");
    for _ in 0..16 {
        if stream.write_all(&piece()).await.is_err() {
            break;
        }
    }
    let told = answer(stream).await;
    assert!(told.starts_with("HTTP/1.1 507"), "{told}");
    until_staged(&data, 0).await;
    assert_eq!(server.get("anna", "/a.txt").await, "old content");
    // Nothing can be written, everything can be read.
    let more = disk.fill("more");
    for number in 0..300 {
        server.ask_as("anna", "MKCOL", &format!("/folder{number}")).expect(507).await;
    }
    server.ask_as("anna", "PUT", "/a.txt").body("new").expect(507).await;
    server.ask_as("anna", "PUT", "/a.txt").body(vec![b'n'; 3_000_000]).expect(507).await;
    server.ask_as("anna", "PROPFIND", "/").header("depth", "1").expect(207).await;
    assert_eq!((server.get("anna", "/a.txt").await.as_str(), staged(&data)), ("old content", 0));
    // With room again everything goes on, and nothing was lost.
    std::fs::remove_file(&hog).unwrap();
    std::fs::remove_file(&more).unwrap();
    server.put("anna", "/b.txt", "new").await;
    server.mkcol("anna", "/folder").await;
    let server = server.restart().await;
    for (path, content) in [("/a.txt", "old content"), ("/b.txt", "new")] {
        assert_eq!(server.get("anna", path).await, content);
    }
    server.stop().await;
}

#[tokio::test]
async fn d8_uploads_leave_room_for_what_makes_room() {
    let Some(disk) = Disk::mount(96) else { return };
    let data = disk.folder.path().join("davroot");
    let server = TestServer::start_with(Clock::System, |config| config.data = data.clone()).await;
    server.add_user("anna").await;
    let mut written = 0;
    let full = loop {
        let status = server.ask_as("anna", "PUT", &format!("/{written}")).body(vec![b'x'; 4 << 20]).send().await.status;
        if status != 201 {
            break status;
        }
        written += 1;
    };
    assert_eq!(full, 507);
    assert!(written > 4, "{written} files of 4 MiB fit on 96 MiB");
    for number in 0..written {
        server.ask_as("anna", "DELETE", &format!("/{number}")).expect(204).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn d8_what_was_deleted_gives_way_to_an_upload() {
    let Some(disk) = Disk::mount(128) else { return };
    let data = disk.folder.path().join("davroot");
    let server = TestServer::start_with(Clock::System, |config| config.data = data.clone()).await;
    server.add_user("anna").await;
    let trashed = || std::fs::read_dir(data.join(".causeway/trash/1")).unwrap().count();
    let put = |path: &str, megabytes: usize| server.ask_as("anna", "PUT", path).body(vec![b'x'; megabytes << 20]);
    put("/old", 20).expect(201).await;
    server.ask_as("anna", "DELETE", "/old").expect(204).await;
    put("/kept", 40).expect(201).await;
    assert_eq!(trashed(), 1);
    // Where it does not help, nothing goes.
    put("/much", 100).expect(507).await;
    assert_eq!(trashed(), 1);
    put("/new", 40).expect(201).await;
    assert_eq!(trashed(), 0);
    put("/more", 40).expect(507).await;
    assert_eq!(server.get("anna", "/kept").await.len(), 40 << 20);
    server.stop().await;
}

#[tokio::test]
async fn d8_what_a_full_disk_saw_done_is_not_done_again_over_newer_files() {
    let Some(disk) = Disk::mount(96) else { return };
    let data = disk.folder.path().join("davroot");
    let server = TestServer::start_with(Clock::System, |config| config.data = data.clone()).await;
    server.add_user("anna").await;
    server.put("anna", "/draft", "first").await;
    let rename = async |from: &str, to: &str| {
        let target = format!("http://{}/remote.php/webdav{to}", server.host());
        server.ask_as("anna", "MOVE", from).header("destination", &target).expect(201).await;
    };
    rename("/draft", "/final").await;
    // What tells the store that this is done comes some tenths of a second later, to a full disk.
    let hog = disk.fill("hog");
    tokio::time::sleep(Duration::from_millis(800)).await;
    std::fs::remove_file(&hog).unwrap();
    rename("/final", "/draft").await;
    server.put("anna", "/final", "second").await;
    let server = server.restart().await;
    assert_eq!((server.get("anna", "/draft").await.as_str(), server.get("anna", "/final").await.as_str()), ("first", "second"));
    server.stop().await;
}
