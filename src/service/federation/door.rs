//! The door of what is shared with users of other servers: whose secret opens which share. Unknown and ended look alike, and unknown ones count
//! as guesses on every way in (attack F4).

use std::net::IpAddr;
use std::sync::Arc;

use super::Federation;
use crate::domain::{Error, Permissions, SentShare, Share, ShareId, ShareWith};
use crate::service::passwords::{Verdict, hex};
use crate::service::secrets::digest;
use crate::service::sharing::Closed;
use crate::tree::View;
use crate::wire::Via;

impl Federation {
    /// What a secret opens, where it may be the token of a link as well: an unknown one is for the links to count, and to let wait.
    ///
    /// # Errors
    /// [`Closed::Unknown`], [`Closed::Disabled`], [`Closed::Busy`].
    pub fn open(&self, secret: &str) -> Result<Arc<Share>, Closed> {
        let of_token = || self.of_token(secret).and_then(Result::ok);
        self.opened_sent(&*self.sent.opened_by(secret).or_else(of_token).ok_or(Closed::Unknown)?)
    }

    /// What the other server's half of a share opens.
    pub(super) fn opened_sent(&self, sent: &SentShare) -> Result<Arc<Share>, Closed> {
        let share = self.forest.shares().get(sent.share).filter(|share| !share.is_expired(self.clock.now())).ok_or(Closed::Unknown)?;
        match share.with {
            // One that was asked for by a receiver elsewhere, for a user of ours: its secret only says who asked.
            ShareWith::User(_) | ShareWith::Group(_) => Err(Closed::Unknown),
            // It may come back, and a server that is told that it is gone lets go of it.
            ShareWith::Remote(_) if self.is_closed(&share) => Err(Closed::Disabled),
            ShareWith::Remote(_) => self.as_given(share),
        }
    }

    /// A share with what the link grants now that it comes from, if it does. Without that link it has ended.
    fn as_given(&self, share: Arc<Share>) -> Result<Arc<Share>, Closed> {
        let Some(given) = self.sent.given(share.id) else { return Ok(share) };
        let unread = |error| {
            tracing::error!(%error, share.id = share.id.0, "the link of a share cannot be read");
            Closed::Busy
        };
        let granted = self.granted_by(&given).map_err(unread)?.ok_or(Closed::Unknown)?;
        let policy = self.policies.current();
        // As at the link's own door for servers: closed, and not gone.
        if !policy.links || self.is_counted(&given).map_err(unread)? {
            return Err(Closed::Disabled);
        }
        let granted = if policy.public_upload { granted } else { granted & Permissions::READ };
        Ok(Arc::new(Share { permissions: share.permissions & granted, ..Share::clone(&share) }))
    }

    /// Whether its owner or its sharer is disabled, or the administrator does not let what they share go to other servers, or to this one.
    pub(super) fn is_closed(&self, share: &Share) -> bool {
        let elsewhere = matches!(&share.with, ShareWith::Remote(to) if !self.policies.partners().takes_part(&to.url()));
        elsewhere || [&share.owner, &share.shared_by].iter().any(|user| self.gate.disabled.holds(user) || !self.policies.may_send(user))
    }

    /// The share of a number, for whoever brings its secret. Who has guessed wrongly waits with unknown ones alone: nobody guesses 131 bits, and
    /// other users of the same server keep what they have.
    ///
    /// # Errors
    /// As [`Federation::open`], and [`Closed::Throttled`]; a secret that is not of this share counts as a guess.
    pub fn open_numbered(&self, id: &str, secret: &str, address: IpAddr) -> Result<Arc<Share>, Closed> {
        let found = self.open(secret).and_then(|share| if number(id) == Some(share.id) { Ok(share) } else { Err(Closed::Unknown) });
        if let Err(Closed::Unknown) = found
            && !self.is_worn_token(secret)
        {
            if let Some(wait) = self.gate.throttle.address_waits(address) {
                return Err(Closed::Throttled(wait));
            }
            let subject = format!("secret:{}", hex(&digest(secret)));
            match self.gate.passwords.absent(&subject) {
                Verdict::Wrong => self.gate.throttle.failed(address, "secret"),
                Verdict::Right | Verdict::StillWrong | Verdict::Busy => {}
            }
        }
        found
    }

    /// What an opened share shows.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it grants nothing now.
    pub async fn view(&self, share: &Share, via: Via) -> Result<View, Error> {
        self.forest.remote_view(share, via).await
    }
}

/// The number of a share as other servers name it.
pub(super) fn number(text: &str) -> Option<ShareId> {
    // `+7` and `007` are no names that we gave.
    text.parse().ok().filter(|id: &u64| id.to_string() == text).map(ShareId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_a_number_has_one_spelling() {
        assert_eq!(number("7"), Some(ShareId(7)));
        for text in ["", "+7", "07", " 7", "7 ", "-1", "0x7", "18446744073709551616"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
