//! For whom an offer is: one of our users, or everybody who is in one of our groups when it comes. Each of them answers alone, for as long as they
//! are in the group: as with shares of our own users, who leaves it has it no longer.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Federation;
use super::offers::{NotTaken, invalid};
use super::trusted::Caller;
use crate::domain::{CloudId, GroupName, Offer, ReceivedState, Secret, ShareId, User, UserName};
use crate::limits::{GROUP_OFFERS_MAX, GROUP_OFFERS_WAITING_MAX, OFFERS_MAX, USER_HOST_OFFERS_MAX, USER_OFFERS_MAX};
use crate::service::refusal::Result;
use crate::service::secrets::SealedIn;
use crate::store::{Batch, Record, Table};
use crate::wire::ocm::IncomingShare;

/// By which group an offer came to its receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct GroupOffer {
    pub(super) offer: ShareId,
    pub(super) group: GroupName,
}

impl Record for GroupOffer {
    const TABLE: Table = Table::GroupOffers;
    fn key(&self) -> Vec<u8> {
        self.offer.0.to_be_bytes().to_vec()
    }
}

/// For whom an offer is.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The name of the user or the group.
    pub id: String,
    /// How they are shown to people.
    pub name: String,
    /// Who answers it; at least one.
    pub(super) users: Vec<Arc<User>>,
    /// The group that it is for, if it is for one.
    pub(super) group: Option<GroupName>,
}

impl Federation {
    /// The accounts that an offer is for. Who is disabled is as unknown as who is not there.
    pub(super) fn receivers_of(&self, share: &IncomingShare) -> Result<Recipient, NotTaken> {
        let with = CloudId::parse(&share.with).map_err(|_error| invalid("shareWith", "is no address like bob@cloud.example"))?;
        if !self.is_ours(&with) {
            return Err(invalid("shareWith", "is not of this server"));
        }
        if share.share_type == "group" {
            return self.members(with.user());
        }
        let user = self.accounts.require(with.user()).map_err(|_refusal| NotTaken::NoSuchUser)?;
        if !self.accounts.is_enabled(&user.name) {
            return Err(NotTaken::NoSuchUser);
        }
        if !self.policies.may_receive(&user.name) {
            return Err(NotTaken::Unsupported("the administrator does not allow shares of other servers here"));
        }
        Ok(Recipient { id: user.name.to_string(), name: user.display_name.clone(), users: vec![user], group: None })
    }

    /// Everybody in a group who may receive it now. Who comes later gets it when it is offered again.
    fn members(&self, group: &str) -> Result<Recipient, NotTaken> {
        let group = self.shares.group(group).ok_or(NotTaken::NoSuchUser)?;
        if group.members.len() > GROUP_OFFERS_MAX {
            return Err(NotTaken::Unsupported("this group is too large to be shared with from other servers; share with its users"));
        }
        let may = |user: &Arc<User>| self.accounts.is_enabled(&user.name) && self.policies.may_receive(&user.name);
        let users: Vec<Arc<User>> = group.members.iter().filter_map(|name| self.accounts.get(name)).filter(may).collect();
        if users.is_empty() {
            return Err(NotTaken::NoSuchUser);
        }
        Ok(Recipient { id: group.name.to_string(), name: group.display_name.clone(), users, group: Some(group.name.clone()) })
    }

    /// Whether an offer came by a group that its receiver does not belong to any more, or that is gone.
    pub(super) fn has_left(&self, offer: &Offer) -> bool {
        self.offers.group_of(offer.id).is_some_and(|group| !self.shares.is_member(&group, &offer.user))
    }

    /// Writes an offer to these of its receivers, all at once, leaving out who has too many to answer: they get it when it is offered again.
    /// Each counts against the address that it came from. The caller has the turn to change something; if it is dropped, all are there or none.
    pub(super) async fn keep_offers(
        &self,
        to: &Recipient,
        users: &[Arc<User>],
        new: (Offer, &Secret),
        caller: Caller,
    ) -> Result<(), NotTaken> {
        let (offer, secret) = new;
        let fitting = self.with_room(users, &offer, to.group.is_some());
        if fitting.is_empty() {
            tracing::warn!(recipient.id = to.id, remote.host = offer.server().host(), "an offer was refused: too many wait");
            return Err(NotTaken::Full);
        }
        let (mut batch, mut offers) = (Batch::new(), Vec::with_capacity(fitting.len()));
        for user in fitting {
            let id = ShareId(self.store.next_id()?);
            let sealed = self.vault.seal(SealedIn::Offer(id), secret).map_err(|error| NotTaken::Failed(error.into()))?;
            let offer = Offer { id, secret: sealed, user: user.name.clone(), space: user.space, ..offer.clone() };
            batch = self.welcome(batch.absent::<Offer>(&offer.key()).put(&offer), &offer, to.group.is_none().then_some(caller));
            if let Some(group) = &to.group {
                batch = batch.put(&GroupOffer { offer: id, group: group.clone() });
            }
            self.offers.count(caller.address);
            offers.push(offer);
        }
        // In memory no later than in the store: the commit goes on if nobody waits for it any more.
        let kept: Vec<Arc<Offer>> = offers.into_iter().map(|offer| self.offers.keep_of(offer, to.group.as_ref())).collect();
        if let Err(error) = self.store.commit(batch).await {
            kept.iter().for_each(|offer| self.offers.forget(offer.id));
            return Err(error.into());
        }
        for offer in &kept {
            tracing::info!(share.id = offer.id.0, user.id = %offer.user, remote.host = offer.server().host(), "another server offers a share");
        }
        self.offers.welcome.ring();
        Ok(())
    }

    /// Those of some users who may get one more offer, as many as there is room for.
    fn with_room<'users>(&self, users: &'users [Arc<User>], offer: &Offer, group: bool) -> Vec<&'users Arc<User>> {
        let mut pending = self.offers.all();
        pending.retain(|known| known.state == ReceivedState::Pending);
        let mut counted: HashMap<&UserName, (usize, usize)> = HashMap::new();
        for known in &pending {
            let (all, of_host) = counted.entry(&known.user).or_default();
            *all += 1;
            *of_host += usize::from(known.server().host() == offer.server().host());
        }
        let mut room = OFFERS_MAX.saturating_sub(pending.len());
        if group {
            let of_groups = pending.iter().filter(|known| self.offers.group_of(known.id).is_some()).count();
            room = room.min(GROUP_OFFERS_WAITING_MAX.saturating_sub(of_groups));
        }
        let fits = |user: &&Arc<User>| {
            let (all, of_host) = counted.get(&user.name).copied().unwrap_or_default();
            all < USER_OFFERS_MAX && of_host < USER_HOST_OFFERS_MAX
        };
        users.iter().filter(fits).take(room).collect()
    }
}
