//! What becomes of a mount when its host changes its mind: each server as its wire shows it. Nothing vanishes, the reason is told, the host is
//! not pestered, and all is well again when the host is.

use std::time::{Duration, Instant};

use causeway::domain::Secret;
use causeway::service::Reason;
use causeway::service::admin::{Command, MountRow};

use crate::support::federation::{PATIENCE, mounts, names, until};
use crate::support::peer::host::{Host, Server, State, Terms};
use crate::support::server::TestServer;

/// bob with the link of a host at `/Photos`, listed once.
async fn mounted(host: &Host) -> TestServer {
    let bob = TestServer::with_user("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: host.name() }).await;
    let password = host.change(|state| state.password).map(Secret::new);
    let (user, name) = ("bob".to_owned(), Some("Photos".to_owned()));
    bob.execute(Command::MountAdd { user, url: host.link(), name, password }).await;
    assert_eq!(names(&bob, "bob", "/Photos").await, ["a.txt", "sub"]);
    bob
}

async fn row(bob: &TestServer) -> MountRow {
    mounts(bob, "bob").await.remove(0)
}

/// Changes the host, waits for the state that follows by itself, checks that nothing is lost by it, changes the host back and checks that all is
/// as before.
async fn check(host: &Host, bob: &TestServer, change: fn(&mut State), expected: &str, back: fn(&mut State)) -> MountRow {
    let before = host.paths();
    host.change(change);
    let what = format!("{:?}: {expected}", host.change(|state| state.server));
    until(&what, PATIENCE, async || {
        let status = bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").send().await.status;
        assert!(matches!(status, 207 | 503), "{what}: {status}");
        let status = bob.ask_as("bob", "GET", "/Photos/a.txt").send().await.status;
        assert!(matches!(status, 200 | 503), "{what}: {status}");
        row(bob).await.state == expected
    })
    .await;
    for (method, path) in [
        ("PROPFIND", "/Photos/"),
        ("GET", "/Photos/a.txt"),
        ("PUT", "/Photos/a.txt"),
        ("DELETE", "/Photos/sub/b.txt"),
        ("MKCOL", "/Photos/new"),
    ] {
        let answer = bob.ask_as("bob", method, path).send().await;
        assert_eq!(answer.status, 503, "{what}: {method} {path}: {}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{what}: {method}");
    }
    assert!(names(bob, "bob", "/").await.contains(&"Photos".to_owned()), "{what}: it stays in its parent");
    assert_eq!(host.paths(), before, "{what}");
    let told = row(bob).await;
    host.change(back);
    bob.execute(Command::MountRetry { id: told.id.to_string() }).await;
    assert_eq!(row(bob).await.state, "online", "{what}");
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "alpha", "{what}");
    bob.ask_as("bob", "PUT", "/Photos/back.txt").body("back").expect(201).await;
    assert_eq!(host.text("back.txt").as_deref(), Some("back"), "{what}");
    host.check();
    told
}

#[tokio::test]
async fn a_link_that_is_withdrawn_is_a_state() {
    for server in Server::ALL {
        for without_old_tree in [false, true] {
            if without_old_tree && server != Server::Nextcloud {
                continue;
            }
            let host = Host::start(server, Terms::Edit).await;
            // Then the mount is of the newer tree, which answers 503 for a link that is gone.
            host.change(|state| state.without_old_tree = without_old_tree);
            let bob = mounted(&host).await;
            let told = check(&host, &bob, |state| state.gone = true, "withdrawn", |state| state.gone = false).await;
            assert!(told.hint.contains("share is gone"), "{server:?}: {}", told.hint);
            bob.stop().await;
        }
    }
}

#[tokio::test]
async fn a_dead_link_is_asked_for_once_and_then_left_alone() {
    // Side by side: each waits.
    let each = Server::ALL.map(async |server| {
        let host = Host::start(server, Terms::Edit).await;
        let bob = mounted(&host).await;
        host.change(|state| (state.gone, state.failures) = (true, 0));
        until("the end of the link", PATIENCE, async || row(&bob).await.state == "withdrawn").await;
        let failures = host.change(|state| state.failures);
        assert!(failures <= 2, "{server:?}: {failures} tries count against everybody behind our address");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(host.change(|state| state.failures), failures, "{server:?}");
        bob.stop().await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn another_password_is_a_state_and_takes_the_new_one() {
    for server in Server::ALL {
        let host = Host::start(server, Terms::Edit).await;
        host.change(|state| state.password = Some("sesame"));
        let bob = mounted(&host).await;
        let told =
            check(&host, &bob, |state| state.password = Some("other"), "needs_password", |state| state.password = Some("sesame")).await;
        assert!(told.hint.contains("causeway mount password"), "{server:?}: {}", told.hint);
        host.change(|state| state.password = Some("third"));
        bob.refuse(Command::MountRetry { id: told.id.to_string() }, Reason::NeedsPassword).await;
        bob.execute(Command::MountPassword { id: told.id.to_string(), password: Secret::new("third") }).await;
        assert_eq!(bob.get("bob", "/Photos/a.txt").await, "alpha", "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn sharing_that_is_switched_off_is_a_state_with_its_reason() {
    for server in [Server::OwnCloud7, Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud] {
        for password in [None, Some("sesame")] {
            let host = Host::start(server, Terms::Edit).await;
            host.change(|state| state.password = password);
            let bob = mounted(&host).await;
            let told = check(&host, &bob, |state| state.outgoing = false, "offline", |state| state.outgoing = true).await;
            assert!(told.hint.contains("does not let other servers mount it"), "{server:?} {password:?}: {}", told.hint);
            bob.stop().await;
        }
    }
}

#[tokio::test]
async fn what_owncloud_7_answers_with_nothing_was_not_done() {
    let host = Host::start(Server::OwnCloud7, Terms::Edit).await;
    let bob = mounted(&host).await;
    // All of this is known freshly, so that nothing is asked for before the write.
    assert_eq!(names(&bob, "bob", "/Photos/sub").await, ["b.txt"]);
    host.change(|state| state.outgoing = false);
    let status = bob.ask_as("bob", "DELETE", "/Photos/sub/b.txt").send().await.status;
    assert_eq!(status, 503, "200 and nothing is no deletion");
    host.change(|state| state.outgoing = true);
    bob.execute(Command::MountRetry { id: row(&bob).await.id.to_string() }).await;
    assert_eq!(bob.get("bob", "/Photos/sub/b.txt").await, "beta beta beta");
    bob.stop().await;
}

#[tokio::test]
async fn maintenance_is_waited_for() {
    for server in [Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start(server, Terms::Edit).await;
        let bob = mounted(&host).await;
        let told = check(&host, &bob, |state| state.maintenance = true, "offline", |state| state.maintenance = false).await;
        assert!(told.hint.contains("cannot now"), "{server:?}: {}", told.hint);
        // And without anybody's help.
        host.change(|state| state.maintenance = true);
        until("the maintenance", PATIENCE, async || row(&bob).await.state == "offline").await;
        host.change(|state| state.maintenance = false);
        until("the end of the maintenance", PATIENCE, async || row(&bob).await.state == "online").await;
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_host_that_throttles_is_left_alone() {
    let host = Host::start(Server::Nextcloud, Terms::Edit).await;
    let bob = mounted(&host).await;
    check(&host, &bob, |state| state.throttles = true, "offline", |state| state.throttles = false).await;
    host.change(|state| state.throttles = true);
    until("the throttling", PATIENCE, async || row(&bob).await.state == "offline").await;
    host.take_seen();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        let answer = bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
        assert!(answer.header("retry-after").is_some());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let asked = host.take_seen();
    assert!(asked.is_empty(), "each question prolongs it: {asked:?}");
    bob.stop().await;
}

#[tokio::test]
async fn a_link_that_became_one_for_uploads_stays_and_says_so() {
    for server in [Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start(server, Terms::Edit).await;
        let bob = mounted(&host).await;
        check(&host, &bob, |state| state.terms = Terms::Drop, "offline", |state| state.terms = Terms::Edit).await;
        bob.stop().await;
    }
}

#[tokio::test]
async fn names_that_a_host_refuses_are_refused_and_nothing_else_happens() {
    for (server, expected) in [(Server::OwnCloud7, 201), (Server::OwnCloud11, 403), (Server::Nextcloud, 400), (Server::Ocis, 201)] {
        let host = Host::start(server, Terms::Edit).await;
        let bob = mounted(&host).await;
        let answer = bob.ask_as("bob", "PUT", "/Photos/video.part").body("half").send().await;
        assert_eq!(answer.status, expected, "{server:?}: {}", answer.text());
        assert_eq!(row(&bob).await.state, "online", "{server:?}");
        assert_eq!(host.text("video.part").is_some(), expected == 201, "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn locks_that_a_host_does_not_have_are_said_to_be_missing() {
    const LOCK: &str =
        "<d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>";
    for server in [Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start(server, Terms::Edit).await;
        let bob = mounted(&host).await;
        let refused = bob.ask_as("bob", "LOCK", "/Photos/a.txt").header("depth", "0").body(LOCK).send().await;
        assert_eq!(refused.status, 405, "{server:?}: {}", refused.text());
        // Whoever goes on without a lock may write.
        bob.ask_as("bob", "PUT", "/Photos/a.txt").body("without a lock").expect(204).await;
        assert_eq!(row(&bob).await.state, "online", "{server:?}");
        bob.stop().await;
    }
}
