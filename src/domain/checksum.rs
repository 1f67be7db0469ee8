//! Checksums of files, as `OC-Checksum` carries them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hash that clients send or ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// What ownCloud and Nextcloud clients ask for.
    Sha1,
    /// MD5, which old clients send.
    Md5,
    /// SHA-256.
    Sha256,
    /// Adler-32, which very old clients send.
    Adler32,
}

/// A checksum: algorithm and lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The digest, lower-case hexadecimal.
    pub hex: Box<str>,
}

/// An `OC-Checksum` that cannot be verified here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the checksum is not SHA1, MD5, SHA256 or ADLER32 with the right number of digits")]
pub struct InvalidChecksum;

impl Checksum {
    /// Reads `SHA1:…`, `MD5:…`, `SHA256:…` or `ADLER32:…`, in any case.
    pub fn parse(text: &str) -> Result<Checksum, InvalidChecksum> {
        let (kind, digits) = text.trim().split_once(':').ok_or(InvalidChecksum)?;
        let (algorithm, length) = match kind.to_ascii_uppercase().as_str() {
            "SHA1" => (Algorithm::Sha1, 40),
            "MD5" => (Algorithm::Md5, 32),
            "SHA256" => (Algorithm::Sha256, 64),
            "ADLER32" => (Algorithm::Adler32, 8),
            _ => return Err(InvalidChecksum),
        };
        // ownCloud's Adler-32 comes without leading zeros.
        let digits = if algorithm == Algorithm::Adler32 { format!("{digits:0>8}") } else { digits.to_owned() };
        if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidChecksum);
        }
        Ok(Checksum { algorithm, hex: digits.to_ascii_lowercase().into_boxed_str() })
    }
}

impl Algorithm {
    /// Its name in `OC-Checksum`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "SHA1",
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA256",
            Algorithm::Adler32 => "ADLER32",
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), self.hex)
    }
}
