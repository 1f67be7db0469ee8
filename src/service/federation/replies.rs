//! What other servers say about shares that we sent to them.
//!
//! A share is named by its number and its secret, and who names either wrongly is answered alike (attack F5). Nothing here raises rights: a
//! share that is asked for is made from the asker's own, whose rights bound it at each request (attacks F1, F7).

use std::sync::Arc;

use super::Federation;
use super::door::number;
use super::not_sent::NotSent;
use super::sent::secret_of;
use crate::domain::{Asked, CloudId, Permissions, Secret, SentShare, SentState, Share, ShareId, ShareWith};
use crate::limits::{CLOUD_RESHARES_MAX, OCM_ID_BYTES_MAX};
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::service::shares::same;
use crate::wire::ocm::Notification;

impl Federation {
    /// Its user has accepted a share.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one.
    pub async fn on_accepted(&self, provider_id: &str, secret: &Secret) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (_, sent) = self.named(provider_id, secret)?;
        self.set_state(sent.share, SentState::Accepted).await?;
        drop(changing);
        self.forward("SHARE_ACCEPTED", &sent).await;
        Ok(())
    }

    /// Its user does not want a share, or has removed it: it ends, with what was shared on from it.
    ///
    /// # Errors
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one.
    pub async fn on_declined(&self, provider_id: &str, secret: &Secret) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (_, sent) = self.named(provider_id, secret)?;
        self.set_state(sent.share, SentState::Declined).await?;
        self.forest.drop_shares(&changing, &[sent.share]).await?;
        drop(changing);
        self.forward("SHARE_DECLINED", &sent).await;
        Ok(())
    }

    /// Its receiver shares a share on: the owner makes a share from it, offers it to `share_with` itself, and answers with its secret and
    /// number. `sender_id` is the number that the receiver's server gives it. Asked again, the answer is the same.
    ///
    /// # Errors
    /// Where number and secret do not name a share, it may not be shared on, or the new receiver's server does not take it.
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
        let (parent, sent) = self.named(provider_id, secret)?;
        let permissions = self.shares.rights(&parent).await?;
        if !permissions.contains(Permissions::SHARE | Permissions::READ) {
            return Err(Refusal::refused("this may not be shared on").into());
        }
        if to.is(&sent.to) {
            return Err(Refusal::refused("nobody shares with themselves").into());
        }
        let local = if self.is_ours(&to) { Some(self.local(&to)?) } else { None };
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
        if made.len() >= CLOUD_RESHARES_MAX {
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
            self.deliver(sending).await?;
        } else {
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
    /// [`crate::service::Reason::NotFound`] where number and secret do not name one; usage where nothing would be left.
    pub async fn on_permissions(&self, provider_id: &str, secret: &Secret, permissions: Permissions) -> Result<()> {
        let changing = self.forest.shares().change().await;
        let (share, _) = self.named(provider_id, secret)?;
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

    /// Passes the receiver's answer on to who asked for a share.
    async fn forward(&self, kind: &str, sent: &SentShare) {
        let Some(asked) = sent.asked.as_ref().filter(|asked| !asked.id.is_empty()) else { return };
        if let Err(error) = self.tell(&asked.by, Notification::new(kind, &asked.id, secret_of(sent))).await {
            tracing::info!(share.id = sent.share.0, %error, "an answer could not be passed on");
        }
    }
}

/// The one answer for a number and a secret that do not belong together.
fn unknown() -> Refusal {
    Refusal::not_found("there is no share of that number with that secret")
}

fn answer(sent: &SentShare) -> (Secret, String) {
    (secret_of(sent), sent.share.0.to_string())
}
