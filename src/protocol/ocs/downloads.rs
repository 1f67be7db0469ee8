//! How often a link may be downloaded, as Nextcloud's clients set it (`files_downloadlimit`): `/apps/files_downloadlimit/api/v1/TOKEN/limit`.

use crate::domain::Link;
use crate::protocol::ocs::call::Call;
use crate::protocol::ocs::envelope::{Answer, Problem, Value};
use crate::service::link_details::DetailChange;

/// Answers what stands behind `/api/v1/TOKEN/limit`: for the owner of the link alone.
pub(super) async fn limit(call: &Call, token: &str) -> Answer {
    let user = &call.session()?.user;
    let own = call.services.sharing().list(user).into_iter().find(|link| link.token.expose() == token);
    let link = own.ok_or_else(|| Problem::new(404, "Unknown share"))?;
    match call.method.as_str() {
        "GET" | "HEAD" => Ok(told(call, &link)),
        "PUT" => {
            let most = call.parameters.get("limit").and_then(|text| text.parse().ok()).filter(|most| *most > 0);
            let most: u64 = most.ok_or_else(|| Problem::bad_request("Limit must be greater or equal than 1"))?;
            change(call, &link, Some(most)).await
        }
        "DELETE" => change(call, &link, None).await,
        _ => Err(Problem::not_allowed()),
    }
}

async fn change(call: &Call, link: &Link, most: Option<u64>) -> Answer {
    let change = DetailChange { downloads_max: Some(most), ..DetailChange::default() };
    call.services.sharing().details().change(link.id, change).await?;
    Ok(told(call, link))
}

fn told(call: &Call, link: &Link) -> Value {
    let details = call.services.sharing().details().get(link.id);
    let count = details.downloads_max.map_or(Value::Null, |_most| details.downloads.into());
    Value::map([("limit", details.downloads_max.map_or(Value::Null, Value::from)), ("count", count)])
}
