//! Servers that meet in ways that nobody planned: both share at once, shares go round in circles, clocks disagree, and discovery lies.

use std::time::Duration;

use causeway::config::Config;
use causeway::domain::{Clock, CloudId, Secret};
use causeway::limits::SHARE_HOPS_MAX;
use causeway::service::Reason;
use causeway::service::admin::{Command, Outcome, ShareCommand, ShareTerms};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::bad_remote::BadRemote;
use crate::support::federation::{PATIENCE, etag, impatient, names, transfer, until};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::{Pair, TestServer};
use crate::support::sharing::{create, received, remove, share, shared};

/// Takes everything that is offered to a user.
async fn accept_all(server: &TestServer, user: &str) {
    for row in received(server, user).await {
        let taken = server.execute(Command::Share(ShareCommand::Accept { user: user.to_owned(), id: row.id })).await;
        assert!(matches!(taken, Outcome::ReceivedShare(_)), "{taken:?}");
    }
}

async fn all_accepted(server: &TestServer, user: &str, count: usize) {
    until("the answers", PATIENCE, async || {
        let rows = shared(server, user).await;
        rows.len() == count && rows.iter().all(|row| row.state.as_deref() == Some("accepted"))
    })
    .await;
}

#[tokio::test]
async fn two_servers_share_with_each_other_at_the_same_moment() {
    const SHARES: usize = 6;
    let pair = Pair::start().await;
    for number in 0..SHARES {
        for (server, user) in [(&pair.anna, "anna"), (&pair.bob, "bob")] {
            server.mkcol(user, &format!("/Same{number}")).await;
            server.put(user, &format!("/Same{number}/a.txt"), &format!("{user}'s {number}")).await;
        }
    }
    let (to_bob, to_anna) = (format!("bob@{}", pair.bob.host()), format!("anna@{}", pair.anna.host()));
    let sending = |server, user, to| async move {
        let all = (0..SHARES).map(|number| async move { share(server, user, &format!("/Same{number}"), to, "edit").await });
        let _all = Box::pin(futures_util::future::join_all(all.collect::<Vec<_>>())).await;
    };
    let crossing = async {
        tokio::join!(sending(&pair.anna, "anna", &*to_bob), sending(&pair.bob, "bob", &*to_anna));
        tokio::join!(accept_all(&pair.anna, "anna"), accept_all(&pair.bob, "bob"));
        tokio::join!(all_accepted(&pair.anna, "anna", SHARES), all_accepted(&pair.bob, "bob", SHARES));
    };
    Box::pin(timeout(PATIENCE, crossing)).await.expect("nobody waits for the other for ever");
    for number in 0..SHARES {
        let path = format!("/Same{number}%20(2)/a.txt");
        // Both at once, each through the other.
        let (from_bob, from_anna) = tokio::join!(pair.anna.get("anna", &path), pair.bob.get("bob", &path));
        assert_eq!((from_bob, from_anna), (format!("bob's {number}"), format!("anna's {number}")));
        tokio::join!(pair.anna.put("anna", &path, "anna was here"), pair.bob.put("bob", &path, "bob was here"));
    }
    assert_eq!(pair.anna.get("anna", "/Same0/a.txt").await, "bob was here");
    assert_eq!(pair.bob.get("bob", "/Same0/a.txt").await, "anna was here");
    // And let go at once: one by its owner, while the other lets go of it itself.
    let (ours, theirs) = (shared(&pair.anna, "anna").await[0].id, received(&pair.anna, "anna").await[0].id);
    let declining = pair.anna.execute(Command::Share(ShareCommand::Decline { user: "anna".to_owned(), id: theirs }));
    tokio::join!(remove(&pair.anna, ours), declining);
    until("both ends", PATIENCE, async || {
        shared(&pair.bob, "bob").await.len() == SHARES - 1 && received(&pair.bob, "bob").await.len() == SHARES - 1
    })
    .await;
    pair.stop().await;
}

#[tokio::test]
async fn f13_shares_that_lead_into_each_other_end_in_508_and_hold_up_nothing() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Loop").await;
    pair.anna.put("anna", "/Loop/a.txt", "from anna").await;
    pair.bob.mkcol("bob", "/Back").await;
    pair.bob.mkcol("bob", "/Third").await;
    for path in ["/Back", "/Third"] {
        share(&pair.bob, "bob", path, &format!("anna@{}", pair.anna.host()), "edit").await;
    }
    let offers = received(&pair.anna, "anna").await;
    let (back, third) = (offers[0].id, offers[1].id);
    let accept = |id| Command::Share(ShareCommand::Accept { user: "anna".to_owned(), id });
    pair.anna.execute(accept(back)).await;
    share(&pair.anna, "anna", "/Loop", &format!("bob@{}", pair.bob.host()), "edit").await;
    accept_all(&pair.bob, "bob").await;
    transfer(&pair.bob, "bob", "MOVE", "/Loop", "/Third/Loop").expect(201).await;
    // What is seen to lead back is not taken at all; what is led back afterwards cannot be known in time.
    assert!(pair.anna.refuse(accept(third), Reason::Refused).await.text.contains("leads back to this server"));
    transfer(&pair.bob, "bob", "MOVE", "/Third/Loop", "/Back/Loop").expect(201).await;
    transfer(&pair.anna, "anna", "MOVE", "/Back", "/Loop/Back").expect(201).await;
    let walk = async {
        assert_eq!(names(&pair.anna, "anna", "/Loop").await, ["Back", "a.txt"]);
        until("what came into the other's folder", PATIENCE, async || names(&pair.anna, "anna", "/Loop/Back").await == ["Loop"]).await;
        let (mut path, mut statuses) = ("/Loop".to_owned(), vec![]);
        for _ in 0..4 {
            path.push_str("/Back/Loop");
            statuses.push(pair.anna.ask_as("anna", "PROPFIND", &path).header("depth", "1").send().await.status);
        }
        assert!(statuses.iter().all(|status| matches!(status, 207 | 508)) && statuses.last() == Some(&508), "{statuses:?}");
        transfer(&pair.anna, "anna", "COPY", "/Loop", "/Copy").send().await;
        assert_eq!(pair.anna.get("anna", "/Loop/a.txt").await, "from anna");
        assert_eq!(pair.bob.get("bob", "/Back/Loop/a.txt").await, "from anna");
        pair.bob.put("bob", "/Back/Loop/b.txt", "from bob").await;
        assert_eq!(pair.anna.get("anna", "/Loop/b.txt").await, "from bob");
    };
    timeout(PATIENCE, walk).await.expect("a circle holds nobody up");
    // It comes to rest: nobody's etag goes on for ever because of the other's.
    let calm = async || {
        let before = (etag(&pair.anna, "anna", "/").await, etag(&pair.bob, "bob", "/").await);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        before == (etag(&pair.anna, "anna", "/").await, etag(&pair.bob, "bob", "/").await)
    };
    until("calm", PATIENCE, calm).await;
    pair.stop().await;
}

#[tokio::test]
async fn f13_f7_receivers_who_share_on_in_a_circle_come_to_an_end_and_end_with_the_first() {
    let server = TestServer::with_user("anna").await;
    let peers = [OcmPeer::start(Habit::Nextcloud).await, OcmPeer::start(Habit::Nextcloud).await];
    for peer in &peers {
        server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    }
    server.mkcol("anna", "/Photos").await;
    let first = share(&server, "anna", "/Photos", &peers[0].address_of("bob"), "19").await.id;
    let ask = async |offer: &Value, with: &str| {
        let secret = Secret::new(offer["protocol"]["options"]["sharedSecret"].as_str().unwrap());
        let to = CloudId::parse(with).unwrap().to_string();
        let federation = server.running().services.federation();
        federation.on_reshare_request(offer["providerId"].as_str().unwrap(), &secret, &to, "41").await
    };
    // Nobody is given what is theirs, or what they give.
    let home = format!("anna@{}", server.host());
    assert!(ask(&peers[0].offer(), &home).await.is_err() && ask(&peers[0].offer(), &peers[0].address_of("bob")).await.is_err());
    // Bob to carol, carol to bob, and so on, each of what the other gave.
    let users = ["bob", "carol"];
    let mut hops = 0;
    while ask(&peers[hops % 2].offer(), &peers[(hops + 1) % 2].address_of(users[(hops + 1) % 2])).await.is_ok() {
        hops += 1;
        assert!(hops <= SHARE_HOPS_MAX, "the circle is endless");
    }
    assert!(hops >= 1 && shared(&server, "anna").await.len() == hops + 1);
    remove(&server, first).await;
    assert!(shared(&server, "anna").await.is_empty());
    for offer in peers.iter().flat_map(OcmPeer::offers) {
        let secret = offer["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned();
        server.ask("PROPFIND", "/public.php/webdav/").basic(&secret, "").expect(401).await;
    }
    server.stop().await;
}

/// Noon of 2026-11-22.
const NOON: i64 = 1_795_348_800;

async fn at(seconds: i64, user: &str) -> TestServer {
    let server = TestServer::start_with(Clock::fixed(seconds), |_config: &mut Config| {}).await;
    server.add_user(user).await;
    server
}

/// Anna's clock and bob's, each an hour off, in one direction.
async fn check_skew(anna_off: i64, bob_off: i64) {
    let pair = Pair { anna: at(NOON + anna_off, "anna").await, bob: at(NOON + bob_off, "bob").await };
    let Pair { anna, bob } = pair;
    anna.execute(Command::RemoteAllowPrivate { host: bob.host() }).await;
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "one").await;
    let with = format!("bob@{}", bob.host());
    let last_day = ShareTerms { permissions: Some("edit".to_owned()), expires: Some("2026-11-22".to_owned()), note: None };
    let terms = ShareCommand::Create { user: "anna".to_owned(), path: "/Photos".to_owned(), with, terms: last_day };
    anna.execute(Command::Share(terms)).await;
    accept_all(&bob, "bob").await;
    all_accepted(&anna, "anna", 1).await;
    // Etags are no times: what one changes the other sees, whoever is ahead, and a stale one writes nothing.
    let mut seen = vec![etag(&bob, "bob", "/Photos").await];
    for number in 0..3 {
        let (file, text) = ("/Photos/a.txt", format!("change {number}"));
        let stale = etag(&bob, "bob", file).await;
        anna.put("anna", file, &text).await;
        assert_eq!(bob.get("bob", file).await, text);
        bob.ask_as("bob", "PUT", file).header("if-match", &stale).body("x").expect(412).await;
        let fresh = etag(&bob, "bob", file).await;
        bob.ask_as("bob", "PUT", file).header("if-match", &fresh).body("from bob").expect(204).await;
        until("another etag", PATIENCE, async || seen.last() != Some(&etag(&bob, "bob", "/Photos").await)).await;
        let now = etag(&bob, "bob", "/Photos").await;
        assert!(!seen.contains(&now), "{now} of {seen:?}");
        seen.push(now);
    }
    // What the other cannot be told now waits by our own clock alone, and is told.
    let second = share(&anna, "anna", "/Photos/a.txt", &format!("bob@{}", bob.host()), "read").await.id;
    let bob = bob.sleep().await;
    remove(&anna, second).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let bob = bob.wake().await;
    assert_eq!(received(&bob, "bob").await.len(), 2);
    until("the end", PATIENCE, async || {
        anna.clock().advance(30);
        anna.running().services.federation().round().await;
        received(&bob, "bob").await.len() == 1
    })
    .await;
    // The last day is over when it is over at the owner's, and not before.
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "from bob");
    anna.clock().advance(12 * 3600);
    until("the last day's end", PATIENCE, async || bob.ask_as("bob", "GET", "/Photos/a.txt").send().await.status != 200).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from bob");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn an_hour_between_clocks_changes_nothing_where_the_owner_is_ahead() {
    check_skew(3600, 0).await;
}

#[tokio::test]
async fn an_hour_between_clocks_changes_nothing_where_the_receiver_is_ahead() {
    check_skew(0, 3600).await;
}

#[tokio::test]
async fn f8_discovery_that_lies_leads_nowhere_and_leaves_nothing() {
    let server = impatient("anna").await;
    let (peer, elsewhere) = (OcmPeer::start(Habit::Nextcloud).await, BadRemote::start().await);
    for host in [peer.host(), elsewhere.host(), elsewhere.host().replace("127.0.0.1", "localhost")] {
        server.execute(Command::RemoteAllowPrivate { host }).await;
    }
    server.mkcol("anna", "/Photos").await;
    let named = |end_point: &str| {
        json!({"enabled": true, "apiVersion": "1.1.0", "endPoint": end_point, "resourceTypes": [
        {"name": "file", "shareTypes": ["user"], "protocols": {"webdav": "/public.php/webdav/"}}]})
    };
    let other = elsewhere.host().replace("127.0.0.1", "localhost");
    let lies = [
        named(&format!("http://{other}/ocm")),
        named(&format!("http://user:pw@{}/ocm", peer.host())),
        named(&format!("http://{}@{other}/ocm", peer.host())),
        named("file:///etc/passwd"),
        named("//localhost/ocm"),
        named(""),
        json!({"enabled": "yes", "endPoint": 7}),
        json!([1, 2, 3]),
        json!({"enabled": true, "endPoint": format!("http://{}/{}", peer.host(), "x".repeat(4000))}),
    ];
    for lie in lies {
        peer.say(Some(lie.clone()));
        let refusal = server.running().services.execute(create("anna", "/Photos", &peer.address_of("bob"), "read")).await.unwrap_err();
        assert!(matches!(refusal.reason, Reason::Refused | Reason::RemoteUnreachable), "{lie}: {}", refusal.text);
        assert!(!refusal.text.contains("pw@") && !refusal.text.contains("localhost"), "{}", refusal.text);
        assert!(shared(&server, "anna").await.is_empty() && peer.offers().is_empty(), "{lie}");
        assert!(elsewhere.take_seen().is_empty(), "{lie}");
    }
    // It is asked anew each time: who mends it is heard at once.
    peer.say(None);
    share(&server, "anna", "/Photos", &peer.address_of("bob"), "read").await;
    server.stop().await;
}
