//! The trash of a user, for administrators.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::execute::rfc3339;
use super::{Command, Outcome};
use crate::domain::{NodeId, Principal};
use crate::service::refusal::Result;
use crate::service::{Refusal, Services};
use crate::wire::Via;

/// What is asked of a trash: on the command line, whose help these comments are, and through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum TrashCommand {
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

impl From<TrashCommand> for Command {
    fn from(command: TrashCommand) -> Command {
        Command::Trash(command)
    }
}

/// Something that was deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrashRow {
    /// Number.
    pub id: u64,
    /// Where it was.
    pub path: String,
    /// Bytes, with all that is below it.
    pub size: u64,
    /// When it was deleted, RFC 3339.
    pub deleted: String,
    /// Who did it: a user, a link by its number, or nobody in particular.
    pub by: String,
}

impl Services {
    pub(super) async fn trash(&self, command: TrashCommand) -> Result<Outcome> {
        let (TrashCommand::List { user } | TrashCommand::Restore { user, .. } | TrashCommand::Empty { user }) = &command;
        let user = self.accounts().require(user)?;
        let view = self.forest().user_view(&user, Via::default())?;
        match command {
            TrashCommand::List { .. } => {
                let (_, mut entries) = view.trash().await?;
                entries.sort_by_key(|(row, _)| (row.deleted, row.node));
                let row = |(row, node): (crate::tree::TrashRow, crate::domain::Node)| TrashRow {
                    id: row.node.0,
                    path: row.path.to_string(),
                    size: node.size,
                    deleted: rfc3339(row.deleted),
                    by: who(&row.by),
                };
                Ok(Outcome::Trash(entries.into_iter().map(row).collect()))
            }
            TrashCommand::Restore { id, .. } => {
                self.sharing().sweep_home(user.space).await?;
                let restored = view.restore_to_origin(NodeId(id)).await;
                if let Err(crate::domain::Error::NotFound) = restored {
                    return Err(Refusal::not_found(format!("the trash of {} has no entry {id}", user.name)));
                }
                Ok(Outcome::Done(format!("restored to {}", restored?.0)))
            }
            TrashCommand::Empty { .. } => {
                view.purge(None).await?;
                Ok(Outcome::Done(format!("the trash of {} is empty", user.name)))
            }
        }
    }
}

fn who(by: &Principal) -> String {
    match by {
        Principal::User(name) => name.to_string(),
        Principal::Link(link) => format!("link {}", link.0),
        Principal::Remote(share) => format!("share {}", share.0),
        Principal::Anonymous => "-".to_owned(),
    }
}
