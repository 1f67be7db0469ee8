//! Records of low volume: users, links, mounts and whatever else a floor above keeps. One tree, a table byte before each key.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{
    AppPassword, Group, Link, LinkDetails, LinkId, Mount, MountId, Offer, Profile, ReceivedShare, RemoteTrust, SentShare, Share, ShareId,
    SharedLink, SpaceId, Upload, UploadId, User, UserName,
};
use crate::store::codec::{decode, encode};
use crate::store::keys::Tree;
use crate::store::{Result, Store};

/// The tables of records. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// [`User`] by folded name.
    Users = 1,
    /// [`AppPassword`] by id.
    AppPasswords = 2,
    /// [`Link`] by id.
    Links = 3,
    /// [`Mount`] by id.
    Mounts = 4,
    /// [`RemoteTrust`] by host.
    RemoteTrusts = 5,
    /// Settings that administrators change at run time.
    Settings = 6,
    /// Counters of downloads and the like.
    Counters = 7,
    /// Upload sessions.
    Uploads = 8,
    /// Locks inside a mount, by the mount's id.
    MountLocks = 9,
    /// [`Group`] by folded name.
    Groups = 10,
    /// [`Share`] by id.
    Shares = 11,
    /// [`Profile`] by the folded name of the account.
    Profiles = 12,
    /// [`ReceivedShare`] by the receiver's space and the share.
    ReceivedShares = 13,
    /// What etags of a mount's collections are hashed with, by the mount's id.
    MountSalts = 14,
    /// [`SentShare`] by the share's id.
    SentShares = 15,
    /// [`Offer`] by id.
    Offers = 16,
    /// What other servers are still to be told, by number.
    Outbox = 17,
    /// [`LinkDetails`] by the link's id.
    LinkDetails = 18,
    /// [`SharedLink`] by id.
    SharedLinks = 19,
    /// Which links shares with users of other servers come from, by the share's id.
    GivenLinks = 20,
    /// The keys of servers that sign their calls, by `host[:port]`.
    Signers = 21,
    /// Which offers are to a member of a group, by the offer's id.
    GroupOffers = 22,
    /// Invitations of our users, by the SHA-256 of their tokens.
    Invitations = 23,
    /// Whom our users know elsewhere, by space and number.
    Contacts = 24,
    /// Offers of trusted servers that are to be accepted without asking, by the offer's id.
    Welcomes = 25,
    /// Shares that servers elsewhere made because users here asked for them, by id.
    AskedShares = 26,
    /// Sessions of browsers, by the SHA-256 of their cookies.
    WebSessions = 27,
}

/// Something that is kept as one record.
pub trait Record: Serialize + DeserializeOwned {
    /// Where.
    const TABLE: Table;
    /// Under which key.
    fn key(&self) -> Vec<u8>;
}

impl Record for User {
    const TABLE: Table = Table::Users;
    fn key(&self) -> Vec<u8> {
        user_key(&self.name)
    }
}

/// The key of a user's record.
pub fn user_key(name: &UserName) -> Vec<u8> {
    name.folded().into_bytes()
}

impl Record for Profile {
    const TABLE: Table = Table::Profiles;
    fn key(&self) -> Vec<u8> {
        user_key(&self.user)
    }
}

impl Record for AppPassword {
    const TABLE: Table = Table::AppPasswords;
    fn key(&self) -> Vec<u8> {
        self.id.to_be_bytes().to_vec()
    }
}

impl Record for Link {
    const TABLE: Table = Table::Links;
    fn key(&self) -> Vec<u8> {
        let LinkId(id) = self.id;
        id.to_be_bytes().to_vec()
    }
}

impl Record for SharedLink {
    const TABLE: Table = Table::SharedLinks;
    fn key(&self) -> Vec<u8> {
        self.link.key()
    }
}

impl Record for LinkDetails {
    const TABLE: Table = Table::LinkDetails;
    fn key(&self) -> Vec<u8> {
        let LinkId(id) = self.link;
        id.to_be_bytes().to_vec()
    }
}

impl Record for Mount {
    const TABLE: Table = Table::Mounts;
    fn key(&self) -> Vec<u8> {
        let MountId(id) = self.id;
        id.to_be_bytes().to_vec()
    }
}

impl Record for Upload {
    const TABLE: Table = Table::Uploads;
    fn key(&self) -> Vec<u8> {
        let UploadId(id) = self.id;
        id.to_be_bytes().to_vec()
    }
}

impl Record for RemoteTrust {
    const TABLE: Table = Table::RemoteTrusts;
    fn key(&self) -> Vec<u8> {
        self.host.as_bytes().to_vec()
    }
}

impl Record for Group {
    const TABLE: Table = Table::Groups;
    fn key(&self) -> Vec<u8> {
        self.name.folded().into_bytes()
    }
}

impl Record for Share {
    const TABLE: Table = Table::Shares;
    fn key(&self) -> Vec<u8> {
        let ShareId(id) = self.id;
        id.to_be_bytes().to_vec()
    }
}

impl Record for SentShare {
    const TABLE: Table = Table::SentShares;
    fn key(&self) -> Vec<u8> {
        let ShareId(id) = self.share;
        id.to_be_bytes().to_vec()
    }
}

impl Record for Offer {
    const TABLE: Table = Table::Offers;
    fn key(&self) -> Vec<u8> {
        let ShareId(id) = self.id;
        id.to_be_bytes().to_vec()
    }
}

impl Record for ReceivedShare {
    const TABLE: Table = Table::ReceivedShares;
    fn key(&self) -> Vec<u8> {
        let ShareId(id) = self.share;
        [&received_prefix(self.space)[..], &id.to_be_bytes()].concat()
    }
}

/// What the keys of everything that a home receives begin with.
pub fn received_prefix(space: SpaceId) -> [u8; 4] {
    space.0.to_be_bytes()
}

/// Changes of records that happen together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) absent: Vec<Vec<u8>>,
    pub(super) present: Vec<Vec<u8>>,
    pub(super) fault: Option<crate::store::Error>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Writes a record, new or over the old one.
    #[must_use]
    pub fn put<R: Record>(mut self, record: &R) -> Batch {
        match encode(record) {
            Ok(value) => self.writes.push((key::<R>(&record.key()), Some(value))),
            Err(error) => self.fault = Some(error),
        }
        self
    }

    /// Removes a record, if it is there.
    #[must_use]
    pub fn delete<R: Record>(mut self, record: &[u8]) -> Batch {
        self.writes.push((key::<R>(record), None));
        self
    }

    /// Requires that there is no such record; otherwise nothing happens and the answer is [`crate::store::Error::Conflict`].
    #[must_use]
    pub fn absent<R: Record>(mut self, record: &[u8]) -> Batch {
        self.absent.push(key::<R>(record));
        self
    }

    /// Requires that there is such a record.
    #[must_use]
    pub fn present<R: Record>(mut self, record: &[u8]) -> Batch {
        self.present.push(key::<R>(record));
        self
    }
}

fn key<R: Record>(record: &[u8]) -> Vec<u8> {
    [&[R::TABLE as u8], record].concat()
}

impl Store {
    /// A record by its key. A short read, mostly from sled's own cache.
    pub fn get<R: Record>(&self, record: &[u8]) -> Result<Option<R>> {
        self.inner.trees.get(Tree::Records, &key::<R>(record))?.map(|value| decode(&value)).transpose()
    }

    /// Every record of a table, in the order of keys. Reads the whole table: meant for start-up and for administrators.
    pub fn list<R: Record>(&self) -> Result<Vec<R>> {
        let _reading = self.inner.trees.reading();
        self.inner.trees.tree(Tree::Records)?.scan_prefix([R::TABLE as u8]).values().map(|value| decode(&value?)).collect()
    }

    /// Every record of a table whose key begins with `prefix`, in the order of keys.
    pub fn list_below<R: Record>(&self, prefix: &[u8]) -> Result<Vec<R>> {
        let _reading = self.inner.trees.reading();
        self.inner.trees.tree(Tree::Records)?.scan_prefix(key::<R>(prefix)).values().map(|value| decode(&value?)).collect()
    }

    /// Writes a batch; durable when it returns. Goes on if the caller is dropped.
    pub async fn commit(&self, batch: Batch) -> Result<()> {
        self.inner.committer.records(batch).await
    }

    /// [`Store::commit`] for callers that may block.
    pub fn commit_blocking(&self, batch: Batch) -> Result<()> {
        self.inner.committer.records_blocking(batch)
    }
}
