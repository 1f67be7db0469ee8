//! Who asks about accounts and groups, and about which of them they may: administrators about all, subadmins about the members of their
//! groups as long as those are no administrators, everybody about themselves.
//!
//! Administrators stand in a group of their own, `admin`, as tools for these servers expect; it is no group but the mark of the account.

use std::sync::Arc;

use crate::domain::{Group, User};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::Problem;
use crate::service::Services;
use crate::service::accounts::Session;
use crate::service::groups::ADMIN_GROUP;

/// Who asks.
pub(super) struct Actor<'call> {
    session: &'call Session,
    services: &'call Services,
    administers: Vec<Arc<Group>>,
}

/// A group as the interface knows it.
pub(super) enum Named {
    /// The administrators.
    Admins,
    /// Any other.
    Group(Arc<Group>),
}

impl<'call> Actor<'call> {
    /// The caller.
    ///
    /// # Errors
    /// 997 where nobody has logged in.
    pub(super) fn of(call: &'call Call) -> Result<Actor<'call>, Problem> {
        let session = call.session()?;
        let administers = call.services.groups().subadmin_of(&session.user.name);
        Ok(Actor { session, services: &call.services, administers })
    }

    /// Whether everything may be asked.
    pub(super) fn is_admin(&self) -> bool {
        self.session.user.admin
    }

    /// Whether this is the caller's own account.
    pub(super) fn is(&self, user: &User) -> bool {
        self.session.user.name == user.name
    }

    /// Whether the caller administers an account.
    pub(super) fn rules(&self, user: &User) -> bool {
        self.is_admin() || (!user.admin && self.administers.iter().any(|group| group.members.contains(&user.name)))
    }

    /// Whether the caller administers the members of a group.
    pub(super) fn rules_group(&self, group: &Named) -> bool {
        match group {
            Named::Admins => self.is_admin(),
            Named::Group(group) => self.is_admin() || group.subadmins.contains(&self.session.user.name),
        }
    }

    /// The groups whose members the caller administers as a subadmin.
    pub(super) fn administers(&self) -> &[Arc<Group>] {
        &self.administers
    }

    /// Refuses whoever is no administrator. A 401 would make clients ask for a password that is right already.
    pub(super) fn demand_admin(&self) -> Result<(), Problem> {
        if self.is_admin() { Ok(()) } else { Err(Problem::forbidden("Only an administrator may do this.")) }
    }

    /// Refuses an app password: what is done now would outlive it (a lost device is shut out by revoking it).
    pub(super) fn demand_account_password(&self) -> Result<(), Problem> {
        if self.session.app_password.is_none() {
            return Ok(());
        }
        Err(Problem::forbidden("An app password cannot do this: it takes the password of the account."))
    }

    /// Refuses whoever administers nobody.
    pub(super) fn demand_subadmin(&self) -> Result<(), Problem> {
        let may = self.is_admin() || !self.administers.is_empty();
        if may { Ok(()) } else { Err(Problem::forbidden("Only an administrator or a subadmin may do this.")) }
    }

    /// An account that the caller administers; one that is not there and one of others look alike to subadmins.
    pub(super) fn ruled(&self, id: &str) -> Option<Arc<User>> {
        self.user(id).filter(|user| self.rules(user))
    }

    /// The account of a name.
    pub(super) fn user(&self, id: &str) -> Option<Arc<User>> {
        self.services.accounts().require(id).ok()
    }

    /// The group of a name.
    pub(super) fn group(&self, id: &str) -> Option<Named> {
        if id.eq_ignore_ascii_case(ADMIN_GROUP) {
            return Some(Named::Admins);
        }
        self.services.groups().require(id).ok().map(Named::Group)
    }

    /// Every account that the caller may see, by name.
    pub(super) fn visible(&self) -> Vec<Arc<User>> {
        self.services.accounts().list().into_iter().filter(|user| self.rules(user)).collect()
    }
}

/// The groups of an account, by name, the administrators' first.
pub(super) fn groups_of(services: &Services, user: &User) -> Vec<String> {
    let admin = user.admin.then(|| ADMIN_GROUP.to_owned());
    admin.into_iter().chain(services.groups().groups_of(&user.name).iter().map(|group| group.name.to_string())).collect()
}

/// The part of a list that was asked for: what holds `search`, from `offset`, at most `limit`.
pub(super) fn page(call: &Call, mut names: Vec<String>) -> Result<Vec<String>, Problem> {
    let number = |name: &'static str| match call.parameters.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_error| Problem::bad_request("limit and offset are numbers.")),
    };
    let (offset, limit) = (number("offset")?.unwrap_or(0), number("limit")?.unwrap_or(usize::MAX));
    names.drain(..offset.min(names.len()));
    names.truncate(limit);
    Ok(names)
}

/// What is searched for, in lower case; empty matches all.
pub(super) fn searched(call: &Call) -> String {
    call.parameters.get("search").unwrap_or_default().to_lowercase()
}
