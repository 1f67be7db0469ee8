//! Does what commands ask for.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, NaiveDate, NaiveTime};

use super::{Command, LinkRow, LinkTerms, MountRow, Outcome, ScanRow, UserRow};
use crate::domain::{Link, LinkId, Mount, MountId, Permissions, Timestamp, TreePath, User, UserName};
use crate::service::accounts::NewUser;
use crate::service::link_details::DetailChange;
use crate::service::refusal::Result;
use crate::service::sharing::{LinkChange, NewLink, permissions_named, permissions_word};
use crate::service::{Refusal, Services};

impl Services {
    /// Does what a command asks for.
    ///
    /// # Errors
    /// A refusal in plain words, with what to do about it.
    pub async fn execute(&self, command: Command) -> Result<Outcome> {
        match command {
            Command::Ping => Ok(Outcome::Done(self.store().instance_id().to_owned())),
            Command::UserAdd { name, admin, display_name, quota, password } => {
                let name = UserName::parse(&name).map_err(|error| Refusal::usage(error.to_string()))?;
                let new = NewUser { name, admin, display_name: display_name.unwrap_or_default(), quota, password };
                let user = self.accounts().add(new).await?;
                self.setup_code().map_err(|error| Refusal::failed(error.to_string()))?;
                Ok(Outcome::Done(format!("user {} added", user.name)))
            }
            Command::UserList => Ok(Outcome::Users(self.accounts().list().iter().map(|user| self.user_row(user)).collect::<Result<_>>()?)),
            Command::UserPassword { name, password } => {
                self.accounts().set_password(&name, password).await?;
                Ok(Outcome::Done(format!("password of {name} changed")))
            }
            Command::UserAppPassword { name, label } => Ok(Outcome::Secret(self.accounts().add_app_password(&name, label).await?)),
            Command::Account { name, what } => self.account(&name, what).await,
            Command::Maintenance { on } => self.switch_maintenance(on).await,
            Command::UserRemove { name, purge } => self.remove_user(&name, purge).await.map(|moved| removed(&name, moved)),
            Command::Trash(command) => self.trash(command).await,
            Command::LinkCreate { user, path, terms } => self.create_link(&user, &path, terms).await,
            Command::LinkList { user } => self.list_links(&user).await,
            Command::LinkUpdate { id, terms } => self.update_link(&id, terms).await,
            Command::LinkRemove { id } => self.remove_link(&id).await,
            Command::MountAdd { user, url, name, password } => {
                let user = self.accounts().require(&user)?;
                let mount = self.mounting().add(&user, &url, name.as_deref(), password).await?;
                Ok(Outcome::Mount(self.mount_row(&mount)))
            }
            Command::MountList { user } => {
                let user = self.accounts().require(&user)?;
                Ok(Outcome::Mounts(self.mounting().list(&user).iter().map(|mount| self.mount_row(mount)).collect()))
            }
            Command::MountRetry { id } => self.after(&id, |mount| self.mounting().retry(mount)).await,
            Command::MountPassword { id, password } => self.after(&id, |mount| self.mounting().set_password(mount, password)).await,
            Command::MountRename { id, name } => self.after(&id, |mount| self.mounting().rename(mount, name)).await,
            Command::MountRemove { id } => {
                let mount = self.mount_of(&id)?;
                self.mounting().remove(mount).await?;
                Ok(Outcome::Done(format!("mount {} removed; the remote keeps everything", mount.0)))
            }
            Command::RemoteList => Ok(Outcome::Remotes(self.mounting().trusts()?)),
            Command::RemoteTrust { host, fingerprint, authorities } => {
                self.mounting().trust(&host, fingerprint.as_deref(), authorities).await?;
                Ok(Outcome::Done(format!("{host} is trusted from now on")))
            }
            Command::RemoteAllowPrivate { host } => {
                self.mounting().allow_private(&host).await?;
                Ok(Outcome::Done(format!("{host} may stand in a private network from now on")))
            }
            Command::RemoteRemove { host } => {
                self.mounting().forget(&host).await?;
                Ok(Outcome::Done(format!("nothing is decided about {host} any more")))
            }
            Command::Servers(command) => Box::pin(self.servers(command)).await,
            Command::RemoteForgetKey { host } => self.forget_keys(&host).await,
            Command::Share(command) => self.execute_share(command).await,
            Command::Invite(command) => self.execute_invite(command).await,
            Command::Contact(command) => self.execute_contact(command).await,
            Command::Group(command) => self.execute_group(command).await,
            Command::Sharing { set } => self.rules(set).await,
            Command::Scan { user } => self.scan(user.as_deref()).await,
            Command::Doctor { url: Some(url), password } => Ok(Outcome::Checks(Box::pin(self.check_link(&url, password)).await)),
            Command::Doctor { url: None, .. } => Ok(Outcome::Checks(self.check_server().await)),
            Command::Backup { folder } => {
                self.backup(Path::new(&folder)).await?;
                Ok(Outcome::Done(format!("rows and keys are in {folder}; back up the users' folders beside it")))
            }
        }
    }

    async fn forget_keys(&self, host: &str) -> Result<Outcome> {
        self.federation().forget_keys(host).await?;
        Ok(Outcome::Done(format!("the keys of {host} are forgotten; its next signed call brings new ones")))
    }

    async fn rules(&self, set: Option<(String, String)>) -> Result<Outcome> {
        if let Some((key, value)) = set {
            let closed = self.mounting().closed();
            self.policies().set(&key, &value).await?;
            self.mounting().look_again(&closed);
        }
        Ok(Outcome::Rules(self.policies().rules()))
    }

    async fn after<F>(&self, id: &str, change: impl FnOnce(MountId) -> F) -> Result<Outcome>
    where
        F: Future<Output = Result<Mount>>,
    {
        let mount = change(self.mount_of(id)?).await?;
        Ok(Outcome::Mount(self.mount_row(&mount)))
    }

    fn user_row(&self, user: &User) -> Result<UserRow> {
        let profile = self.accounts().profile(&user.name)?;
        Ok(UserRow {
            name: user.name.to_string(),
            display_name: user.display_name.clone(),
            admin: user.admin,
            quota: user.quota,
            email: profile.email,
            enabled: profile.enabled,
            app_passwords: self.accounts().app_passwords(&user.name),
            created: rfc3339(user.created),
        })
    }

    /// Removes an account with its links, its mounts, its shares in both directions and its places in groups. Returns where its files are, unless they are purged.
    ///
    /// # Errors
    /// Where there is no such account, or its home cannot be moved.
    pub async fn remove_user(&self, name: &str, purge: bool) -> Result<Option<PathBuf>> {
        let user = self.accounts().require(name)?;
        for link in self.sharing().list(&user) {
            self.sharing().remove_if_there(link.id).await?;
        }
        for mount in self.mounting().list(&user) {
            self.mounting().remove(mount.id).await?;
        }
        self.shares().forget_user(&user).await?;
        self.federation().forget_people_of(&user).await?;
        self.groups().forget_user(&user.name).await?;
        self.accounts().remove(name, purge).await
    }

    async fn create_link(&self, user: &str, path: &str, terms: LinkTerms) -> Result<Outcome> {
        let owner = self.accounts().require(user)?;
        let new = NewLink {
            path: tree_path(path)?,
            permissions: terms.permissions.as_deref().map_or(Ok(Permissions::READ), permissions_named)?,
            password: terms.password.filter(|password| !password.is_empty()),
            expires: terms.expires.as_deref().filter(|day| !day.is_empty()).map(end_of).transpose()?,
            label: terms.label.unwrap_or_default(),
        };
        let link = self.sharing().create(&owner, new).await?;
        self.bound_downloads(&link, terms.downloads).await?;
        Ok(Outcome::Link(self.link_row(&link, &owner).await?))
    }

    async fn bound_downloads(&self, link: &Link, most: Option<u64>) -> Result<()> {
        let Some(most) = most else { return Ok(()) };
        let change = DetailChange { downloads_max: Some((most > 0).then_some(most)), ..DetailChange::default() };
        self.sharing().details().change(link.id, change).await.map(drop)
    }

    async fn list_links(&self, user: &str) -> Result<Outcome> {
        let owner = self.accounts().require(user)?;
        self.sharing().sweep().await?;
        let mut rows = Vec::new();
        for link in self.sharing().list(&owner) {
            rows.push(self.link_row(&link, &owner).await?);
        }
        Ok(Outcome::Links(rows))
    }

    async fn update_link(&self, id: &str, terms: LinkTerms) -> Result<Outcome> {
        let link = self.link_of(id).await?;
        let change = LinkChange {
            permissions: terms.permissions.as_deref().map(permissions_named).transpose()?,
            password: terms.password.map(|password| (!password.is_empty()).then_some(password)),
            expires: terms.expires.map(|day| if day.is_empty() { Ok(None) } else { end_of(&day).map(Some) }).transpose()?,
            label: terms.label,
        };
        let link = self.sharing().update(link, change).await?;
        self.bound_downloads(&link, terms.downloads).await?;
        let maker = self.accounts().require(link.shared_by().as_str())?;
        Ok(Outcome::Link(self.link_row(&link, &maker).await?))
    }

    async fn remove_link(&self, id: &str) -> Result<Outcome> {
        let link = self.link_of(id).await?;
        self.sharing().remove(link).await?;
        Ok(Outcome::Done(format!("link {} removed", link.0)))
    }

    /// What is shown of a link to a user whom it concerns.
    async fn link_row(&self, link: &Link, user: &User) -> Result<LinkRow> {
        let details = self.sharing().details().get(link.id);
        Ok(LinkRow {
            id: link.id.0,
            url: format!("{}/s/{}", self.options().public_url, link.token.expose()),
            user: user.name.to_string(),
            made_by: link.shared_by().to_string(),
            path: self.sharing().path_for(user, link).await?.map(|path| path.to_string()),
            permissions: permissions_word(link.permissions).to_owned(),
            password: link.password_hash.is_some(),
            expires: link.expires.and_then(last_day),
            label: link.label.clone(),
            downloads_max: details.downloads_max,
            downloads: details.downloads,
            created: rfc3339(link.created),
        })
    }

    /// A link by number or by the unique `USER:/PATH`.
    async fn link_of(&self, id: &str) -> Result<LinkId> {
        if let Ok(number) = id.parse() {
            let known = self.sharing().get(LinkId(number));
            return known.map(|link| link.id).ok_or_else(|| Refusal::not_found(format!("there is no link {id}")));
        }
        let (user, path) = named(id)?;
        let owner = self.accounts().require(user)?;
        let mut found = Vec::new();
        for link in self.sharing().list(&owner) {
            if self.sharing().path_for(&owner, &link).await?.as_ref() == Some(&path) {
                found.push(link.id);
            }
        }
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(Refusal::not_found(format!("{id} has no link; `causeway link list {user}` shows what has"))),
            [_, _, ..] => Err(Refusal::usage(format!("{id} has several links; `causeway link list {user}` shows their numbers"))),
        }
    }

    fn mount_of(&self, id: &str) -> Result<MountId> {
        if let Ok(number) = id.parse() {
            return self.mounting().get(MountId(number)).map(|mount| mount.id);
        }
        let (user, path) = named(id)?;
        let owner = self.accounts().require(user)?;
        let found = self.mounting().list(&owner).into_iter().find(|mount| self.mounting().path_of(mount).as_ref() == Some(&path));
        let missing = || Refusal::not_found(format!("nothing is mounted at {id}; `causeway mount list {user}` shows what is"));
        found.map(|mount| mount.id).ok_or_else(missing)
    }

    /// What is shown of a mount.
    fn mount_row(&self, mount: &Mount) -> MountRow {
        let (state, hint) = self.mounting().describe(mount);
        MountRow {
            id: mount.id.0,
            user: mount.user.to_string(),
            path: self.mounting().path_of(mount).map(|path| path.to_string()),
            remote: mount.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
            owner: mount.owner.clone(),
            vendor: format!("{:?}", mount.vendor),
            state: state.to_owned(),
            hint,
            created: rfc3339(mount.created),
        }
    }

    async fn scan(&self, user: Option<&str>) -> Result<Outcome> {
        let users = match user {
            Some(name) => vec![self.accounts().require(name)?],
            None => self.accounts().list(),
        };
        let mut rows = Vec::new();
        for user in users {
            let report = self.spaces().scan(user.space).await?;
            rows.push(ScanRow {
                user: user.name.to_string(),
                added: report.added,
                changed: report.changed,
                removed: report.removed,
                skipped: report.skipped,
            });
        }
        Ok(Outcome::Scans(rows))
    }
}

fn removed(name: &str, moved: Option<PathBuf>) -> Outcome {
    Outcome::Done(match moved {
        Some(folder) => format!("user {name} removed; the files are in {}", folder.display()),
        None => format!("user {name} removed with all files"),
    })
}

pub(super) fn tree_path(text: &str) -> Result<TreePath> {
    TreePath::parse(text).map_err(|error| Refusal::usage(format!("`{text}` is no path: {error}")))
}

/// `USER:/PATH`.
fn named(id: &str) -> Result<(&str, TreePath)> {
    let (user, path) = id.split_once(':').ok_or_else(|| Refusal::usage(format!("`{id}` is neither a number nor USER:/PATH")))?;
    Ok((user, tree_path(path)?))
}

/// The first second after a day, UTC.
///
/// # Errors
/// A refusal that says how a day is written.
pub fn end_of(day: &str) -> Result<Timestamp> {
    let wrong = || Refusal::usage(format!("a day is written YYYY-MM-DD, not `{day}`"));
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_error| wrong())?;
    let next = day.checked_add_days(Days::new(1)).ok_or_else(wrong)?;
    Ok(next.and_time(NaiveTime::MIN).and_utc().timestamp())
}

/// The last day on which something that ends then still works.
pub fn last_day(end: Timestamp) -> Option<String> {
    DateTime::from_timestamp(end.checked_sub(1)?, 0).map(|time| time.format("%Y-%m-%d").to_string())
}

/// A time as people and programs read it.
pub(super) fn rfc3339(time: Timestamp) -> String {
    DateTime::from_timestamp(time, 0).map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_through_its_last_day() {
        assert_eq!(end_of("2026-11-22").unwrap(), 1_795_392_000);
        assert_eq!(last_day(end_of("2026-11-22").unwrap()).unwrap(), "2026-11-22");
        assert!(end_of("22.11.2026").is_err());
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn ids_are_numbers_or_places() {
        let (user, path) = named("anna:/Photos/2026").unwrap();
        assert_eq!((user, path.to_string().as_str()), ("anna", "/Photos/2026"));
        assert!(named("Photos").is_err() && named("anna:/../x").is_err());
    }
}
