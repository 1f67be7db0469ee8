//! What clients are told that this server can: each switch once, for the capabilities and whoever else asks. A switch that is on without
//! the thing behind it loses data (`protocol/nextcloud.md` 3.3), so one is turned on with the commit that builds the thing.

/// What is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Uploads in chunks of the second kind, `/remote.php/dav/uploads`, and of the first.
    pub chunking: bool,
    /// Many small uploads in one request, `/remote.php/dav/bulk`.
    pub bulk_upload: bool,
    /// What is deleted goes to a trash, `/remote.php/dav/trash-bin`.
    pub trash: bool,
    /// What is overwritten stays as a version, `/remote.php/dav/meta`.
    pub versions: bool,
    /// The OCS share API.
    pub share_api: bool,
    /// Shares between users of this server by that API.
    pub user_shares: bool,
    /// Shares with groups by that API.
    pub group_shares: bool,
    /// Receivers may share on.
    pub resharing: bool,
    /// Shares with users of other servers, by Open Cloud Mesh.
    pub federation_outgoing: bool,
    /// Shares of users of other servers, by Open Cloud Mesh.
    pub federation_incoming: bool,
}

/// What this server offers.
pub const FEATURES: Features = Features {
    chunking: true,
    bulk_upload: true,
    trash: true,
    versions: true,
    share_api: true,
    user_shares: true,
    group_shares: true,
    resharing: true,
    federation_outgoing: true,
    federation_incoming: true,
};

/// Largest chunk that clients are advised to send, in bytes.
pub const CHUNK_BYTES_ADVISED: u64 = 100 * 1024 * 1024;
/// Most chunks that clients are advised to send at once.
pub const CHUNKS_AT_ONCE_ADVISED: u64 = 5;
/// How often clients are advised to look for changes, in seconds. Looking costs one PROPFIND of the root, and what others changed through a
/// mount is seen within as much.
pub const POLL_SECONDS_ADVISED: u64 = 30;
