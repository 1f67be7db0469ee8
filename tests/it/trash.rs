//! The trash as ownCloud's and Nextcloud's clients see it: what was deleted, by whom, and how it comes back.

use causeway::domain::{Clock, Secret};
use causeway::service::Reason;
use causeway::service::admin::{Command, Outcome, TrashCommand};

use crate::support::server::{Answer, Ask, Pair, TestServer, password};

const OWNCLOUD: &str = "/remote.php/dav/trash-bin";
const NEXTCLOUD: &str = "/remote.php/dav/trashbin";

const PROPERTIES: &str = r#"<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:prop>
    <d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getetag/><d:getcontenttype/><oc:fileid/><oc:size/><oc:permissions/>
    <oc:trashbin-original-filename/><oc:trashbin-original-location/><oc:trashbin-delete-timestamp/><oc:trashbin-delete-datetime/>
    <nc:trashbin-filename/><nc:trashbin-original-location/><nc:trashbin-deletion-time/></d:prop></d:propfind>"#;

impl TestServer {
    /// A request to any path, as a user.
    fn own(&self, user: &str, method: &str, path: &str) -> Ask {
        self.ask(method, path).basic(user, &password(user))
    }

    async fn listed(&self, user: &str, path: &str) -> String {
        self.own(user, "PROPFIND", path).header("depth", "1").body(PROPERTIES).expect(207).await.text()
    }
}

/// The hrefs of a multistatus.
fn hrefs(text: &str) -> Vec<String> {
    text.split("<d:href>").skip(1).map(|rest| rest.split("</d:href>").next().unwrap().to_owned()).collect()
}

async fn with_files() -> TestServer {
    let server = TestServer::start_with(Clock::fixed(1_700_000_000), |_config| {}).await;
    server.add_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a%20b.txt", "content").await;
    server.put("anna", "/note.txt", "note").await;
    server
}

#[tokio::test]
async fn owncloud_lists_reads_and_restores() {
    let server = with_files().await;
    assert_eq!(hrefs(&server.listed("anna", &format!("{OWNCLOUD}/anna/")).await).len(), 1);
    server.ask_as("anna", "DELETE", "/Photos/a%20b.txt").expect(204).await;
    let text = server.listed("anna", &format!("{OWNCLOUD}/anna/")).await;
    let entry = hrefs(&text).remove(1);
    assert!(entry.strip_prefix(&format!("{OWNCLOUD}/anna/")).unwrap().parse::<u64>().is_ok(), "{entry}");
    assert!(text.contains(">a b.txt</trashbin-original-filename>") && text.contains(">Photos/a b.txt</trashbin-original-location>"));
    assert!(text.contains(">1700000000</trashbin-delete-timestamp>") && text.contains(">Tue, 14 Nov 2023 22:13:20 GMT<"), "{text}");
    assert!(text.contains("<d:getcontentlength>7</d:getcontentlength>") && text.contains("text/plain"), "{text}");
    let read = server.own("anna", "GET", &entry).expect(200).await;
    assert_eq!(read.text(), "content");
    assert!(read.header("content-disposition").unwrap().contains("filename=\"a b.txt\""));
    let part = server.own("anna", "GET", &entry).header("range", "bytes=0-2").expect(206).await;
    assert_eq!(part.text(), "con");
    server.own("anna", "HEAD", &entry).expect(200).await;
    for method in ["PUT", "PROPPATCH", "MKCOL", "LOCK", "COPY", "POST"] {
        let refused = server.own("anna", method, &entry).header("destination", "/remote.php/dav/files/anna/x").send().await;
        assert_eq!(refused.status, 405, "{method}");
    }
    server.own("anna", "PROPFIND", &format!("{OWNCLOUD}/anna/")).header("depth", "infinity").expect(403).await;
    // Not over what is there, into nothing, or out of the tree.
    let to = |path: &str| server.own("anna", "MOVE", &entry).header("destination", path);
    to("/remote.php/dav/files/anna/note.txt").header("overwrite", "F").expect(412).await;
    to("/remote.php/dav/files/anna/none/x").expect(409).await;
    to("/remote.php/dav/files/anna/").expect(403).await;
    to("/remote.php/dav/files/other/x").expect(502).await;
    to("http://elsewhere.example/remote.php/dav/files/anna/x").expect(502).await;
    to(&format!("{OWNCLOUD}/anna/77")).expect(403).await;
    server.own("anna", "MOVE", &entry).expect(400).await;
    let moved = to(&format!("http://{}/remote.php/dav/files/anna/Photos/back.txt", server.host())).expect(201).await;
    assert!(moved.header("oc-fileid").is_some() && moved.header("etag").is_some());
    assert_eq!(server.get("anna", "/Photos/back.txt").await, "content");
    server.own("anna", "GET", &entry).expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn deleted_folders_are_browsed_and_come_back_whole() {
    let server = with_files().await;
    server.ask_as("anna", "DELETE", "/Photos").expect(204).await;
    assert!(!server.data().join("anna/Photos").exists());
    let text = server.listed("anna", &format!("{OWNCLOUD}/anna")).await;
    let entry = hrefs(&text).remove(1);
    assert!(entry.ends_with('/') && text.contains("<oc:size>7</oc:size>"), "{text}");
    let inner = server.listed("anna", &entry).await;
    let hrefs = hrefs(&inner);
    assert_eq!(hrefs[1], format!("{entry}a%20b.txt"));
    assert!(inner.contains(">Photos/a b.txt</trashbin-original-location>"), "{inner}");
    assert_eq!(server.own("anna", "GET", &hrefs[1]).expect(200).await.text(), "content");
    server.own("anna", "GET", &format!("{entry}none")).expect(404).await;
    server.own("anna", "MOVE", &hrefs[1]).header("destination", "/remote.php/dav/files/anna/x").expect(403).await;
    server.own("anna", "DELETE", &hrefs[1]).expect(403).await;
    server.own("anna", "MOVE", &entry).header("destination", "/remote.php/webdav/Pictures").expect(201).await;
    assert_eq!(server.get("anna", "/Pictures/a%20b.txt").await, "content");
    server.stop().await;
}

#[tokio::test]
async fn nextcloud_restores_to_where_things_were() {
    let server = with_files().await;
    server.ask_as("anna", "DELETE", "/note.txt").expect(204).await;
    server.ask_as("anna", "DELETE", "/Photos/a%20b.txt").expect(204).await;
    let trash = format!("{NEXTCLOUD}/anna/trash");
    let text = server.listed("anna", &format!("{trash}/")).await;
    assert_eq!(hrefs(&text)[1..], [format!("{trash}/a%20b.txt.d1700000000"), format!("{trash}/note.txt.d1700000000")]);
    assert!(text.contains(">note.txt</trashbin-filename>") && text.contains(">1700000000</trashbin-deletion-time>"), "{text}");
    assert_eq!(hrefs(&server.listed("anna", &format!("{NEXTCLOUD}/anna")).await).len(), 3);
    assert_eq!(server.own("anna", "GET", &format!("{trash}/note.txt.d1700000000")).expect(200).await.text(), "note");
    server.own("anna", "GET", &format!("{trash}/note.txt.d1")).expect(404).await;
    // The name is taken, and the folder gone.
    server.put("anna", "/note.txt", "new").await;
    let restore = |name: &str| {
        let to = format!("{NEXTCLOUD}/anna/restore/{name}");
        server.own("anna", "MOVE", &format!("{trash}/{name}")).header("destination", &to)
    };
    restore("note.txt.d1700000000").expect(201).await;
    assert_eq!(server.get("anna", "/note%20%282%29.txt").await, "note");
    server.ask_as("anna", "DELETE", "/Photos").expect(204).await;
    restore("a%20b.txt.d1700000000").expect(201).await;
    assert_eq!(server.get("anna", "/a%20b.txt").await, "content");
    // A folder that was renamed meanwhile is still the folder.
    server.mkcol("anna", "/d").await;
    server.put("anna", "/d/f", "in d").await;
    server.ask_as("anna", "DELETE", "/d/f").expect(204).await;
    server.ask_as("anna", "MOVE", "/d").header("destination", "/remote.php/webdav/e").expect(201).await;
    restore("f.d1700000000").expect(201).await;
    assert_eq!(server.get("anna", "/e/f").await, "in d");
    server.stop().await;
}

#[tokio::test]
async fn entries_of_one_name_and_second_are_told_apart() {
    let server = with_files().await;
    let trash = format!("{NEXTCLOUD}/anna/trash");
    let plain = format!("{trash}/note.txt.d1700000000");
    for text in ["first", "second", "third"] {
        server.put("anna", "/note.txt", text).await;
        server.ask_as("anna", "DELETE", "/note.txt").expect(204).await;
        // Asked each time, so that what comes later has to be found as well.
        let alone = server.own("anna", "GET", &plain).send().await.status == 200;
        assert_eq!(alone, text == "first", "{text}");
    }
    let entries = hrefs(&server.listed("anna", &format!("{trash}/")).await).split_off(1);
    assert!(entries.len() == 3 && entries.iter().all(|entry| entry.starts_with(&format!("{plain}."))), "{entries:?}");
    for (entry, text) in entries.iter().zip(["first", "second", "third"]) {
        assert_eq!(server.own("anna", "GET", entry).expect(200).await.text(), text);
    }
    for method in ["DELETE", "MOVE"] {
        server.own("anna", method, &plain).header("destination", &format!("{NEXTCLOUD}/anna/restore/x")).expect(404).await;
    }
    server.own("anna", "DELETE", &entries[0]).expect(204).await;
    server.own("anna", "GET", &entries[0]).expect(404).await;
    server.own("anna", "GET", &plain).expect(404).await;
    let restored = server.own("anna", "MOVE", &entries[2]).header("destination", &format!("{NEXTCLOUD}/anna/restore/x"));
    restored.expect(201).await;
    assert_eq!(server.get("anna", "/note.txt").await, "third");
    // The one that is left is meant by both names.
    for name in [&plain, &entries[1]] {
        assert_eq!(server.own("anna", "GET", name).expect(200).await.text(), "second");
    }
    // The same node once more, by another name.
    server.ask_as("anna", "MOVE", "/note.txt").header("destination", "/remote.php/webdav/other.d1.txt").expect(201).await;
    server.ask_as("anna", "DELETE", "/other.d1.txt").expect(204).await;
    assert_eq!(server.own("anna", "GET", &format!("{trash}/other.d1.txt.d1700000000")).expect(200).await.text(), "third");
    server.own("anna", "GET", &entries[2]).expect(404).await;
    server.own("anna", "DELETE", &format!("{trash}/other.d1.txt.d1700000000")).expect(204).await;
    server.own("anna", "DELETE", &plain).expect(204).await;
    server.own("anna", "GET", &plain).expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn a_delete_that_cannot_be_kept_is_refused_and_changes_nothing() {
    let server = with_files().await;
    let versioned = server.ask_as("anna", "PUT", "/note.txt").body("newer").expect(204).await;
    let before = versioned.header("oc-fileid").unwrap().to_owned();
    // Something that is no folder stands where the trash is.
    let folder = server.data().join(".causeway/trash/1");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    for path in ["/note.txt", "/Photos"] {
        server.ask_as("anna", "DELETE", path).expect(500).await;
    }
    assert_eq!(server.get("anna", "/note.txt").await, "newer");
    assert_eq!(server.get("anna", "/Photos/a%20b.txt").await, "content");
    assert_eq!(server.ask_as("anna", "HEAD", "/note.txt").expect(200).await.header("oc-fileid"), Some(before.as_str()));
    assert_eq!(hrefs(&server.listed("anna", &format!("{OWNCLOUD}/anna/")).await).len(), 1);
    std::fs::remove_file(&folder).unwrap();
    server.ask_as("anna", "DELETE", "/note.txt").expect(204).await;
    let text = server.listed("anna", &format!("{OWNCLOUD}/anna/")).await;
    assert_eq!(server.own("anna", "GET", &hrefs(&text)[1]).expect(200).await.text(), "newer");
    server.stop().await;
}

#[tokio::test]
async fn the_trash_is_emptied() {
    let server = with_files().await;
    for path in ["/note.txt", "/Photos"] {
        server.ask_as("anna", "DELETE", path).expect(204).await;
    }
    let text = server.listed("anna", &format!("{OWNCLOUD}/anna/")).await;
    server.own("anna", "DELETE", &hrefs(&text)[1]).expect(204).await;
    server.own("anna", "DELETE", &hrefs(&text)[1]).expect(404).await;
    server.own("anna", "DELETE", &format!("{NEXTCLOUD}/anna")).expect(403).await;
    server.own("anna", "DELETE", &format!("{NEXTCLOUD}/anna/trash")).expect(204).await;
    assert_eq!(hrefs(&server.listed("anna", &format!("{OWNCLOUD}/anna/")).await).len(), 1);
    assert_eq!(std::fs::read_dir(server.data().join(".causeway/trash/1")).unwrap().count(), 0);
    server.stop().await;
}

#[tokio::test]
async fn d11_a_trash_is_its_users_alone() {
    let server = with_files().await;
    server.add_user("bob").await;
    server.ask_as("anna", "DELETE", "/note.txt").expect(204).await;
    server.put("bob", "/own", "bob's").await;
    server.ask_as("bob", "DELETE", "/own").expect(204).await;
    let entry = hrefs(&server.listed("anna", &format!("{OWNCLOUD}/anna/")).await).remove(1);
    let number = entry.rsplit('/').next().unwrap();
    for path in [entry.as_str(), &format!("{OWNCLOUD}/bob/{number}"), &format!("{NEXTCLOUD}/bob/trash/note.txt.d1700000000")] {
        for method in ["PROPFIND", "GET", "MOVE", "DELETE"] {
            let to = "/remote.php/dav/files/bob/stolen";
            server.own("bob", method, path).header("destination", to).header("depth", "0").expect(404).await;
        }
    }
    server.ask("PROPFIND", &format!("{OWNCLOUD}/anna/")).expect(401).await;
    // The roots of a home, whose numbers everybody knows, are no entries.
    for number in 0..5 {
        server.own("bob", "DELETE", &format!("{OWNCLOUD}/bob/{number}")).expect(404).await;
    }
    // Whoever holds a link has no trash to look into.
    let link = server.link("anna", "/Photos", "edit").await;
    let token = link.url.rsplit('/').next().unwrap();
    server.ask("PROPFIND", &format!("{OWNCLOUD}/{token}/")).basic(token, "").expect(401).await;
    assert_eq!(server.own("anna", "GET", &entry).expect(200).await.text(), "note");
    server.stop().await;
}

#[tokio::test]
async fn a_link_dies_with_its_node_and_stays_dead() {
    let server = with_files().await;
    let link = server.link("anna", "/Photos", "read").await;
    let inner = server.link("anna", "/Photos/a b.txt", "read").await;
    let open = |link: &causeway::service::admin::LinkRow| format!("/public.php/dav/files/{}/", link.url.rsplit('/').next().unwrap());
    server.ask_as("anna", "DELETE", "/Photos").expect(204).await;
    for link in [&link, &inner] {
        server.ask("PROPFIND", &open(link)).header("depth", "0").expect(404).await;
        server.ask("GET", &format!("/s/{}", link.url.rsplit('/').next().unwrap())).expect(404).await;
    }
    let trash = format!("{NEXTCLOUD}/anna/trash/Photos.d1700000000");
    server.own("anna", "MOVE", &trash).header("destination", "/remote.php/dav/files/anna/Photos").expect(201).await;
    assert_eq!(server.get("anna", "/Photos/a%20b.txt").await, "content");
    for link in [&link, &inner] {
        server.ask("PROPFIND", &open(link)).header("depth", "0").expect(404).await;
    }
    let Outcome::Links(left) = server.execute(Command::LinkList { user: "anna".to_owned() }).await else { panic!("no links") };
    assert!(left.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn what_is_deleted_through_a_mount_lies_in_the_owners_trash() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "first").await;
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mount("bob", &link.url).await;
    pair.bob.put("bob", "/Photos/a.txt", "second").await;
    pair.bob.ask_as("bob", "DELETE", "/Photos/a.txt").expect(204).await;
    let text = pair.anna.listed("anna", &format!("{OWNCLOUD}/anna/")).await;
    let entry = hrefs(&text).remove(1);
    assert!(text.contains(">Photos/a.txt</trashbin-original-location>"), "{text}");
    assert_eq!(pair.anna.own("anna", "GET", &entry).expect(200).await.text(), "second");
    assert_eq!(hrefs(&pair.bob.listed("bob", &format!("{OWNCLOUD}/bob/")).await).len(), 1);
    // Its old version waits in the trash with it.
    let back: Answer = pair.anna.own("anna", "MOVE", &entry).header("destination", "/remote.php/dav/files/anna/b.txt").expect(201).await;
    let id = back.header("oc-fileid").unwrap().to_owned();
    let versions = pair.anna.listed("anna", &format!("/remote.php/dav/meta/{id}/v")).await;
    assert_eq!(pair.anna.own("anna", "GET", &hrefs(&versions)[1]).expect(200).await.text(), "first");
    // A mountpoint is unmounted, and nothing of it is in anybody's trash.
    pair.bob.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert_eq!(hrefs(&pair.bob.listed("bob", &format!("{OWNCLOUD}/bob/")).await).len(), 1);
    pair.stop().await;
}

#[tokio::test]
async fn a_folder_with_a_mount_comes_back_with_it() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "remote").await;
    let link = pair.anna.link("anna", "/Photos", "read").await;
    pair.bob.mount("bob", &link.url).await;
    pair.bob.mkcol("bob", "/d").await;
    pair.bob.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/d/m").expect(201).await;
    pair.bob.ask_as("bob", "DELETE", "/d").expect(204).await;
    assert_eq!(pair.anna.get("anna", "/Photos/a.txt").await, "remote");
    let entry = hrefs(&pair.bob.listed("bob", &format!("{OWNCLOUD}/bob/")).await).remove(1);
    assert_eq!(hrefs(&pair.bob.listed("bob", &entry).await).len(), 1, "a mount in the trash is not looked into");
    pair.bob.own("bob", "MOVE", &entry).header("destination", "/remote.php/dav/files/bob/e").expect(201).await;
    assert_eq!(pair.bob.get("bob", "/e/m/a.txt").await, "remote");
    pair.bob.ask_as("bob", "DELETE", "/e").expect(204).await;
    pair.bob.own("bob", "DELETE", &format!("{NEXTCLOUD}/bob/trash")).expect(204).await;
    let Outcome::Mounts(left) = pair.bob.execute(Command::MountList { user: "bob".to_owned() }).await else { panic!("no mounts") };
    assert!(left.is_empty(), "the mount is detached with the folder");
    assert_eq!(pair.anna.get("anna", "/Photos/a.txt").await, "remote");
    pair.stop().await;
}

#[tokio::test]
async fn administrators_see_who_deleted_what_and_bring_it_back() {
    let server = with_files().await;
    let link = server.link("anna", "/Photos", "edit").await;
    let guest = format!("/public.php/dav/files/{}/a%20b.txt", link.url.rsplit('/').next().unwrap());
    server.ask("DELETE", &guest).expect(204).await;
    server.ask_as("anna", "DELETE", "/note.txt").expect(204).await;
    let user = || "anna".to_owned();
    let Outcome::Trash(rows) = server.execute(Command::Trash(TrashCommand::List { user: user() })).await else { panic!("no trash") };
    let told: Vec<_> = rows.iter().map(|row| (row.path.as_str(), row.size, row.by.clone())).collect();
    assert!(told.contains(&("/Photos/a b.txt", 7, format!("link {}", link.id))) && told.contains(&("/note.txt", 4, user())), "{told:?}");
    let id = rows.iter().find(|row| row.path == "/note.txt").unwrap().id;
    server.execute(Command::Trash(TrashCommand::Restore { user: user(), id })).await;
    assert_eq!(server.get("anna", "/note.txt").await, "note");
    server.refuse(Command::Trash(TrashCommand::Restore { user: user(), id }), Reason::NotFound).await;
    server.execute(Command::Trash(TrashCommand::Empty { user: user() })).await;
    assert_eq!(hrefs(&server.listed("anna", &format!("{OWNCLOUD}/anna/")).await).len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn d8_the_trash_is_no_way_around_the_quota() {
    let server = TestServer::start().await;
    let own = Secret::new(password("anna"));
    server.execute(Command::UserAdd { name: "anna".to_owned(), admin: false, display_name: None, quota: Some(1000), password: own }).await;
    // Deleting makes room in the quota, and the trash keeps half of it at most.
    for number in 0..10 {
        server.put("anna", "/big", &format!("{number}").repeat(400)).await;
        server.ask_as("anna", "DELETE", "/big").expect(204).await;
    }
    let text = server.listed("anna", &format!("{OWNCLOUD}/anna/")).await;
    let entries = hrefs(&text);
    assert_eq!(entries.len(), 2, "{text}");
    let kept: u64 =
        std::fs::read_dir(server.data().join(".causeway/trash/1")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(kept, 400);
    server.put("anna", "/other", &"x".repeat(800)).await;
    server.own("anna", "MOVE", &entries[1]).header("destination", "/remote.php/dav/files/anna/back").expect(507).await;
    // The same for versions: old bytes are no quota, but they are bounded.
    for number in 0..10 {
        server.put("anna", "/other", &format!("{number}").repeat(400)).await;
    }
    let kept: u64 =
        std::fs::read_dir(server.data().join(".causeway/versions/1")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(kept, 400);
    server.stop().await;
}
