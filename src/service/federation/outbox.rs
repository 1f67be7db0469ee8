//! What other servers are still to be told: kept until they have heard it, or have not for days.
//!
//! **Invariants:** a message is durable no later than what it is about; one server that does not answer keeps no other waiting; a
//! message may arrive twice, never half.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::Federation;
use super::changes::{CHANGE, as_told};
use crate::domain::{CloudId, Secret, Timestamp};
use crate::limits::{
    OUTBOX_AGE_MAX_SECONDS, OUTBOX_HOST_MAX, OUTBOX_HOSTS_AT_ONCE, OUTBOX_MAX, OUTBOX_TURN_MAX, OUTBOX_WAIT_MAX_SECONDS,
    OUTBOX_WAIT_SECONDS,
};
use crate::remote;
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::service::secrets::SealedIn;
use crate::store::{self, Batch, Record, Table};
use crate::wire::ocm::Notification;

/// How often offers are compared with their mounts, if nothing happens before.
const ROUND_EVERY: Duration = Duration::from_secs(60);

/// One message, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Message {
    id: u64,
    pub(super) to: CloudId,
    kind: String,
    provider_id: String,
    /// Encrypted at rest.
    secret: Vec<u8>,
    /// What else it says, as JSON.
    more: String,
    made: Timestamp,
    tries: u32,
    /// When it is tried next.
    due: Timestamp,
}

impl Message {
    /// The same for another server: that of the same address under its new name.
    pub(super) fn readdressed(self, to: CloudId) -> Message {
        Message { to, ..self }
    }
}

impl Record for Message {
    const TABLE: Table = Table::Outbox;
    fn key(&self) -> Vec<u8> {
        self.id.to_be_bytes().to_vec()
    }
}

/// A message that waits, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The server that is to be told.
    pub host: String,
    /// What it is to be told.
    pub kind: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried next.
    pub due: Timestamp,
}

/// The running side of the queue; the messages are in the store.
#[derive(Default)]
pub(in crate::service) struct Outbox {
    wake: Notify,
    /// The servers that are being told something now.
    busy: Mutex<HashSet<String>>,
}

impl Outbox {
    /// Looks at what is due, at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one server among those that are told something; given back at the end, however that comes.
struct Turn<'box_> {
    outbox: &'box_ Outbox,
    host: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.outbox.busy().remove(&self.host);
    }
}

impl Federation {
    /// Tells the server of an address something: now if it answers, else later. Durable when it returns.
    ///
    /// # Errors
    /// Where the store fails, or too much waits already: then nothing is kept, and the caller must keep what it is about.
    pub async fn tell(&self, to: &CloudId, notification: Notification) -> Result<()> {
        let batch = self.kept_message(Batch::new(), to, &notification)?;
        self.store.commit(batch).await?;
        self.outbox.wake();
        Ok(())
    }

    /// [`Federation::message`] for what must not be dropped.
    ///
    /// # Errors
    /// Where too much waits already: the caller keeps what it is about, and comes again.
    pub(super) fn kept_message(&self, batch: Batch, to: &CloudId, notification: &Notification) -> Result<Batch> {
        match self.message(batch, to, notification)? {
            (batch, true) => Ok(batch),
            (_, false) => Err(Refusal::failed("too much waits to be told to other servers; this waits until some of it is told")),
        }
    }

    /// [`Federation::message`] for the answer to a share, which is kept however much waits: it stands for what a user did with a share that is
    /// there, so that there are no more of them than shares, and it waits nowhere else.
    pub(super) fn answer_message(&self, batch: Batch, to: &CloudId, notification: &Notification) -> Result<Batch> {
        let (equal, _full) = self.room(to, notification)?;
        self.message_for(batch, to, notification, &equal)
    }

    /// Adds a message to a batch, in the place of an equal one that waits. After the commit [`Outbox::wake`] sends it. Says whether it
    /// is kept: not where too much waits already, for that server or for all; then the batch is as before.
    pub(super) fn message(&self, batch: Batch, to: &CloudId, notification: &Notification) -> Result<(Batch, bool)> {
        let (equal, full) = self.room(to, notification)?;
        if full {
            tracing::warn!(remote.host = to.host(), "another server is not told something yet: too much waits already");
            return Ok((batch, false));
        }
        Ok((self.message_for(batch, to, notification, &equal)?, true))
    }

    /// The equal messages that wait, and whether too many others do.
    fn room(&self, to: &CloudId, notification: &Notification) -> Result<(Vec<Vec<u8>>, bool)> {
        let waiting = self.store.list::<Message>()?;
        let of_host = || waiting.iter().filter(|message| message.to.host() == to.host());
        let equal: Vec<Vec<u8>> = of_host().filter(|message| self.is_same(message, notification)).map(Record::key).collect();
        let full = waiting.len() - equal.len() >= OUTBOX_MAX || of_host().count() - equal.len() >= OUTBOX_HOST_MAX;
        Ok((equal, full))
    }

    fn message_for(&self, batch: Batch, to: &CloudId, notification: &Notification, equal: &[Vec<u8>]) -> Result<Batch> {
        let batch = equal.iter().fold(batch, |batch, key| batch.delete::<Message>(key));
        let (id, now) = (self.store.next_id()?, self.clock.now());
        let message = Message {
            id,
            to: to.clone(),
            kind: notification.kind.clone(),
            provider_id: notification.provider_id.clone(),
            secret: self.vault.seal(SealedIn::Outbox(id), &notification.secret)?,
            more: serde_json::Value::Object(notification.more.clone()).to_string(),
            made: now,
            tries: 0,
            due: now,
        };
        Ok(batch.put(&message))
    }

    /// Whether a message says the same of the same share: one is (its server, its number, its secret).
    fn is_same(&self, message: &Message, notification: &Notification) -> bool {
        let secret = || self.vault.open_sealed(SealedIn::Outbox(message.id), &message.secret);
        message.kind == notification.kind
            && message.provider_id == notification.provider_id
            && secret().is_ok_and(|secret| secret.expose() == notification.secret.expose())
    }

    /// What other servers are still to be told, oldest first.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        let messages = self.store.list::<Message>()?.into_iter();
        let waiting =
            |message: Message| Waiting { host: message.to.host().to_owned(), kind: message.kind, tries: message.tries, due: message.due };
        Ok(messages.map(waiting).collect())
    }

    /// Compares offers with their mounts, sends what is due, and looks at shares that are said to have changed, until it is dropped. None of it
    /// waits for the other.
    pub async fn run(&self) {
        tokio::join!(self.send_out(), self.follow_doubts());
    }

    /// What waits is tried at the start, whatever its time.
    async fn send_out(&self) {
        let now = self.clock.now();
        let sooner = |batch: Batch, message: Message| batch.put(&Message { due: message.due.min(now), ..message });
        let waiting = self.store.list::<Message>().unwrap_or_default();
        if let Err(error) = self.store.commit(waiting.into_iter().fold(Batch::new(), sooner)).await {
            tracing::warn!(%error, "what other servers are to be told waits for its time");
        }
        let mut sending = FuturesUnordered::new();
        loop {
            self.settle_offers().await;
            for (turn, messages) in self.due(OUTBOX_HOSTS_AT_ONCE.saturating_sub(sending.len())) {
                sending.push(self.deliver_messages(turn, messages));
            }
            tokio::select! {
                Some(()) = sending.next(), if !sending.is_empty() => {}
                () = self.outbox.wake.notified() => {}
                () = self.forest.mounts().removed() => {}
                () = self.shares.groups_changed() => {}
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
    }

    /// One round: offers are compared with their mounts, and what is due is tried once, told or looked at.
    pub async fn round(&self) {
        self.settle_offers().await;
        let mut sending: FuturesUnordered<_> =
            self.due(usize::MAX).into_iter().map(|(turn, messages)| self.deliver_messages(turn, messages)).collect();
        while sending.next().await.is_some() {}
        self.look_at_doubts().await;
    }

    /// What is due, by server, for at most so many servers that are not being told something already.
    fn due(&self, most: usize) -> Vec<(Turn<'_>, Vec<Message>)> {
        let all = self.store.list::<Message>().unwrap_or_else(|error| {
            tracing::error!(%error, "what other servers are to be told cannot be read");
            Vec::new()
        });
        let turns = turns(all, self.clock.now());
        let mut busy = self.outbox.busy();
        let free = turns.into_iter().filter(|(host, _)| busy.insert(host.clone())).take(most);
        free.map(|(host, messages)| (Turn { outbox: &self.outbox, host }, messages)).collect()
    }

    /// Until something is due.
    fn pause(&self) -> Duration {
        let now = self.clock.now();
        let busy = self.outbox.busy().clone();
        let all = self.store.list::<Message>().unwrap_or_default();
        let next = all.iter().filter(|message| !busy.contains(message.to.host())).map(|message| message.due).min();
        let wait = next.map_or(ROUND_EVERY, |due| Duration::from_secs(u64::try_from(due.saturating_sub(now)).unwrap_or(0)));
        wait.clamp(Duration::from_secs(1), ROUND_EVERY)
    }

    /// Sends the messages of one server, in order, until one is not heard.
    async fn deliver_messages(&self, turn: Turn<'_>, messages: Vec<Message>) {
        for message in messages {
            let kind = message.kind.as_str();
            let heard = match self.send_message(&message).await {
                Ok(()) => true,
                Err(error) if error.ends_telling() => {
                    tracing::info!(remote.host = turn.host, notification = kind, %error, "another server does not take a message");
                    true
                }
                Err(error) => {
                    tracing::info!(remote.host = turn.host, notification = kind, %error, "another server could not be told something");
                    self.remotes.forget_peer(&message.to);
                    false
                }
            };
            let kept =
                if heard { self.store.commit(Batch::new().delete::<Message>(&message.key())).await } else { self.put_off(&message).await };
            if let Err(error) = kept {
                tracing::error!(%error, "what other servers are to be told cannot be kept");
                return;
            }
            if !heard {
                return;
            }
        }
    }

    async fn send_message(&self, message: &Message) -> Result<(), remote::Error> {
        let secret = self.vault.open_sealed(SealedIn::Outbox(message.id), &message.secret).unwrap_or_else(|error| {
            tracing::error!(%error, "the secret of a message cannot be read");
            Secret::default()
        });
        let notification = Notification {
            kind: message.kind.clone(),
            provider_id: message.provider_id.clone(),
            secret,
            more: serde_json::from_str(&message.more).unwrap_or_default(),
        };
        let peer = self.remotes.peer(&message.to).await?;
        let notification = if notification.kind == CHANGE { as_told(&peer, notification) } else { Some(notification) };
        // Who does not know it finds out at the door.
        let Some(notification) = notification else { return Ok(()) };
        self.remotes.notify(&peer, &notification).await.map(drop)
    }

    /// The message is tried later, and what else waits for its server not before.
    async fn put_off(&self, message: &Message) -> Result<(), store::Error> {
        loop {
            match self.store.commit(self.later(message)?).await {
                // One of them was replaced meanwhile: it must not come back.
                Err(store::Error::Conflict) => {}
                done => return done,
            }
        }
    }

    fn later(&self, message: &Message) -> Result<Batch, store::Error> {
        let now = self.clock.now();
        let tries = message.tries.saturating_add(1);
        let due = now.saturating_add(wait_after(tries));
        if due.saturating_sub(message.made) > OUTBOX_AGE_MAX_SECONDS {
            tracing::warn!(remote.host = message.to.host(), notification = message.kind, "another server was not told something: given up");
            return Ok(Batch::new().delete::<Message>(&message.key()));
        }
        let all = self.store.list::<Message>()?.into_iter();
        Ok(all.filter(|waits| waits.to.host() == message.to.host()).fold(Batch::new(), |batch, waits| {
            let tries = if waits.id == message.id { tries } else { waits.tries };
            batch.present::<Message>(&waits.key()).put(&Message { tries, due: waits.due.max(due), ..waits })
        }))
    }
}

/// What is due, by server: who waits longest comes first, and nobody has more than [`OUTBOX_TURN_MAX`] messages in one turn.
fn turns(all: Vec<Message>, now: Timestamp) -> Vec<(String, Vec<Message>)> {
    let mut by_host: HashMap<String, Vec<Message>> = HashMap::new();
    for message in all.into_iter().filter(|message| message.due <= now) {
        by_host.entry(message.to.host().to_owned()).or_default().push(message);
    }
    let mut turns: Vec<(String, Vec<Message>)> = by_host.into_iter().collect();
    turns.sort_by_key(|(_, messages)| messages.iter().map(|message| (message.due, message.id)).min());
    turns.iter_mut().for_each(|(_, messages)| messages.truncate(OUTBOX_TURN_MAX));
    turns
}

/// Seconds to wait after so many tries.
fn wait_after(tries: u32) -> i64 {
    OUTBOX_WAIT_SECONDS.saturating_mul(3_i64.saturating_pow(tries.saturating_sub(1))).min(OUTBOX_WAIT_MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_who_waits_longest_has_the_first_turn_and_nobody_a_long_one() {
        let message = |id: u64, host: &str, due: Timestamp| Message {
            id,
            to: CloudId::parse(&format!("x@{host}")).unwrap(),
            kind: String::new(),
            provider_id: String::new(),
            secret: Vec::new(),
            more: String::new(),
            made: 0,
            tries: 0,
            due,
        };
        let many = (0..25).map(|id| message(id, "a.example", 100));
        let all = many.chain([message(25, "b.example", 99), message(26, "c.example", 100), message(27, "d.example", 101)]);
        let turns = turns(all.collect(), 100);
        let told: Vec<_> = turns.iter().map(|(host, messages)| (host.as_str(), messages[0].id, messages.len())).collect();
        assert_eq!(told, [("b.example", 25, 1), ("a.example", 0, OUTBOX_TURN_MAX), ("c.example", 26, 1)]);
    }

    #[test]
    fn a_dead_server_is_tried_for_days_ever_more_seldom() {
        assert_eq!((1..=4).map(wait_after).collect::<Vec<_>>(), [60, 180, 540, 1620]);
        assert_eq!(wait_after(u32::MAX), OUTBOX_WAIT_MAX_SECONDS);
        let whole = |tries: u32| (1..tries).map(wait_after).sum::<i64>();
        assert!(whole(10) <= OUTBOX_AGE_MAX_SECONDS && whole(11) > OUTBOX_AGE_MAX_SECONDS, "ten tries, and at each start one more");
    }
}
