//! Login flow v2: who may see its pages and press its button is judged here; what the pages show is `protocol::login`.

use std::fmt;
use std::time::Duration;

use http::header::{COOKIE, LOCATION, SET_COOKIE, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use super::answers;
use super::http::Asked;
use super::site::{host, is_foreign};
use crate::domain::Secret;
use crate::limits::{FORM_BYTES_MAX, LOGIN_FLOW_SECONDS};
use crate::protocol::login::{self, Again};
use crate::service::accounts::{Attempt, Denied};
use crate::service::login_flow::{NotStarted, label};
use crate::wire::{Body, href};

/// The cookie of somebody who signed in; its path is the flow's, so that several flows can be open in one browser.
const COOKIE_NAME: &str = "causeway_login";

/// Which part of the flow. **Invariant**: its `Debug` shows no secret (attack F6).
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `POST /login/v2`: a client begins.
    Start,
    /// `POST /login/v2/poll`: a client asks whether it may go on.
    Poll,
    /// `/login/v2/flow/TOKEN`: the page where the user signs in.
    SignIn {
        /// The page's path, as it stands in the URL.
        base: String,
        /// The secret of the page.
        token: String,
    },
    /// `/login/v2/flow/TOKEN/grant`: the page with the button.
    Grant {
        /// The path of the page before.
        base: String,
        /// The secret of the page.
        token: String,
    },
}

impl Step {
    /// Reads what stands behind `/login/v2`; `root` is that as it stands in the URL.
    pub(super) fn parse(rest: &str, root: &str) -> Option<Step> {
        match rest {
            "" | "/" => return Some(Step::Start),
            "/poll" => return Some(Step::Poll),
            _ => {}
        }
        let (token, tail) = rest.strip_prefix("/flow/").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
        // Tokens are digits and letters; whatever else stands here needs no decoding, because it is none.
        let known = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (base, token) = (format!("{root}/flow/{token}"), token.to_owned());
        match tail {
            "" if known => Some(Step::SignIn { base, token }),
            "grant" if known => Some(Step::Grant { base, token }),
            _ => None,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Step::Start => "Start",
            Step::Poll => "Poll",
            Step::SignIn { .. } => "SignIn(..)",
            Step::Grant { .. } => "Grant(..)",
        })
    }
}

impl Asked<'_> {
    /// Answers one step.
    pub(super) async fn login_flow(self, request: Request<Body>, step: Step) -> Response<Body> {
        let method = request.method().clone();
        let changes = method == Method::POST;
        if changes && is_foreign(&request, &self.app.services.options().own_hosts) {
            return login::over(StatusCode::FORBIDDEN);
        }
        match (step, method) {
            (Step::Start, Method::POST) => self.start_flow(&request),
            (Step::Poll, Method::POST) => self.poll_flow(request).await,
            (Step::SignIn { base, token }, Method::GET | Method::HEAD) => match self.app.services.login_flows().client(&token) {
                Some(client) => login::sign_in(&base, &client, None),
                None => login::over(StatusCode::NOT_FOUND),
            },
            (Step::SignIn { base, token }, Method::POST) => self.sign_in(request, &base, &token).await,
            (Step::Grant { base, token }, Method::GET | Method::HEAD) => {
                let visitor = cookie(request.headers()).and_then(|cookie| self.app.services.login_flows().visitor(&token, cookie));
                match visitor {
                    Some(visitor) => login::ask_grant(&base, &visitor),
                    None => see_other(&base, None),
                }
            }
            (Step::Grant { base, token }, Method::POST) => self.grant(request, &base, &token).await,
            (Step::Start | Step::Poll, _) => answers::not_allowed("POST"),
            (Step::SignIn { .. } | Step::Grant { .. }, _) => answers::not_allowed("GET, HEAD, POST"),
        }
    }

    fn start_flow(&self, request: &Request<Body>) -> Response<Body> {
        let client = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
        let base = self.found_at(request);
        match self.app.services.login_flows().start(&label(&client), self.client.address, base.clone()) {
            Ok(started) => login::started(&base, &started),
            Err(NotStarted::Address) => answers::throttled(Duration::from_secs(60)),
            Err(NotStarted::Everywhere | NotStarted::NoRandomness) => answers::unavailable(Duration::from_secs(60)),
        }
    }

    /// Where the client found this server, if that is a name of ours; else where it is meant to be found. A header must not turn the user to
    /// another host (attack L10). A server that was not told its address knows no better than the client, who talks to it there.
    pub(super) fn found_at(&self, request: &Request<Body>) -> String {
        self.url_at(host(request).filter(|host| !self.app.has_public_url || self.is_own(host)))
    }

    /// What links begin with in answers: the name that the caller uses, if it is one of ours that others can use as well.
    pub(super) fn known_at(&self, request: &Request<Body>) -> String {
        let is_name = |host: &Authority| host.host().contains(|letter: char| letter.is_ascii_alphabetic()) && !host.host().starts_with('[');
        self.url_at(host(request).filter(|host| self.is_own(host) && (!self.app.has_public_url || is_name(host))))
    }

    fn is_own(&self, host: &Authority) -> bool {
        self.app.services.options().own_hosts.iter().any(|own| href::same_authority(own, host.as_str()))
    }

    fn url_at(&self, host: Option<Authority>) -> String {
        match host {
            Some(host) => {
                let scheme = if self.is_secure() { "https" } else { "http" };
                format!("{scheme}://{host}{}", self.app.prefix)
            }
            None => self.app.services.options().public_url.clone(),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.client.https || self.app.services.options().public_url.starts_with("https:")
    }

    async fn poll_flow(&self, request: Request<Body>) -> Response<Body> {
        let Some(form) = Fields::read(request).await else { return login::polled(None) };
        let services = &self.app.services;
        match services.login_flows().poll(services.accounts(), form.get("token").unwrap_or_default()).await {
            Ok(issued) => login::polled(issued.as_ref()),
            Err(refusal) => {
                tracing::warn!(%refusal, "no app password could be made for a client that was granted access");
                login::polled(None)
            }
        }
    }

    async fn sign_in(&self, request: Request<Body>, base: &str, token: &str) -> Response<Body> {
        let flows = self.app.services.login_flows();
        // Passwords can be tried only where a client waits for somebody.
        let Some(client) = flows.client(token) else { return login::over(StatusCode::NOT_FOUND) };
        let Some(form) = Fields::read(request).await else { return login::sign_in(base, &client, Some(Again::Wrong)) };
        let password = Secret::new(form.get("password").unwrap_or_default());
        let attempt = Attempt { name: form.get("user").unwrap_or_default().trim(), password: &password, address: self.client.address };
        match self.app.services.accounts().authenticate(attempt).await {
            Ok(session) if session.app_password.is_some() => login::sign_in(base, &client, Some(Again::AppPassword)),
            Ok(session) => match flows.sign_in(token, &session.user.name) {
                Ok(Some(cookie)) => see_other(&format!("{base}/grant"), Some(self.set_cookie(base, &cookie))),
                Ok(None) => login::over(StatusCode::NOT_FOUND),
                Err(_no_randomness) => login::later(StatusCode::SERVICE_UNAVAILABLE),
            },
            Err(denied) => {
                self.app.metrics.refused_logins.inc();
                match denied {
                    Denied::Wrong => login::sign_in(base, &client, Some(Again::Wrong)),
                    Denied::Throttled(wait) => answers::retry_after(login::later(StatusCode::TOO_MANY_REQUESTS), wait),
                    Denied::Busy => answers::retry_after(login::later(StatusCode::SERVICE_UNAVAILABLE), Duration::from_secs(2)),
                }
            }
        }
    }

    async fn grant(&self, request: Request<Body>, base: &str, token: &str) -> Response<Body> {
        let cookie = cookie(request.headers()).map(str::to_owned);
        let services = &self.app.services;
        let visitor = cookie.as_deref().and_then(|cookie| services.login_flows().visitor(token, cookie));
        if visitor.is_some_and(|visitor| !services.accounts().has_room_for_app_password(&visitor.user)) {
            return login::full();
        }
        let form = Fields::read(request).await;
        let granted = cookie.zip(form).and_then(|(cookie, form)| {
            let state = form.get("state")?;
            self.app.services.login_flows().grant(token, &cookie, state)
        });
        match granted {
            Some(visitor) => {
                let mut response = login::done(&visitor);
                set_header(&mut response, &format!("{COOKIE_NAME}=; Path={base}; Max-Age=0; HttpOnly; SameSite=Strict"));
                response
            }
            None => login::over(StatusCode::FORBIDDEN),
        }
    }

    fn set_cookie(&self, base: &str, cookie: &Secret) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        format!("{COOKIE_NAME}={}; Path={base}; Max-Age={LOGIN_FLOW_SECONDS}; HttpOnly; SameSite=Strict{secure}", cookie.expose())
    }
}

/// A form that a page or a client sent.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// None where it is too large or breaks off.
    pub(super) async fn read(request: Request<Body>) -> Option<Fields> {
        let body = Limited::new(request.into_body(), FORM_BYTES_MAX).collect().await.ok()?.to_bytes();
        Some(Fields(url::form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// The first field of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    cookies.filter_map(|cookie| cookie.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('=')).next()
}

fn see_other(place: &str, cookie: Option<String>) -> Response<Body> {
    // With the headers of the pages: what is on the way to one is as secret.
    let mut response = login::over(StatusCode::SEE_OTHER);
    if let Ok(location) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Some(cookie) = cookie {
        set_header(&mut response, &cookie);
    }
    response
}

fn set_header(response: &mut Response<Body>, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_debug_shows_no_secret_of_a_page() {
        for path in ["/flow/SECRET", "/flow/SECRET/grant"] {
            let step = Step::parse(path, "/login/v2").unwrap();
            assert!(!format!("{step:?}").contains("SECRET"), "{step:?}");
        }
    }
}
