//! Links given to users of other servers, because their servers ask for that: how Nextcloud mounts links (`protocol/nextcloud.md` 1.1).
//!
//! **Invariants:** what was given grants no more than its link does at each visit, and ends with the link, or with the link's password; who asks
//! learns nothing of what else is shared, where, or by whom.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Federation;
use crate::domain::{CloudId, Link, LinkDetails, LinkId, Permissions, Share, ShareId, ShareWith, SharedLink, User};
use crate::service::federation::NotSent;
use crate::service::refusal::Result;
use crate::service::secrets::digest;
use crate::service::shares::{NewShare, same};
use crate::service::{Reason, Refusal, Services};
use crate::store::{Batch, Record, Table};
use crate::tree::Changing;

/// Most shares that are given of one node by the links of one user at a time.
const NODE_GIVEN_MAX: usize = 100;

/// Which link a share comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct GivenLink {
    pub(super) share: ShareId,
    link: LinkId,
    /// SHA-256 of the hash of its password: who was let in by an old one was not by the new one.
    password: Option<[u8; 32]>,
}

impl Record for GivenLink {
    const TABLE: Table = Table::GivenLinks;
    fn key(&self) -> Vec<u8> {
        let ShareId(id) = self.share;
        id.to_be_bytes().to_vec()
    }
}

impl GivenLink {
    fn new(share: ShareId, link: &Link) -> GivenLink {
        GivenLink { share, link: link.id, password: password_of(link) }
    }
}

fn password_of(link: &Link) -> Option<[u8; 32]> {
    link.password_hash.as_ref().map(|hash| digest(hash.expose()))
}

/// Why a link is not given.
#[derive(Debug)]
pub enum NotGiven {
    /// Too many were asked for from there: wait that long.
    Throttled(Duration),
    /// It cannot be given, in words for the visitor.
    Refused(String),
    /// The store.
    Failed(Refusal),
}

impl Services {
    /// Shares what a link shows with a user of another server, with the rights of the link and no more (attacks F1, F2), and as long as the link
    /// lasts. It stands in the owner's list. Asked again, nothing is done. Every call counts against the address: a link must not make this
    /// server knock at others without end, nor fill its owner's list.
    ///
    /// # Errors
    /// [`NotGiven`]; whatever the reason of a refusal, it is said by one sentence.
    pub async fn give_link(&self, link: &Link, to: &CloudId, address: IpAddr) -> Result<(), NotGiven> {
        let knocks = &self.federation().knocks;
        if let Some(wait) = knocks.address_waits(address) {
            return Err(NotGiven::Throttled(wait));
        }
        knocks.failed(address, "given link");
        let why = match self.try_give(link, to).await {
            Ok(()) => return Ok(()),
            Err(NotSent::Refused(refusal)) if refusal.reason == Reason::Failed => return Err(NotGiven::Failed(refusal)),
            Err(not_sent) => Refusal::from(not_sent),
        };
        tracing::info!(share.id = link.id.0, remote.host = to.host(), error = %why, "a link was not given to another server");
        Err(NotGiven::Refused(format!("Sharing this link with {to} failed")))
    }

    async fn try_give(&self, link: &Link, to: &CloudId) -> Result<(), NotSent> {
        if self.federation().is_ours(to) {
            return Err(Refusal::refused("it is an address of this server: the owner shares with its user directly").into());
        }
        let maker = self.accounts().require(link.shared_by().as_str())?;
        let with = ShareWith::Remote(to.clone());
        let there = |share: &Share| share.shared_by == maker.name && same(&share.with, &with);
        if self.forest().shares().of_node(link.node).iter().any(|share| there(share)) {
            return Ok(());
        }
        let path = self.sharing().path_for(&maker, link).await?.ok_or_else(|| Refusal::not_found("its maker does not see it any more"))?;
        let new = NewShare { path, with, permissions: Some(link.permissions), expires: link.expires, note: String::new() };
        self.federation().give(&maker, link, new).await
    }
}

impl Federation {
    async fn give(&self, maker: &User, link: &Link, new: NewShare) -> Result<(), NotSent> {
        let (changing, share) = self.shares.draft(maker, new).await?;
        if share.node != link.node {
            return Err(Refusal::refused("what the link shows was moved just now").into());
        }
        self.may_go(&share)?;
        let others = self.forest.shares().of_node(link.node);
        let given = |other: &Share| other.shared_by == maker.name && self.sent.given(other.id).is_some();
        if others.iter().filter(|other| given(other)).count() >= NODE_GIVEN_MAX {
            return Err(Refusal::refused("it was given too often").into());
        }
        // Before the share, and in the same turn: without this row it would outlive the link.
        let from = GivenLink::new(share.id, link);
        self.store.commit(Batch::new().put(&from)).await.map_err(Refusal::from)?;
        self.sent.give(from);
        let sending = self.begin(changing, &share, None).await?;
        self.deliver(sending).await.map(drop)
    }

    /// What the link of a share grants now; none where it has gone or expired, or has another password.
    pub(super) fn granted_by(&self, given: &GivenLink) -> Result<Option<Permissions>> {
        let LinkId(id) = given.link;
        let link = match self.store.get::<Link>(&id.to_be_bytes())? {
            Some(link) => Some(link),
            None => self.store.get::<SharedLink>(&id.to_be_bytes())?.map(|shared| shared.link),
        };
        let now = self.clock.now();
        let link = link.filter(|link| link.expires.is_none_or(|at| at > now) && password_of(link) == given.password);
        Ok(link.map(|link| link.permissions).filter(|granted| granted.contains(Permissions::READ)))
    }

    /// Whether the downloads of a share's link are counted now: by other servers they cannot be, so that nothing is opened to them meanwhile.
    pub(super) fn is_counted(&self, given: &GivenLink) -> Result<bool> {
        let LinkId(id) = given.link;
        Ok(self.store.get::<LinkDetails>(&id.to_be_bytes())?.is_some_and(|details| details.downloads_max.is_some()))
    }

    /// Ends what was given by links that have gone, and narrows what was given by those that grant less than before.
    pub(super) async fn follow_links(&self, changing: &Changing) -> Result<()> {
        let mut over = Vec::new();
        for given in self.sent.all_given() {
            let Some(share) = self.forest.shares().get(given.share) else {
                self.store.commit(Batch::new().delete::<GivenLink>(&given.key())).await?;
                self.sent.take_back(given.share);
                continue;
            };
            match self.granted_by(&given)? {
                None => over.push(share.id),
                Some(granted) if granted.contains(share.permissions) => {}
                Some(granted) => {
                    changing.put(Some(Share { permissions: share.permissions & granted, ..Share::clone(&share) }), Vec::new()).await?;
                }
            }
        }
        if over.is_empty() { Ok(()) } else { Ok(self.forest.drop_shares(changing, &over).await?) }
    }
}
