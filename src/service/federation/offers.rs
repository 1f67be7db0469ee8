//! What users of other servers share with ours: offered, answered, ended.
//!
//! An offer is a record with the sealed secret; accepted, it is a mount whose record holds no secret. **Invariants:** an offer makes no outbound
//! call before its receiver answers it (attack F8); one share is (its server, its number, its secret), and another one never takes its place; of one
//! with a group each member has an offer, answers alone, and has it no longer than they are in the group;
//! what the receiver does, and what the other server is told of it, are stored together. A stop in between is settled by
//! [`Federation::settle_offers`], which compares offers with the mounts that there are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Federation;
use super::asking::Asking;
use super::hints::Doubts;
use super::receivers::{GroupOffer, Recipient};
use super::tokens::scheme_of;
use super::trusted::{Caller, Welcoming};
use crate::domain::{
    AuthScheme, Clock, CloudId, GroupName, Kind, Mount, MountId, Name, Offer, OfferedAt, ReceivedState, Secret, ShareId, SpaceId, TreePath,
    User,
};
use crate::limits::{
    ADDRESS_OFFERS_MAX, DISPLAY_NAME_BYTES_MAX, OCM_ID_BYTES_MAX, OCM_SECRET_BYTES_MAX, OCM_URL_BYTES_MAX, OFFER_WAIT_SECONDS,
};
use crate::remote::{Credentials, Opened, ProbeFault, same_host};
use crate::service::mounts::Offered;
use crate::service::refusal::Result;
use crate::service::secrets::{SealedIn, digest};
use crate::service::throttle::Throttle;
use crate::service::{Reason, Refusal};
use crate::store::{self, Batch, Record as _, Store};
use crate::wire::ocm::{IncomingShare, Notification, Webdav};

/// Longest name of an offered share, in bytes: room for ` (2)` is left.
const OFFER_NAME_BYTES_MAX: usize = 200;

/// A field of an offer that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// The field, as OCM calls it.
    pub field: &'static str,
    /// Why.
    pub why: &'static str,
}

/// Why an offer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Fields are missing or cannot be read.
    #[error("{} {}", .0.field, .0.why)]
    Invalid(Wrong),
    /// It is for nobody here.
    #[error("there is no such user here")]
    NoSuchUser,
    /// The administrator takes no shares of that server.
    #[error("shares of your server are not taken here; ask the administrator of this one")]
    NotAllowed,
    /// It is of a kind that is not offered here.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Too many offers wait for an answer.
    #[error("too many shares wait to be answered here; try again later")]
    Full,
    /// Too many wrong names or secrets came from there.
    #[error("too many requests that could not be met; try again later")]
    Throttled(Duration),
    /// The store, the key or the machine.
    #[error("not now; try again later")]
    Failed(#[source] Refusal),
}

impl From<store::Error> for NotTaken {
    fn from(error: store::Error) -> NotTaken {
        NotTaken::Failed(error.into())
    }
}

/// The offers of a server, in memory as in the store.
pub(in crate::service) struct Offers {
    known: RwLock<BTreeMap<ShareId, Arc<Offer>>>,
    /// The groups of those that came by one.
    groups: RwLock<HashMap<ShareId, GroupName>>,
    /// What each address has offered; what it offered wrongly counts among the calls.
    taken: Throttle,
    /// One change at a time. Not held while another server is asked.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Rung when something came that is to be accepted without asking.
    pub(super) welcome: Welcoming,
    /// What is being asked of other servers for those who share on.
    pub(super) asking: Asking,
    /// One change of invitations and contacts at a time. Not held while another server is asked.
    pub(super) people: tokio::sync::Mutex<()>,
    /// What is to be looked at, since somebody said something of it.
    pub(super) doubts: Doubts,
}

impl Offers {
    /// Reads the offers.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(in crate::service) fn open(store: &Store, clock: Clock) -> Result<Offers, store::Error> {
        let known = store.list::<Offer>()?.into_iter().map(|offer| (offer.id, Arc::new(offer))).collect();
        let groups = store.list::<GroupOffer>()?.into_iter().map(|row| (row.offer, row.group)).collect();
        let (changing, people, doubts, welcome, asking) = Default::default();
        let taken = Throttle::hourly(clock, ADDRESS_OFFERS_MAX);
        Ok(Offers { known: RwLock::new(known), groups: RwLock::new(groups), taken, changing, welcome, asking, people, doubts })
    }

    pub(super) fn all(&self) -> Vec<Arc<Offer>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn get(&self, id: ShareId) -> Option<Arc<Offer>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(super) fn keep(&self, offer: Offer) -> Arc<Offer> {
        let offer = Arc::new(offer);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(offer.id, Arc::clone(&offer));
        offer
    }

    /// [`Offers::keep`] for one that came by a group, if it did.
    pub(super) fn keep_of(&self, offer: Offer, group: Option<&GroupName>) -> Arc<Offer> {
        if let Some(group) = group {
            self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(offer.id, group.clone());
        }
        self.keep(offer)
    }

    /// The group that an offer came by.
    pub(super) fn group_of(&self, id: ShareId) -> Option<GroupName> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(super) fn forget(&self, id: ShareId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Counts an offer against the address that it came from.
    pub(super) fn count(&self, from: IpAddr) {
        self.taken.failed(from, "offer");
    }
}

/// What is to become of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is as it should be.
    Stays,
    /// It hangs in the tree; that it was accepted is still to be written down.
    WasAccepted,
    /// It was being accepted and does not hang.
    WaitsAgain,
    /// Its receiver or its mount is gone.
    Ended,
    /// Its server ended it, or its time is over.
    Withdrawn,
}

impl Federation {
    /// Takes an offer, for each of its receivers. No other server is asked anything. Gives whom it is for; the same offer again changes nothing.
    ///
    /// # Errors
    /// [`NotTaken`]. A user who is not here counts as a guess, and so does a server that takes no part.
    pub async fn offered(&self, share: &IncomingShare, caller: Caller) -> Result<Recipient, NotTaken> {
        let from = caller.address;
        if let Some(wait) = self.calls.address_waits(from) {
            return Err(NotTaken::Throttled(wait));
        }
        let judged = self.judge(share);
        if matches!(judged, Err(NotTaken::NoSuchUser | NotTaken::NotAllowed)) {
            self.calls.failed(from, &format!("ocm:{from}"));
        }
        let (to, offer, secret) = judged?;
        let (_, waiting) = self.not_offered_yet(&to, &offer);
        if waiting.is_empty() {
            return Ok(to);
        }
        self.can_exchange(&offer, from).await?;
        let _changing = self.offers.changing.lock().await;
        // It may have come twice at once.
        let (all, waiting) = self.not_offered_yet(&to, &offer);
        if waiting.is_empty() {
            return Ok(to);
        }
        if !all.is_empty() && to.group.is_none() {
            return Err(invalid("providerId", "is that of a share with somebody else"));
        }
        if let Some(wait) = self.offers.taken.address_waits(from) {
            return Err(NotTaken::Throttled(wait));
        }
        self.keep_offers(&to, &waiting, (offer, &secret), caller).await?;
        Ok(to)
    }

    /// The offers of the same share that there are, and for whom there is none.
    fn not_offered_yet(&self, to: &Recipient, offer: &Offer) -> (Vec<Arc<Offer>>, Vec<Arc<User>>) {
        let mut all = self.offers.all();
        all.retain(|known| is_same(known, offer));
        let waiting = to.users.iter().filter(|user| !all.iter().any(|known| known.user == user.name)).cloned().collect();
        (all, waiting)
    }

    /// What an offer says, if it can be used: for whom, the offer without its number, and its secret.
    fn judge(&self, share: &IncomingShare) -> Result<(Recipient, Offer, Secret), NotTaken> {
        for (field, text) in
            [("shareWith", &share.with), ("name", &share.name), ("providerId", &share.provider_id), ("owner", &share.owner)]
        {
            if text.is_empty() {
                return Err(invalid(field, "is missing"));
            }
        }
        match share.share_type.as_str() {
            "user" | "group" => {}
            "" => return Err(invalid("shareType", "is missing")),
            _ => return Err(NotTaken::Unsupported("only shares with users and groups are taken here: shareType is user or group")),
        }
        if !matches!(share.resource_type.as_str(), "file" | "folder") {
            return Err(NotTaken::Unsupported("only files and folders are taken here: resourceType is file or folder"));
        }
        if share.provider_id.len() > OCM_ID_BYTES_MAX || share.provider_id.chars().any(char::is_control) {
            return Err(invalid("providerId", "is too long or not printable"));
        }
        let owner = CloudId::parse(&share.owner).map_err(|_error| invalid("owner", "is no address like alice@cloud.example"))?;
        let sender = CloudId::parse(&share.sender).map_err(|_error| invalid("sender", "is no address like alice@cloud.example"))?;
        if [&owner, &sender].into_iter().any(|address| !self.is_ours(address) && !self.policies.partners().takes_part(&address.url())) {
            return Err(NotTaken::NotAllowed);
        }
        if self.is_ours(&owner) {
            return Err(invalid("owner", "is a user of this server"));
        }
        let (secret, at) = self.way_in(share, &owner, &sender)?;
        let to = self.receivers_of(share)?;
        let user = to.users.first().ok_or(NotTaken::NoSuchUser)?;
        let collection = share.resource_type == "folder";
        let offer = Offer {
            id: ShareId(0),
            user: user.name.clone(),
            space: user.space,
            owner_name: shown(&share.owner_name, owner.user()),
            owner,
            sender_name: shown(&share.sender_name, sender.user()),
            sender,
            provider_id: share.provider_id.clone(),
            digest: digest(secret.expose()),
            secret: Vec::new(),
            name: fit_name(&share.name),
            kind: if collection { Kind::Collection } else { Kind::File },
            at,
            scheme: share.webdav.as_ref().map_or(Ok(AuthScheme::Basic), |webdav| scheme_of(webdav, self.judges_signatures()))?,
            state: ReceivedState::Pending,
            mount: None,
            received: self.clock.now(),
            expires: share.expires,
        };
        Ok((to, offer, secret))
    }

    /// The secret, and where it opens the share: nowhere but on the server that offers it.
    fn way_in(&self, share: &IncomingShare, owner: &CloudId, sender: &CloudId) -> Result<(Secret, OfferedAt), NotTaken> {
        if !matches!(share.protocol.as_str(), "webdav" | "multi") {
            return Err(NotTaken::Unsupported("only WebDAV is taken here: protocol.name is webdav or multi"));
        }
        let Some(Webdav { secret, uri, .. }) = &share.webdav else {
            return Err(invalid("protocol", "has neither options.sharedSecret nor webdav.sharedSecret"));
        };
        if secret.is_empty() {
            return Err(invalid("sharedSecret", "is missing"));
        }
        // A colon would end the name of Basic (RFC 7617 2).
        let printable = secret.expose().bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if secret.expose().len() > OCM_SECRET_BYTES_MAX || !printable {
            return Err(invalid("sharedSecret", "is longer than 128 signs, or has others than printable ASCII without colon"));
        }
        let Some(uri) = uri else { return Ok((secret.clone(), OfferedAt::Discovered)) };
        let at_home = |address: &CloudId| !self.is_ours(address) && same_host(&address.url(), uri).is_ok();
        let parsed = url::Url::parse(uri);
        if parsed.as_ref().map_or(uri.len(), |url| url.as_str().len()) > OCM_URL_BYTES_MAX {
            return Err(invalid("protocol.webdav.uri", "is longer than 2048 bytes"));
        }
        match parsed {
            Ok(url) if at_home(owner) || at_home(sender) => Ok((secret.clone(), OfferedAt::Url(url.to_string()))),
            Ok(_) | Err(_) => Err(invalid("protocol.webdav.uri", "is no https URL on the host of owner or sender")),
        }
    }

    /// The offers with a number and a secret.
    pub(super) fn offers_known_by(&self, provider_id: &str, secret: &Secret) -> Vec<Arc<Offer>> {
        let given = digest(secret.expose());
        let mut all = self.offers.all();
        all.retain(|offer| offer.provider_id == provider_id && equal(&offer.digest, &given));
        all
    }

    /// What other servers' users offer to a user or have shared, oldest first. What a user has declined is not kept.
    pub fn offers_of(&self, user: &User) -> Vec<Arc<Offer>> {
        let mut all = self.offers.all();
        all.retain(|offer| offer.space == user.space && offer.state != ReceivedState::Declined);
        all
    }

    /// The offer of a number to a user.
    ///
    /// # Errors
    /// Where there is none.
    pub fn offer_to(&self, user: &User, id: ShareId) -> Result<Arc<Offer>> {
        let own = self.offers.get(id).filter(|offer| offer.space == user.space && offer.state != ReceivedState::Declined);
        own.ok_or_else(|| Refusal::not_found(format!("`{}` receives no share {}", user.name, id.0)))
    }

    /// Where an accepted offer hangs in its receiver's tree.
    pub fn offer_path(&self, offer: &Offer) -> Option<TreePath> {
        self.forest.spaces().get(offer.space)?.mount_path(offer.mount.filter(|_| offer.state == ReceivedState::Accepted)?)
    }

    /// Takes an offered share into its receiver's tree; fine if it is there. Its server is asked first, and told.
    ///
    /// # Errors
    /// Where its server does not answer or says that the share is gone: the offer stays as it is.
    pub async fn accept(&self, user: &User, id: ShareId) -> Result<Arc<Offer>> {
        let offer = self.offer_to(user, id)?;
        if offer.state == ReceivedState::Accepted {
            return Ok(offer);
        }
        if !self.policies.may_receive(&user.name) {
            return Err(Refusal::refused("the administrator does not allow shares of other servers"));
        }
        if !self.is_allowed(&offer) {
            return Err(Refusal::refused("the administrator does not allow shares of that server"));
        }
        if self.has_left(&offer) {
            return Err(Refusal::refused("this is shared with a group that you do not belong to any more"));
        }
        let secret = self.vault.open_sealed(SealedIn::Offer(id), &offer.secret)?;
        let opened = self.open_offer(&offer, &secret).await?;
        let changing = self.offers.changing.lock().await;
        // One that was cut off half-way comes to its end first: a second mount would hide the first.
        self.settle_in_turn(id).await?;
        let asked = offer;
        let offer = self.offer_to(user, id)?;
        if offer.state == ReceivedState::Accepted {
            return Ok(offer);
        }
        // Its server has another name since it was asked: what was found is at the old one.
        if offer.server() != asked.server() || offer.at != asked.at {
            return Err(away());
        }
        let accepted = self.hang_offer(user, &offer, opened, secret).await?;
        drop(changing);
        if let Some(mount) = accepted.mount {
            self.mounting.look_first(mount).await;
        }
        Ok(accepted)
    }

    /// Mounts what an offer gives, and writes that down. The caller has the turn to change something.
    async fn hang_offer(&self, user: &User, offer: &Offer, opened: Opened, secret: Secret) -> Result<Arc<Offer>> {
        let scheme = opened.scheme;
        let name = Name::parse(&offer.name).map_err(|error| Refusal::failed(error.to_string()))?;
        let owner = format!("{}@{}", offer.owner_name, offer.owner.host());
        let new = Offered { opened, credentials: Credentials::of_offer(secret, scheme).at_server(&offer.server().url()), name, owner };
        let hanging = |mount: MountId| Offer { scheme, mount: Some(mount), ..Offer::clone(offer) };
        // Known in memory no later than in the store: whoever waits for this may go at any time, and the rest is then found and settled.
        let also = |mount: MountId| Batch::new().put(&*self.offers.keep(hanging(mount)));
        match self.mounting.add_offered(user, new, also).await {
            Ok(mount) => self.write_accepted(&hanging(mount.id)).await,
            Err(refusal) => {
                self.wait_again(offer.id).await?;
                Err(refusal)
            }
        }
    }

    /// Asks the server of an offer for the share.
    pub(super) async fn open_offer(&self, offer: &Offer, secret: &Secret) -> Result<Opened> {
        let address = offer.server();
        let (server, url, ways): (String, String, &[AuthScheme]) = match &offer.at {
            OfferedAt::Discovered => {
                let peer = self.remotes.peer(address).await.map_err(|error| {
                    tracing::warn!(share.id = offer.id.0, remote.host = address.host(), %error, "the server of an offered share cannot be asked");
                    away()
                })?;
                let url = peer.webdav_url();
                (peer.url, url, &[AuthScheme::Basic])
            }
            OfferedAt::Url(url) if offer.scheme == AuthScheme::Exchanged => (address.url(), url.clone(), &[AuthScheme::Exchanged]),
            OfferedAt::Url(url) => (address.url(), url.clone(), &[AuthScheme::Bearer, AuthScheme::Basic]),
        };
        self.remotes.open_offered(&server, &url, secret, ways).await.map_err(|fault| {
            tracing::warn!(share.id = offer.id.0, remote.host = address.host(), %fault, "an offered share does not open");
            match fault.for_users() {
                ProbeFault::NotFound => Refusal::refused("the other server says that the share is gone; decline it, or ask for a new one"),
                ProbeFault::UploadOnly | ProbeFault::SharingSwitchedOff | ProbeFault::SingleFile => {
                    Refusal::refused("the other server does not let the share be read")
                }
                ProbeFault::Loop => Refusal::refused("this leads back to this server: a server cannot mount its own shares"),
                ProbeFault::NotAnAddress
                | ProbeFault::NeedsPassword
                | ProbeFault::WrongPassword
                | ProbeFault::UntrustedCertificate { .. }
                | ProbeFault::PrivateAddress { .. }
                | ProbeFault::NotWebdav
                | ProbeFault::Unreachable
                | ProbeFault::Busy
                | ProbeFault::Throttled
                | ProbeFault::TooManyRedirects => away(),
            }
        })
    }

    async fn write_accepted(&self, hanging: &Offer) -> Result<Arc<Offer>> {
        let accepted = Offer { state: ReceivedState::Accepted, ..hanging.clone() };
        let batch = self.answer(Batch::new().put(&accepted), hanging, "SHARE_ACCEPTED")?;
        self.store.commit(batch).await?;
        self.outbox.wake();
        tracing::info!(share.id = accepted.id.0, user.id = %accepted.user, "a share of another server was accepted");
        Ok(self.offers.keep(accepted))
    }

    /// Adds to a batch what the server of an offer is told.
    fn answer(&self, batch: Batch, offer: &Offer, kind: &str) -> Result<Batch> {
        let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?;
        let words = if kind == "SHARE_ACCEPTED" { "Recipient accepted the share" } else { "Recipient declined the share" };
        let notification = Notification::new(kind, &offer.provider_id, secret)
            .with("message", words)
            .with("owner", offer.owner.to_string())
            .with("grantee", offer.user.as_str());
        self.answer_message(batch, offer.server(), &notification)
    }

    /// Ends an offer, taking it out of its receiver's tree if it is there. Its server is told.
    ///
    /// # Errors
    /// Where the user has no such offer, or the store fails.
    pub async fn decline(&self, user: &User, id: ShareId) -> Result<()> {
        let _changing = self.offers.changing.lock().await;
        let offer = self.offer_to(user, id)?;
        self.end(&offer, true).await
    }

    /// Takes away the mount of an offer, then the offer itself; `tell` its server that the receiver did it.
    pub(super) async fn end(&self, offer: &Offer, tell: bool) -> Result<()> {
        // What one of a group does not want the others may: its server takes one answer for that of all.
        let ended_here = tell;
        let has = |known: &Offer| known.state != ReceivedState::Pending || !self.has_left(known);
        let tell = tell && !self.offers.all().iter().any(|known| known.id != offer.id && is_same(known, offer) && has(known));
        let batch = self.without_mount(offer).await?.delete::<Offer>(&offer.key()).delete::<GroupOffer>(&offer.key());
        let batch = if ended_here { self.take_back_all(batch, offer)? } else { batch };
        let batch = if tell { self.answer(batch, offer, "SHARE_DECLINED")? } else { batch };
        self.store.commit(batch).await?;
        self.offers.forget(offer.id);
        self.outbox.wake();
        tracing::info!(share.id = offer.id.0, user.id = %offer.user, remote.host = offer.server().host(), "a share of another server ended");
        Ok(())
    }

    /// Takes the mount of an offer away. Where the accepting was cut off early, all that there is of it may be its row, which the batch deletes.
    async fn without_mount(&self, offer: &Offer) -> Result<Batch> {
        let Some(mount) = offer.mount else { return Ok(Batch::new()) };
        if self.mounting.get(mount).is_ok() {
            self.mounting.remove(mount).await?;
        }
        Ok(Batch::new().delete::<Mount>(&mount.0.to_be_bytes()))
    }

    /// Lets an offer that does not hang wait for its receiver, as before. Nothing is left of its mount.
    async fn wait_again(&self, id: ShareId) -> Result<()> {
        let Some(offer) = self.offers.get(id) else { return Ok(()) };
        let waiting = Offer { mount: None, ..Offer::clone(&offer) };
        let batch = self.without_mount(&offer).await?.put(&waiting);
        self.store.commit(batch).await?;
        self.offers.keep(waiting);
        Ok(())
    }

    /// Ends the share of a number and a secret, since its server says that it is gone. Says whether there was one.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn withdraw(&self, provider_id: &str, secret: &Secret) -> Result<bool> {
        let _changing = self.offers.changing.lock().await;
        let mut found = false;
        for offer in &self.offers_known_by(provider_id, secret) {
            found = true;
            // Should the rest wait for the next start, that is not taken for the receiver's wish.
            let gone = Offer { state: ReceivedState::Declined, ..Offer::clone(offer) };
            self.store.commit(Batch::new().put(&gone)).await?;
            tracing::info!(share.id = offer.id.0, user.id = %offer.user, "another server ended a share");
            let gone = self.offers.keep(gone);
            self.end(&gone, false).await?;
        }
        Ok(found)
    }

    /// Compares every offer with the mounts that there are: what was unmounted ends, and its server is told; what a stop interrupted is done.
    pub async fn settle_offers(&self) {
        for offer in self.offers.all() {
            if let Err(error) = self.settle_offer(&offer).await {
                tracing::error!(share.id = offer.id.0, %error, "a share of another server could not be compared with its mount");
            }
        }
        self.forget_asked().await;
    }

    async fn settle_offer(&self, offer: &Offer) -> Result<()> {
        if self.fate(offer).await? == Fate::Stays {
            return Ok(());
        }
        let _changing = self.offers.changing.lock().await;
        self.settle_in_turn(offer.id).await
    }

    /// Settles one offer. The caller has the turn to change something.
    async fn settle_in_turn(&self, id: ShareId) -> Result<()> {
        let Some(offer) = self.offers.get(id) else { return Ok(()) };
        match self.fate(&offer).await? {
            Fate::Stays => Ok(()),
            Fate::WasAccepted => self.write_accepted(&offer).await.map(drop),
            Fate::WaitsAgain => self.wait_again(id).await,
            Fate::Ended => self.end(&offer, true).await,
            Fate::Withdrawn => self.end(&offer, false).await,
        }
    }

    async fn fate(&self, offer: &Offer) -> Result<Fate> {
        let receiver = self.accounts.get(&offer.user).filter(|user| user.space == offer.space);
        Ok(match (offer.state, offer.mount) {
            (ReceivedState::Declined, _) => Fate::Withdrawn,
            _ if receiver.is_none() => Fate::Ended,
            // Who answered it, its server has heard of; it is told once nobody has it any more.
            (state, _) if self.has_left(offer) => {
                if state == ReceivedState::Pending {
                    Fate::Withdrawn
                } else {
                    Fate::Ended
                }
            }
            // Nobody answered it, so nobody is told: its address is only what a stranger wrote (attack F8).
            (ReceivedState::Pending, None) if self.is_over(offer) => Fate::Withdrawn,
            (ReceivedState::Pending, None) => Fate::Stays,
            (ReceivedState::Pending, Some(mount)) if self.hangs(offer.space, mount).await? => Fate::WasAccepted,
            (ReceivedState::Pending, Some(_)) => Fate::WaitsAgain,
            (ReceivedState::Accepted, Some(mount)) if self.hangs(offer.space, mount).await? => Fate::Stays,
            (ReceivedState::Accepted, _) => Fate::Ended,
        })
    }

    /// Whether an offer has waited for its receiver long enough.
    fn is_over(&self, offer: &Offer) -> bool {
        let end = offer.expires.unwrap_or_else(|| offer.received.saturating_add(OFFER_WAIT_SECONDS));
        end <= self.clock.now()
    }

    /// Whether a mount hangs in a home; in a deleted folder it still does.
    async fn hangs(&self, space: SpaceId, mount: MountId) -> Result<bool> {
        if self.mounting.get(mount).is_err() {
            return Ok(false);
        }
        let home = self.forest.spaces().get(space).ok_or_else(|| Refusal::failed("the user's home is not open"))?;
        Ok(home.mount_path(mount).is_some() || home.has_mount(mount).await?)
    }
}

/// What a user is told where the other server cannot be asked: refused, filtered, TLS and private addresses alike (attack F9).
fn away() -> Refusal {
    Refusal::new(Reason::RemoteUnreachable, "the other server cannot be reached now; the share waits, try again later")
}

pub(super) fn invalid(field: &'static str, why: &'static str) -> NotTaken {
    NotTaken::Invalid(Wrong { field, why })
}

/// Whether two offers are of the same share: one is (its server, its number, its secret).
fn is_same(one: &Offer, other: &Offer) -> bool {
    one.server().host() == other.server().host() && one.provider_id == other.provider_id && equal(&one.digest, &other.digest)
}

/// Whether two digests are the same, in a time that does not tell where they differ (attack F5).
fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

/// Whether a letter is not shown but changes how others are: controls, and those that turn the direction of text (Unicode UAX 9).
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text of another server, as it may be shown to people.
pub(super) fn shown(text: &str, otherwise: &str) -> String {
    let clean = |text: &str| cut(text.chars().filter(|letter| !is_hidden(*letter)).collect::<String>().trim(), DISPLAY_NAME_BYTES_MAX);
    Some(clean(text)).filter(|text| !text.is_empty()).unwrap_or_else(|| clean(otherwise))
}

/// What another server calls a share, as a name in the receiver's tree. Nextcloud puts a slash in front.
fn fit_name(text: &str) -> String {
    let fit: String = text
        .trim_matches('/')
        .chars()
        .filter(|letter| !is_hidden(*letter))
        .map(|letter| if matches!(letter, '/' | '\\') { '_' } else { letter })
        .collect();
    let fit = cut(fit.trim(), OFFER_NAME_BYTES_MAX);
    if Name::parse(&fit).is_ok() { fit } else { "Shared".to_owned() }
}

/// The front of a text, at most so many bytes.
fn cut(text: &str, bytes: usize) -> String {
    let mut text = text.to_owned();
    while text.len() > bytes {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_hostile_names_become_names() {
        let check = |text: &str, expected: &str| assert_eq!(fit_name(text), expected, "{text:?}");
        check("/fed", "fed");
        check("a/../b", "a_.._b");
        check("..", "Shared");
        check("", "Shared");
        check("///", "Shared");
        check("a\u{0}b\r\nc", "abc");
        check("photo\u{202e}gpj.exe", "photogpj.exe");
        check("C:\\x", "C:_x");
        check(&"ä".repeat(300), &"ä".repeat(100));
    }

    #[test]
    fn f11_hostile_display_names_are_cut_and_cleaned() {
        assert_eq!(shown(" Ali\u{202e}ce\n", "x"), "Alice");
        assert_eq!(shown("\u{200b}", "alice"), "alice");
        assert_eq!(shown(&"x".repeat(10_000), "").len(), DISPLAY_NAME_BYTES_MAX);
    }

    #[test]
    fn f5_digests_are_compared_whole() {
        let one = digest("a");
        assert!(equal(&one, &one) && !equal(&one, &digest("b")));
    }
}
