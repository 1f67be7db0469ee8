//! Whom a call of another server speaks for.

use super::super::Federation;
use super::Claims;
use crate::domain::CloudId;
use crate::remote::same_host;
use crate::wire::invite::InviteAccepted;
use crate::wire::ocm::{IncomingShare, Notification};

impl Federation {
    /// An offer speaks for the server that has the share: the owner's, or the sender's where the share lies there.
    pub fn claims_of_offer(&self, share: &IncomingShare) -> Claims {
        let (owner, sender) = (CloudId::parse(&share.owner).ok(), CloudId::parse(&share.sender).ok());
        let uri = share.webdav.as_ref().and_then(|webdav| webdav.uri.as_deref());
        let lies_at = |address: &CloudId| uri.is_some_and(|uri| same_host(&address.url(), uri).is_ok());
        let at_sender = !owner.as_ref().is_some_and(lies_at) && sender.as_ref().is_some_and(lies_at);
        let signer = if at_sender { sender.clone() } else { owner.clone() };
        Claims { signers: signer.into_iter().collect(), named: owner.into_iter().chain(sender).collect() }
    }

    /// A notification speaks for the server that has the other end of the share with that number and secret.
    pub fn claims_of_notification(&self, notification: &Notification) -> Claims {
        let (id, secret) = (notification.provider_id.as_str(), &notification.secret);
        let signers = if notification.kind == "SHARE_UNSHARED" || notification.kind == "SHARE_CHANGE_PERMISSION" {
            self.offers_known_by(id, secret).iter().map(|offer| offer.server().clone()).collect()
        } else {
            let sent = self.sent.opened_by(secret.expose()).filter(|sent| super::super::door::number(id) == Some(sent.share));
            let asked = sent.iter().filter_map(|sent| sent.asked.as_ref().map(|asked| asked.by.clone()));
            sent.iter().map(|sent| sent.to.clone()).chain(asked).collect()
        };
        Claims { signers, named: Vec::new() }
    }

    /// Who takes an invitation up speaks for their own server.
    pub fn claims_of_acceptance(&self, accepted: &InviteAccepted) -> Claims {
        let provider = CloudId::at("anybody", &accepted.provider).ok();
        Claims { signers: provider.clone().into_iter().collect(), named: provider.into_iter().collect() }
    }

    /// Whoever exchanges a secret speaks for the receiver's server.
    pub fn claims_of_code(&self, code: &str) -> Claims {
        Claims { signers: self.sent.opened_by(code).map(|sent| sent.to.clone()).into_iter().collect(), named: Vec::new() }
    }
}
