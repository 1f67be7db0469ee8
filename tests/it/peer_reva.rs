//! oCIS 8, OpenCloud 6 and CERNBox 11, as hosts of what we receive and as receivers of what we share, by `protocol/ocm.md`.

use causeway::config::{Config, Durability};
use causeway::domain::{Clock, MountId, Secret, Signing};
use causeway::service::Reason;
use causeway::service::admin::{Command, ContactCommand, ContactRow, GroupCommand, InviteCommand, Outcome, ReceivedRow, ShareCommand};
use causeway::service::federation::Caller;
use causeway::wire::invite::Invite;
use serde_json::{Value, json};

use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::peer::reva::{EINSTEIN, Family, Reva, SECRET};
use crate::support::sender::Sender;
use crate::support::server::{Answer, Ask, TestServer};
use crate::support::sharing::{allow, create, group, group_of, received, remove, share, shared};
use crate::support::signer::{Kind, Signer};

/// A server with anna's and bob's homes, and one of the family beside it.
async fn beside(family: Family) -> (TestServer, Reva) {
    beside_at(family, Clock::System).await
}

/// The same by another clock.
async fn beside_at(family: Family, clock: Clock) -> (TestServer, Reva) {
    let (server, reva) = (TestServer::start_with(clock, |_config| {}).await, Reva::start(family).await);
    server.add_user("bob").await;
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

/// A notification of the rights, by the secret.
fn proven_change() -> Value {
    let mut change = said("SHARE_CHANGE_PERMISSION", "bob");
    change["notification"]["sharedSecret"] = json!(SECRET);
    change
}

async fn state(server: &TestServer) -> String {
    mounts(server, "bob").await[0].state.clone()
}

#[tokio::test]
async fn f14_what_ocis_says_without_a_secret_is_asked_at_the_door_and_ends_nothing() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, reva) = beside_at(Family::Ocis, clock.clone()).await;
    let federation = server.running().services.federation();
    let told = async |kind: &str, grantee: &str| post(&server, "/ocm/notifications", &said(kind, grantee)).await.status;
    // Before it is accepted nobody is asked, and nothing ends.
    let offer = reva.offering(&format!("bob@{}", server.host()), "user");
    assert_eq!(post(&server, "/ocm/shares", &offer).await.status, 201);
    assert_eq!(told("SHARE_UNSHARED", "bob").await, 201);
    federation.round().await;
    assert_eq!((reva.take_requests(), received(&server, "bob").await.len()), (Vec::<String>::new(), 1));
    receive(&server, &reva).await;
    wait_told(&reva, "SHARE_ACCEPTED").await;
    // A stranger says that it has ended: the door is asked, and says otherwise.
    assert_eq!(told("SHARE_UNSHARED", "bob").await, 201);
    until("a look at the door", PATIENCE, async || reva.take_requests().iter().any(|request| request.starts_with("PROPFIND"))).await;
    federation.round().await;
    assert_eq!(names(&server, "bob", "/").await, ["Relativity"]);
    // Fewer rights hold once the host grants no more, whatever the notification says; twice is as once.
    reva.change(|state| state.writable = false);
    for _ in 0..2 {
        assert_eq!(told("SHARE_CHANGE_PERMISSION", "bob").await, 201);
    }
    until("the new rights", PATIENCE, async || {
        clock.advance(60);
        federation.round().await;
        received(&server, "bob").await[0].permissions == 1
    })
    .await;
    server.ask_as("bob", "PUT", "/Relativity/x.txt").body("x").expect(403).await;
    // Its server is started anew and knows nothing for a moment, just when a stranger says that it has ended: the mount shows it, and stays.
    for gone in [404, 401] {
        reva.change(|state| (state.gone, state.told) = (Some(gone), Vec::new()));
        let address = format!("bob@{}", server.host());
        until("the fault", PATIENCE, async || {
            clock.advance(60);
            assert_eq!(told("SHARE_UNSHARED", &address).await, 201);
            federation.round().await;
            state(&server).await == "withdrawn"
        })
        .await;
        clock.advance(60);
        federation.round().await;
        assert_eq!(
            (received(&server, "bob").await[0].state.as_str(), names(&server, "bob", "/").await),
            ("accepted", vec!["Relativity".to_owned()])
        );
        server.ask_as("bob", "PROPFIND", "/Relativity").header("depth", "1").expect(503).await;
        // It recovers as any mount does.
        reva.change(|state| state.gone = None);
        server.execute(Command::MountRetry { id: mounts(&server, "bob").await[0].id.to_string() }).await;
        assert_eq!(server.get("bob", "/Relativity/a.txt").await, "alpha");
    }
    assert!(reva.change(|state| state.told.is_empty()), "nobody is told what nobody did");
    // Who proves it ends it.
    let mut proven = said("SHARE_UNSHARED", "bob");
    proven["notification"]["sharedSecret"] = json!(SECRET);
    assert_eq!(post(&server, "/ocm/notifications", &proven).await.status, 201);
    assert!(
        received(&server, "bob").await.is_empty() && names(&server, "bob", "/").await.is_empty() && mounts(&server, "bob").await.is_empty()
    );
    reva.check();
    server.stop().await;
}

#[tokio::test]
async fn f4_a_hint_of_nothing_known_counts_as_a_guess() {
    for grantee in ["carol", EINSTEIN] {
        let (server, reva) = beside_at(Family::Ocis, Clock::fixed(1_800_000_000)).await;
        receive(&server, &reva).await;
        let told = async |grantee: &str| post(&server, "/ocm/notifications", &said("SHARE_UNSHARED", grantee)).await.status;
        assert_eq!(told("").await, 400);
        for number in 0..20 {
            assert_eq!(told(grantee).await, 201, "{number}: as if it were known");
        }
        assert_eq!(told(grantee).await, 429, "{grantee}");
        server.stop().await;
    }
}

#[tokio::test]
async fn f11_a_burst_of_proven_changes_is_one_look_and_leaves_a_paused_server_alone() {
    let clock = Clock::fixed(1_800_000_000);
    let (server, reva) = beside_at(Family::Ocis, clock.clone()).await;
    let federation = server.running().services.federation();
    receive(&server, &reva).await;
    wait_told(&reva, "SHARE_ACCEPTED").await;
    let (listings, change) = (|| reva.take_requests().iter().filter(|request| request.starts_with("PROPFIND")).count(), proven_change());
    listings();
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(post(&server, "/ocm/notifications", &change).await.status, 201);
    }
    federation.round().await;
    // A look is two questions; the polls ask one every two seconds, two where something seems to have changed.
    let (asked, polls) = (listings(), usize::try_from(begun.elapsed().as_secs()).unwrap() + 2);
    assert!((2..=2 + 2 * polls).contains(&asked), "{asked} questions in {polls} seconds");
    // Who asks us to wait is not asked, whoever says that something has changed.
    reva.change(|state| state.gone = Some(429));
    until("the pause", PATIENCE, async || state(&server).await == "offline").await;
    listings();
    for _ in 0..5 {
        clock.advance(60);
        assert_eq!(post(&server, "/ocm/notifications", &change).await.status, 201);
        federation.round().await;
    }
    assert_eq!(listings(), 0);
    reva.check();
    server.stop().await;
}

#[tokio::test]
async fn f14_a_hint_is_no_way_round_signatures_that_are_demanded() {
    let clock = Clock::fixed(Clock::System.now());
    let (server, reva) = beside_at(Family::Ocis, clock.clone()).await;
    receive(&server, &reva).await;
    wait_told(&reva, "SHARE_ACCEPTED").await;
    let server = server.sleep().await.wake_with(|config| config.signatures = Signing::Required).await;
    let signer = Signer::start(Kind::Cavage).await;
    let federation = server.running().services.federation();
    server.execute(Command::MountRetry { id: mounts(&server, "bob").await[0].id.to_string() }).await;
    // New rights, which show when somebody looks: polls see the same etag.
    reva.change(|state| state.writable = false);
    let hint = said("SHARE_CHANGE_PERMISSION", "bob");
    assert_eq!(post(&server, "/ocm/notifications", &hint).await.status, 401);
    // It names no share by a secret, so it is not known by whom it must be signed.
    assert_eq!(signer.send(&server, &signer.draft(&server, "/ocm/notifications", &hint)).await.status, 201);
    let ended = said("SHARE_UNSHARED", "bob");
    assert_eq!(signer.send(&server, &signer.draft(&server, "/ocm/notifications", &ended)).await.status, 201);
    federation.round().await;
    // Polls go on, each with one question; two more would be those of a look.
    let mut asked = 0;
    reva.take_requests();
    until("polls", PATIENCE, async || {
        asked += reva.take_requests().iter().filter(|request| request.starts_with("PROPFIND")).count();
        asked >= 4
    })
    .await;
    let row = received(&server, "bob").await.remove(0);
    assert_eq!((row.state.as_str(), row.permissions == 1), ("accepted", false), "nobody looked");
    // Where they are not demanded, the same makes somebody look.
    let server = server.sleep().await.wake_with(|config| config.signatures = Signing::On).await;
    assert_eq!(post(&server, "/ocm/notifications", &hint).await.status, 201);
    until("the new rights", PATIENCE, async || {
        clock.advance(60);
        server.running().services.federation().round().await;
        received(&server, "bob").await[0].permissions == 1
    })
    .await;
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
    group(&server, GroupCommand::AddMember { name: "Physics".to_owned(), user: "dave".to_owned() }).await;
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

#[tokio::test]
async fn who_leaves_a_group_has_no_longer_what_was_shared_with_it() {
    let (server, reva) = beside(Family::Cernbox).await;
    for user in ["carol", "dave", "emma"] {
        server.add_user(user).await;
    }
    group_of(&server, "Physics", &["bob", "carol", "dave"]).await;
    let offer = reva.offering(&format!("Physics@{}", server.host()), "group");
    assert_eq!(post(&server, "/ocm/shares", &offer).await.status, 201);
    let number = async |user: &str| received(&server, user).await[0].id;
    let accept = |user: &str, id| Command::Share(ShareCommand::Accept { user: user.to_owned(), id });
    for user in ["bob", "carol"] {
        server.execute(accept(user, number(user).await)).await;
        assert_eq!(server.get(user, "/Relativity/a.txt").await, "alpha");
    }
    wait_told(&reva, "SHARE_ACCEPTED").await;
    let leave = async |user: &str| group(&server, GroupCommand::RemoveMember { name: "physics".to_owned(), user: user.to_owned() }).await;
    let has_none = async |user: &str| {
        until("the end", PATIENCE, async || received(&server, user).await.is_empty()).await;
        assert!(mounts(&server, user).await.is_empty() && names(&server, user, "/").await.is_empty(), "{user}");
    };
    // Who accepted it loses the mount, who did not the offer; the other server hears nothing of either: others have it.
    let pending = number("dave").await;
    leave("dave").await;
    server.running().services.execute(accept("dave", pending)).await.unwrap_err();
    has_none("dave").await;
    let server_told = || reva.change(|state| state.told.iter().filter(|told| told["notificationType"] == "SHARE_DECLINED").count());
    leave("carol").await;
    has_none("carol").await;
    server.running().services.federation().round().await;
    assert_eq!((server_told(), server.get("bob", "/Relativity/a.txt").await.as_str()), (0, "alpha"));
    // Who is not of the group is not touched, and who comes back gets it when it is offered again; a restart keeps by which group it came.
    group(&server, GroupCommand::AddMember { name: "Physics".to_owned(), user: "dave".to_owned() }).await;
    assert_eq!(post(&server, "/ocm/shares", &offer).await.status, 201);
    let mut own = reva.offering(&format!("emma@{}", server.host()), "user");
    own["providerId"] = json!("another-share");
    assert_eq!(post(&server, "/ocm/shares", &own).await.status, 201);
    let asleep = server.sleep().await;
    let server = asleep.wake().await;
    group(&server, GroupCommand::Remove { name: "Physics".to_owned() }).await;
    for user in ["bob", "dave"] {
        until("the end", PATIENCE, async || received(&server, user).await.is_empty()).await;
        assert!(mounts(&server, user).await.is_empty());
    }
    wait_told(&reva, "SHARE_DECLINED").await;
    assert_eq!((server_told(), received(&server, "emma").await.len()), (1, 1));
    reva.check();
    server.stop().await;
}

#[tokio::test]
async fn f11_a_share_with_a_group_counts_for_each_of_its_members() {
    let clock = Clock::fixed(1_800_000_000);
    let durable = |config: &mut Config| config.durability = Durability::PowerCut;
    let (server, reva) = (TestServer::start_with(clock.clone(), durable).await, Reva::start(Family::Cernbox).await);
    server.add_user("bob").await;
    let mut members = vec!["bob".to_owned()];
    for number in 1..20 {
        members.push(format!("user{number}"));
        server.add_user(&members[number]).await;
    }
    group_of(&server, "Physics", &members.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let to = |number: usize| {
        let mut offer = reva.offering(&format!("Physics@{}", server.host()), "group");
        offer["providerId"] = json!(format!("share-{number}"));
        offer
    };
    // Sixty at once from one address: three with twenty members.
    for number in 0..3 {
        assert_eq!(post(&server, "/ocm/shares", &to(number)).await.status, 201);
    }
    assert_eq!(post(&server, "/ocm/shares", &to(3)).await.status, 429);
    clock.advance(60);
    assert_eq!(post(&server, "/ocm/shares", &to(3)).await.status, 201);
    clock.advance(10 * 60);
    assert_eq!(post(&server, "/ocm/shares", &to(4)).await.status, 429, "what is over counts, too");
    // One caller who does not wait for the answer: all have it, or none.
    clock.advance(24 * 3600);
    {
        let share = causeway::wire::ocm::IncomingShare::parse(to(5).to_string().as_bytes()).unwrap();
        let offering =
            server.running().services.federation().offered(&share, Caller { address: "192.0.2.1".parse().unwrap(), signed: false });
        let at_once = futures_util::FutureExt::now_or_never(Box::pin(offering));
        assert!(at_once.is_none(), "it waits for the disk: {at_once:?}");
    }
    let server = server.restart().await;
    for user in &members {
        assert_eq!(received(&server, user).await.len(), 5, "{user}");
    }
    server.stop().await;
}
