//! `causeway trash …`

use clap::Subcommand;

use crate::service::admin::TrashCommand;

#[derive(Debug, Subcommand)]
pub(super) enum TrashVerb {
    /// List what a user deleted, or others deleted in the user's folders
    List {
        /// Whose
        user: String,
    },
    /// Bring something back to where it was
    Restore {
        /// Whose
        user: String,
        /// Number, as `list` shows it
        id: u64,
    },
    /// Delete everything in it for good
    Empty {
        /// Whose
        user: String,
    },
}

impl From<TrashVerb> for TrashCommand {
    fn from(verb: TrashVerb) -> TrashCommand {
        match verb {
            TrashVerb::List { user } => TrashCommand::List { user },
            TrashVerb::Restore { user, id } => TrashCommand::Restore { user, id },
            TrashVerb::Empty { user } => TrashCommand::Empty { user },
        }
    }
}
