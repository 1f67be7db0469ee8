//! What the administrator lets users share, with the two switches of ownCloud 7: whether other servers may mount the links of this one, and
//! whether users of this one may mount links of others. Changed while the server runs; kept in the store.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::groups::Groups;
use super::partners::Partners;
use super::refusal::Result;
use crate::domain::{GroupName, Permissions, Timestamp, UserName};
use crate::store::{Batch, Record, Store, Table};

const DAY_SECONDS: i64 = 24 * 3600;
/// Longest time for which a link can be made by default, or at all, in days.
const EXPIRY_DAYS_MAX: u32 = 3650;

/// The rules. Written as JSON, so that rules that come later have their defaults in what was stored before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Users may make public links, and those that are there open.
    pub links: bool,
    /// Links may let visitors upload and edit.
    pub public_upload: bool,
    /// Which links must have a password.
    pub passwords: PasswordsFor,
    /// Days until a link ends whose owner says nothing; 0 is never.
    pub expiry_default_days: u32,
    /// Most days until a link ends; 0 is no bound.
    pub expiry_max_days: u32,
    /// Other servers may mount links of this server, and its users may share with users of others.
    pub outgoing: Switch,
    /// Users may mount links of other servers, and receive what users of others share.
    pub incoming: Switch,
}

/// Which links must have a password, as ownCloud tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordsFor {
    /// Those that only show.
    pub read: bool,
    /// Those that let visitors change something they see.
    pub edit: bool,
    /// Those that take files and show nothing.
    pub drop: bool,
}

/// A switch of the server, and the groups for whose members the opposite holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// For everybody else.
    pub on: bool,
    /// For whom it is the other way round.
    pub except: BTreeSet<GroupName>,
}

impl Default for Policy {
    fn default() -> Policy {
        let on = || Switch { on: true, except: BTreeSet::new() };
        Policy {
            links: true,
            public_upload: true,
            passwords: PasswordsFor::default(),
            expiry_default_days: 0,
            expiry_max_days: 0,
            outgoing: on(),
            incoming: on(),
        }
    }
}

impl PasswordsFor {
    /// Whether a link with these rights must have one.
    pub fn demands(self, permissions: Permissions) -> bool {
        let changes = permissions.0 & !(Permissions::READ.0 | Permissions::SHARE.0) != 0;
        match (permissions.contains(Permissions::READ), changes) {
            (true, false) => self.read,
            (true, true) => self.edit,
            (false, _) => self.drop,
        }
    }

    fn words(self) -> String {
        let words = [(self.read, "read"), (self.edit, "edit"), (self.drop, "drop")];
        listed(words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()))
    }
}

/// One rule as administrators read and write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub key: String,
    /// What it is now.
    pub value: String,
    /// What it means.
    pub help: String,
}

/// Every rule, and what it means.
const RULES: [(&str, &str); 9] = [
    ("links", "on or off: users may make public links, and those that are there open"),
    ("public_upload", "on or off: links may let visitors upload and edit; if off, such links only show"),
    ("link_passwords", "which links must have a password: none, or a list of read, edit, drop"),
    ("link_expiry_default", "days until a link ends whose owner says nothing; 0 is never"),
    ("link_expiry_max", "most days until a link ends; 0 is no bound"),
    (
        "outgoing",
        "on or off: allow other instances to mount public links shared from this server, and its users to share with users of others",
    ),
    ("outgoing_except", "groups for whose members `outgoing` is the other way round; none, or a list"),
    ("incoming", "on or off: allow users to mount public link shares, and to receive shares of other servers"),
    ("incoming_except", "groups for whose members `incoming` is the other way round; none, or a list"),
];

impl Policy {
    fn value(&self, key: &str) -> Option<String> {
        let word = |on: bool| (if on { "on" } else { "off" }).to_owned();
        let groups = |switch: &Switch| listed(switch.except.iter().map(GroupName::to_string));
        Some(match key {
            "links" => word(self.links),
            "public_upload" => word(self.public_upload),
            "link_passwords" => self.passwords.words(),
            "link_expiry_default" => self.expiry_default_days.to_string(),
            "link_expiry_max" => self.expiry_max_days.to_string(),
            "outgoing" => word(self.outgoing.on),
            "outgoing_except" => groups(&self.outgoing),
            "incoming" => word(self.incoming.on),
            "incoming_except" => groups(&self.incoming),
            _ => return None,
        })
    }

    /// The policy with one rule changed.
    fn with(mut self, key: &str, value: &str, groups: &Groups) -> Result<Policy> {
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(Refusal::usage(format!("{key} is on or off, not `{value}`"))),
        };
        let days = || {
            let days: Option<u32> = value.parse().ok().filter(|days| *days <= EXPIRY_DAYS_MAX);
            days.ok_or_else(|| Refusal::usage(format!("{key} is a number of days from 0 to {EXPIRY_DAYS_MAX}, not `{value}`")))
        };
        let except = || words(value).map(|name| groups.require(name).map(|group| group.name.clone())).collect::<Result<BTreeSet<_>>>();
        match key {
            "links" => self.links = switch()?,
            "public_upload" => self.public_upload = switch()?,
            "link_passwords" => {
                let mut passwords = PasswordsFor::default();
                for word in words(value) {
                    match word {
                        "read" => passwords.read = true,
                        "edit" => passwords.edit = true,
                        "drop" => passwords.drop = true,
                        _ => return Err(Refusal::usage(format!("{key} is none or a list of read, edit and drop, not `{value}`"))),
                    }
                }
                self.passwords = passwords;
            }
            "link_expiry_default" => self.expiry_default_days = days()?,
            "link_expiry_max" => self.expiry_max_days = days()?,
            "outgoing" => self.outgoing.on = switch()?,
            "outgoing_except" => self.outgoing.except = except()?,
            "incoming" => self.incoming.on = switch()?,
            "incoming_except" => self.incoming.except = except()?,
            _ => {
                let known = RULES.map(|(key, _)| key).join(", ");
                return Err(Refusal::usage(format!("there is no rule `{key}`; there are {known}")));
            }
        }
        Ok(self)
    }
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(",") }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "none")
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored(String);

const KEY: &[u8] = b"sharing";

impl Record for Stored {
    const TABLE: Table = Table::Settings;
    fn key(&self) -> Vec<u8> {
        KEY.to_vec()
    }
}

/// The policy of a server.
pub struct Policies {
    store: Store,
    groups: Arc<Groups>,
    current: RwLock<Arc<Policy>>,
    changing: tokio::sync::Mutex<()>,
    partners: Partners,
}

/// What is wanted of a link, as far as rules judge it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Rights.
    pub permissions: Permissions,
    /// Whether it has a password.
    pub password: bool,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

impl Policies {
    /// As they were left.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn open(store: Store, groups: Arc<Groups>) -> Result<Policies> {
        let stored = store.get::<Stored>(KEY)?.map(|Stored(text)| serde_json::from_str(&text));
        // Rules that cannot be read must not become no rules.
        let policy = stored.transpose().map_err(|error| Refusal::failed(format!("the rules of sharing cannot be read: {error}")))?;
        let partners = Partners::open(store.clone())?;
        Ok(Policies { store, groups, partners, current: RwLock::new(Arc::new(policy.unwrap_or_default())), changing: Default::default() })
    }

    /// Which other servers take part.
    pub fn partners(&self) -> &Partners {
        &self.partners
    }

    /// The rules now.
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every rule as administrators read it.
    pub fn rules(&self) -> Vec<Rule> {
        let policy = self.current();
        let rule = |(key, help): (&str, &str)| Some(Rule { key: key.to_owned(), value: policy.value(key)?, help: help.to_owned() });
        RULES.into_iter().filter_map(rule).collect()
    }

    /// Changes a rule; it holds at once.
    ///
    /// # Errors
    /// Where there is no such rule, or it cannot be that.
    pub async fn set(&self, key: &str, value: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let changed = Policy::clone(&self.current()).with(key, value.trim(), &self.groups)?;
        let text = serde_json::to_string(&changed).map_err(|error| Refusal::failed(error.to_string()))?;
        self.store.commit(Batch::new().put(&Stored(text))).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(changed);
        tracing::info!(key, "a rule of sharing was changed");
        Ok(())
    }

    /// Whether what a user shares may go to other servers.
    pub fn may_send(&self, user: &UserName) -> bool {
        self.holds(&self.current().outgoing, user)
    }

    /// Whether a user may mount what is on other servers.
    pub fn may_receive(&self, user: &UserName) -> bool {
        self.holds(&self.current().incoming, user)
    }

    fn holds(&self, switch: &Switch, user: &UserName) -> bool {
        switch.on != switch.except.iter().any(|group| self.groups.is_member(group, user))
    }

    /// Judges a link that is to be made or changed; gives when it is to end.
    ///
    /// # Errors
    /// What the administrator does not allow, in words that clients show (owncloud.md 3.6: 403).
    pub fn judge(&self, wanted: Wanted, new: bool, now: Timestamp) -> Result<Option<Timestamp>> {
        let policy = self.current();
        if !policy.links {
            return Err(Refusal::refused("public link sharing is disabled by the administrator"));
        }
        if !policy.public_upload && wanted.permissions.0 & !(Permissions::READ.0 | Permissions::SHARE.0) != 0 {
            return Err(Refusal::refused("public upload is disabled by the administrator"));
        }
        if !wanted.password && policy.passwords.demands(wanted.permissions) {
            return Err(Refusal::refused("passwords are enforced for such links: give one"));
        }
        // The end of a day, as ends of links are: as many whole days as were said, and what is left of today.
        let after = |days: u32| (now.div_euclid(DAY_SECONDS) + 1 + i64::from(days)) * DAY_SECONDS;
        let latest = (policy.expiry_max_days > 0).then(|| after(policy.expiry_max_days));
        let default = (new && policy.expiry_default_days > 0).then(|| after(policy.expiry_default_days));
        match (wanted.expires.or(default).or(latest.filter(|_| new)), latest) {
            (Some(expires), Some(latest)) if expires > latest && wanted.expires.is_none() => Ok(Some(latest)),
            (Some(expires), Some(latest)) if expires > latest => {
                Err(Refusal::refused(format!("links end after {} days at the latest: choose an earlier day", policy.expiry_max_days)))
            }
            (None, Some(_)) => {
                Err(Refusal::refused(format!("links must end, after {} days at the latest: choose a day", policy.expiry_max_days)))
            }
            (expires, _) => Ok(expires),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn policies(folder: &std::path::Path) -> (Store, Arc<Groups>, Policies) {
        let store = Store::open(folder, Options::default()).unwrap();
        let groups = Arc::new(Groups::open(store.clone()).unwrap());
        let policies = Policies::open(store.clone(), Arc::clone(&groups)).unwrap();
        (store, groups, policies)
    }

    #[tokio::test]
    async fn rules_are_kept_and_wrong_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (store, groups, rules) = policies(folder.path());
        for (key, value) in [
            ("links", "maybe"),
            ("link_expiry_max", "-1"),
            ("link_passwords", "read,all"),
            ("outgoing_except", "nobody"),
            ("nothing", "on"),
        ] {
            assert!(rules.set(key, value).await.is_err(), "{key} {value}");
        }
        groups.create("staff", None).await.unwrap();
        for (key, value) in [("link_passwords", "drop, read"), ("link_expiry_max", "7"), ("outgoing", "off"), ("outgoing_except", "Staff")]
        {
            rules.set(key, value).await.unwrap();
        }
        let again = Policies::open(store, groups).unwrap();
        assert_eq!(again.current(), rules.current());
        let shown: Vec<String> = again.rules().into_iter().map(|rule| format!("{}={}", rule.key, rule.value)).collect();
        let expected = "links=on public_upload=on link_passwords=read,drop link_expiry_default=0 link_expiry_max=7 outgoing=off outgoing_except=staff incoming=on incoming_except=none";
        assert_eq!(shown.join(" "), expected);
        assert!(!again.may_send(&UserName::parse("alice").unwrap()) && again.may_receive(&UserName::parse("alice").unwrap()));
    }

    #[tokio::test]
    async fn links_are_judged_by_the_rules() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, _groups, rules) = policies(folder.path());
        let wanted = |permissions, password, expires| Wanted { permissions, password, expires };
        let (now, day) = (100 * DAY_SECONDS + 5, |days: i64| days * DAY_SECONDS);
        assert_eq!(rules.judge(wanted(Permissions::EDIT, false, None), true, now).unwrap(), None);
        rules.set("link_passwords", "edit").await.unwrap();
        assert!(rules.judge(wanted(Permissions::EDIT, false, None), true, now).is_err());
        assert!(rules.judge(wanted(Permissions::EDIT, true, None), true, now).is_ok());
        assert!(rules.judge(wanted(Permissions::READ, false, None), true, now).is_ok());
        rules.set("public_upload", "off").await.unwrap();
        assert!(rules.judge(wanted(Permissions::CREATE, true, None), true, now).is_err());
        rules.set("link_expiry_max", "7").await.unwrap();
        assert_eq!(rules.judge(wanted(Permissions::READ, true, None), true, now).unwrap(), Some(day(108)));
        assert_eq!(rules.judge(wanted(Permissions::READ, true, Some(day(103))), true, now).unwrap(), Some(day(103)));
        assert!(rules.judge(wanted(Permissions::READ, true, Some(day(109))), true, now).is_err());
        assert!(rules.judge(wanted(Permissions::READ, true, None), false, now).is_err(), "an end that is taken off");
        rules.set("link_expiry_default", "3").await.unwrap();
        assert_eq!(rules.judge(wanted(Permissions::READ, true, None), true, now).unwrap(), Some(day(104)));
        rules.set("links", "off").await.unwrap();
        assert!(rules.judge(wanted(Permissions::READ, true, Some(day(103))), true, now).is_err());
    }
}
