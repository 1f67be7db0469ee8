//! What users of other servers share with the caller, as clients of both families list and answer it (`protocol/owncloud.md` 3.3,
//! `protocol/nextcloud.md` 2.4). Secrets are not shown.

use std::sync::Arc;

use crate::domain::{Kind, Offer, ReceivedState, ShareId, User};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};

/// Answers what stands behind `/remote_shares`.
pub(super) async fn answer(call: &Call, rest: &[&str]) -> Answer {
    let user = Arc::clone(&call.session()?.user);
    let federation = call.services.federation();
    match (rest, call.method.as_str()) {
        ([], "GET" | "HEAD") => Ok(list(call, &user, Some(ReceivedState::Accepted))),
        (["all"], "GET" | "HEAD") => Ok(list(call, &user, None)),
        (["pending"], "GET" | "HEAD") => Ok(list(call, &user, Some(ReceivedState::Pending))),
        (["pending", id], "POST") => {
            require(call, &user, id, None)?;
            let accepted = federation.accept(&user, ShareId(number(id)?)).await?;
            let path = federation.offer_path(&accepted).map_or_else(|| format!("/{}", accepted.name), |path| path.to_string());
            Ok(Value::list([Value::map([("state", 0_u64.into()), ("file_target", path.into())])]))
        }
        (["pending", id], "DELETE") => {
            let offer = require(call, &user, id, Some(ReceivedState::Pending))?;
            federation.decline(&user, offer.id).await?;
            Ok(Value::nothing())
        }
        ([id], "GET" | "HEAD") => Ok(row(call, &*require(call, &user, id, None)?)),
        ([id], "DELETE") => {
            let offer = require(call, &user, id, Some(ReceivedState::Accepted))?;
            federation.decline(&user, offer.id).await?;
            Ok(Value::nothing())
        }
        ([] | [_] | ["pending", _], _) => Err(Problem::not_allowed()),
        _ => Err(Problem::unknown()),
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_error| wrong_id())
}

fn wrong_id() -> Problem {
    Problem::new(404, "wrong share ID, share doesn't exist.")
}

/// The caller's own offer of a number, in a state.
fn require(call: &Call, user: &User, id: &str, state: Option<ReceivedState>) -> Result<Arc<Offer>, Problem> {
    let offer = call.services.federation().offer_to(user, ShareId(number(id)?)).map_err(|_refusal| wrong_id())?;
    if state.is_none_or(|state| offer.state == state) { Ok(offer) } else { Err(wrong_id()) }
}

fn list(call: &Call, user: &User, state: Option<ReceivedState>) -> Value {
    let offers = call.services.federation().offers_of(user);
    let wanted = offers.iter().filter(|offer| state.is_none_or(|state| offer.state == state));
    Value::list(wanted.map(|offer| row(call, offer)))
}

fn row(call: &Call, offer: &Offer) -> Value {
    let accepted = offer.state == ReceivedState::Accepted;
    let path = call.services.federation().offer_path(offer);
    let mountpoint = match &path {
        Some(path) => path.to_string(),
        None => format!("{{{{TemporaryMountPointName#/{}}}}}", offer.name),
    };
    let mut fields = vec![
        ("id", offer.id.0.into()),
        ("share_type", u32::from(super::share_rows::REMOTE).into()),
        ("parent", (-1_i64).into()),
        ("remote", [&offer.server().url(), "/"].concat().into()),
        ("remote_id", offer.provider_id.clone().into()),
        ("share_token", "".into()),
        ("name", format!("/{}", offer.name).into()),
        ("owner", offer.owner.user().to_owned().into()),
        ("owner_display_name", offer.owner_name.clone().into()),
        ("user", offer.user.to_string().into()),
        ("mountpoint", mountpoint.into()),
        ("accepted", u32::from(accepted).into()),
        ("expiration", offer.expires.map_or(Value::Null, Into::into)),
    ];
    if let Some(handle) = offer.mount.filter(|_| accepted).and_then(|mount| call.services.forest().mounts().get(mount)) {
        let root = handle.root();
        let folder = root.kind != Kind::File;
        let media = if folder {
            "httpd/unix-directory"
        } else {
            mime_guess::from_path(&offer.name).first_raw().unwrap_or("application/octet-stream")
        };
        fields.extend([
            ("mimetype", media.into()),
            ("mtime", root.modified.into()),
            ("permissions", u32::from(root.permissions.0).into()),
            ("type", if folder { "dir" } else { "file" }.into()),
            ("file_id", root.id.0.into()),
        ]);
    }
    Value::Map(fields)
}
