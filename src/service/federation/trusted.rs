//! What users of trusted servers share, taken without asking its receiver.
//!
//! Anybody can write the name of a trusted server into an offer, and a public link of it opens there as well as a share does. So the offer must
//! come from that server: by its signature, or from an address that its name leads to. Then the server itself is asked for the share, as at any
//! accepting. **Invariants:** without that proof nothing is asked of it; that an offer is to be taken is stored with the offer, and forgotten
//! once that was tried to the end; what fails leaves the offer as any other, waiting for its receiver.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Federation;
use crate::domain::{Offer, OfferedAt, ReceivedState, ShareId, Timestamp};
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
/// Most shares of one server that a user has before further ones wait for the user.
const USER_HOST_WELCOMES_MAX: usize = 50;
/// After so many secrets that a trusted server did not take, it is not asked for a while: it may take us for somebody who guesses.
const REFUSED_MAX: u32 = 5;
/// How long it is not asked, in seconds.
const REFUSED_PAUSE_SECONDS: i64 = 3600;

/// Who called with an offer.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The address that the call came from.
    pub address: IpAddr,
    /// Whether the server that the offer speaks for has signed it.
    pub signed: bool,
}

/// What rings for offers that are to be taken, and the servers that took none lately.
#[derive(Default)]
pub(super) struct Welcoming {
    rung: Notify,
    /// By host: how many secrets it did not take, and when the last.
    refused: Mutex<HashMap<String, (u32, Timestamp)>>,
}

impl Welcoming {
    /// Something came.
    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u32, Timestamp)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_paused(&self, host: &str, now: Timestamp) -> bool {
        self.refused().get(host).is_some_and(|(times, last)| *times >= REFUSED_MAX && now < last.saturating_add(REFUSED_PAUSE_SECONDS))
    }

    /// Counts a secret that was not taken. Only servers that are trusted are counted, so there are few.
    fn count(&self, host: &str, now: Timestamp) {
        let mut refused = self.refused();
        refused.retain(|_, (_, last)| now < last.saturating_add(REFUSED_PAUSE_SECONDS));
        let (times, last) = refused.entry(host.to_owned()).or_insert((0, now));
        (*times, *last) = (times.saturating_add(1), now);
    }
}

/// An offer that is to be accepted without asking.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Welcome {
    offer: ShareId,
    tries: u32,
    /// When it is tried next.
    due: Timestamp,
    /// The address that it came from, which must be its server's; none where that has signed it.
    from: Option<IpAddr>,
}

impl Record for Welcome {
    const TABLE: Table = Table::Welcomes;
    fn key(&self) -> Vec<u8> {
        self.offer.0.to_be_bytes().to_vec()
    }
}

impl Federation {
    /// Adds to the batch that stores an offer that it is to be accepted, if the server that has it is trusted so far. Without a caller it is one with
    /// a group: that is never taken for all of its members.
    pub(super) fn welcome(&self, batch: Batch, offer: &Offer, caller: Option<Caller>) -> Batch {
        let Some(caller) = caller.filter(|_| self.is_welcome(offer)) else { return batch };
        batch.put(&Welcome { offer: offer.id, tries: 0, due: self.clock.now(), from: (!caller.signed).then_some(caller.address) })
    }

    /// Whether owner and sender are of one server from which shares are taken without asking, and the share lies there: that one alone is asked
    /// for it, and not with a secret that it offered before.
    fn is_welcome(&self, offer: &Offer) -> bool {
        let (host, home) = (offer.owner.host(), offer.owner.url());
        let there = match &offer.at {
            OfferedAt::Discovered => true,
            OfferedAt::Url(url) => url.starts_with(&[&home, "/"].concat()),
        };
        if !there || offer.sender.host() != host || !self.policies.partners().accepts_from(&home) || !self.is_allowed(offer) {
            return false;
        }
        let all = self.offers.all();
        let others = || all.iter().filter(|known| known.id != offer.id && known.server().host() == host);
        let has = others().filter(|known| known.user == offer.user && known.state == ReceivedState::Accepted).count();
        has < USER_HOST_WELCOMES_MAX
            && !others().any(|known| known.digest == offer.digest)
            && !self.offers.welcome.is_paused(host, self.clock.now())
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
        self.try_at_once().await;
        loop {
            let now = self.clock.now();
            let all = self.store.list::<Welcome>().unwrap_or_else(|error| {
                tracing::error!(%error, "what trusted servers offered cannot be read");
                Vec::new()
            });
            let due = all.iter().filter(|welcome| welcome.due <= now);
            for welcome in due.take(TAKEN_AT_ONCE * 2) {
                if busy.len() < TAKEN_AT_ONCE && busy.insert(welcome.offer) {
                    taking.push(self.take_in(welcome.clone()));
                }
            }
            tokio::select! {
                Some(offer) = taking.next(), if !taking.is_empty() => drop(busy.remove(&offer)),
                () = self.offers.welcome.rung.notified() => {}
                () = tokio::time::sleep(PAUSE_MAX) => {}
            }
        }
    }

    /// What waits for its time is due now: it may have waited for us.
    async fn try_at_once(&self) {
        let now = self.clock.now();
        let waiting = self.store.list::<Welcome>().unwrap_or_default().into_iter().filter(|welcome| welcome.due > now);
        let batch = waiting.fold(Batch::new(), |batch, welcome| batch.put(&Welcome { due: now, ..welcome }));
        if let Err(error) = self.store.commit(batch).await {
            tracing::warn!(%error, "what trusted servers offered waits for its time");
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
            // It is still due: not at once, as the store may take nothing for long.
            tokio::time::sleep(PAUSE_MAX).await;
        }
        id
    }

    /// Gives when it is to be tried again.
    async fn try_to_take(&self, welcome: &Welcome) -> Option<Welcome> {
        // Who stores an offer has this until it is known here as well.
        drop(self.offers.changing.lock().await);
        let offer = self.offers.get(welcome.offer).filter(|offer| self.is_welcome(offer))?;
        let user = self.accounts.get(&offer.user)?;
        let host = offer.server().host();
        let later = || {
            let tries = welcome.tries + 1;
            let due = self.clock.now().saturating_add(WAIT_SECONDS.saturating_mul(3_i64.saturating_pow(welcome.tries)));
            (tries < TRIES_MAX).then_some(Welcome { tries, due, ..welcome.clone() })
        };
        if let Some(from) = welcome.from {
            match self.remotes.is_at(offer.server(), from).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(share.id = offer.id.0, remote.host = host, client.address = %from,
                        "an offer of a trusted server is not signed and came from another address: it waits for its receiver");
                    return None;
                }
                Err(error) => {
                    tracing::info!(share.id = offer.id.0, remote.host = host, %error, "the addresses of a trusted server are not known now");
                    return later();
                }
            }
        }
        match Box::pin(self.accept(&user, offer.id)).await {
            Ok(_accepted) => {
                tracing::info!(share.id = offer.id.0, user.id = %offer.user, remote.host = host, "a share of a trusted server was taken");
                None
            }
            Err(refusal) => {
                tracing::info!(share.id = offer.id.0, remote.host = host, error = %refusal, "a share of a trusted server waits for its receiver");
                if refusal.reason == Reason::RemoteUnreachable {
                    return later();
                }
                self.offers.welcome.count(host, self.clock.now());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_a_server_that_takes_no_secrets_is_left_alone_for_an_hour() {
        let welcoming = Welcoming::default();
        for second in 0..5 {
            assert!(!welcoming.is_paused("a.example", second));
            welcoming.count("a.example", second);
        }
        assert!(welcoming.is_paused("a.example", 3603) && !welcoming.is_paused("b.example", 5) && !welcoming.is_paused("a.example", 3604));
        welcoming.count("a.example", 3604);
        assert!(!welcoming.is_paused("a.example", 3605), "it begins anew");
    }
}
