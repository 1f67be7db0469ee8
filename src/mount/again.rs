//! What clients have missed of a mount.
//!
//! A client that is answered 503 for a folder skips it, and remembers the folder above as seen, with the etag that it had. If the folder is there
//! again with what changed meanwhile, nothing would tell that client to look (owncloudcmd loses such changes for good). So when a remote is
//! back after a listing was refused, all collections of its mount get other etags, once: clients look through them, and fetch what they missed.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::domain::{Error, MountId, MountState, Result};
use crate::mount::cache::Cache;
use crate::mount::handle::Live;
use crate::mount::{MountHandle, nodes};
use crate::remote::Traits;
use crate::store::{Batch, Record, Store, Table};

/// What the etags of collections are hashed with; 0 leaves them as the remote says them.
#[derive(Debug, Serialize, Deserialize)]
struct Salt {
    mount: MountId,
    salt: u64,
}

impl Record for Salt {
    const TABLE: Table = Table::MountSalts;
    fn key(&self) -> Vec<u8> {
        self.mount.0.to_be_bytes().to_vec()
    }
}

/// The salt that was stored before this start.
pub(super) fn restore(store: &Store, mount: MountId) -> u64 {
    let kept = store.get::<Salt>(&mount.0.to_be_bytes()).unwrap_or_else(|error| {
        tracing::warn!(%error, mount.id = mount.0, "the salt of a mount cannot be read");
        None
    });
    kept.map_or(0, |kept| kept.salt)
}

/// Forgets the salt of a mount together with it.
pub(super) fn forget(batch: Batch, mount: MountId) -> Batch {
    batch.delete::<Salt>(&mount.0.to_be_bytes())
}

impl MountHandle {
    /// Notes that a client was refused a listing of what may well be there.
    pub(super) fn note_missed<T>(&self, listed: &Result<T>) {
        match listed {
            Ok(_) | Err(Error::NotFound | Error::NotCollection | Error::Forbidden(_)) => {}
            Err(_) => self.live().missed = true,
        }
    }

    /// Gives the collections other etags if somebody missed them. Called by the poll when the remote has answered.
    pub(super) async fn tell_to_look_again(&self) {
        let online = {
            let live = self.live();
            live.missed && live.record.state == MountState::Online
        };
        if !online {
            return;
        }
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            return;
        }
        let salt = u64::from_be_bytes(random) | 1;
        // Durable first: etags that were there before must not come back after a restart.
        if let Err(error) = self.server.store.commit(Batch::new().put(&Salt { mount: self.id(), salt })).await {
            tracing::warn!(%error, mount.id = self.id().0, "clients could not be told to look at a mount again");
            return;
        }
        let mut live = self.live();
        live.missed = false;
        live.salted(self.id(), salt);
        tracing::info!(mount.id = self.id().0, "a mount is back, and clients are told to look again");
    }
}

impl Live {
    /// From now on collections have the etags of this salt. Nothing of the old ones is kept.
    fn salted(&mut self, mount: MountId, salt: u64) {
        self.salt = salt;
        let etag = match &self.seen {
            Some(raw) if Traits::of(self.record.vendor).etags_propagate => nodes::salted(mount, raw, salt),
            Some(_) | None => nodes::hashed(mount, format!("{}\n{salt}", self.root.etag).as_bytes()),
        };
        self.raise_root(etag);
        self.cache = Cache::after(self.record.root_etag.as_ref());
        self.confirmed = None;
        self.next_poll = Instant::now();
    }
}
