//! `cloud/users/ID/groups` and `cloud/users/ID/subadmins`: who belongs to which group, and who administers whose members.

use http::Method;

use crate::domain::User;
use crate::protocol::ocs::actor::{Actor, Named};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::users::shown_groups;
use crate::service::Refusal;

/// The groups of an account: asked for, joined, left.
pub(super) async fn groups(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    match call.method {
        Method::GET | Method::HEAD => {
            let own = actor.user(id).filter(|user| actor.is(user));
            if own.is_none() {
                actor.demand_subadmin()?;
            }
            let user = own.or_else(|| actor.ruled(id)).ok_or_else(|| Problem::new(998, "The requested user could not be found."))?;
            Ok(Value::map([("groups", Value::list(shown_groups(call, actor, &user)))]))
        }
        Method::POST => join(call, actor, id).await,
        Method::DELETE => leave(call, actor, id).await,
        _ => Err(Problem::not_allowed()),
    }
}

/// The group that a request names, if the caller administers it.
fn named(call: &Call, actor: &Actor<'_>) -> Result<Named, Problem> {
    actor.demand_subadmin()?;
    let id = call.parameters.get("groupid").filter(|id| !id.is_empty()).ok_or_else(|| Problem::new(101, "No group is named."))?;
    let group = actor.group(id).ok_or_else(|| Problem::new(102, "There is no such group."))?;
    if actor.rules_group(&group) { Ok(group) } else { Err(Problem::new(104, "You do not administer this group.")) }
}

fn failed(refusal: &Refusal) -> Problem {
    Problem::new(105, refusal.text.clone())
}

/// A subadmin brings in only whom they administer already: whoever is in the group can be given another password by its subadmins.
async fn join(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let group = named(call, actor)?;
    let user = actor.ruled(id).ok_or_else(|| Problem::new(103, "The requested user could not be found."))?;
    match group {
        Named::Admins => {
            actor.demand_account_password()?;
            call.services.accounts().set_admin(user.name.as_str(), true).await
        }
        Named::Group(group) => call.services.groups().add_member(group.name.as_str(), &user).await.map(drop),
    }
    .map_err(|refusal| failed(&refusal))?;
    Ok(Value::nothing())
}

async fn leave(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let group = named(call, actor)?;
    let user = actor.ruled(id).ok_or_else(|| Problem::new(103, "The requested user could not be found."))?;
    match group {
        // The last administrator is always somebody who asks.
        Named::Admins if actor.is(&user) => return Err(Problem::new(105, "Nobody may take themselves out of the administrators.")),
        Named::Admins => call.services.accounts().set_admin(user.name.as_str(), false).await,
        Named::Group(group) => {
            if !actor.is_admin() && is_last(actor, &user) {
                return Err(Problem::new(105, "This is the last group of yours that the user is in."));
            }
            call.services.groups().remove_member(group.name.as_str(), &user).await.map(drop)
        }
    }
    .map_err(|refusal| failed(&refusal))?;
    Ok(Value::nothing())
}

/// Whether a user is in one group of a subadmin only, and would leave their sight with it.
fn is_last(actor: &Actor<'_>, user: &User) -> bool {
    actor.administers().iter().filter(|group| group.members.contains(&user.name)).count() <= 1
}

/// Which groups' members an account administers: for administrators alone.
pub(super) async fn subadmins(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    actor.demand_admin()?;
    let user = actor.user(id).ok_or_else(|| Problem::new(101, "The requested user could not be found."))?;
    if matches!(call.method, Method::GET | Method::HEAD) {
        let of = call.services.groups().subadmin_of(&user.name);
        return Ok(Value::list(of.iter().map(|group| group.name.to_string())));
    }
    if !matches!(call.method, Method::POST | Method::DELETE) {
        return Err(Problem::not_allowed());
    }
    let group = match call.parameters.get("groupid").and_then(|id| actor.group(id)) {
        None => return Err(Problem::new(102, "There is no such group.")),
        Some(Named::Admins) => return Err(Problem::new(103, "The administrators have no subadmins.")),
        Some(Named::Group(group)) => group,
    };
    let groups = call.services.groups();
    let done = if call.method == Method::POST {
        groups.add_subadmin(group.name.as_str(), &user).await
    } else if group.subadmins.contains(&user.name) {
        groups.remove_subadmin(group.name.as_str(), &user).await
    } else {
        return Err(Problem::new(102, "The user does not administer this group."));
    };
    done.map_err(|refusal| Problem::new(103, refusal.text))?;
    Ok(Value::nothing())
}
