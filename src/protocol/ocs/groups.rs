//! `cloud/groups`: the groups of the server, for administrators, and for subadmins as far as they administer them.

use std::collections::BTreeSet;

use crate::domain::{GroupName, UserName};
use crate::protocol::ocs::actor::{Actor, Named, page, searched};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::service::Reason;
use crate::service::groups::ADMIN_GROUP;

/// Answers for what stands behind `cloud/groups`.
pub(super) async fn answer(call: &Call, rest: &[&str]) -> Answer {
    let actor = Actor::of(call)?;
    match (call.method.as_str(), rest) {
        ("GET", []) => list(call, &actor),
        ("POST", []) => create(call, &actor).await,
        ("GET", [id] | [id, "users"]) => members(call, &actor, id),
        ("GET", [id, "subadmins"]) => subadmins(&actor, id),
        ("PUT", [id]) => rename(call, &actor, id).await,
        ("DELETE", [id]) => remove(call, &actor, id).await,
        (_, [] | [_] | [_, "users" | "subadmins"]) => Err(Problem::not_allowed()),
        (_, [_, ..]) => Err(Problem::unknown()),
    }
}

fn list(call: &Call, actor: &Actor<'_>) -> Answer {
    actor.demand_subadmin()?;
    let search = searched(call);
    let shown = if actor.is_admin() { call.services.groups().list() } else { actor.administers().to_vec() };
    let matching =
        shown.iter().filter(|group| group.name.folded().contains(&search) || group.display_name.to_lowercase().contains(&search));
    let admins = (actor.is_admin() && ADMIN_GROUP.contains(&search)).then(|| ADMIN_GROUP.to_owned());
    let names = admins.into_iter().chain(matching.map(|group| group.name.to_string())).collect();
    Ok(Value::map([("groups", Value::list(page(call, names)?))]))
}

/// Whether the caller may look into a group; one that is not there and one of others look alike to subadmins.
fn seen(actor: &Actor<'_>, id: &str, missing: u16) -> Result<Named, Problem> {
    actor.demand_subadmin()?;
    let group = actor.group(id).filter(|group| actor.rules_group(group));
    group.ok_or_else(|| Problem::new(missing, "The requested group could not be found."))
}

fn members(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    let names: Vec<String> = match seen(actor, id, 998)? {
        Named::Admins => call.services.accounts().list().iter().filter(|user| user.admin).map(|user| user.name.to_string()).collect(),
        Named::Group(group) => group.members.iter().map(ToString::to_string).collect(),
    };
    let search = searched(call);
    let names = names.into_iter().filter(|name| name.to_lowercase().contains(&search)).collect();
    Ok(Value::map([("users", Value::list(page(call, names)?))]))
}

fn subadmins(actor: &Actor<'_>, id: &str) -> Answer {
    actor.demand_admin()?;
    let none = BTreeSet::new();
    let group = seen(actor, id, 101)?;
    let names: &BTreeSet<UserName> = match &group {
        Named::Admins => &none,
        Named::Group(group) => &group.subadmins,
    };
    Ok(Value::list(names.iter().map(ToString::to_string)))
}

async fn create(call: &Call, actor: &Actor<'_>) -> Answer {
    actor.demand_admin()?;
    let id = call.parameters.get("groupid").unwrap_or_default();
    let name = GroupName::parse(id).map_err(|error| Problem::new(101, error.to_string()))?;
    if actor.group(name.as_str()).is_some() {
        return Err(Problem::new(102, "There is a group of this name already."));
    }
    let made = call.services.groups().create(name.as_str(), call.parameters.get("displayname").map(str::to_owned)).await;
    made.map_err(|refusal| Problem::new(if refusal.reason == Reason::Usage { 101 } else { 103 }, refusal.text))?;
    Ok(Value::nothing())
}

async fn rename(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    actor.demand_admin()?;
    let (key, value) = (call.parameters.get("key"), call.parameters.get("value"));
    match (seen(actor, id, 101)?, key, value) {
        (Named::Group(group), Some("displayname"), Some(value)) => {
            let renamed = call.services.groups().set_display_name(group.name.as_str(), value.to_owned()).await;
            renamed.map_err(|refusal| Problem::new(102, refusal.text))?;
            Ok(Value::nothing())
        }
        (Named::Admins | Named::Group(_), _, _) => Err(Problem::new(102, "Only the display name of a group can be changed.")),
    }
}

async fn remove(call: &Call, actor: &Actor<'_>, id: &str) -> Answer {
    actor.demand_admin()?;
    match seen(actor, id, 101)? {
        Named::Admins => Err(Problem::new(102, "The administrators cannot be removed.")),
        Named::Group(group) => {
            call.services.groups().remove(group.name.as_str()).await.map_err(|refusal| Problem::new(102, refusal.text))?;
            Ok(Value::nothing())
        }
    }
}
