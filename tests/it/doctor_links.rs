//! What the doctor says of links and addresses up to the login: one test for each cause. Links of real servers stand in `peer_hosts_links`.

use std::net::IpAddr;
use std::time::Duration;

use causeway::domain::Secret;
use causeway::service::admin::Command;
use causeway::service::doctor::{Fault, Patience};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::exam::{Exam, Found, OURSELVES};
use crate::support::mounted::{allowed, remotes, short};
use crate::support::raw::{Act, Asked, Raw, healthy, reply};
use crate::support::server::TestServer;

/// Looks at a path of a server that answers so.
async fn look(path: &str, answer: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Found {
    let remote = Raw::http(answer).await;
    Exam::of(&remote.host()).look(&remote.url(path)).await
}

/// Looks at a folder of a server that answers everything alike.
async fn always(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Found {
    look("/dav/", move |_| reply(status, headers, body)).await
}

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

#[tokio::test]
async fn a_text_that_is_no_address() {
    Exam::of("x").look("what is this").await.has(Fault::NotAnAddress, "not-an-address");
    let text = Exam::of("x").look("smb://nas/share").await.has(Fault::UnknownScheme, "unknown-scheme");
    assert!(text.contains("https://"), "{text}");
}

#[tokio::test]
async fn a_password_in_the_address() {
    let remote = Raw::http(|_| reply(404, &[], "")).await;
    let url = remote.url("/dav/").replace("://", "://anna:sesame@");
    let found = Exam::of(&remote.host()).look(&url).await;
    let row = found.0.iter().find(|row| row.code == "password-in-address").unwrap();
    assert!(row.text.contains("--password-stdin") && !format!("{found:?}").contains("sesame"), "{}", row.text);
}

#[tokio::test]
async fn a_name_without_an_address() {
    let text = Exam::of("x").look("https://cloud.example/s/TOKEN").await.has(Fault::NoSuchName, "no-such-name");
    assert!(text.contains("spelling"), "{text}");
}

#[tokio::test]
async fn f9_what_was_heard_is_kept_for_examinations_alone() {
    let remote = Raw::http(healthy).await;
    let remotes = remotes(vec![allowed(&remote.host())]);
    remotes.probe(&remote.url("/dav/"), None).await.unwrap();
    assert!(remotes.heard().is_empty());
    let exam = remotes.examining(short());
    exam.probe(&remote.url("/dav/"), None).await.unwrap();
    let heard = exam.heard();
    assert!(!heard.is_empty() && !format!("{heard:?}").contains("/dav/"), "no URL is shown: a link's is a secret");
    assert!(remotes.heard().is_empty());
}

#[tokio::test]
async fn f8_a_private_address_is_refused_and_how_to_allow_it_is_told() {
    let near: IpAddr = [127, 0, 0, 1].into();
    for (url, host) in
        [("http://127.0.0.1:1/s/x", "127.0.0.1:1"), ("https://nas.example/s/x", "nas.example"), ("http://localhost:1/", "localhost:1")]
    {
        let names = ["nas.example", "localhost"].map(|name| (name.to_owned(), vec![near]));
        let exam = Exam { names: names.into(), ..Exam::of("other.example") };
        let text = exam.look(url).await.has(Fault::PrivateAddress, "private-address");
        assert!(text.ends_with(&format!("causeway remote allow-private {host}")), "{text}");
    }
}

#[tokio::test]
async fn a_port_that_is_closed() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let found = Exam::of(&port.to_string()).look(&format!("http://{port}/s/TOKEN")).await;
    assert!(found.has(Fault::PortRefused, "port-refused").contains("port"));
}

#[tokio::test]
async fn a_port_that_drops_what_comes() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // A full queue of connections that nobody accepts: the kernel drops the next.
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream);
    }
    let found = Exam::of(&address.to_string()).hasty().look(&format!("http://{address}/s/TOKEN")).await;
    assert!(found.has(Fault::PortSilent, "port-silent").contains("firewall"));
}

#[tokio::test]
async fn one_address_of_several_that_is_dead() {
    for (dead, fault, code) in [("127.0.0.2", Fault::AddressDead, "address-dead"), ("::1", Fault::Ipv6Dead, "ipv6-dead")] {
        let remote = Raw::http(healthy).await;
        let names = [("cloud.example".to_owned(), vec![dead.parse().unwrap(), [127, 0, 0, 1].into()])];
        let exam = Exam { names: names.into(), ..Exam::of("cloud.example") };
        let text = exam.look(&format!("http://cloud.example:{}/dav/", remote.port())).await.has(fault, code);
        assert!(text.contains(dead), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it() {
    look("/dav/", |_| Act::Say(b"220 mail.example ESMTP\r\n".to_vec())).await.has(Fault::NotHttp, "not-http");
    let many = |_: &Asked| Act::Say(["HTTP/1.1 207 X\r\n", &"x-more: of it\r\n".repeat(500), "\r\n"].concat().into_bytes());
    look("/dav/", many).await.has(Fault::HeadTooLarge, "head-too-large");
    look("/dav/", |_| Act::Say(Vec::new())).await.has(Fault::ClosedEarly, "closed-early");
    let half = Raw::http(|_| Act::Hold(b"HTTP/1.1 207 X\r\n".to_vec())).await;
    Exam::of(&half.host()).hasty().look(&half.url("/dav/")).await.has(Fault::NoAnswer, "no-answer");
}

#[tokio::test]
async fn a_look_as_a_whole_has_an_end() {
    let remote = Raw::silent().await;
    let exam = Exam::of(&remote.host());
    let mut timeouts = exam.patience.timeouts.clone();
    timeouts.first_byte = Duration::from_secs(3600);
    let exam = Exam { patience: Patience { timeouts, whole: Duration::from_millis(300), ..exam.patience }, ..exam };
    exam.look(&remote.url("/dav/")).await.has(Fault::TookTooLong, "took-too-long");
}

#[tokio::test]
async fn f10_redirects_are_told_by_where_they_lead() {
    let to = |location: &'static str| always(302, Box::leak(Box::new([("location", location)])), "");
    let text = to("https://www.cloud.example/dav/").await.has(Fault::RedirectElsewhere, "redirect-elsewhere");
    assert!(text.contains("https://www.cloud.example"), "{text}");
    to("/dav/").await.has(Fault::RedirectLoop, "redirect-loop");
    let text = to("https://auth.cloud.example/oauth2/start").await.has(Fault::LoginProxy, "login-proxy");
    assert!(text.contains("/public.php"), "{text}");
    to("/index.php/login").await.has(Fault::LoginProxy, "login-proxy");
    to("https://association.example/lessons").await.has(Fault::RedirectElsewhere, "redirect-elsewhere");
}

#[tokio::test]
async fn pages_that_are_no_webdav() {
    always(200, &[HTML], "<h1>Hello</h1>").await.has(Fault::WebPage, "web-page");
    always(200, &[], "").await.has(Fault::EmptyAnswer, "empty-answer");
    let portal = "<h1>Guest network</h1><input type=\"password\" name=\"password\">";
    always(200, &[HTML], portal).await.has(Fault::LoginPage, "login-page");
    let link = look("/s/TOKEN", move |_| reply(200, &[HTML], portal)).await;
    assert!(link.has(Fault::LoginPage, "login-page").contains("log in there first"));
    always(400, &[HTML], "<p>Access through untrusted domain</p>").await.has(Fault::UntrustedDomain, "untrusted-domain");
    always(403, &[HTML, ("server", "cloudflare")], "Just a moment...").await.has(Fault::RobotCheck, "robot-check");
    always(503, &[HTML, ("cf-mitigated", "challenge")], "").await.has(Fault::RobotCheck, "robot-check");
    let no = |asked: &Asked| if asked.method == "GET" { reply(200, &[HTML], "<h1>It works</h1>") } else { reply(405, &[], "") };
    assert!(look("/dav/", no).await.has(Fault::NoWebdav, "no-webdav").contains("405"));
}

#[tokio::test]
async fn the_address_bar_of_the_files_app() {
    for path in ["/index.php/apps/files/?dir=/Photos", "/apps/files/files/12?dir=/Photos", "/index.php/f/4711"] {
        let found = look(path, |asked| reply(if asked.method == "GET" { 200 } else { 404 }, &[HTML], "<h1>Files</h1>")).await;
        assert!(found.has(Fault::FilesPage, "files-page").contains("public link"), "{path}");
        let login = look(path, |_| reply(302, &[("location", "/index.php/login")], "")).await;
        login.has(Fault::FilesPage, "files-page");
    }
}

#[tokio::test]
async fn servers_that_fail_for_a_while() {
    let text = always(502, &[HTML], "").await.has(Fault::BadGateway, "bad-gateway");
    assert!(text.contains("(502)"), "{text}");
    always(504, &[], "").await.has(Fault::BadGateway, "bad-gateway");
    always(500, &[], "").await.has(Fault::ServerError, "server-error");
    let text = always(503, &[("retry-after", "30")], "").await.has(Fault::Overloaded, "overloaded");
    assert!(text.contains("30 seconds"), "{text}");
    let text = always(429, &[("retry-after", "1800")], "").await.has(Fault::Throttled, "throttled");
    assert!(text.contains("30 minutes"), "{text}");
    let maintained = |asked: &Asked| match asked.path.as_str() {
        "/cloud/status.php" => reply(200, &[], r#"{"installed":true,"maintenance":true,"version":"10.0.0"}"#),
        _ => reply(503, &[], ""),
    };
    look("/cloud/remote.php/webdav/", maintained).await.has(Fault::Maintenance, "maintenance");
}

#[tokio::test]
async fn links_that_are_not_there() {
    let text = look("/s/TOKEN", |_| reply(404, &[], "")).await.has(Fault::LinkUnknown, "link-unknown");
    assert!(text.contains("ask its owner"), "{text}");
    look("/s/TOKEN", |_| reply(410, &[], "")).await.has(Fault::LinkWithdrawn, "link-withdrawn");
    look("/dav/", |_| reply(404, &[], "")).await.has(Fault::NothingThere, "nothing-there");
}

#[tokio::test]
async fn logins() {
    let remote = Raw::http(|_| reply(401, &[("www-authenticate", "Basic realm=\"x\"")], "")).await;
    Exam::of(&remote.host()).look(&remote.url("/dav/")).await.has(Fault::NeedsPassword, "needs-password");
    let exam = Exam { password: Some(Secret::new("guess")), ..Exam::of(&remote.host()) };
    let text = exam.look(&remote.url("/dav/").replace("://", "://anna@")).await.has(Fault::WrongPassword, "wrong-password");
    assert!(text.contains("app password"), "{text}");
    always(403, &[], "").await.has(Fault::Forbidden, "forbidden");
    let text = always(401, &[("www-authenticate", "Negotiate")], "").await.has(Fault::LoginKind, "login-kind");
    assert!(text.contains("Negotiate"), "{text}");
}

#[tokio::test]
async fn a_way_back_to_ourselves() {
    let contains = ["HTTP/1.1 207 X\r\ncauseway-contains: ", OURSELVES, "\r\n"].concat();
    let answer = move |asked: &Asked| match healthy(asked) {
        Act::Say(bytes) => Act::Say([contains.as_bytes(), &bytes["HTTP/1.1 207 X\r\n".len()..]].concat()),
        hold @ Act::Hold(_) => hold,
    };
    look("/dav/", answer).await.has(Fault::Loop, "loop");
    look("/dav/", |_| reply(508, &[], "")).await.has(Fault::Loop, "loop");
}

#[tokio::test]
async fn our_own_name_and_our_own_rules() {
    let remote = Raw::http(healthy).await;
    let server = TestServer::start().await;
    server.execute(Command::RemoteAllowPrivate { host: server.host() }).await;
    server.execute(Command::RemoteAllowPrivate { host: remote.host() }).await;
    let look = async |text: &str| Found(server.running().services.check_link(text, None).await);
    let found = look(&format!("http://{}/s/TOKEN", server.host())).await;
    found.has(Fault::ThisServer, "this-server");
    assert!(found.0.iter().any(|row| row.name == "TCP"), "whether it can be reached by this name is told as well");
    look(&format!("bob@http://{}", server.host())).await.has(Fault::ThisServer, "this-server");
    look(&remote.url("/dav/")).await.is_well();
    server.execute(Command::Sharing { set: Some(("incoming".to_owned(), "off".to_owned())) }).await;
    let text = look(&remote.url("/dav/")).await.has(Fault::MountingOff, "mounting-off");
    assert!(text.contains("causeway sharing set incoming on"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn what_works_but_not_well() {
    let old = |asked: &Asked| match healthy(asked) {
        Act::Say(bytes) => Act::Say([b"HTTP/1.0", &bytes[8..]].concat()),
        hold @ Act::Hold(_) => hold,
    };
    look("/dav/", old).await.has(Fault::Http10, "http-1.0");
    look("/dav/", healthy).await.has(Fault::PlainHttp, "plain-http");
    let remote = Raw::http(|asked| dated(healthy(asked))).await;
    // Sun, 06 Nov 1994 08:49:37 GMT
    for (now, way) in
        [(784_111_777 + 3600, Some("60 minutes behind")), (784_111_777 - 600, Some("10 minutes ahead")), (784_111_777 + 200, None)]
    {
        let found = Exam { now, ..Exam::trusting(allowed(&remote.host())) }.look(&remote.url("/dav/")).await;
        match way {
            Some(way) => assert!(found.has(Fault::ClockSkew, "clock-skew").contains(way), "{found:?}"),
            None => found.is_well(),
        }
    }
}

fn dated(act: Act) -> Act {
    match act {
        Act::Say(bytes) => {
            let text = String::from_utf8(bytes).unwrap();
            Act::Say(text.replacen("\r\n", "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 1).into_bytes())
        }
        hold @ Act::Hold(_) => hold,
    }
}
