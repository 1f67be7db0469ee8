//! `shareinfo`: what mounting servers ask of a link, and what they must never be told wrongly.

use causeway::domain::{Clock, Secret};
use causeway::service::admin::{Command, LinkRow, LinkTerms};
use serde_json::{Value, json};

use crate::ocs::json as read;
use crate::support::server::{Ask, Pair, TestServer};

fn ask(server: &TestServer, token: &str, more: &str, form: &str) -> Ask {
    let path = format!("/index.php/apps/files_sharing/shareinfo?t={token}{more}");
    server.ask("POST", &path).header("content-type", "application/x-www-form-urlencoded").body(form)
}

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

async fn with_tree() -> TestServer {
    let server = TestServer::with_user("anna").await;
    for folder in ["/Photos", "/Photos/2026", "/Photos/2026/May", "/Photos/empty"] {
        server.mkcol("anna", folder).await;
    }
    server.put("anna", "/Photos/a%20%22b%22.txt", "content").await;
    server.put("anna", "/Photos/2026/May/c.jpg", "picture").await;
    server
}

/// Names as a tree; folders without `children` are null.
fn shape(node: &Value) -> Value {
    let Some(children) = node.get("children") else { return Value::Null };
    children.as_array().unwrap().iter().map(|child| (child["name"].as_str().unwrap().to_owned(), shape(child))).collect()
}

#[tokio::test]
async fn a_link_tells_its_tree_as_deep_as_asked() {
    let server = with_tree().await;
    let link = server.link("anna", "/Photos", "edit").await;
    let answer = ask(&server, token(&link), "", "password=&depth=0").expect(200).await;
    let info = read(&answer);
    assert_eq!(info["status"], "success");
    let root = &info["data"];
    assert_eq!((&root["name"], &root["type"], &root["permissions"]), (&"Photos".into(), &"dir".into(), &15.into()));
    assert_eq!((&root["mimetype"], &root["size"], &root["parentId"]), (&"httpd/unix-directory".into(), &14.into(), &(-1).into()));
    let listed = server.ask_as("anna", "PROPFIND", "/Photos/").header("depth", "0").expect(207).await.text();
    assert!(listed.contains(&format!("&quot;{}&quot;", root["etag"].as_str().unwrap())), "the etag is the one of WebDAV: {listed}");
    assert_eq!(shape(root), Value::Null);
    let whole = read(&ask(&server, token(&link), "", "password=").expect(200).await)["data"].clone();
    assert_eq!(shape(&whole), json!({"2026": {"May": {"c.jpg": null}}, "a \"b\".txt": null, "empty": {}}));
    let file = &whole["children"][1];
    assert_eq!(
        (&file["type"], &file["size"], &file["mimetype"], &file["permissions"]),
        (&"file".into(), &7.into(), &"text/plain".into(), &11.into())
    );
    assert_eq!(file["parentId"], whole["id"]);
    let one = read(&ask(&server, token(&link), "", "depth=1").expect(200).await);
    assert_eq!(shape(&one["data"]), json!({"2026": null, "a \"b\".txt": null, "empty": null}));
    let below = read(&ask(&server, token(&link), "&dir=/2026", "").expect(200).await);
    assert_eq!((below["data"]["name"].clone(), shape(&below["data"])), ("2026".into(), json!({"May": {"c.jpg": null}})));
    server.ask("GET", &format!("/index.php/apps/files_sharing/shareinfo?t={}", token(&link))).expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn a_link_to_a_file_is_told_as_a_file() {
    let server = with_tree().await;
    let link = server.link("anna", "/Photos/2026/May/c.jpg", "read").await;
    let info = read(&ask(&server, token(&link), "", "password=").expect(200).await);
    assert_eq!((&info["data"]["name"], &info["data"]["type"], &info["data"]["permissions"]), (&"c.jpg".into(), &"file".into(), &1.into()));
    assert_eq!(info["data"]["mimetype"], "image/jpeg");
    server.stop().await;
}

#[tokio::test]
async fn a_mounter_is_told_404_only_for_what_is_gone() {
    let server = TestServer::start_with(Clock::fixed(1_795_305_600), |_config| {}).await; // 2026-11-22
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.ask("POST", "/index.php/apps/files_sharing/shareinfo").expect(400).await;
    let missing = ask(&server, "nothing", "", "password=").expect(404).await;
    assert_eq!(read(&missing), json!({"data": [], "status": "error"}));
    let terms = LinkTerms { expires: Some("2026-11-22".to_owned()), password: Some(Secret::new("sesame")), ..LinkTerms::default() };
    let link = server.link_with("anna", "/Photos", terms).await;
    ask(&server, token(&link), "", "password=sesame").expect(200).await;
    for form in ["", "password=", "password=wrong"] {
        ask(&server, token(&link), "", form).expect(403).await;
    }
    ask(&server, token(&link), "&dir=/nothing", "password=sesame").expect(404).await;
    ask(&server, token(&link), "&dir=/../x", "password=sesame").expect(400).await;
    let drop = server.link("anna", "/Photos", "drop").await;
    ask(&server, token(&drop), "", "").expect(403).await;
    server.clock().advance(24 * 3600);
    ask(&server, token(&link), "", "password=sesame").expect(404).await;
    server.execute(Command::LinkRemove { id: drop.id.to_string() }).await;
    ask(&server, token(&drop), "", "").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_guesses_at_shareinfo_are_slowed() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |_config| {}).await;
    server.add_user("anna").await;
    for number in 0..20 {
        ask(&server, &format!("guess{number}"), "", "password=x").expect(404).await;
    }
    let slowed = ask(&server, "guess", "", "password=x").expect(429).await;
    assert!(slowed.header("retry-after").is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_long_tree_comes_whole_and_in_pieces() {
    let server = TestServer::with_user("anna").await;
    let home = server.data().join("anna/many");
    for folder in 0..20 {
        let folder = home.join(format!("f{folder:02}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..60 {
            std::fs::write(folder.join(format!("{file:02} é.txt")), "x").unwrap();
        }
    }
    server.execute(Command::Scan { user: Some("anna".to_owned()) }).await;
    let link = server.link("anna", "/many", "read").await;
    let answer = ask(&server, token(&link), "", "").expect(200).await;
    assert!(answer.body.len() > 128 * 1024);
    let info = read(&answer);
    let folders = info["data"]["children"].as_array().unwrap();
    assert_eq!(folders.len(), 20);
    assert!(folders.iter().all(|folder| folder["children"].as_array().unwrap().len() == 60));
    server.stop().await;
}

#[tokio::test]
async fn mounts_in_a_link_are_told_without_asking_their_servers() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "content").await;
    pair.anna.mkcol("anna", "/Photos/sub").await;
    let link = pair.anna.link("anna", "/Photos", "read").await;
    pair.bob.mkcol("bob", "/Mine").await;
    pair.bob.mount("bob", &link.url).await;
    let to = format!("http://{}/remote.php/webdav/Mine/Photos", pair.bob.host());
    pair.bob.ask_as("bob", "MOVE", "/Photos").header("destination", &to).expect(201).await;
    let through = pair.bob.link("bob", "/Mine", "read").await;
    pair.anna.stop().await;
    let info = read(&ask(&pair.bob, token(&through), "", "").expect(200).await);
    assert_eq!(shape(&info["data"]), json!({"Photos": null}), "there, and not told to be empty");
    ask(&pair.bob, token(&through), "&dir=/Photos/sub/b.txt", "").expect(503).await;
    pair.bob.stop().await;
}
