//! Administration as data: what a command asks for and what comes of it. The control socket carries these, and the commands use them
//! alike whether a server runs or not.

mod account;
mod execute;
mod groups;
mod people;
mod rows;
mod servers;
mod shares;
mod trash;

use serde::{Deserialize, Serialize};

pub use account::AccountCommand;
pub use execute::{end_of, last_day};
pub use groups::{GroupCommand, GroupRow};
pub use people::{ContactCommand, ContactRow, InviteCommand, InviteRow};
pub use rows::{AppPasswordRow, CheckRow, Health, LinkRow, MountRow, RemoteRow, ScanRow, UserRow};
pub use servers::{FederationRow, FederationTerms, ServersCommand, TrustedCommand, TrustedRow};
pub use shares::{ReceivedRow, ShareCommand, ShareRow, ShareTerms};
pub use trash::{TrashCommand, TrashRow};

use crate::domain::Secret;
pub use crate::service::policy::Rule;

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Whether somebody is there, and who.
    Ping,
    /// A new account.
    UserAdd {
        /// Its name.
        name: String,
        /// May it administer the server?
        admin: bool,
        /// Shown to people.
        display_name: Option<String>,
        /// Bytes.
        quota: Option<u64>,
        /// Its password.
        password: Secret,
    },
    /// Every account.
    UserList,
    /// A new password.
    UserPassword {
        /// Whose.
        name: String,
        /// The new one.
        password: Secret,
    },
    /// A random password for one device.
    UserAppPassword {
        /// Whose.
        name: String,
        /// What for.
        label: String,
    },
    /// Something about one account that is there.
    Account {
        /// Whose.
        name: String,
        /// What.
        what: AccountCommand,
    },
    /// Whether every protocol is closed, after closing or opening them if asked to.
    Maintenance {
        /// Close or open; none asks only.
        on: Option<bool>,
    },
    /// The end of an account.
    UserRemove {
        /// Whose.
        name: String,
        /// Delete the files instead of moving them aside.
        purge: bool,
    },
    /// A user's trash.
    Trash(TrashCommand),
    /// A new public link.
    LinkCreate {
        /// Whose file or folder.
        user: String,
        /// Where.
        path: String,
        /// What it allows.
        terms: LinkTerms,
    },
    /// The links of a user.
    LinkList {
        /// Whose.
        user: String,
    },
    /// Other terms for a link.
    LinkUpdate {
        /// Number, or `USER:/PATH`.
        id: String,
        /// What changes.
        terms: LinkTerms,
    },
    /// The end of a link.
    LinkRemove {
        /// Number, or `USER:/PATH`.
        id: String,
    },
    /// A new mount.
    MountAdd {
        /// In whose tree.
        user: String,
        /// A link or WebDAV URL.
        url: String,
        /// Name of the mountpoint, where the remote's does not do.
        name: Option<String>,
        /// Its password, where one is known.
        password: Option<Secret>,
    },
    /// The mounts of a user.
    MountList {
        /// Whose.
        user: String,
    },
    /// Ask the remote again now.
    MountRetry {
        /// Number, or `USER:/PATH`.
        id: String,
    },
    /// Another password for a mount.
    MountPassword {
        /// Number, or `USER:/PATH`.
        id: String,
        /// The password.
        password: Secret,
    },
    /// Another name for a mountpoint.
    MountRename {
        /// Number, or `USER:/PATH`.
        id: String,
        /// The name.
        name: String,
    },
    /// The end of a mount; the remote keeps everything.
    MountRemove {
        /// Number, or `USER:/PATH`.
        id: String,
    },
    /// What was decided about other servers.
    RemoteList,
    /// Trust a certificate or an authority of another server.
    RemoteTrust {
        /// `host[:port]`.
        host: String,
        /// SHA-256 of the certificate, hexadecimal.
        fingerprint: Option<String>,
        /// Certificates of authorities, DER.
        authorities: Vec<Vec<u8>>,
    },
    /// Allow another server in a private network.
    RemoteAllowPrivate {
        /// `host[:port]`.
        host: String,
    },
    /// Forget what was decided about another server.
    RemoteRemove {
        /// `host[:port]`.
        host: String,
    },
    /// Forget the keys by which another server signs its calls.
    RemoteForgetKey {
        /// `host[:port]`.
        host: String,
    },
    /// Groups.
    Group(GroupCommand),
    /// Shares between users.
    Share(ShareCommand),
    /// Invitations to users of other servers.
    Invite(InviteCommand),
    /// Whom users know on other servers.
    Contact(ContactCommand),
    /// What users may share, after changing a rule if asked to.
    Sharing {
        /// A rule and what it is to be; none asks only.
        set: Option<(String, String)>,
    },
    /// Take in outside edits now.
    Scan {
        /// Whose; everybody's if none.
        user: Option<String>,
    },
    /// What is wrong with the server, or with a link.
    Doctor {
        /// The link; the server itself if none.
        url: Option<String>,
        /// The link's password.
        password: Option<Secret>,
    },
    /// Rows and keys into a folder.
    Backup {
        /// Which; absolute.
        folder: String,
    },
    /// Other servers as partners.
    Servers(ServersCommand),
}

/// The terms of a link, as a person writes them; none keeps what is, or the default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LinkTerms {
    /// `read`, `edit` or `drop`.
    pub permissions: Option<String>,
    /// A password; empty removes it.
    pub password: Option<Secret>,
    /// Last day, `YYYY-MM-DD`; empty removes it.
    pub expires: Option<String>,
    /// A note.
    pub label: Option<String>,
    /// Most downloads; 0 is no bound.
    pub downloads: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done; in words.
    Done(String),
    /// A secret that is shown this once.
    Secret(Secret),
    /// Accounts.
    Users(Vec<UserRow>),
    /// App passwords.
    AppPasswords(Vec<AppPasswordRow>),
    /// Whether the server is in maintenance.
    Maintenance(bool),
    /// One new or changed link.
    Link(LinkRow),
    /// Links.
    Links(Vec<LinkRow>),
    /// One new or changed mount.
    Mount(MountRow),
    /// Mounts.
    Mounts(Vec<MountRow>),
    /// One new or changed share.
    Share(ShareRow),
    /// Shares of a user's nodes.
    Shares(Vec<ShareRow>),
    /// One answered share.
    ReceivedShare(ReceivedRow),
    /// What a user receives.
    ReceivedShares(Vec<ReceivedRow>),
    /// One group.
    Group(GroupRow),
    /// Groups.
    Groups(Vec<GroupRow>),
    /// A new invitation.
    Invitation(InviteRow),
    /// Invitations.
    Invitations(Vec<InviteRow>),
    /// A new contact.
    Contact(ContactRow),
    /// Contacts.
    Contacts(Vec<ContactRow>),
    /// Decisions about other servers.
    Remotes(Vec<RemoteRow>),
    /// The rules of sharing.
    Rules(Vec<Rule>),
    /// What was deleted.
    Trash(Vec<TrashRow>),
    /// Scans.
    Scans(Vec<ScanRow>),
    /// What was checked.
    Checks(Vec<CheckRow>),
    /// Trusted servers.
    Trusted(Vec<TrustedRow>),
    /// Who takes part in federated sharing.
    Federation(FederationRow),
    /// A text for another program.
    Document(String),
}
