//! App passwords as clients make and revoke their own: `core/getapppassword` and `core/apppassword`.

use http::Method;

use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};

/// An app password in exchange for the account's own password, so that a client need not keep that. Who has one gets no other: a password
/// that was revoked must not live on in its children.
pub(super) async fn make(call: &Call) -> Answer {
    let session = call.session()?;
    if call.method != Method::GET {
        return Err(Problem::not_allowed());
    }
    call.demand_proof()?;
    if session.app_password.is_some() {
        return Err(Problem::forbidden("This is an app password already."));
    }
    let password = call.services.accounts().add_app_password(session.user.name.as_str(), call.client.clone()).await?;
    Ok(Value::map([("apppassword", password.expose().to_owned().into())]))
}

/// The end of the app password that the request itself uses: how a client logs out.
pub(super) async fn revoke(call: &Call) -> Answer {
    let session = call.session()?;
    if call.method != Method::DELETE {
        return Err(Problem::not_allowed());
    }
    let id = session.app_password.ok_or_else(|| Problem::forbidden("This is no app password."))?;
    call.services.accounts().revoke_app_password(session.user.name.as_str(), id).await?;
    Ok(Value::nothing())
}
