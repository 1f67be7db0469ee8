//! Why something was not done, for the person or program that asked.

use serde::{Deserialize, Serialize};

use crate::domain::Error;

/// What kind of refusal it is: the exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Something went wrong.
    Failed,
    /// The request makes no sense as it is.
    Usage,
    /// What it names is not there.
    NotFound,
    /// The other server cannot be reached.
    RemoteUnreachable,
    /// It may not be done.
    Refused,
    /// It may be done with a password: ask for one and try again.
    NeedsPassword,
}

impl Reason {
    /// The exit code of a command: 1 failed, 2 usage, 3 not found, 4 remote unreachable, 5 refused.
    pub fn exit_code(self) -> u8 {
        match self {
            Reason::Failed => 1,
            Reason::Usage => 2,
            Reason::NotFound => 3,
            Reason::RemoteUnreachable => 4,
            Reason::Refused | Reason::NeedsPassword => 5,
        }
    }
}

/// Why something was not done, in plain words.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// The words.
    pub text: String,
}

/// Shorthand for results of services.
pub(super) type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    /// A refusal of a kind.
    pub fn new(reason: Reason, text: impl Into<String>) -> Refusal {
        Refusal { reason, text: text.into() }
    }

    /// Something is not there.
    pub fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(Reason::NotFound, text)
    }

    /// The request makes no sense.
    pub fn usage(text: impl Into<String>) -> Refusal {
        Refusal::new(Reason::Usage, text)
    }

    /// Something may not be done.
    pub fn refused(text: impl Into<String>) -> Refusal {
        Refusal::new(Reason::Refused, text)
    }

    /// Something went wrong.
    pub fn failed(text: impl Into<String>) -> Refusal {
        Refusal::new(Reason::Failed, text)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let reason = match &error {
            Error::NotFound | Error::ParentMissing | Error::NoSuchLock => Reason::NotFound,
            Error::Exists
            | Error::NotCollection
            | Error::IsCollection
            | Error::Forbidden(_)
            | Error::PreconditionFailed
            | Error::Locked(_)
            | Error::LimitReached(_)
            | Error::InvalidName(_)
            | Error::Unsupported(_) => Reason::Refused,
            Error::Unavailable { .. } | Error::Loop => Reason::RemoteUnreachable,
            Error::InsufficientStorage | Error::BodyMismatch(_) | Error::BodyBroken | Error::Changed | Error::Internal(_) => Reason::Failed,
        };
        Refusal::new(reason, error.to_string())
    }
}

impl From<crate::store::Error> for Refusal {
    fn from(error: crate::store::Error) -> Refusal {
        Refusal::failed(error.to_string())
    }
}

impl From<super::passwords::Unusable> for Refusal {
    fn from(error: super::passwords::Unusable) -> Refusal {
        Refusal::failed(error.to_string())
    }
}

impl From<super::secrets::Error> for Refusal {
    fn from(error: super::secrets::Error) -> Refusal {
        Refusal::failed(error.to_string())
    }
}
