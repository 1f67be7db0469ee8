//! "Add to your server" between two servers, as a browser without scripts goes through it, and what others try.

use causeway::domain::Secret;
use causeway::service::admin::{Command, LinkTerms};

use crate::support::browsing::{Browser, PageForm, form_of, location, unescaped};
use crate::support::federation::{mounts, names};
use crate::support::server::{Pair, TestServer};
use crate::support::sharing::share;

/// The path and query of an absolute address at a server.
#[track_caller]
fn at<'url>(server: &TestServer, url: &'url str) -> &'url str {
    url.strip_prefix(&format!("http://{}", server.host())).unwrap_or_else(|| panic!("{url}"))
}

/// Two servers, and what anna shares.
async fn shared(terms: LinkTerms) -> (Pair, String) {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    let link = pair.anna.link_with("anna", "/Photos", terms).await;
    let page = at(&pair.anna, &link.url).to_owned();
    (pair, page)
}

/// Sends bob from the link's page to his own server; where he lands.
async fn taken(pair: &Pair, browser: &mut Browser, page: &str, address: &str) -> String {
    let shown = browser.open(&pair.anna, page, 200).await.text();
    assert!(shown.contains(&format!("href=\"{page}/add\"")) && shown.contains("Add to your server"), "{shown}");
    let form = form_of(&browser.open(&pair.anna, &format!("{page}/add"), 200).await.text(), "/add").with("address", address);
    let sent = browser.send(&pair.anna, &form, 303).await;
    at(&pair.bob, &location(&sent)).to_owned()
}

/// The query of a dialogue for a link.
fn query(remote: &str, token: &str, name: &str, protected: &str) -> String {
    let pairs = [("remote", remote), ("token", token), ("owner", "anna"), ("name", name), ("protected", protected)];
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn token_of(page: &str) -> &str {
    page.rsplit('/').next().unwrap()
}

async fn bob_in(pair: &Pair) -> Browser {
    let mut browser = Browser::new();
    browser.log_in(&pair.bob, "bob", "/login").await;
    browser
}

async fn dialogue(pair: &Pair, browser: &mut Browser, query: &str) -> PageForm {
    let page = browser.open(&pair.bob, &format!("/index.php/apps/files?{query}"), 200).await;
    form_of(&page.text(), "/external")
}

#[tokio::test]
async fn a_link_of_one_server_is_added_on_another_by_its_pages() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = Browser::new();
    let place = taken(&pair, &mut browser, &page, &pair.bob.host()).await;
    assert!(place.starts_with("/index.php/apps/files/?remote=http%3A%2F%2F") && place.contains("protected=0"), "{place}");
    // Not logged in: first that, then back with the same share.
    let login = location(&browser.open(&pair.bob, &place, 303).await);
    assert!(login.starts_with("/login?to=%2Findex%2Ephp"), "{login}");
    let back = location(&browser.log_in(&pair.bob, "bob", &login).await);
    let asked = browser.open(&pair.bob, &back, 200).await.text();
    let question = format!("Do you want to add the remote share Photos from anna@{}?", pair.anna.host());
    assert!(asked.contains(&question) && asked.contains("Add remote share</button>") && !asked.contains("type=\"password\""), "{asked}");
    assert!(mounts(&pair.bob, "bob").await.is_empty(), "nothing is added without the click");
    let added = browser.send(&pair.bob, &form_of(&asked, "/external"), 303).await;
    let start = browser.open(&pair.bob, &location(&added), 200).await.text();
    assert!(start.contains("The remote share is in your files now: /Photos"), "{start}");
    assert!(start.contains(&format!("anna@{}", pair.anna.host())) && start.contains("online"), "{start}");
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    // The address is remembered.
    let again = browser.open(&pair.anna, &format!("{page}/add"), 200).await.text();
    assert!(again.contains(&format!("value=\"{}\"", pair.bob.host())), "{again}");
    pair.stop().await;
}

#[tokio::test]
async fn a_protected_link_asks_until_its_password_is_right() {
    let terms = LinkTerms { password: Some(Secret::new("Link pass")), ..LinkTerms::default() };
    let (pair, page) = shared(terms).await;
    let mut browser = Browser::new();
    browser.open(&pair.anna, &format!("{page}/add"), 200).await;
    let closed = browser.open(&pair.anna, &format!("{page}/add"), 200).await.text();
    assert!(!closed.contains("Photos") && !closed.contains("Your server"), "the name is not told before the password: {closed}");
    let form = form_of(&closed, "/authenticate").with("password", "Link pass");
    browser.send(&pair.anna, &form, 303).await;
    let place = taken(&pair, &mut browser, &page, &format!("http://{}/index.php/apps/files/", pair.bob.host())).await;
    assert!(place.contains("protected=1"), "{place}");
    let login = location(&browser.open(&pair.bob, &place, 303).await);
    let back = location(&browser.log_in(&pair.bob, "bob", &login).await);
    let asked = browser.open(&pair.bob, &back, 200).await.text();
    assert!(asked.contains("type=\"password\""), "{asked}");
    let form = form_of(&asked, "/external");
    let wrong = browser.send(&pair.bob, &form.clone().with("password", "wrong"), 403).await.text();
    assert!(
        wrong.contains("The password is wrong") && wrong.contains("type=\"password\"") && !wrong.contains("value=\"wrong\""),
        "{wrong}"
    );
    let without = browser.send(&pair.bob, &form.with("password", ""), 403).await.text();
    assert!(without.contains("Please enter its password"), "{without}");
    assert!(mounts(&pair.bob, "bob").await.is_empty());
    browser.send(&pair.bob, &form_of(&without, "/external").with("password", "Link pass"), 303).await;
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    pair.stop().await;
}

#[tokio::test]
async fn a_share_whose_server_did_not_say_that_it_is_protected_asks_for_the_password() {
    let terms = LinkTerms { password: Some(Secret::new("Link pass")), ..LinkTerms::default() };
    let (pair, page) = shared(terms).await;
    let mut browser = bob_in(&pair).await;
    let form = dialogue(&pair, &mut browser, &query(&format!("http://{}", pair.anna.host()), token_of(&page), "Photos", "0")).await;
    let asked = browser.send(&pair.bob, &form, 403).await.text();
    browser.send(&pair.bob, &form_of(&asked, "/external").with("password", "Link pass"), 303).await;
    assert_eq!(names(&pair.bob, "bob", "/").await, ["Photos"]);
    pair.stop().await;
}

#[tokio::test]
async fn names_that_are_taken_and_names_that_hurt_are_added_as_they_are_shown() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = bob_in(&pair).await;
    let remote = format!("http://{}/", pair.anna.host());
    for (name, hangs) in [
        ("Photos", "Photos"),
        ("Photos", "Photos (2)"),
        ("a<b>&\"'#?%41\u{1f600}", "a<b>&\"'#?%41\u{1f600}"),
        ("", "Photos (3)"),
        ("../x", "..x"),
    ] {
        let form = dialogue(&pair, &mut browser, &query(&remote, token_of(&page), name, "0")).await;
        let added = browser.send(&pair.bob, &form, 303).await;
        let start = unescaped(&browser.open(&pair.bob, &location(&added), 200).await.text());
        assert!(start.contains(&format!("in your files now: /{hangs}<")), "{name}: {start}");
    }
    assert_eq!(mounts(&pair.bob, "bob").await.len(), 5);
    pair.stop().await;
}

#[tokio::test]
async fn the_dialogue_opens_at_every_place_that_servers_know() {
    let pair = Pair::start().await;
    let mut browser = bob_in(&pair).await;
    let query = query("https://cloud.example/oc", "Tok3n", "Photos", "1");
    for place in ["/", "/index.php", "/index.php/apps/files", "/index.php/apps/files/", "/apps/files", "/apps/files/"] {
        let page = browser.open(&pair.bob, &format!("{place}?{query}&ownerDisplayName=Anna+A"), 200).await.text();
        assert!(page.contains("add the remote share Photos from anna@cloud.example/oc?"), "{place}: {page}");
        let german = pair.bob.ask("GET", &format!("{place}?{query}")).header("accept", "text/html").header("accept-language", "de");
        let german = german.header("cookie", &format!("causeway_session={}", browser.session(&pair.bob).unwrap())).expect(200).await.text();
        assert!(german.contains("Möchten Sie die entfernte Freigabe Photos von anna@cloud.example/oc hinzufügen?"), "{german}");
    }
    pair.stop().await;
}

#[tokio::test]
async fn l7_only_the_dialogue_of_the_session_adds_something() {
    let (pair, page) = shared(LinkTerms::default()).await;
    pair.bob.add_user("eve").await;
    let mut browser = bob_in(&pair).await;
    let query = query(&format!("http://{}", pair.anna.host()), token_of(&page), "Photos", "0");
    let form = dialogue(&pair, &mut browser, &query).await;
    let mut eve = Browser::new();
    eve.log_in(&pair.bob, "eve", "/login").await;
    let eves = dialogue(&pair, &mut eve, &query).await.fields["requesttoken"].clone();
    for token in ["", "0", &eves] {
        let refused = browser.send(&pair.bob, &form.clone().with("requesttoken", token), 403).await;
        assert!(refused.text().contains("nothing was done"), "{}", refused.text());
    }
    for headers in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "https://evil.example")], &[("origin", "null")]] {
        browser.send_from(&pair.bob, &form, headers, 403).await;
    }
    // Without a session one logs in, and nothing of the form is done.
    let login = Browser::new().send(&pair.bob, &form, 303).await;
    assert_eq!(location(&login), "/login?to=%2F");
    // A link that is opened, wherever it stands, shows the dialogue and no more.
    browser.open(&pair.bob, &format!("/?{query}&password=x&requesttoken={}", form.fields["requesttoken"]), 200).await;
    browser.open(&pair.bob, "/index.php/apps/files_sharing/external", 303).await;
    assert!(mounts(&pair.bob, "bob").await.is_empty() && mounts(&pair.bob, "eve").await.is_empty());
    browser.send(&pair.bob, &form, 303).await;
    assert_eq!(mounts(&pair.bob, "bob").await.len(), 1);
    pair.stop().await;
}

#[tokio::test]
async fn l5_hostile_names_in_the_dialogue_are_text_and_hosts_are_shown_as_they_are() {
    let pair = Pair::start().await;
    let mut browser = bob_in(&pair).await;
    let evil = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>\u{202e}gpj";
    let pairs = [("remote", "https://b\u{430}nk.example"), ("token", "T"), ("owner", evil), ("name", evil), ("protected", "1")];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let page = browser.open(&pair.bob, &format!("/?{query}"), 200).await.text();
    assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("xn--bnk-6cd.example") && !page.contains("b\u{430}nk"), "{page}");
    for remote in ["javascript:alert(1)", "https://bank.example@evil.example", "file:///etc/passwd", "", "ftp://x"] {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("remote", remote), ("token", "T")]).finish();
        let page = browser.open(&pair.bob, &format!("/?{query}"), 400).await.text();
        assert!(
            page.contains("names no share") && !page.contains("<form method=\"post\" action=\"/index.php/apps/files_sharing"),
            "{remote}: {page}"
        );
    }
    browser.open(&pair.bob, "/?remote=https%3A%2F%2Fa.example&token=a%2F..%2Fb", 400).await;
    browser.open(&pair.bob, "/?remote=https%3A%2F%2Fa.example", 400).await;
    pair.stop().await;
}

#[tokio::test]
async fn the_own_server_and_what_the_administrator_does_not_allow_is_not_added() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = bob_in(&pair).await;
    let own = query(&format!("http://{}", pair.bob.host()), "Tok3n", "x", "0");
    let refused = browser.open(&pair.bob, &format!("/?{own}"), 400).await.text();
    assert!(refused.contains("leads back to this server"), "{refused}");
    let remote = format!("http://{}", pair.anna.host());
    let form = dialogue(&pair, &mut browser, &query(&remote, token_of(&page), "Photos", "0")).await;
    pair.bob.execute(Command::Sharing { set: Some(("incoming".to_owned(), "off".to_owned())) }).await;
    let refused = browser.send(&pair.bob, &form, 403).await.text();
    assert!(refused.contains("Your administrator does not allow"), "{refused}");
    pair.bob.execute(Command::Sharing { set: Some(("incoming".to_owned(), "on".to_owned())) }).await;
    let gone = form.clone().with("token", "WrongTokenWrongToken1");
    let refused = browser.send(&pair.bob, &gone, 400).await.text();
    assert!(refused.contains("has no such link"), "{refused}");
    let drop = pair.anna.link("anna", "/Photos", "drop").await;
    let refused = browser.send(&pair.bob, &form.clone().with("token", token_of(&drop.url)), 400).await.text();
    assert!(refused.contains("takes uploads only"), "{refused}");
    assert!(mounts(&pair.bob, "bob").await.is_empty());
    // And the server of the link may keep its links to itself.
    pair.anna.execute(Command::Sharing { set: Some(("outgoing".to_owned(), "off".to_owned())) }).await;
    let shown = browser.open(&pair.anna, &page, 200).await.text();
    assert!(!shown.contains("Add to your server"), "{shown}");
    browser.open(&pair.anna, &format!("{page}/add"), 404).await;
    pair.stop().await;
}

#[tokio::test]
async fn f9_private_and_dead_servers_are_refused_by_one_sentence_at_one_time() {
    let server = TestServer::with_user("bob").await;
    let other = TestServer::start().await;
    let mut browser = Browser::new();
    browser.log_in(&server, "bob", "/login").await;
    let dead = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let mut told = Vec::new();
    for host in [other.host(), dead.to_string(), "2130706433:1".to_owned(), "[::ffff:127.0.0.1]:1".to_owned()] {
        let form = form_of(
            &browser.open(&server, &format!("/?{}", query(&format!("http://{host}"), "T", "x", "0")), 200).await.text(),
            "/external",
        );
        told.push((browser.clone(), form));
    }
    let asking = told.into_iter().map(|(mut browser, form)| {
        let server = &server;
        async move {
            let begun = tokio::time::Instant::now();
            let refused = browser.send(server, &form, 503).await.text();
            assert!(refused.contains("does not answer, or may not be asked"), "{refused}");
            begun.elapsed()
        }
    });
    let times = futures_util::future::join_all(asking).await;
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(least.as_secs() >= 2 && (*most - *least).as_secs() < 2, "{times:?}");
    assert!(mounts(&server, "bob").await.is_empty());
    other.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn f3_adding_a_share_trusts_nobody_and_tells_nothing_of_the_user() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = bob_in(&pair).await;
    let trust = |server: &TestServer| server.running().services.store().list::<causeway::domain::RemoteTrust>().unwrap();
    let before = trust(&pair.bob);
    let form = dialogue(&pair, &mut browser, &query(&format!("http://{}", pair.anna.host()), token_of(&page), "Photos", "0")).await;
    browser.send(&pair.bob, &form, 303).await;
    assert_eq!(trust(&pair.bob), before);
    pair.stop().await;
}

#[tokio::test]
async fn a_visitor_who_gives_an_address_of_a_user_gets_an_offer() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = Browser::new();
    browser.open(&pair.anna, &page, 200).await;
    let form = form_of(&browser.open(&pair.anna, &format!("{page}/add"), 200).await.text(), "/add");
    let address = format!("bob@http://{}", pair.bob.host());
    let sent = browser.send(&pair.anna, &form.clone().with("address", &address), 303).await;
    assert_eq!(location(&sent), format!("http://{}", pair.bob.host()));
    browser.log_in(&pair.bob, "bob", "/login").await;
    let start = browser.open(&pair.bob, "/", 200).await.text();
    assert!(start.contains("Shared with you") && start.contains("Photos from anna"), "{start}");
    assert!(mounts(&pair.bob, "bob").await.is_empty(), "not before it is accepted");
    let answer = form_of(&start, "/incoming");
    let forged = answer.clone().with("answer", "accept").with("requesttoken", "");
    browser.send(&pair.bob, &forged, 403).await;
    let accepted = browser.send(&pair.bob, &answer.clone().with("answer", "accept"), 303).await;
    let start = browser.open(&pair.bob, &location(&accepted), 200).await.text();
    assert!(start.contains("in your files now: /Photos") && !start.contains("Shared with you"), "{start}");
    assert_eq!(pair.bob.get("bob", "/Photos/a.txt").await, "from anna");
    // A number of nobody's is no answer to anything.
    let none = browser.send(&pair.bob, &answer.with("id", "999").with("answer", "accept"), 404).await.text();
    assert!(none.contains("no longer there"), "{none}");
    let own = form.with("address", &format!("carol@http://{}", pair.anna.host()));
    let refused = browser.send(&pair.anna, &own, 400).await.text();
    assert!(refused.contains("address of this server"), "{refused}");
    pair.stop().await;
}

#[tokio::test]
async fn shares_of_users_here_are_answered_on_the_page_too() {
    let server = TestServer::start_with(causeway::domain::Clock::System, |config| config.auto_accept_shares = false).await;
    server.add_user("anna").await;
    server.add_user("bob").await;
    for name in ["one", "two"] {
        server.mkcol("anna", &format!("/{name}")).await;
        share(&server, "anna", &format!("/{name}"), "bob", "read").await;
    }
    let mut browser = Browser::new();
    browser.log_in(&server, "bob", "/login").await;
    for answer in ["accept", "decline"] {
        let start = browser.open(&server, "/", 200).await.text();
        let form = form_of(&start, "/incoming").with("answer", answer);
        let answered = browser.send(&server, &form, 303).await;
        let page = browser.open(&server, &location(&answered), 200).await.text();
        assert!(page.contains("role=\"status\""), "{page}");
    }
    assert_eq!(names(&server, "bob", "/").await.len(), 1);
    assert!(!browser.open(&server, "/", 200).await.text().contains("Shared with you"));
    server.stop().await;
}

#[tokio::test]
async fn l7_a_visitor_is_led_to_a_server_alone_and_by_no_page_of_another_site() {
    let (pair, page) = shared(LinkTerms::default()).await;
    let mut browser = Browser::new();
    let form = form_of(&browser.open(&pair.anna, &format!("{page}/add"), 200).await.text(), "/add");
    for odd in ["javascript:alert(1)", "data:text/html,x", "https://bank.example@evil.example", "", "a b", "file:///etc/passwd"] {
        let refused = browser.send(&pair.anna, &form.clone().with("address", odd), 400).await;
        assert!(refused.header("location").is_none() && refused.text().contains("no address"), "{odd}");
    }
    let foreign = form.clone().with("address", &pair.bob.host());
    browser.send_from(&pair.anna, &foreign, &[("sec-fetch-site", "cross-site")], 403).await;
    // Nobody who takes links; but who is sure of his address goes there.
    let dead = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let refused = browser.send(&pair.anna, &form.clone().with("address", &dead.to_string()), 400).await;
    assert!(refused.text().contains("No server that takes links was found"), "{}", refused.text());
    let sure = browser.send(&pair.anna, &form.with("address", &format!("https://{dead}/oc")), 303).await;
    let place = location(&sure);
    let (query, fragment) = place.split_once('#').unwrap();
    assert!(query.starts_with(&format!("https://{dead}/oc/index.php/apps/files/?remote=")) && query.ends_with(fragment), "{place}");
    pair.stop().await;
}
