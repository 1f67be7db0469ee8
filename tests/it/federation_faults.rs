//! What bob's clients get while a remote does something wrong: never 404, 401 or an empty listing (DESIGN 1.2), and nothing at all where they
//! do not ask for that remote (DESIGN 1.3).

use std::time::{Duration, Instant};

use causeway::service::admin::Command;

use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::federation::{PATIENCE, etag, impatient, mounts, names, transfer, until};
use crate::support::server::{Answer, Ask, Pair, TestServer};

/// What bob's client asks for below the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Stat,
    List,
    Get,
    Head,
    Put,
    Mkcol,
    Delete,
    Move,
    Copy,
    MoveIn,
    CopyOut,
    Proppatch,
}

const ALL: [What; 12] = [
    What::Stat,
    What::List,
    What::Get,
    What::Head,
    What::Put,
    What::Mkcol,
    What::Delete,
    What::Move,
    What::Copy,
    What::MoveIn,
    What::CopyOut,
    What::Proppatch,
];
/// What a hostile listing or page touches.
const LISTED: [What; 1] = [What::List];

struct Scene {
    remote: BadRemote,
    bob: TestServer,
    mount: String,
}

impl Scene {
    async fn start() -> Scene {
        let remote = BadRemote::start().await;
        let bob = impatient("bob").await;
        bob.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
        let mount = bob.mount("bob", &remote.url()).await.path.unwrap();
        bob.put("bob", "/own.txt", "bob's").await;
        Scene { remote, bob, mount }
    }

    fn request(&self, what: What) -> Ask {
        let (bob, mount) = (&self.bob, &self.mount);
        let file = format!("{mount}/sub/b.txt");
        let other = format!("{mount}/sub/c.txt");
        let ask = |method: &str, path: &str| bob.ask_as("bob", method, path);
        let patch =
            "<d:propertyupdate xmlns:d=\"DAV:\"><d:set><d:prop><t:x xmlns:t=\"urn:test\">1</t:x></d:prop></d:set></d:propertyupdate>";
        match what {
            What::Stat => ask("PROPFIND", &file).header("depth", "0"),
            What::List => ask("PROPFIND", &format!("{mount}/sub")).header("depth", "1"),
            What::Get => ask("GET", &file),
            What::Head => ask("HEAD", &file),
            What::Put => ask("PUT", &file).body("new"),
            What::Mkcol => ask("MKCOL", &format!("{mount}/sub/new")),
            What::Delete => ask("DELETE", &file),
            What::Move => transfer(bob, "bob", "MOVE", &file, &other),
            What::Copy => transfer(bob, "bob", "COPY", &file, &other),
            What::MoveIn => transfer(bob, "bob", "MOVE", "/own.txt", &other),
            What::CopyOut => transfer(bob, "bob", "COPY", &file, "/copy.txt"),
            What::Proppatch => ask("PROPPATCH", &file).body(patch),
        }
    }

    /// The root listing as it always was, at once.
    async fn root_is_unaffected(&self, before: &str, context: &str) {
        let begun = Instant::now();
        let listed = names(&self.bob, "bob", "/").await;
        assert_eq!(listed, [self.mount.trim_start_matches('/'), "own.txt"], "{context}");
        assert_eq!(etag(&self.bob, "bob", "/").await, before, "{context}");
        assert_eq!(self.bob.get("bob", "/own.txt").await, "bob's", "{context}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{context}: the root waits for the remote: {:?}", begun.elapsed());
    }

    async fn recovers(&self, context: &str) {
        self.remote.set(Fault::None).await;
        self.bob.execute(Command::MountRetry { id: format!("bob:{}", self.mount) }).await;
        assert_eq!(names(&self.bob, "bob", &self.mount).await, ["a.txt", "sub"], "{context}");
        let listed = names(&self.bob, "bob", &format!("{}/sub", self.mount)).await;
        assert!(listed.contains(&"b.txt".to_owned()), "{context}: {listed:?}");
        assert_eq!(self.bob.get("bob", &format!("{}/a.txt", self.mount)).await, "alpha", "{context}");
        assert_eq!(mounts(&self.bob, "bob").await[0].state, "online", "{context}");
    }

    /// Each request on its own against a fault that begins while all is well.
    async fn check(&self, fault: Fault, asked: &[What], expected: impl Fn(What) -> u16) {
        for what in asked {
            let context = format!("{what:?} under {fault:?}");
            names(&self.bob, "bob", &self.mount).await;
            let root = self.resting().await;
            self.remote.set(fault).await;
            // What was seen in the last two seconds may still be shown; the mount asks again after that.
            tokio::time::sleep(Duration::from_millis(2100)).await;
            let request = self.request(*what).send();
            let (answer, ()) = tokio::join!(request, self.root_is_unaffected(&root, &context));
            judge(&answer, expected(*what), &context);
            self.root_is_unaffected(&root, &context).await;
            assert_eq!(mounts(&self.bob, "bob").await.len(), 1, "{context}");
            self.recovers(&context).await;
        }
    }

    /// The root's etag, when the polls have found nothing new twice.
    async fn resting(&self) -> String {
        let mut last = etag(&self.bob, "bob", "/").await;
        until("a quiet root", PATIENCE, async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = etag(&self.bob, "bob", "/").await;
            std::mem::replace(&mut last, now.clone()) == now
        })
        .await;
        last
    }
}

fn judge(answer: &Answer, expected: u16, context: &str) {
    let found = if answer.status == 207 && expected != 207 { status_within(answer) } else { answer.status };
    assert_eq!(found, expected, "{context}: {}", answer.text());
    if expected == 503 && answer.status == 503 {
        let seconds: u64 = answer.header("retry-after").unwrap_or_else(|| panic!("{context}: no Retry-After")).parse().unwrap();
        assert!(seconds >= 1, "{context}");
    }
}

/// PROPPATCH tells within a multistatus.
fn status_within(answer: &Answer) -> u16 {
    let text = answer.text();
    text.split("HTTP/1.1 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn away(_: What) -> u16 {
    503
}

#[tokio::test]
async fn f12_a_closed_port_is_503() {
    Scene::start().await.check(Fault::Refused, &ALL, away).await;
}

#[tokio::test]
async fn f12_a_black_hole_is_503_in_time() {
    let scene = Scene::start().await;
    let begun = Instant::now();
    scene.check(Fault::BlackHole, &[What::List, What::Get, What::Put, What::Delete, What::Move], away).await;
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());
    scene.bob.stop().await;
}

#[tokio::test]
async fn f12_a_stall_in_a_listing_is_503_in_time() {
    let scene = Scene::start().await;
    for fault in [Fault::Stall, Fault::ResetMidBody, Fault::ShortBody, Fault::WrongLength] {
        scene.check(fault, &LISTED, away).await;
    }
    scene.bob.stop().await;
}

#[tokio::test]
async fn what_the_remote_says_of_itself_is_503() {
    let scene = Scene::start().await;
    for status in [401, 404, 429, 500, 503] {
        let asked: &[What] = if status == 401 || status == 503 { &ALL } else { &[What::List, What::Get, What::Put] };
        scene.check(Fault::Status(status), asked, away).await;
    }
    scene.bob.stop().await;
}

#[tokio::test]
async fn what_the_remote_says_of_a_node_is_passed_on() {
    let scene = Scene::start().await;
    scene.check(Fault::Status(403), &[What::List, What::Put, What::Delete], |_| 403).await;
    scene.check(Fault::Status(423), &[What::Put, What::Delete, What::Move], |_| 423).await;
    scene.check(Fault::Status(507), &[What::Put, What::Mkcol, What::MoveIn], |_| 507).await;
    // A loop counts in no etag any more, so that the root's may change once.
    scene.remote.set(Fault::Status(508)).await;
    for what in [What::List, What::Get, What::Put] {
        until("508", PATIENCE, async || scene.request(what).send().await.status == 508).await;
    }
    assert_eq!(names(&scene.bob, "bob", "/").await, [scene.mount.trim_start_matches('/'), "own.txt"]);
    scene.recovers("after 508").await;
    scene.bob.stop().await;
}

#[tokio::test]
async fn f10_f11_answers_that_are_none_are_503() {
    let scene = Scene::start().await;
    for fault in [Fault::RedirectToOtherHost, Fault::RedirectToHttp, Fault::Html] {
        scene.check(fault, &[What::List, What::Put], away).await;
    }
    for fault in [Fault::MalformedXml, Fault::BombXml, Fault::MillionEntries, Fault::EndlessXml] {
        scene.check(fault, &LISTED, away).await;
    }
    scene.bob.stop().await;
}

#[tokio::test]
async fn f11_hostile_names_do_not_reach_bobs_clients() {
    let scene = Scene::start().await;
    for fault in [Fault::HrefsOutside, Fault::HostileNames] {
        scene.remote.set(fault).await;
        assert_eq!(names(&scene.bob, "bob", &format!("{}/sub", scene.mount)).await, ["b.txt"], "{fault:?}");
        assert_eq!(names(&scene.bob, "bob", "/").await.len(), 2, "{fault:?}");
    }
    scene.remote.set(Fault::WrongRange).await;
    let answer = scene.request(What::Get).header("range", "bytes=5-8").send().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    scene.recovers("after hostile names").await;
    scene.bob.stop().await;
}

#[tokio::test]
async fn a_download_that_breaks_off_is_seen_as_broken() {
    let scene = Scene::start().await;
    scene.remote.write("sub/b.txt", &"0123456789".repeat(5000));
    for fault in [Fault::ResetGet, Fault::StallGet] {
        until("the long file", PATIENCE, async || scene.request(What::Head).send().await.header("content-length") == Some("50000")).await;
        scene.remote.set(fault).await;
        let answer = scene.request(What::Get).send().await;
        assert!(answer.status == 503 || (answer.status == 200 && answer.broken), "{fault:?}: {} {}", answer.status, answer.body.len());
        scene.recovers(&format!("{fault:?}")).await;
    }
    scene.bob.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_black_hole_that_did_not_ask_for_it() {
    let scene = Scene::start().await;
    names(&scene.bob, "bob", &scene.mount).await;
    let root = scene.resting().await;
    scene.remote.set(Fault::BlackHole).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let stuck = futures_util::future::join_all((0..20).map(|_| scene.request(What::List).send()));
    let rest = async {
        for _ in 0..10 {
            scene.root_is_unaffected(&root, "twenty requests hang in the mount").await;
        }
    };
    let (answers, ()) = tokio::join!(stuck, rest);
    assert!(answers.iter().all(|answer| answer.status == 503));
    // The mount itself can still be moved and removed.
    let begun = Instant::now();
    transfer(&scene.bob, "bob", "MOVE", &scene.mount, "/elsewhere").expect(201).await;
    scene.bob.ask_as("bob", "DELETE", "/elsewhere").expect(204).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(mounts(&scene.bob, "bob").await.is_empty());
    scene.bob.stop().await;
}

#[tokio::test]
async fn a_mount_survives_restarts_on_both_sides_and_comes_back_by_itself() {
    let Pair { anna, bob } = Pair { anna: TestServer::with_user("anna").await, bob: impatient("bob").await };
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    bob.put("bob", "/own.txt", "bob's").await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt"]);
    let mount = etag(&bob, "bob", "/Photos").await;
    let anna = anna.sleep().await;
    let below = bob.ask_as("bob", "GET", "/Photos/a.txt").expect(503).await;
    assert!(below.header("retry-after").is_some());
    assert_eq!(names(&bob, "bob", "/").await, ["Photos", "own.txt"]);
    // Bob's server starts while anna's is away.
    let bob = bob.restart().await;
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text().replace("&quot;", "\"");
    assert!(listed.contains("/Photos/<") && listed.contains(&mount), "the mount stays listed with its etag {mount}: {listed}");
    bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(503).await;
    bob.ask_as("bob", "PUT", "/Photos/b.txt").body("x").expect(503).await;
    bob.ask_as("bob", "DELETE", "/Photos/a.txt").expect(503).await;
    let anna = anna.wake().await;
    until("anna's folder", PATIENCE, async || bob.ask_as("bob", "GET", "/Photos/a.txt").send().await.text() == "from anna").await;
    assert_eq!(mounts(&bob, "bob").await[0].state, "online");
    bob.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(anna.get("anna", "/Photos/b.txt").await, "from bob");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_withdrawn_link_is_a_state_not_an_absence() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt"]);
    anna.execute(Command::LinkRemove { id: link.id.to_string() }).await;
    until("the state", PATIENCE, async || {
        let answer = bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").send().await;
        assert!(matches!(answer.status, 207 | 503), "{}", answer.status);
        mounts(&bob, "bob").await[0].state == "withdrawn"
    })
    .await;
    bob.ask_as("bob", "GET", "/Photos/a.txt").expect(503).await;
    bob.ask_as("bob", "PUT", "/Photos/a.txt").body("x").expect(503).await;
    assert_eq!(names(&bob, "bob", "/").await, ["Photos"]);
    Pair { anna, bob }.stop().await;
}
