//! Whom a call of another server speaks for.

use super::super::Federation;
use super::Claims;
use crate::domain::{CloudId, SentShare, server_of};
use crate::wire::invite::InviteAccepted;
use crate::wire::ocm::{IncomingShare, Notification};

impl Federation {
    /// An offer speaks for the server that has the share: the owner's, or the sender's where the share lies there.
    pub fn claims_of_offer(&self, share: &IncomingShare) -> Claims {
        let (owner, sender) = (CloudId::parse(&share.owner).ok(), CloudId::parse(&share.sender).ok());
        let uri = share.webdav.as_ref().and_then(|webdav| webdav.uri.as_deref());
        // What lacks one of both is refused, whoever signed it.
        let signer = owner.as_ref().zip(sender.as_ref()).map(|(owner, sender)| server_of(owner, sender, uri).clone());
        Claims { signers: signer.into_iter().collect(), named: owner.iter().cloned().chain(sender).collect(), owner }
    }

    /// A notification speaks for the server that has the other end of the share with that number and secret.
    pub fn claims_of_notification(&self, notification: &Notification) -> Claims {
        let (id, secret) = (notification.provider_id.as_str(), &notification.secret);
        let signers = if notification.kind == "SHARE_UNSHARED" || notification.kind == "SHARE_CHANGE_PERMISSION" {
            self.offers_known_by(id, secret).iter().map(|offer| offer.server().clone()).collect()
        } else {
            let sent = self.sent.opened_by(secret.expose()).filter(|sent| super::super::door::number(id) == Some(sent.share));
            let of_sent = sent.iter().map(|sent| says(&notification.kind, sent).clone());
            of_sent.chain(self.server_of_asked(notification)).collect()
        };
        Claims { signers, ..Claims::default() }
    }

    /// Who takes an invitation up speaks for their own server.
    pub fn claims_of_acceptance(&self, accepted: &InviteAccepted) -> Claims {
        let provider = CloudId::at("anybody", &accepted.provider).ok();
        Claims { signers: provider.clone().into_iter().collect(), named: provider.into_iter().collect(), owner: None }
    }

    /// Whoever exchanges a secret speaks for the receiver's server.
    pub fn claims_of_code(&self, code: &str) -> Claims {
        Claims { signers: self.sent.opened_by(code).map(|sent| sent.to.clone()).into_iter().collect(), ..Claims::default() }
    }
}

/// Who says such a thing of a share that we sent: its receiver's server, but of what was shared on at its wish, the server that asked for it.
fn says<'a>(kind: &str, sent: &'a SentShare) -> &'a CloudId {
    match &sent.asked {
        Some(asked) if matches!(kind, "RESHARE_UNDO" | "RESHARE_CHANGE_PERMISSION") => &asked.by,
        Some(_) | None => &sent.to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Asked, SentState, ShareId, ShareToken, UserName};

    #[test]
    fn f14_what_was_asked_for_is_taken_back_by_who_asked_and_answered_by_its_receiver() {
        let address = |text: &str| CloudId::parse(text).unwrap();
        let (to, by) = (address("carol@c.example"), address("bob@b.example"));
        let asked = Some(Asked { by: by.clone(), id: "7".to_owned() });
        let owner = UserName::parse("anna").unwrap();
        let secret = ShareToken::from_random([7; 64]).unwrap();
        let mut sent = SentShare { share: ShareId(1), to: to.clone(), owner, secret, state: SentState::Pending, asked };
        for kind in ["RESHARE_UNDO", "RESHARE_CHANGE_PERMISSION"] {
            assert_eq!(says(kind, &sent), &by, "{kind}");
        }
        for kind in ["SHARE_ACCEPTED", "SHARE_DECLINED", "REQUEST_RESHARE"] {
            assert_eq!(says(kind, &sent), &to, "{kind}");
        }
        sent.asked = None;
        assert_eq!(says("RESHARE_CHANGE_PERMISSION", &sent), &to);
    }
}
