//! What sync clients and mounting servers ask before and beside WebDAV: `status.php`, OCS, `shareinfo`. Logins are judged here, what is
//! answered is `protocol::ocs` and `protocol::public`.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::answers;
use super::basic::{Credentials, credentials};
use super::http::{Asked, log_unopened};
use super::route::Route;
use super::site::{Proof, proof};
use crate::domain::{Permissions, Secret};
use crate::limits::FORM_BYTES_MAX;
use crate::protocol::ocs::{self, Caller, Form, Problem};
use crate::protocol::{login, ocm, public};
use crate::service::accounts::{Attempt, Denied, Session};
use crate::service::sharing::{Closed, Visit};
use crate::tree::View;
use crate::wire::Body;

/// What a script in a page sends with its requests: for those a challenge would open the browser's own dialog.
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
/// How long clients wait before they ask a server in maintenance again.
const MAINTENANCE_WAIT: Duration = Duration::from_secs(120);

impl Asked<'_> {
    /// `GET /status.php`.
    pub(super) fn status(&self, method: &Method) -> Response<Body> {
        match *method {
            Method::GET | Method::HEAD => ocs::status(&self.app.services),
            _ => answers::not_allowed("GET, HEAD"),
        }
    }

    /// `/ocs/…`: `path` is what stands behind it.
    pub(super) async fn ocs(self, request: Request<Body>, path: &str) -> Response<Body> {
        let form = Form::of(path, &request);
        let scripted = request.headers().contains_key(X_REQUESTED_WITH);
        let proof = proof(&request, &self.app.services.options().own_hosts);
        let base = self.known_at(&request);
        let mut response = match self.session(request.headers()).await {
            Ok(Some(_)) if proof == Proof::Foreign => form.refuse(Problem::foreign()),
            Ok(session) => {
                let (via, address) = (self.via.clone(), self.client.address);
                let caller = Caller { session, via, address, base, may_change: proof == Proof::Sent };
                ocs::handle(request, path, &self.app.services, caller).await
            }
            Err(denied) => self.ocs_denied(denied, form),
        };
        if response.status() == StatusCode::UNAUTHORIZED && !scripted {
            response.headers_mut().insert(WWW_AUTHENTICATE, answers::CHALLENGE);
        }
        response
    }

    /// The login of a request; none where it brings none.
    async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, Denied> {
        let Some(Credentials { name, password }) = credentials(headers) else { return Ok(None) };
        let attempt = Attempt { name: name.expose(), password: &password, address: self.client.address };
        let session = self.app.services.accounts().authenticate(attempt).await?;
        tracing::Span::current().record("user.id", tracing::field::display(&session.user.name));
        Ok(Some(session))
    }

    fn ocs_denied(&self, denied: Denied, form: Form) -> Response<Body> {
        self.app.metrics.refused_logins.inc();
        match denied {
            Denied::Wrong => form.refuse(Problem::unauthorised()),
            Denied::Throttled(wait) => answers::retry_after(form.refuse(Problem::throttled()), wait),
            Denied::Busy => answers::retry_after(form.refuse(Problem::unavailable()), Duration::from_secs(2)),
        }
    }

    /// `POST /index.php/apps/files_sharing/shareinfo?t=TOKEN`. Unknown and ended links are 404, a password that is missing or wrong is 403.
    pub(super) async fn share_info(self, request: Request<Body>) -> Response<Body> {
        if request.method() != Method::POST {
            return answers::not_allowed("POST");
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let Ok(body) = Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await else {
            return public::refuse(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let pairs: Vec<_> = url::form_urlencoded::parse(&body).chain(url::form_urlencoded::parse(query.as_bytes())).collect();
        let field = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
        let Some(token) = field("t") else { return public::refuse(StatusCode::BAD_REQUEST) };
        let password = field("password").map(Secret::new);
        match self.sent_share(token) {
            Ok(share) => {
                let question = public::Question::parse(field("dir"), field("depth"), share.name.clone());
                return info(self.sent_view(&share).await, question).await;
            }
            Err(Closed::Unknown) => {}
            Err(closed) => return self.info_closed(closed),
        }
        let visit = Visit { token, password: password.as_ref(), address: self.client.address };
        let link = match self.app.services.sharing().open_for_servers(visit).await {
            Ok(link) => link,
            Err(closed) => return self.info_closed(closed),
        };
        // What a file drop holds is not told, and that it is one is no secret.
        if !link.permissions.contains(Permissions::READ) {
            return public::refuse(StatusCode::FORBIDDEN);
        }
        info(self.link_view(&link), public::Question::parse(field("dir"), field("depth"), link.name.clone())).await
    }

    fn info_closed(&self, closed: Closed) -> Response<Body> {
        match closed {
            Closed::Unknown | Closed::UsedUp => public::refuse(StatusCode::NOT_FOUND),
            Closed::Disabled => answers::retry_after(public::refuse(StatusCode::SERVICE_UNAVAILABLE), answers::DISABLED_WAIT),
            Closed::NeedsPassword => public::refuse(StatusCode::FORBIDDEN),
            Closed::WrongPassword => {
                self.app.metrics.refused_logins.inc();
                public::refuse(StatusCode::FORBIDDEN)
            }
            Closed::Throttled(wait) => answers::retry_after(public::refuse(StatusCode::TOO_MANY_REQUESTS), wait),
            Closed::Busy => answers::retry_after(public::refuse(StatusCode::SERVICE_UNAVAILABLE), Duration::from_secs(2)),
        }
    }
}

/// What a tree holds; of one that cannot be opened now nothing is said.
async fn info(view: crate::domain::Result<View>, question: Option<public::Question>) -> Response<Body> {
    let Some(question) = question else { return public::refuse(StatusCode::BAD_REQUEST) };
    match view {
        Ok(view) => public::share_info(view, question).await,
        Err(error) => {
            log_unopened(&error);
            answers::retry_after(public::refuse(StatusCode::SERVICE_UNAVAILABLE), Duration::from_secs(30))
        }
    }
}

/// The answer of a server in maintenance; none for what stays open. Clients stop their work at this body and try again later, instead of
/// taking anything for gone (`protocol/clients.md` 2).
pub(super) fn maintenance(route: &Route, request: &Request<hyper::body::Incoming>) -> Option<Response<Body>> {
    let response = match route {
        Route::Root | Route::Healthz | Route::Readyz | Route::Metrics | Route::Status => return None,
        // At a 5xx there ownCloud 11 shows its users none of their mounts (`protocol/owncloud.md` 1.3).
        Route::Provider => return None,
        // Says so itself, on a page.
        Route::Browser { .. } => return None,
        Route::Ocm { call } if call.is_discovery() => return None,
        Route::Ocm { .. } => ocm::later(),
        Route::Ocs { path } => Form::of(path, request).refuse(Problem::unavailable()),
        Route::ShareInfo => public::refuse(StatusCode::SERVICE_UNAVAILABLE),
        Route::LinkPage { .. } | Route::OldPage => public::later(),
        Route::Login { .. } => login::later(StatusCode::SERVICE_UNAVAILABLE),
        Route::Home { .. }
        | Route::UserFiles { .. }
        | Route::LinkLogin { .. }
        | Route::LinkFiles { .. }
        | Route::SentShare { .. }
        | Route::LinkUploads { .. }
        | Route::UserUploads { .. }
        | Route::Kept { .. }
        | Route::Bulk
        | Route::GiveToServer
        | Route::External
        | Route::TestRemote
        | Route::NoContent
        | Route::Unknown => answers::unavailable(MAINTENANCE_WAIT),
    };
    let mut response = answers::retry_after(response, MAINTENANCE_WAIT);
    // By this the apps of Nextcloud tell maintenance from a fault.
    response.headers_mut().insert(HeaderName::from_static("x-nextcloud-maintenance-mode"), HeaderValue::from_static("1"));
    Some(response)
}

/// `GET /index.php/204`: phones look whether they have a network by this.
pub(super) fn no_content() -> Response<Body> {
    let mut response = answers::text(StatusCode::NO_CONTENT, "");
    response.headers_mut().remove(CONTENT_TYPE);
    response
}
