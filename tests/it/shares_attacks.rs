//! Attacks on shares between users, by their numbers.

use causeway::service::Reason;
use causeway::service::admin::{Command, GroupCommand, ShareCommand, ShareTerms};

use crate::server_cli::Cli;
use crate::support::federation::{names, photos, property, transfer};
use crate::support::server::{Pair, TestServer, password};
use crate::support::sharing::{allow, create, group, group_of, received, remove, share, shared, users};

#[tokio::test]
async fn f7_rights_intersect_at_every_hop_whenever_something_is_asked_for() {
    let server = users(&["anna", "bob", "carol", "dave"]).await;
    let first = share(&server, "anna", "/Photos", "bob", "19").await;
    // More than bob has, in every way to ask for it.
    server.refuse(create("bob", "/Photos", "carol", "31"), Reason::Refused).await;
    server.refuse(create("bob", "/Photos/sub", "carol", "edit"), Reason::Refused).await;
    let second = share(&server, "bob", "/Photos", "carol", "19").await;
    let raise = ShareTerms { permissions: Some("31".to_owned()), ..ShareTerms::default() };
    server.refuse(Command::Share(ShareCommand::Update { id: second.id, terms: raise, no_expiry: false }), Reason::Refused).await;
    let third = share(&server, "carol", "/Photos/sub", "dave", "19").await;
    assert_eq!((third.owner.as_str(), third.parent), ("anna", Some(second.id)));
    server.put("dave", "/sub/deep.txt", "from dave").await;
    server.ask_as("dave", "PUT", "/sub/new.txt").body("x").expect(403).await;
    // What the first hop loses, all lose at once.
    allow(&server, first.id, "17").await;
    server.ask_as("dave", "PUT", "/sub/deep.txt").body("x").expect(403).await;
    assert_eq!(property(&server, "dave", "/sub", "oc:permissions").await, "SRGDNV");
    server.refuse(create("carol", "/Photos/a.txt", "dave", "3"), Reason::Refused).await;
    allow(&server, first.id, "read").await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos"]);
    assert_eq!(names(&server, "carol", "/").await, Vec::<String>::new(), "bob may no longer share it on");
    server.ask_as("dave", "GET", "/sub/deep.txt").expect(404).await;
    allow(&server, first.id, "31").await;
    assert_eq!(server.get("dave", "/sub/deep.txt").await, "from dave");
    server.ask_as("dave", "PUT", "/sub/new.txt").body("x").expect(403).await;
    // What is moved out of the share is out of reach of those who have it from there.
    transfer(&server, "anna", "MOVE", "/Photos/sub", "/Private").expect(201).await;
    server.ask_as("dave", "GET", "/sub/deep.txt").expect(404).await;
    assert_eq!(names(&server, "dave", "/").await, Vec::<String>::new());
    transfer(&server, "anna", "MOVE", "/Private", "/Photos/sub").expect(201).await;
    assert_eq!(server.get("dave", "/sub/deep.txt").await, "from dave");
    remove(&server, first.id).await;
    for user in ["bob", "carol", "dave"] {
        assert_eq!(names(&server, user, "/").await, Vec::<String>::new());
        assert!(received(&server, user).await.is_empty());
    }
    server.stop().await;
}

#[tokio::test]
async fn f7_a_mountpoint_in_a_shared_folder_gives_away_only_what_may_be_shared_on() {
    let server = users(&["anna", "bob", "carol"]).await;
    let first = share(&server, "anna", "/Photos", "bob", "edit").await;
    server.mkcol("bob", "/Box").await;
    server.put("bob", "/Box/own.txt", "bob's").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Box/Photos").expect(201).await;
    share(&server, "bob", "/Box", "carol", "31").await;
    assert_eq!(names(&server, "carol", "/Box").await, ["own.txt"], "what anna gave to bob alone is not shown");
    for method in ["GET", "PUT", "DELETE", "PROPFIND"] {
        server.ask_as("carol", method, "/Box/Photos").expect(403).await;
        server.ask_as("carol", method, "/Box/Photos/a.txt").expect(403).await;
    }
    server.refuse(create("bob", "/Box/Photos", "carol", "read"), Reason::Refused).await;
    let link = server.link("bob", "/Box", "edit").await;
    let token = link.url.rsplit('/').next().unwrap();
    let listed = server.ask("PROPFIND", "/public.php/webdav/").header("depth", "1").basic(token, "").expect(207).await.text();
    assert!(listed.contains("own.txt") && !listed.contains("Photos"), "{listed}");
    server.ask("GET", "/public.php/webdav/Photos/a.txt").basic(token, "").expect(403).await;
    allow(&server, first.id, "17").await;
    assert_eq!(names(&server, "carol", "/Box").await, ["Photos", "own.txt"]);
    assert_eq!(server.get("carol", "/Box/Photos/a.txt").await, "from anna");
    assert_eq!(property(&server, "carol", "/Box/Photos", "oc:owner-id").await, "anna");
    // A link of bob's would be one that anna cannot see in her list (attack L2).
    let listed = server.ask("PROPFIND", "/public.php/webdav/").header("depth", "1").basic(token, "").expect(207).await.text();
    assert!(!listed.contains("Photos"), "{listed}");
    for method in ["GET", "PUT", "DELETE"] {
        server.ask(method, "/public.php/webdav/Photos/a.txt").basic(token, "").body("x").expect(403).await;
    }
    server.ask_as("carol", "PUT", "/Box/Photos/a.txt").body("x").expect(403).await;
    server.ask_as("carol", "DELETE", "/Box/Photos").expect(403).await;
    transfer(&server, "carol", "MOVE", "/Box/Photos", "/Mine").expect(403).await;
    server.ask_as("carol", "DELETE", "/Box").expect(204).await;
    assert_eq!(names(&server, "bob", "/Box").await, ["Photos", "own.txt"]);
    server.stop().await;
}

#[tokio::test]
async fn l2_the_owners_list_is_complete() {
    let server = users(&["anna", "bob", "carol", "dave"]).await;
    group_of(&server, "team", &["dave"]).await;
    let first = share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "bob", "/Photos/sub", "carol", "17").await;
    share(&server, "carol", "/sub/deep.txt", "group:team", "read").await;
    let all: Vec<(String, String, String)> =
        shared(&server, "anna").await.into_iter().map(|row| (row.path.unwrap(), row.shared_by, row.with)).collect();
    let expected = [("/Photos", "anna", "bob"), ("/Photos/sub", "bob", "carol"), ("/Photos/sub/deep.txt", "carol", "group:team")];
    assert_eq!(all, expected.map(|(path, by, with)| (path.to_owned(), by.to_owned(), with.to_owned())));
    assert_eq!(shared(&server, "bob").await.len(), 1, "who shares on sees what they made");
    // A receiver's link is no share that only its maker can see.
    let link = server.link("bob", "/Photos/sub", "read").await;
    let listed = server.execute(Command::LinkList { user: "anna".to_owned() }).await;
    let causeway::service::admin::Outcome::Links(links) = listed else { panic!("{listed:?}") };
    assert_eq!((links[0].id, links[0].path.as_deref(), links[0].made_by.as_str()), (link.id, Some("/Photos/sub"), "bob"));
    // The owner ends any of them, and one for a group takes nothing from others.
    let deep = shared(&server, "anna").await[2].id;
    remove(&server, deep).await;
    assert_eq!(names(&server, "dave", "/").await, Vec::<String>::new());
    assert_eq!(names(&server, "carol", "/").await, ["sub"]);
    remove(&server, first.id).await;
    assert!(shared(&server, "anna").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn l3_a_share_of_a_deleted_node_is_not_revived_by_its_name() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "anna", "/Photos/a.txt", "bob", "read").await;
    // With a slash at the end, and over another one.
    server.ask_as("anna", "DELETE", "/Photos/").expect(204).await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "secret").await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.ask_as("bob", "GET", "/Photos/a.txt").expect(404).await;
    server.ask_as("bob", "GET", "/a.txt").expect(404).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.mkcol("anna", "/Other").await;
    transfer(&server, "anna", "MOVE", "/Other", "/Photos").expect(204).await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new(), "what is replaced is gone");
    let server = server.restart().await;
    assert_eq!(names(&server, "bob", "/").await, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn d2_destinations_stay_within_what_the_receiver_may() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    server.put("anna", "/secret.txt", "anna's own").await;
    server.put("bob", "/mine.txt", "bob's").await;
    let host = server.host();
    let to = |method: &str, from: &str, destination: String| server.ask_as("bob", method, from).header("destination", &destination);
    // The owner's tree by its own name, and out of the share by dots, in every spelling.
    for destination in [
        format!("http://{host}/remote.php/dav/files/anna/stolen.txt"),
        format!("http://{host}/remote.php/dav/files/anna/Photos/x.txt"),
        "http://other.example/remote.php/webdav/x.txt".to_owned(),
    ] {
        let status = to("COPY", "/Photos/a.txt", destination.clone()).send().await.status;
        assert!(matches!(status, 400 | 403 | 404 | 502), "{destination}: {status}");
    }
    for path in ["/Photos/../secret.txt", "/Photos/%2e%2e/secret.txt", "/Photos/..%2fsecret.txt", "/Photos/sub/../../secret.txt"] {
        let status = server.ask_as("bob", "GET", path).send().await.status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        let status = to("COPY", "/mine.txt", format!("http://{host}/remote.php/webdav{path}")).send().await.status;
        assert_ne!(server.get("anna", "/secret.txt").await, "bob's", "{path}: {status}");
    }
    assert_eq!(names(&server, "anna", "/").await, ["Photos", "secret.txt"]);
    // Onto and into itself, onto the mountpoint, and a mountpoint into another.
    transfer(&server, "bob", "MOVE", "/Photos", "/Photos/sub/x").expect(403).await;
    transfer(&server, "bob", "COPY", "/Photos", "/Photos/x").expect(403).await;
    transfer(&server, "bob", "MOVE", "/mine.txt", "/Photos").expect(403).await;
    transfer(&server, "bob", "MOVE", "/Photos/a.txt", "/Photos").expect(403).await;
    transfer(&server, "bob", "COPY", "/Photos/a.txt", "/Photosx").expect(201).await;
    share(&server, "anna", "/Photos/sub", "bob", "31").await;
    assert_eq!(names(&server, "bob", "/").await, ["Photos", "Photosx", "mine.txt", "sub"]);
    transfer(&server, "bob", "MOVE", "/sub", "/Photos/inner").expect(403).await;
    // Through two shares the same folder: it would be copied into itself.
    for (from, to) in
        [("/Photos", "/sub/x"), ("/Photos/sub", "/sub/x"), ("/sub/deep.txt", "/Photos/sub/deep.txt"), ("/sub", "/Photos/sub/y")]
    {
        transfer(&server, "bob", "COPY", from, to).expect(403).await;
    }
    transfer(&server, "bob", "MOVE", "/Photos/sub", "/sub/x").expect(403).await;
    transfer(&server, "bob", "MOVE", "/Photos/sub/deep.txt", "/sub/deep.txt").expect(403).await;
    assert_eq!(server.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    transfer(&server, "bob", "COPY", "/Photos/a.txt", "/sub/a.txt").expect(201).await;
    assert_eq!(names(&server, "anna", "/Photos/sub").await, ["a.txt", "deep.txt"]);
    server.stop().await;
}

#[tokio::test]
async fn d5_a_token_of_a_lock_in_a_share_is_of_no_use_to_others() {
    let server = users(&["anna", "bob", "carol"]).await;
    share(&server, "anna", "/Photos", "bob", "31").await;
    share(&server, "anna", "/Photos", "carol", "31").await;
    let lock = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    let locked = server.ask_as("bob", "LOCK", "/Photos/sub").body(lock).expect(200).await;
    let token = locked.header("lock-token").unwrap().to_owned();
    // In an untagged list, in a tagged one of another resource, and through another member of the locked folder.
    server.ask_as("carol", "PUT", "/Photos/sub/deep.txt").header("if", &format!("({token})")).body("x").expect(423).await;
    let tagged = format!("</remote.php/webdav/Photos/sub> ({token})");
    server.ask_as("carol", "PUT", "/Photos/sub/new.txt").header("if", &tagged).body("x").expect(423).await;
    server.ask_as("carol", "DELETE", "/Photos/sub").header("if", &tagged).expect(423).await;
    server.ask_as("anna", "LOCK", "/Photos/sub").header("if", &format!("({token})")).expect(412).await;
    server.ask_as("carol", "UNLOCK", "/Photos/sub").header("lock-token", &token).expect(409).await;
    let refused = server.ask_as("anna", "MOVE", "/Photos").header("destination", "/remote.php/webdav/Elsewhere").expect(423).await.text();
    assert!(!refused.contains("urn:uuid"), "{refused}");
    assert_eq!(server.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    // With no rights left the holder can do nothing with it, and the owner is not locked out for ever.
    let rows = shared(&server, "anna").await;
    remove(&server, rows[0].id).await;
    server.ask_as("bob", "PUT", "/Photos/sub/deep.txt").header("if", &format!("({token})")).body("x").expect(412).await;
    server.stop().await;
}

#[tokio::test]
async fn loops_of_shares_come_to_an_end() {
    let server = users(&["anna", "bob", "carol"]).await;
    let first = share(&server, "anna", "/Photos", "bob", "31").await;
    // Back to the owner, and to oneself.
    server.refuse(create("bob", "/Photos", "anna", "read"), Reason::Refused).await;
    server.refuse(create("bob", "/Photos/sub", "bob", "read"), Reason::Refused).await;
    // Two folders that hold each other: each sees the other's, and nobody meets their own again.
    server.mkcol("bob", "/Box").await;
    transfer(&server, "bob", "MOVE", "/Photos", "/Box/Photos").expect(201).await;
    share(&server, "bob", "/Box", "anna", "31").await;
    transfer(&server, "anna", "MOVE", "/Box", "/Photos/Box").expect(201).await;
    assert_eq!(names(&server, "anna", "/Photos/Box").await, Vec::<String>::new());
    assert_eq!(names(&server, "bob", "/Box/Photos").await, ["a.txt", "sub"]);
    server.ask_as("anna", "PROPFIND", "/Photos/Box/Photos").expect(508).await;
    share(&server, "anna", "/Photos", "carol", "31").await;
    let all = server.ask_as("carol", "PROPFIND", "/").header("depth", "infinity").expect(207).await.text();
    assert!(all.contains("/Photos/Box/<") && !all.contains("/Photos/Box/Photos/"), "{all}");
    transfer(&server, "carol", "COPY", "/Photos", "/Copied").expect(201).await;
    assert_eq!(names(&server, "carol", "/Copied").await, ["Box", "a.txt", "sub"]);
    for user in ["anna", "bob", "carol"] {
        property(&server, user, "/", "d:getetag").await;
    }
    remove(&server, first.id).await;
    assert_eq!(names(&server, "bob", "/Box").await, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test]
async fn who_leaves_a_group_keeps_nothing_of_it() {
    let server = users(&["anna", "bob", "carol"]).await;
    group_of(&server, "team", &["bob", "carol"]).await;
    share(&server, "anna", "/Photos", "group:team", "31").await;
    server.put("bob", "/Photos/b.txt", "from bob").await;
    group(&server, GroupCommand::RemoveMember { name: "team".to_owned(), user: "bob".to_owned() }).await;
    for (method, path) in [("GET", "/Photos/a.txt"), ("PROPFIND", "/Photos"), ("DELETE", "/Photos/b.txt"), ("DELETE", "/Photos")] {
        server.ask_as("bob", method, path).expect(404).await;
    }
    let other = server.ask("PROPFIND", "/remote.php/dav/files/anna/Photos").basic("bob", &password("bob")).send().await.status;
    assert_eq!(other, 404);
    assert_eq!(names(&server, "carol", "/Photos").await, ["a.txt", "b.txt", "sub"]);
    server.execute(Command::UserRemove { name: "carol".to_owned(), purge: true }).await;
    assert_eq!(names(&server, "anna", "/Photos").await, ["a.txt", "b.txt", "sub"]);
    server.stop().await;
}

/// What a user's list says must be what the user's tree shows.
async fn agree(server: &TestServer, user: &str) {
    let mut listed: Vec<String> =
        received(server, user).await.into_iter().filter_map(|row| row.path).map(|path| path.trim_start_matches('/').to_owned()).collect();
    listed.sort();
    // What comes by a group and by name is two shares at one place.
    listed.dedup();
    let shown: Vec<String> = names(server, user, "/").await.into_iter().filter(|name| name.starts_with("S")).collect();
    assert_eq!(shown.iter().map(|name| name.replace("%20", " ")).collect::<Vec<_>>(), listed, "{user}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_and_trees_agree_whatever_happens_at_once() {
    let server = users(&["anna", "bob", "carol"]).await;
    for number in 0..6 {
        server.mkcol("anna", &format!("/S{number}")).await;
    }
    group_of(&server, "team", &["bob"]).await;
    let member = |user: &str, comes: bool| {
        let (name, user) = ("team".to_owned(), user.to_owned());
        Command::Group(if comes { GroupCommand::AddMember { name, user } } else { GroupCommand::RemoveMember { name, user } })
    };
    let services = &server.running().services;
    let coming = async {
        for round in 0..8 {
            services.execute(member("carol", round % 2 == 0)).await.unwrap();
        }
    };
    let sharing = async |with: &str| {
        for number in 0..6 {
            let made = share(&server, "anna", &format!("/S{number}"), with, "31").await;
            if number % 3 == 0 {
                remove(&server, made.id).await;
            }
        }
    };
    let leaving = async |user: &str| {
        for number in 0..6 {
            let status = server.ask_as(user, "DELETE", &format!("/S{number}")).send().await.status;
            assert!(matches!(status, 204 | 404), "{status}");
            server.ask_as(user, "PUT", &format!("/S{number}/x.txt")).body("x").send().await;
        }
    };
    let deleting = async {
        server.ask_as("anna", "DELETE", "/S1").expect(204).await;
        server.ask_as("anna", "DELETE", "/S2").expect(204).await;
    };
    tokio::join!(coming, sharing("group:team"), leaving("bob"), leaving("carol"), async {
        sharing("bob").await;
        deleting.await;
    });
    for user in ["bob", "carol"] {
        agree(&server, user).await;
    }
    let server = server.restart().await;
    for user in ["bob", "carol"] {
        agree(&server, user).await;
    }
    server.stop().await;
}

#[test]
fn acknowledged_shares_survive_a_kill() {
    let cli = Cli::new();
    for user in ["anna", "bob", "carol"] {
        cli.ok(&["user", "add", user, "--password-stdin"], "a password\n");
    }
    cli.ok(&["group", "add", "team"], "");
    cli.ok(&["group", "add-member", "team", "bob"], "");
    let mut expected: Vec<String> = Vec::new();
    for round in 0..3 {
        for number in 0..4 {
            std::fs::create_dir_all(cli.data().join(format!("anna/S{round}{number}"))).unwrap();
        }
        let serving = cli.serve(&[]);
        for number in 0..3 {
            let with = if number % 2 == 0 { "bob" } else { "group:team" };
            cli.ok(&["share", "create", "anna", &format!("/S{round}{number}"), with], "");
            expected.push(format!("/S{round}{number}"));
        }
        // One that nobody waits for.
        let mut unanswered = cli.command(&["share", "create", "anna", &format!("/S{round}3"), "group:team"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(7 * round));
        serving.kill();
        unanswered.wait().unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&cli.ok(&["share", "received", "bob", "--json"], "")).unwrap();
        for path in &expected {
            assert!(rows.iter().any(|row| row["path"] == path.as_str() && row["state"] == "accepted"), "{path}: {rows:?}");
        }
        assert!(rows.iter().all(|row| row["path"].is_string()), "what is accepted hangs somewhere: {rows:?}");
    }
}

#[tokio::test]
async fn f7_who_may_only_change_replaces_no_folder() {
    let server = users(&["anna", "bob"]).await;
    share(&server, "anna", "/Photos", "bob", "3").await;
    server.put("anna", "/Photos/b.txt", "b").await;
    for method in ["MOVE", "COPY"] {
        transfer(&server, "bob", method, "/Photos/a.txt", "/Photos/sub").expect(403).await;
    }
    transfer(&server, "bob", "MOVE", "/Photos/a.txt", "/Photos/b.txt").expect(204).await;
    transfer(&server, "bob", "MOVE", "/Photos/b.txt", "/Photos/c.txt").expect(201).await;
    assert_eq!(server.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    server.stop().await;
}

#[tokio::test]
async fn f7_in_a_mount_too_a_folder_is_replaced_and_a_file_taken_away_only_by_who_may_delete() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.add_user("carol").await;
    bob.mkcol("bob", "/Shared").await;
    transfer(&bob, "bob", "MOVE", "/Photos", "/Shared/Photos").expect(201).await;
    let given = share(&bob, "bob", "/Shared", "carol", "7").await;
    let (file, folder) = ("/Shared/Photos/a.txt", "/Shared/Photos/sub");
    for method in ["MOVE", "COPY"] {
        transfer(&bob, "carol", method, file, folder).expect(403).await;
    }
    transfer(&bob, "carol", "MOVE", file, "/Shared/Photos/sub/a.txt").expect(403).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
    assert_eq!(anna.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    // A new name in the same folder is a change.
    transfer(&bob, "carol", "MOVE", file, "/Shared/Photos/b.txt").expect(201).await;
    allow(&bob, given.id, "15").await;
    transfer(&bob, "carol", "MOVE", "/Shared/Photos/b.txt", "/Shared/Photos/sub/b.txt").expect(201).await;
    transfer(&bob, "carol", "MOVE", "/Shared/Photos/sub/b.txt", folder).expect(403).await;
    Pair { anna, bob }.stop().await;
}
