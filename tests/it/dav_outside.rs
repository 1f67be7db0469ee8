//! Edits of the plain files by others: they show by themselves, soon, in the etag that sync clients watch.

use std::time::{Duration, Instant};

use crate::support::server::TestServer;

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

const ETAG: &str = r#"<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>"#;

/// What a sync client asks for again and again: the root's etag alone.
async fn root_etag(server: &TestServer) -> String {
    let answer = server.ask_as("anna", "PROPFIND", "/").header("depth", "0").body(ETAG).expect(207).await.text();
    answer.split("getetag>").nth(1).unwrap().to_owned()
}

/// Waits until the root has another etag; the time that took.
async fn until_changed(server: &TestServer, known: &str, what: &str) -> Duration {
    let begun = Instant::now();
    while root_etag(server).await == known {
        assert!(begun.elapsed() < PATIENCE, "{what} did not show");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// A server with a folder in a folder, listed once, as a sync client did at some time.
async fn start() -> (TestServer, std::path::PathBuf) {
    let server = TestServer::with_user("anna").await;
    for folder in ["/a", "/a/b"] {
        server.mkcol("anna", folder).await;
    }
    server.put("anna", "/a/b/f.txt", "one").await;
    for folder in ["/", "/a/", "/a/b/"] {
        server.ask_as("anna", "PROPFIND", folder).header("depth", "1").expect(207).await;
    }
    let disk = server.data().join("anna/a/b");
    (server, disk)
}

#[tokio::test]
async fn an_edit_in_place_shows_in_the_roots_etag() {
    let (server, disk) = start().await;
    let known = root_etag(&server).await;
    std::fs::write(disk.join("f.txt"), "three").unwrap();
    until_changed(&server, &known, "an edit in place").await;
    let listed = server.ask_as("anna", "PROPFIND", "/a/b/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("<d:getcontentlength>5</d:getcontentlength>"), "{listed}");
    // A time that was set alone.
    let known = root_etag(&server).await;
    let file = std::fs::File::options().append(true).open(disk.join("f.txt")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    until_changed(&server, &known, "a new time").await;
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_stays_open_shows_when_it_is_quiet() {
    use std::io::Write;
    let (server, disk) = start().await;
    let known = root_etag(&server).await;
    let mut file = std::fs::File::options().append(true).open(disk.join("f.txt")).unwrap();
    file.write_all(b" and more").unwrap();
    assert!(until_changed(&server, &known, "what was appended").await > Duration::from_secs(1), "half a file was shown");
    assert_eq!(server.get("anna", "/a/b/f.txt").await, "one and more");
    server.stop().await;
}

#[tokio::test]
async fn what_others_add_move_and_remove_shows_in_the_roots_etag() {
    let (server, disk) = start().await;
    let mut known = root_etag(&server).await;
    std::fs::write(disk.join("new.txt"), "new").unwrap();
    until_changed(&server, &known, "a new file").await;
    known = root_etag(&server).await;
    std::fs::rename(disk.join("new.txt"), disk.join("other.txt")).unwrap();
    until_changed(&server, &known, "another name").await;
    known = root_etag(&server).await;
    std::fs::remove_file(disk.join("other.txt")).unwrap();
    until_changed(&server, &known, "a removal").await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_in_new_and_moved_folders_shows_in_the_roots_etag() {
    let (server, disk) = start().await;
    std::fs::create_dir_all(disk.join("x/y/z")).unwrap();
    std::fs::write(disk.join("x/y/z/deep.txt"), "12345").unwrap();
    let begun = Instant::now();
    let size = r#"<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><oc:size/></d:prop></d:propfind>"#;
    let root = || async { server.ask_as("anna", "PROPFIND", "/").header("depth", "0").body(size).expect(207).await.text() };
    while !root().await.contains("<oc:size>8</oc:size>") {
        assert!(begun.elapsed() < PATIENCE, "{}", root().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nobody has ever asked for these folders, and the one above them is moved.
    let known = root_etag(&server).await;
    std::fs::write(disk.join("x/y/z/deep.txt"), "changed").unwrap();
    until_changed(&server, &known, "an edit in a new folder").await;
    let to = [("destination", "/remote.php/webdav/x"), ("overwrite", "F")];
    let moving = server.ask_as("anna", "MOVE", "/a/b/x");
    to.iter().fold(moving, |ask, (name, value)| ask.header(name, value)).expect(201).await;
    let known = root_etag(&server).await;
    std::fs::write(server.data().join("anna/x/y/z/deep.txt"), "changed again").unwrap();
    until_changed(&server, &known, "an edit below a folder that was moved").await;
    let known = root_etag(&server).await;
    std::fs::rename(server.data().join("anna/x"), server.data().join("anna/moved")).unwrap();
    until_changed(&server, &known, "a folder that others moved").await;
    let known = root_etag(&server).await;
    std::fs::write(server.data().join("anna/moved/here.txt"), "1").unwrap();
    until_changed(&server, &known, "a file in a folder that others moved").await;
    server.stop().await;
}

#[tokio::test]
async fn our_own_writes_are_no_news() {
    let (server, disk) = start().await;
    for number in 0..50 {
        server.put("anna", &format!("/a/b/{number}.txt"), "mine").await;
    }
    let known = root_etag(&server).await;
    // Longer than events are gathered: an etag that rises by itself keeps sync clients busy.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(root_etag(&server).await, known);
    std::fs::write(disk.join("7.txt"), "theirs").unwrap();
    until_changed(&server, &known, "an edit of what we wrote").await;
    server.stop().await;
}
