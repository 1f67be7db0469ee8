//! `cloud/user`: who the caller is. Sync clients take the name in the DAV path from here.

use http::Method;

use crate::domain::{Quota, TreePath, User};
use crate::protocol::ocs::actor::Actor;
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::users::{shown, shown_groups};

/// What an unlimited quota is called (`protocol/owncloud.md` 4).
const UNLIMITED: i64 = -3;

/// The caller's own account.
pub(super) async fn own(call: &Call) -> Answer {
    let session = call.session()?;
    match call.method {
        Method::GET | Method::HEAD => details(call, &Actor::of(call)?, &session.user).await,
        _ => Err(Problem::not_allowed()),
    }
}

/// What an account is, for its owner and for those who administer it. The older interface says `display-name`, the newer `displayname`.
pub(super) async fn details(call: &Call, actor: &Actor<'_>, user: &User) -> Answer {
    let profile = call.services.accounts().profile(&user.name)?;
    let name = || Value::from(user.display_name.clone());
    let administers = call.services.groups().subadmin_of(&user.name).iter().map(|group| group.name.to_string()).collect();
    Ok(Value::map([
        ("id", user.name.to_string().into()),
        ("display-name", name()),
        ("displayname", name()),
        ("email", profile.email.into()),
        ("language", "en".into()),
        ("enabled", profile.enabled.into()),
        ("groups", Value::list(shown_groups(call, actor, user))),
        ("subadmin", Value::list(shown(actor, user, administers))),
        ("quota", quota(call, user).await),
    ]))
}

/// Space used and left; nothing where the disk cannot be asked now.
async fn quota(call: &Call, user: &User) -> Value {
    let Ok(view) = call.services.forest().user_view(user, call.via()) else { return Value::Null };
    let Ok(Quota { used, available }) = view.quota(&TreePath::root()).await else { return Value::Null };
    let free = available.unwrap_or(u64::MAX);
    let total = used.saturating_add(free);
    let percent = used.saturating_mul(100).checked_div(total).unwrap_or(100);
    Value::map([
        ("free", free.into()),
        ("used", used.into()),
        ("total", total.into()),
        ("relative", percent.into()),
        ("quota", user.quota.map_or(Value::Number(UNLIMITED), Value::from)),
    ])
}
