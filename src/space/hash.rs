//! Checksums beside a stream: the one that the client sent, else SHA-1, which clients ask for.

use bytes::Bytes;
use sha1::Digest;

use crate::domain::{Algorithm, Checksum};

/// A checksum in the making.
#[derive(Debug, Clone)]
pub(super) enum Hashing {
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Sha256(sha2::Sha256),
    Adler32 { a: u32, b: u32 },
}

/// The largest prime below 2¹⁶ (RFC 1950).
const ADLER_MODULUS: u32 = 65_521;
/// Bytes after which the sums of Adler-32 could overflow (zlib's NMAX).
const ADLER_RUN: usize = 5552;

impl Hashing {
    pub(super) fn new(algorithm: Algorithm) -> Hashing {
        match algorithm {
            Algorithm::Sha1 => Hashing::Sha1(sha1::Sha1::new()),
            Algorithm::Md5 => Hashing::Md5(md5::Md5::new()),
            Algorithm::Sha256 => Hashing::Sha256(sha2::Sha256::new()),
            Algorithm::Adler32 => Hashing::Adler32 { a: 1, b: 0 },
        }
    }

    /// For a body whose client sent this checksum, or none.
    pub(super) fn for_body(sent: Option<&Checksum>) -> Hashing {
        Hashing::new(sent.map_or(Algorithm::Sha1, |checksum| checksum.algorithm))
    }

    pub(super) fn update(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            match self {
                Hashing::Sha1(hash) => hash.update(piece),
                Hashing::Md5(hash) => hash.update(piece),
                Hashing::Sha256(hash) => hash.update(piece),
                Hashing::Adler32 { a, b } => {
                    for run in piece.chunks(ADLER_RUN) {
                        for byte in run {
                            *a += u32::from(*byte);
                            *b += *a;
                        }
                        *a %= ADLER_MODULUS;
                        *b %= ADLER_MODULUS;
                    }
                }
            }
        }
    }

    pub(super) fn finish(self) -> Checksum {
        let (algorithm, hex) = match self {
            Hashing::Sha1(hash) => (Algorithm::Sha1, hex(&hash.finalize())),
            Hashing::Md5(hash) => (Algorithm::Md5, hex(&hash.finalize())),
            Hashing::Sha256(hash) => (Algorithm::Sha256, hex(&hash.finalize())),
            Hashing::Adler32 { a, b } => (Algorithm::Adler32, hex(&(b << 16 | a).to_be_bytes())),
        };
        Checksum { algorithm, hex: hex.into_boxed_str() }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(algorithm: Algorithm, expected: &str) {
        let mut hashing = Hashing::new(algorithm);
        hashing.update(&[Bytes::from_static(b"Wiki"), Bytes::from_static(b"pedia")]);
        assert_eq!(hashing.finish().hex.as_ref(), expected);
    }

    #[test]
    fn checksums_are_those_of_the_field() {
        check(Algorithm::Adler32, "11e60398");
        check(Algorithm::Md5, "9c677286866aad38f8e9b660f5411814");
        check(Algorithm::Sha1, "664add438097fbd4307f814de8e62a10f8905588");
    }
}
