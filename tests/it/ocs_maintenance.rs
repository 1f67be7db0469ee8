//! Maintenance: every protocol answers 503 in its own words, and nothing looks gone.

use causeway::service::admin::{Command, Outcome};

use crate::ocs::json;
use crate::support::server::{Pair, TestServer, password};

async fn switch(server: &TestServer, on: Option<bool>) -> bool {
    let outcome = server.execute(Command::Maintenance { on }).await;
    let Outcome::Maintenance(on) = outcome else { panic!("{outcome:?}") };
    on
}

#[tokio::test]
async fn in_maintenance_every_protocol_says_503_and_status_says_why() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/a.txt", "content").await;
    let link = server.link("anna", "/a.txt", "read").await;
    let token = link.url.rsplit('/').next().unwrap().to_owned();
    assert!(!switch(&server, None).await);
    assert!(switch(&server, Some(true)).await);
    let server = server.restart().await;
    assert!(switch(&server, None).await, "it survives a restart");
    assert_eq!(json(&server.ask("GET", "/status.php").expect(200).await)["maintenance"], true);
    server.ask("GET", "/healthz").expect(200).await;
    for (method, path) in [
        ("PROPFIND", "/remote.php/webdav/".to_owned()),
        ("GET", "/remote.php/webdav/a.txt".to_owned()),
        ("PUT", "/remote.php/dav/files/anna/b.txt".to_owned()),
        ("DELETE", "/webdav/a.txt".to_owned()),
        ("PROPFIND", "/public.php/webdav/".to_owned()),
        ("GET", format!("/public.php/dav/files/{token}")),
        ("MKCOL", "/remote.php/dav/uploads/anna/1".to_owned()),
        ("PROPFIND", "/remote.php/dav/calendars/anna/".to_owned()),
    ] {
        let closed = server.ask(method, &path).basic("anna", &password("anna")).expect(503).await;
        assert!(closed.text().contains(">Sabre\\DAV\\Exception\\ServiceUnavailable<"), "{method} {path}: {}", closed.text());
        assert!(closed.header("retry-after").is_some(), "{method} {path}");
    }
    for path in [format!("/s/{token}"), "/login/v2/flow/abc".to_owned()] {
        let page = server.ask("GET", &path).expect(503).await;
        assert!(page.text().contains("<html") && page.header("retry-after").is_some(), "{path}: {}", page.text());
    }
    server.ask("POST", "/index.php/login/v2").expect(503).await;
    server.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={token}")).body("password=").expect(503).await;
    server.ask("POST", "/index.php/apps/files_sharing/shareinfo?t=nothing").body("password=").expect(503).await;
    let ocs = server.ask("GET", "/ocs/v1.php/cloud/capabilities?format=json").expect(503).await;
    assert_eq!(json(&ocs)["ocs"]["meta"]["statuscode"], 503);
    // Commands go on: that is what it is for.
    server.add_user("bob").await;
    assert!(!switch(&server, Some(false)).await);
    assert_eq!(server.get("anna", "/a.txt").await, "content");
    server.ask("GET", &format!("/s/{token}")).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_of_a_server_in_maintenance_stays_and_comes_back() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "content").await;
    pair.anna.put("anna", "/Photos/b.txt", "never read before").await;
    let link = pair.anna.link("anna", "/Photos", "read").await;
    pair.bob.mount("bob", &link.url).await;
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "content");
    switch(&pair.anna, Some(true)).await;
    pair.bob.ask_as("bob", "GET", "/Photos/b.txt").expect(503).await;
    let listed = pair.bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await;
    assert!(listed.text().contains("/Photos/"), "{}", listed.text());
    switch(&pair.anna, Some(false)).await;
    let outcome = pair.bob.execute(Command::MountRetry { id: "bob:/Photos".to_owned() }).await;
    let Outcome::Mount(mount) = outcome else { panic!("{outcome:?}") };
    assert_eq!(mount.state, "online", "{}", mount.hint);
    assert_eq!(pair.bob.get("bob", "/Photos/b.txt").await, "never read before");
    pair.stop().await;
}
