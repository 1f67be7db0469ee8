//! Commands about shares with users, of this server and of others.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::execute::{end_of, last_day, rfc3339, tree_path};
use crate::domain::{CloudId, GroupName, Kind, Offer, Permissions, ReceivedState, SentState, Share, ShareId, ShareWith, UserName};
use crate::service::federation::{AskedShare, Made, NotSent};
use crate::service::refusal::Result;
use crate::service::shares::{NewShare, Received, ShareChange};
use crate::service::{Refusal, Services};

/// What is asked for: on the command line, whose help these comments are, and through the control socket.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
pub enum ShareCommand {
    /// Share a file or folder with a user or a group of this server, or with a user of another one
    Create {
        /// Who shares
        user: String,
        /// Where it is, such as /Photos
        path: String,
        /// A user, group:NAME, or the address of a user of another server, such as bob@cloud.example
        with: String,
        #[command(flatten)]
        /// What it allows.
        terms: ShareTerms,
    },
    /// List what is shared of a user's files, and what the user shares on
    List {
        /// Whose
        user: String,
    },
    /// List what a user receives, from this server and from others
    Received {
        /// Who
        user: String,
    },
    /// Take a share into a user's tree; one of another server is asked for first
    Accept {
        /// Whose
        user: String,
        /// Number of the share
        id: u64,
    },
    /// Take a share out of a user's tree; the owner keeps everything, and another server is told
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
        /// What changes.
        terms: ShareTerms,
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

/// The terms of a share, as a person writes them; none keeps what is, or the default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Args)]
pub struct ShareTerms {
    /// read, edit, or the sum of 1 read, 2 update, 4 create, 8 delete, 16 share [default: all that the sharer may]
    #[arg(long, value_name = "RIGHTS")]
    pub permissions: Option<String>,
    /// Last day on which it works, UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub expires: Option<String>,
    /// What to say to the receivers
    #[arg(long)]
    pub note: Option<String>,
}

/// A share as its owner's list shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShareRow {
    /// Number.
    pub id: u64,
    /// Whose node.
    pub owner: String,
    /// Where the node stands in the owner's tree; none where it is gone.
    pub path: Option<String>,
    /// `file` or `folder`.
    pub kind: String,
    /// A user, `group:NAME`, or the address of a user of another server.
    pub with: String,
    /// What that user made of it: `sending`, `pending`, `accepted` or `declined`; none of a share that stays here.
    #[serde(default)]
    pub state: Option<String>,
    /// The sum of 1 read, 2 update, 4 create, 8 delete, 16 share.
    pub permissions: u8,
    /// Who made it: a user, or the address of who asked for it on another server.
    pub shared_by: String,
    /// The share that it was made from.
    pub parent: Option<u64>,
    /// Last day, `YYYY-MM-DD`.
    pub expires: Option<String>,
    /// What the sharer says.
    pub note: String,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// A share as its receiver's list shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReceivedRow {
    /// Number of the share.
    pub id: u64,
    /// Who receives.
    pub user: String,
    /// Where it hangs in the receiver's tree; none where it does not.
    pub path: Option<String>,
    /// What it was called when it was shared.
    pub name: String,
    /// `file` or `folder`.
    pub kind: String,
    /// Whose node: a user of this server, or `alice@cloud.example` of another.
    pub owner: String,
    /// Who shared it.
    pub shared_by: String,
    /// A user, or `group:NAME`.
    pub with: String,
    /// What it grants now, over every hop; 0 while nobody has asked a server that offers it.
    pub permissions: u8,
    /// `pending`, `accepted` or `declined`.
    pub state: String,
    /// What the sharer says.
    pub note: String,
    /// Last day, `YYYY-MM-DD`, as far as the sharer's server says.
    pub expires: Option<String>,
}

impl Services {
    pub(super) async fn execute_share(&self, command: ShareCommand) -> Result<Outcome> {
        match command {
            ShareCommand::Create { user, path, with, terms } => {
                let sharer = self.accounts().require(&user)?;
                let new = NewShare {
                    path: tree_path(&path)?,
                    with: self.receiver(&with)?,
                    permissions: terms.permissions.as_deref().map(permissions_of).transpose()?,
                    expires: terms.expires.as_deref().filter(|day| !day.is_empty()).map(end_of).transpose()?,
                    note: terms.note.unwrap_or_default(),
                };
                match Box::pin(self.federation().share(&sharer, new)).await.map_err(NotSent::for_administrators)? {
                    Made::Share(share) => Ok(Outcome::Share(self.share_row(&share).await?)),
                    Made::Asked(asked) => Ok(Outcome::Share(self.asked_row(&asked))),
                }
            }
            ShareCommand::List { user } => self.list_shares(&user).await,
            ShareCommand::Received { user } => {
                let user = self.accounts().require(&user)?;
                self.shares().sweep_for(&user).await?;
                let mut rows = Vec::new();
                for received in self.shares().received(&user) {
                    rows.push(self.received_row(&received).await?);
                }
                rows.extend(self.federation().offers_of(&user).iter().map(|offer| self.offer_row(offer)));
                Ok(Outcome::ReceivedShares(rows))
            }
            ShareCommand::Accept { user, id } => {
                let user = self.accounts().require(&user)?;
                if self.federation().offer_to(&user, ShareId(id)).is_ok() {
                    let accepted = self.federation().accept(&user, ShareId(id)).await?;
                    return Ok(Outcome::ReceivedShare(self.offer_row(&accepted)));
                }
                let received = self.shares().accept(&user, ShareId(id)).await?;
                Ok(Outcome::ReceivedShare(self.received_row(&received).await?))
            }
            ShareCommand::Decline { user, id } => {
                let user = self.accounts().require(&user)?;
                if let Ok(offer) = self.federation().offer_to(&user, ShareId(id)) {
                    self.federation().decline(&user, offer.id).await?;
                    let row = self.offer_row(&Offer { state: ReceivedState::Declined, mount: None, ..Offer::clone(&offer) });
                    return Ok(Outcome::ReceivedShare(row));
                }
                let received = self.shares().decline(&user, ShareId(id)).await?;
                Ok(Outcome::ReceivedShare(self.received_row(&received).await?))
            }
            ShareCommand::Update { id, terms, no_expiry } => {
                let day = if no_expiry { Some(String::new()) } else { terms.expires };
                let change = ShareChange {
                    permissions: terms.permissions.as_deref().map(permissions_of).transpose()?,
                    expires: day.map(|day| if day.is_empty() { Ok(None) } else { end_of(&day).map(Some) }).transpose()?,
                    note: terms.note,
                };
                let share = self.federation().update(ShareId(id), change).await?;
                Ok(Outcome::Share(self.share_row(&share).await?))
            }
            ShareCommand::Remove { id } => self.remove_share(ShareId(id)).await,
        }
    }

    async fn list_shares(&self, user: &str) -> Result<Outcome> {
        let user = self.accounts().require(user)?;
        self.shares().sweep_for(&user).await?;
        let mut rows = Vec::new();
        for share in self.shares().list(&user) {
            rows.push(self.share_row(&share).await?);
        }
        rows.extend(self.federation().asked_by(&user)?.iter().map(|asked| self.asked_row(asked)));
        Ok(Outcome::Shares(rows))
    }

    async fn remove_share(&self, id: ShareId) -> Result<Outcome> {
        if self.federation().asked(id).is_some() {
            self.federation().undo_asked(id).await?;
        } else {
            self.shares().remove(id).await?;
        }
        Ok(Outcome::Done(format!("share {} removed; the owner keeps everything", id.0)))
    }

    /// A user, a group, or an address where no user is called so: names of users may look like one.
    fn receiver(&self, text: &str) -> Result<ShareWith> {
        let user = UserName::parse(text).ok().and_then(|name| self.accounts().get(&name));
        match (user, CloudId::parse(text)) {
            (None, Ok(address)) if !text.starts_with("group:") => Ok(ShareWith::Remote(address)),
            (Some(_) | None, _) => receiver(text),
        }
    }

    /// What is shown of a share.
    async fn share_row(&self, share: &Share) -> Result<ShareRow> {
        let home = self.spaces().get(share.space);
        let path = match home {
            Some(home) => home.path_of(share.node).await?,
            None => None,
        };
        let sent = self.federation().sent(share.id).filter(|_| matches!(share.with, ShareWith::Remote(_)));
        let asked = self.federation().sent(share.id).and_then(|sent| sent.asked.clone());
        Ok(ShareRow {
            id: share.id.0,
            owner: share.owner.to_string(),
            path: path.map(|path| path.to_string()),
            kind: kind_word(share.kind).to_owned(),
            with: share.with.to_string(),
            state: sent.map(|sent| sent_word(sent.state).to_owned()),
            permissions: share.permissions.0,
            shared_by: asked.map_or_else(|| share.shared_by.to_string(), |asked| asked.by.to_string()),
            parent: share.parent.map(|parent| parent.0),
            expires: share.expires.and_then(last_day),
            note: share.note.clone(),
            created: rfc3339(share.created),
        })
    }

    /// What is shown of a share that another server made because a user of ours asked for it.
    fn asked_row(&self, asked: &AskedShare) -> ShareRow {
        let offer = self.federation().asked(asked.id).map(|(_, offer)| offer);
        let path = offer.as_ref().and_then(|offer| self.federation().offer_path(offer));
        ShareRow {
            id: asked.id.0,
            owner: offer.as_ref().map(|offer| offer.owner.to_string()).unwrap_or_default(),
            path: path.map(|path| path.to_string()),
            kind: kind_word(offer.as_ref().map_or(Kind::Collection, |offer| offer.kind)).to_owned(),
            with: asked.to.to_string(),
            state: Some(sent_word(asked.state).to_owned()),
            permissions: asked.permissions.0,
            shared_by: asked.user.to_string(),
            parent: Some(asked.offer.0),
            expires: offer.and_then(|offer| offer.expires).and_then(last_day),
            note: String::new(),
            created: rfc3339(asked.created),
        }
    }

    /// What is shown to a receiver.
    async fn received_row(&self, (share, end): &Received) -> Result<ReceivedRow> {
        let state = self.shares().state(end);
        let path = match state {
            ReceivedState::Accepted => self.spaces().get(end.space).and_then(|space| space.mount_path(end.mount)),
            ReceivedState::Pending | ReceivedState::Declined => None,
        };
        Ok(ReceivedRow {
            id: share.id.0,
            user: end.user.to_string(),
            path: path.map(|path| path.to_string()),
            name: share.name.clone(),
            kind: kind_word(share.kind).to_owned(),
            owner: share.owner.to_string(),
            shared_by: share.shared_by.to_string(),
            with: share.with.to_string(),
            permissions: self.shares().rights(share).await?.0,
            state: state_word(state).to_owned(),
            note: share.note.clone(),
            expires: share.expires.and_then(last_day),
        })
    }

    /// What is shown of a share of a user of another server. What it grants is known once it was looked at.
    fn offer_row(&self, offer: &Offer) -> ReceivedRow {
        let handle = offer.mount.filter(|_| offer.state == ReceivedState::Accepted).and_then(|mount| self.forest().mounts().get(mount));
        ReceivedRow {
            id: offer.id.0,
            user: offer.user.to_string(),
            path: self.federation().offer_path(offer).map(|path| path.to_string()),
            name: offer.name.clone(),
            kind: kind_word(handle.as_ref().map_or(offer.kind, |handle| handle.root().kind)).to_owned(),
            owner: offer.owner.to_string(),
            shared_by: offer.sender.to_string(),
            with: offer.user.to_string(),
            permissions: handle.map_or(0, |handle| handle.root().permissions.0),
            state: state_word(offer.state).to_owned(),
            note: String::new(),
            expires: offer.expires.and_then(last_day),
        }
    }
}

fn state_word(state: ReceivedState) -> &'static str {
    match state {
        ReceivedState::Pending => "pending",
        ReceivedState::Accepted => "accepted",
        ReceivedState::Declined => "declined",
    }
}

fn sent_word(state: SentState) -> &'static str {
    match state {
        SentState::Sending => "sending",
        SentState::Pending => "pending",
        SentState::Accepted => "accepted",
        SentState::Declined => "declined",
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Collection | Kind::Mount => "folder",
    }
}

/// `NAME` or `group:NAME`; names of users hold no colon.
fn receiver(text: &str) -> Result<ShareWith> {
    match text.strip_prefix("group:") {
        Some(name) => GroupName::parse(name).map(ShareWith::Group).map_err(|error| Refusal::usage(error.to_string())),
        None => UserName::parse(text).map(ShareWith::User).map_err(|error| Refusal::usage(error.to_string())),
    }
}

/// The rights of a share by a word or by their sum.
fn permissions_of(text: &str) -> Result<Permissions> {
    let wrong = || {
        Refusal::usage(format!("permissions are read, edit, or the sum of 1 read, 2 update, 4 create, 8 delete, 16 share, not `{text}`"))
    };
    match text {
        "read" => Ok(Permissions::READ),
        "edit" => Ok(Permissions::EDIT),
        number => {
            let bits: u8 = number.parse().map_err(|_error| wrong())?;
            if (1..=Permissions::ALL.0).contains(&bits) { Ok(Permissions(bits)) } else { Err(wrong()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_users_or_groups() {
        assert!(matches!(receiver("bob").unwrap(), ShareWith::User(_)));
        assert!(matches!(receiver("group:The team").unwrap(), ShareWith::Group(_)));
        assert!(receiver("group:").is_err() && receiver("a b").is_err());
        assert_eq!(receiver("group:x").unwrap().to_string(), "group:x");
    }

    #[test]
    fn rights_are_words_or_sums() {
        assert_eq!(permissions_of("edit").unwrap(), Permissions(15));
        assert_eq!(permissions_of("17").unwrap(), Permissions(17));
        assert!(permissions_of("0").is_err() && permissions_of("32").is_err() && permissions_of("all").is_err());
    }
}
