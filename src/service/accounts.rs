//! Accounts: who they are, how they prove it, and how they go.
//!
//! **Invariant**: unknown name and wrong password take the same work, count the same and answer the same.

mod profiles;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::passwords::{Passwords, Verdict};
use super::refusal::Result;
use super::sessions::Sessions;
use super::throttle::Throttle;
use super::{Reason, Refusal, random_password};
pub use profiles::{Disabled, usable_display_name, usable_email};

use crate::domain::{AppPassword, Clock, Profile, Secret, SpaceId, User, UserName};
use crate::limits::{APP_PASSWORDS_MAX, PASSWORD_BYTES_MAX};
use crate::space::Spaces;
use crate::store::{Batch, Record, Store, Table};

/// The accounts of a server, in memory as far as requests need them.
pub struct Accounts {
    store: Store,
    spaces: Spaces,
    clock: Clock,
    passwords: Arc<Passwords>,
    throttle: Arc<Throttle>,
    users: RwLock<HashMap<String, Arc<User>>>,
    app_passwords: RwLock<HashMap<[u8; 32], AppPassword>>,
    disabled: Disabled,
    sessions: Arc<Sessions>,
    /// One change of accounts at a time.
    changing: Mutex<()>,
}

/// What decides who gets in, whichever way. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Which passwords are right.
    pub passwords: Arc<Passwords>,
    /// Who must wait.
    pub throttle: Arc<Throttle>,
    /// Which accounts are closed.
    pub disabled: Disabled,
    /// Who is logged in with a browser.
    pub sessions: Arc<Sessions>,
}

/// A login that a request tries.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The name.
    pub name: &'a str,
    /// Account password or app password.
    pub password: &'a Secret,
    /// From where.
    pub address: IpAddr,
}

/// A login that succeeded.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub user: Arc<User>,
    /// The number of the app password, where it was one and not the account's password.
    pub app_password: Option<u64>,
}

/// Why a login fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Name or password are wrong.
    Wrong,
    /// Too many failures: wait that long.
    Throttled(Duration),
    /// Too many logins at once: try again.
    Busy,
}

/// What a new account is to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its name.
    pub name: UserName,
    /// Whether it may administer the server.
    pub admin: bool,
    /// Shown to people; the name if empty.
    pub display_name: String,
    /// Bytes; none is unlimited.
    pub quota: Option<u64>,
    /// Its password.
    pub password: Secret,
}

/// The number of the last home: homes that are gone leave their numbers unused.
#[derive(Debug, Serialize, Deserialize)]
struct LastSpace(SpaceId);

const LAST_SPACE: &[u8] = b"last-space";

impl Record for LastSpace {
    const TABLE: Table = Table::Settings;
    fn key(&self) -> Vec<u8> {
        LAST_SPACE.to_vec()
    }
}

impl Accounts {
    /// Reads the accounts and registers their homes.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, spaces: Spaces, clock: Clock, gate: Gate) -> Result<Accounts> {
        let Gate { passwords, throttle, disabled, sessions } = gate;
        let users: Vec<User> = store.list()?;
        for user in &users {
            spaces.register(user.space, user.name.clone(), user.quota)?;
        }
        let users = users.into_iter().map(|user| (user.name.folded(), Arc::new(user))).collect();
        let app_passwords = store.list::<AppPassword>()?.into_iter().map(|app| (app.sha256, app)).collect();
        Ok(Accounts {
            store,
            spaces,
            clock,
            passwords,
            throttle,
            users: RwLock::new(users),
            app_passwords: RwLock::new(app_passwords),
            disabled,
            sessions,
            changing: Mutex::default(),
        })
    }

    /// Checks a name and a password.
    ///
    /// # Errors
    /// [`Denied`], the same for an unknown name and a wrong password.
    pub async fn login(&self, attempt: Attempt<'_>) -> Result<Arc<User>, Denied> {
        Ok(self.authenticate(attempt).await?.user)
    }

    /// Checks a name and a password, for callers to whom it matters which password it was.
    ///
    /// # Errors
    /// As [`Accounts::login`].
    pub async fn authenticate(&self, attempt: Attempt<'_>) -> Result<Session, Denied> {
        if let Some(wait) = self.throttle.address_waits(attempt.address) {
            return Err(Denied::Throttled(wait));
        }
        let subject = format!("user:{}", attempt.name.chars().take(64).collect::<String>().to_ascii_lowercase());
        // Somebody who is disabled is as unknown as somebody who is not there.
        let user = UserName::parse(attempt.name).ok().and_then(|name| self.get(&name)).filter(|user| self.is_enabled(&user.name));
        if let Some(user) = &user
            && let Some(id) = self.app_password(user, attempt.password)
        {
            return Ok(Session { user: Arc::clone(user), app_password: Some(id) });
        }
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        // Who logged in lately goes on while others guess at the account from elsewhere.
        let waits = self.throttle.subject_waits(&subject);
        if let Some(wait) = waits
            && !stored.as_ref().is_some_and(|stored| self.passwords.remembered(&subject, stored, attempt.password))
        {
            return Err(Denied::Throttled(wait));
        }
        match self.passwords.verify(&subject, stored.as_ref(), attempt.password).await {
            Verdict::Right => user.map(|user| Session { user, app_password: None }).ok_or(Denied::Wrong),
            Verdict::StillWrong => Err(Denied::Wrong),
            Verdict::Wrong => {
                self.throttle.failed(attempt.address, &subject);
                tracing::info!(client.address = %attempt.address, "a login failed");
                Err(Denied::Wrong)
            }
            Verdict::Busy => Err(Denied::Busy),
        }
    }

    fn app_password(&self, user: &User, password: &Secret) -> Option<u64> {
        let digest: [u8; 32] = Sha256::digest(password.expose().as_bytes()).into();
        let all = self.app_passwords.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&digest).filter(|app| app.user == user.name).map(|app| app.id)
    }

    /// Who is logged in with a browser.
    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The account of a name, in any case.
    pub fn get(&self, name: &UserName) -> Option<Arc<User>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(&name.folded()).cloned()
    }

    /// The account of a name.
    ///
    /// # Errors
    /// A refusal that names it.
    pub fn require(&self, name: &str) -> Result<Arc<User>> {
        let found = UserName::parse(name).ok().and_then(|name| self.get(&name));
        found.ok_or_else(|| Refusal::not_found(format!("there is no user `{name}`; `causeway user list` shows who there is")))
    }

    /// Every account, by name.
    pub fn list(&self) -> Vec<Arc<User>> {
        let mut all: Vec<_> = self.users.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|user| user.name.folded());
        all
    }

    /// How many app passwords an account has.
    pub fn app_passwords(&self, user: &UserName) -> usize {
        self.app_passwords.read().unwrap_or_else(PoisonError::into_inner).values().filter(|app| app.user == *user).count()
    }

    /// Whether an account can have one more.
    pub fn has_room_for_app_password(&self, user: &UserName) -> bool {
        self.app_passwords(user) < APP_PASSWORDS_MAX
    }

    /// The app passwords of an account, oldest first; the passwords themselves are not kept.
    pub fn list_app_passwords(&self, user: &UserName) -> Vec<AppPassword> {
        let all = self.app_passwords.read().unwrap_or_else(PoisonError::into_inner);
        let mut own: Vec<_> = all.values().filter(|app| app.user == *user).cloned().collect();
        own.sort_by_key(|app| app.id);
        own
    }

    /// Whether anybody may administer the server.
    pub fn has_admin(&self) -> bool {
        self.users.read().unwrap_or_else(PoisonError::into_inner).values().any(|user| user.admin)
    }

    /// Makes an account and its home; files that already lie there are taken in.
    ///
    /// # Errors
    /// Where the name is taken, or the password cannot be used.
    pub async fn add(&self, new: NewUser) -> Result<Arc<User>> {
        usable_password(&new.password)?;
        let _changing = self.changing.lock().await;
        if self.get(&new.name).is_some() {
            return Err(Refusal::refused(format!("there is a user `{}` already", new.name)));
        }
        let password_hash = self.passwords.hash(new.password).await?;
        let space = self.next_space()?;
        let display_name = if new.display_name.is_empty() { new.name.to_string() } else { new.display_name };
        usable_display_name(&display_name)?;
        let user =
            User { name: new.name, space, display_name, admin: new.admin, quota: new.quota, password_hash, created: self.clock.now() };
        let (spaces, name, quota) = (self.spaces.clone(), user.name.clone(), user.quota);
        blocking(move || spaces.create(space, &name)).await?;
        self.store.commit(Batch::new().absent::<User>(&user.key()).put(&user).put(&LastSpace(space))).await?;
        let (spaces, name) = (self.spaces.clone(), user.name.clone());
        blocking(move || spaces.register(space, name, quota)).await?;
        tracing::info!(user.id = %user.name, "a user was added");
        Ok(self.publish(user))
    }

    /// Whether a new account of this name would take in files that lie in the data folder already.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub async fn would_adopt(&self, name: &UserName) -> Result<bool> {
        let (spaces, name) = (self.spaces.clone(), name.clone());
        blocking(move || spaces.holds_files(&name)).await
    }

    fn next_space(&self) -> Result<SpaceId> {
        let last = self.store.get::<LastSpace>(LAST_SPACE)?.map_or(0, |LastSpace(SpaceId(last))| last);
        let used = self.list().iter().map(|user| user.space.0).max().unwrap_or(0);
        Ok(SpaceId(last.max(used).saturating_add(1)))
    }

    fn publish(&self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.users.write().unwrap_or_else(PoisonError::into_inner).insert(user.name.folded(), Arc::clone(&user));
        user
    }

    /// Gives an account a new password; the old one stops at once, and so do the sessions of browsers.
    ///
    /// # Errors
    /// Where there is no such account, or the password cannot be used.
    pub async fn set_password(&self, name: &str, password: Secret) -> Result<()> {
        usable_password(&password)?;
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let changed = User { password_hash: self.passwords.hash(password).await?, ..User::clone(&user) };
        self.store.commit(self.sessions.end_with(&user.name, Batch::new().put(&changed))).await?;
        self.publish(changed);
        tracing::info!(user.id = %user.name, "a password was changed");
        Ok(())
    }

    /// Makes an app password: a random one for one device, shown this once.
    ///
    /// # Errors
    /// Where there is no such account, or it has too many.
    pub async fn add_app_password(&self, name: &str, label: String) -> Result<Secret> {
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        if !self.has_room_for_app_password(&user.name) {
            return Err(Refusal::refused(format!("`{name}` has {APP_PASSWORDS_MAX} app passwords already")));
        }
        let password = random_password()?;
        let app = AppPassword {
            id: self.store.next_id()?,
            user: user.name.clone(),
            label,
            sha256: Sha256::digest(password.expose().as_bytes()).into(),
            created: self.clock.now(),
        };
        self.store.commit(Batch::new().put(&app)).await?;
        self.app_passwords.write().unwrap_or_else(PoisonError::into_inner).insert(app.sha256, app);
        tracing::info!(user.id = %user.name, "an app password was made");
        Ok(password)
    }

    /// Revokes an app password; it stops at once.
    ///
    /// # Errors
    /// Where the account has no such password.
    pub async fn revoke_app_password(&self, name: &str, id: u64) -> Result<AppPassword> {
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let own = self.list_app_passwords(&user.name).into_iter().find(|app| app.id == id);
        let missing = || Refusal::not_found(format!("`{name}` has no app password {id}; `causeway user app-passwords {name}` lists them"));
        let app = own.ok_or_else(missing)?;
        // Should the store fail now, the password works again after a restart, and the caller is told that it was not done.
        self.app_passwords.write().unwrap_or_else(PoisonError::into_inner).remove(&app.sha256);
        self.store.commit(Batch::new().delete::<AppPassword>(&app.key())).await?;
        tracing::info!(user.id = %user.name, "an app password was revoked");
        Ok(app)
    }

    /// Removes an account with its app passwords. The home goes to `.causeway/removed`, or is deleted. Links and mounts are the
    /// caller's to remove before.
    ///
    /// # Errors
    /// Where there is no such account, or the home cannot be moved.
    pub async fn remove(&self, name: &str, purge: bool) -> Result<Option<PathBuf>> {
        let _changing = self.changing.lock().await;
        let user = self.require(name)?;
        let gone: Vec<AppPassword> = {
            let all = self.app_passwords.read().unwrap_or_else(PoisonError::into_inner);
            all.values().filter(|app| app.user == user.name).cloned().collect()
        };
        let batch = Batch::new().delete::<User>(&user.key()).delete::<Profile>(&user.key());
        let batch = gone.iter().fold(batch, |batch, app| batch.delete::<AppPassword>(&app.key()));
        // Nobody may log in any more before the home goes.
        self.users.write().unwrap_or_else(PoisonError::into_inner).remove(&user.name.folded());
        self.app_passwords.write().unwrap_or_else(PoisonError::into_inner).retain(|_, app| app.user != user.name);
        self.store.commit(self.sessions.end_with(&user.name, batch)).await?;
        self.disabled.set(&user.name, false);
        let (spaces, space) = (self.spaces.clone(), user.space);
        let moved = blocking(move || spaces.remove(space, purge)).await?;
        tracing::info!(user.id = %user.name, "a user was removed");
        Ok(moved)
    }
}

/// Work on the disk, on a thread that may wait for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> crate::domain::Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|gone| Refusal::failed(gone.to_string()))?;
    Ok(done?)
}

/// A password that a person may choose.
///
/// # Errors
/// Where it is empty or too long.
pub fn usable_password(password: &Secret) -> Result<()> {
    if password.is_empty() {
        return Err(Refusal::new(Reason::Usage, "the password is empty"));
    }
    if password.expose().len() > PASSWORD_BYTES_MAX {
        return Err(Refusal::new(Reason::Usage, format!("the password is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}
