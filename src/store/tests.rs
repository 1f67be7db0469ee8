use super::*;
use crate::domain::{RemoteTrust, SpaceId};

fn trust(host: &str) -> RemoteTrust {
    RemoteTrust { host: host.to_owned(), fingerprints: vec![[7; 32]], authorities: Vec::new(), allow_private: true }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, Options::default()).unwrap()
}

#[tokio::test]
async fn records_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let instance = store.instance_id().to_owned();
    assert!(instance.starts_with("oc") && instance.len() == 12);
    store.commit(Batch::new().put(&trust("a")).put(&trust("b"))).await.unwrap();
    store.commit(Batch::new().delete::<RemoteTrust>(b"a")).await.unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.instance_id(), instance);
    assert_eq!(store.list::<RemoteTrust>().unwrap(), [trust("b")]);
    assert_eq!(store.get::<RemoteTrust>(b"b").unwrap(), Some(trust("b")));
    assert_eq!(store.get::<RemoteTrust>(b"a").unwrap(), None);
}

#[tokio::test]
async fn a_batch_whose_condition_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(Batch::new().absent::<RemoteTrust>(b"a").put(&trust("a"))).await.unwrap();
    let taken = store.commit(Batch::new().put(&trust("b")).absent::<RemoteTrust>(b"a").put(&trust("a"))).await;
    assert!(matches!(taken, Err(Error::Conflict)));
    assert!(matches!(store.commit(Batch::new().present::<RemoteTrust>(b"b").put(&trust("b"))).await, Err(Error::Conflict)));
    assert_eq!(store.list::<RemoteTrust>().unwrap(), [trust("a")]);
}

#[test]
fn ids_and_epochs_rise_over_unclean_stops() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (epoch, id, fingerprint) = (store.epoch(), store.next_id().unwrap(), store.fingerprint());
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.epoch(), store.next_id().unwrap()), (epoch, id + 1));
    drop(store);
    // What a process that died leaves: no clean mark.
    let rows = sled::Config::new().path(directory.path().join("rows")).flush_every_ms(None).open().unwrap();
    let meta = rows.open_tree("meta").unwrap();
    meta.remove(keys::META_CLEAN).unwrap();
    meta.insert(keys::META_IDS, &(id + ID_BLOCK).to_be_bytes()).unwrap();
    rows.flush().unwrap();
    drop((meta, rows));
    let store = open(directory.path());
    assert_eq!((store.epoch(), store.next_id().unwrap()), (epoch + 1, id + ID_BLOCK));
    assert_eq!(store.fingerprint(), fingerprint, "nothing was restored");
}

#[test]
fn two_processes_do_not_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(Store::open(directory.path(), Options::default()), Err(Error::InUse)));
    drop(store);
    open(directory.path());
}

#[test]
fn a_newer_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let rows = sled::Config::new().path(directory.path().join("rows")).flush_every_ms(None).open().unwrap();
    rows.open_tree("meta").unwrap().insert(keys::META_FORMAT, &4u64.to_be_bytes()).unwrap();
    rows.flush().unwrap();
    drop(rows);
    assert!(matches!(Store::open(directory.path(), Options::default()), Err(Error::Newer(4))));
}

#[test]
fn a_store_without_trash_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let rows = sled::Config::new().path(directory.path().join("rows")).flush_every_ms(None).open().unwrap();
    for tree in ["trash", "versions", "log"] {
        assert!(rows.drop_tree(tree).unwrap(), "{tree}");
    }
    rows.open_tree("meta").unwrap().insert(keys::META_FORMAT, &2u64.to_be_bytes()).unwrap();
    rows.flush().unwrap();
    drop(rows);
    let store = Store::open(directory.path(), Options::default()).unwrap();
    assert!(store.trash(SpaceId(1)).unwrap().is_empty() && store.all_versions(SpaceId(1)).unwrap().is_empty());
    assert_eq!(store.recovery(), None);
}

#[test]
fn the_log_is_whole_or_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let space = SpaceId(1);
    let log = |from| store.log_since(space, from, 100).unwrap().map(|entries| entries.len());
    let revive = || store.commit_nodes(NodeJob::new(space, vec![Change::Revive(crate::domain::NodeId(7))])).unwrap().version;
    let versions: Vec<u64> = (0..5).map(|_| revive()).collect();
    assert_eq!((log(0), log(versions[1]), log(versions[4])), (Some(5), Some(3), Some(0)));
    assert_eq!(store.log_since(space, 0, 4).unwrap(), None, "more than are wanted");
    assert_eq!((store.log_surplus(space, 5).unwrap(), store.log_surplus(space, 3).unwrap()), (None, Some(versions[1])));
    for _ in 0..2 {
        // In two jobs, but from the first one on it is not whole any more.
        let prune = Change::PruneLog { up_to: versions[1], rows_max: 1 };
        store.commit_nodes(NodeJob::new(space, vec![prune])).unwrap();
        assert_eq!((log(0), log(versions[0]), log(versions[1])), (None, None, Some(3)));
    }
    assert_eq!((store.log_surplus(space, 3).unwrap(), store.log_begin(space).unwrap()), (None, versions[1]));
    assert_eq!(store.log_since(SpaceId(2), 0, 100).unwrap(), Some(Vec::new()), "a log for each space");
    store.drop_space(space).unwrap();
    assert_eq!(log(0), Some(0));
}

#[test]
fn an_export_makes_the_same_store_with_higher_marks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows.jsonl");
    let store = open(&directory.path().join("one"));
    store.commit_blocking(Batch::new().put(&trust("a"))).unwrap();
    let (instance, epoch, id) = (store.instance_id().to_owned(), store.epoch(), store.next_id().unwrap());
    store.export(&file).unwrap();
    let fingerprint = store.fingerprint();
    let two = directory.path().join("two");
    Store::import(&two, &file, &Options::default()).unwrap();
    assert!(matches!(Store::import(&two, &file, &Options::default()), Err(Error::InUse)));
    let store = open(&two);
    assert_eq!(store.instance_id(), instance);
    assert_ne!(store.fingerprint(), fingerprint, "clients learn of the restore by it");
    assert!(store.epoch() > epoch && store.next_id().unwrap() > id + ID_BLOCK);
    assert_eq!(store.list::<RemoteTrust>().unwrap(), [trust("a")]);
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.trim_end().rsplit_once('\n').unwrap().0;
    std::fs::write(&file, cut).unwrap();
    assert!(matches!(Store::import(&directory.path().join("three"), &file, &Options::default()), Err(Error::Corrupt(_))));
}

#[test]
fn a_store_that_cannot_be_read_comes_back_from_its_export() {
    let directory = tempfile::tempdir().unwrap();
    let (rows, export) = (directory.path().join("store"), directory.path().join("rows.jsonl"));
    let store = open(&rows);
    store.commit_blocking(Batch::new().put(&trust("a"))).unwrap();
    store.export(&export).unwrap();
    let (epoch, id) = (store.epoch(), store.next_id().unwrap());
    drop(store);
    let database = rows.join("rows/db");
    let length = std::fs::metadata(&database).unwrap().len();
    std::fs::write(&database, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
    std::fs::write(rows.join("rows/conf"), "what is this").unwrap();
    let store = Store::open(&rows, Options { export: Some(export), ..Options::default() }).unwrap();
    let recovery = store.recovery().unwrap();
    assert!(recovery.from_export);
    assert!(recovery.moved_to.join("db").exists());
    assert_eq!(store.list::<RemoteTrust>().unwrap(), [trust("a")]);
    assert!(store.epoch() > epoch && store.next_id().unwrap() > id);
}

/// An old version of a file, of one byte.
fn version(node: u64, number: u64) -> VersionRow {
    VersionRow {
        node: crate::domain::NodeId(node),
        number,
        file: format!("{node}-{number}").into(),
        inode: 0,
        size: 1,
        modified: 0,
        checksum: None,
        created: 0,
        by: crate::domain::Principal::Anonymous,
    }
}

fn put_versions(store: &Store, space: SpaceId, rows: impl Iterator<Item = VersionRow>) {
    store.commit_nodes(NodeJob::new(space, rows.map(Change::PutVersion).collect())).unwrap();
}

#[test]
fn a_long_read_does_not_keep_commits_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let space = SpaceId(7);
    let count = nodes::PAGE_ROWS as u64 * 2;
    put_versions(&store, SpaceId(6), (0..5).map(|number| version(1, number)));
    put_versions(&store, space, (0..count).map(|number| version(1, number)));
    put_versions(&store, SpaceId(8), (0..5).map(|number| version(1, number)));
    let numbers: Vec<u64> = store.all_versions(space).unwrap().into_iter().map(|row| row.number).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert!(store.all_versions(SpaceId(9)).unwrap().is_empty());
    let mut pages = Vec::new();
    let read = store.pages(keys::Tree::Versions, &keys::space(space), |page| {
        pages.push(page.len());
        let (store, (told, done)) = (store.clone(), std::sync::mpsc::channel());
        let page = pages.len() as u64;
        std::thread::spawn(move || {
            // One row before all others, and one behind them.
            put_versions(&store, space, [version(0, page), version(2, page)].into_iter());
            told.send(()).unwrap();
        });
        done.recv_timeout(std::time::Duration::from_secs(20)).expect("a commit waits for the read");
        Ok(())
    });
    read.unwrap();
    assert_eq!(pages, [nodes::PAGE_ROWS, nodes::PAGE_ROWS, 2]);
}

#[test]
fn a_version_is_dropped_only_as_it_was_seen() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let space = SpaceId(1);
    put_versions(&store, space, [version(1, 5)].into_iter());
    let drop_version = |file: &str| {
        let node = crate::domain::NodeId(1);
        store.commit_nodes(NodeJob::new(space, vec![Change::DropVersion { node, number: 5, file: file.into() }]))
    };
    assert!(matches!(drop_version("another"), Err(Error::Conflict)));
    assert_eq!(store.version_files(space).unwrap().len(), 1);
    drop_version("1-5").unwrap();
    assert!(matches!(drop_version("1-5"), Err(Error::Conflict)));
}

#[test]
fn a_closed_store_takes_no_more_writes_and_can_be_closed_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.close();
    assert!(matches!(store.commit_blocking(Batch::new().put(&trust("a"))), Err(Error::Closed)));
    assert!(matches!(store.commit_nodes(NodeJob::new(SpaceId(1), Vec::new())), Err(Error::Closed)));
    store.close();
}

#[test]
fn cached_rows_go_by_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.cache_put(b"1/a", b"x").unwrap();
    store.cache_put(b"1/b", b"y").unwrap();
    store.cache_put(b"2/a", b"z").unwrap();
    assert_eq!(store.cache_list(b"1/").unwrap().len(), 2);
    store.cache_remove_prefix(b"1/").unwrap();
    assert_eq!((store.cache_get(b"1/a").unwrap(), store.cache_get(b"2/a").unwrap()), (None, Some(b"z".to_vec())));
}

#[test]
fn steps_of_an_earlier_version_are_read() {
    // As they were written before birth times were kept: a move and a swap, each with the number of an inode.
    let stored = codec::encode(&((2u8), [(0u8, "a", "b", 7u64), (1u8, "c", "d", 300u64)])).unwrap();
    let of = |number| crate::domain::Inode { number, born_ns: 0 };
    let steps = vec![
        Step::Move { from: "a".to_owned(), to: "b".to_owned(), inode: of(7) },
        Step::Swap { from: "c".to_owned(), to: "d".to_owned(), inode: of(300) },
    ];
    assert_eq!(codec::decode::<Placement>(&stored).unwrap(), Placement { steps });
    let step = Step::Swap { from: "c".to_owned(), to: "d".to_owned(), inode: crate::domain::Inode { number: 300, born_ns: -5 } };
    let written = Placement { steps: vec![step] };
    assert_eq!(codec::decode::<Placement>(&codec::encode(&written).unwrap()).unwrap(), written);
}
