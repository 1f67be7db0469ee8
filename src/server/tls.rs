//! Certificates: read by rustls-pemfile, checked against their key, and read again when the files change. Old connections go on.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("{0} holds no certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCertificate(String),
    /// The file holds no key.
    #[error("{0} holds no private key in PEM form (BEGIN PRIVATE KEY)")]
    NoKey(String),
    /// The two do not belong together, or cannot be used.
    #[error("the certificate {certificate} and the key {key} cannot be used together")]
    Mismatch {
        /// The chain.
        certificate: String,
        /// The key.
        key: String,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The library refuses its own settings.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// The certificate in use; handshakes take what is current.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads chain and key, and checks that they belong together.
    pub fn load(files: &TlsFiles) -> Result<Arc<Certificate>, Error> {
        Ok(Arc::new(Certificate { files: files.clone(), current: RwLock::new(Arc::new(read(files)?)) }))
    }

    /// What accepts TLS with this certificate.
    pub fn acceptor(self: &Arc<Certificate>) -> Result<TlsAcceptor, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificate>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files for ever, and takes them in when they change. A pair that does not match is kept out: while a certificate is
    /// being renewed, its key is for a moment not there yet.
    pub async fn watch(self: Arc<Certificate>) {
        let mut seen = stamp(&self.files);
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let now = stamp(&self.files);
            if now == seen {
                continue;
            }
            match read(&self.files) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    seen = now;
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the changed TLS certificate cannot be used; the old one stays"
                ),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The provider of cryptography, named so that nothing depends on a default of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp(files: &TlsFiles) -> Stamp {
    let one = |file: &Path| std::fs::metadata(file).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
    [one(&files.certificate), one(&files.key)]
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, Error> {
    let chain = read_chain(&files.certificate)?;
    let key = read_key(&files.key)?;
    let mismatch =
        |source| Error::Mismatch { certificate: files.certificate.display().to_string(), key: files.key.display().to_string(), source };
    let key = provider().key_provider.load_private_key(key).map_err(mismatch)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(mismatch)?;
    Ok(certified)
}

fn open(file: &Path) -> Result<BufReader<File>, Error> {
    File::open(file).map(BufReader::new).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: std::io::Error) -> Error {
    Error::Unreadable { file: file.display().to_string(), source }
}

/// The certificates of a PEM file; at least one.
pub fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut open(file)?).collect();
    let chain = chain.map_err(|source| unreadable(file, source))?;
    if chain.is_empty() { Err(Error::NoCertificate(file.display().to_string())) } else { Ok(chain) }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    rustls_pemfile::private_key(&mut open(file)?)
        .map_err(|source| unreadable(file, source))?
        .ok_or_else(|| Error::NoKey(file.display().to_string()))
}

/// The certificates in a PEM text, DER; empty where there is none or one is broken.
pub fn certificates_in(pem: &str) -> Vec<Vec<u8>> {
    let all: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_bytes()).collect();
    all.unwrap_or_default().into_iter().map(|certificate| certificate.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(folder: &Path, name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = TlsFiles { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let files = pair(folder.path(), "a");
        Certificate::load(&files).unwrap().acceptor().unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (pair(folder.path(), "a"), pair(folder.path(), "b"));
        let mixed = TlsFiles { certificate: one.certificate.clone(), key: two.key };
        assert!(matches!(Certificate::load(&mixed), Err(Error::Mismatch { .. })));
        let swapped = TlsFiles { certificate: one.key.clone(), key: one.certificate.clone() };
        assert!(matches!(Certificate::load(&swapped), Err(Error::NoCertificate(_))));
        let absent = TlsFiles { certificate: folder.path().join("none"), key: one.key };
        assert!(matches!(Certificate::load(&absent), Err(Error::Unreadable { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_certificate_is_taken_in_and_a_wrong_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = pair(folder.path(), "a");
        let certificate = Certificate::load(&files).unwrap();
        let current = || certificate.current.read().unwrap().cert.first().unwrap().clone();
        let first = current();
        let change = async {
            // The key of another certificate stands there for a moment.
            let other = pair(folder.path(), "b");
            std::fs::copy(&other.key, &files.key).unwrap();
            tokio::time::sleep(RELOAD_EVERY * 2).await;
            assert_eq!(current(), first, "a pair that does not match stays out");
            std::fs::copy(&other.certificate, &files.certificate).unwrap();
            tokio::time::sleep(RELOAD_EVERY * 2).await;
            assert_ne!(current(), first);
        };
        tokio::select! {
            () = Arc::clone(&certificate).watch() => {}
            () = change => {}
        }
    }
}
