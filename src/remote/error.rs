//! Why a remote did not do what it was asked: a variant for each reaction of a caller. No variant carries a URL, for a link's is a secret.

use std::time::Duration;

/// A SHA-256 fingerprint of a certificate.
pub type Fingerprint = [u8; 32];

/// Why a call to another server failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No connection, no answer in time, or the breaker is open.
    #[error("the server does not answer")]
    Unreachable {
        /// When the breaker lets the next call through.
        retry_after: Duration,
    },
    /// The address is private and the administrator has not allowed it.
    #[error("the server's address is private")]
    NotAllowed,
    /// The certificate is not trusted; the fingerprint is for administrators only.
    #[error("the server's certificate is not trusted")]
    Untrusted(Option<Fingerprint>),
    /// The answer broke off, stalled, or is not what the protocol demands.
    #[error("the answer cannot be used: {0}")]
    BadAnswer(&'static str),
    /// A redirect that is not followed: to another host, to plain HTTP, or one too many.
    #[error("the server redirects elsewhere")]
    Redirected,
    /// 401: a password is missing or wrong, or the link is gone.
    #[error("the server wants a password")]
    Unauthorized,
    /// 403.
    #[error("the server refuses this")]
    Forbidden,
    /// 404 or 410.
    #[error("the server knows nothing by that name")]
    NotFound,
    /// 405 or 501.
    #[error("the server does not offer this operation")]
    Unsupported,
    /// 409.
    #[error("the parent collection does not exist there")]
    Conflict,
    /// 412.
    #[error("a precondition does not hold there")]
    PreconditionFailed,
    /// 423.
    #[error("the resource is locked there")]
    Locked,
    /// 507, or 413: the remote has no room for this.
    #[error("there is not enough space there")]
    Full,
    /// 508: the mounts form a loop.
    #[error("the mounts form a loop")]
    Loop,
    /// The server lives and so may the share, but it is not for other servers: their administrator switched that off. ownCloud 7 then
    /// answers everything with 200 and nothing.
    #[error("the server does not share with other servers")]
    SharingOff,
    /// 429: we asked too often, or with passwords that were wrong too often.
    #[error("the server wants to be left alone for a while")]
    Throttled {
        /// What the server asks for, bounded.
        retry_after: Duration,
    },
    /// 408, 425 (oCIS: an upload is still being looked at) or another 5xx: a passing fault.
    #[error("the server cannot do this now")]
    Busy {
        /// What the server asks for, bounded.
        retry_after: Duration,
    },
    /// 400 and other refusals that say that the request is wrong.
    #[error("the server rejects the request")]
    Rejected(u16),
    /// The file is no longer the one that was listed.
    #[error("the file changed there")]
    Changed,
    /// Our own side's body broke off while it was sent.
    #[error("the request body broke off")]
    SourceBroken,
}

/// Longest `Retry-After` of a remote that is passed on.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// What is said where the remote names no time.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);

impl Error {
    /// What a status that is no success means.
    pub(crate) fn from_status(status: http::StatusCode, headers: &http::HeaderMap) -> Error {
        match status.as_u16() {
            401 => Error::Unauthorized,
            403 => Error::Forbidden,
            404 | 410 => Error::NotFound,
            405 | 501 => Error::Unsupported,
            409 => Error::Conflict,
            412 => Error::PreconditionFailed,
            413 | 507 => Error::Full,
            423 => Error::Locked,
            508 => Error::Loop,
            429 => Error::Throttled { retry_after: retry_after(headers) },
            408 | 425 | 500..=599 => Error::Busy { retry_after: retry_after(headers) },
            300..=399 => Error::Redirected,
            other => Error::Rejected(other),
        }
    }

    /// [`Error::is_final`] of what is told to a server: a signature that it does not believe is 401, and clocks and keys are put right.
    pub fn ends_telling(&self) -> bool {
        self.is_final() && !matches!(self, Error::Unauthorized)
    }

    /// Whether the server answered, and will not answer otherwise later: it is not asked again.
    pub fn is_final(&self) -> bool {
        match self {
            Error::Unauthorized
            | Error::Forbidden
            | Error::SharingOff
            | Error::NotFound
            | Error::Unsupported
            | Error::Conflict
            | Error::PreconditionFailed
            | Error::Loop
            | Error::Rejected(_) => true,
            Error::Unreachable { .. }
            | Error::NotAllowed
            | Error::Untrusted(_)
            | Error::BadAnswer(_)
            | Error::Redirected
            | Error::Locked
            | Error::Full
            | Error::Busy { .. }
            | Error::Throttled { .. }
            | Error::Changed
            | Error::SourceBroken => false,
        }
    }

    /// Whether nothing but the connection is known to be at fault: such failures open the breaker.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Untrusted(_))
    }
}

fn retry_after(headers: &http::HeaderMap) -> Duration {
    let seconds = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|value| value.trim().parse().ok());
    seconds.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs).min(RETRY_AFTER_MAX)
}
