//! `causeway group …`

use clap::Subcommand;

use crate::service::admin::{Command, GroupCommand};

#[derive(Debug, Subcommand)]
pub(super) enum GroupVerb {
    /// Make a group without members
    Add {
        /// 1 to 64 printable characters without a slash
        name: String,
        /// Name shown to people
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
    },
    /// List the groups
    List,
    /// Show a group and its members
    Show {
        /// Which
        name: String,
    },
    /// Remove a group; its members stay
    Remove {
        /// Which
        name: String,
    },
    /// Take a user into a group
    AddMember {
        /// Which group
        name: String,
        /// Who
        user: String,
    },
    /// Take a user out of a group
    RemoveMember {
        /// Which group
        name: String,
        /// Who
        user: String,
    },
    /// Let a user administer the members of a group
    AddSubadmin {
        /// Which group
        name: String,
        /// Who
        user: String,
    },
    /// No longer let a user administer the members of a group
    RemoveSubadmin {
        /// Which group
        name: String,
        /// Who
        user: String,
    },
}

/// What is asked of the services.
pub(super) fn command(verb: GroupVerb) -> Command {
    Command::Group(match verb {
        GroupVerb::Add { name, display_name } => GroupCommand::Add { name, display_name },
        GroupVerb::List => GroupCommand::List,
        GroupVerb::Show { name } => GroupCommand::Show { name },
        GroupVerb::Remove { name } => GroupCommand::Remove { name },
        GroupVerb::AddMember { name, user } => GroupCommand::AddMember { name, user },
        GroupVerb::RemoveMember { name, user } => GroupCommand::RemoveMember { name, user },
        GroupVerb::AddSubadmin { name, user } => GroupCommand::AddSubadmin { name, user },
        GroupVerb::RemoveSubadmin { name, user } => GroupCommand::RemoveSubadmin { name, user },
    })
}
