//! What our users share with users of other servers: offered, kept, changed and ended.
//!
//! The row with the secret outlives its share, whoever ended that and however: a row without a share is what the other server is still to be
//! told. **Invariants:** rows are durable before the other server learns a secret, and no lock is held while it is asked; what was cut off
//! while it was sent ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::Federation;
use super::background::Deliveries;
use super::given::GivenLink;
use super::not_sent::NotSent;
use crate::domain::{Asked, CloudId, Secret, SentShare, SentState, Share, ShareId, ShareToken, ShareWith, Timestamp, User, UserName};
use crate::limits::SHARE_HOPS_MAX;
use crate::remote;
use crate::service::refusal::Result;
use crate::service::secrets::digest;
use crate::service::shares::NewShare;
use crate::service::{Refusal, random};
use crate::store::{Batch, Record as _, Store};
use crate::tree::{Changing, Shares};
use crate::wire::ocm;

/// How often ends that could not be told are tried again.
const SETTLE_EVERY: Duration = Duration::from_secs(60);
/// How many ends are told at once.
const TOLD_AT_ONCE: usize = 16;

/// The other servers' halves of shares, in memory.
#[derive(Default)]
pub(in crate::service) struct Ledger {
    index: RwLock<Index>,
    /// What is being offered just now.
    sending: Mutex<HashSet<ShareId>>,
    /// What is being offered behind an answer.
    pub(super) deliveries: Deliveries,
}

#[derive(Default)]
struct Index {
    by_share: HashMap<ShareId, Arc<SentShare>>,
    /// By SHA-256 of the secret: comparing hashes tells nothing about it (attack F5).
    by_digest: HashMap<[u8; 32], ShareId>,
    given: HashMap<ShareId, Arc<GivenLink>>,
}

impl Ledger {
    /// Reads the rows.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(in crate::service) fn open(store: &Store) -> Result<Ledger> {
        let ledger = Ledger::default();
        for sent in store.list::<SentShare>()? {
            ledger.insert(sent);
        }
        store.list::<GivenLink>()?.into_iter().for_each(|given| ledger.give(given));
        Ok(ledger)
    }

    pub(super) fn insert(&self, sent: SentShare) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_digest.insert(digest(sent.secret.expose()), sent.share);
        index.by_share.insert(sent.share, Arc::new(sent));
    }

    fn remove(&self, sent: &SentShare) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_digest.remove(&digest(sent.secret.expose()));
        index.by_share.remove(&sent.share);
    }

    pub(super) fn get(&self, share: ShareId) -> Option<Arc<SentShare>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_share.get(&share).cloned()
    }

    /// What a secret opens.
    pub(super) fn opened_by(&self, secret: &str) -> Option<Arc<SentShare>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.by_share.get(index.by_digest.get(&digest(secret))?).cloned()
    }

    /// The link that a share comes from, if it does.
    pub(super) fn given(&self, share: ShareId) -> Option<Arc<GivenLink>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).given.get(&share).cloned()
    }

    pub(super) fn give(&self, given: GivenLink) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).given.insert(given.share, Arc::new(given));
    }

    pub(super) fn take_back(&self, share: ShareId) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).given.remove(&share);
    }

    pub(super) fn all_given(&self) -> Vec<Arc<GivenLink>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).given.values().cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<SentShare>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_share.values().cloned().collect()
    }

    fn is_sending(&self, share: ShareId) -> bool {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).contains(&share)
    }
}

/// Keeps a share from being taken for one that was cut off while it was sent.
pub(super) struct Sending<'a> {
    ledger: &'a Ledger,
    shares: Shares,
    share: ShareId,
    /// Whether somebody else takes the mark away.
    handed_over: bool,
}

impl Sending<'_> {
    /// Leaves the mark to who goes on with [`Federation::sending`].
    pub(super) fn hand_over(mut self) -> ShareId {
        self.handed_over = true;
        self.share
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        self.ledger.sending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.share);
        // It may have been dropped half-way, or ended meanwhile.
        self.shares.ring();
    }
}

impl Federation {
    /// Shares a node with a user of another server; with one of ours, where the address is of this server.
    ///
    /// # Errors
    /// Where it may not be shared, or the other server does not take it: then nothing is left of it.
    pub async fn send(&self, sharer: &User, new: NewShare) -> Result<Arc<Share>, NotSent> {
        if let ShareWith::Remote(to) = &new.with
            && self.is_ours(to)
        {
            let with = ShareWith::User(self.local(to)?);
            return Ok(self.shares.create(sharer, NewShare { with, ..new }).await?);
        }
        let ShareWith::Remote(_) = &new.with else { return Ok(self.shares.create(sharer, new).await?) };
        let (changing, share) = self.shares.draft(sharer, new).await?;
        self.may_go(&share)?;
        let sending = self.begin(changing, &share, None).await?;
        self.deliver(sending).await
    }

    /// Whether the administrator lets a new share go to another server. Of what was shared with the sharer, the owner's groups decide as well.
    pub(super) fn may_go(&self, share: &Share) -> Result<()> {
        if [&share.shared_by, &share.owner].iter().any(|user| !self.policies.may_send(user)) {
            return Err(Refusal::refused("the administrator does not allow sharing with other servers"));
        }
        if let ShareWith::Remote(to) = &share.with { self.policies.partners().judge(to) } else { Ok(()) }
    }

    /// The account of this server that an address names.
    pub(super) fn local(&self, address: &CloudId) -> Result<UserName> {
        let user = UserName::parse(address.user()).ok().and_then(|name| self.accounts.get(&name));
        let missing = || Refusal::not_found(format!("{address} is an address of this server, and there is no such user here"));
        user.map(|user| user.name.clone()).ok_or_else(missing)
    }

    /// Writes a share and its secret, and gives the turn to change something back.
    pub(super) async fn begin(&self, changing: Changing, share: &Share, asked: Option<Asked>) -> Result<Sending<'_>> {
        let ShareWith::Remote(to) = share.with.clone() else { return Err(Refusal::failed("this is no share with another server")) };
        let sent = self.new_secret(share, to, asked)?;
        changing.put_sent(share, &sent).await?;
        let sending = self.sending(share.id);
        self.sent.insert(sent);
        Ok(sending)
    }

    /// Marks a share as being sent, for as long as the mark is kept.
    pub(super) fn sending(&self, share: ShareId) -> Sending<'_> {
        self.sent.sending.lock().unwrap_or_else(PoisonError::into_inner).insert(share);
        Sending { ledger: &self.sent, shares: self.forest.shares().clone(), share, handed_over: false }
    }

    /// The other server's half of a new share.
    pub(super) fn new_secret(&self, share: &Share, to: CloudId, asked: Option<Asked>) -> Result<SentShare> {
        let secret = ShareToken::from_random(random::<64>()?).ok_or_else(|| Refusal::failed("no randomness for a secret"))?;
        Ok(SentShare { share: share.id, to, owner: share.owner.clone(), secret, state: SentState::Sending, asked })
    }

    /// Offers a share to the other server.
    pub(super) async fn deliver(&self, sending: Sending<'_>) -> Result<Arc<Share>, NotSent> {
        let (share, sent) = self.both(sending.share)?;
        let offered = self.offer(&share, &sent).await;
        let changing = self.forest.shares().change().await;
        // Its user may have answered before it did.
        let waits = self.sent.get(share.id).is_some_and(|sent| sent.state == SentState::Sending);
        match offered {
            Ok(()) if waits => {
                self.set_state(share.id, SentState::Pending).await?;
                tracing::info!(share.id = share.id.0, user.id = %share.shared_by, remote.host = sent.to.host(), "a share was sent");
            }
            Err(fault) if waits => {
                self.remotes.forget_peer(&sent.to);
                self.forest.drop_shares(&changing, &[share.id]).await.map_err(Refusal::from)?;
                if !fault.may_have_arrived() {
                    self.forget(&sent).await?;
                }
                tracing::info!(share.id = share.id.0, remote.host = sent.to.host(), error = %fault.error, "a share could not be sent");
                return Err(NotSent::Undelivered { name: share.name.clone(), to: sent.to.clone(), fault });
            }
            Ok(()) | Err(_) => {}
        }
        Ok(self.shares.require(share.id)?)
    }

    async fn offer(&self, share: &Share, sent: &SentShare) -> Result<(), Undelivered> {
        let shown = |name: &UserName| self.forest.shares().display_name(name);
        let wrong = |_invalid| Undelivered { found: false, error: remote::Error::BadAnswer("our own public URL is no address") };
        let owner = self.address_of(&share.owner).map_err(wrong)?;
        let (sender, sender_name) = match &sent.asked {
            Some(asked) => (asked.by.clone(), asked.by.user().to_owned()),
            None => (self.address_of(&share.shared_by).map_err(wrong)?, shown(&share.shared_by)),
        };
        let peer = self.remotes.peer(&sent.to).await.map_err(|error| Undelivered { found: false, error })?;
        let body = ocm::NewShare {
            with: sent.to.clone(),
            name: share.name.clone(),
            note: share.note.clone(),
            provider_id: share.id.0.to_string(),
            owner,
            owner_name: shown(&share.owner),
            sender,
            sender_name,
            kind: share.kind,
            expires: self.expires(share),
            secret: secret_of(sent),
            uri: self.uri_of(share.id),
            // What it grants over every hop is read at each request; this is what is said of it.
            permissions: self.shares.rights(share).await.unwrap_or(share.permissions),
        };
        let taken = self.remotes.offer(&peer, &body).await;
        taken.map(|_taken| ()).map_err(|error| Undelivered { found: true, error })
    }

    /// When a share ends, or one that it was made from.
    fn expires(&self, share: &Share) -> Option<Timestamp> {
        let parent = |id: &Option<ShareId>| id.and_then(|id| self.forest.shares().get(id));
        let above = std::iter::successors(parent(&share.parent), |share| parent(&share.parent)).take(SHARE_HOPS_MAX);
        above.filter_map(|share| share.expires).chain(share.expires).min()
    }

    /// The other server's half of a share; none of one that stays here.
    pub fn sent(&self, share: ShareId) -> Option<Arc<SentShare>> {
        self.sent.get(share)
    }

    /// A share with its other half.
    pub(super) fn both(&self, id: ShareId) -> Result<(Arc<Share>, Arc<SentShare>)> {
        let share = self.shares.require(id)?;
        let sent = self.sent.get(id).ok_or_else(|| Refusal::not_found(format!("there is no share {} with another server", id.0)))?;
        Ok((share, sent))
    }

    /// Writes the receiver's answer. The caller has the turn to change something.
    pub(super) async fn set_state(&self, id: ShareId, state: SentState) -> Result<()> {
        match self.sent.get(id) {
            Some(sent) => self.put(SentShare { state, ..SentShare::clone(&sent) }).await,
            None => Ok(()),
        }
    }

    pub(super) async fn put(&self, sent: SentShare) -> Result<()> {
        self.store.commit(Batch::new().put(&sent)).await?;
        self.sent.insert(sent);
        Ok(())
    }

    async fn forget(&self, sent: &SentShare) -> Result<()> {
        self.store.commit(Batch::new().delete::<SentShare>(&sent.key())).await?;
        self.sent.remove(sent);
        Ok(())
    }

    /// Ends what was cut off while it was sent, what was declined, and what came from links that have gone.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn finish(&self) -> Result<()> {
        let changing = self.forest.shares().change().await;
        self.follow_links(&changing).await?;
        let over = |share: &Arc<Share>| {
            let ended = |sent: Arc<SentShare>| match sent.state {
                SentState::Sending => !self.sent.is_sending(share.id),
                SentState::Declined => true,
                SentState::Pending | SentState::Accepted => false,
            };
            match self.sent.get(share.id) {
                Some(sent) => ended(sent),
                None => matches!(share.with, ShareWith::Remote(_)),
            }
        };
        let over: Vec<ShareId> = self.forest.shares().all().iter().filter(|share| over(share)).map(|share| share.id).collect();
        if over.is_empty() { Ok(()) } else { Ok(self.forest.drop_shares(&changing, &over).await?) }
    }

    /// Tells other servers of the shares that have ended.
    async fn settle(&self) {
        if let Err(error) = self.finish().await {
            tracing::warn!(%error, "shares that were not sent could not be ended");
        }
        let ended = |sent: &Arc<SentShare>| self.forest.shares().get(sent.share).is_none() && !self.sent.is_sending(sent.share);
        let ended: Vec<Arc<SentShare>> = self.sent.all().into_iter().filter(ended).collect();
        // One server that does not answer keeps no other from being told.
        stream::iter(ended).for_each_concurrent(TOLD_AT_ONCE, |sent| self.tell_and_forget(sent)).await;
    }

    async fn tell_and_forget(&self, sent: Arc<SentShare>) {
        if let Err(error) = self.told_end(&sent).await {
            tracing::info!(share.id = sent.share.0, remote.host = sent.to.host(), %error, "the end of a share is still to be told");
        }
    }

    /// Puts the end of a share into the outbox, and forgets the share in the same batch: whoever cannot be told now is told later.
    async fn told_end(&self, sent: &SentShare) -> Result<()> {
        let id = sent.share.0.to_string();
        let mut batch = Batch::new().delete::<SentShare>(&sent.key());
        if sent.state != SentState::Declined && !self.is_ours(&sent.to) {
            let ended = ocm::Notification::new("SHARE_UNSHARED", &id, secret_of(sent))
                .with("message", "this is no longer shared with you")
                .with("grantee", sent.to.user());
            let owner = self.address_of(&sent.owner).map(|owner| owner.with_scheme()).unwrap_or_default();
            batch = self.kept_message(batch, &sent.to, &ended.with("owner", owner))?;
        }
        if let Some(asked) = sent.asked.as_ref().filter(|asked| !asked.id.is_empty() && sent.state != SentState::Declined) {
            let undone = ocm::Notification::new("RESHARE_UNDO", &asked.id, secret_of(sent));
            batch = self.kept_message(batch, &asked.by, &undone.with("message", "this is no longer shared on"))?;
        }
        self.store.commit(batch).await?;
        self.sent.remove(sent);
        self.outbox.wake();
        Ok(())
    }

    /// Tells other servers of ends as they come, and goes on with offers behind their answers, for as long as it is polled.
    pub async fn follow_ends(&self) {
        tokio::join!(self.follow_deliveries(), self.follow_only_ends());
    }

    async fn follow_only_ends(&self) {
        loop {
            self.settle().await;
            let _late = tokio::time::timeout(SETTLE_EVERY, self.forest.shares().ended()).await;
        }
    }
}

/// Why the other server did not take a share.
#[derive(Debug)]
pub struct Undelivered {
    /// Whether its endpoint was known, so that the share went out.
    pub(super) found: bool,
    pub(super) error: remote::Error,
}

impl Undelivered {
    /// Whether the other server may have taken the share all the same.
    fn may_have_arrived(&self) -> bool {
        let unclear = matches!(
            self.error,
            remote::Error::Unreachable { .. } | remote::Error::BadAnswer(_) | remote::Error::Busy { .. } | remote::Error::SourceBroken
        );
        self.found && unclear
    }
}

/// What opens a share.
pub(super) fn secret_of(sent: &SentShare) -> Secret {
    Secret::new(sent.secret.expose())
}
