//! `POST /index.php/apps/files_sharing/external`: a link of another server is mounted for who is logged in, as pages of ownCloud 7 to 10 ask for it
//! (`protocol/owncloud.md` 2.3). What goes wrong is said with status 200, as there.

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use super::answers;
use super::http::{Asked, login};
use super::site::{Proof, proof};
use crate::domain::{Secret, User};
use crate::limits::FORM_BYTES_MAX;
use crate::service::Reason;
use crate::service::adding::Handed;
use crate::wire::Body;

impl Asked<'_> {
    /// For a program, or a page of ours, that sends name and password.
    pub(super) async fn add_external(self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::POST {
            return answers::not_allowed("POST");
        }
        // A form in a page of another site could send this with a password that the browser remembers (attack L7).
        let proof = proof(&request, &self.app.services.options().own_hosts);
        match login(&self.app.services, &self.app.metrics, self.client, request.headers()).await {
            Ok(_user) if proof != Proof::Sent => {
                let data = json!({"message": "Token expired. Please reload page.", "error": "token_expired"});
                answers::json(StatusCode::OK, &json!({"data": data, "status": "error"}))
            }
            Ok(user) => self.add_for(&user, request).await,
            Err(refusal) => *refusal,
        }
    }

    /// Mounts what a form says, for a user whose login was judged.
    pub(super) async fn add_for(&self, user: &User, request: Request<Body>) -> Response<Body> {
        let Ok(form) = Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await else {
            return failed("The form could not be read");
        };
        let form = form.to_bytes();
        let field = |name: &str| url::form_urlencoded::parse(&form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let owner = field("ownerDisplayName").filter(|name| !name.is_empty()).or_else(|| field("owner"));
        let [remote, token, name] = ["remote", "token", "name"].map(|name| field(name).unwrap_or_default());
        let handed = Handed { remote: &remote, token: &token, owner: &owner.unwrap_or_default(), name: &name };
        let (password, address) = (field("password").map(Secret::new), self.client.address);
        match Box::pin(self.app.services.add_remote_link(user, handed, password, address)).await {
            Ok(_mount) => answers::json(StatusCode::OK, &json!({"status": "success"})),
            Err(refusal) if refusal.reason == Reason::Failed => {
                tracing::error!(error = %refusal, "a link of another server cannot be mounted now");
                failed("Storage not valid")
            }
            Err(refusal) => failed(&refusal.text),
        }
    }
}

fn failed(message: &str) -> Response<Body> {
    answers::json(StatusCode::OK, &json!({"data": {"message": message}, "status": "error"}))
}
