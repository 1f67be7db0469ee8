//! Reading through a mount, and the mount itself: everything that any WebDAV client of bob does in anna's folder.

use causeway::domain::Secret;
use causeway::service::admin::{Command, LinkTerms, Outcome};

use crate::support::federation::{PATIENCE, etag, mounts, names, photos, property, transfer, until};
use crate::support::server::{Pair, TestServer};

#[tokio::test]
async fn listings_show_the_mount_and_what_is_in_it() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.put("bob", "/own.txt", "bob's").await;
    assert_eq!(names(&bob, "bob", "/").await, ["Photos", "own.txt"]);
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt", "sub"]);
    assert_eq!(names(&bob, "bob", "/Photos/sub/").await, ["deep.txt"]);
    let alone = bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "0").expect(207).await.text();
    assert_eq!(alone.matches("response>").count(), 2, "{alone}");
    // Everything below a mount is somebody else's to walk (RFC 4918 9.1).
    for path in ["/", "/Photos/", "/Photos/sub/"] {
        let refused = bob.ask_as("bob", "PROPFIND", path).header("depth", "infinity").expect(403).await.text();
        assert!(refused.contains("propfind-finite-depth"), "{path}: {refused}");
    }
    bob.mkcol("bob", "/plain").await;
    bob.ask_as("bob", "PROPFIND", "/plain").header("depth", "infinity").expect(207).await;
    bob.ask_as("bob", "PROPFIND", "/Photos/nothing").header("depth", "0").expect(404).await;
    bob.ask_as("bob", "GET", "/Photos/sub/nothing").expect(404).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_file_in_a_mount_is_read_whole_in_parts_and_on_conditions() {
    let (Pair { anna, bob }, _) = photos("read").await;
    let get = || bob.ask_as("bob", "GET", "/Photos/a.txt");
    let whole = get().expect(200).await;
    assert_eq!((whole.text().as_str(), whole.header("content-length")), ("from anna", Some("9")));
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!(tag, etag(&bob, "bob", "/Photos/a.txt").await, "header and property say the same");
    let part = get().header("range", "bytes=5-7").expect(206).await;
    assert_eq!((part.text().as_str(), part.header("content-range")), ("ann", Some("bytes 5-7/9")));
    assert_eq!(get().header("range", "bytes=-4").expect(206).await.text(), "anna");
    assert_eq!(get().header("range", "bytes=5-").expect(206).await.text(), "anna");
    assert_eq!(get().header("range", "bytes=9-").expect(416).await.header("content-range"), Some("bytes */9"));
    let parts = get().header("range", "bytes=0-1,5-6").expect(206).await;
    assert!(parts.header("content-type").unwrap().starts_with("multipart/byteranges"));
    assert!(parts.text().contains("\r\nfr\r\n") && parts.text().contains("\r\nan\r\n"), "{}", parts.text());
    get().header("if-none-match", &tag).expect(304).await;
    get().header("if-match", &tag).expect(200).await;
    get().header("if-match", "\"other\"").expect(412).await;
    assert_eq!(get().header("range", "bytes=0-3").header("if-range", &tag).expect(206).await.text(), "from");
    assert_eq!(get().header("range", "bytes=0-3").header("if-range", "\"other\"").expect(200).await.text(), "from anna");
    let modified = whole.header("last-modified").unwrap();
    get().header("if-modified-since", modified).expect(304).await;
    let head = bob.ask_as("bob", "HEAD", "/Photos/a.txt").expect(200).await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("9"), 0));
    anna.put("anna", "/Photos/empty", "").await;
    until("the new file", PATIENCE, async || names(&bob, "bob", "/Photos").await.contains(&"empty".to_owned())).await;
    assert_eq!(bob.get("bob", "/Photos/empty").await, "");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_link_to_read_grants_reading_alone() {
    let (Pair { anna, bob }, _) = photos("read").await;
    assert_eq!(property(&bob, "bob", "/Photos", "oc:permissions").await, "SGDNV");
    assert_eq!(property(&bob, "bob", "/Photos/a.txt", "oc:permissions").await, "SG");
    assert_eq!(property(&bob, "bob", "/Photos/sub", "oc:permissions").await, "SG");
    bob.put("bob", "/own.txt", "bob's").await;
    let ask = |method: &str, path: &str| bob.ask_as("bob", method, path);
    ask("PUT", "/Photos/a.txt").body("x").expect(403).await;
    ask("PUT", "/Photos/new.txt").body("x").expect(403).await;
    ask("MKCOL", "/Photos/new").expect(403).await;
    ask("DELETE", "/Photos/a.txt").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/Photos/a.txt", "/Photos/b.txt").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/Photos/a.txt", "/taken.txt").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/own.txt", "/Photos/own.txt").expect(403).await;
    transfer(&bob, "bob", "COPY", "/own.txt", "/Photos/own.txt").expect(403).await;
    transfer(&bob, "bob", "COPY", "/Photos/a.txt", "/Photos/b.txt").expect(403).await;
    transfer(&bob, "bob", "COPY", "/Photos/sub", "/Photos/sub2").expect(403).await;
    let lock = "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    ask("LOCK", "/Photos/a.txt").body(lock).expect(403).await;
    let patch = "<d:propertyupdate xmlns:d=\"DAV:\"><d:set><d:prop><t:x xmlns:t=\"urn:test\">1</t:x></d:prop></d:set></d:propertyupdate>";
    let patched = ask("PROPPATCH", "/Photos/a.txt").body(patch).send().await;
    assert!(patched.status == 403 || (patched.status == 207 && patched.text().contains(" 403 ")), "{}", patched.text());
    transfer(&bob, "bob", "COPY", "/Photos/sub", "/mine").expect(201).await;
    assert_eq!(bob.get("bob", "/mine/deep.txt").await, "deep down");
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "sub"]);
    assert_eq!(names(&bob, "bob", "/").await, ["Photos", "mine", "own.txt"]);
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn the_letters_of_a_mount_are_those_of_its_link() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    // Whoever came by a link does not share on: no R.
    assert_eq!(property(&bob, "bob", "/Photos", "oc:permissions").await, "SGDNVCK");
    assert_eq!(property(&bob, "bob", "/Photos/sub", "oc:permissions").await, "SGDNVCK");
    assert_eq!(property(&bob, "bob", "/Photos/a.txt", "oc:permissions").await, "SGDNVW");
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1");
    let body = "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:prop><oc:permissions/></d:prop></d:propfind>";
    let listed = listed.body(body).expect(207).await.text();
    assert!(listed.contains("permissions>SGDNVCK<"), "a listing and a question to the node say the same: {listed}");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_link_to_one_file_is_a_file() {
    let Pair { anna, bob } = Pair::start().await;
    anna.put("anna", "/one.txt", "one file").await;
    let link = anna.link("anna", "/one.txt", "edit").await;
    let mount = bob.mount("bob", &link.url).await;
    assert_eq!(mount.path.as_deref(), Some("/one.txt"));
    assert_eq!(bob.get("bob", "/one.txt").await, "one file");
    assert_eq!(property(&bob, "bob", "/one.txt", "oc:permissions").await, "SGDNVW");
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/one.txt<"), "a file has no slash at its end: {listed}");
    assert_eq!(bob.ask_as("bob", "GET", "/one.txt").header("range", "bytes=4-").expect(206).await.text(), "file");
    bob.ask_as("bob", "PUT", "/one.txt").body("changed by bob").expect(204).await;
    assert_eq!(anna.get("anna", "/one.txt").await, "changed by bob");
    bob.mkcol("bob", "/folder").await;
    transfer(&bob, "bob", "MOVE", "/one.txt", "/folder/uno.txt").expect(201).await;
    assert_eq!(bob.get("bob", "/folder/uno.txt").await, "changed by bob");
    transfer(&bob, "bob", "COPY", "/folder/uno.txt", "/copy.txt").expect(201).await;
    bob.ask_as("bob", "DELETE", "/folder/uno.txt").expect(204).await;
    assert!(mounts(&bob, "bob").await.is_empty());
    assert_eq!(bob.get("bob", "/copy.txt").await, "changed by bob");
    assert_eq!(anna.get("anna", "/one.txt").await, "changed by bob");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_link_with_a_password_works_as_one_without() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    let terms = LinkTerms { permissions: Some("edit".to_owned()), password: Some(Secret::new("open sesame")), ..LinkTerms::default() };
    let link = anna.link_with("anna", "/Photos", terms).await;
    let password = Some(Secret::new("open sesame"));
    bob.execute(Command::MountAdd { user: "bob".to_owned(), url: link.url, name: None, password }).await;
    bob.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(bob.get("bob", "/Photos/b.txt").await, "from bob");
    assert_eq!(anna.get("anna", "/Photos/b.txt").await, "from bob");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_mount_is_renamed_and_moved_and_goes_with_its_folder() {
    let (Pair { anna, bob }, mount) = photos("edit").await;
    let path = || async { mounts(&bob, "bob").await[0].path.clone() };
    transfer(&bob, "bob", "MOVE", "/Photos", "/Anna's").expect(201).await;
    assert_eq!(path().await.as_deref(), Some("/Anna's"));
    bob.ask_as("bob", "PROPFIND", "/Photos").header("depth", "0").expect(404).await;
    bob.mkcol("bob", "/outer").await;
    bob.mkcol("bob", "/outer/inner").await;
    transfer(&bob, "bob", "MOVE", "/Anna's", "/outer/inner/P").expect(201).await;
    assert_eq!(bob.get("bob", "/outer/inner/P/a.txt").await, "from anna");
    transfer(&bob, "bob", "MOVE", "/outer", "/other").expect(201).await;
    assert_eq!(path().await.as_deref(), Some("/other/inner/P"));
    assert_eq!(bob.get("bob", "/other/inner/P/sub/deep.txt").await, "deep down");
    bob.put("bob", "/other/inner/P/b.txt", "from bob").await;
    // It stays where it is across a restart.
    let bob = bob.restart().await;
    assert_eq!(bob.get("bob", "/other/inner/P/b.txt").await, "from bob");
    assert_eq!(mounts(&bob, "bob").await[0].id, mount.id);
    // Nothing may take its place, and it may not go into itself or another mount.
    bob.put("bob", "/own.txt", "bob's").await;
    transfer(&bob, "bob", "MOVE", "/own.txt", "/other/inner/P").expect(403).await;
    transfer(&bob, "bob", "COPY", "/own.txt", "/other/inner/P").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/other/inner/P", "/other/inner/P/x").expect(403).await;
    bob.mkcol("bob", "/fresh").await;
    transfer(&bob, "bob", "MOVE", "/fresh", "/other").expect(403).await;
    transfer(&bob, "bob", "COPY", "/fresh", "/other").expect(403).await;
    transfer(&bob, "bob", "MOVE", "/other", "/fresh").header("overwrite", "F").expect(412).await;
    assert_eq!(bob.get("bob", "/other/inner/P/b.txt").await, "from bob");
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "b.txt", "sub"]);
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn deleting_above_a_mount_detaches_it_and_deletes_nothing_there() {
    let (Pair { anna, bob }, _) = photos("edit").await;
    bob.mkcol("bob", "/outer").await;
    bob.mkcol("bob", "/outer/inner").await;
    transfer(&bob, "bob", "MOVE", "/Photos", "/outer/inner/Photos").expect(201).await;
    bob.ask_as("bob", "DELETE", "/outer").expect(204).await;
    bob.ask_as("bob", "PROPFIND", "/outer").header("depth", "0").expect(404).await;
    assert!(mounts(&bob, "bob").await.iter().all(|mount| mount.path.is_none()));
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt", "sub"]);
    assert_eq!(anna.get("anna", "/Photos/sub/deep.txt").await, "deep down");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn space_in_a_mount_is_that_of_its_owner() {
    let anna = TestServer::start().await;
    let password = Secret::new(crate::support::server::password("anna"));
    let name = "anna".to_owned();
    let added = anna.execute(Command::UserAdd { name, admin: false, display_name: None, quota: Some(20_000), password }).await;
    assert!(matches!(added, Outcome::Done(_)), "{added:?}");
    let bob = TestServer::with_user("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: anna.host() }).await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", &"a".repeat(5000)).await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    let left: i64 = property(&bob, "bob", "/Photos", "d:quota-available-bytes").await.parse().unwrap();
    assert!((1..=15_000).contains(&left), "{left}");
    bob.ask_as("bob", "PUT", "/Photos/big").body("b".repeat(40_000)).expect(507).await;
    bob.put("bob", "/big", &"b".repeat(40_000)).await;
    transfer(&bob, "bob", "MOVE", "/big", "/Photos/big").expect(507).await;
    assert_eq!(bob.get("bob", "/big").await.len(), 40_000, "what has no room stays where it was");
    assert_eq!(names(&anna, "anna", "/Photos").await, ["a.txt"]);
    Pair { anna, bob }.stop().await;
}
