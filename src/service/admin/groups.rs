//! Commands about groups.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::domain::Group;
use crate::service::Services;
use crate::service::refusal::Result;

/// What is asked for: on the command line, whose help these comments are, and through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum GroupCommand {
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

/// A group as listings show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRow {
    /// Name.
    pub name: String,
    /// Shown to people.
    pub display_name: String,
    /// Who belongs to it.
    pub members: Vec<String>,
    /// Who may administer its members.
    pub subadmins: Vec<String>,
}

impl From<&Group> for GroupRow {
    fn from(group: &Group) -> GroupRow {
        GroupRow {
            name: group.name.to_string(),
            display_name: group.display_name.clone(),
            members: group.members.iter().map(ToString::to_string).collect(),
            subadmins: group.subadmins.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Services {
    pub(super) async fn execute_group(&self, command: GroupCommand) -> Result<Outcome> {
        let (groups, accounts) = (self.groups(), self.accounts());
        let group = match command {
            GroupCommand::List => return Ok(Outcome::Groups(groups.list().iter().map(|group| GroupRow::from(&**group)).collect())),
            GroupCommand::Remove { name } => {
                groups.remove(&name).await?;
                return Ok(Outcome::Done(format!("group {name} removed; its members stay")));
            }
            GroupCommand::Add { name, display_name } => {
                let group = groups.create(&name, display_name).await?;
                return Ok(Outcome::Done(format!("group {} added", group.name)));
            }
            GroupCommand::Show { name } => groups.require(&name)?,
            GroupCommand::AddMember { name, user } => groups.add_member(&name, &*accounts.require(&user)?).await?,
            GroupCommand::RemoveMember { name, user } => groups.remove_member(&name, &*accounts.require(&user)?).await?,
            GroupCommand::AddSubadmin { name, user } => groups.add_subadmin(&name, &*accounts.require(&user)?).await?,
            GroupCommand::RemoveSubadmin { name, user } => groups.remove_subadmin(&name, &*accounts.require(&user)?).await?,
        };
        Ok(Outcome::Group(GroupRow::from(&*group)))
    }
}
