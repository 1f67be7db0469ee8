//! What other servers tell us of shares, whichever protocol carries it.
//!
//! **Invariants:** whoever tells something proves it by the secret of the share, and ends or changes that share alone; what comes without one is
//! a reason to ask that server ([`super::hints`]), no more; a wrong secret and an
//! unknown number are answered alike, and counted as guesses (attacks F4, F5).

use std::net::IpAddr;
use std::time::Duration;

use super::Federation;
use super::changes::CHANGE;
use crate::domain::{Permissions, Secret};
use crate::service::{Reason, Refusal};
use crate::wire::ocm::{Notification, permissions_of};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was done, or there was nothing left to do.
    Done,
    /// The share was shared on, as it was asked.
    Reshared {
        /// The number of the new share.
        id: String,
        /// What opens it.
        secret: Secret,
    },
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// The request cannot be read.
    #[error("{0}")]
    Invalid(&'static str),
    /// No share has this number and this secret.
    #[error("there is no share of this number with this secret")]
    NoSuchShare,
    /// It is not done for this share.
    #[error("{0}")]
    Refused(String),
    /// Nothing of the kind is known here.
    #[error("this kind of notification is not known here")]
    Unsupported,
    /// Too many wrong secrets came from there.
    #[error("too many requests that could not be met; try again later")]
    Throttled(Duration),
    /// The store.
    #[error("not now; try again later")]
    Failed(#[source] Refusal),
}

impl From<Refusal> for Unheard {
    fn from(refusal: Refusal) -> Unheard {
        match refusal.reason {
            Reason::NotFound => Unheard::NoSuchShare,
            Reason::Refused | Reason::Usage | Reason::NeedsPassword => Unheard::Refused(refusal.text),
            Reason::Failed | Reason::RemoteUnreachable => Unheard::Failed(refusal),
        }
    }
}

impl Federation {
    /// Does what a notification of another server asks for.
    ///
    /// # Errors
    /// [`Unheard`]. What no share is known for counts as a guess.
    pub async fn notified(&self, notification: &Notification, from: IpAddr) -> Result<Heard, Unheard> {
        if let Some(wait) = self.calls.address_waits(from) {
            return Err(Unheard::Throttled(wait));
        }
        if notification.provider_id.is_empty() {
            return Err(Unheard::Invalid("providerId is missing"));
        }
        if notification.secret.is_empty() && matches!(notification.kind.as_str(), "SHARE_UNSHARED" | CHANGE) {
            return if notification.text("grantee").is_empty() {
                Err(Unheard::Invalid("notification.sharedSecret is missing"))
            } else {
                self.hinted(notification, from)
            };
        }
        if notification.secret.is_empty() {
            return Err(Unheard::Invalid("notification.sharedSecret is missing"));
        }
        let heard = match notification.kind.as_str() {
            "SHARE_UNSHARED" => self.on_unshared(notification, from).await,
            // What its server answers tells the rights, whatever stands here.
            CHANGE => Ok(self.changed_there(notification, from)),
            "SHARE_ACCEPTED" | "SHARE_DECLINED" | "REQUEST_RESHARE" | "RESHARE_UNDO" | "RESHARE_CHANGE_PERMISSION" => {
                self.on_sent(notification, from).await
            }
            "" => Err(Unheard::Invalid("notificationType is missing")),
            _ => Err(Unheard::Unsupported),
        };
        if matches!(heard, Err(Unheard::NoSuchShare)) {
            self.guessed(from);
        }
        heard
    }

    /// The other server ended a share. What is not there any more is as it should be: servers say it again until they are answered so.
    async fn on_unshared(&self, notification: &Notification, from: IpAddr) -> Result<Heard, Unheard> {
        if !self.withdraw(&notification.provider_id, &notification.secret).await? {
            self.guessed(from);
        }
        Ok(Heard::Done)
    }

    /// Something about a share that we sent, or asked another server for.
    async fn on_sent(&self, notification: &Notification, from: IpAddr) -> Result<Heard, Unheard> {
        if self.asked_heard(notification).await? {
            return Ok(Heard::Done);
        }
        let (id, secret) = (notification.provider_id.as_str(), &notification.secret);
        match notification.kind.as_str() {
            "SHARE_ACCEPTED" => self.on_accepted(id, secret).await?,
            "SHARE_DECLINED" => self.on_declined(id, secret).await?,
            "RESHARE_UNDO" => self.on_reshare_undo(id, secret).await?,
            "REQUEST_RESHARE" => return self.reshare_asked(notification, from).await,
            _ => self.on_permissions(id, secret, permissions_in(notification)?).await?,
        }
        Ok(Heard::Done)
    }

    pub(super) fn guessed(&self, from: IpAddr) {
        self.calls.failed(from, &format!("ocm:{from}"));
    }
}

/// The rights in a notification: ownCloud sends words by one protocol, and bits by the other.
fn permissions_in(notification: &Notification) -> Result<Permissions, Unheard> {
    let words = notification.texts("permission");
    if !words.is_empty() {
        return Ok(permissions_of(&words));
    }
    let bits = notification.text("permissions").parse().ok().filter(|bits| *bits <= Permissions::ALL.0);
    bits.map(Permissions).ok_or(Unheard::Invalid("notification.permission is missing, or names no rights"))
}
