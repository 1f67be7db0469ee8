//! What is told of a share that we received without proving it, or without saying how it is now: a reason to look, and nothing more.
//!
//! oCIS sends no secret with its notifications (`protocol/ocm.md` 1.6); whoever knows the number of a share and its receiver could write the same.
//! **Invariants:** such a hint makes us ask the server that has the share, as its mount does anyway, only sooner: the mount then shows what it was
//! answered, and recovers as always. No hint ends a share, since one wrong answer of a server that restarts would do; that is for who proves it, or
//! for the receiver. Nobody is asked before the receiver has accepted (attack F8), while the server is to be left alone, nor more than once a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Federation;
use super::inbox::{Heard, Unheard};
use super::signing::Claims;
use crate::domain::{CloudId, MountState, Offer, ReceivedState, ShareId, Timestamp};
use crate::service::refusal::Result;
use crate::service::secrets::digest;
use crate::wire::ocm::Notification;

/// Most shares that wait for a look, are looked at, or were within the last minute; what comes above that is found out by polls.
const DOUBTS_MAX: usize = 256;
/// Most shares that are looked at at one time.
const LOOKS_AT_ONCE: usize = 16;
/// From one look at a share to the next.
const LOOK_EVERY_SECONDS: i64 = 60;
/// Longest look at one.
const LOOK_TIME: Duration = Duration::from_secs(20);
/// How often what waits is gone through, and how often where nothing does.
const ROUND_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Who says so. What is proven counts for what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// Whoever knows number and receiver.
    Unproven,
    /// Who knows the secret of the share.
    Proven,
}

/// A share of which something was said.
#[derive(Debug)]
struct Doubt {
    /// It is to be looked at, since somebody said so.
    asked: Option<Said>,
    looking: bool,
    /// Not looked at before.
    next: Timestamp,
}

/// Shares that are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    known: Mutex<HashMap<ShareId, Doubt>>,
    rung: Notify,
}

/// A look at a share; over when it is dropped.
struct Look<'doubts> {
    doubts: &'doubts Doubts,
    id: ShareId,
    said: Said,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if let Some(doubt) = self.doubts.known().get_mut(&self.id) {
            doubt.looking = false;
        }
    }
}

impl Look<'_> {
    /// It could not be looked at: it is tried again in its time.
    fn put_off(&self) {
        if let Some(doubt) = self.doubts.known().get_mut(&self.id) {
            doubt.asked = doubt.asked.max(Some(self.said));
        }
    }
}

impl Doubts {
    fn known(&self) -> MutexGuard<'_, HashMap<ShareId, Doubt>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps that a share is to be looked at; however often that is said, once.
    fn note(&self, id: ShareId, said: Said, now: Timestamp) {
        let mut known = self.known();
        forget_old(&mut known, now);
        if known.len() >= DOUBTS_MAX && !known.contains_key(&id) {
            tracing::info!(share.id = id.0, "too many shares are to be looked at: its next poll shows how it is");
            return;
        }
        let doubt = known.entry(id).or_insert(Doubt { asked: None, looking: false, next: now });
        doubt.asked = doubt.asked.max(Some(said));
        drop(known);
        self.rung.notify_one();
    }

    /// What is to be looked at now, who waits longest first.
    fn take(&self, now: Timestamp) -> Vec<Look<'_>> {
        let mut known = self.known();
        forget_old(&mut known, now);
        let free = LOOKS_AT_ONCE.saturating_sub(known.values().filter(|doubt| doubt.looking).count());
        let mut due: Vec<(ShareId, &mut Doubt)> = known.iter_mut().map(|(id, doubt)| (*id, doubt)).collect();
        due.retain(|(_, doubt)| doubt.asked.is_some() && !doubt.looking && doubt.next <= now);
        due.sort_by_key(|(id, doubt)| (doubt.next, *id));
        let looks = due.into_iter().take(free).filter_map(|(id, doubt)| {
            let said = doubt.asked.take()?;
            (doubt.looking, doubt.next) = (true, now.saturating_add(LOOK_EVERY_SECONDS));
            Some(Look { doubts: self, id, said })
        });
        looks.collect()
    }

    fn pause(&self) -> Duration {
        let (waiting, idle) = ROUND_EVERY;
        if self.known().values().any(|doubt| doubt.asked.is_some()) { waiting } else { idle }
    }
}

/// What was looked at a minute ago may be looked at again.
fn forget_old(known: &mut HashMap<ShareId, Doubt>, now: Timestamp) {
    known.retain(|_, doubt| doubt.asked.is_some() || doubt.looking || doubt.next > now);
}

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
                // Whoever signed it, it was not looked at by whom: without a secret it is not known for which server it speaks.
                let signer = Claims { signers: vec![one.server().clone()], named: Vec::new(), owner: None };
                if self.believe_unsigned(&signer).is_ok() {
                    self.doubt(one, Said::Unproven);
                }
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
        named.iter().for_each(|offer| self.doubt(offer, Said::Proven));
        Heard::Done
    }

    fn doubt(&self, offer: &Offer, said: Said) {
        if offer.state == ReceivedState::Accepted {
            self.offers.doubts.note(offer.id, said, self.clock.now());
        }
    }

    /// Looks at shares as it is said that they changed, until it is dropped.
    pub(super) async fn follow_doubts(&self) {
        let doubts = &self.offers.doubts;
        let mut looking = FuturesUnordered::new();
        loop {
            doubts.take(self.clock.now()).into_iter().for_each(|look| looking.push(self.look_at(look)));
            tokio::select! {
                Some(()) = looking.next(), if !looking.is_empty() => {}
                () = doubts.rung.notified() => {}
                () = tokio::time::sleep(doubts.pause()) => {}
            }
        }
    }

    /// Looks once at what is due now.
    pub(super) async fn look_at_doubts(&self) {
        let looks = self.offers.doubts.take(self.clock.now()).into_iter();
        let mut looking: FuturesUnordered<_> = looks.map(|look| self.look_at(look)).collect();
        while looking.next().await.is_some() {}
    }

    /// Asks the server of a share how it is. Holds no lock.
    async fn look_at(&self, look: Look<'_>) {
        if timeout(LOOK_TIME, self.try_look(&look)).await.is_err() {
            tracing::info!(share.id = look.id.0, "the server of a share does not answer how it is");
        }
    }

    async fn try_look(&self, look: &Look<'_>) {
        let offer = self.offers.get(look.id).filter(|offer| offer.state == ReceivedState::Accepted);
        let Some(offer) = offer else { return };
        let Some(handle) = offer.mount.and_then(|mount| self.forest.mounts().get(mount)) else { return };
        let family = async || self.remotes.peer(offer.server()).await.is_ok_and(|peer| peer.ocm.is_some_and(|discovery| discovery.reva));
        // All others send secrets: without one somebody else said it.
        if look.said == Said::Unproven && !family().await {
            return;
        }
        match handle.look_early().await {
            None => look.put_off(),
            Some(MountState::Online) => {
                if let Err(error) = handle.relist().await {
                    tracing::info!(share.id = look.id.0, %error, "the rights of a share that changed could not be read");
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(looks: &[Look<'_>]) -> Vec<u64> {
        looks.iter().map(|look| look.id.0).collect()
    }

    #[test]
    fn f11_a_share_is_looked_at_once_a_minute_however_often_it_is_named() {
        let doubts = Doubts::default();
        let say = |said: Said, now: Timestamp| (0..1000).for_each(|_| doubts.note(ShareId(1), said, now));
        say(Said::Proven, 100);
        let first = doubts.take(100);
        assert_eq!(ids(&first), [1]);
        // Named again while it is looked at, and after that: once more, in its time.
        say(Said::Unproven, 101);
        assert!(doubts.take(1_000).is_empty(), "one look at a time");
        drop(first);
        assert!(doubts.take(159).is_empty());
        say(Said::Proven, 159);
        let second = doubts.take(160);
        assert_eq!((ids(&second), second[0].said), (vec![1], Said::Proven), "what is proven counts for what is not");
        drop(second);
        assert!(doubts.take(10_000).is_empty() && doubts.known().is_empty(), "nothing stays behind");
    }

    #[test]
    fn f11_a_burst_is_looked_at_a_few_at_a_time_and_the_rest_is_bounded() {
        let doubts = Doubts::default();
        (0..10_000).for_each(|id| doubts.note(ShareId(id), Said::Proven, 100));
        let first = doubts.take(100);
        assert_eq!(ids(&first), (0..16).collect::<Vec<_>>());
        assert!(doubts.take(100).is_empty(), "what is looked at counts");
        // What is looked at, and what was, leaves no room for more than there may be.
        doubts.note(ShareId(20_000), Said::Proven, 100);
        assert_eq!(doubts.known().len(), DOUBTS_MAX);
        drop(first);
        doubts.note(ShareId(20_001), Said::Proven, 110);
        let known = doubts.known();
        assert_eq!((known.len(), known.contains_key(&ShareId(20_001))), (DOUBTS_MAX, false));
        drop(known);
        assert_eq!(ids(&doubts.take(110)), (16..32).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_whose_server_is_to_be_left_alone_is_looked_at_later() {
        let doubts = Doubts::default();
        doubts.note(ShareId(1), Said::Proven, 100);
        doubts.take(100).iter().for_each(Look::put_off);
        assert!(doubts.take(159).is_empty());
        let again = doubts.take(160);
        assert_eq!((ids(&again), again[0].said), (vec![1], Said::Proven));
    }
}
