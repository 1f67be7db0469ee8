//! What a client that watches only its own root learns: changes on other servers raise its etag, and nothing else does.

use std::time::{Duration, Instant};

use causeway::service::admin::Command;

use crate::support::bad_remote::BadRemote;
use crate::support::federation::{PATIENCE, etag, impatient, names, photos, transfer, until};
use crate::support::server::{Pair, TestServer};

/// How soon a change on another server must show (DESIGN 5).
const SOON: Duration = Duration::from_secs(5);

/// Does something at the owner and waits until the watcher's root says that something changed.
async fn shows(what: &str, watcher: &TestServer, user: &str, patience: Duration, change: impl AsyncFnOnce()) -> String {
    let before = etag(watcher, user, "/").await;
    change().await;
    until(what, patience, async || etag(watcher, user, "/").await != before).await;
    etag(watcher, user, "/").await
}

/// Asks for a root's etag again and again, as a client does, until it has been the same for `calm`.
async fn settled(server: &TestServer, user: &str, calm: Duration) -> String {
    let begun = Instant::now();
    let mut since = Instant::now();
    let mut last = etag(server, user, "/").await;
    while since.elapsed() < calm {
        assert!(begun.elapsed() < PATIENCE, "the root etag of {user} does not come to rest");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = etag(server, user, "/").await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

#[tokio::test]
async fn a_change_at_the_owner_raises_the_root_etag_soon() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    names(&bob, "bob", "/Photos").await;
    settled(&bob, "bob", SOON).await;
    shows("a new file", &bob, "bob", SOON, async || anna.put("anna", "/Photos/new.txt", "new").await).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt", "new.txt", "sub"], "whoever looks then finds the change");
    settled(&bob, "bob", SOON).await;
    shows("a change far below", &bob, "bob", SOON, async || anna.put("anna", "/Photos/sub/deep.txt", "changed").await).await;
    assert_eq!(bob.get("bob", "/Photos/sub/deep.txt").await, "changed");
    shows("a removal", &bob, "bob", SOON, async || drop(anna.ask_as("anna", "DELETE", "/Photos/a.txt").expect(204).await)).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["new.txt", "sub"]);
    // The etag of the root, of the mount and of the mount in the root's listing agree.
    let mount = etag(&bob, "bob", "/Photos").await;
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text().replace("&quot;", "\"");
    assert!(listed.contains(&mount), "{mount}: {listed}");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_write_of_ones_own_raises_the_root_etag_too() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    names(&bob, "bob", "/Photos").await;
    settled(&bob, "bob", SOON).await;
    shows("a write through the mount", &bob, "bob", SOON, async || bob.put("bob", "/Photos/sub/mine.txt", "mine").await).await;
    assert_eq!(names(&bob, "bob", "/Photos/sub").await, ["deep.txt", "mine.txt"]);
    settled(&bob, "bob", SOON).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn without_a_change_there_is_no_new_etag() {
    let (Pair { anna, bob }, _) = photos("read").await;
    anna.put("anna", "/elsewhere.txt", "not shared").await;
    names(&bob, "bob", "/Photos").await;
    let (root, mount) = (settled(&bob, "bob", SOON).await, etag(&bob, "bob", "/Photos").await);
    anna.put("anna", "/elsewhere.txt", "changed, and still not shared").await;
    names(&bob, "bob", "/Photos").await;
    names(&bob, "bob", "/Photos/sub").await;
    assert_eq!(settled(&bob, "bob", SOON).await, root);
    // Not by a restart either: a client would walk everything again.
    let bob = bob.restart().await;
    names(&bob, "bob", "/Photos").await;
    assert_eq!(etag(&bob, "bob", "/Photos").await, mount);
    settled(&bob, "bob", Duration::from_secs(3)).await;
    assert_eq!(etag(&bob, "bob", "/Photos").await, mount);
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_server_whose_etags_do_not_tell_of_changes_below_is_walked() {
    let remote = BadRemote::start().await;
    let bob = impatient("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
    let mount = bob.mount("bob", &remote.url()).await.path.unwrap();
    remote.freeze_folders();
    names(&bob, "bob", &mount).await;
    names(&bob, "bob", &format!("{mount}/sub")).await;
    settled(&bob, "bob", Duration::from_secs(3)).await;
    let (top, sub) = (etag(&bob, "bob", &mount).await, etag(&bob, "bob", &format!("{mount}/sub")).await);
    shows("a change below", &bob, "bob", Duration::from_secs(15), async || remote.write("sub/b.txt", "longer than before")).await;
    assert_ne!(etag(&bob, "bob", &mount).await, top);
    let now = etag(&bob, "bob", &format!("{mount}/sub")).await;
    assert_ne!(now, sub);
    // A client walks down by the etags of the listing: the folder must show its change there as well.
    let listed = bob.ask_as("bob", "PROPFIND", &mount).header("depth", "1").expect(207).await.text().replace("&quot;", "\"");
    assert!(listed.contains(&now), "{now}: {listed}");
    bob.stop().await;
}

/// A folder of anna's in a folder of bob's in the tree of carol.
async fn chain() -> (TestServer, TestServer, TestServer) {
    let (anna, bob, carol) =
        (TestServer::with_user("anna").await, TestServer::with_user("bob").await, TestServer::with_user("carol").await);
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    carol.execute(Command::RemoteAllowPrivate { host: bob.host() }).await;
    anna.mkcol("anna", "/src").await;
    anna.put("anna", "/src/a.txt", "from anna").await;
    let link = anna.link("anna", "/src", "edit").await;
    bob.mkcol("bob", "/Share").await;
    bob.mount("bob", &link.url).await;
    transfer(&bob, "bob", "MOVE", "/src", "/Share/src").expect(201).await;
    let link = bob.link("bob", "/Share", "edit").await;
    carol.mount("carol", &link.url).await;
    (anna, bob, carol)
}

#[tokio::test]
async fn a_chain_of_three_servers_reads_and_writes_through() {
    let (anna, bob, carol) = chain().await;
    assert_eq!(names(&carol, "carol", "/Share").await, ["src"]);
    assert_eq!(carol.get("carol", "/Share/src/a.txt").await, "from anna");
    assert_eq!(carol.ask_as("carol", "GET", "/Share/src/a.txt").header("range", "bytes=5-").expect(206).await.text(), "anna");
    carol.put("carol", "/Share/src/c.txt", "from carol").await;
    assert_eq!(anna.get("anna", "/src/c.txt").await, "from carol");
    carol.mkcol("carol", "/Share/src/d").await;
    transfer(&carol, "carol", "MOVE", "/Share/src/c.txt", "/Share/src/d/c.txt").expect(201).await;
    assert_eq!(anna.get("anna", "/src/d/c.txt").await, "from carol");
    carol.ask_as("carol", "DELETE", "/Share/src/d").expect(204).await;
    assert_eq!(names(&anna, "anna", "/src").await, ["a.txt"]);
    // Bob's mount is bob's own: whoever comes by his link neither removes nor moves it, nor the folder around it.
    carol.ask_as("carol", "DELETE", "/Share/src").expect(403).await;
    transfer(&carol, "carol", "MOVE", "/Share/src", "/Share/other").expect(403).await;
    assert_eq!(anna.get("anna", "/src/a.txt").await, "from anna");
    assert_eq!(bob.get("bob", "/Share/src/a.txt").await, "from anna");
    for server in [carol, bob, anna] {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_change_travels_along_a_chain() {
    let (anna, bob, carol) = chain().await;
    names(&carol, "carol", "/Share").await;
    names(&carol, "carol", "/Share/src").await;
    settled(&carol, "carol", SOON).await;
    // A poll on each of two servers.
    shows("the change", &carol, "carol", SOON * 2, async || anna.put("anna", "/src/a.txt", "changed by anna").await).await;
    until("the new content", SOON, async || carol.get("carol", "/Share/src/a.txt").await == "changed by anna").await;
    settled(&carol, "carol", SOON).await;
    for server in [carol, bob, anna] {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_break_in_a_chain_is_503_to_the_end_and_removes_nothing() {
    let (anna, bob, carol) = chain().await;
    assert_eq!(names(&carol, "carol", "/Share/src").await, ["a.txt"]);
    let anna = anna.sleep().await;
    let below = carol.ask_as("carol", "GET", "/Share/src/a.txt").send().await;
    assert_eq!(below.status, 503, "{}", below.text());
    assert!(below.header("retry-after").is_some());
    // Carol's server may show what it listed before, for bob's says that nothing changed; it never shows nothing.
    let listed = carol.ask_as("carol", "PROPFIND", "/Share/src").header("depth", "1").send().await;
    assert!(listed.status == 503 || (listed.status == 207 && listed.text().contains("a.txt")), "{}", listed.text());
    assert_eq!(names(&carol, "carol", "/Share").await, ["src"], "what lies between is there as before");
    bob.put("bob", "/Share/bobs.txt", "bob's").await;
    until("the rest", SOON, async || names(&carol, "carol", "/Share").await == ["bobs.txt", "src"]).await;
    assert_eq!(carol.get("carol", "/Share/bobs.txt").await, "bob's");
    let anna = anna.wake().await;
    until("the way to anna", PATIENCE, async || carol.ask_as("carol", "GET", "/Share/src/a.txt").send().await.text() == "from anna").await;
    for server in [carol, bob, anna] {
        server.stop().await;
    }
}

#[tokio::test]
async fn f13_a_loop_ends_in_508_and_comes_to_rest() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/F").await;
    bob.mkcol("bob", "/G").await;
    let (f, g) = (anna.link("anna", "/F", "edit").await, bob.link("bob", "/G", "edit").await);
    // No loop yet, so that neither is refused.
    bob.mount("bob", &f.url).await;
    anna.mount("anna", &g.url).await;
    transfer(&bob, "bob", "MOVE", "/F", "/G/F").expect(201).await;
    transfer(&anna, "anna", "MOVE", "/G", "/F/G").expect(201).await;
    anna.put("anna", "/F/x.txt", "x of anna").await;
    bob.put("bob", "/G/y.txt", "y of bob").await;
    let found = |server, user, path, wanted: [&'static str; 2]| async move {
        until("a listing", SOON, async || names(server, user, path).await == wanted).await;
    };
    found(&anna, "anna", "/F", ["G", "x.txt"]).await;
    found(&anna, "anna", "/F/G", ["F", "y.txt"]).await;
    assert_eq!(anna.get("anna", "/F/G/y.txt").await, "y of bob");
    assert_eq!(bob.get("bob", "/G/F/x.txt").await, "x of anna");
    for path in ["/F/G/F/x.txt", "/F/G/F/G/y.txt", "/F/G/F/G/F/G/F/G/F/x.txt"] {
        anna.ask_as("anna", "GET", path).expect(508).await;
        anna.ask_as("anna", "PUT", path).body("x").expect(508).await;
    }
    anna.ask_as("anna", "PROPFIND", "/F/G/F").header("depth", "1").expect(508).await;
    anna.ask_as("anna", "PROPFIND", "/").header("depth", "infinity").expect(403).await;
    let copied = transfer(&anna, "anna", "COPY", "/F", "/copy").send().await;
    assert_eq!(copied.status, 508, "{}", copied.text());
    assert_eq!(names(&anna, "anna", "/").await, ["F"], "a copy that cannot end leaves nothing");
    // What is beside the loop still works, and nobody's etag goes round for ever.
    found(&anna, "anna", "/F/G", ["F", "y.txt"]).await;
    bob.put("bob", "/G/y.txt", "y again").await;
    anna.put("anna", "/F/x.txt", "x again").await;
    settled(&anna, "anna", SOON + SOON).await;
    settled(&bob, "bob", SOON + SOON).await;
    Pair { anna, bob }.stop().await;
}
