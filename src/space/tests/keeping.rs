//! Trash and versions: what goes where, what comes back, what is bounded, and what a crash leaves.
use std::collections::BTreeSet;

use super::*;
use crate::domain::{LinkId, Principal, PropertyChange, PropertyName};

impl Home {
    /// The trash as (path, size), in the order of ids.
    async fn trash(&self) -> Vec<(String, u64)> {
        self.space.trash().await.unwrap().1.into_iter().map(|(row, node)| (row.path.to_string(), node.size)).collect()
    }

    async fn trashed(&self, path: &str) -> NodeId {
        let (_, trash) = self.space.trash().await.unwrap();
        trash.iter().find(|(row, _)| row.path.to_string() == path).unwrap_or_else(|| panic!("{path} is not in the trash")).0.node
    }

    async fn restore(&self, from: &str, to: &str) -> Result<Written> {
        self.space.restore(self.trashed(from).await, &at(to), Write::unconditional()).await
    }

    /// The contents of the versions of a file, oldest first.
    async fn versions(&self, path: &str) -> Vec<String> {
        let id = self.node(path).await.unwrap().id;
        let mut contents = Vec::new();
        for row in self.space.file_versions(id).await.unwrap().1 {
            let (_, row, file) = self.space.open_version(id, row.number).await.unwrap();
            assert_eq!(file.size(), row.size);
            let pieces: Vec<Bytes> = file.stream(0..row.size).try_collect().await.unwrap();
            contents.push(String::from_utf8(pieces.concat()).unwrap());
        }
        contents
    }

    fn files_in(&self, folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.own(folder).join("1")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Rows and files of trash and versions tell the same, and their sizes add up.
    async fn check_kept(&self) {
        self.check().await;
        let (root, trash) = self.space.trash().await.unwrap();
        assert_eq!(root.size, trash.iter().map(|(_, node)| node.size).sum::<u64>(), "size of the trash");
        assert_eq!(self.files_in("trash"), trash.iter().map(|(row, _)| row.node.0.to_string()).collect());
        let versions = self.space.store.all_versions(SPACE).unwrap();
        assert_eq!(self.space.state().versions.size, versions.iter().map(|row| row.size).sum::<u64>(), "size of the versions");
        assert_eq!(self.files_in("versions"), versions.iter().map(|row| row.file.to_string()).collect());
    }
}

#[tokio::test]
async fn what_is_deleted_comes_back_as_it_was() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    home.mkcol("d/e").await.unwrap();
    let file = home.put("d/e/f", "content").await.unwrap().node;
    let name = PropertyName { namespace: "urn:x".into(), local: "p".into() };
    let set = vec![PropertyChange::Set(name, "<p xmlns=\"urn:x\">1</p>".into())];
    home.space.patch_properties(&at("d/e/f"), set, Write::unconditional()).await.unwrap();
    let folder = home.node("d").await.unwrap();
    let by = Principal::Link(LinkId(7));
    home.space.delete(&At { by: by.clone(), ..at("d") }, Write::unconditional()).await.unwrap();
    assert_eq!(home.trash().await, [("/d".to_owned(), 7)]);
    assert_eq!(home.node("").await.unwrap().size, 0);
    assert!(home.names("").await.is_empty());
    // Nothing below the entry has a path: neither by its own number nor by its old one.
    for id in [folder.id, file.id, NodeId::TRASH] {
        assert!(home.space.node(id).await.unwrap().is_none());
        assert!(home.space.path_of(id).await.unwrap().is_none());
    }
    let (row, _, members) = home.space.trash_list(folder.id, &TreePath::root()).await.unwrap();
    assert_eq!((row.by, row.deleted, row.parent), (by, 1_700_000_000, NodeId::ROOT));
    assert_eq!(members[0].0.as_str(), "e");
    let (_, node, opened) = home.space.trash_open(folder.id, &TreePath::parse("e/f").unwrap()).await.unwrap();
    assert_eq!((node.id, opened.size()), (file.id, 7));
    home.check_kept().await;
    let home = home.reopen(None);
    assert_eq!(home.trash().await, [("/d".to_owned(), 7)]);
    let back = home.restore("/d", "other").await.unwrap();
    assert!(back.created && back.node.id == folder.id);
    let now = home.node("other/e/f").await.unwrap();
    assert_eq!((now.id, now.modified, now.has_properties), (file.id, file.modified, true));
    assert_eq!(home.space.properties(file.id).await.unwrap().len(), 1);
    assert_eq!(home.read("other/e/f").await.unwrap(), "content");
    assert!(home.trash().await.is_empty());
    assert_eq!(home.node("").await.unwrap().size, 7);
    home.check_kept().await;
}

#[tokio::test]
async fn a_restore_is_judged_like_a_move() {
    let home = Home::new();
    home.put("f", "old").await.unwrap();
    home.delete("f").await.unwrap();
    let id = home.trashed("/f").await;
    assert!(matches!(home.restore("/f", "none/f").await, Err(Error::ParentMissing)));
    home.put("f", "new").await.unwrap();
    assert!(matches!(home.space.restore(id, &at("f"), expecting(Expect::Absent)).await, Err(Error::PreconditionFailed)));
    assert!(matches!(home.space.restore(NodeId(99), &at("g"), Write::unconditional()).await, Err(Error::NotFound)));
    // Over a file: its content becomes a version.
    let back = home.restore("/f", "f").await.unwrap();
    assert_eq!((back.created, back.node.id), (false, id));
    assert_eq!(home.read("f").await.unwrap(), "old");
    assert_eq!(home.versions("f").await, ["new"]);
    // Over a folder: that goes to the trash itself.
    home.delete("f").await.unwrap();
    home.mkcol("f").await.unwrap();
    home.put("f/x", "inner").await.unwrap();
    home.restore("/f", "f").await.unwrap();
    assert_eq!(home.trash().await, [("/f".to_owned(), 5)]);
    assert_eq!(home.versions("f").await, ["new"], "versions go to the trash and come back with their file");
    home.check_kept().await;
}

#[tokio::test]
async fn d8_a_restore_does_not_go_over_the_quota() {
    let home = Home::new();
    home.put("a", "0123456789").await.unwrap();
    home.space.set_quota(Some(100));
    home.delete("a").await.unwrap();
    home.put("b", &"x".repeat(95)).await.unwrap();
    assert!(matches!(home.restore("/a", "a").await, Err(Error::InsufficientStorage)));
    assert_eq!(home.trash().await, [("/a".to_owned(), 10)]);
    home.put("b", "x").await.unwrap();
    let id = home.node("b").await.unwrap().id;
    home.restore("/a", "a").await.unwrap();
    let (_, versions) = home.space.file_versions(id).await.unwrap();
    assert!(versions.is_empty(), "more than its share was not kept");
    home.check_kept().await;
}

#[tokio::test]
async fn what_is_overwritten_becomes_a_version() {
    let home = Home::new();
    let old = home.put_with("f", "one", PutRequest { modified: Some(1000), ..PutRequest::plain() }).await.unwrap().node;
    home.put_with("f", "two!", PutRequest { modified: Some(1000), ..PutRequest::plain() }).await.unwrap();
    home.put("f", "two!").await.unwrap();
    home.put("f", "").await.unwrap();
    home.put("f", "three").await.unwrap();
    assert_eq!(home.versions("f").await, ["one", "two!"], "the same bytes, and none, are no versions");
    let (node, rows) = home.space.file_versions(old.id).await.unwrap();
    assert_eq!(node.id, old.id);
    assert_eq!(rows[0].number, 1000, "clients take the number for a time");
    assert!(rows[1].number > 1000 && rows[0].checksum == old.checksum && rows[0].modified == 1000);
    // An edit from outside is nobody's version.
    std::fs::write(home.disk("f"), "outside").unwrap();
    assert_eq!(home.read("f").await.unwrap(), "outside");
    assert_eq!(home.versions("f").await.len(), 2);
    let before = home.node("f").await.unwrap();
    let back = home.space.restore_version(&at("f"), 1000, Write::unconditional()).await.unwrap().node;
    assert_eq!(home.read("f").await.unwrap(), "one");
    assert!(back.id == before.id && back.etag != before.etag && back.modified == 1000 && back.checksum == old.checksum);
    assert_eq!(home.versions("f").await, ["one", "two!", "outside"]);
    let stale = expecting(Expect::Unchanged(Some(before.etag)));
    assert!(matches!(home.space.restore_version(&at("f"), 1000, stale).await, Err(Error::PreconditionFailed)));
    assert!(matches!(home.space.restore_version(&at("f"), 5, Write::unconditional()).await, Err(Error::NotFound)));
    home.space.purge_version(old.id, 1000).await.unwrap();
    assert_eq!(home.versions("f").await, ["two!", "outside"]);
    home.check_kept().await;
}

#[tokio::test]
async fn moves_and_copies_lose_nothing_that_they_replace() {
    let home = Home::new();
    home.put("doc", "first").await.unwrap();
    home.put("doc", "second").await.unwrap();
    // How an editor saves: a new file beside the old one, moved over it.
    home.put("tmp", "third").await.unwrap();
    let moved = home.rename("tmp", "doc").await.unwrap().node;
    assert_eq!(home.read("doc").await.unwrap(), "third");
    assert_eq!(home.versions("doc").await, ["first", "second"]);
    assert_eq!(home.node("doc").await.unwrap().id, moved.id);
    home.put("src", "fourth").await.unwrap();
    home.copy("src", "doc").await.unwrap();
    assert_eq!(home.versions("doc").await, ["first", "second", "third"]);
    home.check_kept().await;
    home.mkcol("d").await.unwrap();
    home.put("d/x", "in d").await.unwrap();
    home.mkcol("e").await.unwrap();
    home.put("e/y", "in e").await.unwrap();
    home.rename("d", "e").await.unwrap();
    home.copy("e", "src").await.unwrap();
    assert_eq!(home.trash().await.len(), 2);
    home.copy("e", "src").await.unwrap();
    home.rename("src", "e").await.unwrap();
    let paths: Vec<String> = home.trash().await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/src", "/e", "/e", "/src"]);
    assert_eq!(home.names("e").await, ["x"]);
    home.check_kept().await;
}

#[tokio::test]
async fn a_purge_removes_rows_bytes_and_versions() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    for text in ["1", "22", "333"] {
        home.put("d/f", text).await.unwrap();
        home.put("g", text).await.unwrap();
    }
    let inner = home.node("d/f").await.unwrap().id;
    home.delete("d").await.unwrap();
    home.delete("g").await.unwrap();
    assert_eq!(home.files_in("versions").len(), 4);
    home.space.purge(Some(home.trashed("/g").await)).await.unwrap();
    assert!(matches!(home.space.purge(Some(inner)).await, Err(Error::NotFound)), "only what was deleted by itself is an entry");
    assert_eq!(home.trash().await.len(), 1);
    home.space.purge(None).await.unwrap();
    assert!(home.trash().await.is_empty());
    for _ in 0..4 {
        home.spaces.sweep().await;
    }
    assert!(home.space.store.all_versions(SPACE).unwrap().is_empty());
    assert!(home.space.store.place(SPACE, inner).unwrap().is_none());
    assert!(home.space.store.garbage_list(SPACE, 10).unwrap().is_empty());
    home.check_kept().await;
}

#[tokio::test]
async fn a_mount_is_mounted_again_with_its_folder() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    let id = MountId(home.space.store.next_id().unwrap());
    home.space.add_mount(&at("d"), id, &Name::parse("m").unwrap()).await.unwrap();
    assert_eq!(home.delete("d").await.unwrap(), []);
    assert!(home.space.mountpoints().is_empty());
    let home = home.reopen(None);
    assert!(home.space.mountpoints().is_empty());
    let (_, _, members) = home.space.trash_list(home.trashed("/d").await, &TreePath::root()).await.unwrap();
    assert!(members.is_empty(), "it is not mounted in the trash");
    home.restore("/d", "e").await.unwrap();
    assert_eq!(home.names("e").await, ["m"]);
    home.check_kept().await;
}

#[tokio::test]
async fn nothing_is_kept_where_that_is_switched_off() {
    let home = Home::keeping(Keep::NOTHING, Keep::NOTHING);
    home.put("f", "one").await.unwrap();
    home.put("f", "two").await.unwrap();
    home.put("g", "three").await.unwrap();
    home.rename("g", "f").await.unwrap();
    assert!(home.versions("f").await.is_empty());
    home.mkcol("d").await.unwrap();
    home.copy("d", "f").await.unwrap();
    home.delete("f").await.unwrap();
    assert!(home.trash().await.is_empty());
    home.check_kept().await;
}

#[tokio::test]
async fn the_oldest_goes_first_when_there_is_too_much() {
    let half = Keep { max_age: 1000, max_share: 50 };
    let home = Home::keeping(half, half);
    home.space.set_quota(Some(1000));
    for number in 0..8 {
        home.put("f", &format!("{number}").repeat(100)).await.unwrap();
        home.clock.advance(1);
    }
    let kept: Vec<String> = home.versions("f").await.into_iter().map(|text| text.chars().take(1).collect()).collect();
    assert_eq!(kept, ["2", "3", "4", "5", "6"], "at most half of the quota, and some room for the next");
    for number in 0..7 {
        home.put(&format!("t{number}"), &"x".repeat(100)).await.unwrap();
        home.delete(&format!("t{number}")).await.unwrap();
        home.clock.advance(1);
    }
    let kept: Vec<String> = home.trash().await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(kept, ["/t2", "/t3", "/t4", "/t5", "/t6"]);
    home.check_kept().await;
    // What is larger than the whole trash may be is deleted at once, and drives nothing else out.
    home.put("big", &"x".repeat(600)).await.unwrap();
    home.delete("big").await.unwrap();
    assert_eq!(home.trash().await.len(), 5);
    home.clock.advance(998);
    home.spaces.sweep().await;
    let kept: Vec<String> = home.trash().await.into_iter().map(|(path, _)| path).collect();
    assert_eq!(kept, ["/t6"], "what is too old goes with the next round");
    home.clock.advance(1000);
    home.spaces.sweep().await;
    assert!(home.trash().await.is_empty() && home.versions("f").await.is_empty());
    home.check_kept().await;
}

#[tokio::test]
async fn the_oldest_version_of_a_file_makes_room_for_one_too_many() {
    let home = Home::new();
    let id = home.put("f", "one").await.unwrap().node.id;
    home.put("f", "two").await.unwrap();
    let first = home.space.file_versions(id).await.unwrap().1.remove(0);
    let more = (1..=crate::limits::FILE_VERSIONS_MAX as u64 - 2).map(|count| {
        let row = VersionRow { number: first.number + count, file: format!("more-{count}").into(), ..first.clone() };
        std::fs::write(home.own("versions/1").join(&*row.file), "one").unwrap();
        Change::PutVersion(row)
    });
    home.space.store.commit_nodes(NodeJob::new(SPACE, more.collect())).unwrap();
    let numbers = |home: &Home| {
        let rows = home.space.store.versions(SPACE, id).unwrap();
        (rows.len(), rows.first().unwrap().number, rows.last().unwrap().number)
    };
    home.put("f", "three").await.unwrap();
    assert_eq!(numbers(&home), (500, first.number, first.number + 499));
    home.put("f", "four").await.unwrap();
    assert_eq!(numbers(&home), (500, first.number + 1, first.number + 500));
    // Those of a file that is moved over another one are its own from then on.
    home.put("g", "five").await.unwrap();
    let other = home.put("g", "six").await.unwrap().node.id;
    home.rename("g", "f").await.unwrap();
    let rows = home.space.store.versions(SPACE, other).unwrap();
    assert_eq!((rows.len(), home.versions("f").await.pop().unwrap()), (500, "four".to_owned()));
    home.check_kept().await;
}

#[tokio::test]
async fn old_versions_become_fewer_as_they_age() {
    let home = Home::new();
    // Each is the content for half an hour.
    for number in 0..9 {
        home.put_with("f", &number.to_string(), PutRequest { modified: Some(home.clock.now()), ..PutRequest::plain() }).await.unwrap();
        home.clock.advance(1800);
    }
    home.put("g", "a").await.unwrap();
    home.put("g", "b").await.unwrap();
    assert_eq!(home.versions("f").await, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    home.spaces.sweep().await;
    assert_eq!(home.versions("f").await, ["1", "3", "5", "7"], "one for each hour of the last day");
    home.check_kept().await;
    home.clock.advance(24 * 3600);
    home.spaces.sweep().await;
    assert_eq!(home.versions("f").await, ["7"], "one for each day of the last month");
    assert_eq!(home.versions("g").await, ["a"]);
    home.check_kept().await;
}

#[tokio::test]
async fn what_was_kept_just_now_is_not_the_next_to_go() {
    let half = Keep { max_age: 1000, max_share: 50 };
    let home = Home::keeping(half, half);
    home.space.set_quota(Some(1000));
    // In one second, the larger one with the lower number.
    home.put("large", &"x".repeat(480)).await.unwrap();
    home.put("small", &"x".repeat(100)).await.unwrap();
    home.delete("small").await.unwrap();
    home.delete("large").await.unwrap();
    assert_eq!(home.trash().await, [("/large".to_owned(), 480)]);
    home.put("a", &"x".repeat(480)).await.unwrap();
    home.put("b", &"x".repeat(100)).await.unwrap();
    home.put("b", "y").await.unwrap();
    home.put("a", "y").await.unwrap();
    assert_eq!((home.versions("a").await.len(), home.versions("b").await.len()), (1, 0));
    home.spaces.sweep().await;
    assert_eq!((home.trash().await.len(), home.versions("a").await.len()), (1, 1));
    home.check_kept().await;
}

#[tokio::test]
async fn a_disk_that_is_needed_is_taken_back() {
    let home = Home::new();
    home.put("a", &"a".repeat(100)).await.unwrap();
    home.put("b", &"b".repeat(100)).await.unwrap();
    home.put("b", &"c".repeat(50)).await.unwrap();
    home.delete("a").await.unwrap();
    assert!(matches!(home.space.make_room(1_000_000), Err(Error::InsufficientStorage)));
    assert_eq!(home.trash().await.len(), 1, "nothing goes where it does not help");
    home.space.make_room(10).unwrap();
    assert_eq!((home.trash().await.len(), home.versions("b").await.len()), (0, 1));
    home.space.make_room(10).unwrap();
    assert!(home.versions("b").await.is_empty());
    home.check_kept().await;
}

#[tokio::test]
async fn bytes_without_rows_do_not_stay_for_ever() {
    let keep = Keep { max_age: i64::MAX, max_share: 50 };
    let home = Home::keeping(keep, Keep { max_age: 30 * 24 * 3600, ..keep });
    home.put("f", "one").await.unwrap();
    home.put("f", "two").await.unwrap();
    home.put("g", "three").await.unwrap();
    home.delete("g").await.unwrap();
    for stranger in ["trash/1/12345", "versions/1/abc-1"] {
        std::fs::write(home.own(stranger), "x").unwrap();
    }
    home.spaces.sweep().await;
    assert_eq!((home.files_in("trash").len(), home.files_in("versions").len()), (2, 2), "they may be on their way");
    // The disk goes by the machine's clock.
    home.clock.advance(Clock::System.now() - home.clock.now() + 29 * 24 * 3600);
    home.spaces.sweep().await;
    let left: Vec<String> = home.files_in("versions").into_iter().collect();
    assert_eq!((home.files_in("trash").len(), left), (2, vec!["abc-1".to_owned()]), "as long as others that came then");
    home.clock.advance(2 * 24 * 3600);
    home.spaces.sweep().await;
    assert_eq!((home.files_in("trash").len(), home.files_in("versions").len()), (2, 0));
    assert_eq!(home.trash().await.len(), 1);
}

#[tokio::test]
async fn bytes_on_their_way_out_are_not_taken_for_strangers() {
    let home = Home::new();
    for name in ["f", "g"] {
        home.put(name, "deleted").await.unwrap();
        home.delete(name).await.unwrap();
    }
    let home = home.reopen(Some(Stop::Committed));
    // Brought back as far as the rows know, and still in the trash.
    assert!(stopped(home.restore("/f", "f").await));
    assert!(stopped(home.space.purge(Some(home.trashed("/g").await)).await));
    home.clock.advance(Clock::System.now() - home.clock.now() + 90 * 24 * 3600);
    home.space.purge_strangers().unwrap();
    assert_eq!(home.files_in("trash").len(), 2);
    let home = home.reopen(None);
    assert_eq!(home.read("f").await.unwrap(), "deleted");
    home.check_kept().await;
}

#[tokio::test]
async fn what_a_lost_store_kept_is_put_aside() {
    let home = Home::new();
    home.put("f", "one").await.unwrap();
    home.put("f", "two").await.unwrap();
    home.put("g", "deleted").await.unwrap();
    home.delete("g").await.unwrap();
    let number = home.files_in("trash").pop_last().unwrap();
    // Rows that cannot be read, and no export: the numbers begin anew.
    let Home { directory, spaces, space, clock } = home;
    spaces.close();
    space.store.close();
    drop((spaces, space));
    std::fs::write(directory.path().join(".causeway/store/rows/conf"), "what is this").unwrap();
    let (spaces, space) = open_when_free(directory.path(), &clock, None);
    assert!(space.store.recovery().is_some_and(|recovery| !recovery.from_export));
    let home = Home { directory, spaces, space, clock };
    assert!(home.trash().await.is_empty() && home.versions("f").await.is_empty());
    home.check_kept().await;
    // Numbers come again; what they mean now is something else.
    while !home.files_in("trash").contains(&number) {
        home.put("n", "another").await.unwrap();
        home.delete("n").await.unwrap();
    }
    home.check_kept().await;
    let home = home.reopen(None);
    let mut aside: Vec<String> = std::fs::read_dir(home.own("removed"))
        .unwrap()
        .map(|folder| {
            std::fs::read_dir(folder.unwrap().path()).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
        })
        .collect();
    aside.sort();
    assert_eq!(aside, ["deleted", "one"]);
    home.check_kept().await;
}

/// Does one write that dies after `stop`; the home before it has a file `f` with a version, a folder `d` and an entry `/gone` in the trash.
async fn crashed<F: Future<Output = bool>>(stop: Stop, dying: impl FnOnce(Arc<Home>) -> F) -> Home {
    let home = Home::new();
    home.put("f", "first").await.unwrap();
    home.put("f", "old").await.unwrap();
    home.put("g", "other").await.unwrap();
    home.mkcol("d").await.unwrap();
    home.put("d/x", "inner").await.unwrap();
    home.put("gone", "deleted").await.unwrap();
    home.delete("gone").await.unwrap();
    let home = Arc::new(home.reopen(Some(stop)));
    assert!(dying(Arc::clone(&home)).await, "the write did not stop after {stop:?}");
    let home = Arc::into_inner(home).unwrap().reopen(None);
    assert!(home.space.store.placements(SPACE).unwrap().is_empty(), "a placement is left after {stop:?}");
    home.check_kept().await;
    home
}

fn stopped<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Internal(text)) if text.contains("stopped"))
}

#[tokio::test]
async fn a_crash_leaves_a_delete_whole() {
    let home = crashed(Stop::Staged, |home| async move { stopped(home.delete("d").await) }).await;
    assert_eq!((home.read("d/x").await.unwrap().as_str(), home.trash().await.len()), ("inner", 1));
    for stop in [Stop::Committed, Stop::Placed] {
        let home = crashed(stop, |home| async move { stopped(home.delete("d").await) }).await;
        assert!(home.node("d").await.is_none());
        home.restore("/d", "back").await.unwrap();
        assert_eq!(home.read("back/x").await.unwrap(), "inner");
        home.check_kept().await;
    }
}

#[tokio::test]
async fn a_crash_leaves_an_overwrite_whole() {
    let home = crashed(Stop::Staged, |home| async move { stopped(home.put("f", "new!").await) }).await;
    assert_eq!((home.read("f").await.unwrap().as_str(), home.versions("f").await), ("old", vec!["first".to_owned()]));
    for stop in [Stop::Committed, Stop::Placed] {
        let home = crashed(stop, |home| async move { stopped(home.put("f", "new!").await) }).await;
        assert_eq!(home.read("f").await.unwrap(), "new!");
        assert_eq!(home.versions("f").await, ["first", "old"]);
        let home = crashed(stop, |home| async move { stopped(home.rename("g", "f").await) }).await;
        assert_eq!(home.read("f").await.unwrap(), "other");
        assert_eq!(home.versions("f").await, ["first", "old"]);
        let home = crashed(stop, |home| async move { stopped(home.copy("g", "f").await) }).await;
        assert_eq!(home.versions("f").await, ["first", "old"]);
        let home = crashed(stop, |home| async move { stopped(home.rename("g", "d").await) }).await;
        assert_eq!(home.read("d").await.unwrap(), "other");
        assert_eq!(home.trash().await, [("/d".to_owned(), 5), ("/gone".to_owned(), 7)]);
    }
}

#[tokio::test]
async fn a_crash_leaves_a_restore_and_a_purge_whole() {
    let home = crashed(Stop::Staged, |home| async move { stopped(home.restore("/gone", "gone").await) }).await;
    assert_eq!(home.trash().await.len(), 1);
    for stop in [Stop::Committed, Stop::Placed] {
        let home = crashed(stop, |home| async move { stopped(home.restore("/gone", "gone").await) }).await;
        assert_eq!((home.read("gone").await.unwrap().as_str(), home.trash().await.len()), ("deleted", 0));
        let home = crashed(stop, |home| async move { stopped(home.restore("/gone", "f").await) }).await;
        assert_eq!((home.read("f").await.unwrap().as_str(), home.versions("f").await), ("deleted", vec!["first".into(), "old".into()]));
        let home = crashed(stop, |home| async move { stopped(home.restore("/gone", "d").await) }).await;
        assert_eq!((home.read("d").await.unwrap().as_str(), home.trash().await), ("deleted", vec![("/d".to_owned(), 5)]));
        let home = crashed(stop, |home| async move { stopped(home.space.purge(None).await) }).await;
        assert!(home.trash().await.is_empty());
        let restored = |home: Arc<Home>| async move {
            let id = home.node("f").await.unwrap().id;
            let number = home.space.file_versions(id).await.unwrap().1[0].number;
            stopped(home.space.restore_version(&at("f"), number, Write::unconditional()).await)
        };
        let home = crashed(stop, restored).await;
        assert_eq!((home.read("f").await.unwrap().as_str(), home.versions("f").await), ("first", vec!["first".into(), "old".into()]));
    }
}

#[tokio::test]
async fn a_home_that_is_removed_takes_its_trash_along() {
    let home = Home::new();
    home.put("f", "one").await.unwrap();
    home.put("f", "two").await.unwrap();
    home.delete("f").await.unwrap();
    let spaces = home.spaces.clone();
    tokio::task::spawn_blocking(move || spaces.remove(SPACE, false)).await.unwrap().unwrap();
    assert!(!home.own("trash/1").exists() && !home.own("versions/1").exists());
    assert!(home.space.store.trash(SPACE).unwrap().is_empty() && home.space.store.all_versions(SPACE).unwrap().is_empty());
}

/// Something that is no folder stands where one is needed: nothing can be kept there.
fn spoil(home: &Home, folder: &str) {
    std::fs::remove_dir_all(home.own(folder)).unwrap();
    std::fs::write(home.own(folder), "").unwrap();
}

fn unplaced(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.own("removed")).unwrap();
    entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn an_overwrite_that_cannot_keep_the_old_content_leaves_it() {
    let home = Home::new();
    home.put("f", "old").await.unwrap();
    home.put("g", "other").await.unwrap();
    spoil(&home, "versions/1");
    assert!(home.put("f", "new!").await.is_err());
    assert!(home.copy("g", "f").await.is_err());
    assert_eq!(std::fs::read_to_string(home.disk("f")).unwrap(), "old");
    assert!(home.rename("g", "f").await.is_err());
    assert_eq!(std::fs::read_to_string(home.disk("f")).unwrap(), "old");
    assert_eq!(home.names("").await, ["f", "g"]);
    assert_eq!(home.read("f").await.unwrap(), "old");
    assert_eq!(home.read("g").await.unwrap(), "other");
    assert!(home.versions("f").await.is_empty() && unplaced(&home).is_empty());
    std::fs::remove_file(home.own("versions/1")).unwrap();
    home.put("f", "new!").await.unwrap();
    assert_eq!(home.versions("f").await, ["old"], "the folder is made again");
    std::fs::remove_dir_all(home.own("trash/1")).unwrap();
    home.delete("g").await.unwrap();
    home.restore("/g", "g").await.unwrap();
    home.check_kept().await;
}

#[tokio::test]
async fn a_delete_that_fails_leaves_everything_as_it_was() {
    for (folder, keep) in [("trash/1", Keep::TRASH), ("trash-purge", Keep::NOTHING)] {
        let home = Home::keeping(keep, Keep::VERSIONS);
        home.mkcol("d").await.unwrap();
        home.put("d/x", "inner").await.unwrap();
        home.put("f", "old").await.unwrap();
        home.put("f", "new").await.unwrap();
        let before = [home.node("f").await.unwrap(), home.node("d").await.unwrap(), home.node("d/x").await.unwrap()];
        spoil(&home, folder);
        for path in ["f", "d"] {
            assert!(matches!(home.delete(path).await, Err(Error::Internal(_))), "{path}");
        }
        assert_eq!(home.names("").await, ["d", "f"]);
        assert_eq!((home.read("f").await.unwrap().as_str(), home.read("d/x").await.unwrap().as_str()), ("new", "inner"));
        let after = [home.node("f").await.unwrap(), home.node("d").await.unwrap(), home.node("d/x").await.unwrap()];
        assert_eq!(after.map(|node| node.id), before.map(|node| node.id));
        assert_eq!(home.versions("f").await, ["old"]);
        assert!(home.trash().await.is_empty(), "nothing in the trash that cannot be opened");
        std::fs::remove_file(home.own(folder)).unwrap();
        std::fs::create_dir(home.own(folder)).unwrap();
        home.check_kept().await;
        home.spaces.sweep().await;
        assert_eq!(home.versions("f").await, ["old"]);
        for path in ["f", "d"] {
            home.delete(path).await.unwrap();
        }
        assert_eq!(home.trash().await.len(), if keep == Keep::TRASH { 2 } else { 0 });
        assert!(home.names("").await.is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_replaced_or_restored_stays_where_it_is() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    home.put("d/x", "inner").await.unwrap();
    home.put("f", "file").await.unwrap();
    home.put("gone", "deleted").await.unwrap();
    home.delete("gone").await.unwrap();
    let [folder, file] = [home.node("d").await.unwrap().id, home.node("f").await.unwrap().id];
    // Nothing comes into the trash, but what is there can be taken out.
    let there = home.own("trash/1");
    std::fs::rename(&there, home.own("trash/aside")).unwrap();
    std::fs::write(&there, "").unwrap();
    assert!(home.rename("f", "d").await.is_err());
    assert!(home.copy("f", "d").await.is_err());
    assert!(home.restore("/gone", "back").await.is_err());
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(home.own("trash/aside"), &there).unwrap();
    assert_eq!(home.names("").await, ["d", "f"]);
    assert_eq!([home.node("d").await.unwrap().id, home.node("f").await.unwrap().id], [folder, file]);
    assert_eq!(home.trash().await, [("/gone".to_owned(), 7)]);
    assert!(unplaced(&home).is_empty());
    home.check_kept().await;
    // Nor does a name in the home that cannot be taken: the entry stays.
    let writable = |mode| std::fs::set_permissions(home.disk(""), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    writable(0o500);
    let refused = home.restore("/gone", "back").await;
    writable(0o700);
    // Root may write there all the same.
    assert!(refused.is_err() != (home.trash().await.is_empty()));
    home.check_kept().await;
}

#[tokio::test]
async fn what_a_start_cannot_bring_back_is_not_left_for_the_next_sweep() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    home.put("f", "deleted").await.unwrap();
    home.delete("f").await.unwrap();
    let home = home.reopen(Some(Stop::Committed));
    assert!(stopped(home.restore("/f", "d/f").await));
    std::fs::remove_dir(home.disk("d")).unwrap();
    let home = home.reopen(None);
    assert!(home.trash().await.is_empty());
    assert_eq!(unplaced(&home), ["deleted"]);
    home.check_kept().await;
}

#[tokio::test]
async fn a_start_that_cannot_keep_the_old_content_puts_it_elsewhere() {
    let home = Home::new();
    home.put("f", "old").await.unwrap();
    let home = home.reopen(Some(Stop::Committed));
    assert!(stopped(home.put("f", "new!").await));
    spoil(&home, "versions/1");
    let home = home.reopen(None);
    assert_eq!(home.read("f").await.unwrap(), "new!");
    assert_eq!(unplaced(&home), ["old"]);
    home.check().await;
}

#[tokio::test]
async fn without_exchange_what_is_kept_goes_straight_to_its_place() {
    let home = Home::new();
    home.put("f", "old").await.unwrap();
    home.put("new", "new!").await.unwrap();
    let path = |name: &str| home.space.disk(&TreePath::parse(name).unwrap());
    let (from, to, kept) = (path("new"), path("f"), home.space.version_path("kept").unwrap());
    let inode = home.space.files.stat(&to).unwrap().unwrap().stamp.file();
    let next = crate::store::Step::Move { from: from.as_str().to_owned(), to: kept.as_str().to_owned(), inode };
    let swap = |next| steps::swap_by_renames(&home.space.files, [&from, &to], next);
    assert!(swap(None).is_err(), "nothing says where the old content goes");
    let there = std::fs::read(home.disk("f")).unwrap();
    swap(Some(&next)).unwrap();
    let now = [home.disk("f"), home.own("versions/1/kept")].map(|path| std::fs::read(path).unwrap());
    assert_eq!(now, [b"new!".to_vec(), there]);
    // Once more, as after a stop between the two renames.
    std::fs::rename(home.disk("f"), home.disk("new")).unwrap();
    swap(Some(&next)).unwrap();
    assert_eq!(std::fs::read(home.disk("f")).unwrap(), b"new!");
}

#[tokio::test]
async fn d8_only_its_owner_gives_up_the_trash_for_an_upload() {
    let home = Home::keeping(Keep { max_age: 1000, max_share: 100 }, Keep::NOTHING);
    let free = home.space.files.free_bytes().unwrap();
    // A hole: large to everybody who looks.
    std::fs::File::create(home.disk("big")).unwrap().set_len(free / 4).unwrap();
    assert_eq!(home.names("").await, ["big"]);
    home.delete("big").await.unwrap();
    let wanted = free + free / 8;
    let announced = || PutRequest { length: Some(wanted), ..PutRequest::plain() };
    let (link, owner) = (Principal::Link(LinkId(7)), Principal::User(UserName::parse("anna").unwrap()));
    let put = |by: &Principal| {
        let at = At { by: by.clone(), ..at("new") };
        let space = Arc::clone(&home.space);
        async move { space.put(&at, announced(), body("short")).await }
    };
    assert!(matches!(put(&link).await, Err(Error::InsufficientStorage)));
    assert!(matches!(put(&owner).await, Err(Error::BodyMismatch(_))), "what is announced has not come");
    let part = "x".repeat(crate::limits::PUT_COLLECTED_BYTES_MAX * 2);
    let at_new = At { by: owner.clone(), ..at("new") };
    assert!(matches!(home.space.put(&at_new, announced(), body(&part)).await, Err(Error::BodyMismatch(_))), "nor most of it");
    let (upload, chunk) = (crate::domain::UploadId(7), crate::domain::ChunkName::parse("1").unwrap());
    home.space.begin_upload(upload, &owner, Some(wanted)).await.unwrap();
    let chunked = home.space.put_chunk((upload, &owner), chunk, Some(wanted), body(&part));
    assert!(matches!(chunked.await, Err(Error::BodyMismatch(_))));
    assert!(matches!(home.space.make_fit(&link, 0, wanted).await, Err(Error::InsufficientStorage)));
    assert_eq!(home.trash().await.len(), 1);
    assert!(matches!(home.space.make_fit(&owner, 0, wanted).await, Err(Error::InsufficientStorage)), "a hole makes no room");
    assert!(home.trash().await.is_empty());
}

#[tokio::test]
async fn trash_and_versions_outlive_a_move_to_another_disk() {
    let home = Home::new();
    home.mkcol("d").await.unwrap();
    home.put("d/x", "inner").await.unwrap();
    for text in ["one", "two"] {
        home.put("f", text).await.unwrap();
        home.put("g", text).await.unwrap();
    }
    for path in ["d", "f", "g"] {
        home.delete(path).await.unwrap();
    }
    for folder in ["trash", "versions"] {
        let (there, copy) = (home.own(folder).join("1"), home.own(folder).join("copy"));
        let copied = std::process::Command::new("cp").arg("-a").args([&there, &copy]).status().unwrap();
        assert!(copied.success());
        std::fs::remove_dir_all(&there).unwrap();
        std::fs::rename(&copy, &there).unwrap();
    }
    home.restore("/d", "d").await.unwrap();
    home.restore("/f", "f").await.unwrap();
    assert_eq!((home.read("d/x").await.unwrap().as_str(), home.read("f").await.unwrap().as_str()), ("inner", "two"));
    assert_eq!(home.versions("f").await, ["one"]);
    home.space.purge(None).await.unwrap();
    for _ in 0..4 {
        home.spaces.sweep().await;
    }
    assert!(home.files_in("trash").is_empty());
    home.check_kept().await;
}
