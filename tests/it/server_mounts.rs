//! A link of one server in a tree of another, as users and administrators meet it.

use causeway::domain::SpaceId;
use causeway::service::Reason;
use causeway::service::admin::{Command, MountRow, Outcome};

use crate::support::server::{Pair, TestServer, password};
use crate::support::sharing::{received, share, users};

async fn rows(server: &TestServer, user: &str) -> Vec<MountRow> {
    let listed = server.execute(Command::MountList { user: user.to_owned() }).await;
    let Outcome::Mounts(rows) = listed else { panic!("{listed:?}") };
    rows
}

#[tokio::test]
async fn bob_works_in_annas_folder_as_in_his_own() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    let mount = bob.mount("bob", &link.url).await;
    assert_eq!((mount.path.as_deref(), mount.state.as_str()), (Some("/Photos"), "online"));
    assert!(!format!("{mount:?}").contains(link.url.rsplit('/').next().unwrap()), "the token is not shown");
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "from anna");
    bob.put("bob", "/Photos/b.txt", "from bob").await;
    assert_eq!(anna.get("anna", "/Photos/b.txt").await, "from bob");
    let listed = bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/Photos/a.txt<") && listed.contains("/Photos/b.txt<"), "{listed}");
    // The other server keeps what bob unmounts.
    bob.ask_as("bob", "DELETE", "/Photos").expect(204).await;
    assert!(rows(&bob, "bob").await.is_empty());
    assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn names_that_are_taken_get_a_number_and_can_be_changed() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    bob.mkcol("bob", "/Photos").await;
    let link = anna.link("anna", "/Photos", "read").await;
    let mount = bob.mount("bob", &link.url).await;
    assert_eq!(mount.path.as_deref(), Some("/Photos (2)"));
    let rename = |name: &str| Command::MountRename { id: "bob:/Photos (2)".to_owned(), name: name.to_owned() };
    bob.refuse(rename("Photos"), Reason::Refused).await;
    bob.refuse(rename("a/b"), Reason::Usage).await;
    bob.execute(rename("Anna's")).await;
    assert_eq!(rows(&bob, "bob").await[0].path.as_deref(), Some("/Anna's"));
    bob.execute(Command::MountRemove { id: mount.id.to_string() }).await;
    bob.refuse(Command::MountRetry { id: mount.id.to_string() }, Reason::NotFound).await;
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn why_a_link_cannot_be_mounted_is_said_plainly() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    let add = |url: &str, password: Option<&str>| Command::MountAdd {
        user: "bob".to_owned(),
        url: url.to_owned(),
        name: None,
        password: password.map(causeway::domain::Secret::new),
    };
    let terms = causeway::service::admin::LinkTerms { password: Some(causeway::domain::Secret::new("sesame")), ..Default::default() };
    let protected = anna.link_with("anna", "/Photos", terms).await;
    bob.refuse(add(&protected.url, None), Reason::NeedsPassword).await;
    bob.refuse(add(&protected.url, Some("wrong")), Reason::Refused).await;
    bob.execute(add(&protected.url, Some("sesame"))).await;
    let drop = anna.link("anna", "/Photos", "drop").await;
    let text = bob.refuse(add(&drop.url, None), Reason::Refused).await.text;
    assert!(text.contains("uploads only"), "{text}");
    bob.refuse(add(&format!("http://{}/s/nothing", anna.host()), None), Reason::NotFound).await;
    let own = bob.refuse(add(&format!("http://{}/s/nothing", bob.host()), None), Reason::Refused).await.text;
    assert!(own.contains("this server itself"), "{own}");
    bob.execute(Command::RemoteRemove { host: anna.host() }).await;
    let text = bob.refuse(add(&protected.url, Some("sesame")), Reason::Refused).await.text;
    assert!(text.contains(&format!("causeway remote allow-private {}", anna.host())), "{text}");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_changed_link_password_is_a_state_and_the_new_one_brings_the_mount_back() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "content").await;
    let link = anna.link("anna", "/Photos", "read").await;
    let mount = bob.mount("bob", &link.url).await;
    let terms = causeway::service::admin::LinkTerms { password: Some(causeway::domain::Secret::new("sesame")), ..Default::default() };
    anna.execute(Command::LinkUpdate { id: link.id.to_string(), terms }).await;
    bob.refuse(Command::MountRetry { id: mount.id.to_string() }, Reason::NeedsPassword).await;
    assert_eq!(rows(&bob, "bob").await[0].state, "needs_password");
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/Photos/<"), "the mount stays in its parent: {listed}");
    let below = bob.ask_as("bob", "PROPFIND", "/Photos/").header("depth", "1").expect(503).await;
    assert!(below.header("retry-after").is_some());
    bob.execute(Command::MountPassword { id: mount.id.to_string(), password: causeway::domain::Secret::new("sesame") }).await;
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "content");
    // The password survives a restart, and lies nowhere in the clear.
    let rows_on_disk = std::fs::read(bob.data().join(".causeway/store/rows/db")).unwrap();
    assert!(!rows_on_disk.windows(6).any(|part| part == b"sesame"));
    let bob = bob.restart().await;
    assert_eq!(bob.get("bob", "/Photos/a.txt").await, "content");
    Pair { anna, bob }.stop().await;
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_its_mount_in_place() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    let link = anna.link("anna", "/Photos", "read").await;
    let mount = bob.mount("bob", &link.url).await;
    anna.stop().await;
    let refusal = bob.refuse(Command::MountRetry { id: mount.id.to_string() }, Reason::RemoteUnreachable).await;
    assert!(refusal.text.contains("does not answer"), "{}", refusal.text);
    let listed = bob.ask_as("bob", "PROPFIND", "/").header("depth", "1").expect(207).await.text();
    assert!(listed.contains("/Photos/<"), "{listed}");
    bob.ask("GET", "/webdav/Photos/a.txt").basic("bob", &password("bob")).expect(503).await;
    bob.stop().await;
}

/// Empties a trash as if the server stopped before it let go of what had hung there.
async fn purge_and_stop(server: TestServer, collect: bool) -> TestServer {
    let home = server.running().services.spaces().get(SpaceId(1)).unwrap();
    home.purge(None).await.unwrap();
    // What was to be done is known in memory alone.
    assert_eq!(home.take_orphans().len(), 1);
    if collect {
        server.running().services.spaces().sweep().await;
    }
    drop(home);
    server.restart().await
}

#[tokio::test]
async fn a_mount_that_was_purged_with_its_folder_is_gone_after_a_restart() {
    for collect in [false, true] {
        let Pair { anna, bob } = Pair::start().await;
        anna.mkcol("anna", "/Photos").await;
        anna.put("anna", "/Photos/a.txt", "from anna").await;
        let link = anna.link("anna", "/Photos", "edit").await;
        bob.mount("bob", &link.url).await;
        bob.mkcol("bob", "/d").await;
        bob.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/d/m").expect(201).await;
        bob.ask_as("bob", "DELETE", "/d").expect(204).await;
        // In the trash it may come back.
        let bob = bob.restart().await;
        bob.running().services.mounting().detach_lost().await;
        assert_eq!(rows(&bob, "bob").await.len(), 1);
        let bob = purge_and_stop(bob, collect).await;
        assert!(rows(&bob, "bob").await.is_empty());
        assert_eq!(anna.get("anna", "/Photos/a.txt").await, "from anna");
        Pair { anna, bob }.stop().await;
    }
}

#[tokio::test]
async fn a_received_share_that_was_purged_with_its_folder_is_declined_after_a_restart() {
    let server = users(&["bob", "anna"]).await;
    share(&server, "anna", "/Photos", "bob", "edit").await;
    server.mkcol("bob", "/d").await;
    server.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/d/m").expect(201).await;
    server.ask_as("bob", "DELETE", "/d").expect(204).await;
    let server = purge_and_stop(server, false).await;
    // Its row is collected, and it is not taken for one that was not hung yet.
    server.running().services.spaces().sweep().await;
    server.running().services.shares().sweep().await.unwrap();
    assert_eq!(received(&server, "bob").await[0].state, "declined");
    server.ask_as("bob", "PROPFIND", "/Photos").expect(404).await;
    // It is no end: bob may take it again.
    let id = received(&server, "bob").await[0].id;
    server.execute(Command::Share(causeway::service::admin::ShareCommand::Accept { user: "bob".to_owned(), id })).await;
    assert_eq!(server.get("bob", "/Photos/a.txt").await, "from anna");
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_let_go_of_while_a_home_is_away() {
    let Pair { anna, bob } = Pair::start().await;
    anna.mkcol("anna", "/Photos").await;
    anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = anna.link("anna", "/Photos", "edit").await;
    bob.mount("bob", &link.url).await;
    bob.mkcol("bob", "/d").await;
    bob.ask_as("bob", "MOVE", "/Photos").header("destination", "/remote.php/webdav/d/m").expect(201).await;
    let (home, away) = (bob.data().join("bob"), bob.data().join(".away"));
    std::fs::rename(&home, &away).unwrap();
    let bob = bob.restart().await;
    let services = bob.running().services.clone();
    for _ in 0..2 {
        services.mounting().detach_lost().await;
        services.spaces().sweep().await;
    }
    std::fs::rename(&away, &home).unwrap();
    assert_eq!(bob.get("bob", "/d/m/a.txt").await, "from anna");
    drop(services);
    Pair { anna, bob }.stop().await;
}
