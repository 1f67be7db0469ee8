//! The page of a user: the mounts, and what waits for an answer.

use http::{Request, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::{Mount, MountId, ReceivedState, ShareId, User};
use crate::protocol::web::{self, Frame, Incoming, MountRow, Notice, Pending, Start};
use crate::server::http::Asked;
use crate::service::sessions::Visitor;
use crate::wire::Body;

impl Asked<'_> {
    /// `/` and `/index.php/apps/files`: the page of a user, or the dialogue, where the query names a share. Who is not logged in does so first and
    /// comes back with the same query.
    pub(super) fn start_page(&self, request: &Request<Body>, frame: &Frame, visitor: Option<Visitor>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let field = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref());
        let adds = field("remote").is_some() || field("token").is_some();
        let Some(visitor) = visitor else {
            let place = if adds { format!("/index.php/apps/files?{query}") } else { "/".to_owned() };
            return self.log_in_for(&place);
        };
        if adds {
            return self.ask_to_add(frame, &field);
        }
        let added = field("added").and_then(|id| id.parse().ok()).and_then(|id| self.path_of_added(&visitor.user, MountId(id)));
        let notice = match (added, field("answer")) {
            (Some(path), _) => Some(Notice::Added(path)),
            (None, Some("accept")) => Some(Notice::Accepted),
            (None, Some("decline")) => Some(Notice::Declined),
            (None, Some(_) | None) => None,
        };
        let page = self.start_of(&self.found_at(request), &visitor.user);
        web::start(frame, &page, notice.as_ref())
    }

    /// To the login, which leads to `place`.
    pub(super) fn log_in_for(&self, place: &str) -> Response<Body> {
        self.go(&format!("/login?to={}", utf8_percent_encode(place, NON_ALPHANUMERIC)))
    }

    fn path_of_added(&self, user: &User, id: MountId) -> Option<String> {
        let mounting = self.app.services.mounting();
        let mount = mounting.get(id).ok().filter(|mount| mount.space == user.space)?;
        mounting.path_of(&mount).map(|path| path.to_string())
    }

    fn start_of(&self, own: &str, user: &User) -> Start {
        let services = &self.app.services;
        let row = |mount: Mount| {
            let path = services.mounting().path_of(&mount).map(|path| path.to_string());
            MountRow::new(path, from(&mount), &mount.state)
        };
        let offered =
            services.federation().offers_of(user).into_iter().filter(|offer| offer.state == ReceivedState::Pending).map(|offer| {
                let owner = format!("{}@{}", offer.owner.user(), offer.owner.host());
                let owner = if offer.owner_name.is_empty() { owner } else { format!("{} ({owner})", offer.owner_name) };
                Pending { kind: Incoming::Remote, id: offer.id.0, name: offer.name.clone(), owner }
            });
        let received = services.shares().received(user).into_iter();
        let received = received.filter(|(_, end)| services.shares().state(end) == ReceivedState::Pending).map(|(share, _)| {
            let owner = services.accounts().get(&share.shared_by);
            let owner = owner.map_or_else(|| share.shared_by.to_string(), |owner| owner.display_name.clone());
            Pending { kind: Incoming::Here, id: share.id.0, name: share.name.clone(), owner }
        });
        Start {
            dav: format!("{own}/remote.php/webdav/"),
            mounts: services.mounting().list(user).into_iter().map(row).collect(),
            pending: offered.chain(received).collect(),
        }
    }

    /// `POST /incoming`: accepts or declines.
    pub(super) async fn answer_incoming(&self, request: Request<Body>, frame: &Frame, visitor: Option<Visitor>) -> Response<Body> {
        let Some(Visitor { user, .. }) = visitor else { return self.log_in_for("/") };
        let own = self.found_at(&request);
        let form = match self.form(request, frame).await {
            Ok(form) => form,
            Err(refusal) => return *refusal,
        };
        let id = form.get("id").and_then(|id| id.parse().ok()).map(ShareId);
        let kind = form.get("kind").and_then(Incoming::parse);
        let (Some(id), Some(kind), Some(answer)) = (id, kind, form.get("answer").filter(|answer| matches!(*answer, "accept" | "decline")))
        else {
            return self.go("/");
        };
        let services = &self.app.services;
        let done = match (kind, answer) {
            (Incoming::Remote, "accept") => services.federation().accept(&user, id).await.map(|offer| offer.mount),
            (Incoming::Remote, _) => services.federation().decline(&user, id).await.map(|()| None),
            (Incoming::Here, "accept") => services.shares().accept(&user, id).await.map(|_received| None),
            (Incoming::Here, _) => services.shares().decline(&user, id).await.map(|_received| None),
        };
        match done {
            Ok(Some(mount)) => self.go(&format!("/?added={}", mount.0)),
            Ok(None) => self.go(&format!("/?answer={answer}")),
            Err(refusal) => {
                tracing::info!(error = %refusal, share.id = id.0, "an answer to a share could not be given");
                web::start(frame, &self.start_of(&own, &user), Some(&Notice::Refused(refusal)))
            }
        }
    }
}

/// Whose a mount is, and on which server.
fn from(mount: &Mount) -> String {
    let host = url::Url::parse(&mount.url).ok().and_then(|url| {
        let host = url.host_str()?.to_owned();
        Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    let host = host.unwrap_or_default();
    match mount.owner.as_str() {
        "" => host,
        // The owner of an offered share stands there with the server.
        owner if owner.contains('@') => owner.to_owned(),
        owner => format!("{owner}@{host}"),
    }
}
