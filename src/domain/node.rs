//! Nodes: files and collections as every backend shows them, and what is asked of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{Checksum, Etag, LockToken, Name, Permissions, Timestamp};

/// The number of a node in its space; survives renames and overwrites, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root of every space.
    pub const ROOT: NodeId = NodeId(1);
    /// What holds the deleted nodes of a space: a root of its own, so that nothing below it has a path in the home.
    pub const TRASH: NodeId = NodeId(2);
    /// A root without members, whose size is that of all old versions of a space.
    pub const VERSIONS: NodeId = NodeId(3);
}

/// The number of a space: one home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpaceId(pub u32);

/// The number of a mount; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MountId(pub u64);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Bytes.
    File,
    /// A folder.
    Collection,
    /// The mountpoint of a remote share: a row of the home without a file on disk; the node's id is the mount's id. Only `space` and
    /// `tree` see it: clients get what the mount's root is.
    Mount,
}

/// What the file system said of a plain file when it was last looked at; zero where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileStamp {
    /// Inode number.
    pub inode: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970; 0 while not known.
    pub ctime_ns: i64,
    /// Birth time, nanoseconds since 1970; 0 where the file system keeps none.
    pub btime_ns: i64,
}

impl FileStamp {
    /// Which file this is of.
    pub fn file(&self) -> Inode {
        Inode { number: self.inode, born_ns: self.btime_ns }
    }
}

/// A file or folder on disk, told from one that has its inode number after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// Its number.
    pub number: u64,
    /// Birth time, nanoseconds since 1970; 0 where it is not known.
    pub born_ns: i64,
}

impl Inode {
    /// Whether a look at the disk showed this one, as far as birth times tell.
    pub fn is(&self, stamp: &FileStamp) -> bool {
        self.number == stamp.inode && (self.born_ns == stamp.btime_ns || self.born_ns == 0 || stamp.btime_ns == 0)
    }
}

/// A node as a backend shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// File, collection or mountpoint.
    pub kind: Kind,
    /// Its version.
    pub etag: Etag,
    /// Bytes; of a collection, the sum of everything in it.
    pub size: u64,
    /// Last modification, seconds since 1970.
    pub modified: Timestamp,
    /// Creation, seconds since 1970.
    pub created: Timestamp,
    /// What the backend allows at most: everything in a home, what the remote grants in a mount.
    pub permissions: Permissions,
    /// Checksum of the content, where known.
    pub checksum: Option<Checksum>,
    /// Media type as a remote says it; otherwise it follows from the name.
    pub media_type: Option<Box<str>>,
    /// Whether there are dead properties, so that a listing need not look for them.
    pub has_properties: bool,
    /// The plain file behind it.
    pub stamp: FileStamp,
}

impl Node {
    /// A node of which nothing else is known: empty, of no time, with all rights.
    pub fn bare(id: NodeId, kind: Kind) -> Node {
        Node {
            id,
            kind,
            etag: Etag::Version { epoch: 0, version: 0 },
            size: 0,
            modified: 0,
            created: 0,
            permissions: Permissions::ALL,
            checksum: None,
            media_type: None,
            has_properties: false,
            stamp: FileStamp::default(),
        }
    }

    /// Whether it is a folder.
    pub fn is_collection(&self) -> bool {
        match self.kind {
            Kind::Collection => true,
            Kind::File | Kind::Mount => false,
        }
    }
}

/// The members of a collection by name.
pub type Children = BTreeMap<Name, Node>;

/// What must hold of the target at the moment of a write; checked under the lock of the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Anything,
    /// Nothing may be there (`Overwrite: F`, `If-None-Match: *`).
    Absent,
    /// What the request's conditions were judged against must still be there: this etag, or nothing.
    Unchanged(Option<Etag>),
}

/// The conditions of a write: what must be there, and the lock tokens that were submitted.
#[derive(Debug, Clone)]
pub struct Write {
    /// What must hold of the target.
    pub expect: Expect,
    /// Lock tokens submitted in the `If` header.
    pub tokens: Vec<LockToken>,
}

impl Write {
    /// No conditions.
    pub fn unconditional() -> Write {
        Write { expect: Expect::Anything, tokens: Vec::new() }
    }
}

/// What a PUT says of its body.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// Conditions.
    pub write: Write,
    /// Bytes of the body, where the client said it; a body of another length is refused.
    pub length: Option<u64>,
    /// `X-OC-Mtime`, seconds since 1970.
    pub modified: Option<Timestamp>,
    /// `OC-Checksum`, verified.
    pub checksum: Option<Checksum>,
}

impl PutRequest {
    /// A plain PUT without conditions.
    pub fn plain() -> PutRequest {
        PutRequest { write: Write::unconditional(), length: None, modified: None, checksum: None }
    }
}

/// What a write left behind.
#[derive(Debug, Clone)]
pub struct Written {
    /// Whether the name was free before.
    pub created: bool,
    /// The node now.
    pub node: Node,
}

/// The name of a property: namespace and local name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PropertyName {
    /// Namespace URI; may be empty.
    pub namespace: Box<str>,
    /// Local name.
    pub local: Box<str>,
}

/// One change of a PROPPATCH.
#[derive(Debug, Clone)]
pub enum PropertyChange {
    /// Sets a dead property to a whole XML element.
    Set(PropertyName, Box<str>),
    /// Removes one.
    Remove(PropertyName),
    /// Sets the modification time (`DAV:lastmodified`, `Win32LastModifiedTime`), seconds since 1970.
    Modified(Timestamp),
}

/// Space used and left (RFC 4331), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Used.
    pub used: u64,
    /// Left; none where a remote does not say.
    pub available: Option<u64>,
}
