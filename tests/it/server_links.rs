//! Public links: what they open, for whom, and when they end.

use causeway::domain::{Clock, Secret};
use causeway::service::Reason;
use causeway::service::admin::{Command, LinkRow, LinkTerms, Outcome};

use crate::support::server::TestServer;

const DAY: i64 = 24 * 3600;

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

async fn with_photos() -> TestServer {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    server
}

#[tokio::test]
async fn a_link_opens_at_every_root() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "read").await;
    let token = token(&link);
    assert_eq!(token.len(), 22);
    for root in
        [format!("/public.php/dav/files/{token}"), format!("/remote.php/dav/public-files/{token}"), format!("/dav/public-files/{token}")]
    {
        server.ask("GET", &format!("{root}/a.txt")).expect(200).await;
        server.ask("PROPFIND", &format!("{root}/")).header("depth", "1").expect(207).await;
    }
    let file = server.ask("GET", "/public.php/webdav/a.txt").basic(token, "").expect(200).await;
    assert_eq!(file.text(), "content");
    let page = server.ask("GET", &format!("/s/{token}")).expect(200).await;
    assert!(page.text().contains("a.txt"), "{}", page.text());
    let zip = server.ask("GET", &format!("/index.php/s/{token}/download")).expect(200).await;
    assert!(zip.body.starts_with(b"PK"));
    server.stop().await;
}

#[tokio::test]
async fn unknown_tokens_are_401_at_the_login_root_and_404_elsewhere() {
    let server = with_photos().await;
    server.ask("PROPFIND", "/public.php/webdav/").basic("nothing", "").expect(401).await;
    server.ask("PROPFIND", "/public.php/webdav/").expect(401).await;
    for path in ["/public.php/dav/files/nothing/", "/remote.php/dav/public-files/nothing/", "/s/nothing", "/s/nothing/download"] {
        server.ask("GET", path).expect(404).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn l1_every_way_in_asks_for_the_password() {
    let server = with_photos().await;
    let terms = LinkTerms { password: Some(Secret::new("open sesame")), ..LinkTerms::default() };
    let link = server.link_with("anna", "/Photos", terms).await;
    let token = token(&link);
    let files = format!("/public.php/dav/files/{token}/a.txt");
    for method in ["GET", "HEAD", "PROPFIND", "OPTIONS"] {
        server.ask(method, &files).expect(401).await;
        server.ask(method, &files).basic("anything", "wrong").expect(401).await;
        server.ask(method, "/public.php/webdav/a.txt").basic(token, "").expect(401).await;
    }
    server.ask("GET", &files).basic("anything", "open sesame").expect(200).await;
    server.ask("GET", "/public.php/webdav/a.txt").basic(token, "open sesame").expect(200).await;
    let page = server.ask("GET", &format!("/s/{token}")).expect(200).await;
    assert!(
        page.text().contains("type=\"password\"") && !page.text().contains("a.txt") && !page.text().contains("Photos"),
        "{}",
        page.text()
    );
    let download = server.ask("GET", &format!("/s/{token}/download")).send().await;
    assert!(!download.body.starts_with(b"PK"));
    let login = |password: &str| {
        server
            .ask("POST", &format!("/s/{token}/authenticate"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("password={password}"))
    };
    assert_eq!(login("wrong").expect(403).await.header("set-cookie"), None);
    let passed = login("open+sesame").expect(303).await;
    assert_eq!(passed.header("location"), Some(format!("/s/{token}").as_str()));
    let cookie = passed.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let visit = |path: String| server.ask("GET", &path).header("cookie", &cookie);
    assert!(visit(format!("/s/{token}")).expect(200).await.text().contains("a.txt"));
    assert!(visit(format!("/s/{token}/download")).expect(200).await.body.starts_with(b"PK"));
    // The pass is for the pages: WebDAV goes by the password alone.
    visit(files.clone()).expect(401).await;
    let terms = LinkTerms { password: Some(Secret::new("another")), ..LinkTerms::default() };
    server.execute(Command::LinkUpdate { id: link.id.to_string(), terms }).await;
    assert!(!visit(format!("/s/{token}")).expect(200).await.text().contains("a.txt"), "a new password ends every pass");
    server.ask("GET", &files).basic("x", "open sesame").expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn rights_hold_at_every_root() {
    let server = with_photos().await;
    let read = server.link("anna", "/Photos", "read").await;
    let edit = server.link("anna", "/Photos", "edit").await;
    let put = |link: &LinkRow, name: &str| server.ask("PUT", &format!("/public.php/dav/files/{}/{name}", token(link))).body("new");
    put(&read, "b.txt").expect(403).await;
    put(&read, "a.txt").expect(403).await;
    put(&edit, "b.txt").expect(201).await;
    server.ask("DELETE", &format!("/public.php/dav/files/{}/a.txt", token(&read))).expect(403).await;
    server.ask("DELETE", &format!("/public.php/dav/files/{}/a.txt", token(&edit))).expect(204).await;
    assert_eq!(server.get("anna", "/Photos/b.txt").await, "new");
    server.stop().await;
}

#[tokio::test]
async fn l1_a_file_drop_shows_no_name() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "drop").await;
    let root = format!("/public.php/dav/files/{}", token(&link));
    server.ask("PUT", &format!("{root}/gift.txt")).body("for you").expect(201).await;
    assert_eq!(server.get("anna", "/Photos/gift.txt").await, "for you");
    for (method, path) in
        [("GET", "/a.txt"), ("GET", "/gift.txt"), ("HEAD", "/a.txt"), ("PROPFIND", "/"), ("PROPFIND", "/a.txt"), ("DELETE", "/a.txt")]
    {
        let answer = server.ask(method, &format!("{root}{path}")).send().await;
        assert!(matches!(answer.status, 403..=405), "{method} {path}: {}", answer.status);
        let text = answer.text();
        assert!(!text.contains("a.txt") && !text.contains("gift"), "{method} {path}: {text}");
    }
    let there = server.ask("GET", &format!("{root}/a.txt")).send().await;
    let missing = server.ask("GET", &format!("{root}/nothing")).send().await;
    assert_eq!((there.status, &there.body), (missing.status, &missing.body), "a drop does not tell what it holds");
    let page = server.ask("GET", &format!("/s/{}", token(&link))).expect(200).await.text();
    assert!(!page.contains("a.txt") && !page.contains("gift.txt"), "{page}");
    let download = server.ask("GET", &format!("/s/{}/download", token(&link))).send().await;
    assert!(download.status == 404 && !download.body.starts_with(b"PK"), "{}", download.status);
    server.stop().await;
}

#[tokio::test]
async fn l3_a_link_follows_its_node_and_dies_with_it() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "read").await;
    let file = format!("/public.php/dav/files/{}/a.txt", token(&link));
    let to = format!("http://{}/remote.php/webdav/Pictures", server.host());
    server.ask_as("anna", "MOVE", "/Photos").header("destination", &to).expect(201).await;
    server.ask("GET", &file).expect(200).await;
    // A new folder of the old name is another node.
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "secret").await;
    assert_eq!(server.ask("GET", &file).expect(200).await.text(), "content");
    server.ask_as("anna", "DELETE", "/Pictures/").expect(204).await;
    server.mkcol("anna", "/Pictures").await;
    server.put("anna", "/Pictures/a.txt", "secret").await;
    server.ask("GET", &file).expect(404).await;
    server.ask("GET", &format!("/s/{}", token(&link))).expect(404).await;
    let listed = server.execute(Command::LinkList { user: "anna".to_owned() }).await;
    let Outcome::Links(rows) = listed else { panic!("{listed:?}") };
    assert!(rows.is_empty(), "{rows:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_link_to_a_file_is_its_root() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos/a.txt", "edit").await;
    let root = format!("/public.php/dav/files/{}", token(&link));
    assert_eq!(server.ask("GET", &root).expect(200).await.text(), "content");
    assert_eq!(server.ask("GET", "/public.php/webdav/").basic(token(&link), "").expect(200).await.text(), "content");
    let download = server.ask("GET", &format!("/s/{}/download", token(&link))).expect(200).await;
    assert_eq!(download.text(), "content");
    assert_eq!(download.header("content-disposition"), Some("attachment; filename*=UTF-8''a%2Etxt"));
    server.stop().await;
}

#[tokio::test]
async fn links_end_on_their_last_day() {
    let server = TestServer::start_with(Clock::fixed(1_795_305_600), |_config| {}).await; // 2026-11-22
    server.add_user("anna").await;
    server.put("anna", "/a.txt", "content").await;
    let terms = LinkTerms { expires: Some("2026-11-22".to_owned()), ..LinkTerms::default() };
    let link = server.link_with("anna", "/a.txt", terms).await;
    assert_eq!(link.expires.as_deref(), Some("2026-11-22"));
    let file = format!("/public.php/dav/files/{}", token(&link));
    server.clock().advance(DAY - 1);
    server.ask("GET", &file).expect(200).await;
    server.clock().advance(1);
    server.ask("GET", &file).expect(404).await;
    server.ask("GET", &format!("/s/{}", token(&link))).expect(404).await;
    server.ask("GET", "/public.php/webdav/").basic(token(&link), "").expect(401).await;
    let later = LinkTerms { expires: Some(String::new()), ..LinkTerms::default() };
    server.execute(Command::LinkUpdate { id: "anna:/a.txt".to_owned(), terms: later }).await;
    server.ask("GET", &file).expect(200).await;
    let server = server.restart().await;
    server.ask("GET", &file).expect(200).await;
    server.execute(Command::LinkRemove { id: "anna:/a.txt".to_owned() }).await;
    server.ask("GET", &file).expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shared_is_refused_in_words() {
    let server = with_photos().await;
    let create = |user: &str, path: &str, permissions: &str| Command::LinkCreate {
        user: user.to_owned(),
        path: path.to_owned(),
        terms: LinkTerms { permissions: Some(permissions.to_owned()), ..LinkTerms::default() },
    };
    server.refuse(create("nobody", "/", "read"), Reason::NotFound).await;
    server.refuse(create("anna", "/nothing", "read"), Reason::NotFound).await;
    server.refuse(create("anna", "/../bob", "read"), Reason::Usage).await;
    server.refuse(create("anna", "/Photos", "everything"), Reason::Usage).await;
    server.refuse(create("anna", "/Photos/a.txt", "drop"), Reason::Refused).await;
    server.refuse(Command::LinkRemove { id: "77777".to_owned() }, Reason::NotFound).await;
    server.link("anna", "/Photos", "read").await;
    server.link("anna", "/Photos", "edit").await;
    server.refuse(Command::LinkRemove { id: "anna:/Photos".to_owned() }, Reason::Usage).await;
    server.stop().await;
}

#[tokio::test]
async fn l5_hostile_names_are_harmless_on_pages_and_in_headers() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/%3Cscript%3Ex").await;
    server.put("anna", "/%3Cscript%3Ex/%22%3E%3Cimg%20src%3Dx%3E%0D%0ASet-Cookie%3A%20a%3Db.html", "<script>alert(1)</script>").await;
    let link = server.link("anna", "/<script>x", "read").await;
    let page = server.ask("GET", &format!("/s/{}", token(&link))).expect(200).await;
    assert!(!page.text().contains("<script>x") && !page.text().contains("<img"), "{}", page.text());
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"), "{policy}");
    let name = "%22%3E%3Cimg%20src%3Dx%3E%0D%0ASet-Cookie%3A%20a%3Db.html";
    let file = server.ask("GET", &format!("/s/{}/download?path={name}", token(&link))).expect(200).await;
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    assert!(file.header("content-disposition").unwrap().starts_with("attachment;"));
    assert_eq!(file.header("set-cookie"), None);
    server.stop().await;
}
