//! Users share on what they received from another server: its owner's server makes the share, and theirs lists it.

use causeway::domain::{CloudId, Permissions, ShareWith, TreePath, UserName};
use causeway::service::Reason;
use causeway::service::admin::{Command, ShareCommand};
use causeway::service::shares::NewShare;
use serde_json::{Value, json};

use crate::support::federation::{PATIENCE, names, until};
use crate::support::sender::{RESHARED, SECRET, Sender};
use crate::support::server::TestServer;
use crate::support::sharing::{allow, create, received, remove, share, shared, users};

const SHARES: &str = "/apps/files_sharing/api/v1/shares";

/// Anna's `/Photos` on the first server, in bob's tree on the second; carol's server is the third.
struct Chain {
    annas: TestServer,
    bobs: TestServer,
    carols: TestServer,
    id: u64,
}

fn accepting(user: &str, id: u64) -> Command {
    Command::Share(ShareCommand::Accept { user: user.to_owned(), id })
}

async fn chain(permissions: &str) -> Chain {
    let (annas, bobs, carols) = (users(&["anna"]).await, TestServer::with_user("bob").await, TestServer::with_user("carol").await);
    for server in [&annas, &bobs, &carols] {
        for other in [&annas, &bobs, &carols] {
            server.execute(Command::RemoteAllowPrivate { host: other.host() }).await;
        }
    }
    let id = share(&annas, "anna", "/Photos", &format!("bob@http://{}", bobs.host()), permissions).await.id;
    bobs.execute(accepting("bob", received(&bobs, "bob").await[0].id)).await;
    Chain { annas, bobs, carols, id }
}

impl Chain {
    fn carol(&self) -> String {
        format!("carol@http://{}", self.carols.host())
    }

    /// Bob shares it on by the share API.
    async fn ask(&self, terms: &str) -> Value {
        let with = self.carol().replace(':', "%3A").replace('/', "%2F");
        self.bobs.ocs_ok("bob", "POST", SHARES, &format!("path=/Photos&shareType=6&shareWith={with}{terms}")).await
    }

    async fn accept(&self) {
        self.carols.execute(accepting("carol", received(&self.carols, "carol").await[0].id)).await;
    }

    async fn stop(self) {
        self.carols.stop().await;
        self.bobs.stop().await;
        self.annas.stop().await;
    }
}

#[tokio::test]
async fn f7_what_is_received_from_another_server_is_shared_on_by_its_owner_s() {
    let chain = chain("31").await;
    let row = chain.ask("").await;
    let (annas, bobs, carols) = (chain.annas.host(), chain.bobs.host(), chain.carols.host());
    for (name, value) in [
        ("share_type", json!(6)),
        ("uid_owner", json!("bob")),
        ("uid_file_owner", json!(format!("anna@{annas}"))),
        ("share_with", json!(format!("carol@{carols}"))),
        ("permissions", json!(31)),
        ("path", json!("/Photos")),
        ("item_type", json!("folder")),
        ("token", Value::Null),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    let offered = &received(&chain.carols, "carol").await[0];
    assert_eq!((offered.owner.clone(), offered.shared_by.clone()), (format!("anna@{annas}"), format!("bob@{bobs}")));
    chain.accept().await;
    assert_eq!(chain.carols.get("carol", "/Photos/a.txt").await, "from anna");
    chain.carols.put("carol", "/Photos/c.txt", "from carol").await;
    assert_eq!(chain.annas.get("anna", "/Photos/c.txt").await, "from carol");
    // Each side sees it: bob's list, and the owner's.
    let state = async || shared(&chain.bobs, "bob").await.iter().map(|row| row.state.clone().unwrap()).collect::<Vec<_>>();
    until("the answer at bob's", PATIENCE, async || state().await == ["accepted"]).await;
    let rows = shared(&chain.annas, "anna").await;
    assert_eq!(rows.iter().map(|row| row.shared_by.clone()).collect::<Vec<_>>(), ["anna".to_owned(), format!("bob@{bobs}")]);
    // Rights are those of every hop, at each request.
    allow(&chain.annas, chain.id, "17").await;
    chain.carols.ask_as("carol", "PUT", "/Photos/d.txt").body("x").expect(403).await;
    assert_eq!(chain.carols.get("carol", "/Photos/sub/deep.txt").await, "deep down");
    // Once alone.
    let with = format!("path=/Photos&shareType=6&shareWith={}", chain.carol());
    let refused = chain.bobs.ocs_fails("bob", "POST", SHARES, &with, 403).await;
    assert!(refused.contains("already"), "{refused}");
    // Bob takes it back; a restart in between forgets nothing.
    let list = chain.bobs.ocs_ok("bob", "GET", &format!("{SHARES}?path=/Photos"), "").await;
    let one = format!("{SHARES}/{}", list[0]["id"].as_str().unwrap());
    assert_eq!(chain.bobs.ocs_ok("bob", "GET", &one, "").await[0]["uid_owner"], "bob");
    chain.bobs.ocs_fails("bob", "PUT", &one, "permissions=1", 403).await;
    assert_eq!(chain.bobs.ocs_ok("bob", "DELETE", &one, "").await, json!([]));
    chain.bobs.ocs_fails("bob", "GET", &one, "", 404).await;
    until("the end at carol's", PATIENCE, async || received(&chain.carols, "carol").await.is_empty()).await;
    until("the end at anna's", PATIENCE, async || shared(&chain.annas, "anna").await.len() == 1).await;
    assert_eq!(names(&chain.bobs, "bob", "/").await, ["Photos"]);
    chain.stop().await;
}

#[tokio::test]
async fn f7_less_can_be_shared_on_and_never_more() {
    let first = chain("17").await;
    assert_eq!(first.ask("&permissions=31").await["permissions"], 17);
    first.accept().await;
    first.carols.ask_as("carol", "PUT", "/Photos/x.txt").body("x").expect(403).await;
    first.stop().await;
    let chain = chain("31").await;
    assert_eq!(chain.ask("&permissions=1").await["permissions"], 1);
    chain.accept().await;
    chain.carols.ask_as("carol", "PUT", "/Photos/x.txt").body("x").expect(403).await;
    assert_eq!(chain.carols.get("carol", "/Photos/a.txt").await, "from anna");
    assert_eq!(shared(&chain.annas, "anna").await[1].permissions, 1);
    // Who does not know its secret tells nothing of it.
    let id = shared(&chain.bobs, "bob").await[0].id.to_string();
    for kind in ["SHARE_DECLINED", "RESHARE_UNDO", "SHARE_ACCEPTED"] {
        let body = json!({"notificationType": kind, "resourceType": "file", "providerId": id, "notification": {"sharedSecret": "guess"}});
        chain.bobs.ask("POST", "/ocm/notifications").body(body.to_string()).expect(403).await;
    }
    assert_eq!(shared(&chain.bobs, "bob").await.len(), 1);
    // Carol may not share it on, and does not.
    let dave = format!("dave@http://{}", chain.bobs.host());
    chain.carols.refuse(create("carol", "/Photos", &dave, "read"), Reason::Refused).await;
    // She lets go of it: bob's list follows.
    chain.carols.ask_as("carol", "DELETE", "/Photos").expect(204).await;
    until("the end at bob's", PATIENCE, async || shared(&chain.bobs, "bob").await.is_empty()).await;
    chain.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shared_on_is_refused_with_a_reason() {
    let chain = chain("15").await;
    let refused = async |path: &str, with: &str, words: &str| {
        let refusal = chain.bobs.refuse(create("bob", path, with, "read"), Reason::Refused).await;
        assert!(refusal.text.contains(words), "{path} {with}: {}", refusal.text);
    };
    refused("/Photos", &chain.carol(), "may not be shared on").await;
    allow(&chain.annas, chain.id, "31").await;
    let look = async || {
        chain.bobs.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(207).await;
        received(&chain.bobs, "bob").await[0].permissions == 31
    };
    until("the new rights at bob's", PATIENCE, look).await;
    refused("/Photos/sub", &chain.carol(), "whole share").await;
    refused("/Photos", "bob", "whole address").await;
    refused("/Photos", &format!("anna@http://{}", chain.annas.host()), "is the owner").await;
    refused("/Photos", &format!("bob@http://{}", chain.bobs.host()), "themselves").await;
    refused("/Photos", &format!("nobody@http://{}", chain.carols.host()), "refused to share").await;
    chain.bobs.execute(Command::Sharing { set: Some(("outgoing".to_owned(), "off".to_owned())) }).await;
    refused("/Photos", &chain.carol(), "administrator").await;
    chain.bobs.execute(Command::Sharing { set: Some(("outgoing".to_owned(), "on".to_owned())) }).await;
    assert!(shared(&chain.bobs, "bob").await.is_empty() && received(&chain.carols, "carol").await.is_empty());
    // With the share, everything that was made from it ends.
    chain.ask("").await;
    chain.accept().await;
    remove(&chain.annas, chain.id).await;
    until("the end at carol's", PATIENCE, async || received(&chain.carols, "carol").await.is_empty()).await;
    until("the end at bob's", PATIENCE, async || shared(&chain.bobs, "bob").await.is_empty()).await;
    chain.stop().await;
}

/// Bob, and what einstein's server shares with him as `/Folder`.
async fn with_einstein() -> (TestServer, Sender) {
    let (server, sender) = (TestServer::with_user("bob").await, Sender::start().await);
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    let address = format!("einstein@http://{}", sender.host());
    let body = json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "Folder", "resourceType": "folder",
        "providerId": "9", "owner": address, "sender": address, "ownerDisplayName": "Albert",
        "protocol": {"name": "multi", "options": {}, "webdav": {"uri": sender.uri(), "sharedSecret": SECRET, "permissions": ["read"]}}});
    server.ask("POST", "/ocm/shares").body(body.to_string()).expect(201).await;
    server.execute(accepting("bob", received(&server, "bob").await[0].id)).await;
    (server, sender)
}

const CAROL: &str = "carol@c.example";

/// Asks for a share, and goes away once the other server has heard a notification.
async fn ask_and_leave(server: &TestServer, sender: &Sender, permissions: Permissions, heard: &str) {
    let services = &server.running().services;
    let bob = services.accounts().get(&UserName::parse("bob").unwrap()).unwrap();
    let new = NewShare {
        path: TreePath::parse("/Folder").unwrap(),
        with: ShareWith::Remote(CloudId::parse(CAROL).unwrap()),
        permissions: Some(permissions),
        expires: None,
        note: String::new(),
    };
    tokio::select! {
        made = services.federation().share(&bob, new) => panic!("{made:?}"),
        () = until(heard, PATIENCE, async || sender.told().iter().any(|(kind, ..)| kind == heard)) => {}
    }
}

async fn wait_undone(sender: &Sender) {
    let undone = ("RESHARE_UNDO".to_owned(), RESHARED.0.to_owned(), RESHARED.1.to_owned());
    until("the end of what was shared on", PATIENCE, async || sender.told().contains(&undone)).await;
}

#[tokio::test]
async fn f7_what_its_asker_did_not_hear_of_is_asked_for_again_and_undone() {
    let (server, sender) = with_einstein().await;
    sender.share_on();
    // Bob's client goes away while einstein's server works; the answer comes to nobody.
    sender.be_silent("REQUEST_RESHARE");
    ask_and_leave(&server, &sender, Permissions::ALL, "REQUEST_RESHARE").await;
    assert!(shared(&server, "bob").await.is_empty(), "what may not be there is not shown");
    // So it does when the server stops at once.
    sender.be_silent("");
    let server = server.restart().await;
    wait_undone(&sender).await;
    server.stop().await;
}

#[tokio::test]
async fn f7_what_was_not_made_as_small_as_asked_for_is_undone() {
    let (server, sender) = with_einstein().await;
    sender.share_on();
    sender.be_silent("RESHARE_CHANGE_PERMISSION");
    ask_and_leave(&server, &sender, Permissions::READ, "RESHARE_CHANGE_PERMISSION").await;
    wait_undone(&sender).await;
    assert!(shared(&server, "bob").await.is_empty());
    assert_eq!(sender.told().iter().filter(|(kind, ..)| kind == "REQUEST_RESHARE").count(), 1, "its number is known");
    server.stop().await;
}

#[tokio::test]
async fn f7_with_a_share_that_its_receiver_ends_ends_what_was_shared_on_of_it() {
    let (server, sender) = with_einstein().await;
    sender.share_on();
    share(&server, "bob", "/Folder", CAROL, "31").await;
    assert_eq!(shared(&server, "bob").await.len(), 1);
    server.ask_as("bob", "DELETE", "/Folder").expect(204).await;
    wait_undone(&sender).await;
    sender.wait_told("SHARE_DECLINED", "9").await;
    assert!(shared(&server, "bob").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_shares_nothing_on_is_named() {
    let (server, sender) = with_einstein().await;
    let refusal = server.refuse(create("bob", "/Folder", "carol@c.example", "read"), Reason::Refused).await;
    let expected =
        format!("the server of einstein@{} does not let receivers share on; ask Albert to share it with carol@c.example", sender.host());
    assert_eq!(refusal.text, expected);
    assert!(shared(&server, "bob").await.is_empty());
    server.stop().await;
}
