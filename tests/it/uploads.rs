//! Uploads in chunks as sync clients send them, and many files at once (`protocol/nextcloud.md` 3.1, `protocol/owncloud.md` 4).

use causeway::domain::{Clock, Secret};
use causeway::service::admin::Command;

use crate::support::server::{Answer, Ask, TestServer, password};

/// A session of anna.
fn session(server: &TestServer, method: &str, below: &str) -> Ask {
    server.ask(method, &format!("/remote.php/dav/uploads/anna/{below}")).basic("anna", &password("anna"))
}

/// The MOVE that ends a session; the Destination is a path, as sync clients send it.
fn finish(server: &TestServer, id: &str, to: &str) -> Ask {
    session(server, "MOVE", &format!("{id}/.file")).header("destination", &format!("/remote.php/dav/files/anna{to}"))
}

/// Begins a session and sends chunks.
async fn send(server: &TestServer, id: &str, chunks: &[(&str, &str)]) {
    session(server, "MKCOL", id).expect(201).await;
    for (name, content) in chunks {
        session(server, "PUT", &format!("{id}/{name}")).body(content).expect(201).await;
    }
}

async fn listed(server: &TestServer, id: &str) -> Vec<(String, u64)> {
    let body = "<d:propfind xmlns:d=\"DAV:\"><d:prop><d:getcontentlength/></d:prop></d:propfind>";
    let text = session(server, "PROPFIND", id).header("depth", "1").body(body).expect(207).await.text();
    let member = |part: &str| {
        let href = part.split("href>").nth(1)?.split('<').next()?.to_owned();
        let size = part.split("getcontentlength>").nth(1)?.split('<').next()?.parse().ok()?;
        Some((href.rsplit('/').next()?.to_owned(), size))
    };
    text.split("<d:response>").filter_map(member).collect()
}

fn sha1(text: &str) -> String {
    use sha1::Digest as _;
    sha1::Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn insists(answer: &Answer) {
    let etag = answer.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert_eq!(answer.header("oc-etag"), Some(etag));
    assert!(answer.header("oc-fileid").is_some_and(|id| id.contains("oc")));
}

#[tokio::test]
async fn a_big_file_comes_in_chunks_as_nextcloud_sends_it() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/sync").await;
    session(&server, "MKCOL", "1120215139").header("oc-total-length", "10").expect(201).await;
    session(&server, "PUT", "1120215139/0000000000000000").header("oc-chunk-offset", "0").body("01234").expect(201).await;
    session(&server, "PUT", "1120215139/0000000000000001").header("oc-chunk-offset", "5").body("56789").expect(201).await;
    let answer = finish(&server, "1120215139", "/sync/big.bin")
        .header("oc-checksum", &format!("SHA1:{}", sha1("0123456789")))
        .header("oc-total-length", "10")
        .header("x-oc-mtime", "1700000000")
        .expect(201)
        .await;
    insists(&answer);
    assert_eq!(answer.header("x-oc-mtime"), Some("accepted"));
    let got = server.ask_as("anna", "GET", "/sync/big.bin").expect(200).await;
    assert_eq!(got.text(), "0123456789");
    assert_eq!(got.header("etag"), answer.header("etag"));
    assert_eq!(got.header("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    // The session is gone, and nothing of it stays on the disk.
    session(&server, "PROPFIND", "1120215139").expect(404).await;
    session(&server, "PUT", "1120215139/2").body("x").expect(404).await;
    finish(&server, "1120215139", "/sync/big.bin").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn chunks_are_put_together_in_the_order_of_their_numbers() {
    let server = TestServer::with_user("anna").await;
    let orders: [&[(&str, &str)]; 5] = [
        &[("10", "c"), ("9", "b"), ("1", "a"), ("100", "d")],
        &[("0000000010000000", "b"), ("0000000000000000", "a"), ("0000000100000000", "c")],
        &[("00002", "b"), ("00001", "a"), ("00010", "c")],
        &[("5", "a"), ("0010", "b"), ("11", "c"), ("000000100", "d")],
        &[("000000000000000-000000005242879", "a"), ("000000005242880-000000010485759", "b")],
    ];
    for (number, chunks) in orders.into_iter().enumerate() {
        let id = format!("rclone-chunked-upload-{number}");
        send(&server, &id, chunks).await;
        finish(&server, &id, "/f").send().await;
        let expected: String = ["a", "b", "c", "d"][..chunks.len()].concat();
        assert_eq!(server.get("anna", "/f").await, expected, "{chunks:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn no_chunk_one_chunk_and_empty_chunks() {
    let server = TestServer::with_user("anna").await;
    send(&server, "none", &[]).await;
    finish(&server, "none", "/none").header("oc-total-length", "0").expect(201).await;
    assert_eq!(server.get("anna", "/none").await, "");
    send(&server, "one", &[("1", "whole")]).await;
    finish(&server, "one", "/one").expect(201).await;
    assert_eq!(server.get("anna", "/one").await, "whole");
    // ownCloud's phone client adds one (`protocol/clients.md` 2).
    send(&server, "last", &[("1", "whole"), ("2", "")]).await;
    finish(&server, "last", "/one").expect(204).await;
    assert_eq!(server.get("anna", "/one").await, "whole");
    server.stop().await;
}

#[tokio::test]
async fn very_many_chunks_make_one_file() {
    let server = TestServer::with_user("anna").await;
    session(&server, "MKCOL", "many").expect(201).await;
    let mut expected = String::new();
    for number in 0..300 {
        session(&server, "PUT", &format!("many/{number}")).body(format!("{number},")).expect(201).await;
        expected.extend([number.to_string(), ",".to_owned()]);
    }
    assert_eq!(listed(&server, "many").await.len(), 301);
    finish(&server, "many", "/many").header("oc-checksum", &format!("SHA1:{}", sha1(&expected))).expect(201).await;
    assert_eq!(server.get("anna", "/many").await, expected);
    server.stop().await;
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let server = TestServer::with_user("anna").await;
    session(&server, "MKCOL", "77").header("oc-total-length", "9").expect(201).await;
    session(&server, "PUT", "77/0000000000000000").body("abc").expect(201).await;
    session(&server, "PUT", "77/0000000000000003").body("XX").expect(201).await;
    // Sent again, in another size.
    session(&server, "PUT", "77/0000000000000003").body("def").expect(204).await;
    let server = server.restart().await;
    let expected = [(".file".to_owned(), 6), ("0000000000000000".to_owned(), 3), ("0000000000000003".to_owned(), 3)];
    assert_eq!(listed(&server, "77").await, expected);
    session(&server, "PUT", "77/0000000000000006").body("ghi").expect(201).await;
    finish(&server, "77", "/big").expect(201).await;
    assert_eq!(server.get("anna", "/big").await, "abcdefghi");
    let server = server.restart().await;
    session(&server, "PROPFIND", "77").expect(404).await;
    assert_eq!(server.get("anna", "/big").await, "abcdefghi");
    server.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_ended_and_named_once() {
    let server = TestServer::with_user("anna").await;
    send(&server, "a", &[("1", "x"), ("2", "yy")]).await;
    session(&server, "MKCOL", "a").expect(405).await;
    for method in ["GET", "HEAD", "POST", "PROPPATCH", "LOCK", "COPY"] {
        let answer = session(&server, method, "a/1").header("destination", "/remote.php/webdav/x").send().await;
        assert_eq!(answer.status, 405, "{method}");
    }
    session(&server, "OPTIONS", "a").expect(200).await;
    session(&server, "MOVE", "a/1").header("destination", "/remote.php/webdav/x").expect(405).await;
    let all = session(&server, "PROPFIND", "").header("depth", "1").expect(207).await.text();
    assert!(all.contains("/remote.php/dav/uploads/anna/a/"), "{all}");
    let one = session(&server, "PROPFIND", "a/2").header("depth", "0").expect(207).await.text();
    assert!(one.contains("<d:getcontentlength>2<"), "{one}");
    session(&server, "DELETE", "a/2").expect(204).await;
    session(&server, "DELETE", "a/2").expect(404).await;
    assert_eq!(listed(&server, "a").await, [(".file".to_owned(), 1), ("1".to_owned(), 1)]);
    session(&server, "DELETE", "a").expect(204).await;
    session(&server, "DELETE", "a").expect(404).await;
    // Its name is free again.
    send(&server, "a", &[("1", "z")]).await;
    server
        .ask("MOVE", "/dav/uploads/anna/a/.file")
        .basic("anna", &password("anna"))
        .header("destination", &format!("http://{}/webdav/via%20alias", server.host()))
        .expect(201)
        .await;
    assert_eq!(server.get("anna", "/via%20alias").await, "z");
    server.stop().await;
}

#[tokio::test]
async fn conditions_and_locks_of_the_destination_are_judged() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/f", "old").await;
    let etag = server.ask_as("anna", "HEAD", "/f").expect(200).await.header("etag").unwrap().to_owned();
    send(&server, "s", &[("1", "new")]).await;
    finish(&server, "s", "/f").header("if-match", "\"stale\"").expect(412).await;
    finish(&server, "s", "/f").header("if-none-match", "*").expect(412).await;
    finish(&server, "s", "/f").header("overwrite", "F").expect(412).await;
    finish(&server, "s", "/f").header("if", "</remote.php/dav/files/anna/f> ([\"stale\"])").expect(412).await;
    finish(&server, "s", "/missing/f").expect(409).await;
    finish(&server, "s", "/f").header("oc-checksum", "SHA1:0000000000000000000000000000000000000000").expect(400).await;
    let gap = finish(&server, "s", "/f").header("oc-total-length", "5").expect(400).await.text();
    assert!(gap.contains("Chunks on server do not sum up to 5 but to 3"), "{gap}");
    let lock = r#"<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>"#;
    let locked = server.ask_as("anna", "LOCK", "/f").header("content-type", "application/xml").body(lock).expect(200).await;
    let token = locked.header("lock-token").unwrap().to_owned();
    finish(&server, "s", "/f").expect(423).await;
    assert_eq!(server.get("anna", "/f").await, "old");
    assert_eq!(listed(&server, "s").await, [(".file".to_owned(), 3), ("1".to_owned(), 3)]);
    let list = format!("</remote.php/dav/files/anna/f> ({token} [{etag}])");
    insists(&finish(&server, "s", "/f").header("if", &list).expect(204).await);
    assert_eq!(server.get("anna", "/f").await, "new");
    server.stop().await;
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_swept() {
    let clock = Clock::fixed(1_790_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    send(&server, "old", &[("1", "x")]).await;
    clock.advance(40 * 3600);
    send(&server, "young", &[("1", "y")]).await;
    server.running().services.uploads().sweep().await;
    assert_eq!(listed(&server, "old").await.len(), 2);
    clock.advance(10 * 3600);
    server.running().services.uploads().sweep().await;
    session(&server, "PROPFIND", "old").expect(404).await;
    assert_eq!(listed(&server, "young").await.len(), 2);
    server.stop().await;
}

/// One chunk of the first kind.
fn numbered(server: &TestServer, path: &str, content: &str) -> Ask {
    server.ask_as("anna", "PUT", path).header("oc-chunked", "1").body(content)
}

#[tokio::test]
async fn numbered_chunks_make_a_file_in_any_order() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/d").await;
    for (path, content) in
        [("/d/a.bin-chunking-4711-3-2", "cc"), ("/d/a.bin-chunking-4711-3-0", "aa"), ("/d/a.bin-chunking-4711-3-0", "aa")]
    {
        let answer = numbered(&server, path, content).header("oc-total-length", "6").expect(201).await;
        assert!(answer.header("oc-fileid").is_none());
    }
    server.ask_as("anna", "GET", "/d/a.bin").expect(404).await;
    let server = server.restart().await;
    let last = numbered(&server, "/d/a.bin-chunking-4711-3-1", "bb")
        .header("oc-total-length", "6")
        .header("oc-checksum", &format!("SHA1:{}", sha1("aabbcc")))
        .header("x-oc-mtime", "1700000000")
        .expect(201)
        .await;
    insists(&last);
    assert_eq!(last.header("x-oc-mtime"), Some("accepted"));
    assert_eq!(server.get("anna", "/d/a.bin").await, "aabbcc");
    let names = crate::support::federation::names(&server, "anna", "/d").await;
    assert_eq!(names, ["a.bin"], "no chunk is left as a file");
    // The same transfer again: If-Match is judged, and the new content takes the old one's place.
    let etag = last.header("etag").unwrap();
    for base in ["/remote.php/webdav", "/remote.php/dav/files/anna"] {
        let put = |index: u32, etag: &str| {
            let path = format!("{base}/d/a.bin-chunking-4712-2-{index}");
            let put = server.ask("PUT", &path).basic("anna", &password("anna")).header("oc-chunked", "1");
            put.header("if-match", etag).body("x")
        };
        put(0, "\"stale\"").expect(412).await;
        put(0, etag).send().await;
    }
    let put = numbered(&server, "/d/a.bin-chunking-4712-2-1", "y").header("if-match", etag).expect(204).await;
    insists(&put);
    assert_eq!(server.get("anna", "/d/a.bin").await, "xy");
    server.stop().await;
}

#[tokio::test]
async fn numbered_chunks_that_do_not_fit_together_are_refused() {
    let server = TestServer::with_user("anna").await;
    for bad in ["/a-chunking-1-3-3", "/a-chunking-1-0-0", "/a-chunking-1-99999999-0", "/a-chunking-1-3", "/a", "/-chunking-1-2-0"] {
        numbered(&server, bad, "x").expect(400).await;
    }
    numbered(&server, "/a-chunking-1-2-0", "x").header("oc-total-length", "2").expect(201).await;
    numbered(&server, "/a-chunking-1-3-1", "x").header("oc-total-length", "2").expect(400).await;
    numbered(&server, "/a-chunking-1-2-1", "x").header("oc-total-length", "3").expect(400).await;
    numbered(&server, "/a-chunking-1-2-1", "xy").header("oc-total-length", "2").expect(400).await;
    server.ask_as("anna", "GET", "/a").expect(404).await;
    numbered(&server, "/a-chunking-1-2-1", "x").header("oc-total-length", "2").expect(201).await;
    assert_eq!(server.get("anna", "/a").await, "xx");
    // Without the header it is a name like any other.
    server.put("anna", "/b-chunking-1-2-0", "plain").await;
    assert_eq!(server.get("anna", "/b-chunking-1-2-0").await, "plain");
    server.stop().await;
}

#[tokio::test]
async fn a_plain_upload_bears_the_headers_of_chunks() {
    let server = TestServer::with_user("anna").await;
    let put = server.ask_as("anna", "PUT", "/f").header("oc-total-length", "5").header("oc-chunk-size", "10000000");
    insists(&put.header("oc-checksum", &format!("SHA1:{}", sha1("12345"))).body("12345").expect(201).await);
    assert_eq!(server.get("anna", "/f").await, "12345");
    server.stop().await;
}

const BOUNDARY: &str = "boundary_.oOo._TFRc0b1";

fn part(lines: &str, content: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n{lines}\r\n{content}\r\n", content.len())
}

fn bulk(server: &TestServer, body: &str) -> Ask {
    let ask = server.ask("POST", "/remote.php/dav/bulk").basic("anna", &password("anna"));
    ask.header("content-type", &format!("multipart/related; boundary=\"{BOUNDARY}\"")).body(body)
}

#[tokio::test]
async fn many_files_come_in_one_request() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/sync1").await;
    server.put("anna", "/sync1/old.txt", "old").await;
    server.put("anna", "/sync1/seen.txt", "seen").await;
    let seen = server.ask_as("anna", "HEAD", "/sync1/seen.txt").expect(200).await.header("etag").unwrap().to_owned();
    let big = "b".repeat(700_000);
    let body = [
        part("X-File-MD5: 7533422ecb038c6cc777d324d5b669b6\r\nX-File-Mtime: 1700000000\r\nX-File-Path: /sync1/t1.txt\r\n", "t1\n"),
        part("X-File-MD5: 00000000000000000000000000000000\r\nX-File-Path: /sync1/old.txt\r\n", "wrong"),
        part("X-File-Path: /missing/x\r\n", "no parent"),
        part("X-File-Path: /sync1/old.txt\r\nIf-Match: \"stale\"\r\n", "blind"),
        part("X-File-Path: /sync1/gone.txt\r\nIf-Match: \"stale\"\r\n", "outlives"),
        part(&format!("X-File-Path: /sync1/seen.txt\r\nIf-Match: {seen}\r\n"), "edited"),
        part("X-File-Path: /sync1/../../up\r\n", "outside"),
        part(&format!("OC-Checksum: SHA1:{}\r\nX-File-Path: /sync1/größe & co.txt\r\n", sha1("")), ""),
        part("X-File-Path: /sync1/big\r\n", &big),
        format!("--{BOUNDARY}--\r\n"),
    ]
    .concat();
    let answer = bulk(&server, &body).expect(200).await;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let fine = |path: &str| {
        let told = &told[path];
        assert_eq!(told["error"], false, "{path}: {told}");
        assert_eq!(told["permissions"], "RGDNVW");
        assert!(told["fileid"].as_str().unwrap().contains("oc"));
        told["etag"].as_str().unwrap().to_owned()
    };
    let etag = fine("/sync1/t1.txt");
    fine("/sync1/größe & co.txt");
    fine("/sync1/big");
    fine("/sync1/seen.txt");
    fine("/sync1/gone.txt");
    assert_eq!(server.get("anna", "/sync1/seen.txt").await, "edited");
    assert_eq!(told["/sync1/t1.txt"]["X-OC-MTime"], "accepted");
    assert_eq!(told["/sync1/t1.txt"]["OC-FileID"], told["/sync1/t1.txt"]["fileid"]);
    for path in ["/sync1/old.txt", "/missing/x", "/sync1/../../up"] {
        assert_eq!(told[path]["error"], true, "{told}");
        assert!(!told[path]["message"].as_str().unwrap().is_empty());
    }
    let got = server.ask_as("anna", "GET", "/sync1/t1.txt").expect(200).await;
    assert_eq!((got.text().as_str(), got.header("etag")), ("t1\n", Some(format!("\"{etag}\"").as_str())));
    assert_eq!(got.header("last-modified"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_eq!(server.get("anna", "/sync1/old.txt").await, "old");
    assert_eq!(server.get("anna", "/sync1/big").await, big);
    server.stop().await;
}

#[tokio::test]
async fn a_bulk_upload_that_breaks_tells_what_was_written() {
    let server = TestServer::with_user("anna").await;
    let cut = [part("X-File-Path: /a\r\n", "whole"), format!("--{BOUNDARY}\r\nContent-Length: 10\r\nX-File-Path: /b\r\n\r\nhalf")].concat();
    let told = bulk(&server, &cut).expect(400).await.text();
    assert!(told.contains("\"/a\"") && told.contains("\"error\":false"), "{told}");
    assert_eq!(server.get("anna", "/a").await, "whole");
    server.ask_as("anna", "GET", "/b").expect(404).await;
    bulk(&server, "nothing").expect(400).await;
    server.ask("POST", "/dav/bulk").basic("anna", &password("anna")).body("x").expect(415).await;
    server.ask("GET", "/dav/bulk").basic("anna", &password("anna")).expect(405).await;
    server.ask("POST", "/dav/bulk").body("x").expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn an_account_made_again_finds_no_old_upload() {
    let server = TestServer::with_user("anna").await;
    send(&server, "s", &[("1", "x")]).await;
    server.execute(Command::UserRemove { name: "anna".to_owned(), purge: true }).await;
    let password = Secret::new(password("anna"));
    server.execute(Command::UserAdd { name: "anna".to_owned(), admin: false, display_name: None, quota: None, password }).await;
    session(&server, "PROPFIND", "s").expect(404).await;
    send(&server, "s", &[("1", "y")]).await;
    finish(&server, "s", "/f").expect(201).await;
    assert_eq!(server.get("anna", "/f").await, "y");
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_in_bulk_makes_its_client_look_again() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/d").await;
    server.put("anna", "/d/f", "by another").await;
    let etag = async || server.ask_as("anna", "HEAD", "/d/").expect(200).await.header("etag").unwrap().to_owned();
    let before = etag().await;
    let body = [part("X-File-Path: /d/f\r\nIf-Match: \"stale\"\r\n", "blind"), format!("--{BOUNDARY}--\r\n")].concat();
    let told: serde_json::Value = serde_json::from_slice(&bulk(&server, &body).expect(200).await.body).unwrap();
    assert_eq!(told["/d/f"]["error"], true, "{told}");
    assert_eq!(server.get("anna", "/d/f").await, "by another");
    assert_ne!(etag().await, before);
}
