//! Uploads in chunks through a mount: on to a server that takes chunks in chunks again, and after a cut on either way only what is missing.

use std::time::Duration;

use causeway::domain::Secret;
use causeway::service::admin::Command;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::federation::{PATIENCE, etag, impatient, mounts, photos, property, transfer, until};
use crate::support::relay::Relay;
use crate::support::server::{Ask, Pair, TestServer, password};
use crate::support::sharing::share;

const MIB: usize = 1024 * 1024;

fn session(server: &TestServer, method: &str, below: &str) -> Ask {
    server.ask(method, &format!("/remote.php/dav/uploads/bob/{below}")).basic("bob", &password("bob"))
}

fn finish(server: &TestServer, id: &str, to: &str) -> Ask {
    session(server, "MOVE", &format!("{id}/.file")).header("destination", &format!("/remote.php/dav/files/bob{to}"))
}

/// Bytes of which no two chunks are alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 4096 + at) % 251).unwrap()).collect()
}

async fn send(server: &TestServer, id: &str, content: &[u8], chunk: usize) {
    session(server, "MKCOL", id).header("oc-total-length", &content.len().to_string()).expect(201).await;
    for (number, part) in content.chunks(chunk).enumerate() {
        session(server, "PUT", &format!("{id}/{number}")).body(part).expect(201).await;
    }
}

fn sha1(content: &[u8]) -> String {
    use sha1::Digest as _;
    sha1::Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many requests of a kind the uploads of links have answered.
async fn answered(server: &TestServer, method: &str, status: u16) -> u32 {
    let text = server.ask("GET", "/metrics").expect(200).await.text();
    let line = format!("causeway_requests_total{{route=\"link-uploads\",method=\"{method}\",status=\"{status}\"}} ");
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

/// Requests that a server is answering, the question itself included.
async fn in_flight(server: &TestServer) -> u32 {
    let text = server.ask("GET", "/metrics").expect(200).await.text();
    text.lines().find_map(|line| line.strip_prefix("causeway_requests_in_flight ")).unwrap().parse().unwrap()
}

/// Anna's `/Photos`, mounted in bob's tree over a wire that can be cut.
async fn wired() -> (TestServer, TestServer, Relay) {
    let anna = TestServer::with_user("anna").await;
    let bob = impatient("bob").await;
    anna.mkcol("anna", "/Photos").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    let relay = Relay::to(anna.address()).await;
    bob.execute(Command::RemoteAllowPrivate { host: relay.host() }).await;
    bob.mount("bob", &link.url.replace(&anna.host(), &relay.host())).await;
    (anna, bob, relay)
}

async fn recover(bob: &TestServer) {
    bob.execute(Command::MountRetry { id: "bob:/Photos".to_owned() }).await;
    assert_eq!(mounts(bob, "bob").await[0].state, "online");
}

#[tokio::test]
async fn a_big_file_goes_on_where_the_remote_was_lost() {
    let (anna, bob, relay) = wired().await;
    let content = bytes(40 * MIB);
    send(&bob, "s", &content, 7 * MIB).await;
    let place = |bob: &TestServer| {
        let move_it = finish(bob, "s", "/Photos/big.bin").header("oc-checksum", &format!("SHA1:{}", sha1(&content)));
        move_it.header("x-oc-mtime", "1700000000")
    };
    relay.cut_after(i64::try_from(24 * MIB).unwrap());
    place(&bob).expect(503).await;
    anna.ask_as("anna", "GET", "/Photos/big.bin").expect(404).await;
    assert_eq!(answered(&anna, "PUT", 201).await, 1);
    session(&bob, "PROPFIND", "s").header("depth", "1").expect(207).await;
    // The remote starts again, and so does the server between.
    let anna = anna.sleep().await.wake().await;
    let bob = bob.restart().await;
    relay.mend();
    recover(&bob).await;
    let placed = place(&bob).expect(201).await;
    assert_eq!(placed.header("x-oc-mtime"), Some("accepted"));
    assert_eq!(answered(&anna, "PUT", 201).await, 2, "what had arrived is not sent again");
    assert_eq!(answered(&anna, "MKCOL", 201).await, 0);
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    assert_eq!(property(&anna, "anna", "/Photos/big.bin", "d:getlastmodified").await, "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(placed.header("etag").unwrap(), etag(&bob, "bob", "/Photos/big.bin").await);
    session(&bob, "PROPFIND", "s").expect(404).await;
    for (server, space) in [(&anna, "anna"), (&bob, "bob")] {
        let left: Vec<_> = std::fs::read_dir(server.data().join(".causeway/uploads")).unwrap().collect();
        for folder in left {
            assert_eq!(std::fs::read_dir(folder.unwrap().path()).unwrap().count(), 0, "{space}");
        }
    }
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_file_is_sent_on_finds_it_further() {
    let (anna, bob, relay) = wired().await;
    let content = bytes(33 * MIB);
    send(&bob, "s", &content, 11 * MIB).await;
    // The wire is cut when the client is long gone: nobody waits for the answer.
    relay.cut_after(i64::try_from(30 * MIB).unwrap());
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("bob:{}", password("bob")));
    let mut stream = TcpStream::connect(bob.address()).await.unwrap();
    let head = format!(
        "MOVE /remote.php/dav/uploads/bob/s/.file HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {basic}\r\ndestination: /remote.php/webdav/Photos/big.bin\r\n\r\n",
        bob.host()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the first chunk", PATIENCE, async || answered(&anna, "PUT", 201).await == 1).await;
    drop(stream);
    until("the end of the first try", PATIENCE, async || in_flight(&bob).await == 1).await;
    relay.mend();
    recover(&bob).await;
    finish(&bob, "s", "/Photos/big.bin").expect(201).await;
    assert_eq!(answered(&anna, "MKCOL", 201).await, 1, "one session for both tries");
    assert!(answered(&anna, "PUT", 201).await <= 3);
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_chunk_that_was_sent_again_is_sent_on_again() {
    let (anna, bob, relay) = wired().await;
    let mut content = bytes(34 * MIB);
    send(&bob, "s", &content, 10 * MIB).await;
    relay.cut_after(i64::try_from(20 * MIB).unwrap());
    finish(&bob, "s", "/Photos/big.bin").expect(503).await;
    // The same size, other bytes, where the remote has them already.
    content[5] ^= 1;
    session(&bob, "PUT", "s/0").body(&content[..10 * MIB]).expect(204).await;
    relay.mend();
    recover(&bob).await;
    finish(&bob, "s", "/Photos/big.bin").expect(201).await;
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn conditions_hold_at_the_other_end() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    let content = bytes(17 * MIB);
    send(&bob, "s", &content, 9 * MIB).await;
    let seen = etag(&bob, "bob", "/Photos/a.txt").await;
    finish(&bob, "s", "/Photos/a.txt").header("if-match", "\"stale\"").expect(412).await;
    finish(&bob, "s", "/Photos/a.txt").header("overwrite", "F").expect(412).await;
    finish(&bob, "s", "/Photos/sub").expect(405).await;
    finish(&bob, "s", "/Photos/no/where").expect(409).await;
    finish(&bob, "s", "/Photos/a.txt").header("oc-checksum", "SHA1:0000000000000000000000000000000000000000").expect(400).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
    let list = format!("</remote.php/dav/files/bob/Photos/a.txt> ([{seen}])");
    finish(&bob, "s", "/Photos/a.txt").header("if", &list).expect(204).await;
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/a.txt")).unwrap(), content);
    // What anna wrote meanwhile is not overwritten by one who has not seen it.
    let seen = etag(&bob, "bob", "/Photos/a.txt").await;
    send(&bob, "t", &content, 9 * MIB).await;
    anna.put("anna", "/Photos/a.txt", "anna again").await;
    finish(&bob, "t", "/Photos/a.txt").header("if-match", &seen).expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "anna again");
    session(&bob, "PROPFIND", "t").expect(207).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn small_files_and_numbered_chunks_go_through_too() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    send(&bob, "s", b"abcdef", 2).await;
    finish(&bob, "s", "/Photos/small").expect(201).await;
    assert_eq!(anna.get("anna", "/Photos/small").await, "abcdef");
    assert_eq!(answered(&anna, "MKCOL", 201).await, 0, "one request is enough");
    for index in [1, 0] {
        let path = format!("/Photos/numbered-chunking-5-2-{index}");
        bob.ask_as("bob", "PUT", &path).header("oc-chunked", "1").body(index.to_string()).expect(201).await;
    }
    assert_eq!(anna.get("anna", "/Photos/numbered").await, "01");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_mount_that_may_only_be_read_takes_no_chunks() {
    let (Pair { anna, bob }, _) = photos("read").await;
    send(&bob, "s", &bytes(17 * MIB), 17 * MIB).await;
    finish(&bob, "s", "/Photos/big.bin").expect(403).await;
    finish(&bob, "s", "/Photos/a.txt").expect(403).await;
    session(&bob, "PROPFIND", "s").expect(207).await;
    // Who says where it will go, is told before the bytes are sent.
    let to = |to: &str| session(&bob, "MKCOL", "t").header("destination", to);
    to("/remote.php/dav/files/bob/Photos/big.bin").expect(403).await;
    to("/remote.php/dav/files/bob/Photos").expect(403).await;
    to("/remote.php/dav/files/anna/x").expect(502).await;
    to("/remote.php/dav/files/bob/own.bin").expect(201).await;
    bob.ask_as("bob", "PUT", "/Photos/n-chunking-1-2-0").header("oc-chunked", "1").body("x").expect(403).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_plain_server_gets_the_whole_in_one_piece() {
    use crate::support::bad_remote::BadRemote;
    let remote = BadRemote::start().await;
    let bob = impatient("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
    let mount = bob.mount("bob", &remote.url()).await;
    let path = mount.path.unwrap();
    let content = "0123456789abcdef".repeat(MIB + 1);
    send(&bob, "s", content.as_bytes(), 5 * MIB).await;
    finish(&bob, "s", &format!("{path}/big.bin")).expect(201).await;
    assert!(remote.read("big.bin").is_some_and(|there| there == content));
    tokio::time::timeout(Duration::from_secs(30), bob.stop()).await.unwrap();
}

#[tokio::test]
async fn a_remote_that_takes_no_more_sessions_gets_the_whole_in_one_piece() {
    let (Pair { anna, bob }, _) = photos("read").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    let token = link.url.rsplit('/').next().unwrap();
    for number in 0..causeway::limits::UPLOADS_MAX {
        anna.ask("MKCOL", &format!("/public.php/dav/uploads/{token}/s{number}")).expect(201).await;
    }
    let content = bytes(17 * MIB);
    send(&bob, "s", &content, 9 * MIB).await;
    finish(&bob, "s", "/Photos%20(2)/big.bin").expect(201).await;
    assert_eq!(answered(&anna, "PUT", 201).await, 0);
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_mount_in_a_share_takes_chunks_from_its_receiver() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.add_user("carol").await;
    bob.mkcol("bob", "/Shared").await;
    transfer(&bob, "bob", "MOVE", "/Photos", "/Shared/Photos").expect(201).await;
    share(&bob, "bob", "/Shared", "carol", "edit").await;
    let content = bytes(17 * MIB);
    let carol =
        |method: &str, below: &str| bob.ask(method, &format!("/remote.php/dav/uploads/carol/{below}")).basic("carol", &password("carol"));
    carol("MKCOL", "s").expect(201).await;
    carol("PUT", "s/1").body(&content).expect(201).await;
    let to = "/remote.php/dav/files/carol/Shared/Photos/big.bin";
    carol("MOVE", "s/.file").header("destination", to).header("if-match", "\"stale\"").expect(412).await;
    carol("MOVE", "s/.file").header("destination", to).expect(201).await;
    assert_eq!(answered(&anna, "PUT", 201).await, 2);
    assert_eq!(std::fs::read(anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    carol("PROPFIND", "s").expect(404).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn d8_a_remote_that_is_full_says_so_and_keeps_nothing() {
    let anna = TestServer::start().await;
    let bob = TestServer::with_user("bob").await;
    let owner = Secret::new(password("anna"));
    let quota = Some(u64::try_from(40 * MIB).unwrap());
    anna.execute(Command::UserAdd { name: "anna".to_owned(), admin: false, display_name: None, quota, password: owner }).await;
    anna.mkcol("anna", "/Photos").await;
    anna.mkcol("anna", "/own").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    bob.mount("bob", &link.url).await;
    send(&bob, "s", &bytes(41 * MIB), 41 * MIB).await;
    finish(&bob, "s", "/Photos/big.bin").expect(507).await;
    // Room for the beginning is not room for the whole, whoever takes it meanwhile.
    anna.put("anna", "/own/f", &"x".repeat(10 * MIB)).await;
    send(&bob, "t", &bytes(33 * MIB), 33 * MIB).await;
    finish(&bob, "t", "/Photos/big.bin").expect(507).await;
    assert_eq!(session(&bob, "PROPFIND", "t").send().await.status, 207);
    anna.ask_as("anna", "GET", "/Photos/big.bin").expect(404).await;
    anna.ask_as("anna", "DELETE", "/own/f").expect(204).await;
    anna.ask("DELETE", "/remote.php/dav/trash-bin/anna/").basic("anna", &password("anna")).send().await;
    finish(&bob, "t", "/Photos/big.bin").expect(201).await;
    Pair { anna, bob }.stop().await;
}
