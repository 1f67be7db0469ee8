//! `cloud/user`: who the caller is. Sync clients take the name in the DAV path from here.

use http::Method;

use crate::domain::{Quota, TreePath, User};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};

/// What an unlimited quota is called (`protocol/owncloud.md` 4).
const UNLIMITED: i64 = -3;

/// The caller's own account.
pub(super) async fn own(call: &Call) -> Answer {
    let user = &call.session()?.user;
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Problem::not_allowed());
    }
    let name = || Value::from(user.display_name.clone());
    Ok(Value::map([
        ("id", user.name.to_string().into()),
        ("display-name", name()),
        ("displayname", name()),
        ("email", "".into()),
        ("language", "en".into()),
        ("enabled", true.into()),
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
