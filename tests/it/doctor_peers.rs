//! What the doctor says of the servers of users (`causeway doctor bob@host`): one test for each way in which they do not take shares.

use causeway::service::admin::Command;
use causeway::service::doctor::Fault;

use crate::support::exam::{Exam, Found};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::raw::{Act, Asked, Raw, reply};
use crate::support::server::Pair;

/// A document that is well, with the host that was asked.
fn document(asked: &Asked) -> String {
    format!(
        r#"{{"enabled":true,"apiVersion":"1.1.0","provider":"Nextcloud","endPoint":"http://{}/ocm",
           "resourceTypes":[{{"name":"file","shareTypes":["user"],"protocols":{{"webdav":"/public.php/webdav/"}}}}]}}"#,
        asked.header("host").unwrap()
    )
}

/// Looks at a server that is well but for what this answers.
async fn look(unwell: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) -> Found {
    let answer = move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/ocm-provider/") => reply(200, &[], document(asked)),
        ("GET", "/status.php") => reply(200, &[], r#"{"version":"31.0.2.1","versionstring":"31.0.2","productname":"Nextcloud"}"#),
        ("POST", "/ocm/shares") => reply(400, &[], r#"{"message":"Missing arguments"}"#),
        _ => reply(404, &[], ""),
    };
    let remote = Raw::http(move |asked| unwell(asked).unwrap_or_else(|| answer(asked))).await;
    Exam::of(&remote.host()).look(&format!("bob@http://{}", remote.host())).await
}

/// The same, where the document alone is changed.
async fn saying(from: &'static str, to: &'static str) -> Found {
    look(move |asked| (asked.path == "/ocm-provider/").then(|| reply(200, &[], document(asked).replace(from, to)))).await
}

/// The same, where both places of the document answer so.
async fn discovery(answer: impl Fn() -> Act + Send + Sync + 'static) -> Found {
    look(move |asked| (asked.path == "/ocm-provider/" || asked.path == "/.well-known/ocm").then(&answer)).await
}

/// The same, where the endpoint of shares answers so.
async fn shares(status: u16) -> Found {
    look(move |asked| (asked.method == "POST").then(|| reply(status, &[], ""))).await
}

#[tokio::test]
async fn a_peer_that_is_well_is_told_by_what_it_is() {
    let found = look(|_| None).await;
    found.is_well();
    let what = found.0.iter().find(|row| row.name == "what it is").unwrap();
    assert_eq!(what.text, "a Nextcloud 31.0.2");
}

#[tokio::test]
async fn recorded_peers_are_well() {
    for habit in [Habit::OwnCloud, Habit::Nextcloud, Habit::Reva] {
        let peer = OcmPeer::start(habit).await;
        Exam::of(&peer.host()).look(&peer.address_of("bob")).await.is_well();
        assert!(peer.offers().is_empty(), "nothing is offered to it");
    }
}

#[tokio::test]
async fn a_causeway_is_well_for_another() {
    let pair = Pair::start().await;
    let found = Found(pair.anna.running().services.check_link(&format!("bob@{}", pair.bob.host()), None).await);
    found.is_well();
    assert!(found.0.iter().any(|row| row.text.starts_with("a Causeway")), "{found:?}");
    pair.anna.execute(Command::Sharing { set: Some(("outgoing".to_owned(), "off".to_owned())) }).await;
    let found = Found(pair.anna.running().services.check_link(&format!("bob@{}", pair.bob.host()), None).await);
    assert!(found.has(Fault::OutgoingOff, "outgoing-off").contains("causeway sharing set outgoing on"));
    pair.stop().await;
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached() {
    let peer = OcmPeer::start(Habit::Nextcloud).await;
    peer.leave().await;
    Exam::of(&peer.host()).look(&peer.address_of("bob")).await.has(Fault::PortRefused, "port-refused");
    Exam::of("x").look("bob@cloud.example").await.has(Fault::NoSuchName, "no-such-name");
    Exam::of("x").look("bob@127.0.0.1:1").await.has(Fault::PrivateAddress, "private-address");
}

#[tokio::test]
async fn a_web_server_that_takes_no_shares() {
    let found = look(|asked| Some(reply(404, &[], asked.path.clone()))).await;
    assert!(found.has(Fault::NoPeer, "no-peer").contains("behind the @"));
}

#[tokio::test]
async fn a_peer_of_older_calls() {
    let found = discovery(|| reply(404, &[], "")).await;
    found.has(Fault::OlderCalls, "older-calls");
}

#[tokio::test]
async fn discovery_that_does_not_come() {
    let hangs = Raw::http(|_| Act::Hold(Vec::new())).await;
    let found = Exam::of(&hangs.host()).hasty().look(&format!("bob@http://{}", hangs.host())).await;
    found.has(Fault::DiscoveryHangs, "discovery-hangs");
    discovery(|| Act::Say(Vec::new())).await.has(Fault::DiscoveryFails, "discovery-fails");
    discovery(|| reply(500, &[], "")).await.has(Fault::DiscoveryFails, "discovery-fails");
    discovery(|| reply(401, &[], "")).await.has(Fault::DiscoveryRefused, "discovery-refused");
    discovery(|| reply(429, &[], "")).await.has(Fault::Throttled, "throttled");
    let away = || reply(302, &[("location", "https://other.example/")], "");
    assert!(discovery(away).await.has(Fault::DiscoveryRedirects, "discovery-redirects").contains("behind the @"));
}

#[tokio::test]
async fn discovery_that_is_something_else() {
    discovery(|| reply(200, &[("content-type", "text/html")], "<html>Welcome")).await.has(Fault::DiscoveryNotJson, "discovery-not-json");
    discovery(|| reply(200, &[], "[]")).await.has(Fault::DiscoveryNotJson, "discovery-not-json");
    discovery(|| reply(200, &[], [b'x'; 60_000])).await.has(Fault::DiscoveryTooLong, "discovery-too-long");
}

#[tokio::test]
async fn f8_discovery_that_lies() {
    saying(r#""enabled":true"#, r#""enabled":false"#).await.has(Fault::DiscoveryOff, "discovery-off");
    saying("endPoint", "endpoint").await.has(Fault::DiscoveryNoEndpoint, "discovery-no-endpoint");
    let text = saying("http://127.0.0.1", "https://evil.example").await.has(Fault::DiscoveryElsewhere, "discovery-elsewhere");
    assert!(text.contains("evil.example"), "{text}");
    saying("\"webdav\"", "\"talk\"").await.has(Fault::DiscoveryNoWebdav, "discovery-no-webdav");
    let found = saying(r#""apiVersion":"1.1.0","#, "").await;
    found.has(Fault::DiscoveryNoVersion, "discovery-no-version");
}

#[tokio::test]
async fn peers_that_do_not_listen() {
    shares(403).await.has(Fault::PeerRefuses, "peer-refuses");
    shares(401).await.has(Fault::PeerRefuses, "peer-refuses");
    shares(501).await.has(Fault::PeerTakesNone, "peer-takes-none");
    shares(404).await.has(Fault::PeerNoShares, "peer-no-shares");
    shares(500).await.has(Fault::PeerFails, "peer-fails");
    shares(429).await.has(Fault::Throttled, "throttled");
}

#[tokio::test]
async fn the_clock_of_a_peer() {
    let late =
        |asked: &Asked| (asked.path == "/ocm-provider/").then(|| reply(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], document(asked)));
    assert!(look(late).await.has(Fault::ClockSkew, "clock-skew").contains("behind ours"));
}
