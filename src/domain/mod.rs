//! Nouns and rules without I/O, clock or randomness: paths, nodes, etags, permissions, users, links, mounts, and why an operation on a
//! tree is refused.

mod checksum;
mod clock;
mod contact;
mod error;
mod etag;
mod federation;
mod group;
mod keep;
mod lock;
mod node;
mod path;
mod permissions;
mod principal;
mod records;
mod secret;
mod share;
mod signing;
mod upload;
mod user;
mod version;

pub use checksum::{Algorithm, Checksum, InvalidChecksum};
pub use clock::{Clock, Timestamp};
pub use contact::{Contact, Invitation};
pub use error::{Error, Result};
pub use etag::Etag;
pub use federation::{Asked, AuthScheme, CloudId, InvalidCloudId, Offer, OfferedAt, SentShare, SentState, server_of};
pub use group::{Group, GroupName, InvalidGroupName};
pub use keep::{Keep, parse_age};
pub use lock::{Lock, LockDepth, LockRequest, LockScope, LockToken};
pub use node::{Children, FileStamp, Inode, Kind, MountId, Node, NodeId, PropertyChange, PropertyName, PutRequest, SpaceId, Write};
pub use node::{Expect, Quota, Written};
pub use path::{At, InvalidPath, Name, TreePath};
pub use permissions::{Letters, Permissions};
pub use principal::Principal;
pub use records::{
    AppPassword, Link, LinkDetails, LinkId, LinkOrigin, Mount, MountState, OfflineCause, Profile, RemoteTrust, SharedLink, User, Vendor,
};
pub use secret::{Secret, ShareToken};
pub use share::{ReceivedShare, ReceivedState, Share, ShareId, ShareWith, shareable};
pub use signing::Signing;
pub use upload::{ChunkName, Upload, UploadId, UploadName};
pub use user::{InvalidUserName, UserName, parse_bytes};
pub use version::ClientVersion;
