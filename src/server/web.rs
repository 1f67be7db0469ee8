//! What is not WebDAV and belongs to no link: the root, health and numbers, as a small router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{any, get};
use http::header::{ALLOW, CACHE_CONTROL, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::set_header::SetResponseHeaderLayer;

use super::answers;
use super::http::login;
use super::metrics::Metrics;
use super::peer::Client;
use super::route::Route;
use crate::service::Services;
use crate::wire::Body;

/// What the handlers need.
#[derive(Debug, Clone)]
struct Shared {
    services: Services,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
}

/// The router of one server.
#[derive(Debug, Clone)]
pub(super) struct Web(Router);

/// Methods of `/`.
const ROOT_METHODS: &str = "OPTIONS, GET, HEAD";
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

impl Web {
    /// A router over these services and numbers.
    pub(super) fn new(services: Services, metrics: Arc<Metrics>, stopping: CancellationToken) -> Web {
        let router = Router::new()
            .route("/", any(root))
            .route("/healthz", get(async || answers::text(StatusCode::OK, "ok\n")))
            .route("/readyz", get(ready))
            .route("/metrics", get(numbers))
            .fallback(async || answers::not_found())
            .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .with_state(Shared { services, metrics, stopping });
        Web(router)
    }

    /// Answers a request whose route is known; its path may have the prefix of the public URL.
    pub(super) async fn respond(&self, route: &Route, client: Client, mut request: Request<Body>) -> Response<Body> {
        let path = match route {
            Route::Root => "/",
            Route::Healthz => "/healthz",
            Route::Readyz => "/readyz",
            Route::Metrics => "/metrics",
            Route::Home { .. }
            | Route::UserFiles { .. }
            | Route::UserUploads { .. }
            | Route::Bulk
            | Route::Kept { .. }
            | Route::LinkLogin { .. }
            | Route::LinkFiles { .. }
            | Route::SentShare { .. }
            | Route::LinkUploads { .. }
            | Route::LinkPage { .. }
            | Route::Status
            | Route::ShareInfo
            | Route::OldPage
            | Route::Provider
            | Route::TestRemote
            | Route::Ocm { .. }
            | Route::Ocs { .. }
            | Route::Login { .. }
            | Route::GiveToServer
            | Route::External
            | Route::Browser { .. }
            | Route::NoContent
            | Route::Unknown => "/unknown",
        };
        *request.uri_mut() = Uri::from_static(path);
        request.extensions_mut().insert(client);
        let answer = self.0.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync())
    }
}

/// `/` is no tree, but Windows asks it first what the server can do (`protocol/clients.md` 5).
async fn root(method: Method) -> Response<Body> {
    match method.as_str() {
        "OPTIONS" => {
            let mut response = answers::text(StatusCode::OK, "");
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("dav"), HeaderValue::from_static("1, 2, 3"));
            headers.insert(HeaderName::from_static("ms-author-via"), HeaderValue::from_static("DAV"));
            headers.insert(ALLOW, HeaderValue::from_static(ROOT_METHODS));
            response
        }
        "GET" | "HEAD" => {
            answers::text(StatusCode::OK, "This is a Causeway. Your files are at /remote.php/webdav/ for any WebDAV client.\n")
        }
        _ => answers::not_allowed(ROOT_METHODS),
    }
}

async fn ready(State(shared): State<Shared>) -> Response<Body> {
    if shared.stopping.is_cancelled() {
        return answers::unavailable(Duration::from_secs(5));
    }
    answers::text(StatusCode::OK, "ready\n")
}

/// For this machine, and for administrators from elsewhere.
async fn numbers(State(shared): State<Shared>, Extension(client): Extension<Client>, headers: HeaderMap) -> Response<Body> {
    if !client.local {
        match login(&shared.services, &shared.metrics, client, &headers).await {
            Ok(user) if user.admin => {}
            Ok(_user) => return answers::not_found(),
            Err(refusal) => return *refusal,
        }
    }
    answers::fixed(StatusCode::OK, OPEN_METRICS, shared.metrics.text())
}
