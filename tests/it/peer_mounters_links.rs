//! Every server that mounts links, with every kind of link: added, listed, read, written, protected, withdrawn.

use std::collections::{BTreeMap, BTreeSet};

use causeway::domain::Secret;
use causeway::service::admin::{AccountCommand, Command, LinkRow, LinkTerms};

use crate::support::federation::transfer;
use crate::support::mounter::{EIGHT, Edition, Mounter, Seen, State};
use crate::support::mounter_xml;
use crate::support::server::{Pair, TestServer};

/// Names that have been misread by somebody.
const NAMES: [&str; 12] = [
    "a.txt",
    "a+b.txt",
    "50%.txt",
    "ümläut é.txt",
    "日本語.txt",
    "a & b.txt",
    "#1?.txt",
    "a;b=c.txt",
    "it's \"it\".txt",
    "back\\slash",
    "~tilde!",
    "🐟.txt",
];

fn token(link: &LinkRow) -> &str {
    link.url.rsplit('/').next().unwrap()
}

fn encoded(path: &str) -> String {
    percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2F", "/")
}

/// Anna's `/Photos` with many names and `sub/deeper/deep.txt`.
async fn with_photos() -> TestServer {
    let server = TestServer::with_user("anna").await;
    for folder in ["/Photos", "/Photos/sub", "/Photos/sub/deeper", "/Photos/empty+folder"] {
        server.mkcol("anna", &encoded(folder)).await;
    }
    for name in NAMES {
        server.put("anna", &format!("/Photos/{}", encoded(name)), name).await;
    }
    server.put("anna", "/Photos/sub/deeper/deep.txt", "deep down").await;
    server
}

fn paths(cache: &BTreeMap<String, Seen>) -> BTreeSet<&str> {
    cache.keys().map(String::as_str).collect()
}

fn photos() -> BTreeSet<&'static str> {
    NAMES.into_iter().chain(["sub", "sub/deeper", "sub/deeper/deep.txt", "empty+folder"]).collect()
}

/// Adds the link and looks at everything in it: names, sizes, and the rights of every node.
async fn added(edition: Edition, server: &TestServer, link: &LinkRow, granted: u8) -> Mounter {
    let mut mounter = Mounter::new(edition, server, token(link), "");
    mounter.add().await.unwrap();
    let cache = mounter.scan().await;
    assert_eq!(paths(&cache), photos(), "{edition:?}");
    for (path, seen) in &cache {
        assert_eq!(seen.permissions, edition.mask(granted, seen.folder), "{edition:?} {path}");
        assert_eq!(seen.folder, path.ends_with("folder") || matches!(path.as_str(), "sub" | "sub/deeper"), "{edition:?} {path}");
    }
    assert_eq!(cache["a+b.txt"].size, Some(7), "{edition:?}");
    assert_eq!(mounter.refresh().await, State::Same, "{edition:?}: nothing happened");
    mounter
}

#[tokio::test]
async fn every_server_mounts_a_link_that_can_be_read() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "read").await;
    for edition in Edition::ALL {
        let mut mounter = added(edition, &server, &link, 1).await;
        for name in NAMES {
            assert_eq!(mounter.get(name).await.as_deref(), Ok(name.as_bytes()), "{edition:?}");
        }
        assert_eq!(mounter.get("nothing.txt").await, Err(404), "{edition:?}");
        assert!(mounter.free_space("").await.is_none_or(|bytes| bytes > 0), "{edition:?}");
        assert_eq!(mounter.put("new.txt", b"new").await, Err(403), "{edition:?}");
        assert_eq!(mounter.put("sub/new.txt", b"new").await, Err(403), "{edition:?}");
        assert_eq!(mounter.mkcol("new").await, Err(403), "{edition:?}");
        assert_eq!(mounter.delete("a.txt").await, Err(403), "{edition:?}");
        assert_eq!(mounter.transfer("MOVE", "a.txt", "b.txt").await, Err(403), "{edition:?}");
        assert_eq!(mounter.transfer("COPY", "a.txt", "b.txt").await, Err(403), "{edition:?}");
        assert_eq!(mounter.touch("a.txt", 1_600_000_000).await, Err(403), "{edition:?}");
        assert_eq!(mounter.refresh().await, State::Same, "{edition:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_server_writes_through_a_link_that_can_be_edited() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "edit").await;
    for edition in Edition::ALL {
        let mut mounter = added(edition, &server, &link, 15).await;
        writes(edition, &server, &mut mounter).await;
        let left = mounter.scan().await;
        assert_eq!(paths(&left), photos(), "{edition:?}: what was made is gone again");
    }
    server.stop().await;
}

async fn writes(edition: Edition, server: &TestServer, mounter: &mut Mounter) {
    mounter.put("new+1.txt", b"new").await.unwrap();
    mounter.touch("new+1.txt", 1_600_000_000).await.unwrap();
    assert_eq!(server.get("anna", "/Photos/new%2B1.txt").await, "new", "{edition:?}");
    assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
    assert_eq!(mounter.scan().await["new+1.txt"].modified, 1_600_000_000, "{edition:?}");
    mounter.put("new+1.txt", b"newer").await.unwrap();
    assert_eq!(server.get("anna", "/Photos/new%2B1.txt").await, "newer", "{edition:?}");
    let large = vec![b'x'; (1 << 20) + 17];
    mounter.put("sub/large.bin", &large).await.unwrap();
    mounter.put("sub/empty.bin", b"").await.unwrap();
    assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
    mounter.mkcol("made").await.unwrap();
    assert_eq!(mounter.mkcol("nowhere/made").await, Err(409), "{edition:?}");
    mounter.transfer("MOVE", "sub/large.bin", "made/lärge +1.bin").await.unwrap();
    mounter.transfer("COPY", "made", "sub/copied").await.unwrap();
    mounter.transfer("MOVE", "made", "sub/moved").await.unwrap();
    assert_eq!(mounter.get("sub/moved/lärge +1.bin").await.as_ref(), Ok(&large), "{edition:?}");
    // Over something that is there, without a word of Overwrite.
    mounter.transfer("MOVE", "sub/empty.bin", "new+1.txt").await.unwrap();
    assert_eq!(server.get("anna", "/Photos/new%2B1.txt").await, "", "{edition:?}");
    assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
    for path in ["new+1.txt", "sub/copied", "sub/moved"] {
        mounter.delete(path).await.unwrap();
    }
    assert_eq!(mounter.delete("sub/moved").await, Err(404), "{edition:?}");
    assert!(mounter.free_space("sub").await.is_none_or(|bytes| bytes > 0), "{edition:?}");
    assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
    // By its owner, deep down.
    server.put("anna", "/Photos/sub/deeper/deep.txt", &format!("changed for {edition:?}")).await;
    assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
    assert_eq!(mounter.refresh().await, State::Same, "{edition:?}");
}

#[tokio::test]
async fn every_server_is_told_why_a_file_cannot_be_written() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "edit").await;
    let body = "<lockinfo xmlns=\"DAV:\"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";
    server.ask_as("anna", "LOCK", "/Photos/a.txt").header("timeout", "Second-600").body(body).expect(200).await;
    let what = AccountCommand::Quota(Some(2_000));
    server.execute(Command::Account { name: "anna".to_owned(), what }).await;
    let large = vec![b'x'; 3_000];
    for edition in Edition::ALL {
        let mut mounter = added(edition, &server, &link, 15).await;
        // Neither a wrong password nor gone, and room is told where it is asked for.
        assert_eq!(mounter.put("a.txt", b"new").await, Err(423), "{edition:?}");
        assert_eq!(mounter.delete("a.txt").await, Err(423), "{edition:?}");
        assert_eq!(mounter.put("large.bin", &large).await, Err(507), "{edition:?}");
        assert!(mounter.free_space("").await.is_some_and(|bytes| (1..2_000).contains(&bytes)), "{edition:?}");
        assert_eq!(paths(&mounter.scan().await), photos(), "{edition:?}: nothing is left behind");
    }
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "a.txt");
    server.stop().await;
}

#[tokio::test]
async fn every_server_mounts_a_link_to_one_file() {
    let server = with_photos().await;
    let read = server.link("anna", "/Photos/a+b.txt", "read").await;
    let edit = server.link("anna", "/Photos/a.txt", "edit").await;
    for edition in Edition::ALL {
        let mut mounter = Mounter::new(edition, &server, token(&read), "");
        mounter.add().await.unwrap();
        assert_eq!(mounter.get("").await.as_deref(), Ok(b"a+b.txt".as_slice()), "{edition:?}");
        assert_eq!(mounter.put("", b"new").await, Err(403), "{edition:?}");
        assert!(!mounter.exists("a+b.txt").await, "{edition:?}: nothing is below a file");
        let info = mounter.share_info("").await.unwrap();
        assert_eq!((&info["type"], &info["name"], &info["permissions"]), (&"file".into(), &"a+b.txt".into(), &1.into()));
        let mut mounter = Mounter::new(edition, &server, token(&edit), "");
        mounter.add().await.unwrap();
        let content = format!("by {edition:?}");
        mounter.put("", content.as_bytes()).await.unwrap();
        mounter.touch("", 1_600_000_000).await.unwrap();
        assert_eq!(server.get("anna", "/Photos/a.txt").await, content);
        assert_eq!(mounter.refresh().await, State::Changed, "{edition:?}");
        assert_eq!(mounter.refresh().await, State::Same, "{edition:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_server_mounts_a_link_with_a_password() {
    let server = with_photos().await;
    for edition in Edition::ALL {
        let terms = LinkTerms { password: Some(Secret::new("open +%& sésame")), ..LinkTerms::default() };
        let link = server.link_with("anna", "/Photos", terms).await;
        for wrong in ["", "wrong"] {
            let mut mounter = Mounter::new(edition, &server, token(&link), wrong);
            let told = mounter.add().await.unwrap_err();
            assert!(told.contains("password might be wrong") || told == "Couldn't add remote share", "{edition:?}: {told}");
            assert_eq!(mounter.share_info("").await, Err(403), "the link is there");
        }
        let mut mounter = Mounter::new(edition, &server, token(&link), "open +%& sésame");
        mounter.add().await.unwrap();
        assert_eq!(paths(&mounter.scan().await), photos(), "{edition:?}");
        assert_eq!(mounter.get("a.txt").await.as_deref(), Ok(b"a.txt".as_slice()), "{edition:?}");
        // Another password ends the mount, but for ownCloud 7, which waits.
        let terms = LinkTerms { password: Some(Secret::new("another")), ..LinkTerms::default() };
        server.execute(Command::LinkUpdate { id: link.id.to_string(), terms }).await;
        let ended = if edition == Edition::OwnCloud7 { State::Kept } else { State::Removed };
        assert_eq!(mounter.refresh().await, ended, "{edition:?}");
        server.execute(Command::LinkRemove { id: link.id.to_string() }).await;
        assert_eq!(mounter.refresh().await, State::Removed, "{edition:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_server_lets_go_of_a_link_that_is_withdrawn() {
    let server = with_photos().await;
    for edition in Edition::ALL {
        let link = server.link("anna", "/Photos", "edit").await;
        let mut mounter = Mounter::new(edition, &server, token(&link), "");
        mounter.add().await.unwrap();
        server.execute(Command::LinkRemove { id: link.id.to_string() }).await;
        assert_eq!(mounter.refresh().await, State::Removed, "{edition:?}");
        assert_eq!(mounter.share_info("").await, Err(404), "{edition:?}");
        assert!(Mounter::new(edition, &server, token(&link), "").add().await.is_err(), "{edition:?}");
        // One whose folder is deleted, before anybody has looked for such links.
        server.mkcol("anna", "/Short").await;
        let link = server.link("anna", "/Short", "read").await;
        let mut mounter = Mounter::new(edition, &server, token(&link), "");
        mounter.add().await.unwrap();
        server.ask_as("anna", "DELETE", "/Short").expect(204).await;
        assert_eq!(mounter.refresh().await, State::Removed, "{edition:?}");
        assert_eq!(mounter.share_info("").await, Err(404), "{edition:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn no_server_mounts_a_file_drop() {
    let server = with_photos().await;
    let link = server.link("anna", "/Photos", "drop").await;
    for edition in Edition::ALL {
        let mut mounter = Mounter::new(edition, &server, token(&link), "");
        assert!(mounter.add().await.is_err(), "{edition:?}");
        assert_eq!(mounter.share_info("").await, Err(403), "{edition:?}: it is there, and not to be read");
    }
    server.stop().await;
}

#[tokio::test]
async fn every_server_sees_through_a_link_what_is_mounted_below_it() {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "content").await;
    let link = pair.anna.link("anna", "/Photos", "edit").await;
    pair.bob.mkcol("bob", "/Mine").await;
    pair.bob.mount("bob", &link.url).await;
    transfer(&pair.bob, "bob", "MOVE", "/Photos", "/Mine/Photos").expect(201).await;
    let through = pair.bob.link("bob", "/Mine", "read").await;
    let mut mounters = Vec::new();
    for edition in Edition::ALL {
        let mut mounter = Mounter::new(edition, &pair.bob, token(&through), "");
        mounter.add().await.unwrap();
        let seen = mounter.scan().await;
        // By shareinfo a mount comes without what is in it: its server is not asked for that.
        let whole = !matches!(edition, Edition::OwnCloud7 | Edition::OwnCloud8);
        assert_eq!(paths(&seen), BTreeSet::from_iter(["Photos"].into_iter().chain(whole.then_some("Photos/a.txt"))), "{edition:?}");
        for path in ["Photos", "Photos/a.txt"] {
            assert_eq!(mounter.look(path).await.permissions, 1, "{edition:?} {path}: no more than the link grants");
        }
        assert_eq!(mounter.get("Photos/a.txt").await.as_deref(), Ok(b"content".as_slice()), "{edition:?}");
        mounters.push(mounter);
    }
    pair.anna.stop().await;
    for mounter in &mut mounters {
        assert_ne!(mounter.refresh().await, State::Removed);
        assert!(mounter.exists("Photos").await, "what is away is not gone");
    }
    pair.bob.stop().await;
}

#[test]
fn nextcloud_asks_in_469_bytes() {
    assert_eq!(mounter_xml::propfind(EIGHT).len(), 469, "as recorded");
}

#[tokio::test]
async fn every_server_lists_a_folder_of_300_files() {
    let server = TestServer::with_user("anna").await;
    let folder = server.data().join("anna/many");
    std::fs::create_dir_all(&folder).unwrap();
    let names: BTreeSet<String> = (0..300).map(|number| format!("{number:03} + é.txt")).collect();
    for name in &names {
        std::fs::write(folder.join(name), name).unwrap();
    }
    server.execute(Command::Scan { user: Some("anna".to_owned()) }).await;
    let link = server.link("anna", "/many", "read").await;
    for edition in Edition::ALL {
        let mut mounter = Mounter::new(edition, &server, token(&link), "");
        mounter.add().await.unwrap();
        let cache = mounter.scan().await;
        assert!(cache.keys().eq(names.iter()), "{edition:?}: {} of {}", cache.len(), names.len());
        assert_eq!(cache["123 + é.txt"].size, Some(12), "{edition:?}");
    }
    server.stop().await;
}
