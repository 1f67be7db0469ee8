//! Logging in on the page, what the session is good for, what ends it, and what others try.

use causeway::domain::{Clock, UserName};
use causeway::limits::{SESSION_AGE_MAX_SECONDS, SESSION_IDLE_MAX_SECONDS, SESSION_USE_GRAIN_SECONDS, SESSIONS_PER_USER_MAX};
use causeway::service::admin::{AccountCommand, Command, Outcome};

use crate::support::browsing::{Browser, form_of, location};
use crate::support::server::{Answer, TestServer, password};

const START: i64 = 1_800_000_000;

#[track_caller]
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'nonce-", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

async fn anna_in(server: &TestServer) -> Browser {
    let mut browser = Browser::new();
    let answer = browser.log_in(server, "anna", "/login").await;
    assert_eq!(location(&answer), "/");
    browser
}

#[track_caller]
fn cookie_set<'answer>(answer: &'answer Answer, name: &str) -> &'answer str {
    let all = answer.headers.get_all("set-cookie").into_iter().map(|value| value.to_str().unwrap());
    all.into_iter().find(|set| set.starts_with(&format!("{name}="))).unwrap_or_else(|| panic!("no {name}"))
}

/// Whether the browser still sees the user's page.
async fn is_in(browser: &Browser, server: &TestServer) -> bool {
    let mut browser = browser.clone();
    let session = browser.session(server).unwrap().to_owned();
    browser.set_session(server, &session);
    let answer = server.ask("GET", "/").header("accept", "text/html").header("cookie", &format!("causeway_session={session}")).send().await;
    match answer.status {
        200 => true,
        303 => {
            assert_eq!(location(&answer), "/login?to=%2F");
            false
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test]
async fn a_user_logs_in_on_the_page_and_out_again() {
    let server = TestServer::with_user("anna").await;
    let mut browser = Browser::new();
    assert_eq!(location(&browser.open(&server, "/", 303).await), "/login?to=%2F");
    let page = browser.open(&server, "/login?to=%2F", 200).await;
    is_guarded(&page);
    assert!(cookie_set(&page, "causeway_form").contains("SameSite=Strict"));
    let form = form_of(&page.text(), "/login").with("user", "Anna").with("password", "wrong");
    let again = browser.send(&server, &form, 403).await;
    is_guarded(&again);
    assert!(again.text().contains("Name or password are wrong") && again.text().contains("value=\"Anna\""), "{}", again.text());
    let form = form_of(&again.text(), "/login").with("user", "Anna").with("password", &password("anna"));
    let done = browser.send(&server, &form, 303).await;
    let set = cookie_set(&done, "causeway_session");
    assert!(set.contains("; HttpOnly") && set.contains("SameSite=Lax") && set.contains("; Path=/;") && !set.contains("Secure"), "{set}");
    let start = browser.open(&server, &location(&done), 200).await;
    is_guarded(&start);
    assert!(start.text().contains("Logged in as anna"), "{}", start.text());
    assert!(start.text().contains(&format!("http://{}/remote.php/webdav/", server.host())), "{}", start.text());
    let session = browser.session(&server).unwrap().to_owned();
    let out = browser.send(&server, &form_of(&start.text(), "/logout"), 303).await;
    assert_eq!(location(&out), "/login");
    assert!(browser.session(&server).is_none());
    browser.set_session(&server, &session);
    assert_eq!(location(&browser.open(&server, "/", 303).await), "/login?to=%2F", "the old cookie opens nothing");
    server.stop().await;
}

#[tokio::test]
async fn clients_find_the_root_as_it_was() {
    let server = TestServer::with_user("anna").await;
    let plain = server.ask("GET", "/").expect(200).await;
    assert!(plain.header("content-type").unwrap().starts_with("text/plain"));
    server.ask("GET", "/").header("accept", "*/*").expect(200).await;
    assert_eq!(server.ask("OPTIONS", "/").header("accept", "text/html").expect(200).await.header("dav"), Some("1, 2, 3"));
    server.ask("PROPFIND", "/").expect(405).await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_opens_no_webdav_and_no_ocs() {
    let server = TestServer::with_user("anna").await;
    let browser = anna_in(&server).await;
    let cookie = format!("causeway_session={}", browser.session(&server).unwrap());
    for (method, path) in
        [("PROPFIND", "/remote.php/webdav/"), ("GET", "/ocs/v2.php/cloud/user"), ("DELETE", "/remote.php/dav/files/anna/a")]
    {
        server.ask(method, path).header("cookie", &cookie).expect(401).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn l1_a_login_makes_a_new_session_whatever_cookie_comes_with_it() {
    let server = TestServer::with_user("anna").await;
    let mut browser = Browser::new();
    // Planted by somebody else, who would know it afterwards.
    browser.set_session(&server, &"a".repeat(64));
    browser.log_in(&server, "anna", "/login").await;
    let first = browser.clone();
    assert_ne!(first.session(&server), Some("a".repeat(64).as_str()));
    let mut planted = Browser::new();
    planted.set_session(&server, &"a".repeat(64));
    assert!(!is_in(&planted, &server).await);
    // A second login in the same browser ends the first session.
    let again = form_of(&Browser::new().open(&server, "/login", 200).await.text(), "/login");
    assert!(again.fields["requesttoken"].len() == 64);
    let mut other = Browser::new();
    other.log_in(&server, "anna", "/login").await;
    let mut relogin = Browser::new();
    let page = relogin.open(&server, "/login", 200).await;
    relogin.set_session(&server, first.session(&server).unwrap());
    let form = form_of(&page.text(), "/login").with("user", "anna").with("password", &password("anna"));
    relogin.send(&server, &form, 303).await;
    assert!(!is_in(&first, &server).await && is_in(&relogin, &server).await && is_in(&other, &server).await);
    server.stop().await;
}

#[tokio::test]
async fn l1_sessions_end_with_the_password_the_account_and_its_enabling() {
    let server = TestServer::with_user("anna").await;
    server.add_user("carol").await;
    let mut carol = Browser::new();
    carol.log_in(&server, "carol", "/login").await;
    let account = |what| Command::Account { name: "anna".to_owned(), what };

    let browser = anna_in(&server).await;
    server.execute(account(AccountCommand::Enable(false))).await;
    server.execute(account(AccountCommand::Enable(true))).await;
    assert!(!is_in(&browser, &server).await, "disabled in between");

    let browser = anna_in(&server).await;
    let same = causeway::domain::Secret::new(password("anna"));
    server.execute(Command::UserPassword { name: "anna".to_owned(), password: same }).await;
    assert!(!is_in(&browser, &server).await, "the password was changed");

    let browser = anna_in(&server).await;
    server.execute(Command::UserRemove { name: "anna".to_owned(), purge: true }).await;
    assert!(!is_in(&browser, &server).await);
    server.add_user("anna").await;
    assert!(!is_in(&browser, &server).await, "another account of the same name");
    assert!(is_in(&carol, &server).await, "others stay");
    server.stop().await;
}

#[tokio::test]
async fn sessions_outlive_a_restart_and_end_with_their_time() {
    let clock = Clock::fixed(START);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    let session = anna_in(&server).await.session(&server).unwrap().to_owned();
    let server = server.restart().await;
    let mut browser = Browser::new();
    browser.set_session(&server, &session);
    assert!(is_in(&browser, &server).await);
    // In use, it lives on beyond the idle time, and its last use outlives a restart.
    let mut lived = 0;
    while lived + SESSION_IDLE_MAX_SECONDS <= SESSION_AGE_MAX_SECONDS {
        clock.advance(SESSION_IDLE_MAX_SECONDS - SESSION_USE_GRAIN_SECONDS);
        lived += SESSION_IDLE_MAX_SECONDS - SESSION_USE_GRAIN_SECONDS;
        assert!(is_in(&browser, &server).await, "after {lived} s");
    }
    clock.advance(SESSION_AGE_MAX_SECONDS - lived);
    assert!(!is_in(&browser, &server).await, "not beyond its age");

    let session = anna_in(&server).await.session(&server).unwrap().to_owned();
    clock.advance(SESSION_IDLE_MAX_SECONDS);
    browser.set_session(&server, &session);
    assert!(!is_in(&browser, &server).await, "not unused so long");
    server.stop().await;
}

#[tokio::test]
async fn an_account_has_so_many_sessions_and_they_are_listed_and_ended() {
    let clock = Clock::fixed(START);
    let server = TestServer::start_with(clock.clone(), |_config| {}).await;
    server.add_user("anna").await;
    let mut browsers = Vec::new();
    for _ in 0..=SESSIONS_PER_USER_MAX {
        browsers.push(anna_in(&server).await);
        clock.advance(1);
    }
    assert!(!is_in(&browsers[0], &server).await, "the one that was used least recently");
    assert!(is_in(&browsers[1], &server).await);
    let (sessions, anna) = (server.running().services.sessions(), UserName::parse("anna").unwrap());
    let listed = sessions.list(&anna);
    assert_eq!(listed.len(), SESSIONS_PER_USER_MAX);
    assert_eq!(listed[0].browser, "Mozilla/5.0 (Test)");
    assert_eq!(listed[0].created, START + i64::try_from(SESSIONS_PER_USER_MAX).unwrap());
    assert_eq!(sessions.end_all(&anna).await.unwrap(), SESSIONS_PER_USER_MAX);
    assert!(!is_in(&browsers[SESSIONS_PER_USER_MAX], &server).await);
    let server = server.restart().await;
    assert!(server.running().services.sessions().list(&anna).is_empty());
    server.stop().await;
}

#[tokio::test]
async fn an_app_password_opens_no_session() {
    let server = TestServer::with_user("anna").await;
    let made = server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: String::new() }).await;
    let Outcome::Secret(app) = made else { panic!("{made:?}") };
    let mut browser = Browser::new();
    let form = form_of(&browser.open(&server, "/login", 200).await.text(), "/login").with("user", "anna").with("password", app.expose());
    let refused = browser.send(&server, &form, 403).await;
    assert!(refused.text().contains("password of one device") && browser.session(&server).is_none(), "{}", refused.text());
    server.stop().await;
}

#[tokio::test]
async fn f4_guesses_on_the_page_are_slowed_equally_for_everybody() {
    for name in ["anna", "nobody"] {
        let server = TestServer::with_user("anna").await;
        let mut browser = Browser::new();
        let form = form_of(&browser.open(&server, "/login", 200).await.text(), "/login").with("user", name);
        let mut texts = Vec::new();
        for number in 0..20 {
            let refused = browser.send(&server, &form.clone().with("password", &format!("guess {number}")), 403).await;
            texts.push(refused.text());
        }
        assert!(texts.iter().all(|text| text.contains("Name or password are wrong")), "{name}");
        let slowed = browser.send(&server, &form.clone().with("password", "guess"), 429).await;
        assert!(slowed.header("retry-after").is_some() && slowed.text().contains("Too many failed logins"), "{name}");
        server.stop().await;
    }
}

#[tokio::test]
async fn l7_a_login_leads_nowhere_else() {
    let server = TestServer::with_user("anna").await;
    for to in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2F.%2F%2Fevil.example",
        "javascript%3Aalert(1)",
        "%2Fa%0D%0Ab",
    ] {
        let mut browser = Browser::new();
        let answer = browser.log_in(&server, "anna", &format!("/login?to={to}")).await;
        assert_eq!(location(&answer), "/", "{to}");
        // Nor does the page, to who is logged in already, nor a form with another place in it.
        assert_eq!(location(&browser.open(&server, &format!("/login?to={to}"), 303).await), "/", "{to}");
    }
    let mut browser = Browser::new();
    let form = form_of(&browser.open(&server, "/login", 200).await.text(), "/login");
    let form = form.with("user", "anna").with("password", &password("anna")).with("to", "//evil.example");
    assert_eq!(location(&browser.send(&server, &form, 303).await), "/");
    server.stop().await;
}

#[tokio::test]
async fn l7_other_sites_log_nobody_in_or_out() {
    let server = TestServer::with_user("anna").await;
    let mut browser = Browser::new();
    let page = browser.open(&server, "/login", 200).await.text();
    let form = form_of(&page, "/login").with("user", "anna").with("password", &password("anna"));
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        let refused = browser.send_from(&server, &form, headers, 403).await;
        assert!(refused.text().contains("did not come from a page of this server"), "{}", refused.text());
    }
    // Without the page's own token, or with that of another visitor.
    let stranger = form_of(&Browser::new().open(&server, "/login", 200).await.text(), "/login").fields["requesttoken"].clone();
    for token in ["", "00", &stranger] {
        let refused = browser.send(&server, &form.clone().with("requesttoken", token), 403).await;
        assert!(refused.text().contains("open too long") && browser.session(&server).is_none(), "{}", refused.text());
    }
    browser.send(&server, &form, 303).await;
    let start = browser.open(&server, "/", 200).await.text();
    let out = form_of(&start, "/logout");
    browser.send_from(&server, &out, &[("origin", "https://evil.example")], 403).await;
    let other = anna_in(&server).await;
    let others = form_of(&other.clone().open(&server, "/", 200).await.text(), "/logout").fields["requesttoken"].clone();
    for token in ["", &stranger, &others] {
        browser.send(&server, &out.clone().with("requesttoken", token), 403).await;
    }
    browser.open(&server, "/logout", 303).await;
    assert!(is_in(&browser, &server).await, "an address that is opened ends nothing");
    browser.send(&server, &out, 303).await;
    server.stop().await;
}

#[tokio::test]
async fn l1_by_https_the_cookie_stays_there() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(causeway::config::PublicUrl::parse("https://cloud.example").unwrap());
    })
    .await;
    server.add_user("anna").await;
    let page = server.ask("GET", "/login").expect(200).await;
    let set = cookie_set(&page, "__Host-causeway_form").to_owned();
    assert!(set.contains("; Secure") && set.contains("; Path=/;"), "{set}");
    let form = form_of(&page.text(), "/login").with("user", "anna").with("password", &password("anna"));
    let cookie = set.split(';').next().unwrap();
    let done = server.ask("POST", "/login").header("cookie", cookie).body(form.body()).expect(303).await;
    let session = cookie_set(&done, "__Host-causeway_session");
    assert!(session.contains("; Secure") && session.contains("; HttpOnly"), "{session}");
    // A cookie that another host of the domain could have set is not looked at.
    let value = session.split(';').next().unwrap().split_once('=').unwrap().1;
    server.ask("GET", "/").header("accept", "text/html").header("cookie", &format!("causeway_session={value}")).expect(303).await;
    server.ask("GET", "/").header("accept", "text/html").header("cookie", &format!("__Host-causeway_session={value}")).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn pages_speak_the_readers_language_and_load_from_here_alone() {
    let server = TestServer::with_user("anna").await;
    let page = server.ask("GET", "/login").header("accept-language", "de-DE,de;q=0.9,en;q=0.5").expect(200).await.text();
    assert!(page.contains("<html lang=\"de\"") && page.contains("Kontoname"), "{page}");
    let page = server.ask("GET", "/index.php/login").header("accept-language", "fr").expect(200).await.text();
    assert!(page.contains("<html lang=\"en\"") && page.contains("Account name"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("style=") && !page.contains("onclick"), "{page}");
    for attribute in ["rel=\"stylesheet\" href=\"", "type=\"image/svg+xml\" href=\"", " src=\""] {
        let path = page.split_once(attribute).unwrap().1.split('"').next().unwrap();
        let asset = server.ask("GET", path).expect(200).await;
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"));
        assert!(!asset.body.is_empty());
    }
    server.ask("GET", "/assets/style.css").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn pages_say_that_the_server_is_being_maintained() {
    let server = TestServer::with_user("anna").await;
    let browser = anna_in(&server).await;
    server.execute(Command::Maintenance { on: Some(true) }).await;
    let closed = browser.clone().open(&server, "/", 503).await;
    assert!(closed.text().contains("maintained") && closed.header("retry-after").is_some());
    server.ask("GET", "/login").expect(503).await;
    server.execute(Command::Maintenance { on: Some(false) }).await;
    assert!(is_in(&browser, &server).await);
    server.stop().await;
}
