//! `/ocm/accept-invite?token=…&providerDomain=…`: a user accepts an invitation of another server by a click.

use http::{Request, Response};

use crate::domain::Secret;
use crate::protocol::web::{self, Frame, Invite};
use crate::server::http::Asked;
use crate::service::federation::NotAccepted;
use crate::service::sessions::Visitor;
use crate::wire::Body;
use crate::wire::invite::ACCEPT_PAGE;

impl Asked<'_> {
    /// The question. Nothing is asked of the other server, and nothing is told to it.
    pub(super) fn ask_to_accept(&self, request: &Request<Body>, frame: &Frame, visitor: Option<&Visitor>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        if visitor.is_none() {
            return self.log_in_for(&format!("{ACCEPT_PAGE}?{query}"));
        }
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_ref());
        match Invite::parse(field("token"), field("providerDomain")) {
            Some(invite) => web::invite(frame, invite, None),
            None => web::no_invite(frame),
        }
    }

    /// The button's form.
    pub(super) async fn accept_invite(&self, request: Request<Body>, frame: &Frame, visitor: Option<Visitor>) -> Response<Body> {
        let Some(Visitor { user, .. }) = visitor else { return self.log_in_for("/") };
        let form = match self.form(request, frame).await {
            Ok(form) => form,
            Err(refusal) => return *refusal,
        };
        let field = |name: &str| form.get(name).unwrap_or_default();
        let Some(invite) = Invite::parse(field("token"), field("providerDomain")) else { return web::no_invite(frame) };
        let token = Secret::new(invite.token());
        match Box::pin(self.app.services.federation().accept_invitation(&user, &token, invite.provider())).await {
            Ok(contact) => web::invited(frame, &contact.name, &contact.address.to_string()),
            Err(failed) => {
                let why = match &failed {
                    NotAccepted::Unreadable => web::NotAccepted::Unreadable,
                    NotAccepted::Ourselves => web::NotAccepted::Ourselves,
                    NotAccepted::NotAllowed => web::NotAccepted::NotAllowed,
                    NotAccepted::Throttled(_) => web::NotAccepted::Throttled,
                    NotAccepted::Unreachable { .. } => web::NotAccepted::Unreachable,
                    NotAccepted::Unknown { .. } => web::NotAccepted::Unknown,
                    NotAccepted::Taken => web::NotAccepted::Taken,
                    NotAccepted::Untrusted { .. } => web::NotAccepted::Untrusted,
                    NotAccepted::Failed(_) => web::NotAccepted::Failed,
                };
                web::invite(frame, invite, Some(why))
            }
        }
    }
}
