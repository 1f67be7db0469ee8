//! What the doctor says of TLS: one test for each way in which it fails.

use std::sync::Arc;

use causeway::domain::RemoteTrust;
use causeway::service::doctor::Fault;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, KeyPair};
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::support::bad_remote::{BadRemote, Fault as Bad};
use crate::support::exam::{Exam, Found};
use crate::support::mounted::allowed;
use crate::support::raw::{Asked, Raw, reply};

/// 2040-01-01.
const END: i64 = 2_208_988_800;

/// An alert in TLS 1.0: the version of the protocol.
const ALERT: &[u8] = &[0x15, 3, 1, 0, 2, 2, 70];

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Test authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Test server");
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

fn config(certificate: &CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider())).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap())
}

/// A server with a certificate, and a decision that trusts its authority.
async fn serve(change: impl FnOnce(&mut CertificateParams)) -> (BadRemote, RemoteTrust) {
    let (authority, key, mut params) = (authority(), KeyPair::generate().unwrap(), params());
    change(&mut params);
    let certificate = params.signed_by(&key, &authority).unwrap();
    let remote = BadRemote::start_tls(config(certificate.der(), &key)).await;
    let trust = RemoteTrust { authorities: vec![authority.der().to_vec()], ..allowed(&remote.host()) };
    (remote, trust)
}

async fn look(remote: &BadRemote, trust: RemoteTrust) -> Found {
    Exam::trusting(trust).look(&remote.url()).await
}

#[tokio::test]
async fn a_server_that_is_well_has_no_finding() {
    let (remote, trust) = serve(|_| {}).await;
    look(&remote, trust).await.is_well();
}

#[tokio::test]
async fn plain_http_on_an_https_port() {
    let remote = Raw::http(|_| reply(404, &[], "")).await;
    let text = Exam::of(&remote.host()).look(&format!("https://{}/s/TOKEN", remote.host())).await;
    assert!(text.has(Fault::PlainHttpPort, "plain-http-port").contains("http://"));
}

#[tokio::test]
async fn tls_on_an_http_port() {
    let (remote, trust) = serve(|_| {}).await;
    let text = Exam::trusting(trust).look(&remote.url().replace("https:", "http:")).await;
    assert!(text.has(Fault::TlsOnHttpPort, "tls-on-http-port").contains("https://"));
}

#[tokio::test]
async fn tls_on_an_http_port_that_says_so_in_http() {
    // nginx answers what is no TLS with 400 in plain http.
    let answer = |_: &Asked| reply(400, &[("content-type", "text/html")], "The plain HTTP request was sent to HTTPS port");
    let remote = Raw::http_or(answer, ALERT).await;
    Exam::of(&remote.host()).look(&remote.url("/dav/")).await.has(Fault::TlsOnHttpPort, "tls-on-http-port");
}

#[tokio::test]
async fn another_service_on_the_port() {
    let remote = Raw::saying(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    Exam::of(&remote.host()).look(&format!("https://{}/s/TOKEN", remote.host())).await.has(Fault::NotTls, "not-tls");
    Exam::of(&remote.host()).look(&remote.url("/dav/")).await.has(Fault::NotHttp, "not-http");
}

#[tokio::test]
async fn an_expired_certificate() {
    let (remote, trust) = serve(|params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    })
    .await;
    let text = look(&remote, trust).await.has(Fault::CertificateExpired, "certificate-expired");
    assert!(text.contains("2002-01-01") && text.contains("renew"), "{text}");
    assert!(remote.take_seen().is_empty(), "nothing was asked");
}

#[tokio::test]
async fn a_certificate_of_the_future() {
    let (remote, trust) = serve(|params| params.not_before = rcgen::date_time_ymd(2039, 1, 1)).await;
    let text = look(&remote, trust).await.has(Fault::CertificateNotYetValid, "certificate-not-yet-valid");
    assert!(text.contains("clock of this machine"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let (remote, trust) =
        serve(|params| params.subject_alt_names = CertificateParams::new(vec!["b.example".to_owned()]).unwrap().subject_alt_names).await;
    let text = look(&remote, trust).await.has(Fault::CertificateOtherName, "certificate-other-name");
    assert!(text.contains("b.example"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself() {
    let key = KeyPair::generate().unwrap();
    let certificate = params().self_signed(&key).unwrap();
    let remote = BadRemote::start_tls(config(certificate.der(), &key)).await;
    let text = look(&remote, allowed(&remote.host())).await.has(Fault::CertificateSelfSigned, "certificate-self-signed");
    let hex: String = sha2::Sha256::digest(certificate.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(text.contains(&hex) && text.contains(&format!("causeway remote trust {} --fingerprint", remote.host())), "{text}");
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_nobody_knows() {
    let (remote, _) = serve(|_| {}).await;
    let text = look(&remote, allowed(&remote.host())).await.has(Fault::CertificateUnknownAuthority, "certificate-unknown-authority");
    assert!(text.contains("whole chain") && text.contains("--ca"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_pinned_one() {
    let (remote, trust) = serve(|_| {}).await;
    let trust = RemoteTrust { fingerprints: vec![[7; 32]], authorities: vec![], ..trust };
    let text = look(&remote, trust).await.has(Fault::CertificateNotPinned, "certificate-not-pinned");
    assert!(text.contains("between"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_clients_is_none_for_servers() {
    let (remote, trust) = serve(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]).await;
    look(&remote, trust).await.has(Fault::CertificateUnusable, "certificate-unusable");
}

#[tokio::test]
async fn a_certificate_that_ends_soon() {
    let (remote, trust) = serve(|_| {}).await;
    let exam = Exam { now: END - 5 * 24 * 3600, ..Exam::trusting(trust) };
    let text = exam.look(&remote.url()).await.has(Fault::CertificateEndsSoon, "certificate-ends-soon");
    assert!(text.contains("in 5 days"), "{text}");
}

#[tokio::test]
async fn tls_that_is_too_old() {
    // And a ServerHello that chooses TLS 1.1.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend_from_slice(&[9; 32]);
    hello.extend_from_slice(&[0, 0xc0, 0x13, 0]);
    for bytes in [ALERT, &hello] {
        let remote = Raw::saying(bytes).await;
        let text = Exam::of(&remote.host()).look(&format!("https://{}/s/TOKEN", remote.host())).await;
        assert!(text.has(Fault::TlsTooOld, "tls-too-old").contains("TLS 1.2"), "{bytes:?}");
    }
}

#[tokio::test]
async fn tls_that_is_closed_in_the_middle() {
    let remote = Raw::saying(b"").await;
    Exam::of(&remote.host()).look(&format!("https://{}/s/TOKEN", remote.host())).await.has(Fault::TlsClosed, "tls-closed");
}

#[tokio::test]
async fn a_port_that_says_nothing() {
    let remote = Raw::silent().await;
    Exam::of(&remote.host()).hasty().look(&format!("https://{}/s/TOKEN", remote.host())).await.has(Fault::TlsSilent, "tls-silent");
    Exam::of(&remote.host()).hasty().look(&remote.url("/dav/")).await.has(Fault::NoAnswer, "no-answer");
}

#[tokio::test]
async fn a_redirect_out_of_tls() {
    let (remote, trust) = serve(|_| {}).await;
    remote.set(Bad::RedirectToHttp).await;
    look(&remote, trust).await.has(Fault::RedirectToHttp, "redirect-to-http");
}

#[tokio::test]
async fn a_certificate_behind_a_redirect_is_looked_at_too() {
    let (key, made) = (KeyPair::generate().unwrap(), params());
    let certificate = made.self_signed(&key).unwrap();
    let acceptor = TlsAcceptor::from(config(certificate.der(), &key));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // One port for both, as behind a proxy that redirects to TLS.
    let serving = async {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            if first == [0x16] {
                acceptor.accept(stream).await.unwrap_err();
                continue;
            }
            let (mut head, mut piece) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    count => head.extend_from_slice(&piece[..count]),
                }
            }
            let to = format!("HTTP/1.1 301 X\r\nconnection: close\r\ncontent-length: 0\r\nlocation: https://{address}/s/TOKEN\r\n\r\n");
            // A connection that was only tried is gone by now.
            stream.write_all(to.as_bytes()).await.ok();
        }
    };
    let url = format!("http://{address}/s/TOKEN");
    let found = tokio::select! {
        () = serving => panic!("the server ended"),
        found = Exam::of(&address.to_string()).look(&url) => found,
    };
    assert!(found.has(Fault::CertificateSelfSigned, "certificate-self-signed").contains("SHA-256"));
}
