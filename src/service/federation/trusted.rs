//! What users of trusted servers share, taken without asking its receiver.
//!
//! The trusted server itself is asked for the share, as at any accepting: who only writes its name into an offer has nothing accepted that it
//! does not have. **Invariants:** that an offer is to be taken is stored with the offer, and forgotten once that was tried to the end; what fails
//! leaves the offer as any other, waiting for its receiver.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use super::Federation;
use crate::domain::{Offer, OfferedAt, ShareId, Timestamp};
use crate::service::Reason;
use crate::store::{Batch, Record, Table};

/// How often a trusted server is asked that does not answer.
const TRIES_MAX: u32 = 5;
/// Seconds until it is asked again; three times as many after each further try.
const WAIT_SECONDS: i64 = 60;
/// How many offers are taken at once.
const TAKEN_AT_ONCE: usize = 8;
/// Longest pause of the loop.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// An offer that is to be accepted without asking.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Welcome {
    offer: ShareId,
    tries: u32,
    /// When it is tried next.
    due: Timestamp,
}

impl Record for Welcome {
    const TABLE: Table = Table::Welcomes;
    fn key(&self) -> Vec<u8> {
        self.offer.0.to_be_bytes().to_vec()
    }
}

impl Federation {
    /// Adds to the batch that stores an offer that it is to be accepted, if the server that has it is trusted so far.
    pub(super) fn welcome(&self, batch: Batch, offer: &Offer) -> Batch {
        let welcome = Welcome { offer: offer.id, tries: 0, due: self.clock.now() };
        if self.is_welcome(offer) { batch.put(&welcome) } else { batch }
    }

    /// Whether a share lies on a server from which shares are taken without asking: that one alone is asked for it.
    fn is_welcome(&self, offer: &Offer) -> bool {
        let partners = self.policies.partners();
        let there = match &offer.at {
            OfferedAt::Discovered => true,
            OfferedAt::Url(url) => partners.accepts_from(url),
        };
        there && partners.accepts_from(&offer.server().url()) && self.is_allowed(offer)
    }

    /// Whether the administrator lets users have this share: by whose it is, by who offers it, and by where it lies.
    pub(super) fn is_allowed(&self, offer: &Offer) -> bool {
        let partners = self.policies.partners();
        let place = match &offer.at {
            OfferedAt::Discovered => None,
            OfferedAt::Url(url) => Some(url.clone()),
        };
        [offer.owner.url(), offer.sender.url()].into_iter().chain(place).all(|url| partners.takes_part(&url))
    }

    /// Accepts what trusted servers offer, as it comes, for as long as it is polled. What waits from before is tried at once.
    pub async fn follow_trusted(&self) {
        let mut taking = FuturesUnordered::new();
        let mut busy: HashSet<ShareId> = HashSet::new();
        let mut start = true;
        loop {
            let now = self.clock.now();
            let all = self.store.list::<Welcome>().unwrap_or_else(|error| {
                tracing::error!(%error, "what trusted servers offered cannot be read");
                Vec::new()
            });
            let due = all.iter().filter(|welcome| start || welcome.due <= now);
            for welcome in due.take(TAKEN_AT_ONCE * 2) {
                if busy.len() < TAKEN_AT_ONCE && busy.insert(welcome.offer) {
                    taking.push(self.take_in(welcome.clone()));
                }
            }
            start = start && busy.len() >= TAKEN_AT_ONCE;
            tokio::select! {
                Some(offer) = taking.next(), if !taking.is_empty() => drop(busy.remove(&offer)),
                () = self.offers.welcome.notified() => {}
                () = tokio::time::sleep(PAUSE_MAX) => {}
            }
        }
    }

    /// Tries to accept one offer.
    async fn take_in(&self, welcome: Welcome) -> ShareId {
        let id = welcome.offer;
        let batch = match self.try_to_take(&welcome).await {
            None => Batch::new().delete::<Welcome>(&welcome.key()),
            Some(later) => Batch::new().put(&later),
        };
        if let Err(error) = self.store.commit(batch).await {
            tracing::error!(%error, share.id = id.0, "that a share of a trusted server was tried cannot be kept");
        }
        id
    }

    /// Gives when it is to be tried again.
    async fn try_to_take(&self, welcome: &Welcome) -> Option<Welcome> {
        let offer = self.offers.get(welcome.offer).filter(|offer| self.is_welcome(offer))?;
        let user = self.accounts.get(&offer.user)?;
        let host = offer.server().host();
        match Box::pin(self.accept(&user, offer.id)).await {
            Ok(_accepted) => {
                tracing::info!(share.id = offer.id.0, user.id = %offer.user, remote.host = host, "a share of a trusted server was taken");
                None
            }
            Err(refusal) => {
                tracing::info!(share.id = offer.id.0, remote.host = host, error = %refusal, "a share of a trusted server waits for its receiver");
                let tries = welcome.tries + 1;
                let due = self.clock.now().saturating_add(WAIT_SECONDS.saturating_mul(3_i64.saturating_pow(welcome.tries)));
                (refusal.reason == Reason::RemoteUnreachable && tries < TRIES_MAX).then_some(Welcome { offer: offer.id, tries, due })
            }
        }
    }
}
