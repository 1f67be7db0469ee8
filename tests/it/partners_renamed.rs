//! A server that stands under another name: its mounts and shares go on there.

use causeway::domain::CloudId;
use causeway::service::Reason;
use causeway::service::admin::{Command, ContactCommand, InviteCommand, Outcome, ServersCommand, ShareCommand};
use serde_json::json;

use crate::partners::trust;
use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::ocm_peer::{Habit, OcmPeer};
use crate::support::sender::{SECRET, Sender};
use crate::support::server::{Pair, TestServer};
use crate::support::sharing::{received, remove, share, shared};

fn rename(old: &str, new: &str, force: bool) -> Command {
    Command::Servers(ServersCommand::Rename { old: old.to_owned(), new: new.to_owned(), force })
}

async fn renamed(server: &TestServer, old: &str, new: &str, force: bool) -> String {
    let done = server.execute(rename(old, new, force)).await;
    let Outcome::Done(text) = done else { panic!("{done:?}") };
    text
}

#[tokio::test]
async fn mounts_and_shares_of_a_renamed_server_go_on_without_restart() {
    let pair = Pair::start().await;
    let (old, bobs) = (pair.anna.host(), pair.bob.host());
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    pair.anna.put("anna", "/one.txt", "one").await;
    pair.bob.mkcol("bob", "/Mine").await;
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mount("bob", &link.url).await;
    let one = share(&pair.anna, "anna", "/one.txt", &format!("bob@http://{bobs}"), "3").await;
    let id = received(&pair.bob, "bob").await[0].id;
    pair.bob.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    let sent = share(&pair.bob, "bob", "/Mine", &format!("anna@http://{old}"), "read").await;
    trust(&pair.bob, &old, true).await;
    // Only the port changes: that is a name as well.
    let anna = pair.anna.restart().await;
    let (new, bob) = (anna.host(), pair.bob);
    assert_ne!(old, new);
    assert_eq!(received(&anna, "anna").await.len(), 1);
    // Nobody stands at the third name, and somebody else at the fourth.
    let stranger = OcmPeer::start(Habit::Nextcloud).await;
    for wrong in ["127.0.0.1:1", &stranger.host()] {
        bob.refuse(rename(&old, wrong, false), Reason::RemoteUnreachable).await;
    }
    bob.refuse(rename(&old, &bobs, false), Reason::Refused).await;
    bob.refuse(rename("nobody.example", &new, false), Reason::NotFound).await;
    let text = renamed(&bob, &old, &new, false).await;
    assert_eq!(text, format!("{old} is {new} now: 2 mounts, 1 offered and 1 sent shares, 0 messages moved, and what was decided about it"));
    assert_eq!((bob.get("bob", "/Photos/a.txt").await, bob.get("bob", "/one.txt").await), ("from anna".into(), "one".into()));
    bob.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(anna.get("anna", "/Photos/b.txt").await, "from bob");
    assert!(mounts(&bob, "bob").await.iter().all(|mount| mount.state == "online" && mount.remote.ends_with(&new)));
    assert_eq!(shared(&bob, "bob").await[0].with, format!("anna@{new}"));
    assert_eq!(received(&bob, "bob").await[0].owner, format!("anna@{new}"));
    // All of it is durable.
    let bob = bob.restart().await;
    assert_eq!((bob.get("bob", "/Photos/a.txt").await, bob.get("bob", "/one.txt").await), ("from anna".into(), "one".into()));
    assert!(mounts(&bob, "bob").await.iter().all(|mount| mount.remote.ends_with(&new)));
    bob.refuse(rename(&old, &new, false), Reason::NotFound).await;
    // Ends are told to the new name, and heard from it.
    remove(&bob, sent.id).await;
    until("the end at anna's", PATIENCE, async || received(&anna, "anna").await.is_empty()).await;
    anna.execute(Command::RemoteAllowPrivate { host: bob.host() }).await;
    renamed(&anna, &bobs, &bob.host(), true).await;
    remove(&anna, one.id).await;
    until("the end at bob's", PATIENCE, async || names(&bob, "bob", "/").await == ["Mine", "Photos"]).await;
    assert!(stranger.told().is_empty() && stranger.offers().is_empty());
    bob.stop().await;
    anna.stop().await;
}

#[tokio::test]
async fn f8_who_opens_with_anything_is_not_taken_for_a_renamed_server() {
    let (server, old) = (TestServer::with_user("bob").await, Sender::start().await);
    let (new, right) = (Sender::start().await, Sender::start().await);
    for sender in [&old, &new, &right] {
        server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    }
    let address = format!("einstein@http://{}", old.host());
    let body = json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "Folder", "resourceType": "folder",
        "providerId": "9", "owner": address, "sender": address, "ownerDisplayName": "Albert",
        "protocol": {"name": "multi", "options": {}, "webdav": {"uri": old.uri(), "sharedSecret": SECRET, "permissions": ["read"]}}});
    server.ask("POST", "/ocm/shares").body(body.to_string()).expect(201).await;
    // Anybody can offer in the name of the old server: what nobody accepted proves nothing, and its secret is not shown.
    let refusal = server.refuse(rename(&old.host(), &right.host(), false), Reason::Refused).await;
    assert!(refusal.text.contains("--force"), "{}", refusal.text);
    assert_eq!(right.folder_asked(), 0);
    let id = received(&server, "bob").await[0].id;
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    new.take_anything();
    let refusal = server.refuse(rename(&old.host(), &new.host(), false), Reason::Refused).await;
    assert!(refusal.text.contains("opens with any secret"), "{}", refusal.text);
    server.refuse(rename(&format!("{}/oc", old.host()), &right.host(), false), Reason::Usage).await;
    renamed(&server, &old.host(), &right.host(), false).await;
    assert_eq!(server.get("bob", "/Folder/a.txt").await, "alpha");
    server.stop().await;
}

#[tokio::test]
async fn whom_users_know_there_is_known_by_the_new_name() {
    let pair = Pair::start().await;
    let (old, new) = (pair.anna.host(), "127.0.0.1:1");
    let invite = Command::Invite(InviteCommand::Create { user: "bob".to_owned(), note: String::new(), expires: None, server: None });
    let Outcome::Invitation(row) = pair.bob.execute(invite).await else { panic!() };
    let text = row.invite.unwrap();
    pair.anna.execute(Command::Invite(InviteCommand::Accept { user: "anna".to_owned(), invite: text })).await;
    pair.bob.refuse(rename(&old, new, false), Reason::Refused).await;
    renamed(&pair.bob, &old, new, true).await;
    let Outcome::Contacts(rows) = pair.bob.execute(Command::Contact(ContactCommand::List { user: "bob".to_owned() })).await else {
        panic!()
    };
    assert_eq!(rows[0].address, format!("anna@http://{new}"));
    let invitations = pair.bob.execute(Command::Invite(InviteCommand::List { user: "bob".to_owned() })).await;
    assert!(format!("{invitations:?}").contains(new) && !format!("{invitations:?}").contains(&old), "{invitations:?}");
    pair.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_server_waits_for_its_new_name() {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    let (old, new) = (OcmPeer::start(Habit::Nextcloud).await, OcmPeer::start(Habit::Nextcloud).await);
    server.execute(Command::RemoteAllowPrivate { host: old.host() }).await;
    let row = share(&server, "anna", "/Photos", &old.address_of("bob"), "read").await;
    let kept = share(&server, "anna", "/Photos", &old.address_of("amy"), "read").await;
    old.leave().await;
    remove(&server, row.id).await;
    let waiting = async || !server.running().services.federation().waiting().unwrap().is_empty();
    until("a message that waits", PATIENCE, waiting).await;
    // Nothing of it is mounted here: nothing proves that the new one is the same, and secrets are not shown to just anybody.
    let refusal = server.refuse(rename(&old.host(), &new.host(), false), Reason::Refused).await;
    assert!(refusal.text.contains("--force"), "{}", refusal.text);
    assert!(renamed(&server, &old.host(), &new.host(), true).await.contains("1 sent shares, 1 messages moved, and what was decided"));
    assert_eq!(shared(&server, "anna").await[0].with, new.address_of("bob").replace("bob", "amy"));
    let sent = server.running().services.federation().sent(causeway::domain::ShareId(kept.id)).unwrap();
    assert!(sent.to.is(&CloudId::parse(&new.address_of("amy")).unwrap()));
    old.come_back().await;
    let server = server.restart().await;
    new.wait_told("SHARE_UNSHARED", &row.id.to_string()).await;
    remove(&server, kept.id).await;
    new.wait_told("SHARE_UNSHARED", &kept.id.to_string()).await;
    assert!(old.told().is_empty(), "the old name is told nothing");
    server.stop().await;
}
