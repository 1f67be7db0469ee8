//! What other servers say about shares that we sent to them.
//!
//! A share is named by its number and its secret, and who names either wrongly is answered alike (attack F5). Nothing here raises rights: a
//! share that is asked for is made from the asker's own, whose rights bound it at each request (attacks F1, F7).

use std::net::IpAddr;
use std::sync::Arc;

use super::Federation;
use super::door::number;
use super::inbox::{Heard, Unheard};
use super::not_sent::NotSent;
use super::sent::secret_of;
use crate::domain::{Asked, CloudId, Permissions, Secret, SentShare, SentState, Share, ShareId, ShareWith};
use crate::limits::{CLOUD_RESHARES_MAX, OCM_ID_BYTES_MAX, SHARE_HOPS_MAX};
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::service::shares::same;
use crate::store::Batch;
use crate::wire::ocm::Notification;

impl Federation {
    /// Its user has accepted a share. Said again, nothing comes of it.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one.
    pub async fn on_accepted(&self, provider_id: &str, secret: &Secret) -> Result<()> {
        let _changing = self.forest.shares().change().await;
        let (_, sent) = self.named(provider_id, secret)?;
        match sent.state {
            SentState::Sending | SentState::Pending => self.answered(&sent, SentState::Accepted, "SHARE_ACCEPTED").await,
            SentState::Accepted | SentState::Declined => Ok(()),
        }
    }

    /// Its user does not want a share, or has removed it: it ends, with what was shared on from it.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one.
    pub async fn on_declined(&self, provider_id: &str, secret: &Secret) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (_, sent) = self.named(provider_id, secret)?;
        if sent.state != SentState::Declined {
            self.answered(&sent, SentState::Declined, "SHARE_DECLINED").await?;
        }
        Ok(self.forest.drop_shares(&changing, &[sent.share]).await?)
    }

    /// [`Federation::on_reshare_request`] for a server that asks from an address. What it names and we cannot reach counts against it: it must not
    /// make us knock at hosts of its choice (attack F9).
    pub(super) async fn reshare_asked(&self, notification: &Notification, from: IpAddr) -> Result<Heard, Unheard> {
        if let Some(wait) = self.knocks.address_waits(from) {
            return Err(Unheard::Throttled(wait));
        }
        let (with, sender) = (notification.text("shareWith"), notification.text("senderId"));
        let made = self.on_reshare_request(&notification.provider_id, &notification.secret, &with, &sender).await;
        let is_offered = |id: &str| number(id).and_then(|id| self.sent.get(id)).is_some_and(|sent| sent.state == SentState::Sending);
        // What goes on behind the answer may not be reached either.
        let unreached = match &made {
            Ok((_, id)) => is_offered(id),
            Err(NotSent::Undelivered { .. }) => true,
            Err(NotSent::Refused(_)) => false,
        };
        if unreached {
            self.knocks.failed(from, "reshare");
        }
        let (secret, id) = made.map_err(Refusal::from)?;
        Ok(Heard::Reshared { id, secret })
    }

    /// Its receiver shares a share on: the owner makes a share from it, offers it to `share_with` itself, and answers with its secret and
    /// number. `sender_id` is the number that the receiver's server gives it. Asked again, the answer is the same. Where the new receiver's
    /// server is slow, the answer comes before its own: what becomes of it is told by `SHARE_ACCEPTED`, or by `RESHARE_UNDO`.
    ///
    /// # Errors
    /// Where number and secret do not name a share, it is closed for now, it may not be shared on, or the new receiver's server does not take it.
    pub async fn on_reshare_request(
        &self,
        provider_id: &str,
        secret: &Secret,
        share_with: &str,
        sender_id: &str,
    ) -> Result<(Secret, String), NotSent> {
        let to = CloudId::parse(share_with).map_err(|error| Refusal::usage(error.to_string()))?;
        if sender_id.len() > OCM_ID_BYTES_MAX {
            return Err(Refusal::usage(format!("a number has {OCM_ID_BYTES_MAX} bytes at most")).into());
        }
        let changing = self.forest.shares().change().await;
        let (parent, sent) = self.named_and_open(provider_id, secret)?;
        let permissions = self.shares.rights(&parent).await?;
        if !permissions.contains(Permissions::SHARE | Permissions::READ) {
            return Err(Refusal::refused("this may not be shared on").into());
        }
        if to.is(&sent.to) {
            return Err(Refusal::refused("nobody shares with themselves").into());
        }
        let local = if self.is_ours(&to) { Some(self.local(&to)?) } else { None };
        if local.is_none() {
            self.policies.partners().judge(&to)?;
        }
        let with = local.map_or_else(|| ShareWith::Remote(to.clone()), ShareWith::User);
        let with = self.shares.receiver(&with, &parent.owner, &parent.shared_by)?;
        let made: Vec<_> = self.forest.shares().of_node(parent.node).into_iter().filter(|share| share.parent == Some(parent.id)).collect();
        if let Some(there) = made.iter().find(|share| same(&share.with, &with)) {
            let (_, there) = self.both(there.id)?;
            if there.state == SentState::Sending {
                return Err(Refusal::refused("this is being shared on just now; ask again soon").into());
            }
            return Ok(answer(&there));
        }
        self.shares.one_more_hop(&parent)?;
        self.shares.room_for_more(&parent.shared_by)?;
        if self.shared_on(&parent) >= CLOUD_RESHARES_MAX {
            return Err(Refusal::refused(format!("this was shared on with {CLOUD_RESHARES_MAX} already")).into());
        }
        let share = Share {
            id: ShareId(self.store.next_id().map_err(Refusal::from)?),
            permissions,
            with,
            parent: Some(parent.id),
            created: self.clock.now(),
            note: String::new(),
            ..Share::clone(&parent)
        };
        let asked = Asked { by: sent.to.clone(), id: sender_id.to_owned() };
        let id = share.id;
        if let ShareWith::Remote(_) = &share.with {
            let sending = self.begin(changing, &share, Some(asked)).await?;
            self.deliver_soon(sending).await?;
        } else {
            // Until the share is there as well, its row must not look like that of an ended one.
            let _sending = self.sending(id);
            let sent = SentShare { state: SentState::Accepted, ..self.new_secret(&share, to, Some(asked))? };
            self.put(sent).await?;
            let receivers = self.shares.users_of(&share);
            self.shares.give(&changing, Some(share), receivers).await?;
        }
        tracing::info!(share.id = id.0, parent.id = parent.id.0, "a share was shared on by a user of another server");
        let (_, made) = self.both(id)?;
        Ok(answer(&made))
    }

    /// Who asked for a share takes that back: it ends.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name a share that was asked for.
    pub async fn on_reshare_undo(&self, provider_id: &str, secret: &Secret) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (_, sent) = self.named(provider_id, secret)?;
        let Some(asked) = &sent.asked else { return Err(unknown()) };
        // Who says so need not be told.
        let asked = Some(Asked { id: String::new(), ..asked.clone() });
        self.put(SentShare { asked, ..SentShare::clone(&sent) }).await?;
        Ok(self.forest.drop_shares(&changing, &[sent.share]).await?)
    }

    /// Its receiver, or who asked for it, makes a share smaller. It never grows by this.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one; usage where nothing would be left; failed while it is closed.
    pub async fn on_permissions(&self, provider_id: &str, secret: &Secret, permissions: Permissions) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (share, _) = self.named_and_open(provider_id, secret)?;
        let less = share.permissions & permissions;
        if !less.contains(Permissions::READ) {
            return Err(Refusal::usage("a share lets its receiver read at least"));
        }
        if less != share.permissions {
            changing.put(Some(Share { permissions: less, ..Share::clone(&share) }), Vec::new()).await?;
        }
        Ok(())
    }

    /// The share that a number and a secret name together.
    fn named(&self, provider_id: &str, secret: &Secret) -> Result<(Arc<Share>, Arc<SentShare>)> {
        let sent = self.sent.opened_by(secret.expose()).filter(|sent| number(provider_id) == Some(sent.share)).ok_or_else(unknown)?;
        let share = self.forest.shares().get(sent.share).filter(|share| !share.is_expired(self.clock.now())).ok_or_else(unknown)?;
        Ok((share, sent))
    }

    /// [`Federation::named`] of what may be done now: not while a user of it is disabled, or the administrator does not let it go to other servers.
    fn named_and_open(&self, provider_id: &str, secret: &Secret) -> Result<(Arc<Share>, Arc<SentShare>)> {
        let (share, sent) = self.named(provider_id, secret)?;
        if self.is_closed(&share) { Err(Refusal::failed("this share is closed for now; try again later")) } else { Ok((share, sent)) }
    }

    /// How many shares were made from what one receiver elsewhere was given, by whomever: those who share on are not to multiply.
    fn shared_on(&self, parent: &Arc<Share>) -> usize {
        let above = |share: &Arc<Share>| share.parent.and_then(|parent| self.forest.shares().get(parent));
        let chain = std::iter::successors(Some(Arc::clone(parent)), above).take(SHARE_HOPS_MAX);
        let first = chain.filter(|share| matches!(share.with, ShareWith::Remote(_))).last();
        self.forest.shares().with_descendants(&[first.map_or(parent.id, |first| first.id)]).len().saturating_sub(1)
    }

    /// Writes the receiver's answer and what is told of it to who asked for the share, both at once. The caller has the turn to change something.
    async fn answered(&self, sent: &SentShare, state: SentState, kind: &str) -> Result<()> {
        let answered = SentShare { state, ..sent.clone() };
        let mut batch = Batch::new().put(&answered);
        if let Some(asked) = sent.asked.as_ref().filter(|asked| !asked.id.is_empty()) {
            batch = self.answer_message(batch, &asked.by, &Notification::new(kind, &asked.id, secret_of(sent)))?;
        }
        self.store.commit(batch).await?;
        self.sent.insert(answered);
        self.outbox.wake();
        Ok(())
    }
}

/// The one answer for a number and a secret that do not belong together.
fn unknown() -> Refusal {
    Refusal::not_found("there is no share of that number with that secret")
}

fn answer(sent: &SentShare) -> (Secret, String) {
    (secret_of(sent), sent.share.0.to_string())
}
