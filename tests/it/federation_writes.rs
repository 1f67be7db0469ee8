//! Writing through a mount, into it and out of it: what is refused or breaks off leaves both sides as they were.

use std::time::Duration;

use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::federation::{PATIENCE, etag, impatient, names, photos, property, put_chunked, transfer, until};
use crate::support::server::{Answer, Pair, TestServer};
use causeway::service::admin::Command;

#[tokio::test]
async fn files_are_written_with_and_without_a_length_and_on_conditions() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    let put = |path: &str, body: &str| bob.ask_as("bob", "PUT", path).body(body);
    let created = put("/Photos/new.txt", "one").expect(201).await;
    let tag = created.header("etag").unwrap().to_owned();
    assert_eq!(tag, etag(&bob, "bob", "/Photos/new.txt").await);
    put("/Photos/new.txt", "x").header("if-match", "\"other\"").expect(412).await;
    put("/Photos/new.txt", "x").header("if-none-match", "*").expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/new.txt").await, "one", "a refused write changes nothing");
    put("/Photos/new.txt", "two").header("if-match", &tag).expect(204).await;
    put("/Photos/new.txt", "three").header("if-match", &tag).expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/new.txt").await, "two");
    put("/Photos/absent.txt", "x").header("if-match", "*").expect(412).await;
    put("/Photos/fresh.txt", "x").header("if-none-match", "*").expect(201).await;
    // What anna wrote meanwhile is not overwritten by one who has not seen it.
    let seen = etag(&bob, "bob", "/Photos/a.txt").await;
    anna.put("anna", "/Photos/a.txt", "anna again").await;
    put("/Photos/a.txt", "blind").header("if-match", &seen).expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "anna again");
    assert_eq!(put_chunked(&bob, "bob", "/Photos/chunked.txt", &["in ", "three ", "pieces"]).await, 201);
    assert_eq!(anna.get("anna", "/Photos/chunked.txt").await, "in three pieces");
    assert_eq!(put_chunked(&bob, "bob", "/Photos/chunked.txt", &[]).await, 204);
    assert_eq!(anna.get("anna", "/Photos/chunked.txt").await, "");
    put("/Photos/nothing/x.txt", "x").expect(409).await;
    put("/Photos/sub", "x").expect(405).await;
    put("/Photos/dated.txt", "x").header("x-oc-mtime", "1234567890").expect(201).await;
    assert_eq!(property(&anna, "anna", "/Photos/dated.txt", "d:getlastmodified").await, "Fri, 13 Feb 2009 23:31:30 GMT");
    put("/Photos/summed.txt", "x").header("oc-checksum", "SHA1:0000000000000000000000000000000000000000").expect(400).await;
    anna.ask_as("anna", "GET", "/Photos/summed.txt").expect(404).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn names_survive_both_hops() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    for name in ["a%20b", "a+b", "100%25", "x%23y", "x%26y", "q%22q", "%C3%A4%E2%82%AC", "semi;colon", "x%3Fy", "new%0Aline", "'"] {
        let path = format!("/Photos/{name}");
        bob.put("bob", &path, name).await;
        assert_eq!(anna.get("anna", &path).await, name);
        assert_eq!(bob.get("bob", &path).await, name);
        transfer(&bob, "bob", "MOVE", &path, &format!("/Photos/sub/{name}")).expect(201).await;
        assert_eq!(bob.get("bob", &format!("/Photos/sub/{name}")).await, name);
    }
    assert_eq!(names(&bob, "bob", "/Photos/sub").await, names(&anna, "anna", "/Photos/sub").await);
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "sub"]);
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn folders_are_made_moved_copied_and_deleted_inside() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.mkcol("bob", "/Photos/new").await;
    bob.ask_as("bob", "MKCOL", "/Photos/new").expect(405).await;
    bob.ask_as("bob", "MKCOL", "/Photos/no/where").expect(409).await;
    bob.put("bob", "/Photos/new/one.txt", "one").await;
    transfer(&bob, "bob", "MOVE", "/Photos/new", "/Photos/sub").header("overwrite", "F").expect(412).await;
    transfer(&bob, "bob", "COPY", "/Photos/new", "/Photos/sub").header("overwrite", "F").expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    transfer(&bob, "bob", "MOVE", "/Photos/new", "/Photos/no/where").expect(409).await;
    transfer(&bob, "bob", "COPY", "/Photos/sub", "/Photos/copy").expect(201).await;
    assert_eq!(anna.get("anna", "/Photos/copy/deep.txt").await, "deep down");
    transfer(&bob, "bob", "COPY", "/Photos/sub", "/Photos/shell").header("depth", "0").expect(201).await;
    assert!(names(&anna, "anna", "/Photos/shell").await.is_empty());
    transfer(&bob, "bob", "MOVE", "/Photos/new", "/Photos/copy").expect(204).await;
    assert_eq!(names(&anna, "anna", "/Photos/copy").await, ["one.txt"]);
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt", "copy", "shell", "sub"]);
    bob.ask_as("bob", "DELETE", "/Photos/copy").expect(204).await;
    bob.ask_as("bob", "DELETE", "/Photos/copy").expect(404).await;
    let tag = etag(&bob, "bob", "/Photos/a.txt").await;
    bob.ask_as("bob", "DELETE", "/Photos/a.txt").header("if-match", "\"other\"").expect(412).await;
    bob.ask_as("bob", "DELETE", "/Photos/a.txt").header("if-match", &tag).expect(204).await;
    assert_eq!(names(&anna, "anna", "/Photos").await, ["shell", "sub"]);
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn files_and_folders_go_into_the_mount_and_out_of_it() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.mkcol("bob", "/own").await;
    bob.mkcol("bob", "/own/below").await;
    bob.put("bob", "/own/below/x.txt", "x of bob").await;
    bob.ask_as("bob", "PUT", "/f.txt").body("a file").header("x-oc-mtime", "1234567890").expect(201).await;
    for (method, from, to) in [("COPY", "/f.txt", "/Photos/f.txt"), ("MOVE", "/f.txt", "/Photos/g.txt")] {
        transfer(&bob, "bob", method, from, to).expect(201).await;
        assert_eq!(anna.get("anna", to).await, "a file");
        assert_eq!(property(&anna, "anna", to, "d:getlastmodified").await, "Fri, 13 Feb 2009 23:31:30 GMT", "the time goes along");
    }
    bob.ask_as("bob", "GET", "/f.txt").expect(404).await;
    transfer(&bob, "bob", "COPY", "/own", "/Photos/own").expect(201).await;
    assert_eq!(anna.get("anna", "/Photos/own/below/x.txt").await, "x of bob");
    transfer(&bob, "bob", "MOVE", "/own", "/Photos/own").header("overwrite", "F").expect(412).await;
    transfer(&bob, "bob", "MOVE", "/own", "/Photos/sub").expect(204).await;
    assert_eq!(names(&anna, "anna", "/Photos/sub").await, ["below"], "what was there is replaced as a whole");
    assert_eq!(names(&bob, "bob", "/").await, ["Photos"]);
    // And out again.
    transfer(&bob, "bob", "COPY", "/Photos/own", "/own").expect(201).await;
    assert_eq!(bob.get("bob", "/own/below/x.txt").await, "x of bob");
    transfer(&bob, "bob", "MOVE", "/Photos/own", "/own").header("overwrite", "F").expect(412).await;
    transfer(&bob, "bob", "MOVE", "/Photos/own", "/own").expect(204).await;
    transfer(&bob, "bob", "MOVE", "/Photos/g.txt", "/g.txt").expect(201).await;
    transfer(&bob, "bob", "MOVE", "/Photos/a.txt", "/no/where.txt").expect(409).await;
    transfer(&bob, "bob", "COPY", "/g.txt", "/Photos/no/where.txt").expect(409).await;
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "f.txt", "sub"]);
    assert_eq!(names(&bob, "bob", "/").await, ["Photos", "g.txt", "own"]);
    // A copy of a folder with a mount in it holds what the mount holds.
    bob.mkcol("bob", "/around").await;
    transfer(&bob, "bob", "MOVE", "/Photos", "/around/Photos").expect(201).await;
    transfer(&bob, "bob", "COPY", "/around", "/backup").expect(201).await;
    assert_eq!(bob.get("bob", "/backup/Photos/a.txt").await, "from anna");
    transfer(&bob, "bob", "MOVE", "/around", "/around/Photos/x").expect(403).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_file_replaces_a_folder_and_a_folder_a_file_across_the_border() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.put("bob", "/f.txt", "a file").await;
    bob.mkcol("bob", "/d").await;
    bob.put("bob", "/d/x.txt", "x").await;
    transfer(&bob, "bob", "COPY", "/f.txt", "/Photos/sub").header("overwrite", "F").expect(412).await;
    assert_eq!(anna.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    transfer(&bob, "bob", "MOVE", "/f.txt", "/Photos/sub").expect(204).await;
    assert_eq!(anna.get("anna", "/Photos/sub").await, "a file");
    transfer(&bob, "bob", "MOVE", "/d", "/Photos/a.txt").expect(204).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt/x.txt").await, "x");
    assert_eq!(names(&bob, "bob", "/").await, ["Photos"]);
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "sub"]);
    Pair { anna, bob }.stop().await;
}

const PATCH: &str = "<d:propertyupdate xmlns:d=\"DAV:\" xmlns:t=\"urn:test\"><d:set><d:prop><t:colour>blue</t:colour>\
                     <d:lastmodified>1234567890</d:lastmodified></d:prop></d:set></d:propertyupdate>";

#[tokio::test]
async fn properties_are_kept_at_the_owner() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    let patched = bob.ask_as("bob", "PROPPATCH", "/Photos/a.txt").body(PATCH).expect(207).await.text();
    assert!(patched.contains("200 OK") && !patched.contains(" 4"), "{patched}");
    for (server, user) in [(&anna, "anna"), (&bob, "bob")] {
        let wanted = "<d:propfind xmlns:d=\"DAV:\"><d:prop><t:colour xmlns:t=\"urn:test\"/></d:prop></d:propfind>";
        let told = server.ask_as(user, "PROPFIND", "/Photos/a.txt").header("depth", "0").body(wanted).expect(207).await.text();
        assert!(told.contains(">blue<"), "{user}: {told}");
        assert_eq!(property(server, user, "/Photos/a.txt", "d:getlastmodified").await, "Fri, 13 Feb 2009 23:31:30 GMT");
    }
    Pair { anna, bob }.stop().await;
}

const LOCK: &str = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype>\
                    <d:owner>me</d:owner></d:lockinfo>";

fn token(answer: &Answer) -> String {
    answer.header("lock-token").unwrap().to_owned()
}

#[tokio::test]
async fn a_lock_holds_on_both_sides() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    let locked = bob.ask_as("bob", "LOCK", "/Photos/a.txt").header("timeout", "Second-300").body(LOCK).expect(200).await;
    let ours = token(&locked);
    anna.ask_as("anna", "PUT", "/Photos/a.txt").body("x").expect(423).await;
    anna.ask_as("anna", "DELETE", "/Photos/a.txt").expect(423).await;
    bob.ask_as("bob", "PUT", "/Photos/a.txt").body("x").expect(423).await;
    let refused = anna.ask_as("anna", "PROPFIND", "/Photos/a.txt").header("depth", "0");
    let refused = refused.body("<d:propfind xmlns:d=\"DAV:\"><d:prop><d:lockdiscovery/></d:prop></d:propfind>").expect(207).await.text();
    assert!(!refused.contains(ours.trim_matches(['<', '>'])), "clients see only the tokens of their own server: {refused}");
    bob.ask_as("bob", "PUT", "/Photos/a.txt").header("if", &format!("({ours})")).body("locked").expect(204).await;
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "locked");
    let again = bob.ask_as("bob", "LOCK", "/Photos/a.txt").header("if", &format!("({ours})")).header("timeout", "Second-200");
    again.expect(200).await;
    bob.ask_as("bob", "UNLOCK", "/Photos/a.txt").header("lock-token", "<urn:uuid:0>").expect(409).await;
    bob.ask_as("bob", "UNLOCK", "/Photos/a.txt").header("lock-token", &ours).expect(204).await;
    anna.ask_as("anna", "PUT", "/Photos/a.txt").body("free").expect(204).await;
    // And the other way round, from above.
    let theirs = token(&anna.ask_as("anna", "LOCK", "/Photos").header("depth", "infinity").body(LOCK).expect(200).await);
    bob.ask_as("bob", "PUT", "/Photos/sub/deep.txt").body("x").expect(423).await;
    bob.ask_as("bob", "PUT", "/Photos/new.txt").body("x").expect(423).await;
    bob.ask_as("bob", "DELETE", "/Photos/sub").expect(423).await;
    anna.ask_as("anna", "UNLOCK", "/Photos").header("lock-token", &theirs).expect(204).await;
    bob.ask_as("bob", "PUT", "/Photos/new.txt").body("x").expect(201).await;
    // A lock on a free name makes an empty file, as Finder and Explorer expect before their PUT.
    let fresh = token(&bob.ask_as("bob", "LOCK", "/Photos/fresh.txt").body(LOCK).expect(201).await);
    bob.ask_as("bob", "PUT", "/Photos/fresh.txt").header("if", &format!("({fresh})")).body("first").expect(204).await;
    bob.ask_as("bob", "UNLOCK", "/Photos/fresh.txt").header("lock-token", &fresh).expect(204).await;
    assert_eq!(anna.get("anna", "/Photos/fresh.txt").await, "first");
    Pair { anna, bob }.stop().await;
}

/// Bob's server with a mount of a scripted server; returns the path of the mount.
async fn scripted() -> (BadRemote, TestServer, String) {
    let remote = BadRemote::start().await;
    let bob = impatient("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
    let mount = bob.mount("bob", &remote.url()).await;
    (remote, bob, mount.path.unwrap())
}

#[tokio::test]
async fn a_source_that_breaks_off_leaves_source_and_target_as_they_were() {
    let (remote, bob, mount) = scripted().await;
    remote.write("sub/big.txt", &"0123456789".repeat(5000));
    bob.put("bob", "/target.txt", "before").await;
    bob.mkcol("bob", "/folder").await;
    bob.put("bob", "/folder/kept.txt", "kept").await;
    for method in ["COPY", "MOVE"] {
        for fault in [Fault::ResetGet, Fault::StallGet] {
            remote.set(fault).await;
            let file = transfer(&bob, "bob", method, &format!("{mount}/sub/big.txt"), "/target.txt").send().await;
            assert!(file.status >= 400 && file.status != 404, "{method} {fault:?}: {}", file.status);
            let folder = transfer(&bob, "bob", method, &format!("{mount}/sub"), "/folder").send().await;
            assert!(folder.status >= 400 && folder.status != 404, "{method} {fault:?}: {}", folder.status);
            remote.set(Fault::None).await;
            assert_eq!(bob.get("bob", "/target.txt").await, "before", "{method} {fault:?}");
            assert_eq!(names(&bob, "bob", "/folder").await, ["kept.txt"], "{method} {fault:?}");
            let left = names(&bob, "bob", "/").await;
            assert_eq!(left, [mount.trim_start_matches('/'), "folder", "target.txt"], "no unfinished copy stays: {method} {fault:?}");
            assert_eq!(remote.paths(), ["", "a.txt", "sub", "sub/b.txt", "sub/big.txt"]);
            bob.execute(Command::MountRetry { id: format!("bob:{mount}") }).await;
        }
    }
    transfer(&bob, "bob", "MOVE", &format!("{mount}/sub"), "/folder").expect(204).await;
    assert_eq!(names(&bob, "bob", "/folder").await, ["b.txt", "big.txt"]);
    assert_eq!(remote.paths(), ["", "a.txt"]);
    bob.stop().await;
}

#[tokio::test]
async fn a_source_that_changes_while_it_is_moved_is_not_deleted() {
    let (remote, bob, mount) = scripted().await;
    names(&bob, "bob", &format!("{mount}/sub")).await;
    // From here on each GET changes another file of the folder behind our back.
    remote.set(Fault::ChangesOnGet).await;
    let moved = transfer(&bob, "bob", "MOVE", &format!("{mount}/sub"), "/mine").send().await;
    remote.set(Fault::None).await;
    assert!(moved.status >= 400, "{}", moved.status);
    assert_eq!(remote.read("sub/late.txt").as_deref(), Some("written while the folder was moved"));
    assert_eq!(remote.read("sub/b.txt").as_deref(), Some("beta beta beta"));
    bob.stop().await;
}

#[tokio::test]
async fn an_upload_that_the_remote_cannot_take_leaves_its_old_content() {
    let (remote, bob, mount) = scripted().await;
    remote.set(Fault::Status(507)).await;
    bob.ask_as("bob", "PUT", &format!("{mount}/a.txt")).body("new").expect(507).await;
    remote.set(Fault::None).await;
    assert_eq!(remote.read("a.txt").as_deref(), Some("alpha"));
    until("the mount", PATIENCE, async || bob.ask_as("bob", "GET", &format!("{mount}/a.txt")).send().await.text() == "alpha").await;
    until("a clean remote", Duration::from_secs(10), async || remote.paths() == ["", "a.txt", "sub", "sub/b.txt"]).await;
    bob.stop().await;
}
