//! Hostile uploads (attacks D8, D9).

use std::sync::Arc;

use causeway::domain::Secret;
use causeway::limits;
use causeway::service::admin::Command;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::server::{Ask, TestServer, password};

fn session(server: &TestServer, user: &str, method: &str, below: &str) -> Ask {
    server.ask(method, &format!("/remote.php/dav/uploads/{user}/{below}")).basic(user, &password(user))
}

fn finish(server: &TestServer, user: &str, id: &str, to: &str) -> Ask {
    session(server, user, "MOVE", &format!("{id}/.file")).header("destination", &format!("/remote.php/dav/files/{user}{to}"))
}

async fn with_quota(quota: u64) -> TestServer {
    let server = TestServer::start().await;
    let password = Secret::new(password("anna"));
    server.execute(Command::UserAdd { name: "anna".to_owned(), admin: false, display_name: None, quota: Some(quota), password }).await;
    server
}

#[tokio::test]
async fn d8_the_quota_counts_what_lies_in_every_session() {
    let server = with_quota(1000).await;
    session(&server, "anna", "MKCOL", "lie").header("oc-total-length", "2000").expect(507).await;
    session(&server, "anna", "MKCOL", "a").header("oc-total-length", "10").expect(201).await;
    session(&server, "anna", "PUT", "a/1").body("x".repeat(600)).expect(201).await;
    session(&server, "anna", "MKCOL", "b").header("oc-total-length", "600").expect(507).await;
    session(&server, "anna", "MKCOL", "b").expect(201).await;
    session(&server, "anna", "PUT", "b/1").body("x".repeat(600)).expect(507).await;
    session(&server, "anna", "PUT", "b/1").body("x".repeat(300)).expect(201).await;
    server.ask_as("anna", "PUT", "/plain").body("x".repeat(101)).expect(507).await;
    session(&server, "anna", "PUT", "b/1").body("x".repeat(401)).expect(507).await;
    // Instead of the old chunk, not beside it.
    session(&server, "anna", "PUT", "b/1").body("x".repeat(400)).expect(204).await;
    let server = server.restart().await;
    server.ask_as("anna", "PUT", "/plain").body("x").expect(507).await;
    // Its own bytes do not stand in its way.
    finish(&server, "anna", "a", "/a").expect(400).await;
    session(&server, "anna", "DELETE", "a").expect(204).await;
    finish(&server, "anna", "b", "/b").expect(201).await;
    session(&server, "anna", "MKCOL", "c").header("oc-total-length", "601").expect(507).await;
    session(&server, "anna", "MKCOL", "c").header("oc-total-length", "600").expect(201).await;
    session(&server, "anna", "PUT", "c/1").body("y".repeat(600)).expect(201).await;
    finish(&server, "anna", "c", "/c").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn d8_chunks_that_come_together_do_not_pass_the_quota_together() {
    let server = Arc::new(with_quota(1000).await);
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    let puts = (0..8).map(|number| session(&server, "anna", "PUT", &format!("s/{number}")).body("x".repeat(300)).send());
    let answers = futures_util::future::join_all(puts).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 3);
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 507)));
}

#[tokio::test]
async fn d8_the_bound_of_uploads_holds_for_the_sum_of_chunks() {
    let server = TestServer::start_with(causeway::domain::Clock::System, |config| config.upload_max = Some(100)).await;
    server.add_user("anna").await;
    session(&server, "anna", "MKCOL", "s").header("oc-total-length", "101").expect(413).await;
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    session(&server, "anna", "PUT", "s/1").body("x".repeat(60)).expect(201).await;
    session(&server, "anna", "PUT", "s/2").body("x".repeat(60)).expect(413).await;
    session(&server, "anna", "PUT", "s/2").body("x".repeat(40)).expect(201).await;
    finish(&server, "anna", "s", "/f").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn d9_sessions_of_others_are_not_there() {
    let server = TestServer::with_user("anna").await;
    server.add_user("bob").await;
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    session(&server, "anna", "PUT", "s/1").body("secret").expect(201).await;
    for (method, below) in [("PROPFIND", "s"), ("PUT", "s/2"), ("MOVE", "s/.file"), ("DELETE", "s"), ("MKCOL", "t"), ("PROPFIND", "")] {
        let path = format!("/remote.php/dav/uploads/anna/{below}");
        let ask = server.ask(method, &path).basic("bob", &password("bob"));
        ask.header("destination", "/remote.php/dav/files/bob/stolen").expect(404).await;
        // Of the same name with oneself it is another session, and is not there either.
        if method != "MKCOL" && !below.is_empty() {
            let own = session(&server, "bob", method, below);
            own.header("destination", "/remote.php/dav/files/bob/stolen").expect(404).await;
        }
        server.ask(method, &path).expect(401).await;
    }
    // Nor does a Destination lead into somebody else's tree.
    session(&server, "anna", "MOVE", "s/.file").header("destination", "/remote.php/dav/files/bob/gift").expect(502).await;
    session(&server, "anna", "MOVE", "s/.file").header("destination", "http://other.example/remote.php/webdav/x").expect(502).await;
    session(&server, "anna", "MOVE", "s/.file").header("destination", "/remote.php/dav/files/anna/").expect(405).await;
    session(&server, "anna", "MOVE", "s/.file").expect(400).await;
    finish(&server, "anna", "s", "/mine").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn d9_no_name_of_a_chunk_leads_anywhere_else() {
    let server = TestServer::with_user("anna").await;
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    for bad in
        ["s/..%2f..%2fevil", "s/%2e%2e", "s/../x", "s/a/b", "s/%00", "s/.hidden", "s/a%20b", "s/1~2", "../../evil", "..", "%2e%2e/x", ".s"]
    {
        for method in ["PUT", "MKCOL", "DELETE", "PROPFIND"] {
            let answer = session(&server, "anna", method, bad).body("x").send().await;
            assert!(matches!(answer.status, 400 | 404), "{method} {bad}: {}", answer.status);
        }
    }
    let long = "1".repeat(limits::CHUNK_NAME_BYTES_MAX + 1);
    session(&server, "anna", "PUT", &format!("s/{long}")).body("x").expect(400).await;
    session(&server, "anna", "PUT", "s").body("x").expect(405).await;
    session(&server, "anna", "PUT", "s/.file").body("x").expect(405).await;
    session(&server, "anna", "MKCOL", "s/1").expect(405).await;
    session(&server, "anna", "PUT", "other/1").body("x").expect(404).await;
    session(&server, "anna", "PUT", "s/1").header("content-range", "bytes 9000000000-9000000001/9000000002").body("x").expect(400).await;
    let uploads = server.data().join(".causeway/uploads");
    let files: Vec<_> = walk(&uploads);
    assert_eq!(files.len(), 0, "{files:?}");
    server.stop().await;
}

/// The files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn d9_of_two_moves_at_once_exactly_one_wins() {
    let server = TestServer::with_user("anna").await;
    for round in 0..5 {
        let id = format!("s{round}");
        session(&server, "anna", "MKCOL", &id).expect(201).await;
        session(&server, "anna", "PUT", &format!("{id}/1")).body("x".repeat(100_000)).expect(201).await;
        let to = |number: u32| format!("/f{round}-{number}");
        let moves = (0..4).map(|number| finish(&server, "anna", &id, &to(number)).send());
        let mut statuses: Vec<u16> = futures_util::future::join_all(moves).await.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 404, 404, 404]);
        let mut there = 0;
        for number in 0..4 {
            there += u32::from(server.ask_as("anna", "HEAD", &to(number)).send().await.status == 200);
        }
        assert_eq!(there, 1);
    }
    server.stop().await;
}

#[tokio::test]
async fn d9_gaps_and_overlaps_are_refused_by_their_sum() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/f", "old").await;
    session(&server, "anna", "MKCOL", "s").header("oc-total-length", "9").expect(201).await;
    session(&server, "anna", "PUT", "s/0").body("abc").expect(201).await;
    session(&server, "anna", "PUT", "s/6").body("ghi").expect(201).await;
    finish(&server, "anna", "s", "/f").expect(400).await;
    finish(&server, "anna", "s", "/f").header("oc-total-length", "6").expect(400).await;
    session(&server, "anna", "PUT", "s/3").body("defg").expect(201).await;
    finish(&server, "anna", "s", "/f").header("oc-total-length", "9").expect(400).await;
    assert_eq!(server.get("anna", "/f").await, "old");
    session(&server, "anna", "PUT", "s/3").body("def").expect(204).await;
    finish(&server, "anna", "s", "/f").header("oc-total-length", "9").expect(204).await;
    assert_eq!(server.get("anna", "/f").await, "abcdefghi");
    server.stop().await;
}

#[tokio::test]
async fn d9_sessions_are_bounded() {
    let server = TestServer::with_user("anna").await;
    for number in 0..limits::UPLOADS_MAX {
        session(&server, "anna", "MKCOL", &format!("s{number}")).expect(201).await;
    }
    session(&server, "anna", "MKCOL", "more").expect(403).await;
    session(&server, "anna", "DELETE", "s0").expect(204).await;
    session(&server, "anna", "MKCOL", "more").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn d9_a_chunk_that_is_cut_off_leaves_the_old_one_or_none() {
    let server = TestServer::with_user("anna").await;
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    session(&server, "anna", "PUT", "s/1").body("first").expect(201).await;
    for name in ["1", "2"] {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("anna:{}", password("anna")));
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "PUT /remote.php/dav/uploads/anna/s/{name} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {basic}\r\ncontent-length: 1000000\r\n\r\n",
            server.host()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 600_000]).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
    }
    let server = server.restart().await;
    let text = session(&server, "anna", "PROPFIND", "s").header("depth", "1").expect(207).await.text();
    assert!(text.contains("/s/1<") && !text.contains("/s/2<"), "{text}");
    finish(&server, "anna", "s", "/f").expect(201).await;
    assert_eq!(server.get("anna", "/f").await, "first");
    server.stop().await;
}

#[tokio::test]
async fn d9_what_a_power_cut_left_of_a_chunk_is_not_believed() {
    let server = TestServer::with_user("anna").await;
    session(&server, "anna", "MKCOL", "s").expect(201).await;
    session(&server, "anna", "PUT", "s/1").body("whole").expect(201).await;
    session(&server, "anna", "PUT", "s/2").body("lost").expect(201).await;
    for file in walk(&server.data().join(".causeway/uploads")) {
        if file.file_name().unwrap().to_str().unwrap().starts_with("2~") {
            std::fs::write(file, "").unwrap();
        }
    }
    let server = server.restart().await;
    let text = session(&server, "anna", "PROPFIND", "s").header("depth", "1").expect(207).await.text();
    assert!(text.contains("/s/1<") && !text.contains("/s/2<"), "{text}");
    server.stop().await;
}
