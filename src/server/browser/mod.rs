//! What a person with an account and a browser asks for: who may see a page, and which form may change something, is judged here; what pages show is
//! `protocol::web`.
//!
//! The session's cookie opens these pages and nothing else: not WebDAV, not OCS. **Invariants**: only a POST changes something; each carries the token of
//! its session and comes from no page of another site (attack L7); after a login a browser goes to a place of this server alone.

mod adding;
mod elsewhere;
mod invite;
mod login;
mod start;

use http::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use super::answers;
use super::http::Asked;
use super::login::Fields;
use super::site::{Proof, proof};
use crate::protocol::web::{self, ASSETS_ROOT, Frame, Message};
use crate::service::sessions::{Visitor, form_fits};
use crate::wire::Body;
use crate::wire::invite::ACCEPT_PAGE;

/// Which page, or which form of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// `/` in a browser: the user's own page.
    Start,
    /// `/index.php/apps/files`: where other servers send their visitors to add a share.
    Files,
    /// `/login`.
    Login,
    /// `/logout`.
    Logout,
    /// `/incoming`: the answer to a share that waits for one.
    Incoming,
    /// `/index.php/apps/files_sharing/external`: a share is added.
    External,
    /// `/ocm/accept-invite`: an invitation of another server is accepted.
    Invite,
    /// What pages load.
    Asset {
        /// Its name.
        name: String,
    },
}

/// Longest place that a login leads to, in bytes.
const PLACE_BYTES_MAX: usize = 4096;
/// The cookies, with and without the prefix by which browsers take them from this very host alone, and by https (RFC 6265bis 4.1.3).
const SESSION_COOKIE: Cookie = Cookie { strict: "__Host-causeway_session", plain: "causeway_session" };
const FORM_COOKIE: Cookie = Cookie { strict: "__Host-causeway_form", plain: "causeway_form" };

struct Cookie {
    strict: &'static str,
    plain: &'static str,
}

impl Page {
    /// Reads what stands behind the address of the server, and behind its `/index.php` if `script` says that there was one.
    pub(super) fn parse(path: &str, script: bool) -> Option<Page> {
        if let Some(name) = path.strip_prefix(ASSETS_ROOT).filter(|_name| !script) {
            return Some(Page::Asset { name: name.to_owned() });
        }
        match path {
            "" | "/" if script => Some(Page::Start),
            "/apps/files" | "/apps/files/" => Some(Page::Files),
            "/login" => Some(Page::Login),
            "/logout" => Some(Page::Logout),
            "/incoming" if !script => Some(Page::Incoming),
            ACCEPT_PAGE => Some(Page::Invite),
            _ => None,
        }
    }
}

/// Whether a request for `/` is of a browser that wants a page; clients that look there first get their line of text.
pub(super) fn wants_page<B>(request: &Request<B>) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/html"));
    matches!(*request.method(), Method::GET | Method::HEAD) && request.headers().get_all(ACCEPT).iter().any(accepts)
}

impl Asked<'_> {
    /// Answers a browser.
    pub(super) async fn browser(self, request: Request<Body>, page: Page) -> Response<Body> {
        if let Page::Asset { name } = &page {
            return match *request.method() {
                Method::GET | Method::HEAD => web::asset(name).unwrap_or_else(answers::not_found),
                _ => answers::not_allowed("GET, HEAD"),
            };
        }
        let visitor = self.visitor(request.headers()).await;
        let frame = self.frame(request.headers(), visitor.as_ref());
        if self.app.services.maintenance().is_on() {
            return web::message(&frame, Message::Later);
        }
        match (page, request.method()) {
            (Page::Start | Page::Files, &Method::GET | &Method::HEAD) => self.start_page(&request, &frame, visitor),
            (Page::Login, &Method::GET | &Method::HEAD) => self.login_page(&request, &frame, visitor.as_ref()),
            (Page::Login, &Method::POST) => self.log_in(request, &frame).await,
            (Page::Logout, &Method::POST) => self.log_out(request, &frame).await,
            (Page::Invite, &Method::GET | &Method::HEAD) => self.ask_to_accept(&request, &frame, visitor.as_ref()),
            (Page::Invite, &Method::POST) => self.accept_invite(request, &frame, visitor).await,
            (Page::Incoming, &Method::POST) => self.answer_incoming(request, &frame, visitor).await,
            (Page::External, &Method::POST) => self.add_remote(request, &frame, visitor).await,
            // Somebody opened the address of a form.
            (Page::Logout | Page::Incoming | Page::External, &Method::GET | &Method::HEAD) => self.go("/"),
            (Page::Start | Page::Files, _) => answers::not_allowed("GET, HEAD"),
            (Page::Login | Page::Invite | Page::Asset { .. }, _) => answers::not_allowed("GET, HEAD, POST"),
            (Page::Logout | Page::Incoming | Page::External, _) => answers::not_allowed("POST"),
        }
    }

    fn frame(&self, headers: &HeaderMap, visitor: Option<&Visitor>) -> Frame {
        let language = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Frame::new(&self.app.prefix, language, visitor)
    }

    /// Who holds the session of a request.
    async fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let services = &self.app.services;
        let visitor = services.sessions().visitor(services.accounts(), self.cookie(headers, &SESSION_COOKIE)?).await?;
        tracing::Span::current().record("user.id", tracing::field::display(&visitor.user.name));
        Some(visitor)
    }

    /// The fields of a form, where a page of the session sent it; else the page that says that nothing was done.
    async fn form(&self, request: Request<Body>, frame: &Frame) -> Result<Fields, Box<Response<Body>>> {
        let refused = || Box::new(web::message(frame, Message::Foreign));
        if proof(&request, &self.app.services.options().own_hosts) == Proof::Foreign {
            return Err(refused());
        }
        let cookie = self.cookie(request.headers(), &SESSION_COOKIE).map(str::to_owned);
        let form = Fields::read(request).await.ok_or_else(refused)?;
        let fits = cookie.is_some_and(|cookie| form_fits(&cookie, form.get("requesttoken").unwrap_or_default()));
        if fits { Ok(form) } else { Err(refused()) }
    }

    /// On to a place of this server.
    fn go(&self, place: &str) -> Response<Body> {
        web::see_other(&format!("{}{place}", self.app.prefix))
    }

    fn cookie<'headers>(&self, headers: &'headers HeaderMap, cookie: &Cookie) -> Option<&'headers str> {
        value_of(headers, self.name_of(cookie))
    }

    fn name_of(&self, cookie: &Cookie) -> &'static str {
        if self.is_secure() && self.app.prefix.is_empty() { cookie.strict } else { cookie.plain }
    }

    fn put_cookie(&self, response: &mut Response<Body>, cookie: &Cookie, value: &str, terms: &str) {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let text = format!("{}={value}; Path={}/; HttpOnly; {terms}{secure}", self.name_of(cookie), self.app.prefix);
        append_cookie(response, &text);
    }
}

/// The value of a cookie.
fn value_of<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    cookies.filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('=')).next()
}

fn append_cookie(response: &mut Response<Body>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// A place of this server, below its prefix, that may follow a login; none for what a browser could take for another one (attack L7). It is sent
/// back as it stands, so nothing in it may need to be put right first.
fn local_place(text: &str) -> Option<&str> {
    let path = text.split('?').next().unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&byte));
    let whole = path.starts_with('/') && !path.contains("//") && !path.contains("/.");
    (plain && whole && text.len() <= PLACE_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_a_login_leads_to_a_place_of_this_server_alone() {
        for good in ["/", "/apps/files", "/index.php/apps/files?remote=https%3A%2F%2Fa.example&token=T&name=a+b"] {
            assert_eq!(local_place(good), Some(good));
        }
        for odd in [
            "",
            "evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/.//evil.example",
            "/x/..//evil.example",
            "/../evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\tevil",
            "/a b",
            "/a\r\nset-cookie: a=b",
            "/a#b",
            "/ü",
            &"/a".repeat(PLACE_BYTES_MAX),
        ] {
            assert_eq!(local_place(odd), None, "{odd}");
        }
    }

    #[test]
    fn pages_are_known_with_and_without_the_script() {
        assert_eq!(Page::parse("/apps/files/", true), Some(Page::Files));
        assert_eq!(Page::parse("/apps/files", false), Some(Page::Files));
        assert_eq!(Page::parse("", true), Some(Page::Start));
        assert_eq!(Page::parse("", false), None);
        assert_eq!(Page::parse("/apps/files/x", true), None);
        assert_eq!(Page::parse("/assets/a.css", false), Some(Page::Asset { name: "a.css".to_owned() }));
    }
}
