//! Looking at one server closely, for an administrator: names, connections, TLS and pages one by one, each with its cause. What is found here
//! says more than users may know (attack F9).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::domain::Timestamp;
use crate::remote::address::{is_private_literal, is_public};
use crate::remote::call::{Call, Payload};
use crate::remote::origin::OriginKey;
use crate::remote::{Error, Fingerprint, Inner, Remotes, Timeouts, tls};
use crate::wire::{Via, x509};

/// Why there is no address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAddress {
    /// The name has none.
    Unknown,
    /// Nobody said in time.
    Silent,
    /// All of them are private, and that is not allowed.
    Private(Vec<SocketAddr>),
}

/// What a TLS handshake showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shaken {
    /// When the certificate ends, where that could be read.
    pub not_after: Option<Timestamp>,
}

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate is not trusted.
    Certificate {
        /// Why not.
        why: BadCertificate,
        /// Its SHA-256, where one came.
        fingerprint: Option<Fingerprint>,
    },
    /// Both sides speak TLS, but no version or cipher in common.
    TooOld,
    /// The other side closed the connection in the middle.
    Closed,
    /// The other side says nothing.
    Silent,
    /// What came is no TLS.
    NotTls,
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCertificate {
    /// It has ended, and when.
    Expired(Option<Timestamp>),
    /// It has not begun.
    NotYetValid,
    /// It is for other names.
    OtherName(Vec<String>),
    /// Nobody but itself vouches for it.
    SelfSigned,
    /// Who vouches for it is not known here.
    UnknownAuthority,
    /// Another one is pinned for this host.
    NotPinned,
    /// Anything else.
    Unusable,
}

/// An answer that is short.
#[derive(Debug, Clone)]
pub struct Page {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// What could be read of the body.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub whole: bool,
}

impl Remotes {
    /// The same decisions about other servers with other limits, nothing remembered of any server, and an ear for what they answer.
    pub fn examining(&self, timeouts: Timeouts) -> Remotes {
        let trust = self.inner.trust.read().unwrap_or_else(PoisonError::into_inner).clone();
        let inner = Inner {
            instance_id: self.inner.instance_id.clone(),
            names: self.inner.names.clone(),
            timeouts,
            platform: Arc::clone(&self.inner.platform),
            trust: std::sync::RwLock::new(trust),
            origins: Mutex::default(),
            peers: Mutex::default(),
            identity: std::sync::OnceLock::new(),
            tokens: super::tokens::Tokens::default(),
            heard: Some(Mutex::default()),
        };
        Remotes { inner: Arc::new(inner) }
    }

    /// The addresses of a URL's host that may be called.
    ///
    /// # Errors
    /// [`NoAddress`].
    pub async fn addresses_of(&self, url: &Url) -> Result<Vec<SocketAddr>, NoAddress> {
        let key = OriginKey::of(url).ok_or(NoAddress::Unknown)?;
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        let found = match literal {
            Some(address) => vec![address],
            None => match timeout(self.timeouts().connect, self.inner.names.lookup(&key.host)).await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => return Err(NoAddress::Unknown),
                Err(_elapsed) => return Err(NoAddress::Silent),
            },
        };
        let mut found: Vec<SocketAddr> = found.into_iter().map(|address| SocketAddr::new(address, key.port)).collect();
        found.dedup();
        let near = self.trust_of(&key).allow_private;
        let usable: Vec<SocketAddr> =
            found.iter().copied().filter(|address| near || is_public(address.ip()) && !is_private_literal(url)).collect();
        match (found.is_empty(), usable.is_empty()) {
            (true, _) => Err(NoAddress::Unknown),
            (false, true) => Err(NoAddress::Private(found)),
            (false, false) => Ok(usable),
        }
    }

    /// Whether the administrator allowed the host of a URL to stand in a private network.
    pub fn is_near(&self, url: &Url) -> bool {
        OriginKey::of(url).is_some_and(|key| self.trust_of(&key).allow_private)
    }

    /// Makes a TLS connection to one address of a URL's host, whatever the scheme of the URL is, and lets it go again.
    ///
    /// # Errors
    /// [`TlsFault`].
    pub async fn shake_hands(&self, url: &Url, address: SocketAddr) -> Result<Shaken, TlsFault> {
        let key = OriginKey::of(url).ok_or(TlsFault::NotTls)?;
        let trust = self.trust_of(&key);
        let (pinned, refused) = (!trust.fingerprints.is_empty(), tls::Refused::default());
        let config = tls::client_config(&self.inner.platform, trust.fingerprints, &trust.authorities, Arc::clone(&refused));
        let name = ServerName::try_from(key.host).map_err(|_error| TlsFault::NotTls)?;
        let shaking = async {
            let stream = TcpStream::connect(address).await?;
            let config = config.ok_or(io::ErrorKind::Unsupported)?;
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
            // Whoever waits for this side's farewell gets it; whether it arrives is no matter.
            stream.shutdown().await.ok();
            Ok(Shaken { not_after: leaf.as_deref().and_then(x509::not_after) })
        };
        match timeout(self.timeouts().connect, shaking).await {
            Ok(Ok(shaken)) => Ok(shaken),
            Ok(Err(error)) => {
                let refused = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(tls_fault(&error, refused.as_ref(), pinned))
            }
            Err(_elapsed) => Err(TlsFault::Silent),
        }
    }

    /// Whether plain HTTP is answered at an address.
    pub async fn speaks_http(&self, url: &Url, address: SocketAddr) -> bool {
        let host = url.host_str().unwrap_or_default();
        let asking = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
            let mut start = [0; 5];
            stream.read_exact(&mut start).await?;
            Ok::<_, io::Error>(start == *b"HTTP/")
        };
        matches!(timeout(self.timeouts().connect, asking).await, Ok(Ok(true)))
    }

    /// Reads a page, without credentials.
    ///
    /// # Errors
    /// Where there is no answer, or a redirect that is not followed.
    pub async fn read_page(&self, url: &Url) -> Result<Page, Error> {
        let via = Via::default();
        self.page_of(Call::new(Method::GET, url.clone(), None, &via)).await
    }

    /// Sends a JSON text, without credentials, and reads what is said to it.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn send_json(&self, url: &Url, text: &'static str) -> Result<Page, Error> {
        let via = Via::default();
        let mut call = Call::new(Method::POST, url.clone(), None, &via).header(CONTENT_TYPE, "application/json")?;
        call.payload = Payload::Small(Bytes::from_static(text.as_bytes()));
        self.page_of(call).await
    }

    async fn page_of(&self, call: Call<'_>) -> Result<Page, Error> {
        let answer = self.call(call).await?;
        let (status, headers): (StatusCode, HeaderMap) = (answer.status(), answer.headers().clone());
        let body = answer.page(self).await;
        Ok(Page { status: status.as_u16(), headers, whole: body.is_ok(), body: body.unwrap_or_default() })
    }
}

/// What a failed handshake means.
#[expect(clippy::wildcard_enum_match_arm, reason = "the list is rustls's and grows; what is not named is one thing to us")]
fn tls_fault(error: &io::Error, refused: Option<&tls::RefusedCertificate>, pinned: bool) -> TlsFault {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else { return TlsFault::Closed };
    if let rustls::Error::InvalidCertificate(cause) = error {
        let why = if pinned { BadCertificate::NotPinned } else { bad_certificate(cause, refused) };
        return TlsFault::Certificate { why, fingerprint: refused.map(|refused| refused.fingerprint) };
    }
    let too_old = [AlertDescription::ProtocolVersion, AlertDescription::HandshakeFailure, AlertDescription::InsufficientSecurity];
    match error {
        rustls::Error::AlertReceived(alert) if too_old.contains(alert) => TlsFault::TooOld,
        // Servers without a certificate for the name.
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            TlsFault::Certificate { why: BadCertificate::OtherName(Vec::new()), fingerprint: None }
        }
        rustls::Error::PeerIncompatible(_) => TlsFault::TooOld,
        error if is_alert(error) => TlsFault::Closed,
        _ => TlsFault::NotTls,
    }
}

fn is_alert(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::AlertReceived(_) | rustls::Error::PeerMisbehaved(_))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list is rustls's and grows; what is not named is one thing to us")]
fn bad_certificate(cause: &CertificateError, refused: Option<&tls::RefusedCertificate>) -> BadCertificate {
    let self_issued = refused.is_some_and(|refused| refused.self_issued);
    match cause {
        CertificateError::Expired => BadCertificate::Expired(refused.and_then(|refused| refused.not_after)),
        CertificateError::ExpiredContext { not_after, .. } => {
            let told = i64::try_from(not_after.as_secs()).ok();
            BadCertificate::Expired(refused.and_then(|refused| refused.not_after).or(told))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => BadCertificate::NotYetValid,
        CertificateError::NotValidForName => BadCertificate::OtherName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => BadCertificate::OtherName(presented.clone()),
        // One that may sign others and stands alone, as people make them, is refused for that before its issuer is looked for.
        _ if self_issued => BadCertificate::SelfSigned,
        CertificateError::UnknownIssuer => BadCertificate::UnknownAuthority,
        _ => BadCertificate::Unusable,
    }
}
