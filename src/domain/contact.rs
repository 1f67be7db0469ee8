//! Invitations to users of other servers, and whom they made known.

use serde::{Deserialize, Serialize};

use crate::domain::{CloudId, SpaceId, Timestamp, UserName};

/// An invitation that one of our users hands on: whoever accepts it first becomes a contact, and the inviter one of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// SHA-256 of the token; the token itself is not kept.
    pub digest: [u8; 32],
    /// Number, for listing and removing.
    pub id: u64,
    /// Who invites.
    pub user: UserName,
    /// The inviter's home.
    pub space: SpaceId,
    /// For whom, in the inviter's words.
    pub note: String,
    /// When it was made.
    pub created: Timestamp,
    /// The first second at which it is not taken any more.
    pub expires: Timestamp,
    /// Who has accepted it.
    pub accepted: Option<CloudId>,
}

/// Somebody on another server whom one of our users knows, by an invitation of either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Number, for listing and removing.
    pub id: u64,
    /// Whose contact.
    pub user: UserName,
    /// The home of that user.
    pub space: SpaceId,
    /// Who: the id is opaque and may hold an `@` itself.
    pub address: CloudId,
    /// How they are shown to people; what their server said.
    pub name: String,
    /// Their address for mail; empty if none is known.
    pub email: String,
    /// Since when.
    pub since: Timestamp,
}
