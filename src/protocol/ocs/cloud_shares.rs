//! The older calls between servers, `/cloud/shares` (`protocol/owncloud.md` 3.1): the same as Open Cloud Mesh in forms. They carry no login; the
//! secret of the share is what counts.

use crate::domain::{CloudId, Secret};
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::service::federation::{Caller, Claims, Heard, NotTaken, Unheard, Unproven};
use crate::wire::ocm::{IncomingShare, Notification, Webdav};

/// Answers what stands behind `/cloud/shares`.
pub(super) async fn answer(call: &Call, rest: &[&str]) -> Answer {
    if call.method != http::Method::POST {
        return Err(Problem::not_allowed());
    }
    match rest {
        [] => offered(call).await,
        [id, verb] => told(call, id, verb).await,
        _ => Err(Problem::unknown()),
    }
}

/// A share is offered.
async fn offered(call: &Call) -> Answer {
    let share = incoming(call)?;
    unsigned(call, &call.services.federation().claims_of_offer(&share))?;
    match call.services.federation().offered(&share, Caller { address: call.address(), signed: false }).await {
        Ok(_to) => Ok(Value::nothing()),
        Err(problem) => {
            let text = problem.to_string();
            Err(match problem {
                NotTaken::Invalid(_) => Problem::bad_request(text),
                NotTaken::NotAllowed => Problem::forbidden(text),
                NotTaken::NoSuchUser => Problem::bad_request("User does not exist"),
                NotTaken::Unsupported(_) => Problem::new(501, text),
                NotTaken::Full => Problem::unavailable(),
                NotTaken::Throttled(_) => Problem::throttled(),
                NotTaken::Failed(refusal) => unavailable(&refusal.text),
            })
        }
    }
}

/// The form as the share that it describes. `shareWith` and `owner` are bare names, and `remote` is the URL of the owner's server.
fn incoming(call: &Call) -> Result<IncomingShare, Problem> {
    let field = |name: &str| call.parameters.get(name).unwrap_or_default().to_owned();
    let federation = call.services.federation();
    let with = field("shareWith");
    let whole = CloudId::parse(&with).is_ok_and(|address| federation.is_ours(&address));
    let with = if whole || with.is_empty() { with } else { format!("{with}@{}", call.services.options().public_url) };
    let (owner, remote) = (field("owner"), field("remote"));
    for (name, text) in [("owner", &owner), ("remote", &remote), ("token", &field("token"))] {
        if text.is_empty() {
            return Err(Problem::bad_request(format!("{name} is missing")));
        }
    }
    let address = format!("{owner}@{remote}");
    let sharer = Some(field("sharedByFederatedId")).filter(|sharer| CloudId::parse(sharer).is_ok());
    Ok(IncomingShare {
        with,
        name: field("name"),
        note: String::new(),
        provider_id: field("remoteId"),
        owner_name: owner,
        sender: sharer.unwrap_or_else(|| address.clone()),
        owner: address,
        sender_name: field("sharedBy"),
        share_type: "user".to_owned(),
        resource_type: "file".to_owned(),
        expires: None,
        protocol: "webdav".to_owned(),
        webdav: Some(Webdav { secret: Secret::new(field("token")), uri: None, permissions: None, requirements: Vec::new() }),
    })
}

/// Something is told of a share.
async fn told(call: &Call, id: &str, verb: &str) -> Answer {
    let field = |name: &str| call.parameters.get(name).unwrap_or_default();
    let kind = match verb {
        "accept" => "SHARE_ACCEPTED",
        "decline" => "SHARE_DECLINED",
        "unshare" => "SHARE_UNSHARED",
        "reshare" => "REQUEST_RESHARE",
        // ownCloud's word and Nextcloud's.
        "revoke" | "reshare_undo" => "RESHARE_UNDO",
        "permissions" => "RESHARE_CHANGE_PERMISSION",
        _ => return Err(Problem::unknown()),
    };
    let mut notification = Notification::new(kind, id, Secret::new(field("token")));
    if verb == "reshare" {
        notification = notification.with("shareWith", field("shareWith")).with("senderId", field("remoteId"));
    }
    if !field("permissions").is_empty() {
        notification = notification.with("permissions", field("permissions"));
    }
    unsigned(call, &call.services.federation().claims_of_notification(&notification))?;
    match call.services.federation().notified(&notification, call.address()).await {
        Ok(Heard::Done) => Ok(Value::nothing()),
        Ok(Heard::Reshared { id, secret }) => Ok(Value::map([("token", secret.expose().to_owned().into()), ("remoteId", id.into())])),
        Err(problem) => {
            let text = problem.to_string();
            Err(match problem {
                Unheard::Invalid(_) => Problem::bad_request(text),
                // 410 for an unknown number and 403 for a wrong secret would tell which numbers there are.
                Unheard::NoSuchShare => Problem::new(403, text),
                Unheard::Refused(_) => Problem::forbidden(text),
                Unheard::Unsupported => Problem::new(501, text),
                Unheard::Throttled(_) => Problem::throttled(),
                Unheard::Failed(refusal) => unavailable(&refusal.text),
            })
        }
    }
}

/// These calls carry no signature: who signs elsewhere is not believed here (attack F14).
fn unsigned(call: &Call, claims: &Claims) -> Result<(), Problem> {
    call.services.federation().believe_unsigned(claims).map_err(|unproven| {
        if let Unproven::Failed(refusal) = &unproven { unavailable(&refusal.text) } else { Problem::forbidden(unproven.to_string()) }
    })
}

fn unavailable(why: &str) -> Problem {
    tracing::error!(error = why, "a call of another server could not be met");
    Problem::unavailable()
}
