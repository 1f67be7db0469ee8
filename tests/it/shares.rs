//! Shares between users and groups of one server, as clients and administrators meet them.

use causeway::domain::Clock;
use causeway::service::Reason;
use causeway::service::admin::{AccountCommand, Command, GroupCommand, ShareCommand, ShareTerms};

use crate::server_cli::Cli;
use crate::support::federation::{etag, names, property, transfer};
use crate::support::server::{Pair, TestServer, password};
use crate::support::sharing::{allow, create, group, group_of, received, remove, share, shared, users};

#[tokio::test]
async fn every_method_works_through_a_share_of_a_folder() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    assert_eq!((row.path.as_deref(), row.permissions, row.kind.as_str()), (Some("/Photos"), 31, "folder"));
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    assert_eq!(names(&server, "bob", "/Photos").await, ["a.txt", "sub"]);
    assert_eq!(server.get("bob", "/Photos/sub/deep.txt").await, "deep down");
    let ranged = server.ask_as("bob", "GET", "/Photos/a.txt").header("range", "bytes=5-").expect(206).await;
    assert_eq!(ranged.text(), "anna");
    server.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(server.get("anna", "/Photos/b.txt").await, "from bob");
    server.put("bob", "/Photos/a.txt", "changed by bob").await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "changed by bob");
    server.mkcol("bob", "/Photos/new").await;
    transfer(&server, "bob", "MOVE", "/Photos/b.txt", "/Photos/new/c.txt").expect(201).await;
    transfer(&server, "bob", "COPY", "/Photos/new", "/Photos/copied").expect(201).await;
    assert_eq!(server.get("anna", "/Photos/copied/c.txt").await, "from bob");
    server.ask_as("bob", "DELETE", "/Photos/new").expect(204).await;
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "copied", "sub"]);
    // Into the share and out of it.
    server.put("bob", "/mine.txt", "bob's own").await;
    transfer(&server, "bob", "MOVE", "/mine.txt", "/Photos/mine.txt").expect(201).await;
    assert_eq!(server.get("anna", "/Photos/mine.txt").await, "bob's own");
    transfer(&server, "bob", "MOVE", "/Photos/sub", "/sub").expect(201).await;
    assert_eq!(server.get("bob", "/sub/deep.txt").await, "deep down");
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "copied", "mine.txt"]);
    transfer(&server, "bob", "COPY", "/Photos", "/Everything").expect(201).await;
    assert_eq!(names(&server, "bob", "/Everything").await, ["a.txt", "copied", "mine.txt"]);
    // Without an end, because nothing here leaves the server.
    let all = server.ask_as("bob", "PROPFIND", "/").header("depth", "infinity").expect(207).await.text();
    assert!(all.contains("/Photos/copied/c.txt<"), "{all}");
    let patch =
        "<d:propertyupdate xmlns:d=\"DAV:\" xmlns:t=\"urn:test\"><d:set><d:prop><t:color>red</t:color></d:prop></d:set></d:propertyupdate>";
    server.ask_as("bob", "PROPPATCH", "/Photos/a.txt").body(patch).expect(207).await;
    let shown = server.ask_as("anna", "PROPFIND", "/Photos/a.txt").header("depth", "0");
    let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:t=\"urn:test\"><d:prop><t:color/></d:prop></d:propfind>";
    let shown = shown.body(body).expect(207).await.text();
    assert!(shown.contains(">red<"), "{shown}");
    server.ask_as("bob", "PUT", "/Photos/none/x.txt").body("x").expect(409).await;
    server.ask_as("bob", "MKCOL", "/Photos").expect(405).await;
    server.ask_as("bob", "PUT", "/Photos").body("x").expect(405).await;
    server.ask_as("bob", "GET", "/Photos/none.txt").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn a_share_that_is_read_only_refuses_every_write() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "read").await;
    let before = etag(&server, "anna", "/").await;
    server.put("bob", "/mine.txt", "mine").await;
    for (method, path) in [
        ("PUT", "/Photos/a.txt"),
        ("PUT", "/Photos/new.txt"),
        ("MKCOL", "/Photos/new"),
        ("DELETE", "/Photos/a.txt"),
        ("DELETE", "/Photos/sub"),
    ] {
        server.ask_as("bob", method, path).expect(403).await;
    }
    let lock = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    server.ask_as("bob", "LOCK", "/Photos/a.txt").body(lock).expect(403).await;
    server.ask_as("bob", "LOCK", "/Photos/new.txt").body(lock).expect(403).await;
    transfer(&server, "bob", "MOVE", "/Photos/a.txt", "/a.txt").expect(403).await;
    transfer(&server, "bob", "MOVE", "/Photos/a.txt", "/Photos/b.txt").expect(403).await;
    transfer(&server, "bob", "MOVE", "/mine.txt", "/Photos/mine.txt").expect(403).await;
    transfer(&server, "bob", "COPY", "/Photos/a.txt", "/Photos/b.txt").expect(403).await;
    let patch =
        "<d:propertyupdate xmlns:d=\"DAV:\" xmlns:t=\"urn:test\"><d:set><d:prop><t:color>red</t:color></d:prop></d:set></d:propertyupdate>";
    server.ask_as("bob", "PROPPATCH", "/Photos/a.txt").body(patch).expect(403).await;
    transfer(&server, "bob", "COPY", "/Photos/a.txt", "/a.txt").expect(201).await;
    assert_eq!(server.get("bob", "/a.txt").await, "from anna");
    assert_eq!(etag(&server, "anna", "/").await, before, "nothing happened at the owner's");
    server.stop().await;
}

#[tokio::test]
async fn one_file_is_shared_as_one_file() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos/a.txt", "bob", "31").await;
    assert_eq!(row.permissions, 19, "a file can be neither added to nor deleted");
    assert_eq!(server.get("bob", "/a.txt").await, "from anna");
    assert_eq!(property(&server, "bob", "/a.txt", "oc:permissions").await, "SRGDNVW");
    server.put("bob", "/a.txt", "from bob").await;
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "from bob");
    server.ask_as("bob", "PUT", "/a.txt/below").body("x").expect(403).await;
    transfer(&server, "bob", "MOVE", "/a.txt", "/renamed.txt").expect(201).await;
    assert_eq!(server.get("bob", "/renamed.txt").await, "from bob");
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "sub"], "the owner's file keeps its name");
    server.stop().await;
}

#[tokio::test]
async fn properties_tell_what_a_share_is() {
    let server = users(&["anna", "bob"]).await;
    group_of(&server, "team", &["bob"]).await;
    share(&server, "anna", "/Photos", "bob", "read").await;
    for (path, letters) in [("/Photos", "SGDNV"), ("/Photos/sub", "SG"), ("/Photos/a.txt", "SG")] {
        assert_eq!(property(&server, "bob", path, "oc:permissions").await, letters, "{path}");
    }
    let listed = server.ask_as("bob", "PROPFIND", "/").header("depth", "1");
    let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\"><d:prop>\
        <oc:permissions/><oc:owner-id/><nc:mount-type/><nc:is-mount-root/><oc:id/></d:prop></d:propfind>";
    let listed = listed.body(body).expect(207).await.text();
    let row = listed.split("<d:response>").find(|part| part.contains("/Photos/<")).unwrap();
    for part in ["<oc:permissions>SGDNV<", "<oc:owner-id>anna<", "<nc:mount-type>shared<", "<nc:is-mount-root>true<"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    assert_eq!(property(&server, "bob", "/Photos/a.txt", "oc:owner-display-name").await, "anna");
    assert_eq!(property(&server, "bob", "/Photos", "oc:id").await, property(&server, "anna", "/Photos", "oc:id").await);
    // The owner sees how things are shared; the receiver has no shares of them.
    let types = async |user: &str, path: &str| {
        let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop><oc:share-types/></d:prop></d:propfind>";
        let text = server.ask_as(user, "PROPFIND", path).header("depth", "0").body(body).expect(207).await.text();
        text.split("share-type>").skip(1).step_by(2).map(|part| part.chars().next().unwrap()).collect::<String>()
    };
    assert_eq!(types("anna", "/Photos").await, "0");
    share(&server, "anna", "/Photos", "group:team", "read").await;
    server.link("anna", "/Photos", "read").await;
    assert_eq!(types("anna", "/Photos").await, "013");
    assert_eq!(types("anna", "/Photos/sub").await, "");
    assert_eq!(types("bob", "/Photos").await, "");
    server.stop().await;
}

#[tokio::test]
async fn a_change_at_either_end_raises_the_etags_up_to_the_receivers_root() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    server.mkcol("bob", "/Stuff").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Stuff/Anna").expect(201).await;
    let look = async || [etag(&server, "bob", "/").await, etag(&server, "bob", "/Stuff").await, etag(&server, "bob", "/Stuff/Anna").await];
    let mut before = look().await;
    assert_eq!(look().await, before, "nothing changes by itself");
    server.put("anna", "/Photos/sub/deep.txt", "changed").await;
    for change in ["anna's", "bob's", "a right"] {
        match change {
            "anna's" => {}
            "bob's" => server.put("bob", "/Stuff/Anna/sub/new.txt", "new").await,
            _ => allow(&server, row.id, "read").await,
        }
        let after = look().await;
        let raised = if change == "a right" { 2 } else { 3 };
        for (new, old) in after.iter().zip(&before).take(raised) {
            assert_ne!(new, old, "{change}");
        }
        before = after;
    }
    // The listing of the parent tells the same.
    let listed = server.ask_as("bob", "PROPFIND", "/Stuff").header("depth", "1").expect(207).await.text().replace("&quot;", "\"");
    assert!(listed.contains(&before[1]) && listed.contains(&before[2]), "{listed}");
    server.put("anna", "/elsewhere.txt", "x").await;
    assert_eq!(look().await, before, "what is not shared changes nothing");
    server.put("bob", "/own.txt", "x").await;
    let after = look().await;
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..], "what bob does elsewhere changes nothing in the share");
    server.stop().await;
}

#[tokio::test]
async fn a_share_follows_its_node_and_dies_with_it() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.mkcol("anna", "/Archive").await;
    transfer(&server, "anna", "MOVE", "/Photos", "/Archive/Old").expect(201).await;
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "from anna", "the receiver's name stays");
    assert_eq!(shared(&server, "anna").await[0].path.as_deref(), Some("/Archive/Old"));
    // Its folder is deleted with it, and a new one of the same name is another one (attack L3).
    server.ask_as("anna", "DELETE", "/Archive").expect(204).await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.ask_as("bob", "GET", "/Photos/a.txt").expect(404).await;
    server.mkcol("anna", "/Archive").await;
    server.mkcol("anna", "/Archive/Old").await;
    assert!(shared(&server, "anna").await.is_empty() && received(&server, "bob").await.is_empty());
    server.mkcol("bob", "/Photos").await;
    server.stop().await;
}

#[tokio::test]
async fn what_vanishes_on_disk_takes_its_share_out_of_sight_and_brings_it_back() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    let (home, aside) = (server.data().join("anna/Photos"), server.data().join("aside"));
    std::fs::rename(&home, &aside).unwrap();
    assert_eq!(names(&server, "anna", "/").await, Vec::<String>::new());
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.ask_as("bob", "GET", "/Photos/a.txt").expect(404).await;
    assert_eq!(received(&server, "bob").await.len(), 1, "it may come back");
    std::fs::rename(&aside, &home).unwrap();
    assert_eq!(names(&server, "anna", "/").await, ["Photos"]);
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "from anna");
    server.stop().await;
}

#[tokio::test]
async fn an_owners_home_that_is_away_is_never_shown_as_absence() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.put("bob", "/own.txt", "bob's").await;
    let (home, aside) = (server.data().join("anna"), server.data().join("anna-away"));
    std::fs::rename(&home, &aside).unwrap();
    assert_eq!(names(&server, "bob", "/").await, ["Photos", "own.txt"]);
    let away = server.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(503).await;
    assert!(away.header("retry-after").is_some());
    server.ask_as("bob", "PUT", "/Photos/new.txt").body("x").expect(503).await;
    server.ask_as("bob", "GET", "/Photos/none.txt").expect(503).await;
    assert_eq!(server.get("bob", "/own.txt").await, "bob's");
    let server = server.restart().await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos", "own.txt"]);
    server.ask_as("bob", "PROPFIND", "/Photos").header("depth", "1").expect(503).await;
    std::fs::rename(&aside, &home).unwrap();
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "from anna");
    // The mountpoint is bob's own, whatever becomes of the rest.
    std::fs::rename(&home, &aside).unwrap();
    let server = server.restart().await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Pictures").expect(201).await;
    server.ask_as("bob", "DELETE", "/Pictures").expect(204).await;
    std::fs::rename(&aside, &home).unwrap();
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "sub"]);
    server.stop().await;
}

#[tokio::test]
async fn the_receiver_renames_moves_and_declines_without_touching_the_owners_files() {
    let server = users(&["anna", "bob"]).await;
    server.mkcol("bob", "/Photos").await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    assert_eq!(received(&server, "bob").await[0].path.as_deref(), Some("/Photos (2)"));
    transfer(&server, "bob", "MOVE", "/Photos (2)".replace(' ', "%20").as_str(), "/Photos/Inner").expect(201).await;
    assert_eq!(server.get("bob", "/Photos/Inner/a.txt").await, "from anna");
    let server = server.restart().await;
    assert_eq!(server.get("bob", "/Photos/Inner/a.txt").await, "from anna", "it hangs there after a restart");
    server.ask_as("bob", "DELETE", "/Photos/Inner").expect(204).await;
    assert_eq!(names(&server, "bob", "/Photos").await, Vec::<String>::new());
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "sub"], "nothing was deleted");
    let rows = received(&server, "bob").await;
    assert_eq!((rows[0].state.as_str(), rows[0].path.as_deref()), ("declined", None));
    let server = server.restart().await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos"], "what was declined stays away");
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: row.id })).await;
    assert_eq!(received(&server, "bob").await[0].path.as_deref(), Some("/Photos (2)"));
    // Deleting a folder above it declines too.
    transfer(&server, "bob", "MOVE", "/Photos%20(2)", "/Photos/Inner").expect(201).await;
    server.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert_eq!(received(&server, "bob").await[0].state, "declined");
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "sub"]);
    remove(&server, row.id).await;
    server.refuse(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: row.id }), Reason::NotFound).await;
    server.stop().await;
}

#[tokio::test]
async fn shares_wait_to_be_accepted_where_the_administrator_wants_that() {
    let server = TestServer::start_with(Clock::System, |config| config.auto_accept_shares = false).await;
    server.add_user("anna").await;
    server.add_user("bob").await;
    server.mkcol("anna", "/Photos").await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    assert_eq!(received(&server, "bob").await[0].state, "pending");
    let server = server.restart().await;
    assert_eq!(received(&server, "bob").await[0].state, "pending");
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: row.id })).await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    server.execute(Command::Share(ShareCommand::Decline { user: "bob".to_owned(), id: row.id })).await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_group_receives_with_those_who_come_and_loses_those_who_leave() {
    let server = users(&["anna", "bob", "carol", "dave"]).await;
    group_of(&server, "team", &["anna", "bob", "carol"]).await;
    let row = share(&server, "anna", "/Photos", "group:Team", "31").await;
    assert_eq!(row.with, "group:team");
    assert_eq!(names(&server, "anna", "/").await, ["Photos"], "the owner does not receive it");
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    server.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert_eq!(names(&server, "carol", "/").await, ["Photos"], "who declines, declines alone");
    group(&server, GroupCommand::AddMember { name: "team".to_owned(), user: "dave".to_owned() }).await;
    assert_eq!(server.get("dave", "/Photos/a.txt").await, "from anna");
    let resharing = share(&server, "dave", "/Photos/sub", "bob", "read").await;
    assert_eq!(server.get("bob", "/sub/deep.txt").await, "deep down");
    group(&server, GroupCommand::RemoveMember { name: "team".to_owned(), user: "dave".to_owned() }).await;
    assert_eq!(names(&server, "dave", "/").await, Vec::<String>::new());
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new(), "what dave shared on ends with his own");
    server.refuse(Command::Share(ShareCommand::Remove { id: resharing.id }), Reason::NotFound).await;
    // By the group and by name it is one folder, with the rights of both.
    share(&server, "anna", "/Photos", "carol", "read").await;
    assert_eq!(names(&server, "carol", "/").await, ["Photos"]);
    remove(&server, row.id).await;
    assert_eq!(property(&server, "carol", "/Photos", "oc:permissions").await, "SGDNV");
    share(&server, "anna", "/Photos", "group:team", "31").await;
    assert_eq!(property(&server, "carol", "/Photos", "oc:permissions").await, "SRGDNVCK");
    assert_eq!(names(&server, "bob", "/").await, ["Photos"], "a new share is a new question");
    group(&server, GroupCommand::Remove { name: "team".to_owned() }).await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    group_of(&server, "team", &["bob"]).await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new(), "a new group of that name is another one");
    server.stop().await;
}

#[tokio::test]
async fn mounts_of_the_owner_are_seen_through_a_share() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Far").await;
    anna.put("anna", "/Far/f.txt", "far away").await;
    anna.put("anna", "/Far/g.txt", "not read before").await;
    let link = anna.link("anna", "/Far", "edit").await;
    bob.add_user("carol").await;
    bob.mkcol("bob", "/Shared").await;
    bob.mount("bob", &link.url).await;
    transfer(&bob, "bob", "MOVE", "/Far", "/Shared/Far").expect(201).await;
    share(&bob, "bob", "/Shared", "carol", "read").await;
    assert_eq!(bob.get("carol", "/Shared/Far/f.txt").await, "far away");
    assert_eq!(property(&bob, "carol", "/Shared/Far", "oc:permissions").await, "SG", "rights intersect, and the mount is bob's");
    bob.ask_as("carol", "PUT", "/Shared/Far/new.txt").body("x").expect(403).await;
    bob.ask_as("carol", "DELETE", "/Shared/Far").expect(403).await;
    bob.refuse(create("carol", "/Shared/Far", "bob", "read"), Reason::Refused).await;
    let walk = bob.ask_as("carol", "PROPFIND", "/").header("depth", "infinity").expect(403).await.text();
    assert!(walk.contains("propfind-finite-depth"), "{walk}");
    // A dead remote below a share is a folder that answers 503, and the rest goes on.
    anna.stop().await;
    assert_eq!(names(&bob, "carol", "/Shared").await, ["Far"]);
    bob.ask_as("carol", "GET", "/Shared/Far/g.txt").expect(503).await;
    bob.stop().await;
}

#[tokio::test]
async fn locks_show_through_every_view_and_hold() {
    let server = users(&["anna", "bob", "carol"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "anna", "/Photos", "carol", "31").await;
    let lock = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    let locked = server.ask_as("bob", "LOCK", "/Photos/a.txt").body(lock).expect(200).await;
    assert!(locked.text().contains("<d:href>/remote.php/webdav/Photos/a.txt<"), "{}", locked.text());
    let token = locked.header("lock-token").unwrap().to_owned();
    for user in ["anna", "carol"] {
        let refused = server.ask_as(user, "PUT", "/Photos/a.txt").body("x").expect(423).await.text();
        assert!(!refused.contains("urn:uuid"), "{refused}");
        // Its token in foreign hands opens nothing, and nobody else gives it back.
        server.ask_as(user, "PUT", "/Photos/a.txt").header("if", &format!("({token})")).body("x").expect(423).await;
        server.ask_as(user, "UNLOCK", "/Photos/a.txt").header("lock-token", &token).expect(409).await;
        let body = "<d:propfind xmlns:d=\"DAV:\"><d:prop><d:lockdiscovery/></d:prop></d:propfind>";
        let shown = server.ask_as(user, "PROPFIND", "/Photos/a.txt").header("depth", "0").body(body).expect(207).await.text();
        assert!(shown.contains("<d:activelock>") && !shown.contains("urn:uuid"), "{shown}");
    }
    server.ask_as("anna", "DELETE", "/Photos").expect(423).await;
    server.ask_as("bob", "PUT", "/Photos/a.txt").header("if", &format!("({token})")).body("locked").expect(204).await;
    server.ask_as("bob", "UNLOCK", "/Photos/a.txt").header("lock-token", &token).expect(204).await;
    // A lock of the owner above the share reaches into it, and one of the receiver above the mountpoint too.
    let above = server.ask_as("anna", "LOCK", "/Photos").body(lock).expect(200).await;
    server.ask_as("bob", "PUT", "/Photos/a.txt").body("x").expect(423).await;
    server.ask_as("anna", "UNLOCK", "/Photos").header("lock-token", above.header("lock-token").unwrap()).expect(204).await;
    server.mkcol("bob", "/Stuff").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Stuff/Photos").expect(201).await;
    let own = server.ask_as("bob", "LOCK", "/Stuff").body(lock).expect(200).await;
    server.ask_as("bob", "PUT", "/Stuff/Photos/a.txt").body("x").expect(423).await;
    server.ask_as("bob", "DELETE", "/Stuff/Photos").expect(423).await;
    server.put("carol", "/Photos/a.txt", "not locked for carol").await;
    server.ask_as("bob", "UNLOCK", "/Stuff").header("lock-token", own.header("lock-token").unwrap()).expect(204).await;
    server.stop().await;
}

#[tokio::test]
async fn uploads_count_towards_the_owner() {
    let server = TestServer::start().await;
    let secret = |user: &str| causeway::domain::Secret::new(password(user));
    for (name, quota) in [("anna", Some(100)), ("bob", Some(1_000_000))] {
        let (name, display_name) = (name.to_owned(), None);
        let password = secret(&name);
        server.execute(Command::UserAdd { name, admin: false, display_name, quota, password }).await;
    }
    server.mkcol("anna", "/Photos").await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.put("bob", "/Photos/small.txt", &"x".repeat(60)).await;
    server.ask_as("bob", "PUT", "/Photos/large.txt").body("x".repeat(60)).expect(507).await;
    assert_eq!(property(&server, "bob", "/Photos", "d:quota-available-bytes").await, "40");
    assert_eq!(property(&server, "bob", "/", "oc:size").await, "0", "a share is no part of the receiver's home");
    assert_eq!(property(&server, "bob", "/Photos", "oc:size").await, "60");
    server.stop().await;
}

#[tokio::test]
async fn a_share_ends_with_its_last_day() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    server.add_user("bob").await;
    server.mkcol("anna", "/Photos").await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    let until = |day: &str| ShareTerms { expires: Some(day.to_owned()), ..ShareTerms::default() };
    server.refuse(Command::Share(ShareCommand::Update { id: row.id, terms: until("2020-01-01"), no_expiry: false }), Reason::Usage).await;
    server.execute(Command::Share(ShareCommand::Update { id: row.id, terms: until("2027-01-20"), no_expiry: false })).await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    clock.advance(30 * 24 * 3600);
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.mkcol("bob", "/Photos").await;
    assert_eq!(names(&server, "bob", "/Photos").await, Vec::<String>::new(), "the name is free for something else");
    assert!(received(&server, "bob").await.is_empty() && shared(&server, "anna").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn who_goes_takes_the_shares_of_both_directions_along() {
    let server = users(&["anna", "bob", "carol"]).await;
    server.mkcol("bob", "/Bobs").await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "bob", "/Photos/sub", "carol", "17").await;
    share(&server, "bob", "/Bobs", "carol", "read").await;
    server.mkcol("carol", "/Carols").await;
    share(&server, "carol", "/Carols", "bob", "read").await;
    assert_eq!(names(&server, "carol", "/").await, ["Bobs", "Carols", "sub"]);
    server.execute(Command::UserRemove { name: "bob".to_owned(), purge: false }).await;
    assert_eq!(names(&server, "carol", "/").await, ["Carols"]);
    assert!(shared(&server, "anna").await.is_empty() && shared(&server, "carol").await.is_empty());
    assert!(received(&server, "carol").await.is_empty());
    server.add_user("bob").await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new(), "a new bob is somebody else");
    let server = server.restart().await;
    assert_eq!(names(&server, "carol", "/").await, ["Carols"]);
    server.stop().await;
}

#[test]
fn commands_about_shares_work_without_a_server() {
    let cli = Cli::new();
    for user in ["anna", "bob"] {
        cli.ok(&["user", "add", user, "--password-stdin"], "a password\n");
    }
    std::fs::create_dir_all(cli.data().join("anna/Photos")).unwrap();
    let made = cli.ok(&["share", "create", "anna", "/Photos", "bob", "--permissions", "edit", "--note", "for you", "--json"], "");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!((&made["permissions"], &made["with"]), (&serde_json::json!(15), &serde_json::json!("bob")));
    let id = made["id"].to_string();
    assert!(cli.ok(&["share", "list", "anna"], "").contains("anna:/Photos"));
    assert!(cli.ok(&["share", "received", "bob"], "").contains("accepted"));
    cli.ok(&["share", "update", &id, "--permissions", "read", "--expires", "2099-12-31"], "");
    cli.ok(&["share", "update", &id, "--no-expiry"], "");
    assert!(cli.ok(&["share", "decline", "bob", &id], "").contains("declined"));
    assert!(cli.ok(&["share", "accept", "bob", &id], "").contains("at bob:/Photos is accepted"));
    cli.fails(&["share", "create", "anna", "/Photos", "bob"], 5);
    cli.fails(&["share", "create", "anna", "/", "bob"], 5);
    cli.fails(&["share", "create", "anna", "/Photos", "anna"], 5);
    cli.fails(&["share", "create", "anna", "/Photos", "nobody"], 3);
    cli.fails(&["share", "create", "anna", "/Photos", "group:nobody"], 3);
    cli.fails(&["share", "create", "anna", "/nothing", "bob"], 3);
    cli.fails(&["share", "create", "anna", "/Photos", "bob", "--permissions", "4"], 2);
    cli.fails(&["share", "create", "anna", "/Photos", "bob", "--permissions", "some"], 2);
    cli.fails(&["share", "update", "12345", "--permissions", "read"], 3);
    cli.ok(&["share", "remove", &id], "");
    cli.fails(&["share", "remove", &id], 3);
}

/// What is in a user's trash: hrefs of the entries.
async fn trash(server: &TestServer, user: &str) -> Vec<String> {
    let path = format!("/remote.php/dav/trash-bin/{user}/");
    let listed = server.ask("PROPFIND", &path).basic(user, &password(user)).header("depth", "1").expect(207).await.text();
    listed.split("<d:href>").skip(2).map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_a_receiver_deletes_or_overwrites_is_kept_where_the_bytes_are() {
    let server = users(&["anna", "bob"]).await;
    let id = property(&server, "anna", "/Photos/a.txt", "oc:fileid").await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.put("bob", "/Photos/a.txt", "overwritten by bob").await;
    let versions = format!("/remote.php/dav/meta/{id}/v");
    let asked = |user: &'static str| server.ask("PROPFIND", &versions).basic(user, &password(user)).header("depth", "1");
    assert_eq!(asked("anna").expect(207).await.text().matches("<d:response>").count(), 2);
    asked("bob").expect(404).await;
    server.ask_as("bob", "DELETE", "/Photos/sub").expect(204).await;
    assert_eq!((trash(&server, "anna").await.len(), trash(&server, "bob").await.len()), (1, 0));
    // A share that went with a folder comes back with it; one that was declined since does not.
    server.mkcol("bob", "/Stuff").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Stuff/Photos").expect(201).await;
    for declined in [false, true] {
        server.ask_as("bob", "DELETE", "/Stuff").expect(204).await;
        assert_eq!(received(&server, "bob").await[0].state, "declined");
        let server = &server;
        if declined {
            let id = received(server, "bob").await[0].id;
            server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id })).await;
            assert_eq!(received(server, "bob").await[0].path.as_deref(), Some("/Photos"));
        }
        let entry = trash(server, "bob").await.remove(0);
        let to = "/remote.php/dav/files/bob/Stuff";
        server.ask("MOVE", &entry).basic("bob", &password("bob")).header("destination", to).expect(201).await;
        let expected: &[&str] = if declined { &[] } else { &["Photos"] };
        assert_eq!(names(server, "bob", "/Stuff").await, expected);
    }
    assert_eq!(names(&server, "bob", "/").await, ["Photos", "Stuff"]);
    let server = server.restart().await;
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "overwritten by bob");
    server.stop().await;
}

#[tokio::test]
async fn what_hung_in_a_folder_that_is_purged_is_declined() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    server.mkcol("bob", "/Stuff").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Stuff/Photos").expect(201).await;
    server.ask_as("bob", "DELETE", "/Stuff").expect(204).await;
    server.ask("DELETE", "/remote.php/dav/trash-bin/bob/").basic("bob", &password("bob")).expect(204).await;
    assert_eq!(received(&server, "bob").await[0].state, "declined");
    let server = server.restart().await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.execute(Command::Share(ShareCommand::Accept { user: "bob".to_owned(), id: row.id })).await;
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "from anna");
    server.stop().await;
}

#[tokio::test]
async fn uploads_in_chunks_end_in_a_share() {
    let server = users(&["anna", "bob"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "31").await;
    let session =
        |method: &str, below: &str| server.ask(method, &format!("/remote.php/dav/uploads/bob/{below}")).basic("bob", &password("bob"));
    for (id, to, status) in [("1", "/Photos/big.bin", 201), ("2", "/Photos/a.txt", 204), ("3", "/Photos/late.bin", 403)] {
        session("MKCOL", id).expect(201).await;
        session("PUT", &format!("{id}/1")).body("01234").expect(201).await;
        session("PUT", &format!("{id}/2")).body("56789").expect(201).await;
        if status == 403 {
            allow(&server, row.id, "read").await;
        }
        let placed = session("MOVE", &format!("{id}/.file")).header("destination", &format!("/remote.php/dav/files/bob{to}"));
        placed.header("oc-total-length", "10").expect(status).await;
    }
    assert_eq!(server.get("anna", "/Photos/big.bin").await, "0123456789");
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "0123456789");
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "big.bin", "sub"]);
    server.stop().await;
}

#[tokio::test]
async fn reports_of_changes_tell_of_shares() {
    let server = users(&["anna", "bob", "carol"]).await;
    let row = share(&server, "anna", "/Photos", "bob", "17").await;
    share(&server, "bob", "/Photos", "carol", "read").await;
    let report = async |level: &str, token: &str, status: u16| {
        let body = format!(
            "<d:sync-collection xmlns:d=\"DAV:\"><d:sync-token>{token}</d:sync-token><d:sync-level>{level}</d:sync-level>\
             <d:prop><d:getetag/></d:prop></d:sync-collection>"
        );
        server.ask_as("carol", "REPORT", "/").header("depth", "0").body(body).expect(status).await.text()
    };
    let token = |text: &str| text.rsplit_once("<d:sync-token>").unwrap().1.split('<').next().unwrap().to_owned();
    let first = report("1", "", 207).await;
    assert!(first.contains("/Photos/<"), "{first}");
    let since = token(&first);
    server.put("anna", "/Photos/a.txt", "changed").await;
    assert!(report("1", &since, 207).await.contains("/Photos/<"), "what is shared is always told");
    // What was deleted in a share is no change of the receiver's home.
    assert!(report("infinite", "", 403).await.contains("sync-traversal-supported"));
    allow(&server, row.id, "read").await;
    let gone = report("1", &since, 207).await;
    let told = gone.split("<d:response>").find(|part| part.contains("/Photos<") || part.contains("/Photos/<")).unwrap();
    assert!(told.contains("404"), "{gone}");
    server.stop().await;
}

#[tokio::test]
async fn what_a_disabled_account_shared_stays_open_to_its_receivers() {
    let server = users(&["anna", "bob", "carl", "dora"]).await;
    group_of(&server, "team", &["carl"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "anna", "/Photos", "group:team", "read").await;
    share(&server, "bob", "/Photos/sub", "dora", "read").await;
    let enable = |name: &str, enabled| Command::Account { name: name.to_owned(), what: AccountCommand::Enable(enabled) };
    for disabled in ["anna", "bob"] {
        server.execute(enable(disabled, false)).await;
        server.ask_as(disabled, "PROPFIND", "/").expect(401).await;
    }
    let server = server.restart().await;
    assert_eq!(server.get("carl", "/Photos/a.txt").await, "from anna");
    assert_eq!(server.get("dora", "/sub/deep.txt").await, "deep down");
    server.execute(enable("bob", true)).await;
    server.put("bob", "/Photos/b.txt", "from bob").await;
    server.execute(enable("anna", true)).await;
    assert_eq!(server.get("anna", "/Photos/b.txt").await, "from bob");
    server.stop().await;
}

#[tokio::test]
async fn a_mount_of_a_disabled_accounts_link_is_away_and_comes_back() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = anna.link("anna", "/Photos", "read").await;
    let mount = bob.mount("bob", &link.url).await;
    let enable = |enabled| Command::Account { name: "anna".to_owned(), what: AccountCommand::Enable(enabled) };
    anna.execute(enable(false)).await;
    bob.refuse(Command::MountRetry { id: mount.id.to_string() }, Reason::RemoteUnreachable).await;
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/Photos/<"), "gone would be deleted by sync clients: {listed}");
    bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
    anna.execute(enable(true)).await;
    bob.execute(Command::MountRetry { id: mount.id.to_string() }).await;
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "from anna");
    Pair { anna, bob }.stop().await;
}
