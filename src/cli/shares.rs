//! `causeway share …`

use clap::{Args as ClapArgs, Subcommand};

use crate::service::admin::{Command, ShareCommand, ShareTerms};

#[derive(Debug, Subcommand)]
pub(super) enum ShareVerb {
    /// Share a file or folder with a user or a group of this server
    Create {
        /// Who shares
        user: String,
        /// Where it is, such as /Photos
        path: String,
        /// A user, or group:NAME
        with: String,
        #[command(flatten)]
        terms: ShareTermArgs,
    },
    /// List what is shared of a user's files, and what the user shares on
    List {
        /// Whose
        user: String,
    },
    /// List what a user receives
    Received {
        /// Who
        user: String,
    },
    /// Take a share into a user's tree
    Accept {
        /// Whose
        user: String,
        /// Number of the share
        id: u64,
    },
    /// Take a share out of a user's tree; the owner keeps everything
    Decline {
        /// Whose
        user: String,
        /// Number of the share
        id: u64,
    },
    /// Change a share
    Update {
        /// Number of the share
        id: u64,
        #[command(flatten)]
        terms: ShareTermArgs,
        /// Take the last day off
        #[arg(long, conflicts_with = "expires")]
        no_expiry: bool,
    },
    /// End a share; the owner keeps everything
    Remove {
        /// Number of the share
        id: u64,
    },
}

/// The terms of a share.
#[derive(Debug, ClapArgs)]
pub(super) struct ShareTermArgs {
    /// read, edit, or the sum of 1 read, 2 update, 4 create, 8 delete, 16 share [default: all that the sharer may]
    #[arg(long, value_name = "RIGHTS")]
    permissions: Option<String>,
    /// Last day on which it works, UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    expires: Option<String>,
    /// What to say to the receivers
    #[arg(long)]
    note: Option<String>,
}

impl From<ShareTermArgs> for ShareTerms {
    fn from(args: ShareTermArgs) -> ShareTerms {
        ShareTerms { permissions: args.permissions, expires: args.expires, note: args.note }
    }
}

/// What is asked of the services.
pub(super) fn command(verb: ShareVerb) -> Command {
    Command::Share(match verb {
        ShareVerb::Create { user, path, with, terms } => ShareCommand::Create { user, path, with, terms: terms.into() },
        ShareVerb::List { user } => ShareCommand::List { user },
        ShareVerb::Received { user } => ShareCommand::Received { user },
        ShareVerb::Accept { user, id } => ShareCommand::Accept { user, id },
        ShareVerb::Decline { user, id } => ShareCommand::Decline { user, id },
        ShareVerb::Update { id, terms, no_expiry } => {
            let mut terms = ShareTerms::from(terms);
            if no_expiry {
                terms.expires = Some(String::new());
            }
            ShareCommand::Update { id, terms }
        }
        ShareVerb::Remove { id } => ShareCommand::Remove { id },
    })
}
