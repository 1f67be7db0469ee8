//! `POST /index.php/apps/federatedfilesharing/createFederatedShare`: another server asks, for a visitor of a link who is its user, that what the link
//! shows be shared with that user (`protocol/nextcloud.md` 1.1). So Nextcloud mounts links.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use super::answers;
use super::http::Asked;
use crate::domain::{CloudId, Permissions, Secret};
use crate::limits::FORM_BYTES_MAX;
use crate::service::federation::NotGiven;
use crate::service::sharing::{Closed, Visit};
use crate::wire::Body;

/// When a server should ask again that could not be answered for a fault of ours.
const FAULT_WAIT: Duration = Duration::from_secs(60);

impl Asked<'_> {
    /// Answers with the URL of the other server, or 400 and a sentence; 429 for who asks much; 503 for what passes.
    pub(super) async fn give_to_server(self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::POST {
            return answers::not_allowed("POST");
        }
        let Ok(form) = Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await else {
            return refused("The form could not be read");
        };
        let form = form.to_bytes();
        let field = |name: &str| url::form_urlencoded::parse(&form).find(|(key, _)| key == name).map(|(_, value)| value);
        let (Some(token), Some(with)) = (field("token"), field("shareWith")) else {
            return refused("token and shareWith are needed");
        };
        let password = field("password").map(Secret::new);
        let visit = Visit { token: &token, password: password.as_ref(), address: self.client.address };
        let link = match self.app.services.sharing().open_for_servers(visit).await {
            Ok(link) => link,
            Err(Closed::Unknown | Closed::UsedUp) => return refused("The requested share does not exist anymore"),
            Err(Closed::NeedsPassword) => return refused("No permission to access the share"),
            Err(Closed::WrongPassword) => {
                self.app.metrics.refused_logins.inc();
                return refused("No permission to access the share");
            }
            Err(closed) => return self.closed(closed),
        };
        if !link.permissions.contains(Permissions::READ) {
            return refused("Mounting file drop not supported");
        }
        let Ok(to) = CloudId::parse(&with) else { return refused("shareWith is no address of a user, such as bob@cloud.example") };
        match self.app.services.give_link(&link, &to, self.client.address).await {
            Ok(()) => answers::json(StatusCode::OK, &json!({ "remoteUrl": to.url() })),
            Err(NotGiven::Throttled(wait)) => answers::retry_after(said(StatusCode::TOO_MANY_REQUESTS, "Ask again later"), wait),
            Err(NotGiven::Refused(text)) => refused(&text),
            Err(NotGiven::Failed(error)) => {
                tracing::error!(%error, share.id = link.id.0, "a link cannot be given to another server now");
                answers::unavailable(FAULT_WAIT)
            }
        }
    }
}

fn refused(text: &str) -> Response<Body> {
    said(StatusCode::BAD_REQUEST, text)
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    answers::json(status, &json!({ "message": text }))
}
