//! A certificate authority made on the spot, and a certificate of it for this machine.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use crate::config::TlsFiles;

/// What was made.
#[derive(Debug)]
pub(super) struct Made {
    /// Certificate and key of the servers.
    pub(super) files: TlsFiles,
    /// The authority, PEM, for clients.
    pub(super) authority: PathBuf,
    /// The authority, DER, for remotes.
    pub(super) authority_der: Vec<u8>,
}

/// Makes both in a folder. The authority's key is forgotten at once.
pub(super) fn make(folder: &Path) -> anyhow::Result<Made> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Causeway demo authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict verifiers want to be led from the certificate to its authority (RFC 5280 4.2.1.1).
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    let files = TlsFiles { certificate: folder.join("server.pem"), key: folder.join("server.key") };
    let made = Made { files, authority: folder.join("ca.pem"), authority_der: authority.der().to_vec() };
    let write = |file: &Path, text: String| std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()));
    write(&made.authority, authority.pem())?;
    write(&made.files.certificate, certificate.pem())?;
    write(&made.files.key, key.serialize_pem())?;
    Ok(made)
}
