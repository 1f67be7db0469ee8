//! What is kept of an account beside its login, and changes of the account that are no change of its password.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::Accounts;
use crate::domain::{Profile, User, UserName};
use crate::limits::{DISPLAY_NAME_BYTES_MAX, EMAIL_BYTES_MAX};
use crate::service::Refusal;
use crate::service::refusal::Result;
use crate::store::{Batch, Record as _, Store};

/// The accounts that are disabled. Accounts decide, links ask; clones share it. What a disabled user shared with others of this server stays
/// open to them: they work on, and whoever ends the account for good decides about its files.
#[derive(Debug, Clone, Default)]
pub struct Disabled(Arc<RwLock<HashSet<String>>>);

impl Disabled {
    /// As it was left.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: &Store) -> Result<Disabled> {
        let disabled = store.list::<Profile>()?.into_iter().filter(|profile| !profile.enabled).map(|profile| profile.user.folded());
        Ok(Disabled(Arc::new(RwLock::new(disabled.collect()))))
    }

    /// Whether an account is disabled.
    pub fn holds(&self, user: &UserName) -> bool {
        let disabled = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !disabled.is_empty() && disabled.contains(&user.folded())
    }

    pub(super) fn set(&self, user: &UserName, disabled: bool) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if disabled {
            all.insert(user.folded());
        } else {
            all.remove(&user.folded());
        }
    }
}

impl Accounts {
    /// Whether an account may log in, and its links open.
    pub fn is_enabled(&self, user: &UserName) -> bool {
        !self.disabled.holds(user)
    }

    /// What is kept of an account beside its login; the defaults where nothing was set.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn profile(&self, user: &UserName) -> Result<Profile> {
        let profile = self.store.get::<Profile>(&crate::store::user_key(user))?;
        Ok(profile.unwrap_or_else(|| Profile { user: user.clone(), email: String::new(), enabled: true }))
    }

    /// Closes an account, with its links, or opens it again. Its files, mounts and app passwords stay; its sessions end.
    ///
    /// # Errors
    /// Where there is no such account.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<()> {
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let profile = Profile { enabled, ..self.profile(&user.name)? };
        self.store.commit(self.sessions.end_with(&user.name, Batch::new().put(&profile))).await?;
        self.disabled.set(&user.name, !enabled);
        tracing::info!(user.id = %user.name, enabled, "a user was enabled or disabled");
        Ok(())
    }

    /// Notes the e-mail address of an account; empty for none.
    ///
    /// # Errors
    /// Where there is no such account, or this is no address.
    pub async fn set_email(&self, name: &str, email: String) -> Result<()> {
        usable_email(&email)?;
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let profile = Profile { email, ..self.profile(&user.name)? };
        self.store.commit(Batch::new().put(&profile)).await?;
        Ok(())
    }

    /// Shows an account by another name; empty for its own.
    ///
    /// # Errors
    /// Where there is no such account, or the name cannot be shown.
    pub async fn set_display_name(&self, name: &str, display_name: String) -> Result<()> {
        self.change(name, |user| {
            user.display_name = if display_name.is_empty() { user.name.to_string() } else { display_name };
            usable_display_name(&user.display_name)
        })
        .await
    }

    /// Sets the most bytes of a home; none is unlimited. What is there already stays.
    ///
    /// # Errors
    /// Where there is no such account.
    pub async fn set_quota(&self, name: &str, quota: Option<u64>) -> Result<()> {
        let space = self.require(name)?.space;
        self.change(name, |user| {
            user.quota = quota;
            Ok(())
        })
        .await?;
        if let Some(home) = self.spaces.get(space) {
            home.set_quota(quota);
        }
        Ok(())
    }

    /// Lets an account administer the server, or ends that.
    ///
    /// # Errors
    /// Where there is no such account.
    pub async fn set_admin(&self, name: &str, admin: bool) -> Result<()> {
        self.change(name, |user| {
            user.admin = admin;
            Ok(())
        })
        .await
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut User) -> Result<()>) -> Result<()> {
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let mut changed = User::clone(&user);
        change(&mut changed)?;
        if changed == *user {
            return Ok(());
        }
        self.store.commit(Batch::new().present::<User>(&changed.key()).put(&changed)).await?;
        tracing::info!(user.id = %changed.name, "a user was changed");
        self.publish(changed);
        Ok(())
    }
}

/// A name that is shown to people, and stands in one line of a page.
///
/// # Errors
/// Where it is empty, too long, or holds what cannot be printed.
pub fn usable_display_name(text: &str) -> Result<()> {
    if text.is_empty() || text.len() > DISPLAY_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::usage(format!("a display name is 1 to {DISPLAY_NAME_BYTES_MAX} bytes of printable text")));
    }
    Ok(())
}

/// An address, or nothing. No line break in it can end up in a header of a mail (attack L10).
///
/// # Errors
/// Where it is neither.
pub fn usable_email(text: &str) -> Result<()> {
    let plain = text.len() <= EMAIL_BYTES_MAX
        && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || "<>,;\"".contains(letter));
    let parts = text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !name.contains('@'));
    if text.is_empty() || (plain && parts) { Ok(()) } else { Err(Refusal::usage("this is no e-mail address")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l10_addresses_are_one_word_with_an_at() {
        for good in ["", "anna@example.org", "anna+files@münchen.example"] {
            assert!(usable_email(good).is_ok(), "{good}");
        }
        for bad in [
            "anna",
            "@",
            "anna@",
            "@example.org",
            "a b@c",
            "a@b\r\nBcc: x@y",
            "a@b, c@d",
            "<a@b>",
            "a@b@c",
            &format!("{}@b", "x".repeat(300)),
        ] {
            assert!(usable_email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_for_people_are_one_printable_line() {
        assert!(usable_display_name("Anna Söhne").is_ok());
        for bad in ["", "a\nb", "\u{0}", &"x".repeat(DISPLAY_NAME_BYTES_MAX + 1)] {
            assert!(usable_display_name(bad).is_err(), "{bad:?}");
        }
    }
}
