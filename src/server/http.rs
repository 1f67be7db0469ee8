//! One request from its headers to its answer: id and span, route, limits, authentication, protocol, access line.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answers;
use super::basic::{Credentials, bearer, credentials};
use super::body::{Access, Counted, Watched};
use super::browser;
use super::clients;
use super::metrics::{Counting, Metrics, RequestLabels, method_label};
use super::peer::{Client, Peer};
use super::route::Route;
use super::sendfile::Ghosts;
use super::servers::Questions;
use super::web::Web;
use crate::config::Network;
use crate::domain::{Error, Kind, Link, LinkId, Permissions, Secret, TreePath, User};
use crate::limits::HEADERS_BYTES_MAX;
use crate::protocol::dav::{self, Place};
use crate::protocol::ocm;
use crate::protocol::public::Passes;
use crate::service::Services;
use crate::service::accounts::{Attempt, Denied};
use crate::service::link_details::NotCounted;
use crate::service::sharing::{Closed, Visit};
use crate::tree::View;
use crate::wire::{Body, CONTAINS_HEADER, VIA_HEADER, Via};

/// What every request of one server needs.
#[derive(Debug)]
pub(super) struct App {
    /// What can be done.
    pub services: Services,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Path of the public URL.
    pub prefix: String,
    /// Whether there is one: the administrator said by which address others reach this server.
    pub has_public_url: bool,
    /// Whose headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Bound of an upload.
    pub upload_max: Option<u64>,
    /// Passes of visitors who knew a link's password.
    pub passes: Passes,
    /// What is not WebDAV.
    pub web: Web,
    /// What anybody may have other servers asked.
    pub questions: Questions,
    /// Count of requests, for their ids.
    pub counter: AtomicU64,
}

/// Answers a request; never fails. With `ghosts` a file is sent without being read.
pub(super) async fn respond(
    app: Arc<App>,
    peer: Peer,
    ghosts: Option<Ghosts>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Counted>, Infallible> {
    let began = Instant::now();
    let in_flight = Counting::start(&app.metrics.in_flight);
    let route = Route::parse(request.uri().path(), &app.prefix);
    let client = peer.client(request.headers(), &app.trusted_proxies);
    let id = app.counter.fetch_add(1, Ordering::Relaxed);
    let method = method_label(request.method());
    let span = tracing::info_span!("request", request.id = id, http.method = method, ?route, client.address = %client.address, user.id = tracing::field::Empty);
    let name = route.name();
    let from_its_like = request.headers().contains_key(VIA_HEADER);
    let answer = AssertUnwindSafe(answer(&app, route, client, request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answer.unwrap_or_else(|_panic| {
        app.metrics.panics.inc();
        span.in_scope(|| tracing::error!("a request ended in a panic"));
        answers::fault()
    });
    response.headers_mut().entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    // Other servers of this kind know us by our id, whatever the answer; listings tell more (`protocol::dav`).
    if from_its_like && let Ok(id) = HeaderValue::from_str(app.services.store().instance_id()) {
        response.headers_mut().entry(CONTAINS_HEADER).or_insert(id);
    }
    if let Some(ghosts) = ghosts {
        response = ghosts.take_over(response);
    }
    let labels = RequestLabels { route: name, method, status: response.status().as_u16() };
    let access = Access { span, began, labels, metrics: Arc::clone(&app.metrics), _in_flight: in_flight };
    let announced = content_length(response.headers());
    Ok(response.map(|body| Counted::new(body, announced, access)))
}

async fn answer(app: &App, route: Route, client: Client, request: Request<hyper::body::Incoming>) -> Response<Body> {
    if let Some(refusal) = refused_at_once(app, request.headers()) {
        return refusal;
    }
    let via = via(request.headers());
    if via.loops(app.services.store().instance_id()) {
        return answers::loop_detected();
    }
    if app.services.maintenance().is_on()
        && let Some(closed) = clients::maintenance(&route, &request)
    {
        return closed;
    }
    let request = request.map(|body| Watched::new(body, app.upload_max).boxed_unsync());
    let asked = Asked { app, client, via };
    // What is rare or large is put aside: the memory of every request has room for the largest of these.
    match route {
        Route::Home { root } => asked.home(request, root).await,
        Route::UserFiles { root, user } => asked.user_files(request, root, &user).await,
        Route::UserUploads { root, user } => Box::pin(asked.user_uploads(request, &root, &user)).await,
        Route::Bulk => Box::pin(asked.bulk(request)).await,
        Route::Kept { root, user, tree } => Box::pin(asked.kept(request, root, user.as_deref(), tree)).await,
        Route::LinkLogin { root } => asked.link_login(request, root).await,
        Route::SentShare { root, id } => asked.sent_by_number(request, root, &id).await,
        Route::LinkFiles { root, token } => asked.link_files(request, root, &token).await,
        Route::LinkUploads { root, token } => Box::pin(asked.link_uploads(request, &root, &token)).await,
        Route::LinkPage { base, token, page } => Box::pin(asked.link_page(request, base, &token, page)).await,
        Route::Status => asked.status(request.method()),
        Route::Ocm { call } => Box::pin(ocm::handle(request, call, &app.services, client.address)).await,
        Route::Ocs { path } => Box::pin(asked.ocs(request, &path)).await,
        Route::ShareInfo => Box::pin(asked.share_info(request)).await,
        Route::External if by_program(request.headers()) => Box::pin(asked.add_external(request)).await,
        Route::External => Box::pin(asked.browser(request, browser::Page::External)).await,
        Route::GiveToServer => Box::pin(asked.give_to_server(request)).await,
        Route::OldPage => asked.old_page(&request),
        Route::Provider => asked.provider(request.method()),
        Route::TestRemote => Box::pin(asked.test_remote(request)).await,
        Route::Login { step } => Box::pin(asked.login_flow(request, step)).await,
        Route::NoContent => clients::no_content(),
        Route::Browser { page } => Box::pin(asked.browser(request, page)).await,
        Route::Root if browser::wants_page(&request) => Box::pin(asked.browser(request, browser::Page::Start)).await,
        Route::Root | Route::Healthz | Route::Readyz | Route::Metrics | Route::Unknown => app.web.respond(&route, client, request).await,
    }
}

/// Whether a program asks, which logs in as programs do; a browser has its session.
fn by_program(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key("ocs-apirequest")
}

fn refused_at_once(app: &App, headers: &HeaderMap) -> Option<Response<Body>> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > HEADERS_BYTES_MAX {
        return Some(answers::headers_too_large());
    }
    match (content_length(headers), app.upload_max) {
        (Some(length), Some(most)) if length > most => Some(answers::too_large()),
        (Some(_) | None, Some(_) | None) => None,
    }
}

/// Bytes of the body, where they are announced.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
}

fn via(headers: &HeaderMap) -> Via {
    let hops: Vec<&str> = headers.get_all(VIA_HEADER).into_iter().filter_map(|value| value.to_str().ok()).collect();
    Via::parse(&hops.join(","))
}

/// A request's sender and way, with the server that answers.
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    pub(super) client: Client,
    pub(super) via: Via,
}

impl Asked<'_> {
    async fn home(self, request: Request<Body>, root: String) -> Response<Body> {
        match self.user(request.headers()).await {
            Ok(user) => self.serve_user(request, root, &user).await,
            Err(refusal) => *refusal,
        }
    }

    async fn user_files(self, request: Request<Body>, root: String, named: &str) -> Response<Body> {
        match self.user(request.headers()).await {
            // Names are unique whatever their case, and clients write them as their users do.
            Ok(user) if user.name.as_str().eq_ignore_ascii_case(named) => self.serve_user(request, root, &user).await,
            Ok(_other) => answers::not_found(),
            Err(refusal) => *refusal,
        }
    }

    async fn user_uploads(self, request: Request<Body>, root: &str, named: &str) -> Response<Body> {
        match self.user(request.headers()).await {
            Ok(user) if user.name.as_str().eq_ignore_ascii_case(named) => {
                // A Destination names the user as the request does.
                let files = root.replacen("/uploads/", "/files/", 1);
                self.serve_user_at(Place::Uploads(root), request, files, &user).await
            }
            Ok(_other) => answers::not_found(),
            Err(refusal) => *refusal,
        }
    }

    async fn bulk(self, request: Request<Body>) -> Response<Body> {
        match self.user(request.headers()).await {
            Ok(user) => {
                let files = format!("{}/remote.php/webdav", self.app.prefix);
                self.serve_user_at(Place::Bulk, request, files, &user).await
            }
            Err(refusal) => *refusal,
        }
    }

    /// Trash and versions, of whoever logs in alone: another name is not there (attack D11).
    async fn kept(self, request: Request<Body>, root: String, named: Option<&str>, tree: dav::Tree) -> Response<Body> {
        let user = match self.user(request.headers()).await {
            Ok(user) if named.is_none_or(|named| user.name.as_str().eq_ignore_ascii_case(named)) => user,
            Ok(_other) => return answers::not_found(),
            Err(refusal) => return *refusal,
        };
        let prefix = &self.app.prefix;
        let aliases = tree.roots().map(|root| match named {
            Some(_) => format!("{prefix}{root}/{}", user.name),
            None => format!("{prefix}{root}"),
        });
        let places = dav::Kept { tree, own: self.root(root, aliases.to_vec()), home: self.home_root(&user) };
        match self.app.services.forest().user_view(&user, self.via.clone()) {
            Ok(view) => dav::handle_kept(spelt(request, prefix), view, self.app.services.sharing(), places).await,
            Err(error) => {
                tracing::error!(%error, "a tree could not be opened");
                answers::unavailable(Duration::from_secs(30))
            }
        }
    }

    /// The home of a user under all its roots.
    fn home_root(&self, user: &User) -> dav::Root {
        let prefix = &self.app.prefix;
        let named = |root: &str| format!("{prefix}{root}/{}", user.name);
        let aliases =
            vec![format!("{prefix}/remote.php/webdav"), format!("{prefix}/webdav"), named("/remote.php/dav/files"), named("/dav/files")];
        self.root(named("/remote.php/dav/files"), aliases)
    }

    async fn user(&self, headers: &HeaderMap) -> Result<Arc<User>, Box<Response<Body>>> {
        login(&self.app.services, &self.app.metrics, self.client, headers).await
    }

    async fn serve_user(self, request: Request<Body>, root: String, user: &User) -> Response<Body> {
        self.serve_user_at(Place::Files, request, root, user).await
    }

    async fn serve_user_at(self, place: Place<'_>, request: Request<Body>, root: String, user: &User) -> Response<Body> {
        let view = self.app.services.forest().user_view(user, self.via.clone());
        let home = self.home_root(user);
        let aliases = std::iter::once(home.prefix).chain(home.aliases).collect();
        self.serve(place, request, self.root(root, aliases), view).await
    }

    pub(super) fn root(&self, prefix: String, aliases: Vec<String>) -> dav::Root {
        let aliases = aliases.into_iter().filter(|alias| *alias != prefix).collect();
        let hosts = self.app.services.options().own_hosts.clone();
        let services = &self.app.services;
        let (clock, uploads) = (services.clock().clone(), Some(services.uploads().clone()));
        dav::Root { aliases, hosts, clock, uploads, upload_max: self.app.upload_max, ..dav::Root::new(prefix) }
    }

    async fn serve_link(&self, place: Place<'_>, mut request: Request<Body>, root: String, link: &Link) -> Response<Body> {
        let details = self.app.services.sharing().details();
        if request.method() != Method::GET || !details.is_limited(link.id) {
            return self.serve_opened(place, request, root, link).await;
        }
        // A download is the whole file: by its parts it could be fetched without being counted.
        request.headers_mut().remove(RANGE);
        let (link_id, services) = (link.id, self.app.services.clone());
        counted(&services, link_id, Box::pin(self.serve_opened(place, request, root, link))).await
    }

    async fn serve_opened(&self, place: Place<'_>, request: Request<Body>, root: String, link: &Link) -> Response<Body> {
        let prefix = &self.app.prefix;
        let named = |root: &str| format!("{prefix}{root}/{}", link.token.expose());
        let mut aliases = vec![named("/public.php/dav/files"), named("/remote.php/dav/public-files"), named("/dav/public-files")];
        if place != Place::Files {
            // Whose tree that is was said by the token of the request.
            aliases.push(format!("{prefix}/public.php/webdav"));
        }
        let single_file = link.kind == Kind::File;
        let root = dav::Root { single_file, name: Some(link.name.clone()), ..self.root(root, aliases) };
        self.serve(place, request, root, self.link_view(link)).await
    }

    /// `/public.php/webdav`: the token is the name. Unknown and wrong are both 401, as clients of this root expect.
    async fn link_login(self, request: Request<Body>, root: String) -> Response<Body> {
        let given = bearer(request.headers()).map(|name| Credentials { name, password: Secret::default() });
        let given = given.or_else(|| credentials(request.headers()));
        let Some(Credentials { name, password }) = given else { return answers::unauthorized() };
        match self.sent_share(name.expose()) {
            Ok(share) => return self.serve_sent(request, root, &share).await,
            Err(Closed::Unknown) if self.app.services.federation().is_worn_token(name.expose()) => return answers::unauthorized(),
            Err(Closed::Unknown) => {}
            Err(closed) => return self.closed(closed),
        }
        let visit = Visit { token: name.expose(), password: Some(&password), address: self.client.address };
        match self.app.services.sharing().open_for_servers(visit).await {
            Ok(link) => {
                let response = self.serve_link(Place::Files, request, root, &link).await;
                // A link dies with its node. By 404 ownCloud 7 would show for ever what it last saw (`protocol/owncloud.md` 2.5).
                let dead = response.status() == StatusCode::NOT_FOUND && self.is_dead(&link).await;
                if dead { answers::unauthorized() } else { response }
            }
            Err(Closed::Unknown) => answers::unauthorized(),
            Err(closed) => self.closed(closed),
        }
    }

    async fn link_files(self, request: Request<Body>, root: String, token: &str) -> Response<Body> {
        let given = credentials(request.headers()).map(|given| given.password);
        match self.open(token, given.as_ref()).await {
            Ok(link) => self.serve_link(Place::Files, request, root, &link).await,
            Err(closed) => self.closed(closed),
        }
    }

    async fn link_uploads(self, request: Request<Body>, root: &str, token: &str) -> Response<Body> {
        let given = credentials(request.headers()).map(|given| given.password);
        match self.open(token, given.as_ref()).await {
            Ok(link) => self.serve_link(Place::Uploads(root), request, root.replacen("/uploads/", "/files/", 1), &link).await,
            Err(closed) => self.closed(closed),
        }
    }

    async fn open(&self, token: &str, password: Option<&Secret>) -> Result<Arc<Link>, Closed> {
        let (sharing, visit) = (self.app.services.sharing(), Visit { token, password, address: self.client.address });
        // Another server of this kind says so: what servers may not mount, they may not by the roots of people.
        if self.via.is_empty() { sharing.open_link(visit).await } else { sharing.open_for_servers(visit).await }
    }

    /// The tree that a link opens, its guards passed.
    pub(super) fn link_view(&self, link: &Link) -> crate::domain::Result<View> {
        let owner = self.app.services.accounts().get(&link.owner);
        let shown = owner.map_or_else(|| link.owner.to_string(), |owner| owner.display_name.clone());
        self.app.services.forest().link_view(link, &shown, self.via.clone())
    }

    /// Whether the node of a link is there no more. Of a file drop nothing is there for anybody.
    async fn is_dead(&self, link: &Link) -> bool {
        match self.link_view(link) {
            Ok(view) => link.permissions.contains(Permissions::READ) && matches!(view.stat(&TreePath::root()).await, Err(Error::NotFound)),
            Err(_) => false,
        }
    }

    pub(super) fn closed(&self, closed: Closed) -> Response<Body> {
        match closed {
            Closed::Unknown | Closed::UsedUp => answers::not_found(),
            Closed::Disabled => answers::unavailable(answers::DISABLED_WAIT),
            Closed::NeedsPassword => answers::unauthorized(),
            Closed::WrongPassword => {
                self.app.metrics.refused_logins.inc();
                answers::unauthorized()
            }
            Closed::Throttled(wait) => answers::throttled(wait),
            Closed::Busy => answers::unavailable(Duration::from_secs(2)),
        }
    }

    pub(super) async fn serve(
        &self,
        place: Place<'_>,
        request: Request<Body>,
        root: dav::Root,
        view: crate::domain::Result<View>,
    ) -> Response<Body> {
        match view {
            Ok(view) => dav::handle_at(place, spelt(request, &self.app.prefix), view, root).await,
            // A fault of ours must never look like absence or a wrong password.
            Err(error) => {
                log_unopened(&error);
                answers::unavailable(Duration::from_secs(30))
            }
        }
    }
}

/// Says that a tree could not be opened, where that is a fault of ours.
pub(super) fn log_unopened(error: &Error) {
    if matches!(error, Error::Unavailable { .. }) {
        tracing::debug!(%error, "a tree is not open now");
    } else {
        tracing::error!(%error, "a tree could not be opened");
    }
}

/// Answers a download of a link whose downloads are counted.
pub(super) async fn counted(services: &Services, link: LinkId, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
    let details = services.sharing().details();
    match details.count(link).await {
        Ok(()) => {}
        Err(NotCounted::UsedUp) => return answers::not_found(),
        Err(NotCounted::Failed(error)) => {
            tracing::error!(%error, share.id = link.0, "a download could not be counted");
            return answers::unavailable(Duration::from_secs(30));
        }
    }
    let answer = answer.await;
    // A file and a zip come as attachments; what a folder answers holds nothing.
    if answer.status() != StatusCode::OK || !answer.headers().contains_key(CONTENT_DISPOSITION) {
        details.give_back(link).await;
    }
    answer
}

/// The account whose name and password a request carries.
pub(super) async fn login(
    services: &Services,
    metrics: &Metrics,
    client: Client,
    headers: &HeaderMap,
) -> Result<Arc<User>, Box<Response<Body>>> {
    let Some(Credentials { name, password }) = credentials(headers) else { return Err(Box::new(answers::unauthorized())) };
    let attempt = Attempt { name: name.expose(), password: &password, address: client.address };
    match services.accounts().login(attempt).await {
        Ok(user) => {
            tracing::Span::current().record("user.id", tracing::field::display(&user.name));
            Ok(user)
        }
        Err(denied) => {
            metrics.refused_logins.inc();
            Err(Box::new(match denied {
                Denied::Wrong => answers::unauthorized(),
                Denied::Throttled(wait) => answers::throttled(wait),
                Denied::Busy => answers::unavailable(Duration::from_secs(2)),
            }))
        }
    }
}

/// A request whose path stands as the client wrote it, where a proxy took the prefix off.
fn spelt(mut request: Request<Body>, prefix: &str) -> Request<Body> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let whole = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if prefix.is_empty() || whole {
        return request;
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{prefix}{path}")).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}
