//! Checks a body against its announced checksum and length while it streams, and holds its last piece back until both are known to be
//! right: a remote that writes whole files or nothing then keeps its old content.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use sha2::Digest;

use crate::domain::{Algorithm, Checksum};
use crate::wire::Incoming;

/// What the check found, told to whoever sent the body.
#[derive(Debug, Clone, Default)]
pub struct Verified(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    mismatch: Option<&'static str>,
    bytes: u64,
}

impl Verified {
    /// A body that ends in an error instead of its last piece where length or checksum do not hold, and its verdict.
    pub fn wrap(body: Incoming, length: Option<u64>, checksum: Option<Checksum>) -> (Incoming, Verified) {
        let verdict = Verified::default();
        let sum = checksum.map(|checksum| (Sum::new(checksum.algorithm), checksum));
        let check = Check { inner: body, held: None, length, seen: 0, sum, verdict: verdict.clone(), done: false };
        (Box::pin(check), verdict)
    }

    /// What did not hold, if anything.
    pub fn mismatch(&self) -> Option<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).mismatch
    }

    /// Bytes that went through.
    pub fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

enum Sum {
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
    Sha256(sha2::Sha256),
    Adler32(u32, u32),
}

/// Bytes after which the sums of Adler-32 must be reduced to stay in 32 bits (zlib's NMAX).
const ADLER_RUN_BYTES: usize = 5552;
const ADLER_MODULUS: u32 = 65_521;

impl Sum {
    fn new(algorithm: Algorithm) -> Sum {
        match algorithm {
            Algorithm::Sha1 => Sum::Sha1(sha1::Sha1::new()),
            Algorithm::Md5 => Sum::Md5(md5::Md5::new()),
            Algorithm::Sha256 => Sum::Sha256(sha2::Sha256::new()),
            Algorithm::Adler32 => Sum::Adler32(1, 0),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Sum::Sha1(hash) => hash.update(piece),
            Sum::Md5(hash) => hash.update(piece),
            Sum::Sha256(hash) => hash.update(piece),
            Sum::Adler32(a, b) => {
                for run in piece.chunks(ADLER_RUN_BYTES) {
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

    fn hex(self) -> String {
        let digits = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Sum::Sha1(hash) => digits(&hash.finalize()),
            Sum::Md5(hash) => digits(&hash.finalize()),
            Sum::Sha256(hash) => digits(&hash.finalize()),
            Sum::Adler32(a, b) => format!("{:08x}", (b << 16) | a),
        }
    }
}

struct Check {
    inner: Incoming,
    held: Option<Bytes>,
    length: Option<u64>,
    seen: u64,
    sum: Option<(Sum, Checksum)>,
    verdict: Verified,
    done: bool,
}

impl Check {
    fn judge(&mut self) -> Result<(), &'static str> {
        if self.length.is_some_and(|length| length != self.seen) {
            return Err("the body is shorter than announced");
        }
        match self.sum.take() {
            Some((sum, expected)) => {
                let right = sum.hex() == *expected.hex;
                // The field's own words (`protocol/owncloud.md` 4).
                if right { Ok(()) } else { Err("The computed checksum does not match the one received from the client.") }
            }
            None => Ok(()),
        }
    }

    fn refuse(&mut self, text: &'static str) -> Poll<Option<io::Result<Bytes>>> {
        self.done = true;
        self.verdict.0.lock().unwrap_or_else(PoisonError::into_inner).mismatch = Some(text);
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, text))))
    }
}

impl Stream for Check {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        loop {
            match this.inner.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => {
                    this.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(piece))) => {
                    this.seen = this.seen.saturating_add(piece.len() as u64);
                    if this.length.is_some_and(|length| this.seen > length) {
                        return this.refuse("the body is longer than announced");
                    }
                    if let Some((sum, _)) = &mut this.sum {
                        sum.update(&piece);
                    }
                    this.verdict.0.lock().unwrap_or_else(PoisonError::into_inner).bytes = this.seen;
                    if let Some(held) = this.held.replace(piece) {
                        return Poll::Ready(Some(Ok(held)));
                    }
                }
                Poll::Ready(None) => {
                    if let Err(text) = this.judge() {
                        return this.refuse(text);
                    }
                    this.done = true;
                    return Poll::Ready(this.held.take().map(Ok));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    async fn check(length: Option<u64>, checksum: Option<&str>, expected: Result<(), &str>) {
        let pieces = ["Wiki", "pedia"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let body: Incoming = Box::pin(futures_util::stream::iter(pieces));
        let (body, verdict) = Verified::wrap(body, length, checksum.map(|text| Checksum::parse(text).unwrap()));
        let out: Vec<io::Result<Bytes>> = body.collect().await;
        let whole: Vec<u8> = out.iter().flatten().flatten().copied().collect();
        match expected {
            Ok(()) => assert_eq!((whole.as_slice(), verdict.mismatch()), (&b"Wikipedia"[..], None)),
            Err(text) => {
                assert!(verdict.mismatch().is_some_and(|found| found.contains(text)), "{:?}", verdict.mismatch());
                assert!(whole.len() < 9 && out.last().unwrap().is_err(), "the last piece is held back");
            }
        }
    }

    #[tokio::test]
    async fn d8_a_wrong_length_or_checksum_never_completes_a_body() {
        check(Some(9), None, Ok(())).await;
        check(None, Some("ADLER32:11e60398"), Ok(())).await;
        check(None, Some("MD5:9c677286866aad38f8e9b660f5411814"), Ok(())).await;
        check(None, Some("SHA1:664add438097fbd4307f814de8e62a10f8905588"), Ok(())).await;
        check(Some(10), None, Err("shorter")).await;
        check(Some(8), None, Err("longer")).await;
        check(Some(9), Some("ADLER32:11e60399"), Err("checksum")).await;
    }
}
