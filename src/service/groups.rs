//! Groups: who belongs to them, and who administers their members.
//!
//! **Invariant**: memory follows the rows. A change is durable before anybody sees it.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::{Mutex, Notify};

use super::Refusal;
use super::accounts::usable_display_name;
use super::refusal::Result;
use crate::domain::{Group, GroupName, User, UserName};
use crate::limits::{GROUP_MEMBERS_MAX, GROUPS_MAX};
use crate::store::{Batch, Record as _, Store};

/// What the interfaces of clients call the administrators, who are no group here: no group may have this name, in any case.
pub const ADMIN_GROUP: &str = "admin";

/// What is done after a group changed or went, before that is answered.
type Observer = Box<dyn Fn(GroupName) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// The groups of a server, in memory.
pub struct Groups {
    store: Store,
    observer: OnceLock<Observer>,
    /// Rung after each change.
    changed: Notify,
    /// By folded name.
    groups: RwLock<HashMap<String, Arc<Group>>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Groups {
    /// Reads the groups.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store) -> Result<Groups> {
        let groups = store.list::<Group>()?.into_iter().map(|group| (group.name.folded(), Arc::new(group))).collect();
        Ok(Groups { store, observer: OnceLock::new(), changed: Notify::new(), groups: RwLock::new(groups), changing: Mutex::default() })
    }

    /// Calls `observer` after each change of a group; set once.
    pub(super) fn observe(&self, observer: Observer) {
        let _known = self.observer.set(observer);
    }

    /// Waits for the next change of a group; for one who waits.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn tell(&self, name: &GroupName) -> Result<()> {
        self.changed.notify_one();
        match self.observer.get() {
            Some(observer) => observer(name.clone()).await,
            None => Ok(()),
        }
    }

    /// The group of a name, in any case.
    pub fn get(&self, name: &GroupName) -> Option<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(&name.folded()).cloned()
    }

    /// The group of a name.
    ///
    /// # Errors
    /// A refusal that names it.
    pub fn require(&self, name: &str) -> Result<Arc<Group>> {
        let found = GroupName::parse(name).ok().and_then(|name| self.get(&name));
        found.ok_or_else(|| Refusal::not_found(format!("there is no group `{name}`; `causeway group list` shows which there are")))
    }

    /// Every group, by name.
    pub fn list(&self) -> Vec<Arc<Group>> {
        let mut all: Vec<_> = self.groups.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|group| group.name.folded());
        all
    }

    /// The groups that a user belongs to, by name.
    pub fn groups_of(&self, user: &UserName) -> Vec<Arc<Group>> {
        self.list().into_iter().filter(|group| group.members.contains(user)).collect()
    }

    /// The groups whose members a user administers, by name.
    pub fn subadmin_of(&self, user: &UserName) -> Vec<Arc<Group>> {
        self.list().into_iter().filter(|group| group.subadmins.contains(user)).collect()
    }

    /// Whether a user belongs to a group; nobody belongs to one that is not there.
    pub fn is_member(&self, group: &GroupName, user: &UserName) -> bool {
        self.get(group).is_some_and(|group| group.members.contains(user))
    }

    /// Makes a group without members.
    ///
    /// # Errors
    /// Where the name is taken or cannot be used.
    pub async fn create(&self, name: &str, display_name: Option<String>) -> Result<Arc<Group>> {
        let name = GroupName::parse(name).map_err(|error| Refusal::usage(error.to_string()))?;
        let display_name = display_name.filter(|shown| !shown.is_empty()).unwrap_or_else(|| name.to_string());
        usable_display_name(&display_name)?;
        if name.as_str().eq_ignore_ascii_case(ADMIN_GROUP) {
            return Err(Refusal::refused(format!("`{name}` is what clients call the administrators; choose another name")));
        }
        let _changing = self.changing.lock().await;
        if self.get(&name).is_some() {
            return Err(Refusal::refused(format!("there is a group `{name}` already")));
        }
        if self.list().len() >= GROUPS_MAX {
            return Err(Refusal::refused(format!("there are {GROUPS_MAX} groups already")));
        }
        let group = Group { name, display_name, members: BTreeSet::new(), subadmins: BTreeSet::new() };
        self.store.commit(Batch::new().absent::<Group>(&group.key()).put(&group)).await?;
        tracing::info!(group.id = %group.name, "a group was made");
        Ok(self.publish(group))
    }

    /// Removes a group; its members stay.
    ///
    /// # Errors
    /// Where there is no such group.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let group = self.require(name)?;
        self.store.commit(Batch::new().delete::<Group>(&group.key())).await?;
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&group.name.folded());
        tracing::info!(group.id = %group.name, "a group was removed");
        self.tell(&group.name).await
    }

    /// Shows a group by another name.
    ///
    /// # Errors
    /// Where there is no such group.
    pub async fn set_display_name(&self, name: &str, display_name: String) -> Result<Arc<Group>> {
        usable_display_name(&display_name)?;
        self.change(name, |group| {
            group.display_name = display_name;
            Ok(())
        })
        .await
    }

    /// Takes a user into a group; fine if already in it.
    ///
    /// # Errors
    /// Where there is no such group, or it is full.
    pub async fn add_member(&self, name: &str, user: &User) -> Result<Arc<Group>> {
        self.change(name, |group| added(&mut group.members, &user.name)).await
    }

    /// Takes a user out of a group; fine if not in it.
    ///
    /// # Errors
    /// Where there is no such group.
    pub async fn remove_member(&self, name: &str, user: &User) -> Result<Arc<Group>> {
        self.change(name, |group| {
            group.members.remove(&user.name);
            Ok(())
        })
        .await
    }

    /// Lets a user administer the members of a group; fine if so already.
    ///
    /// # Errors
    /// Where there is no such group, or too many do.
    pub async fn add_subadmin(&self, name: &str, user: &User) -> Result<Arc<Group>> {
        self.change(name, |group| added(&mut group.subadmins, &user.name)).await
    }

    /// Ends that a user administers the members of a group; fine if it was not so.
    ///
    /// # Errors
    /// Where there is no such group.
    pub async fn remove_subadmin(&self, name: &str, user: &User) -> Result<Arc<Group>> {
        self.change(name, |group| {
            group.subadmins.remove(&user.name);
            Ok(())
        })
        .await
    }

    /// Takes a user who goes out of every group, all at once.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn forget_user(&self, user: &UserName) -> Result<()> {
        let _changing = self.changing.lock().await;
        let touched = self.list().into_iter().filter(|group| group.members.contains(user) || group.subadmins.contains(user));
        let changed: Vec<Group> = touched
            .map(|group| {
                let mut group = Group::clone(&group);
                group.members.remove(user);
                group.subadmins.remove(user);
                group
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.store.commit(changed.iter().fold(Batch::new(), Batch::put)).await?;
        let mut done = Ok(());
        for group in changed {
            let group = self.publish(group);
            // What fails for one group must not keep the user in the others.
            done = done.and(self.tell(&group.name).await);
        }
        done
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Group) -> Result<()>) -> Result<Arc<Group>> {
        let _changing = self.changing.lock().await;
        let group = self.require(name)?;
        let mut changed = Group::clone(&group);
        change(&mut changed)?;
        if changed == *group {
            // Somebody may repeat what could not be followed everywhere.
            self.tell(&group.name).await?;
            return Ok(group);
        }
        self.store.commit(Batch::new().present::<Group>(&changed.key()).put(&changed)).await?;
        tracing::info!(group.id = %changed.name, "a group was changed");
        let changed = self.publish(changed);
        self.tell(&changed.name).await?;
        Ok(changed)
    }

    fn publish(&self, group: Group) -> Arc<Group> {
        let group = Arc::new(group);
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(group.name.folded(), Arc::clone(&group));
        group
    }
}

/// A group is one row, which has to stay short.
fn added(users: &mut BTreeSet<UserName>, user: &UserName) -> Result<()> {
    if users.len() >= GROUP_MEMBERS_MAX && !users.contains(user) {
        return Err(Refusal::refused(format!("a group takes {GROUP_MEMBERS_MAX} users at most")));
    }
    users.insert(user.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::{Secret, SpaceId};
    use crate::store::Options;

    #[tokio::test]
    async fn f7_what_could_not_be_followed_is_followed_by_the_same_command_and_stops_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups::open(Store::open(&folder.path().join("store"), Options::default()).unwrap()).unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&told);
        groups.observe(Box::new(move |name| {
            heard.lock().unwrap().push(name.to_string());
            Box::pin(async { Err(Refusal::failed("a tree cannot be written")) })
        }));
        let heard = || std::mem::take(&mut *told.lock().unwrap());
        let name = UserName::parse("bob").unwrap();
        let (display_name, password_hash) = (String::new(), Secret::new(""));
        let bob = User { name, space: SpaceId(1), display_name, admin: false, quota: None, password_hash, created: 0 };
        for group in ["one", "two"] {
            groups.create(group, None).await.unwrap();
            groups.add_member(group, &bob).await.unwrap_err();
        }
        groups.remove_member("one", &bob).await.unwrap_err();
        heard();
        groups.remove_member("one", &bob).await.unwrap_err();
        assert_eq!(heard(), ["one"]);
        groups.add_member("one", &bob).await.unwrap_err();
        heard();
        groups.forget_user(&bob.name).await.unwrap_err();
        assert_eq!(heard(), ["one", "two"]);
        assert!(groups.groups_of(&bob.name).is_empty());
    }
}
