//! Shares with users of other servers, in both directions (Open Cloud Mesh, `protocol/ocm.md`).
//!
//! What we share is a [`crate::domain::Share`] like any other, with [`crate::domain::ShareWith::Remote`], and beside it a
//! [`crate::domain::SentShare`] with the secret that opens it. What is shared with us is an [`crate::domain::Offer`]; accepted, it is a mount.
//! **Invariants:** a secret is durable before the other server learns it; rights are worked out over the whole chain at each request; nothing
//! that another server says ends more than the share whose secret it knows.

mod asking;
mod background;
mod changes;
mod door;
mod given;
mod hints;
mod inbox;
mod not_sent;
mod offers;
mod outbox;
mod people;
mod receivers;
mod renamed;
mod replies;
mod sent;
mod signing;
mod tokens;
mod trusted;

use std::sync::Arc;

pub use asking::{AskedShare, Made};
pub use given::NotGiven;
pub use inbox::{Heard, Unheard};
pub use not_sent::NotSent;
pub use offers::{NotTaken, Wrong};
pub use outbox::Waiting;
pub use people::{MadeInvitation, NewInvitation, NotAccepted, NotTakenUp};
pub use receivers::Recipient;
pub use renamed::Moved;
pub use signing::{Believed, Claims, Presented, Published, Unproven};
pub use tokens::{IssuedToken, NoToken, TokenRequest};
pub use trusted::Caller;

pub(super) use offers::Offers;
pub(super) use outbox::Outbox;
pub(super) use sent::Ledger;
pub(super) use signing::{Signatures, open as open_signatures};

use super::accounts::{Accounts, Gate};
use super::mounts::Mounting;
use super::policy::Policies;
use super::secrets::Vault;
use super::shares::UserShares;
use super::throttle::Throttle;
use crate::domain::{Clock, CloudId, InvalidCloudId, UserName};
use crate::remote::Remotes;
use crate::store::Store;
use crate::tree::Forest;
use crate::wire::href;

/// Shares with users of other servers.
pub struct Federation {
    pub(super) store: Store,
    pub(super) forest: Forest,
    pub(super) remotes: Remotes,
    pub(super) vault: Arc<Vault>,
    /// Guesses in calls of other servers. Apart from that of the doors: a server that asks for what is gone shall still come to its users' files.
    pub(super) calls: Throttle,
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
    /// What is shared with us.
    pub(super) offers: Offers,
    /// What other servers are still to be told.
    pub(super) outbox: Outbox,
    /// Who makes us knock at other servers. Apart from guesses: who does so much shall still come to what is theirs.
    pub(super) knocks: Throttle,
    /// Our keys, and the signatures that came.
    pub(super) signatures: Signatures,
}

impl Federation {
    /// Who makes us knock at other servers.
    pub(in crate::service) fn knocks(&self) -> &Throttle {
        &self.knocks
    }

    /// The address of one of our users.
    ///
    /// # Errors
    /// Where the public URL is none.
    pub fn address_of(&self, user: &UserName) -> Result<CloudId, InvalidCloudId> {
        CloudId::at(user.as_str(), &self.public_url)
    }

    /// Whether an address is of this server: by its public URL, or one of its other names.
    pub fn is_ours(&self, address: &CloudId) -> bool {
        let public = CloudId::at("anybody", &self.public_url).is_ok_and(|ours| ours.host() == address.host());
        // Other names have no folder; the public one is often written without it.
        let whole = address.authority() == address.host();
        public || (whole && self.own_hosts.iter().any(|own| href::same_authority(own, address.authority())))
    }
}
