//! Accepting invitations of other servers.

use std::time::Duration;

use super::invitations::address;
use crate::domain::{CloudId, Contact, Secret, User};
use crate::limits::OCM_ID_BYTES_MAX;
use crate::remote;
use crate::service::federation::Federation;
use crate::service::{Reason, Refusal};
use crate::store::{self, Batch};
use crate::wire::invite::InviteAccepted;

/// Why an invitation of another server could not be accepted. Each is one plain sentence for the user; what lies between us and the other
/// server has one text, whatever it is (attack F9).
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// What was pasted is no invitation.
    #[error("this is no invitation: paste the whole text or link that you were sent")]
    Unreadable,
    /// It is one of this server.
    #[error("this is an invitation of this server itself: its users can share with each other without one")]
    Ourselves,
    /// The administrator of this server does not want it: not with any server, or not with that one.
    #[error("the administrator of this server does not allow sharing with that server")]
    NotAllowed,
    /// The user has asked too often for what is not there.
    #[error("too many invitations could not be accepted; try again later")]
    Throttled(Duration),
    /// The other server could not be found or asked, or takes no invitations.
    #[error("the server `{host}` cannot be reached now, or takes no invitations; check the invitation, or try again later")]
    Unreachable {
        /// Its name, as the invitation has it.
        host: String,
        /// What went wrong, for administrators.
        #[source]
        error: remote::Error,
    },
    /// The other server does not know it, or not any more.
    #[error("the server `{host}` does not know this invitation, or its time is over; ask for a new one")]
    Unknown {
        /// Its name.
        host: String,
    },
    /// Somebody has accepted it already.
    #[error("this invitation was accepted already; ask for a new one")]
    Taken,
    /// The other server does not trust this one.
    #[error(
        "the server `{host}` does not trust this one: ask its administrator to add this server; `causeway remote ocmproviders` prints what to add"
    )]
    Untrusted {
        /// Its name.
        host: String,
    },
    /// The store, or the user knows too many already.
    #[error("{0}")]
    Failed(Refusal),
}

impl From<store::Error> for NotAccepted {
    fn from(error: store::Error) -> NotAccepted {
        NotAccepted::Failed(error.into())
    }
}

impl From<Refusal> for NotAccepted {
    fn from(refusal: Refusal) -> NotAccepted {
        NotAccepted::Failed(refusal)
    }
}

impl From<NotAccepted> for Refusal {
    /// In words for users.
    fn from(not_accepted: NotAccepted) -> Refusal {
        let text = not_accepted.to_string();
        let reason = match not_accepted {
            NotAccepted::Unreadable => Reason::Usage,
            NotAccepted::Unreachable { .. } => Reason::RemoteUnreachable,
            NotAccepted::Unknown { .. } => Reason::NotFound,
            NotAccepted::Failed(refusal) => return refusal,
            NotAccepted::Ourselves
            | NotAccepted::NotAllowed
            | NotAccepted::Throttled(_)
            | NotAccepted::Taken
            | NotAccepted::Untrusted { .. } => Reason::Refused,
        };
        Refusal::new(reason, text)
    }
}

impl NotAccepted {
    /// In words for administrators, who are told what lies between us and the other server.
    pub fn for_administrators(self) -> Refusal {
        let NotAccepted::Unreachable { host, error } = &self else { return self.into() };
        let hint = match error {
            remote::Error::NotAllowed => format!("; `causeway remote allow-private {host}` allows that"),
            remote::Error::Untrusted(_) => format!("; `causeway doctor https://{host}` shows its fingerprint"),
            remote::Error::Unreachable { .. }
            | remote::Error::BadAnswer(_)
            | remote::Error::Redirected
            | remote::Error::Unauthorized
            | remote::Error::Forbidden
            | remote::Error::NotFound
            | remote::Error::Unsupported
            | remote::Error::Conflict
            | remote::Error::PreconditionFailed
            | remote::Error::Locked
            | remote::Error::Full
            | remote::Error::Loop
            | remote::Error::SharingOff
            | remote::Error::Throttled { .. }
            | remote::Error::Busy { .. }
            | remote::Error::Rejected(_)
            | remote::Error::Changed
            | remote::Error::SourceBroken => String::new(),
        };
        let reason = if hint.is_empty() { Reason::RemoteUnreachable } else { Reason::Refused };
        Refusal::new(reason, format!("the invitation was not accepted by {host}: {error}{hint}"))
    }
}

impl Federation {
    /// Accepts an invitation of another server for a user: that server is told who the user is, and says who invited; they become a contact.
    /// `provider` is the server as the invitation names it, perhaps with a scheme; [`crate::wire::invite::Invite::parse`] reads both
    /// from what people paste.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub async fn accept_invitation(&self, user: &User, token: &Secret, provider: &str) -> Result<Contact, NotAccepted> {
        let subject = format!("invitations of {}", user.name);
        if let Some(wait) = self.knocks.subject_waits(&subject) {
            return Err(NotAccepted::Throttled(wait));
        }
        self.may_know(user).map_err(|_refusal| NotAccepted::NotAllowed)?;
        let printable = token.expose().chars().all(|letter| !letter.is_control());
        if token.is_empty() || token.expose().len() > OCM_ID_BYTES_MAX || !printable {
            return Err(NotAccepted::Unreadable);
        }
        let server = CloudId::at("x", provider.trim()).map_err(|_error| NotAccepted::Unreadable)?;
        if self.is_ours(&server) {
            return Err(NotAccepted::Ourselves);
        }
        if !self.policies.partners().takes_part(&server.url()) {
            return Err(NotAccepted::NotAllowed);
        }
        let asked = self.tell_acceptance(user, token, &server).await;
        // Whoever makes this server knock at others, or guesses there, is slowed (attacks F4, F9).
        if matches!(asked, Err(NotAccepted::Unreachable { .. } | NotAccepted::Unknown { .. })) {
            self.knocks.subject_failed(&subject);
        }
        asked
    }

    async fn tell_acceptance(&self, user: &User, token: &Secret, server: &CloudId) -> Result<Contact, NotAccepted> {
        let host = || server.host().to_owned();
        let away = |error: remote::Error| {
            tracing::info!(remote.host = server.host(), user.id = %user.name, %error, "an invitation could not be accepted");
            self.remotes.forget_peer(server);
            NotAccepted::Unreachable { host: host(), error }
        };
        let peer = self.remotes.peer(server).await.map_err(away)?;
        let us = self.person(user)?;
        let accepted = InviteAccepted { provider: self.provider()?, token: token.clone(), user: us.user, email: us.email, name: us.name };
        let inviter = self.remotes.accept_invite(&peer, &accepted).await.map_err(|error| match error {
            remote::Error::Rejected(_) | remote::Error::NotFound => NotAccepted::Unknown { host: host() },
            remote::Error::Conflict => NotAccepted::Taken,
            remote::Error::Unauthorized | remote::Error::Forbidden => NotAccepted::Untrusted { host: host() },
            remote::Error::Unreachable { .. }
            | remote::Error::NotAllowed
            | remote::Error::Untrusted(_)
            | remote::Error::BadAnswer(_)
            | remote::Error::Redirected
            | remote::Error::Unsupported
            | remote::Error::PreconditionFailed
            | remote::Error::Locked
            | remote::Error::Full
            | remote::Error::Loop
            | remote::Error::SharingOff
            | remote::Error::Throttled { .. }
            | remote::Error::Busy { .. }
            | remote::Error::Changed
            | remote::Error::SourceBroken => away(error),
        })?;
        // Whatever the answer says, who invited is a user of the server that was asked.
        let unusable = |_why| away(remote::Error::BadAnswer("it does not say who invited"));
        let inviter_at = address(&inviter.user, &server.url()).map_err(unusable)?;
        let _changing = self.offers.people.lock().await;
        let contact = self.contact(user, &inviter_at, &inviter.name, &inviter.email)?;
        self.store.commit(Batch::new().put(&contact)).await?;
        tracing::info!(contact.id = contact.id, user.id = %user.name, remote.host = server.host(), "an invitation of another server was accepted");
        Ok(contact)
    }
}
