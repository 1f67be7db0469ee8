//! Whom our users know on other servers: invitations that they make and accept, and the contacts that come of it (`protocol/ocm.md` 1.7).
//!
//! oCIS, OpenCloud and CERNBox take shares from those alone who were introduced so. **Invariants:** of a token only its hash is kept, so that
//! looking it up tells nothing of it (attack F5); an invitation is good for one; a contact has no rights and no trust by being one (attack F3):
//! each share is still offered, and still accepted.

mod accept;
mod contacts;
mod invitations;

pub use accept::NotAccepted;
pub use invitations::{MadeInvitation, NewInvitation, NotTakenUp};
