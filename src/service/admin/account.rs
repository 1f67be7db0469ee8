//! Commands about one account that is there.

use serde::{Deserialize, Serialize};

use super::execute::rfc3339;
use super::{AppPasswordRow, Outcome};
use crate::service::Services;
use crate::service::refusal::Result;

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AccountCommand {
    /// Its app passwords.
    AppPasswords,
    /// The end of an app password.
    Revoke {
        /// Its number.
        id: u64,
    },
    /// Open it, or close it with its links.
    Enable(bool),
    /// Most bytes; none is unlimited.
    Quota(Option<u64>),
    /// Shown to people; empty for the account's own name.
    DisplayName(String),
    /// Address for mail; empty for none.
    Email(String),
}

impl Services {
    /// Does what a command about an account asks for.
    pub(super) async fn account(&self, name: &str, what: AccountCommand) -> Result<Outcome> {
        match what {
            AccountCommand::AppPasswords => {
                let user = self.accounts().require(name)?;
                let own = self.accounts().list_app_passwords(&user.name).into_iter();
                let rows = own.map(|app| AppPasswordRow { id: app.id, label: app.label, created: rfc3339(app.created) });
                Ok(Outcome::AppPasswords(rows.collect()))
            }
            AccountCommand::Revoke { id } => {
                let app = self.accounts().revoke_app_password(name, id).await?;
                Ok(Outcome::Done(format!("app password {} of {name} revoked", app.id)))
            }
            AccountCommand::Enable(enabled) => {
                self.accounts().set_enabled(name, enabled).await?;
                let text = if enabled { "may log in again" } else { "is disabled: logins and links are closed, files and mounts stay" };
                Ok(Outcome::Done(format!("{name} {text}")))
            }
            AccountCommand::Quota(quota) => {
                self.accounts().set_quota(name, quota).await?;
                Ok(Outcome::Done(match quota {
                    Some(bytes) => format!("{name} may keep {bytes} bytes"),
                    None => format!("{name} may keep as much as the disk takes"),
                }))
            }
            AccountCommand::DisplayName(display_name) => {
                self.accounts().set_display_name(name, display_name).await?;
                Ok(Outcome::Done(format!("{name} is shown as {}", self.accounts().require(name)?.display_name)))
            }
            AccountCommand::Email(email) => {
                self.accounts().set_email(name, email).await?;
                Ok(Outcome::Done(format!("address of {name} changed")))
            }
        }
    }

    /// Closes or opens every protocol, or says which.
    pub(super) async fn switch_maintenance(&self, on: Option<bool>) -> Result<Outcome> {
        if let Some(on) = on {
            self.maintenance().set(on).await?;
        }
        Ok(Outcome::Maintenance(self.maintenance().is_on()))
    }
}
