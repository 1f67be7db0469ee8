//! Sockets and limits: what every request goes through before any protocol.

use std::time::Duration;

use bytes::Bytes;
use causeway::config::{Listen, PublicUrl, TlsFiles};
use causeway::domain::Clock;
use causeway::server::{Server, StartError};
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::server::{TestServer, password, send_on};

/// Sends bytes as they are and reads until the server closes.
async fn raw(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let _hung_up = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    // A reset ends the connection as well as a close.
    let _ended = read.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_root_tells_what_the_server_can_do() {
    let server = TestServer::start().await;
    let options = server.ask("OPTIONS", "/").expect(200).await;
    assert_eq!((options.header("dav"), options.header("ms-author-via")), (Some("1, 2, 3"), Some("DAV")));
    assert!(server.ask("PROPFIND", "/").expect(405).await.header("allow").unwrap().contains("OPTIONS"));
    server.ask("GET", "/healthz").expect(200).await;
    server.ask("GET", "/readyz").expect(200).await;
    server.ask("GET", "/nothing").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_hold_no_secrets() {
    let server = TestServer::with_user("anna").await;
    server.put("anna", "/a.txt", "x").await;
    let link = server.link("anna", "/a.txt", "read").await;
    server.ask("GET", &format!("/s/{}", link.url.rsplit('/').next().unwrap())).expect(200).await;
    let text = server.ask("GET", "/metrics").expect(200).await.text();
    assert!(text.contains("causeway_requests_total{route=\"link-page\",method=\"GET\",status=\"200\"} 1"), "{text}");
    assert!(!text.contains("anna") && !text.contains(link.url.rsplit('/').next().unwrap()), "{text}");
    // Through a proxy on this machine everybody would be local.
    server.ask("GET", "/metrics").header("x-forwarded-for", "203.0.113.9").expect(401).await;
    let user = server.ask("GET", "/metrics").header("x-forwarded-for", "203.0.113.9").basic("anna", &password("anna"));
    user.expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn d10_oversized_and_ambiguous_requests_are_refused() {
    let server = TestServer::with_user("anna").await;
    let big = "x".repeat(80 * 1024);
    server.ask("GET", "/webdav/").header("x-big", &big).expect(431).await;
    let megabyte = format!("GET / HTTP/1.1\r\nhost: a\r\nx-big: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&server, megabyte.as_bytes()).await;
    // hyper hangs up on what outgrows its buffer, if the 431 is not read in time.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    server.ask("GET", "/healthz").expect(200).await;
    // Two lengths: whatever a proxy in front believed, the connection ends here and the hidden request is not answered.
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: b\r\n\r\n";
    let two = format!(
        "PUT /webdav/x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        smuggled.len() + 5
    );
    let answer = raw(&server, two.as_bytes()).await;
    assert!(answer.matches("HTTP/1.1").count() <= 1 && !answer.contains("200 OK"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn d10_an_upload_without_a_login_is_refused_before_its_body() {
    let server = TestServer::with_user("anna").await;
    let head = "PUT /webdav/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
    let answer = raw(&server, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "no 100 Continue before the login: {answer}");
    server.stop().await;
}

#[tokio::test]
async fn uploads_have_a_bound() {
    let server = TestServer::start_with(Clock::System, |config| config.upload_max = Some(10)).await;
    server.add_user("anna").await;
    server.ask_as("anna", "PUT", "/a").body("0123456789").expect(201).await;
    server.ask_as("anna", "PUT", "/b").body("0123456789a").expect(413).await;
    server.ask_as("anna", "GET", "/b").expect(404).await;
    server.stop().await;
}

#[tokio::test]
async fn f13_a_request_that_passed_through_us_is_a_loop() {
    let server = TestServer::with_user("anna").await;
    let id = server.running().services.store().instance_id().to_owned();
    let ask = |via: &str| server.ask_as("anna", "PROPFIND", "/").header("depth", "0").header("causeway-via", via);
    ask("ocother").expect(207).await;
    ask(&format!("ocother,{id}")).expect(508).await;
    ask(&["ocx"; 9].join(",")).expect(508).await;
    server.stop().await;
}

#[tokio::test]
async fn the_path_of_the_public_url_stands_before_every_root() {
    let server = TestServer::start_with(Clock::System, |config| {
        config.public_url = Some(PublicUrl::parse("https://dav.example/cloud").unwrap());
    })
    .await;
    server.add_user("anna").await;
    server.put("anna", "/a.txt", "content").await;
    // A proxy may take the path off or not.
    for root in ["/cloud/webdav", "/webdav"] {
        let listed = server.ask("PROPFIND", &format!("{root}/")).header("depth", "1").basic("anna", &password("anna")).expect(207).await;
        assert!(listed.text().contains("<d:href>/cloud/webdav/a.txt</d:href>"), "{}", listed.text());
        let to = "https://dav.example/cloud/webdav/b.txt";
        let moved = server.ask("MOVE", &format!("{root}/a.txt")).basic("anna", &password("anna")).header("host", "dav.example");
        moved.header("destination", to).expect(201).await;
        let back = server.ask("MOVE", &format!("{root}/b.txt")).basic("anna", &password("anna"));
        back.header("destination", "/cloud/webdav/a.txt").expect(201).await;
    }
    let link = server.link("anna", "/a.txt", "read").await;
    assert!(link.url.starts_with("https://dav.example/cloud/s/"), "{}", link.url);
    let page = server.ask("GET", &link.url.replace("https://dav.example", "")).expect(200).await.text();
    assert!(page.contains("href=\"/cloud/s/"), "{page}");
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = Listen::Unix(path.clone());
    let server = TestServer::start_with(Clock::System, |config| config.listen.push(listen)).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let request = Request::builder().uri("/healthz").header("host", "a").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(send_on(stream, request).await.status, 200);
    server.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stop_finishes_what_has_begun() {
    let server = TestServer::with_user("anna").await;
    let (address, data, _kept) = (server.address(), server.data().to_owned(), server.folder());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("anna:{}", password("anna")));
    let head = format!("PUT /webdav/slow.txt HTTP/1.1\r\nhost: a\r\nauthorization: Basic {basic}\r\ncontent-length: 10\r\n\r\n01234");
    stream.write_all(head.as_bytes()).await.unwrap();
    while !server.ask("GET", "/metrics").expect(200).await.text().contains("causeway_requests_in_flight 2") {}
    let rest = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream.write_all(b"56789").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(server.stop(), rest);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(std::fs::read_to_string(data.join("anna/slow.txt")).unwrap(), "0123456789");
}

pub(crate) fn self_signed(folder: &std::path::Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.join("c.pem"), key: folder.join("k.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[tokio::test]
async fn tls_speaks_both_versions_of_http_and_nothing_else() {
    use rustls::pki_types::ServerName;
    let folder = tempfile::tempdir().unwrap();
    let files = self_signed(folder.path());
    let certificate = causeway::server::tls::read_chain(&files.certificate).unwrap().remove(0);
    let server = TestServer::start_with(Clock::System, |config| config.tls = Some(files)).await;
    server.add_user("anna").await;
    std::fs::write(server.data().join("anna/big"), vec![7; 1_000_000]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    for protocol in ["http/1.1", "h2"] {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(server.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        if protocol == "http/1.1" {
            let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("anna:{}", password("anna")));
            let request =
                Request::builder().uri("/webdav/big").header("host", "localhost").header("authorization", format!("Basic {basic}"));
            let answer = send_on(stream, request.body(Full::new(Bytes::new())).unwrap()).await;
            assert!(answer.status == 200 && answer.body == vec![7; 1_000_000]);
        }
    }
    // Plain HTTP on the port of TLS gets no answer, and ends.
    let plain = raw(&server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    server.stop().await;
}

#[tokio::test]
async fn what_stops_a_start_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start().await;
    let busy = causeway::config::Config {
        listen: vec![Listen::Tcp(server.address())],
        ..causeway::config::Config::for_data(folder.path().join("a"))
    };
    let error = Server::start(busy).await.unwrap_err();
    assert!(matches!(error, StartError::Listen(_)) && error.to_string().contains("--listen"), "{error}");
    let error = Server::start(causeway::config::Config::for_data(server.data())).await.unwrap_err();
    assert!(matches!(error, StartError::Open(_)) && error.to_string().contains("in use"), "{error}");
    let mut mixed = self_signed(folder.path());
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    mixed.key = self_signed(&other).key;
    let wrong = causeway::config::Config { tls: Some(mixed), ..causeway::config::Config::for_data(folder.path().join("b")) };
    let error = Server::start(wrong).await.unwrap_err();
    assert!(matches!(error, StartError::Tls(_)) && error.to_string().contains("cannot be used together"), "{error}");
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = Server::start(causeway::config::Config::for_data(folder.path().join("file"))).await.unwrap_err();
    assert!(error.to_string().contains("--data"), "{error}");
    server.stop().await;
}
