//! The table of differences between servers. Facts: `protocol/owncloud.md`, `protocol/nextcloud.md`.

use crate::domain::{Permissions, Vendor};
use crate::wire::multistatus::reader::Properties;

/// How a kind of server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// A change below raises the etag of every collection up to the root.
    pub etags_propagate: bool,
    /// PUT replaces the file at once or not at all.
    pub put_is_atomic: bool,
    /// PUT of unknown length arrives whole (some PHP hosts store an empty file).
    pub takes_chunked: bool,
    /// Links take big files in chunks, and an upload that was cut off goes on. Nextcloud says of its links that they do not
    /// (`public_shares_chunking`, `protocol/nextcloud.md` 3.3).
    pub takes_chunks: bool,
    /// `X-OC-Mtime` and PROPPATCH of `lastmodified` set the modification time.
    pub sets_modified: bool,
    /// Dead properties are kept.
    pub dead_properties: bool,
    /// Rights where the server names none.
    pub permissions: Permissions,
}

impl Traits {
    /// What is known of a vendor.
    pub fn of(vendor: Vendor) -> Traits {
        let cloud = Traits {
            etags_propagate: true,
            put_is_atomic: true,
            takes_chunked: false,
            takes_chunks: false,
            sets_modified: true,
            dead_properties: false,
            permissions: Permissions::READ,
        };
        match vendor {
            Vendor::Causeway => Traits { takes_chunked: true, takes_chunks: true, dead_properties: true, ..cloud },
            Vendor::OwnCloud => Traits { permissions: Permissions::EDIT, ..cloud },
            Vendor::Nextcloud | Vendor::Ocis => cloud,
            // Apache, nginx, rclone and dufs take chunked bodies; what arrived is measured before it is moved into place.
            Vendor::Other => Traits {
                etags_propagate: false,
                put_is_atomic: false,
                takes_chunked: true,
                takes_chunks: false,
                sets_modified: false,
                dead_properties: true,
                permissions: Permissions::EDIT,
            },
        }
    }

    /// What the server grants on a node: the share's bits, else the letters, else the vendor's habit.
    pub fn permissions(&self, properties: &Properties) -> Permissions {
        if let Some(bits) = properties.bits {
            return Permissions(bits) & Permissions::ALL | Permissions::READ;
        }
        properties.letters.as_deref().map_or(self.permissions, Permissions::from_letters)
    }
}
