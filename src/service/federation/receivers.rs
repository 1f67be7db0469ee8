//! For whom an offer is: one of our users, or everybody who is in one of our groups when it comes. Each of them answers alone.

use std::sync::Arc;

use super::Federation;
use super::offers::{NotTaken, invalid};
use crate::domain::{CloudId, User};
use crate::limits::GROUP_OFFERS_MAX;
use crate::service::refusal::Result;
use crate::wire::ocm::IncomingShare;

/// For whom an offer is.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The name of the user or the group.
    pub id: String,
    /// How they are shown to people.
    pub name: String,
    /// Who answers it; at least one.
    pub(super) users: Vec<Arc<User>>,
    /// Whether it is for a group.
    pub(super) group: bool,
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
        Ok(Recipient { id: user.name.to_string(), name: user.display_name.clone(), users: vec![user], group: false })
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
        Ok(Recipient { id: group.name.to_string(), name: group.display_name.clone(), users, group: true })
    }
}
