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
