//! The pages of a link: who may see them is judged here, what they show is `protocol::public`.

use std::time::Duration;

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::answers;
use super::basic::credentials;
use super::http::{Asked, counted};
use super::route::Page;
use crate::domain::{Link, Secret, TreePath};
use crate::limits::FORM_BYTES_MAX;
use crate::protocol::public::{self, Place};
use crate::service::sharing::{Closed, Visit};
use crate::tree::View;
use crate::wire::Body;

const READ_METHODS: &str = "GET, HEAD";

impl Asked<'_> {
    /// Answers for `base`, the page's path as the visitor wrote it.
    pub(super) async fn link_page(self, request: Request<Body>, base: String, token: &str, page: Page) -> Response<Body> {
        match (page, request.method()) {
            (Page::Login, &Method::POST) => return self.login(request, &base, token).await,
            (Page::View | Page::Download, &Method::GET | &Method::HEAD) | (Page::Add, &Method::GET | &Method::HEAD | &Method::POST) => {}
            // The password form, when its address is opened again.
            (Page::Login, &Method::GET) => return see_other(&base, None),
            (Page::Login, _) => return answers::not_allowed("POST"),
            (Page::View | Page::Download, _) => return answers::not_allowed(READ_METHODS),
            (Page::Add, _) => return answers::not_allowed("GET, HEAD, POST"),
        }
        let link = match self.admitted(request.headers(), token).await {
            Ok(link) => link,
            Err(closed) => return self.page_closed(closed, &base),
        };
        if page == Page::Add {
            return self.take_elsewhere(request, &link, &base).await;
        }
        let Some(path) = public::path_of_query(request.uri().query()) else { return public::gone() };
        match (self.link_view(&link), page) {
            (Ok(view), Page::Download) if request.method() == Method::GET && self.app.services.sharing().details().is_limited(link.id) => {
                counted(&self.app.services, link.id, public::download(view, &link, &path)).await
            }
            (Ok(view), Page::Download) => public::download(view, &link, &path).await,
            (Ok(view), Page::View | Page::Login | Page::Add) => self.show(&view, &link, &base, &path).await,
            (Err(error), _) => {
                tracing::error!(%error, "a tree could not be opened");
                public::later()
            }
        }
    }

    async fn show(&self, view: &View, link: &Link, base: &str, path: &TreePath) -> Response<Body> {
        let services = &self.app.services;
        let dav = format!("{}/public.php/dav/files/{}/", services.options().public_url, link.token.expose());
        let owner = services.accounts().get(&link.owner).map_or_else(String::new, |owner| owner.display_name.clone());
        public::show(view, link, path, Place { base, dav: &dav, owner: &owner, may_be_taken: self.may_be_taken(link) }).await
    }

    /// The link, for a visitor who needs no password, sends it, or carries a pass.
    async fn admitted(&self, headers: &HeaderMap, token: &str) -> Result<std::sync::Arc<Link>, Closed> {
        let sharing = self.app.services.sharing();
        let sent = credentials(headers).map(|sent| sent.password).filter(|password| !password.is_empty());
        if sent.is_some() {
            return sharing.open_link(Visit { token, password: sent.as_ref(), address: self.client.address }).await;
        }
        let link = sharing.knock(Visit { token, password: None, address: self.client.address }).await?;
        let now = self.app.services.clock().now();
        let mut cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        if link.password_hash.is_none() || cookies.any(|cookies| self.app.passes.admits(&link, cookies, now)) {
            return sharing.admit(link).await;
        }
        Err(Closed::NeedsPassword)
    }

    async fn login(&self, request: Request<Body>, base: &str, token: &str) -> Response<Body> {
        let Ok(form) = Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await else {
            return answers::text(StatusCode::BAD_REQUEST, "The form could not be read.\n");
        };
        let form = form.to_bytes();
        let password = url::form_urlencoded::parse(&form).find(|(key, _)| key == "password").map(|(_, value)| Secret::new(value));
        let visit = Visit { token, password: password.as_ref(), address: self.client.address };
        match self.app.services.sharing().open_link(visit).await {
            Ok(link) => {
                let secure = self.client.https || self.app.services.options().public_url.starts_with("https:");
                let now = self.app.services.clock().now();
                see_other(base, Some(self.app.passes.set_cookie(&link, base, secure, now)))
            }
            Err(closed) => self.page_closed(closed, base),
        }
    }

    fn page_closed(&self, closed: Closed, base: &str) -> Response<Body> {
        match closed {
            Closed::Unknown | Closed::UsedUp => public::gone(),
            Closed::Disabled => answers::retry_after(public::later(), answers::DISABLED_WAIT),
            Closed::NeedsPassword => public::ask_password(base, false),
            Closed::WrongPassword => {
                self.app.metrics.refused_logins.inc();
                public::ask_password(base, true)
            }
            Closed::Throttled(wait) => answers::throttled(wait),
            Closed::Busy => answers::unavailable(Duration::from_secs(2)),
        }
    }
}

fn see_other(base: &str, cookie: Option<String>) -> Response<Body> {
    let mut response = answers::text(StatusCode::SEE_OTHER, "");
    if let Ok(location) = HeaderValue::from_str(base) {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
