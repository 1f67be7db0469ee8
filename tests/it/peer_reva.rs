//! oCIS 8, OpenCloud 6 and CERNBox 11, as hosts of what we receive and as receivers of what we share, by `protocol/ocm.md`.

use causeway::domain::{MountId, Secret};
use causeway::service::Reason;
use causeway::service::admin::{Command, ContactCommand, ContactRow, InviteCommand, Outcome, ReceivedRow, ShareCommand};
use causeway::wire::invite::Invite;
use serde_json::{Value, json};

use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::peer::reva::{EINSTEIN, Family, Reva, SECRET};
use crate::support::sender::Sender;
use crate::support::server::{Answer, Ask, TestServer};
use crate::support::sharing::{allow, create, group_of, received, remove, share, shared};

/// A server with anna's and bob's homes, and one of the family beside it.
async fn beside(family: Family) -> (TestServer, Reva) {
    let (server, reva) = (TestServer::with_user("bob").await, Reva::start(family).await);
    server.execute(Command::RemoteAllowPrivate { host: reva.host() }).await;
    (server, reva)
}

async fn post(server: &TestServer, path: &str, body: &Value) -> Answer {
    server.ask("POST", path).header("content-type", "application/json").body(body.to_string()).send().await
}

async fn contacts(server: &TestServer, user: &str) -> Vec<ContactRow> {
    let told = server.execute(Command::Contact(ContactCommand::List { user: user.to_owned() })).await;
    let Outcome::Contacts(rows) = told else { panic!("{told:?}") };
    rows
}

fn accepting_invite(invite: &str) -> Command {
    Command::Invite(InviteCommand::Accept { user: "bob".to_owned(), invite: Secret::new(invite) })
}

/// The user of the other server takes an invitation of bob's.
async fn invited(server: &TestServer, reva: &Reva) -> Answer {
    let create = InviteCommand::Create { user: "bob".to_owned(), note: String::new(), expires: None, server: Some(reva.host()) };
    let made = server.execute(Command::Invite(create)).await;
    let Outcome::Invitation(row) = made else { panic!("{made:?}") };
    let invite = Invite::parse(row.invite.unwrap().expose()).unwrap();
    assert_eq!(invite.provider, format!("http://{}", server.host()));
    reva.change(|state| state.contacts.insert(format!("bob@{}", server.host())));
    let body = json!({"recipientProvider": format!("http://{}", reva.host()), "token": invite.token.expose(), "userID": EINSTEIN,
        "name": "Albert Einstein", "email": "einstein@mail.example"});
    post(server, "/ocm/invite-accepted", &body).await
}

/// The offer of the other server's user, accepted.
async fn receive(server: &TestServer, reva: &Reva) -> ReceivedRow {
    let offer = reva.offering(&format!("bob@{}", server.host()), "user");
    let answer = post(server, "/ocm/shares", &offer).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = received(server, "bob").await.last().unwrap().id;
    let done = server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    let Outcome::ReceivedShare(row) = done else { panic!("{done:?}") };
    row
}

fn by_bearer(server: &TestServer, method: &str, offer: &Value, path: &str) -> Ask {
    let webdav = &offer["protocol"]["webdav"];
    let uri = url::Url::parse(webdav["uri"].as_str().unwrap()).unwrap();
    let secret = webdav["sharedSecret"].as_str().unwrap();
    server.ask(method, &format!("{}{path}", uri.path())).header("authorization", &format!("Bearer {secret}"))
}

#[tokio::test]
async fn each_of_them_takes_what_is_shared_with_a_contact() {
    for family in Family::ALL {
        let (server, reva) = beside(family).await;
        server.mkcol("bob", "/Photos").await;
        server.put("bob", "/Photos/a.txt", "from bob").await;
        // oCIS says neither that it has a page for invitations nor where.
        if family == Family::Ocis {
            let create = InviteCommand::Create { user: "bob".to_owned(), note: String::new(), expires: None, server: Some(reva.host()) };
            server.refuse(Command::Invite(create), Reason::Refused).await;
            reva.change(|state| state.contacts.insert(format!("bob@{}", server.host())));
            assert_eq!(reva.take_requests(), ["GET /.well-known/ocm"]);
        } else {
            assert_eq!(invited(&server, &reva).await.status, 200, "{family:?}");
            let row = contacts(&server, "bob").await.remove(0);
            assert_eq!((row.address, row.name), (format!("{EINSTEIN}@http://{}", reva.host()), "Albert Einstein".to_owned()));
            assert_eq!(reva.take_requests(), ["GET /.well-known/ocm"], "{family:?}: once, for the page, and it is remembered");
        }
        let row = share(&server, "bob", "/Photos", &format!("{EINSTEIN}@{}", reva.host()), "edit").await;
        // One body, and it fits; what was found before needs no other look.
        assert_eq!(reva.take_requests(), ["POST /ocm/shares"], "{family:?}");
        let offer = reva.change(|state| state.offers.remove(0));
        assert_eq!((&offer["resourceType"], &offer["protocol"]["webdav"]["permissions"]), (&json!("folder"), &json!(["read", "write"])));
        // How they come for it: Bearer at the absolute address; CERNBox tries Basic after any failure.
        let body = "<d:propfind xmlns:d=\"DAV:\"><d:allprop/></d:propfind>";
        let listed = by_bearer(&server, "PROPFIND", &offer, "/").header("depth", "1").body(body).expect(207).await.text();
        assert!(listed.contains("/a.txt"), "{listed}");
        by_bearer(&server, "PUT", &offer, "/b.txt").body("from einstein").expect(201).await;
        assert_eq!(server.get("bob", "/Photos/b.txt").await, "from einstein");
        if family == Family::Cernbox {
            let (path, secret) =
                (format!("/remote.php/dav/ocm/{}/a.txt", row.id), offer["protocol"]["webdav"]["sharedSecret"].as_str().unwrap());
            server.ask("GET", &path).header("authorization", "Bearer a.b.c").expect(401).await;
            assert_eq!(server.ask("GET", &path).basic(secret, "").expect(200).await.text(), "from bob");
        }
        // New rights hold at the door at once, and are told with everything that oCIS needs; once, however often they are set.
        allow(&server, row.id, "read").await;
        allow(&server, row.id, "read").await;
        by_bearer(&server, "PUT", &offer, "/b.txt").body("x").expect(403).await;
        let told = wait_told(&reva, "SHARE_CHANGE_PERMISSION").await;
        assert_eq!((&told["providerId"], &told["resourceType"]), (&json!(row.id.to_string()), &json!("folder")));
        let (notification, webdav) = (&told["notification"], &offer["protocol"]["webdav"]);
        assert_eq!(notification["grantee"], EINSTEIN);
        let expected = json!({"uri": webdav["uri"], "sharedSecret": webdav["sharedSecret"], "permissions": ["read"]});
        assert_eq!(notification["protocol"], json!({"name": "multi", "options": {}, "webdav": expected}), "{family:?}");
        remove(&server, row.id).await;
        let told = wait_told(&reva, "SHARE_UNSHARED").await;
        assert_eq!((&told["notification"]["grantee"], &told["providerId"]), (&json!(EINSTEIN), &json!(row.id.to_string())));
        by_bearer(&server, "GET", &offer, "/a.txt").expect(401).await;
        let changes = reva.change(|state| state.told.iter().filter(|told| told["notificationType"] == "SHARE_CHANGE_PERMISSION").count());
        assert_eq!(changes, 1, "{family:?}");
        reva.check();
        server.stop().await;
    }
}

async fn wait_told(reva: &Reva, kind: &str) -> Value {
    let find = || reva.change(|state| state.told.iter().find(|told| told["notificationType"] == kind).cloned());
    until(kind, PATIENCE, async || find().is_some()).await;
    find().unwrap()
}

#[tokio::test]
async fn each_of_them_refuses_strangers_and_the_remedy_is_named() {
    for family in Family::ALL {
        let (server, reva) = beside(family).await;
        server.mkcol("bob", "/Photos").await;
        let attempt = |user: &str| create("bob", "/Photos", &format!("{user}@{}", reva.host()), "read");
        let refusal = server.refuse(attempt(EINSTEIN), Reason::Refused).await;
        assert!(
            refusal.text.contains("causeway invite create") && refusal.text.contains("causeway remote ocmproviders"),
            "{}",
            refusal.text
        );
        assert!(shared(&server, "bob").await.is_empty());
        // The server is not in the list of its administrator.
        reva.change(|state| state.trusts = false);
        let refusal = server.refuse(accepting_invite(&reva.invite()), Reason::Refused).await;
        assert!(refusal.text.contains("causeway remote ocmproviders"), "{family:?}: {}", refusal.text);
        reva.change(|state| state.trusts = true);
        let wrong = Invite { token: Secret::new("guess"), provider: reva.host() }.string();
        let refusal = server.refuse(accepting_invite(wrong.expose()), Reason::NotFound).await;
        assert!(refusal.text.contains("ask for a new one"), "{}", refusal.text);
        assert!(contacts(&server, "bob").await.is_empty());
        // A user who is not there.
        reva.change(|state| state.contacts.insert(format!("bob@{}", server.host())));
        let refusal = server.refuse(attempt("nobody"), Reason::Refused).await;
        assert!(refusal.text.contains("is there a user `nobody`"), "{}", refusal.text);
        reva.check();
        server.stop().await;
    }
}

#[tokio::test]
async fn each_of_them_shares_with_a_contact_and_a_withdrawn_share_stays_listed() {
    for family in Family::ALL {
        let (server, reva) = beside(family).await;
        let done = server.execute(accepting_invite(&reva.invite())).await;
        let Outcome::Contact(contact) = done else { panic!("{done:?}") };
        assert_eq!(contact.address, format!("{EINSTEIN}@{}", reva.host()), "{family:?}: the host is said once");
        assert_eq!((contact.name.as_str(), contact.email.as_str()), ("Albert Einstein", "einstein@mail.example"));
        assert_eq!(reva.take_requests(), ["GET /.well-known/ocm", "POST /ocm/invite-accepted"], "{family:?}");
        assert!(reva.change(|state| state.contacts.contains(&format!("bob@{}", server.host()))));
        // Again: these count somebody whom they know as too late.
        let refusal = server.refuse(accepting_invite(&reva.invite()), Reason::Refused).await;
        assert!(refusal.text.contains("accepted already"), "{}", refusal.text);
        reva.take_requests();
        let row = receive(&server, &reva).await;
        assert_eq!(row.path.as_deref(), Some("/Relativity"));
        let first = reva.take_requests();
        assert!(first[0].starts_with("PROPFIND "), "{family:?}: its address is asked first, by Bearer: {first:?}");
        assert_eq!(names(&server, "bob", "/Relativity").await, ["a.txt", "sub"]);
        assert_eq!(server.get("bob", "/Relativity/a.txt").await, "alpha");
        server.put("bob", "/Relativity/new.txt", "from bob").await;
        assert_eq!(reva.change(|state| state.tree.text("new.txt")).as_deref(), Some("from bob"));
        let told = wait_told(&reva, "SHARE_ACCEPTED").await;
        assert_eq!((&told["providerId"], &told["notification"]["sharedSecret"]), (&json!("84a7ac8a-share"), &json!(SECRET)));
        // OpenCloud and CERNBox never say that a share has ended: it shows when somebody looks, stays listed, and may come back.
        reva.change(|state| state.gone = Some(if family == Family::Cernbox { 401 } else { 404 }));
        let mount = MountId(mounts(&server, "bob").await[0].id);
        server.refuse(Command::MountRetry { id: mount.0.to_string() }, Reason::NotFound).await;
        assert_eq!(mounts(&server, "bob").await[0].state, "withdrawn", "{family:?}");
        for _ in 0..3 {
            server.running().services.federation().round().await;
        }
        server.ask_as("bob", "PROPFIND", "/Relativity").header("depth", "1").expect(503).await;
        assert_eq!(names(&server, "bob", "/").await, ["Relativity"], "{family:?}: what is gone stays in the listing");
        let server = server.restart().await;
        server.running().services.federation().round().await;
        assert_eq!(received(&server, "bob").await[0].state, "accepted", "{family:?}");
        reva.change(|state| state.gone = None);
        server.execute(Command::MountRetry { id: mount.0.to_string() }).await;
        assert_eq!(server.get("bob", "/Relativity/new.txt").await, "from bob");
        reva.check();
        server.stop().await;
    }
}

/// What oCIS sends: no secret, the number, and the opaque id of our user.
fn said(kind: &str, grantee: &str) -> Value {
    let protocol = json!({"name": "multi", "options": {}, "webdav": {"permissions": ["read"], "uri": "", "sharedSecret": ""}});
    json!({"notificationType": kind, "resourceType": "folder", "providerId": "84a7ac8a-share",
        "notification": {"owner": EINSTEIN, "grantee": grantee, "protocol": protocol}})
}

#[tokio::test]
async fn f14_what_ocis_says_without_a_secret_is_asked_at_the_door() {
    let (server, reva) = beside(Family::Ocis).await;
    let federation = server.running().services.federation();
    // Before it is accepted nobody is asked, and nothing ends.
    let offer = reva.offering(&format!("bob@{}", server.host()), "user");
    assert_eq!(post(&server, "/ocm/shares", &offer).await.status, 201);
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status, 201);
    federation.round().await;
    assert_eq!((reva.take_requests(), received(&server, "bob").await.len()), (Vec::<String>::new(), 1));
    receive(&server, &reva).await;
    wait_told(&reva, "SHARE_ACCEPTED").await;
    // A stranger says that it has ended: the door is asked, and says otherwise.
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status, 201);
    until("a look at the door", PATIENCE, async || reva.take_requests().iter().any(|request| request.starts_with("PROPFIND"))).await;
    federation.round().await;
    assert_eq!(names(&server, "bob", "/").await, ["Relativity"]);
    // A passing fault ends nothing, either.
    reva.change(|state| state.gone = Some(503));
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status, 201);
    federation.round().await;
    until("the fault", PATIENCE, async || mounts(&server, "bob").await[0].state == "offline").await;
    assert_eq!(received(&server, "bob").await.len(), 1);
    reva.change(|state| state.gone = None);
    // Fewer rights hold once the host grants no more, whatever the notification says; twice is as once.
    reva.change(|state| state.writable = false);
    for _ in 0..2 {
        assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_CHANGE_PERMISSION", "bob")).await.status, 201);
    }
    until("the new rights", PATIENCE, async || received(&server, "bob").await[0].permissions == 1).await;
    server.ask_as("bob", "PUT", "/Relativity/x.txt").body("x").expect(403).await;
    // What names nobody here changes nothing, and counts as a guess.
    for grantee in ["carol", "", EINSTEIN] {
        let status = post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", grantee)).await.status;
        assert_eq!(status, if grantee.is_empty() { 400 } else { 201 }, "{grantee}");
    }
    // It has really ended: then it goes, and nobody is told what they said themselves.
    reva.change(|state| (state.gone, state.told) = (Some(404), Vec::new()));
    let address = format!("bob@{}", server.host());
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", &address)).await.status, 201);
    until("the end", PATIENCE, async || received(&server, "bob").await.is_empty()).await;
    assert!(names(&server, "bob", "/").await.is_empty() && mounts(&server, "bob").await.is_empty());
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status, 201, "again");
    federation.round().await;
    assert!(reva.change(|state| state.told.is_empty()));
    reva.check();
    server.stop().await;
}

#[tokio::test]
async fn f14_of_a_server_that_sends_secrets_none_is_believed_without() {
    let (server, sender) = (TestServer::with_user("bob").await, Sender::start().await);
    server.execute(Command::RemoteAllowPrivate { host: sender.host() }).await;
    let address = format!("alice@http://{}", sender.host());
    let body = json!({"shareWith": format!("bob@{}", server.host()), "shareType": "user", "name": "pub", "resourceType": "file",
        "providerId": "84a7ac8a-share", "owner": address, "ownerDisplayName": "Alice", "sender": address, "senderDisplayName": "Alice",
        "protocol": {"name": "webdav", "options": {"sharedSecret": crate::support::sender::SECRET}}});
    assert_eq!(post(&server, "/ocm/shares", &body).await.status, 201);
    let id = received(&server, "bob").await[0].id;
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    sender.withdraw();
    assert_eq!(post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status, 201);
    server.running().services.federation().round().await;
    assert_eq!(received(&server, "bob").await[0].state, "accepted", "it stays, though its door is closed");
    // By whom it is said so often, is slowed.
    let mut last = 201;
    for _ in 0..60 {
        last = post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", "bob")).await.status;
    }
    assert_eq!(last, 429);
    server.stop().await;
}

#[tokio::test]
async fn a_share_with_a_group_is_an_offer_to_each_member() {
    let (server, reva) = beside(Family::Cernbox).await;
    for user in ["carol", "dave"] {
        server.add_user(user).await;
    }
    group_of(&server, "Physics", &["bob", "carol"]).await;
    let to = |group: &str| reva.offering(&format!("{group}@{}", server.host()), "group");
    let answer = post(&server, "/ocm/shares", &to("physics")).await;
    assert_eq!((answer.status, crate::ocs::json(&answer)["recipientUserId"].clone()), (201, json!("Physics")), "{}", answer.text());
    assert_eq!(post(&server, "/ocm/shares", &to("physics")).await.status, 201, "again");
    for (user, count) in [("bob", 1), ("carol", 1), ("dave", 0)] {
        assert_eq!(received(&server, user).await.len(), count, "{user}");
    }
    // What comes to a group that is not there counts as a guess; and a user is no group.
    for nobody in ["nobody", "bob"] {
        assert_eq!(post(&server, "/ocm/shares", &to(nobody)).await.status, 400);
    }
    // Who joins gets it when it is offered again.
    server
        .execute(Command::Group(causeway::service::admin::GroupCommand::AddMember { name: "Physics".to_owned(), user: "dave".to_owned() }))
        .await;
    assert_eq!(post(&server, "/ocm/shares", &to("Physics")).await.status, 201);
    assert_eq!((received(&server, "dave").await.len(), received(&server, "bob").await.len()), (1, 1));
    // Each answers alone; the other server hears that it is declined when nobody has it any more.
    let answer = async |user: &str, accept: bool| {
        let (user, id) = (user.to_owned(), received(&server, user).await[0].id);
        server.execute(Command::Share(if accept { ShareCommand::Accept { user, id } } else { ShareCommand::Decline { user, id } })).await;
    };
    answer("bob", true).await;
    answer("carol", false).await;
    wait_told(&reva, "SHARE_ACCEPTED").await;
    server.running().services.federation().round().await;
    let declined = || reva.change(|state| state.told.iter().filter(|told| told["notificationType"] == "SHARE_DECLINED").count());
    assert_eq!((declined(), server.get("bob", "/Relativity/a.txt").await.as_str()), (0, "alpha"));
    answer("dave", false).await;
    answer("bob", false).await;
    wait_told(&reva, "SHARE_DECLINED").await;
    assert_eq!(declined(), 1);
    // Its end is that of all.
    assert_eq!(post(&server, "/ocm/shares", &to("Physics")).await.status, 201);
    let ended = json!({"notificationType": "SHARE_UNSHARED", "resourceType": "folder", "providerId": "84a7ac8a-share", "notification": {"sharedSecret": SECRET}});
    assert_eq!(post(&server, "/ocm/notifications", &ended).await.status, 201);
    for user in ["bob", "carol", "dave"] {
        assert!(received(&server, user).await.is_empty(), "{user}");
    }
    reva.check();
    server.stop().await;
}
