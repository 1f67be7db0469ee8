//! Commands about invitations and contacts.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::execute::{end_of, last_day, rfc3339};
use crate::domain::{Contact, Invitation, Secret};
use crate::service::federation::{NewInvitation, NotAccepted};
use crate::service::refusal::Result;
use crate::service::{Refusal, Services};
use crate::wire::invite::Invite;

/// What is asked for: on the command line, whose help these comments are, and through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum InviteCommand {
    /// Make an invitation for somebody on another server and print it; it is good for one, and shown this once
    Create {
        /// Who invites
        user: String,
        /// For whom, as a note to yourself
        #[arg(long, default_value = "")]
        note: String,
        /// Last day on which it is taken, UTC [default: a week from now]
        #[arg(long, value_name = "YYYY-MM-DD")]
        expires: Option<String>,
        /// The server of who is invited, if it is known: the link then leads there
        #[arg(long, value_name = "HOST")]
        server: Option<String>,
    },
    /// List the invitations of a user
    List {
        /// Whose
        user: String,
    },
    /// Accept an invitation of another server
    Accept {
        /// Who accepts
        user: String,
        /// The text or the link that was sent
        #[arg(value_parser = secret)]
        invite: Secret,
    },
    /// Take an invitation back; who has accepted it stays a contact
    Remove {
        /// Its number, as list shows it
        id: u64,
    },
}

/// What is asked for: on the command line, whose help these comments are, and through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum ContactCommand {
    /// List whom a user knows on other servers
    List {
        /// Whose
        user: String,
    },
    /// Forget a contact; what is shared stays
    Remove {
        /// Whose
        user: String,
        /// Its number, as list shows it
        id: u64,
    },
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// An invitation as its maker's list shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InviteRow {
    /// Number.
    pub id: u64,
    /// Who invites.
    pub user: String,
    /// For whom, in the inviter's words.
    pub note: String,
    /// `open`, `accepted` or `expired`.
    pub state: String,
    /// Who has accepted it.
    pub accepted: Option<String>,
    /// Last day on which it is taken, `YYYY-MM-DD`.
    pub expires: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// What people paste; of a new one alone.
    #[serde(default)]
    pub invite: Option<Secret>,
    /// A link to the page that takes it; of a new one alone.
    #[serde(default)]
    pub link: Option<Secret>,
}

/// A contact as its user's list shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactRow {
    /// Number.
    pub id: u64,
    /// Whose contact.
    pub user: String,
    /// The address that shares are made with.
    pub address: String,
    /// Shown to people.
    pub name: String,
    /// Address for mail; empty if none is known.
    pub email: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl Services {
    pub(super) async fn execute_invite(&self, command: InviteCommand) -> Result<Outcome> {
        match command {
            InviteCommand::Create { user, note, expires, server } => {
                let user = self.accounts().require(&user)?;
                let expires = expires.as_deref().filter(|day| !day.is_empty()).map(end_of).transpose()?;
                let made = self.federation().invite(&user, NewInvitation { note, expires, receiver: server }).await?;
                let row = self.invite_row(&made.invitation);
                Ok(Outcome::Invitation(InviteRow { invite: Some(made.string), link: Some(made.link), ..row }))
            }
            InviteCommand::List { user } => {
                let user = self.accounts().require(&user)?;
                let rows = self.federation().invitations_of(&user)?.iter().map(|known| self.invite_row(known)).collect();
                Ok(Outcome::Invitations(rows))
            }
            InviteCommand::Accept { user, invite } => {
                let user = self.accounts().require(&user)?;
                let invite = Invite::parse(invite.expose()).ok_or_else(|| Refusal::from(NotAccepted::Unreadable))?;
                let accepted = self.federation().accept_invitation(&user, &invite.token, &invite.provider).await;
                Ok(Outcome::Contact(contact_row(&accepted.map_err(NotAccepted::for_administrators)?)))
            }
            InviteCommand::Remove { id } => {
                self.federation().remove_invitation(id, None).await?;
                Ok(Outcome::Done(format!("invitation {id} removed; it is not taken any more")))
            }
        }
    }

    pub(super) async fn execute_contact(&self, command: ContactCommand) -> Result<Outcome> {
        match command {
            ContactCommand::List { user } => {
                let user = self.accounts().require(&user)?;
                Ok(Outcome::Contacts(self.federation().contacts_of(&user)?.iter().map(contact_row).collect()))
            }
            ContactCommand::Remove { user, id } => {
                let user = self.accounts().require(&user)?;
                let contact = self.federation().remove_contact(&user, id).await?;
                Ok(Outcome::Done(format!("contact {} removed; what is shared with them stays", contact.address)))
            }
        }
    }

    fn invite_row(&self, known: &Invitation) -> InviteRow {
        let state = match &known.accepted {
            Some(_) => "accepted",
            None if known.expires <= self.clock().now() => "expired",
            None => "open",
        };
        InviteRow {
            id: known.id,
            user: known.user.to_string(),
            note: known.note.clone(),
            state: state.to_owned(),
            accepted: known.accepted.as_ref().map(ToString::to_string),
            expires: last_day(known.expires),
            created: rfc3339(known.created),
            invite: None,
            link: None,
        }
    }
}

fn contact_row(contact: &Contact) -> ContactRow {
    ContactRow {
        id: contact.id,
        user: contact.user.to_string(),
        address: String::from(contact.address.clone()),
        name: contact.name.clone(),
        email: contact.email.clone(),
        since: rfc3339(contact.since),
    }
}
