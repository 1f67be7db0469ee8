//! What can be typed.
#![expect(clippy::doc_markdown, reason = "these comments are the help that people read")]

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::service::admin::{ContactCommand, FederationTerms, GroupCommand, InviteCommand, ShareCommand, TrashCommand, TrustedCommand};

/// A WebDAV server whose users mount each other's public links across servers.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, max_term_width = 100)]
pub(super) struct Args {
    /// The data folder [default: davroot, or CAUSEWAY_DATA]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// The configuration file [default: CAUSEWAY_CONFIG, or causeway.toml in the folder .causeway of the data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve the data folder
    Serve(ServeArgs),
    /// Show everything at once: two servers over TLS, two users, a link that is mounted
    Demo(DemoArgs),
    /// Accounts
    #[command(subcommand)]
    User(UserVerb),
    /// Groups of accounts
    #[command(subcommand)]
    Group(GroupCommand),
    /// Files and folders that users share with each other, and with users of other servers
    #[command(subcommand)]
    Share(ShareCommand),
    /// Invitations: how users of this server and of others become contacts
    #[command(subcommand)]
    Invite(InviteCommand),
    /// Whom users know on other servers
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Public links of users' files and folders
    #[command(subcommand)]
    Link(LinkVerb),
    /// Links and WebDAV folders of other servers in users' trees
    #[command(subcommand)]
    Mount(MountVerb),
    /// What users deleted, and how it comes back
    #[command(subcommand)]
    Trash(TrashCommand),
    /// What is decided about other servers
    #[command(subcommand)]
    Remote(RemoteVerb),
    /// Say what is wrong with this server, with a link, or with the server of a user
    Doctor {
        /// A link, a WebDAV URL, or a user of another server (bob@cloud.example)
        url: Option<String>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Take in outside edits of the files now
    Scan {
        /// Whose files; everybody's if not given
        user: Option<String>,
    },
    /// Answer 503 to every client while you work on the server
    Maintenance {
        /// Close, open, or show which
        what: MaintenanceVerb,
    },
    /// What users may share: links, passwords, expiry, and whether other servers take part
    #[command(subcommand)]
    Sharing(SharingVerb),
    /// Write rows, keys and configuration into a new folder; back up the users' folders beside it
    Backup {
        /// The folder
        folder: PathBuf,
    },
    /// Put rows, keys and configuration of a backup into the data folder of a stopped server
    Restore {
        /// The folder of the backup
        folder: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(super) struct ServeArgs {
    // No comment for the documentation: `[::]` would be a link there.
    #[arg(
        long,
        value_name = "ADDRESS",
        help = "Where to listen: host:port, [::]:port or unix:/path; can be given several times [default: 127.0.0.1:8080]"
    )]
    pub(super) listen: Vec<String>,
    /// The URL by which others reach this server; may have a path
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// Certificate chain, PEM; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) tls_cert: Option<String>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE")]
    pub(super) tls_key: Option<String>,
    /// Address or network of a reverse proxy to believe; can be given several times
    #[arg(long, value_name = "NETWORK")]
    pub(super) trusted_proxies: Vec<String>,
    /// error, warn, info, debug, trace, or a list of module=level
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
    /// Umask of files that the server makes, octal
    #[arg(long, value_name = "MASK")]
    pub(super) umask: Option<String>,
    /// power-cut or process: what an answered write survives
    #[arg(long, value_name = "LEVEL")]
    pub(super) durability: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct DemoArgs {
    /// Stop after the check instead of waiting for Ctrl-C
    #[arg(long)]
    pub(super) check: bool,
}

/// Where a password comes from.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(super) struct PasswordArgs {
    /// Read the password from standard input, up to the end of the line
    #[arg(long)]
    pub(super) password_stdin: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Add an account
    Add {
        /// 1 to 64 letters, digits or _ . @ -
        name: String,
        /// May administer the server
        #[arg(long)]
        admin: bool,
        /// Name shown to people
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Most bytes, such as 10GB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<u64>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the accounts
    List,
    /// Change the password of an account
    Password {
        /// Whose
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Make a random password for one device; it is shown this once
    AppPassword {
        /// Whose
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List the app passwords of an account
    AppPasswords {
        /// Whose
        name: String,
    },
    /// Revoke an app password; it stops at once
    Revoke {
        /// Whose
        name: String,
        /// Its number, as `causeway user app-passwords` shows it
        id: u64,
    },
    /// Let an account log in again
    Enable {
        /// Whose
        name: String,
    },
    /// Close an account and its links; files, mounts and app passwords stay
    Disable {
        /// Whose
        name: String,
    },
    /// Limit what an account may keep
    Quota {
        /// Whose
        name: String,
        /// Most bytes, such as 10GB, or none
        #[arg(value_parser = quota)]
        size: QuotaArg,
    },
    /// Show an account by another name
    DisplayName {
        /// Whose
        name: String,
        /// The name; empty for the account's own
        display_name: String,
    },
    /// Note the e-mail address of an account
    Email {
        /// Whose
        name: String,
        /// The address; empty for none
        address: String,
    },
    /// Remove an account; its files are moved to .causeway/removed
    Remove {
        /// Whose
        name: String,
        /// Delete the files instead
        #[arg(long)]
        purge: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum MaintenanceVerb {
    /// Close every protocol
    On,
    /// Open again
    Off,
    /// Show which
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum SharingVerb {
    /// Show every rule
    Show,
    /// Change a rule; it holds at once
    Set {
        /// Which, as `show` names it
        rule: String,
        /// What it is to be
        value: String,
    },
    /// Which other servers take part in sharing, after changing that if asked to
    Federation(FederationTerms),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Rights {
    /// List and download
    Read,
    /// Also upload, change and delete
    Edit,
    /// Upload only; nothing is shown
    Drop,
}

impl Rights {
    /// The word that services use.
    pub(super) fn word(self) -> String {
        match self {
            Rights::Read => "read",
            Rights::Edit => "edit",
            Rights::Drop => "drop",
        }
        .to_owned()
    }
}

/// The terms of a link.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("secret").args(["password", "password_stdin"]))]
pub(super) struct TermArgs {
    /// What the link allows [default: read]
    #[arg(long)]
    pub(super) permissions: Option<Rights>,
    /// Protect it with a password that is asked for on the terminal
    #[arg(long)]
    pub(super) password: bool,
    /// Protect it with a password from standard input
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Last day on which it works, UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) expires: Option<String>,
    /// A note to yourself
    #[arg(long)]
    pub(super) label: Option<String>,
    /// Most downloads, of files or zips; 0 is no bound. Other servers cannot mount a link that has one
    #[arg(long, value_name = "NUMBER")]
    pub(super) downloads: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LinkVerb {
    /// Make a link to a file or folder and print it
    Create {
        /// Whose file or folder
        user: String,
        /// Where it is, such as /Photos
        path: String,
        #[command(flatten)]
        terms: TermArgs,
    },
    /// List the links of a user
    List {
        /// Whose
        user: String,
    },
    /// Change a link
    Update {
        /// Number, or USER:/PATH
        id: String,
        #[command(flatten)]
        terms: TermArgs,
        /// Take the password off
        #[arg(long, conflicts_with = "secret")]
        no_password: bool,
        /// Take the last day off
        #[arg(long, conflicts_with = "expires")]
        no_expiry: bool,
    },
    /// Remove a link
    Remove {
        /// Number, or USER:/PATH
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum MountVerb {
    /// Mount a link or a WebDAV URL in a user's tree
    Add {
        /// In whose tree
        user: String,
        /// A link of Causeway, ownCloud, Nextcloud or oCIS, or a WebDAV URL with optional user@
        url: String,
        /// Name of the folder
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the mounts of a user
    List {
        /// Whose
        user: String,
    },
    /// Ask the other server again now
    Retry {
        /// Number, or USER:/PATH
        id: String,
    },
    /// Give a mount another password
    Password {
        /// Number, or USER:/PATH
        id: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give the mounted folder another name here
    Rename {
        /// Number, or USER:/PATH
        id: String,
        /// The name
        name: String,
    },
    /// Unmount; the other server keeps everything
    Remove {
        /// Number, or USER:/PATH
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RemoteVerb {
    /// List what is decided
    List,
    /// Trust a certificate, or an authority's, for one host
    #[command(group = ArgGroup::new("what").args(["fingerprint", "ca"]).required(true))]
    Trust {
        /// host or host:port
        host: String,
        /// SHA-256 of the certificate, hexadecimal
        #[arg(long, value_name = "SHA256")]
        fingerprint: Option<String>,
        /// PEM file of an authority
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// Allow a host to stand in a private network
    AllowPrivate {
        /// host or host:port
        host: String,
    },
    /// Forget the keys by which a server signs its calls, and that it signs: it has new ones, or signs no more
    ForgetKey {
        /// host or host:port
        host: String,
    },
    /// Forget what is decided about a host
    Remove {
        /// host or host:port
        host: String,
    },
    /// Servers that are trusted as partners in sharing
    #[command(subcommand)]
    Trusted(TrustedCommand),
    /// Print what an administrator of oCIS, OpenCloud or CERNBox must add to ocmproviders.json
    Ocmproviders,
    /// Say that a server has another name now: mounts, shares and decisions move there
    Rename {
        /// host or host:port, as it was
        old: String,
        /// host or host:port, as it is now
        new: String,
        /// Do not ask the new server whether it opens what the old one shared
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print the effective configuration and where each value came from
    Show,
    /// Check the configuration, the certificate included
    Check,
}

/// Most bytes; none is unlimited.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuotaArg(pub(super) Option<u64>);

fn quota(text: &str) -> Result<QuotaArg, String> {
    if text == "none" { Ok(QuotaArg(None)) } else { size(text).map(|bytes| QuotaArg(Some(bytes))) }
}

fn size(text: &str) -> Result<u64, String> {
    crate::domain::parse_bytes(text).ok_or_else(|| "a size is a number with B, KB, MB, GB, TB or KiB, MiB, GiB, TiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_data_folder_goes_anywhere_on_the_line() {
        for line in ["causeway --data d user list", "causeway user --data d list", "causeway user list --data d"] {
            assert_eq!(Args::try_parse_from(line.split(' ')).unwrap().data, Some(PathBuf::from("d")));
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in
            ["causeway", "causeway remote trust h", "causeway link update 1 --no-password --password", "causeway user add a --quota lots"]
        {
            assert_eq!(Args::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
