//! What may be done with a node, as bits (OCS) and as letters (`oc:permissions`).

use std::fmt;
use std::ops::{BitAnd, BitOr};

use serde::{Deserialize, Serialize};

use crate::domain::Kind;

/// CRUDS bits as ownCloud numbers them (`OCP\PERMISSION_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Permissions(pub u8);

impl Permissions {
    /// Nothing.
    pub const NONE: Permissions = Permissions(0);
    /// List and read.
    pub const READ: Permissions = Permissions(1);
    /// Change the content of files, rename.
    pub const UPDATE: Permissions = Permissions(2);
    /// Make files and collections.
    pub const CREATE: Permissions = Permissions(4);
    /// Delete.
    pub const DELETE: Permissions = Permissions(8);
    /// Share with others.
    pub const SHARE: Permissions = Permissions(16);
    /// Everything an owner may do.
    pub const ALL: Permissions = Permissions(31);
    /// A link that allows upload and editing.
    pub const EDIT: Permissions = Permissions(15);

    /// Whether every bit of `needed` is granted.
    pub fn contains(self, needed: Permissions) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// The letters of `oc:permissions` that other servers send, as bits: `R`→16, `D`→8, `W` or `NV`→2, `CK`→6; reading is always granted.
    pub fn from_letters(letters: &str) -> Permissions {
        let mut bits = Permissions::READ.0;
        for letter in letters.chars() {
            bits |= match letter {
                'R' => Permissions::SHARE.0,
                'D' => Permissions::DELETE.0,
                'W' | 'N' => Permissions::UPDATE.0,
                'C' | 'K' => Permissions::CREATE.0 | Permissions::UPDATE.0,
                _ => 0,
            };
        }
        Permissions(bits)
    }
}

impl BitAnd for Permissions {
    type Output = Permissions;
    fn bitand(self, other: Permissions) -> Permissions {
        Permissions(self.0 & other.0)
    }
}

impl BitOr for Permissions {
    type Output = Permissions;
    fn bitor(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }
}

/// The value of `oc:permissions` for one node. `G` is always there: newer Nextcloud clients delete local files without it
/// (`protocol/clients.md` 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letters {
    /// What is granted on the node.
    pub granted: Permissions,
    /// File or collection.
    pub kind: Kind,
    /// The node lies in a mount or a share.
    pub shared: bool,
    /// The node is the root of a mount, so that it may always be renamed and removed.
    pub mount_root: bool,
}

impl fmt::Display for Letters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |bit| self.granted.contains(bit);
        let collection = match self.kind {
            Kind::Collection | Kind::Mount => true,
            Kind::File => false,
        };
        let letters = [
            (self.shared, "S"),
            (has(Permissions::SHARE), "R"),
            (true, "G"),
            (self.mount_root || has(Permissions::DELETE), "D"),
            (self.mount_root || has(Permissions::UPDATE), "NV"),
            (!collection && has(Permissions::UPDATE), "W"),
            (collection && has(Permissions::CREATE), "CK"),
        ];
        letters.into_iter().filter(|(shown, _)| *shown).try_for_each(|(_, text)| formatter.write_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(granted: u8, kind: Kind, shared: bool, mount_root: bool, expected: &str) {
        let letters = Letters { granted: Permissions(granted), kind, shared, mount_root };
        assert_eq!(letters.to_string(), expected);
    }

    #[test]
    fn letters_follow_the_sync_clients() {
        check(31, Kind::Collection, false, false, "RGDNVCK");
        check(31, Kind::File, false, false, "RGDNVW");
        check(1, Kind::Collection, true, false, "SG");
        check(1, Kind::Collection, true, true, "SGDNV");
        check(15, Kind::Collection, true, true, "SGDNVCK");
        check(15, Kind::File, true, false, "SGDNVW");
    }

    #[test]
    fn letters_of_others_become_bits() {
        assert_eq!(Permissions::from_letters("RG"), Permissions(17));
        assert_eq!(Permissions::from_letters("RDNVCK"), Permissions(31));
        assert_eq!(Permissions::from_letters("G"), Permissions(1));
    }
}
