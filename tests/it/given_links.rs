//! Links that another server asks for on behalf of its user, as Nextcloud mounts them (`protocol/nextcloud.md` 1.1).

use causeway::domain::Secret;
use causeway::service::admin::{Command, LinkRow, LinkTerms};
use serde_json::Value;

use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::{Answer, TestServer};
use crate::support::sharing::shared;

async fn with_peer() -> (TestServer, OcmPeer) {
    let (server, peer) = (TestServer::with_user("anna").await, OcmPeer::start(Habit::Nextcloud).await);
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    (server, peer)
}

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

async fn ask(server: &TestServer, token: &str, with: &str, password: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token)
        .append_pair("shareWith", with)
        .append_pair("password", password)
        .finish();
    let asked = server.ask("POST", "/index.php/apps/federatedfilesharing/createFederatedShare");
    asked.header("content-type", "application/x-www-form-urlencoded").body(form).send().await
}

#[track_caller]
fn refused(answer: &Answer, text: &str) {
    assert!(answer.status == 400 && answer.text().contains(text), "{} {}", answer.status, answer.text());
}

fn secret(offer: &Value) -> &str {
    offer["protocol"]["options"]["sharedSecret"].as_str().unwrap()
}

#[tokio::test]
async fn f1_a_link_is_given_with_its_rights_and_no_more() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    let answer = ask(&server, token(&link), &peer.address_of("bob"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(told["remoteUrl"], format!("https://{}", peer.host()));
    // It has a secret of its own, which opens what the link opens, and writes nothing.
    let offer = peer.offer();
    assert_ne!(secret(&offer), token(&link));
    let open = |method: &str, path: &str| server.ask(method, &format!("/public.php/webdav{path}")).basic(secret(&offer), "");
    assert_eq!(open("GET", "/a.txt").expect(200).await.text(), "content");
    open("PUT", "/b.txt").body("x").expect(403).await;
    open("DELETE", "/a.txt").expect(403).await;
    // The owner sees it, and ends it alone (attack L2).
    let rows = shared(&server, "anna").await;
    assert_eq!((rows.len(), rows[0].permissions), (1, 1));
    // Asked again, nothing new comes of it.
    assert_eq!(ask(&server, token(&link), &peer.address_of("bob"), "").await.status, 200);
    assert_eq!((peer.offers().len(), shared(&server, "anna").await.len()), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn f2_what_a_link_does_not_show_is_not_given() {
    let (server, peer) = with_peer().await;
    let bob = peer.address_of("bob");
    let drop = server.link("anna", "/Photos", "drop").await;
    refused(&ask(&server, token(&drop), &bob, "").await, "Mounting file drop not supported");
    let terms = LinkTerms { password: Some(Secret::new("open sesame")), ..LinkTerms::default() };
    let protected = server.link_with("anna", "/Photos", terms).await;
    for password in ["", "wrong"] {
        refused(&ask(&server, token(&protected), &bob, password).await, "No permission to access the share");
    }
    refused(&ask(&server, "nothing", &bob, "").await, "does not exist anymore");
    refused(&ask(&server, token(&protected), "bob", "open sesame").await, "no address");
    let counted = server.link_with("anna", "/Photos", LinkTerms { downloads: Some(1), ..LinkTerms::default() }).await;
    assert_eq!(ask(&server, token(&counted), &bob, "").await.status, 503);
    assert!(peer.offers().is_empty() && shared(&server, "anna").await.is_empty());
    let given = ask(&server, token(&protected), &bob, "open sesame").await;
    assert_eq!(given.status, 200, "{}", given.text());
    server.stop().await;
}

#[tokio::test]
async fn f4_who_asks_in_vain_again_and_again_has_to_wait() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    peer.refuse(Some(400));
    let mut statuses = Vec::new();
    for number in 0..40 {
        let status = ask(&server, token(&link), &peer.address_of(&format!("user{number}")), "").await.status;
        statuses.push(status);
        if status == 429 {
            break;
        }
    }
    assert_eq!((statuses[0], statuses.last()), (400, Some(&429)), "{statuses:?}");
    assert!(shared(&server, "anna").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn f4_who_asks_for_much_has_to_wait_and_keeps_what_is_there() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    let mut statuses = Vec::new();
    for number in 0..40 {
        let answer = ask(&server, token(&link), &peer.address_of(&format!("user{number}")), "").await;
        statuses.push(answer.status);
        if answer.status != 200 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
    }
    assert!(statuses.len() > 10 && statuses.last() == Some(&429), "{statuses:?}");
    assert_eq!(shared(&server, "anna").await.len(), statuses.len() - 1);
    server.ask("PROPFIND", "/public.php/webdav/").basic(secret(&peer.offer()), "").expect(207).await;
    server.ask("GET", &format!("/s/{}", token(&link))).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn f9_a_refusal_says_nothing_of_the_owner_s_tree() {
    let (server, peer) = with_peer().await;
    server.mkcol("anna", "/Private").await;
    server.mkcol("anna", "/Private/Plans").await;
    let link = server.link("anna", "/Private/Plans", "read").await;
    peer.refuse(Some(400));
    for with in [peer.address_of("bob"), "bob@127.0.0.1:1".to_owned(), format!("anna@{}", server.host())] {
        let answer = ask(&server, token(&link), &with, "").await;
        let told: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((answer.status, &told["message"]), (400, &Value::String(format!("Sharing this link with {with} failed"))));
    }
    server.stop().await;
}

#[tokio::test]
async fn f1_what_was_given_grants_no_more_than_the_link_does_now_and_ends_with_it() {
    let (server, peer) = with_peer().await;
    let terms = |permissions: &str| LinkTerms { permissions: Some(permissions.to_owned()), ..LinkTerms::default() };
    let update = |link: &LinkRow, terms| Command::LinkUpdate { id: link.id.to_string(), terms };
    let give = async |link: &LinkRow, user: &str| {
        assert_eq!(ask(&server, token(link), &peer.address_of(user), "").await.status, 200);
        let offer = peer.offer();
        (offer["providerId"].as_str().unwrap().to_owned(), secret(&offer).to_owned())
    };
    let open = |method: &str, secret: &str| server.ask(method, "/public.php/webdav/a.txt").basic(secret, "");
    let link = server.link("anna", "/Photos", "edit").await;
    let (id, secret) = give(&link, "bob").await;
    open("PUT", &secret).body("from bob").expect(204).await;
    server.execute(update(&link, terms("read"))).await;
    open("PUT", &secret).body("x").expect(403).await;
    assert_eq!(open("GET", &secret).expect(200).await.text(), "from bob");
    // Who was let in without a password was not by the new one.
    let password = LinkTerms { password: Some(Secret::new("open sesame")), ..LinkTerms::default() };
    server.execute(update(&link, password)).await;
    open("GET", &secret).expect(401).await;
    peer.wait_told("SHARE_UNSHARED", &id).await;
    let second = server.link("anna", "/Photos", "read").await;
    let (id, secret) = give(&second, "amy").await;
    open("GET", &secret).expect(200).await;
    server.execute(Command::LinkRemove { id: second.id.to_string() }).await;
    open("GET", &secret).expect(401).await;
    peer.wait_told("SHARE_UNSHARED", &id).await;
    assert!(shared(&server, "anna").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_was_given_lasts_over_a_start() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    assert_eq!(ask(&server, token(&link), &peer.address_of("bob"), "").await.status, 200);
    let secret = secret(&peer.offer()).to_owned();
    let server = server.restart().await;
    let open = || server.ask("GET", "/public.php/webdav/a.txt").basic(&secret, "");
    open().expect(200).await;
    server.execute(Command::LinkRemove { id: link.id.to_string() }).await;
    open().expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_given_while_that_is_not_allowed() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    assert_eq!(ask(&server, token(&link), &peer.address_of("bob"), "").await.status, 200);
    let opened = peer.offer();
    let rule = |value: &str| Command::Sharing { set: Some(("outgoing".to_owned(), value.to_owned())) };
    server.execute(rule("off")).await;
    assert_eq!(ask(&server, token(&link), &peer.address_of("amy"), "").await.status, 503);
    // What was given before is closed, not gone.
    let open = || server.ask("PROPFIND", "/public.php/webdav/").basic(secret(&opened), "");
    open().expect(503).await;
    server.execute(rule("on")).await;
    open().expect(207).await;
    server.stop().await;
}

#[tokio::test]
async fn f1_a_link_whose_downloads_are_counted_from_now_on_is_closed_for_who_was_given_it() {
    let (server, peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    assert_eq!(ask(&server, token(&link), &peer.address_of("bob"), "").await.status, 200);
    let secret = secret(&peer.offer()).to_owned();
    let open = || server.ask("GET", "/public.php/webdav/a.txt").basic(&secret, "");
    let direct = || server.ask("GET", "/public.php/webdav/a.txt").basic(token(&link), "");
    open().expect(200).await;
    let terms = LinkTerms { downloads: Some(1), ..LinkTerms::default() };
    server.execute(Command::LinkUpdate { id: link.id.to_string(), terms }).await;
    // As for servers that mounted the link itself: closed, and not gone.
    open().expect(503).await;
    direct().expect(503).await;
    let numbered = format!("/remote.php/dav/ocm/{}/a.txt", peer.offer()["providerId"].as_str().unwrap());
    server.ask("GET", &numbered).header("authorization", &format!("Bearer {secret}")).expect(503).await;
    assert_eq!(shared(&server, "anna").await.len(), 1);
    let unbound = LinkTerms { downloads: Some(0), ..LinkTerms::default() };
    server.execute(Command::LinkUpdate { id: link.id.to_string(), terms: unbound }).await;
    open().expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn f3_who_mounts_or_is_given_a_link_is_trusted_no_more_than_before_and_is_told_of_nobody() {
    let (server, peer) = with_peer().await;
    server.add_user("secretary").await;
    let trust = async || format!("{:?}", server.execute(Command::RemoteList).await);
    let before = trust().await;
    let link = server.link("anna", "/Photos", "read").await;
    assert_eq!(ask(&server, token(&link), &peer.address_of("bob"), "").await.status, 200);
    // Another server that mounts it, and one of ours that mounts something of a stranger's.
    server.ask("PROPFIND", "/public.php/webdav/").basic(token(&link), "").expect(207).await;
    let hostile = crate::support::bad_remote::BadRemote::start().await;
    server.execute(Command::RemoteAllowPrivate { host: hostile.host() }).await;
    let allowed = trust().await;
    server.mount("anna", &hostile.url().replace("://", "://token:pw@")).await;
    assert_eq!(trust().await, allowed, "a mount changes no trust");
    assert!(!before.contains(&hostile.host()));
    // Neither was told who else is here: not in a body, a header or a path.
    let told = format!("{:?} {:?} {:?}", peer.offers(), peer.told(), hostile.take_seen());
    assert!(!told.contains("secretary"), "{told}");
    // What a trusted server of other makes would be given for the list of users, is not there for anybody.
    for path in ["/remote.php/dav/addressbooks/system/system/system", "/ocs/v2.php/apps/federation/api/v1/shared-secret?format=json"] {
        let answer = server.ask("GET", path).send().await;
        assert!(matches!(answer.status, 401 | 404 | 405) && !answer.text().contains("secretary"), "{path}: {}", answer.status);
    }
    server.stop().await;
}

#[tokio::test]
async fn f4_a_server_with_mounts_of_many_dead_links_keeps_those_that_live() {
    let (server, _peer) = with_peer().await;
    let link = server.link("anna", "/Photos", "read").await;
    let terms = LinkTerms { password: Some(Secret::new("open sesame")), ..LinkTerms::default() };
    let protected = server.link_with("anna", "/Photos", terms).await;
    let root = |token: &str, password: &str| server.ask("PROPFIND", "/public.php/webdav/").basic(token, password).send();
    assert_eq!(root(token(&protected), "open sesame").await.status, 207);
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(root(&format!("dead{number}"), "").await.status);
    }
    assert_eq!((statuses[0], statuses.last()), (401, Some(&429)), "{statuses:?}");
    // What is known and right is open; what is guessed, a password as well, is not even tried.
    assert_eq!(root(token(&link), "").await.status, 207);
    server.ask("GET", &format!("/s/{}", token(&link))).expect(200).await;
    assert_eq!(root(token(&protected), "open sesame").await.status, 207);
    for password in ["wrong", "another", "third"] {
        assert_eq!(root(token(&protected), password).await.status, 429);
    }
    assert_eq!(root("dead31", "").await.status, 429);
    server.stop().await;
}
