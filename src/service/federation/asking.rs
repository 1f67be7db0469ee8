//! What our users share on of shares that they received from other servers: the owner's server makes the new share, because ours asks it to
//! (`REQUEST_RESHARE`, `protocol/ocm.md` 1.6). The files never go by way of us.
//!
//! **Invariants:** the owner's server decides, and bounds the new share by what it grants now over every hop (attack F7); a row is there before it
//! is asked, so that whatever it makes is known here: what was not heard to its end, or could not be made as small as was asked for, is
//! undone by [`Federation::follow_asked`]; what its asker takes back is kept until the owner's server was told.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::Federation;
use super::door::number;
use crate::domain::{
    CloudId, Offer, Permissions, ReceivedState, Secret, SentState, Share, ShareId, ShareWith, SpaceId, Timestamp, TreePath, User, UserName,
    shareable,
};
use crate::limits::{OCM_ID_BYTES_MAX, OCM_SECRET_BYTES_MAX};
use crate::remote;
use crate::service::federation::NotSent;
use crate::service::refusal::Result;
use crate::service::secrets::{SealedIn, digest};
use crate::service::shares::NewShare;
use crate::service::{Reason, Refusal};
use crate::store::{self, Batch, Record, Table};
use crate::wire::Via;
use crate::wire::ocm::{Notification, permissions_of, words};

/// Most shares that one user has asked for.
const USER_ASKED_MAX: usize = 500;
/// How often is looked for what was asked and not heard to its end, if nothing rings before.
const ROUND_EVERY: Duration = Duration::from_secs(60);
/// How many servers are asked again at once.
const ASKED_AGAIN_AT_ONCE: usize = 8;
/// How long a refusal may mean that the first question is still worked on there, in seconds.
const STILL_MADE_SECONDS: i64 = 120;
/// How long a server is asked again, in seconds.
const ASKED_AGAIN_SECONDS: i64 = 24 * 3600;

/// A share that the server of an offered one made because a user of ours asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedShare {
    /// Its number here. Shares, offers and these take their numbers from one row.
    pub id: ShareId,
    /// Who asked.
    pub user: UserName,
    /// The asker's home.
    pub space: SpaceId,
    /// What was shared on.
    pub offer: ShareId,
    /// With whom.
    pub to: CloudId,
    /// What was asked for; what it grants, the owner's server says at each request.
    pub permissions: Permissions,
    /// Its number at the owner's server; empty until that has answered.
    pub provider_id: String,
    /// SHA-256 of what opens it.
    pub digest: [u8; 32],
    /// What opens it, encrypted at rest.
    secret: Vec<u8>,
    /// The receiver's answer, as far as the owner's server tells; `Sending` until it is made as it was asked for.
    pub state: SentState,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for AskedShare {
    const TABLE: Table = Table::AskedShares;
    fn key(&self) -> Vec<u8> {
        self.id.0.to_be_bytes().to_vec()
    }
}

impl AskedShare {
    /// The same with a receiver under another address.
    pub(super) fn readdressed(self, to: CloudId) -> AskedShare {
        AskedShare { to, ..self }
    }
}

/// The shares that are being asked for now.
#[derive(Default)]
pub(super) struct Asking {
    /// Their rows are nobody else's to settle.
    busy: Mutex<HashSet<ShareId>>,
    /// One row is begun at a time.
    starting: tokio::sync::Mutex<()>,
    ended: Notify,
}

impl Asking {
    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<ShareId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to ask for a share, unless somebody has it.
    fn turn(&self, id: ShareId) -> Option<Turn<'_>> {
        self.busy().insert(id).then(|| Turn { asking: self, id, rings: true })
    }
}

/// One share that is asked for; given back at the end, however that comes.
struct Turn<'asking> {
    asking: &'asking Asking,
    id: ShareId,
    rings: bool,
}

impl Turn<'_> {
    /// Gives it back without ringing: for the loop that would hear it.
    fn end(mut self) {
        self.rings = false;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.asking.busy().remove(&self.id);
        if self.rings {
            self.asking.ended.notify_one();
        }
    }
}

/// What came of sharing something.
#[derive(Debug)]
pub enum Made {
    /// A share of ours.
    Share(Arc<Share>),
    /// One that the owner's server made.
    Asked(AskedShare),
}

impl Federation {
    /// Shares a node with somebody: what is received from another server by asking that one, everything else as [`Federation::send`] does.
    ///
    /// # Errors
    /// As there; and where the owner's server does not do it.
    pub async fn share(&self, sharer: &User, new: NewShare) -> Result<Made, NotSent> {
        let above = |offer: &Arc<Offer>| self.offer_path(offer).and_then(|root| new.path.strip_prefix(&root));
        let found = self.offers_of(sharer).into_iter().find_map(|offer| above(&offer).map(|inner| (offer, inner)));
        match (found, &new.with) {
            (Some((offer, inner)), ShareWith::Remote(to)) => {
                let to = to.clone();
                Ok(Made::Asked(self.ask(sharer, (&offer, &inner), &to, new).await?))
            }
            (Some(_), ShareWith::User(_) | ShareWith::Group(_)) => {
                let text = "this is shared by another server: give the whole address of the receiver, such as bob@cloud.example";
                Err(Refusal::refused(text).into())
            }
            (None, _) => self.send(sharer, new).await.map(Made::Share),
        }
    }

    /// Asks the server of an offer to share it with somebody.
    async fn ask(&self, sharer: &User, (offer, inner): (&Offer, &TreePath), to: &CloudId, new: NewShare) -> Result<AskedShare> {
        let granted = self.may_ask(sharer, (offer, inner), to, &new).await?;
        let wanted = new.permissions.unwrap_or(granted) & granted;
        if !wanted.contains(Permissions::READ) {
            return Err(Refusal::usage("a share with users lets them read at least; permissions are 1 to 31, odd"));
        }
        let said = words(wanted);
        let as_words: Vec<String> = said.iter().map(|word| (*word).to_owned()).collect();
        if permissions_of(&as_words) & granted != wanted {
            return Err(Refusal::refused(
                "what another server shares is shared on to read, or with all that you may do; with or without the right to share it on",
            ));
        }
        let (asked, _turn) = self.begin_to_ask(sharer, offer, to, wanted).await?;
        let made = match self.ask_server(offer, &asked).await {
            Ok(Some(made)) => made,
            Ok(None) => {
                self.store.commit(Batch::new().delete::<AskedShare>(&asked.key())).await?;
                return Err(not_supported(offer, to));
            }
            Err(error) => {
                // Where it may have heard, it is asked again, and what comes of that is undone.
                if error.is_final() {
                    self.store.commit(Batch::new().delete::<AskedShare>(&asked.key())).await?;
                }
                return Err(unanswered(offer, to, &error));
            }
        };
        if wanted != granted {
            self.keep_made(offer, &made).await?;
            let secret = self.vault.open_sealed(SealedIn::Asked(made.id), &made.secret)?;
            let less = Notification::new("RESHARE_CHANGE_PERMISSION", &made.provider_id, secret).with("permission", said);
            if let Err(error) = self.asked_of_server(offer, &less).await {
                tracing::info!(remote.host = offer.server().host(), %error, "a share that was asked for cannot be made smaller, and ends");
                self.undo_made(offer, &made).await?;
                let text = format!("the server of {} shares it on with all that you may do, or not at all", offer.owner);
                return Err(Refusal::refused(text));
            }
        }
        let made = AskedShare { state: SentState::Pending, ..made };
        self.keep_made(offer, &made).await?;
        tracing::info!(share.id = made.id.0, user.id = %sharer.name, remote.host = offer.server().host(), "a share of another server was shared on");
        Ok(made)
    }

    /// Writes down that a share is asked for, and takes the turn. One that was asked for and not heard of is asked for again.
    async fn begin_to_ask(&self, sharer: &User, offer: &Offer, to: &CloudId, wanted: Permissions) -> Result<(AskedShare, Turn<'_>)> {
        let _starting = self.offers.asking.starting.lock().await;
        let mut all = self.store.list::<AskedShare>()?;
        all.retain(|asked| asked.space == sharer.space && self.origin_of(asked).is_some());
        let there = all.iter().find(|asked| asked.offer == offer.id && asked.to.is(to));
        if there.is_some_and(|there| there.state != SentState::Sending) {
            return Err(Refusal::refused(format!("this is shared with {to} already")));
        }
        if there.is_none() && all.len() >= USER_ASKED_MAX {
            return Err(Refusal::refused(format!("`{}` has shared on {USER_ASKED_MAX} things already", sharer.name)));
        }
        let id = there.map_or_else(|| self.store.next_id().map(ShareId), |there| Ok(there.id))?;
        let busy = || Refusal::refused(format!("this is being shared with {to} just now; try again later"));
        let turn = self.offers.asking.turn(id).ok_or_else(busy)?;
        let asked = AskedShare {
            id,
            user: sharer.name.clone(),
            space: sharer.space,
            offer: offer.id,
            to: to.clone(),
            permissions: wanted,
            digest: [0; 32],
            secret: Vec::new(),
            provider_id: String::new(),
            state: SentState::Sending,
            created: self.clock.now(),
        };
        self.store.commit(Batch::new().put(&asked)).await?;
        Ok((asked, turn))
    }

    /// Asks for a share; the same one again if it was asked for before. None where the server makes no such shares.
    async fn ask_server(&self, offer: &Offer, asked: &AskedShare) -> Result<Option<AskedShare>, remote::Error> {
        let unreadable = |error: &dyn fmt::Display| {
            tracing::error!(share.id = asked.id.0, %error, "the secret of a share cannot be used");
            remote::Error::Unreachable { retry_after: ROUND_EVERY }
        };
        let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret).map_err(|error| unreadable(&error))?;
        let question = Notification::new("REQUEST_RESHARE", &offer.provider_id, secret)
            .with("shareWith", String::from(asked.to.clone()))
            .with("senderId", asked.id.0)
            .with("shareType", 6)
            .with("message", "Ask owner to reshare the file");
        let told = self.asked_of_server(offer, &question).await?;
        let Some((secret, provider_id)) = made_there(&told) else { return Ok(None) };
        let sealed = self.vault.seal(SealedIn::Asked(asked.id), &secret).map_err(|error| unreadable(&error))?;
        Ok(Some(AskedShare { digest: digest(secret.expose()), secret: sealed, provider_id, ..asked.clone() }))
    }

    /// Writes down what the owner's server has made. Where its row is gone, that has ended meanwhile, and so does this.
    async fn keep_made(&self, offer: &Offer, made: &AskedShare) -> Result<()> {
        match self.store.commit(Batch::new().present::<AskedShare>(&made.key()).put(made)).await {
            Err(store::Error::Conflict) => {
                self.undo_made(offer, made).await?;
                Err(Refusal::refused("what was to be shared on has ended meanwhile"))
            }
            done => Ok(done?),
        }
    }

    async fn undo_made(&self, offer: &Offer, made: &AskedShare) -> Result<()> {
        let batch = self.take_back(Batch::new().delete::<AskedShare>(&made.key()), offer, made)?;
        self.store.commit(batch).await?;
        self.outbox.wake();
        Ok(())
    }

    /// Settles what was asked for and not heard to its end, for as long as it is polled.
    pub async fn follow_asked(&self) {
        loop {
            let all = self.store.list::<AskedShare>().unwrap_or_else(|error| {
                tracing::error!(%error, "shares that were asked for cannot be read");
                Vec::new()
            });
            let open = all.into_iter().filter(|asked| asked.state == SentState::Sending);
            stream::iter(open).for_each_concurrent(ASKED_AGAIN_AT_ONCE, |asked| self.settle_asked(asked.id)).await;
            tokio::select! {
                () = self.offers.asking.ended.notified() => {}
                () = tokio::time::sleep(ROUND_EVERY) => {}
            }
        }
    }

    async fn settle_asked(&self, id: ShareId) {
        let key = id.0.to_be_bytes();
        let Some(turn) = self.offers.asking.turn(id) else { return };
        let found = self.store.get::<AskedShare>(&key).ok().flatten().filter(|asked| asked.state == SentState::Sending);
        if let Some(asked) = found
            && let Err(error) = self.end_asked(&asked).await
        {
            tracing::error!(share.id = id.0, %error, "a share that was asked for cannot be ended");
        }
        turn.end();
    }

    /// Ends one whose asker did not hear the end of it: what may have been made is asked for once more, since nothing else names it.
    async fn end_asked(&self, asked: &AskedShare) -> Result<()> {
        let forgotten = Batch::new().delete::<AskedShare>(&asked.key());
        let Some(offer) = self.origin_of(asked) else { return Ok(self.store.commit(forgotten).await?) };
        if !asked.provider_id.is_empty() {
            return self.undo_made(&offer, asked).await;
        }
        let age = self.clock.now().saturating_sub(asked.created);
        match self.ask_server(&offer, asked).await {
            Ok(Some(made)) => {
                tracing::info!(share.id = asked.id.0, user.id = %asked.user, "a share was made whose asker did not hear of it: it is taken back");
                self.undo_made(&offer, &made).await
            }
            Err(error) if age < if error.ends_telling() { STILL_MADE_SECONDS } else { ASKED_AGAIN_SECONDS } => Ok(()),
            Ok(None) | Err(_) => Ok(self.store.commit(forgotten).await?),
        }
    }

    /// What the sharer may give on of an offered share, if that may be asked for at all.
    async fn may_ask(&self, sharer: &User, (offer, inner): (&Offer, &TreePath), to: &CloudId, new: &NewShare) -> Result<Permissions> {
        if !inner.is_root() {
            return Err(Refusal::refused(
                "the owner's server shares on the whole share alone; share the folder that it is, or ask its owner",
            ));
        }
        if new.expires.is_some() {
            return Err(Refusal::refused(
                "a share that the owner's server makes ends with the one that it is made from; leave the last day out",
            ));
        }
        if !self.policies.may_send(&sharer.name) {
            return Err(Refusal::refused("the administrator does not allow sharing with other servers"));
        }
        if !self.is_allowed(offer) {
            return Err(Refusal::refused("the administrator does not allow shares of that server"));
        }
        if !self.is_ours(to) {
            self.policies.partners().judge(to)?;
        }
        if offer.owner.is(to) {
            return Err(Refusal::refused(format!("{to} is the owner of it")));
        }
        if self.address_of(&sharer.name).is_ok_and(|own| own.is(to)) {
            return Err(Refusal::refused("nobody shares with themselves"));
        }
        let view = self.forest.user_view(sharer, Via::default())?;
        let entry = view.stat(&new.path).await?;
        let granted = entry.access.granted & shareable(entry.node.kind);
        if !granted.contains(Permissions::SHARE | Permissions::READ) {
            return Err(Refusal::refused("this may not be shared on"));
        }
        Ok(granted)
    }

    async fn asked_of_server(&self, offer: &Offer, notification: &Notification) -> Result<Value, remote::Error> {
        let peer = self.remotes.peer(offer.server()).await?;
        self.remotes.notify(&peer, notification).await
    }

    /// What a user has asked for, oldest first, as far as what it was made from is still there.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn asked_by(&self, user: &User) -> Result<Vec<AskedShare>> {
        let mut all = self.store.list::<AskedShare>()?;
        all.retain(|asked| asked.space == user.space && asked.state != SentState::Sending && self.origin_of(asked).is_some());
        Ok(all)
    }

    /// The share of a number that somebody here asked for, with what it was made from.
    pub fn asked(&self, id: ShareId) -> Option<(AskedShare, Arc<Offer>)> {
        let asked = self.store.get::<AskedShare>(&id.0.to_be_bytes()).ok().flatten()?;
        let asked = Some(asked).filter(|asked| asked.state != SentState::Sending)?;
        let offer = self.origin_of(&asked)?;
        Some((asked, offer))
    }

    fn origin_of(&self, asked: &AskedShare) -> Option<Arc<Offer>> {
        self.offers.get(asked.offer).filter(|offer| offer.state == ReceivedState::Accepted)
    }

    /// Ends a share that was asked for. The owner's server is told, now or later.
    ///
    /// # Errors
    /// Where there is none, or the store fails.
    pub async fn undo_asked(&self, id: ShareId) -> Result<()> {
        let missing = || Refusal::not_found(format!("there is no share {}", id.0));
        let (asked, offer) = self.asked(id).ok_or_else(missing)?;
        self.undo_made(&offer, &asked).await?;
        tracing::info!(share.id = id.0, user.id = %asked.user, "a share that was asked for was taken back");
        Ok(())
    }

    /// Adds to the batch that ends an offer what its receiver has shared on of it: the owner's server is told.
    pub(super) fn take_back_all(&self, batch: Batch, offer: &Offer) -> Result<Batch> {
        let mut batch = batch;
        for asked in self.store.list::<AskedShare>()?.iter().filter(|asked| asked.offer == offer.id) {
            batch = batch.delete::<AskedShare>(&asked.key());
            if !asked.provider_id.is_empty() {
                batch = self.answer_message(batch, offer.server(), &self.undone(asked)?)?;
            }
        }
        Ok(batch)
    }

    fn take_back(&self, batch: Batch, offer: &Offer, asked: &AskedShare) -> Result<Batch> {
        self.kept_message(batch, offer.server(), &self.undone(asked)?)
    }

    fn undone(&self, asked: &AskedShare) -> Result<Notification> {
        let secret = self.vault.open_sealed(SealedIn::Asked(asked.id), &asked.secret)?;
        Ok(Notification::new("RESHARE_UNDO", &asked.provider_id, secret).with("message", "reshare was revoked"))
    }

    /// The share that was asked for with the number and the secret of a notification.
    fn asked_known_by(&self, notification: &Notification) -> Result<Option<AskedShare>> {
        let Some(id) = number(&notification.provider_id) else { return Ok(None) };
        let known = self.store.get::<AskedShare>(&id.0.to_be_bytes())?;
        Ok(known.filter(|asked| asked.digest == digest(notification.secret.expose())))
    }

    /// The server that made the share that a notification is about, where one of our users asked for it.
    pub(super) fn server_of_asked(&self, notification: &Notification) -> Option<CloudId> {
        let asked = self.asked_known_by(notification).ok().flatten()?;
        self.offers.get(asked.offer).map(|offer| offer.server().clone())
    }

    /// What the owner's server tells of a share that was asked for. Says whether it is about one.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn asked_heard(&self, notification: &Notification) -> Result<bool> {
        let Some(asked) = self.asked_known_by(notification)? else { return Ok(false) };
        let batch = match notification.kind.as_str() {
            "SHARE_ACCEPTED" if asked.state == SentState::Sending => {
                return Err(Refusal::failed("a share that was asked for is not as it was asked for yet: this is heard later"));
            }
            "SHARE_ACCEPTED" => Batch::new().present::<AskedShare>(&asked.key()).put(&AskedShare { state: SentState::Accepted, ..asked }),
            "SHARE_DECLINED" | "RESHARE_UNDO" => Batch::new().delete::<AskedShare>(&asked.key()),
            _ => return Ok(false),
        };
        match self.store.commit(batch).await {
            // It was taken back just now.
            Ok(()) | Err(store::Error::Conflict) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets what was made from shares that have ended: so has it.
    pub(super) async fn forget_asked(&self) {
        let all = self.store.list::<AskedShare>().unwrap_or_default();
        let over = all.iter().filter(|asked| self.offers.get(asked.offer).is_none());
        let batch = over.fold(None, |batch, asked| Some(Batch::delete::<AskedShare>(batch.unwrap_or_default(), &asked.key())));
        if let Some(batch) = batch
            && let Err(error) = self.store.commit(batch).await
        {
            tracing::error!(%error, "shares that were asked for and have ended cannot be forgotten");
        }
    }
}

/// The secret and the number of the new share: ownCloud, Nextcloud and the older call name them differently.
fn made_there(told: &Value) -> Option<(Secret, String)> {
    let text = |names: [&str; 2]| {
        names.iter().find_map(|name| match told.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
    };
    let secret = text(["token", "sharedSecret"]).filter(|secret| (1..=OCM_SECRET_BYTES_MAX).contains(&secret.len()))?;
    let id =
        text(["providerId", "remoteId"]).filter(|id| (1..=OCM_ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control))?;
    Some((Secret::new(secret), id))
}

fn not_supported(offer: &Offer, to: &CloudId) -> Refusal {
    Refusal::refused(format!(
        "the server of {} does not let receivers share on; ask {} to share it with {to}",
        offer.owner, offer.owner_name
    ))
}

/// Why the owner's server made no share, for the user who asked.
fn unanswered(offer: &Offer, to: &CloudId, error: &remote::Error) -> Refusal {
    tracing::info!(share.id = offer.id.0, remote.host = offer.server().host(), %error, "a share of another server was not shared on");
    match error {
        remote::Error::Unauthorized | remote::Error::Forbidden | remote::Error::Conflict | remote::Error::PreconditionFailed => {
            Refusal::refused(format!(
                "the server of {} refused to share it with {to}; check the address, or ask {}",
                offer.owner, offer.owner_name
            ))
        }
        remote::Error::Unsupported | remote::Error::NotFound | remote::Error::Rejected(_) | remote::Error::SharingOff => {
            not_supported(offer, to)
        }
        remote::Error::Unreachable { .. }
        | remote::Error::NotAllowed
        | remote::Error::Untrusted(_)
        | remote::Error::BadAnswer(_)
        | remote::Error::Redirected
        | remote::Error::Locked
        | remote::Error::Full
        | remote::Error::Loop
        | remote::Error::Busy { .. }
        | remote::Error::Throttled { .. }
        | remote::Error::Changed
        | remote::Error::SourceBroken => {
            Refusal::new(Reason::RemoteUnreachable, format!("the server of {} cannot share it on now; try again later", offer.owner))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_of_every_family_name_the_new_share() {
        let read = |told: Value| made_there(&told).map(|(secret, id)| (secret.expose().to_owned(), id));
        let expected = Some(("s3cret".to_owned(), "14".to_owned()));
        assert_eq!(read(json!({"token": "s3cret", "providerId": "14"})), expected);
        assert_eq!(read(json!({"sharedSecret": "s3cret", "providerId": 14})), expected);
        assert_eq!(read(json!({"token": "s3cret", "remoteId": 14})), expected);
        for told in [
            json!([]),
            json!({}),
            json!({"token": "s"}),
            json!({"token": "", "providerId": "1"}),
            json!(null),
            json!({"token": "x".repeat(200), "providerId": "1"}),
        ] {
            assert_eq!(read(told), None);
        }
    }
}
