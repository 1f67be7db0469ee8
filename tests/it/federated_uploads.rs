//! Uploads in chunks by what users of other servers were given: through a mount of it, and at its doors.

use causeway::service::admin::{Command, Outcome, ShareCommand};

use crate::support::federation::PATIENCE;
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::{Ask, Pair, TestServer, password};
use crate::support::sharing::{allow, received, share};

const MIB: usize = 1024 * 1024;

/// Bytes of which no two chunks are alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 4096 + at) % 251).unwrap()).collect()
}

fn session(server: &TestServer, method: &str, below: &str) -> Ask {
    server.ask(method, &format!("/remote.php/dav/uploads/bob/{below}")).basic("bob", &password("bob"))
}

/// Anna's `/Photos`, shared with bob of another Causeway and accepted; the number of the share.
async fn given(permissions: &str) -> (Pair, u64) {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    let id = share(&pair.anna, "anna", "/Photos", &format!("bob@{}", pair.bob.host()), permissions).await.id;
    let offer = received(&pair.bob, "bob").await[0].id;
    let taken = pair.bob.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: offer })).await;
    assert!(matches!(taken, Outcome::ReceivedShare(_)), "{taken:?}");
    (pair, id)
}

#[tokio::test]
async fn chunks_of_every_kind_go_through_a_share_of_another_server() {
    let (pair, id) = given("edit").await;
    // As Nextcloud's clients send big files; in chunks of ours it would be three.
    let content = bytes(19 * MIB);
    session(&pair.bob, "MKCOL", "s").header("oc-total-length", &content.len().to_string()).expect(201).await;
    for (number, part) in content.chunks(10 * MIB).enumerate() {
        session(&pair.bob, "PUT", &format!("s/{number}")).body(part).expect(201).await;
    }
    let to = |to: &str| session(&pair.bob, "MOVE", "s/.file").header("destination", &format!("/remote.php/dav/files/bob{to}"));
    let placed = to("/Photos/big.bin").expect(201).await;
    assert!(placed.header("etag").is_some());
    assert_eq!(std::fs::read(pair.anna.data().join("anna/Photos/big.bin")).unwrap(), content);
    // As old clients of ownCloud.
    for index in [1, 0] {
        let path = format!("/Photos/numbered-chunking-5-2-{index}");
        pair.bob.ask_as("bob", "PUT", &path).header("oc-chunked", "1").body(index.to_string()).expect(201).await;
    }
    assert_eq!(pair.anna.get("anna", "/Photos/numbered").await, "01");
    // Many small ones at once.
    let part = |path: &str, text: &str| format!("--b\r\nContent-Length: {}\r\nX-File-Path: {path}\r\n\r\n{text}\r\n", text.len());
    let body = [part("/Photos/one.txt", "one"), part("/Photos/two.txt", "two"), "--b--\r\n".to_owned()].concat();
    let bulk = |body: &str| {
        let ask = pair.bob.ask("POST", "/remote.php/dav/bulk").basic("bob", &password("bob"));
        ask.header("content-type", "multipart/related; boundary=\"b\"").body(body)
    };
    let told = bulk(&body).expect(200).await.text();
    assert_eq!(
        (pair.anna.get("anna", "/Photos/one.txt").await, pair.anna.get("anna", "/Photos/two.txt").await),
        ("one".into(), "two".into()),
        "{told}"
    );
    // None of them was a guess at somebody's link, and nothing is left lying.
    pair.bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(207).await;
    assert_eq!(std::fs::read_dir(pair.anna.data().join("anna/Photos")).unwrap().count(), 4);
    // Attack F7: what may only be read takes none of them.
    allow(&pair.anna, id, "read").await;
    let begun = std::time::Instant::now();
    session(&pair.bob, "MKCOL", "t").expect(201).await;
    session(&pair.bob, "PUT", "t/1").body("x").expect(201).await;
    session(&pair.bob, "MOVE", "t/.file").header("destination", "/remote.php/dav/files/bob/Photos/no").expect(403).await;
    let refused = bulk(&[part("/Photos/no.txt", "no"), "--b--\r\n".to_owned()].concat()).expect(200).await.text();
    assert!(refused.contains("\"error\":true"), "{refused}");
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(std::fs::read_dir(pair.anna.data().join("anna/Photos")).unwrap().count(), 4);
    pair.stop().await;
}

#[tokio::test]
async fn d9_a_secret_opens_no_session_of_chunks_but_its_own() {
    let server = TestServer::with_user("anna").await;
    let peer = OcmPeer::start(Habit::Nextcloud).await;
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    server.mkcol("anna", "/Photos").await;
    let mut secrets = Vec::new();
    for (user, permissions) in [("bob", "edit"), ("amy", "edit"), ("zoe", "read")] {
        share(&server, "anna", "/Photos", &peer.address_of(user), permissions).await;
        let offer = peer.offer();
        let id = offer["providerId"].as_str().unwrap().to_owned();
        secrets.push((id, offer["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned()));
    }
    let public = |secret: &str, index: usize, body: &str| {
        let ask = server.ask("PUT", &format!("/public.php/webdav/n-chunking-7-2-{index}")).basic(secret, "");
        ask.header("oc-chunked", "1").body(body)
    };
    // Old chunks at both doors: each secret has sessions of its own, and who may only read has none.
    public(&secrets[0].1, 0, "bob").expect(201).await;
    public(&secrets[1].1, 1, "amy").expect(201).await;
    public(&secrets[2].1, 0, "zoe").expect(403).await;
    server.ask_as("anna", "GET", "/Photos/n").expect(404).await;
    let numbered = format!("/remote.php/dav/ocm/{}/n-chunking-7-2-1", secrets[0].0);
    server
        .ask("PUT", &numbered)
        .header("authorization", &format!("Bearer {}", secrets[0].1))
        .header("oc-chunked", "1")
        .body("!")
        .expect(201)
        .await;
    assert_eq!(server.get("anna", "/Photos/n").await, "bob!");
    // Sessions of users, and bulk, are no doors of theirs.
    for (method, path) in
        [("MKCOL", "/remote.php/dav/uploads/anna/s"), ("POST", "/remote.php/dav/bulk"), ("PROPFIND", "/remote.php/dav/uploads/anna")]
    {
        server.ask(method, path).basic(&secrets[0].1, "").expect(401).await;
    }
    assert_eq!(server.get("anna", "/Photos/n").await, "bob!");
    server.stop().await;
}
