//! F6: whatever happens between servers, no token and no password appears in a log, not even at its most talkative.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use causeway::config::log_filter;
use causeway::domain::Secret;
use causeway::service::Reason;
use causeway::service::admin::{Command, InviteCommand, LinkTerms, Outcome, ShareCommand};
use causeway::wire::invite::Invite;
use tracing_subscriber::filter::{FilterExt as _, dynamic_filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::federation::{impatient, names, put_chunked, transfer};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::{TestServer, password};
use crate::support::sharing::{allow, create, received, remove, share};

/// The process has one log, and other tests run beside this one: it is open only while this test runs.
static OPEN: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that is logged from here on, whichever thread and crate says it.
fn listen() -> Lines {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let open = dynamic_filter_fn(|_, _| OPEN.load(Ordering::SeqCst));
    tracing_subscriber::registry().with(layer.with_filter(open.and(log_filter("trace,sled::pagecache=trace")))).init();
    OPEN.store(true, Ordering::SeqCst);
    lines
}

/// What must not be found, in the clear and as it travels.
fn spellings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    vec![secret.to_owned(), hex, list.join(", ")]
}

fn basic(login: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{login}:{password}"))
}

/// As another server offers a share and ends it, rightly and wrongly.
async fn offered(anna: &TestServer, bob: &TestServer, token: &str) {
    let offer = format!(
        r#"{{"shareWith":"bob@{}","name":"Offered","providerId":"9","owner":"alice@http://{}","shareType":"user","resourceType":"file",
        "protocol":{{"name":"webdav","options":{{"sharedSecret":"{token}"}}}}}}"#,
        bob.host(),
        anna.host(),
    );
    bob.ask("POST", "/ocm/shares").body(&offer).expect(201).await;
    let pending = received(bob, "bob").await[0].id;
    bob.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: pending })).await;
    assert_eq!(names(bob, "bob", "/Offered").await, ["a.txt"]);
    for secret in ["Wr0ng-and-th3refore-t0ld", token] {
        let told = format!(r#"{{"notificationType":"SHARE_UNSHARED","providerId":"9","notification":{{"sharedSecret":"{secret}"}}}}"#);
        bob.ask("POST", "/ocm/notifications").body(told).expect(201).await;
        bob.ask("POST", "/ocs/v2.php/cloud/shares/9/decline").body(format!("token={secret}")).expect(403).await;
    }
}

/// Shares with users of other servers: taken, opened, shared on, guessed at, refused, and ended while that server is away. Gives the secrets.
async fn share_with_others(anna: &TestServer) -> Vec<String> {
    let peer = OcmPeer::start(Habit::Nextcloud).await;
    let reva = OcmPeer::start(Habit::Reva).await;
    for host in [peer.host(), reva.host()] {
        anna.execute(Command::RemoteAllowPrivate { host }).await;
    }
    let sent = share(anna, "anna", "/Photos", &peer.address_of("bob"), "31").await;
    let third = peer.offer()["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned();
    let numbered = format!("/remote.php/dav/ocm/{}/a.txt", sent.id);
    anna.ask("GET", &numbered).header("authorization", &format!("Bearer {third}")).expect(200).await;
    anna.ask("GET", "/public.php/webdav/a.txt").basic(&third, "").expect(200).await;
    anna.ask("PROPFIND", "/public.php/webdav/nothing").basic(&third, "").expect(404).await;
    anna.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={third}")).expect(200).await;
    anna.ask("GET", &format!("/s/{third}")).expect(404).await;
    let (key, id) = (Secret::new(&third), sent.id.to_string());
    let federation = anna.running().services.federation();
    federation.on_accepted("7", &key).await.unwrap_err();
    let (fourth, _) = federation.on_reshare_request(&id, &key, &reva.address_of("amy"), "1").await.unwrap();
    let fourth = fourth.expose().to_owned();
    peer.refuse(Some(503));
    let again = create("anna", "/Photos/a.txt", &peer.address_of("bob"), "read");
    anna.refuse(again, Reason::RemoteUnreachable).await;
    let fifth = peer.refused().pop().unwrap()["protocol"]["options"]["sharedSecret"].as_str().unwrap().to_owned();
    allow(anna, sent.id, "17").await;
    reva.wait_told("SHARE_CHANGE_PERMISSION", reva.offer()["providerId"].as_str().unwrap()).await;
    peer.leave().await;
    remove(anna, sent.id).await;
    reva.wait_told("SHARE_UNSHARED", reva.offer()["providerId"].as_str().unwrap()).await;
    vec![third, fourth, fifth]
}

/// An invitation, accepted, and one that is guessed. Gives its token and its text.
async fn invited(anna: &TestServer, bob: &TestServer) -> [String; 2] {
    let create = InviteCommand::Create { user: "anna".to_owned(), note: String::new(), expires: None, server: None };
    let made = anna.execute(Command::Invite(create)).await;
    let Outcome::Invitation(row) = made else { panic!("{made:?}") };
    let string = row.invite.unwrap();
    let wrong = format!("Wr0ng-and-th3refore-t0ld@{}", anna.host());
    for (invite, reason) in [(wrong, Some(Reason::NotFound)), (string.expose().to_owned(), None)] {
        let accept = Command::Invite(InviteCommand::Accept { user: "bob".to_owned(), invite: Secret::new(invite) });
        match reason {
            Some(reason) => drop(bob.refuse(accept, reason).await),
            None => drop(bob.execute(accept).await),
        }
    }
    [Invite::parse(string.expose()).unwrap().token.expose().to_owned(), string.expose().to_owned()]
}

#[tokio::test]
async fn f6_no_secret_reaches_the_log() {
    let lines = listen();
    let (anna, bob) = (TestServer::with_user("anna").await, impatient("bob").await);
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let secret = || Some(Secret::new("Sesam-0p3n-y0urs3lf"));
    let terms = LinkTerms { permissions: Some("edit".to_owned()), password: secret(), ..LinkTerms::default() };
    let link = anna.link_with("anna", "/Photos", terms).await;
    let plain = anna.link("anna", "/Photos", "edit").await;
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let add = |url: &str, password: Option<Secret>| Command::MountAdd { user: "bob".to_owned(), url: url.to_owned(), name: None, password };
    bob.refuse(add(&link.url, Some(Secret::new("Wr0ng-and-th3refore-t0ld"))), Reason::Refused).await;
    bob.execute(add(&link.url, secret())).await;
    bob.execute(add(&plain.url, None)).await;
    for mount in ["/Photos", "/Photos (2)"].map(|path| path.replace(' ', "%20")) {
        names(&bob, "bob", &mount).await;
        bob.put("bob", &format!("{mount}/b.txt"), "from bob").await;
        assert_eq!(put_chunked(&bob, "bob", &format!("{mount}/c.txt"), &["in ", "pieces"]).await, 201);
        transfer(&bob, "bob", "MOVE", &format!("{mount}/b.txt"), &format!("{mount}/d.txt")).expect(201).await;
        transfer(&bob, "bob", "COPY", &format!("{mount}/d.txt"), "/out.txt").send().await;
        bob.ask_as("bob", "GET", &format!("{mount}/nothing")).expect(404).await;
        bob.ask_as("bob", "DELETE", &format!("{mount}/d.txt")).expect(204).await;
        bob.ask_as("bob", "DELETE", &format!("{mount}/c.txt")).expect(204).await;
    }
    offered(&anna, &bob, &token(&plain.url)).await;
    // As people come by the link: the page, WebDAV by token, and with what is wrong.
    let (first, second) = (token(&link.url), token(&plain.url));
    for path in [format!("/s/{first}"), format!("/s/{second}"), format!("/s/{second}/download"), format!("/public.php/dav/files/{second}/")]
    {
        anna.ask("GET", &path).send().await;
    }
    anna.ask("PROPFIND", "/public.php/webdav/").basic(&first, "Wr0ng-and-th3refore-t0ld").send().await;
    anna.ask("GET", "/remote.php/webdav/").basic("anna", "Wr0ng-and-th3refore-t0ld").send().await;
    let device = anna.execute(Command::UserAppPassword { name: "anna".to_owned(), label: "phone".to_owned() }).await;
    let Outcome::Secret(device) = device else { panic!("{device:?}") };
    let device = device.expose().to_owned();
    anna.ask("GET", "/remote.php/webdav/Photos/a.txt").basic("anna", &device).expect(200).await;
    let mut sent = share_with_others(&anna).await;
    sent.extend(invited(&anna, &bob).await);
    // And where the remote goes away, changes its password, and withdraws the link.
    let changed = LinkTerms { password: Some(Secret::new("An0ther-Sesam-f0r-all")), ..LinkTerms::default() };
    anna.execute(Command::LinkUpdate { id: link.id.to_string(), terms: changed }).await;
    bob.refuse(Command::MountRetry { id: "bob:/Photos".to_owned() }, Reason::NeedsPassword).await;
    bob.execute(Command::MountPassword { id: "bob:/Photos".to_owned(), password: Secret::new("An0ther-Sesam-f0r-all") }).await;
    anna.execute(Command::LinkRemove { id: plain.id.to_string() }).await;
    bob.ask_as("bob", "GET", "/Photos%20(2)/a.txt").send().await;
    let anna = anna.sleep().await;
    bob.ask_as("bob", "GET", "/Photos/a.txt").expect(503).await;
    let anna = anna.wake().await;
    bob.stop().await;
    anna.stop().await;
    OPEN.store(false, Ordering::SeqCst);

    let log = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(log.contains("TRACE") && log.contains("causeway"), "the log was heard: {} bytes", log.len());
    let mut secrets: Vec<String> = [&first, &second].into_iter().chain(&sent).flat_map(|token| spellings(token)).collect();
    for word in ["Sesam-0p3n-y0urs3lf", "An0ther-Sesam-f0r-all", "Wr0ng-and-th3refore-t0ld", &password("anna"), &password("bob"), &device] {
        secrets.extend(spellings(word));
    }
    for (login, word) in [
        (first.as_str(), "Sesam-0p3n-y0urs3lf"),
        (&first, "An0ther-Sesam-f0r-all"),
        (&first, "Wr0ng-and-th3refore-t0ld"),
        (&second, ""),
        (&sent[0], ""),
        ("anna", &device),
        ("anna", &password("anna")),
        ("bob", &password("bob")),
    ] {
        secrets.push(basic(login, word));
    }
    let told: Vec<&str> = log.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).take(20).collect();
    assert!(told.is_empty(), "secrets in the log:\n{}", told.join("\n"));
}
