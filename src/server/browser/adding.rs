//! "Do you want to add the remote share …?": where other servers send their visitors, and the button's answer.

use http::{Request, Response};

use crate::domain::Secret;
use crate::protocol::web::{self, Frame, Message};
use crate::server::http::Asked;
use crate::service::adding::{Handed, RemoteLink};
use crate::service::sessions::Visitor;
use crate::wire::Body;

impl Asked<'_> {
    /// The dialogue for what a query names. Nothing is asked of the other server, and nothing is changed.
    pub(super) fn ask_to_add<'a>(&self, frame: &Frame, field: &impl Fn(&str) -> Option<&'a str>) -> Response<Body> {
        let Some(link) = handed(field) else { return web::message(frame, Message::Incomplete) };
        if self.app.services.mounting().is_ours(&link) {
            return web::message(frame, Message::Ourselves);
        }
        web::add(frame, &link, is_protected(field("protected")), None)
    }

    /// `POST /index.php/apps/files_sharing/external` from the dialogue.
    pub(super) async fn add_remote(&self, request: Request<Body>, frame: &Frame, visitor: Option<Visitor>) -> Response<Body> {
        let Some(Visitor { user, .. }) = visitor else { return self.log_in_for("/") };
        let form = match self.form(request, frame).await {
            Ok(form) => form,
            Err(refusal) => return *refusal,
        };
        let field = |name: &str| form.get(name);
        let Some(link) = handed(&field) else { return web::message(frame, Message::Incomplete) };
        if self.asks_too_often("dialogue") {
            return web::message(frame, Message::TooOften);
        }
        let password = form.get("password").filter(|password| !password.is_empty()).map(Secret::new);
        match self.app.services.mounting().add_link(&user, &link, password).await {
            Ok(mount) => self.go(&format!("/?added={}", mount.id.0)),
            Err(failed) => web::add(frame, &link, is_protected(form.get("protected")), Some(&failed)),
        }
    }
}

fn handed<'a>(field: &impl Fn(&str) -> Option<&'a str>) -> Option<RemoteLink> {
    // ownCloud 7 puts the name for people into `owner`; later servers and Nextcloud put that beside the account's.
    let owner = field("owner").filter(|owner| !owner.is_empty()).or_else(|| field("ownerDisplayName")).unwrap_or_default();
    RemoteLink::parse(Handed { remote: field("remote")?, token: field("token")?, owner, name: field("name").unwrap_or_default() }).ok()
}

fn is_protected(field: Option<&str>) -> bool {
    matches!(field, Some("1" | "true"))
}
