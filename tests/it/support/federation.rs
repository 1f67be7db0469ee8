//! What tests of mounts through whole servers have in common.

use std::time::{Duration, Instant};

use causeway::config::Config;
use causeway::domain::Clock;
use causeway::remote::Timeouts;
use causeway::service::admin::{Command, MountRow, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{Ask, Pair, TestServer, password};

/// Longest that a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds.
pub(crate) async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < patience, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A server with one user, whose patience with others a test can wait for.
pub(crate) async fn impatient(user: &str) -> TestServer {
    let server = TestServer::start_with(Clock::System, |config: &mut Config| {
        config.remote_timeouts = Timeouts {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(3),
            stall: Duration::from_secs(2),
            source_stall: Duration::from_secs(20),
            answer: Duration::from_secs(20),
            breaker_pause: Duration::from_millis(100),
            breaker_pause_max: Duration::from_millis(500),
            ..Timeouts::default()
        };
    })
    .await;
    server.add_user(user).await;
    server
}

/// Two servers; anna's `/Photos` with `a.txt` and `sub/deep.txt` is mounted in bob's tree.
pub(crate) async fn photos(permissions: &str) -> (Pair, MountRow) {
    let pair = Pair::start().await;
    pair.anna.mkcol("anna", "/Photos").await;
    pair.anna.put("anna", "/Photos/a.txt", "from anna").await;
    pair.anna.mkcol("anna", "/Photos/sub").await;
    pair.anna.put("anna", "/Photos/sub/deep.txt", "deep down").await;
    let link = pair.anna.link("anna", "/Photos", permissions).await;
    let mount = pair.bob.mount("bob", &link.url).await;
    assert_eq!(mount.path.as_deref(), Some("/Photos"));
    (pair, mount)
}

/// The mounts of a user.
pub(crate) async fn mounts(server: &TestServer, user: &str) -> Vec<MountRow> {
    let told = server.execute(Command::MountList { user: user.to_owned() }).await;
    let Outcome::Mounts(rows) = told else { panic!("{told:?}") };
    rows
}

/// MOVE or COPY in a user's tree.
pub(crate) fn transfer(server: &TestServer, user: &str, method: &str, from: &str, to: &str) -> Ask {
    server.ask_as(user, method, from).header("destination", &format!("http://{}/remote.php/webdav{to}", server.host()))
}

/// The names in a collection of a user, by their hrefs.
pub(crate) async fn names(server: &TestServer, user: &str, path: &str) -> Vec<String> {
    let listed = server.ask_as(user, "PROPFIND", path).header("depth", "1").expect(207).await.text();
    let mut names: Vec<String> = listed
        .split("href>")
        .filter_map(|part| part.strip_prefix("/remote.php/webdav"))
        .map(|part| part.split('<').next().unwrap().trim_end_matches('/').to_owned())
        .filter(|href| href != path.trim_end_matches('/'))
        .map(|href| href.rsplit('/').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The text of one property, asked for by its name with a prefix of `d` or `oc`.
pub(crate) async fn property(server: &TestServer, user: &str, path: &str, name: &str) -> String {
    let body = format!(
        "<d:propfind xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:t=\"urn:test\"><d:prop><{name}/></d:prop></d:propfind>"
    );
    let text = server.ask_as(user, "PROPFIND", path).header("depth", "0").body(body).expect(207).await.text();
    let bare = name.split_once(':').unwrap().1;
    assert!(text.contains("200 OK"), "{name} of {path}: {text}");
    let after = text.split_once(&format!("{bare}>")).unwrap_or_else(|| panic!("{name} of {path}: {text}")).1;
    after.split('<').next().unwrap().to_owned()
}

/// The etag of a node.
pub(crate) async fn etag(server: &TestServer, user: &str, path: &str) -> String {
    property(server, user, path, "d:getetag").await.replace("&quot;", "\"")
}

/// A PUT of unknown length. Returns the status.
pub(crate) async fn put_chunked(server: &TestServer, user: &str, path: &str, pieces: &[&str]) -> u16 {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = head(server, user, "PUT", path, "transfer-encoding: chunked\r\nconnection: close\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    status(&mut stream).await
}

/// The head of a request in a user's tree, with further lines.
pub(crate) fn head(server: &TestServer, user: &str, method: &str, path: &str, lines: &str) -> String {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password(user)));
    format!("{method} /remote.php/webdav{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Basic {basic}\r\n{lines}\r\n", server.host())
}

/// The status of the answer that comes on a connection.
pub(crate) async fn status(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read_buf(&mut answer).await.unwrap();
        assert!(count > 0, "the answer ends early: {}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}
