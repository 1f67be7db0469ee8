//! What listings show.

use serde::{Deserialize, Serialize};

use crate::service::Reason;

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRow {
    /// Name.
    pub name: String,
    /// Shown to people.
    pub display_name: String,
    /// May it administer the server?
    pub admin: bool,
    /// Bytes; none is unlimited.
    pub quota: Option<u64>,
    /// Address for mail; empty if none.
    pub email: String,
    /// May it log in?
    pub enabled: bool,
    /// How many app passwords.
    pub app_passwords: usize,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// An app password; the password itself is not kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppPasswordRow {
    /// Number, for revoking it.
    pub id: u64,
    /// What it is for.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// A public link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkRow {
    /// Number.
    pub id: u64,
    /// What to give away.
    pub url: String,
    /// In whose tree the path is: the owner of the node, or who received it and made the link.
    pub user: String,
    /// Who made it.
    pub made_by: String,
    /// Where the node stands now; none where it is gone.
    pub path: Option<String>,
    /// `read`, `edit`, `drop`, or `upload` where new files may be added but none changed.
    pub permissions: String,
    /// Whether it has a password.
    pub password: bool,
    /// Last day, `YYYY-MM-DD`.
    pub expires: Option<String>,
    /// The owner's note.
    pub label: String,
    /// How often it may be downloaded; none is no bound.
    pub downloads_max: Option<u64>,
    /// How often it was, where there is a bound.
    pub downloads: u64,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// A mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountRow {
    /// Number.
    pub id: u64,
    /// In whose tree.
    pub user: String,
    /// Where it hangs; none where the parent is gone.
    pub path: Option<String>,
    /// Scheme and host of the remote; the rest of its URL is a secret.
    pub remote: String,
    /// The owner there, as far as known.
    pub owner: String,
    /// What the remote is.
    pub vendor: String,
    /// `online`, `offline`, `needs_password`, `withdrawn` or `loop`.
    pub state: String,
    /// What that means and what to do; empty while online.
    pub hint: String,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// What was decided about another server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteRow {
    /// `host[:port]`.
    pub host: String,
    /// SHA-256 of trusted certificates, hexadecimal.
    pub fingerprints: Vec<String>,
    /// How many further authorities are trusted.
    pub authorities: usize,
    /// Whether it may stand in a private network.
    pub allow_private: bool,
}

/// What a scan found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScanRow {
    /// Whose home.
    pub user: String,
    /// New nodes.
    pub added: u64,
    /// Changed nodes.
    pub changed: u64,
    /// Nodes that are gone.
    pub removed: u64,
    /// What could not be taken in, and why.
    pub skipped: Vec<String>,
}

/// How something looks that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, but should be looked at.
    Warning,
    /// It does not work.
    Failed,
}

/// One thing that was checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckRow {
    /// What, for people.
    pub name: String,
    /// How it looks.
    pub health: Health,
    /// What was found, for programs: `ok`, the code of a finding of the doctor, or what was looked at. A code never changes its meaning.
    #[serde(default)]
    pub code: String,
    /// What was found, and what to do.
    pub text: String,
    /// The kind of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl CheckRow {
    /// As it should be.
    pub fn ok(name: impl Into<String>, text: impl Into<String>) -> CheckRow {
        CheckRow { name: name.into(), health: Health::Ok, code: "ok".to_owned(), text: text.into(), reason: None }
    }

    /// To be looked at.
    pub fn warning(name: impl Into<String>, text: impl Into<String>) -> CheckRow {
        let name = name.into();
        CheckRow { health: Health::Warning, code: code_of(&name), name, text: text.into(), reason: None }
    }

    /// Does not work.
    pub fn failed(name: impl Into<String>, text: impl Into<String>) -> CheckRow {
        let name = name.into();
        CheckRow { health: Health::Failed, code: code_of(&name), name, text: text.into(), reason: Some(Reason::Failed) }
    }
}

/// `home of anna` is `home`: what is looked at on this server has one way to be wrong.
fn code_of(name: &str) -> String {
    name.split(" of ").next().unwrap_or_default().to_lowercase().replace(' ', "-")
}
