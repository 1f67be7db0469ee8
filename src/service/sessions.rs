//! Sessions of browsers: who logged in on a page, by a cookie that is kept only as a hash.
//!
//! A session ends by logging out, by a change of its account's password, by disabling or removing the account, and with its time: unused for
//! a week, or a month old. **Invariants**: each login makes a new one, whatever cookie came with it (attack L1); the token of its forms is made
//! from its cookie, so that it fits no other session and no restart breaks a page that is open (attack L7).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::accounts::Accounts;
use super::login_flow::{label, unhex};
use super::passwords::hex;
use super::random;
use super::refusal::Result;
use crate::domain::{Clock, Secret, Timestamp, User, UserName};
use crate::limits::{SESSION_AGE_MAX_SECONDS, SESSION_IDLE_MAX_SECONDS, SESSION_USE_GRAIN_SECONDS, SESSIONS_PER_USER_MAX};
use crate::store::{Batch, Record, Store, Table};

type Digest = [u8; 32];

/// One session, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebSession {
    /// Number, for listing and ending.
    pub id: u64,
    /// SHA-256 of the cookie.
    digest: Digest,
    /// Whose.
    pub user: UserName,
    /// SHA-256 of the hash of the password that opened it: with another password it is over, even if it was made while that was changed.
    password: Digest,
    /// What the browser calls itself.
    pub browser: String,
    /// When it began.
    pub created: Timestamp,
    /// When it was used last, give or take [`SESSION_USE_GRAIN_SECONDS`].
    pub used: Timestamp,
}

impl Record for WebSession {
    const TABLE: Table = Table::WebSessions;
    fn key(&self) -> Vec<u8> {
        self.digest.to_vec()
    }
}

impl WebSession {
    fn is_over(&self, now: Timestamp) -> bool {
        now.saturating_sub(self.created) >= SESSION_AGE_MAX_SECONDS || now.saturating_sub(self.used) >= SESSION_IDLE_MAX_SECONDS
    }

    fn is_of(&self, user: &User) -> bool {
        self.user == user.name && self.password == digest(user.password_hash.expose())
    }
}

/// Who sends a request from a page.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The account.
    pub user: Arc<User>,
    /// What every form of the session's pages carries.
    pub token: Secret,
}

/// The sessions of a server. Accounts end them, pages ask.
pub struct Sessions {
    store: Store,
    clock: Clock,
    table: Mutex<HashMap<Digest, WebSession>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sessions(..)")
    }
}

impl Sessions {
    /// As they were left.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, clock: Clock) -> Result<Sessions> {
        let table = store.list::<WebSession>()?.into_iter().map(|session| (session.digest, session)).collect();
        Ok(Sessions { store, clock, table: Mutex::new(table) })
    }

    /// Begins a session for somebody whose account password was right; the cookie. The session of the cookie that came with the login, and
    /// sessions that are over, end with it; of too many of one account, the one that was used least recently.
    ///
    /// # Errors
    /// Where the store fails, or the machine gives no random bytes.
    pub async fn begin(&self, user: &User, user_agent: &str, old: Option<&str>) -> Result<Secret> {
        let cookie = Secret::new(hex(&random::<32>()?));
        let now = self.clock.now();
        let session = WebSession {
            id: self.store.next_id()?,
            digest: digest(cookie.expose()),
            user: user.name.clone(),
            password: digest(user.password_hash.expose()),
            browser: label(user_agent),
            created: now,
            used: now,
        };
        let ended = {
            let mut table = self.table();
            let mut ended: Vec<Digest> = table.values().filter(|session| session.is_over(now)).map(|session| session.digest).collect();
            ended.extend(old.map(digest).filter(|old| table.contains_key(old)));
            ended.iter().for_each(|over| drop(table.remove(over)));
            let mut own: Vec<&WebSession> = table.values().filter(|other| other.user == user.name).collect();
            own.sort_by_key(|other| (other.used, other.id));
            let surplus = (own.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
            let oldest: Vec<Digest> = own.iter().take(surplus).map(|other| other.digest).collect();
            oldest.iter().for_each(|over| drop(table.remove(over)));
            table.insert(session.digest, session.clone());
            [ended, oldest].concat()
        };
        let stored = self.store.commit(without(Batch::new().put(&session), &ended)).await;
        if let Err(error) = stored {
            self.table().remove(&session.digest);
            return Err(error.into());
        }
        tracing::info!(user.id = %user.name, session.id = session.id, "a session began");
        Ok(cookie)
    }

    /// Who holds a cookie; none where it is unknown or its session is over.
    pub async fn visitor(&self, accounts: &Accounts, cookie: &str) -> Option<Visitor> {
        let now = self.clock.now();
        let found = digest(cookie);
        let session = self.table().get(&found)?.clone();
        let user = accounts.get(&session.user).filter(|user| session.is_of(user) && accounts.is_enabled(&user.name));
        let Some(user) = user.filter(|_user| !session.is_over(now)) else {
            self.end(cookie).await;
            return None;
        };
        if now.saturating_sub(session.used) >= SESSION_USE_GRAIN_SECONDS {
            self.note_use(found, now).await;
        }
        Some(Visitor { user, token: form_token(cookie) })
    }

    /// Writes down that a session is in use; one that was ended meanwhile does not come back by it.
    async fn note_use(&self, found: Digest, now: Timestamp) {
        let used = {
            let mut table = self.table();
            let Some(session) = table.get_mut(&found) else { return };
            session.used = now;
            session.clone()
        };
        if let Err(error) = self.store.commit(Batch::new().present::<WebSession>(&found).put(&used)).await {
            tracing::debug!(%error, session.id = used.id, "the use of a session could not be written down");
        }
    }

    /// Ends the session of a cookie, if there is one.
    pub async fn end(&self, cookie: &str) {
        let Some(session) = self.table().remove(&digest(cookie)) else { return };
        tracing::info!(user.id = %session.user, session.id = session.id, "a session ended");
        // It is over for this process in any case; should the row stay, it is over with its time.
        if let Err(error) = self.store.commit(without(Batch::new(), &[session.digest])).await {
            tracing::warn!(%error, session.id = session.id, "the end of a session could not be written down");
        }
    }

    /// The sessions of an account, the one that was used last first.
    pub fn list(&self, user: &UserName) -> Vec<WebSession> {
        let now = self.clock.now();
        let mut own: Vec<_> = self.table().values().filter(|session| session.user == *user && !session.is_over(now)).cloned().collect();
        own.sort_by_key(|session| std::cmp::Reverse((session.used, session.id)));
        own
    }

    /// Ends all sessions of an account; how many.
    ///
    /// # Errors
    /// Where the store fails: they are over until the next start.
    pub async fn end_all(&self, user: &UserName) -> Result<usize> {
        let ended = self.take_all(user);
        self.store.commit(without(Batch::new(), &ended)).await?;
        tracing::info!(user.id = %user, sessions = ended.len(), "the sessions of a user were ended");
        Ok(ended.len())
    }

    /// Ends all sessions of an account, at once here, and for good with a batch that changes the account.
    pub(super) fn end_with(&self, user: &UserName, batch: Batch) -> Batch {
        without(batch, &self.take_all(user))
    }

    fn take_all(&self, user: &UserName) -> Vec<Digest> {
        let mut table = self.table();
        let own: Vec<Digest> = table.values().filter(|session| session.user == *user).map(|session| session.digest).collect();
        own.iter().for_each(|over| drop(table.remove(over)));
        own
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Digest, WebSession>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a form carries that only a page for the holder of this cookie can know: the cookie cannot be found from it.
pub fn form_token(cookie: &str) -> Secret {
    Secret::new(hex(hmac::sign(&form_key(cookie), FORM).as_ref()))
}

/// Whether a form carried what [`form_token`] makes of a cookie.
pub fn form_fits(cookie: &str, token: &str) -> bool {
    unhex(token).is_some_and(|sent| hmac::verify(&form_key(cookie), FORM, &sent).is_ok())
}

/// A cookie for a form that is shown to somebody who has no session yet.
///
/// # Errors
/// Where the machine gives no random bytes.
pub fn form_cookie() -> Result<Secret> {
    Ok(Secret::new(hex(&random::<32>()?)))
}

/// What is signed: the key is different for each cookie.
const FORM: &[u8] = b"form of a page";

fn form_key(cookie: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes())
}

fn without(batch: Batch, ended: &[Digest]) -> Batch {
    ended.iter().fold(batch, |batch, over| batch.delete::<WebSession>(over))
}

fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_the_token_of_a_form_fits_its_session_alone() {
        let (one, other) = (form_cookie().unwrap(), form_cookie().unwrap());
        let token = form_token(one.expose());
        assert!(form_fits(one.expose(), token.expose()));
        for (cookie, token) in [(other.expose(), token.expose()), (one.expose(), ""), (one.expose(), one.expose()), ("", token.expose())] {
            assert!(!form_fits(cookie, token));
        }
        assert!(!token.expose().contains(one.expose()));
    }

    #[test]
    fn sessions_end_with_their_time() {
        let begun = 1_800_000_000;
        let session = WebSession {
            id: 1,
            digest: [0; 32],
            user: UserName::parse("anna").unwrap(),
            password: [0; 32],
            browser: String::new(),
            created: begun,
            used: begun,
        };
        assert!(!session.is_over(begun + SESSION_IDLE_MAX_SECONDS - 1));
        assert!(session.is_over(begun + SESSION_IDLE_MAX_SECONDS));
        let in_use = |now| WebSession { used: now, ..session.clone() };
        assert!(!in_use(begun + SESSION_AGE_MAX_SECONDS - 1).is_over(begun + SESSION_AGE_MAX_SECONDS - 1));
        assert!(in_use(begun + SESSION_AGE_MAX_SECONDS).is_over(begun + SESSION_AGE_MAX_SECONDS));
    }
}
