//! Secrets that are exchanged for tokens: ours, for other servers, and those of others.

use causeway::domain::{Clock, Signing};
use causeway::service::admin::{Command, ShareCommand};
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::sender::{SECRET, Sender};
use crate::support::server::{Answer, TestServer};
use crate::support::sharing::{received, remove, share};
use crate::support::signer::{Kind, Signer};

/// A server whose anna shares `/Photos` with bob of another one: its number and its secret.
async fn sending(clock: Clock) -> (TestServer, OcmPeer, u64, String) {
    let (server, peer) = (TestServer::start_with(clock, |_config| {}).await, OcmPeer::start(Habit::Reva).await);
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "from anna").await;
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    let row = share(&server, "anna", "/Photos", &peer.address_of("bob"), "edit").await;
    let secret = peer.offer()["protocol"]["webdav"]["sharedSecret"].as_str().unwrap().to_owned();
    (server, peer, row.id, secret)
}

async fn ask(server: &TestServer, form: &str) -> Answer {
    server.ask("POST", "/ocm/token").header("content-type", "application/x-www-form-urlencoded").body(form).send().await
}

fn form(grant: &str, client: &str, code: &str) -> String {
    format!("grant_type={grant}&client_id={client}&code={code}")
}

async fn token(server: &TestServer, secret: &str) -> String {
    let answer = ask(server, &form("authorization_code", "127.0.0.1", secret)).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.text());
    parsed(&answer)["access_token"].as_str().unwrap().to_owned()
}

async fn get(server: &TestServer, root: &str, token: &str) -> u16 {
    server.ask("GET", &format!("{root}/a.txt")).header("authorization", &format!("Bearer {token}")).send().await.status
}

#[tokio::test]
async fn a_secret_is_exchanged_for_a_token_that_opens_what_it_opens() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, _peer, id, secret) = sending(clock.clone()).await;
    let numbered = format!("/remote.php/dav/ocm/{id}");
    let answer = ask(&server, &form("authorization_code", "127.0.0.1", &secret)).await;
    let told = parsed(&answer);
    assert_eq!((answer.status, &told["token_type"], &told["expires_in"]), (200, &json!("Bearer"), &json!(300)));
    let token = told["access_token"].as_str().unwrap().to_owned();
    // reva takes what looks like a JWT for one.
    assert!(token.len() >= 22 && !token.contains('.') && !token.contains(&secret), "{token}");
    for root in [numbered.as_str(), "/public.php/webdav"] {
        assert_eq!(get(&server, root, &token).await, 200, "{root}");
    }
    server.ask("GET", "/public.php/webdav/a.txt").basic(&token, "").expect(200).await;
    let put = server.ask("PUT", &format!("{numbered}/b.txt")).header("authorization", &format!("Bearer {token}")).body("b");
    put.expect(201).await;
    assert_eq!(get(&server, &format!("/remote.php/dav/ocm/{}", id + 1), &token).await, 401, "of this share alone");
    // The older grant of reva, and a client that names its port.
    assert_eq!(ask(&server, &form("ocm_share", "127.0.0.1:9", &secret)).await.status, 200);
    // It outlives a start, and not its time.
    let server = server.restart().await;
    assert_eq!(get(&server, &numbered, &token).await, 200);
    clock.advance(299);
    assert_eq!(get(&server, &numbered, &token).await, 200);
    clock.advance(2);
    for _ in 0..30 {
        // A token whose time is over is no guess: another one is asked for, and nobody waits.
        assert_eq!(get(&server, &numbered, &token).await, 401);
        assert_eq!(get(&server, "/public.php/webdav", &token).await, 401);
    }
    let fresh = self::token(&server, &secret).await;
    assert_eq!(get(&server, &numbered, &fresh).await, 200);
    // It dies with its share.
    remove(&server, id).await;
    assert_eq!(get(&server, &numbered, &fresh).await, 401);
    let answer = ask(&server, &form("authorization_code", "127.0.0.1", &secret)).await;
    assert_eq!((answer.status, &parsed(&answer)["error"]), (400, &json!("invalid_grant")));
    server.stop().await;
}

#[tokio::test]
async fn l9_what_is_not_ours_opens_nothing_and_is_refused_in_words() {
    let (server, _peer, id, secret) = sending(Clock::System).await;
    let check = async |form: &str, error: &str| {
        let answer = ask(&server, form).await;
        let told = parsed(&answer);
        assert_eq!((answer.status, &told["error"]), (400, &json!(error)), "{form}: {told}");
        assert!(told["error_description"].as_str().is_some_and(|text| !text.is_empty()));
    };
    let good = token(&server, &secret).await;
    check("", "invalid_request").await;
    check(&form("authorization_code", "127.0.0.1", ""), "invalid_request").await;
    check(&form("refresh_token", "127.0.0.1", &secret), "unsupported_grant_type").await;
    check(&form("authorization_code", "elsewhere.example", &secret), "invalid_client").await;
    check(&form("authorization_code", "127.0.0.1", "guess"), "invalid_grant").await;
    // A token is not exchanged for another one: it would live for ever.
    check(&form("authorization_code", "127.0.0.1", &good), "invalid_grant").await;
    server.ask("GET", "/ocm/token").expect(405).await;
    assert_eq!(ask(&server, &"x".repeat(60_000)).await.status, 400);
    // Each changed letter makes it nothing.
    for at in (0..good.len()).step_by(7) {
        let mut other = good.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(get(&server, &format!("/remote.php/dav/ocm/{id}"), std::str::from_utf8(&other).unwrap()).await, 401, "{at}");
    }
    server.stop().await;
}

#[tokio::test]
async fn f4_guessing_codes_is_slow() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |_config| {}).await;
    for number in 0..20 {
        assert_eq!(ask(&server, &form("authorization_code", "c.example", &format!("guess{number}"))).await.status, 400);
    }
    let answer = ask(&server, &form("authorization_code", "c.example", "guess")).await;
    assert!(answer.status == 429 && answer.header("retry-after").is_some(), "{}", answer.text());
    server.stop().await;
}

#[tokio::test]
async fn f14_who_signs_signs_the_exchange_as_well() {
    let (server, signer) =
        (TestServer::start_with(Clock::System, |config| config.signatures = Signing::On).await, Signer::start(Kind::Message).await);
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.execute(Command::RemoteAllowPrivate { host: signer.host() }).await;
    share(&server, "anna", "/Photos", &format!("bob@{}", signer.host()), "read").await;
    let sent: Value = serde_json::from_slice(&signer.calls()[0].body).unwrap();
    let form = form("authorization_code", "127.0.0.1", sent["protocol"]["options"]["sharedSecret"].as_str().unwrap());
    assert_eq!(ask(&server, &form).await.status, 200, "it never signed");
    let mut draft = signer.draft(&server, "/ocm/token", &json!({}));
    (draft.body, draft.sent_body) = (form.clone(), form.clone());
    let answer = signer.send(&server, &draft).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = ask(&server, &form).await;
    assert_eq!((answer.status, &parsed(&answer)["error"]), (401, &json!("unauthorized_client")), "it has signed before");
    server.stop().await;
}

/// An offer of shape B whose secret must be exchanged.
fn offer(server: &TestServer, sender: &Sender) -> Value {
    let address = format!("einstein@http://{}", sender.host());
    json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "Folder", "resourceType": "folder", "providerId": "7",
        "owner": address, "sender": address, "ownerDisplayName": "Albert", "senderDisplayName": "Albert", "protocol": {"name": "multi",
        "options": {}, "webdav": {"uri": sender.uri(), "sharedSecret": SECRET, "permissions": ["read", "write"],
        "requirements": ["must-exchange-token"]}}})
}

async fn post(server: &TestServer, body: &Value) -> Answer {
    server.ask("POST", "/ocm/shares").header("content-type", "application/json").body(body.to_string()).send().await
}

/// A server whose bob is offered things, and which signs, and one that offers them.
async fn receiving() -> (TestServer, Sender) {
    let server = TestServer::start_with(Clock::System, |config| config.signatures = Signing::On).await;
    server.add_user("bob").await;
    (server, Sender::start().await)
}

#[tokio::test]
async fn who_does_not_sign_takes_no_share_whose_secret_must_be_exchanged() {
    let (server, sender) = (TestServer::with_user("bob").await, Sender::start().await);
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    sender.take_tokens();
    let answer = post(&server, &offer(&server, &sender)).await;
    assert_eq!(answer.status, 501, "{}", answer.text());
    assert!(parsed(&answer)["message"].as_str().unwrap().contains("without the requirement must-exchange-token"), "{}", answer.text());
    assert!(received(&server, "bob").await.is_empty() && sender.seen().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn f9_an_offer_that_is_known_makes_nobody_knock() {
    let (server, sender) = receiving().await;
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    sender.take_tokens();
    let body = offer(&server, &sender);
    assert_eq!(post(&server, &body).await.status, 201);
    // Nor does another one of the same server: where it exchanges secrets is known.
    let asked = sender.seen().len();
    for id in 0..30 {
        let mut other = body.clone();
        other["providerId"] = json!(format!("other{id}"));
        let answer = post(&server, &other).await;
        assert!(matches!(answer.status, 201 | 503), "{id}: {}", answer.text());
    }
    assert_eq!(sender.seen().len(), asked);
    // A start forgets that, and what was offered is known all the same.
    let server = server.restart().await;
    sender.leave().await;
    let mut body = body;
    body["shareWith"] = json!(format!("bob@{}", server.host()));
    assert_eq!(post(&server, &body).await.status, 201);
    server.stop().await;
}

#[tokio::test]
async fn a_share_whose_secret_must_be_exchanged_is_mounted_by_tokens() {
    let (server, sender) = receiving().await;
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    sender.take_tokens();
    let answer = post(&server, &offer(&server, &sender)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(sender.exchanges().is_empty(), "before its receiver answers, the secret is not used");
    let id = received(&server, "bob").await[0].id;
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    assert_eq!(server.get("bob", "/Folder/a.txt").await, "alpha");
    assert_eq!(names(&server, "bob", "/Folder").await, ["a.txt"]);
    assert_eq!(sender.exchanges(), [format!("grant_type=authorization_code&client_id=127.0.0.1&code={SECRET}")], "one token does for all");
    // A token that ends early is exchanged anew, once.
    sender.wear_token();
    server.ask_as("bob", "PROPFIND", "/Folder/a.txt").header("depth", "0").expect(207).await;
    until("another token", PATIENCE, async || {
        server.ask_as("bob", "PROPFIND", "/Folder").header("depth", "1").expect(207).await;
        sender.exchanges().len() == 2
    })
    .await;
    // It is written down nowhere: a start asks for another one.
    let server = server.restart().await;
    assert_eq!(server.get("bob", "/Folder/a.txt").await, "alpha");
    assert_eq!(sender.exchanges().len(), 3);
    // A share that is gone is shown as gone.
    sender.end_share();
    until("gone", PATIENCE, async || {
        server.ask_as("bob", "PROPFIND", "/Folder").header("depth", "1").send().await;
        mounts(&server, "bob").await[0].state == "withdrawn"
    })
    .await;
    server.ask_as("bob", "PROPFIND", "/Folder").header("depth", "1").expect(503).await;
    server.stop().await;
}

#[tokio::test]
async fn f8_without_a_place_to_exchange_it_such_an_offer_is_refused() {
    let (server, sender) = receiving().await;
    let check = async || {
        let answer = post(&server, &offer(&server, &sender)).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(parsed(&answer)["message"].as_str().unwrap().contains("tokenEndPoint"), "{}", answer.text());
    };
    // Whether its server cannot be asked, or says nothing, a stranger is told the same.
    check().await;
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    check().await;
    assert!(received(&server, "bob").await.is_empty());
    server.stop().await;
}
