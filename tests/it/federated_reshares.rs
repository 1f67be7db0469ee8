//! What receivers on other servers have this one do with shares: sharing on, and answers to it, while that is allowed and no further.

use std::time::Duration;

use causeway::domain::{Permissions, Secret, Share, ShareId, ShareWith, UserName};
use causeway::limits::CLOUD_RESHARES_MAX;
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command};
use causeway::service::federation::Federation;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::federation::{PATIENCE, until};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::TestServer;
use crate::support::sharing::{group_of, share, shared, users};

/// Anna's `/Photos`, shared with bob of another server, who may share it on.
struct Sent {
    server: TestServer,
    bobs: OcmPeer,
    id: u64,
    secret: String,
}

async fn sent() -> Sent {
    let (server, bobs) = (users(&["anna", "carol"]).await, OcmPeer::start(Habit::Nextcloud).await);
    server.execute(Command::RemoteAllowPrivate { host: bobs.host() }).await;
    let id = share(&server, "anna", "/Photos", &bobs.address_of("bob"), "19").await.id;
    let secret = bobs.offer()["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned();
    Sent { server, bobs, id, secret }
}

impl Sent {
    fn federation(&self) -> &Federation {
        self.server.running().services.federation()
    }

    /// The status of bob's server asking for a share with somebody.
    async fn ask(&self, with: &str) -> u16 {
        let about = json!({"sharedSecret": self.secret, "shareWith": with, "senderId": "41"});
        let body = json!({"notificationType": "REQUEST_RESHARE", "resourceType": "file", "providerId": self.id.to_string(), "notification": about});
        self.server.ask("POST", "/ocm/notifications").body(body.to_string()).send().await.status
    }

    async fn door(&self) -> u16 {
        self.server.ask("PROPFIND", "/public.php/webdav/").basic(&self.secret, "").send().await.status
    }

    async fn rule(&self, key: &str, value: &str) {
        self.server.execute(Command::Sharing { set: Some((key.to_owned(), value.to_owned())) }).await;
    }

    /// The reason for which bob's server may not make the share smaller.
    async fn smaller(&self) -> Option<Reason> {
        let (id, secret) = (self.id.to_string(), Secret::new(&self.secret));
        self.federation().on_permissions(&id, &secret, Permissions::ALL).await.err().map(|refusal| refusal.reason)
    }
}

#[tokio::test]
async fn f7_nothing_is_shared_on_while_that_is_not_allowed() {
    let sent = sent().await;
    let account = |on| Command::Account { name: "anna".to_owned(), what: AccountCommand::Enable(on) };
    let carol = format!("carol@{}", sent.server.host());
    sent.rule("outgoing", "off").await;
    for with in [&carol, &sent.bobs.address_of("amy")] {
        assert_eq!((sent.ask(with).await, sent.smaller().await), (503, Some(Reason::Failed)));
    }
    sent.rule("outgoing", "on").await;
    sent.server.execute(account(false)).await;
    assert_eq!((sent.ask(&carol).await, sent.smaller().await), (503, Some(Reason::Failed)));
    sent.server.execute(account(true)).await;
    assert_eq!(shared(&sent.server, "anna").await.len(), 1);
    assert_eq!((sent.ask(&carol).await, sent.smaller().await), (201, None));
    sent.server.stop().await;
}

#[tokio::test]
async fn f7_the_sharer_s_groups_close_a_door_like_the_owner_s() {
    let (server, peer) = (users(&["anna", "bob"]).await, OcmPeer::start(Habit::Nextcloud).await);
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "bob", "/Photos", &peer.address_of("amy"), "read").await;
    let secret = peer.offer()["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned();
    let door = || server.ask("PROPFIND", "/public.php/webdav/").basic(&secret, "");
    door().expect(207).await;
    group_of(&server, "pupils", &["bob"]).await;
    server.execute(Command::Sharing { set: Some(("outgoing_except".to_owned(), "pupils".to_owned())) }).await;
    door().expect(503).await;
    server.stop().await;
}

#[tokio::test]
async fn f9_who_names_servers_that_do_not_answer_has_to_wait_and_keeps_what_is_theirs() {
    let sent = sent().await;
    let mut statuses = Vec::new();
    for number in 0..40 {
        statuses.push(sent.ask(&format!("user{number}@127.0.0.1:1")).await);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!((statuses[0], statuses.last()), (403, Some(&429)), "{statuses:?}");
    assert_eq!((sent.door().await, sent.smaller().await, shared(&sent.server, "anna").await.len()), (207, None, 1));
    sent.server.stop().await;
}

#[tokio::test]
async fn f7_receivers_of_receivers_share_on_within_the_bound_of_the_first() {
    let sent = sent().await;
    let shares = sent.server.running().services.forest().shares().clone();
    let first = shares.get(ShareId(sent.id)).unwrap();
    let mut parent = ShareId(sent.id);
    for number in 0..u64::try_from(CLOUD_RESHARES_MAX).unwrap() {
        let id = ShareId(1_000_000 + number);
        let with = ShareWith::User(UserName::parse(&format!("user{number}")).unwrap());
        let made = Share { id, with, parent: Some(parent), ..Share::clone(&first) };
        shares.change().await.put(Some(made), Vec::new()).await.unwrap();
        // One child of the first, and the others below that one.
        parent = ShareId(1_000_000);
    }
    assert_eq!(sent.ask(&format!("carol@{}", sent.server.host())).await, 403);
    sent.server.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_said_again_is_passed_on_once() {
    let sent = sent().await;
    let (id, key) = (sent.id.to_string(), Secret::new(&sent.secret));
    let (second, number) = sent.federation().on_reshare_request(&id, &key, &sent.bobs.address_of("amy"), "41").await.unwrap();
    for _ in 0..3 {
        sent.federation().on_accepted(&number, &second).await.unwrap();
    }
    sent.federation().on_declined(&number, &second).await.unwrap();
    sent.bobs.wait_told("SHARE_DECLINED", "41").await;
    let told: Vec<Value> = sent.bobs.told().into_iter().map(|told| told["notificationType"].clone()).collect();
    assert_eq!(told, ["SHARE_ACCEPTED", "SHARE_DECLINED"]);
    sent.server.stop().await;
}

#[tokio::test]
async fn who_asks_for_a_share_with_a_slow_server_is_answered_in_under_a_second() {
    let (sent, slow) = (sent().await, OcmPeer::start(Habit::Nextcloud).await);
    sent.server.execute(Command::RemoteAllowPrivate { host: slow.host() }).await;
    slow.hold();
    let begun = std::time::Instant::now();
    assert_eq!(sent.ask(&slow.address_of("amy")).await, 201);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    slow.wait_offer(1).await;
    let state = async || shared(&sent.server, "anna").await.get(1).and_then(|row| row.state.clone());
    assert_eq!(state().await.as_deref(), Some("sending"));
    slow.let_go();
    until("the slow answer", PATIENCE, async || state().await.as_deref() == Some("pending")).await;
    assert!(sent.bobs.told().is_empty(), "all is well: {:?}", sent.bobs.told());
    sent.server.stop().await;
}

#[tokio::test]
async fn who_was_answered_before_a_slow_server_refused_is_told_that_there_is_no_share() {
    let sent = sent().await;
    // Takes connections and closes them a while later: no endpoint is found there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    sent.server.execute(Command::RemoteAllowPrivate { host: host.clone() }).await;
    let silent = async {
        let mut held = Vec::new();
        let taking = async {
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        };
        // Longer than an asker waits.
        drop(tokio::time::timeout(Duration::from_millis(1500), taking).await);
    };
    let asking = async {
        let begun = std::time::Instant::now();
        let status = sent.ask(&format!("amy@{host}")).await;
        (status, begun.elapsed())
    };
    let ((), (status, took)) = tokio::join!(silent, asking);
    assert!(status == 201 && took < Duration::from_secs(1), "{status} after {took:?}");
    drop(listener);
    let told = sent.bobs.wait_told("RESHARE_UNDO", "41").await;
    assert!(told["notification"]["sharedSecret"].is_string());
    assert_eq!(shared(&sent.server, "anna").await.len(), 1);
    sent.server.stop().await;
}
