use super::*;
use crate::domain::{TreePath, UserName};

fn files() -> (tempfile::TempDir, Files, DiskPath) {
    let davroot = tempfile::tempdir().unwrap();
    std::fs::create_dir(davroot.path().join("anna")).unwrap();
    let files = Files::open(davroot.path(), Modes::default(), true).unwrap();
    (davroot, files, DiskPath::home(&UserName::parse("anna").unwrap()))
}

fn at(home: &DiskPath, path: &str) -> DiskPath {
    home.below(&TreePath::parse(path).unwrap())
}

#[test]
fn links_are_never_followed() {
    let (davroot, files, home) = files();
    std::fs::create_dir(davroot.path().join("bob")).unwrap();
    std::fs::write(davroot.path().join("bob/secret"), "x").unwrap();
    std::os::unix::fs::symlink("../bob", davroot.path().join("anna/dir")).unwrap();
    std::os::unix::fs::symlink("../bob/secret", davroot.path().join("anna/file")).unwrap();
    std::os::unix::fs::symlink("/etc", davroot.path().join("anna/etc")).unwrap();
    assert!(files.open_file(&at(&home, "dir/secret")).unwrap().is_none());
    assert!(files.open_file(&at(&home, "file")).unwrap().is_none());
    assert!(files.open_file(&at(&home, "etc/passwd")).unwrap().is_none());
    assert!(files.stat(&at(&home, "dir/secret")).unwrap().is_none());
    assert_eq!(files.stat(&at(&home, "file")).unwrap().unwrap().entry, Entry::Other);
    let listing = files.list(&home).unwrap().unwrap();
    assert!(listing.entries.is_empty());
    assert_eq!(listing.skipped.len(), 3);
}

#[test]
fn paths_longer_than_a_system_call_takes_are_walked() {
    let (_davroot, files, home) = files();
    let name = Name::parse(&"n".repeat(250)).unwrap();
    let mut folder = home;
    for _ in 0..30 {
        folder = folder.join(&name);
        files.make_folder(&folder).unwrap();
    }
    assert!(folder.as_str().len() > 7000);
    assert_eq!(files.stat(&folder).unwrap().unwrap().entry, Entry::Directory);
    assert!(files.list(&folder).unwrap().unwrap().entries.is_empty());
}

#[test]
fn a_staged_file_disappears_unless_it_was_committed() {
    let (davroot, files, home) = files();
    let (staged, _) = files.stage_bytes(&["abc".into()], Some(12)).unwrap();
    let path = staged.path().clone();
    drop(staged);
    assert!(files.stat(&path).unwrap().is_none());
    let (staged, stat) = files.stage_bytes(&["abc".into()], Some(12)).unwrap();
    assert_eq!((stat.size, stat.modified()), (3, 12));
    files.rename(staged.path(), &at(&home, "a")).unwrap();
    staged.committed();
    assert_eq!(std::fs::read(davroot.path().join("anna/a")).unwrap(), b"abc");
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error_and_no_zeros() {
    use futures_util::TryStreamExt;
    let (davroot, files, home) = files();
    std::fs::write(davroot.path().join("anna/a"), vec![7; 300_000]).unwrap();
    let (file, stat) = files.open_file(&at(&home, "a")).unwrap().unwrap();
    let open = OpenFile::new(file, stat.size);
    let whole: Vec<Bytes> = open.stream(0..300_000).try_collect().await.unwrap();
    assert_eq!(whole.concat(), vec![7; 300_000]);
    let part: Vec<Bytes> = open.stream(5..9).try_collect().await.unwrap();
    assert_eq!(part.concat(), vec![7; 4]);
    std::fs::write(davroot.path().join("anna/a"), vec![7; 10]).unwrap();
    assert!(open.stream(0..300_000).try_collect::<Vec<_>>().await.is_err());
}

use bytes::Bytes;
