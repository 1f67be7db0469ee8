//! What is kept of users, links, mounts and remotes. `store` writes these as rows; a change of shape raises the row's format.

use serde::{Deserialize, Serialize};

use crate::domain::{Etag, Kind, MountId, NodeId, Permissions, Secret, ShareId, ShareToken, SpaceId, Timestamp, UserName};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name of the account and of the home folder.
    pub name: UserName,
    /// The home.
    pub space: SpaceId,
    /// Shown to people.
    pub display_name: String,
    /// May administer the server.
    pub admin: bool,
    /// Bytes; none is unlimited.
    pub quota: Option<u64>,
    /// argon2id, in PHC form.
    pub password_hash: Secret,
    /// When the account was made.
    pub created: Timestamp,
}

/// What is kept of an account beside its login. An account without one has the defaults: enabled, no address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Whose.
    pub user: UserName,
    /// Address for mail; empty if none.
    pub email: String,
    /// Whether the account may log in and its links open.
    pub enabled: bool,
}

/// A random password for one device; looked up by the SHA-256 of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// Number, for listing and revoking.
    pub id: u64,
    /// Whose.
    pub user: UserName,
    /// What for, in the user's words.
    pub label: String,
    /// SHA-256 of the password.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created: Timestamp,
}

/// The number of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// A public link: whoever knows the token may do with the node what the permissions say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Number.
    pub id: LinkId,
    /// The secret in the URL.
    pub token: ShareToken,
    /// Whose node.
    pub owner: UserName,
    /// The owner's home.
    pub space: SpaceId,
    /// The node, not its path: the link follows it.
    pub node: NodeId,
    /// File or collection, when the link was made.
    pub kind: Kind,
    /// The node's name when the link was made, for pages and mounters.
    pub name: String,
    /// 1 read, 15 upload and editing, 4 file drop. Of a receiver's link at most: what it grants now, its share tells.
    pub permissions: Permissions,
    /// argon2id, in PHC form.
    pub password_hash: Option<Secret>,
    /// The first second at which the link no longer works.
    pub expires: Option<Timestamp>,
    /// The note on it of who made it.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// By what its maker has the node, where that is not the owner. Kept in [`SharedLink`].
    #[serde(skip)]
    pub origin: Option<LinkOrigin>,
}

impl Link {
    /// Who made it.
    pub fn shared_by(&self) -> &UserName {
        self.origin.as_ref().map_or(&self.owner, |origin| &origin.shared_by)
    }
}

/// By what a receiver of a share has the node of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOrigin {
    /// The share that the link was made from: it grants no more, and ends with it.
    pub parent: ShareId,
    /// Who made the link.
    pub shared_by: UserName,
}

/// A receiver's link as it is kept: apart from those of owners, so that a program that knows nothing of origins does not serve it as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedLink {
    /// The link.
    pub link: Link,
    /// By what its maker has the node.
    pub origin: LinkOrigin,
}

/// What is kept of a link beside its record. A link without it has no note and is downloaded as often as anybody likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDetails {
    /// Which link.
    pub link: LinkId,
    /// What its owner says to visitors.
    pub note: String,
    /// How often it may be downloaded.
    pub downloads_max: Option<u64>,
    /// How often it was, since that bound was set.
    pub downloads: u64,
}

impl LinkDetails {
    /// Those of a link about which nothing is kept.
    pub fn of(link: LinkId) -> LinkDetails {
        LinkDetails { link, note: String::new(), downloads_max: None, downloads: 0 }
    }

    /// Whether it was downloaded as often as it may be.
    pub fn is_used_up(&self) -> bool {
        self.downloads_max.is_some_and(|most| self.downloads >= most)
    }
}

/// What a remote server is, as far as it changes how we speak with it. Quirks stand in `remote`'s vendor table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Vendor {
    /// A Causeway.
    Causeway,
    /// ownCloud 7 to 11.
    OwnCloud,
    /// Nextcloud.
    Nextcloud,
    /// oCIS or OpenCloud.
    Ocis,
    /// Any other WebDAV server.
    Other,
}

/// Why a remote cannot be used now, in a word that users may see. Refused, filtered, TLS and wrong-host faults look alike to those who
/// are not administrators (attack F9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OfflineCause {
    /// No answer: refused, timed out, name not found, TLS fault.
    Unreachable,
    /// An answer that is not WebDAV, broke off or went over a bound.
    BadAnswer,
    /// The remote says that it cannot now (429, 5xx).
    RemoteBusy,
    /// A link password is needed or no longer right.
    NeedsPassword,
    /// The link is gone.
    Withdrawn,
    /// The address is private and not allowed by the administrator.
    NotAllowed,
    /// The certificate is not trusted, or is not the pinned one.
    Untrusted,
    /// The link lives, but its server gives it to browsers only: sharing to other servers is switched off there.
    SharingOff,
}

/// The state of a mount (DESIGN 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountState {
    /// The last answer was good.
    Online,
    /// No good answer since then.
    Offline {
        /// When the trouble began.
        since: Timestamp,
        /// Why.
        cause: OfflineCause,
    },
    /// The remote wants a password that we do not have.
    NeedsPassword,
    /// The remote says that the share is gone.
    Withdrawn,
    /// The mount leads back here.
    Loop,
}

/// A remote share attached in a user's tree. Where it hangs is a row of the home (`Kind::Mount`), not part of this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Number.
    pub id: MountId,
    /// In whose tree.
    pub user: UserName,
    /// The user's home.
    pub space: SpaceId,
    /// URL of the remote WebDAV collection or file, with scheme; no credentials in it.
    pub url: String,
    /// User name for Basic: the link's token, or a name.
    pub login: Secret,
    /// Password for Basic, encrypted at rest by `service` (nonce and ciphertext), empty if none.
    pub password: Vec<u8>,
    /// What the remote is.
    pub vendor: Vendor,
    /// File or collection at the remote end.
    pub kind: Kind,
    /// The name that the owner gave it.
    pub name: String,
    /// The owner there, as far as known.
    pub owner: String,
    /// The page of the link, to ask whether it is gone or needs a password.
    pub page: Option<String>,
    /// State when last stored.
    pub state: MountState,
    /// The root's etag when last confirmed.
    pub root_etag: Option<Etag>,
    /// When it was made.
    pub created: Timestamp,
}

/// What the administrator decided about one origin (`host[:port]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTrust {
    /// `host` or `host:port`, lower case.
    pub host: String,
    /// SHA-256 fingerprints of pinned certificates.
    pub fingerprints: Vec<[u8; 32]>,
    /// Further CA certificates, DER.
    pub authorities: Vec<Vec<u8>>,
    /// Private, loopback and link-local addresses are allowed.
    pub allow_private: bool,
}
