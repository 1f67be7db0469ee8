//! Who a request acts for.

use serde::{Deserialize, Serialize};

use crate::domain::{LinkId, ShareId, UserName};

/// Who a request acts for (RFC 3744's word).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// An account of this server.
    User(UserName),
    /// Whoever holds a public link.
    Link(LinkId),
    /// Nobody in particular.
    Anonymous,
    /// The server of a user with whom something is shared.
    Remote(ShareId),
}
