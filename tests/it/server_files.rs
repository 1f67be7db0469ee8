//! Large files on their way out: whatever the connection does, a client gets bytes of the file or none.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use causeway::config::Listen;
use causeway::domain::Clock;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::support::server::{TestServer, password, send_on};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes without a zero among them, and no two windows alike.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 1000 + at) % 255 + 1).unwrap()).collect()
}

/// A server whose user has a large file.
async fn server_with(content: &[u8]) -> TestServer {
    let server = TestServer::with_user("anna").await;
    server.ask_as("anna", "PUT", "/big").body(content).expect(201).await;
    server
}

fn head(method: &str, path: &str, more: &str) -> String {
    let basic = STANDARD.encode(format!("anna:{}", password("anna")));
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {basic}\r\n{more}\r\n")
}

/// Takes one answer off the front; an answer to HEAD has no body.
fn answer<'a>(method: &str, rest: &mut &'a [u8]) -> (String, &'a [u8]) {
    let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("headers") + 4;
    let head = String::from_utf8(rest[..end].to_vec()).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    let length = if method == "HEAD" { 0 } else { length };
    let body = &rest[end..end + length];
    *rest = &rest[end + length..];
    (head, body)
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    // A reset ends the connection as well as a close.
    let _ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("the server closes");
    received
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_each_with_its_own_bytes() {
    let content = content(3_000_001);
    let server = server_with(&content).await;
    server.put("anna", "/small", "small").await;
    let asked = [
        ("GET", "/webdav/big", ""),
        ("HEAD", "/webdav/big", ""),
        ("GET", "/webdav/big", "range: bytes=1000000-1999999\r\n"),
        ("GET", "/webdav/small", "connection: upgrade\r\nupgrade: h2c\r\n"),
        ("GET", "/webdav/big", "range: bytes=2999999-\r\n"),
        ("GET", "/webdav/big", "range: bytes=5-400004,1000000-1500000\r\n"),
        ("GET", "/webdav/big", "connection: upgrade\r\nupgrade: websocket\r\n"),
        ("GET", "/webdav/big", "connection: close\r\n"),
    ];
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let sent: String = asked.iter().map(|(method, path, more)| head(method, path, more)).collect();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let received = read_to_end(&mut stream).await;
    let mut rest = received.as_slice();
    let answers: Vec<(String, &[u8])> = asked.iter().map(|(method, ..)| answer(method, &mut rest)).collect();
    assert!(rest.is_empty());
    assert!(answers[1].0.contains("content-length: 3000001"));
    for (at, expected) in [
        (0, &content[..]),
        (2, &content[1_000_000..2_000_000]),
        (3, b"small"),
        (4, &content[2_999_999..]),
        (6, &content[..]),
        (7, &content[..]),
    ] {
        assert!(answers[at].1 == expected, "the body of answer {at}");
    }
    let contains = |part: &[u8]| answers[5].1.windows(part.len()).any(|window| window == part);
    assert!(contains(&content[5..400_005]) && contains(&content[1_000_000..1_500_001]) && !answers[5].1.contains(&0));
    server.stop().await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_whole_file_and_it_is_counted() {
    let content = content(20_000_000);
    let server = server_with(&content).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head("GET", "/webdav/big", "connection: close\r\n").as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let mut piece = vec![0; 50_000];
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        if read == 0 {
            break;
        }
        received.extend_from_slice(&piece[..read]);
        // The other end finds its buffer full again and again.
        tokio::task::yield_now().await;
    }
    assert!(answer("GET", &mut received.as_slice()).1 == content);
    let numbers = server.ask("GET", "/metrics").expect(200).await.text();
    let sent = numbers.lines().find_map(|line| line.strip_prefix("causeway_sent_bytes_total ")).unwrap();
    assert_eq!(sent.parse::<usize>().unwrap(), content.len());
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_is_shortened_under_a_download_ends_it_and_no_zeros_are_sent() {
    const SHORTENED: usize = 8 << 20;
    let content = content(64 << 20);
    let server = server_with(&content).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head("GET", "/webdav/big", "").as_bytes()).await.unwrap();
    let mut received = vec![0; 1000];
    stream.read_exact(&mut received).await.unwrap();
    let file = std::fs::File::options().write(true).open(server.data().join("anna/big")).unwrap();
    file.set_len(SHORTENED as u64).unwrap();
    received.extend(read_to_end(&mut stream).await);
    let start = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = &received[start..];
    assert!(body.len() < content.len() && body == &content[..body.len()], "{} bytes", body.len());
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_answer() {
    let server = server_with(&content(64 << 20)).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head("GET", "/webdav/big", "").as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    drop(stream);
    let ended = async { while !server.ask("GET", "/metrics").expect(200).await.text().contains("causeway_requests_in_flight 1\n") {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_sends_large_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = Listen::Unix(path.clone());
    let server = TestServer::start_with(Clock::System, |config| config.listen.push(listen)).await;
    server.add_user("anna").await;
    let content = content(3_000_000);
    server.ask_as("anna", "PUT", "/big").body(&content).expect(201).await;
    let link = server.link("anna", "/big", "read").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("anna:{}", password("anna"))));
    for uri in ["/webdav/big".to_owned(), format!("/s/{}/download", link.url.rsplit('/').next().unwrap())] {
        let request = Request::builder().uri(&uri).header("host", "a").header("authorization", &basic);
        let answer = send_on(UnixStream::connect(Path::new(&path)).await.unwrap(), request.body(Full::new(Bytes::new())).unwrap()).await;
        assert!(answer.status == 200 && answer.body == content, "{uri}: {}", answer.status);
    }
    server.stop().await;
}

#[tokio::test]
async fn http_2_gets_the_file() {
    let content = content(3_000_000);
    let server = server_with(&content).await;
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let basic = format!("Basic {}", STANDARD.encode(format!("anna:{}", password("anna"))));
    let request = Request::builder().uri(format!("http://{}/webdav/big", server.host())).header("authorization", &basic);
    let received = async {
        let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        response.into_body().collect().await.unwrap().to_bytes()
    };
    tokio::select! {
        received = received => assert!(received == content),
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
    server.stop().await;
}

#[tokio::test]
async fn http_1_0_gets_a_length_and_the_file() {
    let content = content(1_000_000);
    let server = server_with(&content).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head("GET", "/webdav/big", "").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await.unwrap();
    let received = read_to_end(&mut stream).await;
    assert!(answer("GET", &mut received.as_slice()).1 == content);
    server.stop().await;
}
