//! What users of other servers share with ours, as the servers of the field send it, and what becomes of it.

use std::task::Poll;
use std::time::Duration;

use causeway::config::PublicUrl;
use causeway::domain::{Clock, CloudId, Mount, MountId, Offer, ReceivedState, Secret, ShareId};
use causeway::limits::{OUTBOX_HOST_MAX, USER_OFFERS_MAX};
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command, Outcome, ReceivedRow, ShareCommand};
use causeway::store::Batch;
use causeway::wire::ocm::Notification;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::sender::{SECRET, Sender};
use crate::support::server::{Answer, Pair, TestServer, password};
use crate::support::sharing::{received, remove, share, shared};

/// As Nextcloud 32 sends it (`protocol/nextcloud.md` 1.2).
fn nextcloud(with: &str, sender: &str, id: &str) -> Value {
    json!({"shareWith": with, "shareType": "user", "name": "pub", "resourceType": "file", "description": "", "providerId": id,
        "owner": format!("alice@http://{sender}"), "ownerDisplayName": "Alice", "sharedBy": format!("alice@http://{sender}"),
        "sharedByDisplayName": "Alice", "sender": format!("alice@http://{sender}"), "senderDisplayName": "Alice",
        "protocol": {"name": "webdav", "options": {"sharedSecret": SECRET, "permissions": "{http://open-cloud-mesh.org/ns}share-permissions"}}})
}

/// As oCIS and CERNBox send it (`protocol/ocm.md` 1.3), from a server without TLS.
fn reva(with: &str, sender: &Sender, id: &str) -> Value {
    let address = format!("einstein@http://{}", sender.host());
    json!({"shareWith": with, "shareType": "user", "name": "Folder", "resourceType": "folder", "providerId": id, "owner": address,
        "sender": address, "ownerDisplayName": "Albert", "senderDisplayName": "Albert", "expiration": 4_102_444_800_u64,
        "protocol": {"name": "multi", "options": {}, "webdav": {"uri": sender.uri(), "sharedSecret": SECRET, "permissions": ["read", "write"]}}})
}

async fn post(server: &TestServer, path: &str, body: &Value) -> Answer {
    server.ask("POST", path).header("content-type", "application/json").body(body.to_string()).send().await
}

/// Offers a share that must be taken; its number here.
async fn offer(server: &TestServer, body: &Value) -> u64 {
    let answer = post(server, "/ocm/shares", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    received(server, "bob").await.last().unwrap().id
}

fn bob(server: &TestServer) -> String {
    format!("bob@{}", server.host())
}

async fn notify(server: &TestServer, kind: &str, id: &str, secret: &str) -> u16 {
    let body = json!({"notificationType": kind, "resourceType": "file", "providerId": id, "notification": {"sharedSecret": secret}});
    post(server, "/ocm/notifications", &body).await.status
}

fn accepting(id: u64) -> Command {
    Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })
}

async fn accept(server: &TestServer, id: u64) -> ReceivedRow {
    let done = server.execute(accepting(id)).await;
    let Outcome::ReceivedShare(row) = done else { panic!("{done:?}") };
    assert_eq!(row.state, "accepted");
    row
}

/// A server with bob, and one that shares with him.
async fn with_sender(clock: Clock) -> (TestServer, Sender) {
    let (server, sender) = (TestServer::start_with(clock, |_config| {}).await, Sender::start().await);
    server.add_user("bob").await;
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    (server, sender)
}

#[tokio::test]
async fn discovery_is_where_every_family_looks_for_it() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(PublicUrl::parse("https://h.example/cloud").unwrap());
    })
    .await;
    for closed in [false, true] {
        server.execute(Command::Maintenance { on: Some(closed) }).await;
        for prefix in ["", "/cloud", "/cloud/index.php"] {
            for path in ["/ocm-provider/", "/ocm-provider", "/ocm-provider/index.php", "/.well-known/ocm"] {
                let answer = server.ask("GET", &format!("{prefix}{path}")).expect(200).await;
                assert_eq!(answer.header("content-type"), Some("application/json"));
                let document = parsed(&answer);
                assert_eq!(document["endPoint"], "https://h.example/cloud/ocm");
                assert_eq!((&document["enabled"], &document["provider"]), (&json!(true), &json!("Causeway")));
                let named = |name: &str| {
                    let all = document["resourceTypes"].as_array().unwrap();
                    all.iter().find(|resource| resource["name"] == name).unwrap()["protocols"].clone()
                };
                for name in ["file", "folder"] {
                    assert_eq!(named(name)["webdav"], "/public.php/webdav/", "{path}: below the folder, where ownCloud looks");
                    assert_eq!(named(name)["webdav-receive"].is_object(), path.starts_with("/.well"), "{path}");
                }
            }
        }
        server.ask("POST", "/ocm-provider/").expect(405).await;
    }
    for path in ["/ocm/shares", "/ocm/notifications"] {
        let answer = post(&server, path, &json!({})).await;
        assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/json")), "{path}");
    }
    server.execute(Command::Maintenance { on: Some(false) }).await;
    server.ask("GET", "/ocm/shares").expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn what_owncloud_and_nextcloud_offer_waits_for_its_receiver() {
    let server = TestServer::with_user("bob").await;
    let host = server.host();
    let taken = post(&server, "/index.php/ocm/shares", &nextcloud(&format!("bob@http://{host}"), "a.example", "9")).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(parsed(&taken), json!({"recipientDisplayName": "bob", "recipientUserId": "bob"}));
    // ownCloud 11, which sends no type that it would be known by.
    let owncloud = json!({"shareWith": format!("BOB@http://{host}/index.php/"), "name": "/fed", "providerId": "13", "owner": "alice@https://b.example/oc",
        "ownerDisplayName": "Alice D", "sender": "alice@https://b.example/oc", "senderDisplayName": "Alice D", "shareType": "user",
        "resourceType": "file", "protocol": {"name": "webdav", "options": {"sharedSecret": "hFah7cfDMxDKcWA"}}});
    server.ask("POST", "/ocm/shares").body(owncloud.to_string()).expect(201).await;
    // The least that Nextcloud takes.
    let least = json!({"shareWith": format!("bob@{host}"), "name": "least", "providerId": 7, "owner": "x@c.example", "shareType": "user",
        "resourceType": "file", "protocol": {"name": "webdav", "options": {"sharedSecret": "s"}}});
    server.ask("POST", "/ocm/shares").body(least.to_string()).expect(201).await;
    let rows = received(&server, "bob").await;
    let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.owner.as_str(), row.state.as_str(), row.path.clone())).collect();
    let expected = [("pub", "alice@a.example"), ("fed", "alice@b.example/oc"), ("least", "x@c.example")];
    assert_eq!(told, expected.map(|(name, owner)| (name, owner, "pending", None)));
    assert!(names(&server, "bob", "/").await.is_empty(), "nothing is in the tree yet");
    let server = server.restart().await;
    assert_eq!(received(&server, "bob").await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn f14_a_replayed_offer_changes_nothing_and_no_other_takes_its_place() {
    let server = TestServer::with_user("bob").await;
    server.add_user("carol").await;
    let body = nextcloud(&bob(&server), "a.example", "9");
    let first = offer(&server, &body).await;
    assert_eq!(offer(&server, &body).await, first);
    // The same number with another secret, and from another server, are other shares.
    let with = |pointer: &str, value: &str| {
        let mut other = body.clone();
        *other.pointer_mut(pointer).unwrap() = json!(value);
        other
    };
    assert_ne!(offer(&server, &with("/protocol/options/sharedSecret", "another")).await, first);
    assert_ne!(offer(&server, &with("/owner", "alice@https://b.example")).await, first);
    // The same share for somebody else is none.
    let answer = post(&server, "/ocm/shares", &with("/shareWith", &format!("carol@{}", server.host()))).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let ids: Vec<u64> = received(&server, "bob").await.iter().map(|row| row.id).collect();
    assert_eq!((ids.len(), ids[0]), (3, first));
    assert!(received(&server, "carol").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn f11_what_cannot_be_taken_is_refused_with_the_status_that_servers_know() {
    let server = TestServer::with_user("bob").await;
    server.add_user("carol").await;
    server.execute(Command::Account { name: "carol".to_owned(), what: AccountCommand::Enable(false) }).await;
    let good = nextcloud(&bob(&server), "a.example", "9");
    let check = async |pointer: &str, value: Value, status: u16| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value.clone();
        let answer = post(&server, "/ocm/shares", &body).await;
        assert_eq!(answer.status, status, "{pointer} {value}: {}", answer.text());
        let told = parsed(&answer);
        assert!(told["message"].as_str().is_some_and(|text| !text.is_empty()) && told["validationErrors"].is_array(), "{told}");
        told
    };
    for field in ["/shareWith", "/name", "/providerId", "/owner", "/shareType"] {
        let told = check(field, json!(""), 400).await;
        assert_eq!(told["validationErrors"][0]["name"], field.trim_start_matches('/'), "{told}");
    }
    check("/shareWith", json!("bob"), 400).await;
    check("/shareWith", json!("bob@elsewhere.example"), 400).await;
    check("/shareWith", json!(format!("nobody@{}", server.host())), 400).await;
    check("/shareWith", json!(format!("carol@{}", server.host())), 400).await;
    check("/owner", json!("alice"), 400).await;
    check("/owner", json!(format!("bob@http://{}", server.host())), 400).await;
    check("/owner", json!(["a"]), 400).await;
    check("/sender", json!("a@b?c"), 400).await;
    check("/shareType", json!("group"), 400).await;
    check("/shareType", json!("federation"), 501).await;
    check("/resourceType", json!("calendar"), 501).await;
    check("/protocol/name", json!("webapp"), 501).await;
    check("/protocol", json!([]), 501).await;
    check("/protocol/options", json!([]), 400).await;
    check("/providerId", json!("9".repeat(300)), 400).await;
    check("/providerId", json!("9\n"), 400).await;
    for secret in ["", "a:b", "a b", "a\nb", "ä", &"x".repeat(129)] {
        check("/protocol/options/sharedSecret", json!(secret), 400).await;
    }
    let multi = |uri: &str, requirements: Value| json!({"name": "multi", "options": {}, "webdav": {"uri": uri, "sharedSecret": "s", "requirements": requirements}});
    for uri in
        ["https://evil.example/dav", "ftp://a.example/", "file:///etc/passwd", "relative", "https://me:pw@a.example/", "http://127.0.0.1/"]
    {
        check("/protocol", multi(uri, json!([])), 400).await;
    }
    let long = format!("https://a.example/{}", "ä".repeat(400));
    let told = check("/protocol", multi(&long, json!([])), 400).await;
    assert!(told["message"].as_str().unwrap().contains("2048"), "{told}");
    let mut https = good.clone();
    https["owner"] = json!("alice@a.example");
    https["sender"] = json!("alice@a.example");
    https["protocol"] = multi("http://a.example/dav", json!([]));
    assert_eq!(post(&server, "/ocm/shares", &https).await.status, 400, "a server with TLS is never asked without it");
    for requirement in ["must-use-mfa", "must-fly"] {
        check("/protocol", multi("https://a.example/dav", json!([requirement, "must-exchange-token"])), 501).await;
    }
    for body in ["", "[]", "7", "{", "null", "\u{0}"] {
        server.ask("POST", "/ocm/shares").body(body).expect(400).await;
        server.ask("POST", "/ocm/notifications").body(body).expect(400).await;
    }
    let long = json!({"description": "x".repeat(60_000)}).to_string();
    server.ask("POST", "/ocm/shares").body(long).expect(400).await;
    assert!(received(&server, "bob").await.is_empty());
    // Hostile names are made fit.
    let mut hostile = good.clone();
    hostile["name"] = json!("../..\u{0}/\u{202e}x");
    hostile["ownerDisplayName"] = json!("A\r\nlice\u{202e}");
    offer(&server, &hostile).await;
    assert_eq!(received(&server, "bob").await[0].name, ".._.._x");
    server.stop().await;
}

#[tokio::test]
async fn f4_guessing_users_and_secrets_is_slow() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("bob").await;
    let nobody = nextcloud(&format!("nobody@{}", server.host()), "a.example", "9");
    for number in 0..20 {
        let status = if number % 2 == 0 {
            post(&server, "/ocm/shares", &nobody).await.status
        } else {
            notify(&server, "SHARE_ACCEPTED", "9", &format!("guess{number}")).await
        };
        assert!(matches!(status, 400 | 403), "{status}");
    }
    let good = nextcloud(&bob(&server), "a.example", "9");
    let answer = post(&server, "/ocm/shares", &good).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(notify(&server, "SHARE_UNSHARED", "9", "guess").await, 429);
    let form =
        server.ask("POST", "/ocs/v2.php/cloud/shares/9/unshare?format=json").header("content-type", "application/x-www-form-urlencoded");
    form.body("token=guess").expect(429).await;
    clock.advance(60);
    offer(&server, &good).await;
    server.stop().await;
}

#[tokio::test]
async fn f8_an_offer_makes_no_outbound_call_before_it_is_answered() {
    let (server, sender) = with_sender(Clock::System).await;
    offer(&server, &nextcloud(&bob(&server), &sender.host(), "9")).await;
    offer(&server, &reva(&bob(&server), &sender, "uuid-1")).await;
    server.running().services.federation().round().await;
    assert_eq!(notify(&server, "SHARE_UNSHARED", "9", SECRET).await, 201);
    server.running().services.federation().round().await;
    assert_eq!(sender.seen(), Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn f11_strangers_fill_no_more_than_a_bounded_list() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    for user in ["bob", "carol", "dora"] {
        server.add_user(user).await;
    }
    // So many at once from one address, and then one in a minute.
    for number in 0..60 {
        let body = nextcloud(&bob(&server), &format!("h{number}.example"), "9");
        assert_eq!(post(&server, "/ocm/shares", &body).await.status, 201);
    }
    let next = nextcloud(&bob(&server), "h60.example", "9");
    let answer = post(&server, "/ocm/shares", &next).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("60")), "{}", answer.text());
    for number in 60..USER_OFFERS_MAX {
        clock.advance(60);
        let body = nextcloud(&bob(&server), &format!("h{number}.example"), "9");
        assert_eq!(post(&server, "/ocm/shares", &body).await.status, 201);
    }
    clock.advance(60);
    let answer = post(&server, "/ocm/shares", &nextcloud(&bob(&server), "one.more.example", "9")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    // What is known is answered as before, and others are not kept out.
    assert_eq!(post(&server, "/ocm/shares", &nextcloud(&bob(&server), "h7.example", "9")).await.status, 201);
    clock.advance(3600);
    // Whoever writes the name of a partner's server keeps it from one user at most.
    let to = |user: &str, id: usize| nextcloud(&format!("{user}@{}", server.host()), "partner.example", &id.to_string());
    for number in 0..20 {
        assert_eq!(post(&server, "/ocm/shares", &to("carol", number)).await.status, 201);
    }
    assert_eq!(post(&server, "/ocm/shares", &to("carol", 20)).await.status, 503);
    assert_eq!(post(&server, "/ocm/shares", &to("dora", 20)).await.status, 201);
    assert_eq!(received(&server, "bob").await.len(), USER_OFFERS_MAX);
    server.stop().await;
}

#[tokio::test]
async fn f11_what_nobody_answers_ends_and_nobody_is_told() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, sender) = with_sender(clock.clone()).await;
    let mut ending = reva(&bob(&server), &sender, "1");
    ending["expiration"] = json!(1_800_000_000 + 86_400);
    let first = offer(&server, &ending).await;
    let second = offer(&server, &nextcloud(&bob(&server), &sender.host(), "2")).await;
    let accepted = offer(&server, &nextcloud(&bob(&server), &sender.host(), "3")).await;
    accept(&server, accepted).await;
    let left = async |seconds: i64| {
        clock.advance(seconds);
        server.running().services.federation().round().await;
        received(&server, "bob").await.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(left(86_399).await, [first, second, accepted]);
    assert_eq!(left(1).await, [second, accepted]);
    assert_eq!(left(89 * 86_400 - 1).await, [second, accepted]);
    assert_eq!(left(1).await, [accepted]);
    assert!(sender.told().iter().all(|(kind, ..)| kind == "SHARE_ACCEPTED"), "{:?}", sender.told());
    server.stop().await;
}

#[tokio::test]
async fn f4_calls_for_what_is_gone_close_no_door() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock, |_config| {}).await;
    server.add_user("bob").await;
    server.put("bob", "/a.txt", "alpha").await;
    let link = server.link("bob", "/a.txt", "read").await;
    for number in 0..20 {
        assert_eq!(notify(&server, "SHARE_UNSHARED", &number.to_string(), "gone").await, 201);
    }
    assert_eq!(notify(&server, "SHARE_UNSHARED", "20", "gone").await, 429);
    assert_eq!(post(&server, "/ocm/shares", &nextcloud(&bob(&server), "a.example", "9")).await.status, 429);
    // Its users come to their files and links from the same address.
    assert_eq!(server.get("bob", "/a.txt").await, "alpha");
    server.ask("GET", &format!("/s/{}", link.url.rsplit('/').next().unwrap())).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn an_accepted_share_is_a_folder_in_the_receivers_tree() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    let mut body = nextcloud(&bob(&pair.bob), &pair.anna.host(), "9");
    body["protocol"]["options"]["sharedSecret"] = json!(link.url.rsplit('/').next().unwrap());
    let id = offer(&pair.bob, &body).await;
    let row = accept(&pair.bob, id).await;
    assert_eq!((row.path.as_deref(), row.owner, row.permissions), (Some("/pub"), format!("alice@{}", pair.anna.host()), 15));
    assert_eq!(names(&pair.bob, "bob", "/pub").await, ["a.txt"]);
    assert_eq!(pair.bob.get("bob", "/pub/a.txt").await, "from anna");
    pair.bob.put("bob", "/pub/b.txt", "from bob").await;
    assert_eq!(pair.anna.get("anna", "/Photos/b.txt").await, "from bob");
    let mounted = mounts(&pair.bob, "bob").await;
    assert_eq!((mounted[0].owner.as_str(), mounted[0].vendor.as_str()), (format!("Alice@{}", pair.anna.host()).as_str(), "Causeway"));
    // The secret is none that could be changed; accepting again is fine.
    let change = Command::MountPassword { id: mounted[0].id.to_string(), password: Secret::new("x") };
    pair.bob.refuse(change, Reason::Refused).await;
    accept(&pair.bob, id).await;
    let Pair { anna, bob } = pair;
    let bob = bob.restart().await;
    assert_eq!(bob.get("bob", "/pub/b.txt").await, "from bob");
    bob.put("bob", "/pub/c.txt", "after a restart").await;
    assert_eq!(anna.get("anna", "/Photos/c.txt").await, "after a restart");
    // No secret lies in the clear in the rows.
    bob.running().services.export().await.unwrap();
    let rows = std::fs::read_to_string(bob.data().join(".causeway/export.jsonl")).unwrap();
    assert!(!rows.contains(link.url.rsplit('/').next().unwrap()));
    bob.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id })).await;
    bob.ask_as("bob", "PROPFIND", "/pub").header("depth", "0").expect(404).await;
    assert!(received(&bob, "bob").await.is_empty() && mounts(&bob, "bob").await.is_empty());
    assert_eq!(anna.get("anna", "/Photos/c.txt").await, "after a restart");
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn a_secret_is_sent_as_its_server_takes_it() {
    let (server, sender) = with_sender(Clock::System).await;
    sender.take_bearer();
    let id = offer(&server, &reva(&bob(&server), &sender, "uuid-1")).await;
    // Twice at once, it is mounted once.
    let (row, _again) = tokio::join!(accept(&server, id), accept(&server, id));
    assert_eq!(mounts(&server, "bob").await.len(), 1);
    assert_eq!((row.path.as_deref(), row.expires.as_deref()), (Some("/Folder"), Some("2099-12-31")));
    assert_eq!(server.get("bob", "/Folder/a.txt").await, "alpha");
    sender.wait_told("SHARE_ACCEPTED", "uuid-1").await;
    let server = server.restart().await;
    server.running().services.mounting().retry(MountId(mounts(&server, "bob").await[0].id)).await.unwrap();
    server.stop().await;
    // One that knows no Bearer gets Basic.
    let (server, sender) = with_sender(Clock::System).await;
    let id = offer(&server, &reva(&bob(&server), &sender, "uuid-1")).await;
    accept(&server, id).await;
    assert_eq!(server.get("bob", "/Folder/a.txt").await, "alpha");
    // What is withdrawn there is told as such, and stays.
    sender.withdraw();
    let mount = mounts(&server, "bob").await[0].clone();
    server.refuse(Command::MountRetry { id: mount.id.to_string() }, Reason::NotFound).await;
    assert_eq!(mounts(&server, "bob").await[0].state, "withdrawn");
    server.running().services.federation().round().await;
    server.ask_as("bob", "PROPFIND", "/Folder").header("depth", "1").expect(503).await;
    assert_eq!(received(&server, "bob").await[0].state, "accepted");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_the_offer_as_it_is() {
    let (server, sender) = with_sender(Clock::System).await;
    let a = offer(&server, &nextcloud(&bob(&server), &sender.host(), "9")).await;
    let b = offer(&server, &reva(&bob(&server), &sender, "uuid-1")).await;
    sender.set_status(Some(503));
    for id in [a, b] {
        server.refuse(accepting(id), Reason::RemoteUnreachable).await;
    }
    sender.set_status(None);
    sender.withdraw();
    for id in [a, b] {
        server.refuse(accepting(id), Reason::Refused).await;
    }
    // F9: a host that may not be asked looks like one that does not answer.
    let private = offer(&server, &nextcloud(&bob(&server), "127.0.0.1:9", "9")).await;
    let refusal = server.refuse(accepting(private), Reason::RemoteUnreachable).await;
    assert!(!refusal.text.contains("private") && !refusal.text.contains("127.0.0.1"), "{}", refusal.text);
    assert!(received(&server, "bob").await.iter().all(|row| row.state == "pending"));
    assert!(mounts(&server, "bob").await.is_empty() && sender.told().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn f5_who_ends_a_share_knows_its_secret_and_ends_that_share_alone() {
    let (server, sender) = with_sender(Clock::System).await;
    let accepted = offer(&server, &reva(&bob(&server), &sender, "1")).await;
    accept(&server, accepted).await;
    let other = offer(&server, &reva(&bob(&server), &sender, "2")).await;
    accept(&server, other).await;
    let pending = offer(&server, &reva(&bob(&server), &sender, "3")).await;
    let ids = async || received(&server, "bob").await.iter().map(|row| row.id).collect::<Vec<_>>();
    // A wrong secret, an unknown number: answered as what is gone, and nothing happens.
    assert_eq!(notify(&server, "SHARE_UNSHARED", "1", "wrong").await, 201);
    assert_eq!(notify(&server, "SHARE_UNSHARED", "4", SECRET).await, 201);
    assert_eq!(ids().await, [accepted, other, pending]);
    for kind in ["SHARE_ACCEPTED", "SHARE_DECLINED", "REQUEST_RESHARE", "RESHARE_UNDO"] {
        assert_eq!(notify(&server, kind, "1", SECRET).await, 403, "{kind}: it is none that we sent");
    }
    assert_eq!(notify(&server, "SOMETHING", "1", SECRET).await, 501);
    assert_eq!(notify(&server, "SHARE_UNSHARED", "1", "").await, 400);
    assert_eq!(notify(&server, "SHARE_UNSHARED", "", SECRET).await, 400);
    for _ in 0..2 {
        assert_eq!(notify(&server, "SHARE_UNSHARED", "3", SECRET).await, 201);
        assert_eq!(notify(&server, "SHARE_UNSHARED", "1", SECRET).await, 201);
    }
    assert_eq!(ids().await, [other]);
    assert_eq!(names(&server, "bob", "/").await.iter().filter(|name| name.starts_with("Folder")).count(), 1);
    server.running().services.federation().round().await;
    assert!(!sender.told().iter().any(|(kind, ..)| kind == "SHARE_DECLINED"), "its own word is not sent back");
    server.stop().await;
}

#[tokio::test]
async fn whoever_unmounts_a_share_has_its_server_told() {
    let (server, sender) = with_sender(Clock::System).await;
    let mut numbers = Vec::new();
    for id in ["1", "2", "3", "4", "5"] {
        numbers.push(offer(&server, &reva(&bob(&server), &sender, id)).await);
    }
    for number in &numbers[..4] {
        accept(&server, *number).await;
    }
    // By WebDAV, by a command, and by the end of the account, which ends what waits, too.
    server.ask_as("bob", "DELETE", "/Folder").expect(204).await;
    sender.wait_told("SHARE_DECLINED", "1").await;
    let mount = mounts(&server, "bob").await[0].clone();
    server.execute(Command::MountRemove { id: mount.id.to_string() }).await;
    sender.wait_told("SHARE_DECLINED", "2").await;
    assert_eq!(received(&server, "bob").await.len(), 3);
    server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id: numbers[4] })).await;
    sender.wait_told("SHARE_DECLINED", "5").await;
    // A stop between the end of a mount and the word to its server: the mount is gone, the offer is there at the next start.
    let offers = server.running().services.store().list::<Offer>().unwrap();
    let third = offers.iter().find(|offer| offer.provider_id == "3").unwrap().clone();
    server.execute(Command::MountRemove { id: third.mount.unwrap().0.to_string() }).await;
    sender.wait_told("SHARE_DECLINED", "3").await;
    server.running().services.store().commit(Batch::new().put(&third)).await.unwrap();
    let told = || sender.told().iter().filter(|(kind, id, _)| kind == "SHARE_DECLINED" && id == "3").count();
    let before = told();
    let server = server.restart().await;
    until("the second word", PATIENCE, async || told() == before + 1).await;
    server.execute(Command::UserRemove { name: "bob".to_owned(), purge: true }).await;
    sender.wait_told("SHARE_DECLINED", "4").await;
    until("the end of all offers", PATIENCE, async || {
        server.running().services.federation().round().await;
        server.running().services.store().list::<Offer>().unwrap().is_empty()
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn an_accepting_that_a_stop_interrupted_is_finished_or_taken_back() {
    let (server, sender) = with_sender(Clock::System).await;
    let hung = offer(&server, &reva(&bob(&server), &sender, "1")).await;
    accept(&server, hung).await;
    sender.wait_told("SHARE_ACCEPTED", "1").await;
    let not_hung = offer(&server, &reva(&bob(&server), &sender, "2")).await;
    for offer in server.running().services.store().list::<Offer>().unwrap() {
        let mount = Some(offer.mount.unwrap_or(MountId(1 << 40)));
        let interrupted = Offer { state: ReceivedState::Pending, mount, ..offer };
        server.running().services.store().commit(Batch::new().put(&interrupted)).await.unwrap();
    }
    let server = server.restart().await;
    until("the second word", PATIENCE, async || sender.told().iter().filter(|(kind, ..)| kind == "SHARE_ACCEPTED").count() == 2).await;
    let states = async || received(&server, "bob").await.iter().map(|row| (row.id, row.state.clone())).collect::<Vec<_>>();
    let expected = [(hung, "accepted".to_owned()), (not_hung, "pending".to_owned())];
    until("both", PATIENCE, async || states().await == expected).await;
    accept(&server, not_hung).await;
    assert_eq!(server.get("bob", "/Folder%20(2)/a.txt").await, "alpha");
    assert_eq!(ShareId(not_hung), server.running().services.store().list::<Offer>().unwrap()[1].id);
    server.stop().await;
}

/// Polls a future so often and then drops it, as a connection that ends drops what it asked for.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (std::pin::pin!(future), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn an_accepting_whose_client_hangs_up_is_finished_or_taken_back_wherever_it_is() {
    let (server, sender) = with_sender(Clock::System).await;
    let services = &server.running().services;
    let user = services.accounts().require("bob").unwrap();
    let (mut polls, mut cut_off) = (1, 0);
    loop {
        let id = offer(&server, &reva(&bob(&server), &sender, &polls.to_string())).await;
        let done = dropped_after(polls, services.federation().accept(&user, ShareId(id))).await;
        // No start is needed: the store and the memory come to the same end.
        let agree = async || {
            services.federation().round().await;
            let offers = services.store().list::<Offer>().unwrap();
            let mounted = mounts(&server, "bob").await;
            let hangs = names(&server, "bob", "/").await.len();
            let accepted = received(&server, "bob").await[0].state == "accepted";
            let expected = usize::from(accepted);
            offers[0].mount.is_some() == accepted
                && (offers[0].state == ReceivedState::Accepted) == accepted
                && (mounted.len(), hangs, services.store().list::<Mount>().unwrap().len()) == (expected, expected, expected)
        };
        until(&format!("one state after {polls} polls"), PATIENCE, agree).await;
        // Accepted again it hangs once, declined it is gone.
        accept(&server, id).await;
        assert_eq!(mounts(&server, "bob").await.len(), 1, "{polls}");
        server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id })).await;
        assert!(mounts(&server, "bob").await.is_empty() && names(&server, "bob", "/").await.is_empty(), "{polls}");
        if done.is_some() {
            break;
        }
        (polls, cut_off) = (polls + 1, cut_off + 1);
    }
    assert!(cut_off > 3, "it was cut off at {cut_off} places");
    server.stop().await;
}

#[tokio::test]
async fn an_accepting_cut_off_and_answered_at_once_leaves_no_second_mount() {
    let (server, sender) = with_sender(Clock::System).await;
    let services = &server.running().services;
    let user = services.accounts().require("bob").unwrap();
    for polls in 1.. {
        let id = offer(&server, &reva(&bob(&server), &sender, &polls.to_string())).await;
        let done = dropped_after(polls, services.federation().accept(&user, ShareId(id))).await;
        if polls % 2 == 0 {
            accept(&server, id).await;
            assert_eq!(mounts(&server, "bob").await.len(), 1, "{polls}");
        }
        server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id })).await;
        let nothing = async || {
            mounts(&server, "bob").await.is_empty()
                && names(&server, "bob", "/").await.is_empty()
                && services.store().list::<Mount>().unwrap().is_empty()
        };
        until(&format!("the end after {polls} polls"), PATIENCE, nothing).await;
        if done.is_some() {
            break;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn f8_a_server_that_drips_keeps_no_other_offer_and_no_mount_waiting() {
    let (server, slow) = with_sender(Clock::System).await;
    let quick = Sender::start().await;
    server.execute(Command::RemoteAllowPrivate { host: quick.host() }).await;
    let stuck = offer(&server, &reva(&bob(&server), &slow, "1")).await;
    let other = offer(&server, &reva(&bob(&server), &quick, "2")).await;
    // Asked with a token and then with Basic it is mounted; further it does not answer.
    slow.stall_after(2);
    let accepting = accept(&server, stuck);
    let meanwhile = async {
        until("the first look at the mount", PATIENCE, async || slow.folder_asked() > 2).await;
        let soon = async {
            accept(&server, other).await;
            quick.wait_told("SHARE_ACCEPTED", "2").await;
            offer(&server, &reva(&bob(&server), &quick, "3")).await;
            let mount = mounts(&server, "bob").await.into_iter().find(|mount| mount.remote.contains(&quick.host())).unwrap();
            server.execute(Command::MountRemove { id: mount.id.to_string() }).await;
            slow.wait_told("SHARE_ACCEPTED", "1").await;
        };
        tokio::time::timeout(Duration::from_secs(5), soon).await.expect("nothing waits for the slow server");
        slow.stall_after(1000);
    };
    let (row, ()) = tokio::join!(accepting, meanwhile);
    assert_eq!(row.path.as_deref(), Some("/Folder"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_down_is_told_when_it_is_back_and_keeps_no_other_waiting() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, sender) = with_sender(clock.clone()).await;
    let other = Sender::start().await;
    server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
    let first = offer(&server, &nextcloud(&bob(&server), &sender.host(), "9")).await;
    let second = offer(&server, &nextcloud(&bob(&server), &sender.host(), "10")).await;
    let third = offer(&server, &nextcloud(&bob(&server), &other.host(), "9")).await;
    sender.leave().await;
    let decline = |id| Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id });
    for id in [first, second, third] {
        server.execute(decline(id)).await;
    }
    other.wait_told("SHARE_DECLINED", "9").await;
    let tries = |server: &TestServer| {
        let waiting = server.running().services.federation().waiting().unwrap();
        waiting.iter().map(|message| (message.tries, message.due - 1_800_000_000)).collect::<Vec<_>>()
    };
    until("the first try", PATIENCE, async || tries(&server) == [(1, 60), (0, 60)]).await;
    // What waits outlives a stop, is tried at the start, and then not before its time.
    let server = server.restart().await;
    until("the second try", PATIENCE, async || tries(&server) == [(2, 180), (0, 180)]).await;
    server.running().services.federation().round().await;
    assert_eq!(tries(&server), [(2, 180), (0, 180)]);
    clock.advance(180);
    server.running().services.federation().round().await;
    until("the third try", PATIENCE, async || tries(&server) == [(3, 720), (0, 720)]).await;
    sender.come_back().await;
    clock.advance(540);
    until("both words", PATIENCE, async || {
        server.running().services.federation().round().await;
        clock.advance(600);
        tokio::time::sleep(Duration::from_millis(50)).await;
        tries(&server).is_empty()
    })
    .await;
    let told = sender.told();
    assert_eq!(
        told.iter().map(|(kind, id, _)| (kind.as_str(), id.as_str())).collect::<Vec<_>>(),
        [("SHARE_DECLINED", "9"), ("SHARE_DECLINED", "10")]
    );
    server.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_server_is_told_once_and_in_order() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, sender) = with_sender(clock.clone()).await;
    let federation = server.running().services.federation();
    let to = CloudId::parse(&format!("alice@http://{}", sender.host())).unwrap();
    sender.set_status(Some(500));
    for number in 0..25 {
        // The second takes the place of the first.
        let notification = Notification::new("SHARE_UNSHARED", &number.to_string(), Secret::new(SECRET));
        federation.tell(&to, notification.clone()).await.unwrap();
        federation.tell(&to, notification.with("message", "again")).await.unwrap();
    }
    let other = Notification::new("SHARE_UNSHARED", "24", Secret::new("another share"));
    federation.tell(&to, other).await.unwrap();
    let put_off = async || {
        let waiting = federation.waiting().unwrap();
        waiting.len() == 26 && waiting.iter().all(|message| message.due == 1_800_000_060)
    };
    until("all are put off", PATIENCE, put_off).await;
    sender.set_status(None);
    clock.advance(60);
    let told = async || {
        federation.round().await;
        federation.waiting().unwrap().is_empty()
    };
    until("every word", PATIENCE, told).await;
    let expected: Vec<_> = (0..25).map(|number| (number, SECRET)).chain([(24, "another share")]).collect();
    let told = sender.told();
    let told: Vec<_> = told.iter().map(|(_, id, secret)| (id.parse().unwrap(), secret.as_str())).collect();
    assert_eq!(told, expected);
    server.stop().await;
}

#[tokio::test]
async fn f8_a_discovery_document_is_short() {
    let (server, sender) = with_sender(Clock::System).await;
    let id = offer(&server, &nextcloud(&bob(&server), &sender.host(), "9")).await;
    sender.pad(50_000);
    server.refuse(accepting(id), Reason::RemoteUnreachable).await;
    sender.pad(40_000);
    accept(&server, id).await;
    server.stop().await;
}

#[tokio::test]
async fn clients_of_both_families_list_and_answer_what_is_offered() {
    let (server, sender) = with_sender(Clock::System).await;
    const PATH: &str = "/apps/files_sharing/api/v1/remote_shares";
    let ocs = async |method: &str, path: &str, status: u16| {
        let ask = server.ask(method, &format!("/ocs/v2.php{PATH}{path}?format=json")).basic("bob", &password("bob"));
        parsed(&ask.header("ocs-apirequest", "true").expect(status).await)["ocs"]["data"].clone()
    };
    let first = offer(&server, &reva(&bob(&server), &sender, "1")).await;
    let second = offer(&server, &nextcloud(&bob(&server), &sender.host(), "13")).await;
    assert_eq!(ocs("GET", "", 200).await, json!([]));
    let pending = ocs("GET", "/pending", 200).await;
    let expected = json!({"id": second, "share_type": 6, "parent": -1, "remote": format!("http://{}/", sender.host()), "remote_id": "13",
        "share_token": "", "name": "/pub", "owner": "alice", "owner_display_name": "Alice", "user": "bob",
        "mountpoint": "{{TemporaryMountPointName#/pub}}", "accepted": 0, "expiration": null});
    assert_eq!((pending.as_array().unwrap().len(), &pending[1]), (2, &expected));
    assert_eq!(ocs("POST", &format!("/pending/{first}"), 200).await, json!([{"state": 0, "file_target": "/Folder"}]));
    assert_eq!(ocs("DELETE", &format!("/pending/{second}"), 200).await, json!([]));
    sender.wait_told("SHARE_DECLINED", "13").await;
    let accepted = ocs("GET", "", 200).await;
    let row = &accepted[0];
    assert_eq!((&row["mountpoint"], &row["accepted"], &row["type"]), (&json!("/Folder"), &json!(1), &json!("dir")));
    assert_eq!((&row["mimetype"], &row["expiration"]), (&json!("httpd/unix-directory"), &json!(4_102_444_800_u64)));
    assert_eq!(&ocs("GET", &format!("/{first}"), 200).await, row);
    assert_eq!(ocs("GET", "/all", 200).await.as_array().unwrap().len(), 1);
    // What is not there, is in another state or belongs to somebody else.
    server.add_user("carol").await;
    for (method, path) in [("GET", "/999"), ("GET", "/x"), ("DELETE", "/999"), ("POST", "/pending/999"), ("DELETE", "/pending/999")] {
        ocs(method, path, 404).await;
    }
    ocs("DELETE", &format!("/pending/{first}"), 404).await;
    let one = format!("/ocs/v2.php{PATH}/{first}?format=json");
    server.ask("DELETE", &one).basic("carol", &password("carol")).header("ocs-apirequest", "true").expect(404).await;
    server.ask("GET", &one).expect(401).await;
    let xml = server.ask("GET", &format!("/ocs/v1.php{PATH}/999")).basic("bob", &password("bob")).expect(200).await.text();
    assert!(xml.contains("<statuscode>404</statuscode>") && xml.contains("wrong share ID, share doesn't exist."), "{xml}");
    sender.set_status(Some(500));
    let third = offer(&server, &nextcloud(&bob(&server), &sender.host(), "14")).await;
    ocs("POST", &format!("/pending/{third}"), 503).await;
    sender.set_status(None);
    assert_eq!(ocs("DELETE", &format!("/{first}"), 200).await, json!([]));
    sender.wait_told("SHARE_DECLINED", "1").await;
    server.stop().await;
}

#[tokio::test]
async fn older_servers_offer_and_end_shares_by_forms() {
    let (server, sender) = with_sender(Clock::System).await;
    let form = async |path: &str, body: &str| {
        let ask = server.ask("POST", path).header("content-type", "application/x-www-form-urlencoded");
        let answer = ask.body(body).send().await;
        let code = parsed(&answer)["ocs"]["meta"]["statuscode"].as_u64().unwrap();
        (answer.status, code)
    };
    let share = format!("token={SECRET}&name=old&remoteId=8&owner=alice&remote=http%3A%2F%2F{}%2F", sender.host());
    let v1 = "/ocs/v1.php/cloud/shares?format=json";
    assert_eq!(form(v1, &format!("shareWith=bob&{share}")).await, (200, 100));
    assert_eq!(form("/ocs/v2.php/cloud/shares?format=json", &format!("shareWith=bob&{share}")).await, (200, 200), "the same again");
    // As Nextcloud falls back to it.
    let nextcloud = format!(
        "shareWith=bob&token=t2&name=pub&remoteId=9&owner=alice&ownerFederatedId=alice%40x&sharedBy=alice&\
        sharedByFederatedId=alice%40http%3A%2F%2F{0}&remote=http%3A%2F%2F{0}%2F&shareType=6",
        sender.host()
    );
    assert_eq!(form("/index.php/ocs/v2.php/cloud/shares?format=json", &nextcloud).await, (200, 200));
    assert_eq!(form(v1, &format!("shareWith=nobody&{share}")).await, (200, 400));
    assert_eq!(form(v1, "shareWith=bob&name=x").await, (200, 400));
    assert_eq!(form(v1, &format!("shareWith=bob&{share}&token={}", "x".repeat(129))).await, (200, 400));
    let rows = received(&server, "bob").await;
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["old", "pub"]);
    accept(&server, rows[0].id).await;
    assert_eq!(server.get("bob", "/old/a.txt").await, "alpha");
    assert_eq!(form("/ocs/v1.php/cloud/shares/9/unshare?format=json", "token=wrong").await, (200, 100));
    assert_eq!(received(&server, "bob").await.len(), 2);
    for _ in 0..2 {
        assert_eq!(form("/ocs/v1.php/cloud/shares/9/unshare?format=json", "token=t2").await, (200, 100));
    }
    assert_eq!(form("/ocs/v2.php/cloud/shares/8/unshare?format=json", &format!("token={SECRET}")).await, (200, 200));
    assert!(received(&server, "bob").await.is_empty() && mounts(&server, "bob").await.is_empty());
    for verb in ["accept", "decline", "reshare", "revoke", "permissions"] {
        assert_eq!(
            form(&format!("/ocs/v2.php/cloud/shares/8/{verb}?format=json"), "token=x&permissions=1&shareWith=a@b").await,
            (403, 403),
            "{verb}"
        );
    }
    assert_eq!(form("/ocs/v2.php/cloud/shares/8/other?format=json", "token=x").await, (404, 998));
    server.ask("GET", "/ocs/v2.php/cloud/shares").expect(405).await;
    let long = format!("token={}", "x".repeat(100_000));
    assert_eq!(form(v1, &long).await, (200, 400));
    server.stop().await;
}

#[tokio::test]
async fn two_of_our_servers_share_with_each_other_from_offer_to_end() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    pair.anna.put("anna", "/one.txt", "one").await;
    let to_bob = format!("bob@http://{}", pair.bob.host());
    let state = async || shared(&pair.anna, "anna").await.iter().map(|row| row.state.clone().unwrap()).collect::<Vec<_>>();
    let photos = share(&pair.anna, "anna", "/Photos", &to_bob, "15").await;
    share(&pair.anna, "anna", "/one.txt", &to_bob, "3").await;
    assert_eq!(state().await, ["pending", "pending"]);
    let offered = received(&pair.bob, "bob").await;
    let told: Vec<_> = offered.iter().map(|row| (row.name.as_str(), row.kind.as_str(), row.state.as_str())).collect();
    assert_eq!(told, [("Photos", "folder", "pending"), ("one.txt", "file", "pending")]);
    for row in &offered {
        accept(&pair.bob, row.id).await;
    }
    until("both answers", PATIENCE, async || state().await == ["accepted", "accepted"]).await;
    assert_eq!(names(&pair.bob, "bob", "/").await, ["Photos", "one.txt"]);
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    pair.bob.put("bob", "/Photos/b.txt", "from bob").await;
    pair.bob.put("bob", "/one.txt", "two").await;
    assert_eq!((pair.anna.get("anna", "/Photos/b.txt").await, pair.anna.get("anna", "/one.txt").await), ("from bob".into(), "two".into()));
    // Bob takes the file out of his tree, anna ends what is left.
    pair.bob.ask_as("bob", "DELETE", "/one.txt").expect(204).await;
    until("the end at anna's", PATIENCE, async || state().await == ["accepted"]).await;
    assert_eq!(pair.anna.get("anna", "/one.txt").await, "two");
    remove(&pair.anna, photos.id).await;
    until("the end at bob's", PATIENCE, async || received(&pair.bob, "bob").await.is_empty()).await;
    assert!(names(&pair.bob, "bob", "/").await.is_empty() && mounts(&pair.bob, "bob").await.is_empty());
    assert_eq!(pair.anna.get("anna", "/Photos/b.txt").await, "from bob");
    pair.stop().await;
}

#[tokio::test]
async fn an_answer_waits_for_its_server_however_much_else_does() {
    let (server, sender) = with_sender(Clock::System).await;
    let id = offer(&server, &nextcloud(&bob(&server), &sender.host(), "9")).await;
    sender.leave().await;
    let federation = server.running().services.federation();
    let to = CloudId::parse(&format!("alice@{}", sender.host())).unwrap();
    let mut told = 0;
    while federation.tell(&to, Notification::new("SHARE_UNSHARED", &format!("other{told}"), Secret::new("s"))).await.is_ok() {
        told += 1;
    }
    assert_eq!(told, OUTBOX_HOST_MAX);
    server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id })).await;
    let waiting = federation.waiting().unwrap();
    assert_eq!((waiting.len(), waiting.last().map(|last| last.kind.as_str())), (OUTBOX_HOST_MAX + 1, Some("SHARE_DECLINED")));
    server.stop().await;
}
