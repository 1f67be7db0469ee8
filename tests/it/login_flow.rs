//! Login flow v2 as a client and a browser go through it, and what others try on the way.

use causeway::config::PublicUrl;
use causeway::domain::Clock;
use causeway::limits::{APP_PASSWORDS_MAX, LOGIN_FLOW_SECONDS, LOGIN_FLOWS_PER_ADDRESS_MAX};
use causeway::service::admin::{AccountCommand, Command, Outcome};

use crate::ocs::json;
use crate::support::server::{Answer, Ask, TestServer, password};

/// A flow that a client has begun.
struct Flow {
    poll: String,
    /// Path of the page.
    page: String,
}

async fn begin(server: &TestServer) -> Flow {
    let answer = server.ask("POST", "/index.php/login/v2").header("user-agent", "vm (Desktop Client - Linux)").expect(200).await;
    let started = json(&answer);
    let base = format!("http://{}", server.host());
    assert_eq!(started["poll"]["endpoint"], format!("{base}/login/v2/poll"));
    let page = started["login"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned();
    let poll = started["poll"]["token"].as_str().unwrap().to_owned();
    assert!(poll.len() >= 32 && page.len() > 32 && !page.contains(&poll));
    Flow { poll, page }
}

fn form(server: &TestServer, path: &str, body: &str) -> Ask {
    server.ask("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body)
}

fn poll(server: &TestServer, flow: &Flow) -> Ask {
    form(server, "/login/v2/poll", &format!("token={}", flow.poll))
}

fn sign_in(server: &TestServer, flow: &Flow, name: &str, password: &str) -> Ask {
    let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("user", name).append_pair("password", password).finish();
    form(server, &flow.page, &body)
}

fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn state(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"state\" value=\"").unwrap_or_else(|| panic!("{page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Signs in as anna and opens the page with the button; the cookie and what its form carries.
async fn at_the_button(server: &TestServer, flow: &Flow) -> (String, String) {
    let signed = sign_in(server, flow, "anna", &password("anna")).expect(303).await;
    let cookie = cookie(&signed);
    let place = signed.header("location").unwrap().to_owned();
    let page = server.ask("GET", &place).header("cookie", &cookie).expect(200).await;
    (cookie, state(&page.text()))
}

fn press(server: &TestServer, flow: &Flow, cookie: &str, state: &str) -> Ask {
    form(server, &format!("{}/grant", flow.page), &format!("state={state}")).header("cookie", cookie)
}

async fn with_anna() -> TestServer {
    TestServer::with_user("anna").await
}

/// The labels of anna's app passwords.
async fn labels(server: &TestServer) -> Vec<String> {
    let listed = server.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::AppPasswords }).await;
    let Outcome::AppPasswords(rows) = listed else { panic!("{listed:?}") };
    rows.into_iter().map(|row| row.label).collect()
}

#[track_caller]
fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn a_client_gets_a_password_of_its_own_through_the_browser() {
    let server = with_anna().await;
    let flow = begin(&server).await;
    let pending = poll(&server, &flow).expect(404).await;
    assert_eq!(pending.text(), "[]");
    let first = server.ask("GET", &flow.page).expect(200).await;
    assert!(first.text().contains("vm (Desktop Client - Linux)") && first.text().contains("type=\"password\""), "{}", first.text());
    is_guarded(&first);
    let signed = sign_in(&server, &flow, "Anna", &password("anna"))
        .header("sec-fetch-site", "same-origin")
        .header("origin", "null")
        .expect(303)
        .await;
    is_guarded(&signed);
    let set = signed.header("set-cookie").unwrap();
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict") && !set.contains("Secure"), "{set}");
    assert!(set.contains(&format!("; Path={};", flow.page)), "{set}");
    let place = signed.header("location").unwrap().to_owned();
    let button = server.ask("GET", &place).header("cookie", &format!("other=1; {}", cookie(&signed))).expect(200).await;
    is_guarded(&button);
    assert!(button.text().contains("Grant access") && button.text().contains("<strong>anna</strong>"), "{}", button.text());
    poll(&server, &flow).expect(404).await;
    let done = press(&server, &flow, &cookie(&signed), &state(&button.text())).expect(200).await;
    is_guarded(&done);
    assert!(labels(&server).await.is_empty(), "nothing is made before the client fetches it");
    let granted = poll(&server, &flow).expect(200).await;
    assert!(granted.header("cache-control").unwrap().contains("no-store"));
    let granted = json(&granted);
    assert_eq!((&granted["server"], &granted["loginName"]), (&format!("http://{}", server.host()).into(), &"anna".into()));
    let app = granted["appPassword"].as_str().unwrap();
    server.ask("PROPFIND", "/remote.php/dav/files/anna/").header("depth", "0").basic("anna", app).expect(207).await;
    assert_eq!(labels(&server).await, ["vm (Desktop Client - Linux)"]);
    server.stop().await;
}

#[tokio::test]
async fn the_password_is_handed_out_once() {
    let server = with_anna().await;
    let flow = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &flow).await;
    press(&server, &flow, &cookie, &state).expect(200).await;
    poll(&server, &flow).expect(200).await;
    assert_eq!(poll(&server, &flow).expect(404).await.text(), "[]");
    server.ask("GET", &flow.page).expect(404).await;
    sign_in(&server, &flow, "anna", &password("anna")).expect(404).await;
    press(&server, &flow, &cookie, &state).expect(403).await;
    assert_eq!(labels(&server).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn l7_the_button_works_once_for_its_page_and_its_browser() {
    let server = with_anna().await;
    let (flow, other) = (begin(&server).await, begin(&server).await);
    let (cookie, state) = at_the_button(&server, &flow).await;
    let (others_cookie, others_state) = at_the_button(&server, &other).await;
    press(&server, &flow, &cookie, "").expect(403).await;
    form(&server, &format!("{}/grant", flow.page), "").header("cookie", &cookie).expect(403).await;
    form(&server, &format!("{}/grant", flow.page), &format!("state={state}")).expect(403).await;
    press(&server, &flow, &cookie, &others_state).expect(403).await;
    press(&server, &flow, &others_cookie, &state).expect(403).await;
    press(&server, &flow, &others_cookie, &others_state).expect(403).await;
    press(&server, &other, &cookie, &state).expect(403).await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")] {
        press(&server, &flow, &cookie, &state).header(name, value).expect(403).await;
        sign_in(&server, &flow, "anna", &password("anna")).header(name, value).expect(403).await;
    }
    poll(&server, &flow).expect(404).await;
    press(&server, &flow, &cookie, &state).expect(200).await;
    press(&server, &flow, &cookie, &state).expect(403).await;
    poll(&server, &other).expect(404).await;
    poll(&server, &flow).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn l7_without_the_cookie_there_is_no_button() {
    let server = with_anna().await;
    let flow = begin(&server).await;
    at_the_button(&server, &flow).await;
    let turned = server.ask("GET", &format!("{}/grant", flow.page)).expect(303).await;
    assert_eq!(turned.header("location"), Some(flow.page.as_str()));
    assert_eq!(turned.header("set-cookie"), None);
    // Whoever signs in later takes the flow over; the earlier cookie is worth nothing.
    let (first, state) = at_the_button(&server, &flow).await;
    at_the_button(&server, &flow).await;
    press(&server, &flow, &first, &state).expect(403).await;
    server.stop().await;
}

#[tokio::test]
async fn f4_passwords_on_the_page_count_like_any_other() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |_config| {}).await;
    server.add_user("anna").await;
    let flow = begin(&server).await;
    for number in 0..20 {
        let again = sign_in(&server, &flow, "anna", &format!("guess {number}")).expect(403).await;
        assert!(again.text().contains("wrong") && again.header("set-cookie").is_none());
        is_guarded(&again);
    }
    let slowed = sign_in(&server, &flow, "anna", &password("anna")).expect(429).await;
    assert!(slowed.header("retry-after").is_some());
    server.ask("GET", "/webdav/").basic("anna", &password("anna")).expect(429).await;
    server.stop().await;
}

#[tokio::test]
async fn an_app_password_grants_no_other() {
    let server = with_anna().await;
    let made = server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: "lost phone".to_owned() }).await;
    let Outcome::Secret(app) = made else { panic!("{made:?}") };
    let flow = begin(&server).await;
    let refused = sign_in(&server, &flow, "anna", app.expose()).expect(403).await;
    assert_eq!(refused.header("set-cookie"), None);
    server.stop().await;
}

#[tokio::test]
async fn flows_end_after_twenty_minutes() {
    let server = TestServer::start_with(Clock::fixed(1_800_000_000), |_config| {}).await;
    server.add_user("anna").await;
    let flow = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &flow).await;
    server.clock().advance(LOGIN_FLOW_SECONDS - 1);
    server.ask("GET", &flow.page).expect(200).await;
    server.clock().advance(1);
    server.ask("GET", &flow.page).expect(404).await;
    sign_in(&server, &flow, "anna", &password("anna")).expect(404).await;
    press(&server, &flow, &cookie, &state).expect(403).await;
    let late = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &late).await;
    press(&server, &late, &cookie, &state).expect(200).await;
    server.clock().advance(LOGIN_FLOW_SECONDS);
    poll(&server, &late).expect(404).await;
    assert!(labels(&server).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn who_opens_flows_without_end_keeps_nobody_else_out() {
    let server = with_anna().await;
    let (signed, granted, idle) = (begin(&server).await, begin(&server).await, begin(&server).await);
    let (signed_cookie, signed_state) = at_the_button(&server, &signed).await;
    let (cookie, state) = at_the_button(&server, &granted).await;
    press(&server, &granted, &cookie, &state).expect(200).await;
    for _ in 0..LOGIN_FLOWS_PER_ADDRESS_MAX {
        begin(&server).await;
    }
    server.ask("GET", &idle.page).expect(404).await;
    let late = begin(&server).await;
    server.ask("GET", &late.page).expect(200).await;
    press(&server, &signed, &signed_cookie, &signed_state).expect(200).await;
    poll(&server, &signed).expect(200).await;
    poll(&server, &granted).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn a_grant_is_kept_until_its_password_can_be_made() {
    let server = with_anna().await;
    let flow = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &flow).await;
    let make = async || {
        server.execute(Command::UserAppPassword { name: "anna".to_owned(), label: "old".to_owned() }).await;
    };
    for _ in 1..APP_PASSWORDS_MAX {
        make().await;
    }
    press(&server, &flow, &cookie, &state).expect(200).await;
    make().await;
    poll(&server, &flow).expect(404).await;
    // Who would get nothing is told so, where something can be done about it.
    let full = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &full).await;
    let refused = press(&server, &full, &cookie, &state).expect(403).await;
    is_guarded(&refused);
    assert!(refused.text().contains("too many app passwords"), "{}", refused.text());
    poll(&server, &full).expect(404).await;
    let listed = server.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::AppPasswords }).await;
    let Outcome::AppPasswords(rows) = listed else { panic!("{listed:?}") };
    for row in &rows[..2] {
        server.execute(Command::Account { name: "anna".to_owned(), what: AccountCommand::Revoke { id: row.id } }).await;
    }
    poll(&server, &flow).expect(200).await;
    poll(&server, &flow).expect(404).await;
    press(&server, &full, &cookie, &state).expect(200).await;
    poll(&server, &full).expect(200).await;
    server.stop().await;
}

#[tokio::test]
async fn l5_what_a_client_calls_itself_is_text() {
    let server = with_anna().await;
    let answer = server.ask("POST", "/login/v2").header("user-agent", "<script>alert(1)</script>").expect(200).await;
    let page = json(&answer)["login"].as_str().unwrap().splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
    let text = server.ask("GET", &page).expect(200).await.text();
    assert!(!text.contains("<script") && text.contains("alert(1)"), "{text}");
    server.stop().await;
}

/// Begins as a client that found the server under another name.
async fn begin_at(server: &TestServer, path: &str, host: &str) -> serde_json::Value {
    let request = http::Request::builder().method("POST").uri(path).header("host", host);
    let request = request.body(http_body_util::Full::new(bytes::Bytes::new())).unwrap();
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    json(&crate::support::server::send_on(stream, request).await)
}

#[tokio::test]
async fn a_server_that_was_not_told_its_address_goes_by_the_clients() {
    let server = with_anna().await;
    let started = begin_at(&server, "/login/v2", "nas.local:8080").await;
    assert_eq!(started["poll"]["endpoint"], "http://nas.local:8080/login/v2/poll");
    let started = begin_at(&server, "/login/v2", "user@nas.local").await;
    assert_eq!(started["poll"]["endpoint"], format!("http://{}/login/v2/poll", server.host()));
    server.stop().await;
}

#[tokio::test]
async fn l10_a_forged_host_turns_nobody_away() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(PublicUrl::parse("https://cloud.example/files").unwrap());
    })
    .await;
    server.add_user("anna").await;
    let started = begin_at(&server, "/files/index.php/login/v2", "evil.example").await;
    let login = started["login"].as_str().unwrap();
    assert!(login.starts_with("https://cloud.example/files/login/v2/flow/"), "{login}");
    assert_eq!(started["poll"]["endpoint"], "https://cloud.example/files/login/v2/poll");
    // The proxy may have taken the prefix off or not; pages and cookie know it either way, and https makes the cookie secure.
    let page = login.strip_prefix("https://cloud.example").unwrap().to_owned();
    for path in [page.clone(), page.strip_prefix("/files").unwrap().to_owned()] {
        let text = server.ask("GET", &path).expect(200).await.text();
        assert!(text.contains(&format!("action=\"{page}\"")), "{text}");
        let signed = sign_in(&server, &Flow { poll: String::new(), page: path }, "anna", &password("anna")).expect(303).await;
        assert_eq!(signed.header("location"), Some(format!("{page}/grant").as_str()));
        let set = signed.header("set-cookie").unwrap();
        assert!(set.contains("; Secure") && set.contains(&format!("; Path={page};")), "{set}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_user_who_goes_meanwhile_grants_nothing() {
    let server = with_anna().await;
    let flow = begin(&server).await;
    let (cookie, state) = at_the_button(&server, &flow).await;
    press(&server, &flow, &cookie, &state).expect(200).await;
    server.execute(Command::UserRemove { name: "anna".to_owned(), purge: false }).await;
    poll(&server, &flow).expect(404).await;
    server.stop().await;
}
