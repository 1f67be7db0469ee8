//! What is told of a share that we received without proving it, or without saying how it is now: a reason to look, and nothing more.
//!
//! oCIS sends no secret with its notifications (`protocol/ocm.md` 1.6); whoever knows the number of a share and its receiver could write the same.
//! **Invariants:** such a hint makes us ask the server that has the share, as its mount does anyway, and only that answer ends it or changes its
//! rights; nobody is asked before the receiver has accepted (attack F8), nor from who asks too often.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::Federation;
use super::inbox::{Heard, Unheard};
use crate::domain::{CloudId, MountState, Offer, ReceivedState, ShareId};
use crate::service::refusal::Result;
use crate::service::secrets::digest;
use crate::wire::ocm::Notification;

/// Most shares that are looked at again at one time; what comes above that is found out by polls.
const DOUBTS_MAX: usize = 64;
/// Longest look at one.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// What is said of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// That it has ended; else that its rights are others.
    ended: bool,
    /// By the secret of the share.
    proven: bool,
}

/// Shares that are to be looked at.
pub(super) type Doubts = std::sync::Mutex<HashMap<ShareId, Doubt>>;

impl Federation {
    /// The server of a share says, without its secret, that it has ended or grants something else. The answer is the same whether there is
    /// such a share or not; what names none counts as a guess.
    ///
    /// # Errors
    /// [`Unheard::Throttled`] for who says such things without end.
    pub(super) fn hinted(&self, notification: &Notification, from: IpAddr) -> Result<Heard, Unheard> {
        if let Some(wait) = self.knocks.address_waits(from) {
            return Err(Unheard::Throttled(wait));
        }
        let grantee = notification.text("grantee");
        let ours = |offer: &Offer| {
            let address = CloudId::parse(&grantee).ok().filter(|address| self.is_ours(address));
            grantee == offer.user.as_str() || address.is_some_and(|address| address.user() == offer.user.as_str())
        };
        let mut named = self.offers.all();
        named.retain(|offer| offer.provider_id == notification.provider_id && ours(offer));
        match named.as_slice() {
            [one] => {
                self.knocks.failed(from, "hint");
                self.doubt(one, Doubt { ended: notification.kind == "SHARE_UNSHARED", proven: false });
            }
            // Two servers count alike: which of them says so is not known.
            _ => self.guessed(from),
        }
        Ok(Heard::Done)
    }

    /// The server of a share says, by its secret, that it grants something else: the server is asked what.
    pub(super) fn changed_there(&self, notification: &Notification, from: IpAddr) -> Heard {
        let given = digest(notification.secret.expose());
        let mut named = self.offers.all();
        named.retain(|offer| offer.provider_id == notification.provider_id && offer.digest == given);
        if named.is_empty() {
            self.guessed(from);
        }
        named.iter().for_each(|offer| self.doubt(offer, Doubt { ended: false, proven: true }));
        Heard::Done
    }

    fn doubt(&self, offer: &Offer, doubt: Doubt) {
        if offer.state != ReceivedState::Accepted {
            return;
        }
        let mut doubts = self.offers.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if doubts.len() < DOUBTS_MAX {
            let known = doubts.entry(offer.id).or_insert(doubt);
            *known = Doubt { ended: known.ended || doubt.ended, proven: known.proven || doubt.proven };
        }
        drop(doubts);
        self.outbox.wake();
    }

    /// What is to be looked at now.
    pub(super) fn take_doubts(&self) -> HashMap<ShareId, Doubt> {
        std::mem::take(&mut *self.offers.doubts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the server of a share how it is; gives the share if it has ended. Holds no lock: whoever waits for several of these does other things
    /// meanwhile.
    pub(super) async fn look_at(&self, id: ShareId, doubt: Doubt) -> Option<Arc<Offer>> {
        let looked = timeout(LOOK_TIME, self.try_look(id, doubt)).await;
        looked.unwrap_or_else(|_elapsed| {
            tracing::info!(share.id = id.0, "the server of a share does not answer whether it has ended");
            None
        })
    }

    async fn try_look(&self, id: ShareId, doubt: Doubt) -> Option<Arc<Offer>> {
        let offer = self.offers.get(id).filter(|offer| offer.state == ReceivedState::Accepted)?;
        let handle = offer.mount.and_then(|mount| self.forest.mounts().get(mount))?;
        let family = async || self.remotes.peer(offer.server()).await.is_ok_and(|peer| peer.ocm.is_some_and(|discovery| discovery.reva));
        // All others send secrets: without one somebody else said it.
        if !doubt.proven && !family().await {
            return None;
        }
        let state = handle.retry().await;
        // Two notifications may have been taken for one look.
        if state == MountState::Online
            && let Err(error) = handle.relist().await
        {
            tracing::info!(share.id = id.0, %error, "the rights of a share that changed could not be read");
        }
        (state == MountState::Withdrawn && doubt.ended).then_some(offer)
    }

    /// Ends a share whose server was asked and says so.
    pub(super) async fn end_gone(&self, gone: Option<Arc<Offer>>) {
        let Some(gone) = gone else { return };
        let _changing = self.offers.changing.lock().await;
        if let Some(offer) = self.offers.get(gone.id).filter(|now| now.mount == gone.mount)
            && let Err(error) = self.end(&offer, false).await
        {
            tracing::warn!(share.id = offer.id.0, %error, "a share that has ended could not be taken out of the tree");
        }
    }
}
