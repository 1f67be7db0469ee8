//! Uploads in chunks by whoever has a link.

use causeway::domain::Secret;
use causeway::limits::{LINK_CHUNKS_MAX, UPLOAD_EMPTY_CHUNKS_MAX};
use causeway::service::admin::{Command, LinkRow, LinkTerms};

use crate::support::federation::names;
use crate::support::server::{Ask, TestServer, password};

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

fn session(server: &TestServer, link: &LinkRow, method: &str, below: &str) -> Ask {
    server.ask(method, &format!("/public.php/dav/uploads/{}/{below}", token(link)))
}

fn finish(server: &TestServer, link: &LinkRow, id: &str, to: &str) -> Ask {
    let to = format!("/public.php/dav/files/{}{to}", token(link));
    session(server, link, "MOVE", &format!("{id}/.file")).header("destination", &to)
}

async fn with_folder() -> TestServer {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "old").await;
    server
}

#[tokio::test]
async fn a_link_with_a_password_takes_chunks() {
    let server = with_folder().await;
    let terms = LinkTerms { permissions: Some("edit".to_owned()), password: Some(Secret::new("open up")), ..LinkTerms::default() };
    let link = server.link_with("anna", "/Photos", terms).await;
    session(&server, &link, "MKCOL", "s").expect(401).await;
    session(&server, &link, "MKCOL", "s").basic("public", "wrong").expect(401).await;
    let open = |method: &str, below: &str| session(&server, &link, method, below).basic("public", "open up");
    open("MKCOL", "s").header("oc-total-length", "6").expect(201).await;
    open("PUT", "s/10").body("def").expect(201).await;
    open("PUT", "s/9").body("abc").expect(201).await;
    session(&server, &link, "PUT", "s/11").body("x").expect(401).await;
    session(&server, &link, "PROPFIND", "s").expect(401).await;
    let listed = open("PROPFIND", "s").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/s/9<") && listed.contains("/s/10<"), "{listed}");
    // The others who have the link need not know what is on its way.
    let all = open("PROPFIND", "").header("depth", "1").expect(207).await.text();
    assert!(!all.contains("/s/"), "{all}");
    finish(&server, &link, "s", "/a.txt").expect(401).await;
    let placed = finish(&server, &link, "s", "/a.txt").basic("public", "open up").header("x-oc-mtime", "1700000000").expect(204).await;
    assert!(placed.header("etag").is_some() && placed.header("oc-fileid").is_some());
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "abcdef");
    server.stop().await;
}

#[tokio::test]
async fn what_a_link_may_not_do_it_may_not_do_in_chunks() {
    let server = with_folder().await;
    let read = server.link("anna", "/Photos", "read").await;
    for (method, below) in [("MKCOL", "s"), ("PUT", "s/1"), ("PROPFIND", "s"), ("DELETE", "s")] {
        session(&server, &read, method, below).body("").expect(403).await;
    }
    finish(&server, &read, "s", "/x").expect(403).await;
    server.ask("MKCOL", "/public.php/dav/uploads/unknown/s").expect(404).await;
    // A session belongs to the link by which it was begun, and leads nowhere else.
    let edit = server.link("anna", "/Photos", "edit").await;
    let other = server.link("anna", "/Photos", "edit").await;
    session(&server, &edit, "MKCOL", "s").expect(201).await;
    session(&server, &edit, "PUT", "s/1").body("new").expect(201).await;
    session(&server, &other, "PROPFIND", "s").expect(404).await;
    finish(&server, &other, "s", "/x").expect(404).await;
    server.ask("PROPFIND", "/remote.php/dav/uploads/anna/s").basic("anna", &password("anna")).expect(404).await;
    for elsewhere in ["/remote.php/webdav/x".to_owned(), format!("/public.php/dav/files/{}/x", token(&other)), "/x".to_owned()] {
        session(&server, &edit, "MOVE", "s/.file").header("destination", &elsewhere).expect(502).await;
    }
    let alias = format!("http://{}/remote.php/dav/public-files/{}/x", server.host(), token(&edit));
    session(&server, &edit, "MOVE", "s/.file").header("destination", &alias).expect(201).await;
    assert_eq!(server.get("anna", "/Photos/x").await, "new");
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_file_gets_a_free_name_and_shows_nothing() {
    let server = with_folder().await;
    let link = server.link("anna", "/Photos", "drop").await;
    for content in ["one", "two"] {
        session(&server, &link, "MKCOL", "s").expect(201).await;
        session(&server, &link, "PUT", "s/1").body(content).expect(201).await;
        finish(&server, &link, "s", "/a.txt").expect(201).await;
    }
    assert_eq!(names(&server, "anna", "/Photos").await, ["a%20%282%29.txt", "a%20%283%29.txt", "a.txt"]);
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "old");
    assert_eq!(server.get("anna", "/Photos/a%20(3).txt").await, "two");
    server.stop().await;
}

#[tokio::test]
async fn a_link_to_one_file_takes_its_new_content_in_chunks() {
    let server = with_folder().await;
    let link = server.link("anna", "/Photos/a.txt", "edit").await;
    session(&server, &link, "MKCOL", "s").expect(201).await;
    session(&server, &link, "PUT", "s/1").body("new").expect(201).await;
    finish(&server, &link, "s", "/beside").expect(404).await;
    finish(&server, &link, "s", "/").expect(204).await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "new");
    server.stop().await;
}

#[tokio::test]
async fn d8_chunks_of_a_link_count_towards_the_quota_of_its_owner() {
    let server = TestServer::start().await;
    let owner = Secret::new(password("anna"));
    server.execute(Command::UserAdd { name: "anna".to_owned(), admin: false, display_name: None, quota: Some(100), password: owner }).await;
    server.mkcol("anna", "/in").await;
    let link = server.link("anna", "/in", "drop").await;
    session(&server, &link, "MKCOL", "s").header("oc-total-length", "101").expect(507).await;
    session(&server, &link, "MKCOL", "s").expect(201).await;
    session(&server, &link, "PUT", "s/1").body("x".repeat(70)).expect(201).await;
    session(&server, &link, "PUT", "s/2").body("x".repeat(31)).expect(507).await;
    server.ask_as("anna", "PUT", "/f").body("x".repeat(31)).expect(507).await;
    server.stop().await;
}

#[tokio::test]
async fn numbered_chunks_come_by_links_too() {
    let server = with_folder().await;
    let link = server.link("anna", "/Photos", "edit").await;
    for (index, content) in [(1, "cd"), (0, "ab")] {
        let path = format!("/public.php/dav/files/{}/n.bin-chunking-99-2-{index}", token(&link));
        server.ask("PUT", &path).header("oc-chunked", "1").body(content).expect(201).await;
    }
    assert_eq!(server.get("anna", "/Photos/n.bin").await, "abcd");
    server.stop().await;
}

#[tokio::test]
async fn d9_the_chunks_of_a_link_leave_room_for_those_of_its_owner() {
    let server = with_folder().await;
    let link = server.link("anna", "/Photos", "drop").await;
    session(&server, &link, "MKCOL", "many").expect(201).await;
    session(&server, &link, "PUT", "many/0").body("x").expect(201).await;
    session(&server, &link, "MKCOL", "more").expect(201).await;
    let own = |method: &str, below: &str| server.ask(method, &format!("/dav/uploads/anna/{below}")).basic("anna", &password("anna"));
    own("MKCOL", "s").expect(201).await;
    // As if they had been sent: what earlier runs left counts too.
    let uploads = server.data().join(".causeway/uploads/1");
    let folders = std::fs::read_dir(uploads).unwrap().map(|folder| folder.unwrap().path());
    let many = folders.into_iter().find(|folder| folder.join("0~1").exists()).unwrap();
    let asleep = server.sleep().await;
    for number in 1..LINK_CHUNKS_MAX {
        std::fs::write(many.join(format!("{number}~1")), "x").unwrap();
    }
    let server = asleep.wake().await;
    session(&server, &link, "PUT", "more/1").body("x").expect(403).await;
    session(&server, &link, "PUT", &format!("many/{LINK_CHUNKS_MAX}")).body("x").expect(403).await;
    // Another link, the owner, and a chunk that is sent again.
    let other = server.link("anna", "/Photos", "edit").await;
    session(&server, &other, "MKCOL", "s").expect(201).await;
    session(&server, &other, "PUT", "s/1").body("x").expect(201).await;
    server.ask("PUT", "/dav/uploads/anna/s/1").basic("anna", &password("anna")).body("x").expect(201).await;
    session(&server, &link, "PUT", "many/0").body("y").expect(204).await;
    session(&server, &link, "DELETE", "many").expect(204).await;
    session(&server, &link, "PUT", "more/1").body("x").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn d9_chunks_without_bytes_are_few() {
    let server = with_folder().await;
    let link = server.link("anna", "/Photos", "edit").await;
    session(&server, &link, "MKCOL", "s").expect(201).await;
    // Clients send an empty file as one.
    for number in 0..UPLOAD_EMPTY_CHUNKS_MAX {
        session(&server, &link, "PUT", &format!("s/{number}")).expect(201).await;
    }
    session(&server, &link, "PUT", "s/0").expect(204).await;
    session(&server, &link, "PUT", "s/many").expect(403).await;
    session(&server, &link, "PUT", "s/many").body("x").expect(201).await;
    session(&server, &link, "PUT", "s/many").expect(403).await;
    finish(&server, &link, "s", "/a.txt").expect(204).await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "x");
    server.stop().await;
}
