//! Shares with users of other servers, in both directions (Open Cloud Mesh, `protocol/ocm.md`).
//!
//! What we share is a [`crate::domain::Share`] like any other, with [`crate::domain::ShareWith::Remote`], and beside it a
//! [`crate::domain::SentShare`] with the secret that opens it. What is shared with us is an [`crate::domain::Offer`]; accepted, it is a mount.
//! **Invariants:** a secret is durable before the other server learns it; rights are worked out over the whole chain at each request; nothing
//! that another server says ends more than the share whose secret it knows.

mod door;
mod given;
mod not_sent;
mod replies;
mod sent;
mod tell;

use std::sync::Arc;

pub use not_sent::NotSent;
pub(super) use sent::Ledger;

use super::accounts::{Accounts, Gate};
use super::mounts::Mounting;
use super::policy::Policies;
use super::secrets::Vault;
use super::shares::UserShares;
use crate::domain::{Clock, CloudId, InvalidCloudId, UserName};
use crate::remote::Remotes;
use crate::store::Store;
use crate::tree::Forest;

/// Shares with users of other servers.
pub struct Federation {
    pub(super) store: Store,
    pub(super) forest: Forest,
    pub(super) remotes: Remotes,
    pub(super) vault: Arc<Vault>,
    pub(super) clock: Clock,
    pub(super) accounts: Arc<Accounts>,
    pub(super) shares: Arc<UserShares>,
    pub(super) mounting: Arc<Mounting>,
    pub(super) gate: Gate,
    pub(super) policies: Arc<Policies>,
    /// What is shared with users of other servers.
    pub(super) sent: Ledger,
    /// Our own URL, by which others reach us.
    pub(super) public_url: String,
    /// Further names of this server, lower case, as `host[:port]`.
    pub(super) own_hosts: Vec<String>,
}

impl Federation {
    /// The address of one of our users.
    ///
    /// # Errors
    /// Where the public URL is none.
    pub fn address_of(&self, user: &UserName) -> Result<CloudId, InvalidCloudId> {
        CloudId::at(user.as_str(), &self.public_url)
    }

    /// Whether an address is of this server, by its public URL or another name of it.
    pub fn is_ours(&self, address: &CloudId) -> bool {
        let public = CloudId::at("anybody", &self.public_url).is_ok_and(|ours| ours.host() == address.host());
        public || self.own_hosts.iter().any(|own| own == address.host())
    }
}
