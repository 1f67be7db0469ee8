//! Attacks by remotes and through remotes: F8 to F13.

use std::collections::HashMap;
use std::sync::Arc;

use causeway::domain::{Error, MountState, OfflineCause, RemoteTrust, Secret, Vendor};
use causeway::remote::{Names, Policy, ProbeFault, Remotes};
use causeway::wire::Via;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use crate::support::bad_remote::{BadRemote, Fault};
use crate::support::mounted::{Mounted, allowed, at, remotes, short};

async fn fault_of(remotes: &Remotes, url: &str) -> ProbeFault {
    remotes.probe(url, Some(Secret::new("pw"))).await.expect_err(url)
}

#[tokio::test]
async fn f8_private_addresses_are_refused_in_every_spelling_before_anything_is_sent() {
    let remote = BadRemote::start().await;
    let port = remote.host().rsplit_once(':').unwrap().1.to_owned();
    let none = remotes(vec![]);
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "token:pw@127.0.0.1",
    ] {
        for path in ["dav/", "s/Tok3n", "index.php/s/Tok3n"] {
            let fault = fault_of(&none, &format!("http://{host}:{port}/{path}")).await;
            assert!(matches!(fault, ProbeFault::PrivateAddress { .. }), "{host}/{path}: {fault:?}");
        }
    }
    assert!(remote.take_seen().is_empty(), "nothing may be sent");
}

#[tokio::test]
async fn f8_a_name_that_leads_home_is_refused_when_it_is_connected_to() {
    let remote = BadRemote::start().await;
    let port = remote.host().rsplit_once(':').unwrap().1.to_owned();
    let table = HashMap::from([("rebound.example".to_owned(), vec!["127.0.0.1".parse().unwrap()])]);
    let policy = |trust| Policy { instance_id: "ocself".to_owned(), trust, names: Names::Fixed(Arc::new(table.clone())) };
    let url = format!("http://token@rebound.example:{port}/dav/");
    let refused = fault_of(&Remotes::new(policy(vec![]), short()), &url).await;
    assert_eq!(refused, ProbeFault::PrivateAddress { host: format!("rebound.example:{port}") });
    assert!(refused.to_string().contains(&format!("causeway remote allow-private rebound.example:{port}")));
    assert!(remote.take_seen().is_empty());
    let permitted = Remotes::new(policy(vec![allowed(&format!("rebound.example:{port}"))]), short());
    assert!(permitted.probe(&url, Some(Secret::new("pw"))).await.is_ok());
}

#[tokio::test]
async fn f8_other_schemes_are_no_addresses() {
    let none = remotes(vec![]);
    for url in ["file:///etc/passwd", "gopher://127.0.0.1/", "unix:///run/x", "ftp://127.0.0.1/"] {
        assert_eq!(fault_of(&none, url).await, ProbeFault::NotAnAddress);
    }
}

#[tokio::test]
async fn f8_permission_for_one_port_is_none_for_another() {
    let (permitted, other) = (BadRemote::start().await, BadRemote::start().await);
    let remotes = remotes(vec![allowed(&permitted.host())]);
    assert!(remotes.probe(&permitted.url().replace("://", "://token@"), Some(Secret::new("pw"))).await.is_ok());
    assert!(matches!(fault_of(&remotes, &other.url()).await, ProbeFault::PrivateAddress { .. }));
    assert!(other.take_seen().is_empty());
}

#[tokio::test]
async fn f9_users_cannot_tell_closed_filtered_private_and_untrusted_apart() {
    let faults = [
        ProbeFault::Unreachable,
        ProbeFault::NotWebdav,
        ProbeFault::TooManyRedirects,
        ProbeFault::Busy,
        ProbeFault::PrivateAddress { host: "10.0.0.1:22".to_owned() },
        ProbeFault::UntrustedCertificate { host: "10.0.0.1".to_owned(), fingerprint: [1; 32] },
    ];
    let told: Vec<String> = faults.into_iter().map(|fault| fault.for_users().to_string()).collect();
    assert!(told.iter().all(|text| *text == told[0]), "{told:?}");
    assert!(!told[0].contains("10.0.0.1"));
    assert_eq!(ProbeFault::NeedsPassword.for_users(), ProbeFault::NeedsPassword);
}

#[tokio::test]
async fn f10_credentials_stay_with_the_host_they_were_given_for() {
    let (first, second) = (BadRemote::start().await, BadRemote::start().await);
    let trust = vec![allowed(&first.host()), allowed(&second.host())];
    first.set(Fault::RedirectToOtherHost).await;
    let fault = fault_of(&remotes(trust.clone()), &first.url().replace("://", "://token@")).await;
    assert_eq!(fault, ProbeFault::TooManyRedirects);
    // To another port of the same host, which may be anybody's.
    first.set(Fault::RedirectToHttp).await;
    let fault = fault_of(&remotes(trust), &first.url().replace("://", "://token@")).await;
    assert_eq!(fault, ProbeFault::TooManyRedirects);
    assert!(second.take_seen().is_empty());
}

#[tokio::test]
async fn f13_a_share_that_leads_through_us_is_a_loop() {
    let remote = BadRemote::start().await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, allowed(&remote.host()));
    mounted.names("").await.unwrap();
    let seen = remote.take_seen();
    assert!(seen.iter().all(|one| one.headers["causeway-via"] == "ocself"), "our id goes along: {seen:?}");
    mounted.handle.list(&Via::parse("ocother"), &at("sub")).await.unwrap();
    assert_eq!(remote.take_seen().last().unwrap().headers["causeway-via"], "ocother,ocself");
    remote.set(Fault::Status(508)).await;
    assert!(matches!(mounted.put("a.txt", "x").await, Err(Error::Loop)));
    assert_eq!(mounted.handle.retry().await, MountState::Loop);
    assert!(matches!(mounted.names("sub").await, Err(Error::Loop)));
    assert_eq!(fault_of(&mounted.remotes, &remote.url()).await, ProbeFault::Loop);
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// A server's certificate for loopback, and its fingerprint.
    fn issue(&self, expired: bool) -> (Arc<ServerConfig>, [u8; 32]) {
        use sha2::Digest;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der: CertificateDer<'static> = certificate.der().clone();
        let fingerprint = sha2::Sha256::digest(certificate.der()).into();
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (Arc::new(config.with_no_client_auth().with_single_cert(vec![der], key).unwrap()), fingerprint)
    }
}

fn trusting(host: &str, authorities: Vec<Vec<u8>>, fingerprints: Vec<[u8; 32]>) -> RemoteTrust {
    RemoteTrust { authorities, fingerprints, ..allowed(host) }
}

async fn check_untrusted(mounted: &Mounted) {
    let error = mounted.names("sub").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { cause: OfflineCause::Untrusted, .. }), "{error:?}");
    assert!(matches!(mounted.handle.state(), MountState::Offline { cause: OfflineCause::Untrusted, .. }));
}

#[tokio::test]
async fn an_expired_certificate_is_not_trusted_and_a_new_one_is() {
    let authority = Authority::new();
    let remote = BadRemote::start_tls(authority.issue(true).0).await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, trusting(&remote.host(), vec![authority.der()], vec![]));
    check_untrusted(&mounted).await;
    assert!(remote.take_seen().is_empty(), "no request went out");
    remote.set_tls(authority.issue(false).0);
    assert_eq!(mounted.handle.retry().await, MountState::Online);
    assert_eq!(mounted.names("sub").await.unwrap(), ["b.txt"]);
}

#[tokio::test]
async fn a_pinned_certificate_does_until_it_changes() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (config, fingerprint) = authority.issue(false);
    let remote = BadRemote::start_tls(Arc::clone(&config)).await;
    let mounted = Mounted::new(&remote.url(), Vendor::OwnCloud, trusting(&remote.host(), vec![], vec![fingerprint]));
    assert_eq!(mounted.names("").await.unwrap(), ["a.txt", "sub"]);
    remote.set_tls(stranger.issue(false).0);
    check_untrusted(&mounted).await;
    remote.set_tls(config);
    assert_eq!(mounted.handle.retry().await, MountState::Online);
}

#[tokio::test]
async fn an_untrusted_certificate_is_shown_with_its_fingerprint_and_the_command_that_trusts_it() {
    let (config, fingerprint) = Authority::new().issue(false);
    let remote = BadRemote::start_tls(config).await;
    let fault = fault_of(&remotes(vec![allowed(&remote.host())]), &remote.url()).await;
    assert_eq!(fault, ProbeFault::UntrustedCertificate { host: remote.host(), fingerprint });
    let hex: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(fault.to_string().contains(&format!("causeway remote trust {} --fingerprint {hex}", remote.host())), "{fault}");
    let trusting = remotes(vec![trusting(&remote.host(), vec![], vec![fingerprint])]);
    assert!(trusting.probe(&remote.url().replace("://", "://token@"), Some(Secret::new("pw"))).await.is_ok());
}

#[tokio::test]
async fn probes_say_plainly_what_is_wrong() {
    let remote = BadRemote::start().await;
    let remotes = remotes(vec![allowed(&remote.host())]);
    let url = remote.url().replace("://", "://token@");
    let probe = remotes.probe(&url, Some(Secret::new("pw"))).await.unwrap();
    assert_eq!((probe.dav_url.as_str(), probe.vendor, probe.login.expose()), (remote.url().as_str(), Vendor::Other, "token"));
    for (fault, expected) in [
        (Fault::Status(404), ProbeFault::NotFound),
        (Fault::Status(401), ProbeFault::WrongPassword),
        (Fault::Status(405), ProbeFault::NotWebdav),
        (Fault::Status(503), ProbeFault::Busy),
        (Fault::Html, ProbeFault::NotWebdav),
        (Fault::MalformedXml, ProbeFault::NotWebdav),
        (Fault::BlackHole, ProbeFault::Unreachable),
    ] {
        remote.set(fault).await;
        assert_eq!(fault_of(&remotes, &url).await, expected, "{fault:?}");
    }
    remote.set(Fault::Status(401)).await;
    assert_eq!(remotes.probe(&remote.url(), None).await.unwrap_err(), ProbeFault::NeedsPassword);
}
