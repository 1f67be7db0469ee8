//! What passes must not cost a mount: no server that mounts links is told 401, 403 or 404 for what will be there again.

use causeway::domain::Secret;
use causeway::service::admin::{AccountCommand, Command, LinkTerms};

use crate::support::mounter::{Edition, Mounter, State};
use crate::support::server::TestServer;

/// A server and, for each edition, a mount of a link with a password and of one without.
async fn mounted() -> (TestServer, Vec<(Edition, Mounter)>) {
    let server = TestServer::with_user("anna").await;
    server.mkcol("anna", "/Photos").await;
    server.put("anna", "/Photos/a.txt", "content").await;
    server.mkcol("anna", "/Photos/sub").await;
    let plain = server.link("anna", "/Photos", "edit").await.url;
    let terms = LinkTerms { permissions: Some("edit".to_owned()), password: Some(Secret::new("sesame")), ..LinkTerms::default() };
    let closed = server.link_with("anna", "/Photos", terms).await.url;
    let mut mounts = Vec::new();
    for edition in Edition::ALL {
        for (url, password) in [(&plain, ""), (&closed, "sesame")] {
            let mut mounter = Mounter::new(edition, &server, url.rsplit('/').next().unwrap(), password);
            mounter.add().await.unwrap();
            mounts.push((edition, mounter));
        }
    }
    (server, mounts)
}

async fn all_are(state: State, mounts: &mut [(Edition, Mounter)]) {
    for (edition, mounter) in mounts {
        assert_eq!(mounter.refresh().await, state, "{edition:?}");
    }
}

async fn all_wait(mounts: &mut [(Edition, Mounter)]) {
    all_are(State::Kept, mounts).await;
    for (edition, mounter) in mounts {
        assert_eq!(mounter.share_info("").await, Err(503), "{edition:?}");
        let read = mounter.ask("GET", "a.txt", &[], b"").await;
        assert_eq!(read.status, 503, "{edition:?}");
        assert!(read.header("retry-after").is_some(), "{edition:?}");
        assert_eq!(mounter.ask("PUT", "a.txt", &[("Expect", "100-continue")], b"new").await.status, 503, "{edition:?}");
    }
}

async fn all_are_back(server: &TestServer, mounts: &mut [(Edition, Mounter)]) {
    for (edition, mounter) in mounts {
        assert_ne!(mounter.refresh().await, State::Removed, "{edition:?}");
        assert_eq!(mounter.scan().await.keys().map(String::as_str).collect::<Vec<_>>(), ["a.txt", "sub"], "{edition:?}");
        assert_eq!(mounter.get("a.txt").await.as_deref(), Ok(b"content".as_slice()), "{edition:?}");
    }
    assert_eq!(server.get("anna", "/Photos/a.txt").await, "content");
}

#[tokio::test]
async fn a_mount_outlasts_maintenance() {
    let (server, mut mounts) = mounted().await;
    server.execute(Command::Maintenance { on: Some(true) }).await;
    all_wait(&mut mounts).await;
    // Any 5xx there costs the users of ownCloud 11 all their mounts.
    for path in ["/ocs-provider/", "/ocm-provider/", "//ocs-provider/", "//ocm-provider/"] {
        let status = server.ask("GET", path).send().await.status;
        assert!(matches!(status, 200 | 404), "{path}: {status}");
    }
    server.execute(Command::Maintenance { on: Some(false) }).await;
    all_are(State::Same, &mut mounts).await;
    all_are_back(&server, &mut mounts).await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_outlasts_a_disabled_owner() {
    let (server, mut mounts) = mounted().await;
    let enable = |on| Command::Account { name: "anna".to_owned(), what: AccountCommand::Enable(on) };
    server.execute(enable(false)).await;
    all_wait(&mut mounts).await;
    server.execute(enable(true)).await;
    all_are(State::Same, &mut mounts).await;
    all_are_back(&server, &mut mounts).await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_outlasts_a_stop_and_a_start() {
    let (server, mut mounts) = mounted().await;
    let server = server.sleep().await.wake().await;
    all_are(State::Same, &mut mounts).await;
    all_are_back(&server, &mut mounts).await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_outlasts_a_disk_that_is_away() {
    let (server, mut mounts) = mounted().await;
    let (home, away) = (server.data().join("anna"), server.data().join(".causeway/away"));
    std::fs::rename(&home, &away).unwrap();
    // What is known of the nodes is still told; what would have to be read is not there now.
    all_are(State::Same, &mut mounts).await;
    for (edition, mounter) in &mut mounts {
        assert_eq!(mounter.share_info("").await, Err(503), "{edition:?}");
        assert_eq!(mounter.ask("PROPFIND", "", &[("Depth", "1")], b"").await.status, 503, "{edition:?}");
        assert_eq!(mounter.ask("GET", "a.txt", &[], b"").await.status, 503, "{edition:?}");
        assert_eq!(mounter.ask("PUT", "b.txt", &[("Expect", "100-continue")], b"new").await.status, 503, "{edition:?}");
        assert_eq!(mounter.ask("DELETE", "a.txt", &[], b"").await.status, 503, "{edition:?}");
    }
    std::fs::rename(&away, &home).unwrap();
    all_are_back(&server, &mut mounts).await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_outlasts_a_store_that_fails() {
    let (server, mut mounts) = mounted().await;
    // Nothing has been read since this start.
    let server = server.sleep().await.wake().await;
    server.running().services.close().await;
    for (edition, mounter) in &mut mounts {
        assert_ne!(mounter.refresh().await, State::Removed, "{edition:?}");
        for (method, path) in
            [("PROPFIND", ""), ("PROPFIND", "a.txt"), ("PROPFIND", "sub"), ("GET", "a.txt"), ("PUT", "a.txt"), ("MKCOL", "new")]
        {
            let told = mounter.ask(method, path, &[("Depth", "1")], b"").await;
            assert!(matches!(told.status, 200 | 207 | 500 | 503), "{edition:?} {method} {path}: {}", told.status);
        }
        let info = mounter.share_info("").await.map(drop);
        assert!(matches!(info, Ok(()) | Err(503)), "{edition:?}: {info:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mount_outlasts_guesses_from_its_server() {
    let (server, mut mounts) = mounted().await;
    let guess = async |number: u8| server.ask("PROPFIND", "/public.php/webdav/").basic(&format!("guess{number}"), "").send().await.status;
    let mut number = 0;
    while guess(number).await == 401 {
        number += 1;
        assert!(number < 100, "guesses are not slowed");
    }
    all_are(State::Same, &mut mounts).await;
    server.stop().await;
}
