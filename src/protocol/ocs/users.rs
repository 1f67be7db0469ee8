//! `cloud/users`: accounts as administrators make and change them, and as their owners may. The codes are those of the provisioning
//! interface of ownCloud and Nextcloud: 101 and up, with a meaning for each endpoint.

use std::sync::Arc;

use crate::domain::{Secret, User, UserName};
use crate::protocol::ocs::actor::{Actor, Named, groups_of, page, searched};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::user;
use crate::service::accounts::{NewUser, usable_display_name, usable_email, usable_password};
use crate::service::{Reason, Refusal};

/// Answers for what stands behind `cloud/users`.
pub(super) async fn answer(call: &Call, rest: &[&str]) -> Answer {
    let actor = Actor::of(call)?;
    match (call.method.as_str(), rest) {
        ("GET", []) => list(call, &actor),
        ("POST", []) => create(call, &actor).await,
        ("GET", [id]) => show(call, &actor, id).await,
        ("PUT", [id]) => edit(call, &actor, id).await,
        ("DELETE", [id]) => remove(call, &actor, id).await,
        ("PUT", [id, "enable"]) => enable(call, &actor, id, true).await,
        ("PUT", [id, "disable"]) => enable(call, &actor, id, false).await,
        (_, [id, "groups"]) => super::membership::groups(call, &actor, id).await,
        (_, [id, "subadmins"]) => super::membership::subadmins(call, &actor, id).await,
        (_, [] | [_] | [_, "enable" | "disable"]) => Err(Problem::not_allowed()),
        (_, [_, ..]) => Err(Problem::unknown()),
    }
}

fn list(call: &Call, actor: &Actor<'_>) -> Answer {
    actor.demand_subadmin()?;
    let search = searched(call);
    let matches = |user: &Arc<User>| user.name.folded().contains(&search) || user.display_name.to_lowercase().contains(&search);
    let names = actor.visible().into_iter().filter(matches).map(|user| user.name.to_string()).collect();
    Ok(Value::map([("users", Value::list(page(call, names)?))]))
}

async fn show(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let own = actor.user(id).filter(|user| actor.is(user));
    if own.is_none() {
        actor.demand_subadmin()?;
    }
    let user = own.or_else(|| actor.ruled(id)).ok_or_else(no_user)?;
    user::details(call, actor, &user).await
}

fn no_user() -> Problem {
    Problem::new(998, "The requested user could not be found.")
}

/// What a new account is to be, checked before anything is made.
struct Wanted {
    new: NewUser,
    email: String,
    groups: Vec<String>,
    subadmin: Vec<String>,
}

async fn create(call: &Call, actor: &Actor<'_>) -> Answer {
    actor.demand_subadmin()?;
    let Wanted { new, email, groups, subadmin } = wanted(call, actor)?;
    let services = &call.services;
    // Whose they are is not the subadmin's to say, who would get at them by the password of the new account.
    if !actor.is_admin() && services.accounts().would_adopt(&new.name).await.map_err(|refusal| failed(103, &refusal))? {
        return Err(Problem::new(103, "There are files of this name on the server already. An administrator can make this user."));
    }
    let made = services.accounts().add(new).await;
    // The name was free a moment ago; somebody else may have been quicker.
    let user = made.map_err(|refusal| failed(if refusal.reason == Reason::Refused { 102 } else { 103 }, &refusal))?;
    if !email.is_empty() {
        services.accounts().set_email(user.name.as_str(), email).await.map_err(|refusal| failed(103, &refusal))?;
    }
    for group in groups {
        services.groups().add_member(&group, &user).await.map_err(|refusal| failed(103, &refusal))?;
    }
    for group in subadmin {
        services.groups().add_subadmin(&group, &user).await.map_err(|refusal| failed(103, &refusal))?;
    }
    Ok(Value::map([("id", user.name.to_string().into())]))
}

fn wanted(call: &Call, actor: &Actor<'_>) -> Result<Wanted, Problem> {
    let text = |name: &str| call.parameters.get(name).unwrap_or_default();
    let name = UserName::parse(text("userid")).map_err(|error| Problem::new(101, error.to_string()))?;
    if call.services.accounts().get(&name).is_some() {
        return Err(Problem::new(102, "There is a user of this name already."));
    }
    let mut groups = Vec::new();
    let mut admin = false;
    for id in call.parameters.all("groups") {
        let group = actor.group(id).ok_or_else(|| Problem::new(104, format!("There is no group {id}.")))?;
        if !actor.rules_group(&group) {
            return Err(Problem::new(105, format!("You may not put users into the group {id}.")));
        }
        match group {
            Named::Admins => {
                actor.demand_account_password()?;
                admin = true;
            }
            Named::Group(group) => groups.push(group.name.to_string()),
        }
    }
    // A subadmin could not see the account otherwise.
    if groups.is_empty() && !actor.is_admin() {
        return Err(Problem::new(106, "A subadmin has to name a group for the new user."));
    }
    let mut subadmin = Vec::new();
    for id in call.parameters.all("subadmin") {
        match actor.group(id) {
            _ if !actor.is_admin() => return Err(Problem::new(105, "Only an administrator makes subadmins.")),
            Some(Named::Group(group)) => subadmin.push(group.name.to_string()),
            Some(Named::Admins) => return Err(Problem::new(103, "The administrators have no subadmins.")),
            None => return Err(Problem::new(109, format!("There is no group {id}."))),
        }
    }
    let password = Secret::new(text("password"));
    if password.is_empty() {
        return Err(Problem::new(108, "A password is needed: this server sends no mail to ask for one."));
    }
    let invalid = |refusal: Refusal| failed(101, &refusal);
    usable_password(&password).map_err(invalid)?;
    let display_name = call.parameters.get("displayName").or_else(|| call.parameters.get("displayname")).unwrap_or_default().to_owned();
    if !display_name.is_empty() {
        usable_display_name(&display_name).map_err(invalid)?;
    }
    let email = text("email").to_owned();
    usable_email(&email).map_err(invalid)?;
    let quota = quota(text("quota")).ok_or_else(|| Problem::new(101, "The quota is a size such as 5 GB, or none."))?;
    Ok(Wanted { new: NewUser { name, admin, display_name, quota, password }, email, groups, subadmin })
}

fn failed(code: u16, refusal: &Refusal) -> Problem {
    Problem::new(code, refusal.text.clone())
}

/// Changes one field. An account's owner may change the name that is shown, the address and the password; the quota is for those above.
async fn edit(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let own = actor.user(id).filter(|user| actor.is(user));
    if own.is_none() {
        actor.demand_subadmin()?;
    }
    let user = own.or_else(|| actor.ruled(id)).ok_or_else(|| Problem::new(101, "The requested user could not be found."))?;
    let (Some(key), Some(value)) = (call.parameters.get("key"), call.parameters.get("value")) else {
        return Err(Problem::new(102, "The parameters are `key` and `value`."));
    };
    let (accounts, name) = (call.services.accounts(), user.name.as_str());
    let done = match key {
        "display" | "displayname" | "displayName" => accounts.set_display_name(name, value.to_owned()).await,
        "email" => accounts.set_email(name, value.to_owned()).await,
        "password" => {
            // The password of one device must not become an account's: it could be revoked no more.
            actor.demand_account_password()?;
            accounts.set_password(name, Secret::new(value)).await
        }
        "quota" if actor.is_admin() || (actor.rules(&user) && !actor.is(&user)) => {
            let quota = quota(value).ok_or_else(|| Problem::new(102, "The quota is a size such as 5 GB, or none."))?;
            accounts.set_quota(name, quota).await
        }
        "quota" => return Err(Problem::forbidden("Only an administrator or a subadmin sets a quota.")),
        _ => return Err(Problem::new(103, "There is no such field, or it cannot be changed.")),
    };
    done.map_err(|refusal| failed(if refusal.reason == Reason::Usage { 102 } else { 103 }, &refusal))?;
    Ok(Value::nothing())
}

/// The files are moved aside, as with the command.
async fn remove(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let user = another(actor, id)?;
    call.services.remove_user(user.name.as_str(), false).await.map_err(|refusal| failed(101, &refusal))?;
    Ok(Value::nothing())
}

async fn enable(call: &Call, actor: &Actor<'_>, id: &str, enabled: bool) -> Answer {
    let user = another(actor, id)?;
    call.services.accounts().set_enabled(user.name.as_str(), enabled).await.map_err(|refusal| failed(101, &refusal))?;
    Ok(Value::nothing())
}

/// An account that the caller administers and that is not the caller's own: nobody locks out the last administrator that way.
fn another(actor: &Actor<'_>, id: &str) -> Result<Arc<User>, Problem> {
    actor.demand_subadmin()?;
    let user = actor.ruled(id).ok_or_else(|| Problem::new(101, "The requested user could not be found."))?;
    if actor.is(&user) { Err(Problem::new(101, "Nobody may do this to themselves.")) } else { Ok(user) }
}

/// A quota as these tools write it: `none`, `default`, a negative number, or a size whose units are powers of 1024, as the interface has
/// them. The outer none is no quota at all.
fn quota(text: &str) -> Option<Option<u64>> {
    const UNITS: [(&str, u32); 6] = [("pb", 50), ("tb", 40), ("gb", 30), ("mb", 20), ("kb", 10), ("b", 0)];
    let text = text.trim().to_ascii_lowercase();
    if matches!(text.as_str(), "" | "none" | "default") || text.starts_with('-') && text.parse::<i64>().is_ok() {
        return Some(None);
    }
    let (number, shift) = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift))).unwrap_or((&text, 0));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let unit = 1_u64.checked_shl(shift)?;
    // Thousandths, so that 1.5 GB needs no floating point.
    let thousandths = format!("{fraction:0<3}").parse::<u64>().ok()?.checked_mul(unit)? / 1000;
    Some(Some(whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(thousandths)?))
}

/// The groups of an account as the caller may see them.
pub(super) fn shown_groups(call: &Call, actor: &Actor<'_>, user: &User) -> Vec<String> {
    shown(actor, user, groups_of(&call.services, user))
}

/// Of groups that have to do with an account, those that the caller may know: a subadmin none but those they administer (attack D11).
pub(super) fn shown(actor: &Actor<'_>, user: &User, all: Vec<String>) -> Vec<String> {
    if actor.is_admin() || actor.is(user) {
        return all;
    }
    all.into_iter().filter(|name| actor.administers().iter().any(|group| group.name.as_str() == name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_as_the_tools_write_them() {
        for (text, expected) in [
            ("none", Some(None)),
            ("", Some(None)),
            ("default", Some(None)),
            ("-3", Some(None)),
            ("0", Some(Some(0))),
            ("1000", Some(Some(1000))),
            ("5 GB", Some(Some(5 << 30))),
            ("512mb", Some(Some(512 << 20))),
            ("1.5 kB", Some(Some(1536))),
            ("10 B", Some(Some(10))),
            ("lots", None),
            ("1..5", None),
            ("GB", None),
            ("-x", None),
            ("99999999999 PB", None),
        ] {
            assert_eq!(quota(text), expected, "{text}");
        }
    }
}
