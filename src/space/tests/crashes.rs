//! Writes that end after one of their steps as if the process had died there, and what is found at the next start.
use super::*;
use crate::domain::Inode;
use crate::store::Step;

/// Does one write that dies after `stop`, and looks at the home after a restart.
async fn check_crash<F: Future<Output = bool>>(stop: Stop, dying: impl FnOnce(Arc<Home>) -> F, expected: &[(&str, Option<&str>)]) {
    let home = Home::new();
    home.mkcol("a").await.unwrap();
    home.put("a/f", "old").await.unwrap();
    home.put("g", "other").await.unwrap();
    home.mkcol("full").await.unwrap();
    home.put("full/x", "inner").await.unwrap();
    let home = Arc::new(home.reopen(Some(stop)));
    assert!(dying(Arc::clone(&home)).await, "the write did not stop after {stop:?}");
    let home = Arc::into_inner(home).unwrap().reopen(None);
    for (path, content) in expected {
        match content {
            Some("/") => assert!(home.node(path).await.unwrap().is_collection(), "{path} after {stop:?}"),
            Some(content) => assert_eq!(home.read(path).await.unwrap(), *content, "{path} after {stop:?}"),
            None => assert!(home.node(path).await.is_none(), "{path} after {stop:?}"),
        }
    }
    assert!(home.space.store.placements(SPACE).unwrap().is_empty(), "a placement is left after {stop:?}");
    home.check().await;
    // Nothing that was interrupted stands in the way of the next write.
    home.put("a/f", "newest").await.unwrap();
    assert_eq!(home.read("a/f").await.unwrap(), "newest");
}

fn stopped<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Internal(text)) if text.contains("stopped"))
}

#[tokio::test]
async fn a_put_happens_whole_or_not_at_all() {
    for (stop, content) in [(Stop::Staged, "old"), (Stop::Committed, "new!"), (Stop::Placed, "new!")] {
        check_crash(stop, |home| async move { stopped(home.put("a/f", "new!").await) }, &[("a/f", Some(content)), ("g", Some("other"))])
            .await;
    }
    for (stop, content) in [(Stop::Staged, None), (Stop::Committed, Some("new!")), (Stop::Placed, Some("new!"))] {
        check_crash(stop, |home| async move { stopped(home.put("a/new", "new!").await) }, &[("a/new", content), ("a/f", Some("old"))])
            .await;
    }
}

#[tokio::test]
async fn a_folder_is_made_or_not() {
    for (stop, content) in [(Stop::Staged, None), (Stop::Committed, Some("/")), (Stop::Placed, Some("/"))] {
        check_crash(stop, |home| async move { stopped(home.mkcol("a/d").await) }, &[("a/d", content)]).await;
    }
}

#[tokio::test]
async fn a_delete_happens_or_not() {
    check_crash(Stop::Staged, |home| async move { stopped(home.delete("full").await) }, &[("full/x", Some("inner"))]).await;
    for stop in [Stop::Committed, Stop::Placed] {
        check_crash(stop, |home| async move { stopped(home.delete("full").await) }, &[("full", None), ("full/x", None)]).await;
        check_crash(stop, |home| async move { stopped(home.delete("g").await) }, &[("g", None)]).await;
    }
}

#[tokio::test]
async fn a_move_never_loses_either_end() {
    for stop in [Stop::Committed, Stop::Placed] {
        check_crash(stop, |home| async move { stopped(home.rename("g", "h").await) }, &[("g", None), ("h", Some("other"))]).await;
        check_crash(stop, |home| async move { stopped(home.rename("g", "a/f").await) }, &[("g", None), ("a/f", Some("other"))]).await;
        let expected = [("full", None), ("a/x", Some("inner")), ("a/f", None)];
        check_crash(stop, |home| async move { stopped(home.rename("full", "a").await) }, &expected[..2]).await;
        check_crash(stop, |home| async move { stopped(home.rename("full", "a/b").await) }, &[("full", None), ("a/b/x", Some("inner"))])
            .await;
        check_crash(stop, |home| async move { stopped(home.rename("g", "full").await) }, &[("g", None), ("full", Some("other"))]).await;
    }
}

#[tokio::test]
async fn a_copy_is_placed_whole() {
    check_crash(Stop::Staged, |home| async move { stopped(home.copy("full", "c").await) }, &[("c", None), ("full/x", Some("inner"))]).await;
    for stop in [Stop::Committed, Stop::Placed] {
        let expected = [("full/x", Some("inner")), ("c/x", Some("inner"))];
        check_crash(stop, |home| async move { stopped(home.copy("full", "c").await) }, &expected).await;
        check_crash(stop, |home| async move { stopped(home.copy("full", "a").await) }, &[("a/x", Some("inner"))]).await;
    }
}

#[tokio::test]
async fn the_file_on_disk_wins_where_the_staged_one_is_gone() {
    let home = Home::new();
    let old = home.put("f", "old").await.unwrap().node;
    let home = home.reopen(Some(Stop::Committed));
    assert!(stopped(home.put("f", "new!").await));
    for entry in std::fs::read_dir(home.own("staging")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let home = home.reopen(None);
    assert_eq!(home.read("f").await.unwrap(), "old");
    let now = home.node("f").await.unwrap();
    assert_eq!(now.id, old.id);
    assert_ne!(now.etag, old.etag);
    home.check().await;
}

#[tokio::test]
async fn placements_left_over_do_not_undo_what_came_later() {
    let home = Home::new();
    home.put("a", "1").await.unwrap();
    home.rename("a", "b").await.unwrap();
    home.rename("b", "a").await.unwrap();
    home.put("b", "2").await.unwrap();
    home.put("a", "3").await.unwrap();
    home.delete("b").await.unwrap();
    let home = home.reopen(None);
    assert_eq!(home.names("").await, ["a"]);
    assert_eq!(home.read("a").await.unwrap(), "3");
    home.check().await;
}

#[tokio::test]
async fn what_was_written_after_moves_to_and_fro_stays() {
    let home = Home::new();
    for (path, text) in [("x", "first"), ("d", "replaced"), ("e", "second")] {
        home.put(path, text).await.unwrap();
    }
    let home = home.reopen(Some(Stop::Placed));
    assert!(stopped(home.rename("x", "y").await) && stopped(home.rename("y", "x").await));
    assert!(stopped(home.put("y", "acknowledged").await));
    assert!(stopped(home.rename("e", "d").await) && stopped(home.rename("d", "e").await));
    assert!(stopped(home.put("d", "acknowledged too").await));
    assert_eq!(home.space.store.placements(SPACE).unwrap().len(), 6);
    let home = home.reopen(None);
    for (path, text) in [("x", "first"), ("y", "acknowledged"), ("e", "second"), ("d", "acknowledged too")] {
        assert_eq!(home.read(path).await.unwrap(), text, "{path}");
    }
    home.check().await;
}

/// Leaves a placement behind as if a server had died after it was committed.
fn commit_steps(home: &Home, steps: Vec<Step>) {
    let placement = Some(crate::store::Placement { steps });
    home.space.store.commit_nodes(NodeJob { placement, ..NodeJob::new(SPACE, Vec::new()) }).unwrap();
}

fn stamp(home: &Home, path: &str) -> FileStamp {
    home.space.files.stat(&home.space.disk(&TreePath::parse(path).unwrap())).unwrap().unwrap().stamp
}

fn purging(home: &Home, path: &str, inode: Inode) -> Step {
    Step::Move { from: format!("anna/{path}"), to: home.space.files.purge_path().as_str().to_owned(), inode }
}

#[tokio::test]
async fn a_new_file_with_the_inode_of_a_purged_one_stays() {
    let home = Home::new();
    home.put("known", "by its birth").await.unwrap();
    home.put("later", "by the step that brought it").await.unwrap();
    home.put("same", "goes").await.unwrap();
    let known = stamp(&home, "known").file();
    assert_ne!(known.born_ns, 0, "this file system keeps no birth times: test it elsewhere");
    let later = Inode { born_ns: 0, ..stamp(&home, "later").file() };
    let came = Step::Move { from: ".causeway/staging/gone".to_owned(), to: "anna/later".to_owned(), inode: later };
    commit_steps(&home, vec![purging(&home, "known", Inode { born_ns: known.born_ns - 1, ..known })]);
    commit_steps(&home, vec![purging(&home, "later", later)]);
    commit_steps(&home, vec![came]);
    commit_steps(&home, vec![purging(&home, "same", stamp(&home, "same").file())]);
    let home = home.reopen(None);
    assert_eq!(home.names("").await, ["known", "later"]);
    home.check().await;
}
