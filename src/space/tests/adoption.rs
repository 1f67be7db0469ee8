use super::*;
use crate::domain::{Mount, MountState, Secret, Vendor};
use crate::store::Batch;

#[tokio::test]
async fn files_from_outside_become_nodes() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    std::fs::write(home.disk("a/new"), "from outside").unwrap();
    std::fs::create_dir_all(home.disk("deep/inside")).unwrap();
    std::fs::write(home.disk("deep/inside/f"), "12345").unwrap();
    assert_eq!(home.names("a").await, ["new"]);
    assert_eq!(home.read("a/new").await.unwrap(), "from outside");
    assert_eq!(home.read("deep/inside/f").await.unwrap(), "12345");
    assert_eq!(home.node("deep").await.unwrap().size, 5);
    home.check().await;
}

#[tokio::test]
async fn a_miss_looks_at_the_directory_first() {
    let home = Home::new();
    assert!(home.node("x").await.is_none());
    std::fs::write(home.disk("x"), "1").unwrap();
    assert!(home.node("x").await.is_some());
    assert!(matches!(
        home.put_with("x", "2", PutRequest { write: expecting(Expect::Absent), ..PutRequest::plain() }).await,
        Err(Error::PreconditionFailed)
    ));
}

#[tokio::test]
async fn an_edit_in_place_is_a_new_version_of_the_same_node() {
    let home = Home::new();
    let written = home.put("a", "one").await.unwrap();
    std::fs::write(home.disk("a"), "three").unwrap();
    assert_eq!(home.read("a").await.unwrap(), "three");
    let now = home.node("a").await.unwrap();
    assert_eq!((now.id, now.size, now.checksum), (written.node.id, 5, None));
    assert_ne!(now.etag, written.node.etag);
    std::fs::write(home.disk("a"), "THREE!").unwrap();
    let stale = PutRequest { write: expecting(Expect::Unchanged(Some(now.etag))), ..PutRequest::plain() };
    assert!(matches!(home.put_with("a", "mine", stale).await, Err(Error::PreconditionFailed)));
    assert_eq!(home.read("a").await.unwrap(), "THREE!");
    home.check().await;
}

#[tokio::test]
async fn what_is_removed_outside_goes() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("a/f", "abc").await.unwrap();
    home.put("g", "abc").await.unwrap();
    std::fs::remove_dir_all(home.disk("a")).unwrap();
    assert!(matches!(home.space.list(&at("a")).await, Err(Error::NotFound)));
    std::fs::remove_file(home.disk("g")).unwrap();
    assert!(matches!(home.read("g").await, Err(Error::NotFound)));
    assert!(home.names("").await.is_empty());
    assert_eq!(home.node("").await.unwrap().size, 0);
    home.check().await;
}

#[tokio::test]
async fn what_is_moved_outside_is_the_same_node() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.mkcol("b").await.unwrap();
    home.mkcol("a/folder").await.unwrap();
    let file = home.put("a/folder/f", "abc").await.unwrap().node;
    let folder = home.node("a/folder").await.unwrap();
    let single = home.put("a/single", "12").await.unwrap().node;
    // The new place is seen first: the old row is still there.
    std::fs::rename(home.disk("a/folder"), home.disk("b/folder")).unwrap();
    assert_eq!(home.children("b").await.get("folder").unwrap().id, folder.id);
    assert_eq!(home.node("b/folder/f").await.unwrap().id, file.id);
    // The old place is seen first: the row was gone already.
    std::fs::rename(home.disk("b/folder"), home.disk("folder")).unwrap();
    std::fs::rename(home.disk("a/single"), home.disk("b/single")).unwrap();
    assert!(home.names("a").await.is_empty());
    assert_eq!(home.names("b").await, ["single"]);
    assert_eq!(home.node("folder").await.unwrap().id, folder.id);
    assert_eq!(home.node("folder/f").await.unwrap().id, file.id);
    assert_eq!(home.node("b/single").await.unwrap().id, single.id);
    assert_eq!(home.node("").await.unwrap().size, 5);
    home.check().await;
}

#[tokio::test]
async fn what_is_renamed_outside_in_its_folder_is_the_same_node() {
    // The new name sorts before the old one, or after it.
    for (old, new) in [("Photos", "Pictures"), ("Pictures", "Photos")] {
        let home = Home::new();
        let folder = home.mkcol(old).await.unwrap().node;
        let inside = home.put(&format!("{old}/f"), "abc").await.unwrap().node;
        let single = home.put(&format!("{old}.txt"), "12").await.unwrap().node;
        home.space.add_mount(&at(old), MountId(77), &Name::parse("M").unwrap()).await.unwrap();
        for suffix in ["", ".txt"] {
            std::fs::rename(home.disk(&format!("{old}{suffix}")), home.disk(&format!("{new}{suffix}"))).unwrap();
        }
        assert_eq!(home.names("").await, [new.to_owned(), format!("{new}.txt")]);
        assert_eq!(home.node(new).await.unwrap().id, folder.id);
        assert_eq!(home.node(&format!("{new}/f")).await.unwrap().id, inside.id);
        assert_eq!(home.node(&format!("{new}.txt")).await.unwrap().id, single.id);
        assert_eq!(home.space.mount_path(MountId(77)), Some(TreePath::parse(&format!("{new}/M")).unwrap()), "it stays where it hangs");
        assert_eq!(home.node("").await.unwrap().size, 5);
        home.check().await;
    }
}

#[tokio::test]
async fn two_new_names_of_one_file_are_two_nodes() {
    let home = Home::new();
    let file = home.put("f", "abc").await.unwrap().node;
    std::fs::rename(home.disk("f"), home.disk("g")).unwrap();
    std::fs::hard_link(home.disk("g"), home.disk("h")).unwrap();
    assert_eq!(home.names("").await, ["g", "h"]);
    let ids = [home.node("g").await.unwrap().id, home.node("h").await.unwrap().id];
    assert!(ids[0] != ids[1] && ids.contains(&file.id), "{ids:?}");
    home.check().await;
}

#[tokio::test]
async fn another_file_in_the_place_of_a_folder_is_another_node() {
    let home = Home::new();
    let folder = home.mkcol("a").await.unwrap().node;
    std::fs::remove_dir(home.disk("a")).unwrap();
    std::fs::write(home.disk("a"), "x").unwrap();
    let file = home.children("").await.get("a").unwrap().clone();
    assert_eq!(file.kind, Kind::File);
    assert_ne!(file.id, folder.id);
    home.check().await;
}

#[tokio::test]
async fn a_missing_home_is_unavailable_and_nothing_is_forgotten() {
    let home = Home::new();
    let file = home.put("a", "abc").await.unwrap().node;
    let aside = home.disk("").with_file_name("aside");
    std::fs::rename(home.disk(""), &aside).unwrap();
    assert!(matches!(home.space.list(&at("")).await, Err(Error::Unavailable { .. })));
    assert!(matches!(home.read("a").await, Err(Error::Unavailable { .. })));
    // The bare mountpoint of a disk that is not there.
    std::fs::create_dir(home.disk("")).unwrap();
    assert!(matches!(home.space.list(&at("")).await, Err(Error::Unavailable { .. })));
    assert!(matches!(home.spaces.scan(SPACE).await, Err(Error::Unavailable { .. })));
    std::fs::remove_dir(home.disk("")).unwrap();
    std::fs::rename(&aside, home.disk("")).unwrap();
    assert_eq!(home.node("a").await.unwrap().id, file.id);
    assert_eq!(home.read("a").await.unwrap(), "abc");
}

#[test]
fn a_home_that_was_copied_elsewhere_is_taken_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let names = runtime.block_on(async {
        let home = Home::new();
        home.put("a", "abc").await.unwrap();
        // Another folder with the same members, as after a restore.
        let aside = home.disk("").with_file_name("aside");
        std::fs::rename(home.disk(""), &aside).unwrap();
        std::fs::create_dir(home.disk("")).unwrap();
        std::fs::rename(aside.join("a"), home.disk("a")).unwrap();
        let names = tokio::time::timeout(std::time::Duration::from_secs(20), home.names("")).await;
        if names.is_err() {
            // Who waits for it waits for ever.
            std::mem::forget(home);
        }
        names.ok()
    });
    runtime.shutdown_background();
    assert_eq!(names, Some(vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_scan_finds_everything_and_names_what_it_skips() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("a/changed", "abc").await.unwrap();
    home.put("a/removed", "abc").await.unwrap();
    std::fs::write(home.disk("a/changed"), "abcd").unwrap();
    std::fs::remove_file(home.disk("a/removed")).unwrap();
    std::fs::create_dir_all(home.disk("x/y")).unwrap();
    std::fs::write(home.disk("x/y/z"), "abc").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", home.disk("x/link")).unwrap();
    let report = home.spaces.scan(SPACE).await.unwrap();
    assert_eq!(report, ScanReport { added: 3, changed: 1, removed: 1, skipped: vec!["/x/link".to_owned()] });
    assert_eq!(home.node("").await.unwrap().size, 7);
    let again = home.spaces.scan(SPACE).await.unwrap();
    assert_eq!((again.added, again.changed, again.removed), (0, 0, 0));
}

#[tokio::test]
async fn the_sweep_sizes_new_folders_and_clears_up() {
    let home = Home::new();
    std::fs::create_dir_all(home.disk("x/y")).unwrap();
    std::fs::write(home.disk("x/y/z"), "abc").unwrap();
    home.mkcol("gone").await.unwrap();
    let below = home.mkcol("gone/below").await.unwrap().node;
    home.delete("gone").await.unwrap();
    home.space.purge(None).await.unwrap();
    assert!(home.space.store.place(SPACE, below.id).unwrap().is_some());
    for _ in 0..4 {
        home.spaces.sweep().await;
    }
    assert_eq!(home.node("").await.unwrap().size, 3);
    assert!(home.space.store.place(SPACE, below.id).unwrap().is_none());
    assert!(home.space.store.garbage_list(SPACE, 10).unwrap().is_empty());
}

fn mount(id: u64) -> Mount {
    Mount {
        id: MountId(id),
        user: UserName::parse("anna").unwrap(),
        space: SPACE,
        url: "https://other.example/public.php/webdav/".to_owned(),
        login: Secret::new("token"),
        password: Vec::new(),
        vendor: Vendor::Other,
        kind: Kind::Collection,
        name: "Photos".to_owned(),
        owner: "bob".to_owned(),
        page: None,
        state: MountState::Online,
        root_etag: None,
        created: 0,
    }
}

#[tokio::test]
async fn mounts_find_free_names_move_and_are_detached() {
    let home = Home::new();
    home.mkcol("Photos").await.unwrap();
    let wanted = Name::parse("Photos").unwrap();
    let id = home.space.store.next_id().unwrap();
    home.space.store.commit(Batch::new().put(&mount(id))).await.unwrap();
    assert_eq!(home.space.add_mount(&at(""), MountId(id), &wanted).await.unwrap().as_str(), "Photos (2)");
    assert_eq!(home.space.mount_path(MountId(id)), Some(TreePath::parse("Photos (2)").unwrap()));
    assert!(matches!(home.mkcol("Photos (2)").await, Err(Error::Exists)));
    let inside = home.space.resolve(&at("Photos (2)/x/y")).await.unwrap();
    let Resolved::Mount { mount, at: prefix, inner, .. } = inside else { panic!("no mount") };
    assert_eq!((mount, prefix.as_str(), inner.as_str()), (MountId(id), "Photos (2)", "x/y"));
    home.rename("Photos (2)", "Photos/From Bob").await.unwrap();
    home.rename("Photos", "Pictures").await.unwrap();
    assert_eq!(home.space.mount_path(MountId(id)), Some(TreePath::parse("Pictures/From Bob").unwrap()));
    let home = home.reopen(None);
    assert_eq!(home.space.mount_path(MountId(id)), Some(TreePath::parse("Pictures/From Bob").unwrap()));
    assert_eq!(home.names("Pictures").await, ["From Bob"]);
    // Its parent vanishes: it reappears at the root.
    std::fs::remove_dir(home.disk("Pictures")).unwrap();
    assert_eq!(home.names("").await, ["From Bob"]);
    assert_eq!(home.space.mount_path(MountId(id)), Some(TreePath::parse("From Bob").unwrap()));
    home.mkcol("d").await.unwrap();
    home.rename("From Bob", "d/m").await.unwrap();
    home.copy("d", "e").await.unwrap();
    assert!(home.names("e").await.is_empty());
    // In the trash it is not mounted; it is detached for good with the entry.
    assert_eq!(home.delete("d").await.unwrap(), []);
    assert_eq!(home.space.mount_path(MountId(id)), None);
    assert_eq!(home.space.take_orphans(), []);
    home.space.purge(None).await.unwrap();
    assert_eq!(home.space.take_orphans(), [MountId(id)]);
    home.check().await;
}

#[tokio::test]
async fn a_removed_mount_leaves_its_name_free() {
    let home = Home::new();
    let id = MountId(home.space.store.next_id().unwrap());
    home.space.add_mount(&at(""), id, &Name::parse("m").unwrap()).await.unwrap();
    home.space.remove_mount(id).await.unwrap();
    home.space.remove_mount(id).await.unwrap();
    assert!(home.space.mountpoints().is_empty());
    home.mkcol("m").await.unwrap();
    home.check().await;
}

#[tokio::test]
async fn without_watches_the_sweep_finds_an_edit_in_place() {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("a/f", "one").await.unwrap();
    home.names("a").await;
    let before = home.node("").await.unwrap().etag;
    std::fs::write(home.disk("a/f"), "three").unwrap();
    home.spaces.sweep().await;
    let root = home.node("").await.unwrap();
    assert_ne!(root.etag, before);
    assert_eq!(root.size, 5);
}

#[tokio::test]
async fn a_watch_finds_what_was_done_while_its_events_were_lost() {
    let home = Home::new();
    for folder in ["a", "a/b"] {
        home.mkcol(folder).await.unwrap();
    }
    home.put("a/b/f", "one").await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let test = async {
        tokio::task::yield_now().await;
        home.names("a/b").await;
        // More than the kernel keeps for us while this thread does nothing else.
        let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse::<usize>().unwrap();
        for _ in 0..most {
            std::fs::write(home.disk("a/b/g"), "1").unwrap();
        }
        std::fs::write(home.disk("a/b/f"), "three").unwrap();
        let begun = std::time::Instant::now();
        while home.node("").await.unwrap().size != 6 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "the edit did not show");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = home.spaces.watch_loop(stop.cancelled()) => panic!("the loop ended by itself"),
        () = test => {}
    }
    home.check().await;
}

#[tokio::test]
async fn a_file_that_takes_the_name_of_a_moved_one_is_seen() {
    let home = Home::new();
    home.put("log", "old").await.unwrap();
    assert_eq!(home.names("").await, ["log"]);
    std::fs::rename(home.disk("log"), home.disk("log.1")).unwrap();
    std::fs::write(home.disk("log"), "new").unwrap();
    assert_eq!(home.names("").await, ["log", "log.1"]);
    home.check().await;
}
