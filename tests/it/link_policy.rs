//! What the administrator allows: links, their passwords and ends, and the two switches of sharing between servers.

use causeway::domain::Clock;
use causeway::service::Reason;
use causeway::service::admin::{Command, GroupCommand, LinkTerms};

use crate::support::federation::{PATIENCE, etag, mounts, names, until};
use crate::support::server::{Pair, TestServer, password};
use crate::support::sharing::group;

const DAY: i64 = 24 * 3600;

async fn rule(server: &TestServer, key: &str, value: &str) {
    server.execute(Command::Sharing { set: Some((key.to_owned(), value.to_owned())) }).await;
}

fn create(path: &str, terms: LinkTerms) -> Command {
    Command::LinkCreate { user: "anna".to_owned(), path: path.to_owned(), terms }
}

fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

async fn ocs(server: &TestServer, method: &str, path: &str, form: &str) -> (u16, String) {
    let path = format!("/ocs/v2.php/{path}{}format=json", if path.contains('?') { '&' } else { '?' });
    let asked = server.ask(method, &path).basic("anna", &password("anna")).header("ocs-apirequest", "true");
    let answer = asked.header("content-type", "application/x-www-form-urlencoded").body(form).send().await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn links_keep_to_the_rules_whoever_makes_them() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    rule(&server, "link_passwords", "edit,drop").await;
    server.refuse(create("/Photos", LinkTerms { permissions: Some("edit".to_owned()), ..LinkTerms::default() }), Reason::Refused).await;
    let shares = "apps/files_sharing/api/v1/shares";
    let (status, text) = ocs(&server, "POST", shares, "path=/Photos&shareType=3&permissions=15").await;
    assert!(status == 403 && text.contains("passwords are enforced"), "{status} {text}");
    let (status, text) = ocs(&server, "POST", shares, "path=/Photos&shareType=3&permissions=15&password=open+sesame").await;
    assert_eq!(status, 200, "{text}");
    let id = serde_json::from_str::<serde_json::Value>(&text).unwrap()["ocs"]["data"]["id"].to_string();
    let (status, text) = ocs(&server, "PUT", &format!("{shares}/{}", id.trim_matches('"')), "password=").await;
    assert!(status == 403, "a password that is demanded is not taken off: {text}");
    let (_, told) = ocs(&server, "GET", "cloud/capabilities", "").await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let password = &told["ocs"]["data"]["capabilities"]["files_sharing"]["public"]["password"];
    assert_eq!((&password["enforced"], &password["enforced_for"]["read_only"]), (&true.into(), &false.into()), "{password}");
    rule(&server, "links", "off").await;
    server.refuse(create("/Photos", LinkTerms::default()), Reason::Refused).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_forbidden_later_closes_and_comes_back() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    let edit = server.link("anna", "/Photos", "edit").await;
    let drop = server.link("anna", "/Photos", "drop").await;
    let files = |url: &str, name: &str| format!("/public.php/dav/files/{}/{name}", token(url));
    rule(&server, "public_upload", "off").await;
    server.ask("PUT", &files(&edit.url, "b.txt")).body("x").expect(403).await;
    server.ask("GET", &files(&edit.url, "a.txt")).expect(200).await;
    server.ask("PUT", &files(&drop.url, "c.txt")).body("x").expect(503).await;
    rule(&server, "links", "off").await;
    server.ask("GET", &files(&edit.url, "a.txt")).expect(503).await;
    let server = server.restart().await;
    server.ask("GET", &files(&edit.url, "a.txt")).expect(503).await;
    rule(&server, "links", "on").await;
    rule(&server, "public_upload", "on").await;
    server.ask("PUT", &files(&edit.url, "b.txt")).body("x").expect(201).await;
    server.ask("PUT", &files(&drop.url, "c.txt")).body("x").expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn links_end_when_the_rules_say() {
    let clock = Clock::fixed(1_795_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    rule(&server, "link_expiry_max", "7").await;
    let link = server.link("anna", "/Photos", "read").await;
    assert_eq!(link.expires.as_deref(), Some("2026-11-25"));
    let late = LinkTerms { expires: Some("2026-12-24".to_owned()), ..LinkTerms::default() };
    server.refuse(create("/Photos", late), Reason::Refused).await;
    let update = |expires: &str| Command::LinkUpdate {
        id: link.id.to_string(),
        terms: LinkTerms { expires: Some(expires.to_owned()), ..LinkTerms::default() },
    };
    server.refuse(update(""), Reason::Refused).await;
    server.execute(update("2026-11-20")).await;
    // Another server that has it mounted is told that it is gone, once it is.
    let asked = || server.ask("PROPFIND", "/public.php/webdav/").basic(token(&link.url), "");
    asked().expect(207).await;
    clock.advance(4 * DAY);
    asked().expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn links_that_others_may_not_mount_stay_open_to_people_and_are_never_gone() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "content").await;
    let link = anna.link("anna", "/Photos", "read").await;
    bob.mount("bob", &link.url).await;
    rule(&anna, "outgoing", "off").await;
    let login = |method: &str, path: &str| anna.ask(method, path).basic(token(&link.url), "");
    assert!(login("PROPFIND", "/public.php/webdav/").expect(503).await.header("retry-after").is_some());
    let info = format!("/index.php/apps/files_sharing/shareinfo?t={}", token(&link.url));
    anna.ask("POST", &info).expect(503).await;
    anna.ask("GET", &format!("/public.php/dav/files/{}/a.txt", token(&link.url))).expect(200).await;
    anna.ask("GET", &format!("/s/{}", token(&link.url))).expect(200).await;
    // A token that never was is as unknown as before.
    anna.ask("PROPFIND", "/public.php/webdav/").basic("nothing", "").expect(401).await;
    // Nor do servers mount it by the roots of people: another Causeway says that it is one.
    let add = Command::MountAdd { user: "bob".to_owned(), url: link.url.clone(), name: Some("Again".to_owned()), password: None };
    let refused = bob.running().services.execute(add).await.unwrap_err();
    assert_eq!(mounts(&bob, "bob").await.len(), 1, "{}", refused.text);
    // For members of one group it is the other way round.
    group(&anna, GroupCommand::Add { name: "staff".to_owned(), display_name: None }).await;
    group(&anna, GroupCommand::AddMember { name: "staff".to_owned(), user: "anna".to_owned() }).await;
    rule(&anna, "outgoing_except", "staff").await;
    login("PROPFIND", "/public.php/webdav/").expect(207).await;
    let id = mounts(&bob, "bob").await[0].id;
    bob.execute(Command::MountRetry { id: id.to_string() }).await;
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "content");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn mounts_that_are_forbidden_stay_and_come_back() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "content").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    rule(&bob, "incoming", "off").await;
    let add = Command::MountAdd { user: "bob".to_owned(), url: link.url.clone(), name: None, password: None };
    let refusal = bob.refuse(add, Reason::Refused).await;
    assert!(refusal.to_string().contains("administrator"), "{refusal}");
    assert_eq!(names(&bob, "bob", "/").await, ["Photos"]);
    for method in ["GET", "PUT", "PROPFIND", "DELETE"] {
        bob.ask_as("bob", method, "/Photos/a.txt").expect(503).await;
    }
    bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
    // A client that was refused takes the folder above for seen: it is told to look again.
    let before = etag(&bob, "bob", "/").await;
    rule(&bob, "incoming", "on").await;
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "content");
    until("another etag", PATIENCE, async || etag(&bob, "bob", "/").await != before).await;
    rule(&bob, "incoming", "off").await;
    // Who no longer wants it takes it out all the same; the other server keeps everything.
    bob.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "content");
    Pair { anna, bob }.stop().await;
}
