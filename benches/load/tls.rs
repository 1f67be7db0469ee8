//! TLS towards the servers, and the throw-away certificate that they all show.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

/// Writes `cert.pem` and `key.pem` for `localhost` and 127.0.0.1.
pub(crate) fn write_certificate(dir: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    fs::create_dir_all(dir)?;
    fs::write(dir.join("cert.pem"), made.cert.pem())?;
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}

/// A connector that trusts the certificate in `file` and nothing else, and speaks HTTP/1.1. It offers one cipher, since
/// servers choose differently among several and the choice would be measured.
pub(crate) fn connector(file: &Path) -> Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(file).with_context(|| format!("no certificate in {}", file.display()))?;
    roots.add(certificate)?;
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
