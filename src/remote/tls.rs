//! Which certificates are trusted: the platform's authorities, those added for an origin, and pinned fingerprints.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::domain::Timestamp;
use crate::remote::error::Fingerprint;
use crate::wire::x509;

/// Loads the platform's authorities once, for they are many.
#[derive(Debug, Default)]
pub(super) struct Platform {
    verifier: OnceLock<Option<Arc<dyn ServerCertVerifier>>>,
}

impl Platform {
    fn verifier(&self) -> Option<Arc<dyn ServerCertVerifier>> {
        let load = || match rustls_platform_verifier::Verifier::new(provider()) {
            Ok(verifier) => Some(Arc::new(verifier) as Arc<dyn ServerCertVerifier>),
            Err(error) => {
                tracing::warn!(%error, "the system has no list of certificate authorities: only remotes with an added one can be reached by https");
                None
            }
        };
        self.verifier.get_or_init(load).clone()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The last certificate that was refused: administrators are shown what it was.
pub(super) type Refused = Arc<Mutex<Option<RefusedCertificate>>>;

/// What is known of a certificate that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedCertificate {
    pub(super) fingerprint: Fingerprint,
    /// Nobody but itself vouches for it.
    pub(super) self_issued: bool,
    pub(super) not_after: Option<Timestamp>,
}

#[derive(Debug)]
struct Verifier {
    platform: Option<Arc<dyn ServerCertVerifier>>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
    refused: Refused,
}

/// The TLS settings of one origin.
pub(super) fn client_config(
    platform: &Platform,
    pins: Vec<Fingerprint>,
    authorities: &[Vec<u8>],
    refused: Refused,
) -> Option<ClientConfig> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(authorities.iter().map(|der| CertificateDer::from(der.clone())));
    if ignored > 0 {
        tracing::warn!(added, ignored, "an added certificate authority could not be read");
    }
    let authorities = match added {
        0 => None,
        _ => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok(),
    };
    let verifier = Verifier { platform: platform.verifier(), authorities, pins, provider: Arc::clone(&provider), refused };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

impl Verifier {
    /// Who may vouch for a certificate; the first one that does decides. With a pin, a certificate that the platform trusts does not do: that is what
    /// pinning is for.
    fn judges(&self) -> impl Iterator<Item = &dyn ServerCertVerifier> {
        let added = self.authorities.as_deref().map(|added| added as &dyn ServerCertVerifier);
        added.into_iter().chain(self.platform.as_deref().filter(|_| self.pins.is_empty()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint: Fingerprint = Sha256::digest(leaf).into();
        if self.pins.contains(&fingerprint) {
            return Ok(ServerCertVerified::assertion());
        }
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut why = unknown.clone();
        for judge in self.judges() {
            match judge.verify_server_cert(leaf, chain, name, ocsp, now) {
                Ok(verified) => return Ok(verified),
                // The judge who knows the issuer tells more than one who does not.
                Err(error) if error != unknown => why = error,
                Err(_) => {}
            }
        }
        let refused = RefusedCertificate { fingerprint, self_issued: x509::is_self_issued(leaf), not_after: x509::not_after(leaf) };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
