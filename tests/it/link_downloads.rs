//! Links that may be downloaded so often: exactly so often, whoever races.

use std::collections::BTreeMap;

use causeway::service::Reason;
use causeway::service::admin::{Command, LinkRow, LinkTerms, Outcome};

use crate::support::server::{Pair, TestServer, password};

async fn with_photos(downloads: u64) -> (TestServer, LinkRow) {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    let link = server.link_with("anna", "/Photos", LinkTerms { downloads: Some(downloads), ..LinkTerms::default() }).await;
    (server, link)
}

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

async fn row(server: &TestServer) -> LinkRow {
    let listed = server.execute(Command::LinkList { user: "anna".to_owned() }).await;
    let Outcome::Links(rows) = listed else { panic!("{listed:?}") };
    rows.into_iter().next().unwrap()
}

#[tokio::test]
async fn l4_two_hundred_racing_downloads_of_a_link_for_one_get_it_once() {
    let (server, link) = with_photos(1).await;
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..200 {
        // By both doors at once.
        let path =
            if number % 2 == 0 { format!("/public.php/dav/files/{}/a.txt", token(&link)) } else { format!("/s/{}/download", token(&link)) };
        racing.spawn(server.ask("GET", &path).send());
    }
    let mut statuses = BTreeMap::new();
    while let Some(answer) = racing.join_next().await {
        *statuses.entry(answer.unwrap().status).or_insert(0) += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 1), (404, 199)]));
    let kept = row(&server).await;
    assert_eq!((kept.downloads, kept.downloads_max), (1, Some(1)));
    // Counts outlive a restart; another bound begins anew.
    let server = server.restart().await;
    let file = format!("/public.php/dav/files/{}/a.txt", token(&link));
    server.ask("GET", &file).expect(404).await;
    server.ask("GET", &format!("/s/{}", token(&link))).expect(404).await;
    let terms = LinkTerms { downloads: Some(2), ..LinkTerms::default() };
    server.execute(Command::LinkUpdate { id: link.id.to_string(), terms }).await;
    server.ask("GET", &file).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn only_what_was_sent_counts() {
    let (server, link) = with_photos(2).await;
    let files = format!("/public.php/dav/files/{}", token(&link));
    server.ask("HEAD", &format!("{files}/a.txt")).expect(200).await;
    server.ask("GET", &format!("{files}/nothing.txt")).expect(404).await;
    server.ask("GET", &format!("{files}/a.txt")).header("if-none-match", "*").expect(304).await;
    server.ask("GET", &format!("{files}/")).expect(200).await;
    server.ask("PROPFIND", &format!("{files}/")).header("depth", "1").expect(207).await;
    server.ask("GET", &format!("/s/{}", token(&link))).expect(200).await;
    assert_eq!(row(&server).await.downloads, 0);
    // By its parts a file could be had without being counted: a part is the whole.
    let whole = server.ask("GET", &format!("{files}/a.txt")).header("range", "bytes=1-3").expect(200).await;
    assert_eq!(whole.text(), "content");
    assert_eq!(row(&server).await.downloads, 1);
    let zip = server.ask("GET", &format!("/s/{}/download", token(&link))).expect(200).await;
    assert!(zip.body.starts_with(b"PK"));
    server.ask("GET", &format!("{files}/a.txt")).expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn servers_do_not_mount_what_is_counted_and_let_go_of_nothing() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "content").await;
    let link = anna.link("anna", "/Photos", "read").await;
    bob.mount("bob", &link.url).await;
    let bound = |downloads| Command::LinkUpdate {
        id: link.id.to_string(),
        terms: LinkTerms { downloads: Some(downloads), ..LinkTerms::default() },
    };
    anna.execute(bound(1)).await;
    anna.ask("PROPFIND", "/public.php/webdav/").basic(token(&link), "").expect(503).await;
    // Another Causeway mounts it by no other root, and uses up nothing by trying.
    let add = Command::MountAdd { user: "bob".to_owned(), url: link.url.clone(), name: Some("Again".to_owned()), password: None };
    bob.running().services.execute(add).await.unwrap_err();
    anna.ask("GET", &format!("/s/{}/download", token(&link))).expect(200).await;
    anna.execute(bound(0)).await;
    anna.ask("PROPFIND", "/public.php/webdav/").basic(token(&link), "").expect(207).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn owners_set_the_bound_as_nextclouds_clients_do() {
    let (server, link) = with_photos(5).await;
    server.add_user("eve").await;
    let path = format!("/ocs/v2.php/apps/files_downloadlimit/api/v1/{}/limit?format=json", token(&link));
    let ask = async |user: &str, method: &str, form: &str, status: u16| {
        let asked = server.ask(method, &path).basic(user, &password(user)).header("ocs-apirequest", "true");
        let answer = asked.header("content-type", "application/x-www-form-urlencoded").body(form).expect(status).await;
        serde_json::from_str::<serde_json::Value>(&answer.text()).unwrap()["ocs"]["data"].clone()
    };
    assert_eq!(ask("anna", "GET", "", 200).await, serde_json::json!({"limit": 5, "count": 0}));
    ask("anna", "PUT", "limit=0", 400).await;
    assert_eq!(ask("anna", "PUT", "limit=3", 200).await["limit"], 3);
    assert_eq!(ask("anna", "DELETE", "", 200).await["limit"], serde_json::Value::Null);
    // Who knows the link is not its owner.
    ask("eve", "PUT", "limit=1", 404).await;
    let too_long = Command::LinkUpdate { id: "9999".to_owned(), terms: LinkTerms::default() };
    server.refuse(too_long, Reason::NotFound).await;
    server.stop().await;
}

#[tokio::test]
async fn l9_a_url_opens_nothing_by_itself_and_no_signature_stands_in_for_a_password() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    let terms = LinkTerms { password: Some(causeway::domain::Secret::new("open sesame")), ..LinkTerms::default() };
    let link = server.link_with("anna", "/Photos", terms).await;
    let page = format!("/s/{}", token(&link));
    let form = server
        .ask("POST", &format!("{page}/authenticate"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("password=open+sesame");
    let cookie = form.expect(303).await.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (name, value) = cookie.split_once('=').unwrap();
    let (ends, mac) = value.split_once('.').unwrap();
    // What a page with the pass offers to download, files and zips, is as closed as before to who has its URL alone.
    let urls = [format!("{page}/download"), format!("/public.php/dav/files/{}/a.txt", token(&link))];
    server.ask("GET", &urls[0]).header("cookie", &cookie).expect(200).await;
    let signed = "OC-Credential=anna&OC-Verb=GET&OC-Expires=99999999&OC-Date=2026-11-22T12:00:00.000Z&OC-Signature=";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let later = ends.parse::<i64>().unwrap() + 1;
    let forged = [
        format!("{name}={later}.{mac}"),
        format!("{name}={ends}."),
        format!("{name}={later}.{empty}"),
        format!("{name}={value}x"),
        format!("{name}="),
    ];
    for url in &urls {
        let mut answers = vec![server.ask("GET", url).send().await];
        for query in [format!("{signed}{empty}"), signed.to_owned(), format!("{name}={value}"), format!("signature={mac}&expires={ends}")] {
            answers.push(server.ask("GET", &format!("{url}?{query}")).send().await);
        }
        for cookie in &forged {
            answers.push(server.ask("GET", url).header("cookie", cookie).send().await);
        }
        for answer in answers {
            // A browser is asked for the password on a page, a client by a status.
            let opened = answer.text() == "content" || answer.body.starts_with(b"PK") || answer.headers.contains_key("content-disposition");
            assert!(!opened, "{url}: {}", answer.status);
        }
    }
    // CVE-2023-49105: nobody here has a key for signing, and so nothing is signed rightly.
    for path in ["/remote.php/dav/files/anna/Photos/a.txt", "/remote.php/webdav/Photos/a.txt", "/remote.php/dav/uploads/anna"] {
        for signature in ["", empty, mac] {
            server.ask("GET", &format!("{path}?{signed}{signature}")).expect(401).await;
        }
    }
    // The key of passes lies nowhere: after a start there is another one, and old passes open nothing.
    let server = server.restart().await;
    let gone = server.ask("GET", &urls[0]).header("cookie", &cookie).send().await;
    assert!(!gone.body.starts_with(b"PK") && gone.text().contains("password"), "{}", gone.text());
    server.stop().await;
}
