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
