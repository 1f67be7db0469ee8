//! Logins: who gets in, who is slowed down, what nobody is told.

use causeway::config::Network;
use causeway::domain::{Clock, Secret};
use causeway::service::Reason;
use causeway::service::admin::{Command, Outcome};

use crate::support::server::{TestServer, password};

#[tokio::test]
async fn every_root_wants_a_login_and_says_how() {
    let server = TestServer::with_user("anna").await;
    for path in ["/remote.php/webdav/", "/webdav/", "/remote.php/dav/files/anna/", "/dav/files/anna/"] {
        let refused = server.ask("PROPFIND", path).header("depth", "0").expect(401).await;
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Causeway\", charset=\"UTF-8\""));
        let listed = server.ask("PROPFIND", path).header("depth", "0").basic("anna", &password("anna")).expect(207).await;
        assert!(listed.text().contains(&format!("<d:href>{path}</d:href>")), "{}", listed.text());
    }
    server.stop().await;
}

#[tokio::test]
async fn another_users_name_is_404_and_names_ignore_case() {
    let server = TestServer::with_user("anna").await;
    server.add_user("bob").await;
    let ask = |path: &str| server.ask("PROPFIND", path).header("depth", "0").basic("Anna", &password("anna"));
    ask("/remote.php/dav/files/anna/").expect(207).await;
    ask("/remote.php/dav/files/ANNA/").expect(207).await;
    ask("/remote.php/dav/files/bob/").expect(404).await;
    ask("/remote.php/dav/files/nobody/").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn f5_unknown_and_wrong_look_alike() {
    let server = TestServer::with_user("anna").await;
    let wrong = server.ask("GET", "/webdav/").basic("anna", "wrong").expect(401).await;
    let unknown = server.ask("GET", "/webdav/").basic("nobody", "wrong").expect(401).await;
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(wrong.headers.len(), unknown.headers.len());
    server.stop().await;
}

#[tokio::test]
async fn f4_guessing_is_slowed_and_a_client_that_repeats_itself_is_not() {
    let clock = Clock::fixed(1_800_000_000);
    let server = TestServer::start_with(clock, |_config| {}).await;
    server.add_user("anna").await;
    // A sync client with an old password guesses nothing new.
    for _ in 0..50 {
        server.ask("GET", "/webdav/").basic("anna", "the old one").expect(401).await;
    }
    let mut statuses = Vec::new();
    for number in 0..25 {
        statuses.push(server.ask("GET", "/webdav/").basic("anna", &format!("guess {number}")).send().await.status);
    }
    assert!(statuses.iter().take(15).all(|status| *status == 401), "{statuses:?}");
    let slowed = server.ask("GET", "/webdav/").basic("anna", "guess 99").expect(429).await;
    let wait: i64 = slowed.header("retry-after").unwrap().parse().unwrap();
    // Nor does the right password tell that it is right.
    server.ask("GET", "/webdav/").basic("anna", &password("anna")).expect(429).await;
    // And tokens of links are guesses as well.
    server.ask("GET", "/s/abcdefghijklmnopqrstuv").expect(429).await;
    server.clock().advance(wait);
    server.ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", &password("anna")).expect(207).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_the_address_behind_a_trusted_proxy_counts_and_a_forged_one_does_not() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |config| {
        config.trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    })
    .await;
    server.add_user("anna").await;
    for number in 0..25 {
        let guess = server.ask("GET", "/webdav/").basic("anna", &format!("guess {number}"));
        guess.header("x-forwarded-for", "203.0.113.9").send().await;
    }
    let from = |address: &str| {
        server.ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", &password("anna")).header("x-forwarded-for", address)
    };
    from("203.0.113.9").expect(429).await;
    from("203.0.113.10").expect(207).await;
    from("198.51.100.1, 203.0.113.9").expect(429).await;
    server.stop().await;
}

#[tokio::test]
async fn app_passwords_work_until_the_user_goes() {
    let server = TestServer::with_user("anna").await;
    let made = server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: "phone".to_owned() }).await;
    let Outcome::Secret(app) = made else { panic!("{made:?}") };
    assert_eq!(app.expose().split('-').count(), 5, "{}", app.expose());
    let ask = |server: &TestServer| server.ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", app.expose());
    ask(&server).expect(207).await;
    let server = server.restart().await;
    ask(&server).expect(207).await;
    server.execute(Command::UserRemove { name: "anna".to_owned(), purge: false }).await;
    ask(&server).expect(401).await;
    server.stop().await;
}

#[tokio::test]
async fn a_new_password_ends_the_old_one_at_once() {
    let server = TestServer::with_user("anna").await;
    let ask = |password: &str| server.ask("PROPFIND", "/webdav/").header("depth", "0").basic("anna", password);
    ask(&password("anna")).expect(207).await;
    server.execute(Command::UserPassword { name: "anna".to_owned(), password: Secret::new("another") }).await;
    ask(&password("anna")).expect(401).await;
    ask("another").expect(207).await;
    server.stop().await;
}

#[tokio::test]
async fn a_removed_home_is_kept_and_a_new_user_of_the_name_starts_anew() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/a.txt", "mine").await;
    let done = server.execute(Command::UserRemove { name: "anna".to_owned(), purge: false }).await;
    let Outcome::Done(text) = done else { panic!("{done:?}") };
    let folder = text.rsplit(' ').next().unwrap();
    assert_eq!(std::fs::read_to_string(format!("{folder}/a.txt")).unwrap(), "mine", "{text}");
    assert!(folder.contains("/.causeway/removed/anna-"), "{folder}");
    server.add_user("anna").await;
    server.ask_as("anna", "GET", "/a.txt").expect(404).await;
    server.refuse(Command::UserRemove { name: "bob".to_owned(), purge: false }, Reason::NotFound).await;
    server.stop().await;
}

#[tokio::test]
async fn names_are_unique_whatever_their_case_and_cannot_climb() {
    let server = TestServer::with_user("anna").await;
    let add =
        |name: &str| Command::UserAdd { name: name.to_owned(), admin: false, display_name: None, quota: None, password: Secret::new("x") };
    server.refuse(add("ANNA"), Reason::Refused).await;
    for name in ["..", ".causeway", "a/b", "", "a b"] {
        server.refuse(add(name), Reason::Usage).await;
    }
    server.stop().await;
}
