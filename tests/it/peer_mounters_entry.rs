//! What stands around the links for servers that mount them: the addresses of old links, `ocs-provider`, `testremote`.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use causeway::domain::Clock;
use causeway::service::admin::Command;
use sha2::{Digest as _, Sha256};

use crate::ocs::json;
use crate::server_http::self_signed;
use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::server::{Pair, TestServer};

const TEST_REMOTE: &str = "/index.php/apps/files_sharing/testremote";

/// Longest that an answer to `testremote` may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_link_as_owncloud_7_wrote_it_leads_to_its_page() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.mkcol("anna", "/Photos/sub").await;
    server.put("anna", "/Photos/sub/a.txt", "content").await;
    let link = server.link("anna", "/Photos", "read").await;
    let token = link.url.rsplit('/').next().unwrap();
    let lead = async |query: &str| {
        let answer = server.ask("GET", &format!("/public.php?{query}")).expect(303).await;
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        answer.header("location").unwrap().to_owned()
    };
    let page = lead(&format!("service=files&t={token}")).await;
    assert_eq!(page, format!("/index.php/s/{token}"));
    assert!(server.ask("GET", &page).expect(200).await.text().contains("sub"));
    let below = lead(&format!("service=files&t={token}&path=%2Fsub")).await;
    assert!(server.ask("GET", &below).expect(200).await.text().contains("a.txt"));
    let zip = lead(&format!("service=files&t={token}&download&path=%2Fsub")).await;
    assert!(server.ask("GET", &zip).expect(200).await.body.starts_with(b"PK"));
    server.ask("GET", &lead("service=files&t=nothing").await).expect(404).await;
    server.ask("GET", "/public.php").expect(404).await;
    server.ask("GET", &format!("/public.php?service=calendar&t={token}")).expect(404).await;
    server.ask("POST", &format!("/public.php?service=files&t={token}")).expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn mounting_servers_find_the_root_of_links_and_nothing_that_is_not_there() {
    let server = TestServer::with_user("anna").await;
    for path in ["/ocs-provider/", "/ocs-provider", "/ocs-provider/index.php", "//ocs-provider/"] {
        let answer = server.ask("GET", path).expect(200).await;
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        let told = json(&answer);
        assert_eq!(told["version"], 2, "by this ownCloud knows that somebody is alive");
        let endpoints = told["services"]["FEDERATED_SHARING"]["endpoints"].as_object().unwrap();
        for (name, place) in endpoints {
            let place = place.as_str().unwrap();
            assert!(place.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.')), "{name}: {place}");
            assert_ne!(server.ask("PROPFIND", place).send().await.status, 404, "{name}: {place}");
        }
        assert_eq!((&endpoints["webdav"], &endpoints["share"]), (&"/public.php/webdav/".into(), &"/ocs/v2.php/cloud/shares".into()));
    }
    server.ask("POST", "/ocs-provider/").expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn a_visitor_s_own_server_is_found() {
    let pair = Pair::start().await;
    let ask = |address: &str| pair.anna.ask("GET", &format!("{TEST_REMOTE}?remote={address}"));
    let answer = ask(&pair.bob.host()).expect(200).await;
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("http", Some("text/plain; charset=utf-8")));
    assert_eq!(ask(&format!("{}/", pair.bob.host())).expect(200).await.text(), "http");
    pair.anna.ask("POST", &format!("{TEST_REMOTE}?remote={}", pair.bob.host())).expect(405).await;
    ask(&pair.bob.host()).header("sec-fetch-site", "cross-site").expect(403).await;
    ask(&pair.bob.host()).header("origin", "https://evil.example").expect(403).await;
    pair.stop().await;
}

#[tokio::test]
async fn a_visitor_s_own_server_is_found_by_https_where_its_certificate_is_trusted() {
    let folder = tempfile::TempDir::new().unwrap();
    let files = self_signed(folder.path());
    let certificate = causeway::server::tls::read_chain(&files.certificate).unwrap().remove(0);
    let other = TestServer::start_with(Clock::System, |config| config.tls = Some(files)).await;
    let server = TestServer::start().await;
    server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
    let ask = || server.ask("GET", &format!("{TEST_REMOTE}?remote={}", other.host()));
    assert_eq!(ask().expect(200).await.text(), "false");
    let fingerprint: String = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    server.execute(Command::RemoteTrust { host: other.host(), fingerprint: Some(fingerprint), authorities: vec![] }).await;
    assert_eq!(ask().expect(200).await.text(), "https");
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn f9_whatever_is_wrong_with_an_address_sounds_and_takes_the_same() {
    let server = TestServer::with_user("anna").await;
    let other = TestServer::start().await;
    let (silent, page, closed, elsewhere) =
        (BadRemote::start().await, BadRemote::start().await, BadRemote::start().await, BadRemote::start().await);
    for (remote, fault) in
        [(&silent, Fault::BlackHole), (&page, Fault::Html), (&closed, Fault::Refused), (&elsewhere, Fault::RedirectToOtherHost)]
    {
        remote.set(fault).await;
        server.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
    }
    let addresses = [
        // Private and not allowed: a server of the family runs there (attack F8).
        other.host(),
        format!("localhost:{}", other.address().port()),
        format!("2130706433:{}", other.address().port()),
        format!("%5B::ffff:127.0.0.1%5D:{}", other.address().port()),
        silent.host(),
        page.host(),
        closed.host(),
        elsewhere.host(),
        format!("http://{}", other.host()),
        format!("me:pw@{}", page.host()),
        String::new(),
        // Ourselves.
        server.host(),
    ];
    let asked = addresses.iter().map(async |address| {
        let begun = Instant::now();
        let answer = server.ask("GET", &format!("{TEST_REMOTE}?remote={address}")).expect(200).await;
        assert_eq!(answer.text(), "false", "{address}");
        let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        (begun.elapsed(), headers)
    });
    let answers = futures_util::future::join_all(asked).await;
    let (least, most) = (answers.iter().map(|(time, _)| time).min().unwrap(), answers.iter().map(|(time, _)| time).max().unwrap());
    assert!(*most < ANSWER_TIME_MAX, "{most:?}");
    assert!(*least > Duration::from_secs(3), "what fails at once is not told sooner: {least:?}");
    assert!(answers.windows(2).all(|two| two[0].1 == two[1].1));
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn f9_nobody_scans_a_network_by_asking() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |config| {
        config.trusted_proxies = vec![causeway::config::Network::parse("127.0.0.0/8").unwrap()];
    })
    .await;
    server.add_user("anna").await;
    let from = |address: IpAddr| server.ask("GET", &format!("{TEST_REMOTE}?remote=")).header("x-forwarded-for", &address.to_string());
    let guest: IpAddr = "192.0.2.1".parse().unwrap();
    // As many as are answered at a time, and some more.
    let first = futures_util::future::join_all((0..16).map(|_| from(guest).send())).await;
    assert!(first.iter().all(|answer| answer.status == 200));
    let second = futures_util::future::join_all((0..10).map(|_| from(guest).send())).await;
    let refused: Vec<_> = second.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 6, "twenty from one address, and one more now and then");
    assert!(refused.iter().all(|answer| answer.header("retry-after").is_some()));
    // Others may ask, and who asked too much still comes to the files.
    let crowd = (0..60u8).map(|last| from(IpAddr::from([198, 51, 100, last])).send());
    let crowd = futures_util::future::join_all(crowd).await;
    let answered = crowd.iter().filter(|answer| answer.status == 200).count();
    assert!((16..60).contains(&answered), "so many at a time: {answered}");
    server.ask("GET", "/s/nothing").header("x-forwarded-for", "192.0.2.1").expect(404).await;
    server.stop().await;
}
