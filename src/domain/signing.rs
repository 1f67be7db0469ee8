//! Whether calls between servers are signed.

use serde::Serialize;

/// What this server makes of signatures of calls between servers (`protocol/ocm.md` 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signing {
    /// It signs nothing, publishes no key, and does not look at signatures of others.
    #[default]
    Off,
    /// It signs its calls and judges signatures that come. Whoever has signed once must go on.
    On,
    /// The same, and calls without a signature are refused.
    Required,
}
