//! What users share with users of other servers: the doors, the rights, the owner's list, and the end.

use causeway::domain::{Clock, Permissions, Secret, SentShare, SentState, ShareId};
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command, ShareCommand, ShareRow, ShareTerms};
use causeway::service::federation::Federation;
use causeway::store::Batch;
use serde_json::{Value, json};

use crate::ocs::json as parsed;
use crate::support::federation::{PATIENCE, names, transfer, until};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::server::{Answer, Ask, TestServer, password};
use crate::support::sharing::{allow, create, remove, share, shared, users};

const PROPERTIES: &str = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" \
    xmlns:ocs=\"http://open-collaboration-services.org/ns\" xmlns:ocm=\"http://open-cloud-mesh.org/ns\"><d:prop><d:getetag/>\
    <d:resourcetype/><oc:permissions/><ocs:share-permissions/><ocm:share-permissions/></d:prop></d:propfind>";

/// A server with these users, and another one that may stand beside it.
async fn with_peer(names: &[&str], habit: Habit) -> (TestServer, OcmPeer) {
    let (server, peer) = (users(names).await, OcmPeer::start(habit).await);
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    (server, peer)
}

/// Shares with bob of the other server; gives the row and the secret.
async fn send(server: &TestServer, peer: &OcmPeer, path: &str, permissions: &str) -> (ShareRow, String) {
    let row = share(server, "anna", path, &peer.address_of("bob"), permissions).await;
    let offer = peer.offer();
    assert_eq!(offer["providerId"], row.id.to_string());
    (row, secret(&offer))
}

/// What opens an offered share.
fn secret(offer: &Value) -> String {
    let protocol = &offer["protocol"];
    let text = protocol["webdav"]["sharedSecret"].as_str().or_else(|| protocol["options"]["sharedSecret"].as_str());
    text.unwrap().to_owned()
}

fn bearer(server: &TestServer, method: &str, id: u64, path: &str, secret: &str) -> Ask {
    server.ask(method, &format!("/remote.php/dav/ocm/{id}{path}")).header("authorization", &format!("Bearer {secret}"))
}

fn public(server: &TestServer, method: &str, path: &str, secret: &str) -> Ask {
    server.ask(method, &format!("/public.php/webdav{path}")).basic(secret, "")
}

fn info(server: &TestServer, secret: &str) -> Ask {
    server.ask("POST", &format!("/index.php/apps/files_sharing/shareinfo?t={secret}"))
}

/// The root's properties.
async fn root(server: &TestServer, secret: &str) -> String {
    public(server, "PROPFIND", "/", secret).header("depth", "0").body(PROPERTIES).expect(207).await.text()
}

fn between<'text>(text: &'text str, from: &str, to: &str) -> &'text str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

fn federation(server: &TestServer) -> &Federation {
    server.running().services.federation()
}

/// Waits until nothing is shared of anna's, and every door is closed.
async fn check_gone(server: &TestServer, id: u64, secret: &str) {
    assert!(shared(server, "anna").await.iter().all(|row| row.id != id));
    public(server, "PROPFIND", "/", secret).expect(401).await;
    bearer(server, "PROPFIND", id, "/", secret).expect(401).await;
    info(server, secret).expect(404).await;
}

#[tokio::test]
async fn a_share_is_sent_opened_changed_and_ended() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let (row, secret) = send(&server, &peer, "/Photos", "19").await;
    assert_eq!((row.state.as_deref(), row.with.as_str(), row.shared_by.as_str()), (Some("pending"), &*peer.address_of("bob"), "anna"));
    let offer = peer.offer();
    let anna = format!("anna@http://{}", server.host());
    for (name, value) in [
        ("shareWith", json!(peer.address_of("bob"))),
        ("name", json!("Photos")),
        ("owner", json!(anna)),
        ("sender", json!(anna)),
        ("ownerDisplayName", json!("anna")),
        ("resourceType", json!("file")),
        ("shareType", json!("user")),
    ] {
        assert_eq!(offer[name], value, "{name}");
    }
    assert!(secret.len() == 22 && peer.refused().is_empty(), "{offer}");
    // Before its user has answered, at every door.
    let text = root(&server, &secret).await;
    assert!(text.contains("<ocs:share-permissions>19<") && text.contains("<oc:permissions>RGNV<"), "{text}");
    assert!(text.contains("<d:collection/>") && text.contains("[&quot;share&quot;,&quot;read&quot;,&quot;write&quot;]"), "{text}");
    let listed = bearer(&server, "PROPFIND", row.id, "/", &secret).header("depth", "1").body(PROPERTIES).expect(207).await.text();
    assert!(listed.contains(&format!("/remote.php/dav/ocm/{}/sub/", row.id)) && listed.matches("<ocs:share-permissions>19<").count() == 3);
    let by_basic = server.ask("GET", &format!("/remote.php/dav/ocm/{}/a.txt", row.id)).basic(&secret, "");
    assert_eq!(by_basic.expect(200).await.text(), "from anna");
    assert_eq!(public(&server, "GET", "/sub/deep.txt", &secret).expect(200).await.text(), "deep down");
    let told = parsed(&info(&server, &secret).expect(200).await);
    assert_eq!((&told["data"]["name"], &told["data"]["permissions"], &told["status"]), (&json!("Photos"), &json!(19), &json!("success")));
    // Rights are those of the share.
    public(&server, "PUT", "/a.txt", &secret).body("from bob").expect(204).await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "from bob");
    public(&server, "PUT", "/new.txt", &secret).body("x").expect(403).await;
    bearer(&server, "DELETE", row.id, "/a.txt", &secret).expect(403).await;
    bearer(&server, "MKCOL", row.id, "/new", &secret).expect(403).await;
    // It shows whatever changes below.
    let before = between(&root(&server, &secret).await, "<d:getetag>", "<").to_owned();
    server.put("anna", "/Photos/sub/deep.txt", "deeper").await;
    assert_ne!(between(&root(&server, &secret).await, "<d:getetag>", "<"), before);
    federation(&server).on_accepted(&row.id.to_string(), &Secret::new(&secret)).await.unwrap();
    assert_eq!(shared(&server, "anna").await[0].state.as_deref(), Some("accepted"));
    // Nothing is sent, and the next look shows it (attack F7).
    allow(&server, row.id, "read").await;
    let text = root(&server, &secret).await;
    assert!(
        text.contains("<ocs:share-permissions>1<") && text.contains("<oc:permissions>G<") && text.contains(">[&quot;read&quot;]<"),
        "{text}"
    );
    public(&server, "PUT", "/a.txt", &secret).body("x").expect(403).await;
    assert!(peer.told().is_empty());
    let server = server.restart().await;
    assert_eq!(public(&server, "GET", "/a.txt", &secret).expect(200).await.text(), "from bob");
    remove(&server, row.id).await;
    check_gone(&server, row.id, &secret).await;
    let told = peer.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    assert_eq!((&told["notification"]["sharedSecret"], &told["notification"]["grantee"]), (&json!(secret), &json!("bob")));
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "from bob");
    server.stop().await;
}

#[tokio::test]
async fn a_shared_file_is_the_root_itself() {
    let (server, peer) = with_peer(&["anna"], Habit::Reva).await;
    let (row, secret) = send(&server, &peer, "/Photos/a.txt", "edit").await;
    let offer = peer.offer();
    assert_eq!((&offer["name"], &offer["resourceType"]), (&json!("a.txt"), &json!("file")));
    let uri = format!("http://{}/remote.php/dav/ocm/{}", server.host(), row.id);
    assert_eq!(
        (&offer["protocol"]["webdav"]["uri"], &offer["protocol"]["webdav"]["permissions"]),
        (&json!(uri), &json!(["read", "write"]))
    );
    for path in ["", "/"] {
        assert_eq!(bearer(&server, "GET", row.id, path, &secret).expect(200).await.text(), "from anna");
        assert_eq!(public(&server, "GET", path, &secret).expect(200).await.text(), "from anna");
    }
    let text = bearer(&server, "PROPFIND", row.id, "", &secret).header("depth", "1").body(PROPERTIES).expect(207).await.text();
    assert!(text.contains("<ocs:share-permissions>3<") && text.contains("<d:resourcetype/>"), "{text}");
    bearer(&server, "PUT", row.id, "", &secret).body("from bob").expect(204).await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "from bob");
    bearer(&server, "GET", row.id, "/other", &secret).expect(404).await;
    bearer(&server, "DELETE", row.id, "", &secret).expect(403).await;
    server.stop().await;
}

#[tokio::test]
async fn each_server_is_offered_the_shape_that_it_takes() {
    for (habit, protocol) in [(Habit::OwnCloud, "webdav"), (Habit::Nextcloud, "webdav"), (Habit::Reva, "multi")] {
        let (server, peer) = with_peer(&["anna"], habit).await;
        send(&server, &peer, "/Photos", "read").await;
        assert_eq!((&peer.offer()["protocol"]["name"], peer.refused().len()), (&json!(protocol), 0), "{habit:?}");
        server.stop().await;
    }
}

/// Nothing is left of what was not sent.
async fn check_nothing(server: &TestServer) {
    assert!(shared(server, "anna").await.is_empty());
    let rows = || server.running().services.store().list::<SentShare>().unwrap();
    until("the end of the last secret", PATIENCE, async || rows().is_empty()).await;
}

#[tokio::test]
async fn what_the_other_server_does_not_take_leaves_nothing() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let attempt = || create("anna", "/Photos", &peer.address_of("bob"), "read");
    peer.refuse(Some(400));
    let text = server.refuse(attempt(), Reason::Refused).await.text;
    assert!(text.contains("is there a user `bob`"), "{text}");
    let shapes: Vec<Value> = peer.refused().iter().map(|share| share["protocol"]["name"].clone()).collect();
    assert_eq!(shapes, ["webdav", "multi"], "the other shape is tried once");
    peer.refuse(Some(403));
    server.refuse(attempt(), Reason::Refused).await;
    assert_eq!(peer.refused().len(), 3);
    check_nothing(&server).await;
    assert!(peer.told().is_empty(), "who refused needs not be told");
    // It may have kept what it did not answer.
    peer.refuse(Some(503));
    server.refuse(attempt(), Reason::RemoteUnreachable).await;
    let id = peer.refused().pop().unwrap()["providerId"].as_str().unwrap().to_owned();
    peer.wait_told("SHARE_UNSHARED", &id).await;
    check_nothing(&server).await;
    peer.refuse(None);
    peer.leave().await;
    let text = server.refuse(attempt(), Reason::RemoteUnreachable).await.text;
    assert!(text.contains("does not answer"), "{text}");
    assert!(shared(&server, "anna").await.is_empty());
    // No peer, and one that no administrator has allowed to be near.
    let other = TestServer::with_user("bob").await;
    let text = server.refuse(create("anna", "/Photos", &format!("bob@{}", other.host()), "read"), Reason::Refused).await.text;
    assert!(text.contains("causeway remote allow-private"), "{text}");
    other.stop().await;
    peer.come_back().await;
    let server = server.restart().await;
    check_nothing(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_cut_off_while_it_was_sent_ends_and_is_told() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    peer.hold();
    let look = async {
        peer.wait_offer(1).await;
        assert_eq!(shared(&server, "anna").await[0].state.as_deref(), Some("sending"));
        root(&server, &secret(&peer.offer())).await;
    };
    // Who asked for it hangs up.
    tokio::select! {
        done = server.execute(create("anna", "/Photos", &peer.address_of("bob"), "read")) => panic!("{done:?}"),
        () = look => {}
    }
    let first = peer.offer()["providerId"].as_str().unwrap().to_owned();
    peer.wait_told("SHARE_UNSHARED", &first).await;
    check_nothing(&server).await;
    peer.let_go();
    // As a crash leaves it.
    let (row, secret) = send(&server, &peer, "/Photos", "read").await;
    let sent = federation(&server).sent(ShareId(row.id)).unwrap();
    let cut = SentShare { state: SentState::Sending, ..SentShare::clone(&sent) };
    server.running().services.store().commit(Batch::new().put(&cut)).await.unwrap();
    let server = server.restart().await;
    check_gone(&server, row.id, &secret).await;
    peer.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    check_nothing(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_server_may_accept_before_it_answers() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    peer.hold();
    let accept = async {
        peer.wait_offer(1).await;
        let offer = peer.offer();
        federation(&server).on_accepted(offer["providerId"].as_str().unwrap(), &Secret::new(secret(&offer))).await.unwrap();
        peer.let_go();
    };
    let bob = peer.address_of("bob");
    let (row, ()) = tokio::join!(share(&server, "anna", "/Photos", &bob, "read"), accept);
    assert_eq!(row.state.as_deref(), Some("accepted"));
    server.stop().await;
}

#[tokio::test]
async fn an_end_is_told_once_the_other_server_is_back() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let (row, secret) = send(&server, &peer, "/Photos", "read").await;
    peer.leave().await;
    remove(&server, row.id).await;
    check_gone(&server, row.id, &secret).await;
    let server = server.restart().await;
    peer.come_back().await;
    check_gone(&server, row.id, &secret).await;
    // At the next start at the latest.
    let server = server.restart().await;
    peer.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    check_nothing(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_user_shares_on_is_bounded_by_what_the_user_has_and_the_owner_sees_it() {
    let (server, peer) = with_peer(&["anna", "bob"], Habit::Nextcloud).await;
    let first = share(&server, "anna", "/Photos", "bob", "19").await;
    let carol = peer.address_of("carol");
    // More than bob has (attack F7).
    server.refuse(create("bob", "/Photos", &carol, "31"), Reason::Refused).await;
    let second = share(&server, "bob", "/Photos/sub", &carol, "3").await;
    let offer = peer.offer();
    let secret = secret(&offer);
    assert_eq!(offer["owner"], json!(format!("anna@http://{}", server.host())));
    assert_eq!(offer["sender"], json!(format!("bob@http://{}", server.host())));
    server.refuse(create("bob", "/Photos/sub", &format!("carol@http://{}", peer.host()), "read"), Reason::Refused).await;
    // Attack L2: the owner's list is complete.
    let rows: Vec<_> = shared(&server, "anna").await.into_iter().map(|row| (row.path.unwrap(), row.shared_by, row.with)).collect();
    assert_eq!(rows[1], ("/Photos/sub".to_owned(), "bob".to_owned(), carol.clone()));
    public(&server, "PUT", "/deep.txt", &secret).body("from carol").expect(204).await;
    allow(&server, first.id, "17").await;
    public(&server, "PUT", "/deep.txt", &secret).body("x").expect(403).await;
    assert!(root(&server, &secret).await.contains("<ocs:share-permissions>1<"));
    // What grants nothing now may again: it must not look as if it were gone.
    allow(&server, first.id, "read").await;
    for door in [public(&server, "PROPFIND", "/", &secret), bearer(&server, "GET", second.id, "/deep.txt", &secret), info(&server, &secret)]
    {
        door.expect(503).await;
    }
    allow(&server, first.id, "31").await;
    transfer(&server, "anna", "MOVE", "/Photos/sub", "/Private").expect(201).await;
    public(&server, "GET", "/deep.txt", &secret).expect(503).await;
    transfer(&server, "anna", "MOVE", "/Private", "/Photos/sub").expect(201).await;
    assert_eq!(public(&server, "GET", "/deep.txt", &secret).expect(200).await.text(), "from carol");
    remove(&server, first.id).await;
    check_gone(&server, second.id, &secret).await;
    peer.wait_told("SHARE_UNSHARED", &second.id.to_string()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_receiver_elsewhere_shares_on_by_the_owner() {
    let (server, bobs) = with_peer(&["anna", "carol"], Habit::Nextcloud).await;
    let amys = OcmPeer::start(Habit::Reva).await;
    server.execute(Command::RemoteAllowPrivate { host: amys.host() }).await;
    let (row, secret) = send(&server, &bobs, "/Photos", "19").await;
    let (number, key) = (row.id.to_string(), Secret::new(&secret));
    let ask = async |with: String| federation(&server).on_reshare_request(&number, &key, &with, "41").await;
    let (second, id) = ask(amys.address_of("amy")).await.unwrap();
    let offer = amys.offer();
    assert_eq!((&offer["providerId"], &offer["sender"]), (&json!(id), &json!(bobs.address_of("bob"))));
    assert_eq!(
        (&offer["owner"], &offer["protocol"]["webdav"]["sharedSecret"]),
        (&json!(format!("anna@http://{}", server.host())), &json!(second.expose()))
    );
    assert_eq!(offer["protocol"]["webdav"]["permissions"], json!(["read", "write", "share"]));
    // Asked again, the answer is the same, and nothing is sent.
    let (again, same) = ask(amys.address_of("amy")).await.unwrap();
    assert_eq!((again.expose(), &same, amys.offers().len()), (second.expose(), &id, 1));
    // Attack L2: the owner sees who shared it on, and with whom.
    let reshare = shared(&server, "anna").await.remove(1);
    let expected = (bobs.address_of("bob"), amys.address_of("amy"), Some(row.id), Some("pending"), 19);
    assert_eq!((reshare.shared_by, reshare.with, reshare.parent, reshare.state.as_deref(), reshare.permissions), expected);
    let told = ocs_ok(&server, "GET", &format!("{SHARES}/{id}"), "").await[0].clone();
    assert_eq!((&told["uid_owner"], &told["uid_file_owner"]), (&json!(bobs.address_of("bob")), &json!("anna")));
    // Attack F7: what the first loses, the second loses at once.
    public(&server, "PUT", "/a.txt", second.expose()).body("from amy").expect(204).await;
    allow(&server, row.id, "17").await;
    public(&server, "PUT", "/a.txt", second.expose()).body("x").expect(403).await;
    allow(&server, row.id, "read").await;
    public(&server, "GET", "/a.txt", second.expose()).expect(503).await;
    ask(amys.address_of("dave")).await.unwrap_err();
    allow(&server, row.id, "19").await;
    federation(&server).on_permissions(&id, &second, Permissions::ALL).await.unwrap();
    assert_eq!(shared(&server, "anna").await[1].permissions, 19);
    federation(&server).on_permissions(&id, &second, Permissions::READ).await.unwrap();
    public(&server, "PUT", "/a.txt", second.expose()).body("x").expect(403).await;
    federation(&server).on_accepted(&id, &second).await.unwrap();
    let told = bobs.wait_told("SHARE_ACCEPTED", "41").await;
    assert_eq!(told["notification"]["sharedSecret"], json!(second.expose()));
    // With one of ours it stays here; its secret opens no door.
    let (third, _) = ask(format!("carol@{}", server.host())).await.unwrap();
    assert_eq!(server.get("carol", "/Photos/a.txt").await, "from amy");
    public(&server, "GET", "/a.txt", third.expose()).expect(401).await;
    // Bob's server takes the second back, and then bob lets go of his own.
    federation(&server).on_reshare_undo(&number, &key).await.unwrap_err();
    federation(&server).on_reshare_undo(&id, &second).await.unwrap();
    check_gone(&server, id.parse().unwrap(), second.expose()).await;
    amys.wait_told("SHARE_UNSHARED", &id).await;
    assert!(bobs.told().iter().all(|told| told["notificationType"] == "SHARE_ACCEPTED"), "who took it back is not told: {:?}", bobs.told());
    federation(&server).on_declined(&number, &key).await.unwrap();
    check_nothing(&server).await;
    assert_eq!(names(&server, "carol", "/").await, Vec::<String>::new());
    public(&server, "GET", "/a.txt", &secret).expect(401).await;
    assert!(bobs.told().iter().all(|told| told["providerId"] != json!(number)), "who declined is not told");
    server.stop().await;
}

#[tokio::test]
async fn another_causeway_reads_and_writes_by_the_secret_as_far_as_it_may() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let bob = TestServer::with_user("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: server.host() }).await;
    let (row, secret) = send(&server, &peer, "/Photos", "edit").await;
    bob.mount("bob", &format!("http://{secret}@{}/public.php/webdav/", server.host())).await;
    let top = names(&bob, "bob", "/").await;
    let mount = format!("/{}", top[0]);
    assert_eq!(names(&bob, "bob", &mount).await, ["a.txt", "sub"]);
    bob.put("bob", &format!("{mount}/sub/new.txt"), "from bob").await;
    assert_eq!(server.get("anna", "/Photos/sub/new.txt").await, "from bob");
    let lock = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    public(&server, "LOCK", "/a.txt", &secret).body(lock).expect(200).await;
    server.ask_as("anna", "PUT", "/Photos/a.txt").body("x").expect(423).await;
    // What bob holds by the secret is the owner's to narrow and to end.
    allow(&server, row.id, "read").await;
    bob.ask_as("bob", "PUT", &format!("{mount}/sub/new.txt")).body("x").expect(403).await;
    server.execute(Command::Maintenance { on: Some(true) }).await;
    bob.ask_as("bob", "GET", &format!("{mount}/sub/new.txt")).expect(503).await;
    assert_eq!(names(&bob, "bob", "/").await, top, "what is away stays in the listing");
    server.execute(Command::Maintenance { on: Some(false) }).await;
    bob.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_user_whose_name_looks_like_an_address_comes_first() {
    let (server, peer) = with_peer(&["anna", "bob@b.example"], Habit::Nextcloud).await;
    let row = share(&server, "anna", "/Photos", "bob@b.example", "read").await;
    assert_eq!((row.state, peer.offers().len()), (None, 0));
    assert_eq!(names(&server, "bob@b.example", "/").await, ["Photos"]);
    server.stop().await;
}

#[tokio::test]
async fn l3_a_share_ends_with_its_node_and_its_owner() {
    let (server, peer) = with_peer(&["anna"], Habit::OwnCloud).await;
    let (row, secret) = send(&server, &peer, "/Photos", "read").await;
    transfer(&server, "anna", "MOVE", "/Photos", "/Pictures").expect(201).await;
    public(&server, "GET", "/a.txt", &secret).expect(200).await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/other.txt", "not shared").await;
    public(&server, "GET", "/other.txt", &secret).expect(404).await;
    server.ask_as("anna", "DELETE", "/Pictures/").expect(204).await;
    transfer(&server, "anna", "MOVE", "/Photos", "/Pictures").expect(201).await;
    check_gone(&server, row.id, &secret).await;
    peer.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    let (row, secret) = send(&server, &peer, "/Pictures", "read").await;
    let account = |what| Command::Account { name: "anna".to_owned(), what };
    // Away, not gone.
    server.execute(account(AccountCommand::Enable(false))).await;
    for door in [public(&server, "PROPFIND", "/", &secret), bearer(&server, "GET", row.id, "/other.txt", &secret), info(&server, &secret)] {
        door.expect(503).await;
    }
    server.execute(account(AccountCommand::Enable(true))).await;
    server.execute(Command::Maintenance { on: Some(true) }).await;
    for door in [public(&server, "PROPFIND", "/", &secret), bearer(&server, "GET", row.id, "/other.txt", &secret), info(&server, &secret)] {
        door.expect(503).await;
    }
    server.execute(Command::Maintenance { on: Some(false) }).await;
    public(&server, "GET", "/other.txt", &secret).expect(200).await;
    server.execute(Command::UserRemove { name: "anna".to_owned(), purge: false }).await;
    public(&server, "GET", "/other.txt", &secret).expect(401).await;
    peer.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    server.stop().await;
}

/// A server at 2026-11-22 that anna shares `/Photos` from until the end of that day.
async fn for_a_day() -> (TestServer, OcmPeer, u64, String) {
    let server = TestServer::start_with(Clock::fixed(1_795_305_600), |_config| {}).await;
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    let peer = OcmPeer::start(Habit::Reva).await;
    server.execute(Command::RemoteAllowPrivate { host: peer.host() }).await;
    let terms = ShareTerms { expires: Some("2026-11-22".to_owned()), ..ShareTerms::default() };
    let (user, path, with) = ("anna".to_owned(), "/Photos".to_owned(), peer.address_of("bob"));
    server.execute(Command::Share(ShareCommand::Create { user, path, with, terms })).await;
    let offer = peer.offer();
    assert_eq!(offer["expiration"], json!(1_795_392_000));
    (server, peer, offer["providerId"].as_str().unwrap().parse().unwrap(), secret(&offer))
}

#[tokio::test]
async fn a_share_ends_with_its_last_day() {
    let (server, peer, id, secret) = for_a_day().await;
    root(&server, &secret).await;
    server.clock().advance(24 * 3600);
    public(&server, "PROPFIND", "/", &secret).expect(401).await;
    check_gone(&server, id, &secret).await;
    peer.wait_told("SHARE_UNSHARED", &id.to_string()).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_guesses_are_slowed_at_every_door() {
    let (server, _peer, id, secret) = for_a_day().await;
    for door in 0..3 {
        let knock = |secret: &str| match door {
            0 => public(&server, "PROPFIND", "/", secret),
            1 => bearer(&server, "PROPFIND", id, "/", secret),
            _ => info(&server, secret),
        };
        for number in 0..20 {
            let answer = knock(&format!("guess{number}")).send().await;
            assert_eq!(answer.status, if door == 2 { 404 } else { 401 }, "{number}");
        }
        knock("anotherguess").expect(429).await;
        // Who knows a secret does not guess.
        let answer = knock(&secret).send().await;
        assert!(matches!(answer.status, 200 | 207), "{door}: {}", answer.status);
        server.clock().advance(3600);
        let answer = knock("anotherguess").send().await;
        assert!(matches!(answer.status, 401 | 404), "{door}: {}", answer.status);
        server.clock().advance(3600);
    }
    server.stop().await;
}

#[tokio::test]
async fn f1_a_secret_opens_its_own_share_by_its_own_doors() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let (first, secret) = send(&server, &peer, "/Photos", "31").await;
    let (second, other) = send(&server, &peer, "/Photos/a.txt", "read").await;
    let link = server.link("anna", "/Photos", "edit").await;
    let token = link.url.rsplit('/').next().unwrap();
    for (id, secret) in [(second.id, &*secret), (first.id, &*other), (first.id, token), (first.id, "")] {
        bearer(&server, "PROPFIND", id, "/", secret).expect(401).await;
    }
    server.ask("PROPFIND", &format!("/remote.php/dav/ocm/0{}/", first.id)).basic(&secret, "").expect(401).await;
    server.ask("PROPFIND", &format!("/remote.php/dav/ocm/{}/", first.id)).expect(401).await;
    for path in [format!("/s/{secret}"), format!("/public.php/dav/files/{secret}/"), format!("/remote.php/dav/public-files/{secret}/")] {
        server.ask("GET", &path).expect(404).await;
    }
    server.ask("PROPFIND", "/remote.php/webdav/").basic(&secret, "").expect(401).await;
    server.ask("PROPFIND", "/remote.php/webdav/").basic("anna", &secret).expect(401).await;
    // Not out of the share, and not into another one.
    let to = |path: &str| format!("http://{}{path}", server.host());
    let away = format!("/remote.php/dav/ocm/{}/x.txt", second.id);
    for target in ["/remote.php/webdav/x.txt", "/public.php/webdav/../x.txt", away.as_str()] {
        let status = public(&server, "COPY", "/a.txt", &secret).header("destination", &to(target)).send().await.status;
        assert!(matches!(status, 400 | 403 | 502), "{target}: {status}");
    }
    public(&server, "COPY", "/a.txt", &secret).header("destination", &to("/public.php/webdav/b.txt")).expect(201).await;
    let numbered = format!("/remote.php/dav/ocm/{}/c.txt", first.id);
    bearer(&server, "MOVE", first.id, "/b.txt", &secret).header("destination", &to(&numbered)).expect(201).await;
    assert_eq!(server.get("anna", "/Photos/c.txt").await, "from anna");
    server.stop().await;
}

#[tokio::test]
async fn f5_a_wrong_number_and_a_wrong_secret_are_answered_alike() {
    let (server, peer) = with_peer(&["anna"], Habit::Nextcloud).await;
    let (row, secret) = send(&server, &peer, "/Photos", "31").await;
    let (right, wrong) = (row.id.to_string(), (row.id + 1).to_string());
    let mut texts = Vec::new();
    for (number, secret) in [(wrong.as_str(), &*secret), ("nonsense", &*secret), (&right, "wrong"), (&right, ""), ("", "")] {
        let (federation, secret) = (federation(&server), Secret::new(secret));
        texts.push(federation.on_accepted(number, &secret).await.unwrap_err());
        texts.push(federation.on_declined(number, &secret).await.unwrap_err());
        texts.push(federation.on_reshare_undo(number, &secret).await.unwrap_err());
        texts.push(federation.on_permissions(number, &secret, Permissions::READ).await.unwrap_err());
        texts.push(federation.on_reshare_request(number, &secret, "amy@c.example", "1").await.unwrap_err().into());
    }
    assert!(texts.iter().all(|refusal| refusal.reason == Reason::NotFound && refusal.text == texts[0].text), "{texts:?}");
    assert_eq!((shared(&server, "anna").await.len(), shared(&server, "anna").await[0].permissions), (1, 31));
    server.stop().await;
}

const SHARES: &str = "/apps/files_sharing/api/v1/shares";

async fn ocs(server: &TestServer, method: &str, path: &str, form: &str) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let ask = server.ask(method, &format!("/ocs/v2.php{path}?format=json&{query}")).basic("anna", &password("anna"));
    ask.header("ocs-apirequest", "true").header("content-type", "application/x-www-form-urlencoded").body(form).send().await
}

async fn ocs_ok(server: &TestServer, method: &str, path: &str, form: &str) -> Value {
    let answer = ocs(server, method, path, form).await;
    assert_eq!(answer.status, 200, "{method} {path} {form}: {}", answer.text());
    parsed(&answer)["ocs"]["data"].clone()
}

#[tokio::test]
async fn the_share_api_makes_lists_changes_and_ends_shares_of_type_6() {
    let (server, peer) = with_peer(&["anna", "carol"], Habit::OwnCloud).await;
    let bob = peer.address_of("bob");
    let form = format!("path=/Photos&shareType=6&shareWith={bob}&permissions=19&note=hello");
    let made = ocs_ok(&server, "POST", SHARES, &form).await;
    let secret = secret(&peer.offer());
    let expected = json!({
        "share_type": 6, "share_with": bob, "share_with_displayname": bob, "permissions": 19, "path": "/Photos", "uid_owner": "anna",
        "uid_file_owner": "anna", "token": null, "note": "hello", "item_type": "folder", "expiration": null,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let one = format!("{SHARES}/{}", made["id"].as_str().unwrap());
    for path in [SHARES, &one, &format!("{SHARES}?path=/Photos")] {
        let answer = ocs(&server, "GET", path, "").await.text();
        assert!(answer.contains("\"share_type\":6") && !answer.contains(&secret), "{path}: {answer}");
    }
    assert_eq!(ocs_ok(&server, "PUT", &one, "permissions=1").await["permissions"], 1);
    assert!(root(&server, &secret).await.contains("<ocs:share-permissions>1<"));
    let again = ocs(&server, "POST", SHARES, &form).await;
    assert!(again.status == 403 && again.text().contains("already"), "{}", again.text());
    // Whole addresses are found, and nobody asks the other server.
    let sharees = "/apps/files_sharing/api/v1/sharees?itemType=file&search=Bob%40B.Example";
    let found = ocs_ok(&server, "GET", sharees, "").await;
    let value = json!({"shareType": 6, "shareWith": "Bob@b.example", "server": "b.example"});
    assert_eq!((&found["exact"]["remotes"][0]["value"], &found["exact"]["remotes"][0]["label"]), (&value, &json!("Bob (b.example)")));
    assert_eq!(
        ocs_ok(&server, "GET", "/apps/files_sharing/api/v1/sharees?itemType=file&search=bob", "").await["exact"]["remotes"],
        json!([])
    );
    let capabilities = ocs_ok(&server, "GET", "/cloud/capabilities", "").await;
    assert_eq!(capabilities["capabilities"]["files_sharing"]["federation"]["outgoing"], true);
    // An address of this server is a user of this server.
    let own = |user: &str| format!("path=/Photos&shareType=6&shareWith={user}@{}", server.host());
    let local = ocs_ok(&server, "POST", SHARES, &own("carol")).await;
    assert_eq!((&local["share_type"], &local["share_with"]), (&json!(0), &json!("carol")));
    assert_eq!(names(&server, "carol", "/").await, ["Photos"]);
    for (form, code) in [(own("nobody"), 404), (own("anna"), 403), ("path=/Photos&shareType=6&shareWith=bob".to_owned(), 404)] {
        assert_eq!(ocs(&server, "POST", SHARES, &form).await.status, code, "{form}");
    }
    assert_eq!(ocs_ok(&server, "DELETE", &one, "").await, json!([]));
    peer.wait_told("SHARE_UNSHARED", made["id"].as_str().unwrap()).await;
    // Attack F9: what does not answer, what is no peer and what may not be asked look alike.
    peer.leave().await;
    let plain = crate::support::bad_remote::BadRemote::start().await;
    server.execute(Command::RemoteAllowPrivate { host: plain.host() }).await;
    for host in [peer.host(), plain.host(), "127.0.0.1:1".to_owned()] {
        let answer = ocs(&server, "POST", SHARES, &format!("path=/Photos&shareType=6&shareWith=bob@{host}")).await;
        let text = format!("Sharing Photos failed, could not find bob@{host}, maybe the server is currently unreachable");
        assert_eq!((answer.status, &parsed(&answer)["ocs"]["meta"]["message"]), (403, &json!(text)));
    }
    server.stop().await;
}
