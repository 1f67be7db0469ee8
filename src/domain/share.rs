//! Shares between users of one server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{CloudId, GroupName, Kind, MountId, NodeId, Permissions, SpaceId, Timestamp, UserName};

/// The number of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareId(pub u64);

/// With whom something is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ShareWith {
    /// One user (share type 0).
    User(UserName),
    /// Everybody in a group, now and later (share type 1).
    Group(GroupName),
    /// A user of another server (share type 6).
    Remote(CloudId),
}

impl fmt::Display for ShareWith {
    /// As commands write it: a name, `group:NAME`, or `bob@cloud.example`. Names of users hold no colon.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShareWith::User(name) => write!(formatter, "{name}"),
            ShareWith::Group(name) => write!(formatter, "group:{name}"),
            ShareWith::Remote(user) => write!(formatter, "{user}"),
        }
    }
}

/// A grant of a node to a user or a group of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Number.
    pub id: ShareId,
    /// Whose node.
    pub owner: UserName,
    /// The owner's home.
    pub space: SpaceId,
    /// The node, not its path: the share follows it and dies with it.
    pub node: NodeId,
    /// File or collection.
    pub kind: Kind,
    /// The node's name when the share was made: what receivers find it by.
    pub name: String,
    /// What it grants at most; what it grants now is intersected with what its parents do.
    pub permissions: Permissions,
    /// To whom.
    pub with: ShareWith,
    /// The share by which the sharer has the node, where that is not the owner.
    pub parent: Option<ShareId>,
    /// Who made it.
    pub shared_by: UserName,
    /// When it was made.
    pub created: Timestamp,
    /// The first second at which it no longer works.
    pub expires: Option<Timestamp>,
    /// What the sharer says to the receivers.
    pub note: String,
}

impl Share {
    /// Whether it no longer works.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// What a receiver makes of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReceivedState {
    /// Not answered yet: it is not in the tree.
    Pending,
    /// It is in the tree.
    Accepted,
    /// Not wanted; may be accepted all the same later.
    Declined,
}

/// One receiver's end of a share. Where it hangs is a row of the receiver's home (`Kind::Mount`), not part of this record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedShare {
    /// Which share.
    pub share: ShareId,
    /// Who receives.
    pub user: UserName,
    /// The receiver's home.
    pub space: SpaceId,
    /// The receiver's answer.
    pub state: ReceivedState,
    /// The id of the mountpoint. Shares of one node with one user hang at one mountpoint.
    pub mount: MountId,
}

/// What may be done with a share of a node: nothing is made or deleted in a file.
pub fn shareable(kind: Kind) -> Permissions {
    match kind {
        Kind::File => Permissions(Permissions::READ.0 | Permissions::UPDATE.0 | Permissions::SHARE.0),
        Kind::Collection | Kind::Mount => Permissions::ALL,
    }
}
