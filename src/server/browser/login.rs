//! Logging in with the password of an account, and out.

use http::header::USER_AGENT;
use http::{Request, Response};

use super::{FORM_COOKIE, SESSION_COOKIE, local_place};
use crate::domain::Secret;
use crate::limits::SESSION_AGE_MAX_SECONDS;
use crate::protocol::web::{self, Again, Frame, LoginForm, Message};
use crate::server::answers;
use crate::server::http::Asked;
use crate::server::login::Fields;
use crate::server::site::{Proof, proof};
use crate::service::accounts::{Attempt, Denied};
use crate::service::sessions::{Visitor, form_cookie, form_fits, form_token};
use crate::wire::Body;

/// A cookie of a form as long as ours are.
const FORM_COOKIE_BYTES: usize = 64;

impl Asked<'_> {
    /// `GET /login?to=PLACE`.
    pub(super) fn login_page(&self, request: &Request<Body>, frame: &Frame, visitor: Option<&Visitor>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let to = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "to").map(|(_, to)| to.into_owned());
        let to = to.as_deref().and_then(local_place).unwrap_or("/");
        if visitor.is_some() {
            return self.go(to);
        }
        let cookie = self.cookie(request.headers(), &FORM_COOKIE).map(str::to_owned);
        self.show_login(frame, LoginForm { to, token: "", name: "" }, cookie.as_deref(), None)
    }

    /// The page, with a form that only who holds its cookie can send: nobody is logged in as somebody else by another site. The cookie is of this site
    /// alone (`Strict`), which that of the session cannot be: the dialogue is opened from elsewhere.
    fn show_login(&self, frame: &Frame, form: LoginForm<'_>, cookie: Option<&str>, again: Option<Again>) -> Response<Body> {
        let known = cookie.filter(|cookie| cookie.len() == FORM_COOKIE_BYTES && cookie.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let cookie = match known.map_or_else(form_cookie, |known| Ok(Secret::new(known))) {
            Ok(cookie) => cookie,
            Err(_no_randomness) => return web::message(frame, Message::Later),
        };
        let token = form_token(cookie.expose());
        let mut response = web::login(frame, LoginForm { token: token.expose(), ..form }, again);
        self.put_cookie(&mut response, &FORM_COOKIE, cookie.expose(), "SameSite=Strict");
        response
    }

    /// `POST /login`.
    pub(super) async fn log_in(&self, request: Request<Body>, frame: &Frame) -> Response<Body> {
        if proof(&request, &self.app.services.options().own_hosts) == Proof::Foreign {
            return web::message(frame, Message::Foreign);
        }
        let headers = request.headers();
        let text = |value: Option<&str>| value.map(str::to_owned);
        let (cookie, old) = (text(self.cookie(headers, &FORM_COOKIE)), text(self.cookie(headers, &SESSION_COOKIE)));
        let browser = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
        let Some(form) = Fields::read(request).await else { return web::message(frame, Message::Foreign) };
        let field = |name: &str| form.get(name).unwrap_or_default();
        let (name, to) = (field("user").trim(), local_place(field("to")).unwrap_or("/"));
        let again = |again| self.show_login(frame, LoginForm { to, token: "", name }, cookie.as_deref(), Some(again));
        if !cookie.as_deref().is_some_and(|cookie| form_fits(cookie, field("requesttoken"))) {
            return again(Again::Stale);
        }
        let (services, password) = (&self.app.services, Secret::new(field("password")));
        let attempt = Attempt { name, password: &password, address: self.client.address };
        let user = match services.accounts().authenticate(attempt).await {
            Ok(session) if session.app_password.is_some() => return again(Again::AppPassword),
            Ok(session) => session.user,
            Err(denied) => {
                self.app.metrics.refused_logins.inc();
                return match denied {
                    Denied::Wrong => again(Again::Wrong),
                    Denied::Throttled(wait) => answers::retry_after(again(Again::Throttled), wait),
                    Denied::Busy => answers::retry_after(again(Again::Busy), std::time::Duration::from_secs(2)),
                };
            }
        };
        match services.sessions().begin(&user, &browser, old.as_deref()).await {
            Ok(session) => {
                let mut response = self.go(to);
                let terms = format!("SameSite=Lax; Max-Age={SESSION_AGE_MAX_SECONDS}");
                self.put_cookie(&mut response, &SESSION_COOKIE, session.expose(), &terms);
                self.put_cookie(&mut response, &FORM_COOKIE, "", "SameSite=Strict; Max-Age=0");
                response
            }
            Err(error) => {
                tracing::error!(%error, "a session could not begin");
                again(Again::Busy)
            }
        }
    }

    /// `POST /logout`.
    pub(super) async fn log_out(&self, request: Request<Body>, frame: &Frame) -> Response<Body> {
        let cookie = self.cookie(request.headers(), &SESSION_COOKIE).map(str::to_owned);
        if let Err(refusal) = self.form(request, frame).await {
            return *refusal;
        }
        if let Some(cookie) = cookie {
            self.app.services.sessions().end(&cookie).await;
        }
        let mut response = self.go("/login");
        self.put_cookie(&mut response, &SESSION_COOKIE, "", "SameSite=Lax; Max-Age=0");
        response
    }
}
