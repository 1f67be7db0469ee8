//! Old versions as ownCloud's and Nextcloud's clients see them.

use causeway::domain::Clock;

use crate::support::server::{Ask, TestServer, password};

impl TestServer {
    fn by(&self, user: &str, method: &str, path: &str) -> Ask {
        self.ask(method, path).basic(user, &password(user))
    }

    /// The hrefs of the versions in a collection of them, the newest first.
    async fn version_hrefs(&self, user: &str, path: &str) -> Vec<String> {
        let text = self.by(user, "PROPFIND", path).header("depth", "1").expect(207).await.text();
        text.split("<d:href>").skip(2).map(|rest| rest.split("</d:href>").next().unwrap().to_owned()).collect()
    }

    /// Writes a file with a modification time; returns its number.
    async fn write(&self, user: &str, path: &str, body: &str, modified: &str) -> String {
        let answer = self.ask_as(user, "PUT", path).header("x-oc-mtime", modified).body(body).send().await;
        assert!(matches!(answer.status, 201 | 204), "{}", answer.status);
        answer.header("oc-fileid").unwrap().to_owned()
    }
}

async fn with_versions() -> (TestServer, String) {
    let server = TestServer::start_with(Clock::fixed(1_700_000_000), |_config| {}).await;
    server.add_user("anna").await;
    let id = server.write("anna", "/a.txt", "one", "1600000001").await;
    server.write("anna", "/a.txt", "two!", "1600000002").await;
    server.write("anna", "/a.txt", "three", "1600000003").await;
    let number = id.trim_start_matches('0').split("oc").next().unwrap().to_owned();
    (server, number)
}

#[tokio::test]
async fn owncloud_lists_reads_and_restores_by_copy() {
    let (server, id) = with_versions().await;
    let meta = format!("/remote.php/dav/meta/{id}");
    let hrefs = server.version_hrefs("anna", &format!("{meta}/v")).await;
    assert_eq!(hrefs, [format!("{meta}/v/1600000002"), format!("{meta}/v/1600000001")]);
    let text = server.by("anna", "PROPFIND", &hrefs[0]).header("depth", "0").expect(207).await.text();
    assert!(text.contains("<d:getcontentlength>4<") && text.contains("text/plain") && text.contains("12:26:42 GMT<"), "{text}");
    let read = server.by("anna", "GET", &hrefs[1]).expect(200).await;
    assert_eq!(read.text(), "one");
    assert!(read.header("content-disposition").unwrap().contains("filename=\"a.txt\"") && read.header("oc-checksum").is_some());
    let found = server
        .by("anna", "PROPFIND", &meta)
        .header("depth", "0")
        .body(r#"<d:propfind xmlns:d="DAV:"><d:prop><meta-path-for-user xmlns="http://owncloud.org/ns"/></d:prop></d:propfind>"#);
    assert!(found.expect(207).await.text().contains(">/a.txt</meta-path-for-user>"));
    // Only onto its own file, which the header names.
    let copy = |to: &str| server.by("anna", "COPY", &hrefs[1]).header("destination", to);
    server.put("anna", "/b.txt", "other").await;
    copy("/remote.php/dav/files/anna/b.txt").expect(403).await;
    copy("/remote.php/dav/files/anna/none.txt").expect(403).await;
    copy("/remote.php/dav/files/bob/a.txt").expect(502).await;
    let before = server.ask_as("anna", "HEAD", "/a.txt").expect(200).await.header("etag").unwrap().to_owned();
    let restored = copy("/remote.php/dav/files/anna/a.txt").header("overwrite", "F").expect(204).await;
    assert_ne!(restored.header("etag"), Some(before.as_str()));
    let now = server.ask_as("anna", "GET", "/a.txt").expect(200).await;
    assert_eq!((now.text().as_str(), now.header("etag")), ("one", restored.header("etag")));
    assert_eq!(now.header("last-modified"), Some("Sun, 13 Sep 2020 12:26:41 GMT"));
    let hrefs = server.version_hrefs("anna", &format!("{meta}/v")).await;
    assert_eq!(hrefs.len(), 3);
    assert_eq!(server.by("anna", "GET", &hrefs[0]).expect(200).await.text(), "three");
    server.stop().await;
}

#[tokio::test]
async fn nextcloud_lists_and_restores_by_move() {
    let (server, id) = with_versions().await;
    let versions = format!("/remote.php/dav/versions/anna/versions/{id}");
    let hrefs = server.version_hrefs("anna", &format!("{versions}/")).await;
    assert_eq!(hrefs, [format!("{versions}/1600000002"), format!("{versions}/1600000001")]);
    let to = "/remote.php/dav/versions/anna/restore/target";
    server.by("anna", "MOVE", &hrefs[0]).header("destination", to).expect(204).await;
    assert_eq!(server.get("anna", "/a.txt").await, "two!");
    server.by("anna", "COPY", &hrefs[1]).header("destination", to).expect(204).await;
    assert_eq!(server.get("anna", "/a.txt").await, "one");
    let before = server.version_hrefs("anna", &versions).await;
    server.by("anna", "DELETE", &before[0]).expect(204).await;
    server.by("anna", "GET", &before[0]).expect(404).await;
    assert_eq!(server.version_hrefs("anna", &versions).await, before[1..]);
    for method in ["PUT", "MKCOL", "PROPPATCH", "LOCK"] {
        server.by("anna", method, &before[1]).expect(405).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_lock_and_a_condition_keep_the_content() {
    let (server, id) = with_versions().await;
    let version = format!("/remote.php/dav/meta/{id}/v/1600000001");
    let restore = || server.by("anna", "COPY", &version).header("destination", "/remote.php/dav/files/anna/a.txt");
    let lock = r#"<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>"#;
    let locked = server.ask_as("anna", "LOCK", "/a.txt").body(lock).expect(200).await;
    let token = locked.header("lock-token").unwrap().to_owned();
    restore().expect(423).await;
    assert_eq!(server.get("anna", "/a.txt").await, "three");
    restore().header("if", &format!("({token})")).expect(204).await;
    server.ask_as("anna", "UNLOCK", "/a.txt").header("lock-token", &token).expect(204).await;
    restore().header("if-match", "\"stale\"").expect(412).await;
    server.stop().await;
}

#[tokio::test]
async fn d11_versions_are_their_users_alone() {
    let (server, id) = with_versions().await;
    server.add_user("bob").await;
    server.put("bob", "/a.txt", "bob's").await;
    let link = server.link("anna", "/a.txt", "read").await;
    let token = link.url.rsplit('/').next().unwrap().to_owned();
    let paths = [
        format!("/remote.php/dav/meta/{id}"),
        format!("/remote.php/dav/meta/{id}/v"),
        format!("/remote.php/dav/meta/{id}/v/1600000001"),
        format!("/remote.php/dav/versions/bob/versions/{id}"),
        format!("/remote.php/dav/versions/bob/versions/{id}/1600000001"),
        format!("/remote.php/dav/versions/anna/versions/{id}/1600000001"),
    ];
    for path in &paths {
        server.by("bob", "PROPFIND", path).header("depth", "1").expect(404).await;
        // Somebody with a link that may only be read gets nowhere near (CVE-2016-9462).
        server.ask("COPY", path).basic(&token, "").header("destination", "/remote.php/dav/files/anna/a.txt").expect(401).await;
    }
    for path in [&paths[2], &paths[4], &paths[5]] {
        for (method, to) in
            [("GET", "/"), ("COPY", "/remote.php/dav/files/bob/a.txt"), ("MOVE", "/remote.php/dav/versions/bob/restore/x"), ("DELETE", "/")]
        {
            server.by("bob", method, path).header("destination", to).expect(404).await;
        }
    }
    // Numbers that are no files: folders, the hidden roots, nothing, and nonsense.
    server.mkcol("anna", "/d").await;
    for number in ["0", "1", "2", "3", "99999999", "18446744073709551616", "-1", "x", "%2e%2e"] {
        let status = server.by("anna", "PROPFIND", &format!("/remote.php/dav/meta/{number}/v")).send().await.status;
        assert!(matches!(status, 404 | 400), "{number}: {status}");
    }
    assert_eq!(server.get("anna", "/a.txt").await, "three");
    assert_eq!(server.get("bob", "/a.txt").await, "bob's");
    server.stop().await;
}

#[tokio::test]
async fn writes_through_a_link_keep_versions_with_the_owner() {
    let (server, id) = with_versions().await;
    let link = server.link("anna", "/", "edit").await;
    let root = format!("/public.php/dav/files/{}", link.url.rsplit('/').next().unwrap());
    server.ask("PUT", &format!("{root}/a.txt")).body("by a guest").expect(204).await;
    let meta = format!("/remote.php/dav/meta/{id}/v");
    assert_eq!(server.version_hrefs("anna", &meta).await.len(), 3);
    server.ask("PUT", &format!("{root}/tmp")).body("moved over it").expect(201).await;
    let moved = server.ask("MOVE", &format!("{root}/tmp")).header("destination", &format!("{root}/a.txt")).expect(204).await;
    let id = moved.header("oc-fileid").unwrap().to_owned();
    let hrefs = server.version_hrefs("anna", &format!("/remote.php/dav/meta/{id}/v")).await;
    assert_eq!(hrefs.len(), 4, "the versions stay with the name");
    assert_eq!(server.by("anna", "GET", &hrefs[0]).expect(200).await.text(), "by a guest");
    let server = server.restart().await;
    assert_eq!(server.version_hrefs("anna", &format!("/remote.php/dav/meta/{id}/v")).await, hrefs);
    server.stop().await;
}
