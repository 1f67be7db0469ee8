//! Mounts of real servers' links, used as any other folder: each server as its wire shows it. What a server does not expect fails the test.

use causeway::service::admin::Command;

use crate::support::federation::{PATIENCE, etag, mounts, names, property, put_chunked, transfer, until};
use crate::support::peer::host::{Host, Server, Terms};
use crate::support::server::TestServer;

/// bob with the link of a host at `/Photos`.
async fn mounted(host: &Host) -> TestServer {
    let bob = TestServer::with_user("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: host.name() }).await;
    let (user, name) = ("bob".to_owned(), Some("Photos".to_owned()));
    bob.execute(Command::MountAdd { user, url: host.link(), name, password: None }).await;
    bob
}

/// Files and folders are made, changed, moved and removed.
async fn check_writes(server: Server) {
    let host = Host::start_at(server, Terms::Edit, "/cloud").await;
    let bob = mounted(&host).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt", "sub"]);
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "alpha");
    assert_eq!(bob.ask_as("bob", "GET", "/Photos/sub/b.txt").header("range", "bytes=5-8").expect(206).await.text(), "beta");
    bob.ask_as("bob", "PUT", "/Photos/new%20%26%20%C3%BC%2B.txt").header("x-oc-mtime", "1600000000").body("new").expect(201).await;
    assert_eq!(host.text("new & ü+.txt").as_deref(), Some("new"));
    assert_eq!(property(&bob, "bob", "/Photos/new%20%26%20%C3%BC%2B.txt", "d:getlastmodified").await, "Sun, 13 Sep 2020 12:26:40 GMT");
    bob.ask_as("bob", "PUT", "/Photos/empty").body("").expect(201).await;
    assert_eq!(host.text("empty").as_deref(), Some(""));
    assert_eq!(put_chunked(&bob, "bob", "/Photos/long.txt", &["of unknown", " length"]).await, 201);
    assert_eq!(host.text("long.txt").as_deref(), Some("of unknown length"));
    bob.mkcol("bob", "/Photos/made").await;
    bob.ask_as("bob", "MKCOL", "/Photos/made").expect(405).await;
    bob.ask_as("bob", "MKCOL", "/Photos/no/parent").expect(409).await;
    bob.ask_as("bob", "PUT", "/Photos/no/parent.txt").body("x").expect(409).await;
    transfer(&bob, "bob", "MOVE", "/Photos/long.txt", "/Photos/made/moved.txt").expect(201).await;
    transfer(&bob, "bob", "COPY", "/Photos/made", "/Photos/copied").expect(201).await;
    assert_eq!(host.text("copied/moved.txt").as_deref(), Some("of unknown length"));
    transfer(&bob, "bob", "MOVE", "/Photos/copied", "/Photos/renamed").expect(201).await;
    bob.ask_as("bob", "DELETE", "/Photos/made").expect(204).await;
    bob.ask_as("bob", "DELETE", "/Photos/empty").expect(204).await;
    bob.ask_as("bob", "GET", "/Photos/empty").expect(404).await;
    assert_eq!(host.paths(), ["a.txt", "new & ü+.txt", "renamed", "renamed/moved.txt", "sub", "sub/b.txt"]);
    // By its etag.
    let seen = etag(&bob, "bob", "/Photos/a.txt").await;
    bob.ask_as("bob", "PUT", "/Photos/a.txt").header("if-match", &seen).body("second").expect(204).await;
    bob.ask_as("bob", "PUT", "/Photos/a.txt").header("if-match", &seen).body("never").expect(412).await;
    bob.ask_as("bob", "PUT", "/Photos/a.txt").header("if-none-match", "*").body("never").expect(412).await;
    transfer(&bob, "bob", "MOVE", "/Photos/a.txt", "/Photos/sub/b.txt").header("overwrite", "F").expect(412).await;
    assert_eq!((host.text("a.txt").as_deref(), host.text("sub/b.txt").as_deref()), (Some("second"), Some("beta beta beta")));
    set_modified(&bob, "/Photos/a.txt", 1_500_000_000).await;
    assert_eq!(mounts(&bob, "bob").await[0].state, "online");
    host.check();
    bob.stop().await;
}

async fn set_modified(bob: &TestServer, path: &str, seconds: i64) {
    let body = format!(
        "<d:propertyupdate xmlns:d=\"DAV:\"><d:set><d:prop><d:lastmodified>{seconds}</d:lastmodified></d:prop></d:set></d:propertyupdate>"
    );
    bob.ask_as("bob", "PROPPATCH", path).body(body).expect(207).await;
    assert_eq!(property(bob, "bob", path, "d:getlastmodified").await, "Fri, 14 Jul 2017 02:40:00 GMT");
}

/// Whole folders come from bob's own tree, and go there.
async fn check_transfers(server: Server) {
    let host = Host::start(server, Terms::Edit).await;
    let bob = mounted(&host).await;
    bob.mkcol("bob", "/Own").await;
    bob.put("bob", "/Own/x.txt", "from bob").await;
    transfer(&bob, "bob", "COPY", "/Own", "/Photos/Own").expect(201).await;
    transfer(&bob, "bob", "COPY", "/Own/x.txt", "/Photos/a.txt").expect(204).await;
    assert_eq!((host.text("Own/x.txt").as_deref(), host.text("a.txt").as_deref()), (Some("from bob"), Some("from bob")));
    transfer(&bob, "bob", "MOVE", "/Photos/sub", "/Moved").expect(201).await;
    assert_eq!(bob.get("bob", "/Moved/b.txt").await, "beta beta beta");
    transfer(&bob, "bob", "MOVE", "/Own", "/Photos/Own2").expect(201).await;
    assert_eq!(host.paths(), ["Own", "Own/x.txt", "Own2", "Own2/x.txt", "a.txt"], "nothing is left of copies on their way");
    host.check();
    bob.stop().await;
}

/// What others do there shows in bob's folders, up to his root, without bob looking into the mount.
async fn check_changes(server: Server) {
    let host = Host::start(server, Terms::Read).await;
    let bob = mounted(&host).await;
    assert_eq!(names(&bob, "bob", "/Photos/sub").await, ["b.txt"]);
    let (root, mount) = (etag(&bob, "bob", "/").await, etag(&bob, "bob", "/Photos").await);
    host.write("sub/late.txt", "by alice");
    until("the new file", PATIENCE, async || etag(&bob, "bob", "/").await != root).await;
    assert_ne!(etag(&bob, "bob", "/Photos").await, mount);
    assert_eq!(names(&bob, "bob", "/Photos/sub").await, ["b.txt", "late.txt"]);
    assert_eq!(bob.get("bob", "/Photos/sub/late.txt").await, "by alice");
    let root = etag(&bob, "bob", "/").await;
    host.change(|state| state.tree.remove("a.txt"));
    until("the removal", PATIENCE, async || etag(&bob, "bob", "/").await != root).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["sub"]);
    bob.ask_as("bob", "GET", "/Photos/a.txt").expect(404).await;
    host.check();
    bob.stop().await;
}

/// A link for reading is for reading, and the other server is not even asked.
async fn check_read_only(server: Server) {
    let host = Host::start(server, Terms::Read).await;
    let bob = mounted(&host).await;
    let letters = property(&bob, "bob", "/Photos/a.txt", "oc:permissions").await;
    assert!(!letters.contains('W') && !letters.contains('D') && !letters.contains('N'), "{server:?}: {letters}");
    let letters = property(&bob, "bob", "/Photos/sub", "oc:permissions").await;
    assert!(!letters.contains("CK"), "{server:?}: {letters}");
    host.take_seen();
    bob.ask_as("bob", "PUT", "/Photos/a.txt").body("never").expect(403).await;
    bob.ask_as("bob", "PUT", "/Photos/new.txt").body("never").expect(403).await;
    bob.ask_as("bob", "MKCOL", "/Photos/made").expect(403).await;
    bob.ask_as("bob", "DELETE", "/Photos/sub/b.txt").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/Photos/a.txt", "/Photos/b.txt").expect(403).await;
    let asked = host.take_seen();
    assert!(asked.iter().all(|seen| seen.method == "PROPFIND"), "{server:?}: {asked:?}");
    assert_eq!(host.paths(), ["a.txt", "sub", "sub/b.txt"]);
    // The mount itself is bob's: it goes, and what is there stays.
    bob.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert_eq!(host.paths(), ["a.txt", "sub", "sub/b.txt"]);
    bob.stop().await;
}

macro_rules! hosts {
    ($($server:ident: $writes:ident $transfers:ident $changes:ident $reads:ident;)*) => {$(
        #[tokio::test]
        async fn $writes() {
            check_writes(Server::$server).await;
        }
        #[tokio::test]
        async fn $transfers() {
            check_transfers(Server::$server).await;
        }
        #[tokio::test]
        async fn $changes() {
            check_changes(Server::$server).await;
        }
        #[tokio::test]
        async fn $reads() {
            check_read_only(Server::$server).await;
        }
    )*};
}

hosts! {
    OwnCloud7: owncloud_7_is_written owncloud_7_takes_and_gives_folders owncloud_7_changes_show owncloud_7_links_for_reading_stay_so;
    OwnCloud8: owncloud_8_is_written owncloud_8_takes_and_gives_folders owncloud_8_changes_show owncloud_8_links_for_reading_stay_so;
    OwnCloud11: owncloud_11_is_written owncloud_11_takes_and_gives_folders owncloud_11_changes_show owncloud_11_links_for_reading_stay_so;
    Nextcloud: nextcloud_is_written nextcloud_takes_and_gives_folders nextcloud_changes_show nextcloud_links_for_reading_stay_so;
    Ocis: ocis_is_written ocis_takes_and_gives_folders ocis_changes_show ocis_links_for_reading_stay_so;
}
