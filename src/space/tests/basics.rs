use super::*;
use crate::domain::{Algorithm, Checksum, PropertyChange, PropertyName};

#[tokio::test]
async fn what_is_put_is_read_listed_and_on_disk() {
    let home = Home::new();
    let written = home.put("a.txt", "hello").await.unwrap();
    assert!(written.created);
    assert_eq!(home.read("a.txt").await.unwrap(), "hello");
    assert_eq!(std::fs::read(home.disk("a.txt")).unwrap(), b"hello");
    let checksum = written.node.checksum.unwrap();
    assert_eq!((checksum.algorithm, &*checksum.hex), (Algorithm::Sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"));
    let again = home.put("a.txt", "hello, you").await.unwrap();
    assert!(!again.created);
    assert_eq!(again.node.id, written.node.id);
    assert_ne!(again.node.etag, written.node.etag);
    assert_eq!(home.read("a.txt").await.unwrap(), "hello, you");
    home.check().await;
}

#[tokio::test]
async fn large_bodies_go_through_the_disk() {
    let home = Home::new();
    let text = "0123456789abcdef".repeat(200_000);
    let sha256 = Checksum::parse("SHA256:c9ad3e3e3ca9e5b7cb1f1ba0a9c0a6a6a4b1e37e4b1bfa2b6ba3a0e3d6f8e0b1").unwrap();
    let wrong = PutRequest { checksum: Some(sha256), ..PutRequest::plain() };
    assert!(matches!(home.put_with("big", &text, wrong).await, Err(Error::BodyMismatch(_))));
    let short = PutRequest { length: Some(10), ..PutRequest::plain() };
    assert!(matches!(home.put_with("big", &text, short).await, Err(Error::BodyMismatch(_))));
    assert!(home.node("big").await.is_none());
    let right = PutRequest { length: Some(text.len() as u64), modified: Some(1234), ..PutRequest::plain() };
    let written = home.put_with("big", &text, right).await.unwrap();
    assert_eq!((written.node.size, written.node.modified), (text.len() as u64, 1234));
    assert_eq!(home.read("big").await.unwrap(), text);
    home.check().await;
}

#[tokio::test]
async fn a_broken_body_leaves_the_old_content() {
    let home = Home::new();
    home.put("a", "old").await.unwrap();
    let broken: Incoming = Box::pin(futures_util::stream::iter(vec![
        Ok(Bytes::from(vec![b'x'; 600_000])),
        Ok(Bytes::from(vec![b'x'; 600_000])),
        Err(std::io::Error::other("gone")),
    ]));
    assert!(matches!(home.space.put(&at("a"), PutRequest::plain(), broken).await, Err(Error::BodyBroken)));
    assert_eq!(home.read("a").await.unwrap(), "old");
    home.check().await;
}

#[tokio::test]
async fn versions_and_sizes_rise_to_the_root() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.mkcol("a/b").await.unwrap();
    home.mkcol("c").await.unwrap();
    let other = home.node("c").await.unwrap().etag;
    let before = home.node("").await.unwrap().etag;
    home.put("a/b/x", "12345").await.unwrap();
    let (root, a, b) = (home.node("").await.unwrap(), home.node("a").await.unwrap(), home.node("a/b").await.unwrap());
    assert_ne!(root.etag, before);
    assert_eq!((root.size, a.size, b.size), (5, 5, 5));
    assert_eq!((&root.etag, &a.etag), (&a.etag, &b.etag));
    assert_eq!(home.node("c").await.unwrap().etag, other);
    home.put("a/b/x", "1").await.unwrap();
    assert_eq!(home.node("").await.unwrap().size, 1);
    home.delete("a").await.unwrap();
    assert_eq!(home.node("").await.unwrap().size, 0);
    home.check().await;
}

#[tokio::test]
async fn a_collection_is_modified_when_its_names_change() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.mkcol("a/b").await.unwrap();
    let modified = async |path| home.node(path).await.unwrap().modified;
    let made = modified("a/b").await;
    home.clock.advance(1000);
    home.put("a/b/f", "1").await.unwrap();
    let now = home.clock.now();
    assert_eq!(modified("a/b").await, now);
    assert_ne!(modified("a").await, now);
    assert_ne!(made, now);
    home.clock.advance(1000);
    home.put("a/b/f", "2").await.unwrap();
    assert_eq!(modified("a/b").await, now);
    home.rename("a/b/f", "a/f").await.unwrap();
    assert_eq!([modified("a").await, modified("a/b").await], [now + 1000; 2]);
    home.clock.advance(1000);
    home.copy("a", "c").await.unwrap();
    assert_eq!([modified("c").await, modified("c/b").await], [now + 1000; 2]);
}

#[tokio::test]
async fn refusals_have_their_reasons() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("f", "x").await.unwrap();
    assert!(matches!(home.put("no/f", "x").await, Err(Error::ParentMissing)));
    assert!(matches!(home.put("f/f", "x").await, Err(Error::ParentMissing)));
    assert!(matches!(home.put("a", "x").await, Err(Error::IsCollection)));
    assert!(matches!(home.mkcol("a").await, Err(Error::Exists)));
    assert!(matches!(home.mkcol("no/a").await, Err(Error::ParentMissing)));
    assert!(matches!(home.delete("no").await, Err(Error::NotFound)));
    assert!(matches!(home.delete("").await, Err(Error::Forbidden(_))));
    assert!(matches!(home.read("no").await, Err(Error::NotFound)));
    assert!(matches!(home.read("a").await, Err(Error::IsCollection)));
    assert!(matches!(home.space.list(&at("f")).await, Err(Error::NotCollection)));
    assert!(matches!(home.rename("a", "a/b").await, Err(Error::Forbidden(_))));
    home.mkcol("a/b").await.unwrap();
    assert!(matches!(home.rename("a/b", "a").await, Err(Error::Forbidden(_))));
    assert!(matches!(home.copy("a/b", "a").await, Err(Error::Forbidden(_))));
    assert!(matches!(home.rename("no", "x").await, Err(Error::NotFound)));
    assert!(matches!(home.rename("f", "no/x").await, Err(Error::ParentMissing)));
    home.check().await;
}

#[tokio::test]
async fn conditions_are_judged_at_the_moment_of_the_write() {
    let home = Home::new();
    let absent = || PutRequest { write: expecting(Expect::Absent), ..PutRequest::plain() };
    let first = home.put_with("a", "1", absent()).await.unwrap();
    assert!(matches!(home.put_with("a", "2", absent()).await, Err(Error::PreconditionFailed)));
    let unchanged = |etag: &Etag| PutRequest { write: expecting(Expect::Unchanged(Some(etag.clone()))), ..PutRequest::plain() };
    let second = home.put_with("a", "2", unchanged(&first.node.etag)).await.unwrap();
    assert!(matches!(home.put_with("a", "3", unchanged(&first.node.etag)).await, Err(Error::PreconditionFailed)));
    assert_ne!(first.node.etag, second.node.etag);
    assert_eq!(home.read("a").await.unwrap(), "2");
    let kept = home.space.rename(&at("a"), &at("b"), Write::unconditional(), expecting(Expect::Absent)).await.unwrap();
    assert!(kept.created);
    home.put("a", "4").await.unwrap();
    assert!(matches!(
        home.space.rename(&at("a"), &at("b"), Write::unconditional(), expecting(Expect::Absent)).await,
        Err(Error::PreconditionFailed)
    ));
}

#[tokio::test]
async fn a_move_keeps_ids_and_times_and_replaces_its_target() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    let file = home.put_with("a/f", "abc", PutRequest { modified: Some(99), ..PutRequest::plain() }).await.unwrap();
    home.mkcol("b").await.unwrap();
    home.put("b/old", "gone").await.unwrap();
    let a = home.node("a").await.unwrap();
    let moved = home.rename("a", "b").await.unwrap();
    assert!(!moved.created);
    assert_eq!(moved.node.id, a.id);
    assert_eq!(home.names("").await, ["b"]);
    assert_eq!(home.names("b").await, ["f"]);
    let now = home.node("b/f").await.unwrap();
    assert_eq!((now.id, now.modified, now.etag), (file.node.id, 99, file.node.etag));
    assert_eq!(home.space.path_of(file.node.id).await.unwrap(), Some(TreePath::parse("b/f").unwrap()));
    home.put("x", "over").await.unwrap();
    home.rename("b/f", "x").await.unwrap();
    assert_eq!(home.read("x").await.unwrap(), "abc");
    home.rename("x", "b").await.unwrap();
    assert_eq!(home.read("b").await.unwrap(), "abc");
    home.mkcol("c").await.unwrap();
    home.rename("c", "b").await.unwrap();
    assert_eq!(home.node("b").await.unwrap().kind, Kind::Collection);
    home.check().await;
}

#[tokio::test]
async fn copies_are_new_nodes_with_old_times_and_properties() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.mkcol("a/inner").await.unwrap();
    let file = home.put_with("a/inner/f", "abc", PutRequest { modified: Some(99), ..PutRequest::plain() }).await.unwrap();
    let name = PropertyName { namespace: "urn:x".into(), local: "color".into() };
    let set = vec![PropertyChange::Set(name.clone(), "<color/>".into())];
    let patched = home.space.patch_properties(&at("a/inner/f"), set, Write::unconditional()).await.unwrap();
    assert!(patched.has_properties);
    assert_eq!(patched.etag, file.node.etag);
    assert!(home.copy("a", "b").await.unwrap().created);
    let copy = home.node("b/inner/f").await.unwrap();
    assert_ne!(copy.id, file.node.id);
    assert_eq!((copy.modified, copy.checksum), (99, file.node.checksum));
    assert_eq!(home.space.properties(copy.id).await.unwrap(), vec![(name, "<color/>".into())]);
    assert_eq!(home.node("").await.unwrap().size, 6);
    home.put("b/extra", "x").await.unwrap();
    assert!(!home.copy("a", "b").await.unwrap().created);
    assert_eq!(home.names("b").await, ["inner"]);
    home.space.copy(&at("a"), &at("flat"), false, Write::unconditional()).await.unwrap();
    assert!(home.names("flat").await.is_empty());
    home.copy("a/inner/f", "f2").await.unwrap();
    assert_eq!(home.read("f2").await.unwrap(), "abc");
    home.check().await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    let written = home.put("a/f", "abc").await.unwrap();
    home.rename("a", "b").await.unwrap();
    let before = home.node("").await.unwrap();
    let home = home.reopen(None);
    assert_eq!(home.node("").await.unwrap(), before);
    let now = home.node("b/f").await.unwrap();
    assert_eq!((now.id, now.etag), (written.node.id, written.node.etag));
    let new = home.put("b/g", "x").await.unwrap();
    assert!(new.node.id > written.node.id);
    assert!(version(&new.node.etag) > version(&before.etag));
    home.check().await;
}

#[tokio::test]
async fn links_follow_their_nodes() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    let base = home.mkcol("a/shared").await.unwrap().node.id;
    home.put("a/shared/f", "abc").await.unwrap();
    let in_link = At { base, ..at("f") };
    home.rename("a", "moved").await.unwrap();
    assert!(matches!(home.space.resolve(&in_link).await.unwrap(), Resolved::Node(node) if node.size == 3));
    let home = home.reopen(None);
    assert!(matches!(home.space.resolve(&in_link).await.unwrap(), Resolved::Node(node) if node.size == 3));
    home.delete("moved").await.unwrap();
    assert!(matches!(home.space.resolve(&in_link).await, Err(Error::NotFound)));
    assert!(home.space.node(base).await.unwrap().is_none());
    let home = home.reopen(None);
    assert!(home.space.node(base).await.unwrap().is_none());
}

#[tokio::test]
async fn the_quota_is_kept_before_and_while_the_body_comes() {
    let home = Home::new();
    home.put("a", "12345").await.unwrap();
    home.space.set_quota(Some(10));
    assert_eq!(home.space.quota().await.unwrap(), Quota { used: 5, available: Some(5) });
    let known = PutRequest { length: Some(6), ..PutRequest::plain() };
    let unread: Incoming = Box::pin(futures_util::stream::poll_fn(|_| panic!("the body was read")));
    assert!(matches!(home.space.put(&at("b"), known, unread).await, Err(Error::InsufficientStorage)));
    assert!(matches!(home.put("b", "123456").await, Err(Error::InsufficientStorage)));
    assert!(matches!(home.put("b", &"x".repeat(2_000_000)).await, Err(Error::InsufficientStorage)));
    home.put("a", "1234567890").await.unwrap();
    home.space.set_quota(Some(3));
    assert_eq!(home.space.quota().await.unwrap().available, Some(0));
    home.check().await;
}

#[tokio::test]
async fn many_writers_share_one_folder() {
    let home = Arc::new(Home::new());
    home.mkcol("a").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let home = Arc::clone(&home);
        tasks.spawn(async move {
            home.put(&format!("a/{number}"), &"x".repeat(number)).await.unwrap();
            let before = home.space.list(&at("a")).await.unwrap();
            let newest = before.1.values().map(|node| version(&node.etag)).max().unwrap();
            assert!(newest <= version(&before.0.etag));
            if number % 2 == 0 {
                home.rename(&format!("a/{number}"), &format!("b{number}")).await.unwrap();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(home.names("a").await.len(), 32);
    home.check().await;
}

#[tokio::test]
async fn a_dropped_request_does_not_stop_its_commit() {
    let home = Home::new();
    for number in 0..20 {
        let path = format!("f{number}");
        let put = home.put(&path, "abc");
        drop(tokio::time::timeout(std::time::Duration::from_micros(number * 100), put).await);
    }
    home.put("last", "x").await.unwrap();
    // Whoever takes the exclusive lock waits for every write that got its locks.
    home.mkcol("d").await.unwrap();
    home.delete("d").await.unwrap();
    home.check().await;
}

#[tokio::test]
async fn little_memory_is_enough() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_700_000_000);
    let store = Store::open(&directory.path().join(".causeway/store"), Options::default()).unwrap();
    let options = SpaceOptions { cached_nodes_max: 3, ..SpaceOptions::default() };
    let spaces = Spaces::open(store, directory.path(), clock.clone(), options).unwrap();
    spaces.create(SPACE, &UserName::parse("anna").unwrap()).unwrap();
    let space = spaces.get(SPACE).unwrap();
    let home = Home { directory, spaces, space, clock };
    for number in 0..60 {
        home.mkcol(&format!("d{number}")).await.unwrap();
        home.put(&format!("d{number}/f"), "abc").await.unwrap();
    }
    // The root with its members, and the folders of the latest walks.
    let cached = home.space.state().folders.len();
    assert!(cached < 50, "{cached} collections in memory");
    assert_eq!(home.read("d0/f").await.unwrap(), "abc");
    assert_eq!(home.node("").await.unwrap().size, 180);
    home.check().await;
}

#[tokio::test]
async fn a_removed_home_is_kept_or_purged() {
    let home = Home::new();
    home.put("a", "abc").await.unwrap();
    let moved = home.spaces.remove(SPACE, false).unwrap().unwrap();
    assert_eq!(std::fs::read(moved.join("a")).unwrap(), b"abc");
    assert!(home.spaces.get(SPACE).is_none());
    home.spaces.create(SPACE, &UserName::parse("anna").unwrap()).unwrap();
    let space = home.spaces.get(SPACE).unwrap();
    assert!(space.list(&at("")).await.unwrap().1.is_empty());
    assert!(home.spaces.remove(SPACE, true).unwrap().is_none());
}
