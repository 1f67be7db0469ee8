//! What users paste of links of real servers, and what they are told where such a link cannot be mounted: each server as its wire shows it.

use causeway::domain::Secret;
use causeway::service::Reason;
use causeway::service::admin::{Command, Health, MountRow, Outcome};

use crate::support::federation::names;
use crate::support::peer::host::{Host, Server, Terms};
use crate::support::server::TestServer;

/// A server with the user bob, who may mount what a host has.
async fn guest(host: &Host) -> TestServer {
    let bob = TestServer::with_user("bob").await;
    bob.execute(Command::RemoteAllowPrivate { host: host.name() }).await;
    bob
}

fn add(url: &str, password: Option<&str>) -> Command {
    Command::MountAdd { user: "bob".to_owned(), url: url.to_owned(), name: None, password: password.map(Secret::new) }
}

async fn mount(bob: &TestServer, url: &str, password: Option<&str>) -> MountRow {
    let made = bob.execute(add(url, password)).await;
    let Outcome::Mount(row) = made else { panic!("{made:?}") };
    assert_eq!((row.state.as_str(), row.hint.as_str()), ("online", ""), "{url}");
    row
}

/// What `causeway doctor URL` finds: the code of its only failure.
async fn doctor(bob: &TestServer, url: &str, password: Option<&str>) -> String {
    let rows = bob.running().services.check_link(url, password.map(Secret::new)).await;
    let mut failed = rows.into_iter().filter(|row| row.health == Health::Failed);
    let first = failed.next().unwrap();
    assert!(failed.next().is_none(), "one cause, one row");
    first.code
}

/// Every form in which a link of a server is handed out or found in an address bar.
async fn check_forms(server: Server, web_root: &'static str, forms: &[&str]) {
    let host = Host::start_at(server, Terms::Read, web_root).await;
    let token = host.change(|state| state.token);
    for form in forms {
        let bob = guest(&host).await;
        let url = host.url(&form.replace("TOKEN", token));
        let row = mount(&bob, &url, None).await;
        let path = row.path.unwrap();
        assert!(!path.contains(token), "{form}: a token is no name");
        assert_eq!(names(&bob, "bob", &path).await, ["a.txt", "sub"], "{form}");
        assert_eq!(bob.get("bob", &format!("{path}/sub/b.txt")).await, "beta beta beta", "{form}");
        host.check();
        bob.stop().await;
    }
}

#[tokio::test]
async fn every_form_of_an_owncloud_7_link_is_mounted() {
    check_forms(Server::OwnCloud7, "", &["/public.php?service=files&t=TOKEN", "/public.php?service=files&t=TOKEN&path=%2Fsub"]).await;
    check_forms(Server::OwnCloud7, "/owncloud", &["/public.php?service=files&t=TOKEN", "/index.php/s/TOKEN"]).await;
}

#[tokio::test]
async fn every_form_of_an_owncloud_8_link_is_mounted() {
    check_forms(Server::OwnCloud8, "", &["/index.php/s/TOKEN", "/index.php/s/TOKEN/download", "/public.php?service=files&t=TOKEN"]).await;
    check_forms(Server::OwnCloud8, "/owncloud", &["/index.php/s/TOKEN"]).await;
}

#[tokio::test]
async fn every_form_of_an_owncloud_11_link_is_mounted() {
    check_forms(Server::OwnCloud11, "", &["/s/TOKEN", "/index.php/s/TOKEN", "/remote.php/dav/public-files/TOKEN/"]).await;
    check_forms(Server::OwnCloud11, "/owncloud", &["/index.php/s/TOKEN", "/remote.php/dav/public-files/TOKEN/"]).await;
}

#[tokio::test]
async fn every_form_of_a_nextcloud_link_is_mounted() {
    check_forms(Server::Nextcloud, "", &["/s/TOKEN", "/index.php/s/TOKEN", "/s/TOKEN?path=%2Fsub", "/public.php/dav/files/TOKEN/"]).await;
    check_forms(Server::Nextcloud, "/nextcloud", &["/s/TOKEN", "/public.php/dav/files/TOKEN"]).await;
}

#[tokio::test]
async fn every_form_of_an_ocis_link_is_mounted() {
    check_forms(Server::Ocis, "", &["/s/TOKEN", "/dav/public-files/TOKEN/", "/remote.php/dav/public-files/TOKEN"]).await;
}

#[tokio::test]
async fn the_webdav_address_with_the_token_as_its_user_is_mounted() {
    for server in [Server::OwnCloud7, Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start_at(server, Terms::Read, "/cloud").await;
        let bob = guest(&host).await;
        let token = host.change(|state| state.token);
        let url = host.url("/public.php/webdav/").replace("http://", &format!("http://{token}@"));
        let row = mount(&bob, &url, None).await;
        assert_eq!(names(&bob, "bob", &row.path.unwrap()).await, ["a.txt", "sub"], "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_folder_inside_of_a_link_is_mounted_by_its_webdav_address() {
    for (server, form) in [
        (Server::Nextcloud, "/public.php/dav/files/TOKEN/sub"),
        (Server::OwnCloud11, "/remote.php/dav/public-files/TOKEN/sub/"),
        (Server::Ocis, "/dav/public-files/TOKEN/sub"),
    ] {
        let host = Host::start(server, Terms::Read).await;
        let bob = guest(&host).await;
        let row = mount(&bob, &host.url(&form.replace("TOKEN", host.change(|state| state.token))), None).await;
        assert_eq!(row.path.as_deref(), Some("/sub"), "{server:?}");
        assert_eq!(names(&bob, "bob", "/sub").await, ["b.txt"], "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn what_a_mount_is_of_and_whose_is_told() {
    for (server, vendor, name, owner) in [
        (Server::OwnCloud7, "OwnCloud", "/Photos", "Alice A"),
        (Server::OwnCloud8, "OwnCloud", "/Photos", "Alice A"),
        (Server::OwnCloud11, "OwnCloud", "/Photos", "Alice A"),
        (Server::Nextcloud, "Nextcloud", "/Photos", ""),
    ] {
        let host = Host::start(server, Terms::Read).await;
        let bob = guest(&host).await;
        let row = mount(&bob, &host.link(), None).await;
        assert_eq!((row.vendor.as_str(), row.path.as_deref(), row.owner.as_str()), (vendor, Some(name), owner), "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_link_with_a_password_wants_it_and_takes_no_other() {
    for server in Server::ALL {
        let host = Host::start(server, Terms::Read).await;
        host.change(|state| state.password = Some("sésame, öffne dich"));
        let bob = guest(&host).await;
        let link = host.link();
        bob.refuse(add(&link, None), Reason::NeedsPassword).await;
        let text = bob.refuse(add(&link, Some("wrong")), Reason::Refused).await.text;
        assert!(text.contains("password") && text.contains("wrong"), "{server:?}: {text}");
        assert_eq!(doctor(&bob, &link, Some("wrong")).await, "wrong-password", "{server:?}");
        assert_eq!(doctor(&bob, &link, None).await, "needs-password", "{server:?}");
        let row = mount(&bob, &link, Some("sésame, öffne dich")).await;
        let path = row.path.unwrap();
        if server != Server::Ocis {
            assert_eq!(path, "/Photos", "{server:?}: its page tells no name, its shareinfo does");
        }
        assert_eq!(bob.get("bob", &format!("{path}/a.txt")).await, "alpha", "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_link_to_a_file_is_mounted_as_a_file() {
    for server in [Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud, Server::Ocis] {
        let host = Host::with_file(server, Terms::Edit).await;
        let bob = guest(&host).await;
        let path = mount(&bob, &host.link(), None).await.path.unwrap();
        if server != Server::Ocis {
            assert_eq!(path, "/single.txt", "{server:?}");
        }
        assert_eq!(bob.get("bob", &path).await, "the only one", "{server:?}");
        let part = bob.ask_as("bob", "GET", &path).header("range", "bytes=4-7").expect(206).await.text();
        assert_eq!(part, "only", "{server:?}");
        bob.ask_as("bob", "PUT", &path).body("by bob").expect(204).await;
        assert_eq!(host.text("").as_deref(), Some("by bob"), "{server:?}");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_link_to_a_file_of_owncloud_7_is_refused_in_plain_words() {
    for password in [None, Some("sesame")] {
        let host = Host::with_file(Server::OwnCloud7, Terms::Read).await;
        host.change(|state| state.password = password);
        let bob = guest(&host).await;
        let text = bob.refuse(add(&host.link(), password), Reason::Refused).await.text;
        assert!(text.contains("single file") && text.contains("folder"), "{text}");
        assert_eq!(doctor(&bob, &host.link(), password).await, "single-file");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_shares_with_no_other_server_is_told_from_a_wrong_password() {
    for server in [Server::OwnCloud7, Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud] {
        for password in [None, Some("sesame")] {
            // ownCloud 10 and later serve the newer tree all the same.
            if server == Server::OwnCloud11 {
                continue;
            }
            let host = Host::start(server, Terms::Read).await;
            host.change(|state| (state.outgoing, state.password) = (false, password));
            let bob = guest(&host).await;
            let text = bob.refuse(add(&host.link(), password), Reason::Refused).await.text;
            assert!(text.contains("administrator") && text.contains("outgoing"), "{server:?} {password:?}: {text}");
            assert_eq!(doctor(&bob, &host.link(), password).await, "sharing-off", "{server:?}");
            bob.stop().await;
        }
    }
}

#[tokio::test]
async fn a_link_that_is_gone_is_said_to_be_gone() {
    for server in Server::ALL {
        for (outgoing, without_old_tree) in [(true, false), (false, false), (true, true)] {
            let host = Host::start(server, Terms::Read).await;
            host.change(|state| (state.gone, state.outgoing, state.without_old_tree) = (true, outgoing, without_old_tree));
            let bob = guest(&host).await;
            let text = bob.refuse(add(&host.link(), None), Reason::NotFound).await.text;
            assert!(text.contains("withdrawn or have expired"), "{server:?}: {text}");
            assert_eq!(doctor(&bob, &host.link(), None).await, "link-unknown", "{server:?}");
            bob.stop().await;
        }
    }
}

#[tokio::test]
async fn a_link_for_uploads_cannot_be_mounted_and_the_reason_is_told() {
    for server in [Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start(server, Terms::Drop).await;
        let bob = guest(&host).await;
        let text = bob.refuse(add(&host.link(), None), Reason::Refused).await.text;
        assert!(text.contains("uploads only"), "{server:?}: {text}");
        assert_eq!(doctor(&bob, &host.link(), None).await, "upload-only");
        bob.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_is_maintained_or_has_had_enough_is_asked_again_later() {
    for server in [Server::OwnCloud8, Server::OwnCloud11, Server::Nextcloud] {
        let host = Host::start(server, Terms::Read).await;
        host.change(|state| state.maintenance = true);
        let bob = guest(&host).await;
        let text = bob.refuse(add(&host.link(), None), Reason::RemoteUnreachable).await.text;
        assert!(text.contains("later"), "{server:?}: {text}");
        assert_eq!(doctor(&bob, &host.link(), None).await, "maintenance", "{server:?}");
        bob.stop().await;
    }
    let host = Host::start(Server::Nextcloud, Terms::Read).await;
    host.change(|state| state.throttles = true);
    let bob = guest(&host).await;
    let text = bob.refuse(add(&host.link(), None), Reason::RemoteUnreachable).await.text;
    assert!(text.contains("no more tries") && text.contains("hour"), "{text}");
    assert_eq!(doctor(&bob, &host.link(), None).await, "throttled");
    // Each further request would have made it worse.
    let trees = host.take_seen().into_iter().filter(|seen| seen.method == "PROPFIND").count();
    assert_eq!(trees, 2, "one for each try");
    bob.stop().await;
}

#[tokio::test]
async fn the_doctor_reads_a_file_and_writes_none() {
    for server in Server::ALL {
        let host = Host::start(server, Terms::Edit).await;
        let bob = guest(&host).await;
        let rows = bob.running().services.check_link(&host.link(), None).await;
        let told: Vec<(&str, &str)> = rows.iter().map(|row| (row.name.as_str(), row.text.as_str())).collect();
        assert!(told.contains(&("list", "2 entries")) && told.contains(&("read", "files can be read")), "{server:?}: {told:?}");
        assert!(host.take_seen().iter().all(|seen| matches!(seen.method.as_str(), "GET" | "PROPFIND" | "OPTIONS")), "{server:?}");
        bob.stop().await;
    }
}
