//! What can be done, whoever asks: every protocol, the control socket and the commands use the same operations.
//!
//! [`Services`] is one server without sockets: the store, the homes, the mounts, and the rules of accounts, links and mounts above them.
//! Two of them live in one process without knowing each other.

pub mod accounts;
pub mod adding;
pub mod admin;
pub mod backup;
pub mod doctor;
pub mod external;
pub mod federation;
pub mod groups;
pub mod link_details;
pub mod login_flow;
pub mod maintenance;
pub mod mounts;
pub mod partners;
pub mod passwords;
pub mod policy;
mod refusal;
mod secrets;
pub mod sessions;
pub mod setup;
pub mod shares;
pub mod sharing;
pub mod throttle;
mod trust;
pub mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use refusal::{Reason, Refusal};
pub use setup::{OpenError, Options};

use crate::domain::{Clock, Secret};
use crate::space::Spaces;
use crate::store::Store;
use crate::tree::Forest;

/// One server without sockets. Clones share it.
#[derive(Clone)]
pub struct Services {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    clock: Clock,
    store: Store,
    spaces: Spaces,
    forest: Forest,
    accounts: Arc<accounts::Accounts>,
    groups: Arc<groups::Groups>,
    shares: Arc<shares::UserShares>,
    sharing: sharing::Sharing,
    mounting: Arc<mounts::Mounting>,
    federation: federation::Federation,
    throttle: Arc<throttle::Throttle>,
    uploads: uploads::Uploads,
    login_flows: login_flow::LoginFlows,
    maintenance: maintenance::Maintenance,
    policies: Arc<policy::Policies>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Services").field("data", &self.inner.options.data).finish_non_exhaustive()
    }
}

impl Services {
    /// Accounts and logins.
    pub fn accounts(&self) -> &accounts::Accounts {
        &self.inner.accounts
    }

    /// Groups of accounts.
    pub fn groups(&self) -> &groups::Groups {
        &self.inner.groups
    }

    /// Shares between users and groups.
    pub fn shares(&self) -> &shares::UserShares {
        &self.inner.shares
    }

    /// Public links.
    pub fn sharing(&self) -> &sharing::Sharing {
        &self.inner.sharing
    }

    /// Mounts of remote shares.
    pub fn mounting(&self) -> &mounts::Mounting {
        &self.inner.mounting
    }

    /// Shares with users of other servers.
    pub fn federation(&self) -> &federation::Federation {
        &self.inner.federation
    }

    /// Who must wait before the next guess.
    pub fn throttle(&self) -> &throttle::Throttle {
        &self.inner.throttle
    }

    /// Sessions of browsers.
    pub fn sessions(&self) -> &sessions::Sessions {
        self.inner.accounts.sessions()
    }

    /// Uploads in chunks.
    pub fn uploads(&self) -> &uploads::Uploads {
        &self.inner.uploads
    }

    /// Clients that wait for their users to grant them access.
    pub fn login_flows(&self) -> &login_flow::LoginFlows {
        &self.inner.login_flows
    }

    /// Whether every protocol is closed.
    pub fn maintenance(&self) -> &maintenance::Maintenance {
        &self.inner.maintenance
    }

    /// What users may share.
    pub fn policies(&self) -> &policy::Policies {
        &self.inner.policies
    }

    /// Trees, for views.
    pub fn forest(&self) -> &Forest {
        &self.inner.forest
    }

    /// Homes.
    pub fn spaces(&self) -> &Spaces {
        &self.inner.spaces
    }

    /// Records.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Where `now` comes from.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.inner.options.data
    }

    /// What the services were opened with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The folder of all state.
    pub fn state_folder(&self) -> PathBuf {
        setup::state_folder(self.data())
    }
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], passwords::Unusable> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_error| passwords::Unusable)?;
    Ok(bytes)
}

/// A random password of 130 bits in groups that people can type.
pub fn random_password() -> Result<Secret, passwords::Unusable> {
    // No 0, 1, l and o: 32 signs that are not taken for each other.
    const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::with_capacity(31);
    for (position, byte) in random::<26>()?.into_iter().enumerate() {
        if position > 0 && position % 5 == 0 && position < 25 {
            text.push('-');
        }
        text.push(SIGNS.get(usize::from(byte % 32)).map_or('a', |sign| char::from(*sign)));
    }
    Ok(Secret::new(text))
}
