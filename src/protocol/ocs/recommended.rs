//! `sharees_recommended`: with whom the caller shared last, for the list that clients show before anything is typed.

use http::Method;

use crate::domain::ShareWith;
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::protocol::ocs::share_rows::{GROUP, REMOTE, USER};
use crate::protocol::ocs::sharees::{Found, answer_of};

/// Most that are recommended.
const RECOMMENDED_MAX: usize = 10;

/// Receivers of what the caller shared, the last one first, each once.
pub(super) fn recommended(call: &Call) -> Answer {
    let me = &call.session()?.user;
    if call.method != Method::GET {
        return Err(Problem::not_allowed());
    }
    let mut shares = call.services.shares().list(me);
    shares.retain(|share| share.shared_by == me.name);
    shares.sort_by_key(|share| std::cmp::Reverse((share.created, share.id)));
    let mut seen: Vec<&ShareWith> = Vec::new();
    for share in &shares {
        if seen.len() < RECOMMENDED_MAX && !seen.contains(&&share.with) {
            seen.push(&share.with);
        }
    }
    let (mut users, mut groups, mut remotes) = (Vec::new(), Vec::new(), Vec::new());
    for with in seen {
        match with {
            ShareWith::User(name) => {
                // Who is gone or disabled receives nothing.
                if call.services.accounts().get(name).is_some() && call.services.accounts().is_enabled(name) {
                    let shown = call.services.forest().shares().display_name(name);
                    users.push(Found { share_type: USER, name: name.to_string(), shown, exact: false }.value());
                }
            }
            ShareWith::Group(name) => {
                if let Some(group) = call.services.groups().get(name) {
                    groups
                        .push(Found { share_type: GROUP, name: name.to_string(), shown: group.display_name.clone(), exact: false }.value());
                }
            }
            ShareWith::Remote(address) => {
                let written = String::from(address.clone());
                remotes.push(Found { share_type: REMOTE, name: written, shown: address.to_string(), exact: false }.value());
            }
        }
    }
    let none = || [Value::nothing(), Value::nothing(), Value::nothing()];
    Ok(answer_of(none(), [Value::List(users), Value::List(groups), Value::List(remotes)]))
}
