//! What our users share on of shares that they received from other servers: the owner's server makes the new share, because ours asks it to
//! (`REQUEST_RESHARE`, `protocol/ocm.md` 1.6). The files never go by way of us.
//!
//! **Invariants:** the owner's server decides, and bounds the new share by what it grants now over every hop (attack F7); a row is written once
//! it has agreed; what its asker takes back is kept until the owner's server was told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
use crate::store::{Batch, Record, Table};
use crate::wire::Via;
use crate::wire::ocm::{Notification, permissions_of, words};

/// Most shares that one user has asked for.
const USER_ASKED_MAX: usize = 500;

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
    /// Its number at the owner's server.
    pub provider_id: String,
    /// SHA-256 of what opens it.
    pub digest: [u8; 32],
    /// What opens it, encrypted at rest.
    secret: Vec<u8>,
    /// The receiver's answer, as far as the owner's server tells.
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
        let id = ShareId(self.store.next_id()?);
        let secret = self.vault.open_sealed(SealedIn::Offer(offer.id), &offer.secret)?;
        let question = Notification::new("REQUEST_RESHARE", &offer.provider_id, secret)
            .with("shareWith", String::from(to.clone()))
            .with("senderId", id.0)
            .with("shareType", 6)
            .with("message", "Ask owner to reshare the file");
        let told = self.asked_of_server(offer, &question).await.map_err(|error| unanswered(offer, to, &error))?;
        let (secret, provider_id) = made_there(&told).ok_or_else(|| not_supported(offer, to))?;
        let asked = AskedShare {
            id,
            user: sharer.name.clone(),
            space: sharer.space,
            offer: offer.id,
            to: to.clone(),
            permissions: wanted,
            digest: digest(secret.expose()),
            secret: self.vault.seal(SealedIn::Asked(id), &secret)?,
            provider_id,
            state: SentState::Pending,
            created: self.clock.now(),
        };
        if wanted != granted {
            let less = Notification::new("RESHARE_CHANGE_PERMISSION", &asked.provider_id, secret).with("permission", said);
            if let Err(error) = self.asked_of_server(offer, &less).await {
                tracing::info!(remote.host = offer.server().host(), %error, "a share that was asked for cannot be made smaller, and ends");
                let batch = self.take_back(Batch::new(), offer, &asked)?;
                self.store.commit(batch).await?;
                self.outbox.wake();
                let text = format!("the server of {} shares it on with all that you may do, or not at all", offer.owner);
                return Err(Refusal::refused(text));
            }
        }
        self.store.commit(Batch::new().put(&asked)).await?;
        tracing::info!(share.id = id.0, user.id = %sharer.name, remote.host = offer.server().host(), "a share of another server was shared on");
        Ok(asked)
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
        let made = self.asked_by(sharer)?;
        if made.iter().any(|asked| asked.offer == offer.id && asked.to.is(to)) {
            return Err(Refusal::refused(format!("{} is shared with {to} already", new.path)));
        }
        if made.len() >= USER_ASKED_MAX {
            return Err(Refusal::refused(format!("`{}` has shared on {USER_ASKED_MAX} things already", sharer.name)));
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
        all.retain(|asked| asked.space == user.space && self.origin_of(asked).is_some());
        Ok(all)
    }

    /// The share of a number that somebody here asked for, with what it was made from.
    pub fn asked(&self, id: ShareId) -> Option<(AskedShare, Arc<Offer>)> {
        let asked = self.store.get::<AskedShare>(&id.0.to_be_bytes()).ok().flatten()?;
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
        let batch = self.take_back(Batch::new().delete::<AskedShare>(&asked.key()), &offer, &asked)?;
        self.store.commit(batch).await?;
        self.outbox.wake();
        tracing::info!(share.id = id.0, user.id = %asked.user, "a share that was asked for was taken back");
        Ok(())
    }

    fn take_back(&self, batch: Batch, offer: &Offer, asked: &AskedShare) -> Result<Batch> {
        let secret = self.vault.open_sealed(SealedIn::Asked(asked.id), &asked.secret)?;
        let undone = Notification::new("RESHARE_UNDO", &asked.provider_id, secret).with("message", "reshare was revoked");
        self.kept_message(batch, offer.server(), &undone)
    }

    /// What the owner's server tells of a share that was asked for. Says whether it is about one.
    ///
    /// # Errors
    /// Where the store fails.
    pub(super) async fn asked_heard(&self, notification: &Notification) -> Result<bool> {
        let Some(id) = number(&notification.provider_id) else { return Ok(false) };
        let known = self.store.get::<AskedShare>(&id.0.to_be_bytes())?;
        let Some(asked) = known.filter(|asked| asked.digest == digest(notification.secret.expose())) else { return Ok(false) };
        let batch = match notification.kind.as_str() {
            "SHARE_ACCEPTED" => Batch::new().present::<AskedShare>(&asked.key()).put(&AskedShare { state: SentState::Accepted, ..asked }),
            "SHARE_DECLINED" | "RESHARE_UNDO" => Batch::new().delete::<AskedShare>(&asked.key()),
            _ => return Ok(false),
        };
        match self.store.commit(batch).await {
            // It was taken back just now.
            Ok(()) | Err(crate::store::Error::Conflict) => Ok(true),
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
