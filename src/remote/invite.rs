//! Accepting an invitation of another server (`protocol/ocm.md` 1.7).

use http::StatusCode;

use crate::remote::ocm::within;
use crate::remote::{Error, Peer, Remotes};
use crate::wire::invite::{InviteAccepted, Person};

impl Remotes {
    /// Tells a peer that one of our users accepts an invitation of one of its users; gives who that is. Whatever type the answer says it
    /// has: OpenCloud names none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where it takes no invitations. [`Error::Rejected`] or [`Error::NotFound`] where it does not know this one, or not any
    /// more; [`Error::Forbidden`] or [`Error::Unauthorized`] where it does not trust us; [`Error::Conflict`] where it was accepted already.
    pub async fn accept_invite(&self, peer: &Peer, accepted: &InviteAccepted) -> Result<Person, Error> {
        let Some(discovery) = &peer.ocm else { return Err(Error::Unsupported) };
        within(async {
            let answer = self.post_json(discovery, "/invite-accepted", &accepted.body()).await?;
            if !matches!(answer.status(), StatusCode::OK | StatusCode::CREATED) {
                return Err(Error::from_status(answer.status(), answer.headers()));
            }
            Person::parse(&answer.page(self).await?).ok_or(Error::BadAnswer("it does not say who invited"))
        })
        .await
    }
}
